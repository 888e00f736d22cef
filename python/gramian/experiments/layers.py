"""The same layer across seeds should win: Kornblith's sanity check, for one measure after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import gramian as gm
from gramian.experiments import networks
from gramian.experiments.frame import Array, Outcome, Settings, listed
from gramian.show.charts import Series, chart_svg
from gramian.show.heatmaps import heatmap_svg
from gramian.show.svg import stacked_svg

if TYPE_CHECKING:
    from gramian.sweeps.estimators import Estimator, Measure

CLAIM = (
    "Between two networks that differ in their seed alone, a layer is most similar to the layer of the same depth "
    "(Kornblith et al. 2019, section 6.1)."
)
NEEDS = ("torch", "sklearn")
MEASURES: dict[str, Callable[[Array, Array], float]] = {
    "linear KA": lambda x, y: gm.kernel_alignment(x, y),
    "RBF KA": lambda x, y: gm.kernel_alignment(x, y, "rbf"),
    "linear CKA": lambda x, y: gm.cka(x, y),
    "RBF CKA": lambda x, y: gm.cka(x, y, "rbf"),
    "distance alignment": lambda x, y: -gm.distance_alignment(x, y, normalize="hs_norm"),
    "CCA": lambda x, y: gm.cca(x, y),
    "SVCCA": lambda x, y: gm.svcca(x, y),
    "PWCCA": lambda x, y: gm.pwcca(x, y),
    "regression R²": lambda x, y: gm.linear_regression_r2(x, y),
    "shape distance": lambda x, y: -gm.shape_distance(x, y),
    "Pearson RSA": lambda x, y: gm.rsa(x, y),
    "Spearman RSA": lambda x, y: gm.rsa(x, y, correlation="spearman"),
    "mutual 10-NN": lambda x, y: gm.mutual_knn(x, y, 10),
    "CKNNA of 10": lambda x, y: gm.cknna(x, y, 10),
}  # larger is more alike
ASYMMETRIC = ("PWCCA", "regression R²")


@dataclass(frozen=True)
class Score:
    """How one measure did."""

    measure: str
    hits: int  # layers whose best match has their depth, over all ordered pairs of networks
    tries: int
    on_average: int  # the same of the mean matrix
    layers: int

    @property
    def share(self) -> float:
        return self.hits / self.tries

    @property
    def passed(self) -> bool:
        """At most one layer of the mean matrix has another best match."""
        return self.on_average >= self.layers - 1


def score(measure: str, matrices: Sequence[Array]) -> Score:
    """From the matrices (layers × layers) of all ordered pairs of networks."""
    own = [int((m.argmax(axis=1) == np.arange(len(m))).sum()) for m in [*matrices, np.mean(matrices, axis=0)]]
    return Score(measure, sum(own[:-1]), sum(map(len, matrices)), own[-1], len(matrices[0]))


def finding(scores: Sequence[Score]) -> str:
    ranked = sorted(scores, key=lambda s: (-s.share, s.measure))
    best, worst = ranked[0], ranked[-1]
    passed = [s.measure for s in scores if s.passed]
    failed = [s.measure for s in scores if not s.passed]
    layers = best.layers
    if not failed:
        verdict = f"all {len(scores)} measures pass"
    elif not passed:
        verdict = f"none of the {len(scores)} measures passes"
    else:
        verdict = f"{len(passed)} of {len(scores)} measures pass ({listed(passed)}); {listed(failed)} do not"
    return (
        f"The layer of the same depth is the most similar one in {best.hits} of {best.tries} comparisons by "
        f"{best.measure}, the best here, and in {worst.hits} by {worst.measure}, the worst, where chance gives "
        f"{best.tries / layers:.0f}. On the mean over the pairs of networks, with at least {layers - 1} of {layers} "
        f"layers matched to their own depth, {verdict}."
    )


def run(settings: Settings) -> Outcome:
    width, depth, epochs, seeds = (12, 3, 2, range(2)) if settings.quick else (32, 6, 15, range(5))
    data = networks.digits()
    images, labels = data.images[data.held_out], data.labels[data.held_out]
    found, accuracies = [], []
    for seed in seeds:
        network = networks.train(
            networks.convolutional(width, depth, seed=seed),
            data.images[data.training],
            data.labels[data.training],
            epochs=epochs,
            seed=seed,
        )
        accuracies.append(networks.accuracy(network, images, labels))
        found.append(networks.layers(network, images))

    pairs = list(itertools.permutations(seeds, 2))
    matrices: dict[str, list[Array]] = {}
    for name, measure in MEASURES.items():
        known: dict[tuple[int, int], Array] = {}
        for a, b in pairs:
            symmetric = name not in ASYMMETRIC and (b, a) in known
            known[a, b] = known[b, a].T if symmetric else _matrix(measure, found[a], found[b])
        matrices[name] = list(known.values())
    scores = [score(name, every) for name, every in matrices.items()]
    means = {name: np.mean(every, axis=0) for name, every in matrices.items()}
    within = {name: np.mean([_matrix(MEASURES[name], x, x) for x in found], axis=0) for name in ("linear KA",)}

    return Outcome(
        finding=finding(scores),
        columns=("measure", "own depth wins", "of", "share", "on the mean", "same depth", "best other depth"),
        rows=tuple(
            (s.measure, s.hits, s.tries, s.share, f"{s.on_average} of {s.layers}", *_margin(means[s.measure]))
            for s in scores
        ),
        figure=_figure(scores, means, within["linear KA"], len(images)),
        values={
            "n": len(images),
            "seeds": seeds,
            "network": f"{depth} convolutions of {width} channels, {epochs} epochs, pooled over pixels",
            "accuracies": accuracies,
            "chance": 1 / depth,
            "mean_matrices": means,
            "within_one_network": within,
        },
    )


def _matrix(measure: Callable[[Array, Array], float], xs: Sequence[Array], ys: Sequence[Array]) -> Array:
    return np.array([[measure(x, y) for y in ys] for x in xs])


def _margin(mean: Array) -> tuple[float, float]:
    """Of the mean matrix: what layers of the same depth have, and the best others; distances have their sign back."""
    own = np.eye(len(mean), dtype=bool)
    sign = -1.0 if mean.max() <= 0 else 1.0
    return sign * float(mean[own].mean()), sign * float(np.where(own, -np.inf, mean).max(axis=1).mean())


def _figure(scores: Sequence[Score], means: dict[str, Array], within: Array, n: int) -> str:
    ranked = sorted(scores, key=lambda s: -s.share)
    rows, chance = list(range(len(ranked))), 1 / ranked[0].layers
    bars = chart_svg(
        [
            Series("all pairs", [s.share for s in ranked], rows),
            Series("mean matrix", [s.on_average / s.layers for s in ranked], rows),
            Series("chance", [chance, chance], [rows[0] - 0.5, rows[-1] + 0.5], dashed=True),
        ],
        title="Share of layers that are most similar to the layer of their own depth",
        x_label="share",
        categories=[s.measure for s in ranked],
    )
    maps: list[tuple[Array, Measure, Estimator, str]] = [
        (within, "kernel_alignment", "biased", "linear KA: layers of one network, mean over seeds"),
        (means["linear KA"], "kernel_alignment", "biased", "linear KA: between seeds, mean over pairs"),
        (means["linear CKA"], "cka", "unbiased", "linear CKA: between seeds, mean over pairs"),
    ]
    drawn = [
        heatmap_svg(_as_matrix(values, measure, estimator, n), title=title)
        for values, measure, estimator, title in maps
    ]
    return stacked_svg([bars, *drawn], title="The same layer across seeds")


def _as_matrix(values: Array, measure: Measure, estimator: Estimator, n: int) -> gm.AlignmentMatrix:
    names = tuple(f"layer {i + 1}" for i in range(len(values)))
    options = {"estimator": estimator, "kernel": "linear"}
    return gm.AlignmentMatrix(values, names, names, measure, options, n, {}, limits=(-1.0, 1.0))
