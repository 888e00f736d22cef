"""The public names, and where they live: this list is the only one, and `__init__.py` loads from it."""

from . import kernels as kernels
from ._core import __version__ as __version__
from .comparison import Comparison as Comparison, ComparisonRow as ComparisonRow, compare as compare
from .inference.estimates import Estimate as Estimate, alignment as alignment
from .inference.independence import TestResult as TestResult, independence_test as independence_test
from .inference.permutation import Null as Null, null as null
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
from .matrices import AlignmentMatrix as AlignmentMatrix, cka_matrix as cka_matrix, matrix as matrix
from .measures.cknna import cknna as cknna
from .measures.kernel import (
    cka as cka,
    distance_alignment as distance_alignment,
    hsic as hsic,
    kernel_alignment as kernel_alignment,
)
from .measures.mmd import mmd2 as mmd2
from .measures.neighbors import (
    cycle_knn as cycle_knn,
    edit_knn as edit_knn,
    lcs_knn as lcs_knn,
    mutual_knn as mutual_knn,
    neighbors as neighbors,
)
from .measures.overlaps import Overlap as Overlap, neighbor_overlap as neighbor_overlap
from .measures.relative import relative_representation as relative_representation
from .measures.rsa import RSAEstimate as RSAEstimate, rsa as rsa, rsa_estimate as rsa_estimate
from .measures.shapes import procrustes as procrustes, shape_distance as shape_distance
from .measures.subspaces import (
    CanonicalCorrelations as CanonicalCorrelations,
    canonical_correlations as canonical_correlations,
    cca as cca,
    coco as coco,
    linear_regression_r2 as linear_regression_r2,
    nocco as nocco,
    pwcca as pwcca,
    svcca as svcca,
)
from .measures.units import (
    UnitMatching as UnitMatching,
    bipartite_matching as bipartite_matching,
    semi_matching as semi_matching,
)
from .platonic import (
    PlatonicScore as PlatonicScore,
    platonic_layers as platonic_layers,
    platonic_score as platonic_score,
)
from .reasons import UndefinedWarning as UndefinedWarning
from .results.files import load as load
from .spectra.operators import GramOperator as GramOperator
from .spectra.spectral import (
    EigenOverlap as EigenOverlap,
    SpectralAlignment as SpectralAlignment,
    Spectrum as Spectrum,
    eigen_overlap as eigen_overlap,
    spectral_alignment as spectral_alignment,
    spectrum as spectrum,
)
from .spectra.tasks import (
    Kare as Kare,
    LearningCurve as LearningCurve,
    TaskAlignment as TaskAlignment,
    kare as kare,
    learning_curve as learning_curve,
    task_alignment as task_alignment,
)
from .stitching.layers import LayerSearch as LayerSearch, layer_search as layer_search
from .stitching.linear import fit_stitch as fit_stitch, misalignment as misalignment
from .stitching.report import stitch_report as stitch_report
from .stitching.reported import ReportedBound as ReportedBound, StitchReport as StitchReport
from .stitching.risks import (
    excess_stitching_risk as excess_stitching_risk,
    risk as risk,
    stitching_risk as stitching_risk,
)
from .stitching.stitch import Stitch as Stitch
from .stitching.trained import train_stitch as train_stitch
from .sweeps.gram import GramMoments as GramMoments, gram_moments as gram_moments
from .sweeps.moments import FeatureMoments as FeatureMoments, feature_moments as feature_moments
from .sweeps.represent import median_bandwidth as median_bandwidth
from .system import get_num_threads as get_num_threads, info as info, set_num_threads as set_num_threads
from .theory import bounds as bounds, lipschitz as lipschitz
