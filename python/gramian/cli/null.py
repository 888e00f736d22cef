"""`gramian null`: a measure beside what it is for shuffled rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.inference.permutation import Null
    from gramian.measures.registry import MeasureName

ALTERNATIVES = ("greater", "less")


@click.command(cls=options.WithMeasures, short_help="Any measure beside its values for shuffled rows: p-values.")
@click.argument("measure", type=options.Measure())
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@options.given
@options.kernel(None, "Of measures that have one, linear unless chosen; names as in compare.")
@options.bandwidth
@options.estimator
@click.option(
    "--permutations", type=click.IntRange(min=1), default=200, show_default=True, help="The least p is 1 in one more."
)
@click.option("--groups", metavar="FILE", help="A label for each row: rows change places within their group only.")
@click.option(
    "--alternative",
    type=options.Choice(ALTERNATIVES),
    help="Which values speak of agreement; without it, what the measure says.",
)
@options.seed
@output.option(*output.TABLES, *output.PICTURES, by_matplotlib=output.PICTURES)
@options.as_json
@options.quiet
def command(
    measure: MeasureName,
    x: str,
    y: str,
    *,
    given: tuple[str, ...],
    kernel: Any,
    bandwidth: float | None,
    estimator: str | None,
    permutations: int,
    groups: str | None,
    alternative: Any,
    seed: int,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Show MEASURE of X and Y beside its values for shuffled rows: a p-value for any measure."""
    import gramian

    chosen = options.of_measure(measure, given, kernel, bandwidth, estimator)
    with inputs.named(X=x, Y=y, groups=groups), inputs.bar(quiet) as progress:
        result = gramian.null(
            measure,
            inputs.rows(x),
            inputs.rows(y),
            groups=None if groups is None else inputs.labels(groups),
            permutations=permutations,
            alternative=alternative,
            seed=seed,
            progress=progress,
            **chosen,
        )
    shown = {
        "measure": ", ".join((measure, *(f"{name}={value}" for name, value in chosen.items()))),
        "value": result.value,
        "chance": result.mean if math.isnan(result.sd) else f"{result.mean:.6g} ± {result.sd:.3g}",
        "z": result.z,
        "pvalue": result.pvalue,
        "corrected": None if result.maximum is None else result.corrected,
        "alternative": result.alternative,
        "n": result.n,
        "groups": result.groups,
        "permutations": result.permutations,
        "seed": result.seed,
        "reason": result.reason,
    }
    found = output.Found(
        text=output.pairs(shown),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: _lines(result),
        inputs={"x": x, "y": y, "groups": groups},
        plot=result.plot,
    )
    output.deliver(found, outputs, as_json)


def _lines(result: Null) -> Iterator[Sequence[Any]]:
    """The value itself, and that of each permutation."""
    yield "permutation", result.measure
    yield "none", result.value
    yield from enumerate(result.values.tolist(), start=1)
