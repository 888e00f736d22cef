"""Features and scores in the layout of the Platonic Representation Hypothesis (Huh, Cheung, Wang, Isola 2024).

Its files hold a dict whose "feats" are (n, layers, features); its scores are maxima over all pairs of layers. Here
are its names for measures, and what it does to features before they are compared.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.matrix import cka_matrix
from gramian.reasons import heard, told
from gramian.results.plain import plain
from gramian.results.provenance import provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows.arrays import as_matrix, check_count, check_number, one_of, require_rows
from gramian.rows.sources import array_names, open_array, open_layers
from gramian.show import heatmaps
from gramian.sweeps.centred import blocks
from gramian.sweeps.gram import Progress

Array: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]
Metric: TypeAlias = Literal[
    "mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cknna", "cka", "unbiased_cka", "svcca"
]

_TORCH_SUFFIXES = (".pt", ".pth")
_CCA_COMPONENTS = 10


@dataclass(frozen=True, eq=False)
class PlatonicScore(Result):
    """The best pair of layers of two models, and the score of every pair."""

    score: float
    layers: tuple[str, str] | None  # None where no pair has a score
    indices: tuple[int, int] | None
    values: Array  # (L1, L2)
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metric: Metric
    topk: int | None  # of the measures of neighbours
    n: int
    reason: str | None  # why values are nan: of how many pairs, and what is wrong with the first

    def __float__(self) -> float:
        return self.score

    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        cmap: Any = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw the scores of all pairs as a heat map with matplotlib, the best of each row dotted; returns the axes.

        ``limits`` are the ends of the colour scale; the values are written into up to 12 × 12 cells, or wherever
        ``annotate`` says so.
        """
        return heatmaps.heatmap(self._grid(), ax, title=title, cmap=cmap, limits=limits, annotate=annotate)

    def _grid(self) -> heatmaps.Grid:
        top = None if self.metric == "lcs_knn" else 1.0  # a length, up to topk
        reasons, limits = [self.reason] if self.reason else [], heatmaps.limits_of(self.values, top)
        return heatmaps.Grid(self.values, self.rows, self.columns, self.metric, self.n, reasons, limits)

    def _picture(self) -> str:
        return heatmaps.heatmap_svg(self._grid(), tooltips=self.values.size <= heatmaps.FEW)

    def to_pandas(self) -> Any:
        """A DataFrame of the scores of all pairs, with the layers' names; all other numbers in its ``attrs``."""
        frame = imported_pandas().DataFrame(self.values, index=list(self.rows), columns=list(self.columns))
        frame.attrs.update(plain(self._facts()))
        return frame

    def __repr__(self) -> str:
        where = "" if self.layers is None else f" at {self.layers[0]} and {self.layers[1]}"
        return (
            f"PlatonicScore({self.metric} = {self.score:.6g}{where}, {len(self.rows)}×{len(self.columns)} pairs, "
            f"n = {self.n})"
        )


def platonic_layers(source: object, *, quantile: float | None = 0.95, exact: bool = True) -> dict[str, Floats]:
    """Layers of a feature file, float32, with their outliers clamped.

    Every value is clamped to [−t, t]. With `exact`, t is the `quantile` of the absolute values of all layers together,
    number ⌊quantile·count⌋ in ascending order; without, the mean over samples of the quantile of each sample.

    Parameters
    ----------
    source : path, dict or array
        A ``.pt`` or ``.pth`` file with a dict, an ``.npz`` or a ``.safetensors`` file, or a dict: its "feats" are an
        array (n, layers, features) or a list of arrays (n, features). Such an array or list may come by itself, and so
        may a dict, a directory or a file with an array for each layer.
    quantile : float, optional
        None, or 1, clamps nothing.
    exact : bool
        Each array of a list is clamped by its own quantile.

    Returns
    -------
    dict of str to array
        layer0, layer1, ... (n, features).

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.
    ImportError
        A ``.pt`` file without torch. It is read without running code that it may hold.

    Notes
    -----
    Three passes over the features, and a copy of them in float32. Source: ``prepare_features`` of
    github.com/minyoungg/platonic-rep; Theory, 9.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> feats = np.arange(40.0).reshape(5, 2, 4)
    >>> layers = gm.platonic_layers({"feats": feats}, quantile=0.5)
    >>> list(layers), float(layers["layer1"].max())
    (['layer0', 'layer1'], 20.0)
    """
    return _prepared(source, "source", quantile, exact)


