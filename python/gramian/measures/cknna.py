"""CKNNA: kernel alignment over the pairs that are near each other in both representations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import (
    RBF,
    ArcCosine,
    Cosine,
    Exponential,
    Kernel,
    KernelName,
    Laplacian,
    Linear,
    Polynomial,
    RationalQuadratic,
)
from gramian.measures.neighbors import check_k, listed
from gramian.measures.overlaps import first_reason, spans
from gramian.progress import Progress, expect, one_bar, phase
from gramian.reasons import told
from gramian.rows.arrays import as_matrix, one_of, require_rows
from gramian.sums import of_arrays
from gramian.sweeps import gram, routes
from gramian.sweeps.centred import blocks, centre
from gramian.sweeps.products import Nearest
from gramian.sweeps.represent import Representation
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Lists: TypeAlias = npt.NDArray[np.int64]  # (n, k)
Variant: TypeAlias = Literal["paper", "reference"]

_TOLERANCE = 16.0  # roundings below which a centred value is nothing
_DIGITS = 1e3  # roundings of a float32 sweep that centred values must have, or it is made again in float64


@of_arrays
@public
@one_bar
def cknna(
    X: object,
    Y: object,
    k: int = 10,
    *,
    kernel: Kernel | KernelName = "linear",
    kernel_y: Kernel | KernelName | None = None,
    variant: Variant = "paper",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Centred kernel nearest-neighbour alignment: CKA of the pairs that are neighbours in both representations.

    With U(K) the U-centred kernel matrix and α_ij = 1 if j is among the k largest K_ij, j ≠ i, and among the k
    largest L_ij: A(K, L) = Σ_ij α_ij U(K)_ij U(L)_ij, and the result is A(K, L)/√(A(K, K)·A(L, L)), each self term
    with its own lists.

    Parameters
    ----------
    X : array of shape (n, p)
    Y : array of shape (n, q)
        Row i of both is the same sample.
    k : int
        From 1 to n − 1.
    kernel : kernel or its name
        Of X, and of Y unless `kernel_y` is given: for the neighbours and for their values. Nothing is normalised; for
        the usual normalised features choose "cosine".
    kernel_y : kernel or its name, optional
    variant : {"paper", "reference"}
        "paper": values are centred over all rows, then masked, as the text of the paper has it. "reference": as the
        code that came with the paper computes it: kernel values are masked first and go through the formula of Song
        et al. 2012 as if the masked, unsymmetric matrices were kernel matrices. It needs k ≥ 2, and its value changes
        when X and Y change places; the code's 1e-6 in the denominator is left out.
    memory, progress
        As in `neighbors`.

    Returns
    -------
    float
        In [−1, 1] for "paper", where unrelated data has k/(n−1) at most; debiased CKA at k = n − 1, for both
        variants. nan, with an `UndefinedWarning` that says why, if all rows of a representation are equally near each
        other, if nothing is left of it after centring ("paper"), or if a self term is not positive, which happens to
        "reference" (it is no square there).

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; n < 4.

    Notes
    -----
    The sweep for the neighbours, O(n²(p+q)), one more for the row means if the kernel is neither linear nor cosine,
    then O(nkp) time and O(nk) memory. Linear and cosine values are taken from centred rows in float64, so means far
    from 0 cost no digits; "paper" does not change under rotations and scaling, nor under what leaves the neighbours
    as they are. Source: Huh et al. 2024; Theory, 6.6.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> round(gm.cknna(X, 3 * X, 5), 12), bool(np.isclose(gm.cknna(X, X**3, 49), gm.cka(X, X**3)))
    (1.0, True)
    """
    one_of(variant, get_args(Variant), "variant")
    pair = routes.paired(X, Y, kernel, kernel_y, memory=memory, progress=progress)
    n = pair.n
    require_rows(n, 4, "cknna")
    k = check_k(k, n)
    if variant == "reference" and k < 2:
        raise ValueError(f"k must be at least 2 for variant='reference', got {k}")
    swept = [variant == "paper" and not isinstance(x.kernel, Linear | Cosine) for x in pair.xs]
    expect(progress, 2 + sum(swept))
    edges = [_edges(x, name, k, variant, memory, progress) for x, name in zip(pair.xs, "XY", strict=True)]
    reason = edges[0].reason or edges[1].reason
    if reason is None:
        value, reason = _centred_on_edges(*edges) if variant == "paper" else _masked(*edges)
    return told(math.nan if reason else value, reason, "cknna")


