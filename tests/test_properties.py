"""What must hold for any data: invariances, identities, and the same bits however the work is laid out."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import gramian as gm
import oracle
from accuracy import CASES, ESTIMATORS, TILE_EDGE, hard_pair

MEASURES = {"hsic": gm.hsic, "cka": gm.cka, "kernel_alignment": gm.kernel_alignment}
# around the tile edge, where an index is wrong first, and anywhere below
SIZES = st.sampled_from([k * TILE_EDGE + i for k in (1, 2) for i in (-1, 0, 1)]) | st.integers(5, 2 * TILE_EDGE)
WIDTHS = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)
NAMES = st.sampled_from(list(CASES))
DTYPES = st.sampled_from(["float64", "float32", "float16"])
few = settings(
    max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def pairs(draw, dtype=None):
    """X and Y of the hard kind; wide enough that no kernel is constant on them."""
    n, dx, dy, seed = draw(SIZES), draw(WIDTHS) + 1, draw(WIDTHS) + 1, draw(SEEDS)
    kind = draw(DTYPES) if dtype is None else dtype
    return tuple(Z.astype(kind) for Z in hard_pair(n, dx, dy, seed=seed, dtype=kind))


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def every_number(X, Y, name):
    kernel = CASES[name].kernel
    numbers = [f(X, Y, kernel, estimator=e) for f in MEASURES.values() for e in ESTIMATORS]
    return [*numbers, gm.mmd2(X, X[::2] * 1, kernel), gm.distance_alignment(X, Y)]


def assert_same_numbers(got, want):
    assert all(map(same, got, want)), (got, want)


# ---- the same bits ---------------------------------------------------------------------------------------


@few
@given(pairs(), NAMES)
def test_same_bits_twice(data, name):
    assert_same_numbers(every_number(*data, name), every_number(*data, name))


@few
@given(data=pairs(), name=NAMES)
def test_same_bits_for_1_2_and_3_threads(data, name, restored_threads):
    found = []
    for threads in (1, 2, 3):
        gm.set_num_threads(threads)
        found.append(every_number(*data, name))
    assert_same_numbers(found[0], found[1])
    assert_same_numbers(found[0], found[2])


@few
@given(pairs(), NAMES, st.integers(2, 7))
def test_shards_add_up_to_the_same_bits(data, name, size):
    kernel = CASES[name].kernel
    whole = gm.gram_moments(*data, kernel=kernel)
    parts = [gm.gram_moments(*data, kernel=kernel, shard=(rank, size)) for rank in range(size)]
    total = sum(parts[1:], parts[0])
    for field in ("shifted_inner", "inner", "inner_full", "row_sums", "diagonal", "shift"):
        np.testing.assert_array_equal(getattr(total, field), getattr(whole, field), strict=True)


@few
@given(pairs(), NAMES, st.permutations(range(5)))
def test_order_in_which_shards_are_added_changes_no_bit(data, name, order):
    parts = [gm.gram_moments(*data, kernel=CASES[name].kernel, shard=(rank, 5)) for rank in range(5)]
    forward, other = sum(parts[1:], parts[0]), sum((parts[i] for i in order[1:]), parts[order[0]])
    np.testing.assert_array_equal(forward.shifted_inner, other.shifted_inner)
    np.testing.assert_array_equal(forward.row_sums, other.row_sums)


def laid_out(X, layout, folder):
    """The same values in another place in memory."""
    if layout == "fortran":
        return np.asfortranarray(X)
    if layout == "strided":
        wide = np.full((2 * len(X), 3 * X.shape[1]), 7, X.dtype)
        wide[::2, 1::3] = X
        return wide[::2, 1::3]
    if layout == "negative":
        return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    if layout == "transposed":
        return np.ascontiguousarray(X.T).T
    if layout == "swapped":
        return X.astype(X.dtype.newbyteorder())
    if layout == "unaligned":
        room = np.zeros(X.nbytes + 1, np.uint8)
        room[1:] = np.ascontiguousarray(X).view(np.uint8).ravel()
        return room[1:].view(X.dtype).reshape(X.shape)
    if layout == "read_only":
        X = X.copy()
        X.flags.writeable = False
        return X
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "layout", ["fortran", "strided", "negative", "transposed", "swapped", "unaligned", "read_only", "memory_mapped"]
)
@settings(few, max_examples=8)
@given(data=pairs(), name=NAMES)
def test_layout_in_memory_changes_no_bit(layout, data, name, tmp_path):
    X, Y = data
    moved = laid_out(X, layout, tmp_path)
    np.testing.assert_array_equal(moved, X)
    assert_same_numbers(every_number(moved, Y, name), every_number(X, Y, name))


# ---- invariances -------------------------------------------------------------------------------------------


@few
@given(pairs("float64"), NAMES, SEEDS)
def test_order_of_the_samples_does_not_matter(data, name, seed):
    X, Y = data
    p = np.random.default_rng(seed).permutation(len(X))
    assert gm.cka(X[p], Y[p], CASES[name].kernel) == pytest.approx(gm.cka(X, Y, CASES[name].kernel), abs=1e-12)


@few
@given(pairs(), NAMES, st.sampled_from(ESTIMATORS))
def test_ratios_are_symmetric_in_x_and_y(data, name, estimator):
    (X, Y), kernel = data, CASES[name].kernel
    for f in (gm.cka, gm.kernel_alignment):
        assert f(X, Y, kernel, estimator=estimator) == pytest.approx(f(Y, X, kernel, estimator=estimator), abs=1e-13)


@few
@given(pairs(), NAMES, st.sampled_from(ESTIMATORS))
def test_a_representation_is_alike_itself(data, name, estimator):
    X, kernel = data[0], CASES[name].kernel
    assert gm.cka(X, X, kernel, estimator=estimator) == pytest.approx(1, abs=1e-15)
    assert gm.kernel_alignment(X, X, kernel, estimator=estimator) == pytest.approx(1, abs=1e-15)


@few
@given(pairs(), NAMES)
def test_ratios_stay_in_their_range(data, name):
    for estimator, low in (("biased", 0), ("unbiased", -1)):
        assert low - 1e-6 <= gm.cka(*data, CASES[name].kernel, estimator=estimator) <= 1 + 1e-6


ROTATION_FREE = st.sampled_from(["linear", "cosine", "polynomial", "rbf", "exponential", "rational_quadratic"])


@few
@given(pairs("float64"), ROTATION_FREE | st.sampled_from(["arc_cosine_1", "distance"]), SEEDS)
def test_rotation_of_the_features_does_not_matter(data, name, seed):
    X, Y = data
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(X.shape[1],) * 2))[0]
    assert gm.cka(X @ Q, Y, CASES[name].kernel) == pytest.approx(gm.cka(X, Y, CASES[name].kernel), abs=1e-11)


@few
@given(pairs("float64"), st.sampled_from(["linear", "cosine", "arc_cosine_0", "arc_cosine_1", "distance"]), SEEDS)
def test_scale_of_the_features_does_not_matter_to_the_last_bit_for_powers_of_two(data, name, seed):
    X, Y = data
    factor = 2.0 ** np.random.default_rng(seed).integers(-40, 40)
    kernel = CASES[name].kernel
    assert gm.cka(X * factor, Y, kernel) == pytest.approx(gm.cka(X, Y, kernel), abs=1e-14)


@few
@given(pairs("float64"), st.sampled_from(["rbf", "exponential", "laplacian", "rational_quadratic"]), SEEDS)
def test_default_bandwidth_makes_scale_irrelevant(data, name, seed):
    X, Y = data
    factor = 10.0 ** np.random.default_rng(seed).integers(-20, 20)
    assert gm.cka(X * factor, Y, name) == pytest.approx(gm.cka(X, Y, name), abs=1e-11)


@few
@given(pairs("float64"), st.sampled_from(["linear", "rbf", "exponential", "laplacian", "rational_quadratic"]), SEEDS)
def test_translation_does_not_matter(data, name, seed):
    X, Y = data
    shift = np.random.default_rng(seed).integers(-(2**12), 2**12, size=X.shape[1])
    moved = (X.astype(np.float32) + shift).astype(np.float64)  # exact: 24 bits and a shift of 12
    assert gm.cka(moved, Y, CASES[name].kernel) == pytest.approx(
        gm.cka(moved - shift, Y, CASES[name].kernel), abs=1e-11
    )


@few
@given(pairs("float64"), NAMES)
def test_features_that_are_zero_change_nothing(data, name):
    X, Y = data
    if name == "polynomial":
        return  # its default scale is one over the number of features
    padded = np.hstack([X, np.zeros((len(X), 3))])
    assert gm.cka(padded, Y, CASES[name].kernel) == pytest.approx(gm.cka(X, Y, CASES[name].kernel), abs=1e-13)


# ---- identities ----------------------------------------------------------------------------------------------


@few
@given(pairs("float64"), NAMES, st.sampled_from(ESTIMATORS))
def test_cka_is_the_ratio_of_three_hsics(data, name, estimator):
    (X, Y), kernel = data, CASES[name].kernel
    h12, h11, h22 = (gm.hsic(A, B, kernel, estimator=estimator) for A, B in ((X, Y), (X, X), (Y, Y)))
    assert gm.cka(X, Y, kernel, estimator=estimator) == pytest.approx(h12 / math.sqrt(h11 * h22), rel=1e-11, abs=1e-12)


@few
@given(pairs("float64"))
def test_cka_of_rbf_tends_to_linear_cka_as_the_bandwidth_grows(data):
    X, Y = data
    spread = max(np.ptp(Z, axis=0).max() * math.sqrt(Z.shape[1]) for Z in data)
    error = [gm.cka(X, Y, gm.RBF(bandwidth=s * spread)) - gm.cka(X, Y) for s in (30, 300, 3000)]
    assert abs(error[1]) <= abs(error[0]) / 50 + 1e-12  # error is O(1/bandwidth^2)
    assert abs(error[2]) <= 1e-6


@few
@given(pairs("float64"))
def test_normalised_centred_distance_alignment_is_eight_times_one_minus_cka(data):
    got = gm.distance_alignment(*data, normalize="hs_norm", centered=True)
    assert got == pytest.approx(8 * (1 - gm.cka(*data, estimator="biased")), rel=1e-11, abs=1e-12)


@few
@given(pairs("float64"))
def test_centred_distance_alignment_follows_from_norms_and_cka(data):
    c1, c2 = (math.sqrt(gm.hsic(Z, Z, estimator="biased")) for Z in data)
    want = 4 * ((c1 - c2) ** 2 + 2 * c1 * c2 * (1 - gm.cka(*data, estimator="biased")))
    assert gm.distance_alignment(*data, centered=True) == pytest.approx(want, rel=1e-11, abs=1e-12 * (c1 + c2) ** 2)


@few
@given(pairs("float64"))
def test_distance_alignment_of_unit_rows_follows_from_norms_and_alignment(data):
    U, V = (oracle.unit_rows(Z) for Z in data)
    c1, c2 = (math.sqrt((oracle.linear(Z, Z) ** 2).mean()) for Z in (U, V))
    want = 4 * ((c1 - c2) ** 2 + 2 * c1 * c2 * (1 - gm.kernel_alignment(U, V)))
    assert gm.distance_alignment(*data, normalize="unit_diagonal") == pytest.approx(want, rel=1e-10, abs=1e-12)


@few
@given(pairs("float64"), SEEDS)
def test_distance_alignment_resolves_a_difference_that_cka_cannot(data, seed):
    """1 - CKA near 1e-18: subtracting from 1 leaves noise of 1e-16, the difference of squared distances does not."""
    X = data[0] - data[0].mean(0)
    E = 1e-9 * np.random.default_rng(seed).normal(size=X.shape)
    K, dK = oracle.centred(X @ X.T), oracle.centred(X @ E.T + E @ X.T + E @ E.T)
    want = 4 * (dK**2).mean()
    assert gm.distance_alignment(X, X + E, centered=True) == pytest.approx(
        want, rel=1e-4 + 1e-15 * np.abs(K).max() ** 2 / want
    )


@settings(few, max_examples=6)
@given(st.integers(5, 24), SEEDS)
def test_hsic_is_the_mmd_between_joint_and_product_of_marginals(n, seed):
    """With linear kernels on all n^2 couples: the product kernel is linear on outer products of features."""
    X, Y = hard_pair(n, 3, 4, seed=seed)
    joint = np.einsum("ia,ib->iab", X, Y).reshape(n, -1)
    product = np.einsum("ia,jb->ijab", X, Y).reshape(n * n, -1)
    want = gm.hsic(X, Y, estimator="biased")
    got = gm.mmd2(joint, product, "linear", estimator="biased")
    assert got == pytest.approx(want, abs=1e-12 * gm.mmd2(joint, 0 * product, "linear", estimator="biased"))


@few
@given(pairs("float64"), NAMES)
def test_mmd_of_a_sample_with_itself_is_zero(data, name):
    X, kernel = data[0], CASES[name].kernel
    scale = np.abs(CASES[name].gram(X)).mean()
    assert abs(gm.mmd2(X, X, kernel, estimator="biased")) <= 1e-13 * scale


@few
@given(pairs("float64"))
def test_mmd_with_the_linear_kernel_is_the_squared_distance_of_the_means(data):
    X, shift = data[0], np.linspace(0, 1, data[0].shape[1])
    Z = X[: len(X) // 2] + shift
    want = ((X.mean(0) - Z.mean(0)) ** 2).sum()
    assert gm.mmd2(X, Z, "linear", estimator="biased") == pytest.approx(
        want, rel=1e-10, abs=1e-12 * (X**2).sum(1).mean()
    )


@few
@given(pairs("float64"))
def test_duplicating_every_row_leaves_biased_measures_alone(data):
    X, Y = data
    for f in (gm.hsic, gm.cka, gm.kernel_alignment):
        for kernel in (gm.Linear(), gm.RBF(bandwidth=4.0), gm.Laplacian(bandwidth=12.0)):
            twice = f(np.repeat(X, 2, axis=0), np.repeat(Y, 2, axis=0), kernel, estimator="biased")
            assert twice == pytest.approx(f(X, Y, kernel, estimator="biased"), rel=1e-11)


# ---- undefined results -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 3.7, -5.0, 1e4, 1e10])
@pytest.mark.parametrize("name", CASES)
def test_constant_representation_has_no_cka(name, constant, dtype):
    X, _ = hard_pair(TILE_EDGE + 1, 7, 20, dtype=dtype)
    if constant > float(np.finfo(dtype).max):
        pytest.skip("the dtype does not hold it")
    Y = np.full((len(X), 5), constant, dtype)
    for estimator in ESTIMATORS:
        with pytest.warns(gm.UndefinedWarning, match="Y is constant"):
            assert math.isnan(gm.cka(X.astype(dtype), Y, CASES[name].kernel, estimator=estimator))
        with pytest.warns(gm.UndefinedWarning, match="X is constant"):
            assert math.isnan(gm.cka(Y, X.astype(dtype), CASES[name].kernel, estimator=estimator))


@pytest.mark.parametrize("name", CASES)
def test_rich_result_says_why_there_is_no_cka(name):
    X, _ = hard_pair(60, 7, 20)
    got = gm.alignment(X, np.full((60, 5), 3.7), CASES[name].kernel, measure="cka")
    assert math.isnan(got.value)
    assert got.reason


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_bandwidth_a_million_times_the_data_still_gives_a_value(dtype):
    X, Y = (Z.astype(dtype) for Z in hard_pair(TILE_EDGE + 1, 7, 20, dtype=dtype))
    kernel = gm.RBF(bandwidth=1e6 * oracle.median_bandwidth(X.astype(np.float64)))
    for estimator in ESTIMATORS:
        want = gm.cka(X.astype(np.float64), Y.astype(np.float64), estimator=estimator)  # the limit, error 1e-12
        assert gm.cka(X, Y, kernel, estimator=estimator) == pytest.approx(
            want, abs=2e-5 if dtype == "float32" else 1e-9
        )


def test_bandwidth_far_below_the_data_leaves_unbiased_cka_undefined():
    X, Y = np.random.default_rng(0).normal(size=(2, 50, 3))
    kernel = gm.RBF(bandwidth=1e-4)  # K is the identity
    assert gm.cka(X, Y, kernel, estimator="biased") == pytest.approx(1, abs=1e-12)
    with pytest.warns(gm.UndefinedWarning, match="0 between different rows.* too small"):
        assert math.isnan(gm.cka(X, Y, kernel, estimator="unbiased"))


@few
@given(st.integers(4, 9), SEEDS)
def test_unbiased_self_terms_are_never_negative(n, seed):
    X = np.random.default_rng(seed).normal(size=(n, 2))
    for name in CASES:
        own = gm.hsic(X, X, CASES[name].kernel)
        assert own >= 0 or abs(own) <= 1e-15 * np.abs(CASES[name].gram(X)).max() ** 2


# ---- what users met --------------------------------------------------------------------------------------------------


def test_unbiased_alignment_under_a_kernel_that_is_nowhere_resolved_is_nan() -> None:
    X = np.random.default_rng(0).normal(size=(60, 768))
    e = gm.alignment(X, X + 1, gm.RBF(2.0), measure="kernel_alignment", estimator="unbiased")
    assert np.isnan(e.value)
    assert "too small" in str(e.reason)


def test_interval_of_a_biased_estimator_lies_around_the_unbiased_value() -> None:
    X, Y = np.random.default_rng(0).normal(size=(2, 60, 5))
    biased, unbiased = (gm.alignment(X, Y, "rbf", estimator=e) for e in ("biased", "unbiased"))
    assert biased.ci == unbiased.ci


@pytest.mark.parametrize("size", [1e5, 1e7])
def test_one_row_far_away_costs_no_digits(size: float) -> None:
    X, Y = (np.random.default_rng(s).normal(size=(400, 6)) for s in (0, 1))
    X[5] *= size
    want = oracle.cka(X @ X.T, Y @ Y.T, "unbiased")
    assert abs(gm.cka(X, Y) - want) <= 1e-12


def test_bandwidth_of_tiny_data_is_tiny() -> None:
    X = np.random.default_rng(0).normal(size=(50, 3))
    assert math.isclose(gm.median_bandwidth(X * 2.0**-1000), gm.median_bandwidth(X) * 2.0**-1000, rel_tol=1e-14)


def test_two_layers_of_one_name_are_an_error() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match="two layers of one name"):
        gm.cka_matrix({1: X, "1": X})


def test_test_of_data_that_no_permutation_changes_says_so() -> None:
    result = gm.independence_test(np.eye(8), np.eye(8), "linear")
    assert str(result.reason).endswith("every pairing of the rows gives the same value")


def test_progress_may_call_the_library() -> None:
    X = np.random.default_rng(0).normal(size=(3000, 50))
    inner = []
    gm.cka(X, X + 1, "rbf", progress=lambda done, total: inner.append(gm.cka(X[:50], X[:50, :2])))
    assert inner


@pytest.mark.parametrize("kernel", [gm.Cosine(), gm.ArcCosine(0), gm.ArcCosine(1)])
@pytest.mark.parametrize("rows", [[7], list(range(300))])
def test_rows_too_short_for_the_reciprocal_of_their_norm_in_float32_keep_their_direction(
    kernel: gm.kernels.Kernel, rows: list[int]
) -> None:
    X, Y = np.random.default_rng(0).normal(size=(2, 300, 400)).astype(np.float32)
    X[rows] *= np.float32(1e-41)
    assert gm.cka(X, Y, kernel) == gm.cka(X.astype(np.float64), Y.astype(np.float64), kernel)
