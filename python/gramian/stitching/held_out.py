"""Held-out rows: which they are, and what one pass over them measures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import Linear
from gramian.progress import Progress
from gramian.rows import heads
from gramian.rows.arrays import BFloat16Array, DType, Matrix, about_least, as_matrix, check_number
from gramian.stitching.stitch import Stitch
from gramian.sweeps import factor
from gramian.sweeps.centred import CentredFeatures, blocks, centre, in_range
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import EPS, Basis

Array: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows(Matrix):
    """Some rows of a matrix, read when they are asked for: half of a file needs no second file, nor memory."""

    source: Matrix
    listed: Indices

    @staticmethod
    def of(x: Matrix, listed: Indices) -> Rows:
        view: Any = None  # native code has no way to these rows
        return Rows(view, len(listed), x.d, x.dtype, x.device, None, x.owner, x, listed)

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows.of, (self.source, self.listed)

    def block(self, start: int, stop: int) -> Array:
        return self.source.take(self.listed[start:stop])

    def take(self, rows: Indices) -> Array:
        return self.source.take(self.listed[rows])

    def numpy(self) -> npt.NDArray[np.floating[Any]]:
        return self.copied("rows").numpy()

    def converted(self, dtype: DType, name: str) -> Matrix:
        return self if self.dtype == dtype else self.copied(name).converted(dtype, name)

    def copied(self, name: str) -> Matrix:
        """The rows in memory, in their own dtype; of a matrix on a device as float64 on the host."""
        data = self.source.data
        if data is None:
            return as_matrix(self.block(0, self.n), name)
        found = data[self.listed]
        return as_matrix(BFloat16Array(found) if self.dtype == "bfloat16" else found, name)


def parted(n: int, split: float, seed: int, groups: Indices | None) -> tuple[Indices, Indices]:
    """Rows to fit on and rows held out, both ascending; rows with one number of a group stay together."""
    check_number(split, "split")
    if not 0 < split < 1:
        raise ValueError(f"split must be between 0 and 1, the part of the rows to fit on, got {split}")
    rng = np.random.default_rng(seed)
    if groups is None:
        chosen = np.zeros(n, dtype=bool)
        chosen[rng.permutation(n)[: round(split * n)]] = True
    else:
        sizes = np.bincount(groups)
        if len(sizes) < 2:
            raise ValueError("groups has one group, which cannot be on both sides of the split; leave groups out")
        order = rng.permutation(len(sizes))
        reached = np.cumsum(sizes[order])
        count = int(np.abs(reached[:-1] - split * n).argmin()) + 1  # as near to the split as whole groups come
        chosen = np.isin(groups, order[:count])
    fitted, held_out = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if min(len(fitted), len(held_out)) < 2:
        raise ValueError(
            f"split={split:g} of {n} rows leaves {len(fitted)} to fit on and {len(held_out)} to measure on; "
            "2 are needed on each side"
        )
    return fitted, held_out


@dataclass(frozen=True, eq=False)
class Seen:
    """Norms over all held-out rows, and the moments of what the map leaves; nan where there is nothing to measure."""

    n: int
    error: float  # ‖f2 − s(f1)‖
    residual: Array  # (d2, d2) mean of ee', e = f2 − s(f1)
    targets: float  # ‖y‖
    outputs: float  # √(‖g2(f2)‖² + ‖g2(s(f1))‖²)
    missed1: float  # ‖g1(f1) − y‖
    missed2: float  # ‖g2(f2) − y‖
    missed_stitch: float  # ‖g2(s(f1)) − y‖
    moved: float  # ‖g2(f2) − g2(s(f1))‖

    def mean(self, norm: float) -> float:
        """The mean square behind a norm; infinite where float64 has no room for it."""
        return square_of(norm / math.sqrt(self.n))


def less_least(x: Matrix) -> tuple[Matrix, Array]:
    """Rows without the least entries of columns of integers that float64 would round, and (d,) what they lack.

    For maps with an offset, which takes up what all rows move by. Mostly x itself and zeros.
    """
    (near,) = about_least([x])
    return near, np.zeros(x.d) if near is x else (x.block(0, 1) - near.block(0, 1))[0]


def measured_on(
    parts: Sequence[Rows], stitch: Stitch, taken: tuple[Array, Array], g1: object | None, g2: object | None
) -> Seen:
    """What stitch leaves of rows from which this was taken; heads get rows that have it."""
    x1, x2, *rest = parts
    first = None if g1 is None else heads.as_map(g1, "g1")
    second = None if g2 is None else heads.as_map(g2, "g2")
    norms: dict[str, list[float]] = {}
    residual, unit = np.zeros((x2.d, x2.d)), 0

    def add(name: str, values: Array) -> None:
        norms.setdefault(name, []).append(norm(values))

    for start, stop in blocks(x1.n, [x.d for x in parts]):
        f1, f2 = x1.block(start, stop), x2.block(start, stop)
        mapped = np.asarray(stitch(f1), dtype=np.float64)
        if not np.isfinite(mapped).all():
            raise ValueError("stitch gives NaN or infinity for some row of F1")
        e = f2 - mapped
        add("error", e)
        size = math.frexp(norms["error"][-1])[1]
        if size > unit or start == 0:
            residual, unit = np.ldexp(residual, 2 * (unit - size)), size
        e = np.ldexp(e, -unit)
        residual += e.T @ e
        if not rest:
            continue
        y = rest[0].block(start, stop)
        add("targets", y)
        if first is not None:
            add("missed1", heads.flat_outputs(first(f1 + taken[0], "F1"), y, "g1", "Y") - y)
        if second is not None:
            own = heads.flat_outputs(second(f2 + taken[1], "F2"), y, "g2", "Y")
            stitched = heads.flat_outputs(second(mapped + taken[1], "stitched F1"), y, "g2", "Y")
            add("outputs", own)
            add("outputs", stitched)
            add("missed2", own - y)
            add("missed_stitch", stitched - y)
            add("moved", own - stitched)
    whole = {name: norm(np.array(found)) for name, found in norms.items()}
    names = ("error", "targets", "outputs", "missed1", "missed2", "missed_stitch", "moved")
    with np.errstate(over="ignore"):
        moments = np.ldexp(residual / x1.n, 2 * unit)
    return Seen(n=x1.n, residual=moments, **{name: whole.get(name, math.nan) for name in names})


def square_of(value: float) -> float:
    return value * value  # infinite where ** would raise


def norm(a: Array) -> float:
    """‖a‖, also where squares would over- or underflow."""
    size = float(np.abs(a).max(initial=0.0))
    return size * float(np.linalg.norm(a / size)) if size else 0.0


@dataclass(frozen=True, eq=False)
class Least:
    """Least squares among the held-out rows themselves: what no linear (affine, if centred) map can beat there."""

    centred: bool
    saturated: tuple[str | None, str | None]  # why maps of f1, of f2, fit anything
    condition: tuple[float, float]  # of f1 and f2, their columns of length 1
    misalignment: float  # of f2 by f1
    second: float  # ‖f2‖ over all rows, centred if the rest is
    alignment: float
    aligned: float  # the same of the directions that least squares uses
    spectra: tuple[Array, Array]  # of these directions of f1, and of f2
    risk1: float  # of y by f1
    risk2: float  # of y by f2
    head2: Array  # (k, d2) the map behind risk2
    map1: Array  # (k, d1) the map behind risk1,
    means: tuple[Array, Array]  # of f1 and of y, that it is about; 0 if not centred
    targets: Array  # (k, k) mean of yy', uncentred
    residual: Array  # (k, k) mean of ee' of y by f1


def least_squares(parts: Sequence[Rows], *, centred: bool, progress: Progress | None) -> Least:
    features = [
        centre(x, Linear()) if centred else CentredFeatures(x, False, in_range(x), np.zeros(x.d)) for x in parts
    ]
    found = factor.triangle(features, progress)
    edges = np.cumsum([0, *(x.d for x in parts)])
    columns = [slice(a, b) for a, b in itertools.pairwise(edges)]
    rows = [found.rows[:, c] for c in columns]
    n, units = parts[0].n, [f.exponent // 2 for f in features]
    evens = [factor.evened(f, found.rounding[c], found.fourth[c]) for f, c in zip(features[:2], columns, strict=False)]
    bases = [
        factor.ranked_basis(
            rows[i],
            max(n, parts[i].d) * EPS,
            found.rounding[columns[i]],
            n,
            unit_columns=True,
            even=even and even.centred(centred),
        )
        for i, even in enumerate(evens)
    ]

    def least(i: int, j: int) -> tuple[Array, Array]:
        """(residual rows, coefficients) of part j by part i, in scaled units."""
        inner = bases[i].u.T @ rows[j]
        return rows[j] - bases[i].u @ inner, bases[i].weights @ inner

    def mean_square(a: Array, unit: int) -> float:
        return scaled(norm(a) ** 2 / n, 2 * unit)

    missed = least(0, 1)[0]
    sizes = [norm(r.T @ r) for r in rows[:2]]
    alignment = norm(rows[0].T @ rows[1]) ** 2 / (sizes[0] * sizes[1]) if min(sizes) > 0 else math.nan
    # what least squares knows: f1 in the directions that it uses, however small, for the others are rounding, and f2
    inside = [bases[0].u.T @ rows[i] for i in (0, 1)]
    spectra = [
        np.ldexp(np.square(factor.svd(a)[1][:rank]) / n, 2 * unit)
        for a, rank, unit in ((inside[0], bases[0].rank, units[0]), (rows[1], min(rows[1].shape), units[1]))
    ]
    used = [norm(inside[0].T @ inside[0]), sizes[1]]
    aligned = norm(inside[0].T @ inside[1]) ** 2 / (used[0] * used[1]) if min(used) > 0 else math.nan
    constant = int(centred)
    saturated = [
        f"f{i + 1} has rank {bases[i].rank} on {n} held-out rows, where a map of it fits anything; hold out more rows"
        if bases[i].rank >= n - constant
        else None
        for i in (0, 1)
    ]
    nothing = np.zeros((0, 0))
    risks, maps, residual, second = [math.nan, math.nan], [nothing, nothing], nothing, nothing
    means = (features[0].mean, np.zeros(0))
    if len(parts) == 3:
        for i in (0, 1):
            left, coefficients = least(i, 2)
            risks[i] = mean_square(left, units[2])
            maps[i] = np.ldexp(coefficients.T, units[2] - units[i])
            if i == 0:
                residual = np.ldexp(left.T @ left / n, 2 * units[2])
        mean = features[2].mean
        second = np.ldexp(rows[2].T @ rows[2] / n + np.multiply.outer(mean, mean), 2 * units[2])
        means = (np.ldexp(features[0].mean, units[0]), np.ldexp(mean, units[2]))
    return Least(
        centred=centred,
        saturated=(saturated[0], saturated[1]),
        condition=(_condition(bases[0]), _condition(bases[1])),
        misalignment=mean_square(missed, units[1]),
        second=scaled(norm(rows[1]), units[1]),
        alignment=alignment,
        aligned=aligned,
        spectra=(spectra[0], spectra[1]),
        risk1=risks[0],
        risk2=risks[1],
        head2=maps[1],
        map1=maps[0],
        means=means,
        targets=second,
        residual=residual,
    )


def _condition(basis: Basis) -> float:
    return float(basis.singular[0] / basis.singular[-1]) if basis.rank else 1.0
