"""Objects that are no arrays: tables, lists and datasets become ones; all others are refused with a way on.

No library is imported here: an object of one can only come from a program that has imported it.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from gramian.rows import hdf5
from gramian.rows.labels import RowLabels
from gramian.sums import is_statistics

_NAMED_COLUMNS = 5  # that a message lists
_LISTED = (list, tuple)
_WITH_STACK = {"torch", "cupy", "jax", "jaxlib"}  # whose arrays stay what they are, and where they lie


@dataclass(frozen=True, eq=False)
class Plain:
    """What an object holds: an array of some library, and what the object calls its rows and columns."""

    values: Any  # (n, d)
    rows: RowLabels | None = None  # of n
    columns: tuple[str, ...] | None = None  # (d,)


def plain(x: Any, name: str, *, column: bool = False) -> Plain | None:
    """The array within a table, a list or a dataset; None for an object of another kind.

    With `column`, a Series, a list of numbers and a DataArray of one dimension are n samples of one feature.

    Raises
    ------
    TypeError, ValueError
        It holds no rows of numbers, or would have to be computed first.
    """
    kind = type(x)
    if issubclass(kind, np.ndarray):
        return None
    if kind is Plain:
        return cast(Plain, x)
    pandas, xarray = sys.modules.get("pandas"), sys.modules.get("xarray")
    if _is(kind, pandas, "DataFrame"):
        return _of_frame(x, name)
    if _is(kind, pandas, "Series"):
        if not column:
            raise ValueError(_one_dimension(name, len(x), f"{name}.to_frame()"))
        return _of_frame(x.to_frame(), name)
    if _is(kind, xarray, "DataArray"):
        return _of_data_array(x, name)
    if _is(kind, xarray, "Dataset"):
        raise TypeError(f"{name} is an xarray Dataset; give one of its arrays, {_choices(name, x.data_vars)}")
    if issubclass(kind, _LISTED) and not hasattr(kind, "_fields"):
        found = _of_list(x, name)
        return Plain(found[:, None] if column and found.ndim == 1 else found)
    library = _library(kind)
    if library == "h5py" and kind.__name__ == "Dataset":
        hdf5.check_numbers(x, name)
        check_shape(x.shape, name)
        return Plain(hdf5.values(x, Path(x.file.filename), x.name))
    if library == "zarr" and kind.__name__ == "Array":
        check_shape(x.shape, name)
        return Plain(np.asarray(x[:]))
    return None


def labels_of(x: Any) -> RowLabels | None:
    """What a table, or a column of one, calls its rows; None for what has no names for them."""
    kind = type(x)
    pandas, xarray = sys.modules.get("pandas"), sys.modules.get("xarray")
    if _is(kind, pandas, "DataFrame") or _is(kind, pandas, "Series"):
        return RowLabels(x.index)
    if _is(kind, xarray, "DataArray") and x.ndim and x.dims[0] in x.indexes:
        return RowLabels(x.indexes[x.dims[0]], str(x.dims[0]))
    return None


def check_row_numbers(given: Any, name: str, rows: RowLabels | None, of: str) -> None:
    """Raise TypeError for an Index of pandas in place of row numbers, unless rows have no other names than these."""
    if rows is None or rows.default() or not _is(type(given), sys.modules.get("pandas"), "Index"):
        return
    raise TypeError(
        f"{name} is a pandas {type(given).__name__}, of labels of rows, where row numbers are needed: "
        f"{rows.code(of)}.get_indexer({name})"
    )


def refusal(x: Any, name: str) -> str:
    """What is said of an object that is no array: what it is, and how to get one out of it."""
    kind = type(x)
    what = kind_of(x)
    library = _library(kind)
    if what.endswith("Tracer"):
        way = "call gramian outside of jax.jit and jax.grad, where arrays have values"
        return f"{name} must be an array, got {what}; {way}"
    if is_statistics(x):
        return (
            f"{name} is {kind.__name__}, and this function is not made of those sums (or takes them as its first "
            "argument, alone); give the arrays"
        )
    if library == "dask":
        return _of_dask(x, name)
    if _is_sparse(x, library):
        return f"{name} must be an array, got {what}, which is sparse; {name}.toarray() makes a dense one{_bytes_of(x)}"
    if library == "torch" and kind.__name__ == "DataLoader":
        return (
            f"{name} is a DataLoader; collect what it gives, torch.cat([batch for batch in {name}]), or add one batch "
            "after another to gramian.FeatureMoments: m = m.update(x, y)"
        )
    if issubclass(kind, Mapping):
        return _of_mapping(x, name, what)
    if way_on := _of_torch(x, name):
        return f"{name} is {what}; {way_on}"
    if issubclass(kind, Iterator):
        return (
            f"{name} is {what}, which can be read once only; np.concatenate(list({name})) makes one array of its "
            "batches, and gramian.FeatureMoments takes them one by one: m = m.update(x, y)"
        )
    start = f"{name} must be an array, got {what}"
    for method in ("to_numpy", "toarray"):
        if hasattr(x, method):
            return f"{start}; {name}.{method}() makes one"
    if hasattr(x, "__array__"):
        return f"{start}; np.asarray({name}) makes one"
    return start


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless it is that of samples by features; the message names what would make it so."""
    wanted = f"{name} must be 2-d (samples by features), got shape {shape}"
    if len(shape) == 0:
        raise ValueError(f"{name} must be 2-d (samples by features), got a single number")
    if len(shape) == 1:
        raise ValueError(_one_dimension(name, shape[0], f"{name}.reshape(-1, 1)"))
    if len(shape) > 2:
        raise ValueError(f"{wanted}; {_poolings(shape, name)}")
    if 0 in shape:
        raise ValueError(f"{name} is empty: it has {shape[0]} rows and {shape[1]} columns")


