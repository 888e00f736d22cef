"""Moments of parts of the rows, and least squares on the few rows that stand for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, phase, tell
from gramian.rows.arrays import about_least, as_matrix, same_device, same_rows
from gramian.rows.sources import matrix
from gramian.sweeps import factor
from gramian.sweeps.centred import CentredFeatures, blocks, in_range
from gramian.sweeps.factor import EPS, Basis, norms, svd, upper
from gramian.sweeps.moments import FeatureMoments, check_squares, told_from

Labels: TypeAlias = npt.NDArray[np.int16]
Array: TypeAlias = npt.NDArray[np.float64]

_BLOCK = 16 << 20  # bytes of float64 rows at a time: threads of BLAS want long products


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows z = [x, y], of affine maps [x, y, 1], of scaled features: their sums of squares, or an R of them."""

    n: int
    sums: Array | None  # (w, w) Σ zz'
    rows: Array | None  # (m, w) with rows'rows = Σ zz'
    raw: Array  # (w,) Σ of squares before a reference was subtracted
    rounding: Array  # (w,) Σ of squared roundings that features were stored with
    total: Array  # (w,) Σ z
    even: factor.Even | None = None  # of x, where a few rows hold most of its rounding,
    concentrated: bool = False  # and whether these are moments of such rows

    def error(self, out: Array) -> float:
        """Σ ‖out'z‖²."""
        if self.rows is not None:
            left = self.rows @ out
            return float(np.vdot(left, left))
        return float(np.vdot(out, cast(Array, self.sums) @ out))


def joined(parts: Sequence[Part]) -> Part:
    """All their rows."""
    if len(parts) == 1:
        return parts[0]
    sums = rows = None
    if parts[0].rows is None:
        sums = np.sum([cast(Array, p.sums) for p in parts], axis=0)
    else:
        stacked = np.concatenate([cast(Array, p.rows) for p in parts])
        rows = upper(stacked) if len(stacked) > stacked.shape[1] else stacked
    raw, rounding, total = (np.sum([getattr(p, name) for p in parts], axis=0) for name in ("raw", "rounding", "total"))
    even = [p.even for p in parts if p.even is not None]
    return Part(sum(p.n for p in parts), sums, rows, raw, rounding, total, factor.joined(even) if even else None)


@dataclass(frozen=True, eq=False)
class Pair:
    """Both features, scaled, about a point near their mean if the map is affine."""

    x: CentredFeatures
    y: CentredFeatures
    affine: bool
    taken: tuple[Array, Array]  # from rows of large integers before that, in scaled units

    @property
    def columns(self) -> list[CentredFeatures]:
        if not self.affine:
            return [self.x, self.y]
        ones = as_matrix(np.broadcast_to(np.ones((1, 1)), (self.x.x.n, 1)), "ones")
        return [self.x, self.y, CentredFeatures(ones, False, 1.0, np.zeros(1))]

    def sums(self, part_of: Labels | None, parts: int, progress: Progress | None) -> list[Part]:
        """One pass, at the price of its products."""
        n, d1, d2 = self.x.x.n, self.x.x.d, self.y.x.d
        width = d1 + d2 + self.affine
        found, totals = np.zeros((parts, width, width)), np.zeros((parts, width))
        spans = blocks(n, [width], _BLOCK)
        progress = phase(progress, "sums")
        rows = np.ones((min(n, spans[0][1]), d1 + d2))
        for done, (start, stop) in enumerate(spans, 1):
            block = rows[: stop - start]
            self.x.fill(start, stop, block[:, :d1])
            self.y.fill(start, stop, block[:, d1:])
            for k in range(parts):
                own = block if part_of is None else block[part_of[start:stop] == k]
                x, y = own[:, :d1], own[:, d1:]
                # three products take less time than one of both, and a fold half of that of all columns
                found[k, :d1, :d1] += x.T @ x
                found[k, d1 : d1 + d2, :d1] += y.T @ x
                found[k, d1 : d1 + d2, d1 : d1 + d2] += y.T @ y
                totals[k, : d1 + d2] += own.sum(axis=0)
                if self.affine:
                    totals[k, -1] += len(own)
                    found[k, -1] = totals[k]
            tell(progress, done, len(spans))
        for sums in found:
            sums[:] = np.tril(sums) + np.tril(sums, -1).T
        sizes = [n] if part_of is None else np.bincount(part_of, minlength=parts).tolist()
        exact = np.zeros(width)
        return [
            Part(m, sums, None, np.diag(sums), exact, total)
            for m, sums, total in zip(sizes, found, totals, strict=True)
        ]

    def triangles(self, part_of: Labels | None, parts: int, progress: Progress | None) -> list[Part]:
        """One pass, without squaring."""
        labels = np.zeros(self.x.x.n, dtype=np.int16) if part_of is None else part_of
        sizes = np.bincount(labels, minlength=parts).tolist()
        found = factor.triangles(self.columns, labels, parts, progress)
        x = slice(self.x.x.d)
        rounding, fourth = (np.sum([getattr(t, name)[x] for t in found], axis=0) for name in ("rounding", "fourth"))
        even = factor.evened_parts(self.x, rounding, fourth, labels, parts)
        return [
            Part(size, None, t.rows, t.raw, t.rounding, t.total, even[k] if even else None)
            for k, (size, t) in enumerate(zip(sizes, found, strict=True))
        ]


