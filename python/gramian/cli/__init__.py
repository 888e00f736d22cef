"""The command line: `gramian compare a.npy b.npy` prints what `gramian.compare` returns.

Exit codes: 0 done, 1 the input is at fault (one line on stderr says how), 2 the command is, or a file that it names is
not there or cannot be read, 130 Ctrl-C, 141 the reader of the output went away. A traceback is shown only under
`python -X dev -m gramian`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click
import numpy as np

from gramian.kernels import KERNELS
from gramian.progress import Progress, on_terminal
from gramian.reasons import UndefinedWarning

if TYPE_CHECKING:
    from gramian.inference.independence import Method
    from gramian.matrices import AlignmentMatrix
    from gramian.measures.neighbors import Metric
    from gramian.spectra.spectral import Spectrum
    from gramian.stitching.linear import Kind
    from gramian.sweeps.estimators import Estimator, Measure

Content = TypeVar("Content")

MEASURES = ("cka", "hsic", "kernel_alignment")
ESTIMATORS = ("unbiased", "biased")
METRICS = ("cosine", "inner_product", "euclidean", "manhattan")
METHODS = ("gamma", "permutation", "pearson3", "t", "chi2", "gretton")
MATRIX_SUFFIXES = (".png", ".svg", ".csv", ".npy", ".json")
STITCHES = ("linear", "affine", "orthogonal", "scaled_orthogonal", "low_rank", "kernel_ridge")
_OVERLAP = ("measure", "value", "chance", "corrected", "ties", "reason")
_INTERRUPTED, _BROKEN_PIPE = 130, 141


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without σ still shows the numbers
    try:
        with _notes():
            return commands.main(arguments, prog_name="gramian", standalone_mode=False) or 0
    except click.Abort:
        click.echo("Interrupted", err=True)
        return _INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (TypeError, ValueError, RuntimeError, OSError, ImportError, MemoryError) as error:
        if sys.flags.dev_mode:
            raise
        click.echo(f"Error: {str(error) or type(error).__name__}", err=True)
        return 1


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Why a number is undefined, where no result says so: a line of stderr, once, without a place in the code."""
    said: set[str] = set()
    plain = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if not issubclass(category, UndefinedWarning):
            plain(message, category, *place, **options)
        elif str(message) not in said:
            said.add(str(message))
            click.echo(f"note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UndefinedWarning)
        warnings.showwarning = show
        yield


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gramian")
def commands() -> None:
    """How alike are two representations?

    Files are .npy, .npz:key or .safetensors:key; row i of both is the same sample.
    """


_json = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
_method = click.option(
    "--method", type=click.Choice(METHODS), default="gamma", show_default=True, help="Of the p-value."
)
_permutations = click.option(
    "--permutations", type=click.IntRange(min=1), default=1000, show_default=True, help="For --method permutation."
)
_bandwidth = click.option(
    "--bandwidth", type=click.FloatRange(min=0, min_open=True), help="Of the kernel; without it, the median heuristic."
)


_KERNEL: dict[str, Any] = {
    "type": click.Choice(list(KERNELS)),
    "metavar": "NAME",
    "show_default": True,
}


def _kernel(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--kernel", default=default, help=f"One of {', '.join(KERNELS)}.", **_KERNEL)


@commands.command()
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    default=("linear", "rbf"),
    help=f"One of {', '.join(KERNELS)}; may be repeated.",
    **_KERNEL,
)
@_bandwidth
@click.option(
    "--confidence", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, show_default=True
)
@_method
@_permutations
@_seed
@_json
@_quiet
def compare(
    x: str,
    y: str,
    *,
    kernels: tuple[str, ...],
    bandwidth: float | None,
    confidence: float,
    method: Method,
    permutations: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare X and Y: every measure with its interval, its p-value and what chance would give."""
    import gramian
    from gramian.rows.sources import open_array

    with _named(X=x, Y=y), _progress(quiet) as progress:
        result = gramian.compare(
            _read(open_array, x),
            _read(open_array, y),
            [_kernel_object(name, bandwidth, kernels) for name in kernels],
            confidence=confidence,
            method=method,
            permutations=permutations,
            seed=seed,
            progress=progress,
        )
    _emit(_document(result.to_dict(), x=x, y=y) if as_json else str(result))


@commands.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help=f"Where to write it, as {', '.join(MATRIX_SUFFIXES)}; may be repeated.",
)
@_kernel("linear")
@_bandwidth
@click.option("--measure", type=click.Choice(MEASURES), default="cka", show_default=True)
@click.option("--estimator", type=click.Choice(ESTIMATORS), default="unbiased", show_default=True)
@_json
@_quiet
def matrix(
    a: str,
    b: str | None,
    *,
    outputs: tuple[Path, ...],
    kernel: str,
    bandwidth: float | None,
    measure: Measure,
    estimator: Estimator,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare every layer of A with every layer of B, or of A itself.

    Layers come from an .npz or .safetensors with an array for each, from a directory of .npy files, or from one array
    of shape (samples, layers, features).
    """
    import gramian
    from gramian.rows.sources import open_layers

    for output in outputs:
        _check_output(output)
    with _named(Xs=a, Ys=b), _progress(quiet) as progress:
        result = gramian.cka_matrix(
            _read(open_layers, a),
            None if b is None else _read(open_layers, b),
            _kernel_object(kernel, bandwidth, (kernel,)),
            measure=measure,
            estimator=estimator,
            progress=progress,
        )
    document = _document(_matrix_fields(result), a=a, b=b)
    for output in outputs:
        _write_matrix(output, result, document)
    if as_json:
        _emit(document)
    elif outputs:
        _emit("\n".join(f"wrote {output}" for output in outputs))
    else:
        _emit(_matrix_table(result))


@commands.command()
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@_kernel("rbf")
@_bandwidth
@_method
@_permutations
@_seed
@_json
@_quiet
def test(
    x: str,
    y: str,
    *,
    kernel: str,
    bandwidth: float | None,
    method: Method,
    permutations: int,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Test whether X and Y are independent: is there any relation at all?"""
    import gramian
    from gramian.inference import independence
    from gramian.rows.sources import open_array

    with _named(X=x, Y=y), _progress(quiet) as progress:
        result = gramian.independence_test(
            _read(open_array, x),
            _read(open_array, y),
            _kernel_object(kernel, bandwidth, (kernel,)),
            method=method,
            permutations=permutations,
            seed=seed,
            progress=progress,
        )
    if as_json:
        _emit(_document(result.to_dict(), x=x, y=y))
        return
    names = ("method", "statistic", "pvalue", "n", "kernel", "permutations", "seed", "reason")
    fields = {name: getattr(result, name) for name in names}
    if result.pvalue < independence.SMALLEST:
        fields["pvalue"] = independence.format_pvalue(result.pvalue)
    _emit(_pairs(fields))


@commands.command()
@click.argument("x", metavar="X")
@click.argument("y", metavar="Y")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbours of a row.")
@click.option("--metric", type=click.Choice(METRICS), default="cosine", show_default=True, help="Who is near whom.")
@_seed
@_json
@_quiet
def knn(x: str, y: str, *, k: int, metric: Metric, seed: int, as_json: bool, quiet: bool) -> None:
    """Compare who is near whom in X and in Y: measures of nearest neighbours beside what chance gives."""
    from gramian.measures.neighbors import overlaps
    from gramian.rows.sources import open_array

    with _named(X=x, Y=y), _progress(quiet) as progress:
        found = overlaps(_read(open_array, x), _read(open_array, y), k, metric=metric, seed=seed, progress=progress)
    if as_json:
        rows = [{name: row[name] for name in _OVERLAP} for row in (overlap.to_dict() for overlap in found)]
        _emit(_document({"n": found[0].n, "k": k, "metric": metric, "rows": rows}, x=x, y=y))
        return
    lines = [f"{k} nearest neighbours by {metric}, n = {found[0].n}", ""]
    lines.append(f"{'':<10}  {'value':>9}  {'chance':>8}  {'corrected':>9}")
    for overlap in found:
        corrected = "-" if math.isnan(overlap.corrected) else f"{overlap.corrected:z.4f}"
        value = "undefined" if math.isnan(overlap.value) else f"{overlap.value:.4f}"
        lines.append(f"{overlap.measure:<10}  {value:>9}  {overlap.chance:8.4f}  {corrected:>9}")
    if reason := found[0].reason:
        lines += ["", f"undefined: {reason}"]
    elif note := found[0].note:
        lines += ["", note]
    _emit("\n".join(lines))


@commands.command()
@click.argument("x", metavar="X")
@_kernel("rbf")
@_bandwidth
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="How many eigenvalues.")
@click.option("--centered", is_flag=True, help="Of the centred kernel matrix.")
@_seed
@_json
@_quiet
def spectrum(
    x: str,
    *,
    kernel: str,
    bandwidth: float | None,
    k: int,
    centered: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show the leading eigenvalues of the kernel matrix of X over its number of samples."""
    import gramian
    from gramian.rows.sources import open_array

    with _named(X=x), _progress(quiet) as progress:
        result = gramian.spectrum(
            _read(open_array, x),
            _kernel_object(kernel, bandwidth, (kernel,)),
            k,
            centered=centered,
            seed=seed,
            progress=progress,
        )
    _emit(_document(result.to_dict(), x=x) if as_json else _spectrum_table(result))


@commands.command()
@click.argument("f1", metavar="A")
@click.argument("f2", metavar="B")
@click.option("--targets", metavar="Y", help="Targets of the squared loss; one-hot labels for a classifier.")
@click.option("--head", metavar="W", help="What B's model does next: a matrix of shape (outputs, features of B).")
@click.option("--first-head", metavar="W", help="The same of A's model, for its own risk.")
@click.option("--kind", type=click.Choice(STITCHES), default="linear", show_default=True, help="Of the map.")
@click.option("--ridge", metavar="λ|gcv", default="0", show_default=True, help="In units of the variance of A.")
@click.option("--rank", type=click.IntRange(min=1), help="For --kind low_rank.")
@click.option("--kernel", metavar="NAME", type=click.Choice(list(KERNELS)), help="For --kind kernel_ridge.")
@_bandwidth
@click.option(
    "--split",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Part of the rows that the map is fitted on.",
)
@_seed
@_json
@_quiet
def stitch(
    f1: str,
    f2: str,
    *,
    targets: str | None,
    head: str | None,
    first_head: str | None,
    kind: Kind,
    ridge: str,
    rank: int | None,
    kernel: str | None,
    bandwidth: float | None,
    split: float,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Stitch A into B: how much of B's features a map of A's gives, on rows that it was not fitted on.

    With targets and a head also the risk of the stitched model, beside every bound that speaks of it.
    """
    import gramian
    from gramian.rows.sources import open_array

    chosen = _ridge_number(ridge)
    if bandwidth is not None and kernel is None:
        raise click.UsageError("--bandwidth is that of --kernel, which is missing")
    files = {"F1": f1, "F2": f2, "Y": targets, "g1": first_head, "g2": head}
    with _named(**files), _progress(quiet) as progress:
        opened = {name: None if file is None else _read(open_array, file) for name, file in files.items()}
        report = gramian.stitch_report(
            *opened.values(),
            kind=kind,
            ridge=chosen,
            rank=rank,
            kernel=None if kernel is None else _kernel_object(kernel, bandwidth, (kernel,)),
            split=split,
            seed=seed,
            progress=progress,
        )
    inputs = {"a": f1, "b": f2, "targets": targets, "first_head": first_head, "head": head}
    _emit(_document(report.to_dict(), **inputs) if as_json else str(report))


@commands.command()
@_json
def info(*, as_json: bool) -> None:
    """Show the version, the devices and instruction set in use, and which optional packages are installed."""
    import gramian

    fields = gramian.info()
    if as_json:
        _emit(_document(fields))
        return
    fields["cuda_compiler"] = fields["cuda_compiler"] or "none: built for the CPU only"
    fields["packages"] = {name: version or "not installed" for name, version in fields["packages"].items()}
    _emit(_pairs(fields))


@commands.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("gramian-demo"),
    show_default=True,
    help="Where the report and its pictures go.",
)
@_json
def demo(*, output: Path, as_json: bool) -> None:
    """Compare real models on real data, offline, and write a report with pictures."""
    import gramian.demo

    report = gramian.demo.run(output)
    _emit(_document(report.to_dict()) if as_json else report.text())


def _ridge_number(ridge: str) -> float | Literal["gcv"]:
    if ridge == "gcv":
        return "gcv"
    try:
        return float(ridge)
    except ValueError:
        raise click.UsageError(f"--ridge must be a number or gcv, got {ridge}") from None


def _kernel_object(name: str, bandwidth: float | None, chosen: Sequence[str]) -> Any:
    """The kernel of that name; --bandwidth goes to those of the chosen that have one."""
    if bandwidth is None:
        return name
    if not math.isfinite(bandwidth):
        raise click.UsageError(f"--bandwidth must be a number, got {bandwidth}")
    having = [other for other, cls in KERNELS.items() if "bandwidth" in (f.name for f in dataclasses.fields(cls))]
    if not set(having) & set(chosen):
        raise click.UsageError(f"--bandwidth: {', '.join(chosen)} has none; {', '.join(having)} have")
    kind: Any = KERNELS[name]
    return kind(bandwidth=bandwidth) if name in having else name


class _Unreadable(click.ClickException):
    """A file that the command names is not there, or is not what its name says."""

    exit_code = 2


def _read(open_file: Callable[[str], Content], file: str) -> Content:
    """What is in a file that the command names."""
    try:
        return open_file(file)
    except (OSError, TypeError, ValueError) as error:
        if sys.flags.dev_mode:
            raise
        raise _Unreadable(str(error)) from error


@contextlib.contextmanager
def _named(**files: str | None) -> Iterator[None]:
    """Errors speak of X and Y; say which files they are."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if sys.flags.dev_mode:
            raise
        said = [f"{name} is {file}" for name, file in files.items() if file and re.search(rf"\b{name}\b", str(error))]
        legend = f" ({', '.join(said)})" if said else ""
        raise click.ClickException(f"{error}{legend}") from error


def _progress(quiet: bool) -> contextlib.AbstractContextManager[Progress | None]:
    """One bar for a command of more than a second, on a terminal; None where nobody would see it."""
    return on_terminal(str(click.get_current_context().info_name), quiet=quiet)


def _emit(text: str) -> None:
    """Print, or leave quietly if the reader has gone (`gramian info | head -1`)."""
    try:
        click.echo(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        sys.exit(_BROKEN_PIPE)


def _document(fields: Mapping[str, Any], **inputs: str | None) -> str:
    """One JSON document; what is not finite becomes null, and `reason` beside it says why."""
    from gramian import __version__

    named = {name: file for name, file in inputs.items() if file is not None}
    document = {"gramian": __version__, **({"inputs": named} if named else {}), **fields}
    return json.dumps(_plain(document), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """`value` out of what JSON knows."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return str(value)


def _pairs(fields: Mapping[str, Any], indent: str = "") -> str:
    """Names and values under each other; below them, why a value is undefined."""
    shown = {name: value for name, value in fields.items() if value is not None and name != "reason"}
    width = max(map(len, shown), default=0)
    lines = []
    for name, value in shown.items():
        label = f"{indent}{name.replace('_', ' ').replace('pvalue', 'p-value')}"
        if isinstance(value, Mapping):
            lines += [label, _pairs(value, indent + "  ")]
        else:
            lines.append(f"{label:<{len(indent) + width + 2}}{_shown(value)}")
    if reason := fields.get("reason"):
        lines += ["", f"{indent}undefined: {reason}"]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)


def _matrix_fields(result: AlignmentMatrix) -> dict[str, Any]:
    names = ("measure", "estimator", "kernel", "n", "rows", "columns", "values", "reasons")
    return {name: getattr(result, name) for name in names}


def _matrix_table(result: AlignmentMatrix) -> str:
    """Layers of A down, layers of B across."""
    cells = [["-" if math.isnan(value) else f"{value:z.3f}" for value in row] for row in result.values]
    columns = [str(name) for name in result.columns]
    label = max(len(str(name)) for name in result.rows)
    widths = [max(len(name), *(len(row[j]) for row in cells)) for j, name in enumerate(columns)]
    lines = [f"{result.measure}, {result.estimator}, {result.kernel}, n = {result.n}", ""]
    lines.append(" " * label + "".join(f"  {name:>{w}}" for name, w in zip(columns, widths, strict=True)))
    for name, row in zip(result.rows, cells, strict=True):
        lines.append(f"{name!s:<{label}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(row, widths, strict=True)))
    lines += [f"- undefined: {reason}" for reason in result.reasons.values()]
    return "\n".join(lines)


def _spectrum_table(result: Spectrum) -> str:
    """One row for each eigenvalue, with the part of the trace up to it."""
    matrix = "HKH/n" if result.centered else "K/n"
    lines = [f"{matrix}, {result.kernel}, n = {result.n}, trace = {result.trace:.6g}", ""]
    lines.append(f"{'':>4}  {'eigenvalue':>12}  {'explained':>9}  {'residual':>8}")
    for i, (value, part, left) in enumerate(
        zip(result.eigenvalues, result.explained, result.residuals, strict=True), start=1
    ):
        share = "-" if math.isnan(part) else f"{part:.2%}"
        lines.append(f"{i:>4}  {value:>12.6g}  {share:>9}  {left:>8.1e}")
    if result.reason:
        lines += ["", f"note: {result.reason}"]
    return "\n".join(lines)


def _check_output(path: Path) -> None:
    """Before the long work: can this file be written at the end?"""
    if path.suffix not in MATRIX_SUFFIXES:
        raise click.UsageError(f"-o {path}: write it as one of {', '.join(MATRIX_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such directory")
    if path.suffix == ".png":
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise ImportError(f"{path}: a .png needs matplotlib: pip install 'gramian[viz]'; .svg does not") from error


def _write_matrix(to: Path, result: AlignmentMatrix, document: str) -> None:
    """All of the file or none."""
    from gramian.rows.statistics_files import replacing

    with replacing(to) as path:
        _write(path, result, document)


def _write(path: Path, result: AlignmentMatrix, document: str) -> None:
    if path.suffix == ".json":
        path.write_text(document + "\n", encoding="utf-8")
    elif path.suffix == ".npy":
        np.save(path, result.values)
    elif path.suffix == ".csv":
        _write_csv(path, result)
    elif path.suffix == ".svg":
        from gramian.show.heatmaps import heatmap_svg

        path.write_text(heatmap_svg(result), encoding="utf-8")
    else:
        _write_png(path, result)


def _write_csv(path: Path, result: AlignmentMatrix) -> None:
    import csv

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", *result.columns])
        for name, row in zip(result.rows, np.asarray(result.values), strict=True):
            writer.writerow([name, *map(float, row)])


def _write_png(path: Path, result: AlignmentMatrix) -> None:
    from matplotlib.figure import Figure

    rows, columns = np.asarray(result.values).shape
    figure = Figure(figsize=(2.5 + 0.35 * columns, 1.8 + 0.35 * rows), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    result.plot(ax=axes)
    figure.savefig(path)
