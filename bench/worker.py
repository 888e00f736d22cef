"""The other end of `runs.ask`: read a job as JSON, do it in this fresh process, print the result as the last line."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .baselines import contestants
from .cases import Answer, Case, make_arrays
from .measure import memory_of, time_case
from .reference import cached_reference, plain


def do(job: dict[str, Any]) -> Any:
    case = Case(**{**job["case"], "routes": tuple(job["case"]["routes"])})
    if job["job"] == "reference":
        return plain(cached_reference(make_arrays(case), case, Path(job["cache"])))
    want: Answer = np.array(job["want"]) if isinstance(job["want"], list) else job["want"]
    entrants = [c for c in contestants(case) if c.name in job["contestants"]]
    if job["job"] == "time":
        rounds = {"repeats": job["repeats"], "threads": job["threads"], "wait": job["wait"]}
        return asdict(time_case(case, entrants, want, **rounds))
    if job["job"] == "memory":
        return asdict(memory_of(entrants[0], case, want, threads=job["threads"]))
    raise ValueError(f"unknown job {job['job']!r}")


if __name__ == "__main__":
    result = do(json.load(sys.stdin))
    print("\n" + json.dumps(result))
