"""Faults to plant in the engine, one at a time, each with a case that it shows in. The emulator notices all of them.

python -m emulator.faults MODULE NAME prints what the sweeps of a fault's case came to under each schedule, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import emulator
from emulator import Edit
from emulator.cases import Case, Raw, assert_same_bits, judge, run, sweep

MANY_UNITS = ("schedule.cpp", "kUnits = 4096", "kUnits = 4")  # of several tiles, at few rows
MANY_LAUNCHES = ("engine.cu", "kFlopsOfLaunch = 2e13", "kFlopsOfLaunch = 1")
SEEDS = range(4)


@dataclass(frozen=True)
class Fault:
    edits: tuple[Edit, ...]
    units: tuple[str, ...]  # the sources that are compiled again
    case: Case
    multiprocessors: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)  # of the sweep
    sound: tuple[Edit, ...] = ()  # edits that are no faults


def sm90(old: str, new: str, case: Case, *, file: str = "tile_sm90.cuh", **others: Any) -> Fault:
    return Fault(((file, old, new),), ("tile_sm90.cu",), case, **others)


def sm80(old: str, new: str, case: Case, *, file: str = "tile_sm80.cuh", **others: Any) -> Fault:
    return Fault(((file, old, new),), ("tile_sm80.cu",), case, **others)


def source(file: str, old: str, new: str, case: Case, **others: Any) -> Fault:
    return Fault(((file, old, new),), (file,), case, **others)


FAULTS = {
    "sm90: the last stage is held while another representation waits for one": Fault(
        (
            ("tile_sm90.cuh", "wgmma_wait<0>();\n    release(shared, ring.step - 1);", "wgmma_wait<0>();"),
            (
                "tile_sm90.cuh",
                "all_steps(args.x[0]), group, ring);",
                "all_steps(args.x[0]), group, ring); const std::uint32_t held = ring.step - 1;",
            ),
            (
                "tile_sm90.cuh",
                "if (Reps == 2) multiply<BFloat1>(y, shared, all_steps(args.x[1]), group, ring);",
                "if (Reps == 2) multiply<BFloat1>(y, shared, all_steps(args.x[1]), group, ring), "
                "release(shared, ring.step - 1); release(shared, held);",
            ),
        ),
        ("tile_sm90.cu",),
        Case("rbf", 2, 90, 129, 640),
    ),
    "sm90: a stage is released before its multiplication": sm90(
        "            ptx::wgmma_wait<1>();\n            release", "            release", Case("rbf", 2, 90, 300, 640)
    ),
    "sm90: the producer waits for the wrong phase": sm90(
        "ring.parity() ^ 1", "ring.parity()", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: warpgroups take turns though a tile has more steps than stages": sm90(
        "<= kStages;", "<= 1000;", Case("rbf", 2, 90, 300, 640)
    ),
    "sm90: descriptors step by 32 features": sm90(
        "a + 2 * part, b + 2 * part", "a + 4 * part, b + 4 * part", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: accumulators are read before they are there": sm90(
        "    ptx::wgmma_wait<0>();\n", "", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: sums are read before all warps wrote them": sm90(
        "            ptx::named_sync<3>(256);\n            if (thread < 3)",
        "            if (thread < 3)",
        Case("rbf", 2, 90, 300, 65),
    ),
    "sm90: half of the arrivals empty a stage": sm90(
        "stage * 8, kConsumerWarps);", "stage * 8, kConsumerWarps / 2);", Case("rbf", 2, 90, 300, 640)
    ),
    "sm90: half of the bytes fill a stage": sm90(
        "expect(full, kStageBytes)", "expect(full, kPanelBytes)", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: panels lie unaligned": sm90(
        "(start + 1023) & ~std::uint32_t{1023}", "(start + 127) & ~std::uint32_t{127}", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: the last stage is never released": sm90(
        "    ptx::wgmma_wait<0>();\n    release(shared, ring.step - 1);",
        "    ptx::wgmma_wait<0>();",
        Case("rbf", 2, 90, 300, 65),
    ),
    "sm90: the columns' panel holds rows": sm90(
        "full, at.column, column)", "full, at.column, row)", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: barriers are not made visible": sm90(
        "        ptx::fence_barrier_init();\n", "", Case("rbf", 2, 90, 300, 65)
    ),
    "sm90: the diagonal counts": sm90(
        "row >= column ||", "row > column ||", Case("rbf", 2, 90, 300, 65), file="epilogue.cuh"
    ),
    "sm90: low parts are left out": sm90(
        "part == 0 ? StepColumns{at, x.low + at}",
        "part == 0 ? StepColumns{at, at}",
        Case("rbf", 2, 90, 300, 65),
        file="tile.hpp",
    ),
    "sm90: both warpgroups multiply the first rows": sm90(
        " + group * (kPanelBytes / 2)", "", Case("linear", 2, 90, 129, 65)
    ),
    "sm90: every part of the first step starts anew": sm90("k + part != 0", "k != 0", Case("linear", 2, 90, 129, 65)),
    "sm90: a later batch is stored where it would lie in the first": sm90(
        "unit.tile - args.first_tile + (row_tile",
        "unit.tile + (row_tile",
        Case("cosine", 3, 90, 600, 1),
        options={"memory": 1},
    ),
    "sm90: pairs with rows past the end count": sm90(
        "row_tile == column_tile || (column_tile + 1) * kTile > n",
        "row_tile == column_tile",
        Case("rbf", 2, 90, 129, 65),
        file="epilogue.cuh",
    ),
    "sm90: only the first launch's sums go to the right place": sm90(
        "static_cast<std::int64_t>(u - args.first) * 3",
        "static_cast<std::int64_t>(u) * 3",
        Case("rbf", 2, 90, 600, 1),
        multiprocessors=1,
        sound=(MANY_LAUNCHES,),
    ),
    "sm80: column sums go to the wrong columns": sm80(
        "(lane & 8) * N / 32", "(lane & 8) * N / 64", Case("rbf", 2, 80, 300, 65), file="epilogue.cuh"
    ),
    "sm80: a stage is read before all threads have copied": sm80(
        "                    __syncthreads();  // this stage",
        "                    // this stage",
        Case("rbf", 2, 80, 300, 65),
    ),
    "sm80: too many copies may be under way": sm80(
        "ptx::copy_wait<kStages - 2>()", "ptx::copy_wait<kStages - 1>()", Case("rbf", 2, 80, 300, 65)
    ),
    "sm80: rows' fragments miss half of the features": sm80(
        "2 * k + (lane >> 4)", "2 * k", Case("rbf", 2, 80, 300, 65)
    ),
    "sm80: copies land in the stage that is read": sm80(
        "(stage + kStages - 1) % kStages", "(stage + kStages) % kStages", Case("rbf", 2, 80, 300, 65)
    ),
    "sm80: rows of the next tile come from this one": sm80(
        "(unit.row + tile) * kTile, at.row",
        "unit.row * kTile, at.row",
        Case("rbf", 2, 80, 600, 65),
        sound=(MANY_UNITS,),
    ),
    "sm80: sums are written into a stage that is still read": sm80(
        "            __syncthreads();  // the stages are free\n", "", Case("linear", 2, 80, 600, 128, "float16")
    ),
    "sm80: stages are filled while sums are read from there": sm80(
        "        __syncthreads();  // shared_sums have been read\n", "", Case("rbf", 2, 80, 600, 65), multiprocessors=1
    ),
    "sm80: groups without copies are not counted": sm80(
        "        }\n        ptx::copy_commit();",
        "            ptx::copy_commit();\n        }",
        Case("rbf", 2, 80, 129, 65),
    ),
    "sm80: panels are written as they are and read swizzled": sm80(
        "to + swizzled(r, chunk % 8)", "to + static_cast<std::uint32_t>(chunk * 16)", Case("linear", 2, 80, 129, 65)
    ),
    "sm80: what follows a row in memory counts": sm80(
        "row + r < n ? 2 * (x.columns - c) : 0", "row + r < n ? 16 : 0", Case("linear", 2, 80, 129, 63, "float16")
    ),
    "sm80: high with low parts twice, low with high ones never": sm80(
        "StepColumns{x.low + at, at}", "StepColumns{at, x.low + at}", Case("linear", 2, 80, 129, 65), file="tile.hpp"
    ),
    "sm80: all tiles of a unit are stored in one place": sm80(
        "unit.tile + t - args.first_tile",
        "unit.tile - args.first_tile",
        Case("cosine", 3, 80, 600, 1),
        sound=(MANY_UNITS,),
    ),
    "sm80: a unit's column sums are those of its last tile": sm80(
        "for (int t = 0; t < unit.count; ++t) {\n",
        "for (int t = 0; t < unit.count; ++t) {\n if (t) for (auto& c : sums.columns) for (float& s : c) s = 0;\n",
        Case("rbf", 2, 80, 600, 1),
        sound=(MANY_UNITS,),
    ),
    "pack: there is no low part": source(
        "prepare.cu",
        "to[low + k] = bfloat ? ptx::to_bfloat16(rest) : ptx::to_half(rest);",
        "to[low + k] = 0 * ptx::to_half(rest);",
        Case("linear", 2, 90, 129, 65),
    ),
    "pack: what pads a panel is left as it was": source(
        "prepare.cu", "columns = low ? low : pitch;", "columns = x.rows.d;", Case("linear", 2, 90, 129, 65)
    ),
    "simt: panels are read before they are there": source(
        "tile_simt.cu",
        "thread, column_map);\n        __syncthreads();",
        "thread, column_map);",
        Case("rbf", 2, 75, 300, 65),
    ),
    "simt: a row is its own landmark": source(
        "tile_simt.cu", "landmark >= 0 && landmark != row", "landmark >= 0", Case("linear", 2, 75, 129, 65)
    ),
    "simt: a later batch is stored where it would lie in the first": source(
        "tile_simt.cu",
        "(unit.tile + t - args.first_tile)",
        "(unit.tile + t)",
        Case("laplacian", 2, 75, 600, 1),
        options={"memory": 1},
    ),
    "simt: −0 is positive": Fault(
        (("device_math.cuh", "::copysignf(1.f, sign) < 0.f", "sign < 0.f"),),
        ("tile_simt.cu",),
        Case("arc_cosine_0", 2, 75, 129, 1),
    ),
    "simt: a panel is overwritten while others read it": source(
        "tile_simt.cu",
        "        __syncthreads();\n        bring(x, panels.row,",
        "        bring(x, panels.row,",
        Case("rbf", 2, 75, 129, 65),
    ),
    "reduce: pairs count once": source("reduce.cu", "sum.add(2 * terms", "sum.add(terms", Case("rbf", 2, 90, 300, 65)),
    "reduce: tiles belong to the unit before": source(
        "reduce.cu", ".tile <= wanted", ".tile < wanted", Case("cosine", 3, 80, 300, 1), sound=(MANY_UNITS,)
    ),
    "reduce: a block's sum is read before it is there": source(
        "reduce.cu",
        "shared[thread / 32] = v;\n    __syncthreads();",
        "shared[thread / 32] = v;",
        Case("cosine", 3, 80, 300, 1),
    ),
    "reduce: columns are added before both halves are there": source(
        "reduce.cu",
        "if (half == 1) shared[column] = sum;\n    __syncthreads();",
        "if (half == 1) shared[column] = sum;",
        Case("cosine", 3, 90, 129, 1),
    ),
    "engine: row sums are scaled by half": source(
        "engine.cu",
        "row_scale_(std::exp2(row_bits_))",
        "row_scale_(std::exp2(row_bits_ - 1))",
        Case("rbf", 2, 90, 129, 1),
    ),
    "engine: row sums have more bits than there is room for": source(
        "engine.cu", "kRowBits = 58;", "kRowBits = 72;", Case("rbf", 2, 90, 129, 1)
    ),
    "engine: long formulas are not applied": source(
        "engine.cu",
        "if (x.tile.form == Form::product) launch_apply",
        "if (false) launch_apply",
        Case("rational_quadratic", 2, 90, 129, 65),
    ),
}


def compare_shifts(got: Raw, want: Raw) -> None:
    """The landmarks' shift is the CPU engine's, which works on other tiles but on the same landmarks."""
    for shift, other in zip(got["shift"], want["shift"], strict=True):
        assert np.abs(shift - other).max() <= 1e-6 * np.abs(other).max(), "other shifts"


def outcomes(core: Any, fault: Fault) -> list[str]:
    """ "right" or what was wrong, of each schedule; the first that ran to its end is what others are compared with."""
    found, first = [], None
    cpu = sweep(core, fault.case.data(), fault.case.kernels, device=False)
    for seed in SEEDS:
        try:
            raw = run(core, fault.case, fault.multiprocessors, seed, **fault.options)
            judge(core, fault.case, raw)
            if fault.case.dtype == "float32":
                compare_shifts(raw, cpu)
            first = first or raw
            assert_same_bits(raw, first)
        except (AssertionError, RuntimeError) as error:
            found.append(f"{type(error).__name__}: {error}".splitlines()[0])
        else:
            found.append("right")
    return found


if __name__ == "__main__":
    module, name = sys.argv[1:]
    print(json.dumps(outcomes(emulator.load("planted._core", Path(module)), FAULTS[name])))
