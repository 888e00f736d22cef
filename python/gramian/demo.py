"""`gramian demo`: three networks that differ in their seed alone, compared layer by layer on held-out digits.

The activations come with the package (examples/digits/train.py makes them), so nothing is downloaded or trained.
"""

from __future__ import annotations

import itertools
import json
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gramian as gm
from gramian.inference.independence import format_pvalue
from gramian.show.heatmaps import heatmap_svg

Array = NDArray[Any]

KERNELS: tuple[gm.kernels.KernelName, ...] = ("linear", "rbf")
SHUFFLES = 10
FEW = 50  # images: about a minibatch, where the bias is large
SEED = 0


@dataclass(frozen=True)
class SameDepth:
    """Layers of the same depth in two networks."""

    networks: tuple[int, int]  # counted from 1
    layer: str
    cka: gm.Estimate
    test: gm.TestResult


@dataclass(frozen=True)
class Shuffled:
    """Layers of the same depth in the first two networks, the images of the second in random order."""

    layer: str
    n: int
    biased: tuple[float, ...]  # CKA, one for each shuffle
    unbiased: tuple[float, ...]
    test: gm.TestResult  # of the first shuffle


@dataclass(frozen=True)
class KernelReport:
    """What one kernel says."""

    kernel: str
    matrices: Mapping[tuple[int, int], gm.AlignmentMatrix]  # by networks, counted from 1
    same_depth: tuple[SameDepth, ...]
    shuffled: tuple[Shuffled, ...]  # all images
    shuffled_few: tuple[Shuffled, ...]  # the first FEW

    @property
    def mean(self) -> gm.AlignmentMatrix:
        """The mean over all ordered pairs of networks, hence symmetric."""
        first, *_ = self.matrices.values()
        return replace(first, values=np.mean([m.values for m in _both_ways(self.matrices.values())], axis=0))

    @property
    def own_depth(self) -> int:
        """Kornblith's check: layers whose best match in the other networks, on average, has their own depth."""
        return _own_depth(self.mean.values)

    @property
    def own_depth_by_pair(self) -> tuple[int, int]:
        """The same without averaging: how often, out of how many."""
        both = [m.values for m in _both_ways(self.matrices.values())]
        return sum(map(_own_depth, both)), sum(map(len, both))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "kernel": self.kernel,
            "own_depth": self.own_depth,
            "own_depth_by_pair": list(self.own_depth_by_pair),
            "layers": list(self.mean.rows),
            "mean_matrix": self.mean.values.tolist(),
            "matrices": [
                {"networks": list(networks), "values": m.values.tolist()} for networks, m in self.matrices.items()
            ],
            "same_depth": [
                {"networks": list(p.networks), "layer": p.layer, "cka": p.cka.to_dict(), "test": p.test.to_dict()}
                for p in self.same_depth
            ],
            "shuffled": [
                {
                    "layer": s.layer,
                    "n": s.n,
                    "biased": list(s.biased),
                    "unbiased": list(s.unbiased),
                    "test": s.test.to_dict(),
                }
                for s in (*self.shuffled, *self.shuffled_few)
            ],
        }


