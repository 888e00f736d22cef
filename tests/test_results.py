"""What every result can do: plain values, files, tables, HTML, copies, and where it came from."""

from __future__ import annotations

import ast
import copy
import dataclasses
import html.parser
import inspect
import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian.results import files
from gramian.results.plain import plain
from gramian.results.provenance import provenance
from gramian.results.result import Result
from gramian.rows import statistics_files
from gramian.rows.arrays import as_matrix
from results_of import CONSTANT, KERNELS, PARTS, RESULTS, STITCHES, X, Y, result, same, stitch

NO_ROWS = {"ComparisonRow", "LearningCurve", "Match", "ReportedBound", *PARTS}  # parts, and functions of numbers


def test_every_public_dataclass_is_a_result_with_a_case_here() -> None:
    public = [getattr(gm, name) for name in gm.__all__ if inspect.isclass(getattr(gm, name))]
    found = {cls.__name__ for cls in public if issubclass(cls, Result)}
    sums_and_values = {"GramMoments", "FeatureMoments", "GramOperator", "UndefinedWarning", *KERNELS}

    assert {cls.__name__ for cls in public} - found == sums_and_values
    assert {name.split()[0] for name in RESULTS} == found | PARTS.keys()
    assert all(issubclass(cls, Result) for cls in PARTS.values())


# ---- plain numbers ---------------------------------------------------------------------------------------------------


NUMBERS = [
    name
    for name in gm.__all__
    if inspect.isfunction(getattr(gm, name)) and inspect.signature(getattr(gm, name)).return_annotation == "float"
]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_plain_number_costs_no_digest_of_its_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **options: Any) -> None:
        raise AssertionError("a digest that nobody sees")

    rng = np.random.default_rng(0)
    x, y, head, targets = (rng.normal(size=shape) for shape in ((60, 5), (60, 4), (2, 4), (60, 2)))
    arguments = {
        "median_bandwidth": (x,),
        "mmd2": (x, x + 1),
        "risk": (head, y, targets),
        "stitching_risk": (gm.fit_stitch(x, y), head, x, targets),
        "excess_stitching_risk": (gm.fit_stitch(x, y), head, x, y, targets),
    }
    for module in [m for key, m in sys.modules.items() if key.startswith("gramian.")]:
        if inspect.isfunction(getattr(module, "provenance", None)):
            monkeypatch.setattr(module, "provenance", refused)

    assert np.isfinite(getattr(gm, name)(*arguments.get(name, (x, y))))


# ---- plain values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_plain_values_are_strict_json(name: str) -> None:
    text = json.dumps(result(name).to_dict(), allow_nan=False)
    assert json.loads(text) == result(name).to_dict()


def test_undefined_is_none_beside_its_reason() -> None:
    found = result("Estimate of a constant").to_dict()
    assert (found["value"], found["se"], found["ci"]) == (None, None, [None, None])
    assert found["reason"].startswith("Y is constant")


def test_kernels_are_their_name_and_parameters() -> None:
    found = result("Estimate").to_dict()["kernel"]
    assert found == [{"name": "rbf", "bandwidth": k.bandwidth} for k in result("Estimate").kernel]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (-math.inf, None),
        (np.array([[1.0, math.nan], [math.inf, 0.0]]), [[1.0, None], [None, 0.0]]),
        (np.array([1, 2]), [1, 2]),
        (gm.Polynomial(3), {"name": "polynomial", "degree": 3, "scale": None, "offset": 1.0}),
        ({1: (math.nan,)}, {"1": [None]}),
        (Path("a"), "a"),
    ],
)
def test_value_is_plain(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("ComparisonRow", "value"),
        ("Estimate", "value"),
        ("Null", "value"),
        ("Overlap", "value"),
        ("RSAEstimate", "value"),
        ("UnitMatching", "score"),
        ("PlatonicScore", "score"),
        ("SpectralAlignment", "value"),
        ("UpperBound", "value"),
    ],
)
def test_result_that_is_one_number_is_a_float(name: str, number: str) -> None:
    assert float(result(name)) == getattr(result(name), number)


@pytest.mark.parametrize("name", ["TestResult", "CanonicalCorrelations", "AlignmentMatrix", "Interval", "Kare"])
def test_result_of_several_numbers_is_no_float(name: str) -> None:
    with pytest.raises(TypeError):
        float(result(name))


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_saved_result_comes_back_with_the_same_bits(name: str, tmp_path: Path) -> None:
    saved = result(name)
    saved.save(tmp_path / "a.npz")

    assert same(gm.load(tmp_path / "a.npz"), saved)
    assert same(type(saved).load(tmp_path / "a.npz"), saved)


