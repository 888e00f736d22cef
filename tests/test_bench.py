"""The benchmark's referee and bookkeeping; how fast anything is, is not asserted."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracle

sys.path.append(str(Path(__file__).parents[1]))  # bench is no part of the installed package

from bench import baselines, measure, reference, report, spectra, stitching
from bench.__main__ import main
from bench.cases import CASES, KERNELS, NEIGHBORS, Case, in_feature_space, kernel_parameters, make_arrays
from bench.measure import Row

TINY = Case("tiny", 70, 5)
SMOKE = ["--case", "smoke*", "--repeats", "2", "--wait", "0", "--contestant", "gramian", "--contestant", "numpy_tiled"]


def oracle_cka(case: Case) -> Any:
    """(m, m)"""
    xs = [x.astype(np.longdouble) for x in make_arrays(case)]
    grams = [oracle.gram(case.kernel, x, **kernel_parameters(case)) for x in xs]
    return np.array([[oracle.cka(k, l, "unbiased") for l in grams] for k in grams], dtype=np.float64)


def timing(entrants: tuple[baselines.Contestant, ...], case: Case = TINY) -> dict[str, Row]:
    want = reference.reference(make_arrays(case), case)
    rows = measure.time_case(case, entrants, want, repeats=2, threads=1).rows
    return {row.contestant: row for row in rows}


def available(case: Case) -> tuple[baselines.Contestant, ...]:
    return tuple(c for c in baselines.contestants(case) if importlib.util.find_spec(c.library) and not c.yardstick)


@pytest.mark.parametrize("mean", [0.0, 10.0])
@pytest.mark.parametrize("kernel", KERNELS)
def test_reference_is_the_cka_of_the_papers_whatever_the_tile(kernel: str, mean: float) -> None:
    case = replace(TINY, kernel=kernel, dtype="float64", mean=mean)
    want = oracle_cka(case)[0, 1]

    sums = reference.tile_sums(make_arrays(case), case, tile=32)

    assert reference.answer(reference.unbiased_hsic(*sums), case) == pytest.approx(want, abs=1e-10)


def test_reference_in_feature_space_is_the_reference_in_gram_space() -> None:
    case = replace(TINY, kernel="linear", dtype="float64", mean=10.0)
    want = oracle_cka(case)[0, 1]

    got = reference.answer(reference.unbiased_hsic(*reference.feature_sums(make_arrays(case))), case)

    assert in_feature_space(case)
    assert got == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_contestant_finds_the_value(kernel: str, dtype: Any) -> None:
    case = replace(TINY, kernel=kernel, dtype=dtype, tolerance=1e-5 if dtype == "float32" else 1e-12)
    entrants = available(case) + (available(TINY) if in_feature_space(case) else ())

    errors = {c.name: reference.largest_error(c.run(make_arrays(case), case), oracle_cka(case)[0, 1]) for c in entrants}

    assert {name: error for name, error in errors.items() if not error <= case.tolerance} == {}


def test_every_contestant_finds_the_matrix() -> None:
    case = replace(TINY, m=6, measure="cka_matrix", dtype="float64")
    want = oracle_cka(case)[:3, 3:]

    errors = {c.name: reference.largest_error(c.run(make_arrays(case), case), want) for c in available(case)}

    assert {name: error for name, error in errors.items() if not error <= 1e-12} == {}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_every_contestant_finds_the_neighbours(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "NUMPY_TILE", 32)
    case = replace(TINY, kernel=metric, measure="mutual_knn", mean=1.0)
    lists = [oracle.nearest(oracle.nearness(metric, x.astype(np.float64)), NEIGHBORS) for x in make_arrays(case)]
    want = oracle.mutual_knn(*lists)

    errors = {c.name: reference.largest_error(c.run(make_arrays(case), case), want) for c in available(case)}

    assert reference.reference(make_arrays(case), case) == pytest.approx(want, abs=1e-15)
    assert {name: error for name, error in errors.items() if not error <= 1e-12} == {}


def test_tiles_of_the_contestants_need_not_divide_n(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "NUMPY_TILE", 32)
    monkeypatch.setattr(baselines, "DOT_RUN", 100)
    case = replace(TINY, dtype="float64")
    want = oracle_cka(case)[0, 1]

    assert baselines.numpy_tiled(make_arrays(case), case) == pytest.approx(want, abs=1e-12)
    if importlib.util.find_spec("torch"):
        assert baselines.torch_tiled(make_arrays(case), case, tile=32) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("slip", [lambda v: v + 2e-4, lambda v: float("nan"), lambda v: np.full((2, 2), v)])
def test_a_wrong_contestant_is_flagged_and_keeps_its_time(slip: Callable[[float], Any]) -> None:
    def wrong(arrays: Any, case: Case) -> Any:
        return slip(baselines.numpy_tiled(arrays, case))

    right = baselines.Contestant("numpy_tiled", baselines.numpy_tiled)
    rows = timing((right, baselines.Contestant("wrong", wrong)))

    assert rows["wrong"].wrong
    assert not rows["numpy_tiled"].wrong
    assert len(rows["wrong"].samples) == len(rows["numpy_tiled"].samples) >= 2
    assert any("WRONG" in cell for cell in report.row_cells(rows["wrong"]))


def test_a_contestant_that_cannot_run_says_why_and_stops_nobody() -> None:
    def broken(arrays: Any, case: Case) -> Any:
        raise MemoryError("no room")

    rows = timing(
        (
            baselines.Contestant("absent", broken, library="no_such_library"),
            baselines.Contestant("broken", broken),
            baselines.Contestant("numpy_tiled", baselines.numpy_tiled),
        )
    )

    assert rows["absent"].reason == "no_such_library is not installed"
    assert rows["broken"].reason == "MemoryError: no room"
    assert rows["numpy_tiled"].reason is None


def test_full_matrices_beyond_the_memory_are_not_tried() -> None:
    full = next(c for c in baselines.contestants(TINY) if c.name == "numpy_full")

    assert str(measure.unfit(full, replace(TINY, n=10**7))).startswith("needs 1600000 GB")
    assert measure.unfit(full, TINY) is None


def test_medians_are_of_the_quietest_rounds() -> None:
    assert measure.quietest([0.9, 0.0, 0.3, 0.1], 2) == [1, 3]
    assert not measure.enough([0.9, 0.0], 2, elapsed=1.0)
    assert measure.enough([0.9, 0.0, 0.0], 2, elapsed=1.0)
    assert measure.enough([0.9, 0.9, 0.9, 0.9], 2, elapsed=1.0)
    assert measure.enough([0.9] * 3, 7, elapsed=1e4)


def test_a_reference_is_computed_once_per_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = make_arrays(TINY)
    first = reference.cached_reference(arrays, TINY, tmp_path)
    monkeypatch.setattr(reference, "reference", lambda arrays, case: -1.0)

    assert reference.cached_reference(arrays, TINY, tmp_path) == first
    assert reference.cached_reference((arrays[1], arrays[0]), TINY, tmp_path) == -1.0
    assert reference.cached_reference(arrays, replace(TINY, kernel="linear"), tmp_path) == -1.0


def test_names_of_cases_are_unique_and_kernels_are_those_of_the_package() -> None:
    import gramian as gm

    assert len({case.name for case in CASES}) == len(CASES)
    assert set(KERNELS) == set(gm.kernels.KERNELS)


def test_an_unknown_case_is_an_error_that_lists_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--case", "rbf-*", "--case", "no-such-*"])

    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert "no case is called no-such-*" in message
    assert "rbf-n8192-d64" in message


def test_a_file_that_is_no_result_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"schema": 0}')

    with pytest.raises(SystemExit) as stop:
        main([*SMOKE, "--compare", str(tmp_path / "other.json")])

    assert stop.value.code == 2


def test_list_names_the_cases_that_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--case", "memory-*"]) == 0

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["memory-rbf-n20000-d768", "memory-rbf-n100000-d32"]


def test_a_run_writes_what_a_claim_needs_and_compares_with_an_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, where = tmp_path / "old.json", tmp_path / "new.json", ["--cache", str(tmp_path)]

    assert main([*SMOKE, *where, "--json", str(old)]) == 0
    slower = json.loads(old.read_text())
    for row in slower["results"][0]["rows"]:
        row["seconds"], row["noise"] = row["seconds"] / 1e3, 0.0
    old.write_text(json.dumps(slower))
    assert main([*SMOKE, *where, "--json", str(new), "--compare", str(old)]) == 0

    document = report.read(new)
    assert {"date", "commit", "cpu", "versions", "build", "repeats"} < document.keys()
    assert {"hash", "dirty"} == document["commit"].keys()
    assert {"model", "cores", "vector_instructions"} < document["cpu"].keys()
    assert {"python", "numpy", "numpy_blas", "torch", "gramian"} < document["versions"].keys()
    (result,) = document["results"]
    assert {"case", "threads", "reference", "rounds", "rows"} == result.keys()
    for row in result["rows"]:
        assert not row["wrong"]
        assert row["error"] <= result["case"]["tolerance"]
        assert len(row["samples"]) == len(result["rounds"]) >= 2
        assert min(row["seconds"], row["ratio"], row["gflops"], row["extra_bytes"] + 1) > 0
    assert "slower" in capsys.readouterr().out.split("against", 1)[1]
    assert list(tmp_path.glob("smoke-*.json")), "the reference was not kept"


def test_memory_is_what_a_contestant_allocates_beyond_its_inputs(tmp_path: Path) -> None:
    """numpy_full holds two n×n float32 matrices and a copy, numpy_tiled at n = tile as much again at most."""
    assert (
        main([*SMOKE[:6], "--contestant", "numpy_full", "--json", str(tmp_path / "f.json"), "--cache", str(tmp_path)])
        == 0
    )

    (row,) = report.read(tmp_path / "f.json")["results"][0]["rows"]
    matrix = 4 * 1024**2
    assert 2 * matrix <= row["extra_bytes"] <= 8 * matrix


def test_spectra_are_checked_without_gramian(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spectra.main(["--n", "400", "--d", "5", "-k", "3", "--repeats", "1", "--json", str(tmp_path / "s.json")])

    document = json.loads((tmp_path / "s.json").read_text())
    assert [row["contestant"] for row in document["results"]] == list(spectra.CONTESTANTS)
    assert all(row["residual"] < 1e-6 and row["products"] > 0 for row in document["results"])
    assert {"commit", "cpu", "versions", "build"} <= set(document)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_stitching_is_timed_beside_a_loop_in_processes_of_their_own(tmp_path: Path) -> None:
    size = ["--n", "5000", "--d", "6", "--repeats", "1", "--threads", "1", "--folder", str(tmp_path)]
    stitching.main([*size, "--json", str(tmp_path / "s.json")])

    rows = json.loads((tmp_path / "s.json").read_text())["results"]
    assert [row["contestant"] for row in rows] == list(stitching.CONTESTANTS)
    assert all(row["difference"] < 1e-12 and row["runs"][0]["seconds"] > 0 for row in rows)
    left = [row["runs"][0]["misalignment"] for row in rows]
    assert left[0] == pytest.approx(left[1], rel=1e-12)
    assert left[0] == pytest.approx(6, rel=0.1)  # the noise has variance 1


def test_residuals_of_the_bench_are_those_of_the_matrix() -> None:
    case = replace(TINY, dtype="float64")
    x = make_arrays(case)[0]
    values, phi = oracle.eigenpairs(oracle.gram("rbf", x, **kernel_parameters(case)), 4)
    v = phi / np.sqrt(case.n)
    assert spectra.residuals(x, case, v, values, rows=32).max() < 1e-15
    assert spectra.residuals(x, case, v, values + np.array([0, 0.1, 0, 0]), rows=32)[1] == pytest.approx(0.1)
