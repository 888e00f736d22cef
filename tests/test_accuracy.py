"""Every number against the oracle, on data chosen to expose an error, by the one accuracy assertion."""

import math

import numpy as np
import pytest

import accuracy
import gramian as gm
import oracle
from accuracy import (
    CASES,
    EPS,
    ESTIMATORS,
    MEASURES,
    TILE_EDGE,
    as_input,
    assert_as_accurate,
    hard_pair,
    naive_gram,
    reference,
    true_gram,
)

# n: the widths of X and Y, and the mean of Y (its standard deviation is about 1)
SHAPES = {
    4: (7, 20, 0.0),
    5: (20, 7, 0.0),
    TILE_EDGE - 1: (20, 7, 10.0),
    TILE_EDGE: (7, 20, 0.0),
    TILE_EDGE + 1: (1, 20, 0.0),
    1000: (7, 20, 10.0),
}
MEASURE = {"hsic": gm.hsic, "cka": gm.cka, "kernel_alignment": gm.kernel_alignment}


def test_there_is_a_case_and_an_oracle_for_every_kernel():
    assert set(gm.kernels.KERNELS) == set(oracle.GRAM) == {case.name for case in CASES.values()}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_measure_is_as_accurate_as_the_textbook(name, dtype, n, measure, estimator, device):
    if n == 4 and measure != "hsic":
        pytest.skip("a ratio of statistics of 4 rows has no scale to be accurate on")
    key, r = (measure, estimator), reference(name, dtype, n, *SHAPES[n])
    X, Y = (as_input(Z, dtype, device) for Z in (r.X, r.Y))
    got = MEASURE[measure](X, Y, CASES[name].kernel, estimator=estimator)
    assert_as_accurate(got, r.want[key], r.naive_errors[key], r.scale[key], dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", CASES)
def test_16_bit_input_is_measured_as_accurately_as_float32(name, measure, dtype, device):
    """Its products are exact in float32, so by default nothing but the rounding of the input itself is lost."""
    pair, key = hard_pair(TILE_EDGE + 1, 7, 20, dtype=dtype), (measure, "unbiased")
    want, scale = accuracy.measures(*(true_gram(CASES[name], Z, "float32") for Z in pair))
    naive, _ = accuracy.measures(*(naive_gram(CASES[name], Z, "float32") for Z in pair))
    got = MEASURE[measure](*(as_input(Z, dtype, device) for Z in pair), CASES[name].kernel, estimator="unbiased")
    assert_as_accurate(got, want[key], [abs(naive[key] - want[key])], scale[key], "float32")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("other", ["linear", "rbf", "laplacian", "arc_cosine_1", "distance"])
@pytest.mark.parametrize("name", ["linear", "rbf", "cosine"])
def test_two_kernels_are_as_accurate_as_one(name, other, dtype, device):
    (X, Y), k, l = hard_pair(TILE_EDGE + 1, 7, 20, dtype=dtype), CASES[name], CASES[other]
    want = oracle.cka(true_gram(k, X, dtype), true_gram(l, Y, dtype), "unbiased")
    naive = oracle.cka(naive_gram(k, X, dtype), naive_gram(l, Y, dtype), "unbiased")
    got = gm.cka(as_input(X, dtype, device), as_input(Y, dtype, device), k.kernel, kernel_y=l.kernel)
    assert_as_accurate(got, want, [abs(naive - want)], 1.0, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", CASES)
def test_mmd_between_samples_of_different_size_is_as_accurate_as_the_textbook(name, estimator, dtype, device):
    """Its scale is that of its three terms; errors grow no faster than theirs."""
    (X, _), (Z, _) = (hard_pair(n, 7, 20, seed=n, dtype=dtype) for n in (TILE_EDGE + 1, 120))
    case, sides = CASES[name], ((X,), (Z,), (X, Z))
    want = oracle.mmd2(*(true_gram(case, s[0], dtype, *s[1:]) for s in sides), estimator)
    naive = oracle.mmd2(*(naive_gram(case, s[0], dtype, *s[1:]) for s in sides), estimator)
    got = gm.mmd2(as_input(X, dtype, device), as_input(Z, dtype, device), case.kernel, estimator=estimator)
    assert_as_accurate(got, want, [abs(naive - want)], np.abs(case.gram(X, Z)).mean(), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "unit_diagonal", "hs_norm"])
def test_distance_alignment_is_as_accurate_as_the_textbook(normalize, centered, dtype, device):
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20, dtype=dtype)
    options = {"normalize": normalize, "centered": centered}
    want, naive = (oracle.distance_alignment(X.astype(t), Y.astype(t), **options) for t in (np.longdouble, dtype))
    scale = sum(oracle.distance_alignment(Z, 0 * Z, **{**options, "normalize": "none"}) for Z in (X, Y))
    scale = scale if normalize == "none" else float(want)
    got = gm.distance_alignment(as_input(X, dtype, device), as_input(Y, dtype, device), **options)
    assert_as_accurate(got, float(want), [float(abs(naive - want))], scale, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_median_bandwidth_is_the_median_over_all_pairs(norm, dtype, device):
    X, _ = hard_pair(TILE_EDGE + 1, 20, 7, dtype=dtype)
    want = oracle.median_bandwidth(X, norm=norm)
    assert_as_accurate(gm.median_bandwidth(as_input(X, dtype, device), norm=norm), want, [0.0], want, dtype)


def test_median_bandwidth_of_a_sample_of_pairs_is_near_that_of_all():
    """5,000 of 1.1e6 pairs: the median's rank has standard deviation sqrt(5000)/2, so 5 of them bound its quantile."""
    X, _ = hard_pair(1500, 7, 7)
    distances = np.sqrt(oracle.squared_distances(X, X))[np.triu_indices(1500, 1)]
    low, high = np.quantile(distances, [0.5 - 2.5 / math.sqrt(5000), 0.5 + 2.5 / math.sqrt(5000)])
    drawn = [gm.median_bandwidth(X, max_pairs=5000, seed=seed) for seed in (0, 0, 1)]
    assert low < min(drawn) < max(drawn) < high
    assert drawn[0] == drawn[1] != drawn[2]


def test_median_bandwidth_of_mostly_equal_rows_is_the_mean_of_the_positive_distances():
    x = np.array([[0.0], [0], [0], [0], [3]])
    assert gm.median_bandwidth(x) == 3
    with pytest.warns(gm.UndefinedWarning, match="all rows of X are the same"):
        assert math.isnan(gm.median_bandwidth(np.full((5, 2), 0.1)))


@pytest.mark.parametrize("name", gm.kernels.KERNELS)
def test_a_name_is_the_kernel_with_its_defaults(name):
    """A bandwidth of None is the median of X for X and that of Y for Y."""
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20)
    want = oracle.cka(oracle.gram(name, X), oracle.gram(name, Y), "unbiased")
    assert_as_accurate(gm.cka(X, Y, name), want, [0.0], 250.0)  # the 1e-12 of it
    assert gm.cka(X, Y, name) == gm.cka(X, Y, gm.kernels.KERNELS[name]())


