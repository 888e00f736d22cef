"""Spectra and tasks over the feature zoo: against eigendecompositions of the explicit matrices of the stored values.

The tolerances are those of one perturbation: a sweep knows K as K + E with |E_ij| up to four roundings of its tiles at
the size of what they hold, so that ‖E/n‖₂ is at most that too, and everything else follows by perturbation theory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg

import gramian as gm
import oracle
import zoo
from accuracy import as_input
from gramian.sweeps import estimators
from oracle import Array

KERNELS = ("linear", "cosine", "rbf", "distance", "polynomial", "arc_cosine")
DOUBLE, SINGLE = 2.0**-52, 2.0**-23
SHAPES = ((20, 33), (90, 17))
MEANS = (0.0, 1e3, 1e6)


@dataclass(frozen=True, eq=False)
class Truth:
    """One kernel matrix, over n, of the stored values."""

    K: Array  # (n, n) / n
    values: Array  # (n,) eigenvalues, largest in size first
    off: float  # what ‖E/n‖₂ can be
    size: float  # of an entry of the kernel before centring

    @property
    def vectors(self) -> Array:
        values, vectors = np.linalg.eigh(self.K)
        return vectors[:, np.argsort(-np.abs(values))]


def truth(X: Array, dtype: str, kernel: gm.kernels.Kernel, centered: bool) -> Truth:
    """From long double; eigenvalues of linear kernels from singular values, which do not square what is small."""
    n, d = X.shape
    wide = X.astype(np.longdouble)
    name = type(kernel).name
    params = {"bandwidth": kernel.bandwidth if kernel.bandwidth == kernel.bandwidth else 1.0} if name == "rbf" else {}
    K = oracle.gram(name, wide, **params)
    size = far = float(np.abs(K).max())
    rows = {"linear": wide, "cosine": oracle.unit_rows(wide)}.get(name)
    if centered:
        K = oracle.centred(K)
        if rows is not None:
            rows = rows - rows.mean(axis=0)
            K = rows @ rows.T
        if name in ("linear", "distance"):  # tiles hold differences of rows
            size = float(np.abs(K).max())
    by_features = rows is not None and n > d
    tile = DOUBLE if dtype == "float64" or by_features else SINGLE
    values = np.zeros(n)
    if rows is None:
        values = np.linalg.eigvalsh((K / n).astype(float))
    else:
        s = np.linalg.svd(rows.astype(float), compute_uv=False)
        values[: len(s)] = s**2 / n
    values = values[np.argsort(-np.abs(values))]
    # LAPACK's own roundings, of the matrix and of its eigenvalues, come on top
    off = 4 * tile * size + 4 * n * DOUBLE * float(np.abs(values).max())
    if centered and rows is None:
        off += n * DOUBLE * far  # row means are taken off in float64
    return Truth((K / n).astype(float), values, off, size)


def some(kernel: str, every: int, **options: Any) -> Iterator[zoo.Case]:
    """Every so-manieth case, others for each kernel."""
    options = {"means": MEANS, "shapes": SHAPES} | options
    return itertools.islice(zoo.cases(**options), KERNELS.index(kernel) % every, None, every)


def check_spectrum(case: zoo.Case, kernel: str, centered: bool) -> None:
    X, x = case.arrays[0], case.inputs[0]
    found = gm.spectrum(x, kernel, 6, centered=centered)
    true = truth(X, case.dtype, found.kernel, centered)
    about = (str(case), centered, found, true.values[:7], true.off)
    allowed = found.residuals + found.rounding + true.off
    v = found.eigenfunctions / math.sqrt(case.n)

    # every value is one of the matrix, and without a reason they are the first
    nearest = np.abs(found.eigenvalues[:, None] - true.values).min(axis=1)
    assert (nearest <= allowed).all(), about
    if found.reason is None or found.sweeps:
        assert (np.abs(found.eigenvalues - true.values[: found.k]) <= allowed).all(), about
    left = np.linalg.norm(true.K @ v - v * found.eigenvalues, axis=0)
    assert (left <= allowed + 8 * case.n * DOUBLE * abs(true.values[0])).all(), (about, left)
    assert np.abs(v.T @ v - np.eye(found.k)).max(initial=0) < 1e-12
    assert abs(found.trace - np.trace(true.K)) <= case.n * (found.rounding + true.off), about
    assert found.rank == 6 or found.reason, about
    # what is called more than rounding is so: eigenvalues that are 0 are not
    if type(found.kernel).name not in ("polynomial", "arc_cosine") or case.dtype == "float64" or case.mean <= 1:
        claimed = np.abs(true.values[: found.rank])
        assert (claimed >= 1e-3 * np.abs(found.eigenvalues[: found.rank])).all(), about
    defined = np.isfinite(found.explained)
    assert defined.all() or abs(np.trace(true.K)) <= 2 * case.n * (found.rounding + true.off), about


@pytest.mark.parametrize("kernel", KERNELS)
def test_eigenpairs_are_those_of_the_stored_values(kernel: str) -> None:
    for i, case in enumerate(some(kernel, 5)):
        check_spectrum(case, kernel, centered=bool(i % 2))


@pytest.mark.long
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_eigenpairs_are_those_of_the_stored_values_of_the_whole_zoo(kernel: str, centered: bool) -> None:
    for case in some(kernel, 1, shapes=zoo.SHAPES, means=zoo.MEANS):
        check_spectrum(case, kernel, centered)


@pytest.mark.parametrize("kernel", KERNELS)
def test_products_and_traces_are_those_of_the_stored_values(kernel: str) -> None:
    for i, case in enumerate(some(kernel, 5)):
        X, x = case.arrays[0], case.inputs[0]
        V = np.random.default_rng(1).standard_normal((case.n, 3))
        for centered in (False, True):
            op = gm.GramOperator(x, kernel, centered=centered)
            true = truth(X, case.dtype, op.kernel, centered)
            tile = DOUBLE if case.dtype == "float64" else SINGLE
            off = case.n * (true.off + 4 * tile * true.size)  # a product is always one of tiles
            about = (str(case), centered, i)
            assert np.linalg.norm(op @ V - case.n * true.K @ V) <= off * np.linalg.norm(V), about
            assert abs(op.trace - case.n * np.trace(true.K)) <= off, about


def test_systems_are_solved_to_the_condition_of_the_matrix() -> None:
    ridge = 0.1
    for case in zoo.cases(means=(0.0, 1e3), shapes=((24, 24),), dtypes=("float64", "float32")):
        X, x = case.arrays[0], case.inputs[0]
        op = gm.GramOperator(x, "rbf")
        true = truth(X, case.dtype, op.kernel, False)
        b = np.random.default_rng(0).standard_normal(case.n)
        shifted = LinearOperator(op.shape, matvec=lambda v, op=op: op @ v / 24 + ridge * v, dtype=np.float64)
        solution, failed = cg(shifted, b, rtol=1e-13, maxiter=500)
        want = np.linalg.solve(true.K + ridge * np.eye(case.n), b)
        assert failed == 0
        assert np.linalg.norm(solution - want) <= (1e-11 + true.off / ridge) * np.linalg.norm(want) / ridge, str(case)


def relative(true: Truth) -> float:
    """By how much, relatively, the Frobenius norm may be off."""
    norm = float(np.linalg.norm(true.K))
    return math.inf if norm == 0 else math.sqrt(len(true.K)) * true.off / norm


@pytest.mark.parametrize("kernel", KERNELS)
def test_overlaps_of_all_eigenfunctions_make_up_the_alignment(kernel: str) -> None:
    for i, case in enumerate(some(kernel, 5, means=(0.0, 1e3))):
        (X, Y), (x, y), centered = case.arrays, case.inputs, bool(i % 2)
        found = gm.spectral_alignment(x, y, kernel, case.n, centered=centered)
        a, b = (truth(Z, case.dtype, k, centered) for Z, k in zip((X, Y), found.overlap.kernel, strict=True))
        tile = DOUBLE if case.dtype == "float64" else SINGLE
        off = 4 * (relative(a) + relative(b))
        whole = off + sum(16 * tile * t.size / max(float(np.linalg.norm(t.K)), 1e-300) for t in (a, b))  # by tiles
        about = (str(case), centered, found, off)
        if math.isnan(found.value):
            assert found.reason, about
            assert repr(found) == f"SpectralAlignment(nan: {found.reason})"
            assert off > 1e-9 or "that rounding to" in found.reason, about
            continue
        want = float(oracle.inner(a.K, b.K) / np.linalg.norm(a.K) / np.linalg.norm(b.K))
        if not math.isnan(found.full):
            assert abs(found.full - want) <= whole + 1e-12, (about, want)
        # eigenpairs that may be rounding are left out: no more than what the kept ones miss of the norm
        missed = 2 * sum(math.sqrt(max(0.0, 1 - part)) for part in found.kept)
        assert abs(found.value - want) <= whole + missed + 1e-10, (about, want)


@pytest.mark.parametrize("kernel", KERNELS)
def test_overlap_with_nothing_has_a_reason(kernel: str) -> None:
    case = zoo.Case("equal_rows", "float32", 20, 33)
    x, y = case.inputs
    found = gm.eigen_overlap(x, y, kernel, 3, centered=True)
    assert found.overlap.shape[0] == 0
    assert found.reason
    assert found.reason.startswith("X: the kernel matrix has rank 0 up to rounding")
    assert math.isnan(found.kernel_alignment)
    assert math.isnan(found.mean_square_cca)
    assert found.canonical_correlations.shape == (0,)
    assert found.family(1, 1) == 0


def targets(case: zoo.Case, X: Array) -> Array:
    column = X[:, 0] / (np.abs(X[:, 0]).max() or 1.0)
    return np.random.default_rng(case.n).standard_normal(case.n) + column


@pytest.mark.parametrize("kernel", KERNELS)
def test_kare_is_that_of_the_stored_values_or_nan_with_a_reason(kernel: str) -> None:
    for case in some(kernel, 5):
        X, x = case.arrays[0], case.inputs[0]
        y = targets(case, X)
        true = truth(X, case.dtype, gm.spectrum(x, kernel, 1).kernel, False)
        for share in (1e-9, 1e-5, 1e-2, 1.0):
            ridge = share * max(float(np.trace(true.K)), 1e-30)
            found = gm.kare(x, y, kernel, ridge)
            wide = true.values  # in the order of `vectors`, but where they are equal
            kept = ridge / (wide + ridge)
            inside = true.vectors.T @ y
            if kernel in ("linear", "cosine"):
                rows = X if kernel == "linear" else oracle.unit_rows(X.astype(np.longdouble)).astype(float)
                u, s, _ = np.linalg.svd(rows)
                inside, kept = u.T @ y, np.ones(case.n)
                kept[: len(s)] = ridge / (s**2 / case.n + ridge)
            want = float(((inside * kept) ** 2).mean() / kept.mean() ** 2)
            # η/(η + ridge) is off by off/ridge, numerator and denominator twice each
            off = 8 * true.off / ridge + 1e-10
            about = (str(case), ridge, found, want, off)
            if math.isnan(found.value[0]):
                assert found.reason, about
                assert off > 1e-2, about
            else:
                assert abs(found.value[0] - want) <= off * want, about


@pytest.mark.parametrize("kernel", KERNELS)
def test_cumulative_power_is_that_of_the_stored_values(kernel: str) -> None:
    for i, case in enumerate(some(kernel, 5)):
        X, x, centered = case.arrays[0], case.inputs[0], bool(i % 2)
        y = targets(case, X)
        found = gm.task_alignment(x, y, kernel, 6, centered=centered)
        true = truth(X, case.dtype, found.spectrum.kernel, centered)
        f = y - y.mean() if centered else y
        phi = true.vectors * math.sqrt(case.n)
        if kernel in ("linear", "cosine"):
            rows = X.astype(np.longdouble) if kernel == "linear" else oracle.unit_rows(X.astype(np.longdouble))
            rows = rows - rows.mean(axis=0) if centered else rows
            phi = np.linalg.svd(rows.astype(float))[0] * math.sqrt(case.n)
        want = oracle.cumulative_power(phi, f)
        assert (np.diff(found.cumulative) >= 0).all()
        assert (found.cumulative <= 1 + 1e-12).all()
        if found.reason and found.spectrum.sweeps == 0:
            continue  # what may be rounding is left out
        size = np.abs(true.values)
        for r in range(found.spectrum.rank):
            # Davis and Kahan: an eigenspace turns by what K is off over the gap, and the power in it by twice that
            gap = size[r] - (size[r + 1] if r + 1 < case.n else 0.0)
            turned = (true.off + float(found.spectrum.residuals.max())) / gap if gap > 0 else math.inf
            about = (str(case), centered, r, found.cumulative, want[:6], gap, turned)
            assert abs(found.cumulative[r] - want[r]) <= 4 * turned + 1e-10, about


def test_learning_curve_is_that_of_the_stored_values() -> None:
    for case in itertools.islice(zoo.cases(shapes=((20, 33),), means=(0.0, 1e3)), 0, None, 9):
        X, x = case.arrays[0], case.inputs[0]
        y = targets(case, X)
        found = gm.task_alignment(x, y, "rbf", case.n)
        true = truth(X, case.dtype, found.spectrum.kernel, False)
        power = (true.vectors.T @ y) ** 2 / case.n
        curve = found.learning_curve([2, 50], ridge=0.1, noise=0.2)
        for p, error in zip((2, 50), curve.error, strict=True):
            want = oracle.learning_curve(np.maximum(true.values, 0), power, p, 0.1, 0.2)
            # both ways eigenvalues that are rounding learn nothing at such a ridge
            assert error == pytest.approx(want, rel=1e-9 + 200 * true.off), (str(case), p)


def test_rank_of_dead_and_duplicated_units_is_that_of_the_others() -> None:
    for dtype, kind in itertools.product(zoo.DTYPES, ("dead", "duplicated", "constant", "one_feature")):
        case = zoo.Case(kind, dtype, 90, 17)
        rank = {"dead": 14, "duplicated": 9, "constant": 15, "one_feature": 1}[kind]
        found = gm.spectrum(case.inputs[0], "linear", 17, centered=True)
        assert (found.rank, found.k) == (rank, rank), case
        assert found.reason == f"the kernel matrix has rank {rank} up to rounding"


def test_larger_directions_that_rounding_alone_would_give_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(0)
    large = rng.standard_normal((500, 1)) * 1e4 @ np.array([[1.0, 3.1]])
    X = np.hstack([large, 1e-3 * rng.standard_normal((500, 1))])
    found = gm.spectrum(as_input(X, "bfloat16"), "linear", 3)
    assert found.reason == (
        "the kernel matrix has rank 2 up to rounding; left out: 1 that rounding to bfloat16 alone would give"
    )


# ---- a few large rows ------------------------------------------------------------------------------------------------


def padded(large: float) -> Array:
    X = np.random.default_rng(0).standard_normal((300, 20))
    X[:2] *= large
    return X.astype("float32").astype(float)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    ("kernel", "large"),
    [(gm.Polynomial(2), 1e2), (gm.Polynomial(2), 1e3), (gm.ArcCosine(1), 1e3), (gm.ArcCosine(1), 1e4)],
)
def test_a_few_large_rows_cost_float32_features_no_eigenvalue(kernel: Any, large: float, centered: bool) -> None:
    X = padded(large)
    K = oracle.gram(kernel.name, X)
    want = np.linalg.eigvalsh(oracle.centred(K) if centered else K)[::-1][:12] / 300
    found = gm.spectrum(X.astype("float32"), kernel, 12, centered=centered)
    assert found.rank == 12
    assert found.eigenvalues == pytest.approx(want, abs=found.tolerance * want[0])


@pytest.mark.parametrize("kernel", [gm.Polynomial(2), gm.Polynomial(3), gm.ArcCosine(1), "cosine", "linear"])
@pytest.mark.parametrize("large", [1e2, 1e3, 1e4, 1e5])
def test_merged_gram_moments_of_a_few_large_rows_are_right_or_nan(kernel: Any, large: float) -> None:
    X = padded(large)
    Y = (np.tanh(X[:, :5]) + 0.1 * np.random.default_rng(1).standard_normal((300, 5))).astype("float32")
    x, exact = X.astype("float32"), gm.gram_moments(X, Y.astype(float), kernel=kernel).statistics()
    shards = [gm.gram_moments(x, Y, kernel=kernel, shard=(r, 2)) for r in (0, 1)]
    sums = (shards[0] + shards[1]).statistics()
    for measure in get_args(estimators.Measure):
        for estimator in get_args(estimators.Estimator):
            got, reason = estimators.value(sums, measure, estimator)
            want, _ = estimators.value(exact, measure, estimator)
            assert math.isnan(got) == (reason is not None)
            assert math.isnan(got) or got == pytest.approx(want, rel=1e-3, abs=1e-4)
