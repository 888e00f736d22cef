"""`gramian search`: which layer of one model to stitch into which layer of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import numpy as np

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.stitching.layers import LayerSearch

_TABLES = (
    "misalignment", "misalignment_ratio", "alignment", "risk_stitch", "excess", "bound_effective", "bound_upper",
    "ridge",
)  # fmt: skip


@click.command(short_help="Every layer of A stitched into every layer of B.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@options.keys
@options.keys_b
@click.option("--targets", metavar="Y", help="Targets of the squared loss; one-hot labels for a classifier.")
@click.option(
    "--heads",
    metavar="FILE",
    help="What B's model does after each layer: a matrix (outputs, features) by the name of the layer.",
)
@click.option("--kind", type=options.Choice(("linear", "affine")), default="linear", show_default=True, help="Of maps.")
@options.ridge
@options.split
@options.seed
@output.option(*output.PICTURES, *output.TABLES)
@options.as_json
@options.quiet
def command(
    a: str,
    b: str,
    *,
    keys: list[str] | None,
    keys_b: list[str] | None,
    targets: str | None,
    heads: str | None,
    kind: Literal["linear", "affine"],
    ridge: float | Literal["gcv"],
    split: float,
    seed: int,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Stitch every layer of A into every layer of B: which goes where, on rows that no map was fitted on."""
    import gramian
    from gramian.show.heatmaps import heatmap_svg

    names = {"layers1": a, "layers2": b, "Y": targets, "heads2": heads}
    with inputs.named(**names), inputs.bar(quiet) as progress:
        result = gramian.layer_search(
            inputs.layers(a, keys),
            inputs.layers(b, keys if keys_b is None else keys_b),
            heads2=None if heads is None else inputs.layers(heads),
            Y=None if targets is None else inputs.rows(targets),
            kind=kind,
            ridge=ridge,
            split=split,
            seed=seed,
            progress=progress,
        )
    found = output.Found(
        text=_table(result, outputs),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: _lines(result),
        inputs={"a": a, "b": b, "targets": targets, "heads": heads},
        plot=result.plot,
        svg=lambda: heatmap_svg(result.grid()),
        size=(min(3.5 + 0.35 * len(result.columns), 14), min(1.8 + 0.35 * len(result.rows), 14)),
    )
    output.deliver(found, outputs, as_json)


def _table(result: LayerSearch, outputs: tuple[Path, ...]) -> str:
    """Every pair where that fits; else each layer's best, which is what was asked."""
    text = str(result)
    if output.fits(text.splitlines()):
        return text
    found = [(match.row, match.column, match.value) for match in result.best()]
    return "\n".join(
        [
            f"{result.grid().heading}, fitted on {len(result.fitted)} other rows",
            "",
            output.all_of(len(result.rows), len(result.columns), outputs),
            "",
            *output.matches(("layer of A", "best in B", "value"), found),
            *(f"{name}: {reason}" for name, reason in result.reasons.items()),
        ]
    )


def _lines(result: LayerSearch) -> Iterator[Sequence[Any]]:
    """A line for each pair of layers."""
    yield ["layer1", "layer2", *_TABLES]
    tables = [np.broadcast_to(getattr(result, name), result.misalignment.shape) for name in _TABLES]
    for i, row in enumerate(result.rows):
        for j, column in enumerate(result.columns):
            yield [row, column, *(float(table[i, j]) for table in tables)]