@pytest.mark.parametrize("name", ["rbf", "laplacian"])
def test_mmd_takes_the_median_of_the_pooled_sample(name):
    X, Z = hard_pair(120, 7, 7)[0], hard_pair(90, 7, 7)[1]
    bandwidth = oracle.median_bandwidth(np.vstack([X, Z]), norm=oracle.HAS_BANDWIDTH[name])
    want = oracle.mmd2(*(oracle.gram(name, *s, bandwidth=bandwidth) for s in ((X,), (Z,), (X, Z))), "unbiased")
    assert_as_accurate(gm.mmd2(X, Z, name), want, [1e-15], 1.0)


def test_zero_rows_have_no_direction():
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20)
    X[[3, 70]], Y[[3, 5]] = 0, 0
    for name in ("cosine", "arc_cosine_0", "arc_cosine_1"):
        want = oracle.cka(CASES[name].gram(X), CASES[name].gram(Y), "unbiased")
        assert_as_accurate(gm.cka(X, Y, CASES[name].kernel), want, [1e-15], 1.0)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16, bool])
def test_integers_and_booleans_are_promoted_to_float64(kind):
    X, Y = ((np.abs(Z * 3).astype(int) % 3).astype(kind) for Z in hard_pair(60, 7, 20))
    assert gm.cka(X, Y, "rbf") == gm.cka(X.astype(np.float64), Y.astype(np.float64), "rbf")


