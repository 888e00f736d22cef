"""Arguments as arrays and layers: a file that cannot be read is the command's fault, what is in it the input's."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
import numpy as np

from gramian.progress import Progress, on_terminal

Content = TypeVar("Content")


class Unreadable(click.ClickException):
    """A file that the command names is not there, or is not what its name says."""

    exit_code = 2


def rows(file: str) -> Any:
    """One array, with the labels that a .csv has for its rows."""
    from gramian.rows.sources import open_rows

    return _read(open_rows, file)


def array(file: str) -> Any:
    """One array without labels: a head."""
    from gramian.rows.sources import open_array

    return _read(open_array, file)


def layers(file: str, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """Every layer, or those that keys choose."""
    from gramian.rows.sources import open_layers

    return _read(lambda spec: open_layers(spec, keys), file)


def _read(open_file: Callable[[str], Content], file: str) -> Content:
    try:
        return open_file(file)
    except (OSError, TypeError, ValueError) as error:
        if sys.flags.dev_mode:
            raise
        raise Unreadable(str(error)) from error


@contextlib.contextmanager
def named(**files: str | None) -> Iterator[None]:
    """Errors speak of X and Y; say which files they are."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if sys.flags.dev_mode:
            raise
        said = [f"{name} is {file}" for name, file in files.items() if file and re.search(rf"\b{name}\b", str(error))]
        legend = f" ({', '.join(said)})" if said else ""
        raise click.ClickException(f"{error}{legend}") from error


def bar(quiet: bool) -> contextlib.AbstractContextManager[Progress | None]:
    """One bar for a command of more than a second, on a terminal; None where nobody would see it."""
    return on_terminal(str(click.get_current_context().info_name), quiet=quiet)


def labels(file: str) -> Any:
    """A label for each row: one dimension, or a single column."""
    found = np.asarray(array(file))
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def features(file: str) -> Any:
    """What a file of platonic-rep, or of layers, holds."""
    from gramian.platonic import open_features

    return _read(open_features, file)