def check_scalar_items(x: Any, name: str) -> None:
    """Raise where an array of Python objects holds arrays or dicts: then no change of dtype makes numbers of it."""
    if not x.size:
        return
    first = x.flat[0]
    if isinstance(first, Mapping):
        raise TypeError(f"{name} is an object array that holds a dict, {_choices(f'{name}.item()', first)}")
    if isinstance(first, _LISTED) or len(getattr(first, "shape", "")):
        shape = (len(first),) if isinstance(first, _LISTED) else tuple(first.shape)
        raise TypeError(
            f"{name} is an object array of {x.size} arrays, the first of shape {shape}; if these are batches of rows, "
            f"np.concatenate(list({name})) makes one array, and if they are layers, {_for_layers(f'list({name})')}"
        )


def requires_grad(name: str) -> TypeError:
    return TypeError(
        f"{name} requires grad, and no gradient flows through this function; gramian.torch has measures that have one, "
        f"and {name}.detach() gives the number alone"
    )


def kind_of(x: object) -> str:
    """What to call `x` in a message: DataFrame of pandas, list, None."""
    if x is None:
        return "None"
    try:
        kind, library = str(type(x).__name__), str(type(x).__module__).partition(".")[0]
    except Exception:  # a class of its own kind of class
        return "an object"
    return kind if library == "builtins" else f"a {library} {kind}"


# ---- tables --------------------------------------------------------------------------------------------------------


def _of_frame(x: Any, name: str) -> Plain:
    types = sys.modules["pandas"].api.types
    odd = [str(c) for c, dtype in zip(x.columns, x.dtypes, strict=True) if not types.is_numeric_dtype(dtype)]
    if odd:
        listed = ", ".join(map(repr, odd[:_NAMED_COLUMNS])) + (" ..." if len(odd) > _NAMED_COLUMNS else "")
        raise TypeError(
            f"{name} has columns that are no numbers: {listed}; leave them out: {name}.select_dtypes('number')"
        )
    values = x.to_numpy()
    if values.dtype == object:  # nullable dtypes: what is missing becomes NaN, which the gate names
        values = x.to_numpy(dtype=np.float64, na_value=np.nan)
    return Plain(values, RowLabels(x.index), tuple(map(str, x.columns)))


def _of_data_array(x: Any, name: str) -> Plain:
    if x.chunks is not None:
        raise TypeError(_of_dask(x, name))
    columns = None
    if x.ndim == 2 and x.dims[1] in x.indexes:
        columns = tuple(map(str, x.indexes[x.dims[1]]))
    return Plain(x.data, labels_of(x), columns)


