"""Spectra of kernel matrices that are never stored: eigenpairs, resolvents, and what is learnt from them.

A kernel that is not linear is known by its products with blocks of vectors (`KernelMatrix.multiply`, one sweep over the
tiles for 64 of them). One block Krylov basis gives the rest: eigenpairs as its Ritz pairs, and solutions of
(K/n + λ)x = b by Galerkin's condition for any number of λ at once. Linear and cosine kernels of more rows than features
are solved from d×d moments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian import estimators, gram, moments, routes
from gramian.arrays import Matrix, check_budget, check_count, check_seed, one_of, require_rows
from gramian.gram import Precision, Progress, Representation
from gramian.kernels import Cosine, Kernel, Linear
from gramian.routes import Paired
from gramian.sources import matrix

Array: TypeAlias = npt.NDArray[np.float64]

_NOTHING = 1 << 62  # shards: the first of so many owns no tile
_TOGETHER = 64  # vectors of one sweep
_LANES = 16  # vectors of a sweep are a multiple of it anyway
_SPARE = 8  # vectors of a block beyond the eigenpairs asked for
_BLOCKS = 8  # of a basis before it is cut back to its best Ritz vectors
_SWEEPS = 200
_STUCK = 8  # blocks without progress before giving up
_TOLERANCE = {True: 1e-7, False: 1e-10}  # residuals as a part of the largest eigenvalue; of float32 and float64 tiles
_SOLVED = {True: 1e-3, False: 1e-6}  # residuals of linear systems as a part of their right-hand sides
_EXACT = 512  # rows up to which a trace is exact
_LARGEST_BASIS = 2048  # columns of a basis that solves
_BUDGET = 256 << 20  # bytes that d×d moments may take without being asked
_EPS = float(np.finfo(np.float64).eps)


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
        v = vectors - vectors.mean(axis=0) if self.centered else vectors
        product = gram.multiply_centred(self.x, v, precision=self.precision, memory=self.memory, progress=self.progress)
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
) -> KernelMatrix:
    """Rows with a kernel, shifted by landmarks; if centred, by the exact row means, which take a sweep of their own."""
    found = gram.represent(kernel, x)
    if centered:
        g = gram.stable_moments([found], precision=precision, memory=memory)
        shift = g.scaled_shift + gram.half_offsets(g, hollow=False)
        trace = float(estimators.gram_statistics(g).trace[0])
    else:
        g = gram.sweep_moments([found], shard=(0, _NOTHING), precision=precision, memory=memory)
        shift = g.scaled_shift
        trace = float((g.scaled_diagonal + 2 * shift).sum())
    (shifted,) = gram.shifted([found], shift, g.base)
    return KernelMatrix(
        shifted,
        shift[0],
        trace,
        int(g.exponent[0]),
        single=g.eps > 2 * _EPS,
        # values are at most about 1; a matrix of n² independent errors of size ε has the norm 2ε√n
        rounding=2 * max(1.0, float(g.rounding[0])) * g.eps / math.sqrt(x.n),
        centered=centered,
        precision=precision,
        memory=memory,
        progress=progress,
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
        self.sweeps += -(-new.shape[1] // _TOGETHER)
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
        found = self._independent(block, _EPS * self.size)[:, :room]
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
        keep = s > max(least, _EPS * max(block.shape) * float(s.max(initial=0.0)))
        found = q @ u[:, keep]
        found -= self.q @ (self.q.T @ found)
        return cast("Array", np.linalg.qr(found)[0])


def _wider(columns: Array) -> Array:
    """The same columns with room for as many more."""
    out = np.empty((columns.shape[0], 2 * columns.shape[1]), order="F")
    out[:, : columns.shape[1]] = columns
    return out


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The first eigenpairs of A/n and the value after them, in scaled units."""

    values: Array  # (k,)
    vectors: Array  # (n, k) of norm 1
    residuals: Array  # (k,)
    following: float  # eigenvalue k + 1; nan if there is none
    sweeps: int
    converged: bool


