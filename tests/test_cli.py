"""The command line on real files: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import numpy as np
import pytest

import gramian as gm
from gramian import cli
from gramian.cli import options, stitch
from gramian.results.plain import kernel_text, plain

MATRIX_SUFFIXES = (".png", ".svg", ".csv", ".npy", ".json")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leaving:
            cli.main([str(argument) for argument in arguments])
        return (int(leaving.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """x and y share two directions, z is independent of both, and flat never changes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    y = np.hstack([x[:, :2], rng.normal(size=(60, 3))])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "z.npy", rng.normal(size=(60, 4)))
    np.save(tmp_path / "flat.npy", np.ones((60, 3)))
    np.save(tmp_path / "short.npy", x[:58])
    np.save(tmp_path / "tiny.npy", x[:3])
    np.save(tmp_path / "nan.npy", np.where(np.arange(60)[:, None] == 17, np.nan, x))
    np.savez(tmp_path / "a.npz", layer10=x, layer2=y, layer1=rng.normal(size=(60, 4)))
    np.savez(tmp_path / "b.npz", enc=x, dec=y)
    return tmp_path


def load(folder: Path, *names: str) -> list[np.ndarray]:
    return [np.load(folder / f"{name}.npy") for name in names]


def program(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gramian", *map(str, arguments)], capture_output=True, text=True, **options
    )


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands(run: Any) -> None:
    code, out, err = run("--help")

    assert (code, err) == (0, "")
    assert re.findall(r"^  (\w+)  ", out.partition("Commands:")[2], re.MULTILINE) == list(cli.COMMANDS)
    assert "..." not in out.partition("Commands:")[2]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(run: Any, command: str) -> None:
    code, out, err = run(command, "--help")

    assert (code, err) == (0, "")
    assert "Options:" in out
    assert max(map(len, out.splitlines())) <= 100


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from gramian import cli\n"
        "try: cli.main(['compare', '--help'])\n"
        "finally: print([m for m in ('torch', 'scipy.stats', 'scipy.special', 'matplotlib', 'pandas', 'tqdm',"
        " 'safetensors') if m in sys.modules], file=sys.stderr)"
    )

    err = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr

    assert err.strip() == "[]"


def test_choices_are_those_of_the_functions() -> None:
    from gramian import experiments, platonic
    from gramian.cli import experiments as of_experiments, null, platonic as of_platonic, rsa
    from gramian.inference import independence, permutation
    from gramian.measures import dissimilarities, neighbors
    from gramian.measures.rsa import Correlation
    from gramian.stitching import linear
    from gramian.sweeps import estimators

    assert tuple(experiments.EXPERIMENTS) == of_experiments.NAMES
    assert get_args(platonic.Metric) == of_platonic.METRICS
    assert set(null.ALTERNATIVES) == set(get_args(permutation.Alternative))
    assert set(rsa.DISSIMILARITIES) == set(get_args(dissimilarities.Dissimilarity))
    assert set(rsa.CORRELATIONS) == set(get_args(Correlation))
    assert set(stitch.KINDS) == set(get_args(linear.Kind))
    assert set(options.METRICS) == set(get_args(neighbors.Metric))
    assert set(options.METHODS) == set(get_args(independence.Method))
    assert set(options.ESTIMATORS) == set(get_args(estimators.Estimator))


def test_version_is_the_packages(run: Any) -> None:
    code, out, _ = run("--version")

    assert code == 0
    assert gm.__version__ in out


# ---- compare ---------------------------------------------------------------------------------------------------------


def test_compare_prints_the_table_of_the_result(run: Any, files: Path) -> None:
    code, out, err = run("compare", files / "x.npy", files / "y.npy")

    assert (code, err) == (0, "")
    assert out == f"{gm.compare(*load(files, 'x', 'y'))}\n"


def test_compare_json_is_the_result(run: Any, files: Path) -> None:
    code, out, err = run("compare", files / "x.npy", files / "y.npy", "--kernel", "laplacian", "--json")

    document, want = json.loads(out), gm.compare(*load(files, "x", "y"), ["laplacian"])
    assert (code, err) == (0, "")
    assert (document["n"], document["dx"], document["dy"]) == (60, 6, 5)
    assert document["inputs"] == {"x": f"{files}/x.npy", "y": f"{files}/y.npy"}
    assert [row["value"] for row in document["rows"]] == [row.value for row in want.rows]


