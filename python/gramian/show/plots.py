"""Heat maps of layer × layer matrices and charts: SVG strings without any plotting package, or matplotlib axes."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# matplotlib's magma at 17 equal steps; between them linear, at most 2.5 of 255 away
_MAGMA = np.array(
    [
        (0, 0, 4),
        (10, 8, 34),
        (29, 17, 71),
        (54, 16, 107),
        (81, 18, 124),
        (106, 28, 129),
        (131, 38, 129),
        (156, 46, 127),
        (183, 55, 121),
        (208, 65, 111),
        (231, 82, 99),
        (245, 107, 92),
        (252, 137, 97),
        (254, 167, 114),
        (254, 196, 136),
        (253, 226, 163),
        (252, 253, 191),
    ],
    dtype=float,
)
_BOUNDED = ("cka", "kernel_alignment")  # 1 is the largest value there is
_DARK, _LIGHT, _MUTED, _UNDEFINED, _HATCH = "#000000", "#ffffff", "#555555", "#dddddd", "#999999"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
_TITLE, _LABEL, _NUMBER = 15, 12, 11  # font sizes
_MARGIN, _GAP = 16, 8
_ROTATION = 40  # degrees, of column labels that do not fit
_FLAT = 36  # labels up to this width are thinned out rather than rotated
_LONGEST = 28  # characters of a label
_BAR, _BAR_STEPS = 14, 64
_INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b58900", "#000000", "#777777")  # Okabe and Ito
_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)),
    ((0, -4.2), (4, 3), (-4, 3)),
    ((0, -4.6), (4.6, 0), (0, 4.6), (-4.6, 0)),
)
_SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)"')
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


class Measured(Protocol):
    """What a heat map reads of a matrix of measures; `AlignmentMatrix` has it."""

    @property
    def values(self) -> Array: ...  # (L1, L2)
    @property
    def rows(self) -> Sequence[str]: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def measure(self) -> str: ...
    @property
    def estimator(self) -> str: ...
    @property
    def kernel(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def reasons(self) -> Mapping[str, str]: ...


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


@dataclass(frozen=True, eq=False)
class Grid:
    """Values of layers × layers, as a heat map shows them."""

    values: Array  # (L1, L2)
    rows: Sequence[str]
    columns: Sequence[str]
    caption: str  # what they are
    n: int
    reasons: Sequence[str]  # why values are not finite
    limits: tuple[float, float]  # the ends of the colour scale
    best: str = "largest"  # or "smallest"

    @property
    def heading(self) -> str:
        return f"{self.caption}, n = {self.n}"

    @property
    def matches(self) -> list[int | None]:
        """The column of each row's best value, the first of equals; None where a row has none."""
        return _best(self.values if self.best == "largest" else -self.values)

    def colour(self, value: float) -> tuple[int, int, int]:
        """The bright end is the better one."""
        low, high = self.limits
        return _colour(value, self.limits) if self.best == "largest" else _colour(low + high - value, self.limits)


def grid(matrix: Measured | Grid) -> Grid:
    """A matrix of measures as a heat map shows it: the largest is best."""
    if isinstance(matrix, Grid):
        return matrix
    values = np.asarray(matrix.values, dtype=float)
    caption = f"{matrix.measure}, {matrix.estimator}, {matrix.kernel}"
    reasons = list(matrix.reasons.values())
    return Grid(values, matrix.rows, matrix.columns, caption, matrix.n, reasons, _limits(values, matrix.measure))


