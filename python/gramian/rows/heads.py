"""Heads and other maps of samples: matrices, torch modules and plain functions, evaluated on blocks of rows.

torch is not imported here: a module can only come from a program that has.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.rows.arrays import BFloat16Array, Matrix
from gramian.rows.objects import plain
from gramian.rows.sources import matrix, open_array

Array: TypeAlias = npt.NDArray[np.float64]
Map: TypeAlias = Callable[[Array, str], Array]  # from rows (b, ...) and what they are called to (b, ...)

_BLOCK = 1 << 22  # values of the samples that a head is evaluated on at once


def is_module(head: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(head, torch.nn.Module)


def is_tensor(x: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def weight_matrix(head: object, name: str = "head", also: str = "") -> Array:
    """W (outputs, features) of the head z ↦ Wz; `also` says what else would do besides a module."""
    try:
        found = matrix(head, name)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a torch.nn.Module{also} or a matrix of shape (outputs, features): {error}"
        ) from None
    return found.block(0, found.n)


def check_values(module: Any, name: str) -> None:
    """Raise unless a module's weights have values."""
    nn = sys.modules["torch"].nn
    for part_name, weights in module.named_parameters():
        if nn.parameter.is_lazy(weights) or weights.device.type == "meta":
            raise ValueError(f"{name} has no values yet for {part_name}; call it once, or load its weights")


