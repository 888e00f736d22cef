"""The public names, and where they live: this list is the only one, and `__init__.py` loads from it."""

from . import bounds as bounds, kernels as kernels, lipschitz as lipschitz
from ._core import __version__ as __version__
from .cknna import cknna as cknna
from .estimates import Estimate as Estimate, alignment as alignment
from .gram import (
    GramMoments as GramMoments,
    get_num_threads as get_num_threads,
    gram_moments as gram_moments,
    median_bandwidth as median_bandwidth,
    set_num_threads as set_num_threads,
)
from .independence import TestResult as TestResult, independence_test as independence_test
from .kernels import (
    RBF as RBF,
    ArcCosine as ArcCosine,
    Cosine as Cosine,
    Distance as Distance,
    Exponential as Exponential,
    Laplacian as Laplacian,
    Linear as Linear,
    Polynomial as Polynomial,
    RationalQuadratic as RationalQuadratic,
)
from .knn import (
    Overlap as Overlap,
    cycle_knn as cycle_knn,
    edit_knn as edit_knn,
    lcs_knn as lcs_knn,
    mutual_knn as mutual_knn,
    neighbor_overlap as neighbor_overlap,
    neighbors as neighbors,
)
from .matrix import AlignmentMatrix as AlignmentMatrix, cka_matrix as cka_matrix
from .metrics import (
    cka as cka,
    distance_alignment as distance_alignment,
    hsic as hsic,
    kernel_alignment as kernel_alignment,
    mmd2 as mmd2,
)
from .moments import FeatureMoments as FeatureMoments, feature_moments as feature_moments
from .nulls import Null as Null, null as null
from .operators import GramOperator as GramOperator
from .platonic import (
    PlatonicScore as PlatonicScore,
    platonic_layers as platonic_layers,
    platonic_score as platonic_score,
)
from .rdm import RSAEstimate as RSAEstimate, rsa as rsa, rsa_estimate as rsa_estimate
from .reasons import UndefinedWarning as UndefinedWarning
from .relative import relative_representation as relative_representation
from .report import Comparison as Comparison, ComparisonRow as ComparisonRow, compare as compare
from .risks import excess_stitching_risk as excess_stitching_risk, risk as risk, stitching_risk as stitching_risk
from .search import LayerSearch as LayerSearch, layer_search as layer_search
from .spectral import (
    EigenOverlap as EigenOverlap,
    SpectralAlignment as SpectralAlignment,
    Spectrum as Spectrum,
    eigen_overlap as eigen_overlap,
    spectral_alignment as spectral_alignment,
    spectrum as spectrum,
)
from .stitch import Stitch as Stitch
from .stitched import ReportedBound as ReportedBound, StitchReport as StitchReport, stitch_report as stitch_report
from .stitching import fit_stitch as fit_stitch, misalignment as misalignment
from .subspace import (
    CanonicalCorrelations as CanonicalCorrelations,
    UnitMatching as UnitMatching,
    bipartite_matching as bipartite_matching,
    canonical_correlations as canonical_correlations,
    cca as cca,
    coco as coco,
    linear_regression_r2 as linear_regression_r2,
    nocco as nocco,
    procrustes as procrustes,
    pwcca as pwcca,
    semi_matching as semi_matching,
    shape_distance as shape_distance,
    svcca as svcca,
)
from .system import info as info
from .tasks import (
    Kare as Kare,
    LearningCurve as LearningCurve,
    TaskAlignment as TaskAlignment,
    kare as kare,
    learning_curve as learning_curve,
    task_alignment as task_alignment,
)
from .training import train_stitch as train_stitch
