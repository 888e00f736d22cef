"""Tables of numbers in text, as ``acts.csv``, with what they call their rows and columns."""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gramian.rows.reading import reading

_LONGEST_FIELD = 60
_COUNTED = 3  # columns from which on a line 0, 1, 2, ... is their names: one of data would not be so


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers, and what a file calls them and their columns, if it does."""

    values: npt.NDArray[np.float64]  # (n, d)
    rows: npt.NDArray[np.str_] | None  # (n,)
    columns: tuple[str, ...] | None  # (d,)


def read_csv(path: Path) -> Table:
    """Numbers separated by commas, a sample a line.

    A first line with a word in it is names of columns, and so is 0, 1, 2, ... up to the last, which pandas writes where
    columns have none. The first column is labels of rows, no feature, if its name is empty, as pandas writes it, or if
    there is no number in it.
    """
    with reading(path) as file:
        text = file.read().decode("utf-8-sig")
        lines = text.splitlines()
        first = next(csv.reader(lines[:1]), [])
        if not first:
            raise ValueError("it is empty")
        counted = _is_counted(first)
        named = counted or not all(_is_number(field) for field in first)
        if named and ";" in lines[0] and "," not in lines[0]:
            raise ValueError("its columns are separated by semicolons, and commas are read")
        body = lines[1:] if named else lines
        if not any(line.strip() for line in body):
            raise ValueError("it has no rows")
        width = len(first)
        for number, row in enumerate(csv.reader(body), 1 + named):
            if row and len(row) != width:
                raise ValueError(f"line {number} has {len(row)} fields, the first one {width}")
        labelled = named and (first[0] == "" or _is_words(body))
        if labelled and first[0] and all(map(_is_number, first[1:])) and not _is_counted(first[1:]):
            raise ValueError(
                f"its first line, {first[0]!r:.{_LONGEST_FIELD}} and numbers, may be names of columns or a sample; put "
                "a line of names with letters above it"
            )
        wanted = range(1 if labelled else 0, width)
        if not wanted:
            raise ValueError("it has no columns of numbers")
        values = _numbers(body, wanted, first if named else None, 1 + named)
        rows = np.array([row[0] for row in csv.reader(body) if row]) if labelled else None
        return Table(values, rows, tuple(first[1 if labelled else 0 :]) if named else None)


def _is_counted(names: list[str]) -> bool:
    return len(names) >= _COUNTED and names == [str(i) for i in range(len(names))]


def _is_words(body: list[str]) -> bool:
    """Whether the first column has no number, and nothing that is missing."""
    return all(row[0].strip() and not _is_number(row[0]) for row in csv.reader(body) if row)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(body: list[str], wanted: range, names: list[str] | None, line: int) -> npt.NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.loadtxt(
                io.StringIO("\n".join(body)), np.float64, comments=None, delimiter=",", quotechar='"', ndmin=2,
                usecols=wanted,
            )  # fmt: skip
    except Exception as error:
        for number, row in enumerate(csv.reader(body), line):
            for j in wanted[: len(row)]:
                if row and not _is_number(row[j]):
                    column = f"column {names[j]!r:.{_LONGEST_FIELD}}" if names else f"column {j}"
                    hint = "" if j else "; a first column without a name, or without a number, is labels of rows"
                    said = f"line {number}, {column} is {row[j]!r:.{_LONGEST_FIELD}}, no number{hint}"
                    raise ValueError(said) from error
        raise
