"""What a command found: on the terminal in 100 columns, as one JSON document, and in files by their suffix."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

if TYPE_CHECKING:
    from gramian.cli.charts import Chart

Command = TypeVar("Command", bound=Callable[..., Any])
Lines = Iterable[Sequence[Any]]

WIDTH = 100  # columns of a terminal
TABLES = (".csv", ".json", ".html")
PICTURES = (".png", ".pdf", ".svg")
_BROKEN_PIPE = 141
_MOST_ROWS = 24  # layers that a summary lists
_NAME = 40  # letters of their names
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.4 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
    "footer{margin-top:1.5rem;opacity:.75;font-size:13px;overflow-wrap:anywhere}"
)


@dataclass(frozen=True, eq=False)
class Found:
    """What a command found, in every form in which it can be had."""

    text: str
    fields: Mapping[str, Any]  # of the JSON document
    html: Callable[[], str]  # what is inside a page
    lines: Callable[[], Lines]  # of a CSV file, the first of names
    inputs: Mapping[str, str | None]  # file by argument
    chart: Callable[[], Chart] | None = None
    plot: Callable[..., Any] | None = None  # by matplotlib, into ax=
    svg: Callable[[], str] | None = None
    size: tuple[float, float] = (6.4, 4.2)  # of the plot, in inches
    values: np.ndarray[Any, Any] | None = None  # for .npy


# ---- where it goes ---------------------------------------------------------------------------------------------------


def option(*suffixes: str, by_matplotlib: Sequence[str] = (".png", ".pdf")) -> Callable[[Command], Command]:
    """-o, with what is checked before the long work: can this file be written at the end?"""

    def check(ctx: click.Context, param: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            _check(path, suffixes, by_matplotlib)
        return paths

    return click.option(
        "-o",
        "--output",
        "outputs",
        type=click.Path(dir_okay=False, path_type=Path),
        multiple=True,
        callback=check,
        help=f"Where to write it too, as {', '.join(suffixes)}; may be repeated.",
    )


def _check(path: Path, suffixes: Sequence[str], by_matplotlib: Sequence[str]) -> None:
    if path.suffix not in suffixes:
        only = "" if set(PICTURES) & set(suffixes) or path.suffix not in PICTURES else ", it has no picture"
        raise click.UsageError(f"-o {path}: write it as one of {', '.join(suffixes)}{only}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such directory")
    if path.suffix in by_matplotlib:
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            other = "" if ".svg" in by_matplotlib else "; .svg does not"
            raise ImportError(f"{path}: a {path.suffix} needs matplotlib: pip install 'gramian[viz]'{other}") from error


def deliver(found: Found, outputs: Sequence[Path], as_json: bool) -> None:
    """Write the files, and print the table and where they are, or the JSON document."""
    from gramian.rows.statistics_files import replacing

    document = json_document(found.fields, **found.inputs)
    for output in outputs:
        if found.chart and output.suffix in PICTURES and not found.chart().drawable:
            raise ValueError(f"{output}: no value is defined, so there is nothing to draw")
        with replacing(output) as path:  # all of the file or none
            _write(path, found, document)
    if as_json:
        emit(document)
    else:
        emit("\n".join([found.text, *([""] if outputs else []), *(f"wrote {output}" for output in outputs)]))


def emit(text: str) -> None:
    """Print, or leave quietly if the reader has gone (`gramian info | head -1`)."""
    try:
        click.echo(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        sys.exit(_BROKEN_PIPE)


def json_document(fields: Mapping[str, Any], **inputs: str | None) -> str:
    """One JSON document; what is not finite becomes null, and `reason` beside it says why."""
    from gramian import __version__
    from gramian.results.plain import plain

    named = {name: file for name, file in inputs.items() if file is not None}
    document = {"gramian": __version__, **({"inputs": named} if named else {}), **plain(fields)}
    return json.dumps(document, indent=2, allow_nan=False)


def _write(path: Path, found: Found, document: str) -> None:
    if path.suffix == ".json":
        path.write_text(document + "\n", encoding="utf-8")
    elif path.suffix == ".npy":
        np.save(path, np.asarray(found.values))
    elif path.suffix == ".csv":
        _write_csv(path, found.lines())
    elif path.suffix == ".html":
        path.write_text(_page(found), encoding="utf-8")
    elif path.suffix == ".svg" and found.svg:
        path.write_text(found.svg(), encoding="utf-8")
    elif path.suffix == ".svg" and found.chart:
        path.write_text(found.chart().svg(), encoding="utf-8")
    else:
        _write_figure(path, found)


def _write_csv(path: Path, lines: Lines) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)


def _write_figure(path: Path, found: Found) -> None:
    from matplotlib.figure import Figure

    chart = found.chart() if found.chart else None
    figure = Figure(figsize=chart.size if chart else found.size, layout="constrained", dpi=150)
    draw = chart.plot if chart else found.plot
    assert draw is not None
    draw(ax=figure.add_subplot())
    figure.savefig(path)


def _page(found: Found) -> str:
    from gramian import __version__

    command = str(click.get_current_context().info_name)
    chart = found.chart() if found.chart else None
    files = " · ".join(f"{name}: {file}" for name, file in found.inputs.items() if file)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>gramian {escape(command)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{found.html()}{chart.svg() if chart and chart.drawable else ''}\n"
        f"<footer>{escape(files)}<br>gramian {escape(command)}, version {__version__}</footer></body></html>\n"
    )


# ---- tables ----------------------------------------------------------------------------------------------------------


def pairs(fields: Mapping[str, Any], indent: str = "") -> str:
    """Names and values under each other; below them, why a value is undefined."""
    shown = {name: value for name, value in fields.items() if value is not None and name != "reason"}
    width = max(map(len, shown), default=0)
    lines = []
    for name, value in shown.items():
        label = f"{indent}{name.replace('_', ' ').replace('pvalue', 'p-value')}"
        if isinstance(value, Mapping):
            lines += [label, pairs(value, indent + "  ")]
        else:
            lines.append(f"{label:<{len(indent) + width + 2}}{shown_value(value)}")
    if reason := fields.get("reason"):
        lines += ["", f"{indent}undefined: {reason}"]
    return "\n".join(lines)


def shown_value(value: Any) -> str:
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown_value, value))
    return str(value)


def aligned(lines: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Columns below each other, the first ones to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def matches(head: Sequence[str], rows: Sequence[tuple[str, str | None, float]]) -> list[str]:
    """What each layer of A goes with: its name, that of the other one, the value; of many the first and the last."""
    from gramian.show.svg import shortened

    listed = [list(head)]
    for name, other, value in rows:
        listed.append(
            [shortened(name, _NAME), shortened(other or "-", _NAME), "-" if other is None else f"{value:z.4f}"]
        )
    text = aligned(listed, left=2)
    if len(rows) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        text[1 + half : 1 + len(rows) - half] = [f"... {len(rows) - 2 * half} more"]
    return text


def all_of(rows: int, columns: int, outputs: Sequence[Path]) -> str:
    """Where a table is that is too wide for the terminal."""
    where = (
        f"all of them in {', '.join(map(str, outputs))}"
        if outputs
        else "-o FILE writes all of them (.csv, .html, .svg)"
    )
    return f"{rows} × {columns} layers, too wide for {WIDTH} columns: {where}"


def fits(lines: Iterable[str]) -> bool:
    return all(len(line) <= WIDTH for line in lines)


def matrix_lines(values: Any, rows: Sequence[str], columns: Sequence[str]) -> Lines:
    """A matrix under and beside its names."""
    yield ["", *columns]
    for name, row in zip(rows, np.asarray(values), strict=True):
        yield [name, *map(float, row)]