def platonic_score(
    X: object,
    Y: object,
    *,
    metric: Metric = "mutual_knn",
    topk: int = 10,
    normalize: bool = True,
    quantile: float | None = 0.95,
    exact: bool = True,
    progress: Progress | None = None,
) -> PlatonicScore:
    """The alignment of two models as the Platonic Representation Hypothesis has it: the maximum over pairs of layers.

    Parameters
    ----------
    X, Y : path, dict or array
        Features of two models for the same samples, as `platonic_layers` takes them.
    metric : {"mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cknna", "cka", "unbiased_cka", "svcca"}
        "cka" is biased, "svcca" of 10 components of standardised features; "lcs_knn" is a length, from 0 to `topk`.
    topk : int
        Neighbours of "mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn" and "cknna".
    normalize : bool
        Scale every row to length 1 first.
    quantile, exact
        As in `platonic_layers`.
    progress : callable, optional
        Called with (done, total).

    Returns
    -------
    PlatonicScore
        ``.score``, ``.layers`` and ``.indices`` of the best pair (the first of equals), ``.values`` (L1, L2) of all,
        and ``.reason`` if some of them are nan: pairs with a layer of which the measure says nothing, such as one whose
        rows are all equal, are passed over.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError, ImportError
        Naming the argument, what came and what is needed.

    Notes
    -----
    CKA of all pairs is one sweep; neighbours of a layer are found once; CKNNA and SVCCA are computed pair by pair. The
    published code adds 10⁻⁶ to the denominator of CKA and CKNNA, which is left out here; draws random numbers for
    SVCCA, whose components and correlations are exact here; and gives 0 where no pair has a positive score, where the
    maximum is given here. A maximum over many pairs is above the chance level of one: to see by how much, score
    shuffled samples. Source: ``compute_score`` of github.com/minyoungg/platonic-rep; Theory, 9.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> feats = np.random.default_rng(0).standard_normal((50, 3, 8))
    >>> found = gm.platonic_score(feats[:, 1:], feats, metric="cka", quantile=None)
    >>> round(found.score, 6), found.layers, found.values.shape
    (1.0, ('layer0', 'layer1'), (2, 3))
    """
    one_of(metric, get_args(Metric), "metric")
    check_count(topk, "topk")
    left, right = _prepared(X, "X", quantile, exact), _prepared(Y, "Y", quantile, exact)
    n, m = (len(next(iter(layers.values()))) for layers in (left, right))
    if n != m:
        raise ValueError(f"X has {n} rows but Y has {m}; row i of both must be the same sample")
    if "knn" in metric:
        require_rows(n, topk + 1, f"{metric} of {topk} neighbours")
    if metric in ("cka", "unbiased_cka"):
        found = cka_matrix(
            left,
            right,
            "cosine" if normalize else "linear",
            estimator="biased" if metric == "cka" else "unbiased",
            progress=progress,
        )
        values = found.values
        why = _of_kernels(found.reasons)
    else:
        values, why = _by_pairs(*_comparison(metric, left, right, topk, normalize), progress)
    best = None if np.isnan(values).all() else np.unravel_index(int(np.nanargmax(values)), values.shape)
    rows, columns = tuple(left), tuple(right)
    return PlatonicScore(
        score=math.nan if best is None else float(values[best]),
        layers=None if best is None else (rows[best[0]], columns[best[1]]),
        indices=None if best is None else (int(best[0]), int(best[1])),
        values=values,
        rows=rows,
        columns=columns,
        metric=metric,
        topk=topk if "knn" in metric else None,
        n=n,
        reason=_reason(values, why),
        provenance=provenance(
            {
                f"{name}[{k!r}]": as_matrix(x, name)
                for name, layers in (("X", left), ("Y", right))
                for k, x in layers.items()
            }
        ),
    )


def _reason(values: Array, why: Callable[[int, int], str]) -> str | None:
    missing = np.argwhere(np.isnan(values))
    if not len(missing):
        return None
    i, j = missing[0].tolist()
    return f"{len(missing)} of {values.size} pairs have no value: {why(i, j)}"


