"""Operators and spectra of kernel matrices that are never stored: against dense solves, closed forms and SciPy."""

from __future__ import annotations

import json
import math
import pickle
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.sparse.linalg import LinearOperator, cg, eigsh
from scipy.special import iv

import gramian as gm
import oracle
from accuracy import CASES, EPS, TILE_EDGE, as_input, hard_pair, rounded
from gramian.spectra import tasks

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def matrix_of(name: str, X: np.ndarray, centered: bool = False) -> np.ndarray:
    K = CASES[name].gram(X)
    return oracle.centred(K) if centered else K


def circle(n: int) -> np.ndarray:
    t = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def normals(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((n, d, seed)).standard_normal((n, d))


# ---- the operator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_the_matrix(name: str, centered: bool, dtype: str, device: str) -> None:
    X, _ = hard_pair(TILE_EDGE + 13, 7, 3, dtype=dtype)
    K, V = matrix_of(name, X), np.random.default_rng(1).standard_normal((len(X), 70))  # two sweeps
    want = oracle.centred(K) @ V if centered else K @ V

    got = gm.GramOperator(as_input(X, dtype, device), CASES[name].kernel, centered=centered) @ V

    # each entry of K is within some roundings of the largest
    allowed = 8 * EPS[dtype] * np.abs(K).max() * math.sqrt(len(X)) * np.linalg.norm(V, axis=0)
    if device == "cuda":  # near-duplicates there have distances of half the digits
        allowed += math.sqrt(EPS[dtype]) * np.abs(V).max()
    assert (np.linalg.norm(got - want, axis=0) <= allowed).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_keep_their_digits_far_from_the_origin(dtype: str) -> None:
    X = rounded(normals(400, 3) + 1000, dtype)
    K, V = oracle.centred(oracle.gram("linear", X - 1000)), normals(400, 5)

    got = gm.GramOperator(X.astype(dtype), "linear", centered=True) @ V

    assert np.abs(got - K @ V).max() <= 1e3 * EPS[dtype] * np.abs(K).max()


def test_products_of_float32_rows_are_linear_in_float64(device: str) -> None:
    X = normals(700, 5).astype(np.float32)
    op = gm.GramOperator(as_input(X, "float32", device), gm.RBF(2.0))
    v, w = np.random.default_rng(1).standard_normal((2, 700, 3)) * [[[1.0]], [[1e-4]]]

    difference = op @ (v + w) - op @ v - op @ w

    assert np.abs(difference).max() <= 1e-13 * np.abs(op @ v).max()


def test_operator_is_one_of_scipy() -> None:
    X = normals(300, 4)
    K = oracle.gram("rbf", X, bandwidth=2.0)
    op, v = gm.GramOperator(X, gm.RBF(2.0)), normals(300, 1)[:, 0]

    assert isinstance(op, LinearOperator)
    assert (op.shape, op.dtype, op.kernel, op.centered) == ((300, 300), np.float64, gm.RBF(2.0), False)
    assert op.trace == pytest.approx(300)
    for product in (op @ v, op.matvec(v), op.rmatvec(v), op.T @ v, op.H @ v, (2 * op - op) @ v, op.dot(v)):
        assert product.shape == (300,)
        np.testing.assert_allclose(product, K @ v, atol=1e-12)
    assert np.array_equal(op.rmatmat(v[:, None]), op.matmat(v[:, None]))
    assert (op @ np.empty((300, 0))).shape == (300, 0)
    assert not (op @ np.zeros(300)).any()
    np.testing.assert_allclose(op @ v.astype(np.float32), K @ v.astype(np.float32).astype(float), atol=1e-12)


def test_scipy_solves_with_it() -> None:
    X, b = normals(250, 3), normals(250, 1)[:, 0]
    K, op = oracle.gram("rbf", X, bandwidth=1.0), gm.GramOperator(X, gm.RBF(1.0))
    ridge = LinearOperator(op.shape, matvec=lambda v: op @ v + v, dtype=np.float64)

    solution, failed = cg(ridge, b, rtol=1e-12)

    assert failed == 0
    np.testing.assert_allclose(solution, np.linalg.solve(K + np.eye(250), b), atol=1e-9)
    np.testing.assert_allclose(eigsh(op, 3)[0], np.linalg.eigvalsh(K)[-3:], rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_same_bits_for_any_number_of_threads_and_any_memory(dtype: str, restored_threads: None) -> None:
    X, V = normals(700, 5).astype(dtype), normals(700, 9)
    found = []
    for count, memory in ((1, None), (3, None), (2, 1)):
        gm.set_num_threads(count)
        found.append(gm.GramOperator(X, "rbf", centered=True, memory=memory) @ V)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("size", [1e-140, 1e140])
def test_scale_of_the_data_and_of_the_vectors_does_not_matter(size: float) -> None:
    X, V = normals(210, 3), normals(210, 2)
    got = gm.GramOperator(X * size, "linear") @ (V / size)
    np.testing.assert_allclose(got / size, X @ (X.T @ V), rtol=1e-11)


def test_operator_refuses_what_it_cannot_multiply() -> None:
    op = gm.GramOperator(normals(20, 2), "rbf")
    with pytest.raises(ValueError, match=r"^GramOperator multiplies finite vectors, got NaN or infinity$"):
        op @ np.full(20, np.nan)
    with pytest.raises(TypeError, match=r"^GramOperator multiplies real vectors, got complex128$"):
        op @ np.ones(20, dtype=complex)
    with pytest.raises(ValueError, match=r"GramOperator needs at least 2 rows but got 1$"):
        gm.GramOperator(np.ones((1, 2)), "rbf")


# ---- the spectrum ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_eigenpairs_are_those_of_a_dense_solve(name: str, centered: bool, dtype: str, device: str) -> None:
    X, _ = hard_pair(2 * TILE_EDGE + 5, 4, 3, dtype=dtype)
    K = matrix_of(name, X, centered)
    values, _ = oracle.eigenpairs(K, 12)

    found = gm.spectrum(as_input(X, dtype, device), CASES[name].kernel, 12, centered=centered)

    # inner products of float32 are rounded at the size of K, not of the centred K
    allowed = (1e-6 if dtype == "float32" else 1e-10) * np.abs(CASES[name].gram(X)).max()
    k = found.k
    np.testing.assert_allclose(found.eigenvalues, values[:k], atol=allowed)
    assert (np.abs(values[k:12]) <= allowed).all()
    assert found.converged
    phi = found.eigenfunctions
    np.testing.assert_allclose(phi.T @ phi / len(X), np.eye(k), atol=1e-10)
    left = np.sqrt(((K @ phi / len(X) - phi * found.eigenvalues) ** 2).mean(axis=0))
    assert (left <= found.residuals + allowed).all()
    assert found.trace == pytest.approx(np.trace(K) / len(X), abs=allowed)


@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-10), ("float32", 1e-6)])
def test_twenty_eigenvalues_of_five_thousand_rows(dtype: str, allowed: float) -> None:
    X = rounded(normals(5000, 6), dtype)
    want = eigsh(oracle.gram("rbf", X, bandwidth=2.0) / 5000, 20, tol=1e-13)[0][::-1]

    found = gm.spectrum(X.astype(dtype), gm.RBF(2.0), 20)

    assert np.abs(found.eigenvalues - want).max() <= allowed * want[0]
    assert found.residuals.max() <= 1e-7 * want[0]


