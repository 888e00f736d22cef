"""Rows around their means, and what the feature route sums of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, product
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.kernels import Cosine, Kernel, Linear
from gramian.progress import Progress, tell
from gramian.rows.arrays import LAST_DIGITS, Matrix
from gramian.sweeps.gram import held_pairs
from gramian.sweeps.statistics import Statistics

Array: TypeAlias = npt.NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
_BUDGET = 256 << 20  # bytes that the d×d moments may take without being asked
_BLOCK = 8 << 20  # bytes of float64 rows at a time
_SPREAD_ROWS = 64  # rows from which it is told what the others may differ by
_NEGLIGIBLE = 1e-12  # part of that by which a mean may be off: its square is what a second moment is off by


def feature_route(xs: Sequence[Matrix], kernels: Sequence[Kernel], memory: int | None) -> bool:
    """Whether moments of features cost less than Gram tiles, and fit.

    n·d² operations against n²·d; but moments are made in float64, at about three times the price of a float32 tile.
    What must fit is one pair of arrays at a time. Rows on a CUDA device stay there.
    """
    if any(x.device != "cpu" for x in xs):
        return False
    widths = sorted(x.d for x in xs)
    d, widest = sum(widths), sum(widths[-2:])
    plain = all(isinstance(k, Linear | Cosine) for k in kernels)
    price = 1 if any(x.dtype == "float64" for x in xs) else 3
    return plain and xs[0].n > price * d and 8 * widest**2 <= max(_BUDGET, memory or 0)


@dataclass(frozen=True, eq=False)
class CentredFeatures:
    """Rows as the feature route sees them: normalised if the kernel is, scaled by a power of two, mean known."""

    x: Matrix
    normalize: bool
    scale: float
    mean: Array  # (d,) of the scaled rows
    residual: Array | None = None  # (d,) of what is left of them without it, where a mean in float64 is too coarse
    rest: Array | None = None  # (d,) all that is left of them: factorisations tell it where squares do not

    def raw(self, start: int, stop: int) -> Array:
        """(b, d) scaled rows, not centred; a new array."""
        return self._prepared(self.x.block(start, stop))

    def fill(self, start: int, stop: int, out: Array) -> None:
        """(b, d) scaled rows, centred, into memory that is there."""
        data = self.x.data
        if data is None or self.x.dtype == "bfloat16" or self.normalize or self.scale != 1:
            self.centred(self.raw(start, stop), out=out)
        elif self.mean.any():
            self.centred(data[start:stop], out=out)
        else:
            out[:] = data[start:stop]

    def centred(self, rows: npt.NDArray[np.floating], out: Array | None = None) -> Array:
        """(b, d) what `raw` and `take` give, less the mean."""
        found = np.subtract(rows, self.mean, out=out)
        if self.residual is not None:
            found -= self.residual
        return cast("Array", found)

    def centred_in_full(self, rows: npt.NDArray[np.floating], out: Array | None = None) -> Array:
        """(b, d) the same, and less what rounding of the mean leaves, which is below any square of it."""
        found = np.subtract(rows, self.mean, out=out)
        if self.rest is not None:
            found -= self.rest
        return cast("Array", found)

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        """(b, d) listed rows, scaled, not centred."""
        return self._prepared(self.x.take(rows))

    def _prepared(self, found: Array) -> Array:
        rows = np.multiply(found, 1.0 if self.normalize else self.scale)
        if self.normalize:
            largest = np.abs(rows).max(axis=1, keepdims=True)
            rows /= np.where(largest > 0, largest, 1.0)
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
            rows /= np.where(norms > 0, norms, 1.0)
        return cast("Array", rows)

    @property
    def rounded(self) -> bool:
        """Whether rows were stored in fewer digits than those of float64."""
        return self.x.dtype != "float64"

    @property
    def exponent(self) -> int:
        """K = 2^exponent · (what the scaled rows give)."""
        return 0 if self.normalize else -2 * round(math.log2(self.scale))


def stored_roundings(rows: Array, dtype: str) -> Array:
    """(4, d) Σ of u²/12, the variance of a rounding to multiples of u, and the `digits` of moments; 0 for float64."""
    found = np.zeros((4, rows.shape[1]))
    if dtype != "float64":
        unit = stored_units(rows, dtype)
        rounded = unit > 0
        found[1] = rounded.sum(axis=0)
        found[2] = np.log2(unit, out=np.zeros_like(unit), where=rounded).sum(axis=0)
        np.square(unit, out=unit)
        found[0] = unit.sum(axis=0) / 12
        found[3] = np.einsum("ij,ij->j", unit, unit) / 144
    return found


def stored_units(rows: Array, dtype: str) -> Array:
    """(b, d) units in the last place of rows that were stored in float32 or 16 bits.

    Zeros are taken for exact: a rectified unit that does not fire is 0, not a number too small to store.
    """
    digits, least = LAST_DIGITS[dtype]
    units = np.ldexp(np.where(rows == 0, 0.0, 1.0), np.maximum(np.frexp(rows)[1] - 1 - digits, least))
    return cast("Array", units)


def blocks(n: int, widths: Sequence[int], size: int = _BLOCK) -> list[tuple[int, int]]:
    """Row ranges of about `size` bytes of float64; they depend on the shapes only."""
    rows = max(256, size // (8 * max(1, sum(widths))))
    return [(start, min(n, start + rows)) for start in range(0, n, rows)]


def in_range(x: Matrix) -> float:
    """The power of two that keeps squares in range; a pass over the rows if they are float64."""
    if x.dtype != "float64":
        return 1.0
    largest = max(float(np.abs(x.block(a, b)).max()) for a, b in blocks(x.n, [x.d]))
    return 2.0 ** -max(-1000, min(1000, math.frexp(largest)[1])) if largest > 0 else 1.0


def centre(x: Matrix, kernel: Kernel) -> CentredFeatures:
    """One or two passes: the scale that keeps squares in range, then the mean."""
    normalize = isinstance(kernel, Cosine)
    scale = 1.0 if normalize else in_range(x)
    first = CentredFeatures(x, normalize, scale, np.zeros(x.d))
    total = np.zeros(x.d)
    for a, b in blocks(x.n, [x.d]):
        total += first.raw(a, b).sum(axis=0)
    rough = total / x.n
    # the mean of differences from the mean: exact for constants, and a digit or two better for everything else
    correction = np.zeros(x.d)
    for a, b in blocks(x.n, [x.d]):
        correction += (first.raw(a, b) - rough).sum(axis=0)
    correction /= x.n
    mean = rough + correction
    # what this sum was rounded by; far from 0 it is much beside what rows differ by
    residual = correction - (mean - rough)
    spread = np.abs(first.raw(0, min(x.n, _SPREAD_ROWS)) - mean).max(axis=0)
    known = np.abs(residual) > EPS * np.abs(correction) * x.n
    told = known & (np.abs(residual) > _NEGLIGIBLE * spread)
    return replace(
        first,
        mean=mean,
        residual=np.where(told, residual, 0.0) if told.any() else None,
        rest=np.where(known, residual, 0.0) if known.any() else None,
    )


def feature_statistics(
    xs: Sequence[Matrix], kernels: Sequence[Kernel], *, split: int = 0, progress: Progress | None = None
) -> Statistics:
    """`Statistics` of linear and cosine kernels from d×d moments.

    Two to three passes over the rows, n·(Σd)² flops in BLAS, 8·(Σd)² bytes at most (one pair of arrays at a time when
    that is more than 256 MB). With a split only of the first so many with the others, and of each with itself; all else
    is nan.
    """
    features = [centre(x, k) for x, k in zip(xs, kernels, strict=True)]
    n, m = xs[0].n, len(xs)
    widths = [x.d for x in xs]
    square, raw_square = np.zeros((m, n)), np.zeros((m, n))
    inner, raw_inner = np.full((m, m), np.nan), np.full((m, m), np.nan)
    passes = _passes(widths, split)
    members = [sorted({p for both in products for side in both for p in side}) for products in passes]
    spans = [blocks(n, [widths[p] for p in group]) for group in members]
    total, done = sum(len(s) for s in spans), 0
    for products, group, span in zip(passes, members, spans, strict=True):
        edges = list(accumulate((widths[p] for p in group), initial=0))
        columns = {p: slice(*ends) for p, ends in zip(group, pairwise(edges), strict=True)}
        sides = [tuple(slice(columns[s[0]].start, columns[s[-1]].stop) for s in both) for both in products]
        second = np.zeros((edges[-1], edges[-1]))
        for a, b in span:
            rows = np.empty((b - a, edges[-1]))
            for p in group:
                raw = features[p].raw(a, b)
                raw_square[p, a:b] = np.einsum("ij,ij->i", raw, raw)
                part = features[p].centred(raw, out=rows[:, columns[p]])
                square[p, a:b] = np.einsum("ij,ij->i", part, part)
            for left, right in sides:
                second[left, right] += rows[:, left].T @ rows[:, right]
            done += 1
            tell(progress, done, total)
        for p, q in {(min(pair), max(pair)) for left, right in products for pair in product(left, right)}:
            block = second[columns[p], columns[q]]
            inner[p, q] = inner[q, p] = np.vdot(block, block)
            block += n * np.multiply.outer(features[p].mean, features[q].mean)
            raw_inner[p, q] = raw_inner[q, p] = np.vdot(block, block)
    trace = square.sum(axis=1)
    diagonal_inner, raw_diagonal = square @ square.T, raw_square @ raw_square.T
    # x − μ of stored values is as good as exact, however far both are from 0; of normalised rows it has their rounding
    size = square.mean(axis=1)
    spread = np.where([f.normalize for f in features], np.sqrt(raw_square.mean(axis=1) / widths), 0.0)
    return statistics_of(
        n,
        inner,
        raw_inner,
        trace,
        diagonal_inner,
        raw_diagonal,
        np.array([f.exponent for f in features], dtype=np.int32),
        EPS * (size + spread * np.sqrt(size)),
    )


def _passes(widths: Sequence[int], split: int) -> list[list[tuple[range, range]]]:
    """Which representations meet which others while the rows go by: all in one pass where that fits, or a pair each."""
    m = len(widths)
    if 8 * sum(widths) ** 2 > _BUDGET:
        return [[(range(p, p + 1), range(q, q + 1))] for p, q in np.argwhere(held_pairs(m, split)).tolist()]
    if not split:
        return [[(range(m), range(m))]]
    return [[(range(split), range(split, m)), *((range(p, p + 1), range(p, p + 1)) for p in range(m))]]


def statistics_of(
    n: int,
    inner: Array,  # (m, m) ‖X̄'Ȳ‖²
    raw_inner: Array,  # (m, m) ‖X'Y‖²
    trace: Array,  # (m,) Σ|x̄|²
    diagonal_inner: Array,  # (m, m) Σ|x̄|²|ȳ|²
    raw_diagonal: Array,  # (m, m) Σ|x|²|y|²
    exponent: npt.NDArray[np.int32],
    rounding: Array,
) -> Statistics:
    """V to U by the bridge of Theory, 3.1 (3e)."""
    if n >= 4:
        unbiased = (inner - n / (n - 2) * diagonal_inner + np.multiply.outer(trace, trace) / ((n - 1) * (n - 2))) / (
            n * (n - 3)
        )
    else:
        unbiased = np.full_like(inner, np.nan)
    return Statistics(
        n=n,
        hsic_biased=inner / n**2,
        hsic_unbiased=unbiased,
        alignment_biased=raw_inner / n**2,
        alignment_unbiased=(raw_inner - raw_diagonal) / (n * (n - 1)),
        trace=trace,
        diagonal_inner=diagonal_inner,
        exponent=exponent,
        rounding=rounding,
    )


def centred_row_products(xs: Sequence[Matrix], kernels: Sequence[Kernel], progress: Progress | None = None) -> Array:
    """(3, n) Σ_j U(K_a)_ij U(K_b)_ij for (0,0), (0,1), (1,1) of two linear kernels, in O(n·d²).

    With x̄ centred, U(K)_ij = x̄_i·x̄_j − ρ_i − ρ_j, and the sum over j factors through Σ_j x̄_j ȳ_j'.
    """
    features = [centre(x, k) for x, k in zip(xs, kernels, strict=True)]
    n = xs[0].n
    widths = [x.d for x in xs]
    spans = blocks(n, widths)
    square = [np.empty(n), np.empty(n)]
    second = {(a, b): np.zeros((widths[a], widths[b])) for a, b in ((0, 0), (0, 1), (1, 1))}
    for start, stop in spans:
        rows = [f.centred(f.raw(start, stop)) for f in features]
        for a in (0, 1):
            square[a][start:stop] = np.einsum("ij,ij->i", rows[a], rows[a])
        for a, b in second:
            second[a, b] += rows[a].T @ rows[b]
        tell(progress, stop, 3 * n)
    rho = [-p / (n - 2) + p.sum() / (2 * (n - 1) * (n - 2)) for p in square]
    weighted = {(a, b): np.zeros(widths[a]) for a in (0, 1) for b in (0, 1)}  # Σ_j x̄_a,j ρ_b,j
    for start, stop in spans:
        rows = [f.centred(f.raw(start, stop)) for f in features]
        for a, b in weighted:
            weighted[a, b] += rows[a].T @ rho[b][start:stop]
        tell(progress, n + stop, 3 * n)
    out = np.empty((3, n))
    total = [r.sum() for r in rho]
    for start, stop in spans:
        rows = [f.centred(f.raw(start, stop)) for f in features]
        for k, (a, b) in enumerate(second):
            ra, rb = rho[a][start:stop], rho[b][start:stop]
            out[k, start:stop] = (
                np.einsum("ij,ij->i", rows[a] @ second[a, b], rows[b])
                - rows[a] @ weighted[a, b]
                - rows[b] @ weighted[b, a]
                + n * ra * rb
                + ra * total[b]
                + rb * total[a]
                + float(rho[a] @ rho[b])
                - (square[a][start:stop] - 2 * ra) * (square[b][start:stop] - 2 * rb)
            )
        tell(progress, 2 * n + stop, 3 * n)
    return out


def raw_row_products(xs: Sequence[Matrix], kernels: Sequence[Kernel], progress: Progress | None = None) -> Array:
    """(3, n) Σ_{j≠i} K_a,ij K_b,ij for (0,0), (0,1), (1,1) of two linear kernels, uncentred."""
    features = [centre(x, k) for x, k in zip(xs, kernels, strict=True)]
    n = xs[0].n
    widths = [x.d for x in xs]
    spans = blocks(n, widths)
    second = {(a, b): np.zeros((widths[a], widths[b])) for a, b in ((0, 0), (0, 1), (1, 1))}
    for start, stop in spans:
        rows = [f.raw(start, stop) for f in features]
        for a, b in second:
            second[a, b] += rows[a].T @ rows[b]
        tell(progress, stop, 2 * n)
    out = np.empty((3, n))
    for start, stop in spans:
        rows = [f.raw(start, stop) for f in features]
        square = [np.einsum("ij,ij->i", r, r) for r in rows]
        for k, (a, b) in enumerate(second):
            out[k, start:stop] = np.einsum("ij,ij->i", rows[a] @ second[a, b], rows[b]) - square[a] * square[b]
        tell(progress, n + stop, 2 * n)
    return out


def centred_squares(x: Matrix, kernel: Kernel) -> Array:
    """(n,) |x̄_i|², the diagonal of a centred linear kernel, in scaled units."""
    f = centre(x, kernel)
    out = np.empty(x.n)
    for a, b in blocks(x.n, [x.d]):
        rows = f.centred(f.raw(a, b))
        out[a:b] = np.einsum("ij,ij->i", rows, rows)
    return out


def covariance_cube_trace(x: Matrix, kernel: Kernel) -> float:
    """tr K̄³ of a linear kernel, as tr (X̄'X̄)³, in scaled units."""
    f = centre(x, kernel)
    second = np.zeros((x.d, x.d))
    for a, b in blocks(x.n, [x.d]):
        rows = f.centred(f.raw(a, b))
        second += rows.T @ rows
    return float(np.vdot(second, second @ second))
