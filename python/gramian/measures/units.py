"""Single units: which unit of one representation is which of the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.measures.condensed import Condensed, condense
from gramian.measures.subspaces import Indices
from gramian.progress import Progress, one_bar
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.show.tables import Listing
from gramian.sweeps.factor import norms
from gramian.sweeps.moments import NOISE, TOO_FEW_DIGITS, TRUSTED, UNDERFLOWED
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UnitMatching(Result):
    """Which unit (feature) of Y each unit of X is matched with, and how well they correlate."""

    _derived = ("score",)

    units_x: Indices  # (k,) units of X that have a match, ascending; constant units have none
    units_y: Indices  # (k,) their matches
    correlations: Array  # (k,) signed
    signed: bool
    n: int
    reason: str | None  # why there is no score
    names_x: tuple[str, ...] | None = None  # (k,) what a table calls units_x
    names_y: tuple[str, ...] | None = None  # (k,)

    @property
    def score(self) -> float:
        """Mean absolute correlation of the matches, or mean correlation where signs count."""
        if self.reason:
            return math.nan
        return float((self.correlations if self.signed else np.abs(self.correlations)).mean())

    def __float__(self) -> float:
        return self.score

    def _listing(self) -> Listing:
        columns = {"unit_y": self.units_y.tolist(), "correlation": self.correlations.tolist()}
        return Listing(columns, self.units_x.tolist(), "unit_x")

    def __repr__(self) -> str:
        if self.reason:
            return f"UnitMatching(nan: {self.reason})"
        return f"UnitMatching(score = {self.score:.4g}, {len(self.units_x)} units of X, n = {self.n})"


@public
@one_bar
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
        ``.units_x``, ``.units_y``, ``.correlations``, ``.score``, and of tables ``.names_x``, ``.names_y``; as many
        pairs as the narrower array has units that vary. The score is nan, and ``.reason`` says why, if an array is
        constant.

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

    c = condense(X, Y, "bipartite_matching", progress, least=3)
    correlations = _unit_correlations(c)
    defined_x, defined_y = _defined(correlations)
    inner = correlations[np.ix_(defined_x, defined_y)]
    rows, columns = linear_sum_assignment(inner if signed else np.abs(inner), maximize=True)
    return _matching(correlations, defined_x[rows], defined_y[columns], signed, c)


@public
@one_bar
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
    c = condense(X, Y, "semi_matching", progress, least=3)
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
        if any(c.unseen):
            reason = UNDERFLOWED
        elif c.gone or NOISE * max(part.max() for part in parts) > TRUSTED:
            reason = TOO_FEW_DIGITS
    names = [
        None if called is None else tuple(called[i] for i in units)
        for called, units in zip(c.columns, (units_x, units_y), strict=True)
    ]
    pairs, origin = correlations[units_x, units_y], provenance(c.given)
    return UnitMatching(units_x, units_y, pairs, signed, c.n, reason, names[0], names[1], provenance=origin)
