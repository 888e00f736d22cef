"""A stitching report: its numbers, its bounds, its table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.results.result import Result
from gramian.show.charts import bounds_chart
from gramian.show.tables import Listing
from gramian.stitching.stitch import Stitch
from gramian.words import public

Indices: TypeAlias = npt.NDArray[np.int64]
Side: TypeAlias = Literal["<=", ">=", "="]
ANY_SAMPLE, THESE_ROWS = "any sample", "these rows"
LIPSCHITZ, REFINED = "g2 is κ-Lipschitz", "g2 = h∘W, h is κ-Lipschitz"
LOCAL_ROWS, LOCAL_STEPS = 64, 20  # held-out rows and iterations of the search for a local constant


@dataclass(frozen=True, eq=False)
class ReportedBound(Result):
    """One bound beside what it bounds."""

    _derived = ("tightness", "holds")

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
class StitchReport(Result):
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

    def _facts(self) -> dict[str, Any]:
        s = self.stitch
        about: dict[str, Any] = {"stitch": f"{s.kind}, {s.d1} → {s.d2}", "ridge": s.ridge or None}
        about |= {"fitted_rows": len(self.fitted), "held_out_rows": self.n}
        measured = {name: getattr(self, name) for name in _MEASURED}
        # what was not asked for has its reason below, and no line of its own
        return about | {k: None if math.isnan(v) and k in self.reasons else v for k, v in measured.items()}

    def _listing(self) -> Listing:
        columns = ("kappa", "of", "side", "value", "measured", "tightness", "holds", "certifies", "needs", "reason")
        found = {name: [getattr(b, name) for b in self.bounds] for name in columns}
        return Listing(found, [b.name for b in self.bounds], "bound")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for strict JSON; of the map its numbers, not its matrix."""
        found = {
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
        return self._plain(found)

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw every bound beside what it bounds with matplotlib; returns the axes.

        ``limits`` are of the axis of values; ``annotate`` writes its value beside each bound.
        """
        return bounds_chart(self.bounds, ax, title=title, limits=limits, annotate=annotate)

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


def table(r: StitchReport) -> str:
    """The report as aligned text."""
    s, power = r.stitch, r.target_power
    ridge = f", ridge {s.ridge:.4g}" if s.ridge else ""
    where = f"fitted on {len(r.fitted)} rows" if len(r.fitted) else f"fitted elsewhere on {s.n} rows"
    text = [
        f"{s.kind} stitch, {s.d1} → {s.d2} features{ridge}, {where}; all else of {r.n} held-out rows",
        "",
    ]
    best = "affine" if is_affine(s) else "linear"
    alignment = "linear CKA (biased)" if is_affine(s) else "linear kernel alignment"
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
    lines = [("bound, κ", "of", "value", "measured", "tightness", "holds for", "if")]
    needs = list(dict.fromkeys(b.needs + ("" if b.checked else " (not checked)") for b in r.bounds))
    for b in r.bounds:
        vacuous = b.of == "R_stitch" and b.side == "<=" and b.value > power
        lines.append(
            (
                b.name + (f" {b.kappa}" if b.kappa else ""),
                b.of,
                f"{ {'<=': '≤', '>=': '≥', '=': '='}[b.side] } {_number(b.value)}{'*' if vacuous else ''}",
                _number(b.measured),
                "" if b.holds is None else f"{b.tightness:.3f}",
                b.certifies,
                str(needs.index(b.needs + ("" if b.checked else " (not checked)")) + 1),
            )
        )
        if b.holds is False and b.checked:
            notes.append(f"BROKEN: {lines[-1][0]} says {lines[-1][2]}, and {_number(b.measured)} was measured")
        if b.reason and b.reason not in r.reasons.values():
            notes.append(f"{b.name}{f' ({b.kappa})' if b.kappa else ''}: {b.reason}")
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text += ["", *("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines), ""]
    text += [f"{i}: {need}" for i, need in enumerate(needs, start=1)]
    text.append("tightness: the side that is to be smaller over the other; 1 is met.")
    if any(b.certifies == ANY_SAMPLE for b in r.bounds):
        text.append("any sample: with the R_2 and the Ã_2 of that sample; these rows: nothing is said of others.")
    if any(line[2].endswith("*") for line in lines):
        text.append("*: vacuous, above E‖y‖².")
    return "\n".join([*text, *dict.fromkeys(notes)])


def _excess(r: StitchReport) -> str:
    return f"{abs(r.excess):.4g} {'more' if r.excess >= 0 else 'less'} than risk2"


def _number(x: float) -> str:
    if math.isnan(x):
        return "undefined"
    return f"{x:.4f}" if 1e-3 <= abs(x) < 1e4 or x == 0 else f"{x:.3e}"


def is_affine(stitch: Stitch) -> bool:
    return stitch.kind == "affine" or bool(stitch.offset.any())
