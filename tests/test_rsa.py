"""Representational similarity: sums, ranks and quantiles of dissimilarities against the oracle and against SciPy."""

import dataclasses
import itertools
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tracemalloc
from collections import namedtuple
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from scipy.spatial.distance import pdist

import gramian as gm
import oracle
from accuracy import EPS, TILE_EDGE, as_input, assert_as_accurate, hard_pair, rounded
from gramian.kernels import KERNELS
from gramian.measures import rsa, rsa_sums
from gramian.measures.dissimilarities import _KERNEL
from gramian.rows.sources import matrix
from gramian.sweeps import pairs
from gramian.sweeps.centred import centre

KINDS = ("sqeuclidean", "euclidean", "cosine", "correlation")
CORRELATIONS = ("pearson", "cosine", "spearman")
LITTLE = 1 << 16  # bytes: ranks go to disk, tiles have 64 rows


def truth(X, Y, kind="sqeuclidean", correlation="pearson", limits=None, cast=np.longdouble):
    a, b = (oracle.over_pairs(oracle.dissimilarities(Z.astype(cast), kind)) for Z in (X, Y))
    if limits is not None:
        a, b = (oracle.geotopological(d, *limits) for d in (a, b))
    return oracle.rsa(a, b, correlation)


# ---- the oracle -----------------------------------------------------------------------------------------------------


def test_oracle_is_what_plain_python_says():
    X = [[0.0, 1.0, 4.0], [1.0, 1.0, 1.0], [2.0, 0.0, 3.0], [5.0, 2.0, 1.0]]
    D = {kind: oracle.dissimilarities(np.array(X), kind) for kind in KINDS}
    for i, j in itertools.combinations(range(4), 2):
        x, y = X[i], X[j]
        assert D["euclidean"][i, j] == pytest.approx(math.dist(x, y), abs=1e-15)
        assert D["sqeuclidean"][i, j] == pytest.approx(math.dist(x, y) ** 2, abs=1e-14)
        cosine = sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
        assert D["cosine"][i, j] == pytest.approx(1 - cosine, abs=1e-15)
        if 1 not in (i, j):
            assert D["correlation"][i, j] == pytest.approx(1 - statistics.correlation(x, y), abs=1e-15)
    assert D["correlation"][1, [0, 2, 3]] == pytest.approx(0.5)


def test_oracle_ranks_as_scipy_does():
    d = np.random.default_rng(0).integers(0, 20, 100).astype(float)
    np.testing.assert_array_equal(oracle.mid_ranks(d), stats.rankdata(d))


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 60, TILE_EDGE + 1, 401])
@pytest.mark.parametrize("correlation", ["pearson", "cosine"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_sums_are_as_accurate_as_the_textbook(dtype, kind, correlation, n, device):
    naive, want = [], math.nan
    for seed in reversed(range(8 if n < 400 else 1)):
        X, Y = hard_pair(n, 7, 20, mean=10.0, seed=seed, dtype=dtype)
        want = truth(X, Y, kind, correlation)
        cast = np.float64 if dtype == "float64" else np.float32
        naive.append(abs(truth(X, Y, kind, correlation, cast=cast) - want))
    got = gm.rsa(*(as_input(Z, dtype, device) for Z in (X, Y)), dissimilarity=kind, correlation=correlation)
    assert_as_accurate(got, want, naive, 1.0, "float64" if dtype == "float64" else "float32")


@pytest.mark.parametrize("memory", [None, LITTLE])
@pytest.mark.parametrize("n", [3, 60, 257])
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_are_those_of_scipy(kind, n, memory):
    X, Y = np.random.default_rng(n).normal(size=(2, n, 6)) + 3
    Y[:, :3] += X[:, :3]
    want = stats.spearmanr(pdist(X, kind), pdist(Y, kind)).statistic
    found = gm.rsa_estimate(X, Y, dissimilarity=kind, correlation="spearman", memory=memory)
    assert found.value == pytest.approx(want, abs=1e-12)
    assert (found.method, found.error, found.bins, found.pairs) == ("sorted ranks", 0.0, None, n * (n - 1) // 2)


@pytest.mark.parametrize("memory", [None, LITTLE])
@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean"])
def test_ties_share_a_rank_whichever_tile_they_lie_in(kind, memory):
    X = np.random.default_rng(0).integers(0, 2, (300, 5)).astype(np.float64)  # squared distances from 0 to 5
    Y = np.random.default_rng(1).integers(0, 3, (300, 4)).astype(np.float64) + 1e4
    want = stats.spearmanr(pdist(X, kind), pdist(Y, kind)).statistic
    assert gm.rsa(X, Y, dissimilarity=kind, correlation="spearman", memory=memory) == pytest.approx(want, abs=1e-13)
    shuffled = np.random.default_rng(2).permutation(300)
    again = gm.rsa(X[shuffled], Y[shuffled], dissimilarity=kind, correlation="spearman", memory=memory)
    assert again == pytest.approx(want, abs=1e-13)


def test_ties_survive_the_rounding_of_features():
    """Turned and moved, lattice points are at distances that rounding tells apart; SciPy ranks the roundings."""
    X = np.random.default_rng(0).integers(0, 2, (300, 5)).astype(np.float64)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    Y = np.random.default_rng(2).normal(size=(300, 3)) + X[:, :3]
    want = stats.spearmanr(pdist(X), pdist(Y)).statistic
    assert gm.rsa(X @ turn + 3, Y, correlation="spearman") == pytest.approx(want, abs=1e-13)


@pytest.mark.parametrize("kind", ["cosine", "correlation"])
@pytest.mark.parametrize("options", [{"correlation": "spearman"}, {"geotopological": (0, 0)}, {}])
def test_rows_of_one_direction_are_tied_at_0(kind, options):
    rng = np.random.default_rng(0)
    D = np.repeat(rng.standard_normal((3, 6)), 40, axis=0)
    A = D * rng.uniform(0.5, 2, (120, 1))
    for memory in (None, LITTLE):
        assert gm.rsa(D, A, dissimilarity=kind, memory=memory, **options) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float32])
@pytest.mark.parametrize("kind", ["cosine", "correlation"])
def test_binary_graphs_of_whole_numbers_join_what_points_the_same_way(kind, dtype):
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 7, (2, 200, 3))

    def apart(Z):  # in whole numbers: v = 0 or v·w = |v||w|
        V = (3 * Z - Z.sum(axis=1, keepdims=True)) if kind == "correlation" else Z
        inner, norms = V @ V.T, (V * V).sum(axis=1)
        same = (inner > 0) & (inner**2 == np.multiply.outer(norms, norms))
        same |= np.multiply.outer(norms == 0, norms == 0)
        return oracle.over_pairs((~same).astype(float))

    want = oracle.rsa(apart(X), apart(Y), "pearson")
    got = gm.rsa(X.astype(dtype), Y.astype(dtype), dissimilarity=kind, geotopological=(0, 0))
    assert got == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("options", [{"correlation": "spearman"}, {"geotopological": (0, 0)}])
