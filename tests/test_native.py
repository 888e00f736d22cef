"""The compiled module by itself: arguments that do not go together raise, and nothing is read outside of an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian import _core


def data(n: int = 7, d: int = 5) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d))


def view(n: int = 7, d: int = 5, dtype: str = "float64") -> Any:
    return _core.View.from_numpy(data(n, d).astype(dtype))


def representation(*, views: Any = None, index: Any = None, shift: Any = None, base: int = -1) -> Any:
    return [view()] if views is None else views, _core.KernelFunction("linear", {}), index, shift, base


@pytest.fixture(params=["row_words", "pair_words"])
def words(request: pytest.FixtureRequest) -> np.ndarray:
    found: np.ndarray = getattr(gm.gram_moments(data(), data()[::-1]), request.param)
    return found


# ---- fixed-point sums ------------------------------------------------------------------------------------------------


def test_sums_of_other_shapes_do_not_add(words: np.ndarray) -> None:
    for other in (words[:1], words[..., :-1], np.concatenate([words, words]), words[None], words[:0]):
        for a, b in ((words, other), (other, words)):
            with pytest.raises(ValueError, match=r"both arrays have the same shape|not the words of fixed-point sums"):
                _core.fixed_add(a, b)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint32", "complex128", "bool"])
def test_words_of_another_dtype_are_not_rounded_to_words(words: np.ndarray, dtype: str) -> None:
    other = words.astype(dtype)
    for call in (_core.fixed_values, lambda x: _core.fixed_add(x, words), lambda x: _core.fixed_add(words, x)):
        with pytest.raises(TypeError, match="words of uint64"):
            call(other)


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 0)])
def test_what_are_no_words_of_sums_is_refused(shape: tuple[int, ...]) -> None:
    given = np.zeros(shape, np.uint64)
    if shape == (3,):
        assert _core.fixed_values(given).shape == ()
        return
    with pytest.raises(ValueError, match="not the words of fixed-point sums"):
        _core.fixed_values(given)


@pytest.mark.parametrize("layout", ["fortran", "swapped", "unaligned", "strided"])
def test_words_in_any_layout_have_the_same_values(words: np.ndarray, layout: str) -> None:
    raw = np.frombuffer(b"\0" + words.tobytes(), np.uint8)[1:]
    given = {
        "fortran": np.asfortranarray(words),
        "swapped": words.astype(">u8"),
        "unaligned": raw.view(np.uint64).reshape(words.shape),
        "strided": np.repeat(words, 2, axis=0)[::2],
    }[layout]

    assert np.array_equal(_core.fixed_values(given), _core.fixed_values(words))
    assert np.array_equal(_core.fixed_add(given, words), _core.fixed_add(words, words))


# ---- listed rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[0, 7], [-1, 0], [1 << 62, 0], [-(1 << 63), 0]])
def test_rows_that_are_not_there_are_an_index_error(rows: list[int]) -> None:
    there, listed = np.array([0, 1]), np.array(rows)
    for i, j in ((listed, there), (there, listed)):
        with pytest.raises(IndexError, match=r"row -?\d+ of 7"):
            _core.pair_distances([view()], i, j, l1=False)
    with pytest.raises(IndexError, match=r"row -?\d+ of 7"):
        _core.sweep([representation(index=listed)])


def test_pairs_have_two_rows_each() -> None:
    with pytest.raises(ValueError, match="pairs have two rows each"):
        _core.pair_distances([view()], np.arange(5), np.arange(4), l1=True)
    with pytest.raises(ValueError, match="rows are listed in one dimension"):
        _core.pair_distances([view()], np.zeros((2, 2), int), np.zeros((2, 2), int), l1=True)


VIEWS = {
    "none": ([], "rows lie in one view or two"),
    "three": ([view(), view(), view()], "rows lie in one view or two"),
    "nothing": ([None], "None is no view"),
    "two widths": ([view(), view(d=4)], "two views of rows are of one width and dtype"),
    "two dtypes": ([view(), view(dtype="float32")], "two views of rows are of one width and dtype"),
    "no rows": ([_core.View.from_numpy(np.zeros((0, 3)))], "a view of no elements has no rows"),
    "no features": ([_core.View.from_numpy(np.zeros((3, 0)))], "a view of no elements has no rows"),
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_that_are_no_rows_are_refused(case: str) -> None:
    views, words = VIEWS[case]
    with pytest.raises(ValueError, match=words):
        _core.pair_distances(views, np.zeros(1, int), np.zeros(1, int), l1=False)
    with pytest.raises(ValueError, match=words):
        _core.sweep([representation(views=views)])


def test_views_of_memory_that_cannot_be_stepped_through_are_refused() -> None:
    x = data()
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(x.shape)
    between = np.zeros((7, 5), np.dtype([("tag", np.uint16), ("value", np.float32)]))["value"]
    for odd, words in ((unaligned, "aligned elements"), (between, "strides that are whole elements")):
        with pytest.raises(ValueError, match=words):
            _core.View.from_numpy(odd)
    with pytest.raises(TypeError, match="matrix of uint16"):
        _core.View.from_bfloat16(np.zeros((3, 2), ">u2"))


# ---- sweeps ------------------------------------------------------------------------------------------------------

SWEEPS = {
    "no representation": ([], {}, "at least one representation"),
    "different numbers of rows": ([representation(), representation(views=[view(6)])], {}, "the same number of rows"),
    "an index of another length": ([representation(), representation(index=np.arange(6))], {}, "same number of rows"),
    "an empty index": ([representation(index=np.arange(0))], {}, "same number of rows, 1 or more"),
    "a short shift": ([representation(shift=np.zeros(6))], {}, "a shift has a value for each row"),
    "a shift of columns": ([representation(shift=np.zeros((7, 1)))], {}, "a shift has a value for each row"),
    "a base of 2": ([representation(base=2)], {}, "a base is 0, 1 or"),
    "a split below 0": ([representation()] * 3, {"split": -1}, "a split of moments leaves representations on both"),
    "a split of all": ([representation()] * 3, {"split": 3}, "a split of moments leaves representations on both"),
    "a split of a star": ([representation()] * 3, {"split": 1, "statistic": "star"}, "a split of moments"),
    "a shard of none": ([representation()], {"shard": (0, 0)}, "a shard is"),
    "a shard below 0": ([representation()], {"shard": (-1, 2)}, "a shard is"),
    "a shard beyond": ([representation()], {"shard": (2, 2)}, "a shard is"),
    "memory below 0": ([representation()], {"memory": -1}, "memory is a number of bytes"),
    "vectors of too few rows": (
        [representation()],
        {"statistic": "matmul", "vectors": np.ones((6, 2))},
        "for each row",
    ),
    "vectors of one dimension": ([representation()], {"statistic": "matmul", "vectors": np.ones(7)}, "for each row"),
    "no vectors": ([representation()], {"statistic": "matmul"}, "vectors are for products with them"),
    "none of them": ([representation()], {"statistic": "matmul", "vectors": np.ones((7, 0))}, "1 to 64 vectors"),
    "too many": ([representation()], {"statistic": "matmul", "vectors": np.ones((7, 65))}, "1 to 64 vectors"),
    "vectors for nothing": ([representation()], {"vectors": np.ones((7, 2))}, "vectors are for products with them"),
    "no neighbours": ([representation()], {"statistic": "topk", "neighbors": 0}, "from 1 to n - 1 neighbours"),
    "n neighbours": ([representation()], {"statistic": "topk", "neighbors": 7}, "from 1 to n - 1 neighbours"),
    "neighbours of two": ([representation()] * 2, {"statistic": "topk", "neighbors": 2}, "of one representation"),
}


@pytest.mark.parametrize("case", SWEEPS)
def test_a_sweep_over_what_does_not_go_together_is_refused(case: str) -> None:
    xs, options, words = SWEEPS[case]
    with pytest.raises(ValueError, match=words):
        _core.sweep(xs, **options)


def test_shifts_and_vectors_that_are_not_aligned_are_read_all_the_same() -> None:
    shift = np.random.default_rng(1).standard_normal(7)
    odd = np.frombuffer(b"\0" + shift.tobytes(), np.uint8)[1:].view(np.float64)

    got, want = (_core.sweep([representation(shift=s)])["pairs"] for s in (odd, shift))

    assert not odd.flags.aligned
    assert np.array_equal(got, want)
