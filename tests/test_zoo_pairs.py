"""The zoo's features through what compares pairs: dissimilarities, neighbours, nulls, scores, relative representations.

Every number is that of the stored values, to the accuracy that they allow, or nan with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest

import gramian as gm
import oracle
import zoo
from accuracy import DTYPES, EPS
from gramian import platonic, reasons
from gramian.measures import neighbors, registry
from oracle import Array

KINDS = ("sqeuclidean", "euclidean", "cosine", "correlation")
LIMITS = (0.2, 0.8)
METRICS = get_args(neighbors.Metric)
SMALLEST = {"float64": -1074, "float32": -149, "float16": -24, "bfloat16": -133}
FLOAT64 = EPS["float64"]


def some(mean: float, every: bool = False) -> Iterator[zoo.Case]:
    """Each kind of features in each dtype at one of the shapes, which take turns; or all of them."""
    for case in zoo.cases(means=(mean,)):
        turn = list(zoo.FEATURES).index(case.features) + DTYPES.index(case.dtype)
        if every or zoo.SHAPES[turn % len(zoo.SHAPES)] == (case.n, case.d):
            yield case


def last_places(X: Array, dtype: str) -> Array:
    exponent = np.frexp(X)[1].astype(np.int64) - 1 + round(math.log2(EPS[dtype]))
    return np.where(X == 0, 0.0, np.ldexp(1.0, np.maximum(exponent, SMALLEST[dtype])))


# ---- representational similarity -----------------------------------------------------------------


def turned_by(last: Array, rows: Array, whole: float = 1.0) -> Array:
    """(n,) radians that half a last place of every value may turn a row by; along the row it does not.

    `whole`: what taking off the row's mean leaves of the square of one unit.
    """
    unit = oracle.unit_rows(rows)
    size = oracle.norms(rows)
    lost = oracle.norms(last * np.sqrt(np.clip(2 * (whole - unit**2), 0, 1))) / 2
    return np.divide(lost, size, out=np.zeros_like(size), where=size > 0)


class Side:
    """One array's dissimilarities in long double, and what rounding does to them."""

    def __init__(self, X: Array, dtype: str, kind: str) -> None:
        wide = X.astype(np.longdouble)
        self.d = oracle.over_pairs(oracle.dissimilarities(wide, kind))
        last = last_places(X, dtype)
        moved = wide + last * np.random.default_rng(0).uniform(-0.5, 0.5, X.shape)
        self.lost = self.d - oracle.over_pairs(oracle.dissimilarities(moved, kind))
        # float64 arithmetic: a relative rounding of distances, an absolute one of normalised rows
        self.arithmetic = FLOAT64 * self.d
        root = kind == "euclidean"  # of squares that are rounded
        self.tied = np.sqrt(rounded_to_40_bits(self.d**2)) if root else rounded_to_40_bits(self.d)
        if kind in ("cosine", "correlation"):
            left = wide - wide.mean(1, keepdims=True) if kind == "correlation" else wide
            size = oracle.norms(left)
            inverse = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
            grown = oracle.norms(wide) * inverse
            self.arithmetic = FLOAT64 * (np.sqrt(2 * self.d) + FLOAT64) * max(1, float(grown.max()))
            turned = turned_by(last, left, 1 - 1 / X.shape[1] if kind == "correlation" else 1.0)
            known = turned <= 1 / 32  # rounding may have turned the others anywhere
            same = oracle.over_pairs(np.add.outer(turned, turned)) ** 2
            both = oracle.over_pairs(np.logical_and.outer(known, known).astype(float)) > 0
            between = both & (2 * self.d > same) & (2 * self.d <= 1e3 * same)
            if not between.any() and (both & (2 * self.d > same)).any():  # far below what other pairs have
                self.tied = np.where(both & (2 * self.d <= same), 0, self.tied)

    def only_rounding(self, correlation: str) -> bool:
        """Whether dissimilarities differ by no more than a few times what half a last place of every value does."""
        differ = self.d if correlation == "cosine" else self.d - self.d.mean()
        return float(np.sqrt(np.mean(differ**2))) <= 8 * float(np.sqrt(np.mean(self.lost**2)))

    def condition(self, correlation: str) -> float:
        """What float64 arithmetic may change the correlation by: 32 roundings of values over their spread."""
        differ = self.d if correlation == "cosine" else self.d - self.d.mean()
        if correlation == "spearman":
            # values this close may change places: each time, a correlation of N ranks changes by 12/N² at most
            ordered, close = np.sort(self.d), 32 * np.sort(self.arithmetic) + 2.0**-39 * np.sort(self.d)
            return 12 * np.count_nonzero(np.diff(ordered) <= close[1:]) / len(ordered) ** 2
        lost, spread = self.arithmetic, float(np.sqrt(np.mean(differ**2)))
        if correlation == "geotopological":
            low, high = np.quantile(self.d, LIMITS)
            lost = (lost + 2.0**-46 * self.d) / (high - low if high > low else np.inf)  # rounded to 40 bits
            spread = float(oracle.geotopological(self.d, *LIMITS).std())
        return 32 * float(np.sqrt(np.mean(lost**2))) / spread


