"""Kernel ridge regression from one representation to another, without its n×n matrix.

Exactly, by conjugate gradients on products with K, each a sweep over its tiles; or with Nyström features of a few
landmarks, by their moments in one pass. Either gives s(x) = Σ k(zᵢ, x)aᵢ over the rows or the landmarks z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, Linear
from gramian.progress import Progress, expect, phase, tell
from gramian.results.files import storable
from gramian.results.provenance import provenance
from gramian.rows.arrays import Matrix, check_count, require_rows, same_rows
from gramian.rows.sources import matrix
from gramian.spectra import eigen, tasks
from gramian.spectra.eigen import EPS, KernelMatrix
from gramian.stitching.kernel_values import VALUES, KernelValues, like
from gramian.stitching.stitch import Stitch
from gramian.sweeps.centred import CentredFeatures, blocks, centre
from gramian.sweeps.estimators import scaled
from gramian.sweeps.moments import FeatureMoments
from gramian.sweeps.represent import bandwidth_phase, represent

Array: TypeAlias = npt.NDArray[np.float64]

_ROWS = 2048  # of at most so many rows of the fit
# residuals of linear systems as a part of their right-hand sides, for tiles of float32 and float64:
_GOAL = {True: 1e-8, False: 1e-11}  # where to stop,
_TOLERANCE = {True: 1e-4, False: 1e-7}  # and what to warn of
_ITERATIONS = 500  # of conjugate gradients
_LANDMARKS = 512  # of the preconditioner, at most
_BUDGET = 256 << 20  # bytes that its features may take without being asked
_LEVERAGE = 1e-8  # below this distance from 1, a row alone decides what is predicted for it
_ALONE = "some row alone decides what is predicted for it, so loo is undefined; use a larger ridge"
_PROBES = 32  # random signs that a trace is estimated by
_EXACT = 512  # rows up to which it is exact
_MOST_LEFT_OUT = 4096  # rows up to which leave-one-out is worth its sweeps
_GRID = {
    True: (1e-12, 25),
    False: (1e-8, 17),
}  # ridges that "gcv" tries with landmarks and without: the least, as a part
# of the mean K_ii, and how many up to it


# ---- the map ---------------------------------------------------------------------------------------------------------


@storable
@dataclass(frozen=True, eq=False)
class KernelMap:
    """s(x) = Σᵢ k(zᵢ, x) aᵢ, a function of rows of NumPy, torch or CuPy.

    It reads the rows z where they lie and keeps no copy of them.
    """

    kernel: Kernel  # bandwidth resolved
    rows: Matrix | Array  # (m, d1) z: the rows that it was fitted on, or the landmarks among them
    weights: Array  # (m, d2) a, in the units of `values`
    values: KernelValues
    norm: float  # ‖s‖ = √(largest eigenvalue of a'Ka): `lipschitz.rkhs(norm, kernel)` is a Lipschitz constant of s
    iterations: int  # of conjugate gradients; 0 with landmarks
    left: float  # largest part of a right-hand side that they left
    df_se: float  # standard error of the stitch's df, where random signs estimate the trace; 0 where it is exact

    @property
    def coefficients(self) -> Array:
        """(m, d2) a."""
        return np.ldexp(self.weights, -self.values.exponent)

    def __call__(self, F: Any) -> Any:
        """(b, d2) s of rows (b, d1), computed in float64 where they lie; of the library and dtype that came."""
        from array_api_compat import array_namespace

        xp = array_namespace(F)
        dtype = F.dtype if xp.isdtype(F.dtype, "real floating") else xp.float64
        step = max(1, VALUES // min(len(self.weights), _ROWS))
        parts = [self._at(xp, F[start : start + step], dtype) for start in range(0, max(1, len(F)), step)]
        return xp.concat(parts) if len(parts) > 1 else parts[0]

    def _at(self, xp: Any, rows: Any, dtype: Any) -> Any:
        x = self.values.prepared(xp.astype(rows, xp.float64))
        out = x @ like(np.zeros((x.shape[1], self.weights.shape[1])), x)
        for start, stop in _spans(len(self.weights), _ROWS):
            z = like(self.values.prepared(_taken(self.rows, start, stop)), x)
            out = out + self.values.between(x, z) @ like(self.weights[start:stop], x)
        return xp.astype(out, dtype)

    def to_torch(self, dtype: Any = None) -> Any:
        """A torch.nn.Module with copies of the rows, of float64 or the dtype given."""
        try:
            import torch
        except ImportError as error:
            raise ImportError(
                "to_torch makes a torch.nn.Module and needs torch: pip install 'gramian[torch]'"
            ) from error

        values = self.values

        class Module(torch.nn.Module):
            def __init__(self, rows: Array, weights: Array) -> None:
                super().__init__()
                for name, found in (("rows", rows), ("weights", weights), ("centre", values.centre)):
                    self.register_buffer(name, torch.tensor(found, dtype=torch.float64 if dtype is None else dtype))

            def forward(self, x: Any) -> Any:
                return values.between(x * values.scale - self.centre, self.rows) @ self.weights

        rows = values.prepared(_taken(self.rows, 0, len(self.weights)))
        centre = torch.tensor(values.centre, dtype=torch.float64 if dtype is None else dtype)
        return Module(
            rows + (values.centre - centre.double().numpy()), self.weights
        )  # about the centre as it is rounded


def _taken(rows: Matrix | Array, start: int, stop: int) -> Array:
    return rows.block(start, stop) if isinstance(rows, Matrix) else rows[start:stop]


def _spans(n: int, step: int) -> list[tuple[int, int]]:
    return [(start, min(n, start + step)) for start in range(0, n, step)]


# ---- fits ------------------------------------------------------------------------------------------------------------


def fit(
    F1: object,
    F2: object | None,
    kernel: Kernel | str | None,
    ridges: list[float] | None,  # λ on K/n, to choose from by GCV; None: as many as are worth a try
    *,
    rank: int | None,
    rcond: float | None,
    loo: object,
    folds: object,
    seed: int,
    memory: int | None,
    progress: Progress | None,
) -> Stitch:
    """`gramian.fit_stitch` of kind "kernel_ridge": F̂2 = K(K + nλ)⁻¹F2 (Theory, 5.7)."""
    _check(F1, F2, ridges, rcond, loo, folds)
    x, y = matrix(F1, "F1"), matrix(F2, "F2")
    same_rows([x, y], ["F1", "F2"])
    require_rows(x.n, 2, "fit_stitch")
    if rank is not None:
        rank = check_count(rank, "rank")
        if rank > x.n:
            raise ValueError(f"rank must be at most {x.n}, the number of rows to draw landmarks from, got {rank}")
        if memory is not None and 8 * rank**2 > memory:
            raise ValueError(f"kernel values of {rank} landmarks take {8 * rank**2} bytes, but memory is {memory}")
    chosen = "rbf" if kernel is None else kernel
    several = ridges is None or len(ridges) > 1
    expect(progress, 2 if rank is not None and rank < x.n else (1 + several) * eigen.EXPECTED)
    found = represent(chosen, x, progress=bandwidth_phase(progress, chosen, x.n)).kernel
    problem = _Problem(
        x,
        centre(y, Linear()),
        found,
        KernelValues.of(found, centre(x, Linear())),
        None if ridges is None else np.array(ridges),
        bool(loo),
        int(seed),
        memory,
        progress,
    )
    made = _by_landmarks(problem, int(rank)) if rank is not None and rank < x.n else _by_gradients(problem)
    return replace(made, provenance=provenance({"F1": x, "F2": y}, found, seed))


def _check(
    F1: object, F2: object | None, ridges: list[float] | None, rcond: float | None, loo: object, folds: object
) -> None:
    if isinstance(F1, FeatureMoments):
        raise TypeError("kind 'kernel_ridge' needs the rows of F1 and F2; their moments hold no kernel values")
    if F2 is None:
        raise TypeError("fit_stitch needs F1 and F2; F2 is missing")
    if rcond is not None:
        raise ValueError("rcond is for maps that are linear in F1; kind 'kernel_ridge' has its ridge")
    if folds is not None:
        raise ValueError("folds are for maps that are linear in F1; kind 'kernel_ridge' has gcv and loo")
    if not isinstance(loo, bool | np.bool_):
        raise TypeError(f"loo must be True or False, got {type(loo).__name__}")
    if ridges is not None and min(ridges) <= 0:
        raise ValueError(
            f"kind 'kernel_ridge' needs a positive ridge, a sequence of them or 'gcv', got {min(ridges):g}; "
            "without one it fits any rows perfectly"
        )


@dataclass(frozen=True, eq=False)
class _Problem:
    x: Matrix
    targets: CentredFeatures  # F2, scaled
    kernel: Kernel  # resolved
    values: KernelValues
    given: Array | None
    loo: bool
    seed: int
    memory: int | None
    progress: Progress | None

    @property
    def unit(self) -> int:
        """F2 is in units of 2^unit."""
        return self.targets.exponent // 2

    def ridges(self, mean_diagonal: float, rounding: float, *, by_landmarks: bool) -> Array:
        """λ to choose from, in units of K; none below its rounding unless given."""
        if self.given is not None:
            return self.given
        least, count = _GRID[by_landmarks]
        found = (mean_diagonal if mean_diagonal > 0 else 1.0) * np.geomspace(least, 1.0, count)
        return found[found > rounding]

    def stitch(
        self,
        function: KernelMap,
        ridges: Array,
        scores: Array | None,
        best: int,
        residual: Array,
        total: float,  # tr Σ22
        df: float,
        loo: float,
        reasons: list[str | None],
    ) -> Stitch:
        """From values in units of the scaled targets."""
        n, power = self.x.n, 2 * self.unit
        value = float(np.trace(residual))
        left = 1 - df / n
        if left <= EPS * n:
            left = math.nan
            reasons.append(f"{df:.6g} parameters for each output fit {n} rows perfectly; take a larger ridge")
        if total == 0:
            reasons.append("F2 is 0")
        if self.given is None and best == 0:
            reasons.append(f"gcv chose {ridges[0]:.3g}, the least ridge that it tries; a smaller one may do better")
        chose = self.given is not None and len(ridges) > 1
        return Stitch(
            kind="kernel_ridge",
            n=n,
            d1=self.x.d,
            d2=self.targets.x.d,
            matrix=None,
            offset=np.zeros(self.targets.x.d),
            ridge=float(ridges[best]),
            misalignment=scaled(value, power),
            misalignment_ratio=value / total if total > 0 else math.nan,
            residual=np.ldexp(residual, power),
            df=df,
            unbiased=scaled(value / left, power),
            gcv=scaled(value / left**2, power),
            loo=scaled(loo, power),
            reason="; ".join(filter(None, reasons)) or None,
            ridges=self.given if chose else None,
            scores=np.ldexp(cast("Array", scores), power) if chose else None,
            function=function,
        )


def _least(scores: Array) -> int:
    return int(np.nanargmin(scores)) if np.isfinite(scores).any() else len(scores) - 1


def _norm(square: Array, exponent: int) -> float:
    """√(largest eigenvalue), of a symmetric matrix in units of 2^exponent."""
    largest = max(0.0, float(np.linalg.eigvalsh((square + square.T) / 2)[-1]))
    odd = exponent % 2
    return scaled(math.sqrt(largest * 2.0**odd), (exponent - odd) // 2)


# ---- with landmarks: moments of Nyström features ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Landmarks:
    """Features Ψ with ΨΨ' = K_xz K_zz⁺ K_zx, in the units of `values`."""

    values: KernelValues
    rows: Array  # (m, d) z, as they came
    prepared: Array  # (m, d)
    root: Array  # (m, r) with root·root' = K_zz⁺

    @staticmethod
    def drawn(x: Matrix, values: KernelValues, m: int, seed: int) -> _Landmarks:
        rows = x.take(np.sort(np.random.default_rng([seed, 3]).choice(x.n, m, replace=False)).astype(np.int64))
        z = values.prepared(rows)
        own = values.between(z, z)
        eigenvalues, v = np.linalg.eigh((own + own.T) / 2)
        kept = eigenvalues > len(z) * EPS * np.abs(eigenvalues).max()
        return _Landmarks(values, rows, z, v[:, kept] / np.sqrt(eigenvalues[kept]))

    def between(self, rows: Array) -> Array:
        """(b, m) kernel values."""
        return np.asarray(self.values.between(self.values.prepared(rows), self.prepared))


