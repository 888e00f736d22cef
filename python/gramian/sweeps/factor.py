"""Few rows in place of many: the triangle R of features, which never squares a condition number, and its rounding.

Features in float32 or 16 bits were rounded when they were stored, each entry by a part of its last digit. So the rank
is told where columns are scaled to equal rounding: what white noise does to singular values depends on the shape alone.
Where a few rows hold most of it, rows are scaled too: what turns the largest says nothing of directions of all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, phase, tell
from gramian.sweeps.centred import CentredFeatures, blocks, stored_units
from gramian.sweeps.moments import CONCENTRATED, NOISE, TRUSTED

Array: TypeAlias = npt.NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
_BESIDE = 1e-6  # part of the rest that a map may add to it
_FAR_FROM_SINGULAR = 1e-3  # the least that a unit column may add to the columns before it
_HIDDEN = 1e-6  # part of the squares of another feature that one may have without being seen


@dataclass(frozen=True, eq=False)
class Triangle:
    """R with R'R = Z'Z, Z the centred features side by side."""

    rows: Array  # (m, width), m ≤ width; columns that are constant up to the rounding of float64 are 0
    raw: Array  # (width,) Σ of squares before the mean was subtracted
    rounding: Array  # (width,) Σ of squared roundings that the features were stored with
    total: Array  # (width,) Σ of rows after the mean was subtracted
    fourth: Array  # (width,) Σ of the fourth powers of those roundings


def triangle(features: Sequence[CentredFeatures], progress: Progress | None = None) -> Triangle:
    """QR factorisations of [R; block], one block of rows after another: O(n·width²) time, O(block + width²) memory."""
    return triangles(features, np.zeros(features[0].x.n, dtype=np.int16), 1, progress)[0]


def triangles(
    features: Sequence[CentredFeatures], part_of: npt.NDArray[np.int16], parts: int, progress: Progress | None = None
) -> list[Triangle]:
    """One for the rows of each part, in one pass; part_of (n,) counts from 0."""
    n, widths = features[0].x.n, [f.x.d for f in features]
    edges = np.concatenate([[0], np.cumsum(widths)])
    columns = [slice(a, b) for a, b in itertools.pairwise(edges)]
    width = int(edges[-1])
    progress = phase(progress, "factorisation")
    step = max(2 * width * parts, blocks(n, widths)[0][1])
    few = [np.zeros((0, width))] * parts
    raw, rounding, total, fourth = (np.zeros((parts, width)) for _ in range(4))
    for start in range(0, n, step):
        stop = min(n, start + step)
        whole = np.hstack([f.raw(start, stop) for f in features])
        for k in range(parts):
            own = whole if parts == 1 else whole[part_of[start:stop] == k]
            rows = np.empty((len(few[k]) + len(own), width))
            rows[: len(few[k])] = few[k]
            for f, part in zip(features, columns, strict=True):
                square = np.einsum("ij,ij->j", own[:, part], own[:, part])
                raw[k, part] += square
                if f.rounded:
                    squares, powers = _roundings(own[:, part], f.x.dtype)
                    rounding[k, part] += squares
                    fourth[k, part] += powers
                else:
                    rounding[k, part] += square * (EPS**2 / 12)
                f.centred_in_full(own[:, part], out=rows[len(few[k]) :, part])
            total[k] += rows[len(few[k]) :].sum(axis=0)
            few[k] = rows if len(rows) <= width else upper(rows)
        tell(progress, stop, n)
    for rows, square in zip(few, raw, strict=True):
        rows[:, norms(rows) <= 16 * EPS * np.sqrt(square)] = 0.0
    return [Triangle(*found) for found in zip(few, raw, rounding, total, fourth, strict=True)]


def _roundings(rows: Array, dtype: str) -> tuple[Array, Array]:
    """(d,) Σ of squared roundings that rows were stored with, and of their fourth powers."""
    units = stored_units(rows, dtype)
    np.square(units, out=units)
    return units.sum(axis=0) / 12, np.einsum("ij,ij->j", units, units) / 144


@dataclass(frozen=True, eq=False)
class Even:
    """An R of rows divided by what they were rounded by, after a column of ones that were divided alike."""

    rows: Array  # (m, 1 + d)
    rounding: Array  # (d,) Σ of squared roundings, of rows that have about the same

    def centred(self, yes: bool) -> Even:
        """The same without its first column, about the mean of the rows if wanted."""
        rows = upper(self.rows)[1:, 1:] if yes else self.rows[:, 1:]
        return Even(rows, self.rounding)

    def scaled(self, reciprocal: Array | float) -> Even:
        """Of columns times `reciprocal`, without that of ones."""
        return Even(self.rows * reciprocal, self.rounding * np.square(reciprocal))


def joined(parts: Sequence[Even]) -> Even:
    """All their rows."""
    rows, rounding = np.concatenate([p.rows for p in parts]), np.sum([p.rounding for p in parts], axis=0)
    return Even(rows, cast("Array", rounding))


def evened(f: CentredFeatures, rounding: Array, fourth: Array) -> Even | None:
    """Rows of equal rounding, where a few hold most of that in some column; two passes more."""
    found = evened_parts(f, rounding, fourth, np.zeros(f.x.n, dtype=np.int16), 1)
    return found[0] if found else None


def evened_parts(
    f: CentredFeatures, rounding: Array, fourth: Array, part_of: npt.NDArray[np.int16], parts: int
) -> list[Even] | None:
    """The same of the rows of each part."""
    n, d = f.x.n, f.x.d
    if not f.rounded:
        return None
    holding = np.divide(np.square(rounding), fourth, out=np.full(d, float(n)), where=fourth > 0)
    if holding.min() * CONCENTRATED > n:
        return None
    typical, count = np.zeros(d), np.zeros(d)
    spans = blocks(n, [d])
    for start, stop in spans:
        units = stored_units(f.raw(start, stop), f.x.dtype)
        typical += np.log2(units, out=np.zeros_like(units), where=units > 0).sum(axis=0)
        count += (units > 0).sum(axis=0)
    typical = np.exp2(typical / np.maximum(count, 1))  # a mean that a few rows do not move far
    few, even = [np.zeros((0, 1 + d))] * parts, np.zeros((parts, d))
    for start, stop in spans:
        raw = f.raw(start, stop)
        units = stored_units(raw, f.x.dtype)
        weights = 1 / np.maximum(1.0, norms((units / typical).T) / math.sqrt(d))[:, None]
        rows = np.hstack([weights, f.centred_in_full(raw) * weights])
        squares = np.square(units * weights) / 12
        for k in range(parts):
            own = part_of[start:stop] == k
            even[k] += squares[own].sum(axis=0)
            stacked = np.concatenate([few[k], rows[own]])
            few[k] = stacked if len(stacked) <= 1 + d else upper(stacked)
    return [Even(rows, squares) for rows, squares in zip(few, even, strict=True)]


def upper(rows: Array) -> Array:
    return cast("Array", np.linalg.qr(rows, mode="r"))


def norms(rows: Array) -> Array:
    found: Array = np.sqrt(np.einsum("ij,ij->j", rows, rows))
    return found


def svd(a: Array, full: bool = False) -> tuple[Array, Array, Array]:
    """By divide and conquer; where that does not converge, by QR iterations, which do."""
    try:
        return cast("tuple[Array, Array, Array]", np.linalg.svd(a, full_matrices=full))
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        return cast("tuple[Array, Array, Array]", svd(a, full_matrices=full, lapack_driver="gesvd"))


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal u = rows @ weights of the column space of rows, up to rounding."""

    u: Array  # (m, r)
    singular: Array  # (r,) of the rows in the scaling that they were taken in
    weights: Array  # (d, r)

    @property
    def rank(self) -> int:
        return len(self.singular)

    def leading(self, k: int) -> Basis:
        return Basis(self.u[:, :k], self.singular[:k], self.weights[:, :k])


