"""The dissimilarities of all pairs of rows, tile by tile: their quantiles and their ranks. They are never held at once.

The native sweeps reduce a tile where it is made; an order statistic needs the values, so here tiles are made in float64
by NumPy's BLAS, on the host. Values are rounded to 40 bits, which is far above the rounding of how they came about: two
pairs that are equal in exact arithmetic are tied here, whichever tile they lie in. Rows that point the same way, up to
the rounding of the dtype that they came in, are 0 apart.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, FileIO
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.once import once
from gramian.progress import Progress, expect, phase, tell
from gramian.sweeps.centred import CentredFeatures

Array: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]  # numbers of rows
Panel: TypeAlias = tuple[Array, Array, Array, Array | None]  # (b, d) rows; about the mean; (b,) squares; turned

BUDGET = 512 << 20  # bytes that sorting may take without being asked
_EDGE = 1024  # rows of a tile at most
SORTED = 3.0  # times what all tiles take, that they and sorting their values twice do
_TILE_BYTES = 128  # of scratch for each pair of a tile
_SORT_BYTES = 112  # of scratch for each pair that is ranked in memory
_CLOSE = 1 / 32  # part of ‖x‖² + ‖y‖² below which a squared distance is computed from the differences
_BLOCK = 4096  # close pairs that are worth a block of their own
_DROPPED = 12  # bits of 52
_SAMPLE = 1 << 20  # pairs from which buckets, bins and brackets are laid out
_MOST_BUCKETS = 768  # to each of which every tile adds some records
_CELLS = 8  # of the guide to a list of numbers, for each of them
_STEPS = 8  # from a cell's first number on, before the rest is searched
_FEW = 101  # pairs whose median is a value that most pairs have, where most have the same
_PENDING = 1 << 22  # bracketed values after which equal ones are counted together


@dataclass(frozen=True, eq=False)
class Dissimilarities:
    """Distances between prepared rows, in units of 2^`exponent`; squared unless `root`."""

    features: CentredFeatures
    root: bool = False
    thresholds: tuple[float, float] | None = None  # of the geo-topological transform, in the same units
    turned: Array | None = None  # (n,) radians by which rounding may have turned each row: closer ones are 0 apart

    @property
    def n(self) -> int:
        return self.features.x.n

    @property
    def pairs(self) -> int:
        return self.n * (self.n - 1) // 2

    @property
    def exponent(self) -> int:
        """A power of two; half of it where distances are not squared (it is even)."""
        return self.features.exponent // 2 if self.root else self.features.exponent

    def panel(self, start: int, stop: int) -> Panel:
        rows = self.features.raw(start, stop)
        turned = None if self.turned is None else self.turned[start:stop]
        return rows, *_with_squares(rows - self.features.mean), turned

    def tile(self, left: Panel, right: Panel) -> Array:
        """(len(left), len(right)) values."""
        (rows, x, xx, turn), (others, y, yy, turns) = left, right
        total = np.add.outer(xx, yy)
        found = x @ y.T
        found *= -2
        found += total
        _recompute_close(found, total, rows, others)
        if turn is not None and turns is not None:
            i, j = np.nonzero(found <= (turn.max() + turns.max()) ** 2)
            same = found[i, j] <= (turn[i] + turns[j]) ** 2
            found[i[same], j[same]] = 0
        return self._values(found)

    def sampled(self, count: int, seed: int) -> Array:
        """(count,) values of pairs drawn with replacement, sorted."""
        return np.sort(self.drawn(count, seed)[0])

    def drawn(self, count: int, seed: int) -> tuple[Array, Rows, Rows]:
        """(count,) values of pairs drawn with replacement, and the rows of each pair."""
        rng = np.random.default_rng(seed)
        i = rng.integers(0, self.n, count)
        j = (i + rng.integers(1, self.n, count)) % self.n
        found = np.empty(count)
        step = max(1, _SAMPLE // self.features.x.d)
        for begin in range(0, count, step):
            part = slice(begin, begin + step)
            difference = self.features.take(i[part]) - self.features.take(j[part])
            found[part] = np.einsum("ij,ij->i", difference, difference)
        if self.turned is not None:
            found[found <= (self.turned[i] + self.turned[j]) ** 2] = 0
        return self._values(found), i, j

    def _values(self, squares: Array) -> Array:
        """Squared distances to values, in place."""
        bits = squares.view(np.int64)
        bits += 1 << (_DROPPED - 1)
        bits &= -1 << _DROPPED
        if self.root:
            np.sqrt(squares, out=squares)
        if self.thresholds is None:
            return squares
        low, high = self.thresholds
        if low == high:
            return (squares > low).astype(np.float64)
        squares -= low
        squares /= high - low
        return np.clip(squares, 0, 1, out=squares)


def _recompute_close(found: Array, total: Array, x: Array, y: Array) -> None:
    """Squared distances that are small beside ‖x‖² + ‖y‖², in place.

    Rows close to one row make a block of products around that row, as clusters do; what is close there too, or is not
    worth a block, comes from the differences.
    """
    close = found < _CLOSE * total
    while (left := int(np.count_nonzero(close))) > _BLOCK:
        centre = int(np.argmax(close.sum(axis=1)))
        columns = np.flatnonzero(close[centre])
        rows = np.flatnonzero(close[:, columns[0]])
        block = np.ix_(rows, columns)
        (a, aa), (b, bb) = (_with_squares(part - x[centre]) for part in (x[rows], y[columns]))
        sums = np.add.outer(aa, bb)
        values = sums - 2 * (a @ b.T)
        done = close[block] & (values >= _CLOSE * sums)
        found[block] = np.where(done, values, found[block])
        close[block] &= ~done
        if np.count_nonzero(close) > left - _BLOCK:
            break
    rest = np.flatnonzero(close)
    step = max(1, _SAMPLE // x.shape[1])
    for begin in range(0, len(rest), step):
        i, j = np.unravel_index(rest[begin : begin + step], found.shape)
        difference = x[i] - y[j]
        found[i, j] = np.einsum("ij,ij->i", difference, difference)


def ratio(cross: float, x: float, y: float) -> float:
    """cross/√(x·y), which rounding takes no further than 1."""
    return max(-1.0, min(1.0, float(cross / math.sqrt(x) / math.sqrt(y))))


def _with_squares(rows: Array) -> tuple[Array, Array]:
    return rows, np.einsum("ij,ij->i", rows, rows)


def tiles(sources: Sequence[Dissimilarities], memory: int | None, progress: Progress | None) -> Iterator[list[Array]]:
    """For each tile of i < j, the values of every source, pairs in the same order."""
    n = sources[0].n
    edge = min(_EDGE, max(64, math.isqrt((memory or BUDGET) // (_TILE_BYTES * len(sources)))))
    starts = range(0, n, edge)
    count = len(starts) * (len(starts) + 1) // 2
    done = 0
    progress = phase(progress, "tiles")
    for begin in starts:
        left = [s.panel(begin, min(n, begin + edge)) for s in sources]
        for other in range(begin, n, edge):
            right = left if other == begin else [s.panel(other, min(n, other + edge)) for s in sources]
            found = [s.tile(a, b) for s, a, b in zip(sources, left, right, strict=True)]
            if other == begin:
                upper = np.triu_indices(len(found[0]), 1)
                yield [f[upper] for f in found]
            else:
                yield [f.reshape(-1) for f in found]
            done += 1
            tell(progress, done, count)


# ---- quantiles ------------------------------------------------------------------------------------------------------


class _Bracket:
    """Order statistics `rank` and `rank + 1` of a stream, sought between two bounds."""

    def __init__(self, sample: Array, rank: int, pairs: int, reach: float) -> None:
        m, p = len(sample), rank / pairs
        half = reach * math.sqrt(max(p * (1 - p), 1 / m) / m)
        low, high = math.floor((p - half) * m) - 1, math.ceil((p + half) * m) + 1
        self.wanted = (rank, min(rank + 1, pairs - 1))
        self.low = float(sample[low]) if low >= 0 else -math.inf
        self.high = float(sample[high]) if high < m else math.inf
        self.below = 0
        self.values = np.empty(0)  # between the bounds: distinct, sorted, and how often
        self.counts = np.empty(0, dtype=np.int64)
        self.pending: list[Array] = []

    def add(self, values: Array) -> None:
        self.below += int(np.count_nonzero(values < self.low))
        self.pending.append(values[(values >= self.low) & (values <= self.high)])
        if sum(map(len, self.pending)) > _PENDING:
            self._settle()

    def _settle(self) -> None:
        values, counts = np.unique(np.concatenate([np.empty(0), *self.pending]), return_counts=True)
        self.pending.clear()
        times = np.concatenate([self.counts, counts])
        self.values, where = np.unique(np.concatenate([self.values, values]), return_inverse=True)
        self.counts = np.zeros(len(self.values), dtype=np.int64)
        np.add.at(self.counts, where, times)

    def found(self) -> tuple[float, float] | None:
        """The two order statistics, if both lie between the bounds."""
        self._settle()
        upto = self.below + np.cumsum(self.counts)
        if self.wanted[0] < self.below or not len(upto) or self.wanted[1] >= upto[-1]:
            return None
        first, second = self.values[np.searchsorted(upto, self.wanted, side="right")]
        return float(first), float(second)


def quantiles(
    sources: Sequence[Dissimilarities],
    probabilities: tuple[float, float],
    *,
    memory: int | None,
    progress: Progress | None,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """Exact quantiles of every source, as `numpy.quantile` defines them, in one pass (seldom two).

    A sample says between which bounds each must lie; the pass counts what is below and keeps what is between.
    """
    pairs = sources[0].pairs
    count = min(_SAMPLE, pairs)
    samples = [s.sampled(count, seed) for s in sources]
    places = [p * (pairs - 1) for p in probabilities]
    for reach in (5.0, 20.0, 80.0, 2.0 * count):  # the last reaches over the whole sample
        brackets = [[_Bracket(sample, int(place), pairs, reach) for place in places] for sample in samples]
        for values in tiles(sources, memory, progress):
            for row, found in zip(brackets, values, strict=True):
                for bracket in row:
                    bracket.add(found)
        stats = [[bracket.found() for bracket in row] for row in brackets]
        out = [
            [s[0] + (s[1] - s[0]) * (place - int(place)) for s, place in zip(row, places, strict=True) if s]
            for row in stats
        ]
        if all(len(row) == len(places) for row in out):
            break
    return [(row[0], row[1]) for row in out]


# ---- ranks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of two streams of values."""

    value: float  # nan where a stream is constant
    error: float  # how far it may be from the exact value
    constant: tuple[bool, bool]


