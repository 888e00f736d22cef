"""Nearest neighbours: the lists of float64 arithmetic whatever the tiles do, and the measures made from them."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import CASES, DTYPES, EPS, TILE_EDGE, as_input, hard_pair, rounded
from gramian.measures import overlaps
from gramian.measures.cknna import _kernel_values
from gramian.rows.arrays import as_matrix
from gramian.sweeps.products import Nearest, sweep_nearest
from gramian.sweeps.represent import represent
from test_threads import BUDGETS, run_python

METRICS = ("cosine", "inner_product", "euclidean", "manhattan")
OVERLAPS = ("mutual_knn", "cycle_knn", "lcs_knn", "edit_knn")
N = 2 * TILE_EDGE + 5


def normal(n: int = N, d: int = 17, seed: int = 0, dtype: str = "float64") -> Any:
    """float64 values that the dtype holds."""
    return rounded(np.random.default_rng(seed).normal(size=(n, d)), dtype)


def whole(n: int = N, d: int = 3, most: int = 3, seed: int = 0) -> Any:
    """Whole numbers: float64 finds their inner products and distances without rounding, so ties are ties."""
    return np.random.default_rng(seed).integers(-most, most + 1, size=(n, d)).astype(np.float64)


def random_lists(n: int, k: int, seed: int) -> Any:
    return oracle.nearest(np.random.default_rng(seed).normal(size=(n, n)), k)


def assert_nearest(index: Any, S: Any, error: float) -> None:
    """A list may leave out, or put behind, what is nearer by no more than the error of S itself."""
    k = index.shape[1]
    want = np.take_along_axis(S, oracle.nearest(S, k), axis=1)
    assert np.abs(np.take_along_axis(S, index, axis=1) - want).max() <= error
    assert not (index == np.arange(len(S))[:, None]).any()
    assert all(len(set(row)) == k for row in index.tolist())


# ---- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_lists_are_those_of_float64(metric: Any, dtype: str) -> None:
    X = normal(dtype=dtype)

    got = gm.neighbors(as_input(X, dtype), 10, metric=metric)

    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness(metric, X), 10))


@pytest.mark.parametrize("n", [2, 3, TILE_EDGE - 1, TILE_EDGE, TILE_EDGE + 1])
@pytest.mark.parametrize("d", [1, 2, 31])
def test_any_size_and_number_of_neighbours(n: int, d: int) -> None:
    X = normal(n, d)
    S = oracle.nearness("euclidean", X)
    for k in {1, min(7, n - 1), n - 1}:
        np.testing.assert_array_equal(gm.neighbors(X, k, metric="euclidean"), oracle.nearest(S, k))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("metric", ["inner_product", "euclidean", "manhattan"])
@pytest.mark.parametrize("k", [1, 12])
def test_ties_go_to_the_lowest_index(metric: Any, k: int, dtype: str) -> None:
    X = whole()

    got = gm.neighbors(X.astype(dtype), k, metric=metric)

    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness(metric, X), k))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_equal_rows_list_the_first_others(metric: Any, value: float) -> None:
    n, k = TILE_EDGE + 30, 5

    got = gm.neighbors(np.full((n, 9), value, dtype=np.float32), k, metric=metric)

    np.testing.assert_array_equal(got, oracle.nearest(np.zeros((n, n)), k))


@pytest.mark.parametrize("metric", METRICS)
def test_many_equal_rows_among_others(metric: Any) -> None:
    X = normal(dtype="float32")
    X[40:300] = X[7]
    X[300:350] = 2 * X[7]

    got = gm.neighbors(X.astype(np.float32), 10, metric=metric)

    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness(metric, X), 10))


def test_rows_of_zeros_have_cosine_0_with_all() -> None:
    X = normal(300, 2)
    X[[4, 100, 250]] = 0

    got = gm.neighbors(X, 299)

    assert got[4].tolist() == [i for i in range(300) if i != 4]
    cosines = oracle.nearness("cosine", X)
    for row in (0, 77, 299):
        others = got[row][~np.isin(got[row], [4, 100, 250])]
        zeros = [got[row].tolist().index(i) for i in (4, 100, 250)]
        assert zeros == list(range(zeros[0], zeros[0] + 3))
        assert zeros[0] == np.count_nonzero(cosines[row][others] > 0)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_a_huge_mean_changes_no_list_of_distances(metric: Any) -> None:
    X = np.round(normal() * 1024) / 1024  # which a mean of 2^30 leaves as they are

    want = gm.neighbors(X, 10, metric=metric)

    np.testing.assert_array_equal(gm.neighbors(X + 2.0**30, 10, metric=metric), want)
    np.testing.assert_array_equal(want, oracle.nearest(oracle.nearness(metric, X), 10))


def test_a_huge_mean_costs_inner_products_no_digit() -> None:
    X = whole(most=1000) + 10**8
    S = X.astype(np.int64) @ X.astype(np.int64).T

    np.testing.assert_array_equal(gm.neighbors(X, 10, metric="inner_product"), oracle.nearest(S, 10))


def test_a_huge_mean_leaves_cosines_the_digits_of_their_chords() -> None:
    X = normal(300, 6) + 1e5
    U = X.astype(np.longdouble) / oracle.norms(X.astype(np.longdouble))[:, None]

    got = gm.neighbors(X, 10)

    np.testing.assert_array_equal(got, oracle.nearest(-oracle.squared_distances(U, U), 10))


@pytest.mark.parametrize("mean", [1e3, 1e5])
@pytest.mark.parametrize("metric", METRICS)
def test_float32_rows_far_from_zero(metric: Any, mean: float) -> None:
    X = rounded(normal() + mean, "float32")
    S = oracle.nearness(metric, X.astype(np.longdouble))

    got = gm.neighbors(X.astype(np.float32), 10, metric=metric)

    np.testing.assert_array_equal(got, oracle.nearest(S, 10))


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize("metric", METRICS)
def test_scale_changes_no_list(metric: Any, scale: float) -> None:
    X = normal()
    power = 2.0 ** round(math.log2(scale))

    np.testing.assert_array_equal(gm.neighbors(X * power, 10, metric=metric), gm.neighbors(X, 10, metric=metric))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_hard_data(metric: Any, mean: float, dtype: str) -> None:
    _, X = hard_pair(N, 9, 70, mean=mean, dtype=dtype)
    S = oracle.nearness(metric, X)
    if metric == "cosine":  # the angle in place of its cotangent, which may be infinite
        S = -np.arctan2(1, np.sign(S) * np.sqrt(np.abs(S)))

    got = gm.neighbors(as_input(X, dtype), 20, metric=metric)

    assert_nearest(got, S, 200 * 2.0**-52 * max(float((X * X).sum(1).max()), 1.0))


def test_an_outlier_disturbs_nobody() -> None:
    X = normal(dtype="float32")
    X[0] *= 1e6
    X = rounded(X, "float32")

    got = gm.neighbors(X.astype(np.float32), 10, metric="euclidean")

    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness("euclidean", X), 10))


def test_clusters_much_smaller_than_their_distances() -> None:
    rng = np.random.default_rng(0)
    X = rounded(rng.normal(size=(4, 8))[rng.integers(0, 4, N)] + 1e-5 * rng.normal(size=(N, 8)), "float32")

    got = gm.neighbors(X.astype(np.float32), 10, metric="euclidean")

    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness("euclidean", X), 10))


@pytest.mark.parametrize("order", [1, -1])
def test_rows_in_order_of_their_distances(order: int) -> None:
    X = np.cumsum(np.random.default_rng(0).random((1000, 1)), axis=0)[::order]

    got = gm.neighbors(X, 4, metric="euclidean")

    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness("euclidean", X), 4))


def test_strides_and_files_are_read_in_place(tmp_path: Path) -> None:
    X = normal(300, 12)
    np.save(tmp_path / "x.npy", X)

    want = gm.neighbors(X[:, ::2].copy(), 5)

    np.testing.assert_array_equal(gm.neighbors(X[:, ::2], 5), want)
    np.testing.assert_array_equal(gm.neighbors(np.asfortranarray(X)[:, ::2], 5), want)
    np.testing.assert_array_equal(gm.neighbors(X[::-1, ::2], 5)[::-1], 299 - gm.neighbors(X[:, ::2], 5))
    np.testing.assert_array_equal(gm.neighbors(tmp_path / "x.npy", 5), gm.neighbors(X, 5))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 2 * TILE_EDGE + 2),
    st.integers(1, 20),
    st.integers(0, 5),
    st.sampled_from(["cosine", "inner_product", "euclidean", "manhattan"]),
    st.sampled_from(["float64", "float32"]),
    st.integers(0, 2**31),
)
def test_whole_numbers_of_any_shape(n: int, d: int, most: int, metric: Any, dtype: str, seed: int) -> None:
    X = whole(n, d, most, seed)
    k = 1 + seed % (n - 1)
    got = gm.neighbors(X.astype(dtype), k, metric=metric)
    np.testing.assert_array_equal(got, oracle.nearest(oracle.nearness(metric, X), k))


def test_lists_are_those_of_scikit_learn() -> None:
    peer = pytest.importorskip("sklearn.neighbors")
    X = normal(700, 9)
    for metric in ("cosine", "euclidean", "manhattan"):
        search = peer.NearestNeighbors(n_neighbors=15, algorithm="brute", metric=metric).fit(X)
        np.testing.assert_array_equal(gm.neighbors(X, 15, metric=metric), search.kneighbors(return_distance=False))


# ---- by kernel -------------------------------------------------------------------------------------------------------


def nearest_by(name: str, X: Any, k: int, dtype: str = "float64", **options: Any) -> Nearest:
    return sweep_nearest(represent(CASES[name].kernel, as_matrix(as_input(X, dtype), "X")), k, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_neighbours_by_a_kernel_have_its_largest_values(name: str, dtype: str) -> None:
    X, _ = hard_pair(N, 9, 5, dtype=dtype)
    K = CASES[name].gram(X.astype(np.longdouble))

    found = nearest_by(name, X, 20, dtype)

    assert_nearest(found.index, K, 100 * EPS["float64"] * float(np.abs(K).max()))


@pytest.mark.parametrize("d", [3, 64])
@pytest.mark.parametrize("name", CASES)
def test_values_that_float32_cannot_tell_apart(name: str, d: int) -> None:
    rng = np.random.default_rng(d)
    centre = rng.normal(size=d) / math.sqrt(d)
    side = np.where(rng.random(N) < 0.5, 2, -2)[:, None]
    X = rounded(side * centre + 1e-6 * rng.normal(size=(N, d)), "float32")
    wide = X.astype(np.longdouble)
    if name.startswith(("rbf", "exponential", "rational")):  # all of them 1 to many digits: by what they fall with
        K = -oracle.squared_distances(wide, wide)
    else:
        K = -oracle.l1_distances(wide, wide) if name == "laplacian" else CASES[name].gram(wide)

    found = nearest_by(name, X, 20, "float32")

    want = np.take_along_axis(K, oracle.nearest(K, 20), axis=1)
    scale = np.abs(want).max() if (K <= 0).all() else np.abs(K).max()
    assert np.abs(np.take_along_axis(K, found.index, axis=1) - want).max() <= 100 * EPS["float64"] * scale


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("arc_cosine_1",)])
def test_what_neighbours_are_ranked_by_gives_the_kernel_back(name: str) -> None:
    X, _ = hard_pair(N, 9, 5)
    K = CASES[name].gram(X.astype(np.longdouble))
    found = nearest_by(name, X, 20)
    want = np.take_along_axis(K, found.index, axis=1)

    if name == "linear":  # up to a constant of all pairs
        got = np.ldexp(found.similarity, found.exponent)
        want = want - want[0, 0] + got[0, 0]
    elif name == "cosine":  # cot|cot|
        v = np.ldexp(found.similarity, found.exponent)
        got = np.sign(v) * np.sqrt(1 - 1 / (1 + np.abs(v)))
    else:
        got = _kernel_values(CASES[name].kernel, found, 0, 3) * 8

    np.testing.assert_allclose(got, want.astype(np.float64), rtol=1e-11, atol=1e-13 * float(np.abs(want).max()))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_numbers_times_three_in_another_order_have_the_same_neighbours(metric: Any, dtype: str) -> None:
    X = whole(200, 12, 1, seed=4).astype(dtype)
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(gm.neighbors(3 * X[:, order], 10, metric=metric), gm.neighbors(X, 10, metric=metric))


def test_a_row_of_zeros_is_as_near_to_all_others() -> None:
    X = normal(300, 8)
    X[7] = 0
    for metric in ("cosine", "inner_product"):
        assert gm.neighbors(X, 5, metric=metric)[7].tolist() == [0, 1, 2, 3, 4]


def test_rows_of_subnormal_numbers_have_neighbours() -> None:
    X = (normal(300, 5) * 1e-40).astype(np.float32)
    np.testing.assert_array_equal(gm.neighbors(X, 3), gm.neighbors(X.astype(np.float64), 3))


@pytest.mark.parametrize("power", [-1070, -1030, 900])
def test_cosines_of_rows_of_any_size(power: int) -> None:
    X = np.round(normal(300, 5) * 16)  # whole numbers below 2^7: no size rounds them
    np.testing.assert_array_equal(gm.neighbors(np.ldexp(X, power), 9), gm.neighbors(X, 9))


@pytest.mark.parametrize("metric", ["cosine", "arc_cosine"])
def test_cosines_do_not_notice_the_sizes_of_rows(metric: str) -> None:
    X = normal(300, 5)
    X[7] = 0
    powers = np.random.default_rng(0).integers(-500, 500, size=(300, 1))
    lists = [
        sweep_nearest(represent(gm.Cosine() if metric == "cosine" else gm.ArcCosine(0), as_matrix(Z, "Z")), 9)
        for Z in (X, np.ldexp(X, powers))
    ]
    np.testing.assert_array_equal(lists[0].index, lists[1].index)
    assert gm.cknna(np.ldexp(X, powers), X, 9, kernel="cosine") == pytest.approx(1, abs=1e-12)


def test_kernel_values_beyond_float64_keep_their_proportions() -> None:
    X, Y = normal(50, 5), normal(50, 5)
    got = gm.cknna(2.0**700 * X, Y, 5, kernel=gm.Polynomial(degree=3), kernel_y="linear")
    assert got == pytest.approx(
        gm.cknna(X, Y, 5, kernel=gm.Polynomial(degree=3, offset=0), kernel_y="linear"), rel=1e-9
    )


def test_radial_kernels_rank_by_distance_where_their_values_underflow() -> None:
    X = normal(300, 5)
    want = gm.neighbors(X, 9, metric="euclidean")
    for kernel in (gm.RBF(1e-3), gm.Exponential(1e-4), gm.RationalQuadratic(1e-9, alpha=40.0)):
        found = sweep_nearest(represent(kernel, as_matrix(X, "X")), 9)
        np.testing.assert_array_equal(found.index, want)
    narrow = sweep_nearest(represent(gm.Laplacian(1e-4), as_matrix(X, "X")), 9)
    np.testing.assert_array_equal(narrow.index, gm.neighbors(X, 9, metric="manhattan"))


# ---- the same bits ---------------------------------------------------------------------------------------------------


def assert_same_bits(got: Nearest, want: Nearest) -> None:
    np.testing.assert_array_equal(got.index, want.index)
    np.testing.assert_array_equal(got.similarity.view(np.int64), want.similarity.view(np.int64))
    assert got.exponent == want.exponent


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", ["linear", "cosine", "rbf", "laplacian", "polynomial", "arc_cosine_1", "distance"])
def test_threads_and_memory_change_no_bit(name: str, dtype: str) -> None:
    X, _ = hard_pair(5 * TILE_EDGE + 7, 33, 5, dtype=dtype)
    gm.set_num_threads(1)
    want = nearest_by(name, X, 7, dtype)
    for threads, memory in ((2, None), (3, 1), (5, 4 << 20)):
        gm.set_num_threads(threads)
        assert_same_bits(nearest_by(name, X, 7, dtype, memory=memory), want)


@pytest.mark.parametrize("name", ["linear", "cosine", "rbf", "laplacian"])
def test_memory_changes_no_bit_of_wide_rows(name: str) -> None:
    X, _ = hard_pair(TILE_EDGE + 5, 1100, 5, dtype="float32")
    want = nearest_by(name, X, 7, "float32")
    for memory in BUDGETS:
        assert_same_bits(nearest_by(name, X, 7, "float32", memory=memory), want)


@pytest.mark.parametrize("size", [2, 7, 40])
@pytest.mark.parametrize("name", ["linear", "cosine", "rbf"])
def test_shards_add_to_the_same_bits_in_any_order(name: str, size: int) -> None:
    X, _ = hard_pair(5 * TILE_EDGE + 7, 9, 5, dtype="float32")
    X[200:500] = X[3]
    whole = nearest_by(name, X, 12, "float32")
    parts = [nearest_by(name, X, 12, "float32", shard=(rank, size)) for rank in range(size)]
    assert_same_bits(sum(parts[1:], parts[0]), whole)
    assert_same_bits(sum(parts[-2::-1], parts[-1]), whole)


def test_a_shard_lists_what_it_has_seen_and_marks_what_is_missing() -> None:
    X = normal(50)
    nothing, everything = nearest_by("linear", X, 3, shard=(0, 5)), nearest_by("linear", X, 3)
    assert (nothing.index == -1).all()
    assert np.isnan(nothing.similarity).all()
    assert_same_bits(nothing + everything, everything)


def test_neighbours_of_other_rows_do_not_add() -> None:
    with pytest.raises(ValueError, match="these neighbours are of different rows, or not of as many"):
        _ = nearest_by("linear", normal(50), 3) + nearest_by("linear", normal(50), 4)


@pytest.mark.usefixtures("restored_threads")
def test_an_order_of_the_rows_is_an_order_of_the_lists() -> None:
    X = normal(dtype="float32").astype(np.float32)
    order = np.random.default_rng(1).permutation(N)
    moved = gm.neighbors(X[order], 10, metric="euclidean")
    np.testing.assert_array_equal(order[moved], gm.neighbors(X, 10, metric="euclidean")[order])


INSTRUCTION_SETS = """
import json, sys
import numpy as np, gramian as gm
from accuracy import CASES, hard_pair
from gramian.sweeps.products import sweep_nearest
from gramian.sweeps.represent import represent
from gramian.rows.arrays import as_matrix
found = {}
for dtype in ("float64", "float32"):
    X = hard_pair(500, 33, 5, dtype=dtype)[0].astype(dtype)
    for name, case in CASES.items():
        r = sweep_nearest(represent(case.kernel, as_matrix(X, "X")), 7)
        found[name + dtype] = [r.index.tolist(), r.similarity.view(np.int64).tolist()]
