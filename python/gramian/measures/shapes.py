"""Shapes: how far apart two representations are after the best rotation."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.measures.condensed import (
    basis_of,
    check_part,
    check_rcond,
    condense,
    saturated,
    square_of,
    untold,
    untold_gap,
    why_constant,
    without_variation,
)
from gramian.progress import Progress, one_bar
from gramian.reasons import told
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import svd
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]


@public
@one_bar
def procrustes(
    X: object, Y: object | None = None, *, normalize: bool = True, progress: Progress | None = None
) -> float:
    """Squared Procrustes distance, min over rotations Q of ‖X̄ − ȲQ‖² = ‖X̄‖² + ‖Ȳ‖² − 2‖X̄'Ȳ‖_*.

    Parameters
    ----------
    X : array of shape (n, p), or FeatureMoments
        An array of NumPy, torch, CuPy, JAX or another library that speaks DLPack, or the path of a file; or the
        `gramian.feature_moments` of X and Y.
    Y : array of shape (n, q)
        Row i of both is the same sample. Left out if X is FeatureMoments. Arrays of different widths are compared as if
        the narrower one had features of zeros.
    normalize : bool
        Divide both centred arrays by their Frobenius norms first.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

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
    O(n(p+q)²) time and O((p+q)²) memory, on the host; Ctrl-C waits for the factorisation in LAPACK that is running,
    which cannot be interrupted: O((p+q)³). It is taken from the differences themselves, so that small distances have
    digits. `scipy.spatial.procrustes` also scales the second array and reports 1 − s² where this is 2 − 2s. The square
    root is a metric. Source: Schönemann 1966; Ding et al. 2021; Theory, 8.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> gm.procrustes(X, 2 * X[:, ::-1] + 1) < 1e-15  # reflected, scaled and shifted
    True
    >>> round(gm.procrustes(X, Y), 2), round(gm.procrustes(X, Z), 2)
    (0.21, 1.72)
    """
    c = condense(X, Y, "procrustes", progress)
    if normalize:
        gap = _shape_gap(c.x, c.y)
        reason = without_variation(c) or untold_gap(c, gap, 1.0)
        return told(math.nan if reason else gap, reason, "procrustes")
    top = max(c.exponent)
    x, y = (np.ldexp(rows, e - top) for rows, e in zip((c.x, c.y), c.exponent, strict=True))
    gap = _gap(x, y)
    reason = untold_gap(c, gap, max(float(np.vdot(x, x)), float(np.vdot(y, y))))
    return told(math.nan if reason else scaled(gap, 2 * top), reason, "procrustes")


@public
@one_bar
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
    alpha = check_part(alpha, "alpha", zero=True)
    rcond = check_rcond(rcond)
    c = condense(X, Y, "shape_distance", progress)
    reason = without_variation(c)
    if alpha == 1:
        gap = _shape_gap(c.x, c.y)
        reason = reason or untold_gap(c, gap, 1.0)
    else:
        sides, bases = [], []
        for side, exponent in enumerate(c.exponent):
            basis = basis_of(c, side, rcond, unit_columns=alpha == 0)
            deviation = np.ldexp(basis.singular, exponent) / math.sqrt(c.n)
            sides.append(basis.u * (alpha * deviation + 1 - alpha))
            bases.append(basis)
        ranks = [basis.rank for basis in bases]
        reason = why_constant(c, ranks) or (saturated(ranks, c.n) if alpha == 0 else None)
        gap = math.nan if reason else _shape_gap(*sides)
        if not reason:
            reason = untold(c, bases[0], bases[1], selected=rcond is not None)
            reason = reason or untold_gap(c, gap, 1 / math.sqrt(math.prod(ranks)), *bases)
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
    x, y = square_of(x), square_of(y)
    left, _, right = svd(x.T @ y, full=True)
    x, y = x @ left, y @ right.T
    k = min(x.shape[1], y.shape[1])
    return float(sum(np.vdot(part, part) for part in (x[:, :k] - y[:, :k], x[:, k:], y[:, k:])))
