"""python -m bench.gpu: what the CUDA engine does on this GPU, beside what people would write instead.

Each line of the output file is one measurement. Answers are checked against float64 before anything is timed. With
--dry-run every step runs on the emulator of tests/emulator, at sizes that say nothing about speed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.cases import CASES

ROOT = Path(__file__).parents[1]
KERNELS = tuple(case.kernel for case in CASES if case.name.startswith("kernel-"))
SPECIAL_UNITS = 16  # exponentials of a multiprocessor per clock


class Bench:
    """The device, the sizes, and where lines go."""

    def __init__(self, out: Path, dry: bool) -> None:
        import torch

        self.torch, self.dry = torch, dry
        self.device = "cpu" if dry else "cuda"
        self.file = out.open("w")
        self.rounds = 2 if dry else 7
        torch.backends.cuda.matmul.allow_tf32 = False

    def line(self, step: str, **values: Any) -> None:
        text = json.dumps({"step": step, **values})
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()

    def arrays(self, n: int, d: int, dtype: str = "float32", mean: float = 0.0) -> tuple[Any, Any]:
        """Two representations on the device, the second half explained by the first."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((n, d), dtype=np.float32)
        y = (x[:, ::-1] + rng.standard_normal((n, d), dtype=np.float32)) / np.float32(np.sqrt(2))
        dtypes = {name: getattr(self.torch, name) for name in ("float32", "float64", "float16", "bfloat16")}
        x, y = (self.torch.from_numpy(np.ascontiguousarray(a + np.float32(mean))) for a in (x, y))
        return x.to(self.device, dtypes[dtype]), y.to(self.device, dtypes[dtype])

    def on_device(self, x: Any) -> Any:
        """A tensor as gramian takes it: itself, or on the emulated GPU."""
        if not self.dry:
            return x
        sys.path.insert(0, str(ROOT / "tests"))
        from device import on_device

        return on_device(x.numpy())

    def seconds(self, f: Callable[[], Any]) -> list[float]:
        f()
        times = []
        for _ in range(self.rounds):
            self.wait()
            start = time.perf_counter()
            f()
            self.wait()
            times.append(time.perf_counter() - start)
        return times

    def wait(self) -> None:
        if not self.dry:
            self.torch.cuda.synchronize()

    def facts(self) -> None:
        cuda = self.torch.cuda
        self.line(
            "facts",
            date=time.strftime("%Y-%m-%d", time.gmtime()),
            commit=machine.commit(),
            versions=machine.versions(),
            build=machine.gramian_build(),
            device="emulator" if self.dry else cuda.get_device_name(),
            multiprocessors=2 if self.dry else cuda.get_device_properties(0).multi_processor_count,
        )


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


# ---- right? ----------------------------------------------------------------------------------------------------------


def torch_cka(bench: Bench, x: Any, y: Any, bandwidth: float) -> float:
    """Debiased RBF CKA of a float32 Gram matrix made by cuBLAS, reduced in float64."""
    n = len(x)
    grams = []
    for z in (x, y):
        z = z.float() - z.float().mean(0)
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

    for d, mean in ((64, 0.0), (768, 0.0), (768, 10.0)):
        n = 150 if bench.dry else 4096
        x, y = bench.arrays(n, 40 if bench.dry else d, mean=mean)
        bandwidth = float(np.sqrt(x.shape[1]))
        exact = gm.cka(*(np.asarray(a.cpu(), np.float64) for a in (x, y)), gm.RBF(bandwidth))
        peer = abs(torch_cka(bench, x, y, bandwidth) - exact)
        dx, dy = bench.on_device(x), bench.on_device(y)
        for precision in ("highest", "high", "medium"):
            error = abs(gm.cka(dx, dy, gm.RBF(bandwidth), precision=precision) - exact)
            right = None if precision != "highest" else bool(error <= max(2 * peer, 5e-7))
            facts = {"n": n, "d": d, "mean": mean, "precision": precision}
            bench.line("accuracy", **facts, error=error, cublas_float32=peer, right=right)
    n = 140 if bench.dry else 2000
    x, y = bench.arrays(n, 33 if bench.dry else 100)
    for kernel in KERNELS:
        exact = gm.cka(*(np.asarray(a.cpu(), np.float64) for a in (x, y)), kernel)
        error = abs(gm.cka(bench.on_device(x), bench.on_device(y), kernel) - exact)
        bench.line("accuracy", n=n, kernel=kernel, error=error, right=bool(error <= 1e-6))


