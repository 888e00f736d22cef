"""One stitching of two models, judged: measured risks beside every bound that speaks of them.

The map is fitted on one part of the rows and everything else is measured on the others. Every inequality of
`gramian.bounds` holds for any sample that the map was not made for, so on those rows it holds without exception.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, KernelName
from gramian.progress import Progress, expect, one_bar, phase
from gramian.results.provenance import provenance
from gramian.rows import heads
from gramian.rows.arrays import Matrix, check_budget, check_number, check_seed, group_numbers, same_device, same_rows
from gramian.rows.sources import matrix
from gramian.stitching import linear as stitching
from gramian.stitching.certificates import bounds_of, constants_of
from gramian.stitching.held_out import Rows, least_squares, less_least, measured_on, parted, square_of
from gramian.stitching.reported import StitchReport, is_affine
from gramian.stitching.stitch import Stitch
from gramian.sums import of_arrays
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]


@of_arrays
@public
@one_bar
def stitch_report(
    F1: object,
    F2: object,
    Y: object | None = None,
    g1: object | None = None,
    g2: object | None = None,
    *,
    kind: stitching.Kind = "linear",
    ridge: float | Literal["gcv"] | Sequence[float] = 0.0,
    rank: int | None = None,
    kernel: Kernel | KernelName | None = None,
    stitch: Stitch | None = None,
    split: float = 0.5,
    groups: object | None = None,
    kappa2: float | None = None,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> StitchReport:
    """Stitch the first model into the second, and lay the risk of it beside every bound that speaks of it.

    A map s with s(f1) ≈ f2 is fitted on part of the rows. On the others are measured: the risks R_1(h1), R_2(h2) and
    R_stitch = E‖g2(s(f1)) − y‖²; the misalignment Ã_2 = E‖f2 − s(f1)‖²; the Lipschitz constants of g2, certified
    (`lipschitz.upper`), at samples (`local`) and of these very pairs (`effective`); and each of `gramian.bounds`.

    Parameters
    ----------
    F1 : array of shape (n, d1)
        Features of the first model where it is cut.
    F2 : array of shape (n, d2)
        Features of the second model, whose head g2 takes over; row i of all is the same sample.
    Y : array of shape (n, k) or (n,), optional
        Targets of the squared loss: one-hot labels for a classifier. Without targets and heads the report has the fit,
        the misalignment and what kernel alignment says of it.
    g1, g2 : matrix of shape (k, d), torch module or callable, optional
        The heads, what each model does to its features; a matrix W is z ↦ Wz, a callable takes and gives NumPy blocks
        of rows.
    kind, ridge, rank, kernel
        Of the map, as in `fit_stitch`.
    stitch : Stitch, optional
        A map fitted elsewhere, on rows that are not among these; then all rows are held out.
    split : float
        Part of the rows that the map is fitted on, between 0 and 1.
    groups : n labels, optional
        Numbers or strings. Rows of one group (a subject, a video, a document) stay on one side of the split.
    kappa2 : float, optional
        A Lipschitz constant of g2 that you know, in place of what `lipschitz.upper` finds: of a function, say
        (`lipschitz.rkhs`).
    seed : int
        Of the split, and of the search for the local constant.
    memory, progress
        As in `fit_stitch`.

    Returns
    -------
    StitchReport
        The measured values; ``.bounds`` (each with value, what it bounds, tightness = measured/bound, what it
        certifies, what it needs, whether that was checked); ``.stitch``; ``print`` shows a table; ``.to_dict()`` for
        JSON; ``.plot()``. What is undefined is nan with a reason.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; fewer than 2 rows on a side of the split.

    Notes
    -----
    On the held-out rows the inequalities hold without exception (Minkowski in the L² of those rows), up to the rounding
    of a head in float32. What is "of these rows" says nothing of new ones; what is certified for any sample holds for
    that sample's own R_2 and Ã_2. The local constant, from up to 64 held-out rows, is in no bound. Cost: the fit, a
    QR factorisation of the held-out [F1 F2 Y], O(n(d1 + d2 + k)²), and two passes of them through g2. Ctrl-C
    waits for the factorisation in LAPACK that is running, which cannot be interrupted: O((d1 + d2 + k)³). Source:
    Insulla, Huang, Rosasco 2025; Theory, 5.3 to 5.8.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> F1 = rng.standard_normal((1000, 8))
    >>> F2 = F1 @ rng.standard_normal((8, 4)) + 0.1 * rng.standard_normal((1000, 4))
    >>> W = rng.standard_normal((2, 4))
    >>> report = gm.stitch_report(F1, F2, F2 @ W.T + 0.5 * rng.standard_normal((1000, 2)), None, W)
    >>> found = report["stitching", "effective"]
    >>> found.holds, found.tightness < 1
    (True, True)
    """
    check_budget(memory, progress)
    seed = check_seed(seed)
    x1, x2 = matrix(F1, "F1"), matrix(F2, "F2")
    y = None if Y is None else matrix(Y, "Y", column=True)
    given = [x1, x2] if y is None else [x1, x2, y]
    names = ["F1", "F2", "Y"][: len(given)]
    same_rows(given, names)
    same_device(given[:2], ["F1", "F2"])
    for head, name in ((g1, "g1"), (g2, "g2")):
        if head is not None:
            _check_head(head, name, y)
    if kappa2 is not None:
        check_number(kappa2, "kappa2")
        if not 0 <= kappa2 < math.inf:
            raise ValueError(f"kappa2 must be at least 0 and finite, got {kappa2}")
    expect(progress, 3)
    near, taken = (x1, x2), (np.zeros(x1.d), np.zeros(x2.d))
    if stitch is None:
        fitted, held_out = parted(x1.n, split, seed, group_numbers(groups, given, names))
        if kind == "affine":
            (m1, t1), (m2, t2) = less_least(x1), less_least(x2)
            near, taken = (m1, m2), (t1, t2)
        told = phase(progress, "fit")
        fit = fit_on(*near, fitted, kind=kind, ridge=ridge, rank=rank, kernel=kernel, memory=memory, progress=told)
        stitch = fit
        if fit.matrix is not None and (taken[0].any() or taken[1].any()):
            stitch = replace(fit, offset=fit.offset + taken[1] - fit.matrix @ taken[0])
    else:
        _check_stitch(stitch, x1, x2)
        fitted, held_out, fit = np.arange(0), np.arange(x1.n), stitch
    parts = [Rows.of(x, held_out) for x in (*near, *given[2:])]
    seen = measured_on(parts, fit, taken, g1, g2)
    least = least_squares(parts, centred=is_affine(stitch), progress=phase(progress, "least squares"))
    phase(progress, "bounds")
    reasons: dict[str, str] = {}
    upper, local, effective = constants_of(g2, kappa2, Rows.of(x2, held_out), seen, int(seed), reasons)
    if least.second == 0:
        reasons["misalignment_ratio"] = f"F2 is {'constant' if least.centred else 0} on the held-out rows"
    if math.isnan(least.alignment):
        reasons["alignment"] = f"a representation is {'constant' if least.centred else 0} on the held-out rows"
    for name, head, which in (("risk1", g1, "g1"), ("risk2", g2, "g2"), ("risk_stitch", g2, "g2")):
        if head is None:
            reasons[name] = "no targets were given" if y is None else f"no head {which} was given"
    report = StitchReport(
        stitch=stitch,
        fitted=fitted,
        held_out=held_out,
        seed=int(seed),
        outputs=None if y is None else y.d,
        target_power=seen.mean(seen.targets),
        risk1=seen.mean(seen.missed1),
        risk2=seen.mean(seen.missed2),
        risk_stitch=seen.mean(seen.missed_stitch),
        misalignment=seen.mean(seen.error),
        misalignment_ratio=square_of(seen.error / least.second) if least.second else math.nan,
        least_misalignment=least.misalignment,
        alignment=least.alignment,
        kappa_upper=upper,
        kappa_local=local,
        kappa_effective=effective,
        bounds=(),
        reasons=reasons,
        provenance=provenance(dict(zip(("F1", "F2", "Y"), given, strict=False)), seed=seed),
    )
    return replace(report, bounds=tuple(bounds_of(report, least, seen, parts, g2, kappa2 is not None)))


def fit_on(x1: Matrix, x2: Matrix, fitted: Indices, *, kind: stitching.Kind, **options: Any) -> Stitch:
    """`fit_stitch` on some rows; only a kernel's tiles need them in memory."""
    parts: list[Matrix] = [Rows.of(x, fitted) for x in (x1, x2)]
    if kind == "kernel_ridge":
        parts = [Rows.of(x, fitted).copied(name) for x, name in ((x1, "F1"), (x2, "F2"))]
    return stitching.fit_stitch(*parts, kind=kind, **options)


def _check_head(head: object, name: str, y: Matrix | None) -> None:
    if y is None:
        raise ValueError(f"Y is missing: the head {name} has no risk without targets")
    heads.as_map(head, name)


def _check_stitch(stitch: object, x1: Matrix, x2: Matrix) -> None:
    if not isinstance(stitch, Stitch):
        raise TypeError(f"stitch must be a Stitch, as fit_stitch and train_stitch give, got {type(stitch).__name__}")
    for side, width, x, name in (("from", stitch.d1, x1, "F1"), ("to", stitch.d2, x2, "F2")):
        if width != x.d:
            raise ValueError(f"stitch maps {side} {width} features but {name} has {x.d}")
    if x1.n < 2:
        raise ValueError(f"stitch_report needs at least 2 rows but got {x1.n}")


# ---- the table -------------------------------------------------------------------------------------------------------


# ---- which rows ------------------------------------------------------------------------------------------------------


# ---- one pass over the held-out rows ---------------------------------------------------------------------------------


# ---- the best linear maps on the held-out rows -----------------------------------------------------------------------


# ---- the constants and bounds ----------------------------------------------------------------------------------------
