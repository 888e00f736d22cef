"""One stitching of two models, judged: measured risks beside every bound that speaks of them.

The map is fitted on one part of the rows and everything else is measured on the others. Every inequality of
`gramian.bounds` holds for any sample that the map was not made for, so on those rows it holds without exception.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import Kernel, Linear
from gramian.rows import heads
from gramian.rows.arrays import (
    BFloat16Array,
    DType,
    Matrix,
    as_matrix,
    check_budget,
    check_number,
    check_seed,
    group_numbers,
    same_device,
    same_rows,
)
from gramian.rows.sources import matrix
from gramian.show import plots
from gramian.stitching import linear as stitching
from gramian.stitching.stitch import Stitch
from gramian.sweeps import factor
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import EPS, Basis
from gramian.sweeps.moments import CentredFeatures, Progress, blocks, centre, in_range
from gramian.theory import bounds, lipschitz

Array: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Side: TypeAlias = Literal["<=", ">=", "="]

_SIDES: tuple[Side, Side] = (">=", "<=")
_ANY_SAMPLE, _THESE_ROWS = "any sample", "these rows"
_LIPSCHITZ, _REFINED = "g2 is κ-Lipschitz", "g2 = h∘W, h is κ-Lipschitz"
_NO_LAYERS = "{} is a function; constants are read off matrices and torch modules"
_LOCAL_ROWS, _LOCAL_STEPS = 64, 20  # held-out rows and iterations of the search for a local constant


@dataclass(frozen=True)
class ReportedBound:
    """One bound beside what it bounds."""

    name: str  # as in gramian.bounds
    kappa: str | None  # which Lipschitz constant it took: "upper" or "effective"
    of: str  # what it bounds
    side: Side  # of <side> value
    value: float
    measured: float
    certifies: str  # for which data it holds
    needs: str  # the assumption
    checked: bool  # whether the report could check the assumption
    reason: str | None  # why the value is nan, or infinite
    rounding: float  # what the arithmetic of the head, and the sums, may put between the two

    @property
    def tightness(self) -> float:
        """measured/value of an upper bound or an equality, value/measured of a lower one: 1 is met, above 1 broken."""
        a, b = (self.value, self.measured) if self.side == ">=" else (self.measured, self.value)
        if b == 0:
            return 1.0 if a == 0 else math.copysign(math.inf, a)
        return a / b

    @property
    def holds(self) -> bool | None:
        """Whether the measured value obeys it, up to rounding; None where one of the two is undefined."""
        if math.isnan(self.value) or math.isnan(self.measured):
            return None
        above = self.measured > self.value + self.rounding and self.side != ">="
        below = self.measured < self.value - self.rounding and self.side != "<="
        return not (above or below)


@dataclass(frozen=True, eq=False)
class StitchReport:
    """A stitched model: what was measured on held-out rows, and what each bound said of it."""

    stitch: Stitch
    fitted: Indices  # rows that the map was fitted on
    held_out: Indices  # rows that all else was measured on
    seed: int
    outputs: int | None  # columns of the targets
    target_power: float  # E‖y‖², the risk of the model that always says 0
    risk1: float  # R_1(h1)
    risk2: float  # R_2(h2)
    risk_stitch: float  # R_2(g2∘s∘f1)
    misalignment: float  # Ã_2(s) = E‖f2 − s(f1)‖²
    misalignment_ratio: float  # Ã_2(s)/tr Σ22
    least_misalignment: float  # min over linear (affine) maps, on the held-out rows themselves
    alignment: float  # linear kernel alignment of the held-out rows; CKA (biased) for affine maps
    kappa_upper: float  # certified for every input
    kappa_local: float  # largest at held-out rows: a lower estimate, no certificate
    kappa_effective: float  # what the pairs (s(f1), f2) of the held-out rows need
    bounds: tuple[ReportedBound, ...]
    reasons: dict[str, str]  # why a measured value is nan or infinite

    @property
    def n(self) -> int:
        """Rows that everything was measured on."""
        return len(self.held_out)

    @property
    def excess(self) -> float:
        """R_stitch − R_2(h2); negative where the stitched model is the better one."""
        return self.risk_stitch - self.risk2

    def __getitem__(self, key: str | tuple[str, str]) -> ReportedBound:
        """The bound of (name, kappa), or of the name where that is enough."""
        name, kappa = key if isinstance(key, tuple) else (key, None)
        found = [b for b in self.bounds if b.name == name and (kappa is None or b.kappa == kappa)]
        if len(found) != 1:
            known = ", ".join(f"({b.name!r}, {b.kappa!r})" if b.kappa else repr(b.name) for b in self.bounds)
            raise KeyError(f"{key!r} is {len(found)} of the bounds; there are {known}")
        return found[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; of the map its numbers, not its matrix."""
        return {
            "stitch": self.stitch.to_dict(),
            "fitted_rows": len(self.fitted),
            "held_out_rows": self.n,
            "seed": self.seed,
            **{name: getattr(self, name) for name in _MEASURED},
            "bounds": [
                {**{name: getattr(b, name) for name in _COLUMNS}, "tightness": b.tightness, "holds": b.holds}
                for b in self.bounds
            ],
            "reasons": dict(self.reasons),
        }

    def plot(self, ax: Any = None) -> Any:
        """Draw every bound beside what it bounds with matplotlib; returns the axes."""
        return plots.bounds_chart(self.bounds, ax=ax)

    def __str__(self) -> str:
        return table(self)

    def __repr__(self) -> str:
        return (
            f"StitchReport({self.stitch.kind}, {self.stitch.d1} → {self.stitch.d2}, misalignment_ratio = "
            f"{self.misalignment_ratio:.4g}, risk_stitch = {self.risk_stitch:.4g}, held out: {self.n} rows)"
        )


