"""Stitching: the map from one model's features to another's, fitted by least squares from streamed moments.

Everything is fitted on few rows that have the moments of the data: of sums of squares by an eigendecomposition, in one
pass at the price of two matrix products. Where that would cost digits, because F1 is ill-conditioned or nothing is left
of F2, a second pass makes them by QR factorisations, which never square a condition number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, KernelName
from gramian.once import once
from gramian.progress import Progress, expect, one_bar, phase, tell
from gramian.reasons import told
from gramian.results.provenance import provenance
from gramian.rows.arrays import check_budget, check_count, check_number, check_seed, one_of, plain_number, require_rows
from gramian.rows.sources import matrix
from gramian.stitching import kernel_ridge
from gramian.stitching.parts import (
    Few,
    Labels,
    Map,
    Pair,
    Part,
    Spectrum,
    energy,
    few_of,
    joined,
    pair_of,
    part_of_moments,
    procrustes,
)
from gramian.stitching.stitch import Stitch
from gramian.sweeps import factor
from gramian.sweeps.centred import blocks
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import EPS, norms, svd
from gramian.sweeps.moments import CLOUDED, UNDERFLOWED, FeatureMoments, unseen
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Kind: TypeAlias = Literal["linear", "affine", "orthogonal", "scaled_orthogonal", "low_rank", "kernel_ridge"]

_WELL_CONDITIONED = 1e4  # of Σ11: sums of squares keep 12 digits of the map up to here,
_SMALL = 1e-6  # and 10 of what is left of F2 down to this part of it
_LEVERAGE = 1e-8  # below this distance from 1, a row alone decides what is predicted for it
_DOUBTFUL = (
    "F1 is ill-conditioned or next to nothing of F2 is left, and moments have half of the digits: give arrays for all"
)
_FEW = 4  # rows for each feature: from there on sums of squares are worth a try
_LAPACK = 10.0  # times that the products of a square matrix take, that a map is solved for in
_MOST_FOLDS = 1000
_PER_DECADE = 10  # ridges that "gcv" tries before it refines


# ---- fitting --------------------------------------------------------------------------------------------------------


@public
@one_bar
def fit_stitch(
    F1: object,
    F2: object | None = None,
    *,
    kind: Kind = "linear",
    ridge: float | Literal["gcv"] | Sequence[float] = 0.0,
    rank: int | None = None,
    kernel: Kernel | KernelName | None = None,
    rcond: float | None = None,
    loo: bool = False,
    folds: int | None = None,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Stitch:
    """The map s from the features of one model to those of another with the least mean of ‖f2 − s(f1)‖².

    Parameters
    ----------
    F1 : array of shape (n, d1), or FeatureMoments
        Features of the model whose first layers are used. An array of NumPy, torch, CuPy, JAX or another library that
        speaks DLPack, or the path of a file; or the merged moments of F1 and F2.
    F2 : array of shape (n, d2)
        Features of the model whose last layers are used; row i of both is the same sample. Left out if F1 is
        FeatureMoments.
    kind : {"linear", "affine", "orthogonal", "scaled_orthogonal", "low_rank", "kernel_ridge"}
        S f1; S f1 + b; S with S'S = 1, which needs d1 ≤ d2; a multiple of such; S of rank at most `rank`; ridge
        regression with a kernel.
    ridge : float, "gcv" or sequence of floats
        λ of S = Σ21(Σ11 + λ)⁻¹, in units of Σ11: the penalty λ‖S‖² on the mean of ‖f2 − S f1‖². "gcv" finds the λ with
        the least generalised cross-validation; of a sequence the one with the least error of the folds is taken, or
        without folds that of the least generalised cross-validation. Not for orthogonal maps.
    rank : int, optional
        Of kind "low_rank". Of kind "kernel_ridge" the number of landmarks, rows drawn by the seed in whose span the map
        is sought (Nyström); left out, all rows, by conjugate gradients.
    kernel : kernel or its name, optional
        Of kind "kernel_ridge": a name or ``gm.RBF(bandwidth=2.0)``; left out, "rbf" of the median distance.
    rcond : float, optional
        Directions of F1 below this part of its largest singular value are not used. Left out: those that the rounding
        of the entries, or of moments, explains.
    loo : bool
        Whether to make another pass for the leave-one-out error; for linear and affine maps and kernel ridge.
    folds : int, optional
        Fit as many times without one part of the rows, and measure the error on that part.
    seed : int
        Of the parts, of landmarks and of the signs that a trace is estimated by.
    memory : int, optional
        Bytes that moments may take: 8(d1 + d2)² for each fold.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

    Returns
    -------
    Stitch
        A function on rows, with ``.matrix``, ``.offset``, ``.misalignment`` (Ã₂), ``.gcv``, ``.loo``, ``.cv``,
        ``.to_torch()``. ``.reason`` says what is nan or to be doubted, as a perfect fit of as many features as rows
        (of centred rows n − 1), or the misalignment of moments that lost its digits.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n(d1+d2)²) time and 8(d1+d2)² bytes, in BLAS on the host, one pass after that which finds NaN. Where sums of
    squares would cost digits, because the condition number of Σ11 + λ is above 1e4 or Ã₂ below 1e-6 of tr Σ22, another
    pass makes QR factorisations; from FeatureMoments, which have no rows, Ã₂ is nan, and ``.reason`` says so, where no
    three digits of it are left. Ctrl-C waits for the factorisation in LAPACK that is running, which cannot be
    interrupted: O((d1+d2)³). Blocks of arrays on a CUDA device are copied to the host. Kernel ridge: a sweep over the
    pairs of rows, O(n²(d1+d2)) where the arrays lie, for each step of conjugate gradients, and O(n(d2+512)) memory;
    beyond 512 rows ``df`` is an estimate, with ``.function.df_se``. With m landmarks two passes, O(nm(d1+m)) and O(m²).
    ``.function`` has ``norm``, for `lipschitz.rkhs`, and ``iterations``. If F1 does not have full rank, S is the least
    of all that fit. Source: Insulla, Huang, Rosasco 2025; Schönemann 1966; Golub et al. 1979; Theory, 5.1, 5.2, 5.7,
    5.8.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> F1 = np.random.default_rng(0).standard_normal((100, 3))
    >>> stitch = gm.fit_stitch(F1, F1 @ np.array([[1.0, 0], [0, 2], [1, 1]]) + 5, kind="affine")
    >>> stitch.matrix.round(12) + 0.0, stitch.offset.round(12)
    (array([[1., 0., 1.],
           [0., 2., 1.]]), array([5., 5.]))
    """
    one_of(kind, get_args(Kind), "kind")
    check_budget(memory, progress)
    seed = check_seed(seed)
    if kind == "kernel_ridge":
        return kernel_ridge.fit(
            F1, F2, kernel, _ridges(ridge), rank=rank, rcond=rcond, loo=loo, folds=folds, seed=seed, memory=memory,
            progress=progress,
        )  # fmt: skip
    fit = _Fit(kind, rank, rcond, _ridges(ridge))
    _check_arguments(fit, kernel, loo, folds)
    made, given = _fitted(fit, F1, F2, loo, folds, seed, memory, progress)
    return replace(made, provenance=provenance(given, seed=None if isinstance(F1, FeatureMoments) else seed))


def _fitted(
    fit: _Fit,
    F1: object,
    F2: object | None,
    loo: bool = False,
    folds: int | None = None,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> tuple[Stitch, dict[str, object]]:
    """The map, and what it is of: plain numbers have no use for a digest of that."""
    if isinstance(F1, FeatureMoments):
        phase(progress, "solving")
        return _from_moments(fit, F1, F2, loo, folds, memory), {"F1": F1}
    if F2 is None:
        raise TypeError("fit_stitch needs F1 and F2, or FeatureMoments of both in place of F1; F2 is missing")
    x, y = matrix(F1, "F1"), matrix(F2, "F2")
    pair = pair_of(x, y, fit.affine)
    n, d1, d2 = x.n, x.d, y.d
    parts = 1 if folds is None else int(folds)
    require_rows(n, max(2, parts), "fit_stitch" if folds is None else f"fit_stitch with {folds} folds")
    _check_shape(fit, d1, d2, parts, memory)
    part_of = None if folds is None else _labels(n, parts, int(seed))
    units = _Units(
        (d1, d2),
        (pair.x.exponent // 2, pair.y.exponent // 2),
        (pair.x.mean + pair.taken[0], pair.y.mean + pair.taken[1]),
    )
    few = n // parts < _FEW * (d1 + d2)  # sums would save no time, and each fold is a different fit
    solving = _LAPACK * (d1 + d2) / n
    expect(progress, 1 + solving + bool(loo))
    found = None
    if not few:
        sums = pair.sums(part_of, parts, progress)
        phase(progress, "solving", solving)
        found = fit.best(sums, units)
    if found is None or found.doubtful:
        triangles = pair.triangles(part_of, parts, progress)
        phase(progress, "solving", solving)
        found = fit.best(triangles, units)
    return found.stitch(_leave_one_out(pair, found, progress) if loo else (math.nan, None)), {"F1": x, "F2": y}


@public
@one_bar
def misalignment(
    F1: object, F2: object | None = None, *, rcond: float | None = None, progress: Progress | None = None
) -> float:
    """Ã₂ = min over S of the mean of ‖f2 − S f1‖² = tr(Σ22 − Σ21 Σ11⁺ Σ12): what no linear map of f1 says of f2.

    Parameters
    ----------
    F1, F2, rcond, progress
        As in `fit_stitch`, whose kind "linear" gives the map.

    Returns
    -------
    float
        From 0 to tr Σ22, in squared units of F2; nan with an `UndefinedWarning` for FeatureMoments that have not three
        digits of it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost, and what Ctrl-C waits for, as `fit_stitch`, which also gives what is to be doubted: with as many features as
    rows it is 0 whatever the data, and of n rows it is too small by d1/n of itself. Does not change under invertible
    maps of F1, nor rotations of F2; features are not centred (kind "affine" of `fit_stitch` centres). Source: Insulla,
    Huang, Rosasco 2025; Theory, 5.3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[1.0], [2], [3], [4]]), np.array([[1.0], [3], [2], [4]])
    >>> round(gm.misalignment(x, y) * 120, 9)
    59.0
    """
    check_budget(None, progress)
    fit = _Fit("linear", None, rcond, [0.0])
    _check_arguments(fit, None, False, None)
    found, _ = _fitted(fit, F1, F2, progress=progress)
    for doubt in (_DOUBTFUL, CLOUDED, UNDERFLOWED):
        if isinstance(F1, FeatureMoments) and found.reason is not None and doubt in found.reason:
            return told(math.nan, doubt, "misalignment")
    return told(found.misalignment, found.reason if math.isnan(found.misalignment) else None, "misalignment")


@dataclass(frozen=True, eq=False)
class _Units:
    """How the data were scaled: f = 2^exponent · (reference + z)."""

    widths: tuple[int, int]
    exponents: tuple[int, int]
    reference: tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class _Fit:
    """What to fit."""

    kind: Kind
    rank: int | None
    rcond: float | None
    ridges: list[float] | None  # to choose from; None: all of them, by GCV

    @property
    def affine(self) -> bool:
        return self.kind == "affine"

    @property
    def rotates(self) -> bool:
        return self.kind in ("orthogonal", "scaled_orthogonal")

    def best(self, parts: Sequence[Part], units: _Units) -> _Found:
        """Of all ridges; with more than one part, by what is left of each part after a fit to the others."""
        d1 = units.widths[0]
        whole = _Solver(self, units, few_of(joined(parts), d1, self.affine))
        n = whole.few.n
        if self.ridges is None:
            tried = [_least_gcv(whole.by_components)]
        else:
            tried = [scaled(r, -2 * units.exponents[0]) for r in self.ridges]
        scores = None
        if len(parts) > 1:
            left = np.zeros(len(tried))
            for k, part in enumerate(parts):
                others = _Solver(self, units, few_of(joined([*parts[:k], *parts[k + 1 :]]), d1, self.affine))
                left += [part.error(others.solved(r).error_weights(self.affine)) for r in tried]
            scores = left / n
        elif len(tried) > 1:
            scores = np.array([whole.by_components.gcv(r) for r in tried]) / n
        chosen = 0 if scores is None or np.isnan(scores).all() else int(np.nanargmin(scores))
        return _Found(
            fit=self,
            units=units,
            squared=parts[0].rows is None,
            few=whole.few,
            spectrum=whole.spectrum(tried[chosen]),
            map=whole.solved(tried[chosen]),
            ridge=tried[chosen],
            scores=scores if self.ridges is not None and len(self.ridges) > 1 else None,
            cv=float(scores[chosen]) if scores is not None and len(parts) > 1 else math.nan,
        )


@dataclass(frozen=True, eq=False)
class _Solver:
    """The best maps of few rows for any ridge, from one decomposition, and one more where there is no ridge."""

    fit: _Fit
    units: _Units
    few: Few

    @once
    def by_components(self) -> Spectrum:
        return Spectrum.of(self.few, self.fit.rcond, unit_columns=False)

    @once
    def _without_units(self) -> Spectrum:
        return Spectrum.of(self.few, self.fit.rcond, unit_columns=True)

    def spectrum(self, ridge: float) -> Spectrum:
        return self.by_components if ridge else self._without_units

    def solved(self, ridge: float) -> Map:
        """For a ridge in scaled units."""
        fit = self.fit
        if fit.rotates:
            return procrustes(self.few, fit.kind == "scaled_orthogonal", self.units.exponents)
        spectrum = self.spectrum(ridge)
        found = spectrum.solution(ridge)
        if fit.rank is None:
            return found
        top = svd(np.sqrt(spectrum.kept(ridge))[:, None] * spectrum.inside)[2][: fit.rank].T
        return replace(found, b=found.b @ top @ top.T, df=math.nan)


def _ridges(ridge: object) -> list[float] | None:
    """The ridges to choose from, None for "gcv"."""
    if isinstance(ridge, str):
        one_of(ridge, ["gcv"], "ridge, where it is a word,")
        return None
    ridge = plain_number(ridge, "ridge")
    single = isinstance(ridge, Real)
    values: list[Any] | None = [ridge] if single else list(ridge) if isinstance(ridge, Sequence | np.ndarray) else None
    if values is None or any(isinstance(v, bool) or not isinstance(v, Real) for v in values):
        raise TypeError(f"ridge must be a number, 'gcv' or a sequence of numbers, got {type(ridge).__name__}")
    if not values:
        raise ValueError("ridge must have at least one number")
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"ridge must be finite and at least 0, got {value}")
    return [float(v) for v in values]


def _check_arguments(fit: _Fit, kernel: object, loo: object, folds: object) -> None:
    if kernel is not None:
        raise ValueError(f"kernel belongs to kind 'kernel_ridge', got kind {fit.kind!r}")
    if fit.rotates and fit.ridges != [0.0]:
        raise ValueError(f"ridge has no meaning for kind {fit.kind!r}, whose maps have a fixed size; leave it out")
    if fit.rank is None and fit.kind == "low_rank":
        raise ValueError("rank is needed for kind 'low_rank': the most that S may have")
    if fit.rank is not None and fit.kind != "low_rank":
        raise ValueError(f"rank belongs to kinds 'low_rank' and 'kernel_ridge' (its landmarks), got kind {fit.kind!r}")
    if fit.rank is not None:
        check_count(fit.rank, "rank")
    if fit.rcond is not None:
        check_number(fit.rcond, "rcond")
        if not 0 <= fit.rcond < 1:
            raise ValueError(f"rcond must be at least 0 and below 1, got {fit.rcond}")
    if not isinstance(loo, bool | np.bool_):
        raise TypeError(f"loo must be True or False, got {type(loo).__name__}")
    if loo and fit.kind not in ("linear", "affine"):
        raise ValueError(f"loo is for kinds 'linear' and 'affine', got {fit.kind!r}; folds are for all")
    if folds is not None:
        check_count(folds, "folds", 2)
        if int(cast(int, folds)) > _MOST_FOLDS:
            raise ValueError(f"folds must be at most {_MOST_FOLDS}, got {folds}; loo leaves each row out in turn")


def _check_shape(fit: _Fit, d1: int, d2: int, parts: int, memory: int | None) -> None:
    if fit.rotates and d1 > d2:
        raise ValueError(
            f"kind {fit.kind!r} needs at least as many features in F2 as in F1, got {d2} and {d1}: a matrix of shape "
            f"({d2}, {d1}) with S'S = 1 does not exist; reduce F1 to {d2} features, or use kind 'low_rank' or 'linear'"
        )
    if fit.rank is not None and fit.rank > min(d1, d2):
        raise ValueError(f"rank must be at most {min(d1, d2)}, the smaller number of features, got {fit.rank}")
    need = 8 * parts * (d1 + d2 + fit.affine) ** 2
    if memory is not None and need > memory:
        raise ValueError(f"moments of {parts} x {d1 + d2} features take {need} bytes, but memory is {memory}")


@dataclass(frozen=True, eq=False)
class _Found:
    """The best map, and the rows that say how good it is."""

    fit: _Fit
    units: _Units
    squared: bool  # whether few rows come from sums of squares
    few: Few
    spectrum: Spectrum
    map: Map
    ridge: float  # in scaled units
    scores: Array | None  # of a sequence of ridges, in scaled units
    cv: float  # in scaled units; nan without folds

    @once
    def error(self) -> Array:
        """(m, d2) rows with the second moments of what is left of y."""
        return self.few.y - self.few.x @ self.map.b

    @property
    def doubtful(self) -> bool:
        """Whether sums of squares may have cost more than half of the digits."""
        few = self.few
        if not self.squared:
            return False
        if few.lost > _WELL_CONDITIONED or np.vdot(self.error, self.error) < _SMALL * np.vdot(few.y, few.y):
            return True
        return not self.fit.rotates and self._condition() > _WELL_CONDITIONED

    @property
    def untold(self) -> bool:
        """Whether sums of squares, where there is nothing else, leave the misalignment without digits."""
        few, basis = self.few, self.spectrum.basis
        left, total = energy(self.error), energy(few.y)
        if self.fit.rotates:
            basis = factor.whole(few.x, few.raw[: few.x.shape[1]]).basis
        x = factor.side(few.x, basis, few.raw[: few.x.shape[1]], few.rounding, few.n)
        y = factor.whole(few.y, few.raw[few.x.shape[1] :])
        selected = self.fit.rotates or self.fit.rcond is not None or self.ridge > 0
        error = factor.energy_error(x, y, whitened=False, selected=selected)
        return few.gone or (total > 0 and not factor.trusted(error * total, left))

    def _condition(self) -> float:
        """Of Σ11 + λ for the least λ; without one, of Σ11 for columns of length 1 where it does not vanish."""
        x = self.few.x[:, norms(self.few.x) > 0]
        if not x.size:
            return 1.0
        ridge = 0.0 if self.fit.ridges is None else scaled(min(self.fit.ridges), -2 * self.units.exponents[0])
        s = np.linalg.svd(x / norms(x) if self.fit.ridges == [0.0] else x, compute_uv=False)
        least, most = np.hypot(s[[-1, 0]], math.sqrt(self.few.n * ridge))
        return float((most / least) ** 2) if least > 0 else math.inf

    def stitch(self, second_pass: tuple[float, str | None]) -> Stitch:
        """In the units of the data; with the leave-one-out error in scaled units and what there is to say of it."""
        few, units, n = self.few, self.units, self.few.n
        ex, ey = units.exponents
        b = self.map.b
        residual = self.error.T @ self.error / n
        value, total = float(np.trace(residual)), float(np.vdot(few.y, few.y)) / n
        df, centred = self.map.df, self.map.mean and not self.fit.affine
        left = 1 - (df + centred) / n
        reasons = [second_pass[1]]
        if centred:
            left = left if left > EPS * n else math.nan
            reasons.append(
                f"F1 has rank {n - 1} = n − 1 after centring, so it fits anything perfectly, related or not; take more "
                "rows than features, or a ridge"
            )
        elif left <= EPS * n:
            left = math.nan
            reasons.append(
                f"{round(df)} parameters for each output fit {n} rows perfectly, whatever they hold: take more rows, "
                "a ridge, or folds"
            )
        if not self.fit.rotates and value > (1 + 1e-6) * total:
            value = math.nan
            residual = np.full_like(residual, np.nan)
            reasons.append(
                "rounding took all digits of the map: it does worse than no map at all on the rows of the fit"
            )
        if total == 0:
            reasons.append("F2 is constant" if self.fit.affine else "F2 is 0")
        centre_x, centre_y = units.reference
        # of the two large terms each keeps its digits; the difference is what rows near 0 get
        offset = self.map.offset + centre_y - centre_x @ b
        with np.errstate(over="ignore"):
            matrix, offset = np.ldexp(np.ascontiguousarray(b.T), ey - ex), np.ldexp(offset, ey)
        if not (np.isfinite(matrix).all() and np.isfinite(offset).all()):
            reasons.append("coefficients of the map are beyond float64: scale F1 or F2")
        return Stitch(
            kind=self.fit.kind,
            n=n,
            d1=units.widths[0],
            d2=units.widths[1],
            matrix=matrix,
            offset=offset,
            ridge=scaled(self.ridge, 2 * ex),
            misalignment=scaled(value, 2 * ey),
            misalignment_ratio=value / total if total > 0 else math.nan,
            residual=np.ldexp(residual, 2 * ey),
            df=df,
            unbiased=scaled(value / left, 2 * ey),
            gcv=scaled(value / left**2, 2 * ey),
            loo=scaled(second_pass[0], 2 * ey),
            reason="; ".join(filter(None, reasons)) or None,
            cv=scaled(self.cv, 2 * ey),
            ridges=None if self.scores is None else np.array(self.fit.ridges),
            scores=None if self.scores is None else np.ldexp(self.scores, 2 * ey),
        )


def _least_gcv(spectrum: Spectrum) -> float:
    """The λ of the least generalised cross-validation: on a grid, then between its neighbours."""
    from scipy.optimize import minimize_scalar

    s, n = spectrum.basis.singular, spectrum.few.n
    if not len(s):
        return 0.0
    low, high = (2 * math.log10(v / math.sqrt(n)) for v in (s[-1], s[0]))
    grid = np.linspace(low - 3, high + 3, round(_PER_DECADE * (high - low + 6)) + 1)
    scores = np.array([spectrum.gcv(0.0), *(spectrum.gcv(10**at) for at in grid)])
    best = int(np.nanargmin(scores))
    if best == 0:
        return 0.0
    at = grid[best - 1]
    step = grid[1] - grid[0]
    found = minimize_scalar(lambda t: spectrum.gcv(10**t), bounds=(at - step, at + step), method="bounded")
    return float(10**found.x) if found.fun < scores[best] else float(10**at)


def _leave_one_out(pair: Pair, found: _Found, progress: Progress | None) -> tuple[float, str | None]:
    """The mean of ‖e‖²/(1 − h)² (Theory, 5.8), and why there is none; a pass over the rows."""
    n, few = found.few.n, found.few
    spans = blocks(n, [pair.x.x.d, pair.y.x.d])
    progress = phase(progress, "leaving rows out")
    total = 0.0
    for done, (start, stop) in enumerate(spans, 1):
        x, y = np.empty((stop - start, pair.x.x.d)), np.empty((stop - start, pair.y.x.d))
        pair.x.fill(start, stop, x)
        pair.y.fill(start, stop, y)
        x -= few.mean_x
        y -= few.mean_y
        y -= x @ found.map.b
        inside = x @ found.map.spread
        left = 1 - np.einsum("ij,ij->i", inside, inside) - found.map.mean / n
        if (left < _LEVERAGE).any():
            row = start + int((left < _LEVERAGE).argmax())
            return math.nan, f"without row {row} there is no telling some direction of F1, so loo is undefined"
        total += float((np.einsum("ij,ij->i", y, y) / left**2).sum())
        tell(progress, done, len(spans))
    return total / n, None


def _labels(n: int, parts: int, seed: int) -> Labels:
    """(n,) which part each row is in: equal parts, at random."""
    return np.random.default_rng([seed, 5]).permutation((np.arange(n) % parts).astype(np.int16))


def _from_moments(fit: _Fit, F1: FeatureMoments, F2: object, loo: bool, folds: object, memory: int | None) -> Stitch:
    if F2 is not None:
        raise ValueError("fit_stitch takes FeatureMoments alone, they hold both arrays; leave F2 out")
    if F1.yy.shape[0] == 0:
        raise ValueError("fit_stitch needs two arrays; these moments hold one alone")
    if loo or folds is not None:
        raise ValueError(f"{'loo' if loo else 'folds'} needs the rows, which FeatureMoments do not have; give arrays")
    require_rows(F1.n, 2, "fit_stitch")
    d1, d2 = F1.xy.shape
    _check_shape(fit, d1, d2, 1, memory)
    part, reference = part_of_moments(F1, fit.affine)
    found = fit.best([part], _Units((d1, d2), (0, 0), reference))
    few, doubt = found.few, _DOUBTFUL if found.untold else None
    if not (fit.rotates or found.ridge):
        if unseen(F1)[0]:
            doubt = UNDERFLOWED
        elif part.concentrated and fit.rcond is None and factor.clouded(few.x, few.rcond, few.rounding, few.n):
            doubt = CLOUDED
    stitch = found.stitch((math.nan, doubt))
    if doubt is None:
        return stitch
    lost = dict.fromkeys(("misalignment", "misalignment_ratio", "unbiased", "gcv"), math.nan)
    return replace(stitch, residual=np.full_like(stitch.residual, math.nan), **lost)  # type: ignore[arg-type]