import hashlib
print(json.dumps([gm.info()["instruction_set"], hashlib.sha256(json.dumps(found).encode()).hexdigest()]))
"""


def test_instruction_sets_change_no_bit() -> None:
    known = ["baseline", "avx2", "avx512"]
    mine = gm.info()["instruction_set"]
    lesser = known[: known.index(mine)]
    if not lesser:
        pytest.skip(f"this machine has {mine} only")
    _, want = json.loads(run_python(INSTRUCTION_SETS))
    for name in lesser:
        assert json.loads(run_python(INSTRUCTION_SETS, GRAMIAN_INSTRUCTION_SET=name)) == [name, want]


def test_progress_ends_at_the_total_and_may_stop_the_sweep() -> None:
    X = np.random.default_rng(0).normal(size=(6000, 32))
    calls: list[tuple[int, int]] = []
    gm.neighbors(X, 3, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gm.neighbors(X, 3, progress=stop)


# ---- measures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("measure", OVERLAPS)
def test_measure_is_that_of_the_oracle(measure: Any, k: int) -> None:
    A, B = random_lists(12, k, 0), random_lists(12, k, 1)
    B[:6] = A[:6, ::-1]

    got = gm.neighbor_overlap(A, B, measure=measure, shuffles=1).value

    assert got == pytest.approx(getattr(oracle, measure)(A, B), abs=1e-15)


@pytest.mark.parametrize("measure", OVERLAPS)
@pytest.mark.parametrize("metric", METRICS)
def test_measure_of_arrays_is_that_of_their_lists(measure: str, metric: Any) -> None:
    X, Y = hard_pair(200, 5, 8)
    A, B = (gm.neighbors(Z, 6, metric=metric) for Z in (X, Y))

    got = getattr(gm, measure)(X, Y, 6, metric=metric)

    assert isinstance(got, float)
    assert got == gm.neighbor_overlap(A, B, measure=measure).value  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", OVERLAPS)
def test_default_is_ten_neighbours_by_the_cosine(measure: str) -> None:
    X, Y = hard_pair(100, 5, 8)
    assert getattr(gm, measure)(X, Y) == getattr(gm, measure)(X, Y, 10, metric="cosine")


@pytest.mark.parametrize("measure", OVERLAPS)
def test_nearest_neighbours_on_a_line(measure: str) -> None:
    x, y = np.array([[0.0], [1], [3], [7], [15]]), np.array([[0.0], [3], [1], [7], [15]])
    assert getattr(gm, measure)(x, y, 1, metric="euclidean") == 0.2


@pytest.mark.parametrize("measure", ["mutual_knn", "lcs_knn", "edit_knn"])
def test_an_array_agrees_with_itself(measure: str) -> None:
    X = normal(150)
    assert getattr(gm, measure)(X, 2 * X, 7) == 1


@st.composite
def moved_arrays(draw: Any) -> tuple[Any, Any, Any, Any, Any]:
    """X, Y; X turned and scaled; the shift of a row of it; an order of the rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(5, 60)), draw(st.integers(2, 6))
    X, Y = rng.normal(size=(n, d)), rng.normal(size=(n, 3))
    turn, size = np.linalg.qr(rng.normal(size=(d, d)))[0], 10.0 ** draw(st.integers(-3, 3))
    return X, Y, size * X @ turn, size * rng.normal(size=d), rng.permutation(n)