def same_bits(bench: Bench) -> None:
    import gramian as gm

    n = 300 if bench.dry else 20_000
    x, y = bench.arrays(n, 70)
    hashes = set()
    for blocks in ("1", "3") if bench.dry else ("1000", "1000", "131", "7"):
        with environment(GRAMIAN_CUDA_BLOCKS=blocks):
            g = gm.gram_moments(bench.on_device(x), bench.on_device(y), kernel=gm.RBF(8.0))
        hashes.add(hashlib.sha256(g.pair_words.tobytes() + g.row_words.tobytes()).hexdigest())
    with environment(GRAMIAN_CUDA_BLOCKS="5"):
        dx, dy = bench.on_device(x), bench.on_device(y)
        parts = [gm.gram_moments(dx, dy, kernel=gm.RBF(8.0), shard=(r, 3)) for r in range(3)]
    g = parts[0] + parts[1] + parts[2]
    hashes.add(hashlib.sha256(g.pair_words.tobytes() + g.row_words.tobytes()).hexdigest())
    bench.line("same bits", runs=5, hashes=len(hashes), right=len(hashes) == 1)


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


def product_rate(bench: Bench, d: int, dtype: str) -> float:
    """FLOP/s of cuBLAS on a product of this depth."""
    edge = 256 if bench.dry else 16384
    x, y = bench.arrays(edge, d, dtype)
    return 2.0 * edge * edge * d / statistics.median(bench.seconds(lambda: x @ y.T))


def speed(bench: Bench) -> None:
    import gramian as gm

    torch = bench.torch
    multiprocessors = 2 if bench.dry else torch.cuda.get_device_properties(0).multi_processor_count
    shapes = [(200, 20)] if bench.dry else [(65536, 64), (65536, 768), (32768, 4096)]
    compiled = one_tile if bench.dry else torch.compile(one_tile)
    deep = product_rate(bench, 4096, "bfloat16")  # of products so deep that nothing but the tensor cores counts
    for n, d in shapes:
        kernel = gm.RBF(float(np.sqrt(d)))
        flops = float(n) * (n + 1) * 2 * d  # of the tiles that are computed
        rates = {dtype: product_rate(bench, d, dtype) for dtype in ("bfloat16", "float32")}
        tflops = {f"{dtype}_tflops": rate / 1e12 for dtype, rate in rates.items()}
        bench.line("cublas", d=d, **tflops, deep_tflops=deep / 1e12)
        choices = [("bfloat16", "highest"), *(("float32", precision) for precision in ("highest", "high", "medium"))]
        for dtype, precision in choices:
            if bench.dry and dtype == "bfloat16":
                dtype = "float16"  # NumPy has no bfloat16 to put on the emulated device
            x, y = (bench.on_device(z) for z in bench.arrays(n, d, dtype))
            run = partial(gm.gram_moments, x, y, kernel=kernel, precision=precision)
            for capability in ("90", "80"):
                with environment(GRAMIAN_CUDA_CAPABILITY=capability):
                    times = bench.seconds(run)
                took = statistics.median(times)
                peer = rates["float32" if dtype == "float32" and precision == "highest" else "bfloat16"]
                products = 3 if dtype == "float32" and precision == "highest" else 1
                special = float(n) * n / (multiprocessors * SPECIAL_UNITS * 1.98e9)
                bench.line(
                    "speed",
                    contestant="gramian",
                    n=n,
                    d=d,
                    dtype=dtype,
                    precision=precision,
                    capability=capability,
                    seconds=took,
                    times=times,
                    tflops=flops / took / 1e12,
                    of_cublas=flops / took / peer,
                    of_floor=max(products * flops / deep, special) / took,
                )
            del x, y, run  # the next pair needs their memory
        x, y = bench.arrays(n, d, "bfloat16")
        edge = 64 if bench.dry else 8192
        contestants = {"torch tiled": one_tile, "torch.compile tiled": compiled}
        for name, tile in contestants.items():
            times = bench.seconds(partial(tiled, bench, x, y, kernel.bandwidth, edge, tile))
            took = statistics.median(times)
            bench.line(
                "speed",
                contestant=name,
                n=n,
                d=d,
                dtype="bfloat16",
                seconds=took,
                times=times,
                tflops=flops / took / 1e12,
            )
        del x, y


