"""Datasets of HDF5: mapped where they lie in one piece, read where they do not. h5py is imported to open a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gramian.rows.reading import check_size, printable, reading

Values = npt.NDArray[Any]


def names(path: Path) -> list[str]:
    """Every dataset of a file by its path in it, ``group/dataset``."""
    h5py = _h5py(path)
    with reading(path), h5py.File(path, "r") as file:
        found: list[str] = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        return found


def read(path: Path, wanted: Iterable[str]) -> dict[str, Any]:
    """Datasets by name; they outlive the file."""
    h5py = _h5py(path)
    with reading(path), h5py.File(path, "r") as file:
        found = {}
        for name in wanted:
            dataset = file[name]
            if not isinstance(dataset, h5py.Dataset):
                raise TypeError(f"{path}:{printable(name)} is a group, not an array")
            check_numbers(dataset, f"{path}:{printable(name)}")
            found[name] = values(dataset, path, name)
        return found


def values(dataset: Any, path: Path, name: str) -> Values:
    """A dataset of an open file as an array; the file's own bytes where they are one piece, unpacked if not."""
    offset = dataset.id.get_offset()
    stored, claimed = int(dataset.id.get_storage_size()), int(dataset.nbytes)
    file = dataset.file
    plain = file.mode == "r" and file.driver == "sec2" and not dataset.external
    if plain and offset is not None and claimed and stored == claimed:
        return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
    check_size(path, name, claimed, stored)
    return np.asarray(dataset[()])


def check_numbers(dataset: Any, name: str) -> None:
    """Raise TypeError for strings and references, which would be read as Python objects."""
    if dataset.shape is None or dataset.dtype.kind == "O":
        what = "nothing" if dataset.shape is None else f"{dataset.dtype} of HDF5"
        raise TypeError(f"{name} must hold real numbers, got {what}")


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path}: reading {path.suffix} files needs h5py: pip install 'gramian[hdf5]'") from error
    return h5py
