"""The CUDA engine's nearest neighbours, on the emulated GPU: the CPU's lists, whatever kernels, grids and budgets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import emulator
from emulator.cases import KERNELS, Raw, represent
from emulator.nearest import assert_same_lists, hard_rows, nearest

SOURCES = (75, 80, 90)
each_of = pytest.mark.parametrize


@each_of("dtype", ["float32", "float16", "bfloat16"])
@each_of("kernel", ["linear", "squared_distance", "cosine", "polynomial"])
@each_of("source", SOURCES)
def test_lists_are_those_of_the_cpu(gpu: ModuleType, source: int, kernel: str, dtype: str) -> None:
    x = hard_rows(200, 65, dtype)
    gpu.emulator.configure(capability=source)
    got, want = nearest(gpu, x, kernel, 7), nearest(gpu, x, kernel, 7, device=False)
    np.testing.assert_array_equal(got["index"], want["index"])
    if dtype == "float32" or kernel != "linear":  # untranslated 16-bit rows have another constant in their values
        assert_same_lists(got, want)


@each_of("kernel", [name for name in KERNELS if name != "rbf_narrow"])
def test_every_kernel_function_ranks_in_float64_as_the_cpu_does(gpu: ModuleType, kernel: str) -> None:
    x = hard_rows(140, 6, "float64")
    assert_same_lists(nearest(gpu, x, kernel, 12), nearest(gpu, x, kernel, 12, device=False))


@each_of("kernel", ["distance", "laplacian", "arc_cosine_0", "arc_cosine_1", "rational_quadratic", "exponential"])
def test_kernels_of_distances_and_angles_rank_float32_as_the_cpu_does(gpu: ModuleType, kernel: str) -> None:
    x = hard_rows(140, 6)
    assert_same_lists(nearest(gpu, x, kernel, 12), nearest(gpu, x, kernel, 12, device=False))


@each_of("n", [2, 127, 128, 129, 257])
def test_all_others_in_order(gpu: ModuleType, n: int) -> None:
    x = hard_rows(n, 3)
    got = nearest(gpu, x, "squared_distance", n - 1)
    distance = ((x[:, None].astype(float) - x[None].astype(float)) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(got["index"], np.argsort(distance, axis=1, kind="stable")[:, : n - 1])


@each_of("source", SOURCES)
def test_equal_rows_go_by_their_index(gpu: ModuleType, source: int) -> None:
    gpu.emulator.configure(capability=source)
    got = nearest(gpu, np.ones((150, 3), np.float32), "squared_distance", 4)["index"]
    assert (got[10] == [0, 1, 2, 3]).all()
    assert (got[2] == [0, 1, 3, 4]).all()


@each_of("source", SOURCES)
def test_no_grid_schedule_or_budget_changes_a_bit(gpu: ModuleType, source: int) -> None:
    x = hard_rows(300, 65)
    gpu.emulator.configure(capability=source)
    want = nearest(gpu, x, "cosine", 9)
    for multiprocessors, seed, memory in [(1, 1, 0), (7, 2, 1), (2, 3, 200_000)]:
        gpu.emulator.configure(capability=source, multiprocessors=multiprocessors, seed=seed)
        got = nearest(gpu, x, "cosine", 9, memory=memory)
        for name in ("index", "similarity"):
            assert got[name].tobytes() == want[name].tobytes()


def joined(shards: list[Raw], k: int) -> tuple[Any, Any]:
    index, value = (np.concatenate([s[name] for s in shards], axis=1) for name in ("index", "similarity"))
    order = np.lexsort((index, np.where(index < 0, np.inf, -value)), axis=1)[:, :k]
    return np.take_along_axis(index, order, 1), np.take_along_axis(value, order, 1)


def test_shards_join_to_the_same_bits(gpu: ModuleType) -> None:
    x, k = hard_rows(300, 65), 9
    want = nearest(gpu, x, "linear", k)
    index, value = joined([nearest(gpu, x, "linear", k, shard=(r, 3)) for r in range(3)], k)
    assert index.tobytes() == want["index"].tobytes()
    assert value.tobytes() == want["similarity"].tobytes()


def test_a_shard_with_few_pairs_says_where_it_has_no_neighbour(gpu: ModuleType) -> None:
    got = nearest(gpu, hard_rows(300, 5), "linear", 200, shard=(0, 3))
    assert (got["index"] == -1).any()
    assert (np.isnan(got["similarity"]) == (got["index"] < 0)).all()


@each_of("precision", ["high", "medium"])
def test_precision_is_a_matter_of_speed(gpu: ModuleType, precision: str) -> None:
    x = hard_rows(200, 65)
    assert_same_lists(nearest(gpu, x, "cosine", 9, precision=precision), nearest(gpu, x, "cosine", 9))


def test_rows_in_another_order_and_in_two_parts(gpu: ModuleType) -> None:
    x, k = hard_rows(200, 20), 6
    order = np.random.default_rng(0).permutation(200)
    want = nearest(gpu, x[order], "squared_distance", k)
    turned = represent(gpu, ("squared_distance", {}), x, index=order)
    halves = represent(gpu, ("squared_distance", {}), np.ascontiguousarray(x[order][:90]), x[order][90:].copy())
    for representation in (turned, halves):
        got = gpu.sweep([representation], statistic="topk", neighbors=k)
        np.testing.assert_array_equal(got["index"], want["index"])


def test_rows_far_from_the_origin_and_of_any_unit(gpu: ModuleType) -> None:
    x = np.random.default_rng(0).normal(size=(200, 40))
    want = nearest(gpu, x, "squared_distance", 5, device=False)["index"]
    for moved in (x.astype(np.float32) * np.float32(2.0**60), x.astype(np.float32) + np.float32(1000)):
        got = nearest(gpu, moved, "squared_distance", 5)["index"]
        np.testing.assert_array_equal(got, nearest(gpu, moved, "squared_distance", 5, device=False)["index"])
    np.testing.assert_array_equal(nearest(gpu, x * 2.0**-300, "squared_distance", 5)["index"], want)


# ---- planted faults ------------------------------------------------------------------------------------------------

FAULTS = {
    "a panel is overwritten while it is read": ("        __syncthreads();  // the last panel has been read\n", ""),
    "a panel is read before it is there": (
        "        }\n        __syncthreads();\n        for (int r",
        "        }\n        for (int r",
    ),
    "the diagonal's columns look above it": ("other < row : other > row", "other > row : other > row"),
    "columns are taken for rows": ("side.transposed) {", "false) {"),
    "a list is moved while it is read": (
        "        __syncwarp();\n        if (moves) value[t] =",
        "        if (moves) value[t] =",
    ),
    "rows past the end are neighbours": ("other < args.n && ", ""),
    "a row of a full list is settled too early": ("last == most ?", "last >= 0 ?"),
}


@each_of("name", FAULTS)
def test_a_planted_fault_is_noticed(core: ModuleType, tmp_path: Path, name: str) -> None:
    module = emulator.variant(tmp_path, [("neighbors.cu", *FAULTS[name])], ["neighbors.cu"])
    command = [sys.executable, "-m", "emulator.nearest", str(module)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0


def test_nothing_is_noticed_without_a_fault(core: ModuleType) -> None:
    command = [sys.executable, "-m", "emulator.nearest", str(emulator.build("_core"))]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