def rounded_to_40_bits(d: Array) -> Array:
    fraction, exponent = np.frexp(d)
    return np.ldexp(np.round(np.ldexp(fraction, 41)), exponent - 41)


def rsa_error(x: Any, y: Any, sides: tuple[Side, Side], dtype: str, kind: str, correlation: str) -> str | None:
    """What is wrong with a correlation, or None."""
    options = {"geotopological": LIMITS} if correlation == "geotopological" else {"correlation": correlation}
    found = gm.rsa_estimate(x, y, dissimilarity=kind, **options)
    assert (found.reason is None) == math.isfinite(found.value)
    if found.reason:
        return None if any(side.only_rounding(correlation) for side in sides) else f"nan, {found.reason}"
    a, b = (side.tied if correlation in ("spearman", "geotopological") else side.d for side in sides)
    if correlation == "geotopological":
        a, b = (oracle.geotopological(d, *LIMITS) for d in (a, b))
    want = float(oracle.rsa(a, b, "pearson" if correlation == "geotopological" else correlation))
    allowed = 1e-12 + sum(side.condition(correlation) for side in sides)
    if dtype != "float64" and correlation in ("pearson", "cosine"):
        # a float32 tile is used where its rounding is below 1e-4 standard deviations; errors of pairs average out
        allowed += 3e-4 / math.sqrt(found.pairs) if found.method == "sweep" else 16 * EPS["float32"]
    return None if abs(found.value - want) <= allowed else f"{found.value} for {want}, allowed {allowed:.1e}"


def rsa_faults(mean: float, every: bool) -> dict[str, str]:
    faults = {}
    for case in some(mean, every):
        arrays, inputs = case.arrays, case.inputs
        for kind in KINDS:
            sides = tuple(Side(Z, case.dtype, kind) for Z in arrays)
            for correlation in ("pearson", "spearman", "cosine", "geotopological"):
                if error := rsa_error(*inputs, sides, case.dtype, kind, correlation):
                    faults[f"{case} {kind} {correlation}"] = error
    return faults


@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_rsa_is_right_or_says_why_not(mean):
    assert rsa_faults(mean, every=False) == {}


@pytest.mark.long
@pytest.mark.parametrize("mean", zoo.MEANS)
def test_rsa_is_right_or_says_why_not_at_every_shape(mean):
    assert rsa_faults(mean, every=True) == {}


# ---- neighbours ----------------------------------------------------------------------------------


def exact(X: Array) -> Array:
    """The same values as whole numbers of any size, in one unit."""
    fraction, exponent = np.frexp(X)
    least = int(exponent[X != 0].min()) if X.any() else 0
    shift = np.where(X == 0, 0, exponent - least).astype(object)
    return np.ldexp(fraction, 53).astype(np.int64).astype(object) << shift


