"""What is measured: each case is a value, its arrays follow from it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Answer = float | NDArray[np.float64]
Route = Literal["time", "memory", "import"]

NEIGHBORS = 10  # of a row, where neighbours are compared
KERNELS = (
    "linear",
    "cosine",
    "polynomial",
    "rbf",
    "exponential",
    "laplacian",
    "rational_quadratic",
    "arc_cosine",
    "distance",
)


@dataclass(frozen=True)
class Case:
    name: str
    n: int
    d: int  # columns of every representation
    m: int = 2  # representations; cka_matrix compares the first half with the second
    dtype: Literal["float32", "float64"] = "float32"
    kernel: str = "rbf"  # of mutual_knn: the metric
    measure: Literal["cka", "cka_matrix", "mutual_knn"] = "cka"  # the first two unbiased
    device: Literal["cpu"] = "cpu"
    mean: float = 0.0  # of every column, in units of its standard deviation
    threads: int | None = None  # None: what the command line says
    routes: tuple[Route, ...] = ("time",)
    tolerance: float = 1e-4  # largest absolute error of an alignment that still counts as right


CASES = (
    Case("rbf-n8192-d64", 8192, 64, routes=("time", "memory")),
    Case("rbf-n8192-d768", 8192, 768, routes=("time", "memory")),
    Case("rbf-n8192-d64-1thread", 8192, 64, threads=1),
    Case("rbf-n8192-d64-2threads", 8192, 64, threads=2),
    Case("rbf-n8192-d768-1thread", 8192, 768, threads=1),
    Case("rbf-n8192-d768-2threads", 8192, 768, threads=2),
    Case("rbf-n16384-d768-mean10", 16384, 768, mean=10.0),
    Case("rbf-n4096-d64-float64", 4096, 64, dtype="float64", tolerance=1e-9),
    Case("linear-n100000-d256", 100_000, 256, kernel="linear"),
    Case("matrix-6x6-rbf-n4096-d128", 4096, 128, m=12, measure="cka_matrix"),
    *(Case(f"kernel-{kernel}-n4096-d64", 4096, 64, kernel=kernel) for kernel in KERNELS),
    *(
        Case(f"knn-{metric}-n{n}-d64", n, 64, kernel=metric, measure="mutual_knn", routes=("time", "memory"))
        for n in (20_000, 100_000)
        for metric in ("euclidean", "cosine")
    ),
    Case("memory-rbf-n20000-d768", 20_000, 768, routes=("memory",)),
    Case("memory-rbf-n100000-d32", 100_000, 32, routes=("memory",)),
    Case("import", 0, 0, m=0, routes=("import",)),
    Case("smoke-rbf-n1024-d64", 1024, 64, routes=("time", "memory")),
)


def kernel_parameters(case: Case) -> dict[str, float]:
    """A fixed bandwidth of the size of the median distance, so that no contestant searches for one.

    Columns have unit variance: ‖x − y‖₂ ≈ √(2d), ‖x − y‖₁ ≈ 2d/√π.
    """
    if case.kernel == "laplacian":
        return {"bandwidth": float(case.d)}
    if case.kernel in ("rbf", "exponential", "rational_quadratic"):
        return {"bandwidth": math.sqrt(case.d)}
    return {}


def in_feature_space(case: Case) -> bool:
    """Whether the d×d moments of a linear kernel cost less than the n×n tiles."""
    return case.kernel == "linear" and case.n > 2 * case.d


def flops(case: Case) -> int:
    """Multiplications and additions of the inner products, each symmetric pair once; nothing else is counted."""
    if in_feature_space(case):
        return case.n * (case.m * case.d) ** 2
    return case.n * (case.n + 1) * case.m * case.d


def make_arrays(case: Case, *, n: int | None = None) -> Arrays:
    """Seeded representations (n, d); each after the first shares half of its variance with the first."""
    rng = np.random.default_rng(0)
    rows = case.n if n is None else n
    half = max(case.d // 2, 1)
    first = rng.standard_normal((rows, case.d), dtype=case.dtype)
    arrays = [first]
    for _ in range(1, case.m):
        mixing = rng.standard_normal((half, case.d), dtype=case.dtype) / np.sqrt(half, dtype=case.dtype)
        noise = rng.standard_normal((rows, case.d), dtype=case.dtype)
        arrays.append((first[:, :half] @ mixing + noise) / np.sqrt(2, dtype=case.dtype))
    for x in arrays:
        x += np.asarray(case.mean, dtype=case.dtype)
    return tuple(arrays)
