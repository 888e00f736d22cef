"""Every kernel measure on the feature zoo: right to what rounding leaves, or nan with a reason true of the data.

What a sweep holds of a kernel matrix is H, which is K but for functions of single rows: the differences of the rows
that a distance is made from and not their distances to 0, k − 1 of a kernel that falls from 1. It is rounded entry by
entry, in float32 tiles to eps = 2^-23 of itself and in float64 tiles to 2^-52, so centring leaves an error of eps·‖H‖
in K̄, and

    |error of ⟨K̄, L̄⟩| ≤ c·eps·(‖H_x‖·‖L̄‖ + ‖K̄‖·‖H_y‖ + eps·‖H_x‖·‖H_y‖).

Entries are rounded a few times (c = 2 covers these, for most errors average out). Normalised rows are rounded
themselves, which counts for cosines as an H of the size ‖K̄‖·‖X̂‖/‖X̂ − mean‖.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
import zoo
from accuracy import CASES, ESTIMATORS, Case
from gramian.sweeps import estimators, gram, routes
from oracle import Array

KERNELS = {
    name: Case(case.name, {k: v for k, v in case.params.items() if k != "bandwidth"})
    for name, case in CASES.items()
    if name not in ("rbf_narrow", "rational_quadratic_heavy")
}
SINGLE, DOUBLE = 2.0**-23, 2.0**-52
NARROW = 1e4  # ‖H‖/‖K̄‖ from which on float32 tiles have too few digits
LOST = 1e12  # ‖H‖/‖K̄‖ from which on float64 tiles may have too few digits


@dataclass(frozen=True)
class Held:
    """A kernel matrix in long double as centring needs it, and how it is rounded."""

    H: Array  # K but for functions of single rows
    K: Array
    size: float  # of H, or of what its rounding is like
    constant: bool  # all rows are the same

    def left(self, estimator: str) -> Array:
        return oracle.CENTRE[estimator](self.H)


def held(case: Case, X: Array) -> Held:
    X = X.astype(np.longdouble)
    params = dict(case.params)
    if case.name in oracle.HAS_BANDWIDTH and "bandwidth" not in params:
        found = oracle.median_bandwidth(X, norm=oracle.HAS_BANDWIDTH[case.name])
        params["bandwidth"] = 1.0 if math.isnan(found) else found
    K = oracle.gram(case.name, X, **params)
    H, size = K, None
    if case.name == "linear":
        from_middle = X - np.median(X, axis=0)  # the mean, but for a few odd rows
        H = from_middle @ from_middle.T
    elif case.name == "cosine":
        U = oracle.unit_rows(X)
        H = oracle.scatter(U)
        left = np.sqrt(((U - U.mean(0)) ** 2).sum())
        size = float(norm(H) * np.sqrt((U**2).sum()) / left) if left > 0 else 0.0
        size += len(X) * DOUBLE  # products of roundings, where directions do not differ
    elif case.name == "distance":
        H = -np.sqrt(oracle.squared_distances(X, X)) / 2
    elif case.name in oracle.HAS_BANDWIDTH:
        H = K - 1
    return Held(H, K, float(norm(H)) if size is None else size, bool((X[0] == X).all()))


def norm(K: Array) -> Any:
    return np.sqrt(oracle.inner(K, K))


def rounding(dtype: str, *arrays: Held) -> float:
    """eps of tiles that keep enough digits of the problem: of float32 ones only where centring leaves 1e-4 of K."""
    lost = 0.0
    for h in arrays:
        tiles, left = oracle.hollow(h.H), float(norm(h.left("unbiased")))  # the diagonal is never in float32
        size = h.size * float(norm(tiles)) / max(float(norm(h.H)), 1e-300)
        lost = max(lost, size / max(left, 1e-300))
    return DOUBLE if dtype == "float64" or lost > NARROW else SINGLE


@dataclass(frozen=True)
class Odd(zoo.Case):
    """With one row of zeros, as of padding, or one that is far longer than all others, in both arrays."""

    row: str = "zero"

    @property
    def arrays(self) -> tuple[Array, Array]:
        X, Y = super().arrays
        for Z in (X, Y):
            Z[0] = 0 if self.row == "zero" else Z[1] * 4096  # exact in all dtypes
        return X, Y


ODD = [
    Odd("plain", dtype, 40, 12, mean, row=row)
    for dtype in ("float64", "float32", "bfloat16")
    for mean, row in ((1e3, "zero"), (1e5, "zero"), (0.0, "long"))
]


def heard(call: Any) -> tuple[float, str | None]:
    """What a plain function gives, and why it is nan."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    assert all(w.category is gm.UndefinedWarning for w in caught), [str(w.message) for w in caught]
    assert len(caught) <= 1
    return value, str(caught[0].message) if caught else None