def layers(bench: Bench) -> None:
    """A matrix of layers: each layer's tiles are made once."""
    import gramian as gm

    n, d, count = (150, 20, 4) if bench.dry else (8192, 768, 24)
    xs = [bench.on_device(bench.arrays(n, d)[k % 2]) for k in range(count)]
    times = bench.seconds(lambda: gm.cka_matrix(xs, kernel=gm.RBF(float(np.sqrt(d)))))
    bench.line("layers", n=n, d=d, layers=count, seconds=statistics.median(times))


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
            times = bench.seconds(run)
            bench.line("neighbors", contestant=name, n=n, d=d, k=k, seconds=statistics.median(times), times=times)


def _note_memory(least: list[int], memory: Callable[[], tuple[int, int]], *_: int) -> None:
    least.append(memory()[0])


def million(bench: Bench) -> None:
    """A million samples on one card, and what they take beyond the inputs."""
    import gramian as gm

    torch = bench.torch
    n, d = (400, 24) if bench.dry else (1_000_000, 768)
    for dtype in ("bfloat16", "float32"):
        if bench.dry:
            continue
        generator = torch.Generator(device=bench.device).manual_seed(0)
        x, y = (
            torch.randn(n, d, device=bench.device, generator=generator, dtype=getattr(torch, dtype)) for _ in range(2)
        )
        torch.cuda.empty_cache()
        bench.wait()
        least = [torch.cuda.mem_get_info()[0]]
        before = least[0]
        start = time.perf_counter()
        g = gm.gram_moments(
            x,
            y,
            kernel=gm.RBF(float(np.sqrt(d))),
            progress=partial(_note_memory, least, torch.cuda.mem_get_info),
        )
        took = time.perf_counter() - start
        bench.line(
            "million",
            n=n,
            d=d,
            dtype=dtype,
            seconds=took,
            tflops=float(n) * n * 2 * d / took / 1e12,
            extra_bytes=before - min(least),
            input_bytes=2 * n * d * x.element_size(),
            finite=bool(np.isfinite(g.inner).all()),
        )
        del x, y


STEPS: dict[str, Callable[[Bench], None]] = {
    "accuracy": accuracy,
    "bits": same_bits,
    "speed": speed,
    "layers": layers,
    "neighbors": nearest,
    "million": million,
}


def small(bench: Bench) -> None:
    """Every kernel once, at a size that compute-sanitizer gets through."""
    import gramian as gm

    for capability in ("90", "80", "75"):
        with environment(GRAMIAN_CUDA_CAPABILITY=capability):
            for n, d in ((257, 70),):
                x, y = (bench.on_device(z) for z in bench.arrays(n, d))
                for kernel in KERNELS:
                    gm.cka(x, y, kernel)
                gm.alignment(x, y, kernel="rbf")
                gm.cka_matrix([x, y, x], kernel="rbf")
                for metric in ("cosine", "euclidean"):
                    gm.mutual_knn(x, y, 5, metric=metric)
    bench.line("small", right=True)


def main() -> None:
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


if __name__ == "__main__":
    main()
