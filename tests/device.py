"""Arrays on a GPU that may not be there.

`Export` makes DLPack capsules by hand, so that they can say what no library would. `DeviceArray` is an array on cuda:0
for whoever asks it, though its memory is the host's. `emulated` runs the package on a compiled module whose GPU is
emulated: there such an array is as good as a real one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

import gramian.rows.arrays
import gramian.sweeps.gram
import gramian.sweeps.products
import gramian.sweeps.represent
import gramian.system
from gramian.rows.arrays import Matrix, as_matrix

CPU, CUDA, PINNED, MANAGED = 1, 2, 3, 13
FLOAT, BFLOAT = 2, 4
CALLERS = (  # the modules that call `_core`
    gramian.rows.arrays,
    gramian.sweeps.gram,
    gramian.sweeps.products,
    gramian.sweeps.represent,
    gramian.system,
)


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_index", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class ManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class VersionedTensor(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


_exported: dict[int, Export] = {}  # what a reader may still look at, by address


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _delete(address: int) -> None:
    _exported.pop(address).deleted += 1  # a second call is a KeyError, which pytest reports


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _destroy(capsule: int) -> None:
    """What a producer does with a capsule that nobody has read."""
    for name in (b"dltensor", b"dltensor_versioned"):
        if ctypes.pythonapi.PyCapsule_IsValid(ctypes.c_void_p(capsule), name):
            _delete(ctypes.pythonapi.PyCapsule_GetPointer(ctypes.c_void_p(capsule), name))


ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
ctypes.pythonapi.PyCapsule_New.restype = ctypes.py_object


class Export:
    """An array as a tensor of DLPack; what is named differs from what the array says."""

    def __init__(
        self,
        x: np.ndarray,
        device: tuple[int, int] = (CPU, 0),
        *,
        version: int | None = None,
        compact: bool = False,
        **said: Any,
    ) -> None:
        self.x = x
        self.deleted = 0
        bfloat16 = x.dtype.name == "bfloat16"
        code = BFLOAT if bfloat16 else {"f": FLOAT, "i": 0, "u": 1, "b": 6, "c": 5}[x.dtype.kind]
        steps = [stride // x.itemsize for stride in x.strides]
        fields: dict[str, Any] = {
            "data": x.ctypes.data,
            "device_type": device[0],
            "device_index": device[1],
            "ndim": x.ndim,
            "code": code,
            "bits": 8 * x.itemsize,
            "lanes": 1,
            "shape": (ctypes.c_int64 * x.ndim)(*x.shape),
            "strides": None if compact else (ctypes.c_int64 * x.ndim)(*steps),
            "byte_offset": 0,
        }
        deleter = ctypes.cast(_delete, ctypes.c_void_p)
        tensor = Tensor(**fields | said)
        if version is None:
            self.name = b"dltensor"
            self.managed: Any = ManagedTensor(tensor=tensor, deleter=deleter)
        else:
            self.name = b"dltensor_versioned"
            self.managed = VersionedTensor(major=version, minor=0, deleter=deleter, tensor=tensor)

    def capsule(self) -> Any:
        address = ctypes.addressof(self.managed)
        _exported[address] = self
        return ctypes.pythonapi.PyCapsule_New(ctypes.c_void_p(address), self.name, _destroy)


class DeviceArray:
    """An array that says it lies on a CUDA device; `asked` is what its reader asked for."""

    def __init__(self, x: np.ndarray, device: tuple[int, int] = (CUDA, 0)) -> None:
        self.x, self.place = x, device
        self.asked: dict[str, Any] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape

    @property
    def dtype(self) -> np.dtype:
        return self.x.dtype

    def astype(self, dtype: Any) -> DeviceArray:
        return DeviceArray(self.x.astype(dtype), self.place)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
        self.asked = {"stream": stream, "max_version": max_version}
        return Export(self.x, self.place, version=1 if max_version else None).capsule()


@contextmanager
def emulated(core: Any) -> Iterator[Callable[[Any], Matrix]]:
    """The package on a compiled module with an emulated GPU; gives what puts an array there."""
    patches = [patch.object(module, "_core", core) for module in CALLERS]
    for p in patches:
        p.start()
    try:
        yield on_device
    finally:
        for p in patches:
            p.stop()


def on_device(x: np.ndarray, name: str = "X") -> Matrix:
    """An array on cuda:0, through the gate."""
    found = as_matrix(DeviceArray(x), name)
    assert found.device == "cuda:0"
    return found
