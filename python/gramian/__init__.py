"""gramian: how alike two representations are, at any number of samples.

Kernel functions      Linear Cosine Polynomial RBF Exponential Laplacian RationalQuadratic ArcCosine Distance
Measures              kernel_alignment hsic cka distance_alignment mmd2
  of feature moments  cca svcca pwcca canonical_correlations linear_regression_r2 coco nocco procrustes shape_distance
                      bipartite_matching semi_matching
With uncertainty      compare alignment cka_matrix independence_test
Sufficient statistics gram_moments feature_moments median_bandwidth
Features              relative_representation
Theory                bounds lipschitz
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
    "independence": "TestResult independence_test",
    "subspace": (
        "CanonicalCorrelations UnitMatching bipartite_matching canonical_correlations cca coco linear_regression_r2 "
        "nocco procrustes pwcca semi_matching shape_distance svcca"
    ),
    "relative": "relative_representation",
    "bounds": "",
    "lipschitz": "",
    "report": "Comparison ComparisonRow compare",
    "system": "info",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "RBF",
    "AlignmentMatrix",
    "ArcCosine",
    "CanonicalCorrelations",
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
    "Polynomial",
    "RationalQuadratic",
    "TestResult",
    "UnitMatching",
    "__version__",
    "alignment",
    "bipartite_matching",
    "bounds",
    "canonical_correlations",
    "cca",
    "cka",
    "cka_matrix",
    "coco",
    "compare",
    "distance_alignment",
    "feature_moments",
    "get_num_threads",
    "gram_moments",
    "hsic",
    "independence_test",
    "info",
    "kernel_alignment",
    "kernels",
    "linear_regression_r2",
    "lipschitz",
    "median_bandwidth",
    "mmd2",
    "nocco",
    "procrustes",
    "pwcca",
    "relative_representation",
    "semi_matching",
    "set_num_threads",
    "shape_distance",
    "svcca",
]

if TYPE_CHECKING:
    from gramian import bounds as bounds
    from gramian import kernels as kernels
    from gramian import lipschitz as lipschitz
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
    from gramian.relative import relative_representation
    from gramian.report import Comparison, ComparisonRow, compare
    from gramian.subspace import (
        CanonicalCorrelations,
        UnitMatching,
        bipartite_matching,
        canonical_correlations,
        cca,
        coco,
        linear_regression_r2,
        nocco,
        procrustes,
        pwcca,
        semi_matching,
        shape_distance,
        svcca,
    )
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
