"""Measures that see the features' second moments and nothing else: CCA and its kin, regression, shapes, single units.

All of them are functions of the same small value, `Condensed`: the centred rows after an orthogonal map that leaves
p + q of them, so that X̄'X̄, X̄'Ȳ and Ȳ'Ȳ are what they were. Arrays are condensed by a QR factorisation of one block
of rows after another, which never squares a condition number; merged `FeatureMoments` by an eigendecomposition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import Linear
from gramian.reasons import told
from gramian.rows.arrays import (
    about_least,
    check_budget,
    check_count,
    exact_beyond,
    require_rows,
    same_device,
    same_rows,
)
from gramian.rows.sources import matrix
from gramian.sweeps import factor
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import EPS, Basis, norms, svd, upper
from gramian.sweeps.moments import (
    NOISE,
    TOO_FEW_DIGITS,
    TRUSTED,
    CentredFeatures,
    FeatureMoments,
    Progress,
    centre,
    check_squares,
)

Array: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]


_CONSTANT = "{} is constant up to rounding: nothing is left after centring"


# ---- from arrays or moments to few rows -----------------------------------------------------------------


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
    even: tuple[factor.Even | None, factor.Even | None] = (None, None)  # where a few rows hold most of the rounding


def _condensed(X: object, Y: object | None, what: str, progress: Progress | None, least: int = 2) -> Condensed:
    """The gate: two arrays, or the `FeatureMoments` of both."""
    check_budget(None, progress)
    if isinstance(X, FeatureMoments):
        if Y is not None:
            raise ValueError(f"{what} takes FeatureMoments alone, they hold both arrays; leave Y out")
        if X.yy.shape[0] == 0:
            raise ValueError(f"{what} needs two arrays; these moments hold X alone")
        require_rows(X.n, least, what)
        return _from_moments(X)
    if Y is None:
        raise TypeError(f"{what} needs X and Y, or FeatureMoments of both in place of X; Y is missing")
    x, y = matrix(X, "X"), matrix(Y, "Y")
    same_rows([x, y], ["X", "Y"])
    same_device([x, y], ["X", "Y"])
    require_rows(x.n, least, what)
    (x,), (y,) = about_least([x]), about_least([y])
    features = [centre(x, Linear()), centre(y, Linear())]
    found = factor.triangle(features, progress)
    return Condensed(
        n=x.n,
        x=found.rows[:, : x.d],
        y=found.rows[:, x.d :],
        rcond=(max(x.n, x.d) * EPS, max(x.n, y.d) * EPS),
        rounding=(found.rounding[: x.d], found.rounding[x.d :]),
        exponent=(features[0].exponent // 2, features[1].exponent // 2),
        even=(_even(features[0], found, slice(x.d)), _even(features[1], found, slice(x.d, None))),
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
    return Condensed(
        n=given.n,
        x=rows[:, :p],
        y=rows[:, p:],
        rcond=rcond,
        rounding=(given.rounding_x, given.rounding_y),
        exponent=(0, 0),
        raw=(raw[:p], raw[p:]),
        gone=gone,
    )


# ---- algebra on few rows ----------------------------------------------------------------------------------


def _basis(
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


def _filtered(basis: Basis, ridge: float, n: int, exponent: int) -> Array:
    """(r,) s/√(s² + nλ): what a ridge leaves of each direction; λ in the units of the variance of the features."""
    if ridge == 0:
        return np.ones(basis.rank)
    added = math.sqrt(n) * scaled(math.sqrt(ridge), -exponent)
    kept: Array = basis.singular / np.hypot(basis.singular, added)
    return kept


def _constant(c: Condensed, ranks: Sequence[int]) -> str | None:
    """Why a measure of subspaces has no value, or None."""
    for name, rank, rows in zip("XY", ranks, (c.x, c.y), strict=True):
        if rank == 0 and rows.any():
            return (
                f"{name} varies by no more than the rounding that it was stored with: its dtype is too coarse for rows "
                "this far from 0"
            )
        if rank == 0:
            return _CONSTANT.format(name)
    return None


def _without_variation(c: Condensed) -> str | None:
    """The same of measures that divide by the size alone."""
    return next((_CONSTANT.format(name) for name, rows in zip("XY", (c.x, c.y), strict=True) if not rows.any()), None)


def _sides(c: Condensed, bases: tuple[Basis | None, Basis | None]) -> list[factor.Side]:
    raw = c.raw or (np.zeros(c.x.shape[1]), np.zeros(c.y.shape[1]))
    return [
        factor.whole(rows, r) if basis is None else factor.side(rows, basis, r, rounding, c.n)
        for rows, r, basis, rounding in zip((c.x, c.y), raw, bases, c.rounding, strict=True)
    ]


def _untold(
    c: Condensed, x: Basis | None, y: Basis | None, value: float | None = None, *, selected: bool = False
) -> str | None:
    """Why Σ of the squares of u_x'u_y has no digits, of moments; bases that are None are the features themselves."""
    if c.raw is None or not (c.x.any() and c.y.any()):
        return None
    sides = _sides(c, (x, y))
    error = factor.energy_error(*sides, whitened=y is not None, selected=selected)
    if value is None:
        value = float(np.square(sides[0].basis.u.T @ sides[1].basis.u).sum())
    return TOO_FEW_DIGITS if c.gone or not factor.trusted(error, value) else None


