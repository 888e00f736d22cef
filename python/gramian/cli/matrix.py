"""`gramian matrix`: a measure between all layers of two models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.matrices import AlignmentMatrix
    from gramian.measures.registry import MeasureName


@click.command(cls=options.WithMeasures, short_help="Every layer of A with every layer of B, by any measure.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@options.keys
@options.keys_b
@click.option(
    "--measure",
    type=options.Measure(),
    default="cka",
    show_default=True,
    help="Any of those listed below.",
)
@options.given
@options.kernel(None, "Of measures that have one, linear unless chosen; names as in compare.")
@options.bandwidth
@options.estimator
@output.option(*output.PICTURES, *output.TABLES, ".npy")
@options.as_json
@options.quiet
def command(
    a: str,
    b: str | None,
    *,
    keys: list[str] | None,
    keys_b: list[str] | None,
    measure: MeasureName,
    given: tuple[str, ...],
    kernel: Any,
    bandwidth: float | None,
    estimator: str | None,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare every layer of A with every layer of B, or of A itself.

    Layers come from a file with an array for each (.npz, .safetensors, .pt, .h5, .mat), from a directory of .npy files,
    or from one array of shape (samples, layers, features).
    """
    import gramian
    from gramian.show.heatmaps import heatmap_svg

    if keys_b and b is None:
        raise click.UsageError("--keys-b are those of B, which is missing")
    chosen = options.of_measure(measure, given, kernel, bandwidth, estimator)
    with inputs.named(Xs=a, Ys=b), inputs.bar(quiet) as progress:
        result = gramian.matrix(
            inputs.layers(a, keys),
            None if b is None else inputs.layers(b, keys if keys_b is None else keys_b),
            measure,
            progress=progress,
            **chosen,
        )
    rows, columns = len(result.rows), len(result.columns)
    found = output.Found(
        text=_table(result, outputs, itself=b is None),
        fields={**result.to_dict(), "estimator": result.estimator, "kernel": result.kernel},
        html=result._repr_html_,
        lines=lambda: output.matrix_lines(result.values, result.rows, result.columns),
        inputs={"a": a, "b": b},
        plot=result.plot,
        svg=lambda: heatmap_svg(result),
        size=(min(2.5 + 0.35 * columns, 14), min(1.8 + 0.35 * rows, 14)),
        values=result.values,
    )
    output.deliver(found, outputs, as_json)


def _table(result: AlignmentMatrix, outputs: tuple[Path, ...], *, itself: bool) -> str:
    """Layers of A down, layers of B across; where they do not fit, what is to be known of them."""
    head = f"{result.caption}, n = {result.n}"
    cells = [["-" if math.isnan(value) else f"{value:z.3f}" for value in row] for row in result.values]
    lines = output.aligned(
        [["", *map(str, result.columns)], *([str(name), *row] for name, row in zip(result.rows, cells, strict=True))]
    )
    reasons = [f"- undefined: {reason}" for reason in result.reasons.values()]
    if not output.fits(lines):
        lines = [output.all_of(len(result.rows), len(result.columns), outputs), *_summary(result, itself)]
    return "\n".join([head, "", *lines, *reasons])


def _summary(result: AlignmentMatrix, itself: bool) -> list[str]:
    values = result.values.copy()
    if itself:
        np.fill_diagonal(values, np.nan)  # a layer and itself tell nothing
    known = values[np.isfinite(values)]
    if not len(known):
        return ["no value is defined"]
    low, middle, high = np.quantile(known, (0, 0.5, 1))
    of = "two different layers" if itself else "all pairs"
    costs = values if result.best_is == "smallest" else -values
    best = [None if np.isnan(row).all() else int(np.nanargmin(row)) for row in costs]
    rows = [
        (str(name), None if j is None else str(result.columns[j]), math.nan if j is None else float(values[i, j]))
        for i, (name, j) in enumerate(zip(result.rows, best, strict=True))
    ]
    return [
        f"values of {of}: {low:z.3f} to {high:z.3f}, median {middle:z.3f}",
        "",
        *output.matches(("layer of A", "best other" if itself else "best in B", "value"), rows),
    ]
