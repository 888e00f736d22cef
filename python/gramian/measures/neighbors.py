"""Nearest neighbours, and how alike two representations are by who is near whom.

`neighbors` makes the lists, in one sweep that stores nothing but them; `neighbor_overlap` compares two lists by any
of the measures and says what chance would give. Many layers are compared best through lists that are made once each.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import ArcCosine, Cosine, Kernel, Linear
from gramian.measures.overlaps import NeighborMeasure, Neighbors, Overlap, first_reason, in_common, overlap
from gramian.progress import Progress, expect, one_bar, phase
from gramian.reasons import told
from gramian.rows.arrays import Matrix, about_least, as_matrix, check_budget, check_count, one_of, require_rows
from gramian.rows.sources import matrix
from gramian.sums import of_arrays
from gramian.sweeps import rounding, routes
from gramian.sweeps.centred import blocks, centre
from gramian.sweeps.products import Nearest, sweep_nearest
from gramian.sweeps.represent import Representation
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Metric: TypeAlias = Literal["cosine", "inner_product", "euclidean", "manhattan"]

# a metric is a kernel, whose largest values are the nearest; the last two are native functions only
_KERNEL: dict[Metric, tuple[Kernel, str | None]] = {
    "cosine": (Cosine(), None),
    "inner_product": (Linear(), None),
    "euclidean": (Linear(), "squared_distance"),
    "manhattan": (Linear(), "manhattan_distance"),
}
_COMPARED = 0.2  # of the time that the lists of an array take, that a measure of two takes
_ALIKE = 256  # rows among which all pairs are looked at where every list holds equal numbers


@public
@one_bar
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
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

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
    return nearest_of(X, "X", k, metric, memory, progress)


@of_arrays
@public
@one_bar
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
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file. Arrays on a CUDA device
        (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample.
    k : int
        From 1 to n − 1.
    metric : {"cosine", "inner_product", "euclidean", "manhattan"}
        What is near: a large cosine (0 with a row of zeros) or inner product, or a small distance. Ties go to the lower
        index.
    memory : int, optional
        Bytes that scratch may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

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
    O(n²(p+q)) time, O(nk) memory. It does not change under whatever keeps the order of distances: rotations and scaling
    of either array, and shifts if the metric is a distance. Source: Huh et al. 2024; Theory, 6.2.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> round(gm.mutual_knn(X, Y), 2), round(gm.mutual_knn(X, Z), 2)  # chance: 10/399
    (0.38, 0.02)
    """
    return _measure(X, Y, k, metric, "mutual_knn", memory, progress)


@of_arrays
@public
@one_bar
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


@of_arrays
@public
@one_bar
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


@of_arrays
@public
@one_bar
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


def nearest_of(
    x: object, name: str, k: int, metric: Metric, memory: int | None = None, progress: Progress | None = None
) -> Neighbors:
    one_of(metric, get_args(Metric), "metric")
    check_budget(memory, progress)
    rows = matrix(x, name)
    labels = rows.labels
    k = check_k(k, rows.n)
    kernel, native = _KERNEL[metric]
    if metric in ("euclidean", "manhattan"):
        (rows,) = about_least([rows])
    represented = Representation((rows,), kernel, native_name=native)
    found, ties, reason = listed(represented, k, memory, progress)
    lists = found.index.view(Neighbors)
    lists.ties, lists.reason, lists.labels = ties, reason, labels
    return lists


def listed(
    x: Representation, k: int, memory: int | None, progress: Progress | None
) -> tuple[Nearest, float, str | None]:
    """The k nearest of every row, the share of rows with others as near as the last, and why they say nothing."""
    more = sweep_nearest(x, min(k + 1, x.n - 1), memory=memory, progress=progress)
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
    return sweep_nearest(few, len(some) - 1).similarity


def _parallel(rows: Matrix) -> bool:
    """Whether rounding alone may have turned the rows away from the direction of the first."""
    turned, features = rounding.turned(rows, rows.dtype), centre(rows, Cosine())
    first = features.raw(0, 1)
    return all(
        bool((rounding.lengths(features.raw(a, b) - first) <= turned[a:b] + turned[0]).all())
        for a, b in blocks(rows.n, [rows.d])
    )


def check_k(k: object, n: int) -> int:
    """The number of neighbours, if so many other rows are there."""
    found = check_count(k, "k")
    require_rows(n, 2, "a nearest neighbour")
    if found > n - 1:
        raise ValueError(f"k must be at most {n - 1}, the number of other rows, got {found}")
    return found


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
    return told(math.nan, reason, measure) if reason else in_common(a, b, measure)


def _both(
    X: object, Y: object, k: int, metric: Metric, memory: int | None, progress: Progress | None
) -> tuple[Neighbors, Neighbors]:
    """The lists of two arrays of the same samples."""
    one_of(metric, get_args(Metric), "metric")
    pair = routes.paired(X, Y, _KERNEL[metric][0], None, memory=memory, progress=progress)
    k = check_k(k, pair.n)
    expect(progress, 2)
    x, y = (
        nearest_of(z, name, k, metric, memory, phase(progress, f"neighbours of {name}"))
        for z, name in zip(pair.matrices, "XY", strict=True)
    )
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
    measures: tuple[NeighborMeasure, ...] = get_args(NeighborMeasure)
    expect(progress, _COMPARED * len(measures))
    a, b = _both(X, Y, k, metric, memory, progress)
    return [overlap(a, b, ("X", "Y"), measure, 10, seed, phase(progress, measure, _COMPARED)) for measure in measures]


# ---- from lists to numbers -------------------------------------------------------------------------------------------


# ---- CKNNA -----------------------------------------------------------------------------------------------------------