def _untold_gap(c: Condensed, gap: float, unit: float, x: Basis | None = None, y: Basis | None = None) -> str | None:
    """Why a distance that is left of the sizes of both has no digits, of moments."""
    if c.raw is None or not (c.x.any() and c.y.any()):
        return None
    sides = _sides(c, (x, y))
    error = 2 * unit * float(np.linalg.norm(factor.cross_errors(*sides, whitened=True)))
    return TOO_FEW_DIGITS if c.gone or not factor.trusted(error, gap) else None


def _saturated(ranks: Sequence[int], n: int) -> str | None:
    """Why a measure of subspaces says nothing about the data, or None."""
    for name, rank in zip("XY", ranks, strict=False):
        if rank >= n - 1:
            return (
                f"{name} has rank {rank} = n − 1 after centring, so it fits anything perfectly, related or not; "
                "take more rows than features, fewer components (svcca), or a ridge"
            )
    return None


def _check_ridge(ridge: object) -> None:
    if isinstance(ridge, bool) or not isinstance(ridge, Real):
        raise TypeError(f"ridge must be a number, got {type(ridge).__name__}")
    if not (math.isfinite(ridge) and float(ridge) >= 0):
        raise ValueError(f"ridge must be finite and at least 0, got {ridge}")


def _part(value: object, argument: str, *, zero: bool) -> float:
    """A number from 0 to 1; where sums in float64 took it past an end by their rounding, the end."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be a number, got {type(value).__name__}")
    near = 4 * EPS
    if not (0 < float(value) <= 1 + near or (zero and -near <= float(value) <= 0)):
        raise ValueError(f"{argument} must be {'from 0 to 1' if zero else 'above 0 and at most 1'}, got {value}")
    return min(1.0, max(0.0, float(value)))


def _check_rcond(rcond: object) -> None:
    if rcond is None:
        return
    if isinstance(rcond, bool) or not isinstance(rcond, Real):
        raise TypeError(f"rcond must be a number or None, got {type(rcond).__name__}")
    if not 0 <= float(rcond) < 1:
        raise ValueError(f"rcond must be at least 0 and below 1, got {rcond}")


# ---- canonical correlations -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CanonicalCorrelations:
    """All canonical correlations of two representations, their directions, and what chance would give."""

    correlations: Array  # (k,) from the largest on, k the smaller rank
    directions_x: Array  # (p, k): X̄ @ directions_x are the canonical variables, of variance 1 (less under a ridge)
    directions_y: Array  # (q, k)
    shares_x: Array  # (k,) part of X that each direction carries, adding to 1: the weights of PWCCA
    shares_y: Array  # (k,)
    rank: tuple[int, int]  # directions of X and Y that are more than rounding
    forced: int  # correlations that are 1 by the number of rows alone: rank_x + rank_y − (n − 1), if positive
    n: int
    chance: float  # mean of the squared correlations over all shufflings of the rows of Y: its exact expectation
    reason: str | None  # why the means are nan

    @property
    def mean(self) -> float:
        """Mean correlation: CCA, or SVCCA where components were selected."""
        return math.nan if self.reason else float(self.correlations.mean())

    @property
    def mean_square(self) -> float:
        """Mean squared correlation, R²_CCA; `chance` is its value for shuffled rows."""
        return math.nan if self.reason else float(np.square(self.correlations).mean())

    @property
    def projection_weighted(self) -> float:
        """Mean correlation weighted by shares_x: PWCCA."""
        return math.nan if self.reason else float(self.shares_x @ self.correlations)

    def __repr__(self) -> str:
        if self.reason:
            return f"CanonicalCorrelations(nan: {self.reason})"
        forced = f", {self.forced} of them 1 by construction" if self.forced else ""
        return (
            f"CanonicalCorrelations(mean = {self.mean:.4g}, mean square = {self.mean_square:.4g} "
            f"(by chance {self.chance:.2g}), {len(self.correlations)} correlations{forced}, n = {self.n})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; without the directions."""
        return {
            "mean": self.mean,
            "mean_square": self.mean_square,
            "projection_weighted": self.projection_weighted,
            "correlations": self.correlations.tolist(),
            "chance": self.chance,
            "rank": list(self.rank),
            "forced": self.forced,
            "n": self.n,
            "reason": self.reason,
        }