def pair_of(F1: object, F2: object, affine: bool) -> Pair:
    """The gate for two arrays."""
    xs = [matrix(F1, "F1"), matrix(F2, "F2")]
    same_rows(xs, ["F1", "F2"])
    same_device(xs, ["F1", "F2"])
    features, taken = [], []
    for given in xs:
        x = about_least([given])[0] if affine else given
        f = CentredFeatures(x, False, in_range(x), np.zeros(x.d))
        features.append(replace(f, mean=f.raw(*blocks(x.n, [x.d])[0]).mean(axis=0)) if affine else f)
        taken.append(np.zeros(x.d) if x is given else (given.block(0, 1) - x.block(0, 1))[0] * f.scale)
    return Pair(features[0], features[1], affine, (taken[0], taken[1]))


def part_of_moments(given: FeatureMoments, affine: bool) -> tuple[Part, tuple[Array, Array]]:
    """Moments about their mean if the map is affine, about 0 if not, and that point."""
    mean = (given.sum_x / given.n, given.sum_y / given.n)
    about = [r + m if affine else 0 * r for r, m in zip((given.reference_x, given.reference_y), mean, strict=True)]
    m = check_squares(given.shifted(*mean) if affine else given.moved(about[0], about[1]))
    sums = np.block([[m.xx, m.xy], [m.xy.T, m.yy]])
    shift = np.concatenate(mean if affine else [about[0] - given.reference_x, about[1] - given.reference_y])
    raw = factor.summed_squares(np.concatenate([np.diag(given.xx), np.diag(given.yy)]), given.n, shift)
    total = np.concatenate([m.sum_x, m.sum_y])
    of_x, concentrated = told_from(given.rounding_x, given.digits_x, given.n)
    rounding = np.concatenate([of_x, told_from(given.rounding_y, given.digits_y, given.n)[0]])
    if affine:
        sums = np.block([[sums, total[:, None]], [total[None, :], np.array([[float(given.n)]])]])
        raw, rounding, total = np.append(raw, given.n), np.append(rounding, 0.0), np.append(total, given.n)
    part = Part(given.n, sums, None, raw, rounding, total, concentrated=concentrated)
    return part, (about[0], about[1])


@dataclass(frozen=True, eq=False)
class Few:
    """Few rows with the moments of the data, centred for affine maps."""

    n: int
    x: Array  # (m, d1)
    y: Array  # (m, d2)
    mean_x: Array  # (d1,) from the reference; 0 unless affine
    mean_y: Array  # (d2,)
    rcond: float  # singular values of x below this part of the largest are rounding of float64
    rounding: Array  # (d1,)
    lost: float  # the largest part of Σ (x − reference)² that centring took away, 1 and above; of y in all
    raw: Array  # (d1 + d2,) Σ of squares before a reference and the mean were subtracted
    gone: bool  # whether centring left some feature without digits
    centred: bool  # whether rows add up to 0, of x and of y, without a map having seen to it
    affine: bool
    even: factor.Even | None  # of x, centred alike


