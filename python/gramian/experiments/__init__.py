"""Claims about representation alignment as experiments on real data: ``python -m gramian.experiments NAME``.

Each writes numbers (JSON), a table (CSV and text) and a figure (SVG), and ends with a sentence on what was found,
composed from the numbers, whichever way they came out. torch and scikit-learn are needed here, and nowhere else.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from gramian.experiments.frame import Record, Settings, write

EXPERIMENTS = {
    "layers-across-seeds": "layers",
    "stitching-error": "stitchers",
    "metrics": "measures",
    "wider-is-more-alike": "widths",
    "domain-shift": "shifts",
    "ka-concentration": "concentration",
}


def module(name: str) -> Any:
    """The module of an experiment: its CLAIM, and ``run`` from `Settings` to an `Outcome`."""
    if name not in EXPERIMENTS:
        raise ValueError(f"no experiment is called {name!r}; there are {', '.join(EXPERIMENTS)}")
    return import_module(f"gramian.experiments.{EXPERIMENTS[name]}")


def run(name: str, folder: Path, *, quick: bool = False, representations: Path | None = None) -> Record:
    """Run an experiment and write NAME.json, NAME.csv, NAME.txt and NAME.svg into a folder.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    folder : Path
        Made if missing; files of these names are replaced.
    quick : bool
        Fewer seeds, epochs and draws: whether it works, not what is true.
    representations : Path, optional
        What examples/encoders/representations.py wrote, for the experiments on pretrained encoders.

    Returns
    -------
    Record
        ``.finding``, ``.text()``, ``.document`` (what NAME.json holds), ``.files``.

    Raises
    ------
    ValueError
        There is no such experiment.
    ImportError
        torch or scikit-learn is missing; the message says which.
    FileNotFoundError
        `representations` lacks a file; the message says how to make it.
    """
    return write(name, module(name), folder, Settings(quick=quick, representations=representations))
