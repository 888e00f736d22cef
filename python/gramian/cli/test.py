"""`gramian test`: are two representations independent?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gramian.cli import inputs, options, output

if TYPE_CHECKING:
    from gramian.inference.independence import Method


@click.command(short_help="Are X and Y independent: is there any relation at all?")
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@options.kernel("rbf")
@options.bandwidth
@options.method
@options.permutations
@options.seed
@output.option(*output.TABLES)
@options.as_json
@options.quiet
def command(
    x: str,
    y: str,
    *,
    kernel: Any,
    bandwidth: float | None,
    method: Method,
    permutations: int,
    seed: int,
    outputs: tuple[Path, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Test whether X and Y are independent: is there any relation at all?"""
    import gramian
    from gramian.inference import independence
    from gramian.results.lines import lines
    from gramian.results.plain import kernel_text

    (chosen,) = options.with_bandwidth([kernel], bandwidth)
    with inputs.named(X=x, Y=y), inputs.bar(quiet) as progress:
        result = gramian.independence_test(
            inputs.rows(x),
            inputs.rows(y),
            chosen,
            method=method,
            permutations=permutations,
            seed=seed,
            progress=progress,
        )
    fields = {name: getattr(result, name) for name in ("method", "statistic", "pvalue", "n")}
    if result.pvalue < independence.SMALLEST:
        fields["pvalue"] = independence.format_pvalue(result.pvalue)
    of_x, of_y = map(kernel_text, result.kernel)
    fields |= {"kernel": of_x} if of_x == of_y else {"kernel_of_X": of_x, "kernel_of_Y": of_y}
    fields |= {name: getattr(result, name) for name in ("permutations", "seed", "reason")}
    found = output.Found(
        text=output.pairs(fields),
        fields=result.to_dict(),
        html=result._repr_html_,
        lines=lambda: lines(result),
        inputs={"x": x, "y": y},
    )
    output.deliver(found, outputs, as_json)
