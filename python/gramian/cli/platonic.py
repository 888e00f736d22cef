"""`gramian platonic`: the scores of the Platonic Representation Hypothesis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.platonic import Metric, PlatonicScore

METRICS = ("mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cknna", "cka", "unbiased_cka", "svcca")


@click.command(short_help="Scores of the Platonic Representation Hypothesis.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@options.keys
@options.keys_b
@click.option(
    "--metric",
    type=options.Choice(METRICS, listed=False),
    default="mutual_knn",
    show_default=True,
    help=f"One of {', '.join(METRICS)}.",
)
@click.option("--topk", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours of a row.")
@click.option("--normalize/--no-normalize", default=True, show_default=True, help="Scale every row to length 1 first.")
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Of absolute values, to which larger ones are clamped; 1 clamps nothing.",
)
@click.option("--exact/--no-exact", default=True, help="The quantile of all layers, or the mean over samples.")
@output.option(*output.PICTURES, *output.TABLES, ".npy")
@options.as_json
@options.quiet
def command(
    a: str,
    b: str,
    *,
    keys: list[str] | None,
    keys_b: list[str] | None,
    metric: Metric,
    topk: int,
    normalize: bool,
    quantile: float,
    exact: bool,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Score two models as the Platonic Representation Hypothesis does: the best pair of layers.

    A and B are feature files of platonic-rep (.pt), or layers as `gramian matrix` takes them.
    """
    import gramian
    from gramian.show.heatmaps import heatmap_svg

    with inputs.named(X=a, Y=b), inputs.bar(quiet) as progress:
        result = gramian.platonic_score(
            inputs.features(a),
            inputs.features(b),
            keys=keys or "*",  # so that they keep the names that the file has
            keys_y=keys_b,
            metric=metric,
            topk=topk,
            normalize=normalize,
            quantile=quantile,
            exact=exact,
            progress=progress,
        )
    rows, columns = len(result.rows), len(result.columns)
    found = output.Found(
        text=_table(result),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: output.matrix_lines(result.values, result.rows, result.columns),
        inputs={"a": a, "b": b},
        plot=result.plot,
        svg=lambda: heatmap_svg(result.grid()),
        size=(min(2.5 + 0.35 * columns, 12), min(1.8 + 0.35 * rows, 12)),
        values=result.values,
    )
    output.deliver(found, outputs, as_json)


def _table(result: PlatonicScore) -> str:
    return output.pairs(
        {
            "score": result.score,
            "layers": result.layers and f"{result.layers[0]} of A, {result.layers[1]} of B",
            "metric": result.metric,
            "topk": result.topk,
            "pairs": f"{len(result.rows)} × {len(result.columns)}",
            "n": result.n,
            "reason": result.reason,
        }
    )
