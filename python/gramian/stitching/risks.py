"""Risks: the mean squared error of a model, and of one that is stitched from two, over rows that are streamed."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, one_bar, phase, tell
from gramian.rows.arrays import Matrix, check_budget, same_rows
from gramian.rows.heads import Map, Samples, after, as_map, flat_outputs, samples
from gramian.rows.sources import matrix
from gramian.sweeps.estimators import scaled
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]


@public
@one_bar
def risk(g: object, F: object, Y: object, *, progress: Progress | None = None) -> float:
    """The mean squared error of a head on features: R = E‖g(f) − y‖².

    Parameters
    ----------
    g : array of shape (k, d), torch.nn.Module, or callable
        A matrix W is the head z ↦ Wz. A module is given rows in the dtype and on the device of its weights. Any other
        callable, a `gramian.Stitch` among them, is given float64 NumPy rows (b, ...) and returns an array with as many
        rows. Rows must not know of each other: what comes back may not depend on which rows come together.
    F : array of shape (n, ...)
        The head's inputs, one sample a row, images too; or the path of a file.
    Y : array of shape (n, k) or (n,)
        Targets; or the path of a file. An output of several dimensions is flattened.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    float
        In units of Y², summed over outputs, not averaged. With g a stitch and Y the features of the other model it is
        the misalignment of the stitch on these rows.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed: rows or widths that differ, NaN in what comes in or out, a
        module in training mode that acts otherwise there.

    Notes
    -----
    One pass in blocks of about 32 MB, O(d·k) memory beyond them; differences and sums in float64. Blocks of arrays on a
    CUDA device are copied to the host, and from there to the module's device. Source: Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> F = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> gm.risk(np.array([[1.0, 1.0]]), F, np.array([3.0, 5.0]))  # (0² + 2²)/2
    2.0
    """
    check_budget(None, progress)
    f, y = samples(F, "F"), matrix(Y, "Y", column=True)
    same_rows([f.rows, y], ["F", "Y"])
    return _mean_square(as_map(g, "g"), f, y, "F", "g", "Y", progress)


@public
@one_bar
def stitching_risk(stitch: object, g2: object, F1: object, Y2: object, *, progress: Progress | None = None) -> float:
    """The mean squared error of a stitched model: R = E‖g2(s(f1)) − y2‖².

    Parameters
    ----------
    stitch : Stitch, array of shape (d2, d1), torch.nn.Module, or callable
        The map s from features of the first model to those of the second; as g in `gramian.risk`.
    g2 : array of shape (k, d2), torch.nn.Module, or callable
        The second model from there on; as g in `gramian.risk`.
    F1 : array of shape (n, ...)
        Features of the first model; or the path of a file.
    Y2 : array of shape (n, k) or (n,)
        Targets of the second model for the same samples; or the path of a file.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    float
        In units of Y2².

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        As `gramian.risk`.

    Notes
    -----
    As `gramian.risk`; what the stitch gives is not kept. `gramian.bounds.stitching` bounds it for rows that the stitch
    was not fitted on as for those that it was. Source: Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> F1 = np.array([[1.0], [2.0]])
    >>> gm.stitching_risk(np.array([[1.0], [2.0]]), lambda z: z.sum(axis=1), F1, np.array([3.0, 4.0]))  # (0² + 2²)/2
    2.0
    """
    check_budget(None, progress)
    f1, y2 = samples(F1, "F1"), matrix(Y2, "Y2", column=True)
    same_rows([f1.rows, y2], ["F1", "Y2"])
    model = after(as_map(g2, "g2"), as_map(stitch, "stitch"), "stitch")
    return _mean_square(model, f1, y2, "F1", "g2", "Y2", progress)


@public
@one_bar
def excess_stitching_risk(
    stitch: object, g2: object, F1: object, F2: object, Y2: object, *, progress: Progress | None = None
) -> float:
    """What stitching costs: the risk of the stitched model less that of the second model itself.

    E‖g2(s(f1)) − y2‖² − E‖g2(f2) − y2‖²; Bansal, Nakkiran, Barak's stitching penalty for the squared loss.

    Parameters
    ----------
    stitch : Stitch, array of shape (d2, d1), torch.nn.Module, or callable
    g2 : array of shape (k, d2), torch.nn.Module, or callable
    F1, F2 : arrays of shape (n, ...)
        Features of both models for the same samples; or paths of files.
    Y2 : array of shape (n, k) or (n,)
        All of them as in `gramian.stitching_risk`.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    float
        In units of Y2². Negative where the first model knows more of the task than the second.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        As `gramian.risk`.

    Notes
    -----
    One pass. The difference is taken row by row, as (a − b)·(a + b − 2y) of the two outputs a and b, so that a small
    excess keeps its digits beside large risks. Source: Bansal et al. 2021; Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> F1, F2, y = np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]), np.array([1.0, 2.0])
    >>> gm.excess_stitching_risk(np.eye(1), np.eye(1), F1, F2, y)  # 0 − 1/2
    -0.5
    """
    check_budget(None, progress)
    f1, f2, y2 = samples(F1, "F1"), samples(F2, "F2"), matrix(Y2, "Y2", column=True)
    same_rows([f1.rows, f2.rows, y2], ["F1", "F2", "Y2"])
    head = as_map(g2, "g2")
    stitched = after(head, as_map(stitch, "stitch"), "stitch")
    total, told = _Sum(), phase(progress, "rows")
    wider = f1 if f1.rows.d >= f2.rows.d else f2
    for start, stop in wider.spans():
        y = y2.block(start, stop)
        a = flat_outputs(stitched(f1.block(start, stop), "F1"), y, "g2", "Y2")
        b = flat_outputs(head(f2.block(start, stop), "F2"), y, "g2", "Y2")
        total.add(a - b, (a - y) + (b - y))
        tell(told, stop, y2.n)
    return total.mean(y2.n)


def _mean_square(
    model: Map, f: Samples, targets: Matrix, what: str, name: str, target: str, progress: Progress | None
) -> float:
    total, told = _Sum(), phase(progress, "rows")
    for start, stop in f.spans():
        y = targets.block(start, stop)
        e = flat_outputs(model(f.block(start, stop), what), y, name, target) - y
        total.add(e, e)
        tell(told, stop, f.n)
    return total.mean(f.n)


class _Sum:
    """Σ⟨a, b⟩ in float64, in powers of two where that has no room for the squares."""

    def __init__(self) -> None:
        self._terms: list[float] = []
        self._exponents: list[int] = []

    def add(self, a: Array, b: Array) -> None:
        sizes = [math.frexp(float(np.abs(x).max(initial=0.0)))[1] for x in (a, b)]
        self._terms.append(float(np.vdot(np.ldexp(a, -sizes[0]), np.ldexp(b, -sizes[1]))))
        self._exponents.append(sum(sizes))

    def mean(self, n: int) -> float:
        unit = max(self._exponents)
        terms = [math.ldexp(t, e - unit) for t, e in zip(self._terms, self._exponents, strict=True)]
        return scaled(math.fsum(terms) / n, unit)
