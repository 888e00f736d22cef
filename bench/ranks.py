"""CPU seconds and peak memory of RSA by exact ranks, by bins, by sums, and of SciPy's, which holds every pair.

    OMP_NUM_THREADS=1 GRAMIAN_NUM_THREADS=1 python bench/ranks.py 10000 64

CPU time of one thread: other processes make a run longer, but hardly this. Each contestant is a process of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gramian as gm


def scipy_ranks(X: Any, Y: Any) -> float:
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    return float(spearmanr(pdist(X, "sqeuclidean"), pdist(Y, "sqeuclidean")).statistic)


CONTESTANTS: dict[str, Callable[[Any, Any], float]] = {
    "sorted": lambda X, Y: gm.rsa(X, Y, correlation="spearman"),
    "65,536 bins": lambda X, Y: gm.rsa(X, Y, correlation="spearman", bins=65_536),
    "Pearson": lambda X, Y: gm.rsa(X, Y, dissimilarity="euclidean"),
    "SciPy": scipy_ranks,
}


def run(name: str, n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(np.float32)
    Y = X @ rng.normal(size=(d, d)).astype(np.float32) + 3 * rng.normal(size=(n, d)).astype(np.float32)
    CONTESTANTS[name](X[:64], Y[:64])
    start = time.process_time()
    value = CONTESTANTS[name](X, Y)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:12} n = {n} d = {d}: {seconds:7.1f} s, {peak:6.0f} MB at the peak, value {value:.12f}", flush=True)


if __name__ == "__main__":
    n, d, *names = sys.argv[1:]
    if len(names) == 1:
        run(names[0], int(n), int(d))
    else:
        for name in names or CONTESTANTS:
            subprocess.run([sys.executable, __file__, n, d, name], check=True)