def test_compare_takes_several_kernels_and_one_bandwidth(run: Any, files: Path) -> None:
    x, y = load(files, "x", "y")
    options = ("--kernel", "rbf", "--kernel", "linear", "--bandwidth", "1.5", "--confidence", "0.9")

    code, out, _ = run("compare", files / "x.npy", files / "y.npy", *options, "--json")

    want = gm.compare(x, y, [gm.RBF(bandwidth=1.5), gm.Linear()], confidence=0.9)
    rows = json.loads(out)["rows"]
    assert code == 0
    assert [row["value"] for row in rows] == [row.value for row in want.rows]
    assert [row["ci"] for row in rows] == [None if row.ci is None else list(row.ci) for row in want.rows]


def test_compare_is_seeded(run: Any, files: Path) -> None:
    options = ("--method", "permutation", "--permutations", "99", "--json")

    one, two, other = (run("compare", files / "x.npy", files / "z.npy", *options, "--seed", s)[1] for s in (1, 1, 2))

    assert one == two
    assert one != other


def test_undefined_values_are_null_with_a_reason(run: Any, files: Path) -> None:
    code, out, _ = run("compare", files / "x.npy", files / "flat.npy", "--kernel", "linear", "--json")

    undefined = [row for row in json.loads(out)["rows"] if row["value"] is None]
    assert code == 0
    assert undefined
    assert all(row["reason"] for row in undefined)


def test_undefined_values_are_words_in_the_table(run: Any, files: Path) -> None:
    code, out, _ = run("compare", files / "x.npy", files / "flat.npy", "--kernel", "linear")

    assert code == 0
    assert re.search(r"undefined[,:] \w+", out)
    assert "nan" not in out


def test_keys_of_archives_are_taken(run: Any, files: Path) -> None:
    code, out, _ = run("compare", f"{files}/b.npz:enc", f"{files}/b.npz:dec", "--json")

    assert code == 0
    assert json.loads(out)["rows"] == json.loads(run("compare", files / "x.npy", files / "y.npy", "--json")[1])["rows"]


# ---- test ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", options.METHODS)
def test_test_reports_the_result(run: Any, files: Path, method: str) -> None:
    x, y = load(files, "x", "y")

    code, out, err = run("test", files / "x.npy", files / "y.npy", "--method", method, "--permutations", 50, "--json")

    want = gm.independence_test(x, y, method=method, permutations=50, seed=0)
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["statistic"], document["pvalue"]) == (want.statistic, want.pvalue)
    assert (document["method"], document["n"]) == (method, 60)


def test_test_prints_names_and_values(run: Any, files: Path) -> None:
    code, out, _ = run("test", files / "x.npy", files / "y.npy", "--kernel", "linear", "--method", "permutation")

    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in out.splitlines())
    assert code == 0
    assert float(lines["p-value"]) == pytest.approx(1 / 1001, rel=1e-4)
    assert lines["n"] == "60"
    assert len({line.index(value) for line, value in zip(out.splitlines(), lines.values(), strict=True)}) == 1


