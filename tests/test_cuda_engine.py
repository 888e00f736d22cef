"""The CUDA engine's own sources, on the emulated GPU: every sum is right, whatever the grid and the schedule."""

from __future__ import annotations

import itertools
import json
import math
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import emulator
import oracle
from accuracy import hard_pair
from emulator.cases import (
    FACTORS,
    KERNELS,
    SCHEDULES,
    TYPES,
    Case,
    Parameters,
    assert_same_bits,
    bits,
    check,
    covering,
    errors_of,
    gram,
    judge,
    physical,
    represent,
    run,
    seconds,
    shifted,
    sweep,
)
from emulator.exhaustive import CASES as EVERY
from emulator.faults import FAULTS, MANY_LAUNCHES, MANY_UNITS, SEEDS, outcomes
from oracle import Array

SOURCES = (75, 80, 90)
TENSOR = (80, 90)
SHARDED = ("pairs", "squares", "difference", "rows")


def case_of(values: dict[str, Any]) -> Case:
    return Case(**{name: values[name] for name in ("kernel", "m", "source", "n", "d")})


CHOSEN = covering(FACTORS, lambda values: 0.2 * seconds(case_of(values)), seed=1)
WITHOUT_TENSOR_CORES = [
    Case(kernel, 2 + i % 2, 75, (129, 600)[i % 2], (65, 1, 64, 640)[i % 4]) for i, kernel in enumerate(KERNELS)
]
# small ones of all three ways through the engine: in registers, stored, and without tensor cores
FEW = [
    *(
        Case(kernel, m, source, 600, 65)
        for source in TENSOR
        for kernel, m in [("rbf", 2), ("linear", 2), ("cosine", 3)]
    ),
    Case("laplacian", 2, 80, 600, 65),
    Case("rbf", 2, 75, 600, 65),
]
# with units of several tiles: of three, and of sixteen in groups of sixteen columns
SEVERAL = [
    *(Case(kernel, m, source, 600, d) for source in TENSOR for kernel, m, d in [("rbf", 2, 63), ("cosine", 3, 640)]),
    Case("linear", 2, 90, 600, 640),
    Case("laplacian", 2, 80, 600, 65),
    Case("polynomial", 2, 90, 2049, 65),
    Case("polynomial", 2, 80, 2049, 1),
]
each_of = pytest.mark.parametrize


def by_id(case: Case) -> str:
    return case.id


def test_every_kernel_function_is_among_the_cases(core: ModuleType) -> None:
    assert {KERNELS[name](1)[0] for name in KERNELS} == set(core.KERNEL_FUNCTIONS)


def test_chosen_cases_have_every_two_values_together() -> None:
    missing = {(a, x, b, y) for a, b in itertools.combinations(FACTORS, 2) for x in FACTORS[a] for y in FACTORS[b]} - {
        (a, values[a], b, values[b]) for values in CHOSEN for a, b in itertools.combinations(FACTORS, 2)
    }
    assert not missing
    assert 2 * len(CHOSEN) + len(WITHOUT_TENSOR_CORES) <= 150


# ---- moments ---------------------------------------------------------------------------------------------------------


@each_of("values", CHOSEN, ids=lambda values: "-".join(map(str, values.values())))
def test_sums_are_right_and_no_grid_or_schedule_changes_a_bit(gpu: ModuleType, values: dict[str, Any]) -> None:
    first = SCHEDULES.index((values["multiprocessors"], values["seed"]))
    check(gpu, case_of(values), [SCHEDULES[first], SCHEDULES[(first + 4) % len(SCHEDULES)]])


@each_of("case", WITHOUT_TENSOR_CORES, ids=by_id)
def test_sums_are_right_without_tensor_cores(gpu: ModuleType, case: Case) -> None:
    check(gpu, case, [(2, 0)])


@pytest.mark.exhaustive
@each_of("case", EVERY, ids=by_id)
def test_every_case_is_right_under_every_grid_and_schedule(gpu: ModuleType, case: Case) -> None:
    check(gpu, case, SCHEDULES)


@each_of("source", SOURCES)
@each_of("m", FACTORS["m"])
@each_of("kernel", FACTORS["kernel"])
def test_one_row_has_no_pairs(gpu: ModuleType, kernel: str, m: int, source: int) -> None:
    case = Case(kernel, m, source, 1, 65)
    raw = run(gpu, case, 2, 0)
    judge(gpu, case, raw)
    assert not raw["pairs"].any()
    assert not raw["rows"].any()


