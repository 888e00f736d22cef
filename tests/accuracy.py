"""The one accuracy assertion, the data that makes it bite, and the naive formula it measures against.

A result may be twice as far from the truth as the textbook formula carried out in the same dtype, over 8 seeds of such
data, plus 16 roundings of the scale on which it lives. Nothing in the tests of real-valued results is looser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from device import DeviceArray
from oracle import Array

TILE_EDGE = getattr(gm._core, "TILE_EDGE", 192)
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
DTYPES = tuple(EPS)
ESTIMATORS = ("biased", "unbiased")
MEASURES = ("hsic", "cka", "kernel_alignment")
# the dtype in which the textbook formula is carried out, and the one in which the truth is
ARITHMETIC = {"float64": np.float64, "float32": np.float32, "float16": np.float32, "bfloat16": np.float32}
TRUTH = {"float64": np.longdouble, "float32": np.float64, "float16": np.float64, "bfloat16": np.float64}


@dataclass(frozen=True)
class Case:
    """A kernel function with every parameter given, for the oracle and for gramian."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def kernel(self) -> Any:
        return gm.kernels.KERNELS[self.name](**self.params)

    def gram(self, X: Array, Z: Array | None = None) -> Array:
        return oracle.gram(self.name, X, Z, **self.params)

    def naive_gram(self, X: Array, Z: Array | None = None) -> Array:
        """The same, but the angle of the arc-cosine kernel as the textbook has it: the arccos of a cosine."""
        if self.name != "arc_cosine":
            return self.gram(X, Z)
        a, b = oracle.norms(X)[:, None], oracle.norms(X if Z is None else Z)[None, :]
        cosine = np.clip(oracle.gram("cosine", X, Z), -1, 1)
        angle = np.arccos(cosine)
        if self.params.get("order") == 0:
            return 1 - angle / np.pi
        return a * b / np.pi * (np.sin(angle) + (np.pi - angle) * cosine)


CASES = {
    "linear": Case("linear"),
    "cosine": Case("cosine"),
    "polynomial": Case("polynomial"),
    "polynomial_cubic": Case("polynomial", {"degree": 3, "scale": 0.004, "offset": 0.5}),
    "rbf": Case("rbf", {"bandwidth": 4.0}),
    "rbf_narrow": Case("rbf", {"bandwidth": 0.7}),
    "exponential": Case("exponential", {"bandwidth": 4.0}),
    "laplacian": Case("laplacian", {"bandwidth": 12.0}),
    "rational_quadratic": Case("rational_quadratic", {"bandwidth": 4.0}),
    "rational_quadratic_heavy": Case("rational_quadratic", {"bandwidth": 4.0, "alpha": 0.3}),
    "arc_cosine_0": Case("arc_cosine", {"order": 0}),
    "arc_cosine_1": Case("arc_cosine", {"order": 1}),
    "distance": Case("distance"),
}


def assert_as_accurate(got: float, want: Any, naive_errors: Sequence[Any], scale: Any, dtype: str = "float64") -> None:
    """|got - want| <= 2 max |naive - want| + 16 eps(dtype) scale, and in float64 never above 1e-12 of the scale."""
    allowed = 2 * max(naive_errors) + 16 * EPS[dtype] * scale
    if dtype == "float64":
        allowed = min(allowed, 1e-12 * scale)
    error = abs(got - want)
    assert error <= allowed, f"got {got!r}, want {want!r}: off by {error:.2e}, allowed {allowed:.2e} ({scale=:.2e})"


# ---- data ------------------------------------------------------------------------------------------


def rounded(X: Array, dtype: str) -> Array:
    """float64 values that the dtype holds exactly."""
    if dtype != "bfloat16":
        return X.astype(dtype).astype(np.float64)
    bits = X.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)  # to nearest, ties to even
    return bits.view(np.float32).astype(np.float64)


