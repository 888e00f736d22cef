"""Charts on matplotlib's axes: the values of a null, and lines over numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_SIZE = (6.0, 3.6)
_GRID = "#dddddd"


def new_axes(ax: Any, size: tuple[float, float] = _SIZE) -> Any:
    """The axes that were given, or those of a new figure.

    Raises
    ------
    ImportError
        Without matplotlib.
    TypeError
        `ax` is something else, a figure, say.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot() needs matplotlib: pip install 'gramian[viz]'") from error
    if ax is not None:
        return check_axes(ax)
    return pyplot.figure(figsize=size, layout="constrained").add_subplot()


def check_axes(ax: Any) -> Any:
    """`ax`, if it can be drawn on; None as well, for those of a new figure."""
    if ax is None or hasattr(ax, "set_xlabel"):
        return ax
    kind = type(ax).__name__
    hint = ", whose axes figure.gca() gives" if kind == "Figure" else ""
    hint = f" of shape {ax.shape}; give one of them, as ax[0]" if getattr(ax, "shape", ()) else hint
    raise TypeError(f"ax must be axes of matplotlib, as plt.gca() gives, got {kind}{hint}")


def check_limits(limits: Any) -> tuple[float, float] | None:
    """Both ends of a scale, if they are some."""
    if limits is None:
        return None
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        raise TypeError(f"limits must be two numbers, (low, high), got {limits!r:.60}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"limits must be finite, the lower one first, got ({low:g}, {high:g})")
    return low, high


def histogram(
    values: Array,
    marks: Sequence[tuple[float, str]],
    *,
    x_label: str,
    ax: Any = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    annotate: str | None = None,
) -> Any:
    """Values as a histogram, and single ones beside them as lines; what is not finite is left out, and said below.

    Parameters
    ----------
    values : array of shape (m,)
    marks : sequence of (value, name)
    x_label : str
    ax : matplotlib axes, optional
    title : str, optional
    limits : (low, high), optional
        Of the axis of values.
    annotate : str, optional
        A text in the corner.

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
    ax = new_axes(ax)
    finite = values[np.isfinite(values)]
    if len(finite):
        ax.hist(
            finite, bins="auto" if np.ptp(finite) > 0 else 1, color="C7", alpha=0.7, label=f"{len(finite)} permutations"
        )
    styles = ["-", "--", ":"]
    drawn = [(value, name) for value, name in marks if math.isfinite(value)]
    for k, (value, name) in enumerate(drawn):
        ax.axvline(value, color=f"C{k}", linestyle=styles[k % 3], linewidth=2, label=name)
    missing = len(values) - len(finite) + len(marks) - len(drawn)
    _labelled(ax, f"{x_label}\n{missing} not drawn: undefined" if missing else x_label, "count", title)
    if limits is not None:
        ax.set_xlim(*limits)
    if annotate:
        ax.text(0.02, 0.97, annotate, transform=ax.transAxes, va="top", ha="left", fontsize="small")
    if len(finite) or drawn:
        ax.legend(frameon=False, fontsize="small")
    return ax


@dataclass(frozen=True, eq=False)
class Line:
    """Points in their order, with the half width of a band around them."""

    name: str
    x: Array
    y: Array
    band: Array | None = None


def lines(
    drawn: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    ax: Any = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    annotate: bool = False,
    log_x: bool = False,
    log_y: bool = False,
) -> Any:
    """Lines with marks, a band around each that has one; points that an axis has no place for are left out.

    Parameters
    ----------
    drawn : sequence of Line
        With a single one there is no legend.
    x_label, y_label : str
    ax : matplotlib axes, optional
    title : str, optional
    limits : (low, high), optional
        Of the vertical axis.
    annotate : bool
        Write its value beside each point.
    log_x, log_y : bool

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
    ax = new_axes(ax)
    missing = 0
    for k, line in enumerate(drawn):
        kept = np.isfinite(line.x) & np.isfinite(line.y) & ((line.x > 0) | (not log_x)) & ((line.y > 0) | (not log_y))
        missing += int((~kept).sum())
        x, y = line.x[kept], line.y[kept]
        ax.plot(x, y, marker="o", markersize=4, color=f"C{k}", label=line.name)
        if line.band is not None and len(x):
            ax.fill_between(x, y - line.band[kept], y + line.band[kept], color=f"C{k}", alpha=0.2, linewidth=0)
        if annotate:
            for a, b in zip(x, y, strict=True):
                ax.annotate(
                    f"{b:.3g}", (a, b), textcoords="offset points", xytext=(0, 5), ha="center", fontsize="small"
                )
    if log_x:
        ax.set_xscale("log")
    if log_y:
        ax.set_yscale("log")
    _labelled(ax, f"{x_label}\n{missing} points not drawn" if missing else x_label, y_label, title)
    if limits is not None:
        ax.set_ylim(*limits)
    if len(drawn) > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _labelled(ax: Any, x_label: str, y_label: str, title: str | None) -> None:
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    if title is not None:
        ax.set_title(title)
    ax.grid(color=_GRID, linewidth=0.6)
    ax.set_axisbelow(True)
