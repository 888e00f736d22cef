"""`gramian rsa`: representational similarity analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gramian.cli import inputs, options, output

DISSIMILARITIES = ("sqeuclidean", "euclidean", "cosine", "correlation")
CORRELATIONS = ("pearson", "spearman", "cosine")


@click.command(short_help="Dissimilarities of all pairs of rows of X with those of Y.")
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@click.option(
    "--dissimilarity",
    type=options.Choice(DISSIMILARITIES),
    default="sqeuclidean",
    show_default=True,
    help="Of two rows.",
)
@click.option("--dissimilarity-y", type=options.Choice(DISSIMILARITIES), help="Of rows of Y, if it is another one.")
@click.option(
    "--correlation", type=options.Choice(CORRELATIONS), default="pearson", show_default=True, help="Over all pairs."
)
@click.option(
    "--geotopological",
    type=float,
    nargs=2,
    metavar="LOW HIGH",
    help="Two probabilities: quantiles below which dissimilarities are 0, and above which 1.",
)
@click.option("--bins", type=click.IntRange(min=1), help="Of spearman; without it exact ranks up to 50,000 rows.")
@output.option(*output.TABLES)
@options.as_json
@options.quiet
def command(
    x: str,
    y: str,
    *,
    dissimilarity: Any,
    dissimilarity_y: Any,
    correlation: Any,
    geotopological: tuple[float, float] | None,
    bins: int | None,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Correlate the dissimilarities of all pairs of rows of X with those of Y.

    `gramian null rsa X Y` has the p-value.
    """
    import gramian
    from gramian.results.lines import lines

    with inputs.named(X=x, Y=y), inputs.bar(quiet) as progress:
        result = gramian.rsa_estimate(
            inputs.rows(x),
            inputs.rows(y),
            dissimilarity=dissimilarity,
            dissimilarity_y=dissimilarity_y,
            correlation=correlation,
            geotopological=geotopological,
            bins=bins,
            progress=progress,
        )
    same = len(set(result.dissimilarity)) == 1
    shown = {
        "value": result.value,
        "error": result.error or None,
        "correlation": result.correlation,
        "dissimilarity": result.dissimilarity[0] if same else result.dissimilarity,
        "geotopological": result.geotopological,
        "method": result.method,
        "n": result.n,
        "pairs": result.pairs,
        "reason": result.reason,
    }
    found = output.Found(
        text=output.pairs(shown),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: lines(result),
        inputs={"x": x, "y": y},
    )
    output.deliver(found, outputs, as_json)
