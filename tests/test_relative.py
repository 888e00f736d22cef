"""Relative representations: against their definition, and the maps that they must not notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import as_input, hard_pair

Array = np.ndarray[Any, Any]
SPACES = ["cosine", "euclidean", "l1", "linf"]
few = settings(max_examples=25, derandomize=True, deadline=None)
X = hard_pair(250, 7, 3)[0]
ANCHORS = np.array([4, 249, 0, 31])


@pytest.mark.parametrize("space", SPACES)
def test_space_is_that_of_the_oracle(space: str) -> None:
    want = oracle.relative_space(X, X[ANCHORS], space)
    found = gm.relative_representation(X, ANCHORS, space=space)
    np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(gm.relative_representation(X, X[ANCHORS], space=space), found)


def test_several_spaces_stand_side_by_side_at_length_one() -> None:
    found = gm.relative_representation(X, ANCHORS, space=SPACES)
    parts = [oracle.unit_rows(oracle.relative_space(X, X[ANCHORS], space)) for space in SPACES]
    np.testing.assert_allclose(found, np.hstack(parts), rtol=1e-13, atol=1e-14)
    alone = gm.relative_representation(X, ANCHORS, space=["euclidean"])
    np.testing.assert_array_equal(alone, gm.relative_representation(X, ANCHORS, space="euclidean"))


def test_blocks_of_rows_change_nothing() -> None:
    many = np.random.default_rng(0).normal(size=(2500, 300))  # more than fits a block
    for space in SPACES:
        want = oracle.relative_space(many[1500:1600], many[:8], space)
        found = gm.relative_representation(many, many[:8], space=space)
        np.testing.assert_allclose(found[1500:1600], want, rtol=1e-13, atol=1e-14)


def signed_permutation(d: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.eye(d)[rng.permutation(d)] * rng.choice([-1.0, 1.0], size=d)


@few
@given(st.integers(0, 2**32 - 1))
def test_what_each_space_does_not_notice(seed: int) -> None:
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(7, 7)))[0]
    P = signed_permutation(7, seed)
    unchanged = {
        "cosine": 3 * X @ Q,
        "euclidean": X @ Q + 5,
        "l1": X @ P - 2,
        "linf": X @ P + 1,
    }
    for space, moved in unchanged.items():
        want = gm.relative_representation(X, ANCHORS, space=space)
        np.testing.assert_allclose(
            gm.relative_representation(moved, ANCHORS, space=space), want, rtol=1e-12, atol=1e-12
        )
    want = gm.relative_representation(X, ANCHORS, space=SPACES)
    found = gm.relative_representation(0.1 * X @ P, ANCHORS, space=SPACES)
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12)


def test_models_that_differ_by_a_rotation_become_comparable() -> None:
    """What they are for: feature by feature, not only by a measure that is blind to rotations."""
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
    other = X @ Q
    assert gm.bipartite_matching(X, other).score < 0.9
    relative = [gm.relative_representation(Z, ANCHORS) for Z in (X, other)]
    assert gm.bipartite_matching(*relative).score == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300])
def test_size_of_the_features_costs_no_digits(space: str, size: float) -> None:
    want = oracle.relative_space(X, X[ANCHORS], space)
    found = gm.relative_representation(X * size, ANCHORS, space=space)
    np.testing.assert_allclose(found / (1 if space == "cosine" else size), want, rtol=1e-12, atol=1e-14)


def test_rows_of_zeros_have_the_cosine_zero() -> None:
    zeros = np.vstack([np.zeros((1, 7)), X])
    found = gm.relative_representation(zeros, np.array([0, 5]))
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_array_equal(found[:, 0], 0)
    assert found.dtype == np.float64


def test_far_rows_that_are_close_keep_their_distance() -> None:
    far = np.array([[1e9, 1.0], [1e9, 2.0], [1e9 + 1, 1.0]])
    np.testing.assert_array_equal(gm.relative_representation(far, np.array([0]), space="euclidean"), [[0], [1], [1]])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_narrow_data_and_torch_are_read_as_they_are(dtype: str) -> None:
    exact = hard_pair(100, 5, 3, dtype=dtype)[0]
    given = as_input(exact, dtype)
    want = gm.relative_representation(exact, exact[:3], space=SPACES)
    np.testing.assert_array_equal(gm.relative_representation(given, np.arange(3), space=SPACES), want)
    np.testing.assert_array_equal(gm.relative_representation(given, given[:3], space=SPACES), want)


def test_row_numbers_may_be_a_tensor_and_arrays_files(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    want = gm.relative_representation(X, ANCHORS)
    np.testing.assert_array_equal(gm.relative_representation(X, torch.from_numpy(ANCHORS)), want)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "anchors.npy", X[ANCHORS])
    seen: list[str] = []
    found = gm.relative_representation(
        tmp_path / "x.npy", tmp_path / "anchors.npy", progress=lambda done, total, phase: seen.append(phase)
    )
    np.testing.assert_array_equal(found, want)
    assert seen == ["rows", "rows", ""]


@pytest.mark.parametrize(
    ("anchors", "space", "message"),
    [
        (np.array([250]), "cosine", r"^anchors names row 250, but X has rows 0 to 249$"),
        (np.array([-1]), "cosine", r"^anchors names row -1, but X has rows 0 to 249$"),
        (np.array([], dtype=int), "cosine", r"^anchors is empty; name at least one row of X$"),
        (
            np.array([0.5]),
            "cosine",
            r"^anchors must be features of shape \(m, 7\) or whole row numbers of shape \(m,\)",
        ),
        (X[:, :3], "cosine", r"^anchors has 3 features but X has 7; both must be features of the same model$"),
        ([[1], [2]], "cosine", r"^anchors has 1 features but X has "),
        ([], "cosine", r"^anchors is empty; name at least one row of X$"),
        ([0, 10**6], "cosine", r"^anchors names row 1000000, but X has rows 0 to "),
        (ANCHORS, "l2", r"^space must be one of 'cosine', .*, 'linf', got 'l2'; did you mean 'euclidean'\?$"),
        (ANCHORS, [], r"^space must name at least one of 'cosine', 'euclidean', 'l1', 'linf'$"),
        (ANCHORS, ["cosine", 3], r"^space must be one of 'cosine', 'euclidean', 'l1', 'linf', got 3$"),
    ],
)
def test_error_says_what_came_and_what_is_needed(anchors: Any, space: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        gm.relative_representation(X, anchors, space=space)
