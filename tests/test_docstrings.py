"""Every public function says what it takes, gives, refuses and costs, and its example runs."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import gramian as gm

PACKAGE = Path(gm.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem not in ("__main__", "__init__")
)
NAMESPACES = ("bounds", "lipschitz")
FUNCTIONS = [name for name in gm.__all__ if inspect.isfunction(getattr(gm, name))] + [
    f"{space}.{name}"
    for space in NAMESPACES
    for name in getattr(gm, space).__all__
    if inspect.isfunction(getattr(getattr(gm, space), name))
]
MOST_USED = [
    "cka", "hsic", "kernel_alignment", "mutual_knn", "rsa", "cca", "procrustes",
    "compare", "alignment", "cka_matrix", "null", "fit_stitch",
]  # fmt: skip
CLASSES = [name for name in gm.__all__ if inspect.isclass(getattr(gm, name))]


def sections(function: Any) -> dict[str, str]:
    """Text of each numpydoc section, in the order of the docstring."""
    parts = re.split(r"^(\w+)\n-{3,}\n", inspect.getdoc(function) or "", flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(function: Any) -> set[str]:
    """Names that the Parameters section has a line for."""
    heads = re.findall(r"^(\S.*)$", sections(function).get("Parameters", ""), flags=re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(":")[0].split(",")}


def examples() -> list[Any]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in MODULES for test in finder.find(import_module(f"gramian.{module}"))]
    return [pytest.param(test, id=test.name) for test in found if test.examples]


@pytest.mark.parametrize("family", ["neighbors", "rsa", "spectra", "stitching", "subspaces"])
def test_table_of_a_family_has_every_column(family: str) -> None:
    text = (Path(__file__).parents[1] / "docs" / f"{family}.md").read_text()
    table = next(part for part in text.split("\n\n") if part.startswith("|"))
    head, _, *rows = table.splitlines()
    columns = ["range", "chance|unrelated", "bias", "cost", "route|computed by", "invariances|does not (change|notice)"]
    assert not [column for column in columns if not re.search(column, head)]
    assert {row.count("|") for row in rows} == {head.count("|")}


@pytest.mark.parametrize("example", examples())
def test_example_gives_what_it_shows(example: doctest.DocTest) -> None:
    shown: list[str] = []
    result = doctest.DocTestRunner().run(example, out=shown.append)
    assert result.failed == 0, "".join(shown)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_every_section_in_order(name: str) -> None:
    signature = inspect.signature(attrgetter(name)(gm))
    takes, gives = bool(signature.parameters), signature.return_annotation != "None"
    needed = ["Parameters"] * takes + ["Returns"] * gives + ["Raises"] * takes + ["Notes", "Examples"]
    assert list(sections(attrgetter(name)(gm))) == needed


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_documents_each_parameter(name: str) -> None:
    assert documented(attrgetter(name)(gm)) == set(inspect.signature(attrgetter(name)(gm)).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_example_of_a_function_calls_it(name: str) -> None:
    assert re.search(rf"gm\.{name}\(", sections(attrgetter(name)(gm))["Examples"])


@pytest.mark.parametrize("name", MOST_USED)
def test_docstring_of_a_much_used_function_is_complete_in_itself(name: str) -> None:
    text = inspect.getdoc(getattr(gm, name)) or ""
    assert not re.search(r"\bAs in\b|\bas in `|\bCost as\b|\bCost, and what\b", text)
    # one line for each parameter, which says what it is
    assert not re.findall(r"^\w+(?:, \w+){2,}$", sections(getattr(gm, name))["Parameters"], flags=re.MULTILINE)


@pytest.mark.parametrize("name", CLASSES)
def test_class_and_its_methods_say_what_they_are(name: str) -> None:
    cls = getattr(gm, name)
    fields = {f.name for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    own = [m for m in vars(cls) if not m.startswith("_") and m not in fields]
    methods = {m: inspect.getdoc(getattr(cls, m)) for m in own if m not in ("name",)}
    # a dataclass without a docstring is given its signature for one
    assert not (inspect.getdoc(cls) or "").startswith(f"{name}(")
    assert [m for m, text in methods.items() if not text] == []


def test_docstring_of_the_package_names_everything_that_is_called() -> None:
    listed = set(re.findall(r"\w+", gm.__doc__ or ""))
    results = {name for name in CLASSES if not hasattr(getattr(gm, name), "name")}
    assert set(gm.__all__) - results - {"__version__", "kernels"} <= listed
