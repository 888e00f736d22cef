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
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.matrices import matrix
from gramian.measures.registry import MeasureName
from gramian.measures.subspaces import svcca
from gramian.progress import Progress, one_bar
from gramian.results.plain import plain
from gramian.results.provenance import provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows.arrays import Matrix, as_matrix, check_budget, check_count, check_number, one_of, require_rows
from gramian.rows.labels import RowLabels, same_labels
from gramian.rows.layers import Keys, given_layers, names_of
from gramian.rows.reading import natural
from gramian.rows.sources import ALONE, SUFFIXES, chosen, keys_of_another, open_array, open_layers, opened
from gramian.show import heatmaps
from gramian.sweeps.centred import blocks
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]
Metric: TypeAlias = Literal[
    "mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cknna", "cka", "unbiased_cka", "svcca"
]

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
        """Draw the scores of all pairs as a heat map with matplotlib, the best of each row dotted; returns the axes.

        ``limits`` are the ends of the colour scale; the values are written into up to 12 × 12 cells, or wherever
        ``annotate`` says so.
        """
        return heatmaps.heatmap(self.grid(), ax, title=title, cmap=cmap, limits=limits, annotate=annotate)

    def grid(self) -> heatmaps.Grid:
        """The scores as `heatmaps.heatmap` and `heatmaps.heatmap_svg` draw them."""
        top = None if self.metric == "lcs_knn" else 1.0  # a length, up to topk
        reasons, limits = [self.reason] if self.reason else [], heatmaps.limits_of(self.values, top)
        return heatmaps.Grid(self.values, self.rows, self.columns, self.metric, self.n, reasons, limits)

    def _picture(self) -> str:
        return heatmaps.heatmap_svg(self.grid(), tooltips=self.values.size <= heatmaps.FEW)

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


@public
def platonic_layers(
    source: object, *, keys: Keys | None = None, quantile: float | None = 0.95, exact: bool = True
) -> dict[str, Floats]:
    """Layers of a feature file, float32, with their outliers clamped.

    Every value is clamped to [−t, t]. With `exact`, t is the `quantile` of the absolute values of all layers together,
    number ⌊quantile·count⌋ in ascending order; without, the mean over samples of the quantile of each sample.

    Parameters
    ----------
    source : path, dict or array
        A ``.pt`` or ``.pth`` file with a dict, an ``.npz`` or a ``.safetensors`` file, or a dict: its "feats" are an
        array (n, layers, features) or a list of arrays (n, features). Such an array or list may come by itself, and so
        may a dict, a directory or a file with an array for each layer.
    keys : str, int, or sequence of them, optional
        Which layers, in this order: names, or patterns of names as "blocks.*.mlp", of a dict or file; "layer0", ... of
        an array or list. Values are clamped as without.
    quantile : float, optional
        None, or 1, clamps nothing.
    exact : bool
        Each array of a list is clamped by its own quantile.

    Returns
    -------
    dict of str to array
        layer0, layer1, ... (n, features), or by the names that keys chose.

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
    return _prepared(source, "source", quantile, exact, keys).layers


@public
@one_bar
def platonic_score(
    X: object,
    Y: object,
    *,
    keys: Keys | None = None,
    keys_y: Keys | None = None,
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
    keys : str, int, or sequence of them, optional
        Which layers, in this order: names, or patterns of names as "blocks.*.mlp"; they keep their names then.
    keys_y : str or sequence of str, optional
        Of Y, if these are others.
    metric : {"mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cknna", "cka", "unbiased_cka", "svcca"}
        "cka" is biased, "svcca" of 10 components of standardised features; "lcs_knn" is a length, from 0 to `topk`.
    topk : int
        Neighbours of "mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn" and "cknna".
    normalize : bool
        Scale every row to length 1 first.
    quantile, exact
        As in `platonic_layers`.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

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
    topk = check_count(topk, "topk")
    check_budget(None, progress)
    own_keys = "keys_y" if keys_y is None else None
    first = _prepared(X, "X", quantile, exact, keys)
    second = _prepared(Y, "Y", quantile, exact, keys if keys_y is None else keys_y, own_keys)
    left, right = first.layers, second.layers
    n, m = (len(next(iter(layers.values()))) for layers in (left, right))
    if n != m:
        raise ValueError(f"X has {n} rows but Y has {m}; row i of both must be the same sample")
    labels = {**first.labels, **second.labels}
    same_labels(list(labels.values()), list(labels))
    if "knn" in metric:
        require_rows(n, topk + 1, f"{metric} of {topk} neighbours")
    measure, options = _measure(metric, topk, normalize)
    found = matrix(left, right, measure, progress=progress, **options)
    values = found.values * (topk if metric == "lcs_knn" else 1)  # a length, not a part of topk
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
        reason=_reason(values, rows, columns, found.reasons),
        provenance=provenance(
            {
                f"{name}[{k!r}]": as_matrix(x, name)
                for name, layers in (("X", left), ("Y", right))
                for k, x in layers.items()
            }
        ),
    )


def _measure(metric: Metric, topk: int, normalize: bool) -> tuple[MeasureName | Callable[..., float], dict[str, Any]]:
    """A measure of the published code as `gramian.matrix` has it."""
    kernel = "cosine" if normalize else "linear"
    if metric in ("cka", "unbiased_cka"):
        return "cka", {"kernel": kernel, "estimator": "biased" if metric == "cka" else "unbiased"}
    if metric == "cknna":
        return metric, {"k": topk, "kernel": kernel, "variant": "reference"}
    if metric == "svcca":
        return (_svcca_of_unit_rows if normalize else _svcca), {}
    name = "edit_knn" if metric == "edit_distance_knn" else metric
    return cast("MeasureName", name), {"k": topk, "metric": "cosine" if normalize else "inner_product"}


def _svcca(x: Any, y: Any) -> float:
    return svcca(x, y, components=_CCA_COMPONENTS, standardize=True)


def _svcca_of_unit_rows(x: Floats, y: Floats) -> float:
    return _svcca(_unit_rows(x), _unit_rows(y))


def _reason(values: Array, rows: Sequence[str], columns: Sequence[str], reasons: Mapping[str, str]) -> str | None:
    missing = np.argwhere(np.isnan(values))
    if not len(missing):
        return None
    i, j = missing[0].tolist()
    layers = f"Xs[{rows[i]!r}]", f"Ys[{columns[j]!r}]"
    why = next(reasons[key] for key in (*layers, ", ".join(layers)) if key in reasons)
    why = re.sub(r"([XY])s\['([^']*)'\]", r"\2 of \1", why)
    return f"{len(missing)} of {values.size} pairs have no value: {why}"


def _unit_rows(x: Floats) -> Array:
    rows = x.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    np.divide(rows, norms, out=rows, where=norms > 0)
    return rows


# ---- features ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Layers of one model as scores are made from them."""

    layers: dict[str, Floats]
    labels: dict[str, RowLabels | None]  # of the rows, under the names that the caller has for the layers


