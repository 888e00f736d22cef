"""Layers against layers: a measure between every layer of one model and every layer of another.

A module called matrix would hide `gramian.matrix`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args, overload

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, KernelName
from gramian.measures import neighbors, overlaps, registry
from gramian.measures.registry import MeasureName, Row
from gramian.progress import Progress, expect, one_bar, phase, tell
from gramian.reasons import heard
from gramian.results.keys import chosen, numbered
from gramian.results.provenance import provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows.arrays import Matrix, check_budget, one_of, same_device, same_rows
from gramian.rows.layers import Keys, layers
from gramian.rows.sources import matrix as opened
from gramian.show import heatmaps
from gramian.sweeps import estimators, routes
from gramian.sweeps.estimators import DEFAULT_ESTIMATOR, MEASURES, Estimator, Measure
from gramian.sweeps.represent import Precision
from gramian.words import check_options, public

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
    measure: str
    options: Mapping[str, Any]  # how it was measured, as given or by default
    n: int
    reasons: Mapping[str, str]  # of Xs['name'], Ys['name'] or both: why its values are nan
    best_is: str = "largest"  # or "smallest", of a distance
    limits: tuple[float | None, float | None] = (None, None)  # of the measure

    @property
    def estimator(self) -> str | None:
        """Of measures that have one."""
        return cast("str | None", self.options.get("estimator"))

    @property
    def kernel(self) -> str | None:
        """Of measures that have one."""
        return cast("str | None", self.options.get("kernel"))

    @property
    def caption(self) -> str:
        """The measure and its options, in words."""
        plain = {"estimator", "kernel"}
        shown = (str(v) if k in plain else f"{k}={v}" for k, v in self.options.items() if v is not None)
        return ", ".join((self.measure, *shown))

    def __repr__(self) -> str:
        return f"AlignmentMatrix({len(self.rows)}×{len(self.columns)} {self.caption}, n = {self.n})"

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        if self.values.size != 1:
            raise TypeError(f"only a matrix of one value is a number; this one has {' × '.join(map(str, self.shape))}")
        return float(self.values[0, 0])

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns."""
        return len(self.rows), len(self.columns)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        """The names of the rows."""
        return iter(self.rows)

    def __contains__(self, key: object) -> bool:
        """Whether there is a row of that name, or a value of those two layers."""
        wanted, other = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
        return _named(wanted, self.rows) and (other is None or _named(other, self.columns))

    def __getitem__(self, key: Any) -> Any:
        """A value by two layers, ``["layer1", "layer3"]`` or ``[0, -1]``, or a smaller matrix.

        A single key is of the rows. Lists of names or numbers, masks with a value for each layer, and slices (of names
        both ends are in) make the matrix smaller; ``["layer1"]`` is that of one row. Where all names are whole numbers,
        a number is a name and not a place, and a slice of numbers has the names from the first to below the second;
        negative numbers count from the end. Raises KeyError for a name that there is not, and lists those that there
        are, IndexError for a number, for more than two keys and where nothing is chosen.
        """
        if isinstance(key, tuple) and len(key) > 2:
            raise IndexError(f"a matrix has rows and columns, so at most two indexes, got {len(key)}")
        wanted, other = (*key, slice(None), slice(None))[:2] if isinstance(key, tuple) else (key, slice(None))
        rows, columns = chosen(wanted, self.rows, "row"), chosen(other, self.columns, "column")
        if isinstance(rows, int) and isinstance(columns, int):
            return float(self.values[rows, columns])
        listed = [[i] if isinstance(i, int) else i for i in (rows, columns)]
        kept = [tuple(names[i] for i in found) for names, found in zip((self.rows, self.columns), listed, strict=True)]
        values = self.values[np.ix_(*listed)]
        reasons = {layers: why for layers, why in self.reasons.items() if _concerns(layers, kept, values)}
        return replace(self, values=values, rows=kept[0], columns=kept[1], reasons=reasons)

    @overload
    def best(self, axis: None = None) -> BestMatch: ...
    @overload
    def best(self, axis: Literal["rows", "columns"]) -> list[BestMatch]: ...
    def best(self, axis: Literal["rows", "columns"] | None = None) -> BestMatch | list[BestMatch]:
        """(row, column, value) of the best value, the first of equals; for ``axis="rows"`` of every row, in a list.

        The best is the largest, or the smallest of a distance (``.best_is``). Undefined values are passed over; where
        there is no other, both names are None.
        """
        if axis is None:
            return self._best(self.values, self.rows, self.columns)
        one_of(axis, ("rows", "columns"), "axis")
        if axis == "rows":
            return [self._best(self.values[[i]], [name], self.columns) for i, name in enumerate(self.rows)]
        return [self._best(self.values[:, [j]], self.rows, [name]) for j, name in enumerate(self.columns)]

    def _best(self, values: Array, rows: Sequence[str], columns: Sequence[str]) -> BestMatch:
        if np.isnan(values).all():
            return BestMatch(None, None, math.nan)
        found = np.nanargmax(values) if self.best_is == "largest" else np.nanargmin(values)
        i, j = map(int, np.unravel_index(int(found), values.shape))
        return BestMatch(rows[i], columns[j], float(values[i, j]))

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
            attrs={**{k: v for k, v in self.options.items() if v is not None}, "n": self.n},
        )

    def _picture(self) -> str:
        return heatmaps.heatmap_svg(self, tooltips=self.values.size <= heatmaps.FEW) if self.values.size else ""

    def _facts(self) -> dict[str, Any]:
        best = self.best()
        facts = {
            "layers": " × ".join(map(str, self.shape)),
            "measure": self.measure,
            **{name: value for name, value in self.options.items() if value is not None},
            "n": self.n,
        }
        return facts if best.row is None else facts | {"best": f"{best.row}, {best.column}: {best.value:.4g}"}

    @public
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


