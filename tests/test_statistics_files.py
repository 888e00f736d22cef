"""Files of moments: what is in them is held against itself, and a save that fails leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from fuzz.mutations import array_of, members, npy_of, zipped
from gramian.rows import statistics_files
from gramian.rows.sources import read_npz

Content = dict[str, np.ndarray]


def data(seed: int = 0, n: int = 9, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.fixture
def gram(tmp_path: Path) -> Path:
    gm.gram_moments(data(), data(1), kernel="rbf").save(tmp_path / "gram")
    return tmp_path / "gram"


@pytest.fixture
def features(tmp_path: Path) -> Path:
    gm.feature_moments(data(), data(1)).save(tmp_path / "features")
    return tmp_path / "features"


def changed(path: Path, change: Callable[[dict[str, Any], Content], None], *, sealed: bool = True) -> None:
    """The file with other plain values or arrays in it; sealed: with a checksum that agrees with them."""
    content = {name: np.array(array) for name, array in read_npz(path, map_stored=False).items()}
    manifest = json.loads(str(content.pop("manifest")))
    values = json.loads(manifest["values"])
    change(values, content)
    manifest["values"] = json.dumps(values)
    if sealed:
        manifest["checksum"] = statistics_files.checksum(manifest, content)
    np.savez(path.with_suffix(".npz"), manifest=np.array(json.dumps(manifest)), **content)
    path.with_suffix(".npz").replace(path)


def refused(path: Path, words: str) -> None:
    kind = gm.FeatureMoments if path.name == "features" else gm.GramMoments
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}.*{words}") as caught:
        kind.load(path)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gram", "features"])
def test_a_changed_value_is_refused(request: pytest.FixtureRequest, name: str) -> None:
    path = request.getfixturevalue(name)
    array = {"gram": "scaled_shift", "features": "xy"}[name]

    def change(values: dict[str, Any], arrays: Content) -> None:
        arrays[array].flat[1] = np.nextafter(arrays[array].flat[1], 2)

    changed(path, change, sealed=False)

    refused(path, "is damaged or was changed: its content does not have the checksum that was saved")


def test_a_changed_plain_value_is_refused(gram: Path) -> None:
    changed(gram, lambda values, arrays: values.update(n=8), sealed=False)
    refused(gram, "is damaged or was changed")


def test_arrays_of_another_file_are_refused(tmp_path: Path, gram: Path) -> None:
    gm.gram_moments(data(2), data(3), kernel="rbf").save(tmp_path / "other")
    content, other = members(gram.read_bytes()), members((tmp_path / "other").read_bytes())
    gram.write_bytes(zipped(content | {"row_words.npy": other["row_words.npy"]}))

    refused(gram, "is damaged or was changed")


@pytest.mark.parametrize("name", ["gram", "features"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.99])
def test_half_a_file_is_refused(request: pytest.FixtureRequest, name: str, part: float) -> None:
    path = request.getfixturevalue(name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])

    refused(path, "cannot be read as an archive of arrays: it is not a zip archive")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path}/none: no such file")):
        gm.GramMoments.load(tmp_path / "none")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} is a directory")):
        gm.FeatureMoments.load(tmp_path)


def test_objects_in_a_file_are_never_loaded(features: Path) -> None:
    with open(features, "wb") as file:
        np.savez(file, manifest=np.array([{"code": 1}], dtype=object))

    refused(features, "it holds Python objects")


# ---- kinds and versions ------------------------------------------------------------------------------------------


def test_files_of_0_1_0_are_refused_with_the_way_to_remake_them(gram: Path, features: Path) -> None:
    with open(gram, "wb") as file:
        np.savez(file, header=np.array('{"n": 9}'), pair_words=np.zeros((3, 6), np.uint64))
    with open(features, "wb") as file:
        np.savez(file, feature_moments=np.array('{"n": 9}'), xx=np.eye(3))

    for path in (gram, features):
        refused(path, "it may be of gramian 0.1.0, whose files have no checksum: compute these statistics again")


def test_another_version_of_the_format_is_refused(gram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_files, "VERSION", 7)
    gm.gram_moments(data()).save(gram)
    monkeypatch.undo()

    refused(gram, "is of version 7 of the format, this gramian knows version 1")


@pytest.mark.parametrize("what", [{"x": np.ones(3)}, {"manifest": np.array("{}")}, {"manifest": np.ones(2)}])
def test_any_other_archive_is_refused(gram: Path, what: dict[str, np.ndarray]) -> None:
    with open(gram, "wb") as file:
        np.savez(file, **what)

    refused(gram, "does not hold GramMoments")


# ---- what true statistics cannot be, though the checksum agrees -----------------------------------------------------


def put(name: str, array: Any) -> Callable[[dict[str, Any], Content], None]:
    return lambda values, arrays: arrays.update({name: np.asarray(array)})


def said(**other: Any) -> Callable[[dict[str, Any], Content], None]:
    return lambda values, arrays: values.update(other)


IMPOSSIBLE_GRAM = {
    "pair words of one row": (
        lambda values, arrays: arrays.update(pair_words=arrays["pair_words"][:1]),
        r"pair_words is uint64 of shape \(1, 6\), not uint64 of shape \(3, 6\)",
    ),
    "row words as floats": (
        lambda values, arrays: arrays.update(row_words=arrays["row_words"].astype(float)),
        "row_words is float64 ",
    ),
    "words beyond n rows": (put("row_words", np.full((2, 9, 3), 1 << 62, np.uint64)), "larger than those of 9 rows"),
    "an exponent beyond all": (put("exponent", np.array([1 << 20, 0], np.int32)), "exponent is beyond"),
    "a base of 2": (put("base", np.array([2, 0], np.int32)), "base 0 or 1"),
    "a shift that is nan": (put("scaled_shift", np.full((2, 9), np.nan)), "scaled_shift is not finite"),
    "rounding below 0": (put("rounding", np.array([-1.0, 0])), "rounding must be at least 0"),
    "one array more": (put("more", np.ones(2)), "it also holds more"),
    "one array less": (lambda values, arrays: arrays.pop("base"), "it lacks base"),
    "no number of rows": (said(n=None), "n must be a whole number, got NoneType"),
    "rows that are nan": (said(n=float("nan")), "n must be a whole number, got float"),
    "fewer than 2 rows": (said(n=1), "n must be at least 2, got 1"),
    "another number of rows": (said(n=8), "scaled_shift is float64 of shape"),
    "an unknown kernel": (said(kernels=[["rbf", {"bandwidth": 1.0}], ["gauss", {}]]), "kernel 'gauss' is unknown"),
    "a kernel's bad parameter": (said(kernels=[["polynomial", {"degree": 99}]]), "degree must be"),
    "a kernel's unknown parameter": (said(kernels=[["linear", {"width": 1}]]), "does not hold GramMoments: TypeError"),
    "a plain list as kernels": (said(kernels=[1]), "does not hold GramMoments: TypeError"),
    "tiles out of order": (said(tiles=[[3, 2]], all_tiles=6), "tiles must be ranges in order between 0 and 6"),
    "tiles that meet": (said(tiles=[[0, 1], [1, 3]], all_tiles=6), "tiles must be ranges in order"),
    "tiles beyond the last": (said(tiles=[[0, 2]]), "tiles must be ranges in order between 0 and 1"),
    "tiles that are no numbers": (said(tiles=[["a", "b"]]), "tiles must be ranges of whole numbers"),
    "tiles of no triangle": (said(all_tiles=5), "5 tiles do not cover a matrix of 9 rows"),
    "sums of no tiles": (said(tiles=[]), "sums of no tiles"),
    "eps of 0": (said(eps=0.0), "eps must be between 0 and 1"),
    "flags of another number": (said(bandwidth_from_rows=[True]), "bandwidth_from_rows must be 2 booleans"),
    "a fingerprint of nothing": (said(fingerprint=""), "fingerprint must be 64 characters"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE_GRAM)
def test_gram_moments_that_cannot_be_are_refused(gram: Path, case: str) -> None:
    change, words = IMPOSSIBLE_GRAM[case]
    changed(gram, change)
    refused(gram, words)


IMPOSSIBLE_FEATURES = {
    "products as bytes": (
        lambda values, arrays: arrays.update(xy=arrays["xy"].astype(np.uint8)),
        r"xy is uint8 of shape \(3, 3\), not float64",
    ),
    "products of another shape": (put("xx", np.ones((2, 3))), r"xx is float64 of shape \(2, 3\), not float64 of shape"),
    "a reference that is infinite": (put("reference_x", np.full(3, np.inf)), "reference_x is not finite"),
    "rounding below 0": (put("rounding_y", np.full(3, -1.0)), "rounding_y must be at least 0"),
    "rows below 0": (said(n=-1), "n must be at least 0, got -1"),
    "rows as a truth": (said(n=True), "n must be a whole number, got bool"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE_FEATURES)
def test_feature_moments_that_cannot_be_are_refused(features: Path, case: str) -> None:
    change, words = IMPOSSIBLE_FEATURES[case]
    changed(features, change)
    refused(features, words)


def test_moments_of_different_shapes_do_not_add() -> None:
    whole = gm.gram_moments(data(), data(1))
    parts = [gm.gram_moments(data(n=400), shard=(k, 2)) for k in (0, 1)]

    with pytest.raises(ValueError, match="both arrays have the same shape"):
        parts[0] + replace(parts[1], row_words=parts[1].row_words[:, :-1])
    with pytest.raises(ValueError, match="both arrays have the same shape"):
        parts[0] + replace(parts[1], pair_words=whole.pair_words)


# ---- saving ------------------------------------------------------------------------------------------------------


FULL = """
import resource, signal, sys
import numpy as np, gramian as gm
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
found = gm.feature_moments(np.random.default_rng(0).standard_normal((200, 60)))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    found.save(sys.argv[1])
except OSError as error:
    print("OSError")
