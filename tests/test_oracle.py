"""The oracle against brute force: tuples, all permutations, pair loops in plain Python, other people's code."""

import ast
import itertools
import math
import statistics
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.spatial.distance import cdist

import oracle

RNG = np.random.default_rng(20240917)
X, Y = RNG.normal(size=(6, 3)) + 0.5, RNG.normal(size=(6, 2)) ** 3
K, L = oracle.gram("rbf", X, bandwidth=1.3), oracle.gram("polynomial", Y, degree=3)
PERMUTATIONS = [list(p) for p in itertools.permutations(range(6))]


def dot(x, y):
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def angle(x, y):
    return math.acos(max(-1.0, min(1.0, dot(x, y) / math.hypot(*x) / math.hypot(*y))))


# name, parameters, k(x, y) in plain Python
PAIRWISE = [
    ("linear", {}, dot),
    ("cosine", {}, lambda x, y: math.cos(angle(x, y))),
    ("polynomial", {}, lambda x, y: (dot(x, y) / len(x) + 1) ** 2),
    ("polynomial", {"degree": 3, "scale": 0.3, "offset": 0.7}, lambda x, y: (0.3 * dot(x, y) + 0.7) ** 3),
    ("rbf", {"bandwidth": 1.7}, lambda x, y: math.exp(-(math.dist(x, y) ** 2) / (2 * 1.7**2))),
    ("exponential", {"bandwidth": 1.7}, lambda x, y: math.exp(-math.dist(x, y) / 1.7)),
    ("laplacian", {"bandwidth": 1.7}, lambda x, y: math.exp(-sum(abs(a - b) for a, b in zip(x, y, strict=True)) / 1.7)),
    ("rational_quadratic", {"bandwidth": 1.7}, lambda x, y: 1 / (1 + math.dist(x, y) ** 2 / (2 * 1.7**2))),
    (
        "rational_quadratic",
        {"bandwidth": 1.7, "alpha": 0.4},
        lambda x, y: (1 + math.dist(x, y) ** 2 / (2 * 0.4 * 1.7**2)) ** -0.4,
    ),
    ("arc_cosine", {"order": 0}, lambda x, y: 1 - angle(x, y) / math.pi),
    (
        "arc_cosine",
        {},
        lambda x, y: (
            (math.hypot(*x) * math.hypot(*y) / math.pi)
            * (math.sin(angle(x, y)) + (math.pi - angle(x, y)) * math.cos(angle(x, y)))
        ),
    ),
    ("distance", {}, lambda x, y: (math.hypot(*x) + math.hypot(*y) - math.dist(x, y)) / 2),
]


def test_oracle_imports_nothing_from_the_package():
    tree = ast.parse(Path(oracle.__file__).read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("gramian")]


def test_every_kernel_has_a_plain_python_twin():
    assert {name for name, _, _ in PAIRWISE} == set(oracle.GRAM)


