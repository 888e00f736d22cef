"""The referee: every quantity as the papers write it, with explicit n x n matrices, importing nothing from gramian.

Letters are those of the papers: X (n, p) and Y (n, q) are the representations, K and L their Gram matrices,
H = I - 11'/n. Every function keeps the dtype it is given, so the same lines are the truth in long double and the
naive formula in float32. ``test_oracle.py`` checks each of them by brute force.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]

# ---- kernel functions: X (n, p), Z (m, p) -> (n, m) ----------------------------------------------


def squared_distances(X: Array, Z: Array) -> Array:
    return sum(((x[:, None] - z[None, :]) ** 2 for x, z in zip(X.T, Z.T, strict=True)), _zeros(X, Z))


def l1_distances(X: Array, Z: Array) -> Array:
    return sum((np.abs(x[:, None] - z[None, :]) for x, z in zip(X.T, Z.T, strict=True)), _zeros(X, Z))


def norms(X: Array) -> Array:
    return np.sqrt((X * X).sum(1))


def unit_rows(X: Array) -> Array:
    r = norms(X)[:, None]
    return np.divide(X, r, out=np.zeros_like(X), where=r > 0)


def linear(X: Array, Z: Array) -> Array:
    return X @ Z.T


def cosine(X: Array, Z: Array) -> Array:
    return unit_rows(X) @ unit_rows(Z).T


def polynomial(X: Array, Z: Array, degree: int = 2, scale: float | None = None, offset: float = 1.0) -> Array:
    return (X @ Z.T * X.dtype.type(1 / X.shape[1] if scale is None else scale) + X.dtype.type(offset)) ** degree


def rbf(X: Array, Z: Array, bandwidth: float) -> Array:
    return np.exp(-squared_distances(X, Z) / (2 * bandwidth**2))


def exponential(X: Array, Z: Array, bandwidth: float) -> Array:
    return np.exp(-np.sqrt(squared_distances(X, Z)) / bandwidth)


def laplacian(X: Array, Z: Array, bandwidth: float) -> Array:
    return np.exp(-l1_distances(X, Z) / bandwidth)


def rational_quadratic(X: Array, Z: Array, bandwidth: float, alpha: float = 1.0) -> Array:
    return (1 + squared_distances(X, Z) / (2 * alpha * bandwidth**2)) ** (-alpha)


def arc_cosine(X: Array, Z: Array, order: int = 1) -> Array:
    a, b, u, v = norms(X)[:, None], norms(Z)[None, :], unit_rows(X), unit_rows(Z)
    angle = 2 * np.arctan2(np.sqrt(squared_distances(u, v)), np.sqrt(squared_distances(u, -v)))  # exact near 0 and pi
    if order == 0:
        return np.where(a * b > 0, 1 - angle / np.pi, 0).astype(X.dtype)
    return a * b * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi


def distance(X: Array, Z: Array) -> Array:
    return (norms(X)[:, None] + norms(Z)[None, :] - np.sqrt(squared_distances(X, Z))) / 2


GRAM: dict[str, Callable[..., Array]] = {
    "linear": linear,
    "cosine": cosine,
    "polynomial": polynomial,
    "rbf": rbf,
    "exponential": exponential,
    "laplacian": laplacian,
    "rational_quadratic": rational_quadratic,
    "arc_cosine": arc_cosine,
    "distance": distance,
}
# kernels with a bandwidth: the norm whose median it is by default
HAS_BANDWIDTH = {"rbf": "l2", "exponential": "l2", "laplacian": "l1", "rational_quadratic": "l2"}


def gram(name: str, X: Array, Z: Array | None = None, **params: Any) -> Array:
    """K (n, m) of a named kernel; a bandwidth of None is the median over the pairs of X and Z together."""
    if name in HAS_BANDWIDTH and params.get("bandwidth") is None:
        pooled = X if Z is None else np.concatenate([X, Z])
        params = params | {"bandwidth": median_bandwidth(pooled, norm=HAS_BANDWIDTH[name])}
    return GRAM[name](X, X if Z is None else Z, **params)


def median_bandwidth(X: Array, *, norm: str = "l2") -> float:
    """Median over i < j of ||x_i - x_j||; if that is 0 the mean of the positive ones; nan if there is none."""
    D = np.sqrt(squared_distances(X, X)) if norm == "l2" else l1_distances(X, X)
    pairs = D[np.triu_indices(len(X), 1)]
    if np.median(pairs) > 0:
        return float(np.median(pairs))
    return float(pairs[pairs > 0].mean()) if (pairs > 0).any() else math.nan


# ---- centring and inner products -----------------------------------------------------------------


def hollow(K: Array) -> Array:
    K = K.copy()
    np.fill_diagonal(K, 0)
    return K


def centred(K: Array) -> Array:
    """H K H."""
    return K - K.mean(0)[None, :] - K.mean(1)[:, None] + K.mean()


def u_centred(K: Array) -> Array:
    """U-centring of Szekely and Rizzo (2014), zero on the diagonal."""
    n, K = len(K), hollow(K)
    r = K.sum(1)
    return hollow(K - r[:, None] / (n - 2) - r[None, :] / (n - 2) + r.sum() / ((n - 1) * (n - 2)))


def inner(A: Array, B: Array) -> Any:
    return (A * B).sum()


# ---- HSIC, CKA, kernel alignment -----------------------------------------------------------------

CENTRE = {"biased": centred, "unbiased": u_centred}
UNCENTRED = {"biased": np.asarray, "unbiased": hollow}


def hsic(K: Array, L: Array, estimator: str) -> Any:
    """tr(KHLH)/n^2, and the U-statistic of Song et al. (2012), which is <U(K), U(L)>/(n(n-3))."""
    n, centre = len(K), CENTRE[estimator]
    return inner(centre(K), centre(L)) / (n * n if estimator == "biased" else n * (n - 3))


def cka(K: Array, L: Array, estimator: str) -> Any:
    return hsic(K, L, estimator) / np.sqrt(hsic(K, K, estimator) * hsic(L, L, estimator))


def kernel_alignment(K: Array, L: Array, estimator: str) -> Any:
    K, L = UNCENTRED[estimator](K), UNCENTRED[estimator](L)
    return inner(K, L) / np.sqrt(inner(K, K) * inner(L, L))


def bias_floor(K: Array, L: Array) -> Any:
    """What biased CKA tends to on independent data: sqrt(PR(K) PR(L))/(n-1), PR = (tr HKH)^2/||HKH||^2."""
    A, B = centred(K), centred(L)
    return np.sqrt(np.trace(A) ** 2 / inner(A, A) * np.trace(B) ** 2 / inner(B, B)) / (len(K) - 1)


# ---- standard errors by the delta method ---------------------------------------------------------


def kernel_alignment_se(K: Array, L: Array) -> float:
    n = len(K)
    g12, g11, g22 = (hollow(A * B).sum(1) / (n - 1) for A, B in ((K, L), (K, K), (L, L)))
    h12, h11, h22 = g12.mean(), g11.mean(), g22.mean()
    psi = g12 / np.sqrt(h11 * h22) - h12 / np.sqrt(h11 * h22) / 2 * (g11 / h11 + g22 / h22)
    return float(np.sqrt(4 / n * psi.var()))


def hsic_projections(K: Array, L: Array) -> Array:
    """(n,) of mean HSIC_u; their second moment is R of Song et al. (2012), theorem 5."""
    n, c = len(K), inner_rows(u_centred(K), u_centred(L))
    return ((n - 2) * c + c.sum()) / (2 * (n - 1) * (n - 3))


def inner_rows(A: Array, B: Array) -> Array:
    return (A * B).sum(1)


def hsic_se(K: Array, L: Array) -> float:
    return float(np.sqrt(16 / len(K) * hsic_projections(K, L).var()))


def cka_se(K: Array, L: Array) -> float:
    g12, g11, g22 = hsic_projections(K, L), hsic_projections(K, K), hsic_projections(L, L)
    h12, h11, h22 = g12.mean(), g11.mean(), g22.mean()
    psi = g12 / np.sqrt(h11 * h22) - h12 / np.sqrt(h11 * h22) / 2 * (g11 / h11 + g22 / h22)
    return float(np.sqrt(16 / len(K) * psi.var()))


# ---- distance alignment and MMD ------------------------------------------------------------------


def distance_alignment(X: Array, Y: Array, *, normalize: str = "none", centered: bool = False) -> Any:
    """Mean over all ordered pairs of (d_1^2 - d_2^2)^2, the squared distances double-centred first if asked."""
    if normalize == "unit_diagonal":
        X, Y = unit_rows(X), unit_rows(Y)
    D1, D2 = squared_distances(X, X), squared_distances(Y, Y)
    if normalize == "hs_norm":
        K, L = (centred(linear(Z, Z)) if centered else linear(Z, Z) for Z in (X, Y))
        D1, D2 = D1 / np.sqrt((K * K).mean()), D2 / np.sqrt((L * L).mean())
    difference = centred(D1 - D2) if centered else D1 - D2
    return (difference**2).mean()


def mmd2(Kxx: Array, Kzz: Array, Kxz: Array, estimator: str) -> Any:
    if estimator == "biased":
        return Kxx.mean() + Kzz.mean() - 2 * Kxz.mean()
    n, m = Kxz.shape
    return hollow(Kxx).sum() / (n * (n - 1)) + hollow(Kzz).sum() / (m * (m - 1)) - 2 * Kxz.mean()


# ---- independence tests: (K, L) -> (statistic, p-value) ------------------------------------------


def permutation_moments(A: Array, B: Array) -> tuple[Any, Any]:
    """Mean and variance of <A, PBP'> over all permutations P; A, B symmetric, zero row sums (Kazi-Aoual 1995)."""
    n = len(A)
    (T, T2, S2), (U, U2, R2) = ((np.trace(C), inner(C, C), (np.diag(C) ** 2).sum()) for C in (A, B))
    mean = T * U / (n - 1)
    leading = 2 * ((n - 1) * T2 - T**2) * ((n - 1) * U2 - U**2) / ((n - 1) ** 2 * (n + 1) * (n - 2))
    diagonal = (n * (n + 1) * S2 - (n - 1) * (T**2 + 2 * T2)) * (n * (n + 1) * R2 - (n - 1) * (U**2 + 2 * U2))
    return mean, leading + diagonal / ((n + 1) * n * (n - 1) * (n - 2) * (n - 3))


