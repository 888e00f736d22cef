"""Nearest neighbours, and how alike two representations are by who is near whom.

`neighbors` makes the lists, in one sweep that stores nothing but them; `neighbor_overlap` compares two lists by any
of the measures and says what chance would give. Many layers are compared best through lists that are made once each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import (
    ArcCosine,
    Cosine,
    Kernel,
    Linear,
)
from gramian.reasons import told
from gramian.rows.arrays import (
    Matrix,
    about_least,
    as_matrix,
    check_budget,
    check_count,
    check_seed,
    one_of,
    require_rows,
)
from gramian.rows.sources import matrix
from gramian.sweeps import gram, moments, rounding, routes
from gramian.sweeps.gram import Nearest, Progress, Representation

Array: TypeAlias = npt.NDArray[np.float64]
Lists: TypeAlias = npt.NDArray[np.int64]  # (n, k)
Metric: TypeAlias = Literal["cosine", "inner_product", "euclidean", "manhattan"]
NeighborMeasure: TypeAlias = Literal["mutual_knn", "cycle_knn", "lcs_knn", "edit_knn"]

# a metric is a kernel, whose largest values are the nearest; the last two are native functions only
_KERNEL: dict[Metric, tuple[Kernel, str | None]] = {
    "cosine": (Cosine(), None),
    "inner_product": (Linear(), None),
    "euclidean": (Linear(), "squared_distance"),
    "manhattan": (Linear(), "manhattan_distance"),
}
_ELEMENTS = 1 << 21  # of scratch at a time
_ALIKE = 256  # rows among which all pairs are looked at where every list holds equal numbers


class Neighbors(np.ndarray[Any, np.dtype[np.int64]]):
    """(n, k) lists of neighbours, nearest first, and what ties have decided in them; a part of them does not know."""

    ties: float | None  # share of the rows that have others as near as their last neighbour, left out for their index
    reason: str | None  # why the lists say nothing of who is near whom

    def __array_finalize__(self, made_from: object) -> None:
        self.ties, self.reason = None, None


def neighbors(
    X: object,
    k: int,
    *,
    metric: Metric = "cosine",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Neighbors:
    """The k nearest neighbours of every row among the others, nearest first.

    Row i of the result lists the k rows j ≠ i of largest s(x_i, x_j), ties to the lower index, where s is the cosine,
    the inner product, or the distance with a minus sign.

    Parameters
    ----------
    X : array of shape (n, p)
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, or the path of a file.
    k : int
        From 1 to n − 1.
    metric : {"cosine", "inner_product", "euclidean", "manhattan"}
        The cosine with a row of zeros is 0.
    memory : int, optional
        Bytes that scratch may take beyond the lists.
    progress : callable, optional
        Called with (done, total).

    Returns
    -------
    array of shape (n, k), int64
        With two attributes that arrays made from it do not have: ``.ties``, the share of the rows whose last neighbour
        ties with a row that is left out for its index alone, and ``.reason``, why the lists say nothing of X (or None):
        all rows are equally near each other, or, for the cosine, point the same way up to the rounding of X's dtype.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; k is not from 1 to n − 1.
    RuntimeError
        CUDA, with the call and the device's message.

    Notes
    -----
    O(n²p) time and O(nk) memory. Tiles find the pairs that might matter and float64 decides: the lists are those of
    float64 arithmetic on the values of X in any dtype, the same for any number of threads and any memory. Distances are
    taken from differences, inner products and cosines from sums with twice float64's digits, so a mean far from 0 costs
    no digits and whole numbers tie as they should. Theory, 6.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> gm.neighbors(np.array([[0.0], [1], [3], [7], [15]]), 1, metric="euclidean").ravel().tolist()
    [1, 0, 1, 2, 3]
    """
    return _nearest(X, "X", k, metric, memory, progress)


def mutual_knn(
    X: object,
    Y: object,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Mutual nearest neighbours: the share of a row's k neighbours in X that are its neighbours in Y too.

    1/(nk) Σ_i |N_X(i) ∩ N_Y(i)|, a row never its own neighbour.

    Parameters
    ----------
    X : array of shape (n, p)
    Y : array of shape (n, q)
        Row i of both is the same sample.
    k : int
        From 1 to n − 1.
    metric, memory, progress
        As in `neighbors`.

    Returns
    -------
    float
        In [0, 1]; k/(n−1) for unrelated data, which `neighbor_overlap` corrects for. nan, with an `UndefinedWarning`
        that says why, if who is near whom in an array is decided by ties alone: all its rows are equally near each
        other.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n²(p+q)) time, O(nk) memory. It does not change under whatever keeps the order of distances: rotations and
    scaling of either array, and shifts if the metric is a distance. Source: Huh et al. 2024; Theory, 6.2.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[0.0], [1], [3], [7], [15]]), np.array([[0.0], [3], [1], [7], [15]])
    >>> gm.mutual_knn(x, y, 1, metric="euclidean")
    0.2
    """
    return _measure(X, Y, k, metric, "mutual_knn", memory, progress)


