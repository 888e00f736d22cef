"""The experiments, each on a small scale, and their sentences for numbers that come out either way."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gramian import experiments
from gramian.experiments import (
    concentration,
    cuts,
    encoders,
    frame,
    layers,
    measures,
    networks,
    shifts,
    stitchers,
    widths,
)
from gramian.experiments.__main__ import main

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "docs" / "experiments"
BOUNDS = ("effective", "refined", "certified")
FIELDS = {
    "experiment", "claim", "finding", "notes", "quick", "date", "seconds", "versions", "machine", "n", "seeds", "table",
}  # fmt: skip


@pytest.fixture(scope="module", params=experiments.EXPERIMENTS)
def record(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> frame.Record:
    pytest.importorskip("torch", reason="NO TORCH: no experiment is tested")
    pytest.importorskip("sklearn", reason="NO SCIKIT-LEARN: no experiment is tested")
    return experiments.run(request.param, tmp_path_factory.mktemp("out") / "made", quick=True)


def of(record: frame.Record, name: str) -> Any:
    """What the JSON file of an experiment holds, where it is that experiment."""
    if record.name != name:
        pytest.skip(f"speaks of {name}")
    return json.loads(record.files[0].read_text(encoding="utf-8"))


# ---- what is written ----------------------------------------------------------------------------------------------


def test_four_files_are_written(record: frame.Record) -> None:
    assert [path.name for path in record.files] == [f"{record.name}.{kind}" for kind in ("json", "csv", "txt", "svg")]
    assert all(path.stat().st_size > 200 for path in record.files)


def test_json_says_what_made_it(record: frame.Record) -> None:
    document = json.loads(record.files[0].read_text(encoding="utf-8"))

    assert set(document) >= FIELDS
    assert document == record.document
    assert document["experiment"] == record.name
    assert document["finding"] == record.finding
    assert document["quick"] is True
    assert {"gramian", "numpy", "scipy", "torch", "scikit-learn", "python"} <= set(document["versions"])
    assert document["seeds"]


def test_table_is_the_same_in_csv_json_and_text(record: frame.Record) -> None:
    rows = list(csv.reader(record.files[1].read_text(encoding="utf-8").splitlines()))
    table = record.document["table"]
    text = record.files[2].read_text(encoding="utf-8")

    assert rows[0] == list(table["columns"])
    assert len(rows) - 1 == len(table["rows"]) == len(record.outcome.rows)
    assert [row[0] for row in rows[1:]] == [row[0] for row in table["rows"]]
    assert " ".join(f"Found: {record.finding}".split()) in " ".join(text.split())
    assert " ".join(record.claim.split()) in " ".join(text.split())


def test_figure_is_a_picture_that_stands_alone(record: frame.Record) -> None:
    svg = ElementTree.fromstring(record.files[3].read_text(encoding="utf-8"))

    drawn = svg.findall(".//{*}circle") + svg.findall(".//{*}path")
    assert svg.tag.endswith("svg")
    assert len(drawn) > 10
    assert not [e for e in svg.iter() if any("href" in key for key in e.attrib)]


def test_finding_is_a_sentence_without_undefined_numbers(record: frame.Record) -> None:
    assert record.finding[0].isupper()
    assert record.finding.endswith(".")
    assert "nan" not in record.finding.split()


def test_without_encoders_it_says_so_and_how_to_get_them(record: frame.Record) -> None:
    document = of(record, record.name)
    if "real_encoders" not in document:
        pytest.skip("needs none")
    assert document["real_encoders"] is False
    assert "no pretrained encoder" in record.finding.lower()
    assert "examples/encoders/setup.sh" in " ".join(document["notes"])


# ---- bounds over every trained network ------------------------------------------------------------------------------


def test_no_stitched_network_exceeds_a_bound(record: frame.Record) -> None:
    document = of(record, "stitching-error")

    assert document["violations"] == 0
    for point in document["points"]:
        found = point["cut"]
        for bound in BOUNDS:
            assert found["stitched"] <= found[bound] * (1 + 1e-9)
        want = (math.sqrt(found["own"]) + found["kappa"] * math.sqrt(found["misalignment"])) ** 2
        assert found["certified"] == pytest.approx(want, rel=1e-12)
        assert found["effective"] <= found["certified"] * (1 + 1e-9)


def test_no_shift_breaks_a_bound(record: frame.Record) -> None:
    document = of(record, "domain-shift")

    assert document["violations"] == 0
    for step in document["steps"]:
        assert all(step["cut"]["stitched"] <= step["cut"][bound] * (1 + 1e-9) for bound in BOUNDS)


def test_no_certified_interval_misses(record: frame.Record) -> None:
    document = of(record, "ka-concentration")

    for point in document["points"]:
        assert point["missed"] <= document["delta"] * point["draws"]
        if point["case"] != "narrow RBF, unrelated rows":
            assert point["outside"] == 0
    assert any(point["outside"] for point in document["points"])  # the counterexample of Theory, 1


def test_a_cut_is_what_numpy_says() -> None:
    torch = pytest.importorskip("torch")
    module = networks.head(networks.perceptron((6, 5), seed=0), 1)
    rng = np.random.default_rng(0)
    f1, f2, y = rng.standard_normal((40, 4)), rng.standard_normal((40, 6)), rng.standard_normal((40, 10))
    stitch = rng.standard_normal((6, 4))

    found = cuts.cut(lambda z: z @ stitch.T, cuts.Head.of(module), f1, f2, y)

    error = f2 - f1 @ stitch.T
    with torch.no_grad():
        own, stitched = (module(torch.from_numpy(f)).numpy() for f in (f2, f1 @ stitch.T))
    moved, norms = ((stitched - own) ** 2).sum(), [np.linalg.norm(m.weight.detach().numpy(), 2) for m in module[::2]]
    first = module[0].weight.detach().numpy()
    risk = ((own - y) ** 2).sum() / 40
    assert found.misalignment == pytest.approx((error**2).sum() / 40)
    assert found.ratio == pytest.approx((error**2).sum() / (f2**2).sum())
    assert (found.own, found.stitched) == pytest.approx((risk, ((stitched - y) ** 2).sum() / 40))
    assert found.kappa == pytest.approx(np.prod(norms))
    assert found.effective == pytest.approx((math.sqrt(risk) + math.sqrt(moved / 40)) ** 2)
    seen = ((error @ first.T) ** 2).sum() / 40
    assert found.refined == pytest.approx((math.sqrt(risk) + norms[1] * math.sqrt(seen)) ** 2)
    assert not found.violated
    assert replace(found, stitched=found.refined * 1.001).violated


# ---- sentences follow the numbers ---------------------------------------------------------------------------------


def test_kornbliths_check_counts_best_matches() -> None:
    right, wrong = np.eye(3), np.eye(3)[[1, 0, 2]]

    found = layers.score("CKA", [right, right, wrong])

    assert (found.hits, found.tries, found.on_average) == (7, 9, 3)
    assert found.passed
    assert not layers.score("CKA", [wrong]).passed


def test_layers_finding_names_who_passes_and_who_does_not() -> None:
    good, bad = layers.Score("A", 60, 72, 6, 6), layers.Score("B", 20, 72, 2, 6)

    assert "60 of 72 comparisons by A, the best here, and in 20 by B" in layers.finding([bad, good])
    assert "1 of 2 measures pass (A); B do not" in layers.finding([bad, good])
    assert "all 1 measures pass" in layers.finding([good])
    assert "none of the 1 measures passes" in layers.finding([bad])
    assert "chance gives 12" in layers.finding([good])


def reading(**fields: Any) -> measures.Reading:
    plain: dict[str, Any] = {
        "pair": "a × b", "measure": "CKA", "value": 0.4, "chance": 0.0, "chance_sd": 0.01, "pvalue": 0.01,
        "corrected": 0.4, "within": 0.3, "within_sd": 0.01, "within_pvalue": 0.01, "permutations": 99,
    }  # fmt: skip
    return measures.Reading(**plain | fields)


def test_measures_finding_says_which_are_not_above_chance() -> None:
    every = [reading(), reading(measure="KA", pvalue=0.7, chance=0.9, corrected=-0.1, within_pvalue=0.5)]

    text = measures.finding(every)

    assert "1 of 2 measures are above chance at p ≤ 0.05 (not KA) and 1 still" in text
    assert "up to 0.90 (KA)" in text
    assert "from -0.10 (KA) to 0.40 (CKA)" in text
    assert "1 of 1 measures are above chance at p ≤ 0.05 and 0 still" in measures.finding([reading(within_pvalue=0.2)])


def test_share_of_the_classes() -> None:
    assert reading().of_classes == pytest.approx(0.75)
    assert math.isnan(reading(pvalue=0.5).of_classes)


def width(size: int, cka: float, **fields: Any) -> widths.Width:
    plain = {"accuracy": 0.9, "cka_sd": 0.01, "mutual_knn": 0.5, "undefined": 0, "pairs": 10}
    return widths.Width(width=size, cka=cka, **plain | fields)


def encoder(network: str, probe: float, cka: float) -> widths.Encoder:
    return widths.Encoder(network, "last", True, probe, {"T": cka}, {"T": 0.1})


def test_widths_finding_goes_both_ways() -> None:
    rising, falling = [0.2, 0.5, 0.9], [0.9, 0.5, 0.2]

    def said(values: list[float]) -> str:
        return widths.finding([width(2**k, value) for k, value in enumerate(values)], [], {})

    assert "Wider networks are more alike: CKA between seeds goes from 0.20 at width 1 to 0.90 at 4" in said(rising)
    assert "Wider networks are less alike" in said(falling)
    assert "Wider networks are neither more alike nor less alike" in said([0.5, 0.9, 0.5])
    assert "No pretrained encoder" in said(rising)


def test_widths_finding_counts_networks_that_collapsed() -> None:
    text = widths.finding([width(4, math.nan, undefined=10), width(8, 0.5, undefined=4), width(16, 0.9)], [], {})

    assert "from 0.50 at width 8 to 0.90 at 16" in text
    assert "At width 4, 10 of 10 pairs have no CKA" in text
    assert "At width 8, 4 of 10" in text


def test_encoders_finding_goes_both_ways() -> None:
    small = [width(8, 0.5), width(16, 0.9)]

    def said(ckas: list[float]) -> str:
        every = [encoder(name, probe, cka) for name, probe, cka in zip("ABC", (0.3, 0.2, 0.4), ckas, strict=True)]
        return widths.finding(small, every, {"T": 0.8})

    assert "are more like T" in said([0.3, 0.2, 0.4])
    assert "B 0.200 (reads 0.200), A 0.300 (reads 0.300), C 0.400 (reads 0.400), the better the more" in said(
        [0.3, 0.2, 0.4]
    )
    assert "are less like T" in said([0.3, 0.4, 0.2])
    assert "the better the less alike" in said([0.3, 0.4, 0.2])
    assert "in no order" in said([0.5, 0.2, 0.4])


def point(**fields: Any) -> concentration.Point:
    plain: dict[str, Any] = {
        "case": "A", "n": 100, "draws": 100, "population": 0.5, "deviation": 0.1, "bound": 1.0, "outside": 0,
        "half_width": 0.3, "missed": 0,
    }  # fmt: skip
    return concentration.Point(**plain | fields)


def test_concentration_finding_goes_both_ways() -> None:
    held, failed = point(), point(case="B", outside=40)

    assert "The paper's bound holds for A, 10 to 10 times" in concentration.finding([held])
    assert "It fails for B: at n = 100 in 40 of 100 draws" in concentration.finding([held, failed])
    assert "holds" not in concentration.finding([failed])
    assert "misses the population in 2 of 100 draws, within its promise" in concentration.finding([point(missed=2)])
    assert "breaks its promise for A at n = 100" in concentration.finding([point(missed=6)])


def a_cut(**fields: float) -> cuts.Cut:
    plain = {
        "misalignment": 0.1, "ratio": 0.1, "own": 0.1, "stitched": 0.2, "effective": 0.4, "refined": 0.8,
        "certified": 2.0, "kappa": 3.0,
    }  # fmt: skip
    return cuts.Cut(**plain | fields)


def stitched(stitch: str = "linear", seeds: tuple[int, int] = (0, 1), **fields: float) -> stitchers.Point:
    return stitchers.Point(stitch, seeds, 1, 1, a_cut(**fields))


def test_stitching_finding_goes_both_ways() -> None:
    near, far = stitched(ratio=0.1, stitched=0.2), stitched(seeds=(1, 0), ratio=0.3, stitched=0.3)

    text = stitchers.finding([near, far])

    assert "Over 2 stitched networks no bound is exceeded once" in text
    assert "2 (effective), 2 (refined), 0 (certified) of 2" in text
    assert "excess risk of linear maps with a correlation of 1.00, among those into the same layer of 1.00 from" in text
    assert "correlation of -1.00" in stitchers.finding([near, stitched(seeds=(1, 0), ratio=0.3, stitched=0.15)])
    assert "exceeds a bound in 1 cases" in stitchers.finding([near, stitched(stitched=0.5)])


def test_stitching_finding_compares_other_maps_with_linear_ones() -> None:
    plain = stitched(misalignment=0.2, stitched=0.3)

    def said(**fields: float) -> str:
        return stitchers.finding([plain, stitched("kernel ridge", **fields)])

    assert (
        "Maps by kernel ridge come nearer to the features than linear ones in 1 of 1 cases and to the targets in 0"
        in (said(misalignment=0.1, stitched=0.35))
    )
    assert "in 0 of 1 cases and to the targets in 1" in said(misalignment=0.3, stitched=0.25)


def step(severity: float, **fields: float) -> shifts.Step:
    own = {name: fields.pop(name) for name in list(fields) if name in cuts.Cut.__dataclass_fields__}
    plain: dict[str, Any] = {"ka": 0.9, "cka": 0.9, "refitted": 0.1, "violated": 0, "pairs": 2}
    return shifts.Step("noise", severity, cut=a_cut(**own), **plain | fields)


def test_shift_finding_goes_both_ways() -> None:
    clean = step(0, ka=0.9, misalignment=0.1, stitched=0.2)
    rising = [clean, step(1, ka=0.8, misalignment=0.2, stitched=0.3), step(2, ka=0.7, misalignment=0.3, stitched=0.4)]
    falling = [clean, step(1, ka=0.8, misalignment=0.2, stitched=0.15), step(2, ka=0.7, misalignment=0.3, stitched=0.1)]

    assert "from 0.200 on clean images to 0.400 (noise 2)" in shifts.finding(rising)
    assert "Ã₂ of the fitted map 1.00 and 1.00" in shifts.finding(rising)
    assert "linear KA -1.00 and -1.00" in shifts.finding(rising)
    assert "Ã₂ of the fitted map -1.00 and -1.00" in shifts.finding(falling)
    assert "No bound is exceeded in any of 6 cases" in shifts.finding(rising)
    assert "A bound is exceeded in 1 of 6 cases" in shifts.finding([clean, step(1), step(2, violated=1)])
    assert "by how much is told by none of them" in shifts.finding([clean, step(1), step(2)])
    assert "raises the risk in 2 of 3 steps and lowers it in 1, and by how much is told best by Ã₂ of the fitted" in (
        shifts.finding([clean, step(1, misalignment=0.2, stitched=0.3), step(2, misalignment=0.05, stitched=0.05)])
    )


def test_clean_images_are_counted_once() -> None:
    clean, shifted = step(0), step(1, stitched=0.5)

    assert shifts.finding([clean, shifted, clean]) == shifts.finding([clean, shifted])


# ---- pretrained encoders ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Features of a few categories, in files as those of examples/encoders."""
    rng = np.random.default_rng(0)
    category = np.arange(80) % 4
    base = np.eye(4)[category] + 0.3 * rng.standard_normal((80, 4))
    for name, noise in (("lite0", 1.0), ("lite1", 0.5), ("lite2", 0.2)):
        (tmp_path / name).mkdir()
        for k in range(2):
            np.save(tmp_path / name / f"block_{k:02}.npy", base @ rng.standard_normal((4, 6)) + 2 * noise)
        np.save(tmp_path / f"{name}_out.npy", base @ rng.standard_normal((4, 8)) + noise * rng.standard_normal((80, 8)))
    for name in encoders.TEXTS.values():
        np.save(tmp_path / f"{name}.npy", base @ rng.standard_normal((4, 5)))
    np.save(tmp_path / "category.npy", category)
    return tmp_path


