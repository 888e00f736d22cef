"""Bugs planted in the CUDA sources, one at a time: the emulator notices every one, so it would notice ours."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import emulator

DRIVER = Path(emulator.__file__).parent / "planted.py"


@dataclass(frozen=True)
class Bug:
    name: str
    file: str  # under csrc/cuda
    old: str
    new: str
    source: str  # what includes it and is compiled anew
    capability: int
    widths: tuple[int, ...] = (192, 100)


def sm90(name: str, old: str, new: str, widths: tuple[int, ...] = (192, 100), file: str = "tile_sm90.cuh") -> Bug:
    return Bug(f"sm90: {name}", file, old, new, "tile_sm90.cu", 90, widths)


def sm80(name: str, old: str, new: str, widths: tuple[int, ...] = (192, 100), file: str = "tile_sm80.cuh") -> Bug:
    return Bug(f"sm80: {name}", file, old, new, "tile_sm80.cu", 80, widths)


DEEP = (640, 700)
BUGS = (
    sm90(
        "a stage is released before its multiplication",
        "            ptx::wgmma_wait<1>();\n            release",
        "            release",
        DEEP,
    ),
    sm90("the producer waits for the wrong phase", "ring.parity() ^ 1", "ring.parity()"),
    sm90("warpgroups take turns though a tile has more steps than stages", "<= kStages;", "<= 1000;", DEEP),
    sm90("descriptors step by 32 features", "a + 2 * part, b + 2 * part", "a + 4 * part, b + 4 * part"),
    sm90("accumulators are read before they are there", "    ptx::wgmma_wait<0>();\n", ""),
    sm90(
        "sums are read before all warps wrote them",
        "            ptx::named_sync<3>(256);\n            if (thread < 3)",
        "            if (thread < 3)",
    ),
    sm90("half of the arrivals empty a stage", "stage * 8, kConsumerWarps);", "stage * 8, kConsumerWarps / 2);", DEEP),
    sm90("half of the bytes fill a stage", "expect(full, kStageBytes)", "expect(full, kPanelBytes)"),
    sm90("panels lie unaligned", "(start + 1023) & ~std::uint32_t{1023}", "(start + 127) & ~std::uint32_t{127}"),
    sm90(
        "the last stage is never released",
        "    ptx::wgmma_wait<0>();\n    release(shared, ring.step - 1);",
        "    ptx::wgmma_wait<0>();",
    ),
    sm90("the columns' panel holds rows", "full, at.column, column)", "full, at.column, row)"),
    sm90("barriers are not made visible", "        ptx::fence_barrier_init();\n", ""),
    sm90("the diagonal counts", "row >= column ||", "row > column ||", file="epilogue.cuh"),
    sm90(
        "low parts are left out",
        "part == 0 ? StepColumns{at, x.low + at}",
        "part == 0 ? StepColumns{at, at}",
        file="tile.hpp",
    ),
    sm80("column sums go to the wrong columns", "(lane & 8) * N / 32", "(lane & 8) * N / 64", file="epilogue.cuh"),
    sm80(
        "a stage is read before all threads have copied",
        "                    __syncthreads();  // this stage",
        "                    // this stage",
    ),
    sm80("too many copies may be under way", "ptx::copy_wait<kStages - 2>()", "ptx::copy_wait<kStages - 1>()"),
    sm80("rows' fragments miss half of the features", "2 * k + (lane >> 4)", "2 * k"),
    sm80("copies land in the stage that is read", "(stage + kStages - 1) % kStages", "(stage + kStages) % kStages"),
    sm80(
        "rows of the next tile come from this one",
        "(unit.row + tile) * kTile, at.row",
        "unit.row * kTile, at.row",
        (30, 20),
    ),
    Bug(
        "simt: panels are read before they are there",
        "tile_simt.cu",
        "thread, column_map);\n        __syncthreads();",
        "thread, column_map);",
        "tile_simt.cu",
        75,
    ),
    Bug("reduce: pairs count once", "reduce.cu", "sum.add(2 * terms", "sum.add(terms", "reduce.cu", 90),
    Bug(
        "reduce: tiles belong to the unit before",
        "reduce.cu",
        ".tile <= wanted",
        ".tile < wanted",
        "reduce.cu",
        80,
        (40, 30, 20),
    ),
    Bug(
        "reduce: a block's sum is read before it is there",
        "reduce.cu",
        "shared[thread / 32] = v;\n    __syncthreads();",
        "shared[thread / 32] = v;",
        "reduce.cu",
        80,
        (40, 30, 20),
    ),
)


def noticed(module: Path, bug: Bug) -> str:
    """What the sweeps noticed, or nothing."""
    command = [sys.executable, str(DRIVER), str(module), str(bug.capability), *map(str, bug.widths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
    if done.returncode == 0:
        return ""
    assert done.returncode in (1, -6, -11), done.stdout  # said, aborted or crashed
    return done.stdout.strip() or f"signal {-done.returncode}"


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    if emulator.compiler() is None:
        pytest.skip("NO C++ COMPILER: no bug was planted")


@pytest.mark.parametrize("case", [(90, (192, 100)), (90, DEEP), (80, (192, 100)), (80, (40, 30, 20)), (75, (192, 100))])
def test_nothing_is_noticed_without_a_bug(case: tuple[int, tuple[int, ...]]) -> None:
    module = emulator.build("_core")
    assert noticed(module, Bug("none", "", "", "", "", *case)) == ""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Bug, tmp_path: Path) -> None:
    module = emulator.variant(tmp_path, [(bug.file, bug.old, bug.new)], [bug.source])
    found = noticed(module, bug)
    print(f"{bug.name}: {found}")
    assert found