def test_gaussian_kernel_under_the_normal_law_has_powers_of_the_golden_ratio() -> None:
    n = 4000
    found = gm.spectrum(normals(n, 1), gm.RBF(1.0), 6)

    # η̂ − η is the mean of η(φ² − 1) to first order, whose spread is estimated from the eigenfunctions
    se = found.eigenvalues * (found.eigenfunctions**2).std(axis=0) / math.sqrt(n)
    want = GOLDEN_RATIO ** -(2 * np.arange(6) + 1.0)
    assert (np.abs(found.eigenvalues - want) <= 4 * se).all()


def test_circle_has_the_spectrum_of_fourier() -> None:
    found = gm.spectrum(circle(2000), gm.ArcCosine(1), 5)
    want = [4 / np.pi**2, 1 / 4, 1 / 4, 4 / (9 * np.pi**2), 4 / (9 * np.pi**2)]
    np.testing.assert_allclose(found.eigenvalues, want, atol=1e-10)

    found = gm.spectrum(circle(100), gm.RBF(1.0), 7)
    want = np.exp(-1) * iv([0, 1, 1, 2, 2, 3, 3], 1.0)
    np.testing.assert_allclose(found.eigenvalues, want, atol=1e-10)
    assert found.eigenvalues[0] == pytest.approx(0.465759607594, abs=1e-12)


def test_an_eigenspace_that_is_cut_is_reported() -> None:
    found = gm.spectrum(circle(100), gm.RBF(1.0), 4)
    assert found.splits_eigenspace
    assert found.reason == "eigenvalues 4 and 5 cannot be told apart: the last eigenspace is cut; choose another k"
    assert found.following == pytest.approx(found.eigenvalues[3], rel=1e-9)
    assert gm.spectrum(circle(100), gm.RBF(1.0), 5).reason is None


@pytest.mark.parametrize("k", [5, 39, 40, 60])
def test_equal_eigenvalues_are_all_found(k: int) -> None:
    labels = np.eye(40)[np.repeat(np.arange(40), 9)]  # 40 eigenvalues of 1/40, all others 0
    found = gm.spectrum(labels, gm.RBF(1e-3), k)

    np.testing.assert_allclose(found.eigenvalues, (np.arange(k) < 40) / 40, atol=1e-12)
    assert found.rank == min(k, 40)
    assert found.splits_eigenspace == (k != 40)


def test_linear_kernels_come_from_moments_and_equal_the_sweeps() -> None:
    X = normals(500, 6) * [3, 2, 1, 0.5, 0.2, 0] + 100
    for centered, rank in ((False, 6), (True, 5)):
        values, phi = oracle.eigenpairs(matrix_of("linear", X, centered), rank)
        found = gm.spectrum(X, "linear", 9, centered=centered)
        assert (found.sweeps, found.k, found.rank) == (0, rank, rank)
        assert found.reason == f"the kernel matrix has rank {rank} up to rounding"
        np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-9)
        np.testing.assert_allclose(np.abs(oracle.overlap(phi, found.eigenfunctions)), np.eye(rank), atol=1e-6)
        assert found.explained[-1] == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_linear_kernels_of_few_rows_come_from_sweeps(name: str, centered: bool, dtype: str, device: str) -> None:
    X = rounded(normals(150, 200) + 3, dtype)
    values, _ = oracle.eigenpairs(matrix_of(name, X, centered), 7)
    found = gm.spectrum(as_input(X, dtype, device), name, 7, centered=centered)
    assert found.sweeps > 0
    allowed = 1e-10 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(found.eigenvalues, values, atol=allowed * np.abs(CASES[name].gram(X)).max())


@pytest.mark.parametrize("n", [300, 1500])
@pytest.mark.parametrize("name", ["rbf", "laplacian", "arc_cosine", "rational_quadratic"])
def test_eigenvalues_are_within_residuals_and_the_rounding_of_tiles(name: str, n: int) -> None:
    X = rounded(normals(n, 10) + 5, "float32")
    kernel = gm.RBF(math.sqrt(10)) if name == "rbf" else name
    narrow = gm.spectrum(X.astype(np.float32), kernel, 6)
    wide = gm.spectrum(X, narrow.kernel, 6)
    allowed = narrow.residuals + narrow.rounding + EPS["float32"] * narrow.eigenvalues[0]
    off = np.abs(narrow.eigenvalues - wide.eigenvalues)
    assert (off <= allowed).all()


def test_first_block_is_multiplied_whatever_the_limit() -> None:
    found = gm.spectrum(normals(300, 20), gm.RBF(2.0), 100, sweeps=1)
    assert (found.sweeps, found.converged) == (2, False)


