"""`gramian demo`: real models on real data, offline."""

from __future__ import annotations

from pathlib import Path

import click

from gramian.cli import options, output


@click.command(short_help="Real models on real data, offline, with a report.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("gramian-demo"),
    show_default=True,
    help="Where the report and its pictures go.",
)
@options.as_json
def command(*, folder: Path, as_json: bool) -> None:
    """Compare real models on real data, offline, and write a report with pictures."""
    import gramian.demo

    report = gramian.demo.run(folder)
    output.emit(output.json_document(report.to_dict()) if as_json else report.text())
