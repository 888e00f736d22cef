"""gramian: how alike two representations are, at any number of samples.

Kernel functions      Linear Cosine Polynomial RBF Exponential Laplacian RationalQuadratic ArcCosine Distance
Measures              kernel_alignment hsic cka distance_alignment mmd2
  of feature moments  cca svcca pwcca canonical_correlations linear_regression_r2 coco nocco procrustes shape_distance
                      bipartite_matching semi_matching
  of dissimilarities  rsa rsa_estimate
  of many layers      platonic_score platonic_layers
  of neighbours       neighbors mutual_knn cycle_knn lcs_knn edit_knn cknna neighbor_overlap
With uncertainty      compare alignment cka_matrix independence_test null
Sufficient statistics gram_moments feature_moments median_bandwidth
Features              relative_representation
Stitching             fit_stitch train_stitch misalignment risk stitching_risk excess_stitching_risk stitch_report
                      layer_search
Spectra               GramOperator spectrum eigen_overlap spectral_alignment task_alignment kare learning_curve
Theory                bounds lipschitz
The rest              set_num_threads get_num_threads info UndefinedWarning

Every kernel matrix is computed tile by tile and reduced at once; none is ever stored.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gramian._core import __version__ as __version__

_HOME = {
    "reasons": "UndefinedWarning",
    "kernels": ("ArcCosine Cosine Distance Exponential Laplacian Linear Polynomial RBF RationalQuadratic"),
    "gram": "GramMoments get_num_threads gram_moments median_bandwidth set_num_threads",
    "moments": "FeatureMoments feature_moments",
    "metrics": ("AlignmentMatrix Estimate alignment cka cka_matrix distance_alignment hsic kernel_alignment mmd2"),
    "knn": "Overlap cknna cycle_knn edit_knn lcs_knn mutual_knn neighbor_overlap neighbors",
    "independence": "TestResult independence_test",
    "subspace": (
        "CanonicalCorrelations UnitMatching bipartite_matching canonical_correlations cca coco linear_regression_r2 "
        "nocco procrustes pwcca semi_matching shape_distance svcca"
    ),
    "relative": "relative_representation",
    "stitching": "Stitch fit_stitch misalignment",
    "training": "train_stitch",
    "spectral": "EigenOverlap SpectralAlignment Spectrum eigen_overlap spectral_alignment spectrum",
    "tasks": "Kare LearningCurve TaskAlignment kare learning_curve task_alignment",
    "operators": "GramOperator",
    "rdm": "RSAEstimate rsa rsa_estimate",
    "nulls": "Null null",
    "platonic": "PlatonicScore platonic_layers platonic_score",
    "bounds": "",
    "lipschitz": "",
    "risks": "excess_stitching_risk risk stitching_risk",
    "stitched": "ReportedBound StitchReport stitch_report",
    "search": "LayerSearch layer_search",
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
    "EigenOverlap",
    "Estimate",
    "Exponential",
    "FeatureMoments",
    "GramMoments",
    "GramOperator",
    "Kare",
    "Laplacian",
    "LayerSearch",
    "LearningCurve",
    "Linear",
    "Null",
    "Overlap",
    "PlatonicScore",
    "Polynomial",
    "RSAEstimate",
    "RationalQuadratic",
    "ReportedBound",
    "SpectralAlignment",
    "Spectrum",
    "Stitch",
    "StitchReport",
    "TaskAlignment",
    "TestResult",
    "UndefinedWarning",
    "UnitMatching",
    "__version__",
    "alignment",
    "bipartite_matching",
    "bounds",
    "canonical_correlations",
    "cca",
    "cka",
    "cka_matrix",
    "cknna",
    "coco",
    "compare",
    "cycle_knn",
    "distance_alignment",
    "edit_knn",
    "eigen_overlap",
    "excess_stitching_risk",
    "feature_moments",
    "fit_stitch",
    "get_num_threads",
    "gram_moments",
    "hsic",
    "independence_test",
    "info",
    "kare",
    "kernel_alignment",
    "kernels",
    "layer_search",
    "lcs_knn",
    "learning_curve",
    "linear_regression_r2",
    "lipschitz",
    "median_bandwidth",
    "misalignment",
    "mmd2",
    "mutual_knn",
    "neighbor_overlap",
    "neighbors",
    "nocco",
    "null",
    "platonic_layers",
    "platonic_score",
    "procrustes",
    "pwcca",
    "relative_representation",
    "risk",
    "rsa",
    "rsa_estimate",
    "semi_matching",
    "set_num_threads",
    "shape_distance",
    "spectral_alignment",
    "spectrum",
    "stitch_report",
    "stitching_risk",
    "svcca",
    "task_alignment",
    "train_stitch",
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
    from gramian.knn import Overlap, cknna, cycle_knn, edit_knn, lcs_knn, mutual_knn, neighbor_overlap, neighbors
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
    from gramian.operators import GramOperator
    from gramian.platonic import PlatonicScore, platonic_layers, platonic_score
    from gramian.rdm import RSAEstimate, rsa, rsa_estimate
    from gramian.reasons import UndefinedWarning
    from gramian.relative import relative_representation
    from gramian.report import Comparison, ComparisonRow, compare
    from gramian.risks import excess_stitching_risk, risk, stitching_risk
    from gramian.search import LayerSearch, layer_search
    from gramian.spectral import EigenOverlap, SpectralAlignment, Spectrum, eigen_overlap, spectral_alignment, spectrum
    from gramian.stitched import ReportedBound, StitchReport, stitch_report
    from gramian.stitching import Stitch, fit_stitch, misalignment
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
    from gramian.tasks import Kare, LearningCurve, TaskAlignment, kare, learning_curve, task_alignment
    from gramian.training import train_stitch


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