def hard_pair(
    n: int, dx: int, dy: int, *, mean: float = 0.0, seed: int = 0, dtype: str = "float64"
) -> tuple[Array, Array]:
    """Dependent X (n, dx) and Y (n, dy) with what goes wrong in practice, as float64 values that the dtype holds.

    An outlier row six times as far out, duplicated rows, a near-duplicate, columns of very different scales, a constant
    column, columns away from zero, and all of Y at a mean.
    """
    rng = np.random.default_rng((n, dx, dy, seed))
    X = rng.normal(size=(n, dx))
    Y = np.tanh(X @ rng.normal(size=(dx, dy)) / np.sqrt(dx)) + 0.3 * rng.normal(size=(n, dy))
    for Z in (X, Y):
        Z *= 1.5 / np.arange(1, Z.shape[1] + 1) ** 0.5
        Z[-1] *= 6
    if n >= 100:
        X[n // 2], X[n // 3] = X[0], X[0]
        Y[n // 2], Y[n // 4] = Y[0], Y[1]
        X[1] = X[2] * (1 + 2.0**-12)
    if dx > 1:
        X[:, 2:4] += 4
        X[:, 1] = 3
    Y += mean
    return rounded(X, dtype), rounded(Y, dtype)


def as_input(X: Array, dtype: str, device: str = "cpu") -> Any:
    """What a caller holds: a NumPy array on the CPU, a torch tensor for bfloat16 and on a GPU that is not emulated."""
    if device == "cuda" and hasattr(gm._core, "emulator"):
        return DeviceArray(X.astype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype))
    if dtype != "bfloat16" and device == "cpu":
        return X.astype(dtype)
    torch = pytest.importorskip("torch", reason="bfloat16 and CUDA arrays are made with torch")
    return torch.from_numpy(X).to(device, getattr(torch, dtype))


# ---- truth and naive formula -------------------------------------------------------------------------


@dataclass(frozen=True)
class Reference:
    """For one kernel, dtype and shape: the input, and by measure and estimator the truth, scale and naive errors."""

    X: Array
    Y: Array
    want: dict[tuple[str, str], float]
    scale: dict[tuple[str, str], float]
    naive_errors: dict[tuple[str, str], list[float]]


def measures(K: Array, L: Array) -> tuple[dict[tuple[str, str], Any], dict[tuple[str, str], Any]]:
    """Every measure and its scale from two Gram matrices, each centred once."""
    n, value, scale = len(K), {}, {}
    for estimator in ESTIMATORS:
        A, B = oracle.CENTRE[estimator](K), oracle.CENTRE[estimator](L)
        pairs = n * n if estimator == "biased" else n * (n - 3)
        h12, h11, h22 = (oracle.inner(*s) / pairs for s in ((A, B), (A, A), (B, B)))
        value["hsic", estimator], scale["hsic", estimator] = h12, np.sqrt(h11 * h22)
        value["cka", estimator], scale["cka", estimator] = h12 / np.sqrt(h11 * h22), 1.0
        value["kernel_alignment", estimator] = oracle.kernel_alignment(K, L, estimator)
        scale["kernel_alignment", estimator] = 1.0
    return value, scale


def true_gram(case: Case, X: Array, dtype: str, Z: Array | None = None) -> Array:
    cast = TRUTH[dtype]
    return case.gram(X.astype(cast), None if Z is None else Z.astype(cast))


def naive_gram(case: Case, X: Array, dtype: str, Z: Array | None = None) -> Array:
    """The textbook Gram matrix in the arithmetic of the dtype; a 16-bit one holds entries of 16 bits."""
    cast = ARITHMETIC[dtype]
    K = case.naive_gram(X.astype(cast), None if Z is None else Z.astype(cast))
    return rounded(K, dtype).astype(cast) if dtype in ("float16", "bfloat16") else K


@cache
def reference(name: str, dtype: str, n: int, dx: int, dy: int, mean: float) -> Reference:
    """Truth and scale on seed 0; errors on 8 seeds, brought to that scale (on 1 where they are down at eps anyway)."""
    case, errors = CASES[name], {}
    for seed in reversed(range(8 if n < 500 else 1)):
        X, Y = hard_pair(n, dx, dy, mean=mean, seed=seed, dtype=dtype)
        want, scale = measures(*(true_gram(case, Z, dtype) for Z in (X, Y)))
        naive, _ = measures(*(naive_gram(case, Z, dtype) for Z in (X, Y)))
        for key in want:
            errors.setdefault(key, []).append(float(abs(naive[key] - want[key]) / scale[key]))
    errors = {key: [error * float(scale[key]) for error in found] for key, found in errors.items()}
    return Reference(X, Y, {k: float(v) for k, v in want.items()}, {k: float(v) for k, v in scale.items()}, errors)
