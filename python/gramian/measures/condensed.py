"""Rows of two arrays, or their moments, as few rows that say the same; and the algebra of subspaces on these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import Linear
from gramian.progress import Progress, expect, phase
from gramian.rows.arrays import (
    about_least,
    check_budget,
    check_number,
    exact_beyond,
    require_rows,
    same_device,
    same_rows,
)
from gramian.rows.sources import matrix
from gramian.sweeps import factor
from gramian.sweeps.centred import CentredFeatures, centre
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import EPS, Basis, upper
from gramian.sweeps.gram import GramMoments
from gramian.sweeps.moments import (
    CLOUDED,
    TOO_FEW_DIGITS,
    UNDERFLOWED,
    FeatureMoments,
    check_squares,
    told_from,
    unseen,
)

Array: TypeAlias = npt.NDArray[np.float64]

_LAPACK = 5.0  # times that the products of a square matrix take, that its singular values do
CONSTANT = "{} is constant up to rounding: nothing is left after centring"


@dataclass(frozen=True, eq=False)
class Condensed:
    """Centred features after an orthogonal map of their rows: x'x = X̄'X̄, x'y = X̄'Ȳ, y'y = Ȳ'Ȳ."""

    n: int
    x: Array  # (m, p), m ≤ p + q; columns that are constant up to rounding are 0
    y: Array  # (m, q)
    rcond: tuple[float, float]  # singular values below this part of the largest are rounding of float64
    rounding: tuple[Array, Array]  # (p,), (q,) Σ of squared roundings that columns were stored with; 0 for float64
    exponent: tuple[int, int]  # X̄ = 2^exponent · x
    raw: tuple[Array, Array] | None = None  # (p,), (q,) of moments, at which sizes their sums were rounded
    gone: bool = False  # whether moments left some feature without digits
    unseen: tuple[bool, bool] = (False, False)  # whether squares of some feature, which moments hold, underflowed
    clouded: tuple[bool, bool] = (False, False)  # whether rounding of a few rows hides what moments tell of the others
    even: tuple[factor.Even | None, factor.Even | None] = (None, None)  # where a few rows hold most of the rounding
    columns: tuple[tuple[str, ...] | None, tuple[str, ...] | None] = (None, None)  # names of the features
    given: Mapping[str, object] = field(default_factory=dict)  # the arrays, or the moments, under their names


def condense(X: object, Y: object | None, what: str, progress: Progress | None, least: int = 2) -> Condensed:
    """The gate: two arrays, or the `FeatureMoments` of both."""
    check_budget(None, progress)
    if isinstance(X, FeatureMoments):
        if Y is not None:
            raise ValueError(f"{what} takes FeatureMoments alone, they hold both arrays; leave Y out")
        if X.yy.shape[0] == 0:
            raise ValueError(f"{what} needs two arrays; these moments hold X alone")
        require_rows(X.n, least, what)
        phase(progress, "singular values")
        return replace(_from_moments(X), given={"X": X})
    if isinstance(X, GramMoments):
        raise TypeError(f"{what} is not made of GramMoments but of FeatureMoments: give feature_moments(X, Y)")
    if Y is None:
        raise TypeError(f"{what} needs X and Y, or FeatureMoments of both in place of X; Y is missing")
    x, y = matrix(X, "X"), matrix(Y, "Y")
    same_rows([x, y], ["X", "Y"])
    same_device([x, y], ["X", "Y"])
    require_rows(x.n, least, what)
    columns = x.columns, y.columns
    given = {"X": x, "Y": y}
    (x,), (y,) = about_least([x]), about_least([y])
    after = _LAPACK * (x.d + y.d) / x.n
    expect(progress, 1 + after)
    features = [centre(x, Linear()), centre(y, Linear())]
    found = factor.triangle(features, progress)
    phase(progress, "singular values", after)
    return Condensed(
        n=x.n,
        x=found.rows[:, : x.d],
        y=found.rows[:, x.d :],
        rcond=(max(x.n, x.d) * EPS, max(x.n, y.d) * EPS),
        rounding=(found.rounding[: x.d], found.rounding[x.d :]),
        exponent=(features[0].exponent // 2, features[1].exponent // 2),
        columns=columns,
        even=(_even(features[0], found, slice(x.d)), _even(features[1], found, slice(x.d, None))),
        given=given,
    )


def _even(features: CentredFeatures, found: factor.Triangle, columns: slice) -> factor.Even | None:
    even = factor.evened(features, found.rounding[columns], found.fourth[columns])
    return even and even.centred(True)


def _from_moments(given: FeatureMoments) -> Condensed:
    """Rows with the moments that were merged: half of float64's digits, since moments are squares."""
    mean_x, mean_y = given.sum_x / given.n, given.sum_y / given.n
    m = check_squares(given.shifted(mean_x, mean_y))
    second = np.block([[m.xx, m.xy], [m.xy.T, m.yy]])
    # integers that a reference was taken from exactly are known to the last digit
    offset = np.concatenate(
        [
            np.where(exact_beyond(reference), 0.0, reference + mean)
            for reference, mean in ((given.reference_x, mean_x), (given.reference_y, mean_y))
        ]
    )
    raw = factor.summed_squares(
        np.concatenate([np.diag(given.xx), np.diag(given.yy)]), given.n, np.concatenate([mean_x, mean_y])
    )
    rows, gone = factor.of_squares(second, raw, given.n, least=np.square(16 * EPS * offset) * given.n)
    p, q = m.xy.shape
    rcond = (math.sqrt(max(given.n, p) * EPS), math.sqrt(max(given.n, q) * EPS))
    of_x = told_from(given.rounding_x, given.digits_x, given.n)
    of_y = told_from(given.rounding_y, given.digits_y, given.n)
    return Condensed(
        n=given.n,
        x=rows[:, :p],
        y=rows[:, p:],
        rcond=rcond,
        rounding=(of_x[0], of_y[0]),
        exponent=(0, 0),
        raw=(raw[:p], raw[p:]),
        gone=gone,
        unseen=unseen(m),
        clouded=(
            of_x[1] and factor.clouded(rows[:, :p], rcond[0], of_x[0], given.n),
            of_y[1] and factor.clouded(rows[:, p:], rcond[1], of_y[0], given.n),
        ),
    )


