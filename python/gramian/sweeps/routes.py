"""From arguments to statistics: the gate for two or more arrays, and the cheaper of the two routes.

The feature route (`moments`) costs n·d² and needs linear kernels and arrays on the CPU, whose BLAS it runs in; the Gram
route (`gram`) costs n²·d and takes any kernel where the arrays lie. On a CUDA device it is always taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Distance, Kernel, Linear, as_kernel
from gramian.once import once
from gramian.progress import Progress, phase
from gramian.rows.arrays import Matrix, about_least, check_budget, one_of, require_rows, same_device, same_rows
from gramian.rows.sources import matrix
from gramian.sweeps import estimators, gram
from gramian.sweeps.centred import (
    centred_row_products,
    centred_squares,
    feature_route,
    feature_statistics,
    raw_row_products,
)
from gramian.sweeps.estimators import Estimator, Measure
from gramian.sweeps.gram import GramMoments
from gramian.sweeps.moments import TOO_FEW_DIGITS, TRUSTED, FeatureMoments
from gramian.sweeps.products import RowProducts, multiply_hollow, sweep_products
from gramian.sweeps.represent import Precision, Representation, represented_all
from gramian.sweeps.statistics import Statistics

Array: TypeAlias = npt.NDArray[np.float64]

ERROR_SWEEPS: dict[Measure, float] = {"cka": 1.0, "hsic": 1.0, "kernel_alignment": 3.0}  # that a standard error takes
_TOO_FEW = "these sums hold too few digits of kernels that are nearly the same for all pairs of rows; give the arrays"


@dataclass(frozen=True, eq=False)
class Paired:
    """Arrays of the same samples, each with its kernel, and how much they may cost."""

    xs: tuple[Representation, ...]
    precision: Precision
    memory: int | None
    progress: Progress | None  # in units of a sweep over all of them
    split: int = 0  # 0, or the first so many meet the others alone: statistics of all other pairs are nan

    @property
    def n(self) -> int:
        return self.xs[0].n

    @property
    def matrices(self) -> list[Matrix]:
        return [x.parts[0] for x in self.xs]

    @property
    def kernels(self) -> list[Kernel]:
        return [x.kernel for x in self.xs]

    def moved(self) -> Paired:
        """The same without the least entries of columns of integers that float64 would round; mostly this itself.

        For measures that do not change when all rows move: all but `kernel_alignment`.
        """
        if not all(isinstance(k, Linear | Distance) for k in self.kernels):
            return self  # a kernel of differences has it done already; all others change
        rows = [about_least([x])[0] for x in self.matrices]
        if all(a is b for a, b in zip(rows, self.matrices, strict=True)):
            return self
        return replace(self, xs=tuple(replace(x, parts=(m,)) for x, m in zip(self.xs, rows, strict=True)))

    @property
    def by_features(self) -> bool:
        """Whether the feature route was taken: it is cheaper, it fits, and it has the digits."""
        return self._feature_statistics is not None

    @once
    def _feature_statistics(self) -> Statistics | None:
        if not feature_route(self.matrices, self.kernels, self.memory):
            return None
        s = feature_statistics(self.matrices, self.kernels, split=self.split, progress=phase(self.progress, "features"))
        return s if estimators.resolved(s) else None

    @once
    def gram(self) -> GramMoments:
        """The Gram sweep, made once."""
        return gram.stable_moments(
            self.xs, split=self.split, precision=self.precision, memory=self.memory, progress=self.progress
        )

    @property
    def as_swept(self) -> list[Representation]:
        """The rows as the Gram sweep took them."""
        return gram.as_swept(self.xs, self.gram)

    def products(self, shift: Array, base: npt.NDArray[np.int32]) -> RowProducts:
        """The second pass, around a shift, (m, n) or (m, 2, n), in scaled units."""
        return sweep_products(
            self.as_swept, shift, base, precision=self.precision, memory=self.memory, progress=self.progress
        )

    @once
    def statistics(self) -> Statistics:
        """By the cheaper route, made once."""
        found = self._feature_statistics
        return replace(self.gram.statistics() if found is None else found, xs=self.xs)

    @once
    def centred_diagonals(self) -> Array:
        """(m, n) K̄_ii, in the units of `Statistics`."""
        if self.by_features:
            return np.stack([centred_squares(x, k) for x, k in zip(self.matrices, self.kernels, strict=True)])
        g = self.gram
        full = g.scaled_rows + g.scaled_diagonal
        return cast("Array", g.scaled_diagonal - 2 / g.n * full + full.sum(axis=1, keepdims=True) / g.n**2)


def paired(
    X: object,
    Y: object,
    kernel: Kernel | str,
    kernel_y: Kernel | str | None,
    *,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Paired:
    """Two arrays through the gate."""
    return gathered(
        [X, Y],
        ["X", "Y"],
        [(kernel, "kernel"), (kernel, "kernel") if kernel_y is None else (kernel_y, "kernel_y")],
        precision=precision,
        memory=memory,
        progress=progress,
    )


def gathered(
    arrays: Sequence[object],
    names: Sequence[str],
    kernels: Sequence[tuple[Kernel | str, str]],
    *,
    split: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Paired:
    """Any number of arrays through the gate; with a split only the first so many meet the others, and each itself."""
    one_of(precision, get_args(Precision), "precision")
    check_budget(memory, progress)
    opened = [matrix(x, name) for x, name in zip(arrays, names, strict=True)]
    same_rows(opened, names)
    same_device(opened, names)
    require_rows(opened[0].n, 2, "a comparison")
    return Paired(tuple(represented_all(opened, kernels, progress)), precision, memory, progress, split)


def sums_of_both(
    X: object,
    Y: object | None,
    kernel: Kernel | str | None,
    kernel_y: Kernel | str | None,
    measure: str,
    *,
    of: str | None = None,
) -> Statistics | None:
    """The statistics of two arrays, where sums of both came in place of X; None where arrays came.

    `of` says what kernels the measure is made of, where the caller has no choice of them.

    Raises
    ------
    TypeError, ValueError
        One of the two is missing or too many, or a kernel was asked for that the sums are not of.
    """
    if not isinstance(X, GramMoments | FeatureMoments):
        if Y is None:
            raise TypeError(
                f"{measure} needs X and Y, or GramMoments or FeatureMoments of both in place of X; Y is missing"
            )
        return None
    kind = type(X).__name__
    if Y is not None:
        raise ValueError(f"{measure} takes {kind} alone, they hold both arrays; leave Y out")
    held = X.kernels if isinstance(X, GramMoments) else (Linear(), Linear())[: 1 + bool(X.yy.size)]
    if len(held) != 2:
        alone = "X alone" if len(held) == 1 else f"{len(held)} arrays"
        raise ValueError(f"{measure} needs two arrays; these {kind} hold {alone}")
    asked = [(kernel, "kernel"), (kernel, "kernel") if kernel_y is None else (kernel_y, "kernel_y")]
    for (given, argument), own, name in zip(asked, held, "XY", strict=True):
        if given is not None and not fits(as_kernel(given, argument), own):
            if of is not None:
                raise ValueError(
                    f"{measure} is made of {of}, but {kind} hold sums of {own!r} for {name}; give "
                    f"gram_moments(X, Y, kernel={given!r})"
                )
            raise ValueError(
                f"{argument} is {given!r}, but {kind} hold sums of {own!r} for {name}; leave {argument} out, or make "
                "sums of that kernel: gram_moments(X, Y, kernel=...)"
            )
    return X.statistics()


def fits(asked: Kernel, held: Kernel) -> bool:
    """Whether a kernel is the one asked for, parameters that were left open being any."""
    return type(asked) is type(held) and all(
        getattr(asked, f.name) in (None, getattr(held, f.name)) for f in fields(asked)
    )


def value_of_sums(X: object, s: Statistics, measure: Measure, estimator: Estimator) -> tuple[float, str | None]:
    """A measure from the statistics that X holds, and the reason if it is nan: they are not made again from rows."""
    estimators.check_estimator(estimator, measure, s.n)
    number, reason = estimators.value(s, measure, estimator)
    if reason is None and isinstance(X, FeatureMoments) and not X.trusted(s, measure, estimator):
        return math.nan, TOO_FEW_DIGITS
    if reason is None and isinstance(X, GramMoments):
        own = np.diag(s.matrix(measure, estimator))
        if ((own != 0) & (own < np.square(s.rounding / TRUSTED))).any():
            return math.nan, _TOO_FEW
    return number, reason


def standard_error(pair: Paired, measure: Measure) -> float:
    """Asymptotic standard error of a measure of two arrays; a second pass. nan where the measure is."""
    n, s = pair.n, pair.statistics
    if n < 4:
        return math.nan
    if measure != "hsic" and math.isnan(estimators.value(s, measure, "unbiased")[0]):
        return math.nan
    if measure == "kernel_alignment":
        if pair.by_features:
            told = phase(pair.progress, "errors", ERROR_SWEEPS[measure])
            return estimators.standard_error_alignment(raw_row_products(pair.matrices, pair.kernels, told), n)
        return estimators.standard_error_from_differences(*_squares_of_differences(pair), n)
    if pair.by_features:
        told = phase(pair.progress, "errors", ERROR_SWEEPS[measure])
        sums, exponent = centred_row_products(pair.matrices, pair.kernels, told), s.exponent
    else:
        g = pair.gram
        centre = gram.moved_shift(g, gram.half_offsets(g, hollow=True))
        products = pair.products(centre, g.base)
        sums, exponent = products.row_sums, products.exponent
    error = estimators.standard_error_centred(sums, n, measure)
    return error if measure == "cka" else estimators.scaled(error, int(exponent.sum()))


def _squares_of_differences(pair: Paired) -> tuple[Array, Array]:
    """Row sums of D² and of K², L², for K and L scaled to mean square 1 and D = K − L; diagonals left out.

    From values v around the sweep's shift a, K_ij = v_ij + a_i + a_j: the tiles hold v alone, whatever the size of a.
    """
    g, n = pair.gram, pair.n
    unit = 1 / np.sqrt(np.diag(g.scaled_unshifted()) / (n * (n - 1)))[:, None]
    shift = unit * np.ldexp(g.scaled_shift, -g.excess[:, None])
    unit = np.ldexp(unit, -g.excess[:, None])
    rows = unit * g.scaled_rows
    products = pair.products(gram.moved_shift(g), g.base).row_sums * np.outer(unit, unit)[np.triu_indices(2)][:, None]
    difference = shift[0] - shift[1]
    times = [  # (n, 2): the values times the difference, and times the representation's own shift
        scale
        * multiply_hollow(
            x,
            np.stack([difference, a], axis=1),
            precision=pair.precision,
            memory=pair.memory,
            progress=phase(pair.progress, ""),
        )
        for x, a, scale in zip(gram.shifted(pair.as_swept, gram.moved_shift(g), g.base), shift, unit, strict=True)
    ]

    def square(products: Array, a: Array, rows: Array, times: Array) -> Array:
        """Σ_j (v_ij + a_i + a_j)² over j ≠ i."""
        own = (n - 1) * a**2 + 2 * a * (a.sum() - a) + (np.vdot(a, a) - a**2)
        return cast("Array", products + 2 * a * rows + 2 * times + own)

    differences = square(
        products[0] - 2 * products[1] + products[2], difference, rows[0] - rows[1], times[0][:, 0] - times[1][:, 0]
    )
    return differences, np.stack([square(products[2 * q], shift[q], rows[q], times[q][:, 1]) for q in (0, 1)])