@dataclass(frozen=True, eq=False)
class _Edges:
    """Kernel values of the pairs in the lists of one representation."""

    keys: Lists  # (n·k,) i·n + j
    values: Array  # (n·k,) in some units
    rounding: float  # of a value
    n: int
    name: str
    reason: str | None  # why the lists say nothing


def _edges(
    x: Representation, name: str, k: int, variant: Variant, memory: int | None, progress: Progress | None
) -> _Edges:
    found, _, reason = listed(x, k, memory, phase(progress, f"neighbours of {name}"))
    if isinstance(x.kernel, Linear | Cosine):
        values, lost = _inner_products(x, found.index, centred=variant == "paper")
    elif variant == "paper":
        values, lost = _centred_values(x, found, memory, progress)
        (rows,) = x.parts
        if rows.dtype != "float64" and not np.vdot(values, values) > (_DIGITS * lost) ** 2 * values.size:
            wide = np.concatenate([rows.block(a, b) for a, b in blocks(x.n, [rows.d])])
            values, lost = _centred_values(replace(x, parts=(as_matrix(wide, name),)), found, memory, progress)
    else:
        values, lost = _kernel_values(x.kernel, found, 0, int(gram.sweep_units([x], "highest")[0])), 0.0
    keys = np.arange(x.n)[:, None] * x.n + found.index
    # in units where squares stay in range
    largest = float(np.abs(values).max())
    unit = math.ldexp(1.0, math.frexp(largest)[1]) if largest > 0 and math.isfinite(largest) else 1.0
    return _Edges(keys.ravel(), (values / unit).ravel(), lost / unit, x.n, name, first_reason((name, reason)))


def _inner_products(x: Representation, index: Lists, *, centred: bool) -> tuple[Array, float]:
    """K, or U(K), of a linear kernel at the listed pairs: with x̄ centred rows, Σ_{j≠i} x̄_i·x̄_j = −‖x̄_i‖²."""
    (rows,) = x.parts
    n, k = index.shape
    features = centre(rows, x.kernel)
    mean = features.mean if centred else np.zeros(rows.d)
    values, square, raw_square = np.empty((n, k)), np.empty(n), 0.0
    for span in spans(n, (k + 1) * rows.d):
        own = features.raw(span.start, span.stop)
        raw_square += float(np.vdot(own, own))
        own -= mean
        others = features.take(index[span].ravel()).reshape(-1, k, rows.d) - mean
        values[span] = np.matmul(others, own[:, :, None])[:, :, 0]
        square[span] = np.einsum("ij,ij->i", own, own)
    if not centred:
        return values, 0.0
    total = square.sum()
    values += (square[:, None] + square[index]) / (n - 2) - total / ((n - 1) * (n - 2))
    size = total / n
    return values, float(np.finfo(np.float64).eps) * (size + math.sqrt(raw_square / n / rows.d * size))


def _centred_values(
    x: Representation, found: Nearest, memory: int | None, progress: Progress | None
) -> tuple[Array, float]:
    """U(K) at the listed pairs: exact values less the row means of a Gram sweep."""
    g = gram.stable_moments([x], memory=memory, progress=phase(progress, "row means"))
    falls = isinstance(x.kernel, RBF | Exponential | Laplacian | RationalQuadratic)  # from 1: swept as k − 1, or as k
    base, exponent = int(g.base[0]) if falls else 0, int(g.exponent[0])
    # K − base − s_i − s_j of the sweep: where that is 0 on the diagonal, s is half of it, base not rounded into it
    shift = -g.scaled_diagonal[0] / 2 if base else g.scaled_shift[0]
    offset = shift + gram.half_offsets(g, hollow=True)[0]
    values = _kernel_values(x.kernel, found, base, exponent)
    return values - offset[:, None] - offset[found.index], float(g.rounding[0] * g.eps)


