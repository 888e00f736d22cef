"""Sums in place of arrays: how they are known, and what functions say that are made of arrays alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def is_statistics(x: object) -> bool:
    """Whether these are sums that measures are made of, by the protocol that such classes have."""
    return callable(getattr(type(x), "statistics", None))


def of_arrays(function: F) -> F:
    """Mark a function of two arrays that takes no sums: where they come in place of both, it names what it needs.

    Without this Python would ask for the second array, which is in the sums already.
    """

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # read by pytest and IPython
        try:
            return function(*args, **options)
        except TypeError:
            if not (answer := _arrays_needed(function, args, options)):
                raise
        raise TypeError(answer)

    return cast("F", call)


def _arrays_needed(function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> str | None:
    """What to say where sums were given and the other array was not; None if something else is wrong."""
    signature = inspect.signature(function)
    try:
        given = signature.bind_partial(*args, **options).arguments
    except TypeError:  # too many, or one twice
        return None
    sums = next(((argument, x) for argument, x in given.items() if is_statistics(x)), None)
    needed = [n for n, p in signature.parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    others = [name for name in needed if name not in given]
    if sums is None or len(others) != 1:
        return None
    argument, x = sums
    return (
        f"{function.__name__} needs the arrays {argument} and {others[0]}: it is not made of {type(x).__name__}, as "
        "cka is"
    )
