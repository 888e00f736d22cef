"""Every layer into every layer: each pair as if it had been fitted by itself."""

from __future__ import annotations

import itertools
import json
import math
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import gramian as gm
from gramian.show import heatmaps

Array = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def networks(n: int = 240, shift: float = 0.0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Layers of 3, 5 and 8 features of one model, of 4 and 6 of another; one has a column twice, one a constant."""
    x = normal(0, n, 8) * np.geomspace(1, 20, 8) + shift
    first = {"a": x[:, :3], "b": np.tanh(x @ normal(1, 8, 5)), "c": np.hstack([x[:, :7], x[:, :1]])}
    second = {
        "p": x[:, :3] @ normal(2, 3, 4) + normal(3, n, 4),
        "q": np.hstack([np.tanh(x @ normal(4, 8, 5)), np.full((n, 1), 2.0)]) + 0.1 * normal(5, n, 6),
    }
    return first, second


# ---- each pair -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "affine"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_each_pair_is_what_fit_stitch_and_risk_say(kind: Any, ridge: float) -> None:
    first, second = networks(shift=4.0)

    r = gm.layer_search(first, second, kind=kind, ridge=ridge)

    for (i, u), (j, v) in itertools.product(enumerate(first.values()), enumerate(second.values())):
        s = gm.fit_stitch(u[r.fitted], v[r.fitted], kind=kind, ridge=ridge)
        held = v[r.held_out]
        centre = held.mean(axis=0) if kind == "affine" else 0.0
        measured = gm.risk(s, u[r.held_out], held)
        assert r.misalignment[i, j] == pytest.approx(measured, rel=1e-9)
        assert r.misalignment_ratio[i, j] == pytest.approx(
            measured / float(((held - centre) ** 2).sum() / r.n), rel=1e-9
        )
        assert r.ridge[i, j] == ridge


@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_alignment_is_that_of_the_rows_of_the_fit(kind: Any) -> None:
    first, second = networks(shift=1.0)
    measure = gm.cka if kind == "affine" else gm.kernel_alignment

    r = gm.layer_search(first, second, kind=kind)

    want = [[measure(u[r.fitted], v[r.fitted], estimator="biased") for v in second.values()] for u in first.values()]
    assert r.alignment == pytest.approx(np.array(want), rel=1e-9)


def test_ridge_of_each_pair_is_that_of_the_least_gcv() -> None:
    first = {"a": normal(0, 100, 30)}
    second = {"p": first["a"] @ normal(1, 30, 3) + 20 * normal(2, 100, 3), "q": normal(3, 100, 3)}

    r = gm.layer_search(first, second, ridge="gcv")

    for j, v in enumerate(second.values()):
        s = gm.fit_stitch(first["a"][r.fitted], v[r.fitted], ridge="gcv")
        assert abs(math.log10(r.ridge[0, j] / s.ridge)) < 0.11
        assert r.misalignment[0, j] == pytest.approx(gm.risk(s, first["a"][r.held_out], v[r.held_out]), rel=0.02)


def test_an_ill_conditioned_layer_keeps_its_digits() -> None:
    u = normal(0, 200, 6) @ np.diag(np.geomspace(1, 1e-7, 6)) @ np.linalg.qr(normal(1, 6, 6))[0]
    v = u @ np.linalg.pinv(np.linalg.qr(u)[1]) @ normal(2, 6, 3)

    r = gm.layer_search([u], [v])

    assert r.misalignment_ratio[0, 0] < 1e-13


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_units_do_not_matter(size: float) -> None:
    first, second = networks()
    plain = gm.layer_search(first, second)

    huge = gm.layer_search({k: v * size for k, v in first.items()}, {k: v / size for k, v in second.items()})

    assert huge.misalignment_ratio == pytest.approx(plain.misalignment_ratio, rel=1e-10)
    assert huge.alignment == pytest.approx(plain.alignment, rel=1e-10)


# ---- heads -----------------------------------------------------------------------------------------------------------


def test_risks_and_bounds_are_those_of_each_head() -> None:
    first, second = networks()
    y = normal(7, 240, 2)
    heads = {"p": normal(8, 2, 4), "q": lambda z: np.tanh(z[:, :2])}

    r = gm.layer_search(first, second, heads2=heads, Y=y)

    for (i, u), (j, name) in itertools.product(enumerate(first.values()), enumerate(second)):
        head, held, target = heads[name], second[name][r.held_out], y[r.held_out]
        s = gm.fit_stitch(u[r.fitted], second[name][r.fitted])
        assert r.risk2[j] == pytest.approx(gm.risk(head, held, target), rel=1e-12)
        assert r.risk_stitch[i, j] == pytest.approx(gm.stitching_risk(s, head, u[r.held_out], target), rel=1e-9)
        assert r.excess[i, j] == r.risk_stitch[i, j] - r.risk2[j]
        assert r.bound_effective[i, j] >= r.risk_stitch[i, j] * (1 - 1e-12)
        assert r.bound_effective[i, j] == pytest.approx(
            gm.bounds.stitching(r.risk2[j], r.kappa_effective[i, j], r.misalignment[i, j]), rel=1e-12
        )
    assert r.kappa_upper[0] == gm.lipschitz.upper(heads["p"])
    assert (r.bound_upper[:, 0] >= r.bound_effective[:, 0] * (1 - 1e-12)).all()
    assert np.isnan(r.bound_upper[:, 1]).all()
    assert r.reasons["layers2['q']"] == ("heads2['q'] is a function; constants are read off matrices and torch modules")


def test_bounds_hold_for_every_pair_of_a_trained_network() -> None:
    """Activations of trained networks that come with the package, with ridge readouts of each layer as heads."""
    with np.load(files("gramian") / "data" / "digits.npz") as data:
        activations, y = data["activations"].astype(float), np.eye(10)[data["labels"]]
    first, second = ({f"layer{i}": a for i, a in enumerate(net)} for net in activations[:2])
    heads = {name: gm.fit_stitch(f, y, ridge=1e-3).matrix for name, f in second.items()}

    r = gm.layer_search(first, second, heads2=heads, Y=y, kind="affine", ridge="gcv")

    assert (r.risk_stitch <= r.bound_effective * (1 + 1e-12)).all()
    assert (r.bound_effective <= r.bound_upper * (1 + 1e-12)).all()
    depth = [abs(int(m.row[5:]) - int(m.column[5:])) for m in r.best("alignment")]  # type: ignore[index]
    assert sum(depth) <= 4  # the same layer across seeds, or next to it


def test_a_layer_without_a_head_has_no_risk_and_says_so() -> None:
    first, second = networks()

    r = gm.layer_search(first, second, heads2={"q": normal(8, 2, 6)}, Y=normal(7, 240, 2))

    assert np.isnan(r.risk_stitch[:, 0]).all()
    assert np.isfinite(r.risk_stitch[:, 1]).all()
    assert r.reasons["layers2['p']"] == "it has no head in heads2"
    assert {match.column for match in r.best()} == {"q"}


def test_torch_heads_are_evaluated() -> None:
    torch = pytest.importorskip("torch")
    first, second = networks()
    torch.manual_seed(0)
    head = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).double().eval()
    y = normal(7, 240, 2)

    r = gm.layer_search(first, {"p": second["p"]}, heads2={"p": head}, Y=y)

    s = gm.fit_stitch(first["a"][r.fitted], second["p"][r.fitted])
    whole = torch.nn.Sequential(s.to_torch(), head)
    out = whole(torch.from_numpy(first["a"][r.held_out])).detach().numpy()
    assert r.risk_stitch[0, 0] == pytest.approx(float(((out - y[r.held_out]) ** 2).sum() / r.n), rel=1e-9)


def test_a_network_cut_at_every_layer_has_one_risk_of_its_own() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nets = [
        torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh()) for _ in range(4))).double()
        for _ in range(2)
    ]
    x = torch.from_numpy(normal(0, 200, 6))
    y = nets[1](x).detach() + 0.1
    with torch.no_grad():
        first, second = ({f"block{k}": net[: k + 1](x) for k in range(4)} for net in nets)
    heads = {f"block{k}": nets[1][k + 1 :] for k in range(4)}

    r = gm.layer_search(first, second, heads2=heads, Y=y)

    assert r.risk2 == pytest.approx(np.full(4, 0.06), rel=1e-12)
    assert (r.risk_stitch <= r.bound_effective * (1 + 1e-12)).all()
    assert (r.bound_effective <= r.bound_upper * (1 + 1e-12)).all()
    assert (r.kappa_effective <= r.kappa_upper).all()


# ---- what is found ---------------------------------------------------------------------------------------------------


def test_layers_are_found_again_after_a_rotation_in_another_order() -> None:
    layers = [np.tanh(normal(k, 300, 6)) for k in range(4)]
    order = [2, 0, 3, 1]
    second = [layers[k] @ np.linalg.qr(normal(9 + k, 6, 6))[0] for k in order]

    r = gm.layer_search(layers, second)

    for by in ("misalignment", "misalignment_ratio", "alignment"):
        assert [order[int(match.column or -1)] for match in r.best(by)] == [0, 1, 2, 3]  # type: ignore[arg-type]
    assert r.measured == "misalignment_ratio"
    assert max(match.value for match in r.best()) < 1e-25


def test_risk_and_misalignment_may_disagree() -> None:
    """A layer that is easy to reach and useless for the task, and one that is hard to reach and all that matters."""
    x, noise = normal(0, 400, 3), normal(1, 400, 3)
    second = {"easy": x, "needed": np.hstack([noise[:, :1], x[:, :1]])}

    r = gm.layer_search([x], second, heads2={"easy": np.zeros((1, 3)), "needed": np.array([[0.0, 1.0]])}, Y=x[:, 0])

    assert r.best("misalignment_ratio")[0].column == "easy"
    assert r.best()[0].column == "needed"
    assert r.best("bound_effective")[0].column == "needed"


# ---- how it is shown -------------------------------------------------------------------------------------------------


def test_the_table_names_the_best_by_every_criterion() -> None:
    first, second = networks()

    text = str(gm.layer_search(first, second, heads2={"p": normal(8, 2, 4)}, Y=normal(7, 240, 2)))

    head, *rows = next(part for part in text.split("\n\n") if part.startswith("best by")).splitlines()
    assert head.split("  ")[-1].strip() == "alignment"
    assert [row.split()[0] for row in rows[:3]] == ["a", "b", "c"]
    assert "(unstitched)" in text
    assert "layers2['q']: it has no head in heads2" in text


def test_the_dictionary_is_plain() -> None:
    first, second = networks()

    found = json.loads(json.dumps(gm.layer_search(first, second).to_dict()))

    assert (found["rows"], found["columns"]) == (["a", "b", "c"], ["p", "q"])
    assert np.shape(found["misalignment"]) == (3, 2)
    assert set(found["best"]["misalignment_ratio"].values()) <= {"p", "q"}
    assert found["best"]["risk_stitch"] == {"a": None, "b": None, "c": None}


def test_the_picture_dots_the_smallest_of_each_row_and_bright_is_better() -> None:
    first, second = networks()
    r = gm.layer_search(first, second)

    svg = ElementTree.fromstring(heatmaps.heatmap_svg(r.grid()))

    name = "{http://www.w3.org/2000/svg}"
    dotted = [
        (group.findtext(f"{name}title") or "").split(":")[0]
        for group in svg.iter(f"{name}g")
        if group.find(f"{name}circle[@class='best']") is not None
    ]
    assert dotted == [f"{match.row}, {match.column}" for match in r.best()]
    grid = r.grid()
    assert sum(grid.colour(0.0)) > sum(grid.colour(1.0))
    assert r.grid("alignment").colour(1.0) == grid.colour(0.0)
    assert grid.heading == f"misalignment/tr Σ22, linear stitch, n = {r.n}"


def test_matplotlib_draws_it() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    first, second = networks()

    axes = gm.layer_search(first, second).plot(by="alignment")

    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


# ---- the gate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"layers1": {}}, ValueError, "layers1 has no layers"),
        ({"layers2": 3}, TypeError, "layers2 must be a dict of layers, a sequence of them, an array"),
        ({"layers2": {1: np.ones((240, 2)), "1": np.ones((240, 2))}}, ValueError, "layers2 has two layers of one name"),
        ({"layers2": {"p": np.ones((9, 2))}}, ValueError, r"layers1\['a'\] has 240 rows but layers2\['p'\] has 9"),
        ({"layers1": {"a": np.full((240, 2), np.inf)}}, ValueError, r"layers1\['a'\] has infinity in row 0"),
        ({"heads2": {"r": np.ones((2, 4))}}, ValueError, "heads2 has 'r', but layers2 has 'p', 'q'"),
        ({"heads2": {"p": np.ones((2, 4))}, "Y": None}, ValueError, "Y is missing: heads2 have no risks"),
        ({"heads2": {"p": np.ones((3, 4))}}, ValueError, r"heads2\['p'\] gives 3 outputs for each row but Y has 2"),
        ({"heads2": {"p": np.ones((2, 5))}}, ValueError, r"layers2\['p'\] must have shape \(n, 5\) for heads2\['p'\]"),
        ({"kind": "cubic"}, ValueError, "kind must be one of 'linear', 'affine', got 'cubic'"),
        ({"ridge": "best"}, ValueError, "ridge, where it is a word, must be one of 'gcv', got 'best'"),
        ({"ridge": -1}, ValueError, "ridge must be finite and at least 0, got -1"),
        ({"ridge": [1, 2]}, TypeError, "ridge must be a number or 'gcv', got list"),
        ({"split": 0}, ValueError, "split must be between 0 and 1"),
        (
            {"memory": 1000},
            ValueError,
            "maps of 16 to 10 features, of all layers, take [0-9]+ bytes, but memory is 1000",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], error: type[Exception], text: str) -> None:
    first, second = networks()
    arguments: dict[str, Any] = {"layers1": first, "layers2": second, "Y": normal(7, 240, 2), **change}

    with pytest.raises(error, match=text):
        gm.layer_search(**arguments)


def test_an_unknown_criterion_is_refused() -> None:
    first, second = networks()

    with pytest.raises(ValueError, match="by must be one of 'risk_stitch', 'excess'"):
        gm.layer_search(first, second).best("luck")  # type: ignore[arg-type]


def test_a_layer_that_is_nothing_is_undefined_with_a_reason() -> None:
    first, second = networks()

    r = gm.layer_search(first, {**second, "dead": np.zeros((240, 3))})

    assert np.isnan(r.misalignment_ratio[:, 2]).all()
    assert r.reasons == {"layers2['dead']": "it is 0 on the held-out rows"}
    assert "hatched: undefined" in heatmaps.heatmap_svg(r.grid())


def test_progress_is_told_to_the_end() -> None:
    first, second = networks()
    told: list[str] = []

    gm.layer_search(first, second, progress=lambda done, total, phase: told.append(phase))

    layers = [f"layers {k}/{len(first)}" for k in range(1, len(first) + 1)]
    assert list(dict.fromkeys(told)) == ["layers", *layers, "maps", "rows held out", ""]
