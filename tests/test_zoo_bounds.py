"""Bounds over the feature zoo: certificates hold what the float64 or long-double formula gives of the stored values."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import gramian as gm
import oracle
import zoo
from oracle import Array

EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-23, "bfloat16": 2.0**-23}  # of the tiles
KERNELS = ("cosine", "rbf", "exponential", "laplacian", "rational_quadratic", "arc_cosine", "linear")
MEANS = (0.0, 1e3, 1e6)


def exactly(mean: float, m: int, log_term: float) -> tuple[float, float]:
    """All θ with m·kl(mean, θ) ≤ log_term, by root finding."""

    def excess(theta: float) -> float:
        first = mean * math.log(mean / theta) if mean else 0.0
        second = (1 - mean) * math.log((1 - mean) / (1 - theta)) if mean < 1 else 0.0
        return m * (first + second) - log_term

    low = 0.0 if excess(1e-300) < 0 else brentq(excess, 1e-300, mean, xtol=1e-15) if mean else 0.0
    high = 1.0 if mean == 1 or excess(1 - 1e-16) < 0 else brentq(excess, mean, 1 - 1e-16, xtol=1e-15)
    return low, high


def certified(joint: float, own1: float, own2: float, n: int, delta: float, signed: bool) -> tuple[float, float]:
    """The interval of the three means E KL, E K², E L² of kernels of size 1, as docs/math.md has it."""
    m, term = n // 2, math.log(6 / delta)
    (low1, high1), (low2, high2) = exactly(min(own1, 1.0), m, term), exactly(min(own2, 1.0), m, term)
    if signed:
        low, high = (2 * v - 1 for v in exactly((joint + 1) / 2, m, term))
    else:
        low, high = exactly(min(joint, 1.0), m, term)
    most, least = math.sqrt(high1 * high2), math.sqrt(low1 * low2)
    bottom = low / most if low >= 0 else low / least if least else -math.inf
    top = high / most if high <= 0 else high / least if least else math.inf
    return max(bottom, -1.0 if signed else 0.0), min(top, 1.0)


def own_kernel(name: str, X: Array) -> tuple[Any, Array, float]:
    """A kernel with parameters of its own, its matrix in long double, and its bound."""
    wide = X.astype(np.longdouble)
    if name in ("rbf", "exponential", "laplacian", "rational_quadratic"):
        found = oracle.median_bandwidth(X, norm="l1" if name == "laplacian" else "l2")
        bandwidth = float(f"{found:.3g}") if found > 0 else 1.0
        return gm.kernels.KERNELS[name](bandwidth=bandwidth), oracle.gram(name, wide, bandwidth=bandwidth), 1.0
    if name == "arc_cosine":
        return gm.ArcCosine(0), oracle.gram(name, wide, order=0), 1.0
    if name == "cosine":
        return gm.Cosine(), oracle.gram(name, wide), 1.0
    K = oracle.gram(name, wide)
    return gm.Linear(), K, float(np.abs(np.diag(K)).max()) * (1 + 1e-9) or 1.0


@pytest.mark.parametrize("name", KERNELS)
def test_certified_interval_holds_that_of_the_stored_values_in_exact_arithmetic(name: str) -> None:
    cases = zoo.cases(means=MEANS, shapes=((20, 33), (90, 17)))
    for case in itertools.islice(cases, KERNELS.index(name) % 3, None, 3):
        (X, Y), (x, y) = case.arrays, case.inputs
        kernel_x, K, bound_x = own_kernel(name, X)
        kernel_y, L, bound_y = own_kernel(name, Y)
        K, L = oracle.hollow(K / bound_x), oracle.hollow(L / bound_y)
        pairs = case.n * (case.n - 1)
        joint, own1, own2 = (float(oracle.inner(a, b) / pairs) for a, b in ((K, L), (K, K), (L, L)))
        given = (bound_x, bound_y) if name == "linear" else (None, None)
        moments = gm.gram_moments(x, y, kernel=[kernel_x, kernel_y])

        found = gm.bounds.ka_interval(moments, 0.05, kernel_bounds=given)

        about = (str(case), found)
        low, high = certified(joint, own1, own2, case.n, 0.05, signed=name in ("cosine", "linear"))
        assert found.low <= low + 1e-14, (about, low, high)
        assert found.high >= high - 1e-14, (about, low, high)
        if found.reason:
            assert math.isnan(found.value), about
            # entries of the kernel may be off by 16 roundings of the tile
            assert min(own1, own2) <= (64 * EPS[case.dtype]) ** 2, (about, own1, own2)
            continue
        assert found.low <= found.value <= found.high, about
        want = joint / math.sqrt(own1) / math.sqrt(own2)
        # numerator and both norms are off by a tile's rounding over the root mean square of the entries
        off = 64 * EPS[case.dtype] * (1 / math.sqrt(own1) + 1 / math.sqrt(own2))
        assert abs(found.value - want) <= off, (about, want, off)


def test_interval_of_a_kernel_that_is_zero_between_rows_says_so() -> None:
    moments = gm.gram_moments(np.eye(20), np.eye(20), kernel="cosine")
    found = gm.bounds.ka_interval(moments, 0.05)
    assert found.reason == "the kernel of X is 0 between different rows, up to rounding"
    assert math.isnan(found.value)
    assert (found.low, found.high) == (-1.0, 1.0)
    assert repr(found).startswith(f"kernel_alignment = nan ({found.reason}), in [-1, 1] with probability 0.95")


def test_misalignment_lies_in_the_interval_that_alignment_and_spectra_leave() -> None:
    for case in zoo.cases(means=(0.0, 1.0, 1e3, 1e6)):
        X, Y = case.arrays
        if not X.any():
            continue
        u, s, _ = np.linalg.svd(X, full_matrices=False)
        basis = u[:, s > 1e-12 * s[0]]
        total = float((Y * Y).sum()) / case.n
        least = float(((Y - basis @ (basis.T @ Y)) ** 2).sum()) / case.n
        alignment = gm.kernel_alignment(X, Y)

        found = gm.bounds.misalignment_from_ka(
            alignment, s**2 / case.n, np.linalg.svd(Y, compute_uv=False) ** 2 / case.n
        )

        # directions that are rounding of others are no part of the basis: they hold eps of the total
        assert found.low - 1e-10 * total <= least <= found.high + 1e-10 * total, (str(case), found, least)


def test_bounds_of_the_stitched_risk_hold_on_the_zoo() -> None:
    rng = np.random.default_rng(0)
    for case in zoo.cases(means=(0.0, 1e3)):
        X, Y = case.arrays
        S = np.linalg.lstsq(X, Y, rcond=None)[0]
        W, y = rng.standard_normal((3, 8)), rng.standard_normal((case.n, 3))
        left = Y - X @ S
        residual, misalignment = left.T @ left / case.n, float((left**2).sum()) / case.n
        risk2 = float(((Y @ W.T - y) ** 2).sum()) / case.n
        risk = float(((X @ S @ W.T - y) ** 2).sum()) / case.n
        kappa = gm.lipschitz.upper(W)
        size = max(risk, risk2)
        # risks are differences of numbers as large as |WY|², and roundings of those are what they are off by
        slack = 1e-9 * size + 64 * 2.0**-52 * float(((Y @ W.T) ** 2).sum()) / case.n
        refined = gm.bounds.stitching_refined(risk2, 1.0, W, (residual + residual.T) / 2)
        assert risk <= refined + slack, str(case)
        assert refined <= gm.bounds.stitching(risk2, kappa, misalignment) * (1 + 1e-9) + slack
        assert gm.bounds.stitching_lower(risk2, kappa, misalignment) <= risk + slack


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (lambda: gm.bounds.stitching(0.0, math.inf, 1.0), math.inf),
        (lambda: gm.bounds.stitching(1.0, math.inf, 0.0), 1.0),
        (lambda: gm.bounds.stitching_lower(1.0, math.inf, 1.0), 0.0),
        (lambda: gm.bounds.stitching_forward(0.0, math.inf, 1.0), math.inf),
        (lambda: gm.bounds.stitching_forward(0.0, 1e200, 1.0), math.inf),
        (lambda: gm.bounds.stitching_forward(1.0, math.inf, 0.0), 0.0),
        (lambda: gm.bounds.stitching_refined(0.0, 1e-200, np.array([[1e200]]), np.array([[4.0]])), 4.0),
        (lambda: gm.bounds.stitching_refined(0.0, 1e200, np.array([[1e-200]]), np.array([[4.0]])), 4.0),
        (lambda: gm.bounds.stitching_refined(0.0, 1.0, np.array([[1e308]]), np.array([[4.0]])), math.inf),
        (lambda: gm.bounds.stitching_refined(2.0, math.inf, np.zeros((1, 1)), np.array([[4.0]])), 2.0),
        (lambda: gm.bounds.centered_da_from_cka(1.0, 1e200, 1e200), 0.0),
        (lambda: gm.bounds.centered_da_from_cka(0.0, 1e200, 1e200), math.inf),
        (lambda: gm.bounds.centered_da_from_cka(0.75, 1e-160, 1e-160), 2e-320),
        (lambda: gm.bounds.da_from_ka(1 + 2.0**-52, 0.5, 0.5), 0.0),
        (lambda: gm.bounds.da_from_ka(-1 - 2.0**-52, 0.5, 0.5), 4.0),
    ],
)
def test_bound_at_the_ends_of_its_range(value: Any, want: float) -> None:
    assert value() == pytest.approx(want, rel=1e-3 if want < 1e-300 else 1e-12)
