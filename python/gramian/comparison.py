"""The main job: two representations, every measure, with what is needed to read the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias, cast, get_args

from gramian.inference import independence, permutation
from gramian.inference.estimates import estimate
from gramian.inference.independence import Method
from gramian.kernels import Kernel, KernelName, as_kernel, parameters
from gramian.measures import kernel as metrics, registry
from gramian.measures.registry import MeasureName, Row
from gramian.progress import Progress, expect, one_bar, phase
from gramian.reasons import heard
from gramian.results.keys import unknown
from gramian.results.plain import is_kernel
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows.arrays import Matrix, check_budget, check_count, one_of, require_rows
from gramian.show.tables import Listing, shown
from gramian.sums import of_arrays
from gramian.sweeps import estimators, routes
from gramian.sweeps.estimators import DEFAULT_ESTIMATOR, Estimator, Measure
from gramian.sweeps.permuted import PERMUTED
from gramian.sweeps.represent import Precision
from gramian.sweeps.routes import Paired
from gramian.words import check_options, public

_Named: TypeAlias = MeasureName | Callable[..., float]
Measures: TypeAlias = _Named | Sequence[_Named] | Mapping[Any, Mapping[str, Any]]  # to options

_ALWAYS = (*estimators.MEASURES, "distance_alignment")


@dataclass(frozen=True, eq=False)
class ComparisonRow(Result):
    """One measure under one kernel."""

    measure: str
    estimator: str
    kernel: str  # with the resolved bandwidths
    value: float
    se: float | None
    ci: tuple[float, float] | None
    pvalue: float | None
    null: float | None  # mean over shuffled pairings of the rows
    floor: float | None  # expected value for independent data
    reason: str | None  # why the value is nan, or else why its error or its p-value is

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True, eq=False)
class Comparison(Result):
    """Every measure of two representations."""

    rows: tuple[ComparisonRow, ...]
    n: int
    dx: int
    dy: int
    dtype: tuple[str, str]
    confidence: float
    method: str  # of the p-values
    shuffles: int  # behind each null
    seed: int

    def __getitem__(self, key: str | Kernel | tuple[str | Kernel, ...]) -> Any:
        """The row of a measure, or a Comparison of several: ``["cka"]``, ``["cka", "rbf"]``, ``["cka", "biased"]``.

        Beside the measure, or without one, come an estimator, a kernel, or both: a kernel as a row shows it, by any of
        its names ("gaussian"), or as an object, ``["cka", gm.RBF(1.0)]``. Without an estimator the measure's own
        default is meant, where it has one. Raises KeyError for what there is not, and lists what there is.
        """
        parts = key if isinstance(key, tuple) else (key,)
        for part in parts:
            if not isinstance(part, str) and not is_kernel(part):
                kind = type(part).__name__
                raise TypeError(f"a comparison is asked by names and kernels, as in ['cka', 'rbf'], not by {kind}")
        names = {r.measure for r in self.rows}
        measure = next((part for part in parts if isinstance(part, str) and part in names), None)
        rows = [r for r in self.rows if measure in (None, r.measure)]
        for part in parts:
            if measure is not None and part == measure:
                continue
            found = [r for r in rows if part in (r.estimator, r.kernel)] or [r for r in rows if _is(part, r.kernel)]
            if not found:
                raise self._unknown(part, measure, rows)
            rows = found
        if not parts:
            raise self._unknown("", None, rows)
        usual = {**DEFAULT_ESTIMATOR}.get(cast("Measure", measure))
        if measure is not None and not any(r.estimator in parts for r in rows):
            rows = [r for r in rows if r.estimator == usual] or rows
        return rows[0] if len(rows) == 1 else replace(self, rows=tuple(rows))

    def _unknown(self, part: str | Kernel, measure: str | None, rows: Sequence[ComparisonRow]) -> KeyError:
        kernels = list(dict.fromkeys(r.kernel for r in rows))
        short = [_name(kernel) for kernel in kernels]
        shown = [full if short.count(name) > 1 else name for full, name in zip(kernels, short, strict=True)]
        known = [*(r.measure if measure is None else r.estimator for r in rows), *shown]
        what = "measure or kernel" if measure is None else f"row of {measure} with"
        return unknown(part, (name for name in known if name != "-"), what)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ComparisonRow]:
        return iter(self.rows)

    def _listing(self) -> Listing:
        ends = [row.ci or (None, None) for row in self.rows]
        columns = {
            name: [getattr(row, name) for row in self.rows] for name in ("kernel", "measure", "estimator", "value")
        }
        columns |= {"se": [row.se for row in self.rows], "low": [a for a, _ in ends], "high": [b for _, b in ends]}
        columns |= {name: [getattr(row, name) for row in self.rows] for name in ("pvalue", "null", "floor", "reason")}
        return Listing(columns)

    def _shown_listing(self) -> Listing:
        columns: dict[str, list[Any]] = {"measure": [row.measure for row in self.rows]}
        columns["estimator"] = [None if row.estimator == "-" else row.estimator for row in self.rows]
        columns["value"] = [row.value for row in self.rows]
        ends = [None if row.ci is None or math.isnan(row.ci[0]) else row.ci for row in self.rows]
        columns["interval"] = [end and f"{shown(end[0])} to {shown(end[1])}" for end in ends]
        columns |= {"pvalue": [row.pvalue for row in self.rows], "shuffled": [row.null for row in self.rows]}
        columns |= {"chance": [row.floor for row in self.rows], "reason": [row.reason for row in self.rows]}
        return Listing(columns, ["" if row.kernel == "-" else row.kernel for row in self.rows], "kernel")

    def __str__(self) -> str:
        return table(self)


@of_arrays
@public
@one_bar
def compare(
    X: object,
    Y: object,
    kernel: Kernel | KernelName | Sequence[Kernel | KernelName] = ("linear", "rbf"),
    *,
    measures: Measures | None = None,
    confidence: float = 0.95,
    method: Method = "gamma",
    permutations: int = 1000,
    shuffles: int = 4,
    seed: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two representations by every measure, with intervals, p-values, the bias floor and a shuffled null.

    For each kernel: CKA and HSIC (unbiased, with standard error and interval), biased CKA beside the value that it has
    for independent data, kernel alignment, and the p-value of independence. Then distance alignment.

    Parameters
    ----------
    X : array of shape (n, p)
        Any float, integer or boolean array that is a NumPy array or speaks DLPack, a DataFrame or DataArray (rows with
        labels must have the same ones in X and Y), a list of rows, or the path of a file. Arrays on a CUDA device
        (torch, CuPy, JAX) are compared there; both must be on one device.
    Y : array of shape (n, q)
        Row i of both is the same sample.
    kernel : kernel, name, or a sequence of them
        "linear", "cosine", "rbf" (or "gaussian"), ..., or objects with parameters, ``gm.RBF(bandwidth=2.0)``. A
        bandwidth left open is the median distance of each array.
    measures : str, function, sequence of them, or dict of them to options, optional
        More measures, each beside its mean over shuffled pairings: by name (docs/measures.md lists them) or any
        function of (X, Y) that returns a number. ``["mutual_knn", gm.rsa]`` have their own defaults,
        ``{"mutual_knn": {"k": 5}, "rsa": {}}`` the options that are named.
    confidence : float
        Of the intervals.
    method : {"gamma", "permutation", "pearson3", "t", "chi2", "gretton"}
        Of the p-values; `independence_test` says what each is. "gamma" takes no further sweep.
    permutations, seed : int
        Of the permutation test; the seed also draws the shuffled null.
    shuffles : int
        Random pairings of the rows behind the null; 0 leaves it out.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch: on a CUDA device, inner products of float32 and 16-bit data are
        as accurate as float32 ("highest"), or keep 11 bits ("high") or 8 bits ("medium") of each feature, which is
        faster. On the CPU all three are computed as "highest", and float64 is float64 everywhere.
    memory : int, optional
        Bytes that scratch may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call: True shows tqdm's, in notebooks too; a bar of your own is updated and left open; a
        function is called with (done, total), and with the name of the phase if it has a parameter `phase`. What it
        raises stops the call.

    Returns
    -------
    Comparison
        ``.rows`` of `ComparisonRow`; ``print`` shows a table; ``.to_dict()`` for JSON.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed; n < 6.

    Notes
    -----
    About four sweeps a kernel (moments, products for the errors, the null), each at the cost of `cka`; for each further
    measure, 1 + `shuffles` times its own cost.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 4))
    >>> Y = X**2 + 0.1 * rng.standard_normal((200, 4))  # depends on X, but is not correlated with it
    >>> result = gm.compare(X, Y)  # print(result) shows the table
    >>> linear, gaussian = result["cka", "unbiased", "linear"], result["cka", "unbiased", "rbf"]
    >>> round(linear.value, 2) + 0.0, round(gaussian.value, 2), gaussian.pvalue < 1e-6
    (0.0, 0.16, True)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    shuffles = check_count(shuffles, "shuffles", 0)
    check_budget(memory, progress)
    listed = list(kernel) if isinstance(kernel, Sequence) and not isinstance(kernel, str) else [kernel]
    kernels = [as_kernel(k) for k in listed]
    if not kernels:
        raise ValueError("kernel is empty; name at least one")
    more = _further(measures)
    one_of(method, get_args(Method), "method")
    check_count(permutations, "permutations")
    # statistics and the test; errors of CKA, twice, HSIC and kernel alignment; the null
    errors = 3 * routes.ERROR_SWEEPS["cka"] + routes.ERROR_SWEEPS["kernel_alignment"]
    sweeps = independence.sweeps_of(method, permutations) + errors + PERMUTED * shuffles
    expect(progress, sweeps * len(kernels) + 2 + len(more) * (1 + shuffles))
    rows: list[ComparisonRow] = []
    pair: Paired | None = None
    resolved: list[Kernel] = []
    for k in kernels:
        told = phase(progress, k.name, sweeps)
        expect(told, sweeps)
        pair = routes.paired(
            X if pair is None else pair.matrices[0],
            Y if pair is None else pair.matrices[1],
            k,
            None,
            precision=precision,
            memory=memory,
            progress=told,
        )
        require_rows(pair.n, 6, "compare", "gramian.cka(..., estimator='biased')")
        rows += _rows(pair, confidence, method, permutations, shuffles, seed)
        resolved += pair.kernels
    assert pair is not None
    x, y = pair.matrices
    normalizations: tuple[metrics.Normalize, ...] = ("unit_diagonal", "hs_norm")
    for normalize in normalizations:
        with heard() as why:
            value = metrics.distance_alignment(
                x,
                y,
                normalize=normalize,
                precision=precision,
                memory=memory,
                progress=phase(progress, "distance_alignment"),
            )
        reason = why[0] if why else None
        rows.append(ComparisonRow("distance_alignment", normalize, "-", value, None, None, None, None, None, reason))
    for asked in more:
        told = phase(progress, asked.name, 1 + shuffles)
        rows.append(_measured(asked, x, y, shuffles, seed, told))
    return Comparison(
        tuple(rows),
        x.n,
        x.d,
        y.d,
        (x.dtype, y.dtype),
        confidence,
        method,
        shuffles,
        seed,
        provenance=provenance({"X": x, "Y": y}, resolved, seed),
    )


@dataclass(frozen=True)
class _Further:
    """A measure that was asked for, beside those that there always are."""

    name: str
    row: Row | None  # None of a function that is not this package's
    function: Callable[..., float]  # with its options, if it is not
    options: Mapping[str, Any]

    @property
    def variant(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items()) or "-"


def _further(measures: Measures | None) -> list[_Further]:
    """Without those that there are anyway, where nothing is asked of them."""
    if measures is None:
        return []
    listed: Iterable[Any] = [measures] if isinstance(measures, str) or callable(measures) else cast("Any", measures)
    if not isinstance(listed, Iterable):
        kind = type(measures).__name__
        raise TypeError(f"measures must be names or functions of (X, Y), or a dict of them to options, got {kind}")
    found = []
    for asked in listed:
        row = registry.known(asked, "measures")
        options = listed[asked] if isinstance(listed, Mapping) else {}
        name = registry.name_of(asked)
        if not isinstance(options, Mapping) or not all(isinstance(option, str) for option in options):
            raise TypeError(f"measures[{name!r}] must be a dict of options by name, got {options!r:.60}")
        if "progress" in options:
            raise TypeError(f"measures[{name!r}] has no bar of its own; give compare progress=")
        if row is not None:
            check_options(options, row.function)
        if options or row is None or row.name not in _ALWAYS:
            found.append(_Further(name, row, _with(asked, name, options) if row is None else row.function, options))
    return found


def _with(function: Any, name: str, options: Mapping[str, Any]) -> Callable[..., float]:
    """A function with its options, which may have the names of those of a null."""

    def called(X: object, Y: object) -> float:
        return registry.number(function(X, Y, **options), name)

    called.__name__ = name
    return called


def _measured(
    asked: _Further, x: Matrix, y: Matrix, shuffles: int, seed: int, progress: Progress | None
) -> ComparisonRow:
    """The measure, and what it is on average over shuffled pairings."""
    chance, reason = None, None
    options = asked.options if asked.row is not None else {}
    if shuffles:
        given: dict[str, Any] = {"permutations": shuffles, "seed": seed, "progress": progress}
        found = permutation.null(asked.function, x, y, **given, **options)
        value, chance = found.value, found.mean
        if math.isnan(value) and found.reason:
            reason = found.reason.removeprefix(f"{asked.name} has no value for these arrays").removeprefix(": ") or None
    else:
        with heard() as why:
            if asked.row is not None:
                options = {**options, "progress": progress}
            value = asked.function(x.owner, y.owner, **options)
        reason = why[0] if why else None
    return ComparisonRow(asked.name, asked.variant, "-", value, None, None, None, chance, None, reason)


def _rows(
    pair: Paired, confidence: float, method: Method, permutations: int, shuffles: int, seed: int
) -> list[ComparisonRow]:
    moved = pair.moved()
    s = moved.statistics
    name = _kernel_name(pair)
    both: tuple[Estimator, ...] = ("biased", "unbiased")
    defined = all(estimators.undefined(s, p, "cka", e, "") is None for p in (0, 1) for e in both)
    test = independence.test(pair, method, permutations, seed)
    null_biased, null_unbiased = independence.shuffled(moved, shuffles, seed) if shuffles and defined else (None, None)
    found: list[ComparisonRow] = []
    choices: list[tuple[Measure, Estimator, float | None, float | None]] = [
        ("cka", "unbiased", null_unbiased, 0.0),
        ("cka", "biased", null_biased, estimators.bias_floor(s) if defined else None),
        ("hsic", "unbiased", None, 0.0),
        ("kernel_alignment", "biased", None, None),
    ]
    for measure, estimator, null, floor in choices:
        e = estimate(pair, measure, estimator, confidence, test)
        biased = estimator == "biased"  # its expectation lies beside the interval, which is around the unbiased value
        shown = measure != "kernel_alignment"  # alignment without centring is no measure of dependence
        found.append(
            ComparisonRow(
                measure,
                estimator,
                name,
                e.value,
                e.se,
                None if biased else e.ci,
                test.pvalue if shown else None,
                null,
                floor,
                e.reason,
            )
        )
    return found


def _name(kernel: str) -> str:
    """Of a kernel as a row shows it."""
    return kernel.split("(")[0]


def _is(asked: str | Kernel, kernel: str) -> bool:
    """Whether a kernel as a row shows it has that name, or the parameters of that object, as far as it has some."""
    try:
        wanted = as_kernel(asked)
    except ValueError:
        return False
    given = {f.name: getattr(wanted, f.name) for f in fields(wanted)} if not isinstance(asked, str) else {}
    texts = [rf"[(,] ?{name}={re.escape(f'{v:.4g}')}(, \w+=|\)$)" for name, v in given.items() if v is not None]
    return _name(kernel) == wanted.name and all(re.search(text, kernel) for text in texts)


def _kernel_name(pair: Paired) -> str:
    """Name and parameters; both bandwidths where the two arrays' differ."""
    x, y = (parameters(k) for k in pair.kernels)
    if not x:
        return pair.kernels[0].name
    shown = (f"{name}={v:.4g}" + ("" if v == y[name] else f", {y[name]:.4g}") for name, v in x.items())
    return f"{pair.kernels[0].name}({', '.join(shown)})"