def gamma_test(K: Array, L: Array) -> tuple[float, float]:
    A, B = centred(K), centred(L)
    mean, var = permutation_moments(A, B)
    return inner(A, B) / len(K), stats.gamma.sf(inner(A, B), mean**2 / var, scale=var / mean)


def pearson3_test(K: Array, L: Array) -> tuple[float, float]:
    A, B = centred(K), centred(L)
    mean, var = permutation_moments(A, B)
    skew = 8 * np.trace(A @ A @ A) * np.trace(B @ B @ B) / (2 * inner(A, A) * inner(B, B)) ** 1.5
    return inner(A, B) / len(K), stats.pearson3.sf(inner(A, B), skew, loc=mean, scale=np.sqrt(var))


def gretton_test(K: Array, L: Array) -> tuple[float, float]:
    """Gretton et al. (2008); the mean is written for any diagonal, and is theirs where the diagonal is 1."""
    n, A, B = len(K), centred(K), centred(L)
    off = n * (n - 1)
    variance = hollow((A * B / 6) ** 2).sum() / off * 72 * (n - 4) * (n - 5) / (off * (n - 2) * (n - 3))
    mx, my = hollow(K).sum() / off, hollow(L).sum() / off
    mean = (np.trace(K) / n - mx) * (np.trace(L) / n - my) / n
    return inner(A, B) / n, stats.gamma.sf(inner(A, B) / n, mean**2 / variance, scale=variance * n / mean)


