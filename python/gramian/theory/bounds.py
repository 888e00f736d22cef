"""What alignment promises: every bound as a pure function of numbers, with the conditions under which it holds.

Of numbers from a sample, a bound speaks of that sample (of one that no stitcher was fitted on, where it is about a
stitcher in use); of population values, of the population. Arguments that break a condition are refused where numbers
show it; what they cannot show, the docstring states. Equations: Theory, 1, 2 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import RBF, ArcCosine, Cosine, Distance, Exponential, Kernel, Laplacian, RationalQuadratic
from gramian.results.result import Result
from gramian.rows.arrays import check_count, check_number
from gramian.rows.sources import matrix
from gramian.sweeps.gram import GramMoments
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]

__all__ = [
    "CertifiedInterval",
    "Interval",
    "centered_da_from_cka",
    "da_from_ka",
    "ka_concentration",
    "ka_interval",
    "misalignment_from_ka",
    "output_layer",
    "output_layer_projected",
    "stitching",
    "stitching_forward",
    "stitching_lower",
    "stitching_refined",
]


def __dir__() -> list[str]:
    return __all__


_EPS = float(np.finfo(np.float64).eps)
_ROUNDINGS = 16.0  # a kernel value is off by at most so many roundings of its tile


@dataclass(frozen=True, eq=False)
class Interval(Result):
    """Two numbers that a third lies between."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, eq=False)
class CertifiedInterval(Interval):
    """An interval that holds the population's value with probability 1 − delta, and the estimate inside it."""

    value: float  # unbiased kernel alignment of the sample
    delta: float
    n: int
    reason: str | None = None  # why the value is nan; the interval holds all the same

    def __repr__(self) -> str:
        shown = f"nan ({self.reason})" if self.reason else f"{self.value:.4g}"
        return (
            f"kernel_alignment = {shown}, in [{self.low:.4g}, {self.high:.4g}] "
            f"with probability {1 - self.delta:.6g} (n = {self.n})"
        )


# ---- stitching -----------------------------------------------------------------------------------------------------


@public
def output_layer(risk1: float, risk2: float, head: object) -> float:
    """Excess stitching risk of the last layer: R_stitch − R_2(h2) = R_1(H_1) − R_2(h2), exactly.

    Parameters
    ----------
    risk1 : float
        R_1(H_1), the least mean squared error of a linear map of f1.
    risk2 : float
        R_2(h2), the mean squared error of the second model.
    head : array of shape (outputs, features)
        W2 of the second model's head, h2 = W2 f2.

    Returns
    -------
    float
        Negative where f1 serves better than the second model.

    Raises
    ------
    TypeError, ValueError
        A risk is no number or negative; W2 has not full row rank, so that a stitched model cannot output everything
        (`output_layer_projected` is for that).

    Notes
    -----
    Holds for linear heads, the same squared loss and outputs in both models, and the best linear stitching map for the
    task. Affine heads: give both models a feature of ones. The paper's lemma leaves the rank unsaid; without it the
    equality is false. Source: Insulla, Huang, Rosasco 2025; Theory, 5.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> gm.bounds.output_layer(0.75, 0.5, np.array([[1.0, 0, 2], [0, 1, 1]]))
    0.25
    """
    first, second = _number(risk1, "risk1"), _number(risk2, "risk2")
    w = _array(head, "head")
    rank = _row_space(w).shape[1]
    if rank < len(w):
        raise ValueError(
            f"head must have full row rank, got rank {rank} for {len(w)} outputs: it cannot output everything, and the "
            "stitching risk is more than risk1; use output_layer_projected"
        )
    return first - second


