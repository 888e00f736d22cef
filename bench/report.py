"""Results as a table for people, a file for machines, and against an earlier file."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .machine import commit, cpu, gramian_build, slug, versions
from .measure import Row
from .runs import CaseResult

SCHEMA = 1
RESULTS = Path(__file__).parent / "results"
HEADER = ("", "time", "ratio", "noise", "error", "extra memory", "GFLOP/s", "of gemm")


def as_document(results: Sequence[CaseResult], *, repeats: int) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": cpu(),
        "versions": versions(),
        "build": gramian_build(),
        "repeats": repeats,
        "results": [asdict(r) for r in results],
    }
    parsed: dict[str, Any] = json.loads(json.dumps(document))  # what a reader of the file will see
    return parsed


def new_path() -> Path:
    """results/<machine>-<date>.json, numbered from the second of a day on."""
    stem = f"{slug()}-{datetime.now(UTC):%Y-%m-%d}"
    names = [f"{stem}.json", *(f"{stem}-{k}.json" for k in range(2, 1000))]
    return next(RESULTS / name for name in names if not (RESULTS / name).exists())


def write(document: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """A results file, or ValueError."""
    try:
        document = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as failure:
        raise ValueError(f"{path} is not a results file: {failure}") from failure
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"{path} is not a results file of schema {SCHEMA}")
    return document


def table(result: CaseResult) -> str:
    """The case in one line, then a line for every contestant."""
    lines = [title(result)]
    cells = [HEADER, *(row_cells(r) for r in result.rows if r.reason is None or r.seconds is not None)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = [k for k in range(len(HEADER)) if any(c[k] for c in cells[1:])]
    for row in cells:
        first, *rest = ((row[k], widths[k]) for k in shown) if shown else ((row[0], widths[0]),)
        lines.append("  " + "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]))
    lines += [
        f"  {r.contestant}: {'no memory figure' if r.seconds else 'skipped'}, {r.reason}"
        for r in result.rows
        if r.reason is not None
    ]
    return "\n".join(lines)


def title(result: CaseResult) -> str:
    case, used = result.case, [r.others for r in result.rounds if r.used and r.others is not None]
    parts = [case.name]
    if case.n:
        parts += [f"{case.n} × {case.d}, {case.m} representations", f"{case.dtype} {case.kernel} {case.measure}"]
    if case.mean:
        parts.append(f"mean {case.mean:g} sd")
    parts.append(f"{result.threads} thread{'s' * (result.threads > 1)}")
    if isinstance(result.reference, float):
        parts.append(f"float64 value {result.reference:.9g}")
    if result.rounds:
        load = f", others' load {max(used):.2f} cores" if used else ""
        parts.append(f"{sum(r.used for r in result.rounds)} of {len(result.rounds)} rounds{load}")
    return "; ".join(parts)


def row_cells(row: Row) -> tuple[str, ...]:
    error = "" if row.error is None else f"{row.error:.1e}"
    if row.wrong:
        error = f"WRONG {error or 'not finite'}"
    memory = "" if row.extra_bytes is None else f"{'≤ ' * row.extra_is_bound}{row.extra_bytes / 1e6:.0f} MB"
    return (
        row.contestant,
        "" if row.seconds is None else duration(row.seconds),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if row.noise is None else f"{row.noise:.1%}",
        error,
        memory,
        "" if row.gflops is None else f"{row.gflops:.1f}",
        "" if row.of_gemm is None else f"{row.of_gemm:.0%}",
    )


def duration(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def comparison(new: dict[str, Any], old: dict[str, Any]) -> str:
    """Time and memory of all that is in both, new over old; a change within twice the noise is not called one."""
    lines = [f"against {old['date']}, commit {old['commit']['hash']}{' (dirty)' * bool(old['commit']['dirty'])}"]
    if new["cpu"] != old["cpu"]:
        lines.append(f"  another machine: {old['cpu']['model']}, {old['cpu']['cores']} cores; times do not compare")
    before = {r["case"]["name"]: r for r in old["results"]}
    for result in new["results"]:
        name = result["case"]["name"]
        if name not in before:
            lines.append(f"  {name}: not in the earlier file")
            continue
        if (result["case"], result["threads"]) != (before[name]["case"], before[name]["threads"]):
            lines.append(f"  {name}: the case or its threads changed; not compared")
            continue
        earlier = {r["contestant"]: r for r in before[name]["rows"]}
        for row in result["rows"]:
            changes = row_changes(row, earlier.get(row["contestant"]))
            if changes:
                lines.append(f"  {name}  {row['contestant']}: {', '.join(changes)}")
    return "\n".join(lines)


def row_changes(new: dict[str, Any], old: dict[str, Any] | None) -> list[str]:
    if old is None:
        return []
    changes: list[str] = []
    if new["seconds"] is not None and old["seconds"] is not None:
        ratio = new["seconds"] / old["seconds"]
        noise = max(new["noise"], old["noise"])
        verdict = " slower" if ratio > 1 + 2 * noise else " faster" if ratio < 1 / (1 + 2 * noise) else ""
        changes.append(
            f"time {duration(old['seconds'])} → {duration(new['seconds'])}, {ratio:.2f}×{verdict} (noise {noise:.1%})"
        )
    if new["extra_bytes"] is not None and old["extra_bytes"] is not None:
        changes.append(f"memory {old['extra_bytes'] / 1e6:.0f} → {new['extra_bytes'] / 1e6:.0f} MB")
    if new["wrong"] != old["wrong"]:
        changes.append("now wrong" if new["wrong"] else "no longer wrong")
    return changes
