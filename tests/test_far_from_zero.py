"""Rows far from 0, huge integers, equal samples, parameters at the ends of a float: the right number, or why none."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from oracle import Array


def far(n: int, d: int, mean: float, dtype: str = "float32") -> tuple[Array, Array]:
    r = np.random.default_rng(0)
    X = (r.standard_normal((n, d)) + mean).astype(dtype)
    return X, (X - mean + 0.5 * r.standard_normal((n, d)) + mean).astype(dtype)


def grams(name: str, *arrays: Array, **params: Any) -> list[Array]:
    """In long double; of the cosine from centred rows, which centring K itself would round away."""
    wide = [Z.astype(np.longdouble) for Z in arrays]
    if name == "cosine":
        return [oracle.scatter(oracle.unit_rows(Z)) for Z in wide]
    return [oracle.scatter(Z) if name == "linear" else oracle.gram(name, Z, **params) for Z in wide]


def test_float32_rows_a_million_spreads_from_0_have_a_distance_cka() -> None:
    r = np.random.default_rng(1)
    X = (r.standard_normal((40, 100)) + 1e6).astype("f4")
    Y = (X + 0.3 * r.standard_normal((40, 100))).astype("f4")
    ratio = gm.hsic(X, Y, "distance") / math.sqrt(gm.hsic(X, X, "distance") * gm.hsic(Y, Y, "distance"))
    want = float(oracle.cka(*grams("distance", X, Y), "unbiased"))
    assert gm.cka(X, Y, "distance") == pytest.approx(want, rel=1e-6)
    assert ratio == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf", "laplacian", "distance"])
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_float32_rows_far_from_0_are_not_constant(kernel: str, estimator: Any) -> None:
    X, Y = far(40, 100, 1e6)
    want = float(oracle.cka(*grams(kernel, X, Y), estimator))
    assert gm.cka(X, Y, kernel, estimator=estimator) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("mean", [100.0, 300.0, 1000.0])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kernel", [gm.Polynomial(2), gm.Polynomial(3), gm.ArcCosine(0), gm.ArcCosine(1)])
def test_kernels_of_inner_products_keep_their_digits_where_the_mean_dominates(
    kernel: Any, dtype: str, mean: float
) -> None:
    X, Y = far(60, 64, mean, dtype)
    params = {"degree": kernel.degree} if isinstance(kernel, gm.Polynomial) else {"order": kernel.order}
    K, L = grams(kernel.name, X, Y, **params)
    both = grams(kernel.name, np.concatenate([X, Y]), **params)[0]
    mmd = float(oracle.mmd2(both[:60, :60], both[60:, 60:], both[:60, 60:], "biased"))
    assert gm.cka(X, Y, kernel) == pytest.approx(float(oracle.cka(K, L, "unbiased")), abs=1e-8)
    assert gm.hsic(X, Y, kernel) == pytest.approx(float(oracle.hsic(K, L, "unbiased")), rel=1e-6)
    assert gm.mmd2(X, Y, kernel, estimator="biased") == pytest.approx(mmd, rel=1e-6)


def test_polynomials_near_0_stay_in_float32_tiles() -> None:
    X, _ = far(60, 64, 1.0)
    assert gm.gram_moments(X, kernel="polynomial").eps == 2.0**-23


def test_a_kernel_that_float64_cannot_hold_says_so_and_does_not_call_the_rows_constant() -> None:
    X, Y = far(40, 10, 1e9, "float64")
    for call in (gm.cka, gm.hsic, gm.mmd2):
        with pytest.warns(gm.UndefinedWarning, match="float64 is too coarse for this kernel of rows of X"):
            assert math.isnan(call(X, Y, "polynomial"))


def test_rows_that_a_dtype_has_made_equal_are_constant_and_the_reason_says_how() -> None:
    r = np.random.default_rng(0)
    X, Y = (r.standard_normal((40, 10)) + 1e9 + 20).astype("f4"), r.standard_normal((40, 3)).astype("f4")
    with pytest.warns(gm.UndefinedWarning, match="X is constant: .*float32 is too coarse for differences below 6e"):
        assert math.isnan(gm.cka(X, Y))


@pytest.mark.parametrize("mean", [1e9, 1e12])
def test_features_far_from_0_keep_their_digits_in_float64(mean: float) -> None:
    X, Y = far(300, 4, mean, "float64")
    want = float(oracle.cka(*grams("linear", X, Y), "unbiased"))
    D, E = (oracle.squared_distances(Z, Z) for Z in (X.astype(np.longdouble), Y.astype(np.longdouble)))
    assert gm.cka(X, Y) == pytest.approx(want, rel=1e-12)
    assert gm.distance_alignment(X, Y) == pytest.approx(float(((D - E) ** 2).mean()), rel=1e-12)


@pytest.mark.parametrize("mean", [1e6, 1e9])
def test_errors_and_permutations_are_those_of_the_same_rows_near_0(mean: float) -> None:
    r = np.random.default_rng(2)
    X, Y = (np.round(r.standard_normal((30, 40)) * 64) / 64 for _ in range(2))  # exact at both means
    near, away = gm.alignment(X, Y), gm.alignment(X + mean, Y + mean)
    assert away.se == pytest.approx(near.se, rel=1e-10)
    tests = [gm.independence_test(Z, W, "linear", method="permutation") for Z, W in ((X, Y), (X + mean, Y + mean))]
    assert tests[0].pvalue == tests[1].pvalue


def test_integers_beyond_2_to_the_53_are_told_apart() -> None:
    ids = 10**17 + 3 * np.random.default_rng(3).permutation(50)[:, None]
    small, other = (ids - 10**17).astype(float), np.arange(50.0)[:, None] ** 2
    for kernel in ("linear", "rbf", "distance"):
        assert gm.cka(ids, other, kernel) == pytest.approx(gm.cka(small, other, kernel), rel=1e-12)
    assert gm.median_bandwidth(ids) == gm.median_bandwidth(small)
    assert gm.distance_alignment(ids, other) == gm.distance_alignment(small, other)
    assert gm.mmd2(ids, ids + 5, "distance") == pytest.approx(gm.mmd2(small, small + 5, "distance"), rel=1e-12)
    assert gm.kernel_alignment(ids, ids) == 1.0


# ---- a few odd rows ------------------------------------------------------------------------------------------------

KINDS: list[Any] = [gm.Polynomial(2), gm.Polynomial(3), gm.ArcCosine(0), gm.ArcCosine(1), gm.Cosine(), gm.Distance()]


def params(kernel: Any) -> dict[str, Any]:
    return {k: getattr(kernel, k) for k in ("degree", "order") if hasattr(kernel, k)}


@pytest.mark.parametrize("mean", [1e3, 3e3])
@pytest.mark.parametrize("kernel", KINDS, ids=repr)
def test_a_row_of_zeros_far_from_all_others_takes_no_digits_from_unbiased_measures(kernel: Any, mean: float) -> None:
    X, Y = far(80, 16, mean)
    X[0] = 0
    K, L = grams(kernel.name, X, Y, **params(kernel))
    assert gm.cka(X, Y, kernel) == pytest.approx(float(oracle.cka(K, L, "unbiased")), rel=1e-6)
    assert gm.hsic(X, Y, kernel) == pytest.approx(float(oracle.hsic(K, L, "unbiased")), rel=1e-6)


@pytest.mark.parametrize("times", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("kernel", [gm.Polynomial(2), gm.Polynomial(3), gm.ArcCosine(1), gm.Distance()], ids=repr)
def test_a_row_of_another_size_takes_no_digits_from_unbiased_measures(kernel: Any, times: float) -> None:
    X, Y = far(80, 16, 0.0)
    X[0] *= times
    K, L = grams(kernel.name, X, Y, **params(kernel))
    assert gm.cka(X, Y, kernel) == pytest.approx(float(oracle.cka(K, L, "unbiased")), rel=1e-5)
    want = float(oracle.kernel_alignment(K, L, "unbiased"))
    assert gm.kernel_alignment(X, Y, kernel, estimator="unbiased") == pytest.approx(want, abs=1e-6)


def test_errors_and_tests_of_rows_with_an_odd_one_are_those_of_float64() -> None:
    X, Y = far(60, 16, 3e3)
    X[0] = 0
    for kernel in ("polynomial", "cosine", "distance"):
        single, double = (gm.alignment(A, B, kernel) for A, B in ((X, Y), (X.astype("f8"), Y.astype("f8"))))
        assert single.se == pytest.approx(double.se, rel=1e-6)
        assert single.pvalue == pytest.approx(double.pvalue, rel=1e-6)


@pytest.mark.parametrize("kernel", gm.kernels.KERNELS)
def test_ordinary_rows_are_swept_once(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sweep = [], gm._core.sweep
    monkeypatch.setattr(gm._core, "sweep", lambda *a, **k: made.append(1) or sweep(*a, **k))
    X, Y = far(60, 70, 0.0)
    for call in (gm.cka, gm.hsic, gm.kernel_alignment, gm.mmd2):
        made.clear()
        call(X, Y, kernel)
        assert len(made) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_rows_beside_which_float64_has_no_digits_are_the_reason(dtype: str) -> None:
    X, Y = far(60, 8, 0.0, dtype)
    X[0] *= 1e16
    for call in (gm.cka, gm.hsic):
        with pytest.warns(gm.UndefinedWarning, match="a few rows of X are so far from all others"):
            assert math.isnan(call(X, Y, "distance"))
    with pytest.warns(gm.UndefinedWarning, match="the kernel of X is 0 between different rows, up to rounding$"):
        assert math.isnan(gm.cka(X, Y, gm.Polynomial(3)))
    with pytest.warns(gm.UndefinedWarning, match="a few rows of X are so far from all others"):
        assert math.isnan(gm.kernel_alignment(X, Y, gm.Polynomial(3), estimator="unbiased"))
    with pytest.warns(gm.UndefinedWarning, match="a few rows of X are so far from all others"):
        assert math.isnan(gm.hsic(X, Y, gm.Polynomial(3)))


@pytest.mark.parametrize("kernel", [gm.Linear(), *KINDS, gm.RBF(5.0)], ids=repr)
@pytest.mark.parametrize(
    ("dtype", "mean", "times"), [("f4", 0, 1e3), ("f4", 0, 1e4), ("f4", 1e4, 0), ("f8", 0, 1e4), ("f8", 1e4, 0)]
)
def test_an_odd_row_that_both_samples_share_does_not_tell_them_apart(
    kernel: Any, dtype: str, mean: float, times: float
) -> None:
    r = np.random.default_rng(1)
    A, B = r.standard_normal((150, 24)) + mean, r.standard_normal((150, 24)) + mean + 0.3
    A[0] *= times
    B[0] = A[0]
    A, B = A.astype(dtype), B.astype(dtype)
    if kernel == gm.Polynomial(3) and times == 1e4:
        with pytest.warns(gm.UndefinedWarning, match="a few rows of X or Z are so far from all others"):
            assert math.isnan(gm.mmd2(A, B, kernel, estimator="biased"))
        return
    bandwidth = {"bandwidth": 5.0} if kernel.name == "rbf" else {}
    K = grams(kernel.name, np.concatenate([A, B]), **params(kernel), **bandwidth)[0]
    want = float(oracle.mmd2(K[:150, :150], K[150:, 150:], K[:150, 150:], "biased"))
    assert gm.mmd2(A, B, kernel, estimator="biased") == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("mean", [1e8, 1e10])
def test_the_linear_distance_of_samples_is_that_of_their_means_however_far(mean: float) -> None:
    r = np.random.default_rng(1)
    A, B = r.standard_normal((150, 24)) + mean, r.standard_normal((130, 24)) + mean + 0.3
    A[0] = B[0] = 0
    difference = [
        Fraction(sum(map(Fraction, a)), 150) - Fraction(sum(map(Fraction, b)), 130)
        for a, b in zip(A.T, B.T, strict=True)
    ]
    assert gm.mmd2(A, B, "linear", estimator="biased") == pytest.approx(
        float(sum(x * x for x in difference)), rel=1e-12
    )


@pytest.mark.parametrize("mean", [1e5, 1e6])
def test_a_row_of_zeros_in_one_sample_leaves_the_unbiased_distance_its_digits(mean: float) -> None:
    r = np.random.default_rng(1)
    A, B = r.standard_normal((150, 24)) + mean, r.standard_normal((150, 24)) + mean + 0.3
    A[0] = 0
    A, B = A.astype("f4"), B.astype("f4")
    for kernel in (gm.Polynomial(2), gm.ArcCosine(1), gm.Distance()):
        K = grams(kernel.name, np.concatenate([A, B]), **params(kernel))[0]
        want = float(oracle.mmd2(K[:150, :150], K[150:, 150:], K[:150, 150:], "unbiased"))
        assert gm.mmd2(A, B, kernel) == pytest.approx(want, rel=1e-6)


# ---- the ends of float64 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1e155, 1e300])
def test_a_polynomial_of_rows_beyond_1e154_is_the_power_of_inner_products(times: float) -> None:
    X, Y = far(50, 5, 0.0, "float64")
    K, L = (oracle.gram("polynomial", Z, degree=2, scale=0.2, offset=c) for Z, c in ((X, 0.0), (Y, 1.0)))
    assert gm.cka(X * times, Y, "polynomial") == pytest.approx(float(oracle.cka(K, L, "unbiased")), rel=1e-12)
    assert gm.hsic(X * times, Y, "polynomial") == math.inf
    assert gm.mmd2(X * times, Y * times, "polynomial", estimator="biased") == math.inf
    assert "beyond float64" in str(gm.spectrum(X * times, "polynomial").reason)


@pytest.mark.parametrize("order", [0, 1])
def test_arc_cosines_of_the_least_numbers_of_float64_are_those_of_their_directions(order: int) -> None:
    X, Y = far(60, 5, 0.0, "float64")
    X = X * 1e-310
    lifted, kernel = X * 2.0**600 * 2.0**430, gm.ArcCosine(order)  # exact
    for estimator in ("biased", "unbiased"):
        want = float(oracle.cka(*grams("arc_cosine", lifted, Y, order=order), estimator))
        assert gm.cka(X, Y, kernel, estimator=estimator) == pytest.approx(want, rel=1e-12)
    near, deep = gm.hsic(lifted, Y, kernel), gm.hsic(X, Y, kernel)
    assert deep == (0 if order else pytest.approx(near, rel=1e-12))


@pytest.mark.parametrize("kernel", KINDS, ids=repr)
def test_the_hsic_of_equal_rows_is_0_and_not_rounding(kernel: Any) -> None:
    torch = pytest.importorskip("torch")
    _, Y = far(50, 4, 0.0)
    for X in (torch.full((50, 8), 1e4, dtype=torch.bfloat16), np.full((50, 8), 1e4)):
        assert gm.hsic(X, Y, kernel, estimator="biased") == 0
        assert gm.hsic(X, Y, kernel) == 0
        assert gm.cka_matrix([X], [Y], kernel, measure="hsic").values[0, 0] == 0
        assert gm.mmd2(X, X[:20], kernel, estimator="biased") == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kernel", [gm.Cosine(), gm.ArcCosine(0)], ids=repr)
def test_rows_in_one_direction_have_no_hsic_with_kernels_of_directions(kernel: Any) -> None:
    r = np.random.default_rng(0)
    X, Y = np.outer(r.uniform(0.5, 2, 50), r.standard_normal(8)), r.standard_normal((50, 3))
    for estimator in ("biased", "unbiased"):
        assert gm.hsic(X, Y, kernel, kernel_y="linear", estimator=estimator) == pytest.approx(0, abs=1e-15)
        assert gm.mmd2(X, X[:20], kernel, estimator=estimator) == pytest.approx(0, abs=1e-15)


def test_an_alpha_too_small_for_float64_is_blamed_and_not_the_bandwidth() -> None:
    X, Y = np.random.default_rng(0).standard_normal((2, 50, 3))
    with pytest.warns(gm.UndefinedWarning, match="its alpha, 1e-300, is too small"):
        assert math.isnan(gm.cka(X, Y, gm.RationalQuadratic(1.0, alpha=1e-300)))


# ---- squares -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", gm.kernels.KERNELS)
def test_the_biased_distance_of_equal_samples_is_0(kernel: str, dtype: str) -> None:
    X, _ = far(40, 7, 3.0, dtype)
    assert gm.mmd2(X, X, kernel, estimator="biased") == 0
    assert gm.mmd2(X, X[::-1], kernel, estimator="biased") == 0


@pytest.mark.parametrize("normalize", ["none", "unit_diagonal", "hs_norm"])
@pytest.mark.parametrize("shape", [(300, 5), (20, 50)])
def test_the_distance_alignment_of_an_array_with_itself_is_0(shape: tuple[int, int], normalize: Any) -> None:
    X, _ = far(*shape, 3.0)
    for centered in (False, True):
        assert gm.distance_alignment(X, X.copy(), normalize=normalize, centered=centered) == 0


def test_biased_hsic_is_not_negative_and_no_ratio_is_above_1() -> None:
    for seed in range(20):
        X, Y = np.random.default_rng(seed).standard_normal((2, 30, 1))
        Y[:] = 2.0
        assert gm.hsic(X, Y, "rbf", estimator="biased") >= 0
        assert gm.cka(X, X.copy(), "rbf", estimator="biased") <= 1
        assert gm.cka_matrix([X, X.copy()]).values.max() <= 1


# ---- parameters --------------------------------------------------------------------------------------------------

PARAMETERS = [(k, p) for k in gm.kernels.KERNELS.values() for p in k.__dataclass_fields__ if p != "name"]


@pytest.mark.parametrize(("kernel", "parameter"), PARAMETERS)
@pytest.mark.parametrize("value", [10**400, -(10**5000), math.nan, math.inf, "2", [1.0], 1j, True], ids=range(8))
def test_a_parameter_that_is_no_number_of_a_float_is_refused_in_a_line(kernel: Any, parameter: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{parameter} must be .{{,100}}$"):
        kernel(**{parameter: value})


@pytest.mark.parametrize(("kernel", "parameter"), PARAMETERS)
def test_arrays_of_no_dimension_are_the_numbers_in_them(kernel: Any, parameter: str) -> None:
    for one in (np.array(1.0), np.float32(1), np.int64(1), np.array(1)):
        found = kernel(**{parameter: one})
        assert found == kernel(**{parameter: 1})
        assert hash(found) == hash(kernel(**{parameter: 1}))


def test_a_fraction_is_a_number() -> None:
    assert gm.RBF(Fraction(1, 2)) == gm.RBF(0.5)


@pytest.mark.parametrize("method", ["gamma", "pearson3", "gretton", "t", "chi2"])
@pytest.mark.parametrize("bandwidth", [1e-308, 1e-4])
def test_a_bandwidth_at_which_all_rows_are_strangers_has_no_p_value(bandwidth: float, method: Any) -> None:
    X, Y = np.random.default_rng(0).standard_normal((2, 50, 3))
    found = gm.independence_test(X, Y, gm.RBF(bandwidth), method=method)
    assert math.isnan(found.pvalue)
    assert "the kernel of X is 0 between different rows" in str(found.reason)


@pytest.mark.parametrize("kernel", [gm.RBF, gm.RationalQuadratic])
def test_a_bandwidth_at_which_all_rows_are_one_has_no_cka(kernel: Any) -> None:
    X, Y = np.random.default_rng(0).standard_normal((2, 50, 3))
    with pytest.warns(gm.UndefinedWarning, match="same for all pairs of rows, .* bandwidth, 1e\\+308, is too large"):
        assert math.isnan(gm.cka(X, Y, kernel(1e308)))


@pytest.mark.parametrize("kernel", [gm.RBF, gm.Exponential, gm.Laplacian, gm.RationalQuadratic])
def test_a_bandwidth_far_above_the_data_has_its_limits(kernel: Any) -> None:
    X, Y = np.random.default_rng(0).standard_normal((2, 50, 1))
    limit = "distance" if kernel in (gm.Exponential, gm.Laplacian) else "linear"
    assert gm.cka(X, Y, kernel(1e100)) == pytest.approx(gm.cka(X, Y, limit), abs=1e-12)
    assert gm.kernel_alignment(X, Y, kernel(1e100)) == 1


def test_a_comparison_without_p_values_says_why() -> None:
    X, Y = np.random.default_rng(0).standard_normal((2, 50, 3))
    row = gm.compare(X, Y, gm.RBF(1e-4))["cka", "biased", "rbf"]
    assert row.value == pytest.approx(1)
    assert math.isnan(row.pvalue or 0.0)
    assert "the kernel of X is 0 between different rows" in str(row.reason)
