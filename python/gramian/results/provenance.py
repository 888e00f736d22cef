"""What a result is of: the versions that computed it, and a digest of its rows, by which they are known again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gramian import _core
from gramian.kernels import Kernel
from gramian.results.files import storable
from gramian.results.plain import plain
from gramian.rows.arrays import Matrix
from gramian.rows.sources import matrix

_IN_FULL = 64 << 20  # bytes up to which all of an array is in its digest;
_PIECES, _PIECE = 64, 1 << 20  # beyond, so many pieces of so many bytes each
_DIGEST = 16  # bytes


@storable
@dataclass(frozen=True)
class RowsRecord:
    """One array that a result was computed from."""

    name: str  # of the argument
    n: int
    d: int
    dtype: str
    device: str
    digest: str | None
    note: str | None  # of which part the digest is, if not of all rows, or why there is none


@storable
@dataclass(frozen=True)
class Provenance:
    """What a result was computed from, and with."""

    gramian: str  # versions
    numpy: str
    python: str
    rows: tuple[RowsRecord, ...]  # one for each array
    kernel: tuple[Kernel, ...]  # bandwidths resolved; none where the measure has none
    seed: int | None  # of every random choice, where there is one

    def matches(self, **arrays: object) -> bool:
        """Whether these are the rows, by the names of the arguments: ``provenance.matches(X=X, Y=Y)``.

        Arrays or files, as measures take them. False as well for rows that have no digest.

        Raises KeyError for a name that the result has no rows of.
        """
        recorded = {record.name: record for record in self.rows}
        unknown = [name for name in arrays if name not in recorded]
        if unknown:
            raise KeyError(
                f"{unknown[0]!r} is none of the arrays of this result: {', '.join(recorded) or 'it has none'}"
            )
        return all(
            recorded[name].digest is not None and _record(name, matrix(x, name)).digest == recorded[name].digest
            for name, x in arrays.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: plain(value) for name, value in vars(self).items()}


def provenance(
    rows: Mapping[str, Matrix | object], kernel: Kernel | Iterable[Kernel] = (), seed: int | None = None
) -> Provenance:
    """The provenance of a result of these arrays, named as the caller names them.

    A digest is BLAKE2b of 16 bytes over dtype, shape and rows as they were read. Of arrays beyond 64 MB it is that of
    64 pieces of whole rows, of 1 MiB each and evenly spaced, which tells arrays apart but not a few changed rows. Rows
    on a device are not copied to the host for it and have none. It takes about a millisecond for each megabyte.
    """
    return Provenance(
        _core.__version__,
        np.__version__,
        platform.python_version(),
        tuple(_record(name, x) for name, x in rows.items()),
        tuple(kernel) if isinstance(kernel, Iterable) else (kernel,),
        None if seed is None else int(seed),
    )


def _record(name: str, x: object) -> RowsRecord:
    if not isinstance(x, Matrix):
        n, kind = int(getattr(x, "n", 0)), type(x).__name__
        return RowsRecord(name, n, 0, "float64", "cpu", None, f"{kind} were given, and no rows")
    if x.data is None:
        note = f"they lie on {x.device} and were not copied to the host for it"
        return RowsRecord(name, x.n, x.d, x.dtype, x.device, None, note)
    code = hashlib.blake2b(f"{x.dtype} {x.n} {x.d}".encode(), digest_size=_DIGEST)
    whole = x.data.nbytes <= _IN_FULL
    step = max(1, _PIECE // max(1, x.data[:1].nbytes))
    starts = range(0, x.n, step) if whole else np.linspace(0, max(0, x.n - step), _PIECES).astype(int).tolist()
    for start in starts:  # in pieces, so that strided rows are never copied as a whole
        code.update(np.ascontiguousarray(x.data[start : start + step]).data)
    part = None if whole else f"of {_PIECES} evenly spaced pieces of {step} rows"
    return RowsRecord(name, x.n, x.d, x.dtype, x.device, code.hexdigest(), part)
