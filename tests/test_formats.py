"""Files of torch, HDF5, MATLAB and text: read as other readers do, and one ValueError for every damage."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian.rows.arrays import BFloat16Array
from gramian.rows.sources import array_names, matrix, open_array, open_layers


def data(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (7, 5)).astype(dtype)


def refused(spec: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        open_array(spec)
    assert "\n" not in str(caught.value)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def h5py() -> Any:
    return pytest.importorskip("h5py")


def write(path: Path, x: np.ndarray, key: str = "x") -> None:
    """One array in a file of the kind that its suffix says."""
    if path.suffix in (".pt", ".pth"):
        torch = pytest.importorskip("torch")
        torch.save({key: torch.from_numpy(x)}, path)
    elif path.suffix in (".h5", ".hdf5"):
        with pytest.importorskip("h5py").File(path, "w") as file:
            file[key] = x
    elif path.suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(path, {key: x})
    else:
        np.savetxt(path, x, delimiter=",", fmt="%.17g")


KINDS = [".pt", ".pth", ".h5", ".hdf5", ".mat", ".csv"]


# ---- every kind ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", KINDS)
def test_a_path_is_an_array(tmp_path: Path, suffix: str) -> None:
    x, y = data(9, 3, dtype="float64"), data(9, 2, seed=1, dtype="float64")
    write(tmp_path / f"x{suffix}", x)
    write(tmp_path / f"y{suffix}", y)

    assert np.array_equal(open_array(tmp_path / f"x{suffix}"), x)
    assert gm.cka(tmp_path / f"x{suffix}", str(tmp_path / f"y{suffix}")) == gm.cka(x, y)
    assert list(open_layers(tmp_path / f"x{suffix}")) == ["x"]


@pytest.mark.parametrize("suffix", KINDS)
def test_a_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    refused(f"{tmp_path}/x{suffix}", FileNotFoundError, f"{tmp_path}/x{suffix}: no such file")


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("content", [b"", b"12", b"no array at all, whatever the name says", b"\xff" * 4096])
def test_what_is_no_such_file_is_a_value_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    pytest.importorskip({".pt": "torch", ".pth": "torch", ".h5": "h5py", ".hdf5": "h5py"}.get(suffix, "scipy.io"))
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    if suffix == ".csv" and content == b"12":
        assert np.array_equal(open_array(path), [[12.0]])
        return
    refused(path, ValueError, f"{path} cannot be read as {suffix}: ")


@pytest.mark.parametrize("suffix", [".pt", ".h5", ".mat"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_half_a_file_is_a_value_error(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"x{suffix}"
    write(path, data(100, 50))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])

    refused(path, ValueError, f"{path} cannot be read as {suffix}: ")


@pytest.mark.parametrize("suffix", [".pt", ".h5", ".mat"])
def test_a_missing_key_lists_the_keys(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    write(path, data())

    refused(f"{path}:y", ValueError, f"{path} has no array named 'y'; it holds x")


@pytest.mark.parametrize(("suffix", "library", "extra"), [(".pt", "torch", "torch"), (".h5", "h5py", "hdf5")])
def test_without_its_library_a_file_names_the_extra(
    tmp_path: Path, suffix: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"1234")
    monkeypatch.setitem(sys.modules, library, None)

    refused(path, ImportError, f"{path}: reading {suffix} files needs {library}: pip install 'gramian[{extra}]'")


def test_other_kinds_of_files_name_what_reads_them(tmp_path: Path) -> None:
    for suffix, reader in ((".parquet", "pandas.read_parquet"), (".pkl", "it can run code"), (".zarr", "zarr.open")):
        refused(tmp_path / f"x{suffix}", ValueError, reader)


@pytest.mark.parametrize(
    "spec", ["s3://bucket/a.npy", "gs://b/a.npz:x", "https://host/a.npy", Path("s3://bucket/a.npy")]
)
def test_what_is_not_on_this_machine_is_said_so(spec: Any) -> None:
    refused(spec, ValueError, f"{spec} is not a file of this machine; download it and give its path")
    with pytest.raises(ValueError, match="is not a file of this machine"):
        open_layers(spec)


def test_a_pattern_in_place_of_a_file_says_how_many_it_names(tmp_path: Path) -> None:
    for i in range(3):
        np.save(tmp_path / f"shard{i}.npy", data())

    refused(tmp_path / "shard*.npy", FileNotFoundError, "as a pattern it names 3 files: name one of them, or join them")


def test_a_pattern_that_matches_no_file_says_so(tmp_path: Path) -> None:
    for name in ("zz*.npy", "zz*.npz:a"):
        refused(tmp_path / name, FileNotFoundError, f"{name[:7]}: no such file, and as a pattern it matches none")
        with pytest.raises(FileNotFoundError, match="as a pattern it matches none"):
            gm.matrix(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"/none\.npz: no such file$"):
        gm.matrix(f"{tmp_path}/none.npz:blocks.*")


# ---- torch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "bool"])
def test_tensors_of_every_real_dtype_are_read(tmp_path: Path, torch: Any, dtype: str) -> None:
    x = (3 * torch.from_numpy(data())).to(getattr(torch, dtype))
    torch.save(x, tmp_path / "x.pt")

    got = open_array(tmp_path / "x.pt")

    assert isinstance(got, BFloat16Array) == (dtype == "bfloat16")
    assert np.array_equal(np.asarray(got, float), x.double().numpy())


def test_tensors_are_named_by_their_place(tmp_path: Path, torch: Any) -> None:
    x = torch.from_numpy(data())
    torch.save({"blocks": [x, {"mlp": 2 * x}], "step": 3, "name": "small"}, tmp_path / "x.pt")

    assert array_names(tmp_path / "x.pt") == ["blocks.0", "blocks.1.mlp"]
    assert np.array_equal(open_array(f"{tmp_path}/x.pt:blocks.1.mlp"), 2 * data())


def test_parameters_of_a_state_dict_are_read_as_numbers(tmp_path: Path, torch: Any) -> None:
    layer = torch.nn.Linear(5, 3)
    torch.save(layer.state_dict(), tmp_path / "x.pt")
    torch.save(layer.weight, tmp_path / "weight.pt")

    assert np.array_equal(open_array(f"{tmp_path}/x.pt:weight"), layer.weight.detach().numpy())
    assert np.array_equal(open_array(tmp_path / "weight.pt"), layer.weight.detach().numpy())


def test_a_changed_byte_of_a_tensor_is_seen(tmp_path: Path, torch: Any) -> None:
    torch.save({"x": torch.from_numpy(data(100, 50))}, tmp_path / "x.pt")
    raw = bytearray((tmp_path / "x.pt").read_bytes())
    raw[raw.index(data(100, 50).tobytes()) + 1000] ^= 1
    (tmp_path / "x.pt").write_bytes(raw)

    refused(tmp_path / "x.pt", ValueError, "x.pt cannot be read as .pt: Bad CRC-32 for file")


def test_files_of_old_torch_are_read(tmp_path: Path, torch: Any) -> None:
    torch.save({"x": torch.from_numpy(data())}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    assert np.array_equal(open_array(tmp_path / "x.pt"), data())


def test_code_in_a_file_is_not_run(tmp_path: Path, torch: Any) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").write_text, ("x",))

    torch.save({"x": Evil()}, tmp_path / "x.pt")

    refused(tmp_path / "x.pt", ValueError, "or holds more than tensors, numbers, strings, lists and dicts")
    assert not (tmp_path / "ran").exists()


def test_few_bytes_are_not_many_rows(tmp_path: Path, torch: Any) -> None:
    torch.save(torch.ones(1, 1).expand(10**9, 10**6), tmp_path / "x.pt")
    refused(tmp_path / "x.pt", ValueError, "bytes of memory, more than 100 times the 4 that the file has for it")


def test_tensors_are_mapped_and_not_loaded(tmp_path: Path, torch: Any) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("memory in use is read from /proc")
    torch.save(torch.zeros(100_000, 128), tmp_path / "x.pt")  # 51 MB

    def anonymous() -> int:
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]

    open_array(tmp_path / "x.pt")  # what is allocated once only
    before = anonymous()
    m = matrix(tmp_path / "x.pt", "X")

    assert anonymous() - before < 20e6
    assert m.n == 100_000


def test_sparse_and_complex_tensors_of_a_file_are_named(tmp_path: Path, torch: Any) -> None:
    torch.save({"x": torch.eye(3).to_sparse(), "z": torch.zeros(2, 2, dtype=torch.complex64)}, tmp_path / "x.pt")

    refused(f"{tmp_path}/x.pt:x", TypeError, "x.pt:x is a sparse tensor")
    refused(f"{tmp_path}/x.pt:z", TypeError, "x.pt:z must hold real numbers, got torch.complex64")


# ---- HDF5 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ">f4", "int64", "uint8", "bool"])
def test_datasets_of_every_real_dtype_are_mapped(tmp_path: Path, h5py: Any, dtype: str) -> None:
    x = (3 * data()).astype(dtype)
    write(tmp_path / "x.h5", x)

    got = open_array(tmp_path / "x.h5")

    assert isinstance(got, np.memmap) or dtype == "bool"
    assert np.array_equal(got, x)


def test_datasets_are_named_by_their_path(tmp_path: Path, h5py: Any) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for i in (10, 2):
            file.create_dataset(f"model/layer{i}", data=data(seed=i), chunks=(3, 2), compression="gzip", shuffle=True)

    assert list(open_layers(tmp_path / "x.h5")) == ["model/layer2", "model/layer10"]
    assert np.array_equal(open_array(f"{tmp_path}/x.h5:model/layer10"), data(seed=10))


def test_words_in_a_dataset_are_refused(tmp_path: Path, h5py: Any) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = ["a", "b"]
    refused(tmp_path / "x.h5", TypeError, "x.h5:x must hold real numbers, got object of HDF5")


def test_a_dataset_that_was_never_filled_takes_no_memory(tmp_path: Path, h5py: Any) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", shape=(10**9, 10**6), dtype="f8", chunks=(1000, 1000))
    refused(tmp_path / "x.h5", ValueError, "bytes of memory, more than 100 times the 0 that the file has for it")


# ---- MATLAB ----------------------------------------------------------------------------------------------------------


def test_variables_of_a_mat_file_are_read_but_structs(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"acts": data(), "info": {"model": "small"}, "y": data(7, 2)}, do_compression=True)

    assert array_names(tmp_path / "x.mat") == ["acts", "y"]
    assert np.array_equal(open_array(f"{tmp_path}/x.mat:acts"), data())
    assert gm.cka(f"{tmp_path}/x.mat:acts", f"{tmp_path}/x.mat:y") == gm.cka(data(), data(7, 2))


def test_mat_files_of_version_7_3_are_read_the_right_way_round(tmp_path: Path, h5py: Any) -> None:
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["acts"] = data().T  # MATLAB's columns are HDF5's rows
    header = b"MATLAB 7.3 MAT-file".ljust(124) + (0x0200).to_bytes(2, "little") + b"IM"
    with open(tmp_path / "x.mat", "r+b") as file:
        file.write(header)

    assert np.array_equal(open_array(f"{tmp_path}/x.mat:acts"), data())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (1, 3), (40, 30), (3, 2, 4)])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u4", "i8", "bool"])
def test_variables_are_read_as_scipy_wrote_them(tmp_path: Path, dtype: str, shape: Any, compressed: bool) -> None:
    x = (9 * np.abs(data(*shape))).astype(dtype)
    pytest.importorskip("scipy.io").savemat(tmp_path / "x.mat", {"a": 1.0, "x": x}, do_compression=compressed)

    assert np.array_equal(open_array(f"{tmp_path}/x.mat:x"), x)


def test_a_changed_byte_of_a_compressed_variable_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io").savemat(tmp_path / "x.mat", {"x": data(40, 30)}, do_compression=True)
    raw = bytearray((tmp_path / "x.mat").read_bytes())
    raw[-2] ^= 1
    (tmp_path / "x.mat").write_bytes(raw)

    refused(tmp_path / "x.mat", ValueError, "x.mat cannot be read as .mat: Error -3 while decompressing")


def test_files_of_old_matlab_name_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io").savemat(tmp_path / "x.mat", {"x": data(40, 30)}, format="4")
    refused(
        tmp_path / "x.mat", ValueError, "it is no file of MATLAB of version 5 or later; save it there again with -v7"
    )


def test_sparse_variables_name_the_way_out(tmp_path: Path) -> None:
    scipy_io, sparse = pytest.importorskip("scipy.io"), pytest.importorskip("scipy.sparse")
    scipy_io.savemat(tmp_path / "x.mat", {"x": sparse.eye(3).tocsc()})
    refused(tmp_path / "x.mat", TypeError, "x.mat:x is a sparse matrix; in MATLAB, full(x) makes a dense one")


# ---- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1,2\n3,4\n", None),
        ("a,b\n1,2\n3,4", ("a", "b")),
        ('"a, b",c\n1,2\n3,4\n\n', ("a, b", "c")),
        ("\ufeffa,b\r\n1,2\r\n3,4\r\n", ("a", "b")),
        (",a,b\nu,1,2\nv,3,4\n", ("a", "b")),
        (' 1, 2\n3,"4"\n', None),
        (",0,1\n0,1,2\n1,3,4\n", ("0", "1")),
        ("id,a,b\nu,1,2\nv,3,4\n", ("a", "b")),
    ],
)
def test_lines_are_samples(tmp_path: Path, text: str, columns: Any) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode())

    found = matrix(tmp_path / "x.csv", "X")

    assert np.array_equal(found.numpy(), [[1, 2], [3, 4]])
    assert found.columns == columns


def test_numbers_of_columns_that_pandas_wrote_are_no_sample(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(data(7, 5)).to_csv(tmp_path / "x.csv", index=False)
    assert open_array(tmp_path / "x.csv").shape == (7, 5)


def test_every_digit_of_a_csv_is_read(tmp_path: Path) -> None:
    x = data(50, 4, dtype="float64") * 10.0 ** data(50, 4, seed=1)
    write(tmp_path / "x.csv", x)
    assert np.array_equal(open_array(tmp_path / "x.csv"), x)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3,x\n", "line 3, column 'b' is 'x', no number"),
        ("1,2\n3,\n", "line 2, column 1 is '', no number"),
        ("1,2\n3\n", "line 2 has 1 fields, the first one 2"),
        ("a;b\n1;2\n", "its columns are separated by semicolons, and commas are read"),
        ("a,b\n", "it has no rows"),
        ("id,a\nu,1\n3,2\n", "line 2, column 'id' is 'u', no number; a first column without a name, or without a"),
        ("id,a\nu,1\n,2\n", "line 2, column 'id' is 'u', no number; a first column without a name, or without a"),
        ("u,1,2\nv,3,4\n", "its first line, 'u' and numbers, may be names of columns or a sample; put a line of names"),
        (",\nu,\n", "line 2, column '' is '', no number"),
    ],
)
def test_lines_that_are_no_numbers_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    refused(tmp_path / "x.csv", ValueError, f"{tmp_path}/x.csv cannot be read as .csv: {words}")
