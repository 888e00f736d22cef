"""The measures: how alike two representations are, as plain numbers and with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, KernelName
from gramian.progress import Progress, expect, one_bar
from gramian.reasons import told
from gramian.rows.arrays import Matrix, one_of
from gramian.sweeps import estimators, gram, routes
from gramian.sweeps.centred import feature_route
from gramian.sweeps.estimators import Estimator, Measure
from gramian.sweeps.moments import TRUSTED, FeatureMoments
from gramian.sweeps.products import sweep_products
from gramian.sweeps.represent import Precision
from gramian.sweeps.routes import Paired
from gramian.sweeps.statistics import Statistics
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Normalize: TypeAlias = Literal["none", "unit_diagonal", "hs_norm"]

_RESOLVED = 1e-6  # part of its scale below which a difference of moments is computed from the differences instead


@public
@one_bar
def kernel_alignment(
    X: object,
    Y: object | None = None,
    kernel: Kernel | KernelName | None = None,
    *,
    kernel_y: Kernel | KernelName | None = None,
    estimator: Estimator = "biased",
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Kernel alignment, ⟨K, L⟩ / √(⟨K, K⟩⟨L, L⟩), without centring.

    Parameters
    ----------
    X : array of shape (n, p), GramMoments or FeatureMoments
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file; or the sums of two arrays in
        place of both. Arrays on a CUDA device (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample. Left out beside sums.
    kernel : kernel or its name, optional
        Of X, and of Y unless `kernel_y` is given; linear if left out. Bandwidths left open are resolved for each array
        by itself. Sums have the kernels that they were made with, and another one is an error. Names are "linear",
        "cosine", "rbf" (or "gaussian"), ...; ``gm.RBF(bandwidth=2.0)`` has a parameter.
    kernel_y : kernel or its name, optional
        Of Y, where it is another one.
    estimator : {"biased", "unbiased"}
        "unbiased" leaves out the diagonal in all three sums.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch: on a CUDA device, inner products of float32 and 16-bit data are
        as accurate as float32 ("highest"), or keep 11 bits ("high") or 8 bits ("medium") of each feature, which is
        faster. On the CPU all three are computed as "highest", and float64 is float64 everywhere.
    memory : int, optional
        Bytes that scratch may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

    Returns
    -------
    float
        In [−1, 1], in [0, 1] for the biased estimator of positive kernels; nan if a kernel matrix is 0.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.
    RuntimeError
        CUDA, with the call and the device's message.

    Notes
    -----
    O(n²(p+q)) time and O(n) memory; on the CPU, linear and cosine kernels with n well above p+q cost O(n(p+q)²).
    Source: Cristianini et al. 2001; Theory, 1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> round(gm.kernel_alignment(X, Y), 2), round(gm.kernel_alignment(X, Z), 2)
    (0.8, 0.03)
    >>> round(gm.kernel_alignment(X + 5, Z + 5), 2)  # a common shift is all that it sees; `gramian.cka` centres
    0.99
    """
    expect(progress, 1)
    return _measure("kernel_alignment", X, Y, kernel, kernel_y, estimator, precision, memory, progress)


