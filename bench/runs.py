"""A case from the outside: each part in a process of its own, so that none inherits another's threads or memory."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .baselines import contestants
from .cases import Case
from .machine import ROOT, THREAD_VARIABLES
from .measure import Round, Row, compared, with_samples

IMPORTS = {"gramian": "import gramian", "gramian.cka": "from gramian import cka", "torch": "import torch"}
LIMIT = 3600  # seconds for one process


@dataclass(frozen=True)
class CaseResult:
    case: Case
    threads: int
    reference: float | list[list[float]] | None
    rounds: tuple[Round, ...]
    rows: tuple[Row, ...]


def entrant_names(case: Case, globs: Sequence[str]) -> list[str]:
    names = list(IMPORTS) if "import" in case.routes else [c.name for c in contestants(case)]
    return [name for name in names if any(fnmatch(name, g) for g in globs)]


def run_case(
    case: Case, *, repeats: int, threads: int, cache: Path, wait: float, globs: Sequence[str] = ("*",)
) -> CaseResult:
    threads = case.threads or threads
    names = entrant_names(case, globs)
    if "import" in case.routes:
        return CaseResult(case, threads, None, (), import_times(names, case, repeats=repeats))

    job: dict[str, Any] = {"case": asdict(case), "threads": threads}
    # the reference brings its own threads, one block each; its BLAS gets one
    want = ask({**job, "job": "reference", "cache": str(cache)}, threads=1)
    rows: dict[str, Row] = {}
    rounds: tuple[Round, ...] = ()
    if "time" in case.routes:
        more = {"job": "time", "want": want, "contestants": names, "repeats": repeats, "wait": wait}
        timing = ask({**job, **more}, threads=threads)
        rows = {r["contestant"]: row_of(r) for r in timing["rows"]}
        rounds = tuple(Round(**r) for r in timing["rounds"])
    if "memory" in case.routes:
        for name in (c.name for c in contestants(case) if c.name in names and not c.yardstick):
            seen = memory_row(name, {**job, "job": "memory", "want": want, "contestants": [name]}, threads=threads)
            rows[name] = with_memory(rows[name], seen) if name in rows else seen
    return CaseResult(case, threads, want, rounds, tuple(rows.values()))


def with_memory(row: Row, seen: Row) -> Row:
    """What the timing said, with the peak beside it; the worse of the two judgements."""
    return replace(
        row,
        extra_bytes=seen.extra_bytes,
        extra_is_bound=seen.extra_is_bound,
        wrong=row.wrong or seen.wrong,
        reason=row.reason or seen.reason,
    )


def memory_row(name: str, job: dict[str, Any], *, threads: int) -> Row:
    try:
        return row_of(ask(job, threads=threads))
    except (RuntimeError, subprocess.TimeoutExpired) as failure:  # killed for memory, say
        return Row(name, reason=str(failure))


def row_of(fields: dict[str, Any]) -> Row:
    return Row(**{**fields, "samples": tuple(fields["samples"])})


def ask(job: dict[str, Any], *, threads: int) -> Any:
    """The result of `worker` for the job, in a process whose BLAS and OpenMP use that many threads."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.worker"],
        input=json.dumps(job),
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"the {job['job']} process of {job['case']['name']} exited with {done.returncode}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def import_times(names: Sequence[str], case: Case, *, repeats: int) -> tuple[Row, ...]:
    """Seconds that each import takes in a fresh interpreter that has NumPy already."""
    code = "import time, numpy; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    present = [name for name in names if importlib.util.find_spec(name.split(".")[0]) is not None]
    samples: dict[str, list[float]] = {name: [] for name in present}
    for _ in range(repeats + 1):  # the first one, dropped below, reads the files from disk
        for name in present:
            done = subprocess.run(
                [sys.executable, "-c", code.format(IMPORTS[name])], capture_output=True, text=True, check=True
            )
            samples[name].append(float(done.stdout))
    rows = [
        with_samples(Row(name), samples[name][1:], used=range(repeats))
        if name in samples
        else Row(name, reason=f"{name} is not installed")
        for name in names
    ]
    return compared(rows, case)
