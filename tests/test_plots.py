"""The heat map as SVG, read back with an XML parser, and with matplotlib."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import gramian as gm
from gramian.matrices import AlignmentMatrix
from gramian.show import heatmaps
from gramian.show.charts import Series, bounds_chart, chart_svg
from gramian.show.svg import round_steps, stacked_svg, told_apart

SVG = "{http://www.w3.org/2000/svg}"


def matrix(values: Any, *, rows: Any = None, columns: Any = None, **fields: Any) -> AlignmentMatrix:
    values = np.asarray(values, dtype=float)
    names = {
        "rows": tuple(rows or (f"a{i}" for i in range(values.shape[0]))),
        "columns": tuple(columns or (f"b{j}" for j in range(values.shape[1]))),
    }
    options = {"estimator": "unbiased", "kernel": "linear"}
    rest = {"measure": "cka", "options": options, "n": 100, "reasons": {}}
    limits = (None, None if fields.get("measure") == "hsic" else 1.0)
    return AlignmentMatrix(values=values, **{**names, **rest, "limits": limits, **fields})


def draw(m: AlignmentMatrix, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(heatmaps.heatmap_svg(m, **options))


def cells(svg: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Cell by its hover text up to the value: "row, column"."""
    found = {}
    for group in svg.iter(f"{SVG}g"):
        hover = group.find(f"{SVG}title")
        if hover is not None and hover.text:
            found[hover.text.rsplit(": ", 1)[0]] = group
    return found


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def dots(svg: ElementTree.Element) -> set[str]:
    return {name for name, cell in cells(svg).items() if cell.find(f"{SVG}circle[@class='best']") is not None}


def fill(svg: ElementTree.Element, name: str) -> str:
    square = cells(svg)[name].find(f"{SVG}rect")
    assert square is not None
    return square.attrib["fill"]


def luminance(colour: str) -> float:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_values_labels_and_title_are_written() -> None:
    svg = draw(matrix([[0.25, 0.5], [0.75, 1.0]]), title="One & two")

    assert {"One & two", "a0", "a1", "b0", "b1", "0.25", "0.50", "0.75", "1.00"} <= set(texts(svg))
    assert svg.findtext(f"{SVG}title") == "One & two"


def test_the_title_left_out_says_what_was_measured() -> None:
    assert "hsic, biased, rbf, n = 7" in texts(
        draw(matrix([[1.0]], measure="hsic", options={"estimator": "biased", "kernel": "rbf"}, n=7))
    )


def test_a_dot_marks_the_best_match_of_each_row() -> None:
    svg = draw(matrix([[0.1, 0.9, 0.3], [0.8, 0.2, 0.8], [-0.3, -0.2, -0.1]]))

    assert dots(svg) == {"a0, b1", "a1, b0", "a2, b2"}


def test_undefined_cells_are_hatched_and_never_the_best() -> None:
    reason = "Xs['a1'] is constant"
    svg = draw(matrix([[math.nan, 0.4], [math.nan, math.nan]], reasons={"Xs['a1']": reason}))

    hatched = {name for name, cell in cells(svg).items() if cell.find(f"{SVG}path[@class='undefined']") is not None}
    assert hatched == {"a0, b0", "a1, b0", "a1, b1"}
    assert dots(svg) == {"a0, b1"}
    assert {"hatched: undefined", reason} <= set(texts(svg))


def test_a_matrix_without_undefined_cells_does_not_speak_of_them() -> None:
    assert "undefined" not in heatmaps.heatmap_svg(matrix([[0.5]]))


def test_brighter_is_larger() -> None:
    values = np.linspace(0, 1, 101)[None, :]
    svg = draw(matrix(values))

    brightness = [luminance(fill(svg, f"a0, b{j}")) for j in range(101)]
    assert all(np.diff(brightness) > 0)


