"""From lists of neighbours to numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, one_bar, phase, tell
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import check_budget, check_count, check_seed, one_of
from gramian.rows.labels import RowLabels, same_labels
from gramian.rows.objects import labels_of
from gramian.words import public


class Neighbors(np.ndarray[Any, np.dtype[np.int64]]):
    """(n, k) lists of neighbours, nearest first, and what ties have decided in them; a part of them does not know."""

    ties: float | None  # share of the rows that have others as near as their last neighbour, left out for their index
    reason: str | None  # why the lists say nothing of who is near whom
    labels: RowLabels | None  # of the samples

    def __array_finalize__(self, made_from: object) -> None:
        self.ties, self.reason, self.labels = None, None, None

    def __reduce__(self) -> Any:
        made: Any = super().__reduce__()
        return made[0], made[1], (made[2], self.ties, self.reason, self.labels)

    def __setstate__(self, state: Any) -> None:
        values, self.ties, self.reason, self.labels = state
        super().__setstate__(values)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Neighbors:
        found = self.copy()
        found.ties, found.reason, found.labels = self.ties, self.reason, self.labels
        return found


def first_reason(*found: tuple[str, str | None]) -> str | None:
    return next((f"in {name}, {reason}" for name, reason in found if reason), None)


Lists: TypeAlias = npt.NDArray[np.int64]  # (n, k)
NeighborMeasure: TypeAlias = Literal["mutual_knn", "cycle_knn", "lcs_knn", "edit_knn"]

_ELEMENTS = 1 << 21  # of scratch at a time


@dataclass(frozen=True, eq=False)
class Overlap(Result):
    """A measure of two neighbour lists beside its value for unrelated data."""

    _derived = ("corrected",)

    value: float
    chance: float  # expected where the rows of one array are shuffled
    n: int
    k: int
    measure: NeighborMeasure
    # of each array, the share of rows whose k-th neighbour ties with a row left out; None of lists made elsewhere
    ties: tuple[float | None, float | None] = (None, None)
    reason: str | None = None  # why the value is nan

    def __float__(self) -> float:
        return self.value

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


@public
@one_bar
def neighbor_overlap(
    A: object,
    B: object,
    *,
    measure: NeighborMeasure = "mutual_knn",
    shuffles: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
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
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

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
    shuffles = check_count(shuffles, "shuffles")
    seed = check_seed(seed)
    check_budget(None, progress)
    return overlap(A, B, ("A", "B"), measure, shuffles, seed, progress)


def in_common(a: Lists, b: Lists, measure: NeighborMeasure) -> float:
    """A measure of lists that are known to be such."""
    return MEAN[measure](a.view(np.ndarray), b.view(np.ndarray))


def overlap(
    A: object,
    B: object,
    names: tuple[str, str],
    measure: NeighborMeasure,
    shuffles: int,
    seed: int,
    progress: Progress | None = None,
) -> Overlap:
    a, b = (_lists(lists, name) for lists, name in zip((A, B), names, strict=True))
    if a.shape != b.shape:
        raise ValueError(
            f"{names[0]} lists {_sizes(a)} but {names[1]} lists {_sizes(b)}; row i of both must be the same sample"
        )
    same_labels([z.labels if isinstance(z, Neighbors) else labels_of(z) for z in (A, B)], names)
    n, k = a.shape
    told = phase(progress, "lists")
    if measure == "mutual_knn":
        chance = k / (n - 1)
    elif measure == "cycle_knn":
        chance = _cycle_chance(a)
    else:
        rng = np.random.default_rng(seed)
        found = []
        for shuffle in range(shuffles):
            found.append(MEAN[measure](a, _shuffled(b, rng)))
            tell(told, shuffle + 1, shuffles + 1)
        chance = float(np.mean(found))
    known = [(z.ties, z.reason) if isinstance(z, Neighbors) else (None, None) for z in (A, B)]
    reason = first_reason(*((name, why) for name, (_, why) in zip(names, known, strict=True)))
    value = math.nan if reason else MEAN[measure](a, b)
    ties, origin = (known[0][0], known[1][0]), provenance(dict(zip(names, (a, b), strict=True)), seed=seed)
    return Overlap(value, chance, n, k, measure, ties, reason, provenance=origin)


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


MEAN: dict[NeighborMeasure, Callable[[Lists, Lists], float]] = {
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
