"""python -m bench.gpu: what the CUDA engine does on this GPU, beside what people would write instead.

Each line of the output file is one measurement. Answers are checked against float64 before anything is timed, and the
exit status is 1 if one was wrong; bench/gpu_verdict.py judges the rest. With --dry-run every step runs on the emulator
of tests/emulator, at sizes that say nothing about speed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench import machine
from bench.cases import CASES

ROOT = Path(__file__).parents[1]
KERNELS = tuple(case.kernel for case in CASES if case.name.startswith("kernel-"))
SPECIAL_UNITS = 16  # exponentials of a multiprocessor per clock
CLOCK = 1.98e9  # Hz, where PyTorch does not know the device's own


@dataclass(frozen=True)
class Timings:
    """Medians in seconds, and the timings they are of."""

    whole: float  # of the call, as its caller sees it
    kernels: float  # of the tiles and reductions on the device
    all_whole: list[float]
    all_kernels: list[float]


class Bench:
    """The device, the sizes, and where lines go."""

    def __init__(self, out: Path, dry: bool) -> None:
        import torch

        self.torch, self.dry = torch, dry
        self.device = "cpu" if dry else "cuda"
        self.file = out.open("w")
        self.failures = 0
        self.least, self.most, self.seconds = (2, 2, 0.0) if dry else (3, 20, 1.5)
        torch.backends.cuda.matmul.allow_tf32 = False

    def line(self, step: str, **values: Any) -> None:
        text = json.dumps({"step": step, **values})
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()
        self.failures += values.get("right") is False

    def arrays(self, n: int, d: int, dtype: str = "float32", mean: float = 0.0) -> tuple[Any, Any]:
        """Two representations on the device, the second half explained by the first."""
        torch = self.torch
        generator = torch.Generator(device=self.device).manual_seed(0)
        x, noise = (torch.randn(n, d, device=self.device, generator=generator) for _ in range(2))
        y = x.flip(1).add_(noise).div_(2**0.5)
        return tuple(z.add_(mean).to(getattr(torch, dtype)) for z in (x, y))

    def on_device(self, x: Any) -> Any:
        """A tensor as gramian takes it: itself, or on the emulated GPU."""
        if not self.dry:
            return x
        sys.path.insert(0, str(ROOT / "tests"))
        from device import on_device

        if x.dtype != self.torch.bfloat16:
            return on_device(x.numpy())
        import ml_dtypes

        return on_device(x.view(self.torch.int16).numpy().view(ml_dtypes.bfloat16))

    def times(self, clock: Callable[[Callable[[], Any]], float], f: Callable[[], Any]) -> list[float]:
        """As many timings as a second and a half holds, after a call that does not count; at least 3, at most 20."""
        f()
        times: list[float] = []
        while len(times) < self.least or (len(times) < self.most and sum(times) < self.seconds):
            times.append(clock(f))
        return times

    def whole(self, f: Callable[[], Any]) -> float:
        """Seconds of a call, as its caller sees them."""
        self.wait()
        start = time.perf_counter()
        f()
        self.wait()
        return time.perf_counter() - start

    def on_stream(self, f: Callable[[], Any]) -> float:
        """Seconds between two events of the device, one before and one after what torch does."""
        if self.dry:
            return self.whole(f)
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.wait()
        begin.record()
        f()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    def gramian(self, f: Callable[[], Any]) -> Timings:
        """Both of these of calls of gramian, whose sweeps say themselves what they took on the device."""
        kernels: list[float] = []

        def clock(f: Callable[[], Any]) -> float:
            with device_seconds() as found:
                took = self.whole(f)
            kernels.append(sum(found))
            return took

        whole = self.times(clock, f)
        return Timings(statistics.median(whole), statistics.median(kernels), whole, kernels)

    def wait(self) -> None:
        if not self.dry:
            self.torch.cuda.synchronize()

    @contextlib.contextmanager
    def tf32(self, allowed: bool) -> Iterator[None]:
        """Whether cuBLAS may round float32 operands to 11 bits."""
        products = self.torch.backends.cuda.matmul
        products.allow_tf32 = allowed
        try:
            yield
        finally:
            products.allow_tf32 = False

    @property
    def multiprocessors(self) -> int:
        return 2 if self.dry else int(self.torch.cuda.get_device_properties(0).multi_processor_count)

    def capabilities(self) -> list[int]:
        """Those whose kernels this device can run; wgmma is of capability 9.0 alone."""
        major, minor = (9, 0) if self.dry else self.torch.cuda.get_device_capability()
        native = 10 * major + minor
        return [version for version in (90, 80, 75) if version == native or version < min(native, 90)]

    def facts(self) -> None:
        cuda = self.torch.cuda
        self.line(
            "facts",
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            commit=machine.commit(),
            versions=machine.versions(),
            build=machine.gramian_build(),
            device="emulator" if self.dry else cuda.get_device_name(),
            multiprocessors=self.multiprocessors,
            capabilities=self.capabilities(),
        )


@contextlib.contextmanager
def device_seconds() -> Iterator[list[float]]:
    """What each sweep meanwhile took on the device."""
    core: Any = importlib.import_module("gramian.sweeps.gram")._core
    sweep, found = core.sweep, []

    def noted(*arguments: Any, **named: Any) -> Any:
        raw = sweep(*arguments, **named)
        found.append(raw["device_seconds"])
        return raw

    with mock.patch.object(core, "sweep", noted):
        yield found


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def kernels_of(capability: int) -> contextlib.AbstractContextManager[None]:
    """The kernels of an older GPU, or the device's own."""
    return environment(GRAMIAN_CUDA_CAPABILITY=str(capability))


