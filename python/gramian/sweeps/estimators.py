"""Algebra from sufficient statistics to numbers: what the Gram route and the feature route share.

Everything here is a pure function of `Statistics`, which both routes make. Sums are in scaled units: representation p
stands for 2^-exponent[p]·K_p. Ratios do not notice; `hsic` and the like put the units back.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import (
    OF_DIFFERENCES,
    RBF,
    ArcCosine,
    Cosine,
    Exponential,
    Kernel,
    Laplacian,
    Polynomial,
    RationalQuadratic,
)
from gramian.rows.arrays import LAST_DIGITS, one_of, require_rows
from gramian.sweeps.products import RowProducts
from gramian.sweeps.represent import Representation
from gramian.sweeps.statistics import Statistics

Array: TypeAlias = npt.NDArray[np.float64]
Estimator: TypeAlias = Literal["biased", "unbiased"]
Measure: TypeAlias = Literal["cka", "hsic", "kernel_alignment"]

MEASURES: tuple[Measure, ...] = ("cka", "hsic", "kernel_alignment")
DEFAULT_ESTIMATOR: dict[Measure, Estimator] = {"cka": "unbiased", "hsic": "unbiased", "kernel_alignment": "biased"}
_CANCELLED = 1e4  # Σ K̄_ii² over ‖U(K)‖² from which on the feature route gives way to tiles
_TOLERANCE = 64.0  # times eps times the rounding scale: below it, a self term has too few digits that are not rounding
_COARSE = 1e12  # of a representation's amplification: float64 tiles have no digits left
_FEW = 0.25  # of all rows, below which those that a trace is made of are few
_AT_ONCE = 1 << 20  # numbers
_TELLING = 1e-4  # distance between neighbouring floats from which on a constant array may be one by rounding


def check_estimator(estimator: str, measure: Measure, n: int) -> None:
    """The estimator is known and n is enough for it."""
    one_of(estimator, get_args(Estimator), "estimator")
    require_rows(n, 2, measure)
    if estimator == "unbiased" and measure != "kernel_alignment":
        require_rows(n, 4, f"the unbiased estimator of {measure}", "estimator='biased', which needs 2")


def resolved(s: Statistics) -> bool:
    """Whether unbiased sums are more than what is left of diagonals that cancel (a few rows far from all others)."""
    if s.n < 4:
        return True
    own = np.abs(np.diag(s.hsic_unbiased)) * s.n * (s.n - 3)
    return not np.any(np.diag(s.diagonal_inner) > _CANCELLED * own)


def undefined(s: Statistics, p: int, measure: Measure, estimator: Estimator, name: str) -> str | None:
    """Why a ratio over representation p has no value, or None."""
    own = float(s.matrix(measure, estimator)[p, p])
    if math.isnan(own):
        return f"{name} has a kernel matrix that is not finite"
    if own > (_TOLERANCE * s.rounding[p]) ** 2 and own > 0:
        return None
    few = few_rows(name) if by_few_rows(s, p) and not (s.xs and s.xs[p].amplification > _COARSE) else None
    if measure == "kernel_alignment" and estimator == "biased":
        return few if few and own > 0 else f"the kernel of {name} is 0 for every pair of rows"
    if few and own != 0 and not (s.xs and all_but_one_equal(s.xs[p])):
        return few
    if s.alignment_unbiased[p, p] < np.finfo(np.float64).eps * s.alignment_biased[p, p]:
        falls = not s.xs or isinstance(s.xs[p].kernel, RBF | Exponential | Laplacian | RationalQuadratic)
        return f"the kernel of {name} is 0 between different rows, up to rounding" + (
            " (if it has a bandwidth, that is too small)" if falls else ""
        )
    if measure == "kernel_alignment":
        return f"the kernel of {name} is 0 between different rows"
    if not s.xs:
        return f"{name} is constant: nothing is left after centring"
    if (
        estimator == "unbiased"
        and s.xs[p].amplification < _COARSE
        and s.hsic_biased[p, p] > (_TOLERANCE * s.rounding[p]) ** 2
    ):
        return (
            f"nothing is left of the kernel of {name} after centring without its diagonal, as where all rows but "
            "one are the same or all are equally far from each other"
        )
    return nothing_left(s.xs[p], name)


def nothing_left(x: Representation, name: str) -> str:
    """Why a centred kernel matrix is 0 up to rounding, from a look at the rows."""
    equal, largest = look_at(x)
    if equal:
        gap = float(np.spacing(largest)) * 2.0 ** (LAST_DIGITS["float64"][0] - LAST_DIGITS[x.dtype][0])
        hint = (
            f" ({x.dtype} is too coarse for differences below {gap:.1g} between rows this far from 0; "
            "if there were any, subtract the mean of the rows before rounding to it)"
        )
        return f"{name} is constant: all its rows are the same" + (hint if gap > _TELLING else "")
    if of_directions(x.kernel):
        return f"all rows of {name} point the same way, up to rounding, and the kernel is of directions alone"
    same = f"the kernel of {name} is the same for all pairs of rows, up to rounding"
    if isinstance(x.kernel, Polynomial) and cast("float", x.kernel.scale) * largest * largest * x.parts[
        0
    ].d < 1e-3 * abs(x.kernel.offset):
        return f"{same}: its scale, {x.kernel.scale:.3g}, is too small for them"
    if isinstance(x.kernel, Polynomial | ArcCosine) and x.amplification > _COARSE:
        return (
            f"float64 is too coarse for this kernel of rows of {name} this far from 0: centring leaves nothing of it "
            "but rounding; subtract the mean of the rows first"
        )
    if isinstance(x.kernel, RationalQuadratic) and x.kernel.alpha < np.finfo(np.float64).eps:
        return f"{same}: its alpha, {x.kernel.alpha:.3g}, is too small"
    if isinstance(x.kernel, RBF | Exponential | Laplacian | RationalQuadratic):
        return f"{same}: its bandwidth, {x.kernel.bandwidth:.3g}, is too large for them"
    return f"nothing is left of the kernel of {name} after centring, up to rounding"


def look_at(x: Representation) -> tuple[bool, float]:
    """Whether all rows are the same, and the largest size of an entry."""
    first = x.parts[0].take(np.zeros(1, dtype=np.int64))
    largest, equal = 0.0, True
    for part in x.parts:
        step = max(1, _AT_ONCE // part.d)
        for start in range(0, part.n, step):
            rows = part.block(start, start + step)
            equal = equal and bool((rows == first).all())
            largest = max(largest, float(np.abs(rows).max()))
    return equal, largest


def by_few_rows(s: Statistics, p: int) -> bool:
    """Whether nearly all of the trace of representation p is that of a few rows."""
    return bool(s.trace[p] ** 2 < _FEW * s.n * s.diagonal_inner[p, p])


def few_rows(name: str) -> str:
    """The reason where a few rows decide the size of all sums."""
    far = f"a few rows of {name} are so far from all others, or these from 0"
    return f"{far}, that their kernel values round away the rest"


def all_but_one_equal(x: Representation) -> bool:
    """Whether all rows but one at most are the same."""
    first = x.parts[0].take(np.arange(min(3, x.parts[0].n)))
    # two of three rows are the one that all others are
    usual = first[0] if (first[0] == first[1:]).all(axis=1).any() else first[-1]
    odd = 0
    for part in x.parts:
        step = max(1, _AT_ONCE // part.d)
        odd += sum(int((part.block(a, a + step) != usual).any(axis=1).sum()) for a in range(0, part.n, step))
    return odd <= 1


def value(
    s: Statistics, measure: Measure, estimator: Estimator, p: int = 0, q: int = 1, names: tuple[str, str] = ("X", "Y")
) -> tuple[float, str | None]:
    """A measure between representations p and q, and the reason if it is nan."""
    sums = s.matrix(measure, estimator)
    least = 0.0 if estimator == "biased" and positive(s, p) and positive(s, q) else -math.inf
    if measure == "hsic":
        for index, name in ((p, names[0]), (q, names[1])):
            if reason := unresolved(s, index, estimator, name):
                return math.nan, reason
        if constant(s, p, estimator) or constant(s, q, estimator):
            return 0.0, None
        return scaled(max(least, float(sums[p, q])), int(s.exponent[p] + s.exponent[q])), None
    for index, name in ((p, names[0]), (q, names[1])):
        if reason := undefined(s, index, measure, estimator, name):
            return math.nan, reason
    if p == q:
        return 1.0, None
    ratio = float(sums[p, q] / math.sqrt(sums[p, p]) / math.sqrt(sums[q, q]))
    return min(1.0, max(ratio, -1.0, least)), None


def unresolved(s: Statistics, p: int, estimator: Estimator, name: str) -> str | None:
    """Why sums of a centred kernel have no digits, where they do not vanish by themselves; or None."""
    own = float(s.matrix("hsic", estimator)[p, p])
    if math.isnan(own):
        return f"{name} has a kernel matrix that is not finite"
    if own > (_TOLERANCE * s.rounding[p]) ** 2 or not s.xs:
        return None
    kernel = s.xs[p].kernel
    if of_directions(kernel) or isinstance(kernel, OF_DIFFERENCES):
        return None  # what is left of a cosine is small beside 1, so that 0 is right up to rounding
    if not s.xs[p].amplification > _COARSE:
        return few_rows(name) if by_few_rows(s, p) and not all_but_one_equal(s.xs[p]) else None
    return None if look_at(s.xs[p])[0] else nothing_left(s.xs[p], name)


def constant(s: Statistics, p: int, estimator: Estimator) -> bool:
    """Whether all rows are the same, so that sums of their centred kernel are 0, and not what rounding made of it."""
    own = float(s.matrix("hsic", estimator)[p, p])
    return bool(s.xs) and not own > (_TOLERANCE * s.rounding[p]) ** 2 and look_at(s.xs[p])[0]


def of_directions(kernel: Kernel) -> bool:
    """Whether the kernel is of the rows' directions alone."""
    return isinstance(kernel, Cosine) or kernel == ArcCosine(0)


