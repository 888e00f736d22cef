"""Why a number is nan: results keep the reason, and the plain functions, which have no place for it, warn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_HERE = str(Path(__file__).parent)
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class UndefinedWarning(RuntimeWarning):
    """A plain function returned nan; the message says why.

    Whatever is undefined for the data (a constant representation has no CKA), or would have no right digit (float32
    rows too far from 0), is nan. Result objects hold the reason, and functions that return a plain number warn with it,
    once a call.

    Notes
    -----
    ``warnings.simplefilter("error", gm.UndefinedWarning)`` makes it an exception,
    ``warnings.simplefilter("ignore", gm.UndefinedWarning)`` silences it.

    Examples
    --------
    >>> import warnings, numpy as np, gramian as gm
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     value = gm.cka(np.ones((5, 2)), np.eye(5))
    >>> value, caught[0].category is gm.UndefinedWarning
    (nan, True)
    """


def told(value: float, reason: str | None, measure: str) -> float:
    """The value; if there is a reason why it is nan, the caller of gramian is warned, at their own line."""
    if reason is None:
        return value
    heard = _HEARD.get()
    if heard is None:
        warnings.warn(f"{measure} is nan: {reason}", UndefinedWarning, stacklevel=_caller())
    else:
        heard.append(reason)
    return value


@contextmanager
def heard() -> Iterator[list[str]]:
    """What plain functions called inside would have warned of, as a list; for code that keeps reasons of its own."""
    found: list[str] = []
    token = _HEARD.set(found)
    try:
        yield found
    finally:
        _HEARD.reset(token)


def _caller() -> int:
    """`stacklevel` of the first frame outside the package, as seen from the function that calls this one."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    return level
