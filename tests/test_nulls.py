"""Null distributions: the same values by the short way and the long one, in any order, within groups; p-values."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import hard_pair
from gramian import platonic
from gramian.inference import permutation as nulls
from gramian.measures import registry
from gramian.sweeps.permuted import permutation

# measures of which `null` sweeps the products alone, and their options
SHORT = [
    ("cka", {}),
    ("cka", {"estimator": "biased", "kernel": "rbf"}),
    ("cka", {"kernel": "linear", "kernel_y": "laplacian"}),
    ("hsic", {}),
    ("hsic", {"kernel": "distance", "estimator": "biased"}),
    ("rsa", {}),
    ("rsa", {"correlation": "cosine"}),
    ("rsa", {"dissimilarity": "euclidean"}),
    ("rsa", {"dissimilarity": "cosine", "dissimilarity_y": "correlation"}),
    ("rsa", {"dissimilarity": "euclidean", "correlation": "cosine"}),
]


def shared(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X[:, :3] + rng.normal(size=(n, 3))


def first_column(X, Y):
    """A measure that nobody has named."""
    return float(np.corrcoef(np.asarray(X)[:, 0], np.asarray(Y)[:, 0])[0, 1])


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("shape", [(70, 5, 6), (70, 90, 6)], ids=["features", "tiles"])
@pytest.mark.parametrize(("name", "options"), SHORT)
def test_short_way_gives_what_the_measure_gives(name, options, shape, groups):
    X, Y = hard_pair(*shape)
    labels = None if groups is None else np.arange(len(X)) % groups
    short = gm.null(name, X, Y, groups=labels, permutations=35, seed=4, **options)
    long = gm.null(lambda *a, **k: getattr(gm, name)(*a, **k), X, Y, groups=labels, permutations=35, seed=4, **options)
    assert short.value == getattr(gm, name)(X, Y, **options) == long.value
    np.testing.assert_allclose(short.values, long.values, rtol=1e-9, atol=1e-12)
    assert (short.pvalue, short.groups) == (long.pvalue, groups)


@pytest.mark.parametrize(
    ("name", "options"), [("kernel_alignment", {}), ("distance_alignment", {}), ("rsa", {"correlation": "spearman"})]
)
def test_values_are_those_of_permuted_rows(name, options):
    X, Y = shared(20)
    found = gm.null(name, X, Y, permutations=4, seed=9, **options)
    for b, value in enumerate(found.values):
        order = np.random.default_rng([9, b]).permutation(20)
        assert value == getattr(gm, name)(X, Y[order], **options)


def test_all_numbers_are_made_from_the_values():
    X, Y = shared()
    found = gm.null("cka", X, Y, permutations=50, seed=1)
    values = found.values
    assert found.permutations == len(values) == 50
    assert (found.mean, found.sd) == (values.mean(), values.std(ddof=1))
    assert found.z == (found.value - values.mean()) / values.std(ddof=1)
    assert found.corrected == pytest.approx((found.value - values.mean()) / (1 - values.mean()), rel=1e-14)
    assert found.pvalue == (1 + (values >= found.value).sum()) / 51
    assert (found.maximum, found.alternative, found.measure, found.n, found.seed) == (1.0, "greater", "cka", 60, 1)


def test_chance_of_unbiased_cka_is_zero_and_of_biased_cka_is_not():
    X, Y = np.random.default_rng(0).normal(size=(2, 60, 40))
    unbiased, biased = (gm.null("cka", X, Y, estimator=e, permutations=200) for e in ("unbiased", "biased"))
    assert abs(unbiased.mean) < 4 * unbiased.sd / math.sqrt(200)
    assert biased.mean > 0.3
    assert abs(biased.corrected) < 0.05


def test_mean_and_spread_are_those_over_all_permutations():
    X, Y = shared(30)
    K, L = (oracle.centred(oracle.gram("linear", Z)) for Z in (X, Y))
    mean, variance = oracle.permutation_moments(K, L)
    found = gm.null("hsic", X, Y, estimator="biased", permutations=2000)
    assert found.mean * 900 == pytest.approx(mean, abs=4 * math.sqrt(variance / 2000))
    assert (found.sd * 900) ** 2 == pytest.approx(variance, rel=0.25)


def test_pvalue_is_that_of_all_permutations_up_to_chance():
    X, Y = shared(6, 3, seed=5)
    K, L = (oracle.gram("linear", Z) for Z in (X, Y))
    want = oracle.permutation_test(K, L)[1]
    found = gm.null("hsic", X, Y, estimator="biased", permutations=3000)
    assert found.pvalue == pytest.approx(want, abs=4 * math.sqrt(want * (1 - want) / 3000))


def test_pvalues_of_independent_data_are_uniform():
    rng = np.random.default_rng(0)
    found = [gm.null("cka", *rng.normal(size=(2, 20, 3)), permutations=19).pvalue for _ in range(200)]
    share = np.bincount(np.rint(np.array(found) * 20).astype(int), minlength=21)[1:]
    assert ((share - 10) ** 2 / 10).sum() < 50  # χ² of 19 degrees: 1 in 10,000


# ---- seeds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, np.arange(60) % 4])
def test_a_permutation_depends_on_seed_and_number_only(groups):
    X, Y = shared()
    few, many = (gm.null("cka", X, Y, groups=groups, permutations=b, seed=3) for b in (5, 40))
    np.testing.assert_array_equal(few.values, many.values[:5])
    other = gm.null("cka", X, Y, groups=groups, permutations=5, seed=4)
    assert not np.any(few.values == other.values)


# ---- groups ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 1000), st.integers(0, 10))
def test_rows_stay_within_their_group(labels, seed, b):
    labels = np.array(labels)
    order = nulls._within(labels, seed, b)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(labels)))
    np.testing.assert_array_equal(labels[order], labels)


def test_all_orders_within_groups_are_equally_likely():
    labels = np.array([1, 0, 1, 0, 1])
    drawn = [tuple(nulls._within(labels, 0, b)) for b in range(2400)]
    counts = [drawn.count(order) for order in set(drawn)]
    assert len(counts) == math.factorial(3) * math.factorial(2)
    assert sum((c - 200) ** 2 / 200 for c in counts) < 40  # χ² of 11 degrees: less than 1 in 10,000


@pytest.mark.parametrize("labels", [np.arange(90) % 3, [f"class {i % 3}" for i in range(90)], np.arange(90) % 3 / 2])
def test_agreement_on_groups_alone_is_no_agreement_within_them(labels):
    rng = np.random.default_rng(0)
    means = np.array(np.unique(labels, return_inverse=True)[1])[:, None] * 2.0
    X, Y = means + rng.normal(size=(90, 4)), means + rng.normal(size=(90, 5))
    plain, within = (gm.null("cka", X, Y, groups=g, permutations=99) for g in (None, labels))
    assert plain.pvalue == 0.01
    assert within.pvalue > 0.05
    assert (plain.groups, within.groups) == (None, 3)
    assert within.mean > 0.5 > plain.mean
    assert abs(within.corrected) < 0.1


def test_groups_may_be_strings_of_any_kind():
    X, Y = shared()
    labels = [f"class {i % 3}" for i in range(60)]
    want = gm.null("cka", X, Y, groups=np.arange(60) % 3, permutations=5).values
    for groups in (labels, tuple(labels), np.array(labels), np.array(labels, dtype=object), np.array(labels, "S")):
        np.testing.assert_array_equal(gm.null("cka", X, Y, groups=groups, permutations=5).values, want)


def test_rows_alone_in_their_group_stay_where_they_are():
    X, Y = shared(5)
    seen = []
    gm.null(lambda X, Y: seen.append(Y) or 0.0, X, Y, groups=[0, 1, 1, 2, 3], permutations=8)
    for rows in seen:
        np.testing.assert_array_equal(rows[[0, 3, 4]], Y[[0, 3, 4]])
    assert any(not np.array_equal(rows, Y) for rows in seen)


# ---- measures -------------------------------------------------------------------------------------------------------


def test_any_function_of_two_arrays_has_a_null():
    X, Y = shared()
    found = gm.null(first_column, X, Y, permutations=99, maximum=1.0)
    assert (found.measure, found.value, found.pvalue) == ("first_column", first_column(X, Y), 0.01)
    assert 0 < found.corrected < found.value + 0.1
    assert math.isnan(gm.null(first_column, X, Y, permutations=9).corrected)


@pytest.mark.parametrize("name", ["cka", "rsa", "procrustes", "shape_distance", "distance_alignment", "mutual_knn"])
def test_a_function_of_the_package_stands_for_its_name(name):
    X, Y = shared()
    by_name, by_function = (gm.null(measure, X, Y, permutations=19) for measure in (name, getattr(gm, name)))
    assert by_function.pvalue == 0.05
    np.testing.assert_array_equal(by_function.values, by_name.values)
    for field in ("measure", "value", "pvalue", "corrected", "maximum", "alternative"):
        np.testing.assert_equal(getattr(by_function, field), getattr(by_name, field))


def test_a_measure_may_return_what_holds_a_number():
    X, Y = shared()
    want = gm.null("cka", X, Y, permutations=3).values
    for wrap in (np.float64, np.array, lambda v: np.array([[v]])[0, 0]):
        found = gm.null(lambda X, Y, wrap=wrap: wrap(gm.cka(X, Y)), X, Y, permutations=3)
        np.testing.assert_allclose(found.values, want, rtol=1e-9)
    found = gm.null(lambda X, Y: gm.rsa_estimate(X, Y), X, Y, permutations=3)
    np.testing.assert_allclose(found.values, gm.null("rsa", X, Y, permutations=3).values, rtol=1e-9)


def test_a_function_of_the_same_name_is_another_function():
    X, Y = shared()

    def procrustes(X, Y):
        return -gm.procrustes(X, Y)

    found = gm.null(procrustes, X, Y, permutations=19)
    assert (found.measure, found.alternative, found.maximum, found.pvalue) == ("procrustes", "greater", None, 0.05)


def test_of_distances_the_small_ones_are_extreme():
    X, Y = shared()
    found = gm.null("distance_alignment", X, Y[:, :3], permutations=99)
    assert (found.alternative, found.pvalue, found.maximum) == ("less", 0.01, None)
    assert found.z < -2
    assert math.isnan(found.corrected)
    assert gm.null("distance_alignment", X, Y, permutations=99, alternative="greater").pvalue == 1.0


@pytest.mark.parametrize("name", ["mutual_knn", "cycle_knn", "cknna", "svcca", "pwcca", "coco", "nocco"])
def test_measures_of_other_families_have_a_null(name):
    X, Y = shared(80)
    found = gm.null(name, X, Y, permutations=49)
    assert found.value == getattr(gm, name)(X, Y)
    assert found.pvalue < 0.1


def test_names_of_platonic_scores_are_names_here_or_are_translated():
    for name in set(platonic.get_args(platonic.Metric)) - set(registry.MEASURES):
        with pytest.raises(ValueError, match=f"'{name}' is a name of platonic_score; here it is '"):
            registry.row_of(name)
    X, Y = shared()
    assert gm.null("cka", X, Y, kernel="cosine", permutations=1).value == pytest.approx(
        gm.platonic_score(X, Y, metric="unbiased_cka", quantile=None).score, abs=1e-6
    )


def test_permuted_arrays_are_of_the_kind_that_came():
    torch = pytest.importorskip("torch")
    X, Y = shared()
    kinds = []
    first = gm.null(
        lambda x, y: kinds.append((type(x), y.dtype)) or gm.hsic(x, y), X, torch.from_numpy(Y), permutations=2
    )
    assert set(kinds) == {(np.ndarray, torch.float64)}
    assert first.values == pytest.approx(gm.null("hsic", X, Y, permutations=2).values, rel=1e-12)
    half = torch.from_numpy(Y).bfloat16()
    assert gm.null("rsa", X, half, correlation="spearman", permutations=2).values == pytest.approx(
        gm.null("rsa", X, half.double(), correlation="spearman", permutations=2).values, abs=1e-9
    )


def test_arrays_may_be_files(tmp_path):
    X, Y = shared()
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    for measure in ("cka", "kernel_alignment", first_column):
        got = gm.null(measure, str(tmp_path / "x.npy"), tmp_path / "y.npy", permutations=3)
        np.testing.assert_array_equal(got.values, gm.null(measure, X, Y, permutations=3).values)


def test_progress_counts_permutations():
    X, Y = shared()
    for measure in ("kernel_alignment", first_column):
        seen = []
        gm.null(measure, X, Y, permutations=3, progress=lambda done, total, phase, seen=seen: seen.append(phase))
        assert seen == ["permutations", *(f"permutations {b}/3" for b in (1, 2, 3)), ""]
    seen = []
    gm.null("hsic", X, Y, permutations=3, progress=lambda done, total, phase: seen.append(phase))
    assert seen[-2:] == ["permutations 3/3", ""]


@pytest.mark.parametrize("shape", [(40, 60), (120, 5)])
@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "cosine", "correlation"])
def test_nulls_of_rsa_far_from_0_are_those_of_the_measure(kind, shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    X, Y = ((Z + 1e6).astype(np.float32) for Z in (X, X + rng.standard_normal(shape)))
    found = gm.null("rsa", X, Y, permutations=3, dissimilarity=kind)
    orders = [np.arange(len(X)), *(permutation(len(X), 0, b) for b in range(3))]
    want = [gm.rsa(X, Y[order], dissimilarity=kind) for order in orders]
    assert [found.value, *found.values] == pytest.approx(want, abs=1e-7)


# ---- undefined ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "options"), [("cka", {}), ("rsa", {}), ("kernel_alignment", {}), ("rsa", {"correlation": "spearman"})]
)
def test_no_value_means_no_pvalue(measure, options):
    X, _ = shared(10)
    found = gm.null(measure, X, np.zeros((10, 2)), permutations=3, **options)
    assert [math.isnan(v) for v in (found.value, found.pvalue, found.z, found.corrected)] == [True] * 4
    assert found.reason.startswith(f"{measure} has no value for these arrays")
    if measure == "rsa":
        assert found.reason.endswith(": the dissimilarities of Y are all the same, up to rounding")


@pytest.mark.parametrize("measure", ["mutual_knn", "cycle_knn", "lcs_knn", "edit_knn", "cknna"])
def test_neighbours_of_a_constant_array_are_never_significant(measure):
    X, Y = shared(40)
    for pair, name in (((np.ones((40, 3)), Y), "X"), ((X, np.ones((40, 3))), "Y")):
        found = gm.null(measure, *pair, k=5, permutations=9)
        assert (math.isnan(found.value), math.isnan(found.pvalue)) == (True, True)
        says = f"in {name}, all rows are equally near each other"
        assert found.reason == f"{measure} has no value for these arrays: {says}"


def test_what_a_function_would_have_warned_of_is_the_reason():
    """Undefined in some orders only: the first rows of Y are equal in those."""
    X, Y = shared(6)
    Y[:3] = 1.0
    found = gm.null(lambda X, Y: gm.rsa(X[3:], Y[3:], correlation="spearman"), X, Y, permutations=60)
    assert (math.isfinite(found.value), np.isnan(found.values).any(), math.isnan(found.pvalue)) == (True, True, True)
    says = "<lambda> has no value for some permutations: the dissimilarities of Y are all the same, up to rounding"
    assert found.reason == says


def test_values_without_spread_have_no_z():
    X, Y = shared()
    found = gm.null(lambda X, Y: 0.5, X, Y, permutations=3)
    assert (found.pvalue, found.reason) == (1.0, "all permutations give the same value")
    assert math.isnan(found.z)
    found = gm.null("cka", X, Y, permutations=1)
    assert (found.pvalue, found.reason) == (0.5, "one permutation has no spread")
    assert math.isnan(found.sd)


def test_rounding_breaks_no_tie():
    """Equal up to the rounding of sums in another order."""
    X, Y = shared(12)
    Y = np.repeat(Y[:1], 12, axis=0) + np.eye(12)[:, :1]  # 12 different orders, of which 11 give one value
    found = gm.null("hsic", X, Y, permutations=200, estimator="biased")
    values = [gm.hsic(X, Y[np.random.default_rng([0, b]).permutation(12)], estimator="biased") for b in range(200)]
    larger = sum(v >= found.value * (1 - 1e-12) for v in values)
    assert found.pvalue == (1 + larger) / 201


# ---- the gate -------------------------------------------------------------------------------------------------------

WRONG = [
    (TypeError, "measure must be a name or a function of (X, Y), got int", {"measure": 3}),
    (ValueError, "measure must be one of 'cka', 'kernel_alignment', ", {"measure": "cca2"}),
    (
        ValueError,
        "measure 'unbiased_cka' is a name of platonic_score; here it is 'cka' with kernel='cosine', which is unbiased",
        {"measure": "unbiased_cka"},
    ),
    (
        ValueError,
        "measure 'edit_distance_knn' is a name of platonic_score; here it is 'edit_knn'",
        {"measure": "edit_distance_knn"},
    ),
    (ValueError, "alternative must be one of 'greater', 'less', got 'both'", {"alternative": "both"}),
    (ValueError, "permutations must be at least 1, got 0", {"permutations": 0}),
    (TypeError, "permutations must be a whole number, got float", {"permutations": 1e3}),
    (ValueError, "seed must be at least 0, got -1", {"seed": -1}),
    (ValueError, "groups must be 60 labels, one for each row, got shape (59,)", {"groups": [0] * 59}),
    (ValueError, "groups must be 60 labels, one for each row, got shape (60, 1)", {"groups": np.zeros((60, 1))}),
    (ValueError, "groups must be 60 labels, one for each row, got shape ()", {"groups": 3}),
    (TypeError, "groups must be numbers or strings, got dtype object", {"groups": [None] * 60}),
    (ValueError, "groups has NaN in row 7; every row needs a group", {"groups": [0.0] * 7 + [math.nan] * 53}),
    (
        ValueError,
        "groups leaves nothing to permute: each of its 60 groups has a single row",
        {"groups": list(range(60))},
    ),
    (ValueError, "estimator must be one of 'biased', 'unbiased', got 'u'", {"estimator": "u"}),
    (ValueError, "maximum must be a finite number, got nan", {"maximum": math.nan}),
    (TypeError, "maximum must be a number, got str", {"maximum": "1"}),
    (TypeError, "measure must return a number, but <lambda> returned NoneType", {"measure": lambda X, Y: None}),
    (TypeError, "measure must return a number, but <lambda> returned str", {"measure": lambda X, Y: "0.5"}),
    (
        TypeError,
        "measure must return a number, but <lambda> returned ndarray of shape (60,)",
        {"measure": lambda X, Y: X[:, 0]},
    ),
]


@pytest.mark.parametrize(("error", "says", "options"), WRONG, ids=[w[1][:40] for w in WRONG])
def test_what_is_wrong_is_said(error, says, options):
    X, Y = shared()
    with pytest.raises(error) as caught:
        gm.null(**{"measure": "cka", "X": X, "Y": Y, "permutations": 2} | options)
    assert str(caught.value).startswith(says)


def test_rows_must_match():
    X, Y = shared()
    with pytest.raises(ValueError, match=r"^X has 60 rows but Y has 59; row i of both must be the same sample$"):
        gm.null("cka", X, Y[1:])
    with pytest.raises(ValueError, match=r"^a permutation needs at least 2 rows but got 1$"):
        gm.null("cka", X[:1], Y[:1])


def test_null_is_frozen_and_shows_what_matters():
    X, Y = shared()
    found = gm.null("cka", X, Y, permutations=19, groups=np.arange(60) % 2)
    assert repr(found).startswith("Null(cka = 0.")
    assert repr(found).endswith("p = 0.05, 19 permutations within 2 groups)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.value = 0.0


# ---- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), SHORT[::3])
def test_arrays_of_a_device_give_what_those_of_the_host_give(name, options, on_device):
    X, Y = (Z.astype(np.float32) for Z in hard_pair(50, 60, 6, dtype="float32"))
    want = gm.null(name, X, Y, permutations=5, **options)
    got = gm.null(name, on_device(X), on_device(Y), permutations=5, **options)
    assert got.value == pytest.approx(want.value, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(got.values, want.values, rtol=1e-4, atol=1e-5)


def test_every_permutation_of_three_rows_is_drawn():
    drawn = {tuple(nulls._within(np.zeros(3, dtype=np.int64), 0, b)) for b in range(100)}
    assert drawn == set(itertools.permutations(range(3)))
