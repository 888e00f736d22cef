"""What chance alone gives: the null distribution of any measure under permutation of the rows of Y."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian.inference import independence
from gramian.measures import registry, rsa_sums
from gramian.measures.registry import Agreement as Alternative, MeasureName
from gramian.progress import Progress, expect, one_bar, phase, tell
from gramian.reasons import heard
from gramian.results.plain import plain
from gramian.results.provenance import provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows.arrays import (
    Matrix,
    check_budget,
    check_count,
    check_number,
    check_seed,
    group_numbers,
    one_of,
    require_rows,
    same_rows,
)
from gramian.rows.sources import matrix
from gramian.show import axes
from gramian.sums import of_arrays
from gramian.sweeps import estimators, routes
from gramian.sweeps.estimators import DEFAULT_ESTIMATOR
from gramian.sweeps.permuted import PERMUTED, Index, permutation
from gramian.words import check_options, public

Array: TypeAlias = npt.NDArray[np.float64]

_SLACK = 16  # roundings of the largest value, which do not break a tie


@dataclass(frozen=True, eq=False)
class Null(Result):
    """A value beside what chance alone gives."""

    _derived = ("permutations",)

    value: float
    values: Array  # (permutations,)
    mean: float
    sd: float  # nan for a single permutation
    pvalue: float  # (1 + # at least as extreme) / (permutations + 1)
    z: float  # (value − mean) / sd
    corrected: float  # (value − mean) / (maximum − mean): 0 at chance, 1 at the maximum; nan without one
    maximum: float | None
    alternative: Alternative  # which values are extreme
    measure: str
    n: int
    groups: int | None  # how many, if rows were permuted within groups
    seed: int
    reason: str | None  # why something is nan

    @property
    def permutations(self) -> int:
        """How many there were."""
        return len(self.values)

    def __float__(self) -> float:
        return self.value

    def to_pandas(self) -> Any:
        """A Series of the values under permutation, with all other numbers in its ``attrs``."""
        values = imported_pandas().Series(self.values, name=self.measure)
        values.attrs.update(plain(self._facts()))
        return values

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        title: str | None = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw the values under permutation as a histogram with matplotlib, and the value beside them.

        ``limits`` are of the axis of values; z and p are written into the corner unless ``annotate`` is False. Returns
        the axes.
        """
        return axes.histogram(
            self.values,
            [(self.value, f"{self.measure} = {self.value:.4g}"), (self.mean, f"chance {self.mean:.4g}")],
            x_label=f"{self.measure}, n = {self.n}",
            ax=ax,
            title=title,
            limits=limits,
            annotate=None if annotate is False else f"z = {self.z:.3g}\np = {self.pvalue:.3g}",
        )

    def __repr__(self) -> str:
        within = "" if self.groups is None else f" within {self.groups} groups"
        return (
            f"Null({self.measure} = {self.value:.6g}, chance {self.mean:.6g} ± {self.sd:.3g}, z = {self.z:.3g}, "
            f"p = {self.pvalue:.3g}, {self.permutations} permutations{within})"
        )