# ---- uncertainty -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "rbf", "polynomial", "distance"])
@pytest.mark.parametrize(
    ("measure", "se"),
    [("cka", oracle.cka_se), ("hsic", oracle.hsic_se), ("kernel_alignment", oracle.kernel_alignment_se)],
)
def test_standard_error_is_that_of_the_oracle(measure, se, name, device):
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20)
    K, L = CASES[name].gram(X), CASES[name].gram(Y)
    options = {"measure": measure, "estimator": "unbiased", "confidence": 0.9}
    X, Y = (as_input(Z, "float64", device) for Z in (X, Y))
    got = gm.alignment(X, Y, CASES[name].kernel, **options)
    half_width = 1.6448536269514722 * got.se  # the 0.95 quantile of the normal
    assert got.value == MEASURE[measure](X, Y, CASES[name].kernel, estimator="unbiased")
    assert got.se == pytest.approx(se(K, L), rel=1e-10)
    assert got.ci == pytest.approx((got.value - half_width, got.value + half_width), rel=1e-12)


@pytest.mark.parametrize("name", ["linear", "rbf", "polynomial", "distance"])
def test_floor_of_biased_cka_is_that_of_the_oracle(name, device):
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20)
    row = gm.compare(as_input(X, "float64", device), as_input(Y, "float64", device), CASES[name].kernel, shuffles=0)
    found = row["cka", "biased", CASES[name].name].floor
    assert found == pytest.approx(oracle.bias_floor(CASES[name].gram(X), CASES[name].gram(Y)), rel=1e-11)


# ---- the hard cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["hsic", "cka"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bandwidth_1000_times_the_data_keeps_5_digits_in_float32(measure, estimator, device):
    X, Y = hard_pair(1000, 7, 20, dtype="float32")
    bandwidth = 1000 * oracle.median_bandwidth(X)
    K, L = (oracle.gram("rbf", Z.astype(np.longdouble), bandwidth=bandwidth) for Z in (X, Y))
    want = float(getattr(oracle, measure)(K, L, estimator))
    kernel = gm.RBF(bandwidth=bandwidth)
    got = MEASURE[measure](as_input(X, "float32", device), as_input(Y, "float32", device), kernel, estimator=estimator)
    assert abs(got / want - 1) <= 1e-5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bandwidth_so_narrow_that_every_value_is_tiny_keeps_its_digits(estimator, dtype, device):
    """Off the diagonal no value exceeds 1e-6: all of unbiased CKA lies there, none of it beside a 1.

    Distances at 50 bandwidths come from inner products here, as in the usual code: their rounding is what K has.
    """
    narrow, errors = accuracy.Case("rbf", {"bandwidth": 0.2}), []
    for seed in reversed(range(8)):
        rng = np.random.default_rng(seed)
        X = accuracy.rounded(rng.normal(size=(TILE_EDGE + 8, 10)), dtype)
        Y = accuracy.rounded(X + 0.1 * rng.normal(size=X.shape), dtype)
        want = oracle.cka(*(true_gram(narrow, Z, dtype) for Z in (X, Y)), estimator)
        errors.append(abs(oracle.cka(*(rbf_of_inner_products(Z.astype(dtype), 0.2) for Z in (X, Y)), estimator) - want))
    got = gm.cka(as_input(X, dtype, device), as_input(Y, dtype, device), narrow.kernel, estimator=estimator)
    assert_as_accurate(got, want, errors, 1.0, dtype)