@public
@one_bar
def hsic(
    X: object,
    Y: object | None = None,
    kernel: Kernel | KernelName | None = None,
    *,
    kernel_y: Kernel | KernelName | None = None,
    estimator: Estimator = "unbiased",
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """The Hilbert-Schmidt independence criterion.

    Biased: tr(KHLH)/n². Unbiased (Song et al. 2012, eq. 5): with K̃, L̃ the kernel matrices without their diagonals,
    [tr K̃L̃ + 1'K̃1·1'L̃1/((n−1)(n−2)) − 2/(n−2)·1'K̃L̃1] / (n(n−3)). It may be negative and is not clamped.

    Parameters
    ----------
    X : array of shape (n, p), GramMoments or FeatureMoments
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file; or the sums of two arrays in
        place of both. Arrays on a CUDA device (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample. Left out beside sums.
    kernel : kernel or its name, optional
        Of X, and of Y unless `kernel_y` is given; linear if left out. Bandwidths left open are resolved for each array
        by itself. Sums have the kernels that they were made with, and another one is an error. Names are "linear",
        "cosine", "rbf" (or "gaussian"), ...; ``gm.RBF(bandwidth=2.0)`` has a parameter.
    kernel_y : kernel or its name, optional
        Of Y, where it is another one.
    estimator : {"unbiased", "biased"}
        "unbiased" needs n ≥ 4.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch: on a CUDA device, inner products of float32 and 16-bit data are
        as accurate as float32 ("highest"), or keep 11 bits ("high") or 8 bits ("medium") of each feature, which is
        faster. On the CPU all three are computed as "highest", and float64 is float64 everywhere.
    memory : int, optional
        Bytes that scratch may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

    Returns
    -------
    float
        In units of K times those of L; 0 for constant data, nan where float64 is too coarse for the kernel of rows so
        far from 0.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n²(p+q)) time and O(n) memory; on the CPU, linear and cosine kernels with n well above p+q cost O(n(p+q)²).
    Source: Gretton et al. 2005; Theory, 3.1. With ``kernel="distance"`` four times the biased value is the squared
    distance covariance.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> angle = rng.uniform(0, 2 * np.pi, (300, 1))  # points on a circle: dependent, not correlated
    >>> round(gm.hsic(np.cos(angle), np.sin(angle), "rbf"), 3)
    0.008
    >>> round(gm.hsic(np.cos(angle), rng.permutation(np.sin(angle)), "rbf"), 3) + 0.0
    0.0
    """
    expect(progress, 1)
    return _measure("hsic", X, Y, kernel, kernel_y, estimator, precision, memory, progress)


@public
@one_bar
def cka(
    X: object,
    Y: object | None = None,
    kernel: Kernel | KernelName | None = None,
    *,
    kernel_y: Kernel | KernelName | None = None,
    estimator: Estimator = "unbiased",
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Centred kernel alignment, HSIC(X, Y) / √(HSIC(X, X)·HSIC(Y, Y)).

    Parameters
    ----------
    X : array of shape (n, p), GramMoments or FeatureMoments
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file; or the sums of two arrays in
        place of both. Arrays on a CUDA device (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample. Left out beside sums.
    kernel : kernel or its name, optional
        Of X, and of Y unless `kernel_y` is given; linear if left out. Bandwidths left open are resolved for each array
        by itself. Sums have the kernels that they were made with, and another one is an error. Names are "linear",
        "cosine", "rbf" (or "gaussian"), ...; ``gm.RBF(bandwidth=2.0)`` has a parameter.
    kernel_y : kernel or its name, optional
        Of Y, where it is another one.
    estimator : {"unbiased", "biased"}
        Which HSIC goes into the ratio. The biased one is far from 0 for independent data with many features
        (`gramian.compare` reports by how much); the unbiased one needs n ≥ 4.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch: on a CUDA device, inner products of float32 and 16-bit data are
        as accurate as float32 ("highest"), or keep 11 bits ("high") or 8 bits ("medium") of each feature, which is
        faster. On the CPU all three are computed as "highest", and float64 is float64 everywhere.
    memory : int, optional
        Bytes that scratch may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

    Returns
    -------
    float
        In [−1, 1] for "unbiased", [0, 1] for "biased"; nan if a representation is constant, or its kernel matrix is up
        to the rounding of float64 (a `UndefinedWarning` says which).

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n²(p+q)) time and O(n) memory; on the CPU, linear and cosine kernels with n well above p+q cost O(n(p+q)²). Linear
    CKA does not change under rotations, scaling and shifts of either array. Source: Kornblith et al. 2019; Theory, 3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 20))  # features of one model
    >>> Y = X @ rng.standard_normal((20, 30)) + 3 * rng.standard_normal((500, 30))  # of another: mixed, with noise
    >>> Z = rng.standard_normal((500, 30))  # of a third, unrelated
    >>> round(gm.cka(X, Y), 2), round(gm.cka(X, Y, "rbf"), 2), round(gm.cka(X, Z), 2) + 0.0
    (0.67, 0.67, 0.0)
    >>> round(gm.cka(X, Z, estimator="biased"), 2)  # what 20 and 30 features give by chance
    0.05
    """
    expect(progress, 1)
    return _measure("cka", X, Y, kernel, kernel_y, estimator, precision, memory, progress)


def _measure(
    measure: Measure,
    X: object,
    Y: object | None,
    kernel: Kernel | str | None,
    kernel_y: Kernel | str | None,
    estimator: Estimator,
    precision: Precision,
    memory: int | None,
    progress: Progress | None,
) -> float:
    if sums := routes.sums_of_both(X, Y, kernel, kernel_y, measure):
        return told(*routes.value_of_sums(X, sums, measure, estimator), measure)
    kernel = "linear" if kernel is None else kernel
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    pair = pair if measure == "kernel_alignment" else pair.moved()
    estimators.check_estimator(estimator, measure, pair.n)
    return told(*estimators.value(pair.statistics, measure, estimator), measure)


@public
@one_bar
def distance_alignment(
    X: object,
    Y: object | None = None,
    *,
    normalize: Normalize = "none",
    centered: bool = False,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Distance alignment, the mean over all ordered pairs of (d_X²(i, j) − d_Y²(i, j))²; 0 is perfect.

    d² are squared Euclidean distances, and pairs i = j count with 0: n⁻² Σ_ij (d_X² − d_Y²)².

    Parameters
    ----------
    X, Y, precision, memory, progress
        As in `kernel_alignment`; sums must be of linear kernels, or of cosines for "unit_diagonal".
    normalize : {"none", "unit_diagonal", "hs_norm"}
        "unit_diagonal" normalises every row, so that d² = 2 − 2 cos; "hs_norm" divides the d² of each array by ‖K‖/n
        of its linear kernel (centred if `centered`).
    centered : bool
        Double-centre the squared distances first: then the value is 4‖K̄ − L̄‖²/n², and 8(1 − CKA) with "hs_norm".

    Returns
    -------
    float
        At least 0 (0 of an array and itself), in units of d⁴ unless normalised; nan with "hs_norm" if a representation
        is constant.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n(p+q)²) time from moments on the CPU, if n is well above p+q and the value is not tiny; else O(n²(p+q)) from the
    differences themselves, which keeps its digits however small it is. Source: Insulla, Huang, Rosasco 2025; Theory, 2.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> t = 2 * np.pi * np.arange(12)[:, None] / 12
    >>> round(gm.distance_alignment(np.hstack([np.cos(t), np.sin(t)]), np.hstack([np.cos(2 * t), np.sin(2 * t)])), 12)
    4.0
    """
    one_of(normalize, get_args(Normalize), "normalize")
    kernel = "cosine" if normalize == "unit_diagonal" else "linear"
    of = 'linear kernels, and with normalize="unit_diagonal" of cosines'
    if sums := routes.sums_of_both(X, Y, kernel, None, "distance_alignment", of=of):
        return told(*_distance_alignment_of_sums(X, sums, normalize, centered), "distance_alignment")
    pair = routes.paired(X, Y, kernel, None, precision=precision, memory=memory, progress=progress)
    if normalize == "none" or centered:
        pair = pair.moved()
    by_sums = feature_route(pair.matrices, pair.kernels, memory)
    expect(progress, (by_sums or normalize == "hs_norm") + (0 if by_sums else 1 + centered))
    s: Statistics | None = None
    weights, exponents = [1.0, 1.0], [0, 0]
    if pair.by_features or normalize == "hs_norm":
        s = pair.statistics
    if normalize == "hs_norm" and s is not None:
        weights, exponents, reason = _by_norms(s, centered)
        if reason:
            return told(math.nan, reason, "distance_alignment")
    if equal_rows(*pair.matrices):
        return 0.0
    if pair.by_features and s is not None:
        value, scale, top = _distances_of(s, weights, exponents, centered)
        if value > _RESOLVED * scale or scale == 0:
            return estimators.scaled(value, 2 * top)
    return _distance_alignment_from_differences(pair, normalize, centered, weights, exponents)


