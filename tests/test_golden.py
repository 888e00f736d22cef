"""Closed forms worked out by hand: no oracle, no package, only numbers that a person can check."""

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import qmc

import gramian as gm

EXACT = {"rel": 1e-13, "abs": 1e-15}


def column(*values):
    return np.array(values, dtype=np.float64)[:, None]


def measured(X, Y, kernel="linear"):
    return {
        "hsic_b": gm.hsic(X, Y, kernel, estimator="biased"),
        "hsic_u": gm.hsic(X, Y, kernel, estimator="unbiased"),
        "cka_b": gm.cka(X, Y, kernel, estimator="biased"),
        "cka_u": gm.cka(X, Y, kernel, estimator="unbiased"),
        "ka": gm.kernel_alignment(X, Y, kernel, estimator="biased"),
    }


def test_four_points_on_a_line_give_fractions():
    x, y = column(1, 2, 3, 4), column(1, 3, 2, 4)
    got, own = measured(x, y), measured(x, x)
    want = {"hsic_b": 1, "hsic_u": -1 / 12, "cka_b": 16 / 25, "cka_u": -1 / 26, "ka": 841 / 900}
    assert got == pytest.approx(want, **EXACT)
    assert (own["hsic_b"], own["hsic_u"]) == pytest.approx((25 / 16, 13 / 6), **EXACT)


def test_six_points_on_a_line_give_fractions():
    x, y = column(0, 1, 2, 4, 7, 11), column(1, 0, 2, 3, 9, 8)
    got, own = measured(x, y), (measured(x, x)["hsic_u"], measured(y, y)["hsic_u"])
    assert (got["hsic_b"], got["hsic_u"]) == pytest.approx((182329 / 1296, 1127 / 6), **EXACT)
    assert own == pytest.approx((6523 / 30, 1103 / 6), **EXACT)
    assert (got["cka_u"], got["cka_b"]) == pytest.approx((0.939501488977755, 0.823434571525347), **EXACT)


def test_rbf_of_four_points_gives_the_printed_digits():
    got = measured(column(0, 1, 2, 3), column(0, 2, 1, 3), gm.RBF(bandwidth=1.0))
    digits = {"hsic_b": 0.06313188004784, "hsic_u": -0.10844051302171}
    digits |= {"cka_b": 0.53213809932334, "cka_u": -0.95471165864840, "ka": 0.85860044776058}
    assert got == pytest.approx(digits, abs=1e-14)  # a unit of the last digit printed


def test_rbf_alignment_of_four_points_is_the_sum_over_pairs_by_hand():
    a, b, c = (math.exp(-(gap**2) / 2) for gap in (1, 2, 3))
    want = (4 + 2 * (4 * a * b + c * c + a * a)) / (4 + 2 * (3 * a**2 + 2 * b**2 + c**2))
    got = gm.kernel_alignment(column(0, 1, 2, 3), column(0, 2, 1, 3), gm.RBF(bandwidth=1.0))
    assert got == pytest.approx(want, **EXACT)


# ---- points on a circle --------------------------------------------------------------------------------


def circle(n, frequency):
    angle = 2 * np.pi * frequency * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.mark.parametrize("n", [8, 16, 193, 500])
def test_frequencies_1_and_2_on_the_circle_are_orthogonal(n):
    got = measured(circle(n, 1), circle(n, 2))
    want = {"ka": 0, "cka_b": 0, "hsic_b": 0, "hsic_u": -n / ((n - 1) * (n - 3)), "cka_u": -2 / (n - 3)}
    assert got == pytest.approx(want, rel=1e-13, abs=1e-14)
    assert gm.distance_alignment(circle(n, 1), circle(n, 2)) == pytest.approx(4, **EXACT)


@pytest.mark.parametrize("n", [8, 193, 500])
def test_a_constant_feature_moves_alignment_and_not_cka(n):
    X = circle(n, 1)
    Y = np.hstack([X, np.ones((n, 1))]) / math.sqrt(2)  # its Gram matrix is (1 + cos)/2
    got = measured(X, Y)
    assert (got["ka"], got["cka_b"], got["cka_u"]) == pytest.approx((1 / math.sqrt(3), 1, 1), **EXACT)
    assert gm.distance_alignment(X, Y) == pytest.approx(1.5, **EXACT)


# ---- normal variables: a rule with equal weights that integrates polynomials of degree 5 exactly ----------


