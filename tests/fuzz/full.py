"""The long run: `python tests/fuzz/full.py [--inputs 20000] [--tampered 6000] [--seed 0]` writes what it found to
full.txt."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import gramian
from fuzz.batches import Outcome, run
from fuzz.kinds import FILES, TAMPERED

SHARES = {"npy": 4, "npz": 4, "safetensors": 3, "torch_files": 1, "statistics": 4, "command_line": 1}  # others: 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="damaged files, capsules, objects, calls")
    parser.add_argument("--tampered", type=int, default=6_000, help="of each kind of tampered archives")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begin = time.monotonic()
    shares = {kind: SHARES.get(kind, 1) for kind in FILES}
    counts = {kind: options.inputs * share // sum(shares.values()) for kind, share in shares.items()}
    counts["npy"] += options.inputs - sum(counts.values())
    counts |= dict.fromkeys(TAMPERED, options.tampered)
    outcomes = {kind: run(kind, count, options.seed) for kind, count in counts.items()}
    lines = table(outcomes)
    lines += [
        "",
        f"gramian {gramian.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}, seed {options.seed}, "
        f"{round(time.monotonic() - begin)} s",
    ]
    text = "\n".join(lines) + "\n"
    (Path(__file__).parent / "full.txt").write_text(text)
    print(text)
    wrong = [line for outcome in outcomes.values() for line in outcome.wrong]
    print("\n\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def table(outcomes: dict[str, Outcome]) -> list[str]:
    head = ("inputs", "read", "refused", "wrong", "crashed", "most MB")
    rows = [
        (kind, o.found.total(), *(o.found[name] for name in ("read", "refused", "wrong", "crashed")), o.peak)
        for kind, o in outcomes.items()
    ]
    sums = ("all", *(sum(row[k] for row in rows) for k in range(1, 6)), max(row[6] for row in rows))
    lines = [f"{'':<20}" + "".join(f"{name:>9}" for name in head)]
    lines += [f"{row[0]:<20}" + "".join(f"{value:>9}" for value in row[1:]) for row in [*rows, sums]]
    return [
        "What became of damaged inputs. Read: the right value, that of what is in the file (of statistics, the one",
        "that was saved; of resealed ones, any). Refused: one exception, of one line, that names the file or the",
        "argument. Wrong: another value or another exception. Crashed: the process died or hung.",
        "",
        *lines,
    ]


if __name__ == "__main__":
    sys.exit(main())
