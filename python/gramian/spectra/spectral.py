"""Spectra of kernel matrices: eigenvalues, eigenfunctions, and how those of two representations overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import ArcCosine, Distance, Kernel, KernelName, Linear, Polynomial
from gramian.progress import Progress, expect, one_bar, phase
from gramian.results.plain import plain
from gramian.results.provenance import Provenance, provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows.arrays import (
    Matrix,
    about_least,
    check_budget,
    check_count,
    check_seed,
    one_of,
    plain_number,
    require_rows,
)
from gramian.rows.sources import matrix
from gramian.show import axes, heatmaps
from gramian.show.tables import Listing
from gramian.spectra import eigen
from gramian.spectra.eigen import EPS
from gramian.sums import of_arrays
from gramian.sweeps import estimators, routes
from gramian.sweeps.represent import Precision, bandwidth_phase, represent
from gramian.sweeps.routes import Paired
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]

SWEEPS = 200  # at most
_OVERLAP = float(eigen.EXPECTED)  # sweeps over both representations for both spectra, about
_TOLERANCE = {True: 1e-7, False: 1e-10}  # residuals as a part of the largest eigenvalue; of float32 and float64 tiles


# ---- spectra ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Spectrum(Result):
    """The leading eigenvalues and eigenfunctions of K/n, the empirical integral operator, largest in size first."""

    _derived = ("k", "rank", "explained")
    _large = ("eigenfunctions",)

    eigenvalues: Array  # (k,) of K/n
    eigenfunctions: Array  # (n, k), mean square 1, orthogonal
    residuals: (
        Array  # (k,) ‖Kv/n − ηv‖ for v of norm 1, K as its tiles hold it; of features, bounds from singular values
    )
    following: float  # eigenvalue k + 1, as far as it is known; nan if there is none
    trace: float  # tr K/n, the sum of all eigenvalues
    tolerance: float  # residuals asked for, as a part of the largest eigenvalue; 0 where features gave the pairs
    rounding: float  # the least eigenvalue that is more than rounding
    n: int
    kernel: Kernel  # bandwidth resolved
    centered: bool
    sweeps: int  # over the pairs of rows; 0 if features were enough
    converged: bool  # whether residuals are within the tolerance
    reason: str | None  # what is to be known before it is used

    @property
    def k(self) -> int:
        """Number of eigenpairs."""
        return len(self.eigenvalues)

    @property
    def explained(self) -> Array:
        """(k,) Part of the trace that the first 1, 2, ... eigenvalues make up; nan if it is nothing but rounding."""
        if _nothing(self.trace, self.rounding, self.n):
            return np.full(self.k, np.nan)
        explained: Array = np.cumsum(self.eigenvalues) / self.trace
        return explained

    @property
    def rank(self) -> int:
        """How many of the eigenvalues differ from 0 by more than their residual and than rounding."""
        return _rank(self.eigenvalues, self.residuals, self.rounding)

    @property
    def splits_eigenspace(self) -> bool:
        """Whether eigenvalue k + 1 cannot be told from eigenvalue k: the last eigenfunctions are then arbitrary."""
        return _splits(self.eigenvalues, self.residuals, self.following, self.tolerance)

    def _listing(self) -> Listing:
        columns = {"eigenvalue": self.eigenvalues, "explained": self.explained, "residual": self.residuals}
        return Listing({name: column.tolist() for name, column in columns.items()}, of="number")

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw the eigenvalues by their number with matplotlib, on a logarithmic axis if none is negative.

        ``limits`` are of the axis of eigenvalues; ``annotate`` writes each beside its point. Returns the axes.
        """
        drawn = axes.Line("eigenvalues", np.arange(1.0, self.k + 1), self.eigenvalues)
        return axes.lines(
            [drawn],
            x_label=f"number, n = {self.n}",
            y_label=f"eigenvalue of {'HKH' if self.centered else 'K'}/n, {self.kernel.name}",
            ax=ax,
            title=title,
            limits=limits,
            annotate=bool(annotate),
            log_y=bool((self.eigenvalues >= 0).all()),
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.eigenvalues[:5])
        more = ", ..." if self.k > 5 else ""
        why = f"; {self.reason}" if self.reason else ""
        return f"Spectrum([{shown}{more}], k = {self.k}, n = {self.n}, {self.kernel}{why})"