def test_a_pvalue_below_the_range_of_floats_is_not_zero(run: Any, files: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(files / "long.npy", rng.standard_normal((3000, 2)))

    _, out, _ = run("test", files / "long.npy", files / "long.npy", "--kernel", "rbf")
    assert re.search(r"^p-value +< 1e-300$", out, re.MULTILINE)
    _, out, _ = run("compare", files / "long.npy", files / "long.npy")
    assert "< 1e-300" in out


def test_an_undefined_test_says_why(run: Any, files: Path) -> None:
    code, out, _ = run("test", files / "x.npy", files / "flat.npy", "--kernel", "linear")
    document = json.loads(run("test", files / "x.npy", files / "flat.npy", "--kernel", "linear", "--json")[1])

    assert code == 0
    assert re.search(r"^p-value +undefined$", out, re.MULTILINE)
    assert len(re.findall(r"^undefined: Y is constant", out, re.MULTILINE)) == 1
    assert document["pvalue"] is None
    assert document["reason"]


# ---- matrix ----------------------------------------------------------------------------------------------------------


def test_matrix_prints_layers_in_order(run: Any, files: Path) -> None:
    code, out, err = run("matrix", files / "a.npz", files / "b.npz")

    lines = [line.split() for line in out.splitlines() if line]
    want = gm.cka_matrix(dict(np.load(files / "a.npz")), dict(np.load(files / "b.npz")))
    cell = want.values[list(want.rows).index("layer2"), list(want.columns).index("enc")]
    assert (code, err) == (0, "")
    assert lines[-4] == ["dec", "enc"]
    assert [line[0] for line in lines[-3:]] == ["layer1", "layer2", "layer10"]
    assert lines[-2][2] == f"{cell:.3f}"


def test_matrix_of_one_file_compares_it_with_itself(run: Any, files: Path) -> None:
    code, out, _ = run("matrix", files / "a.npz", "--measure", "kernel_alignment", "--estimator", "biased", "--json")

    document = json.loads(out)
    assert code == 0
    assert document["rows"] == document["columns"] == ["layer1", "layer2", "layer10"]
    assert np.diag(document["values"]) == pytest.approx([1, 1, 1])
    assert (document["measure"], document["estimator"], document["n"]) == ("kernel_alignment", "biased", 60)


def test_matrix_is_written_in_every_format(run: Any, files: Path) -> None:
    outputs = [files / f"cka{suffix}" for suffix in MATRIX_SUFFIXES]

    code, out, err = run("matrix", files / "a.npz", "--kernel", "rbf", *(part for o in outputs for part in ("-o", o)))

    png, svg, csv, npy, as_json = outputs
    values = np.load(npy)
    table = [line.split(",") for line in csv.read_text().splitlines()]
    assert (code, err) == (0, "")
    assert out == run("matrix", files / "a.npz", "--kernel", "rbf")[1] + "\n" + "".join(f"wrote {o}\n" for o in outputs)
    assert values.shape == (3, 3)
    assert table[0] == ["", "layer1", "layer2", "layer10"]
    assert np.array_equal([[float(cell) for cell in row[1:]] for row in table[1:]], values)
    assert json.loads(as_json.read_text())["values"] == values.tolist()
    assert ElementTree.fromstring(svg.read_text()).tag.endswith("svg")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_matrix_shows_undefined_cells(run: Any, files: Path) -> None:
    np.savez(files / "c.npz", good=load(files, "x")[0], flat=np.ones((60, 2)))

    code, out, _ = run("matrix", files / "c.npz")
    document = json.loads(run("matrix", files / "c.npz", "--json")[1])

    assert code == 0
    assert "undefined: " in out
    assert document["values"][0] == [None, None]
    assert math.isclose(document["values"][1][1], 1)


@pytest.mark.parametrize("layout", ["directory", "three dimensions"])
def test_matrix_reads_every_layout_of_layers(run: Any, files: Path, layout: str) -> None:
    layers = {name: load(files, "x")[0] * [1, i, 1, i, 1, 1] for i, name in enumerate(("layer0", "layer1"))}
    (files / "layers").mkdir()
    for name, x in layers.items():
        np.save(files / "layers" / f"{name}.npy", x)
    np.save(files / "layers.npy", np.stack(list(layers.values()), axis=1))

    code, out, _ = run("matrix", files / ("layers" if layout == "directory" else "layers.npy"), "--json")

    assert code == 0
    assert json.loads(out)["rows"] == ["layer0", "layer1"]
    assert json.loads(out)["values"] == gm.cka_matrix(layers).values.tolist()


@pytest.mark.parametrize("name", ["cka.jpg", "cka"])
def test_an_unknown_format_is_a_usage_error(run: Any, files: Path, name: str) -> None:
    code, out, err = run("matrix", files / "a.npz", "-o", files / name)

    assert (code, out) == (2, "")
    assert f"-o {files}/{name}: write it as one of .png, .pdf, .svg, .csv, .json, .html, .npy" in err


def test_a_missing_directory_is_found_before_the_work(run: Any, tmp_path: Path) -> None:
    code, _, err = run("matrix", tmp_path / "no such file.npz", "-o", tmp_path / "no" / "cka.csv")

    assert code == 1
    assert err == f"Error: {tmp_path}/no: no such directory\n"


def test_without_matplotlib_png_names_the_extra(run: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    code, _, err = run("matrix", files / "a.npz", "-o", files / "cka.png")

    assert code == 1
    assert "a .png needs matplotlib: pip install 'gramian[viz]'; .svg does not" in err


# ---- knn -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", options.METRICS)
def test_knn_json_is_the_overlap_of_the_lists(run: Any, files: Path, metric: Any) -> None:
    code, out, err = run("knn", files / "x.npy", files / "y.npy", "-k", "5", "--metric", metric, "--json")

    document = json.loads(out)
    a, b = (gm.neighbors(z, 5, metric=metric) for z in load(files, "x", "y"))
    assert (code, err) == (0, "")
    assert (document["n"], document["k"], document["metric"]) == (60, 5, metric)
    for row in document["rows"]:
        want = gm.neighbor_overlap(a, b, measure=row["measure"]).to_dict()
        assert {**row, "n": 60, "k": 5} == {name: value for name, value in want.items() if name != "provenance"}
    assert [row["measure"] for row in document["rows"]] == ["mutual_knn", "cycle_knn", "lcs_knn", "edit_knn"]


def test_knn_says_why_there_is_no_value(run: Any, files: Path) -> None:
    np.save(files / "same.npy", np.ones((60, 3)))
    code, out, err = run("knn", files / "same.npy", files / "y.npy")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "undefined: in X, all rows are equally near each other"
    assert out.splitlines()[3].split() == ["mutual_knn", "undefined", "0.1695", "-"]


def test_a_layer_that_is_constant_has_no_p_value_but_an_interval(run: Any, files: Path) -> None:
    np.save(files / "same.npy", np.ones((60, 3)))
    _, out, _ = run("compare", files / "same.npy", files / "y.npy")
    assert "linear hsic: no p-value: X is constant" in out
    assert "no interval" not in out


def test_rows_of_named_fields_are_told_how_they_become_numbers(run: Any, files: Path) -> None:
    np.save(files / "fields.npy", np.zeros(60, [("a", "f8"), ("b", "i4")]))
    code, _, err = run("knn", files / "fields.npy", files / "y.npy")
    assert code != 0
    assert "structured_to_unstructured" in err
    assert "reshape" not in err


def test_knn_prints_a_line_for_every_measure(run: Any, files: Path) -> None:
    code, out, err = run("knn", files / "x.npy", files / "y.npy")

    x, y = load(files, "x", "y")
    first, _, _, *lines = out.splitlines()
    assert (code, err) == (0, "")
    assert first == "10 nearest neighbours by cosine, n = 60"
    for line in lines:
        measure, value, _, corrected = line.split()
        assert value == f"{getattr(gm, measure)(x, y):.4f}"
        assert float(corrected) < float(value)


def test_knn_has_nothing_to_correct_when_all_are_neighbours(run: Any, files: Path) -> None:
    code, out, _ = run("knn", files / "tiny.npy", files / "tiny.npy", "-k", "2")
    document = json.loads(run("knn", files / "tiny.npy", files / "tiny.npy", "-k", "2", "--json")[1])

    assert code == 0
    assert out.splitlines()[3].split() == ["mutual_knn", "1.0000", "1.0000", "-"]
    assert document["rows"][0]["corrected"] is None


def test_too_many_neighbours_are_one_line(run: Any, files: Path) -> None:
    code, out, err = run("knn", files / "x.npy", files / "y.npy", "-k", "60")

    assert (code, out) == (1, "")
    assert err == "Error: k must be at most 59, the number of other rows, got 60\n"


# ---- spectrum --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centered", [False, True])
def test_spectrum_reports_the_result(run: Any, files: Path, centered: bool) -> None:
    (x,) = load(files, "x")
    flags = ["--centered"] if centered else []

    code, out, err = run("spectrum", files / "x.npy", "--bandwidth", 2, "-k", 4, "--json", *flags)

    want = gm.spectrum(x, gm.RBF(2.0), 4, centered=centered)
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["eigenvalues"], document["trace"]) == (want.eigenvalues.tolist(), want.trace)
    assert (document["n"], document["centered"], document["kernel"]) == (60, centered, plain(gm.RBF(2.0)))
    assert "eigenfunctions" not in document
    assert document["provenance"]["rows"][0]["digest"] == want.provenance.rows[0].digest


def test_spectrum_prints_a_row_for_each_eigenvalue(run: Any, files: Path) -> None:
    (x,) = load(files, "x")
    want = gm.spectrum(x, "laplacian", 3)

    code, out, _ = run("spectrum", files / "x.npy", "--kernel", "laplacian", "-k", 3)

    head, _, titles, *rows = out.splitlines()
    assert code == 0
    assert head == f"K/n, {kernel_text(want.kernel)}, n = 60, trace = 1"
    assert titles.split() == ["eigenvalue", "explained", "residual"]
    assert [int(row.split()[0]) for row in rows] == [1, 2, 3]
    assert [float(row.split()[1]) for row in rows] == pytest.approx(list(want.eigenvalues), rel=1e-5)
    assert float(rows[2].split()[2].rstrip("%")) == pytest.approx(100 * want.explained[2], abs=0.01)


def test_spectrum_says_what_is_to_be_known(run: Any, files: Path) -> None:
    code, out, _ = run("spectrum", files / "flat.npy", "-k", 2, "--centered")

    assert code == 0
    assert out.splitlines()[0].startswith("HKH/n, ")
    assert re.search(r"^ +1 +0 +- +0\.0e\+00$", out, re.MULTILINE)
    assert out.splitlines()[-1].startswith("note: the kernel matrix has rank 0 up to rounding")


def test_spectrum_of_too_many_eigenvalues_is_an_error(run: Any, files: Path) -> None:
    code, out, err = run("spectrum", files / "x.npy", "-k", 61)
    assert (code, out) == (1, "")
    assert err == "Error: k must be at most the number of rows, 60, got 61\n"


# ---- stitch ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stitched(files: Path) -> Path:
    """b is a map of x and some noise, w a head of it, t its targets."""
    rng = np.random.default_rng(1)
    (x,) = load(files, "x")
    b = x @ rng.normal(size=(6, 3)) + 0.5 * rng.normal(size=(60, 3))
    w = rng.normal(size=(2, 3))
    np.save(files / "b.npy", b)
    np.save(files / "w.npy", w)
    np.save(files / "v.npy", rng.normal(size=(2, 6)))
    np.save(files / "t.npy", b @ w.T + rng.normal(size=(60, 2)))
    return files


def test_stitch_without_a_head_says_how_much_of_b_is_there(run: Any, stitched: Path) -> None:
    x, b = load(stitched, "x", "b")
    want = gm.stitch_report(x, b)

    code, out, err = run("stitch", stitched / "x.npy", stitched / "b.npy")

    assert (code, err) == (0, "")
    assert out == f"{want}\n"
    assert "misalignment_ratio" in out
    assert "risk" not in out


def test_stitch_with_a_head_shows_every_bound(run: Any, stitched: Path) -> None:
    x, b, t, v, w = load(stitched, "x", "b", "t", "v", "w")
    want = gm.stitch_report(x, b, t, v, w, kind="affine", ridge="gcv", split=0.4, seed=3)
    flags = ("--kind", "affine", "--ridge", "gcv", "--split", 0.4, "--seed", 3)
    heads = ("--targets", stitched / "t.npy", "--head", stitched / "w.npy", "--first-head", stitched / "v.npy")

    code, out, err = run("stitch", stitched / "x.npy", stitched / "b.npy", *heads, *flags)

    assert (code, err) == (0, "")
    assert out == f"{want}\n"
    for bound in want.bounds:
        assert bound.name in out


def test_stitch_gives_json(run: Any, stitched: Path) -> None:
    x, b, t, w = load(stitched, "x", "b", "t", "w")
    want = gm.stitch_report(x, b, t, None, w)
    heads = ("--targets", stitched / "t.npy", "--head", stitched / "w.npy")

    code, out, _ = run("stitch", stitched / "x.npy", stitched / "b.npy", *heads, "--json")

    found = json.loads(out)
    assert code == 0
    assert found["inputs"]["head"] == str(stitched / "w.npy")
    assert found["risk_stitch"] == want.risk_stitch
    assert found["risk1"] is None
    assert found["reasons"]["risk1"] == "no head g1 was given"
    assert [(b["name"], b["value"]) for b in found["bounds"]] == [(b.name, b.value) for b in want.bounds]


def test_stitch_by_a_kernel_takes_its_bandwidth(run: Any, stitched: Path) -> None:
    x, b = load(stitched, "x", "b")
    want = gm.stitch_report(x, b, kind="kernel_ridge", kernel=gm.RBF(3.0), ridge=0.01)
    flags = ("--kind", "kernel_ridge", "--kernel", "rbf", "--bandwidth", 3, "--ridge", 0.01)

    code, out, err = run("stitch", stitched / "x.npy", stitched / "b.npy", *flags)

    assert (code, err) == (0, "")
    assert out == f"{want}\n"


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--ridge", "much"], 2, "--ridge must be a number or gcv, got much"),
        (["--bandwidth", "1"], 2, "--bandwidth is that of --kernel, which is missing"),
        (["--head", "w.npy"], 1, "Y is missing: the head g2 has no risk without targets (g2 is "),
        (["--targets", "short.npy"], 1, "F1 has 60 rows but Y has 58; row i of both must be the same sample (F1 is "),
        (["--kernel", "rbf"], 1, "kernel belongs to kind 'kernel_ridge', got kind 'linear'"),
        (["--split", "0.01"], 1, "split=0.01 of 60 rows leaves 1 to fit on"),
    ],
)
def test_stitch_says_what_is_wrong(run: Any, stitched: Path, flags: list[str], code: int, text: str) -> None:
    named = [stitched / flag if flag.endswith(".npy") else flag for flag in flags]

    found = run("stitch", stitched / "x.npy", stitched / "b.npy", *named)

    assert found[0] == code
    assert text in found[2]