def test_indefinite_kernel_keeps_signs_and_sorts_by_size() -> None:
    X = normals(300, 3)
    kernel = gm.Polynomial(degree=2, offset=-4.0)
    want, _ = oracle.eigenpairs(oracle.gram("polynomial", X, degree=2, offset=-4.0), 8)
    found = gm.spectrum(X, kernel, 8)
    np.testing.assert_allclose(found.eigenvalues, want, atol=1e-12 * abs(want[0]))
    assert (want < 0).any()


@pytest.mark.parametrize("n", [2, 3, 5, 65])
@pytest.mark.parametrize("centered", [False, True])
def test_few_rows_give_all_their_eigenvalues(n: int, centered: bool) -> None:
    X = normals(n, 2)
    values, _ = oracle.eigenpairs(matrix_of("rbf", X, centered), n - centered)
    found = gm.spectrum(X, CASES["rbf"].kernel, n, centered=centered)
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-14)
    assert math.isnan(found.following)


def test_constant_data_has_one_eigenvalue_and_none_when_centred() -> None:
    X = np.full((300, 3), 0.1)
    found = gm.spectrum(X, "rbf", 2)
    assert found.eigenvalues == pytest.approx([1, 0], abs=1e-12)
    found = gm.spectrum(X, "rbf", 2, centered=True)
    assert (found.rank, list(found.eigenvalues)) == (0, [0, 0])
    assert found.reason == "the kernel matrix has rank 0 up to rounding; the other eigenfunctions are arbitrary"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_eigenvalues_of_nothing_but_rounding_do_not_count(dtype: str) -> None:
    X = normals(900, 3).astype(dtype)  # under so wide a kernel, three eigenvalues and squares of them
    found = gm.spectrum(X, gm.RBF(1e7), 5, centered=True)
    assert found.rank == 3
    assert found.reason == "the kernel matrix has rank 3 up to rounding; the other eigenfunctions are arbitrary"


def test_eigenvalues_that_add_up_to_nothing_explain_no_part_of_it() -> None:
    found = gm.spectrum(np.eye(6), gm.Polynomial(degree=1, scale=1.0, offset=-1.0), 6)
    assert np.isnan(found.explained).all()
    assert found.reason == "the eigenvalues add up to 0, up to rounding, so that no part of the trace is explained"


def test_eigenfunctions_of_lopsided_features_are_orthogonal_to_the_last_digits() -> None:
    X = normals(500, 4) * [1e8, 1e4, 1, 1e-3] + 1e9
    for centered in (False, True):
        phi = gm.spectrum(X, "linear", 4, centered=centered).eigenfunctions
        np.testing.assert_allclose(phi.T @ phi / 500, np.eye(4), atol=1e-13)
    np.testing.assert_allclose(phi.mean(axis=0), 0, atol=1e-13)


def test_sweeps_are_limited_and_what_is_left_is_told() -> None:
    found = gm.spectrum(normals(800, 20), gm.RBF(2.0), 4, sweeps=1)
    assert (found.sweeps, found.converged) == (1, False)
    assert found.reason
    assert found.reason.endswith("after 1 sweeps, more than the tolerance 1e-10")


def test_spectrum_restarts_and_still_converges() -> None:
    X = normals(1500, 30)  # eigenvalues that hardly fall
    want, _ = oracle.eigenpairs(oracle.gram("rbf", X, bandwidth=3.0), 5)
    found = gm.spectrum(X, gm.RBF(3.0), 5)
    assert found.sweeps > 8
    np.testing.assert_allclose(found.eigenvalues, want, atol=1e-10 * want[0])


