"""Arrays from files, named as ``acts.npy``, ``acts.npz:layer3`` or ``acts.safetensors:layers.3``.

`.npy`, `.safetensors`, `.pt`, the uncompressed members of an `.npz` and the contiguous datasets of an `.h5` are mapped,
not loaded: memory holds the pages in use and no more. Compressed members, `.mat` and `.csv` are unpacked into memory.

A mapped file has to stay as it is while a call reads it: where another program cuts it short, the operating system ends
the process with SIGBUS, which no program can turn into an exception. To replace a file that is in use, write a new one
and rename it over the old one, which leaves the mapped one alive.

Files are not trusted. What a header says is held against the bytes that are there before memory is taken, nothing in a
file is run, and every damage is a ValueError that names the file.
"""

from __future__ import annotations

import ast
import fnmatch
import glob
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from gramian.rows import hdf5, matlab, torch_files
from gramian.rows.arrays import BFloat16Array, Matrix, as_column, as_matrix, tensor_array
from gramian.rows.labels import RowLabels
from gramian.rows.objects import Plain
from gramian.rows.reading import SWOLLEN, UNPACKED_FREELY, listing, natural, printable, reading, shown
from gramian.rows.text import read_csv

FileArray = npt.NDArray[Any] | BFloat16Array
Value = TypeVar("Value")

SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth", ".h5", ".hdf5", ".mat", ".csv")
ALONE = (".npy", ".csv")  # which hold one array, without a name
_SPEC = re.compile(rf"(?P<path>.+?\.(?:{'|'.join(s[1:] for s in SUFFIXES)}))(?::(?P<key>.*))?", re.DOTALL)
# pathlib makes s3:/ of s3://
_REMOTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|(?:s3|s3a|gs|gcs|az|abfs|abfss|adl|hdfs|hf|https?|ftp|sftp|file):/")
_INSTEAD = {
    ".parquet": "pandas.read_parquet gives a DataFrame, which is taken as it is",
    ".feather": "pandas.read_feather gives a DataFrame, which is taken as it is",
    ".tsv": "pandas.read_csv(..., sep='\\t') gives a DataFrame, which is taken as it is",
    ".xlsx": "pandas.read_excel gives a DataFrame, which is taken as it is",
    ".nc": "xarray.open_dataarray gives a DataArray, which is taken as it is",
    ".zarr": "zarr.open gives an array, which is taken as it is",
    ".pkl": "it can run code when it is read; if you trust it, read it yourself and give the array",
    ".pickle": "it can run code when it is read; if you trust it, read it yourself and give the array",
    ".joblib": "it can run code when it is read; if you trust it, read it yourself and give the array",
}
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
# what Python warns of when it parses a header, and no header of an array has: a backslash, and 1or
_WARNED_OF = re.compile(r"\\|[0-9_.](?:and|else|for|if|in|is|not|or)\b")
_LONGEST_HEADER = 10_000  # characters of an .npy header; one of a real array has some 100
_AT_ONCE = 16 << 20  # bytes of a mapped member between two chances for Ctrl-C
_LOCAL_HEADER, _LOCAL_MARK = 30, b"PK\3\4"


