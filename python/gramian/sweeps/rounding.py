"""What storing rows in their dtype may have changed: the least that can be told from them."""

from __future__ import annotations

import math
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.rows.arrays import LAST_DIGITS, Matrix
from gramian.sweeps.centred import blocks

Array: TypeAlias = npt.NDArray[np.float64]


def epsilon(dtype: str) -> float:
    """The unit in the last place of 1."""
    return 2.0 ** -LAST_DIGITS[dtype][0]


def last_places(rows: Array, dtype: str) -> Array:
    """The unit in the last place of every value, as the dtype holds it; 0 of a 0."""
    digits, least = LAST_DIGITS[dtype]
    unit = np.ldexp(1.0, np.maximum(np.frexp(rows)[1] - 1 - digits, least))
    return cast("Array", np.where(rows == 0, 0.0, unit))


def less_row_means(rows: Array) -> tuple[Array, npt.NDArray[np.int32]]:
    """Each row less its own mean, over a power of two whose exponent (b, 1) comes with it; a constant row becomes 0."""
    exponent = np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1]
    rows = np.ldexp(rows, -exponent)
    rows -= rows[:, :1]
    rows -= rows.mean(axis=1, keepdims=True)
    return rows, exponent


def relative(rows: Array, dtype: str, *, row_centred: bool) -> tuple[Array, Array]:
    """(b, d) last places, over the length of the row that is normalised, and (b,) the rounding of normalising it.

    Of a unit that is nearly all of its row, only a part: a row's own direction does not turn it.
    """
    if row_centred:
        left, exponent = less_row_means(rows)
    else:
        exponent = np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1]
        left = np.ldexp(rows, -exponent)
    last, size = np.ldexp(last_places(rows, dtype), -exponent), lengths(left)
    full = lengths(np.ldexp(rows, -exponent)) if row_centred else size
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    part = left * inverse[:, None]
    whole = 1 - 1 / rows.shape[1] if row_centred else 1.0  # of a unit less its share of the mean
    last *= inverse[:, None] * np.sqrt(np.clip(2 * (whole - part * part), 0, 1))
    own = (4 + math.sqrt(rows.shape[1]) / 16) * math.sqrt(2) * epsilon("float64")
    return last, own * full * inverse


def lengths(rows: Array) -> Array:
    return cast("Array", np.sqrt(np.einsum("ij,ij->i", rows, rows)))


def turned(x: Matrix, dtype: str, *, row_centred: bool = False) -> Array:
    """(n,) radians by which rounding x to a dtype, and normalising it in float64, may have turned each row."""
    out = np.empty(x.n)
    for start, stop in blocks(x.n, [x.d]):
        last, own = relative(x.block(start, stop), dtype, row_centred=row_centred)
        out[start:stop] = 0.5 * lengths(last) + own
    return out
