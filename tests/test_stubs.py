"""What is written down twice is the same in both places: the compiled module, its stub, and the Python kernels."""

from __future__ import annotations

import ast
import inspect
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from gramian import _core
from gramian.kernels import KERNELS
from gramian.rows.arrays import as_matrix
from gramian.sweeps.represent import represent

STUB = ast.parse((Path(__file__).parents[1] / "python/gramian/_core.pyi").read_text())
# kernel functions of the native code alone: -d²/2 of rows and of normalised rows, and -d₁, for nearest neighbours
INTERNAL = {"squared_distance", "cosine_distance", "manhattan_distance"}


def members(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Public names of a stub, imports left out."""
    found = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    constants = {ast.unparse(node.target): node for node in body if isinstance(node, ast.AnnAssign)}
    return {name: node for name, node in (found | constants).items() if name[0] != "_" or name == "__version__"}


def functions(body: list[ast.stmt]) -> dict[str, ast.FunctionDef]:
    found = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    is_property = {name for name, node in found.items() if "property" in map(ast.unparse, node.decorator_list)}
    return {name: node for name, node in found.items() if name not in is_property}


def compiled_signature(function: Any) -> ast.FunctionDef:
    """pybind11 writes the signature into the first line of the docstring."""
    (node,) = ast.parse(f"def {function.__doc__.splitlines()[0]}: ...").body
    assert isinstance(node, ast.FunctionDef)
    return node


def parameters(node: ast.FunctionDef) -> list[tuple[str, str, bool]]:
    """(name, kind, whether it has a default) without self."""
    a = node.args
    missing = len(a.args) - len(a.defaults)
    plain = [(arg.arg, "positional", i >= missing) for i, arg in enumerate(a.args)]
    named = [(arg.arg, "keyword", d is not None) for arg, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return [p for p in plain + named if p[0] != "self"]


CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"}
COMPILED = {name: getattr(_core, name) for name in functions(STUB.body) if hasattr(_core, name)}


def test_stub_has_the_names_of_the_compiled_module() -> None:
    compiled = {name for name in dir(_core) if not name.startswith("_")} | {"__version__"}
    assert set(members(STUB.body)) == compiled


@pytest.mark.parametrize("name", functions(STUB.body))
def test_function_has_the_parameters_that_the_stub_says(name: str) -> None:
    assert parameters(functions(STUB.body)[name]) == parameters(compiled_signature(COMPILED[name]))


@pytest.mark.parametrize("name", CLASSES)
def test_class_has_the_members_that_the_stub_says(name: str) -> None:
    compiled = {member for member in dir(getattr(_core, name)) if not member.startswith("_")}
    assert set(members(CLASSES[name].body)) == compiled


@pytest.mark.parametrize(("owner", "name"), [(c, f) for c, node in CLASSES.items() for f in functions(node.body)])
def test_method_has_the_parameters_that_the_stub_says(owner: str, name: str) -> None:
    compiled = compiled_signature(getattr(getattr(_core, owner), name))
    assert parameters(functions(CLASSES[owner].body)[name]) == parameters(compiled)


@pytest.mark.parametrize("name", ["__version__", "COMPILER", "CUDA_COMPILER", "TILE_EDGE", "KERNEL_FUNCTIONS"])
def test_constant_has_the_type_that_the_stub_says(name: str) -> None:
    node = members(STUB.body)[name]
    assert isinstance(node, ast.AnnAssign)
    assert type(getattr(_core, name)).__name__ == ast.unparse(node.annotation).split("[")[0]


def test_result_of_a_sweep_has_the_fields_that_the_stub_says() -> None:
    (node,) = (c for c in STUB.body if isinstance(c, ast.ClassDef) and c.name == "_Sweep")
    x = represent("linear", as_matrix(np.eye(4), "X"))
    found = _core.sweep([x.native()])
    declared = {ast.unparse(f.target): ast.unparse(f.annotation) for f in node.body if isinstance(f, ast.AnnAssign)}
    assert list(declared) == list(found)
    for name, annotation in declared.items():
        value = found[name]  # type: ignore[literal-required]
        assert annotation.startswith("npt.NDArray" if isinstance(value, np.ndarray) else type(value).__name__), name
        if isinstance(value, np.ndarray):
            assert annotation == f"npt.NDArray[np.{value.dtype}]", name


# ---- kernel functions --------------------------------------------------------------------------------------------


def defaults(name: str) -> dict[str, Any]:
    return {f.name: None if f.default is MISSING else f.default for f in fields(KERNELS[name])}


def test_python_kernels_are_the_native_ones() -> None:
    assert list(KERNELS) == [name for name in _core.KERNEL_FUNCTIONS if name not in INTERNAL]


def test_internal_kernel_functions_exist() -> None:
    assert set(_core.KERNEL_FUNCTIONS) >= INTERNAL


@pytest.mark.parametrize("name", KERNELS)
def test_python_kernel_has_the_native_parameters_and_defaults(name: str) -> None:
    assert list(defaults(name).items()) == list(_core.KERNEL_FUNCTIONS[name].items())


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_class_is_public_under_the_name_of_its_string(name: str) -> None:
    assert getattr(gm, KERNELS[name].__name__) is KERNELS[name]
    assert KERNELS[name].__name__.lower() == name.replace("_", "")


@pytest.mark.parametrize("name", KERNELS)
def test_oracle_knows_the_formula(name: str) -> None:
    given = {k: p.default for k, p in list(inspect.signature(oracle.GRAM[name]).parameters.items())[2:]}
    resolved = {k: None if v is inspect.Parameter.empty else v for k, v in given.items()}
    assert resolved == defaults(name)


def test_oracle_knows_no_other_kernel() -> None:
    assert set(oracle.GRAM) == set(KERNELS)