def test_seed_changes_no_eigenvalue_and_the_same_seed_no_bit() -> None:
    X = normals(400, 3).astype(np.float32)
    a, b, c = (gm.spectrum(X, "rbf", 6, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.eigenfunctions, b.eigenfunctions)
    np.testing.assert_allclose(a.eigenvalues, c.eigenvalues, atol=1e-6 * a.eigenvalues[0])
    np.testing.assert_allclose(a.eigenfunctions[:, :2], c.eigenfunctions[:, :2], atol=1e-3)  # signs are fixed


def test_spectrum_of_sixteen_bit_data_is_that_of_its_values() -> None:
    X = rounded(normals(300, 3), "float16")
    want, _ = oracle.eigenpairs(oracle.gram("rbf", X, bandwidth=2.0), 6)
    found = gm.spectrum(X.astype(np.float16), gm.RBF(2.0), 6)
    np.testing.assert_allclose(found.eigenvalues, want, atol=1e-6 * want[0])


def test_spectrum_shows_itself() -> None:
    found = gm.spectrum(normals(100, 2), gm.RBF(1.0), 7)
    assert repr(found).startswith("Spectrum([")
    assert "k = 7, n = 100, RBF(bandwidth=1.0)" in repr(found)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["eigenvalues"] == found.eigenvalues.tolist()
    assert pickle.loads(pickle.dumps(found)).k == 7


def test_memory_is_that_of_some_vectors() -> None:
    X = normals(6000, 3).astype(np.float32)
    tracemalloc.start()
    gm.spectrum(X, gm.RBF(2.0), 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300 * 8 * 6000  # three hundred vectors; the matrix would be 6000 of them


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 40), d=st.integers(1, 4), seed=st.integers(0, 99), centered=st.booleans())
def test_rigid_motions_and_orders_of_the_samples_leave_the_spectrum(n: int, d: int, seed: int, centered: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X[rng.integers(n)] = X[rng.integers(n)]  # duplicates
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    k = min(n, 5)

    a = gm.spectrum(X, gm.RBF(1.0), k, centered=centered)
    b = gm.spectrum((X @ rotation + 3)[rng.permutation(n)], gm.RBF(1.0), k, centered=centered, seed=seed)

    np.testing.assert_allclose(a.eigenvalues, b.eigenvalues, atol=1e-10)
    assert a.trace == pytest.approx(b.trace, abs=1e-12)
    assert a.eigenvalues.sum() <= a.trace + 1e-12


@settings(max_examples=30, deadline=None)
@given(n=st.integers(4, 40), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_overlaps_obey_bessel_and_alignment_its_range(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = gm.eigen_overlap(rng.standard_normal((n, 2)), rng.standard_normal((n, 3)), "laplacian", min(k, n))
    squares = found.overlap**2
    assert squares.sum(axis=0).max() <= 1 + 1e-10
    assert squares.sum(axis=1).max() <= 1 + 1e-10
    assert -1e-12 <= found.kernel_alignment <= 1 + 1e-12
    assert found.canonical_correlations.max() <= 1 + 1e-10


@st.composite
def moved_pairs(draw: Any) -> tuple[np.ndarray, ...]:
    """X and Y, a rigid motion of X with its scale, and an order of the samples."""
    n, seed = draw(st.integers(20, 60)), draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, draw(st.integers(1, 4)))), rng.standard_normal((n, 2))
    turn = np.linalg.qr(rng.standard_normal((X.shape[1], X.shape[1])))[0]
    return X, Y, draw(st.sampled_from([0.01, 3.0, 1e9])) * (X @ turn + 2), rng.permutation(n)


invariance = settings(max_examples=20, derandomize=True, deadline=None)


@invariance
@given(moved_pairs(), st.booleans(), st.sampled_from(["rbf", "exponential"]))
def test_overlaps_are_symmetric_and_do_not_notice_motions(
    data: tuple[np.ndarray, ...], centered: bool, kernel: str
) -> None:
    X, Y, Z, order = data
    want, turned, moved, shuffled = (
        gm.eigen_overlap(A, B, kernel, 5, centered=centered) for A, B in ((X, Y), (Y, X), (Z, Y), (X[order], Y[order]))
    )
    for p, q in ((0, 0), (0, 1), (1, 1), (2, 0.5)):
        assert turned.family(q, p) == pytest.approx(want.family(p, q), rel=1e-7)
        for other in (moved, shuffled):
            assert other.family(p, q) == pytest.approx(want.family(p, q), rel=1e-7)
    assert turned.ridge_family(0.2, 0.1) == pytest.approx(want.ridge_family(0.1, 0.2), rel=1e-7)
    np.testing.assert_allclose(turned.canonical_correlations, want.canonical_correlations, atol=1e-7)

    want, turned, moved, shuffled = (
        gm.spectral_alignment(A, B, kernel, 5, centered=centered)
        for A, B in ((X, Y), (Y, X), (Z, Y), (X[order], Y[order]))
    )
    for other in (turned, moved, shuffled):
        kept = other.kept[::-1] if other is turned else other.kept
        np.testing.assert_allclose(
            [other.value, other.full, other.left_out, *kept],
            [want.value, want.full, want.left_out, *want.kept],
            atol=1e-7,
        )


@invariance
@given(moved_pairs(), st.sampled_from(["rbf", "exponential"]))
def test_tasks_do_not_notice_motions_of_the_features_nor_the_order_of_samples(
    data: tuple[np.ndarray, ...], kernel: str
) -> None:
    X, y, Z, order = data
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])  # columns of y are summed
    want = gm.task_alignment(X, y, kernel, 5), gm.kare(X, y, kernel, [0.01, 1.0])
    for A, b, unit in ((Z, y, 1.0), (X[order], y[order], 1.0), (X, -3 * y @ turn, 9.0)):
        np.testing.assert_allclose(gm.task_alignment(A, b, kernel, 5).cumulative, want[0].cumulative, rtol=1e-7)
        found = gm.kare(A, b, kernel, [0.01, 1.0])
        np.testing.assert_allclose(found.value, unit * want[1].value, rtol=1e-7)
        np.testing.assert_allclose(found.degrees, want[1].degrees, rtol=1e-7)


def test_chance_of_measures_that_are_not_centred_has_the_mean_in_it() -> None:
    n, k, rng = 400, 10, np.random.default_rng(0)
    draws = [(rng.standard_normal((n, 5)), rng.standard_normal((n, 5)), rng.standard_normal(n) + 5) for _ in range(8)]
    for centered, shared in ((True, k**2 / n), (False, 1 + (k - 1) ** 2 / n)):
        found = [gm.eigen_overlap(X, Y, "rbf", k, centered=centered).family(0, 0) for X, Y, _ in draws]
        assert np.mean(found) == pytest.approx(shared, rel=0.2)
    for X, _, y in draws:
        assert gm.kare(X, y, "rbf", 1e6).value[0] == pytest.approx((y**2).mean(), rel=1e-4)
        mean_part = y.mean() ** 2 / (y**2).mean()
        assert gm.task_alignment(X, y, "rbf", k).cumulative[-1] == pytest.approx(mean_part, abs=0.03)
        assert gm.task_alignment(X, y, "rbf", k, centered=True).cumulative[-1] < 0.1


# ---- overlaps --------------------------------------------------------------------------------------------------------


def test_family_of_all_eigenpairs_is_made_of_traces() -> None:
    X, Y, n = normals(150, 3), normals(150, 2), 150
    K, L = matrix_of("laplacian", X), matrix_of("exponential", Y)  # of full rank
    found = gm.eigen_overlap(X, Y, CASES["laplacian"].kernel, n, kernel_y=CASES["exponential"].kernel)

    assert found.overlap.shape == (n, n)
    assert found.family(1, 1) == pytest.approx(oracle.inner(K, L) / n**2, rel=1e-11)
    assert found.family(1, 0) == pytest.approx(1, rel=1e-11)
    assert found.family(0, 2) == pytest.approx(oracle.inner(L, L) / n**2, rel=1e-11)
    assert found.family(0, 0) == pytest.approx(n, rel=1e-11)
    assert found.kernel_alignment == pytest.approx(oracle.kernel_alignment(K, L, "biased"), rel=1e-11)
    hats = [M @ np.linalg.inv(M + n * 0.01 * np.eye(n)) for M in (K, L)]
    assert found.ridge_family(0.01, 0.01) == pytest.approx(oracle.inner(*hats), rel=1e-11)