def coarse(x: Representation) -> bool:
    """Whether float64 tiles of some rows of x would hold no digit of what centring leaves."""
    lost = x.amplification * np.finfo(np.float64).eps * _TOLERANCE > 1
    return bool(lost) and not of_directions(x.kernel)


def positive(s: Statistics, p: int) -> bool:
    """Whether the kernel of representation p is positive, so that biased sums are at least 0."""
    return not s.xs or is_positive(s.xs[p])


def is_positive(x: Representation) -> bool:
    """All kernels are positive but polynomials with a negative offset."""
    return not isinstance(x.kernel, Polynomial) or x.kernel.offset >= 0


def bias_floor(s: Statistics, p: int = 0, q: int = 1) -> float:
    """Expected biased CKA of independent data, √(PR_p·PR_q)/(n−1), PR = (tr K̄)²/‖K̄‖² (Theory, 3.5)."""
    own = np.diag(s.hsic_biased) * s.n**2
    if not (own[p] > 0 and own[q] > 0):
        return math.nan
    ratio = s.trace**2 / np.where(own > 0, own, np.nan)
    return float(np.sqrt(ratio[p] * ratio[q]) / (s.n - 1))


def permutation_moments(s: Statistics, p: int = 0, q: int = 1) -> tuple[float, float]:
    """Mean and variance of ⟨K̄, ΠL̄Π'⟩ over all permutations (Theory, 4.1), in scaled units."""
    n = float(s.n)
    t = s.trace
    t2 = np.diag(s.hsic_biased) * n**2
    s2 = np.diag(s.diagonal_inner)
    mean = t[p] * t[q] / (n - 1)
    spread = (n - 1) * t2 - t**2
    diagonal = n * (n + 1) * s2 - (n - 1) * (t**2 + 2 * t2)
    variance = 2 * spread[p] * spread[q] / ((n - 1) ** 2 * (n + 1) * (n - 2)) + diagonal[p] * diagonal[q] / (
        (n + 1) * n * (n - 1) * (n - 2) * (n - 3)
    )
    return float(mean), float(variance)


