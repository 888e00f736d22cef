"""Labels of rows: tables whose rows are not the same samples in the same order are not compared."""

from __future__ import annotations

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