def test_encoders_are_compared_where_they_are_given(folder: Path) -> None:
    found = experiments.run("metrics", folder / "out", quick=True, representations=folder).document

    assert found["real_encoders"] is True
    assert set(found["n"]) == {"Lite0 × MiniLM", "Lite0 × Lite2"}
    assert found["features"]["Lite0 × MiniLM"] == [8, 5]
    assert "Pictures of emoji with their names" in found["finding"]
    assert not found["notes"]


def test_layers_of_encoders_are_probed(folder: Path) -> None:
    found, texts = widths._encoded(folder, quick=False)

    assert [(e.network, e.layer) for e in found[:3]] == [
        ("Lite0", "block_00"),
        ("Lite0", "block_01"),
        ("Lite0", "last"),
    ]
    assert set(texts) == set(found[0].cka) == {"MiniLM", "USE", "GloVe"}
    assert min(texts.values()) > 0.8  # of 0.25 by chance
    last = {e.network: e for e in found if e.last}
    assert last["Lite0"].probe < last["Lite2"].probe
    assert last["Lite0"].cka["USE"] < last["Lite2"].cka["USE"]


def test_probe_of_noise_is_at_chance() -> None:
    rng = np.random.default_rng(0)

    assert widths.probe(rng.standard_normal((400, 10)), np.arange(400) % 4) == pytest.approx(0.25, abs=0.08)