def chi2_test(K: Array, L: Array) -> tuple[float, float]:
    """Shen, Panda and Vogelstein (2022)."""
    statistic = len(K) * cka(K, L, "unbiased") + 1
    return statistic, stats.chi2.sf(statistic, 1)


def t_test(K: Array, L: Array) -> tuple[float, float]:
    """Szekely and Rizzo (2013)."""
    n, C = len(K), cka(K, L, "unbiased")
    v = n * (n - 3) / 2
    statistic = np.sqrt(v - 1) * C / np.sqrt(1 - C * C)
    return statistic, stats.t.sf(statistic, v - 1)


def permutation_test(K: Array, L: Array) -> tuple[float, float]:
    """The share of all n! permutations whose HSIC_b is at least the one observed: what a sampled test estimates."""
    A, B, n = centred(K), centred(L), len(K)
    values = np.array([inner(A, B[np.ix_(p, p)]) for p in itertools.permutations(range(n))])
    observed = inner(A, B)
    return observed / n, float((values >= observed - 1e-12 * abs(observed)).mean())


TESTS: dict[str, Callable[[Array, Array], tuple[float, float]]] = {
    "gamma": gamma_test,
    "pearson3": pearson3_test,
    "gretton": gretton_test,
    "chi2": chi2_test,
    "t": t_test,
    "permutation": permutation_test,
}


