"""Files of ``torch.save``: a tensor, or dicts and lists of them such as a state dict. No code in them is run."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gramian.rows.reading import check_size, printable, reading

ALONE = ""  # the name of a tensor that is all there is
_AT_ONCE = 16 << 20  # bytes between two chances for Ctrl-C
_DEEPEST = 32  # dicts within dicts
_MARK = b"PK\3\4"
_WHAT = "it is no file of torch.save, or is damaged, or holds more than tensors, numbers, strings, lists and dicts"


def tensors(path: Path) -> dict[str, Any]:
    """Every tensor of a file by its place in it, as ``model.layers.3.weight``, detached and on the CPU.

    Mapped where torch can, after a pass over the file for its checksums. What is beside them (numbers, strings) is
    left out.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{path}: reading {path.suffix} files needs torch: pip install 'gramian[torch]'") from error
    with reading(path) as file:
        archive = file.read(4) == _MARK
        if archive:
            _check_sums(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, of what it reads
                content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=archive)
        except Exception as error:
            # torch's own words are an opcode, or advise to run the code in the file
            raise ValueError(f"{path} cannot be read as {path.suffix}: {_WHAT}") from error
        found: dict[str, Any] = {}
        _collect(content, ALONE, found, torch, 0)
        for name, tensor in found.items():
            if tensor.layout is torch.strided and tensor.device.type != "meta":
                claimed = math.prod(tensor.shape) * tensor.element_size()
                check_size(path, name, claimed, tensor.untyped_storage().nbytes())
        return found


def _collect(content: Any, name: str, found: dict[str, Any], torch: Any, depth: int) -> None:
    if isinstance(content, torch.Tensor):
        found[name] = content.detach()
        return
    if depth == _DEEPEST:
        raise ValueError(f"{printable(name)} is the {_DEEPEST}th dict or list within another")
    if isinstance(content, Mapping):
        items: Any = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    else:
        return
    for key, value in items:
        place = f"{name}.{key}" if name else str(key)
        if place in found:
            raise ValueError(f"it holds two tensors of the name {printable(place)}")
        _collect(value, place, found, torch, depth + 1)


def _check_sums(path: Path) -> None:
    """Hold every member against its checksum, which torch does not when it maps them."""
    if not zipfile.is_zipfile(path):
        raise ValueError(_WHAT)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError("it is compressed, which torch.save does not do")
            with archive.open(member) as stream:
                while stream.read(_AT_ONCE):  # the end of it is compared with the checksum
                    pass
