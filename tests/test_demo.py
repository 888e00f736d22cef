"""`gramian demo`, end to end on the packaged networks."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import oracle
from accuracy import assert_as_accurate
from gramian import demo

LAYERS = [f"layer {i}" for i in range(1, 7)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> demo.DemoReport:
    return demo.run(tmp_path_factory.mktemp("demo") / "made" / "here")


@pytest.fixture(scope="module")
def packaged() -> dict[str, Any]:
    with (files("gramian") / "data" / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(params=demo.KERNELS)
def kernel(request: pytest.FixtureRequest, report: demo.DemoReport) -> demo.KernelReport:
    return report.kernels[demo.KERNELS.index(request.param)]


def test_packaged_activations_are_small_and_whole(packaged: dict[str, Any]) -> None:
    with (files("gramian") / "data" / "digits.npz").open("rb") as file:
        assert len(file.read()) <= 1_000_000
    assert packaged["activations"].dtype == np.float16
    assert np.isfinite(packaged["activations"]).all()
    networks, layers, samples, _ = packaged["activations"].shape
    assert (networks, layers) == (3, 6) == (len(packaged["seeds"]), len(LAYERS))
    assert samples == len(packaged["labels"]) == len(set(packaged["samples"].tolist()))


def test_packaged_labels_are_those_of_the_activations(packaged: dict[str, Any]) -> None:
    last = packaged["activations"][0, -1].astype(float)
    centres = np.array([last[packaged["labels"] == digit].mean(axis=0) for digit in range(10)])

    nearest = ((last[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == packaged["labels"]).mean() > 0.95


def test_layers_without_a_value_have_no_match() -> None:
    values = np.array([[math.nan, 0.2], [math.nan, math.nan]])
    assert demo._own_depth(values) == 0
    assert demo._own_depth(np.array([[0.3, math.nan], [0.1, 0.2]])) == 2


def test_layers_are_most_similar_at_their_own_depth(kernel: demo.KernelReport) -> None:
    assert list(kernel.mean.rows) == LAYERS
    assert kernel.own_depth >= 5
    assert kernel.own_depth_by_pair[0] >= 24  # of 36; 6 by chance
    assert kernel.own_depth_by_pair[1] == 36


def test_the_mean_matrix_is_that_of_all_ordered_pairs(kernel: demo.KernelReport) -> None:
    both = [m.values for m in kernel.matrices.values()] + [m.values.T for m in kernel.matrices.values()]
    assert len(both) == 6
    np.testing.assert_allclose(kernel.mean.values, np.mean(both, axis=0), rtol=1e-14)


def test_values_are_those_of_the_oracle(packaged: dict[str, Any], kernel: demo.KernelReport) -> None:
    def cka(dtype: type) -> Any:
        x, y = (packaged["activations"][k].astype(dtype) for k in ((0, 2), (2, 3)))
        return oracle.cka(oracle.gram(kernel.kernel, x), oracle.gram(kernel.kernel, y), "unbiased")

    want, naive = cka(np.float64), cka(np.float32)

    assert_as_accurate(kernel.matrices[1, 3].values[2, 3], want, [abs(naive - want)], 1.0, "float32")


def test_intervals_surround_the_values_of_the_matrices(kernel: demo.KernelReport) -> None:
    assert len(kernel.same_depth) == 18
    for pair in kernel.same_depth:
        i = LAYERS.index(pair.layer)
        assert pair.cka.value == pytest.approx(kernel.matrices[pair.networks].values[i, i], rel=1e-6)
        assert pair.cka.ci[0] < pair.cka.value < pair.cka.ci[1]
        assert 0 < pair.cka.se < 0.05


def test_matching_layers_are_dependent_and_shuffled_ones_are_not(kernel: demo.KernelReport) -> None:
    assert max(pair.test.pvalue for pair in kernel.same_depth) < 1e-10
    assert min(null.test.pvalue for null in kernel.shuffled) > 1e-3


def test_shuffled_unbiased_cka_is_zero_and_biased_is_not(kernel: demo.KernelReport) -> None:
    for null in (*kernel.shuffled, *kernel.shuffled_few):
        sd = math.sqrt(2 / (null.n * (null.n - 3)))  # exact over all permutations, for every kernel and data set
        assert abs(statistics.fmean(null.unbiased)) < 4 * sd / math.sqrt(demo.SHUFFLES)
        assert statistics.fmean(null.biased) > 2 * sd
        assert min(null.biased) > 0


def test_the_bias_grows_as_images_get_fewer(kernel: demo.KernelReport) -> None:
    for null, few in zip(kernel.shuffled, kernel.shuffled_few, strict=True):
        assert (null.n, few.n) == (597, demo.FEW)
        assert statistics.fmean(few.biased) > 5 * statistics.fmean(null.biased)


def test_the_same_bits_twice(report: demo.DemoReport, tmp_path: Path) -> None:
    assert demo.run(tmp_path).to_dict()["kernels"] == report.to_dict()["kernels"]


def test_the_json_file_holds_the_report(report: demo.DemoReport) -> None:
    written = json.loads(report.json.read_text(encoding="utf-8"))

    assert written.pop("gramian")
    assert written == report.to_dict()
    assert written["kernels"][1]["own_depth"] == report.kernels[1].own_depth
    assert "scikit-learn" in written["provenance"]


class Page(HTMLParser):
    """Tags, links to elsewhere, and whether what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(report: demo.DemoReport) -> None:
    page = Page(report.html.read_text(encoding="utf-8"))

    assert not page.open
    assert page.tags.count("svg") == page.tags.count("table") == 2
    assert page.links == ["results.json"]


def test_the_page_shows_the_numbers(report: demo.DemoReport) -> None:
    text = report.html.read_text(encoding="utf-8")

    for kernel in report.kernels:
        assert f"{kernel.own_depth} of 6 layers" in text
        for pair in kernel.same_depth[:6]:
            assert f"<td>{pair.cka.value:.3f}</td>" in text
    svg = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])
    assert f"{report.kernels[0].mean.values[0, 0]:.2f}" in [
        t.text for t in svg.iter("{http://www.w3.org/2000/svg}text")
    ]


def test_the_table_fits_a_terminal(report: demo.DemoReport) -> None:
    lines = report.text().splitlines()

    assert max(map(len, lines[:-1])) <= 90
    assert [line.split("  ")[0] for line in lines if line.startswith("layer")] == LAYERS * 2
    assert str(report.html) in lines[-1]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(FileExistsError):
        demo.run(tmp_path / "taken")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("command")
    arguments = [sys.executable, "-X", "importtime", "-m", "gramian", "demo", "-o", str(folder)]
    return folder, subprocess.run(arguments, capture_output=True, text=True, check=True)


def test_the_command_prints_the_table(
    report: demo.DemoReport, command: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, done = command
    *table, wrote = done.stdout.splitlines()

    assert table == report.text().splitlines()[:-1]
    assert wrote == f"wrote {folder / 'report.html'} and {folder / 'results.json'}"
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "results.json"]


def test_the_command_needs_nothing_optional(command: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    imported = {line.split("|")[-1].strip() for line in command[1].stderr.splitlines()}

    assert "gramian.demo" in imported
    assert not imported & {"torch", "sklearn", "matplotlib", "pandas", "xarray"}
