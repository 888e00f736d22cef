"""Layers of one model against those of another: only pairs across and each layer with itself are summed, and right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from accuracy import CASES, ESTIMATORS, MEASURES, TILE_EDGE, as_input, hard_pair
from gramian.rows.arrays import as_matrix
from gramian.sweeps import centred, gram
from gramian.sweeps.represent import Representation, represent

N = 2 * TILE_EDGE + 7
SIZES = [
    (1, 1),
    (1, 2),
    (2, 1),
    (2, 3),
    (4, 4),
    (5, 6),
    (9, 1),
    (3, 8),
]  # around the groups that are multiplied at once
KERNELS = ("rbf", "linear", "cosine", "laplacian", "polynomial", "arc_cosine_1")
sizes = pytest.mark.parametrize(("first", "others"), SIZES)
pytestmark = pytest.mark.usefixtures("restored_threads")


def layers(count: int, dtype: str = "float32", n: int = N, mean: float = 0.0) -> list[Representation]:
    """Hard rows of different widths, each by another kernel function."""
    arrays = [hard_pair(n, 3 + 5 * p, 2, seed=p, mean=mean, dtype=dtype)[0] for p in range(count)]
    return [
        represent(CASES[KERNELS[p % len(KERNELS)]].kernel, as_matrix(as_input(X, dtype), "X"))
        for p, X in enumerate(arrays)
    ]


def held(m: int, split: int) -> Any:
    """(m, m) pairs that a split leaves: across it, and on the diagonal."""
    side = np.arange(m) < split
    return (side[:, None] != side) | np.eye(m, dtype=bool)


def assert_block_of(part: gm.GramMoments, whole: gm.GramMoments, split: int) -> None:
    """All that a split keeps is what the full sweep has, to the bit, and all else is nan."""
    there = held(whole.m, split)
    np.testing.assert_array_equal(part.scaled_inner, np.where(there, whole.scaled_inner, np.nan))
    np.testing.assert_array_equal(part.shifted_inner, np.where(there, whole.shifted_inner, np.nan))
    for name in ("row_words", "scaled_shift", "scaled_diagonal", "exponent", "base", "rounding"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name), err_msg=name)


# ---- the sweep -------------------------------------------------------------------------------------------------------


@sizes
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_pairs_across_a_split_have_the_bits_of_the_full_sweep(first: int, others: int, dtype: str) -> None:
    xs = layers(first + others, dtype)
    assert_block_of(gram.sweep_moments(xs, split=first), gram.sweep_moments(xs), first)


@sizes
def test_no_other_pairs_are_summed(first: int, others: int) -> None:
    g = gram.sweep_moments(layers(first + others, n=20), split=first)
    assert g.pair_words.shape == (first * others + first + others, 6)
    assert g.pair_words.any(axis=1).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [None, 1, 1 << 20])
def test_neither_threads_nor_memory_nor_shards_change_a_bit_of_a_split(memory: int | None, threads: int) -> None:
    xs = layers(7)
    whole = gram.sweep_moments(xs)
    gm.set_num_threads(threads)
    assert_block_of(gram.sweep_moments(xs, split=3, memory=memory), whole, 3)
    parts = [gram.sweep_moments(xs, split=3, memory=memory, shard=(rank, 4)) for rank in (2, 0, 3, 1)]
    assert_block_of(sum(parts[1:], parts[0]), whole, 3)


def test_shards_of_different_splits_do_not_add() -> None:
    xs = layers(3)
    parts = [gram.sweep_moments(xs, split=split, shard=(rank, 2)) for rank, split in enumerate((1, 2))]
    assert parts[0].pair_words.shape == parts[1].pair_words.shape
    with pytest.raises(ValueError, match="cannot be added"):
        _ = parts[0] + parts[1]


def with_a_long_row(rng: np.random.Generator) -> Any:
    """Rows whose float32 tiles keep too few digits of what is left without one of them."""
    x = 1e-3 * rng.normal(size=(300, 4))
    x[7] = 1000
    return x


def with_odd_landmarks(rng: np.random.Generator) -> Any:
    """Rows whose means are far from what the shift is taken from."""
    x = 1e-3 * rng.normal(size=(8000, 4))
    x[(2 * np.arange(64) + 1) * len(x) // 128] += 1
    return x


@pytest.mark.parametrize("rows", [with_a_long_row, with_odd_landmarks])
def test_sweeps_made_again_keep_the_split(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    xs = [represent("distance", as_matrix(rows(rng).astype("float32"), "X")) for _ in range(4)]
    splits, sweep = [], gram.sweep_moments
    monkeypatch.setattr(gram, "sweep_moments", lambda *a, **o: (splits.append(o["split"]), sweep(*a, **o))[1])

    whole, part = gram.stable_moments(xs), gram.stable_moments(xs, split=2)

    assert splits == [0, 0, 2, 2]
    assert_block_of(part, whole, 2)


# ---- features --------------------------------------------------------------------------------------------------------


@sizes
@pytest.mark.parametrize("kernel", ["linear", "cosine"])
@pytest.mark.parametrize("budget", [1 << 28, 1])
def test_moments_of_features_across_a_split_are_those_of_all(
    first: int, others: int, kernel: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    xs = [hard_pair(N, 3 + p, 2, seed=p)[0] for p in range(first + others)]
    arguments = [as_matrix(x, "X") for x in xs], [CASES[kernel].kernel] * len(xs)
    whole, there = centred.feature_statistics(*arguments), held(len(xs), first)
    monkeypatch.setattr(centred, "_BUDGET", budget)

    part = centred.feature_statistics(*arguments, split=first)

    for name in ("hsic_biased", "hsic_unbiased", "alignment_biased", "alignment_unbiased"):
        got, want = getattr(part, name), getattr(whole, name)
        own = np.sqrt(np.diag(want))
        np.testing.assert_array_equal(np.isnan(got), ~there)
        np.testing.assert_allclose((got / own / own[:, None])[there], (want / own / own[:, None])[there], atol=1e-13)
    for name in ("trace", "diagonal_inner", "exponent", "rounding"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


@pytest.mark.parametrize("at_once", [True, False])
def test_no_other_products_of_features_are_made(at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = [3, 4, 5, 6, 7]
    monkeypatch.setattr(centred, "_BUDGET", 1 << 28 if at_once else 1)
    passes = centred._passes(widths, 2)
    made = [(sum(widths[p] for p in a), sum(widths[q] for q in b)) for products in passes for a, b in products]
    across = [(7, 18)] if at_once else [(a, b) for a in (3, 4) for b in (5, 6, 7)]
    assert sorted(made) == sorted([*across, *((d, d) for d in widths)])
    assert len(passes) == (1 if at_once else len(made))


# ---- matrices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("kernel", "n"), [("linear", 200), ("linear", 20), ("rbf", 30), ("polynomial", 30)])
def test_a_matrix_is_the_oracles(kernel: str, n: int, measure: Any, estimator: Any) -> None:
    case, rng = CASES[kernel], np.random.default_rng(0)
    shared = rng.normal(size=(n, 4))
    left, right = (
        [np.tanh(shared @ rng.normal(size=(4, d))) for d in widths] for widths in ((3, 5, 2), (4, 6, 1, 3, 5))
    )

    found = gm.cka_matrix(left, right, case.kernel, measure=measure, estimator=estimator).values

    want = np.array(
        [[getattr(oracle, measure)(case.gram(x), case.gram(y), estimator) for y in right] for x in left], dtype=float
    )
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("kernel", ["rbf", "distance", "arc_cosine_1"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.filterwarnings("error")
def test_a_matrix_is_a_block_of_that_of_all_layers(measure: Any, estimator: Any, kernel: str) -> None:
    rng = np.random.default_rng(1)
    left = {name: rng.normal(size=(N, d)).astype("float32") for name, d in (("a", 3), ("b", 9))}
    right = {"c": left["a"] ** 2, "flat": np.ones((N, 4), "float32"), "d": rng.normal(size=(N, 2)).astype("float32")}
    how: Any = {"kernel": CASES[kernel].kernel, "measure": measure, "estimator": estimator}

    found = gm.cka_matrix(left, right, **how)

    whole = gm.cka_matrix(left | right, **how)
    np.testing.assert_array_equal(found.values, whole.values[:2, 2:])
    assert [why.replace("Ys", "Xs") for why in found.reasons.values()] == list(whole.reasons.values())


def test_a_matrix_of_two_models_asks_for_its_pairs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    left, right = list(rng.normal(size=(3, 40, 5))), list(rng.normal(size=(2, 40, 5)))
    seen, sweep = [], gram.sweep_moments
    monkeypatch.setattr(gram, "sweep_moments", lambda *a, **o: (seen.append(o["split"]), sweep(*a, **o))[1])
    gm.cka_matrix(left, right, "rbf")
    gm.cka_matrix(left, kernel="rbf")
    assert seen == [3, 0]
