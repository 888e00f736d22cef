"""Objects that are no arrays: which of them become one, with their labels, and what is said of all others."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from numpy.lib.recfunctions import structured_to_unstructured

import gramian as gm
from gramian.rows.arrays import as_column, as_matrix


def data(n: int = 7, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def refused(x: Any, error: type[Exception], words: str, name: str = "X") -> str:
    with pytest.raises(error, match=re.escape(words)) as caught:
        as_matrix(x, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def pandas() -> Any:
    return pytest.importorskip("pandas")


@pytest.fixture
def xarray() -> Any:
    return pytest.importorskip("xarray")


# ---- lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda x: x.tolist(), lambda x: tuple(map(tuple, x.tolist())), list])
def test_rows_in_a_list_are_an_array(make: Any) -> None:
    m = as_matrix(make(data()), "X")

    assert m.dtype == "float64"
    assert np.array_equal(m.numpy(), data())


def test_measures_take_lists() -> None:
    x, y = data(), data(seed=1)

    assert gm.cka(x.tolist(), y.tolist(), "rbf") == gm.cka(x, y, "rbf")
    assert gm.mutual_knn(x.tolist(), y.tolist(), 2) == gm.mutual_knn(x, y, 2)
    assert gm.cca(x[:, :2].tolist(), y[:, :2].tolist()) == gm.cca(x[:, :2], y[:, :2])


def test_a_list_of_numbers_is_a_column_where_one_will_do() -> None:
    assert np.array_equal(as_column([1, 2.5, 3], "y").numpy(), [[1], [2.5], [3]])
    refused([1.0, 2.0, 3.0], ValueError, "X must be 2-d (samples by features), got shape (3,); for 3 samples of one")


def test_integers_in_lists_are_as_exact_as_in_arrays() -> None:
    ids = (10**17 + 3 * np.arange(20))[:, None]
    y = data(20, 2)

    assert gm.cka(ids.tolist(), y) == gm.cka(ids, y) == pytest.approx(gm.cka(3.0 * np.arange(20)[:, None], y))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([], ValueError, "X is empty: a list of no rows"),
        ([[1, 2], [3]], ValueError, "rows of X have different lengths: 2 numbers in row 0, 1 numbers in row 1"),
        ([[1, 2], 3], ValueError, "rows of X have different lengths: 2 numbers in row 0, int in row 1"),
        ([[1, None], [2, 3]], TypeError, "X must hold real numbers, got None in row 0, column 1"),
        ([["a", "b"]], TypeError, "X must hold real numbers, got dtype <U1"),
        ([[1j, 2]], TypeError, "X must hold real numbers, got complex128"),
        ([{"a": 1}], TypeError, "X is a list of dicts; its rows must be lists of numbers"),
        (["a.npy", "b.npy"], TypeError, "X is a list of 2 names; a name by itself is a file, and several become one"),
        ([data(3), data(4)], TypeError, "X is a list of 2 arrays, the first of shape (3, 5); if these are batches of"),
        ([data()[0], data()[1][:3]], ValueError, "rows of X have different shapes: (5,) of row 0, (3,) of row 1"),
        ([[10**400, 1]], TypeError, "X must hold real numbers"),
    ],
)
def test_other_lists_are_refused_with_the_way_out(x: Any, error: type[Exception], words: str) -> None:
    refused(x, error, words)


def test_the_way_out_of_a_list_of_batches_is_one() -> None:
    batches = [data(3), data(4)]

    said = refused(batches, TypeError, "np.concatenate(X) makes one array")

    assert "if they are layers, gramian.cka_matrix(X) takes them" in said
    assert as_matrix(np.concatenate(batches), "X").n == 7


def test_a_list_within_itself_is_refused() -> None:
    x: list[Any] = []
    x.append(x)
    with pytest.raises((TypeError, ValueError), match="X"):
        as_matrix(x, "X")


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int64"])
def test_rows_that_are_tensors_are_an_array_of_their_dtype(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    x = (100 * torch.from_numpy(data())).to(getattr(torch, dtype))

    found = as_matrix(list(x), "X")

    assert found.dtype == as_matrix(x, "X").dtype
    assert np.array_equal(found.numpy(), as_matrix(x, "X").numpy())


def test_rows_that_are_series_are_an_array(pandas: Any) -> None:
    assert np.array_equal(as_matrix([pandas.Series(row) for row in data()], "X").numpy(), data())


def test_rows_of_several_libraries_are_refused() -> None:
    torch = pytest.importorskip("torch")
    refused([torch.ones(3), np.ones(3)], TypeError, "X is a list of arrays of numpy and torch; make them arrays of one")
    refused([object()], TypeError, "X is a list of objects; its rows must be lists of numbers")


def test_lists_of_tensors_are_refused_with_the_way_out() -> None:
    torch = pytest.importorskip("torch")
    rows = torch.ones(3, 2)
    refused([rows, rows], TypeError, "torch.cat(X) makes one array")
    refused([rows.requires_grad_()], TypeError, "what X lists requires grad")


# ---- pandas --------------------------------------------------------------------------------------------------------


def test_a_data_frame_is_an_array_with_labels(pandas: Any) -> None:
    frame = pandas.DataFrame(data(), columns=list("abcde"), index=list("tuvwxyz"))

    m = as_matrix(frame, "X")

    assert np.array_equal(m.numpy(), data())
    assert m.columns == ("a", "b", "c", "d", "e")
    assert m.labels.index.tolist() == list("tuvwxyz")


def test_a_data_frame_of_one_dtype_is_read_in_place(pandas: Any) -> None:
    frame = pandas.DataFrame(data())
    assert np.shares_memory(as_matrix(frame, "X").numpy(), frame.to_numpy())


def test_columns_of_several_dtypes_become_one(pandas: Any) -> None:
    frame = pandas.DataFrame({"a": np.arange(4), "b": np.linspace(0, 1, 4, dtype="f4"), "c": [True, False, True, True]})
    assert np.array_equal(as_matrix(frame, "X").numpy(), np.stack([frame[c].to_numpy(float) for c in "abc"], axis=1))


def test_columns_that_are_no_numbers_are_named(pandas: Any) -> None:
    frame = pandas.DataFrame({"id": ["u", "v"], "x": [1.0, 2], "when": pandas.to_datetime(["2020-01-01"] * 2)})

    refused(
        frame, TypeError, "X has columns that are no numbers: 'id', 'when'; leave them out: X.select_dtypes('number')"
    )
    assert as_matrix(frame.select_dtypes("number"), "X").shape == (2, 1)


def test_what_is_missing_in_a_data_frame_is_named(pandas: Any) -> None:
    frame = pandas.DataFrame({"a": pandas.array([1, None, 3], dtype="Int64"), "b": [1.0, 2, 3]})
    refused(frame, ValueError, "X has NaN in row 1, column 0")


def test_a_series_is_one_feature(pandas: Any) -> None:
    series = pandas.Series([1.0, 2, 4], index=list("abc"))

    found = as_column(series, "y")

    assert np.array_equal(found.numpy(), [[1], [2], [4]])
    assert found.labels.index.tolist() == list("abc")
    refused(series, ValueError, "for 3 samples of one feature use X.to_frame()")


def test_exact_integers_of_a_data_frame_stay_exact(pandas: Any) -> None:
    ids = (10**17 + 3 * np.arange(20))[:, None]
    y = data(20, 2)
    assert gm.cka(pandas.DataFrame(ids), y) == gm.cka(ids, y)


# ---- xarray --------------------------------------------------------------------------------------------------------


def test_a_data_array_is_an_array_with_labels(xarray: Any) -> None:
    given = xarray.DataArray(data(), dims=("sample", "unit"), coords={"sample": list("tuvwxyz"), "unit": range(5)})

    m = as_matrix(given, "X")

    assert np.shares_memory(m.numpy(), given.values)
    assert m.columns == ("0", "1", "2", "3", "4")
    assert m.labels.index.tolist() == list("tuvwxyz")


def test_a_data_array_without_coordinates_has_no_labels(xarray: Any) -> None:
    m = as_matrix(xarray.DataArray(data(), dims=("sample", "unit")), "X")
    assert (m.labels, m.columns) == (None, None)


def test_a_dataset_is_refused_with_its_arrays(xarray: Any) -> None:
    dataset = xarray.Dataset({"early": (("n", "d"), data()), "late": (("n", "d"), data())})
    refused(dataset, TypeError, "X is an xarray Dataset; give one of its arrays, X['early'] or X['late']")


def test_three_dimensions_of_xarray_name_the_poolings(xarray: Any) -> None:
    refused(xarray.DataArray(np.ones((3, 4, 2))), ValueError, "got shape (3, 4, 2); of tokens take the mean, X.mean(1)")


# ---- on disk -------------------------------------------------------------------------------------------------------


def test_a_dataset_of_h5py_is_read(tmp_path: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = data()
        file.create_dataset("packed", data=data(), chunks=(2, 2), compression="gzip")
    with h5py.File(tmp_path / "x.h5", "r") as file:
        plain, packed = as_matrix(file["x"], "X"), as_matrix(file["packed"], "X")

    assert isinstance(plain.owner, np.memmap)
    assert np.array_equal(plain.numpy(), data())  # the file is closed
    assert np.array_equal(packed.numpy(), data())


def test_a_dataset_that_is_being_written_is_read_as_it_is(tmp_path: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = data()
        assert np.array_equal(as_matrix(file["x"], "X").numpy(), data())


def test_datasets_of_h5py_that_are_no_rows_are_refused_unread(tmp_path: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("wide", shape=(1000, 1000, 1000), dtype="f8", chunks=True)
        file["words"] = ["a", "b"]
        refused(file["wide"], ValueError, "X must be 2-d (samples by features), got shape (1000, 1000, 1000)")
        refused(file["words"], TypeError, "X must hold real numbers, got object of HDF5")


def test_a_zarr_array_is_read(tmp_path: Any) -> None:
    zarr = pytest.importorskip("zarr")
    given = zarr.open(str(tmp_path / "x.zarr"), mode="w", shape=(7, 5), dtype="f8")
    given[:] = data()

    assert np.array_equal(as_matrix(given, "X").numpy(), data())


def test_a_dask_array_is_not_computed(tmp_path: Any) -> None:
    dask = pytest.importorskip("dask.array")

    def never(block: Any) -> Any:
        raise AssertionError("computed")

    lazy = dask.ones((100_000, 3_000), chunks=(1000, 3000)).map_blocks(never, dtype=float, meta=np.ones((0, 0)))

    said = refused(
        lazy, TypeError, "X is a dask Array, which has not been computed; X.compute() makes an array in memory"
    )
    assert "of 2.4 GB, and dask.array.store(X, np.lib.format.open_memmap('x.npy', " in said


def test_the_way_out_of_dask_is_one(tmp_path: Any) -> None:
    dask = pytest.importorskip("dask.array")
    X = dask.from_array(data(), chunks=(3, 5))

    dask.store(X, np.lib.format.open_memmap(tmp_path / "x.npy", "w+", X.dtype, X.shape))

    assert gm.cka(tmp_path / "x.npy", data()) == 1


# ---- refused -----------------------------------------------------------------------------------------------------


def test_model_outputs_name_what_to_pool() -> None:
    class BaseModelOutput(dict):
        last_hidden_state = hidden_states = None

    output = BaseModelOutput(last_hidden_state=1, hidden_states=2)
    output.last_hidden_state = np.ones((2, 3, 4))
    assert "pool a tensor of it to a row a sample, as X.last_hidden_state.mean(1)" in refused(
        output, TypeError, "X must be"
    )
    output.hidden_states = (np.ones((2, 3, 4)),) * 2
    refused(output, TypeError, "as X.hidden_states[-1].mean(1)")
    with pytest.raises(TypeError, match=re.escape("{f'layer{i}': h.mean(1) for i, h in enumerate(Xs.hidden_states)}")):
        gm.cka_matrix(output)


def test_loaders_and_generators_name_what_takes_batches() -> None:
    refused((row for row in data()), TypeError, "X is generator, which can be read once only; np.concatenate(list(X))")
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(torch.ones(4, 2))
    refused(
        loader, TypeError, "X is a DataLoader; collect what it gives, torch.cat([batch for batch in X]), or add one"
    )


def test_containers_and_modules_of_torch_name_the_way_on() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(data())
    pair = torch.utils.data.TensorDataset(x, x[:, :2])
    held = torch.nn.ParameterDict({"a": x, "b": x})

    refused(pair, TypeError, "X is a torch TensorDataset; give one of its tensors, X.tensors[0] or X.tensors[1]")
    refused(held, TypeError, "X is a torch ParameterDict; give one of its arrays, as X['a'] or X['b'], with .detach()")
    refused(torch.nn.ParameterList([x]), TypeError, "X is a torch ParameterList; give one of its arrays, X[0].detach()")
    refused(torch.utils.data.Subset(pair, [0]), TypeError, "collect its samples, torch.stack([X[i] for i in")
    refused(torch.nn.Linear(5, 2), TypeError, "X is a torch Linear; a module is no array: give the features")


def test_containers_of_torch_name_their_arrays_as_layers() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(data())
    ways = {
        "list(Xs.tensors)": torch.utils.data.TensorDataset(x, x[:, :2]),
        "{k: v.detach() for k, v in Xs.items()}": torch.nn.ParameterDict({"a": x, "b": x}),
        "[v.detach() for v in Xs]": torch.nn.ParameterList([x, x]),
    }

    for way, Xs in ways.items():
        with pytest.raises(TypeError, match=re.escape(f"give its arrays as layers, {way}")):
            gm.cka_matrix(Xs)
        assert gm.cka_matrix(eval(way, {"Xs": Xs})).values.shape == (2, 2)


def test_sparse_matrices_are_refused_with_the_bytes_that_they_would_take() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for shape, size in {(10, 10): "800 bytes", (120, 8): "7.68 kB", (10**5, 5000): "4 GB"}.items():
        refused(sparse.csr_matrix(shape), TypeError, f"X.toarray() makes a dense one of {size}")


def test_statistics_where_rows_are_needed_say_so() -> None:
    refused(gm.feature_moments(data()), TypeError, "X is FeatureMoments, and this function is not made of those sums")
    with pytest.raises(TypeError, match="Y is GramMoments, and this function is not made of those sums"):
        gm.cka(data(), gm.gram_moments(data()))


def test_object_arrays_of_arrays_name_the_way_out() -> None:
    ragged = np.empty(2, object)
    ragged[:] = [data(3), data(4)]

    refused(
        ragged, TypeError, "X is an object array of 2 arrays, the first of shape (3, 5); if these are batches of rows"
    )
    refused(np.array({"a": 1}), TypeError, "X is an object array that holds a dict, X.item()['a']")


def test_structured_arrays_name_the_way_out() -> None:
    records = np.zeros(3, [("a", "f4"), ("b", "f8")])

    refused(records, TypeError, "use numpy.lib.recfunctions.structured_to_unstructured(X)")
    assert as_matrix(structured_to_unstructured(records), "X").shape == (3, 2)


def test_float8_names_a_dtype_that_holds_it() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    refused(np.zeros((3, 2), ml_dtypes.float8_e4m3fn), TypeError, "X.astype(np.float32) has all its values")


def test_named_tuples_are_no_rows() -> None:
    Pair = namedtuple("Pair", "a b")
    refused(Pair(data(), data()), TypeError, "X must be an array, got a test_objects Pair")


def test_no_library_is_imported_for_an_object() -> None:
    code = (
        "import sys; from gramian.rows.arrays import as_matrix; as_matrix([[1.0, 2.0]], 'X');"
        "print([m for m in ('pandas', 'xarray', 'torch', 'h5py', 'zarr', 'dask', 'jax') if m in sys.modules])"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.strip() == "[]"
