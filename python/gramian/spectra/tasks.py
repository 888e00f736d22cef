"""Tasks: how well kernel regression on a representation learns a target, told from spectra."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, KernelName
from gramian.progress import Progress, expect, one_bar, phase
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import (
    Matrix,
    check_budget,
    check_count,
    check_seed,
    one_of,
    plain_number,
    require_rows,
    same_rows,
)
from gramian.rows.sources import matrix
from gramian.show import axes
from gramian.show.tables import Listing
from gramian.spectra import eigen, spectral
from gramian.spectra.eigen import EPS, Features, KernelMatrix, Krylov
from gramian.spectra.spectral import Spectrum
from gramian.sweeps import estimators
from gramian.sweeps.represent import Precision, bandwidth_phase, represent
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]

_SOLVED = {True: 1e-3, False: 1e-6}  # residuals of linear systems, as a part of their right-hand sides
_EXACT = 512  # rows up to which a trace is exact
_LARGEST_BASIS = 2048  # columns


@dataclass(frozen=True, eq=False)
class Kare(Result):
    """The kernel alignment risk estimate for each ridge."""

    _derived = ("best",)

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

    def _listing(self) -> Listing:
        names = ("ridge", "value", "se", "degrees")
        return Listing({name: getattr(self, name).tolist() for name in names})

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw the estimate over the ridge with matplotlib, with a band of its standard error; returns the axes.

        ``limits`` are of the axis of the estimate; ``annotate`` writes each value beside its point.
        """
        drawn = axes.Line("KARE", self.ridge, self.value, self.se)
        return axes.lines(
            [drawn],
            x_label=f"ridge, n = {self.n}",
            y_label="estimated risk on new rows",
            ax=ax,
            title=title,
            limits=limits,
            annotate=bool(annotate),
            log_x=True,
        )

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{v:.4g} ± {e:.1g} at {r:.3g}" for r, v, e in zip(self.ridge, self.value, self.se, strict=True)
        )
        why = f"; {self.reason}" if self.reason else ""
        return f"Kare({shown}; n = {self.n}, {self.kernel}{why})"


