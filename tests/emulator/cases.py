"""Sweeps on the emulated device: what goes in, what has to come out, and which of all cases to run."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from unittest.mock import patch

import ml_dtypes
import numpy as np
from scipy.spatial import distance

import oracle
from accuracy import hard_pair
from oracle import Array

Parameters = Mapping[str, float]
Raw = Mapping[str, Any]  # what core.sweep returns

# by the name of a case: the kernel function and its parameters, for d features
KERNELS: dict[str, Callable[[int], tuple[str, Parameters]]] = {
    "linear": lambda d: ("linear", {}),
    "cosine": lambda d: ("cosine", {}),
    "polynomial": lambda d: ("polynomial", {"degree": 3, "scale": 1 / d, "offset": 0.5}),
    "rbf": lambda d: ("rbf", {"bandwidth": 4.0}),
    "rbf_narrow": lambda d: ("rbf", {"bandwidth": 1.0}),
    "exponential": lambda d: ("exponential", {"bandwidth": 4.0}),
    "laplacian": lambda d: ("laplacian", {"bandwidth": 1 + 2 * math.sqrt(d)}),
    "rational_quadratic": lambda d: ("rational_quadratic", {"bandwidth": 4.0, "alpha": 0.7}),
    "arc_cosine_0": lambda d: ("arc_cosine", {"order": 0}),
    "arc_cosine_1": lambda d: ("arc_cosine", {"order": 1}),
    "distance": lambda d: ("distance", {}),
    "squared_distance": lambda d: ("squared_distance", {}),
    "cosine_distance": lambda d: ("cosine_distance", {}),
    "manhattan_distance": lambda d: ("manhattan_distance", {}),
}
FACTORS: dict[str, tuple[Any, ...]] = {
    "kernel": tuple(name for name in KERNELS if name != "manhattan_distance"),  # which has no moments, only neighbours
    "m": (2, 3),
    "source": (80, 90),
    "n": (127, 128, 129, 600, 2049),
    "d": (1, 63, 64, 65, 640),
    "multiprocessors": (1, 2, 7),
    "seed": (0, 1, 2),
}
SCHEDULES = tuple(itertools.product(FACTORS["multiprocessors"], FACTORS["seed"]))
WIDTHS = {1: 65, 63: 1, 64: 63, 65: 64, 128: 128, 640: 100}  # of the second representation, by the first's
TYPES = {"bfloat16": ml_dtypes.bfloat16}  # what NumPy knows by name needs no entry


@dataclass(frozen=True)
class Case:
    kernel: str  # of all of two representations, of the first of more
    m: int
    source: int  # compute capability, and so the tile kernels
    n: int
    d: int
    dtype: str = "float32"

    @property
    def kernels(self) -> tuple[str, ...]:
        names = tuple(KERNELS)
        step = 0 if self.m < 3 else 4
        return tuple(names[(names.index(self.kernel) + step * p) % len(names)] for p in range(self.m))

    @property
    def id(self) -> str:
        values = {**asdict(self), "source": f"sm_{self.source}"}
        return "-".join(str(value) for value in values.values() if value != "float32")

    def data(self) -> list[Array]:
        return [rows(self.n, self.d, p, self.dtype) for p in range(self.m)]

    def grams(self) -> list[Array]:
        return [gram_of_rows(k, self.n, self.d, p, self.dtype) for p, k in enumerate(self.kernels)]


# ---- data and truth --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def rows(n: int, d: int, p: int, dtype: str) -> Array:
    """Representation p of a case: hard_pair's, and from the third on with few features.

    16-bit rows are 16-byte aligned, with NaN between one row's end and the next.
    """
    width = WIDTHS[d] if p < 2 else 5 + p
    first, second = (d, width) if p < 2 else (width, width)
    x = hard_pair(n, first, second, seed=p // 2, dtype=dtype)[p % 2].astype(TYPES.get(dtype, dtype))
    if x.itemsize > 2:
        return x
    wide = np.full((n, (x.shape[1] + 15) // 8 * 8), np.nan, x.dtype)
    wide[:, : x.shape[1]] = x
    return wide[:, : x.shape[1]]


@lru_cache(maxsize=12)
def gram_of_rows(kernel: str, n: int, d: int, p: int, dtype: str) -> Array:
    x = rows(n, d, p, dtype)
    return gram(x, *KERNELS[kernel](x.shape[1]))


def gram(X: Array, name: str, parameters: Parameters) -> Array:
    """K (n, n) by the oracle's formulas in float64, with SciPy's distances in place of its loop over features."""
    X = X.astype(np.float64)
    fast = {
        "squared_distances": lambda X, Z: distance.cdist(X, Z, "sqeuclidean"),
        "l1_distances": lambda X, Z: distance.cdist(X, Z, "cityblock"),
    }
    with patch.multiple(oracle, **fast):
        if name == "manhattan_distance":  # −‖x − y‖₁ and −d²/2 are no public kernels
            return -oracle.l1_distances(X, X)
        if name in ("squared_distance", "cosine_distance"):
            U = X if name == "squared_distance" else oracle.unit_rows(X)
            return -0.5 * oracle.squared_distances(U, U)
        return oracle.gram(name, X, **parameters)


# ---- sweeps ----------------------------------------------------------------------------------------------------------


def view(core: Any, x: Array, device: bool = True) -> Any:
    bfloat16 = x.dtype == ml_dtypes.bfloat16
    bits = x.view(np.uint16) if bfloat16 else x
    if device:
        return core.View.on_device(bits, bfloat16=bfloat16)
    return core.View.from_bfloat16(bits) if bfloat16 else core.View.from_numpy(bits)


def represent(core: Any, kernel: tuple[str, Parameters], *parts: Array, device: bool = True, **given: Any) -> Any:
    """What core.sweep takes: rows, a kernel function, and if they are given `index`, `shift` and `base`."""
    function = core.KernelFunction(kernel[0], {name: float(value) for name, value in kernel[1].items()})
    views = [view(core, x, device) for x in parts]
    return views, function, given.get("index"), given.get("shift"), given.get("base", -1)


def sweep(core: Any, xs: Sequence[Array], kernels: Sequence[str], *, device: bool = True, **options: Any) -> Raw:
    """A sweep over representations of one part each, their kernels named as in KERNELS."""
    representations = [
        represent(core, KERNELS[name](x.shape[1]), x, device=device) for x, name in zip(xs, kernels, strict=True)
    ]
    return core.sweep(representations, **options)


def bits(raw: Raw) -> dict[str, bytes]:
    """All that a sweep has found, to the bit."""
    return {
        name: np.asarray(raw[name]).tobytes()
        for name in ("pairs", "squares", "difference", "rows", "shift", "diagonal", "exponent", "base", "rounding")
    }


def assert_same_bits(got: Raw, want: Raw) -> None:
    differ = [name for name, value in bits(want).items() if bits(got)[name] != value]
    assert not differ, f"other bits: {differ}"


class Errors(NamedTuple):
    pairs: float  # of Σ K_p·K_q, in units of √(Σ K_p²·Σ K_q²)
    values: float  # of the same sums of shifted values, in their own units
    rows: float  # of Σ_j v, in units of n·max |K|
    diagonal: float  # of K_ii, in units of max |K|


def physical(raw: Raw) -> tuple[Array, Array]:
    """(m,) units of the sweep's values, (m, n) shifts in the units of K."""
    units = 2.0 ** raw["exponent"].astype(float)
    return units, np.stack(raw["shift"]) * units[:, None]