"""


def test_a_full_disk_leaves_the_file_before_it_and_nothing_else(features: Path) -> None:
    before = features.read_bytes()

    done = subprocess.run([sys.executable, "-c", FULL, features], capture_output=True, text=True, check=True)

    assert done.stdout == "OSError\n"
    assert [path.name for path in features.parent.iterdir()] == ["features"]
    assert features.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_whatever_stops_a_save_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def stopped(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", stopped)
    with pytest.raises(error):
        gm.gram_moments(data()).save(tmp_path / "m.npz")

    assert list(tmp_path.iterdir()) == []


def test_saving_onto_a_folder_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(OSError, match="m"):
        gm.feature_moments(data()).save(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_file_is_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        gm.feature_moments(data(), data(1)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_the_arrays_of_a_file(features: Path) -> None:
    with np.load(features) as found:
        assert np.array_equal(found["xx"], gm.FeatureMoments.load(features).xx)


def test_memory_layout_and_compression_are_no_damage(features: Path) -> None:
    before = gm.FeatureMoments.load(features)
    content = members(features.read_bytes())
    content["xy.npy"] = npy_of(np.asfortranarray(array_of(content["xy.npy"])))
    features.write_bytes(zipped(content, deflated=True))

    assert np.array_equal(gm.FeatureMoments.load(features).xy, before.xy)


# ---- sums that no rows have ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v, a: a.update(xy=100 * a["xy"]), "xy is larger than the squares allow"),
        (lambda v, a: a.update(xx=-a["xx"]), "sums of squares of x must be at least 0"),
        (lambda v, a: a["yy"].__setitem__((0, 1), a["yy"][0, 1] + 0.5), "yy is not symmetric"),
        (lambda v, a: a["sum_x"].__setitem__(0, np.nan), "sum_x is not finite"),
        (lambda v, a: a["xy"].__setitem__((0, 0), np.nan), "xy is larger than the squares allow"),
        (lambda v, a: a.update(sum_y=100 * a["sum_y"] + 100), "sum_y is larger than the squares allow"),
        (lambda v, a: a.update(squares=2 * a["squares"]), "squares are not the trace of xx"),
        (lambda v, a: a.update(square_products=-a["square_products"]), "square_products are not sums"),
        (lambda v, a: a["x_by_yy"].__setitem__(0, np.inf), "third or fourth degree are not finite"),
        (lambda v, a: v.update(n=10**30), "more rows than there are"),
    ],
)
def test_feature_moments_that_no_rows_have_are_refused(
    features: Path, change: Callable[[dict[str, Any], Content], None], words: str
) -> None:
    changed(features, change)
    refused(features, words)


@pytest.mark.parametrize("size", [0.0, 1e-150, 1e-80, 1e-40, 1.0, 1e60, 1e100, 1e150])
def test_moments_of_rows_of_any_size_come_back(tmp_path: Path, size: float) -> None:
    with np.errstate(all="ignore"):
        for mean in (0.0, 10.0):
            made = gm.feature_moments(size * (data() + mean), size * (data(1) - mean))
            made.save(tmp_path / "features")
            assert np.array_equal(gm.FeatureMoments.load(tmp_path / "features").xy, made.xy, equal_nan=True)


def test_moments_that_a_sum_has_moved_come_back(tmp_path: Path) -> None:
    near = gm.feature_moments(data() + 1e8, data(1) - 1e8)
    far = gm.feature_moments(data(2) + 1e8, data(3) - 1e8, reference=(np.zeros(3), np.zeros(3)))
    for made in (near + far, far + near):
        made.save(tmp_path / "features")
        assert gm.FeatureMoments.load(tmp_path / "features").n == 18


def test_gram_moments_that_no_kernel_has_are_refused(gram: Path) -> None:
    def swap(values: dict[str, Any], arrays: Content) -> None:
        arrays["pair_words"] = arrays["pair_words"][[0, 2, 2]]
        arrays["pair_words"][0] = 0

    changed(gram, swap)
    refused(gram, "sums of products are larger than the sums of squares allow")


@pytest.mark.parametrize("kind", [["GramMoments"], {"name": "GramMoments"}, None, 3])
def test_a_file_whose_kind_is_no_word_is_refused_by_every_reader(gram: Path, kind: object) -> None:
    content = {name: np.array(array) for name, array in read_npz(gram, map_stored=False).items()}
    manifest = json.loads(str(content.pop("manifest")))
    manifest["kind"] = kind
    manifest["checksum"] = statistics_files.checksum(manifest, content)
    np.savez(gram.with_suffix(".npz"), manifest=np.array(json.dumps(manifest)), **content)
    gram.with_suffix(".npz").replace(gram)
    refused(gram, "does not hold GramMoments but")
    with pytest.raises(ValueError, match="does not hold a result but"):
        gm.load(gram)
