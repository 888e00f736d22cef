"""A stitch fitted on clean images, used on shifted ones: what moves, and what tells of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

import gramian as gm
from gramian.experiments import networks
from gramian.experiments.cuts import Cut, Head, cut
from gramian.experiments.frame import Array, Outcome, Settings, rank_correlation
from gramian.show.charts import Series, chart_svg
from gramian.show.svg import stacked_svg

CLAIM = (
    "The bound on the stitching risk holds for every distribution: when the images shift, the misalignment Ã₂ of the "
    "fitted map on the shifted images still tells how much is lost, without labels."
)
NEEDS = ("torch", "sklearn")
STRONG = 0.5  # a rank correlation from which something is told
LAYER = 2  # where both networks are cut
Images = NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """One kind of shift at one severity, mean over pairs of networks."""

    shift: str
    severity: float
    ka: float  # linear kernel alignment of the two layers on the shifted images
    cka: float
    refitted: float  # Ã₂ ratio of a map fitted on the shifted images themselves, cross-validated
    cut: Cut
    violated: int  # pairs of networks whose measured risk exceeds a bound
    pairs: int


SIGNALS: dict[str, Callable[[Step], float]] = {
    "Ã₂ of the fitted map": lambda s: s.cut.misalignment,
    "Ã₂ as a share of ‖f₂‖²": lambda s: s.cut.ratio,
    "Ã₂ share, refitted": lambda s: s.refitted,
    "linear KA": lambda s: s.ka,
    "linear CKA": lambda s: s.cka,
}


def finding(every: Sequence[Step]) -> str:
    steps = [*every[:1], *(s for s in every if s.severity)]  # the clean images once
    violated, stitched = sum(s.violated for s in steps), sum(s.pairs for s in steps)
    clean = steps[0].cut
    kinds = list(dict.fromkeys(s.shift for s in steps))
    ends = [[s for s in steps if s.shift == kind][-1] for kind in kinds]
    parts = [
        f"The risk of the stitched networks goes from {clean.stitched:.3f} on clean images to "
        + ", ".join(f"{s.cut.stitched:.3f} ({s.shift} {s.severity:g})" for s in ends)
        + f", that of the second network itself from {clean.own:.3f} to "
        + ", ".join(f"{s.cut.own:.3f}" for s in ends)
        + ".",
        f"A bound is exceeded in {violated} of {stitched} cases."
        if violated
        else f"No bound is exceeded in any of {stitched} cases.",
    ]
    risk = [s.cut.stitched for s in steps]
    excess = [s.cut.stitched - s.cut.own for s in steps]
    with_risk = {name: rank_correlation([signal(s) for s in steps], risk) for name, signal in SIGNALS.items()}
    with_excess = {name: rank_correlation([signal(s) for s in steps], excess) for name, signal in SIGNALS.items()}
    order = sorted(SIGNALS, key=lambda name: -_size(with_risk[name]))
    parts.append(
        "Rank correlation with that risk, and with what stitching adds to it, from the closest: "
        + ", ".join(f"{name} {with_risk[name]:.2f} and {with_excess[name]:.2f}" for name in order)
        + "."
    )
    best = max(SIGNALS, key=lambda name: _size(with_excess[name]))
    worse = sum(e > 0 for e in excess)
    told = f"told best by {best}" if _size(with_excess[best]) >= STRONG else "told by none of them"
    parts.append(
        f"Stitching raises the risk in {worse} of {len(steps)} steps and lowers it in {len(steps) - worse}, and by how "
        f"much is {told}."
    )
    return " ".join(parts)


def _size(rho: float) -> float:
    return abs(rho) if math.isfinite(rho) else 0.0


def run(settings: Settings) -> Outcome:
    seeds, epochs, grain = (range(2), 4, 2) if settings.quick else (range(4), 40, 6)
    data = networks.digits()
    train, test, targets = data.training, data.held_out, data.targets
    found = [
        networks.train(
            networks.perceptron((64, 64, 64), seed=seed), data.images[train], targets[train], epochs=epochs, seed=seed
        )
        for seed in seeds
    ]
    heads = [Head.of(networks.head(network, LAYER)) for network in found]
    clean = [networks.layers(network, data.images[train])[LAYER - 1] for network in found]
    pairs = list(itertools.permutations(seeds, 2))
    stitches = {(a, b): gm.fit_stitch(clean[a], clean[b], kind="affine", ridge="gcv") for a, b in pairs}

    steps = []
    for shift, (most, change) in SHIFTS.items():
        for severity in np.linspace(0, most, grain + 1):
            images = change(data.images[test], float(severity))
            features = [networks.layers(network, images)[LAYER - 1] for network in found]
            cuts = [
                cut(stitches[a, b], heads[b], features[a], features[b], targets[test].astype(float)) for a, b in pairs
            ]
            steps.append(_step(shift, float(severity), [(features[a], features[b]) for a, b in pairs], cuts))
    return Outcome(
        finding=finding(steps),
        columns=("shift", "by", "KA", "CKA", "Ã₂ ratio", "refitted", "R₂", "R stitched", "effective", "certified"),
        rows=tuple(
            (
                s.shift,
                s.severity,
                s.ka,
                s.cka,
                s.cut.ratio,
                s.refitted,
                s.cut.own,
                s.cut.stitched,
                s.cut.effective,
                s.cut.certified,
            )
            for s in steps
        ),
        figure=_figure(steps),
        values={
            "n": len(test),
            "fitted_on": len(train),
            "seeds": seeds,
            "network": f"perceptrons of [64, 64, 64], cut after layer {LAYER}, squared error, {epochs} epochs",
            "accuracies": [networks.accuracy(n, data.images[test], data.labels[test]) for n in found],
            "violations": sum(s.violated for s in steps),
            "steps": [asdict(s) for s in steps],
        },
    )


def _rotated(images: Images, degrees: float) -> Images:
    from scipy.ndimage import rotate

    pictures = images.reshape(-1, 8, 8)
    turned: Images = rotate(pictures, degrees, axes=(1, 2), reshape=False, order=1)
    return turned.reshape(images.shape)


def _noisy(images: Images, sd: float) -> Images:
    noise = np.random.default_rng(0).standard_normal(images.shape)
    return (images + sd * noise).astype(np.float32)


def _faded(images: Images, part: float) -> Images:
    """Part of the way to a plain picture of half brightness."""
    return ((1 - part) * images + part * 0.5).astype(np.float32)


SHIFTS: dict[str, tuple[float, Callable[[Images, float], Images]]] = {
    "rotation, degrees": (90.0, _rotated),
    "noise, sd": (1.2, _noisy),
    "fading, part": (0.9, _faded),
}


def _step(shift: str, severity: float, features: Sequence[tuple[Array, Array]], cuts: Sequence[Cut]) -> Step:
    refits = [gm.fit_stitch(x, y, kind="affine", ridge="gcv", folds=5) for x, y in features]
    energies = [float(np.mean(np.square(y).sum(axis=1))) for _, y in features]
    fields = asdict(cuts[0])
    return Step(
        shift=shift,
        severity=severity,
        ka=float(np.mean([gm.kernel_alignment(x, y) for x, y in features])),
        cka=float(np.mean([gm.cka(x, y) for x, y in features])),
        refitted=float(np.mean([r.cv / energy for r, energy in zip(refits, energies, strict=True)])),
        cut=Cut(**{name: float(np.mean([getattr(c, name) for c in cuts])) for name in fields}),
        violated=sum(c.violated for c in cuts),
        pairs=len(cuts),
    )


def _figure(steps: Sequence[Step]) -> str:
    charts = []
    for shift in dict.fromkeys(s.shift for s in steps):
        of = [s for s in steps if s.shift == shift]
        x = [s.severity for s in of]
        charts += [
            chart_svg(
                [
                    Series("stitched", x, [s.cut.stitched for s in of], line=True),
                    Series("second network", x, [s.cut.own for s in of], line=True),
                    Series("effective bound", x, [s.cut.effective for s in of], dashed=True),
                    Series("refined bound", x, [s.cut.refined for s in of], dashed=True),
                    Series("certified bound", x, [s.cut.certified for s in of], dashed=True),
                ],
                title=f"{shift}: risk",
                x_label=shift,
                y_label="risk, mean over pairs",
                log_y=True,
            ),
            chart_svg(
                [
                    Series("linear KA", x, [s.ka for s in of], line=True),
                    Series("linear CKA", x, [s.cka for s in of], line=True),
                    Series("Ã₂ ratio", x, [s.cut.ratio for s in of], line=True),
                    Series("Ã₂ ratio, refitted", x, [s.refitted for s in of], line=True),
                ],
                title=f"{shift}: alignment",
                x_label=shift,
                y_label="alignment, misalignment",
            ),
        ]
    return stacked_svg(charts, title="A stitch under domain shift")
