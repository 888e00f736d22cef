"""Labels of rows: tables whose rows are not the same samples in the same order are not compared."""

from __future__ import annotations

import inspect
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm

pandas = pytest.importorskip("pandas")

NAMES = [f"img{i:03}" for i in range(30)]


def frame(index: Any = None, seed: int = 0, d: int = 4) -> Any:
    return pandas.DataFrame(np.random.default_rng(seed).normal(size=(30, d)), index=index)


def same(x: Any, y: Any) -> None:
    plain = [z.to_numpy() for z in (x, y)]
    assert gm.cka(x, y) == gm.cka(*plain)


def refused(x: Any, y: Any, words: str) -> None:
    for call in (gm.cka, gm.cca, gm.mutual_knn, gm.rsa, gm.fit_stitch, gm.feature_moments):
        with pytest.raises(ValueError, match=words):
            call(x, y)


def test_rows_with_the_same_labels_are_compared() -> None:
    same(frame(NAMES), frame(NAMES, seed=1))


def test_rows_in_another_order_are_refused_with_the_way_out() -> None:
    x = frame(NAMES)
    y = frame(NAMES, seed=1).sample(frac=1, random_state=0)

    first, other = y.index[0], y.index[next(i for i in range(30) if y.index[i] != NAMES[i])]
    assert first == other
    refused(x, y, rf"^(X|F1) and (Y|F2) have the same row labels in another order \('img000' and {first!r} in row 0\)")
    with pytest.raises(ValueError, match=r"align them, Y\.loc\[X\.index\], or if they do belong together row by row"):
        gm.cka(x, y)
    same(x, y.loc[x.index])
    assert gm.cka(x, y.to_numpy()) == gm.cka(x.to_numpy(), y.to_numpy())


def test_rows_of_other_samples_are_refused() -> None:
    refused(frame(NAMES), frame([*NAMES[1:], "img999"], seed=1), "have different row labels .'img000' and 'img001' in")


def test_a_shuffled_index_of_numbers_is_seen_beside_one_that_was_never_set() -> None:
    x = frame()
    y = frame(seed=1).sample(frac=1, random_state=0)

    refused(x, y, "have the same row labels in another order")
    refused(y, x, "have the same row labels in another order")


def test_an_index_that_was_never_set_says_nothing() -> None:
    same(frame(NAMES), frame(seed=1))
    same(frame(range(100, 130)), frame(seed=1))


def test_an_array_has_no_labels() -> None:
    x = frame(NAMES)
    assert gm.cka(x, frame(seed=1).to_numpy()) == gm.cka(x.to_numpy(), frame(seed=1).to_numpy())


def test_numbers_are_equal_whatever_their_dtype() -> None:
    same(frame(np.arange(5, 35)), frame(np.arange(5, 35, dtype=np.uint8), seed=1))


def test_labels_of_several_levels_are_compared() -> None:
    index = pandas.MultiIndex.from_product([["a", "b", "c"], range(10)])

    same(frame(index), frame(index, seed=1))
    refused(frame(index), frame(index[::-1], seed=1), "have the same row labels in another order")


def test_coordinates_of_xarray_are_labels() -> None:
    xarray = pytest.importorskip("xarray")
    x = xarray.DataArray(frame().to_numpy(), dims=("image", "unit"), coords={"image": NAMES})
    y = xarray.DataArray(frame(seed=1).to_numpy(), dims=("image", "unit"), coords={"image": NAMES[::-1]})

    with pytest.raises(ValueError, match=r"align them, Y\.sel\(\{'image': X\.indexes\['image'\]\}\)"):
        gm.cka(x, y)
    same(x, y.sel({"image": x.indexes["image"]}))
    with pytest.raises(ValueError, match=r"align them, Y\.loc\[X\.indexes\['image'\]\]"):
        gm.cka(x, frame(NAMES[::-1]))


def test_first_columns_without_a_name_are_labels_of_a_csv(tmp_path: Path) -> None:
    x, y = frame(NAMES), frame(NAMES, seed=1)
    x.to_csv(tmp_path / "x.csv")
    y.to_csv(tmp_path / "y.csv")
    y[::-1].to_csv(tmp_path / "reversed.csv")

    assert gm.cka(tmp_path / "x.csv", tmp_path / "y.csv") == pytest.approx(gm.cka(x, y), rel=1e-12)
    assert gm.cka(tmp_path / "x.csv", y) == pytest.approx(gm.cka(x, y), rel=1e-12)
    with pytest.raises(ValueError, match="X and Y have the same row labels in another order"):
        gm.cka(tmp_path / "x.csv", tmp_path / "reversed.csv")


