"""Looking up by name: what there is, where a name is none of it, and which of several things a key means."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gramian.words import nearest


class UnknownName(KeyError):
    """A KeyError whose text is a sentence, which KeyError itself would put into quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown(name: object, known: Iterable[str], what: str) -> UnknownName:
    """The error of a name that is none of those there are: it lists them, the nearest one first."""
    names = list(dict.fromkeys(known))
    near = nearest(name, names)
    listed = ", ".join(map(repr, names[:100])) + (f" and {len(names) - 100} more" if len(names) > 100 else "")
    if near:
        return UnknownName(f"there is no {what} {name!r}; did you mean {near[0]!r}? There are {listed}")
    return UnknownName(f"there is no {what} {name!r}; there are {listed}")


def numbered(names: Sequence[str]) -> bool:
    """Whether all names are whole numbers, so that an integer is a name."""
    return all(re.fullmatch("-?(0|[1-9][0-9]*)", name) for name in names)


def chosen(key: Any, names: Sequence[str], what: str) -> int | list[int]:
    """The places of what a key means, one number where it names one.

    A key is a name, a number, a slice, a list of names or numbers, or a mask. Where all names are whole numbers, as of
    layers that are given in a dict by their numbers, a number is a name, but a negative one counts from the end.

    Raises
    ------
    KeyError, IndexError, TypeError
        For a name that there is not, a number or an empty choice, and anything else.
    """
    if isinstance(key, slice):
        start, stop = _end(key.start, names, what), _end(key.stop, names, what)
        if isinstance(key.stop, str):  # it is in
            stop = stop + 1 if key.step is None or key.step > 0 else stop - 1 if stop else None
        found = list(range(len(names)))[start : stop : key.step]
    elif isinstance(key, list | tuple):
        found = _listed(key, names, what)
    elif hasattr(key, "__array__"):
        array = np.asarray(key)
        if array.ndim == 0:
            return _place(array.item(), names, what)
        if array.ndim > 1:
            raise TypeError(f"a list or a mask of {what}s has one dimension, got shape {array.shape}")
        found = _listed(array.tolist(), names, what)
    else:
        return _place(key, names, what)
    if not found:
        raise IndexError(f"{_shown(key)} chooses no {what}; there are {len(names)}, {names[0]!r} to {names[-1]!r}")
    return found


def _listed(key: Sequence[Any], names: Sequence[str], what: str) -> list[int]:
    if not key or not all(isinstance(item, bool | np.bool_) for item in key):
        return [_place(item, names, what) for item in key]
    if len(key) != len(names):
        raise IndexError(f"a mask of {what}s has a value for each of the {len(names)}, got {len(key)}")
    return [i for i, kept in enumerate(key) if kept]


def _end(end: Any, names: Sequence[str], what: str) -> Any:
    """Of a slice; of sorted numbers, the first that is no less."""
    if isinstance(end, str):
        return _place(end, names, what)
    if isinstance(end, int | np.integer) and end >= 0 and numbered(names):
        numbers = [int(name) for name in names]
        return bisect_left(numbers, end) if numbers == sorted(numbers) else _place(end, names, what)
    return end


def _shown(key: Any) -> str:
    if not isinstance(key, slice):
        return f"{key!r:.100}"
    ends = ["" if end is None else repr(end) for end in (key.start, key.stop)]
    return f"[{':'.join(ends)}]"


def _place(key: Any, names: Sequence[str], what: str) -> int:
    if isinstance(key, str):
        if key not in names:
            raise unknown(key, names, what)
        return list(names).index(key)
    if isinstance(key, bool | np.bool_) or not isinstance(key, int | np.integer):
        raise TypeError(f"a {what} is a name, a number, a slice, a mask or a list of them, not {type(key).__name__}")
    if numbered(names) and (key >= 0 or str(key) in names):
        if str(key) not in names:
            raise unknown(int(key), names, what)
        return list(names).index(str(key))
    if not -len(names) <= key < len(names):
        raise IndexError(f"there is no {what} {key}; there are {len(names)}, {names[0]!r} to {names[-1]!r}")
    return int(key) % len(names)
