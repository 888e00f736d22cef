"""Tests of independence: is what two representations share more than chance?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, KernelName
from gramian.progress import Progress, expect, one_bar, phase
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import check_count, check_seed, one_of, require_rows
from gramian.sums import of_arrays
from gramian.sweeps import estimators, gram, routes
from gramian.sweeps.centred import covariance_cube_trace
from gramian.sweeps.estimators import Estimator
from gramian.sweeps.permuted import PERMUTED, Index, permutation, permuted_sums, unbiased_from_biased
from gramian.sweeps.products import multiply_centred
from gramian.sweeps.represent import Precision
from gramian.sweeps.routes import Paired
from gramian.sweeps.statistics import Statistics
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Method: TypeAlias = Literal["gamma", "permutation", "pearson3", "t", "chi2", "gretton"]

_PROBES = 64
SMALLEST = 1e-300  # p-values below it are not zero: a float has no room for them
_CUBE_SWEEPS = 3  # that tr K̄³ of a representation takes
_EXACT_TRACE = 512  # rows up to which tr K̄³ is exact
_SAME = 1e-12  # of a sum of squares: what is left of it where its terms cancel is rounding


@dataclass(frozen=True, eq=False)
class TestResult(Result):
    """A test of independence."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    statistic: float
    pvalue: float
    method: Method
    n: int
    kernel: tuple[Kernel, Kernel]  # of X and of Y, bandwidths resolved
    permutations: int | None  # of the permutation test
    seed: int | None
    reason: str | None  # why there is no value

    def __repr__(self) -> str:
        if self.reason:
            return f"{self.method} test: nan ({self.reason})"
        return (
            f"{self.method} test: statistic = {self.statistic:.4g}, p {equals_pvalue(self.pvalue)} "
            f"(n = {self.n}, {self.kernel[0]})"
        )


def format_pvalue(p: float) -> str:
    """Two digits."""
    if p < SMALLEST:
        return f"< {SMALLEST:.0e}"
    return f"{p:.2g}" if p < 0.01 else f"{p:.2f}"


def equals_pvalue(p: float) -> str:
    """`format_pvalue` after the name of the value: "= 0.02" or "< 1e-300"."""
    shown = format_pvalue(p)
    return shown if shown.startswith("<") else f"= {shown}"


