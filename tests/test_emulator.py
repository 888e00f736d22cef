"""The emulator itself: right kernels are right under every schedule, and each planted fault is noticed."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ml_dtypes = pytest.importorskip("ml_dtypes")
SEEDS = range(6)


@pytest.fixture
def gpu(emulator_selftest: ModuleType):
    yield emulator_selftest
    emulator_selftest.emulator.configure()


def product(gpu: ModuleType, way: str, dtype: str, fault: str = "none") -> tuple[np.ndarray, np.ndarray]:
    """(what a kernel says a bᵀ is, what it is in units of what its arithmetic may err), with ragged tiles."""
    rng = np.random.default_rng(0)
    kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(np.float16)
    a, b = (rng.normal(size=(rows, 320)).astype(kind) for rows in (200, 140))
    got = gpu.multiply(
        a.view(np.uint16),
        b.view(np.uint16),
        wgmma=way == "wgmma",
        bf16=dtype == "bfloat16",
        fault=getattr(gpu.Fault, fault),
    )
    a, b = a.astype(np.float64), b.astype(np.float64)
    return got, np.abs(got - a @ b.T) / (320 * 2.0**-24 * np.abs(a) @ np.abs(b).T)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("way", ["wgmma", "mma"])
def test_tensor_cores_multiply_and_no_schedule_changes_a_bit(gpu: ModuleType, way: str, dtype: str) -> None:
    results = []
    for seed in SEEDS:
        gpu.emulator.configure(seed=seed)
        got, error = product(gpu, way, dtype)
        assert error.max() < 1
        results.append(got.tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong_phase", r"deadlock.*\n  warp 0: 32 in barrier_wait 0x\w+"),
        ("too_many_bytes", "deadlock"),
        ("too_few_bytes", "deadlock"),
        ("misaligned", "address 0x600 is not a multiple of 1024"),
        ("missing_fence", "fence_barrier_init is missing"),
    ],
)
def test_misuse_of_barriers_and_tma_is_an_error_under_every_schedule(gpu: ModuleType, fault: str, message: str) -> None:
    for seed in SEEDS:
        gpu.emulator.configure(seed=seed)
        with pytest.raises(RuntimeError, match=message):
            product(gpu, "wgmma", "bfloat16", fault)


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        ("wgmma", "missing_wait"),
        ("wgmma", "early_release"),
        ("wgmma", "over_arrival"),
        ("mma", "missing_wait"),
        ("mma", "missing_sync"),
    ],
)
def test_a_race_is_an_error_or_a_wrong_number_under_most_schedules(gpu: ModuleType, way: str, fault: str) -> None:
    noticed = 0
    for seed in SEEDS:
        gpu.emulator.configure(seed=seed)
        try:
            noticed += not product(gpu, way, "bfloat16", fault)[1].max() < 1
        except RuntimeError:
            noticed += 1
    assert noticed > len(SEEDS) / 2


def test_over_arrival_is_reported(gpu: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="more arrivals than it counts"):
        product(gpu, "wgmma", "bfloat16", "missing_wait")


def test_shared_memory_shuffles_and_named_barriers(gpu: ModuleType) -> None:
    values = np.arange(256, dtype=np.float32)
    for seed in SEEDS:
        gpu.emulator.configure(seed=seed)
        backwards, total = gpu.reverse(values, gpu.Fault.none)
        np.testing.assert_array_equal(backwards, values[::-1])
        assert total == values.sum()


def test_a_missing_barrier_shows_what_was_never_written(gpu: ModuleType) -> None:
    values = np.arange(256, dtype=np.float32)
    backwards, _ = gpu.reverse(values, gpu.Fault.missing_sync)
    assert np.count_nonzero(backwards.view(np.uint32) == 0xCDCDCDCD) > 10


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("out_of_bounds", "shared address 0x810 is out of bounds: 0x410 to 0x810"),
        ("past_the_end", "past the end of shared memory"),
        ("divergence", "deadlock.*\n.*\n  warp 1: 1 done; 31 in __shfl_xor_sync"),
        ("thread_count", "named barrier 3: (128|256) threads expected here and (128|256) elsewhere"),
    ],
)
def test_misuse_within_a_block_is_an_error(gpu: ModuleType, fault: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        gpu.reverse(np.zeros(256, np.float32), getattr(gpu.Fault, fault))


def test_an_instruction_that_the_device_lacks_is_an_error(gpu: ModuleType) -> None:
    for capability, way in [(80, "wgmma"), (120, "wgmma"), (75, "mma")]:
        gpu.emulator.configure(capability=capability)
        with pytest.raises(RuntimeError, match=f"with compute capability {capability}"):
            product(gpu, way, "float16")


@pytest.mark.parametrize("index", [-1, 1000, 1023])
def test_writing_beside_an_allocation_is_an_error(gpu: ModuleType, index: int) -> None:
    gpu.write_at(1000, 999)
    with pytest.raises(RuntimeError, match="before or after an allocation of 4000 bytes"):
        gpu.write_at(1000, index)


@pytest.mark.parametrize("call", ["read_on_host()", "write_at(1000, 1024)"])
def test_touching_device_memory_from_the_host_or_far_beyond_it_crashes(gpu: ModuleType, call: str) -> None:
    code = f"import emulator, pathlib; emulator.load('_selftest', pathlib.Path({gpu.__file__!r})).{call}"
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL).returncode != 0


def test_out_of_memory_says_how_much_was_asked_for_and_there_is(gpu: ModuleType) -> None:
    gpu.emulator.configure(memory_limit=12_300_000)
    text = "cudaMallocAsync: out of memory: asked for 4.0 GB, 12.3 MB of 12.3 MB are free"
    with pytest.raises(RuntimeError, match=f"^{text}$"):
        gpu.allocate(10**9, leak=False)
    gpu.allocate(1000, leak=False)


def test_leaks_are_counted(gpu: ModuleType) -> None:
    before = gpu.emulator.live_allocations()
    gpu.allocate(1000, leak=False)
    assert gpu.emulator.live_allocations() == before
    gpu.allocate(1000, leak=True)
    assert gpu.emulator.live_allocations() == before + 1


def test_nothing_is_left_after_a_failed_launch(gpu: ModuleType) -> None:
    before = gpu.emulator.live_allocations()
    with pytest.raises(RuntimeError, match="deadlock"):
        product(gpu, "wgmma", "bfloat16", "wrong_phase")
    assert gpu.emulator.live_allocations() == before
    assert product(gpu, "wgmma", "bfloat16")[1].max() < 1


def test_conversions_round_to_nearest_even(gpu: ModuleType) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.abs(halves) < 2**15]
    between = halves.astype(np.float32) + np.spacing(halves).astype(np.float32) / 2
    rng = np.random.default_rng(0)
    wide = (rng.normal(size=20_000) * 10.0 ** rng.integers(-9, 4, 20_000)).astype(np.float32)
    for values, kind, convert in [
        (np.concatenate([halves.astype(np.float32), between, wide]), np.float16, gpu.to_half),
        (wide, ml_dtypes.bfloat16, gpu.to_bfloat16),
    ]:
        got = np.array([convert(float(x)) for x in values], np.uint16)
        np.testing.assert_array_equal(got, values.astype(kind).view(np.uint16))
