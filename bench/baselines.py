"""The contestants: gramian, what people write instead, and matrix products of as many operations as a yardstick.

Each takes the arrays and the case and returns the number. `CONTESTANTS` lists them per device and per way of computing:
"gram" (n×n kernel values), "features" (d×d moments, linear kernel, many rows), "neighbors" (lists of nearest rows).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import nearest
from .cases import NEIGHBORS, Answer, Array, Arrays, Case, in_feature_space, kernel_parameters
from .kernel_tiles import kernel_tile
from .reference import answer, unbiased_hsic

NUMPY_TILE = 1024
DOT_RUN = 65536  # elements of one float32 dot product; the runs are added in float64


@dataclass(frozen=True)
class Contestant:
    name: str
    run: Callable[[Arrays, Case], Answer]
    library: str = "numpy"  # without it the contestant is skipped
    matrices: int = 0  # n×n arrays alive at once beside one for every representation; 0: none at all
    yardstick: bool = False  # a rate, whose answer means nothing


def gramian(arrays: Arrays, case: Case) -> Answer:
    import gramian as gm

    if case.measure == "mutual_knn":
        metric: Any = case.kernel
        return gm.mutual_knn(*arrays, NEIGHBORS, metric=metric)
    kernel_class: Any = gm.kernels.KERNELS[case.kernel]
    kernel = kernel_class(**kernel_parameters(case))
    if case.measure == "cka_matrix":
        half = case.m // 2
        values: Answer = gm.cka_matrix(list(arrays[:half]), list(arrays[half:]), kernel).values
        return values
    x, y = arrays
    return float(gm.cka(x, y, kernel))


def numpy_full(arrays: Arrays, case: Case) -> Answer:
    """As in the notebook that came with CKA: n×n Gram matrices, each centred (unbiased), flattened, multiplied."""
    grams = [centred(kernel_tile(x, x, case)).ravel() for x in arrays]
    return answer(np.array([[float(k @ l) for l in grams] for k in grams]), case)


def centred(gram: Array) -> Array:
    n = len(gram)
    np.fill_diagonal(gram, 0)
    means = gram.sum(axis=0, dtype=np.float64) / (n - 2)
    means -= means.sum() / (2 * (n - 1))
    gram -= means[:, None]
    gram -= means[None, :]
    np.fill_diagonal(gram, 0)
    return gram


def numpy_tiled(arrays: Arrays, case: Case) -> Answer:
    """Tiles of the upper triangle in the dtype of the arrays, float64 from tile to tile."""
    m, n = len(arrays), case.n
    inner, rows = np.zeros((m, m)), np.zeros((m, n))
    for i in range(0, n, NUMPY_TILE):
        for j in range(i, n, NUMPY_TILE):
            tiles = [kernel_tile(x[i : i + NUMPY_TILE], x[j : j + NUMPY_TILE], case) for x in arrays]
            if i == j:
                for k in tiles:
                    np.fill_diagonal(k, 0)
            for p, k in enumerate(tiles):
                rows[p, i : i + NUMPY_TILE] += k.sum(axis=1)
                if i != j:
                    rows[p, j : j + NUMPY_TILE] += k.sum(axis=0)
                for q in range(p, m):
                    inner[p, q] += (1 if i == j else 2) * float(
                        np.einsum("ij,ij->i", k, tiles[q]).sum(dtype=np.float64)
                    )
    return answer(unbiased_hsic(symmetric(inner), rows), case)


def symmetric(upper: Array) -> Array:
    return np.triu(upper) + np.triu(upper, 1).T


def torch_tiled(arrays: Arrays, case: Case, *, tile: int) -> Answer:
    """The same triangle with torch: norms added by the product, the rest in place, float64 from tile to tile."""
    import torch

    xs = [torch.from_numpy(x) for x in arrays]
    squares = [(x * x).sum(1) for x in xs]
    m, n = len(xs), case.n
    inner = torch.zeros(m, m, dtype=torch.float64)
    rows = torch.zeros(m, n, dtype=torch.float64)
    for i in range(0, n, tile):
        a = slice(i, min(i + tile, n))
        for j in range(i, n, tile):
            b = slice(j, min(j + tile, n))
            tiles = [torch_tile(x[a], x[b], s[a], s[b], case) for x, s in zip(xs, squares, strict=True)]
            for p, k in enumerate(tiles):
                if i == j:
                    k.fill_diagonal_(0)
                rows[p, a] += k.sum(1)
                if i != j:
                    rows[p, b] += k.sum(0)
            for p in range(m):
                for q in range(p, m):
                    inner[p, q] += (1 if i == j else 2) * dot64(tiles[p], tiles[q])
    return answer(unbiased_hsic(symmetric(inner.numpy()), rows.numpy()), case)


def dot64(k: Any, l: Any) -> float:
    """⟨k, l⟩ at the speed of float32 dot products and nearly the accuracy of float64: short runs, added in float64."""
    import torch

    runs = zip(k.reshape(-1).split(DOT_RUN), l.reshape(-1).split(DOT_RUN), strict=True)
    return float(torch.stack([torch.dot(a, b) for a, b in runs]).sum(dtype=torch.float64))


def torch_tile(x: Any, y: Any, x2: Any, y2: Any, case: Case) -> Any:
    """k of two blocks of rows with squared norms x2, y2."""
    import torch

    match case.kernel:
        case "linear":
            return x @ y.T
        case "cosine":
            return (x / x2.sqrt()[:, None]) @ (y / y2.sqrt()[:, None]).T
        case "polynomial":
            return torch.addmm(torch.ones_like(y2), x, y.T, alpha=1 / case.d).square_()
        case "arc_cosine":
            cos = ((x / x2.sqrt()[:, None]) @ (y / y2.sqrt()[:, None]).T).clamp_(-1, 1)
            theta = cos.acos()
            tile = theta.sin().add_(cos.mul_(theta.neg_().add_(torch.pi)))
            return tile.mul_(x2.sqrt()[:, None]).mul_(y2.sqrt() / torch.pi)
        case "distance":
            tile = torch_squared_distances(x, y, x2, y2).sqrt_()
            return tile.neg_().add_(x2.sqrt()[:, None]).add_(y2.sqrt()).div_(2)
    bandwidth = kernel_parameters(case)["bandwidth"]
    match case.kernel:
        case "rbf":
            scale = 0.5 / bandwidth**2
            return torch.addmm(y2 * -scale, x, y.T, alpha=2 * scale).sub_(x2[:, None] * scale).exp_()
        case "exponential":
            return torch_squared_distances(x, y, x2, y2).sqrt_().mul_(-1 / bandwidth).exp_()
        case "laplacian":
            return torch.cdist(x, y, p=1).mul_(-1 / bandwidth).exp_()
        case "rational_quadratic":
            return torch_squared_distances(x, y, x2, y2).mul_(0.5 / bandwidth**2).add_(1).reciprocal_()
    raise ValueError(f"no torch code for the kernel {case.kernel!r}")


def torch_squared_distances(x: Any, y: Any, x2: Any, y2: Any) -> Any:
    import torch

    return torch.addmm(y2, x, y.T, alpha=-2).add_(x2[:, None]).clamp_(min=0)


def torch_full(arrays: Arrays, case: Case) -> Answer:
    """torch.cdist, the kernel of the whole matrix, sums of it."""
    import torch

    grams = []
    for x in map(torch.from_numpy, arrays):
        if case.kernel in ("rbf", "exponential", "laplacian", "rational_quadratic", "distance"):
            distances = torch.cdist(x, x, p=1 if case.kernel == "laplacian" else 2)
            grams.append(torch_radial(distances, x, case))
        else:
            squares = (x * x).sum(1)
            grams.append(torch_tile(x, x, squares, squares, case))
    for k in grams:
        k.fill_diagonal_(0)
    rows = np.stack([k.sum(1).numpy() for k in grams]).astype(np.float64)
    inner = np.array([[float((k * l).sum()) for l in grams] for k in grams])
    return answer(unbiased_hsic(inner, rows), case)


def torch_radial(distances: Any, x: Any, case: Case) -> Any:
    if case.kernel == "distance":
        norms = x.norm(dim=1)
        return (norms[:, None] + norms[None, :] - distances) / 2
    bandwidth = kernel_parameters(case)["bandwidth"]
    if case.kernel == "rbf":
        return distances.square_().mul_(-0.5 / bandwidth**2).exp_()
    if case.kernel == "rational_quadratic":
        return distances.square_().mul_(0.5 / bandwidth**2).add_(1).reciprocal_()
    return distances.mul_(-1 / bandwidth).exp_()


def numpy_features(arrays: Arrays, case: Case) -> Answer:
    """Unbiased linear CKA from d×d products of centred columns [Kornblith et al. 2019, debiased]."""
    xs = [x - x.mean(axis=0) for x in arrays]
    squares = [np.einsum("ij,ij->i", x, x).astype(np.float64) for x in xs]

    def hsic(p: int, q: int) -> float:
        cross = float(np.linalg.norm(xs[p].T @ xs[q])) ** 2
        return debiased(cross, squares[p], squares[q])

    return answer(np.array([[hsic(p, q) for q in range(case.m)] for p in range(case.m)]), case)


def torch_features(arrays: Arrays, case: Case) -> Answer:
    import torch

    xs = [x - x.mean(0) for x in map(torch.from_numpy, arrays)]
    squares = [(x * x).sum(1).double().numpy() for x in xs]

    def hsic(p: int, q: int) -> float:
        cross = float(torch.linalg.norm(xs[p].T @ xs[q])) ** 2
        return debiased(cross, squares[p], squares[q])

    return answer(np.array([[hsic(p, q) for q in range(case.m)] for p in range(case.m)]), case)


def debiased(cross: float, x2: Array, y2: Array) -> float:
    """n(n−3) HSIC_u of centred columns from ‖X'Y‖² and the squared norms of the rows."""
    n = len(x2)
    return cross - n / (n - 2) * float(x2 @ y2) + float(x2.sum() * y2.sum()) / ((n - 1) * (n - 2))


