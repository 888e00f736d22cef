"""Sums over pairs of dissimilarities: Pearson and cosine correlations, and their permutations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.kernels import Cosine, Linear
from gramian.measures.dissimilarities import (
    STORED,
    TOLERANCE,
    Asked,
    Correlation,
    Dissimilarity,
    Method,
    checked,
    host_copy,
    noise_of,
    paired,
    represented,
    why_undefined,
)
from gramian.progress import Progress, expect
from gramian.reasons import told
from gramian.rows.arrays import Matrix, as_matrix
from gramian.sweeps import gram, pairs, rounding
from gramian.sweeps.centred import blocks, centre
from gramian.sweeps.permuted import PERMUTED, Index, permuted_sums, swept_sums
from gramian.sweeps.represent import Precision, Representation
from gramian.sweeps.routes import Paired

Array: TypeAlias = npt.NDArray[np.float64]

_FUNCTION = {"linear": "squared_distance", "cosine": "cosine_distance", "distance": None}
_RESOLVED = 1e-6  # variance over mean square below which sums of features give way to a sweep around the mean
_AMPLIFICATION = 1e4  # mean square over variance above which the sweep is made again, around its own mean
_AGAIN = 3  # times at most; each leaves a few roundings of what the one before left of the mean


# roundings of a tile that a standard deviation must have, or all is done again in float64, about the mean of the rows
_DIGITS = {"float32": 1e4, "float64": 1e10}
_FAR = 1e-20  # ‖X̄'X̄‖² over ‖X'X‖² below which means are 10⁵ spreads away and are taken off first


def _far_copy(x: Matrix, kind: Dissimilarity, name: str) -> Matrix:
    """The rows as float64; distances do not notice that their mean is taken off, which leaves all their digits."""
    if kind == "correlation":
        return host_copy(x, name, row_centred=True, exact=True)
    if kind == "cosine":
        return x if x.data is not None and x.dtype == "float64" else host_copy(x, name, row_centred=False, exact=True)
    features, out = centre(x, Linear()), np.empty(x.shape)
    for start, stop in blocks(x.n, [x.d]):
        features.fill(start, stop, out[start:stop])
    return as_matrix(out, name)


@dataclass(frozen=True, eq=False)
class _Sums:
    """(2, 2) means over pairs of d_X², d_X d_Y, d_Y², in any unit; less the products of their means if centred."""

    values: Array
    centred: bool
    mean: Array  # (2,)
    level: Array  # (2,) the mean dissimilarity, in the same unit
    unit: Array  # (2,) of squared distances between normalised rows; 1 for rows that are not
    rounding: Array  # (2,) of one dissimilarity
    digits: float  # how many times that a standard deviation must be
    far: bool  # from 0: sums of features about a mean that has too few digits itself
    pair: Paired
    xs: tuple[Representation, ...] | None  # with their shifts, where a sweep made them
    reason: str | None = None

    @property
    def deviation(self) -> Array:
        """(2,) root of what stands beside the product in the correlation."""
        return cast("Array", np.sqrt(np.maximum(np.diag(self.values), 0)))

    def ratio(self, cross: float) -> float:
        return pairs.ratio(cross, float(self.values[0, 0]), float(self.values[1, 1]))


def of_sums(asked: Asked, correlation: Correlation) -> tuple[float, Method, str | None]:
    """(value, method, reason)."""
    sums = _sums(asked, centred=correlation == "pearson")
    value = math.nan if sums.reason else sums.ratio(float(sums.values[0, 1]))
    return value, "features" if sums.xs is None else "sweep", sums.reason


def _sums(asked: Asked, *, centred: bool) -> _Sums:
    """With the digits that float64 has, or a reason."""
    sums = _measured(asked.pair, centred=centred)
    if not _doubtful(sums, asked):
        return sums
    given = asked.pair
    compared = [_far_copy(x, kind, name) for x, kind, name in zip(asked.stored, asked.kinds, "XY", strict=True)]
    pair = paired(compared, asked.kinds, given.precision, given.memory, given.progress)
    sums = _measured(pair, centred=centred)
    correlation: Correlation = "pearson" if centred else "cosine"
    for p, (stored, kind, name) in enumerate(zip(asked.stored, asked.kinds, "XY", strict=True)):
        deviation, level = float(sums.deviation[p]), float(sums.level[p])
        noise = noise_of(stored, kind, compared[p], pair.kernels[p], centred=centred)
        noise /= 2 if kind == "euclidean" else 1
        equal = deviation <= TOLERANCE * float(sums.rounding[p])
        if equal or deviation <= STORED * noise * level:
            square = level * float(sums.unit[p])
            return replace(sums, reason=why_undefined(name, kind, stored, correlation, square, equal=equal))
    return sums


def _doubtful(sums: _Sums, asked: Asked) -> bool:
    """Whether rounding, of these sums or of the rows, may have had a part in them."""
    if sums.far:
        return True
    for deviation, level, unit, tile, stored, compared, kind in zip(
        sums.deviation,
        sums.level,
        sums.unit,
        sums.rounding,
        asked.stored,
        asked.pair.matrices,
        asked.kinds,
        strict=True,
    ):
        eps, lost = rounding.epsilon(stored.dtype), 0.0
        if kind in ("cosine", "correlation"):
            along = math.sqrt(level * unit / stored.d)
            lost = (along * eps + eps**2) / unit
            if compared.dtype == "float32":
                own = rounding.epsilon("float32")
                tile = max(tile, (along * own + own**2) / unit)
        if not deviation > max(sums.digits * tile, 8 * max(lost, eps * level)):
            return True
    return False


def _measured(pair: Paired, *, centred: bool) -> _Sums:
    """By the cheaper route that has the digits."""
    normalize = [isinstance(k, Cosine) for k in pair.kernels]
    if pair.by_features:
        s, n = pair.statistics, pair.n
        mean = 2 * s.trace / (n - 1)
        covariance = _covariance(s.hsic_biased * n**2, s.diagonal_inner, np.multiply.outer(s.trace, s.trace), n)
        square = covariance + np.multiply.outer(mean, mean)
        if np.all(np.diag(covariance) > _RESOLVED * np.diag(square)):
            near = np.diag(s.hsic_biased) > _FAR * np.diag(s.alignment_biased)
            return _Sums(
                values=covariance if centred else square,
                centred=centred,
                mean=mean,
                level=mean,
                unit=np.ones(2),
                rounding=np.zeros(2),  # found to have the digits
                digits=_DIGITS["float32"],  # where rows less their own mean are float32
                far=not all(near | normalize),
                pair=pair,
                xs=None,
            )
    return _swept(pair, normalize, centred=centred)


def _covariance(inner: Array, diagonal: Array, traces: Array, n: int) -> Array:
    """Of squared distances over pairs, from ⟨K̄, L̄⟩, Σ K̄_ii L̄_ii and tr K̄·tr L̄ of linear kernels (Theory, 9.1)."""
    return (2 * (diagonal - traces / n) + 4 / n * (inner - traces / (n - 1))) / (n - 1)


def _swept(pair: Paired, normalize: Sequence[bool], *, centred: bool) -> _Sums:
    """From φ = −d²/2, or −d/2, around its mean if centred."""
    xs = [replace(x, native_name=_FUNCTION[x.kernel.name]) for x in pair.xs]
    n, ordered = pair.n, pair.n * (pair.n - 1)
    start = _no_tiles(xs, pair.precision)
    # K = φ + b_i + b_j: with b taken off, tiles hold φ itself
    rows = _no_tiles(gram.shifted(xs, np.zeros((2, n)), start.base), pair.precision).scaled_diagonal / 2
    # a float32 sweep reports and takes b in float32: what that left on the diagonal is added
    rows = rows + _no_tiles(gram.shifted(xs, rows, start.base), pair.precision).scaled_diagonal / 2
    level = (start.scaled_shift - rows).mean(axis=1, keepdims=True) if centred else np.zeros((2, 1))
    unit = np.where(normalize, np.ldexp(2.0, start.exponent), 1.0)
    for _ in range(_AGAIN):
        around = gram.shifted(xs, rows + level, start.base)
        g = gram.sweep_moments(around, precision=pair.precision, memory=pair.memory, progress=pair.progress)
        # the length of a normalised row is itself rounded
        lost = g.rounding * g.eps + np.where(normalize, (8 * g.eps) ** 2, 0.0) / unit
        # what is taken off values in a tile is float64 at best
        lost = np.maximum(lost, np.finfo(np.float64).eps * np.abs(rows).max(axis=1))
        mean = g.scaled_rows.sum(axis=1) / ordered
        square = g.scaled_inner / ordered
        values = square - np.multiply.outer(mean, mean) if centred else square
        if not centred:
            break
        far = (np.diag(square) > _AMPLIFICATION * np.diag(values)) & (np.abs(mean) > lost)
        if not far.any():
            break
        level, done = level + mean[:, None] / 2, level
    else:
        level = done
    return _Sums(
        values=values,
        centred=centred,
        mean=mean,
        level=np.abs(mean + 2 * level[:, 0]),
        unit=unit,
        rounding=lost,
        digits=next((_DIGITS[t] for t in ("float64", "float32") if g.eps <= np.finfo(t).eps), TOLERANCE),
        far=False,
        pair=pair,
        xs=tuple(around),
    )


def _no_tiles(xs: Sequence[Representation], precision: Precision) -> gram.GramMoments:
    """What a sweep would start from: shifts, diagonals and units."""
    return gram.sweep_moments(xs, shard=(0, 1 << 62), precision=precision)


def permuted_values(
    X: object,
    Y: object,
    count: int,
    order: Callable[[int], Index],
    *,
    dissimilarity: Dissimilarity = "sqeuclidean",
    dissimilarity_y: Dissimilarity | None = None,
    correlation: Literal["pearson", "cosine"] = "pearson",
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Iterator[float]:
    """`rsa` with the rows of Y as they are, then in the orders 0 to `count` − 1: only the products are new."""
    kinds = checked(dissimilarity, dissimilarity_y, correlation)
    expect(progress, gram.SWEEPS + count * PERMUTED)
    asked = represented(X, Y, kinds, correlation, precision, memory, progress)
    sums = _sums(asked, centred=correlation == "pearson")
    pair, n = sums.pair, sums.pair.n
    means = float(sums.mean[0] * sums.mean[1])
    if sums.reason:
        yield from [told(math.nan, sums.reason, "rsa")] * (count + 1)
        return
    yield sums.ratio(float(sums.values[0, 1]))
    if sums.xs is None:
        s = pair.statistics
        traces = np.array(s.trace[0] * s.trace[1])
        x, y = pair.centred_diagonals
        for b, inner in permuted_sums(pair, count, order):
            cross = float(_covariance(np.array(inner), np.array(x @ y[order(b)]), traces, n))
            yield sums.ratio(cross if sums.centred else cross + means)
    else:
        for _, inner in swept_sums(pair, sums.xs, count, order):
            cross = inner / (n * (n - 1))
            yield sums.ratio(cross - means if sums.centred else cross)
