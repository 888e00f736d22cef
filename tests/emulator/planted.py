"""Runs a few sweeps of a module with a planted bug: exit status 0 if nothing was noticed, else it says what was.

python planted.py MODULE CAPABILITY D...: representations of so many features each.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_ERROR = 1e-6  # of a pair sum over the root of its own, of a row sum over n·max |K|
SCHEDULES = ((1, 0), (2, 1), (7, 2), (2, 3))  # multiprocessors and seed


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("_core", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sums(core: Any, raw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products over i ≠ j (m, m) and of rows (m, n), of the kernels themselves."""
    unit = 2.0 ** np.asarray(raw["exponent"], float)
    shift, rows = np.stack(raw["shift"]), core.fixed_values(raw["rows"])
    m, n = shift.shape
    both = np.zeros((m, m))
    both[np.triu_indices(m)] = core.fixed_values(raw["pairs"])
    both = both + np.triu(both, 1).T
    total = shift.sum(axis=1)
    crossed = 2 * rows @ shift.T
    both = both + crossed + crossed.T + 2 * (n - 2) * shift @ shift.T + 2 * np.outer(total, total)
    return both * np.outer(unit, unit), (rows + (n - 2) * shift + total[:, None]) * unit[:, None]


def main() -> int:
    module, capability, *widths = sys.argv[1:]
    core = load(Path(module))
    rng = np.random.default_rng(0)
    n = 300
    first = rng.standard_normal((n, 64))
    xs = [(first @ rng.standard_normal((64, int(d))) / 8 + rng.standard_normal((n, int(d)))) for d in widths]
    kernels = [core.KernelFunction("rbf", {"bandwidth": 1.5 * float(d) ** 0.5}) for d in map(int, widths)]

    def sweep(views: Any) -> Any:
        return core.sweep([([view], kernel, None, None, -1) for view, kernel in zip(views, kernels, strict=True)])

    pairs, rows = sums(core, sweep([core.View.from_numpy(x) for x in xs]))
    narrow = [x.astype(np.float32) for x in xs]
    seen = set()
    os.environ["GRAMIAN_CUDA_UNIT"] = "2"  # so few rows would have one tile in each unit
    for multiprocessors, seed in SCHEDULES:
        core.emulator.configure(capability=int(capability), multiprocessors=multiprocessors, seed=seed)
        try:
            raw = sweep([core.View.on_device(x) for x in narrow])
        except RuntimeError as error:
            print("reported:", str(error).splitlines()[0])
            return 1
        found_pairs, found_rows = sums(core, raw)
        own = np.sqrt(np.diag(pairs))
        worst = max(
            float(np.max(np.abs(found_pairs - pairs) / np.outer(own, own))),
            float(np.max(np.abs(found_rows - rows))) / n,
        )
        if not worst <= LARGEST_ERROR:
            print(f"wrong: {worst:.1e}")
            return 1
        seen.add(raw["pairs"].tobytes() + raw["rows"].tobytes())
    if len(seen) > 1:
        print("different bits")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
