"""Looking up by name: what there is, where a name is none of it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UnknownName(KeyError):
    """A KeyError whose text is a sentence, which KeyError itself would put into quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown(name: object, known: Iterable[str], what: str) -> UnknownName:
    """The error of a name that is none of those there are: it lists them, the nearest one first."""
    names = list(dict.fromkeys(known))
    near = get_close_matches(str(name), names, 1)
    listed = ", ".join(map(repr, names[:100])) + (f" and {len(names) - 100} more" if len(names) > 100 else "")
    if near:
        return UnknownName(f"there is no {what} {name!r}; did you mean {near[0]!r}? There are {listed}")
    return UnknownName(f"there is no {what} {name!r}; there are {listed}")