def test_float32_rows_less_their_mean_keep_their_ties(options):
    rng = np.random.default_rng(0)
    D = np.repeat(rng.integers(0, 7, (3, 7)), 40, axis=0).astype(np.float32)
    A = D * rng.integers(1, 8, (120, 1)).astype(np.float32)  # exact; the means are not
    assert gm.rsa(D, A, dissimilarity="correlation", **options) == pytest.approx(1.0, abs=1e-12)


def test_golden_values():
    x, y = np.array([[0.0], [1.0], [3.0]]), np.array([[0.0], [2.0], [3.0]])  # distances 1, 3, 2 and 2, 3, 1
    assert gm.rsa(x, y, dissimilarity="euclidean") == pytest.approx(0.5, abs=1e-15)
    assert gm.rsa(x, y, dissimilarity="euclidean", correlation="cosine") == pytest.approx(13 / 14, abs=1e-15)
    assert gm.rsa(x, y) == pytest.approx(71 / 98, abs=1e-15)  # 1, 9, 4 and 4, 9, 1
    assert gm.rsa(x, y, correlation="spearman") == pytest.approx(0.5, abs=1e-15)
    # one pair in three is far: a binary graph of the others
    assert gm.rsa(x, y, geotopological=(0.5, 0.5)) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("count", [2, 7, 150])
