"""One row a measure: what nulls, matrices, comparisons, the command line, tests and the docs' table know of it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np

from gramian.rows.arrays import one_of

MeasureName: TypeAlias = Literal[
    "cka",
    "kernel_alignment",
    "hsic",
    "distance_alignment",
    "rsa",
    "mutual_knn",
    "cycle_knn",
    "lcs_knn",
    "edit_knn",
    "cknna",
    "cca",
    "svcca",
    "pwcca",
    "linear_regression_r2",
    "coco",
    "nocco",
    "procrustes",
    "shape_distance",
]  # for editors and type checkers; a name known only at run time is checked by `row_of`
Agreement: TypeAlias = Literal["greater", "less"]
Change: TypeAlias = Literal["shift", "scale", "rotation", "linear map", "rows' lengths", "order of features"]
# what is kept while rows are permuted, or layers compared
Kept: TypeAlias = Literal["kernel sums", "dissimilarity sums", "neighbours", "nothing"]


@dataclass(frozen=True)
class Row:
    """A measure of two representations."""

    name: str  # public: gramian.<name>
    module: str  # of gramian.measures, that defines it
    title: str  # in words, without an article
    family: str  # the heading that it stands under
    range: tuple[float | None, float | None]  # None: without a limit
    perfect: float | None  # its value for a representation and itself, where that is one number
    agreement: Agreement  # which values speak of agreement
    chance: str  # what independent data give
    unchanged: tuple[Change, ...]  # by what is done to either representation
    symmetric: bool  # in X and Y
    statistics: tuple[str, ...]  # what it takes in place of arrays
    kept: Kept
    cost: str
    source: str
    formula: str  # the section of docs/math.md
    also: str | None = None  # its name in published code, where that is another

    @property
    def maximum(self) -> float | None:
        """The value of perfect agreement, where more is better."""
        return self.perfect if self.agreement == "greater" else None

    @property
    def function(self) -> Callable[..., float]:
        """The measure itself."""
        found: Callable[..., float] = getattr(import_module(f"gramian.measures.{self.module}"), self.name)
        return found

    @property
    def options(self) -> tuple[str, ...]:
        """The names of what can be chosen, beside the two representations."""
        return tuple(list(inspect.signature(self.function).parameters)[2:])


_SQUARE = "n²(p+q), or n(p+q)² for linear and cosine kernels on the CPU"
_KERNELS = "kernel measures"
_NEIGHBOURS = "nearest neighbours"
_SUBSPACES = "subspaces and linear prediction"
_SHAPES = "shapes"
_DISTANCES = "distances"
_ISOMETRIES: tuple[Change, ...] = ("shift", "rotation", "order of features")
_SIMILARITIES: tuple[Change, ...] = ("shift", "scale", "rotation", "order of features")
_DIRECTIONS: tuple[Change, ...] = ("scale", "rotation", "rows' lengths", "order of features")
_LINEAR: tuple[Change, ...] = ("shift", "scale", "rotation", "linear map", "order of features")
_BOTH = ("GramMoments", "FeatureMoments")


def _kernel(name: str, title: str, **what: object) -> Row:
    shared = {"module": "kernel", "family": _KERNELS, "symmetric": True, "statistics": _BOTH, "cost": _SQUARE}
    return Row(name, title=title, **{**shared, **what})  # type: ignore[arg-type]


def _neighbours(name: str, title: str, chance: str, source: str, **what: object) -> Row:
    shared = {
        "module": "neighbors", "family": _NEIGHBOURS, "range": (0.0, 1.0), "perfect": 1.0, "agreement": "greater",
        "unchanged": _DIRECTIONS, "symmetric": True, "statistics": (), "kept": "neighbours",
        "cost": "n²(p+q) time, nk memory", "formula": "6",
    }  # fmt: skip
    return Row(name, title=title, chance=chance, source=source, **{**shared, **what})  # type: ignore[arg-type]


def _subspaces(name: str, title: str, **what: object) -> Row:
    shared = {
        "module": "subspaces", "family": _SUBSPACES, "range": (0.0, 1.0), "perfect": 1.0, "agreement": "greater",
        "unchanged": _LINEAR, "symmetric": True, "statistics": ("FeatureMoments",), "kept": "nothing",
        "cost": "n(p+q)² time", "formula": "8",
    }  # fmt: skip
    return Row(name, title=title, **{**shared, **what})  # type: ignore[arg-type]


_ROWS = (
    _kernel(
        "cka",
        "centred kernel alignment",
        range=(-1.0, 1.0),
        perfect=1.0,
        agreement="greater",
        chance="0; the biased one is above, by much where features are many",
        unchanged=_SIMILARITIES,
        kept="kernel sums",
        source="Kornblith et al. 2019",
        formula="3",
    ),
    _kernel(
        "kernel_alignment",
        "kernel alignment",
        range=(-1.0, 1.0),
        perfect=1.0,
        agreement="greater",
        chance="that of the means of the kernels, often near 1",
        unchanged=("scale", "rotation", "order of features"),
        kept="nothing",
        source="Cristianini et al. 2001",
        formula="1",
    ),
    _kernel(
        "hsic",
        "Hilbert-Schmidt independence criterion",
        range=(None, None),
        perfect=None,
        agreement="greater",
        chance="0",
        unchanged=_ISOMETRIES,
        kept="kernel sums",
        source="Gretton et al. 2005; Song et al. 2012",
        formula="3.1",
    ),
    Row(
        "distance_alignment",
        module="kernel",
        title="distance alignment",
        family=_DISTANCES,
        range=(0.0, None),
        perfect=0.0,
        agreement="less",
        chance="depends on the data",
        unchanged=_ISOMETRIES,
        symmetric=True,
        statistics=_BOTH,
        kept="nothing",
        cost=_SQUARE,
        source="Insulla, Huang, Rosasco 2025",
        formula="2",
    ),
    Row(
        "rsa",
        module="rsa",
        title="representational similarity analysis",
        family=_DISTANCES,
        range=(-1.0, 1.0),
        perfect=1.0,
        agreement="greater",
        chance="0",
        unchanged=_SIMILARITIES,
        symmetric=True,
        statistics=(),
        kept="dissimilarity sums",
        cost="n²(p+q) time; ranks sort n²/2 numbers",
        source="Kriegeskorte et al. 2008",
        formula="9",
    ),
    _neighbours("mutual_knn", "mutual nearest neighbours", "k/(n−1)", "Huh et al. 2024", also="mutual_knn"),
    _neighbours(
        "cycle_knn",
        "cycles of nearest neighbours",
        "about 1 − exp(−k²/n), by the lists",
        "Huh et al. 2024",
        symmetric=False,
    ),
    _neighbours("lcs_knn", "longest common subsequence of neighbours", "below k/(n−1)", "Huh et al. 2024"),
    _neighbours(
        "edit_knn", "edit distance of neighbours", "below k/(n−1)", "Huh et al. 2024", also="edit_distance_knn"
    ),
    Row(
        "cknna",
        module="cknna",
        title="CKA among mutual nearest neighbours",
        family=_NEIGHBOURS,
        range=(-1.0, 1.0),
        perfect=1.0,
        agreement="greater",
        chance="near 0",
        unchanged=("scale", "rotation", "order of features"),
        symmetric=True,
        statistics=(),
        kept="nothing",
        cost="n²(p+q) time, nk memory",
        source="Huh et al. 2024",
        formula="6",
    ),
    _subspaces(
        "cca", "mean canonical correlation", chance="large where p + q is not far below n", source="Hotelling 1936"
    ),
    _subspaces(
        "svcca",
        "canonical correlation of principal components",
        chance="large where components are many",
        unchanged=_SIMILARITIES,
        source="Raghu et al. 2017",
    ),
    _subspaces(
        "pwcca",
        "projection-weighted canonical correlation",
        chance="large where p + q is not far below n",
        unchanged=("shift", "scale", "order of features"),
        symmetric=False,
        source="Morcos, Raghu, Bengio 2018",
    ),
    _subspaces(
        "linear_regression_r2",
        "R² of the linear regression of Y on X",
        chance="rank of X over n − 1",
        unchanged=_SIMILARITIES,
        symmetric=False,
        source="Kornblith et al. 2019",
    ),
    _subspaces(
        "coco",
        "constrained covariance, the largest singular value of the cross-covariance",
        range=(0.0, None),
        perfect=None,
        chance="above 0, falls with n",
        unchanged=_ISOMETRIES,
        source="Gretton et al. 2005",
    ),
    _subspaces(
        "nocco",
        "normalised cross-covariance, the sum of squared canonical correlations",
        range=(0.0, None),
        perfect=None,
        chance="large where p + q is not far below n",
        source="Fukumizu et al. 2007",
    ),
    _subspaces(
        "procrustes",
        "Procrustes distance after the best rotation",
        module="shapes",
        family=_SHAPES,
        range=(0.0, 2.0),
        perfect=0.0,
        agreement="less",
        chance="near the largest value where features are few",
        unchanged=_SIMILARITIES,
        source="Williams et al. 2021; Ding et al. 2021",
    ),
    _subspaces(
        "shape_distance",
        "shape distance, an angle",
        module="shapes",
        family=_SHAPES,
        range=(0.0, math.pi / 2),
        perfect=0.0,
        agreement="less",
        chance="near π/2 where features are few",
        unchanged=_SIMILARITIES,
        source="Williams et al. 2021",
    ),
)
MEASURES: dict[str, Row] = {row.name: row for row in _ROWS}


def row_of(measure: str, argument: str = "measure") -> Row:
    """The row of a name; raises ValueError that lists the names, and guesses."""
    if measure not in MEASURES:
        for row in _ROWS:
            if row.also == measure:
                raise ValueError(f"{argument} {measure!r} is a name of platonic_score; here it is {row.name!r}")
        if measure == "unbiased_cka":
            here = "'cka' with kernel='cosine', which is unbiased unless asked"
            raise ValueError(f"{argument} {measure!r} is a name of platonic_score; here it is {here}")
    one_of(measure, list(MEASURES), argument)
    return MEASURES[measure]


def known(measure: object, argument: str = "measure") -> Row | None:
    """The row of a name, or of a function of this package; None of any other function."""
    if isinstance(measure, str):
        return row_of(measure, argument)
    if not callable(measure):
        raise TypeError(f"{argument} must be a name or a function of (X, Y), got {type(measure).__name__}")
    name = getattr(measure, "__name__", None)
    return MEASURES[name] if name in MEASURES and MEASURES[name].function is measure else None


def name_of(measure: object) -> str:
    """What a result calls a measure."""
    row = known(measure)
    return row.name if row else str(getattr(measure, "__name__", type(measure).__name__))


def number(found: Any, measure: str, of: str = "") -> float:
    """What a measure returned: anything that float() takes, but no string and no complex number."""
    try:
        if isinstance(found, str | bytes) or np.iscomplexobj(found):
            raise TypeError
        return float(found.__float__())
    except (AttributeError, TypeError, ValueError, RuntimeError):  # the last is torch's, of several elements
        what = type(found).__name__ + (f" of shape {tuple(found.shape)}" if getattr(found, "shape", ()) else "")
        raise TypeError(f"measure must return a number, but {measure} returned {what}{of and f' for {of}'}") from None


def markdown() -> str:
    """The table of docs/measures.md."""
    lines: list[str] = []
    family = ""
    for row in sorted(_ROWS, key=lambda row: [r.family for r in _ROWS].index(row.family)):
        if row.family != family:
            family = row.family
            lines += [
                "",
                f"### {family[0].upper()}{family[1:]}",
                "",
                _cells(_HEADINGS),
                _cells(("---",) * len(_HEADINGS)),
            ]
        lines.append(_cells(_described(row)))
    return "\n".join([*lines[1:], ""])


_HEADINGS = ("name", "what it is", "range", "same", "independent data", "does not change by", "takes", "cost", "source")


def _described(row: Row) -> tuple[str, ...]:
    low, high = ("" if end is None else f"{end:g}" for end in row.range)
    return (
        f"`{row.name}`",
        f"{row.title} ([§{row.formula}](math.md)){'' if row.symmetric else '; of X to Y'}",
        f"[{low or '−∞'}, {high or '∞'}]".replace("-", "−"),
        "" if row.perfect is None else f"{row.perfect:g}",
        row.chance,
        ", ".join(row.unchanged),
        ", ".join(("arrays", *(f"`{s}`" for s in row.statistics))),
        row.cost,
        row.source,
    )


def _cells(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