# ---- lists -----------------------------------------------------------------------------------------------------------


def _of_list(x: Any, name: str) -> Any:
    """Rows that are lists of numbers, or arrays of one dimension."""
    if not len(x):
        raise ValueError(f"{name} is empty: a {type(x).__name__} of no rows")
    kinds = {type(row) for row in x}
    if all(issubclass(kind, str | os.PathLike) for kind in kinds):
        raise TypeError(
            f"{name} is a {type(x).__name__} of {len(x)} names; a name by itself is a file, and several become one "
            f"array by np.concatenate([np.load(file) for file in {name}])"
        )
    arrays = [row for row in x if hasattr(type(row), "__array__") or hasattr(type(row), "__dlpack__")]
    if any(getattr(row, "requires_grad", False) is True for row in arrays):
        raise requires_grad(f"what {name} lists")
    if arrays and len(getattr(arrays[0], "shape", ())):
        return _stacked(x, arrays, name)
    try:
        found = np.asarray(x)
    except Exception as error:
        raise _ragged(x, name) from error
    if found.dtype == object:
        raise _ragged(x, name)
    return found


def _stacked(x: Sequence[Any], arrays: list[Any], name: str) -> Any:
    shapes = [tuple(row.shape) for row in arrays]
    if len(shapes[0]) > 1 or len(arrays) < len(x):
        join = "torch.cat" if _library(type(arrays[0])) == "torch" else "np.concatenate"
        raise TypeError(
            f"{name} is a {type(x).__name__} of {len(x)} arrays, the first of shape {shapes[0]}; if these are batches "
            f"of rows, {join}({name}) makes one array, and if they are layers, {_for_layers(name)}"
        )
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"rows of {name} have different shapes: {shapes[0]} of row 0, {shape} of row {i}")
    libraries = {_library(type(row)) for row in x}
    if len(libraries) > 1 and not all(isinstance(row, np.ndarray) for row in x):
        listed = " and ".join(sorted(libraries))
        raise TypeError(f"{name} is a {type(x).__name__} of arrays of {listed}; make them arrays of one library")
    if libraries & _WITH_STACK:
        from array_api_compat import array_namespace

        return array_namespace(*x).stack(list(x))
    return np.stack([np.asarray(row) for row in x])


def _ragged(x: Sequence[Any], name: str) -> ValueError | TypeError:
    """Why a list is no array of numbers, by its first row that is not like the first."""
    first = x[0]
    if not isinstance(first, _LISTED):
        return TypeError(f"{name} is a {type(x).__name__} of {_several(first)}; its rows must be lists of numbers")
    for i, row in enumerate(x):
        if not isinstance(row, _LISTED) or len(row) != len(first):
            got = f"{len(row)} numbers" if isinstance(row, _LISTED) else kind_of(row)
            return ValueError(f"rows of {name} have different lengths: {len(first)} numbers in row 0, {got} in row {i}")
    for i, row in enumerate(x):
        for j, entry in enumerate(row):
            if not isinstance(entry, int | float | np.number):
                return TypeError(f"{name} must hold real numbers, got {kind_of(entry)} in row {i}, column {j}")
    return TypeError(f"{name} must hold real numbers that float64 has")


# ---- what is refused ------------------------------------------------------------------------------------------------


def _of_mapping(x: Mapping[Any, Any], name: str, what: str) -> str:
    start = f"{name} must be an array, got {what}"
    if getattr(x, "hidden_states", None) is not None:
        return f"{start}; pool one of its tensors to a row a sample, as {name}.hidden_states[-1].mean(1)"
    if getattr(x, "last_hidden_state", None) is not None:
        return f"{start}; pool a tensor of it to a row a sample, as {name}.last_hidden_state.mean(1)"
    return f"{start}; give one of its arrays, {_choices(name, x)}" if len(x) else start


def of_torch_arrays(x: Any, name: str) -> str | None:
    """How a program writes the dict or list of the arrays that a container of torch holds."""
    torch = sys.modules.get("torch")
    nn, data = getattr(torch, "nn", None), getattr(getattr(torch, "utils", None), "data", None)
    if _is(type(x), data, "TensorDataset"):
        return f"list({name}.tensors)"
    if _is(type(x), nn, "ParameterDict"):
        return f"{{k: v.detach() for k, v in {name}.items()}}"
    return f"[v.detach() for v in {name}]" if _is(type(x), nn, "ParameterList") else None


