"""Representational similarity analysis: how alike the dissimilarities of all pairs are in two representations.

Pearson's correlation and the cosine need sums over pairs, which features or one Gram sweep give; Spearman's needs
ranks, and the geo-topological transform quantiles, for which tiles go by on the host (`pairs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Cosine, Kernel, Linear
from gramian.reasons import told
from gramian.rows.arrays import Matrix, about_least, as_matrix, check_count, one_of, require_rows
from gramian.rows.sources import matrix
from gramian.sweeps import estimators, gram, moments, pairs, rounding, routes
from gramian.sweeps.gram import Precision, Progress, Representation
from gramian.sweeps.pairs import Dissimilarities
from gramian.sweeps.permuted import Index, permuted_sums, swept_sums
from gramian.sweeps.routes import Paired

Array: TypeAlias = npt.NDArray[np.float64]
Dissimilarity: TypeAlias = Literal["sqeuclidean", "euclidean", "cosine", "correlation"]
Correlation: TypeAlias = Literal["pearson", "spearman", "cosine"]
Method: TypeAlias = Literal["features", "sweep", "tiles", "sorted ranks", "binned ranks"]

EXACT_ROWS = 50_000  # up to which ranks are exact unless bins are asked for
BINS = 65_536

_KERNEL = {"sqeuclidean": "linear", "euclidean": "distance", "cosine": "cosine", "correlation": "cosine"}
_FUNCTION = {"linear": "squared_distance", "cosine": "cosine_distance", "distance": None}
_RESOLVED = 1e-6  # variance over mean square below which sums of features give way to a sweep around the mean
_AMPLIFICATION = 1e4  # mean square over variance above which the sweep is made again, around its own mean
_AGAIN = 3  # times at most; each leaves a few roundings of what the one before left of the mean
_TOLERANCE = 16.0  # roundings of one dissimilarity, below which a standard deviation is nothing else
_STORED = 2.0  # the same, in standard deviations of what the rounding of the rows does to a dissimilarity
# roundings of a tile that a standard deviation must have, or all is done again in float64, about the mean of the rows
_DIGITS = {"float32": 1e4, "float64": 1e10}
_FAR = 1e-20  # ‖X̄'X̄‖² over ‖X'X‖² below which means are 10⁵ spreads away and are taken off first
_CLEAR = 8.0  # the same, of some pairs, beyond which no more are looked at
_SAMPLED = 512  # pairs that show whether all dissimilarities may be the same
_LOOKED_AT = 1 << 16  # pairs that show whether any differ by more than their own rounding
_EQUAL = 2.0**-38  # part of a value, above the bits that values are rounded to
_ANYWHERE = 1 / 32  # radians of rounding after which a row's direction says little
_APART = 1e3  # times what rounding does to parallel rows: below that, rounding and differences cannot be told apart


@dataclass(frozen=True)
class RSAEstimate:
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
    Y : array of shape (n, q)
        Row i of both is the same sample; arrays or files, as in `kernel_alignment`.
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
    precision, progress
        As in `kernel_alignment`.
    memory : int, optional
        Bytes that scratch may take; for ranks and quantiles 64 MB come on top, and 512 MB are allowed when left out.
        Ranks of more pairs than fit (112 bytes each) are sorted on disk, in the folder for temporary files, with 16
        bytes for each pair; that needs memory of an eighth of a byte for each.

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
    >>> x, y = np.array([[0.0], [1], [3]]), np.array([[0.0], [2], [3]])  # d: 1, 3, 2 and 2, 3, 1
    >>> round(gm.rsa(x, y, dissimilarity="euclidean"), 12), round(gm.rsa(x, y, correlation="spearman"), 12)
    (0.5, 0.5)
    """
    found = rsa_estimate(
        X,
        Y,
        dissimilarity=dissimilarity,
        dissimilarity_y=dissimilarity_y,
        correlation=correlation,
        geotopological=geotopological,
        bins=bins,
        precision=precision,
        memory=memory,
        progress=progress,
    )
    return told(found.value, found.reason, "rsa")


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
    kinds = _checked(dissimilarity, dissimilarity_y, correlation)
    limits = None if geotopological is None else _check_limits(geotopological)
    if bins is not None:
        check_count(bins, "bins", 2)
        if correlation != "spearman":
            raise ValueError(f"bins are of ranks, which correlation='spearman' has; got correlation={correlation!r}")
    ordered = correlation == "spearman" or limits is not None
    asked = _represented(X, Y, kinds, correlation, precision, memory, progress, ordered=ordered)
    n = asked.pair.n
    thresholds = None
    if correlation == "spearman" and bins is None and n > EXACT_ROWS:
        bins = BINS
    if ordered:
        sources = _streams(asked)
        value, error, reason = math.nan, 0.0, _stream_reason(asked, sources, correlation)
        if limits is not None:
            found = pairs.quantiles(sources, limits, memory=memory, progress=progress)
            sources = [replace(s, thresholds=t) for s, t in zip(sources, found, strict=True)]
            thresholds = (_in_units(sources[0], kinds[0]), _in_units(sources[1], kinds[1]))
        if reason is None:
            value, error, reason = _of_tiles(asked, sources, correlation, bins, memory, progress)
        method: Method = "tiles" if correlation != "spearman" else "sorted ranks" if bins is None else "binned ranks"
    else:
        error = 0.0
        value, method, reason = _of_sums(asked, correlation)
    return RSAEstimate(
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


def _checked(
    dissimilarity: Dissimilarity, dissimilarity_y: Dissimilarity | None, correlation: Correlation
) -> tuple[Dissimilarity, Dissimilarity]:
    """The two dissimilarities; all choices are known."""
    one_of(dissimilarity, get_args(Dissimilarity), "dissimilarity")
    if dissimilarity_y is not None:
        one_of(dissimilarity_y, get_args(Dissimilarity), "dissimilarity_y")
    one_of(correlation, get_args(Correlation), "correlation")
    return dissimilarity, dissimilarity_y or dissimilarity


@dataclass(frozen=True, eq=False)
class _Asked:
    """Two arrays as they are compared, and as they came."""

    pair: Paired
    kinds: tuple[Dissimilarity, Dissimilarity]
    stored: tuple[Matrix, Matrix]


def _represented(
    X: object,
    Y: object,
    kinds: tuple[Dissimilarity, Dissimilarity],
    correlation: Correlation,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
    *,
    ordered: bool = False,
) -> _Asked:
    """Two arrays through the gate, each with the kernel that its dissimilarity belongs to; `ordered`: ties matter."""
    given = matrix(X, "X"), matrix(Y, "Y")
    # distances do not change where all rows move
    x, y = (about_least([x])[0] if "euclidean" in kind else x for x, kind in zip(given, kinds, strict=True))
    stored = x, y
    arrays = list(stored)
    if "correlation" in kinds:
        arrays = [
            _host_copy(x, name, row_centred=kind == "correlation", exact=ordered)
            if kind == "correlation" or x.data is None
            else x
            for x, kind, name in zip(arrays, kinds, "XY", strict=True)
        ]
    pair = _paired(arrays, kinds, precision, memory, progress)
    require_rows(pair.n, 2 if correlation == "cosine" else 3, f"rsa with correlation={correlation!r}")
    return _Asked(pair, kinds, stored)


def _paired(
    arrays: Sequence[Matrix],
    kinds: Sequence[Dissimilarity],
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
) -> Paired:
    return routes.gathered(
        arrays,
        ["X", "Y"],
        [(_KERNEL[kind], "dissimilarity") for kind in kinds],
        precision=precision,
        memory=memory,
        progress=progress,
    )


def _host_copy(x: Matrix, name: str, *, row_centred: bool, exact: bool) -> Matrix:
    """The rows as float64, or as float32 where x has no more digits; each less its own mean and scaled if asked.

    `exact`: as float64 whatever x has, for a mean that is taken off leaves more digits than x had.
    """
    out = np.empty(x.shape, dtype=np.float64 if exact or x.dtype == "float64" else np.float32)
    for start, stop in moments.blocks(x.n, [x.d]):
        rows = x.block(start, stop)
        # correlations do not notice a row's size
        out[start:stop] = rounding.less_row_means(rows)[0] if row_centred else rows
    return as_matrix(out, name)


def _far_copy(x: Matrix, kind: Dissimilarity, name: str) -> Matrix:
    """The rows as float64; distances do not notice that their mean is taken off, which leaves all their digits."""
    if kind == "correlation":
        return _host_copy(x, name, row_centred=True, exact=True)
    if kind == "cosine":
        return x if x.data is not None and x.dtype == "float64" else _host_copy(x, name, row_centred=False, exact=True)
    features, out = moments.centre(x, Linear()), np.empty(x.shape)
    for start, stop in moments.blocks(x.n, [x.d]):
        features.fill(start, stop, out[start:stop])
    return as_matrix(out, name)


def _check_limits(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(p) for p in limits)
    except (TypeError, ValueError):
        raise TypeError(f"geotopological must be two probabilities (low, high), got {limits!r}") from None
    if not 0 <= low <= high <= 1:
        raise ValueError(f"geotopological must be (low, high) with 0 <= low <= high <= 1, got ({low}, {high})")
    return low, high


# ---- what rounding alone does ---------------------------------------------------------------------------------------


def _turned(stored: Matrix, kind: Dissimilarity, dtype: str | None = None) -> Array | None:
    """(n,) radians that rounding to a dtype, or its own, may have turned each row by, if directions are compared."""
    if kind not in ("cosine", "correlation"):
        return None
    return rounding.turned(stored, dtype or stored.dtype, row_centred=kind == "correlation")


def _noise(stored: Matrix, kind: Dissimilarity, compared: Matrix, kernel: Kernel, *, centred: bool) -> float:
    """What rounding the rows did to a squared distance, over the mean squared distance: standard deviation, or size.

    A difference x − y is off by e, so ‖x − y‖² by 2(x − y)·e + ‖e‖². A last place u is off by u²/12 in the square.
    """
    f = moments.centre(compared if isinstance(kernel, Cosine) else stored, kernel)
    n, d = f.x.shape
    lost, spread, of_rows = np.zeros(d), np.zeros(d), np.zeros(n)
    for start, stop in moments.blocks(n, [d]):
        part, rows = f.raw(start, stop) - f.mean, stored.block(start, stop)
        spread += np.einsum("ij,ij->j", part, part) / n
        if f.normalize:
            last, own = rounding.relative(rows, stored.dtype, row_centred=kind == "correlation")
            of_rows[start:stop] = rounding.lengths(last) ** 2 / 12 + own**2
            lost += float((own**2).sum()) / (n * d)
        else:
            last = f.scale * rounding.last_places(rows, stored.dtype)
        lost += np.einsum("ij,ij->j", last, last) / (12 * n)
    mean = 2 * float(spread.sum())
    if mean == 0:
        return 0.0
    if not f.normalize:
        lost = np.minimum(lost, spread)  # a unit that is constant lost nothing, whatever its size
    along = mean * 2 * float(lost.mean()) if f.normalize else 4 * float(lost @ spread)
    # of ‖e‖²: its size, or how it varies from pair to pair and with the rows
    square = 8 * float(lost @ lost) + 2 * float(of_rows.var()) if centred else 4 * float(lost.sum()) ** 2
    return (2 * math.sqrt(along) + math.sqrt(square)) / mean


def _why(
    name: str, kind: Dissimilarity, stored: Matrix, correlation: Correlation, square: float, *, equal: bool
) -> str:
    """Why dissimilarities have no correlation: they are `equal`, or differ by rounding; `square`: the mean ‖x̂ − ŷ‖²."""
    turned = _turned(stored, kind)
    if turned is not None and turned.any() and square <= 4 * min(_ANYWHERE, float(np.median(turned))) ** 2:
        which = "rows" if kind == "cosine" else "rows less their own mean"
        return f"all {which} of {name} point the same way, up to the rounding of {stored.dtype}"
    if equal:
        return f"the dissimilarities of {name} are all {'0' if correlation == 'cosine' else 'the same, up to rounding'}"
    return f"the dissimilarities of {name} differ by no more than the rounding of its rows, which are {stored.dtype}"


# ---- values of all pairs --------------------------------------------------------------------------------------------


def _streams(asked: _Asked) -> list[Dissimilarities]:
    """Values; rows that rounding alone may have turned apart tie at 0, if that is far below what other pairs have."""
    found = []
    for x, kernel, kind, stored in zip(asked.pair.matrices, asked.pair.kernels, asked.kinds, asked.stored, strict=True):
        source = Dissimilarities(moments.centre(x, kernel), root=kind == "euclidean")
        turned = _turned(stored, kind)
        found.append(source if turned is None else replace(source, turned=_tied_below(source, stored, kind, turned)))
    return found


def _tied_below(source: Dissimilarities, stored: Matrix, kind: Dissimilarity, turned: Array) -> Array:
    """(n,) radians below which two rows tie: their own rounding, or that of float64 where it cannot be told apart.

    It can where no pair is a little more than its rounding apart. Rows that rounding may have turned anywhere are not
    parallel to others for that.
    """
    in_float64 = _turned(stored, kind, dtype="float64")
    assert in_float64 is not None
    known = turned <= _ANYWHERE
    sample, i, j = source.drawn(min(_SAMPLED, source.pairs), 0)
    own = np.square(turned[i] + turned[j])
    apart = known[i] & known[j] & (sample > own)
    near = apart & (sample <= _APART * own)
    return np.where(known, turned, in_float64) if apart.any() and not near.any() else in_float64


def _stream_reason(asked: _Asked, sources: Sequence[Dissimilarities], correlation: Correlation) -> str | None:
    """Why values have no order, or None: they differ by what rounding the rows did to them."""
    for source, name, kind, stored, x, kernel in zip(
        sources, "XY", asked.kinds, asked.stored, asked.pair.matrices, asked.pair.kernels, strict=True
    ):
        turned = _turned(stored, kind)
        if _clear(source, stored, turned):
            continue
        mean, deviation = pairs.spread(source, memory=asked.pair.memory, progress=None)
        if deviation == 0:
            return _why(name, kind, stored, correlation, mean, equal=True)
        size = math.hypot(mean, deviation)
        noise = _noise(stored, kind, x, kernel, centred=correlation != "cosine") / (2 if source.root else 1)
        if (size if correlation == "cosine" else deviation) <= _STORED * noise * size:
            if turned is not None and _apart(source, turned, _LOOKED_AT) > 2 * _STORED:
                continue
            return _why(name, kind, stored, correlation, mean, equal=False)
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
    asked: _Asked,
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
        constant = [bool(v <= _TOLERANCE * np.finfo(np.float64).eps * m) for v, m in zip(own, first, strict=True)]
        error = 0.0
        value = math.nan if any(constant) else pairs.ratio(second[0, 1], own[0], own[1])
    for flag, name, kind, stored in zip(constant, "XY", asked.kinds, asked.stored, strict=True):
        if flag:
            return value, error, _why(name, kind, stored, correlation, math.inf, equal=True)
    return value, error, None


# ---- sums over pairs: Pearson and cosine ----------------------------------------------------------------------------


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


def _of_sums(asked: _Asked, correlation: Correlation) -> tuple[float, Method, str | None]:
    """(value, method, reason)."""
    sums = _sums(asked, centred=correlation == "pearson")
    value = math.nan if sums.reason else sums.ratio(float(sums.values[0, 1]))
    return value, "features" if sums.xs is None else "sweep", sums.reason


def _sums(asked: _Asked, *, centred: bool) -> _Sums:
    """With the digits that float64 has, or a reason."""
    sums = _measured(asked.pair, centred=centred)
    if not _doubtful(sums, asked):
        return sums
    given = asked.pair
    compared = [_far_copy(x, kind, name) for x, kind, name in zip(asked.stored, asked.kinds, "XY", strict=True)]
    pair = _paired(compared, asked.kinds, given.precision, given.memory, given.progress)
    sums = _measured(pair, centred=centred)
    correlation: Correlation = "pearson" if centred else "cosine"
    for p, (stored, kind, name) in enumerate(zip(asked.stored, asked.kinds, "XY", strict=True)):
        deviation, level = float(sums.deviation[p]), float(sums.level[p])
        noise = _noise(stored, kind, compared[p], pair.kernels[p], centred=centred) / (2 if kind == "euclidean" else 1)
        equal = deviation <= _TOLERANCE * float(sums.rounding[p])
        if equal or deviation <= _STORED * noise * level:
            square = level * float(sums.unit[p])
            return replace(sums, reason=_why(name, kind, stored, correlation, square, equal=equal))
    return sums


def _doubtful(sums: _Sums, asked: _Asked) -> bool:
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
        digits=next((_DIGITS[t] for t in ("float64", "float32") if g.eps <= np.finfo(t).eps), _TOLERANCE),
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
    kinds = _checked(dissimilarity, dissimilarity_y, correlation)
    asked = _represented(X, Y, kinds, correlation, precision, memory, progress)
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