def mid_ranks(values: Array) -> Array:
    """1 for the least; equal values share the mean of their ranks."""
    order = np.argsort(values)
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    edges = np.append(first, len(values))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(0.5 * (edges[:-1] + edges[1:] + 1), np.diff(edges))
    return ranks


def exact_rank_correlation(
    x: Dissimilarities, y: Dissimilarities, *, memory: int | None, progress: Progress | None
) -> RankCorrelation:
    """By sorting: at once, or in buckets, in memory if that is allowed and else on disk.

    Pairs (x, y) are thrown into buckets by x; bucket after bucket is sorted, which gives the ranks of x, and
    thrown into buckets by y; these are sorted in turn and their products summed. 16 bytes for each pair, read and
    written twice, and every tile is made once. A file on disk has no name: whatever ends the process, nothing is left.
    """
    budget = memory or BUDGET
    step = min(budget, BUDGET)  # of one sort: a longer one would keep Ctrl-C waiting
    if x.pairs * _SORT_BYTES <= step:
        expect(progress, SORTED)
        found = [np.concatenate(parts) for parts in zip(*tiles([x, y], memory, progress), strict=True)]
        sorted_out = []
        for side, values in enumerate(found):
            phase(progress, f"sorting {side + 1}/2")
            sorted_out.append(mid_ranks(values))
        return _correlated([(sorted_out[0], sorted_out[1])], x.pairs)
    count = min(_MOST_BUCKETS, math.ceil(1.5 * x.pairs * _SORT_BYTES / step))
    in_memory = x.pairs * _SORT_BYTES <= budget
    if not in_memory:
        _check_disk(tempfile.gettempdir(), x)
    expect(progress, SORTED)
    with BytesIO() if in_memory else tempfile.TemporaryFile(buffering=0) as file:
        by_x = _Buckets(file, _cuts(x, count), step)
        end = 0
        for values_x, values_y in tiles([x, y], memory, progress):
            by_x.add(values_x, values_y, _Places([end], [0, len(values_x)]))
            end += len(values_x)
        by_y = _Buckets(file, _cuts(y, count), step)
        for ranks, values_y, places in by_x.ranked(phase(progress, "sorting 1/2")):
            by_y.add(values_y, ranks, places)  # where they were read: the file grows no more
        told = phase(progress, "sorting 2/2")
        return _correlated(((ranks_x, ranks_y) for ranks_y, ranks_x, _ in by_y.ranked(told)), x.pairs)


