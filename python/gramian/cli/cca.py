"""`gramian cca`: canonical correlations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gramian.cli import inputs, options, output
from gramian.cli.charts import Chart

if TYPE_CHECKING:
    from gramian.measures.subspaces import CanonicalCorrelations


@click.command(short_help="Canonical correlations of X and Y, and what chance gives.")
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="How many are shown.")
@click.option(
    "--variance",
    type=click.FloatRange(0, 1, min_open=True),
    help="Of the principal components that hold this part of the variance alone (SVCCA).",
)
@click.option("--components", type=click.IntRange(min=1), help="Of so many principal components alone (SVCCA).")
@click.option("--standardize", is_flag=True, help="Divide each feature by its standard deviation first.")
@click.option(
    "--ridge", type=click.FloatRange(min=0), default=0.0, show_default=True, help="In units of the features' variance."
)
@click.option(
    "--rcond", type=click.FloatRange(0, 1), help="Part of the largest singular value below which is rounding."
)
@output.option(*output.TABLES, *output.PICTURES)
@options.as_json
@options.quiet
def command(
    x: str,
    y: str,
    *,
    k: int,
    variance: float | None,
    components: int | None,
    standardize: bool,
    ridge: float,
    rcond: float | None,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the canonical correlations of X and Y, their mean, and what chance alone would give."""
    import gramian
    from gramian.results.lines import lines

    if variance is not None and components is not None:
        raise click.UsageError("--variance and --components both say how many components to keep; give one of them")
    with inputs.named(X=x, Y=y), inputs.bar(quiet) as progress:
        result = gramian.canonical_correlations(
            inputs.rows(x),
            inputs.rows(y),
            variance=variance,
            components=components,
            standardize=standardize,
            ridge=ridge,
            rcond=rcond,
            progress=progress,
        )
    found = output.Found(
        text=_table(result, k),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: lines(result),
        inputs={"x": x, "y": y},
        chart=lambda: _chart(result),
    )
    output.deliver(found, outputs, as_json)


def _table(result: CanonicalCorrelations, k: int) -> str:
    count = len(result.correlations)
    facts = {
        "mean": result.mean,
        "mean_square": result.mean_square,
        "chance": result.chance,
        "projection_weighted": result.projection_weighted,
        "rank": result.rank,
        "n": result.n,
        "reason": result.reason,
    }
    lines = [output.pairs(facts), ""]
    rows = zip(result.correlations, result.shares_x, result.shares_y, strict=True)
    shown = [[f"{i}", f"{c:.4f}", f"{a:.2%}", f"{b:.2%}"] for i, (c, a, b) in enumerate(rows, start=1)][:k]
    lines += output.aligned([["", "correlation", "share of X", "share of Y"], *shown])
    if count > k:
        lines.append(f"... {count - k} more: -k {count} shows them")
    lines += ["", "chance: of the mean square, over all shufflings of the rows."]
    if result.forced:
        lines.append(f"{result.forced} of them are 1 by the number of rows alone.")
    return "\n".join(lines)


def _chart(result: CanonicalCorrelations) -> Chart:
    from gramian.show.charts import Series

    numbers = [float(i) for i in range(1, len(result.correlations) + 1)]
    series = [
        Series("correlation", numbers, result.correlations.tolist(), line=True),
        Series("share of X", numbers, result.shares_x.tolist()),
        Series("share of Y", numbers, result.shares_y.tolist()),
    ]
    return Chart(series, f"Canonical correlations, n = {result.n}", "number")
