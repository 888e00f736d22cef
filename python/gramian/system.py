"""What this installation is and what it sees."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gramian import _core
from gramian.words import public

_OPTIONAL = ("torch", "cupy-cuda12x", "cupy-cuda13x", "jax", "safetensors", "matplotlib", "pandas", "xarray")


@public
def info() -> dict[str, Any]:
    """Version, devices, threads, instruction set and installed companions, for reports.

    Returns
    -------
    dict
        ``version``, ``devices`` ("cpu", then "cuda:0 NVIDIA H100 (sm_90, 132 SMs, 79 GiB)" and so on), ``cuda`` (why
        there is no CUDA device, or None), ``instruction_set``, ``threads``, ``cpus`` (allowed by affinity and cgroup),
        ``compiler``, ``cuda_compiler`` (None if built without), ``python``, ``platform``, ``packages``.

    Notes
    -----
    Nothing is imported for it: versions are read from the installed packages' metadata.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.info()["devices"][0]
    'cpu'
    """
    packages: dict[str, str | None] = {}
    for name in ("numpy", "scipy", *_OPTIONAL):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "version": _core.__version__,
        "devices": ["cpu", *map(_describe, _core.cuda_devices())],
        "cuda": _core.cuda_status() or None,
        "instruction_set": _core.instruction_set(),
        "threads": _core.threads(),
        "cpus": _core.available_cpus(),
        "compiler": _core.COMPILER,
        "cuda_compiler": _core.CUDA_COMPILER or None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
    }


def _describe(device: _core._Device) -> str:
    capability = "".join(map(str, device["capability"]))
    memory = f"{device['memory'] / 2**30:.0f} GiB"
    return f"cuda:{device['index']} {device['name']} (sm_{capability}, {device['multiprocessors']} SMs, {memory})"


@public
def set_num_threads(count: int | None) -> None:
    """Set the number of threads of all sweeps to come.

    Parameters
    ----------
    count : int, optional
        None: as many CPUs as the process may use, by its affinity mask and cgroup quotas, or GRAMIAN_NUM_THREADS.

    Raises
    ------
    ValueError
        The count is not positive.

    Notes
    -----
    No result depends on it. The feature route (linear and cosine kernels of many samples) runs in NumPy's BLAS, which
    has threads of its own: threadpoolctl limits those.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.set_num_threads(2)
    >>> gm.get_num_threads()
    2
    >>> gm.set_num_threads(None)
    """
    if count is not None and not 1 <= count <= 1024:
        raise ValueError(f"count must be from 1 to 1024, got {count}")
    _core.set_threads(count or 0)


@public
def get_num_threads() -> int:
    """The number of threads that the next sweep will use.

    Returns
    -------
    int
        What `set_num_threads` was given, else the environment's GRAMIAN_NUM_THREADS, else the CPUs that the process may
        use.

    Notes
    -----
    Threads start with the first sweep, not with the import.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.get_num_threads() >= 1
    True
    """
    return _core.threads()
