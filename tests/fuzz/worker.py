"""Tries inputs of one kind in this process and prints, as JSON, how many were read and refused and what went wrong.

The number of the input in progress stands in a file, for whoever finds this process dead.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from fuzz.kinds import KINDS

HANG = 30  # seconds that one input may take
MOST_MEMORY = 24 << 30  # bytes of address space
SHOWN = 20


def generator(kind: str, seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), number])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--progress", type=Path, help="where the number of the input in progress stands")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    found: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        try_one = KINDS[options.kind](Path(folder))
        progress = os.open(options.progress or os.devnull, os.O_WRONLY | os.O_CREAT)
        for number in range(options.first, options.first + options.count):
            os.pwrite(progress, f"{number:12d}".encode(), 0)
            faulthandler.dump_traceback_later(HANG, exit=True)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    found[try_one(generator(options.kind, options.seed, number))] += 1
            except Exception:
                found["wrong"] += 1
                if len(wrong) < SHOWN:
                    wrong.append(f"{options.kind} --seed {options.seed} --first {number}\n{traceback.format_exc()}")
        faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (10 if sys.platform == "linux" else 20)
    print(json.dumps({"found": found, "wrong": wrong, "peak": peak}))


if __name__ == "__main__":
    main()
