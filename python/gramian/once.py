"""A property that is computed at its first use and kept, without a lock.

`functools.cached_property` of Python 3.11 holds a lock while it computes: a child that is forked meanwhile, by another
thread, has the lock as memory and no one who gives it back, and hangs at its first use of any such property. Here two
threads that ask at the same time both compute. They find the same bits, and both are given what was stored first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):
    """As `functools.cached_property`: the value lies in the object's ``__dict__``, frozen dataclass or not."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> once[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> once[T] | T:
        if instance is None:
            return self
        found: T = instance.__dict__.setdefault(self.name, self.compute(instance))
        return found
