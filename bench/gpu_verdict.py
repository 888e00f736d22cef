"""python -m bench.gpu_verdict FOLDER: what bench/gpu.sh has to show, and whether the lines in FOLDER show it.

One line for each promise: what, the worst value, the limit, and PASS, FAIL or MISSING. Exit status 1 unless all pass.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Line = dict[str, Any]
Verdict = Literal["PASS", "FAIL", "MISSING"]

BYTES_PER_ROW = 500  # what O(n) may mean: sums, norms, shifts, diagonals and the schedule, and the driver's rounding up
LEAST_TESTS = 2000  # of those that run on a device, which are 2,859; a suite that was skipped is green too
NATIVE = 90  # the promises about speed are those of this capability's kernels


@dataclass(frozen=True)
class Promise:
    """A limit on a number of every line with these values."""

    what: str
    where: Line
    value: str | Callable[[Line], float]
    limit: float | Callable[[Line], float]
    at: Literal["least", "most"] = "least"

    def judge(self, lines: Sequence[Line]) -> Judgement:
        # a line without the number says as little as no line
        found = [
            (self._of(self.value, line), self._of(self.limit, line))
            for line in lines
            if all(key in line and line[key] == wanted for key, wanted in self.where.items())
            and (callable(self.value) or line.get(self.value) is not None)
        ]
        if not found:
            return Judgement(self, "MISSING")
        # written so that NaN fails
        failing = [(v, limit) for v, limit in found if not (v >= limit if self.at == "least" else v <= limit)]
        sign = 1 if self.at == "least" else -1
        value, limit = min(failing or found, key=lambda pair: sign * (pair[0] - pair[1]))
        return Judgement(self, "FAIL" if failing else "PASS", value, limit)

    @staticmethod
    def _of(wanted: Any, line: Line) -> float:
        return float(wanted(line) if callable(wanted) else line[wanted] if isinstance(wanted, str) else wanted)


@dataclass(frozen=True)
class Judgement:
    promise: Promise
    verdict: Verdict
    value: float = field(default=float("nan"))
    limit: float = field(default=float("nan"))

    def __str__(self) -> str:
        sign = ">=" if self.promise.at == "least" else "<="
        numbers = "" if self.verdict == "MISSING" else f"{self.value:.4g} (must be {sign} {self.limit:.4g})"
        return f"{self.verdict:<8} {self.promise.what:<72} {numbers}".rstrip()


def promises() -> list[Promise]:
    steps = ("build", "tests", "memcheck", "racecheck", "synccheck")
    made = [Promise(f"{name}: exit status", {"step": "exit", "name": name}, "code", 0, "most") for name in steps]
    made.append(Promise("tests that passed on the device", {"step": "tests"}, "passed", LEAST_TESTS))
    made += [
        Promise(
            f"CKA error, highest, {dtype}, mean {mean:g}, kernels of {capability}",
            {
                "step": "accuracy",
                "kernel": "rbf",
                "m": 2,
                "mean": mean,
                "dtype": dtype,
                "precision": "highest",
                "capability": capability,
            },
            "error",
            lambda line: max(2 * line["cublas_float32"], 5e-7),
            "most",
        )
        for dtype in ("float32", "bfloat16")
        for mean in (0.0, 10.0)
        for capability in (90, 80, 75)
    ]
    made += [
        Promise(
            f"hashes over runs, grids and shards, m = {m}, kernels of {capability}",
            {"step": "same bits", "m": m, "capability": capability},
            "hashes",
            1,
            "most",
        )
        for m in (2, 3)
        for capability in (90, 80, 75)
    ]
    made += [
        Promise(
            f"n = 1,000,000, d = 768, {dtype}: bytes beyond the inputs",
            {"step": "million", "n": 1_000_000, "d": 768, "dtype": dtype, "finite": True},
            "extra_bytes",
            lambda line: line["copy_bytes"] + BYTES_PER_ROW * line["n"],
            "most",
        )
        for dtype in ("bfloat16", "float32")
    ]
    for n in (65536, 262144):
        sixteen = {"step": "speed", "contestant": "gramian", "n": n, "dtype": "bfloat16", "capability": NATIVE}
        made += [
            Promise(f"RBF in bf16, n = {n}, d = {d}: kernels, of {of}", {**sixteen, "d": d}, name, least)
            for d, of, name, least in (
                (64, "their floor", "of_floor", 0.70),
                (768, "cuBLAS's rate", "of_cublas", 0.60),
                (4096, "cuBLAS's rate", "of_cublas", 0.75),
            )
        ]
        made += [
            Promise(
                f"RBF in highest, n = {n}, d = {d}: kernels, of cuBLAS's float32 rate",
                {**sixteen, "dtype": "float32", "precision": "highest", "d": d},
                "of_cublas",
                2.5,
            )
            for d in (64, 768, 4096)
            if n == 65536 or d < 4096
        ]
        made += [
            Promise(
                f"whole call in bf16, n = {n}, d = {d}: times as fast as torch.compile's",
                {"step": "ratio", "contestant": "torch.compile tiled", "n": n, "d": d},
                "whole",
                times,
            )
            for d, times in ((64, 3.0), (768, 1.6))
        ]
    # what the script found wrong by itself, the small shapes under the sanitizer among it
    made.append(Promise("answers that were wrong", {"step": "wrong"}, "count", 0, "most"))
    return made


def read(folder: Path) -> list[Line]:
    """Every line that a run has left. One that was cut off by a time limit is left out."""
    lines: list[Line] = []
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                lines.append(line)
    log = folder / "tests.log"
    if log.exists():
        passed = re.findall(r"\b(\d+) passed\b", log.read_text(errors="replace"))
        lines.append({"step": "tests", "passed": int(passed[-1]) if passed else 0})
    judged = [line["right"] for line in lines if line.get("right") is not None]
    if judged:
        lines.append({"step": "wrong", "count": judged.count(False)})
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    (folder,) = sys.argv[1:] if arguments is None else arguments
    lines = read(Path(folder))
    judgements = [promise.judge(lines) for promise in promises()]
    for judgement in judgements:
        print(judgement)
    passed = sum(judgement.verdict == "PASS" for judgement in judgements)
    print(f"{passed} of {len(judgements)} shown")
    return 0 if passed == len(judgements) else 1


if __name__ == "__main__":
    sys.exit(main())