_MEASURED = (
    "target_power", "risk1", "risk2", "risk_stitch", "excess", "misalignment", "misalignment_ratio",
    "least_misalignment", "alignment", "kappa_upper", "kappa_local", "kappa_effective",
)  # fmt: skip
_COLUMNS = ("name", "kappa", "of", "side", "value", "measured", "certifies", "needs", "checked", "reason")


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
    kernel: Kernel | str | None = None,
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
    waits for the factorisation in LAPACK that is running, cubic in the number of features. Source: Insulla,
    Huang, Rosasco 2025; Theory, 5.3 to 5.8.

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
    check_seed(seed)
    x1, x2 = matrix(F1, "F1"), matrix(F2, "F2")
    y = None if Y is None else matrix(Y, "Y", column=True)
    given = [x1, x2] if y is None else [x1, x2, y]
    same_rows(given, ["F1", "F2", "Y"][: len(given)])
    same_device(given[:2], ["F1", "F2"])
    for head, name in ((g1, "g1"), (g2, "g2")):
        if head is not None:
            _check_head(head, name, y)
    if kappa2 is not None:
        check_number(kappa2, "kappa2")
        if not 0 <= kappa2 < math.inf:
            raise ValueError(f"kappa2 must be at least 0 and finite, got {kappa2}")
    if stitch is None:
        fitted, held_out = parted(x1.n, split, seed, groups)
        stitch = fit_on(
            x1, x2, fitted, kind=kind, ridge=ridge, rank=rank, kernel=kernel, memory=memory, progress=progress
        )
    else:
        _check_stitch(stitch, x1, x2)
        fitted, held_out = np.arange(0), np.arange(x1.n)
    parts = [Rows.of(x, held_out) for x in given]
    seen = _measured(parts, stitch, g1, g2)
    least = _least(parts, centred=_is_affine(stitch), progress=progress)
    reasons: dict[str, str] = {}
    upper, local, effective = _constants(g2, kappa2, parts[1], seen, int(seed), reasons)
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
        misalignment_ratio=_square(seen.error / least.second) if least.second else math.nan,
        least_misalignment=least.misalignment,
        alignment=least.alignment,
        kappa_upper=upper,
        kappa_local=local,
        kappa_effective=effective,
        bounds=(),
        reasons=reasons,
    )
    return replace(report, bounds=tuple(_bounds(report, least, seen, parts, g2, kappa2 is not None)))


def fit_on(x1: Matrix, x2: Matrix, fitted: Indices, *, kind: stitching.Kind, **options: Any) -> Stitch:
    """`fit_stitch` on some rows; only a kernel's tiles need them in memory."""
    parts: list[Matrix] = [Rows.of(x, fitted) for x in (x1, x2)]
    if kind == "kernel_ridge":
        parts = [Rows.of(x, fitted).copied(name) for x, name in ((x1, "F1"), (x2, "F2"))]
    return stitching.fit_stitch(*parts, kind=kind, **options)


