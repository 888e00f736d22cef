"""Measures of feature moments: against n×n formulas, closed forms, other libraries, and what papers promise."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from hypothesis import given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import as_input, hard_pair, rounded
from gramian.measures.condensed import condense
from gramian.sweeps import moments
from gramian.sweeps.centred import stored_roundings

Array = np.ndarray[Any, Any]

# of data with a condition number below 100: some hundred roundings, amplified by it
CLOSE = {"rel": 0, "abs": 1e-11}
# FeatureMoments are squares: the condition number is squared too, and small distances lose half of the digits
FROM_MOMENTS = {"rel": 0, "abs": 1e-9}
few = settings(max_examples=25, derandomize=True, deadline=None)

MEASURES: dict[str, Any] = {
    "cca": gm.cca,
    "cca_ridge": lambda *data: gm.cca(*data, ridge=(0.3, 0.01)),
    "svcca": lambda *data: gm.svcca(*data, variance=0.9),
    "svcca_components": lambda *data: gm.svcca(*data, components=3, standardize=True),
    "pwcca": gm.pwcca,
    "linear_regression_r2": gm.linear_regression_r2,
    "linear_regression_r2_ridge": lambda *data: gm.linear_regression_r2(*data, ridge=0.2),
    "coco": gm.coco,
    "nocco": gm.nocco,
    "nocco_ridge": lambda *data: gm.nocco(*data, ridge=0.1),
    "procrustes": gm.procrustes,
    "procrustes_raw": lambda *data: gm.procrustes(*data, normalize=False),
    "shape_distance": gm.shape_distance,
    "shape_distance_half": lambda *data: gm.shape_distance(*data, alpha=0.5),
    "shape_distance_white": lambda *data: gm.shape_distance(*data, alpha=0.0),
    "bipartite_matching": lambda *data: gm.bipartite_matching(*data).score,
    "semi_matching": lambda *data: gm.semi_matching(*data, signed=True).score,
}
SYMMETRIC = [name for name in MEASURES if not name.startswith(("pwcca", "linear", "semi", "cca_ridge"))]


def mean_of_largest(correlations: Array, k: int) -> float:
    return float(correlations[:k].mean())


def svcca_by_oracle(X: Array, Y: Array, kx: int, ky: int, standardize: bool = False) -> float:
    parts = [oracle.principal_components(Z, k, standardize) for Z, k in ((X, kx), (Y, ky))]
    return mean_of_largest(oracle.canonical_correlations(*parts), min(kx, ky))


def varying(X: Array) -> Array:
    return X[:, X.std(0) > 0]


ORACLE: dict[str, Any] = {
    "cca": lambda X, Y: mean_of_largest(oracle.canonical_correlations(X, Y), min(varying(X).shape[1], Y.shape[1])),
    "cca_ridge": lambda X, Y: mean_of_largest(
        oracle.canonical_correlations(X, Y, (0.3, 0.01)), min(varying(X).shape[1], Y.shape[1])
    ),
    "svcca": lambda X, Y: svcca_by_oracle(X, Y, oracle.components_for(X, 0.9), oracle.components_for(Y, 0.9)),
    "svcca_components": lambda X, Y: svcca_by_oracle(
        varying(X), Y, min(3, varying(X).shape[1]), min(3, Y.shape[1]), True
    ),
    "pwcca": oracle.pwcca,
    "linear_regression_r2": oracle.linear_regression_r2,
    "linear_regression_r2_ridge": lambda X, Y: oracle.linear_regression_r2(X, Y, 0.2),
    "coco": oracle.coco,
    "nocco": lambda X, Y: float(np.trace(oracle.hat_matrix(X) @ oracle.hat_matrix(Y))),
    "nocco_ridge": lambda X, Y: float(np.trace(oracle.hat_matrix(X, 0.1) @ oracle.hat_matrix(Y, 0.1))),
    "procrustes": oracle.procrustes,
    "procrustes_raw": lambda X, Y: oracle.procrustes(X, Y, normalize=False),
    "shape_distance": lambda X, Y: oracle.shape_distance(X, Y, 1.0),
    "shape_distance_half": lambda X, Y: oracle.shape_distance(X, Y, 0.5),
    "shape_distance_white": lambda X, Y: oracle.shape_distance(X, Y, 0.0),
    "bipartite_matching": lambda X, Y: oracle.best_assignment(np.abs(oracle.unit_correlations(varying(X), varying(Y)))),
    "semi_matching": lambda X, Y: float(oracle.unit_correlations(varying(X), varying(Y)).max(1).mean()),
}


def size_of(name: str, X: Array, Y: Array) -> float:
    """What an error is a part of, for measures that have units."""
    sizes = [np.linalg.norm(Z - Z.mean(0)) for Z in (X, Y)]
    if name == "procrustes_raw":
        return float(sizes[0] ** 2 + sizes[1] ** 2)
    return float(sizes[0] * sizes[1]) / len(X) if name == "coco" else 1.0


def related(n: int, p: int, q: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng((n, p, q, seed))
    X = rng.normal(size=(n, p))
    return X, np.tanh(X @ rng.normal(size=(p, q)) / math.sqrt(p)) + 0.3 * rng.normal(size=(n, q))


def rotation(d: int, seed: int = 0) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng((d, seed)).normal(size=(d, d)))[0])


def invertible(d: int, seed: int = 0) -> Array:
    """Condition number 9."""
    return rotation(d, seed) @ np.diag(np.linspace(1, 9, d)) @ rotation(d, seed + 1)


def merged(X: Array, Y: Array, parts: int = 4) -> gm.FeatureMoments:
    batches = zip(np.array_split(X, parts), np.array_split(Y, parts), strict=True)
    found = [gm.feature_moments(x, y) for x, y in batches]
    return sum(found[1:], found[0])


# ---- against the oracle ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(("n", "p", "q"), [(193, 6, 4), (50, 3, 7), (12, 4, 2)])
def test_measure_is_that_of_the_oracle(name: str, n: int, p: int, q: int) -> None:
    X, Y = hard_pair(n, p, q, mean=100.0)
    want = ORACLE[name](X, Y)
    assert MEASURES[name](X, Y) == pytest.approx(want, rel=0, abs=1e-11 * size_of(name, X, Y))


@pytest.mark.parametrize("name", MEASURES)
def test_moments_merged_from_batches_give_the_same_measure(name: str) -> None:
    X, Y = hard_pair(500, 6, 4)
    got, want = MEASURES[name](merged(X, Y)), MEASURES[name](X, Y)
    assert got == pytest.approx(want, rel=0, abs=1e-9 * size_of(name, X, Y))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_narrow_data_are_measured_as_the_values_they_hold(name: str, dtype: str) -> None:
    X, Y = hard_pair(200, 5, 4, dtype=dtype)
    want = MEASURES[name](X, Y)
    got = MEASURES[name](as_input(X, dtype), as_input(Y, dtype))
    assert got == pytest.approx(want, rel=0, abs=1e-12 * size_of(name, X, Y))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("power", [-150, 150])
def test_size_of_the_features_costs_no_digits(name: str, power: int) -> None:
    if name in ("cca_ridge", "linear_regression_r2_ridge", "nocco_ridge", "shape_distance_half"):
        pytest.skip("has the units of the features")
    X, Y = related(100, 5, 4)
    scale = {"procrustes_raw": 2, "coco": 2}.get(name, 0)
    scaled = MEASURES[name](X * 2.0 ** (3 * power), Y * 2.0 ** (3 * power))
    assert math.ldexp(scaled, -3 * power * scale) == MEASURES[name](X, Y)


def test_a_ridge_counts_in_units_of_the_variance() -> None:
    X, Y = related(100, 5, 4)
    for f in (gm.cca, gm.nocco):
        want = f(X, Y, ridge=(0.5, 2.0))
        assert f(X * 1e100, Y * 1e-120, ridge=(0.5e200, 2e-240)) == pytest.approx(want, **CLOSE)
    want = gm.linear_regression_r2(X, Y, ridge=0.5)
    assert gm.linear_regression_r2(X * 1e100, Y, ridge=0.5e200) == pytest.approx(want, **CLOSE)


def test_a_ridge_on_standardized_features_has_no_units() -> None:
    X, Y = related(100, 5, 4)
    found = [gm.canonical_correlations(scale * X, Y, standardize=True, ridge=0.3).mean for scale in (1, 1e100)]
    assert found[1] == pytest.approx(found[0], **CLOSE)


def test_white_features_do_not_count_beside_huge_ones() -> None:
    X, Y = related(100, 5, 4)
    X, Y = X / np.abs(X).max(), Y / np.abs(Y).max()
    want = gm.shape_distance(X, Y)
    assert gm.shape_distance(1e300 * X, 1e300 * Y, alpha=0.5) == pytest.approx(want, **CLOSE)


def test_rows_are_not_held_at_once() -> None:
    X, Y = np.random.default_rng(0).normal(size=(2, 300_000, 8)).astype(np.float32)
    tracemalloc.start()
    gm.cca(X, Y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36e6  # in float64 the rows are 38 MB, and LAPACK works on a copy


def test_blocks_of_rows_add_up_to_the_whole() -> None:
    X, Y = related(3000, 40, 30)  # eleven times as many rows as fit beside the triangle
    want = np.linalg.svd(np.linalg.qr(X - X.mean(0))[0].T @ np.linalg.qr(Y - Y.mean(0))[0], compute_uv=False)
    assert len(condense(X, Y, "test", None).x) == 70
    np.testing.assert_allclose(gm.canonical_correlations(X, Y).correlations, want, rtol=0, atol=1e-12)


def test_condensed_rows_keep_the_second_moments() -> None:
    X, Y = hard_pair(700, 9, 5, mean=1e4)
    x, y = X - X.mean(0), Y - Y.mean(0)
    for data in ((X, Y), (merged(X, Y), None)):
        c = condense(*data, "test", None)
        u, v = c.x * 2.0 ** c.exponent[0], c.y * 2.0 ** c.exponent[1]
        for got, want in ((u.T @ u, x.T @ x), (u.T @ v, x.T @ y), (v.T @ v, y.T @ y)):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-8)


# ---- closed forms ----------------------------------------------------------------------------------------------------


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def test_four_points_on_a_line_have_correlation_four_fifths() -> None:
    x, y = column(1, 2, 3, 4), column(1, 3, 2, 4)
    correlation = [gm.cca(x, y), gm.svcca(x, y), gm.pwcca(x, y), gm.bipartite_matching(x, y).score]
    assert correlation == pytest.approx([0.8] * 4, rel=1e-14)
    assert (gm.linear_regression_r2(x, y), gm.nocco(x, y)) == pytest.approx((0.64, 0.64), rel=1e-14)
    assert gm.coco(x, y) == pytest.approx(1, rel=1e-14)
    assert gm.procrustes(x, y) == pytest.approx(0.4, rel=1e-14)  # 2 − 2·4/5
    assert gm.procrustes(x, y, normalize=False) == pytest.approx(2, rel=1e-14)  # 5 + 5 − 2·4
    assert gm.shape_distance(x, y) == pytest.approx(math.acos(0.8), rel=1e-14)
    assert gm.shape_distance(x, y, alpha=0.0) == pytest.approx(math.acos(0.8), rel=1e-14)


def test_regression_misses_twenty_forty_fifths_of_the_variance_of_four_points() -> None:
    x, y = column(1, 2, 3, 4), column(1, 3, 2, 4)
    assert 1 - gm.linear_regression_r2(x, y) == pytest.approx((9 / 20) / (5 / 4), rel=1e-14)


def test_frequencies_on_the_circle_are_unrelated() -> None:
    t = 2 * np.pi * np.arange(12) / 12
    X, Y = np.stack([np.cos(t), np.sin(t)], axis=1), np.stack([np.cos(2 * t), np.sin(2 * t)], axis=1)
    assert (gm.cca(X, Y), gm.coco(X, Y), gm.linear_regression_r2(X, Y)) == pytest.approx((0, 0, 0), abs=1e-15)
    assert gm.procrustes(X, Y) == pytest.approx(2, rel=1e-14)
    assert [gm.shape_distance(X, Y, alpha=a) for a in (0, 0.5, 1)] == pytest.approx([math.pi / 2] * 3, rel=1e-14)


def test_ridge_shrinks_a_correlation_by_both_variances() -> None:
    x, y = column(1, 2, 3, 4), column(1, 3, 2, 4)  # variances 5/4
    assert gm.cca(x, y, ridge=(1.25, 0.0)) == pytest.approx(0.8 / math.sqrt(2), rel=1e-14)
    assert gm.linear_regression_r2(x, y, ridge=1.25) == pytest.approx(0.64 * 0.75, rel=1e-14)  # 1 − (1 − ½)² of it


def test_chance_is_the_mean_over_all_permutations() -> None:
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(6, 2)), rng.normal(size=(6, 3)) * [1, 10, 0.1]
    for ridge in (0.0, (0.5, 0.2)):
        results = [gm.canonical_correlations(X, Y[list(p)], ridge=ridge) for p in itertools.permutations(range(6))]
        assert np.mean([r.mean_square for r in results]) == pytest.approx(results[0].chance, rel=1e-12)
        assert results[0].chance == pytest.approx(results[-1].chance, rel=1e-12)


def test_half_whitened_shapes_of_lines_have_their_angle() -> None:
    """X = (1, 0), (−1, 0), (0, 3), (0, −3): variances 1/2 and 9/2 become (α + (1−α)/σ)²σ²."""
    X = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])
    Y = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    for alpha in (0.25, 0.5, 1.0):
        a, b = (alpha * math.sqrt(v) + 1 - alpha for v in (0.5, 4.5))
        cosine = (a * b + b * a) / (a * a + b * b)
        assert gm.shape_distance(X, Y, alpha=alpha) == pytest.approx(math.acos(cosine), rel=1e-13)


# ---- what the numbers promise ----------------------------------------------------------------------------------------


@st.composite
def pairs(draw: Any) -> tuple[Array, Array]:
    p, q = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return related(draw(st.integers(p + q + 12, 90)), p, q, draw(st.integers(0, 2**32 - 1)))


@few
@given(pairs())
def test_rotation_scaling_and_shift_change_no_shape(data: tuple[Array, Array]) -> None:
    X, Y = data
    Z = 2.5 * X @ rotation(X.shape[1]) - 3
    for f in (gm.cca, gm.svcca, gm.procrustes, gm.shape_distance, gm.linear_regression_r2):
        assert f(Z, Y) == pytest.approx(f(X, Y), **CLOSE)
    for f in (gm.procrustes, gm.shape_distance, gm.linear_regression_r2):
        assert f(Y, Z) == pytest.approx(f(Y, X), **CLOSE)
    assert gm.coco(Z, Y) == pytest.approx(2.5 * gm.coco(X, Y), rel=1e-12)


@few
@given(pairs())
def test_invertible_maps_change_no_subspace(data: tuple[Array, Array]) -> None:
    X, Y = data
    Z = X @ invertible(X.shape[1]) + 5
    for f in (gm.cca, gm.nocco, gm.linear_regression_r2, MEASURES["shape_distance_white"]):
        assert f(Z, Y) == pytest.approx(f(X, Y), **CLOSE)
    assert gm.pwcca(Y, Z) == pytest.approx(gm.pwcca(Y, X), **CLOSE)


@few
@given(pairs(), st.randoms(use_true_random=False))
def test_permuting_and_scaling_units_changes_no_matching(data: tuple[Array, Array], random: Any) -> None:
    X, Y = data
    order = random.sample(range(Y.shape[1]), Y.shape[1])
    Z = Y[:, order] * np.array([random.choice([-3.0, 0.2, 1.0]) for _ in order]) + 7
    for f in (gm.bipartite_matching, gm.semi_matching):
        want, got = f(X, Y), f(X, Z)
        assert got.score == pytest.approx(want.score, **CLOSE)
        np.testing.assert_array_equal(np.array(order)[got.units_y], want.units_y)


@few
@given(pairs(), st.randoms(use_true_random=False))
def test_units_of_the_first_array_matter_as_little_as_each_measure_says(data: tuple[Array, Array], random: Any) -> None:
    X, Y = data
    order = random.sample(range(X.shape[1]), X.shape[1])
    factors = np.array([random.choice([-3.0, 0.2, 1.0]) for _ in order])
    want, got = gm.semi_matching(X, Y), gm.semi_matching(X[:, order] * factors + 7, Y)
    assert got.score == pytest.approx(want.score, **CLOSE)
    np.testing.assert_array_equal(got.units_y, want.units_y[order])
    assert gm.pwcca(-0.2 * X[:, order] + 7, Y) == pytest.approx(gm.pwcca(X, Y), **CLOSE)
    for f in (MEASURES["svcca_components"], lambda *pair: gm.svcca(*pair, variance=0.9, standardize=True)):
        assert f(X * factors, Y) == pytest.approx(f(X, Y), **CLOSE)


def test_pwcca_weighs_the_features_of_its_first_array_alone() -> None:
    X, Y = related(200, 4, 3)
    assert abs(gm.pwcca(X, Y) - gm.pwcca(Y, X)) > 0.01
    assert abs(gm.pwcca(X @ rotation(4), Y) - gm.pwcca(X, Y)) > 1e-4
    assert abs(gm.pwcca(X * [1, 1, 1, 9], Y) - gm.pwcca(X, Y)) > 1e-4


@few
@given(pairs(), st.sampled_from(SYMMETRIC))
def test_measure_is_symmetric(data: tuple[Array, Array], name: str) -> None:
    X, Y = data
    assert MEASURES[name](Y, X) == pytest.approx(MEASURES[name](X, Y), rel=1e-11, abs=1e-11)


@few
@given(pairs(), st.sampled_from(list(MEASURES)))
def test_order_of_the_samples_does_not_matter(data: tuple[Array, Array], name: str) -> None:
    X, Y = data
    order = np.random.default_rng(0).permutation(len(X))
    assert MEASURES[name](X[order], Y[order]) == pytest.approx(MEASURES[name](X, Y), rel=1e-11, abs=1e-11)


@few
@given(pairs(), st.sampled_from([0.0, 0.3, 1.0]))
def test_shape_distance_is_a_metric(data: tuple[Array, Array], alpha: float) -> None:
    X, Y = data
    Z = np.hstack([X[:, :1] ** 2, Y])
    ab, bc, ac = (gm.shape_distance(*pair, alpha=alpha) for pair in ((X, Y), (Y, Z), (X, Z)))
    assert ab + bc >= ac - 1e-12
    assert ab + ac >= bc - 1e-12
    assert bc + ac >= ab - 1e-12
    assert gm.shape_distance(X, X, alpha=alpha) < 1e-14
    assert 0 <= ab <= math.pi / 2


@few
@given(pairs(), st.sampled_from([0.0, 0.3]))
def test_root_of_procrustes_is_a_metric(data: tuple[Array, Array], shift: float) -> None:
    X, Y = data
    Z = np.hstack([Y, X[:, :1]]) + shift
    for normalize in (True, False):
        ab, bc, ac = (math.sqrt(gm.procrustes(*pair, normalize=normalize)) for pair in ((X, Y), (Y, Z), (X, Z)))
        assert max(ab, bc, ac) <= (ab + bc + ac) / 2 * (1 + 1e-12)


@few
@given(pairs())
def test_ranges_and_order_of_the_measures(data: tuple[Array, Array]) -> None:
    X, Y = data
    r = gm.canonical_correlations(X, Y)
    assert 0 <= r.correlations[-1] <= r.mean <= r.correlations[0] <= 1
    assert r.mean**2 <= r.mean_square <= r.mean
    assert r.correlations[-1] - 1e-15 <= r.projection_weighted <= r.correlations[0] + 1e-15
    assert 0 <= gm.linear_regression_r2(X, Y) <= 1
    assert gm.semi_matching(X, Y).score >= gm.bipartite_matching(X, Y).score - 1e-15 or X.shape[1] > Y.shape[1]


@few
@given(pairs(), st.sampled_from([0.0, 0.4]))
def test_directions_give_the_canonical_variables(data: tuple[Array, Array], ridge: float) -> None:
    X, Y = data
    n, r = len(X), gm.canonical_correlations(X, Y, ridge=ridge)
    a, b = (X - X.mean(0)) @ r.directions_x, (Y - Y.mean(0)) @ r.directions_y
    eye = np.eye(len(r.correlations))
    for Z, w in ((X, r.directions_x), (Y, r.directions_y)):
        penalized = np.cov(Z.T, bias=True).reshape(Z.shape[1], -1) + ridge * np.eye(Z.shape[1])
        np.testing.assert_allclose(w.T @ penalized @ w, eye, rtol=0, atol=1e-11)
    np.testing.assert_allclose(a.T @ b / n, eye * r.correlations, rtol=0, atol=1e-11)


def test_directions_after_standardizing_and_selecting_apply_to_the_raw_features() -> None:
    X, Y = related(200, 8, 6)
    X *= 10.0 ** np.arange(8)
    r = gm.canonical_correlations(X * 1e150, Y, components=4, standardize=True)
    a, b = (X - X.mean(0)) * 1e150 @ r.directions_x, (Y - Y.mean(0)) @ r.directions_y
    np.testing.assert_allclose(a.T @ a / 200, np.eye(4), rtol=0, atol=1e-11)
    np.testing.assert_allclose(a.T @ b / 200, np.diag(r.correlations), rtol=0, atol=1e-11)
    assert r.shares_x.sum() == pytest.approx(1, rel=1e-14)


# ---- regression and misalignment -------------------------------------------------------------------------------------


@few
@given(pairs())
def test_what_regression_misses_is_the_misalignment(data: tuple[Array, Array]) -> None:
    X, Y = data
    total = ((Y - Y.mean(0)) ** 2).sum() / len(Y)
    assert oracle.misalignment(X, Y) / total == pytest.approx(1 - gm.linear_regression_r2(X, Y), **CLOSE)


def test_regression_finds_a_linear_map_and_an_unrelated_array() -> None:
    X, _ = related(300, 6, 2)
    assert gm.linear_regression_r2(X, X @ np.arange(12.0).reshape(6, 2) + 3) == 1
    assert gm.linear_regression_r2(X**2, X) < 0.2


def test_strong_ridge_leaves_the_covariance() -> None:
    """λ/2·tr C_yy·R²(λ) → ‖C_xy‖², the biased linear HSIC (Theory, 8.2); relative difference of the order of 1/λ."""
    X, Y = related(300, 6, 3)
    total = ((Y - Y.mean(0)) ** 2).sum() / len(Y)
    ridge = 1e7
    limit = ridge / 2 * total * gm.linear_regression_r2(X, Y, ridge=ridge)
    assert limit == pytest.approx(gm.hsic(X, Y, estimator="biased"), rel=1e-5)
    assert ridge**2 * gm.nocco(X, Y, ridge=ridge) == pytest.approx(gm.hsic(X, Y, estimator="biased"), rel=1e-5)


def test_ridge_of_nothing_is_no_ridge_and_more_fits_less() -> None:
    X, Y = related(300, 6, 3)
    ridges = [0.0, 1e-12, 1e-3, 0.1, 1.0, 100.0]
    fits = [gm.linear_regression_r2(X, Y, ridge=r) for r in ridges]
    assert fits[1] == pytest.approx(fits[0], **CLOSE)
    assert fits == sorted(fits, reverse=True)
    assert gm.cca(X, Y, ridge=1e-13) == pytest.approx(gm.cca(X, Y), **CLOSE)


def test_hsic_is_the_sum_of_squares_of_which_coco_has_the_largest() -> None:
    X, Y = related(300, 1, 5)  # one singular value
    assert gm.coco(X, Y) ** 2 == pytest.approx(gm.hsic(X, Y, estimator="biased"), rel=1e-12)


# ---- hard data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8])
def test_condition_number_is_not_squared(condition: float) -> None:
    """Z is well conditioned and spans what X spans; X itself holds Z's directions to condition·eps."""
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(300, 12))
    X = Z * np.logspace(0, -math.log10(condition), 12) @ rotation(12)
    Y = Z[:, :5] + rng.normal(size=(300, 5))
    want = oracle.canonical_correlations(Z, Y)[:5]
    found = gm.canonical_correlations(X, Y)
    assert found.rank == (12, 5)
    np.testing.assert_allclose(found.correlations, want, rtol=0, atol=4 * condition * 2.0**-52 + 1e-13)
    r2 = gm.linear_regression_r2(X, Y)
    assert r2 == pytest.approx(oracle.linear_regression_r2(Z, Y), abs=4 * condition * 2.0**-52 + 1e-13)