def test_missing_representation_says_how_to_make_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "category.npy").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"lite0_out\.npy is missing\. To install them: sh examples/encoders/set"
    ):
        encoders.image(tmp_path, "Lite0")
    with pytest.raises(FileNotFoundError, match=r"lite1 has no block_\*\.npy\. To install them"):
        encoders.blocks(tmp_path, "Lite1")

    assert main(["metrics", "--out", str(tmp_path), "--representations", str(tmp_path / "nowhere")]) == 1
    assert "metrics: " in capsys.readouterr().err


# ---- the command --------------------------------------------------------------------------------------------------


def test_list_names_every_experiment_and_loads_nothing_big() -> None:
    code = (
        "import sys; from gramian.experiments.__main__ import main; main(['--list']); "
        "print({'torch', 'sklearn'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert [line for line in shown.splitlines() if not line.startswith(" ")] == [*experiments.EXPERIMENTS, "set()"]


def test_unknown_experiment_is_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["nothing"])
    assert "no experiment is called 'nothing'; there are layers-across-seeds, " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "name an experiment; --list shows them" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no experiment is called 'nothing'; there are layers-across-seeds"):
        experiments.run("nothing", tmp_path)


def test_without_torch_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(frame, "find_spec", lambda name: None)

    assert main(["ka-concentration", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said == ("ka-concentration: this experiment needs torch and scikit-learn: pip install torch scikit-learn\n")
    assert not (tmp_path / "out").exists()


def test_command_prints_the_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")

    assert main(["ka-concentration", "--quick", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("ka-concentration (quick: a trial run)\nThe kernel alignment of n")


def test_numbers_for_json() -> None:
    given = {"a": np.float32(0.5), "b": np.array([1.0, np.nan]), "c": range(2), "d": (math.inf, None, "x")}

    assert frame.plain(given) == {"a": 0.5, "b": [1.0, None], "c": [0, 1], "d": [None, None, "x"]}


def test_rank_correlation_has_middle_ranks_for_ties() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = [1.0, 2, 2, 5, 3], [3.0, 3, 1, 9, 4]

    assert frame.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert math.isnan(frame.rank_correlation(a, [1.0] * 5))


# ---- what is published --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_page_tells_what_the_published_files_say(name: str) -> None:
    document = json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))
    page = " ".join((ROOT / "docs" / "experiments.md").read_text(encoding="utf-8").replace("\n> ", " ").split())

    assert document["quick"] is False
    assert document["claim"] == experiments.module(name).CLAIM
    assert " ".join(document["finding"].split()) in page
    assert f"experiments/{name}.svg" in page
    assert f"experiments/{name}.json" in page
    assert document["date"] in page
    assert document["machine"]["processor"] in page
    assert document["cpu_seconds"] < 300
    ElementTree.fromstring((PUBLISHED / f"{name}.svg").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_no_published_bound_is_exceeded(name: str) -> None:
    document = json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))

    cut = [entry["cut"] for entry in [*document.get("points", []), *document.get("steps", [])] if "cut" in entry]
    assert not document.get("violations", 0)
    assert all(c["stitched"] <= c[bound] * (1 + 1e-9) for c in cut for bound in BOUNDS)
    assert bool(cut) == (name in ("stitching-error", "domain-shift"))


def test_page_names_the_versions_of_the_published_files() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    versions = {
        name: json.loads((PUBLISHED / f"{name}.json").read_text())["versions"] for name in experiments.EXPERIMENTS
    }

    for found in versions.values():
        for package in ("torch", "scikit-learn", "numpy"):
            assert re.search(rf"{package} {re.escape(found[package])}", page)
