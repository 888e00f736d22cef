"""Charts of lines: series over one axis, and bounds beside what they bound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gramian.show.axes import check_limits, new_axes
from gramian.show.svg import (
    DARK,
    GAP,
    LABEL,
    MARGIN,
    MUTED,
    TITLE,
    UNDEFINED,
    escaped,
    in_words,
    opened,
    px,
    round_steps,
    text_at,
    told_apart,
    width_of,
)

Array = NDArray[np.float64]
_INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b58900", "#000000", "#777777")  # Okabe and Ito
_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)),
    ((0, -4.2), (4, 3), (-4, 3)),
    ((0, -4.6), (4.6, 0), (0, 4.6), (-4.6, 0)),
)


class Bound(Protocol):
    """What a chart reads of a bound and of what it bounds; `ReportedBound` has it."""

    @property
    def name(self) -> str: ...
    @property
    def kappa(self) -> str | None: ...
    @property
    def of(self) -> str: ...
    @property
    def side(self) -> str: ...  # "<=", ">=" or "="
    @property
    def value(self) -> float: ...
    @property
    def measured(self) -> float: ...


def bounds_chart(
    bounds: Sequence[Bound],
    ax: Any = None,
    *,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    annotate: bool | None = None,
) -> Any:
    """Draw bounds beside what they bound with matplotlib: a line from each bound to the measured value.

    Parameters
    ----------
    bounds : sequence of ReportedBound
        As in ``stitch_report(...).bounds``. Left out are those that are undefined or infinite, which the axis says, and
        it is logarithmic below no 0: values up to a thousandth of the largest are drawn on a linear scale.
    ax : matplotlib axes, optional
        Left out: those of a new figure.
    title : str, optional
    limits : (low, high), optional
        Of the axis of values.
    annotate : bool, optional
        Write its value beside each bound; left out, not.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        Without matplotlib.
    TypeError, ValueError
        `ax` are no axes, or `limits` no limits.
    """
    limits = check_limits(limits)
    drawn = [b for b in bounds if math.isfinite(b.value) and math.isfinite(b.measured)]
    ax = new_axes(ax, (7.5, 1.4 + 0.34 * max(len(drawn), 1)))
    colours = {"<=": "C3", ">=": "C0", "=": "C2"}
    for i, b in enumerate(drawn):
        ax.plot([b.measured, b.value], [i, i], color=colours[b.side], linewidth=1.2, zorder=1)
    for side, marker, label in (("<=", "<", "at most"), (">=", ">", "at least"), ("=", "D", "equal to")):
        of_side = [(b.value, i) for i, b in enumerate(drawn) if b.side == side]
        if of_side:
            ax.scatter(*zip(*of_side, strict=True), marker=marker, color=colours[side], label=label, zorder=2)
    if drawn:
        ax.scatter([b.measured for b in drawn], range(len(drawn)), color=DARK, s=18, label="measured", zorder=3)
        largest = max(max(abs(b.value), abs(b.measured)) for b in drawn)
        ax.set_xscale("symlog", linthresh=largest / 1000 if largest else 1.0, linscale=2.0)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    names = [f"{b.of}: {b.name}{f', κ {b.kappa}' if b.kappa else ''}" for b in drawn]
    ax.set_yticks(range(len(drawn)), labels=names)
    ax.invert_yaxis()
    missing = len(bounds) - len(drawn)
    note = f"\n{missing} of {len(bounds)} bounds not drawn: undefined or infinite" if missing else ""
    ax.set_xlabel(f"in units of the loss (Ã_2: of f2²){note}")
    ax.grid(axis="x", color=UNDEFINED, linewidth=0.6)
    ax.set_axisbelow(True)
    if annotate:
        for i, b in enumerate(drawn):
            ax.annotate(in_words(b.value), (b.value, i), textcoords="offset points", xytext=(0, 5), ha="center")
    if limits is not None:
        ax.set_xlim(*limits)
    if title is not None:
        ax.set_title(title)
    return ax


@dataclass(frozen=True)
class Series:
    """Points of a chart that belong together."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None  # the ends of each point's interval: in y, or in x where y is a category
    high: Sequence[float] | None = None
    line: bool = False  # joined in their order; the interval becomes a band
    dashed: bool = False  # joined by a dashed line without marks: a bound, a level of chance


