"""gramian: how alike two representations are, at any number of samples.

Kernel functions      Linear Cosine Polynomial RBF Exponential Laplacian RationalQuadratic ArcCosine Distance
Measures              kernel_alignment hsic cka distance_alignment mmd2
Nearest neighbours    neighbors mutual_knn cycle_knn lcs_knn edit_knn cknna neighbor_overlap
With uncertainty      compare alignment cka_matrix independence_test
Sufficient statistics gram_moments feature_moments median_bandwidth
The rest              set_num_threads get_num_threads info

Every kernel matrix is computed tile by tile and reduced at once; none is ever stored.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gramian._core import __version__ as __version__

_HOME = {
    "kernels": ("ArcCosine Cosine Distance Exponential Laplacian Linear Polynomial RBF RationalQuadratic"),
    "gram": "GramMoments get_num_threads gram_moments median_bandwidth set_num_threads",
    "moments": "FeatureMoments feature_moments",
    "metrics": ("AlignmentMatrix Estimate alignment cka cka_matrix distance_alignment hsic kernel_alignment mmd2"),
    "knn": "Overlap cknna cycle_knn edit_knn lcs_knn mutual_knn neighbor_overlap neighbors",
    "independence": "TestResult independence_test",
    "report": "Comparison ComparisonRow compare",
    "system": "info",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "RBF",
    "AlignmentMatrix",
    "ArcCosine",
    "Comparison",
    "ComparisonRow",
    "Cosine",
    "Distance",
    "Estimate",
    "Exponential",
    "FeatureMoments",
    "GramMoments",
    "Laplacian",
    "Linear",
    "Overlap",
    "Polynomial",
    "RationalQuadratic",
    "TestResult",
    "__version__",
    "alignment",
    "cka",
    "cka_matrix",
    "cknna",
    "compare",
    "cycle_knn",
    "distance_alignment",
    "edit_knn",
    "feature_moments",
    "get_num_threads",
    "gram_moments",
    "hsic",
    "independence_test",
    "info",
    "kernel_alignment",
    "kernels",
    "lcs_knn",
    "median_bandwidth",
    "mmd2",
    "mutual_knn",
    "neighbor_overlap",
    "neighbors",
    "set_num_threads",
]

if TYPE_CHECKING:
    from gramian import kernels as kernels
    from gramian.gram import GramMoments, get_num_threads, gram_moments, median_bandwidth, set_num_threads
    from gramian.independence import TestResult, independence_test
    from gramian.kernels import (
        RBF,
        ArcCosine,
        Cosine,
        Distance,
        Exponential,
        Laplacian,
        Linear,
        Polynomial,
        RationalQuadratic,
    )
    from gramian.knn import (
        Overlap,
        cknna,
        cycle_knn,
        edit_knn,
        lcs_knn,
        mutual_knn,
        neighbor_overlap,
        neighbors,
    )
    from gramian.metrics import (
        AlignmentMatrix,
        Estimate,
        alignment,
        cka,
        cka_matrix,
        distance_alignment,
        hsic,
        kernel_alignment,
        mmd2,
    )
    from gramian.moments import FeatureMoments, feature_moments
    from gramian.report import Comparison, ComparisonRow, compare
    from gramian.system import info


def __getattr__(name: str) -> Any:
    # modules load at first use: `import gramian` costs little more than NumPy
    if name in _MODULE:
        found = getattr(import_module(f"gramian.{_MODULE[name]}"), name)
    elif name in _HOME:
        found = import_module(f"gramian.{name}")
    else:
        raise AttributeError(f"module 'gramian' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