@pytest.mark.parametrize("kind", ["sqeuclidean", "cosine"])
def test_order_within_tight_clusters_is_kept(kind, count):
    """Within a cluster ‖x‖² + ‖y‖² − 2x·y has no digit right."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(count, 40))
    X = centres[rng.integers(0, count, 450)] + 1e-9 * rng.normal(size=(450, 40))
    close = oracle.over_pairs(oracle.dissimilarities(X.astype(np.longdouble), kind))
    source = pairs.Dissimilarities(centre(matrix(X, "X"), KERNELS[_KERNEL[kind]]()))
    (found,) = (np.concatenate(parts) for parts in zip(*pairs.tiles([source], LITTLE, None), strict=True))
    (whole,) = (np.concatenate(parts) for parts in zip(*pairs.tiles([source], None, None), strict=True))
    units = math.ldexp(0.5 if kind == "cosine" else 1.0, source.exponent)
    # a coordinate of size 1 has 16 digits, 7 of which are left in a difference of 1e-9
    np.testing.assert_allclose(np.sort(whole) * units, np.sort(close), rtol=1e-12 if kind == "sqeuclidean" else 1e-5)
    np.testing.assert_allclose(np.sort(found), np.sort(whole), rtol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_each_array_may_have_its_own_dissimilarity(kind):
    X, Y = hard_pair(90, 7, 9)
    a, b = oracle.dissimilarities(X, kind), oracle.dissimilarities(Y, "correlation")
    for correlation in CORRELATIONS:
        want = oracle.rsa(oracle.over_pairs(a), oracle.over_pairs(b), correlation)
        got = gm.rsa(X, Y, dissimilarity=kind, dissimilarity_y="correlation", correlation=correlation)
        assert got == pytest.approx(want, abs=1e-7 if correlation == "spearman" else 1e-12)


def test_rsa_of_nearly_constant_dissimilarities_keeps_its_digits():
    rng = np.random.default_rng(0)
    X = np.eye(80) + 1e-7 * rng.normal(size=(80, 80))  # every squared distance is 2, up to 1e-7
    Y = X + 1e-7 * rng.normal(size=(80, 80))
    for kind in ("sqeuclidean", "euclidean", "cosine"):
        # 1e-7 of the values are left to correlate, and 1e-16 of them is rounding
        assert gm.rsa(X, Y, dissimilarity=kind) == pytest.approx(float(truth(X, Y, kind)), abs=1e-8)


@pytest.mark.parametrize("size", [1e-150, 1e150])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_units_do_not_matter(kind, correlation, size):
    X, Y = hard_pair(70, 5, 6)
    want = gm.rsa(X, Y, dissimilarity=kind, correlation=correlation)
    got = gm.rsa(X * size, Y, dissimilarity=kind, correlation=correlation)
    assert got == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_rows_without_direction_are_half_a_unit_from_all_others(kind, correlation):
    X, Y = hard_pair(60, 5, 6)
    X[3], X[7], Y[5] = 0, 0.1, 0
    got = gm.rsa(X, Y, dissimilarity=kind, correlation=correlation)
    a, b = (oracle.over_pairs(oracle.dissimilarities(Z, kind)).round(12) for Z in (X, Y))  # ½ is ½
    assert got == pytest.approx(oracle.rsa(a, b, correlation), abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_both_routes_agree(kind, monkeypatch):
    X, Y = hard_pair(300, 7, 9, mean=100.0)
    first = [gm.rsa_estimate(X, Y, dissimilarity=kind, correlation=c) for c in ("pearson", "cosine")]
    monkeypatch.setattr(rsa_sums, "_RESOLVED", math.inf)
    second = [gm.rsa_estimate(X, Y, dissimilarity=kind, correlation=c) for c in ("pearson", "cosine")]
    assert [e.method for e in second] == ["sweep"] * 2
    assert [e.method for e in first] == ["sweep" if kind == "euclidean" else "features"] * 2
    assert [e.value for e in first] == pytest.approx([e.value for e in second], abs=1e-10)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4, 1e5])
@pytest.mark.parametrize("correlation", ["pearson", "cosine"])
def test_float32_distances_do_not_lose_digits_with_the_mean(correlation, mean):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 5000))
    Y = X + rng.standard_normal((150, 5000))
    X, Y = ((Z + mean).astype(np.float32) for Z in (X, Y))
    got, want = (
        gm.rsa(X.astype(t), Y.astype(t), dissimilarity="euclidean", correlation=correlation)
        for t in (np.float32, np.float64)
    )
    # distances of 100 spread by 0.7: roundings of 4e-6 on 11,175 pairs average to some 1e-7
    assert got == pytest.approx(want, abs=4e-7)


def test_cosine_of_double_centred_squared_distances_is_linear_cka():
    X, Y = hard_pair(50, 5, 8)
    a, b = (oracle.centred(oracle.dissimilarities(Z, "sqeuclidean")) for Z in (X, Y))
    want = (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())
    assert gm.cka(X, Y, estimator="biased") == pytest.approx(want, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.sampled_from(CORRELATIONS),
    st.sampled_from([None, (0.2, 0.7), (0.4, 0.4)]),
)
def test_value_does_not_change_with_the_order_of_rows_or_arrays(n, seed, kind, correlation, limits):
    rng = np.random.default_rng(seed)
    X, Y, order = rng.normal(size=(n, 4)), rng.normal(size=(n, 5)), rng.permutation(n)
    options = {"dissimilarity": kind, "correlation": correlation, "geotopological": limits}
    want = gm.rsa(X, Y, **options)
    assert gm.rsa(Y, X, **options) == pytest.approx(want, abs=1e-9, nan_ok=True)
    assert gm.rsa(X[order], Y[order], **options) == pytest.approx(want, abs=1e-9, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 60), st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from(CORRELATIONS))
def test_each_dissimilarity_does_not_notice_what_it_says(n, seed, kind, correlation):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, 6)), rng.normal(size=(n, 4))
    turn, of_rows = np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.uniform(0.1, 10, (n, 1))
    moved = {
        "sqeuclidean": 3 * X @ turn - 7,
        "euclidean": 3 * X @ turn - 7,
        "cosine": of_rows * (X @ turn),
        "correlation": of_rows * X + rng.normal(size=(n, 1)),
    }
    want = gm.rsa(X, Y, dissimilarity=kind, correlation=correlation)
    got = gm.rsa(moved[kind], Y, dissimilarity=kind, correlation=correlation)
    assert got == pytest.approx(want, abs=1e-9)


def test_ranks_do_not_notice_monotone_maps_of_dissimilarities():
    X, Y = (np.random.default_rng(s).normal(size=(80, 5)) for s in (0, 1))
    a, b = (gm.rsa(X, Y, dissimilarity=kind, correlation="spearman") for kind in ("sqeuclidean", "euclidean"))
    assert a == pytest.approx(b, abs=1e-12)


# ---- the geo-topological transform ----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [None, LITTLE])
@pytest.mark.parametrize("limits", [(0.2, 0.8), (0.0, 1.0), (0.35, 0.35), (0.0, 0.1)])
@pytest.mark.parametrize("kind", KINDS)
def test_transform_is_that_of_the_oracle(kind, limits, memory):
    X, Y = hard_pair(150, 5, 8)
    for correlation in ("pearson", "cosine"):
        got = gm.rsa_estimate(X, Y, dissimilarity=kind, correlation=correlation, geotopological=limits, memory=memory)
        assert got.value == pytest.approx(float(truth(X, Y, kind, correlation, limits)), abs=1e-11)
        assert got.method == "tiles"
        for found, Z in zip(got.thresholds, (X, Y), strict=True):
            want = np.quantile(oracle.over_pairs(oracle.dissimilarities(Z, kind)), limits)
            assert found == pytest.approx(tuple(want), rel=1e-12)


def test_quantiles_are_found_again_where_the_sample_misled(monkeypatch):
    X = np.random.default_rng(0).normal(size=(200, 3))
    monkeypatch.setattr(pairs, "_SAMPLE", 64)
    monkeypatch.setattr(pairs, "_PENDING", 100)
    sampled = pairs.Dissimilarities.sampled
    # a sample that says that all distances are twice as large
    monkeypatch.setattr(pairs.Dissimilarities, "sampled", lambda *args: 2 * sampled(*args))
    found = gm.rsa_estimate(X, X, geotopological=(0.3, 0.6))
    assert found.thresholds[0] == pytest.approx(tuple(np.quantile(pdist(X, "sqeuclidean"), [0.3, 0.6])), rel=1e-12)


def test_ranks_of_transformed_dissimilarities_are_ranks_of_ties():
    X, Y = hard_pair(90, 4, 5)
    want = truth(X, Y, "euclidean", "spearman", (0.3, 0.5))
    for memory in (None, LITTLE):
        got = gm.rsa(X, Y, dissimilarity="euclidean", correlation="spearman", geotopological=(0.3, 0.5), memory=memory)
        assert got == pytest.approx(float(want), abs=1e-9)


# ---- bins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [2, 16, 300, 5000])
@pytest.mark.parametrize("data", ["dependent", "independent", "same", "ties", "outliers"])
def test_error_of_bins_is_within_the_bound(data, bins):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 200, 4))
    Y = {
        "dependent": X + Y,
        "independent": Y,
        "same": X,
        "ties": rng.integers(0, 2, (200, 3)) + 0.0,
        "outliers": Y * np.exp(4 * rng.normal(size=(200, 1))),
    }[data]
    want = stats.spearmanr(pdist(X), pdist(Y)).statistic
    found = gm.rsa_estimate(X, Y, correlation="spearman", bins=bins)
    assert abs(found.value - want) <= found.error + 1e-12
    assert (found.method, found.bins) == ("binned ranks", bins)
    if bins == 5000:
        assert found.error < 2e-3


def test_ranks_are_binned_from_so_many_rows_on_and_not_before(monkeypatch):
    X, Y = np.random.default_rng(0).normal(size=(2, 40, 3))
    monkeypatch.setattr(rsa, "EXACT_ROWS", 40)
    monkeypatch.setattr(rsa, "BINS", 50)
    assert gm.rsa_estimate(X, Y, correlation="spearman").method == "sorted ranks"
    monkeypatch.setattr(rsa, "EXACT_ROWS", 39)
    found = gm.rsa_estimate(X, Y, correlation="spearman")
    assert (found.method, found.bins) == ("binned ranks", 50)
    assert found.error > 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0, 1e300), min_size=1, max_size=40, unique=True),
    st.lists(st.floats(0, 1.7e308), min_size=1, max_size=40),
)
def test_parts_are_those_of_a_search(numbers, values):
    cuts = pairs._Cuts(np.sort(np.array(numbers) + 0.0))
    values = np.array(values + numbers) + 0.0
    np.testing.assert_array_equal(cuts.part(values), np.searchsorted(cuts.numbers, values, side="right"))


def test_ties_of_few_values_are_exact_in_bins():
    X = np.random.default_rng(0).integers(0, 2, (200, 3)).astype(np.float64)
    Y = np.random.default_rng(1).integers(0, 2, (200, 4)).astype(np.float64)
    found = gm.rsa_estimate(X, Y, correlation="spearman", bins=1000)
    assert found.error == 0
    assert found.value == pytest.approx(stats.spearmanr(pdist(X), pdist(Y)).statistic, abs=1e-13)


@pytest.mark.parametrize("bins", [2, 3, 5])
def test_few_bins_of_mostly_equal_values_are_not_constant(bins):
    rng = np.random.default_rng(0)
    Z, Y = np.zeros((60, 2)), rng.normal(size=(60, 3))
    Z[:8] = rng.normal(size=(8, 2))
    want = stats.spearmanr(pdist(Z), pdist(Y)).statistic
    for pair in ((Z, Y), (Y, Z)):
        found = gm.rsa_estimate(*pair, correlation="spearman", bins=bins)
        assert found.reason is None
        assert abs(found.value - want) <= found.error + 1e-12


# ---- undefined ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"correlation": "spearman"}, {"correlation": "spearman", "bins": 8}])
@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "cosine"])
def test_equal_dissimilarities_have_no_correlation(kind, options):
    X = np.random.default_rng(0).normal(size=(5, 3))
    simplex = np.eye(5)
    found = gm.rsa_estimate(X, simplex, dissimilarity=kind, **options)
    assert math.isnan(found.value)
    assert found.reason == "the dissimilarities of Y are all the same, up to rounding"
    assert math.isnan(float(gm.rsa_estimate(np.full((5, 3), 0.1), X, dissimilarity=kind, **options)))


def test_equal_rows_have_no_cosine():
    X = np.random.default_rng(0).normal(size=(5, 3))
    found = gm.rsa_estimate(np.full((5, 3), 0.1), X, correlation="cosine")
    assert (math.isnan(found.value), found.reason) == (True, "the dissimilarities of X are all 0")
    assert gm.rsa(np.eye(5), X, correlation="cosine") == pytest.approx(
        float(truth(np.eye(5), X, correlation="cosine")), abs=1e-12
    )


def parallel(n, d, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return rounded(rng.uniform(0.1, 5, (n, 1)) * rng.standard_normal(d), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["cosine", "correlation"])
@pytest.mark.parametrize(
    "options",
    [{"correlation": c} for c in CORRELATIONS]
    + [{"correlation": "spearman", "bins": 16}, {"correlation": "spearman", "memory": LITTLE}]
    + [{"geotopological": (0.2, 0.8)}, {"geotopological": (0.3, 0.3)}],
)
def test_parallel_rows_have_no_correlation(options, kind, dtype):
    X, Y = parallel(50, 10, dtype), np.random.default_rng(1).normal(size=(50, 4))
    which = "rows" if kind == "cosine" else "rows less their own mean"
    for pair, name in (((as_input(X, dtype), Y), "X"), ((Y, as_input(X, dtype)), "Y")):
        found = gm.rsa_estimate(*pair, dissimilarity=kind, **options)
        assert math.isnan(found.value)
        assert found.reason == f"all {which} of {name} point the same way, up to the rounding of {dtype}"


@pytest.mark.parametrize("kind", ["cosine", "correlation"])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_parallel_rows_of_many_features_have_no_correlation(correlation, kind):
    X, Y = parallel(1000, 768), np.random.default_rng(1).normal(size=(1000, 4))
    assert "point the same way" in gm.rsa_estimate(X, Y, dissimilarity=kind, correlation=correlation).reason


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_positive_numbers_in_float32_are_one_direction(correlation, seed, monkeypatch):
    """Normalised in float32 they are 1 up to a rounding, which no number of sweeps centres."""
    rng, sweeps, sweep = np.random.default_rng(seed), [], rsa_sums.gram.sweep_moments
    x = (np.abs(rng.standard_normal((60, 1))) + 0.1).astype(np.float32)
    y = rng.standard_normal((60, 4)).astype(np.float32)
    monkeypatch.setattr(rsa_sums.gram, "sweep_moments", lambda *a, **o: (sweeps.append(1), sweep(*a, **o))[1])
    with pytest.warns(gm.UndefinedWarning, match=r"^rsa is nan: all rows of X point the same way") as told:
        value = gm.rsa(x, y, dissimilarity="cosine", dissimilarity_y="sqeuclidean", correlation=correlation)
    assert (math.isnan(value), len(told), len(sweeps) < 20) == (True, 1, True)


def test_distances_that_differ_by_the_rounding_of_their_rows_have_no_correlation():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))[0]
    Y = np.random.default_rng(1).normal(size=(40, 3))
    for dtype in ("float32", "float16", "bfloat16"):
        for kind, correlation in itertools.product(KINDS[:3], ("pearson", "spearman")):
            found = gm.rsa_estimate(Y, as_input(turn, dtype), dissimilarity=kind, correlation=correlation)
            says = f"the dissimilarities of Y differ by no more than the rounding of its rows, which are {dtype}"
            assert (math.isnan(found.value), found.reason) == (True, says)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["cosine", "correlation"])
@pytest.mark.parametrize("options", [{"correlation": "spearman"}, {"geotopological": (0, 0)}])
def test_rows_of_one_direction_tie_by_the_digits_of_their_dtype(options, kind, dtype):
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1, 2], 40)
    A = rounded(rng.standard_normal((3, 6))[of] * rng.uniform(0.5, 2, (120, 1)), dtype)
    Y = rng.standard_normal((120, 4)) + of[:, None]
    d, e = (oracle.over_pairs(oracle.dissimilarities(Z, kind)) for Z in (A, Y))
    fraction, exponent = np.frexp(d)
    d = np.ldexp(np.round(np.ldexp(fraction, 41)), exponent - 41)  # to 40 bits
    d = np.where(oracle.over_pairs(of[:, None] == of), 0, d)
    if "geotopological" in options:
        d, e = (oracle.geotopological(z, 0, 0) for z in (d, e))
    want = oracle.rsa(d, e, options.get("correlation", "pearson"))
    for memory in (None, LITTLE):
        got = gm.rsa(as_input(A, dtype), Y, dissimilarity=kind, memory=memory, **options)
        assert got == pytest.approx(want, abs=1e-8)  # a value in 10^4 lies where rounding to 40 bits is undecided


@pytest.mark.parametrize("shape", [(40, 100), (120, 9)])
@pytest.mark.parametrize("mean", [3e5, 1e6])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_float32_far_from_0_is_as_right_as_float64_of_its_values(correlation, mean, shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    X, Y = ((Z + mean).astype(np.float32) for Z in (X, X + rng.standard_normal(shape)))
    for kind in KINDS:
        # normalised rows are 1e-6 apart, 1e-16 of which is rounding; the others, less a reference, are float32 near 0
        allowed = 1e-9 if kind == "cosine" else 16 * EPS["float32"]
        want = float(truth(X, Y, kind, correlation))
        assert gm.rsa(X, Y, dissimilarity=kind, correlation=correlation) == pytest.approx(want, abs=allowed)


@pytest.mark.parametrize("shape", [(40, 100), (120, 9)])
@pytest.mark.parametrize("mean", [1e6, 1e9, 1e12])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_distances_keep_their_digits_whatever_the_mean(correlation, mean, shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    X, Y = X + mean, X + rng.standard_normal(shape) - mean
    for kind in ("sqeuclidean", "euclidean"):
        want = float(truth(X, Y, kind, correlation))
        assert gm.rsa(X, Y, dissimilarity=kind, correlation=correlation) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean"])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_a_huge_constant_unit_changes_nothing(correlation, kind):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 60, 5)).astype(np.float32)
    far = np.hstack([X, np.full((60, 1), 1e9, np.float32)])
    want = gm.rsa(X, Y, dissimilarity=kind, correlation=correlation)
    assert gm.rsa(far, Y, dissimilarity=kind, correlation=correlation) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_no_correlation_is_above_1(correlation, kind):
    for seed in range(8):
        X = np.random.default_rng(seed).standard_normal((30, 40)).astype(np.float32 if seed % 2 else np.float64)
        for options in ({}, {"bins": 50} if correlation == "spearman" else {"geotopological": (0.2, 0.9)}):
            got = gm.rsa(X, X, dissimilarity=kind, correlation=correlation, **options)
            assert 1 - 1e-6 < got <= 1


def test_an_estimate_keeps_the_reason_and_does_not_warn():
    X = np.random.default_rng(0).normal(size=(5, 3))
    assert gm.rsa_estimate(np.ones((5, 2)), X).reason == "the dissimilarities of X are all the same, up to rounding"
    with pytest.warns(
        gm.UndefinedWarning, match=r"^rsa is nan: the dissimilarities of Y are all the same, up to"
    ) as told:
        assert math.isnan(gm.rsa(X, np.ones((5, 2)), correlation="spearman"))
    assert told[0].filename == __file__


def test_two_rows_are_enough_for_a_cosine_alone():
    X = np.array([[0.0], [1.0]])
    assert gm.rsa(X, 2 * X, correlation="cosine") == 1.0
    with pytest.raises(ValueError, match=r"^rsa with correlation='pearson' needs at least 3 rows but got 2$"):
        gm.rsa(X, X)


# ---- the gate -------------------------------------------------------------------------------------------------------


Wrong = namedtuple("Wrong", "error says options")
WRONG = [
    Wrong(
        ValueError,
        "dissimilarity must be one of 'sqeuclidean', 'euclidean', 'cosine', 'correlation', got 'l1'",
        {"dissimilarity": "l1"},
    ),
    Wrong(
        ValueError,
        "dissimilarity_y must be one of 'sqeuclidean', 'euclidean', 'cosine', 'correlation', got 'l1'",
        {"dissimilarity_y": "l1"},
    ),
    Wrong(
        ValueError,
        "correlation must be one of 'pearson', 'spearman', 'cosine', got 'kendall'",
        {"correlation": "kendall"},
    ),
    Wrong(
        ValueError,
        "geotopological must be (low, high) with 0 <= low <= high <= 1, got (0.5, 0.2)",
        {"geotopological": (0.5, 0.2)},
    ),
    Wrong(
        ValueError,
        "geotopological must be (low, high) with 0 <= low <= high <= 1, got (nan, 1.0)",
        {"geotopological": (math.nan, 1.0)},
    ),
    Wrong(TypeError, "geotopological must be two probabilities (low, high), got 0.5", {"geotopological": 0.5}),
    Wrong(
        ValueError,
        "bins are of ranks, which correlation='spearman' has; got correlation='pearson'",
        {"bins": 10},
    ),
    Wrong(ValueError, "bins must be at least 2, got 1", {"bins": 1, "correlation": "spearman"}),
    Wrong(TypeError, "bins must be a whole number, got float", {"bins": 1.5, "correlation": "spearman"}),
    Wrong(ValueError, "memory (bytes) must be at least 1, got 0", {"memory": 0}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: str(w.options))
def test_what_is_wrong_is_said(wrong):
    X = np.random.default_rng(0).normal(size=(5, 3))
    with pytest.raises(wrong.error) as caught:
        gm.rsa(X, X, **wrong.options)
    assert str(caught.value) == wrong.says


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("kind", ["sqeuclidean", "correlation"])
def test_arrays_pass_the_gate(kind, correlation):
    X = np.random.default_rng(0).normal(size=(5, 3))
    with pytest.raises(ValueError, match=r"^X has 5 rows but Y has 4; row i of both must be the same sample$"):
        gm.rsa(X, X[:4], dissimilarity=kind, correlation=correlation)
    X[2, 1] = math.nan
    with pytest.raises(ValueError, match=r"^Y has NaN in row 2, column 1"):
        gm.rsa(X[:, :1], X, dissimilarity=kind, correlation=correlation)


def test_arrays_may_be_files(tmp_path):
    X, Y = hard_pair(40, 4, 5)
    np.save(tmp_path / "x.npy", X)
    assert gm.rsa(tmp_path / "x.npy", Y) == gm.rsa(X, Y)


def test_a_full_disk_is_told_beforehand(monkeypatch):
    X = np.random.default_rng(0).normal(size=(100, 3))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(50_000))
    with pytest.raises(OSError, match=r"^exact ranks of the 4950 pairs of 100 rows need 0\.0 GB on disk, but .* has"):
        gm.rsa(X, X, correlation="spearman", memory=LITTLE)


def test_buckets_need_no_more_files_than_a_process_may_open():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    X = np.random.default_rng(0).normal(size=(500, 3))  # 640 buckets
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        assert gm.rsa(X, X, correlation="spearman", memory=1 << 15) == pytest.approx(1.0, abs=1e-13)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("stop", ["tiles", "sorting 1/2", "sorting 2/2"])
def test_nothing_is_left_on_disk(stop, tmp_path, monkeypatch):
    """Neither after a result nor when a callback stops it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    X = np.random.default_rng(0).normal(size=(200, 3))

    def progress(done, total, phase):
        if phase == stop:
            raise KeyboardInterrupt

    gm.rsa(X, X, correlation="spearman", memory=LITTLE)
    with pytest.raises(KeyboardInterrupt):
        gm.rsa(X, X, correlation="spearman", memory=LITTLE, progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_buckets_in_memory_give_what_one_sort_gives_and_need_no_disk(monkeypatch):
    X, Y = hard_pair(300, 4, 5)
    want = gm.rsa(X, Y, correlation="spearman")
    monkeypatch.setattr(pairs, "BUDGET", 1 << 18)  # of a sort; memory allows all of them
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert gm.rsa(X, Y, correlation="spearman", memory=1 << 30) == pytest.approx(want, abs=1e-13)


SORTED_ON_DISK = """
import sys
import numpy as np, gramian as gm
X = np.random.default_rng(0).normal(size=(1000, 3))
said = lambda done, total, phase: print("sorting", flush=True) if phase.startswith("sorting 1") else None
gm.rsa(X, X, correlation="spearman", memory=1 << 20, progress=said)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_a_process_that_is_ended_leaves_nothing_on_disk(end, tmp_path):
    command, environment = [sys.executable, "-c", SORTED_ON_DISK], os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "sorting\n"
        process.send_signal(signal.Signals[end])
    assert process.returncode == -signal.Signals[end]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_one_error_and_leaves_nothing(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    X = np.random.default_rng(0).normal(size=(200, 3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # of 318,400
    try:
        with pytest.raises(OSError, match=rf"exact ranks are sorted in a file in {tmp_path}; set TMPDIR to another"):
            gm.rsa(X, X, correlation="spearman", memory=LITTLE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{}, {"bins": 10}])
def test_progress_counts_to_the_end(options):
    seen = []
    X = np.random.default_rng(0).normal(size=(200, 3))
    gm.rsa(X, X, correlation="spearman", memory=LITTLE, progress=lambda *a: seen.append(a), **options)
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert len(set(done)) > 10
    assert {total for _, total in seen} == {done[-1]}


@pytest.mark.parametrize("options", [{}, {"bins": 1000}, {"geotopological": (0.2, 0.8)}])
def test_memory_is_what_was_allowed(options):
    X = np.random.default_rng(0).normal(size=(2000, 4))  # 2 million pairs, 112 bytes each where memory is plenty
    tracemalloc.start()
    gm.rsa(X, X, correlation="spearman", memory=8 << 20, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 72 << 20


def test_memory_changes_no_value_of_sorted_ranks():
    X, Y = hard_pair(300, 4, 5)
    values = [gm.rsa(X, Y, correlation="spearman", memory=m) for m in (None, LITTLE, 1 << 18, 1 << 22)]
    assert values == pytest.approx([values[0]] * 4, abs=1e-13)


def test_result_is_frozen_and_says_how_it_came_about():
    X, Y = hard_pair(60, 70, 5)
    found = gm.rsa_estimate(X, Y, dissimilarity="cosine", dissimilarity_y="euclidean")
    shown = dataclasses.asdict(found)
    assert shown.pop("provenance")
    assert shown == {
        "value": gm.rsa(X, Y, dissimilarity="cosine", dissimilarity_y="euclidean"),
        "error": 0.0,
        "method": "sweep",
        "n": 60,
        "pairs": 1770,
        "dissimilarity": ("cosine", "euclidean"),
        "correlation": "pearson",
        "geotopological": None,
        "thresholds": None,
        "bins": None,
        "reason": None,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.value = 1.0


# ---- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_a_device_give_what_those_of_the_host_give(kind, correlation, on_device):
    X, Y = (Z.astype(np.float32) for Z in hard_pair(70, 11, 6, dtype="float32"))
    want = gm.rsa(X, Y, dissimilarity=kind, correlation=correlation)
    got = gm.rsa(on_device(X), on_device(Y), dissimilarity=kind, correlation=correlation)
    assert got == pytest.approx(want, abs=1e-5)


def test_peer_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    X, Y = hard_pair(50, 5, 8)
    rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(Z), method="euclidean") for Z in (X, Y)]
    for correlation, peer in (("pearson", "corr"), ("spearman", "spearman"), ("cosine", "cosine")):
        want = rsatoolbox.rdm.compare(*rdms, method=peer)[0, 0]
        assert gm.rsa(X, Y, correlation=correlation) == pytest.approx(want, abs=1e-9)
    topology = (import_module("rsatoolbox.rdm.transform").geotopological_transform(rdm, 0.2, 0.8) for rdm in rdms)
    want = rsatoolbox.rdm.compare(*topology, method="corr")[0, 0]
    assert gm.rsa(X, Y, geotopological=(0.2, 0.8)) == pytest.approx(want, abs=1e-9)


def test_a_few_rows_far_away_condemn_no_pairs_but_their_own():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((120, 16))
    Y = Z @ rng.standard_normal((16, 8)) + rng.standard_normal((120, 8))
    of = rng.integers(0, 3, 120)[:, None]
    arrays = [(Z + of * far / 4, dtype) for far in (1e3, 2e3) for dtype in ("bfloat16", "float16")]
    arrays += [(Z + far * (np.arange(120)[:, None] < 12), dtype) for dtype, far in (("float16", 1e4), ("float32", 1e8))]
    for (X, dtype), kind in itertools.product(arrays, ("cosine", "correlation")):
        stored = rounded(X, dtype)
        want = gm.rsa(stored, Y, dissimilarity=kind, correlation="spearman")
        found = gm.rsa(as_input(stored, dtype), Y, dissimilarity=kind, correlation="spearman")
        assert found == pytest.approx(want, abs=1e-12)
        d, e = (oracle.over_pairs(oracle.dissimilarities(A.astype(np.longdouble), kind)) for A in (stored, Y))
        # as values are tied: to 40 bits, and what is no more than float64's rounding of directions to 0
        fraction, exponent = np.frexp(np.where(d <= 1e-25, 0, d))
        tied = np.ldexp(np.round(np.ldexp(fraction, 40)), exponent - 40)
        # distances of 1e-6 have 10 digits, by which a few ties are others
        assert want == pytest.approx(float(oracle.rsa(tied, e, "spearman")), abs=1e-6)


def test_whole_numbers_beyond_float64_keep_their_distances():
    few = 3 * np.arange(50)[:, None]
    Y = np.random.default_rng(0).standard_normal((50, 3)) + np.arange(50.0)[:, None]
    for kind, correlation in itertools.product(("sqeuclidean", "euclidean"), CORRELATIONS):
        options = {"dissimilarity": kind, "correlation": correlation}
        assert gm.rsa(10**17 + few, Y, **options) == gm.rsa(few, Y, **options)