@settings(max_examples=30, deadline=None)
@given(moved_arrays(), st.sampled_from(METRICS[:3]), st.sampled_from(OVERLAPS))
def test_measures_do_not_notice_rotations_scaling_and_the_order_of_samples(data: Any, metric: Any, name: str) -> None:
    X, Y, moved, shift, order = data
    measure = getattr(gm, name)
    want = measure(X, Y, 4, metric=metric)
    assert measure(moved + shift * (metric == "euclidean"), Y, 4, metric=metric) == want
    assert measure(X[order], Y[order], 4, metric=metric) == pytest.approx(want, abs=1e-15)
    if name != "cycle_knn":
        assert measure(Y, X, 4, metric=metric) == want


@settings(max_examples=30, deadline=None)
@given(
    moved_arrays(), st.sampled_from(["linear", "cosine", "rbf", "distance"]), st.sampled_from(["paper", "reference"])
)
def test_cknna_does_not_notice_rotations_scaling_and_the_order_of_samples(data: Any, kernel: str, variant: Any) -> None:
    X, Y, moved, shift, order = data
    want = gm.cknna(X, Y, 4, kernel=kernel, variant=variant)
    swapped = [(Y, X)] if variant == "paper" else []  # the reference's masked matrices are not symmetric
    for x, y in ((moved + shift * (kernel == "rbf"), Y), (X[order], Y[order]), *swapped):
        assert gm.cknna(x, y, 4, kernel=kernel, variant=variant) == pytest.approx(want, abs=1e-9, nan_ok=True)


