"""`gramian spectrum`: leading eigenvalues of a kernel matrix."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.spectra.spectral import Spectrum


@click.command(short_help="Leading eigenvalues of the kernel matrix of X.")
@click.argument("x", metavar="X")
@options.kernel("rbf")
@options.bandwidth
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="How many eigenvalues.")
@click.option("--centered", is_flag=True, help="Of the centred kernel matrix.")
@options.seed
@output.option(*output.TABLES, *output.PICTURES, by_matplotlib=output.PICTURES)
@options.as_json
@options.quiet
def command(
    x: str,
    *,
    kernel: Any,
    bandwidth: float | None,
    k: int,
    centered: bool,
    seed: int,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the leading eigenvalues of the kernel matrix of X over its number of samples."""
    import gramian
    from gramian.results.lines import lines

    (chosen,) = options.with_bandwidth([kernel], bandwidth)
    with inputs.named(X=x), inputs.bar(quiet) as progress:
        result = gramian.spectrum(inputs.rows(x), chosen, k, centered=centered, seed=seed, progress=progress)
    found = output.Found(
        text=_table(result),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: lines(result),
        inputs={"x": x},
        plot=result.plot,
    )
    output.deliver(found, outputs, as_json)


def _table(result: Spectrum) -> str:
    """One row for each eigenvalue, with the part of the trace up to it."""
    from gramian.results.plain import kernel_text

    matrix = "HKH/n" if result.centered else "K/n"
    lines = [f"{matrix}, {kernel_text(result.kernel)}, n = {result.n}, trace = {result.trace:.6g}", ""]
    lines.append(f"{'':>4}  {'eigenvalue':>12}  {'explained':>9}  {'residual':>8}")
    for i, (value, part, left) in enumerate(
        zip(result.eigenvalues, result.explained, result.residuals, strict=True), start=1
    ):
        share = "-" if math.isnan(part) else f"{part:.2%}"
        lines.append(f"{i:>4}  {value:>12.6g}  {share:>9}  {left:>8.1e}")
    if result.reason:
        lines += ["", f"note: {result.reason}"]
    return "\n".join(lines)
