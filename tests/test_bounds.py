"""Bounds: exact numbers of the theory, never violated on random problems, reached where the theory says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import brentq, linprog

import gramian as gm
import oracle

Array = np.ndarray[Any, Any]
many = settings(max_examples=60, derandomize=True, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def moment(a: Array, b: Array) -> Array:
    return a.T @ b / len(a)


def stitched(f1: Array, f2: Array) -> Array:
    """The best linear map of f1 to f2, applied."""
    return f1 @ np.linalg.lstsq(f1, f2, rcond=None)[0]


def mean_square(a: Array) -> float:
    return float((a**2).sum() / len(a))


def spectra(f1: Array, f2: Array) -> tuple[Array, Array]:
    return np.linalg.eigvalsh(moment(f1, f1)), np.linalg.eigvalsh(moment(f2, f2))


# ---- middle layers -------------------------------------------------------------------------------------------------


def orthonormal_pair(n: int) -> tuple[Array, Array]:
    """x and e of mean square 1, orthogonal in the sample."""
    q = np.linalg.qr(normal(7, n, 2))[0] * math.sqrt(n)
    return q[:, :1], q[:, 1:]


def test_bound_is_reached_by_the_example_of_the_theory() -> None:
    rho, w, c = 0.6, 1.7, 0.8
    x, e = orthonormal_pair(1000)
    f2 = rho * x + math.sqrt(1 - rho**2) * e
    y = w * f2 + c * w * math.sqrt(1 - rho**2) * e
    risk, misalignment = mean_square(w * f2 - y), mean_square(f2 - stitched(x, f2))
    np.testing.assert_allclose([risk, misalignment], [1.183744, 0.64], rtol=1e-10)
    bound = gm.bounds.stitching(risk, w, misalignment)
    np.testing.assert_allclose([bound, mean_square(w * stitched(x, f2) - y)], 5.992704, rtol=1e-10)
    np.testing.assert_allclose(gm.bounds.stitching_forward(risk, w, misalignment), bound - risk, rtol=1e-12)
    np.testing.assert_allclose(gm.bounds.stitching_refined(risk, 1.0, [[w]], [[misalignment]]), bound, rtol=1e-12)


def random_problem(seed: int) -> dict[str, Any]:
    """Two representations, a head of the second (one layer in three is a network of two), and targets."""
    rng = np.random.default_rng(seed)
    n, d1, d2, k, q = 40, *rng.integers(1, 7, size=4)
    f1 = rng.normal(size=(n, d1)) * 10.0 ** rng.uniform(-1, 1, d1)
    f2 = f1 @ rng.normal(size=(d1, d2)) * rng.uniform(0, 1) + rng.normal(size=(n, d2)) * 10.0 ** rng.uniform(-2, 1)
    first, second = rng.normal(size=(k, d2)) * 10.0 ** rng.uniform(-2, 1, size=(k, 1)), rng.normal(size=(q, k))
    deep = bool(seed % 3)

    def head(z: Array) -> Array:
        hidden = z @ first.T
        return (np.tanh(hidden) if deep else hidden) @ second.T

    return {
        "f1": f1,
        "f2": f2,
        "first": first,
        "rest": float(np.linalg.norm(second, 2)),
        "head": head,
        "y": head(f2) + rng.normal(size=(n, q)) * 10.0 ** rng.uniform(-2, 1),
    }


@pytest.mark.parametrize("start", range(0, 1000, 250))
def test_random_heads_never_leave_their_bounds(start: int) -> None:
    for seed in range(start, start + 250):
        p = random_problem(seed)
        f2, mapped = p["f2"], stitched(p["f1"], p["f2"])
        error = f2 - mapped
        risk, misalignment = mean_square(p["head"](f2) - p["y"]), mean_square(error)
        actual = mean_square(p["head"](mapped) - p["y"])
        kappa = p["rest"] * float(np.linalg.norm(p["first"], 2))
        plain = gm.bounds.stitching(risk, kappa, misalignment)
        refined = gm.bounds.stitching_refined(risk, p["rest"], p["first"], moment(error, error))
        room = 1 + 1e-12
        assert gm.bounds.stitching_lower(risk, kappa, misalignment) <= actual * room
        assert actual <= refined * room
        assert refined <= plain * room
        assert plain - risk <= gm.bounds.stitching_forward(risk, kappa, misalignment) * room + 1e-12 * plain


def test_effective_constant_of_the_sample_is_enough() -> None:
    w = normal(3, 2, 3)
    f1, f2, y = normal(0, 50, 4), normal(1, 50, 3), normal(2, 50, 2)
    mapped = stitched(f1, f2)
    risk, misalignment = mean_square(f2 @ w.T - y), mean_square(f2 - mapped)
    kappa = gm.lipschitz.effective(w, mapped, f2)
    assert kappa < gm.lipschitz.upper(w)
    assert mean_square(mapped @ w.T - y) <= gm.bounds.stitching(risk, kappa, misalignment)


def test_nothing_is_lost_without_misalignment() -> None:
    assert gm.bounds.stitching(4.0, math.inf, 0.0) == 4.0
    assert gm.bounds.stitching(4.0, math.inf, 1.0) == math.inf
    assert gm.bounds.stitching(4.0, 1e200, 1.0) == math.inf
    assert gm.bounds.stitching_lower(4.0, math.inf, 1.0) == 0.0
    assert gm.bounds.stitching_forward(4.0, 2.0, 0.0) == 0.0


# ---- output layers -------------------------------------------------------------------------------------------------


def best_stitched_risk(f1: Array, w2: Array, y: Array) -> float:
    """By least squares over S itself: vec(W2 S f1) = (f1 ⊗ W2) vec(S)."""
    solution = np.linalg.lstsq(np.kron(f1, w2), y.ravel(), rcond=None)[0]
    return mean_square((np.kron(f1, w2) @ solution).reshape(y.shape) - y)


@pytest.mark.parametrize("rank", [3, 2, 1])
def test_output_layer_is_exact_for_every_rank(rank: int) -> None:
    f1, f2, y = normal(0, 30, 4), normal(1, 30, 5), normal(2, 30, 3) + normal(0, 30, 4) @ normal(5, 4, 3)
    w2 = normal(3, 3, rank) @ normal(4, rank, 5)
    left = y - stitched(f1, y)
    risk1, risk2 = mean_square(left), mean_square(f2 @ w2.T - y)
    actual = best_stitched_risk(f1, w2, y)
    got = gm.bounds.output_layer_projected(w2, moment(y, y), moment(left, left))
    np.testing.assert_allclose(got, actual, rtol=1e-10)
    if rank == 3:
        np.testing.assert_allclose(gm.bounds.output_layer(risk1, risk2, w2), actual - risk2, rtol=1e-10)
    else:
        assert got > risk1 * 1.1
        with pytest.raises(ValueError, match=f"got rank {rank} for 3 outputs"):
            gm.bounds.output_layer(risk1, risk2, w2)


# ---- misalignment from alignment -----------------------------------------------------------------------------------


@many
@given(seeds, st.integers(1, 6), st.integers(1, 6))
def test_misalignment_lies_in_its_interval_which_lies_in_the_simple_one(seed: int, d1: int, d2: int) -> None:
    rng = np.random.default_rng(seed)
    f1 = rng.normal(size=(60, d1)) * 10.0 ** rng.uniform(-1, 1, d1)
    f2 = (f1 @ rng.normal(size=(d1, d2)) + rng.normal(size=(60, d2))) * 10.0 ** rng.uniform(-3, 3)
    eta1, eta2 = spectra(f1, f2)
    a = oracle.kernel_alignment(f1 @ f1.T, f2 @ f2.T, "biased")
    found = gm.bounds.misalignment_from_ka(a, eta1, eta2)
    actual = mean_square(f2 - stitched(f1, f2))
    trace, product = eta2.sum(), a * np.linalg.norm(eta1) * np.linalg.norm(eta2)
    room = 1e-9 * trace
    assert found.low - room <= actual <= found.high + room
    assert found.low >= trace - product / eta1.min() - room
    assert found.low >= np.sort(eta2)[: max(d2 - d1, 0)].sum() - room  # what d1 directions cannot hold
    assert found.high <= trace - product / eta1.max() + room


@many
@given(seeds, st.integers(1, 5), st.integers(1, 5), st.floats(0, 1))
def test_interval_is_the_optimum_of_the_linear_programme(seed: int, d1: int, d2: int, part: float) -> None:
    rng = np.random.default_rng(seed)
    eta1, eta2 = np.sort(rng.uniform(0.1, 2, d1))[::-1], np.sort(rng.uniform(0.1, 2, d2))[::-1]
    k = min(d1, d2)
    a = part * float(eta1[:k] @ eta2[:k]) / (np.linalg.norm(eta1) * np.linalg.norm(eta2))
    sums = np.vstack([np.kron(np.eye(d1), np.ones(d2)), np.kron(np.ones(d1), np.eye(d2))])
    gain = np.kron(np.ones(d1), eta2)
    target = a * np.linalg.norm(eta1) * np.linalg.norm(eta2)
    both = [
        linprog(sign * gain, A_ub=sums, b_ub=np.ones(d1 + d2), A_eq=np.kron(eta1, eta2)[None], b_eq=[target])
        for sign in (-1, 1)
    ]
    want = [eta2.sum() + both[0].fun, eta2.sum() - both[1].fun]
    found = gm.bounds.misalignment_from_ka(a, eta1, eta2)
    np.testing.assert_allclose([found.low, found.high], want, rtol=1e-7, atol=1e-7)


def test_white_features_leave_no_freedom() -> None:
    f1 = np.linalg.qr(normal(0, 50, 3))[0] * math.sqrt(50)
    f2 = normal(1, 50, 4) + f1 @ normal(2, 3, 4)
    a = oracle.kernel_alignment(f1 @ f1.T, f2 @ f2.T, "biased")
    found = gm.bounds.misalignment_from_ka(a, *spectra(f1, f2))
    np.testing.assert_allclose([found.low, found.high], mean_square(f2 - stitched(f1, f2)), rtol=1e-12)


def test_spectra_may_hold_zeros_and_any_scale() -> None:
    want = gm.bounds.misalignment_from_ka(0.4, [2.0, 1.0], [3.0, 1.0])
    same = gm.bounds.misalignment_from_ka(0.4, [2e-250, 0.0, 1e-250], [1e250, -1e230, 3e250])
    np.testing.assert_allclose([same.low, same.high], [want.low * 1e250, want.high * 1e250], rtol=1e-12)
    assert gm.bounds.misalignment_from_ka(0.4, [2.0, -1e-20, 1.0], [3.0, 1.0]).low <= want.low
    assert want.low in want
    assert want.high * 2 not in want


# ---- distance alignment --------------------------------------------------------------------------------------------


def test_distance_alignment_follows_from_kernel_alignment() -> None:
    X, Y = normal(0, 80, 3), normal(1, 80, 5) + 1
    K, L = oracle.cosine(X, X), oracle.cosine(Y, Y)
    n = len(K)
    a = oracle.kernel_alignment(K, L, "biased")
    found = gm.bounds.da_from_ka(a, np.linalg.norm(K) / n, np.linalg.norm(L) / n)
    np.testing.assert_allclose(found, gm.distance_alignment(X, Y, normalize="unit_diagonal"), rtol=1e-12)


def test_centered_distance_alignment_follows_from_cka_whatever_the_diagonal() -> None:
    X, Y = normal(0, 80, 3) + 4, normal(1, 80, 5)
    norms = [np.linalg.norm((Z - Z.mean(0)) @ (Z - Z.mean(0)).T) / 80 for Z in (X, Y)]
    found = gm.bounds.centered_da_from_cka(gm.cka(X, Y, estimator="biased"), *norms)
    np.testing.assert_allclose(found, gm.distance_alignment(X, Y, centered=True), rtol=1e-12)
    normalised = gm.bounds.centered_da_from_cka(gm.cka(X, Y, estimator="biased"), 1.0, 1.0)
    want = gm.distance_alignment(X, Y, centered=True, normalize="hs_norm")
    np.testing.assert_allclose(normalised, want, rtol=1e-12)


# ---- from a sample to the population -------------------------------------------------------------------------------


def gaussian_ka(rho: float, sigma: float = 1.0) -> float:
    """Population kernel alignment of RBF kernels of a bivariate normal pair (golden test G3)."""
    joint = (1 + 2 / sigma**2) ** 2 - 4 * rho**2 / sigma**4
    return float(joint**-0.5 * (1 + 4 / sigma**2) ** 0.5)


def gaussian_pair(seed: int, n: int, rho: float) -> tuple[Array, Array]:
    z = normal(seed, n, 2)
    return z[:, :1], rho * z[:, :1] + math.sqrt(1 - rho**2) * z[:, 1:]


def test_paper_deviation_fails_for_a_narrow_kernel_and_the_interval_does_not() -> None:
    """n = 500 samples look perfectly aligned through the diagonal, and are not aligned at all."""
    bound = gm.bounds.ka_concentration(500, 0.05)
    assert bound == pytest.approx(0.4859, abs=1e-4)
    narrow = gm.RBF(bandwidth=1e-4)
    truth = gaussian_ka(0.0, 1e-4)
    assert truth == pytest.approx(1e-4, rel=1e-6)
    for seed in range(5):
        x, y = gaussian_pair(seed, 500, 0.0)
        assert gm.kernel_alignment(x, y, narrow) - truth > bound
        assert truth in gm.bounds.ka_interval(gm.gram_moments(x, y, kernel=narrow), 0.05)


def test_paper_deviation_holds_for_kernels_of_ordinary_width() -> None:
    assert gaussian_ka(0.5) == pytest.approx(0.790569415042095, rel=1e-12)
    for seed in range(50):
        x, y = gaussian_pair(seed, 200, 0.5)
        off = abs(gm.kernel_alignment(x, y, gm.RBF(bandwidth=1.0)) - gaussian_ka(0.5))
        assert off < gm.bounds.ka_concentration(200, 0.05)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_interval_covers_the_population(rho: float) -> None:
    for seed in range(60):
        x, y = gaussian_pair(seed, 300, rho)
        found = gm.bounds.ka_interval(gm.gram_moments(x, y, kernel=gm.RBF(bandwidth=1.0)), 0.05)
        assert gaussian_ka(rho) in found
        assert found.low < found.value < found.high
        assert (found.delta, found.n) == (0.05, 300)


def hoeffding_half_width(K: Array, L: Array, delta: float) -> float:
    """The interval of theory 1i: Hoeffding's inequality, then the triangle inequality."""
    n = len(K)
    mean = {name: M[~np.eye(n, dtype=bool)].mean() for name, M in (("N", K * L), ("B", K * K), ("C", L * L))}
    eps = math.sqrt(math.log(6 / delta) / (2 * (n // 2)))
    b, c = eps / mean["B"], eps / mean["C"]
    rho = max(math.sqrt((1 + b) * (1 + c)) - 1, 1 - math.sqrt(max(1 - b, 0) * max(1 - c, 0)))
    return eps / math.sqrt(mean["B"] * mean["C"]) + rho


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0])
def test_interval_is_never_wider_than_hoeffdings(bandwidth: float) -> None:
    x, y = gaussian_pair(0, 600, 0.7)
    found = gm.bounds.ka_interval(gm.gram_moments(x, y, kernel=gm.RBF(bandwidth=bandwidth)), 0.01)
    half = hoeffding_half_width(oracle.rbf(x, x, bandwidth), oracle.rbf(y, y, bandwidth), 0.01)
    assert found.value - half <= found.low < found.value < found.high <= found.value + half


def entropy_limits(p: float, m: int, delta: float) -> tuple[float, float]:
    """Where m·kl(p, θ) = log(6/δ), left and right of p."""

    def gap(theta: float) -> float:
        return float(p * np.log(p / theta) + (1 - p) * np.log((1 - p) / (1 - theta))) - math.log(6 / delta) / m

    return brentq(gap, 1e-12, p, xtol=1e-15), brentq(gap, p, 1 - 1e-12, xtol=1e-15)


@pytest.mark.parametrize("signed", [False, True])
def test_interval_is_that_of_its_formula(signed: bool) -> None:
    x, y = normal(0, 1001, 2), normal(1, 1001, 2)
    kernel = gm.Cosine() if signed else gm.RBF(bandwidth=1.0)
    found = gm.bounds.ka_interval(gm.gram_moments(x, y, kernel=kernel), 0.1)
    K, L = (oracle.cosine(z, z) if signed else oracle.rbf(z, z, 1.0) for z in (x, y))
    joint, own1, own2 = ((A * B)[~np.eye(1001, dtype=bool)].mean() for A, B in ((K, L), (K, K), (L, L)))
    b, c = (entropy_limits(mean, 500, 0.1) for mean in (own1, own2))
    if signed:  # independent directions: the interval has 0 inside, and its ends the smallest denominators
        n = [2 * t - 1 for t in entropy_limits((joint + 1) / 2, 500, 0.1)]
        want = [n[0] / math.sqrt(b[0] * c[0]), n[1] / math.sqrt(b[0] * c[0])]
    else:
        n = list(entropy_limits(joint, 500, 0.1))
        want = [n[0] / math.sqrt(b[1] * c[1]), n[1] / math.sqrt(b[0] * c[0])]
    assert found.value == pytest.approx(joint / math.sqrt(own1 * own2), rel=1e-12)
    np.testing.assert_allclose([found.low, found.high], np.clip(want, -1, 1), rtol=1e-9)


def test_interval_narrows_with_the_root_of_n() -> None:
    widths = []
    for n in (2000, 8000):
        x, y = gaussian_pair(1, n, 0.0)
        found = gm.bounds.ka_interval(gm.gram_moments(x, y, kernel=gm.RBF(bandwidth=1.0)), 0.05)
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.1)