def standard_error_centred(c: Array, n: int, measure: Literal["cka", "hsic"]) -> float:
    """SE of CKA_u or HSIC_u (Theory, 3.5) from c (3, n): c_i = Σ_j U(K_a)_ij U(K_b)_ij for (1,1), (1,2), (2,2).

    For CKA in the units of CKA; for HSIC in those of c.
    """
    total = c.sum(axis=1, keepdims=True)
    g = ((n - 2) * c + total) / (2 * (n - 1) * (n - 3))
    h = total[:, 0] / (n * (n - 3))
    psi = g[1]
    if measure == "cka":
        denominator = math.sqrt(h[0]) * math.sqrt(h[2])
        psi = g[1] / denominator - 0.5 * (h[1] / denominator) * (g[0] / h[0] + g[2] / h[2])
    return math.sqrt(16 / n * float(np.var(psi)))


def standard_error_alignment(sums: Array, n: int) -> float:
    """SE of KA_u (Theory, 1) from the row sums (3, n) of K∘K, K∘L, L∘L without their diagonals."""
    g = sums / (n - 1)
    h = g.mean(axis=1)
    denominator = math.sqrt(h[0]) * math.sqrt(h[2])
    psi = g[1] / denominator - 0.5 * (h[1] / denominator) * (g[0] / h[0] + g[2] / h[2])
    return math.sqrt(4 / n * float(np.var(psi)))