# ---- spectra ---------------------------------------------------------------------------------------


def eigenpairs(K: Array, k: int) -> tuple[Array, Array]:
    """The k eigenvalues of K/n largest in size, and their eigenfunctions (n, k) of mean square 1."""
    n = len(K)
    values, vectors = np.linalg.eigh(K / n)
    order = np.argsort(-np.abs(values))[:k]
    return values[order], vectors[:, order] * np.sqrt(n)


def overlap(phi: Array, psi: Array) -> Array:
    """[Phi]_ij, the mean of phi_i psi_j."""
    return phi.T @ psi / len(phi)


def kare(K: Array, y: Array, ridge: float) -> float:
    """Jacot et al. (2020): y'(K/n + ridge)^-2 y/n over the square of tr (K/n + ridge)^-1 / n."""
    n = len(K)
    inverse = np.linalg.inv(K / n + ridge * np.eye(n))
    return float(((inverse @ y) ** 2).sum() / n / (np.trace(inverse) / n) ** 2)


def generalised_cross_validation(K: Array, y: Array, ridge: float) -> float:
    """Mean square residual of the hat matrix H = K(K + n ridge)^-1, over (1 - tr H/n)^2."""
    n = len(K)
    hat = K @ np.linalg.inv(K + n * ridge * np.eye(n))
    return float(((y - hat @ y) ** 2).sum() / n / (1 - np.trace(hat) / n) ** 2)


def cumulative_power(phi: Array, f: Array) -> Array:
    """C(rho) of Canatar et al. (2021), relative to the mean square of f."""
    return np.cumsum((phi.T @ f / len(f)) ** 2) / np.mean(f * f)


def learning_curve(eta: Array, power: Array, p: int, ridge: float, noise: float) -> float:
    """Canatar et al. (2021), by iteration of the fixed point."""
    kappa = ridge + eta.sum()
    for _ in range(20000):
        kappa = (kappa + ridge + (kappa * eta / (kappa + p * eta)).sum()) / 2
    gamma = (p * eta**2 / (kappa + p * eta) ** 2).sum()
    return float(((power * kappa**2 / (kappa + p * eta) ** 2).sum() + noise * gamma) / (1 - gamma))


def _zeros(X: Array, Z: Array) -> Array:
    return np.zeros((len(X), len(Z)), X.dtype)


# ---- feature moments: CCA, regression, shapes, units, in their n x n or textbook forms --------------------


def scatter(X: Array) -> Array:
    """HXX'H from centred rows: the linear kernel centred, without its cancellation far from 0."""
    Z = X - X.mean(0)
    return Z @ Z.T


