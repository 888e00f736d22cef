"""What every experiment has: settings, an outcome, and how it is written down."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import platform
import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import gramian as gm

Array: TypeAlias = NDArray[np.float64]
Cell: TypeAlias = str | int | float | None

_PACKAGES = {"torch": "torch", "sklearn": "scikit-learn"}  # by the name that is imported


@dataclass(frozen=True)
class Settings:
    """How an experiment is run."""

    quick: bool = False
    representations: Path | None = None  # of examples/encoders


@dataclass(frozen=True)
class Outcome:
    """What an experiment found."""

    finding: str  # composed from the numbers
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    figure: str  # SVG
    values: Mapping[str, Any]  # n, seeds, and every number behind the table and the figure
    notes: tuple[str, ...] = ()  # what is missing, and how to get it


@dataclass(frozen=True)
class Record:
    """An outcome that was written down."""

    name: str
    claim: str
    outcome: Outcome
    document: Mapping[str, Any]
    files: tuple[Path, ...] = field(default=())

    @property
    def finding(self) -> str:
        return self.outcome.finding

    def text(self) -> str:
        """The table between the claim and the finding."""
        cells = [self.outcome.columns, *([shown(cell) for cell in row] for row in self.outcome.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [f"{self.name}{' (quick: a trial run)' if self.document['quick'] else ''}", _filled(self.claim), ""]
        for first, *rest in cells:
            right = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *right]))
        lines += ["", *map(_filled, self.outcome.notes), _filled(f"Found: {self.finding}"), ""]
        lines += [
            f"wrote {', '.join(map(str, self.files))} in {self.document['seconds']:.0f} s, "
            f"{self.document['cpu_seconds']:.0f} s of one core",
            "",
        ]
        return "\n".join(lines)


def write(name: str, module: Any, folder: Path, settings: Settings) -> Record:
    """Run the experiment of a module and write its files."""
    require(*module.NEEDS)
    folder.mkdir(parents=True, exist_ok=True)
    start, used = time.perf_counter(), time.process_time()
    outcome: Outcome = module.run(settings)
    system = gm.info()
    document = {
        "experiment": name,
        "claim": module.CLAIM,
        "finding": outcome.finding,
        "notes": list(outcome.notes),
        "quick": settings.quick,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "versions": {
            "gramian": system["version"],
            "python": system["python"],
            **{package: _version(package) for package in ("numpy", "scipy", *_PACKAGES.values())},
        },
        "machine": {
            "processor": _processor(),
            "cpus": system["cpus"],
            "instruction_set": system["instruction_set"],
            "platform": system["platform"],
        },
        **outcome.values,
        "table": {"columns": outcome.columns, "rows": outcome.rows},
    }
    files = tuple(folder / f"{name}.{kind}" for kind in ("json", "csv", "txt", "svg"))
    record = Record(name, module.CLAIM, outcome, plain(document), files)
    contents = (
        _json(record.document),
        _csv(outcome),
        record.text(),
        outcome.figure,
    )
    for path, content in zip(files, contents, strict=True):
        path.write_text(content, encoding="utf-8")
    return record


def require(*modules: str) -> None:
    """Say what has to be installed, all of it at once."""
    missing = [_PACKAGES[name] for name in modules if find_spec(name) is None]
    if missing:
        raise ImportError(f"this experiment needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def plain(value: Any) -> Any:
    """Values that JSON knows; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | range):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def shown(cell: Cell) -> str:
    """A cell of the table."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, float):
        return f"{cell:.3f}" if cell == 0 or 1e-3 <= abs(cell) < 1e4 else f"{cell:.2e}"
    return str(cell)


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's, nan if one of them does not vary."""
    from scipy.stats import rankdata

    x, y = (rankdata(v) - (len(v) + 1) / 2 for v in (a, b))
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size else math.nan


def _json(document: Mapping[str, Any]) -> str:
    """A key a line, and an entry a line of what is a list of entries: to be read, and compared by line."""

    def line(value: Any) -> str:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)

    def block(value: Any) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n  " + ",\n  ".join(map(line, value)) + "\n ]"
        return line(value)

    return "{\n " + ",\n ".join(f"{line(key)}: {block(value)}" for key, value in document.items()) + "\n}\n"


def _csv(outcome: Outcome) -> str:
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(outcome.columns)
    writer.writerows(outcome.rows)
    return target.getvalue()


def _filled(text: str) -> str:
    return textwrap.fill(text, 100)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE) if facts.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
