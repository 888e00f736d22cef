"""python -m bench.busy rsa --n 10000: CPU seconds of one thread and peak memory, measured on a busy machine.

Other processes make a run longer, but hardly its CPU time; waiting for a disk does not count either. Each contestant is
a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gramian as gm

from . import machine
from .cases import NEIGHBORS, Array

Contestant = Callable[[Array, Array], float]


def scipy_ranks(x: Array, y: Array) -> float:
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    return float(spearmanr(pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")).statistic)


def scikit_learn_neighbors(x: Array, metric: str) -> float:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute", metric=metric).fit(x)
    return float(found.kneighbors(return_distance=False).mean())


# the answer of a list of neighbours is their mean index, which tells lists apart
CASES: dict[str, dict[str, Contestant]] = {
    "rsa": {
        "sorted": lambda x, y: gm.rsa(x, y, correlation="spearman"),
        "65,536 bins": lambda x, y: gm.rsa(x, y, correlation="spearman", bins=65_536),
        "Pearson": lambda x, y: gm.rsa(x, y, dissimilarity="euclidean"),
        "SciPy": scipy_ranks,
    },
    "knn-cosine": {
        "gramian": lambda x, y: float(gm.neighbors(x, NEIGHBORS, metric="cosine").mean()),
        "scikit-learn brute": lambda x, y: scikit_learn_neighbors(x, "cosine"),
    },
    "knn-euclidean": {
        "gramian": lambda x, y: float(gm.neighbors(x, NEIGHBORS, metric="euclidean").mean()),
        "scikit-learn brute": lambda x, y: scikit_learn_neighbors(x, "euclidean"),
    },
}


def run(case: str, name: str, n: int, d: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(np.float32)
    y = x @ rng.normal(size=(d, d)).astype(np.float32) + 3 * rng.normal(size=(n, d)).astype(np.float32)
    contestant = CASES[case][name]
    contestant(x[:64], y[:64])
    start = time.process_time()
    value = contestant(x, y)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "case": case,
        "contestant": name,
        "n": n,
        "d": d,
        "cpu_seconds": seconds,
        "peak_bytes": peak,
        "value": value,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("--n", type=int, action="append", required=True)
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--contestant", action="append")
    parser.add_argument("--json", type=Path, help="results of this run are added to those in the file")
    parser.add_argument("--here", action="store_true", help="in this process, printing JSON alone")
    given = parser.parse_args(arguments)
    names = given.contestant or list(CASES[given.case])
    if given.here:
        print(json.dumps(run(given.case, names[0], given.n[0], given.d)))
        return
    one = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GRAMIAN_NUM_THREADS"], "1")
    rows = json.loads(given.json.read_text())["results"] if given.json and given.json.exists() else []
    for n in given.n:
        for name in names:
            command = [sys.executable, "-m", "bench.busy", given.case, "--here", "--n", str(n), "--d", str(given.d)]
            output = subprocess.run(
                [*command, "--contestant", name], env=os.environ | one, check=True, stdout=subprocess.PIPE, text=True
            )
            row = json.loads(output.stdout)
            rows.append(row)
            print(
                f"{given.case} {name:<18} n = {n} d = {given.d}: {row['cpu_seconds']:7.1f} s, "
                f"{row['peak_bytes'] / 1e6:6.0f} MB at the peak, value {row['value']:.12f}",
                flush=True,
            )
    if given.json:
        document = {"threads": 1} | machine.provenance() | {"results": rows}
        given.json.write_text(json.dumps(document, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
