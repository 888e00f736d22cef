"""Which layer of one model to stitch into which layer of another: every pair fitted, measured and bounded at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.kernels import Linear
from gramian.progress import Progress, expect, one_bar, phase, tell
from gramian.results.plain import plain
from gramian.results.provenance import provenance
from gramian.results.result import Result, imported_pandas
from gramian.rows import heads
from gramian.rows.arrays import check_budget, check_number, check_seed, group_numbers, one_of, same_device, same_rows
from gramian.rows.layers import Keys, layers
from gramian.rows.sources import matrix, named_layers
from gramian.show import heatmaps
from gramian.stitching.certificates import certified
from gramian.stitching.held_out import Rows, less_least, norm, parted
from gramian.stitching.report import Indices
from gramian.sweeps import factor
from gramian.sweeps.centred import CentredFeatures, blocks, centre, in_range
from gramian.sweeps.estimators import scaled
from gramian.sweeps.factor import EPS, Basis
from gramian.theory import bounds
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
By: TypeAlias = Literal[
    "risk_stitch", "excess", "bound_effective", "bound_upper", "misalignment", "misalignment_ratio", "alignment"
]

_PER_DECADE = 10  # ridges that "gcv" tries
_CAPTIONS = {
    "risk_stitch": "stitched risk",
    "excess": "excess stitching risk",
    "bound_effective": "bound of the stitched risk, κ effective",
    "bound_upper": "bound of the stitched risk, κ certified",
    "misalignment": "misalignment",
    "misalignment_ratio": "misalignment/tr Σ22",
    "alignment": "linear alignment",
}


@dataclass(frozen=True, eq=False)
class Match(Result):
    """The layer of the second model that a layer of the first is best stitched into."""

    row: str
    column: str | None  # None where nothing is defined
    value: float


@dataclass(frozen=True, eq=False)
class LayerSearch(Result):
    """Every layer of the first model stitched into every layer of the second; all but `alignment` of held-out rows."""

    rows: tuple[str, ...]  # layers of the first model
    columns: tuple[str, ...]  # of the second
    kind: str
    fitted: Indices
    held_out: Indices
    seed: int
    target_power: float  # E‖y‖², the risk of always saying 0
    ridge: Array  # (L1, L2) λ in units of Σ11
    misalignment: Array  # (L1, L2) Ã_2 = E‖f2 − s(f1)‖²
    misalignment_ratio: Array  # (L1, L2) over tr Σ22, which is centred for affine maps
    alignment: Array  # (L1, L2) linear kernel alignment on the rows of the fit; CKA (biased) for affine maps
    risk2: Array  # (L2,) E‖g2(f2) − y‖²: of one network it is the same for all layers
    risk_stitch: Array  # (L1, L2) E‖g2(s(f1)) − y‖²
    kappa_upper: Array  # (L2,) certified
    kappa_effective: Array  # (L1, L2) of the pairs (s(f1), f2)
    bound_upper: Array  # (L1, L2) bounds.stitching with the certified constant,
    bound_effective: Array  # (L1, L2) and with the effective one
    reasons: dict[str, str]  # layers2['name']: why its values are nan or infinite

    @property
    def n(self) -> int:
        """Rows that everything was measured on."""
        return len(self.held_out)

    @property
    def excess(self) -> Array:
        """(L1, L2) R_stitch − R_2."""
        found: Array = self.risk_stitch - self.risk2
        return found

    @property
    def measured(self) -> By:
        """What decides where nothing else is asked for: the stitched risk, or without heads the misalignment."""
        return "misalignment_ratio" if np.isnan(self.risk_stitch).all() else "risk_stitch"

    def best(self, by: By | None = None) -> tuple[Match, ...]:
        """For each layer of the first model the layer of the second to stitch it into, by one of the tables."""
        grid = self.grid(by)
        return tuple(
            Match(name, None if j is None else self.columns[j], math.nan if j is None else float(grid.values[i, j]))
            for i, (name, j) in enumerate(zip(self.rows, grid.matches, strict=True))
        )

    def grid(self, by: By | None = None) -> heatmaps.Grid:
        """One of the tables as `heatmaps.heatmap` and `heatmaps.heatmap_svg` draw it."""
        chosen = by or self.measured
        one_of(chosen, get_args(By), "by")
        values = getattr(self, chosen)
        finite = values[np.isfinite(values)]
        top = {"misalignment_ratio": 1.0, "alignment": 1.0, "misalignment": float(finite.max(initial=0.0))}
        # a pair that does worse than always saying 0 is no candidate, however bad it is
        high = top.get(chosen, self.target_power if self.target_power > 0 else 1.0)
        low = min(0.0, float(finite.min(initial=0.0)))
        limits = (low, high if high > low else low + 1.0)
        best = "largest" if chosen == "alignment" else "smallest"
        caption = f"{_CAPTIONS[chosen]}, {self.kind} stitch"
        return heatmaps.Grid(
            values, self.rows, self.columns, caption, self.n, list(self.reasons.values()), limits, best
        )

    @public
    def plot(
        self,
        ax: Any = None,
        *,
        by: By | None = None,
        title: str | None = None,
        cmap: Any = None,
        limits: tuple[float, float] | None = None,
        annotate: bool | None = None,
    ) -> Any:
        """Draw one of the tables as a heat map with matplotlib, the best layer of each row dotted; returns the axes.

        ``limits`` are the ends of the colour scale; the values are written into up to 12 × 12 cells, or wherever
        ``annotate`` says so.
        """
        return heatmaps.heatmap(self.grid(by), ax, title=title, cmap=cmap, limits=limits, annotate=annotate)

    def _picture(self) -> str:
        return heatmaps.heatmap_svg(self.grid(), tooltips=self.misalignment.size <= heatmaps.FEW)

    def _facts(self) -> dict[str, Any]:
        power = None if math.isnan(self.target_power) else self.target_power
        return {"kind": self.kind, "fitted_rows": len(self.fitted), "held_out_rows": self.n, "target_power": power}

    def to_pandas(self) -> Any:
        """A DataFrame with a line for each pair of layers and a column for each table; other numbers in ``attrs``."""
        pandas = imported_pandas()
        pairs = pandas.MultiIndex.from_product([self.rows, self.columns], names=["layer1", "layer2"])
        shape = self.misalignment.shape
        tables = {name: np.broadcast_to(getattr(self, name), shape).ravel() for name in (*_TABLES, *_OF_COLUMNS)}
        frame = pandas.DataFrame(tables, index=pairs)
        frame.attrs.update(plain(self._facts()))
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for strict JSON."""
        tables = (*_TABLES, *_OF_COLUMNS)
        found = {
            "rows": list(self.rows),
            "columns": list(self.columns),
            "kind": self.kind,
            "fitted_rows": len(self.fitted),
            "held_out_rows": self.n,
            "seed": self.seed,
            "target_power": self.target_power,
            **{name: getattr(self, name) for name in tables},
            "best": {
                by: {match.row: match.column for match in self.best(by)} for by in get_args(By) if by != "misalignment"
            },
            "reasons": dict(self.reasons),
        }
        return self._plain(found)

    def __str__(self) -> str:
        return table(self)

    def __repr__(self) -> str:
        shape = f"{len(self.rows)}×{len(self.columns)}"
        return f"LayerSearch({shape} layers, {self.kind} stitch, n = {len(self.fitted)} + {self.n})"