def test_measures_in_their_order() -> None:
    A, B = random_lists(300, 20, 0), random_lists(300, 20, 1)
    mutual, lcs, edit = (
        gm.neighbor_overlap(A, B, measure=m, shuffles=1).value  # type: ignore[arg-type]
        for m in ("mutual_knn", "lcs_knn", "edit_knn")
    )
    assert 0 <= edit <= lcs <= mutual <= 1
    assert mutual == gm.neighbor_overlap(B, A).value


def test_blocks_of_rows_change_no_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    A, B = random_lists(50, 4, 0), random_lists(50, 4, 1)
    want = [gm.neighbor_overlap(A, B, measure=m) for m in OVERLAPS]  # type: ignore[arg-type]
    monkeypatch.setattr(overlaps, "_ELEMENTS", 300)
    assert [gm.neighbor_overlap(A, B, measure=m) for m in OVERLAPS] == want  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", ["mutual_knn", "cycle_knn"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_chance_is_the_mean_over_all_shuffles(measure: Any, k: int) -> None:
    n = 5
    X, Y = normal(n, 2, 0), normal(n, 2, 1)
    A = gm.neighbors(X, k, metric="euclidean")
    values = [
        gm.neighbor_overlap(A, gm.neighbors(Y[list(p)], k, metric="euclidean"), measure=measure).value
        for p in itertools.permutations(range(n))
    ]
    assert gm.neighbor_overlap(A, A, measure=measure).chance == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize("measure", ["lcs_knn", "edit_knn"])
