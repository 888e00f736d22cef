"""Representational similarity analysis: how alike the dissimilarities of all pairs are in two representations.

Pearson's correlation and the cosine need sums over pairs, which features or one Gram sweep give; Spearman's needs
ranks, and the geo-topological transform quantiles, for which tiles go by on the host (`pairs`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.measures.dissimilarities import (
    ANYWHERE,
    STORED,
    TOLERANCE,
    Asked,
    Correlation,
    Dissimilarity,
    Method,
    checked,
    noise_of,
    represented,
    turned_by_rounding,
    why_undefined,
)
from gramian.measures.rsa_sums import of_sums
from gramian.progress import Progress, expect, one_bar, phase
from gramian.reasons import told
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import Matrix, check_count
from gramian.sums import of_arrays
from gramian.sweeps import estimators, gram, pairs, rounding
from gramian.sweeps.centred import centre
from gramian.sweeps.pairs import Dissimilarities
from gramian.sweeps.represent import Precision
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]

EXACT_ROWS = 50_000  # up to which ranks are exact unless bins are asked for
BINS = 65_536

_CLEAR = 8.0  # the same, of some pairs, beyond which no more are looked at
_SAMPLED = 512  # pairs that show whether all dissimilarities may be the same
_LOOKED_AT = 1 << 16  # pairs that show whether any differ by more than their own rounding
_EQUAL = 2.0**-38  # part of a value, above the bits that values are rounded to
_APART = 1e3  # times what rounding does to parallel rows: below that, rounding and differences cannot be told apart


@dataclass(frozen=True, eq=False)
class RSAEstimate(Result):
    """A correlation of dissimilarities, and how it came about."""

    value: float
    error: float  # bound on what bins of ranks can have changed; 0 where none were used
    method: Method
    n: int
    pairs: int
    dissimilarity: tuple[Dissimilarity, Dissimilarity]
    correlation: Correlation
    geotopological: tuple[float, float] | None
    thresholds: tuple[tuple[float, float], tuple[float, float]] | None  # (low, high) of X and of Y, in their units
    bins: int | None
    reason: str | None  # why the value is nan

    def __float__(self) -> float:
        return self.value


@of_arrays
@public
@one_bar
def rsa(
    X: object,
    Y: object,
    *,
    dissimilarity: Dissimilarity = "sqeuclidean",
    dissimilarity_y: Dissimilarity | None = None,
    correlation: Correlation = "pearson",
    geotopological: tuple[float, float] | None = None,
    bins: int | None = None,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Representational similarity: the correlation of d_X(i, j) with d_Y(i, j) over all pairs i < j.

    Parameters
    ----------
    X : array of shape (n, p)
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file. Arrays on a CUDA device
        (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample.
    dissimilarity : {"sqeuclidean", "euclidean", "cosine", "correlation"}
        ‖x − y‖², ‖x − y‖, ½‖x̂ − ŷ‖² = 1 − cos, and the same of rows less their own mean, 1 − corr. A row without
        direction stays 0 when it is normalised: ½ to every other row.
    dissimilarity_y : the same, optional
        Of Y, if it is another one.
    correlation : {"pearson", "spearman", "cosine"}
        "cosine" does not subtract the means; "spearman" is Pearson's correlation of mid-ranks.
    geotopological : (low, high), optional
        Two probabilities. Dissimilarities below the `low` quantile of their array become 0, above the `high` one 1, and
        in between they rise linearly; low = high makes a binary graph of neighbours.
    bins : int, optional
        Of "spearman". Left out, ranks are exact up to 50,000 rows and in 65,536 bins beyond; `rsa_estimate` gives the
        bound on the error.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch: on a CUDA device, inner products of float32 and 16-bit data are
        as accurate as float32 ("highest"), or keep 11 bits ("high") or 8 bits ("medium") of each feature, which is
        faster. On the CPU all three are computed as "highest", and float64 is float64 everywhere.
    memory : int, optional
        Bytes that scratch may take; for ranks and quantiles 64 MB come on top, and 512 MB are allowed when left out.
        Ranks of more pairs than fit (112 bytes each) are sorted on disk, in the folder for temporary files, with 16
        bytes for each pair; that needs memory of an eighth of a byte for each.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

    Returns
    -------
    float
        In [−1, 1], in [0, 1] for "cosine"; nan, with an `UndefinedWarning` that says why, if all dissimilarities of an
        array are the same, or differ by no more than the rounding of its rows.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.
    OSError
        The disk has no room for sorting.
    RuntimeError
        CUDA, with the call and the device's message.

    Notes
    -----
    Pearson and cosine: O(n²(p+q)) time and O(n) memory in one sweep where the arrays lie; on the CPU, all but
    "euclidean" cost O(n(p+q)²) if n is well above p+q. Ranks and quantiles: tiles in float64 on the host (arrays of a
    device are copied block by block), and sorting, O(n² log n). "correlation" works on a copy of the rows on the host,
    and so do the sums of rows for which float32 tiles have too few digits, such as rows far from 0: a copy in float64.
    Source: Kriegeskorte, Mur, Bandettini 2008; Lin, Kriegeskorte 2024 for the transform; Theory, 9.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> round(gm.rsa(X, Y), 2), round(gm.rsa(X, Z), 2)
    (0.81, 0.04)
    >>> round(gm.rsa(X, Y, dissimilarity="correlation", correlation="spearman"), 2)
    0.75
    """
    _, found = _estimate(
        X, Y, dissimilarity, dissimilarity_y, correlation, geotopological, bins, precision, memory, progress
    )
    return told(found.value, found.reason, "rsa")


