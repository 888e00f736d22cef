"""How far the kernel alignment of n samples is from the population's, beside the bounds that promise something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import gramian as gm
from gramian.experiments import networks
from gramian.experiments.frame import Array, Outcome, Settings, listed
from gramian.show.charts import Series, chart_svg
from gramian.show.svg import stacked_svg

CLAIM = (
    "The kernel alignment of n independent samples lies within √((32/n) log(2/δ)) of the population's with probability "
    "1 − δ (Insulla, Huang, Rosasco 2025). As it stands that needs kernels whose norms are not small; the interval of "
    "ka_interval needs bounded kernels only."
)
NEEDS = ("torch", "sklearn")
DELTA = 0.05


@dataclass(frozen=True)
class Case:
    """Two representations of a population, known to the last row, and their kernels."""

    name: str
    x: Array
    y: Array
    kernels: tuple[Any, Any]
    paired: bool  # or drawn independently of each other
    population: float  # KA


@dataclass(frozen=True)
class Point:
    """A case at one n, over all draws."""

    case: str
    n: int
    draws: int
    population: float
    deviation: float  # quantile 1 − δ of |Â − A|
    bound: float  # the paper's, at δ
    outside: int  # draws that the bound does not hold in
    half_width: float  # of the certified interval, mean over draws
    missed: int  # draws whose interval does not hold the population's value


def finding(points: Sequence[Point]) -> str:
    parts = []
    cases = list(dict.fromkeys(p.case for p in points))
    of = {case: [p for p in points if p.case == case] for case in cases}
    held = [case for case in cases if all(p.outside <= DELTA * p.draws for p in of[case])]
    if held:
        ratios = [p.bound / p.deviation for case in held for p in of[case] if p.deviation]
        how = f", {min(ratios):.0f} to {max(ratios):.0f} times what {1 - DELTA:.0%} of the draws show" if ratios else ""
        parts.append(f"The paper's bound holds for {listed(held)}{how}.")
    for case in cases:
        if case not in held:
            worst = max(of[case], key=lambda p: (p.outside / p.draws, -p.n))
            parts.append(
                f"It fails for {case}: at n = {worst.n} in {worst.outside} of {worst.draws} draws, where at most "
                f"{DELTA:.0%} may."
            )
    missed, draws = sum(p.missed for p in points), sum(p.draws for p in points)
    broken = [p for p in points if p.missed > DELTA * p.draws]
    last = [p for p in points if p.n == max(q.n for q in points)]
    widths = f"{min(p.half_width for p in last):.2f} to {max(p.half_width for p in last):.2f} at n = {last[0].n}"
    verdict = (
        f"misses the population in {missed} of {draws} draws, within its promise everywhere"
        if not broken
        else f"breaks its promise for {listed([f'{p.case} at n = {p.n}' for p in broken])}"
    )
    parts.append(f"The certified interval {verdict}; its half width is {widths}.")
    return " ".join(parts)


def run(settings: Settings) -> Outcome:
    sizes, draws, epochs = ((50, 200), 12, 3) if settings.quick else ((50, 100, 200, 500, 1000, 2000, 4000), 200, 20)
    data = networks.digits()
    network = networks.train(
        networks.perceptron((64, 64), seed=0),
        data.images[data.training],
        data.labels[data.training],
        epochs=epochs,
        seed=0,
    )
    x, y = data.images.astype(float), networks.layers(network, data.images)[-1]
    points = [_point(case, n, draws) for case in _cases(x, y) for n in sizes]
    return Outcome(
        finding=finding(points),
        columns=("case", "n", "KA", "95% of |Â − A|", "paper's bound", "fails", "certified ±", "misses", "of"),
        rows=tuple(
            (p.case, p.n, p.population, p.deviation, p.bound, p.outside, p.half_width, p.missed, p.draws)
            for p in points
        ),
        figure=_figure(points),
        values={
            "n": list(sizes),
            "population": len(x),
            "seeds": [0],
            "representations": "the 64 pixels of the images, and the last hidden layer of a network trained on them",
            "delta": DELTA,
            "draws": draws,
            "points": [asdict(p) for p in points],
        },
    )


def _cases(x: Array, y: Array) -> list[Case]:
    """The images are the population: rows drawn from them with replacement are independent samples of it."""
    medians = tuple(gm.median_bandwidth(rows) for rows in (x, y))

    def rbf(part: float) -> tuple[Any, Any]:
        return gm.RBF(bandwidth=part * medians[0]), gm.RBF(bandwidth=part * medians[1])

    cosine = (gm.Cosine(), gm.Cosine())
    return [
        Case("RBF of median width", x, y, rbf(1), True, _paired(x, y, rbf(1))),
        Case("RBF of a quarter of it", x, y, rbf(0.25), True, _paired(x, y, rbf(0.25))),
        Case("cosine", x, y, cosine, True, _paired(x, y, cosine)),
        Case("narrow RBF, unrelated rows", x, y, rbf(0.001), False, _independent(x, y, rbf(0.001))),
    ]


def _paired(x: Array, y: Array, kernels: tuple[Any, Any]) -> float:
    """KA of the population: every pair of its rows is equally likely, a row with itself too."""
    return gm.kernel_alignment(x, y, kernels[0], kernel_y=kernels[1], estimator="biased")


def _independent(x: Array, y: Array, kernels: tuple[Any, Any]) -> float:
    """E K · E L/√(E K² · E L²), where rows of x and of y are drawn apart."""
    ones = np.ones((len(x), 1))
    inner = gm.gram_moments(x, y, ones, kernel=(*kernels, gm.Linear())).inner_full
    k, l = (float(inner[i, 2]) / math.sqrt(float(inner[i, i]) * float(inner[2, 2])) for i in (0, 1))
    return k * l


def _point(case: Case, n: int, draws: int) -> Point:
    bound = gm.bounds.ka_concentration(n, DELTA)
    deviations, widths, missed = [], [], 0
    for draw in range(draws):
        rng = np.random.default_rng([n, draw])
        rows = rng.integers(len(case.x), size=n)
        others = rows if case.paired else rng.integers(len(case.y), size=n)
        moments = gm.gram_moments(case.x[rows], case.y[others], kernel=case.kernels)
        inner = moments.inner_full
        deviations.append(
            abs(float(inner[0, 1]) / math.sqrt(float(inner[0, 0]) * float(inner[1, 1])) - case.population)
        )
        interval = gm.bounds.ka_interval(moments, DELTA)
        widths.append((interval.high - interval.low) / 2)
        missed += case.population not in interval
    return Point(
        case=case.name,
        n=n,
        draws=draws,
        population=case.population,
        deviation=float(np.quantile(deviations, 1 - DELTA)),
        bound=bound,
        outside=sum(d > bound for d in deviations),
        half_width=float(np.mean(widths)),
        missed=missed,
    )


def _figure(points: Sequence[Point]) -> str:
    charts = []
    for case in dict.fromkeys(p.case for p in points):
        chosen = [p for p in points if p.case == case]
        n = [p.n for p in chosen]
        charts.append(
            chart_svg(
                [
                    Series(f"{1 - DELTA:.0%} of |Â − A|", n, [p.deviation for p in chosen], line=True),
                    Series("certified interval, half width", n, [p.half_width for p in chosen], line=True),
                    Series("paper's bound", n, [p.bound for p in chosen], dashed=True),
                ],
                title=f"{case}: KA of the population {chosen[0].population:.3g}",
                x_label="n, independent samples",
                y_label="distance from the population's KA",
                log_x=True,
                log_y=True,
            )
        )
    return stacked_svg(charts, title="Concentration of kernel alignment")