@pytest.mark.parametrize("name", STITCHES)
def test_saved_stitch_maps_to_the_same_bits(name: str, tmp_path: Path) -> None:
    stitch(name).save(tmp_path / "a.npz")
    found = gm.Stitch.load(tmp_path / "a.npz")

    rows = X[:, : found.d1]
    assert same(found(rows), stitch(name)(rows))


def test_nan_keeps_its_bits_and_zero_its_sign(tmp_path: Path) -> None:
    odd = float(np.uint64(0xFFF8000000000123).view(np.float64))
    saved = gm.bounds.Interval(-0.0, odd)
    saved.save(tmp_path / "a.npz")
    found = gm.load(tmp_path / "a.npz")
    assert [np.float64(v).tobytes() for v in (found.low, found.high)] == [
        np.float64(v).tobytes() for v in (saved.low, saved.high)
    ]


def test_type_is_found_in_a_process_that_knows_none(tmp_path: Path) -> None:
    for name in ("Overlap", "Layer", "StitchReport"):
        result(name).save(tmp_path / name)
    stitch("kernel_ridge").save(tmp_path / "KernelMap")
    for name in ("Overlap", "Layer", "StitchReport", "KernelMap"):
        code = f"import gramian; print(type(gramian.load({str(tmp_path / name)!r})).__name__)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == name.replace("KernelMap", "Stitch")


def test_file_of_another_type_is_one_error_that_names_both(tmp_path: Path) -> None:
    result("Null").save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz does not hold a result: .* type Null, not Estimate"):
        gm.Estimate.load(tmp_path / "a.npz")


def test_file_of_statistics_is_no_result(tmp_path: Path) -> None:
    gm.feature_moments(X, Y).save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz does not hold a result but 'FeatureMoments'"):
        gm.load(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_save_refuses_names_of_other_formats(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"not \{suffix}; .*gives that"):
        result("Null").save(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_map_that_has_no_place_in_a_file_is_refused_by_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    trained = gm.train_stitch(torch.nn.Linear(5, 4), X, Y, epochs=1)
    with pytest.raises(TypeError, match=r"^Stitch\.function is TrainedMap, which save has no way to write"):
        trained.save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_damaged_file_is_one_error_that_names_it(at: float, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    result("Spectrum").save(path)
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        gm.load(path)


def test_every_cut_off_file_is_one_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    result("Interval").save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 17):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            gm.load(path)


def test_file_of_another_kind_says_what_reads_it(tmp_path: Path) -> None:
    gm.feature_moments(X, Y).save(tmp_path / "moments.npz")
    with pytest.raises(ValueError, match=r"but 'FeatureMoments'; gramian\.FeatureMoments\.load reads it$"):
        gm.load(tmp_path / "moments.npz")
    result("Null").save(tmp_path / "null.npz")
    with pytest.raises(ValueError, match=r"does not hold GramMoments but 'a result'; gramian\.load reads it$"):
        gm.GramMoments.load(tmp_path / "null.npz")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_file_of_plain_arrays_is_answered_by_what_load_reads(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / name, X) if name.endswith("y") else np.savez(tmp_path / name, X=X)
    with pytest.raises(ValueError, match=rf"{re.escape(name)} .*; gramian\.load reads what save wrote$"):
        gm.load(tmp_path / name)


def test_save_names_the_path_that_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=rf"^{tmp_path}/folder is a directory; give the name of a file in it$"):
        result("Null").save(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match=rf"^{tmp_path}/no/a.npz: there is no directory {tmp_path}/no$"):
        gm.feature_moments(X).save(tmp_path / "no" / "a.npz")
    with pytest.raises(OSError, match="File name too long") as caught:
        result("Null").save(tmp_path / ("a" * 255))
    assert "partial" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gm.load(tmp_path / "a.npz")


WHOLE = {"gramian": "0.1.0", "version": 1}
BOUNDS = {"low": 0.0, "high": 1.0, "provenance": None}
INTERVAL = {"type": "Interval", "fields": BOUNDS}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**WHOLE, "version": 2, "result": INTERVAL}, "version 2 of the format of results"),
        ({**WHOLE, "result": 3}, "what it holds is int"),
        ({**WHOLE, "result": {"type": "RBF", "fields": {"bandwidth": 1.0}}}, "what it holds is RBF"),
        ({**WHOLE, "result": {"type": "Popen", "fields": {"args": "ls"}}}, "has no type 'Popen'"),
        ({**WHOLE, "result": {"type": "info", "fields": {}}}, "has no type 'info'"),
        ({**WHOLE, "result": {"type": "Interval", "fields": {"low": 0.0}}}, "differ in high, provenance"),
        ({**WHOLE, "result": {**INTERVAL, "fields": {**BOUNDS, "low": "0"}}}, "Interval.low cannot be a str"),
        ({**WHOLE, "result": {**INTERVAL, "more": 1}}, "values of no known kind: 'type', 'fields', 'more'"),
        ({**WHOLE, "result": [INTERVAL]}, "a list that does not say what it stands for"),
        ({**WHOLE, "result": {"array": "missing"}}, "KeyError: 'missing'"),
        ({"result": INTERVAL}, "KeyError: 'version'"),
    ],
)
def test_sealed_file_that_no_gramian_writes_is_refused(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    statistics_files.save(tmp_path / "a.npz", "a result", values, {})
    with pytest.raises(ValueError, match=f"a\\.npz does not hold a result: .*{re.escape(message)}"):
        gm.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("value", "hint", "fitting"),
    [
        (1.0, float, True),
        (1, float, True),
        (True, float, False),
        (1.0, int, False),
        (None, "str | None", True),
        ((1.0, 2.0), "tuple[float, float]", True),
        ((1.0,), "tuple[float, float]", False),
        ((1.0, "a"), "tuple[float, ...]", False),
        ({"a": 1}, "dict[str, str]", False),
        ("cka", "Literal['cka']", True),
        ([], "Literal['cka']", False),
        (np.zeros(2), "npt.NDArray[np.float64]", True),
        (np.zeros(2, "f"), "npt.NDArray[np.float64]", False),
        (np.zeros(2, "f"), "npt.NDArray[np.floating[Any]]", True),
        ([1.0], "Sequence[str]", False),
    ],
)
def test_value_fits_the_type_of_its_field(value: Any, hint: Any, fitting: bool) -> None:
    import collections.abc
    import typing

    import numpy.typing as npt

    scope = {"np": np, "npt": npt, "Literal": typing.Literal, "Any": Any, "Sequence": collections.abc.Sequence}
    assert files.fits(value, eval(hint, scope) if isinstance(hint, str) else hint) is fitting


