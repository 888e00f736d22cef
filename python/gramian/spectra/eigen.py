"""Eigenpairs and resolvents of kernel matrices that are never stored.

A kernel that is not linear is known by its products with blocks of vectors (`KernelMatrix.multiply`, one sweep over the
tiles for 64 of them). One block Krylov basis gives the rest: eigenpairs as its Ritz pairs, and solutions of
(K/n + λ)x = b by Galerkin's condition for any number of λ at once. Linear and cosine kernels of more rows than features
are solved from the d×d triangle of their features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.kernels import Cosine, Kernel, Linear
from gramian.progress import Progress, at_least, expect, phase
from gramian.rows.arrays import Matrix
from gramian.sweeps import factor, gram
from gramian.sweeps.centred import CentredFeatures, blocks, centre
from gramian.sweeps.products import multiply_centred
from gramian.sweeps.represent import Precision, Representation, represent, widened

Array: TypeAlias = npt.NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
TOGETHER = 64  # vectors of one sweep
_NOTHING = 1 << 62  # shards: the first of so many owns no tile
_LANES = 16  # vectors of a sweep are a multiple of it anyway
_SPARE = 8  # vectors of a block beyond the eigenpairs asked for
_BLOCKS = 8  # of a basis before it is cut back to its best Ritz vectors
EXPECTED = 7  # sweeps, about
_AHEAD = 4  # products at least, of which one is the next: none takes more than its part of what is left of the bar
STUCK = 8  # blocks without progress before giving up
_BUDGET = 256 << 20  # bytes that a d×d triangle may take without being asked
_LOPSIDED = 1e-8  # ratio of eigenvalues: from there on eigenvectors are off by 1e4 roundings


# ---- products --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class KernelMatrix:
    """K, or K̄ = HKH, by its products; in units of 2^exponent."""

    x: Representation  # with its shift
    shift: Array  # (n,) s in K = K' + s_i + s_j
    trace: float
    exponent: int
    single: bool  # tiles in float32
    rounding: float  # of its eigenvalues over n, roughly
    centered: bool
    precision: Precision
    memory: int | None
    progress: Progress | None

    @property
    def n(self) -> int:
        return self.x.n

    def multiply(self, vectors: Array) -> Array:
        """(n, k) K·V; one sweep for each 64 vectors."""
        at_least(self.progress, _AHEAD)
        told = phase(self.progress, "product", numbered=True)
        v = vectors - vectors.mean(axis=0) if self.centered else vectors
        product = multiply_centred(self.x, v, precision=self.precision, memory=self.memory, progress=told)
        if self.centered:
            return cast("Array", product - product.mean(axis=0))
        return cast("Array", product + np.multiply.outer(self.shift, v.sum(axis=0)) + self.shift @ v)


def kernel_matrix(
    x: Matrix,
    kernel: Kernel | str,
    *,
    centered: bool,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
    wide: bool = False,
) -> KernelMatrix:
    """Rows with a kernel, shifted by landmarks; if centred, by the exact row means, which take a sweep of their own.

    In float64 tiles if wide, whatever the rows are.
    """
    expect(progress, EXPECTED)
    found = represent(kernel, x)
    found = widened(found) if wide else found
    if centered:
        told = phase(progress, "row means")
        g = gram.stable_moments([found], precision=precision, memory=memory, progress=told)
        by = gram.half_offsets(g, hollow=False)
        trace = float(g.statistics().trace[0])
    else:
        g = gram.sweep_moments([found], shard=(0, _NOTHING), precision=precision, memory=memory)
        by = np.zeros((1, x.n))
        trace = float((g.scaled_diagonal + 2 * g.scaled_shift).sum())
    (shifted,) = gram.shifted(gram.as_swept([found], g), gram.moved_shift(g, by), g.base)
    return KernelMatrix(
        shifted,
        g.scaled_shift[0] + by[0],
        trace,
        int(g.exponent[0]),
        single=g.eps > 2 * EPS,
        # values are at most about 1; a matrix of n² independent errors of size ε has the norm 2ε√n
        rounding=2 * max(1.0, float(g.rounding[0])) * g.eps / math.sqrt(x.n),
        centered=centered,
        precision=precision,
        memory=memory,
        progress=phase(progress, "", EXPECTED - centered),
    )


# ---- a block Krylov basis --------------------------------------------------------------------------------------------


class Krylov:
    """Orthonormal Q (n, m) that grows by blocks, and A·Q/n with it; full reorthogonalisation."""

    def __init__(self, a: KernelMatrix, start: Array, seed: int) -> None:
        self.a = a
        self._rng = np.random.default_rng([seed, 1])
        self._q, self._aq = (np.empty((a.n, 4 * start.shape[1]), order="F") for _ in range(2))
        self._t = np.empty((0, 0))  # Q'AQ/n
        self.width = 0
        self.size = 0.0  # of A/n, from its products
        self.sweeps = 0
        self.block = start.shape[1]
        self._next = self._orthonormal(start)

    @property
    def q(self) -> Array:
        return self._q[:, : self.width]

    @property
    def aq(self) -> Array:
        return self._aq[:, : self.width]

    @property
    def complete(self) -> bool:
        """Whether nothing is left outside of the basis."""
        return self.width >= self.a.n - self.a.centered or self._next.shape[1] == 0

    def grow(self) -> None:
        """One block more: ceil(block/64) sweeps."""
        new = self._next
        product = self.a.multiply(new) / self.a.n
        self.sweeps += -(-new.shape[1] // TOGETHER)
        span = slice(self.width, self.width + new.shape[1])
        if span.stop > self._q.shape[1]:
            self._q, self._aq = _wider(self.q), _wider(self.aq)
        self._q[:, span], self._aq[:, span] = new, product
        column = self._q[:, : span.stop].T @ product
        corner = column[span]
        self._t = np.block([[self._t, column[: span.start]], [column[: span.start].T, (corner + corner.T) / 2]])
        self.width = span.stop
        self.size = max(self.size, float(np.sqrt((product * product).sum(axis=0).max())))
        self._next = self._orthonormal(product)

    def ritz(self) -> tuple[Array, Array]:
        """Ritz values and their vectors (m, m) in the basis, the largest in size first."""
        values, vectors = np.linalg.eigh(self._t)
        order = np.argsort(-np.abs(values), kind="stable")
        return values[order], vectors[:, order]

    def restart(self, vectors: Array) -> None:
        """Keep these combinations of the basis alone."""
        self._q[:, : vectors.shape[1]], self._aq[:, : vectors.shape[1]] = self.q @ vectors, self.aq @ vectors
        self._t = vectors.T @ self._t @ vectors
        self.width = vectors.shape[1]

    def _orthonormal(self, block: Array) -> Array:
        """What the block adds to the basis; random vectors in place of what it lacks, as long as there is room."""
        room = min(self.block, self.a.n - int(self.a.centered) - self.width)
        found = self._independent(block, EPS * self.size)[:, :room]
        while found.shape[1] < room:
            more = self._rng.standard_normal((self.a.n, room - found.shape[1]))
            both = np.hstack([found, more - more.mean(axis=0) if self.a.centered else more])
            found = self._independent(both, 0.0)[:, :room]
        return found

    def _independent(self, block: Array, least: float) -> Array:
        for _ in range(2):
            block = block - self.q @ (self.q.T @ block)
        q, r = np.linalg.qr(block)
        u, s, _ = np.linalg.svd(r)
        keep = s > max(least, EPS * max(block.shape) * float(s.max(initial=0.0)))
        found = q @ u[:, keep]
        found -= self.q @ (self.q.T @ found)
        return cast("Array", np.linalg.qr(found)[0])


def _wider(columns: Array) -> Array:
    """The same columns with room for as many more."""
    out = np.empty((columns.shape[0], 2 * columns.shape[1]), order="F")
    out[:, : columns.shape[1]] = columns
    return out


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """The first eigenpairs of A/n and the value after them, in scaled units."""

    values: Array  # (k,)
    vectors: Array  # (n, k) of norm 1
    residuals: Array  # (k,)
    following: float  # eigenvalue k + 1; nan if there is none
    sweeps: int
    converged: bool


def eigenpairs(a: KernelMatrix, k: int, tolerance: float, seed: int, most_sweeps: int) -> Eigenpairs:
    """Restarted block Lanczos from a random block."""
    n = a.n
    wanted = min(k + 1, n - int(a.centered))
    block = min(n, _LANES * -(-(k + _SPARE) // _LANES))
    start = np.random.default_rng([seed, 0]).standard_normal((n, block))
    if a.centered:
        start -= start.mean(axis=0)
    capacity = _BLOCKS * block
    basis = Krylov(a, start, seed)
    best, stuck = math.inf, 0
    while True:
        basis.grow()
        values, y = basis.ritz()
        values, first = values[:wanted], y[:, :wanted]
        vectors = basis.q @ first
        residuals = np.sqrt(((basis.aq @ first - vectors * values) ** 2).sum(axis=0))
        worst = float(residuals.max(initial=0.0))
        done = len(values) == wanted and worst <= tolerance * abs(float(values[0]))
        best, stuck = (worst, 0) if worst < best / 2 else (best, stuck + 1)
        if done or basis.complete or basis.sweeps >= most_sweeps or stuck > STUCK:
            break
        if basis.width + block > capacity:
            basis.restart(y[:, : wanted + block // 2])
    following = float(values[k]) if len(values) > k else math.nan
    return Eigenpairs(values[:k], vectors[:, :k], residuals[:k], following, basis.sweeps, done or basis.complete)


# ---- linear kernels: d×d triangles -----------------------------------------------------------------------------------


def by_features(x: Matrix, kernel: Kernel, memory: int | None) -> bool:
    """Whether a d×d triangle holds the whole spectrum, and fits."""
    return isinstance(kernel, Linear | Cosine) and x.n > x.d and 8 * x.d**2 <= max(_BUDGET, memory or 0)


@dataclass(frozen=True, eq=False)
class Features:
    """Eigenvalues η of Σ = X'X/n, which are those of K/n, and what makes eigenvectors; in units of 2^exponent.

    From the singular values s of the triangle of X, η = s²/n: features of condition number κ lose κ and not κ².
    """

    rows: CentredFeatures
    centered: bool
    values: Array  # (r,) above the rounding of float64, largest first
    weights: Array  # (d, r) that make eigenvectors of K of the rows
    errors: Array  # (r,) bounds on what η is off by
    meant: npt.NDArray[np.bool_]  # (r,) whether it is more than what the features were rounded by when they were stored
    rounding: float  # the least eigenvalue that would be more than rounding of float64
    trace: float

    @staticmethod
    def of(x: Matrix, kernel: Kernel, *, centered: bool, progress: Progress | None = None) -> Features:
        rows = centre(x, kernel)
        rows = rows if centered else replace(rows, mean=np.zeros(x.d))
        found = factor.triangle([rows], progress)
        kept = found.rows
        u, s, vt = factor.svd(kept)
        floor = max(x.n, x.d) * EPS
        r = int((s > floor * s[0]).sum())
        u, s, v = u[:, :r], s[:r], vt[:r].T
        meant = np.ones(r, dtype=bool)
        if found.rounding.any():
            # rounding of a large column may be more than all of a small one: it is not the least that goes
            told = factor.stored_basis(found.rows, floor, found.rounding, x.n)
            meant = factor.norms(told.u.T @ u) ** 2 > 0.5
        left = np.hypot(factor.norms(kept @ v - u * s), factor.norms(kept.T @ u - v * s))
        # there is a singular value of what is kept within that of s, and within the rounding of the QR factorisation
        off = left + x.d * EPS * s.max(initial=0.0)
        return Features(
            rows,
            centered,
            values=s**2 / x.n,
            weights=v / s,
            errors=2 * s * off / x.n,
            meant=meant,
            rounding=(floor * float(s.max(initial=0.0))) ** 2 / x.n,
            trace=float(np.vdot(found.rows, found.rows)) / x.n,
        )

    @property
    def n(self) -> int:
        return self.rows.x.n

    @property
    def exponent(self) -> int:
        return self.rows.exponent

    @property
    def lopsided(self) -> bool:
        """Whether products with the features leave eigenvectors of small eigenvalues too far from right."""
        return bool(len(self.values) and self.values[-1] < _LOPSIDED * self.values[0])

    def projected(self, which: npt.NDArray[np.intp]) -> Array:
        """(n, k) eigenvectors of K, of norm 1, each off by eps times the root of the largest eigenvalue over its own.

        They are off along those of the larger eigenvalues, to which `orthonormal` makes them orthogonal.
        """
        out = np.empty((self.n, len(which)))
        weights = self.weights[:, which]
        for a, b in blocks(self.n, [self.rows.x.d]):
            out[a:b] = (self.rows.raw(a, b) - self.rows.mean) @ weights
        # far from 0 the mean itself is rounded, by as much as that is
        return out - out.mean(axis=0) if self.centered else out

    def hidden(self, k: int) -> int:
        """How many that stored rounding alone would give are larger than some of the first k that it would not."""
        meant = np.flatnonzero(self.meant)[:k]
        return int((~self.meant[: meant[-1] if len(meant) else None]).sum())

    def pairs(self, k: int) -> Eigenpairs:
        """The first k that are more than stored rounding, or as many as there are."""
        found = np.flatnonzero(self.meant)
        following = float(self.values[found[k]]) if len(found) > k else math.nan
        found = found[:k]
        vectors = orthonormal(self.projected(found))
        return Eigenpairs(self.values[found], vectors, self.errors[found], following, 0, True)


def orthonormal(columns: Array) -> Array:
    """Columns that are so up to a small part, each made orthogonal to those before it, by Cholesky's factorisation."""
    made: Array = columns @ np.linalg.inv(np.linalg.cholesky(columns.T @ columns)).T
    return made