@pytest.mark.parametrize(("values", "low", "high"), [([[0.2, 0.6]], 0, 1), ([[-0.2, 0.6]], -0.2, 1)])
def test_colours_of_a_bounded_measure_end_at_one(values: Any, low: float, high: float) -> None:
    svg = draw(matrix([[*values[0], high, low]]))

    assert fill(svg, "a0, b2") == "#fcfdbf"
    assert fill(svg, "a0, b3") == "#000004"


@pytest.mark.parametrize("scale", [1e-12, 3.7, 1e9])
def test_colours_of_hsic_end_at_its_largest_value(scale: float) -> None:
    svg = draw(matrix([[0.0, 0.5 * scale, scale]], measure="hsic"))

    assert fill(svg, "a0, b2") == "#fcfdbf"
    assert fill(svg, "a0, b1") == fill(draw(matrix([[0.5]])), "a0, b0")


@pytest.mark.parametrize("values", [[[0.0]], [[math.nan]]])
def test_hsic_without_a_scale_is_still_drawn(values: Any) -> None:
    assert "a0, b0" in cells(draw(matrix(values, measure="hsic")))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.07, 1), (0, 5465), (-3e-9, 2e-7), (0, 1.01)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = round_steps(low, high)

    values = np.array([value for value, _ in ticks])
    assert 3 <= len(ticks) <= 8
    assert values.min() >= low - 1e-9 * high
    assert values.max() <= high * (1 + 1e-9)
    assert [float(text) for _, text in ticks] == pytest.approx(values)


def test_numbers_in_cells_can_be_read_on_their_colour() -> None:
    svg = draw(matrix([[0.0, 0.3, 0.6, 1.0]]))

    for name in cells(svg):
        number = cells(svg)[name].find(f"{SVG}text")
        assert number is not None
        lighter, darker = sorted((luminance(fill(svg, name)), luminance(number.attrib["fill"])), reverse=True)
        assert lighter - darker > 60


def test_names_are_escaped() -> None:
    svg = draw(matrix([[0.5]], rows=['<b> & "c"'], columns=["nul\x00 \ud800"]))

    assert '<b> & "c"' in texts(svg)
    assert "nul\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}" in texts(svg)


def test_long_names_are_cut_to_what_tells_them_apart() -> None:
    names = [f"encoder.layers.{i}.self_attention.output" for i in (1, 10, 11)]
    svg = draw(matrix(np.eye(3), rows=names))

    assert {"…1…", "…10…", "…11…"} <= set(texts(svg))
    assert f"{names[2]}, b0" in cells(svg)


def test_one_long_name_keeps_its_ends() -> None:
    short = told_apart(["start" + "x" * 100 + "end"])

    assert short[0].startswith("start")
    assert short[0].endswith("end")
    assert len(short[0]) == 28


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (100, 90)])
def test_everything_is_inside_the_picture(shape: tuple[int, int]) -> None:
    svg = draw(matrix(np.random.default_rng(0).random(shape), columns=[f"a longer name {j}" for j in range(shape[1])]))

    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    assert len(cells(svg)) == shape[0] * shape[1]
    for element in svg.iter():
        if "x" in element.attrib:
            right = float(element.attrib["x"]) + float(element.attrib.get("width", "0").replace("100%", "0"))
            low = float(element.attrib["y"]) + float(element.attrib.get("height", "0").replace("100%", "0"))
            assert 0 <= right <= width
            assert 0 <= low <= height


def test_labels_of_a_large_matrix_do_not_overlap() -> None:
    svg = draw(matrix(np.zeros((100, 100))))

    rows = [float(t.attrib["y"]) for t in svg.iter(f"{SVG}text") if (t.text or "").startswith("a")]
    assert min(np.diff(rows)) >= 12


def test_two_pictures_fit_on_one_page() -> None:
    assert " id=" not in heatmaps.heatmap_svg(matrix([[math.nan, 0.5]]))


def test_the_description_names_the_best_matches() -> None:
    described = draw(matrix([[0.1, 0.9], [math.nan, math.nan]])).findtext(f"{SVG}desc")

    assert described is not None
    assert "a0: b1 (0.9); a1: undefined" in described