@of_arrays
@public
@one_bar
def independence_test(
    X: object,
    Y: object,
    kernel: Kernel | KernelName = "rbf",
    *,
    kernel_y: Kernel | KernelName | None = None,
    method: Method = "gamma",
    permutations: int = 1000,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> TestResult:
    """Test the hypothesis that X and Y are independent.

    Parameters
    ----------
    X, Y, kernel, kernel_y, precision, memory, progress
        As in `gramian.kernel_alignment`.
    method : {"gamma", "permutation", "pearson3", "t", "chi2", "gretton"}
        Where the null distribution comes from:

        - "gamma": a gamma law with the exact mean and variance of n·HSIC_b over all permutations. One sweep.
        - "permutation": p = (1 + #{permuted ≥ observed})/(1 + permutations). One sweep for each 32 of them.
        - "pearson3": as "gamma", with the skewness from tr K̄³: exact for linear kernels and n ≤ 512, else from 64
          random probes (two sweeps for each representation).
        - "t": Székely and Rizzo 2013, on unbiased CKA; good in high dimension.
        - "chi2": Shen, Panda and Vogelstein 2022, on unbiased CKA; conservative.
        - "gretton": the gamma law of Gretton et al. 2008, for comparison; its mean is n/(n−1) too large, which makes it
          very conservative in high dimension. Two sweeps.
    permutations : int
        Of the permutation test; the least p-value is 1/(permutations + 1).
    seed : int
        Permutation b depends on (seed, b) only.

    Returns
    -------
    TestResult
        ``statistic`` is n·HSIC_b, the t value, or n·CKA_u + 1; ``pvalue`` is the chance of so large a one under
        independence; nan with a reason if a representation is constant.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; n < 6 (n ≥ 4 for "permutation", "t", "chi2").

    Notes
    -----
    Cost and memory of one or two sweeps, see `gramian.cka`. Source: Theory, 4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x = np.random.default_rng(0).standard_normal((100, 1))
    >>> gm.independence_test(x, x**2).pvalue < 1e-6
    True
    """
    one_of(method, get_args(Method), "method")
    check_count(permutations, "permutations")
    expect(progress, sweeps_of(method, permutations))
    pair = routes.paired(X, Y, kernel, kernel_y, precision=precision, memory=memory, progress=progress)
    found = test(pair, method, permutations, seed)
    x, y = pair.matrices
    return replace(found, provenance=provenance({"X": x, "Y": y}, found.kernel, found.seed))


def sweeps_of(method: Method, permutations: int) -> float:
    """What a test is expected to take, in sweeps over both representations."""
    if method == "permutation":
        return 1 + PERMUTED * permutations
    return {"pearson3": 1 + 2 * _CUBE_SWEEPS, "gretton": 2}.get(method, 1)


def test(pair: Paired, method: Method, permutations: int, seed: int) -> TestResult:
    """`independence_test` behind the gate."""
    one_of(method, get_args(Method), "method")
    permutations = check_count(permutations, "permutations")
    seed = check_seed(seed)
    require_rows(pair.n, 4 if method in ("permutation", "t", "chi2") else 6, f"the {method} test")
    pair = pair.moved()
    s = pair.statistics
    estimator: estimators.Estimator = "unbiased" if method in ("t", "chi2") else "biased"
    reason = next(
        (r for p, name in ((0, "X"), (1, "Y")) if (r := estimators.undefined(s, p, "cka", estimator, name))), None
    )
    if not reason and method in ("gamma", "pearson3", "gretton"):
        reason = one_value(s)
    if reason:
        statistic, pvalue = math.nan, math.nan
    elif method == "permutation":
        statistic, pvalue = permutation_test(pair, permutations, seed)
    elif method == "pearson3":
        statistic, pvalue = pearson3_test(s, *(cube_trace(pair, p) for p in (0, 1)))
    elif method == "gretton":
        statistic, pvalue = gretton_test(pair)
    else:
        statistic, pvalue = {"gamma": gamma_test, "t": t_test, "chi2": chi2_test}[method](s)
    permuted = method == "permutation"
    return TestResult(
        statistic=statistic,
        pvalue=pvalue,
        method=method,
        n=pair.n,
        kernel=(pair.kernels[0], pair.kernels[1]),
        permutations=permutations if permuted else None,
        seed=seed if permuted else None,
        reason=reason,
    )


def _statistic(s: Statistics) -> float:
    """n·HSIC_b in the kernels' own units."""
    return estimators.scaled(s.n * float(s.hsic_biased[0, 1]), int(s.exponent[0] + s.exponent[1]))


def one_value(s: Statistics) -> str | None:
    """Why HSIC is the same for all pairings of the rows, so that no law describes it; or None."""
    for p, name in ((0, "X"), (1, "Y")):
        # (n−1)·‖K̄‖² − (tr K̄)² is 0 where K̄ is a multiple of H
        if float(s.hsic_biased[p, p]) * s.n**2 * (s.n - 1) - float(s.trace[p]) ** 2 > _SAME * float(s.trace[p]) ** 2:
            continue
        same = "every pairing of the rows gives the same value"
        if s.alignment_unbiased[p, p] < _SAME * s.alignment_biased[p, p]:
            return (
                f"the kernel of {name} is 0 between different rows, up to rounding "
                f"(if it has a bandwidth, that is too small): {same}"
            )
        return f"all rows of {name} are alike to each other under the kernel: {same}"
    return None if estimators.permutation_moments(s)[1] > 0 else "every pairing of the rows gives the same value"


def gamma_test(s: Statistics) -> tuple[float, float]:
    """A gamma law with the exact permutation mean and variance; a normal one where the mean is not positive."""
    from scipy import special

    if s.n < 6 or any(estimators.undefined(s, p, "cka", "biased", "") for p in (0, 1)):
        return math.nan, math.nan
    mean, variance = estimators.permutation_moments(s)
    observed = float(s.hsic_biased[0, 1]) * s.n**2
    if one_value(s):
        return _statistic(s), math.nan
    if mean > 0:
        return _statistic(s), float(
            special.gammaincc(mean**2 / variance, observed * mean / variance)
        ) if observed > 0 else 1.0
    return _statistic(s), float(special.ndtr((mean - observed) / math.sqrt(variance)))


def t_test(s: Statistics) -> tuple[float, float]:
    """t = √(v−1)·C/√(1−C²) with C = CKA_u, v = n(n−3)/2, against Student's t with v − 1 degrees of freedom."""
    from scipy import special

    c = estimators.value(s, "cka", "unbiased")[0]
    v = s.n * (s.n - 3) / 2
    t = math.copysign(math.inf, c) if abs(c) >= 1 else math.sqrt(v - 1) * c / math.sqrt((1 - c) * (1 + c))
    return t, float(special.stdtr(v - 1, -t))


def chi2_test(s: Statistics) -> tuple[float, float]:
    """n·CKA_u + 1 against χ² with one degree of freedom."""
    from scipy import special

    statistic = s.n * estimators.value(s, "cka", "unbiased")[0] + 1
    return statistic, float(special.chdtrc(1, max(statistic, 0.0)))


def pearson3_test(s: Statistics, cube_x: float, cube_y: float) -> tuple[float, float]:
    """The permutation mean and variance with skewness 8·tr K̄³·tr L̄³/(2‖K̄‖²‖L̄‖²)^(3/2)."""
    from scipy import stats

    mean, variance = estimators.permutation_moments(s)
    t2 = np.diag(s.hsic_biased) * s.n**2
    skew = 8 * cube_x * cube_y / float(2 * t2[0] * t2[1]) ** 1.5
    observed = float(s.hsic_biased[0, 1]) * s.n**2
    return _statistic(s), float(stats.pearson3.sf(observed, skew, loc=mean, scale=math.sqrt(variance)))


def cube_trace(pair: Paired, p: int) -> float:
    """tr K̄³ in the units of `Statistics`: from features, from all n unit vectors, or by Hutchinson's estimator."""
    told = phase(pair.progress, "skewness", _CUBE_SWEEPS)
    if pair.by_features:
        return covariance_cube_trace(pair.matrices[p], pair.kernels[p])
    expect(told, _CUBE_SWEEPS)
    x, n = pair.xs[p], pair.n
    g = gram.stable_moments([x], precision=pair.precision, memory=pair.memory, progress=told)
    x = gram.shifted(gram.as_swept([x], g), gram.moved_shift(g, gram.half_offsets(g, hollow=False)), g.base)[0]
    if n <= _EXACT_TRACE:
        total = 0.0
        for begin in range(0, n, _PROBES):
            probes = np.zeros((n, min(_PROBES, n - begin)))
            probes[np.arange(begin, begin + probes.shape[1]), np.arange(probes.shape[1])] = 1.0
            once = multiply_centred(x, probes, precision=pair.precision)
            total += float(np.vdot(once, multiply_centred(x, once, precision=pair.precision)))
        return total
    probes = np.random.default_rng([p, n]).choice([-1.0, 1.0], (n, _PROBES))
    once = multiply_centred(x, probes, precision=pair.precision, progress=told)
    twice = multiply_centred(x, once, precision=pair.precision, progress=told)
    return float(np.vdot(once, twice)) / _PROBES


def gretton_test(pair: Paired) -> tuple[float, float]:
    """Gretton et al. 2008: the variance from Σ(K̄L̄)², the mean from mean diagonals and off-diagonals."""
    from scipy import special

    n = pair.n
    g = pair.gram
    centre = gram.moved_shift(g, gram.half_offsets(g, hollow=False))
    products = pair.products(centre, g.base)
    variance = estimators.gretton_variance(products, n)
    excess = g.scaled_diagonal.mean(axis=1) - g.scaled_rows.sum(axis=1) / (n * (n - 1))
    mean = float(excess[0] * excess[1]) / n
    s = replace(g.statistics(), xs=pair.xs)
    # HSIC_b has this mean and variance: gamma with shape mean²/variance
    observed = float(s.hsic_biased[0, 1])
    return _statistic(s), float(
        special.gammaincc(mean**2 / variance, observed * mean / variance)
    ) if observed > 0 else 1.0


# ---- permutations ---------------------------------------------------------------------------------------


def permutation_test(pair: Paired, permutations: int, seed: int) -> tuple[float, float]:
    """p = (1 + #{S_b ≥ S})/(B + 1); ties, up to rounding, count as larger."""
    sums = dict(permuted_sums(pair, permutations, lambda b: permutation(pair.n, seed, b), first=-1))
    observed = sums.pop(-1)
    s = pair.statistics
    size = math.sqrt(float(s.hsic_biased[0, 0] * s.hsic_biased[1, 1])) * s.n**2
    eps = float(np.finfo(np.float64).eps) if pair.by_features else pair.gram.eps
    slack = 16 * eps * size
    larger = sum(value >= observed - slack for value in sums.values())
    return _statistic(s), (1 + larger) / (permutations + 1)


def shuffled(pair: Paired, count: int, seed: int) -> tuple[float, float]:
    """Mean biased and unbiased CKA over `count` random pairings of the rows: what chance alone gives."""
    s = pair.statistics
    n = s.n
    biased, unbiased = [], []
    own_b = math.sqrt(float(s.hsic_biased[0, 0])) * math.sqrt(float(s.hsic_biased[1, 1])) * n**2
    own_u = math.sqrt(float(s.hsic_unbiased[0, 0])) * math.sqrt(float(s.hsic_unbiased[1, 1])) * n * (n - 3)
    for k, total in permuted_sums(pair, count, lambda b: permutation(n, seed, b)):
        biased.append(total / own_b)
        unbiased.append(unbiased_from_biased(pair, total, permutation(n, seed, k)) / own_u)
    return float(np.mean(biased)), float(np.mean(unbiased))


def permuted_values(
    pair: Paired, measure: Literal["cka", "hsic"], estimator: Estimator, count: int, order: Callable[[int], Index]
) -> Iterator[float]:
    """The measure with the rows of Y as they are, then in the orders 0 to `count` − 1."""
    s, n = pair.statistics, pair.n
    observed = estimators.value(s, measure, estimator)[0]
    yield observed
    if math.isnan(observed):
        yield from [math.nan] * count
        return
    own = np.sqrt(np.diag(s.matrix(measure, estimator))) if measure == "cka" else np.ones(2)
    exponent = 0 if measure == "cka" else int(s.exponent.sum())
    for b, total in permuted_sums(pair, count, order):
        unbiased = estimator == "unbiased"
        value = unbiased_from_biased(pair, total, order(b)) / (n * (n - 3)) if unbiased else total / n**2
        yield estimators.scaled(value / float(own[0]) / float(own[1]), exponent)