@pytest.mark.parametrize(("name", "params", "k"), PAIRWISE)
def test_gram_matrix_is_the_kernel_of_each_pair(name, params, k):
    Z = RNG.normal(size=(4, 3))
    want = [[k(x, z) for z in Z.tolist()] for x in X.tolist()]
    np.testing.assert_allclose(oracle.gram(name, X, Z, **params), want, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", oracle.GRAM)
def test_gram_matrix_keeps_the_dtype(name):
    params = {"bandwidth": 2.0} if name in oracle.HAS_BANDWIDTH else {}
    assert oracle.gram(name, X.astype(np.float32), **params).dtype == np.float32
    assert oracle.gram(name, X.astype(np.longdouble), **params).dtype == np.longdouble


@pytest.mark.parametrize("name", ["cosine", "arc_cosine"])
def test_zero_row_has_a_zero_row_in_the_gram_matrix(name):
    Z = np.vstack([X, np.zeros(3)])
    assert not oracle.gram(name, Z)[-1].any()


def test_arc_cosine_of_a_zero_row_is_zero_at_order_0():
    Z = np.vstack([X, np.zeros(3)])
    assert not oracle.gram("arc_cosine", Z, order=0)[-1].any()


def test_distances_are_those_of_scipy():
    np.testing.assert_allclose(oracle.squared_distances(X, X[:4]), cdist(X, X[:4], "sqeuclidean"), rtol=1e-14, atol=0)
    np.testing.assert_allclose(oracle.l1_distances(X, X[:4]), cdist(X, X[:4], "cityblock"), rtol=1e-14, atol=0)


@pytest.mark.parametrize("n", [5, 6])
def test_median_bandwidth_is_the_median_of_the_pairs(n):
    pairs = [math.dist(a, b) for a, b in itertools.combinations(X[:n].tolist(), 2)]
    assert oracle.median_bandwidth(X[:n]) == pytest.approx(statistics.median(pairs), rel=1e-15)


def test_median_bandwidth_of_duplicates_is_the_mean_of_the_positive_distances():
    x = np.array([[0.0], [0], [0], [0], [3]])
    assert oracle.median_bandwidth(x) == 3
    assert math.isnan(oracle.median_bandwidth(np.ones((4, 2))))


# ---- centring ------------------------------------------------------------------------------------


def test_centring_is_multiplication_by_h_on_both_sides():
    H = np.eye(6) - 1 / 6
    np.testing.assert_allclose(oracle.centred(K), H @ K @ H, atol=1e-15)


def test_u_centring_projects_on_hollow_matrices_with_zero_row_sums():
    """Its null space is {(a_i + a_j) off the diagonal}: the residual of least squares on that is the projection."""
    off = ~np.eye(6, dtype=bool)
    basis = np.array([((np.arange(6) == i)[:, None] + 0.0 + (np.arange(6) == i)[None, :])[off] for i in range(6)]).T
    want = K[off] - basis @ np.linalg.lstsq(basis, K[off], rcond=None)[0]
    np.testing.assert_allclose(oracle.u_centred(K)[off], want, atol=1e-14)
    assert not np.diag(oracle.u_centred(K)).any()


# ---- HSIC, CKA, kernel alignment -----------------------------------------------------------------


def test_unbiased_hsic_is_the_u_statistic_over_4_tuples():
    terms = [K[i, j] * (L[i, j] + L[k, m] - 2 * L[i, k]) for i, j, k, m in itertools.permutations(range(6), 4)]
    assert oracle.hsic(K, L, "unbiased") == pytest.approx(math.fsum(terms) / len(terms), rel=1e-12)


def test_biased_hsic_is_the_v_statistic_over_4_tuples():
    terms = [K[i, j] * (L[i, j] + L[k, m] - 2 * L[i, k]) for i, j, k, m in itertools.product(range(6), repeat=4)]
    assert oracle.hsic(K, L, "biased") == pytest.approx(math.fsum(terms) / len(terms), rel=1e-12)


def test_biased_hsic_is_the_trace_of_gretton():
    H = np.eye(6) - 1 / 6
    assert oracle.hsic(K, L, "biased") == pytest.approx(np.trace(K @ H @ L @ H) / 36, rel=1e-13)


def test_unbiased_hsic_is_equation_5_of_song():
    A, B, one, n = oracle.hollow(K), oracle.hollow(L), np.ones(6), 6
    product = (one @ A @ one) * (one @ B @ one) / ((n - 1) * (n - 2))
    song = (np.trace(A @ B) + product - 2 / (n - 2) * (one @ A @ B @ one)) / (n * (n - 3))
    assert oracle.hsic(K, L, "unbiased") == pytest.approx(song, rel=1e-12)


def test_biased_linear_hsic_is_the_squared_cross_covariance():
    C = (X - X.mean(0)).T @ (Y - Y.mean(0)) / 6
    assert oracle.hsic(X @ X.T, Y @ Y.T, "biased") == pytest.approx((C**2).sum(), rel=1e-13)


def test_hsic_agrees_with_exact_fractions():
    x, y = [Fraction(v) for v in (0, 1, 2, 4, 7, 11)], [Fraction(v) for v in (1, 0, 2, 3, 9, 8)]
    tuples = list(itertools.permutations(range(6), 4))
    u = [x[i] * x[j] * (y[i] * y[j] + y[k] * y[m] - 2 * y[i] * y[k]) for i, j, k, m in tuples]
    A, B = (np.outer(v, v).astype(np.longdouble) for v in (x, y))
    assert sum(u, Fraction(0)) / len(u) == Fraction(1127, 6)
    assert float(oracle.hsic(A, B, "unbiased")) == pytest.approx(1127 / 6, rel=1e-15)
    assert float(oracle.hsic(A, B, "biased")) == pytest.approx(182329 / 1296, rel=1e-15)


def test_kernel_alignment_is_a_cosine_of_lists_of_entries():
    pairs = list(itertools.product(range(6), repeat=2))
    for estimator, kept in (("biased", pairs), ("unbiased", [(i, j) for i, j in pairs if i != j])):
        k, m = [K[p] for p in kept], [L[p] for p in kept]
        want = dot(k, m) / math.sqrt(dot(k, k) * dot(m, m))
        assert oracle.kernel_alignment(K, L, estimator) == pytest.approx(want, rel=1e-14)


def test_cka_with_the_distance_kernel_is_bias_corrected_distance_correlation():
    """Szekely and Rizzo (2014), equations 2.4 and 2.5, written in the distances."""

    def modified(a, n=6):
        r, s = a.sum(1), a.sum()
        entry = np.vectorize(lambda i, j: a[i, j] - (r[i] + r[j]) / (n - 2) + s / ((n - 1) * (n - 2)))
        return entry(*np.indices((n, n))) * (1 - np.eye(n))

    A, B = modified(cdist(X, X)), modified(cdist(Y, Y))
    got = oracle.cka(oracle.gram("distance", X), oracle.gram("distance", Y), "unbiased")
    assert got == pytest.approx((A * B).sum() / math.sqrt((A * A).sum() * (B * B).sum()), rel=1e-12)


def test_squared_distance_covariance_is_four_times_hsic_of_the_distance_kernel():
    """Szekely, Rizzo and Bakirov (2007): S1 + S2 - 2 S3."""
    a, b = cdist(X, X), cdist(Y, Y)
    dcov2 = (a * b).mean() + a.mean() * b.mean() - 2 * (a.mean(1) * b.mean(1)).mean()
    got = oracle.hsic(oracle.gram("distance", X), oracle.gram("distance", Y), "biased")
    assert 4 * got == pytest.approx(dcov2, rel=1e-12)


def test_bias_floor_is_the_mean_biased_cka_over_all_permutations():
    values = [oracle.cka(K, L[np.ix_(p, p)], "biased") for p in PERMUTATIONS]
    assert oracle.bias_floor(K, L) == pytest.approx(np.mean(values), rel=1e-12)


# ---- standard errors -----------------------------------------------------------------------------


def test_second_moment_of_the_projections_is_the_variance_term_of_song():
    A, B, o, n = oracle.hollow(K), oracle.hollow(L), np.ones(6), 6
    h = (n - 2) ** 2 * (A * B) @ o + (n - 2) * ((A * B).sum() * o - A @ (B @ o) - B @ (A @ o)) - n * (A @ o) * (B @ o)
    h = h + (o @ B @ o) * (A @ o) + (o @ A @ o) * (B @ o) - (o @ A @ B @ o) * o
    song = (h @ h) / (4 * n * ((n - 1) * (n - 2) * (n - 3)) ** 2)
    assert (oracle.hsic_projections(K, L) ** 2).mean() == pytest.approx(song, rel=1e-12)
    assert oracle.hsic_projections(K, L).mean() == pytest.approx(oracle.hsic(K, L, "unbiased"), rel=1e-12)


@pytest.mark.parametrize(
    ("statistic", "se"),
    [
        (lambda A, B: oracle.hsic(A, B, "unbiased"), oracle.hsic_se),
        (lambda A, B: oracle.cka(A, B, "unbiased"), oracle.cka_se),
        (lambda A, B: oracle.kernel_alignment(A, B, "unbiased"), oracle.kernel_alignment_se),
    ],
    ids=["hsic", "cka", "kernel_alignment"],
)
def test_standard_error_is_that_of_the_jackknife(statistic, se):
    """Both estimate the same variance with errors O(1/n) apart; n = 300 leaves under 3 %."""
    n, rng = 300, np.random.default_rng(5)
    x = rng.normal(size=(n, 1))
    A, B = oracle.gram("rbf", x, bandwidth=1), oracle.gram("rbf", 0.7 * x + 0.7 * rng.normal(size=(n, 1)), bandwidth=1)
    kept = [np.delete(np.arange(n), i) for i in range(n)]
    left_out = np.array([statistic(A[np.ix_(k, k)], B[np.ix_(k, k)]) for k in kept])
    assert se(A, B) == pytest.approx(math.sqrt((n - 1) * left_out.var()), rel=0.03)


# ---- distance alignment and MMD ------------------------------------------------------------------


def test_distance_alignment_is_the_mean_over_ordered_pairs():
    terms = [
        (math.dist(X[i], X[j]) ** 2 - math.dist(Y[i], Y[j]) ** 2) ** 2 for i, j in itertools.product(range(6), repeat=2)
    ]
    assert oracle.distance_alignment(X, Y) == pytest.approx(math.fsum(terms) / 36, rel=1e-13)


def test_distance_alignment_of_unit_rows_is_four_times_the_squared_kernel_difference():
    difference = oracle.gram("cosine", X) - oracle.gram("cosine", Y)
    got = oracle.distance_alignment(X, Y, normalize="unit_diagonal")
    assert got == pytest.approx(4 * (difference**2).mean(), rel=1e-12)


def test_normalised_centred_distance_alignment_is_eight_times_one_minus_cka():
    got = oracle.distance_alignment(X, Y, normalize="hs_norm", centered=True)
    assert got == pytest.approx(8 * (1 - oracle.cka(X @ X.T, Y @ Y.T, "biased")), rel=1e-12)


def test_distance_alignment_of_unit_rows_and_equal_norms_is_eight_c2_times_one_minus_ka():
    U = oracle.unit_rows(X)
    V = (U @ np.linalg.qr(RNG.normal(size=(3, 3)))[0])[[3, 1, 4, 0, 5, 2]]
    A, B = U @ U.T, V @ V.T
    want = 8 * (A * A).mean() * (1 - oracle.kernel_alignment(A, B, "biased"))
    assert oracle.distance_alignment(U, V) == pytest.approx(want, rel=1e-12)


def test_unnormalised_distance_alignment_follows_from_diagonals_means_and_norms():
    A, B = X @ X.T, Y @ Y.T
    u, m = np.diag(A) - np.diag(B), (A - B).mean(1)
    want = 2 * (u**2).mean() + 2 * u.mean() ** 2 + 4 * ((A - B) ** 2).mean() - 8 * (u * m).mean()
    assert oracle.distance_alignment(X, Y) == pytest.approx(want, rel=1e-12)


def test_mmd_is_the_mean_over_pairs():
    Z = RNG.normal(size=(5, 3))
    k = PAIRWISE[3][2]
    within = [np.mean([k(a, b) for a, b in itertools.permutations(S.tolist(), 2)]) for S in (X, Z)]
    across = math.fsum(k(a, b) for a in X.tolist() for b in Z.tolist()) / 30
    grams = [oracle.gram("polynomial", *s, degree=3, scale=0.3, offset=0.7) for s in ((X,), (Z,), (X, Z))]
    assert oracle.mmd2(*grams, "unbiased") == pytest.approx(sum(within) - 2 * across, rel=1e-12)


def test_biased_mmd_with_the_distance_kernel_is_half_the_energy_distance():
    Z = RNG.normal(size=(5, 3))
    energy = 2 * cdist(X, Z).mean() - cdist(X, X).mean() - cdist(Z, Z).mean()
    grams = [oracle.gram("distance", *s) for s in ((X,), (Z,), (X, Z))]
    assert 2 * oracle.mmd2(*grams, "biased") == pytest.approx(energy, rel=1e-12)


def test_mmd_between_joint_and_product_of_marginals_is_hsic():
    i, j = np.indices((6, 6)).reshape(2, -1)
    joint, product, across = K * L, K[np.ix_(i, i)] * L[np.ix_(j, j)], K[:, i] * L[:, j]
    assert oracle.mmd2(joint, product, across, "biased") == pytest.approx(oracle.hsic(K, L, "biased"), rel=1e-11)


# ---- independence tests --------------------------------------------------------------------------


def test_permutation_moments_are_those_of_all_permutations():
    A, B = oracle.centred(K), oracle.centred(L)
    values = np.array([(A * B[np.ix_(p, p)]).sum() for p in PERMUTATIONS])
    np.testing.assert_allclose(oracle.permutation_moments(A, B), (values.mean(), values.var()), rtol=1e-11)


def test_unbiased_cka_has_mean_0_and_variance_2_over_n_n_minus_3_over_all_permutations():
    values = np.array([oracle.cka(K, L[np.ix_(p, p)], "unbiased") for p in PERMUTATIONS])
    np.testing.assert_allclose((values.mean(), values.var()), (0, 2 / 18), atol=1e-12)


def test_gretton_mean_is_n_over_n_minus_1_times_the_permutation_mean():
    """Read back from the p-value: at the statistic, sf(shape, x/scale) with the exact mean replaced must agree."""
    n, A, B = 6, oracle.centred(K), oracle.centred(L)
    mean = oracle.permutation_moments(A, B)[0] / n**2 * n / (n - 1)
    pairs = [(A[i, j] * B[i, j] / 6) ** 2 for i, j in itertools.permutations(range(n), 2)]
    variance = np.mean(pairs) * 72 * (n - 4) * (n - 5) / (n * (n - 1) * (n - 2) * (n - 3))
    want = upper_gamma(mean**2 / variance, (A * B).sum() / n**2 * mean / variance)
    assert oracle.gretton_test(K, L)[1] == pytest.approx(want, rel=1e-9)


def test_gamma_test_integrates_the_gamma_density_of_the_permutation_moments():
    A, B = oracle.centred(K), oracle.centred(L)
    mean, var = oracle.permutation_moments(A, B)
    want = upper_gamma(mean**2 / var, (A * B).sum() * mean / var)
    assert oracle.gamma_test(K, L)[1] == pytest.approx(want, rel=1e-9)


def test_pearson3_test_is_a_gamma_with_the_third_moment_matched():
    M = oracle.gram("laplacian", X[:, :2], bandwidth=2.0)  # dependent on K, so that the statistic lies in the support
    A, B = oracle.centred(K), oracle.centred(M)
    mean, var = oracle.permutation_moments(A, B)
    skew = 8 * np.einsum("ij,jk,ki", A, A, A) * np.einsum("ij,jk,ki", B, B, B)
    skew /= (2 * (A * A).sum() * (B * B).sum()) ** 1.5
    from_left_end = (A * B).sum() - (mean - 2 * math.sqrt(var) / skew)
    want = upper_gamma(4 / skew**2, from_left_end / (math.sqrt(var) * skew / 2))
    assert oracle.pearson3_test(K, M)[1] == pytest.approx(want, rel=1e-9)


def test_pearson3_skewness_is_that_of_many_permutations():
    rng, n = np.random.default_rng(8), 80
    A, B = (oracle.centred(oracle.gram("rbf", rng.normal(size=(n, 1)), bandwidth=1)) for _ in range(2))
    skew = 8 * np.trace(A @ A @ A) * np.trace(B @ B @ B) / (2 * (A * A).sum() * (B * B).sum()) ** 1.5
    values = np.array([(A * B[np.ix_(p, p)]).sum() for p in (rng.permutation(n) for _ in range(20000))])
    sampled = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    assert skew == pytest.approx(sampled, rel=0.15)  # the formula leaves out terms O(1/n)


def test_chi2_and_t_tests_follow_from_n_and_cka():
    n, c = 6, oracle.cka(K, L, "unbiased")
    t = math.sqrt(8) * c / math.sqrt(1 - c * c)
    grid = np.linspace(t, 400, 2_000_001)
    density = math.gamma(4.5) / math.sqrt(8 * math.pi) / math.gamma(4) * (1 + grid**2 / 8) ** -4.5
    assert oracle.chi2_test(K, L) == pytest.approx((n * c + 1, math.erfc(math.sqrt((n * c + 1) / 2))), rel=1e-12)
    assert oracle.t_test(K, L) == pytest.approx((t, trapezoid(density, grid)), rel=1e-8)


def test_permutation_test_counts_the_observed_arrangement_and_ties():
    one = np.eye(6)[:, :1]  # one row apart from five equal ones: only a permutation that keeps it reaches the observed
    assert oracle.permutation_test(one @ one.T, one @ one.T)[1] == pytest.approx(1 / 6, rel=1e-14)


# ---- spectra -------------------------------------------------------------------------------------


def test_eigenpairs_are_those_of_the_definition():
    values, phi = oracle.eigenpairs(K, 6)
    assert all(abs(a) >= abs(b) for a, b in itertools.pairwise(values))
    assert sum(values) == pytest.approx(np.trace(K) / 6)
    for value, f in zip(values, phi.T, strict=True):
        for i in range(6):
            assert math.fsum(K[i, j] * f[j] for j in range(6)) / 6 == pytest.approx(value * f[i], abs=1e-12)
        assert math.fsum(f * f) / 6 == pytest.approx(1)


def test_alignment_is_a_sum_over_overlaps():
    (eta, phi), (mu, psi) = oracle.eigenpairs(K, 6), oracle.eigenpairs(L, 6)
    total = sum(
        eta[i] * mu[j] * statistics.fmean(phi[:, i] * psi[:, j]) ** 2 for i, j in itertools.product(range(6), repeat=2)
    )
    assert oracle.overlap(phi, psi)[2, 3] == pytest.approx(statistics.fmean(phi[:, 2] * psi[:, 3]))
    assert total == pytest.approx(oracle.inner(K, L) / 36)


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_kare_is_generalised_cross_validation(ridge):
    want = oracle.generalised_cross_validation(K, Y[:, 0], ridge)
    assert oracle.kare(K, Y[:, 0], ridge) == pytest.approx(want, rel=1e-10)


def test_cumulative_power_of_all_eigenfunctions_is_one():
    assert oracle.cumulative_power(oracle.eigenpairs(K, 6)[1], Y[:, 0])[-1] == pytest.approx(1)


def test_learning_curve_of_one_eigenvalue_solves_a_quadratic():
    # κ² + (pη − λ − η)κ − λpη = 0
    eta, p, ridge, noise = 0.7, 3, 0.2, 0.3
    b = p * eta - ridge - eta
    kappa = (-b + math.sqrt(b * b + 4 * ridge * p * eta)) / 2
    gamma = p * eta**2 / (kappa + p * eta) ** 2
    want = (1.3 * kappa**2 / (kappa + p * eta) ** 2 + noise * gamma) / (1 - gamma)
    assert oracle.learning_curve(np.array([eta]), np.array([1.3]), p, ridge, noise) == pytest.approx(want, rel=1e-12)


def upper_gamma(shape, x):
    """Q(shape, x) by quadrature of the density in the logarithm of its argument."""
    t = np.linspace(math.log(x), math.log(x + 60 + 40 * shape), 2_000_001)
    return float(trapezoid(np.exp(shape * t - np.exp(t) - math.lgamma(shape)), t))


# ---- nearest neighbours --------------------------------------------------------------------------


def lists(n, k, seed):
    return oracle.nearest(np.random.default_rng(seed).normal(size=(n, n)), k)


def test_nearest_are_sorted_by_value_then_by_index():
    S = np.random.default_rng(0).integers(0, 4, size=(9, 9)).astype(float)
    for i, row in enumerate(oracle.nearest(S, 5).tolist()):
        assert row == sorted((j for j in range(9) if j != i), key=lambda j: (-S[i, j], j))[:5]


def test_nearness_is_the_metric_of_each_pair():
    X = np.random.default_rng(0).normal(size=(6, 3))
    X[2] = 0
    with np.errstate(invalid="ignore"):
        cosine = np.nan_to_num(1 - cdist(X, X, "cosine"))
        np.fill_diagonal(cosine, 0)
    for metric, want in (
        ("inner_product", X @ X.T),
        ("euclidean", -cdist(X, X, "sqeuclidean")),
        ("manhattan", -cdist(X, X, "cityblock")),
        ("cosine", cosine * np.abs(cosine) / (1 - cosine**2)),
    ):
        got = oracle.nearness(metric, X)
        if metric == "cosine":
            assert np.isposinf(got.diagonal()[[0, 1, 3, 4, 5]]).all()
            np.fill_diagonal(got, 0)
        np.testing.assert_allclose(got.astype(np.float64), want, rtol=1e-12, atol=1e-14)


def test_mutual_and_cycle_knn_are_counts_over_masks():
    A, B = lists(9, 3, 0), lists(9, 3, 1)
    M, N = oracle.mask(A), oracle.mask(B)
    assert oracle.mutual_knn(A, B) == pytest.approx((M * N).sum() / 27)
    assert oracle.cycle_knn(A, B) == pytest.approx((np.diag(N @ M) > 0).mean())


def test_longest_common_subsequence_is_the_longest_of_all():
    def subsequences(items):
        return {c for r in range(len(items) + 1) for c in itertools.combinations(items, r)}

    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (tuple(rng.choice(7, 5, replace=False).tolist()) for _ in range(2))
        assert oracle.lcs(a, b) == max(map(len, subsequences(a) & subsequences(b)))


@pytest.mark.parametrize(
    ("a", "b", "distance"), [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 3), ("ab", "ba", 2)]
)
def test_edit_distance_of_words(a, b, distance):
    assert oracle.levenshtein(tuple(a), tuple(b)) == distance


