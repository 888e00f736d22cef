"""Maximum mean discrepancy: whether two samples come from one distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import cast, get_args

import numpy as np

from gramian.kernels import (
    OF_DIFFERENCES,
    ArcCosine,
    Cosine,
    Distance,
    Kernel,
    KernelName,
    Linear,
    Polynomial,
    as_kernel,
)
from gramian.measures.kernel import equal_rows
from gramian.progress import Progress, expect, one_bar
from gramian.reasons import told
from gramian.rows.arrays import DType, Matrix, about_least, check_budget, one_of, require_rows, same_device
from gramian.rows.sources import matrix
from gramian.sums import of_arrays
from gramian.sweeps import estimators, gram
from gramian.sweeps.estimators import Estimator
from gramian.sweeps.products import sweep_matmul
from gramian.sweeps.represent import Precision, Representation, bandwidth_phase, landmarks, represent, widened
from gramian.words import public

_EQUAL = 1e-4  # part of the mean diagonal from which on samples of at most ten thousand rows are not the same
_DIGITS = 1e5  # times its rounding below which a difference of sums is made again with more digits
_TOLERANCE = 64.0  # times its rounding below which it has too few
_SORTED = 1 << 24  # numbers that are sorted to see whether two samples are the same
_ALIKE = 3e-6  # part of the value of independent samples that is no more than a few of float32's roundings


@of_arrays
@public
@one_bar
def mmd2(
    X: object,
    Z: object,
    kernel: Kernel | KernelName = "rbf",
    *,
    estimator: Estimator = "unbiased",
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Squared maximum mean discrepancy of two samples: mean k(x, x') + mean k(z, z') − 2 mean k(x, z).

    Parameters
    ----------
    X : array of shape (n, p)
    Z : array of shape (m, p)
        Unpaired samples of the same features; n and m may differ.
    kernel : kernel or its name
        An open bandwidth is the median distance of the pooled sample.
    estimator : {"unbiased", "biased"}
        "unbiased" leaves the diagonals out of the first two means; it needs n, m ≥ 2 and may be negative.
    precision, memory, progress
        As in `kernel_alignment`.

    Returns
    -------
    float
        In units of k. ``kernel="distance"`` gives half the energy distance. "biased" values of positive kernels are
        never negative, and 0 for equal samples; nan where float64 is too coarse for the kernel of rows so far from 0,
        or beside a few rows of another size that both samples hold.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O((n+m)²p) time, O(n+m) memory. Sums are shifted by landmarks, so close samples do not cancel; where a few
    odd rows in both do, a second sweep has float64 tiles, and a linear one is made from the means. Source: Gretton et
    al. 2012; Theory, 3.6.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> round(gm.mmd2(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]]), "linear", estimator="biased"), 12)
    1.0
    """
    one_of(estimator, get_args(Estimator), "estimator")
    one_of(precision, get_args(Precision), "precision")
    check_budget(memory, progress)
    x, z = matrix(X, "X"), matrix(Z, "Z")
    same_device([x, z], ["X", "Z"])
    if x.d != z.d:
        raise ValueError(f"X has {x.d} features but Z has {z.d}; both must be samples of the same features")
    for sample, name in ((x, "X"), (z, "Z")):
        require_rows(
            sample.n, 2 if estimator == "unbiased" else 1, f"mmd2 ({name})", "estimator='biased', which needs 1"
        )
    if x.dtype != z.dtype:
        wide = np.result_type(*("float32" if s.dtype == "bfloat16" else s.dtype for s in (x, z))).name
        x, z = x.converted(cast("DType", wide), "X"), z.converted(cast("DType", wide), "Z")
    chosen = as_kernel(kernel)
    if isinstance(chosen, (Linear, Distance, *OF_DIFFERENCES)):
        x, z = about_least([x, z])
    expect(progress, gram.SWEEPS)
    pooled = represent(chosen, x, z, progress=bandwidth_phase(progress, chosen, x.n + z.n))
    if estimators.coarse(pooled):
        return told(math.nan, estimators.nothing_left(pooled, "X and Z together"), "mmd2")
    for again in (False, True):
        blocks = _block_sums(pooled, x.n, precision=precision, memory=memory, progress=progress)
        value = _mmd2_of(blocks, x.n, z.n, estimator)
        if math.isnan(value):
            return told(value, "values of the kernel are beyond float64; scale the rows down", "mmd2")
        alike = (abs(blocks.diagonal_x) + abs(blocks.diagonal_z)) / pooled.n
        if estimator == "biased" and value < _EQUAL * alike and _same_sample(x, z):
            return 0.0
        lost = (
            blocks.rounding * pooled.n * max(1 / (k * j) for k, j in ((x.n, z.n), (x.n, x.n), (z.n, z.n)) if k * j > 1)
        )
        if abs(value) > _DIGITS * lost or _alike(pooled, lost, blocks.exponent):
            break
        if isinstance(chosen, Linear) and estimator == "biased":
            return _square_of_mean_difference(x, z)
        if again or x.dtype == "float64":
            if abs(value) > _TOLERANCE * lost or estimators.of_directions(chosen):
                break  # what is left of a kernel of directions is small beside 1: 0 is right up to rounding
            if estimators.look_at(pooled)[0]:
                return 0.0
            return told(math.nan, _too_far(pooled), "mmd2")
        pooled = widened(pooled)
    if estimator == "biased" and estimators.is_positive(pooled):
        value = max(value, 0.0)
    return estimators.scaled(value, blocks.exponent)


