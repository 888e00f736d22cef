"""Stitching: identities of the theory, recovery of known maps, what is left out, and every library's arrays."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import as_input, hard_pair, rounded
from gramian.stitching import linear
from gramian.stitching.parts import Pair

Array = np.ndarray[Any, Any]

# of data with a condition number below 100: some hundred roundings, amplified by it
CLOSE = 1e-11
few = settings(max_examples=25, derandomize=True, deadline=None)
KINDS: dict[str, dict[str, Any]] = {
    "linear": {},
    "affine": {"kind": "affine"},
    "ridge": {"ridge": 0.3},
    "affine_ridge": {"kind": "affine", "ridge": 0.3},
    "gcv": {"ridge": "gcv"},
    "grid": {"ridge": [0.01, 0.1, 1.0]},
    "low_rank": {"kind": "low_rank", "rank": 2},
    "low_rank_ridge": {"kind": "low_rank", "rank": 2, "ridge": 0.1},
    "orthogonal": {"kind": "orthogonal"},
    "scaled_orthogonal": {"kind": "scaled_orthogonal"},
}


def related(n: int, p: int, q: int, seed: int = 0) -> tuple[Array, Array]:
    """Means of about 1: kinds with and without an offset differ."""
    rng = np.random.default_rng((n, p, q, seed))
    X = rng.normal(size=(n, p)) + rng.normal(size=p)
    return X, np.tanh(X @ rng.normal(size=(p, q)) / math.sqrt(p)) + 0.3 * rng.normal(size=(n, q)) + 1


def rotation(d: int, seed: int = 0) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng((d, seed)).normal(size=(d, d)))[0])


def conditioned(n: int, d: int, condition: float, seed: int = 0) -> Array:
    """Singular values from √n down to √n/condition."""
    q = np.linalg.qr(np.random.default_rng((n, d, seed)).normal(size=(n, d)))[0]
    return math.sqrt(n) * (q * np.geomspace(1, 1 / condition, d)) @ rotation(d, seed)


def centred(X: Array) -> Array:
    return X - X.mean(0)


def eigenvalues(X: Array) -> Array:
    return np.linalg.eigvalsh(X.T @ X / len(X))


def mean_square(E: Array) -> float:
    return float(np.square(E).sum() / len(E))


# ---- identities (Theory, 5.3 and 5.7) --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p", "q"), [(193, 6, 4), (50, 3, 7), (12, 4, 2)])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_misalignment_is_least_squares_and_spectral(n: int, p: int, q: int, mean: float) -> None:
    X, Y = hard_pair(n, p, q, mean=mean)
    size = mean_square(Y)
    got = gm.misalignment(X, Y)
    assert got == pytest.approx(oracle.stitching_residual(X, Y), rel=0, abs=CLOSE * size)
    assert got == pytest.approx(
        oracle.spectral_misalignment(X, Y)[1], rel=0, abs=1e-9 * size
    )  # eigenvalues are squares
    by_moments = np.trace(Y.T @ Y - Y.T @ X @ np.linalg.pinv(X.T @ X) @ X.T @ Y) / n
    assert got == pytest.approx(by_moments, rel=0, abs=1e-9 * size)


@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_affine_misalignment_is_one_minus_r2(mean: float) -> None:
    X, Y = hard_pair(300, 6, 4, mean=mean)
    found = gm.fit_stitch(X, Y, kind="affine")
    assert found.misalignment == pytest.approx(oracle.misalignment(X, Y), rel=1e-9)
    assert found.misalignment_ratio == pytest.approx(1 - gm.linear_regression_r2(X, Y), rel=1e-9)


def test_golden_values() -> None:
    x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    assert gm.misalignment(x, y) == pytest.approx(59 / 120, rel=1e-14)
    affine = gm.fit_stitch(x, y, kind="affine")
    assert affine.misalignment == pytest.approx(9 / 20, rel=1e-14)
    assert [affine.matrix, affine.offset] == [pytest.approx(0.8, rel=1e-14), pytest.approx(0.5, rel=1e-13)]
    assert gm.fit_stitch(x, y).matrix == pytest.approx(29 / 30, rel=1e-14)
    assert gm.fit_stitch(x, y, ridge=7.5).matrix == pytest.approx(29 / 60, rel=1e-14)  # Σ11 = 7.5
    # f2 = x² − 1 on ±1, ±√3...: a Gaussian's first moments by Gauss-Hermite nodes; no linear map sees it (5C)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    repeated = np.repeat(nodes, np.rint(weights / weights.min()).astype(int))[:, None]
    assert gm.misalignment(repeated, repeated**2 - 1) == pytest.approx(2, rel=1e-13)
    assert gm.misalignment(np.hstack([repeated, repeated**2 - 1]), repeated**2 - 1) < 1e-28


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
@few
def test_misalignment_does_not_see_invertible_maps_of_f1_and_scales_with_f2(seed: int, factor: float) -> None:
    X, Y = related(60, 4, 3, seed)
    want = gm.misalignment(X, Y)
    invertible = rotation(4, seed) @ np.diag([9.0, 3, 1, 0.5]) @ rotation(4, seed + 1)
    assert gm.misalignment(X @ invertible, Y) == pytest.approx(want, rel=1e-11)
    assert gm.misalignment(X, factor * Y @ rotation(3, seed)) == pytest.approx(factor**2 * want, rel=1e-11)
    assert gm.misalignment(np.hstack([X, X[:, :2] @ [[1, 2], [3, 4]]]), Y) == pytest.approx(want, rel=1e-11)


def test_kernel_alignment_bounds_misalignment_and_gives_it_for_white_f1() -> None:
    X, Y = related(500, 5, 4)
    white = np.linalg.qr(X)[0] * math.sqrt(500)
    eta1, eta2 = eigenvalues(X), eigenvalues(Y)
    total, norm = eta2.sum(), np.linalg.norm(eta2)
    at_white = total - math.sqrt(5) * norm * gm.kernel_alignment(white, Y)
    assert gm.misalignment(white, Y) == pytest.approx(at_white, rel=1e-11)
    inner = gm.kernel_alignment(X, Y) * np.linalg.norm(eta1) * norm
    assert total - inner / eta1.min() <= gm.misalignment(X, Y) <= total - inner / eta1.max()


def test_ridge_leads_from_misalignment_to_the_numerator_of_kernel_alignment() -> None:
    X, Y = related(200, 5, 4)
    total = mean_square(Y)
    for ridge in (0.01, 0.3, 5.0):
        found = gm.fit_stitch(X, Y, ridge=ridge)
        objective, residual = oracle.spectral_misalignment(X, Y, ridge)
        assert found.misalignment == pytest.approx(residual, rel=1e-9)
        assert found.misalignment == pytest.approx(oracle.stitching_residual(X, Y, ridge), rel=1e-12)
        penalty = ridge * float(np.square(found.matrix).sum())
        assert found.misalignment + penalty == pytest.approx(objective, rel=1e-9)
        assert found.df == pytest.approx(np.trace(oracle.smoother(X, ridge)), rel=1e-12)
    assert gm.fit_stitch(X, Y, ridge=1e-9).misalignment == pytest.approx(gm.misalignment(X, Y), rel=1e-9)
    large = 1e7
    found = gm.fit_stitch(X, Y, ridge=large)
    numerator = large * (total - found.misalignment - large * float(np.square(found.matrix).sum()))
    assert numerator == pytest.approx(float(np.square(X.T @ Y).sum()) / 200**2, rel=1e-5)


def test_low_rank_leaves_the_smallest_eigenvalues_of_the_explained_part() -> None:
    X, Y = related(300, 6, 5)
    explained = np.linalg.eigvalsh(Y.T @ oracle.smoother(X) @ Y / 300)[::-1]
    for rank in range(1, 6):
        found = gm.fit_stitch(X, Y, kind="low_rank", rank=rank)
        assert found.misalignment == pytest.approx(mean_square(Y) - explained[:rank].sum(), rel=1e-11)
        assert np.linalg.matrix_rank(found.matrix) == rank
    assert found.matrix == pytest.approx(gm.fit_stitch(X, Y).matrix, rel=1e-10)


@pytest.mark.parametrize("d1", [4, 2])
def test_orthogonal_maps_leave_what_procrustes_says(d1: int) -> None:
    X, Y = related(300, d1, 4)
    moments = np.linalg.svd(Y.T @ X / 300, compute_uv=False).sum()
    plain, scaled = (gm.fit_stitch(X, Y, kind=kind) for kind in ("orthogonal", "scaled_orthogonal"))
    assert plain.matrix.T @ plain.matrix == pytest.approx(np.eye(d1), abs=1e-13)
    assert plain.misalignment == pytest.approx(mean_square(X) + mean_square(Y) - 2 * moments, rel=1e-12)
    size = moments / mean_square(X)
    assert scaled.matrix.T @ scaled.matrix == pytest.approx(size**2 * np.eye(d1), abs=1e-12)
    assert scaled.misalignment == pytest.approx(mean_square(Y) - moments**2 / mean_square(X), rel=1e-12)
    assert math.isnan(plain.df)
    assert plain.reason is None


def test_orthogonal_map_is_that_of_scipy() -> None:
    from scipy.linalg import orthogonal_procrustes

    X, Y = related(300, 5, 5)
    found = gm.fit_stitch(X, Y, kind="orthogonal").matrix
    assert found == pytest.approx(orthogonal_procrustes(X, Y)[0].T, rel=0, abs=1e-13)


def test_rotation_and_scale_are_found_again() -> None:
    X = conditioned(200, 4, 10)
    Q = rotation(6)[:, :4]
    found = gm.fit_stitch(X, 3 * X @ Q.T, kind="scaled_orthogonal")
    assert found.matrix == pytest.approx(3 * Q, abs=1e-12)
    assert found.misalignment_ratio < 1e-26


@pytest.mark.parametrize("ridge", [0.05, 2.0])
@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_ridge_is_that_of_scikit_learn(kind: str, ridge: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, Y = related(150, 5, 3)
    peer = linear_model.Ridge(alpha=150 * ridge, fit_intercept=kind == "affine", solver="svd").fit(X, Y)
    found = gm.fit_stitch(X, Y, kind=kind, ridge=ridge)
    assert found.matrix == pytest.approx(peer.coef_, rel=1e-10)
    assert found(X) == pytest.approx(peer.predict(X), rel=1e-11)


@pytest.mark.parametrize("name", KINDS)
def test_reported_error_is_that_of_the_predictions(name: str) -> None:
    X, Y = related(400, 4, 5)
    found = gm.fit_stitch(X, Y, **KINDS[name])
    E = Y - found(X)
    assert found.misalignment == pytest.approx(mean_square(E), rel=1e-11)
    assert found.residual == pytest.approx(E.T @ E / 400, rel=0, abs=1e-12)
    assert np.trace(found.residual) == pytest.approx(found.misalignment, rel=1e-14)
    total = mean_square(centred(Y) if found.kind == "affine" else Y)
    assert found.misalignment_ratio == pytest.approx(found.misalignment / total, rel=1e-12)


# ---- recovery --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("condition", [1.0, 50.0, 1e3])
def test_map_is_recovered(kind: str, condition: float) -> None:
    X, S = conditioned(5000, 12, condition), rotation(12)[:7] * 2
    b = np.arange(7.0) if kind == "affine" else np.zeros(7)
    found = gm.fit_stitch(X, X @ S.T + b, kind=kind)
    assert found.matrix == pytest.approx(S, rel=0, abs=1e-10)
    assert found.offset == pytest.approx(b, rel=0, abs=1e-10)
    assert found.misalignment_ratio <= 1e-20
    assert found.reason is None


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("case", ["condition 1e8", "rank", "far mean", "graded columns"])
def test_predictions_are_recovered_where_the_map_cannot_be(kind: str, case: str) -> None:
    X, S = conditioned(3000, 10, 1e8 if case == "condition 1e8" else 5), rotation(10)[:6]
    if case == "rank":
        X[:, 3], X[:, 7] = X[:, 0] - X[:, 1], 2 * X[:, 2]
    if case == "far mean":
        X += 1e5
    if case == "graded columns":
        X *= np.geomspace(1, 1e-9, 10)
    Y = X @ S.T
    found = gm.fit_stitch(X, Y, kind=kind)
    assert found(X) == pytest.approx(Y, rel=0, abs=1e-10 * np.abs(Y).max())
    assert found.misalignment <= 1e-20 * mean_square(Y)


def test_map_of_deficient_features_is_the_least_that_fits() -> None:
    X, Y = related(300, 4, 3)
    X = np.hstack([X, 3 * X[:, :2], np.zeros((300, 1))])
    found = gm.fit_stitch(X, Y)
    assert found.matrix == pytest.approx(Y.T @ np.linalg.pinv(X).T, rel=0, abs=1e-12)
    assert found.df == 4


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rounding_of_stored_features_is_no_direction(dtype: str) -> None:
    X, Y = related(3000, 4, 3)
    X = np.hstack([X, X @ rotation(4)])
    found = gm.fit_stitch(as_input(X, dtype), Y)
    assert found.df == 4
    assert float(np.square(found.matrix).sum()) < 2 * float(np.square(gm.fit_stitch(X, Y).matrix).sum())


def test_rcond_keeps_directions_that_rounding_explains() -> None:
    X, _ = related(3000, 4, 3)
    X = np.hstack([X, X @ rotation(4)]).astype(np.float32)
    Y = X.astype(np.float64) @ rotation(8)[:, :2]
    assert gm.fit_stitch(X, Y).misalignment_ratio > 1e-20
    assert gm.fit_stitch(X, Y, rcond=0.0).misalignment_ratio < 1e-20


def test_well_conditioned_data_are_read_in_one_pass_and_others_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    for name in ("sums", "triangles"):
        plain = getattr(Pair, name)
        monkeypatch.setattr(Pair, name, lambda *a, f=plain, name=name: passes.append(name) or f(*a))

    def taken(X: Array, Y: Array, **options: Any) -> list[str]:
        passes.clear()
        gm.fit_stitch(X, Y, **options)
        return [*passes]

    X, Y = related(900, 5, 4)
    assert taken(X, Y) == taken(X, Y, kind="affine") == taken(X, Y, ridge="gcv", folds=3) == ["sums"]
    assert taken(conditioned(900, 5, 90), Y) == ["sums"]
    assert taken(conditioned(900, 5, 300), Y) == taken(X, X @ rotation(5)) == ["sums", "triangles"]
    assert taken(conditioned(900, 5, 300), Y, ridge=0.1) == ["sums"]
    assert taken(conditioned(900, 4, 300), Y, kind="orthogonal") == ["sums"]  # nothing is inverted
    assert taken(np.hstack([X, np.zeros((900, 2))]), Y) == ["sums"]  # units that are never active
    assert taken(X[:30], Y[:30]) == ["triangles"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("sizes", [(1.0, 1.0), (1e150, 1e-150), (1e-150, 1e150)])
def test_units_do_not_matter(name: str, sizes: tuple[float, float]) -> None:
    X, Y = related(200, 4, 4)
    options = dict(KINDS[name])
    if isinstance(options.get("ridge"), float | list):
        options["ridge"] = np.array(options["ridge"]) * sizes[0] ** 2
        options["ridge"] = options["ridge"].tolist()
    if name == "orthogonal":
        sizes = (sizes[0], sizes[0])
    want, found = gm.fit_stitch(X, Y, **KINDS[name]), gm.fit_stitch(X * sizes[0], Y * sizes[1], **options)
    if sizes[1] / sizes[0] < 1e300 and sizes[1] / sizes[0] > 1e-300:
        # the least of a curve is found to half of the digits
        close = 1e-7 if name == "gcv" else 1e-10
        assert found.matrix == pytest.approx(want.matrix * (sizes[1] / sizes[0]), rel=close)
    assert found.misalignment_ratio == pytest.approx(want.misalignment_ratio, rel=1e-10)
    assert found.misalignment / sizes[1] / sizes[1] == pytest.approx(want.misalignment, rel=1e-10)


# ---- finite samples (Theory, 5.8) ------------------------------------------------------------------------------------


def test_in_sample_error_is_too_small_by_the_number_of_features() -> None:
    rng = np.random.default_rng(0)
    n, d1, d2 = 60, 20, 3
    S = rng.normal(size=(d2, d1))
    inside, unbiased, fresh = [], [], []
    for _ in range(400):
        X, new = rng.normal(size=(2, n, d1))
        found = gm.fit_stitch(X, X @ S.T + rng.normal(size=(n, d2)))
        inside.append(found.misalignment / d2)
        unbiased.append(found.unbiased / d2)
        fresh.append(mean_square(new @ S.T + rng.normal(size=(n, d2)) - found(new)) / d2)
    # standard errors of the means are 0.004, 0.006 and 0.012
    assert np.mean(inside) == pytest.approx(1 - d1 / n, abs=0.015)
    assert np.mean(unbiased) == pytest.approx(1, abs=0.025)
    assert np.mean(fresh) == pytest.approx(1 + d1 / (n - d1 - 1), abs=0.05)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_leave_one_out_is_that_of_refits(kind: str, ridge: float) -> None:
    X, Y = hard_pair(60, 5, 3)
    X = X[:, [0, 2, 3, 4]]
    found = gm.fit_stitch(X, Y, kind=kind, ridge=ridge, loo=True)
    assert found.loo == pytest.approx(oracle.left_out_error(X, Y, 60 * ridge, kind == "affine"), rel=1e-10)
    h = oracle.smoother(X, ridge) if kind == "linear" else oracle.hat_matrix(X, ridge) + 1 / 60
    assert found.df == pytest.approx(np.trace(h), rel=1e-11)
    assert found.gcv == pytest.approx(found.misalignment / (1 - np.trace(h) / 60) ** 2, rel=1e-10)
    assert found.unbiased == pytest.approx(found.misalignment * 60 / (60 - np.trace(h)), rel=1e-10)


def test_gcv_is_the_kernel_alignment_risk_estimate() -> None:
    X, Y = related(150, 5, 3)
    for ridge in (0.01, 1.0):
        assert gm.fit_stitch(X, Y, ridge=ridge).gcv == pytest.approx(gm.kare(X, Y, "linear", ridge).value[0], rel=1e-10)


@pytest.mark.parametrize("name", ["linear", "affine", "affine_ridge", "low_rank", "orthogonal", "scaled_orthogonal"])
@pytest.mark.parametrize("n", [400, 21])
def test_folds_are_those_of_refits(name: str, n: int) -> None:
    X, Y = related(n, 4, 5)
    found = gm.fit_stitch(X, Y, folds=5, seed=3, **KINDS[name])
    part_of = linear._labels(n, 5, 3)
    assert sorted(np.bincount(part_of)) == sorted([n // 5] * (5 - n % 5) + [n // 5 + 1] * (n % 5))
    left = 0.0
    for k in range(5):
        out = part_of == k
        left += mean_square(Y[out] - gm.fit_stitch(X[~out], Y[~out], **KINDS[name])(X[out])) * out.sum()
    assert found.cv == pytest.approx(left / n, rel=1e-10)
    assert found.misalignment == pytest.approx(gm.fit_stitch(X, Y, **KINDS[name]).misalignment, rel=1e-11)


def test_folds_keep_digits_of_ill_conditioned_features() -> None:
    X = conditioned(900, 6, 1e7)
    X += 100
    S = rotation(6)[:3]
    assert gm.fit_stitch(X, X @ S.T, folds=4).cv < 1e-18 * mean_square(X)
    assert gm.fit_stitch(X, X @ S.T, kind="affine", folds=4).cv < 1e-18 * mean_square(X)


def test_fold_seed_and_sorted_rows() -> None:
    X, Y = related(200, 4, 3)
    first, same, other = (gm.fit_stitch(X, Y, folds=4, seed=seed).cv for seed in (1, 1, 2))
    assert first == same != other
    order = np.argsort(X[:, 0])
    assert gm.fit_stitch(X[order], Y[order], folds=4).cv == pytest.approx(first, rel=0.1)


def test_ridge_is_chosen_by_gcv() -> None:
    X, Y = related(60, 20, 2)
    grid = np.geomspace(1e-4, 1e2, 200)
    scores = np.array([gm.fit_stitch(X, Y, ridge=float(r)).gcv for r in grid])
    found = gm.fit_stitch(X, Y, ridge="gcv")
    assert found.gcv <= scores.min() * (1 + 1e-6)
    assert found.ridge == pytest.approx(grid[scores.argmin()], rel=0.1)
    listed = gm.fit_stitch(X, Y, ridge=grid.tolist())
    assert listed.scores == pytest.approx(scores, rel=1e-9)
    assert listed.ridge == grid[scores.argmin()]
    assert listed.ridges == pytest.approx(grid)


def test_gcv_takes_no_ridge_where_there_is_no_noise_and_a_large_one_where_there_is_nothing_else() -> None:
    X, _ = related(100, 5, 3)
    assert gm.fit_stitch(X, X @ rotation(5), ridge="gcv").ridge == 0
    noise = np.random.default_rng(0).normal(size=(100, 3))
    found = gm.fit_stitch(X, noise, ridge="gcv")
    assert found.ridge > 0.1 * eigenvalues(X).max()
    assert found.misalignment_ratio > 0.9


def test_ridge_is_chosen_by_folds() -> None:
    X, Y = related(60, 20, 2)
    grid = [0.0, 0.01, 0.1, 1.0, 10.0]
    scores = [gm.fit_stitch(X, Y, ridge=r, folds=6, seed=5).cv for r in grid]
    found = gm.fit_stitch(X, Y, ridge=grid, folds=6, seed=5)
    assert found.scores == pytest.approx(scores, rel=1e-9)
    assert found.ridge == grid[int(np.argmin(scores))]
    assert found.cv == pytest.approx(min(scores), rel=1e-9)
    assert gm.fit_stitch(X, Y, ridge=0.1, folds=6).scores is None


# ---- no value --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "d1"), [("linear", 12), ("linear", 30), ("affine", 11)])
def test_as_many_features_as_rows_fit_anything(kind: str, d1: int) -> None:
    X, Y = related(12, d1, 3)
    found = gm.fit_stitch(X, Y, kind=kind)
    assert found.misalignment_ratio < 1e-25
    assert math.isnan(found.unbiased)
    assert math.isnan(found.gcv)
    assert found.reason == (
        "12 parameters for each output fit 12 rows perfectly, whatever they hold: take more rows, a ridge, or folds"
    )
    assert found.reason in repr(found)
    assert gm.fit_stitch(X, Y, kind=kind, ridge=0.1).reason is None


@pytest.mark.parametrize("name", KINDS)
def test_features_without_variation(name: str) -> None:
    X, Y = related(50, 3, 3)
    affine = name.startswith("affine")
    nothing = np.full((50, 3), 0.1 if affine else 0.0)
    from_nothing = gm.fit_stitch(nothing, Y, **KINDS[name])
    if name != "orthogonal":
        assert not from_nothing.matrix.any()
        assert from_nothing.misalignment_ratio == pytest.approx(1, rel=1e-12)
    to_nothing = gm.fit_stitch(X, nothing, **KINDS[name])
    assert math.isnan(to_nothing.misalignment_ratio)
    assert to_nothing.reason == ("F2 is constant" if affine else "F2 is 0")
    if name != "orthogonal":
        assert to_nothing(X) == pytest.approx(nothing, abs=1e-15)


def test_row_that_alone_shows_a_direction_has_no_leave_one_out() -> None:
    X, Y = related(50, 3, 2)
    X = np.hstack([X, np.eye(50)[:, 17:18]])
    found = gm.fit_stitch(X, Y, loo=True)
    assert math.isnan(found.loo)
    assert found.reason == "without row 17 there is no telling some direction of F1, so loo is undefined"


# ---- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_merged_moments_give_the_same_map(name: str) -> None:
    X, Y = related(500, 4, 5)
    batches = [gm.feature_moments(x, y) for x, y in zip(np.array_split(X, 3), np.array_split(Y, 3), strict=True)]
    want, found = gm.fit_stitch(X, Y, **KINDS[name]), gm.fit_stitch(batches[0] + batches[1] + batches[2], **KINDS[name])
    # the least of a curve is found to half of the digits
    close = 1e-5 if name == "gcv" else 1e-10
    assert found.matrix == pytest.approx(want.matrix, rel=0, abs=close)
    assert found.offset == pytest.approx(want.offset, rel=0, abs=close)
    assert found.misalignment == pytest.approx(want.misalignment, rel=close)
    assert found.residual == pytest.approx(want.residual, rel=0, abs=close)
    assert found.reason is None


@pytest.mark.parametrize("condition", [1e3, 1e8])
@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_misalignment_of_moments_that_lost_its_digits_is_nan_with_a_reason(kind: str, condition: float) -> None:
    X = conditioned(500, 6, condition)
    found = gm.fit_stitch(gm.feature_moments(X, X @ rotation(6)), kind=kind)
    assert found.reason == (
        "F1 is ill-conditioned or next to nothing of F2 is left, and moments have half of the digits: "
        "give arrays for all"
    )
    assert np.isnan([found.misalignment, found.misalignment_ratio, found.unbiased, found.gcv]).all()
    assert np.isnan(found.residual).all()


# ---- a function on arrays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_predictions_have_the_dtype_of_the_rows(dtype: str) -> None:
    X, Y = related(5000, 4, 3)
    stitch = gm.fit_stitch(X, Y, kind="affine")
    rows = X.astype(dtype)
    found = stitch(rows)
    assert found.dtype == dtype
    want = (rows.astype(np.float64) @ stitch.matrix.T + stitch.offset).astype(dtype)
    assert np.abs(found - want).max() <= np.finfo(dtype).eps * np.abs(want).max()
    assert stitch(np.arange(8).reshape(2, 4)).dtype == "float64"


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_torch_rows_give_torch_predictions(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    X, Y = related(50, 4, 3)
    stitch = gm.fit_stitch(X, Y, kind="affine")
    rows = torch.from_numpy(X).to(getattr(torch, dtype)).requires_grad_()
    found = stitch(rows)
    assert found.dtype is rows.dtype
    found.double().sum().backward()
    want = (rows.detach().double() @ torch.from_numpy(stitch.matrix).T + torch.from_numpy(stitch.offset)).to(rows.dtype)
    assert torch.equal(found.detach(), want)
    assert rows.grad.double()[7].numpy() == pytest.approx(stitch.matrix.sum(0), rel=float(torch.finfo(rows.dtype).eps))


def test_cupy_rows_give_cupy_predictions() -> None:
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    X, Y = related(50, 4, 3)
    stitch = gm.fit_stitch(X, Y, kind="affine")
    found = stitch(cupy.asarray(X.astype(np.float32)))
    assert isinstance(found, cupy.ndarray)
    assert found.dtype == "float32"
    assert cupy.asnumpy(found) == pytest.approx(stitch(X.astype(np.float32)), rel=1e-6)
    assert cupy.asnumpy(stitch(cupy.arange(8).reshape(2, 4))) == pytest.approx(stitch(np.arange(8).reshape(2, 4)))


@pytest.mark.cuda
def test_torch_rows_on_a_device_stay_there() -> None:
    torch = pytest.importorskip("torch")
    X, Y = related(500, 4, 3)
    rows = torch.from_numpy(X).cuda()
    stitch = gm.fit_stitch(rows, torch.from_numpy(Y).cuda(), kind="affine")
    assert np.array_equal(stitch.matrix, gm.fit_stitch(X, Y, kind="affine").matrix)
    assert stitch(rows).device == rows.device
    assert stitch(rows).cpu().numpy() == pytest.approx(stitch(X), rel=1e-13)


@pytest.mark.parametrize("kind", ["linear", "affine", "low_rank"])
def test_module_predicts_what_the_stitch_does(kind: str) -> None:
    torch = pytest.importorskip("torch")
    X, Y = related(50, 4, 3)
    stitch = gm.fit_stitch(X, Y, kind=kind, rank=2 if kind == "low_rank" else None)
    module = stitch.to_torch()
    with torch.no_grad():
        found = module(torch.from_numpy(X)).numpy()
    assert found == pytest.approx(stitch(X), rel=1e-14)
    assert mean_square(Y - found) == pytest.approx(stitch.misalignment, rel=1e-12)
    assert (module.bias is None) == (kind != "affine")
    assert stitch.to_torch(torch.float32).weight.dtype is torch.float32
    assert gm.lipschitz.upper(module) == pytest.approx(np.linalg.norm(stitch.matrix, 2), rel=1e-9)


def test_files_are_fitted_and_mapped(tmp_path: Path) -> None:
    X, Y = related(300, 4, 3)
    np.save(tmp_path / "f1.npy", X.astype(np.float32))
    np.save(tmp_path / "f2.npy", Y)
    found = gm.fit_stitch(tmp_path / "f1.npy", str(tmp_path / "f2.npy"))
    want = gm.fit_stitch(X.astype(np.float32), Y)
    assert np.array_equal(found.matrix, want.matrix)
    assert np.array_equal(found(tmp_path / "f1.npy"), want(X.astype(np.float32)))


@given(seed=st.integers(0, 1000), kind=st.sampled_from(["linear", "affine", "scaled_orthogonal"]))
@few
def test_order_of_rows_and_of_features_does_not_matter(seed: int, kind: Any) -> None:
    X, Y = related(97, 4, 5, seed)
    rows, columns = (np.random.default_rng(seed).permutation(m) for m in (97, 4))
    want, found = gm.fit_stitch(X, Y, kind=kind), gm.fit_stitch(X[rows][:, columns], Y[rows], kind=kind)
    assert found.matrix == pytest.approx(want.matrix[:, columns], rel=0, abs=1e-12)
    assert found.misalignment == pytest.approx(want.misalignment, rel=1e-11)


@pytest.mark.parametrize("name", KINDS)
def test_same_rows_give_the_same_bits(name: str) -> None:
    X, Y = related(3000, 4, 5)
    first, second = (gm.fit_stitch(X, Y, folds=3, **KINDS[name]) for _ in range(2))
    assert np.array_equal(first.matrix, second.matrix)
    assert first.cv == second.cv


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize(("n", "p", "q"), [(2000, 6, 4), (193, 6, 4), (2, 3, 2)])
def test_hard_data_are_fitted_as_well_as_by_lapack(kind: Any, n: int, p: int, q: int) -> None:
    X, Y = hard_pair(n, p, q, mean=1000.0)
    found = gm.fit_stitch(X, Y, kind=kind)
    design = np.hstack([X, np.ones((n, 1))]) if kind == "affine" else X
    left = Y - design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    assert found.residual == pytest.approx(left.T @ left / n, rel=0, abs=1e-11 * mean_square(centred(Y)) + 1e-18)
    assert mean_square(Y - found(X)) == pytest.approx(mean_square(left), rel=1e-9, abs=1e-18)


def test_strided_and_read_only_rows_give_the_same() -> None:
    X, Y = related(300, 4, 3)
    want = gm.fit_stitch(X, Y).matrix
    wide = np.zeros((600, 8))
    wide[::2, ::2] = X
    wide.setflags(write=False)
    assert np.array_equal(gm.fit_stitch(wide[::2, ::2], np.asfortranarray(Y)).matrix, want)


def test_values_for_json() -> None:
    found = gm.fit_stitch(*related(50, 4, 3), kind="affine")
    assert json.loads(json.dumps(found.to_dict()))["kind"] == "affine"
    assert repr(found).startswith("Stitch(affine, 4 → 3, misalignment = ")


def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    shape, peaks = (32, 24), []
    for n in (20_000, 80_000):
        for name, d in zip(("f1.npy", "f2.npy"), shape, strict=True):
            file = np.lib.format.open_memmap(tmp_path / name, mode="w+", dtype=np.float32, shape=(n, d))
            file[:] = np.random.default_rng(d).standard_normal((n, d), dtype=np.float32)
            del file
        tracemalloc.start()
        gm.fit_stitch(tmp_path / "f1.npy", tmp_path / "f2.npy", loo=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (20 << 20)


def test_progress_is_told() -> None:
    seen: list[str] = []
    gm.fit_stitch(*related(200, 4, 3), loo=True, progress=lambda done, total, phase: seen.append(phase))
    assert list(dict.fromkeys(seen)) == ["sums", "solving", "leaving rows out", ""]


# ---- the gate --------------------------------------------------------------------------------------------------------


X5, Y3 = related(20, 5, 3)
MOMENTS = gm.feature_moments(X5, Y3)
TURN = {"kind": "orthogonal"}
REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ((X5,), {}, TypeError, "fit_stitch needs F1 and F2, or FeatureMoments of both in place of F1; F2 is missing"),
    ((X5, Y3[:9]), {}, ValueError, "F1 has 20 rows but F2 has 9; row i of both must be the same sample"),
    ((X5[:1], Y3[:1]), {}, ValueError, "fit_stitch needs at least 2 rows but got 1"),
    ((X5[:4], Y3[:4]), {"folds": 5}, ValueError, "fit_stitch with 5 folds needs at least 5 rows but got 4"),
    ((X5 * np.nan, Y3), {}, ValueError, "F1 has NaN in row 0, column 0"),
    ((X5, [1]), {}, ValueError, "F2 must be 2-d (samples by features), got shape (1,)"),
    ((MOMENTS, Y3), {}, ValueError, "takes FeatureMoments alone, they hold both arrays; leave F2 out"),
    ((gm.feature_moments(X5),), {}, ValueError, "fit_stitch needs two arrays; these moments hold one alone"),
    ((MOMENTS,), {"loo": True}, ValueError, "loo needs the rows, which FeatureMoments do not have; give arrays"),
    ((MOMENTS,), {"folds": 2}, ValueError, "folds needs the rows, which FeatureMoments do not have; give arrays"),
    ((X5, Y3), {"kind": "quadratic"}, ValueError, "kind must be one of 'linear', 'affine', 'orthogonal', "),
    (
        (X5, Y3),
        TURN,
        ValueError,
        "needs at least as many features in F2 as in F1, got 3 and 5: a matrix of shape (3, 5)",
    ),
    ((X5, Y3), TURN, ValueError, "reduce F1 to 3 features, or use kind 'low_rank' or 'linear'"),
    ((Y3, X5), TURN | {"ridge": 0.1}, ValueError, "ridge has no meaning for kind 'orthogonal', whose maps have a "),
    (
        (Y3, X5),
        TURN | {"loo": True},
        ValueError,
        "loo is for kinds 'linear' and 'affine', got 'orthogonal'; folds are ",
    ),
    ((X5, Y3), {"kind": "low_rank"}, ValueError, "rank is needed for kind 'low_rank': the most that S may have"),
    (
        (X5, Y3),
        {"rank": 2},
        ValueError,
        "rank belongs to kinds 'low_rank' and 'kernel_ridge' (its landmarks), got kind 'linear'",
    ),
    ((X5, Y3), {"kind": "low_rank", "rank": 4}, ValueError, "rank must be at most 3, the smaller number of features"),
    ((X5, Y3), {"kind": "low_rank", "rank": 1.5}, TypeError, "rank must be a whole number, got float"),
    ((X5, Y3), {"kernel": "rbf"}, ValueError, "kernel belongs to kind 'kernel_ridge', got kind 'linear'"),
    ((X5, Y3), {"ridge": -1}, ValueError, "ridge must be finite and at least 0, got -1"),
    ((X5, Y3), {"ridge": [0.1, math.inf]}, ValueError, "ridge must be finite and at least 0, got inf"),
    ((X5, Y3), {"ridge": []}, ValueError, "ridge must have at least one number"),
    ((X5, Y3), {"ridge": {0.1}}, TypeError, "ridge must be a number, 'gcv' or a sequence of numbers, got set"),
    ((X5, Y3), {"ridge": True}, TypeError, "ridge must be a number, 'gcv' or a sequence of numbers, got bool"),
    ((X5, Y3), {"ridge": "cv"}, ValueError, "ridge, where it is a word, must be one of 'gcv', got 'cv'"),
    ((X5, Y3), {"rcond": 1.0}, ValueError, "rcond must be at least 0 and below 1, got 1.0"),
    ((X5, Y3), {"rcond": "x"}, TypeError, "rcond must be a number, got str"),
    ((X5, Y3), {"loo": 1}, TypeError, "loo must be True or False, got int"),
    ((X5, Y3), {"folds": 1}, ValueError, "folds must be at least 2, got 1"),
    ((X5, Y3), {"folds": 1001}, ValueError, "folds must be at most 1000, got 1001; loo leaves each row out in turn"),
    ((X5, Y3), {"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ((X5, Y3), {"folds": 3, "memory": 100}, ValueError, "moments of 3 x 8 features take 1536 bytes, but memory is 100"),
    ((X5, Y3), {"progress": 3}, TypeError, "progress must be True, a function of (done, total) or a tqdm bar, got int"),
]


@pytest.mark.parametrize(("data", "options", "kind", "text"), REFUSED, ids=[text[:60] for *_, text in REFUSED])
def test_what_is_refused(data: Any, options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        gm.fit_stitch(*data, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_rows_of_another_model_are_refused(library: str) -> None:
    stitch = gm.fit_stitch(X5, Y3)
    rows = Y3 if library == "numpy" else pytest.importorskip("torch").from_numpy(Y3)
    with pytest.raises(
        ValueError, match=r"F must have shape \(n, 5\), as the features that were stitched, got \(20, 3\)"
    ):
        stitch(rows)


def test_a_feature_that_is_constant_in_all_parts_but_one_predicts_nothing() -> None:
    rng = np.random.default_rng(9)
    X, Y = rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    X[:, 3] = 0
    X[7, 3] = 1

    cv = gm.fit_stitch(X, Y, kind="affine", folds=5).cv

    assert cv == pytest.approx(gm.fit_stitch(X[:, :3], Y, kind="affine", folds=5).cv, rel=0.02)


# ---- features as networks have them ----------------------------------------------------------------------------------


def rectified(dtype: str) -> tuple[Array, Array, Any, Any]:
    """600 rows of 64 units with a shared factor, one of which never fires; as float64 and as a caller holds them."""
    rng = np.random.default_rng(0)
    shared = np.maximum(0, rng.standard_normal((600, 1))) * rng.uniform(0, 8, 64)
    X = np.maximum(0, rng.standard_normal((600, 64)) + 0.5) * rng.uniform(0.5, 2, 64) + shared
    X[:, 20] = 0
    Y = X @ rng.standard_normal((64, 8)) + 0.1 * rng.standard_normal((600, 8))
    X, Y = rounded(X, dtype), rounded(Y, dtype)
    return X, Y, as_input(X, dtype), as_input(Y, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("options", [{}, {"folds": 3}, {"ridge": "gcv"}, {"loo": True}], ids=str)
def test_a_unit_that_never_fires_takes_no_part(options: dict[str, Any], kind: Any, dtype: str) -> None:
    X, Y, x, y = rectified(dtype)
    want, found = (gm.fit_stitch(*data, kind=kind, **options) for data in ((X, Y), (x, y)))
    assert found.misalignment == pytest.approx(want.misalignment, rel=1e-6)
    np.testing.assert_allclose([found.cv, found.loo], [want.cv, want.loo], rtol=1e-6)
    assert not found.matrix[:, 20].any()
    assert gm.misalignment(x, y) == pytest.approx(gm.misalignment(X, Y), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_wide_maps_with_dead_pixels_are_predicted_as_by_the_least_of_all_that_fit(kind: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    images = np.maximum(0, rng.standard_normal((99, 20)) @ rng.standard_normal((20, 256)) - 3)
    images[:, :32] = 0
    X, Y = rounded(images, dtype), rounded(np.tanh(images @ rng.standard_normal((256, 4)) / 16), dtype)
    found = gm.fit_stitch(as_input(X, dtype), as_input(Y, dtype), kind=kind, folds=3)
    labels, total = linear._labels(99, 3, 0), 0.0
    for k in range(3):
        rows = labels != k
        centre = (X[rows].mean(0), Y[rows].mean(0)) if kind == "affine" else (0.0, 0.0)
        least = np.linalg.pinv(X[rows] - centre[0]) @ (Y[rows] - centre[1])
        total += ((Y[~rows] - centre[1] - (X[~rows] - centre[0]) @ least) ** 2).sum() / 99
    assert found.misalignment_ratio < 1e-20
    assert found.cv == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_centred_features_of_rank_n_minus_one_fit_anything_and_say_so(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((40, 39)), rng.standard_normal((40, 5))
    X, Y = (X - X.mean(0)).astype(dtype), (Y - Y.mean(0)).astype(dtype)
    said = (
        "F1 has rank 39 = n − 1 after centring, so it fits anything perfectly, related or not; take more rows than "
        "features, or a ridge"
    )
    perfect, chosen = gm.fit_stitch(X, Y), gm.fit_stitch(X, Y, ridge="gcv", loo=True)
    affine = gm.fit_stitch(X, Y, kind="affine", ridge=chosen.ridge, loo=True)
    assert (perfect.reason, chosen.reason) == (said, said)
    assert math.isnan(perfect.gcv)
    assert math.isnan(perfect.unbiased)
    # unrelated: a large ridge leaves nearly all, and counts the mean as an affine map does
    assert chosen.gcv > 0.9 * (Y**2).sum() / 40
    np.testing.assert_allclose([chosen.gcv, chosen.loo], [affine.gcv, affine.loo], rtol=1e-6)


def zero_rows(count: int, mean: float) -> tuple[Array, Array]:
    """200 rows at a mean, the first ones 0."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 5))
    Y = np.tanh(X) + 0.5 * rng.standard_normal((200, 5)) + mean
    X += mean
    X[:count], Y[:count] = 0, 0
    return X, Y


@pytest.mark.parametrize(("count", "mean"), [(1, 1e6), (64, 1e7), (64, 1e8)])
def test_misalignment_of_moments_without_digits_is_nan_with_a_reason(count: int, mean: float) -> None:
    moments = gm.feature_moments(*zero_rows(count, mean))
    with pytest.warns(gm.UndefinedWarning, match=r"^misalignment is nan: F1 is ill-conditioned or next to nothing"):
        assert math.isnan(gm.misalignment(moments))
    assert "moments have half of the digits" in str(gm.fit_stitch(moments).reason)


def test_misalignment_of_moments_with_digits_is_a_number() -> None:
    X, Y = zero_rows(1, 1e3)
    duplicated, dead = np.hstack([X, X[:, :2]]), np.hstack([X, np.zeros((200, 1))])
    want = gm.misalignment(X, Y)
    for features in (X, duplicated, dead):
        assert gm.misalignment(gm.feature_moments(features, Y)) == pytest.approx(want, rel=1e-4)
