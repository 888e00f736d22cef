"""What options of several commands have in common: how they are called, and what they are read as."""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from gramian.kernels import KERNELS, as_kernel
from gramian.words import did_you_mean

if TYPE_CHECKING:
    _Type: TypeAlias = click.ParamType[Any]
else:
    _Type = click.ParamType  # generic since click 8.3 only

Command = TypeVar("Command", bound=Callable[..., Any])

ESTIMATORS = ("unbiased", "biased")
METRICS = ("cosine", "inner_product", "euclidean", "manhattan")
METHODS = ("gamma", "permutation", "pearson3", "t", "chi2", "gretton")
_WITH_PARAMETERS = re.compile(r"\s*(?P<name>[\w\- ]+?)\s*\((?P<given>.*)\)\s*")
_NOT_TYPED = ("progress", "memory", "precision", "kernel_y")  # the first is --quiet, and layers have one kernel


# ---- words -----------------------------------------------------------------------------------------------------------


class Choice(_Type):
    """One of a few words; a wrong one is answered by the nearest."""

    name = "choice"

    def __init__(self, choices: Iterable[str], *, listed: bool = True) -> None:
        self.choices = tuple(choices)
        self.listed = listed  # all of them in the place of the value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.choices)}]" if self.listed else "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(f"{value!r} is not one of {', '.join(self.choices)}{did_you_mean(value, self.choices)}")
        return str(value)


class Measure(_Type):
    """A measure of the registry, by its name."""

    name = "measure"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "MEASURE" if isinstance(param, click.Argument) else "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from gramian.measures import registry

        try:
            return registry.row_of(value).name
        except ValueError as error:
            self.fail(str(error))


class WithMeasures(click.Command):
    """A command whose help ends with the measures that there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from gramian.measures.registry import MEASURES

        with_options = any(parameter.name == "given" for parameter in self.params)
        listed = []
        for name, row in MEASURES.items():
            takes = ", ".join(choosable(row.options)) if with_options else ""
            listed.append((name, f"{row.title}: {takes}" if takes else row.title))
        with formatter.section("Measures, with their options for -O" if with_options else "Measures"):
            formatter.write_dl(listed)


def choosable(options: Iterable[str]) -> list[str]:
    """What of a measure's options is for the command line."""
    return [name for name in options if name not in _NOT_TYPED]


# ---- kernels ---------------------------------------------------------------------------------------------------------


class KernelType(_Type):
    """A kernel by any of its names, with parameters as tables show them: ``polynomial(degree=2)``."""

    name = "kernel"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return kernel_of(value)
        except (TypeError, ValueError) as error:
            self.fail(str(error))


def kernel_of(text: str) -> Any:
    """The name of a kernel, or an object where parameters are given."""
    match = _WITH_PARAMETERS.fullmatch(text)
    if match is None:
        return as_kernel(text).name
    kind: Any = type(as_kernel(match["name"]))
    given = dict(_assigned(part) for part in match["given"].split(",") if part.strip())
    return kind(**{name: _number(name, value) for name, value in given.items()})


def with_bandwidth(kernels: Sequence[Any], bandwidth: float | None) -> list[Any]:
    """--bandwidth goes to those of the kernels that have one and do not say another."""
    if bandwidth is None:
        return list(kernels)
    if not math.isfinite(bandwidth):
        raise click.UsageError(f"--bandwidth must be a number, got {bandwidth}")
    having = [name for name, cls in KERNELS.items() if "bandwidth" in (f.name for f in dataclasses.fields(cls))]
    if not set(having) & set(kernels):
        if any(kernel.name in having for kernel in kernels if not isinstance(kernel, str)):
            raise click.UsageError("--bandwidth and that of the kernel itself are one; give one of them")
        named = ", ".join(k if isinstance(k, str) else k.name for k in kernels)
        raise click.UsageError(f"--bandwidth: {named} has none; {', '.join(having)} have")
    kinds: dict[str, Any] = dict(KERNELS)
    return [kinds[kernel](bandwidth=bandwidth) if kernel in having else kernel for kernel in kernels]


def _assigned(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text.strip()!r} must be NAME=VALUE")
    return name.strip(), value.strip()


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None


def _kernel_help(more: str = "") -> str:
    return f"One of {', '.join(KERNELS)}, or as others call them; parameters as in 'polynomial(degree=2)'{more}."


def kernel(default: str | None, help: str | None = None) -> Callable[[Command], Command]:
    return click.option(
        "--kernel", type=KernelType(), default=default, show_default=default is not None, help=help or _kernel_help()
    )


kernels = click.option(
    "--kernel",
    "kernels",
    type=KernelType(),
    multiple=True,
    default=("linear", "rbf"),
    show_default=True,
    help=_kernel_help("; may be repeated"),
)
bandwidth = click.option(
    "--bandwidth", type=click.FloatRange(min=0, min_open=True), help="Of the kernel; without it, the median heuristic."
)


# ---- options of a measure --------------------------------------------------------------------------------------------