def few_of(part: Part, d1: int, affine: bool) -> Few:
    n, w = part.n, len(part.raw) - affine
    mean, lost, gone = np.zeros(w), 1.0, False
    if part.rows is not None:
        rows, rcond = part.rows, max(n, d1) * EPS
        if affine:
            r = upper(np.hstack([rows[:, -1:], rows[:, :-1]]))
            mean, rows = r[0, 1:] / r[0, 0], r[1:, 1:].copy()
            had = np.maximum(np.sqrt(part.raw[:-1]), norms(part.rows[:, :-1]))  # about 0, and about the reference
            rows[:, norms(rows) <= 16 * EPS * had] = 0.0
    else:
        second, rcond = cast(Array, part.sums), math.sqrt(max(n, d1) * EPS)
        if affine:
            mean = second[-1, :-1] / n
            second = second[:-1, :-1] - n * np.multiply.outer(mean, mean)
        square = np.diag(second)
        rows, gone = factor.of_squares(second, part.raw[:w], n)
        had, kept = (np.append(z[:d1], z[d1:].sum()) for z in (part.raw[:w], square))
        lost = float(np.divide(had, kept, out=np.where(had > 0, np.inf, 1.0), where=kept > 0).max())
    # the mean of rounded rows is that of their roundings
    least = 4 * np.sqrt(part.rounding) + 16 * EPS * np.sqrt(n * part.raw)
    return Few(
        n=n,
        x=rows[:, :d1],
        y=rows[:, d1:],
        mean_x=mean[:d1],
        mean_y=mean[d1:],
        rcond=rcond,
        rounding=part.rounding[:d1],
        lost=lost,
        raw=part.raw[:w],
        gone=gone,
        centred=not affine and bool((np.abs(part.total) <= least).all()),
        affine=affine,
        even=part.even and part.even.centred(affine),
    )


@dataclass(frozen=True, eq=False)
class Map:
    """y ≈ b'x + offset, in scaled units about the reference."""

    b: Array  # (d1, d2)
    offset: Array  # (d2,)
    df: float
    mean: bool  # whether the mean takes one of the rows from what the error of new rows is told by
    spread: Array  # (d1, r) of centred rows: the squares of x'spread add up to the leverage

    def error_weights(self, affine: bool) -> Array:
        """(w, d2) that give y − s(x) from a row z."""
        out = np.vstack([-self.b, np.eye(len(self.offset))])
        return np.vstack([out, -self.offset]) if affine else out


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What ridge regression needs for any λ: the principal components of x, and y in them."""

    few: Few
    basis: Basis
    inside: Array  # (r, d2) U'y
    outside: float  # ‖y − UU'y‖²

    @staticmethod
    def of(few: Few, rcond: float | None, *, unit_columns: bool) -> Spectrum:
        if rcond is None:
            basis = factor.ranked_basis(few.x, few.rcond, few.rounding, few.n, unit_columns=unit_columns, even=few.even)
        else:
            basis = factor.basis(few.x, rcond, unit_columns=unit_columns)
        inside = basis.u.T @ few.y
        rest = few.y - basis.u @ inside
        return Spectrum(few, basis, inside, float(np.vdot(rest, rest)))

    def kept(self, ridge: float) -> Array:
        """(r,) η/(η + λ)."""
        s = self.basis.singular
        return cast("Array", np.square(s / np.hypot(s, math.sqrt(self.few.n * ridge))))

    def solution(self, ridge: float) -> Map:
        few, basis, kept = self.few, self.basis, self.kept(ridge)
        wanted = kept[:, None] * self.inside
        b = factor.coefficients(basis, wanted, few.x, self.outside, least=ridge == 0)
        spread = basis.weights * np.sqrt(kept)
        return Map(b, few.mean_y - few.mean_x @ b, float(kept.sum()) + few.affine, self.mean, spread)

    @property
    def mean(self) -> bool:
        """Rows that add up to 0 are one less, which tells where they are all that there is to tell by."""
        return self.few.affine or (self.few.centred and self.basis.rank == self.few.n - 1)

    def gcv(self, ridge: float) -> float:
        """n times Ã₂/(1 − df/n)², nan where there is nothing left to estimate from."""
        kept = self.kept(ridge)
        left = 1 - (kept.sum() + self.mean) / self.few.n
        power = np.einsum("ij,ij->i", self.inside, self.inside)
        missed = self.outside + float(power @ (1 - kept) ** 2)
        return missed / left**2 if left > EPS * self.few.n else math.nan


def energy(rows: Array) -> float:
    return float(np.vdot(rows, rows))


def procrustes(few: Few, scale: bool, exponents: tuple[int, int]) -> Map:
    """(Theory, 5.7): b = VU' of x'y = VΣU'."""
    left, singular, right = svd(few.x.T @ few.y)
    b = left @ right
    if scale:
        total = float(np.vdot(few.x, few.x))
        b = b * (singular.sum() / total if total > 0 else 0.0)
    else:
        b = np.ldexp(b, exponents[0] - exponents[1])
    return Map(b, np.zeros(few.y.shape[1]), math.nan, False, np.zeros((few.x.shape[1], 0)))
