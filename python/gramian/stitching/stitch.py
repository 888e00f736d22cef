"""A fitted stitching map, as a value."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.results.result import Result
from gramian.rows.arrays import Matrix
from gramian.rows.sources import matrix
from gramian.sweeps.centred import blocks

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stitch(Result):
    """A map s from one model's features to another's, and how well it does. A function on arrays of rows."""

    _large = ("matrix", "offset", "residual", "ridges", "scores", "function")

    kind: str  # as in `fit_stitch`, or "module"
    n: int  # rows that it was fitted on
    d1: int  # features in
    d2: int  # features out
    matrix: Array | None  # (d2, d1) S: predictions are F1 @ S.T + offset; None where the map is not affine
    offset: Array  # (d2,)
    ridge: float  # λ in units of Σ11, as given or chosen
    misalignment: float  # Ã₂(s) = mean of ‖f2 − s(f1)‖² over the rows of the fit
    misalignment_ratio: float  # Ã₂/tr Σ22, Σ22 centred for affine maps; nan where tr Σ22 is 0
    residual: Array  # (d2, d2) mean of (f2 − s(f1))(f2 − s(f1))'; its trace is the misalignment
    df: float  # effective number of parameters of each output, Σ η/(η + λ), one more if affine; nan where undefined
    unbiased: float  # n/(n − df)·Ã₂
    gcv: float  # Ã₂/(1 − df/n)², generalised cross-validation: estimates Ã₂ on new rows
    loo: float  # leave-one-out estimate of the same; nan unless asked for
    reason: str | None  # why a value is nan or to be doubted
    cv: float = math.nan  # mean of ‖f2 − s(f1)‖² over rows that the map was not fitted on; nan without folds
    ridges: Array | None = None  # the sequence of λ to choose from,
    scores: Array | None = None  # and the estimate of Ã₂ on new rows that chose: cv with folds, gcv without
    function: Any = None  # the map where it is not affine: a function on rows of any library, with a to_torch(dtype)

    def __call__(self, F: object) -> Any:
        """s(F), (n, d2), for rows F (n, d1): a NumPy, torch or CuPy array like F, in its dtype, or the path of a file.

        Computed in float64 and rounded once; in torch where F lies, and differentiable. Other arrays become NumPy's.
        """
        from array_api_compat import is_cupy_array, is_torch_array

        library = "torch" if is_torch_array(F) else "cupy" if is_cupy_array(F) else None
        given = matrix(F, "F") if library is None else None
        shape = tuple(cast(Any, F).shape) if given is None else given.shape
        if len(shape) != 2 or shape[1] != self.d1:
            raise ValueError(f"F must have shape (n, {self.d1}), as the features that were stitched, got {shape}")
        if self.matrix is None:
            return self.function(F if given is None else given.numpy())
        if given is not None:
            return self._on_host(given)
        return self._in_torch(F) if library == "torch" else self._in_cupy(F)

    def _in_torch(self, rows: Any) -> Any:
        torch = sys.modules["torch"]
        weights, offset = (torch.as_tensor(a, device=rows.device) for a in (self.matrix, self.offset))
        found = rows.to(torch.float64) @ weights.T + offset
        return found.to(rows.dtype) if rows.dtype.is_floating_point else found

    def _in_cupy(self, rows: Any) -> Any:
        cupy = sys.modules["cupy"]
        with rows.device:
            found = rows.astype(cupy.float64) @ cupy.asarray(self.matrix).T + cupy.asarray(self.offset)
            return found.astype(rows.dtype) if rows.dtype.kind == "f" else found

    def _on_host(self, given: Matrix) -> npt.NDArray[np.floating[Any]]:
        weights = cast(Array, self.matrix)
        out = np.empty((given.n, self.d2), dtype="float32" if given.dtype == "bfloat16" else given.dtype)
        for a, b in blocks(given.n, [self.d1, self.d2]):
            out[a:b] = given.block(a, b) @ weights.T + self.offset
        return out

    def to_torch(self, dtype: Any = None) -> Any:
        """The map as a torch.nn.Module, of float64 or the dtype given; for affine maps a torch.nn.Linear."""
        if self.matrix is None:
            return self.function.to_torch(dtype)
        import torch

        dtype = torch.float64 if dtype is None else dtype
        layer = torch.nn.Linear(self.d1, self.d2, bias=bool(self.offset.any()), dtype=dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.matrix))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(self.offset))
        return layer

    def __repr__(self) -> str:
        ridge = f", ridge = {self.ridge:.3g}" if self.ridge else ""
        why = f"; {self.reason}" if self.reason else ""
        held_out = getattr(self.function, "held_out", None)  # of a module that was trained
        rows = f", n = {self.n}" if held_out is None else f" in {len(held_out)} rows held out, fitted on {self.n}"
        return (
            f"Stitch({self.kind}, {self.d1} → {self.d2}{ridge}, misalignment = {self.misalignment:.4g} "
            f"({self.misalignment_ratio:.2%} of F2){rows}{why})"
        )
