"""Results in files, and back with the same bits.

The container is that of statistics: arrays as they are, and a text with the types, fields and plain values, all under
one checksum. Nothing but results, and the values that they are made of, can come out of a file.
"""

from __future__ import annotations

import math
import os
import struct
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from gramian import _core
from gramian.kernels import KERNELS, with_bandwidth
from gramian.rows import statistics_files
from gramian.rows.arrays import BFloat16Array, Matrix, as_matrix
from gramian.words import public

T = TypeVar("T")
Arrays = dict[str, npt.NDArray[Any]]

VERSION = 1
_WHAT = "a result"
_OTHER_FORMATS = {".json": "json.dumps(result.to_dict())", ".csv": "result.to_pandas().to_csv(...)"}
_STORABLE: dict[str, type] = {k.__name__: k for k in KERNELS.values()}
# where types live that the package itself does not name
_HOMES = ("theory.bounds", "theory.lipschitz", "stitching.kernel_ridge", "stitching.layers")


def storable(cls: type[T]) -> type[T]:
    """A frozen dataclass that files know by its name."""
    known = _STORABLE.setdefault(cls.__name__, cls)
    assert known is cls or known.__module__ == cls.__module__, f"{cls.__name__} is {known.__module__}'s already"
    _STORABLE[cls.__name__] = cls
    return cls


def save(result: object, path: str | os.PathLike[str]) -> None:
    """Write a result to one file; all of it or none."""
    suffix = os.path.splitext(os.fspath(path))[1]
    if suffix in _OTHER_FORMATS:
        raise ValueError(
            f"save writes files that load reads again, in a format of its own (.npz, say), not {suffix}; "
            f"{_OTHER_FORMATS[suffix]} gives that"
        )
    arrays: Arrays = {}
    values = {
        "gramian": _core.__version__,
        "version": VERSION,
        "result": _written(result, type(result).__name__, arrays),
    }
    statistics_files.save(path, _WHAT, values, arrays)


@public
def load(path: str | os.PathLike[str]) -> Any:
    """The result that a file holds, of the type that it was saved as.

    Parameters
    ----------
    path : str or Path
        What ``result.save(path)`` wrote.

    Returns
    -------
    result
        Equal to the saved one, bit for bit. ``Estimate.load`` and the others also check that it is of their type.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged or was changed, holds no result, or one of another version; the message names the file.

    Notes
    -----
    Reads the file once, and checks it against its checksum. No code comes out of a file: only results, kernels,
    numbers, strings and arrays.

    Examples
    --------
    >>> import tempfile, numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> saved = gm.alignment(X, X**2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved.save(f"{folder}/alignment.npz")
    ...     found = gm.load(f"{folder}/alignment.npz")
    >>> found == saved, found.provenance.matches(X=X)
    (True, True)
    """
    return statistics_files.load(path, _WHAT, _made)


def load_as(path: str | os.PathLike[str], cls: type[T]) -> T:
    """The same, of this type."""

    def make(values: dict[str, Any], arrays: Arrays) -> T:
        found = _made(values, arrays)
        if not isinstance(found, cls):
            raise ValueError(
                f"what it holds is of type {type(found).__name__}, not {cls.__name__}; gramian.load reads any"
            )
        return found

    return statistics_files.load(path, _WHAT, make)


# ---- to plain values and arrays --------------------------------------------------------------------------------------


def _written(value: Any, where: str, arrays: Arrays) -> Any:
    """`value` as JSON has it; arrays go into `arrays`. A list or a dict in JSON always says what it stands for."""
    if isinstance(value, float | np.floating) and not isinstance(value, np.longdouble):
        number = float(value)
        return number if math.isfinite(number) else {"float": struct.pack(">d", number).hex()}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | np.bool_ | np.integer):
        return value.item() if isinstance(value, np.generic) else int(value)
    if isinstance(value, Matrix):
        return _stored_rows(value, arrays)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {"array": _stored(value, arrays)}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_written(item, f"{where}[{i}]", arrays) for i, item in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key), _written(item, f"{where}[{key!r}]", arrays)] for key, item in value.items()]}
    name = type(value).__name__
    if is_dataclass(value) and _STORABLE.get(name) is type(value):
        found = {f.name: _written(getattr(value, f.name), f"{where}.{f.name}", arrays) for f in fields(value)}
        return {"type": name, "fields": found}
    raise TypeError(f"{where} is {name}, which save has no way to write; pickle may have one")


