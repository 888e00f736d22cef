"""Columns of values and facts about them, as text that a table shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_LABELS = {"pvalue": "p-value", "se": "standard error", "ci": "interval", "sd": "standard deviation", "k": "k"}
_MOST_ROWS = 20
_SMALLEST = 1e-300  # p-values below it are not zero: a float has no room for them
_LONGEST = 160  # characters of a cell


@dataclass(frozen=True, eq=False)
class Listing:
    """What there is one of for each of several things: columns of one length, under their names."""

    columns: Mapping[str, Sequence[Any]]
    index: Sequence[Any] | None = None  # the names of the things; left out: 1, 2, ...
    of: str = ""  # what they are

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def names(self) -> Sequence[Any]:
        return range(1, len(self) + 1) if self.index is None else self.index

    @property
    def shown(self) -> list[int]:
        """The lines that a table has room for: all of them, or the first and the last ones."""
        if len(self) <= _MOST_ROWS:
            return list(range(len(self)))
        return [*range(_MOST_ROWS - 5), *range(len(self) - 4, len(self))]


def label(name: str) -> str:
    """The name of a field as a person writes it."""
    return _LABELS.get(name, name.replace("_", " "))


def shown(value: Any, name: str = "") -> str:
    """A value with the digits that people read: four, or all before the point; two of a p-value."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        if name == "pvalue" and value < _SMALLEST:
            return f"< {_SMALLEST:.0e}"
        return f"{value:.2g}" if name == "pvalue" and value <= 1 else _number(float(value))
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value))
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _number(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", "−", 1) if value < 0 else text