def test_overlap_of_linear_kernels_is_that_of_singular_vectors() -> None:
    X, Y = normals(300, 4), normals(300, 3, seed=1)
    Y[:, 0] += X[:, 0]
    want = np.linalg.svd(X, full_matrices=False)[0].T @ np.linalg.svd(Y, full_matrices=False)[0]

    found = gm.eigen_overlap(X, Y, "linear", 4)

    np.testing.assert_allclose(np.abs(found.overlap), np.abs(want), atol=1e-10)
    np.testing.assert_allclose(found.canonical_correlations, np.linalg.svd(want)[1], atol=1e-10)
    assert found.mean_square_cca == pytest.approx((want**2).sum() / 3)
    assert found.reason is None
    assert (found.overlap**2).sum(axis=0).max() <= 1 + 1e-12  # Bessel


def test_overlap_says_which_eigenspace_is_cut() -> None:
    found = gm.eigen_overlap(circle(60), normals(60, 2), gm.RBF(1.0), 2)
    assert found.reason == "X: eigenvalues 2 and 3 cannot be told apart: the last eigenspace is cut; choose another k"
    assert "; X: eigenvalues 2 and 3" in repr(found)


def test_indefinite_kernels_have_no_roots_and_no_ridge_inside_their_spectrum() -> None:
    X, Y = normals(100, 3), normals(100, 2, seed=1)
    indefinite = gm.Polynomial(degree=2, offset=-4.0)
    found = gm.eigen_overlap(X, Y, gm.RBF(1.0), 8, kernel_y=indefinite)
    least = -float(found.eigenvalues_y.min())
    assert least > 0
    assert np.isfinite([found.family(0.5, 2), found.family(0.5, -1), found.ridge_family(1e-9, 1.5 * least)]).all()
    assert found.ridge_family(0, 0) == pytest.approx(found.family(0, 0))
    why = f"^the kernel of Y is indefinite, with an eigenvalue of -{least:.3g}, "
    with pytest.raises(ValueError, match=why + r"which has no power 0\.5; take a whole number$"):
        found.family(1, 0.5)
    for ridge in (least, least / 2):
        with pytest.raises(
            ValueError, match=why + f"and a ridge of {ridge:.3g} leaves it so; take a larger one, or 0$"
        ):
            found.ridge_family(0.1, ridge)
    with pytest.raises(ValueError, match=r"^the kernel of X is indefinite"):
        gm.eigen_overlap(Y, X, indefinite, 8, kernel_y="rbf").family(0.5, 0.5)


def test_ridges_must_not_be_negative() -> None:
    found = gm.eigen_overlap(normals(30, 2), normals(30, 2), "linear", 2)
    with pytest.raises(ValueError, match=r"^ridges must not be negative, got -1 and 0$"):
        found.ridge_family(-1, 0)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_spectral_alignment_adds_up(kernel: str, dtype: str, centered: bool) -> None:
    X, Y = normals(400, 8), normals(400, 8, seed=1)
    Y[:, :4] = np.tanh(X[:, :4])
    X, Y = X.astype(dtype), Y.astype(dtype)
    full = gm.cka(X, Y, kernel, estimator="biased") if centered else gm.kernel_alignment(X, Y, kernel)

    found = gm.spectral_alignment(X, Y, kernel, 6, centered=centered)

    allowed = 1e-10 if dtype == "float64" else 1e-5
    assert found.full == full
    assert found.value * math.sqrt(found.kept[0] * found.kept[1]) + found.left_out == pytest.approx(full, abs=allowed)
    spectra = [gm.spectrum(Z, kernel, 6, centered=centered) for Z in (X, Y)]
    phi = [s.eigenfunctions * s.eigenvalues**0.5 for s in spectra]
    norms = [np.linalg.norm(s.eigenvalues) for s in spectra]
    want = (oracle.overlap(*phi) ** 2).sum() / norms[0] / norms[1]
    assert found.value == pytest.approx(want, rel=allowed)
    assert all(0 < part < 1 for part in found.kept)


def test_spectral_alignment_of_constant_data_is_nan() -> None:
    found = gm.spectral_alignment(np.ones((50, 2)), normals(50, 2), "rbf", 3, centered=True)
    assert math.isnan(found.value)
    assert math.isnan(found.full)
    assert math.isnan(found.left_out)
    assert found.reason
    assert found.reason.startswith("X is constant")
    assert repr(found) == f"SpectralAlignment(nan: {found.reason})"


# ---- tasks -----------------------------------------------------------------------------------------------------------

RIDGES = [1e-3, 1e-2, 1e-1, 1.0]


def task(n: int, d: int = 4, q: int = 2) -> tuple[np.ndarray, np.ndarray]:
    X = normals(n, d)
    return X, np.sin(X[:, :q]) + 0.3 * normals(n, q, seed=1) + 2


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kare_of_linear_kernels_is_exact(kernel: str, dtype: str) -> None:
    X, y = task(300)
    X = rounded(X, dtype)
    want = [oracle.kare(oracle.gram(kernel, X), y, r) for r in RIDGES]
    assert want == pytest.approx([oracle.generalised_cross_validation(oracle.gram(kernel, X), y, r) for r in RIDGES])

    found = gm.kare(X.astype(dtype), y, kernel, RIDGES)

    np.testing.assert_allclose(found.value, want, rtol=1e-10)
    assert (found.probes, found.sweeps, list(found.se)) == (None, 0, [0.0] * 4)
    assert found.best == RIDGES[int(np.argmin(want))]


