"""Kernel functions: frozen values that say what ``k(x, y)`` is.

Wherever a kernel is asked for, a string is the default object of that name: ``kernel="rbf"`` is ``RBF()``, and so are
"gaussian" and "squared_exponential". `KernelName` lists all of them, for editors and type checkers; capitals and
hyphens do not matter. ``as_kernel(name)`` makes the object of a name that is only known when the program runs.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, fields
from numbers import Real
from typing import ClassVar, Literal, TypeAlias, cast

from gramian.words import COMMON_NAMES, kernel_meant, public, squeezed

__all__ = [
    "KERNELS",
    "RBF",
    "ArcCosine",
    "Cosine",
    "Distance",
    "Exponential",
    "Kernel",
    "KernelName",
    "Laplacian",
    "Linear",
    "Polynomial",
    "RationalQuadratic",
    "as_kernel",
    "parameters",
]


@public
@dataclass(frozen=True)
class Linear:
    """The inner product, k(x, y) = x·y."""

    name: ClassVar[str] = "linear"


@public
@dataclass(frozen=True)
class Cosine:
    """The inner product of normalised rows, k(x, y) = x·y / (‖x‖‖y‖); a zero row gives 0."""

    name: ClassVar[str] = "cosine"


@public
@dataclass(frozen=True)
class Polynomial:
    """k(x, y) = (scale·x·y + offset)^degree. ``scale=None`` is 1 over the number of features."""

    name: ClassVar[str] = "polynomial"
    degree: int = 2
    scale: float | None = None
    offset: float = 1.0

    def __post_init__(self) -> None:
        degree = _plain(self, "degree")
        if not isinstance(degree, Real) or isinstance(degree, bool) or degree not in range(1, 65):
            raise ValueError(f"degree must be a whole number from 1 to 64, got {_shown(degree)}")
        if self.scale is not None:
            _check_number(self, "scale", positive=True)
        _check_number(self, "offset")


@public
@dataclass(frozen=True)
class RBF:
    """The Gaussian kernel, k(x, y) = exp(−‖x − y‖² / (2·bandwidth²)).

    ``bandwidth=None`` is the median distance of the data (`gramian.median_bandwidth`), each array's own.
    """

    name: ClassVar[str] = "rbf"
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        _check_bandwidth(self)


@public
@dataclass(frozen=True)
class Exponential:
    """k(x, y) = exp(−‖x − y‖₂ / bandwidth). ``bandwidth=None`` is the median distance."""

    name: ClassVar[str] = "exponential"
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        _check_bandwidth(self)


@public
@dataclass(frozen=True)
class Laplacian:
    """k(x, y) = exp(−‖x − y‖₁ / bandwidth). ``bandwidth=None`` is the median L1 distance.

    There is no inner product in it: it costs about twice as much as the others.
    """

    name: ClassVar[str] = "laplacian"
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        _check_bandwidth(self)


@public
@dataclass(frozen=True)
class RationalQuadratic:
    """k(x, y) = (1 + ‖x − y‖² / (2·alpha·bandwidth²))^(−alpha). ``bandwidth=None`` is the median distance."""

    name: ClassVar[str] = "rational_quadratic"
    bandwidth: float | None = None
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_bandwidth(self)
        _check_number(self, "alpha", positive=True)


@public
@dataclass(frozen=True)
class ArcCosine:
    """The arc-cosine kernels of wide random networks, θ the angle between x and y.

    Order 0: 1 − θ/π. Order 1: ‖x‖‖y‖(sin θ + (π − θ) cos θ)/π. A zero row gives 0.
    """

    name: ClassVar[str] = "arc_cosine"
    order: int = 1

    def __post_init__(self) -> None:
        order = _plain(self, "order")
        if not isinstance(order, Real) or isinstance(order, bool) or order not in (0, 1):
            raise ValueError(f"order must be 0 or 1, got {_shown(order)}")


@public
@dataclass(frozen=True)
class Distance:
    """k(x, y) = (‖x‖ + ‖y‖ − ‖x − y‖)/2, the kernel of distance covariance and energy distance."""

    name: ClassVar[str] = "distance"


Kernel: TypeAlias = (
    Linear | Cosine | Polynomial | RBF | Exponential | Laplacian | RationalQuadratic | ArcCosine | Distance
)
# for type checkers and completion; `| str` beside it would take both away
KernelName: TypeAlias = Literal[
    "linear",
    "cosine",
    "polynomial",
    "rbf",
    "exponential",
    "laplacian",
    "rational_quadratic",
    "arc_cosine",
    "distance",
    # what they are called elsewhere
    "dot",
    "dot_product",
    "inner_product",
    "cosine_similarity",
    "poly",
    "RBF",
    "gaussian",
    "squared_exponential",
    "se",
    "ornstein_uhlenbeck",
    "matern12",
    "rq",
    "arccos",
    "energy",
    "distance_covariance",
    "dcov",
]
# functions of x − y alone: their values are the same about any origin
OF_DIFFERENCES = (RBF, Exponential, Laplacian, RationalQuadratic)
KERNELS: dict[str, type[Kernel]] = {
    k.name: k for k in (Linear, Cosine, Polynomial, RBF, Exponential, Laplacian, RationalQuadratic, ArcCosine, Distance)
}
_CLASSES = tuple(KERNELS.values())
_CALLED = {squeezed(name): KERNELS[COMMON_NAMES.get(name, name)] for name in (*KERNELS, *COMMON_NAMES)}


def __dir__() -> list[str]:
    return __all__


def as_kernel(kernel: Kernel | str, argument: str = "kernel") -> Kernel:
    """The kernel object for a name or an object; names as in `KernelName`, in capitals or with hyphens too.

    Raises
    ------
    ValueError
        The name is unknown; the message has the nearest and lists the known ones.
    TypeError
        Neither a name nor a kernel.
    """
    if isinstance(kernel, str):
        found = KERNELS.get(kernel) or _CALLED.get(squeezed(kernel))
        if found is None:
            meant = kernel_meant(kernel, KERNELS)
            listed = f"{' The' if meant else '; the'} known kernels are {', '.join(KERNELS)}"
            raise ValueError(f"{argument} {kernel!r} is unknown{meant}{listed}")
        return found()
    if isinstance(kernel, _CLASSES):
        return kernel
    if isinstance(kernel, type) and kernel in KERNELS.values():
        raise TypeError(f"{argument} is the class {kernel.__name__}; write {kernel.__name__}() for an object of it")
    kind = type(kernel).__name__
    theirs = _CALLED.get(squeezed(kind))  # of scikit-learn, say
    ours = f" of {type(kernel).__module__}; write one of ours, gm.{theirs.__name__}(...)" if theirs else ""
    raise TypeError(f"{argument} must be a kernel or its name, got {kind}{ours}")


def parameters(kernel: Kernel) -> dict[str, float]:
    """Name and value of every parameter of a resolved kernel."""
    return {f.name: float(cast("float", getattr(kernel, f.name))) for f in fields(kernel)}


def with_bandwidth(kernel: Kernel, bandwidth: float) -> Kernel:
    """The kernel with a bandwidth from data, where nan stands for "no distance was positive"."""
    found = copy(kernel)
    object.__setattr__(found, "bandwidth", bandwidth)
    return found


def _plain(kernel: object, name: str) -> object:
    """A parameter; an array of no dimension becomes the number in it."""
    value = getattr(kernel, name)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
        object.__setattr__(kernel, name, value)
    return value


def _check_number(kernel: object, name: str, *, positive: bool = False) -> None:
    value = _plain(kernel, name)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if cast("int", value) > 0 else -math.inf
    if positive and not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive and finite, got {_shown(value)}")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {_shown(value)}")


def _check_bandwidth(kernel: RBF | Exponential | Laplacian | RationalQuadratic) -> None:
    if kernel.bandwidth is not None:
        _check_number(kernel, "bandwidth", positive=True)


def _shown(value: object) -> str:
    """A number as a message shows it; Python itself refuses to write out more than 4300 digits."""
    if not isinstance(value, int) or abs(value) < 1 << 64:
        return str(value)
    if abs(value) < 1 << 1023:
        return f"{float(value):.3g}"
    return f"a whole number of {value.bit_length()} bits, which no float holds"