def _prepared(
    source: object,
    name: str,
    quantile: float | None,
    exact: bool,
    keys: Keys | None = None,
    own_keys: str | None = None,
) -> _Prepared:
    if quantile is not None:
        quantile = check_number(quantile, "quantile")
        if not 0 < quantile <= 1:
            raise ValueError(f"quantile must be above 0 and at most 1, got {quantile}")
    found = _grouped(source, name)
    labels = [label for group in found for label, _ in group]
    callers = [[f"{name}[{label!r}]" for label, _ in group] for group in found]
    if keys is None:  # without names they are numbered, whatever a file calls them
        numbers = iter(range(len(labels)))
        found = [[(f"layer{next(numbers)}", layer) for _, layer in group] for group in found]
        wanted = [label for group in found for label, _ in group]
    else:
        with keys_of_another(own_keys):
            wanted = list(chosen(dict.fromkeys(labels), names_of(keys), name))
        kept = [i for i, group in enumerate(found) if any(label in wanted for label, _ in group)]
        found, callers = [found[i] for i in kept], [callers[i] for i in kept]
    layers: dict[str, Floats] = {}
    rows: dict[str, RowLabels | None] = {}
    for members, names in zip(found, callers, strict=True):
        matrices = [as_matrix(layer, f"{label} of {name}") for label, layer in members]
        rows |= {called: x.labels for called, x in zip(names, matrices, strict=True)}
        group = [_float32(x, f"{label} of {name}") for x, (label, _) in zip(matrices, members, strict=True)]
        if quantile is not None and quantile < 1:
            limit = np.float32(_exact_limit(group, quantile) if exact else _mean_limit(group, quantile))
            group = [np.clip(layer, -limit, limit) for layer in group]
        layers |= {label: layer for (label, _), layer in zip(members, group, strict=True)}
    layers = {label: layers[label] for label in wanted}
    for label, layer in layers.items():
        if not np.isfinite(layer).all():
            raise ValueError(f"{label} of {name} has values beyond float32, which scores are made from; scale it down")
    if len({len(layer) for layer in layers.values()}) > 1:
        counts = ", ".join(str(len(layer)) for layer in layers.values())
        raise ValueError(f"layers of {name} have different numbers of rows: {counts}")
    same_labels(list(rows.values()), list(rows))
    return _Prepared(layers, rows)


def _grouped(source: object, name: str) -> list[list[tuple[str, Any]]]:
    """Layers with their names, in groups that are clamped together."""
    found = open_features(source)
    if isinstance(found, Mapping):
        if "feats" in found:
            found = found["feats"]
        elif not found or not all(getattr(layer, "ndim", 0) == 2 for layer in found.values()):
            raise ValueError(f"{name} has no 'feats'; it holds {', '.join(map(str, found)) or 'nothing'}")
    if not isinstance(found, Mapping) and len(getattr(found, "shape", ())) == 3 and not hasattr(found, "dims"):
        if 0 in found.shape:
            raise ValueError(f"feats of {name} are empty, with shape {tuple(found.shape)}")
        return [list(given_layers(found, name).items())]
    return [[(label, layer)] for label, layer in given_layers(found, f"feats of {name}").items()]


def open_features(source: object) -> Any:
    """The features in a file, or all of its arrays; anything else as it is."""
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(os.path.expanduser(source))
    if not path.is_file() or path.suffix in ALONE or path.suffix not in SUFFIXES:
        return open_layers(path) if path.is_dir() else open_array(source)
    archive = opened(path)
    if "feats" in archive.names:
        return archive.read(["feats"])["feats"]
    listed = [label for label in archive.names if label.startswith("feats.")]  # a list of them
    wanted = listed or sorted(archive.names, key=natural)
    found = archive.read(wanted)
    return found[wanted[0]] if len(wanted) == 1 else {label: found[label] for label in wanted}


def _float32(x: Matrix, name: str) -> Floats:
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
