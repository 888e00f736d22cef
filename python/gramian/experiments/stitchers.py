"""What stitching costs against how far the features are from each other, for linear and other stitching maps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import gramian as gm
from gramian.experiments import networks
from gramian.experiments.cuts import Cut, Head, cut
from gramian.experiments.frame import Array, Outcome, Settings, rank_correlation
from gramian.show.charts import Series, chart_svg
from gramian.show.svg import stacked_svg

CLAIM = (
    "The risk of a network whose first layers are another's, stitched by a map s, is at most (√R₂ + κ₂√Ã₂(s))²: little "
    "misalignment means little stitching error, whatever the map (Insulla, Huang, Rosasco 2025)."
)
NEEDS = ("torch", "sklearn")
LANDMARKS = 300  # of kernel ridge regression
LINEAR = ("linear", "affine, ridge by GCV", "low rank")


@dataclass(frozen=True)
class Point:
    """One pair of networks, stitched by one map from one layer to another."""

    stitch: str
    seeds: tuple[int, int]
    source: int  # the layer of the first network, counted from 1
    target: int
    cut: Cut

    @property
    def excess(self) -> float:
        return self.cut.stitched - self.cut.own


def finding(points: Sequence[Point]) -> str:
    violated = sum(p.cut.violated for p in points)
    parts = [
        f"Over {len(points)} stitched networks the measured risk exceeds a bound in {violated} cases."
        if violated
        else f"Over {len(points)} stitched networks no bound is exceeded once."
    ]
    shares = {
        name: float(np.median([p.cut.stitched / getattr(p.cut, name) for p in points]))
        for name in ("effective", "refined", "certified")
    }
    useful = {name: sum(getattr(p.cut, name) < 1 for p in points) for name in shares}
    parts.append(
        "The measured risk is, in the median, "
        + ", ".join(f"{shares[name]:.2g} of the {name} bound" for name in shares)
        + "; below the risk of always predicting 0, and so not vacuous, are "
        + ", ".join(f"{useful[name]} ({name})" for name in useful)
        + f" of {len(points)}."
    )
    linear = [p for p in points if p.stitch in LINEAR]
    others = [p for p in points if p.stitch not in LINEAR]
    for name, chosen in (("linear", linear), ("nonlinear", others)):
        if chosen:
            within = [_ranked([p for p in chosen if p.target == layer]) for layer in sorted({p.target for p in chosen})]
            parts.append(
                f"Misalignment ranks the excess risk of {name} maps with a correlation of {_ranked(chosen):.2f}, among "
                f"those into the same layer of {', '.join(f'{rho:.2f}' for rho in within)} from the first to the last."
            )
    plain = {(p.seeds, p.source, p.target): p for p in points if p.stitch == "linear"}
    for name in dict.fromkeys(p.stitch for p in others):
        both = [(p, plain[p.seeds, p.source, p.target]) for p in others if p.stitch == name]
        nearer = sum(p.cut.misalignment < q.cut.misalignment for p, q in both)
        better = sum(p.cut.stitched < q.cut.stitched for p, q in both)
        parts.append(
            f"Maps by {name} come nearer to the features than linear ones in {nearer} of {len(both)} cases and to the "
            f"targets in {better}."
        )
    return " ".join(parts)


def _ranked(points: Sequence[Point]) -> float:
    return rank_correlation([p.cut.ratio for p in points], [p.excess for p in points])


def run(settings: Settings) -> Outcome:
    seeds, epochs, widths = (range(2), 4, (24, 24)) if settings.quick else (range(4), 40, (64, 64, 64))
    data = networks.digits()
    train, test, targets = data.training, data.held_out, data.targets
    found = [
        networks.train(
            networks.perceptron(widths, seed=seed), data.images[train], targets[train], epochs=epochs, seed=seed
        )
        for seed in seeds
    ]
    layers = [networks.layers(network, data.images) for network in found]
    heads = [[Head.of(networks.head(network, j + 1)) for j in range(len(widths))] for network in found]
    points = []
    for a, b in itertools.permutations(seeds, 2):
        for i, j in itertools.product(range(len(widths)), repeat=2):
            f1, f2 = layers[a][i], layers[b][j]
            for name, fit in _stitches(settings.quick).items():
                if name not in LINEAR and i != j:
                    continue
                stitch = fit(f1[train], f2[train])
                point = cut(stitch, heads[b][j], f1[test], f2[test], targets[test].astype(float))
                points.append(Point(name, (a, b), i + 1, j + 1, point))
    return Outcome(
        finding=finding(points),
        columns=(
            "stitch",
            "into layer",
            "stitched",
            "Ã₂ ratio",
            "R₂",
            "R stitched",
            "effective",
            "refined",
            "certified",
        ),
        rows=tuple(_rows(points)),
        figure=_figure(points),
        values={
            "n": len(test),
            "fitted_on": len(train),
            "seeds": seeds,
            "network": f"perceptrons of {list(widths)}, squared error of one-hot digits, {epochs} epochs",
            "accuracies": [networks.accuracy(n, data.images[test], data.labels[test]) for n in found],
            "kappa": [[head.kappa for head in row] for row in heads],
            "violations": sum(p.cut.violated for p in points),
            "points": [asdict(p) for p in points],
        },
    )


def _stitches(quick: bool) -> dict[str, Callable[[Array, Array], Any]]:
    return {
        "linear": lambda x, y: gm.fit_stitch(x, y),
        "affine, ridge by GCV": lambda x, y: gm.fit_stitch(x, y, kind="affine", ridge="gcv"),
        "low rank": lambda x, y: gm.fit_stitch(x, y, kind="low_rank", rank=8),
        "kernel ridge": lambda x, y: gm.fit_stitch(x, y, kind="kernel_ridge", ridge="gcv", rank=LANDMARKS),
        "trained module": lambda x, y: _trained(x, y, 5 if quick else 60),
    }


def _trained(x: Array, y: Array, epochs: int) -> Any:
    """One hidden layer, in float64 as the heads."""
    from torch import nn, random

    with random.fork_rng(devices=[]):
        random.manual_seed(0)
        module = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, y.shape[1])).double()
    return gm.train_stitch(module, x, y, epochs=epochs, batch=100, lr=5e-3)


def _rows(points: Sequence[Point]) -> list[tuple[str | int | float, ...]]:
    """The median over pairs of networks and source layers."""
    rows: list[tuple[str | int | float, ...]] = []
    for name, target in dict.fromkeys((p.stitch, p.target) for p in points):
        of = [p.cut for p in points if (p.stitch, p.target) == (name, target)]
        shown = ("ratio", "own", "stitched", "effective", "refined", "certified")
        rows.append((name, target, len(of), *(float(np.median([getattr(c, field) for c in of])) for field in shown)))
    return rows


def _figure(points: Sequence[Point]) -> str:
    names = list(dict.fromkeys(p.stitch for p in points))
    by_map = chart_svg(
        [
            Series(name, [p.cut.ratio for p in of], [p.cut.stitched for p in of])
            for name in names
            for of in [[p for p in points if p.stitch == name]]
        ],
        title="Risk of stitched networks against misalignment",
        x_label="Ã₂, as a share of the mean of ‖f₂‖²",
        y_label="risk on new images",
        log_x=True,
        log_y=True,
    )
    reach = [min(p.cut.stitched for p in points), max(p.cut.stitched for p in points)]
    bounds = chart_svg(
        [
            *(
                Series(f"{name} bound", [p.cut.stitched for p in points], [getattr(p.cut, name) for p in points])
                for name in ("effective", "refined", "certified")
            ),
            Series("measured", reach, reach, dashed=True),
            Series("always predicting 0", reach, [1.0, 1.0], dashed=True),
        ],
        title="Every bound beside the risk that it bounds",
        x_label="measured risk of the stitched network",
        y_label="bound",
        log_x=True,
        log_y=True,
    )
    return stacked_svg([by_map, bounds], title="Stitching error and misalignment")