def basis(rows: Array, rcond: float, *, unit_columns: bool = False) -> Basis:
    """What is above rcond times the largest singular value; columns of length 1 make the rank free of their units."""
    return _scaled_basis(rows, norms(rows) if unit_columns else np.ones(rows.shape[1]), rcond, 0.0)


def stored_basis(rows: Array, rcond: float, rounding: Array, n: int) -> Basis:
    """What is more than the rounding of n stored rows, and above rcond times the largest, of columns of equal rounding.

    n×d entries of variance 1/n have a norm of about 1 + √(d/n); twice that is no accident.
    """
    return _scaled_basis(rows, np.sqrt(rounding), rcond, _least_stored(rows.shape[1], n))


def clouded(rows: Array, rcond: float, rounding: Array, n: int) -> bool:
    """Whether rows, of moments, have directions that are neither sure to be told nor too small for float64.

    Where a few rows hold most of the rounding, such may be their rounding, or what all others tell.
    """
    size = np.sqrt(rounding)
    whole = _scaled_basis(rows, size, rcond, 0.0).rank
    return whole > _scaled_basis(rows, size, rcond, _least_stored(rows.shape[1], n)).rank


def _least_stored(d: int, n: int) -> float:
    return 2 * (1 + math.sqrt(d / n))


def turned(found: Basis, rows: Array, rcond: float) -> Basis:
    """The same space by the principal components of rows: its leading directions are those that carry most of them."""
    turn, s, _ = svd(found.u.T @ rows)
    r = int((s > rcond * s[0]).sum()) if found.rank and s[0] > 0 else 0
    return Basis(found.u @ turn[:, :r], s[:r], found.weights @ turn[:, :r])


