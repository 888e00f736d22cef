"""`gramian compare`: every measure of two representations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gramian.cli import inputs, options, output
from gramian.cli.charts import Chart

if TYPE_CHECKING:
    from gramian.comparison import Comparison, ComparisonRow
    from gramian.inference.independence import Method
    from gramian.measures.registry import MeasureName


@click.command(cls=options.WithMeasures, short_help="X and Y by every measure, with intervals and p-values.")
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@options.kernels
@options.bandwidth
@click.option(
    "--measure",
    "measures",
    type=options.Measure(),
    multiple=True,
    help="One more, with its own defaults; may be repeated. They are listed below.",
)
@click.option(
    "--confidence", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, show_default=True
)
@options.method
@options.permutations
@options.seed
@output.option(*output.TABLES, *output.PICTURES)
@options.as_json
@options.quiet
def command(
    x: str,
    y: str,
    *,
    kernels: tuple[Any, ...],
    bandwidth: float | None,
    measures: tuple[MeasureName, ...],
    confidence: float,
    method: Method,
    permutations: int,
    seed: int,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare X and Y: every measure with its interval, its p-value and what chance would give."""
    import gramian
    from gramian.results.lines import lines

    chosen = options.with_bandwidth(kernels, bandwidth)
    with inputs.named(X=x, Y=y), inputs.bar(quiet) as progress:
        result = gramian.compare(
            inputs.rows(x),
            inputs.rows(y),
            chosen,
            measures=measures,
            confidence=confidence,
            method=method,
            permutations=permutations,
            seed=seed,
            progress=progress,
        )
    found = output.Found(
        text=str(result),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: lines(result),
        inputs={"x": x, "y": y},
        chart=lambda: _chart(result),
    )
    output.deliver(found, outputs, as_json)


def _chart(result: Comparison) -> Chart:
    """Measures whose best value is 1, with their intervals, beside what chance gives."""
    from gramian.measures.registry import MEASURES
    from gramian.show.charts import Series

    rows = [row for row in result if MEASURES[row.measure].maximum == 1]
    short = [_name(row, row.kernel.partition("(")[0]) for row in rows]
    names = short if len(set(short)) == len(rows) else [_name(row, row.kernel) for row in rows]

    def series(name: str, values: list[float | None]) -> Series:
        known = [(value, float(i)) for i, value in enumerate(values) if value is not None]
        return Series(name, [value for value, _ in known], [place for _, place in known])

    value = series("value", [row.value for row in rows])
    ends = [row.ci if row.ci and not math.isnan(row.ci[0]) else (row.value, row.value) for row in rows]
    value = replace(value, low=[low for low, _ in ends], high=[high for _, high in ends])
    shuffled = series("shuffled rows", [row.null for row in rows])
    chance = series("independent data", [row.floor for row in rows])
    title = f"{result.n} samples, {result.dx} and {result.dy} features"
    known = [value, *(s for s in (shuffled, chance) if s.x)]
    return Chart(known, title, f"value, {result.confidence:.0%} interval", categories=names)


def _name(row: ComparisonRow, kernel: str) -> str:
    return " ".join(part for part in (row.measure, row.estimator, kernel) if part != "-")
