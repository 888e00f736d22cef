"""Layers against layers: a measure between every layer of one model and every layer of another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel
from gramian.results.keys import unknown
from gramian.results.provenance import provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows.arrays import one_of
from gramian.rows.sources import named_layers
from gramian.show import heatmaps
from gramian.sweeps import estimators, routes
from gramian.sweeps.estimators import MEASURES, Estimator, Measure
from gramian.sweeps.gram import Progress
from gramian.sweeps.represent import Precision

Array: TypeAlias = npt.NDArray[np.float64]


class BestMatch(NamedTuple):
    """The pair of layers with the best value; no names where nothing is defined."""

    row: str | None
    column: str | None
    value: float


@dataclass(frozen=True, eq=False)
class AlignmentMatrix(Result):
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

    def __getitem__(self, key: Any) -> Any:
        """A value by two layers, ``["layer1", "layer3"]`` or ``[0, -1]``, or a smaller matrix.

        A single key is of the rows. Lists of names or numbers, and slices of either (of names both ends are in), make
        the matrix smaller; ``["layer1"]`` is that of one row. Raises KeyError for a name that there is not, and lists
        those that there are, IndexError for a number.
        """
        wanted, other = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        rows, columns = _chosen(wanted, self.rows, "row"), _chosen(other, self.columns, "column")
        if isinstance(rows, int) and isinstance(columns, int) and isinstance(key, tuple):
            return float(self.values[rows, columns])
        listed = [[i] if isinstance(i, int) else i for i in (rows, columns)]
        kept = [tuple(names[i] for i in found) for names, found in zip((self.rows, self.columns), listed, strict=True)]
        values = self.values[np.ix_(*listed)]
        missing = {f"Xs[{name!r}]" for name in kept[0]}
        missing |= {
            f"{of}[{name!r}]" for j, name in enumerate(kept[1]) if np.isnan(values[:, j]).all() for of in ("Xs", "Ys")
        }
        reasons = {name: reason for name, reason in self.reasons.items() if name in missing}
        return replace(self, values=values, rows=kept[0], columns=kept[1], reasons=reasons)

    @overload
    def best(self, axis: None = None) -> BestMatch: ...
    @overload
    def best(self, axis: Literal["rows", "columns"]) -> list[BestMatch]: ...
    def best(self, axis: Literal["rows", "columns"] | None = None) -> BestMatch | list[BestMatch]:
        """(row, column, value) of the largest value, the first of equals; for ``axis="rows"`` of every row, in a list.

        Undefined values are passed over; where there is no other, both names are None.
        """
        if axis is None:
            return _best(self.values, self.rows, self.columns)
        one_of(axis, ("rows", "columns"), "axis")
        if axis == "rows":
            return [_best(self.values[[i]], [name], self.columns) for i, name in enumerate(self.rows)]
        return [_best(self.values[:, [j]], self.rows, [name]) for j, name in enumerate(self.columns)]

    def to_pandas(self) -> Any:
        """A DataFrame with the layers' names."""
        pandas = imported_pandas()
        return pandas.DataFrame(self.values, index=list(self.rows), columns=list(self.columns))

    def to_xarray(self) -> Any:
        """A DataArray with dimensions layer_a and layer_b."""
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray() needs xarray: pip install 'gramian[viz]'") from error

        return xarray.DataArray(
            self.values,
            dims=("layer_a", "layer_b"),
            coords={"layer_a": list(self.rows), "layer_b": list(self.columns)},
            name=self.measure,
            attrs={"estimator": self.estimator, "kernel": self.kernel, "n": self.n},
        )

    def _picture(self) -> str:
        return heatmaps.heatmap_svg(self, tooltips=self.values.size <= heatmaps.FEW) if self.values.size else ""

    def _facts(self) -> dict[str, Any]:
        best = self.best()
        shape = f"{len(self.rows)} × {len(self.columns)}"
        facts = {
            "layers": shape,
            "measure": self.measure,
            "estimator": self.estimator,
            "kernel": self.kernel,
            "n": self.n,
        }
        return facts if best.row is None else facts | {"best": f"{best.row}, {best.column}: {best.value:.4g}"}

    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        cmap: Any = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw a heat map with matplotlib, the best match of each row dotted; returns the axes.

        ``limits`` are the ends of the colour scale; the values are written into up to 12 × 12 cells, or wherever
        ``annotate`` says so.
        """
        return heatmaps.heatmap(self, ax, title=title, cmap=cmap, limits=limits, annotate=annotate)


def _chosen(key: Any, names: Sequence[str], what: str) -> int | list[int]:
    """The numbers of the layers that a key means; one number where it names one."""
    if isinstance(key, slice):
        start, stop = key.start, key.stop
        if isinstance(start, str):
            start = _position(start, names, what)
        if isinstance(stop, str):
            stop = _position(stop, names, what) + 1
        return list(range(len(names)))[start : stop : key.step]
    if isinstance(key, list | tuple | np.ndarray):
        return [_position(name, names, what) for name in key]
    return _position(key, names, what)


def _position(key: Any, names: Sequence[str], what: str) -> int:
    if isinstance(key, str):
        if key not in names:
            raise unknown(key, names, what)
        return names.index(key)
    if isinstance(key, bool) or not isinstance(key, int | np.integer):
        raise TypeError(f"a {what} is a name, a number, a slice or a list of them, not {type(key).__name__}")
    if not -len(names) <= key < len(names):
        raise IndexError(f"there is no {what} {key}; there are {len(names)}, {names[0]!r} to {names[-1]!r}")
    return int(key) % len(names)


def _best(values: Array, rows: Sequence[str], columns: Sequence[str]) -> BestMatch:
    if np.isnan(values).all():
        return BestMatch(None, None, math.nan)
    i, j = map(int, np.unravel_index(int(np.nanargmax(values)), values.shape))
    return BestMatch(rows[i], columns[j], float(values[i, j]))


def cka_matrix(
    Xs: Mapping[str, object] | Sequence[object],
    Ys: Mapping[str, object] | Sequence[object] | None = None,
    kernel: Kernel | str = "linear",
    *,
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
    Xs, Ys : dict of name to array, or sequence of arrays
        Arrays of shape (n, any width); row i of all is the same sample. A sequence is named by position.
    kernel : kernel or its name
        For all layers; an open bandwidth is each layer's own.
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
    left = named_layers(Xs, "Xs")
    right = left if Ys is None else named_layers(Ys, "Ys")
    arrays, names = list(left.values()), [f"Xs[{k!r}]" for k in left]
    if Ys is not None:
        arrays += right.values()
        names += [f"Ys[{k!r}]" for k in right]
    pair = routes.gathered(
        arrays, names, [(kernel, "kernel")] * len(arrays), precision=precision, memory=memory, progress=progress
    )
    estimators.check_estimator(estimator, measure, pair.n)
    origin = provenance(dict(zip(names, pair.matrices, strict=True)), pair.kernels)
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
        provenance=origin,
    )
