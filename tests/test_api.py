"""The public names, what importing them costs, and the commands that the README promises."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib.metadata import metadata, requires, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm

ROOT = Path(__file__).parents[1]
FUNCTIONS = [name for name in gm.__all__ if inspect.isfunction(getattr(gm, name))]
# the names that users were promised; a name leaves this list with a deprecation only
# fmt: off
PROMISED = [
    "Linear", "Cosine", "Polynomial", "RBF", "Exponential", "Laplacian", "RationalQuadratic", "ArcCosine",
    "Distance", "kernels",
    "kernel_alignment", "hsic", "cka", "distance_alignment", "mmd2", "median_bandwidth",
    "compare", "alignment", "independence_test", "cka_matrix", "Comparison", "ComparisonRow", "Estimate",
    "TestResult", "AlignmentMatrix",
    "GramOperator", "spectrum", "eigen_overlap", "spectral_alignment", "kare", "task_alignment", "learning_curve",
    "Spectrum", "EigenOverlap", "SpectralAlignment", "Kare", "TaskAlignment", "LearningCurve",
    "rsa", "rsa_estimate", "RSAEstimate", "null", "Null", "platonic_score", "platonic_layers", "PlatonicScore",
    "neighbors", "matrix", "mutual_knn", "cycle_knn", "lcs_knn", "edit_knn", "cknna", "neighbor_overlap", "Overlap",
    "gram_moments", "feature_moments", "GramMoments", "FeatureMoments", "set_num_threads", "get_num_threads",
    "cca", "svcca", "pwcca", "canonical_correlations", "CanonicalCorrelations", "linear_regression_r2", "coco", "nocco",
    "procrustes", "shape_distance", "bipartite_matching", "semi_matching", "UnitMatching", "relative_representation",
    "Stitch", "fit_stitch", "train_stitch", "misalignment", "risk", "stitching_risk", "excess_stitching_risk",
    "stitch_report", "StitchReport", "ReportedBound", "layer_search", "LayerSearch",
    "bounds", "lipschitz", "info", "load", "UndefinedWarning", "__version__",
]
DATA_AND_KERNEL = {
    "F", "F1", "F2", "Y2", "g", "g1", "g2", "stitch", "module", "target", "layers1", "layers2",
    "X", "Y", "Z", "Xs", "Ys", "A", "B", "kernel", "count", "anchors",
    "k", "y", "ridge", "eigenvalues", "power", "samples", "measure", "options", "source", "path",
}
# fmt: on


def in_fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_every_promised_name_stays_public() -> None:
    assert set(PROMISED) <= set(gm.__all__)
    assert len(gm.__all__) == len(set(gm.__all__))


@pytest.mark.parametrize("name", gm.__all__)
def test_public_name_can_be_imported(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"from gramian import {name}", scope)
    assert scope[name] is getattr(gm, name)
    assert name in dir(gm)


def test_the_stub_names_every_public_name_where_it_is_defined() -> None:
    stub = ast.parse((ROOT / "python/gramian/__init__.pyi").read_text())
    homes = {a.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert sorted(homes) == sorted(gm.__all__) == sorted(dir(gm))
    for name, home in homes.items():
        found = getattr(gm, name)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert found.__module__ == f"gramian.{home}", name


def test_all_public_names_load_at_once_when_asked() -> None:
    code = "import gramian, sys; print('gramian.cli' in sys.modules, all(n in vars(gramian) for n in gramian.__all__))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "EAGER_IMPORT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^No gramian attribute nothing_like_it$"):
        _ = gm.nothing_like_it
    with pytest.raises(AttributeError, match=r"^No gramian attribute __wrapped__$"):
        _ = gm.__wrapped__  # asked by inspect, not by people


@pytest.mark.parametrize(("wrong", "meant"), [("ckaa", "cka"), ("CKA", "cka"), ("fit_stich", "fit_stitch")])
def test_near_miss_of_a_public_name_is_answered_by_it(wrong: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"^No gramian attribute {wrong}; did you mean '{meant}'\\?$"):
        getattr(gm, wrong)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_data_and_kernel_are_positional(name: str) -> None:
    found = inspect.signature(getattr(gm, name)).parameters.values()
    assert {p.name for p in found if p.kind is not p.KEYWORD_ONLY} <= DATA_AND_KERNEL


# ---- precision -----------------------------------------------------------------------------------------------------

x, y = np.random.default_rng(0).normal(size=(2, 60, 3))
PRECISE: dict[str, Any] = {
    "kernel_alignment": lambda **options: gm.kernel_alignment(x, y, "rbf", **options),
    "hsic": lambda **options: gm.hsic(x, y, "rbf", **options),
    "cka": lambda **options: gm.cka(x, y, "rbf", **options),
    "distance_alignment": lambda **options: gm.distance_alignment(
        x, x + 1e-6 * y, centered=True, normalize="hs_norm", **options
    ),
    "mmd2": lambda **options: gm.mmd2(x, y, **options),
    "alignment": lambda **options: gm.alignment(x, y, "rbf", measure="kernel_alignment", **options),
    "independence_test": lambda **options: [
        gm.independence_test(x, y, method=m, permutations=3, **options)
        for m in ("gamma", "permutation", "pearson3", "gretton")
    ],
    "compare": lambda **options: gm.compare(x, y, "rbf", shuffles=1, **options),
    "cka_matrix": lambda **options: gm.cka_matrix([x, y], kernel="rbf", **options),
    "rsa": lambda **options: gm.rsa(x, y, dissimilarity="euclidean", **options),
    "rsa_estimate": lambda **options: gm.rsa_estimate(x, y, dissimilarity="euclidean", **options).value,
    "gram_moments": lambda **options: gm.gram_moments(x, y, kernel="rbf", **options),
    "spectrum": lambda **options: list(gm.spectrum(x, "rbf", 3, **options).eigenvalues),
    "eigen_overlap": lambda **options: gm.eigen_overlap(x, y, "rbf", 3, centered=True, **options).kernel_alignment,
    "spectral_alignment": lambda **options: gm.spectral_alignment(x, y, "rbf", 3, **options).left_out,
    "kare": lambda **options: float(gm.kare(x, y, "rbf", 0.1, **options).value[0]),
    "task_alignment": lambda **options: list(gm.task_alignment(x, y, "rbf", 3, **options).cumulative),
}


def test_measures_take_a_precision() -> None:
    takes = {name for name in FUNCTIONS if "precision" in inspect.signature(getattr(gm, name)).parameters}
    assert takes == set(PRECISE)


@pytest.mark.parametrize("name", PRECISE)
def test_unknown_precision_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^precision must be one of 'highest', 'high', 'medium', got 'half'$"):
        PRECISE[name](precision="half")


@pytest.mark.parametrize("name", PRECISE)
def test_precision_reaches_every_sweep_and_changes_nothing_on_the_cpu(name: str, monkeypatch: Any) -> None:
    asked: list[str] = []
    sweep = gm._core.sweep

    def listening(*args: Any, **options: Any) -> Any:
        asked.append(options["precision"])
        return sweep(*args, **options)

    monkeypatch.setattr(gm._core, "sweep", listening)
    medium, highest = PRECISE[name](precision="medium"), PRECISE[name](precision="highest")

    assert asked == ["medium"] * (len(asked) // 2) + ["highest"] * (len(asked) // 2) != []
    if name not in ("cka_matrix", "gram_moments"):  # they hold arrays
        assert medium == highest


# ---- what importing costs ------------------------------------------------------------------------------------------


def test_import_loads_numpy_alone() -> None:
    code = "import sys, numpy; before = set(sys.modules); import gramian; print(*set(sys.modules) - before)"
    loaded = {name.split(".")[0] for name in in_fresh_python(code).split()}
    loaded -= {"lazy_loader"}  # which loads what is asked for
    assert {name for name in loaded if not name.startswith("_")} - sys.stdlib_module_names == {"gramian"}


def test_measures_do_without_optional_libraries() -> None:
    code = (
        "import sys, numpy as np, gramian as gm\n"
        "x = np.random.default_rng(0).normal(size=(50, 3))\n"
        "gm.cka(x, x), gm.cka(x, x, 'rbf'), gm.hsic(x, x), gm.cka_matrix([x, x]), gm.mmd2(x, x)\n"
        "print(*sys.modules)"
    )
    loaded = {name.split(".")[0] for name in in_fresh_python(code).split()}
    assert not loaded & {"scipy", "torch", "click", "tqdm", "array_api_compat", "matplotlib", "pandas", "xarray"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_import_starts_no_thread() -> None:
    count = "len(__import__('os').listdir('/proc/self/task'))"
    loads = "import gramian; from gramian import cka, compare, fit_stitch, spectrum"
    code = f"import numpy; before = {count}; {loads}; print({count} - before)"
    assert in_fresh_python(code) == "0"


# ---- packaging -------------------------------------------------------------------------------------------------------


def test_version_is_that_of_the_installed_package() -> None:
    assert gm.__version__ == version("gramian") == gm.info()["version"]


def test_dependencies_are_imported_somewhere() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "python/gramian").rglob("*.py"))
    needed = [re.split(r"[<>=!~ ;]", line)[0] for line in requires("gramian") or [] if "extra ==" not in line]
    assert [name for name in needed if not re.search(rf"(import|from) {name.replace('-', '_')}\b", code)] == []


def test_package_says_that_it_is_typed() -> None:
    assert (Path(gm.__file__).parent / "py.typed").exists()
    assert "Typing :: Typed" in metadata("gramian").get_all("Classifier")


def readme_command(marker: str) -> str:
    """As .ci/run takes it from the README."""
    text = (ROOT / "README.md").read_text()
    (command,) = re.findall(rf"^<!-- {marker} -->\n```\n(.*?)\n```$", text, flags=re.MULTILINE | re.DOTALL)
    return str(command)


@pytest.mark.parametrize(("marker", "last"), [("install", "gramian demo"), ("test", "python -m pytest -n auto")])
def test_readme_gives_one_line_that_starts_from_nothing_and_ci_runs_it(marker: str, last: str) -> None:
    command = readme_command(marker)
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && ")
    assert command.endswith(last)
    assert f'"$(readme {marker})"' in (ROOT / ".ci/run").read_text()


def test_ci_and_the_real_data_tests_pin_the_same_torch() -> None:
    pins = {
        path: set(re.findall(r"(?<![\w-])torch==[\d.]+", (ROOT / path).read_text()))
        for path in ("README.md", ".ci/run", "examples/encoders/requirements.txt")
    }
    assert len(set.union(*pins.values())) == 1, pins
