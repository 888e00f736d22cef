"""Statistics in place of arrays: every measure that is made of sums takes them, and says so where it cannot."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm


def rows(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)) + 3
    return x, np.tanh(x[:, :3] @ rng.normal(size=(3, 4))) + rng.normal(size=(n, 4))


X, Y = rows()

OF_KERNELS: list[Callable[..., float]] = [gm.cka, gm.hsic, gm.kernel_alignment]
OF_FEATURES: list[Callable[..., float]] = [
    gm.cca, gm.svcca, gm.pwcca, gm.procrustes, gm.shape_distance, gm.linear_regression_r2, gm.coco, gm.nocco,
    gm.misalignment,
]  # fmt: skip


# ---- the numbers are those of the arrays -----------------------------------------------------------------------------


@pytest.mark.parametrize("measure", OF_KERNELS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "cosine", "distance"])
def test_gram_moments_give_what_the_arrays_give(measure: Any, estimator: str, kernel: str) -> None:
    sums = gm.gram_moments(X, Y, kernel=kernel)
    want = measure(X, Y, kernel, estimator=estimator)
    assert measure(sums, estimator=estimator) == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("measure", OF_KERNELS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_feature_moments_give_the_linear_measure(measure: Any, estimator: str) -> None:
    sums = gm.feature_moments(X[:90], Y[:90]) + gm.feature_moments(X[90:], Y[90:])
    assert measure(sums, estimator=estimator) == pytest.approx(measure(X, Y, estimator=estimator), rel=1e-10)


@pytest.mark.parametrize("measure", OF_FEATURES, ids=lambda m: m.__name__)
def test_feature_moments_give_measures_of_features(measure: Any) -> None:
    assert measure(gm.feature_moments(X, Y)) == pytest.approx(measure(X, Y), rel=1e-9)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("normalize", ["none", "hs_norm"])
@pytest.mark.parametrize("sums", [gm.gram_moments, gm.feature_moments])
def test_distances_come_from_sums(sums: Any, normalize: Any, centered: bool) -> None:
    how: Any = {"normalize": normalize, "centered": centered}
    assert gm.distance_alignment(sums(X, Y), **how) == pytest.approx(gm.distance_alignment(X, Y, **how), rel=1e-9)


def test_distances_of_directions_come_from_sums_of_cosines() -> None:
    sums, how = gm.gram_moments(X, Y, kernel="cosine"), {"normalize": "unit_diagonal"}
    assert gm.distance_alignment(sums, **how) == pytest.approx(gm.distance_alignment(X, Y, **how), rel=1e-9)


def test_each_array_has_the_kernel_of_its_sums() -> None:
    sums = gm.gram_moments(X, Y, kernel=["rbf", "linear"])

    assert gm.cka(sums) == pytest.approx(gm.cka(X, Y, "rbf", kernel_y="linear"), rel=1e-10)
    assert gm.cka(sums, "rbf" if False else None, kernel_y="linear") == gm.cka(sums)
    assert gm.cka(sums, kernel=gm.RBF(), kernel_y=gm.Linear()) == gm.cka(sums)


def test_sums_of_float32_tiles_are_taken_as_they_are() -> None:
    x, y = X.astype("f4"), Y.astype("f4")
    assert gm.cka(gm.gram_moments(x, y, kernel="rbf")) == pytest.approx(gm.cka(x, y, "rbf"), rel=1e-4)


def test_saved_and_added_sums_are_sums(tmp_path: Path) -> None:
    shards = [gm.gram_moments(X, Y, kernel="rbf", shard=(i, 3)) for i in range(3)]
    (shards[0] + shards[1] + shards[2]).save(tmp_path / "sums")

    assert gm.cka(gm.GramMoments.load(tmp_path / "sums")) == gm.cka(gm.gram_moments(X, Y, kernel="rbf"))


# ---- what they cannot be asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gm.cka(X), TypeError, "cka needs X and Y, or GramMoments or FeatureMoments of both in place"),
        (lambda: gm.distance_alignment(X), TypeError, "distance_alignment needs X and Y"),
        (lambda: gm.cka(gm.gram_moments(X, Y), Y), ValueError, "cka takes GramMoments alone, they hold both arrays"),
        (lambda: gm.hsic(gm.gram_moments(X)), ValueError, "hsic needs two arrays; these GramMoments hold X alone"),
        (lambda: gm.cka(gm.gram_moments(X, Y, X)), ValueError, "cka needs two arrays; these GramMoments hold 3 arrays"),
        (lambda: gm.cka(gm.feature_moments(X)), ValueError, "cka needs two arrays; these FeatureMoments hold X alone"),
        (lambda: gm.cka(gm.feature_moments(X, Y), kernel="rbf"), ValueError, "kernel is 'rbf', but FeatureMoments"),
        (lambda: gm.cka(gm.gram_moments(X, Y, kernel="rbf"), kernel="linear"), ValueError, "kernel is 'linear', but "),
        (lambda: gm.cka(gm.gram_moments(X, Y, kernel=gm.RBF(2)), kernel=gm.RBF(3)), ValueError, "hold sums of RBF("),
        (lambda: gm.cka(gm.gram_moments(X, Y), kernel_y="rbf"), ValueError, "kernel_y is 'rbf', but GramMoments hold"),
        (lambda: gm.cka(gm.gram_moments(X, Y, shard=(0, 2))), ValueError, "these moments hold only part of the tiles"),
        (lambda: gm.cca(gm.gram_moments(X, Y)), TypeError, "is not made of GramMoments but of FeatureMoments"),
        (lambda: gm.rsa(X, gm.gram_moments(Y)), TypeError, "Y is GramMoments, and this function is not made of those"),
        (lambda: gm.cka_matrix(gm.gram_moments(X, Y)), TypeError, "Xs is GramMoments, the sums of two arrays, where"),
        (lambda: gm.cka(gm.gram_moments(X[:3], Y[:3])), ValueError, "the unbiased estimator of cka needs at least 4"),
    ],
)  # fmt: skip
def test_what_sums_cannot_give_is_said(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call()


def test_sums_without_digits_are_nan_with_a_reason() -> None:
    with pytest.warns(gm.UndefinedWarning, match="X is constant"):
        assert np.isnan(gm.cka(gm.gram_moments(np.ones((20, 3)), Y[:20])))
    with pytest.warns(gm.UndefinedWarning, match="sums of both do not tell them apart; give the arrays"):
        assert np.isnan(gm.distance_alignment(gm.gram_moments(X, X * (1 + 1e-9))))


# ---- moments of no rows yet ------------------------------------------------------------------------------------------


def test_batches_fill_moments_of_no_rows() -> None:
    sums = gm.FeatureMoments.empty(5, 4)
    for i in range(0, 200, 30):
        sums = sums.update(X[i : i + 30], Y[i : i + 30])

    assert sums.n == 200
    assert gm.cka(sums) == pytest.approx(gm.cka(X, Y), rel=1e-10)


def test_the_first_batch_brings_the_reference() -> None:
    far = X + 1e8
    sums = gm.FeatureMoments.empty(5, 4).update(far[:100], Y[:100]).update(far[100:], Y[100:])

    assert gm.cka(sums) == pytest.approx(gm.cka(far, Y), rel=1e-6)


def test_moments_of_no_rows_of_x_alone() -> None:
    sums = gm.FeatureMoments.empty(5).update(X)
    assert (sums.n, sums.xx.shape, sums.yy.shape) == (200, (5, 5), (0, 0))


def test_batches_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="X has 4 features here but 5 there; moments of equal widths add"):
        gm.FeatureMoments.empty(5, 4).update(X[:, :4], Y)


def test_moments_of_no_rows_are_saved_and_say_what_is_missing(tmp_path: Path) -> None:
    gm.FeatureMoments.empty(3, 2).save(tmp_path / "m")
    with pytest.raises(ValueError, match="hold 0"):
        gm.cka(gm.FeatureMoments.load(tmp_path / "m"))
    with pytest.raises(ValueError, match="p must be at least 1, got 0"):
        gm.FeatureMoments.empty(0)


# ---- numbers in arrays of no dimension -------------------------------------------------------------------------------


def scalars() -> list[Callable[[float], Any]]:
    found: list[Callable[[float], Any]] = [np.array, np.float32]
    try:
        import torch
    except ImportError:
        return found
    return [*found, torch.tensor]


@pytest.mark.parametrize("make", scalars(), ids=lambda make: make.__name__)
def test_arrays_of_no_dimension_are_numbers(make: Callable[[float], Any]) -> None:
    assert gm.cca(X, Y, ridge=make(0.5)) == gm.cca(X, Y, ridge=0.5)
    assert gm.linear_regression_r2(X, Y, ridge=make(0.5)) == gm.linear_regression_r2(X, Y, ridge=0.5)
    assert gm.svcca(X, Y, variance=make(0.5)) == gm.svcca(X, Y, variance=0.5)
    assert gm.shape_distance(X, Y, alpha=make(0.5)) == gm.shape_distance(X, Y, alpha=0.5)
    assert gm.fit_stitch(X, Y, ridge=make(0.5)).misalignment == gm.fit_stitch(X, Y, ridge=0.5).misalignment
    assert gm.kare(X, Y, "rbf", make(0.5)).value == gm.kare(X, Y, "rbf", 0.5).value
    assert gm.cka(X, Y, gm.RBF(make(2.0))) == gm.cka(X, Y, gm.RBF(2.0))
    assert gm.bounds.stitching(make(0.5), 1, 1) == gm.bounds.stitching(0.5, 1, 1)


@pytest.mark.parametrize("make", [np.array, np.int32])
def test_arrays_of_no_dimension_are_counts(make: Callable[[int], Any]) -> None:
    assert gm.mutual_knn(X, Y, make(3)) == gm.mutual_knn(X, Y, 3)
    assert gm.svcca(X, Y, components=make(2)) == gm.svcca(X, Y, components=2)
    assert gm.spectrum(X, "rbf", make(3)).eigenvalues.tolist() == gm.spectrum(X, "rbf", 3).eigenvalues.tolist()
    found, want = (gm.null("cka", X, Y, permutations=of(19), seed=of(1)) for of in (make, int))
    assert found.pvalue == want.pvalue


def test_arrays_of_numbers_are_no_number() -> None:
    with pytest.raises(TypeError, match=r"^ridge must be a number, got ndarray of shape \(1,\)$"):
        gm.linear_regression_r2(X, Y, ridge=np.array([0.5]))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^k must be a whole number, got ndarray$"):
        gm.mutual_knn(X, Y, np.array(3.0))  # type: ignore[arg-type]


# ---- tensors that require grad ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "measure", [gm.cka, gm.cca, gm.mutual_knn, gm.rsa, gm.mmd2, gm.alignment], ids=lambda m: m.__name__
)
def test_no_measure_detaches_in_silence(measure: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.from_numpy(X), torch.from_numpy(X[:, ::-1].copy()).requires_grad_()

    with pytest.raises(TypeError, match=r"^[YZ] requires grad, .*gramian\.torch.* [YZ]\.detach\(\)"):
        measure(x, y)


# ---- what sums are not taken by --------------------------------------------------------------------------------------

OF_ARRAYS = [
    "rsa", "rsa_estimate", "mutual_knn", "cycle_knn", "lcs_knn", "edit_knn", "cknna", "alignment", "independence_test",
    "eigen_overlap", "spectral_alignment", "mmd2",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize("sums", [gm.gram_moments, gm.feature_moments])
def test_measures_of_arrays_say_so_of_sums(name: str, sums: Any) -> None:
    words = rf"^{name} needs the arrays X and [YZ]: it is not made of (Gram|Feature)Moments, as cka is$"

    with pytest.raises(TypeError, match=words):
        getattr(gm, name)(sums(X, Y))


def test_functions_of_more_than_two_arguments_say_so_of_sums() -> None:
    sums: Any = gm.feature_moments(X, Y)

    with pytest.raises(TypeError, match=r"^null needs the arrays X and Y: it"):
        gm.null("cka", sums)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^stitch_report needs the arrays F1 and F2: it"):
        gm.stitch_report(sums)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^rsa\(\) missing 1 required positional argument: 'Y'$"):
        gm.rsa(X)  # type: ignore[call-arg]


def test_layers_that_are_sums_are_told_what_is_needed() -> None:
    for found in (gm.matrix, gm.cka_matrix):
        with pytest.raises(TypeError, match=r"^Xs\['a'\] is FeatureMoments, the sums of two arrays, where"):
            found({"a": gm.feature_moments(X, Y)})


def test_distance_alignment_says_which_sums_it_needs() -> None:
    rbf, linear = gm.gram_moments(X, Y, kernel="rbf"), gm.feature_moments(X, Y)

    with pytest.raises(ValueError, match=r"made of linear .* hold sums of RBF.*gram_moments\(X, Y, kernel='linear'\)$"):
        gm.distance_alignment(rbf)
    with pytest.raises(ValueError, match=r"FeatureMoments hold sums of Linear.*gram_moments\(X, Y, kernel='cosine'\)$"):
        gm.distance_alignment(linear, normalize="unit_diagonal")


def test_what_a_docstring_says_of_sums_is_so() -> None:
    sums = {"GramMoments": gm.gram_moments(X, Y, kernel="linear"), "FeatureMoments": gm.feature_moments(X, Y)}
    wrong = []
    for name in gm.__all__:
        function = getattr(gm, name)
        text = (function.__doc__ or "").split("Returns\n")[0] if inspect.isfunction(function) else ""
        for kind, given in sums.items():
            if kind in text.split("Parameters\n")[-1]:
                try:
                    function(given)
                except TypeError:
                    wrong.append((name, kind))
    assert wrong == []
