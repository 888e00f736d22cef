"""Gram sweeps: sufficient statistics of kernel matrices that are never stored. Calls the native sweeps."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from gramian import _core
from gramian.kernels import KERNELS, Kernel, KernelName, parameters, with_bandwidth
from gramian.progress import Progress, expect, one_bar, phase
from gramian.rows import statistics_files
from gramian.rows.arrays import check_budget, check_count, one_of, require_rows, same_device, same_rows
from gramian.rows.equality import Comparable
from gramian.rows.sources import matrix
from gramian.sweeps.represent import NARROW, Precision, Representation, represented_all, widened
from gramian.sweeps.statistics import Statistics
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Words: TypeAlias = npt.NDArray[np.uint64]

_AMPLIFICATION = 1e4  # ‖K'‖²/‖K̄‖² above which a second pass, with the exact row means, is worth its time
SWEEPS = 1.1  # that stable sums take: one, and now and then a second
_UNHELD = 2.0**-142  # values in scaled units of which fixed-point sums, in units of 2^-148 and 2^-298, keep nothing
_SMALL = 1e-15  # of values in scaled units, from which on float32 has room for their squares


@dataclass(frozen=True, eq=False)
class GramMoments(Comparable):
    """Sums over the off-diagonal pairs (i, j), i ≠ j, of m Gram matrices; what every Gram measure is made from.

    The native sweep holds shifted values K' = K − s_i − s_j, which keeps float32 tiles exact where K itself is nearly
    constant. Partials of disjoint tile shards of the same data add with ``+``; sums are fixed-point integers inside, so
    any grouping into threads, shards or machines gives the same bits.
    """

    n: int
    kernels: tuple[Kernel, ...]
    exponent: npt.NDArray[np.int32]  # (m,) e: everything inside is in units of 2^e
    base: npt.NDArray[np.int32]  # (m,) 1 where K' is made from k − 1
    rounding: Array  # (m,) scale at which K' is rounded, as a multiple of eps
    eps: float  # relative rounding of a tile's values
    scaled_shift: Array  # (m, n)
    scaled_diagonal: Array  # (m, n) of K'
    pair_words: Words  # (m(m+1)/2, 6)
    row_words: Words  # (m, n, 3)
    bandwidth_from_rows: tuple[bool, ...]  # (m,) whether these rows chose the kernel's bandwidth: `bounds.ka_interval`
    tiles: tuple[tuple[int, int], ...]  # ranges of the schedule that are in the sums
    all_tiles: int
    fingerprint: str
    # (m, 2, n) what adds up to the shift, for second passes; None from a file
    scaled_parts: Array | None = field(default=None, compare=False)
    # 0 in all that users see; in a matrix of layers so many meet the others alone, and other inner products are nan
    split: int = 0

    @property
    def m(self) -> int:
        """Number of representations."""
        return len(self.kernels)

    @property
    def complete(self) -> bool:
        """Whether every tile is in the sums."""
        return self.tiles == ((0, self.all_tiles),)

    @property
    def scaled_inner(self) -> Array:
        """`shifted_inner` in units of 2^(e_p + e_q)."""
        values = _core.fixed_values(self.pair_words)
        inner = np.full((self.m, self.m), np.nan)
        held = np.nonzero(held_pairs(self.m, self.split))
        inner[held] = values
        inner.T[held] = values
        return inner

    @property
    def scaled_rows(self) -> Array:
        """`row_sums` in units of 2^e_p."""
        return _core.fixed_values(self.row_words)

    @property
    def pair_exponent(self) -> npt.NDArray[np.int32]:
        """(m, m) e_p + e_q."""
        return self.exponent[:, None] + self.exponent[None, :]

    @property
    def shifted_inner(self) -> Array:
        """(m, m) Σ_{i≠j} K'_p K'_q."""
        return np.ldexp(self.scaled_inner, self.pair_exponent)

    @property
    def row_sums(self) -> Array:
        """(m, n) Σ_{j≠i} K'_p,ij."""
        return np.ldexp(self.scaled_rows, self.exponent[:, None])

    @property
    def diagonal(self) -> Array:
        """(m, n) K'_p,ii = K_p,ii − 2 s_p,i."""
        return np.ldexp(self.scaled_diagonal, self.exponent[:, None])

    @property
    def shift(self) -> Array:
        """(m, n) s, with K_p,ij = K'_p,ij + s_p,i + s_p,j."""
        return np.ldexp(self.scaled_shift, self.exponent[:, None])

    @property
    def inner(self) -> Array:
        """(m, m) Σ_{i≠j} K_p K_q, the shift undone."""
        return np.ldexp(self.scaled_unshifted(), self._unshifted_exponent)

    @property
    def inner_full(self) -> Array:
        """(m, m) ⟨K_p, K_q⟩, the diagonal included."""
        diagonal = np.ldexp(self.scaled_diagonal + 2 * self.scaled_shift, -self.excess[:, None])
        return cast("Array", np.ldexp(self.scaled_unshifted() + diagonal @ diagonal.T, self._unshifted_exponent))

    @property
    def _unshifted_exponent(self) -> npt.NDArray[np.int32]:
        return cast("npt.NDArray[np.int32]", self.pair_exponent + self.excess[:, None] + self.excess[None, :])

    @property
    def excess(self) -> npt.NDArray[np.int32]:
        """(m,) powers of two by which shifts are beyond what can be squared: of kernels that are 1 up to 2^-400."""
        return cast("npt.NDArray[np.int32]", np.maximum(np.frexp(np.abs(self.scaled_shift).max(axis=1))[1] - 400, 0))

    def scaled_unshifted(self) -> Array:
        """Σ_{i≠j} (K'_p + s_i + s_j)(K'_q + t_i + t_j), expanded; in units of 2^(e_p + e_q) and of both `excess`."""
        less = -self.excess
        s, r = np.ldexp(self.scaled_shift, less[:, None]), np.ldexp(self.scaled_rows, less[:, None])
        total = s.sum(axis=1)
        cross = r @ s.T
        return cast(
            "Array",
            np.ldexp(self.scaled_inner, less[:, None] + less[None, :])
            + 2 * (cross + cross.T)
            + 2 * (self.n - 2) * (s @ s.T)
            + 2 * np.multiply.outer(total, total),
        )

    def __add__(self, other: GramMoments) -> GramMoments:
        if not isinstance(other, GramMoments):
            return NotImplemented
        if self.fingerprint != other.fingerprint:
            raise ValueError(
                "these moments are of different rows, kernels, shifts, devices or precisions and cannot be added; "
                "batches of rows add in FeatureMoments"
            )
        ranges = sorted(self.tiles + other.tiles)
        for (_, end), (begin, _) in pairwise(ranges):
            if begin < end:
                raise ValueError(f"both moments hold tiles {begin} to {end - 1}; add shards that do not overlap")
        joined: list[tuple[int, int]] = []
        for begin, end in ranges:
            if joined and joined[-1][1] == begin:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((begin, end))
        return replace(
            self,
            pair_words=_core.fixed_add(self.pair_words, other.pair_words),
            row_words=_core.fixed_add(self.row_words, other.row_words),
            bandwidth_from_rows=tuple(
                a or b for a, b in zip(self.bandwidth_from_rows, other.bandwidth_from_rows, strict=True)
            ),
            tiles=tuple(joined),
        )

    def statistics(self) -> Statistics:
        """What every measure of these arrays is made from (Theory, 3.3); all tiles have to be there."""
        if not self.complete:
            raise ValueError("these moments hold only part of the tiles; add the other shards first")
        n = self.n
        inner, rows, diagonal = self.scaled_inner, self.scaled_rows, self.scaled_diagonal
        total = rows.sum(axis=1)
        full = rows + diagonal
        full_total = full.sum(axis=1)
        biased = (
            inner + diagonal @ diagonal.T - 2 / n * (full @ full.T) + np.multiply.outer(full_total, full_total) / n**2
        ) / n**2
        if n >= 4:
            unbiased = (
                inner + np.multiply.outer(total, total) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ rows.T)
            ) / (n * (n - 3))
        else:
            unbiased = np.full_like(inner, np.nan)
        raw = self.scaled_unshifted()
        raw_diagonal = np.ldexp(diagonal + 2 * self.scaled_shift, -self.excess[:, None])
        centred_diagonal = diagonal - 2 / n * full + full_total[:, None] / n**2
        return Statistics(
            n=n,
            hsic_biased=biased,
            hsic_unbiased=unbiased,
            alignment_biased=(raw + raw_diagonal @ raw_diagonal.T) / n**2,
            alignment_unbiased=raw / (n * (n - 1)),
            trace=centred_diagonal.sum(axis=1),
            diagonal_inner=centred_diagonal @ centred_diagonal.T,
            exponent=self.exponent,
            # below float32 it is features that are rounded, and of their many errors a product keeps little
            rounding=np.maximum(
                self.rounding * self.eps * (0.25 if self.eps > np.finfo(np.float32).eps else 1.0), _UNHELD
            ),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one .npz file with a checksum, by way of a temporary one beside it: all of it or none."""
        values = {
            "n": self.n,
            "kernels": [[k.name, parameters(k)] for k in self.kernels],
            "eps": self.eps,
            "bandwidth_from_rows": self.bandwidth_from_rows,
            "tiles": self.tiles,
            "all_tiles": self.all_tiles,
            "fingerprint": self.fingerprint,
        }
        statistics_files.save(path, "GramMoments", values, {name: getattr(self, name) for name in _SAVED})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> GramMoments:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is damaged, holds something else, or is of a version that this one does not read (files of 0.1.0
            had no checksum; compute the moments again). The message names the file.
        """
        return statistics_files.load(path, "GramMoments", _moments_from)

    def __repr__(self) -> str:
        names = ", ".join(k.name for k in self.kernels)
        held = sum(end - begin for begin, end in self.tiles)
        part = "" if self.complete else f", {held} of {self.all_tiles} tiles"
        return f"GramMoments(n={self.n}, kernels=({names}){part})"


def held_pairs(m: int, split: int) -> npt.NDArray[np.bool_]:
    """(m, m) whether p ≤ q are multiplied: all, or of a split the first with the others, and each with itself."""
    held = np.triu(np.ones((m, m), dtype=bool))
    if split:
        held[:split, :split] = held[split:, split:] = False
        np.fill_diagonal(held, True)
    return held


_SAVED = ("exponent", "base", "rounding", "scaled_shift", "scaled_diagonal", "pair_words", "row_words")
_LARGEST_EXPONENT = 1 << 18  # Polynomial's degree, up to 64, times that of float64's squares
_LARGEST_VALUE = 4.0  # of a tile (csrc/core/fixed_sum.hpp); sums are of at most n·(n − 1) products of two


def _moments_from(values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> GramMoments:
    """Moments from a file, if sums of this many rows could be so."""
    n, tiles, all_tiles, eps = values["n"], values["tiles"], values["all_tiles"], values["eps"]
    kernels = tuple(_kernel_from(name, parameters) for name, parameters in values["kernels"])
    m = len(kernels)
    check_count(n, "n", 2)
    check_count(m, "the number of kernels")
    check_count(all_tiles, "all_tiles")
    side = (math.isqrt(8 * all_tiles + 1) - 1) // 2
    if side * (side + 1) // 2 != all_tiles or side > n:
        raise ValueError(f"{all_tiles} tiles do not cover a matrix of {n} rows")
    ends = [end for tile in tiles for end in tile]
    if any(type(end) is not int for end in ends) or any(len(tile) != 2 for tile in tiles):
        raise ValueError("tiles must be ranges of whole numbers")
    if any(a >= b for a, b in pairwise(ends)) or (ends and not (ends[0] >= 0 and ends[-1] <= all_tiles)):
        raise ValueError(f"tiles must be ranges in order between 0 and {all_tiles}")
    if not (type(eps) is float and 0 < eps < 1):
        raise ValueError(f"eps must be between 0 and 1, got {eps!r:.50}")
    flags, fingerprint = values["bandwidth_from_rows"], values["fingerprint"]
    if len(flags) != m or any(type(flag) is not bool for flag in flags):
        raise ValueError(f"bandwidth_from_rows must be {m} booleans")
    if not (isinstance(fingerprint, str) and len(fingerprint) == 64):
        raise ValueError("fingerprint must be 64 characters")
    statistics_files.only(arrays, set(_SAVED))
    found = GramMoments(
        n=n,
        kernels=kernels,
        exponent=statistics_files.checked(arrays, "exponent", "int32", (m,)),
        base=statistics_files.checked(arrays, "base", "int32", (m,)),
        rounding=statistics_files.checked(arrays, "rounding", "float64", (m,)),
        eps=eps,
        scaled_shift=statistics_files.checked(arrays, "scaled_shift", "float64", (m, n)),
        scaled_diagonal=statistics_files.checked(arrays, "scaled_diagonal", "float64", (m, n)),
        pair_words=statistics_files.checked(arrays, "pair_words", "uint64", (m * (m + 1) // 2, 6)),
        row_words=statistics_files.checked(arrays, "row_words", "uint64", (m, n, 3)),
        bandwidth_from_rows=tuple(flags),
        tiles=tuple((a, b) for a, b in tiles),
        all_tiles=all_tiles,
        fingerprint=fingerprint,
    )
    for name in ("rounding", "scaled_shift", "scaled_diagonal"):
        if not np.isfinite(getattr(found, name)).all():
            raise ValueError(f"{name} is not finite")
    if (found.rounding < 0).any() or not np.isin(found.base, (0, 1)).all():
        raise ValueError("rounding must be at least 0, and base 0 or 1")
    if (np.abs(found.exponent.astype(np.int64)) > _LARGEST_EXPONENT).any():
        raise ValueError("exponent is beyond that of any kernel")
    most = _LARGEST_VALUE * n
    if (np.abs(found.scaled_rows) > most).any() or (np.abs(found.scaled_inner) > most * most).any():
        raise ValueError(f"its sums are larger than those of {n} rows")
    if (np.diag(found.scaled_inner) < 0).any():
        raise ValueError("sums of squares must be at least 0")
    own, rounded = np.diag(found.scaled_inner), 1e-9 * n * n
    if (np.square(found.scaled_inner) > np.multiply.outer(own, own) * (1 + 1e-4) + rounded**2).any():
        raise ValueError("sums of products are larger than the sums of squares allow")
    if (np.square(found.scaled_rows).sum(axis=1) > (n - 1) * (own * (1 + 1e-4) + rounded)).any():
        raise ValueError("sums of rows are larger than the sums of squares allow")
    if not tiles and (found.pair_words.any() or found.row_words.any()):
        raise ValueError("there are sums of no tiles")
    return found


def _kernel_from(name: str, values: dict[str, float]) -> Kernel:
    if name not in KERNELS:
        raise ValueError(f"kernel {name!r:.50} is unknown")
    whole = {k: int(v) if k in ("degree", "order") else v for k, v in values.items()}
    bandwidth = whole.get("bandwidth", 0.0)
    if math.isnan(bandwidth):
        return with_bandwidth(KERNELS[name](), bandwidth)
    return KERNELS[name](**whole)  # type: ignore[arg-type]


@public
@one_bar
def gram_moments(
    *Xs: object,
    kernel: Kernel | KernelName | Sequence[Kernel | KernelName] = "linear",
    shard: tuple[int, int] = (0, 1),
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> GramMoments:
    """Sufficient statistics of m Gram matrices in one sweep over the pairs of rows.

    For every p ≤ q, Σ_{i≠j} K'_p,ij K'_q,ij, and for every p the row sums Σ_{j≠i} K'_p,ij and the diagonal, where
    K' = K − s_i − s_j is shifted by the mean of a few landmark rows (Theory, 3.3). No n×n matrix exists at any time.

    Parameters
    ----------
    *Xs : arrays of shape (n, p), (n, q), ...
        Row i of all is the same sample.
    kernel : kernel or its name, or a sequence of one for each array
    shard : (rank, size)
        Compute only this part of the tiles; the parts add with ``+`` to the same bits as the whole.
    precision : {"highest", "high", "medium"}
        The least precision that will do, as in torch. On the CPU all three are computed as "highest".
    memory : int, optional
        Bytes of scratch for all threads together; about 40 MB (4 MB a thread if that is more) when left out.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `kernel_alignment`.

    Returns
    -------
    GramMoments

    Raises
    ------
    TypeError, ValueError
        Something is not a finite float matrix, row numbers differ, a kernel is unknown, the shard is out of range.
    RuntimeError
        CUDA, with the call and the device's message.

    Notes
    -----
    O(n²·Σd) time, O(n·m) memory, where the arrays lie: on the CPU or on a CUDA device. float64 data is computed in
    float64, everything else in float32 tiles with float64 beyond them; and in float64 tiles where a look at some rows
    says that centring would leave float32 ones too few digits, as of polynomial, arc-cosine and cosine kernels of rows
    far from 0. Ctrl-C stops it within a second.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 5))
    >>> whole = gm.gram_moments(X, X[:, :2], kernel="rbf")
    >>> half = [gm.gram_moments(X, X[:, :2], kernel="rbf", shard=(r, 2)) for r in (0, 1)]
    >>> bool((half[0] + half[1]).inner[0, 1] == whole.inner[0, 1])
    True
    """
    if not Xs:
        raise ValueError("gram_moments needs at least one array")
    names = [f"X{i}" for i in range(len(Xs))] if len(Xs) > 2 else ["X", "Y"][: len(Xs)]
    xs = [matrix(x, name) for x, name in zip(Xs, names, strict=True)]
    same_rows(xs, names)
    same_device(xs, names)
    require_rows(xs[0].n, 2, "gram_moments")
    kernels = [kernel] * len(xs) if isinstance(kernel, str) or not isinstance(kernel, Sequence) else list(kernel)
    if len(kernels) != len(xs):
        raise ValueError(f"kernel has {len(kernels)} entries for {len(xs)} arrays; give one, or one for each")
    rank, size = shard
    if not 0 <= rank < size:
        raise ValueError(f"shard must be (rank, size) with 0 <= rank < size, got {shard}")
    one_of(precision, get_args(Precision), "precision")
    check_budget(memory, progress)
    expect(progress, 1)
    represented = represented_all(xs, [(k, "kernel") for k in kernels], progress)
    return sweep_moments(represented, shard=(rank, size), precision=precision, memory=memory, progress=progress)


def sweep(
    xs: Sequence[Representation],
    statistic: str,
    precision: Precision,
    *,
    progress: Progress | None = None,
    cost: float = 1.0,
    **how: Any,
) -> Any:
    """The native sweep."""
    raw = _core.sweep(
        [x.native() for x in xs],
        statistic=statistic,
        precision=precision,
        wide=any(x.wide for x in xs),
        progress=phase(progress, "tiles", cost),
        **how,
    )
    raw["exponent"] = raw["exponent"] - np.array([2 * x.power for x in xs], dtype=np.int32)
    return raw


def sweep_moments(
    xs: Sequence[Representation],
    *,
    shard: tuple[int, int] = (0, 1),
    split: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> GramMoments:
    """`gram_moments` behind the gate; with a split only the first so many meet the others, and each itself."""
    raw = sweep(xs, "moments", precision, shard=shard, split=split, memory=memory or 0, progress=progress)
    shift, diagonal = np.stack(raw["shift"]), np.stack(raw["diagonal"])
    kernels = tuple(x.kernel for x in xs)
    digest = hashlib.sha256()
    for part in (shift, diagonal, raw["exponent"]):
        digest.update(part.data)
    # engines cut the same pairs into tiles of different sizes, so their shards never add up
    engine = xs[0].parts[0].device.partition(":")[0]
    digest.update(repr((kernels, engine, raw["epsilon"], *([split] if split else []))).encode())
    return GramMoments(
        n=xs[0].n,
        kernels=kernels,
        exponent=raw["exponent"],
        base=raw["base"],
        rounding=raw["rounding"],
        eps=raw["epsilon"],
        scaled_shift=shift,
        scaled_diagonal=diagonal,
        pair_words=raw["pairs"],
        row_words=raw["rows"],
        bandwidth_from_rows=tuple(x.bandwidth_from_rows for x in xs),
        tiles=(raw["tiles"],) if raw["tiles"][0] < raw["tiles"][1] else (),
        all_tiles=raw["all_tiles"],
        fingerprint=digest.hexdigest(),
        scaled_parts=np.stack([raw["offset"], raw["rest"]], axis=1),
        split=split,
    )


def sweep_units(xs: Sequence[Representation], precision: Precision) -> npt.NDArray[np.int32]:
    """(m,) exponents of the sweeps' scaled units, from a sweep over no tiles."""
    nothing = 1 << 62  # shards: the first of so many owns no tile
    return cast("npt.NDArray[np.int32]", sweep(xs, "star", precision, shard=(0, nothing))["exponent"])


def half_offsets(g: GramMoments, *, hollow: bool) -> Array:
    """(m, n) ρ with K̄_ij = K'_ij − ρ_i − ρ_j; hollow: ρ̃ of U-centring (Theory, 0). In scaled units."""
    n = g.n
    if hollow:
        r = g.scaled_rows
        return cast("Array", r / (n - 2) - r.sum(axis=1, keepdims=True) / (2 * (n - 1) * (n - 2)))
    r = g.scaled_rows + g.scaled_diagonal
    return cast("Array", r / n - r.sum(axis=1, keepdims=True) / (2 * n * n))


def stable_moments(
    xs: Sequence[Representation],
    *,
    split: int = 0,
    precision: Precision = "highest",
    memory: int | None = None,
    progress: Progress | None = None,
) -> GramMoments:
    """Moments for centred statistics: swept again in float64 tiles where float32 ones left too few digits, and around
    the row means if landmarks were far from them."""
    progress = phase(progress, "")
    expect(progress, SWEEPS)
    g = sweep_moments(xs, split=split, precision=precision, memory=memory, progress=progress)
    n = g.n
    if too_coarse(g):
        xs = [widened(x) for x in xs]
        g = sweep_moments(xs, split=split, precision=precision, memory=memory, progress=progress)
    if n < 4:
        return g
    r = g.scaled_rows
    total = r.sum(axis=1)
    inner = np.diag(g.scaled_inner)
    centred = inner + total**2 / ((n - 1) * (n - 2)) - 2 / (n - 2) * (r * r).sum(axis=1)
    if not np.any(inner > _AMPLIFICATION * np.abs(centred)) or not np.any(centred > 0):
        return g
    moved = shifted(xs, moved_shift(g, half_offsets(g, hollow=True)), g.base)
    return sweep_moments(moved, split=split, precision=precision, memory=memory, progress=progress)


@np.errstate(over="ignore")
def too_coarse(g: GramMoments) -> bool:
    """Whether the sums themselves say that float64 tiles would hold digits that float32 ones have lost.

    A few odd rows, as of padding, decide the size of what is rounded, and a measure without them what is left of it. So
    what is left of pairs of different rows is compared to the scale of their rounding, centred and as it is.
    """
    if g.eps <= 2 * np.finfo(np.float64).eps:
        return False
    n = g.n
    r = g.scaled_rows
    left = np.diag(g.scaled_inner)
    if n >= 4:
        left = left + r.sum(axis=1) ** 2 / ((n - 1) * (n - 2)) - 2 / (n - 2) * (r * r).sum(axis=1)
    left = np.minimum(left, np.ldexp(np.diag(g.scaled_unshifted()), 2 * g.excess)) / (n * (n - 1))
    # squares of values far below 1 are no float32 numbers
    return bool(np.any(left < np.maximum((g.rounding / NARROW) ** 2, _SMALL**2)))


def as_swept(xs: Sequence[Representation], g: GramMoments) -> list[Representation]:
    """The rows for second passes in the tiles, and so the units, of an earlier sweep."""
    return [widened(x) for x in xs] if g.eps <= 2 * np.finfo(np.float64).eps else list(xs)


def moved_shift(g: GramMoments, by: Array | float = 0.0) -> Array:
    """(m, 2, n) the shift of a sweep, moved; the two parts add up to it.

    Far from 0 the first is large beside the values themselves, and a sum of both would round the second away.
    """
    assert g.scaled_parts is not None
    parts = g.scaled_parts.copy()
    parts[:, 1] += by
    return parts


def shifted(xs: Sequence[Representation], shift: Array, base: npt.NDArray[np.int32]) -> list[Representation]:
    """The same rows with the shift, (m, n) or (m, 2, n), of an earlier sweep, or one made from it."""
    return [replace(x, shift=np.ascontiguousarray(s), base=int(b)) for x, s, b in zip(xs, shift, base, strict=True)]