@of_arrays
@public
@one_bar
def null(
    measure: MeasureName | Callable[..., float],
    X: object,
    Y: object,
    *,
    groups: object = None,
    permutations: int = 200,
    seed: int = 0,
    maximum: float | None = None,
    alternative: Alternative | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Null:
    """A measure of X and Y, and its distribution when the rows of Y are permuted.

    p = (1 + #{b: v_b ≥ v})/(B + 1) over permutations b = 1, ..., B; with `groups`, rows change places only with rows of
    their own group, which asks whether X and Y agree on more than the groups.

    Parameters
    ----------
    measure : str or callable
        The name of a measure, or any function of (X, Y) that returns a number; the package's own stand for their names.
    X : array of shape (n, p)
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file. Arrays on a CUDA device
        (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample.
    groups : n labels, optional
        Numbers or strings. Rows of a group that has no other row stay where they are.
    permutations : int
        B. The least p-value is 1/(B + 1).
    seed : int
        Permutation b depends on (seed, b), and on the groups, only: more permutations begin with the same ones.
    maximum : float, optional
        Value of perfect agreement, for `corrected`. Left out: 1 where a named measure has that maximum, else none.
    alternative : {"greater", "less"}, optional
        Which values speak of agreement. Left out: "less" for the named distances, else "greater".
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.
    **options
        Handed on to the measure.

    Returns
    -------
    Null
        ``.value``, ``.values`` (B,), ``.mean``, ``.sd``, ``.pvalue``, ``.z``, ``.corrected``; ``.reason`` of a nan,
        with what the measure would have warned of.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; no group has two rows.

    Notes
    -----
    B + 1 times the cost of the measure, and a copy of Y with its rows in the permuted order. CKA, HSIC and RSA by
    Pearson or cosine keep the sums that do not change: the products alone are swept, for 32 permutations at a time, and
    rows are read in the permuted order without a copy. The p-value is valid if all orders (within groups) are equally
    likely under the hypothesis. Source: Phipson, Smyth 2010; Theory, 9.4.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 10))
    >>> Y = X + 0.5 * rng.standard_normal((400, 10))  # the same, with noise
    >>> Z = rng.standard_normal((400, 10))  # unrelated
    >>> alike, chance = (gm.null("mutual_knn", X, other, permutations=99) for other in (Y, Z))
    >>> round(alike.value, 2), round(alike.mean, 3), alike.pvalue
    (0.38, 0.025, 0.01)
    >>> round(chance.value, 2), chance.pvalue > 0.05
    (0.02, True)
    """
    row = registry.known(measure)
    name = registry.name_of(measure)
    function = cast("Callable[..., float]", measure) if row is None else row.function
    if row is not None:
        check_options(options, function, null)
    if alternative is not None:
        one_of(alternative, get_args(Alternative), "alternative")
    permutations = check_count(permutations, "permutations")
    check_budget(None, progress)
    seed = check_seed(seed)
    if maximum is not None:
        maximum = check_number(maximum, "maximum")
        if not math.isfinite(maximum):
            raise ValueError(f"maximum must be a finite number, got {maximum}")
    x, y = matrix(X, "X"), matrix(Y, "Y")
    same_rows([x, y], ["X", "Y"])
    require_rows(x.n, 2, "a permutation")
    labels = _labels(groups, x, y)

    def order(b: int) -> Index:
        if labels is None:
            return permutation(x.n, seed, b)
        return _within(labels, seed, b)

    asked = _Asked(name, function, x, y, permutations, order, progress, options)
    with heard() as told:  # once here, in place of a warning for each permutation
        every = (_shortcut(asked, row) if row else None) or _recomputed(asked)
        value = next(every)
        values = np.array(list(every))
        if math.isnan(value) and not told:
            asked.function(x.owner, y.owner, **options)  # the ways that save sums do not all say why
    limit = float(maximum) if maximum is not None else row.maximum if row else None
    which = alternative or (row.agreement if row else "greater")
    widest = np.float64 if x.dtype == y.dtype == "float64" else np.float32
    slack = _SLACK * float(np.finfo(widest).eps) * max(abs(value), float(np.abs(values).max()))
    why = told[0] if told else None
    found = _summary(value, values, slack, name, x.n, labels, seed, limit, which, why)
    return replace(found, provenance=provenance({"X": x, "Y": y}, seed=seed))


def _labels(groups: object, x: Matrix, y: Matrix) -> Index | None:
    """(n,) the number of each row's group."""
    labels = group_numbers(groups, [x, y], ["X", "Y"])
    if labels is None:
        return None
    counts = np.bincount(labels)
    if counts.max() < 2:
        raise ValueError(f"groups leaves nothing to permute: each of its {len(counts)} groups has a single row")
    return labels


def _within(labels: Index, seed: int, b: int) -> Index:
    """Permutation b: a place in a group goes to a random row of that group."""
    drawn = np.random.default_rng([seed, b]).random(len(labels))
    order = np.empty(len(labels), dtype=np.int64)
    order[np.argsort(labels, kind="stable")] = np.lexsort((drawn, labels))
    return order


def _summary(
    value: float,
    values: Array,
    slack: float,
    name: str,
    n: int,
    labels: Index | None,
    seed: int,
    maximum: float | None,
    alternative: Alternative,
    why: str | None,  # what the measure says of the first nan
) -> Null:
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan
    extreme = values >= value - slack if alternative == "greater" else values <= value + slack
    reason = None
    if math.isnan(value) or math.isnan(mean):
        which = "these arrays" if math.isnan(value) else "some permutations"
        reason = f"{name} has no value for {which}" + (f": {why}" if why else "")
    elif not sd > slack:
        reason = "one permutation has no spread" if len(values) == 1 else "all permutations give the same value"
    undefined = math.isnan(value) or math.isnan(mean)
    room = math.nan if maximum is None else maximum - mean
    return Null(
        value=value,
        values=values,
        mean=mean,
        sd=sd,
        pvalue=math.nan if undefined else (1 + int(extreme.sum())) / (len(values) + 1),
        z=math.nan if reason else (value - mean) / sd,
        corrected=(value - mean) / room if abs(room) > slack else math.nan,
        maximum=maximum,
        alternative=alternative,
        measure=name,
        n=n,
        groups=None if labels is None else int(labels.max()) + 1,
        seed=seed,
        reason=reason,
    )


# ---- the values: first that of the rows as they are, then one for each permutation ----------------------------------


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is to be measured, and in which orders of the rows of y."""

    name: str
    function: Callable[..., float]
    x: Matrix
    y: Matrix
    count: int
    order: Callable[[int], Index]
    progress: Progress | None
    options: dict[str, Any]


def _recomputed(a: _Asked) -> Iterator[float]:
    told = phase(a.progress, "permutations", counted=True)
    yield registry.number(a.function(a.x.owner, a.y.owner, **a.options), a.name)
    rows = cast("Any", a.y.owner)
    for b in range(a.count):
        yield registry.number(a.function(a.x.owner, rows[a.order(b)], **a.options), a.name)
        tell(told, b + 1, a.count)


def _shortcut(a: _Asked, row: registry.Row) -> Iterator[float] | None:
    """For measures of which most sums do not change with the order."""
    given = dict(a.options)
    if row.kept == "kernel sums" and given.keys() <= {"kernel", "kernel_y", "estimator", "precision", "memory"}:
        measure = cast("Literal['cka', 'hsic']", row.name)
        estimator = given.pop("estimator", DEFAULT_ESTIMATOR[measure])
        kernel, kernel_y = given.pop("kernel", "linear"), given.pop("kernel_y", None)
        expect(a.progress, 1 + PERMUTED * a.count)
        pair = routes.paired(a.x, a.y, kernel, kernel_y, progress=a.progress, **given)
        estimators.check_estimator(estimator, measure, pair.n)
        return independence.permuted_values(pair, measure, estimator, a.count, a.order)
    sums = {"dissimilarity", "dissimilarity_y", "correlation", "precision", "memory"}
    if row.kept == "dissimilarity sums" and given.keys() <= sums and given.get("correlation") != "spearman":
        return rsa_sums.permuted_values(a.x, a.y, a.count, a.order, progress=a.progress, **given)
    return None
