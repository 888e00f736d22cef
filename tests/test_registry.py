"""Every measure has its row, and what the row says is so: its range, its direction, what does not change it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import gramian as gm
import oracle
from gramian.measures import registry
from gramian.measures.registry import MEASURES, Change

Array = np.ndarray[Any, np.dtype[np.float64]]
N = 80
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 6)) * [3, 2, 1.5, 1, 0.7, 0.5] + 0.4
Y = np.tanh(X[:, :5] @ RNG.standard_normal((5, 5))) + 0.3 * RNG.standard_normal((N, 5)) + 0.2
UNRELATED = RNG.standard_normal((N, 5)) + 0.2
# public functions of two arrays that are none: of unpaired samples
OTHERS = {"mmd2"}
ROUNDINGS = 1e-10  # of values of order 1, from moments in float64


def rotation(d: int) -> Array:
    return np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))[0]


CHANGES: dict[Change, Callable[[Array], Array]] = {
    "shift": lambda Z: Z + np.linspace(0.5, 2, Z.shape[1]),
    "scale": lambda Z: 2.5 * Z,
    "rotation": lambda Z: Z @ rotation(Z.shape[1]),
    "linear map": lambda Z: Z @ np.triu(np.ones((Z.shape[1], Z.shape[1]))),
    "rows' lengths": lambda Z: Z * np.linspace(0.5, 2, len(Z))[:, None],
    "order of features": lambda Z: Z[:, ::-1].copy(),
}


def measured(name: str, A: object, B: object) -> float:
    return getattr(gm, name)(A, B)


def scale_of(name: str) -> float:
    return max(1.0, abs(measured(name, X, Y)))


def test_every_measure_of_two_representations_has_a_row() -> None:
    found = set()
    for name in gm.__all__:
        function = getattr(gm, name)
        if inspect.isfunction(function) and function.__module__.startswith("gramian.measures."):
            signature = inspect.signature(function)
            if signature.return_annotation == "float" and list(signature.parameters)[:2] in (["X", "Y"], ["X", "Z"]):
                found.add(name)
    assert found - OTHERS == set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_the_row_finds_the_public_function(name: str) -> None:
    assert MEASURES[name].function is getattr(gm, name)
    assert registry.known(getattr(gm, name)) is MEASURES[name]


@pytest.mark.parametrize("name", MEASURES)
def test_measure_is_its_oracle_by_default(name: str) -> None:
    assert measured(name, X, Y) == pytest.approx(oracle.MEASURES[name](X, Y), abs=ROUNDINGS * scale_of(name))


def test_there_is_no_oracle_without_a_row() -> None:
    assert set(oracle.MEASURES) == set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_values_lie_in_the_range(name: str) -> None:
    low, high = (
        end if end is not None else sign * np.inf for end, sign in zip(MEASURES[name].range, (-1, 1), strict=True)
    )
    values = [measured(name, A, B) for A, B in ((X, X), (X, -X), (X, Y), (Y, X), (X, UNRELATED), (X, Y[::-1]))]
    assert low is None or min(values) >= low - ROUNDINGS
    assert high is None or max(values) <= high + ROUNDINGS


@pytest.mark.parametrize("name", MEASURES)
def test_a_representation_and_itself_agree_perfectly(name: str) -> None:
    perfect = MEASURES[name].perfect
    if perfect is None:
        assert measured(name, X, X) != pytest.approx(measured(name, Y, Y), rel=1e-3)
    else:
        assert measured(name, X, X) == pytest.approx(perfect, abs=1e-7)


@pytest.mark.parametrize("name", MEASURES)
def test_agreement_is_in_the_direction_that_the_row_says(name: str) -> None:
    near, far = measured(name, X, X + 0.1 * RNG.standard_normal(X.shape)), measured(name, X, X[::-1])
    assert near > far if MEASURES[name].agreement == "greater" else near < far


@pytest.mark.parametrize("change", get_args(Change))
@pytest.mark.parametrize("name", MEASURES)
def test_what_is_said_not_to_change_a_measure_does_not_and_all_else_does(name: str, change: Change) -> None:
    value = measured(name, X, Y)
    moved = [abs(measured(name, CHANGES[change](X), Y) - value), abs(measured(name, X, CHANGES[change](Y)) - value)]
    if change in MEASURES[name].unchanged:
        assert max(moved) <= ROUNDINGS * scale_of(name)
    else:
        assert max(moved) > 1e-6


@pytest.mark.parametrize("name", MEASURES)
def test_symmetry_is_as_said(name: str) -> None:
    same = measured(name, X, Y) == pytest.approx(measured(name, Y, X), abs=ROUNDINGS * scale_of(name))
    assert same == MEASURES[name].symmetric


STATISTICS = {
    "GramMoments": lambda: gm.gram_moments(X, Y, kernel="linear"),
    "FeatureMoments": lambda: gm.feature_moments(X, Y),
}


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("name", MEASURES)
def test_statistics_stand_for_the_arrays_where_the_row_says_so(name: str, kind: str) -> None:
    given = STATISTICS[kind]()
    if kind in MEASURES[name].statistics:
        assert getattr(gm, name)(given) == pytest.approx(measured(name, X, Y), abs=1e-9 * scale_of(name))
    else:
        with pytest.raises(TypeError):
            getattr(gm, name)(given)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_has_a_null(name: str) -> None:
    found = gm.null(name, X, Y, permutations=39)
    row = MEASURES[name]
    assert (found.measure, found.alternative, found.maximum) == (name, row.agreement, row.maximum)
    assert found.value == pytest.approx(measured(name, X, Y), abs=1e-12 * scale_of(name))
    assert found.pvalue <= 2 / 40


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_makes_a_matrix(name: str) -> None:
    layers = {"x": X, "y": Y}
    found, across = gm.matrix(layers, measure=name), gm.matrix(layers, {"u": UNRELATED, "y": Y}, name)
    want = np.array([[measured(name, A, B) for B in (X, Y)] for A in (X, Y)])
    np.testing.assert_allclose(found.values, want, rtol=0, atol=ROUNDINGS * scale_of(name))
    np.testing.assert_allclose(across.values[:, 1], want[:, 1], rtol=0, atol=ROUNDINGS * scale_of(name))
    assert (found.measure, found.rows, across.columns) == (name, ("x", "y"), ("u", "y"))
    assert found.best().value == (found.values.min() if MEASURES[name].agreement == "less" else found.values.max())


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_can_stand_in_a_comparison(name: str) -> None:
    found = gm.compare(X, Y, "linear", measures=[name])
    row = next(row for row in found.rows if row.measure == name)
    assert np.isfinite(row.value)


def test_a_comparison_shows_each_further_measure_beside_its_mean_over_shuffled_rows() -> None:
    row = gm.compare(X, Y, "linear", measures="mutual_knn", shuffles=8, seed=3).rows[-1]
    chance = gm.null("mutual_knn", X, Y, permutations=8, seed=3)
    assert (row.measure, row.value, row.null) == ("mutual_knn", gm.mutual_knn(X, Y), chance.mean)


def test_measures_of_a_comparison_are_names_or_functions() -> None:
    def first(A: Array, B: Array, seed: float = 1.0) -> float:
        return seed * float(A[0, 0] * B[0, 0])

    found = gm.compare(X, Y, "linear", measures=[gm.rsa, first, "mutual_knn"], shuffles=2).rows[-3:]
    assert [row.measure for row in found] == ["rsa", "first", "mutual_knn"]
    assert [row.value for row in found] == [gm.rsa(X, Y), first(X, Y), gm.mutual_knn(X, Y)]
    assert gm.compare(X, Y, "linear", measures=None, shuffles=0) == gm.compare(X, Y, "linear", shuffles=0)
    assert gm.compare(X, Y, "linear", measures=first, shuffles=0)["first"].value == first(X, Y)
    assert str(gm.compare(X, Y, "linear", measures=first, shuffles=0)).count("first") == 1
    seeded = gm.compare(X, Y, "linear", measures={first: {"seed": 3.0}}, shuffles=2)["first"]
    assert (seeded.value, seeded.estimator) == (first(X, Y, 3.0), "seed=3.0")


@pytest.mark.parametrize("shuffles", [0, 2])
def test_measures_of_a_comparison_take_options(shuffles: int) -> None:
    asked = {"mutual_knn": {"k": 3}, "rsa": {}, "cka": {"kernel": "laplacian"}, "hsic": {}}
    c = gm.compare(X, Y, "linear", measures=asked, shuffles=shuffles)
    assert c["mutual_knn"].value == gm.mutual_knn(X, Y, 3)
    assert c["mutual_knn", "k=3"].measure == "mutual_knn"
    assert c["rsa"].estimator == "-"
    assert c["cka", "kernel=laplacian"].value == pytest.approx(gm.cka(X, Y, "laplacian"))
    assert len([row for row in c if row.measure == "hsic"]) == 1
    assert "\n  mutual_knn (k=3) " in str(c)


@pytest.mark.parametrize(
    ("measures", "error", "message"),
    [
        (3, TypeError, r"^measures must be names or functions of \(X, Y\), or a dict of them to options, got int$"),
        ([3], TypeError, r"^measures must be a name or a function of \(X, Y\), got int$"),
        ("rsaa", ValueError, r"^measures must be one of .*; did you mean 'rsa'\?$"),
        ({"rsa": 3}, TypeError, r"^measures\['rsa'\] must be a dict of options by name, got 3$"),
        ({"rsa": {"k": 3}}, TypeError, r"^rsa\(\) has no argument 'k'; it takes dissimilarity, "),
        ({"mutual_knn": {"n_neighbors": 3}}, TypeError, r"^mutual_knn\(\) has no argument 'n_neighbors'; write k=3"),
        ({"rsa": {"progress": True}}, TypeError, r"^measures\['rsa'\] has no bar of its own"),
        (gm.canonical_correlations, TypeError, r"must return a number, but canonical_correlations returned Canonical"),
    ],
)
def test_measures_that_are_none_are_one_error(measures: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gm.compare(X, Y, "linear", measures=measures)


def test_reasons_of_further_measures_are_said_once() -> None:
    text = str(gm.compare(X, np.ones((N, 3)), "linear", measures=["rsa"]))
    assert text.endswith("\nrsa: undefined: the dissimilarities of Y are all the same, up to rounding")
    assert "(-)" not in text


def test_options_of_a_measure_are_those_of_its_function() -> None:
    found = gm.matrix([X, Y], measure="mutual_knn", k=3, metric="euclidean")
    assert found.values[0, 1] == gm.mutual_knn(X, Y, 3, metric="euclidean")
    assert dict(found.options) == {"k": 3, "metric": "euclidean"}
    with pytest.raises(TypeError, match="has no argument 'n_neighbors'; write k=3"):
        gm.matrix([X, Y], measure="mutual_knn", n_neighbors=3)
    with pytest.raises(TypeError, match="one kernel for all layers"):
        gm.matrix([X, Y], measure="cknna", kernel_y="rbf")


def test_the_representations_are_no_options_of_a_measure() -> None:
    with pytest.raises(TypeError, match=r"takes Xs, Ys, measure, keys, keys_y, progress, k, metric, memory$"):
        gm.matrix([X, Y], measure="mutual_knn", kernel="rbf")
    with pytest.raises(TypeError, match=r"^matrix\(\) has no argument 'X'; "):
        gm.matrix([X, Y], measure="mutual_knn", X=X)
    with pytest.raises(TypeError, match=r"^null\(\) has no argument 'kernel'; it takes measure, X, Y, groups, "):
        gm.null("mutual_knn", X, Y, kernel="rbf")


@pytest.mark.parametrize(
    ("function", "returned"),
    [
        (gm.canonical_correlations, "canonical_correlations returned CanonicalCorrelations"),
        (lambda A, B: A.T @ B, r"<lambda> returned ndarray of shape \(6, 6\)"),
        (lambda A, B: "0.5", "<lambda> returned str"),
        (lambda A, B: None, "<lambda> returned NoneType"),
        (lambda A, B: np.complex128(1), "<lambda> returned complex128"),
    ],
)
def test_what_is_no_number_is_one_error_that_names_measure_and_layers(function: Any, returned: str) -> None:
    layers = r" for Xs\['a'\] and Xs\['a'\]$"
    with pytest.raises(TypeError, match=f"^measure must return a number, but {returned}{layers}"):
        gm.matrix({"a": X, "b": Y}, measure=function)
    if function is not gm.canonical_correlations:
        with pytest.raises(TypeError, match=r"^measure must return a number, but <lambda> returned "):
            gm.null(function, X, X)


def test_a_measure_may_return_a_result_that_is_a_number() -> None:
    found = gm.matrix([X, Y], measure=gm.rsa_estimate)
    assert found[0, 1] == gm.rsa_estimate(X, Y).value


def test_keys_are_numbers_where_layers_are() -> None:
    layers = {10: X, 11: Y, 12: UNRELATED}
    assert gm.matrix(layers, keys=[12, np.int64(10)]).rows == ("12", "10")
    assert gm.matrix(layers, layers, keys=11, keys_y=range(10, 12)).columns == ("10", "11")
    assert gm.matrix([X, Y, X], keys=[0, 2]).rows == ("0", "2")
    assert gm.cka_matrix(layers, keys=(11, "1*")).rows == ("11", "10", "12")
    with pytest.raises(ValueError, match="Xs has no layer '3'; it has 0, 1"):
        gm.matrix([X, Y], keys=[3])
    with pytest.raises(TypeError, match="keys must be a name or a pattern"):
        gm.matrix([X, Y], keys=[0.5])
    with pytest.raises(TypeError, match="keys must be a name or a pattern"):
        gm.matrix([X, Y], keys=[True])


def test_a_function_of_ones_own_makes_a_matrix() -> None:
    def width(A: Array, B: Array) -> float:
        return float(A.shape[1] * B.shape[1])

    found = gm.matrix([X, Y], [Y], width)
    assert found.values.tolist() == [[30.0], [25.0]]
    assert found.measure == "width"


def test_why_a_value_of_a_matrix_is_nan_is_said_of_its_layers() -> None:
    found = gm.matrix({"x": X, "flat": np.ones((N, 3))}, measure="procrustes")
    assert np.isnan(found.values[0, 1])
    assert found.reasons["Xs['x'], Xs['flat']"].startswith("Xs['flat'] is constant")
    near = gm.matrix({"x": X, "flat": np.ones((N, 3))}, measure="mutual_knn")
    assert near.reasons == {"Xs['flat']": "in Xs['flat'], all rows are equally near each other"}


def test_an_unknown_measure_is_answered_by_the_nearest_name() -> None:
    for call in (lambda m: gm.matrix([X, Y], measure=m), lambda m: gm.null(m, X, Y)):
        with pytest.raises(ValueError, match=r"did you mean 'mutual_knn'\?"):
            call("mutual_kn")
    with pytest.raises(ValueError, match="here it is 'edit_knn'"):
        gm.null("edit_distance_knn", X, Y)


def test_the_table_of_the_docs_is_that_of_the_registry() -> None:
    page = (Path(__file__).parents[1] / "docs" / "measures.md").read_text()
    assert registry.markdown() in page, "run: python docs/measures.py"


def test_editors_know_the_names_of_the_rows() -> None:
    assert get_args(registry.MeasureName) == tuple(MEASURES)