# ---- info and demo ---------------------------------------------------------------------------------------------------


def test_info_shows_what_info_returns(run: Any) -> None:
    code, out, err = run("info")

    assert (code, err) == (0, "")
    assert gm.__version__ in out
    assert all(key.replace("_", " ") in out for key in [*gm.info(), *gm.info()["packages"]])


def test_info_json_is_one_document(run: Any) -> None:
    code, out, _ = run("info", "--json")

    assert code == 0
    assert set(gm.info()) <= set(json.loads(out))


def test_demo_writes_its_report_and_shows_it(run: Any, tmp_path: Path) -> None:
    code, out, err = run("demo", "-o", tmp_path / "demo")

    written = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert (code, err) == (0, "")
    assert written == ["report.html", "results.json"]
    assert all(f"{tmp_path}/demo/{name}" in out for name in written)


def test_demo_json_is_the_report(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("demo", "-o", tmp_path / "demo", "--json")

    assert code == 0
    assert json.loads(out)["html"] == f"{tmp_path}/demo/report.html"


def test_demo_into_a_file_is_a_usage_error(run: Any, files: Path) -> None:
    code, out, err = run("demo", "-o", files / "x.npy")

    assert (code, out) == (2, "")
    assert "is a file" in err


# ---- undefined -------------------------------------------------------------------------------------------------------

NOTHING = ("flat", "zeros", "far", "dead", "parallel", "apart")


@pytest.fixture
def nothing(files: Path) -> Path:
    """Features of which something is undefined, as networks have them."""
    rng = np.random.default_rng(1)
    np.save(files / "zeros.npy", np.zeros((60, 3)))
    np.save(files / "far.npy", (rng.normal(size=(60, 4)) * 0.1 + 3e7).astype(np.float32))
    np.save(files / "dead.npy", (np.maximum(0, rng.normal(size=(60, 8))) * (np.arange(8) != 2)).astype(np.float32))
    np.save(files / "parallel.npy", rng.uniform(0.1, 5, (60, 1)) * rng.normal(size=6))
    np.save(files / "apart.npy", np.eye(60))
    np.save(files / "w.npy", rng.normal(size=(2, 5)))
    np.save(files / "targets.npy", rng.normal(size=(60, 2)))
    np.savez(files / "nothing.npz", **{name: np.load(files / f"{name}.npy") for name in (*NOTHING, "x")})
    return files


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", NOTHING)
def test_undefined_results_end_well_and_with_a_reason(run: Any, nothing: Path, name: str, as_json: bool) -> None:
    x, y = nothing / f"{name}.npy", nothing / "y.npy"
    calls = [
        ("compare", x, y),
        ("test", x, y),
        ("knn", x, y),
        ("spectrum", x, "--centered"),
        ("spectrum", x, "--kernel", "linear"),
        ("stitch", x, y),
        ("stitch", x, y, "--targets", nothing / "targets.npy", "--head", nothing / "w.npy"),
        ("stitch", y, x, "--kind", "affine"),
    ]
    for call in calls:
        code, out, err = run(*call, *(["--json"] if as_json else []))
        assert (code, err) == (0, ""), call
        if as_json:
            assert isinstance(json.loads(out), dict)
        elif "undefined" in out:
            assert re.search(r"^(note|[\w\-()=., ]*undefined|[\w ]+): \w", out, re.MULTILINE), (call, out)


def test_matrix_of_undefined_layers_is_written_with_reasons(run: Any, nothing: Path) -> None:
    for suffix in ("svg", "csv", "npy", "json", "png"):
        code, _, err = run("matrix", nothing / "nothing.npz", "-o", nothing / f"m.{suffix}")
        assert (code, err) == (0, "")
    code, out, err = run("matrix", nothing / "nothing.npz")
    assert (code, err) == (0, "")
    assert len(re.findall(r"^- undefined: Xs\['flat'\]", out, re.MULTILINE)) == 1
    picture = (nothing / "m.svg").read_text()
    assert "hatched: undefined" in picture
    assert "Xs['flat'] is constant" in picture.replace("&apos;", "'")


def test_warnings_of_what_is_undefined_are_one_note_each(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gm.spectrum

    def warning(*args: Any, **options: Any) -> Any:
        for text in ("a is nan: it is 0", "a is nan: it is 0", "b is nan: it is 1"):
            warnings.warn(text, gm.UndefinedWarning, stacklevel=1)
        return whole(*args, **options)

    monkeypatch.setattr(gm, "spectrum", warning)
    code, _, err = run("spectrum", files / "x.npy")
    assert (code, err) == (0, "note: a is nan: it is 0\nnote: b is nan: it is 1\n")


# ---- failing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("compare", "x.npy", "short.npy"),
            "X has 60 rows but Y has 58; row i of both must be the same sample (X is x.npy, Y is short.npy)",
        ),
        (("compare", "x.npy", "nan.npy"), "Y has NaN in row 17, column 0 (its first bad row); "),
        (("compare", "nan.npy", "y.npy"), "leave that row out of every array (X is nan.npy)"),
        (("test", "x.npy", "short.npy"), "X has 60 rows but Y has 58"),
        (("matrix", "a.npz", "short.npy"), "60 rows but"),
        (("compare", "x.npy", "cube.npy"), "must be 2-d (samples by features), got shape (2, 3, 4)"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    np.save(files / "cube.npy", np.zeros((2, 3, 4)))
    monkeypatch.chdir(files)

    code, out, err = run(*arguments)

    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "x.npy", "missing.npy"), "missing.npy: no such file"),
        (("test", "x.npy", "b.npz"), "b.npz holds 2 arrays, dec, enc; name one of them, as b.npz:dec"),
        (("compare", "x.npy", "text.npy"), "text.npy cannot be read as .npy: "),
        (("compare", "x.npy", "x.txt"), "x.txt is not of a known kind; known are .npy, .npz, .safetensors"),
        (("matrix", "missing.npz"), "missing.npz: no such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    (files / "text.npy").write_text("not an array")
    (files / "x.txt").write_text("1 2 3")
    monkeypatch.chdir(files)

    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".json", ".svg"])
