"""Runs the full product of cases, or what of it fits into some minutes, in an order that a seed decides.

python -m emulator.exhaustive --minutes 25 prints what exhaustive.txt keeps; `pytest -m exhaustive` runs the same cases.
What is found is kept under build/emulator, by the sources it was found with: the next run goes on from there.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import multiprocessing
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import emulator
from emulator.cases import FACTORS, KERNELS, SCHEDULES, WIDTHS, Case, Errors, check, product

WHAT = {name: FACTORS[name] for name in ("kernel", "m", "source", "n", "d")} | {"n": (1, *FACTORS["n"])}
CASES = [Case(**values) for values in product(WHAT)]
_core: Any = None


def attempt(case: Case) -> tuple[Case, Errors | str]:
    global _core
    _core = _core or emulator.load("emulated._core", emulator.build("_core"))
    try:
        return case, check(_core, case, SCHEDULES)
    except (AssertionError, RuntimeError) as error:
        return case, str(error)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def kept() -> Path:
    """Where results of these sources are kept."""
    digest = hashlib.sha256()
    for folder in ("csrc/core", "csrc/cuda", "tests/emulator"):
        for path in sorted((emulator.ROOT / folder).glob("*.*")):
            digest.update(path.read_bytes() if path.suffix != ".txt" else b"")
    return emulator.ROOT / "build" / "emulator" / f"exhaustive-{digest.hexdigest()[:16]}.jsonl"


def results(lines: Iterable[str]) -> list[tuple[Case, Errors | str]]:
    found = [json.loads(line) for line in lines]
    return [(Case(**case), Errors(*errors) if isinstance(errors, list) else errors) for case, errors in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    emulator.build("_core")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    path, began = kept(), time.monotonic()
    path.touch()
    done = {case for case, _ in results(path.read_text().splitlines())}
    order = [case for case in random.Random(given.seed).sample(CASES, len(CASES)) if case not in done]
    with multiprocessing.Pool(given.processes) as pool, path.open("a") as file:
        signal.signal(signal.SIGTERM, stop)
        try:
            for case, errors in pool.imap_unordered(attempt, order):
                print(json.dumps([asdict(case), errors]), file=file, flush=True)
                if time.monotonic() - began > 60 * given.minutes:
                    break
        except KeyboardInterrupt:
            pass
    found = results(path.read_text().splitlines())
    right = [(case, errors) for case, errors in found if isinstance(errors, Errors)]
    print(f"{datetime.date.today()}, commit {commit}")
    print(f"{len(found)} of {len(CASES)} cases; {len(SCHEDULES)} runs each")
    print(f"factors: {FACTORS | WHAT}; widths of the second representation: {WIDTHS}")
    for name in ("n", "d", "source", "m"):
        counts = {value: sum(getattr(case, name) == value for case, _ in found) for value in WHAT[name]}
        print(f"of each {name}: {counts}")
    print(f"{len(right)} cases right and with the same bits in all runs, {len(found) - len(right)} not")
    for case, message in found:
        if isinstance(message, str):
            print(f"  {case.id}: {message.splitlines()[0]}")
    print("\nworst errors by kernel: " + ", ".join(Errors._fields))
    for kernel in KERNELS:
        errors = [e for c, e in right if c.kernel == kernel]
        if errors:
            print(f"  {kernel:20s}" + "".join(f"{max(column):10.1e}" for column in zip(*errors, strict=True)))


if __name__ == "__main__":
    main()
