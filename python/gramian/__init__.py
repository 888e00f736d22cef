"""gramian: how alike two representations are, at any number of samples.

Kernel functions      Linear Cosine Polynomial RBF Exponential Laplacian RationalQuadratic ArcCosine Distance
Measures              kernel_alignment hsic cka distance_alignment mmd2
                      rsa rsa_estimate platonic_score platonic_layers
With uncertainty      compare alignment cka_matrix independence_test null
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
    "independence": "TestResult independence_test",
    "rdm": "RSAEstimate rsa rsa_estimate",
    "nulls": "Null null",
    "platonic": "PlatonicScore platonic_layers platonic_score",
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
    "Null",
    "PlatonicScore",
    "Polynomial",
    "RSAEstimate",
    "RationalQuadratic",
    "TestResult",
    "__version__",
    "alignment",
    "cka",
    "cka_matrix",
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
    "median_bandwidth",
    "mmd2",
    "null",
    "platonic_layers",
    "platonic_score",
    "rsa",
    "rsa_estimate",
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
    from gramian.nulls import Null, null
    from gramian.platonic import PlatonicScore, platonic_layers, platonic_score
    from gramian.rdm import RSAEstimate, rsa, rsa_estimate
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