def _of_torch(x: Any, name: str) -> str | None:
    """The way on from what torch has beside tensors: containers of them, data sets and modules."""
    torch = sys.modules.get("torch")
    nn, data = getattr(torch, "nn", None), getattr(getattr(torch, "utils", None), "data", None)
    if _is(type(x), data, "TensorDataset"):
        return f"give one of its tensors, {' or '.join(f'{name}.tensors[{i}]' for i in range(len(x.tensors)))}"
    if _is(type(x), data, "Dataset"):
        return (
            f"collect its samples, torch.stack([{name}[i] for i in range(len({name}))]), or {name}[i][0] where they "
            "are tuples"
        )
    if _is(type(x), nn, "ParameterDict"):
        return f"give one of its arrays, as {_choices(name, x.keys())}, with .detach()"
    if _is(type(x), nn, "ParameterList"):
        return f"give one of its arrays, {name}[0].detach(), or stack its rows, torch.stack(list({name})).detach()"
    if _is(type(x), nn, "Module"):
        return "a module is no array: give the features that it makes of the samples, detached"
    return None


def _of_dask(x: Any, name: str) -> str:
    kind = (
        "an xarray DataArray of dask" if hasattr(x, "chunks") and hasattr(x, "dims") else f"a dask {type(x).__name__}"
    )
    start = f"{name} is {kind}, which has not been computed; {name}.compute() makes an array in memory{_bytes_of(x)}"
    if not (hasattr(x, "dtype") and hasattr(x, "blocks")):
        return start
    return (
        f"{start}, and dask.array.store({name}, np.lib.format.open_memmap('x.npy', 'w+', {name}.dtype, {name}.shape)) "
        "writes a file block by block, which is then read in place: 'x.npy'"
    )


def _bytes_of(x: Any) -> str:
    """How large it is once it is dense, if that can be told."""
    try:
        size = math.prod(x.shape) * np.dtype(x.dtype).itemsize
    except Exception:  # a foreign object's own
        return ""
    unit, power = next((u, p) for u, p in (("GB", 9), ("MB", 6), ("kB", 3), ("bytes", 0)) if size >= 10**p or not p)
    return f" of {size / 10**power:.3g} {unit}"


def _is_sparse(x: Any, library: str) -> bool:
    return library in ("scipy", "cupyx", "sparse", "pandas") and hasattr(x, "nnz")


def _poolings(shape: tuple[int, ...], name: str) -> str:
    flat = f"{name}.reshape({shape[0]}, -1)"
    if len(shape) == 3:
        return (
            f"of tokens take the mean, {name}.mean(1), or one, {name}[:, 0] or {name}[:, -1]; all side by side are "
            f"{flat}; and if it is layers, {_for_layers(name)}"
        )
    if len(shape) == 4:
        return (
            f"of maps (n, channels, height, width) take the mean over positions, {name}.mean((2, 3)), or all side by "
            f"side, {flat}"
        )
    return f"pool the features of each sample, or put all side by side: {flat}"


def _for_layers(name: str) -> str:
    return f"gramian.cka_matrix({name}) takes them"


def _one_dimension(name: str, n: int, way: str) -> str:
    return f"{name} must be 2-d (samples by features), got shape ({n},); for {n} samples of one feature use {way}"


def _several(x: object) -> str:
    """What to call many such things."""
    kind = kind_of(x).removeprefix("a ")
    return kind if kind.endswith("s") else f"{kind}s"


def _choices(name: str, keys: Any) -> str:
    listed = [f"{name}[{str(key)!r:.40}]" for key in list(keys)[:_NAMED_COLUMNS]]
    return " or ".join(listed) + (" ..." if len(keys) > _NAMED_COLUMNS else "")


def _is(kind: type, library: Any, name: str) -> bool:
    known = getattr(library, name, None)
    return isinstance(known, type) and issubclass(kind, known)


def _library(kind: type) -> str:
    try:
        return str(kind.__module__).partition(".")[0]
    except Exception:  # a class of its own kind of class
        return ""
