"""Inputs in batches, each in a process of its own, so that a crash and a hang are seen and named."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

WORKER = Path(__file__).parent / "worker.py"
BATCH = 1000
SECONDS = 600  # for a batch; one input has its own limit


@dataclass
class Outcome:
    """What became of the inputs of a kind."""

    found: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    peak: int = 0  # MB of the largest process


def run(kind: str, count: int, seed: int) -> Outcome:
    outcome = Outcome()
    first = 0
    while first < count:
        first = _batch(outcome, kind, seed, first, min(BATCH, count - first))
    return outcome


def _batch(outcome: Outcome, kind: str, seed: int, first: int, count: int) -> int:
    """The number of the next input; after a crash that is the one behind it."""
    with tempfile.NamedTemporaryFile() as progress:
        command = [sys.executable, str(WORKER), kind, f"--seed={seed}", f"--first={first}", f"--count={count}"]
        done = subprocess.run(
            [*command, f"--progress={progress.name}"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode == 0:
            said = json.loads(done.stdout.splitlines()[-1])
            outcome.found.update(said["found"])
            outcome.wrong += said["wrong"]
            outcome.peak = max(outcome.peak, said["peak"])
            return first + count
        at = int(progress.read() or first)
    how = f"died of signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode} (a hang?)"
    outcome.found.update(crashed=1)
    outcome.wrong.append(f"{kind} --seed {seed} --first {at} {how}\n{done.stderr[-2000:]}")
    if at > first:  # what came before it, again, for its counts
        _batch(outcome, kind, seed, first, at - first)
    return at + 1