@dataclass(frozen=True)
class DemoReport:
    """The numbers of `gramian demo`, and where they were written."""

    n: int
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    kernels: tuple[KernelReport, ...]
    provenance: str
    html: Path
    json: Path

    def text(self) -> str:
        """The report as a table for the terminal."""
        lines = [_filled(_intro(self)), ""]
        for report in self.kernels:
            rows = [["", *_COLUMNS], *_rows(report)]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            lines.append(f"{report.kernel} kernel, network 1 against network 2")
            for label, *cells in rows:
                right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
                lines.append("  ".join([label.ljust(widths[0]), *right]))
            lines += [_filled(_check(report)), ""]
        return "\n".join([*lines, _filled(_LEGEND), "", f"wrote {self.html} and {self.json}"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "n": self.n,
            "seeds": list(self.seeds),
            "accuracies": list(self.accuracies),
            "shuffles": SHUFFLES,
            "seed": SEED,
            "kernels": [report.to_dict() for report in self.kernels],
            "provenance": self.provenance,
            "html": str(self.html),
            "json": str(self.json),
        }


def run(output: Path) -> DemoReport:
    """Compare the packaged networks and write ``report.html`` and ``results.json`` into a folder.

    Parameters
    ----------
    output : Path
        The folder; made if missing. Files of these two names are replaced.

    Returns
    -------
    DemoReport
        ``.text()`` is the table for the terminal, ``.to_dict()`` what ``results.json`` holds.

    Raises
    ------
    OSError
        If the folder cannot be written.

    Notes
    -----
    Seconds on two cores, a few MB. The check: Kornblith et al. 2019, section 6.1.
    """
    output.mkdir(parents=True, exist_ok=True)
    with (files("gramian") / "data" / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        activations = data["activations"]  # (networks, layers, samples, channels)
        report = DemoReport(
            n=activations.shape[2],
            seeds=tuple(data["seeds"].tolist()),
            accuracies=tuple(data["accuracies"].tolist()),
            kernels=tuple(_compare(activations, kernel) for kernel in KERNELS),
            provenance=str(data["provenance"]),
            html=output / "report.html",
            json=output / "results.json",
        )
    system = gm.info()
    document = {"gramian": system["version"], **report.to_dict()}
    report.json.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    report.html.write_text(_html(report, system), encoding="utf-8")
    return report


def _compare(activations: Array, kernel: gm.kernels.KernelName) -> KernelReport:
    networks = [{f"layer {i + 1}": x for i, x in enumerate(network)} for network in activations]
    pairs = list(itertools.combinations(range(len(networks)), 2))
    same_depth = tuple(
        _same_depth((a + 1, b + 1), layer, x, y, kernel)
        for a, b in pairs
        for (layer, x), y in zip(networks[a].items(), networks[b].values(), strict=True)
    )
    return KernelReport(
        kernel=kernel,
        matrices={(a + 1, b + 1): gm.cka_matrix(networks[a], networks[b], kernel) for a, b in pairs},
        same_depth=same_depth,
        shuffled=_shuffled(activations[0], activations[1], same_depth),
        shuffled_few=_shuffled(activations[0, :, :FEW], activations[1, :, :FEW], same_depth),
    )


def _same_depth(networks: tuple[int, int], layer: str, x: Array, y: Array, kernel: gm.kernels.KernelName) -> SameDepth:
    estimate = gm.alignment(x, y, kernel)
    kx, ky = estimate.kernel  # their bandwidths are known by now
    return SameDepth(networks, layer, estimate, gm.independence_test(x, y, kx, kernel_y=ky))


def _shuffled(first: Array, second: Array, same_depth: Sequence[SameDepth]) -> tuple[Shuffled, ...]:
    """The same layers under the same kernels, bandwidths included, when no row of Y belongs to its row of X."""
    rng = np.random.default_rng(SEED)
    found = []
    for pair, x, y in zip(same_depth, first, second, strict=False):
        kx, ky = pair.cka.kernel
        mixed = [y[rng.permutation(len(y))] for _ in range(SHUFFLES)]
        found.append(
            Shuffled(
                layer=pair.layer,
                n=len(y),
                biased=tuple(gm.cka(x, z, kx, kernel_y=ky, estimator="biased") for z in mixed),
                unbiased=tuple(gm.cka(x, z, kx, kernel_y=ky, estimator="unbiased") for z in mixed),
                test=gm.independence_test(x, mixed[0], kx, kernel_y=ky),
            )
        )
    return tuple(found)


def _both_ways(matrices: Iterable[gm.AlignmentMatrix]) -> list[gm.AlignmentMatrix]:
    return [way for m in matrices for way in (m, replace(m, values=m.values.T))]


def _own_depth(values: Array) -> int:
    """A layer without a value has no match."""
    known = np.where(np.isnan(values), -np.inf, values)
    return int(((known.argmax(axis=1) == np.arange(len(values))) & np.isfinite(known).any(axis=1)).sum())


# ---- in words and tables ---------------------------------------------------------------------------------------------

_COLUMNS = ("CKA", "95% interval", "p", "shuffled CKA", "p", "biased", f"biased, n = {FEW}")
_LEGEND = (
    "Shuffled: the images of network 2 in random order, where 0 is right. Biased: what biased CKA says there, on all "
    f"images and on {FEW}."
)


def _rows(report: KernelReport) -> list[list[str]]:
    """A row for each layer, network 1 against network 2."""
    return [
        [
            pair.layer,
            f"{pair.cka.value:.3f}",
            f"{pair.cka.ci[0]:.3f} to {pair.cka.ci[1]:.3f}",
            format_pvalue(pair.test.pvalue),
            f"{round(statistics.fmean(null.unbiased), 3) + 0.0:.3f} ± {statistics.stdev(null.unbiased):.3f}",
            format_pvalue(null.test.pvalue),
            f"{statistics.fmean(null.biased):.3f}",
            f"{statistics.fmean(few.biased):.3f}",
        ]
        for pair, null, few in zip(report.same_depth, report.shuffled, report.shuffled_few, strict=False)
    ]


def _check(report: KernelReport) -> str:
    layers = len(report.mean.rows)
    hits, tries = report.own_depth_by_pair
    return (
        f"Most similar at its own depth: {report.own_depth} of {layers} layers on the mean over all pairs of networks, "
        f"{hits} of {tries} pair by pair ({tries // layers} expected by chance)."
    )


def _intro(report: DemoReport) -> str:
    right = ", ".join(f"{accuracy:.1%}" for accuracy in report.accuracies)
    layers = len(report.kernels[0].mean.rows)
    return (
        f"{len(report.seeds)} networks of {layers} convolutions, trained alike from different seeds; "
        f"{report.n} held-out images of digits (right on {right})."
    )


_READING = (
    "A row of the picture is a layer of one network, a column a layer of another; brighter means more alike, and the "
    "dot marks the best match of the row. Networks that were trained alike should match layer for layer: dots on the "
    "diagonal. The tables have the numbers behind it for the first two networks. CKA is the unbiased estimate, and its "
    "interval says how far another sample of images would move it. The p-value is the chance of so large a value if "
    "the layers had nothing to do with each other. In the shuffled columns they have not: the images of one network "
    "are in random order. There the unbiased CKA is 0 up to its spread, and its p-value is as likely to be large as "
    "small. Biased CKA, which most code computes, stays above 0 even then, and the more so the fewer the images: read "
    f"it only beside this floor. The shuffled values are means of {SHUFFLES} shuffles, ± one standard deviation; their "
    "p-value is that of the first."
)

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #111;
       background: #fff; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
svg { max-width: 100%; height: auto; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin-bottom: .5rem; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
tr > th:first-child { text-align: left; }
footer { color: #555; font-size: 14px; border-top: 1px solid #ddd; margin-top: 2rem; }
"""


def _filled(text: str) -> str:
    return textwrap.fill(text, 88)


def _html(report: DemoReport, system: Mapping[str, Any]) -> str:
    pictures = "\n".join(
        f"<figure>{heatmap_svg(k.mean, title=f'CKA, {k.kernel} kernel, mean over all pairs')}</figure>"
        for k in report.kernels
    )
    versions = ", ".join(
        f"{name} {version}"
        for name, version in (
            ("gramian", system["version"]),
            *((name, system["packages"][name]) for name in ("numpy", "scipy")),
            ("Python", system["python"]),
        )
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gramian demo</title>
<style>{_CSS}</style>
</head>
<body>
<h1>The same network, trained from another seed</h1>
<p>{escape(_intro(report))}</p>
{pictures}
<h2>How to read it</h2>
<p>{escape(_READING)}</p>
{"".join(_html_table(k) for k in report.kernels)}
<footer>
<p>{escape(report.provenance)}</p>
<p>{escape(versions)}; {escape(system["instruction_set"])}, {system["threads"]} threads. All numbers:
<a href="{escape(report.json.name)}">{escape(report.json.name)}</a>.</p>
</footer>
</body>
</html>
"""


def _html_table(report: KernelReport) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in ("layer", *_COLUMNS))
    body = "\n".join(
        f'<tr><th scope="row">{escape(layer)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for layer, *cells in _rows(report)
    )
    return f"""<div class="table"><table>
<caption>{escape(report.kernel)} kernel, network 1 against network 2</caption>
<thead>
<tr><td></td><th colspan="3" scope="colgroup">image by image</th><th colspan="4" scope="colgroup">shuffled</th></tr>
<tr>{head}</tr>
</thead>
<tbody>
{body}
</tbody>
</table></div>
<p>{escape(_check(report))}</p>
"""
