"""Measures with their uncertainty: standard error, interval and p-value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from gramian.inference import independence
from gramian.kernels import Kernel, KernelName
from gramian.progress import Progress, expect, one_bar
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import one_of, require_rows
from gramian.sums import of_arrays
from gramian.sweeps import estimators, routes
from gramian.sweeps.estimators import DEFAULT_ESTIMATOR, MEASURES, Estimator, Measure
from gramian.sweeps.represent import Precision
from gramian.sweeps.routes import Paired
from gramian.words import public


@dataclass(frozen=True, eq=False)
class Estimate(Result):
    """A measure with its standard error, confidence interval and p-value."""

    value: float
    se: float
    ci: tuple[float, float]
    pvalue: float
    n: int
    kernel: tuple[Kernel, Kernel]  # of X and of Y, bandwidths resolved
    measure: Measure
    estimator: Estimator
    confidence: float
    reason: str | None  # why the value is nan, or else why its error or its p-value is

    def __repr__(self) -> str:
        if math.isnan(self.value):
            return f"{self.measure} = nan ({self.reason})"
        low, high = self.ci
        return (
            f"{self.measure} = {self.value:.4g} ± {self.se:.2g}, "
            f"{self.confidence:.0%} interval [{low:.4g}, {high:.4g}], "
            f"p {independence.equals_pvalue(self.pvalue)} ({self.estimator}, n = {self.n}, {self.kernel[0]})"
            + (f"; nan: {self.reason}" if self.reason else "")
        )

    def __float__(self) -> float:
        return self.value


@of_arrays
@public
@one_bar
def alignment(
    X: object,
    Y: object,
    kernel: Kernel | KernelName = "linear",
    *,
    kernel_y: Kernel | KernelName | None = None,
    measure: Measure = "cka",
    estimator: Estimator | None = None,
    confidence: float = 0.95,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """A measure with its standard error, confidence interval and p-value of independence.

    The standard error is that of the unbiased estimator as a function of U-statistics (delta method; Theory, 1 and
    3.5): it speaks of the spread over fresh samples, and holds where representations are dependent. Whether they are
    is what the p-value tells (the gamma test of `independence_test`).

    Parameters
    ----------
    X : array of shape (n, p)
    Y : array of shape (n, q)
        Row i of both is the same sample. Any float, integer or boolean array that is a NumPy array or speaks DLPack, a
        DataFrame or DataArray (rows with labels must have the same ones in X and Y), a list of rows, or the path of a
        file: errors need the rows, sums will not do. Arrays on a CUDA device (torch, CuPy, JAX) are compared there;
        both must be on one device.
    kernel : kernel or its name, optional
        Of X, and of Y unless `kernel_y` is given. Bandwidths left open are resolved for each array by itself. Names are
        "linear", "cosine", "rbf" (or "gaussian"), ...; ``gm.RBF(bandwidth=2.0)`` has a parameter.
    kernel_y : kernel or its name, optional
        Of Y, where it is another one.
    measure : {"cka", "hsic", "kernel_alignment"}
    estimator : {"biased", "unbiased"}, optional
        Left out: the measure's own default.
    confidence : float
        Level of the interval: z·se to both sides of the unbiased value, whichever estimator is reported.
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
    Estimate

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; n < 6.

    Notes
    -----
    Two sweeps, row means first, then the products around them: O(n²(p+q)) time and O(n) memory.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> e = gm.alignment(X, Y)
    >>> round(e.value, 2), round(e.se, 3), [round(end, 2) for end in e.ci]
    (0.8, 0.006, [0.78, 0.81])
    >>> gm.alignment(X, Z).pvalue > 0.05
    True
    """
    one_of(measure, MEASURES, "measure")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    chosen = DEFAULT_ESTIMATOR[measure] if estimator is None else estimator
    expect(progress, 1 + routes.ERROR_SWEEPS[measure])
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    estimators.check_estimator(chosen, measure, pair.n)
    require_rows(pair.n, 6, "a standard error", f"gramian.{measure}(...), which gives the value alone")
    found = estimate(pair, measure, chosen, confidence)
    x, y = pair.matrices
    return replace(found, provenance=provenance({"X": x, "Y": y}, found.kernel))


def estimate(
    pair: Paired, measure: Measure, estimator: Estimator, confidence: float, test: independence.TestResult | None = None
) -> Estimate:
    """`alignment` behind the gate; a test that was made already gives the p-value."""
    moved = pair.moved()
    if test is None:
        test = independence.test(moved, "gamma", 1, 0)
    pair = pair if measure == "kernel_alignment" else moved
    s = pair.statistics
    value, reason = estimators.value(s, measure, estimator)
    centre, centre_reason = (value, reason) if reason else estimators.value(s, measure, "unbiased")
    se = math.nan if centre_reason else routes.standard_error(pair, measure)
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * se
    return Estimate(
        value=value,
        se=se,
        ci=(centre - reach, centre + reach),
        pvalue=test.pvalue,
        n=pair.n,
        kernel=(pair.kernels[0], pair.kernels[1]),
        measure=measure,
        estimator=estimator,
        confidence=confidence,
        reason=reason or centre_reason or test.reason,
    )
