"""Representational similarity analysis: how alike the dissimilarities of all pairs are in two representations.

Pearson's correlation and the cosine need sums over pairs, which features or one Gram sweep give; Spearman's needs
ranks, and the geo-topological transform quantiles, for which tiles go by on the host (`pairs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian import estimators, gram, independence, moments, pairs, routes
from gramian.arrays import Matrix, as_matrix, check_count, one_of, require_rows
from gramian.gram import Precision, Progress, Representation
from gramian.independence import Index
from gramian.pairs import Dissimilarities
from gramian.routes import Paired
from gramian.sources import matrix

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
_TOLERANCE = 16.0  # roundings of one dissimilarity, below which a standard deviation is nothing else


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
        In [−1, 1], in [0, 1] for "cosine"; nan if all dissimilarities of an array are the same.

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
    device are copied block by block), and sorting, O(n² log n). "correlation" works on a copy of the rows on the host.
    Source: Kriegeskorte, Mur, Bandettini 2008; Lin, Kriegeskorte 2024 for the transform; Theory, 9.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[0.0], [1], [3]]), np.array([[0.0], [2], [3]])  # d: 1, 3, 2 and 2, 3, 1
    >>> round(gm.rsa(x, y, dissimilarity="euclidean"), 12), round(gm.rsa(x, y, correlation="spearman"), 12)
    (0.5, 0.5)
    """
    return rsa_estimate(
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
    ).value


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
    pair = _represented(X, Y, kinds, correlation, precision, memory, progress, ordered=ordered)
    n = pair.n
    thresholds = None
    if ordered:
        sources = [
            Dissimilarities(moments.centre(x, kernel), root=kind == "euclidean")
            for x, kernel, kind in zip(pair.matrices, pair.kernels, kinds, strict=True)
        ]
        if limits is not None:
            found = pairs.quantiles(sources, limits, memory=memory, progress=progress)
            sources = [replace(s, thresholds=t) for s, t in zip(sources, found, strict=True)]
            thresholds = (_in_units(sources[0], kinds[0]), _in_units(sources[1], kinds[1]))
        if correlation == "spearman" and bins is None and n > EXACT_ROWS:
            bins = BINS
        value, error, method, reason = _of_tiles(sources, correlation, bins, memory, progress)
    else:
        error = 0.0
        value, method, reason = _of_sums(pair, correlation)
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
) -> Paired:
    """Two arrays through the gate, each with the kernel that its dissimilarity belongs to; `ordered`: ties matter."""
    arrays = [matrix(X, "X"), matrix(Y, "Y")]
    if "correlation" in kinds:
        arrays = [
            _host_copy(x, name, row_centred=kind == "correlation", exact=ordered)
            if kind == "correlation" or x.data is None
            else x
            for x, kind, name in zip(arrays, kinds, "XY", strict=True)
        ]
    pair = routes.gathered(
        arrays,
        ["X", "Y"],
        [(_KERNEL[kind], "dissimilarity") for kind in kinds],
        precision=precision,
        memory=memory,
        progress=progress,
    )
    require_rows(pair.n, 2 if correlation == "cosine" else 3, f"rsa with correlation={correlation!r}")
    return pair


def _host_copy(x: Matrix, name: str, *, row_centred: bool, exact: bool) -> Matrix:
    """The rows as float64, or as float32 where x has no more digits; each less its own mean and scaled if asked.

    `exact`: as float64 whatever x has, for a mean that is taken off leaves more digits than x had.
    """
    out = np.empty(x.shape, dtype=np.float64 if exact or x.dtype == "float64" else np.float32)
    for start, stop in moments.blocks(x.n, [x.d]):
        rows = x.block(start, stop)
        if row_centred:
            # correlations do not notice a row's size: a power of two, so that nothing overflows
            rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1])
            rows -= rows[:, :1]  # a constant row becomes 0 exactly
            rows -= rows.mean(axis=1, keepdims=True)
        out[start:stop] = rows
    return as_matrix(out, name)


def _check_limits(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(p) for p in limits)
    except (TypeError, ValueError):
        raise TypeError(f"geotopological must be two probabilities (low, high), got {limits!r}") from None
    if not 0 <= low <= high <= 1:
        raise ValueError(f"geotopological must be (low, high) with 0 <= low <= high <= 1, got ({low}, {high})")
    return low, high


def _in_units(source: Dissimilarities, kind: Dissimilarity) -> tuple[float, float]:
    assert source.thresholds is not None
    half = 0.5 if kind in ("cosine", "correlation") else 1.0
    low, high = (estimators.scaled(half * t, source.exponent) for t in source.thresholds)
    return low, high


def _of_tiles(
    sources: Sequence[Dissimilarities],
    correlation: Correlation,
    bins: int | None,
    memory: int | None,
    progress: Progress | None,
) -> tuple[float, float, Method, str | None]:
    """(value, error, method, reason) from values themselves."""
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
        value = math.nan if any(constant) else float(second[0, 1] / math.sqrt(own[0]) / math.sqrt(own[1]))
    method: Method = "tiles" if correlation != "spearman" else "sorted ranks" if bins is None else "binned ranks"
    return value, error, method, _reason(constant, correlation)