def ranked_basis(
    rows: Array, rcond: float, rounding: Array, n: int, *, unit_columns: bool, even: Even | None = None
) -> Basis:
    """What is more than rounding, as `stored_basis` tells it where data were rounded; in these units, or in any.

    That of float64 matters where rows are far from 0. Where a few rows hold most of the rounding, `even` are the same
    rows divided by theirs, centred as `rows` are.
    """
    if (_least_stored(rows.shape[1], n) * np.sqrt(rounding) <= rcond * norms(rows)).all():
        return basis(rows, rcond, unit_columns=unit_columns)
    found = stored_basis(rows, rcond, rounding, n) if even is None else _evened_basis(rows, rcond, n, even)
    return found if unit_columns else turned(found, rows, rcond)


def _evened_basis(rows: Array, rcond: float, n: int, even: Even) -> Basis:
    """Directions that rows of equal rounding tell, and of the others those that the stored rows have all the same.

    A few rows that were rounded by much more than all others have such directions, each its own: what was stored of
    them fits as it is, and not at the cost of what the others tell.
    """
    size = np.sqrt(even.rounding)
    reciprocal = np.divide(1.0, size, out=np.zeros_like(size), where=(size > 0) & rows.any(axis=0))
    least = _least_stored(len(size), n)
    _, s, vt = svd(even.rows * reciprocal, full=True)
    r = int((s > max(least, rcond * s[0])).sum())
    told, hidden = (reciprocal[:, None] * v.T for v in (vt[:r], vt[r:]))
    if hidden.shape[1]:
        _, s, vt = svd(rows @ hidden)
        told = np.hstack([told, hidden @ vt[: int((s > least).sum())].T])
    found = basis(rows @ told, rcond, unit_columns=True)
    return Basis(found.u, found.singular, told @ found.weights)


def _scaled_basis(rows: Array, size: Array, rcond: float, least: float) -> Basis:
    # a column of zeros has no part in any direction, whatever the unit that it would have
    reciprocal = np.divide(1.0, size, out=np.zeros_like(size), where=(size > 0) & rows.any(axis=0))
    u, s, vt = svd(rows * reciprocal)
    r = int((s > max(least, rcond * s[0])).sum())
    return Basis(u[:, :r], s[:r], reciprocal[:, None] * (vt[:r].T / s[:r]))


def coefficients(basis: Basis, wanted: Array, rows: Array, outside: float, *, least: bool) -> Array:
    """b (d, q) with u'rows·b = wanted, the least of all that fit if asked for, up to rounding that costs nothing.

    Directions that only rounding has are no part of u, and a map that is the least may use them, if what it adds to
    the rest, of squares outside, is below any digit that counts.
    """
    b = _refined(basis.weights @ wanted, wanted, basis, rows)
    if not least or basis.rank == rows.shape[1]:
        return b
    span = np.linalg.qr(rows.T @ basis.u)[0]  # what no row sees is no part of the least map
    small: Array = span @ (span.T @ b)
    small[~rows.any(axis=0)] = 0.0
    small = _refined(_refined(small, wanted, basis, rows), wanted, basis, rows)
    beside = float(np.linalg.norm(rows @ small - basis.u @ wanted))
    products = float(norms(rows) @ norms(small.T))  # at whose size predictions are rounded
    return small if beside <= _BESIDE * math.sqrt(outside) + 16 * EPS * products else b


def _refined(b: Array, wanted: Array, basis: Basis, rows: Array) -> Array:
    """b with u'rows·b = wanted, where it was so up to rounding: large maps of small columns keep their digits."""
    return b + basis.weights @ (wanted - basis.u.T @ (rows @ b))


# ---- what sums of squares can tell -----------------------------------------------------------------------------------


def of_squares(second: Array, raw: Array, n: int, least: Array | float = 0.0) -> tuple[Array, bool]:
    """Rows with these second moments, and whether some feature lost all its digits when the mean was subtracted.

    Features whose squares are rounding of `raw`, what they were before that, or no more than `least`, are constant,
    or have lost them all: there is no telling where that rounding is much beside the squares of others.
    """
    square, rounding = np.diag(second), max(n, len(second)) * EPS * raw
    varies = (square > rounding) & (square > least)
    size = np.sqrt(np.where(varies, square, 0.0))
    divisor = np.where(varies, size, np.inf)
    hidden = rounding > _HIDDEN * square[varies].max(initial=math.inf if not varies.any() else 0.0)
    lost = bool((((square > 4 * NOISE * raw) & (square > least) | hidden) & ~varies).any())
    return _root(second / np.multiply.outer(divisor, divisor)) * size, lost


