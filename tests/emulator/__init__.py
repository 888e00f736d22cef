"""Builds the engine's CUDA sources for the emulator, and loads what was built."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
Edit = tuple[str, str, str]  # a file of csrc/cuda, a text in it, what takes its place


def compiler() -> str | None:
    """The C++ compiler, if there is one."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((name for name in names if name and shutil.which(name)), None)


@cache
def build(target: str) -> Path:
    """Builds `_core` or `_selftest` where an earlier run has left what it can use, and gives the module's path."""
    where = hashlib.sha256(f"{sys.prefix} {ROOT}".encode()).hexdigest()[:8]
    folder = ROOT / "build" / "emulator" / f"{sys.implementation.cache_tag}-{where}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # several processes test at once: one builds, the others find it built
        fcntl.flock(lock, fcntl.LOCK_EX)
        configure = ["-S", str(ROOT / "tests" / "emulator"), "-B", str(folder), "-G", "Ninja"]
        run("cmake", *configure, f"-DPython_EXECUTABLE={sys.executable}")
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        run("cmake", "--build", str(folder), "--target", target, "--parallel", str(cpus))
    return folder / f"{target}{sysconfig.get_config_var('EXT_SUFFIX')}"


def variant(folder: Path, edits: Sequence[Edit], units: Sequence[str]) -> Path:
    """Builds `_core` with texts of csrc/cuda replaced, and gives its path in the folder.

    Only the units, files of csrc/cuda, are compiled again. What they share with others is taken from them.
    """
    module = build("_core")
    shutil.copytree(ROOT / "csrc" / "cuda", folder / "csrc" / "cuda")
    for name, old, new in edits:
        path = folder / "csrc" / "cuda" / name
        text = path.read_text()
        if text.count(old) != 1:
            raise LookupError(f"{name} has this {text.count(old)} times, not once: {old}")
        path.write_text(text.replace(old, new))
    *compilations, linking = run("ninja", "-t", "commands", "_core", cwd=module.parent).splitlines()
    link = shlex.split(linking)[2:-2]  # it stands between ": &&" and "&& :"
    link[link.index("-o") + 1] = str(folder / module.name)
    for unit in units:
        words = shlex.split(next(line for line in compilations if line.endswith(f"/csrc/cuda/{unit}")))
        options, built = words[1 : words.index("-MD")], str(folder / f"{unit}.o")
        source = str(folder / "csrc" / "cuda" / unit)
        run(words[0], f"-I{folder / 'csrc'}", *options, "-O1", "-o", built, "-c", source, cwd=module.parent)
        link.remove(words[words.index("-o") + 1])
        link.insert(1, built)  # of a function in several objects the linker takes the first
    run(*link, cwd=module.parent)
    return folder / module.name


def run(*command: str, cwd: Path | None = None) -> str:
    # pip's cmake and ninja lie beside the interpreter, which need not be on the path
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [shutil.which(command[0], path=path) or command[0], *command[1:]],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-8000:]}")
    return done.stdout


def load(name: str, path: Path) -> ModuleType:
    """Imports a built module under a name, which others then import it by."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
