"""The feature route: d×d moments in float64, for linear and cosine kernels of many samples.

It runs in NumPy's BLAS, on the CPU. The measures do not take it for arrays on a CUDA device, which the Gram route
compares where they lie; `feature_moments`, asked for by name, copies such arrays to the host block by block.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, one_bar, phase, tell
from gramian.reasons import told
from gramian.rows import statistics_files
from gramian.rows.arrays import Matrix, about_reference, check_budget, check_count, exact_beyond, same_device, same_rows
from gramian.rows.equality import Comparable
from gramian.rows.sources import matrix
from gramian.sweeps.centred import EPS, blocks, statistics_of, stored_roundings
from gramian.sweeps.estimators import Estimator, Measure, check_estimator, value
from gramian.sweeps.statistics import Statistics
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]

# digits after the leading one, and the exponent of the last digit of the smallest numbers
NOISE = 8 * float(np.finfo(np.float64).eps)  # of sums of squares, relative to what was summed
TRUSTED = 1e-3  # relative error up to which a value has digits that are right
CONCENTRATED = 8  # as many times more rows than hold the rounding of a column
UNDERFLOWED = (
    "some feature varies by less than 1e-151, so that its squares, which moments hold, are beyond float64; scale it"
)
CLOUDED = (
    "a few rows are so much larger than the others that moments cannot tell some directions of these from what those "
    "were rounded by when they were stored; give the arrays"
)
TOO_FEW_DIGITS = (
    "sums of squares hold half of the digits, and features that are ill-conditioned, far from the point that was "
    "subtracted, or nearly the same leave none of them; give the arrays"
)


@dataclass(frozen=True, eq=False)
class FeatureMoments(Comparable):
    """Second moments of paired features that merge: batches, shards and machines add.

    Sums are over x − reference_x and y − reference_y. Everything that debiasing needs is kept (Theory, 3.4), so linear
    HSIC and CKA, biased and unbiased, come from here at any number of rows.
    """

    n: int
    reference_x: Array  # (p,)
    reference_y: Array  # (q,)
    sum_x: Array  # (p,)
    sum_y: Array  # (q,)
    xx: Array  # (p, p) Σ x x'
    xy: Array  # (p, q)
    yy: Array  # (q, q)
    x_by_xx: Array  # (p,) Σ x |x|²
    x_by_yy: Array  # (p,) Σ x |y|²
    y_by_xx: Array  # (q,)
    y_by_yy: Array  # (q,)
    squares: Array  # (2,) Σ|x|², Σ|y|²
    square_products: Array  # (2, 2) Σ|x|⁴, Σ|x|²|y|², Σ|y|⁴
    rounding_x: Array  # (p,) Σ of squared roundings that X was stored with, 0 for float64: what is no direction of it
    rounding_y: Array  # (q,)
    digits_x: Array  # (3, p) of entries that were rounded: how many, Σ of log2 of their units, Σ of rounding⁴
    digits_y: Array  # (3, q)
    unseen_x: Array  # (p,) rows in batches where the column varied by so little that its squares are 0 in float64
    unseen_y: Array  # (q,)

    @staticmethod
    def empty(p: int, q: int = 0) -> FeatureMoments:
        """Moments of no rows yet, of p features of X and q of Y, for `update` to fill batch by batch.

        Examples
        --------
        >>> import numpy as np, gramian as gm
        >>> X = np.random.default_rng(0).standard_normal((1000, 5))
        >>> m = gm.FeatureMoments.empty(5, 2)
        >>> for i in range(0, 1000, 250):
        ...     m = m.update(X[i : i + 250], X[i : i + 250, :2])
        >>> abs(m.cka() - gm.cka(X, X[:, :2])) < 1e-12
        True
        """
        check_count(p, "p")
        check_count(q, "q", 0)
        shapes = _shapes(p, q)
        sums = {name: np.zeros(shapes[name]) for name in _SUMS}
        return FeatureMoments(n=0, reference_x=np.zeros(p), reference_y=np.zeros(q), **sums)

    def update(self, X: object, Y: object | None = None) -> FeatureMoments:
        """These moments with a batch of rows added; a new value."""
        # moments of no rows have no reference near the data: the first batch brings its own
        reference = (self.reference_x, self.reference_y) if self.n else None
        return self.merge(feature_moments(X, Y, reference=reference))

    def merge(self, other: FeatureMoments) -> FeatureMoments:
        """The moments of both sets of rows; a ValueError if their squares are beyond float64."""
        return self + other

    def __add__(self, other: FeatureMoments) -> FeatureMoments:
        if not isinstance(other, FeatureMoments):
            return NotImplemented
        for mine, theirs, name in (
            (self.reference_x, other.reference_x, "X"),
            (self.reference_y, other.reference_y, "Y"),
        ):
            if mine.shape != theirs.shape:
                raise ValueError(
                    f"{name} has {theirs.size} features here but {mine.size} there; moments of equal widths add"
                )
        if self.n == 0:
            return other
        moved = other.moved(self.reference_x, self.reference_y)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = {name: getattr(self, name) + getattr(moved, name) for name in _SUMS}
        for side in "xy":  # shards that are constant, each by itself
            mine, theirs = (getattr(m, f"reference_{side}") for m in (self, other))
            apart = np.abs(theirs - mine)
            sums[f"unseen_{side}"] += other.n * _unseen(apart, np.maximum(np.abs(mine), np.abs(theirs)))
        return check_squares(replace(self, n=self.n + moved.n, **sums))

    @np.errstate(over="ignore", invalid="ignore")  # `statistics` says so where it matters
    def moved(self, reference_x: Array, reference_y: Array) -> FeatureMoments:
        """The same rows about another reference."""
        return self.shifted(reference_x - self.reference_x, reference_y - self.reference_y)

    @np.errstate(over="ignore", invalid="ignore")
    def shifted(self, a: Array, b: Array) -> FeatureMoments:
        """The same rows about a reference as far from this one, however much larger that is."""
        if not (a.any() or b.any()):
            return self
        reference_x, reference_y = self.reference_x + a, self.reference_y + b
        n = self.n
        aa, bb = float(a @ a), float(b @ b)
        sx, sy = self.sum_x - n * a, self.sum_y - n * b
        p, q = self.squares
        # |x − a|² = |x|² − 2a·x + |a|²
        p_new = p - 2 * float(a @ self.sum_x) + n * aa
        q_new = q - 2 * float(b @ self.sum_y) + n * bb
        pp, pq, qq = self.square_products[0, 0], self.square_products[0, 1], self.square_products[1, 1]

        def vector(by: Array, second: Array, s: Array, c: Array, cc: float, off: Array, total: float) -> Array:
            # Σ (u − off)(|w|² − 2c·w + |c|²) with by = Σ u|w|², second = Σ u w', s = Σ u
            return by - 2 * second @ c + cc * s - off * total

        x_by_xx = vector(self.x_by_xx, self.xx, self.sum_x, a, aa, a, p_new)
        x_by_yy = vector(self.x_by_yy, self.xy, self.sum_x, b, bb, a, q_new)
        y_by_xx = vector(self.y_by_xx, self.xy.T, self.sum_y, a, aa, b, p_new)
        y_by_yy = vector(self.y_by_yy, self.yy, self.sum_y, b, bb, b, q_new)

        def product(
            u: float,
            su: float,
            sv: float,
            v_by_u: Array,
            v_by_v: Array,
            sum_u: Array,
            sum_v: Array,
            cross: Array,
            c: Array,
            e: Array,
        ) -> float:
            # Σ (|u|² − 2c·u + |c|²)(|v|² − 2e·v + |e|²): v_by_u = Σ v|u|², v_by_v = Σ u|v|², cross = Σ u v'
            cc, ee = float(c @ c), float(e @ e)
            return (
                u
                - 2 * float(e @ v_by_u)
                - 2 * float(c @ v_by_v)
                + 4 * float(c @ cross @ e)
                + ee * (su - 2 * float(c @ sum_u))
                + cc * (sv - 2 * float(e @ sum_v))
                + n * cc * ee
            )

        pq_new = product(pq, p, q, self.y_by_xx, self.x_by_yy, self.sum_x, self.sum_y, self.xy, a, b)
        return FeatureMoments(
            n=n,
            reference_x=reference_x,
            reference_y=reference_y,
            sum_x=sx,
            sum_y=sy,
            xx=_moved_second(self.xx, self.sum_x, self.sum_x, a, a, n),
            xy=_moved_second(self.xy, self.sum_x, self.sum_y, a, b, n),
            yy=_moved_second(self.yy, self.sum_y, self.sum_y, b, b, n),
            x_by_xx=x_by_xx,
            x_by_yy=x_by_yy,
            y_by_xx=y_by_xx,
            y_by_yy=y_by_yy,
            squares=np.array([p_new, q_new]),
            square_products=np.array(
                [
                    [product(pp, p, p, self.x_by_xx, self.x_by_xx, self.sum_x, self.sum_x, self.xx, a, a), pq_new],
                    [pq_new, product(qq, q, q, self.y_by_yy, self.y_by_yy, self.sum_y, self.sum_y, self.yy, b, b)],
                ]
            ),
            rounding_x=self.rounding_x,
            rounding_y=self.rounding_y,
            digits_x=self.digits_x,
            digits_y=self.digits_y,
            unseen_x=self.unseen_x,
            unseen_y=self.unseen_y,
        )

    def statistics(self) -> Statistics:
        """What the linear measures need; X alone counts twice."""
        if self.n < 2:
            raise ValueError(f"linear measures need at least 2 rows but the moments hold {self.n}")
        for name, square, reference in zip("XY", self.squares, (self.reference_x, self.reference_y), strict=True):
            length = math.sqrt(float(square) / self.n)
            largest = max(length, float(np.abs(reference).max(initial=0.0)))
            if length > 0 and not (length > _SMALLEST and largest < _LARGEST):
                raise ValueError(
                    f"rows of {name} are of size {length:.1g}: their fourth powers, which linear measures of moments "
                    f"need, are beyond float64; scale {name}"
                )
        c = self.shifted(self.sum_x / self.n, self.sum_y / self.n)
        references = self.reference_x, self.reference_y
        coarse = self.moved(*(np.where(exact_beyond(r), r, 0.0) for r in references))
        raw = self.moved(np.zeros_like(self.reference_x), np.zeros_like(self.reference_y))

        def norms(f: FeatureMoments) -> Array:
            cross = float(np.vdot(f.xy, f.xy))
            return np.array([[float(np.vdot(f.xx, f.xx)), cross], [cross, float(np.vdot(f.yy, f.yy))]])

        size = np.maximum(c.squares, 0.0) / self.n
        spread = np.sqrt(np.maximum(coarse.squares, 0.0) / self.n / np.maximum(1, [self.xx.shape[0], self.yy.shape[0]]))
        eps = float(np.finfo(np.float64).eps)
        return statistics_of(
            self.n,
            norms(c),
            norms(raw),
            c.squares,
            c.square_products,
            raw.square_products,
            np.zeros(2, dtype=np.int32),
            eps * (size + spread * np.sqrt(size)),
        )

    def cka(self, estimator: Estimator = "unbiased") -> float:
        """Linear CKA of the rows seen so far; nan with an `UndefinedWarning` where it is undefined."""
        return self._measure("cka", estimator)

    def hsic(self, estimator: Estimator = "unbiased") -> float:
        """Linear HSIC of the rows seen so far; nan with an `UndefinedWarning` where it is undefined."""
        return self._measure("hsic", estimator)

    def kernel_alignment(self, estimator: Estimator = "biased") -> float:
        """Linear (uncentred) kernel alignment of the rows seen so far."""
        return self._measure("kernel_alignment", estimator)

    def _measure(self, measure: Measure, estimator: Estimator) -> float:
        if self.yy.shape[0] == 0:
            raise ValueError(f"{measure} needs two arrays; these moments hold X alone")
        check_estimator(estimator, measure, self.n)
        found = self.statistics()
        number, reason = value(found, measure, estimator)
        if reason is None and not self.trusted(found, measure, estimator):
            number, reason = math.nan, TOO_FEW_DIGITS
        return told(number, reason, measure)

    def trusted(self, s: Statistics, measure: Measure, estimator: Estimator) -> bool:
        """Whether moving the sums from their reference to the mean, or to 0, left a measure with digits."""
        n, sums = self.n, s.matrix(measure, estimator)
        raw = measure == "kernel_alignment"
        shift = [
            np.linalg.norm(r if raw else total / n)
            for r, total in ((self.reference_x, self.sum_x), (self.reference_y, self.sum_y))
        ]
        summed = n * np.square(np.sqrt(self.squares / n) + shift)  # Σ|x|² at the size that it was rounded at
        inner = s.alignment_biased if raw else s.hsic_biased
        off = NOISE * (2 * n * np.sqrt(np.abs(inner)) * np.sqrt(np.multiply.outer(summed, summed)))
        if estimator == "unbiased":
            off += NOISE * np.multiply.outer(summed, summed) / n  # of Σ|x|²|y|²
            off += 0 if raw else 2 * NOISE * np.abs(np.multiply.outer(s.trace, summed)) / n**2
        size = np.sqrt(np.abs(np.diag(sums)))
        return bool((off / n**2 <= TRUSTED * np.multiply.outer(size, size)).all())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one .npz file with a checksum, by way of a temporary one beside it: all of it or none."""
        arrays = {name: getattr(self, name) for name in ("reference_x", "reference_y", *_SUMS)}
        statistics_files.save(path, "FeatureMoments", {"n": self.n}, arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> FeatureMoments:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is damaged, holds something else, or is of a version that this one does not read (files of 0.1.0
            had no checksum; compute the moments again). The message names the file.
        """
        return statistics_files.load(path, "FeatureMoments", _moments_from)

    def __repr__(self) -> str:
        return f"FeatureMoments(n={self.n}, p={self.xx.shape[0]}, q={self.yy.shape[0]})"


_LEAST_SIZE, _LEAST_SQUARE = 1e-151, 1e-300  # of rows whose squares have all digits of float64
_SMALLEST, _LARGEST = 1e-60, 1e60  # size of rows whose moments of fourth degree are within float64

_SUMS = (
    "sum_x", "sum_y", "xx", "xy", "yy", "x_by_xx", "x_by_yy", "y_by_xx", "y_by_yy", "squares", "square_products",
    "rounding_x", "rounding_y", "digits_x", "digits_y", "unseen_x", "unseen_y",
)  # fmt: skip


def _shapes(p: int, q: int) -> dict[str, tuple[int, ...]]:
    """Of every array that moments of p and q features hold."""
    x = dict.fromkeys(("reference_x", "sum_x", "x_by_xx", "x_by_yy", "rounding_x", "unseen_x"), (p,))
    y = dict.fromkeys(("reference_y", "sum_y", "y_by_xx", "y_by_yy", "rounding_y", "unseen_y"), (q,))
    both = {"xx": (p, p), "xy": (p, q), "yy": (q, q), "digits_x": (3, p), "digits_y": (3, q)}
    return {**x, **y, **both, "squares": (2,), "square_products": (2, 2)}


def _moments_from(values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> FeatureMoments:
    """Moments from a file, if they are of one shape; sums of high powers of large rows may be infinite."""
    n = values["n"]
    check_count(n, "n", 0)
    statistics_files.only(arrays, {"reference_x", "reference_y", *_SUMS})
    p, q = arrays["reference_x"].size, arrays["reference_y"].size
    shapes = _shapes(p, q)
    for name in arrays:
        statistics_files.checked(arrays, name, "float64", shapes[name])
    for name in ("reference_x", "reference_y"):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")
    for name in ("rounding_x", "rounding_y", "unseen_x", "unseen_y"):
        if not (arrays[name] >= 0).all():
            raise ValueError(f"{name} must be at least 0")
    for name in ("digits_x", "digits_y"):
        if not (np.isfinite(arrays[name][:2]).all() and (arrays[name][::2] >= 0).all()):
            raise ValueError(f"{name} are of no numbers")
    found = FeatureMoments(n=n, **arrays)
    _check_possible(found)
    return found


_LARGEST_COUNT = 1 << 53
_DIGITS_KEPT = 1e-6  # part of a sum, far above the rounding of any number of rows
_UNDERFLOW = 1e-290  # below which products have no digits
_FOURTH_POWERS = 1e140  # size of squares up to which sums of fourth degree are within float64


@np.errstate(all="ignore")  # large rows have infinite sums, tiny ones none
def _check_possible(m: FeatureMoments) -> None:
    """Raise unless sums could be those of some rows, by what all such sums obey; a few are infinite where rows are."""
    if m.n > _LARGEST_COUNT:
        raise ValueError(f"n is {m.n}, more rows than there are")
    # moments that were moved here have the rounding of what the move cancelled
    moved = [_DIGITS_KEPT * m.n * float(r @ r) + _UNDERFLOW for r in (m.reference_x, m.reference_y)]
    sides = (("x", m.sum_x, m.xx), ("y", m.sum_y, m.yy))
    for (name, total, second), slack, square in zip(sides, moved, m.squares, strict=True):
        own = np.diag(second)
        finite = np.isfinite(own)
        if not np.isfinite(total[finite]).all():
            raise ValueError(f"sum_{name} is not finite")
        if (own < -slack).any():
            raise ValueError(f"sums of squares of {name} must be at least 0")
        _check_products(f"{name}{name}", second, own, own, slack, slack)
        if not _near(
            second, second.T, np.sqrt(np.multiply.outer(np.maximum(own, 0), np.maximum(own, 0))) + slack / _DIGITS_KEPT
        )[np.ix_(finite, finite)].all():
            raise ValueError(f"{name}{name} is not symmetric")
        if not (np.square(total) <= m.n * (own * (1 + _DIGITS_KEPT) + slack))[finite].all():
            raise ValueError(f"sum_{name} is larger than the squares allow")
        if finite.all() and not _near(square, own.sum(), np.abs(own).sum() + own.size * slack / _DIGITS_KEPT):
            raise ValueError(f"squares are not the trace of {name}{name}")
    _check_products("xy", m.xy, np.diag(m.xx), np.diag(m.yy), *moved)
    _check_fourth(m, moved)


def _check_products(name: str, products: Array, xs: Array, ys: Array, slack_x: float, slack_y: float) -> None:
    """Raise unless |Σuv|² ≤ Σu² Σv², up to rounding."""
    both = np.multiply.outer(np.isfinite(xs), np.isfinite(ys))
    most = np.sqrt(np.maximum(xs, 0) + slack_x)[:, None] * np.sqrt(np.maximum(ys, 0) + slack_y)
    if not (np.abs(products) <= most * (1 + _DIGITS_KEPT))[both].all():
        raise ValueError(f"{name} is larger than the squares allow")


def _check_fourth(m: FeatureMoments, moved: list[float]) -> None:
    s, n = m.square_products, max(m.n, 1)
    names = ("x_by_xx", "x_by_yy", "y_by_xx", "y_by_yy", "square_products")
    if max(*np.abs(m.squares), *moved) < _FOURTH_POWERS and not all(np.isfinite(getattr(m, k)).all() for k in names):
        raise ValueError("sums of third or fourth degree are not finite, though those of squares are small")
    if not np.isfinite(s).all():
        return
    slack = [t * t / n / _DIGITS_KEPT + _UNDERFLOW for t in moved]
    if (
        s[0, 0] < -slack[0]
        or s[1, 1] < -slack[1]
        or not _near(s[0, 1], s[1, 0], abs(s[0, 1]) + math.sqrt(slack[0] * slack[1]))
    ):
        raise ValueError("square_products are not sums of products of squares")
    most = math.sqrt(max(s[0, 0], 0) + slack[0]) * math.sqrt(max(s[1, 1], 0) + slack[1])
    if abs(s[0, 1]) > most * (1 + _DIGITS_KEPT):
        raise ValueError("square_products are larger than the fourth powers allow")


def _near(a: Any, b: Any, size: Any) -> Any:
    return np.abs(a - b) <= _DIGITS_KEPT * size + _UNDERFLOW


def told_from(rounding: Array, digits: Array, n: int) -> tuple[Array, bool]:
    """(d,) Σ of squared roundings that a direction is told from; of nearly all rows, if a few hold most of it.

    What was stored of these few fits as it is, and takes no direction from the others.
    """
    count, logarithms, fourth = digits
    holding = np.divide(np.square(rounding), fourth, out=np.full(len(rounding), float(n)), where=fourth > 0)
    if not len(holding) or holding.min() * CONCENTRATED > n:
        return rounding, False
    typical = np.exp2(2 * logarithms / np.maximum(count, 1))  # a mean that a few rows do not move far
    return np.minimum(rounding, count * typical / 12), True


def unseen(m: FeatureMoments) -> tuple[bool, bool]:
    """Whether some feature of X, and of Y, varies, and its squares, which moments hold, do not."""
    sides = ((m.unseen_x, m.xx), (m.unseen_y, m.yy))
    x, y = (bool(((rows > 0) & (np.diag(second) < _LEAST_SQUARE)).any()) for rows, second in sides)
    return x, y


def _unseen(size: Array, whole: Array) -> npt.NDArray[np.bool_]:
    """(d,) which differences of numbers as large as `whole` are more than their rounding, and less than 1e-151."""
    return (size > 16 * EPS * whole) & (size < _LEAST_SIZE)


def _unseen_columns(rows: Array, large: Array, squares: Array) -> Array:
    """(d,) how many rows a column varied in, where it is `_unseen`; rows are `large` less a reference."""
    found = np.zeros(len(squares))
    small = np.flatnonzero(squares < _LEAST_SQUARE)
    if len(small):
        found[small] = len(rows) * _unseen(*(np.abs(z[:, small]).max(axis=0) for z in (rows, large)))
    return found


def check_squares(m: FeatureMoments) -> FeatureMoments:
    """The moments, whose sums of squares are numbers."""
    for name, second in (("X", m.xx), ("Y", m.yy)):
        if not np.isfinite(second).all():
            raise ValueError(
                f"squares of rows of {name}, which moments hold, add up to more than float64 has; scale {name}"
            )
    return m


def _moved_second(second: Array, su: Array, sv: Array, a: Array, b: Array, n: int) -> Array:
    """Σ (u − a)(v − b)'."""
    outer = np.multiply.outer
    return cast("Array", second - outer(su, b) - outer(a, sv) + n * outer(a, b))


@public
@one_bar
@np.errstate(over="ignore", invalid="ignore")  # `FeatureMoments.statistics` says so where it matters
def feature_moments(
    X: object,
    Y: object | None = None,
    *,
    reference: tuple[Array, Array] | None = None,
    progress: Progress | None = None,
) -> FeatureMoments:
    """Moments of features, for the linear measures of more rows than fit in memory.

    One pass: Σxx', Σxy', Σyy', and the sums with |x|² and |y|² that debiasing needs (Theory, 3.4, 3g).

    Parameters
    ----------
    X : array of shape (n, p)
    Y : array of shape (n, q), optional
        Row i of both is the same sample.
    reference : (p,) and (q,) arrays, optional
        Points near the data that are subtracted from it; the mean of the first rows when left out. Moments about
        different references add all the same.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

    Returns
    -------
    FeatureMoments

    Raises
    ------
    TypeError, ValueError
        Not finite float matrices, or row numbers differ; or squares of rows are beyond float64, above or below.

    Notes
    -----
    O(n·(p+q)²) time in BLAS, 8·(p+q)² bytes, all in float64 and on the CPU: of arrays on a CUDA device, blocks of 8 MB
    are copied to the host. Fourth powers of the rows must be within its range for linear CKA, HSIC and kernel
    alignment, which say so if they are not, squares for the measures of subspaces;
    and unbiased values lose digits if single rows hold nearly all of Σ‖x‖⁴ (`gramian.cka` notices and takes the other
    route). Where a reference far from the data, or features that squares cannot tell apart, leave a measure with fewer
    than three digits, it is nan with an `UndefinedWarning`. Moments of rows whose squares are beyond float64 do not
    add: a ValueError.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((1000, 5))
    >>> parts = [gm.feature_moments(X[i : i + 250], X[i : i + 250, :2]) for i in range(0, 1000, 250)]
    >>> whole = parts[0] + parts[1] + parts[2] + parts[3]
    >>> abs(whole.cka() - gm.cka(X, X[:, :2])) < 1e-12
    True
    """
    check_budget(None, progress)
    x = matrix(X, "X")
    y = None if Y is None else matrix(Y, "Y")
    if y is not None:
        same_rows([x, y], ["X", "Y"])
        same_device([x, y], ["X", "Y"])
    q = 0 if y is None else y.d
    spans = blocks(x.n, [x.d, q])

    def rows(start: int, stop: int) -> tuple[Array, Array]:
        return x.block(start, stop), (np.zeros((stop - start, 0)) if y is None else y.block(start, stop))

    if reference is None:
        first = rows(*spans[0])
        reference = (first[0].mean(axis=0), first[1].mean(axis=0))
    a, b = (np.asarray(r, dtype=np.float64) for r in reference)
    if a.shape != (x.d,) or b.shape != (q,):
        raise ValueError(f"reference has shapes {a.shape} and {b.shape}, the data needs ({x.d},) and ({q},)")
    moved = about_reference(x, a), y and about_reference(y, b)
    taken = [np.where(exact_beyond(r), 0.0, r) if m else r for r, m in zip((a, b), moved, strict=True)]
    x, y = moved[0] or x, moved[1] or y
    sums: dict[str, Array] = {}
    progress = phase(progress, "features")
    for start, stop in spans:
        u, v = rows(start, stop)
        dtypes = x.dtype, "float64" if y is None else y.dtype
        rounding = [stored_roundings(rows_of, dtype) for rows_of, dtype in zip((u, v), dtypes, strict=True)]
        large = u, v
        u, v = u - taken[0], v - taken[1]
        p2, q2 = np.einsum("ij,ij->i", u, u), np.einsum("ij,ij->i", v, v)
        squares = np.stack([p2, q2])
        batch = (
            u.sum(0),
            v.sum(0),
            u.T @ u,
            u.T @ v,
            v.T @ v,
            p2 @ u,
            q2 @ u,
            p2 @ v,
            q2 @ v,
            squares.sum(1),
            squares @ squares.T,
            *(found[0] for found in rounding),
            *(found[1:] for found in rounding),
        )
        seen = (np.diag(z) for z in batch[2:5:2])
        unseen = (_unseen_columns(*z) for z in zip((u, v), large, seen, strict=True))
        for name, term in zip(_SUMS, (*batch, *unseen), strict=True):
            sums[name] = sums[name] + term if name in sums else term
        tell(progress, stop, x.n)
    for name, side, second, about in (("X", x, sums["xx"], taken[0]), ("Y", y, sums["yy"], taken[1])):
        if (side is not None and np.trace(second) < _LEAST_SQUARE) or not np.isfinite(second).all():
            _check_size(name, side, about, bool(np.isfinite(second).all()))
    return FeatureMoments(n=x.n, reference_x=a, reference_y=b, **sums)


def _check_size(name: str, x: Matrix | None, about: Array, finite: bool) -> None:
    """Raise ValueError where squares of rows leave float64, unless rows are constant; a pass over them."""
    spans = [] if x is None else blocks(x.n, [x.d])
    size = whole = 0.0
    for start, stop in spans:
        rows = cast(Matrix, x).block(start, stop)
        size, whole = max(size, float(np.abs(rows - about).max())), max(whole, float(np.abs(rows).max()))
    if not finite or 16 * EPS * whole < size < _LEAST_SIZE:
        raise ValueError(
            f"rows of {name} are of size {size:.1g}: their squares, which moments hold, are beyond float64; "
            f"scale {name}"
        )
