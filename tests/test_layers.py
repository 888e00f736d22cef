"""Layers, however they are given: what they are called, which are chosen, and what is said where there are none."""

from __future__ import annotations

import re
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian.rows.layers import layers
from gramian.rows.sources import open_layers


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (7, 5))


def refused(Xs: Any, error: type[Exception], words: str, keys: Any = None) -> None:
    with pytest.raises(error, match=re.escape(words)):
        layers(Xs, "Xs", keys)


ACTS = data(7, 3, 5)
NAMED = {f"blocks.{i}.mlp": ACTS[:, i].copy() for i in range(3)}


def test_dicts_name_their_layers_and_sequences_number_them() -> None:
    by_name, by_number = layers(NAMED, "Xs"), layers(list(NAMED.values()), "Xs")

    assert list(by_name) == list(NAMED)
    assert list(by_number) == ["0", "1", "2"]
    assert all(np.array_equal(by_name[k].numpy(), NAMED[k]) for k in NAMED)


def test_three_dimensions_are_samples_layers_features_and_read_in_place() -> None:
    found = layers(ACTS, "Xs")

    assert list(found) == ["layer0", "layer1", "layer2"]
    assert all(np.shares_memory(found[f"layer{i}"].numpy(), ACTS) for i in range(3))
    assert np.array_equal(found["layer2"].numpy(), ACTS[:, 2])


def test_one_matrix_is_one_layer() -> None:
    assert list(layers(data(), "Xs")) == ["layer0"]


def test_fields_of_named_tuples_are_layers() -> None:
    Acts = namedtuple("Acts", "early late")
    assert list(layers(Acts(data(), data(seed=1)), "Xs")) == ["early", "late"]


def test_tensors_of_three_dimensions_are_layers() -> None:
    torch = pytest.importorskip("torch")
    found = layers(torch.from_numpy(ACTS).bfloat16(), "Xs")
    assert (list(found), found["layer1"].dtype) == (["layer0", "layer1", "layer2"], "bfloat16")


def test_tables_with_two_levels_of_columns_are_layers() -> None:
    pandas = pytest.importorskip("pandas")
    columns = pandas.MultiIndex.from_product([["late", "early"], range(5)])
    frame = pandas.DataFrame(np.hstack([data(), data(seed=1)]), columns=columns)

    found = layers(frame, "Xs")

    assert list(found) == ["late", "early"]
    assert np.array_equal(found["early"].numpy(), data(seed=1))
    assert list(layers(frame["late"], "Xs")) == ["layer0"]


@pytest.mark.parametrize(("dims", "shape"), [("n layer d", (7, 3, 5)), ("n d layer", (7, 5, 3)), ("n a d", (7, 3, 5))])
def test_coordinates_of_xarray_name_layers(dims: str, shape: tuple[int, ...]) -> None:
    xarray = pytest.importorskip("xarray")
    which = "a" if " a " in dims else "layer"
    given = xarray.DataArray(data(*shape), dims=dims.split(), coords={which: ["in", "mid", "out"]})

    found = layers(given, "Xs")

    assert list(found) == ["in", "mid", "out"]
    assert np.array_equal(found["mid"].numpy(), given.sel({which: "mid"}).values)


def test_arrays_of_an_xarray_dataset_are_layers() -> None:
    xarray = pytest.importorskip("xarray")
    dataset = xarray.Dataset({"early": (("n", "d"), data()), "late": (("n", "e"), data(7, 2))})
    assert {k: v.shape for k, v in layers(dataset, "Xs").items()} == {"early": (7, 5), "late": (7, 2)}


def test_open_archives_of_numpy_and_h5py_are_layers(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **NAMED)
    with np.load(tmp_path / "x.npz") as archive:
        assert list(layers(archive, "Xs")) == list(NAMED)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["acts/a"], file["acts/b"] = data(), data(seed=1)
        assert np.array_equal(layers(file["acts"], "Xs")["b"].numpy(), data(seed=1))


# ---- files -----------------------------------------------------------------------------------------------------------


def save(path: Path) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **NAMED, labels=np.arange(7))
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(NAMED | {"labels": np.arange(7)}, path)
    elif path.suffix == ".pt":
        torch = pytest.importorskip("torch")
        torch.save({k: torch.from_numpy(v) for k, v in NAMED.items()} | {"labels": torch.arange(7)}, path)
    elif path.suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            for k, v in (NAMED | {"labels": np.arange(7)}).items():
                file[k] = v
    else:
        path.mkdir()
        for k, v in (NAMED | {"labels": np.arange(7)}).items():
            np.save(path / f"{k}.npy", v)
    return path


FILES = [".npz", ".safetensors", ".pt", ".h5", ""]


@pytest.mark.parametrize("suffix", FILES)
def test_keys_choose_layers_of_a_file_and_read_no_others(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"acts{suffix}")

    for keys, want in (
        ("blocks.*.mlp", [0, 1, 2]),
        (["blocks.2.mlp", "blocks.0.*"], [2, 0]),
        ("blocks.[12].mlp", [1, 2]),
    ):
        found = layers(path, "Xs", keys)
        assert list(found) == [f"blocks.{i}.mlp" for i in want]
        assert all(np.array_equal(found[k].numpy(), NAMED[k]) for k in found)