_OF_COLUMNS = ("excess", "risk2", "kappa_upper")
_TABLES = (
    "ridge", "misalignment", "misalignment_ratio", "alignment", "risk_stitch", "kappa_effective", "bound_upper",
    "bound_effective",
)  # fmt: skip


@public
@one_bar
def layer_search(
    layers1: object,
    layers2: object,
    *,
    keys: Keys | None = None,
    keys2: Keys | None = None,
    heads2: Mapping[str, object] | Sequence[object] | None = None,
    Y: object | None = None,
    kind: Literal["linear", "affine"] = "linear",
    ridge: float | Literal["gcv"] = 0.0,
    split: float = 0.5,
    groups: object | None = None,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> LayerSearch:
    """Stitch every layer of one model into every layer of another: which goes where, by measurement and by bound.

    For each pair the map is fitted on part of the rows; of the others come the misalignment E‖f2 − s(f1)‖² and, with
    targets and the heads of the second model, the stitched risk E‖g2(s(f1)) − y‖² and its bounds.

    Parameters
    ----------
    layers1, layers2 : dict of name to array, sequence of arrays, array of shape (n, layers, d), table or path
        Of shape (n, any width), as `gramian.cka_matrix` takes them; row i of all is the same sample.
    keys : str, int, or sequence of them, optional
        Which layers, in this order: names, or patterns of names as "blocks.*.mlp".
    keys2 : str or sequence of str, optional
        Of layers2, if these are others.
    heads2 : dict of layer to head, or sequence, optional
        What the second model does after each layer of layers2: a matrix, a torch module or a function, as in
        `stitch_report`. A layer without one has no risk.
    Y : array of shape (n, k) or (n,), optional
        Targets of the squared loss; needed with heads2.
    kind : {"linear", "affine"}
        Of the maps.
    ridge : float or "gcv"
        λ in units of Σ11, the same for all; or for each pair the one of 10 a decade with the least generalised
        cross-validation.
    split, groups, seed
        Which rows the maps are fitted on, as in `stitch_report`.
    memory : int, optional
        Bytes that all maps and moments may take.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    LayerSearch
        Tables (L1, L2) ``.misalignment_ratio``, ``.risk_stitch``, ``.excess``, ``.bound_effective``, ``.bound_upper``,
        ``.alignment``; ``.best(by=)`` for each layer of the first model; ``print``, ``.to_dict()``, ``.plot(by=)``.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the layer, what came and what is needed.

    Notes
    -----
    Each layer of the first model is factorised once (QR, which never squares a condition number), and its orthonormal
    basis meets all layers of the second in one product: O(n·D1·(D1 + D2)) time for D1, D2 features in all instead of a
    fit for each pair, and 8·D1·D2 bytes of maps. L1·L2 passes of the held-out rows through the heads. Ctrl-C waits for
    the factorisation in LAPACK that is running, which cannot be interrupted: O(d³) for a layer of d features. A small
    misalignment of a layer with few directions is cheap to have: where heads are given, the risk decides. Source:
    Insulla, Huang, Rosasco 2025; Bansal et al. 2021; Theory, 5.3, 5.5, 5.8.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> rng = np.random.default_rng(0)
    >>> x, z = rng.standard_normal((2, 400, 5))
    >>> first = {"early": x, "late": np.tanh(x + z)}
    >>> second = {"a": np.tanh(x + z) @ rng.standard_normal((5, 5)), "b": x @ rng.standard_normal((5, 3))}
    >>> [(match.row, match.column) for match in gm.layer_search(first, second).best()]
    [('early', 'b'), ('late', 'a')]
    """
    check_budget(memory, progress)
    seed = check_seed(seed)
    one_of(kind, ("linear", "affine"), "kind")
    lam = _ridge(ridge)
    own_keys = "keys2" if keys2 is None else None
    xs = layers(layers1, "layers1", keys)
    zs = layers(layers2, "layers2", keys if keys2 is None else keys2, own_keys=own_keys)
    own = _heads(heads2, list(zs), chosen=not (keys is None and keys2 is None))
    if own and Y is None:
        raise ValueError("Y is missing: heads2 have no risks without targets")
    y = matrix(Y, "Y", column=True) if own else None
    matrices = [*xs.values(), *zs.values(), *([] if y is None else [y])]
    names = [*(f"layers1[{k!r}]" for k in xs), *(f"layers2[{k!r}]" for k in zs), "Y"][: len(matrices)]
    same_rows(matrices, names)
    same_device(matrices[: len(xs) + len(zs)], names[: len(xs) + len(zs)])
    d1, d2 = sum(x.d for x in xs.values()), sum(z.d for z in zs.values())
    need = 8 * (d1 * (d2 + max(x.d for x in xs.values())) + sum(z.d**2 for z in zs.values()))
    if memory is not None and need > memory:
        raise ValueError(f"maps of {d1} to {d2} features, of all layers, take {need} bytes, but memory is {memory}")
    fitted, held_out = parted(matrices[0].n, split, seed, group_numbers(groups, matrices, names))
    spans = [blocks(len(part), [d1, d2]) for part in (fitted, held_out)]
    expect(progress, 3)
    step = _steps(phase(progress, "layers", counted=True), len(xs))
    affine = kind == "affine"
    taken = [np.zeros(z.d) for z in zs.values()]
    if affine:
        near = [less_least(x) for x in matrices[: len(xs) + len(zs)]]
        matrices[: len(near)] = [x for x, _ in near]
        taken = [t for _, t in near[len(xs) :]]
    right, left = matrices[len(xs) : len(xs) + len(zs)], matrices[: len(xs)]
    sources = [_Source.of(Rows.of(x, fitted), affine, lam == 0, step) for x in left]
    targets = [_features(Rows.of(z, fitted), affine) for z in right]
    maps = _fits(sources, targets, lam, spans[0], _steps(phase(progress, "maps"), len(spans[0])))
    held = [Rows.of(x, held_out) for x in matrices]
    functions = {j: (k, heads.as_map(own[k], f"heads2[{k!r}]")) for j, k in enumerate(zs) if k in own}
    step = _steps(phase(progress, "rows held out"), len(spans[1]))
    seen = _Seen.over(
        held[: len(xs)],
        held[len(xs) : len(xs) + len(zs)],
        None if y is None else held[-1],
        maps,
        [_mean(t) for t in targets],
        taken,
        affine,
        functions,
        spans[1],
        step,
    )
    found = _judged(list(xs), list(zs), own, maps, seen, kind, (fitted, held_out), int(seed))
    return replace(found, provenance=provenance(dict(zip(names, matrices, strict=True)), seed=seed))


# ---- the gate --------------------------------------------------------------------------------------------------------


def _ridge(ridge: object) -> float | None:
    """λ, or None for "gcv"."""
    if isinstance(ridge, str):
        one_of(ridge, ("gcv",), "ridge, where it is a word,")
        return None
    found = check_number(ridge, "ridge", instead=" or 'gcv'")
    if not (math.isfinite(found) and found >= 0):
        raise ValueError(f"ridge must be finite and at least 0, got {ridge}")
    return found


def _heads(given: object | None, columns: Sequence[str], *, chosen: bool) -> dict[str, object]:
    """The head of each layer that has one; where layers were chosen, the others' heads are left out with them."""
    if given is None:
        return {}
    found = named_layers(given, "heads2")
    if chosen and isinstance(given, Mapping):
        found = {name: head for name, head in found.items() if name in columns}
    unknown = [name for name in found if name not in columns]
    if unknown:
        raise ValueError(f"heads2 has {unknown[0]!r}, but layers2 has {', '.join(map(repr, columns))}")
    for name, head in found.items():
        heads.as_map(head, f"heads2[{name!r}]")
    return found


def _steps(progress: Progress | None, total: int) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        tell(progress, done, total)

    return step


# ---- fitting ---------------------------------------------------------------------------------------------------------


def _features(x: Rows, affine: bool) -> CentredFeatures:
    return centre(x, Linear()) if affine else CentredFeatures(x, False, in_range(x), np.zeros(x.d))


@dataclass(frozen=True, eq=False)
class _Source:
    """A layer of the first model: its rows, and an orthonormal basis of what they span."""

    features: CentredFeatures
    rows: Array  # (m, d1) with the moments of the rows
    basis: Basis

    @staticmethod
    def of(x: Rows, affine: bool, unit_columns: bool, step: Callable[[], None]) -> _Source:
        features = _features(x, affine)
        found = factor.triangle([features])
        even = factor.evened(features, found.rounding, found.fourth)
        basis = factor.ranked_basis(
            found.rows,
            max(x.n, x.d) * EPS,
            found.rounding,
            x.n,
            unit_columns=unit_columns,
            even=even and even.centred(affine),
        )
        step()
        return _Source(features, found.rows, basis)


@dataclass(frozen=True, eq=False)
class _Map:
    """f2 ≈ matrix f1 + offset, in the units of the data."""

    matrix: Array  # (d2, d1)
    offset: Array  # (d2,)
    ridge: float
    alignment: float

    def __call__(self, f1: Array) -> Array:
        found: Array = f1 @ self.matrix.T + self.offset
        return found


def _fits(
    sources: Sequence[_Source],
    targets: Sequence[CentredFeatures],
    ridge: float | None,
    spans: Sequence[tuple[int, int]],
    step: Callable[[], None],
) -> list[list[_Map]]:
    """One pass: every basis against every layer of the second model."""
    inside = [[np.zeros((s.basis.rank, t.x.d)) for t in targets] for s in sources]
    second = [np.zeros((t.x.d, t.x.d)) for t in targets]
    for start, stop in spans:
        right = [t.raw(start, stop) - t.mean for t in targets]
        for total, f2 in zip(second, right, strict=True):
            total += f2.T @ f2
        for source, row in zip(sources, inside, strict=True):
            left = (source.features.raw(start, stop) - source.features.mean) @ source.basis.weights
            for total, f2 in zip(row, right, strict=True):
                total += left.T @ f2
        step()
    return [
        [_map(s, t, c, g, ridge) for t, c, g in zip(targets, row, second, strict=True)]
        for s, row in zip(sources, inside, strict=True)
    ]


def _map(source: _Source, target: CentredFeatures, inside: Array, second: Array, ridge: float | None) -> _Map:
    """The ridge regression of one layer on another, from U'f2 and Σ f2 f2'."""
    basis, n = source.basis, target.x.n
    units = source.features.exponent // 2, target.exponent // 2
    lam = scaled(ridge, -2 * units[0]) if ridge is not None else _least_gcv(basis, inside, float(np.trace(second)), n)
    kept = _kept(basis, lam, n)
    wanted = kept[:, None] * inside
    outside = max(0.0, float(np.trace(second)) - float(np.vdot(inside, inside)))
    b = factor.coefficients(basis, wanted, source.rows, outside, least=lam == 0)
    b = np.ldexp(b, units[1] - units[0])
    sizes = norm(source.rows.T @ source.rows) * norm(second)
    cross = norm(source.rows.T @ (basis.u @ inside))
    offset = np.ldexp(target.mean, units[1]) - np.ldexp(source.features.mean, units[0]) @ b
    return _Map(
        np.ascontiguousarray(b.T), offset, scaled(lam, 2 * units[0]), cross**2 / sizes if sizes > 0 else math.nan
    )


def _kept(basis: Basis, ridge: float, n: int) -> Array:
    """(r,) η/(η + λ)."""
    s = basis.singular
    found: Array = (s / np.hypot(s, math.sqrt(n * ridge))) ** 2
    return found


def _least_gcv(basis: Basis, inside: Array, total: float, n: int) -> float:
    """The λ with the least Ã_2/(1 − df/n)², of a grid and 0."""
    if not basis.rank:
        return 0.0
    high, low = np.log10(basis.singular[[0, -1]] ** 2 / n)
    power = np.einsum("ij,ij->i", inside, inside)
    outside = max(total - float(power.sum()), 0.0)

    def score(ridge: float) -> float:
        kept = _kept(basis, ridge, n)
        left = 1 - float(kept.sum()) / n
        return (outside + float(power @ (1 - kept) ** 2)) / left**2 if left > EPS * n else math.inf

    tried = [0.0, *(10 ** np.linspace(low - 3, high + 3, round(_PER_DECADE * (high - low + 6)) + 1))]
    return float(min(tried, key=score))


# ---- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Seen:
    """Norms over all held-out rows; nan where there is no head."""

    n: int
    second: Array  # (L2,) ‖f2‖, about its mean for affine maps
    error: Array  # (L1, L2) ‖f2 − s(f1)‖
    targets: float  # ‖y‖
    missed2: Array  # (L2,) ‖g2(f2) − y‖
    missed_stitch: Array  # (L1, L2) ‖g2(s(f1)) − y‖
    moved: Array  # (L1, L2) ‖g2(f2) − g2(s(f1))‖

    def mean(self, norms: Any) -> Any:
        """The mean square behind norms; infinite where float64 has no room for it."""
        with np.errstate(over="ignore"):
            return np.square(norms / math.sqrt(self.n))

    @staticmethod
    def over(
        xs: Sequence[Rows],
        zs: Sequence[Rows],
        y: Rows | None,
        maps: Sequence[Sequence[_Map]],
        references: Sequence[Array],  # near the means of the second model's layers; 0 unless affine
        taken: Sequence[Array],  # what these layers lack of what heads take
        affine: bool,
        own: Mapping[int, tuple[str, heads.Map]],
        spans: Sequence[tuple[int, int]],
        step: Callable[[], None],
    ) -> _Seen:
        shape = (len(spans), len(xs), len(zs))
        error, missed, moved = np.zeros(shape), np.full(shape, np.nan), np.full(shape, np.nan)
        missed2, targets = np.full(shape[::2], np.nan), np.zeros(len(spans))
        second, sums = np.zeros(shape[::2]), [np.zeros(z.d) for z in zs]
        for k, (start, stop) in enumerate(spans):
            f1 = [x.block(start, stop) for x in xs]
            target = np.zeros((0, 0)) if y is None else y.block(start, stop)
            targets[k] = norm(target)
            for j, z in enumerate(zs):
                f2 = z.block(start, stop)
                about = f2 - references[j]
                second[k, j] = norm(about)
                if affine:
                    sums[j] += about.sum(axis=0)
                if j in own:
                    name, head = own[j]
                    right = heads.flat_outputs(
                        head(f2 + taken[j], f"layers2[{name!r}]"), target, f"heads2[{name!r}]", "Y"
                    )
                    missed2[k, j] = norm(right - target)
                for i, rows in enumerate(f1):
                    mapped = maps[i][j](rows)
                    error[k, i, j] = norm(f2 - mapped)
                    if j in own:
                        left = heads.flat_outputs(
                            head(mapped + taken[j], "stitched layers1"), target, f"heads2[{name!r}]", "Y"
                        )
                        missed[k, i, j] = norm(left - target)
                        moved[k, i, j] = norm(right - left)
            step()

        def whole(blocks_of: Array) -> Array:
            return np.apply_along_axis(norm, 0, blocks_of)

        return _Seen(
            n=zs[0].n,
            second=whole(second) * np.sqrt(np.maximum(1 - _part_of_mean(whole(second), sums, zs[0].n), 0.0)),
            error=whole(error),
            targets=norm(targets),
            missed2=whole(missed2),
            missed_stitch=whole(missed),
            moved=whole(moved),
        )


def _mean(features: CentredFeatures) -> Array:
    """In the units of the data; 0 where it was left in."""
    found: Array = np.ldexp(features.mean, features.exponent // 2)
    return found


def _part_of_mean(size: Array, sums: Sequence[Array], n: int) -> Array:
    """What the mean has of Σ‖f‖², of each layer."""
    of = np.array([norm(s) / math.sqrt(n) for s in sums])
    found: Array = np.square(np.divide(of, size, out=np.zeros_like(of), where=size > 0))
    return found


def _judged(
    rows: Sequence[str],
    columns: Sequence[str],
    own: Mapping[str, object],
    maps: Sequence[Sequence[_Map]],
    seen: _Seen,
    kind: str,
    parts: tuple[Indices, Indices],
    seed: int,
) -> LayerSearch:
    reasons: dict[str, str] = {}
    kappa = np.full(len(columns), np.nan)
    for j, name in enumerate(columns):
        said = []
        if seen.second[j] == 0:
            said.append(f"it is {'constant' if kind == 'affine' else 0} on the held-out rows")
        if name in own:
            kappa[j], why = certified(own[name], f"heads2[{name!r}]")
            said += [why] if why else []
        elif own:
            said.append("it has no head in heads2")
        if said:
            reasons[f"layers2[{name!r}]"] = "; ".join(said)
    misalignment, risk2 = seen.mean(seen.error), seen.mean(seen.missed2)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(seen.second > 0, np.square(seen.error / seen.second), np.nan)
        effective = np.where(seen.error > 0, seen.moved / seen.error, np.nan)

    def bound(constants: Array) -> Array:
        found = np.full(misalignment.shape, np.nan)
        for i, j in np.ndindex(found.shape):
            k = float(constants[i, j]) if misalignment[i, j] else 0.0
            if not (math.isnan(risk2[j]) or math.isnan(k)):
                found[i, j] = bounds.stitching(float(risk2[j]), k, float(misalignment[i, j]))
        return found

    return LayerSearch(
        rows=tuple(rows),
        columns=tuple(columns),
        kind=kind,
        fitted=parts[0],
        held_out=parts[1],
        seed=seed,
        target_power=float(seen.mean(seen.targets)) if own else math.nan,
        ridge=np.array([[m.ridge for m in row] for row in maps]),
        misalignment=misalignment,
        misalignment_ratio=ratio,
        alignment=np.array([[m.alignment for m in row] for row in maps]),
        risk2=risk2,
        risk_stitch=seen.mean(seen.missed_stitch),
        kappa_upper=kappa,
        kappa_effective=effective,
        bound_upper=bound(np.broadcast_to(kappa, misalignment.shape)),
        bound_effective=bound(effective),
        reasons=reasons,
    )


# ---- the table -------------------------------------------------------------------------------------------------------


def table(r: LayerSearch) -> str:
    """Every pair by what was measured, and each layer's best by every criterion."""
    grid = r.grid()
    lines = [["", *r.columns]]
    lines += [[name, *map(_number, row)] for name, row in zip(r.rows, grid.values, strict=True)]
    text = [
        f"{r.kind} stitch of {len(r.rows)} × {len(r.columns)} layers, fitted on {len(r.fitted)} rows; all but the "
        f"alignment of {r.n} held-out rows",
        "",
    ]
    if r.measured == "risk_stitch":
        text.append(f"stitched risk, first model down, second across; always saying 0 has {_number(r.target_power)}")
        lines += [["(unstitched)", *map(_number, r.risk2)], ["(κ certified)", *map(_number, r.kappa_upper)]]
    else:
        text.append(f"{_CAPTIONS[r.measured]}, first model down, second across")
    text += _aligned(lines)
    criteria = [by for by in _SHORT if np.isfinite(getattr(r, by)).any()]
    found = {by: r.best(by) for by in criteria}
    lines = [["best by", *(_SHORT[by] for by in criteria)]]
    lines += [[name, *(found[by][i].column or "-" for by in criteria)] for i, name in enumerate(r.rows)]
    text += ["", *_aligned(lines)]
    text += [f"{name}: {reason}" for name, reason in r.reasons.items()]
    return "\n".join(text)


_SHORT: dict[By, str] = {
    "risk_stitch": "risk",
    "bound_effective": "bound, κ effective",
    "bound_upper": "bound, κ certified",
    "misalignment_ratio": "misalignment",
    "alignment": "alignment",
}


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    ]


def _number(x: float) -> str:
    if math.isnan(x):
        return "-"
    return f"{x:.4f}" if 1e-3 <= abs(x) < 1e4 or x == 0 else f"{x:.2e}"
