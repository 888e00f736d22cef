"""The largest singular value of a matrix: from above with a certificate, and from below.

Small matrices take LAPACK's SVD, which Ctrl-C cannot interrupt. That of a large one would last for minutes; here it is
work in pieces of a fraction of a second.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_BY_SVD = 5e8  # longer side times the square of the shorter, up to which an SVD takes about half a second
_ROWS, _COLUMNS = 8192, 512  # of a piece
_MARGIN = 1e-8  # by which the first square tried is above what iteration finds
_RESIDUAL = 1e-8  # at which the iteration stops


def from_above(w: Array) -> float:
    """No less than ‖W‖₂ in exact arithmetic, and at most some 1e-7 of it above; entries of W are near 1 or below.

    For m×n matrices, n ≤ m, that are large: if the Cholesky factorisation of s·I − G runs to its end, G = W'W as
    computed, then no eigenvalue of G is above s + γ_{n+1}·n·s, and ‖W‖² is within γ_m·‖W‖_F² of G's largest eigenvalue
    (γ_k = ku/(1 − ku); Higham 2002, 3.5 and 10.3; Rump 2006). Twice that is added. Where it does not run to its end,
    s was too small, and a larger one is tried.
    """
    if small(w):
        rounding: float = 64 * _EPS * max(w.shape)
        return float(np.linalg.svd(w, compute_uv=False)[0]) * (1 + rounding)
    tall = w if w.shape[0] >= w.shape[1] else w.T
    m, n = tall.shape
    g = _gram(tall)
    frobenius = float(np.trace(g)) * (1 + (m + n) * _EPS)
    near, margin = max(_largest_eigenvalue(g), float(np.diag(g).max())), _MARGIN
    while not _definite(g, square := near * (1 + margin)):
        margin *= 10
    above = square * (1 + n * (n + 3) * _EPS) + (m + 3) * _EPS * frobenius
    return math.sqrt(above) * (1 + 4 * _EPS)


def from_below(w: Array) -> float:
    """At most ‖W‖₂ but for rounding, and seldom less."""
    if small(w):
        return float(np.linalg.norm(w, 2))
    exponent = math.frexp(float(np.abs(w).max()))[1]
    scaled = np.ldexp(w, -exponent)  # squares stay in range
    g = _gram(scaled if w.shape[0] >= w.shape[1] else scaled.T)
    return math.ldexp(math.sqrt(max(_largest_eigenvalue(g), float(np.diag(g).max()))), exponent)


def small(w: Array) -> bool:
    """Whether LAPACK's SVD is quick."""
    return bool(max(w.shape) * min(w.shape) ** 2 <= _BY_SVD)


def _gram(a: Array) -> Array:
    """A'A, piece by piece."""
    m, n = a.shape
    g = np.zeros((n, n))
    for row in range(0, m, _ROWS):
        part = a[row : row + _ROWS]
        for i in range(0, n, _COLUMNS):
            for j in range(0, i + 1, _COLUMNS):
                g[i : i + _COLUMNS, j : j + _COLUMNS] += part[:, i : i + _COLUMNS].T @ part[:, j : j + _COLUMNS]
    for i in range(0, n, _COLUMNS):
        g[:i, i : i + _COLUMNS] = g[i : i + _COLUMNS, :i].T
    return g


def _largest_eigenvalue(g: Array) -> float:
    """Of G, or a Rayleigh quotient that is near it; 0 where the iteration finds none."""
    if len(g) <= _COLUMNS:
        return float(np.linalg.eigvalsh(g)[-1])
    from scipy.sparse.linalg import ArpackError, eigsh

    start = np.random.default_rng(0).standard_normal(len(g))
    try:
        v = eigsh(g, k=1, which="LA", v0=start, tol=_RESIDUAL, maxiter=100)[1][:, 0]
    except ArpackError:  # it starts within an eigenspace, or takes too long
        return 0.0
    return float(v @ (g @ v) / (v @ v))


def _definite(g: Array, square: float) -> bool:
    """Whether the Cholesky factorisation of square·I − G runs to its end."""
    from scipy.linalg import solve_triangular

    n = len(g)
    factor = np.zeros_like(g)
    for k in range(0, n, _COLUMNS):
        stop = min(n, k + _COLUMNS)
        across = factor[k:stop, :k]
        for row in range(k, n, _COLUMNS):
            rows = slice(row, min(n, row + _COLUMNS))
            left = -g[rows, k:stop]
            if row == k:
                np.fill_diagonal(left, square - np.diag(g)[k:stop])
            left -= factor[rows, :k] @ across.T
            if row > k:
                factor[rows, k:stop] = solve_triangular(
                    factor[k:stop, k:stop], left.T, lower=True, check_finite=False
                ).T
                continue
            try:
                factor[rows, k:stop] = np.linalg.cholesky(left)
            except np.linalg.LinAlgError:
                return False
    return True