def numpy_gemm(arrays: Arrays, case: Case, *, tile: int) -> Answer:
    """Products of as many operations as `flops(case)`, into one buffer that is used again and again."""
    if in_feature_space(case):
        buffer = np.empty((case.d, case.d), dtype=case.dtype)
        for _ in range(case.m**2 // 2):
            np.matmul(arrays[0].T, arrays[1], out=buffer)
        return float("nan")
    buffer = np.empty((tile, tile), dtype=case.dtype)
    for x, y in zip(arrays[::2], arrays[1::2], strict=True):
        for i in range(0, case.n, tile):
            for j in range(0, case.n, tile):
                a, b = x[i : i + tile], y[j : j + tile]
                np.matmul(a, b.T, out=buffer[: len(a), : len(b)])
    return float("nan")


def torch_gemm(arrays: Arrays, case: Case, *, tile: int) -> Answer:
    """The same products by torch."""
    import torch

    xs: list[Any] = [torch.from_numpy(x) for x in arrays]
    if in_feature_space(case):
        buffer = torch.empty(case.d, case.d, dtype=xs[0].dtype)
        for _ in range(case.m**2 // 2):
            torch.mm(xs[0].T, xs[1], out=buffer)
        return float("nan")
    for x, y in zip(xs[::2], xs[1::2], strict=True):
        buffer = torch.empty(tile, tile, dtype=x.dtype)
        for a in x.split(tile):
            for b in y.split(tile):
                torch.mm(a, b.T, out=buffer if len(a) == len(b) == tile else None)
    return float("nan")


def scikit_learn_neighbors(arrays: Arrays, case: Case) -> Answer:
    """The brute force of the library that people use for it."""
    from sklearn.neighbors import NearestNeighbors

    def lists(x: Array) -> nearest.Lists:
        search = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute", metric=case.kernel).fit(x)
        found: nearest.Lists = search.kneighbors(return_distance=False)
        return found

    x, y = (lists(x) for x in arrays)
    return nearest.mutual_knn((x, y))


def numpy_neighbors(arrays: Arrays, case: Case) -> Answer:
    x, y = (nearest.neighbors(x, case, block=NUMPY_TILE) for x in arrays)
    return nearest.mutual_knn((x, y))


def torch_neighbors(arrays: Arrays, case: Case) -> Answer:
    """Blocks of rows against all others, and topk."""
    import torch

    def lists(array: Array) -> nearest.Lists:
        x = torch.from_numpy(array)
        x = x / x.norm(dim=1, keepdim=True) if case.kernel == "cosine" else x - x.mean(0)
        half_squares = (x * x).sum(1) / 2 if case.kernel == "euclidean" else torch.zeros(len(x), dtype=x.dtype)
        found = []
        for i, rows in zip(range(0, len(x), NUMPY_TILE), x.split(NUMPY_TILE), strict=True):
            near = torch.addmm(half_squares, rows, x.T, beta=-1)
            near[torch.arange(len(rows)), torch.arange(i, i + len(rows))] = -torch.inf
            found.append(near.topk(NEIGHBORS, dim=1).indices.numpy())
        return np.concatenate(found)

    x, y = (lists(x) for x in arrays)
    return nearest.mutual_knn((x, y))


GEMM = (
    Contestant("numpy_gemm_1024", partial(numpy_gemm, tile=1024), yardstick=True),
    Contestant("numpy_gemm_4096", partial(numpy_gemm, tile=4096), yardstick=True),
    Contestant("torch_gemm_1024", partial(torch_gemm, tile=1024), library="torch", yardstick=True),
    Contestant("torch_gemm_4096", partial(torch_gemm, tile=4096), library="torch", yardstick=True),
)
OURS = Contestant("gramian", gramian, library="gramian")

# A new device is a key here; its contestants wait for the device before they return, since that is all that is timed.
CONTESTANTS: dict[tuple[str, str], tuple[Contestant, ...]] = {
    ("cpu", "gram"): (
        OURS,
        Contestant("torch_tiled_1024", partial(torch_tiled, tile=1024), library="torch"),
        Contestant("torch_tiled_2048", partial(torch_tiled, tile=2048), library="torch"),
        Contestant("torch_full", torch_full, library="torch", matrices=2),
        Contestant("numpy_tiled", numpy_tiled),
        Contestant("numpy_full", numpy_full, matrices=2),
        *GEMM,
    ),
    ("cpu", "features"): (
        OURS,
        Contestant("torch_features", torch_features, library="torch"),
        Contestant("numpy_features", numpy_features),
        *GEMM,
    ),
    ("cpu", "neighbors"): (
        OURS,
        Contestant("scikit_learn_brute", scikit_learn_neighbors, library="sklearn"),
        Contestant("torch_neighbors", torch_neighbors, library="torch"),
        Contestant("numpy_neighbors", numpy_neighbors),
        *GEMM,
    ),
}


def contestants(case: Case) -> tuple[Contestant, ...]:
    if case.measure == "mutual_knn":
        return CONTESTANTS[case.device, "neighbors"]
    return CONTESTANTS[case.device, "features" if in_feature_space(case) else "gram"]