def test_inverse_covariance_has_no_digits_left_where_this_has_nine() -> None:
    """The formula that most implementations use, whitening by the eigenvectors of the covariance."""
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(300, 12))
    X = Z * np.logspace(0, -9, 12) @ rotation(12)
    Y = Z[:, 8:] + rng.normal(size=(300, 4))  # the directions that are small in X
    want = oracle.canonical_correlations(Z, Y)[:4].mean()

    def whitener(A: Array) -> Array:
        values, V = np.linalg.eigh(np.cov(A.T))
        return V / np.sqrt(np.abs(values))

    naive = np.linalg.svd(whitener(X).T @ np.cov(X.T, Y.T)[:12, 12:] @ whitener(Y), compute_uv=False).mean()
    assert abs(naive - want) > 1e-2
    assert abs(gm.cca(X, Y) - want) < 1e-8


def test_columns_of_any_units_keep_their_digits() -> None:
    X, Y = related(300, 6, 3)
    scales = np.array([1, 1e-12, 1e9, 1e-6, 1e12, 1])
    for f in (gm.cca, gm.linear_regression_r2, MEASURES["shape_distance_white"], MEASURES["bipartite_matching"]):
        assert f(X * scales, Y) == pytest.approx(f(X, Y), **CLOSE)


def test_means_far_from_zero_cost_only_what_storage_lost() -> None:
    X, Y = related(300, 6, 3)
    X, Y = np.round(X * 2**20) / 2**20, np.round(Y * 2**20) / 2**20  # so that a shift by 2^30 is exact
    for name, f in MEASURES.items():
        assert f(X + 2.0**30, Y - 2.0**30) == pytest.approx(f(X, Y), **CLOSE), name


