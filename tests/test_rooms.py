"""Which file may know which: one row for every folder and single module of the package, and every folder of csrc."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import gramian as gm

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "gramian"
CSRC = ROOT / "csrc"

# module: what it may import of gramian, all of it higher up in this table; `__init__` is what a user imports
ROOMS = {
    "_core": "",
    "reasons": "",
    "once": "",
    "progress": "",
    "sums": "",
    "words": "",
    "kernels": "words",
    "show": "",
    "rows": "_core progress sums words",
    "results": "_core kernels rows show words",
    "sweeps": "_core kernels once progress reasons rows words",
    "measures": "kernels progress reasons results rows show sums sweeps words",
    "spectra": "kernels progress results rows show sums sweeps words",
    "theory": "kernels progress reasons results rows show sweeps words",
    "inference": "kernels measures progress reasons results rows show sums sweeps words",
    "stitching": "kernels once progress reasons results rows show spectra sums sweeps theory words",
    "matrices": "kernels measures progress reasons results rows show sweeps words",
    "platonic": "matrices measures progress results rows show sweeps words",
    "comparison": "inference kernels measures progress reasons results rows show sums sweeps words",
    "system": "_core words",
    "__init__": "words",
    "demo": "__init__ inference show",
    "experiments": "__init__ show",
    "cli": "__init__ demo experiments inference kernels measures platonic progress reasons results rows show words",
    "__main__": "cli",
}
# what a file may import when it loads; all other libraries are imported by the function that needs them
LOADED = {"__init__": {"lazy_loader"}, "cli": {"click"}, "spectra": {"scipy"}}
NUMPY_ONLY = {"numpy"}
NOT_CODE = {"__init__.pyi", "_core.pyi", "py.typed", "data"}

# folder of csrc: the folders it may include, and which headers of others it must not
FOLDERS = {"core": "core", "cpu": "core cpu", "cuda": "core cuda", "bindings": "core cpu cuda bindings"}
THREADS = {"atomic", "condition_variable", "future", "mutex", "shared_mutex", "stop_token", "thread"}


# files that may have more lines than others, for the reason in CONTRIBUTING.md
LONG = {
    "python/gramian/rows/arrays.py",
    "python/gramian/spectra/spectral.py",
    "python/gramian/spectra/tasks.py",
    "python/gramian/stitching/layers.py",
    "python/gramian/theory/bounds.py",
}
LINES = {"python": 600, "csrc": 500}


def modules() -> list[str]:
    """Modules, and folders of them: a subpackage is one room."""
    return sorted({path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/*.py")})


def files_of(module: str) -> list[Path]:
    return sorted((PACKAGE / module).glob("**/*.py")) or [PACKAGE / f"{module}.py"]


def imports_of(module: str) -> list[tuple[str, bool]]:
    """(imported name, whether at load time) of a module; what only a type checker reads is left out."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, loading: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, loading) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            found.extend((f"{node.module}.{alias.name}", loading) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child, loading and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    for path in files_of(module):
        visit(ast.parse(path.read_text()), True)
    return found


def rooms_of(module: str) -> set[str]:
    """The modules of gramian that a module imports."""
    found = set()
    for name, _ in imports_of(module):
        parts = name.split(".")
        if parts[0] == "gramian":
            found.add(parts[1] if len(parts) > 1 and parts[1] in ROOMS else "__init__")
    return found - {module}


def test_every_module_has_a_row_and_every_row_a_module() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - NOT_CODE - {"__pycache__"}
    extension = {name for name in entries if name.startswith("_core.") and not name.endswith(".py")}
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert entries - extension == {m if m in folders else f"{m}.py" for m in ROOMS if m != "_core"}


def test_rows_name_only_rows_above_them() -> None:
    above: set[str] = set()
    for module, allowed in ROOMS.items():
        assert set(allowed.split()) <= above, module
        above.add(module)


@pytest.mark.parametrize("module", modules())
def test_module_imports_what_its_row_allows(module: str) -> None:
    assert rooms_of(module) <= set(ROOMS[module].split())


@pytest.mark.parametrize("module", modules())
def test_row_allows_what_its_module_imports_and_no_more(module: str) -> None:
    assert set(ROOMS[module].split()) <= rooms_of(module)