def test_an_output_that_cannot_be_written_in_whole_is_not_there(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    (files / "out").mkdir()
    code, _, _ = run("matrix", files / "a.npz", "-o", files / "out" / f"m{suffix}")
    before = (files / "out" / f"m{suffix}").read_bytes()

    def half(path: Path, *_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("gramian.cli.output._write", half)
    failed, out, err = run("matrix", files / "a.npz", "-o", files / "out" / f"m{suffix}")

    assert (code, failed, out) == (0, 1, "")
    assert err.startswith("Error: ")
    assert [path.name for path in (files / "out").iterdir()] == [f"m{suffix}"]
    assert (files / "out" / f"m{suffix}").read_bytes() == before


def test_too_few_rows_are_bad_input(run: Any, files: Path) -> None:
    code, _, err = run("compare", files / "tiny.npy", files / "tiny.npy")

    assert code == 1
    assert re.search(r"needs at least \d rows but got 3", err)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("align",),
        ("compare", "x.npy"),
        ("compare", "x.npy", "y.npy", "--kernel", "gauss"),
        ("compare", "x.npy", "y.npy", "--confidence", "1"),
        ("compare", "x.npy", "y.npy", "--bandwidth", "0"),
        ("compare", "x.npy", "y.npy", "--bandwidth", "nan"),
        ("compare", "x.npy", "y.npy", "--kernel", "linear", "--bandwidth", "1"),
        ("test", "x.npy", "y.npy", "--permutations", "0"),
        ("test", "x.npy", "y.npy", "--method", "wilcoxon"),
        ("matrix", "a.npz", "--estimator", "best"),
    ],
)
def test_a_wrong_command_is_exit_code_2(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(files)

    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert "Usage: gramian" in err


def test_a_bandwidth_without_use_names_the_kernels_that_have_one(run: Any, files: Path) -> None:
    _, _, err = run("test", files / "x.npy", files / "y.npy", "--kernel", "linear", "--bandwidth", "1")

    assert "--bandwidth: linear has none; rbf, exponential, laplacian, rational_quadratic have" in err


def test_there_is_no_traceback_but_in_dev_mode(files: Path) -> None:
    plain = program("compare", files / "x.npy", files / "short.npy")
    dev = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "gramian", "compare", files / "x.npy", files / "short.npy"],
        capture_output=True,
        text=True,
    )

    assert plain.returncode == 1
    assert "Traceback" not in plain.stderr
    assert "Traceback" in dev.stderr