def test_chance_is_the_mean_over_some_shuffles(measure: Any) -> None:
    X, Y = hard_pair(300, 5, 8)
    A = gm.neighbors(X, 10)
    rng = np.random.default_rng(7)
    values = [
        gm.neighbor_overlap(A, gm.neighbors(Y[rng.permutation(300)], 10), measure=measure, shuffles=1).value
        for _ in range(20)
    ]
    found = gm.neighbor_overlap(A, gm.neighbors(Y, 10), measure=measure, shuffles=40)
    spread = np.std(values) * math.sqrt(1 / 20 + 1 / 40)
    assert abs(found.chance - np.mean(values)) < 4 * spread
    assert found == gm.neighbor_overlap(A, gm.neighbors(Y, 10), measure=measure, shuffles=40)
    assert found.chance != gm.neighbor_overlap(A, gm.neighbors(Y, 10), measure=measure, shuffles=40, seed=1).chance


@pytest.mark.parametrize("measure", OVERLAPS)
def test_corrected_is_0_by_chance_and_1_for_equal_lists(measure: Any) -> None:
    A, B = random_lists(2000, 8, 0), random_lists(2000, 8, 1)
    assert abs(gm.neighbor_overlap(A, B, measure=measure).corrected) < 0.01
    if measure != "cycle_knn":
        assert gm.neighbor_overlap(A, A, measure=measure).corrected == 1


def test_nothing_is_left_to_correct_when_all_are_neighbours() -> None:
    A, B = random_lists(6, 5, 0), random_lists(6, 5, 1)
    found = gm.neighbor_overlap(A, B)
    assert (found.value, found.chance) == (1, 1)
    assert math.isnan(found.corrected)