@pytest.mark.parametrize("suffix", FILES)
def test_what_is_no_layer_names_keys(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"acts{suffix}")

    refused(path, ValueError, "Xs['labels'] must be 2-d (samples by features), got shape (7,)")
    refused(path, ValueError, "; if it is no layer, keys= says which are")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt", ".h5"])
def test_a_pattern_in_the_path_chooses_too(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"acts{suffix}")

    assert list(open_layers(f"{path}:blocks.*")) == list(NAMED)
    assert list(layers(f"{path}:blocks.*", "Xs", "*.1.*")) == ["blocks.1.mlp"]
    refused(
        f"{path}:heads.*", ValueError, f"{path} has no layer 'heads.*'; it has blocks.0.mlp, blocks.1.mlp, blocks.2.mlp"
    )


def test_patterns_of_files_are_layers(tmp_path: Path) -> None:
    for i in (10, 2):
        np.save(tmp_path / f"block{i}.npy", data(seed=i))
    np.save(tmp_path / "labels.npy", np.arange(7))

    found = layers(f"{tmp_path}/block*.npy", "Xs")

    assert list(found) == ["block2", "block10"]
    assert np.array_equal(found["block2"].numpy(), data(seed=2))


def test_a_single_array_of_many_layers_takes_keys(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ACTS)
    assert list(layers(tmp_path / "x.npy", "Xs", ["layer2", "layer0"])) == ["layer2", "layer0"]


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_keys_choose_and_order() -> None:
    assert list(layers(NAMED, "Xs", ["blocks.2.mlp", "blocks.0.mlp"])) == ["blocks.2.mlp", "blocks.0.mlp"]
    assert list(layers(ACTS, "Xs", "layer[02]")) == ["layer0", "layer2"]


def test_a_name_with_the_marks_of_a_pattern_is_a_name_first() -> None:
    given = {"a[0]": data(), "a0": data(seed=1)}
    assert list(layers(given, "Xs", "a[0]")) == ["a[0]"]


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ("blocks.7.mlp", ValueError, "Xs has no layer 'blocks.7.mlp'; it has blocks.0.mlp, blocks.1.mlp, blocks.2.mlp"),
        (["*", "x*"], ValueError, "Xs has no layer 'x*'; it has blocks.0.mlp"),
        ([], ValueError, "keys is empty; Xs has the layers blocks.0.mlp"),
        (3, ValueError, "Xs has no layer '3'; it has blocks.0.mlp"),
        ([0.5], TypeError, "keys must be a name or a pattern, or a list of them, got [0.5]"),
    ],
)
def test_keys_that_choose_nothing_list_what_there_is(keys: Any, error: type[Exception], words: str) -> None:
    refused(NAMED, error, words, keys)


# ---- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Xs", "error", "words"),
    [
        ({}, ValueError, "Xs has no layers"),
        ([], ValueError, "Xs has no layers"),
        (
            None,
            TypeError,
            "Xs must be a dict of layers, a sequence of them, an array (n, layers, features) or a ",
        ),
        (3, TypeError, "or a path, got int"),
        (np.ones(3), ValueError, "Xs must be (n, layers, features), got shape (3,)"),
        (np.ones((2, 3, 4, 4)), ValueError, "got shape (2, 3, 4, 4); pool its positions first, Xs.mean((-2, -1))"),
        (np.ones((2, 0, 4)), ValueError, "Xs is empty, with shape (2, 0, 4)"),
        ({1: data(), "1": data()}, ValueError, "Xs has two layers of one name: 1, '1'"),
        (
            {"a": np.ones((2, 3, 4))},
            ValueError,
            "Xs['a'] must be 2-d (samples by features), got shape (2, 3, 4); of tokens",
        ),
    ],
)
def test_what_is_no_layers_is_refused(Xs: Any, error: type[Exception], words: str) -> None:
    refused(Xs, error, words)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (gm.matrix, "keys_y"),
        (lambda x, y, **keys: gm.matrix(x, y, "procrustes", **keys), "keys_y"),
        (lambda x, y, **keys: gm.platonic_score(x, y, topk=2, **keys), "keys_y"),
        (gm.layer_search, "keys2"),
    ],
)
def test_keys_that_the_second_model_lacks_name_the_argument_of_its_own(call: Any, argument: str) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    first, second = {"a": x, "c": x}, {"b": x}

    with pytest.raises(ValueError, match=rf"has no layer 'a'; it has b; {argument}= chooses its layers, where names"):
        call(first, second, keys="a")
    with pytest.raises(ValueError, match=r"has no layer 'z'; it has b$"):
        call(first, second, keys="a", **{argument: "z"})
    with pytest.raises(ValueError, match=r"has no layer 'z'; it has a, c$"):
        call(first, second, keys="z")
    call(first, second, keys="a", **{argument: "b"})