def test_measures_of_order_are_means_over_rows():
    A, B = np.array([[1, 2], [0, 2], [1, 0]]), np.array([[2, 1], [0, 2], [0, 1]])
    assert oracle.lcs_knn(A, B) == pytest.approx((1 + 2 + 1) / 6)
    assert oracle.edit_knn(A, B) == pytest.approx((0 + 2 + 0) / 6)


def test_cknna_is_a_sum_over_common_neighbours():
    rng = np.random.default_rng(0)
    n, k = 8, 3
    K, L = (Z @ Z.T for Z in rng.normal(size=(2, n, 2)))
    A, B, U, V = oracle.nearest(K, k), oracle.nearest(L, k), oracle.u_centred(K), oracle.u_centred(L)

    def total(P, Q, first, second):
        return sum(P[i, j] * Q[i, j] for i in range(n) for j in range(n) if j in first[i] and j in second[i])

    want = total(U, V, A, B) / math.sqrt(total(U, U, A, A) * total(V, V, B, B))
    assert oracle.cknna(K, L, k) == pytest.approx(want)


@pytest.mark.parametrize("cknna", [oracle.cknna, oracle.cknna_reference])
def test_cknna_of_all_neighbours_is_debiased_cka(cknna):
    K, L = (Z @ Z.T for Z in np.random.default_rng(0).normal(size=(2, 9, 4)))
    assert cknna(K, L, 8) == pytest.approx(oracle.cka(K, L, "unbiased"))
