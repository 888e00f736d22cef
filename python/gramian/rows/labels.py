"""Labels of rows: row i of all arrays must be the same sample, and where they say which one it is, they must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class RowLabels:
    """What a table calls its rows."""

    index: Any  # (n,) of pandas; of a file an array of words
    dimension: str | None = None  # what xarray calls the rows' dimension; None for pandas and files

    def code(self, name: str) -> str:
        """How a program writes these labels."""
        return f"{name}.index" if self.dimension is None else f"{name}.indexes[{self.dimension!r}]"

    def aligned(self, name: str, labels: str) -> str:
        """How a program brings the rows into the order of other labels."""
        return f"{name}.loc[{labels}]" if self.dimension is None else f"{name}.sel({{{self.dimension!r}: {labels}}})"

    @property
    def words(self) -> bool:
        """Whether all are strings because they come from a file."""
        return isinstance(self.index, np.ndarray)

    def default(self) -> bool:
        """Whether they are the numbers 0, 1, 2, ... that rows have where none were set."""
        if self.words:
            return bool((self.index == np.arange(len(self.index)).astype(str)).all())
        return type(self.index).__name__ == "RangeIndex" and self.index.start == 0 and self.index.step == 1


def same_labels(labels: Sequence[RowLabels | None], names: Sequence[str]) -> None:
    """Raise ValueError unless all labels name the same samples in the same order.

    Labels that were never set (0, 1, 2, ...) say nothing, unless others are the same numbers in another order, and so
    were shuffled.
    """
    known = [(given, name) for given, name in zip(labels, names, strict=True) if given is not None]
    if len(known) < 2:
        return
    told = [(given, name) for given, name in known if not given.default()]
    if not told:
        return
    first, first_name = told[0]
    for given, name in told[1:]:
        _check(first, first_name, given, name)
    untold = next(((given, name) for given, name in known if given.default()), None)
    if untold and {str(label) for label in first.index} == {str(i) for i in range(len(first.index))}:
        _check(*untold, first, first_name)


def _check(first: RowLabels, first_name: str, given: RowLabels, name: str) -> None:
    """Raise ValueError unless two arrays have the same labels."""
    if first.index is given.index or (not (first.words or given.words) and given.index.equals(first.index)):
        return
    a, b = first.index.tolist(), given.index.tolist()
    if first.words or given.words:
        a, b = list(map(str, a)), list(map(str, b))
    row = next((i for i, (p, q) in enumerate(zip(a, b, strict=True)) if p != q), None)
    if row is None:
        return
    where = f"({a[row]!r:.40} and {b[row]!r:.40} in row {row})"
    if len(set(a)) == len(a) and set(a) == set(b):
        way, what = f"align them, {given.aligned(name, first.code(first_name))}", "the same row labels in another order"
    else:
        way, what = "take the samples that both have, in one order", "different row labels"
    raise ValueError(
        f"{first_name} and {name} have {what} {where}, and row i of both must be the same sample: {way}, or if they do "
        f"belong together row by row, leave the labels out, {name}.to_numpy()"
    )