def rbf_of_inner_products(X, bandwidth):
    G = X @ X.T
    square = np.diag(G)
    K = np.exp(-np.maximum(square[:, None] + square[None, :] - 2 * G, 0) / (2 * bandwidth**2))
    return K.astype(np.float64)  # whose products do not underflow


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["linear", "rbf", "exponential", "laplacian", "rational_quadratic", "distance"])
def test_mean_of_10000_standard_deviations_costs_no_digit_that_the_input_has(name, dtype, device):
    """float32 input keeps 3 digits of its spread: the truth is that of the rounded values."""
    X, Y = (accuracy.rounded(Z + 1e4, dtype) for Z in hard_pair(TILE_EDGE + 1, 7, 20))
    (k, l), case = (Z - Z.mean(0) for Z in (X, Y)), CASES[name]
    if name == "distance":  # not invariant before centring: taken at the data's own place
        k, l = X, Y
    want = oracle.cka(*(case.gram(Z.astype(np.longdouble)) for Z in (k, l)), "unbiased")
    got = gm.cka(as_input(X, dtype, device), as_input(Y, dtype, device), case.kernel)
    assert abs(got - float(want)) <= 16 * max(EPS[dtype], 1e-13)


@pytest.fixture(scope="module")
def large():
    """16,384 x 768 float32 at a mean of ten standard deviations, and CKA in float64 from blocks of centred rows."""
    rng, n, d = np.random.default_rng(0), 16_384, 768
    Z = rng.normal(size=(n, d))
    Y = np.tanh(Z @ rng.normal(size=(d, d)) / math.sqrt(d)) + 0.5 * rng.normal(size=(n, d))
    X, Y = ((V + 10 * V.std(0)).astype(np.float32) for V in (Z, Y))
    bandwidth = math.sqrt(2 * d)
    return X, Y, bandwidth, blocked_cka(*(V - V.mean(0, dtype=np.float64) for V in (X, Y)), bandwidth)


def blocked_cka(X, Y, bandwidth, block=1024):
    """Biased and unbiased CKA, linear and RBF, from blocks of rows by the rows not above them; RBF less 1."""
    n, found = len(X), {}
    squares = [(Z * Z).sum(1) for Z in (X, Y)]
    rows, diagonal, sums = np.zeros((2, 2, n)), np.array([squares, np.zeros((2, n))]), np.zeros((2, 2, 2))
    for start in range(0, n, block):
        I, J = slice(start, start + block), slice(start, n)
        inner = [Z[I] @ Z[J].T for Z in (X, Y)]
        distances = [s[I, None] + s[None, J] - 2 * G for s, G in zip(squares, inner, strict=True)]
        for k, pair in enumerate([inner, [np.expm1(-D / (2 * bandwidth**2)) for D in distances]]):
            for p, K in enumerate(pair):
                np.fill_diagonal(K, 0)
                rows[k, p, I] += K.sum(1)
                rows[k, p, start + block :] += K[:, block:].sum(0)
            own, all_ = ([[np.vdot(A, B) for A in side] for B in side] for side in ([K[:, :block] for K in pair], pair))
            sums[k] += 2 * np.array(all_) - own
    for k, name in enumerate(["linear", "rbf"]):
        found[name] = dict(zip(("biased", "unbiased"), cka_of_sums(sums[k], rows[k], diagonal[k]), strict=True))
    return found


def cka_of_sums(P, r, d):
    """Biased and unbiased CKA from off-diagonal inner products (2, 2), row sums and diagonals (2, n)."""
    n, total, full = r.shape[1], r.sum(1), r + d
    b = P + d @ d.T - 2 / n * full @ full.T + np.outer(full.sum(1), full.sum(1)) / n**2
    u = P - 2 / (n - 2) * r @ r.T + np.outer(total, total) / ((n - 1) * (n - 2))
    return cosine(b), cosine(u)


def cosine(h):
    return h[0, 1] / math.sqrt(h[0, 0] * h[1, 1])