given = click.option(
    "-O",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="An option of the measure, as in -O k=20; may be repeated. They are listed below.",
)
estimator = click.option("--estimator", type=Choice(ESTIMATORS), help="Of cka, hsic and kernel_alignment.")


def of_measure(
    measure: str, given: Sequence[str], kernel: Any, bandwidth: float | None, estimator: str | None
) -> dict[str, Any]:
    """What is chosen for a measure, each by the type that its own signature has."""
    from gramian.measures import registry

    row = registry.row_of(measure)
    takes = row.options
    hints = get_type_hints(row.function)
    found: dict[str, Any] = {}
    for text in given:
        try:
            name, value = _assigned(text)
            if name in choosable(takes):
                found[name] = value_of(name, value, hints[name])
            else:
                listed = ", ".join(choosable(takes)) or "none"
                near = did_you_mean(name, choosable(takes))
                raise ValueError(f"{measure} has no option {name!r}{near}{' It' if near else '; it'} takes {listed}")
        except (TypeError, ValueError) as error:
            raise click.UsageError(f"-O {text}: {error}") from None
    shortcuts = {"kernel": kernel, "estimator": estimator}
    for name, chosen in shortcuts.items():
        if chosen is None:
            continue
        if name not in takes:
            raise click.UsageError(f"--{name}: {measure} has none; it takes {', '.join(choosable(takes)) or 'none'}")
        if name in found:
            raise click.UsageError(f"--{name} and -O {name}= are one; give one of them")
        found[name] = chosen
    if bandwidth is not None:
        if "kernel" not in takes:
            raise click.UsageError(f"--bandwidth: {measure} has no kernel")
        (found["kernel"],) = with_bandwidth([found.get("kernel", "linear")], bandwidth)
    return found


def value_of(name: str, text: str, hint: Any) -> Any:
    """A value of the type that a parameter is declared to have; ValueError if the text is none."""
    kinds = _kinds(hint)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if any(kind in KERNELS.values() for kind in kinds):
        return kernel_of(text)
    if text in words:
        return text
    for kind in kinds:
        if kind in _READ and (found := _READ[kind](text)) is not _NOT:
            return found
        if get_origin(kind) is tuple:
            parts = [part.strip() for part in text.split(",")]
            if len(parts) == len(get_args(kind)) > 1:
                return tuple(value_of(name, part, of) for part, of in zip(parts, get_args(kind), strict=True))
    if words:
        raise ValueError(f"{name} must be one of {', '.join(words)}{did_you_mean(text, words)}")
    raise ValueError(f"{name} must be {' or '.join(dict.fromkeys(map(_in_words, kinds)))}, got {text!r}")


_NOT = object()  # what a text is that is no value of a type


def _read(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except (KeyError, ValueError):
            return _NOT

    return read


_READ: dict[Any, Callable[[str], Any]] = {
    types.NoneType: lambda text: None if text.lower() == "none" else _NOT,
    bool: _read(lambda text: {"true": True, "yes": True, "false": False, "no": False}[text.lower()]),
    int: _read(int),
    float: _read(float),
    str: str,
}


def _kinds(hint: Any) -> list[Any]:
    """The types that a union is made of."""
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for part in get_args(hint) for kind in _kinds(part)]
    return [hint]


def _in_words(kind: Any) -> str:
    known: Mapping[Any, str] = {
        types.NoneType: "none",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
    }
    return known.get(kind, "numbers with commas between them" if get_origin(kind) is tuple else str(kind))


# ---- other options ---------------------------------------------------------------------------------------------------

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
seed = click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
metric = click.option("--metric", type=Choice(METRICS), default="cosine", show_default=True, help="Who is near whom.")
method = click.option("--method", type=Choice(METHODS), default="gamma", show_default=True, help="Of the p-value.")
permutations = click.option(
    "--permutations", type=click.IntRange(min=1), default=1000, show_default=True, help="For --method permutation."
)
split = click.option(
    "--split",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Part of the rows that the map is fitted on.",
)
keys = click.option(
    "--keys",
    metavar="NAMES",
    callback=lambda ctx, param, value: _names(value),
    multiple=True,
    help="Which layers, in this order: names or patterns as 'blocks.*.mlp', with commas or repeated.",
)
keys_b = click.option(
    "--keys-b",
    metavar="NAMES",
    callback=lambda ctx, param, value: _names(value),
    multiple=True,
    help="Those of B, if they are others.",
)


def _names(given: Sequence[str]) -> list[str] | None:
    return [name.strip() for text in given for name in text.split(",")] or None


class Ridge(_Type):
    """A number, or the word that leaves it to the data."""

    name = "ridge"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "λ|gcv"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "gcv":
            return "gcv"
        try:
            return float(value)
        except ValueError:
            raise click.UsageError(f"--ridge must be a number or gcv, got {value}") from None


ridge = click.option("--ridge", type=Ridge(), default="0", show_default=True, help="In units of the variance of A.")
