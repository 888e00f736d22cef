"""python -m bench.spectra: the leading eigenpairs of an RBF kernel beside SciPy's solvers on the same operator.

Residuals are checked in float64 with NumPy, from blocks of rows, with nothing of gramian in them.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import eigsh, lobpcg

import gramian as gm

from . import machine
from .cases import Array, Case
from .kernel_tiles import kernel_tile


def residuals(x: Array, case: Case, vectors: Array, eigenvalues: Array, rows: int = 512) -> Array:
    """‖Kv/n − ηv‖ for columns v of norm 1."""
    wide = x.astype(np.float64)
    square = np.zeros(len(eigenvalues))
    for i in range(0, len(x), rows):
        product = kernel_tile(wide[i : i + rows], wide, case) @ vectors / len(x)
        square += ((product - vectors[i : i + rows] * eigenvalues) ** 2).sum(axis=0)
    return np.sqrt(square)


def by_gramian(x: Array, kernel: gm.RBF, k: int) -> tuple[Array, Array, int]:
    found = gm.spectrum(x, kernel, k)
    return found.eigenvalues, found.eigenfunctions / math.sqrt(len(x)), found.sweeps


def by_eigsh(x: Array, kernel: gm.RBF, k: int) -> tuple[Array, Array, int]:
    operator = Counted(x, kernel)
    values, vectors = eigsh(operator, k, tol=1e-7)
    return values[::-1] / len(x), vectors[:, ::-1], operator.calls


def by_lobpcg(x: Array, kernel: gm.RBF, k: int) -> tuple[Array, Array, int]:
    operator = Counted(x, kernel)
    start = np.random.default_rng(0).standard_normal((len(x), k + 8))
    values, vectors = lobpcg(operator, start, tol=1e-7 * operator.trace, maxiter=60)
    return values[:k] / len(x), vectors[:, :k], operator.calls


class Counted(gm.GramOperator):  # type: ignore[misc]
    calls = 0

    def _matmat(self, X: Any) -> Array:
        self.calls += 1
        return super()._matmat(X)


CONTESTANTS = {"gramian.spectrum": by_gramian, "scipy eigsh": by_eigsh, "scipy lobpcg": by_lobpcg}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contestant", action="append", choices=list(CONTESTANTS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)

    case = Case(f"spectrum-rbf-n{given.n}-d{given.d}", given.n, given.d, m=1, dtype=given.dtype)
    rng = np.random.default_rng(0)
    # columns that fall off, so that there is a leading part
    x = (rng.standard_normal((given.n, given.d)) / np.sqrt(np.arange(1, given.d + 1))).astype(given.dtype)
    kernel = gm.RBF(math.sqrt(given.d))
    rows: list[dict[str, Any]] = []
    timings: dict[str, list[float]] = {name: [] for name in given.contestant or CONTESTANTS}
    answers = {}
    for _ in range(given.repeats):
        for name, timing in timings.items():
            start = time.perf_counter()
            answers[name] = CONTESTANTS[name](x, kernel, given.k)
            timing.append(time.perf_counter() - start)
    for name, (values, vectors, products) in answers.items():
        worst = float(residuals(x, case, vectors, values).max() / values[0])
        rows.append({"contestant": name, "seconds": timings[name], "products": products, "residual": worst})
        print(
            f"{name:<18} {np.median(timings[name]):8.2f} s  {products:3d} products  residual {worst:.1e} of the largest"
        )
    if given.json:
        document = {"case": case.name, "k": given.k, "dtype": given.dtype} | machine.provenance() | {"results": rows}
        given.json.write_text(json.dumps(document, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