def test_blocked_reference_is_the_oracle():
    X, Y = (Z - Z.mean(0) for Z in hard_pair(300, 7, 20))
    got = blocked_cka(X, Y, 4.0, block=128)
    for name, estimator in (("linear", "biased"), ("linear", "unbiased"), ("rbf", "biased"), ("rbf", "unbiased")):
        want = oracle.cka(CASES[name].gram(X), CASES[name].gram(Y), estimator)
        assert got[name][estimator] == pytest.approx(want, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", ["linear", "rbf"])
def test_float32_cka_of_16384_wide_rows_far_from_zero_is_within_1e_6(large, name, estimator, device):
    X, Y, bandwidth, want = large
    kernel = gm.Linear() if name == "linear" else gm.RBF(bandwidth=bandwidth)
    got = gm.cka(as_input(X, "float32", device), as_input(Y, "float32", device), kernel, estimator=estimator)
    assert abs(got - want[name][estimator]) <= 1e-6


@pytest.mark.slow
def test_linear_cka_from_gram_moments_of_16384_wide_rows_far_from_zero_is_within_1e_6(large, device):
    X, Y, _, want = large
    got = cka_of(gm.gram_moments(as_input(X, "float32", device), as_input(Y, "float32", device), kernel="linear"))
    assert got == pytest.approx((want["linear"]["biased"], want["linear"]["unbiased"]), abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gram_moments_hold_what_every_estimator_needs(name):
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20)
    K, L = CASES[name].gram(X), CASES[name].gram(Y)
    want = oracle.cka(K, L, "biased"), oracle.cka(K, L, "unbiased")
    assert cka_of(gm.gram_moments(X, Y, kernel=CASES[name].kernel)) == pytest.approx(want, abs=1e-12)


def cka_of(moments):
    """Centring takes the shift off again, so the shifted sums will do."""
    return cka_of_sums(moments.shifted_inner, moments.row_sums, moments.diagonal)


# ---- where tiles hold next to nothing of the kernel ------------------------------------------------------------------


def alignment_error(K, L):
    """SE of unbiased kernel alignment in extended precision (Theory, 1)."""
    n = len(K)
    K, L = (np.where(np.eye(n, dtype=bool), 0, k) for k in (K, L))
    own, both, other = g = np.stack([(a * b).sum(axis=1) for a, b in ((K, K), (K, L), (L, L))]) / (n - 1)
    h = g.mean(axis=1)
    root = np.sqrt(h[0] * h[2])
    psi = both / root - 0.5 * h[1] / root * (own / h[0] + other / h[2])
    return float(np.sqrt(4 / np.longdouble(n) * np.var(psi)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mean", [0, 10, 1e3, 1e5])
def test_standard_error_of_alignment_far_from_the_origin(mean, dtype):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((60, 80)) + mean).astype(dtype)
    Y = (X[:, :40] + rng.standard_normal((60, 40))).astype(dtype)
    K, L = (x.astype(np.longdouble) @ x.T.astype(np.longdouble) for x in (X, Y))

    found = gm.alignment(X, Y, "linear", measure="kernel_alignment").se
    assert found == pytest.approx(alignment_error(K, L), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bandwidth", [1.0, 30.0, 2500.0, 1e5])
def test_standard_error_of_alignment_at_wide_bandwidths(bandwidth, dtype):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((80, 8)).astype(dtype), rng.standard_normal((80, 5)).astype(dtype)
    distances = [((x[:, None].astype(float) - x[None]) ** 2).sum(axis=-1) for x in (X, Y)]
    if bandwidth < 1e4:
        want = alignment_error(*(np.exp(-d.astype(np.longdouble) / (2 * bandwidth**2)) for d in distances))
    else:  # the kernel is 1 − d/2b² but for d²: D = K − L in these units, and ψ = −½ D² up to a constant
        d = (distances[1] - distances[0]) / (2 * bandwidth**2)
        d = d - d.sum() / (80 * 79)
        np.fill_diagonal(d, 0)
        squares = (d**2).sum(axis=1) / 79
        want = float(np.sqrt(4 / 80 * np.var(0.5 * squares)))

    found = gm.alignment(X, Y, gm.RBF(bandwidth), measure="kernel_alignment").se
    assert found == pytest.approx(want, rel=1e-4)
    assert gm.compare(X, Y, kernel=gm.RBF(bandwidth), shuffles=0).rows


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e150])
def test_a_scale_whose_square_leaves_the_range_of_floats(scale):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 80)), rng.standard_normal((60, 80))
    want = gm.hsic(X, Y, "linear")
    assert gm.hsic(X * scale, Y / scale, "linear") == pytest.approx(want, rel=1e-12)
    assert gm.cka(X * scale, Y, "linear") == pytest.approx(gm.cka(X, Y, "linear"), rel=1e-12)
    tiny, huge = gm.hsic(X * 1e-200, Y, "linear"), gm.hsic(X[:, :8] * 1e156, Y[:, :8], "linear")
    assert (tiny, abs(huge)) == (0, np.inf)