def _of_kernels(reasons: Mapping[str, str]) -> Callable[[int, int], str]:
    """Why CKA of layers i and j is nan, from what `cka_matrix` says of single layers."""

    def why(i: int, j: int) -> str:
        theirs = {f"Xs['layer{i}']": f"layer{i} of X", f"Ys['layer{j}']": f"layer{j} of Y"}
        key = next(key for key in theirs if key in reasons)
        return reasons[key].replace(key, theirs[key])

    return why


def _comparison(
    metric: Metric, left: dict[str, Floats], right: dict[str, Floats], topk: int, normalize: bool
) -> tuple[list[Any], list[Any], Callable[[Any, Any], float]]:
    """What is made of every layer once, and the measure of two of these."""
    layers = list(left.values()), list(right.values())
    if metric == "svcca":
        correlations = import_module("gramian.measures.subspaces").canonical_correlations
        rows, others = ([_unit_rows(z) if normalize else z for z in zs] for zs in layers)

        def svcca(x: Any, y: Any) -> float:
            found = correlations(x, y, components=_CCA_COMPONENTS, standardize=True)
            return told(found.mean, found.reason, metric)

        return rows, others, svcca
    if metric == "cknna":
        kernel = "cosine" if normalize else "linear"
        cknna = import_module("gramian.measures.cknna").cknna
        return *layers, lambda x, y: cknna(x, y, topk, kernel=kernel, variant="reference")
    knn = import_module("gramian.measures.neighbors").neighbors
    neighbor_overlap = import_module("gramian.measures.overlaps").neighbor_overlap
    space: str = "cosine" if normalize else "inner_product"
    near, others = ([knn(z, topk, metric=space) for z in zs] for zs in layers)
    measure = "edit_knn" if metric == "edit_distance_knn" else metric
    factor = topk if metric == "lcs_knn" else 1  # a length, not a part of topk

    def overlap(a: Any, b: Any) -> float:
        found = neighbor_overlap(a, b, measure=measure, shuffles=1)
        return factor * told(found.value, found.reason, metric)

    return near, others, overlap


def _unit_rows(x: Floats) -> Array:
    rows = x.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    np.divide(rows, norms, out=rows, where=norms > 0)
    return rows


def _by_pairs(
    left: list[Any], right: list[Any], measure: Callable[[Any, Any], float], progress: Progress | None
) -> tuple[Array, Callable[[int, int], str]]:
    """The values, and why one of them is nan."""
    values, reasons = np.empty((len(left), len(right))), {}
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            with heard() as said:
                values[i, j] = measure(x, y)
            if said:
                reasons[i, j] = _of_layers(said[0], i, j)
            if progress:
                progress(i * len(right) + j + 1, values.size)
    return values, lambda i, j: reasons[i, j]


def _of_layers(reason: str, i: int, j: int) -> str:
    """What a measure says of X, Y (or of lists A, B), said of their layers."""
    names = dict.fromkeys("XA", f"layer{i} of X") | dict.fromkeys("YB", f"layer{j} of Y")
    return re.sub(r"\b[XYAB]\b(?!')", lambda found: names[found[0]], reason)


# ---- features ------------------------------------------------------------------------------------------------------


def _prepared(source: object, name: str, quantile: float | None, exact: bool) -> dict[str, Floats]:
    if quantile is not None:
        check_number(quantile, "quantile")
        if not 0 < quantile <= 1:
            raise ValueError(f"quantile must be above 0 and at most 1, got {quantile}")
    groups = [[_float32(layer, f"layer{i} of {name}") for i, layer in group] for group in _grouped(source, name)]
    layers: list[Floats] = []
    for group in groups:
        if quantile is not None and quantile < 1:
            limit = np.float32(_exact_limit(group, quantile) if exact else _mean_limit(group, quantile))
            group = [np.clip(layer, -limit, limit) for layer in group]
        layers.extend(group)
    for i, layer in enumerate(layers):
        if not np.isfinite(layer).all():
            raise ValueError(f"layer{i} of {name} has values beyond float32, which scores are made from; scale it down")
    if len({len(layer) for layer in layers}) > 1:
        raise ValueError(f"layers of {name} have different numbers of rows: {', '.join(str(len(l)) for l in layers)}")
    return {f"layer{i}": layer for i, layer in enumerate(layers)}