def _stored(array: npt.NDArray[Any], arrays: Arrays) -> str:
    name = f"array{len(arrays)}"
    arrays[name] = array
    return name


def _stored_rows(x: Matrix, arrays: Arrays) -> dict[str, str]:
    """Rows of a device as float64 of the host, which holds all their values."""
    data = x.block(0, x.n) if x.data is None else x.data
    return {"rows": _stored(data, arrays), "dtype": "float64" if x.data is None else x.dtype}


# ---- and back --------------------------------------------------------------------------------------------------------


def _made(values: dict[str, Any], arrays: Arrays) -> Any:
    if values["version"] != VERSION:
        raise ValueError(
            f"it is of version {values['version']!r:.20} of the format of results, this gramian knows {VERSION}"
        )
    names = list(arrays)
    found = _read(values["result"], arrays, str(values["gramian"]))
    if arrays:
        raise ValueError(f"nothing in it is of {', '.join(map(repr, sorted(arrays)))} of {names}")
    if not hasattr(found, "save"):
        raise ValueError(f"what it holds is {type(found).__name__}")
    return found


def _read(value: Any, arrays: Arrays, version: str) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise ValueError("it has a list that does not say what it stands for")
        return value
    match value:
        case {"float": str(bits), **rest} if not rest:
            return struct.unpack(">d", bytes.fromhex(bits))[0]
        case {"array": str(name), **rest} if not rest:
            return arrays.pop(name)
        case {"rows": str(name), "dtype": str(dtype), **rest} if not rest:
            rows = arrays.pop(name)
            return as_matrix(BFloat16Array(rows) if dtype == "bfloat16" else rows, "rows")
        case {"tuple": list(items), **rest} if not rest:
            return tuple(_read(item, arrays, version) for item in items)
        case {"list": list(items), **rest} if not rest:
            return [_read(item, arrays, version) for item in items]
        case {"dict": list(items), **rest} if not rest:
            return {str(key): _read(item, arrays, version) for key, item in items}
        case {"type": str(name), "fields": dict(given), **rest} if not rest:
            return _constructed(name, {key: _read(item, arrays, version) for key, item in given.items()}, version)
    raise ValueError(f"it has values of no known kind: {', '.join(map(repr, value)):.60}")


def _constructed(name: str, given: dict[str, Any], version: str) -> Any:
    cls = _found(name)
    if cls is None:
        raise ValueError(
            f"this gramian, {_core.__version__}, has no type {name!r:.50} that files can hold (saved by {version:.20})"
        )
    expected = {f.name for f in fields(cls)}
    if given.keys() != expected:
        other = sorted(given.keys() ^ expected)
        raise ValueError(
            f"{name} of the gramian that saved it, {version:.20}, and of this one, {_core.__version__}, differ in "
            f"{', '.join(other)}"
        )
    hints = get_type_hints(cls)
    for field, value in given.items():
        if not fits(value, hints[field]):
            raise ValueError(f"{name}.{field} cannot be a {type(value).__name__} like the one in it")
    return _kernel(cls, given) if cls in KERNELS.values() else cls(**given)


def _kernel(cls: Any, given: dict[str, Any]) -> Any:
    """nan is the bandwidth of rows that are all the same, which nobody can ask for."""
    undefined = isinstance(given.get("bandwidth"), float) and math.isnan(given["bandwidth"])
    return with_bandwidth(cls(**(given | {"bandwidth": None})), math.nan) if undefined else cls(**given)


def _found(name: str) -> Any:
    """The type of that name; the module of a public one is loaded for it."""
    if name not in _STORABLE:
        package = import_module("gramian")
        if name in package.__all__:
            getattr(package, name)
        else:
            for home in _HOMES:
                import_module(f"gramian.{home}")
    return _STORABLE.get(name)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what a field is declared to be."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is Literal:
        return isinstance(value, str | int) and value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1:] == (Ellipsis,):
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(fits(item, arguments[1]) for item in value.values())
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(fits(item, arguments[0]) for item in value)
    if origin is np.ndarray:
        wanted = get_args(arguments[1])[0]
        return isinstance(value, np.ndarray) and (
            wanted is Any or issubclass(value.dtype.type, get_origin(wanted) or wanted)
        )
    if hint is float or hint is int:
        return isinstance(value, float | int if hint is float else int) and not isinstance(value, bool)
    return isinstance(value, type(None) if hint is None else hint)