def normal_pair(rho):
    """36 rows with the moments of N(0, 1) x N(0, 1), correlation rho, up to total degree 5.

    Three-point Gauss-Hermite has weights 1/6, 4/6, 1/6 at -sqrt(3), 0, sqrt(3): six equal weights, in two dimensions.
    """
    node = np.array([-math.sqrt(3), 0, 0, 0, 0, math.sqrt(3)])
    u, v = (g.reshape(-1, 1) for g in np.meshgrid(node, node))
    return u, rho * u + math.sqrt(1 - rho**2) * v


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.6, 1.0])
def test_linear_measures_of_normal_variables_are_the_squared_correlation(rho):
    got = measured(*normal_pair(rho))
    assert (got["hsic_b"], got["cka_b"], got["ka"]) == pytest.approx((rho**2,) * 3, **EXACT)


@pytest.mark.parametrize("c", [0.7, 1.0, 2.5])
@pytest.mark.parametrize("rho", [0.0, 0.3, -0.6, 1.0])
def test_quadratic_kernel_of_normal_variables(rho, c):
    got = measured(*normal_pair(rho), gm.Polynomial(degree=2, scale=1.0, offset=c))
    hsic, cka = 4 * rho**4 + 4 * c**2 * rho**2, rho**2 * (rho**2 + c**2) / (1 + c**2)
    assert (got["hsic_b"], got["cka_b"]) == pytest.approx((hsic, cka), rel=1e-13, abs=1e-13)


# ---- normal variables: scrambled nets, whose spread brackets the population ------------------------------


def normal_nets(n=1024, count=16):
    """Independent N(0, 1) columns u, v from scrambled Sobol nets; each seed errs by well under 1 %, in either way."""
    for seed in range(count):
        yield np.hsplit(ndtri(qmc.Sobol(2, seed=seed).random(n)), 2)


def assert_brackets(values, want):
    low, high = np.min(values, axis=0), np.max(values, axis=0)
    assert (low <= want).all()
    assert (want <= high).all()
    assert (high - low <= 0.03 * np.asarray(want)).all()


def hsic_of_normals(rho, s, t):
    """HSIC of RBF kernels of bandwidths s and t on a bivariate normal: E[KL] - 2 E[E[K|x] E[L|y]] + E[K] E[L]."""
    b, c = 1 / (s * s + 1), 1 / (t * t + 1)
    joint = ((1 + 2 / s**2) * (1 + 2 / t**2) - 4 * rho**2 / (s * t) ** 2) ** -0.5
    mixed = ((1 + 1 / s**2) * (1 + 1 / t**2) * ((1 + b) * (1 + c) - rho**2 * b * c)) ** -0.5
    return joint - 2 * mixed + ((1 + 2 / s**2) * (1 + 2 / t**2)) ** -0.5


def alignment_of_normals(rho, s, t):
    joint = ((1 + 2 / s**2) * (1 + 2 / t**2) - 4 * rho**2 / (s * t) ** 2) ** -0.5
    return joint / ((1 + 4 / s**2) * (1 + 4 / t**2)) ** -0.25


def test_population_formulas_have_the_printed_values():
    cka = hsic_of_normals(0.5, 1, 1) / hsic_of_normals(1, 1, 1)
    assert hsic_of_normals(0.5, 1, 1) == pytest.approx(0.010763320143794, abs=1e-15)
    assert cka == pytest.approx(0.146559075501411, abs=1e-14)
    assert alignment_of_normals(0.5, 1, 1) == pytest.approx(0.790569415042095, abs=1e-15)
    assert alignment_of_normals(0.0, 1, 1) == pytest.approx(math.sqrt(5) / 3, abs=1e-15)


@pytest.mark.parametrize(("s", "t"), [(1.0, 1.0), (0.7, 2.0)])
@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_nets_of_normals_bracket_the_population_values_of_rbf_measures(rho, s, t):
    kernels = {"kernel": gm.RBF(bandwidth=s), "kernel_y": gm.RBF(bandwidth=t), "estimator": "biased"}
    measures = (gm.hsic, gm.cka, gm.kernel_alignment)
    pairs = [(u, rho * u + math.sqrt(1 - rho**2) * v) for u, v in normal_nets()]
    hsic, own = hsic_of_normals(rho, s, t), hsic_of_normals(1, s, s) * hsic_of_normals(1, t, t)
    want = (hsic, hsic / math.sqrt(own), alignment_of_normals(rho, s, t))
    assert_brackets([[f(x, y, **kernels) for f in measures] for x, y in pairs], want)


def test_nets_of_independent_normals_bracket_the_population_alignment_of_laplacians():
    mean, square = math.e * math.erfc(1), math.e**4 * math.erfc(2)
    assert (mean, square, mean**2 / square) == pytest.approx(
        (0.427583576156, 0.255395676311, 0.715860649011), abs=5e-13
    )
    got = [gm.kernel_alignment(u, v, gm.Laplacian(bandwidth=1.0)) for u, v in normal_nets()]
    assert_brackets(got, mean**2 / square)
