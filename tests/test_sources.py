"""Files as arrays and as layers: what is mapped, how keys are found, and the words for what is wrong with a file."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gramian.rows.arrays import BFloat16Array
from gramian.rows.sources import matrix, open_array, open_layers

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def data(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (7, 5)).astype(dtype)


def save_bfloat16(path: Path, **arrays: np.ndarray) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    safetensors_numpy.save_file({name: x.astype(ml_dtypes.bfloat16) for name, x in arrays.items()}, path)


def refused(spec: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        open_array(spec)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "acts.npz"
    np.savez(path, layer10=data(seed=10), layer2=data(seed=2), layer1=data(seed=1))
    return path


@pytest.fixture
def safetensors(tmp_path: Path) -> Path:
    path = tmp_path / "acts.safetensors"
    safetensors_numpy.save_file(
        {f"layers.{i}.mlp": data(seed=i) for i in (10, 2, 1)}, path, metadata={"model": "a small one"}
    )
    return path


# ---- one array -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f4", "int64"])
def test_npy_is_mapped(tmp_path: Path, order: str, dtype: str) -> None:
    x = np.asarray(10 * data(), dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", x)

    got = open_array(tmp_path / "x.npy")

    assert isinstance(got, np.memmap)
    assert not got.flags.writeable
    assert got.strides == x.strides
    assert np.array_equal(got, x)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, data(), version=version)

    assert np.array_equal(open_array(tmp_path / "x.npy"), data())


def test_npz_takes_a_key(npz: Path) -> None:
    assert np.array_equal(open_array(f"{npz}:layer2"), data(seed=2))


def test_a_compressed_npz_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=data())

    assert np.array_equal(open_array(f"{tmp_path}/x.npz:x"), data())


def test_safetensors_takes_a_key(safetensors: Path) -> None:
    got = open_array(f"{safetensors}:layers.2.mlp")

    assert isinstance(got, np.memmap)
    assert np.array_equal(got, data(seed=2))


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"])
def test_every_real_dtype_of_safetensors_is_read(tmp_path: Path, dtype: str) -> None:
    kinds = {"F": "float", "I": "int", "U": "uint", "B": "bool"}
    x = (3 * data()).astype(kinds[dtype[0]] + (dtype[1:] if dtype != "BOOL" else ""))
    safetensors_numpy.save_file({"odd": np.zeros(3, np.int8), "x": x}, tmp_path / "x.safetensors")

    got = open_array(tmp_path / "x.safetensors:x")

    assert np.asarray(got).dtype == x.dtype
    assert np.array_equal(got, x)


def test_bfloat16_is_mapped_without_torch(tmp_path: Path) -> None:
    save_bfloat16(tmp_path / "x.safetensors", x=data())
    code = (
        f"import sys; from gramian.rows.sources import matrix; m = matrix({str(tmp_path / 'x.safetensors')!r}, 'X');"
        "print(m.dtype, m.view.dtype, float(m.block(3, 4)[0, 2]),"
        " [k for k in ('torch', 'ml_dtypes') if k in sys.modules])"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    want = float(np.asarray(open_array(tmp_path / "x.safetensors"))[3, 2])
    assert out.split(maxsplit=3) == ["bfloat16", "bfloat16", repr(want), "[]\n"]
    assert abs(want - data()[3, 2]) <= 2**-8 * abs(data()[3, 2])


def test_bfloat16_is_read_as_torch_wrote_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    x = torch.from_numpy(data()).bfloat16()
    save_file({"x": x}, tmp_path / "x.safetensors")

    got = open_array(tmp_path / "x.safetensors")

    assert isinstance(got, BFloat16Array)
    assert isinstance(got.bits, np.memmap)
    assert np.array_equal(np.asarray(got), x.float().numpy())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_the_only_array_needs_no_key(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, whatever=data())
    else:
        safetensors_numpy.save_file({"whatever": data()}, path)

    assert np.array_equal(open_array(path), data())


def test_keys_and_folders_may_hold_colons(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    np.savez(folder / "x.npz", **{"enc:0": data()})
    np.save(folder / "x.npy", data())

    assert np.array_equal(open_array(f"{folder}/x.npz:enc:0"), data())
    assert np.array_equal(open_array(f"{folder}/x.npy"), data())


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", data())

    assert np.array_equal(open_array("~/x.npy"), data())


# ---- what can be wrong with a file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.npz:key", "x.safetensors:key", "folder"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    refused(f"{tmp_path}/{name}", FileNotFoundError, f"{tmp_path}/{name.partition(':')[0]}: no such file")


@pytest.mark.parametrize("name", ["x.onnx", "x.npy.gz", "x"])
def test_an_unknown_kind_lists_the_known(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1234")

    refused(
        tmp_path / name, ValueError, f"{tmp_path}/{name} is not of a known kind; known are .npy, .npz, .safetensors"
    )


def test_a_directory_is_no_array(tmp_path: Path) -> None:
    refused(tmp_path, ValueError, f"{tmp_path} is a directory; name one array in it")


def test_a_missing_key_lists_the_keys(npz: Path, safetensors: Path) -> None:
    refused(npz, ValueError, f"{npz} holds 3 arrays, layer1, layer2, layer10; name one of them, as {npz}:layer1")
    refused(f"{npz}:layer3", ValueError, f"{npz} has no array named 'layer3'; it holds layer1, layer2, layer10")
    refused(
        f"{safetensors}:x",
        ValueError,
        f"{safetensors} has no array named 'x'; it holds layers.1.mlp, layers.2.mlp, layers.10.mlp",
    )


def test_many_keys_are_not_all_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{f"l{i}": np.zeros(1) for i in range(50)})

    refused(tmp_path / "x.npz", ValueError, "l18, l19 and 30 more")


def test_npy_takes_no_key(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data())

    refused(f"{tmp_path}/x.npy:a", ValueError, "a file of the kind .npy holds one array and takes no key")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"12", b"no array at all, whatever the name says", b"\xff" * 4096])
def test_what_is_no_such_file_is_a_value_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)

    refused(path, ValueError, f"{path} cannot be read as {suffix}: ")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_half_a_file_is_a_value_error(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".safetensors":
        safetensors_numpy.save_file({"x": data(100, 50)}, path)
    else:
        (np.save if suffix == ".npy" else np.savez)(path, data(100, 50))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])

    refused(path, ValueError, f"{path} cannot be read as {suffix}: ")


def test_a_flipped_byte_in_an_npz_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=data(100, 50))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)

    refused(path, ValueError, f"{path} cannot be read as .npz: ")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickled_objects_are_never_loaded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, np.array([{"scores": 1}], dtype=object))

    refused(path, ValueError, f"{path} cannot be read as {suffix}: ")


def test_an_npy_under_an_npz_name_is_a_value_error(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data())
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")

    refused(tmp_path / "x.npz", ValueError, "cannot be read as .npz: it is not a zip archive")


def test_other_files_in_an_npz_are_named(npz: Path) -> None:
    with zipfile.ZipFile(npz, "a") as archive:
        archive.writestr("notes.txt", "not an array")

    refused(f"{npz}:notes.txt", ValueError, f"{npz}:notes.txt is not an array")
    assert np.array_equal(open_array(f"{npz}:layer1"), data(seed=1))


def test_an_empty_npz_is_a_value_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz")

    refused(tmp_path / "x.npz", ValueError, f"{tmp_path}/x.npz holds no arrays")


def test_float8_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(4, 3).to(torch.float8_e4m3fn)}, tmp_path / "x.safetensors")

    refused(tmp_path / "x.safetensors", TypeError, "x.safetensors:x has dtype F8_E4M3; convert it to BF16")


def test_without_safetensors_the_extra_is_named(safetensors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)

    refused(safetensors, ImportError, "reading .safetensors files needs safetensors: pip install 'gramian[io]'")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"(100, 50)", b"(100, 51)"),
        (b"(100, 50)", b"(100, 49)"),
        (b"(100, 50)", b"(100,   )"),
        (b"<f4", b"<f8"),
        (b"(100, 50)", b"(9**9, 9)"),
        (b"(100, 50)", b"(-10, 50)"),
        (b"(100, 50), }   ", b"(1000000000000)"),
        (b"'shape'", b"'shapf'"),
        (b"'fortran_order': False", b"'fortran_order': 'abc'"),
        (b"<f4", b"|V0"),
    ],
)
def test_a_header_that_claims_other_bytes_is_a_value_error(
    tmp_path: Path, suffix: str, before: bytes, after: bytes
) -> None:
    out = io.BytesIO()
    np.save(out, data(100, 50))
    raw = out.getvalue().replace(before, after, 1)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        path.write_bytes(raw)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", raw)

    refused(path, ValueError, f"{path} cannot be read as {suffix}: ")


@pytest.mark.parametrize(
    "claim", [b"(" + b"9" * 40 + b", 1)", b"(4611686018427387904, 4)", b"(1" + b"0" * 18 + b", 50)"]
)
def test_a_claimed_size_takes_no_memory(tmp_path: Path, claim: bytes) -> None:
    out = io.BytesIO()
    np.save(out, data(100, 50))
    raw = out.getvalue().replace(b"(100, 50), }" + b" " * 40, claim + b", }" + b" " * (49 - len(claim)), 1)
    (tmp_path / "x.npy").write_bytes(raw)

    tracemalloc.start()
    refused(tmp_path / "x.npy", ValueError, "bytes, shape (")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1e6


def test_two_arrays_in_an_npy_are_not_silently_one(tmp_path: Path) -> None:
    with open(tmp_path / "x.npy", "wb") as file:
        np.save(file, data())
        np.save(file, data(seed=1))

    refused(tmp_path / "x.npy", ValueError, "its header says 140 bytes, shape (7, 5) of float32, but 408 follow")


def test_headers_of_python_2_are_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.save(out, data())
    (tmp_path / "x.npy").write_bytes(out.getvalue().replace(b"(7, 5), }  ", b"(7L, 5L), }", 1))

    assert np.array_equal(open_array(tmp_path / "x.npy"), data())


@pytest.mark.parametrize(
    "words",
    ["1" * 9000, "-" * 9000 + "1", "(" * 9000, "[" * 300 + "]" * 300, "{'a':" * 2000, "'\\N{x}'", "'\\d'", "1or 2"],
)
def test_a_header_of_nonsense_is_a_value_error(tmp_path: Path, words: str) -> None:
    text = words.encode()
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text)

    refused(tmp_path / "x.npy", ValueError, "x.npy cannot be read as .npy: ")


def test_a_flipped_byte_in_a_stored_archive_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=data(100, 50))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    refused(path, ValueError, f"{path} cannot be read as .npz: 'x' is damaged: its checksum is not that of its bytes")


def test_an_archive_that_would_fill_the_memory_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f8", "fortran_order": False, "shape": (300 << 10, 128)}
        )
        file.write(header.getvalue())
        for _ in range(300):
            file.write(bytes(1 << 20))

    tracemalloc.start()
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(path))}: \d+ bytes of it would unpack to 314572928"
    ) as caught:
        open_array(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1e6
    assert f"np.save('x.npy', np.load('{path}')['x'])" in str(caught.value)


def test_a_compressed_sparse_layer_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.where(np.random.default_rng(0).uniform(size=(3000, 200)) < 0.05, data(3000, 200), 0)
    np.savez_compressed(tmp_path / "x.npz", x=x)
    monkeypatch.setattr("gramian.rows.sources.UNPACKED_FREELY", 0)

    assert np.array_equal(open_array(tmp_path / "x.npz"), x)


def test_members_are_unpacked_for_as_much_as_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "x.npz", zeros=np.zeros((500, 500)), x=data())
    monkeypatch.setattr("gramian.rows.sources.UNPACKED_FREELY", 100_000)

    assert np.array_equal(open_array(f"{tmp_path}/x.npz:x"), data())
    with pytest.raises(ValueError, match="would unpack to 2000"):
        open_layers(tmp_path / "x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_compress_are_refused(tmp_path: Path, method: int) -> None:
    out = io.BytesIO()
    np.save(out, data())
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
        archive.writestr("x.npy", out.getvalue())

    refused(tmp_path / "x.npz", ValueError, "'x' is compressed in a way that NumPy does not write")


def test_two_arrays_of_one_name_are_refused(npz: Path) -> None:
    with zipfile.ZipFile(npz, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("layer1.npy", "another")

    refused(f"{npz}:layer1", ValueError, f"{npz} cannot be read as .npz: it holds two arrays of one name")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=data(100, 50))
    raw = path.read_bytes()
    begin, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    entries = b"".join(raw[begin:end].replace(b"x.npy", b"%c.npy" % (97 + k)) for k in range(20))
    tail = bytearray(raw[end:])
    tail[8:12], tail[12:16] = (20).to_bytes(2, "little") * 2, len(entries).to_bytes(4, "little")
    path.write_bytes(raw[:begin] + entries + tail)

    refused(path, ValueError, f"{path} cannot be read as .npz: its members are longer than all of it")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    refused(tmp_path / "x.npy", ValueError, f"{tmp_path}/x.npy is not a regular file")


def test_a_name_too_long_for_a_file_is_a_value_error() -> None:
    refused("x" * 5000 + ".npy", ValueError, "cannot be the name of a file: ")


# ---- layers --------------------------------------------------------------------------------------------------------


def test_layers_come_in_natural_order(npz: Path, safetensors: Path) -> None:
    assert list(open_layers(npz)) == ["layer1", "layer2", "layer10"]
    assert list(open_layers(safetensors)) == ["layers.1.mlp", "layers.2.mlp", "layers.10.mlp"]
    assert np.array_equal(open_layers(npz)["layer10"], data(seed=10))
    assert np.array_equal(open_layers(safetensors)["layers.10.mlp"], data(seed=10))


def test_names_without_numbers_and_with_many_are_ordered(tmp_path: Path) -> None:
    names = ["head", "block10_conv1", "block2_conv10", "block2_conv9", "2", "10", "stem"]
    np.savez(tmp_path / "x.npz", **{name: data() for name in names})

    got = list(open_layers(tmp_path / "x.npz"))

    assert got == ["2", "10", "block2_conv9", "block2_conv10", "block10_conv1", "head", "stem"]


def test_a_directory_of_npy_is_layers(tmp_path: Path) -> None:
    for i in (10, 9, 1):
        np.save(tmp_path / f"block{i}.npy", data(seed=i))
    (tmp_path / "notes.txt").write_text("not a layer")

    got = open_layers(tmp_path)

    assert list(got) == ["block1", "block9", "block10"]
    assert all(isinstance(x, np.memmap) for x in got.values())
    assert np.array_equal(got["block9"], data(seed=9))


def test_a_directory_without_npy_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no \.npy files; a directory of layers has one for each layer"):
        open_layers(tmp_path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".npz:feats", ".safetensors", ".safetensors:feats"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_three_dimensions_are_samples_layers_features(tmp_path: Path, suffix: str, dtype: str) -> None:
    x, path = data(6, 12, 4), tmp_path / f"x{suffix.partition(':')[0]}"
    if dtype == "bfloat16":
        if "safetensors" not in suffix:
            pytest.skip("NumPy's files have no bfloat16")
        save_bfloat16(path, feats=x)
    elif "safetensors" in suffix:
        safetensors_numpy.save_file({"feats": x}, path)
    elif suffix == ".npy":
        np.save(path, x)
    else:
        np.savez(path, feats=x)

    got = open_layers(f"{tmp_path}/x{suffix}")

    assert list(got) == [f"layer{i}" for i in range(12)]
    assert np.allclose(np.asarray(got["layer11"]), x[:, 11], rtol=2**-7 if dtype == "bfloat16" else 0)
    assert matrix(got["layer3"], "X").dtype == dtype if dtype == "bfloat16" else True


def test_three_dimensions_are_mapped_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data(6, 3, 4))

    layers = open_layers(tmp_path / "x.npy")
    gap = layers["layer1"].ctypes.data - layers["layer0"].ctypes.data
    in_place = matrix(layers["layer1"], "X").numpy().ctypes.data == layers["layer1"].ctypes.data

    assert gap == 4 * 4
    assert in_place


def test_one_matrix_is_one_layer(tmp_path: Path) -> None:
    np.save(tmp_path / "embedding.npy", data())
    np.savez(tmp_path / "x.npz", a=data(), b=data(seed=1))

    assert list(open_layers(tmp_path / "embedding.npy")) == ["embedding"]
    assert list(open_layers(f"{tmp_path}/x.npz:b")) == ["b"]


# ---- a path in place of an array -------------------------------------------------------------------------------------


def test_a_path_is_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data())

    for spec in (tmp_path / "x.npy", str(tmp_path / "x.npy")):
        assert np.array_equal(matrix(spec, "X").numpy(), data())
    assert np.array_equal(matrix(data(), "X").numpy(), data())


def test_what_is_wrong_with_the_array_names_the_file(tmp_path: Path) -> None:
    x = data()
    x[4, 1] = np.nan
    np.save(tmp_path / "x.npy", x)

    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path))}/x.npy: X has NaN in row 4, column 1 "):
        matrix(tmp_path / "x.npy", "X")


def test_a_missing_path_is_a_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        matrix(tmp_path / "x.npy", "X")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory in use is read from /proc")
def test_a_large_file_is_not_loaded(tmp_path: Path) -> None:
    rows, columns = 200_000, 256  # 205 MB
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (rows, columns))
    mapped[rows - 1, 7] = 1
    del mapped
    code = f"""
import re
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
from gramian.rows.sources import matrix
before = anonymous()
m = matrix({str(tmp_path / "x.npy")!r}, "X")
print(anonymous() - before, m.block({rows - 1}, {rows})[0, 7])
"""

    grown, value = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert float(value) == 1
    assert int(grown) < 8e6