# ---- right? ----------------------------------------------------------------------------------------------------------


def torch_cka(bench: Bench, x: Any, y: Any, bandwidth: float) -> float:
    """Debiased RBF CKA of Gram matrices made by cuBLAS in the arrays' precision, reduced in float64."""
    n = len(x)
    grams = []
    for z in (x, y):
        z = z - z.mean(0)
        norms = (z * z).sum(1)
        k = bench.torch.exp((norms[:, None] + norms - 2 * (z @ z.T)).clamp_min(0) / (-2 * bandwidth**2)).double()
        k.fill_diagonal_(0)
        grams.append(k)

    def hsic(k: Any, l: Any) -> Any:
        rows = (k.sum(0) * l.sum(0)).sum()
        return (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows

    k, l = grams
    return float(hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt())


def accuracy(bench: Bench) -> None:
    import gramian as gm

    torch = bench.torch
    for d, mean in ((64, 0.0), (768, 0.0), (768, 10.0)):
        n = 150 if bench.dry else 4096
        x, y = bench.arrays(n, 40 if bench.dry else d, mean=mean)
        kernel = gm.RBF(float(np.sqrt(x.shape[1])))
        for dtype in ("float32", "bfloat16", "float64"):
            a, b = (z.to(getattr(torch, dtype)) for z in (x, y))
            exact = torch_cka(bench, a.double(), b.double(), kernel.bandwidth)
            peer = abs(torch_cka(bench, a.float(), b.float(), kernel.bandwidth) - exact)
            limit = 1e-10 if dtype == "float64" else max(2 * peer, 5e-7)
            da, db = bench.on_device(a), bench.on_device(b)
            for capability in [75] if dtype == "float64" else bench.capabilities():
                faster = ("high", "medium") if dtype == "float32" and capability > 75 else ()
                facts: dict[str, Any] = {"n": n, "d": d, "mean": mean, "dtype": dtype, "kernel": "rbf"}
                facts |= {"capability": capability, "cublas_float32": peer, "limit": limit}
                with kernels_of(capability):
                    for precision in ("highest", *faster):
                        error = abs(gm.cka(da, db, kernel, precision=precision) - exact)
                        right = bool(error <= limit) if precision == "highest" else None
                        bench.line("accuracy", **facts, m=2, precision=precision, error=error, right=right)
                    if d == 64:  # three representations go through stored tiles
                        matrix = gm.cka_matrix([da, db, da], kernel=kernel)
                        error = float(np.abs(np.asarray(matrix)[[0, 1], [1, 2]] - exact).max())
                        right = bool(error <= limit)
                        bench.line("accuracy", **facts, m=3, precision="highest", error=error, right=right)
    n = 140 if bench.dry else 2000
    x, y = bench.arrays(n, 33 if bench.dry else 100)
    for name in KERNELS:
        exact = gm.cka(*(np.asarray(a.cpu(), np.float64) for a in (x, y)), name)
        for capability in bench.capabilities():
            with kernels_of(capability):
                error = abs(gm.cka(bench.on_device(x), bench.on_device(y), name) - exact)
            right = bool(error <= 1e-6)
            bench.line("every kernel", n=n, kernel=name, capability=capability, error=error, right=right)


def digest(g: Any) -> str:
    return hashlib.sha256(g.pair_words.tobytes() + g.row_words.tobytes()).hexdigest()


def same_bits(bench: Bench) -> None:
    import gramian as gm

    x, y = (bench.on_device(z) for z in bench.arrays(300 if bench.dry else 20_000, 70))
    for capability in bench.capabilities():
        for xs in ((x, y), (x, y, x)):  # in registers, and through stored tiles
            run = partial(gm.gram_moments, *xs, kernel=gm.RBF(8.0))
            found = []
            with kernels_of(capability):
                for blocks in ("1", "3") if bench.dry else ("1000", "1000", "131", "7"):
                    with environment(GRAMIAN_CUDA_BLOCKS=blocks):
                        found.append(digest(run()))
                with environment(GRAMIAN_CUDA_BLOCKS="5"):
                    parts = [run(shard=(rank, 3)) for rank in range(3)]
            found.append(digest(parts[0] + parts[1] + parts[2]))
            facts = {"m": len(xs), "capability": capability, "runs": len(found), "hashes": len(set(found))}
            bench.line("same bits", **facts, right=len(set(found)) == 1)


# ---- fast? -----------------------------------------------------------------------------------------------------------


def tiled(bench: Bench, x: Any, y: Any, bandwidth: float, edge: int, tile: Callable[..., Any]) -> Any:
    """A loop over tiles of the upper triangle, as a careful user writes it."""
    norms = [(z.float() * z.float()).sum(1) for z in (x, y)]
    total = bench.torch.zeros(3, dtype=bench.torch.float64, device=x.device)
    rows = bench.torch.zeros(2, len(x), device=x.device)
    for i in range(0, len(x), edge):
        for j in range(i, len(x), edge):
            a, b = slice(i, i + edge), slice(j, j + edge)
            sums, r, c = tile(x[a], x[b], norms[0][a], norms[0][b], y[a], y[b], norms[1][a], norms[1][b], bandwidth)
            total += sums.double() * (1 if i == j else 2)
            rows[:, a] += r
            if i != j:
                rows[:, b] += c
    return total


def one_tile(xa: Any, xb: Any, na: Any, nb: Any, ya: Any, yb: Any, ma: Any, mb: Any, bandwidth: float) -> Any:
    import torch

    k = torch.exp((na[:, None] + nb - 2 * (xa @ xb.T).float()) / (-2 * bandwidth**2))
    l = torch.exp((ma[:, None] + mb - 2 * (ya @ yb.T).float()) / (-2 * bandwidth**2))
    sums = torch.stack([(k * k).sum(), (k * l).sum(), (l * l).sum()])
    return sums, torch.stack([k.sum(1), l.sum(1)]), torch.stack([k.sum(0), l.sum(0)])


def full(bench: Bench, x: Any, y: Any, bandwidth: float) -> Any:
    """The whole Gram matrices in float32, as people write it."""
    grams = []
    for z in (x, y):
        norms = (z * z).sum(1)
        grams.append((z @ z.T).mul_(-2).add_(norms).add_(norms[:, None]).clamp_min_(0).div_(-2 * bandwidth**2).exp_())
    k, l = grams
    return bench.torch.stack([(k * k).sum(), (k * l).sum(), (l * l).sum()]), k.sum(1), l.sum(1)


def product_rate(bench: Bench, d: int, dtype: str, tf32: bool = False) -> float:
    """FLOP/s of cuBLAS on a product of this depth."""
    edge = 256 if bench.dry else 16384
    x, y = bench.arrays(edge, d, dtype)
    with bench.tf32(tf32):
        return 2.0 * edge * edge * d / statistics.median(bench.times(bench.on_stream, lambda: x @ y.T))


def speed(bench: Bench) -> None:
    torch = bench.torch
    shapes = [(65536, 64), (262144, 64), (65536, 768), (262144, 768), (32768, 768), (65536, 4096), (262144, 4096)]
    compiled = one_tile if bench.dry else torch.compile(one_tile)
    deep = product_rate(bench, 4096, "bfloat16")  # of products so deep that nothing but the tensor cores counts
    rates: dict[int, dict[str, float]] = {}
    for n, d in [(200, 20)] if bench.dry else shapes:
        if d not in rates:
            rates[d] = {dtype: product_rate(bench, d, dtype) for dtype in ("bfloat16", "float32")}
            rates[d]["tf32"] = product_rate(bench, d, "float32", tf32=True)
            tflops = {f"{name}_tflops": rate / 1e12 for name, rate in rates[d].items()}
            bench.line("cublas", d=d, **tflops, deep_tflops=deep / 1e12)
        ours = speed_of_gramian(bench, n, d, rates[d], deep)
        speed_of_others(bench, n, d, compiled, ours)


def speed_of_gramian(bench: Bench, n: int, d: int, rates: dict[str, float], deep: float) -> dict[str, Timings]:
    """All choices where time is short, else those that are promised something; the device's own, by dtype."""
    import gramian as gm

    kernel = gm.RBF(float(np.sqrt(d)))
    flops = float(n) * (n + 1) * 2 * d  # of the tiles that are computed
    clock = CLOCK if bench.dry else getattr(bench.torch.cuda.get_device_properties(0), "clock_rate", CLOCK / 1e3) * 1e3
    special = float(n) * n / (bench.multiprocessors * SPECIAL_UNITS * clock)
    choices = [("bfloat16", "highest"), ("float32", "highest")]
    capabilities = [version for version in bench.capabilities() if version > 75]  # the others are there for older GPUs
    if n <= 65536:
        choices += [("float32", "high"), ("float32", "medium")]
    else:
        choices, capabilities = choices[: 2 if d < 4096 else 1], capabilities[:1]
    native = {}
    for dtype, precision in choices:
        x, y = (bench.on_device(z) for z in bench.arrays(n, d, dtype))
        run = partial(gm.gram_moments, x, y, kernel=kernel, precision=precision)
        split = dtype == "float32" and precision == "highest"
        floor = max((3 if split else 1) * flops / deep, special)
        for capability in capabilities:
            with kernels_of(capability):
                took = bench.gramian(run)
            if precision == "highest":
                native.setdefault(dtype, took)
            bench.line(
                "speed",
                contestant="gramian",
                n=n,
                d=d,
                dtype=dtype,
                precision=precision,
                capability=capability,
                seconds=took.whole,
                kernel_seconds=took.kernels,
                tflops=flops / took.kernels / 1e12,
                of_cublas=flops / took.kernels / rates["float32" if split else "bfloat16"],
                of_tf32=flops / took.kernels / rates["tf32"],
                of_floor=floor / took.kernels,
                whole_of_floor=floor / took.whole,
                times=took.all_whole,
                kernel_times=took.all_kernels,
            )
        del x, y, run  # the next pair needs their memory
    return native


def speed_of_others(bench: Bench, n: int, d: int, compiled: Callable[..., Any], ours: dict[str, Timings]) -> None:
    """torch on the same numbers, timed by events."""
    edge, bandwidth = 64 if bench.dry else 8192, float(np.sqrt(d))
    contestants: dict[str, tuple[str, Callable[..., Any]]] = {}
    if d < 4096 or n <= 65536:
        contestants["torch.compile tiled"] = ("bfloat16", partial(tiled, edge=edge, tile=compiled))
    if n <= 65536:
        contestants["torch tiled"] = ("bfloat16", partial(tiled, edge=edge, tile=one_tile))
    if n <= 32768:  # beyond, several n x n matrices do not fit
        contestants["torch full"] = ("float32", full)
        contestants["torch full, TF32"] = ("float32", full)
    flops = float(n) * (n + 1) * 2 * d
    for name, (dtype, run) in contestants.items():
        x, y = bench.arrays(n, d, dtype)
        with bench.tf32(name.endswith("TF32")):
            times = bench.times(bench.on_stream, partial(run, bench, x, y, bandwidth))
        took = statistics.median(times)
        facts = {"contestant": name, "n": n, "d": d, "dtype": dtype}
        bench.line("speed", **facts, seconds=took, times=times, tflops=flops / took / 1e12)
        bench.line("ratio", **facts, whole=took / ours[dtype].whole, kernels=took / ours[dtype].kernels)
        del x, y


def layers(bench: Bench) -> None:
    """A matrix of layers: each layer's tiles are made once."""
    import gramian as gm

    n, d, count = (150, 20, 4) if bench.dry else (8192, 768, 24)
    kernel = gm.RBF(float(np.sqrt(d)))
    pair = [bench.on_device(x) for x in bench.arrays(n, d)]
    xs = [pair[k % 2] for k in range(count)]
    error = abs(float(np.asarray(gm.cka_matrix(xs, kernel=kernel))[0, -1]) - gm.cka(*pair, kernel))
    took = bench.gramian(lambda: gm.cka_matrix(xs, kernel=kernel))
    facts = {"n": n, "d": d, "layers": count, "seconds": took.whole, "kernel_seconds": took.kernels}
    bench.line("layers", **facts, error=error, right=bool(error <= 1e-6))


def torch_neighbors(bench: Bench, x: Any, k: int) -> Any:
    """The k nearest by the cosine, a block of rows at a time."""
    unit = bench.torch.nn.functional.normalize(x, dim=1)
    found = []
    for start in range(0, len(x), 4096):
        similarity = unit[start : start + 4096] @ unit.T
        bench.torch.diagonal(similarity, offset=start).fill_(-2)
        found.append(similarity.topk(k, dim=1).indices)
    return bench.torch.cat(found)


def nearest(bench: Bench) -> None:
    import gramian as gm

    k = 10
    x, _ = bench.arrays(150 if bench.dry else 5000, 40)
    for metric in ("cosine", "euclidean", "inner_product"):
        same = (
            gm.neighbors(bench.on_device(x), k, metric=metric) == gm.neighbors(x.cpu().numpy(), k, metric=metric)
        ).all()
        bench.line("neighbors", n=len(x), metric=metric, right=bool(same))
    for n, d in [(200, 20)] if bench.dry else [(100_000, 64), (100_000, 768)]:
        x, _ = bench.arrays(n, d)
        contestants = {
            "gramian": partial(gm.neighbors, bench.on_device(x), k),
            "torch in blocks": partial(torch_neighbors, bench, x, k),
        }
        for name, run in contestants.items():
            times = bench.times(bench.whole, run)
            bench.line("neighbors", contestant=name, n=n, d=d, k=k, seconds=statistics.median(times), times=times)


@contextlib.contextmanager
def least_free_memory(memory: Callable[[], tuple[int, int]]) -> Iterator[list[int]]:
    """The free bytes of the device: first as they are, last the least that a thread saw meanwhile."""
    seen, done = [memory()[0]], threading.Event()

    def watch() -> None:
        least = seen[0]
        while not done.wait(0.003):
            least = min(least, memory()[0])
        seen.append(min(least, memory()[0]))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def million(bench: Bench) -> None:
    """A million samples on one card, and what they take beyond the inputs."""
    import gramian as gm

    torch = bench.torch
    n, d = (400, 24) if bench.dry else (1_000_000, 768)
    memory = (lambda: (0, 0)) if bench.dry else torch.cuda.mem_get_info
    kernel = gm.RBF(float(np.sqrt(d)))
    for dtype in ("bfloat16", "float32"):
        generator = torch.Generator(device=bench.device).manual_seed(0)
        tensors = [
            torch.randn(n, d, device=bench.device, generator=generator, dtype=getattr(torch, dtype)) for _ in range(2)
        ]
        gm.gram_moments(*(bench.on_device(z[:300]) for z in tensors), kernel=kernel)  # loads the kernels
        x, y = (bench.on_device(z) for z in tensors)
        if not bench.dry:
            torch.cuda.empty_cache()
        bench.wait()
        start = time.perf_counter()
        with least_free_memory(memory) as free, device_seconds() as kernels:
            g = gm.gram_moments(x, y, kernel=kernel)
        took = time.perf_counter() - start
        finite = bool(np.isfinite(g.inner).all())
        bench.line(
            "million",
            n=n,
            d=d,
            dtype=dtype,
            seconds=took,
            kernel_seconds=sum(kernels),
            tflops=float(n) * (n + 1) * 2 * d / sum(kernels) / 1e12,
            extra_bytes=free[0] - free[-1],
            copy_bytes=2 * n * d * 4 if dtype == "float32" else 0,  # two 16-bit parts; bfloat16 is read in place
            input_bytes=2 * n * d * tensors[0].element_size(),
            finite=finite,
            right=finite,
        )
        del x, y, tensors


STEPS: dict[str, Callable[[Bench], None]] = {
    "accuracy": accuracy,
    "bits": same_bits,
    "speed": speed,
    "million": million,
    "layers": layers,
    "neighbors": nearest,
}


def small(bench: Bench) -> None:
    """Every kind of kernel and of input once, at sizes that compute-sanitizer gets through."""
    import gramian as gm

    # whole panels, edges, rows that lie 72 apart and are read in place, a ring of panels that comes round
    inputs = [
        ("float32", 257, 70, 70, KERNELS),
        ("bfloat16", 257, 64, 64, ("rbf", "linear")),
        ("bfloat16", 257, 70, 72, ("rbf", "rational_quadratic")),
        ("bfloat16", 129, 640, 640, ("rbf",)),
        ("float64", 200, 40, 40, ("rbf", "laplacian")),
    ]
    for dtype, n, d, pitch, names in inputs:
        x, y = (z[:, :d] for z in bench.arrays(n, pitch, dtype))
        exact = [np.asarray(z.double().cpu()) for z in (x, y)]
        wanted = {name: gm.cka(*exact, name) for name in names}
        limit = 1e-10 if dtype == "float64" else 5e-6
        for capability in [75] if dtype == "float64" else bench.capabilities():
            dx, dy = bench.on_device(x), bench.on_device(y)
            with kernels_of(capability):
                errors = {name: abs(gm.cka(dx, dy, name) - wanted[name]) for name in names}
                if "rbf" in names:
                    matrix = np.asarray(gm.cka_matrix([dx, dy, dx], kernel="rbf"))
                    errors["rbf, m = 3"] = abs(float(matrix[0, 1]) - wanted["rbf"])
                if dtype == "float32":
                    gm.alignment(dx, dy, kernel="rbf")
                    for metric in ("cosine", "euclidean"):
                        error = abs(gm.mutual_knn(dx, dy, 5, metric=metric) - gm.mutual_knn(*exact, 5, metric=metric))
                        errors[f"mutual_knn, {metric}"] = error
            facts = {"n": n, "d": d, "pitch": pitch, "dtype": dtype, "capability": capability, "errors": errors}
            bench.line("small", **facts, right=all(error <= limit for error in errors.values()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--step", action="append", choices=[*STEPS, "small"], help="default: all but small")
    parser.add_argument("--dry-run", action="store_true", help="on the emulator, to see that the script runs")
    options = parser.parse_args()
    bench = Bench(options.out, options.dry_run)
    with contextlib.ExitStack() as stack:
        if options.dry_run:
            sys.path.insert(0, str(ROOT / "tests"))
            import device
            import emulator

            core = emulator.load("_core", emulator.build("_core"))
            core.emulator.configure(capability=90, multiprocessors=2)
            stack.enter_context(device.emulated(core))
        bench.facts()
        for name in options.step or STEPS:
            ({**STEPS, "small": small})[name](bench)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