def _root(correlations: Array) -> Array:
    """(m, m) A with A'A = correlations, up to rounding: Cholesky's where that is far from singular, as it is fast."""
    try:
        found = cast("Array", np.linalg.cholesky(correlations).T)
        if np.diag(found).min() > _FAR_FROM_SINGULAR:
            return found
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(correlations)
    return cast("Array", np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def summed_squares(squares: Array, n: int, shift: Array) -> Array:
    """(d,) at which size Σ of squares was rounded that was moved by shift."""
    return cast("Array", np.square(np.sqrt(squares) + math.sqrt(n) * np.abs(shift)))


@dataclass(frozen=True, eq=False)
class Side:
    """One representation by its moments: few rows, the directions of them that count, and what was summed."""

    rows: Array  # (m, d)
    basis: Basis  # of them
    raw: Array  # (d,) Σ of squares before the mean was subtracted: the sums were rounded at this size
    stored: Array  # (d,) below these squares a direction is the rounding that features were stored with

    @property
    def size(self) -> Array:
        """(r,) of the sums behind each direction, in units of what is left of them."""
        return np.sqrt(np.square(self.basis.weights).T @ self.raw)


def side(rows: Array, basis: Basis, raw: Array, rounding: Array, n: int) -> Side:
    return Side(rows, basis, raw, rounding * _least_stored(rows.shape[1], n) ** 2)


def whole(rows: Array, raw: Array) -> Side:
    """A representation that nothing is divided by but its size."""
    size = math.sqrt(float(np.einsum("ij,ij->", rows, rows)))
    weights = np.eye(rows.shape[1]) / (size or 1.0)
    return Side(rows, Basis(rows @ weights, np.ones(rows.shape[1]), weights), raw, np.zeros_like(raw))


def cross_errors(x: Side, y: Side, *, whitened: bool) -> Array:
    """By how much each entry of u_x'u_y may be off, where both come from sums of squares."""
    own = np.square(x.size)[:, None] + (np.square(y.size) if whitened else 0.0)
    return NOISE * (np.multiply.outer(x.size, y.size) + np.abs(x.basis.u.T @ y.basis.u) * own / 2)


def energy_error(x: Side, y: Side, *, whitened: bool, selected: bool = False) -> float:
    """By how much Σ of the squares of u_x'u_y may be off, where both come from sums of squares.

    u_x has the inverse root of Σ11 in it, and u_y that of Σ22 if whitened. Of directions that are too small to tell
    from rounding nothing was used; if they correlate with y by more than rounding, what they hold of it counts as lost,
    unless directions were selected in the first place.
    """
    cross = x.basis.u.T @ y.basis.u
    off = cross_errors(x, y, whitened=whitened)
    error = 2 * float(np.linalg.norm(cross * off)) + float(np.vdot(off, off))
    if not whitened:
        error += NOISE * float(np.square(y.size).sum())  # of the size of y itself
    return error if selected else error + _hidden(x, y, whitened) + (_hidden(y, x, whitened) if whitened else 0.0)


def _hidden(x: Side, y: Side, whitened: bool) -> float:
    """What directions of x that count as rounding hold of y: of exact dependence, as of equal features, it is 0.

    Where each direction counts as one, those that are too large for that and too small to be told may hold all.
    """
    varies = norms(x.rows) > 0
    rows, raw, stored = x.rows[:, varies], x.raw[varies], x.stored[varies]
    if not rows.size or x.basis.rank >= rows.shape[1]:  # none counts as rounding
        return 0.0
    reciprocal = 1 / (np.sqrt(stored) if stored.all() else norms(rows))
    _, s, vt = svd(rows * reciprocal, full=True)
    s = np.concatenate([s, np.zeros(len(vt) - len(s))])
    weights = (reciprocal * vt[x.basis.rank :]).T
    squares = np.square(s[x.basis.rank :])
    cross = (rows @ weights).T @ y.basis.u
    sizes = np.sqrt(np.square(weights).T @ raw)
    noise = NOISE * sizes * float(np.linalg.norm(y.size))
    power = np.square(cross).sum(axis=1)
    beyond_storage = squares > (1.0 if stored.all() else 0.0)
    counts = (power > np.square(4 * noise)) & beyond_storage
    held = np.divide(power, np.maximum(squares, NOISE * np.square(sizes)), out=np.zeros_like(power), where=counts)
    if whitened and len(s):
        held[beyond_storage & (squares > 4 * EPS * (s[0] ** 2 + np.square(sizes)))] = 1.0
    return float(np.minimum(held, 1.0).sum())


def trusted(error: float, value: float) -> bool:
    """Whether a value that may be off by this much has digits."""
    return error <= TRUSTED * abs(value)