def _grouped(source: object, name: str) -> list[list[tuple[int, Any]]]:
    """Layers with their numbers, in groups that are clamped together."""
    found = _opened(source, name)
    if isinstance(found, Mapping):
        if "feats" in found:
            found = found["feats"]
        elif found and all(getattr(layer, "ndim", 0) == 2 for layer in found.values()):
            found = list(found.values())
        else:
            raise ValueError(f"{name} has no 'feats'; it holds {', '.join(map(str, found)) or 'nothing'}")
    if isinstance(found, Sequence) and not isinstance(found, str):
        if not found:
            raise ValueError(f"{name} has no layers")
        return [[(i, layer)] for i, layer in enumerate(found)]
    shape = tuple(getattr(found, "shape", ()))
    if len(shape) == 2:
        return [[(0, found)]]
    if len(shape) != 3:
        raise ValueError(f"feats of {name} must be (n, layers, features), got shape {shape}")
    if 0 in shape:
        raise ValueError(f"feats of {name} are empty, with shape {shape}")
    array: Any = found
    return [[(i, array[:, i, :]) for i in range(shape[1])]]


def _opened(source: object, name: str) -> Any:
    """A file's content; anything else as it is."""
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(os.path.expanduser(source))
    if path.suffix in _TORCH_SUFFIXES:
        return _load_torch(path, name)
    names = array_names(path) if path.is_file() and path.suffix in (".npz", ".safetensors") else []
    if "feats" in names:
        return open_array(f"{path}:feats")
    return list(open_layers(path).values()) if path.is_dir() or len(names) > 1 else open_array(path)


def _load_torch(path: Path, name: str) -> Any:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{path}: reading {path.suffix} files needs torch: pip install 'gramian[torch]'") from error
    with open(path, "rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch's own words are an opcode, or advise to run the code in the file
            what = (
                "it is no file of torch.save, or is damaged, or holds more than tensors, numbers, strings, lists and "
                "dicts"
            )
            raise ValueError(f"{path} cannot be read as {path.suffix}: {what}") from error


def _float32(layer: Any, name: str) -> Floats:
    x = as_matrix(layer, name)
    out = np.empty(x.shape, dtype=np.float32)
    zero = True
    with np.errstate(over="ignore"):  # beyond float32 they are infinite until they are clamped
        for start, stop in blocks(x.n, [x.d]):
            rows = x.block(start, stop)
            zero = zero and not rows.any()
            out[start:stop] = rows
    if not (zero or out.any()):
        raise ValueError(f"{name} has no value that float32, which scores are made from, tells from 0; scale it up")
    return out


def _exact_limit(group: Sequence[Floats], quantile: float) -> float:
    """Number ⌊quantile·count⌋ of the absolute values, from 0: floats above 0 are in the order of their bits."""
    rank = int(quantile * sum(layer.size for layer in group))
    high = 0
    for half in (16, 0):
        counts = np.zeros(1 << 16, dtype=np.int64)
        for layer in group:
            for start, stop in blocks(len(layer), [layer.shape[1]]):
                bits = np.abs(layer[start:stop]).view(np.uint32).reshape(-1)
                if half == 0:
                    bits = bits[bits >> 16 == high]
                counts += np.bincount(bits >> half & 0xFFFF, minlength=1 << 16)
        upto = np.cumsum(counts)
        found = int(np.searchsorted(upto, rank, side="right"))
        rank -= int(upto[found] - counts[found])
        high = found if half else high << 16 | found
    return float(np.uint32(high).view(np.float32))


def _mean_limit(group: Sequence[Floats], quantile: float) -> float:
    """The mean over samples of each one's quantile."""
    n = len(group[0])
    total = 0.0
    for start, stop in blocks(n, [layer.shape[1] for layer in group]):
        sizes = np.abs(np.concatenate([layer[start:stop] for layer in group], axis=1))
        total += float(np.quantile(sizes, quantile, axis=1).sum(dtype=np.float64))
    return total / n