def _by_norms(s: Statistics, centered: bool) -> tuple[list[float], list[int], str | None]:
    """Weights and powers of two that divide each array's distances by ‖K‖/n, or why there are none."""
    measure: Measure = "cka" if centered else "kernel_alignment"
    for p, name in ((0, "X"), (1, "Y")):
        if reason := estimators.undefined(s, p, measure, "biased", name):
            return [], [], reason
    weights = [1 / math.sqrt(s.matrix(measure, "biased")[p, p]) for p in (0, 1)]
    return weights, [-int(s.exponent[p]) for p in (0, 1)], None


def _distances_of(
    s: Statistics, weights: Sequence[float], exponents: Sequence[int], centered: bool
) -> tuple[float, float, int]:
    """The value, what it is a difference of, and the power of two whose square both are in."""
    # one common unit for both arrays: weights w with d² of array p = 2^top·w_p·(d² in scaled units)
    units = s.exponent + np.array(exponents)
    top = int(units.max())
    w = np.array(weights) * np.ldexp(1.0, units - top)
    h = s.hsic_biased * np.multiply.outer(w, w)
    value = 4 * (h[0, 0] + h[1, 1] - 2 * h[0, 1])
    scale = 4 * (h[0, 0] + h[1, 1])
    if not centered:
        t, d = s.trace * w, s.diagonal_inner * np.multiply.outer(w, w)
        value += 2 * (d[0, 0] + d[1, 1] - 2 * d[0, 1]) / s.n + 2 * ((t[0] - t[1]) / s.n) ** 2
        scale += 2 * (d[0, 0] + d[1, 1]) / s.n
    return float(value), float(scale), top


