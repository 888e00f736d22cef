"""Second passes over pairs of rows: products by row, kernel matrices times vectors, nearest rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian import _core
from gramian.kernels import ArcCosine, Cosine
from gramian.progress import Progress, expect, phase
from gramian.rows.arrays import as_matrix
from gramian.sweeps.gram import shifted, sweep
from gramian.sweeps.represent import Precision, Representation

Array: TypeAlias = npt.NDArray[np.float64]

_AT_ONCE = 1 << 20  # numbers
_REACH = 200  # powers of two between rows whose inner products, squared, keep twice float64's digits
_LEAST = 900  # power of two below which they cannot be brought up by one factor


@dataclass(frozen=True, eq=False)
class RowProducts:
    """Per-row sums of products of shifted values v = K − s_i − s_j, diagonal left out; in scaled units."""

    row_sums: Array  # (pairs, n) Σ_j v_p v_q for (0,0), (0,1), (1,1)
    squares: Array  # (pairs,) Σ (v_p v_q)²
    difference: float  # Σ (w_0 v_0 − w_1 v_1)²
    diagonal: Array  # (m, n) v_ii
    exponent: npt.NDArray[np.int32]


def sweep_products(
    xs: Sequence[Representation],
    shift: Array,
    base: npt.NDArray[np.int32],
    *,
    weights: tuple[float, float] = (1.0, 1.0),
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> RowProducts:
    """The second pass: products around a given shift (m, n), in scaled units."""
    moved = shifted(xs, shift, base)
    raw = sweep(moved, "products", precision, weights=weights, memory=memory or 0, progress=progress)
    return RowProducts(
        row_sums=_core.fixed_values(raw["rows"]),
        squares=_core.fixed_values(raw["squares"]),
        difference=float(_core.fixed_values(raw["difference"])[0]),
        diagonal=np.stack(raw["diagonal"]),
        exponent=raw["exponent"],
    )


def sweep_star(
    centre: Representation,
    others: Sequence[Representation],
    *,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """(len(others),) Σ_{i≠j} of the first's shifted values times each other's, in scaled units."""
    raw = sweep((centre, *others), "star", precision, memory=memory or 0, progress=progress)
    return _core.fixed_values(raw["pairs"])


@dataclass(frozen=True, eq=False)
class VectorProducts:
    """K'V of shifted values K' = K − s_i − s_j, diagonal left out; in units of 2^exponent."""

    values: Array  # (n, k) Σ_{j≠i} K'_ij v_j
    diagonal: Array  # (n,) K'_ii
    exponent: int
    rounding: float  # of one value


def sweep_matmul(
    x: Representation,
    vectors: Array,  # (n, k) of size 1 at most; k up to 64
    *,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> VectorProducts:
    """Products of the shifted values with a few vectors."""
    vectors = np.ascontiguousarray(vectors)
    raw = sweep([x], "matmul", precision, vectors=vectors, memory=memory or 0, progress=progress)
    return VectorProducts(
        _core.fixed_values(raw["rows"]),
        raw["diagonal"][0],
        int(raw["exponent"][0]),
        float(raw["rounding"][0] * raw["epsilon"]),
    )


def multiply_hollow(
    x: Representation,
    vectors: Array,
    *,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """(K − s_i − s_j) V without its diagonal, s the representation's shift; vectors (n, k); in scaled units."""
    return _multiply(x, vectors, False, precision, memory, progress)


def multiply_centred(
    x: Representation,
    vectors: Array,
    *,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """K̄ V for K̄ = K − s_i − s_j with its diagonal, s the representation's shift; vectors (n, k); in scaled units."""
    return _multiply(x, vectors, True, precision, memory, progress)


def _multiply(
    x: Representation,
    vectors: Array,
    diagonal: bool,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
) -> Array:
    progress = phase(progress, "")
    expect(progress, -(-vectors.shape[1] // 64))
    largest = np.abs(vectors).max(axis=0)
    largest[largest == 0] = 1.0
    out = np.empty_like(vectors)
    for begin in range(0, vectors.shape[1], 64):
        part = slice(begin, begin + 64)
        found = sweep_matmul(x, vectors[:, part] / largest[part], precision=precision, memory=memory, progress=progress)
        out[:, part] = found.values * largest[part]
        if diagonal:
            out[:, part] += found.diagonal[:, None] * vectors[:, part]
    return out


@dataclass(frozen=True, eq=False)
class Nearest:
    """For every row its k nearest others, from all tiles or from a shard of them; shards of the same rows add with
    ``+``.

    Every entry is an exact float64 value of its pair, whoever computed it, so any shards in any order give the same
    bits.
    """

    index: npt.NDArray[np.int64]  # (n, k) nearest first, ties to the lower index; −1 where the shard has fewer
    similarity: Array  # (n, k) what they are ranked by, in units of 2^exponent (csrc/core/exact_value.hpp); nan at −1
    exponent: int

    def __add__(self, other: Nearest) -> Nearest:
        if not isinstance(other, Nearest):
            return NotImplemented
        if (self.index.shape, self.exponent) != (other.index.shape, other.exponent):
            raise ValueError("these neighbours are of different rows, or not of as many, and cannot be added")
        index = np.concatenate([self.index, other.index], axis=1)
        similarity = np.concatenate([self.similarity, other.similarity], axis=1)
        # by index first, then, keeping that order among equals, by similarity; nan sorts behind everything
        order = np.argsort(index, axis=1)
        by_index = np.take_along_axis(-similarity, order, axis=1)
        order = np.take_along_axis(order, np.argsort(by_index, axis=1, kind="stable"), axis=1)[:, : self.index.shape[1]]
        return replace(
            self,
            index=np.take_along_axis(index, order, axis=1),
            similarity=np.take_along_axis(similarity, order, axis=1),
        )


def sweep_nearest(
    x: Representation,
    k: int,
    *,
    shard: tuple[int, int] = (0, 1),
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Nearest:
    """The k nearest of every row by its kernel. No precision changes a bit of it."""
    raw = _core.sweep(
        [_alike_in_size(x).native()],
        statistic="topk",
        neighbors=k,
        shard=shard,
        precision=precision,
        memory=memory or 0,
        progress=phase(progress, "tiles"),
    )
    if shard == (0, 1) and raw["index"].min() < 0:
        raise ValueError(f"values of {x.kernel} of these rows are beyond float64; scale the rows down")
    return Nearest(raw["index"], raw["similarity"], int(raw["exponent"][0]) - 2 * x.power)


def _alike_in_size(x: Representation) -> Representation:
    """The same directions, each row times a power of two of its own, where squares of the least would underflow."""
    (rows,) = x.parts
    if rows.dtype != "float64" or not (isinstance(x.kernel, Cosine) or x.kernel == ArcCosine(0)):
        return x
    step = max(1, _AT_ONCE // rows.d)
    spans = [(a, min(rows.n, a + step)) for a in range(0, rows.n, step)]
    exponents = np.frexp(np.concatenate([np.abs(rows.block(a, b)).max(axis=1) for a, b in spans]))[1]
    # a row of zeros has the exponent 0, which changes nothing: it stays a row of zeros
    if np.ptp(exponents) <= _REACH and exponents.min() >= -_LEAST:
        return x
    out = np.empty(rows.shape)
    for a, b in spans:
        np.ldexp(rows.block(a, b), -exponents[a:b, None], out=out[a:b])
    return replace(x, parts=(as_matrix(out, "rows"),))