def solved(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A⁻¹B in extended precision, which LAPACK has not, by Gauss and Jordan."""
    d = len(A)
    both = np.hstack([A, B]).astype(np.longdouble)
    for i in range(d):
        pivot = i + int(np.argmax(np.abs(both[i:, i])))
        both[[i, pivot]] = both[[pivot, i]]
        both[i] /= both[i, i]
        for j in range(d):
            if j != i:
                both[j] -= both[j, i] * both[i]
    return both[:, d:]


def kare_of_features(X: np.ndarray, y: np.ndarray, ridge: float) -> float:
    """Generalised cross-validation from normal equations whose squared condition number extended precision bears."""
    n, d = X.shape
    wide = X.astype(np.longdouble)
    second = wide.T @ wide / n
    found = solved(second + ridge * np.eye(d), np.hstack([wide.T @ y[:, None] / n, second]))
    left = y - wide @ found[:, 0]
    return float((left @ left / n) / (1 - np.trace(found[:, 1:]) / n) ** 2)


LOPSIDED = {  # scales and means of four columns, and a ridge that is small beside the first eigenvalue alone
    "one large column": ([1e7, 1, 1, 1], 0.0, 1.0),
    "far from zero": ([1, 1, 1, 1], 1e6, 1e-3),
    "small columns": ([1, 1e-6, 1e-6, 1e-6], 0.0, 1e-12),
}


@pytest.mark.parametrize("name", LOPSIDED)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_condition_number_of_linear_kernels_is_not_squared(name: str, dtype: str) -> None:
    scales, mean, ridge = LOPSIDED[name]
    if dtype == "bfloat16" and mean:
        mean = 100.0
    rng = np.random.default_rng(0)
    X = rounded(rng.standard_normal((1000, 4)) * scales + mean, dtype)
    signal = (X[:, 1] - X[:, 1].mean()) / X[:, 1].std()
    y = signal + 0.1 * rng.standard_normal(1000)
    x = as_input(X, dtype)

    assert gm.kare(x, y, "linear", ridge).value[0] == pytest.approx(kare_of_features(X, y, ridge), rel=1e-7)

    for centered in (False, True):
        found = gm.spectrum(x, "linear", 4, centered=centered)
        want = np.linalg.svd(X - centered * X.mean(axis=0), compute_uv=False) ** 2 / 1000
        assert (found.k, found.rank, found.reason, found.splits_eigenspace) == (4, 4, None, False)
        assert (np.abs(found.eigenvalues - want) <= found.residuals).all()
        assert (found.residuals <= 1e-7 * found.eigenvalues).all()
        assert found.rank == gm.eigen_overlap(x, x, "linear", 4, centered=centered).overlap.shape[0]
    assert gm.task_alignment(x, signal, "linear", 4, centered=True).cumulative[-1] == pytest.approx(1, abs=1e-9)


def test_many_rows_hide_no_small_feature_of_a_linear_kernel() -> None:
    X = normals(300_000, 2) * [1, 3e-6]
    assert gm.spectrum(X, "linear", 2).rank == 2


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rounding_of_stored_features_is_no_eigenfunction(kernel: str, dtype: str) -> None:
    X = normals(2000, 5) @ normals(5, 30, seed=1)
    found = gm.spectrum(as_input(rounded(X, dtype), dtype), kernel, 20)
    assert found.rank == 5
    assert found.reason == "the kernel matrix has rank 5 up to rounding"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rounding_of_large_columns_hides_no_small_one(dtype: str) -> None:
    large, small = normals(2000, 1) * 1e6, normals(2000, 1, seed=1) * 1e-3
    X = rounded(np.hstack([large @ [[1.0, 3.1, 0.7]], small]), dtype)
    x, y = as_input(X, dtype), 1e3 * X[:, 3]

    found = gm.spectrum(x, "linear", 4)
    ones = found.eigenfunctions.T @ found.eigenfunctions / 2000

    assert found.rank == 2
    assert np.abs(ones - np.eye(2)).max() < 1e-9
    assert abs(np.corrcoef(found.eigenfunctions[:, 1], y)[0, 1]) > 0.999
    assert gm.kare(x, y, "linear", 1e-9).value[0] < 1e-3 * np.mean(y**2)
    assert gm.task_alignment(x, y, "linear", 4).cumulative[-1] > 0.99


@pytest.mark.parametrize("n", [40, 300])
def test_kare_of_few_rows_is_exact(n: int) -> None:
    X, y = task(n)
    want = [oracle.kare(oracle.gram("rbf", X, bandwidth=2.0), y, r) for r in RIDGES]
    found = gm.kare(X, y, gm.RBF(2.0), RIDGES)
    np.testing.assert_allclose(found.value, want, rtol=1e-9)
    K = oracle.gram("rbf", X, bandwidth=2.0)
    degrees = [np.trace(K @ np.linalg.inv(K + n * r * np.eye(n))) for r in RIDGES]
    np.testing.assert_allclose(found.degrees, degrees, rtol=1e-9)
    assert (found.probes, found.reason, list(found.se)) == (None, None, [0.0] * 4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kare_of_many_rows_is_within_its_standard_error(dtype: str) -> None:
    X, y = task(900)
    want = np.array([oracle.kare(oracle.gram("rbf", X, bandwidth=2.0), y, r) for r in RIDGES])

    found = [gm.kare(X.astype(dtype), y, gm.RBF(2.0), RIDGES, seed=seed) for seed in range(8)]

    z = np.array([(f.value - want) / f.se for f in found])
    assert (found[0].probes, found[0].reason) == (32, None)
    assert (found[0].se < 0.01 * want).all()
    assert np.abs(z).max() < 5
    assert 0.4 < np.sqrt((z**2).mean()) < 1.8
    assert np.array_equal(gm.kare(X.astype(dtype), y, gm.RBF(2.0), RIDGES).value, found[0].value)


def test_kare_of_a_ridge_below_rounding_is_exact_or_says_that_it_is_not() -> None:
    X, y = task(700)
    want = oracle.kare(oracle.gram("rbf", X, bandwidth=1.0), y, 1e-9)

    found = gm.kare(X, y, gm.RBF(1.0), 1e-9)  # the basis fills the space
    assert found.value[0] == pytest.approx(want, rel=1e-4)
    assert (found.probes, found.reason) == (None, None)

    found = gm.kare(X.astype(np.float32), y, gm.RBF(1.0), 1e-9)
    assert found.reason
    assert found.reason.startswith("ridge 1e-09 is below the rounding of the kernel's values, about 9")
    assert found.reason.endswith("; use a larger one, or float64")
    assert math.isnan(found.value[0])

    found = gm.kare(X.astype(np.float32), y, gm.RBF(4.0), [1e-9, 0.1])
    assert found.reason == "K/n + ridge is not positive definite at ridge 1e-09; use a larger one"
    assert np.isnan(found.value).tolist() == [True, False]
    assert found.best == 0.1


def test_kare_names_the_ridge_that_was_not_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_LARGEST_BASIS", 1)
    X, y = task(700)
    found = gm.kare(X, y, gm.RBF(0.5), [1e-5, 10.0])
    assert found.reason
    assert re.fullmatch(
        r"at ridge 1e-05 solutions leave residuals of \S+, more than 1e-06, after \d+ sweeps; use a larger one",
        found.reason,
    )


def test_kare_takes_one_target_or_many_and_one_ridge() -> None:
    X, y = task(200)
    one = [gm.kare(X, column, "rbf", 0.1) for column in y.T]
    both = gm.kare(X, y, "rbf", 0.1)
    assert both.value == pytest.approx(one[0].value + one[1].value)
    assert repr(both).startswith("Kare(")


@pytest.mark.parametrize("kind", ["npy", "npz", "bfloat16", "integers", "column"])
def test_targets_may_be_files_of_one_dimension(kind: str, tmp_path: Path) -> None:
    X, y = normals(60, 3), np.round(8 * normals(60, 1, seed=1)[:, 0])
    path = tmp_path / ("y.npz" if kind == "npz" else "y.safetensors" if kind == "bfloat16" else "y.npy")
    if kind == "npz":
        np.savez(path, y=y)
    elif kind == "bfloat16":
        torch = pytest.importorskip("torch")
        pytest.importorskip("safetensors.torch").save_file({"y": torch.from_numpy(y).bfloat16()}, path)
    else:
        np.save(path, y[:, None] if kind == "column" else y.astype(np.int64) if kind == "integers" else y)
    for named in (path, str(path)):
        assert gm.kare(X, named, "linear", 1.0).value == gm.kare(X, y, "linear", 1.0).value
        assert np.array_equal(gm.task_alignment(X, named, k=3).power, gm.task_alignment(X, y, k=3).power)


def test_file_of_targets_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "y.npy"
    np.save(path, np.ones((2, 30, 1)))
    with pytest.raises(ValueError, match=r"y\.npy: y must be 2-d \(samples by features\), got shape \(2, 30, 1\)"):
        gm.kare(normals(60, 3), path)


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_kare_follows_the_units(size: float) -> None:
    X, y = task(200)
    want, found = gm.kare(X, y, "linear", 0.1), gm.kare(X * size, y * size, "linear", 0.1 * size**2)
    assert found.value / size**2 == pytest.approx(want.value, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ridge": 0.0}, ValueError, r"^ridge must be positive and finite, got 0\.0$"),
        ({"ridge": [0.1, math.inf]}, ValueError, r"^ridge must be positive and finite, got \[0\.1, inf\]$"),
        ({"ridge": "much"}, TypeError, r"^ridge must be a number or a sequence of numbers, got str$"),
        ({"ridge": [[1.0]]}, ValueError, r"^ridge must be a number or a sequence of numbers, got shape \(1, 1\)$"),
        ({"probes": 1}, ValueError, r"^probes must be at least 2, got 1$"),
        ({"y": np.ones(9)}, ValueError, r"^X has 20 rows but y has 9; row i of both must be the same sample$"),
        ({"y": np.full(20, np.nan)}, ValueError, r"^y has NaN in row 0, column 0 \(its first bad row\)"),
    ],
)
def test_kare_refuses(options: dict[str, Any], error: type[Exception], message: str) -> None:
    X, y = task(20)
    with pytest.raises(error, match=message):
        gm.kare(**({"X": X, "y": y, "kernel": "rbf", "ridge": 0.1} | options))


def test_task_alignment_is_the_cumulative_power() -> None:
    X, y = task(400, q=1)
    for centered in (False, True):
        K = matrix_of("rbf", X, centered)
        values, phi = oracle.eigenpairs(K, 10)
        f = y - y.mean() if centered else y
        found = gm.task_alignment(X, y[:, 0], CASES["rbf"].kernel, 10, centered=centered)
        np.testing.assert_allclose(found.cumulative, oracle.cumulative_power(phi, f[:, 0]), atol=1e-9)
        assert found.total == pytest.approx((f**2).mean())
        np.testing.assert_allclose(found.weights, found.power / values, rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_null_space_of_a_kernel_holds_nothing_of_a_task(dtype: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.eye(5, dtype=dtype)[rng.integers(0, 5, 200)]
    y = rng.standard_normal(200)
    found = gm.task_alignment(labels, y, gm.RBF(1.0), 200)
    means = labels @ np.linalg.lstsq(labels, y, rcond=None)[0]
    assert found.spectrum.rank == 5
    np.testing.assert_allclose(found.cumulative[4:], (means @ means) / (y @ y), rtol=1e-6)
    assert found.learning_curve(1e9).error[0] == pytest.approx(((y - means) ** 2).mean(), rel=1e-6)

    constant = gm.task_alignment(np.ones((200, 2), dtype), y, gm.RBF(1.0), 200, centered=True)
    np.testing.assert_array_equal(constant.cumulative, 0)


def test_task_of_nothing_has_no_alignment() -> None:
    X = normals(60, 2)
    found = gm.task_alignment(X, np.full(60, 0.1), "rbf", 3, centered=True)
    assert np.isnan(found.cumulative).all()
    assert found.reason == "y is constant"
    found = gm.task_alignment(X, np.zeros(60), "rbf", 3)
    assert np.isnan(found.cumulative).all()
    assert found.reason == "y is 0"
    assert "y is 0" in repr(found)


def test_learning_curve_of_a_power_law() -> None:
    eta = np.arange(1.0, 81) ** -1.5
    power = eta * (np.random.default_rng(14).normal(size=80) * 0.7) ** 2

    found = gm.learning_curve(eta, power, [1, 40, 200], ridge=0.05, noise=0.09)

    want = [oracle.learning_curve(eta, power, p, 0.05, 0.09) for p in (1, 40, 200)]
    np.testing.assert_allclose(found.error, want, rtol=1e-10)
    assert found.error[1] == pytest.approx(0.1792, abs=5e-5)
    assert "0.1792 at 40" in repr(found)


def test_learning_curve_is_what_regression_on_random_features_costs() -> None:
    rng, p, ridge, noise = np.random.default_rng(0), 40, 0.05, 0.09
    eta = np.arange(1.0, 81) ** -1.5
    w = rng.normal(size=80) * 0.7
    errors, estimates = [], []
    for _ in range(300):
        psi = rng.normal(size=(p, 80))
        K = (psi * eta) @ psi.T
        y = psi @ (np.sqrt(eta) * w) + math.sqrt(noise) * rng.normal(size=p)
        learnt = np.sqrt(eta) * (psi.T @ np.linalg.solve(K + ridge * np.eye(p), y))
        errors.append((eta * (w - learnt) ** 2).sum())
        estimates.append(oracle.kare(K, y, ridge / p))
    found = gm.learning_curve(eta, eta * w**2, p, ridge=ridge, noise=noise).error[0]
    assert found == pytest.approx(np.mean(errors), rel=0.06)
    assert found + noise == pytest.approx(np.mean(estimates), rel=0.08)


def test_learning_curve_without_a_ridge_has_its_peak_where_samples_match_eigenvalues() -> None:
    eta = np.array([1.0, 0.5, 0.25, 0.0])
    found = gm.learning_curve(eta, [1.0, 1.0, 1.0, 0.5], [2, 3, 6, 1e6], noise=0.1)
    assert list(found.kappa[1:]) == [0, 0, 0]
    assert found.error[1] == math.inf
    assert found.error[2] == pytest.approx((0.5 + 0.1 * 0.5) / 0.5)  # γ = 3/6
    assert found.error[3] == pytest.approx(0.5, rel=1e-5)  # what has no eigenvalue is never learnt
    assert gm.learning_curve(eta[:3], [1.0, 1.0, 1.0], 3).error[0] == 0


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_learning_curve_does_not_depend_on_the_unit_of_the_kernel(size: float) -> None:
    eta, power = np.array([1.0, 0.3, 0.1]), np.array([0.5, 0.5, 0.2])
    want = gm.learning_curve(eta, power, [1, 2, 9], ridge=0.01, noise=0.1)
    found = gm.learning_curve(eta * size, power, [1, 2, 9], ridge=0.01 * size, noise=0.1)
    np.testing.assert_allclose(found.error, want.error, rtol=1e-12)


def test_learning_curve_of_a_task_counts_what_the_eigenpairs_leave_out() -> None:
    X, y = task(500, q=1)
    values, phi = oracle.eigenpairs(matrix_of("rbf", X), 500)
    power = (phi.T @ y[:, 0] / 500) ** 2
    whole = gm.learning_curve(np.maximum(values, 0), power, 30, ridge=0.1, noise=0.09).error[0]

    found = gm.task_alignment(X, y, CASES["rbf"].kernel, 40).learning_curve(30, ridge=0.1, noise=0.09).error[0]

    assert found == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, -1.0], [1.0, 1.0], 3), {}, r"^eigenvalues must be finite and not negative, got \[1\.0, -1\.0\]$"),
        (([1.0], [1.0, 1.0], 3), {}, r"^eigenvalues and power must be of one length, got shapes \(1,\) and \(2,\)$"),
        (([1.0], [1.0], 0), {}, r"^samples must be positive numbers, got 0$"),
        (([1.0], [1.0], 3), {"ridge": -1.0}, r"^ridge must be a number, 0 or more, got -1\.0$"),
        (([1.0], [1.0], 3), {"noise": math.nan}, r"^noise must be a number, 0 or more, got nan$"),
    ],
)
def test_learning_curve_refuses(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gm.learning_curve(*arguments, **options)


def test_learning_curve_refuses_what_is_not_numbers() -> None:
    with pytest.raises(TypeError, match=r"^power must be numbers, got list$"):
        gm.learning_curve([1.0], ["a"], 3)


# ---- the gate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spectrum", "eigen_overlap", "spectral_alignment", "task_alignment"])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 21}, ValueError, r"^k must be at most the number of rows, 20, got 21$"),
        ({"k": 0}, ValueError, r"^k must be at least 1, got 0$"),
        ({"k": 2.5}, TypeError, r"^k must be a whole number, got float$"),
        ({"tolerance": 0.0}, ValueError, r"^tolerance must be a number between 0 and 1, got 0\.0$"),
        ({"tolerance": "small"}, ValueError, r"^tolerance must be a number between 0 and 1, got 'small'$"),
        ({"sweeps": 0}, ValueError, r"^sweeps must be at least 1, got 0$"),
        ({"seed": -1}, ValueError, r"^seed must be at least 0, got -1$"),
        ({"kernel": "rfb"}, ValueError, r"^kernel 'rfb' is unknown; did you mean 'rbf'\? The known kernels are linear"),
        ({"memory": 0}, ValueError, r"^memory \(bytes\) must be at least 1, got 0$"),
        ({"progress": 3}, TypeError, r"^progress must be True, a function of \(done, total\) or a tqdm bar, got int$"),
    ],
)
def test_refuses(name: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    X = normals(20, 2)
    data = {"X": X} | ({"Y": X} if name in ("eigen_overlap", "spectral_alignment") else {})
    data |= {"y": X} if name == "task_alignment" else {}
    with pytest.raises(error, match=message):
        getattr(gm, name)(**data, **({"kernel": "rbf", "k": 3} | options))


def test_progress_hears_every_sweep() -> None:
    heard: list[str] = []
    found = gm.spectrum(normals(500, 3), "rbf", 3, progress=lambda done, total, phase: heard.append(phase))
    assert {f"product {k}: tiles" for k in range(1, found.sweeps + 1)} <= set(heard)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_whole_numbers_beyond_float64_keep_their_centred_spectrum(kernel):
    few = 3 * np.arange(50)[:, None]
    found, want = (gm.spectrum(X, kernel, 1, centered=True) for X in (10**17 + few, few))
    assert found.eigenvalues[0] == pytest.approx(want.eigenvalues[0], rel=1e-12)
