"""Files of statistics: how gramian saves values that are to be added or used later, and holds them against damage.

A file is a zip archive of `.npy` members, as `numpy.savez` writes it, with one member more: a JSON text that names the
format, its version, what kind of statistics these are, their plain values, and the SHA-256 of everything. Sums that
are added across machines have no redundancy that would show a changed byte, so nothing is believed before that agrees.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gramian.rows.sources import read_npz, regular_file

Arrays = Mapping[str, npt.NDArray[Any]]
Value = TypeVar("Value")

FORMAT, VERSION = "gramian statistics", 1
_MANIFEST = "manifest"
# what loads files of each kind
_READERS = {
    "a result": "gramian.load",
    "FeatureMoments": "gramian.FeatureMoments.load",
    "GramMoments": "gramian.GramMoments.load",
}
_OF_0_1_0 = {"header", "feature_moments"}  # members that files of 0.1.0 have in its place


def save(path: str | os.PathLike[str], kind: str, values: Mapping[str, Any], arrays: Arrays) -> None:
    """Write plain values and arrays to one file, by way of a temporary one beside it; all of it or none."""
    written = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    manifest = {"format": FORMAT, "version": VERSION, "kind": kind, "values": json.dumps(values)}
    manifest["checksum"] = checksum(manifest, written)
    with replacing(path) as partial, open(partial, "xb") as file:
        np.savez(file, allow_pickle=False, **{_MANIFEST: np.array(json.dumps(manifest)), **written})


def load(
    path: str | os.PathLike[str], kind: str, make: Callable[[dict[str, Any], dict[str, npt.NDArray[Any]]], Value]
) -> Value:
    """`make` of the values and arrays that `save` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, is of another kind or version, or `make` refuses what is in it; the file is named.
    """
    where = regular_file(path)
    reads = f"{_reader(kind)} reads what save wrote"
    try:
        arrays = read_npz(where, map_stored=False)
    except ValueError as error:
        raise ValueError(f"{error}; {reads}") from error
    if _MANIFEST not in arrays:
        found = _OF_0_1_0 & arrays.keys()
        old = "; it may be of gramian 0.1.0, whose files have no checksum: compute these statistics again and save them"
        raise ValueError(f"{where} does not hold {kind}{old if found else f'; {reads}'}")
    text = np.asarray(arrays.pop(_MANIFEST))
    try:
        manifest = json.loads(str(text[()]))
        named = manifest["format"], manifest["version"], manifest["kind"], manifest["checksum"], manifest["values"]
    except Exception as error:  # the bytes of the text are whatever they are
        raise ValueError(f"{where} does not hold {kind}: its manifest cannot be read") from error
    if named[0] != FORMAT:
        raise ValueError(f"{where} does not hold {kind}")
    if named[1] != VERSION:
        raise ValueError(
            f"{where} is of version {named[1]!r:.20} of the format, this gramian knows version {VERSION}: "
            "compute these statistics again, or load them with the gramian that saved them"
        )
    content = {name: np.asarray(array) for name, array in arrays.items()}
    if named[3] != checksum(manifest, content):
        raise ValueError(f"{where} is damaged or was changed: its content does not have the checksum that was saved")
    if named[2] != kind:
        other = f"; {_reader(named[2])} reads it" if isinstance(named[2], str) and named[2] in _READERS else ""
        raise ValueError(f"{where} does not hold {kind} but {named[2]!r:.50}{other}")
    try:
        return make(json.loads(named[4]), content)
    except Exception as error:  # a file that was made on purpose can hold anything
        said = f"{'' if isinstance(error, ValueError) else f'{type(error).__name__}: '}{error}"
        raise ValueError(f"{where} does not hold {kind}: {' '.join(said.split())[:200]}") from error


def _reader(kind: str) -> str:
    return _READERS.get(kind, "load")


def checked(arrays: Arrays, name: str, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array of that name, if it is of that dtype and shape."""
    array = arrays[name]
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not {dtype} of shape {shape}")
    return array


def only(arrays: Arrays, names: set[str]) -> None:
    """Raise unless these arrays are there, and no others."""
    if missing := names - arrays.keys():
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    if extra := arrays.keys() - names:
        raise ValueError(f"it also holds {', '.join(sorted(extra))}")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name beside `path` to write to; on leaving it becomes `path`, in one step, or is gone after an exception.

    Raises
    ------
    OSError
        IsADirectoryError, FileNotFoundError, PermissionError and others, naming `path`.
    """
    target = Path(os.fsdecode(os.fspath(path)))
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a directory; give the name of a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no directory {target.parent}")
    partial = target.with_name(f"{target.stem}.{secrets.token_hex(4)}.partial{target.suffix}")
    try:
        yield partial
        os.replace(partial, target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename == os.fspath(partial):  # a name that nobody knows
            raise type(error)(error.errno, error.strerror, os.fspath(target)) from None
        raise


def checksum(manifest: Mapping[str, Any], arrays: Arrays) -> str:
    """SHA-256 of all there is, each part after its length."""
    digest = hashlib.sha256()

    def add(part: bytes | memoryview) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    for name in sorted(manifest.keys() - {"checksum"}):
        add(name.encode())
        add(json.dumps(manifest[name]).encode())
    for name in sorted(arrays):
        array = arrays[name]
        add(name.encode())
        add(f"{array.dtype.str} {array.shape}".encode())
        add(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