def _correlated(ranks: Iterator[tuple[Array, Array]] | list[tuple[Array, Array]], pairs: int) -> RankCorrelation:
    """Pearson's correlation of ranks, whose mean is known."""
    centre = 0.5 * (pairs + 1)
    sums = np.zeros(3)
    for a, b in ranks:
        u, v = (a - centre) / pairs, (b - centre) / pairs
        sums += u @ u, u @ v, v @ v
    constant = (bool(sums[0] == 0), bool(sums[2] == 0))
    value = math.nan if any(constant) else ratio(sums[1], sums[0], sums[2])
    return RankCorrelation(value, 0.0, constant)


def _check_disk(folder: str, x: Dissimilarities) -> None:
    needed, free = 18 * x.pairs, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"exact ranks of the {x.pairs} pairs of {x.n} rows need {needed / 1e9:.1f} GB on disk, but "
            f"{folder} has {free / 1e9:.1f} GB; set TMPDIR to another folder, or take bins=65536"
        )


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Numbers, 0 or more, that cut what is 0 or more into parts: part b is from number b − 1 to less than number b."""

    numbers: Array  # sorted, distinct

    @property
    def parts(self) -> int:
        return len(self.numbers) + 1

    @once
    def single(self) -> npt.NDArray[np.bool_]:
        """(parts,) whether a part holds a single value: from it to the next float."""
        return np.concatenate([[False], np.nextafter(self.numbers[:-1], np.inf) == self.numbers[1:], [False]])

    @once
    def _guide(self) -> tuple[int, int, npt.NDArray[np.int32]]:
        """First cell, bits that a cell leaves out, and for each cell how many numbers lie below it.

        Floats from 0 on are in the order of their bits, whose upper ones number the cells.
        """
        bits = self.numbers[self.numbers > 0].view(np.int64)
        if not len(bits):
            return 0, 63, np.array([0], dtype=np.int32)
        dropped = max(0, int(bits[-1] - bits[0]).bit_length() - (_CELLS * len(bits)).bit_length())
        first, last = int(bits[0]) >> dropped, int(bits[-1]) >> dropped
        edges = (np.arange(first, last + 1) << dropped).view(np.float64)
        guide = np.searchsorted(self.numbers, edges).astype(np.int32)
        guide[0] = 0  # what is below the first cell is taken to it
        return first, dropped, guide

    def part(self, values: Array) -> npt.NDArray[np.int32]:
        """Of each value; `searchsorted(numbers, values, "right")`, some four times as fast where numbers are many."""
        first, dropped, guide = self._guide
        found: npt.NDArray[np.int32] = guide[np.clip((values.view(np.int64) >> dropped) - first, 0, len(guide) - 1)]
        ends = np.append(self.numbers, np.inf)
        for _ in range(_STEPS):
            short = values >= ends[found]
            if not short.any():
                return found
            found += short
        rest = np.flatnonzero(values >= ends[found])
        found[rest] = np.searchsorted(self.numbers, values[rest], side="right")
        return found


def _cuts(source: Dissimilarities, count: int) -> _Cuts:
    """Where a sample cuts the values into about `count` parts; a value that many pairs share gets one of its own."""
    sample = source.sampled(min(_SAMPLE, max(1 << 16, 256 * count)), 0)
    at = np.linspace(0, len(sample) - 1, count + 1).astype(np.int64)
    numbers, times = np.unique(sample[at[1:-1]], return_counts=True)
    # a single number may be the least of all values: with a part of its own it tells constant values from others
    shared = numbers if len(numbers) == 1 else numbers[times > 1]
    return _Cuts(np.union1d(numbers, np.nextafter(shared, np.inf)))


@dataclass(frozen=True)
class _Places:
    """Where in a file a list of records lies, part after part."""

    first: list[int]  # record of the file where a part begins
    starts: list[int]  # record of the list, and the list's length

    def within(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """(first record, records) in the file of records `begin` to `end` of the list."""
        part = bisect_right(self.starts, begin) - 1
        while begin < end:
            stop = min(end, self.starts[part + 1])
            yield self.first[part] + begin - self.starts[part], stop - begin
            begin, part = stop, part + 1


def _joined(pieces: Iterable[tuple[int, int]]) -> _Places:
    first, starts = [], [0]
    for at, count in pieces:
        first.append(at)
        starts.append(starts[-1] + count)
    return _Places(first, starts)


class _Buckets:
    """Records (key, payload) in a file by key; `ranked` gives (rank of the key, payload, where they were).

    What is added at a time is sorted by bucket, so that a bucket is a piece of every addition.
    """

    def __init__(self, file: FileIO | BytesIO, cuts: _Cuts, budget: int) -> None:
        self.file, self.cuts, self.budget = file, cuts, budget
        self.added: list[tuple[_Places, list[int]]] = []  # and where in it each bucket begins
        self.counts = np.zeros(cuts.parts, dtype=np.int64)

    def add(self, key: Array, payload: Array, places: _Places) -> None:
        bucket = self.cuts.part(key).astype(np.uint16)
        order = np.argsort(bucket, kind="stable")
        records = np.stack([key, payload], axis=1)[order]
        counts = np.bincount(bucket, minlength=self.cuts.parts)
        done = 0
        for first, count in places.within(0, len(key)):
            _write(self.file, first, records[done : done + count])
            done += count
        self.added.append((places, [0, *np.cumsum(counts).tolist()]))
        self.counts += counts

    def ranked(self, progress: Progress | None) -> Iterator[tuple[Array, Array, _Places]]:
        below, step = 0, max(1, self.budget // _SORT_BYTES)
        for b, (count, single) in enumerate(zip(self.counts.tolist(), self.cuts.single, strict=True)):
            bucket = _joined(
                piece for places, begins in self.added for piece in places.within(begins[b], begins[b + 1])
            )
            for begin in range(0, count, step if single else max(1, count)):
                taken = min(count - begin, step) if single else count
                part = _joined(bucket.within(begin, begin + taken))
                records = np.empty((taken, 2))
                done = 0
                for first, length in part.within(0, taken):
                    _read(self.file, first, records[done : done + length])
                    done += length
                ranks = np.full(taken, 0.5 * (count + 1)) if single else mid_ranks(records[:, 0])
                yield ranks + below, records[:, 1].copy(), part
            below += count
            tell(progress, b + 1, len(self.counts))


def _write(file: FileIO | BytesIO, first: int, records: Array) -> None:
    left = records.data.cast("B")
    file.seek(16 * first)
    while left:
        try:
            left = left[file.write(left) :]
        except OSError as error:
            raise OSError(
                error.errno,
                f"{os.strerror(error.errno or 0)}: exact ranks are sorted in a file in {tempfile.gettempdir()}; set "
                "TMPDIR to another folder, or take bins=65536",
            ) from None


def _read(file: FileIO | BytesIO, first: int, records: Array) -> None:
    left = records.data.cast("B")
    file.seek(16 * first)
    while left:
        count = file.readinto(left)
        if not count:
            raise OSError(f"the file in {tempfile.gettempdir()} in which exact ranks are sorted has been cut short")
        left = left[count:]


def binned_rank_correlation(
    x: Dissimilarities, y: Dissimilarities, bins: int, *, memory: int | None, progress: Progress | None
) -> RankCorrelation:
    """Every pair has the mean rank of its bin: one pass counts, another sums the products. No pair is left out.

    A rank is its bin's mean and a rest that is orthogonal to all functions of the bin, so the vectors of ranks and of
    means are at an angle φ with sin² φ = rest² / rank², and the correlation is the cosine of an angle that is at most
    φ_x + φ_y off.
    """
    pairs = x.pairs
    expect(progress, 2)
    counted = phase(progress, "bins")
    cuts = [_cuts(s, bins) for s in (x, y)]
    counts = [np.zeros(c.parts, dtype=np.int64) for c in cuts]
    for values in tiles([x, y], memory, counted):
        for total, c, v in zip(counts, cuts, values, strict=True):
            total += np.diff(np.searchsorted(np.sort(v), c.numbers), prepend=0, append=len(v))
    means, squares, angle = [], [], 0.0
    for total, c in zip(counts, cuts, strict=True):
        mean = (np.cumsum(total) - total + 0.5 * (total + 1) - 0.5 * (pairs + 1)) / pairs
        size = total / pairs
        square = float((total * mean**2).sum())
        rest = float((total * size**2)[~c.single].sum()) / 12
        angle += math.asin(math.sqrt(rest / (rest + square))) if rest > 0 else 0.0
        means.append(mean)
        squares.append(square)
    if not all(s > 0 for s in squares):
        return RankCorrelation(math.nan, math.nan, (squares[0] <= 0, squares[1] <= 0))
    product = 0.0
    for values in tiles([x, y], memory, phase(progress, "ranks")):
        a, b = (m[c.part(v)] for m, c, v in zip(means, cuts, values, strict=True))
        product += float(a @ b)
    value = ratio(product, squares[0], squares[1])
    theta = math.acos(value)
    ends = [math.cos(max(0.0, theta - angle)), math.cos(min(math.pi, theta + angle))]
    return RankCorrelation(value, max(abs(e - value) for e in ends) if angle else 0.0, (False, False))


# ---- sums of transformed values -------------------------------------------------------------------------------------


def sums(sources: Sequence[Dissimilarities], *, memory: int | None, progress: Progress | None) -> tuple[Array, Array]:
    """(2,) means and (2, 2) mean products of values between 0 and 1."""
    first, second = np.zeros(2), np.zeros((2, 2))
    for values in tiles(sources, memory, progress):
        both = np.stack(values)
        first += both.sum(axis=1)
        second += both @ both.T
    return first / sources[0].pairs, second / sources[0].pairs


def spread(source: Dissimilarities, *, memory: int | None, progress: Progress | None) -> tuple[float, float]:
    """Mean and standard deviation of all values; 0 where they are all the same."""
    centre = float(np.median(source.sampled(min(_FEW, source.pairs), 0)))
    first = second = 0.0
    for (values,) in tiles([source], memory, progress):
        values = values - centre
        first += float(values.sum())
        second += float(values @ values)
    mean = first / source.pairs
    return centre + mean, math.sqrt(max(0.0, second / source.pairs - mean * mean))
