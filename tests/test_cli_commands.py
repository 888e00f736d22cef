"""What commands share: files by their suffix, tables of 100 columns, measures and their options by name, the page."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints
from xml.etree import ElementTree

import click
import numpy as np
import pytest

import gramian as gm
from gramian import cli, progress
from gramian.cli import options, output
from gramian.measures import registry
from gramian.results.lines import lines

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
README = Path(__file__).parents[1] / "README.md"
DRAWN = ("compare", "matrix", "knn", "cca", "null", "spectrum", "stitch", "search", "platonic")
WITHOUT_MATPLOTLIB = ("compare", "matrix", "knn", "cca", "search", "platonic")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leaving:
            cli.main([str(argument) for argument in arguments])
        return (int(leaving.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two arrays that share two directions, two models of three layers, and one of 48."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6))
    y = np.hstack([x[:, :2], rng.normal(size=(60, 3))])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "groups.npy", np.arange(60) % 4)
    first = {f"block.{i}.mlp": np.tanh(x @ rng.normal(size=(6, 5))) for i in range(3)}
    np.savez(tmp_path / "a.npz", **first)
    np.savez(tmp_path / "b.npz", **{f"block.{i}.mlp": f[:, :4] + 0.1 * y[:, :4] for i, f in enumerate(first.values())})
    np.savez(tmp_path / "deep.npz", **{f"transformer.blocks.{i}.mlp": x * (1 + i * y[:, :1]) for i in range(48)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


CALLS: dict[str, tuple[str, ...]] = {
    "compare": ("x.npy", "y.npy", "--kernel", "linear"),
    "matrix": ("a.npz", "b.npz"),
    "test": ("x.npy", "y.npy"),
    "knn": ("x.npy", "y.npy", "-k", "5"),
    "rsa": ("x.npy", "y.npy"),
    "cca": ("x.npy", "y.npy"),
    "null": ("mutual_knn", "x.npy", "y.npy", "--permutations", "9"),
    "spectrum": ("x.npy", "-k", "3"),
    "stitch": ("x.npy", "y.npy"),
    "search": ("a.npz", "b.npz"),
    "platonic": ("a.npz", "b.npz", "--topk", "5"),
}


# ---- -o --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", CALLS)
def test_every_result_is_written_as_csv_json_and_html(run: Any, here: Path, command: str) -> None:
    files = [f"found{suffix}" for suffix in output.TABLES]

    code, out, err = run(command, *CALLS[command], *(part for f in files for part in ("-o", f)))

    table, document, page = (here / f for f in files)
    rows = rows_of(table)
    assert (code, err) == (0, "")
    assert out == run(command, *CALLS[command])[1] + "\n" + "".join(f"wrote {f}\n" for f in files)
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1
    assert document.read_text() == run(command, *CALLS[command], "--json")[1]
    assert page.read_text().startswith("<!doctype html>")
    assert f"<title>gramian {command}</title>" in page.read_text()
    assert page.read_text().count("<div") == page.read_text().count("</div>")


@pytest.mark.parametrize("command", DRAWN)
def test_results_with_a_picture_are_drawn_in_every_format(run: Any, here: Path, command: str) -> None:
    pytest.importorskip("matplotlib")

    code, _, err = run(command, *CALLS[command], "-o", "p.png", "-o", "p.pdf", "-o", "p.svg")

    assert (code, err) == (0, "")
    assert (here / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (here / "p.pdf").read_bytes().startswith(b"%PDF")
    assert ElementTree.fromstring((here / "p.svg").read_text()).tag.endswith("svg")


@pytest.mark.parametrize("command", DRAWN)
def test_without_matplotlib_a_picture_is_refused_before_the_work_or_needs_none(
    run: Any, here: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    code, out, err = run(command, *CALLS[command], "-o", "p.pdf")
    svg, _, said = run(command, *CALLS[command], "-o", "p.svg")

    other = "; .svg does not" if command in WITHOUT_MATPLOTLIB else ""
    assert (code, out) == (1, "")
    assert err == f"Error: p.pdf: a .pdf needs matplotlib: pip install 'gramian[viz]'{other}\n"
    assert svg == (0 if command in WITHOUT_MATPLOTLIB else 1), said


@pytest.mark.parametrize("command", sorted(set(CALLS) - set(DRAWN)))
def test_single_numbers_have_no_picture(run: Any, here: Path, command: str) -> None:
    code, out, err = run(command, *CALLS[command], "-o", "p.png")

    assert (code, out) == (2, "")
    assert "-o p.png: write it as one of .csv, .json, .html, it has no picture" in err


def test_csv_needs_no_pandas(run: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    assert all(run(command, *call, "-o", f"{command}.csv")[0] == 0 for command, call in CALLS.items())


def test_csv_of_a_comparison_has_its_numbers_in_full(run: Any, here: Path) -> None:
    run("compare", *CALLS["compare"], "-o", "c.csv")

    want = gm.compare(np.load("x.npy"), np.load("y.npy"), ["linear"])
    names, *found = rows_of(here / "c.csv")
    assert [float(row[names.index("value")]) for row in found] == [row.value for row in want]
    assert [row[names.index("measure")] for row in found] == [row.measure for row in want]


def test_csv_of_a_null_has_every_permutation(run: Any, here: Path) -> None:
    run("null", *CALLS["null"], "-o", "n.csv")

    want = gm.null("mutual_knn", np.load("x.npy"), np.load("y.npy"), permutations=9)
    _, first, *others = rows_of(here / "n.csv")
    assert first == ["none", str(want.value)]
    assert [float(value) for _, value in others] == want.values.tolist()


def test_lines_of_a_result_without_a_list_are_its_single_values() -> None:
    found = gm.alignment(*np.random.default_rng(0).normal(size=(2, 30, 3)))

    head, *rows = lines(found)

    assert list(head) == ["name", "value"]
    assert dict(rows)["value"] == found.value


def test_a_page_escapes_the_names_of_files(run: Any, here: Path) -> None:
    (here / "x.npy").rename(here / "<b>.npy")

    run("test", "<b>.npy", "y.npy", "-o", "t.html")

    assert "x: &lt;b&gt;.npy" in (here / "t.html").read_text()


def test_what_is_undefined_has_a_page_and_no_picture(run: Any, here: Path) -> None:
    np.save("zeros.npy", np.zeros((60, 3)))
    call = ("compare", "zeros.npy", "zeros.npy", "--kernel", "linear")

    page = run(*call, "-o", "p.html")
    picture = run(*call, "-o", "p.svg")

    assert (page[0], page[2]) == (0, "")
    assert "undefined" in (here / "p.html").read_text()
    assert picture == (1, "", "Error: p.svg: no value is defined, so there is nothing to draw\n")


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_a_matrix_of_48_layers_is_summed_up_and_says_where_the_file_is(run: Any, here: Path) -> None:
    code, out, err = run("matrix", "deep.npz", "-o", "deep.csv")
    without = run("matrix", "deep.npz")[1]

    want = gm.matrix("deep.npz")
    apart = want.values[~np.eye(48, dtype=bool)]
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    assert "48 × 48 layers, too wide for 100 columns: all of them in deep.csv" in out
    assert f"{apart.min():.3f} to {apart.max():.3f}, median {np.median(apart):.3f}" in out
    assert out.endswith("\nwrote deep.csv\n")
    assert "-o FILE writes all of them" in without
    assert len(rows_of(here / "deep.csv")) == 49


def test_a_summary_of_distances_has_the_smallest_as_best(run: Any, here: Path) -> None:
    _, out, _ = run("matrix", "deep.npz", "b.npz", "--measure", "procrustes", "--keys", "*", "--keys-b", "block.1.mlp")
    assert "block.1.mlp" in out.splitlines()[2]  # narrow enough to be shown in whole

    _, out, _ = run("matrix", "deep.npz", "--measure", "procrustes", "--keys", "transformer.blocks.[0-9].mlp")

    want = gm.matrix("deep.npz", measure="procrustes", keys="transformer.blocks.[0-9].mlp").values
    np.fill_diagonal(want, np.nan)
    line = next(line for line in out.splitlines() if line.startswith("transformer.blocks.0.mlp "))
    assert line.split() == [
        "transformer.blocks.0.mlp",
        f"transformer.blocks.{np.nanargmin(want[0])}.mlp",
        f"{np.nanmin(want[0]):.4f}",
    ]


def test_a_search_too_wide_for_the_terminal_shows_the_best(run: Any, here: Path) -> None:
    code, out, _ = run("search", "a.npz", "deep.npz")

    best = gm.layer_search("a.npz", "deep.npz").best()
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    assert all(
        re.search(rf"^{re.escape(m.row)} +{re.escape(m.column)} +{m.value:.4f}$", out, re.MULTILINE) for m in best
    )


@pytest.mark.parametrize("kernel", ["rational_quadratic", "polynomial", "rbf"])
def test_tables_fit_100_columns(run: Any, here: Path, kernel: str) -> None:
    np.save("w.npy", np.random.default_rng(2).normal(size=(2, 5)))
    np.save("t.npy", np.load("y.npy") @ np.load("w.npy").T)
    measures = [part for name in registry.MEASURES for part in ("--measure", name)]
    calls = [
        ("compare", "x.npy", "y.npy", "--kernel", kernel, *measures),
        ("stitch", "x.npy", "y.npy", "--targets", "t.npy", "--head", "w.npy", "--kind", "affine"),
        ("test", "x.npy", "y.npy", "--kernel", kernel),
        ("spectrum", "x.npy", "--kernel", kernel),
        *((command, *call) for command, call in CALLS.items()),
        *((command, "--help") for command in cli.COMMANDS),
    ]

    for call in calls:
        code, out, _ = run(*call)
        assert code == 0, call
        assert max(map(len, out.splitlines())) <= 100, call


# ---- measures and their options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", registry.MEASURES)
def test_every_measure_is_a_matrix_and_a_null_by_its_name(run: Any, here: Path, measure: str) -> None:
    code, out, err = run("matrix", "a.npz", "b.npz", "--measure", measure, "--json")
    null = run("null", measure, "x.npy", "y.npy", "--permutations", "3", "--json")

    want = gm.matrix("a.npz", "b.npz", measure)
    assert (code, err) == (0, "")
    assert json.loads(out)["values"] == want.values.tolist()
    assert null[0] == 0
    assert json.loads(null[1])["value"] == gm.null(measure, "x.npy", "y.npy", permutations=3).value


def test_help_lists_the_measures_of_the_registry(run: Any) -> None:
    for command in ("matrix", "null", "compare"):
        listed = run(command, "--help")[1].partition("\nMeasures")[2]
        assert re.findall(r"^  (\w+)  ", listed, re.MULTILINE) == list(registry.MEASURES), command


def test_a_measure_added_to_the_registry_is_there_from_its_row_alone(
    run: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nearness(X: Any, Y: Any, *, power: float = 2.0) -> float:
        return float(1 / (1 + abs(np.asarray(X)).sum() ** power))

    row = replace(registry.MEASURES["rsa"], name="nearness", title="a toy", kept="nothing")
    monkeypatch.setattr("gramian.measures.rsa.nearness", nearness, raising=False)
    monkeypatch.setitem(registry.MEASURES, "nearness", row)

    for call in (
        ("matrix", "a.npz", "--measure", "nearness", "-O", "power=1"),
        ("null", "nearness", "x.npy", "y.npy", "-O", "power=1", "--permutations", "3"),
    ):
        code, out, err = run(*call)
        assert (code, err) == (0, "")
        assert "nearness" in out
        assert "nearness" in run(call[0], "--help")[1]
        assert "a toy: power" in run(call[0], "--help")[1]


def test_options_of_a_measure_are_read_as_its_signature_says(run: Any, here: Path) -> None:
    options_of = ("-O", "dissimilarity=cosine", "-O", "geotopological=0.1,0.9", "--measure", "rsa")

    code, out, _ = run("matrix", "a.npz", "b.npz", *options_of, "--json")

    want = gm.matrix("a.npz", "b.npz", "rsa", dissimilarity="cosine", geotopological=(0.1, 0.9))
    assert code == 0
    assert json.loads(out)["values"] == want.values.tolist()


def test_every_option_of_every_measure_can_be_typed() -> None:
    words = {"bool": "yes", "float": "0.5", "int": "3"}
    for row in registry.MEASURES.values():
        hints = get_type_hints(row.function)
        for name in options.choosable(row.options):
            texts = [*words.values(), "0.1,0.9", "rbf", "cosine", "none", "biased", "unit_diagonal", "reference"]
            read = []
            for text in texts:
                try:
                    read.append(options.value_of(name, text, hints[name]))
                except ValueError:
                    continue
            assert read, (row.name, name)


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int | None, "none", None),
        (int | None, "7", 7),
        (bool, "no", False),
        (float | tuple[float, float], "0.5", 0.5),
        (float | tuple[float, float], "0.5, 1", (0.5, 1.0)),
        (gm.kernels.Kernel | str, "gaussian", "rbf"),
        (gm.kernels.Kernel | str, "RBF(bandwidth=2)", gm.RBF(2.0)),
        (str, "as it is", "as it is"),
    ],
)
def test_a_text_becomes_a_value_of_the_type(hint: Any, text: str, value: Any) -> None:
    found = options.value_of("option", text, hint)

    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("matrix", "a.npz", "--measure", "mutual_nn"), "did you mean 'mutual_knn'?"),
        (("null", "r2", "x.npy", "y.npy"), "did you mean 'linear_regression_r2'?"),
        (("compare", "x.npy", "y.npy", "--measure", "unbiased_cka"), "here it is 'cka' with kernel='cosine'"),
        (
            ("matrix", "a.npz", "--measure", "cca", "-O", "rige=1"),
            "-O rige=1: cca has no option 'rige'; did you mean 'ridge'?",
        ),
        (("matrix", "a.npz", "--measure", "coco", "-O", "k=1"), "coco has no option 'k'; it takes none"),
        (("matrix", "a.npz", "-O", "k"), "-O k: 'k' must be NAME=VALUE"),
        (("matrix", "a.npz", "--measure", "mutual_knn", "-O", "k=ten"), "k must be a whole number, got 'ten'"),
        (("matrix", "a.npz", "--measure", "rsa", "-O", "correlation=spearmn"), "did you mean 'spearman'?"),
        (
            ("matrix", "a.npz", "--measure", "rsa", "--kernel", "rbf"),
            "--kernel: rsa has none; it takes dissimilarity, ",
        ),
        (("matrix", "a.npz", "--measure", "rsa", "--bandwidth", "1"), "--bandwidth: rsa has no kernel"),
        (("matrix", "a.npz", "--kernel", "rbf", "-O", "kernel=rbf"), "--kernel and -O kernel= are one"),
        (("matrix", "a.npz", "--estimator", "biassed"), "did you mean 'biased'?"),
        (("matrix", "a.npz", "--keys-b", "x"), "--keys-b are those of B, which is missing"),
        (("compare", "x.npy", "y.npy", "--kernel", "gausian"), "did you mean 'gaussian'?"),
        (("compare", "x.npy", "y.npy", "--kernel", "rbf(width=2)"), "bandwidth"),
        (("test", "x.npy", "y.npy", "--kernel", "rbf(bandwidth=2)", "--bandwidth", "1"), "give one of them"),
        (("compare", "x.npy", "y.npy", "--kernel", "rbf(bandwidth=wide)"), "bandwidth must be a number, got 'wide'"),
        (("test", "x.npy", "y.npy", "--method", "permutations"), "did you mean 'permutation'?"),
        (("knn", "x.npy", "y.npy", "--metric", "cosin"), "did you mean 'cosine'?"),
        (("cca", "x.npy", "y.npy", "--variance", "0.9", "--components", "2"), "give one of them"),
        (("experiments",), "name an experiment; --list shows them"),
        (("experiments", "metric"), "did you mean 'metrics'?"),
        (("matrx",), "there is no command 'matrx'; did you mean 'matrix'?"),
    ],
)
def test_a_wrong_word_is_answered_by_the_right_one(run: Any, here: Path, arguments: Any, words: str) -> None:
    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("Usage: gramian")
    assert words in err


@pytest.mark.parametrize(("typed", "kernel"), [
    ("gaussian", gm.RBF()), ("RBF", gm.RBF()), ("dot", gm.Linear()), ("rational-quadratic", gm.RationalQuadratic()),
    ("polynomial(degree=2, offset=0.5)", gm.Polynomial(degree=2, offset=0.5)), ("rbf(bandwidth=1.5)", gm.RBF(1.5)),
])  # fmt: skip
def test_kernels_go_by_their_names_and_take_parameters(run: Any, here: Path, typed: str, kernel: Any) -> None:
    code, out, _ = run("matrix", "a.npz", "b.npz", "--kernel", typed, "--json")

    assert code == 0
    assert json.loads(out)["values"] == gm.cka_matrix("a.npz", "b.npz", kernel).values.tolist()


def test_null_shuffles_within_groups(run: Any, here: Path) -> None:
    code, out, _ = run("null", *CALLS["null"], "--groups", "groups.npy", "--json")

    want = gm.null("mutual_knn", "x.npy", "y.npy", groups=np.load("groups.npy"), permutations=9)
    assert code == 0
    assert json.loads(out)["values"] == want.values.tolist()
    assert json.loads(out)["groups"] == 4


def test_compare_takes_measures_by_name(run: Any, here: Path) -> None:
    code, out, _ = run("compare", *CALLS["compare"], "--measure", "mutual_knn", "--measure", "rsa")

    want = gm.compare("x.npy", "y.npy", ["linear"], measures=("mutual_knn", "rsa"))
    assert code == 0
    assert out == f"{want}\n"


def test_rsa_and_cca_are_those_of_the_functions(run: Any, here: Path) -> None:
    rsa = run("rsa", "x.npy", "y.npy", "--correlation", "spearman", "--geotopological", 0.1, 0.9, "--json")
    cca = run("cca", "x.npy", "y.npy", "--components", 2, "--standardize", "--json")

    want = gm.rsa_estimate("x.npy", "y.npy", correlation="spearman", geotopological=(0.1, 0.9))
    assert (rsa[0], json.loads(rsa[1])["value"]) == (0, want.value)
    correlations = gm.canonical_correlations("x.npy", "y.npy", components=2, standardize=True).correlations
    assert (cca[0], json.loads(cca[1])["correlations"]) == (0, correlations.tolist())


# ---- files and layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["matrix", "search", "platonic"])
def test_keys_choose_layers_in_their_order(run: Any, here: Path, command: str) -> None:
    chosen = ("--keys", "block.2.mlp,block.0.*", "--keys-b", "block.1.mlp")

    code, out, _ = run(command, *CALLS[command], *chosen, "--json")
    missing = run(command, *CALLS[command], "--keys", "layer*")

    document = json.loads(out)
    assert code == 0
    assert (document["rows"], document["columns"]) == (["block.2.mlp", "block.0.mlp"], ["block.1.mlp"])
    assert missing[0] in (1, 2)
    assert "has no layer 'layer*'; it has block.0.mlp, block.1.mlp, block.2.mlp" in missing[2]


def test_platonic_is_the_score_with_the_names_of_the_file(run: Any, here: Path) -> None:
    code, out, _ = run("platonic", *CALLS["platonic"], "--metric", "cka", "--json")

    want = gm.platonic_score("a.npz", "b.npz", metric="cka")
    document = json.loads(out)
    assert code == 0
    assert document["score"] == want.score
    assert document["values"] == want.values.tolist()
    assert document["rows"] == ["block.0.mlp", "block.1.mlp", "block.2.mlp"]


def test_labels_of_csv_files_are_held_against_each_other(run: Any, here: Path) -> None:
    for name, order in (("p", range(20)), ("q", reversed(range(20)))):
        rows = "".join(f"s{i},{math.sin(i)},{math.cos(3 * i)}\n" for i in order)
        (here / f"{name}.csv").write_text(f",u,v\n{rows}")

    code, _, err = run("compare", "p.csv", "q.csv")

    assert code == 1
    assert "the same row labels in another order" in err
    assert "(X is p.csv, Y is q.csv)" in err


@pytest.mark.parametrize("command", ["matrix", "search", "platonic", "null", "rsa", "cca"])
def test_a_damaged_file_is_one_line_and_exit_code_2(run: Any, here: Path, command: str) -> None:
    (here / "bad.npz").write_bytes((here / "a.npz").read_bytes()[:700])
    (here / "bad.npy").write_bytes((here / "x.npy").read_bytes()[:100])
    call = [word.replace("a.npz", "bad.npz").replace("x.npy", "bad.npy") for word in CALLS[command]]

    code, out, err = run(command, *call)

    assert (code, out) == (2, "")
    assert err.startswith("Error: bad.np")
    assert err.count("\n") == 1


def test_experiments_are_listed_with_their_claims(run: Any) -> None:
    from gramian import experiments

    code, out, err = run("experiments", "--list")

    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if not line.startswith(" ")] == list(experiments.EXPERIMENTS)


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("command", CALLS)
def test_a_command_has_one_bar_that_ends_full(
    run: Any, here: Path, monkeypatch: pytest.MonkeyPatch, command: str, quiet: bool
) -> None:
    opened: list[tuple[str, bool]] = []
    told: list[int] = []

    @contextlib.contextmanager
    def on_terminal(name: str, *, quiet: bool = False) -> Any:
        opened.append((name, quiet))
        with progress.opened(lambda done, total: told.append(done), name) as bar:
            yield bar

    monkeypatch.setattr("gramian.cli.inputs.on_terminal", on_terminal)

    code, _, err = run(command, *CALLS[command], *(["--quiet"] if quiet else []))

    assert (code, err) == (0, "")
    assert opened == [(command, quiet)]
    assert told == sorted(told)
    assert told[-1] == progress.TOTAL
    assert len(told) > 1


# ---- what it costs to ask --------------------------------------------------------------------------------------------


def test_the_group_loads_no_command_before_it_is_asked() -> None:
    code = "import sys, gramian.cli; print([m for m in sys.modules if m.startswith('gramian.cli.')])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_loads_no_library_but_numpy_and_click(command: str) -> None:
    heavy = ("torch", "scipy", "matplotlib", "pandas", "xarray", "tqdm", "safetensors", "sklearn", "h5py")
    code = (
        "import sys; from gramian import cli\n"
        f"try: cli.main({[*([command] if command else []), '--help']})\n"
        f"finally: print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"


# ---- the page --------------------------------------------------------------------------------------------------------


def test_every_command_has_its_place_in_the_page_and_in_the_readme() -> None:
    assert re.findall(r"^## (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(cli.COMMANDS)
    assert set(re.findall(r"^gramian (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)) == set(cli.COMMANDS)


def test_what_the_page_shows_is_what_is_printed(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], {})
    examples = re.findall(r"```\n\$ gramian ([^\n]+)\n(.*?)```", page, re.DOTALL)

    for line, shown in examples:
        if line.startswith(("info", "demo")):  # of the machine, and long
            continue
        code, out, err = run(*shlex.split(line))
        assert (code, err) == (0, ""), line
        assert without_numbers(out) == without_numbers(shown), line


def without_numbers(text: str) -> list[str]:
    """Words alone, for last digits are the machine's."""
    return re.sub(r"[<−-]?\d[\d.,]*(?:e[+-]?\d+)?%?", "#", text).replace("< #", "#").split()


def test_examples_of_the_readme_are_commands_with_those_options() -> None:
    examples = re.findall(r"^gramian (\w+)(.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)

    for name, rest in examples:
        command = cli.commands.get_command(click.Context(cli.commands), name)
        assert command is not None
        with command.make_context(name, shlex.split(rest.partition("#")[0])):
            pass
