"""Sufficient statistics: they add, save, load, and both routes to a number agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from accuracy import CASES, ESTIMATORS, MEASURES, assert_as_accurate, hard_pair
from gramian.rows.arrays import as_matrix
from gramian.sweeps import centred, estimators, gram, moments, routes as routes_module
from gramian.sweeps.centred import feature_route, feature_statistics
from gramian.sweeps.represent import represent

# but for what second passes over the rows need, for a file has no rows
GRAM_FIELDS = [f.name for f in fields(gm.GramMoments) if f.compare]
FEATURE_FIELDS = [f.name for f in fields(gm.FeatureMoments)]
# cuts of 700 rows into batches
CUTS = {"halves": [350], "one row": [1], "many": [100, 101, 350, 698], "uneven": [37, 512]}


def assert_same_fields(got: Any, want: Any, names: list[str]) -> None:
    for name in names:
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name), strict=True, err_msg=name)


# ---- feature moments merge -------------------------------------------------------------------------------------------


def batches(X: Any, cuts: list[int]) -> list[Any]:
    return np.split(X, cuts)


def one_by_one(X: Any, Y: Any, cuts: list[int]) -> gm.FeatureMoments:
    """Each batch about its own mean."""
    parts = [gm.feature_moments(x, y) for x, y in zip(batches(X, cuts), batches(Y, cuts), strict=True)]
    return sum(parts[1:], parts[0])


def updated(X: Any, Y: Any, cuts: list[int]) -> gm.FeatureMoments:
    xs, ys = batches(X, cuts), batches(Y, cuts)
    found = gm.feature_moments(xs[0], ys[0])
    for x, y in zip(xs[1:], ys[1:], strict=True):
        found = found.update(x, y)
    return found


def far_references(X: Any, Y: Any, cuts: list[int]) -> gm.FeatureMoments:
    """Each batch about another point, some spreads away from all of the data."""
    rng = np.random.default_rng(0)
    parts = [
        gm.feature_moments(x, y, reference=(X[0] + rng.normal(size=X.shape[1]), Y[0] + rng.normal(size=Y.shape[1])))
        for x, y in zip(batches(X, cuts), batches(Y, cuts), strict=True)
    ]
    return sum(parts[1:], parts[0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("merged", [one_by_one, updated, far_references])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_feature_moments_of_batches_give_the_measures_of_the_whole(
    cuts: list[int], merged: Callable[..., gm.FeatureMoments], dtype: str
) -> None:
    X, Y = hard_pair(700, 6, 9, mean=3.0, dtype=dtype)
    K, L = (oracle.linear(Z, Z) for Z in (X.astype(np.longdouble), Y.astype(np.longdouble)))

    found = merged(X.astype(dtype), Y.astype(dtype), cuts)

    assert found.n == 700
    for estimator in ESTIMATORS:
        scale = float(np.sqrt(oracle.hsic(K, K, estimator) * oracle.hsic(L, L, estimator)))
        assert_as_accurate(found.hsic(estimator), float(oracle.hsic(K, L, estimator)), [0.0], 10 * scale)
        assert_as_accurate(found.cka(estimator), float(oracle.cka(K, L, estimator)), [0.0], 10)
        want = float(oracle.kernel_alignment(K, L, estimator))
        assert_as_accurate(found.kernel_alignment(estimator), want, [0.0], 10)


def test_feature_moments_about_another_reference_are_the_same_sums() -> None:
    X, Y = hard_pair(300, 4, 3, mean=3.0)
    a, b = np.linspace(-1, 1, 4), np.linspace(2, 3, 3)
    moved, direct = gm.feature_moments(X, Y).moved(a, b), gm.feature_moments(X, Y, reference=(a, b))
    for name in FEATURE_FIELDS:
        got, want = getattr(moved, name), getattr(direct, name)
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12 * np.abs(want).max(), err_msg=name)


def test_order_of_the_batches_matters_in_the_last_digits_only() -> None:
    X, Y = hard_pair(600, 5, 4)
    parts = [gm.feature_moments(X[i : i + 100], Y[i : i + 100]) for i in range(0, 600, 100)]
    forward, backward = sum(parts[1:], parts[0]), sum(parts[-2::-1], parts[-1])
    assert forward.cka() == pytest.approx(backward.cka(), abs=1e-13)


def test_merge_update_and_plus_are_one_operation() -> None:
    X, Y = hard_pair(200, 5, 4)
    first = gm.feature_moments(X[:90], Y[:90])
    rest = gm.feature_moments(X[90:], Y[90:], reference=(first.reference_x, first.reference_y))
    assert_same_fields(first.update(X[90:], Y[90:]), first + rest, FEATURE_FIELDS)
    assert_same_fields(first.merge(rest), first + rest, FEATURE_FIELDS)


def test_update_leaves_the_old_moments_alone() -> None:
    X, Y = hard_pair(200, 5, 4)
    first = gm.feature_moments(X[:90], Y[:90])
    before = first.cka()
    first.update(X[90:], Y[90:])
    assert first.cka() == before


def test_moments_of_one_array_merge_too() -> None:
    X, _ = hard_pair(200, 5, 4)
    whole, parts = gm.feature_moments(X), gm.feature_moments(X[:60]) + gm.feature_moments(X[60:])
    moved = parts.moved(whole.reference_x, whole.reference_y)
    np.testing.assert_allclose(moved.xx, whole.xx, rtol=1e-12, atol=1e-12 * np.abs(whole.xx).max())
    with pytest.raises(ValueError, match="cka needs two arrays; these moments hold X alone"):
        parts.cka()


def test_feature_moments_far_from_zero_lose_no_digits() -> None:
    X, Y = hard_pair(700, 6, 9)
    want = gm.cka(X, Y)
    far = one_by_one(np.float64(np.float32(X)) + 2.0**20, Y, CUTS["many"])
    assert far.cka() == pytest.approx(gm.cka(np.float64(np.float32(X)), Y), abs=1e-9)
    assert want == pytest.approx(far.cka(), abs=1e-6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda X, Y: gm.feature_moments(X[:, :3], Y), "X has 3 features here but 5 there"),
        (lambda X, Y: gm.feature_moments(X, Y[:, :2]), "Y has 2 features here but 4 there"),
        (lambda X, Y: gm.feature_moments(X), "Y has 0 features here but 4 there"),
    ],
)
def test_feature_moments_of_other_widths_do_not_add(other: Callable[..., gm.FeatureMoments], message: str) -> None:
    X, Y = hard_pair(50, 5, 4)
    with pytest.raises(ValueError, match=message):
        gm.feature_moments(X, Y) + other(X, Y)


def test_reference_of_another_width_is_an_error() -> None:
    X, Y = hard_pair(50, 5, 4)
    with pytest.raises(ValueError, match=r"reference has shapes \(4,\) and \(4,\), the data needs \(5,\) and \(4,\)"):
        gm.feature_moments(X, Y, reference=(np.zeros(4), np.zeros(4)))


@pytest.mark.parametrize(("n", "estimator", "needed"), [(1, "biased", 2), (3, "unbiased", 4)])
def test_too_few_rows_are_an_error(n: int, estimator: Any, needed: int) -> None:
    X, Y = hard_pair(50, 5, 4)
    with pytest.raises(ValueError, match=f"needs at least {needed} rows but got {n}"):
        gm.feature_moments(X[:n], Y[:n]).cka(estimator)


# ---- Gram moments add ------------------------------------------------------------------------------------------------


def shards(size: int = 3, kernel: Any = "rbf", seed: int = 0) -> list[gm.GramMoments]:
    X, Y = hard_pair(500, 5, 4, seed=seed)
    return [gm.gram_moments(X, Y, kernel=kernel, shard=(rank, size)) for rank in range(size)]


def test_partial_moments_know_what_they_hold() -> None:
    first, second, third = shards()
    assert not first.complete
    assert (first + second + third).complete
    assert (third + first).tiles == first.tiles + third.tiles
    assert (first + second).tiles == ((0, second.tiles[0][1]),)
    assert "tiles" in repr(first)
    assert "tiles" not in repr(first + second + third)


def test_measures_refuse_partial_moments() -> None:
    with pytest.raises(ValueError, match="only part of the tiles; add the other shards first"):
        shards()[0].statistics()


def test_overlapping_shards_do_not_add() -> None:
    first, second, _ = shards()
    with pytest.raises(ValueError, match=r"both moments hold tiles \d+ to \d+; add shards that do not overlap"):
        _ = first + second + first


def test_one_tile_does_not_add_to_itself() -> None:
    whole = gm.gram_moments(np.eye(5))
    assert whole.all_tiles == 1
    with pytest.raises(ValueError, match="both moments hold tiles 0 to 0"):
        _ = whole + whole


@pytest.mark.parametrize(
    "other", [lambda: shards(kernel="laplacian")[1], lambda: shards(kernel=gm.RBF(1.0))[1], lambda: shards(seed=1)[1]]
)
def test_moments_of_other_data_or_kernels_do_not_add(other: Callable[[], gm.GramMoments]) -> None:
    with pytest.raises(ValueError, match="different rows, kernels, shifts, devices or precisions and cannot"):
        _ = shards()[0] + other()


@pytest.mark.parametrize("other", [1, None, "moments"])
def test_moments_add_to_their_own_kind_only(other: object) -> None:
    X, Y = hard_pair(50, 5, 4)
    for found in (gm.gram_moments(X, Y), gm.feature_moments(X, Y)):
        with pytest.raises(TypeError, match="unsupported operand"):
            _ = found + other  # type: ignore[operator]
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = gm.gram_moments(X, Y) + gm.feature_moments(X, Y)  # type: ignore[operator]


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_shard_out_of_range_is_an_error(shard: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="shard must be"):
        gm.gram_moments(np.eye(5), shard=shard)


@pytest.mark.parametrize("name", CASES)
def test_gram_moments_are_the_sums_they_say(name: str) -> None:
    X, Y = hard_pair(250, 5, 40)
    K, L = (CASES[name].gram(Z.astype(np.longdouble)) for Z in (X, Y))
    g = gm.gram_moments(X, Y, kernel=CASES[name].kernel)
    shifted = [M - s[:, None] - s[None, :] for M, s in zip((K, L), g.shift, strict=True)]
    size = [float(np.abs(M).max()) for M in shifted]
    for p in (0, 1):
        rounding = 1e-12 * float(np.abs((K, L)[p]).max())
        np.testing.assert_allclose(g.diagonal[p], np.diag(shifted[p]).astype(float), atol=rounding)
        np.testing.assert_allclose(
            g.row_sums[p], oracle.hollow(shifted[p]).sum(1).astype(float), atol=250 * (rounding + 1e-13 * size[p])
        )
        for q in (0, 1):
            full, off = oracle.inner((K, L)[p], (K, L)[q]), oracle.inner(*map(oracle.hollow, ((K, L)[p], (K, L)[q])))
            own = np.sqrt(oracle.inner((K, L)[p], (K, L)[p]) * oracle.inner((K, L)[q], (K, L)[q]))
            assert abs(g.inner_full[p, q] - float(full)) <= 1e-12 * own
            assert abs(g.inner[p, q] - float(off)) <= 1e-12 * own


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_gram_moments_come_back_from_a_file_to_the_bit(name: str, tmp_path: Any) -> None:
    X, Y = (Z.astype(np.float32) for Z in hard_pair(500, 5, 4))
    found = [gm.gram_moments(X, Y, kernel=CASES[name].kernel, shard=(rank, 2)) for rank in (0, 1)]
    for rank in (0, 1):
        found[rank].save(tmp_path / f"{rank}.npz")

    loaded = [gm.GramMoments.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]

    for rank in (0, 1):
        assert_same_fields(loaded[rank], found[rank], [f for f in GRAM_FIELDS if f != "kernels"])
        assert loaded[rank].kernels == found[rank].kernels
    assert_same_fields(loaded[0] + loaded[1], found[1] + found[0], [f for f in GRAM_FIELDS if f != "kernels"])


def test_bandwidth_that_is_not_a_number_survives_a_file(tmp_path: Any) -> None:
    found = gm.gram_moments(np.ones((10, 2)), kernel="rbf")
    found.save(tmp_path / "m.npz")
    (kernel,) = gm.GramMoments.load(tmp_path / "m.npz").kernels
    assert isinstance(kernel, gm.RBF)
    assert math.isnan(kernel.bandwidth or 0.0)


def test_feature_moments_come_back_from_a_file_to_the_bit(tmp_path: Any) -> None:
    X, Y = hard_pair(500, 5, 4)
    found = gm.feature_moments(X, Y)
    found.save(tmp_path / "m")
    assert_same_fields(gm.FeatureMoments.load(tmp_path / "m"), found, FEATURE_FIELDS)


def test_saving_leaves_one_file_under_the_name_given(tmp_path: Any) -> None:
    X, Y = hard_pair(50, 5, 4)
    gm.feature_moments(X, Y).save(str(tmp_path / "features"))
    gm.gram_moments(X, Y).save(tmp_path / "gram.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features", "gram.bin"]


def test_a_save_that_fails_keeps_the_file_before_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = hard_pair(50, 5, 4)
    path = tmp_path / "m.npz"
    gm.gram_moments(X, Y).save(path)
    before = path.read_bytes()

    def broken(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        gm.gram_moments(Y, X).save(path)
    assert path.read_bytes() == before


def test_a_file_of_the_other_kind_is_an_error(tmp_path: Any) -> None:
    X, Y = hard_pair(50, 5, 4)
    gm.gram_moments(X, Y).save(tmp_path / "gram")
    gm.feature_moments(X, Y).save(tmp_path / "features")
    with pytest.raises(ValueError, match="features does not hold GramMoments"):
        gm.GramMoments.load(tmp_path / "features")
    with pytest.raises(ValueError, match="gram does not hold FeatureMoments"):
        gm.FeatureMoments.load(tmp_path / "gram")


# ---- two routes to one number ----------------------------------------------------------------------------------------


def both_routes(monkeypatch: pytest.MonkeyPatch, compute: Callable[[], Any]) -> tuple[Any, Any]:
    """(from features, from Gram tiles)"""
    found = []
    for by_features in (True, False):
        monkeypatch.setattr(routes_module, "feature_route", lambda *_, answer=by_features: answer)
        found.append(compute())
    return found[0], found[1]


def agreement(dtype: str) -> float:
    return 1e-10 if dtype == "float64" else 1e-6


routes = pytest.mark.parametrize("dtype", ["float64", "float32"])
kernels = pytest.mark.parametrize("kernel", ["linear", "cosine"])


def dependent(dtype: str) -> tuple[Any, Any]:
    X, Y = hard_pair(600, 12, 20, mean=2.0, dtype=dtype)
    return X.astype(dtype), Y.astype(dtype)


@pytest.mark.parametrize(
    ("n", "widths", "dtype", "kernel", "memory", "by_features"),
    [
        (101, (40, 60), "float64", "linear", None, True),
        (100, (40, 60), "float64", "linear", None, False),
        (101, (40, 60), "float64", "cosine", None, True),
        (101, (40, 60), "float64", "rbf", None, False),
        (301, (40, 60), "float32", "linear", None, True),
        (300, (40, 60), "float32", "linear", None, False),
        (7000, (3000, 3000), "float64", "linear", None, False),  # 288 MB of moments
        (7000, (3000, 3000), "float64", "linear", 300 << 20, True),
    ],
)
def test_features_are_chosen_where_they_cost_less_and_fit(
    n: int, widths: tuple[int, ...], dtype: str, kernel: str, memory: int | None, by_features: bool
) -> None:
    xs = [represent(gm.RBF(1.0) if kernel == "rbf" else kernel, as_matrix(np.ones((n, d), dtype), "X")) for d in widths]
    assert feature_route([x.parts[0] for x in xs], [x.kernel for x in xs], memory) is by_features


@routes
@kernels
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("measure", MEASURES)
def test_both_routes_give_the_measure(
    measure: str, estimator: Any, kernel: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = dependent(dtype)
    f = getattr(gm, measure)
    scale = math.sqrt(f(X, X, kernel, estimator=estimator) * f(Y, Y, kernel, estimator=estimator))
    one, other = both_routes(monkeypatch, lambda: f(X, Y, kernel, estimator=estimator))
    assert one == pytest.approx(other, abs=agreement(dtype) * scale)


@routes
@kernels
def test_both_routes_give_the_same_statistics(kernel: str, dtype: str) -> None:
    xs = [represent(kernel, as_matrix(Z, "X")) for Z in dependent(dtype)]
    one = feature_statistics([x.parts[0] for x in xs], [x.kernel for x in xs])
    other = gram.stable_moments(xs).statistics()

    def in_kernel_units(s: estimators.Statistics, name: str) -> Any:
        values = getattr(s, name)
        return np.ldexp(values, s.exponent if values.ndim == 1 else s.exponent[:, None] + s.exponent[None, :])

    for name in ("hsic_biased", "hsic_unbiased", "alignment_biased", "alignment_unbiased", "trace", "diagonal_inner"):
        got, want = in_kernel_units(one, name), in_kernel_units(other, name)
        np.testing.assert_allclose(got, want, atol=agreement(dtype) * np.abs(want).max(), err_msg=name)


@routes
@kernels
@pytest.mark.parametrize("measure", MEASURES)
def test_both_routes_give_the_standard_error_and_p_value(
    measure: Any, kernel: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = dependent(dtype)
    one, other = both_routes(monkeypatch, lambda: gm.alignment(X, Y, kernel, measure=measure))
    assert one.se == pytest.approx(other.se, rel=10 * agreement(dtype))
    assert one.ci == pytest.approx(other.ci, rel=10 * agreement(dtype))
    assert one.pvalue == pytest.approx(other.pvalue, rel=1e3 * agreement(dtype), abs=1e-300)


@routes
@kernels
@pytest.mark.parametrize("method", ["gamma", "permutation", "pearson3", "t", "chi2", "gretton"])
def test_both_routes_give_the_test(method: Any, kernel: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = dependent(dtype)
    X, Y = X[:200], np.random.default_rng(0).normal(size=(200, 5)).astype(dtype)
    one, other = both_routes(
        monkeypatch, lambda: gm.independence_test(X, Y, kernel, method=method, permutations=100, seed=3)
    )
    assert one.statistic == pytest.approx(other.statistic, rel=100 * agreement(dtype))
    assert one.pvalue == pytest.approx(other.pvalue, rel=100 * agreement(dtype))


@routes
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "unit_diagonal", "hs_norm"])
def test_both_routes_give_distance_alignment(
    normalize: Any, centered: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = dependent(dtype)
    compute = lambda: gm.distance_alignment(X, Y, normalize=normalize, centered=centered)  # noqa: E731
    one, other = both_routes(monkeypatch, compute)
    assert one == pytest.approx(other, rel=agreement(dtype))


@routes
@kernels
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("measure", MEASURES)
def test_both_routes_give_the_matrix(
    measure: Any, estimator: Any, kernel: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = dependent(dtype)
    layers = {"x": X, "y": Y, "half": X[:, :5], "square": Y**2}
    one, other = both_routes(
        monkeypatch, lambda: gm.cka_matrix(layers, kernel=kernel, measure=measure, estimator=estimator).values
    )
    own = np.sqrt(np.diag(other))
    np.testing.assert_allclose(one / own / own[:, None], other / own / own[:, None], atol=agreement(dtype))


@routes
def test_both_routes_give_the_comparison(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = dependent(dtype)
    one, other = both_routes(monkeypatch, lambda: gm.compare(X, Y, kernel=("linear", "cosine")))
    for a, b in zip(one.rows, other.rows, strict=True):
        assert (a.measure, a.estimator, a.kernel) == (b.measure, b.estimator, b.kernel)
        assert a.value == pytest.approx(b.value, rel=10 * agreement(dtype))
        if a.null is not None:
            assert a.null == pytest.approx(b.null, abs=agreement(dtype))
        if a.floor is not None:
            assert a.floor == pytest.approx(b.floor, rel=10 * agreement(dtype))


def test_blocks_of_rows_change_the_last_digits_only(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = dependent("float64")
    whole = gm.cka(X, Y), gm.alignment(X, Y).se, gm.feature_moments(X, Y).cka()
    for module in (centred, moments):
        monkeypatch.setattr(module, "blocks", lambda n, widths: [(i, min(n, i + 7)) for i in range(0, n, 7)])
    parts = gm.cka(X, Y), gm.alignment(X, Y).se, gm.feature_moments(X, Y).cka()
    assert parts == pytest.approx(whole, rel=1e-12)


def test_pairs_of_wide_layers_give_what_all_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = dependent("float64")
    layers = [X, Y, X[:, :5]]
    joint = gm.cka_matrix(layers).values
    monkeypatch.setattr(centred, "_BUDGET", 1)
    monkeypatch.setattr(routes_module, "feature_route", lambda *_: True)
    np.testing.assert_allclose(gm.cka_matrix(layers).values, joint, atol=1e-13)


@pytest.mark.parametrize("size", [1e-150, 1e-85, 1e76, 1e150])
@pytest.mark.filterwarnings("error")
def test_fourth_powers_beyond_float64_are_said_where_they_are_needed(size: float) -> None:
    X, Y = (np.random.default_rng(seed).standard_normal((100, 3)) for seed in (0, 1))
    moments = gm.feature_moments(Y[:50], size * X[:50]).update(Y[50:], size * X[50:])
    for measure in (moments.cka, moments.hsic, moments.kernel_alignment):
        with pytest.raises(ValueError, match=r"^rows of Y are of size .*: their fourth powers, .* are beyond float64"):
            measure()
    assert gm.cca(moments) == pytest.approx(gm.cca(Y, X), abs=1e-9)


@pytest.mark.parametrize("size", [1e-310, 1e-170, 1e160, 1e300])
@pytest.mark.filterwarnings("error")
def test_squares_beyond_float64_are_refused_with_the_size_of_the_rows(size: float) -> None:
    X, Y = (np.random.default_rng(seed).standard_normal((100, 3)) for seed in (0, 1))
    for name, data in (("X", (size * X, Y)), ("Y", (X, size * Y))):
        with pytest.raises(ValueError, match=rf"^rows of {name} are of size \de.?\d+: their squares, .* scale {name}$"):
            gm.feature_moments(*data)


@pytest.mark.filterwarnings("error")
def test_shards_whose_squares_add_up_to_infinity_are_refused() -> None:
    X, Y = (np.random.default_rng(seed).standard_normal((100, 3)) for seed in (0, 1))
    whole = gm.feature_moments(1e150 * X, Y)
    while np.trace(whole.xx) < np.finfo(np.float64).max / 4:
        whole = whole + whole
    whole = whole + whole
    with pytest.raises(ValueError, match=r"^squares of rows of X, which moments hold, add up to more than float64 has"):
        whole + whole + whole + whole


def test_moments_of_constant_rows_are_made_whatever_their_size() -> None:
    for size in (0.0, 1e-310, 1e-170, 0.1, 1e100):
        assert gm.feature_moments(np.full((50, 2), size), np.arange(50.0)[:, None]).n == 50


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("measure", ["cka", "hsic"])
def test_measures_of_moments_far_from_their_reference_are_nan_with_a_reason(measure: str, estimator: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    Y = X + rng.standard_normal((100, 3))
    zero = (np.zeros(3), np.zeros(3))
    near, far = (gm.feature_moments(X + mean, Y + mean, reference=zero) for mean in (10.0, 1e8))
    assert getattr(near, measure)(estimator) == pytest.approx(getattr(gm, measure)(X, Y, estimator=estimator), rel=1e-9)
    with pytest.warns(gm.UndefinedWarning, match=f"^{measure} is nan: sums of squares hold half of the digits"):
        assert math.isnan(getattr(far, measure)(estimator))


@pytest.mark.parametrize("mean", [1e7, 1e9])
def test_features_that_moments_lost_far_from_their_reference_are_not_taken_for_constant(mean):
    rng = np.random.default_rng(0)
    F1 = rng.standard_normal((300, 4)) + mean
    F2 = F1 @ rng.standard_normal((4, 3)) - F1.mean() + 0.1 * rng.standard_normal((300, 3))
    m = gm.feature_moments(F1, F2 - F2.mean(axis=0), reference=(np.zeros(4), np.zeros(3)))
    with pytest.warns(gm.UndefinedWarning):
        assert math.isnan(gm.linear_regression_r2(m))
    found = gm.fit_stitch(m, kind="affine")
    assert math.isnan(found.misalignment)
    assert "digits" in found.reason


def test_well_conditioned_moments_are_not_decomposed_at_length(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 400, 6))
    m = gm.feature_moments(x, y)
    wanted = gm.cca(x, y)
    monkeypatch.setattr(np.linalg, "eigh", None)  # of the moments of 768 and 512 features it took most of the time

    assert gm.cca(m) == pytest.approx(wanted, rel=1e-12)