def hat_matrix(X: Array, ridge: float = 0.0) -> Array:
    """K (K + n ridge)^-1 of centred rows; without a ridge the projector on their column space."""
    n, K = len(X), scatter(X)
    values, V = np.linalg.eigh(K)
    values = np.where(values > 1e-13 * values.max(), values, 0)
    kept = np.divide(values, values + n * ridge, out=np.zeros_like(values), where=values > 0)
    return (V * kept) @ V.T


def canonical_correlations(X: Array, Y: Array, ridge: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Roots of the eigenvalues of the product of the hat matrices (Fukumizu et al. 2007), all n of them."""
    values = np.linalg.eigvals(hat_matrix(X, ridge[0]) @ hat_matrix(Y, ridge[1])).real
    return np.sort(np.sqrt(np.maximum(values, 0)))[::-1]


def principal_components(X: Array, k: int, standardize: bool = False) -> Array:
    """X projected on its k leading principal axes."""
    Z = X - X.mean(0)
    if standardize:
        Z = Z / Z.std(0)
    values, V = np.linalg.eigh(Z.T @ Z)
    return Z @ V[:, np.argsort(-values)[:k]]


def components_for(X: Array, variance: float) -> int:
    """Least number of principal components that hold this part of the variance."""
    parts = np.sort(np.linalg.eigvalsh(np.cov(X.T).reshape(X.shape[1], -1)))[::-1]
    return next(k for k in range(1, len(parts) + 1) if parts[:k].sum() >= variance * parts.sum())


def pwcca(X: Array, Y: Array) -> float:
    """Morcos et al. 2018: canonical variables of X as eigenvectors of P_x P_y P_x, weights from raw features."""
    P, Q = hat_matrix(X), hat_matrix(Y)
    values, H = np.linalg.eigh(P @ Q @ P)
    k = round(min(np.trace(P), np.trace(Q)))
    top = np.argsort(-values)[:k]
    weights = np.abs(H[:, top].T @ (X - X.mean(0))).sum(1)
    return float(weights @ np.sqrt(np.maximum(values[top], 0)) / weights.sum())


def linear_regression_r2(X: Array, Y: Array, ridge: float = 0.0) -> float:
    Z = Y - Y.mean(0)
    residual = Z - hat_matrix(X, ridge) @ Z
    return 1 - (residual**2).sum() / (Z**2).sum()


def misalignment(X: Array, Y: Array) -> float:
    """min over affine maps of the mean squared error, one least-squares problem in raw features."""
    design = np.hstack([X, np.ones((len(X), 1))])
    solution = np.linalg.lstsq(design, Y, rcond=None)[0]
    return float(((Y - design @ solution) ** 2).sum() / len(X))


def coco(X: Array, Y: Array) -> float:
    values = np.linalg.eigvals(scatter(X) @ scatter(Y)).real
    return float(np.sqrt(values.max()) / len(X))


def root(K: Array) -> Array:
    values, V = np.linalg.eigh(K)
    return (V * np.sqrt(np.where(values > 1e-13 * values.max(), values, 0))) @ V.T


def fidelity(K: Array, L: Array) -> float:
    """|X'Y|_* of any X, Y with XX' = K, YY' = L."""
    return float(np.linalg.svd(root(K) @ root(L), compute_uv=False).sum())


def procrustes(X: Array, Y: Array, normalize: bool = True) -> float:
    K, L = scatter(X), scatter(Y)
    if normalize:
        K, L = K / np.trace(K), L / np.trace(L)
    return float(np.trace(K) + np.trace(L) - 2 * fidelity(K, L))


def shape_kernel(X: Array, alpha: float) -> Array:
    """X_phi X_phi' with X_phi = HX (alpha + (1 - alpha) C^-1/2), C = X'HX/n."""
    Z = X - X.mean(0)
    values, V = np.linalg.eigh(Z.T @ Z / len(X))
    inverse = np.divide(1, np.sqrt(np.abs(values)), out=np.zeros_like(values), where=values > 1e-13 * values.max())
    phi = Z @ (alpha * np.eye(X.shape[1]) + (1 - alpha) * (V * inverse) @ V.T)
    return phi @ phi.T


def shape_distance(X: Array, Y: Array, alpha: float) -> float:
    K, L = shape_kernel(X, alpha), shape_kernel(Y, alpha)
    return float(np.arccos(fidelity(K, L) / np.sqrt(np.trace(K) * np.trace(L))))


def unit_correlations(X: Array, Y: Array) -> Array:
    return np.corrcoef(X.T, Y.T)[: X.shape[1], X.shape[1] :]


def best_assignment(S: Array) -> float:
    """Largest mean of entries, one of each row and column used, over all of them."""
    S = S if S.shape[0] <= S.shape[1] else S.T
    columns = itertools.permutations(range(S.shape[1]), S.shape[0])
    return max(float(S[np.arange(len(S)), list(c)].mean()) for c in columns)


def relative_space(X: Array, anchors: Array, space: str) -> Array:
    if space == "cosine":
        return cosine(X, anchors)
    gaps = np.abs(X[:, None, :] - anchors[None, :, :])
    return {"euclidean": np.sqrt((gaps**2).sum(-1)), "l1": gaps.sum(-1), "linf": gaps.max(-1)}[space]


# ---- stitching: regression of Y on X in uncentred features ----------------------------------------------


def smoother(X: Array, ridge: float = 0.0) -> Array:
    """K (K + n ridge)^-1 of K = XX'; without a ridge the projector on the column space."""
    U, s, _ = np.linalg.svd(X)
    s = np.pad(s, (0, len(X) - len(s)))
    kept = np.where(s > 1e-12 * s.max(), s, 0) ** 2
    return (U * np.divide(kept, kept + len(X) * ridge, out=np.zeros_like(kept), where=kept > 0)) @ U.T


def stitching_residual(X: Array, Y: Array, ridge: float = 0.0) -> float:
    """Mean of |y - s(x)|^2 for the map s that minimises it plus ridge |S|^2."""
    return float(((Y - smoother(X, ridge) @ Y) ** 2).sum() / len(X))


def integral_operator(X: Array) -> tuple[Array, Array]:
    """Eigenvalues of XX'/n that are not 0, and eigenfunctions of length 1."""
    values, V = np.linalg.eigh(X @ X.T / len(X))
    kept = values > 1e-12 * values.max()
    return values[kept], V[:, kept]


def spectral_misalignment(X: Array, Y: Array, ridge: float = 0.0) -> tuple[float, float]:
    """(5h): the objective and the residual of ridge stitching, from eigenvalues and overlaps alone."""
    (eta1, phi1), (eta2, phi2) = integral_operator(X), integral_operator(Y)
    missed = ridge / (eta1 + ridge)
    power = (phi1.T @ phi2) ** 2 @ eta2
    return float(eta2.sum() - power @ (1 - missed)), float(eta2.sum() - power @ (1 - missed**2))


def left_out_error(X: Array, Y: Array, penalty: float = 0.0, affine: bool = False) -> float:
    """Each row predicted by a fit of all others, with the same penalty on |S|^2 beside the sum of squares."""
    total = 0.0
    for i in range(len(X)):
        x, y = np.delete(X, i, 0), np.delete(Y, i, 0)
        mx, my = (x.mean(0), y.mean(0)) if affine else (0.0, 0.0)
        design = np.vstack([x - mx, np.sqrt(penalty) * np.eye(X.shape[1])])
        B = np.linalg.lstsq(design, np.vstack([y - my, np.zeros((X.shape[1], Y.shape[1]))]), rcond=None)[0]
        total += ((Y[i] - my - (X[i] - mx) @ B) ** 2).sum()
    return total / len(X)


# ---- representational similarity -----------------------------------------------------------------


def dissimilarities(X: Array, kind: str) -> Array:
    """(n, n); a row without direction keeps none, so that it is at half a unit from all that have one."""
    if kind == "correlation":
        X = X - X.mean(1, keepdims=True)
    if kind in ("cosine", "correlation"):
        X = unit_rows(X)
        return squared_distances(X, X) / 2
    D = squared_distances(X, X)
    return np.sqrt(D) if kind == "euclidean" else D


def over_pairs(D: Array) -> Array:
    """i < j."""
    return D[np.triu_indices(len(D), 1)]


def mid_ranks(d: Array) -> Array:
    """1 + how many are less + half of how many others are equal."""
    ordered = np.sort(d)
    return (np.searchsorted(ordered, d, "left") + np.searchsorted(ordered, d, "right") + 1) / 2


def geotopological(d: Array, low: float, high: float) -> Array:
    """Lin and Kriegeskorte (2024), with thresholds at two quantiles."""
    l, u = np.quantile(d, [low, high])
    return np.where(d > u, 1.0, np.where(d < l, 0.0, (d - l) / (u - l) if u > l else 0.0))


def rsa(a: Array, b: Array, correlation: str) -> float:
    """From the dissimilarities of all pairs."""
    if correlation == "spearman":
        a, b = mid_ranks(a), mid_ranks(b)
    if correlation != "cosine":
        a, b = a - a.mean(), b - b.mean()
    return (a @ b) / np.sqrt(a @ a) / np.sqrt(b @ b)


# ---- nearest neighbours --------------------------------------------------------------------------


def nearness(metric: str, X: Array) -> Array:
    """What neighbours are ranked by, larger is nearer; the cosine by cot|cot|, which keeps all digits and every tie."""
    if metric == "inner_product":
        return linear(X, X)
    if metric == "cosine":
        wide = X.astype(np.longdouble)
        dot = wide @ wide.T
        both = np.multiply.outer(np.diag(dot), np.diag(dot))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = dot * np.abs(dot) / np.maximum(both - dot * dot, 0)
        return np.where(dot == 0, 0, ratio)
    return -squared_distances(X, X) if metric == "euclidean" else -l1_distances(X, X)


def nearest(S: Array, k: int) -> Array:
    """(n, k) the columns of the k largest of each row, its own left out, ties to the lower index."""
    order = np.argsort(-S, axis=1, kind="stable")
    return order[order != np.arange(len(S))[:, None]].reshape(len(S), -1)[:, :k]


def mutual_knn(A: Array, B: Array) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(A.tolist(), B.tolist(), strict=True)]))