@each_of("case", FEW, ids=by_id)
def test_shards_add_up_to_the_same_bits(gpu: ModuleType, case: Case) -> None:
    whole, parts = run(gpu, case, 2, 0), [run(gpu, case, 2, rank, shard=(rank, 4)) for rank in range(4)]

    joined = dict(parts[2])
    for name, rank in itertools.product(SHARDED, (0, 3, 1)):
        joined[name] = gpu.fixed_add(joined[name], parts[rank][name])

    assert_same_bits(joined, whole)
    assert [p["tiles"] for p in parts] == list(itertools.pairwise([0, 3, 7, 11, 15]))


def test_more_shards_than_units_leave_some_with_nothing(gpu: ModuleType) -> None:
    case = Case("rbf", 2, 90, 129, 65)
    whole, parts = run(gpu, case, 2, 0), [run(gpu, case, 2, 0, shard=(rank, 5)) for rank in range(5)]
    joined = dict(parts[0])
    for name, part in itertools.product(SHARDED, parts[1:]):
        joined[name] = gpu.fixed_add(joined[name], part[name])
    assert_same_bits(joined, whole)


@each_of("memory", [1, 1 << 20])
@each_of("case", FEW, ids=by_id)
def test_memory_budget_changes_no_bit(gpu: ModuleType, case: Case, memory: int) -> None:
    assert_same_bits(run(gpu, case, 7, 1, memory=memory), run(gpu, case, 2, 0))


@each_of("case", FEW[:3], ids=by_id)
def test_environment_changes_grids_and_kernels(gpu: ModuleType, case: Case, monkeypatch: Any) -> None:
    older = Case(case.kernel, case.m, 90, case.n, case.d)
    want, other = bits(run(gpu, case, 7, 0)), bits(run(gpu, older, 7, 0))
    monkeypatch.setenv("GRAMIAN_CUDA_CAPABILITY", "80")
    monkeypatch.setenv("GRAMIAN_CUDA_BLOCKS", "3")
    assert bits(run(gpu, older, 7, 0)) == want != other


