"""Results as HTML that notebooks show: inline styles alone, and colours that are read on white and on black."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from gramian.show.tables import Listing, label, shown

_LINE = "1px solid rgba(128,128,128,0.35)"
_TABLE = f"border-collapse:collapse;margin:0.4em 0;border-top:{_LINE};border-bottom:{_LINE}"
_CELL = "padding:0.15em 0.8em 0.15em 0;border:none;background:none;color:inherit;vertical-align:top"
_HEAD = f"{_CELL};border-bottom:{_LINE};font-weight:600"
_MUTED = "opacity:0.75"
_NEVER_BROKEN = 28  # characters of a cell


def card(
    title: str,
    facts: Mapping[str, Any],
    *,
    listing: Listing | None = None,
    picture: str = "",
    notes: Sequence[str] = (),
) -> str:
    """A heading, names beside values, a table of what there are several of, a picture, and what is to be known.

    Parameters
    ----------
    title : str
    facts : dict of name to value
        None is left out.
    listing : Listing, optional
        Of more than 20 lines the first and the last ones.
    picture : str
        HTML or SVG, put in as it is.
    notes : sequence of str
        Reasons, below all else.

    Returns
    -------
    str
        A div. Everything but the picture is escaped.

    Examples
    --------
    >>> "<b>Estimate</b>" in card("Estimate", {"value": 0.5}) and "a &lt; b" in card("x", {"a < b": 1})
    True
    """
    parts = [f'<div style="color:inherit;line-height:1.35"><b>{escape(title)}</b>']
    given = {name: value for name, value in facts.items() if value is not None}
    if given and (picture or listing is not None):  # one line, for what is below is what was asked for
        words = " · ".join(f"{label(name)} {shown(value, name)}" for name, value in given.items())
        parts.append(f'<div style="{_MUTED}">{_text(words)}</div>')
    elif given:
        rows = "".join(
            f'<tr style="background:none"><td style="{_CELL};text-align:left;{_MUTED}">{_text(label(name))}</td>'
            f'<td style="{_CELL};text-align:left">{_text(shown(value, name))}</td></tr>'
            for name, value in given.items()
        )
        parts.append(f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>')
    if listing is not None and len(listing):
        parts.append(table(listing))
    if picture:
        parts.append(f'<div style="overflow-x:auto">{picture}</div>')
    parts += [f'<div style="{_MUTED}">{_text(note)}</div>' for note in notes]
    return "".join([*parts, "</div>"])


def table(listing: Listing) -> str:
    """Columns under their names, numbers to the right; of many lines the first and the last ones."""
    columns = {name: column for name, column in listing.columns.items() if any(v is not None for v in column)}
    right = {name for name, column in columns.items() if all(_is_number(v) for v in column)}

    def cell(name: str, text: str, style: str = _CELL, tag: str = "td") -> str:
        side = "right" if name in right else "left"
        wrap = ";white-space:nowrap" if len(text) <= _NEVER_BROKEN else ""
        return f'<{tag} style="{style};text-align:{side}{wrap}">{_text(text)}</{tag}>'

    head = cell("", listing.of, _HEAD, "th") + "".join(cell(name, label(name), _HEAD, "th") for name in columns)
    lines, before = [], -1
    for i in listing.shown:
        if i != before + 1:
            lines.append(
                f'<tr><td style="{_CELL};{_MUTED}" colspan="{len(columns) + 1}">… {i - before - 1} more</td></tr>'
            )
        cells = "".join(cell(name, shown(column[i], name)) for name, column in columns.items())
        lines.append(f'<tr style="background:none">{cell("", shown(listing.names[i]))}{cells}</tr>')
        before = i
    return (
        f'<div style="overflow-x:auto"><table style="{_TABLE}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool))


def _text(value: str) -> str:
    return escape(value, quote=False)