def test_constant_and_dependent_columns_are_dropped() -> None:
    X, Y = related(300, 4, 3)
    wide = np.hstack([X, np.full((300, 1), 0.1), X[:, :1] + 2 * X[:, 1:2], np.full((300, 1), 1e10)])
    found = gm.canonical_correlations(wide, Y)
    assert found.rank == (4, 3)
    np.testing.assert_allclose(found.correlations, gm.canonical_correlations(X, Y).correlations, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.directions_x[[4, 6]], 0)
    assert gm.canonical_correlations(merged(wide, Y)).rank == (4, 3)
    assert gm.linear_regression_r2(wide, Y) == pytest.approx(gm.linear_regression_r2(X, Y), **CLOSE)
    assert gm.cca(wide, wide) == pytest.approx(1, rel=1e-14)


def test_columns_that_vary_by_rounding_alone_are_constant() -> None:
    X, Y = related(300, 4, 3)
    flicker = 1e10 * (1 + 2.0**-52 * np.random.default_rng(0).integers(0, 3, size=(300, 1)))
    wide = np.hstack([X, flicker, np.full((300, 1), 0.1)])
    about_zero = gm.feature_moments(wide, Y, reference=(np.zeros(6), np.zeros(3)))
    for data in ((wide, Y), (merged(wide, Y),)):
        found = gm.canonical_correlations(*data)
        assert found.rank == (4, 3)
        assert found.mean == pytest.approx(gm.cca(X, Y), **FROM_MOMENTS)
    # squares of 1e20 could hide whatever the others hold
    assert "digits" in gm.canonical_correlations(about_zero).reason


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rounding_of_stored_features_is_no_direction(dtype: str) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(2000, 5))
    X, Y = (Z @ rng.normal(size=(5, 30))).astype(dtype), (Z @ rng.normal(size=(5, 20))).astype(dtype)
    found = gm.canonical_correlations(X, Y)
    assert found.rank == (5, 5)
    assert found.mean > 1 - 1e-3
    assert gm.canonical_correlations(X, Y, rcond=1e-14).rank == (30, 20)