def cycle_knn(A: Array, B: Array) -> float:
    return float(np.mean([i in {a for j in b for a in A[j].tolist()} for i, b in enumerate(B.tolist())]))


@cache
def lcs(a: tuple[object, ...], b: tuple[object, ...]) -> int:
    """Length of the longest common subsequence."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + lcs(a[:-1], b[:-1])
    return max(lcs(a[:-1], b), lcs(a, b[:-1]))


@cache
def levenshtein(a: tuple[object, ...], b: tuple[object, ...]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(levenshtein(a[:-1], b) + 1, levenshtein(a, b[:-1]) + 1, levenshtein(a[:-1], b[:-1]) + (a[-1] != b[-1]))


def rows_of(A: Array) -> list[tuple[int, ...]]:
    return [tuple(row) for row in A.tolist()]


def lcs_knn(A: Array, B: Array) -> float:
    return float(np.mean([lcs(a, b) / len(a) for a, b in zip(rows_of(A), rows_of(B), strict=True)]))


def edit_knn(A: Array, B: Array) -> float:
    return float(np.mean([1 - levenshtein(a, b) / len(a) for a, b in zip(rows_of(A), rows_of(B), strict=True)]))


def mask(A: Array) -> Array:
    """M_ij = 1 if j is in row i of the lists."""
    M = np.zeros((len(A), len(A)))
    np.put_along_axis(M, A, 1, axis=1)
    return M


def cknna(K: Array, L: Array, k: int) -> float:
    """Huh et al. (2024), values centred over all rows, then masked."""
    U, V, M, N = u_centred(K), u_centred(L), mask(nearest(K, k)), mask(nearest(L, k))
    return float(inner(M * U, N * V) / np.sqrt(inner(M * U, U) * inner(N * V, V)))


def cknna_reference(K: Array, L: Array, k: int) -> float:
    """As the authors' code has it: Song et al.'s formula on masked matrices, which are not symmetric."""
    M, N = mask(nearest(K, k)), mask(nearest(L, k))

    def song(A: Array, B: Array) -> Any:
        n = len(A)
        return (A * B.T).sum() + A.sum() * B.sum() / ((n - 1) * (n - 2)) - 2 * (A @ B).sum() / (n - 2)

    kl, kk, ll = song(M * N * K, M * N * L), song(M * K, M * K), song(N * L, N * L)
    return float(kl / np.sqrt(kk * ll)) if kk > 0 and ll > 0 else math.nan


# ---- kernel ridge regression from one representation to another --------------------------------------------


def kernel_ridge(K: Array, Y: Array, ridge: float) -> tuple[Array, Array]:
    """Coefficients a of s(x) = sum k(x_i, x) a_i, and the hat matrix K (K + n ridge)^-1."""
    n = len(K)
    values, V = np.linalg.eigh(K)
    a = (V / (values + n * ridge)) @ (V.T @ Y)
    return a, (V * (values / (values + n * ridge))) @ V.T


def leave_one_out(K: Array, Y: Array, ridge: float) -> float:
    """Every row predicted by a fit to the others, with the penalty of all rows."""
    n, total = len(K), 0.0
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        a = np.linalg.solve(K[np.ix_(rest, rest)] + n * ridge * np.eye(n - 1), Y[rest])
        total += ((Y[i] - K[i, rest] @ a) ** 2).sum()
    return total / n


def nystroem(K: Array, landmarks: Array) -> Array:
    """K_nm K_mm^+ K_mn."""
    values, V = np.linalg.eigh(K[np.ix_(landmarks, landmarks)])
    kept = values > len(landmarks) * 2.0**-52 * values.max()
    psi = K[:, landmarks] @ (V[:, kept] / np.sqrt(values[kept]))
    return psi @ psi.T


# ---- every measure of the registry, by its own defaults ----------------------------------------------------------


def of_kernels(measure: Callable[[Array, Array, str], Any], estimator: str) -> Callable[[Array, Array], float]:
    return lambda X, Y: float(measure(linear(X, X), linear(Y, Y), estimator))


def of_neighbours(measure: Callable[[Array, Array], float], k: int = 10) -> Callable[[Array, Array], float]:
    return lambda X, Y: measure(nearest(nearness("cosine", X), k), nearest(nearness("cosine", Y), k))


def cca(X: Array, Y: Array) -> float:
    return float(canonical_correlations(X, Y)[: min(X.shape[1], Y.shape[1])].mean())


def svcca(X: Array, Y: Array, variance: float = 0.99) -> float:
    few = (principal_components(Z, components_for(Z, variance)) for Z in (X, Y))
    return cca(*few)


def pearson_rsa(X: Array, Y: Array) -> float:
    a, b = (over_pairs(dissimilarities(Z, "sqeuclidean")) for Z in (X, Y))
    return rsa(a, b, "pearson")


MEASURES: dict[str, Callable[[Array, Array], float]] = {
    "cka": of_kernels(cka, "unbiased"),
    "kernel_alignment": of_kernels(kernel_alignment, "biased"),
    "hsic": of_kernels(hsic, "unbiased"),
    "distance_alignment": distance_alignment,
    "rsa": pearson_rsa,
    "mutual_knn": of_neighbours(mutual_knn),
    "cycle_knn": of_neighbours(cycle_knn),
    "lcs_knn": of_neighbours(lcs_knn),
    "edit_knn": of_neighbours(edit_knn),
    "cknna": lambda X, Y: cknna(linear(X, X), linear(Y, Y), 10),
    "cca": cca,
    "svcca": svcca,
    "pwcca": pwcca,
    "linear_regression_r2": linear_regression_r2,
    "coco": coco,
    "nocco": lambda X, Y: float((canonical_correlations(X, Y) ** 2).sum()),
    "procrustes": procrustes,
    "shape_distance": lambda X, Y: shape_distance(X, Y, 1.0),
}