def test_relative_entropy_bound_is_the_exact_one_of_coins() -> None:
    low, high = gm.bounds._chernoff(0.0, 50, 3.0)
    assert low == 0.0
    assert high == pytest.approx(1 - math.exp(-3 / 50), rel=1e-12)  # (1 − θ)^m = e^−3
    low, high = gm.bounds._chernoff(0.3, 50, 3.0)
    for theta in (low, high):
        kl = 0.3 * math.log(0.3 / theta) + 0.7 * math.log(0.7 / (1 - theta))
        assert kl == pytest.approx(3 / 50, rel=1e-9)


def test_interval_of_signed_kernels() -> None:
    for seed in range(20):
        x, y = normal(seed, 4000, 3), normal(seed + 100, 4000, 3)
        found = gm.bounds.ka_interval(gm.gram_moments(x, y, kernel="cosine"), 0.05)
        assert -0.3 < found.low < 0 < found.high < 0.3  # independent directions: A = 0


def test_linear_kernel_has_an_interval_once_its_bound_is_known() -> None:
    x = normal(0, 500, 3)
    x *= np.minimum(1, 3 / np.linalg.norm(x, axis=1, keepdims=True))  # ‖x‖² ≤ 9
    for scale in (1.0, 1e100):
        moments = gm.gram_moments(x * scale, x * scale, kernel="linear")
        found = gm.bounds.ka_interval(moments, 0.05, kernel_bounds=(9 * scale**2, 9 * scale**2))
        assert found.value == pytest.approx(1, rel=1e-12)
        assert 1.0 in found
    cosine = gm.bounds.ka_interval(gm.gram_moments(x, x, kernel="cosine"), 0.05)
    scaled = gm.bounds.ka_interval(gm.gram_moments(x, x, kernel="cosine"), 0.05, kernel_bounds=(1.0, None))
    assert cosine == scaled