def test_first_columns_of_words_are_labels_of_a_csv_whatever_they_are_called(tmp_path: Path) -> None:
    x, y = frame(NAMES), frame(NAMES, seed=1)
    x.to_csv(tmp_path / "x.csv", index_label="id")
    y[::-1].to_csv(tmp_path / "reversed.csv", index_label="image")

    assert gm.cka(tmp_path / "x.csv", y) == pytest.approx(gm.cka(x, y), rel=1e-12)
    with pytest.raises(ValueError, match="X and Y have the same row labels in another order"):
        gm.cka(tmp_path / "x.csv", tmp_path / "reversed.csv")


def test_numbers_of_rows_that_pandas_wrote_say_nothing(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "x.csv")
    assert gm.cka(tmp_path / "x.csv", frame(NAMES, seed=1)) == pytest.approx(gm.cka(frame(), frame(seed=1)), rel=1e-12)


def test_layers_are_held_against_each_other() -> None:
    with pytest.raises(ValueError, match=r"^Xs\['a'\] and Xs\['b'\] have the same row labels in another order"):
        gm.cka_matrix({"a": frame(NAMES), "plain": frame().to_numpy(), "b": frame(NAMES[::-1])})


def test_large_tables_with_one_index_cost_nothing() -> None:
    index = pandas.Index([f"s{i}" for i in range(200_000)])
    x = pandas.DataFrame(np.random.default_rng(0).normal(size=(200_000, 2)), index=index)

    assert gm.cka(x, x * 2) == pytest.approx(1)


def test_matched_units_keep_the_names_of_their_columns() -> None:
    x = frame(NAMES).set_axis(["a", "b", "c", "d"], axis=1)
    y = x[["d", "a", "b"]].add_prefix("y_")

    for match, pairs in ((gm.bipartite_matching, "abd"), (gm.semi_matching, "abcd")):
        found = match(x, y)
        assert found.names_x == tuple(pairs)
        assert all(b == f"y_{a}" for a, b in zip(found.names_x, found.names_y, strict=True) if a != "c")
    assert gm.bipartite_matching(x.to_numpy(), y.to_numpy()).names_x is None


# ---- every function --------------------------------------------------------------------------------------------------

ROWS = {  # arguments whose row i is sample i, as labelled tables of 30 rows; four features if widths must agree
    **{name: lambda index, seed: frame(index, seed) for name in ("X", "Y", "y", "F", "F1", "F2", "Y2", "Z1", "Z2")},
    **{name: lambda index, seed: {"a": frame(index, seed)} for name in ("Xs", "Ys", "layers1", "layers2")},
    "target": lambda index, seed: frame(index, seed),
    **{name: lambda index, seed: gm.neighbors(frame(index, seed), 3) for name in ("A", "B")},
    "groups": lambda index, _: pandas.Series(np.arange(30) % 5, index=index),
}
# arguments that may be arrays, and whose rows are no samples, or not those of another argument
NOT_ROWS = {
    "anchors", "head", "heads2", "g", "g1", "g2", "stitch", "Z", "ridge", "source", "eigenvalues", "power",
    "samples", "spectrum1", "spectrum2", "targets", "residual", "first", "held_out",
}  # fmt: skip
# what a call needs beside these
NEEDED: dict[str, dict[str, Any]] = {
    "kare": {"ridge": 0.1},
    "risk": {"g": np.eye(4)},
    "stitching_risk": {"stitch": np.eye(4), "g2": np.eye(4)},
    "excess_stitching_risk": {"stitch": np.eye(4), "g2": np.eye(4)},
    "lipschitz.effective": {"head": np.eye(4)},
    "layer_search": {"heads2": {"a": np.eye(4)}},
    "null": {"measure": "cka", "permutations": 5},
    "stitch_report": {"g2": np.eye(4)},
    "compare": {"permutations": 20},
}
MANY = {"gram_moments", "platonic_score", "train_stitch"}  # called below, in their own ways


def public_functions() -> dict[str, Any]:
    spaces = {"": gm, "bounds.": gm.bounds, "lipschitz.": gm.lipschitz}
    return {
        f"{prefix}{name}": getattr(space, name)
        for prefix, space in spaces.items()
        for name in space.__all__
        if inspect.isfunction(getattr(space, name))
    }


def of_samples(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name in ROWS]


PAIRED = {
    name: arguments
    for name, function in public_functions().items()
    if len(arguments := of_samples(function)) > 1 and name not in MANY
}


def test_every_argument_that_may_be_an_array_has_rows_that_are_samples_or_has_not() -> None:
    found = {
        parameter.name
        for function in public_functions().values()
        for parameter in inspect.signature(function).parameters.values()
        if str(parameter.annotation) in ("object", "object | None", "float | object")
        and parameter.kind is not parameter.VAR_POSITIONAL
    }
    assert found <= ROWS.keys() | NOT_ROWS


@pytest.mark.parametrize(("name", "shuffled"), [(name, other) for name, found in PAIRED.items() for other in found[1:]])
def test_every_function_refuses_rows_in_another_order(name: str, shuffled: str) -> None:
    function = public_functions()[name]
    given = {a: ROWS[a](NAMES, seed) for seed, a in enumerate(PAIRED[name])}
    other = NAMES[::-1]

    function(**given, **NEEDED.get(name, {}))
    with pytest.raises(ValueError, match="have the same row labels in another order"):
        function(**{**given, shuffled: ROWS[shuffled](other, 1)}, **NEEDED.get(name, {}))