NARROW = ["float32", "float16", "bfloat16"]
IN_UNITS: dict[str, Any] = {  # measures to which the units of single columns matter
    "ridge": lambda *data: gm.canonical_correlations(*data, ridge=1e-3).correlations,
    "components": lambda *data: gm.canonical_correlations(*data, components=5).correlations,
    "variance": lambda *data: gm.canonical_correlations(*data, variance=1.0).correlations,
    "small_ridge": lambda *data: gm.linear_regression_r2(*data, ridge=1e-6),
    "small_alpha": lambda *data: gm.shape_distance(*data, alpha=1e-4),
}


@pytest.mark.parametrize("name", [*MEASURES, *IN_UNITS])
@pytest.mark.parametrize("dtype", NARROW)
def test_a_feature_far_larger_than_all_others_hides_none_of_them(name: str, dtype: str) -> None:
    X, Y = hard_pair(1000, 20, 4, dtype=dtype, seed=3) if name in MEASURES else related(1000, 20, 4)
    X[:, 0] *= 1000 if dtype == "float16" else 1e6
    X, Y = rounded(X, dtype), rounded(Y, dtype)
    f = {**MEASURES, **IN_UNITS}[name]
    want, scale = f(X, Y), size_of(name, X, Y)
    np.testing.assert_allclose(f(as_input(X, dtype), as_input(Y, dtype)), want, rtol=0, atol=1e-10 * scale)