def chart_svg(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    categories: Sequence[str] = (),
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Draw points, lines and their intervals as a self-contained SVG.

    Series differ in colour and in mark; hovering over a point tells its numbers. Points that are not finite, or not
    positive on a logarithmic axis, are left out and counted below the picture.

    Parameters
    ----------
    series : sequence of Series
    title, x_label, y_label : str
        Above, below and at the left.
    categories : sequence of str
        Names of y = 0, 1, ..., from the top; intervals then lie along x.
    log_x, log_y : bool
        Logarithmic axes.

    Returns
    -------
    str
        An SVG document with its own background and description.

    Raises
    ------
    ValueError
        No point can be drawn.

    Examples
    --------
    >>> picture = chart_svg([Series("risk", [1, 2], [3.0, 4.0], line=True)], title="A line", x_label="n", y_label="R")
    >>> picture.startswith("<svg") and "A line" in picture
    True
    """
    kept = [_drawable(s, bool(categories), log_x, log_y) for s in series]
    if not any(len(points) for points in kept):
        raise ValueError(f"{title!r} has no point to draw: none is finite, and positive where an axis is logarithmic")
    reach = np.concatenate(kept)
    along = (reach[:, [0, 2, 3]] if categories else reach[:, [0]]).ravel()
    across = reach[:, [1]] if categories else reach[:, 1:4]
    names = told_apart(categories)

    left = MARGIN + (max(map(width_of, names)) + GAP if categories else 64 + (LABEL + GAP if y_label else 0))
    top = MARGIN + TITLE + 2 * GAP
    plot_width, plot_height = 480, max(22 * len(categories), 120) if categories else 320
    x = _Axis.over(along, log_x, left, left + plot_width)
    if categories:
        y = _Axis(-0.5, len(categories) - 0.5, False, top, top + plot_height)
    else:
        y = _Axis.over(across.ravel(), log_y, top + plot_height, top)
    missing = [(s.name, len(s.x) - len(points)) for s, points in zip(series, kept, strict=True)]
    notes = [f"{name}: {count} not drawn, undefined or not positive" for name, count in missing if count]
    legend = left + plot_width + 2 * GAP
    width = max(
        legend + 28 + max(width_of(s.name) for s in series) + MARGIN,
        2 * MARGIN + width_of(title, TITLE),
        2 * MARGIN + max(map(width_of, notes), default=0),
    )
    under = top + plot_height + LABEL + 2 * GAP
    height = under + LABEL + GAP + len(notes) * (LABEL + 6) + MARGIN

    parts = opened(width, height, title, _chart_description(title, series, categories))
    for value, text in x.ticks():
        at = px(x(value))
        parts.append(f'<path d="M{at} {px(top)}v{px(plot_height)}" stroke="{UNDEFINED}"/>')
        parts.append(text_at(x(value), top + plot_height + LABEL + 4, text, anchor="middle"))
    for value, text in enumerate(names) if categories else y.ticks():
        parts.append(f'<path d="M{px(left)} {px(y(value))}h{plot_width}" stroke="{UNDEFINED}"/>')
        parts.append(text_at(left - GAP, y(value), text, anchor="end", middle=True))
    parts.append(text_at(left + plot_width / 2, under + LABEL, x_label, anchor="middle"))
    if y_label:
        at = f"{px(MARGIN + LABEL)} {px(top + plot_height / 2)}"
        turn = f'transform="rotate(-90 {at})"'
        parts.append(text_at(MARGIN + LABEL, top + plot_height / 2, y_label, anchor="middle", extra=turn))
    for k, (s, points) in enumerate(zip(series, kept, strict=True)):
        ink = _INKS[k % len(_INKS)]
        parts += _drawn(s, points, x, y, ink, k, bool(categories))
        row = top + LABEL + k * (LABEL + 8)
        if s.line or s.dashed:
            dashes = ' stroke-dasharray="5 4"' if s.dashed else ""
            parts.append(f'<path d="M{px(legend)} {px(row)}h20" stroke="{ink}" stroke-width="2"{dashes}/>')
        if not s.dashed:
            parts.append(_mark(legend + 10, row, k, ink))
        parts.append(text_at(legend + 28, row, s.name, middle=True))
    for line, note in enumerate(notes, 1):
        parts.append(text_at(MARGIN, under + LABEL + GAP + line * (LABEL + 6), note, fill=MUTED))
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool
    begin: float  # pixels
    end: float

    @classmethod
    def over(cls, values: Array, log: bool, begin: float, end: float) -> _Axis:
        """All values, with some room; in logarithms where the axis is logarithmic."""
        reach = np.log10(values) if log else values
        low, high = float(reach.min()), float(reach.max())
        room = 0.04 * (high - low) or (0.5 if log else abs(low) or 1.0)
        return cls(low - room, high + room, log, begin, end)

    def __call__(self, value: float) -> float:
        position = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return self.begin + position * (self.end - self.begin)

    def ticks(self) -> Sequence[tuple[float, str]]:
        if not self.log:
            return round_steps(self.low, self.high)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for digits in ((1,), (1, 2, 5)):
            every = [d * 10.0**k for k in decades for d in digits if self.low <= k + math.log10(d) <= self.high]
            if len(every) >= 3:
                return [(value, f"{value:.4g}") for value in every[:: math.ceil(len(every) / 9)]]
        return round_steps(10.0**self.low, 10.0**self.high)


def _drawable(s: Series, along_x: bool, log_x: bool, log_y: bool) -> Array:
    """(points, 4): x, y and the ends of the interval, of the points that can be drawn."""
    around = s.x if along_x else s.y
    low, high = (around if s.low is None else s.low), (around if s.high is None else s.high)
    points = np.column_stack([np.asarray(v, dtype=float) for v in (s.x, s.y, low, high)])
    ends_log = log_x if along_x else log_y
    logarithmic = np.array([log_x, log_y, ends_log, ends_log])
    kept: Array = points[np.isfinite(points).all(axis=1) & ((points > 0) | ~logarithmic).all(axis=1)]
    return kept


def _drawn(s: Series, points: Array, x: _Axis, y: _Axis, ink: str, k: int, along_x: bool) -> Iterable[str]:
    if not len(points):
        return
    interval = s.low is not None and s.high is not None
    path = [f"{px(x(a))} {px(y(b))}" for a, b, *_ in points]
    if interval and s.line:
        above = [f"{px(x(a))} {px(y(high))}" for a, _, _, high in points]
        below = [f"{px(x(a))} {px(y(low))}" for a, _, low, _ in points[::-1]]
        yield f'<path d="M{"L".join([*above, *below])}Z" fill="{ink}" fill-opacity="0.15" stroke="none"/>'
    if s.line or s.dashed:
        dashes = ' stroke-dasharray="5 4"' if s.dashed else ""
        yield f'<path d="M{"L".join(path)}" fill="none" stroke="{ink}" stroke-width="2"{dashes}/>'
    if s.dashed:
        return
    for a, b, low, high in points:
        if interval and not s.line:
            ends = (x(low), y(b), x(high), y(b)) if along_x else (x(a), y(low), x(a), y(high))
            across = "{} {}L{} {}".format(*map(px, ends))
            yield f'<path d="M{across}" stroke="{ink}" stroke-width="1.5"/>'
        where = f"{a:.4g}" if along_x else f"{a:.4g}, {b:.4g}"
        shown = f" ({low:.4g} to {high:.4g})" if interval else ""
        yield f"<g><title>{escaped(s.name)}: {where}{shown}</title>{_mark(x(a), y(b), k, ink)}</g>"


def _mark(x: float, y: float, k: int, ink: str) -> str:
    """A circle, square, triangle or diamond: series stay apart without their colours."""
    if k % 4 == 0:
        return f'<circle cx="{px(x)}" cy="{px(y)}" r="3.5" fill="{ink}"/>'
    corners = "L".join(f"{px(x + a)} {px(y + b)}" for a, b in _SHAPES[k % 4 - 1])
    return f'<path d="M{corners}Z" fill="{ink}"/>'


def _chart_description(title: str, series: Sequence[Series], categories: Sequence[str]) -> str:
    """The picture in words, for who cannot see it."""

    def spoken(s: Series) -> str:
        if categories:
            if s.dashed:
                return f"at {s.x[0]:.3g}"
            return ", ".join(f"{categories[round(b)]} {a:.3g}" for a, b in zip(s.x, s.y, strict=True))
        known = [(a, b) for a, b in zip(s.x, s.y, strict=True) if math.isfinite(a) and math.isfinite(b)]
        if not known:
            return "nothing defined"
        (a, b), (c, d) = known[0], known[-1]
        return f"{len(known)} points, from ({a:.3g}, {b:.3g}) to ({c:.3g}, {d:.3g})"

    return f"{title}. " + "; ".join(f"{s.name}: {spoken(s)}" for s in series) + "."
