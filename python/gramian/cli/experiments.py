"""`gramian experiments`: claims about alignment, tried on real data."""

from __future__ import annotations

from pathlib import Path

import click

from gramian.cli import options, output

NAMES = ("layers-across-seeds", "stitching-error", "metrics", "wider-is-more-alike", "domain-shift", "ka-concentration")


@click.command(short_help="Claims about alignment, tried on real data.")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=options.Choice(NAMES))
@click.option("--list", "listed", is_flag=True, help="Name the experiments and the claim of each.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("gramian-experiments"),
    show_default=True,
    help="The folder that numbers, tables and figures go to.",
)
@click.option(
    "--representations",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Of examples/encoders, for what needs real encoders.",
)
@click.option("--quick", is_flag=True, help="Fewer seeds, epochs and draws: a trial run in seconds.")
def command(names: tuple[str, ...], *, listed: bool, folder: Path, representations: Path | None, quick: bool) -> None:
    """Try claims about representation alignment on real data; each experiment takes minutes.

    They need torch and scikit-learn.
    """
    import textwrap

    from gramian import experiments

    if listed:
        for name in experiments.EXPERIMENTS:
            claim = textwrap.fill(experiments.module(name).CLAIM, output.WIDTH - 4)
            output.emit(f"{name}\n{textwrap.indent(claim, '    ')}")
        return
    if not names:
        raise click.UsageError("name an experiment; --list shows them")
    for name in names:
        output.emit(experiments.run(name, folder, quick=quick, representations=representations).text())
