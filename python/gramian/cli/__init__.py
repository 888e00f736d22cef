"""The command line: `gramian compare a.npy b.npy` prints what `gramian.compare` returns.

Each command is a file of its own, loaded when it is asked for. Exit codes: 0 done, 1 the input is at fault (one line on
stderr says how), 2 the command is, or a file that it names is not there or cannot be read, 130 Ctrl-C, 141 the reader
of the output went away. A traceback is shown only under `python -X dev -m gramian`.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from gramian.reasons import UndefinedWarning
from gramian.words import did_you_mean

# in the order in which one needs them
COMMANDS = (
    "compare", "matrix", "test", "knn", "rsa", "cca", "null", "spectrum", "stitch", "search", "platonic", "experiments",
    "info", "demo",
)  # fmt: skip
_INTERRUPTED = 130


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


class _Commands(click.Group):
    """The commands, each loaded by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"gramian.cli.{cmd_name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gramian")
def commands() -> None:
    """How alike are two representations?

    Files are .npy, .csv, or .npz:key, .safetensors:key, .pt:key, .h5:key, .mat:key; row i of both is the same sample.
    """