def _concerns(layers: str, kept: Sequence[Sequence[str]], values: Array) -> bool:
    """Whether some of the values that are left are nan because of these layers: Xs['a'], Ys['b'], or one of both."""
    missing = np.isnan(values)
    rows = missing & np.array([f"Xs[{name!r}]" in layers for name in kept[0]])[:, None]
    columns = missing & np.array([f"Ys[{name!r}]" in layers or f"Xs[{name!r}]" in layers for name in kept[1]])
    return bool((rows & columns).any() if ", " in layers else (rows | columns).any())


def _named(key: object, names: Sequence[str]) -> bool:
    number = isinstance(key, int | np.integer) and not isinstance(key, bool) and numbered(names)
    return (isinstance(key, str) or number) and str(key) in names


@public
@one_bar
def matrix(
    Xs: object,
    Ys: object | None = None,
    measure: MeasureName | Callable[..., float] = "cka",
    *,
    keys: Keys | None = None,
    keys_y: Keys | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> AlignmentMatrix:
    """Any measure between every layer in Xs and every layer in Ys (or in Xs again).

    M_ij = measure(Xs[i], Ys[j]).

    Parameters
    ----------
    Xs, Ys : dict of name to array, sequence of arrays, array of shape (n, layers, d), table or path
        Layers of shape (n, any width); row i of all is the same sample. A sequence is named by position, layers of one
        array layer0, layer1, ..., those of a DataArray by its coordinate; a path is a file with an array for each layer
        (.npz, .safetensors, .pt, .h5, .mat), a directory of .npy files or a pattern of them.
        Left out, Ys are the layers in Xs.
    measure : str or callable
        The name of a measure (docs/measures.md lists them), or any function of (X, Y) that returns a number.
    keys : str, int, or sequence of them, optional
        Which layers, in this order: names, whole numbers that are names, or patterns of names as "blocks.*.mlp".
    keys_y : str or sequence of str, optional
        Of Ys, if these are others.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.
    **options
        Of the measure: ``kernel="rbf"``, ``k=20``, ``correlation="spearman"``.

    Returns
    -------
    AlignmentMatrix
        ``.values`` (L1, L2), ``.rows``, ``.columns``, ``.reasons`` of what is nan; ``.to_pandas()``, ``.to_xarray()``,
        ``.plot()``.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the layer or the option, what came and what is needed.

    Notes
    -----
    "cka", "hsic" and "kernel_alignment" are one sweep, as `cka_matrix`. Neighbours of a layer are found once. Other
    measures are computed pair by pair, each pair once where a measure is symmetric and Ys are left out.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x = np.random.default_rng(0).standard_normal((50, 6))
    >>> layers = {"wide": x, "narrow": x[:, :3]}
    >>> gm.matrix(layers, measure="procrustes").values.shape, gm.matrix(layers, measure="mutual_knn", k=5)
    ((2, 2), AlignmentMatrix(2×2 mutual_knn, k=5, metric=cosine, n = 50))
    """
    row = registry.known(measure)
    if row is not None:
        check_options({k: v for k, v in options.items() if k != "kernel_y"}, row.function, matrix)
        if "kernel_y" in options:
            raise TypeError("matrix() takes one kernel for all layers: kernel=")
    if row is not None and row.name in MEASURES:
        of_kernels = row.name
        options = {"estimator": DEFAULT_ESTIMATOR[of_kernels], **options}
        return cka_matrix(Xs, Ys, keys=keys, keys_y=keys_y, measure=of_kernels, progress=progress, **options)
    check_budget(options.get("memory"), progress)
    left = _opened(Xs, "Xs", keys)
    own = "keys_y" if keys_y is None else None
    right = left if Ys is None else _opened(Ys, "Ys", keys if keys_y is None else keys_y, own)
    every = [*left.items(), *(() if Ys is None else right.items())]
    same_rows([x for _, x in every], [name for name, _ in every])
    same_device([x for _, x in every], [name for name, _ in every])
    if row is not None and row.kept == "neighbours":
        found, options = _of_neighbours(row, left, None if Ys is None else right, progress, **options)
    else:
        function: Callable[..., float] = measure if callable(measure) else cast("Row", row).function
        both_ways = Ys is not None or row is None or not row.symmetric
        found = _by_pairs(function, registry.name_of(measure), left, right, both_ways, progress, options)
    values = np.empty((len(left), len(right)))
    reasons: dict[str, str] = {}
    for i, j, value, reason in found:
        values[i, j] = value
        if reason:
            reasons.setdefault(*reason)
    return AlignmentMatrix(
        values=values,
        rows=tuple(name[4:-2] for name in left),
        columns=tuple(name[4:-2] for name in right),
        measure=registry.name_of(measure),
        options={k: v for k, v in options.items() if k not in ("precision", "memory")},
        n=every[0][1].n,
        reasons=reasons,
        best_is="smallest" if row is not None and row.agreement == "less" else "largest",
        limits=(None, None) if row is None else row.range,
        provenance=provenance(dict(every)),
    )


_PAIR_OF_LISTS = 0.02  # cost of comparing two lists, in sweeps over a layer
_Found: TypeAlias = tuple[int, int, float, tuple[str, str] | None]  # a value and why it is nan: of what, and the reason


def _opened(given: object, name: str, keys: Keys | None, own_keys: str | None = None) -> dict[str, Matrix]:
    """Through the gate, by the names that messages have."""
    found = layers(given, name, keys, own_keys=own_keys)
    return {f"{name}[{key!r}]": opened(x, f"{name}[{key!r}]") for key, x in found.items()}


def _of_neighbours(
    row: Row,
    left: Mapping[str, Matrix],
    right: Mapping[str, Matrix] | None,
    progress: Progress | None,
    *,
    k: int = 10,
    metric: neighbors.Metric = "cosine",
    memory: int | None = None,
) -> tuple[Iterator[_Found], dict[str, Any]]:
    """Lists of every layer, made once, then what each two have in common."""
    one_of(metric, get_args(neighbors.Metric), "metric")
    every = {**left, **(right or {})}
    neighbors.check_k(k, next(iter(every.values())).n)
    columns = left if right is None else right
    pairs_cost = _PAIR_OF_LISTS * len(left) * len(columns)
    expect(progress, len(every) + pairs_cost)
    lists: dict[str, overlaps.Neighbors] = {}
    for i, (name, x) in enumerate(every.items()):
        step = phase(progress, f"neighbours of layer {i + 1}/{len(every)}")
        lists[name] = neighbors.nearest_of(x, name, k, metric, memory, step)
    measure = cast("overlaps.NeighborMeasure", row.name)

    def pairs() -> Iterator[_Found]:
        counted = phase(progress, "pairs", pairs_cost, counted=True)
        for i, a in enumerate(left):
            for j, b in enumerate(columns):
                why = next(((name, f"in {name}, {r}") for name in (a, b) if (r := lists[name].reason)), None)
                yield i, j, math.nan if why else overlaps.in_common(lists[a], lists[b], measure), why
                tell(counted, i * len(columns) + j + 1, len(left) * len(columns))

    return pairs(), {"k": k, "metric": metric}


def _by_pairs(
    function: Callable[..., float],
    name: str,
    left: Mapping[str, Matrix],
    right: Mapping[str, Matrix],
    both_ways: bool,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> Iterator[_Found]:
    """The measure of every pair; of a symmetric one among layers of one model, half of them."""
    total = len(left) * len(right) if both_ways else len(left) * (len(left) + 1) // 2
    done = 0
    counted = phase(progress, "pairs", counted=True)
    for i, (a, x) in enumerate(left.items()):
        for j, (b, y) in enumerate(right.items()):
            if not both_ways and j < i:
                continue
            with heard() as why:
                value = registry.number(function(x.owner, y.owner, **options), name, f"{a} and {b}")
            reason = (f"{a}, {b}", _said_of(a, b, why[0])) if why else None
            yield i, j, value, reason
            if not both_ways and j > i:
                yield j, i, value, reason
            done += 1
            tell(counted, done, total)


def _said_of(x: str, y: str, reason: str) -> str:
    """What a measure says of X and Y, said of two layers."""
    return re.sub(r"\b[XY]\b(?!')", lambda found: x if found[0] == "X" else y, reason)


@public
@one_bar
def cka_matrix(
    Xs: object,
    Ys: object | None = None,
    kernel: Kernel | KernelName = "linear",
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
        For all layers; an open bandwidth is each layer's own. Names are "linear", "cosine", "rbf" (or "gaussian"), ...;
        ``gm.RBF(bandwidth=2.0)`` has a parameter.
    keys : str, int, or sequence of them, optional
        Which layers, in this order: names, whole numbers that are names, or patterns of names as "blocks.*.mlp".
    keys_y : str or sequence of str, optional
        Of Ys, if these are others.
    measure : {"cka", "hsic", "kernel_alignment"}
    estimator : {"unbiased", "biased"}
        "unbiased" is about 0 for unrelated layers at any number of rows, and needs n ≥ 4.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch: on a CUDA device, inner products of float32 and 16-bit data are
        as accurate as float32 ("highest"), or keep 11 bits ("high") or 8 bits ("medium") of each feature, which is
        faster. On the CPU all three are computed as "highest", and float64 is float64 everywhere.
    memory : int, optional
        Bytes that scratch may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

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
    O(n²·Σd + n²·L1·L2) time and O(n·L) memory; on the CPU, O(n(Σd)²) for linear and cosine kernels with n well above
    Σd.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> layers = {"first": rng.standard_normal((400, 10))}
    >>> for below, name in (("first", "second"), ("second", "third")):  # a random network
    ...     layers[name] = np.maximum(layers[below] @ rng.standard_normal((10, 10)), 0)
    >>> gm.cka_matrix(layers).values.round(2)
    array([[1.  , 0.58, 0.41],
           [0.58, 1.  , 0.79],
           [0.41, 0.79, 1.  ]])
    """
    one_of(measure, MEASURES, "measure")
    left = layers(Xs, "Xs", keys)
    own = "keys_y" if keys_y is None else None
    right = left if Ys is None else layers(Ys, "Ys", keys if keys_y is None else keys_y, own_keys=own)
    arrays, names = list(left.values()), [f"Xs[{k!r}]" for k in left]
    if Ys is not None:
        arrays += right.values()
        names += [f"Ys[{k!r}]" for k in right]
    expect(progress, 1)
    pair = routes.gathered(
        arrays,
        names,
        [(kernel, "kernel")] * len(arrays),
        split=0 if Ys is None else len(left),
        precision=precision,
        memory=memory,
        progress=progress,
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
    positive = all(estimators.is_positive(x) for x in pair.xs)
    if estimator == "biased" and positive:
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
        options={"estimator": estimator, "kernel": repr(kernel) if not isinstance(kernel, str) else kernel},
        n=pair.n,
        reasons=reasons,
        limits=(0.0 if estimator == "biased" and positive else -1.0, 1.0) if measure != "hsic" else (None, None),
        provenance=origin,
    )