def _by_landmarks(problem: _Problem, rank: int) -> Stitch:
    """Two passes, O(n·m(d + m)) time and O(m²) memory."""
    x, targets, values = problem.x, problem.targets, problem.values
    n, d2 = x.n, targets.x.d
    marks = _Landmarks.drawn(x, values, rank, problem.seed)
    r = marks.root.shape[1]
    second, cross, total = np.zeros((r, r)), np.zeros((r, d2)), 0.0
    spans = blocks(n, [x.d, rank, r, d2])
    told = phase(problem.progress, "landmarks")
    for done, (start, stop) in enumerate(spans, 1):
        psi, f2 = marks.between(x.block(start, stop)) @ marks.root, targets.raw(start, stop)
        second += psi.T @ psi / n
        cross += psi.T @ f2 / n
        total += float(np.vdot(f2, f2)) / n
        tell(told, done, len(spans))
    told = phase(problem.progress, "residuals")
    eta, w = np.linalg.eigh(second)
    eta, inside = np.maximum(eta, 0.0), w.T @ cross
    ridges = problem.ridges(scaled(float(eta.sum()), values.exponent), 0.0, by_landmarks=True)
    scores = np.full(len(ridges), np.nan)
    for i, candidate in enumerate(np.ldexp(ridges, -values.exponent)):
        # Ã₂ = tr Σ22 − 2 tr C'b + b'Σb with b = (Σ + λ)⁻¹C
        left = total - float((inside**2 * ((eta + 2 * candidate) / (eta + candidate) ** 2)[:, None]).sum())
        free = 1 - float((eta / (eta + candidate)).sum()) / n
        scores[i] = max(left, 0.0) / free**2 if free > n * EPS else np.nan
    best = 0 if len(ridges) == 1 else _least(scores)
    chosen = scaled(float(ridges[best]), -values.exponent)
    solution = w @ (inside / (eta + chosen)[:, None])
    weights, whitening = marks.root @ solution, marks.root @ (w / np.sqrt(n * (eta + chosen)))
    residual, squares, largest = np.zeros((d2, d2)), 0.0, 0.0
    for done, (start, stop) in enumerate(spans, 1):
        k = marks.between(x.block(start, stop))
        e = targets.raw(start, stop) - k @ weights
        residual += e.T @ e / n
        if problem.loo:
            h = ((k @ whitening) ** 2).sum(axis=1)
            largest = max(largest, float(h.max()))
            squares += float(((e / (1 - h)[:, None]) ** 2).sum()) / n
        tell(told, done, len(spans))
    function = KernelMap(
        problem.kernel,
        marks.rows,
        np.ldexp(weights, problem.unit),
        values,
        norm=_norm(solution.T @ solution, 2 * problem.unit - values.exponent),
        iterations=0,
        left=0.0,
        df_se=0.0,
    )
    df = float((eta / (eta + chosen)).sum())
    loo, why = (squares, None) if problem.loo else (math.nan, None)
    if largest > 1 - _LEVERAGE:
        loo, why = math.nan, _ALONE
    return problem.stitch(function, ridges, scores, best, residual, total, df, loo, [why])