def _reason(constant: Sequence[bool], correlation: Correlation) -> str | None:
    for flag, name in zip(constant, "XY", strict=True):
        if flag:
            what = "0" if correlation == "cosine" else "the same, up to rounding"
            return f"the dissimilarities of {name} are all {what}"
    return None


# ---- sums over pairs: Pearson and cosine ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Sums:
    """(2, 2) means over pairs of d_X², d_X d_Y, d_Y², in any unit; less the products of their means if centred."""

    values: Array
    centred: bool
    mean: Array  # (2,)
    rounding: Array | None  # (2,) of one dissimilarity; None from features, which have been found to have the digits
    xs: tuple[Representation, ...]  # with their shifts, where a sweep made them

    @property
    def constant(self) -> list[bool]:
        own = np.diag(self.values)
        if self.rounding is None:
            return [False, False]
        return [bool(v <= (_TOLERANCE * r) ** 2) for v, r in zip(own, self.rounding, strict=True)]

    def ratio(self, cross: float) -> float:
        return float(cross / math.sqrt(self.values[0, 0]) / math.sqrt(self.values[1, 1]))


def _of_sums(pair: Paired, correlation: Correlation) -> tuple[float, Method, str | None]:
    """(value, method, reason)."""
    sums = _sums(pair, centred=correlation == "pearson")
    reason = _reason(sums.constant, correlation)
    value = math.nan if reason else sums.ratio(float(sums.values[0, 1]))
    return value, "features" if sums.rounding is None else "sweep", reason


def _sums(pair: Paired, *, centred: bool) -> _Sums:
    """By the cheaper route that has the digits."""
    if pair.by_features:
        s, n = pair.statistics, pair.n
        mean = 2 * s.trace / (n - 1)
        covariance = _covariance(s.hsic_biased * n**2, s.diagonal_inner, np.multiply.outer(s.trace, s.trace), n)
        square = covariance + np.multiply.outer(mean, mean)
        if np.all(np.diag(covariance) > _RESOLVED * np.diag(square)):
            return _Sums(covariance if centred else square, centred, mean, None, pair.xs)
    return _swept(pair, centred=centred)


def _covariance(inner: Array, diagonal: Array, traces: Array, n: int) -> Array:
    """Of squared distances over pairs, from ⟨K̄, L̄⟩, Σ K̄_ii L̄_ii and tr K̄·tr L̄ of linear kernels (Theory, 9.1)."""
    return (2 * (diagonal - traces / n) + 4 / n * (inner - traces / (n - 1))) / (n - 1)


def _swept(pair: Paired, *, centred: bool) -> _Sums:
    """From φ = −d²/2, or −d/2, around its mean if centred."""
    xs = [replace(x, native_name=_FUNCTION[x.kernel.name]) for x in pair.xs]
    n, ordered = pair.n, pair.n * (pair.n - 1)
    start = _no_tiles(xs, pair.precision)
    # K = φ + b_i + b_j: with b taken off, tiles hold φ itself
    rows = _no_tiles(gram.shifted(xs, np.zeros((2, n)), start.base), pair.precision).scaled_diagonal / 2
    # a float32 sweep reports and takes b in float32: what that left on the diagonal is added
    rows = rows + _no_tiles(gram.shifted(xs, rows, start.base), pair.precision).scaled_diagonal / 2
    level = (start.scaled_shift - rows).mean(axis=1, keepdims=True) if centred else np.zeros((2, 1))
    while True:
        around = gram.shifted(xs, rows + level, start.base)
        g = gram.sweep_moments(around, precision=pair.precision, memory=pair.memory, progress=pair.progress)
        rounding = g.rounding * g.eps
        mean = g.scaled_rows.sum(axis=1) / ordered
        square = g.scaled_inner / ordered
        sums = _Sums(square, centred, mean, rounding, tuple(around))
        if not centred:
            return sums
        sums = replace(sums, values=square - np.multiply.outer(mean, mean))
        far = (np.diag(square) > _AMPLIFICATION * np.diag(sums.values)) & (np.abs(mean) > rounding)
        if not far.any():
            return sums
        level = level + mean[:, None] / 2


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
    pair = _represented(X, Y, kinds, correlation, precision, memory, progress)
    n, sums = pair.n, _sums(pair, centred=correlation == "pearson")
    means = float(sums.mean[0] * sums.mean[1])
    if any(sums.constant):
        yield from [math.nan] * (count + 1)
        return
    yield sums.ratio(float(sums.values[0, 1]))
    if sums.rounding is None:
        s = pair.statistics
        traces = np.array(s.trace[0] * s.trace[1])
        x, y = pair.centred_diagonals
        for b, inner in independence.permuted_sums(pair, count, order):
            cross = float(_covariance(np.array(inner), np.array(x @ y[order(b)]), traces, n))
            yield sums.ratio(cross if sums.centred else cross + means)
    else:
        for _, inner in independence.swept_sums(pair, sums.xs, count, order):
            cross = inner / (n * (n - 1))
            yield sums.ratio(cross - means if sums.centred else cross)