def nearness(metric: str, X: Array) -> Array:
    """What rows are ranked by, in exact arithmetic, rounded once; the cosine by cot|cot|."""
    Z = exact(X)
    if metric in ("euclidean", "manhattan"):
        power = 2 if metric == "euclidean" else 1
        found = -sum(np.abs(z[:, None] - z[None, :]) ** power for z in Z.T)
        return found // (1 << max(0, int(-found.min()).bit_length() - 1000))
    dot = Z @ Z.T
    if metric == "inner_product":
        return dot
    both = np.multiply.outer(np.diag(dot), np.diag(dot))

    def ratio(inner: int, product: int) -> float:
        if inner == 0:
            return 0.0
        rest = product - inner * inner
        parallel = rest << 106 <= product * (X.shape[1] + 64)  # by the digits that the lists are made with
        return math.copysign(math.inf if parallel else inner * inner / rest, inner)

    return np.vectorize(ratio, otypes=[np.float64])(dot, both)


@cache
def ranked(case: zoo.Case, metric: str) -> Array:
    """(n, n − 1) all others of each row, nearest first, ties to the lower index, and what they are ranked by."""
    S = nearness(metric, case.arrays[0])
    others = [sorted((j for j in range(case.n) if j != i), key=lambda j: (-S[i, j], j)) for i in range(case.n)]
    return np.array(others), S


@pytest.mark.parametrize("mean", [0.0, 1e6])
@pytest.mark.parametrize("metric", METRICS)
def test_lists_are_exact_with_ties_to_the_lower_index(metric, mean):
    wrong = []
    for case in some(mean):
        order, S = ranked(case, metric)
        got = gm.neighbors(case.inputs[0], 7, metric=metric)
        tied = np.mean([S[i, o[6]] == S[i, o[7]] for i, o in enumerate(order)])
        if not (np.array_equal(got, order[:, :7]) and got.ties == tied):
            wrong.append((str(case), got.ties, tied, np.argwhere(got != order[:, :7])[:1].tolist()))
    assert wrong == []


def says_nothing(case: zoo.Case, metric: str) -> bool:
    """Whether all rows are equally near, or point the same way up to the rounding of their dtype."""
    X = case.arrays[0]
    _, S = ranked(case, metric)
    if len({S[i, j] for i in range(case.n) for j in range(case.n) if i != j}) == 1:
        return True
    unit = oracle.unit_rows(X.astype(np.longdouble))
    turned = turned_by(last_places(X, case.dtype), X)
    return metric == "cosine" and bool((oracle.norms(unit - unit[0]) <= turned + turned[0] + 40 * FLOAT64).all())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mean", [0.0, 1e6])
def test_measures_of_neighbours_are_those_of_the_lists_or_say_why_not(metric, mean):
    for case in some(mean):
        x, y = case.inputs
        a, b = (gm.neighbors(z, 5, metric=metric) for z in (x, y))
        assert (a.reason is not None) == says_nothing(case, metric), case
        for name in ("mutual_knn", "cycle_knn", "lcs_knn", "edit_knn"):
            with reasons.heard() as heard:
                got = getattr(gm, name)(x, y, 5, metric=metric)
            overlap = gm.neighbor_overlap(a, b, measure=name, shuffles=1)
            if a.reason or b.reason:
                assert math.isnan(got), case
                assert math.isnan(overlap.value), case
                assert heard[0] == f"in {'X' if a.reason else 'Y'}, {a.reason or b.reason}"
                continue
            assert got == overlap.value == pytest.approx(getattr(oracle, name)(np.array(a), np.array(b)), abs=1e-12)
            assert overlap.ties == (a.ties, b.ties)


def centred_cknna(K: Array, L: Array, A: Array, B: Array) -> float:
    U, V, M, N = oracle.u_centred(K), oracle.u_centred(L), oracle.mask(A), oracle.mask(B)
    return float(oracle.inner(M * U, N * V) / np.sqrt(oracle.inner(M * U, U) * oracle.inner(N * V, V)))


