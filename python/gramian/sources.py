"""Arrays from files, named as ``acts.npy``, ``acts.npz:layer3`` or ``acts.safetensors:layers.3``.

`.npy` and `.safetensors` are mapped, not loaded: memory holds the pages in use and no more. An `.npz` is a zip archive
and is read into memory.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gramian.arrays import BFloat16Array, Matrix, as_matrix

FileArray = npt.NDArray[Any] | BFloat16Array

SUFFIXES = (".npy", ".npz", ".safetensors")
_SPEC = re.compile(r"(?P<path>.+?\.(?:npy|npz|safetensors))(?::(?P<key>.*))?", re.DOTALL)
_SAFETENSORS_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}


def matrix(x: object, name: str, *, column: bool = False) -> Matrix:
    """`arrays.as_matrix` that also takes a path: a str or Path in place of an array is a file.

    With `column`, one dimension is as good as two: n samples of one feature.
    """
    if not isinstance(x, str | os.PathLike):
        return as_matrix(_column(x) if column else x, name)
    array = open_array(x)
    try:
        return as_matrix(_column(array) if column else array, name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{os.fspath(x)}: {error}") from None


def _column(x: Any) -> Any:
    arrays = isinstance(x, BFloat16Array) or hasattr(x, "__dlpack__")
    return x[:, None] if arrays and len(getattr(x, "shape", ())) == 1 else x


def named_layers(layers: object, name: str) -> dict[str, object]:
    """What is given by layer, by its name or by its number."""
    if isinstance(layers, Mapping):
        if len({str(k) for k in layers}) < len(layers):
            raise ValueError(f"{name} has two layers of one name: {', '.join(map(repr, layers))}")
        found = {str(k): v for k, v in layers.items()}
    elif isinstance(layers, Sequence) and not isinstance(layers, str | bytes):
        found = {str(i): v for i, v in enumerate(layers)}
    else:
        raise TypeError(f"{name} must be a dict of layers or a sequence of them, got {type(layers).__name__}")
    if not found:
        raise ValueError(f"{name} has no layers")
    return found


def open_array(spec: str | os.PathLike[str]) -> FileArray:
    """The one array that `spec` names.

    Parameters
    ----------
    spec : str or Path
        ``file.npy``, ``file.npz:key`` or ``file.safetensors:key``; the key may be left out if the file holds one array.

    Returns
    -------
    array
        A read-only memory map for ``.npy`` and ``.safetensors``, an array in memory for ``.npz``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The kind of file is unknown, the file is damaged, or the key is missing or not in it.
    ImportError
        A ``.safetensors`` file without the package of that name.
    """
    path, key = _split(spec)
    if path.is_dir():
        raise ValueError(f"{path} is a directory; name one array in it")
    if path.suffix == ".npy":
        return _map_npy(path)
    names = array_names(path)
    if key is None and len(names) == 1:
        key = names[0]
    if key is None:
        raise ValueError(f"{path} holds {len(names)} arrays; name one of them, as in {path}:{_listing(names)}")
    if key not in names:
        raise ValueError(f"{path} has no array named {key!r}; it holds {_listing(names)}")
    return _read(path, [key])[key]


def open_layers(spec: str | os.PathLike[str]) -> dict[str, FileArray]:
    """Every layer that `spec` names, in natural order: layer2 before layer10.

    Parameters
    ----------
    spec : str or Path
        An ``.npz`` or ``.safetensors`` with an array for each layer, a directory with a ``.npy`` for each layer, or one
        array of shape (n, layers, features). A single array (n, features) is one layer.

    Returns
    -------
    dict of str to array
        Layers of one (n, layers, features) array are called layer0, layer1, ... and are views into it.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        As in `open_array`; also a directory without ``.npy`` files.
    """
    plain = Path(os.path.expanduser(spec))
    if plain.is_dir():
        files = {file.stem: file for file in plain.iterdir() if file.suffix == ".npy"}
        if not files:
            raise ValueError(f"{plain} has no .npy files; a directory of layers has one for each layer")
        return {name: _map_npy(files[name]) for name in sorted(files, key=_natural)}
    path, key = _split(spec)
    if path.suffix == ".npy" or key is not None:
        return _layers_of(open_array(spec), key or path.stem)
    names = sorted(array_names(path), key=_natural)
    arrays = _read(path, names)
    return _layers_of(arrays[names[0]], names[0]) if len(names) == 1 else arrays


def _split(spec: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The file and the key; the file exists and its suffix is known."""
    text = os.path.expanduser(os.fspath(spec))
    match = _SPEC.fullmatch(text)
    path, key = Path(text), None
    if match and not path.exists():
        path, key = Path(match["path"]), match["key"]
    if path.is_dir():
        return path, key
    if not path.exists() and path.suffix in ("", *SUFFIXES):
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is not of a known kind; known are {', '.join(SUFFIXES)}")
    if key is not None and path.suffix == ".npy":
        raise ValueError(f"{text}: an .npy file holds one array and takes no key; use {path}")
    return path, key


def _layers_of(array: FileArray, name: str) -> dict[str, FileArray]:
    if array.ndim != 3:
        return {name: array}
    return {f"layer{i}": array[:, i, :] for i in range(array.shape[1])}


def _map_npy(path: Path) -> FileArray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise _damaged(path, error) from error


def array_names(path: Path) -> list[str]:
    """What an ``.npz`` or ``.safetensors`` file calls its arrays."""
    names = list(_safetensors_header(path)) if path.suffix == ".safetensors" else _npz_names(path)
    if not names:
        raise ValueError(f"{path} holds no arrays")
    return names


def _read(path: Path, names: Iterable[str]) -> dict[str, FileArray]:
    return _map_safetensors(path, names) if path.suffix == ".safetensors" else _load_npz(path, names)


def _npz_names(path: Path) -> list[str]:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, ValueError("it is not a zip archive"))
    with np.load(path, allow_pickle=False) as archive:
        return list(archive.files)


def _load_npz(path: Path, names: Iterable[str]) -> dict[str, FileArray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in names}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # any other file in the archive comes as its bytes
            raise ValueError(f"{path}:{name} is not an array")
    return arrays


def _safetensors_header(path: Path) -> dict[str, dict[str, Any]]:
    """What the file says of each tensor, after the safetensors package has checked the file."""
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(f"{path}: reading .safetensors files needs safetensors: pip install 'gramian[io]'") from error
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from error
    with open(path, "rb") as file:
        header: dict[str, dict[str, Any]] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return header


def _map_safetensors(path: Path, names: Iterable[str]) -> dict[str, FileArray]:
    """Maps the tensors where they lie: the package itself would copy them, and has no bfloat16 for NumPy."""
    header = _safetensors_header(path)
    with open(path, "rb") as file:
        data = 8 + int.from_bytes(file.read(8), "little")
    return {name: _map_tensor(path, name, header[name], data) for name in names}


def _map_tensor(path: Path, name: str, entry: dict[str, Any], data: int) -> FileArray:
    dtype = _SAFETENSORS_DTYPES.get(entry["dtype"])
    if dtype is None:
        raise TypeError(f"{path}:{name} has dtype {entry['dtype']}; convert it to BF16 or a wider real type")
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if begin == end:
        return np.empty(shape, dtype)
    mapped = np.memmap(path, dtype, mode="r", offset=data + begin, shape=shape)
    return BFloat16Array(mapped) if entry["dtype"] == "BF16" else mapped


def _natural(name: str) -> list[str | int]:
    """Digits compare as numbers: odd places of the split are always digits."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def _listing(names: list[str]) -> str:
    shown = sorted(names, key=_natural)
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read as {path.suffix}: {error}")
