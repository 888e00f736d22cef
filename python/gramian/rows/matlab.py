"""Files of MATLAB, as ``acts.mat:X``: those of version 5 to 7 by a reader of our own, those of 7.3, which are HDF5.

SciPy reads them too, but ends the process on some damaged ones; here every length is held against the bytes there are.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gramian.rows import hdf5
from gramian.rows.reading import check_size, printable, reading

_HEADER = 128
_IS_HDF5 = 0x0200  # the version in the header of a file of MATLAB 7.3
_MATRIX, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_SPARSE = 5
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x0800
_BEGINNING = 4096  # bytes of a compressed variable that hold its name and shape
_WORD = 8  # bytes that elements are padded to


@dataclass(frozen=True)
class _Variable:
    name: str
    kind: int  # MATLAB's class of it
    is_complex: bool
    shape: tuple[int, ...]
    begin: int  # of its numbers, in its bytes
    stored: int  # bytes in the file
    content: Callable[[int], bytes]  # that many of its bytes, or all of them


def names(path: Path) -> list[str]:
    """The variables that are numbers, sparse ones too, which `read` refuses in words."""
    if _is_hdf5(path):
        return [name for name in hdf5.names(path) if not name.startswith("#")]
    with reading(path) as file:
        return [v.name for v in _variables(file.read()) if v.kind in _CLASSES or v.kind == _SPARSE]


def read(path: Path, wanted: Iterable[str]) -> dict[str, Any]:
    """Variables by name. Those of MATLAB 7.3 lie in HDF5, transposed."""
    listed = list(wanted)
    if _is_hdf5(path):
        return {name: array.T for name, array in hdf5.read(path, listed).items()}
    with reading(path) as file:
        data = file.read()
        found = {v.name: v for v in _variables(data) if v.name in listed}
        return {name: _values(found[name], path, _order(data)) for name in listed}


def _is_hdf5(path: Path) -> bool:
    with reading(path) as file:
        header = file.read(_HEADER)
        return len(header) == _HEADER and int.from_bytes(header[124:126], _order(header)) == _IS_HDF5


def _order(data: bytes) -> Any:
    if data[126:128] == b"IM":
        return "little"
    if data[126:128] == b"MI":
        return "big"
    raise ValueError("it is no file of MATLAB of version 5 or later; save it there again with -v7")


def _variables(data: bytes) -> Iterator[_Variable]:
    order = _order(data)
    seen = set()
    at = _HEADER
    while at < len(data):
        kind, begin, size = _tag(data, at, order)
        if begin + size > len(data):
            raise ValueError(f"it ends within a variable, after {len(data) - begin} of {size} bytes")
        body = data[begin : begin + size]
        at = begin + size
        if kind == _COMPRESSED:
            content = _unpacking(body)
            outer, inner, length = _tag(content(_BEGINNING), 0, order)
            if outer == _MATRIX:
                variable = _variable(content, inner, inner + length, size, order)
            kind = outer
        elif kind == _MATRIX:
            variable = _variable(_plain(body), 0, size, size, order)
        if kind != _MATRIX or not variable.name:
            continue  # what MATLAB keeps for itself
        if variable.name in seen:
            raise ValueError(f"it holds two variables of the name {printable(variable.name)}")
        seen.add(variable.name)
        yield variable


def _plain(body: bytes) -> Callable[[int], bytes]:
    return lambda count: body[:count]


def _unpacking(body: bytes) -> Callable[[int], bytes]:
    def unpack(count: int) -> bytes:
        stream = zlib.decompressobj()
        found = stream.decompress(body, count)
        if len(found) < count and not stream.eof:
            raise ValueError("a compressed variable ends too early")
        return found

    return unpack


def _tag(data: bytes, at: int, order: Any) -> tuple[int, int, int]:
    """The kind of an element, where its bytes begin, and how many they are."""
    if at + _WORD > len(data):
        raise ValueError("it ends within the description of a variable")
    first = int.from_bytes(data[at : at + 4], order)
    if first >> 16:  # up to four bytes lie within the tag
        if first >> 16 > 4:
            raise ValueError("a small element is larger than its place")
        return first & 0xFFFF, at + 4, first >> 16
    return first, at + _WORD, int.from_bytes(data[at + 4 : at + _WORD], order)


def _variable(content: Callable[[int], bytes], begin: int, end: int, stored: int, order: Any) -> _Variable:
    data = content(begin + _BEGINNING)
    _, flags_at, _ = _tag(data, begin, order)
    flags = int.from_bytes(data[flags_at : flags_at + 4], order)
    kind, sizes_at, length = _tag(data, flags_at + _WORD, order)
    sizes = data[sizes_at : sizes_at + length]
    if kind != 5 or length % 4 or len(sizes) < length or not 8 <= length <= 4 * 64:
        raise ValueError("a variable has no shape")
    shape = tuple(np.frombuffer(sizes, "<i4" if order == "little" else ">i4").tolist())
    _, name_at, length = _tag(data, _padded(sizes_at, length), order)
    name = data[name_at : name_at + length].decode("latin-1")
    if min(shape) < 0 or len(name) < length:
        raise ValueError("a variable has no shape or name")
    numbers = _padded(name_at, length)

    def whole(count: int) -> bytes:
        return content(count if count < end else end + 1)  # beyond its end a stream has to show its checksum

    return _Variable(name, flags & 0xFF, bool(flags & _COMPLEX), shape, numbers, stored, whole)


def _padded(at: int, length: int) -> int:
    """Where the element after this one begins: with its tag it takes whole words."""
    return -(-(at + length) // _WORD) * _WORD


def _values(v: _Variable, path: Path, order: Any) -> npt.NDArray[Any]:
    if v.kind == _SPARSE:
        way = f"in MATLAB, full({printable(v.name)}) makes a dense one"
        raise TypeError(f"{path}:{printable(v.name)} is a sparse matrix; {way}")
    if v.is_complex:
        raise TypeError(f"{path}:{printable(v.name)} must hold real numbers, got complex ones")
    count = math.prod(v.shape)
    check_size(path, v.name, count * np.dtype(_CLASSES[v.kind]).itemsize, v.stored)
    kind, begin, size = _tag(v.content(v.begin + _WORD), v.begin, order)
    if kind not in _STORED:
        raise ValueError(f"{printable(v.name)} has numbers of the unknown kind {kind}")
    dtype = np.dtype(("<" if order == "little" else ">") + _STORED[kind])
    if size != count * dtype.itemsize:
        raise ValueError(f"{printable(v.name)} has {size} bytes for {count} numbers of {dtype}")
    data = v.content(begin + size + _WORD)[begin : begin + size]
    if len(data) < size:
        raise ValueError(f"{printable(v.name)} ends after {len(data)} of {size} bytes")
    with np.errstate(all="ignore"):
        return np.frombuffer(data, dtype).astype(_CLASSES[v.kind]).reshape(v.shape, order="F")