def test_output_survives_a_terminal_without_unicode(files: Path) -> None:
    done = program("compare", files / "x.npy", files / "y.npy", env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gramian", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()

    code, err = process.wait(60), process.stderr.read()
    process.stderr.close()

    assert (code, err) == (141, b"")


# ---- long runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def long_run(tmp_path: Path) -> list[str]:
    """Minutes of work, of which only the first seconds are wanted."""
    for name in ("x", "y"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(len(name)).normal(size=(150_000, 32)))
    return ["test", f"{tmp_path}/x.npy", f"{tmp_path}/y.npy", "--kernel", "rbf", "--bandwidth", "3"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_ends_a_long_run_at_once(long_run: list[str]) -> None:
    import pty
    import termios

    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "gramian", *long_run], stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    os.close(stderr)

    started = read_until(terminal, b"%|")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=5)
    shown = started + read_until(terminal, b"nothing more comes")
    os.close(terminal)

    assert (process.returncode, out) == (130, ""), shown
    assert b"Interrupted" in shown
    assert b"Traceback" not in shown


@pytest.mark.slow
def test_there_is_no_bar_without_a_terminal(long_run: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gramian", *long_run], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)

    assert process.returncode == 130
    assert (out, err.strip()) == (b"", b"Interrupted")


def read_until(terminal: int, word: bytes) -> bytes:
    """What a terminal shows, up to `word` or until the other side closes it."""
    shown = b""
    while word not in shown:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # Linux says so when the last writer has gone
            break
    return shown