def _rank(values: Array, residuals: Array, rounding: float) -> int:
    size = np.abs(values)
    return int((size > np.maximum(residuals, rounding)).sum())


def _nothing(trace: float, rounding: float, n: int) -> bool:
    """Whether a trace of n independent values of this rounding is nothing else."""
    return abs(trace) <= rounding * math.sqrt(n)


def _splits(values: Array, residuals: Array, following: float, tolerance: float) -> bool:
    if not len(values) or math.isnan(following):
        return False
    gap = abs(float(values[-1])) - abs(following)
    return gap <= max(2 * float(residuals[-1]), tolerance * abs(float(values[0])))


@public
@one_bar
def spectrum(
    X: object,
    kernel: Kernel | KernelName = "rbf",
    k: int = 10,
    *,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = SWEEPS,
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
        when left out. Every eigenvalue is within its residual of one of K/n as its tiles hold it; their own rounding,
        ``rounding`` and about eps of the largest eigenvalue, comes on top: 1e-7 of it for float32.
    sweeps : int
        Where to stop. The first block is always multiplied, a sweep for each 64 of its k + 8 vectors or a few more:
        ``sweeps=1`` takes 2 at k = 100.
    seed : int
        Of the random block that the iteration starts from.
    precision, memory, progress
        As in `gramian.kernel_alignment`.

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
    Polynomial and arc-cosine kernels of narrower data than float64 once more, in float64 tiles, where float32 ones tell
    fewer than k eigenvalues from rounding, as of a few rows much larger than the others.
    Linear and cosine kernels with n > p: from the p×p triangle of a QR factorisation, exactly, O(np²): eigenvalues down
    to (n·eps)² of the largest, and of float32 and 16-bit data those that are more than the rounding of its entries.
    Source: Theory, 7.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> t = 2 * np.pi * np.arange(100)[:, None] / 100
    >>> found = gm.spectrum(np.hstack([np.cos(t), np.sin(t)]), gm.ArcCosine(1), 3)
    >>> np.round(found.eigenvalues, 4).tolist()  # 4/π² and, twice, 1/4
    [0.4053, 0.25, 0.25]
    """
    search = Search(k, bool(centered), tolerance, sweeps, seed, precision, memory, progress)
    x = matrix(X, "X")
    require_rows(x.n, 2, "spectrum")
    found = spectrum_of(x, kernel, search)
    return replace(found, provenance=provenance({"X": x}, found.kernel, seed))


@dataclass(frozen=True)
class Search:
    """Which eigenpairs are looked for, and how; checked but for k, which the number of rows limits."""

    k: int
    centered: bool
    tolerance: float | None
    sweeps: int
    seed: int
    precision: Precision
    memory: int | None
    progress: Progress | None

    def __post_init__(self) -> None:
        t = plain_number(self.tolerance, "tolerance")
        if t is not None and (isinstance(t, bool) or not isinstance(t, int | float | np.number) or not 0 < t < 1):
            raise ValueError(f"tolerance must be a number between 0 and 1, got {t!r}")
        check_count(self.sweeps, "sweeps")
        check_seed(self.seed)
        one_of(self.precision, get_args(Precision), "precision")
        check_budget(self.memory, self.progress)


def spectrum_of(x: Matrix, kernel: Kernel | str, search: Search) -> Spectrum:
    """`spectrum` behind the gate."""
    k, centered, tolerance = search.k, search.centered, search.tolerance
    k = check_count(k, "k")
    if k > x.n:
        raise ValueError(f"k must be at most the number of rows, {x.n}, got {k}")
    expect(search.progress, eigen.EXPECTED)
    represented = represent(kernel, x, progress=bandwidth_phase(search.progress, kernel, x.n))
    told = phase(search.progress, "", eigen.EXPECTED)
    found, (x,) = represented.kernel, represented.parts
    if centered and isinstance(found, Linear | Distance):
        (x,) = about_least([x])  # neither changes where all rows move
    hidden = 0
    if eigen.by_features(x, found, search.memory):
        features = eigen.Features.of(x, found, centered=centered, progress=told)
        hidden = features.hidden(k)
        pairs, exponent, trace = features.pairs(k), features.exponent, features.trace
        accuracy, rounding = tolerance or 0.0, features.rounding
    else:
        for wide in (False, True):
            a = eigen.kernel_matrix(
                x,
                found,
                centered=centered,
                precision=search.precision,
                memory=search.memory,
                progress=told,
                wide=wide,
            )
            accuracy = tolerance or _TOLERANCE[a.single]
            pairs = eigen.eigenpairs(a, k, accuracy, search.seed, search.sweeps)
            rounding = max(a.rounding, a.n * EPS * float(np.abs(pairs.values).max(initial=0.0)))
            # a few large rows, as of padding, decide what float32 tiles of such kernels are rounded by
            lost = pairs.converged and _rank(pairs.values, pairs.residuals, rounding) < k
            if not (lost and a.single and isinstance(found, Polynomial | ArcCosine)):
                break
        exponent, trace = a.exponent, a.trace / a.n
    largest = np.abs(pairs.vectors).argmax(axis=0)
    signs = np.where(pairs.vectors[largest, np.arange(pairs.vectors.shape[1])] < 0, -1.0, 1.0)
    reason, found_k = None, len(pairs.values)
    if not pairs.converged:
        reason = (
            f"residuals are up to {pairs.residuals.max():.1e} of eigenvalues up to {np.abs(pairs.values).max():.1e} "
            f"after {pairs.sweeps} sweeps, more than the tolerance {accuracy:.0e}"
        )
    elif (rank := _rank(pairs.values, pairs.residuals, rounding)) < k:
        rest = "; the other eigenfunctions are arbitrary" if rank < found_k else ""
        reason = f"the kernel matrix has rank {rank} up to rounding{rest}"
        if hidden:
            reason += f"; left out: {hidden} that rounding to {x.dtype} alone would give"
    elif _splits(pairs.values, pairs.residuals, pairs.following, accuracy):
        reason = f"eigenvalues {k} and {k + 1} cannot be told apart: the last eigenspace is cut; choose another k"
    elif _nothing(trace, rounding, x.n):
        reason = "the eigenvalues add up to 0, up to rounding, so that no part of the trace is explained"
    with np.errstate(over="ignore"):
        values, residuals = np.ldexp(pairs.values, exponent), np.ldexp(pairs.residuals, exponent)
    if not np.isfinite(values).all():
        reason = "eigenvalues are beyond float64; scale the rows down"
    return Spectrum(
        eigenvalues=values,
        eigenfunctions=pairs.vectors * (signs * math.sqrt(x.n)),
        residuals=residuals,
        following=estimators.scaled(pairs.following, exponent),
        trace=estimators.scaled(trace, exponent),
        tolerance=accuracy,
        rounding=estimators.scaled(rounding, exponent),
        n=x.n,
        kernel=found,
        centered=centered,
        sweeps=pairs.sweeps,
        converged=pairs.converged,
        reason=reason,
    )


# ---- two spectra -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EigenOverlap(Result):
    """Φ_ij = (1/n)Σ φ_X,i φ_Y,j between the leading eigenfunctions of two kernels, with their eigenvalues.

    Pairs whose eigenvalue is 0 up to its residual have no eigenfunction and are left out.
    """

    _derived = ("kernel_alignment", "mean_square_cca", "canonical_correlations")

    overlap: Array  # (k1, k2) Φ
    eigenvalues_x: Array  # (k1,)
    eigenvalues_y: Array  # (k2,)
    n: int
    kernel: tuple[Kernel, Kernel]
    centered: bool
    reason: str | None  # which eigenspace is cut, or not reached, or that there is none

    def family(self, p: float, q: float) -> float:
        """S(p, q) = Σ_ij η_X,i^p η_Y,j^q Φ_ij² (Theory, 7.2).

        (1, 1): the numerator of kernel alignment; (0, 1): how much of Y lies in X's eigenspaces, as stitching from X to
        Y needs it; (0, 0): the sum of squared canonical correlations of the eigenspaces.

        Raises ValueError for a power that is not whole of an indefinite kernel: its negative eigenvalues have none.
        """
        for values, power, name in ((self.eigenvalues_x, p, "X"), (self.eigenvalues_y, q, "Y")):
            if not float(power).is_integer() and (values < 0).any():
                raise ValueError(
                    f"the kernel of {name} is indefinite, with an eigenvalue of {values.min():.3g}, which has no power "
                    f"{power:g}; take a whole number"
                )
        return float(self.eigenvalues_x**p @ self.overlap**2 @ self.eigenvalues_y**q)

    def ridge_family(self, ridge_x: float, ridge_y: float) -> float:
        """S with η/(η + ridge) in place of powers: 1 for eigenvalues far above the ridge, 0 for those far below.

        Raises ValueError for a ridge that leaves an indefinite kernel so: η/(η + ridge) has a pole at −ridge.
        """
        if not (ridge_x >= 0 and ridge_y >= 0):
            raise ValueError(f"ridges must not be negative, got {ridge_x} and {ridge_y}")
        for values, ridge, name in ((self.eigenvalues_x, ridge_x, "X"), (self.eigenvalues_y, ridge_y, "Y")):
            if ridge > 0 and (values + ridge <= 0).any():
                raise ValueError(
                    f"the kernel of {name} is indefinite, with an eigenvalue of {values.min():.3g}, and a ridge of "
                    f"{ridge:.3g} leaves it so; take a larger one, or 0"
                )
        x = self.eigenvalues_x / (self.eigenvalues_x + ridge_x)
        y = self.eigenvalues_y / (self.eigenvalues_y + ridge_y)
        return float(x @ self.overlap**2 @ y)

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        cmap: Any = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw Φ², how far each eigenfunction of X is one of Y, as a heat map with matplotlib; returns the axes.

        ``limits`` are the ends of the colour scale; the values are written into up to 12 × 12 cells, or wherever
        ``annotate`` says so.
        """
        return heatmaps.heatmap(self._grid(), ax, title=title, cmap=cmap, limits=limits, annotate=annotate)

    def _grid(self) -> heatmaps.Grid:
        rows, columns = ([str(i + 1) for i in range(k)] for k in self.overlap.shape)
        caption = "Φ² of eigenfunctions, X down, Y across"
        return heatmaps.Grid(self.overlap**2, rows, columns, caption, self.n, [], (0.0, 1.0))

    def _picture(self) -> str:
        size = self.overlap.size
        return heatmaps.heatmap_svg(self._grid(), tooltips=size <= heatmaps.FEW) if size else ""

    def to_pandas(self) -> Any:
        """A DataFrame of Φ, eigenfunctions of X down and of Y across; all other numbers in its ``attrs``."""
        pandas = imported_pandas()
        numbers = [pandas.RangeIndex(1, k + 1, name=name) for k, name in zip(self.overlap.shape, "XY", strict=True)]
        frame = pandas.DataFrame(self.overlap, index=numbers[0], columns=numbers[1])
        frame.attrs.update(plain(self._facts()))
        return frame

    @property
    def kernel_alignment(self) -> float:
        """S(1, 1)/√(Ση_X²·Ση_Y²): of the kernels that these eigenpairs make up; nan where one has none."""
        if not (len(self.eigenvalues_x) and len(self.eigenvalues_y)):
            return math.nan
        scaled = [v / np.abs(v).max() for v in (self.eigenvalues_x, self.eigenvalues_y)]
        x, y = (v / np.sqrt(v @ v) for v in scaled)
        return float(x @ self.overlap**2 @ y)

    @property
    def canonical_correlations(self) -> Array:
        """Singular values of Φ: cosines between the two spans of eigenfunctions; none where one kernel has none."""
        if not self.overlap.size:
            return np.zeros(0)
        return cast("Array", np.linalg.svd(self.overlap, compute_uv=False))

    @property
    def mean_square_cca(self) -> float:
        """S(0, 0)/min(k1, k2), the mean squared canonical correlation of the eigenspaces; nan where one is empty."""
        return self.family(0, 0) / min(self.overlap.shape) if self.overlap.size else math.nan

    def __repr__(self) -> str:
        k1, k2 = self.overlap.shape
        why = f"; {self.reason}" if self.reason else ""
        return f"EigenOverlap({k1} by {k2}, KA = {self.kernel_alignment:.4g}, n = {self.n}{why})"


@of_arrays
@public
@one_bar
def eigen_overlap(
    X: object,
    Y: object,
    kernel: Kernel | KernelName = "rbf",
    k: int = 10,
    *,
    kernel_y: Kernel | KernelName | None = None,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = SWEEPS,
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
    search = Search(k, bool(centered), tolerance, sweeps, seed, precision, memory, progress)
    expect(progress, _OVERLAP)
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    return replace(_overlap(pair, search), provenance=_origin(pair, search))


def _origin(pair: Paired, search: Search) -> Provenance:
    x, y = pair.matrices
    return provenance({"X": x, "Y": y}, pair.kernels, search.seed)


def _overlap(pair: Paired, search: Search) -> EigenOverlap:
    found = [
        spectrum_of(x, kernel, replace(search, progress=phase(search.progress, f"spectrum of {name}", _OVERLAP / 2)))
        for x, kernel, name in zip(pair.matrices, pair.kernels, "XY", strict=True)
    ]
    # sorted by size, so that those of rank are the first
    x, y = (s.eigenfunctions[:, : s.rank] for s in found)
    reasons = [
        f"{name}: {s.reason}"
        for s, name in zip(found, ("X", "Y"), strict=True)
        if s.rank == 0 or not s.converged or (s.splits_eigenspace and s.rank == s.k)
    ]
    return EigenOverlap(
        overlap=x.T @ y / pair.n,
        eigenvalues_x=found[0].eigenvalues[: found[0].rank],
        eigenvalues_y=found[1].eigenvalues[: found[1].rank],
        n=pair.n,
        kernel=(found[0].kernel, found[1].kernel),
        centered=search.centered,
        reason="; ".join(reasons) or None,
    )


@dataclass(frozen=True, eq=False)
class SpectralAlignment(Result):
    """Kernel alignment from k eigenpairs of each kernel, and what they leave out."""

    value: float  # S(1, 1)/√(Ση_X²·Ση_Y²) over the eigenpairs
    full: float  # the same over all n of them: biased KA, or biased CKA of centred kernels
    kept: tuple[float, float]  # part of ‖K‖² that the eigenpairs make up, of X and of Y
    left_out: float  # full − S(1, 1)/(‖K‖‖L‖)·n²: what the pairs of other eigenfunctions add to `full`
    overlap: EigenOverlap
    reason: str | None  # why a value is nan, or which eigenspace is cut

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        if math.isnan(self.value):
            return f"SpectralAlignment(nan: {self.reason})"
        why = f"; {self.reason}" if self.reason else ""
        return (
            f"SpectralAlignment({self.value:.4g} from {self.overlap.overlap.shape} eigenpairs, full {self.full:.4g}, "
            f"kept {self.kept[0]:.1%} and {self.kept[1]:.1%}{why})"
        )


@of_arrays
@public
@one_bar
def spectral_alignment(
    X: object,
    Y: object,
    kernel: Kernel | KernelName = "rbf",
    k: int = 10,
    *,
    kernel_y: Kernel | KernelName | None = None,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = SWEEPS,
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
        all the other eigenfunctions add to ``full``. nan if a kernel matrix is 0 up to rounding: ``reason`` says which.

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
    search = Search(k, bool(centered), tolerance, sweeps, seed, precision, memory, progress)
    expect(progress, _OVERLAP + 1)
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    found = _overlap(pair, search)
    s = pair.statistics
    measure: estimators.Measure = "cka" if centered else "kernel_alignment"
    sums = s.matrix(measure, "biased")
    full, reason = estimators.value(s, measure, "biased")
    value = math.nan if reason else found.kernel_alignment
    if math.isnan(value):
        none, why = math.nan, reason or found.reason
        return SpectralAlignment(none, full, (none, none), none, found, why, provenance=_origin(pair, search))
    eigenvalues = [
        np.ldexp(v, -int(e)) for v, e in zip((found.eigenvalues_x, found.eigenvalues_y), s.exponent, strict=True)
    ]
    kept = [float(v @ v) / float(sums[p, p]) for p, v in enumerate(eigenvalues)]
    part = value * math.sqrt(kept[0]) * math.sqrt(kept[1])
    return SpectralAlignment(
        value, full, (kept[0], kept[1]), full - part, found, found.reason, provenance=_origin(pair, search)
    )
