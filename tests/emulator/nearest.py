"""Nearest neighbours of the emulated device beside the CPU's.

python -m emulator.nearest MODULE says what was wrong under some schedule: exit status 0 if nothing was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import emulator
from accuracy import hard_pair
from emulator.cases import TYPES, Raw, sweep
from oracle import Array

SCHEDULES = ((1, 0), (2, 1), (7, 2), (2, 3))


def hard_rows(n: int, d: int, dtype: str = "float32") -> Array:
    """hard_pair's rows, with some that are equal, and 16-bit ones aligned."""
    x = hard_pair(n, d, 1, seed=d, dtype=dtype)[0].astype(TYPES.get(dtype, dtype))
    x[1 : n // 3 : 7] = x[0]
    wide = np.full((n, (d + 15) // 8 * 8), np.nan, x.dtype)
    wide[:, :d] = x
    return wide[:, :d] if x.itemsize == 2 else x


def nearest(core: Any, x: Array, kernel: str, k: int, *, device: bool = True, **options: Any) -> Raw:
    return sweep(core, [x], [kernel], device=device, statistic="topk", neighbors=k, **options)


def assert_same_lists(got: Raw, want: Raw) -> None:
    np.testing.assert_array_equal(got["index"], want["index"])
    np.testing.assert_allclose(got["similarity"], want["similarity"], rtol=1e-14, atol=0)


def main() -> None:
    core = emulator.load("planted._core", Path(sys.argv[1]))
    for kernel, n, d in (("squared_distance", 300, 70), ("linear", 129, 5)):
        x = hard_rows(n, d)
        want = nearest(core, x, kernel, 40, device=False)
        for multiprocessors, seed in SCHEDULES:
            core.emulator.configure(capability=80, multiprocessors=multiprocessors, seed=seed)
            assert_same_lists(nearest(core, x, kernel, 40), want)


if __name__ == "__main__":
    main()