def test_sums_of_many_arrays_refuse_rows_in_another_order() -> None:
    with pytest.raises(ValueError, match="have the same row labels in another order"):
        gm.gram_moments(frame(NAMES), frame(NAMES, 1), frame(NAMES[::-1], 2))
    with pytest.raises(ValueError, match="have the same row labels in another order"):
        gm.feature_moments(frame(NAMES), frame(NAMES, 1)).update(frame(NAMES), frame(NAMES[::-1], 1))


def test_platonic_scores_refuse_rows_in_another_order() -> None:
    x, y = {"a": frame(NAMES), "b": frame(NAMES, 1)}, {"c": frame(NAMES[::-1], 2)}

    with pytest.raises(ValueError, match=r"^X\['a'\] and Y\['c'\] have the same row labels in another order"):
        gm.platonic_score(x, y)
    with pytest.raises(ValueError, match=r"align them, source\['c'\]\.loc\[source\['a'\]\.index\]"):
        gm.platonic_layers(x | y)
    assert gm.platonic_score(x, {"c": y["c"].loc[NAMES]}).n == 30


@pytest.mark.parametrize("options", [{"dissimilarity": "correlation"}, {"correlation": "spearman"}])
def test_copies_of_rows_do_not_lose_their_labels(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="have the same row labels in another order"):
        gm.rsa(frame(NAMES), frame(NAMES[::-1], 1), **options)


@pytest.mark.parametrize("call", [gm.cka, gm.rsa, gm.cca, gm.mutual_knn, gm.compare])
def test_integers_beyond_float64_do_not_lose_their_labels(call: Any) -> None:
    x, y = ((frame(index, seed) * 2.0**60).astype("int64") for index, seed in ((NAMES, 0), (NAMES[::-1], 1)))

    with pytest.raises(ValueError, match="have the same row labels in another order"):
        call(x, y)


def test_a_trained_stitch_refuses_targets_in_another_order() -> None:
    torch = pytest.importorskip("torch")

    with pytest.raises(ValueError, match="F1 and target have the same row labels in another order"):
        gm.train_stitch(torch.nn.Linear(4, 4), frame(NAMES), frame(NAMES[::-1], 1))


def test_groups_are_held_against_every_array_that_has_labels() -> None:
    groups = pandas.Series(np.arange(30) % 5, index=NAMES[::-1])

    with pytest.raises(ValueError, match=r"^Y and groups have the same row labels .* groups\.to_numpy\(\)"):
        gm.null("cka", frame(NAMES).to_numpy(), frame(NAMES, 1), groups=groups)
    with pytest.raises(ValueError, match=r"align them, groups\.loc\[F2\.index\]"):
        gm.stitch_report(frame(NAMES).to_numpy(), frame(NAMES, 1), groups=groups)


def test_images_with_coordinates_are_samples_with_labels() -> None:
    xarray = pytest.importorskip("xarray")
    maps = np.random.default_rng(0).normal(size=(30, 2, 3, 3))
    x = xarray.DataArray(maps, dims=("image", "channel", "row", "column"), coords={"image": NAMES})

    def flat(z: Any) -> Any:
        return z.reshape(len(z), -1)[:, :4]

    assert gm.risk(flat, x, frame(NAMES)) == gm.risk(flat, maps, frame().to_numpy())
    with pytest.raises(ValueError, match="F and Y have the same row labels in another order"):
        gm.risk(flat, x, frame(NAMES[::-1]))


def test_lists_of_neighbours_know_their_samples_after_a_copy() -> None:
    a, b = (gm.neighbors(frame(index, 1), 3) for index in (NAMES, NAMES[::-1]))

    for other in (pickle.loads(pickle.dumps(b)), deepcopy(b), pandas.DataFrame(np.asarray(b), index=NAMES[::-1])):
        with pytest.raises(ValueError, match="A and B have the same row labels in another order"):
            gm.neighbor_overlap(a, other)
    assert gm.neighbor_overlap(a, np.asarray(b)).n == 30


def test_labels_are_no_row_numbers() -> None:
    numbers = np.arange(30)[::-1]
    x, some = frame(numbers), pandas.Index([0, 1, 2])

    with pytest.raises(TypeError, match=r"^anchors is a pandas Index, of labels .* X\.index\.get_indexer\(anchors\)$"):
        gm.relative_representation(x, some)
    assert (gm.relative_representation(frame(), some) == gm.relative_representation(frame(), [0, 1, 2])).all()
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"row numbers are needed: F1\.index\.get_indexer\(held_out\)$"):
        gm.train_stitch(torch.nn.Linear(4, 4), x, frame(numbers, 1), held_out=some, epochs=1)