def _eigenpairs(a: KernelMatrix, k: int, tolerance: float, seed: int, most_sweeps: int) -> _Pairs:
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
        if done or basis.complete or basis.sweeps >= most_sweeps or stuck > _STUCK:
            break
        if basis.width + block > capacity:
            basis.restart(y[:, : wanted + block // 2])
    following = float(values[k]) if len(values) > k else math.nan
    return _Pairs(values[:k], vectors[:, :k], residuals[:k], following, basis.sweeps, done or basis.complete)


# ---- spectra ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The leading eigenvalues and eigenfunctions of K/n, the empirical integral operator, largest in size first."""

    eigenvalues: Array  # (k,) of K/n
    eigenfunctions: Array  # (n, k), mean square 1, orthogonal
    residuals: Array  # (k,) ‖Kv/n − ηv‖ for v of norm 1
    following: float  # eigenvalue k + 1, as far as it is known; nan if there is none
    trace: float  # tr K/n, the sum of all eigenvalues
    tolerance: float  # residuals asked for, as a part of the largest eigenvalue
    n: int
    kernel: Kernel  # bandwidth resolved
    centered: bool
    sweeps: int  # over the pairs of rows; 0 if moments of features were enough
    converged: bool  # whether residuals are within the tolerance
    reason: str | None  # what is to be known before it is used

    @property
    def k(self) -> int:
        """Number of eigenpairs."""
        return len(self.eigenvalues)

    @property
    def explained(self) -> Array:
        """(k,) Part of the trace that the first 1, 2, ... eigenvalues make up."""
        return cast("Array", np.cumsum(self.eigenvalues) / self.trace if self.trace else np.full(self.k, np.nan))

    @property
    def rank(self) -> int:
        """How many of the eigenvalues differ from 0 by more than their residual and rounding."""
        return _rank(self.eigenvalues, self.residuals, self.n)

    @property
    def splits_eigenspace(self) -> bool:
        """Whether eigenvalue k + 1 cannot be told from eigenvalue k: the last eigenfunctions are then arbitrary."""
        return _splits(self.eigenvalues, self.residuals, self.following, self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; without the eigenfunctions."""
        return {
            "n": self.n,
            "kernel": repr(self.kernel),
            "centered": self.centered,
            "eigenvalues": self.eigenvalues.tolist(),
            "explained": self.explained.tolist(),
            "residuals": self.residuals.tolist(),
            "following": self.following,
            "trace": self.trace,
            "sweeps": self.sweeps,
            "reason": self.reason,
        }

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.eigenvalues[:5])
        more = ", ..." if self.k > 5 else ""
        why = f"; {self.reason}" if self.reason else ""
        return f"Spectrum([{shown}{more}], k = {self.k}, n = {self.n}, {self.kernel}{why})"


def _rank(values: Array, residuals: Array, n: int) -> int:
    size = np.abs(values)
    return int((size > np.maximum(residuals, n * _EPS * size.max(initial=0.0))).sum())


def _splits(values: Array, residuals: Array, following: float, tolerance: float) -> bool:
    if not len(values) or math.isnan(following):
        return False
    gap = abs(float(values[-1])) - abs(following)
    return gap <= max(2 * float(residuals[-1]), tolerance * abs(float(values[0])))


def spectrum(
    X: object,
    kernel: Kernel | str = "rbf",
    k: int = 10,
    *,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = _SWEEPS,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Spectrum:
    """The k leading eigenvalues of K/n and their eigenfunctions, without K.

    K φ/n = η φ with (1/n)Σφ² = 1: what the eigenvalues and eigenfunctions of the integral operator of the kernel are
    estimated by.

    Parameters
    ----------
    X : array of shape (n, p)
    kernel : kernel or its name
    k : int
        How many; at most n. Fewer come back from a linear or cosine kernel of lower rank.
    centered : bool
        Of HKH in place of K.
    tolerance : float, optional
        Residuals ‖Kv/n − ηv‖ to reach, as a part of the largest eigenvalue; 1e-10 for float64 and 1e-7 for other data
        when left out. Every eigenvalue is within its residual of one of K/n.
    sweeps : int
        The most sweeps over the pairs of rows.
    seed : int
        Of the random block that the iteration starts from.
    precision, memory, progress
        As in `gramian.kernel_alignment`. progress is called for each sweep.

    Returns
    -------
    Spectrum
        ``eigenvalues`` (k,), the largest in size first, which is the largest first for the kernels here (all positive
        semidefinite but `Polynomial` with a negative offset, whose eigenvalues keep their signs). ``eigenfunctions``
        (n, k), the entry largest in size positive. ``reason`` says so if the tolerance was not reached, or if
        eigenvalue k + 1 equals eigenvalue k, so that the last eigenspace is cut in an arbitrary way.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.
    RuntimeError
        CUDA, with the call and the device's message.

    Notes
    -----
    Block Lanczos with full reorthogonalisation; each step is a sweep of O(n²(p + k)) time, on the CPU or the device
    where X lies; some 3 to 10 of them where eigenvalues fall off quickly. O(nk) memory, about 16·n·8·(k + 16) bytes.
    Linear and cosine kernels with n > p: from the p×p moments, exactly, O(np²). Source: Theory, 7.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> t = 2 * np.pi * np.arange(100)[:, None] / 100
    >>> found = gm.spectrum(np.hstack([np.cos(t), np.sin(t)]), gm.ArcCosine(1), 3)
    >>> np.round(found.eigenvalues, 4).tolist()  # 4/π² and, twice, 1/4
    [0.4053, 0.25, 0.25]
    """
    _check(tolerance, seed, precision, memory, progress)
    check_count(sweeps, "sweeps")
    x = matrix(X, "X")
    require_rows(x.n, 2, "spectrum")
    _check_k(k, x.n)
    return _spectrum(
        x,
        kernel,
        int(k),
        centered=bool(centered),
        tolerance=tolerance,
        sweeps=int(sweeps),
        seed=int(seed),
        precision=precision,
        memory=memory,
        progress=progress,
    )


def _check(tolerance: object, seed: object, precision: str, memory: object, progress: object) -> None:
    if tolerance is not None and (
        isinstance(tolerance, bool) or not isinstance(tolerance, int | float | np.number) or not 0 < tolerance < 1
    ):
        raise ValueError(f"tolerance must be a number between 0 and 1, got {tolerance!r}")
    check_seed(seed)
    one_of(precision, get_args(Precision), "precision")
    check_budget(memory, progress)


def _check_k(k: object, n: int) -> None:
    check_count(k, "k")
    if int(cast("int", k)) > n:
        raise ValueError(f"k must be at most the number of rows, {n}, got {k}")


def _spectrum(
    x: Matrix,
    kernel: Kernel | str,
    k: int,
    *,
    centered: bool,
    tolerance: float | None,
    sweeps: int,
    seed: int,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
) -> Spectrum:
    """`spectrum` behind the gate."""
    found = gram.represent(kernel, x).kernel
    if _by_features(x, found, memory):
        features = Features.of(x, found, centered=centered)
        pairs, exponent, trace = features.pairs(k), features.exponent, features.trace
        accuracy = tolerance or _TOLERANCE[False]
    else:
        a = kernel_matrix(x, found, centered=centered, precision=precision, memory=memory, progress=progress)
        accuracy = tolerance or _TOLERANCE[a.single]
        pairs = _eigenpairs(a, k, accuracy, seed, sweeps)
        exponent, trace = a.exponent, a.trace / a.n
    largest = np.abs(pairs.vectors).argmax(axis=0)
    signs = np.where(pairs.vectors[largest, np.arange(pairs.vectors.shape[1])] < 0, -1.0, 1.0)
    reason, found_k = None, len(pairs.values)
    if not pairs.converged:
        reason = (
            f"residuals are up to {pairs.residuals.max():.1e} of eigenvalues up to {np.abs(pairs.values).max():.1e} "
            f"after {pairs.sweeps} sweeps, more than the tolerance {accuracy:.0e}"
        )
    elif (rank := _rank(pairs.values, pairs.residuals, x.n)) < k:
        rest = "; the other eigenfunctions are arbitrary" if rank < found_k else ""
        reason = f"only {rank} eigenvalues differ from 0 by more than their residuals{rest}"
    elif _splits(pairs.values, pairs.residuals, pairs.following, accuracy):
        reason = f"eigenvalues {k} and {k + 1} cannot be told apart: the last eigenspace is cut; choose another k"
    return Spectrum(
        eigenvalues=np.ldexp(pairs.values, exponent),
        eigenfunctions=pairs.vectors * (signs * math.sqrt(x.n)),
        residuals=np.ldexp(pairs.residuals, exponent),
        following=estimators.scaled(pairs.following, exponent),
        trace=estimators.scaled(trace, exponent),
        tolerance=accuracy,
        n=x.n,
        kernel=found,
        centered=centered,
        sweeps=pairs.sweeps,
        converged=pairs.converged,
        reason=reason,
    )


# ---- linear kernels: d×d moments -------------------------------------------------------------------------------------


def _by_features(x: Matrix, kernel: Kernel, memory: int | None) -> bool:
    """Whether d×d moments hold the whole spectrum, and fit."""
    return isinstance(kernel, Linear | Cosine) and x.n > x.d and 8 * x.d**2 <= max(_BUDGET, memory or 0)


@dataclass(frozen=True, eq=False)
class Features:
    """Eigenvalues η and directions of Σ = X'X/n, which are those of K/n; in units of 2^exponent."""

    rows: moments.CentredFeatures
    centered: bool
    values: Array  # (r,) above rounding, largest first
    directions: Array  # (d, r)
    errors: Array  # (r,) ‖Kv/n − ηv‖
    trace: float

    @staticmethod
    def of(x: Matrix, kernel: Kernel, *, centered: bool) -> Features:
        rows = moments.centre(x, kernel)
        rows = rows if centered else replace(rows, mean=np.zeros(x.d))
        second = np.zeros((x.d, x.d))
        for a, b in moments.blocks(x.n, [x.d]):
            block = rows.raw(a, b) - rows.mean
            second += block.T @ block
        second /= x.n
        values, directions = np.linalg.eigh(second)
        values, directions = values[::-1], directions[:, ::-1]
        keep = values > max(x.n, x.d) * _EPS * values[0]
        values, directions = values[keep], directions[:, keep]
        left = second @ directions - directions * values
        errors = np.sqrt(np.maximum(0.0, np.einsum("ij,ij->j", left, second @ left)) / values)
        return Features(rows, centered, values, directions, errors, float(np.trace(second)))

    @property
    def n(self) -> int:
        return self.rows.x.n

    @property
    def exponent(self) -> int:
        return self.rows.exponent

    def projected(self, k: int) -> Array:
        """(n, k) eigenvectors of K, of norm 1."""
        out = np.empty((self.n, min(k, len(self.values))))
        scaled = self.directions[:, :k] / np.sqrt(self.n * self.values[:k])
        for a, b in moments.blocks(self.n, [self.rows.x.d]):
            out[a:b] = (self.rows.raw(a, b) - self.rows.mean) @ scaled
        return out

    def pairs(self, k: int) -> _Pairs:
        """The first k, or as many as there are."""
        following = float(self.values[k]) if len(self.values) > k else math.nan
        return _Pairs(self.values[:k], self.projected(k), self.errors[:k], following, 0, True)


# ---- two spectra -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EigenOverlap:
    """Φ_ij = (1/n)Σ φ_X,i φ_Y,j between the leading eigenfunctions of two kernels, with their eigenvalues.

    Pairs whose eigenvalue is 0 up to its residual have no eigenfunction and are left out.
    """

    overlap: Array  # (k1, k2) Φ
    eigenvalues_x: Array  # (k1,)
    eigenvalues_y: Array  # (k2,)
    n: int
    kernel: tuple[Kernel, Kernel]
    centered: bool
    reason: str | None  # which eigenspace is cut, or not reached

    def family(self, p: float, q: float) -> float:
        """S(p, q) = Σ_ij η_X,i^p η_Y,j^q Φ_ij² (Theory, 7.2).

        (1, 1): the numerator of kernel alignment; (0, 1): how much of Y lies in X's eigenspaces, as stitching from X to
        Y needs it; (0, 0): the sum of squared canonical correlations of the eigenspaces.
        """
        return float(self.eigenvalues_x**p @ self.overlap**2 @ self.eigenvalues_y**q)

    def ridge_family(self, ridge_x: float, ridge_y: float) -> float:
        """S with η/(η + ridge) in place of powers: 1 for eigenvalues far above the ridge, 0 for those far below."""
        if not (ridge_x >= 0 and ridge_y >= 0):
            raise ValueError(f"ridges must not be negative, got {ridge_x} and {ridge_y}")
        x = self.eigenvalues_x / (self.eigenvalues_x + ridge_x)
        y = self.eigenvalues_y / (self.eigenvalues_y + ridge_y)
        return float(x @ self.overlap**2 @ y)

    @property
    def kernel_alignment(self) -> float:
        """S(1, 1)/√(Ση_X²·Ση_Y²): of the kernels that these eigenpairs make up."""
        if not (len(self.eigenvalues_x) and len(self.eigenvalues_y)):
            return math.nan
        scaled = [v / np.abs(v).max() for v in (self.eigenvalues_x, self.eigenvalues_y)]
        x, y = (v / np.sqrt(v @ v) for v in scaled)
        return float(x @ self.overlap**2 @ y)

    @property
    def canonical_correlations(self) -> Array:
        """Singular values of Φ: cosines between the two spans of eigenfunctions."""
        return cast("Array", np.linalg.svd(self.overlap, compute_uv=False))

    @property
    def mean_square_cca(self) -> float:
        """S(0, 0)/min(k1, k2), the mean squared canonical correlation of the eigenspaces."""
        return self.family(0, 0) / min(self.overlap.shape) if self.overlap.size else math.nan

    def __repr__(self) -> str:
        k1, k2 = self.overlap.shape
        why = f"; {self.reason}" if self.reason else ""
        return f"EigenOverlap({k1} by {k2}, KA = {self.kernel_alignment:.4g}, n = {self.n}{why})"


def eigen_overlap(
    X: object,
    Y: object,
    kernel: Kernel | str = "rbf",
    k: int = 10,
    *,
    kernel_y: Kernel | str | None = None,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = _SWEEPS,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> EigenOverlap:
    """How the leading eigenfunctions of two kernels overlap: Φ_ij = (1/n) Σ φ_X,i φ_Y,j.

    Kernel alignment, stitching and CCA are all sums S(p, q) = Σ η_X,i^p η_Y,j^q Φ_ij² over it.

    Parameters
    ----------
    X, Y, kernel, kernel_y
        As in `gramian.kernel_alignment`.
    k : int
        Eigenpairs of each; fewer where a kernel has no more that differ from 0.
    centered, tolerance, sweeps, seed, precision, memory, progress
        As in `gramian.spectrum`.

    Returns
    -------
    EigenOverlap
        ``overlap`` (k1, k2) and both eigenvalues; ``family(p, q)``, ``ridge_family(...)``, ``kernel_alignment``,
        ``canonical_correlations``. Single entries change with the basis inside an eigenspace; these sums do not, as
        long as no eigenspace is cut, which ``reason`` tells.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Costs two spectra. Source: Insulla, Huang, Rosasco 2025; Theory, 7.2.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> found = gm.eigen_overlap(X, X @ np.diag([1.0, 2, 3, 4, 5]), "linear", 5)
    >>> round(found.mean_square_cca, 12)  # the same span
    1.0
    """
    _check(tolerance, seed, precision, memory, progress)
    check_count(sweeps, "sweeps")
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    _check_k(k, pair.n)
    return _overlap(pair, int(k), bool(centered), tolerance, int(sweeps), int(seed))


def _overlap(pair: Paired, k: int, centered: bool, tolerance: float | None, sweeps: int, seed: int) -> EigenOverlap:
    found = [
        _spectrum(
            x,
            kernel,
            k,
            centered=centered,
            tolerance=tolerance,
            sweeps=sweeps,
            seed=seed,
            precision=pair.precision,
            memory=pair.memory,
            progress=pair.progress,
        )
        for x, kernel in zip(pair.matrices, pair.kernels, strict=True)
    ]
    # sorted by size, so that those of rank are the first
    x, y = (s.eigenfunctions[:, : s.rank] for s in found)
    reasons = [
        f"{name}: {s.reason}"
        for s, name in zip(found, ("X", "Y"), strict=True)
        if not s.converged or (s.splits_eigenspace and s.rank == s.k)
    ]
    return EigenOverlap(
        overlap=x.T @ y / pair.n,
        eigenvalues_x=found[0].eigenvalues[: found[0].rank],
        eigenvalues_y=found[1].eigenvalues[: found[1].rank],
        n=pair.n,
        kernel=(found[0].kernel, found[1].kernel),
        centered=centered,
        reason="; ".join(reasons) or None,
    )


@dataclass(frozen=True, eq=False)
class SpectralAlignment:
    """Kernel alignment from k eigenpairs of each kernel, and what they leave out."""

    value: float  # S(1, 1)/√(Ση_X²·Ση_Y²) over the eigenpairs
    full: float  # the same over all n of them: biased KA, or biased CKA of centred kernels
    kept: tuple[float, float]  # part of ‖K‖² that the eigenpairs make up, of X and of Y
    left_out: float  # full − S(1, 1)/(‖K‖‖L‖)·n²: what the pairs of other eigenfunctions add to `full`
    overlap: EigenOverlap

    def __repr__(self) -> str:
        return (
            f"SpectralAlignment({self.value:.4g} from {self.overlap.overlap.shape} eigenpairs, full {self.full:.4g}, "
            f"kept {self.kept[0]:.1%} and {self.kept[1]:.1%})"
        )


def spectral_alignment(
    X: object,
    Y: object,
    kernel: Kernel | str = "rbf",
    k: int = 10,
    *,
    kernel_y: Kernel | str | None = None,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = _SWEEPS,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> SpectralAlignment:
    """Kernel alignment from eigenvalues and overlaps, Σ_ij η_i η_j Φ_ij² / √(Ση_X² Ση_Y²), beside the whole.

    Parameters
    ----------
    X, Y, kernel, kernel_y
        As in `gramian.kernel_alignment`.
    k : int
        Eigenpairs of each.
    centered, tolerance, sweeps, seed, precision, memory, progress
        As in `gramian.spectrum`.

    Returns
    -------
    SpectralAlignment
        ``value`` of the leading parts of both kernels; ``full``, with nothing left out (`gramian.kernel_alignment`, or
        biased `gramian.cka` if centred); ``kept``, the part of the squared norms in the eigenpairs; ``left_out``, what
        all the other eigenfunctions add to ``full``. nan if a kernel matrix is 0.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Two spectra and one sweep of moments. Source: Insulla, Huang, Rosasco 2025; Theory, 7.2.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> found = gm.spectral_alignment(X, np.tanh(X), "linear", 5)
    >>> abs(found.value - gm.kernel_alignment(X, np.tanh(X))) < 1e-12
    True
    """
    _check(tolerance, seed, precision, memory, progress)
    check_count(sweeps, "sweeps")
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    _check_k(k, pair.n)
    found = _overlap(pair, int(k), bool(centered), tolerance, int(sweeps), int(seed))
    s = pair.statistics
    measure: estimators.Measure = "cka" if centered else "kernel_alignment"
    sums = s.matrix(measure, "biased")
    full = estimators.value(s, measure, "biased")[0]
    eigenvalues = [
        np.ldexp(v, -int(e)) for v, e in zip((found.eigenvalues_x, found.eigenvalues_y), s.exponent, strict=True)
    ]
    kept = [float(v @ v) / float(sums[p, p]) if sums[p, p] > 0 else math.nan for p, v in enumerate(eigenvalues)]
    part = math.nan if math.isnan(full) else found.kernel_alignment * math.sqrt(kept[0]) * math.sqrt(kept[1])
    return SpectralAlignment(
        value=math.nan if math.isnan(full) else found.kernel_alignment,
        full=full,
        kept=(kept[0], kept[1]),
        left_out=full - part,
        overlap=found,
    )


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Kare:
    """The kernel alignment risk estimate for each ridge."""

    ridge: Array  # (r,)
    value: Array  # (r,) in units of y²
    se: Array  # (r,) of the random probes of the trace; 0 where it is exact
    degrees: Array  # (r,) tr K(K + nλ)⁻¹, the effective number of parameters
    n: int
    kernel: Kernel
    probes: int | None  # None: the trace is exact
    seed: int | None
    sweeps: int
    reason: str | None  # why a value is nan, or less certain than its standard error says

    @property
    def best(self) -> float:
        """The ridge of the least estimate; nan if there is none."""
        return float(self.ridge[np.nanargmin(self.value)]) if np.isfinite(self.value).any() else math.nan

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{v:.4g} ± {e:.1g} at {r:.3g}" for r, v, e in zip(self.ridge, self.value, self.se, strict=True)
        )
        why = f"; {self.reason}" if self.reason else ""
        return f"Kare({shown}; n = {self.n}, {self.kernel}{why})"


def kare(
    X: object,
    y: object,
    kernel: Kernel | str = "rbf",
    ridge: object = 1e-3,
    *,
    probes: int = 32,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Kare:
    """The kernel alignment risk estimate: what kernel ridge regression of y on X will cost on new samples.

    KARE(λ) = [y'(K/n + λ)⁻²y/n] / [tr(K/n + λ)⁻¹/n]², from the training rows alone; generalised cross-validation of the
    ridge nλ on K. It estimates the mean squared error on new y, noise included.

    Parameters
    ----------
    X : array of shape (n, p)
    y : array of shape (n,) or (n, q)
        Targets; columns are summed.
    kernel : kernel or its name
    ridge : float or sequence of floats
        λ on K/n, positive, in units of K. All of them come from one basis.
    probes : int
        Random ±1 vectors that the trace is estimated by; at least 2.
    seed : int
        Of the probes.
    precision, memory, progress
        As in `gramian.kernel_alignment`.

    Returns
    -------
    Kare
        ``value`` and ``se`` for each ridge; ``best``, the ridge of the least value; ``degrees``, the effective number
        of parameters.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Linear and cosine kernels with n > p: exactly, from one eigenvalue problem of p×p moments. All others: Galerkin
    solutions (block conjugate gradients) for y and the probes in one block Krylov space, O(n²(p + q + probes)) for each
    step, O(n·m) memory for m ≤ 2048 basis vectors; small ridges take many steps. Exact up to 512 rows. Source: Jacot et
    al. 2020; Theory, 7.3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 3))
    >>> found = gm.kare(X, X[:, 0] + 0.5 * rng.standard_normal(500), "linear", [0.01, 100.0])
    >>> found.best, bool(abs(found.value[0] - 0.25) < 0.05)  # the noise, 0.5²
    (0.01, True)
    """
    check_seed(seed)
    check_count(probes, "probes", 2)
    one_of(precision, get_args(Precision), "precision")
    check_budget(memory, progress)
    x = matrix(X, "X")
    require_rows(x.n, 2, "kare")
    ridges = _ridges(ridge)
    targets, unit = _targets(y, x.n)
    found = gram.represent(kernel, x).kernel
    if _by_features(x, found, memory):
        solved = _feature_resolvents(Features.of(x, found, centered=False), targets, ridges)
    else:
        a = kernel_matrix(x, found, centered=False, precision=precision, memory=memory, progress=progress)
        solved = _gram_resolvents(a, targets, ridges, int(probes), int(seed))
    left = np.array([v.mean() for v in solved.left])
    spread = np.array([v.std(ddof=1) / math.sqrt(len(v)) if len(v) > 1 else 0.0 for v in solved.left])
    value = np.ldexp(np.array(solved.risks) / left**2, 2 * unit)
    return Kare(
        ridge=ridges,
        value=value,
        se=2 * value * spread / left,
        degrees=x.n * (1 - left),
        n=x.n,
        kernel=found,
        probes=solved.probes,
        seed=None if solved.probes is None else int(seed),
        sweeps=solved.sweeps,
        reason=solved.reason,
    )


def _ridges(ridge: object) -> Array:
    try:
        found = np.atleast_1d(np.asarray(ridge, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(f"ridge must be a number or a sequence of numbers, got {type(ridge).__name__}") from None
    if found.ndim != 1 or not found.size:
        raise ValueError(f"ridge must be a number or a sequence of numbers, got shape {found.shape}")
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"ridge must be positive and finite, got {ridge}")
    return found


def _targets(y: Any, n: int) -> tuple[Array, int]:
    """(n, q) targets in units of 2^unit."""
    column = y.reshape(-1, 1) if len(getattr(y, "shape", ())) == 1 else y
    found = matrix(column, "y")
    if found.n != n:
        raise ValueError(f"X has {n} rows but y has {found.n}; row i of both must be the same sample")
    values = found.block(0, n)
    unit = math.frexp(float(np.abs(values).max()))[1]
    return np.ldexp(values, -unit), unit


@dataclass(frozen=True, eq=False)
class _Resolvents:
    """What KARE needs of R = (K/n + λ)⁻¹, for each λ."""

    risks: list[float]  # λ²‖Ry‖²/n
    left: list[Array]  # samples of λ·tr R/n; one if exact
    probes: int | None
    sweeps: int
    reason: str | None


def _feature_resolvents(features: Features, targets: Array, ridges: Array) -> _Resolvents:
    n, values = features.n, features.values
    u = features.projected(len(values))
    inside = u.T @ targets
    power, rest = (inside**2).sum(axis=1), float(((targets - u @ inside) ** 2).sum())
    missed = [r / (values + r) for r in np.ldexp(ridges, -features.exponent)]
    return _Resolvents(
        risks=[(rest + float(power @ m**2)) / n for m in missed],
        left=[np.array([(n - len(values) + m.sum()) / n]) for m in missed],
        probes=None,
        sweeps=0,
        reason=None,
    )


def _gram_resolvents(a: KernelMatrix, targets: Array, ridges: Array, probes: int, seed: int) -> _Resolvents:
    """Galerkin solutions for the targets and random signs, in one block Krylov basis."""
    ridges = np.ldexp(ridges, -a.exponent)
    n, q = targets.shape
    exact = n <= _EXACT
    rng = np.random.default_rng([seed, 2])
    sides = targets if exact else np.hstack([targets, rng.choice([-1.0, 1.0], (n, probes))])
    start = np.hstack([sides, rng.standard_normal((n, max(0, min(n, _TOGETHER) - sides.shape[1])))]) if exact else sides
    block = min(n, start.shape[1])
    capacity = min(n, max(_LARGEST_BASIS, 4 * block))
    basis = Krylov(a, start[:, :block], seed)
    size = np.sqrt((sides**2).sum(axis=0))
    size[size == 0] = 1.0
    least, tolerance = float(ridges.min()), _SOLVED[a.single]
    best, stuck = math.inf, 0
    while True:
        basis.grow()
        values, vectors = basis.ritz()
        inside = vectors.T @ (basis.q.T @ sides)  # (m, q + probes)
        solution = vectors @ (inside / (values + least)[:, None])
        left = sides - basis.aq @ solution - least * (basis.q @ solution)
        worst = float((np.sqrt((left**2).sum(axis=0)) / size).max())
        best, stuck = (worst, 0) if worst < best / 2 else (best, stuck + 1)
        if basis.complete or (not exact and (worst <= tolerance or basis.width >= capacity or stuck > 2 * _STUCK)):
            break
    reason = None
    if not basis.complete and worst > tolerance:
        reason = (
            f"solutions leave residuals of {worst:.1e}, more than {tolerance:.0e}, after {basis.sweeps} sweeps; "
            "use a larger ridge"
        )
    if least < a.rounding:
        reason = (
            f"ridge {math.ldexp(least, a.exponent):.3g} is below the rounding of the kernel's values, about "
            f"{math.ldexp(a.rounding, a.exponent):.1e}; use a larger one" + (", or float64" if a.single else "")
        )
    risks, share = [], []
    for ridge in ridges:
        if values.min() + ridge <= 0:
            reason = (
                f"K/n + ridge is not positive definite at ridge {math.ldexp(ridge, a.exponent):.3g}; use a larger one"
            )
            risks.append(math.nan)
            share.append(np.array([math.nan]))
            continue
        missed = ridge / (values + ridge)
        risks.append(float(((inside[:, :q] * missed[:, None]) ** 2).sum()) / n)
        share.append(np.array([missed.sum() / n]) if basis.complete else missed @ inside[:, q:] ** 2 / n)
    return _Resolvents(risks, share, None if basis.complete else probes, basis.sweeps, reason)


@dataclass(frozen=True, eq=False)
class TaskAlignment:
    """How much of a task lies in the leading eigenfunctions of a kernel."""

    cumulative: Array  # (k,) C(ρ), part of the power in the first ρ eigenfunctions
    power: Array  # (k,) ⟨f, φ⟩², columns of y summed
    total: float  # mean square of f
    spectrum: Spectrum
    reason: str | None

    @property
    def weights(self) -> Array:
        """(k,) w² in f = Σ w √η φ: power over eigenvalue; nan where that is 0 up to its residual."""
        out = np.full(self.spectrum.k, np.nan)
        rank = self.spectrum.rank
        out[:rank] = self.power[:rank] / self.spectrum.eigenvalues[:rank]
        return out

    def learning_curve(self, samples: object, *, ridge: float = 0.0, noise: float = 0.0) -> LearningCurve:
        """`gramian.learning_curve` of this task, with the power and the trace that the k eigenpairs leave out."""
        s = self.spectrum
        return learning_curve(
            np.maximum(s.eigenvalues, 0.0),
            self.power,
            samples,
            ridge=ridge,
            noise=noise,
            other_trace=max(0.0, s.trace - float(s.eigenvalues.sum())),
            other_power=max(0.0, self.total - float(self.power.sum())),
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.3f}" for value in self.cumulative[:5])
        more = ", ..." if len(self.cumulative) > 5 else ""
        why = f"; {self.reason}" if self.reason else ""
        return f"TaskAlignment([{shown}{more}], n = {self.spectrum.n}, {self.spectrum.kernel}{why})"


def task_alignment(
    X: object,
    y: object,
    kernel: Kernel | str = "rbf",
    k: int = 10,
    *,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = _SWEEPS,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> TaskAlignment:
    """How much of a task the leading eigenfunctions hold: C(ρ) = Σ_{i≤ρ} ⟨y, φ_i⟩² / mean y².

    A task whose power sits in the first eigenfunctions is learnt from few samples.

    Parameters
    ----------
    X : array of shape (n, p)
    y : array of shape (n,) or (n, q)
        Targets; columns are summed. With ``centered`` their mean is taken off.
    kernel : kernel or its name
    k : int
        Eigenfunctions.
    centered, tolerance, sweeps, seed, precision, memory, progress
        As in `gramian.spectrum`.

    Returns
    -------
    TaskAlignment
        ``cumulative`` (k,), in [0, 1] and not falling; ``power`` (k,), ``weights`` (k,), ``spectrum``;
        ``learning_curve(samples, ridge=, noise=)``. nan if y is 0 (or constant, when centred).

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Costs one spectrum. Source: Canatar, Bordelon, Pehlevan 2021; Theory, 7.3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> t = 2 * np.pi * np.arange(100)[:, None] / 100
    >>> circle = np.hstack([np.cos(t), np.sin(t)])
    >>> found = gm.task_alignment(circle, 1 + np.cos(t), gm.ArcCosine(1), 3)
    >>> np.round(found.cumulative, 6)[[0, 2]].tolist()  # the constant has 2/3 of the power, cos t the rest
    [0.666667, 1.0]
    """
    _check(tolerance, seed, precision, memory, progress)
    check_count(sweeps, "sweeps")
    x = matrix(X, "X")
    require_rows(x.n, 2, "task_alignment")
    _check_k(k, x.n)
    targets, unit = _targets(y, x.n)
    size = float(np.abs(targets).max())
    if centered:
        targets = targets - targets.mean(axis=0)
    found = _spectrum(
        x,
        kernel,
        int(k),
        centered=bool(centered),
        tolerance=tolerance,
        sweeps=int(sweeps),
        seed=int(seed),
        precision=precision,
        memory=memory,
        progress=progress,
    )
    power = ((found.eigenfunctions.T @ targets / x.n) ** 2).sum(axis=1)
    total = float((targets**2).sum() / x.n)
    reason = found.reason
    if total <= (x.n * _EPS * size) ** 2:
        reason = "y is constant" if centered else "y is 0"
        cumulative = np.full(len(power), np.nan)
    else:
        cumulative = np.cumsum(power) / total
    return TaskAlignment(
        cumulative=cumulative,
        power=np.ldexp(power, 2 * unit),
        total=estimators.scaled(total, 2 * unit),
        spectrum=found,
        reason=reason,
    )


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Expected error of kernel regression at several numbers of samples."""

    samples: Array  # (m,)
    error: Array  # (m,) E_g, without the noise of new labels
    kappa: Array  # (m,) the effective ridge
    gamma: Array  # (m,) part of the variance; 1 is the interpolation peak

    def __repr__(self) -> str:
        shown = ", ".join(f"{e:.4g} at {p:g}" for p, e in zip(self.samples, self.error, strict=True))
        return f"LearningCurve({shown})"


def learning_curve(
    eigenvalues: object,
    power: object,
    samples: object,
    *,
    ridge: float = 0.0,
    noise: float = 0.0,
    other_trace: float = 0.0,
    other_power: float = 0.0,
) -> LearningCurve:
    """The expected error of kernel ridge regression at p samples, from eigenvalues and the power of the task in each.

    E_g = [Σ ηw²κ²/(κ + pη)² + σ²γ]/(1 − γ), with κ = λ + Σ κη/(κ + pη) and γ = Σ pη²/(κ + pη)².

    Parameters
    ----------
    eigenvalues : array of shape (k,)
        η ≥ 0 of the integral operator, those of K/n.
    power : array of shape (k,)
        η w² = ⟨f, φ⟩² of the noiseless task, as `gramian.task_alignment` gives it.
    samples : int or sequence
        p, the numbers of training samples, positive.
    ridge : float
        λ on K of p rows (for λ' on K/p: pλ').
    noise : float
        σ², variance of the training labels' noise.
    other_trace, other_power : float
        Sum of the eigenvalues that are left out, which act as a ridge, and the power of the task that lies in their
        eigenfunctions, which is not learnt.

    Returns
    -------
    LearningCurve
        ``error`` (m,), the expected squared distance from f; infinite at the interpolation peak.

    Raises
    ------
    TypeError, ValueError
        Not arrays of one length, or negative numbers.

    Notes
    -----
    The fixed point is found by bisection in log κ; O(k) for each p. Source: Canatar, Bordelon, Pehlevan 2021; Theory,
    7.4.

    Examples
    --------
    >>> import gramian as gm
    >>> curve = gm.learning_curve([1.0, 0.5], [1.0, 1.0], [1, 100], ridge=0.1)
    >>> bool(curve.error[0] > 0.5 and curve.error[1] < 1e-4)
    True
    """
    eta, task = _nonnegative(eigenvalues, "eigenvalues"), _nonnegative(power, "power")
    if eta.shape != task.shape or eta.ndim != 1:
        raise ValueError(f"eigenvalues and power must be of one length, got shapes {eta.shape} and {task.shape}")
    p = np.atleast_1d(_nonnegative(samples, "samples"))
    if p.ndim != 1 or not (p > 0).all():
        raise ValueError(f"samples must be positive numbers, got {samples}")
    for value, name in ((ridge, "ridge"), (noise, "noise"), (other_trace, "other_trace"), (other_power, "other_power")):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a number, 0 or more, got {value!r}")
    unit = math.frexp(max(float(eta.max(initial=0.0)), float(ridge), float(other_trace)))[1]
    eta = np.ldexp(eta, -unit)
    floor = math.ldexp(float(ridge) + float(other_trace), -unit)
    kappa, gamma, error = np.empty(len(p)), np.empty(len(p)), np.empty(len(p))
    for i, count in enumerate(p):
        kappa[i] = _effective_ridge(eta, float(count), floor)
        down = kappa[i] + count * eta
        seen = np.divide(count * eta, down, out=np.zeros_like(eta), where=down > 0)
        missed = 1 - seen if kappa[i] == 0 else kappa[i] / down
        gamma[i] = float((seen**2).sum()) / count
        above = float((task * missed**2).sum()) + other_power + noise * gamma[i]
        below = 1 - gamma[i]
        error[i] = above / below if below > len(eta) * _EPS else (math.inf if above > 0 else 0.0)
    return LearningCurve(p, error, np.ldexp(kappa, unit), gamma)


def _nonnegative(values: object, name: str) -> Array:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers, got {type(values).__name__}") from None
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative, got {values}")
    return found


def _effective_ridge(eta: Array, samples: float, ridge: float) -> float:
    """κ with 1 = λ/κ + Σ η/(κ + pη); 0 where there is no ridge and as many samples as eigenvalues."""
    high = ridge + float(eta.sum())
    if ridge == 0 and samples >= np.count_nonzero(eta):
        return 0.0
    # the right-hand side falls from above 1 to below 1 between λ and λ + Ση
    low = max(ridge, high * 2.0**-1000)
    for _ in range(128):
        middle = math.sqrt(low) * math.sqrt(high)
        if not low < middle < high:
            break
        if ridge / middle + float((eta / (middle + samples * eta)).sum()) > 1:
            low = middle
        else:
            high = middle
    return high