def table(c: Comparison) -> str:
    """The comparison as aligned text, a block for each kernel: names of kernels are too long for a column."""
    head = ("", "value", f"{c.confidence:.0%} interval", "p", "shuffled", "chance")
    lines: list[tuple[str, ...]] = [head]
    blocks: dict[int, str] = {}  # by the number of its first line
    notes: list[str] = []
    for row, before in zip(c.rows, (None, *c.rows), strict=False):
        if row.kernel != "-" and (before is None or before.kernel != row.kernel):
            blocks[len(lines)] = row.kernel
        elif before is not None and before.kernel != row.kernel:
            blocks[len(lines)] = "without a kernel"
        lines.append(
            (
                f"  {row.measure}" + (f" ({row.estimator})" if row.estimator != "-" else ""),
                _number(row.value),
                "" if row.ci is None or math.isnan(row.ci[0]) else f"[{_number(row.ci[0])}, {_number(row.ci[1])}]",
                "" if row.pvalue is None or math.isnan(row.pvalue) else independence.format_pvalue(row.pvalue),
                "" if row.null is None else _number(row.null),
                "" if row.floor is None else _number(row.floor),
            )
        )
        if row.reason and (missing := _missing(row)):
            where = [name for name in (row.kernel, row.measure) if name != "-"]
            notes.append(f"{' '.join(where)}: {missing}: {row.reason}")
    rows_of = {row.measure: registry.MEASURES.get(row.measure) for row in c.rows}
    distances = [name for name, row_of in rows_of.items() if row_of is not None and row_of.perfect == 0]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"{c.n} samples, {c.dx} and {c.dy} features ({c.dtype[0]}, {c.dtype[1]})", ""]
    for i, line in enumerate(lines):
        text += [blocks[i]] if i in blocks else []
        text.append("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())
    text += [
        "",
        f"p: {c.method} test of independence. shuffled: mean over {c.shuffles} random pairings of the rows.",
        "chance: expected value for independent data.",
        *([f"{', '.join(distances)}: 0 is perfect."] if distances else []),
        *dict.fromkeys(notes),
    ]
    return "\n".join(text)


def _missing(row: ComparisonRow) -> str:
    """What the reason of a row is of; nothing where all that the row could have is there."""
    if math.isnan(row.value):
        return "undefined"
    absent = [
        name
        for name, value in (("interval", row.ci and row.ci[0]), ("p-value", row.pvalue))
        if value is not None and math.isnan(value)
    ]
    return f"no {' or '.join(absent)}" if absent else ""


def _number(x: float) -> str:
    if math.isnan(x):
        return "undefined"
    return f"{x:.4f}" if 1e-3 <= abs(x) < 1e4 or x == 0 else f"{x:.3e}"
