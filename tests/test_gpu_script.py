"""What bench/gpu.sh promises is judged from its lines alone, and the script writes the lines that are judged."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

import gramian as gm

sys.path.append(str(Path(__file__).parents[1]))  # bench is no part of the installed package

from bench import gpu_verdict
from bench.gpu_verdict import Line, Promise, promises, read

RATE = Promise("a rate", {"step": "speed", "d": 64}, "of_floor", 0.7)
MEMORY = Promise("bytes", {"step": "million"}, "extra", lambda line: line["copy"] + 10, "most")


@pytest.mark.parametrize(
    ("promise", "lines", "said"),
    [
        (RATE, [{"step": "speed", "d": 64, "of_floor": 0.7}], "PASS     a rate 0.7 (must be >= 0.7)"),
        (RATE, [{"step": "speed", "d": 64, "of_floor": 0.69}], "FAIL     a rate 0.69 (must be >= 0.7)"),
        (RATE, [{"step": "speed", "d": 64, "of_floor": math.nan}], "FAIL     a rate nan (must be >= 0.7)"),
        (RATE, [{"step": "speed", "d": 768, "of_floor": 0.9}], "MISSING  a rate"),
        (RATE, [{"step": "speed", "d": 64, "seconds": 1.0}], "MISSING  a rate"),
        (RATE, [], "MISSING  a rate"),
        (MEMORY, [{"step": "million", "copy": 5, "extra": 15}], "PASS     bytes 15 (must be <= 15)"),
        (MEMORY, [{"step": "million", "copy": 5, "extra": 16}], "FAIL     bytes 16 (must be <= 15)"),
        # the worst line counts, each against its own limit
        (
            MEMORY,
            [{"step": "million", "copy": 0, "extra": 11}, {"step": "million", "copy": 50, "extra": 55}],
            "FAIL     bytes 11 (must be <= 10)",
        ),
    ],
)
def test_a_promise_is_judged_by_its_worst_line(promise: Promise, lines: list[Line], said: str) -> None:
    assert " ".join(str(promise.judge(lines)).split()) == " ".join(said.split())


def keeps(promise: Promise) -> Line:
    """A line that a promise passes on."""
    if promise.what == "answers that were wrong":
        return {"step": "small", "right": True}
    line = {**promise.where, "cublas_float32": 0.0, "copy_bytes": 0, "n": promise.where.get("n", 1000)}
    assert isinstance(promise.value, str)
    limit = promise.limit(line) if callable(promise.limit) else promise.limit
    return {**line, promise.value: limit, "promise": promise.what}


def write(folder: Path, lines: list[Line]) -> None:
    (folder / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    passed = [line["passed"] for line in lines if line["step"] == "tests"]
    (folder / "tests.log").write_text("".join(f"== {count} passed, 7 skipped in 61.20s ==\n" for count in passed))


def test_only_what_keeps_every_promise_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [keeps(promise) for promise in promises()]
    write(tmp_path, lines)

    assert gpu_verdict.main([str(tmp_path)]) == 0
    assert f"{len(lines)} of {len(lines)} shown" in capsys.readouterr().out


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise.what)
def test_a_promise_broken_or_not_shown_exits_1(
    promise: Promise, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [keeps(other) for other in promises()]
    index = next(k for k, other in enumerate(promises()) if other.what == promise.what)
    worse = dict(lines[index])
    if promise.what == "answers that were wrong":
        worse["right"] = False
    else:
        assert isinstance(promise.value, str)
        worse[promise.value] = worse[promise.value] + (1 if promise.at == "most" else -1)

    write(tmp_path, [*lines[:index], worse, *lines[index + 1 :]])
    assert gpu_verdict.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if promise.what in line] == ["FAIL"]
    assert said.count("FAIL ") == 1

    write(tmp_path, lines[:index] + lines[index + 1 :])
    if promise.where["step"] == "tests":
        (tmp_path / "tests.log").unlink()
    assert gpu_verdict.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines() if promise.what in line] == ["MISSING"]


def test_a_line_that_was_cut_off_is_left_out_and_wrong_answers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "speed.jsonl").write_text('{"step": "accuracy", "right": false}\n{"step": "speed", "of_fl')
    (tmp_path / "tests.log").write_text("3 failed, 240 passed, 12 skipped\n")

    found = read(tmp_path)

    assert found == [
        {"step": "accuracy", "right": False},
        {"step": "tests", "passed": 240},
        {"step": "wrong", "count": 1},
    ]


@pytest.fixture
def bench(emulated_gpu: Any, core: Any, tmp_path: Path) -> Any:
    pytest.importorskip("torch", reason="the script's baselines are torch's")
    from bench import gpu

    core.emulator.configure(capability=90, multiprocessors=2)
    made = gpu.Bench(tmp_path / "lines.jsonl", dry=True)
    yield made
    made.file.close()


def test_the_script_writes_what_is_judged(bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bench import gpu

    gpu.million(bench)
    gpu.speed(bench)

    lines = read(tmp_path)
    assert bench.failures == 0
    for promise in promises():
        if promise.where["step"] not in ("million", "speed", "ratio"):
            continue
        assert isinstance(promise.value, str)
        numbers = {"n", "d", "dtype"}  # the sizes of a dry run are others, and NumPy has no bfloat16
        wanted = {key: value for key, value in promise.where.items() if key not in numbers}
        like = [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]
        assert like, promise.what
        assert all(line[promise.value] is not None and numbers <= line.keys() for line in like)
        assert not callable(promise.limit) or promise.limit(like[0]) > 0
    spent = [line["kernel_seconds"] / line["seconds"] for line in lines if "kernel_seconds" in line]
    assert spent
    assert all(0 < share < 1 for share in spent)


def test_a_sweep_says_what_it_took_on_the_device(bench: Any) -> None:
    from bench import gpu

    x, y = (z.numpy() for z in bench.arrays(70, 5))
    dx, dy = (bench.on_device(z) for z in bench.arrays(70, 5))
    for xs in ((dx, dy), (dx, dy, dx)):  # in registers, and through stored tiles
        with gpu.device_seconds() as found:
            gm.gram_moments(*xs, kernel="rbf")
        assert [seconds > 0 for seconds in found] == [True]
    with gpu.device_seconds() as found:
        gm.gram_moments(x, y, kernel="rbf")
    assert found == [0.0]


def test_a_wrong_answer_is_counted(bench: Any) -> None:
    for right in (True, None, False):
        bench.line("accuracy", right=right)

    assert bench.failures == 1