@public
def output_layer_projected(head: object, targets: object, residual: object) -> float:
    """Stitching risk of the last layer for a head of any rank: tr((I − P)Σ_yy) + tr(P R_y), P = W2W2⁺.

    Parameters
    ----------
    head : array of shape (outputs, features)
        W2.
    targets : array of shape (outputs, outputs)
        Σ_yy = E yy', uncentred.
    residual : array of shape (outputs, outputs)
        R_y = Σ_yy − Σ_y1 Σ_11⁺ Σ_1y, what the best linear map of f1 leaves of y; its trace is R_1(H_1).

    Returns
    -------
    float
        R_stitch over all linear maps: R_1(H_1) if W2 has full row rank, more if not.

    Raises
    ------
    TypeError, ValueError
        Shapes do not fit, a matrix is not symmetric and positive semi-definite, or R_y exceeds Σ_yy.

    Notes
    -----
    Conditions as `output_layer`, but for the rank. O(outputs²·features) time. Source: Theory, 5.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> targets, residual = np.diag([4.0, 9.0]), np.diag([1.0, 2.0])
    >>> gm.bounds.output_layer_projected(np.eye(2), targets, residual)  # everything can be output
    3.0
    >>> gm.bounds.output_layer_projected(np.array([[1.0, 0], [0, 0]]), targets, residual)  # nothing of the second
    10.0
    """
    w = _array(head, "head")
    total, left = _moment(targets, "targets", len(w)), _moment(residual, "residual", len(w))
    if np.linalg.eigvalsh(total - left)[0] < -_negligible(total):
        raise ValueError("residual exceeds targets: targets - residual must be positive semi-definite")
    basis = _row_space(w)
    return float(np.trace(total)) - float(np.trace(basis.T @ (total - left) @ basis))


@public
def stitching(risk2: float, kappa2: float, misalignment: float) -> float:
    """Risk of a model stitched at a middle layer, at most (√R_2 + κ2 √Ã_2)².

    Parameters
    ----------
    risk2 : float
        R_2(h2) = E‖g2(f2) − y‖², of the second model on its own; it need not be optimal.
    kappa2 : float
        A Lipschitz constant of its head g2, Euclidean: `gramian.lipschitz.upper` is a certified one. On one sample
        `gramian.lipschitz.effective` of the pairs (S f1, f2) will do.
    misalignment : float
        Ã_2 = E‖f2 − S f1‖²: of the best linear map for the least risk over linear maps; of any map s for the risk of s.

    Returns
    -------
    float
        An upper bound for R_stitch, in units of the loss.

    Raises
    ------
    TypeError, ValueError
        An argument is no number, NaN or negative.

    Notes
    -----
    Minkowski's inequality, so it holds for every measure, a sample too: a sample that S was not fitted on, if it is to
    speak of new data. Tight: there are f1, f2, g2, y that reach it. Vacuous if it exceeds E‖y‖². For the classification
    error it says nothing: the loss is squared. Source: Insulla, Huang, Rosasco 2025; Theory, 5.5.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.bounds.stitching(4.0, 3.0, 0.25)
    12.25
    """
    risk, spread = _stitching_terms(risk2, kappa2, misalignment)
    return _square(math.sqrt(risk) + spread)


@public
def stitching_lower(risk2: float, kappa2: float, misalignment: float) -> float:
    """Risk of a model stitched by one map S, at least (√R_2 − κ2 √Ã_2(S))²; 0 where the difference is negative.

    Parameters
    ----------
    risk2, kappa2 : float
        As in `stitching`.
    misalignment : float
        Ã_2(S) = E‖f2 − S f1‖² of the map in use.

    Returns
    -------
    float
        A lower bound for R_2(g2∘S∘f1), in units of the loss.

    Raises
    ------
    TypeError, ValueError
        An argument is no number, NaN or negative.

    Notes
    -----
    Of the map whose misalignment is given, not of the best over a class: another map may be farther from f2 and do
    better. Source: the other side of Minkowski's inequality; Theory, 5.5.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.bounds.stitching_lower(4.0, 3.0, 0.25), gm.bounds.stitching_lower(4.0, 3.0, 1.0)
    (0.25, 0.0)
    """
    risk, spread = _stitching_terms(risk2, kappa2, misalignment)
    return _square(max(math.sqrt(risk) - spread, 0.0))


