"""What every result can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from gramian.results import files
from gramian.results.plain import is_kernel, kernel_text, plain
from gramian.results.provenance import Provenance
from gramian.rows.equality import Comparable
from gramian.show import html
from gramian.show.tables import Listing

_NO_FACTS = ("reason", "reasons", "note", "provenance")


@dataclass(frozen=True, eq=False)
class Result(Comparable):
    """A value that says what it is: as HTML in a notebook, plain values, a table of pandas, and a file.

    Two are equal if they are of one type and all fields but the provenance have the same bits, nan like nan.
    """

    _derived: ClassVar[tuple[str, ...]] = ()  # properties that belong to its plain values, behind the fields
    _large: ClassVar[tuple[str, ...]] = ()  # fields that do not: as many numbers as there are rows or features

    # what the value was computed from and with; None of parts of another result, and of functions of numbers
    provenance: Provenance | None = field(default=None, kw_only=True, compare=False, repr=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        files.storable(cls)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for strict JSON: what is not finite is None, beside its reason; kernels by their parameters."""
        named = [f.name for f in fields(self) if f.name not in (*self._large, "provenance")]
        return self._plain({name: getattr(self, name) for name in (*named, *self._derived)})

    def _plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = plain(values)
        return found if self.provenance is None else {**found, "provenance": self.provenance.to_dict()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file, which `load` reads back bit for bit; all of it or none (docs/results.md)."""
        files.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """What ``save`` wrote; a ValueError that names the file if it is damaged or holds another type."""
        return files.load_as(path, cls)

    def to_pandas(self) -> Any:
        """A DataFrame of what there are several of, with the other numbers in its ``attrs``; else a Series of all."""
        pandas = imported_pandas()
        listing = self._listing()
        if listing is None:
            return pandas.Series(self._facts(), name=type(self).__name__, dtype=object)
        index = pandas.Index(list(listing.names), name=listing.of or None)
        frame = pandas.DataFrame({name: list(column) for name, column in listing.columns.items()}, index=index)
        frame.attrs.update(plain(self._facts()))
        return frame

    def _repr_html_(self) -> str:
        return html.card(
            type(self).__name__,
            self._facts(),
            listing=self._shown_listing(),
            picture=self._picture(),
            notes=self._notes(),
        )

    def _facts(self) -> dict[str, Any]:
        """Single values, by their names."""
        names = [f.name for f in fields(self) if f.name not in (*_NO_FACTS, *self._large)]
        found = {name: _single(getattr(self, name)) for name in (*names, *self._derived) if name not in _NO_FACTS}
        return {name: value for name, value in found.items() if value is not None}

    def _listing(self) -> Listing | None:
        """What there are several of."""
        return None

    def _shown_listing(self) -> Listing | None:
        """The same as people read it."""
        return self._listing()

    def _picture(self) -> str:
        return ""

    def _notes(self) -> list[str]:
        """Reasons."""
        found = [getattr(self, name, None) for name in ("reason", "note")]
        named: Mapping[str, str] = getattr(self, "reasons", None) or {}
        return [note for note in found if note] + [
            reason if reason.startswith(name) else f"{name}: {reason}" for name, reason in named.items()
        ]


def _single(value: Any) -> Any:
    """A number, a text, a kernel as text, or a few of them; None for anything larger."""
    if is_kernel(value):
        return kernel_text(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple) and 0 < len(value) <= 4:
        found = tuple(_single(item) for item in value)
        if None in found:
            return None
        # two kernels that are the same are one
        return found[0] if len(set(found)) == 1 and is_kernel(value[0]) else found
    return value if isinstance(value, str | bool | int | float) else None


def imported_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas() needs pandas: pip install 'gramian[viz]'") from error
    return pandas
