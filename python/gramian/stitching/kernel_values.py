"""Kernel values between rows of two arrays, in the library that holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.kernels import (
    RBF,
    ArcCosine,
    Cosine,
    Distance,
    Exponential,
    Kernel,
    Laplacian,
    Linear,
    Polynomial,
    RationalQuadratic,
    with_bandwidth,
)
from gramian.results.files import storable
from gramian.sweeps.centred import CentredFeatures

VALUES = 1 << 21  # kernel values at once,


Array: TypeAlias = npt.NDArray[np.float64]

_NEAR = 1e-3  # squared distances, as a part of the squared norms, below which differences are taken


@storable
@dataclass(frozen=True, eq=False)
class KernelValues:
    """k(x, z) in units of 2^exponent, of rows that are scaled by a power of two and, where k allows it, centred."""

    kernel: Kernel  # of prepared rows
    scale: float
    centre: Array  # (d,) of scaled rows
    exponent: int

    @staticmethod
    def of(kernel: Kernel, rows: CentredFeatures) -> KernelValues:
        scale, power = rows.scale, -round(math.log2(rows.scale))
        invariant = isinstance(kernel, RBF | Exponential | Laplacian | RationalQuadratic)
        found, exponent = kernel, 0
        if isinstance(kernel, RBF | Exponential | Laplacian | RationalQuadratic):
            # all distances are 0 where there is no bandwidth
            found = with_bandwidth(
                kernel, 1.0 if math.isnan(kernel.bandwidth or 1.0) else cast("float", kernel.bandwidth) * scale
            )
        elif isinstance(kernel, Polynomial):
            found = replace(kernel, scale=cast("float", kernel.scale) / scale / scale)
        elif isinstance(kernel, Distance):
            exponent = power
        elif isinstance(kernel, Linear) or (isinstance(kernel, ArcCosine) and kernel.order == 1):
            exponent = 2 * power
        return KernelValues(found, scale, rows.mean if invariant else np.zeros_like(rows.mean), exponent)

    def prepared(self, x: Any) -> Any:
        """(b, d) rows as `between` takes them; of any array library."""
        return x * self.scale - like(self.centre, x)

    def between(self, a: Any, b: Any) -> Any:
        """(len(a), len(b)) values for prepared rows of one library."""
        return _values(self.kernel, a, b)


def like(values: Array, x: Any) -> Any:
    """float64 values in the library, on the device and of the dtype of x."""
    if isinstance(x, np.ndarray):
        return values
    from array_api_compat import array_namespace, device

    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))


def _values(kernel: Kernel, a: Any, b: Any) -> Any:
    from array_api_compat import array_namespace

    xp = array_namespace(a)
    width = cast("float", getattr(kernel, "bandwidth", None))
    match kernel:
        case Linear():
            return a @ b.T
        case Cosine():
            return _unit(xp, a) @ _unit(xp, b).T
        case Polynomial():
            return (cast("float", kernel.scale) * (a @ b.T) + kernel.offset) ** kernel.degree
        case RBF():
            return xp.exp(_squares(xp, a, b) * (-0.5 / width**2))
        case Exponential():
            return xp.exp(_root(xp, _squares(xp, a, b)) * (-1 / width))
        case RationalQuadratic():
            return (1 + _squares(xp, a, b) * (0.5 / (kernel.alpha * width**2))) ** -kernel.alpha
        case Laplacian():
            total = xp.abs(a[:, 0, None] - b[None, :, 0])
            for j in range(1, a.shape[1]):
                total = total + xp.abs(a[:, j, None] - b[None, :, j])
            return xp.exp(total * (-1 / width))
        case Distance():
            return (_norms(xp, a)[:, None] + _norms(xp, b)[None, :] - _root(xp, _squares(xp, a, b))) / 2
        case ArcCosine():
            return _arc_cosine(xp, kernel.order, a, b)


def _arc_cosine(xp: Any, order: int, a: Any, b: Any) -> Any:
    u, v = _unit(xp, a), _unit(xp, b)
    # the arccos of a cosine would lose half of the digits near 0 and π
    angle = 2 * xp.atan2(_root(xp, _squares(xp, u, v)), _root(xp, _squares(xp, u, -v)))
    sizes = _norms(xp, a)[:, None] * _norms(xp, b)[None, :]
    if order == 0:
        return xp.where(sizes > 0, 1 - angle / math.pi, xp.zeros_like(angle))
    return sizes * (xp.sin(angle) + (math.pi - angle) * xp.cos(angle)) / math.pi


def _squares(xp: Any, a: Any, b: Any) -> Any:
    """(len(a), len(b)) ‖a − b‖², from differences where the expansion would cancel."""
    size = xp.sum(a * a, axis=1)[:, None] + xp.sum(b * b, axis=1)[None, :]
    found = size - 2 * (a @ b.T)
    i, j = xp.nonzero(found < _NEAR * size)
    step = max(1, VALUES // a.shape[1])
    for start in range(0, len(i), step):
        p, q = i[start : start + step], j[start : start + step]
        found[p, q] = xp.sum((a[p] - b[q]) ** 2, axis=1)
    return found


def _root(xp: Any, squares: Any) -> Any:
    """√ with the derivative 0 at 0."""
    positive = squares > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, squares, xp.ones_like(squares))), xp.zeros_like(squares))


def _norms(xp: Any, a: Any) -> Any:
    return _root(xp, xp.sum(a * a, axis=1))


def _unit(xp: Any, a: Any) -> Any:
    norms = _norms(xp, a)[:, None]
    return a / xp.where(norms > 0, norms, xp.ones_like(norms))