@public
def stitching_refined(risk2: float, kappa_rest: float, first: object, residual: object) -> float:
    """`stitching` for a head that starts with a matrix, g2 = h∘W: (√R_2 + κ_h √tr(W R W'))².

    Parameters
    ----------
    risk2 : float
        R_2(h2).
    kappa_rest : float
        κ_h, a Lipschitz constant of the head without its first layer.
    first : array of shape (k, features)
        W, the weights of the head's first layer; its bias does not matter.
    residual : array of shape (features, features)
        R = E ee' with e = f2 − S f1, uncentred: Σ_22 − Σ_21 Σ_11⁺ Σ_12 for the best linear map. Its trace is Ã_2.

    Returns
    -------
    float
        An upper bound for R_stitch, never above ``stitching(risk2, kappa_rest * ‖W‖₂, trace(residual))``.

    Raises
    ------
    TypeError, ValueError
        An argument is no number or negative, shapes do not fit, R is not symmetric and positive semi-definite.

    Notes
    -----
    Conditions as `stitching`. An error counts only as much as W sees of it. O(k·features²) time. Source: Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> W, R = np.diag([4.0, 0.5]), np.diag([0.0, 1.0])
    >>> gm.bounds.stitching_refined(1.0, 2.0, W, R), gm.bounds.stitching(1.0, 2.0 * 4.0, 1.0)
    (4.0, 81.0)
    """
    w = _array(first, "first")
    r = _moment(residual, "residual", w.shape[1], why="one row and column for each feature that first takes")
    kappa = _number(kappa_rest, "kappa_rest", infinite=True)
    exponent = math.frexp(float(np.abs(w).max()))[1] - 1  # squares of W in these units neither over- nor underflow
    scaled = np.ldexp(w, -exponent)
    seen = max(float(np.einsum("ij,jk,ik->", scaled, r, scaled, optimize=True)), 0.0)
    return stitching(risk2, kappa * math.ldexp(1.0, exponent), seen)


@public
def stitching_forward(risk2: float, kappa2: float, misalignment: float) -> float:
    """How much worse the first model's architecture can be: R(H_1) − R(H_2) ≤ κ2² Ã_2 + 2κ2 √(Ã_2 R(H_2)).

    Parameters
    ----------
    risk2 : float
        R(H_2), the least risk over the second model's heads.
    kappa2, misalignment : float
        As in `stitching`, of the optimal head g2.

    Returns
    -------
    float
        An upper bound for R(H_1) − R(H_2).

    Raises
    ------
    TypeError, ValueError
        An argument is no number, NaN or negative.

    Notes
    -----
    Needs the same data, loss and outputs in both models, h2 = g2∘f2 optimal over H_2 = {g∘f2: g ∈ G_2}, and g2∘s ∈ G_1
    for every stitching map s (the first model's heads can be "s, then g2"; slides of the paper have the order
    reversed). If that holds both ways, |R(H_1) − R(H_2)| is at most the larger of this and the same with the models
    exchanged. Source: Insulla, Huang, Rosasco 2025; Theory, 5.6.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.bounds.stitching_forward(4.0, 3.0, 0.25)
    8.25
    """
    risk, spread = _stitching_terms(risk2, kappa2, misalignment)
    return spread * spread + (2 * spread * math.sqrt(risk) if risk else 0.0)


def _square(value: float) -> float:
    return value * value  # infinite where ** would raise


def _stitching_terms(risk2: float, kappa2: float, misalignment: float) -> tuple[float, float]:
    """R_2 and κ2 √Ã_2; 0 where Ã_2 is, whatever the head: f2 = S f1 then."""
    risk, kappa = _number(risk2, "risk2"), _number(kappa2, "kappa2", infinite=True)
    error = _number(misalignment, "misalignment")
    return risk, kappa * math.sqrt(error) if error else 0.0


# ---- from alignment to misalignment and distances ------------------------------------------------------------------