def canonical_correlations(
    X: object,
    Y: object | None = None,
    *,
    variance: float | None = None,
    components: int | None = None,
    standardize: bool = False,
    ridge: float | tuple[float, float] = 0.0,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> CanonicalCorrelations:
    """All canonical correlations, the singular values of (C_xx + λ)^−½ C_xy (C_yy + λ)^−½ of centred features.

    Parameters
    ----------
    X : array of shape (n, p), or FeatureMoments
        Any array that `gramian.cka` takes, or the path of a file; or the merged moments of X and Y.
    Y : array of shape (n, q)
        Row i of both is the same sample. Left out if X is FeatureMoments.
    variance : float, optional
        Keep only the leading principal components of each array that hold this part of its variance (SVCCA).
    components : int, optional
        Keep this many leading principal components instead, or all where the rank is smaller.
    standardize : bool
        Divide each feature by its standard deviation first; matters to components, shares and a ridge.
    ridge : float or pair of floats
        λ, in units of the variance of the features (of X, of Y).
    rcond : float, optional
        Singular values below this part of the largest are rounding and dropped, before a ridge too. Left out:
        max(n, p)·eps; √(max(n, p)·eps) for FeatureMoments, whose digits are those of squares. Also what the rounding of
        stored entries explains (of float64 where rows are far from 0), scaled to be the same in every column: a
        direction counts if it is more than twice that.
    progress : callable, optional
        Called with (done, total).

    Returns
    -------
    CanonicalCorrelations
        ``.correlations``, ``.directions_x``, ``.directions_y``, ``.mean``, ``.mean_square``, ``.projection_weighted``,
        ``.chance``. Means are nan, and ``.reason`` says why, if an array is constant or, without a ridge, has rank
        n − 1: then every correlation is 1 whatever the data; or if FeatureMoments have not three digits of them.
        Directions whose coefficients are beyond float64, of features of about 1e-308, are infinite.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n(p+q)²) time, in LAPACK on the host, and O((p+q)²) memory, O(n(p+q)) where that is less: a QR factorisation of
    blocks of rows, so that features of condition number κ lose κ and not κ². Ctrl-C waits for the factorisation that is
    running, O((p+q)³). Blocks of arrays on a CUDA device are copied to the
    host. Constant features are dropped. Chance is tr f_x² · tr f_y² / ((n − 1)k) with f = s/√(s² + λ),
    rank_x·rank_y/((n − 1)k) without a ridge. Source: Hotelling 1936; Raghu et al. 2017; Theory, 8.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> gm.canonical_correlations(x, y).correlations.round(12)
    array([0.8])
    """
    _check_rcond(rcond)
    if variance is not None:
        variance = _part(variance, "variance", zero=False)
    if components is not None:
        check_count(components, "components")
    if variance is not None and components is not None:
        raise ValueError("variance and components both say how many components to keep; give one of them")
    ridges = ridge if isinstance(ridge, tuple) else (ridge, ridge)
    if len(ridges) != 2:
        raise ValueError(f"ridge must be a number or a pair (of X, of Y), got {len(ridges)} numbers")
    for value in ridges:
        _check_ridge(value)
    c = _condensed(X, Y, "a canonical correlation", progress)
    return _canonical(c, variance, components, standardize, (float(ridges[0]), float(ridges[1])), rcond)


def _canonical(
    c: Condensed,
    variance: float | None = None,
    components: int | None = None,
    standardize: bool = False,
    ridge: tuple[float, float] = (0.0, 0.0),
    rcond: float | None = None,
) -> CanonicalCorrelations:
    bases, filters, rows = [], [], []
    for side, (given, penalty, exponent) in enumerate(zip((c.x, c.y), ridge, c.exponent, strict=True)):
        deviation = norms(given) / math.sqrt(c.n) if standardize else np.ones(given.shape[1])
        reciprocal = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        unit_columns = penalty == 0 and variance is None and components is None
        basis = _basis(c, side, rcond, unit_columns=unit_columns, reciprocal=reciprocal)
        if basis.rank and components is not None:
            basis = basis.leading(components)
        elif basis.rank and variance is not None:
            energy = np.cumsum(basis.singular**2)
            basis = basis.leading(int(np.searchsorted(energy / energy[-1], variance)) + 1)
        rows.append(given * reciprocal)
        bases.append(replace(basis, weights=reciprocal[:, None] * basis.weights))
        filters.append(_filtered(basis, penalty, c.n, 0 if standardize else exponent))
    (bx, by), (fx, fy) = bases, filters
    k = min(bx.rank, by.rank)
    if k:
        left, correlations, right = svd(fx[:, None] * (bx.u.T @ by.u) * fy)
        turns = (left[:, :k], right[:k].T)
    else:
        correlations, turns = np.zeros(0), (np.zeros((bx.rank, 0)), np.zeros((by.rank, 0)))
    directions, shares = [], []
    for basis, f, own, turn, exponent in zip(bases, filters, rows, turns, c.exponent, strict=True):
        with np.errstate(over="ignore"):  # directions of the smallest numbers are infinite
            directions.append(np.ldexp(math.sqrt(c.n) * (basis.weights * f) @ turn, -exponent))
        carried = np.abs((basis.u @ turn).T @ own).sum(axis=1)
        shares.append(carried / carried.sum() if k else carried)
    ranks = (bx.rank, by.rank)
    selected = variance is not None or components is not None or rcond is not None or any(ridge)
    filtered = [Basis(b.u * f, b.singular, b.weights * f) for b, f in zip(bases, filters, strict=True)]
    free = [0 if penalty else rank for rank, penalty in zip(ranks, ridge, strict=True)]
    return CanonicalCorrelations(
        correlations=np.minimum(correlations, 1.0),
        directions_x=directions[0],
        directions_y=directions[1],
        shares_x=shares[0],
        shares_y=shares[1],
        rank=ranks,
        forced=0 if any(ridge) else max(0, sum(ranks) - (c.n - 1)),
        n=c.n,
        chance=float((fx @ fx) * (fy @ fy) / ((c.n - 1) * k)) if k else math.nan,
        reason=_constant(c, ranks) or _saturated(free, c.n) or _untold(c, filtered[0], filtered[1], selected=selected),
    )


def cca(
    X: object,
    Y: object | None = None,
    *,
    ridge: float | tuple[float, float] = 0.0,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> float:
    """Mean canonical correlation of two representations.

    Parameters
    ----------
    X, Y, ridge, rcond, progress
        As in `canonical_correlations`, which gives the correlations one by one, what chance would give, and the reason
        of a nan.

    Returns
    -------
    float
        In [0, 1]; nan with an `UndefinedWarning` if an array is constant or, without a ridge, has rank n − 1 (as with
        n ≤ p): then it would be 1 for any other array; or if FeatureMoments have not three digits of it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. Does not change under invertible affine maps of either
    array. It is far from 0 for independent data unless n is well above p + q: the mean square is then max(p, q)/(n −
    1). Source: Hotelling 1936; Raghu et al. 2017; Theory, 8.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(gm.cca(X, X @ np.array([[2.0, 1, 0], [0, 1, 0], [1, 0, 3]]) + 5), 12)
    1.0
    """
    found = canonical_correlations(X, Y, ridge=ridge, rcond=rcond, progress=progress)
    return told(found.mean, found.reason, "cca")


def svcca(
    X: object,
    Y: object | None = None,
    *,
    variance: float = 0.99,
    components: int | None = None,
    standardize: bool = False,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> float:
    """Mean canonical correlation of the leading principal components of two representations.

    Parameters
    ----------
    X, Y, rcond, progress
        As in `canonical_correlations`.
    variance : float
        Part of each array's variance that its components hold.
    components : int, optional
        Their number, in place of `variance`. ``components=10, standardize=True`` is the measure of Huh et al. 2024
        ("The Platonic Representation Hypothesis").
    standardize : bool
        Divide each feature by its standard deviation first.

    Returns
    -------
    float
        In [0, 1]; nan as `cca`.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. Does not change under rotations, scaling and shifts of
    either array. Source: Raghu et al. 2017; Theory, 8.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3)) * [10, 1, 0.01]
    >>> round(gm.svcca(X, X[:, :2]), 12)
    1.0
    """
    found = canonical_correlations(
        X,
        Y,
        variance=variance if components is None else None,
        components=components,
        standardize=standardize,
        rcond=rcond,
        progress=progress,
    )
    return told(found.mean, found.reason, "svcca")


def pwcca(X: object, Y: object | None = None, *, rcond: float | None = None, progress: Progress | None = None) -> float:
    """Canonical correlations averaged by how much of X each canonical variable carries.

    The weight of variable h_i of X is Σ_j |⟨h_i, x̄_j⟩| over the features of X, so the measure is not symmetric.

    Parameters
    ----------
    X, Y, rcond, progress
        As in `canonical_correlations`.

    Returns
    -------
    float
        In [0, 1]; nan as `cca`.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. Does not change under permutations and one scaling of
    the features of X, nor under invertible affine maps of Y. Source: Morcos et al. 2018; Theory, 8.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(gm.pwcca(X, X[:, ::-1] * 2), 12)
    1.0
    """
    found = canonical_correlations(X, Y, rcond=rcond, progress=progress)
    return told(found.projection_weighted, found.reason, "pwcca")


def linear_regression_r2(
    X: object,
    Y: object | None = None,
    *,
    ridge: float = 0.0,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> float:
    """R² of the affine prediction of Y from X, over all features of Y: 1 − ‖Ȳ − X̄B‖²/‖Ȳ‖².

    Parameters
    ----------
    X, Y, rcond, progress
        As in `canonical_correlations`; X predicts Y.
    ridge : float
        λ of B = (C_xx + λ)⁻¹ C_xy, in units of the variance of the features of X.

    Returns
    -------
    float
        In [0, 1]; nan with an `UndefinedWarning` if X or Y is constant, or no more than the rounding that X was stored
        with is left of it, if X has rank n − 1 and there is no ridge, which fits anything, or if FeatureMoments have
        not three digits of it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. On the rows of the fit, so about rank_x/(n − 1) for
    independent data. 1 − R² is the misalignment of the best affine stitching map, over tr C_yy. Does not change under
    invertible affine maps of X (without a ridge), nor under rotations, scaling and shifts of Y. Source: Kornblith et
    al. 2019; Theory, 8.2.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> round(gm.linear_regression_r2(x, y), 12)  # 1 - (9/20)/(5/4)
    0.64
    """
    _check_ridge(ridge)
    _check_rcond(rcond)
    c = _condensed(X, Y, "linear_regression_r2", progress)
    total = float(np.vdot(c.y, c.y))
    basis = _basis(c, 0, rcond, unit_columns=ridge == 0)
    reason = _constant(c, (basis.rank, 1)) if total else _CONSTANT.format("Y")
    if ridge == 0:
        reason = reason or _saturated((basis.rank,), c.n)
    if reason:
        return told(math.nan, reason, "linear_regression_r2")
    filters = _filtered(basis, float(ridge), c.n, c.exponent[0])
    filtered = Basis(basis.u * filters, basis.singular, basis.weights * filters)
    residual = c.y - filtered.u @ (filtered.u.T @ c.y)
    value = max(0.0, 1 - float(np.vdot(residual, residual)) / total)
    reason = _untold(c, filtered, None, selected=rcond is not None or ridge > 0)
    return told(math.nan if reason else value, reason, "linear_regression_r2")


def coco(X: object, Y: object | None = None, *, progress: Progress | None = None) -> float:
    """Constrained covariance of linear functions: the largest singular value of C_xy.

    The largest covariance of two unit-norm linear functions, one of X and one of Y; its canonical correlation is
    ``canonical_correlations(X, Y, ridge=...).correlations[0]``, known as KCC under a ridge.

    Parameters
    ----------
    X, Y, progress
        As in `canonical_correlations`.

    Returns
    -------
    float
        At least 0, in units of X times units of Y; the covariance divides by n. nan with an `UndefinedWarning` if
        FeatureMoments have not three digits of it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. Does not change under rotations and shifts. HSIC is
    the sum of the squares of all singular values of C_xy, COCO the largest one. Source: Gretton et al. 2005; Theory,
    8.3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> round(gm.coco(x, y), 12)
    1.0
    """
    c = _condensed(X, Y, "coco", progress)
    value = scaled(float(svd(_square(c.x).T @ _square(c.y))[1][0]) / c.n, sum(c.exponent))
    reason = _untold(c, None, None)
    return told(math.nan if reason else value, reason, "coco")


def nocco(
    X: object,
    Y: object | None = None,
    *,
    ridge: float | tuple[float, float] = 0.0,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> float:
    """Sum of the squared canonical correlations, ‖(C_xx + λ)^−½ C_xy (C_yy + λ)^−½‖², for linear features.

    Parameters
    ----------
    X, Y, ridge, rcond, progress
        As in `canonical_correlations`.

    Returns
    -------
    float
        From 0 to the smaller rank; nan as `cca`.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. About rank_x·rank_y/(n − 1) for independent data
    without a ridge. Source: Fukumizu et al. 2007; Theory, 8.3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> round(gm.nocco(x, y), 12), round(gm.nocco(x, y, ridge=1.25), 12)  # 0.8², a quarter of it: variances are 1.25
    (0.64, 0.16)
    """
    found = canonical_correlations(X, Y, ridge=ridge, rcond=rcond, progress=progress)
    value = math.nan if found.reason else float(np.square(found.correlations).sum())
    return told(value, found.reason, "nocco")


# ---- shapes ------------------------------------------------------------------------------------------------------


def procrustes(
    X: object, Y: object | None = None, *, normalize: bool = True, progress: Progress | None = None
) -> float:
    """Squared Procrustes distance, min over rotations Q of ‖X̄ − ȲQ‖² = ‖X̄‖² + ‖Ȳ‖² − 2‖X̄'Ȳ‖_*.

    Parameters
    ----------
    X, Y, progress
        As in `canonical_correlations`. Arrays of different widths are compared as if the narrower one had features of
        zeros.
    normalize : bool
        Divide both centred arrays by their Frobenius norms first.

    Returns
    -------
    float
        From 0, alike up to rotation and shift (and scale, if normalised), to 2 where normalised; else in squared units
        of the features, summed over samples. nan with an `UndefinedWarning` if normalised and an array is constant, or
        if FeatureMoments have not three digits of it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. It is taken from the differences themselves, so that
    small distances have digits. `scipy.spatial.procrustes` also scales the second array and reports 1 − s² where this
    is 2 − 2s. The square root is a metric. Source: Schönemann 1966; Ding et al. 2021; Theory, 8.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> gm.procrustes(X, 2 * X[:, ::-1] + 1) < 1e-15
    True
    """
    c = _condensed(X, Y, "procrustes", progress)
    if normalize:
        gap = _shape_gap(c.x, c.y)
        reason = _without_variation(c) or _untold_gap(c, gap, 1.0)
        return told(math.nan if reason else gap, reason, "procrustes")
    top = max(c.exponent)
    x, y = (np.ldexp(rows, e - top) for rows, e in zip((c.x, c.y), c.exponent, strict=True))
    gap = _gap(x, y)
    reason = _untold_gap(c, gap, max(float(np.vdot(x, x)), float(np.vdot(y, y))))
    return told(math.nan if reason else scaled(gap, 2 * top), reason, "procrustes")


def shape_distance(
    X: object,
    Y: object | None = None,
    *,
    alpha: float = 1.0,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> float:
    """Angle between two shapes, arccos ‖X_φ'Y_φ‖_* / (‖X_φ‖‖Y_φ‖), with X_φ = X̄(α + (1 − α) C_xx^−½).

    Parameters
    ----------
    X, Y, rcond, progress
        As in `canonical_correlations`; arrays of different widths are compared as if the narrower one had features of
        zeros.
    alpha : float
        From 0, shapes alike up to any invertible map, to 1, alike up to rotation and scale; a rounding beyond is
        taken for the end.

    Returns
    -------
    float
        Radians, from 0 to π/2; nan with an `UndefinedWarning` if an array is constant, with alpha = 0 has rank n − 1,
        or if FeatureMoments have not three digits of it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. A metric between representations of the same samples
    for each alpha: symmetric, with the triangle inequality, 0 for equal shapes. Between 0 and 1, alpha weighs the
    features, in their units, against white ones of variance 1: there a scaling of X changes the distance. netrep
    whitens with X̄'X̄ in place of C_xx = X̄'X̄/n: its alpha a is a√n/(a√n + 1 − a) here. Source: Williams et al. 2021;
    Theory, 8.4.

    Examples
    --------
    >>> import math, numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> round(math.cos(gm.shape_distance(x, y)), 12)
    0.8
    """
    alpha = _part(alpha, "alpha", zero=True)
    _check_rcond(rcond)
    c = _condensed(X, Y, "shape_distance", progress)
    reason = _without_variation(c)
    if alpha == 1:
        gap = _shape_gap(c.x, c.y)
        reason = reason or _untold_gap(c, gap, 1.0)
    else:
        sides, bases = [], []
        for side, exponent in enumerate(c.exponent):
            basis = _basis(c, side, rcond, unit_columns=alpha == 0)
            deviation = np.ldexp(basis.singular, exponent) / math.sqrt(c.n)
            sides.append(basis.u * (alpha * deviation + 1 - alpha))
            bases.append(basis)
        ranks = [basis.rank for basis in bases]
        reason = _constant(c, ranks) or (_saturated(ranks, c.n) if alpha == 0 else None)
        gap = math.nan if reason else _shape_gap(*sides)
        if not reason:
            reason = _untold(c, bases[0], bases[1], selected=rcond is not None)
            reason = reason or _untold_gap(c, gap, 1 / math.sqrt(math.prod(ranks)), *bases)
    angle = math.nan if reason else 2 * math.asin(min(math.sqrt(gap / 2), 1.0) / math.sqrt(2))
    return told(angle, reason, "shape_distance")


def _shape_gap(x: Array, y: Array) -> float:
    """2 − 2‖x'y‖_*/(‖x‖‖y‖); nan if one of them is 0."""
    if not (x.any() and y.any()):
        return math.nan
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return _gap(x / np.linalg.norm(x), y / np.linalg.norm(y))


def _gap(x: Array, y: Array) -> float:
    """min ‖x − yQ‖², the narrower one padded with zeros, from the differences after both are turned."""
    x, y = _square(x), _square(y)
    left, _, right = svd(x.T @ y, full=True)
    x, y = x @ left, y @ right.T
    k = min(x.shape[1], y.shape[1])
    return float(sum(np.vdot(part, part) for part in (x[:, :k] - y[:, :k], x[:, k:], y[:, k:])))


def _square(rows: Array) -> Array:
    """As many columns as rows at most, by a rotation of the features."""
    return rows if rows.shape[1] <= rows.shape[0] else upper(rows.T).T


# ---- single units ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class UnitMatching:
    """Which unit (feature) of Y each unit of X is matched with, and how well they correlate."""

    units_x: Indices  # (k,) units of X that have a match, ascending; constant units have none
    units_y: Indices  # (k,) their matches
    correlations: Array  # (k,) signed
    signed: bool
    n: int
    reason: str | None  # why there is no score

    @property
    def score(self) -> float:
        """Mean absolute correlation of the matches, or mean correlation where signs count."""
        if self.reason:
            return math.nan
        return float((self.correlations if self.signed else np.abs(self.correlations)).mean())

    def __repr__(self) -> str:
        if self.reason:
            return f"UnitMatching(nan: {self.reason})"
        return f"UnitMatching(score = {self.score:.4g}, {len(self.units_x)} units of X, n = {self.n})"


def bipartite_matching(
    X: object, Y: object | None = None, *, signed: bool = False, progress: Progress | None = None
) -> UnitMatching:
    """Match the units of X and Y one to one, so that the mean correlation of the pairs is largest.

    Parameters
    ----------
    X, Y, progress
        As in `canonical_correlations`.
    signed : bool
        Whether a correlation of −1 is a bad match; left out, its absolute value counts.

    Returns
    -------
    UnitMatching
        ``.units_x``, ``.units_y``, ``.correlations``, ``.score``; as many pairs as the narrower array has units that
        vary. The score is nan, and ``.reason`` says why, if an array is constant.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; n < 3.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`, and O((p+q)³) for the assignment
    (`scipy.optimize.linear_sum_assignment`). Does not change under permutations, scaling and shifts of single features;
    with ``signed``, scaling by positive factors. The largest of many correlations is above 0 for independent data too:
    shuffle the rows of Y for its level. Source: Li et al. 2016; Theory, 8.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> gm.bipartite_matching(X, X[:, [2, 0, 1]]).units_y
    array([1, 2, 0])
    """
    from scipy.optimize import linear_sum_assignment

    c = _condensed(X, Y, "bipartite_matching", progress, least=3)
    correlations = _unit_correlations(c)
    defined_x, defined_y = _defined(correlations)
    inner = correlations[np.ix_(defined_x, defined_y)]
    rows, columns = linear_sum_assignment(inner if signed else np.abs(inner), maximize=True)
    return _matching(correlations, defined_x[rows], defined_y[columns], signed, c)


def semi_matching(
    X: object, Y: object | None = None, *, signed: bool = False, progress: Progress | None = None
) -> UnitMatching:
    """Match each unit of X with the unit of Y that it correlates with most; units of Y may serve several times.

    Parameters
    ----------
    X, Y, signed, progress
        As in `bipartite_matching`.

    Returns
    -------
    UnitMatching
        A pair for each unit of X that varies; the lowest unit of Y among equals. The score is nan, and ``.reason`` says
        why, if an array is constant.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; n < 3.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `canonical_correlations`. Not symmetric; at least the score of
    `bipartite_matching` where p ≤ q. Does not change under permutations, scaling and shifts of single features; with
    ``signed``, scaling by positive factors. Source: Li et al. 2016; Theory, 8.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> gm.semi_matching(X, X[:, :1]).units_y
    array([0, 0, 0])
    """
    c = _condensed(X, Y, "semi_matching", progress, least=3)
    correlations = _unit_correlations(c)
    defined_x, defined_y = _defined(correlations)
    inner = correlations[np.ix_(defined_x, defined_y)]
    best = (inner if signed else np.abs(inner)).argmax(axis=1) if inner.size else np.zeros(0, dtype=np.int64)
    return _matching(correlations, defined_x[: len(best)], defined_y[best], signed, c)


def _unit_correlations(c: Condensed) -> Array:
    """(p, q) correlations of single units; nan for constant ones."""
    x, y = (np.divide(z, norms(z), out=np.full_like(z, np.nan), where=norms(z) > 0) for z in (c.x, c.y))
    found: Array = np.clip(x.T @ y, -1.0, 1.0)
    return found


def _defined(correlations: Array) -> tuple[Indices, Indices]:
    """Units that vary, of X and of Y."""
    known = ~np.isnan(correlations)
    return np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))


def _matching(correlations: Array, units_x: Indices, units_y: Indices, signed: bool, c: Condensed) -> UnitMatching:
    reason = None if len(units_x) else "X or Y is constant: nothing is left after centring"
    if c.raw is not None and not reason:
        parts = [
            np.divide(r, norms(z) ** 2, out=np.zeros_like(r), where=norms(z) > 0)
            for r, z in zip(c.raw, (c.x, c.y), strict=True)
        ]
        if c.gone or NOISE * max(part.max() for part in parts) > TRUSTED:
            reason = TOO_FEW_DIGITS
    return UnitMatching(units_x, units_y, correlations[units_x, units_y], signed, c.n, reason)