def test_svg_needs_neither_matplotlib_nor_the_metrics() -> None:
    code = (
        "import sys, gramian.show.heatmaps; "
        "print([m for m in ('matplotlib', 'gramian.measures.kernel', 'gramian.sweeps.gram') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- matplotlib ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pyplot() -> Any:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_matplotlib_shows_the_values_and_the_best_matches(pyplot: Any) -> None:
    values = [[0.1, 0.9], [math.nan, 0.3], [math.nan, math.nan]]
    ax = matrix(values).plot()

    np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), values)
    assert ax.images[0].get_clim() == (0, 1)
    assert ax.collections[0].get_offsets().tolist() == [[1.0, -0.3], [1.0, 0.7]]  # above the numbers
    assert [text.get_text() for text in ax.texts] == ["0.10", "0.90", "0.30"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a0", "a1", "a2"]
    assert len(ax.patches) == 3


def test_matplotlib_says_why_cells_are_undefined(pyplot: Any) -> None:
    X = np.random.default_rng(0).standard_normal((30, 3))
    found = gm.cka_matrix({"a": X, "flat": np.ones((30, 2))})

    ax = found.plot()

    assert ax.get_xlabel().replace("\n", " ").startswith("hatched: undefined Xs['flat'] is constant: ")
    assert not matrix([[0.5]]).plot().get_xlabel()


def test_matplotlib_draws_where_it_is_told_to(pyplot: Any) -> None:
    _, (left, right) = pyplot.subplots(1, 2)

    assert matrix([[0.5]]).plot(ax=right) is right
    assert not left.images


def test_both_pictures_have_the_same_colours(pyplot: Any) -> None:
    magma = pyplot.get_cmap("magma")
    for value in np.linspace(0, 1, 50):
        want = np.array(magma(float(value))[:3]) * 255
        assert np.abs(np.array(heatmaps._colour(float(value), (0.0, 1.0))) - want).max() <= 4


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'gramian\[viz\]'"):
        matrix([[0.5]]).plot()


# ---- bounds ----------------------------------------------------------------------------------------------------------


def report() -> Any:
    rng = np.random.default_rng(0)
    f1 = rng.normal(size=(200, 4))
    f2 = f1 @ rng.normal(size=(4, 3)) + rng.normal(size=(200, 3))
    return gm.stitch_report(f1, f2, f2[:, :2] + rng.normal(size=(200, 2)), None, rng.normal(size=(2, 3)))


def test_each_bound_is_drawn_beside_what_was_measured() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    found = report()

    axes = found.plot()

    lines = [line.get_xdata().tolist() for line in axes.lines]
    assert lines == [[b.measured, b.value] for b in found.bounds]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["R_stitch: stitching, κ upper", "R_stitch: stitching, κ effective"]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {
        "at most", "at least", "equal to", "measured",
    }  # fmt: skip


def test_bounds_that_are_undefined_or_infinite_are_left_out() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    bounds = report().bounds
    odd = [replace(bounds[0], value=math.nan), replace(bounds[1], value=math.inf), bounds[2]]

    axes = bounds_chart(odd)

    assert len(axes.lines) == 1
    assert axes.get_xlabel().endswith("\n2 of 3 bounds not drawn: undefined or infinite")
    assert not bounds_chart(odd[:2]).lines
    assert "not drawn" not in bounds_chart(bounds[2:3]).get_xlabel()


def test_bounds_may_be_drawn_into_axes_that_are_there() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    axes = pyplot.figure().add_subplot()

    assert report().plot(ax=axes) is axes


# ---- charts --------------------------------------------------------------------------------------------------------


def chart(*series: Series, **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(chart_svg(series, **{"title": "t", "x_label": "x"} | options))


def points(svg: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Where the first series' circles are, by their hover text."""
    found = {}
    for group in svg.iter(f"{SVG}g"):
        hover, circle = group.find(f"{SVG}title"), group.find(f"{SVG}circle")
        if hover is not None and circle is not None:
            found[hover.text or ""] = (float(circle.attrib["cx"]), float(circle.attrib["cy"]))
    return found


def test_chart_puts_points_where_their_numbers_are() -> None:
    at = points(chart(Series("a", [0, 1, 3], [10.0, 20.0, 40.0])))

    (x0, y0), (x1, y1), (x3, y3) = at["a: 0, 10"], at["a: 1, 20"], at["a: 3, 40"]
    assert x0 < x1 < x3
    assert y0 > y1 > y3  # up is less in SVG
    assert (x3 - x0) == pytest.approx(3 * (x1 - x0), abs=0.05)
    assert (y0 - y3) == pytest.approx(3 * (y0 - y1), abs=0.05)


def test_logarithmic_axes_are_logarithmic() -> None:
    at = points(chart(Series("a", [1, 10, 1000], [0.1, 1.0, 100.0]), log_x=True, log_y=True))

    (x0, y0), (x1, y1), (x3, y3) = at["a: 1, 0.1"], at["a: 10, 1"], at["a: 1000, 100"]
    assert (x3 - x0) == pytest.approx(3 * (x1 - x0), abs=0.05)
    assert (y0 - y3) == pytest.approx(3 * (y0 - y1), abs=0.05)


@pytest.mark.parametrize(
    ("values", "shown"), [([1.0, 1e6], {"1", "1000", "1e+06"}), ([1.0, 30.0], {"1", "5", "20"}), ([1.0, 1.2], {"1.1"})]
)
def test_logarithmic_axes_have_round_ticks(values: list[float], shown: set[str]) -> None:
    svg = chart(Series("a", values, [1.0, 2.0]), log_x=True)

    assert shown <= set(texts(svg))


def test_points_that_cannot_be_drawn_are_counted() -> None:
    svg = chart(Series("a", [1, 2, 3, 4], [1.0, math.nan, -1.0, 2.0]), log_y=True)

    assert set(points(svg)) == {"a: 1, 1", "a: 4, 2"}
    assert "a: 2 not drawn, undefined or not positive" in texts(svg)
    with pytest.raises(ValueError, match="'t' has no point to draw: none is finite, and positive where an axis is"):
        chart(Series("a", [1], [math.nan]))


def test_categories_run_from_the_top_and_intervals_along_x() -> None:
    svg = chart(Series("a", [1.0, 2.0], [0, 1], low=[0.5, 1.5], high=[1.5, 2.5]), categories=["first", "second"])

    at = points(svg)
    assert at["a: 1 (0.5 to 1.5)"][1] < at["a: 2 (1.5 to 2.5)"][1]
    assert {"first", "second"} <= set(texts(svg))
    assert "a: first 1, second 2" in (svg.findtext(f"{SVG}desc") or "")


def test_band_of_a_line_and_dashes_of_a_bound() -> None:
    line = Series("line", [1, 2], [1.0, 2.0], low=[0.5, 1.5], high=[1.5, 2.5], line=True)
    bound = Series("bound", [1, 2], [3.0, 3.0], dashed=True)

    paths = list(chart(line, bound).iter(f"{SVG}path"))
    assert [p for p in paths if p.get("fill-opacity") == "0.15"]
    assert len([p for p in paths if p.get("stroke-dasharray")]) == 2  # itself and in the legend
    assert "bound: " not in "".join(points(chart(line, bound)))


def test_chart_escapes_its_texts() -> None:
    assert {"a < b", "x & y", "<t>"} <= set(texts(chart(Series("a < b", [1], [1.0]), title="<t>", x_label="x & y")))


def test_stacked_pictures_are_below_each_other() -> None:
    part = chart_svg([Series("a", [1], [1.0])], title="part", x_label="x")

    whole = ElementTree.fromstring(stacked_svg([part, part], title="whole"))

    parts = whole.findall(f"{SVG}svg")
    tops, heights = ([float(p.attrib[name]) for p in parts] for name in ("y", "height"))
    assert tops[1] == pytest.approx(tops[0] + heights[0])
    assert float(whole.attrib["height"]) == pytest.approx(tops[1] + heights[1])
    assert float(whole.attrib["width"]) >= float(parts[0].attrib["width"])
