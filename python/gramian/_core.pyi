from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

__version__: str
COMPILER: str
CUDA_COMPILER: str
TILE_EDGE: int
KERNEL_FUNCTIONS: dict[str, dict[str, float | None]]

class View:
    @staticmethod
    def from_numpy(array: npt.NDArray[Any]) -> View: ...
    @staticmethod
    def from_bfloat16(bits: npt.NDArray[np.uint16]) -> View: ...
    @staticmethod
    def from_dlpack(capsule: object) -> View: ...
    @staticmethod
    def check_dlpack(capsule: object) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def cols(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...
    def first_nonfinite(self) -> int: ...

class KernelFunction:
    def __init__(self, name: str, parameters: dict[str, float]) -> None: ...

class _Device(TypedDict):
    index: int
    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int

class _Sweep(TypedDict):
    tiles: tuple[int, int]
    all_tiles: int
    exponent: npt.NDArray[np.int32]
    base: npt.NDArray[np.int32]
    rounding: npt.NDArray[np.float64]
    single: bool
    epsilon: float
    device_seconds: float
    shift: list[npt.NDArray[np.float64]]
    offset: list[npt.NDArray[np.float64]]
    rest: list[npt.NDArray[np.float64]]
    diagonal: list[npt.NDArray[np.float64]]
    pairs: npt.NDArray[np.uint64]
    squares: npt.NDArray[np.uint64]
    difference: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.uint64]
    index: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]

def sweep(
    representations: Sequence[
        tuple[list[View], KernelFunction, npt.NDArray[np.int64] | None, npt.NDArray[np.float64] | None, int]
    ],
    *,
    statistic: str = ...,
    precision: str = ...,
    shard: tuple[int, int] = ...,
    split: int = ...,
    weights: tuple[float, float] = ...,
    vectors: npt.NDArray[np.float64] | None = ...,
    neighbors: int = ...,
    wide: bool = ...,
    memory: int = ...,
    progress: Callable[[int, int], object] | None = ...,
) -> _Sweep: ...
def fixed_values(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]: ...
def fixed_add(a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]: ...
def pair_distances(
    parts: Sequence[View], i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], *, l1: bool
) -> npt.NDArray[np.float64]: ...
def rows_to_host(parts: Sequence[View], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]: ...
def cuda_devices() -> list[_Device]: ...
def cuda_status() -> str: ...
def threads() -> int: ...
def set_threads(count: int) -> None: ...
def available_cpus() -> int: ...
def instruction_set() -> str: ...