def test_overlap_shows_itself() -> None:
    found = gm.Overlap(value=0.5, chance=0.1, n=101, k=10, measure="mutual_knn")
    assert repr(found) == "mutual_knn = 0.5, chance 0.1, corrected 0.4444 (k = 10, n = 101)"
    assert found.to_dict() == {
        "measure": "mutual_knn",
        "value": 0.5,
        "chance": 0.1,
        "corrected": pytest.approx(4 / 9),
        "n": 101,
        "k": 10,
        "ties": [None, None],
        "reason": None,
    }


# ---- ties ------------------------------------------------------------------------------------------------------------

NEAR = "all rows are equally near each other"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("measure", OVERLAPS)
@pytest.mark.parametrize("k", [3, 59])
def test_neighbours_of_a_constant_array_say_nothing(k: int, measure: Any, metric: Any) -> None:
    X, Y = np.full((60, 4), 0.1), normal(60, 4)
    for pair, name in (((X, Y), "X"), ((Y, X), "Y")):
        with pytest.warns(gm.UndefinedWarning, match=rf"^{measure} is nan: in {name}, {NEAR}$"):
            assert math.isnan(getattr(gm, measure)(*pair, k, metric=metric))
        found = gm.neighbor_overlap(*(gm.neighbors(Z, k, metric=metric) for Z in pair), measure=measure)
        assert (math.isnan(found.value), math.isnan(found.corrected)) == (True, True)
        assert found.reason == f"in {'A' if name == 'X' else 'B'}, {NEAR}"


@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_all_as_far_from_each_other_say_nothing(metric: Any, n: int) -> None:
    assert gm.neighbors(np.eye(n), 4, metric=metric).reason == NEAR
    assert gm.neighbors(np.zeros((n, 3)), 4, metric=metric).reason == NEAR


@pytest.mark.parametrize("dtype", DTYPES)
def test_parallel_rows_have_no_nearest_direction(dtype: str) -> None:
    X = as_input(rounded(np.abs(normal(50, 1)) * normal(1, 12, 1), dtype), dtype)
    says = rf"in X, ({NEAR}|all rows point the same way, up to the rounding of {dtype})$"
    for measure in OVERLAPS:
        with pytest.warns(gm.UndefinedWarning, match=says):
            assert math.isnan(getattr(gm, measure)(X, normal(50, 4), 5))
    with pytest.warns(gm.UndefinedWarning, match=says):
        assert math.isnan(gm.cknna(X, normal(50, 4), 5, kernel="cosine"))
    assert gm.neighbors(X, 5, metric="euclidean").reason is None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_positive_numbers_are_one_direction(dtype: str) -> None:
    X = (np.abs(normal(400, 1)) + 0.1).astype(dtype)
    found = gm.neighbors(X, 6)
    np.testing.assert_array_equal(found, oracle.nearest(np.zeros((400, 400)), 6))
    assert (found.ties, found.reason) == (1.0, NEAR)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_repeat_have_neighbours_and_the_share_of_ties_is_said(metric: Any) -> None:
    """Two words of 30 rows each: every list ends among equal rows, and yet tells the words apart."""
    rng = np.random.default_rng(0)
    words = np.array([[1.0, 2, -1], [-2, 0.5, 1]])[rng.permutation(np.repeat([0, 1], 30))]
    X = np.vstack([words, rng.integers(-9, 10, (4, 3)) + 0.5])
    S = oracle.nearness(metric, X)
    ordered = -np.sort(-np.where(np.eye(64, dtype=bool), -np.inf, S), axis=1)
    tied = float((ordered[:, 4] == ordered[:, 5]).mean())

    A, B = gm.neighbors(X, 5, metric=metric), gm.neighbors(normal(64, 3), 5, metric=metric)
    found = gm.neighbor_overlap(A, B)

    np.testing.assert_array_equal(A, oracle.nearest(S, 5))
    assert (A.ties, A.reason, found.ties) == (tied, None, (tied, 0.0))
    assert found.value == pytest.approx(oracle.mutual_knn(np.array(A), np.array(B)), abs=1e-15)
    share = f"the last neighbour of {tied:.2g} of the rows is one of several equally near: the lower index"
    assert tied > 0.9
    assert found.note == share
    assert repr(found).endswith(f"(k = 5, n = 64; {share})")
    assert found.to_dict()["ties"] == [tied, 0.0]


def test_parts_of_lists_do_not_know_of_ties() -> None:
    A = gm.neighbors(np.ones((10, 2)), 3)
    assert (A[:, :2].ties, A.copy().reason) == (None, None)
    assert gm.neighbor_overlap(np.array(A), np.array(A)).ties == (None, None)


@pytest.mark.parametrize("measure", OVERLAPS)
def test_two_rows_have_no_choice_and_no_ties(measure: Any) -> None:
    assert getattr(gm, measure)(np.ones((2, 3)), normal(2, 3), 1) == 1.0


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "distance", "exponential"])
@pytest.mark.parametrize("mean", [0.0, 1e5])
def test_cknna_of_float32_far_from_0_is_that_of_float64(kernel: str, mean: float) -> None:
    X, Y = ((normal(60, 20, s) + mean).astype(np.float32) for s in (0, 1))
    want = gm.cknna(X.astype(np.float64), Y.astype(np.float64), 6, kernel=kernel)
    assert gm.cknna(X, Y, 6, kernel=kernel) == pytest.approx(want, abs=16 * EPS["float32"])


# ---- CKNNA -----------------------------------------------------------------------------------------------------------