@pytest.fixture(scope="session")
def several(core: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module with units of several tiles and many launches, for which it would take 16,000 rows and days."""
    files = ["schedule.cpp", "engine.cu"]
    path = emulator.variant(tmp_path_factory.mktemp("several"), [MANY_UNITS, MANY_LAUNCHES], files)
    return emulator.load("emulated.several._core", path)


@each_of("case", SEVERAL, ids=by_id)
def test_units_of_several_tiles_and_many_launches_are_right(several: ModuleType, case: Case) -> None:
    check(several, case, SCHEDULES[2::3])


@each_of("case", SEVERAL, ids=by_id)
def test_launches_and_stored_batches_change_no_bit_of_units_of_several_tiles(several: ModuleType, case: Case) -> None:
    assert_same_bits(run(several, case, 1, 0, memory=1), run(several, case, 7, 1))


def test_progress_is_told_of_every_launch(several: ModuleType) -> None:
    seen: list[tuple[int, int]] = []
    run(several, Case("rbf", 2, 90, 2049, 1), 1, 0, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 3
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(set(seen))


# ---- pairs across a split --------------------------------------------------------------------------------------------


def many(m: int) -> tuple[list[Array], list[str]]:
    """Representations by kernel functions of all ways through the engine."""
    names = ("rbf", "cosine", "polynomial", "laplacian", "linear")
    return [hard_pair(300, 3 + 11 * p, 2, seed=p, dtype="float32")[0] for p in range(m)], [
        names[p % 5] for p in range(m)
    ]


@each_of("m, first", [(2, 1), (3, 1), (5, 2), (6, 5), (9, 4), (11, 6)])
@each_of("source", SOURCES)
def test_pairs_across_a_split_have_the_bits_of_the_full_sweep(gpu: ModuleType, source: int, m: int, first: int) -> None:
    gpu.emulator.configure(capability=source, multiprocessors=2, seed=first)
    xs, names = many(m)
    whole, part = sweep(gpu, xs, names), sweep(gpu, xs, names, split=first)

    kept = [p == q or p < first <= q for p, q in itertools.combinations_with_replacement(range(m), 2)]
    assert_same_bits(part, {**whole, "pairs": whole["pairs"][kept]})


@each_of("memory", [0, 1])
def test_neither_shards_nor_memory_change_a_bit_of_a_split(gpu: ModuleType, memory: int) -> None:
    gpu.emulator.configure(capability=90, multiprocessors=3, seed=1)
    xs, names = many(7)
    whole = sweep(gpu, xs, names, split=3)
    parts = [sweep(gpu, xs, names, split=3, shard=(rank, 3), memory=memory) for rank in (1, 2, 0)]
    joined = dict(parts[0])
    for name, other in itertools.product(SHARDED, parts[1:]):
        joined[name] = gpu.fixed_add(joined[name], other[name])
    assert_same_bits(joined, whole)


# ---- precision -------------------------------------------------------------------------------------------------------

# rounding of an entry, in units of the diagonal, with d normal features: of d = 64 and of d = 768
ENTRY_ERRORS = {"highest": (2e-8, 6e-8), "high": (3.7e-5, 1.1e-5), "medium": (2.9e-4, 8.5e-5)}
EPSILON = {"exact": 2.0**-23, "highest": 2.0**-22, "bfloat16 parts": 2.0**-16, "high": 2.0**-11, "medium": 2.0**-8}


def errors_of_sweep(
    gpu: ModuleType, source: int, xs: list[Array], *kernels: tuple[str, Parameters], **options: Any
) -> tuple[Any, float]:
    """Errors of two representations' moments, and the rounding that the sweep owns up to."""
    gpu.emulator.configure(capability=source)
    raw = gpu.sweep([represent(gpu, k, x) for x, k in zip(xs, kernels, strict=True)], **options)
    return errors_of(gpu, raw, [gram(x, *k) for x, k in zip(xs, kernels, strict=True)]), raw["epsilon"]


def normal(n: int, *widths: int, seed: int = 0) -> list[Array]:
    """Dependent rows of so many features each."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, widths[0]))
    others = [
        first @ rng.normal(size=(widths[0], d)) / math.sqrt(widths[0]) + rng.normal(size=(n, d)) for d in widths[1:]
    ]
    return [x.astype(np.float32) for x in (first, *others)]


def fitted(kernel: str, x: Array, width: float = 1.0) -> tuple[str, Parameters]:
    """A kernel function whose bandwidth is as wide as the data, or so many times that."""
    name, parameters = KERNELS[kernel](x.shape[1])
    if "bandwidth" not in parameters:
        return name, parameters
    first = x[:100].astype(np.float64)
    usual = oracle.median_bandwidth(first, norm="l1" if name == "laplacian" else "l2")
    return name, {**parameters, "bandwidth": width * usual * (0.4 if kernel == "rbf_narrow" else 1)}


@each_of("d", [64, 768])
@each_of("precision", ENTRY_ERRORS)
@each_of("source", TENSOR)
def test_entries_are_rounded_as_the_precision_says(gpu: ModuleType, source: int, precision: str, d: int) -> None:
    (X,), unit = normal(256, d), np.eye(256)[:, :64]
    gpu.emulator.configure(capability=source)
    raw = gpu.sweep([represent(gpu, ("linear", {}), X)], statistic="matmul", vectors=unit, precision=precision)
    (scale,), shift = physical(raw)

    K = gram(X, "linear", {})
    error = gpu.fixed_values(raw["rows"]) * scale - shifted(K, shift[0])[:, :64]

    size = np.sqrt(np.mean(error**2)) / np.mean(np.diag(K))
    usual = ENTRY_ERRORS[precision][d > 64]
    assert size < 3 * usual
    assert size > usual / 4 or precision == "highest"
    assert raw["epsilon"] == EPSILON[precision]


@each_of("kernel", ["linear", "rbf", "cosine", "rational_quadratic"])
@each_of("precision", ["high", "medium"])
@each_of("source", TENSOR)
def test_sums_in_lower_precision_lose_what_the_precision_says(
    gpu: ModuleType, source: int, precision: str, kernel: str
) -> None:
    X, Y = normal(300, 100, 60)
    functions = fitted(kernel, X), fitted(kernel, Y)
    errors, epsilon = errors_of_sweep(gpu, source, [X, Y], *functions, precision=precision)
    assert epsilon == EPSILON[precision]
    assert 1e-7 < errors.values < epsilon / 10
    assert errors.rows < epsilon / 10
    assert errors.diagonal < 1e-13


@each_of("precision", ["highest", "high", "medium"])
def test_without_tensor_cores_every_precision_is_the_same(gpu: ModuleType, precision: str) -> None:
    case = Case("rbf", 2, 75, 129, 65)
    assert_same_bits(run(gpu, case, 2, 0, precision=precision), run(gpu, case, 2, 0))


@each_of("dtype", ["float16", "bfloat16"])
@each_of("d", [1, 63, 64, 65, 640])
@each_of("source", TENSOR)
def test_16_bit_rows_are_read_in_place_and_exactly(gpu: ModuleType, source: int, d: int, dtype: str) -> None:
    for kernel, m in [("linear", 2), ("polynomial", 2), ("rbf", 2), ("squared_distance", 3)]:
        case = Case(kernel, m, source, 129, d, dtype)
        raw = run(gpu, case, 2, 0)
        judge(gpu, case, raw)
        if m == 2:
            assert raw["epsilon"] == EPSILON["exact"]


@each_of("dtype", ["float16", "bfloat16"])
def test_rows_in_place_need_no_room_for_a_copy(gpu: ModuleType, dtype: str) -> None:
    (X,) = normal(1000, 640)
    X = X.astype(TYPES.get(dtype, dtype))
    room = X.nbytes
    gpu.emulator.configure(memory_limit=room)
    gpu.sweep([represent(gpu, ("linear", {}), X)] * 2)
    with pytest.raises(RuntimeError, match="out of memory"):
        gpu.sweep([represent(gpu, ("linear", {}), X[:, 1:])] * 2)


LAYOUTS = {
    "row stride of 65": lambda X: np.pad(X, [(0, 0), (0, 1)], constant_values=np.nan)[:, :-1],
    "from the second element on": lambda X: np.pad(X, [(0, 0), (1, 7)], constant_values=np.nan)[:, 1:-7],
    "every third column": lambda X: np.repeat(X, 3, axis=1)[:, ::3],
    "columns backwards": lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    "every other row backwards": lambda X: np.repeat(X, 2, axis=0)[::-1][1::2][::-1],
    "column-major": np.asfortranarray,
}


@each_of("layout", LAYOUTS)
@each_of("dtype", ["float16", "bfloat16", "float32", "float64"])
@each_of("source", SOURCES)
def test_layouts_change_nothing(gpu: ModuleType, source: int, dtype: str, layout: str) -> None:
    plain = [x.astype(TYPES.get(dtype, dtype)) for x in normal(140, 64, 64)]
    functions = fitted("rbf", plain[0]), fitted("linear", plain[1])
    gpu.emulator.configure(capability=source)
    want, got = (
        gpu.sweep([represent(gpu, k, x) for x, k in zip(xs, functions, strict=True)])
        for xs in (plain, [LAYOUTS[layout](x) for x in plain])
    )
    # 16-bit rows that have to be copied are scaled: on tensor cores their sums differ in the last digits
    assert [name for name in bits(want) if bits(got)[name] != bits(want)[name]] in ([], ["pairs", "rows"])
    errors = errors_of(gpu, got, [gram(x, *k) for x, k in zip(plain, functions, strict=True)])
    assert max(errors.values, errors.rows) < (1e-12 if dtype == "float64" else 2e-7)


@each_of("dtype", ["float16", "bfloat16", "float32"])
@each_of("source", TENSOR)
def test_rows_far_from_the_origin_are_moved_to_it(gpu: ModuleType, source: int, dtype: str) -> None:
    X, Y = (((x + 20) / 20).astype(TYPES.get(dtype, dtype)) for x in normal(300, 100, 60))
    for kernel in ("linear", "rbf", "squared_distance", "cosine"):
        errors, epsilon = errors_of_sweep(gpu, source, [X, Y], fitted(kernel, X), fitted(kernel, Y))
        assert epsilon == EPSILON["highest"]
        assert max(errors.pairs, errors.values, errors.rows) < 1e-6


@each_of("kernel", KERNELS)
@each_of("source", SOURCES)
def test_mean_of_ten_spreads_costs_no_digits(gpu: ModuleType, source: int, kernel: str) -> None:
    X, Y = (x + np.float32(10) for x in normal(300, 20, 30))
    errors, _ = errors_of_sweep(gpu, source, [X, Y], fitted(kernel, X), fitted(kernel, Y))
    # what is not translated: its centred part is a hundredth of the whole
    limit = 1e-4 if kernel in ("polynomial", "arc_cosine_0", "arc_cosine_1") else 1e-6
    assert errors.pairs < 1e-6
    assert max(errors.values, errors.rows) < limit


@each_of("source", TENSOR)
def test_rows_of_very_different_size_become_bfloat16_parts(gpu: ModuleType, source: int) -> None:
    X, Y = normal(300, 100, 60)
    X[10:] *= 1e-6
    for kernel in ("linear", "cosine", "rbf", "distance", "polynomial"):
        functions = fitted(kernel, X[10:]), fitted(kernel, Y)
        errors, epsilon = errors_of_sweep(gpu, source, [X, Y], *functions)
        assert epsilon == EPSILON["highest" if kernel == "cosine" else "bfloat16 parts"]
        assert max(errors.pairs, errors.values, errors.rows) < epsilon


@each_of("scale", [1e18, 1e-18])
@each_of("kernel", KERNELS)
@each_of("source", SOURCES)
def test_huge_and_tiny_units_change_nothing(gpu: ModuleType, source: int, kernel: str, scale: float) -> None:
    X, Y = ((x * scale).astype(np.float32) for x in normal(200, 20, 9))
    units = {"bandwidth": scale, "scale": scale**-2, "offset": 1.0, "alpha": 1.0, "degree": 1.0, "order": 1.0}
    functions = []
    for x in (X, Y):
        name, parameters = KERNELS[kernel](x.shape[1])
        functions.append((name, {key: value * units[key] for key, value in parameters.items()}))
    errors, _ = errors_of_sweep(gpu, source, [X, Y], *functions)
    assert max(errors.pairs, errors.values, errors.rows) < 1e-6
    assert errors.diagonal < 1e-13


@each_of("width", [1000.0, 30.0, 0.3])
@each_of("kernel", ["rbf", "laplacian", "exponential", "rational_quadratic"])
@each_of("source", SOURCES)
def test_wide_and_narrow_bandwidths_keep_their_digits(gpu: ModuleType, source: int, kernel: str, width: float) -> None:
    X, Y = normal(300, 20, 9)
    errors, _ = errors_of_sweep(gpu, source, [X, Y], fitted(kernel, X, width), fitted(kernel, Y, width))
    assert errors.pairs < 1e-6
    assert errors.values < 1e-5


@each_of("steepness", [0.5, 3.0, 30.0, 250.0, 2000.0])
@each_of("source", SOURCES)
def test_clusters_as_narrow_as_the_bandwidth_keep_their_digits(gpu: ModuleType, source: int, steepness: float) -> None:
    rng = np.random.default_rng(0)
    centres, bandwidth = oracle.unit_rows(rng.normal(size=(3, 64))), 1 / math.sqrt(2 * steepness)
    X = (centres[rng.integers(0, 3, 300)] + bandwidth / 11 * rng.normal(size=(300, 64))).astype(np.float32)
    function = "rbf", {"bandwidth": bandwidth}
    errors, _ = errors_of_sweep(gpu, source, [X, X], function, function)
    assert max(errors.pairs, errors.values, errors.rows) < 1e-6


@each_of("kernel", [name for name in KERNELS if name not in ("exponential", "distance")])
@each_of("source", SOURCES)
def test_equal_and_opposite_rows_keep_their_digits(gpu: ModuleType, source: int, kernel: str) -> None:
    X, Y = normal(200, 20, 9)
    for x in (X, Y):
        x[1::2] = x[::2]
        x[50:100] *= -1
    errors, _ = errors_of_sweep(gpu, source, [X, Y], *(KERNELS[kernel](x.shape[1]) for x in (X, Y)))
    assert max(errors.pairs, errors.values, errors.rows) < 1e-6


@each_of("kernel", ["exponential", "distance"])
@each_of(("source", "limit"), [(75, 1e-6), (80, 2.0**-11), (90, 2.0**-11)])
def test_roots_of_near_pairs_lose_half_of_the_digits_on_tensor_cores(
    gpu: ModuleType, source: int, limit: float, kernel: str
) -> None:
    X, Y = normal(200, 20, 9)
    X[1::20], Y[1::20] = X[::20], Y[::20] * np.float32(1 + 2**-12)
    errors, _ = errors_of_sweep(gpu, source, [X, Y], KERNELS[kernel](20), KERNELS[kernel](9))
    assert max(errors.pairs, errors.values, errors.rows) < limit


# ---- what else rows may be -------------------------------------------------------------------------------------------


@each_of("dtype", ["float16", "bfloat16", "float32", "float64"])
@each_of("source", SOURCES)
def test_an_index_takes_rows_in_its_order(gpu: ModuleType, source: int, dtype: str) -> None:
    X, Y = (x.astype(TYPES.get(dtype, dtype)) for x in normal(200, 70, 64))
    index = np.random.default_rng(0).permutation(200)[:190]
    functions = [("rbf", {"bandwidth": 12.0}), ("linear", {})]
    gpu.emulator.configure(capability=source)
    raw = gpu.sweep([represent(gpu, functions[0], X, index=index), represent(gpu, functions[1], Y[:190])])
    errors = errors_of(gpu, raw, [gram(X[index], *functions[0]), gram(Y[:190], *functions[1])])
    assert max(errors.pairs, errors.values, errors.rows) < (1e-12 if dtype == "float64" else 2e-7)


@each_of("dtype", ["float16", "bfloat16", "float32", "float64"])
@each_of("source", SOURCES)
def test_two_arrays_are_one_below_the_other(gpu: ModuleType, source: int, dtype: str) -> None:
    X, Y = (x.astype(TYPES.get(dtype, dtype)) for x in normal(200, 70, 64))
    index = np.random.default_rng(0).permutation(200)
    functions = [("rbf", {"bandwidth": 12.0}), ("linear", {})]
    gpu.emulator.configure(capability=source)
    parts = represent(gpu, functions[0], X[:77], X[77:]), represent(gpu, functions[1], Y[:130], Y[130:], index=index)
    errors = errors_of(gpu, gpu.sweep(parts), [gram(X, *functions[0]), gram(Y[index], *functions[1])])
    assert max(errors.pairs, errors.values, errors.rows) < (1e-12 if dtype == "float64" else 2e-7)


@each_of(
    "kernels", [("rbf", "linear"), ("polynomial", "rbf"), ("squared_distance", "rbf_narrow"), ("cosine", "linear")]
)
@each_of("dtypes", list(itertools.product(["float16", "bfloat16", "float32"], repeat=2)))
@each_of("source", TENSOR)
def test_kernels_and_dtypes_mix(
    gpu: ModuleType, source: int, dtypes: tuple[str, str], kernels: tuple[str, str]
) -> None:
    X, Y = (x.astype(TYPES.get(dtype, dtype)) for x, dtype in zip(normal(140, 100, 64), dtypes, strict=True))
    errors, _ = errors_of_sweep(gpu, source, [X, Y], fitted(kernels[0], X), fitted(kernels[1], Y))
    assert max(errors.pairs, errors.values, errors.rows) < 1e-6


@each_of("kernel", KERNELS)
@each_of("source", SOURCES)
def test_float64_keeps_twelve_digits(gpu: ModuleType, source: int, kernel: str) -> None:
    for d in (1, 65):
        X, Y = hard_pair(300, d, 20)
        errors, epsilon = errors_of_sweep(gpu, source, [X, Y], KERNELS[kernel](d), KERNELS[kernel](20))
        assert max(errors.pairs, errors.values, errors.rows, errors.diagonal) < 1e-12
        assert epsilon == 2.0**-52


@each_of("kernel", ["rbf", "exponential"])
@each_of("distance", [1.0, 20.0, 100.0])
def test_tiny_float64_values_keep_their_digits(gpu: ModuleType, kernel: str, distance: float) -> None:
    X, function = np.array([[0.0], [distance], [3 * distance]]), (kernel, {"bandwidth": 4.0})
    x = represent(gpu, function, X, shift=np.zeros(3), base=0)
    gpu.emulator.configure()
    K = oracle.hollow(oracle.gram(kernel, X, bandwidth=4.0))
    rows = gpu.fixed_values(gpu.sweep([x])["rows"])[0]
    np.testing.assert_allclose(rows, K.sum(1), rtol=1e-13, atol=1e-29)
    times = gpu.fixed_values(gpu.sweep([x], statistic="matmul", vectors=np.eye(3))["rows"])
    np.testing.assert_allclose(times, K, rtol=1e-13, atol=1e-29)


@each_of("source", SOURCES)
def test_one_float64_array_makes_all_float64(gpu: ModuleType, source: int) -> None:
    X, Y, Z = normal(200, 30, 20, 10)
    functions = [("rbf", {"bandwidth": 5.0}), ("linear", {}), ("laplacian", {"bandwidth": 8.0})]
    gpu.emulator.configure(capability=source)
    xs = [X, Y.astype(np.float64), Z.astype(ml_dtypes.bfloat16)]
    raw = gpu.sweep([represent(gpu, k, x) for x, k in zip(xs, functions, strict=True)])
    errors = errors_of(gpu, raw, [gram(x, *k) for x, k in zip(xs, functions, strict=True)])
    assert not raw["single"]
    assert max(errors) < 1e-12


# ---- other statistics ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    """Representations as core.sweep takes them, and the shifted values of which it makes sums."""

    representations: list[Any]
    V: list[Array]  # in the sweep's units


def values_of(core: ModuleType, xs: list[Array], functions: list[tuple[str, Parameters]], *, device: bool) -> Values:
    """With the shifts and bases of a first sweep."""
    first = core.sweep([represent(core, k, x, device=device) for x, k in zip(xs, functions, strict=True)])
    units, shift = physical(first)
    grams = [gram(x, *k) for x, k in zip(xs, functions, strict=True)]
    return Values(
        [
            represent(core, k, x, device=device, shift=np.ascontiguousarray(s), base=int(b))
            for x, k, s, b in zip(xs, functions, first["shift"], first["base"], strict=True)
        ],
        [shifted(K, s) / unit for K, s, unit in zip(grams, shift, units, strict=True)],
    )


MIXED = [
    ("rbf", {"bandwidth": 9.0}),
    ("linear", {}),
    ("laplacian", {"bandwidth": 40.0}),
    ("arc_cosine", {"order": 1}),
    ("polynomial", {"degree": 2, "scale": 0.01, "offset": 1.0}),
]
ENGINES = [*SOURCES, "cpu"]
each_engine = each_of("engine", ENGINES)
each_dtype = each_of(("dtype", "limit"), [("float32", 1e-6), ("float64", 1e-12)])


def mixed(core: ModuleType, engine: int | str, m: int, dtype: str) -> Values:
    if engine != "cpu":
        core.emulator.configure(capability=engine, multiprocessors=7, seed=3)
    xs = [x.astype(dtype) for x in normal(300, 70, 64, 30, 65, 20)[:m]]
    return values_of(core, xs, MIXED[:m], device=engine != "cpu")


def assert_near(got: Any, want: Any, scale: Any, limit: float) -> None:
    error = np.max(np.abs(np.subtract(got, want)) / scale)
    assert error < limit, f"off by {error:.1e}"


@each_of("m", [1, 5])
@each_dtype
@each_engine
def test_moments_of_one_and_of_five(gpu: ModuleType, engine: Any, dtype: str, limit: float, m: int) -> None:
    given = mixed(gpu, engine, m, dtype)
    raw, V = gpu.sweep(given.representations), given.V
    pairs = itertools.combinations_with_replacement(V, 2)
    for got, (A, B) in zip(gpu.fixed_values(raw["pairs"]), pairs, strict=True):
        assert_near(got, np.vdot(A, B), math.sqrt(np.vdot(A, A) * np.vdot(B, B)), limit)
    for got, A in zip(gpu.fixed_values(raw["rows"]), V, strict=True):
        assert_near(got, A.sum(1), np.abs(A).sum(1).max(), limit)


@each_of("m", [2, 5])
@each_dtype
@each_engine
def test_star_is_the_first_with_each_of_the_others(
    gpu: ModuleType, engine: Any, dtype: str, limit: float, m: int
) -> None:
    given = mixed(gpu, engine, m, dtype)
    raw, (A, *others) = gpu.sweep(given.representations, statistic="star"), given.V
    for got, B in zip(gpu.fixed_values(raw["pairs"]), others, strict=True):
        assert_near(got, np.vdot(A, B), math.sqrt(np.vdot(A, A) * np.vdot(B, B)), limit)


@each_of("m", [1, 2])
@each_dtype
@each_engine
def test_products_of_rows_and_their_squares(gpu: ModuleType, engine: Any, dtype: str, limit: float, m: int) -> None:
    given, weights = mixed(gpu, engine, m, dtype), (0.75, 1.5)
    raw = gpu.sweep(given.representations, statistic="products", weights=weights)
    pairs = list(itertools.combinations_with_replacement(given.V, 2))

    rows, squares = gpu.fixed_values(raw["rows"]), gpu.fixed_values(raw["squares"])

    for row, square, (A, B) in zip(rows, squares, pairs, strict=True):
        assert_near(row, (A * B).sum(1), np.abs(A * B).sum(1).max(), limit)
        assert_near(square, np.vdot(A * B, A * B), np.vdot(A * A, B * B), limit)
    if m == 2:
        difference = weights[0] * given.V[0] - weights[1] * given.V[1]
        want = np.vdot(difference, difference)
        assert_near(gpu.fixed_values(raw["difference"])[0], want, want, limit)


@each_of("columns", [1, 5, 64])
@each_dtype
@each_engine
def test_matrix_products_with_a_few_vectors(
    gpu: ModuleType, engine: Any, dtype: str, limit: float, columns: int
) -> None:
    given, Z = mixed(gpu, engine, 1, dtype), np.random.default_rng(1).uniform(-1, 1, (300, columns))
    raw = gpu.sweep(given.representations, statistic="matmul", vectors=Z)
    assert_near(gpu.fixed_values(raw["rows"]), given.V[0] @ Z, (np.abs(given.V[0]) @ np.abs(Z)).max(), limit)


@each_of("statistic", ["star", "products", "matmul"])
@each_of("source", SOURCES)
def test_other_statistics_have_the_same_bits_however_they_are_cut(gpu: ModuleType, source: int, statistic: str) -> None:
    given = mixed(gpu, source, 1 if statistic == "matmul" else 2, "float32").representations
    options: dict[str, Any] = {"statistic": statistic}
    if statistic == "matmul":
        options["vectors"] = np.random.default_rng(1).uniform(-1, 1, (300, 3))
    whole = gpu.sweep(given, **options)
    gpu.emulator.configure(capability=source, multiprocessors=1, seed=1)
    parts = [gpu.sweep(given, shard=(rank, 3), memory=1, **options) for rank in range(3)]

    joined = dict(parts[0])
    for name, part in itertools.product(SHARDED, parts[1:]):
        joined[name] = gpu.fixed_add(joined[name], part[name])

    assert_same_bits(joined, whole)


@each_of("kernel", KERNELS)
@each_of("source", SOURCES)
def test_landmarks_are_those_of_the_cpu(gpu: ModuleType, source: int, kernel: str) -> None:
    X, Y = normal(300, 70, 64)
    gpu.emulator.configure(capability=source)
    got, want = (
        gpu.sweep([represent(gpu, fitted(kernel, x), x, device=device) for x in (X, Y)]) for device in (True, False)
    )
    for name in ("exponent", "base", "rounding"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-6)
    for shift, other in zip(got["shift"], want["shift"], strict=True):
        assert_near(shift, other, np.abs(other).max(), 1e-6)


# ---- errors ----------------------------------------------------------------------------------------------------------


@each_of("case", FEW, ids=by_id)
def test_too_little_memory_is_an_error_that_says_how_much_was_asked_for(gpu: ModuleType, case: Case) -> None:
    xs, messages = case.data(), []
    for limit in (10_000, 200_000, 1_000_000):
        gpu.emulator.configure(capability=case.source, memory_limit=limit)
        try:
            sweep(gpu, xs, case.kernels)
        except RuntimeError as error:
            messages.append(str(error))
        assert gpu.emulator.live_allocations() == 0
    assert messages
    for message in messages:
        assert re.fullmatch(
            r"cudaMallocAsync: out of memory: asked for \S+ [kM]?B, \S+ [kM]?B of \S+ [kM]?B are free", message
        )
    gpu.emulator.configure(capability=case.source)
    sweep(gpu, xs, case.kernels)


@each_of("case", FEW, ids=by_id)
def test_nothing_is_left_when_a_callback_raises(gpu: ModuleType, case: Case) -> None:
    def refuse(done: int, total: int) -> None:
        raise LookupError(f"{done} of {total}")

    with pytest.raises(LookupError, match=r"\d+ of 15"):
        run(gpu, case, 2, 0, memory=1, progress=refuse)
    assert gpu.emulator.live_allocations() == 0


def test_nothing_is_left_when_a_callback_raises_between_launches(several: ModuleType) -> None:
    calls: list[int] = []

    def refuse_at_last(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 3:
            raise LookupError

    with pytest.raises(LookupError):
        run(several, Case("rbf", 2, 90, 2049, 1), 1, 0, progress=refuse_at_last)
    assert several.emulator.live_allocations() == 0
    assert len(calls) == 3


# ---- planted faults --------------------------------------------------------------------------------------------------


@each_of("name", FAULTS)
def test_cases_of_the_faults_are_right_without_them(gpu: ModuleType, several: ModuleType, name: str) -> None:
    fault = FAULTS[name]
    assert outcomes(several if fault.sound else gpu, fault) == ["right"] * len(SEEDS)


@each_of("name", FAULTS)
def test_a_planted_fault_is_noticed_in_its_case(core: ModuleType, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    files = [*fault.units, *(file for file, _, _ in fault.sound if file not in fault.units)]
    module = emulator.variant(tmp_path, [*fault.edits, *fault.sound], files)
    command = [sys.executable, "-m", "emulator.faults", str(module), name]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=240)
    assert done.returncode in (0, -signal.SIGSEGV, -signal.SIGABRT), done.stderr
    assert done.returncode or set(json.loads(done.stdout)) != {"right"}