def matrix(x: object, name: str, *, column: bool = False) -> Matrix:
    """`arrays.as_matrix` that also takes a path: a str or Path in place of an array is a file.

    With `column`, one dimension is as good as two: n samples of one feature.
    """
    gate = as_column if column else as_matrix
    if not issubclass(type(x), str | os.PathLike):
        return gate(x, name)
    spec = cast("str | os.PathLike[str]", x)
    found = open_rows(spec)
    try:
        return gate(found, name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{os.fspath(spec)}: {error}") from None


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
        ``file.npy``, ``file.csv``, or with a key ``file.npz:key``, ``.safetensors:key``, ``.pt:key``, ``.pth:key``,
        ``.h5:key``, ``.hdf5:key``, ``.mat:key``; the key may be left out if the file holds one array.

    Returns
    -------
    array
        A memory map for ``.npy``, ``.safetensors``, ``.pt``, uncompressed members of an ``.npz`` and contiguous
        datasets of an ``.h5``; an array in memory for all others.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The kind of file is unknown, the file is damaged, or the key is missing or not in it; or a compressed array
        unpacks to more than 256 MB and more than 100 times its size in the file (the message says what to do if that
        is right).
    TypeError
        A tensor of a dtype that is not read.
    ImportError
        A ``.safetensors`` file without the package of that name, a ``.pt`` without torch, an ``.h5`` without h5py.

    Notes
    -----
    Members of an ``.npz`` are read once to hold them against their checksum. A mapped file that another program cuts
    short while it is read ends the process (SIGBUS): replace files by renaming, not by writing into them.
    """
    found = open_rows(spec)
    return cast("FileArray", found.values) if isinstance(found, Plain) else found


def open_rows(spec: str | os.PathLike[str]) -> FileArray | Plain:
    """The same with what the file calls its rows and columns, which a `.csv` may say."""
    path, key = _split(spec)
    if _kind_of(path) == "directory":
        raise ValueError(f"{path} is a directory; name one array in it")
    if path.suffix == ".npy":
        return _map_npy(path)
    if path.suffix == ".csv":
        return _table(path)
    archive = opened(path)
    names = archive.names
    if key is None and len(names) == 1:
        key = names[0]
    if key is None:
        first = printable(min(names, key=natural))
        raise ValueError(f"{path} holds {len(names)} arrays, {listing(names)}; name one of them, as {path}:{first}")
    if key not in names:
        raise ValueError(f"{path} has no array named {key!r}; it holds {listing(names)}")
    return archive.read([key])[key]


def open_layers(
    spec: str | os.PathLike[str], keys: str | Sequence[str] | None = None, name: str | None = None
) -> dict[str, FileArray]:
    """Every layer that `spec` names, in natural order: layer2 before layer10; or those that `keys` choose.

    Parameters
    ----------
    spec : str or Path
        A file with an array for each layer (``.npz``, ``.safetensors``, ``.pt``, ``.h5``, ``.mat``), all of them or
        those of a pattern, ``acts.safetensors:blocks.*.mlp``; a directory with a ``.npy`` for each layer, or a pattern
        of such files, ``acts/*.npy``; or one array of shape (n, layers, features). A single array (n, features) is one
        layer.
    keys : str or list of str, optional
        As in `chosen`; arrays that they leave out are not read.
    name : str, optional
        What messages about keys call the layers; the path if left out.

    Returns
    -------
    dict of str to array
        Layers of one (n, layers, features) array are called layer0, layer1, ... and are views into it.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError, ImportError
        As in `open_array`; also a directory without ``.npy`` files, or a key that is not there.
    """
    text = _text(spec)
    name = name or text
    plain = Path(text)
    if _kind_of(plain) == "directory":
        files = {file.stem: file for file in plain.iterdir() if file.suffix == ".npy"}
        if not files:
            raise ValueError(f"{plain} has no .npy files; a directory of layers has one for each layer")
        return _map_files(files, keys, name)
    if is_pattern(text) and _kind_of(plain) == "nothing" and (files := _matching_files(text)):
        return _map_files(files, keys, name)
    path, key = _split(spec)
    if path.suffix in ALONE:
        return chosen(_layers_of(open_array(spec), path.stem), keys, name)
    archive = opened(path)
    if key is not None and (key in archive.names or not is_pattern(key)):
        return chosen(_layers_of(open_array(spec), key), keys, name)
    names = sorted(archive.names, key=natural)
    if key is not None:
        names = list(chosen(dict.fromkeys(names), key, str(path)))
    if len(names) == 1:
        only = archive.read(names)[names[0]]
        return chosen(_layers_of(only, names[0] or path.stem), keys, name)
    wanted = list(chosen(dict.fromkeys(names), keys, name))
    arrays = archive.read(wanted)
    return {k: arrays[k] for k in wanted}


def _map_files(files: Mapping[str, Path], keys: str | Sequence[str] | None, name: str) -> dict[str, FileArray]:
    found = chosen({stem: files[stem] for stem in sorted(files, key=natural)}, keys, name)
    return {stem: _map_npy(path) for stem, path in found.items()}


def _matching_files(pattern: str) -> dict[str, Path]:
    """Files by their names without the suffix, of a pattern like acts/layer*.npy."""
    paths = [Path(found) for found in glob.glob(pattern) if found.endswith(".npy")]
    files = {path.stem: path for path in paths}
    if len(files) < len(paths):
        raise ValueError(f"{pattern} has two files of one name in different directories; name the layers in a dict")
    return files


def is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?[")


class NoSuchLayer(ValueError):
    """A key chooses nothing of what there is."""


@contextmanager
def keys_of_another(own: str | None) -> Iterator[None]:
    """While keys choose that may have been given for another model: `own` would choose the layers of this one."""
    try:
        yield
    except NoSuchLayer as error:
        hint = f"; {own}= chooses its layers, where names differ" if own else ""
        raise ValueError(f"{error}{hint}") from None


def chosen(found: Mapping[str, Value], keys: str | Sequence[str] | None, name: str) -> dict[str, Value]:
    """The entries that keys choose, in their order: each is a name or a pattern of names, as ``blocks.*.mlp``.

    Raises
    ------
    TypeError, ValueError
        keys is no string or list of strings, or one of them is not there; the message lists what there is.
    """
    if keys is None:
        return dict(found)
    wanted = [keys] if isinstance(keys, str) else list(keys) if isinstance(keys, Sequence) else None
    if wanted is None or not all(isinstance(key, str) for key in wanted):
        raise TypeError(f"keys must be a name or a pattern, or a list of them, got {keys!r:.60}")
    if not wanted:
        raise ValueError(f"keys is empty; {name} has the layers {shown(found)}")
    out: dict[str, Value] = {}
    for key in wanted:
        hits = [key] if key in found else [other for other in found if fnmatch.fnmatchcase(other, key)]
        if not hits:
            raise NoSuchLayer(f"{name} has no layer {key!r:.100}; it has {shown(found)}")
        out.update((hit, found[hit]) for hit in hits)
    return out


def _text(spec: str | os.PathLike[str]) -> str:
    return os.path.expanduser(os.fsdecode(os.fspath(spec)))


def regular_file(spec: str | os.PathLike[str]) -> Path:
    """The path, if a file is there."""
    path = Path(_text(spec))
    found = _kind_of(path)
    if found == "nothing":
        raise FileNotFoundError(f"{path}: no such file")
    if found != "file":
        raise ValueError(f"{path} is {'a directory' if found == 'directory' else 'not a regular file'}")
    return path


def _kind_of(path: Path) -> str:
    """What is there: "file", "directory", "nothing" or "neither"."""
    try:
        return "directory" if path.is_dir() else "file" if path.is_file() else "neither" if path.exists() else "nothing"
    except PermissionError:
        raise
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be the name of a file: {error}") from error


def _split(spec: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """The file and the key; the file exists and its suffix is known."""
    text = _text(spec)
    if _REMOTE.match(text):
        raise ValueError(f"{os.fspath(spec)!s} is not a file of this machine; download it and give its path")
    match = _SPEC.fullmatch(text)
    path, key = Path(text), None
    found = _kind_of(path)
    if match and found == "nothing":
        path, key = Path(match["path"]), match["key"]
        found = _kind_of(path)
    if found == "directory":
        return path, key
    if found == "nothing" and path.suffix in ("", *SUFFIXES):
        raise FileNotFoundError(f"{path}: no such file{_of_pattern(str(path))}")
    if path.suffix not in SUFFIXES:
        hint = f"; {_INSTEAD[path.suffix]}" if path.suffix in _INSTEAD else ""
        raise ValueError(f"{path} is not of a known kind; known are {', '.join(SUFFIXES)}{hint}")
    if found == "neither":
        raise ValueError(f"{path} is not a regular file; copy what it gives to one")
    if key is not None and path.suffix in ALONE:
        raise ValueError(f"{text}: a file of the kind {path.suffix} holds one array and takes no key; use {path}")
    return path, key


def _of_pattern(text: str) -> str:
    """What to do with a name that is a pattern of other files, or of none."""
    if not is_pattern(text):
        return ""
    count = len(glob.glob(text))
    if not count:
        return ", and as a pattern it matches none"
    return f"; as a pattern it names {count} files: name one of them, or join them to one array with np.concatenate"


def _layers_of(array: FileArray, name: str) -> dict[str, FileArray]:
    if array.ndim != 3:
        return {name: array}
    return {f"layer{i}": array[:, i, :] for i in range(array.shape[1])}


@dataclass(frozen=True)
class _NpyHeader:
    """What an .npy says of its array."""

    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]
    length: int  # bytes before the data

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def _map_npy(path: Path) -> FileArray:
    with reading(path) as file:
        header = _npy_header(file.read, os.fstat(file.fileno()).st_size)
        return _mapped(file, header, header.length)


def _npy_header(read: Callable[[int], bytes], size: int) -> _NpyHeader:
    """The header of an .npy of `size` bytes, held against that size."""

    def exactly(count: int) -> bytes:
        found = read(count)
        if len(found) < count:
            raise ValueError("it ends within its header")
        return found

    mark = exactly(8)
    if mark[:6] != b"\x93NUMPY":
        raise ValueError("it does not begin as an .npy file does")
    if mark[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"it is of version {mark[6]}.{mark[7]} of the format; 1.0, 2.0 and 3.0 are known")
    wide = 2 if mark[6] == 1 else 4
    length = int.from_bytes(exactly(wide), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header claims {length} characters")
    text = exactly(length).decode("utf-8" if mark[6] == 3 else "latin-1")
    if _WARNED_OF.search(text):
        raise ValueError("its header is not one of an array")
    try:
        said = ast.literal_eval(text)
    except SyntaxError:
        said = ast.literal_eval(re.sub(r"(?<=[0-9])L\b", "", text))  # Python 2 wrote whole numbers as 5L
    if not isinstance(said, dict) or said.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is not one of an array")
    shape, fortran = said["shape"], said["fortran_order"]
    dtype = np.lib.format.descr_to_dtype(said["descr"])
    if not isinstance(shape, tuple) or not all(type(k) is int and k >= 0 for k in shape):
        raise ValueError(f"its header has the shape {shape!r:.100}")
    if not isinstance(fortran, bool):
        raise ValueError(f"its header has fortran_order {fortran!r:.100}")
    if dtype.hasobject:
        raise ValueError(
            "it holds Python objects, which gramian never loads: they can run code. If you trust it, take the arrays "
            "out of np.load(..., allow_pickle=True) and save them as they are"
        )
    if dtype.itemsize == 0 or dtype.subdtype is not None:
        raise ValueError(f"its header has elements of dtype {dtype}, which no array is saved with")
    header = _NpyHeader(dtype, fortran, shape, 8 + wide + length)
    if header.length + header.nbytes != size:
        raise ValueError(
            f"its header says {header.nbytes} bytes, shape {shape} of {dtype}, but {size - header.length} follow"
        )
    return header


def _mapped(file: IO[bytes], header: _NpyHeader, offset: int) -> FileArray:
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    if header.nbytes == 0:  # no file can be mapped from its end on
        return np.empty(header.shape, header.dtype, order)
    return np.memmap(file, header.dtype, "r", offset, header.shape, order)


def array_names(path: Path) -> list[str]:
    """What a file of several arrays calls them."""
    return opened(path).names


@dataclass(frozen=True)
class Archive:
    """A file of several arrays."""

    names: list[str]
    read: Callable[[Sequence[str]], dict[str, FileArray]]


def opened(path: Path) -> Archive:
    """A file of several arrays, looked into once: .pt is read as it is opened."""
    if path.suffix == ".npz":
        found = Archive(_npz_names(path), partial(_load_npz, path))
    elif path.suffix == ".safetensors":
        found = Archive(list(_safetensors_header(path)[0]), partial(_map_safetensors, path))
    elif path.suffix in (".h5", ".hdf5"):
        found = Archive(hdf5.names(path), partial(hdf5.read, path))
    elif path.suffix == ".mat":
        found = Archive(matlab.names(path), partial(matlab.read, path))
    else:
        tensors = torch_files.tensors(path)
        found = Archive(
            list(tensors), lambda names: {k: tensor_array(tensors[k], f"{path}:{printable(k)}") for k in names}
        )
    if not found.names:
        raise ValueError(f"{path} holds no arrays")
    return found


def _table(path: Path) -> Plain:
    found = read_csv(path)
    return Plain(found.values, None if found.rows is None else RowLabels(found.rows), found.columns)


def _npz_names(path: Path) -> list[str]:
    with reading(path) as file, _archive(file) as archive:
        return [_array_name(member) for member in archive.infolist()]


@contextmanager
def _archive(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not a zip archive")
    with zipfile.ZipFile(file) as archive:
        names = [_array_name(member) for member in archive.infolist()]
        if len(set(names)) < len(names):
            raise ValueError("it holds two arrays of one name")
        file.seek(0, os.SEEK_END)
        if sum(member.compress_size for member in archive.infolist()) > file.tell():
            raise ValueError("its members are longer than all of it")
        yield archive


def _array_name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _load_npz(path: Path, names: Iterable[str]) -> dict[str, FileArray]:
    """Arrays by name: mapped where they lie uncompressed in the file, unpacked if not."""
    return read_npz(path, names, map_stored=True)


def read_npz(path: Path, names: Iterable[str] | None = None, *, map_stored: bool) -> dict[str, FileArray]:
    """Arrays of a zip archive by their names, or all of them, each held against its checksum.

    With `map_stored`, those that are not compressed are mapped; without, all are in memory of their own.
    """
    with reading(path) as file, _archive(file) as archive:
        members = {_array_name(member): member for member in archive.infolist()}
        chosen = {name: members[name] for name in (members if names is None else names)}
        packed = [m for m in chosen.values() if m.compress_type != zipfile.ZIP_STORED]
        _check_swelling(path, packed, os.fstat(file.fileno()).st_size)
        for name, member in chosen.items():
            if not member.filename.endswith(".npy"):
                raise ValueError(f"{path}:{printable(name)} is not an array")
        return {name: _member(file, archive, member, map_stored) for name, member in chosen.items()}


def _check_swelling(path: Path, packed: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Refuse what would fill the memory from a small file, as no array that was saved on purpose does."""
    unpacked = sum(member.file_size for member in packed)
    compressed = min(size, sum(member.compress_size for member in packed))
    if unpacked > max(UNPACKED_FREELY, SWOLLEN * compressed):
        name = printable(_array_name(max(packed, key=lambda member: member.file_size)))
        raise ValueError(
            f"{path}: {compressed} bytes of it would unpack to {unpacked}, more than {SWOLLEN} times as many. If "
            f"{name!r} is as large as that, save it uncompressed, which is mapped and has no limit: "
            f"np.save('{name}.npy', np.load('{path}')['{name}'])"
        )


def _member(file: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo, map_stored: bool) -> FileArray:
    name = _array_name(member)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name!r} is compressed in a way that NumPy does not write")
    with archive.open(member) as stream:
        try:
            header = _npy_header(stream.read, member.file_size)
        except Exception as error:
            raise ValueError(f"{name!r:.100}: {error}") from error
        if map_stored and member.compress_type == zipfile.ZIP_STORED:
            return _mapped_member(file, member, header)
        data = np.empty(header.nbytes, np.uint8)
        filled = 0
        while filled < len(data):
            piece = stream.read(min(_AT_ONCE, len(data) - filled))
            if not piece:
                raise ValueError(f"{name!r} ends after {filled} of {header.nbytes} bytes")
            data[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        if stream.read(1):  # reading up to the end compares the checksum
            raise ValueError(f"{name!r} goes on after its end")
    return data.view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


def _mapped_member(file: IO[bytes], member: zipfile.ZipInfo, header: _NpyHeader) -> FileArray:
    """An uncompressed member where it lies, after a pass over it for its checksum."""
    file.seek(member.header_offset)
    local = file.read(_LOCAL_HEADER)
    begin = member.header_offset + len(local) + sum(int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    if not local.startswith(_LOCAL_MARK) or member.compress_size != member.file_size:
        raise ValueError(f"{_array_name(member)!r} is not where the archive says")
    file.seek(begin)
    checksum, left = 0, member.file_size
    while left:
        piece = file.read(min(left, _AT_ONCE))
        if not piece:
            raise ValueError(
                f"{_array_name(member)!r} ends after {member.file_size - left} of {member.file_size} bytes"
            )
        checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    if checksum != member.CRC:
        raise ValueError(f"{_array_name(member)!r} is damaged: its checksum is not that of its bytes")
    return _mapped(file, header, begin + header.length)


def _safetensors_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """What the file says of each tensor, after the safetensors package has checked the file; and where data begin."""
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(f"{path}: reading .safetensors files needs safetensors: pip install 'gramian[io]'") from error
    with reading(path) as file:
        with safetensors.safe_open(path, framework="numpy"):
            pass
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, dict[str, Any]] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def _map_safetensors(path: Path, names: Iterable[str]) -> dict[str, FileArray]:
    """Maps the tensors where they lie: the package itself would copy them, and has no bfloat16 for NumPy."""
    header, data = _safetensors_header(path)
    for name in names:
        if header[name]["dtype"] not in _SAFETENSORS_DTYPES:
            raise TypeError(
                f"{path}:{printable(name)} has dtype {header[name]['dtype']}; convert it to BF16 or a wider real type"
            )
    with reading(path) as file:
        return {name: _map_tensor(file, header[name], data) for name in names}


def _map_tensor(file: IO[bytes], entry: dict[str, Any], data: int) -> FileArray:
    dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]])
    begin, end = entry["data_offsets"]
    header = _NpyHeader(dtype, False, tuple(entry["shape"]), 0)
    if header.nbytes != end - begin:
        raise ValueError(f"shape {header.shape} of {entry['dtype']} takes {header.nbytes} bytes, not {end - begin}")
    mapped = cast("npt.NDArray[Any]", _mapped(file, header, data + begin))
    return BFloat16Array(mapped) if entry["dtype"] == "BF16" else mapped
