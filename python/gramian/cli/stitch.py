"""`gramian stitch`: one representation mapped into another, and what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.stitching.linear import Kind

KINDS = ("linear", "affine", "orthogonal", "scaled_orthogonal", "low_rank", "kernel_ridge")


@click.command(short_help="How much of B's features a map of A's gives, at what risk.")
@click.argument("f1", metavar="A")
@click.argument("f2", metavar="B")
@click.option("--targets", metavar="Y", help="Targets of the squared loss; one-hot labels for a classifier.")
@click.option("--head", metavar="W", help="What B's model does next: a matrix of shape (outputs, features of B).")
@click.option("--first-head", metavar="W", help="The same of A's model, for its own risk.")
@click.option("--kind", type=options.Choice(KINDS), default="linear", show_default=True, help="Of the map.")
@options.ridge
@click.option("--rank", type=click.IntRange(min=1), help="For --kind low_rank.")
@options.kernel(None, "For --kind kernel_ridge; names as in compare.")
@options.bandwidth
@options.split
@options.seed
@output.option(*output.TABLES, *output.PICTURES, by_matplotlib=output.PICTURES)
@options.as_json
@options.quiet
def command(
    f1: str,
    f2: str,
    *,
    targets: str | None,
    head: str | None,
    first_head: str | None,
    kind: Kind,
    ridge: float | Literal["gcv"],
    rank: int | None,
    kernel: Any,
    bandwidth: float | None,
    split: float,
    seed: int,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Stitch A into B: how much of B's features a map of A's gives, on rows that it was not fitted on.

    With targets and a head also the risk of the stitched model, beside every bound that speaks of it.
    """
    import gramian
    from gramian.results.lines import lines

    if bandwidth is not None and kernel is None:
        raise click.UsageError("--bandwidth is that of --kernel, which is missing")
    chosen = None if kernel is None else options.with_bandwidth([kernel], bandwidth)[0]
    files = {"F1": f1, "F2": f2, "Y": targets, "g1": first_head, "g2": head}
    with inputs.named(**files), inputs.bar(quiet) as progress:
        opened = {
            name: file and (inputs.array(file) if name in ("g1", "g2") else inputs.rows(file))
            for name, file in files.items()
        }
        report = gramian.stitch_report(
            *opened.values(),
            kind=kind,
            ridge=ridge,
            rank=rank,
            kernel=chosen,
            split=split,
            seed=seed,
            progress=progress,
        )
    found = output.Found(
        text=str(report),
        fields=report.to_dict(),
        html=report._repr_html_,
        lines=lambda: lines(report),
        inputs={"a": f1, "b": f2, "targets": targets, "first_head": first_head, "head": head},
        plot=report.plot,
        size=(9.0, 1.6 + 0.34 * len(report.bounds)),
    )
    output.deliver(found, outputs, as_json)