def check_module(module: Any, name: str = "head") -> None:
    """Raise unless a module has values, and acts on each sample alone as it does when it is used."""
    nn = sys.modules["torch"].nn
    check_values(module, name)
    for part_name, part in module.named_modules():
        random = isinstance(part, nn.RReLU) or (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
        normalises = isinstance(part, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm)
        if part.training and (random or (normalises and part.track_running_stats)):
            where = f"layer {part_name} ({type(part).__name__})" if part_name else type(part).__name__
            raise ValueError(
                f"{name} must be in evaluation mode, for {where} acts otherwise in training; call {name}.eval() first"
            )


# ---- samples ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs of a map, one sample a row; a sample may have several dimensions, as an image has."""

    rows: Matrix  # (n, size of a sample)
    sample: tuple[int, ...]

    @property
    def n(self) -> int:
        return self.rows.n

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n, *self.sample)

    def block(self, start: int, stop: int) -> Array:
        """(stop − start, ...) float64; it may be the caller's own memory."""
        return self._shaped(self.rows.block(start, stop))

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        """(len(rows), ...) float64; a copy."""
        return self._shaped(self.rows.take(rows))

    def _shaped(self, found: Array) -> Array:
        return found.reshape(len(found), *self.sample)

    def spans(self) -> list[tuple[int, int]]:
        """Ranges of rows to take at once."""
        step = max(1, _BLOCK // self.rows.d)
        return [(start, min(start + step, self.n)) for start in range(0, self.n, step)]


def samples(Z: object, name: str) -> Samples:
    """Finite samples of shape (n, ...), or the path of a file of them."""
    opened: Any = open_array(Z) if isinstance(Z, str | os.PathLike) else Z
    shape = tuple(getattr(opened, "shape", ()))
    if len(shape) <= 2:
        found = matrix(Z, name)
        return Samples(found, (found.d,))
    table = plain(opened, name)
    held = opened if table is None else table.values
    flat = (shape[0], math.prod(shape[1:]))
    values = BFloat16Array(held.bits.reshape(flat)) if isinstance(held, BFloat16Array) else held.reshape(flat)
    rows = replace(matrix(values, name), labels=None if table is None else table.rows)
    return Samples(rows, tuple(shape[1:]))


def check_width(w: Array, shape: tuple[int, ...], name: str, head: str = "a head", *, block: bool = False) -> None:
    """Raise unless rows have a matrix's width; of a block of rows their number is no one's concern."""
    if len(shape) != 2 or shape[1] != w.shape[1]:
        got = f"({', '.join(['n', *map(str, shape[1:])])})" if block else f"{shape}"
        raise ValueError(f"{name} must have shape (n, {w.shape[1]}) for {head} of shape {w.shape}, got {got}")


# ---- evaluation ------------------------------------------------------------------------------------------------------


def as_map(g: Any, name: str) -> Map:
    """A matrix (outputs, features), a torch module or a function of NumPy rows as a function of rows."""
    if is_module(g):
        check_module(g, name)
        return lambda rows, what: evaluated(g, like_weights(g, rows), what, name)
    if callable(g):
        return lambda rows, what: _called(g, rows, what, name)
    weights = weight_matrix(g, name, ", a function of NumPy rows")

    def multiplied(rows: Array, what: str) -> Array:
        check_width(weights, rows.shape, what, name, block=True)
        return rows @ weights.T

    return multiplied


def after(second: Map, first: Map, name: str) -> Map:
    """second ∘ first; `name` is that of the first."""
    return lambda rows, what: second(first(rows, what), f"what {name} gives")


def like_weights(head: Any, rows: Array) -> Any:
    """Samples in the dtype and on the device of the head's weights; float64 on the CPU if it has none."""
    # torch warns of memory that it must not write to, as that of a mapped file
    found = sys.modules["torch"].from_numpy(np.ascontiguousarray(rows) if rows.flags.writeable else rows.copy())
    return cast_like_weights(head, found)


def cast_like_weights(head: Any, rows: Any) -> Any:
    """A tensor in the dtype and on the device of a module's weights; itself if it has none."""
    like = next((p for p in [*head.parameters(), *head.buffers()] if p.is_floating_point()), None)
    return rows if like is None else rows.to(like.device, like.dtype)


def evaluated(head: Any, rows: Any, what: str, name: str = "head") -> Array:
    """A module's output for a tensor of rows, on the host."""
    torch = sys.modules["torch"]
    with torch.no_grad():
        out = head(rows.clone())  # a head may write into its input
    if not isinstance(out, torch.Tensor):
        raise TypeError(f"{name} must return one tensor, got {type(out).__name__}")
    return _checked(on_host(out), len(rows), what, name)


def flat_outputs(out: Array, y: Array, name: str, target: str) -> Array:
    """A head's outputs (n, k) beside targets (n, k), or why they do not fit."""
    flat = out.reshape(len(out), -1)
    if flat.shape[1] != y.shape[1]:
        hint = "; class labels have to be one-hot" if y.shape[1] == 1 else ""
        raise ValueError(
            f"{name} gives {flat.shape[1]} outputs for each row but {target} has {y.shape[1]} columns; "
            f"they must be as many{hint}"
        )
    return flat


def on_host(tensor: Any) -> Array:
    if tensor.is_complex():
        raise TypeError(f"heads and maps must give real numbers, got {str(tensor.dtype).removeprefix('torch.')}")
    return np.asarray(tensor.detach().to("cpu", sys.modules["torch"].float64).numpy())


def _called(g: Callable[[Array], Any], rows: Array, what: str, name: str) -> Array:
    try:
        out = g(rows.copy())
    except RuntimeError as error:  # torch's, of a module of float32 behind the function
        if "dtype" not in str(error):
            raise
        raise TypeError(
            f"{name} failed on NumPy rows of float64, which it is given: {error}; give the torch module itself, or "
            "convert the rows inside"
        ) from error
    if is_tensor(out):
        return _checked(on_host(out), len(rows), what, name)
    found = out if isinstance(out, np.ndarray) else np.asarray(_on_host_by_gate(out, name))
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} must return real numbers, got dtype {found.dtype}")
    return _checked(found.astype(np.float64, copy=False), len(rows), what, name)


def _on_host_by_gate(out: Any, name: str) -> Array:
    """Arrays of other libraries, CuPy's among them."""
    if not hasattr(out, "__dlpack__") or not getattr(out, "shape", ()):
        raise TypeError(f"{name} must return an array with a row for each of its rows, got {type(out).__name__}")
    found = matrix(out.reshape(out.shape[0], -1), f"what {name} gives")
    return found.block(0, found.n)


def _checked(out: Array, n: int, what: str, name: str) -> Array:
    if out.ndim == 0 or len(out) != n:
        raise ValueError(f"{name} must return a row for each of its {n} rows of {what}, got shape {out.shape}")
    if not np.isfinite(out).all():
        raise ValueError(f"{name} gives NaN or infinity for some row of {what}")
    return out
