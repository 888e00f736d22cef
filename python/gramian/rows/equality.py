"""When two values are equal: of one type, with the same bits in every field; nan is equal to nan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from gramian.rows.arrays import Matrix


class Comparable:
    """A frozen dataclass that `==` compares as a whole, arrays and nan included, and that can be a key of a dict."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return equal(self, other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_key(self))


def equal(a: Any, b: Any) -> bool:
    """Whether the values are the same: arrays, numbers and rows by their bits, all else field by field."""
    if a is b:
        return True
    if isinstance(a, float | np.floating) and isinstance(b, float | np.floating):
        return _bits(a) == _bits(b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and _same_bits(a, b)
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return a.shape == b.shape and _same_rows(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if type(a) is not type(b):
        return isinstance(a, int | np.integer) and isinstance(b, int | np.integer) and bool(a == b)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(equal, a, b))
    if is_dataclass(a):
        return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare)
    found = a == b
    return isinstance(found, bool | np.bool_) and bool(found)  # what compares as an array is not of ours


def _bits(number: float | np.floating[Any]) -> bytes:
    return b"nan" if number != number else np.float64(number).tobytes()


def _same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    missing = np.isnan(a)
    if not np.array_equal(missing, np.isnan(b)):
        return False
    return np.array_equal(a, b, equal_nan=True) and bool((np.signbit(a.real) == np.signbit(b.real))[~missing].all())


def _same_rows(a: Matrix, b: Matrix) -> bool:
    if a.data is not None and b.data is not None:
        return a.dtype == b.dtype and bool(np.array_equal(a.data, b.data))
    return bool(np.array_equal(a.block(0, a.n), b.block(0, b.n)))  # files have rows of a device as float64


def _key(value: Any) -> object:
    """What equal values have in common, and can be hashed: of arrays and rows their shape."""
    if isinstance(value, float | np.floating):
        return _bits(value)
    if isinstance(value, np.ndarray | Matrix):
        return value.shape
    if isinstance(value, int | np.integer | str | None):
        return value
    if isinstance(value, tuple | list):
        return tuple(map(_key, value))
    if isinstance(value, Mapping):
        return frozenset((key, _key(item)) for key, item in value.items())
    if is_dataclass(value):
        return type(value).__name__, *(_key(getattr(value, f.name)) for f in fields(value) if f.compare)
    return type(value).__name__