def shifted(K: Array, shift: Array) -> Array:
    """v off the diagonal, which is zero."""
    return oracle.hollow(K - shift[:, None] - shift[None, :])


def errors_of(core: Any, raw: Raw, grams: Sequence[Array]) -> Errors:
    """Of a sweep's moments, against explicit sums over n×n matrices in float64."""
    n, (units, shift) = len(grams[0]), physical(raw)
    V = [shifted(K, s) for K, s in zip(grams, shift, strict=True)]
    K = [oracle.hollow(K) for K in grams]
    found = core.fixed_values(raw["pairs"])
    row_sums = core.fixed_values(raw["rows"]) * units[:, None]
    pairs = values = 0.0
    for (p, q), sum_of_values in zip(itertools.combinations_with_replacement(range(len(V)), 2), found, strict=True):
        got = sum_of_values * units[p] * units[q]
        values = max(values, relative(got, *(np.vdot(A, B) for A, B in ((V[p], V[q]), (V[p], V[p]), (V[q], V[q])))))
        s, t = shift[p], shift[q]  # Σ (v_p + s_i + s_j)(v_q + t_i + t_j)
        got += 2 * (row_sums[p] @ t + row_sums[q] @ s + (n - 2) * (s @ t) + s.sum() * t.sum())
        pairs = max(pairs, relative(got, *(np.vdot(A, B) for A, B in ((K[p], K[q]), (K[p], K[p]), (K[q], K[q])))))
    diagonal = np.stack(raw["diagonal"]) * units[:, None] + 2 * shift
    largest = [np.abs(A).max() or 1.0 for A in grams]
    return Errors(
        pairs,
        values,
        max(float(np.abs(r - A.sum(1)).max() / (n * top)) for r, A, top in zip(row_sums, V, largest, strict=True)),
        max(float(np.abs(g - np.diag(A)).max() / top) for g, A, top in zip(diagonal, grams, largest, strict=True)),
    )