def basis_of(
    c: Condensed, side: int, rcond: float | None, *, unit_columns: bool, reciprocal: Array | float = 1.0
) -> Basis:
    """Of columns times `reciprocal`; in these units, or where none matter in those that keep the most digits."""
    rows = (c.x, c.y)[side] * reciprocal
    rounding = c.rounding[side] * np.square(reciprocal)
    if rcond is not None:
        return factor.basis(rows, rcond, unit_columns=unit_columns)
    even = c.even[side]
    return factor.ranked_basis(
        rows, c.rcond[side], rounding, c.n, unit_columns=unit_columns, even=even and even.scaled(reciprocal)
    )


def filter_factors(basis: Basis, ridge: float, n: int, exponent: int) -> Array:
    """(r,) s/√(s² + nλ): what a ridge leaves of each direction; λ in the units of the variance of the features."""
    if ridge == 0:
        return np.ones(basis.rank)
    added = math.sqrt(n) * scaled(math.sqrt(ridge), -exponent)
    kept: Array = basis.singular / np.hypot(basis.singular, added)
    return kept


def why_constant(c: Condensed, ranks: Sequence[int]) -> str | None:
    """Why a measure of subspaces has no value, or None."""
    for name, rank, rows in zip("XY", ranks, (c.x, c.y), strict=True):
        if rank == 0 and rows.any():
            return (
                f"{name} varies by no more than the rounding that it was stored with: its dtype is too coarse for rows "
                "this far from 0"
            )
        if rank == 0:
            return CONSTANT.format(name)
    return None


def without_variation(c: Condensed) -> str | None:
    """The same of measures that divide by the size alone."""
    return next((CONSTANT.format(name) for name, rows in zip("XY", (c.x, c.y), strict=True) if not rows.any()), None)


def _sides(c: Condensed, bases: tuple[Basis | None, Basis | None]) -> list[factor.Side]:
    raw = c.raw or (np.zeros(c.x.shape[1]), np.zeros(c.y.shape[1]))
    return [
        factor.whole(rows, r) if basis is None else factor.side(rows, basis, r, rounding, c.n)
        for rows, r, basis, rounding in zip((c.x, c.y), raw, bases, c.rounding, strict=True)
    ]


def untold(
    c: Condensed, x: Basis | None, y: Basis | None, value: float | None = None, *, selected: bool = False
) -> str | None:
    """Why Σ of the squares of u_x'u_y has no digits, of moments; bases that are None are the features themselves."""
    if c.raw is None or not (c.x.any() and c.y.any()):
        return None
    # where nothing is divided by, features that are that small do not count
    if any(lost and basis is not None for lost, basis in zip(c.unseen, (x, y), strict=True)):
        return UNDERFLOWED
    if not selected and any(hidden and basis is not None for hidden, basis in zip(c.clouded, (x, y), strict=True)):
        return CLOUDED
    sides = _sides(c, (x, y))
    error = factor.energy_error(*sides, whitened=y is not None, selected=selected)
    if value is None:
        value = float(np.square(sides[0].basis.u.T @ sides[1].basis.u).sum())
    return TOO_FEW_DIGITS if c.gone or not factor.trusted(error, value) else None


def untold_gap(c: Condensed, gap: float, unit: float, x: Basis | None = None, y: Basis | None = None) -> str | None:
    """Why a distance that is left of the sizes of both has no digits, of moments."""
    if c.raw is None or not (c.x.any() and c.y.any()):
        return None
    sides = _sides(c, (x, y))
    error = 2 * unit * float(np.linalg.norm(factor.cross_errors(*sides, whitened=True)))
    return TOO_FEW_DIGITS if c.gone or not factor.trusted(error, gap) else None


def saturated(ranks: Sequence[int], n: int) -> str | None:
    """Why a measure of subspaces says nothing about the data, or None."""
    for name, rank in zip("XY", ranks, strict=False):
        if rank >= n - 1:
            return (
                f"{name} has rank {rank} = n − 1 after centring, so it fits anything perfectly, related or not; "
                "take more rows than features, fewer components (svcca), or a ridge"
            )
    return None


def check_ridge(ridge: object) -> float:
    found = check_number(ridge, "ridge")
    if not (math.isfinite(found) and found >= 0):
        raise ValueError(f"ridge must be finite and at least 0, got {ridge}")
    return found


def check_part(value: object, argument: str, *, zero: bool) -> float:
    """A number from 0 to 1; where sums in float64 took it past an end by their rounding, the end."""
    found = check_number(value, argument)
    near = 4 * EPS
    if not (0 < found <= 1 + near or (zero and -near <= found <= 0)):
        raise ValueError(f"{argument} must be {'from 0 to 1' if zero else 'above 0 and at most 1'}, got {value}")
    return min(1.0, max(0.0, found))


def check_rcond(rcond: object) -> float | None:
    if rcond is None:
        return None
    found = check_number(rcond, "rcond", instead=" or None")
    if not 0 <= found < 1:
        raise ValueError(f"rcond must be at least 0 and below 1, got {rcond}")
    return found


def square_of(rows: Array) -> Array:
    """As many columns as rows at most, by a rotation of the features."""
    return rows if rows.shape[1] <= rows.shape[0] else upper(rows.T).T
