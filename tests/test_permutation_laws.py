"""What the statistics do over all 720 permutations of six rows, enumerated through the public functions."""

import itertools
import math

import numpy as np
import pytest

import gramian as gm
import oracle
from accuracy import CASES

RNG = np.random.default_rng(6)
X = RNG.normal(size=(6, 3)) * [1.0, 4.0, 0.2]
Y = np.vstack([RNG.normal(size=(5, 2)), [[7.0, -9.0]]])  # one row far out: a skew null
PERMUTATIONS = [list(p) for p in itertools.permutations(range(6))]
PAIRS = [(name, other) for name in CASES for other in (name, "distance")]


def over_all_permutations(measure, name, other, estimator):
    options = {"kernel": CASES[name].kernel, "kernel_y": CASES[other].kernel, "estimator": estimator}
    return np.array([measure(X, Y[p], **options) for p in PERMUTATIONS])


def centred_grams(name, other):
    return oracle.centred(CASES[name].gram(X)), oracle.centred(CASES[other].gram(Y))


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_mean_and_variance_of_biased_hsic_are_kazi_aouals(name, other):
    values = 36 * over_all_permutations(gm.hsic, name, other, "biased")  # <HKH, P HLH P'>
    mean, variance = oracle.permutation_moments(*centred_grams(name, other))
    assert (values.mean(), values.var()) == pytest.approx((mean, variance), rel=1e-10)


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_mean_of_biased_cka_is_the_bias_floor(name, other):
    A, B = centred_grams(name, other)
    values = over_all_permutations(gm.cka, name, other, "biased")
    assert values.mean() == pytest.approx(
        np.trace(A) * np.trace(B) / 5 / math.sqrt((A * A).sum() * (B * B).sum()), rel=1e-10
    )


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_unbiased_cka_has_mean_0_and_variance_2_over_n_n_minus_3_whatever_the_data(name, other):
    values = over_all_permutations(gm.cka, name, other, "unbiased")
    assert (values.mean(), values.var()) == pytest.approx((0, 2 / (6 * 3)), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_permutation_p_value_estimates_the_share_of_all_permutations(name, other):
    """4,000 drawn of 720: the p-value lies within 5 standard deviations of the exact share."""
    K, L = CASES[name].gram(X), CASES[other].gram(Y)
    _, share = oracle.permutation_test(K, L)
    options = {"kernel": CASES[name].kernel, "method": "permutation", "permutations": 4000}
    got = gm.independence_test(X, Y, kernel_y=CASES[other].kernel, **options).pvalue
    assert abs(got - share) <= 5 * math.sqrt(share * (1 - share) / 4000) + 1 / 4001
