"""Heads, the maps after a cut: matrices, torch modules and plain functions, evaluated on blocks of rows.

torch is not imported here: a module can only come from a program that has.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.sources import matrix

Array: TypeAlias = npt.NDArray[np.float64]

_BLOCK = 1 << 22  # values of the samples that a head is evaluated on at once


def is_module(head: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(head, torch.nn.Module)


def weight_matrix(head: object) -> Array:
    try:
        found = matrix(head, "head")
    except TypeError as error:
        raise TypeError(f"head must be a torch.nn.Module or a matrix of shape (outputs, features): {error}") from None
    return found.block(0, found.n)


def check_module(module: Any) -> None:
    nn = sys.modules["torch"].nn
    for name, weights in module.named_parameters():
        if nn.parameter.is_lazy(weights) or weights.device.type == "meta":
            raise ValueError(f"head has no values yet for {name}; call it once, or load its weights")
    for name, part in module.named_modules():
        random = isinstance(part, nn.RReLU) or (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
        normalises = isinstance(part, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm)
        if part.training and (random or (normalises and part.track_running_stats)):
            where = f"layer {name} ({type(part).__name__})" if name else type(part).__name__
            raise ValueError(
                f"head must be in evaluation mode, for {where} acts otherwise in training; call head.eval() first"
            )


# ---- samples ---------------------------------------------------------------------------------------------------------


def samples(Z: Any, name: str) -> Array:
    """(n, ...) finite float64."""
    shape = tuple(getattr(Z, "shape", ()))
    if len(shape) <= 2:
        found = matrix(Z, name)
        return found.block(0, found.n)
    found = matrix(Z.reshape(shape[0], -1), name)
    return found.block(0, found.n).reshape(shape)


def check_width(w: Array, z: Array, name: str) -> None:
    if z.ndim != 2 or z.shape[1] != w.shape[1]:
        raise ValueError(f"{name} must have shape (n, {w.shape[1]}) for a head of shape {w.shape}, got {z.shape}")


def spans(z: Array) -> list[tuple[int, int]]:
    step = max(1, _BLOCK // max(1, z[0].size))
    return [(start, min(start + step, len(z))) for start in range(0, len(z), step)]


# ---- evaluation ------------------------------------------------------------------------------------------------------


def like_weights(head: Any, rows: Array) -> Any:
    """Samples in the dtype and on the device of the head's weights; float64 on the CPU if it has none."""
    torch = sys.modules["torch"]
    like = next((p for p in [*head.parameters(), *head.buffers()] if p.is_floating_point()), None)
    found = torch.from_numpy(np.ascontiguousarray(rows))
    return found if like is None else found.to(like.device, like.dtype)


def evaluated(head: Any, rows: Any, name: str) -> Array:
    torch = sys.modules["torch"]
    with torch.no_grad():
        out = head(rows.clone())
    if not isinstance(out, torch.Tensor):
        raise TypeError(f"head must return one tensor, got {type(out).__name__}")
    found = on_host(out)
    if not np.isfinite(found).all():
        raise ValueError(f"head gives NaN or infinity for some row of {name}")
    return found


def on_host(tensor: Any) -> Array:
    return np.asarray(tensor.detach().to("cpu", sys.modules["torch"].float64).numpy())
