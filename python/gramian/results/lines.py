"""A result as the lines of a CSV file, without pandas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gramian.results.result import Result


def lines(result: Result) -> Iterator[Sequence[Any]]:
    """Names first; then a line for each of what there are several of, or else for each single value."""
    listing = result._listing()
    if listing is None:
        yield "name", "value"
        for name, value in result._facts().items():
            yield name, " ".join(map(str, value)) if isinstance(value, tuple) else value
        return
    named = listing.index is not None or bool(listing.of)
    yield [*([listing.of] if named else []), *listing.columns]
    for i, name in enumerate(listing.names):
        yield [*([name] if named else []), *(column[i] for column in listing.columns.values())]