@public
def misalignment_from_ka(ka: float, spectrum1: object, spectrum2: object) -> Interval:
    """What kernel alignment says of stitching: an interval for Ã_2, given the spectra of both kernels.

    Ã_2 = tr Σ_22 − Σ_ij Φ_ij² η2_j, while KA fixes only T = Σ_ij η1_i Φ_ij² η2_j = A‖η1‖‖η2‖. Of Φ² is known that no
    row or column sums to more than 1. The interval is the range of Ã_2 over all such Φ²; it lies within the simple
    tr Σ_22 − T/min η1 ≤ Ã_2 ≤ tr Σ_22 − T/max η1.

    Parameters
    ----------
    ka : float
        A, kernel alignment of linear kernels, uncentred and biased: ``gm.kernel_alignment(F1, F2)``. With CKA and
        spectra of centred features it is about affine stitching maps.
    spectrum1, spectrum2 : arrays of shape (d1,), (d2,)
        Eigenvalues η1 of Σ_11 = F1'F1/n and η2 of Σ_22. Those below d·eps of the largest are too
        small for KA: such directions of f1 may explain anything of f2, unless they are 0.

    Returns
    -------
    Interval
        ``.low``, ``.high`` in units of f2², within [0, tr Σ_22].

    Raises
    ------
    TypeError, ValueError
        A spectrum has no positive value, or negative ones beyond rounding; no representations with these spectra have
        the alignment ka (it is negative or too large).

    Notes
    -----
    O(d log d) time: a linear programme over doubly substochastic matrices, whose dual has one variable and breaks at 0
    and at 1/η1. If f1 is white the interval is a point. If the spectrum of f1 spans orders of magnitude it is nearly
    all of [0, tr Σ_22]: high KA says that leading directions are shared, and stitching asks for all. Source: Theory,
    5.3.

    Examples
    --------
    >>> import gramian as gm
    >>> found = gm.bounds.misalignment_from_ka(0.6, [1.0, 1.0], [3.0, 4.0])  # white f1: 7 − 0.6·√2·5
    >>> round(found.low, 9), round(found.high, 9)
    (2.757359313, 2.757359313)
    """
    a = _number(ka, "ka")
    one, two = _spectrum(spectrum1, "spectrum1"), _spectrum(spectrum2, "spectrum2")
    small = np.count_nonzero(np.asarray(spectrum1)) - len(one)  # KA does not see what these explain
    eta1, eta2 = one / one[0], two / two[0]  # whose squares neither over- nor underflow
    size = float(np.linalg.norm(eta2)) * float(two[0])
    eta1, eta2 = eta1 / np.linalg.norm(eta1), eta2 / np.linalg.norm(eta2)
    largest = _paired(eta1, eta2)
    if a > largest * (1 + 1e-6):  # rounding of float32 features
        raise ValueError(
            f"ka must be at most {largest:.6g}, which is all that kernels of these spectra can have, got {a:.6g}"
        )
    t = min(a, largest)
    slack = _ROUNDINGS * len(eta1) * _EPS * largest  # A and the spectra are rounded, and small η1 magnify it
    t_most, t_least = min(t + slack, largest), max(t - slack, 0.0)
    b = np.zeros(len(eta1) + small)
    b[: len(eta2)] = eta2[: len(b)]  # descending; no direction of f1 explains two of f2
    # Explained energy is Σ b_j M_ij with Σ η1_i b_j M_ij = t. For any multiplier λ ≥ 0 it is at most
    # λt + max_M Σ b_j (1 − λ η1_i) M_ij and at least λt − max_M Σ b_j (λ η1_i − 1) M_ij, where the best M pairs
    # sorted with sorted; both are piecewise linear in λ and their optimum lies at a break.
    breaks = 1 / eta1[::-1]  # descending
    small_first = (
        _prefix(b),
        _prefix(b * np.concatenate([np.zeros(small), eta1[::-1]])),
    )  # least a_i with the largest b_j
    large_first = _prefix(b), _prefix(b[: len(eta1)] * eta1)
    k = np.arange(len(eta1))  # active directions at each break
    above = breaks * t_most + small_first[0][small + k] - breaks * small_first[1][small + k]
    below = t_least / eta1 - (large_first[1][k] / eta1 - large_first[0][k])
    explained_most = min(float(above.min()), float(b.sum()))
    explained_least = max(float(below.max()), 0.0)
    trace = float(eta2.sum())
    low = max(trace - explained_most, 0.0) * size
    high = min(max(trace - explained_least, 0.0) * size, trace * size)
    return Interval(min(low, high), high)