@public
@one_bar
def kare(
    X: object,
    y: object,
    kernel: Kernel | KernelName = "rbf",
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
        Targets, or the path of a file; columns are summed.
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
        of parameters. nan at a ridge below the rounding of the kernel's values, which ``reason`` tells.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Linear and cosine kernels with n > p: exactly, from the singular values of one p×p triangle. All others: Galerkin
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
    seed = check_seed(seed)
    probes = check_count(probes, "probes", 2)
    one_of(precision, get_args(Precision), "precision")
    check_budget(memory, progress)
    x = matrix(X, "X")
    require_rows(x.n, 2, "kare")
    ridges = _ridges(ridge)
    labels = _labels(y, x)
    targets, unit = _targets(labels)
    expect(progress, eigen.EXPECTED)
    found = represent(kernel, x, progress=bandwidth_phase(progress, kernel, x.n)).kernel
    told = phase(progress, "", eigen.EXPECTED)
    if eigen.by_features(x, found, memory):
        solved = _feature_resolvents(Features.of(x, found, centered=False, progress=told), targets, ridges)
    else:
        a = eigen.kernel_matrix(x, found, centered=False, precision=precision, memory=memory, progress=told)
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
        provenance=provenance({"X": x, "y": labels}, found, None if solved.probes is None else seed),
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


def _labels(y: object, x: Matrix) -> Matrix:
    found = matrix(y, "y", column=True)
    same_rows([x, found], ["X", "y"])
    return found


def _targets(labels: Matrix) -> tuple[Array, int]:
    """(n, q) targets in units of 2^unit."""
    values = labels.block(0, labels.n)
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
    u = features.projected(np.arange(len(values)))
    if features.lopsided:
        u = eigen.orthonormal(u)
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
    start = (
        np.hstack([sides, rng.standard_normal((n, max(0, min(n, eigen.TOGETHER) - sides.shape[1])))])
        if exact
        else sides
    )
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
        if basis.complete or (not exact and (worst <= tolerance or basis.width >= capacity or stuck > 2 * eigen.STUCK)):
            break
    reason = None
    if not basis.complete and worst > tolerance:
        reason = (
            f"at ridge {math.ldexp(least, a.exponent):.3g} solutions leave residuals of {worst:.1e}, more than "
            f"{tolerance:.0e}, after {basis.sweeps} sweeps; use a larger one"
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
        if values.min() + ridge <= 0 or ridge < a.rounding:  # eigenvalues off by more than the ridge leave no digit
            risks.append(math.nan)
            share.append(np.array([math.nan]))
            continue
        missed = ridge / (values + ridge)
        risks.append(float(((inside[:, :q] * missed[:, None]) ** 2).sum()) / n)
        share.append(np.array([missed.sum() / n]) if basis.complete else missed @ inside[:, q:] ** 2 / n)
    return _Resolvents(risks, share, None if basis.complete else probes, basis.sweeps, reason)


@dataclass(frozen=True, eq=False)
class TaskAlignment(Result):
    """How much of a task lies in the leading eigenfunctions of a kernel."""

    _derived = ("weights",)

    cumulative: Array  # (k,) C(ρ), part of the power in the first ρ eigenfunctions
    power: Array  # (k,) ⟨f, φ⟩², columns of y summed; 0 where the eigenvalue is 0 up to its residual
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

    def _facts(self) -> dict[str, Any]:
        s = self.spectrum
        return {
            "total": self.total,
            **{name: s._facts().get(name) for name in ("n", "kernel", "centered", "k", "rank")},
        }

    def _listing(self) -> Listing:
        columns = {"eigenvalue": self.spectrum.eigenvalues, "power": self.power, "cumulative": self.cumulative}
        columns["weight"] = self.weights
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
        """Draw the part of the power in the first eigenfunctions with matplotlib; returns the axes.

        ``limits`` are of the axis of that part, 0 to 1 if left out; ``annotate`` writes each value beside its point.
        """
        drawn = axes.Line("power", np.arange(1.0, len(self.cumulative) + 1), self.cumulative)
        return axes.lines(
            [drawn],
            x_label=f"eigenfunctions, n = {self.spectrum.n}",
            y_label="part of the power of y",
            ax=ax,
            title=title,
            limits=(0.0, 1.02) if limits is None else limits,
            annotate=bool(annotate),
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.3f}" for value in self.cumulative[:5])
        more = ", ..." if len(self.cumulative) > 5 else ""
        why = f"; {self.reason}" if self.reason else ""
        return f"TaskAlignment([{shown}{more}], n = {self.spectrum.n}, {self.spectrum.kernel}{why})"


@public
@one_bar
def task_alignment(
    X: object,
    y: object,
    kernel: Kernel | KernelName = "rbf",
    k: int = 10,
    *,
    centered: bool = False,
    tolerance: float | None = None,
    sweeps: int = spectral.SWEEPS,
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
        Targets, or the path of a file; columns are summed. With ``centered`` their mean is taken off.
    kernel : kernel or its name
    k : int
        Eigenfunctions.
    centered, tolerance, sweeps, seed, precision, memory, progress
        As in `gramian.spectrum`.

    Returns
    -------
    TaskAlignment
        ``cumulative`` (k,), in [0, 1] and not falling; ``power`` (k,), 0 beyond the rank of the kernel matrix, whose
        null space is not learnt; ``weights`` (k,), ``spectrum``;
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
    search = spectral.Search(k, bool(centered), tolerance, sweeps, seed, precision, memory, progress)
    x = matrix(X, "X")
    require_rows(x.n, 2, "task_alignment")
    labels = _labels(y, x)
    targets, unit = _targets(labels)
    size = float(np.abs(targets).max())
    if centered:
        targets = targets - targets.mean(axis=0)
    found = spectral.spectrum_of(x, kernel, search)
    power = ((found.eigenfunctions.T @ targets / x.n) ** 2).sum(axis=1)
    power[found.rank :] = 0.0  # of the null space any vectors may have come back, and none of them is learnt
    total = float((targets**2).sum() / x.n)
    reason = found.reason
    if total <= (x.n * EPS * size) ** 2:
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
        provenance=provenance({"X": x, "y": labels}, found.kernel, seed),
    )


@dataclass(frozen=True, eq=False)
class LearningCurve(Result):
    """Expected error of kernel regression at several numbers of samples."""

    samples: Array  # (m,)
    error: Array  # (m,) E_g, without the noise of new labels
    kappa: Array  # (m,) the effective ridge
    gamma: Array  # (m,) part of the variance; 1 is the interpolation peak

    def _listing(self) -> Listing:
        names = ("error", "kappa", "gamma")
        return Listing({name: getattr(self, name).tolist() for name in names}, self.samples.tolist(), "samples")

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw the error over the number of samples with matplotlib, on logarithmic axes; returns the axes.

        ``limits`` are of the axis of the error; ``annotate`` writes each value beside its point.
        """
        return axes.lines(
            [axes.Line("error", self.samples, self.error)],
            x_label="samples",
            y_label="expected error",
            ax=ax,
            title=title,
            limits=limits,
            annotate=bool(annotate),
            log_x=True,
            log_y=True,
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{e:.4g} at {p:g}" for p, e in zip(self.samples, self.error, strict=True))
        return f"LearningCurve({shown})"


@public
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
        value = plain_number(value, name)
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
        error[i] = above / below if below > len(eta) * EPS else (math.inf if above > 0 else 0.0)
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