def _mmd2_of(blocks: _BlockSums, n: int, m: int, estimator: Estimator) -> float:
    """In scaled units."""
    if estimator == "biased":
        xx, zz = (blocks.xx + blocks.diagonal_x) / n**2, (blocks.zz + blocks.diagonal_z) / m**2
    else:
        xx, zz = blocks.xx / (n * (n - 1)), blocks.zz / (m * (m - 1))
    return xx + zz - 2 * blocks.xz / (n * m)


def _square_of_mean_difference(x: Matrix, z: Matrix) -> float:
    """‖mean x − mean z‖², from sums with twice the digits of float64."""
    x_mean, z_mean = (_means(s) for s in (x, z))
    return math.fsum(float(a - b) ** 2 for a, b in zip(x_mean, z_mean, strict=True))


def _means(x: Matrix) -> list[Fraction]:
    """Of every feature; sums of pairs of rows, then of these, each with what rounding took from it."""
    totals = [Fraction(0)] * x.d
    step = max(1, (1 << 20) // x.d)
    for start in range(0, x.n, step):
        rows = np.asarray(x.block(start, start + step), dtype=np.float64)
        lost = np.zeros_like(rows)
        while len(rows) > 1:
            if len(rows) % 2:
                rows, lost = (np.vstack([a, np.zeros((1, x.d))]) for a in (rows, lost))
            half = len(rows) // 2
            a, b = rows[:half], rows[half:]
            rows = a + b
            grown = rows - a
            lost = lost[:half] + lost[half:] + ((a - (rows - grown)) + (b - grown))
        totals = [t + Fraction(h) + Fraction(e) for t, h, e in zip(totals, rows[0], lost[0], strict=True)]
    return [t / x.n for t in totals]


@np.errstate(over="ignore", invalid="ignore")
def _alike(pooled: Representation, lost: float, exponent: int) -> bool:
    """Whether rounding is small beside what independent samples would give: then these are alike up to rounding.

    By pairs of different rows, but for the larger ones: a few odd rows do not make others differ.
    """
    kernel = pooled.kernel
    if isinstance(kernel, OF_DIFFERENCES):
        return True  # no row counts for more than 1
    X = landmarks(pooled.parts)
    norm = np.sqrt(np.square(X).sum(axis=1))
    U = X / np.where(norm > 0, norm, 1.0)[:, None]
    by = U if estimators.of_directions(kernel) else X
    square = np.square(by[:, None] - by[None, :]).sum(axis=2)
    if isinstance(kernel, Linear | Cosine):
        apart = square
    elif isinstance(kernel, Distance):
        apart = np.sqrt(square)
    else:
        if isinstance(kernel, Polynomial):
            K = (cast("float", kernel.scale) * (X @ X.T) + kernel.offset) ** kernel.degree
        else:
            cosine = np.clip(U @ U.T, -1.0, 1.0)
            angle = np.pi - np.arccos(cosine)
            size, sine = np.outer(norm, norm), np.sqrt((1 - cosine) * (1 + cosine))
            K = (angle if kernel == ArcCosine(0) else size * (sine + angle * cosine)) / np.pi
        apart = np.diag(K)[:, None] + np.diag(K) - 2 * K
    differ = square > 0
    if not differ.any():
        return False
    return bool(estimators.scaled(lost, exponent) < _ALIKE * np.quantile(apart[differ], 0.25) / pooled.n)


def _too_far(pooled: Representation) -> str:
    """Why rounding is all that is left."""
    if estimators.coarse(pooled):
        return estimators.nothing_left(pooled, "X and Z together")
    return estimators.few_rows("X or Z")


@dataclass(frozen=True)
class _BlockSums:
    """Sums over K' of a pooled sample, by who meets whom, in units of 2^exponent."""

    xx: float  # i ≠ j
    zz: float
    xz: float
    diagonal_x: float
    diagonal_z: float
    exponent: int
    rounding: float  # of one value


def _block_sums(
    pooled: Representation, n: int, *, precision: Precision, memory: int | None, progress: Progress | None
) -> _BlockSums:
    by = _sums_by_label if pooled.parts[0].device == "cpu" else _sums_by_vector
    return by(pooled, n, precision=precision, memory=memory, progress=progress)


def _sums_by_label(
    pooled: Representation, n: int, *, precision: Precision, memory: int | None, progress: Progress | None
) -> _BlockSums:
    """Row sums, and ⟨K', L⟩ with L_ij = ±1: three equations for the three blocks. On the CPU the cheaper way."""
    sign = np.ones((pooled.n, 1), dtype=np.float32)
    sign[n:] = -1
    labels = Representation((matrix(sign, "labels"),), Linear())
    g = gram.sweep_moments([pooled, labels], precision=precision, memory=memory, progress=progress)
    rows, label_shift = g.scaled_rows[0], g.scaled_shift[1]
    labelled = math.ldexp(float(g.scaled_inner[0, 1] + 2 * (label_shift @ rows)), int(g.exponent[1]))
    from_x, from_z = float(rows[:n].sum()), float(rows[n:].sum())
    xz = (from_x + from_z - labelled) / 4
    d = g.scaled_diagonal[0]
    return _BlockSums(
        from_x - xz,
        from_z - xz,
        xz,
        float(d[:n].sum()),
        float(d[n:].sum()),
        int(g.exponent[0]),
        float(g.rounding[0] * g.eps),
    )


def _sums_by_vector(
    pooled: Representation, n: int, *, precision: Precision, memory: int | None, progress: Progress | None
) -> _BlockSums:
    """K' times the indicators of both samples: nothing but the samples themselves has to be on the device."""
    indicators = np.zeros((pooled.n, 2))
    indicators[:n, 0] = indicators[n:, 1] = 1
    g = sweep_matmul(pooled, indicators, precision=precision, memory=memory, progress=progress)
    r, d = g.values, g.diagonal
    xx, zz, xz = (float(part.sum()) for part in (r[:n, 0], r[n:, 1], r[:n, 1]))
    return _BlockSums(xx, zz, xz, float(d[:n].sum()), float(d[n:].sum()), g.exponent, g.rounding)


def _same_sample(x: Matrix, z: Matrix) -> bool:
    """Whether both have the same rows, in any order (as long as they are few enough to be sorted)."""
    if equal_rows(x, z):
        return True
    if x.shape != z.shape or x.n * x.d > _SORTED:
        return False
    # adding 0 makes −0 the 0 that it is equal to
    rows = [np.ascontiguousarray(s.block(0, s.n) + 0.0) for s in (x, z)]
    first, second = (np.sort(r.view(f"V{8 * x.d}").ravel()) for r in rows)
    return bool((first == second).all())


# ---- measures with their uncertainty --------------------------------------------------------------------