def _prefix(values: Array) -> Array:
    """Sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _paired(a: Array, b: Array) -> float:
    k = min(len(a), len(b))
    return float(a[:k] @ b[:k])


@public
def da_from_ka(ka: float, norm1: float, norm2: float) -> float:
    """Distance alignment of kernels with unit diagonals: D = 4[(C1 − C2)² + 2 C1 C2 (1 − A)], exactly.

    Parameters
    ----------
    ka : float
        A, kernel alignment, diagonal included ("biased") where it is of a sample.
    norm1, norm2 : float
        C_q = √(E K_q²), the Hilbert–Schmidt norms, ‖K_q‖_F/n of a sample; at most 1.

    Returns
    -------
    float
        D = E(d1² − d2²)² with d_q² = 2 − 2K_q; 8C²(1 − A) for equal norms C (slides of the paper have 8C(1 − A), which
        is right only if C is the norm's square).

    Raises
    ------
    TypeError, ValueError
        A is outside [−1, 1], or a norm is not in (0, 1].

    Notes
    -----
    Needs K_q(x, x) = 1 for every x: cosine, RBF, exponential, Laplacian, rational quadratic, arc-cosine of order 0.
    `centered_da_from_cka` needs no such thing. As A → 1 digits are lost, which `gramian.distance_alignment` keeps.
    Source: Insulla, Huang, Rosasco 2025; Theory, 2.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.bounds.da_from_ka(0.75, 0.5, 0.5)
    0.5
    """
    return _distance(ka, norm1, norm2, "ka", largest=1.0)


@public
def centered_da_from_cka(cka: float, norm1: float, norm2: float) -> float:
    """Distance alignment of double-centred squared distances: D_c = 4[(c1 − c2)² + 2 c1 c2 (1 − CKA)], exactly.

    Parameters
    ----------
    cka : float
        CKA, biased where it is of a sample, with the kernel whose distances are meant.
    norm1, norm2 : float
        c_q = ‖K̄_q‖_F/n, norms of the centred kernel matrices.

    Returns
    -------
    float
        `gramian.distance_alignment` with ``centered=True``; 8(1 − CKA) for norms of 1.

    Raises
    ------
    TypeError, ValueError
        CKA is outside [−1, 1], or a norm is not positive.

    Notes
    -----
    Any kernels: centring takes the diagonals out. Source: Theory, 2.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.bounds.centered_da_from_cka(0.75, 1.0, 1.0)
    2.0
    """
    return _distance(cka, norm1, norm2, "cka", largest=math.inf)


def _distance(alignment: float, norm1: float, norm2: float, name: str, *, largest: float) -> float:
    a = _number(alignment, name, negative=True)
    if abs(a) > 1 + 1e-12:
        raise ValueError(f"{name} must be from -1 to 1, got {a:.6g}")
    a = min(max(a, -1.0), 1.0)  # an alignment of 1 + eps is one
    norms = []
    for value, argument in ((norm1, "norm1"), (norm2, "norm2")):
        c = _number(value, argument)
        if not 0 < c <= largest * (1 + 1e-12):
            needed = "above 0" if largest == math.inf else "above 0 and at most 1, as of a kernel with unit diagonal"
            raise ValueError(f"{argument} must be {needed}, got {c:.6g}")
        norms.append(c)
    size = max(norms)  # so that nothing overflows before the end
    c1, c2 = norms[0] / size, norms[1] / size
    part = 4 * (_square(c1 - c2) + 2 * c1 * c2 * (1 - a))
    return part * size * size if part else 0.0


# ---- from a sample to the population -------------------------------------------------------------------------------


@public
def ka_concentration(n: int, delta: float) -> float:
    """The paper's deviation of kernel alignment, |Â − A| ≤ √((32/n) log(2/δ)); not valid for every kernel.

    Parameters
    ----------
    n : int
        Independent samples.
    delta : float
        Probability that it fails, in (0, 1).

    Returns
    -------
    float
        Vacuous from 1 on: below n = 32·log(2/δ), some 120 samples for δ = 0.05.

    Raises
    ------
    TypeError, ValueError
        n is not a positive whole number, δ is not between 0 and 1.

    Notes
    -----
    **It is no certificate.** 32 comes from McDiarmid's inequality with differences of 8/n, which a ratio has only if
    neither kernel's norm √(E K²) is small. Counterexample: x, y independent N(0, 1), RBF of bandwidth 10⁻⁴, n = 500:
    Â = 0.97 by its diagonal alone while A = 10⁻⁴, and the bound for δ = 0.05 is 0.486. It holds with room to spare
    for kernels of ordinary width, and as it stands for |K| = 1 (kernels of ±1 labels). `ka_interval` needs no such
    assumption: it takes the norms from the sample. Source: Insulla, Huang, Rosasco 2025; Theory, 1.

    Examples
    --------
    >>> import gramian as gm
    >>> round(gm.bounds.ka_concentration(10_000, 0.05), 4)
    0.1086
    """
    check_count(n, "n")
    return math.sqrt(32 / n * math.log(2 / _probability(delta)))


@public
def ka_interval(
    moments: GramMoments,
    delta: float,
    *,
    pair: tuple[int, int] = (0, 1),
    kernel_bounds: tuple[float | None, float | None] = (None, None),
) -> CertifiedInterval:
    """An interval that holds the population's kernel alignment with probability at least 1 − δ, for any data.

    N, B, C, the means of KL, K², L² over i ≠ j, are U-statistics of order two in a bounded range. Hoeffding's averaging
    gives each the Chernoff bound of m = ⌊n/2⌋ independent terms: m·kl(N, E N) ≤ log(6/δ) for all three at once,
    kl the relative entropy of two coins. A = E KL/√(E K² · E L²) then lies between the extremes of the ratio.

    Parameters
    ----------
    moments : GramMoments
        Of both arrays, complete: ``gm.gram_moments(X, Y, kernel=...)``. Rows must be independent samples.
    delta : float
        Probability that it fails, in (0, 1).
    pair : (int, int)
        Which two representations of the moments.
    kernel_bounds : (float or None, float or None)
        Numbers that |K| and |L| never exceed on the population, for kernels without a bound of their own: linear
        kernels of features with ‖x‖² ≤ κ, for one. A sample can refute them but not prove them.

    Returns
    -------
    CertifiedInterval
        ``.low``, ``.high``, ``.value`` (the unbiased estimate), ``.delta``, ``.n``, ``.reason`` (why the value is nan:
        a kernel is 0 between different rows, up to rounding).

    Raises
    ------
    TypeError, ValueError
        Not GramMoments, or incomplete ones; δ is not between 0 and 1; a kernel has no bound, or the sample exceeds the
        given one; a bandwidth was chosen by the same rows (``bandwidth=None``), which makes the terms dependent.

    Notes
    -----
    A bandwidth that was computed from the same rows and then passed as a number cannot be told from a given one: take
    it from other rows. The width shrinks as 1/√n; narrow kernels, whose B and C are small, need more rows. Never wider
    than with Hoeffding's inequality in place of Chernoff's. Rounding of the sweep is added. O(1) time. Source:
    Hoeffding 1963; Theory, 1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((2000, 2))
    >>> gm.bounds.ka_interval(gm.gram_moments(X, X + 0.1, kernel=gm.RBF(bandwidth=2.0)), 0.05)
    kernel_alignment = 1, in [0.8217, 1] with probability 0.95 (n = 2000)
    """
    if not isinstance(moments, GramMoments):
        raise TypeError(f"moments must be GramMoments, as gram_moments gives, got {type(moments).__name__}")
    failure = _probability(delta)
    if not moments.complete:
        held = sum(end - begin for begin, end in moments.tiles)
        raise ValueError(f"moments hold {held} of {moments.all_tiles} tiles; add the other shards first")
    p, q = _pair(pair, moments.m)
    if not isinstance(kernel_bounds, tuple | list) or len(kernel_bounds) != 2:
        raise TypeError(f"kernel_bounds must be two numbers, or None for a kernel's own, got {kernel_bounds!r}")
    sizes = [
        _kernel_bound(moments, r, given, "XY"[i])
        for i, (r, given) in enumerate(zip((p, q), kernel_bounds, strict=True))
    ]
    n = moments.n
    scale = [math.ldexp(size, -int(moments.exponent[r])) for r, (size, _) in zip((p, q), sizes, strict=True)]
    inner = moments.scaled_unshifted() / (n * (n - 1))
    rounded = [_ROUNDINGS * moments.eps * float(moments.rounding[r]) / s for r, s in zip((p, q), scale, strict=True)]

    def mean(i: int, j: int, signed: bool) -> Interval:
        """Of E K_i K_j / (κ_i κ_j)."""
        r = (p, q)
        found = float(inner[r[i], r[j]]) / scale[i] / scale[j]
        slack = rounded[i] + rounded[j] + 64 * _EPS
        low, high = _chernoff((found + 1) / 2 if signed else found, n // 2, math.log(6 / failure))
        if signed:
            low, high, floor = 2 * low - 1, 2 * high - 1, -1.0
        else:
            floor = 0.0
        return Interval(max(low - slack, floor), min(high + slack, 1.0))

    signed = sizes[0][1] or sizes[1][1]
    joint, own1, own2 = mean(0, 1, signed), mean(0, 0, False), mean(1, 1, False)
    most = math.sqrt(own1.high * own2.high)
    least = math.sqrt(own1.low * own2.low)
    floor = -1.0 if signed else 0.0
    low = joint.low / most if joint.low >= 0 else (joint.low / least if least else -math.inf)
    high = joint.high / most if joint.high <= 0 else (joint.high / least if least else math.inf)
    value, reason = math.nan, None
    for r, name in zip((p, q), "XY", strict=True):
        if float(inner[r, r]) <= (_ROUNDINGS * moments.eps * float(moments.rounding[r])) ** 2:
            reason = reason or f"the kernel of {name} is 0 between different rows, up to rounding"
    if reason is None:
        own = math.sqrt(float(inner[p, p])) * math.sqrt(float(inner[q, q]))
        value = min(max(float(inner[p, q]) / own, floor), 1.0)
    return CertifiedInterval(max(low, floor), min(high, 1.0), value, failure, n, reason)


def _pair(pair: object, m: int) -> tuple[int, int]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"pair must be two numbers of representations, got {pair!r}")
    for r in pair:
        check_count(r, "pair", 0)
    p, q = int(pair[0]), int(pair[1])
    if p == q or max(p, q) >= m:
        raise ValueError(f"pair must name two of the {m} representations of the moments, from 0, got {(p, q)}")
    return p, q


def _kernel_bound(g: GramMoments, r: int, given: float | None, name: str) -> tuple[float, bool]:
    """(κ, whether values may be negative) of one kernel."""
    kernel = g.kernels[r]
    if g.bandwidth_from_rows[r]:
        raise ValueError(
            f"the bandwidth of {name}'s kernel {kernel} was chosen by these rows, so the interval would certify "
            "nothing; pass a bandwidth from other rows: gm.median_bandwidth(held_out)"
        )
    own = _own_bound(kernel)
    signed = not isinstance(kernel, RBF | Exponential | Laplacian | RationalQuadratic | ArcCosine | Distance)
    if given is None and own is None:
        raise ValueError(
            f"{name}'s kernel {kernel} has no bound, so nothing can be certified; use a bounded kernel, "
            "kernel_bounds, or the standard error of gm.alignment"
        )
    if given is None:
        return float(own or 0.0), signed
    bound = _number(given, "kernel_bounds")
    largest = float(np.ldexp(np.abs(g.scaled_diagonal[r] + 2 * g.scaled_shift[r]).max(), int(g.exponent[r])))
    if bound <= 0 or largest > bound * (1 + 1e-6):
        raise ValueError(f"kernel_bounds says {bound:.6g} for {name}, but these rows reach {largest:.6g}")
    return bound, signed


def _own_bound(kernel: Kernel) -> float | None:
    bounded = isinstance(kernel, Cosine | RBF | Exponential | Laplacian | RationalQuadratic)
    return 1.0 if bounded or (isinstance(kernel, ArcCosine) and kernel.order == 0) else None


def _chernoff(mean: float, m: int, log_term: float) -> tuple[float, float]:
    """All θ in [0, 1] with m·kl(mean, θ) ≤ log_term, rounded outwards."""
    p = min(max(mean, 0.0), 1.0)
    limit = log_term / m

    def outside(theta: float) -> bool:
        if theta in (0.0, 1.0):
            return p != theta
        kl = (p * math.log(p / theta) if p else 0.0) + ((1 - p) * math.log((1 - p) / (1 - theta)) if p < 1 else 0.0)
        return kl > limit

    ends = []
    for end in (0.0, 1.0):
        if not outside(end):
            ends.append(end)
            continue
        far, near = end, p
        for _ in range(80):
            middle = (far + near) / 2
            far, near = (middle, near) if outside(middle) else (far, middle)
        ends.append(far)
    return ends[0], ends[1]


# ---- the gate ------------------------------------------------------------------------------------------------------


def _number(value: object, name: str, *, negative: bool = False, infinite: bool = False) -> float:
    number = check_number(value, name)
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise ValueError(f"{name} must be finite, got {number}")
    if number < 0 and not negative:
        raise ValueError(f"{name} must be at least 0, got {number:.6g}")
    return number


def _probability(delta: object) -> float:
    found = _number(delta, "delta", negative=True)
    if not 0 < found < 1:
        raise ValueError(f"delta must be between 0 and 1, the probability of failure, got {found:.6g}")
    return found


def _array(value: Any, name: str) -> Array:
    """A small matrix of float64."""
    found = matrix(np.asarray(value) if isinstance(value, list | tuple) else value, name)
    return found.block(0, found.n)


def _moment(value: object, name: str, size: int, *, why: str = "one row and column for each output") -> Array:
    """A second moment: (size, size), symmetric, positive semi-definite up to rounding."""
    found = _array(value, name)
    if found.shape != (size, size):
        raise ValueError(f"{name} must have shape {(size, size)}, {why}, got {found.shape}")
    allowed = _negligible(found)
    if np.abs(found - found.T).max() > allowed:
        raise ValueError(f"{name} must be symmetric, a matrix of second moments")
    symmetric: Array = (found + found.T) / 2
    least = float(np.linalg.eigvalsh(symmetric)[0])
    if least < -allowed:
        raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {least:.6g}")
    return symmetric


def _negligible(moment: Array) -> float:
    """What rounding of float32 data may have left in a matrix of second moments."""
    return 1e-6 * float(np.abs(moment).max())


def _row_space(w: Array) -> Array:
    """(outputs, rank) an orthonormal basis of what W can output."""
    left, s, _ = np.linalg.svd(w, full_matrices=False)
    return left[:, s > max(w.shape) * _EPS * s.max(initial=0.0)]


def _spectrum(value: Any, name: str) -> Array:
    """Positive eigenvalues, descending."""
    found = value if hasattr(value, "ndim") else np.asarray(value)
    if found.ndim != 1:
        raise ValueError(
            f"{name} must have one dimension, one eigenvalue for each feature, got shape {tuple(found.shape)}"
        )
    eta = np.sort(_array(found[:, None], name)[:, 0])[::-1]
    rounding = len(eta) * _EPS * float(np.abs(eta).max())
    if eta[-1] < -rounding:
        raise ValueError(f"{name} must hold eigenvalues of second moments, at least 0, got {eta[-1]:.6g}")
    if eta[0] <= 0:
        raise ValueError(f"{name} must hold at least one positive eigenvalue")
    return eta[eta > rounding]