VARIANTS = {"paper": oracle.cknna, "reference": oracle.cknna_reference}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("k", [2, 9, 60])
@pytest.mark.parametrize("name", CASES)
def test_cknna_is_that_of_the_oracle(name: str, k: int, variant: Any) -> None:
    X, Y = normal(80, 7), normal(80, 7) ** 2 + normal(80, 7, 1)
    case = CASES[name]

    got = gm.cknna(X, Y, k, kernel=case.kernel, variant=variant)

    assert got == pytest.approx(VARIANTS[variant](case.gram(X), case.gram(Y), k), abs=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_cknna_of_all_neighbours_is_debiased_cka(name: str, variant: Any) -> None:
    X, Y = hard_pair(120, 6, 9)
    got = gm.cknna(X, Y, 119, kernel=CASES[name].kernel, variant=variant)
    want = oracle.cka(CASES[name].gram(X), CASES[name].gram(Y), "unbiased")
    assert got == pytest.approx(want, abs=1e-12 if variant == "paper" else 1e-11)


@pytest.mark.parametrize("name", ["linear", "cosine", "rbf", "distance", "laplacian"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cknna_of_lower_precision_is_that_of_its_values(name: str, dtype: str) -> None:
    X, Y = hard_pair(150, 6, 9, dtype=dtype)
    got = gm.cknna(as_input(X, dtype), as_input(Y, dtype), 12, kernel=CASES[name].kernel)
    assert got == pytest.approx(gm.cknna(X, Y, 12, kernel=CASES[name].kernel), abs=16 * EPS["float32"])


def test_mean_cknna_over_all_shuffles_follows_from_the_sums_over_the_lists() -> None:
    n, k = 6, 2
    X, Y = normal(n, 2, 0), normal(n, 2, 1)
    values = [gm.cknna(X, Y[list(p)], k) for p in itertools.permutations(range(n))]
    grams = [oracle.linear(Z, Z) for Z in (X, Y)]
    U, V = (oracle.mask(oracle.nearest(K, k)) * oracle.u_centred(K) for K in grams)
    want = U.sum() * V.sum() / (n * (n - 1)) / np.sqrt((U * U).sum() * (V * V).sum())
    assert np.mean(values) == pytest.approx(want, abs=1e-12)
    assert want <= k / (n - 1)


def test_cknna_takes_a_kernel_for_each() -> None:
    X, Y = normal(80, 5), normal(80, 4, 1)
    got = gm.cknna(X, Y, 8, kernel="rbf", kernel_y="cosine")
    assert got == pytest.approx(oracle.cknna(oracle.gram("rbf", X), oracle.gram("cosine", Y), 8), abs=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "exponential", "laplacian", "rational_quadratic"])
def test_cknna_keeps_its_digits_at_a_huge_mean(kernel: str) -> None:
    X, Y = (np.round(normal(90, 5, s) * 1024) / 1024 for s in (0, 1))
    want = gm.cknna(X, Y, 8, kernel=kernel)
    assert gm.cknna(X + 2.0**30, Y - 2.0**29, 8, kernel=kernel) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("bandwidth", [1.0, 1e5, 1e8])
@pytest.mark.parametrize("kernel", [gm.kernels.RBF, gm.kernels.Exponential, gm.kernels.RationalQuadratic])
def test_cknna_keeps_its_digits_when_kernels_are_wide(kernel: Any, bandwidth: float) -> None:
    X = normal(60, 5)
    Y = X[:, :3] + normal(60, 3, 1)

    def less_one(Z: Any) -> Any:
        half = np.square(Z[:, None] - Z.astype(np.longdouble)).sum(axis=2) / np.longdouble(bandwidth) ** 2 / 2
        if kernel is gm.kernels.RationalQuadratic:
            return np.expm1(-np.log1p(half))
        return np.expm1(-half if kernel is gm.kernels.RBF else -np.sqrt(2 * half))

    got = gm.cknna(X, Y, 5, kernel=kernel(bandwidth))
    assert got == pytest.approx(oracle.cknna(less_one(X), less_one(Y), 5), abs=1e-14)


def test_linear_cknna_keeps_its_digits_at_a_huge_mean() -> None:
    X, Y = (np.round(normal(90, 5, s) * 1024) / 1024 for s in (0, 1))
    got = gm.cknna(X + 2.0**20, Y + 2.0**20, 8)
    K, L = (oracle.linear(Z, Z).astype(np.float64) for Z in (X.astype(np.longdouble), Y.astype(np.longdouble)))
    far = [Z @ Z.T for Z in ((X + 2.0**20).astype(np.longdouble), (Y + 2.0**20).astype(np.longdouble))]
    M, N_ = (oracle.mask(oracle.nearest(Z, 8)) for Z in far)
    U, V = oracle.u_centred(K), oracle.u_centred(L)
    want = oracle.inner(M * U, N_ * V) / np.sqrt(oracle.inner(M * U, U) * oracle.inner(N_ * V, V))
    assert got == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("scale", [2.0**-400, 2.0**400])
@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf", "distance", "arc_cosine"])
def test_scale_changes_no_cknna(kernel: str, scale: float) -> None:
    X, Y = normal(70, 4), normal(70, 4, 1)
    assert gm.cknna(scale * X, Y, 8, kernel=kernel) == pytest.approx(gm.cknna(X, Y, 8, kernel=kernel), abs=1e-12)


def test_cknna_of_an_array_with_itself_is_1() -> None:
    X = normal(100, 6)
    rotation = np.linalg.qr(normal(6, 6, 3))[0]
    assert gm.cknna(X, X, 5) == pytest.approx(1, abs=1e-15)
    assert gm.cknna(X, 3 * X @ rotation, 5) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf", "polynomial", "distance", "laplacian"])
@pytest.mark.parametrize("value", [0.1, 3.7, 1e10])
def test_cknna_of_a_constant_array_is_nan(kernel: str, value: float) -> None:
    X = normal(60, 4)
    with pytest.warns(gm.UndefinedWarning, match=r"^cknna is nan: in X, all rows are equally near each other$"):
        assert math.isnan(gm.cknna(np.full((60, 3), value), X, 5, kernel=kernel))
    with pytest.warns(gm.UndefinedWarning, match=r"^cknna is nan: in Y, all rows are equally near each other$"):
        assert math.isnan(gm.cknna(X, np.full((60, 3), value), 5, kernel=kernel))


def test_reference_variant_has_no_value_where_a_self_term_is_not_positive() -> None:
    X = np.array([[2.0, 4], [1, -3], [-2, 1], [-2, 0], [-4, -1]])
    assert math.isnan(oracle.cknna_reference(X @ X.T, X @ X.T, 3))
    with pytest.warns(gm.UndefinedWarning, match=r"^cknna is nan: the self term of X is not positive$"):
        assert math.isnan(gm.cknna(X, X, 3, variant="reference"))
    assert gm.cknna(X, X, 3) == pytest.approx(1, abs=1e-15)


def test_blocks_of_rows_change_no_cknna(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = normal(90, 5), normal(90, 5, 1)
    want = gm.cknna(X, Y, 6)
    monkeypatch.setattr(overlaps, "_ELEMENTS", 200)
    assert gm.cknna(X, Y, 6) == pytest.approx(want, abs=1e-14)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "^k must be at least 1, got 0$"),
        (20, ValueError, "^k must be at most 19, the number of other rows, got 20$"),
        (2.0, TypeError, "^k must be a whole number, got float$"),
        (True, TypeError, "^k must be a whole number, got bool$"),
    ],
)
def test_number_of_neighbours_is_checked(k: Any, error: type[Exception], message: str) -> None:
    X = normal(20, 3)
    for call in (
        lambda: gm.neighbors(X, k),
        lambda: gm.mutual_knn(X, X, k),
        lambda: gm.edit_knn(X, X, k),
        lambda: gm.cknna(X, X, k),
    ):
        with pytest.raises(error, match=message):
            call()