def assert_true_of_the_data(reason: str | None, x: Held, y: Held, estimator: str) -> None:
    """nan is only for arrays of which nothing is left, and only those with equal rows are constant."""
    assert reason is not None
    lost = [not h.size < LOST * float(norm(h.left(estimator))) for h in (x, y)]
    assert any(lost), reason
    named = "X" if "X" in reason.split("nan: ", 1)[1] else "Y"
    about = x if named == "X" else y
    assert lost[0 if named == "X" else 1], reason
    assert (f"{named} is constant" in reason) == about.constant, reason


def assert_measures_are_right(zooed: zoo.Case, case: Case) -> None:
    X, Y = zooed.arrays
    a, b = zooed.inputs
    x, y = held(case, X), held(case, Y)
    eps = rounding(zooed.dtype, x, y)
    n = len(X)
    for estimator in ESTIMATORS:
        A, B = x.left(estimator), y.left(estimator)
        inner, size_a, size_b = float(oracle.inner(A, B)), float(norm(A)), float(norm(B))
        error = 2 * eps * (x.size * size_b + size_a * y.size + eps * x.size * y.size)
        # of features, ⟨U(K), U(L)⟩ is a difference of sums with the squares of diagonals, at most 1e4 times its size
        error += 64 * DOUBLE * float(norm(np.diag(oracle.centred(x.H))) * norm(np.diag(oracle.centred(y.H))))
        # of features, second moments are sums over n rows, whose roundings add up as a random walk does
        error += 4 * np.sqrt(n) * DOUBLE * float(norm(oracle.centred(x.H)) * norm(oracle.centred(y.H)))
        pairs = n * n if estimator == "biased" else n * (n - 3)
        got, reason = heard(lambda e=estimator: gm.hsic(a, b, case.kernel, estimator=e))
        if reason:
            assert case.name in ("polynomial", "arc_cosine")
            assert_true_of_the_data(reason, x, y, estimator)
        else:
            assert abs(got * pairs - inner) <= error, (str(zooed), estimator, got * pairs, inner, error)
        got, reason = heard(lambda e=estimator: gm.cka(a, b, case.kernel, estimator=e))
        if math.isnan(got):
            assert_true_of_the_data(reason, x, y, estimator)
        else:
            own = error / (size_a * size_b)
            assert abs(got - inner / (size_a * size_b)) <= 2 * own + 4 * DOUBLE, (str(zooed), estimator, got, own)
        K, L = oracle.UNCENTRED[estimator](x.K), oracle.UNCENTRED[estimator](y.K)
        size_k, size_l = float(norm(K)), float(norm(L))
        got, reason = heard(lambda e=estimator: gm.kernel_alignment(a, b, case.kernel, estimator=e))
        if math.isnan(got):
            assert "the kernel of" in str(reason)
            assert min(size_k, size_l) == 0
        else:
            entries = eps * (x.size / size_k + y.size / size_l)
            assert abs(got - float(oracle.inner(K, L)) / (size_k * size_l)) <= 4 * entries + 64 * DOUBLE


MEANS = (0.0, 1.0, 1e3, 1e6)


def some_cases(part: int, parts: int) -> Iterator[zoo.Case]:
    """One in `parts` of the zoo with all means, shapes and dtypes."""
    return itertools.islice(zoo.cases(means=MEANS), part % parts, None, parts)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_measures_of_the_zoo_are_right_or_say_why_not(name: str) -> None:
    for zooed in some_cases(list(KERNELS).index(name), 13):
        assert_measures_are_right(zooed, KERNELS[name])


@pytest.mark.parametrize("name", KERNELS)
def test_one_odd_row_takes_no_digits_from_the_others(name: str) -> None:
    for odd in ODD:
        assert_measures_are_right(odd, KERNELS[name])


