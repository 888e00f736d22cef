"""Rows as what dissimilarities are computed from, and what rounding alone does to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Cosine, Kernel
from gramian.progress import Progress
from gramian.rows.arrays import Matrix, about_least, as_matrix, one_of, require_rows, same_rows
from gramian.rows.sources import matrix
from gramian.sweeps import rounding, routes
from gramian.sweeps.centred import blocks, centre
from gramian.sweeps.represent import Precision
from gramian.sweeps.routes import Paired

Array: TypeAlias = npt.NDArray[np.float64]
Dissimilarity: TypeAlias = Literal["sqeuclidean", "euclidean", "cosine", "correlation"]
Correlation: TypeAlias = Literal["pearson", "spearman", "cosine"]
Method: TypeAlias = Literal["features", "sweep", "tiles", "sorted ranks", "binned ranks"]

_KERNEL = {"sqeuclidean": "linear", "euclidean": "distance", "cosine": "cosine", "correlation": "cosine"}
TOLERANCE = 16.0  # roundings of one dissimilarity, below which a standard deviation is nothing else
STORED = 2.0  # the same, in standard deviations of what the rounding of the rows does to a dissimilarity
ANYWHERE = 1 / 32  # radians of rounding after which a row's direction says little


def checked(
    dissimilarity: Dissimilarity, dissimilarity_y: Dissimilarity | None, correlation: Correlation
) -> tuple[Dissimilarity, Dissimilarity]:
    """The two dissimilarities; all choices are known."""
    one_of(dissimilarity, get_args(Dissimilarity), "dissimilarity")
    if dissimilarity_y is not None:
        one_of(dissimilarity_y, get_args(Dissimilarity), "dissimilarity_y")
    one_of(correlation, get_args(Correlation), "correlation")
    return dissimilarity, dissimilarity_y or dissimilarity


@dataclass(frozen=True, eq=False)
class Asked:
    """Two arrays as they are compared, and as they came."""

    pair: Paired
    kinds: tuple[Dissimilarity, Dissimilarity]
    stored: tuple[Matrix, Matrix]
    given: tuple[Matrix, Matrix]


def represented(
    X: object,
    Y: object,
    kinds: tuple[Dissimilarity, Dissimilarity],
    correlation: Correlation,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
    *,
    ordered: bool = False,
) -> Asked:
    """Two arrays through the gate, each with the kernel that its dissimilarity belongs to; `ordered`: ties matter."""
    given = matrix(X, "X"), matrix(Y, "Y")
    same_rows(given, ["X", "Y"])  # here: labels do not outlive the copies that are made below
    # distances do not change where all rows move
    x, y = (about_least([x])[0] if "euclidean" in kind else x for x, kind in zip(given, kinds, strict=True))
    stored = x, y
    arrays = list(stored)
    if "correlation" in kinds:
        arrays = [
            host_copy(x, name, row_centred=kind == "correlation", exact=ordered)
            if kind == "correlation" or x.data is None
            else x
            for x, kind, name in zip(arrays, kinds, "XY", strict=True)
        ]
    pair = paired(arrays, kinds, precision, memory, progress)
    require_rows(pair.n, 2 if correlation == "cosine" else 3, f"rsa with correlation={correlation!r}")
    return Asked(pair, kinds, stored, given)


def paired(
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


def host_copy(x: Matrix, name: str, *, row_centred: bool, exact: bool) -> Matrix:
    """The rows as float64, or as float32 where x has no more digits; each less its own mean and scaled if asked.

    `exact`: as float64 whatever x has, for a mean that is taken off leaves more digits than x had.
    """
    out = np.empty(x.shape, dtype=np.float64 if exact or x.dtype == "float64" else np.float32)
    for start, stop in blocks(x.n, [x.d]):
        rows = x.block(start, stop)
        # correlations do not notice a row's size
        out[start:stop] = rounding.less_row_means(rows)[0] if row_centred else rows
    return as_matrix(out, name)


def turned_by_rounding(stored: Matrix, kind: Dissimilarity, dtype: str | None = None) -> Array | None:
    """(n,) radians that rounding to a dtype, or its own, may have turned each row by, if directions are compared."""
    if kind not in ("cosine", "correlation"):
        return None
    return rounding.turned(stored, dtype or stored.dtype, row_centred=kind == "correlation")


def noise_of(stored: Matrix, kind: Dissimilarity, compared: Matrix, kernel: Kernel, *, centred: bool) -> float:
    """What rounding the rows did to a squared distance, over the mean squared distance: standard deviation, or size.

    A difference x − y is off by e, so ‖x − y‖² by 2(x − y)·e + ‖e‖². A last place u is off by u²/12 in the square.
    """
    f = centre(compared if isinstance(kernel, Cosine) else stored, kernel)
    n, d = f.x.shape
    lost, spread, of_rows = np.zeros(d), np.zeros(d), np.zeros(n)
    for start, stop in blocks(n, [d]):
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


def why_undefined(
    name: str, kind: Dissimilarity, stored: Matrix, correlation: Correlation, square: float, *, equal: bool
) -> str:
    """Why dissimilarities have no correlation: they are `equal`, or differ by rounding; `square`: the mean ‖x̂ − ŷ‖²."""
    turned = turned_by_rounding(stored, kind)
    if turned is not None and turned.any() and square <= 4 * min(ANYWHERE, float(np.median(turned))) ** 2:
        which = "rows" if kind == "cosine" else "rows less their own mean"
        return f"all {which} of {name} point the same way, up to the rounding of {stored.dtype}"
    if equal:
        return f"the dissimilarities of {name} are all {'0' if correlation == 'cosine' else 'the same, up to rounding'}"
    return f"the dissimilarities of {name} differ by no more than the rounding of its rows, which are {stored.dtype}"