def test_arguments_are_checked() -> None:
    X = normal(20, 3)
    with pytest.raises(ValueError, match=r"^metric must be one of 'cosine', .*, got 'l2'; did you mean 'euclidean'\?$"):
        gm.neighbors(X, 3, metric="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^metric must be one of 'cosine', .*, got 'l2'; did you mean 'euclidean'\?$"):
        gm.mutual_knn(X, X, 3, metric="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^X has 20 rows but Y has 19; row i of both must be the same sample$"):
        gm.mutual_knn(X, X[:19], 3)
    with pytest.raises(ValueError, match=r"^a nearest neighbour needs at least 2 rows but got 1$"):
        gm.neighbors(X[:1], 1)
    with pytest.raises(ValueError, match=r"^cknna needs at least 4 rows but got 3$"):
        gm.cknna(X[:3], X[:3], 1)
    with pytest.raises(ValueError, match=r"^variant must be one of 'paper', 'reference', got 'huh'$"):
        gm.cknna(X, X, 3, variant="huh")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^k must be at least 2 for variant='reference', got 1$"):
        gm.cknna(X, X, 1, variant="reference")
    with pytest.raises(ValueError, match=r"^Y has NaN in row 4"):
        gm.cycle_knn(X, np.where(np.arange(20)[:, None] == 4, np.nan, X), 3)
    with pytest.raises(TypeError, match=r"^memory"):
        gm.neighbors(X, 3, memory=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lists", "error", "message"),
    [
        ([[1.0], [0.0]], TypeError, "^B must hold the integers that gramian.neighbors gives, got dtype float64$"),
        ([1, 0], ValueError, r"^B must be 2-d \(samples by neighbours\), got shape \(2,\)$"),
        ([[1], [2]], ValueError, "^B lists a neighbour of row 1 that is not from 0 to 1$"),
        ([[-1], [0]], ValueError, "^B lists a neighbour of row 0 that is not from 0 to 1$"),
        ([[1], [1]], ValueError, "^B lists row 1 as its own neighbour; leave each row out of its list$"),
        ([[1, 2], [0, 2], [1, 1]], ValueError, "^B lists a neighbour of row 2 twice$"),
        ([[1], [0], [0]], ValueError, "^A lists 1 neighbours of 2 rows but B lists 1 neighbours of 3 rows"),
    ],
)
def test_lists_are_checked(lists: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gm.neighbor_overlap([[1], [0]], lists)


def test_options_of_an_overlap_are_checked() -> None:
    A = random_lists(6, 2, 0)
    with pytest.raises(ValueError, match=r"^measure must be one of 'mutual_knn', .*, got 'cka'$"):
        gm.neighbor_overlap(A, A, measure="cka")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^shuffles must be at least 1, got 0$"):
        gm.neighbor_overlap(A, A, shuffles=0)
    with pytest.raises(ValueError, match=r"^seed must be at least 0, got -1$"):
        gm.neighbor_overlap(A, A, seed=-1)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_whole_numbers_beyond_float64_keep_their_neighbours(metric):
    few = 3 * np.arange(50)[:, None]
    assert np.array_equal(gm.neighbors(10**17 + few, 5, metric=metric), gm.neighbors(few, 5, metric=metric))
