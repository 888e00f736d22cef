"""Measures that see the features' second moments and nothing else: CCA and its kin, regression, shapes, single units.

All of them are functions of the same small value, `Condensed`: the centred rows after an orthogonal map that leaves
p + q of them, so that X̄'X̄, X̄'Ȳ and Ȳ'Ȳ are what they were. Arrays are condensed by a QR factorisation of one block
of rows after another, which never squares a condition number; merged `FeatureMoments` by an eigendecomposition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.measures.condensed import (
    CONSTANT,
    Condensed,
    basis_of,
    check_part,
    check_rcond,
    check_ridge,
    condense,
    filter_factors,
    saturated,
    square_of,
    untold,
    why_constant,
)
from gramian.progress import Progress, one_bar
from gramian.reasons import told
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import check_count
from gramian.show.tables import Listing
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import Basis, norms, svd
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]


# ---- from arrays or moments to few rows -----------------------------------------------------------------


# ---- algebra on few rows ----------------------------------------------------------------------------------


# ---- canonical correlations -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CanonicalCorrelations(Result):
    """All canonical correlations of two representations, their directions, and what chance would give."""

    _derived = ("mean", "mean_square", "projection_weighted")
    _large = ("directions_x", "directions_y")

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

    def _listing(self) -> Listing:
        columns = {"correlation": self.correlations, "share_x": self.shares_x, "share_y": self.shares_y}
        return Listing({name: column.tolist() for name, column in columns.items()}, of="number")


@public
@one_bar
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
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

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
    blocks of rows, so that features of condition number κ lose κ and not κ². Ctrl-C waits for the factorisation in
    LAPACK that is running, which cannot be interrupted: O((p+q)³). Blocks of arrays on a CUDA device are copied to the
    host. Constant features are dropped. Chance is tr f_x² · tr f_y² / ((n − 1)k) with f = s/√(s² + λ),
    rank_x·rank_y/((n − 1)k) without a ridge. Source: Hotelling 1936; Raghu et al. 2017; Theory, 8.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> gm.canonical_correlations(x, y).correlations.round(12)
    array([0.8])
    """
    c, found = _correlations(X, Y, variance, components, standardize, ridge, rcond, progress)
    return replace(found, provenance=provenance(c.given))


def _correlations(
    X: object,
    Y: object | None,
    variance: float | None = None,
    components: int | None = None,
    standardize: bool = False,
    ridge: float | tuple[float, float] = 0.0,
    rcond: float | None = None,
    progress: Progress | None = None,
) -> tuple[Condensed, CanonicalCorrelations]:
    """Without provenance, whose digest of the rows would cost plain numbers more than they do."""
    rcond = check_rcond(rcond)
    if variance is not None:
        variance = check_part(variance, "variance", zero=False)
    if components is not None:
        components = check_count(components, "components")
    if variance is not None and components is not None:
        raise ValueError("variance and components both say how many components to keep; give one of them")
    ridges = ridge if isinstance(ridge, tuple) else (ridge, ridge)
    if len(ridges) != 2:
        raise ValueError(f"ridge must be a number or a pair (of X, of Y), got {len(ridges)} numbers")
    first, second = map(check_ridge, ridges)
    c = condense(X, Y, "a canonical correlation", progress)
    return c, _canonical(c, variance, components, standardize, (first, second), rcond)


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
        basis = basis_of(c, side, rcond, unit_columns=unit_columns, reciprocal=reciprocal)
        if basis.rank and components is not None:
            basis = basis.leading(components)
        elif basis.rank and variance is not None:
            energy = np.cumsum(basis.singular**2)
            basis = basis.leading(int(np.searchsorted(energy / energy[-1], variance)) + 1)
        rows.append(given * reciprocal)
        bases.append(replace(basis, weights=reciprocal[:, None] * basis.weights))
        filters.append(filter_factors(basis, penalty, c.n, 0 if standardize else exponent))
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
        reason=why_constant(c, ranks) or saturated(free, c.n) or untold(c, filtered[0], filtered[1], selected=selected),
    )


@public
@one_bar
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
    X : array of shape (n, p), or FeatureMoments
        An array of NumPy, torch, CuPy, JAX or another library that speaks DLPack, or the path of a file; or the
        `gramian.feature_moments` of X and Y.
    Y : array of shape (n, q)
        Row i of both is the same sample. Left out if X is FeatureMoments.
    ridge : float or pair of floats
        λ, in units of the variance of the features (of X, of Y).
    rcond : float, optional
        Directions whose singular value is below this part of the largest are dropped. Left out: those that the rounding
        of the entries, or of moments, explains.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

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
    O(n(p+q)²) time and O((p+q)²) memory, on the host; Ctrl-C waits for the factorisation in LAPACK that is running,
    which cannot be interrupted: O((p+q)³). Does not change under invertible affine maps of either array. It is far from
    0 for independent data unless n is well above p + q: the mean square is then max(p, q)/(n − 1). Source: Hotelling
    1936; Raghu et al. 2017; Theory, 8.1. `canonical_correlations` gives the correlations one by one, what chance would
    give, and the reason of a nan.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> round(gm.cca(X, X @ rng.standard_normal((10, 10)) + 5), 6)  # an invertible map
    1.0
    >>> round(gm.cca(X, Y), 2), round(gm.cca(X, Z), 2)  # of unrelated data it is not 0
    (0.89, 0.14)
    """
    _, found = _correlations(X, Y, ridge=ridge, rcond=rcond, progress=progress)
    return told(found.mean, found.reason, "cca")


@public
@one_bar
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
    _, found = _correlations(
        X,
        Y,
        variance=variance if components is None else None,
        components=components,
        standardize=standardize,
        rcond=rcond,
        progress=progress,
    )
    return told(found.mean, found.reason, "svcca")


@public
@one_bar
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
    _, found = _correlations(X, Y, rcond=rcond, progress=progress)
    return told(found.projection_weighted, found.reason, "pwcca")


@public
@one_bar
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
    ridge = check_ridge(ridge)
    rcond = check_rcond(rcond)
    c = condense(X, Y, "linear_regression_r2", progress)
    total = float(np.vdot(c.y, c.y))
    basis = basis_of(c, 0, rcond, unit_columns=ridge == 0)
    reason = why_constant(c, (basis.rank, 1)) if total else CONSTANT.format("Y")
    if ridge == 0:
        reason = reason or saturated((basis.rank,), c.n)
    if reason:
        return told(math.nan, reason, "linear_regression_r2")
    filters = filter_factors(basis, float(ridge), c.n, c.exponent[0])
    filtered = Basis(basis.u * filters, basis.singular, basis.weights * filters)
    residual = c.y - filtered.u @ (filtered.u.T @ c.y)
    value = max(0.0, 1 - float(np.vdot(residual, residual)) / total)
    reason = untold(c, filtered, None, selected=rcond is not None or ridge > 0)
    return told(math.nan if reason else value, reason, "linear_regression_r2")


@public
@one_bar
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
    c = condense(X, Y, "coco", progress)
    value = scaled(float(svd(square_of(c.x).T @ square_of(c.y))[1][0]) / c.n, sum(c.exponent))
    reason = untold(c, None, None)
    return told(math.nan if reason else value, reason, "coco")


@public
@one_bar
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
    _, found = _correlations(X, Y, ridge=ridge, rcond=rcond, progress=progress)
    value = math.nan if found.reason else float(np.square(found.correlations).sum())
    return told(value, found.reason, "nocco")


# ---- shapes ------------------------------------------------------------------------------------------------------


# ---- single units ------------------------------------------------------------------------------------------------