def heatmap_svg(matrix: Measured | Grid, *, title: str | None = None) -> str:
    """Draw a layer × layer matrix as a self-contained SVG.

    A dot marks the best match of each row, hatched cells are undefined. Up to 12 columns the values are written into
    the cells; hovering over a cell names its layers and value at any size.

    Parameters
    ----------
    matrix : AlignmentMatrix
        From `cka_matrix`, of shape (L1, L2). Colours run from 0, or the least value if that is negative, to 1; to the
        largest value for HSIC, which has no upper limit.
    title : str, optional
        Above the picture. Left out: measure, estimator, kernel and n.

    Returns
    -------
    str
        An SVG document with its own background and description; it may be written to a file or put into an HTML page,
        several on one page too.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((50, 6))
    >>> picture = heatmap_svg(gm.cka_matrix({"a": X, "b": X[:, :3]}), title="A model with itself")
    >>> picture.startswith("<svg") and "A model with itself" in picture
    True
    """
    shown = grid(matrix)
    values, limits, best = shown.values, shown.limits, shown.matches
    rows, columns = values.shape
    heading = title if title is not None else shown.heading
    cell = min(46, max(10, 640 // max(rows, columns)))  # whole pixels: sharp edges
    row_labels, column_labels = _labels(shown.rows), _labels(shown.columns)
    widest_column = max(map(_width, column_labels))
    rotated = widest_column > max(cell - 4, _FLAT)
    slope = math.radians(_ROTATION)

    # ---- where things are: labels | cells | colour bar, and from the top title, cells, column labels, notes
    left = _MARGIN + max(map(_width, row_labels)) + _GAP
    if rotated:  # the first label leans out to the left
        left = max(left, _MARGIN + widest_column * math.cos(slope) - cell / 2)
    left, top = math.ceil(left), _MARGIN + _TITLE + 2 * _GAP
    right, bottom = left + columns * cell, top + rows * cell
    bar_left, bar_height = right + 2 * _GAP, max(rows * cell, 100)
    ticks = _ticks(*limits)
    under = bottom + _GAP + (widest_column * math.sin(slope) + _LABEL if rotated else _LABEL)
    under = max(under, top + bar_height + _LABEL)
    notes = _notes(shown)
    width = max(
        bar_left + _BAR + _GAP + max(_width(text) for _, text in ticks) + _MARGIN,
        2 * _MARGIN + _width(heading, _TITLE),
        2 * _MARGIN + _GAP + max(map(_width, notes)),
    )
    height = under + _GAP + len(notes) * (_LABEL + 6) + _MARGIN - 6

    parts = _document(width, height, heading, _description(shown))
    for i in range(rows):
        for j in range(columns):
            box = _Box(left + j * cell, top + i * cell, cell)
            name = f"{shown.rows[i]}, {shown.columns[j]}"
            parts += _cell(box, float(values[i, j]), name, shown, write=columns <= 12 and cell >= 40, dot=best[i] == j)
    for i in _every(rows, _LABEL + 2, cell):
        parts.append(_text(left - _GAP, top + (i + 0.5) * cell, row_labels[i], anchor="end", middle=True))
    for j in _every(columns, _LABEL + 2 if rotated else widest_column + 6, cell):
        x = left + (j + 0.5) * cell
        if rotated:
            turn = f'transform="rotate(-{_ROTATION} {_px(x)} {_px(bottom + _GAP)})"'
            parts.append(_text(x, bottom + _GAP + _LABEL * 0.5, column_labels[j], anchor="end", extra=turn))
        else:
            parts.append(_text(x, bottom + _GAP + _LABEL * 0.8, column_labels[j], anchor="middle"))
    parts += _colour_bar(bar_left, top, bar_height, shown, ticks)
    for k, note in enumerate(notes):
        y = under + _GAP + (k + 0.5) * (_LABEL + 6)
        if k == 0:
            parts.append(f'<circle cx="{_px(_MARGIN + 4)}" cy="{_px(y - 0.5)}" r="3.5" fill="{_MUTED}"/>')
        parts.append(_text(_MARGIN + (14 if k == 0 else 0), y, note, middle=True, fill=_MUTED))
    return "\n".join([*parts, "</svg>"]) + "\n"


def heatmap(matrix: Measured | Grid, ax: Any = None) -> Any:
    """Draw a layer × layer matrix with matplotlib.

    Parameters
    ----------
    matrix : AlignmentMatrix
    ax : matplotlib axes, optional
        Left out: those of a new figure.

    Returns
    -------
    matplotlib axes
        With the best match of each row marked by a dot, undefined cells hatched, the reasons of those below them, and a
        colour bar beside them.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib import pyplot
        from matplotlib.patches import Rectangle
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'gramian[viz]'; heatmap_svg does not") from error

    shown = grid(matrix)
    values, (low, high) = shown.values, shown.limits
    rows, columns = values.shape
    if ax is None:
        figure = pyplot.figure(figsize=(2.2 + 0.45 * columns, max(2.5, 1 + 0.4 * rows)), layout="constrained")
        ax = figure.add_subplot()
    masked = np.ma.masked_invalid(values)
    name = "magma" if shown.best == "largest" else "magma_r"
    magma = matplotlib.colormaps[name].with_extremes(bad=_UNDEFINED)
    image = ax.imshow(masked, vmin=low, vmax=high, cmap=magma, aspect="auto")  # "equal" would leave the bar taller
    for i, j in np.argwhere(~np.isfinite(values)):
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="///", edgecolor=_HATCH, linewidth=0))
    dots = [(j, i) for i, j in enumerate(shown.matches) if j is not None]
    if dots:
        inks = [_ink(shown.colour(float(values[i, j]))) for j, i in dots]
        ax.scatter(*zip(*dots, strict=True), s=14, c=inks, label="best match in its row")
    for axis, names in ((ax.yaxis, shown.rows), (ax.xaxis, shown.columns)):
        places, labels = list(_every(len(names), _LABEL + 2, 640 / max(rows, columns))), _labels(names)
        axis.set_ticks(places, labels=[labels[i] for i in places])
    if max(map(_width, _labels(shown.columns))) > _FLAT:
        for label in ax.get_xticklabels():
            label.set(rotation=_ROTATION, ha="right", rotation_mode="anchor")
    if not np.isfinite(values).all():
        ax.set_xlabel("\n".join(textwrap.fill(note, 60) for note in _notes(shown)[1:]), loc="left", fontsize="small")
    ax.figure.colorbar(image, ax=ax, label=shown.caption)
    return ax


def bounds_chart(bounds: Sequence[Bound], ax: Any = None) -> Any:
    """Draw bounds beside what they bound with matplotlib: a line from each bound to the measured value.

    Parameters
    ----------
    bounds : sequence of ReportedBound
        As in ``stitch_report(...).bounds``. Left out are those that are undefined or infinite, which the axis says, and
        it is logarithmic below no 0: values up to a thousandth of the largest are drawn on a linear scale.
    ax : matplotlib axes, optional
        Left out: those of a new figure.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'gramian[viz]'") from error

    drawn = [b for b in bounds if math.isfinite(b.value) and math.isfinite(b.measured)]
    if ax is None:
        figure = pyplot.figure(figsize=(7.5, 1.4 + 0.34 * max(len(drawn), 1)), layout="constrained")
        ax = figure.add_subplot()
    colours = {"<=": "C3", ">=": "C0", "=": "C2"}
    for i, b in enumerate(drawn):
        ax.plot([b.measured, b.value], [i, i], color=colours[b.side], linewidth=1.2, zorder=1)
    for side, marker, label in (("<=", "<", "at most"), (">=", ">", "at least"), ("=", "D", "equal to")):
        of_side = [(b.value, i) for i, b in enumerate(drawn) if b.side == side]
        if of_side:
            ax.scatter(*zip(*of_side, strict=True), marker=marker, color=colours[side], label=label, zorder=2)
    if drawn:
        ax.scatter([b.measured for b in drawn], range(len(drawn)), color=_DARK, s=18, label="measured", zorder=3)
        largest = max(max(abs(b.value), abs(b.measured)) for b in drawn)
        ax.set_xscale("symlog", linthresh=largest / 1000 if largest else 1.0, linscale=2.0)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    names = [f"{b.of}: {b.name}{f', κ {b.kappa}' if b.kappa else ''}" for b in drawn]
    ax.set_yticks(range(len(drawn)), labels=names)
    ax.invert_yaxis()
    missing = len(bounds) - len(drawn)
    note = f"\n{missing} of {len(bounds)} bounds not drawn: undefined or infinite" if missing else ""
    ax.set_xlabel(f"in units of the loss (Ã_2: of f2²){note}")
    ax.grid(axis="x", color=_UNDEFINED, linewidth=0.6)
    ax.set_axisbelow(True)
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
    names = _labels(categories)

    left = _MARGIN + (max(map(_width, names)) + _GAP if categories else 64 + (_LABEL + _GAP if y_label else 0))
    top = _MARGIN + _TITLE + 2 * _GAP
    plot_width, plot_height = 480, max(22 * len(categories), 120) if categories else 320
    x = _Axis.over(along, log_x, left, left + plot_width)
    if categories:
        y = _Axis(-0.5, len(categories) - 0.5, False, top, top + plot_height)
    else:
        y = _Axis.over(across.ravel(), log_y, top + plot_height, top)
    missing = [(s.name, len(s.x) - len(points)) for s, points in zip(series, kept, strict=True)]
    notes = [f"{name}: {count} not drawn, undefined or not positive" for name, count in missing if count]
    legend = left + plot_width + 2 * _GAP
    width = max(
        legend + 28 + max(_width(s.name) for s in series) + _MARGIN,
        2 * _MARGIN + _width(title, _TITLE),
        2 * _MARGIN + max(map(_width, notes), default=0),
    )
    under = top + plot_height + _LABEL + 2 * _GAP
    height = under + _LABEL + _GAP + len(notes) * (_LABEL + 6) + _MARGIN

    parts = _document(width, height, title, _chart_description(title, series, categories))
    for value, text in x.ticks():
        at = _px(x(value))
        parts.append(f'<path d="M{at} {_px(top)}v{_px(plot_height)}" stroke="{_UNDEFINED}"/>')
        parts.append(_text(x(value), top + plot_height + _LABEL + 4, text, anchor="middle"))
    for value, text in enumerate(names) if categories else y.ticks():
        parts.append(f'<path d="M{_px(left)} {_px(y(value))}h{plot_width}" stroke="{_UNDEFINED}"/>')
        parts.append(_text(left - _GAP, y(value), text, anchor="end", middle=True))
    parts.append(_text(left + plot_width / 2, under + _LABEL, x_label, anchor="middle"))
    if y_label:
        at = f"{_px(_MARGIN + _LABEL)} {_px(top + plot_height / 2)}"
        turn = f'transform="rotate(-90 {at})"'
        parts.append(_text(_MARGIN + _LABEL, top + plot_height / 2, y_label, anchor="middle", extra=turn))
    for k, (s, points) in enumerate(zip(series, kept, strict=True)):
        ink = _INKS[k % len(_INKS)]
        parts += _drawn(s, points, x, y, ink, k, bool(categories))
        row = top + _LABEL + k * (_LABEL + 8)
        if s.line or s.dashed:
            dashes = ' stroke-dasharray="5 4"' if s.dashed else ""
            parts.append(f'<path d="M{_px(legend)} {_px(row)}h20" stroke="{ink}" stroke-width="2"{dashes}/>')
        if not s.dashed:
            parts.append(_mark(legend + 10, row, k, ink))
        parts.append(_text(legend + 28, row, s.name, middle=True))
    for line, note in enumerate(notes, 1):
        parts.append(_text(_MARGIN, under + _LABEL + _GAP + line * (_LABEL + 6), note, fill=_MUTED))
    return "\n".join([*parts, "</svg>"]) + "\n"


def stacked_svg(pictures: Sequence[str], *, title: str) -> str:
    """SVG documents below each other in one.

    Parameters
    ----------
    pictures : sequence of str
        From `chart_svg` and `heatmap_svg`.
    title : str
        Above them all.

    Returns
    -------
    str
        An SVG document.

    Examples
    --------
    >>> part = chart_svg([Series("a", [1.0], [2.0])], title="part", x_label="x")
    >>> stacked_svg([part, part], title="whole").count("<svg")
    3
    """
    sizes = [(float(w), float(h)) for picture in pictures for w, h in _SIZE.findall(picture)[:1]]
    width = max(*(w for w, _ in sizes), 2 * _MARGIN + _width(title, _TITLE + 2))
    top = float(_MARGIN + _TITLE + _GAP)
    parts = _document(width, top + sum(h for _, h in sizes), title, "", size=_TITLE + 2)
    for picture, (_, height) in zip(pictures, sizes, strict=True):
        parts.append(picture.replace("<svg ", f'<svg y="{_px(top)}" ', 1))
        top += height
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
            return _ticks(self.low, self.high)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for digits in ((1,), (1, 2, 5)):
            every = [d * 10.0**k for k in decades for d in digits if self.low <= k + math.log10(d) <= self.high]
            if len(every) >= 3:
                return [(value, f"{value:.4g}") for value in every[:: math.ceil(len(every) / 9)]]
        return _ticks(10.0**self.low, 10.0**self.high)


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
    path = [f"{_px(x(a))} {_px(y(b))}" for a, b, *_ in points]
    if interval and s.line:
        above = [f"{_px(x(a))} {_px(y(high))}" for a, _, _, high in points]
        below = [f"{_px(x(a))} {_px(y(low))}" for a, _, low, _ in points[::-1]]
        yield f'<path d="M{"L".join([*above, *below])}Z" fill="{ink}" fill-opacity="0.15" stroke="none"/>'
    if s.line or s.dashed:
        dashes = ' stroke-dasharray="5 4"' if s.dashed else ""
        yield f'<path d="M{"L".join(path)}" fill="none" stroke="{ink}" stroke-width="2"{dashes}/>'
    if s.dashed:
        return
    for a, b, low, high in points:
        if interval and not s.line:
            ends = (x(low), y(b), x(high), y(b)) if along_x else (x(a), y(low), x(a), y(high))
            across = "{} {}L{} {}".format(*map(_px, ends))
            yield f'<path d="M{across}" stroke="{ink}" stroke-width="1.5"/>'
        where = f"{a:.4g}" if along_x else f"{a:.4g}, {b:.4g}"
        shown = f" ({low:.4g} to {high:.4g})" if interval else ""
        yield f"<g><title>{_xml(s.name)}: {where}{shown}</title>{_mark(x(a), y(b), k, ink)}</g>"


def _mark(x: float, y: float, k: int, ink: str) -> str:
    """A circle, square, triangle or diamond: series stay apart without their colours."""
    if k % 4 == 0:
        return f'<circle cx="{_px(x)}" cy="{_px(y)}" r="3.5" fill="{ink}"/>'
    corners = "L".join(f"{_px(x + a)} {_px(y + b)}" for a, b in _SHAPES[k % 4 - 1])
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


def _document(width: float, height: float, title: str, description: str, size: int = _TITLE) -> list[str]:
    """An SVG's first lines."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_px(width)} {_px(height)}" '
        f'width="{_px(width)}" height="{_px(height)}" font-family="{_FONT}" font-size="{_LABEL}">',
        f"<title>{_xml(title)}</title>",
        f"<desc>{_xml(description)}</desc>",
        f'<rect width="100%" height="100%" fill="{_LIGHT}"/>',
        _text(_MARGIN, _MARGIN + size - 2, title, size=size, extra='font-weight="600"'),
    ]


def _limits(values: Array, measure: str) -> tuple[float, float]:
    """The ends of the colour scale."""
    finite = values[np.isfinite(values)]
    low = min(0.0, float(finite.min(initial=0.0)))
    high = 1.0 if measure in _BOUNDED else float(finite.max(initial=0.0))
    return low, high if high > low else low + 1.0


def _best(values: Array) -> list[int | None]:
    """The column of each row's largest value, the first of equals; None where a row has none."""
    known = np.where(np.isfinite(values), values, -np.inf)
    return [int(row.argmax()) if np.isfinite(row).any() else None for row in known]


def _colour(value: float, limits: tuple[float, float]) -> tuple[int, int, int]:
    low, high = limits
    position = (value - low) / (high - low) * (len(_MAGMA) - 1)
    steps = np.arange(len(_MAGMA))
    red, green, blue = (round(float(np.interp(position, steps, _MAGMA[:, k]))) for k in range(3))
    return red, green, blue


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _ink(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever has the larger contrast (WCAG 2 relative luminance)."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _DARK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else _LIGHT


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    size: float


def _cell(box: _Box, value: float, name: str, shown: Grid, *, write: bool, dot: bool) -> Iterable[str]:
    x, y, size = box.x, box.y, box.size
    known = math.isfinite(value)
    colour = shown.colour(value) if known else None
    yield f"<g><title>{_xml(name)}: {f'{value:.4g}' if known else 'undefined'}</title>"
    square = f'<rect x="{_px(x)}" y="{_px(y)}" width="{_px(size)}" height="{_px(size)}"'
    if colour is None:
        thirds = [size * k / 3 for k in (1, 2, 3)]
        lines = [f"M{_px(x)} {_px(y + t)}L{_px(x + t)} {_px(y)}" for t in thirds]
        lines += [f"M{_px(x + t)} {_px(y + size)}L{_px(x + size)} {_px(y + t)}" for t in thirds[:2]]
        yield f'{square} fill="{_UNDEFINED}"/><path d="{"".join(lines)}" stroke="{_HATCH}" class="undefined"/>'
    else:
        yield f'{square} fill="{_hex(colour)}" shape-rendering="crispEdges"/>'
        if write:
            centre = x + size / 2, y + size * 0.56
            yield _text(*centre, _number(value), size=_NUMBER, anchor="middle", middle=True, fill=_ink(colour))
        if dot:
            at, radius = (y + size * 0.2, 3.0) if write else (y + size / 2, min(3.5, size * 0.22))
            circle = f'<circle cx="{_px(x + size / 2)}" cy="{_px(at)}" r="{_px(radius)}"'
            yield f'{circle} fill="{_ink(colour)}" class="best"/>'
    yield "</g>"


def _colour_bar(
    left: float, top: float, height: float, shown: Grid, ticks: Sequence[tuple[float, str]]
) -> Iterable[str]:
    low, high = shown.limits
    step = height / _BAR_STEPS
    for k in range(_BAR_STEPS):
        colour = _hex(shown.colour(high - (k + 0.5) / _BAR_STEPS * (high - low)))
        yield (
            f'<rect x="{_px(left)}" y="{_px(top + k * step)}" width="{_BAR}" height="{_px(step + 0.5)}" '
            f'fill="{colour}"/>'
        )
    for value, text in ticks:
        y = top + (high - value) / (high - low) * height
        yield f'<path d="M{_px(left + _BAR)} {_px(y)}h4" stroke="{_MUTED}"/>'
        yield _text(left + _BAR + _GAP, y, text, middle=True)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Three to seven round numbers between low and high, each with its text."""
    span = high - low
    power = 10.0 ** (math.floor(math.log10(span)) - 1)
    step = next(factor * power for factor in (1, 2, 5, 10, 20, 50) if span <= 6.5 * factor * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(k * step, f"{k * step:.6g}") for k in range(first, last + 1)]


def _notes(shown: Grid) -> list[str]:
    notes = ["best match in its row"]
    if not np.isfinite(shown.values).all():
        reasons = list(dict.fromkeys(shown.reasons))
        notes += ["hatched: undefined", *(_short(reason, 80) for reason in reasons[:3])]
        if len(reasons) > 3:
            notes.append(f"and {len(reasons) - 3} more")
    return notes


def _description(shown: Grid) -> str:
    """The picture in words, for who cannot see it."""
    rows, columns = shown.values.shape
    matches = [
        f"{name}: {shown.columns[j]} ({shown.values[i, j]:.3g})" if j is not None else f"{name}: undefined"
        for i, (name, j) in enumerate(zip(shown.rows, shown.matches, strict=True))
    ]
    return (
        f"Heat map of {shown.caption}, n = {shown.n}, between {rows} layers, one a row, and {columns} layers, one a "
        f"column. Best match of each row: {'; '.join(matches)}."
    )


def _every(count: int, room: float, cell: float) -> range:
    """The labels that have room."""
    return range(0, count, math.ceil(room / cell))


def _labels(names: Sequence[str]) -> list[str]:
    """The names, or what tells them apart where they are too long."""
    if len(names) < 2 or max(map(len, names)) <= _LONGEST:
        return [_short(name) for name in names]
    head, tail = _shared(names), _shared([name[::-1] for name in names])
    cut = [name[head : max(head, len(name) - tail)] for name in names]
    return [_short(f"{'…' if head else ''}{name}{'…' if tail else ''}") for name in cut]


def _shared(names: Sequence[str]) -> int:
    """How many leading characters all names have in common, up to a separator."""
    same = 0
    for letters in zip(*names, strict=False):
        if len(set(letters)) > 1:
            break
        same += 1
    return max(names[0].rfind(separator, 0, same) + 1 for separator in "./_-: ")


def _short(text: str, longest: int = _LONGEST) -> str:
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[head + 1 - longest :]}"


def _width(text: str, size: float = _LABEL) -> float:
    """Room for the text in pixels, on the generous side: fonts differ."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return size * (0.6 * len(text) + 0.5 * wide)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = _LABEL,
    anchor: str = "start",
    middle: bool = False,
    fill: str = _DARK,
    extra: str = "",
) -> str:
    y += 0.35 * size if middle else 0  # dominant-baseline is not understood everywhere
    attributes = f'x="{_px(x)}" y="{_px(y)}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {attributes}{' ' + extra if extra else ''}>{_xml(text)}</text>"


def _number(value: float) -> str:
    """What fits into a cell."""
    if value == 0 or 0.005 <= abs(value) < 100:
        return f"{value:.2f}"
    return f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _xml(text: str) -> str:
    return escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text)))
