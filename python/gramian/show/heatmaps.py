"""Heat maps of layer × layer matrices and charts: SVG strings without any plotting package, or matplotlib axes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gramian.show.axes import check_axes, check_limits
from gramian.show.svg import (
    DARK,
    GAP,
    HATCH,
    LABEL,
    LIGHT,
    MARGIN,
    MUTED,
    NUMBER,
    TITLE,
    UNDEFINED,
    escaped,
    hex_of,
    in_words,
    opened,
    pixels,
    px,
    round_steps,
    shortened,
    text_at,
    told_apart,
    width_of,
)

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
_ROTATION = 40  # degrees, of column labels that do not fit
_FLAT = 36  # labels up to this width are thinned out rather than rotated
_BAR, _BAR_STEPS = 14, 64
FEW = 144  # cells of a picture in a notebook that each have their own words


class Measured(Protocol):
    """What a heat map reads of a matrix of measures; `AlignmentMatrix` has it."""

    @property
    def values(self) -> Array: ...  # (L1, L2)
    @property
    def rows(self) -> Sequence[str]: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def caption(self) -> str: ...
    @property
    def best_is(self) -> str: ...  # "largest" or "smallest"
    @property
    def limits(self) -> tuple[float | None, float | None]: ...  # of the measure
    @property
    def n(self) -> int: ...
    @property
    def reasons(self) -> Mapping[str, str]: ...


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

    @property
    def colours(self) -> NDArray[np.uint8]:
        """(L1, L2, 3) those of all values, grey where there is none."""
        known = np.isfinite(self.values)
        found = np.full((*self.values.shape, 3), int(UNDEFINED[1:3], 16), dtype=np.uint8)
        low, high = self.limits
        values = self.values[known] if self.best == "largest" else low + high - self.values[known]
        position, steps = (values - low) / (high - low) * (len(_MAGMA) - 1), np.arange(len(_MAGMA))
        found[known] = np.rint(np.stack([np.interp(position, steps, _MAGMA[:, k]) for k in range(3)], axis=1))
        return found


def grid(matrix: Measured | Grid) -> Grid:
    """A matrix of measures as a heat map shows it."""
    if isinstance(matrix, Grid):
        return matrix
    values = np.asarray(matrix.values, dtype=float)
    reasons = list(matrix.reasons.values())
    ends = limits_of(values, matrix.limits[1])
    return Grid(values, matrix.rows, matrix.columns, matrix.caption, matrix.n, reasons, ends, matrix.best_is)


def heatmap_svg(matrix: Measured | Grid, *, title: str | None = None, tooltips: bool = True) -> str:
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
    tooltips : bool
        Without, no cell is an element of its own, and the picture of 96 × 96 layers stays small.

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
    row_labels, column_labels = told_apart(shown.rows), told_apart(shown.columns)
    widest_column = max(map(width_of, column_labels))
    rotated = widest_column > max(cell - 4, _FLAT)
    slope = math.radians(_ROTATION)

    # ---- where things are: labels | cells | colour bar, and from the top title, cells, column labels, notes
    left = MARGIN + max(map(width_of, row_labels)) + GAP
    if rotated:  # the first label leans out to the left
        left = max(left, MARGIN + widest_column * math.cos(slope) - cell / 2)
    left, top = math.ceil(left), MARGIN + TITLE + 2 * GAP
    right, bottom = left + columns * cell, top + rows * cell
    bar_left, bar_height = right + 2 * GAP, max(rows * cell, 100)
    ticks = round_steps(*limits)
    under = bottom + GAP + (widest_column * math.sin(slope) + LABEL if rotated else LABEL)
    under = max(under, top + bar_height + LABEL)
    notes = _notes(shown, hatched=tooltips)
    width = max(
        bar_left + _BAR + GAP + max(width_of(text) for _, text in ticks) + MARGIN,
        2 * MARGIN + width_of(heading, TITLE),
        2 * MARGIN + GAP + max(map(width_of, notes)),
    )
    height = under + GAP + len(notes) * (LABEL + 6) + MARGIN - 6

    parts = opened(width, height, heading, _description(shown))
    if tooltips:
        for i, j in np.ndindex(rows, columns):
            box = _Box(left + j * cell, top + i * cell, cell)
            name = f"{shown.rows[i]}, {shown.columns[j]}"
            parts += _cell(box, float(values[i, j]), name, shown, write=columns <= 12 and cell >= 40, dot=best[i] == j)
    else:
        parts.append(pixels(shown.colours, left, top, cell))
        for i, found in enumerate(best):
            if found is not None:
                box = _Box(left + found * cell, top + i * cell, cell)
                parts.append(_dot(box, _ink(shown.colour(float(values[i, found]))), write=False))
    for i in _every(rows, LABEL + 2, cell):
        parts.append(text_at(left - GAP, top + (i + 0.5) * cell, row_labels[i], anchor="end", middle=True))
    for j in _every(columns, LABEL + 2 if rotated else widest_column + 6, cell):
        x = left + (j + 0.5) * cell
        if rotated:
            turn = f'transform="rotate(-{_ROTATION} {px(x)} {px(bottom + GAP)})"'
            parts.append(text_at(x, bottom + GAP + LABEL * 0.5, column_labels[j], anchor="end", extra=turn))
        else:
            parts.append(text_at(x, bottom + GAP + LABEL * 0.8, column_labels[j], anchor="middle"))
    parts += _colour_bar(bar_left, top, bar_height, shown, ticks)
    for k, note in enumerate(notes):
        y = under + GAP + (k + 0.5) * (LABEL + 6)
        if k == 0:
            parts.append(f'<circle cx="{px(MARGIN + 4)}" cy="{px(y - 0.5)}" r="3.5" fill="{MUTED}"/>')
        parts.append(text_at(MARGIN + (14 if k == 0 else 0), y, note, middle=True, fill=MUTED))
    return "\n".join([*parts, "</svg>"]) + "\n"


def heatmap(
    matrix: Measured | Grid,
    ax: Any = None,
    *,
    title: str | None = None,
    cmap: Any = None,
    limits: tuple[float, float] | None = None,
    annotate: bool | None = None,
) -> Any:
    """Draw a layer × layer matrix with matplotlib.

    Parameters
    ----------
    matrix : AlignmentMatrix
    ax : matplotlib axes, optional
        Left out: those of a new figure.
    title : str, optional
        Left out: none.
    cmap : str or matplotlib Colormap, optional
        Left out: "magma", the bright end the better one.
    limits : (low, high), optional
        The ends of the colour scale; left out, those of `heatmap_svg`.
    annotate : bool, optional
        Write the values into the cells; left out, only where there are no more than 12 columns and 12 rows.

    Returns
    -------
    matplotlib axes
        With the best match of each row marked by a dot, undefined cells hatched, the reasons of those below them, and a
        colour bar beside them.

    Raises
    ------
    ImportError
        Without matplotlib.
    TypeError, ValueError
        `ax` are no axes, `cmap` no colours or `limits` no limits.
    """
    try:
        import matplotlib.colors
        from matplotlib import pyplot
        from matplotlib.patches import Rectangle
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'gramian[viz]'; heatmap_svg does not") from error

    shown = grid(matrix)
    ax, (low, high) = check_axes(ax), check_limits(limits) or shown.limits
    values = shown.values
    wanted = ("magma" if shown.best == "largest" else "magma_r") if cmap is None else cmap
    if isinstance(wanted, str) and wanted not in matplotlib.colormaps:
        near = get_close_matches(wanted, list(matplotlib.colormaps), 1)
        meant = f"; did you mean {near[0]!r}?" if near else "; matplotlib.colormaps lists them"
        raise ValueError(f"cmap {wanted!r:.60} is not the name of a colour map{meant}")
    if not isinstance(wanted, str | matplotlib.colors.Colormap):
        raise TypeError(f"cmap must be a colour map of matplotlib or its name, got {type(wanted).__name__}")
    rows, columns = values.shape
    write = max(rows, columns) <= 12 if annotate is None else annotate
    if ax is None:
        figure = pyplot.figure(figsize=(2.2 + 0.45 * columns, max(2.5, 1 + 0.4 * rows)), layout="constrained")
        ax = figure.add_subplot()
    masked = np.ma.masked_invalid(values)
    colours = (matplotlib.colormaps[wanted] if isinstance(wanted, str) else wanted).with_extremes(bad=UNDEFINED)
    image = ax.imshow(masked, vmin=low, vmax=high, cmap=colours, aspect="auto")  # "equal" would leave the bar taller
    for i, j in np.argwhere(~np.isfinite(values)):
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="///", edgecolor=HATCH, linewidth=0))
    inks = [[_ink(tuple(round(255 * part) for part in rgba[:3])) for rgba in row] for row in image.to_rgba(values)]
    dots = [(j, i) for i, j in enumerate(shown.matches) if j is not None]
    if dots:
        above = [(j, i - 0.3 * write) for j, i in dots]  # the number
        ax.scatter(*zip(*above, strict=True), s=14, c=[inks[i][j] for j, i in dots], label="best match in its row")
    if write:
        for i, j in np.argwhere(np.isfinite(values)):
            ax.text(j, i, in_words(values[i, j]), ha="center", va="center", fontsize="small", color=inks[i][j])
    for axis, names in ((ax.yaxis, shown.rows), (ax.xaxis, shown.columns)):
        places, labels = list(_every(len(names), LABEL + 2, 640 / max(rows, columns))), told_apart(names)
        axis.set_ticks(places, labels=[labels[i] for i in places])
    if max(map(width_of, told_apart(shown.columns))) > _FLAT:
        for label in ax.get_xticklabels():
            label.set(rotation=_ROTATION, ha="right", rotation_mode="anchor")
    if not np.isfinite(values).all():
        ax.set_xlabel(
            "\n".join(textwrap.fill(note, 60) for note in _notes(shown, hatched=True)[1:]), loc="left", fontsize="small"
        )
    ax.figure.colorbar(image, ax=ax, label=shown.caption)
    if title is not None:
        ax.set_title(title)
    return ax


def limits_of(values: Array, top: float | None) -> tuple[float, float]:
    """The ends of the colour scale: from 0, or below it, to the largest value that there may be, or that there is."""
    finite = values[np.isfinite(values)]
    low = min(0.0, float(finite.min(initial=0.0)))
    high = float(finite.max(initial=0.0)) if top is None else top
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


def _ink(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever has the larger contrast (WCAG 2 relative luminance)."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return DARK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else LIGHT


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    size: float


def _cell(box: _Box, value: float, name: str, shown: Grid, *, write: bool, dot: bool) -> Iterable[str]:
    x, y, size = box.x, box.y, box.size
    known = math.isfinite(value)
    colour = shown.colour(value) if known else None
    yield f"<g><title>{escaped(name)}: {f'{value:.4g}' if known else 'undefined'}</title>"
    square = f'<rect x="{px(x)}" y="{px(y)}" width="{px(size)}" height="{px(size)}"'
    if colour is None:
        thirds = [size * k / 3 for k in (1, 2, 3)]
        lines = [f"M{px(x)} {px(y + t)}L{px(x + t)} {px(y)}" for t in thirds]
        lines += [f"M{px(x + t)} {px(y + size)}L{px(x + size)} {px(y + t)}" for t in thirds[:2]]
        yield f'{square} fill="{UNDEFINED}"/><path d="{"".join(lines)}" stroke="{HATCH}" class="undefined"/>'
    else:
        yield f'{square} fill="{hex_of(colour)}" shape-rendering="crispEdges"/>'
        if write:
            centre = x + size / 2, y + size * 0.56
            yield text_at(*centre, in_words(value), size=NUMBER, anchor="middle", middle=True, fill=_ink(colour))
        if dot:
            yield _dot(box, _ink(colour), write=write)
    yield "</g>"


def _dot(box: _Box, ink: str, *, write: bool) -> str:
    at, radius = (box.y + box.size * 0.2, 3.0) if write else (box.y + box.size / 2, min(3.5, box.size * 0.22))
    return f'<circle cx="{px(box.x + box.size / 2)}" cy="{px(at)}" r="{px(radius)}" fill="{ink}" class="best"/>'


def _colour_bar(
    left: float, top: float, height: float, shown: Grid, ticks: Sequence[tuple[float, str]]
) -> Iterable[str]:
    low, high = shown.limits
    step = height / _BAR_STEPS
    for k in range(_BAR_STEPS):
        colour = hex_of(shown.colour(high - (k + 0.5) / _BAR_STEPS * (high - low)))
        yield (
            f'<rect x="{px(left)}" y="{px(top + k * step)}" width="{_BAR}" height="{px(step + 0.5)}" fill="{colour}"/>'
        )
    for value, text in ticks:
        y = top + (high - value) / (high - low) * height
        yield f'<path d="M{px(left + _BAR)} {px(y)}h4" stroke="{MUTED}"/>'
        yield text_at(left + _BAR + GAP, y, text, middle=True)


def _notes(shown: Grid, *, hatched: bool) -> list[str]:
    notes = ["best match in its row"]
    if not np.isfinite(shown.values).all():
        reasons = list(dict.fromkeys(shown.reasons))
        notes += [f"{'hatched' if hatched else 'grey'}: undefined", *(shortened(reason, 80) for reason in reasons[:3])]
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