def test_regression_on_a_small_feature_beside_a_large_one_of_sixteen_bits() -> None:
    H = np.random.default_rng(0).normal(size=(1000, 20))
    H[:, 0] *= 200
    for dtype in NARROW:
        h, t = (as_input(rounded(Z, dtype), dtype) for Z in (H, H[:, 1:5]))
        assert gm.linear_regression_r2(h, t) == pytest.approx(1, abs=1e-12)
        assert gm.linear_regression_r2(h, t, ridge=1e-6) == pytest.approx(1, abs=1e-11)
        assert gm.canonical_correlations(h, t, ridge=1e-6).rank == (20, 4)


@pytest.mark.parametrize("dtype", NARROW)
def test_directions_of_a_power_law_are_more_than_rounding(dtype: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 128)) / np.arange(1, 129) @ rotation(128)
    X, Y = rounded(X, dtype), rounded(X @ rng.normal(size=(128, 6)) + rng.normal(size=(2000, 6)), dtype)
    x, y = as_input(X, dtype), as_input(Y, dtype)
    assert gm.canonical_correlations(x, y).rank == gm.canonical_correlations(x, y, variance=1.0).rank == (128, 6)
    for f in (gm.cca, MEASURES["svcca"], MEASURES["shape_distance_half"], MEASURES["shape_distance_white"]):
        assert f(x, y) == pytest.approx(f(X, Y), **CLOSE)


def test_features_in_small_units_are_no_rounding() -> None:
    X, Y = related(500, 3, 3)
    X, Y = (X * [1, 1e-8, 1e-8]).astype(np.float32), Y.astype(np.float32)
    white = gm.shape_distance(X, Y, alpha=0)
    assert gm.shape_distance(X, Y, alpha=1e-9) == pytest.approx(white, abs=1e-8)
    assert white == pytest.approx(gm.shape_distance(X.astype(float), Y.astype(float), alpha=0), **CLOSE)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("mean", [0.0, 10.0])
def test_moments_know_how_their_features_were_rounded(dtype: str, mean: float, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(2000, 5))
    X = as_input(rounded(Z @ rng.normal(size=(5, 30)) * np.geomspace(1, 300, 30) + mean, dtype), dtype)
    Y = as_input(rounded(rng.normal(size=(2000, 20)) + mean, dtype), dtype)
    batches = [gm.feature_moments(X[a : a + 500], Y[a : a + 500]) for a in range(0, 2000, 500)]
    whole = sum(batches[1:], batches[0])
    whole.save(tmp_path / "moments.npz")
    for options in ({}, {"ridge": 1e-6}, {"variance": 1.0}):
        assert gm.canonical_correlations(X, Y, **options).rank == (5, 20)
        assert gm.canonical_correlations(whole, **options).rank == (5, 20)
    assert gm.nocco(gm.FeatureMoments.load(tmp_path / "moments.npz")) == pytest.approx(gm.nocco(X, Y), **FROM_MOMENTS)


