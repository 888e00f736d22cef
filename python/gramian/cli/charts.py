"""A chart of single values, as SVG without any plotting package or by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gramian.show.charts import Series


@dataclass(frozen=True)
class Chart:
    """Series over one axis; with categories, one below the other."""

    series: Sequence[Series]
    title: str
    x_label: str
    y_label: str = ""
    categories: Sequence[str] = ()

    @property
    def drawable(self) -> bool:
        """Whether anything measured, which is the first series, is defined."""
        first = self.series[0]
        return any(math.isfinite(x) and math.isfinite(y) for x, y in zip(first.x, first.y, strict=True))

    @property
    def size(self) -> tuple[float, float]:
        return (10.0, 1.4 + 0.32 * len(self.categories)) if self.categories else (6.4, 4.2)

    def svg(self) -> str:
        from gramian.show.charts import chart_svg

        return chart_svg(
            self.series, title=self.title, x_label=self.x_label, y_label=self.y_label, categories=self.categories
        )

    def plot(self, ax: Any) -> None:
        for k, series in enumerate(self.series):
            style: dict[str, Any] = {
                "label": series.name,
                "color": f"C{k}",
                "marker": "os^D"[k % 4],
                "markersize": 5,
                "capsize": 2.5,
            }
            if series.low is not None and series.high is not None:
                ends = zip(series.x, series.low, series.high, strict=True)
                style["xerr"] = list(zip(*((x - low, high - x) for x, low, high in ends), strict=True))
            ax.errorbar(series.x, series.y, linestyle="-" if series.line else "none", **style)
        if self.categories:
            ax.set_yticks(range(len(self.categories)), labels=self.categories)
            ax.invert_yaxis()
        ax.set(title=self.title, xlabel=self.x_label, ylabel=self.y_label)
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