def cycle_knn(
    X: object,
    Y: object,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Cycle consistency: the share of rows that are among the neighbours in X of one of their neighbours in Y.

    1/n #{i : i ∈ ∪_{j ∈ N_Y(i)} N_X(j)}: from a row to a neighbour by Y, from there to a neighbour by X, and back.

    Parameters
    ----------
    X, Y, k, metric, memory, progress
        As in `mutual_knn`. X and Y do not play the same part.

    Returns
    -------
    float
        In [0, 1]; far from 0 for unrelated data if k² is not far below n (`neighbor_overlap` says how far). nan as
        `mutual_knn`.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    Cost and invariances as `mutual_knn`. Source: Huh et al. 2024; Theory, 6.3.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[0.0], [1], [3], [7], [15]]), np.array([[0.0], [3], [1], [7], [15]])
    >>> gm.cycle_knn(x, y, 1, metric="euclidean")
    0.2
    """
    return _measure(X, Y, k, metric, "cycle_knn", memory, progress)


def lcs_knn(
    X: object,
    Y: object,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """Common order of the neighbours: the longest common subsequence of a row's two lists, as a part of k.

    1/(nk) Σ_i LCS(N_X(i), N_Y(i)), lists nearest first. The length itself, as some report it, is k times this.

    Parameters
    ----------
    X, Y, k, metric, memory, progress
        As in `mutual_knn`.

    Returns
    -------
    float
        In [0, 1], at most `mutual_knn`; nan as that.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n²(p+q) + nk²) time, O(nk) memory; invariances as `mutual_knn`. Source: Huh et al. 2024; Theory, 6.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[0.0], [1], [3], [7], [15]]), np.array([[0.0], [3], [1], [7], [15]])
    >>> gm.lcs_knn(x, y, 4, metric="euclidean")
    0.75
    """
    return _measure(X, Y, k, metric, "lcs_knn", memory, progress)


def edit_knn(
    X: object,
    Y: object,
    k: int = 10,
    *,
    metric: Metric = "cosine",
    memory: int | None = None,
    progress: Progress | None = None,
) -> float:
    """One minus the edit distance of a row's two lists of neighbours, as a part of k.

    1 − 1/(nk) Σ_i Levenshtein(N_X(i), N_Y(i)), lists nearest first; insertions, deletions and substitutions count 1.

    Parameters
    ----------
    X, Y, k, metric, memory, progress
        As in `mutual_knn`.

    Returns
    -------
    float
        In [0, 1]; nan as `mutual_knn`.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n²(p+q) + nk²) time, O(nk) memory; invariances as `mutual_knn`. Source: Huh et al. 2024; Theory, 6.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[0.0], [1], [3], [7], [15]]), np.array([[0.0], [3], [1], [7], [15]])
    >>> gm.edit_knn(x, y, 1, metric="euclidean")
    0.2
    """
    return _measure(X, Y, k, metric, "edit_knn", memory, progress)


def _nearest(x: object, name: str, k: int, metric: Metric, memory: int | None, progress: Progress | None) -> Neighbors:
    one_of(metric, get_args(Metric), "metric")
    check_budget(memory, progress)
    rows = matrix(x, name)
    check_k(k, rows.n)
    kernel, native = _KERNEL[metric]
    if metric in ("euclidean", "manhattan"):
        (rows,) = about_least([rows])
    represented = Representation((rows,), kernel, native_name=native)
    found, ties, reason = listed(represented, k, memory, progress)
    lists = found.index.view(Neighbors)
    lists.ties, lists.reason = ties, reason
    return lists


def listed(
    x: Representation, k: int, memory: int | None, progress: Progress | None
) -> tuple[Nearest, float, str | None]:
    """The k nearest of every row, the share of rows with others as near as the last, and why they say nothing."""
    more = gram.sweep_nearest(x, min(k + 1, x.n - 1), memory=memory, progress=progress)
    found = replace(
        more,
        index=np.ascontiguousarray(more.index[:, :k]),
        similarity=np.ascontiguousarray(more.similarity[:, :k]),
    )
    out = more.similarity[:, k:]  # of the first row that is left out, if one is
    return found, float((out == found.similarity[:, -1:]).mean()) if out.size else 0.0, _undecided(x, more)


def _undecided(x: Representation, found: Nearest) -> str | None:
    """Why lists say nothing of the rows, or None."""
    n = x.n
    if n < 3:
        return None  # one other row is no choice
    if _equal(found.similarity) and (found.index.shape[1] == n - 1 or _equal(_among_some(x))):
        return "all rows are equally near each other"
    (rows,) = x.parts
    reach = 4 * rounding.epsilon(rows.dtype)
    if isinstance(x.kernel, Cosine):
        near = found.similarity >= 1 / reach**2
    elif x.kernel == ArcCosine(0):
        near = found.similarity >= -reach / math.pi
    else:
        return None
    if near.all() and _parallel(rows):
        return f"all rows point the same way, up to the rounding of {rows.dtype}"
    return None


def _equal(values: Array) -> bool:
    return bool(values.min() == values.max())


def _among_some(x: Representation) -> Array:
    """What up to 256 of the rows are ranked by, all of them against each other."""
    (rows,) = x.parts
    some = np.unique(np.linspace(0, rows.n - 1, min(rows.n, _ALIKE)).astype(np.int64))
    few = replace(x, parts=(as_matrix(rows.take(some), "rows"),))
    return gram.sweep_nearest(few, len(some) - 1).similarity


def _parallel(rows: Matrix) -> bool:
    """Whether rounding alone may have turned the rows away from the direction of the first."""
    turned, features = rounding.turned(rows, rows.dtype), moments.centre(rows, Cosine())
    first = features.raw(0, 1)
    return all(
        bool((rounding.lengths(features.raw(a, b) - first) <= turned[a:b] + turned[0]).all())
        for a, b in moments.blocks(rows.n, [rows.d])
    )


def check_k(k: object, n: int) -> None:
    check_count(k, "k")
    require_rows(n, 2, "a nearest neighbour")
    if cast("int", k) > n - 1:
        raise ValueError(f"k must be at most {n - 1}, the number of other rows, got {k}")


def _measure(
    X: object,
    Y: object,
    k: int,
    metric: Metric,
    measure: NeighborMeasure,
    memory: int | None,
    progress: Progress | None,
) -> float:
    a, b = _both(X, Y, k, metric, memory, progress)
    reason = first_reason(("X", a.reason), ("Y", b.reason))
    return told(math.nan, reason, measure) if reason else _MEAN[measure](_plain(a), _plain(b))


def first_reason(*found: tuple[str, str | None]) -> str | None:
    return next((f"in {name}, {reason}" for name, reason in found if reason), None)


def _plain(lists: Lists) -> Lists:
    return lists.view(np.ndarray)


def _both(
    X: object, Y: object, k: int, metric: Metric, memory: int | None, progress: Progress | None
) -> tuple[Neighbors, Neighbors]:
    """The lists of two arrays of the same samples."""
    one_of(metric, get_args(Metric), "metric")
    pair = routes.paired(X, Y, _KERNEL[metric][0], None, memory=memory, progress=progress)
    check_k(k, pair.n)
    x, y = (_nearest(z, name, k, metric, memory, progress) for z, name in zip(pair.matrices, "XY", strict=True))
    return x, y


def overlaps(
    X: object,
    Y: object,
    k: int,
    *,
    metric: Metric = "cosine",
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> list[Overlap]:
    """Every measure of two arrays, from one list for each."""
    a, b = _both(X, Y, k, metric, memory, progress)
    return [_overlap(a, b, ("X", "Y"), measure, 10, seed) for measure in get_args(NeighborMeasure)]


# ---- from lists to numbers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overlap:
    """A measure of two neighbour lists beside its value for unrelated data."""

    value: float
    chance: float  # expected where the rows of one array are shuffled
    n: int
    k: int
    measure: NeighborMeasure
    # of each array, the share of rows whose k-th neighbour ties with a row left out; None of lists made elsewhere
    ties: tuple[float | None, float | None] = (None, None)
    reason: str | None = None  # why the value is nan

    @property
    def corrected(self) -> float:
        """(value − chance)/(1 − chance): 0 for unrelated data, 1 for equal lists; nan where chance is 1 already."""
        return (self.value - self.chance) / (1 - self.chance) if self.chance < 1 else math.nan

    @property
    def note(self) -> str | None:
        """How far ties decided who is among the k, or None where they did not."""
        shares = [share for share in self.ties if share]
        if self.reason or not shares:
            return None
        return f"the last neighbour of {max(shares):.2g} of the rows is one of several equally near: the lower index"

    def __repr__(self) -> str:
        why = self.reason or self.note
        return (
            f"{self.measure} = {self.value:.4g}, chance {self.chance:.2g}, corrected {self.corrected:.4g} "
            f"(k = {self.k}, n = {self.n}{'; ' + why if why else ''})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "measure": self.measure,
            "value": self.value,
            "chance": self.chance,
            "corrected": self.corrected,
            "n": self.n,
            "k": self.k,
            "ties": list(self.ties),
            "reason": self.reason,
        }


def neighbor_overlap(
    A: object, B: object, *, measure: NeighborMeasure = "mutual_knn", shuffles: int = 10, seed: int = 0
) -> Overlap:
    """A measure of two lists of neighbours, with its value for unrelated data and the value corrected for it.

    Parameters
    ----------
    A : array of shape (n, k), integers
        What `neighbors` gave for X; row i lists the neighbours of sample i, nearest first, without i.
    B : array of shape (n, k), integers
        The same for Y.
    measure : {"mutual_knn", "cycle_knn", "lcs_knn", "edit_knn"}
    shuffles : int
        Over how many shuffles of Y's rows the chance level of "lcs_knn" and "edit_knn" is averaged; those of the
        other two are exact.
    seed : int
        Of the shuffles.

    Returns
    -------
    Overlap
        ``.value``, ``.chance``, ``.corrected`` = (value − chance)/(1 − chance); of lists that came from `neighbors`
        as they are ``.ties``, the shares of the rows of A and of B whose k-th neighbour ties with a row left out, a
        ``.note`` if these are not 0, and ``.reason`` if the value is nan because ties decided everything.

    Raises
    ------
    TypeError, ValueError
        A or B is not a list of neighbours: of integers, in range, no row in its own list, none twice; shapes differ.

    Notes
    -----
    O(nk log k) time for "mutual_knn", O(nk²) for the others, and no array as large as the data: lists of 48 layers
    are made once each and compared 48·47/2 times. Chance is the mean over all shuffles of the rows of Y: k/(n−1) for
    "mutual_knn"; for "cycle_knn" 1 − mean_i C(n−1−g_i, k)/C(n−1, k), with g_i the number of lists in A that hold i.
    Theory, 6.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> x, y = np.array([[0.0], [1], [3], [7], [15]]), np.array([[0.0], [3], [1], [7], [15]])
    >>> a, b = (gm.neighbors(z, 1, metric="euclidean") for z in (x, y))
    >>> gm.neighbor_overlap(a, b).chance
    0.25
    """
    one_of(measure, get_args(NeighborMeasure), "measure")
    check_count(shuffles, "shuffles")
    check_seed(seed)
    return _overlap(A, B, ("A", "B"), measure, shuffles, seed)


def _overlap(
    A: object, B: object, names: tuple[str, str], measure: NeighborMeasure, shuffles: int, seed: int
) -> Overlap:
    a, b = (_lists(lists, name) for lists, name in zip((A, B), names, strict=True))
    if a.shape != b.shape:
        raise ValueError(
            f"{names[0]} lists {_sizes(a)} but {names[1]} lists {_sizes(b)}; row i of both must be the same sample"
        )
    n, k = a.shape
    if measure == "mutual_knn":
        chance = k / (n - 1)
    elif measure == "cycle_knn":
        chance = _cycle_chance(a)
    else:
        rng = np.random.default_rng(seed)
        chance = float(np.mean([_MEAN[measure](a, _shuffled(b, rng)) for _ in range(shuffles)]))
    known = [(z.ties, z.reason) if isinstance(z, Neighbors) else (None, None) for z in (A, B)]
    reason = first_reason(*((name, why) for name, (_, why) in zip(names, known, strict=True)))
    value = math.nan if reason else _MEAN[measure](a, b)
    return Overlap(value, chance, n, k, measure, (known[0][0], known[1][0]), reason)


def _lists(lists: object, name: str) -> Lists:
    """Through the gate: neighbour lists, whoever made them."""
    found = np.asarray(lists)
    if found.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold the integers that gramian.neighbors gives, got dtype {found.dtype}")
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(f"{name} must be 2-d (samples by neighbours), got shape {found.shape}")
    n = len(found)
    rows = found.astype(np.int64, copy=False)
    if rows.min() < 0 or rows.max() >= n:
        row = int(np.argmax(((rows < 0) | (rows >= n)).any(axis=1)))
        raise ValueError(f"{name} lists a neighbour of row {row} that is not from 0 to {n - 1}")
    own = (rows == np.arange(n)[:, None]).any(axis=1)
    if own.any():
        raise ValueError(f"{name} lists row {int(np.argmax(own))} as its own neighbour; leave each row out of its list")
    ordered = np.sort(rows, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if twice.any():
        raise ValueError(f"{name} lists a neighbour of row {int(np.argmax(twice))} twice")
    return rows


def _sizes(lists: Lists) -> str:
    return f"{lists.shape[1]} neighbours of {lists.shape[0]} rows"


def spans(n: int, width: int) -> Iterator[slice]:
    step = max(1, _ELEMENTS // max(1, width))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def _mutual(a: Lists, b: Lists) -> float:
    n, k = a.shape
    common = 0
    for span in spans(n, 2 * k):
        both = np.sort(np.concatenate([a[span], b[span]], axis=1), axis=1)
        common += int(np.count_nonzero(both[:, 1:] == both[:, :-1]))
    return float(common / (n * k))


def _cycle(a: Lists, b: Lists) -> float:
    n, k = a.shape
    back = 0
    for span in spans(n, k * k):
        own = np.arange(span.start, span.stop)[:, None, None]
        back += int(np.count_nonzero((a[b[span]] == own).any(axis=(1, 2))))
    return float(back / n)


def _cycle_chance(a: Lists) -> float:
    """1 − mean over i of the odds that k random others of i are none of the lists that hold i."""
    n, k = a.shape
    holding = np.bincount(a.ravel(), minlength=n)
    most = int(holding.max())
    missed = np.zeros(most + 1)  # by how many lists hold i: Π_{t<k} (n−1−g−t)/(n−1−t)
    others = np.arange(most + 1)
    with np.errstate(divide="ignore"):
        for t in range(k):
            missed += np.log(np.maximum(n - 1 - others - t, 0) / (n - 1 - t))
    return float(1 - np.exp(missed)[holding].mean())


def _over_sequences(a: Lists, b: Lists, fill: Callable[[Lists, Lists], npt.NDArray[np.int32]]) -> int:
    """Σ over the rows of what dynamic programming finds, a block of rows at a time."""
    n, k = a.shape
    return sum(
        int(fill(np.ascontiguousarray(a[span].T), np.ascontiguousarray(b[span].T)).sum()) for span in spans(n, 64 * k)
    )


def _lcs_lengths(a: Lists, b: Lists) -> npt.NDArray[np.int32]:
    """(rows,) from lists (k, rows): table[j] is the length for the first items of a and j of b."""
    k, rows = a.shape
    table = np.zeros((k + 1, rows), dtype=np.int32)
    for item in a:
        above = table.copy()
        equal = b == item
        for j in range(k):
            np.maximum(above[j + 1], table[j], out=table[j + 1])
            np.copyto(table[j + 1], above[j] + 1, where=equal[j])
    return cast("npt.NDArray[np.int32]", table[k])


def _edit_distances(a: Lists, b: Lists) -> npt.NDArray[np.int32]:
    k, rows = a.shape
    table = np.repeat(np.arange(k + 1, dtype=np.int32)[:, None], rows, axis=1)
    for i, item in enumerate(a):
        above = table.copy()
        differs = b != item
        table[0] = i + 1
        for j in range(k):
            np.minimum(above[j + 1], table[j], out=table[j + 1])
            table[j + 1] += 1
            np.minimum(table[j + 1], above[j] + differs[j], out=table[j + 1])
    return cast("npt.NDArray[np.int32]", table[k])


def _lcs(a: Lists, b: Lists) -> float:
    return _over_sequences(a, b, _lcs_lengths) / a.size


def _edit(a: Lists, b: Lists) -> float:
    return (a.size - _over_sequences(a, b, _edit_distances)) / a.size


_MEAN: dict[NeighborMeasure, Callable[[Lists, Lists], float]] = {
    "mutual_knn": _mutual,
    "cycle_knn": _cycle,
    "lcs_knn": _lcs,
    "edit_knn": _edit,
}


def _shuffled(lists: Lists, rng: np.random.Generator) -> Lists:
    """The lists of the same array with its rows in another order."""
    order = rng.permutation(len(lists))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[lists[order]]


# ---- CKNNA -----------------------------------------------------------------------------------------------------------