@pytest.mark.parametrize("dtype", NARROW)
def test_columns_that_flicker_in_the_last_digit_they_were_stored_with_are_no_direction(dtype: str) -> None:
    X, Y = related(300, 4, 3)
    last = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    flicker = 128 * (1 + last * np.random.default_rng(0).integers(0, 2, size=(300, 2)))
    x, y, both = (as_input(rounded(Z, dtype), dtype) for Z in (X, Y, np.hstack([flicker, X])))
    for options in ({}, {"ridge": 0.1}, {"variance": 1.0}):
        found = gm.canonical_correlations(both, y, **options)
        assert found.rank == (4, 3)
        np.testing.assert_allclose(
            found.correlations, gm.canonical_correlations(x, y, **options).correlations, atol=100 * last
        )
    alone = gm.canonical_correlations(as_input(flicker, dtype), y)
    assert alone.reason == (
        "X varies by no more than the rounding that it was stored with: its dtype is too coarse for rows this far "
        "from 0"
    )


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("power", [-20, 0, 6])
def test_rounding_of_stored_values_is_a_twelfth_of_their_last_digit_squared(dtype: str, power: int) -> None:
    wide = 2.0**power * np.random.default_rng(0).normal(size=(4000, 3)) * [1, 3, 0]
    lost = ((rounded(wide, dtype) - wide) ** 2).sum(axis=0)
    found = stored_roundings(rounded(wide, dtype), dtype)[0]
    assert found[2] == 0  # zeros are exact
    np.testing.assert_allclose(found[:2], lost[:2], rtol=0.1)


def test_duplicated_rows_and_outliers_are_no_obstacle() -> None:
    X, Y = related(60, 4, 3)
    X, Y = np.repeat(X, 5, axis=0), np.repeat(Y, 5, axis=0)
    X[7] *= 1e6
    want = mean_of_largest(oracle.canonical_correlations(X, Y), 3)
    assert gm.cca(X, Y) == pytest.approx(want, abs=1e-9)


def test_rounding_does_not_lift_a_correlation_above_one() -> None:
    X, _ = related(1000, 30, 2)
    found = gm.canonical_correlations(X, X @ invertible(30))
    assert found.correlations.max() == 1
    assert found.correlations.min() > 1 - 1e-13


def test_small_distances_have_digits() -> None:
    X, Y = related(200, 5, 5)
    turned = X @ rotation(5)
    for size in (1e-3, 1e-6, 1e-9):
        noise = size * (Y - Y.mean(0))
        a, b = X - X.mean(0), turned + noise - (turned + noise).mean(0)
        want = ((b @ scipy.linalg.orthogonal_procrustes(b, a)[0] - a) ** 2).sum()
        assert gm.procrustes(X, turned + noise, normalize=False) == pytest.approx(want, rel=1e-6)
        assert 0 < gm.shape_distance(X, turned + noise) < size * np.linalg.norm(Y) / np.linalg.norm(a)


def test_divide_and_conquer_that_fails_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = related(100, 5, 4)
    want = gm.cca(X, Y)

    def failing(*args: Any, **options: Any) -> Any:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", failing)
    assert gm.cca(X, Y) == pytest.approx(want, **CLOSE)


# ---- what has no value, and why --------------------------------------------------------------------------------------

SATURATED = (
    r"X has rank 19 = n − 1 after centring, so it fits anything perfectly, related or not; "
    r"take more rows than features, fewer components \(svcca\), or a ridge"
)