def test_interval_of_one_pair_among_many() -> None:
    x, y = gaussian_pair(0, 300, 0.5)
    kernel = gm.RBF(bandwidth=1.0)
    many = gm.gram_moments(y, x, y + 1, kernel=kernel)
    alone = gm.bounds.ka_interval(gm.gram_moments(x, y + 1, kernel=kernel), 0.05)
    found = gm.bounds.ka_interval(many, 0.05, pair=(1, 2))
    np.testing.assert_allclose([found.low, found.high, found.value], [alone.low, alone.high, alone.value], rtol=1e-12)


def test_kernel_of_zeros_has_the_whole_range() -> None:
    x = np.arange(20.0)[:, None] * 1e6
    found = gm.bounds.ka_interval(gm.gram_moments(x, x, kernel=gm.RBF(bandwidth=1.0)), 0.05)
    assert (found.low, found.high) == (0.0, 1.0)
    assert math.isnan(found.value)


def test_float32_rounding_widens_the_interval() -> None:
    x, y = gaussian_pair(0, 3000, 0.0)
    kernel = gm.RBF(bandwidth=1.0)
    wide = gm.bounds.ka_interval(gm.gram_moments(*(a.astype(np.float32) for a in (x, y)), kernel=kernel), 0.05)
    exact = gm.bounds.ka_interval(gm.gram_moments(x, y, kernel=kernel), 0.05)
    assert wide.low < exact.low < exact.high < wide.high < exact.high + 1e-3


