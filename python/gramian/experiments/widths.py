"""Wider networks, and better ones, should be more alike: the Platonic Representation Hypothesis on a small scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gramian as gm
from gramian.experiments import encoders, networks
from gramian.experiments.frame import Array, Cell, Outcome, Settings, rank_correlation
from gramian.show.charts import Series, chart_svg
from gramian.show.svg import stacked_svg

CLAIM = (
    "The wider networks are, and the better, the more alike their representations (Kornblith et al. 2019; Huh et al. "
    "2024, the Platonic Representation Hypothesis)."
)
NEEDS = ("torch", "sklearn")
NEIGHBOURS = 10
STRONG = 0.5  # a rank correlation from which a sentence says that something rises
FOLDS = 5


@dataclass(frozen=True)
class Width:
    """Networks of one width, over pairs of seeds."""

    width: int
    accuracy: float  # mean over seeds, held out
    cka: float  # mean over the pairs of seeds that have one
    cka_sd: float
    mutual_knn: float
    undefined: int  # pairs without: a layer that is constant over the images
    pairs: int


@dataclass(frozen=True)
class Encoder:
    """A layer of an image encoder with text encoders that read the names of the pictures."""

    network: str
    layer: str
    last: bool
    probe: float  # share of held-out pictures whose category a linear map reads
    cka: dict[str, float]  # by text encoder
    mutual_knn: dict[str, float]


def finding(widths: Sequence[Width], encoded: Sequence[Encoder], texts: dict[str, float]) -> str:
    known = [w for w in widths if math.isfinite(w.cka)]
    rho = rank_correlation([w.width for w in known], [w.cka for w in known])
    first, last = known[0], known[-1]
    parts = [
        f"Wider networks are {_rising(rho, 'more alike', 'less alike')}: CKA between seeds goes from {first.cka:.2f} "
        f"at width {first.width} to {last.cka:.2f} at {last.width} (rank correlation {rho:.2f}; accuracy "
        f"{first.accuracy:.2f} to {last.accuracy:.2f})."
    ]
    parts += [
        f"At width {w.width}, {w.undefined} of {w.pairs} pairs have no CKA: the last layer of a network is constant."
        for w in widths
        if w.undefined
    ]
    if not encoded:
        return " ".join([*parts, "No pretrained encoder was compared."])
    name = next(iter(texts))
    better = rank_correlation([e.probe for e in encoded], [e.cka[name] for e in encoded])
    ends = [e for e in encoded if e.last]
    order = sorted(ends, key=lambda e: e.probe)
    parts.append(
        f"Over {len(encoded)} layers of {len(ends)} image encoders, those that tell more of the category are "
        f"{_rising(better, 'more like', 'less like')} {name} on the names (rank correlation {better:.2f})"
        f"; the last layers, from the worst to the best: "
        + ", ".join(f"{e.network} {e.cka[name]:.3f} (reads {e.probe:.3f})" for e in order)
        + f", {_monotone([e.cka[name] for e in order])}."
    )
    ranked = sorted(texts, key=lambda t: texts[t])
    means = [float(np.mean([e.cka[t] for e in ends])) for t in ranked]
    parts.append(
        "Text encoders, from the worst to the best: "
        + ", ".join(f"{t} {mean:.3f} (reads {texts[t]:.3f})" for t, mean in zip(ranked, means, strict=True))
        + f", {_monotone(means)}."
    )
    return " ".join(parts)


def _rising(rho: float, more: str, less: str) -> str:
    if not math.isfinite(rho) or abs(rho) < STRONG:
        return f"neither {more} nor {less}"
    return more if rho > 0 else less


def _monotone(values: Sequence[float]) -> str:
    steps = np.diff(values)
    if (steps > 0).all():
        return "the better the more alike"
    return "the better the less alike" if (steps < 0).all() else "in no order"


def run(settings: Settings) -> Outcome:
    sizes, seeds, epochs = (
        ((4, 32), range(2), 3) if settings.quick else ((4, 8, 16, 32, 64, 128, 256, 512), range(5), 30)
    )
    widths = [_width(width, seeds, epochs) for width in sizes]
    folder = settings.representations
    encoded, texts, notes = (
        ([], {}, (encoders.absent(),)) if folder is None else (*_encoded(folder, settings.quick), ())
    )
    rows: list[tuple[Cell, ...]] = [
        (f"digits, width {w.width}", w.accuracy, w.cka, w.cka_sd, w.mutual_knn) for w in widths
    ]
    rows += [
        (f"{e.network} {e.layer} × {t}", e.probe, e.cka[t], None, e.mutual_knn[t])
        for e in encoded
        if e.last
        for t in e.cka
    ]
    return Outcome(
        finding=finding(widths, encoded, texts),
        columns=("networks", "accuracy", "CKA", "± sd over pairs", "mutual 10-NN"),
        rows=tuple(rows),
        figure=_figure(widths, encoded),
        values={
            "n": {
                "digits": len(networks.digits().held_out),
                **({} if folder is None else {"emoji": len(encoders.categories(folder))}),
            },
            "seeds": seeds,
            "real_encoders": folder is not None,
            "widths": [asdict(w) for w in widths],
            "encoders": [asdict(e) for e in encoded],
            "text_probes": texts,
        },
        notes=notes,
    )


def _width(width: int, seeds: Sequence[int], epochs: int) -> Width:
    data = networks.digits()
    held_out = data.images[data.held_out]
    found, right = [], []
    for seed in seeds:
        network = networks.train(
            networks.perceptron((width, width, width), seed=seed),
            data.images[data.training],
            data.labels[data.training],
            epochs=epochs,
            seed=seed,
        )
        right.append(networks.accuracy(network, held_out, data.labels[data.held_out]))
        found.append(networks.layers(network, held_out)[-1])
    pairs = list(itertools.combinations(found, 2))
    every = [gm.cka(x, y) for x, y in pairs]
    alike = [value for value in every if math.isfinite(value)]
    return Width(
        width=width,
        accuracy=float(np.mean(right)),
        cka=float(np.mean(alike)) if alike else math.nan,
        cka_sd=float(np.std(alike, ddof=1)) if len(alike) > 1 else math.nan,
        mutual_knn=float(np.mean([gm.mutual_knn(x, y, NEIGHBOURS) for x, y in pairs])),
        undefined=len(every) - len(alike),
        pairs=len(every),
    )


def _encoded(folder: Path, quick: bool) -> tuple[list[Encoder], dict[str, float]]:
    rows = slice(None, 300) if quick else slice(None)
    classes = encoders.categories(folder)[rows]
    texts = {name: encoders.text(folder, name)[rows] for name in encoders.TEXTS}
    found = []
    for network in encoders.IMAGES:
        layers = {**encoders.blocks(folder, network), "last": encoders.image(folder, network)}
        layers = {name: x[rows] for name, x in layers.items()}
        alike = gm.cka_matrix(layers, texts).values
        for (name, x), values in zip(layers.items(), alike, strict=True):
            found.append(
                Encoder(
                    network=network,
                    layer=name,
                    last=name == "last",
                    probe=probe(x, classes),
                    cka=dict(zip(texts, values.tolist(), strict=True)),
                    mutual_knn={t: gm.mutual_knn(x, y, NEIGHBOURS) for t, y in texts.items()} if name == "last" else {},
                )
            )
    return found, {name: probe(y, classes) for name, y in texts.items()}


def probe(x: Array, classes: NDArray[np.int64]) -> float:
    """Share of rows whose class a ridge regression reads that was fitted without them, over five folds."""
    targets = np.eye(classes.max() + 1)[classes]
    fold = np.random.default_rng(0).permutation(len(x)) % FOLDS
    right = 0
    for k in range(FOLDS):
        inside, outside = fold != k, fold == k
        centre, level = x[inside].mean(axis=0), targets[inside].mean(axis=0)
        a, b = x[inside] - centre, targets[inside] - level
        moments = a.T @ a
        ridge = 1e-2 * float(np.trace(moments)) / len(moments)
        weights = np.linalg.solve(moments + ridge * np.eye(len(moments)), a.T @ b)
        right += int((((x[outside] - centre) @ weights + level).argmax(axis=1) == classes[outside]).sum())
    return right / len(x)


def _figure(widths: Sequence[Width], encoded: Sequence[Encoder]) -> str:
    size = [w.width for w in widths]
    charts = [
        chart_svg(
            [
                Series(
                    "CKA, ± sd over pairs",
                    size,
                    [w.cka for w in widths],
                    low=[w.cka - w.cka_sd for w in widths],
                    high=[w.cka + w.cka_sd for w in widths],
                    line=True,
                ),
                Series("mutual 10-NN", size, [w.mutual_knn for w in widths], line=True),
                Series("accuracy", size, [w.accuracy for w in widths], line=True),
            ],
            title="Digits: the last layer, between networks of other seeds",
            x_label="width",
            y_label="alignment, accuracy",
            log_x=True,
        )
    ]
    for text in encoded[0].cka if encoded else ():
        charts.append(
            chart_svg(
                [
                    Series(network, [e.probe for e in of], [e.cka[text] for e in of])
                    for network in dict.fromkeys(e.network for e in encoded)
                    for of in [[e for e in encoded if e.network == network]]
                ],
                title=f"Layers of image encoders with {text} on the pictures' names",
                x_label="share of categories that a linear map of the layer reads",
                y_label="CKA, unbiased",
            )
        )
    return stacked_svg(charts, title="Are wider and better networks more alike?")