def test_more_features_than_rows_is_nan_with_a_reason() -> None:
    """Where others report 1, or that an SVD did not converge."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 64)), rng.normal(size=(20, 5))
    found = gm.canonical_correlations(X, Y)
    np.testing.assert_allclose(found.correlations, 1, rtol=0, atol=1e-12)  # though X and Y are unrelated
    assert math.isnan(found.mean)
    assert found.forced == 5
    with pytest.raises(AssertionError, match=SATURATED):
        raise AssertionError(found.reason)
    measures = [gm.cca, gm.pwcca, gm.nocco, gm.linear_regression_r2, partial(gm.svcca, variance=1.0)]
    for measure in (*measures, partial(gm.shape_distance, alpha=0)):
        with pytest.warns(gm.UndefinedWarning, match=f"is nan: {SATURATED}"):
            assert math.isnan(measure(X, Y))
    for measure in (gm.cca, gm.pwcca):
        with pytest.warns(gm.UndefinedWarning, match=SATURATED.replace("X", "Y", 1)):
            assert math.isnan(measure(Y, X))
    assert gm.linear_regression_r2(Y, X) < 0.5


def test_more_features_than_rows_has_values_with_a_ridge_or_components() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 64)), rng.normal(size=(20, 5))
    assert gm.cca(X, Y, ridge=1.0) == pytest.approx(
        mean_of_largest(oracle.canonical_correlations(X, Y, (1.0, 1.0)), 5), **CLOSE
    )
    assert gm.linear_regression_r2(X, Y, ridge=1.0) == pytest.approx(oracle.linear_regression_r2(X, Y, 1.0), **CLOSE)
    assert gm.svcca(X, Y, components=3) == pytest.approx(svcca_by_oracle(X, Y, 3, 3), **CLOSE)
    assert gm.procrustes(X, Y) == pytest.approx(oracle.procrustes(X, Y), **CLOSE)
    assert gm.procrustes(X, X @ rotation(64)) < 1e-25
    assert gm.coco(X, Y) == pytest.approx(oracle.coco(X, Y), **CLOSE)
    assert gm.shape_distance(X, Y, alpha=0.5) == pytest.approx(oracle.shape_distance(X, Y, 0.5), **CLOSE)


def test_a_ridge_on_the_other_array_does_not_help_a_saturated_one() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 64)), rng.normal(size=(20, 5))
    with pytest.warns(gm.UndefinedWarning, match=SATURATED):
        assert math.isnan(gm.cca(X, Y, ridge=(0.0, 1.0)))
    assert not math.isnan(gm.cca(X, Y, ridge=(1.0, 0.0)))


def test_correlations_forced_by_few_rows_are_counted() -> None:
    rng = np.random.default_rng(0)
    found = gm.canonical_correlations(rng.normal(size=(20, 12)), rng.normal(size=(20, 10)))
    assert found.forced == 3
    np.testing.assert_allclose(found.correlations[:3], 1, rtol=0, atol=1e-12)
    assert found.correlations[3] < 1 - 1e-6
    assert "3 of them 1 by construction" in repr(found)


@pytest.mark.parametrize("name", MEASURES)
def test_constant_array_has_no_value(name: str) -> None:
    X, _ = related(50, 3, 3)
    constant = np.full((50, 2), 0.1)
    for data, first in (
        ((X, constant), False), ((constant, X), True), ((merged(X, constant),), False), ((merged(constant, X),), True)
    ):  # fmt: skip
        if name == "coco":
            assert MEASURES[name](*data) == pytest.approx(0, abs=1e-15)
        elif name == "procrustes_raw":
            assert MEASURES[name](*data) == pytest.approx(((X - X.mean(0)) ** 2).sum(), rel=1e-12)
        elif name.endswith("matching"):
            assert math.isnan(MEASURES[name](*data))
        else:
            said = f"is nan: {'X' if first else 'Y'} is constant up to rounding: nothing is left after centring"
            with pytest.warns(gm.UndefinedWarning, match=said):
                assert math.isnan(MEASURES[name](*data))


def test_constant_array_has_its_reason() -> None:
    X, _ = related(50, 3, 3)
    constant = np.ones((50, 2))
    assert (
        gm.canonical_correlations(X, constant).reason == "Y is constant up to rounding: nothing is left after centring"
    )
    assert (
        gm.canonical_correlations(constant, X).reason == "X is constant up to rounding: nothing is left after centring"
    )
    assert gm.canonical_correlations(constant, X).to_dict()["correlations"] == []
    assert gm.semi_matching(X, constant).reason == "X or Y is constant: nothing is left after centring"
    assert repr(gm.semi_matching(X, constant)).startswith("UnitMatching(nan: X or Y is constant")
    assert repr(gm.canonical_correlations(X, constant)).startswith("CanonicalCorrelations(nan: Y is constant")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda X, Y: gm.cca(X),
            r"^a canonical correlation needs X and Y, or FeatureMoments of both in place of X; Y is",
        ),
        (lambda X, Y: gm.cca(X, Y[:-1]), r"^X has 30 rows but Y has 29; row i of both must be the same sample$"),
        (lambda X, Y: gm.cca(X[:1], Y[:1]), r"^a canonical correlation needs at least 2 rows but got 1$"),
        (lambda X, Y: gm.bipartite_matching(X[:2], Y[:2]), r"^bipartite_matching needs at least 3 rows but got 2$"),
        (lambda X, Y: gm.procrustes([1.0], Y), r"^X must be 2-d \(samples by features\), got shape \(1,\)"),
        (lambda X, Y: gm.cca(X, np.where(Y[3, 1] == Y, np.nan, Y)), r"^Y has NaN in row 3, column 1"),
        (lambda X, Y: gm.cca(merged(X, Y), Y), r"takes FeatureMoments alone, they hold both arrays; leave Y out$"),
        (lambda X, Y: gm.cca(gm.feature_moments(X)), r"needs two arrays; these moments hold X alone$"),
        (lambda X, Y: gm.svcca(X, Y, variance=0), r"^variance must be above 0 and at most 1, got 0$"),
        (lambda X, Y: gm.svcca(X, Y, variance="all"), r"^variance must be a number, got str$"),
        (lambda X, Y: gm.svcca(X, Y, components=0), r"^components must be at least 1, got 0$"),
        (
            lambda X, Y: gm.canonical_correlations(X, Y, components=2, variance=0.5),
            r"^variance and components both say how many components to keep; give one of them$",
        ),
        (lambda X, Y: gm.cca(X, Y, ridge=-1), r"^ridge must be finite and at least 0, got -1$"),
        (lambda X, Y: gm.linear_regression_r2(X, Y, ridge=math.inf), r"^ridge must be finite and at least 0, got inf$"),
        (lambda X, Y: gm.cca(X, Y, ridge="gcv"), r"^ridge must be a number, got str$"),
        (lambda X, Y: gm.cca(X, Y, ridge=(1.0, 2.0, 3.0)), r"^ridge must be a number or a pair \(of X, of Y\), got 3"),
        (lambda X, Y: gm.cca(X, Y, rcond=1.0), r"^rcond must be at least 0 and below 1, got 1.0$"),
        (lambda X, Y: gm.cca(X, Y, rcond="1"), r"^rcond must be a number or None, got str$"),
        (lambda X, Y: gm.shape_distance(X, Y, alpha=1.5), r"^alpha must be from 0 to 1, got 1.5$"),
        (lambda X, Y: gm.shape_distance(X, Y, alpha=True), r"^alpha must be a number, got bool$"),
        (
            lambda X, Y: gm.coco(X, Y, progress=1),
            r"^progress must be True, a function of \(done, total\) or a tqdm bar, got int$",
        ),
    ],
)
def test_error_says_what_came_and_what_is_needed(call: Any, message: str) -> None:
    X, Y = related(30, 4, 3)
    with pytest.raises((TypeError, ValueError), match=message):
        call(X, Y)


def test_files_and_progress(tmp_path: Any) -> None:
    X, Y = related(3000, 40, 30)
    np.save(tmp_path / "x.npy", X)
    seen: list[tuple[int, int]] = []
    assert gm.cca(tmp_path / "x.npy", Y, progress=lambda *at: seen.append(at)) == gm.cca(X, Y)
    assert seen == sorted(seen)
    assert seen[-1] == (seen[0][1], seen[0][1])


# ---- single units ----------------------------------------------------------------------------------------------------


def test_matching_finds_a_permutation_of_units() -> None:
    X, _ = related(100, 6, 2)
    order = [3, 1, 5, 0, 2, 4]
    found = gm.bipartite_matching(X, -X[:, order])
    np.testing.assert_array_equal(np.array(order)[found.units_y], range(6))
    assert found.score == pytest.approx(1, rel=1e-14)
    np.testing.assert_allclose(found.correlations, -1, rtol=1e-14)
    assert gm.bipartite_matching(X, -X[:, order], signed=True).score < 0.5


def test_signed_matchings_change_under_negative_factors_and_others_do_not() -> None:
    X, Y = related(200, 4, 3)
    flipped = Y * [-2, 3, -4]
    for f in (gm.bipartite_matching, gm.semi_matching):
        assert f(X, flipped).score == pytest.approx(f(X, Y).score, **CLOSE)
        assert f(X, np.abs([-2, 3, -4]) * Y, signed=True).score == pytest.approx(f(X, Y, signed=True).score, **CLOSE)
        assert abs(f(X, flipped, signed=True).score - f(X, Y, signed=True).score) > 0.01


def test_constant_units_stay_without_a_match() -> None:
    X, Y = related(100, 4, 3)
    X[:, 1] = 5
    found = gm.semi_matching(X, Y)
    np.testing.assert_array_equal(found.units_x, [0, 2, 3])
    assert "3 units of X" in repr(found)
    assert 1 not in gm.bipartite_matching(X, Y).units_x


def test_equal_units_go_to_the_lowest() -> None:
    X, _ = related(100, 2, 2)
    np.testing.assert_array_equal(gm.semi_matching(X, np.repeat(X, 2, axis=1)).units_y, [0, 2])


# ---- other libraries -------------------------------------------------------------------------------------------------


def test_correlations_are_cosines_of_scipy_subspace_angles() -> None:
    X, Y = related(200, 6, 4)
    angles = scipy.linalg.subspace_angles(X - X.mean(0), Y - Y.mean(0))
    np.testing.assert_allclose(gm.canonical_correlations(X, Y).correlations, np.cos(angles)[::-1], rtol=0, atol=1e-13)


def test_scipy_disparity_is_that_of_the_best_scale() -> None:
    """scipy.spatial.procrustes also scales: with s = ‖X̄'Ȳ‖_* it gives 1 − s², where this is 2 − 2s."""
    X, Y = related(200, 4, 4)
    disparity = scipy.spatial.procrustes(X, Y)[2]
    assert 1 - (1 - gm.procrustes(X, Y) / 2) ** 2 == pytest.approx(disparity, rel=1e-12)


