"""Representations of pretrained encoders, as examples/encoders/representations.py writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gramian.experiments.frame import Array

IMAGES = {"Lite0": "lite0", "Lite1": "lite1", "Lite2": "lite2"}  # on the emoji's pictures
TEXTS = {"MiniLM": "name", "USE": "name_use", "GloVe": "name_glove"}  # on the emoji's names
INSTALL = (
    "To install them: sh examples/encoders/setup.sh python, then python examples/encoders/representations.py FOLDER, "
    "and --representations FOLDER here."
)


def absent() -> str:
    """What to say where no folder was given."""
    return f"Pretrained encoders are left out: no --representations was given. {INSTALL}"


def image(folder: Path, name: str) -> Array:
    """(m, 1280) the last feature layer of an image encoder."""
    return read(folder, f"{IMAGES[name]}_out")


def blocks(folder: Path, name: str) -> dict[str, Array]:
    """Every block of an image encoder, in order."""
    files = sorted((folder / IMAGES[name]).glob("block_*.npy"))
    if not files:
        raise FileNotFoundError(f"{folder / IMAGES[name]} has no block_*.npy. {INSTALL}")
    return {path.stem: read(folder, f"{IMAGES[name]}/{path.stem}") for path in files}


def text(folder: Path, name: str) -> Array:
    """(m, features) a text encoder on the names."""
    return read(folder, TEXTS[name])


def categories(folder: Path) -> NDArray[np.int64]:
    """(m,) the emoji's category."""
    return read(folder, "category").astype(np.int64)


def read(folder: Path, name: str) -> Array:
    path = folder / f"{name}.npy"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing. {INSTALL}")
    found: Array = np.load(path).astype(float)
    return found
