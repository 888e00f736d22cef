"""Sums over pairs when the rows of one representation change places: only the products are new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.progress import phase, tell
from gramian.sweeps import gram
from gramian.sweeps.centred import blocks, centre
from gramian.sweeps.gram import GramMoments
from gramian.sweeps.products import sweep_star
from gramian.sweeps.represent import Representation
from gramian.sweeps.routes import Paired

Index: TypeAlias = npt.NDArray[np.int64]

PERMUTED = 0.5  # of a sweep over both representations, that a permutation takes
_TOGETHER = 32  # permutations of one sweep


def permutation(n: int, seed: int, b: int) -> Index:
    """Permutation b of a seed; b = −1 is the identity."""
    if b < 0:
        return np.arange(n)
    return np.random.default_rng([seed, b]).permutation(n)


def permuted_sums(
    pair: Paired, count: int, order: Callable[[int], Index], *, first: int = 0
) -> Iterator[tuple[int, float]]:
    """(b, ⟨K̄, L̄_π⟩) for π = order(b) of the rows of Y, b from `first` to `count` − 1, in scaled units.

    Norms, row sums and diagonals do not change with π, so only ⟨K', L'_π⟩ is swept.
    """
    if pair.by_features:
        yield from _permuted_feature_sums(pair, count, order, first)
        return
    g = pair.gram
    xs = gram.shifted(pair.as_swept, gram.moved_shift(g), g.base)
    for b, value in swept_sums(pair, xs, count, order, first=first):
        yield b, _centred_sum(g, order(b), value)


def swept_sums(
    pair: Paired, xs: Sequence[Representation], count: int, order: Callable[[int], Index], *, first: int = 0
) -> Iterator[tuple[int, float]]:
    """(b, Σ_{i≠j} v_0,ij v_1,π(i)π(j)) of two representations with their shifts, for π = order(b), in scaled units."""
    x, y = xs
    assert y.shift is not None
    told = phase(pair.progress, "permutations", count * PERMUTED, counted=True)
    for begin in range(first, count, _TOGETHER):
        batch = range(begin, min(count, begin + _TOGETHER))
        orders = [order(b) for b in batch]
        others = [replace(y, index=o, shift=np.ascontiguousarray(y.shift[..., o])) for o in orders]
        inner = sweep_star(x, others, precision=pair.precision, memory=pair.memory)
        for b, value in zip(batch, inner, strict=True):
            yield b, float(value)
        tell(told, batch.stop, count)


def _centred_sum(g: GramMoments, order: Index, inner: float) -> float:
    n, d = g.n, g.scaled_diagonal
    r, q = g.scaled_rows + d
    return float(inner + d[0] @ d[1][order] - 2 / n * (r @ q[order]) + r.sum() * q.sum() / n**2)


def _permuted_feature_sums(
    pair: Paired, count: int, order_of: Callable[[int], Index], first: int
) -> Iterator[tuple[int, float]]:
    """‖X̄'Ȳ_π‖² for linear kernels."""
    fx, fy = (centre(x, k) for x, k in zip(pair.matrices, pair.kernels, strict=True))
    n = pair.n
    y = fy.centred(fy.raw(0, n)) if 8 * n * fy.x.d <= 1 << 28 else None
    spans = blocks(n, [fx.x.d, fy.x.d])
    told = phase(pair.progress, "permutations", count * PERMUTED, counted=True)
    for b in range(first, count):
        order = order_of(b)
        cross = np.zeros((fx.x.d, fy.x.d))
        for start, stop in spans:
            rows = fx.centred(fx.raw(start, stop))
            cross += rows.T @ (y[order[start:stop]] if y is not None else fy.centred(fy.take(order[start:stop])))
        yield b, float(np.vdot(cross, cross))
        tell(told, b + 1, count)


def unbiased_from_biased(pair: Paired, biased: float, order: Index) -> float:
    """⟨U(K), U(L_π)⟩ by the bridge from V to U (Theory, 3e); only Σ K̄_ii L̄_π(i)π(i) depends on π."""
    s = pair.statistics
    n = s.n
    d = pair.centred_diagonals
    return biased - n / (n - 2) * float(d[0] @ d[1][order]) + float(s.trace[0] * s.trace[1]) / ((n - 1) * (n - 2))
