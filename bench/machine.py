"""The facts about this machine and this checkout that a number needs beside it."""

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)
VECTOR_FLAGS = ("sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_bf16", "asimd", "sve")


def available_threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """What may still be allocated: the system's estimate, or the limit of the control group if that is lower."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        free = int(re.findall(r"MemAvailable:\s+(\d+)", meminfo.read_text())[0]) * 1024
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and limit.read_text().strip().isdigit():
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, int(limit.read_text()) - used)
    return free


def others_clock() -> float | None:
    """CPU seconds of every other process, and of the hypervisor, since boot; None where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _iowait, *rest = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    busy = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
    return busy - time.process_time()


def wait_until_quiet(*, load: float, seconds: float) -> None:
    """Return once others used less than `load` of one core for a second, at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = others_clock()
        start = time.monotonic()
        time.sleep(1)
        after = others_clock()
        if before is None or after is None or (after - before) / (time.monotonic() - start) < load:
            return


def commit() -> dict[str, Any]:
    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain")
    return {"hash": git("rev-parse", "--verify", "HEAD"), "dirty": None if status is None else bool(status)}


def cpu() -> dict[str, Any]:
    """Model, cores this process may use, and the vector instructions among VECTOR_FLAGS."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    family = dict(re.findall(r"^(cpu family|model|stepping)\s*:\s*(\d+)$", text, re.MULTILINE))
    return {
        "model": model[1].strip() if model else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "family": family,
        "cores": available_threads(),
        "vector_instructions": [f for f in VECTOR_FLAGS if f in (flags[1].split() if flags else ())],
    }


def versions() -> dict[str, Any]:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numpy_blas": f"{blas.get('name')} {blas.get('version')}",
        "system": f"{platform.system()} {platform.release()}",
    }
    for name in ("gramian", "torch", "scipy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def gramian_build() -> dict[str, Any]:
    """Compilers, instruction set and devices, as gramian.info() names them."""
    try:
        import gramian as gm
    except ImportError:
        return {}
    facts = gm.info()
    return {name: facts.get(name) for name in ("compiler", "cuda_compiler", "instruction_set", "devices")}


def provenance() -> dict[str, Any]:
    """What every file of results names: date, commit, machine, versions, build."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return {"date": date, "commit": commit(), "cpu": cpu(), "versions": versions(), "build": gramian_build()}


def slug() -> str:
    """A name for result files: the CPU's model and the cores in use, never the host's name."""
    facts = cpu()
    model = re.sub(r"\(r\)|\(tm\)|cpu|@.*|processor", "", facts["model"].lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {facts['cores']}c").strip("-")
