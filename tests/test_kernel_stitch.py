"""Stitching by kernel ridge regression: against n×n matrices, known answers, and its own certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import CASES, as_input, hard_pair, rounded
from gramian.rows.arrays import as_matrix
from gramian.stitching import kernel_ridge, kernel_values
from gramian.stitching.kernel_values import KernelValues
from gramian.sweeps.centred import centre

Array = np.ndarray[Any, Any]
WELL = [name for name in CASES if name != "rbf_narrow"]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def fit(X: Any, Y: Any, kernel: Any = "rbf", ridge: Any = 1e-3, **options: Any) -> Any:
    return gm.fit_stitch(X, Y, kind="kernel_ridge", kernel=kernel, ridge=ridge, **options)


def assert_close(got: Any, want: Any, part: float) -> None:
    """Within a part of the largest value."""
    np.testing.assert_allclose(got, want, rtol=0, atol=part * float(np.abs(want).max()))


# ---- kernel values between rows of two arrays ----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
@pytest.mark.parametrize("name", WELL)
def test_values_between_rows_are_those_of_the_formula(name: str, scale: float) -> None:
    X, _ = hard_pair(150, 7, 2)
    Z = np.vstack([X[:40], X[:3] * (1 + 2.0**-40), normal(0, 9, 7), np.zeros((1, 7))])
    case = CASES[name]
    kernel = case.kernel
    if "bandwidth" in case.params:
        kernel = type(kernel)(**(case.params | {"bandwidth": case.params["bandwidth"] * scale}))
    elif name == "polynomial":
        kernel = gm.Polynomial(scale=1 / 7 / scale / scale)
    elif name == "polynomial_cubic":
        kernel = gm.Polynomial(degree=3, scale=0.004 / scale / scale, offset=0.5)
    values = KernelValues.of(kernel, centre(as_matrix(X * scale, "X"), gm.Linear()))
    got = values.between(values.prepared(X * scale), values.prepared(Z * scale))
    power = {"linear": 2, "arc_cosine_1": 2, "distance": 1}.get(name, 0)
    want = case.gram(X, Z)
    assert_close(
        np.ldexp(got, values.exponent) if scale == 1 else got * (2.0**values.exponent / scale**power), want, 1e-13
    )


def test_distances_of_near_rows_keep_their_digits() -> None:
    X = 1e3 + normal(0, 60, 3)
    Z = X * (1 + 1e-9)
    kernel = gm.Exponential(1e-6)
    values = KernelValues.of(kernel, centre(as_matrix(X, "X"), gm.Linear()))
    got = np.diag(values.between(values.prepared(X), values.prepared(Z)))
    want = np.exp(-np.linalg.norm(X - Z, axis=1) / 1e-6)
    np.testing.assert_allclose(got, want, rtol=1e-6)  # X and Z are 1e3 with 13 decimals, and 1e-6 apart


# ---- the fit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WELL)
def test_all_numbers_are_those_of_the_matrices(name: str) -> None:
    X, Y = hard_pair(205, 6, 3)
    case = CASES[name]
    K = case.gram(X)
    ridge = 1e-4 * np.trace(K) / 205
    a, H = oracle.kernel_ridge(K, Y, ridge)
    e = Y - H @ Y
    value, df = (e**2).sum() / 205, np.trace(H)
    Z = np.vstack([normal(1, 30, 6), X[:5]])
    s = fit(X, Y, case.kernel, ridge, loo=True)
    assert (s.kind, s.n, s.d1, s.d2, s.matrix, s.reason) == ("kernel_ridge", 205, 6, 3, None, None)
    assert_close(s(X), H @ Y, 1e-9)
    assert_close(s(Z), case.gram(Z, X) @ a, 1e-9)
    assert_close(s.residual, e.T @ e / 205, 1e-8)
    assert s.misalignment == pytest.approx(value, rel=1e-8)
    assert s.misalignment_ratio == pytest.approx(value / (Y**2).sum() * 205, rel=1e-8)
    assert s.df == pytest.approx(df, rel=1e-9)
    assert s.function.df_se == 0
    assert s.unbiased == pytest.approx(value / (1 - df / 205), rel=1e-8)
    assert s.gcv == pytest.approx(value / (1 - df / 205) ** 2, rel=1e-8)
    assert s.loo == pytest.approx(((e / (1 - np.diag(H))[:, None]) ** 2).sum() / 205, rel=1e-6)
    assert s.function.norm == pytest.approx(np.sqrt(np.linalg.eigvalsh(a.T @ K @ a)[-1]), rel=1e-6)
    assert_close(s.function.coefficients, a, 1e-6)


def test_leave_one_out_is_what_refitting_gives() -> None:
    X, Y = normal(0, 60, 2), normal(1, 60, 2)
    K = oracle.gram("rbf", X, bandwidth=1.0)
    assert fit(X, Y, gm.RBF(1.0), 1e-3, loo=True).loo == pytest.approx(oracle.leave_one_out(K, Y, 1e-3), rel=1e-9)


def test_linear_kernel_is_the_ridge_regression_of_the_linear_kind() -> None:
    X, Y = hard_pair(600, 5, 4)
    want = gm.fit_stitch(X, Y, ridge=0.01, loo=True)
    for options in ({}, {"rank": 50, "loo": True}):
        s = fit(X, Y, "linear", 0.01, **options)
        assert_close(s(X), want(X), 1e-9)
        assert s.misalignment == pytest.approx(want.misalignment, rel=1e-9)
        assert s.function.norm == pytest.approx(np.linalg.norm(want.matrix, 2), rel=1e-6)
    assert s.df == pytest.approx(want.df, rel=1e-9)
    assert s.loo == pytest.approx(want.loo, rel=1e-9)


def test_nothing_linear_of_a_square_but_all_of_it_quadratic() -> None:
    """f2 = x² − 1 on points with the moments of a normal variable up to the fourth."""
    x = np.tile([0, 0, 0, 0, np.sqrt(3), -np.sqrt(3)], 40)[:, None]
    assert gm.misalignment(x, x**2 - 1) == pytest.approx(2.0, rel=1e-12)
    assert fit(x, x**2 - 1, "linear", 1e-6).misalignment == pytest.approx(2.0, rel=1e-9)
    assert fit(x, x**2 - 1, "polynomial", 1e-9).misalignment < 1e-12
    assert fit(x, x**2 - 1, "polynomial", 1e-9, rank=30).misalignment < 1e-12


@pytest.mark.parametrize("kernel", [gm.RBF(1.5), gm.RationalQuadratic(1.0, alpha=0.7), gm.Linear()])
@pytest.mark.parametrize("rank", [None, 40])
def test_lipschitz_constant_from_the_norm_is_never_exceeded(kernel: Any, rank: int | None) -> None:
    pytest.importorskip("torch")
    for seed in range(5):
        X, Y = normal(seed, 150, 3), normal(seed + 50, 150, 2)
        s = fit(X, Y, kernel, 10.0 ** -(seed + 1), rank=rank)
        certified = gm.lipschitz.rkhs(s.function.norm, kernel)
        module = s.to_torch()
        for step in (1e-3, 0.1, 1.0, 10.0):
            Z = normal(seed + 99, 150, 3)
            found = gm.lipschitz.effective(module, Z, Z + step * normal(seed, 150, 3))
            assert 0 < found <= certified * (1 + 1e-9)
        assert gm.lipschitz.local(module, X) <= certified * (1 + 1e-9)


def test_constant_of_a_linear_map_is_reached() -> None:
    s = fit(normal(0, 80, 3), normal(1, 80, 2), "linear", 0.1)
    direction = np.linalg.svd(s(np.eye(3)).T)[2][0]
    assert gm.lipschitz.rkhs(s.function.norm, gm.Linear()) == pytest.approx(
        np.linalg.norm(s(direction[None])), rel=1e-9
    )


# ---- conjugate gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "most"), [("rbf", 60), ("laplacian", 120), ("arc_cosine_0", 120)])
def test_gradients_converge_at_small_ridges(name: str, most: int) -> None:
    X, Y = normal(0, 900, 4), normal(1, 900, 2)
    case = CASES[name]
    s = fit(X, Y, case.kernel, 1e-7)
    _, H = oracle.kernel_ridge(case.gram(X), Y, 1e-7)
    assert 0 < s.function.iterations <= most
    assert s.function.left < 1e-7
    assert s.reason is None
    assert_close(s(X), H @ Y, 1e-6)
    assert s.function.df_se > 0
    assert abs(s.df - np.trace(H)) < 5 * s.function.df_se + 1e-6


def test_preconditioner_is_worth_its_landmarks(monkeypatch: Any) -> None:
    X, Y = normal(0, 600, 2), normal(1, 600, 1)
    with_it = fit(X, Y, gm.RBF(1.0), 1e-5).function.iterations
    monkeypatch.setattr(kernel_ridge, "_LANDMARKS", 2)
    assert fit(X, Y, gm.RBF(1.0), 1e-5).function.iterations > 4 * with_it


def test_columns_that_are_done_leave_and_zeros_never_start() -> None:
    X = normal(0, 300, 3)
    Y = np.column_stack([np.zeros(300), normal(1, 300), 1e-9 * normal(2, 300), np.sin(X[:, 0])])
    s = fit(X, Y, gm.RBF(1.0), 1e-4)
    _, H = oracle.kernel_ridge(oracle.gram("rbf", X, bandwidth=1.0), Y, 1e-4)
    for j in range(1, 4):
        assert_close(s(X)[:, j], (H @ Y)[:, j], 1e-9)
    assert not s(X)[:, 0].any()


def test_solution_that_does_not_converge_says_so(monkeypatch: Any) -> None:
    monkeypatch.setattr(kernel_ridge, "_ITERATIONS", 2)
    monkeypatch.setattr(kernel_ridge, "_LANDMARKS", 2)
    X, Y = normal(0, 300, 3), normal(1, 300, 1)
    s = fit(X, Y, gm.Laplacian(1.0), 1e-6)
    assert s.function.iterations == 2
    assert s.reason is not None
    assert "conjugate gradients left residuals of" in s.reason
    assert "after 2 iterations; use a larger ridge" in s.reason
    assert s.misalignment == pytest.approx(gm.risk(s, X, Y), rel=1e-9)  # of the map as it is


def test_ridge_below_rounding_says_so() -> None:
    X, Y = normal(0, 300, 3).astype(np.float32), normal(1, 300, 1)
    assert "is below the rounding of the kernel's values" in str(fit(X, Y, gm.RBF(1.0), 1e-12).reason)


def test_kernel_that_is_not_positive_says_so() -> None:
    X, Y = normal(0, 200, 3), normal(1, 200, 1)
    s = fit(X, Y, gm.Polynomial(offset=-3.0), 1e-9)
    assert "K/n + ridge is not positive definite at ridge 1e-09; use a larger one" in str(s.reason)


# ---- landmarks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rbf", "laplacian", "linear", "polynomial", "arc_cosine_1", "distance"])
def test_landmarks_are_a_nystroem_approximation(name: str) -> None:
    X, Y = hard_pair(700, 6, 3)
    case = CASES[name]
    K = case.gram(X)
    ridge = 1e-4 * np.trace(K) / 700
    s = fit(X, Y, case.kernel, ridge, rank=60, loo=True)
    landmarks = np.array([int(np.flatnonzero((z == X).all(1))[0]) for z in s.function.rows])
    assert len(landmarks) == 60
    _, H = oracle.kernel_ridge(oracle.nystroem(K, landmarks), Y, ridge)
    e = Y - H @ Y
    assert_close(s(X), H @ Y, 1e-8)
    assert s.misalignment == pytest.approx((e**2).sum() / 700, rel=1e-8)
    assert s.df == pytest.approx(np.trace(H), rel=1e-6)
    assert s.loo == pytest.approx(((e / (1 - np.diag(H))[:, None]) ** 2).sum() / 700, rel=1e-6)
    assert s.misalignment == pytest.approx(gm.risk(s, X, Y), rel=1e-10)


def test_more_landmarks_come_to_the_whole_fit() -> None:
    X = normal(0, 500, 2)
    Y = np.sin(X)
    whole = fit(X, Y, gm.RBF(2.0), 1e-5)
    off = [gm.risk(fit(X, Y, gm.RBF(2.0), 1e-5, rank=m), X, whole(X)) for m in (10, 40, 160)]
    assert off[0] > 10 * off[1] > 100 * off[2]
    np.testing.assert_array_equal(fit(X, Y, gm.RBF(2.0), 1e-5, rank=500)(X), whole(X))


def test_landmarks_come_from_the_seed() -> None:
    X, Y = normal(0, 300, 3), normal(1, 300, 2)
    a, b, c = (fit(X, Y, "rbf", 1e-3, rank=20, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a(X), b(X))
    assert np.abs(a(X) - c(X)).max() > 1e-6


# ---- choice of the ridge -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rank"), [(300, None), (300, 299), (600, None)])
def test_of_several_ridges_gcv_takes_the_best(n: int, rank: int | None) -> None:
    X = normal(0, n, 2)
    Y = np.sin(2 * X[:, :1]) + 0.3 * normal(1, n, 1)
    K, ridges = oracle.gram("rbf", X, bandwidth=1.0), [1e-1, 1e-2, 1e-3, 1e-4, 1e-6]
    want = []
    for ridge in ridges:
        _, H = oracle.kernel_ridge(K, Y, ridge)
        want.append((((Y - H @ Y) ** 2).sum() / n) / (1 - np.trace(H) / n) ** 2)
    s = fit(X, Y, gm.RBF(1.0), ridges, rank=rank)
    assert s.ridge == ridges[int(np.argmin(want))]
    np.testing.assert_array_equal(s.ridges, ridges)
    np.testing.assert_allclose(s.scores, want, rtol=1e-6 if n == 300 else 0.05)
    assert s.gcv == pytest.approx(min(want), rel=1e-6 if n == 300 else 0.05)


@pytest.mark.parametrize("rank", [None, 100])
def test_gcv_finds_a_ridge_that_predicts(rank: int | None) -> None:
    X = normal(0, 800, 2)
    truth = np.column_stack([np.sin(2 * X[:, 0]), X[:, 0] * X[:, 1]])
    Y = truth + 0.5 * normal(1, 800, 2)
    chosen = fit(X, Y, gm.RBF(1.0), "gcv", rank=rank)
    assert chosen.reason is None
    assert chosen.ridges is None
    errors = [gm.risk(fit(X, Y, gm.RBF(1.0), r, rank=rank), X, truth) for r in (1e-7, 1.0)]
    assert gm.risk(chosen, X, truth) < 0.6 * min(errors)
    assert gm.risk(chosen, X, truth) < 0.05


def test_ridge_at_the_edge_of_what_is_tried_says_so() -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    assert "the least ridge that it tries; a smaller one may do better" in str(fit(x, np.exp(x), "rbf", "gcv").reason)


# ---- hard data -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [None, 40])
@pytest.mark.parametrize(("sx", "sy"), [(1e-140, 1e150), (1e150, 1e-150), (1e150, 1.0)])
@pytest.mark.parametrize("name", ["linear", "rbf", "distance", "arc_cosine_1"])
def test_values_of_any_size(name: str, sx: float, sy: float, rank: int | None) -> None:
    X, Y = normal(0, 120, 3), normal(1, 120, 2)
    power = {"linear": 2, "arc_cosine_1": 2, "distance": 1}.get(name, 0)
    kernel, large = (gm.RBF(1.0), gm.RBF(sx)) if name == "rbf" else (name.removesuffix("_1"),) * 2
    want = fit(X, Y, kernel, 1e-2, rank=rank, loo=True)
    got = fit(X * sx, Y * sy, large, 1e-2 * sx**power, rank=rank, loo=True)
    assert_close(got(X * sx) / sy, want(X), 1e-8)
    assert got.misalignment / sy / sy == pytest.approx(want.misalignment, rel=1e-8)
    assert got.loo / sy / sy == pytest.approx(want.loo, rel=1e-8)
    assert got.df == pytest.approx(want.df, rel=1e-8)
    scale = sy / (1 if name == "rbf" else sx ** (power / 2))
    assert got.function.norm / scale == pytest.approx(want.function.norm, rel=1e-8)


@pytest.mark.parametrize("name", ["rbf", "exponential", "laplacian", "rational_quadratic"])
def test_features_far_from_zero(name: str) -> None:
    X, Y = rounded(normal(0, 200, 3), "float32"), normal(1, 200, 2)
    far, Z = X + 2.0**24, rounded(normal(2, 20, 3), "float32")
    case = CASES[name]
    assert_close(fit(far, Y, case.kernel)(Z + 2.0**24), fit(X, Y, case.kernel)(Z), 1e-8)


def test_rows_that_are_all_the_same_give_their_mean() -> None:
    X, Y = np.full((50, 2), 3.0), normal(0, 50, 1)
    s = fit(X, Y, "rbf", 1e-9)
    np.testing.assert_allclose(s(X), Y.mean(), atol=1e-8)
    assert s.df == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("options", [{}, {"rank": 20}, {"ridge": "gcv"}, {"ridge": "gcv", "rank": 20}])
def test_rows_of_zeros_predict_nothing(options: Any) -> None:
    Y = normal(0, 40, 2)
    s = fit(np.zeros((40, 3)), Y, "linear", **({"ridge": 1e-3, "loo": True} | options))
    assert s.misalignment == pytest.approx((Y**2).sum() / 40, rel=1e-12)
    assert (s.df, s.function.norm) == (0.0, 0.0)
    assert s.loo == pytest.approx(s.misalignment, rel=1e-12)
    assert not s(normal(1, 5, 3)).any()


@pytest.mark.parametrize("rank", [None, 1])
def test_two_rows_are_enough(rank: int | None) -> None:
    s = fit(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]]), gm.RBF(1.0), 0.5, rank=rank, loo=True)
    off = np.exp(-2.0)
    want = np.array([[1, off], [off, 1]]) @ np.linalg.solve([[2, off], [off, 2]], [[1.0], [3.0]])
    if rank is None:
        np.testing.assert_allclose(s(np.array([[0.0], [2.0]])), want, rtol=1e-12)
    assert np.isfinite([s.gcv, s.loo, s.unbiased]).all()


@given(st.integers(2, 70), st.integers(1, 4), st.integers(0, 2**16), st.sampled_from(["rbf", "laplacian", "linear"]))
@settings(max_examples=25, deadline=None)
def test_map_is_linear_in_the_features_that_it_fits_and_knows_no_order(n: int, d: int, seed: int, kernel: str) -> None:
    X, Y, Z = normal(seed, n, d), normal(seed + 1, n, 2), normal(seed + 2, n, 2)
    order = np.random.default_rng(seed).permutation(n)
    a, b = fit(X, Y, kernel, 0.1), fit(X, Z, kernel, 0.1)
    assert_close(fit(X, Y - 3 * Z, kernel, 0.1)(X), a(X) - 3 * b(X), 1e-8)
    again = fit(X[order], Y[order], kernel, 0.1)
    assert_close(again(X), a(X), 1e-8)
    assert again.misalignment == pytest.approx(a.misalignment, rel=1e-8)


def test_features_that_are_zero() -> None:
    s = fit(normal(0, 40, 2), np.zeros((40, 3)), "rbf", 1e-3)
    assert (s.misalignment, s.reason) == (0.0, "F2 is 0")
    assert np.isnan(s.misalignment_ratio)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("rank", [None, 60])
def test_other_dtypes(dtype: str, rank: int | None) -> None:
    X, Y = hard_pair(250, 5, 2, dtype=dtype)
    s = fit(as_input(X, dtype), as_input(Y, dtype), gm.RBF(4.0), 1e-3, rank=rank)
    want = fit(X, Y, gm.RBF(4.0), 1e-3, rank=rank)
    assert_close(s(X), want(X), 1e-5)
    assert s.misalignment == pytest.approx(want.misalignment, rel=1e-5)
    assert s.misalignment == pytest.approx(gm.risk(s, X, Y), rel=1e-9)  # of the map as it predicts
    assert s(X.astype(np.float32)).dtype == np.float32


def test_files_and_blocks_change_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    X, Y = normal(0, 260, 3), normal(1, 260, 2)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    want = fit(X, Y, "rbf", 1e-3)
    got = fit(tmp_path / "x.npy", str(tmp_path / "y.npy"), "rbf", 1e-3)
    monkeypatch.setattr(kernel_ridge, "VALUES", 1000)
    monkeypatch.setattr(kernel_values, "VALUES", 1000)
    monkeypatch.setattr(kernel_ridge, "_ROWS", 37)
    np.testing.assert_allclose(got(X), want(X), rtol=1e-9)
    assert got(tmp_path / "x.npy").shape == (260, 2)


def test_arrays_on_a_device(device: str) -> None:
    X, Y = hard_pair(250, 5, 2, dtype="float32")
    for rank in (None, 50):
        want = fit(X.astype(np.float32), Y, gm.RBF(4.0), 1e-3, rank=rank)
        got = fit(as_input(X, "float32", device), as_input(Y, "float32", device), gm.RBF(4.0), 1e-3, rank=rank)
        assert got.misalignment == pytest.approx(want.misalignment, rel=1e-5)
        assert_close(got(X), want(X), 1e-5)


def test_same_rows_give_the_same_bits() -> None:
    X, Y = normal(0, 600, 3), normal(1, 600, 2)
    a, b = fit(X, Y), fit(X, Y)
    np.testing.assert_array_equal(a(X), b(X))
    assert (a.df, a.gcv, a.function.norm) == (b.df, b.gcv, b.function.norm)


def test_leave_one_out_of_many_rows_needs_landmarks(monkeypatch: Any) -> None:
    monkeypatch.setattr(kernel_ridge, "_MOST_LEFT_OUT", 550)
    X, Y = normal(0, 600, 3), normal(1, 600, 1)
    s = fit(X, Y, loo=True)
    assert np.isnan(s.loo)
    assert s.reason == "loo of 600 rows takes as many solutions, and 550 are the most; give rank, the number of " + (
        "landmarks, where it takes none"
    )
    assert fit(X, Y, loo=True, rank=100).loo > 0


@pytest.mark.parametrize("rank", [None, 39])
def test_row_that_decides_alone_has_no_leave_one_out(rank: int | None) -> None:
    X, Y = 1e3 * np.arange(40.0)[:, None], normal(0, 40, 1)
    s = fit(X, Y, gm.RBF(1.0), 1e-12, rank=rank, loo=True)
    assert np.isnan(s.loo)
    assert "some row alone decides what is predicted for it, so loo is undefined" in str(s.reason)


def test_progress_is_told() -> None:
    by_landmarks: list[str] = []
    fit(normal(0, 300, 3), normal(1, 300, 1), rank=10, progress=lambda done, total, phase: by_landmarks.append(phase))
    assert list(dict.fromkeys(by_landmarks)) == ["bandwidth", "landmarks", "residuals", ""]
    by_gradients: list[str] = []
    fit(normal(0, 300, 3), normal(1, 300, 1), progress=lambda done, total, phase: by_gradients.append(phase))
    assert {"solving: product 1: tiles", "solving: product 2: tiles"} <= set(by_gradients)


# ---- torch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WELL)
def test_tensors_come_out_as_arrays_do_and_are_differentiable(name: str) -> None:
    torch = pytest.importorskip("torch")
    X, Y = hard_pair(60, 4, 2)
    s = fit(X, Y, CASES[name].kernel, 0.1)
    Z = normal(5, 9, 4)
    want = s(Z)
    assert_close(s(torch.from_numpy(Z)).numpy(), want, 1e-12)
    assert_close(s.to_torch()(torch.from_numpy(Z)).numpy(), want, 1e-12)
    single = s(torch.from_numpy(Z).float())
    assert single.dtype == torch.float32
    assert_close(single.numpy(), s(Z.astype(np.float32)), 1e-6)
    assert torch.autograd.gradcheck(s, torch.tensor(Z, requires_grad=True))
    assert torch.autograd.gradcheck(s.to_torch(), torch.tensor(Z, requires_grad=True))


def test_gradients_at_rows_of_the_fit_are_finite() -> None:
    torch = pytest.importorskip("torch")
    X, Y = hard_pair(120, 4, 2)
    for name in WELL:
        at = torch.tensor(X, requires_grad=True)
        fit(X, Y, CASES[name].kernel, 0.1).to_torch()(at).sum().backward()
        assert torch.isfinite(at.grad).all(), name


def test_module_stitched_in_has_the_risk_of_the_stitch() -> None:
    torch = pytest.importorskip("torch")
    X, F2 = hard_pair(300, 5, 4)
    Y = np.tanh(F2 @ normal(0, 4, 2))
    torch.manual_seed(0)
    head = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    s = fit(X, F2, "rbf", 1e-4)
    want = gm.risk(torch.nn.Sequential(s.to_torch(), head), X, Y)
    assert gm.stitching_risk(s, head, X, Y) == pytest.approx(want, rel=1e-10)
    bound = gm.bounds.stitching(gm.risk(head, F2, Y), gm.lipschitz.upper(head), s.misalignment)
    assert want <= float(bound)
    single = gm.risk(torch.nn.Sequential(s.to_torch(torch.float32), head.float()), X, Y)
    assert single == pytest.approx(want, rel=1e-4)


# ---- the gate ------------------------------------------------------------------------------------------------------

X, Y = normal(0, 20, 3), normal(1, 20, 2)
WRONG: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: gm.fit_stitch(X, Y, kind="kernel_ridge"),
        ValueError,
        "kind 'kernel_ridge' needs a positive ridge, a sequence of them or 'gcv', got 0; without one it fits any rows",
    ),
    (lambda: fit(X, Y, ridge=[1.0, 0.0]), ValueError, "needs a positive ridge, a sequence of them or 'gcv', got 0"),
    (lambda: fit(X, Y, ridge=-1.0), ValueError, "ridge must be finite and at least 0, got -1.0"),
    (lambda: fit(X, Y[:9]), ValueError, "F1 has 20 rows but F2 has 9; row i of both must be the same sample"),
    (lambda: fit(X, None), TypeError, "fit_stitch needs F1 and F2; F2 is missing"),
    (
        lambda: fit(gm.feature_moments(X, Y), None),
        TypeError,
        "kind 'kernel_ridge' needs the rows of F1 and F2; their moments hold no kernel values",
    ),
    (lambda: fit(X * np.nan, Y), ValueError, "F1 has NaN in row 0, column 0"),
    (lambda: fit(X, Y, "tanh"), ValueError, "kernel 'tanh' is unknown; the known kernels are"),
    (
        lambda: fit(X, Y, rank=21),
        ValueError,
        "rank must be at most 20, the number of rows to draw landmarks from, got 21",
    ),
    (lambda: fit(X, Y, rank=0), ValueError, "rank must be at least 1, got 0"),
    (lambda: fit(X, Y, rank=2.0), TypeError, "rank must be a whole number, got float"),
    (
        lambda: fit(X, Y, rank=10, memory=799),
        ValueError,
        "kernel values of 10 landmarks take 800 bytes, but memory is 799",
    ),
    (
        lambda: fit(X, Y, folds=3),
        ValueError,
        "folds are for maps that are linear in F1; kind 'kernel_ridge' has gcv and loo",
    ),
    (
        lambda: fit(X, Y, rcond=0.1),
        ValueError,
        "rcond is for maps that are linear in F1; kind 'kernel_ridge' has its ridge",
    ),
    (lambda: fit(X, Y, loo="yes"), TypeError, "loo must be True or False, got str"),
    (lambda: fit(X[:1], Y[:1]), ValueError, "fit_stitch needs at least 2 rows but got 1"),
    (
        lambda: fit(X, Y)(X[:, :2]),
        ValueError,
        "F must have shape (n, 3), as the features that were stitched, got (20, 2)",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[text[:50] for _, _, text in WRONG])
def test_error_says_what_came_and_what_is_needed(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert text in str(found.value)


def test_a_float32_module_keeps_its_digits_far_from_the_origin() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(60, 3)) + 1e6).astype(np.float32)
    stitch = gm.fit_stitch(X, rng.normal(size=(60, 2)), kind="kernel_ridge", ridge=1e-3)

    got = stitch.to_torch(torch.float32)(torch.tensor(X)).numpy()

    assert np.abs(got - stitch(X)).max() < 1e-3