# ---- copies ----------------------------------------------------------------------------------------------------------

OBJECTS: dict[str, Any] = {
    **{name: lambda name=name: result(name) for name in RESULTS},
    **{f"stitch {name}": lambda name=name: stitch(name) for name in STITCHES},
    **{f"kernel {name}": lambda kernel=kernel: kernel for name, kernel in KERNELS.items()},
    "GramMoments": lambda: gm.gram_moments(X, Y, kernel="rbf"),
    "FeatureMoments": lambda: gm.feature_moments(X, Y),
}


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("name", OBJECTS)
def test_public_object_is_copied_with_the_same_bits(name: str, copied: Any) -> None:
    original = OBJECTS[name]()
    assert same(copied(original), original)


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("centered", [False, True])
def test_copied_operator_multiplies_to_the_same_bits(centered: bool, copied: Any) -> None:
    original = gm.GramOperator(X, "rbf", centered=centered, progress=lambda done, total: None)
    assert same(copied(original) @ Y, original @ Y)


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("name", STITCHES)
def test_copied_stitch_maps_alike(name: str, copied: Any) -> None:
    rows = X[:, : stitch(name).d1]
    # products are of BLAS, whose last bits go by where the copy lies
    np.testing.assert_allclose(copied(stitch(name))(rows), stitch(name)(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_copied_map_of_a_torch_module_maps_alike(copied: Any) -> None:
    torch = pytest.importorskip("torch")
    trained = gm.train_stitch(torch.nn.Linear(5, 4), X, Y, epochs=1)
    np.testing.assert_allclose(copied(trained)(X), trained(X), rtol=1e-5, atol=1e-6)  # the last bits are torch's


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_copied_rows_are_read_anew(dtype: str) -> None:
    import ml_dtypes

    rows = as_matrix(X.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype), "X")
    found = pickle.loads(pickle.dumps(rows))
    assert (found.dtype, found.shape) == (dtype, rows.shape)
    assert same(found.numpy(), rows.numpy())


# ---- equality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTS)
def test_copies_are_equal_and_hash_alike(name: str) -> None:
    original = OBJECTS[name]()
    copied = pickle.loads(pickle.dumps(original))
    assert copied == original
    assert hash(copied) == hash(original)


@pytest.mark.parametrize("name", [*RESULTS, "GramMoments", "FeatureMoments"])
def test_what_was_saved_is_equal_to_what_comes_back(name: str, tmp_path: Path) -> None:
    saved = OBJECTS[name]()
    saved.save(tmp_path / "a.npz")
    assert type(saved).load(tmp_path / "a.npz") == saved


@pytest.mark.parametrize("name", ["AlignmentMatrix", "Null", "Spectrum", "Kare"])
def test_one_changed_bit_of_an_array_makes_a_result_another_one(name: str) -> None:
    found = result(name)
    field = next(f.name for f in dataclasses.fields(found) if isinstance(getattr(found, f.name), np.ndarray))
    changed = getattr(found, field).copy()
    changed.flat[0] = np.nextafter(changed.flat[0], math.inf)
    assert found != dataclasses.replace(found, **{field: changed})
    assert found == dataclasses.replace(found, **{field: getattr(found, field).copy()})


def test_values_are_equal_by_their_bits() -> None:
    interval = gm.bounds.Interval
    assert interval(math.nan, 1.0) == interval(-math.nan, 1.0)
    assert interval(0.0, 1.0) != interval(-0.0, 1.0)
    assert interval(0.0, 1.0) != (0.0, 1.0)
    assert interval(0.0, 1.0) != result("Estimate")
    assert len({interval(0.0, 1.0), interval(0.0, 1.0), interval(0.0, 2.0)}) == 2
    assert gm.feature_moments(X, Y) != gm.feature_moments(Y, X)


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_compared_in_one_way(name: str) -> None:
    assert type(result(name)).__eq__ is Result.__eq__
    assert type(result(name)).__hash__ is Result.__hash__


# ---- provenance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RESULTS.keys() - NO_ROWS))
def test_result_says_what_it_is_of(name: str) -> None:
    found = result(name).provenance
    assert (found.gramian, found.numpy) == (gm.__version__, np.__version__)
    assert found.rows
    assert result(name).to_dict()["provenance"]["rows"][0]["digest"] == found.rows[0].digest
    assert all(re.fullmatch("[0-9a-f]{32}", record.digest) for record in found.rows if record.digest is not None)


def test_provenance_has_kernel_and_seed() -> None:
    found = gm.independence_test(X, Y, "rbf", method="permutation", permutations=9, seed=3)
    assert found.provenance is not None
    assert (found.provenance.kernel, found.provenance.seed) == (found.kernel, 3)


def test_rows_are_known_again() -> None:
    found = gm.alignment(X, Y).provenance
    assert found is not None
    other = X.copy()
    other[-1, -1] += 1e-12
    assert found.matches(X=X, Y=Y)
    assert found.matches(X=np.asfortranarray(X))
    assert not found.matches(X=other)
    assert not found.matches(X=X.astype("f"))
    with pytest.raises(KeyError, match="'Z' is none of the arrays of this result: X, Y"):
        found.matches(Z=X)


def test_results_of_other_rows_are_equal_where_their_numbers_are() -> None:
    a, b = gm.alignment(X, X), gm.alignment(np.asfortranarray(X), X.copy())
    assert a == b
    assert "provenance" not in repr(gm.rsa_estimate(X, Y))


def test_large_arrays_are_known_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from gramian.results import provenance as module

    monkeypatch.setattr(module, "_IN_FULL", 1 << 10)
    monkeypatch.setattr(module, "_PIECES", 4)
    monkeypatch.setattr(module, "_PIECE", 80)
    rows = np.arange(500.0).reshape(100, 5)
    between, inside = rows.copy(), rows.copy()
    between[10], inside[-1] = -1, -1
    (record,), (same_record,), (other,) = (provenance({"X": as_matrix(x, "X")}).rows for x in (rows, between, inside))
    assert record.note == "of 4 evenly spaced pieces of 2 rows"
    assert record.digest == same_record.digest != other.digest


def test_statistics_have_no_rows() -> None:
    found = gm.canonical_correlations(gm.feature_moments(X, Y)).provenance
    assert found is not None
    (record,) = found.rows
    assert (record.digest, record.note) == (None, "FeatureMoments were given, and no rows")


# ---- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_result_becomes_a_table_of_pandas(name: str) -> None:
    pandas = pytest.importorskip("pandas")
    assert isinstance(result(name).to_pandas(), pandas.DataFrame | pandas.Series)


def test_comparison_is_a_line_for_each_row() -> None:
    pytest.importorskip("pandas")
    found = result("Comparison").to_pandas()
    assert list(found["measure"]) == [row.measure for row in result("Comparison").rows]
    assert list(found["value"]) == [row.value for row in result("Comparison").rows]
    assert found.attrs["n"] == 60


def test_values_of_a_null_are_a_series() -> None:
    pytest.importorskip("pandas")
    found = result("Null").to_pandas()
    assert found.name == "cka"
    assert same(found.to_numpy(), result("Null").values)
    assert found.attrs["pvalue"] == result("Null").pvalue


@pytest.mark.parametrize("name", RESULTS)
def test_pandas_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^to_pandas\(\) needs pandas: pip install 'gramian\[viz\]'$"):
        result(name).to_pandas()


# ---- HTML ------------------------------------------------------------------------------------------------------------


class Balanced(html.parser.HTMLParser):
    """Raises unless every tag is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Balanced:
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    return parser


@pytest.mark.parametrize("name", RESULTS)
def test_html_is_well_formed_small_and_has_no_script(name: str) -> None:
    text = result(name)._repr_html_()
    parsed(text)
    assert "<script" not in text
    assert len(text) < 60_000


def test_html_shows_numbers_and_reasons() -> None:
    text = parsed(result("Estimate of a constant")._repr_html_()).text
    assert "undefined" in text
    assert "Y is constant" in text
    assert "rbf(bandwidth=" in parsed(result("Estimate")._repr_html_()).text


def test_html_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "matplotlib", "xarray", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in RESULTS:
        assert result(name)._repr_html_()


def test_names_in_html_are_escaped() -> None:
    text = gm.cka_matrix({"<b>&": X, "x": Y})._repr_html_()
    assert "<b>&" not in text.replace("<b>AlignmentMatrix", "")
    assert "&lt;b&gt;&amp;" in text
    parsed(text)


def test_html_colours_follow_the_page() -> None:
    text = result("Comparison")._repr_html_()
    assert "color:inherit" in text
    assert not re.search(r"background(-color)?:\s*#", text)
    assert not re.search(r"[^-]color:\s*#", text)


def test_long_table_shows_its_first_and_last_lines() -> None:
    found = gm.learning_curve([1.0], [1.0], np.arange(1.0, 101.0))
    text = parsed(found._repr_html_()).text
    assert "… 81 more" in text
    assert text.count("more") == 1


# ---- lookups ---------------------------------------------------------------------------------------------------------


def test_comparison_gives_the_row_of_the_default_estimator() -> None:
    c = result("Comparison")
    assert [row.kernel.split("(")[0] for row in c["cka"]] == ["linear", "rbf"]
    assert {row.estimator for row in c["cka"]} == {"unbiased"}
    assert c["cka", "rbf"] is c["cka", "unbiased", "rbf"]
    assert c["cka", "rbf"].estimator == "unbiased"
    assert c["cka", "biased", "linear"].estimator == "biased"
    assert [row.estimator for row in c["distance_alignment"]] == ["unit_diagonal", "hs_norm"]
    assert c["kernel_alignment", "linear"].estimator == "biased"
    shown = c["cka", "rbf"].kernel
    assert c["cka", shown] is c["cka", "rbf"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("ckaa", r"^there is no measure or kernel 'ckaa'; did you mean 'cka'\? There are 'cka', 'hsic', .*'rbf'$"),
        ("CKA", r"^there is no measure or kernel 'CKA'; did you mean 'cka'\? There are "),
        ("laplacian", r"^there is no measure or kernel 'laplacian'; there are 'cka', "),
        (("cka", "cosine"), r"^there is no row of cka with 'cosine'; there are 'unbiased', 'biased', 'linear', 'rbf'$"),
        (("cka", gm.RBF(9.0)), r"^there is no row of cka with RBF\(bandwidth=9.0\); there are 'unbiased', "),
        (("cka", "rbf", "linear"), r"^there is no row of cka with 'linear'"),
        ((), r"^there is no measure or kernel ''; there are"),
    ],
)
def test_comparison_says_what_there_is(key: Any, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        result("Comparison")[key]


def test_comparison_is_asked_by_names() -> None:
    with pytest.raises(TypeError, match=r"^a comparison is asked by names and kernels, as in .*, not by int$"):
        result("Comparison")[0]


def test_comparison_knows_kernels_by_all_their_names_and_as_objects() -> None:
    c = gm.compare(X, Y, [gm.RBF(1.0), "linear", gm.RBF(2.0), "rational_quadratic"], shuffles=0)
    assert [row.kernel for row in c["cka", "gaussian"]] == ["rbf(bandwidth=1)", "rbf(bandwidth=2)"]
    assert c["cka", gm.RBF(1.0)].kernel == "rbf(bandwidth=1)"
    assert c["cka", gm.RationalQuadratic()] is c["cka", "rq"] is c["rq", "cka"]
    assert c["cka", gm.RationalQuadratic(alpha=1.0)] is c["cka", "rq"]
    assert c["cka", "dot", "biased"] is c["cka", "biased", gm.Linear()]
    assert {row.kernel for row in c["rbf"]} == {"rbf(bandwidth=1)", "rbf(bandwidth=2)"}
    assert len(c["linear"]) == 4
    assert {row.estimator for row in c["biased"]} == {"biased"}
    with pytest.raises(KeyError, match=r"there are 'unbiased', 'biased', 'rbf\(bandwidth=1\)', 'linear', 'rbf\("):
        c["cka", "cosine"]


def test_kernel_object_does_not_stand_for_two_bandwidths() -> None:
    c = gm.compare(X, 2 * Y, "rbf", shuffles=0)
    left, right = map(float, re.findall(r"[\d.]+", c["cka"].kernel))
    assert left != right
    with pytest.raises(KeyError):
        c["cka", gm.RBF(left)]


def matrix() -> Any:
    values = np.array([[0.1, 0.9, 0.3], [0.9, math.nan, 0.2]])
    reasons = {"Xs['b']": "b is odd", "Ys['y']": "y is odd"}
    return gm.AlignmentMatrix(values, ("a", "b"), ("x", "y", "z"), "cka", {"kernel": "linear"}, 50, reasons)


def test_matrix_gives_values_by_names_and_by_numbers() -> None:
    m = matrix()
    assert m["a", "z"] == m[0, 2] == m[-2, -1] == m["a", 2] == 0.3
    assert type(m["a", "z"]) is float


@pytest.mark.parametrize(
    ("key", "rows", "columns"),
    [
        ("b", ("b",), ("x", "y", "z")),
        (1, ("b",), ("x", "y", "z")),
        ((slice(None), "y"), ("a", "b"), ("y",)),
        (["b", "a"], ("b", "a"), ("x", "y", "z")),
        ((slice(0, 1), ["z", "x"]), ("a",), ("z", "x")),
        ((slice(None), slice("y", None)), ("a", "b"), ("y", "z")),
        ((slice(None), slice("x", "y")), ("a", "b"), ("x", "y")),
        ((slice(None, None, -1), slice(None, None, 2)), ("b", "a"), ("x", "z")),
        ((slice("b", "a", -1), slice("z", "y", -1)), ("b", "a"), ("z", "y")),
        (([False, True], np.array([True, False, True])), ("b",), ("x", "z")),
        ((("b",), "y"), ("b",), ("y",)),
        (("b",), ("b",), ("x", "y", "z")),
        (np.array(["b", "a"]), ("b", "a"), ("x", "y", "z")),
        (np.array([1, 0]), ("b", "a"), ("x", "y", "z")),
    ],
)
def test_matrix_becomes_smaller(key: Any, rows: tuple[str, ...], columns: tuple[str, ...]) -> None:
    found = matrix()[key]
    assert (found.rows, found.columns) == (rows, columns)
    whole = matrix().to_pandas()
    assert same(found.values, whole.loc[list(rows), list(columns)].to_numpy())


def test_smaller_matrix_keeps_the_reasons_of_what_it_has() -> None:
    assert matrix()["b"].reasons == {"Xs['b']": "b is odd", "Ys['y']": "y is odd"}
    assert matrix()["a"].reasons == {}


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ("q", KeyError, r"^there is no row 'q'; there are 'a', 'b'$"),
        (("a", "xx"), KeyError, r"^there is no column 'xx'; did you mean 'x'\? There are 'x', 'y', 'z'$"),
        (2, IndexError, r"^there is no row 2; there are 2, 'a' to 'b'$"),
        (1.5, TypeError, r"^a row is a name, a number, a slice, a mask or a list of them, not float$"),
        (True, TypeError, r"not bool$"),
        ((0, 0, 0), IndexError, r"^a matrix has rows and columns, so at most two indexes, got 3$"),
        (slice("b", "a"), IndexError, r"^\['b':'a'\] chooses no row; there are 2, 'a' to 'b'$"),
        ([], IndexError, r"^\[\] chooses no row; there are 2, 'a' to 'b'$"),
        ((0, [False] * 3), IndexError, r"^\[False, False, False\] chooses no column; there are 3, 'x' to 'z'$"),
        ([True], IndexError, r"^a mask of rows has a value for each of the 2, got 1$"),
        (np.ones((2, 3), bool), TypeError, r"^a list or a mask of rows has one dimension, got shape \(2, 3\)$"),
    ],
)
def test_matrix_says_what_there_is(key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        matrix()[key]


def of_numbers(*names: int) -> Any:
    values = 10.0 * np.arange(len(names))[:, None] + np.arange(len(names))
    text = tuple(map(str, names))
    return gm.AlignmentMatrix(values, text, text, "cka", {}, 50, {})


def test_number_is_a_name_where_layers_are_named_by_numbers() -> None:
    assert gm.matrix({1: X, 0: Y}, {1: X, 0: Y}, measure="hsic")[0, 1] == pytest.approx(gm.hsic(Y, X))
    m = of_numbers(1, 0)
    assert (m[0, 0], m[1, 1], m[0, 1], m["0", "1"], m[-1, -1]) == (11.0, 0.0, 10.0, 10.0, 11.0)
    m = of_numbers(10, 11, 12)
    assert (m[10, 11], m[np.int64(12), "10"], m[-1, -2]) == (1.0, 20.0, 21.0)
    assert m[[12, 10]].rows == ("12", "10")
    assert [m[10:12].rows, m[:11].rows, m[11:].rows, m[-2:].rows] == [
        ("10", "11"), ("10",), ("11", "12"), ("11", "12"),
    ]  # fmt: skip
    with pytest.raises(KeyError, match=r"^there is no row 0; there are '10', '11', '12'$"):
        m[0]


def test_layers_of_a_list_are_named_by_their_places() -> None:
    m = of_numbers(*range(12))
    for key in (0, 11, -1, slice(2, 5), slice(None, -3), slice(5, 100), [3, 1]):
        assert m[key].rows == tuple(np.array(m.rows)[[key] if isinstance(key, int) else key])
    with pytest.raises(KeyError, match="there is no row 12"):
        m[12]
    assert m[1:][1, 1] == m[1, 1]


def test_matrix_holds_the_names_of_its_rows() -> None:
    m = matrix()
    assert (list(m), len(m), m.shape) == (["a", "b"], 2, (2, 3))
    assert "a" in m
    assert ("a", "x") in m
    assert "x" not in m
    assert ("x", "a") not in m
    assert 0 not in m
    assert 1 in of_numbers(1, 2)


def test_matrix_of_one_value_is_a_number() -> None:
    assert float(matrix()["a", ["y"]]) == 0.9
    with pytest.raises(TypeError, match=r"^only a matrix of one value is a number; this one has 2 × 3$"):
        float(matrix())


def test_best_is_the_first_of_the_largest_values() -> None:
    assert matrix().best() == ("a", "y", 0.9)
    assert matrix().best("rows") == [("a", "y", 0.9), ("b", "x", 0.9)]
    assert matrix().best("columns") == [("b", "x", 0.9), ("a", "y", 0.9), ("a", "z", 0.3)]


def test_best_of_distances_is_the_smallest() -> None:
    assert dataclasses.replace(matrix(), best_is="smallest").best() == ("a", "x", 0.1)


def test_best_of_undefined_values_has_no_names() -> None:
    row, column, value = matrix()["b", ["y"]].best()
    assert (row, column, math.isnan(value)) == (None, None, True)


def test_best_refuses_another_axis() -> None:
    with pytest.raises(ValueError, match="axis must be one of 'rows', 'columns', got 1"):
        matrix().best(1)


# ---- plots -----------------------------------------------------------------------------------------------------------

DRAWN = [name for name in RESULTS if hasattr(gm, name) and hasattr(getattr(gm, name), "plot")]


@pytest.fixture
def axes() -> Any:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot.figure().add_subplot()
    pyplot.close("all")


@pytest.mark.parametrize("name", DRAWN)
def test_plot_draws_on_the_axes_that_it_is_given(name: str, axes: Any) -> None:
    found = result(name).plot(axes, title="a title", limits=(0.1, 0.7), annotate=True)
    assert found is axes
    assert axes.get_title() == "a title"
    axes.figure.canvas.draw()


@pytest.mark.parametrize("name", DRAWN)
def test_plot_makes_axes_of_its_own(name: str, axes: Any) -> None:
    assert result(name).plot() is not axes


@pytest.mark.parametrize("name", DRAWN)
def test_matplotlib_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"^plot\(\) needs matplotlib: pip install 'gramian\[viz\]'"):
        result(name).plot()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limits": 3}, TypeError, r"^limits must be two numbers, \(low, high\), got 3$"),
        ({"limits": (1, 2, 3)}, TypeError, r"^limits must be two numbers"),
        ({"limits": "ab"}, TypeError, r"^limits must be two numbers"),
        ({"limits": (1.0, 0.0)}, ValueError, r"^limits must be finite, the lower one first, got \(1, 0\)$"),
        ({"limits": (0.0, math.nan)}, ValueError, r"^limits must be finite"),
        ({"ax": 3}, TypeError, r"^ax must be axes of matplotlib, as plt.gca\(\) gives, got int$"),
        ({"titel": "a"}, TypeError, r"^plot\(\) has no argument 'titel'; did you mean 'title'\?$"),
    ],
)
def test_plot_names_the_argument_that_is_wrong(
    name: str, options: dict[str, Any], error: type[Exception], message: str, axes: Any
) -> None:
    with pytest.raises(error, match=message):
        result(name).plot(**options)


@pytest.mark.parametrize("name", ["AlignmentMatrix", "PlatonicScore", "EigenOverlap", "LayerSearch"])
def test_heat_map_names_colours_that_are_none(name: str, axes: Any) -> None:
    with pytest.raises(ValueError, match=r"^cmap 'viridsi' is not the name of a colour map; did you mean 'viridis'\?$"):
        result(name).plot(cmap="viridsi")
    with pytest.raises(TypeError, match=r"^cmap must be a colour map of matplotlib or its name, got int$"):
        result(name).plot(cmap=3)
    with pytest.raises(TypeError, match=r"^plot\(\) has no argument 'cmapp'; did you mean 'cmap'\?$"):
        result(name).plot(cmapp="viridis")


def test_axes_are_asked_for_where_a_figure_or_several_are_given(axes: Any) -> None:
    with pytest.raises(TypeError, match=r"got Figure, whose axes figure.gca\(\) gives$"):
        result("AlignmentMatrix").plot(axes.figure)
    with pytest.raises(TypeError, match=r"got ndarray of shape \(2,\); give one of them, as ax\[0\]$"):
        result("Null").plot(np.array([axes, axes]))


def test_plot_of_a_null_marks_value_and_chance(axes: Any) -> None:
    found = result("Null")
    found.plot(axes)
    places = sorted(line.get_xdata()[0] for line in axes.get_lines())
    assert places == sorted([found.value, found.mean])
    assert sum(patch.get_height() for patch in axes.patches) == found.permutations


def test_plot_of_a_spectrum_has_its_eigenvalues(axes: Any) -> None:
    result("Spectrum").plot(axes)
    (line,) = axes.get_lines()
    assert same(line.get_ydata(), result("Spectrum").eigenvalues)
    assert axes.get_yscale() == "log"


def test_points_that_are_not_drawn_are_counted(axes: Any) -> None:
    curve = gm.LearningCurve(np.array([1.0, 2.0]), np.array([math.inf, 0.5]), np.zeros(2), np.zeros(2))
    curve.plot(axes)
    assert "1 points not drawn" in axes.get_xlabel()


def test_limits_are_those_of_the_axis_of_values(axes: Any) -> None:
    result("Spectrum").plot(axes, limits=(0.01, 2.0))
    assert axes.get_ylim() == (0.01, 2.0)


def test_colours_of_a_heat_map_can_be_chosen(axes: Any) -> None:
    result("PlatonicScore").plot(axes, cmap="viridis", limits=(-1.0, 1.0), annotate=False)
    assert axes.images[0].get_cmap().name == "viridis"
    assert axes.images[0].get_clim() == (-1.0, 1.0)
    assert list(axes.texts) == []


# ---- heat maps in notebooks ------------------------------------------------------------------------------------------


def layers(count: int) -> Any:
    values = np.random.default_rng(0).uniform(size=(count, count))
    values[3] = math.nan
    names = tuple(f"layers.{i}.mlp" for i in range(count))
    return gm.AlignmentMatrix(
        values, names, names, "cka", {"kernel": "linear"}, 50, {"Xs['layers.3.mlp']": "it is odd"}, limits=(None, 1.0)
    )


def test_html_of_96_layers_is_small_and_draws_all_of_them() -> None:
    text = layers(96)._repr_html_()
    parsed(text)
    assert len(text) < 60_000
    assert 'class="best"' in text
    assert "grey: undefined" in text
    assert "it is odd" in text


def test_image_of_a_large_matrix_has_the_colours_of_its_cells() -> None:
    import base64
    import struct
    import zlib

    from gramian.show import heatmaps

    grid = heatmaps.grid(layers(20))
    (data,) = re.findall(r'href="data:image/png;base64,([^"]+)"', layers(20)._repr_html_())
    png = base64.b64decode(data)
    assert struct.unpack(">II", png[16:24]) == (20, 20)
    length = struct.unpack(">I", png[33:37])[0]
    lines = np.frombuffer(zlib.decompress(png[41 : 41 + length]), np.uint8).reshape(20, 61)
    drawn = lines[:, 1:].reshape(20, 20, 3)
    assert drawn[0, 5].tolist() == list(grid.colour(float(grid.values[0, 5])))
    assert drawn[3].tolist() == [[0xDD] * 3] * 20
    for at, kind in ((8, b"IHDR"), (33, b"IDAT")):
        size = struct.unpack(">I", png[at : at + 4])[0]
        assert png[at + 4 : at + 8] == kind
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(png[at + 4 : at + 8 + size])


# ---- neighbours ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_copied_lists_of_neighbours_know_their_ties(copied: Any) -> None:
    lists = gm.neighbors(CONSTANT, 5)
    found = copied(lists)
    assert same(found, lists)
    assert (found.ties, found.reason) == (lists.ties, lists.reason)
    assert lists.reason is not None
    assert found[:10].reason is None


# ---- the notebook ----------------------------------------------------------------------------------------------------


def test_cells_of_the_notebook_run_and_show_results() -> None:
    notebook = json.loads((Path(__file__).parents[1] / "examples" / "results.ipynb").read_text())
    scope: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            *lines, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(lines, []), "cell", "exec"), scope)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), scope))
            else:
                exec(compile(ast.Module([last], []), "cell", "exec"), scope)
    found = [type(x).__name__ for x in shown if isinstance(x, Result)]
    assert found == ["Comparison", "ComparisonRow", "AlignmentMatrix", "Estimate", "Null", "StitchReport", "Spectrum"]
