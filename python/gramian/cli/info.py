"""`gramian info`: what is installed and in use."""

from __future__ import annotations

import click

from gramian.cli import options, output


@click.command(short_help="Version, devices, instruction set, and optional packages.")
@options.as_json
def command(*, as_json: bool) -> None:
    """Show the version, the devices and instruction set in use, and which optional packages are installed."""
    import gramian

    fields = gramian.info()
    if as_json:
        output.emit(output.json_document(fields))
        return
    fields["cuda_compiler"] = fields["cuda_compiler"] or "none: built for the CPU only"
    fields["packages"] = {name: version or "not installed" for name, version in fields["packages"].items()}
    output.emit(output.pairs(fields))
