"""An array with its kernel, as the sweeps take it: bandwidths resolved, rows brought to a size that tiles hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian import _core
from gramian.kernels import (
    OF_DIFFERENCES,
    RBF,
    ArcCosine,
    Cosine,
    Exponential,
    Kernel,
    Laplacian,
    Polynomial,
    RationalQuadratic,
    as_kernel,
    parameters,
    with_bandwidth,
)
from gramian.progress import Progress, expect, one_bar, phase, tell
from gramian.reasons import told
from gramian.rows.arrays import DType, Matrix, about_least, as_matrix, check_budget, check_seed, require_rows
from gramian.rows.sources import matrix
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Precision: TypeAlias = Literal["highest", "high", "medium"]

_DEEP = 1000  # power of two under 1 below which lengths of rows have no inverse
_LANDMARKS = 32  # rows from which it is told how much of a kernel's values centring takes away
NARROW = 1e3  # times what is left from which on float32 tiles lose digits that a measure shows: an error of (1e-4)²
_DRAWN = 20.0  # times that a pair takes that bandwidths are found by, in one of a sweep's
_PAIRS = 2e6  # times two rows, from which on bandwidths are found from some pairs alone
_TOLD = 1 << 16  # pairs whose distances are found before progress is told
_UNKNOWN = 1e6  # the amplification where these are all the same: float64 tiles, which may have enough digits
NativeRepresentation: TypeAlias = tuple[
    list[_core.View], _core.KernelFunction, npt.NDArray[np.int64] | None, Array | None, int
]


@dataclass(frozen=True, eq=False)
class Representation:
    """Rows with a kernel: what a sweep takes one or more of."""

    parts: tuple[Matrix, ...]  # one array, or two of a dtype, one below the other
    kernel: Kernel  # resolved
    index: npt.NDArray[np.int64] | None = None  # row order
    shift: Array | None = None  # (n,), or (2, n) of a sum, in the sweep's scaled units; None: from the landmarks
    native_name: str | None = None  # a function without parameters in place of the kernel's; −d²/2 is no public kernel
    bandwidth_from_rows: bool = False
    amplification: float = 1.0  # how many times the rounding of one value is its share of what centring leaves
    base: int = -1  # the sweep's choice of k − 0 or k − 1, as an earlier one made it; −1: not made yet
    power: int = 0  # of two, by which a kernel of degree 2 is that of rows brought up from the least float64 numbers

    @property
    def n(self) -> int:
        return sum(p.n for p in self.parts) if self.index is None else len(self.index)

    @property
    def dtype(self) -> DType:
        return self.parts[0].dtype

    @property
    def wide(self) -> bool:
        """Whether float32 tiles would lose digits, so that float64 ones are taken for narrower rows too."""
        return self.amplification > NARROW

    def native(self) -> NativeRepresentation:
        values = {} if self.native_name else parameters(self.kernel)
        if math.isnan(values.get("bandwidth", 0.0)):
            values["bandwidth"] = 1.0  # all distances are 0: any bandwidth gives the same
        function = _core.KernelFunction(self.native_name or self.kernel.name, values)
        return [p.view for p in self.parts], function, self.index, self.shift, self.base


def represent(
    kernel: Kernel | str, *parts: Matrix, argument: str = "kernel", progress: Progress | None = None
) -> Representation:
    """Rows with a kernel whose parameters are all set: bandwidths from the data, scales from the width."""
    found = as_kernel(kernel, argument)
    if isinstance(found, Polynomial) and found.scale is None:
        found = replace(found, scale=1.0 / parts[0].d)
    if isinstance(found, OF_DIFFERENCES):
        parts = tuple(about_least(parts))
    if isinstance(found, RBF | Exponential | Laplacian | RationalQuadratic) and found.bandwidth is None:
        norm: Literal["l1", "l2"] = "l1" if isinstance(found, Laplacian) else "l2"
        found = with_bandwidth(found, median_distance(parts, norm=norm, progress=progress))
        return Representation(parts, found, bandwidth_from_rows=True)
    power = 0
    if isinstance(found, ArcCosine) and parts[0].dtype == "float64" and np.abs(landmarks(parts)).max() < 2.0**-_DEEP:
        parts, power = _brought_up(parts)
        power *= found.order  # the kernel of directions alone does not notice
    return Representation(parts, found, amplification=amplification(parts, found), power=power)


def bandwidth_phase(progress: Progress | None, kernel: Kernel | str, n: int) -> Callable[[int, int], object] | None:
    """In which an open bandwidth of n rows is found, or None; in units of a sweep over pairs of these."""
    if progress is None or getattr(as_kernel(kernel), "bandwidth", 0.0) is not None:
        return None
    cost = _DRAWN * min(1.0, _PAIRS / n**2)
    expect(progress, cost)
    return phase(progress, "bandwidth", cost)


def represented_all(
    xs: Sequence[Matrix], kernels: Sequence[tuple[Kernel | str, str]], progress: Progress | None
) -> list[Representation]:
    """Arrays with their kernels, each of an argument; bandwidths have phases, in units of a sweep over all arrays."""
    chosen = [as_kernel(kernel, argument) for kernel, argument in kernels]
    wanted = [p for p, kernel in enumerate(chosen) if getattr(kernel, "bandwidth", 0.0) is None]
    cost = _DRAWN * min(1.0, _PAIRS / xs[0].n ** 2) / len(xs)
    expect(progress, cost * len(wanted))
    found = []
    for p, (x, kernel, (_, argument)) in enumerate(zip(xs, chosen, kernels, strict=True)):
        told = phase(progress, f"bandwidths {wanted.index(p) + 1}/{len(wanted)}", cost) if p in wanted else None
        found.append(represent(kernel, x, argument=argument, progress=told))
    return found


def _brought_up(parts: Sequence[Matrix]) -> tuple[tuple[Matrix, ...], int]:
    """Rows times a power of two, which is exact, where 1 over their length would be no float64 number."""
    if any(p.device != "cpu" for p in parts):
        return tuple(parts), 0
    rows = [p.block(0, p.n) for p in parts]
    power = -int(np.frexp(max(np.abs(r).max() for r in rows))[1])
    if power < _DEEP:
        return tuple(parts), 0
    return tuple(as_matrix(np.ldexp(r, power), "rows") for r in rows), power


def landmarks(parts: Sequence[Matrix]) -> Array:
    """A few rows from all over the data."""
    n = sum(p.n for p in parts)
    count = min(n, _LANDMARKS)
    listed = np.arange(count) * (n - 1) // max(count - 1, 1)
    first = parts[0].n
    X = parts[0].take(listed[listed < first])
    if len(parts) > 1:
        X = np.concatenate([X, parts[1].take(listed[listed >= first] - first)])
    return X


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # inf and nan: no digits are left
def amplification(parts: Sequence[Matrix], kernel: Kernel) -> float:
    """How much larger a value's rounding is beside what centring leaves of the kernel than beside the value itself.

    From some rows all over the data, in float64. Only where tiles hold values that centring then cancels: of
    polynomials and arc-cosines ‖K‖/‖K̄‖; of the cosine, whose tiles hold rows less a reference, the rows' length, 1,
    over what is left of it. All other kernels are functions of differences of rows, which have their own size.
    """
    if not isinstance(kernel, Polynomial | ArcCosine | Cosine):
        return 1.0
    X = landmarks(parts)
    if (X[0] == X).all():
        return _UNKNOWN
    largest = float(np.abs(X).max())
    X = X / largest
    norm = np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    if not isinstance(kernel, Polynomial):
        X = X / np.where(norm > 0, norm, 1.0)
    if isinstance(kernel, Cosine):
        left = X - X.mean(axis=0)
        return float(np.sqrt(np.einsum("ij,ij->", X, X) / np.einsum("ij,ij->", left, left)))
    K = X @ X.T
    if isinstance(kernel, Polynomial):
        unit = cast("float", kernel.scale) * largest * largest  # inf, where a power would raise
        base = K * unit + kernel.offset if unit < math.inf else K
        K = (base / np.abs(base).max()) ** kernel.degree
    else:
        cosine = np.clip(K, -1.0, 1.0)
        K = 1 - np.arccos(cosine) / np.pi
        if kernel.order == 1:
            K = (np.sqrt((1 - cosine) * (1 + cosine)) / np.pi + K * cosine) * norm * norm.T
    left = K - K.mean(axis=0) - K.mean(axis=1)[:, None] + K.mean()
    np.fill_diagonal(left, 0.0)
    ratio = float(np.sqrt(np.vdot(K, K) / np.vdot(left, left)))
    return ratio if ratio >= 1 else math.inf if math.isnan(ratio) else 1.0


@public
@one_bar
def median_bandwidth(
    X: object,
    *,
    norm: Literal["l2", "l1"] = "l2",
    max_pairs: int = 1_000_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """The median distance between two rows, the default bandwidth of every kernel that has one.

    median over i < j of ‖x_i − x_j‖ (no factor ½, zeros kept).

    Parameters
    ----------
    X : array of shape (n, p)
    norm : {"l2", "l1"}
        L1 is what `Laplacian` uses.
    max_pairs : int
        With more pairs than this, so many of them are drawn at random.
    seed : int
        Seed of the draw; the same seed gives the same value.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

    Returns
    -------
    float
        In the units of X. If the median is 0 (half of the rows are equal) the mean of the positive distances; if there
        is none, nan.

    Raises
    ------
    TypeError, ValueError
        X is not a finite float matrix of at least 2 rows, or max_pairs is not positive.

    Notes
    -----
    Costs O(max_pairs · p) time and O(max_pairs) memory.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> gm.median_bandwidth(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    x = matrix(X, "X")
    require_rows(x.n, 2, "median_bandwidth")
    if norm not in ("l1", "l2"):
        raise ValueError(f"norm must be 'l2' or 'l1', got {norm!r}")
    seed = check_seed(seed)
    if max_pairs < 1:
        raise ValueError(f"max_pairs must be at least 1, got {max_pairs}")
    check_budget(None, progress)
    drawn = phase(progress, "pairs")
    found = median_distance(about_least([x]), norm=norm, max_pairs=max_pairs, seed=seed, progress=drawn)
    return told(found, "all rows of X are the same" if math.isnan(found) else None, "median_bandwidth")


def median_distance(
    parts: Sequence[Matrix],
    *,
    norm: Literal["l2", "l1"],
    max_pairs: int = 1_000_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """`median_bandwidth` of rows that lie in several arrays."""
    n = sum(p.n for p in parts)
    if n * (n - 1) // 2 <= max_pairs:
        i, j = np.triu_indices(n, 1)
    else:
        rng = np.random.default_rng(seed)
        i = rng.integers(0, n, max_pairs)
        j = (i + rng.integers(1, n, max_pairs)) % n
    i, j = i.astype(np.int64, copy=False), j.astype(np.int64, copy=False)
    views, step = [p.view for p in parts], len(i) if progress is None else _TOLD
    pieces = []
    for start in range(0, len(i), max(step, 1)):
        part = slice(start, start + step)
        pieces.append(_core.pair_distances(views, i[part], j[part], l1=norm == "l1"))
        tell(progress, min(start + step, len(i)), len(i))
    d = np.concatenate([np.empty(0), *pieces])
    if d.size == 0:
        return math.nan
    median = float(np.median(d))
    if median > 0:
        return median
    positive = d[d > 0]
    return float(positive.mean()) if positive.size else math.nan


def widened(x: Representation) -> Representation:
    """The same rows for float64 tiles."""
    return replace(x, amplification=max(x.amplification, _UNKNOWN))
