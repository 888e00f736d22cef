"""python -m bench.stitching: fit_stitch on files that do not fit in memory beside a NumPy loop over the same blocks.

Each run is a process of its own, in alternating order, with the files in the page cache. Its anonymous memory (RssAnon:
all but the mapped files) is watched from outside, and counts from the interpreter on.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import machine
from .__main__ import CACHE, positive
from .measure import status_bytes

Float64 = NDArray[np.float64]
Answer = tuple[Float64, float]  # the map, and the mean squared error that it leaves

BYTES = 16 << 20  # of float64 rows in a block, gramian's
WRITTEN = 1 << 14  # rows at a time


def by_gramian(paths: Sequence[Path]) -> Answer:
    import gramian as gm

    found = gm.fit_stitch(*paths)
    return found.matrix, found.misalignment


def by_numpy(paths: Sequence[Path]) -> Answer:
    """As one would write it: sums of products in float64, then the normal equations."""
    f1, f2 = (np.load(path, mmap_mode="r") for path in paths)
    (n, d1), d2 = f1.shape, f2.shape[1]
    s11, s21, s22 = np.zeros((d1, d1)), np.zeros((d2, d1)), np.zeros((d2, d2))
    rows = BYTES // (8 * (d1 + d2))
    for i in range(0, n, rows):
        x, y = f1[i : i + rows].astype(np.float64), f2[i : i + rows].astype(np.float64)
        s11 += x.T @ x
        s21 += y.T @ x
        s22 += y.T @ y
    matrix = np.linalg.solve(s11, s21.T).T
    return matrix, float(np.trace(s22 - matrix @ s21.T)) / n


CONTESTANTS: dict[str, Callable[[Sequence[Path]], Answer]] = {
    "gramian.fit_stitch": by_gramian,
    "numpy_loop": by_numpy,
}


def make_files(folder: Path, n: int, d: int) -> list[Path]:
    """Seeded float32 features of condition number about 3 and a map between them; written once, read into the cache."""
    paths = [folder / f"stitching-n{n}-d{d}-f{k}.npy" for k in (1, 2)]
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        turn, _ = np.linalg.qr(rng.standard_normal((d, d)))
        mixing = (turn * np.linspace(1, 3, d)).astype(np.float32)
        stitch = rng.standard_normal((d, d), dtype=np.float32) / np.float32(np.sqrt(d))
        partial = [path.with_suffix(".partial") for path in paths]
        files = [np.lib.format.open_memmap(p, mode="w+", dtype=np.float32, shape=(n, d)) for p in partial]
        for i in range(0, n, WRITTEN):
            rows = min(WRITTEN, n - i)
            x = rng.standard_normal((rows, d), dtype=np.float32) @ mixing
            files[0][i : i + rows] = x
            files[1][i : i + rows] = x @ stitch + rng.standard_normal((rows, d), dtype=np.float32)
        for file, name, path in zip(files, partial, paths, strict=True):
            file.flush()
            name.rename(path)
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            buffer = bytearray(1 << 24)
            while file.readinto(buffer):
                pass
    return paths


def run(name: str, paths: Sequence[Path], threads: int) -> None:
    """In the child: one answer, timed, on standard output."""
    if name.startswith("gramian"):
        import gramian as gm

        gm.set_num_threads(threads)
    warm = [np.load(path, mmap_mode="r")[:64].astype(np.float64) for path in paths]
    warm[0].T @ warm[1]
    wall, cpu = time.perf_counter(), time.process_time()
    matrix, left = CONTESTANTS[name](paths)
    seconds = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    np.save(paths[0].with_name(f"stitching-{name}.npy"), matrix)
    print(json.dumps({**seconds, "misalignment": left}))


def watched(name: str, paths: Sequence[Path], threads: int) -> dict[str, Any]:
    """One process, with the peak of its anonymous memory."""
    command = [
        sys.executable,
        "-m",
        "bench.stitching",
        "--run",
        name,
        "--threads",
        str(threads),
        "--files",
        *map(str, paths),
    ]
    environment = {**os.environ, **dict.fromkeys(machine.THREAD_VARIABLES, str(threads))}
    child = subprocess.Popen(command, cwd=machine.ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    peak = 0
    answer: list[str] = []
    reader = threading.Thread(target=lambda: answer.append(child.communicate()[0]))
    reader.start()
    while reader.is_alive():
        peak = max(peak, status_bytes("RssAnon", child.pid) or 0)
        reader.join(0.005)
    if child.returncode:
        raise RuntimeError(f"{name} exited with {child.returncode}")
    return {**json.loads(answer[0].splitlines()[-1]), "anonymous_bytes": peak}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stitching", description=__doc__)
    parser.add_argument("--n", type=positive, default=2_000_000)
    parser.add_argument("--d", type=positive, default=256, help="features on each side")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--threads", type=positive, default=machine.available_threads())
    parser.add_argument("--folder", type=Path, default=CACHE, help="where the files are kept: 8·n·d bytes in all")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.run:
        run(given.run, given.files, given.threads)
        return

    paths = make_files(given.folder.resolve(), given.n, given.d)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
    for k in range(given.repeats):
        for name in list(CONTESTANTS) if k % 2 else list(CONTESTANTS)[::-1]:
            runs[name].append(watched(name, paths, given.threads))
    maps = {name: np.load(paths[0].with_name(f"stitching-{name}.npy")) for name in CONTESTANTS}
    medians = {name: float(np.median([r["seconds"] for r in found])) for name, found in runs.items()}
    rows: list[dict[str, Any]] = []
    for name, found in runs.items():
        peak = max(r["anonymous_bytes"] for r in found)
        ratio = medians[name] / medians["numpy_loop"]
        error = float(np.abs(maps[name] - maps["numpy_loop"]).max() / np.abs(maps["numpy_loop"]).max())
        rows.append({"contestant": name, "runs": found, "ratio": ratio, "anonymous_bytes": peak, "difference": error})
        print(
            f"{name:<20} {medians[name]:8.2f} s  {ratio:5.2f} of the loop's  {peak / 1e6:6.0f} MB anonymous  "
            f"map differs by {error:.1e}, misalignment {found[-1]['misalignment']:.12g}"
        )
    if given.json:
        document = {
            "case": f"stitching-n{given.n}-d{given.d}",
            "dtype": "float32",
            "threads": given.threads,
        }
        document |= machine.provenance() | {"results": rows}
        given.json.write_text(json.dumps(document, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
