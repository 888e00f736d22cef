"""One case in this process: is each contestant right, then how long, or how much memory."""

import ctypes
import gc
import importlib
import importlib.util
import math
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .baselines import Contestant
from .cases import Answer, Arrays, Case, flops, make_arrays
from .machine import available_bytes, others_clock, wait_until_quiet
from .reference import largest_error, plain

QUIET_LOAD = 0.15  # cores that others may use in a round that counts as quiet
PAUSE = 0.1  # seconds before each timing, in which the last contestant's idle threads stop spinning
ENOUGH_ROUNDS = 3  # after these, a case stops once it has used TIME_BUDGET seconds
TIME_BUDGET = 300.0
WARM_ROWS = 256


@dataclass(frozen=True)
class Row:
    contestant: str
    value: float | list[list[float]] | None = None
    error: float | None = None  # largest absolute difference from the float64 reference; None if value is not finite
    wrong: bool = False  # error above the tolerance of the case: the time stands beside it, but is no result
    yardstick: bool = False
    samples: tuple[float, ...] = ()  # seconds, one a round, in the order of Timing.rounds
    seconds: float | None = None  # median of the quiet rounds
    noise: float | None = None  # their interquartile range over the median
    ratio: float | None = None  # seconds over gramian's
    gflops: float | None = None
    of_gemm: float | None = None  # its rate over the fastest yardstick's
    extra_bytes: int | None = None  # peak resident memory beyond the inputs
    extra_is_bound: bool = False  # the system could not reset the peak: extra_bytes is an upper bound
    reason: str | None = None  # why there is no number


@dataclass(frozen=True)
class Round:
    others: float | None  # cores in use by other processes meanwhile
    used: bool  # whether the medians are of this round


@dataclass(frozen=True)
class Timing:
    rows: tuple[Row, ...]
    rounds: tuple[Round, ...]


def time_case(
    case: Case,
    entrants: Sequence[Contestant],
    want: Answer,
    *,
    repeats: int,
    threads: int,
    wait: float = 0.0,
) -> Timing:
    """Everyone's answer first, which also warms them up; then rounds with everyone in them, in rotating order."""
    arrays = make_arrays(case)
    rows = {c.name: checked(c, case, arrays, want, threads) for c in entrants}
    running = [c for c in entrants if rows[c.name].reason is None]
    samples: dict[str, list[float]] = {c.name: [] for c in running}
    loads: list[float | None] = []

    wait_until_quiet(load=QUIET_LOAD, seconds=wait)
    started = time.monotonic()
    while running and not enough(loads, repeats, time.monotonic() - started):
        turn = len(loads) % len(running)
        before, clock = others_clock(), time.monotonic()
        for c in running[turn:] + running[:turn]:
            samples[c.name].append(timed(c, case, arrays))
        after = others_clock()
        loads.append(None if before is None or after is None else max(after - before, 0) / (time.monotonic() - clock))

    used = quietest(loads, repeats)
    for name, seconds in samples.items():
        rows[name] = with_samples(rows[name], seconds, used=used)
    rounds = tuple(Round(others=load, used=r in used) for r, load in enumerate(loads))
    return Timing(rows=compared(list(rows.values()), case), rounds=rounds)


def checked(c: Contestant, case: Case, arrays: Arrays, want: Answer, threads: int) -> Row:
    """The answer and its error, or the reason why there is none."""
    row = Row(c.name, yardstick=c.yardstick)
    reason = unfit(c, case)
    if reason is not None:
        return replace(row, reason=reason)
    try:
        set_threads(c.library, threads)
        value = c.run(arrays, case)
    except Exception as failure:  # whatever a contestant raises is its result, not the end of the others
        return replace(row, reason=f"{type(failure).__name__}: {failure}")
    return row if c.yardstick else judged(row, value, want, case)


def judged(row: Row, value: Answer, want: Answer, case: Case) -> Row:
    error = largest_error(value, want)
    finite = math.isfinite(error)
    return replace(
        row, value=plain(value) if finite else None, error=error if finite else None, wrong=error > case.tolerance
    )