def test_no_module_of_a_folder_imports_itself_by_way_of_others() -> None:
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        knows = {path.stem: neighbours_of(path) for path in folder.glob("*.py") if path.stem != "__init__"}
        while knows:
            free = [name for name, known in knows.items() if not known & knows.keys()]
            assert free, f"{folder.name}: a circle among {sorted(knows)}"
            for name in free:
                del knows[name]


def neighbours_of(path: Path) -> set[str]:
    """The modules of its own folder that a file imports, wherever it does."""
    prefix, found = f"gramian.{path.parent.name}", set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == prefix:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{prefix}."):
            found.add(node.module.removeprefix(f"{prefix}."))
    return found - {path.stem}


@pytest.mark.parametrize("module", modules())
def test_only_numpy_is_imported_when_a_module_loads(module: str) -> None:
    libraries = {name.split(".")[0] for name, loading in imports_of(module) if loading}
    assert libraries - sys.stdlib_module_names - {"gramian"} <= NUMPY_ONLY | LOADED.get(module, set())


def includes() -> list[tuple[Path, str]]:
    pattern = re.compile(r'#include ["<]([^">]+)[">]')
    files = [path for path in CSRC.rglob("*") if path.suffix in (".hpp", ".cpp", ".cuh", ".cu")]
    return [(path, name) for path in sorted(files) for name in pattern.findall(path.read_text())]


def test_every_folder_of_csrc_has_a_row() -> None:
    assert {path.name for path in CSRC.iterdir()} <= set(FOLDERS)


def test_folders_include_what_their_row_allows() -> None:
    wrong = []
    for path, name in includes():
        folder, other = path.relative_to(CSRC).parts[0], name.split("/")[0]
        if other in FOLDERS and other not in FOLDERS[folder].split():
            wrong.append(f"{path.relative_to(ROOT)} includes {name}")
    assert not wrong


def test_core_knows_no_threads_no_python_and_no_cuda_runtime() -> None:
    for path, name in includes():
        folder = path.relative_to(CSRC).parts[0]
        if folder == "core":
            assert name not in THREADS, path
        if folder != "bindings":
            assert name.split("/")[0] not in ("pybind11", "Python.h"), path
        if folder != "cuda" and name != "cuda/engine.hpp":
            assert not name.startswith("cuda"), path


def test_every_source_is_listed_in_the_build() -> None:
    build = (ROOT / "CMakeLists.txt").read_text()
    for instruction_set in re.findall(r"gramian_cpu_kernels\((\w+)", build):
        build += f" csrc/cpu/kernels_{instruction_set}.cpp"
    sources = [path for path in CSRC.rglob("*") if path.suffix in (".cpp", ".cu")]
    assert not [path.name for path in sources if str(path.relative_to(ROOT)) not in build]


def test_contributing_shows_this_table() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ?([^|]*) ?\|$", text, flags=re.MULTILINE)
    assert {name: " ".join(re.findall(r"\w+", allowed)) for name, allowed in rows} == ROOMS


def test_files_are_short_or_named() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for folder, most in LINES.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".cpp", ".hpp", ".cu", ".cuh"} and len(path.read_text().splitlines()) > most
    }
    assert long == LONG


@pytest.mark.parametrize(
    "call", ["gm.cka(x, y)", "gm.cka(x, y, 'rbf')", "gm.mutual_knn(x, y)", "gm.cca(x, y)", "gm.rsa(x, y)"]
)
def test_a_call_enters_no_folder_twice_and_four_at_most(call: str) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 60, 3))
    paths: set[tuple[str, ...]] = set()

    def follow(frame: FrameType | None, event: str, _: object) -> None:
        path: list[str] = []
        while event == "call" and frame is not None:
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(PACKAGE) and file.parent != PACKAGE and path[-1:] != [file.parent.name]:
                path.append(file.parent.name)
            frame = frame.f_back
        paths.add(tuple(reversed(path)))

    eval(call, {"gm": gm, "x": x, "y": y})  # imports are calls too
    sys.setprofile(follow)
    try:
        eval(call, {"gm": gm, "x": x, "y": y})
    finally:
        sys.setprofile(None)
    assert [path for path in paths if len(set(path)) < len(path)] == []
    assert len({folder for path in paths for folder in path}) <= 4