def _kernel_values(kernel: Kernel, found: Nearest, base: int, exponent: int) -> Array:
    """(n, k) K − base in units of 2^exponent, from what the neighbours were ranked by (csrc/core/exact_value.hpp)."""
    s, unit = found.similarity, found.exponent

    def fallen(log: Array) -> Array:
        return cast("Array", np.ldexp(np.expm1(log) if base else np.exp(log), -exponent))

    if isinstance(kernel, RBF | Exponential | Laplacian | RationalQuadratic):
        width = cast("float", kernel.bandwidth)
        width = 1.0 if math.isnan(width) else width  # all distances are 0
        if isinstance(kernel, Laplacian):
            return fallen(s / math.ldexp(width, -unit))
        half_square = -s / (width * 2.0 ** (-unit / 2)) ** 2  # ‖x − y‖²/2 over the squared bandwidth
        if isinstance(kernel, RBF):
            return fallen(-half_square)
        if isinstance(kernel, Exponential):
            return fallen(-np.sqrt(2 * half_square))
        return fallen(-kernel.alpha * np.log1p(half_square / kernel.alpha))
    if isinstance(kernel, Polynomial):
        # s is the base of the power, or its square
        times = kernel.degree if kernel.degree % 2 else kernel.degree // 2
        whole, rest = divmod(exponent, times)
        return cast("Array", np.ldexp(np.ldexp(s, unit - whole) ** times, -rest))
    if isinstance(kernel, ArcCosine) and kernel.order == 0:
        return cast("Array", np.ldexp(1 + s, -exponent))
    return cast("Array", np.ldexp(s, unit - exponent))


def _centred_on_edges(x: _Edges, y: _Edges) -> tuple[float, str | None]:
    """Σ over common pairs of U(K)U(L), over the roots of the sums of squares; or why it has no value."""
    own = [float(np.vdot(e.values, e.values)) for e in (x, y)]
    for e, square in zip((x, y), own, strict=True):
        if not square > (_TOLERANCE * e.rounding) ** 2 * len(e.values):
            return math.nan, f"nothing is left of {e.name} after centring, up to rounding"
    _, i, j = np.intersect1d(x.keys, y.keys, assume_unique=True, return_indices=True)
    value = float(np.vdot(x.values[i], y.values[j]) / math.sqrt(own[0]) / math.sqrt(own[1]))
    return max(-1.0, min(1.0, value)), None


def _masked(x: _Edges, y: _Edges) -> tuple[float, str | None]:
    """Song et al.'s HSIC of kernel matrices that are 0 but for common neighbours; or why it has no value."""
    keys, i, j = np.intersect1d(x.keys, y.keys, assume_unique=True, return_indices=True)
    n = x.n
    cross = _song(keys, x.values[i], y.values[j], n)
    own = []
    for e in (x, y):
        order = np.argsort(e.keys)
        square = _song(e.keys[order], e.values[order], e.values[order], n)
        if not square > 0:
            return math.nan, f"the self term of {e.name} is not positive"
        own.append(square)
    return cross / math.sqrt(own[0]) / math.sqrt(own[1]), None


def _song(keys: Lists, k: Array, l: Array, n: int) -> float:
    """tr KL + 1'K1·1'L1/((n−1)(n−2)) − 2/(n−2)·1'KL1 of sparse matrices with entries at the same, sorted keys."""
    row, column = np.divmod(keys, n)
    at = np.searchsorted(keys, column * n + row)
    at[at == len(keys)] = 0
    both = keys[at] == column * n + row if len(keys) else np.zeros(0, dtype=bool)
    through = np.bincount(column, k, n) @ np.bincount(row, l, n)
    return float(k[both] @ l[at[both]] + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * through)
