"""Independence tests: p-values of the oracle, the law of the sampled one, size and power."""

import math

import numpy as np
import pytest
from scipy import stats

import gramian as gm
import oracle
from accuracy import CASES, TILE_EDGE, as_input, hard_pair

DETERMINISTIC = ("gamma", "pearson3", "gretton", "chi2", "t")


def pair(n, dependence=0.0, seed=0, width=2):
    rng = np.random.default_rng((n, seed))
    X = rng.normal(size=(n, width))
    return X, dependence * X**2 + rng.normal(size=(n, width))


def test_there_is_an_oracle_for_every_method():
    for method in oracle.TESTS:
        assert gm.independence_test(*pair(20), method=method).method == method


@pytest.mark.parametrize("dependence", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("n", [7, 50, TILE_EDGE + 1])
@pytest.mark.parametrize("name", ["linear", "rbf", "laplacian", "polynomial", "distance", "arc_cosine_1"])
@pytest.mark.parametrize("method", DETERMINISTIC)
def test_p_value_is_that_of_the_oracle(method, name, n, dependence, device):
    X, Y = pair(n, dependence)
    statistic, pvalue = oracle.TESTS[method](CASES[name].gram(X), CASES[name].gram(Y))
    X, Y = as_input(X, "float64", device), as_input(Y, "float64", device)
    got = gm.independence_test(X, Y, CASES[name].kernel, method=method)
    assert got.statistic == pytest.approx(statistic, rel=1e-10, abs=1e-14)
    assert got.pvalue == pytest.approx(pvalue, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_p_value_of_hard_data_is_that_of_the_oracle(method):
    X, Y = hard_pair(TILE_EDGE + 1, 7, 20, mean=10.0)
    K, L = CASES["rbf"].gram(X), CASES["laplacian"].gram(Y)
    got = gm.independence_test(X, Y, CASES["rbf"].kernel, kernel_y=CASES["laplacian"].kernel, method=method)
    assert got.pvalue == pytest.approx(oracle.TESTS[method](K, L)[1], rel=1e-9, abs=1e-300)


def test_default_kernel_and_method_are_rbf_of_the_median_and_the_gamma_of_the_permutation_moments():
    X, Y = pair(60, 0.5)
    got = gm.independence_test(X, Y)
    want = oracle.gamma_test(oracle.gram("rbf", X), oracle.gram("rbf", Y))
    assert (got.method, got.n) == ("gamma", 60)
    assert (got.statistic, got.pvalue) == pytest.approx(want, rel=1e-10)


# ---- the permutation test ------------------------------------------------------------------------------


@pytest.mark.parametrize("permutations", [1, 19, 999])
def test_smallest_p_value_is_one_over_permutations_plus_one(permutations):
    X, _ = pair(100)
    got = gm.independence_test(X, X, method="permutation", permutations=permutations)
    assert got.pvalue == 1 / (permutations + 1)
    assert got.permutations == permutations


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_p_value_counts_the_observed_one_among_the_drawn(kernel):
    for seed in range(5):
        pvalue = gm.independence_test(*pair(30), kernel, method="permutation", permutations=99, seed=seed).pvalue
        assert 1 <= round(100 * pvalue) <= 100
        assert pvalue == pytest.approx(round(100 * pvalue) / 100, rel=1e-15)


@pytest.mark.parametrize("kernel", [gm.Linear(), gm.RBF(bandwidth=1.0), gm.Distance()])
def test_ties_with_the_observed_value_count_as_exceeding_it(kernel):
    """One row apart from five equal ones: a permutation ties if it keeps that row, which one in six does."""
    X = np.eye(6)[:, :1] * 0.3 + 0.1
    got = gm.independence_test(X, X, kernel, method="permutation", permutations=3000).pvalue
    assert abs(got - 1 / 6) <= 5 * math.sqrt(5 / 36 / 3000)


def test_all_permutations_tie_for_rows_with_equal_distances():
    X = np.eye(12)
    assert gm.independence_test(X, X[::-1], gm.RBF(bandwidth=1.0), method="permutation", permutations=50).pvalue == 1


def test_statistic_of_the_permutation_test_is_that_of_the_oracle():
    X, Y = pair(TILE_EDGE + 1, 0.3)
    K, L = CASES["rbf"].gram(X), CASES["rbf"].gram(Y)
    got = gm.independence_test(X, Y, CASES["rbf"].kernel, method="permutation", permutations=9)
    assert got.statistic == pytest.approx(len(X) * oracle.hsic(K, L, "biased"), rel=1e-10)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian"])
def test_seed_fixes_the_p_value(kernel):
    X, Y = pair(80, 0.1)
    drawn = [
        gm.independence_test(X, Y, kernel, method="permutation", permutations=500, seed=s).pvalue for s in (3, 3, 4, 5)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian"])
def test_threads_change_no_bit_of_a_permutation_test(kernel, restored_threads):
    X, Y = pair(TILE_EDGE + 70, 0.1)
    found = []
    for threads in (1, 2, 3):
        gm.set_num_threads(threads)
        got = gm.independence_test(X, Y, kernel, method="permutation", permutations=200)
        found.append((got.statistic, got.pvalue))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_sampled_p_value_agrees_with_the_gamma_approximation(kernel):
    """Two estimates of one tail: 2,000 draws have standard deviation 0.011 at most, the gamma fits to about 0.02."""
    X, Y = pair(100, 0.1)
    sampled = gm.independence_test(X, Y, kernel, method="permutation", permutations=2000).pvalue
    assert abs(sampled - gm.independence_test(X, Y, kernel).pvalue) <= 0.05


# ---- size and power ----------------------------------------------------------------------------------------


def rejections(method, level, dependence=0.0, repetitions=400, n=40, width=2, **options):
    pvalues = [
        gm.independence_test(*pair(n, dependence, seed, width), method=method, **options).pvalue
        for seed in range(repetitions)
    ]
    return int((np.array(pvalues) <= level).sum())


def allowed(level, repetitions=400):
    """A count that a test of exactly this level exceeds once in a million."""
    return int(stats.binom.isf(1e-6, repetitions, level))


@pytest.mark.parametrize("level", [0.05, 0.2])
@pytest.mark.parametrize(("method", "options"), [("permutation", {"permutations": 99}), ("gamma", {}), ("chi2", {})])
def test_size_is_at_most_nominal(method, options, level):
    assert rejections(method, level, **options) <= allowed(level)


@pytest.mark.parametrize("method", ["permutation", "gamma", "pearson3", "t"])
def test_size_is_near_nominal_in_20_dimensions(method):
    options = {"permutations": 99} if method == "permutation" else {}
    found = rejections(method, 0.2, width=20, **options)
    assert stats.binom.ppf(1e-6, 400, 0.2) <= found <= allowed(0.2)


@pytest.mark.parametrize("method", oracle.TESTS)
def test_power_on_quadratic_dependence(method):
    """No linear trace is left of y = x^2 + noise, and every method sees it nearly always."""
    options = {"permutations": 99} if method == "permutation" else {}
    assert rejections(method, 0.05, dependence=1.5, repetitions=60, n=60, **options) >= 54


@pytest.mark.parametrize("method", oracle.TESTS)
def test_constant_representation_has_no_p_value_and_says_why(method):
    X, Y = pair(20)
    got = gm.independence_test(X, np.full_like(Y, 0.1), gm.RBF(bandwidth=1.0), method=method, permutations=9)
    assert math.isnan(got.pvalue)
    assert got.reason