def standard_error_from_differences(differences: Array, squares: Array, n: int) -> float:
    """`standard_error_alignment` from row sums that keep their digits where K and L are nearly proportional.

    With K and L scaled to mean square 1 and D = K − L, the influence is ψ_i = −½ D²_i + ½(1−ρ)(K²_i + L²_i) up to a
    constant, X²_i the mean over j ≠ i, 1−ρ half the mean of D².

    Parameters
    ----------
    differences : array of shape (n,)
        Σ_j D_ij².
    squares : array of shape (2, n)
        Σ_j K_ij² and Σ_j L_ij².
    """
    d, k = differences / (n - 1), squares / (n - 1)
    psi = 0.25 * d.mean() * k.sum(axis=0) - 0.5 * d
    return math.sqrt(4 / n * float(np.var(psi)))


def gretton_variance(products: RowProducts, n: int) -> float:
    """Variance of n·HSIC_b under independence after Gretton et al. 2008, from Σ_{i≠j}(K̄L̄)², in scaled units."""
    mean_square = float(products.squares[1]) / 36 / (n * (n - 1))
    return 72 * (n - 4) * (n - 5) / (n * (n - 1) * (n - 2) * (n - 3)) * mean_square


def scaled(value: float, exponent: int) -> float:
    """value·2^exponent; infinite where a float has no room for it."""
    try:
        return math.ldexp(value, int(exponent))
    except OverflowError:
        return math.copysign(math.inf, value)


def outer_ratio(sums: Array, defined: npt.NDArray[np.bool_]) -> Array:
    """(m, m) sums over the roots of their diagonal; nan where a representation has no value."""
    own = np.where(defined, np.diag(sums), np.nan)
    root = np.sqrt(np.where(own > 0, own, np.nan))
    out: Array = sums / root[:, None] / root[None, :]
    np.clip(out, -1.0, 1.0, out=out)
    np.fill_diagonal(out, np.where(defined, 1.0, np.nan))
    return out