# ---- where a bandwidth came from -----------------------------------------------------------------------------------


def test_moments_know_which_bandwidths_their_rows_chose(tmp_path: Any) -> None:
    x = normal(0, 50, 3)
    kernels = ["rbf", gm.RBF(bandwidth=1.0), "linear", gm.Laplacian()]
    whole = gm.gram_moments(x, x, x, x, kernel=kernels)
    assert whole.bandwidth_from_rows == (True, False, False, True)
    whole.save(tmp_path / "moments.npz")
    assert gm.GramMoments.load(tmp_path / "moments.npz").bandwidth_from_rows == whole.bandwidth_from_rows


def test_one_shard_with_such_a_bandwidth_is_enough() -> None:
    x = normal(0, 500, 3)
    given_one = gm.RBF(bandwidth=gm.median_bandwidth(x))
    parts = [gm.gram_moments(x, x, kernel=k, shard=(r, 2)) for r, k in enumerate([given_one, "rbf"])]
    for joined in (parts[0] + parts[1], parts[1] + parts[0]):
        with pytest.raises(ValueError, match="was chosen by these rows"):
            gm.bounds.ka_interval(joined, 0.05)


# ---- what is refused -----------------------------------------------------------------------------------------------

X = normal(0, 500, 3)
MOMENTS = gm.gram_moments(X, X[:, :2], kernel=gm.RBF(bandwidth=1.0))
b = gm.bounds
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: b.stitching(-1.0, 1, 1), ValueError, "risk2 must be at least 0, got -1"),
    (lambda: b.stitching(1.0, math.nan, 1), ValueError, "kappa2 must be finite, got nan"),
    (lambda: b.stitching(1.0, 1, math.inf), ValueError, "misalignment must be finite, got inf"),
    (lambda: b.stitching("1", 1, 1), TypeError, "risk2 must be a number, got str"),
    (lambda: b.stitching(True, 1, 1), TypeError, "risk2 must be a number, got bool"),
    (lambda: b.stitching_lower(1.0, -1, 1), ValueError, "kappa2 must be at least 0, got -1"),
    (lambda: b.stitching_forward(1.0, 1, -1), ValueError, "misalignment must be at least 0, got -1"),
    (
        lambda: b.stitching_refined(1.0, 1, np.eye(2), np.eye(3)),
        ValueError,
        "residual must have shape (2, 2), one row and column for each feature that first takes, got (3, 3)",
    ),
    (
        lambda: b.stitching_refined(1.0, 1, np.eye(2), np.array([[1.0, 1], [0, 1]])),
        ValueError,
        "residual must be symmetric, a matrix of second moments",
    ),
    (
        lambda: b.stitching_refined(1.0, 1, np.eye(2), -np.eye(2)),
        ValueError,
        "residual must be positive semi-definite, got the eigenvalue -1",
    ),
    (
        lambda: b.output_layer(1.0, 1.0, np.zeros((1, 3))),
        ValueError,
        "head must have full row rank, got rank 0 for 1 outputs: it cannot output everything, and the stitching risk "
        "is more than risk1; use output_layer_projected",
    ),
    (lambda: b.output_layer(1.0, 1.0, np.array([[np.nan]])), ValueError, "head has NaN in row 0, column 0"),
    (
        lambda: b.output_layer_projected(np.eye(2), np.eye(2), 2 * np.eye(2)),
        ValueError,
        "residual exceeds targets: targets - residual must be positive semi-definite",
    ),
    (
        lambda: b.misalignment_from_ka(0.9, [1.0, 1.0], [1.0]),
        ValueError,
        "ka must be at most 0.707107, which is all that kernels of these spectra can have, got 0.9",
    ),
    (lambda: b.misalignment_from_ka(-0.1, [1.0], [1.0]), ValueError, "ka must be at least 0, got -0.1"),
    (
        lambda: b.misalignment_from_ka(0.1, [1.0, -0.5], [1.0]),
        ValueError,
        "spectrum1 must hold eigenvalues of second moments, at least 0, got -0.5",
    ),
    (
        lambda: b.misalignment_from_ka(0.1, [1.0], [0.0]),
        ValueError,
        "spectrum2 must hold at least one positive eigenvalue",
    ),
    (
        lambda: b.misalignment_from_ka(0.1, np.eye(2), [1.0]),
        ValueError,
        "spectrum1 must have one dimension, one eigenvalue for each feature, got shape (2, 2)",
    ),
    (lambda: b.da_from_ka(1.5, 1, 1), ValueError, "ka must be from -1 to 1, got 1.5"),
    (
        lambda: b.da_from_ka(0.5, 2.0, 1),
        ValueError,
        "norm1 must be above 0 and at most 1, as of a kernel with unit diagonal, got 2",
    ),
    (lambda: b.centered_da_from_cka(0.5, 2.0, 0), ValueError, "norm2 must be above 0, got 0"),
    (lambda: b.ka_concentration(0, 0.1), ValueError, "n must be at least 1, got 0"),
    (lambda: b.ka_concentration(10.5, 0.1), TypeError, "n must be a whole number, got float"),
    (
        lambda: b.ka_concentration(10, 1.0),
        ValueError,
        "delta must be between 0 and 1, the probability of failure, got 1",
    ),
    (lambda: b.ka_interval(X, 0.1), TypeError, "moments must be GramMoments, as gram_moments gives, got ndarray"),
    (
        lambda: b.ka_interval(gm.gram_moments(X, X, kernel="cosine", shard=(0, 2)), 0.1),
        ValueError,
        "moments hold 3 of 6 tiles; add the other shards first",
    ),
    (
        lambda: b.ka_interval(gm.gram_moments(X, X), 0.1),
        ValueError,
        "X's kernel Linear() has no bound, so nothing can be certified; use a bounded kernel, kernel_bounds, or the "
        "standard error of gm.alignment",
    ),
    (
        lambda: b.ka_interval(gm.gram_moments(X, X, kernel=["cosine", "rbf"]), 0.1),
        ValueError,
        "was chosen by these rows, so the interval would certify nothing; pass a bandwidth from other rows: "
        "gm.median_bandwidth(held_out)",
    ),
    (
        lambda: b.ka_interval(gm.gram_moments(X, X), 0.1, kernel_bounds=(0.5, 100.0)),
        ValueError,
        "kernel_bounds says 0.5 for X, but these rows reach ",
    ),
    (
        lambda: b.ka_interval(MOMENTS, 0.1, kernel_bounds=1.0),
        TypeError,
        "kernel_bounds must be two numbers, or None for a kernel's own, got 1.0",
    ),
    (lambda: b.ka_interval(MOMENTS, 0.1, pair=(0, 0)), ValueError, "pair must name two of the 2 representations"),
    (lambda: b.ka_interval(MOMENTS, 0.1, pair=(0, 2)), ValueError, "of the moments, from 0, got (0, 2)"),
    (lambda: b.ka_interval(MOMENTS, 0.1, pair=1), TypeError, "pair must be two numbers of representations, got 1"),
    (lambda: b.ka_interval(MOMENTS, -0.1), ValueError, "delta must be between 0 and 1"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[text[:40] for _, _, text in WRONG])
def test_error_says_what_came_and_what_is_needed(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert text in str(found.value)


def test_what_directions_below_the_rounding_explain_is_open() -> None:
    white = gm.bounds.misalignment_from_ka(0.6, [1, 0], [3, 4])
    open_to_all = gm.bounds.misalignment_from_ka(0.6, [1, 1e-20], [3, 4])

    assert (white.low, white.high) == pytest.approx((4, 4))  # KA·‖η1‖‖η2‖ = 3 of 7 is all that one direction explains
    assert (open_to_all.low, open_to_all.high) == pytest.approx((0, 4), abs=1e-12)