# ---- with all rows: conjugate gradients ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _System:
    """(K + μ)x = b, and an approximate inverse of K + μ by Nyström features."""

    a: KernelMatrix
    ridge: float  # μ = nλ, in the units of a
    features: Array  # (n, r)
    inverse: Array  # (r, r) (Ψ'Ψ + μ)⁻¹

    @staticmethod
    def of(a: KernelMatrix, x: Matrix, values: KernelValues, ridge: float, seed: int, memory: int | None) -> _System:
        m = min(x.n, _LANDMARKS, max(1, max(_BUDGET, memory or 0) // (8 * x.n)))
        marks = _Landmarks.drawn(x, values, m, seed)
        features = np.empty((x.n, marks.root.shape[1]))
        for start, stop in blocks(x.n, [x.d, m]):
            features[start:stop] = marks.between(x.block(start, stop)) @ marks.root
        features *= 2.0 ** ((values.exponent - a.exponent) / 2)
        theta, w = np.linalg.eigh(features.T @ features)
        return _System(a, x.n * ridge, features, (w / (np.maximum(theta, 0.0) + x.n * ridge)) @ w.T)

    def multiply(self, v: Array) -> Array:
        return self.a.multiply(v) + self.ridge * v

    def nearly_solved(self, b: Array) -> Array:
        """(ΨΨ' + μ)⁻¹b, by Woodbury's identity."""
        return (b - self.features @ (self.inverse @ (self.features.T @ b))) / self.ridge

    def solved(self, b: Array) -> _Solution:
        """Preconditioned conjugate gradients for each column, all in one sweep; columns that are done leave."""
        size = np.sqrt((b * b).sum(axis=0))
        goal = _GOAL[self.a.single] * size
        x, k, rest, left = np.zeros_like(b), np.zeros_like(b), b, size
        iterations, indefinite, before = 0, False, math.inf
        while iterations < _ITERATIONS and not indefinite:
            open_ = np.flatnonzero(left > goal)
            worst = float((left[open_] / size[open_]).max(initial=0.0))
            if worst == 0 or worst > before / 4:
                break
            before = worst
            step, count, indefinite = self._gradients(rest[:, open_], goal[open_], _ITERATIONS - iterations)
            iterations += count
            x[:, open_] += step
            # what the recursion takes for the residual drifts away from it: start again from what it is
            k = self.a.multiply(x)
            rest = b - k - self.ridge * x
            left = np.sqrt((rest * rest).sum(axis=0))
        left = left / np.where(size > 0, size, 1.0)
        return _Solution(x, k, iterations, left, indefinite)

    def _gradients(self, b: Array, goal: Array, most: int) -> tuple[Array, int, bool]:
        x, r = np.zeros_like(b), b.copy()
        open_ = np.arange(b.shape[1])
        z = self.nearly_solved(r)
        p, rz = z, (r * z).sum(axis=0)
        best, stuck = math.inf, 0
        for count in range(1, most + 1):
            q = self.multiply(p)
            along = (p * q).sum(axis=0)
            if not (along > 0).all():
                return x, count, True
            if not (rz > 0).all():  # all digits of the preconditioner are gone
                return x, count, False
            step = rz / along
            x[:, open_] += step * p
            r[:, open_] -= step * q
            norms = np.sqrt((r[:, open_] ** 2).sum(axis=0))
            worst = float((norms / goal[open_]).max())
            best, stuck = (worst, 0) if worst < best / 2 else (best, stuck + 1)
            if stuck > 4 * eigen.STUCK:
                break
            going = norms > goal[open_]
            open_, p, rz = open_[going], p[:, going], rz[going]
            if not len(open_):
                break
            z = self.nearly_solved(r[:, open_])
            new = (r[:, open_] * z).sum(axis=0)
            p, rz = z + (new / rz) * p, new
        return x, count, False


@dataclass(frozen=True, eq=False)
class _Solution:
    x: Array  # (n, k)
    product: Array  # (n, k) Kx
    iterations: int
    left: Array  # (k,) residuals as a part of the right-hand sides
    indefinite: bool


def _by_gradients(problem: _Problem) -> Stitch:
    """O(n²(d1 + d2)) time for each iteration, O(n(d2 + m)) memory."""
    x, targets, values, unit = problem.x, problem.targets, problem.values, problem.unit
    a = eigen.kernel_matrix(
        x, problem.kernel, centered=False, precision="highest", memory=problem.memory, progress=None
    )
    n, d2 = x.n, targets.x.d
    f2 = targets.raw(0, n)
    ridges = problem.ridges(scaled(a.trace / n, a.exponent), scaled(a.rounding, a.exponent), by_landmarks=False)
    best, scores = 0, None
    reasons: list[str | None] = []
    if len(ridges) > 1:
        told = phase(problem.progress, "ridges", eigen.EXPECTED)
        tried = tasks.kare(x, f2, problem.kernel, ridges, seed=problem.seed, memory=problem.memory, progress=told)
        scores = tried.value
        best = _least(scores)
    a = replace(a, progress=phase(problem.progress, "solving", eigen.EXPECTED))
    chosen = scaled(float(ridges[best]), -a.exponent)
    system = _System.of(a, x, values, chosen, problem.seed, problem.memory)
    exact = n <= _EXACT or (problem.loo and n <= _MOST_LEFT_OUT)
    signs = np.random.default_rng([problem.seed, 4]).choice([-1.0, 1.0], (n, 0 if exact else _PROBES))
    found = system.solved(np.hstack([f2, signs]))
    alpha, predicted = found.x[:, :d2], found.product[:, :d2]
    diagonal = _leverages(system) if exact else None
    kept = diagonal if diagonal is not None else n - system.ridge * (signs * found.x[:, d2:]).sum(axis=0)
    function = KernelMap(
        problem.kernel,
        x,
        np.ldexp(alpha, unit - a.exponent + values.exponent),
        values,
        norm=math.nan,
        iterations=found.iterations,
        left=float(found.left.max(initial=0.0)),
        df_se=0.0 if exact else float(kept.std(ddof=1)) / math.sqrt(_PROBES),
    )
    if a.single:  # tiles round the kernel's values, and large coefficients show it; the map itself has them in float64
        for start, stop in blocks(n, [x.d, d2]):
            predicted[start:stop] = np.ldexp(function(x.block(start, stop)), -unit)
    e = f2 - predicted
    # a certificate, so no less for what K is rounded by: n² independent errors of values of the size of K_ii
    square = alpha.T @ predicted + 2 * EPS / math.sqrt(n) * max(a.trace, 0.0) * (alpha.T @ alpha)
    function = replace(function, norm=_norm(square, 2 * unit - a.exponent))
    loo = math.nan
    if problem.loo and diagonal is None:
        reasons.append(
            f"loo of {n} rows takes as many solutions, and {_MOST_LEFT_OUT} are the most; give rank, the number of "
            "landmarks, where it takes none"
        )
    elif problem.loo and diagonal is not None:
        alone = float(diagonal.max()) > 1 - _LEVERAGE
        reasons.append(_ALONE if alone else None)
        loo = math.nan if alone else float(((e / (1 - diagonal)[:, None]) ** 2).sum()) / n
    if found.indefinite:
        reasons.append(f"K/n + ridge is not positive definite at ridge {ridges[best]:.3g}; use a larger one")
    elif function.left > _TOLERANCE[a.single]:
        reasons.append(
            f"conjugate gradients left residuals of {function.left:.1e}, more than {_TOLERANCE[a.single]:.0e}, after "
            f"{found.iterations} iterations; use a larger ridge"
        )
    if chosen < a.rounding:
        reasons.append(
            f"ridge {ridges[best]:.3g} is below the rounding of the kernel's values, about "
            f"{scaled(a.rounding, a.exponent):.1e}; use a larger one" + (", or float64" if a.single else "")
        )
    return problem.stitch(
        function,
        ridges,
        scores,
        best,
        e.T @ e / n,
        float(np.vdot(f2, f2)) / n,
        float(kept.sum() if exact else kept.mean()),
        loo,
        reasons,
    )


def _leverages(system: _System) -> Array:
    """(n,) H_ii of H = K(K + μ)⁻¹ = 1 − μ(K + μ)⁻¹, from a few of its columns at a time."""
    n = system.a.n
    out = np.empty(n)
    for start, stop in _spans(n, eigen.TOGETHER):
        columns = np.zeros((n, stop - start))
        columns[np.arange(start, stop), np.arange(stop - start)] = 1.0
        found = system.solved(columns).x[start:stop]
        out[start:stop] = 1 - system.ridge * np.diag(found)
    return out
