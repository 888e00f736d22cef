"""Relative representations: samples described by their cosines with anchors, or their distances from them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, one_bar, phase, tell
from gramian.rows.arrays import Matrix, as_matrix, check_budget, one_of
from gramian.rows.objects import check_row_numbers
from gramian.rows.sources import matrix
from gramian.sweeps.centred import CentredFeatures, blocks
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Space: TypeAlias = Literal["cosine", "euclidean", "l1", "linf"]

_SCIPY_NAME = {"euclidean": "euclidean", "l1": "cityblock", "linf": "chebyshev"}


@public
@one_bar
def relative_representation(
    X: object,
    anchors: object,
    *,
    space: Space | Sequence[Space] = "cosine",
    progress: Progress | None = None,
) -> Array:
    """Each sample by how it lies to m anchors: features that two models share though their own differ.

    Parameters
    ----------
    X : array of shape (n, p)
        Any array that `gramian.cka` takes, or the path of a file.
    anchors : array of shape (m, p), or row numbers of shape (m,)
        The anchors' features by the same model, or which rows of X are the anchors. For two models to be comparable,
        their anchors must be the same samples in the same order.
    space : {"cosine", "euclidean", "l1", "linf"}, or several of them
        Cosines with the anchors, or distances from them. Several give the product space: each is normalised to length 1
        in every row, and they stand side by side.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

    Returns
    -------
    array of shape (n, m), or (n, m·len(space)) for several
        float64, on the host. A row of zeros has the cosine 0 with everything.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n·m·p) time; beyond the result, O((m + p)·block) memory. Cosines do not change under rotations and scaling of the
    features of X and anchors together, Euclidean distances under rotations and shifts, L1 and L∞ distances under
    permutations, sign flips and shifts; normalised, all under scaling. Blocks of arrays on a CUDA device are copied to
    the host. Source: Moschella et al. 2023; Cannistraci et al. 2024; Theory, 8.6.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.array([[3.0, 4], [0, 2], [1, 0]])
    >>> gm.relative_representation(X, np.array([1, 2]))
    array([[0.8, 0.6],
           [1. , 0. ],
           [0. , 1. ]])
    """
    check_budget(None, progress)
    spaces = [space] if isinstance(space, str) else list(space)
    if not spaces:
        raise ValueError(f"space must name at least one of {', '.join(map(repr, get_args(Space)))}")
    for name in spaces:
        one_of(name, get_args(Space), "space")
    x = matrix(X, "X")
    a = _anchors(x, anchors)
    m = len(a)
    unit_anchors = _unit_rows(a)
    out = np.empty((x.n, m * len(spaces)))
    spans = blocks(x.n, [x.d, m * len(spaces)])
    progress = phase(progress, "rows")
    for done, (start, stop) in enumerate(spans, 1):
        rows = x.block(start, stop)
        for k, name in enumerate(spaces):
            part = out[start:stop, k * m : (k + 1) * m]
            if name == "cosine":
                np.clip(_unit_rows(rows) @ unit_anchors.T, -1.0, 1.0, out=part)
            else:
                part[:] = _distances(rows, a, name)
            if len(spaces) > 1:
                part[:] = _unit_rows(part)
        tell(progress, done, len(spans))
    return out


def _anchors(x: Matrix, anchors: object) -> Array:
    """(m, p) features of the anchors."""
    if isinstance(anchors, list | tuple) and all(isinstance(row, int | np.integer) for row in anchors):
        anchors = np.array(anchors, dtype=np.int64)
    if not isinstance(anchors, str | os.PathLike) and getattr(anchors, "ndim", 2) == 1:
        check_row_numbers(anchors, "anchors", x.labels, "X")
        rows = np.asarray(anchors)
        if rows.dtype.kind not in "iu":
            raise TypeError(
                f"anchors must be features of shape (m, {x.d}) or whole row numbers of shape (m,), got shape "
                f"{rows.shape} of {rows.dtype}"
            )
        wrong = rows[(rows < 0) | (rows >= x.n)]
        if wrong.size:
            raise ValueError(f"anchors names row {wrong[0]}, but X has rows 0 to {x.n - 1}")
        if not rows.size:
            raise ValueError("anchors is empty; name at least one row of X")
        return x.take(rows.astype(np.int64))
    found = matrix(anchors, "anchors")
    if found.d != x.d:
        raise ValueError(f"anchors has {found.d} features but X has {x.d}; both must be features of the same model")
    return found.block(0, found.n)


def _unit_rows(rows: Array) -> Array:
    """Rows of length 1, whatever their size; rows of 0 stay."""
    return CentredFeatures(as_matrix(rows, "rows"), True, 1.0, np.zeros(rows.shape[1])).raw(0, len(rows))


def _distances(rows: Array, anchors: Array, space: str) -> Array:
    """(b, m) from differences; scaled by a power of two while they are squared."""
    from scipy.spatial.distance import cdist

    largest = max(float(np.abs(rows).max()), float(np.abs(anchors).max()))
    exponent = max(-1000, min(1000, math.frexp(largest)[1])) if largest > 0 else 0
    found = cdist(np.ldexp(rows, -exponent), np.ldexp(anchors, -exponent), _SCIPY_NAME[space])
    return cast("Array", np.ldexp(found, exponent))
