"""Mutual nearest neighbours as people write them, in the dtype of the arrays. NumPy only."""

import numpy as np
from numpy.typing import NDArray

from .cases import NEIGHBORS, Array, Arrays, Case

Lists = NDArray[np.int64]


def mutual_knn(lists: tuple[Lists, ...]) -> float:
    """Mean share of common neighbours of two lists (n, k)."""
    both = np.sort(np.concatenate(lists, axis=1), axis=1)
    return float(np.count_nonzero(both[:, 1:] == both[:, :-1])) / lists[0].size


def neighbors(x: Array, case: Case, *, block: int) -> Lists:
    """(n, k) by blocks of rows against all others: products, then a partial sort."""
    if case.kernel == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        half_squares = np.zeros(len(x), dtype=x.dtype)
    else:
        x = x - x.mean(axis=0)
        half_squares = np.einsum("ij,ij->i", x, x) / 2
    found = np.empty((len(x), NEIGHBORS), dtype=np.int64)
    for i in range(0, len(x), block):
        near = x[i : i + block] @ x.T
        near -= half_squares
        near[np.arange(len(near)), np.arange(i, i + len(near))] = -np.inf
        found[i : i + block] = np.argpartition(-near, NEIGHBORS, axis=1)[:, :NEIGHBORS]
    return found


def reference(arrays: Arrays, case: Case) -> float:
    """The same in float64."""
    x, y = (neighbors(x.astype(np.float64), case, block=256) for x in arrays)
    return mutual_knn((x, y))
