"""The feature zoo: features as networks have them, on which every measure must be right, or nan with a reason.

Dead, constant, duplicated and near-duplicate units, units of sizes far apart, rows that are parallel or 0, a massive
activation, rectified and token-like data; in every dtype, with fewer, as many and more rows than features, and at means
up to a million spreads. A case's arrays are float64 values that its dtype holds exactly, so the truth of a case is the
float64 (or long double) oracle of these very values: what a dtype cannot hold is no part of the question.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from accuracy import DTYPES, as_input, rounded
from oracle import Array

Generator = np.random.Generator


def plain(rng: Generator, n: int, d: int) -> Array:
    return rng.standard_normal((n, d))


def dead(rng: Generator, n: int, d: int) -> Array:
    """A fifth of the units, at least one, are 0 in every row."""
    X = rng.standard_normal((n, d))
    X[:, rng.permutation(d)[: max(1, d // 5)]] = 0
    return X


def constant(rng: Generator, n: int, d: int) -> Array:
    X = rng.standard_normal((n, d))
    X[:, 0] = 3.7
    X[:, d // 2] = -0.1
    return X


def duplicated(rng: Generator, n: int, d: int) -> Array:
    X = rng.standard_normal((n, d))
    X[:, d // 2 :] = X[:, : d - d // 2]
    return X


def near_duplicate(rng: Generator, n: int, d: int) -> Array:
    """Half of the units are others times 1 + 2^-12, which all dtypes but the 16-bit ones hold."""
    X = rng.standard_normal((n, d))
    X[:, d // 2 :] = X[:, : d - d // 2] * (1 + 2.0**-12)
    return X


def tiny(rng: Generator, n: int, d: int) -> Array:
    X = rng.standard_normal((n, d))
    X[:, : max(1, d // 4)] *= 1e-12
    return X


def huge(rng: Generator, n: int, d: int) -> Array:
    """One unit in four is a million times as large as the others (60,000 times where the dtype ends there)."""
    X = rng.standard_normal((n, d))
    X[:, : max(1, d // 4)] *= 1e6
    return X


def one_feature(rng: Generator, n: int, d: int) -> Array:
    """Positive numbers: as directions, all rows are the same."""
    return np.abs(rng.standard_normal((n, 1))) + 0.1


def parallel_rows(rng: Generator, n: int, d: int) -> Array:
    return rng.uniform(0.1, 5, (n, 1)) * rng.standard_normal(d)


def rows_of_zeros(rng: Generator, n: int, d: int) -> Array:
    X = rng.standard_normal((n, d))
    X[rng.permutation(n)[: max(1, n // 5)]] = 0
    return X


def massive(rng: Generator, n: int, d: int) -> Array:
    """One dimension is 2,000 in a few rows, as the first tokens of language models have it."""
    X = rng.standard_normal((n, d))
    X[rng.permutation(n)[: max(1, n // 30)], d // 3] = 2000
    return X


def relu(rng: Generator, n: int, d: int) -> Array:
    """Rectified units with a shared factor; some never fire and some rarely do."""
    bias = rng.choice([-6.0, -1.5, 0.0, 0.5], d, p=[0.15, 0.15, 0.4, 0.3])
    shared = np.maximum(0, rng.standard_normal((n, 1))) * rng.uniform(0, 8, d) * (bias > -6)
    return np.maximum(0, rng.standard_normal((n, d)) + bias) * rng.uniform(0.5, 2, d) + shared


def gelu(rng: Generator, n: int, d: int) -> Array:
    """Units deep in the negative tail: values from -1e-9 to a few."""
    h = rng.standard_normal((n, d)) + rng.choice([-7.0, -3.0, 0.0], d)
    return 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))


def tokens(rng: Generator, n: int, d: int) -> Array:
    """Rows repeat as words do, around a common mean."""
    words = rng.standard_normal((max(3, n // 4), d)) * 0.05 + rng.standard_normal(d)
    return words[np.minimum(rng.zipf(1.5, n) - 1, len(words) - 1)]


def equal_rows(rng: Generator, n: int, d: int) -> Array:
    """A constant layer: nothing can be said of it."""
    return np.broadcast_to(rng.standard_normal(d), (n, d)).copy()


FEATURES: dict[str, Callable[[Generator, int, int], Array]] = {
    f.__name__: f
    for f in (
        plain, dead, constant, duplicated, near_duplicate, tiny, huge, one_feature, parallel_rows, rows_of_zeros,
        massive, relu, gelu, tokens, equal_rows,
    )
}  # fmt: skip
SHAPES = ((20, 33), (24, 24), (90, 17))  # n < d, n = d, n > d
MEANS = (0.0, 1.0, 1e3, 1e6)  # in spreads of the features
_LARGEST = {"float16": 6e4}


@dataclass(frozen=True)
class Case:
    """One kind of features X beside features Y that depend on them, in one dtype."""

    features: str
    dtype: str
    n: int
    d: int
    mean: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.features}-{self.dtype}-{self.n}x{self.d}" + (f"-mean{self.mean:g}" if self.mean else "")

    @property
    def arrays(self) -> tuple[Array, Array]:
        """X (n, d) and Y (n, 8) as float64 values that the dtype holds.

        Y is a smooth function of X and noise, with one dead unit, and at the same mean.
        """
        rng = np.random.default_rng((sorted(FEATURES).index(self.features), self.n, self.d, self.seed))
        X = FEATURES[self.features](rng, self.n, self.d)
        size = np.abs(X).max() or 1.0
        Y = np.tanh(2 * X / size @ rng.standard_normal((X.shape[1], 8))) + 0.3 * rng.standard_normal((self.n, 8))
        Y[:, 3] = 0
        X, Y = X + self.mean * _spread(X), Y + self.mean * (np.arange(8) != 3)
        top = _LARGEST.get(self.dtype, np.inf)
        return rounded(np.clip(X, -top, top), self.dtype), rounded(np.clip(Y, -top, top), self.dtype)

    @property
    def inputs(self) -> tuple[Any, Any]:
        """The same as a caller holds them: NumPy arrays, torch tensors for bfloat16."""
        X, Y = self.arrays
        return as_input(X, self.dtype), as_input(Y, self.dtype)


def _spread(X: Array) -> Array:
    """(d,) of the units that are not constant; 0 of the others, which stay where they are."""
    return X.std(axis=0)


def cases(
    *, means: tuple[float, ...] = (0.0,), dtypes: tuple[str, ...] = DTYPES, shapes: tuple[tuple[int, int], ...] = SHAPES
) -> Iterator[Case]:
    """The whole zoo, kind by kind; `means` beyond 0 on request, since they multiply it.

    In a dtype that cannot hold a spread at such a mean, nearly all features become constants, which is a case too.
    """
    for features, dtype, (n, d), mean in itertools.product(FEATURES, dtypes, shapes, means):
        if mean > _LARGEST.get(dtype, np.inf) / 10:
            continue  # beyond float16
        yield Case(features, dtype, n, d, mean)
