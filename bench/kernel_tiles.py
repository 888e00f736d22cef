"""k(x_i, y_j) of a block of rows, as written in the definitions, in the dtype of its arguments. NumPy only."""

from collections.abc import Callable

import numpy as np

from .cases import Array, Case, kernel_parameters


def squared_distances(x: Array, y: Array) -> Array:
    tile = linear(x, y)
    tile *= -2
    tile += np.einsum("ij,ij->i", x, x)[:, None]
    tile += np.einsum("ij,ij->i", y, y)[None, :]
    np.maximum(tile, 0, out=tile)
    return tile


def linear(x: Array, y: Array) -> Array:
    tile: Array = x @ y.T
    return tile


def cosine(x: Array, y: Array) -> Array:
    return linear(x / np.linalg.norm(x, axis=1, keepdims=True), y / np.linalg.norm(y, axis=1, keepdims=True))


def polynomial(x: Array, y: Array) -> Array:
    tile = linear(x, y)
    tile /= x.shape[1]
    tile += 1
    tile *= tile
    return tile


def rbf(x: Array, y: Array, *, bandwidth: float) -> Array:
    tile = squared_distances(x, y)
    tile *= -0.5 / bandwidth**2
    return np.exp(tile, out=tile)


def exponential(x: Array, y: Array, *, bandwidth: float) -> Array:
    tile = squared_distances(x, y)
    np.sqrt(tile, out=tile)
    tile *= -1 / bandwidth
    return np.exp(tile, out=tile)


def laplacian(x: Array, y: Array, *, bandwidth: float) -> Array:
    tile = np.zeros((len(x), len(y)), dtype=x.dtype)
    difference = np.empty_like(tile)
    for a, b in zip(x.T, y.T, strict=True):
        np.subtract.outer(a, b, out=difference)
        tile += np.abs(difference, out=difference)
    tile *= -1 / bandwidth
    return np.exp(tile, out=tile)


def rational_quadratic(x: Array, y: Array, *, bandwidth: float) -> Array:
    tile = squared_distances(x, y)
    tile *= 0.5 / bandwidth**2
    tile += 1
    return np.reciprocal(tile, out=tile)


def arc_cosine(x: Array, y: Array) -> Array:
    cos = np.clip(cosine(x, y), -1, 1)
    theta = np.arccos(cos)
    tile: Array = np.sin(theta) + (np.pi - theta) * cos
    tile *= np.linalg.norm(x, axis=1)[:, None] / np.pi
    tile *= np.linalg.norm(y, axis=1)[None, :]
    return tile


def distance(x: Array, y: Array) -> Array:
    tile = squared_distances(x, y)
    np.sqrt(tile, out=tile)
    np.subtract(np.linalg.norm(x, axis=1)[:, None], tile, out=tile)
    tile += np.linalg.norm(y, axis=1)[None, :]
    tile /= 2
    return tile


TILES: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (linear, cosine, polynomial, rbf, exponential, laplacian, rational_quadratic, arc_cosine, distance)
}


def kernel_tile(x: Array, y: Array, case: Case) -> Array:
    """(len(x), len(y)); a row that meets itself is right to rounding only, and every caller drops the diagonal."""
    return TILES[case.kernel](x, y, **kernel_parameters(case))