def test_scikit_learn_finds_the_same_correlations() -> None:
    """Its CCA is iterative, to a tolerance of 1e-6 of the weights here 1e-12."""
    cross = pytest.importorskip("sklearn.cross_decomposition", reason="scikit-learn is a peer")
    X, Y = related(300, 5, 3)
    a, b = cross.CCA(n_components=3, tol=1e-24, max_iter=100_000).fit(X, Y).transform(X, Y)
    theirs = [abs(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(3)]
    np.testing.assert_allclose(gm.canonical_correlations(X, Y).correlations, theirs, rtol=0, atol=1e-6)


def test_scikit_learn_regression_has_the_same_r2() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is a peer")
    X, Y = related(300, 5, 3)
    total = ((Y - Y.mean(0)) ** 2).sum()
    for ridge, model in ((0.0, linear.LinearRegression()), (0.3, linear.Ridge(alpha=0.3 * 300, solver="cholesky"))):
        theirs = 1 - ((Y - model.fit(X, Y).predict(X)) ** 2).sum() / total
        assert gm.linear_regression_r2(X, Y, ridge=ridge) == pytest.approx(theirs, **CLOSE)


def partially_whitened(X: Array, alpha: float, floor: float) -> Array:
    """netrep's: the covariance is X̄'X̄, and its eigenvalues are clipped at a floor in the units of the data."""
    Z = X - X.mean(0)
    values, V = np.linalg.eigh(Z.T @ Z)
    values = np.maximum(values, floor)
    return np.asarray(Z @ (V * (alpha + (1 - alpha) / np.sqrt(values))) @ V.T)


def angle(A: Array, B: Array) -> float:
    return math.acos(np.linalg.svd(A.T @ B, compute_uv=False).sum() / np.linalg.norm(A) / np.linalg.norm(B))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.9])
def test_whitening_by_the_scatter_matrix_is_another_alpha(alpha: float) -> None:
    X, Y = related(144, 5, 5)
    theirs = angle(*(partially_whitened(Z, alpha, 1e-7) for Z in (X, Y)))
    ours = gm.shape_distance(X, Y, alpha=12 * alpha / (12 * alpha + 1 - alpha))
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_a_floor_in_the_units_of_the_data_makes_whitening_depend_on_them() -> None:
    X, Y = related(144, 5, 5)
    small = [partially_whitened(1e-6 * Z, 0.0, 1e-7) for Z in (X, Y)]
    want = gm.shape_distance(X, Y, alpha=0)
    assert abs(angle(*small) - want) > 0.05
    assert gm.shape_distance(1e-6 * X, 1e-6 * Y, alpha=0) == pytest.approx(want, **CLOSE)


def test_the_platonic_variant_is_ten_components_of_standardized_features() -> None:
    """As that paper's code has it: left singular vectors of standardised features, then CCA of them."""
    X, Y = related(400, 30, 20)
    Y *= np.logspace(0, 3, 20)
    vectors = [np.linalg.svd((Z - Z.mean(0)) / Z.std(0), full_matrices=False)[0][:, :10] for Z in (X, Y)]
    want = np.linalg.svd(vectors[0].T @ vectors[1], compute_uv=False).mean()
    assert gm.svcca(X, Y, components=10, standardize=True) == pytest.approx(want, **CLOSE)


# ---- moments that lost their digits ----------------------------------------------------------------------------------


def hidden_variation(n: int = 200) -> tuple[Array, Array]:
    """A third of the rows are 0, the others at ten million: what varies otherwise is lost in sums of squares."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 5))
    Y = np.tanh(X) + 0.5 * rng.standard_normal((n, 5)) + 1e7
    X += 1e7
    X[: n // 3], Y[: n // 3] = 0, 0
    return X, Y


@pytest.mark.parametrize("name", ["cca", "pwcca", "nocco", "linear_regression_r2"])
def test_moments_without_digits_are_nan_with_a_reason(name: str) -> None:
    X, Y = hidden_variation()
    measure = MEASURES[name]
    if name == "linear_regression_r2":
        X, Y = X, Y - 1e7 * (np.arange(200) >= 66)[:, None]
    with pytest.warns(gm.UndefinedWarning, match="is nan: sums of squares hold half of the digits"):
        assert math.isnan(measure(gm.feature_moments(X, Y)))
    assert not math.isnan(measure(X, Y))


def test_canonical_correlations_of_moments_without_digits_hold_the_reason() -> None:
    found = gm.canonical_correlations(gm.feature_moments(*hidden_variation()))
    assert found.reason == moments.TOO_FEW_DIGITS
    assert math.isnan(found.mean)


def test_equal_and_dead_features_cost_moments_no_digits() -> None:
    X, Y = related(300, 4, 3)
    more = np.hstack([X, X[:, :2], np.zeros((300, 2))])
    assert gm.cca(merged(more, Y)) == pytest.approx(gm.cca(X, Y), **FROM_MOMENTS)
    assert gm.linear_regression_r2(merged(more, Y)) == pytest.approx(gm.linear_regression_r2(X, Y), **FROM_MOMENTS)


@pytest.mark.parametrize("alpha", [1 + 2.0**-52, 1 - 2.0**-53])
def test_a_part_that_is_a_rounding_beyond_its_range_is_its_end(alpha: float) -> None:
    X, Y = related(50, 3, 4)
    assert gm.shape_distance(X, Y, alpha=alpha) == pytest.approx(gm.shape_distance(X, Y), rel=1e-12)
    assert gm.shape_distance(X, Y, alpha=1 - alpha) == pytest.approx(gm.shape_distance(X, Y, alpha=0.0), rel=1e-12)
    assert gm.svcca(X, Y, variance=alpha) == pytest.approx(gm.svcca(X, Y, variance=1.0), rel=1e-12)
    with pytest.raises(ValueError, match=r"^alpha must be from 0 to 1, got 1\.000001$"):
        gm.shape_distance(X, Y, alpha=1.000001)


def test_parallel_rows_far_from_zero_have_one_direction() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(0.1, 5, (90, 1)) * rng.standard_normal(17) + 1e3 * rng.standard_normal(17)
    found = gm.canonical_correlations(X, rng.standard_normal((90, 3)))
    assert found.rank == (1, 3)
