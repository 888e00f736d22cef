"""python -m bench --help"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from . import __doc__ as summary
from .cases import CASES, Case
from .machine import available_threads
from .measure import Row
from .report import as_document, comparison, new_path, read, table, write
from .runs import CaseResult, entrant_names, run_case

CACHE = Path(__file__).parent / ".cache"


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 1 if gramian was wrong or gave no number somewhere."""
    parser = argument_parser()
    args = parser.parse_args(argv)
    globs = args.case or ["*"]
    chosen = [case for case in CASES if any(fnmatch(case.name, glob) for glob in globs)]
    unmatched = [glob for glob in globs if not any(fnmatch(case.name, glob) for case in CASES)]
    if unmatched:
        parser.error(f"no case is called {', '.join(unmatched)}; there are {', '.join(c.name for c in CASES)}")
    if args.list:
        print("\n".join(described(case) for case in chosen))
        return 0
    try:
        earlier = None if args.compare is None else read(args.compare)
    except ValueError as failure:
        parser.error(str(failure))

    path = args.json or new_path()
    results: list[CaseResult] = []
    for case in chosen:
        results.append(run_or_reason(case, args))
        print(table(results[-1]), end="\n\n", flush=True)
        document = as_document(results, repeats=args.repeats)
        write(document, path)  # after every case: an interrupted run keeps what it has
    print(path)
    if earlier is not None:
        print(comparison(document, earlier))
    return int(any(failed(row) for result in results for row in result.rows))


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=summary)
    parser.add_argument("--case", metavar="GLOB", action="append", help="cases to run (repeatable; default: all)")
    parser.add_argument(
        "--contestant", metavar="GLOB", action="append", help="contestants to run (repeatable; default: all)"
    )
    parser.add_argument(
        "--json", metavar="F", type=Path, help="results file (default: bench/results/<machine>-<date>.json)"
    )
    parser.add_argument("--compare", metavar="F", type=Path, help="print ratios against an earlier results file")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--repeats", metavar="N", type=positive, default=7, help="rounds of timings (default: 7)")
    parser.add_argument(
        "--threads", metavar="N", type=positive, default=available_threads(), help="threads of everyone (default: all)"
    )
    parser.add_argument(
        "--wait",
        metavar="S",
        type=float,
        default=20,
        help="seconds to wait for other processes to be quiet (default: 20)",
    )
    parser.add_argument("--cache", metavar="DIR", type=Path, default=CACHE, help="where float64 references are kept")
    return parser


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def described(case: Case) -> str:
    shape = f"{case.n} × {case.d} × {case.m}" if case.n else ""
    return f"{case.name:36} {shape:18} {case.dtype:8} {case.kernel:19} {case.measure:11} {'+'.join(case.routes)}"


def run_or_reason(case: Case, args: argparse.Namespace) -> CaseResult:
    """The result, or every contestant with the reason why the case as a whole failed."""
    globs = args.contestant or ["*"]
    how = {"repeats": args.repeats, "threads": args.threads, "cache": args.cache.resolve(), "wait": args.wait}
    try:
        return run_case(case, globs=globs, **how)
    except (RuntimeError, subprocess.SubprocessError) as failure:
        rows = tuple(Row(name, reason=str(failure)) for name in entrant_names(case, globs))
        return CaseResult(case, case.threads or args.threads, None, (), rows)


def failed(row: Row) -> bool:
    return row.contestant == "gramian" and (row.wrong or row.reason is not None)


if __name__ == "__main__":
    sys.exit(main())
