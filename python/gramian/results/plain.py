"""Results as plain values: out of what strict JSON knows, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gramian.kernels import KERNELS, Kernel

_KERNELS = tuple(KERNELS.values())


def is_kernel(value: object) -> bool:
    return isinstance(value, _KERNELS)


def plain(value: Any) -> Any:
    """`value` as dicts, lists, strings and numbers; what is not finite, which JSON has no number for, is None.

    Arrays become lists of lists, a kernel its name beside its parameters, and another result its own `to_dict`.
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if is_kernel(value):
        return {"name": value.name, **plain({f.name: getattr(value, f.name) for f in fields(value)})}
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def _array(values: npt.NDArray[Any]) -> Any:
    missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    if missing.any():
        values = values.astype(object)
        values[missing] = None
    return values.tolist()


def kernel_text(kernel: Kernel) -> str:
    """Name and parameters with four digits, as a table shows them."""
    given = ", ".join(f"{f.name}={getattr(kernel, f.name):.4g}" for f in fields(kernel))
    return f"{kernel.name}({given})" if given else kernel.name