@of_arrays
@public
@one_bar
def rsa_estimate(
    X: object,
    Y: object,
    *,
    dissimilarity: Dissimilarity = "sqeuclidean",
    dissimilarity_y: Dissimilarity | None = None,
    correlation: Correlation = "pearson",
    geotopological: tuple[float, float] | None = None,
    bins: int | None = None,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> RSAEstimate:
    """`rsa` with what it was computed by, the thresholds of the transform, and the bound on the error of binned ranks.

    Parameters
    ----------
    X, Y, dissimilarity, dissimilarity_y, correlation, geotopological, bins, precision, memory, progress
        As in `rsa`.

    Returns
    -------
    RSAEstimate
        ``.value``, ``.error``, ``.method`` ("features" or "sweep" for sums; "tiles" for sums of transformed values;
        "sorted ranks" or "binned ranks"), ``.thresholds``, ``.bins``, ``.n``, ``.pairs``, and ``.reason`` if it is nan.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost and source as `rsa`. No pair is left out by any method. |value − exact| ≤ error for all data (Theory, 9.3).

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> e = gm.rsa_estimate(X, X[:, :4], correlation="spearman", bins=100)
    >>> e.method, e.pairs, e.error < 0.03
    ('binned ranks', 4950, True)
    """
    asked, found = _estimate(
        X, Y, dissimilarity, dissimilarity_y, correlation, geotopological, bins, precision, memory, progress
    )
    return replace(found, provenance=provenance(dict(zip("XY", asked.given, strict=True))))


def _estimate(
    X: object,
    Y: object,
    dissimilarity: Dissimilarity,
    dissimilarity_y: Dissimilarity | None,
    correlation: Correlation,
    geotopological: tuple[float, float] | None,
    bins: int | None,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
) -> tuple[Asked, RSAEstimate]:
    """Without provenance, whose digest of the rows a plain number has no use for."""
    kinds = checked(dissimilarity, dissimilarity_y, correlation)
    limits = None if geotopological is None else _check_limits(geotopological)
    if bins is not None:
        bins = check_count(bins, "bins", 2)
        if correlation != "spearman":
            raise ValueError(f"bins are of ranks, which correlation='spearman' has; got correlation={correlation!r}")
    ordered = correlation == "spearman" or limits is not None
    asked = represented(X, Y, kinds, correlation, precision, memory, progress, ordered=ordered)
    n = asked.pair.n
    thresholds = None
    if correlation == "spearman" and bins is None and n > EXACT_ROWS:
        bins = BINS
    if ordered:
        passes = 1.0 if correlation != "spearman" else 2.0 if bins else pairs.SORTED
        expect(progress, passes + (limits is not None))
        sources = _streams(asked)
        value, error, reason = math.nan, 0.0, _stream_reason(asked, sources, correlation)
        if limits is not None:
            told = phase(progress, "quantiles")
            found = pairs.quantiles(sources, limits, memory=memory, progress=told)
            sources = [replace(s, thresholds=t) for s, t in zip(sources, found, strict=True)]
            thresholds = (_in_units(sources[0], kinds[0]), _in_units(sources[1], kinds[1]))
        if reason is None:
            told = phase(progress, "", passes)
            value, error, reason = _of_tiles(asked, sources, correlation, bins, memory, told)
        method: Method = "tiles" if correlation != "spearman" else "sorted ranks" if bins is None else "binned ranks"
    else:
        error = 0.0
        expect(progress, gram.SWEEPS)
        value, method, reason = of_sums(asked, correlation)
    return asked, RSAEstimate(
        value=value,
        error=error,
        method=method,
        n=n,
        pairs=n * (n - 1) // 2,
        dissimilarity=kinds,
        correlation=correlation,
        geotopological=limits,
        thresholds=thresholds,
        bins=bins,
        reason=reason,
    )


def _check_limits(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(p) for p in limits)
    except (TypeError, ValueError):
        raise TypeError(f"geotopological must be two probabilities (low, high), got {limits!r}") from None
    if not 0 <= low <= high <= 1:
        raise ValueError(f"geotopological must be (low, high) with 0 <= low <= high <= 1, got ({low}, {high})")
    return low, high


# ---- what rounding alone does ---------------------------------------------------------------------------------------


# ---- values of all pairs --------------------------------------------------------------------------------------------


def _streams(asked: Asked) -> list[Dissimilarities]:
    """Values; rows that rounding alone may have turned apart tie at 0, if that is far below what other pairs have."""
    found = []
    for x, kernel, kind, stored in zip(asked.pair.matrices, asked.pair.kernels, asked.kinds, asked.stored, strict=True):
        source = Dissimilarities(centre(x, kernel), root=kind == "euclidean")
        turned = turned_by_rounding(stored, kind)
        found.append(source if turned is None else replace(source, turned=_tied_below(source, stored, kind, turned)))
    return found


def _tied_below(source: Dissimilarities, stored: Matrix, kind: Dissimilarity, turned: Array) -> Array:
    """(n,) radians below which two rows tie: their own rounding, or that of float64 where it cannot be told apart.

    It can where no pair is a little more than its rounding apart. Rows that rounding may have turned anywhere are not
    parallel to others for that.
    """
    in_float64 = turned_by_rounding(stored, kind, dtype="float64")
    assert in_float64 is not None
    known = turned <= ANYWHERE
    sample, i, j = source.drawn(min(_SAMPLED, source.pairs), 0)
    own = np.square(turned[i] + turned[j])
    apart = known[i] & known[j] & (sample > own)
    near = apart & (sample <= _APART * own)
    return np.where(known, turned, in_float64) if apart.any() and not near.any() else in_float64


def _stream_reason(asked: Asked, sources: Sequence[Dissimilarities], correlation: Correlation) -> str | None:
    """Why values have no order, or None: they differ by what rounding the rows did to them."""
    for source, name, kind, stored, x, kernel in zip(
        sources, "XY", asked.kinds, asked.stored, asked.pair.matrices, asked.pair.kernels, strict=True
    ):
        turned = turned_by_rounding(stored, kind)
        if _clear(source, stored, turned):
            continue
        mean, deviation = pairs.spread(source, memory=asked.pair.memory, progress=phase(asked.pair.progress, "spread"))
        if deviation == 0:
            return why_undefined(name, kind, stored, correlation, mean, equal=True)
        size = math.hypot(mean, deviation)
        noise = noise_of(stored, kind, x, kernel, centred=correlation != "cosine") / (2 if source.root else 1)
        if (size if correlation == "cosine" else deviation) <= STORED * noise * size:
            if turned is not None and _apart(source, turned, _LOOKED_AT) > 2 * STORED:
                continue
            return why_undefined(name, kind, stored, correlation, mean, equal=False)
    return None


def _clear(source: Dissimilarities, stored: Matrix, turned: Array | None) -> bool:
    """Whether some pairs show at once that values differ by far more than rounding."""
    count = min(_SAMPLED, source.pairs)
    if turned is not None:
        return _apart(source, turned, count) > _CLEAR
    sample = source.sampled(count, 0)
    square = float(np.mean(sample**2 if source.root else sample))
    lost = rounding.epsilon(stored.dtype) * (float(np.linalg.norm(source.features.mean)) + math.sqrt(square))
    doubt = _CLEAR * (2 * math.sqrt(square / stored.d) * lost + lost**2)
    if source.root:
        doubt = doubt / (2 * math.sqrt(square)) if square > 0 else 0.0
    return bool(sample.std() > doubt)


def _apart(source: Dissimilarities, turned: Array, count: int) -> float:
    """How far values are from the usual one, each in units of its own rows' rounding: root mean square of `count`.

    So a few rows that have lost all their digits say nothing of the pairs of others.
    """
    values, i, j = source.drawn(min(count, source.pairs), 0)
    away, turn = np.abs(values - np.median(values)), turned[i] + turned[j]
    own = 2 * np.sqrt(values / source.features.x.d) * turn + turn**2
    own += _EQUAL * (values + float(np.median(values)))
    return float(np.sqrt(np.mean(np.divide(away, own, out=np.zeros_like(away), where=away > 0) ** 2)))


def _in_units(source: Dissimilarities, kind: Dissimilarity) -> tuple[float, float]:
    assert source.thresholds is not None
    half = 0.5 if kind in ("cosine", "correlation") else 1.0
    low, high = (estimators.scaled(half * t, source.exponent) for t in source.thresholds)
    return low, high


def _of_tiles(
    asked: Asked,
    sources: Sequence[Dissimilarities],
    correlation: Correlation,
    bins: int | None,
    memory: int | None,
    progress: Progress | None,
) -> tuple[float, float, str | None]:
    """(value, error, reason) from values themselves."""
    x, y = sources
    if correlation == "spearman":
        if bins is None:
            found = pairs.exact_rank_correlation(x, y, memory=memory, progress=progress)
        else:
            found = pairs.binned_rank_correlation(x, y, bins, memory=memory, progress=progress)
        value, error = found.value, found.error
        constant = list(found.constant)
    else:
        first, second = pairs.sums(sources, memory=memory, progress=progress)
        if correlation == "pearson":
            second -= np.multiply.outer(first, first)
        own = np.diag(second)
        constant = [bool(v <= TOLERANCE * np.finfo(np.float64).eps * m) for v, m in zip(own, first, strict=True)]
        error = 0.0
        value = math.nan if any(constant) else pairs.ratio(second[0, 1], own[0], own[1])
    for flag, name, kind, stored in zip(constant, "XY", asked.kinds, asked.stored, strict=True):
        if flag:
            return value, error, why_undefined(name, kind, stored, correlation, math.inf, equal=True)
    return value, error, None


# ---- sums over pairs: Pearson and cosine ----------------------------------------------------------------------------
