"""`gramian knn`: measures of nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gramian.cli import inputs, options, output
from gramian.cli.charts import Chart

if TYPE_CHECKING:
    from gramian.measures.neighbors import Metric
    from gramian.measures.overlaps import Overlap

_COLUMNS = ("measure", "value", "chance", "corrected", "ties", "reason")


@click.command(short_help="Who is near whom in X and in Y, and what chance gives.")
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours of a row.")
@options.metric
@options.seed
@output.option(*output.TABLES, *output.PICTURES)
@options.as_json
@options.quiet
def command(
    x: str, y: str, *, k: int, metric: Metric, seed: int, outputs: tuple[Path, ...], as_json: bool, quiet: bool
) -> None:
    """Compare who is near whom in X and in Y: measures of nearest neighbours beside what chance gives."""
    from gramian.measures.neighbors import overlaps

    with inputs.named(X=x, Y=y), inputs.bar(quiet) as progress:
        result = overlaps(inputs.rows(x), inputs.rows(y), k, metric=metric, seed=seed, progress=progress)
    rows = [{name: row[name] for name in _COLUMNS} for row in (overlap.to_dict() for overlap in result)]
    shown = ("measure", "value", "chance", "corrected")
    found = output.Found(
        text=_table(result, k, metric),
        fields={"n": result[0].n, "k": k, "metric": metric, "rows": rows},
        html=lambda: _html(result, k, metric),
        lines=lambda: [shown, *([getattr(overlap, name) for name in shown] for overlap in result)],
        inputs={"x": x, "y": y},
        chart=lambda: _chart(result, k, metric),
    )
    output.deliver(found, outputs, as_json)


def _table(found: Sequence[Overlap], k: int, metric: str) -> str:
    lines = [f"{k} nearest neighbours by {metric}, n = {found[0].n}", ""]
    lines.append(f"{'':<10}  {'value':>9}  {'chance':>8}  {'corrected':>9}")
    for overlap in found:
        corrected = "-" if math.isnan(overlap.corrected) else f"{overlap.corrected:z.4f}"
        value = "undefined" if math.isnan(overlap.value) else f"{overlap.value:.4f}"
        lines.append(f"{overlap.measure:<10}  {value:>9}  {overlap.chance:8.4f}  {corrected:>9}")
    if reason := found[0].reason:
        lines += ["", f"undefined: {reason}"]
    elif note := found[0].note:
        lines += ["", note]
    return "\n".join(lines)


def _html(found: Sequence[Overlap], k: int, metric: str) -> str:
    from gramian.show import html
    from gramian.show.tables import Listing

    columns = {name: [getattr(overlap, name) for overlap in found] for name in ("value", "chance", "corrected")}
    listing = Listing(columns, [overlap.measure for overlap in found], "measure")
    notes = [note for note in (found[0].reason, found[0].note) if note]
    return html.card("Nearest neighbours", {"k": k, "metric": metric, "n": found[0].n}, listing=listing, notes=notes)


def _chart(found: Sequence[Overlap], k: int, metric: str) -> Chart:
    from gramian.show.charts import Series

    places = [float(i) for i in range(len(found))]
    series = [
        Series("value", [overlap.value for overlap in found], places),
        Series("chance", [overlap.chance for overlap in found], places),
    ]
    title = f"{k} nearest neighbours by {metric}, n = {found[0].n}"
    return Chart(series, title, "value", categories=[overlap.measure for overlap in found])