def _distance_alignment_of_sums(
    X: object, s: Statistics, normalize: Normalize, centered: bool
) -> tuple[float, str | None]:
    """The value, and why it is nan: a small difference of sums cannot be made again from the rows."""
    weights, exponents, reason = [1.0, 1.0], [0, 0], None
    if normalize == "hs_norm":
        weights, exponents, reason = _by_norms(s, centered)
    if reason:
        return math.nan, reason
    value, scale, top = _distances_of(s, weights, exponents, centered)
    size = np.sqrt(np.abs(np.diag(s.hsic_biased)))
    lost = float((s.rounding / np.where(size > 0, size, np.inf)).max()) / TRUSTED
    told_apart = scale == 0 or value > max(_RESOLVED, lost) * scale
    if not told_apart or (isinstance(X, FeatureMoments) and not X.trusted(s, "hsic", "biased")):
        return math.nan, "X and Y are so nearly the same that sums of both do not tell them apart; give the arrays"
    return estimators.scaled(value, 2 * top), None


def _distance_alignment_from_differences(
    pair: Paired, normalize: Normalize, centered: bool, weights: Sequence[float], exponents: Sequence[int]
) -> float:
    """Σ (w_0 φ_0 − w_1 φ_1)² with φ = −d²/2, summed as squares of differences."""
    name = "cosine_distance" if normalize == "unit_diagonal" else "squared_distance"
    xs = [replace(x, native_name=name) for x in pair.xs]
    zero = np.zeros((2, pair.n))
    shift = zero
    units = gram.sweep_units(xs, pair.precision)
    if centered:
        unshifted = [replace(x, shift=zero[0]) for x in xs]
        g = gram.sweep_moments(unshifted, precision=pair.precision, memory=pair.memory, progress=pair.progress)
        shift = gram.half_offsets(g, hollow=False)
    powers = units + np.array(exponents)
    top = int(powers.max())
    w = np.array(weights) * np.ldexp(1.0, powers - top)
    total = float(w.max())
    w0, w1 = float(w[0] / total), float(w[1] / total)
    products = sweep_products(
        xs,
        shift,
        np.zeros(2, dtype=np.int32),
        weights=(w0, w1),
        precision=pair.precision,
        memory=pair.memory,
        progress=pair.progress,
    )
    difference = products.difference + float(((w0 * products.diagonal[0] - w1 * products.diagonal[1]) ** 2).sum())
    return estimators.scaled(4 * difference / pair.n**2 * total**2, 2 * top)


def equal_rows(x: Matrix, z: Matrix) -> bool:
    """Whether row i of both is the same, for all i."""
    if x.shape != z.shape:
        return False
    step = max(1, (1 << 20) // x.d)
    # a few rows tell most pairs apart
    spans = [(0, 1), *((start, start + step) for start in range(0, x.n, step))]
    return all(bool((x.block(a, b) == z.block(a, b)).all()) for a, b in spans)