@pytest.mark.long
@pytest.mark.parametrize("name", KERNELS)
def test_kernel_measures_of_the_whole_zoo_are_right_or_say_why_not(name: str) -> None:
    for zooed in zoo.cases(means=MEANS):
        assert_measures_are_right(zooed, KERNELS[name])


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_the_gram_route_is_right_on_the_zoo_too(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gramian.sweeps.routes.feature_route", lambda *_: False)
    for zooed in some_cases(0, 3):
        if zooed.n > 30:
            assert_measures_are_right(zooed, KERNELS[kernel])


# ---- distance alignment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "unit_diagonal", "hs_norm"])
def test_distance_alignment_of_the_zoo_is_right_or_says_why_not(normalize: Any, centered: bool) -> None:
    for zooed in some_cases(2 * len(normalize) + centered, 7):
        X, Y = (Z.astype(np.longdouble) for Z in zooed.arrays)
        a, b = zooed.inputs
        like = Case("cosine" if normalize == "unit_diagonal" else "linear")
        eps = rounding(zooed.dtype, *(held(like, Z) for Z in (X, Y)))
        got, reason = heard(lambda a=a, b=b: gm.distance_alignment(a, b, normalize=normalize, centered=centered))
        if math.isnan(got):
            assert normalize == "hs_norm"
            assert ("X is constant" in str(reason)) == bool((X[0] == X).all())
            assert any(not Z.std(0).any() for Z in (X, Y))
            continue
        want, error = distance_alignment(X, Y, normalize, centered, eps)
        assert abs(got - want) <= error, (str(zooed), got, want, error)


def distance_alignment(X: Array, Y: Array, normalize: str, centered: bool, eps: float) -> tuple[float, float]:
    """The value v = mean of (D − E)² and how far rounding takes it.

    Each entry is off by 2·eps of itself, normalised rows by eps, and v by 2·√v times the root of the mean of these
    squares.
    """
    if normalize == "unit_diagonal":
        X, Y = oracle.unit_rows(X), oracle.unit_rows(Y)
    D, E = oracle.squared_distances(X, X), oracle.squared_distances(Y, Y)
    if normalize == "hs_norm":
        K, L = (oracle.scatter(Z) if centered else oracle.linear(Z, Z) for Z in (X, Y))
        D, E = D / np.sqrt((K * K).mean()), E / np.sqrt((L * L).mean())
    size = sum(2 * np.sqrt((S**2).mean()) for S in (D, E))
    if normalize == "unit_diagonal":
        size += sum(2 * np.sqrt(S.mean()) for S in (D, E))
    value = (oracle.centred(D - E) if centered else D - E).__pow__(2).mean()
    off = eps * size
    return float(value), float(2 * np.sqrt(value) * off + off**2 + 64 * DOUBLE * size**2)


# ---- MMD, bandwidths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_mmd_of_the_zoo_is_right_or_says_why_not(name: str) -> None:
    case = KERNELS[name]
    for zooed in some_cases(list(KERNELS).index(name), 13):
        other = zoo.Case(zooed.features, zooed.dtype, zooed.n, zooed.d, zooed.mean, seed=1)
        X, Z, a, b = zooed.arrays[0], other.arrays[0], zooed.inputs[0], other.inputs[0]
        pooled = held(case, np.concatenate([X, Z]))
        n, H = len(X), pooled.H
        eps = rounding(zooed.dtype, pooled)
        blocks = (H[:n, :n], H[n:, n:], H[:n, n:], H[:n, n:])
        size = sum(float(norm(B)) for B in blocks) / (n - 1)  # of entries that may all be rounded alike
        if case.name == "cosine":
            size += pooled.size / n
        for estimator in ESTIMATORS:
            want = float(oracle.mmd2(H[:n, :n], H[n:, n:], H[:n, n:], estimator))
            got, reason = heard(lambda e=estimator, a=a, b=b: gm.mmd2(a, b, case.kernel, estimator=e))
            if math.isnan(got):
                assert reason is not None
                assert pooled.size > LOST * float(norm(pooled.left("unbiased")))
                assert "constant" not in reason
            else:
                assert abs(got - want) <= 16 * eps * size, (str(zooed), got, want, size)
                assert estimator == "unbiased" or got >= 0


@pytest.mark.parametrize("name", KERNELS)
def test_an_odd_row_that_both_samples_share_is_no_difference(name: str) -> None:
    case = KERNELS[name]
    for odd in ODD:
        X, Z = odd.arrays[0], Odd("plain", odd.dtype, 40, 12, odd.mean, seed=1, row=odd.row).arrays[0]
        Z[0] = X[0]
        a, b = (zoo.as_input(S, odd.dtype) for S in (X, Z))
        H = held(case, np.concatenate([X, Z])).H
        want = float(oracle.mmd2(H[:40, :40], H[40:, 40:], H[:40, 40:], "biased"))
        others = np.delete(np.delete(H, [0, 40], 0), [0, 40], 1)
        own = float(np.abs(np.diag(oracle.centred(others))).mean()) / 40  # what independent samples have
        got, reason = heard(lambda a=a, b=b: gm.mmd2(a, b, case.kernel, estimator="biased"))
        lost = DOUBLE * float(np.abs(H).max()) / 40**2  # of the row's value with itself, which all three sums hold
        if math.isnan(got):
            assert "a few rows of X or Z are so far" in str(reason)
            assert lost > 1e-4 * own
        else:
            assert abs(got - want) <= 1e-3 * own + 64 * lost, (str(odd), odd.row, got, want)


def test_median_bandwidths_of_the_zoo_are_right_or_say_why_not() -> None:
    norms: tuple[Any, ...] = ("l1", "l2")
    for zooed, kind in itertools.product(some_cases(0, 3), norms):
        X, (a, _) = zooed.arrays[0], zooed.inputs
        got, reason = heard(lambda a=a, kind=kind: gm.median_bandwidth(a, norm=kind))
        want = oracle.median_bandwidth(X.astype(np.longdouble), norm=kind)
        if math.isnan(want):
            assert reason == "median_bandwidth is nan: all rows of X are the same"
        else:
            assert got == pytest.approx(want, rel=64 * DOUBLE)


# ---- results with reasons --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_errors_and_tests_of_the_zoo_are_right_or_say_why_not(name: str) -> None:
    case = KERNELS[name]
    for zooed in some_cases(list(KERNELS).index(name), 29):
        x, y = (held(case, Z) for Z in zooed.arrays)
        a, b = zooed.inputs
        eps = rounding(zooed.dtype, x, y)
        left = [(h.size, float(norm(h.left(estimator)))) for h in (x, y) for estimator in ESTIMATORS]
        lost = max(size / rest if rest > 0 else math.inf for size, rest in left)
        e = gm.alignment(a, b, case.kernel)
        assert (e.reason is None) == (not math.isnan(e.value + e.se + e.pvalue))
        if lost > LOST:
            continue  # that there is a reason, and a true one, is tested above
        H, L = (np.asarray(h.H, dtype=np.float64) for h in (x, y))
        error = 64 * eps * lost + 1e-11  # derivatives of a standard error by the entries are a few times those of CKA
        assert e.se == pytest.approx(oracle.cka_se(H, L), rel=error, abs=error)
        for method in ("gamma", "gretton", "t", "chi2", "pearson3"):
            if method == "pearson3":  # tr K̄³ of each array is of tiles of its own
                error = 64 * max(rounding(zooed.dtype, z) for z in (x, y)) * lost + 1e-11
            statistic, pvalue = oracle.TESTS[method](H, L)
            found = gm.independence_test(a, b, case.kernel, method=method)
            assert found.reason is None
            assert found.statistic == pytest.approx(float(statistic), rel=error, abs=error * zooed.n)
            assert found.pvalue == pytest.approx(float(pvalue), rel=error * zooed.n, abs=error), method


def test_matrices_and_comparisons_of_the_zoo_have_the_values_and_reasons_of_the_measures() -> None:
    for zooed in some_cases(3, 17):
        a, b = zooed.inputs
        for name in ("linear", "polynomial", "rbf"):
            table = gm.compare(a, b, name, shuffles=1)
            for row in table.rows:
                kernel = KERNELS[name].kernel
                if row.measure == "distance_alignment":
                    value, reason = heard(lambda r=row, a=a, b=b: gm.distance_alignment(a, b, normalize=r.estimator))
                else:
                    call = getattr(gm, row.measure)
                    value, reason = heard(lambda r=row, f=call, k=kernel, a=a, b=b: f(a, b, k, estimator=r.estimator))
                np.testing.assert_equal(row.value, value)
                assert reason is None or reason == f"{row.measure} is nan: {row.reason}"
                assert row.reason or not math.isnan((row.pvalue or 0.0) + (row.se or 0.0))
            for measure in ("cka", "hsic"):
                found = gm.cka_matrix({"a": a}, {"b": b}, name, measure=measure)
                value, reason = heard(lambda m=measure, n=name, a=a, b=b: getattr(gm, m)(a, b, n))
                # X'Y of both routes is BLAS's, whose last bits go by the shapes of the product
                np.testing.assert_allclose(found.values[0, 0], value, rtol=1e-13)
                assert bool(found.reasons) == bool(reason)


def test_moments_of_the_zoo_are_sums_over_the_true_kernel_matrices() -> None:
    for zooed, name in zip(some_cases(1, 11), itertools.cycle(KERNELS), strict=False):
        case, (a, b) = KERNELS[name], zooed.inputs
        x, y = (held(case, Z) for Z in zooed.arrays)
        eps = rounding(zooed.dtype, x, y)
        found = gm.gram_moments(a, b, kernel=case.kernel)
        K, L = oracle.hollow(x.K), oracle.hollow(y.K)
        error = 4 * eps * (x.size * float(norm(L)) + float(norm(K)) * y.size) + 64 * DOUBLE * float(norm(K) * norm(L))
        assert abs(found.inner[0, 1] - float(oracle.inner(K, L))) <= error, str(zooed)


def test_routes_agree_on_what_has_a_value() -> None:
    for zooed in some_cases(2, 5):
        if zooed.n < 30:
            continue
        pair = routes.paired(*zooed.inputs, "linear", None)
        assert pair.by_features
        other = gram.stable_moments(pair.xs)
        value = estimators.value(pair.statistics, "cka", "biased")[0]
        again = estimators.value(other.statistics(), "cka", "biased")[0]
        assert math.isnan(value) == math.isnan(again)