def _is_affine(stitch: Stitch) -> bool:
    return stitch.kind == "affine" or bool(stitch.offset.any())


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


def table(r: StitchReport) -> str:
    """The report as aligned text."""
    s, power = r.stitch, r.target_power
    ridge = f", ridge {s.ridge:.4g}" if s.ridge else ""
    where = f"fitted on {len(r.fitted)} rows" if len(r.fitted) else f"fitted elsewhere on {s.n} rows"
    text = [
        f"{s.kind} stitch, {s.d1} → {s.d2} features{ridge}, {where}; all else of {r.n} held-out rows",
        "",
    ]
    best = "affine" if _is_affine(s) else "linear"
    alignment = "linear CKA (biased)" if _is_affine(s) else "linear kernel alignment"
    measured = [
        ("misalignment", r.misalignment, f"Ã_2 = E‖f2 − s(f1)‖²; on the rows of the fit {_number(s.misalignment)}"),
        ("misalignment_ratio", r.misalignment_ratio, "Ã_2/tr Σ22: 0 is perfect, 1 is as good as 0"),
        ("least_misalignment", r.least_misalignment, f"of the {best} map that fits these very rows best"),
        ("alignment", r.alignment, f"{alignment} of f1 and f2"),
    ]
    if r.outputs is not None:
        measured += [
            ("risk_stitch", r.risk_stitch, f"E‖g2(s(f1)) − y‖², {_excess(r)}"),
            ("risk2", r.risk2, "E‖g2(f2) − y‖², the second model"),
            ("risk1", r.risk1, "E‖g1(f1) − y‖², the first model"),
            ("target_power", power, "E‖y‖², the risk of always saying 0: a bound above it says nothing"),
            ("kappa_upper", r.kappa_upper, "Lipschitz constant of g2, certified for any input"),
            ("kappa_effective", r.kappa_effective, "‖g2(f2) − g2(s(f1))‖/‖f2 − s(f1)‖ over these rows"),
            ("kappa_local", r.kappa_local, "largest Jacobian at some of these rows: certifies nothing"),
        ]
    width = max(len(name) for name, *_ in measured)
    notes = [f"fit: {s.reason}"] if s.reason else []
    for name, value, meaning in measured:
        text.append(f"{name:<{width}}  {_number(value):>9}  {meaning}")
        if name in r.reasons:
            notes.append(f"{name}: {r.reasons[name]}")
    lines = [("bound", "κ", "of", "", "value", "measured", "tightness", "holds for", "if")]
    for b in r.bounds:
        vacuous = b.of == "R_stitch" and b.side == "<=" and b.value > power
        lines.append(
            (
                b.name,
                b.kappa or "",
                b.of,
                {"<=": "≤", ">=": "≥", "=": "="}[b.side],
                _number(b.value) + ("*" if vacuous else ""),
                _number(b.measured),
                "" if b.holds is None else f"{b.tightness:.3f}" + ("" if b.holds or not b.checked else " BROKEN"),
                b.certifies,
                b.needs + ("" if b.checked else " (not checked)"),
            )
        )
        if b.reason and b.reason not in r.reasons.values():
            notes.append(f"{b.name}{f' ({b.kappa})' if b.kappa else ''}: {b.reason}")
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text += ["", *("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines), ""]
    text.append("tightness: the side that is to be smaller over the other; 1 is met.")
    if any(b.certifies == _ANY_SAMPLE for b in r.bounds):
        text.append("any sample: with the R_2 and the Ã_2 of that sample; these rows: nothing is said of others.")
    if any(line[4].endswith("*") for line in lines):
        text.append("*: vacuous, above E‖y‖².")
    return "\n".join([*text, *dict.fromkeys(notes)])


def _excess(r: StitchReport) -> str:
    return f"{abs(r.excess):.4g} {'more' if r.excess >= 0 else 'less'} than risk2"


def _number(x: float) -> str:
    if math.isnan(x):
        return "undefined"
    return f"{x:.4f}" if 1e-3 <= abs(x) < 1e4 or x == 0 else f"{x:.3e}"


# ---- which rows ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rows(Matrix):
    """Some rows of a matrix, read when they are asked for: half of a file needs no second file, nor memory."""

    source: Matrix
    listed: Indices

    @staticmethod
    def of(x: Matrix, listed: Indices) -> Rows:
        view: Any = None  # native code has no way to these rows
        return Rows(view, len(listed), x.d, x.dtype, x.device, None, x.owner, x, listed)

    def block(self, start: int, stop: int) -> Array:
        return self.source.take(self.listed[start:stop])

    def take(self, rows: Indices) -> Array:
        return self.source.take(self.listed[rows])

    def numpy(self) -> npt.NDArray[np.floating[Any]]:
        return self.copied("rows").numpy()

    def converted(self, dtype: DType, name: str) -> Matrix:
        return self if self.dtype == dtype else self.copied(name).converted(dtype, name)

    def copied(self, name: str) -> Matrix:
        """The rows in memory, in their own dtype; of a matrix on a device as float64 on the host."""
        data = self.source.data
        if data is None:
            return as_matrix(self.block(0, self.n), name)
        found = data[self.listed]
        return as_matrix(BFloat16Array(found) if self.dtype == "bfloat16" else found, name)


def parted(n: int, split: float, seed: int, groups: object | None) -> tuple[Indices, Indices]:
    """Rows to fit on and rows held out, both ascending; groups of rows stay together."""
    check_number(split, "split")
    if not 0 < split < 1:
        raise ValueError(f"split must be between 0 and 1, the part of the rows to fit on, got {split}")
    rng = np.random.default_rng(seed)
    if groups is None:
        chosen = np.zeros(n, dtype=bool)
        chosen[rng.permutation(n)[: round(split * n)]] = True
    else:
        labels = group_numbers(groups, n)
        sizes = np.bincount(labels)
        if len(sizes) < 2:
            raise ValueError("groups has one group, which cannot be on both sides of the split; leave groups out")
        order = rng.permutation(len(sizes))
        reached = np.cumsum(sizes[order])
        count = int(np.abs(reached[:-1] - split * n).argmin()) + 1  # as near to the split as whole groups come
        chosen = np.isin(labels, order[:count])
    fitted, held_out = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if min(len(fitted), len(held_out)) < 2:
        raise ValueError(
            f"split={split:g} of {n} rows leaves {len(fitted)} to fit on and {len(held_out)} to measure on; "
            "2 are needed on each side"
        )
    return fitted, held_out


# ---- one pass over the held-out rows ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Seen:
    """Norms over all held-out rows, and the moments of what the map leaves; nan where there is nothing to measure."""

    n: int
    error: float  # ‖f2 − s(f1)‖
    residual: Array  # (d2, d2) mean of ee', e = f2 − s(f1)
    targets: float  # ‖y‖
    outputs: float  # √(‖g2(f2)‖² + ‖g2(s(f1))‖²)
    missed1: float  # ‖g1(f1) − y‖
    missed2: float  # ‖g2(f2) − y‖
    missed_stitch: float  # ‖g2(s(f1)) − y‖
    moved: float  # ‖g2(f2) − g2(s(f1))‖

    def mean(self, norm: float) -> float:
        """The mean square behind a norm; infinite where float64 has no room for it."""
        return _square(norm / math.sqrt(self.n))


def _measured(parts: Sequence[Rows], stitch: Stitch, g1: object | None, g2: object | None) -> _Seen:
    x1, x2, *rest = parts
    first = None if g1 is None else heads.as_map(g1, "g1")
    second = None if g2 is None else heads.as_map(g2, "g2")
    norms: dict[str, list[float]] = {}
    residual, unit = np.zeros((x2.d, x2.d)), 0

    def add(name: str, values: Array) -> None:
        norms.setdefault(name, []).append(norm(values))

    for start, stop in blocks(x1.n, [x.d for x in parts]):
        f1, f2 = x1.block(start, stop), x2.block(start, stop)
        mapped = np.asarray(stitch(f1), dtype=np.float64)
        if not np.isfinite(mapped).all():
            raise ValueError("stitch gives NaN or infinity for some row of F1")
        e = f2 - mapped
        add("error", e)
        size = math.frexp(norms["error"][-1])[1]
        if size > unit or start == 0:
            residual, unit = np.ldexp(residual, 2 * (unit - size)), size
        e = np.ldexp(e, -unit)
        residual += e.T @ e
        if not rest:
            continue
        y = rest[0].block(start, stop)
        add("targets", y)
        if first is not None:
            add("missed1", heads.flat_outputs(first(f1, "F1"), y, "g1", "Y") - y)
        if second is not None:
            own = heads.flat_outputs(second(f2, "F2"), y, "g2", "Y")
            stitched = heads.flat_outputs(second(mapped, "stitched F1"), y, "g2", "Y")
            add("outputs", own)
            add("outputs", stitched)
            add("missed2", own - y)
            add("missed_stitch", stitched - y)
            add("moved", own - stitched)
    whole = {name: norm(np.array(found)) for name, found in norms.items()}
    names = ("error", "targets", "outputs", "missed1", "missed2", "missed_stitch", "moved")
    with np.errstate(over="ignore"):
        moments = np.ldexp(residual / x1.n, 2 * unit)
    return _Seen(n=x1.n, residual=moments, **{name: whole.get(name, math.nan) for name in names})


def _square(value: float) -> float:
    return value * value  # infinite where ** would raise


def norm(a: Array) -> float:
    """‖a‖, also where squares would over- or underflow."""
    size = float(np.abs(a).max(initial=0.0))
    return size * float(np.linalg.norm(a / size)) if size else 0.0


# ---- the best linear maps on the held-out rows -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Least:
    """Least squares among the held-out rows themselves: what no linear (affine, if centred) map can beat there."""

    centred: bool
    saturated: tuple[str | None, str | None]  # why maps of f1, of f2, fit anything
    condition: tuple[float, float]  # of f1 and f2, their columns of length 1
    misalignment: float  # of f2 by f1
    second: float  # ‖f2‖ over all rows, centred if the rest is
    alignment: float
    aligned: float  # the same of the directions that least squares uses
    spectra: tuple[Array, Array]  # of these directions of f1, and of f2
    risk1: float  # of y by f1
    risk2: float  # of y by f2
    head2: Array  # (k, d2) the map behind risk2
    map1: Array  # (k, d1) the map behind risk1,
    means: tuple[Array, Array]  # of f1 and of y, that it is about; 0 if not centred
    targets: Array  # (k, k) mean of yy', uncentred
    residual: Array  # (k, k) mean of ee' of y by f1


def _least(parts: Sequence[Rows], *, centred: bool, progress: Progress | None) -> _Least:
    features = [
        centre(x, Linear()) if centred else CentredFeatures(x, False, in_range(x), np.zeros(x.d)) for x in parts
    ]
    found = factor.triangle(features, progress)
    edges = np.cumsum([0, *(x.d for x in parts)])
    columns = [slice(a, b) for a, b in itertools.pairwise(edges)]
    rows = [found.rows[:, c] for c in columns]
    n, units = parts[0].n, [f.exponent // 2 for f in features]
    evens = [factor.evened(f, found.rounding[c], found.fourth[c]) for f, c in zip(features[:2], columns, strict=False)]
    bases = [
        factor.ranked_basis(
            rows[i],
            max(n, parts[i].d) * EPS,
            found.rounding[columns[i]],
            n,
            unit_columns=True,
            even=even and even.centred(centred),
        )
        for i, even in enumerate(evens)
    ]

    def least(i: int, j: int) -> tuple[Array, Array]:
        """(residual rows, coefficients) of part j by part i, in scaled units."""
        inner = bases[i].u.T @ rows[j]
        return rows[j] - bases[i].u @ inner, bases[i].weights @ inner

    def mean_square(a: Array, unit: int) -> float:
        return scaled(norm(a) ** 2 / n, 2 * unit)

    missed = least(0, 1)[0]
    sizes = [norm(r.T @ r) for r in rows[:2]]
    alignment = norm(rows[0].T @ rows[1]) ** 2 / (sizes[0] * sizes[1]) if min(sizes) > 0 else math.nan
    # what least squares knows: f1 in the directions that it uses, however small, for the others are rounding, and f2
    inside = [bases[0].u.T @ rows[i] for i in (0, 1)]
    spectra = [
        np.ldexp(np.square(factor.svd(a)[1][:rank]) / n, 2 * unit)
        for a, rank, unit in ((inside[0], bases[0].rank, units[0]), (rows[1], min(rows[1].shape), units[1]))
    ]
    used = [norm(inside[0].T @ inside[0]), sizes[1]]
    aligned = norm(inside[0].T @ inside[1]) ** 2 / (used[0] * used[1]) if min(used) > 0 else math.nan
    constant = int(centred)
    saturated = [
        f"f{i + 1} has rank {bases[i].rank} on {n} held-out rows, where a map of it fits anything; hold out more rows"
        if bases[i].rank >= n - constant
        else None
        for i in (0, 1)
    ]
    nothing = np.zeros((0, 0))
    risks, maps, residual, second = [math.nan, math.nan], [nothing, nothing], nothing, nothing
    means = (features[0].mean, np.zeros(0))
    if len(parts) == 3:
        for i in (0, 1):
            left, coefficients = least(i, 2)
            risks[i] = mean_square(left, units[2])
            maps[i] = np.ldexp(coefficients.T, units[2] - units[i])
            if i == 0:
                residual = np.ldexp(left.T @ left / n, 2 * units[2])
        mean = features[2].mean
        second = np.ldexp(rows[2].T @ rows[2] / n + np.multiply.outer(mean, mean), 2 * units[2])
        means = (np.ldexp(features[0].mean, units[0]), np.ldexp(mean, units[2]))
    return _Least(
        centred=centred,
        saturated=(saturated[0], saturated[1]),
        condition=(_condition(bases[0]), _condition(bases[1])),
        misalignment=mean_square(missed, units[1]),
        second=scaled(norm(rows[1]), units[1]),
        alignment=alignment,
        aligned=aligned,
        spectra=(spectra[0], spectra[1]),
        risk1=risks[0],
        risk2=risks[1],
        head2=maps[1],
        map1=maps[0],
        means=means,
        targets=second,
        residual=residual,
    )


def _condition(basis: Basis) -> float:
    return float(basis.singular[0] / basis.singular[-1]) if basis.rank else 1.0


# ---- the constants and bounds ----------------------------------------------------------------------------------------


def _constants(
    g2: object | None, given: float | None, x2: Rows, seen: _Seen, seed: int, reasons: dict[str, str]
) -> tuple[float, float, float]:
    """(upper, local, effective) of the second head; what is nan or infinite goes to the reasons."""
    if g2 is None:
        for name in ("kappa_upper", "kappa_local", "kappa_effective"):
            reasons[name] = reasons.get("risk2", "no head g2 was given")
        return math.nan, math.nan, math.nan
    effective = seen.moved / seen.error if seen.error else math.nan
    if not seen.error:
        reasons["kappa_effective"] = "the map reproduces f2 exactly on the held-out rows"
    upper, why = certified(g2, "g2") if given is None else (given, None)
    if why:
        reasons["kappa_upper"] = f"{why}, or give kappa2" if _is_function(g2) else why
    if effective > upper >= (seen.moved - _unit(g2) * seen.outputs) / seen.error:
        effective = upper  # all that is more is rounding of the head's outputs
    if _is_function(g2):
        reasons["kappa_local"] = _NO_LAYERS.format("g2")
        return upper, math.nan, effective
    some = x2.take(np.linspace(0, x2.n - 1, min(x2.n, _LOCAL_ROWS)).astype(np.int64))
    try:
        local = lipschitz.local(g2, some, max_iterations=_LOCAL_STEPS, seed=seed)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:  # a head that torch cannot derive
        reasons["kappa_local"] = str(error).partition("\n")[0]
        local = math.nan
    return upper, local, effective


def _bounds(
    report: StitchReport, least: _Least, seen: _Seen, parts: Sequence[Rows], g2: object | None, given: bool
) -> Iterator[ReportedBound]:
    if g2 is not None:
        yield from _of_the_map(report, seen, g2, given)
        if _is_matrix(g2):
            yield from _of_the_best_map(report, least, parts, heads.weight_matrix(g2, "g2"))
        else:
            yield _forward(report)
    linear = report.stitch.matrix is not None  # or else g2∘s is no linear head
    if linear and report.outputs is not None and (g2 is None or _is_matrix(g2)):
        yield _forward_of_linear_heads(report, least)
    yield from _of_alignment(report, least)


def certified(head: object, name: str) -> tuple[float, str | None]:
    """`lipschitz.upper`, and why it is infinite; nan for a function."""
    if _is_function(head):
        return math.nan, _NO_LAYERS.format(name)
    found = lipschitz.explain(head)
    blamed = [x for x in found.layers if x.constant == math.inf]
    if not blamed:
        return found.value, None
    where = f"layer {blamed[0].name} ({blamed[0].kind})" if blamed[0].name else blamed[0].kind
    return found.value, f"no certified constant of {name}: {where}: {blamed[0].rule}"


def _is_function(head: object) -> bool:
    return callable(head) and not heads.is_module(head)


def _is_matrix(head: object) -> bool:
    return not (heads.is_module(head) or callable(head))


def _of_the_map(report: StitchReport, seen: _Seen, g2: object, given: bool) -> Iterator[ReportedBound]:
    """Of the risk of this very map."""
    unit = _unit(g2) * (seen.outputs + seen.targets) / math.sqrt(seen.n)
    risk2, error = report.risk2, report.misalignment

    upper, effective = report.kappa_upper, report.kappa_effective if seen.error else 0.0
    blame = report.reasons.get("kappa_upper")

    def row(name: str, kappa: str, side: Side, compute: Callable[[], float], why: str | None) -> ReportedBound:
        value, reason = _value(compute, why)
        rounding = 2 * math.sqrt(max(report.risk_stitch, risk2)) * unit + unit * unit
        certifies, needs = (_THESE_ROWS, "κ of these pairs") if kappa == "effective" else (_ANY_SAMPLE, _LIPSCHITZ)
        checked = kappa == "effective" or (math.isfinite(upper) and not given)
        return ReportedBound(
            name, kappa, "R_stitch", side, value, report.risk_stitch, certifies, needs, checked, reason, rounding
        )

    yield row("stitching", "upper", "<=", lambda: bounds.stitching(risk2, upper, error), blame)
    yield row("stitching", "effective", "<=", lambda: bounds.stitching(risk2, effective, error), None)
    start = _first_matrix(g2)
    if isinstance(start, str):
        yield replace(row("stitching_refined", "upper", "<=", lambda: math.nan, start), needs=_REFINED, checked=False)
    else:
        w, rest, why = start
        refined = row(
            "stitching_refined", "upper", "<=", lambda: bounds.stitching_refined(risk2, rest, w, seen.residual), why
        )
        yield replace(refined, needs=_REFINED, checked=math.isfinite(rest))
    yield row("stitching_lower", "upper", ">=", lambda: bounds.stitching_lower(risk2, upper, error), blame)
    yield row("stitching_lower", "effective", ">=", lambda: bounds.stitching_lower(risk2, effective, error), None)


def _forward(report: StitchReport) -> ReportedBound:
    """Of heads that are not linear, whose least risks are not known: with those of the heads at hand."""
    why = report.reasons.get("kappa_upper")
    value, reason = _value(lambda: bounds.stitching_forward(report.risk2, report.kappa_upper, report.misalignment), why)
    return ReportedBound(
        "stitching_forward",
        "upper",
        "R_1(h1) − R_2(h2)",
        "<=",
        value,
        report.risk1 - report.risk2,
        _ANY_SAMPLE,
        "h1 is the best head of model 1, and g2∘s one of its heads",
        False,
        reason or report.reasons.get("risk1"),
        0.0,
    )


def _forward_of_linear_heads(report: StitchReport, least: _Least) -> ReportedBound:
    """Of the least risks over linear heads, which least squares gives."""
    why = least.saturated[0] or least.saturated[1]
    value, reason = _value_unless(
        why, lambda: bounds.stitching_forward(least.risk2, lipschitz.upper(least.head2), report.misalignment)
    )
    measured = least.risk1 - least.risk2
    kind = "affine" if least.centred else "linear"
    needs = f"{kind} heads: g2∘s is one, and least squares gives the best"
    rounding = (1e-10 + 64 * EPS * max(least.condition)) * report.target_power
    return ReportedBound(
        "stitching_forward", None, "R(H_1) − R(H_2)", "<=", value, measured, _THESE_ROWS, needs, True, reason, rounding
    )


def _of_the_best_map(report: StitchReport, least: _Least, parts: Sequence[Rows], w: Array) -> Iterator[ReportedBound]:
    """Of the map that is best for the task on the held-out rows themselves, under a head that is a matrix."""
    singular = np.linalg.svd(w, compute_uv=False)
    kept = singular[singular > max(w.shape) * EPS * singular[0]]  # as gramian.bounds tells the rank
    back = np.linalg.pinv(w, rcond=max(w.shape) * EPS)
    mapped, about = back @ least.map1, least.means
    sums = []
    for start, stop in blocks(report.n, [x.d for x in parts]):
        z = (parts[0].block(start, stop) - about[0]) @ mapped.T + back @ about[1]
        sums.append(norm(z @ w.T - parts[2].block(start, stop)))
    risk, why = _square(norm(np.array(sums)) / math.sqrt(report.n)), least.saturated[0]
    kind = "affine" if least.centred else "linear"
    condition = least.condition[0] * (kept[0] / kept[-1] if len(kept) else 1.0)
    rounding = (1e-10 + 64 * EPS * float(condition)) * report.target_power
    value, reason = _value_unless(why, lambda: bounds.output_layer(least.risk1, report.risk2, w))
    yield ReportedBound(
        "output_layer", None, "best R_stitch − R_2", "=", value, risk - report.risk2, _THESE_ROWS,
        f"linear heads, W2 of full row rank, any {kind} map", True, reason, rounding,
    )  # fmt: skip
    value, reason = _value_unless(why, lambda: bounds.output_layer_projected(w, least.targets, least.residual))
    yield ReportedBound(
        "output_layer_projected", None, "best R_stitch", "=", value, risk, _THESE_ROWS,
        f"linear heads, any {kind} map", True, reason, rounding,
    )  # fmt: skip


def _of_alignment(report: StitchReport, least: _Least) -> Iterator[ReportedBound]:
    """Of the least misalignment, from kernel alignment and both spectra."""
    why = report.reasons.get("alignment") or least.saturated[0]
    if math.isnan(least.aligned):
        why = why or "f1 varies by no more than the rounding that it was stored with"
    needs = f"{'CKA' if least.centred else 'KA'} and the spectra of these rows"
    rounding = 1e-6 * float(least.spectra[1].sum())
    for side in _SIDES:

        def end(side: Side = side) -> float:
            found = bounds.misalignment_from_ka(least.aligned, *least.spectra)
            return found.low if side == ">=" else found.high

        value, reason = _value_unless(why, end)
        yield ReportedBound(
            "misalignment_from_ka", None, "least Ã_2", side, value, least.misalignment, _THESE_ROWS, needs, True,
            reason, rounding,
        )  # fmt: skip


def _value(compute: Callable[[], float], why: str | None) -> tuple[float, str | None]:
    """A bound's value, and why it is nan or infinite."""
    try:
        value = compute()
    except ValueError as error:
        return math.nan, why or str(error)
    return value, None if math.isfinite(value) else why or "beyond the range of float64"


def _value_unless(why: str | None, compute: Callable[[], float]) -> tuple[float, str | None]:
    """The same, where a value would mean nothing for the reason why."""
    return (math.nan, why) if why else _value(compute, None)


def _unit(head: object) -> float:
    """By how much outputs of a head may be rounded, relatively, with room for sums over its features."""
    if heads.is_module(head):
        torch = sys.modules["torch"]
        kinds = [p.dtype for p in head.parameters() if p.is_floating_point()]  # type: ignore[attr-defined]
        return 64 * float(max((torch.finfo(kind).eps for kind in kinds), default=EPS))
    return 64 * (float(np.finfo(np.float32).eps) if callable(head) else EPS)


def _first_matrix(head: Any) -> tuple[Array, float, str | None] | str:
    """W, the constant of h and why it is infinite where a head is h∘W; or why it is not."""
    if not heads.is_module(head):
        if callable(head):
            return "g2 is a function, which does not show its first layer"
        return heads.weight_matrix(head, "g2"), 1.0, None
    nn = sys.modules["torch"].nn
    layers = list(head) if type(head) is nn.Sequential else [head]
    if not layers or type(layers[0]) is not nn.Linear or any(_hooked(x) for x in (head, layers[0])):
        return "g2 does not start with a Linear layer"
    return heads.on_host(layers[0].weight), *certified(nn.Sequential(*layers[1:]), "g2 after its first layer")


def _hooked(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks) or "forward" in vars(module)