@pytest.mark.parametrize("mean", [0.0, 1e3])
@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_cknna_is_right_or_says_why_not(kernel, mean):
    metric = {"linear": "inner_product", "cosine": "cosine"}[kernel]
    for case in some(mean):
        x, y = case.inputs
        with reasons.heard() as heard:
            got = gm.cknna(x, y, 6, kernel=kernel)
        lists = [gm.neighbors(z, 6, metric=metric) for z in (x, y)]
        K, L = (oracle.gram(kernel, Z.astype(np.longdouble)) for Z in case.arrays)
        if heard:
            assert math.isnan(got)
            spread = [np.abs(oracle.u_centred(Z)).max() / np.abs(Z).max() for Z in (K, L)]
            assert any(z.reason for z in lists) or min(spread) < 64 * FLOAT64, case
            continue
        want = centred_cknna(K, L, *lists)
        # values are of rows less their mean, in float64, beside a mean that itself is rounded at its own size
        grown = max(float(np.sqrt(np.abs(Z).max() / np.abs(oracle.u_centred(Z)).max())) for Z in (K, L))
        assert abs(got - want) <= 1e-12 + 64 * FLOAT64 * grown**2, (case, got, want)


# ---- nulls and scores ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.MEASURES)
def test_a_null_has_the_value_of_its_measure_and_its_reason(name):
    options = {"ridge": 0.1} if name in ("cca", "pwcca", "linear_regression_r2", "nocco") else {}
    options |= {"components": 3} if name == "svcca" else {}
    options |= {"k": 5} if "knn" in name else {}
    if name == "pwcca":
        options = {}
    for features in ("plain", "relu", "tokens", "rows_of_zeros", "equal_rows"):
        for dtype in ("float64", "float32"):
            case = zoo.Case(features, dtype, 90, 17)
            x, y = case.inputs
            with reasons.heard() as heard:
                want = getattr(gm, name)(x, y, **options)
            found = gm.null(name, x, y, permutations=9, **options)
            assert found.value == pytest.approx(float(want), rel=1e-5, abs=1e-6, nan_ok=True), case
            assert math.isnan(found.pvalue) == math.isnan(found.value), case
            if not math.isnan(found.value):
                assert round(found.pvalue * 10) in range(1, 11)
            elif heard:
                assert found.reason == f"{name} has no value for these arrays: {heard[0]}"


@pytest.mark.parametrize("metric", get_args(platonic.Metric))
def test_a_score_passes_over_layers_that_say_nothing(metric):
    names = ("plain", "equal_rows", "tokens", "parallel_rows")
    layers = [zoo.Case(name, "float32", 90, 17).inputs[0] for name in names]
    others = [zoo.Case("plain", "float32", 90, 17).inputs[1]]
    found = gm.platonic_score(layers, others, metric=metric, topk=5, quantile=None)
    undefined = [False, True, False, "knn" in metric]  # parallel rows are all near, and have kernel values of their own
    if metric != "svcca":
        assert np.isnan(found.values[:, 0]).tolist() == undefined
    assert np.isnan(found.values[1, 0])
    assert "layer1 of X" in found.reason
    assert found.layers[0] in ("layer0", "layer2")


# ---- relative representations --------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.0, 1e6])
@pytest.mark.parametrize("space", ["cosine", "euclidean", "l1", "linf"])
def test_relative_representations_are_right(space, mean):
    for case in some(mean):
        X = case.arrays[0]
        anchors = np.arange(0, case.n, 4)
        got = gm.relative_representation(case.inputs[0], anchors, space=space)
        want = oracle.relative_space(X.astype(np.longdouble), X[anchors].astype(np.longdouble), space)
        # d products or differences, each rounded
        error = X.shape[1] * FLOAT64 * (1 if space == "cosine" else np.maximum(want, np.abs(want)))
        assert (np.abs(got - want) <= error + 2 * FLOAT64).all(), case