def relative(got: float, want: float, square: float, other: float) -> float:
    scale = math.sqrt(square * other)
    return abs(got - want) / scale if scale > 0 else abs(got - want)


def run(core: Any, case: Case, multiprocessors: int, seed: int, **options: Any) -> Raw:
    core.emulator.configure(capability=case.source, multiprocessors=multiprocessors, seed=seed)
    return sweep(core, case.data(), case.kernels, **options)


def judge(core: Any, case: Case, raw: Raw) -> Errors:
    """The errors of a case's sums, none of them too large."""
    errors = errors_of(core, raw, case.grams())
    assert case.n > 1 or errors == (0, 0, 0, errors.diagonal), errors
    assert errors.pairs <= 1e-6, errors
    assert errors.values <= 1e-6, errors
    assert errors.rows <= 1e-6, errors
    assert errors.diagonal <= 1e-13, errors
    return errors


def check(core: Any, case: Case, schedules: Sequence[tuple[int, int]]) -> Errors:
    """Under several schedules, (multiprocessors, seed) each, a case has the same bits, and they are right."""
    first, *others = (run(core, case, *schedule) for schedule in schedules)
    for raw in others:
        assert_same_bits(raw, first)
    return judge(core, case, first)


# ---- which cases -----------------------------------------------------------------------------------------------------


def seconds(case: Case) -> float:
    """About what a run of it takes."""
    tiles = math.comb((case.n + 127) // 128 + 1, 2) * case.m
    step = {75: 1e-4, 80: 2.5e-3, 90: 4e-4}[case.source]
    return 0.03 + tiles * (3e-3 + step * 3 * ((case.d + 63) // 64))


def product(factors: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]


def covering(
    factors: Mapping[str, Sequence[Any]], cost: Callable[[dict[str, Any]], float], *, attempts: int = 40, seed: int = 0
) -> list[dict[str, Any]]:
    """Choices of a value for each factor, so that any two values of two factors are chosen together once at least.

    Greedy: from a pair that is missing, the other factors in random order, each the value that adds most pairs; of some
    attempts the one that adds most for its cost.
    """
    draw = random.Random(seed)
    missing = {
        frozenset([(a, x), (b, y)])
        for a, b in itertools.combinations(factors, 2)
        for x in factors[a]
        for y in factors[b]
    }
    order = sorted(missing, key=lambda pair: sorted(map(str, pair)))
    chosen = []

    def added(choice: Mapping[str, Any]) -> int:
        return sum(frozenset(pair) in missing for pair in itertools.combinations(choice.items(), 2))

    def attempt() -> dict[str, Any]:
        choice = dict(draw.choice([pair for pair in order if pair in missing]))
        for name in draw.sample(list(factors), len(factors)):
            if name not in choice:
                values = draw.sample(list(factors[name]), len(factors[name]))
                choice[name] = max(values, key=lambda value: added({**choice, name: value}))
        return {name: choice[name] for name in factors}

    while missing:
        best = max((attempt() for _ in range(attempts)), key=lambda choice: added(choice) - cost(choice))
        missing -= {frozenset(pair) for pair in itertools.combinations(best.items(), 2)}
        chosen.append(best)
    return chosen
