"""What all readers of files share: every damage is one ValueError that names the file, every name fits on a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

UNPACKED_FREELY = 256 << 20  # bytes
SWOLLEN = 100  # times its size in the file: beyond this, and the above, an array is not unpacked
_LONGEST_NAME = 200
_LONGEST_WORDS = 300  # characters of what a library says of a damaged file, which may quote the file


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The open file; whatever goes wrong with its content is one ValueError that names it.

    What NumPy, zipfile, ast, mmap, torch and HDF5 raise of bytes that are not what they should be has no end:
    OverflowError, SyntaxError, struct.error, UnicodeDecodeError, MemoryError of a size that a header claims, and more.
    What is right but is not read, a TypeError, and what is not installed, an ImportError, come out if they name the
    file.
    """
    with open(path, "rb") as file:
        try:
            yield file
        except Exception as error:
            if isinstance(error, ValueError | TypeError | ImportError) and str(error).startswith(str(path)):
                raise  # said already
            raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ValueError:
    said = " ".join(str(error).split())[:_LONGEST_WORDS] or type(error).__name__
    return ValueError(f"{path} cannot be read as {path.suffix or 'an archive of arrays'}: {said}")


def check_size(path: Path, name: str, claimed: int, stored: int) -> None:
    """Refuse an array that would fill the memory from a few bytes of a file, as none that was saved on purpose does."""
    if claimed > max(UNPACKED_FREELY, SWOLLEN * stored):
        raise ValueError(
            f"{path}: {printable(name)!r} would take {claimed} bytes of memory, more than {SWOLLEN} times the {stored} "
            "that the file has for it; if that is right, save it as an .npy file, which is mapped and has no limit"
        )


def natural(name: str) -> list[str | int]:
    """Digits compare as numbers: odd places of the split are always digits."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def printable(name: str) -> str:
    """A name from a file, which may be anything, on one line."""
    return name if name.isprintable() and len(name) <= _LONGEST_NAME else f"{name!r:.{_LONGEST_NAME}}"


def listing(names: Iterable[str]) -> str:
    return shown(sorted(names, key=natural))


def shown(names: Iterable[str]) -> str:
    """The first twenty names, in the order that they come in."""
    found = [printable(name) for name in names]
    return ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")
