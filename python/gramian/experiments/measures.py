"""One pair of models, many measures, each beside what chance gives it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gramian as gm
from gramian.experiments import encoders, networks
from gramian.experiments.frame import Array, Outcome, Settings, listed
from gramian.show.charts import Series, chart_svg
from gramian.show.svg import stacked_svg

CLAIM = (
    "Measures of alignment have different zeros and scales: what two models share can only be read beside what "
    "shuffled rows give, and beside what is left when rows are shuffled within their class."
)
NEEDS = ("torch", "sklearn")
LEVEL = 0.05
COMPONENTS = 50
EVERY = 2  # emoji: neighbours in the catalogue are often variants of each other


@dataclass(frozen=True)
class Measure:
    """A measure of `gm.null`, and how often rows are shuffled for it."""

    name: str
    function: Any  # the name of a measure
    options: dict[str, Any]
    permutations: int = 19  # the fewest that can give p = 0.05
    maximum: float | None = None  # of perfect agreement, where it is not 1
    components: bool = False  # of the leading principal components: with as many features as rows it would be perfect


MEASURES = (
    Measure("linear KA", "kernel_alignment", {}),
    Measure("linear CKA", "cka", {}, 99),
    Measure("biased linear CKA", "cka", {"estimator": "biased"}, 99),
    Measure("RBF CKA", "cka", {"kernel": "rbf"}, 99),
    Measure("distance alignment", "distance_alignment", {"normalize": "hs_norm"}, maximum=0.0),
    Measure(f"CCA of {COMPONENTS}", "cca", {}, 99, components=True),
    Measure(f"PWCCA of {COMPONENTS}", "pwcca", {}, 99, components=True),
    Measure(f"regression R² of {COMPONENTS}", "linear_regression_r2", {}, 99, components=True),
    Measure(f"shape distance of {COMPONENTS}", "shape_distance", {}, 99, 0.0, components=True),
    Measure("Pearson RSA", "rsa", {}, 99),
    Measure("Spearman RSA", "rsa", {"correlation": "spearman"}),
    Measure("mutual 10-NN", "mutual_knn", {"k": 10}),
    Measure("CKNNA of 10", "cknna", {"k": 10}),
)


@dataclass(frozen=True)
class Pair:
    """Two representations of the same samples, and the class of each sample."""

    name: str
    x: Array
    y: Array
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """A measure of a pair beside its two nulls."""

    pair: str
    measure: str
    value: float
    chance: float  # mean over shuffled rows
    chance_sd: float
    pvalue: float
    corrected: float  # 0 at chance, 1 at perfect agreement
    within: float  # mean over rows shuffled within their class
    within_sd: float
    within_pvalue: float
    permutations: int

    @property
    def of_classes(self) -> float:
        """How much of what is above chance the classes alone give."""
        above = self.pvalue <= LEVEL
        return (self.within - self.chance) / (self.value - self.chance) if above else math.nan


def finding(readings: Sequence[Reading]) -> str:
    parts = []
    for pair in dict.fromkeys(r.pair for r in readings):
        of = [r for r in readings if r.pair == pair]
        above = [r for r in of if r.pvalue <= LEVEL]
        kept = [r for r in above if r.within_pvalue <= LEVEL]
        rising = [r for r in of if math.isfinite(r.corrected)]
        least, most = (choose(rising, key=lambda r: r.corrected) for choose in (min, max))
        missed = [r.measure for r in of if r.pvalue > LEVEL]
        highest = max(of, key=lambda r: r.chance if "distance" not in r.measure else -1.0)
        parts.append(
            f"{pair}: {len(above)} of {len(of)} measures are above chance at p ≤ {LEVEL}"
            + (f" (not {listed(missed)})" if missed else "")
            + f" and {len(kept)} still when rows are shuffled within their class; chance alone gives up to "
            f"{highest.chance:.2f} ({highest.measure}), and corrected for it the same agreement reads from "
            f"{least.corrected:.2f} ({least.measure}) to {most.corrected:.2f} ({most.measure})."
        )
    return " ".join(parts)


def run(settings: Settings) -> Outcome:
    pairs, origin, notes = _pairs(settings)
    readings = [_reading(pair, measure, settings.quick) for pair in pairs for measure in MEASURES]
    return Outcome(
        finding=f"{origin} {finding(readings)}",
        columns=(
            "pair",
            "measure",
            "value",
            "chance",
            "± sd",
            "p",
            "corrected",
            "in class",
            "p in class",
            "of classes",
        ),
        rows=tuple(
            (
                r.pair,
                r.measure,
                r.value,
                r.chance,
                r.chance_sd,
                r.pvalue,
                r.corrected,
                r.within,
                r.within_pvalue,
                r.of_classes,
            )
            for r in readings
        ),
        figure=_figure(readings),
        values={
            "n": {pair.name: len(pair.x) for pair in pairs},
            "features": {pair.name: [pair.x.shape[1], pair.y.shape[1]] for pair in pairs},
            "seeds": [0],
            "real_encoders": settings.representations is not None,
            "readings": [asdict(r) | {"of_classes": r.of_classes} for r in readings],
        },
        notes=notes,
    )


def _pairs(settings: Settings) -> tuple[list[Pair], str, tuple[str, ...]]:
    folder = settings.representations
    if folder is not None:
        rows = slice(None, 300) if settings.quick else slice(None, None, EVERY)
        classes = encoders.categories(folder)[rows]
        lite0, lite2 = (encoders.image(folder, name)[rows] for name in ("Lite0", "Lite2"))
        names = encoders.text(folder, "MiniLM")[rows]
        pairs = [Pair("Lite0 × MiniLM", lite0, names, classes), Pair("Lite0 × Lite2", lite0, lite2, classes)]
        return pairs, "Pictures of emoji with their names, and two image encoders.", ()
    epochs = 1 if settings.quick else 15
    data = networks.digits()
    training, held_out = data.training, data.held_out
    found = []
    for make in (networks.convolutional(32, 4, seed=0), networks.perceptron((64, 64), seed=1)):
        network = networks.train(make, data.images[training], data.labels[training], epochs=epochs, seed=0)
        found.append(networks.layers(network, data.images[held_out])[-1])
    pair = Pair("convolutions × perceptron", found[0], found[1], data.labels[held_out])
    return [pair], "Self-trained networks on digits, no pretrained encoder.", (encoders.absent(),)


def _reading(pair: Pair, measure: Measure, quick: bool) -> Reading:
    count = 19 if quick else measure.permutations

    x, y = (leading(z) if measure.components else z for z in (pair.x, pair.y))

    def null(groups: NDArray[np.int64] | None) -> gm.Null:
        return gm.null(
            measure.function,
            x,
            y,
            groups=groups,
            permutations=count,
            maximum=measure.maximum,
            **measure.options,
        )

    free, within = null(None), null(pair.classes)
    return Reading(
        pair=pair.name,
        measure=measure.name,
        value=free.value,
        chance=free.mean,
        chance_sd=free.sd,
        pvalue=free.pvalue,
        corrected=free.corrected,
        within=within.mean,
        within_sd=within.sd,
        within_pvalue=within.pvalue,
        permutations=count,
    )


def leading(z: Array) -> Array:
    """(n, 50) the scores of the leading principal components."""
    centred = z - z.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    scores: Array = centred @ vectors[:, ::-1][:, : min(COMPONENTS, int((values > 0).sum()))]
    return scores


def _figure(readings: Sequence[Reading]) -> str:
    charts = []
    for pair in dict.fromkeys(r.pair for r in readings):
        of = [r for r in readings if r.pair == pair]
        rows = list(range(len(of)))
        charts.append(
            chart_svg(
                [
                    Series("value", [r.corrected for r in of], rows),
                    Series("rows shuffled, ± 2 sd", *_interval(of, "chance")),
                    Series("shuffled within class, ± 2 sd", *_interval(of, "within")),
                ],
                title=pair,
                x_label="0 is the mean of shuffled rows, 1 perfect agreement",
                categories=[r.measure for r in of],
            )
        )
    return stacked_svg(charts, title="Measures of alignment beside what chance gives them")


def _interval(readings: Sequence[Reading], name: str) -> tuple[list[float], list[int], list[float], list[float]]:
    """Mean and two standard deviations of a null, in units where chance is 0 and perfect agreement 1."""
    means, lows, highs = [], [], []
    for r in readings:
        unit = r.corrected / (r.value - r.chance) if r.value != r.chance else math.nan
        mean = unit * (getattr(r, name) - r.chance)
        reach = 2 * abs(unit) * getattr(r, f"{name}_sd")
        means.append(mean)
        lows.append(mean - reach)
        highs.append(mean + reach)
    return means, list(range(len(readings))), lows, highs
