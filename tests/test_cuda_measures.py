"""Every measure of arrays on a CUDA device is that of the same arrays on the CPU.

On an emulated GPU, and on a real one where there is one. What a device's tiles look like inside is another file's
matter; here it is that every way into the package gets there and comes back with the right numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from accuracy import hard_pair

KERNELS = {
    "linear": gm.Linear(),
    "rbf": gm.RBF(4.0),
    "laplacian": gm.Laplacian(12.0),
    "distance": gm.Distance(),
}
ESTIMATORS = ("biased", "unbiased")
CLOSE = {"float64": 1e-11, "float32": 1e-5}  # of the scale: both engines are that far from the truth at most
METHODS = ("gamma", "permutation", "pearson3", "t", "chi2", "gretton")


def pair(n: int = 70, dtype: str = "float32", dx: int = 11, dy: int = 6) -> tuple[np.ndarray, np.ndarray]:
    X, Y = hard_pair(n, dx, dy, dtype="bfloat16")  # values that every dtype holds
    return X.astype(dtype), Y.astype(dtype)


def assert_close(got: Any, want: Any, scale: Any, dtype: str, factor: float = 1.0) -> None:
    error, allowed = np.abs(np.subtract(got, want)), factor * CLOSE[dtype] * np.asarray(scale)
    assert np.all(error <= allowed), f"got {got}, want {want}: off by {error / scale} of the scale"


# ---- measures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [40, 129, 300])
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", KERNELS)
def test_hsic_cka_and_alignment_are_those_of_the_cpu(on_device: Any, name: str, dtype: str, n: int) -> None:
    X, Y = pair(n, dtype)
    x, y = on_device(X), on_device(Y)
    for measure in (gm.hsic, gm.cka, gm.kernel_alignment):
        for estimator in ESTIMATORS:
            want = measure(X, Y, KERNELS[name], estimator=estimator)
            own = [gm.hsic(Z, Z, KERNELS[name], estimator=estimator) for Z in (X, Y)]
            scale = np.sqrt(own[0] * own[1]) if measure is gm.hsic else 1.0
            assert_close(measure(x, y, KERNELS[name], estimator=estimator), want, scale, dtype)


@pytest.mark.parametrize("name", [name for name in gm.kernels.KERNELS if name not in KERNELS])
def test_every_other_kernel_gets_there(on_device: Any, name: str) -> None:
    for dtype in CLOSE:
        X, Y = pair(dtype=dtype)
        want = gm.cka(X, Y, name)
        assert_close(gm.cka(on_device(X), on_device(Y), name), want, 1.0, dtype)


def test_two_kernels_get_there(on_device: Any) -> None:
    X, Y = pair()
    want = gm.cka(X, Y, "rbf", kernel_y="linear")
    assert_close(gm.cka(on_device(X), on_device(Y), "rbf", kernel_y="linear"), want, 1.0, "float32")


@pytest.mark.parametrize(("dx", "dtype"), [("float16", "bfloat16"), ("bfloat16", "float32"), ("float64", "float16")])
def test_arrays_of_different_dtypes_get_there(on_device: Any, dx: str, dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = {"bfloat16": ml_dtypes.bfloat16}
    X, Y = pair()
    X, Y = X.astype(kind.get(dx, dx)), Y.astype(kind.get(dtype, dtype))
    assert_close(gm.cka(on_device(X), on_device(Y), "rbf"), gm.cka(X, Y, "rbf"), 1.0, "float32")


def test_strides_get_there(on_device: Any) -> None:
    X, Y = pair(80)
    X, Y = X[::-2, 1::3], np.asfortranarray(Y)[::2]
    assert_close(gm.cka(on_device(X), on_device(Y), "rbf"), gm.cka(X, Y, "rbf"), 1.0, "float32")


METRICS = ("cosine", "inner_product", "euclidean", "manhattan")


@pytest.mark.parametrize("dtype", [*CLOSE, "float16"])
@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_are_those_of_the_cpu(on_device: Any, metric: Any, dtype: str) -> None:
    X, Y = pair(150, dtype)
    np.testing.assert_array_equal(gm.neighbors(on_device(X), 12, metric=metric), gm.neighbors(X, 12, metric=metric))
    want = gm.mutual_knn(X, Y, 5, metric=metric)
    assert gm.mutual_knn(on_device(X), on_device(Y), 5, metric=metric) == want


@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", CLOSE)
def test_cknna_is_that_of_the_cpu(on_device: Any, dtype: str, name: str, variant: Any) -> None:
    X, Y = pair(150, dtype)
    want = gm.cknna(X, Y, 20, kernel=KERNELS[name], variant=variant)
    assert_close(
        gm.cknna(on_device(X), on_device(Y), 20, kernel=KERNELS[name], variant=variant), want, 1.0, dtype, factor=10
    )


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "unit_diagonal", "hs_norm"])
@pytest.mark.parametrize("dtype", CLOSE)
def test_distance_alignment_is_that_of_the_cpu(on_device: Any, dtype: str, normalize: str, centered: bool) -> None:
    X, Y = pair(dtype=dtype)
    options: Any = {"normalize": normalize, "centered": centered}
    want = gm.distance_alignment(X, Y, **options)
    scale = 8.0
    if normalize == "none":
        scale = gm.distance_alignment(X, 0 * Y, **options) + gm.distance_alignment(0 * X, Y, **options)
    assert_close(gm.distance_alignment(on_device(X), on_device(Y), **options), want, scale, dtype)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", CLOSE)
def test_mmd_is_that_of_the_cpu(on_device: Any, dtype: str, name: str, estimator: Any) -> None:
    X, Z = pair(90, dtype)[0], pair(51, dtype)[0][:, ::-1]
    want = gm.mmd2(X, Z, KERNELS[name], estimator=estimator)
    params = {"bandwidth": KERNELS[name].bandwidth} if hasattr(KERNELS[name], "bandwidth") else {}
    scale = np.abs(oracle.gram(name, np.vstack([X, Z]).astype(np.float64), None, **params)).mean()
    assert_close(gm.mmd2(on_device(X), on_device(Z), KERNELS[name], estimator=estimator), want, scale, dtype)


@pytest.mark.parametrize(("dx", "dz"), [("float32", "float64"), ("bfloat16", "float16")])
def test_mmd_between_samples_of_two_dtypes_is_that_of_the_cpu(on_device: Any, dx: str, dz: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = {"bfloat16": ml_dtypes.bfloat16}
    X, Z = pair(50)[0].astype(kind.get(dx, dx)), pair(40)[0].astype(kind.get(dz, dz))
    assert_close(gm.mmd2(on_device(X), on_device(Z)), gm.mmd2(X, Z), 1.0, "float32")


@pytest.mark.parametrize("measure", ["cka", "hsic", "kernel_alignment"])
@pytest.mark.parametrize("name", ["linear", "rbf"])
def test_matrix_of_layers_is_that_of_the_cpu(on_device: Any, name: str, measure: Any) -> None:
    X, Y = pair()
    left, right = {"a": X, "b": Y, "c": X[:, ::2]}, {"d": Y[:, 1:], "e": X}

    for columns in (None, right):
        want = gm.cka_matrix(left, columns, name, measure=measure)
        there = None if columns is None else {k: on_device(v) for k, v in columns.items()}
        got = gm.cka_matrix({k: on_device(v) for k, v in left.items()}, there, name, measure=measure)
        assert (got.rows, got.columns) == (want.rows, want.columns)
        assert_close(got.values, want.values, max(1.0, float(np.abs(want.values).max())), "float32")


# ---- with uncertainty -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["cka", "hsic", "kernel_alignment"])
@pytest.mark.parametrize("name", ["linear", "rbf", "distance"])
@pytest.mark.parametrize("dtype", CLOSE)
def test_standard_errors_are_those_of_the_cpu(on_device: Any, dtype: str, name: str, measure: Any) -> None:
    X, Y = pair(100, dtype)
    want = gm.alignment(X, Y, KERNELS[name], measure=measure)
    got = gm.alignment(on_device(X), on_device(Y), KERNELS[name], measure=measure)
    scale = 1.0 if measure != "hsic" else np.sqrt(gm.hsic(X, X, KERNELS[name]) * gm.hsic(Y, Y, KERNELS[name]))
    assert (got.n, got.kernel, got.estimator, got.reason) == (want.n, want.kernel, want.estimator, None)
    assert_close([got.value, got.se, *got.ci], [want.value, want.se, *want.ci], scale, dtype, 10)
    assert got.pvalue == pytest.approx(want.pvalue, rel=1000 * CLOSE[dtype], abs=CLOSE[dtype])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["linear", "rbf"])
@pytest.mark.parametrize("dtype", CLOSE)
def test_tests_of_independence_are_those_of_the_cpu(on_device: Any, dtype: str, name: str, method: Any) -> None:
    X, Y = pair(dtype=dtype)
    Y = np.random.default_rng(1).permutation(Y)
    Y[: len(Y) // 4] = pair(dtype=dtype)[1][: len(Y) // 4]  # some dependence, so that p is neither 0 nor 1
    options: Any = {"method": method, "permutations": 40}
    want = gm.independence_test(X, Y, KERNELS[name], **options)
    got = gm.independence_test(on_device(X), on_device(Y), KERNELS[name], **options)
    assert replace(got, statistic=0, pvalue=0) == replace(want, statistic=0, pvalue=0)
    assert got.statistic == pytest.approx(want.statistic, rel=100 * CLOSE[dtype])
    assert got.pvalue == pytest.approx(want.pvalue, rel=1000 * CLOSE[dtype], abs=CLOSE[dtype])


def test_skewness_of_many_rows_is_that_of_the_cpu(on_device: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("gramian.inference.independence._EXACT_TRACE", 10)
    X, Y = pair()
    want = gm.independence_test(X, Y, "rbf", method="pearson3")
    got = gm.independence_test(on_device(X), on_device(Y), "rbf", method="pearson3")
    assert got.pvalue == pytest.approx(want.pvalue, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("dtype", CLOSE)
def test_comparison_is_that_of_the_cpu(on_device: Any, dtype: str) -> None:
    X, Y = pair(dtype=dtype)
    want, got = gm.compare(X, Y, shuffles=2), gm.compare(on_device(X), on_device(Y), shuffles=2)
    assert (got.n, got.dx, got.dy, got.dtype) == (want.n, want.dx, want.dy, want.dtype)
    for a, b in zip(got.rows, want.rows, strict=True):
        assert (a.measure, a.estimator, a.kernel, a.reason) == (b.measure, b.estimator, b.kernel, b.reason)
        names = [name for name in ("value", "se", "null", "floor") if getattr(b, name) is not None]
        numbers = [[float(getattr(row, name)) for name in names] for row in (a, b)]
        assert_close(*numbers, max(1.0, *np.abs(numbers[1])), dtype, 10)


# ---- statistics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("max_pairs", [500, 1_000_000])
@pytest.mark.parametrize("dtype", CLOSE)
def test_median_bandwidth_is_that_of_the_cpu(on_device: Any, dtype: str, max_pairs: int, norm: Any) -> None:
    X, _ = pair(dtype=dtype)
    want = gm.median_bandwidth(X, norm=norm, max_pairs=max_pairs)
    assert gm.median_bandwidth(on_device(X), norm=norm, max_pairs=max_pairs) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", CLOSE)
def test_moments_are_those_of_the_cpu(on_device: Any, dtype: str, name: str) -> None:
    X, Y = pair(200, dtype)
    want, got = (
        gm.gram_moments(X, Y, kernel=KERNELS[name]),
        gm.gram_moments(*map(on_device, (X, Y)), kernel=KERNELS[name]),
    )
    assert (got.n, got.kernels, got.complete) == (want.n, want.kernels, True)
    norms = np.sqrt(np.diag(want.inner_full))
    assert_close(got.inner, want.inner, np.multiply.outer(norms, norms), dtype)
    assert_close(got.inner_full, want.inner_full, np.multiply.outer(norms, norms), dtype)
    full = [g.row_sums + g.diagonal + g.n * g.shift + g.shift.sum(axis=1, keepdims=True) for g in (got, want)]
    assert_close(full[0], full[1], norms[:, None] * np.sqrt(want.n), dtype)


def test_shards_add_to_the_same_bits(on_device: Any) -> None:
    x, y = map(on_device, pair(300))
    whole = gm.gram_moments(x, y, kernel="rbf")
    parts = [gm.gram_moments(x, y, kernel="rbf", shard=(rank, 3)) for rank in range(3)]
    joined = parts[2] + parts[0] + parts[1]
    assert np.array_equal(joined.pair_words, whole.pair_words)
    assert np.array_equal(joined.row_words, whole.row_words)


def test_shards_of_two_engines_do_not_add(on_device: Any) -> None:
    X, Y = pair(300, "float64")
    here, there = gm.gram_moments(X, Y, shard=(0, 2)), gm.gram_moments(on_device(X), on_device(Y), shard=(1, 2))
    with pytest.raises(ValueError, match="different rows, kernels, shifts, devices or precisions"):
        _ = here + there


def test_shards_of_two_precisions_do_not_add(on_device: Any) -> None:
    x, y = map(on_device, pair(300))
    first, second = (gm.gram_moments(x, y, shard=(r, 2), precision=p) for r, p in enumerate(("highest", "medium")))
    with pytest.raises(ValueError, match="different rows, kernels, shifts, devices or precisions"):
        _ = first + second


def test_feature_moments_copy_to_the_host(on_device: Any) -> None:
    X, Y = pair(200)
    assert gm.feature_moments(on_device(X), on_device(Y)).cka() == gm.feature_moments(X, Y).cka()


def test_measures_of_feature_moments_copy_blocks_to_the_host(on_device: Any) -> None:
    X, Y = pair(200)
    for f in (gm.cca, gm.procrustes, gm.linear_regression_r2):
        assert f(on_device(X), on_device(Y)) == f(X, Y)
    found = gm.relative_representation(on_device(X), on_device(X[:3]), space=["cosine", "l1"])
    np.testing.assert_array_equal(found, gm.relative_representation(X, np.arange(3), space=["cosine", "l1"]))


# ---- precision ------------------------------------------------------------------------------------------------------

ROUNDING = {"highest": 2.0**-22, "high": 2.0**-10, "medium": 2.0**-7}


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("name", ["linear", "rbf"])
def test_precision_is_what_its_name_says(on_device: Any, name: str, precision: Any) -> None:
    X, Y = pair(200)
    x, y = on_device(X), on_device(Y)
    want, eps = gm.cka(X, Y, KERNELS[name]), gm.gram_moments(x, y, kernel=KERNELS[name], precision=precision).eps
    assert 0 < eps <= ROUNDING[precision]
    assert abs(gm.cka(x, y, KERNELS[name], precision=precision) - want) <= 8 * eps


def test_float64_is_float64_at_every_precision(on_device: Any) -> None:
    X, Y = map(on_device, pair(100, "float64"))
    values = {p: gm.cka(X, Y, "rbf", precision=p) for p in ("highest", "high", "medium")}
    assert len(set(values.values())) == 1
    assert gm.gram_moments(X, Y, precision="medium").eps == 2.0**-52


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_constant_features_are_undefined_at_every_precision(on_device: Any, precision: Any) -> None:
    X = np.tile(np.float32([[0.3, 1.7, -2.9]]), (60, 1))
    found = gm.alignment(on_device(X), on_device(pair(60)[1]), "rbf", precision=precision)
    assert np.isnan(found.value)
    assert found.reason


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y, **options: gm.distance_alignment(x, y, centered=True, **options),
        lambda x, y, **options: gm.mmd2(x, y[:50] if isinstance(y, np.ndarray) else y, gm.RBF(4.0), **options),
        lambda x, y, **options: gm.cka_matrix([x, y], kernel="rbf", **options).values[0, 1],
        lambda x, y, **options: gm.alignment(x, y, "rbf", **options).se,
        lambda x, y, **options: gm.independence_test(x, y, method="pearson3", **options).pvalue,
        lambda x, y, **options: gm.independence_test(x, y, method="gretton", **options).pvalue,
        lambda x, y, **options: gm.compare(x, y, "rbf", shuffles=1, **options).rows[0].value,
    ],
)
def test_every_measure_takes_a_precision(on_device: Any, call: Any) -> None:
    X, _ = pair()
    Y = X[:, ::-1] ** 2 / 4
    want = call(X, Y)
    got = call(on_device(X), on_device(Y), precision="medium")
    assert got == pytest.approx(want, rel=0.2, abs=0.05)


# ---- manners --------------------------------------------------------------------------------------------------------


def test_progress_counts_up_to_the_whole(on_device: Any) -> None:
    X, Y = pair(300)
    seen: list[tuple[int, int]] = []
    gm.cka(on_device(X), on_device(Y), "rbf", progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert all(0 <= done <= total for done, total in seen)


def test_exception_of_a_progress_callback_comes_out_and_leaves_the_device_usable(on_device: Any) -> None:
    x, y = map(on_device, pair(300))

    def refuse(done: int, total: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        gm.cka(x, y, "rbf", progress=refuse)
    assert gm.cka(x, x, "rbf") == pytest.approx(1.0, rel=1e-12)


def test_memory_budget_changes_no_bit(on_device: Any) -> None:
    x, y = map(on_device, pair(300))
    assert gm.cka(x, y, "rbf", memory=1 << 20) == gm.cka(x, y, "rbf")


def test_same_call_gives_the_same_bits(on_device: Any) -> None:
    x, y = map(on_device, pair(300))
    assert gm.hsic(x, y, "rbf") == gm.hsic(x, y, "rbf")
