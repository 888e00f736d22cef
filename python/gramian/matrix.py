"""Layers against layers: a measure between every layer of one model and every layer of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel
from gramian.rows.arrays import one_of
from gramian.rows.layers import Keys, layers
from gramian.sweeps import estimators, routes
from gramian.sweeps.estimators import MEASURES, Estimator, Measure
from gramian.sweeps.gram import Progress
from gramian.sweeps.represent import Precision

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AlignmentMatrix:
    """A measure between every layer of one model and every layer of another."""

    values: Array  # (L1, L2)
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    measure: Measure
    estimator: Estimator
    kernel: str
    n: int
    reasons: Mapping[str, str]  # Xs['name'] or Ys['name']: why its values are nan

    def __repr__(self) -> str:
        return (
            f"AlignmentMatrix({len(self.rows)}×{len(self.columns)} {self.measure}, {self.estimator}, "
            f"{self.kernel}, n = {self.n})"
        )

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def to_pandas(self) -> Any:
        """A DataFrame with the layers' names."""
        import pandas

        return pandas.DataFrame(self.values, index=list(self.rows), columns=list(self.columns))

    def to_xarray(self) -> Any:
        """A DataArray with dimensions layer_a and layer_b."""
        import xarray

        return xarray.DataArray(
            self.values,
            dims=("layer_a", "layer_b"),
            coords={"layer_a": list(self.rows), "layer_b": list(self.columns)},
            name=self.measure,
            attrs={"estimator": self.estimator, "kernel": self.kernel, "n": self.n},
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw a heat map with matplotlib; returns the axes."""
        from gramian.show import heatmaps

        return heatmaps.heatmap(self, ax=ax)


def cka_matrix(
    Xs: object,
    Ys: object | None = None,
    kernel: Kernel | str = "linear",
    *,
    keys: Keys | None = None,
    keys_y: Keys | None = None,
    measure: Measure = "cka",
    estimator: Estimator = "unbiased",
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> AlignmentMatrix:
    """A measure between every layer in Xs and every layer in Ys (or in Xs again), in one sweep.

    Each layer's Gram tile is computed once and meets all others' in cache.

    Parameters
    ----------
    Xs, Ys : dict of name to array, sequence of arrays, array of shape (n, layers, d), table or path
        Layers of shape (n, any width); row i of all is the same sample. A sequence is named by position, layers of one
        array layer0, layer1, ..., those of a DataArray by its coordinate; a path is a file with an array for each layer
        (.npz, .safetensors, .pt, .h5, .mat), a directory of .npy files or a pattern of them.
    kernel : kernel or its name
        For all layers; an open bandwidth is each layer's own.
    keys : str or sequence of str, optional
        Which layers, in this order: names, or patterns of names as "blocks.*.mlp".
    keys_y : str or sequence of str, optional
        Of Ys, if these are others.
    measure : {"cka", "hsic", "kernel_alignment"}
    estimator : {"unbiased", "biased"}
    precision, memory, progress
        As in `kernel_alignment`.

    Returns
    -------
    AlignmentMatrix
        ``.values`` (L1, L2), ``.rows``, ``.columns``; ``.to_pandas()``, ``.to_xarray()``, ``.plot()``.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the layer, what came and what is needed.

    Notes
    -----
    O(n²·Σd + n²·L²) time and O(n·L) memory; on the CPU, linear and cosine kernels with n well above Σd cost O(n(Σd)²).

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((50, 6))
    >>> gm.cka_matrix({"a": X, "b": X[:, :3]}, estimator="biased").values.shape
    (2, 2)
    """
    one_of(measure, MEASURES, "measure")
    left = layers(Xs, "Xs", keys)
    right = left if Ys is None else layers(Ys, "Ys", keys if keys_y is None else keys_y)
    arrays, names = list(left.values()), [f"Xs[{k!r}]" for k in left]
    if Ys is not None:
        arrays += right.values()
        names += [f"Ys[{k!r}]" for k in right]
    pair = routes.gathered(
        arrays, names, [(kernel, "kernel")] * len(arrays), precision=precision, memory=memory, progress=progress
    )
    estimators.check_estimator(estimator, measure, pair.n)
    if measure != "kernel_alignment":
        pair = pair.moved()
    s = pair.statistics
    sums = s.matrix(measure, estimator)
    why = [
        estimators.unresolved(s, p, estimator, name)
        if measure == "hsic"
        else estimators.undefined(s, p, measure, estimator, name)
        for p, name in enumerate(names)
    ]
    reasons = {name: r for name, r in zip(names, why, strict=True) if r}
    defined = np.array([r is None for r in why])
    if estimator == "biased" and all(estimators.is_positive(x) for x in pair.xs):
        sums = np.maximum(sums, 0.0)
    if measure == "hsic":
        with np.errstate(over="ignore"):
            full = np.ldexp(sums, s.exponent[:, None] + s.exponent[None, :])
        zero = np.array([estimators.constant(s, p, estimator) for p in range(len(names))])
        full[zero[:, None] | zero] = 0.0
        full[~(defined[:, None] & defined)] = np.nan
    else:
        full = estimators.outer_ratio(sums, defined)
    columns = slice(None) if Ys is None else slice(len(left), None)
    return AlignmentMatrix(
        values=full[: len(left), columns].copy(),
        rows=tuple(left),
        columns=tuple(right),
        measure=measure,
        estimator=estimator,
        kernel=repr(kernel) if not isinstance(kernel, str) else kernel,
        n=pair.n,
        reasons=reasons,
    )
