"""Least squares, subspaces and moments over the zoo of features: the right number, or nan with a reason.

The truth is least squares of the stored values. Where a direction of X is nothing but the rounding that it was stored
with, a fit may use it or not, so what is left of Y lies between the two answers: with all directions that float64 can
tell, and with those alone that no rounding explains.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
import zoo
from accuracy import DTYPES, EPS, as_input, rounded
from gramian.stitching import linear
from oracle import Array

EPS64 = EPS["float64"]
CENTRED = {"linear": False, "affine": True}
FAR = (0.0, 1e3, 1e6)
TALL = ((90, 17),)  # rows enough for a fit that is not perfect


def spacing(X: Array, dtype: str) -> Array:
    """The unit in the last place of each value; zeros are exact."""
    least = {"float16": 2.0**-24, "float32": 2.0**-149, "bfloat16": 2.0**-133, "float64": 0.0}[dtype]
    exponent = np.floor(np.log2(np.where(X == 0, 1.0, np.abs(X))))
    return np.where(X == 0, 0.0, np.maximum(2.0**exponent * EPS[dtype], least))


def centred(X: Array) -> Array:
    """In long double, rounded once: float64 means of rows at 10^6 spreads would be 10^-10 of a spread off."""
    wide = X.astype(np.longdouble)
    return np.asarray(wide - wide.mean(0), dtype=np.float64)


def span(X: Array, dtype: str, *, centre: bool, sure: bool) -> Array:
    """Orthonormal basis of the columns of X: of all that float64 tells, or of what is sure to be no rounding."""
    Z = centred(X) if centre else X
    # what rounding does is drawn: entries that might have been stored, less what was
    rng, units = np.random.default_rng(0), spacing(X, dtype)
    noise = np.sqrt((units**2).sum(0) / 12)
    varies = oracle.norms(Z.T) > 16 * EPS64 * oracle.norms(X.T)
    Z, units, noise = Z[:, varies], units[:, varies], noise[varies]
    if not Z.size:
        return np.zeros((len(X), 0))
    U, s, _ = np.linalg.svd(Z / (noise if sure else oracle.norms(Z.T)), full_matrices=False)
    least = max(X.shape) * EPS64 * s[0]
    if not sure:
        return U[:, s > least]
    drawn = max(np.linalg.norm(rng.uniform(-0.5, 0.5, Z.shape) * units / noise, 2) for _ in range(3))
    # two and a half times what rounding was seen to do, and a thousand times what float64 tells, are beyond doubt
    return U[:, s > max(2.5 * drawn, 1e3 * least)]


def residual(U: Array, Y: Array) -> Array:
    once = Y - U @ (U.T @ Y)
    return once - U @ (U.T @ once)


def left_over(X: Array, Y: Array, dtype: str, *, centre: bool) -> tuple[float, float, float]:
    """Least and most that least squares may leave of Y, and all of Y; mean squares."""
    Z = centred(Y) if centre else Y
    parts = (residual(span(X, dtype, centre=centre, sure=sure), Z) for sure in (False, True))
    low, high, total = (float((R * R).sum() / len(X)) for R in (*parts, Z))
    return low, high, total


def merged(x: Any, y: Any, reference: Any = None) -> gm.FeatureMoments:
    """Of two shards; around a given reference or each around its own mean."""
    return gm.feature_moments(x[:10], y[:10], reference=reference) + gm.feature_moments(
        x[10:], y[10:], reference=reference
    )


def assert_all(failures: list[str]) -> None:
    assert not failures, "\n".join([f"{len(failures)} failures, the first of them:", *failures[:10]])


# ---- stitching -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CENTRED)
def test_stitch_leaves_what_least_squares_of_the_stored_values_leaves(kind: Any, dtype: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR, dtypes=(dtype,)):
        low, high, total = left_over(*case.arrays, dtype, centre=CENTRED[kind])
        got = gm.fit_stitch(*case.inputs, kind=kind).misalignment
        # 1e-6 of itself for maps whose size, up to 1e12, multiplies the roundings of float64
        if not low * (1 - 1e-6) - 1e-12 * total <= got <= high * (1 + 1e-6) + 1e-12 * total:
            failures.append(f"{case}: {got} is not from {low} to {high}, of {total}")
    assert_all(failures)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_hundred_rectified_layers_are_stitched_as_by_float64(dtype: str) -> None:
    failures = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, d = int(rng.choice([149, 298])), int(rng.integers(8, 49))
        X = zoo.relu(rng, n, d)
        X[:, rng.integers(d)] = 0
        X[:, rng.integers(d)] *= 1e-12
        X[:, rng.integers(d)] = X[:, rng.integers(d)]
        Y = np.maximum(0, X @ rng.standard_normal((d, 6)) / np.sqrt(d) + 0.1 * rng.standard_normal((n, 6)))
        X, Y = rounded(X, dtype), rounded(Y, dtype)
        kind: Any = ("linear", "affine")[seed % 2]
        want, _, total = left_over(X, Y, dtype, centre=CENTRED[kind])
        found = gm.fit_stitch(as_input(X, dtype), as_input(Y, dtype), kind=kind, folds=3)
        if abs(found.misalignment - want) > max(1e-3 * want, 1e-6 * total) or not 0 <= found.misalignment <= total:
            failures.append(f"layer {seed}: {found.misalignment}, least squares leaves {want} of {total}")
        exact = gm.fit_stitch(X, Y, kind=kind, folds=3)
        if abs(found.cv - exact.cv) > 1e-3 * exact.cv:
            failures.append(f"layer {seed}: folds have {found.cv}, of the float64 copy {exact.cv}")
    assert_all(failures)


@pytest.mark.parametrize("kind", CENTRED)
@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_stitch_of_moments_is_right_or_to_be_doubted(kind: Any, reference: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR):
        (X, Y), (x, y) = case.arrays, case.inputs
        moments = merged(x, y, None if reference == "mean" else (np.zeros(X.shape[1]), np.zeros(8)))
        found = gm.fit_stitch(moments, kind=kind)
        doubt = any(why in str(found.reason) for why in ("moments have half of the digits", "a few rows are so much"))
        low, high, total = left_over(X, Y, case.dtype, centre=CENTRED[kind])
        near = low * (1 - 1e-3) <= found.misalignment <= high * (1 + 1e-3)
        if not (near or doubt or total == 0 or found.misalignment == 0):
            failures.append(f"{case}: {found.misalignment} is not from {low} to {high}, of {total}; {found.reason}")
        ordinary = not case.mean and reference == "mean" and case.n > 80 and low > 1e-3 * total
        if doubt and ordinary and case.features not in ("tiny", "massive", "huge", "gelu", "near_duplicate"):
            failures.append(f"{case}: doubted without need: {found.misalignment}, {low} to {high}, of {total}")
    assert_all(failures)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ridge_stitch_is_that_of_the_stored_values(dtype: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR, dtypes=(dtype,)):
        X, Y = case.arrays
        total = float((Y * Y).sum() / len(Y))
        ridge = 0.01 * float((X * X).sum() / X.size)
        for options in ({"ridge": ridge}, {"ridge": "gcv"}):
            found = gm.fit_stitch(*case.inputs, **options)
            want = oracle.stitching_residual(X, Y, found.ridge)
            if found.ridge == 0:
                low, high, _ = left_over(X, Y, dtype, centre=False)
            else:
                low = high = want
            # a direction that rounding explains holds of Y the square of a rounding at most
            near = max(1e-6, EPS[dtype] ** 2) * total
            if not low * (1 - 1e-3) - near <= found.misalignment <= high * (1 + 1e-3) + near:
                failures.append(f"{case} {options}: {found.misalignment} of {total}, want {low} to {high}")
    assert_all(failures)


@pytest.mark.parametrize("dtype", DTYPES)
def test_low_rank_and_rotating_stitches_are_those_of_the_stored_values(dtype: str) -> None:
    failures = []
    for case in zoo.cases(means=(0.0, 1e3), dtypes=(dtype,)):
        (X, Y), (x, y) = case.arrays, case.inputs
        n, total = case.n, float((Y * Y).sum() / case.n)
        ends = []
        for sure in (False, True):
            U = span(X, dtype, centre=False, sure=sure)
            ends.append(total - float((np.linalg.svd(U.T @ Y, compute_uv=False)[:3] ** 2).sum() / n))
        got = gm.fit_stitch(x, y, kind="low_rank", rank=min(3, X.shape[1])).misalignment
        if X.shape[1] >= 3 and not ends[0] - 1e-6 * total <= got <= ends[1] + 1e-6 * total:
            failures.append(f"{case}: low rank leaves {got / total}, not {ends[0] / total} to {ends[1] / total}")
        Z = X[:, :6]
        left, s, right = np.linalg.svd(Z.T @ Y, full_matrices=False)
        size = float((Z * Z).sum())
        want = {"orthogonal": ((Y - Z @ left @ right) ** 2).sum() / n}
        want["scaled_orthogonal"] = total - (s.sum() ** 2 / size / n if size else 0.0)
        for kind, value in want.items():
            got = gm.fit_stitch(as_input(Z, dtype), y, kind=kind).misalignment  # type: ignore[arg-type]
            if abs(got - value) > 1e-9 * (total + size / n):
                failures.append(f"{case}: {kind} leaves {got}, not {value}")
    assert_all(failures)


@pytest.mark.parametrize("kind", CENTRED)
def test_rows_left_out_are_predicted_as_by_refits_of_the_stored_values(kind: Any) -> None:
    failures = []
    for case in zoo.cases(means=(0.0, 1.0), shapes=TALL):
        (X, Y), centre = case.arrays, CENTRED[kind]
        found = gm.fit_stitch(*case.inputs, kind=kind, folds=3, loo=True)
        if not centre and case.features in ("dead", "plain", "relu"):
            labels = linear._labels(case.n, 3, 0)
            want = sum(
                ((Y[labels == k] - X[labels == k] @ np.linalg.pinv(X[labels != k]) @ Y[labels != k]) ** 2).sum()
                for k in range(3)
            )
            if abs(found.cv - want / case.n) > 1e-3 * want / case.n:
                failures.append(f"{case}: folds give {found.cv}, refits {want / case.n}")
        if math.isnan(found.loo):
            if not found.reason:
                failures.append(f"{case}: loo is nan without a reason")
            continue
        ends = []
        bases = [span(X, case.dtype, centre=centre, sure=sure) for sure in (False, True)]
        if bases[0].shape != bases[1].shape:
            continue  # a row left out may need a direction that rounding explains
        for U in bases:
            H = (U * U).sum(1) + (1 / case.n if centre else 0)
            R = residual(U, centred(Y) if centre else Y)
            with np.errstate(divide="ignore", invalid="ignore"):
                ends.append(float(((R / (1 - H)[:, None]) ** 2).sum() / case.n))
        low, high = min(ends), max(ends)
        if not low * (1 - 1e-3) <= found.loo <= high * (1 + 1e-3) + 1e-12:
            failures.append(f"{case}: loo {found.loo} is not from {low} to {high}")
    assert_all(failures)


def test_kernel_ridge_stitch_is_that_of_the_stored_values() -> None:
    failures = []
    for case in zoo.cases(means=(0.0, 1e3)):
        X, Y = case.arrays
        total = float((Y * Y).sum() / case.n)
        for rank in (None, 12):
            found = gm.fit_stitch(*case.inputs, kind="kernel_ridge", ridge=1e-3, rank=rank)
            width = found.function.kernel.bandwidth
            K = np.ones((case.n, case.n)) if not width > 0 else oracle.rbf(X, X, width)
            want = ((Y - oracle.kernel_ridge(K, Y, 1e-3)[1] @ Y) ** 2).sum() / case.n
            if not found.misalignment <= total * (1 + 1e-9):
                failures.append(f"{case}: {found.misalignment} of {total}; {found.reason}")
            if rank is None and not found.reason and abs(found.misalignment - want) > 1e-3 * want + 1e-6 * total:
                failures.append(f"{case}: {found.misalignment}, not {want}")
    assert_all(failures)


def test_reports_and_searches_agree_and_are_bounded_by_what_least_squares_leaves() -> None:
    failures = []
    for case in zoo.cases(means=(0.0, 1e3), shapes=TALL):
        (X, Y), (x, y) = case.arrays, case.inputs
        for kind in CENTRED:
            report = gm.stitch_report(x, y, kind=kind)  # type: ignore[arg-type]
            search = gm.layer_search({"x": x}, {"y": y}, kind=kind)  # type: ignore[arg-type]
            rows, fitted = report.held_out, report.fitted
            low, high, total = left_over(X[rows], Y[rows], case.dtype, centre=CENTRED[kind])
            got = report.least_misalignment
            if not low * (1 - 1e-6) - 1e-12 * total <= got <= high * (1 + 1e-6) + 1e-12 * total:
                failures.append(f"{case} {kind}: at least {got}, not {low} to {high}, of {total}")
            if math.isnan(report.misalignment_ratio) and "misalignment_ratio" not in report.reasons:
                failures.append(f"{case} {kind}: no reason")
            ends = left_over(X[fitted], Y[fitted], case.dtype, centre=CENTRED[kind])
            sure = ends[1] <= ends[0] * (1 + 1e-9)  # no direction that one may take and the other leave
            both = report.misalignment, float(search.misalignment[0, 0])
            if sure and np.isfinite(both).all() and abs(both[0] - both[1]) > 1e-3 * both[0] + 1e-9 * total:
                failures.append(f"{case} {kind}: report {both[0]}, search {both[1]}, of {total}")
            if any(b.holds is False for b in report.bounds):
                failures.append(f"{case} {kind}: {[b for b in report.bounds if b.holds is False]}")
    assert_all(failures)


# ---- subspaces -------------------------------------------------------------------------------------------------------

SUBSPACES: dict[str, Any] = {
    "cca": gm.cca,
    "pwcca": gm.pwcca,
    "nocco": gm.nocco,
    "svcca": gm.svcca,
    "shape_distance": partial(gm.shape_distance, alpha=0),
    "linear_regression_r2": gm.linear_regression_r2,
}


def of_bases(U: Array, V: Array, X: Array) -> dict[str, float]:
    """The measures of subspaces from orthonormal bases of both."""
    left, s, _ = np.linalg.svd(U.T @ V, full_matrices=False)
    weights = np.abs((U @ left).T @ centred(X)).sum(1)
    norm = math.sqrt(U.shape[1] * V.shape[1])
    return {
        "cca": float(s.mean()),
        "nocco": float((s * s).sum()),
        "pwcca": float(weights @ s / weights.sum()),
        "shape_distance": math.acos(min(1.0, float(s.sum()) / norm)),
    }


@pytest.mark.parametrize("source", ["arrays", "moments"])
def test_subspaces_are_those_of_the_stored_values_or_nan_with_a_reason(source: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR):
        (X, Y), (x, y) = case.arrays, case.inputs
        data = (x, y) if source == "arrays" else (merged(x, y),)
        sides = [[span(Z, case.dtype, centre=True, sure=sure) for sure in (False, True)] for Z in (X, Y)]
        # of one rank whichever directions count, and that is not all that n rows have
        sure = all(a.shape == b.shape and 0 < a.shape[1] < case.n - 1 for a, b in sides)
        want = of_bases(sides[0][1], sides[1][1], X) if sure else {}
        if sure and sides[0][1].shape[1] + sides[1][1].shape[1] > case.n:
            del want["pwcca"]  # several correlations are 1, and their directions any in one space
        low, high, total = left_over(X, Y, case.dtype, centre=True)
        for name, measure in SUBSPACES.items():
            with gm.reasons.heard() as reasons:
                got = measure(*data)
            if math.isnan(got) != (len(reasons) == 1):
                failures.append(f"{case} {name}: {got} with reasons {reasons}")
            if math.isnan(got):
                if sure and source == "arrays":
                    failures.append(f"{case} {name}: nan, {reasons}")
            elif name == "linear_regression_r2":
                tolerance = 1e-9 if source == "arrays" else 1e-3
                if not 1 - high / total - tolerance <= got <= 1 - low / total + tolerance:
                    failures.append(f"{case} {name}: {got} is not from {1 - high / total} to {1 - low / total}")
            elif name in want and abs(got - want[name]) > (1e-6 if source == "arrays" else 1e-3 * want[name] + 1e-3):
                failures.append(f"{case} {name}: {got}, not {want[name]}")
    assert_all(failures)


@pytest.mark.parametrize("source", ["arrays", "moments"])
def test_covariances_and_shapes_are_those_of_the_stored_values_or_nan_with_a_reason(source: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR):
        (X, Y), (x, y) = case.arrays, case.inputs
        data = (x, y) if source == "arrays" else (merged(x, y),)
        A, B = centred(X), centred(Y)
        sizes = np.linalg.norm(A), np.linalg.norm(B)
        singular = np.linalg.svd(A.T @ B, compute_uv=False)
        defined = all(size > 16 * EPS64 * np.linalg.norm(Z) for size, Z in zip(sizes, (X, Y), strict=True))
        want = {"coco": singular[0] / case.n, "procrustes": math.nan, "procrustes_raw": 0.0, "shape_distance": math.nan}
        want["procrustes_raw"] = sizes[0] ** 2 + sizes[1] ** 2 - 2 * singular.sum()
        if defined:
            similarity = min(1.0, singular.sum() / sizes[0] / sizes[1])
            want |= {"procrustes": 2 - 2 * similarity, "shape_distance": math.acos(similarity)}
        scale = {"coco": sizes[0] * sizes[1] / case.n, "procrustes_raw": sizes[0] ** 2 + sizes[1] ** 2}
        measures: dict[str, Any] = {
            "coco": gm.coco,
            "procrustes": gm.procrustes,
            "procrustes_raw": partial(gm.procrustes, normalize=False),
            "shape_distance": gm.shape_distance,
        }
        for name, measure in measures.items():
            with gm.reasons.heard() as reasons:
                got = measure(*data)
            if math.isnan(got) != (len(reasons) == 1):
                failures.append(f"{case} {name}: {got} with reasons {reasons}")
            if math.isnan(got):
                if source == "arrays" and not math.isnan(want[name]):
                    failures.append(f"{case} {name}: nan, not {want[name]}: {reasons}")
                continue
            # sums of some hundred products; moments may be off by 1e-3 of a value before they are nan
            tolerance = 1e-9 * scale.get(name, 1.0) + (1e-3 * abs(want[name]) if source == "moments" else 0)
            if not abs(got - want[name]) <= tolerance:
                failures.append(f"{case} {name}: {got}, not {want[name]}")
    assert_all(failures)


@pytest.mark.parametrize("source", ["arrays", "moments"])
def test_matched_units_correlate_as_the_stored_values_do(source: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR, shapes=TALL):
        (X, Y), (x, y) = case.arrays, case.inputs
        data = (x, y) if source == "arrays" else (merged(x, y),)
        A, B = centred(X), centred(Y)
        for match in (gm.bipartite_matching, gm.semi_matching):
            found = match(*data)
            if math.isnan(found.score) != (found.reason is not None):
                failures.append(f"{case}: {found}")
            a, b = A[:, found.units_x], B[:, found.units_y]
            want = (a * b).sum(0) / oracle.norms(a.T) / oracle.norms(b.T)
            if not found.reason and np.abs(found.correlations - want).max() > (1e-6 if source == "arrays" else 1e-3):
                failures.append(f"{case}: {found.correlations} are not {want}")
            varies = int((oracle.norms(A.T) > 16 * EPS64 * oracle.norms(X.T)).sum())
            if match is gm.semi_matching and not found.reason and len(found.units_x) != varies:
                failures.append(f"{case}: {len(found.units_x)} of {varies} units")
    assert_all(failures)


# ---- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_measures_of_moments_are_right_or_nan_with_a_reason(reference: str) -> None:
    failures = []
    for case in zoo.cases(means=FAR):
        (X, Y), (x, y) = case.arrays, case.inputs
        moments = merged(x, y, None if reference == "mean" else (np.zeros(X.shape[1]), np.zeros(8)))
        n = case.n
        raw = [Z.astype(np.longdouble) @ Z.T.astype(np.longdouble) for Z in (X, Y)]
        grams = [oracle.scatter(Z.astype(np.longdouble)) for Z in (X, Y)]
        unbiased = [oracle.u_centred(K) for K in grams]
        off = [K - np.diag(np.diag(K)) for K in raw]
        sums = {
            ("cka", "biased"): grams, ("cka", "unbiased"): unbiased,
            ("hsic", "biased"): grams, ("hsic", "unbiased"): unbiased,
            ("kernel_alignment", "biased"): raw, ("kernel_alignment", "unbiased"): off,
        }  # fmt: skip
        for (name, estimator), (K, L) in sums.items():
            size = float(np.sqrt((K * K).sum() * (L * L).sum()))
            with gm.reasons.heard() as reasons:
                got = getattr(moments, name)(estimator)
            if math.isnan(got) != (len(reasons) == 1):
                failures.append(f"{case} {name} {estimator}: {got} with reasons {reasons}")
            if math.isnan(got):
                # a reference of its own mean is all that ordinary rows need
                known = size > 1e-28 * float((raw[0] ** 2).sum() ** 0.5 * (raw[1] ** 2).sum() ** 0.5)
                if reference == "mean" and known and name != "hsic":
                    failures.append(f"{case} {name} {estimator}: nan, {reasons}")
                continue
            if name == "hsic":
                got = got * (n * n if estimator == "biased" else n * (n - 3)) / (size or 1.0)
            if abs(got - float((K * L).sum()) / (size or 1.0)) > 2e-3:
                failures.append(f"{case} {name} {estimator}: {got}, not {float((K * L).sum()) / size}")
    assert_all(failures)


# ---- far from 0 ------------------------------------------------------------------------------------------------------


def test_what_rounding_of_the_mean_leaves_is_no_direction() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n = (100, 500)[seed % 2]
        H = rng.standard_normal((n, 10)) @ rng.standard_normal((10, 40))
        assert gm.canonical_correlations(H + 1e4, rng.standard_normal((n, 3))).rank[0] == 10


# ---- a few large rows ------------------------------------------------------------------------------------------------


def with_large_rows(dtype: str, large: float, rows: int, n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 6))
    Y = 0.5 * X @ rng.standard_normal((6, 4)) + 0.4 * rng.standard_normal((n, 4))
    X[:rows] *= large
    return rounded(X, dtype), Y


@pytest.mark.parametrize(
    ("dtype", "large", "rows"),
    [("bfloat16", 1e3, 1), ("bfloat16", 1e4, 1), ("bfloat16", 1e5, 1), ("float16", 1e4, 1), ("float32", 1e8, 12)],
)
@pytest.mark.parametrize("n", [100, 400])
def test_a_few_large_rows_take_no_direction_from_the_others(dtype: str, large: float, rows: int, n: int) -> None:
    X, Y = with_large_rows(dtype, large, rows, n)
    x = as_input(X, dtype)
    for kind, centre in CENTRED.items():
        A, B = (centred(X), centred(Y)) if centre else (X, Y)
        want = float((residual(np.linalg.qr(A / oracle.norms(A.T))[0], B) ** 2).sum() / n)
        assert gm.fit_stitch(x, Y, kind=kind).misalignment == pytest.approx(want, rel=1e-9)  # type: ignore[arg-type]
    assert gm.linear_regression_r2(x, Y) == pytest.approx(1 - want * n / (centred(Y) ** 2).sum(), rel=1e-9)
    found = gm.canonical_correlations(x, Y)
    assert found.rank == (6, 4)
    exact = gm.canonical_correlations(X, Y).correlations
    assert found.correlations == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_few_rows_far_from_the_others_cost_no_direction_of_low_rank_features(dtype: str) -> None:
    rng = np.random.default_rng(1)
    H = rng.standard_normal((120, 6))
    X = H @ rng.standard_normal((6, 16))
    Y = H @ rng.standard_normal((6, 4)) + 0.25 * rng.standard_normal((120, 4))
    X[:3] += 3000
    X = rounded(X, dtype)
    x = as_input(X, dtype)
    # no better than all stored directions, no worse than the six alone, of which these rows were left out
    least, most = 0.22, float((residual(np.linalg.qr(H)[0], Y) ** 2).sum() / 120)

    for kind in CENTRED:
        assert least < gm.fit_stitch(x, Y, kind=kind).misalignment <= most  # type: ignore[arg-type]
    # six, the offset, and one at most for what each of the three was rounded by
    assert 7 <= gm.canonical_correlations(x, Y).rank[0] <= 10


def test_folds_keep_the_directions_that_a_large_row_does_not_tell() -> None:
    X, Y = with_large_rows("bfloat16", 1e4, 1, 100)
    exact = gm.fit_stitch(X, Y, kind="affine", folds=3)
    found = gm.fit_stitch(as_input(X, "bfloat16"), Y, kind="affine", folds=3)
    assert found.cv == pytest.approx(exact.cv, rel=1e-6)


# ---- integers that float64 rounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_large_integers_are_compared_by_their_differences(dtype: Any) -> None:
    steps = np.arange(50)
    Y = np.random.default_rng(0).standard_normal((50, 3)) + steps[:, None]
    ids, small = (10**17 + 3 * steps).astype(dtype)[:, None], 3.0 * steps[:, None]
    measures = (*SUBSPACES.values(), gm.coco, gm.procrustes, gm.shape_distance)

    for measure in measures:
        assert measure(ids, Y) == pytest.approx(measure(small, Y), rel=1e-9)
    for match in (gm.bipartite_matching, gm.semi_matching):
        assert match(ids, Y).score == pytest.approx(match(small, Y).score, rel=1e-9)
    for shards in ((slice(50),), (slice(20), slice(20, 50))):
        moments = gm.feature_moments(ids[shards[0]], Y[shards[0]])
        for shard in shards[1:]:
            moments = moments.update(ids[shard], Y[shard])
        for measure in measures:
            assert measure(moments) == pytest.approx(measure(small, Y), rel=1e-6)
        assert moments.cka() == pytest.approx(gm.cka(small, Y, estimator="unbiased"), rel=1e-9)
        stitch = gm.fit_stitch(moments, kind="affine")
        assert stitch.misalignment == pytest.approx(gm.fit_stitch(small, Y, kind="affine").misalignment, rel=1e-9)


def test_affine_stitches_of_large_integers_have_the_offset_of_the_integers() -> None:
    steps = np.arange(50)
    Y = np.random.default_rng(0).standard_normal((50, 3)) + steps[:, None]
    ids, small = (10**17 + 3 * steps)[:, None], 3.0 * steps[:, None]
    for folds in (None, 2):
        found, near = (gm.fit_stitch(x, Y, kind="affine", folds=folds, loo=True) for x in (ids, small))
        assert (found.misalignment, found.loo) == pytest.approx((near.misalignment, near.loo), rel=1e-9)
        assert found.offset == pytest.approx(near.offset - 1e17 * near.matrix[:, 0], rel=1e-9)
    back = gm.fit_stitch(Y, ids, kind="affine")
    assert back.offset == pytest.approx([1e17], rel=1e-15)
    assert back.misalignment == pytest.approx(gm.fit_stitch(Y, small, kind="affine").misalignment, rel=1e-9)


# ---- what is undefined -----------------------------------------------------------------------------------------------


def test_nothing_is_regressed_on_features_of_which_nothing_is_left() -> None:
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((60, 3))
    for X, why in (
        (np.ones((60, 4)), "constant"),
        ((1e4 + 3.5 * rng.standard_normal((60, 4))).astype("float16"), "coarse"),
    ):
        for measure in (gm.linear_regression_r2, gm.cca):
            with pytest.warns(gm.UndefinedWarning, match=why):
                assert math.isnan(measure(X, Y))


def test_a_doubted_misalignment_of_moments_is_nan() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5))
    Y = X[:, :2] + 0.1 * rng.standard_normal((200, 2))
    found = gm.fit_stitch(gm.feature_moments(X + 1e5, Y, reference=(np.zeros(5), np.zeros(2))), kind="affine")
    assert found.reason is not None
    assert np.isnan([found.misalignment, found.gcv]).all()


def test_coefficients_beyond_float64_are_infinite_and_said() -> None:
    X, Y = (np.random.default_rng(seed).standard_normal((100, 3)) for seed in (0, 1))
    tiny = X * 1e-310
    assert gm.cca(tiny, Y) == pytest.approx(gm.cca(X, Y), rel=1e-9)
    for kind in CENTRED:
        found, want = (gm.fit_stitch(x, Y, kind=kind) for x in (tiny, X))  # type: ignore[arg-type]
        assert "beyond float64" in str(found.reason)
        assert found.misalignment == pytest.approx(want.misalignment, rel=1e-9)


# ---- moments of a few large rows, and of tiny columns ----------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "large"), [("bfloat16", 1e4), ("bfloat16", 1e5), ("float16", 2e4)])
def test_a_few_large_rows_take_no_direction_from_the_moments_of_the_others(dtype: str, large: float) -> None:
    X, Y = with_large_rows(dtype, large, 3, 400)
    moments = merged(as_input(X, dtype), Y)
    for measure in SUBSPACES.values():
        assert measure(moments) == pytest.approx(measure(X, Y), rel=1e-3)
    for kind in CENTRED:
        found = gm.fit_stitch(moments, kind=kind)  # type: ignore[arg-type]
        assert found.misalignment == pytest.approx(gm.fit_stitch(X, Y, kind=kind).misalignment, rel=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_directions_that_rounding_of_large_rows_may_be_leave_moments_nan(dtype: str) -> None:
    rng = np.random.default_rng(0)
    H = rng.standard_normal((300, 4))
    X, Y = H @ rng.standard_normal((4, 8)), H @ rng.standard_normal((4, 3)) + rng.standard_normal((300, 3))
    X[:3] *= 3000
    moments = merged(as_input(rounded(X, dtype), dtype), Y)
    for measure in (gm.cca, gm.linear_regression_r2, gm.misalignment, gm.nocco):
        with pytest.warns(gm.UndefinedWarning, match="a few rows are so much larger than the others"):
            assert math.isnan(measure(moments))
    assert gm.procrustes(moments) == pytest.approx(gm.procrustes(rounded(X, dtype), Y), rel=1e-6)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("within", [True, False])
def test_columns_whose_squares_underflow_in_moments_are_named(shards: int, within: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    Y = X[:, :3] @ rng.standard_normal((3, 3)) + 0.5 * rng.standard_normal((300, 3))
    # a column that varies within each shard, or from one to the next alone
    X[:, 0] = 1e-170 * (X[:, 0] if within else np.repeat([0, 1, 2], 100))
    parts = [gm.feature_moments(*part) for part in zip(np.split(X, shards), np.split(Y, shards), strict=True)]
    moments = parts[0]
    for part in parts[1:]:
        moments = moments + part
    for measure in (*SUBSPACES.values(), gm.misalignment):
        with pytest.warns(gm.UndefinedWarning, match="varies by less than 1e-151"):
            assert math.isnan(measure(moments))
    for match in (gm.bipartite_matching, gm.semi_matching):
        assert "1e-151" in str(match(moments).reason)
    for measure in (gm.procrustes, gm.coco):  # for which so small a column does not count
        assert measure(moments) == pytest.approx(measure(X, Y), rel=1e-9)
    assert moments.cka() == pytest.approx(gm.cka(X, Y), rel=1e-9)
    X[:, 0] = 3.7
    constant = gm.feature_moments(X, Y)
    assert gm.cca(constant) == pytest.approx(gm.cca(X, Y), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_reports_and_searches_of_large_integers_are_those_of_small_ones(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(-500, 500, (400, 3))
    other = small @ rng.integers(-3, 4, (3, 2)) + rng.integers(-200, 200, (400, 2))
    large = [(x + 2**60 + 1).astype(dtype) for x in (small, other)]
    near = [(x - x.min(0)).astype(float) for x in (small, other)]
    report, want = (gm.stitch_report(*pair, kind="affine") for pair in (large, near))
    for name in ("misalignment", "misalignment_ratio", "least_misalignment", "alignment"):
        assert getattr(report, name) == pytest.approx(getattr(want, name), rel=1e-9), name
    for bound, same in zip(report.bounds, want.bounds, strict=True):
        assert (bound.value, bound.measured) == pytest.approx((same.value, same.measured), rel=1e-9)
    assert report.stitch.matrix == pytest.approx(want.stitch.matrix, rel=1e-9)
    taken = [x.astype(np.longdouble)[0] - z[0] for x, z in zip(large, near, strict=True)]
    offset = want.stitch.offset + taken[1] - want.stitch.matrix @ taken[0]
    assert report.stitch.offset == pytest.approx(offset.astype(float), rel=1e-12)

    found, wanted = (gm.layer_search({"a": x, "b": z}, {"c": z, "d": x}, kind="affine") for x, z in (large, near))
    for name in ("misalignment", "misalignment_ratio", "alignment"):
        # of a layer in itself nothing is left but rounding
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-9, abs=1e-18), name


def test_heads_are_given_the_large_integers_themselves() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(-500, 500, (400, 3))
    other = small @ rng.integers(-3, 4, (3, 2)) + rng.integers(-200, 200, (400, 2))
    x, z = (a + 2**57 for a in (small, other))
    Y = other[:, :1] + rng.standard_normal((400, 1))

    def head(rows: Array) -> Array:
        return rows[:, :1] - 2.0**57  # of rows that float64 holds to 2^5

    report = gm.stitch_report(x, z, Y, g2=head, kind="affine")
    want = gm.stitch_report(small, other, Y, g2=lambda rows: rows[:, :1], kind="affine")
    assert report.risk_stitch == pytest.approx(want.risk_stitch, rel=0.05)
    search = gm.layer_search({"a": x}, {"b": z}, heads2={"b": head}, Y=Y, kind="affine")
    assert search.risk_stitch[0, 0] == pytest.approx(report.risk_stitch, rel=1e-9)
