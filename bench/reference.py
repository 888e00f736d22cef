"""The referee: unbiased CKA in float64 from blocks, with nothing of the package in it."""

import hashlib
import inspect
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import kernel_tiles, nearest
from .cases import Answer, Array, Arrays, Case, in_feature_space, kernel_parameters
from .machine import available_threads

TILE = 1024
TRANSLATION_INVARIANT = ("rbf", "exponential", "laplacian", "rational_quadratic")

Float64 = NDArray[np.float64]


def unbiased_hsic(inner: Float64, rows: Float64) -> Float64:
    """(m, m), times n(n−3), from ⟨K_p, K_q⟩ (m, m) and row sums (m, n), all without the diagonal [Song et al. 2012]."""
    n = rows.shape[1]
    totals = rows.sum(axis=1)
    hsic: Float64 = inner + np.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ rows.T)
    return hsic


def answer(hsic: Float64, case: Case) -> Answer:
    """CKA of the pair, or the first half of the representations against the second."""
    scale = np.sqrt(np.diag(hsic))
    cka = hsic / np.outer(scale, scale)
    half = case.m // 2
    return cka[:half, half:] if case.measure == "cka_matrix" else float(cka[0, 1])


def tile_sums(arrays: Arrays, case: Case, *, tile: int = TILE) -> tuple[Float64, Float64]:
    """inner (m, m) and rows (m, n) of K_ij − a_i − a_j, i ≠ j, whose HSIC is that of K; upper triangle of blocks."""
    m, n = len(arrays), len(arrays[0])
    xs = [x.astype(np.float64) for x in arrays]
    if case.kernel in TRANSLATION_INVARIANT:
        xs = [x - x.mean(axis=0) for x in xs]
    shifts = np.stack([row_shift(x, case) for x in xs])
    starts = range(0, n, tile)

    def block_row(i: int) -> tuple[Float64, Float64]:
        inner, rows = np.zeros((m, m)), np.zeros((m, n))
        for j in range(i, n, tile):
            block = np.stack([kernel_tiles.kernel_tile(x[i : i + tile], x[j : j + tile], case) for x in xs])
            block -= shifts[:, i : i + tile, None]
            block -= shifts[:, None, j : j + tile]
            if i == j:
                block[:, range(block.shape[1]), range(block.shape[1])] = 0
            flat = block.reshape(m, -1)
            inner += (1 if i == j else 2) * (flat @ flat.T)
            rows[:, i : i + tile] += block.sum(axis=2)
            if i != j:
                rows[:, j : j + tile] += block.sum(axis=1)
        return inner, rows

    inner, rows = np.zeros((m, m)), np.zeros((m, n))
    with ThreadPoolExecutor(available_threads()) as pool:
        for part_inner, part_rows in pool.map(block_row, starts):
            inner += part_inner
            rows += part_rows
    return inner, rows


def row_shift(x: Array, case: Case) -> Float64:
    """a (n,): the mean of each row of K over a few of its columns, so that little is left to cancel."""
    some = x[:: max(1, len(x) // 64)]
    near = kernel_tiles.kernel_tile(x, some, case).mean(axis=1)
    shift: Float64 = near - kernel_tiles.kernel_tile(some, some, case).mean() / 2
    return shift


def feature_sums(arrays: Arrays) -> tuple[Float64, Float64]:
    """The same sums for the linear kernel, from d×d products: ⟨K_p, K_q⟩ = ‖X_p'X_q‖²."""
    xs = [x.astype(np.float64) for x in arrays]
    xs = [x - x.mean(axis=0) for x in xs]
    diagonal: Float64 = np.stack([np.einsum("ij,ij->i", x, x) for x in xs])  # (m, n)
    gram = np.array([[np.sum((x.T @ y) ** 2) for y in xs] for x in xs])
    rows = np.stack([x @ x.sum(axis=0) for x in xs]) - diagonal
    return gram - diagonal @ diagonal.T, rows


def reference(arrays: Arrays, case: Case) -> Answer:
    if case.measure == "mutual_knn":
        return nearest.reference(arrays, case)
    sums = feature_sums(arrays) if in_feature_space(case) else tile_sums(arrays, case)
    return answer(unbiased_hsic(*sums), case)


def cached_reference(arrays: Arrays, case: Case, folder: Path) -> Answer:
    """From the folder if the same bytes, kernel and source were there before."""
    key = hashlib.blake2b(digest_size=8)
    for x in arrays:
        key.update(np.ascontiguousarray(x).data)
    key.update(repr((case.kernel, case.measure, case.m, kernel_parameters(case))).encode())
    key.update((Path(__file__).read_text() + inspect.getsource(kernel_tiles) + inspect.getsource(nearest)).encode())
    path = folder / f"{case.name}-{key.hexdigest()}.json"
    if path.exists():
        value = json.loads(path.read_text())
        return np.array(value) if isinstance(value, list) else float(value)
    value = reference(arrays, case)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(value)))
    return value


def plain(value: Answer) -> float | list[list[float]]:
    return value.tolist() if isinstance(value, np.ndarray) else float(value)


def largest_error(value: Answer, want: Answer) -> float:
    """inf for a value that is not a number or has another shape."""
    got, wanted = np.asarray(value, dtype=np.float64), np.asarray(want)
    if got.shape != wanted.shape:
        return math.inf
    error = np.max(np.abs(got - wanted))
    return float(error) if np.isfinite(error) else math.inf
