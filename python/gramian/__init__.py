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
The rest              load set_num_threads get_num_threads info UndefinedWarning

Every kernel matrix is computed tile by tile and reduced at once; none is ever stored.
"""

from typing import Any

import lazy_loader

_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _attached(name)
    except AttributeError as error:
        if name in __all__ or name.startswith("_"):
            raise
        from gramian.words import did_you_mean

        raise AttributeError(f"{error}{did_you_mean(name, __all__)}") from None