def unfit(c: Contestant, case: Case) -> str | None:
    if importlib.util.find_spec(c.library) is None:
        return f"{c.library} is not installed"
    need = (case.m + c.matrices) * case.n**2 * (8 if case.dtype == "float64" else 4) if c.matrices else 0
    free = available_bytes()
    if need > 0.8 * free:
        return f"needs {need / 1e9:.0f} GB, {free / 1e9:.0f} GB are free"
    return None


def set_threads(library: str, threads: int) -> None:
    """NumPy's BLAS takes its number from the environment of the process."""
    if library == "gramian":
        importlib.import_module("gramian").set_num_threads(threads)
    elif library == "torch":
        importlib.import_module("torch").set_num_threads(threads)


def timed(c: Contestant, case: Case, arrays: Arrays) -> float:
    gc.collect()
    time.sleep(PAUSE)
    gc.disable()
    start = time.perf_counter()
    c.run(arrays, case)
    seconds = time.perf_counter() - start
    gc.enable()
    return seconds


def enough(loads: Sequence[float | None], repeats: int, elapsed: float) -> bool:
    """`repeats` quiet rounds, or twice as many of any kind, or no time left."""
    quiet = sum(load is None or load < QUIET_LOAD for load in loads)
    late = len(loads) >= min(ENOUGH_ROUNDS, repeats) and elapsed > TIME_BUDGET
    return quiet >= repeats or len(loads) >= 2 * repeats or late


def quietest(loads: Sequence[float | None], repeats: int) -> list[int]:
    return sorted(sorted(range(len(loads)), key=lambda r: loads[r] or 0.0)[:repeats])


def with_samples(row: Row, samples: Sequence[float], *, used: Sequence[int]) -> Row:
    """The median of the used samples and their interquartile range over it."""
    chosen = [samples[r] for r in used]
    median = statistics.median(chosen)
    low, _, high = statistics.quantiles(chosen, n=4, method="inclusive") if len(chosen) > 1 else (median,) * 3
    return replace(row, samples=tuple(samples), seconds=median, noise=(high - low) / median)


def compared(rows: Sequence[Row], case: Case) -> tuple[Row, ...]:
    """With the ratio to gramian, the rate, and its share of the fastest yardstick's rate."""
    ours = next((r.seconds for r in rows if r.contestant == "gramian"), None)
    gemm = min((r.seconds for r in rows if r.yardstick and r.seconds is not None), default=None)
    return tuple(
        replace(
            r,
            ratio=None if ours is None or r.seconds is None else r.seconds / ours,
            gflops=None if case.n == 0 or r.seconds is None else flops(case) / r.seconds / 1e9,
            of_gemm=None if gemm is None or r.seconds is None else gemm / r.seconds,
        )
        for r in rows
    )


def memory_of(c: Contestant, case: Case, want: Answer, *, threads: int) -> Row:
    """Peak resident memory beyond the inputs, and the answer; to be called in a process that did nothing else.

    The baseline is taken after the inputs were written and after a call on a few rows, so that code, thread pools and
    BLAS buffers, which do not grow with n, are not counted.
    """
    row = Row(c.name)
    reason = unfit(c, case)
    if reason is not None:
        return replace(row, reason=reason)
    try:
        set_threads(c.library, threads)
        rows = min(WARM_ROWS, case.n)
        c.run(make_arrays(case, n=rows), replace(case, n=rows))
        arrays = make_arrays(case)
        gc.collect()
        return_free_pages()
        was_reset = reset_peak()
        before, earlier_peak = resident_bytes(), peak_bytes()
        value = c.run(arrays, case)
        peak = peak_bytes()
    except Exception as failure:
        return replace(row, reason=f"{type(failure).__name__}: {failure}")
    bound = not was_reset and peak <= earlier_peak
    return replace(judged(row, value, want, case), extra_bytes=max(peak - before, 0), extra_is_bound=bound)


def return_free_pages() -> None:
    """Pages that the C library keeps for reuse would hide as much of the next peak."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_bytes() -> int:
    return status_bytes("VmRSS") or peak_bytes()


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return status_bytes("VmHWM") or peak


def status_bytes(field: str, process: int | str = "self") -> int | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # no such system, or no such process any more
        return None
    for line in lines:
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None
