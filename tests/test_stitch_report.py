"""The report of a stitched model: measured by hand beside it, bounds never broken, met where the theory says so."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian.rows.arrays import as_matrix
from gramian.show import heatmaps
from gramian.stitching.held_out import Rows, parted

Array = np.ndarray[Any, Any]
REPORTED = [
    ("stitching", "upper"),
    ("stitching", "effective"),
    ("stitching_refined", "upper"),
    ("stitching_lower", "upper"),
    ("stitching_lower", "effective"),
]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def mean_square(a: Array) -> float:
    return float((a**2).sum() / len(a))


def models(seed: int = 0, n: int = 300, shift: float = 0.0) -> tuple[Array, Array, Array]:
    """Two models' features, of 6 and 4 dimensions, and targets of 2."""
    rng = np.random.default_rng(seed)
    f1 = rng.normal(size=(n, 6)) * np.geomspace(1, 30, 6) + shift
    f2 = f1 @ rng.normal(size=(6, 4)) + rng.normal(size=(n, 4)) * 5
    return f1, f2, f2 @ rng.normal(size=(4, 2)) + rng.normal(size=(n, 2)) * 3


def broken(report: gm.StitchReport) -> list[gm.ReportedBound]:
    return [b for b in report.bounds if b.checked and b.holds is False]


# ---- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_measured_values_are_those_of_the_held_out_rows(kind: Any) -> None:
    f1, f2, y = models(shift=3.0)
    w1, w2 = normal(1, 2, 6), normal(2, 2, 4)

    report = gm.stitch_report(f1, f2, y, w1, w2, kind=kind)

    a, b = report.fitted, report.held_out
    s = gm.fit_stitch(f1[a], f2[a], kind=kind)
    mapped = f1[b] @ s.matrix.T + s.offset
    centre = f2[b].mean(axis=0) if kind == "affine" else 0.0
    assert sorted([*a, *b]) == list(range(300))
    assert report.risk1 == pytest.approx(mean_square(f1[b] @ w1.T - y[b]), rel=1e-12)
    assert report.risk2 == pytest.approx(mean_square(f2[b] @ w2.T - y[b]), rel=1e-12)
    assert report.risk_stitch == pytest.approx(mean_square(mapped @ w2.T - y[b]), rel=1e-12)
    assert report.excess == report.risk_stitch - report.risk2
    assert report.target_power == pytest.approx(mean_square(y[b]), rel=1e-12)
    assert report.misalignment == pytest.approx(mean_square(f2[b] - mapped), rel=1e-12)
    assert report.misalignment_ratio == pytest.approx(report.misalignment / mean_square(f2[b] - centre), rel=1e-12)
    assert report.stitch.misalignment == pytest.approx(s.misalignment, rel=1e-12)


@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_least_maps_are_those_of_lstsq(kind: Any) -> None:
    f1, f2, y = models(shift=2.0)
    w2 = normal(2, 2, 4)

    report = gm.stitch_report(f1, f2, y, None, w2, kind=kind)

    x, z, t = f1[report.held_out], f2[report.held_out], y[report.held_out]
    if kind == "affine":
        x, z, t = (v - v.mean(axis=0) for v in (x, z, t))
    least = {
        name: mean_square(v - u @ np.linalg.lstsq(u, v, rcond=None)[0])
        for name, u, v in (("f2 by f1", x, z), ("y by f1", x, t), ("y by f2", z, t))
    }
    assert report.least_misalignment == pytest.approx(least["f2 by f1"], rel=1e-10)
    assert report["output_layer"].value == pytest.approx(least["y by f1"] - report.risk2, rel=1e-10)
    forward = report["stitching_forward"]
    assert forward.measured == pytest.approx(least["y by f1"] - least["y by f2"], rel=1e-10)
    kappa = float(np.linalg.norm(np.linalg.lstsq(z, t, rcond=None)[0], 2))
    assert forward.value == pytest.approx(
        gm.bounds.stitching_forward(least["y by f2"], kappa, report.misalignment), rel=1e-9
    )
    measure = gm.cka if kind == "affine" else gm.kernel_alignment
    wanted = measure(f1[report.held_out], f2[report.held_out], estimator="biased")
    assert report.alignment == pytest.approx(wanted, rel=1e-10)


def test_bounds_are_those_of_gm_bounds() -> None:
    f1, f2, y = models()
    w2 = normal(2, 2, 4)

    r = gm.stitch_report(f1, f2, y, None, w2)

    e = f2[r.held_out] - r.stitch(f1[r.held_out])
    eta1, eta2 = (np.linalg.eigvalsh(f[r.held_out].T @ f[r.held_out] / r.n) for f in (f1, f2))
    ends = gm.bounds.misalignment_from_ka(r.alignment, eta1, eta2)
    want = {
        ("stitching", "upper"): gm.bounds.stitching(r.risk2, r.kappa_upper, r.misalignment),
        ("stitching", "effective"): gm.bounds.stitching(r.risk2, r.kappa_effective, r.misalignment),
        ("stitching_lower", "upper"): gm.bounds.stitching_lower(r.risk2, r.kappa_upper, r.misalignment),
        ("stitching_lower", "effective"): gm.bounds.stitching_lower(r.risk2, r.kappa_effective, r.misalignment),
        ("stitching_refined", "upper"): gm.bounds.stitching_refined(r.risk2, 1.0, w2, e.T @ e / r.n),
    }
    assert {key: r[key].value for key in want} == pytest.approx(want, rel=1e-12)
    low, high = (b for b in r.bounds if b.name == "misalignment_from_ka")
    assert (low.side, high.side) == (">=", "<=")
    assert [low.value, high.value] == pytest.approx([ends.low, ends.high], rel=1e-8, abs=1e-8 * ends.high)
    assert not broken(r)


def test_constants_are_those_of_gm_lipschitz_and_local_is_in_no_bound() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    f1, f2, y = models()
    head = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double().eval()

    r = gm.stitch_report(f1, f2, y, None, head)

    mapped = r.stitch(f1[r.held_out])
    assert r.kappa_upper == gm.lipschitz.upper(head)
    assert r.kappa_effective == pytest.approx(gm.lipschitz.effective(head, mapped, f2[r.held_out]), rel=1e-12)
    assert 0 <= r.kappa_effective <= r.kappa_upper
    assert 0 < r.kappa_local <= r.kappa_upper
    assert {b.kappa for b in r.bounds} == {"upper", "effective", None}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_features_are_measured_in_float64(dtype: str) -> None:
    f1, f2, y = (v.astype(dtype) for v in models())
    w2 = normal(2, 2, 4)

    narrow = gm.stitch_report(f1, f2, y, None, w2)
    wide = gm.stitch_report(*(v.astype(np.float64) for v in (f1, f2, y)), None, w2)

    assert narrow.risk_stitch == pytest.approx(wide.risk_stitch, rel=1e-9)
    assert narrow.misalignment == pytest.approx(wide.misalignment, rel=1e-9)


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_units_of_features_and_targets_do_not_matter(size: float) -> None:
    f1, f2, y = models()
    w2 = normal(2, 2, 4)
    plain = gm.stitch_report(f1, f2, y, None, w2)

    huge = gm.stitch_report(f1 / size, f2 * size, y * size, None, w2)

    for name in ("misalignment_ratio", "alignment", "kappa_upper", "kappa_effective"):
        assert getattr(huge, name) == pytest.approx(getattr(plain, name), rel=1e-10)
    assert huge.risk_stitch / huge.risk2 == pytest.approx(plain.risk_stitch / plain.risk2, rel=1e-10)
    assert [b.tightness for b in huge.bounds] == pytest.approx([b.tightness for b in plain.bounds], rel=1e-6, abs=1e-9)


def test_torch_files_and_one_column_of_targets_are_taken(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    f1, f2, y = models()
    w2 = normal(2, 1, 4)
    np.save(tmp_path / "f1.npy", f1)
    plain = gm.stitch_report(f1, f2, y[:, :1], None, w2)

    found = gm.stitch_report(tmp_path / "f1.npy", torch.from_numpy(f2), y[:, 0], None, torch.from_numpy(w2))

    assert str(found.to_dict()) == str(plain.to_dict())  # nan is nan


def test_arrays_on_a_device_are_read_from_there(on_device: Any) -> None:
    f1, f2, y = models()
    w2 = normal(2, 2, 4)

    found = gm.stitch_report(on_device(f1), on_device(f2), y, None, w2)

    assert found.risk_stitch == pytest.approx(gm.stitch_report(f1, f2, y, None, w2).risk_stitch, rel=1e-12)


def test_a_kernel_stitch_is_reported_too() -> None:
    pytest.importorskip("gramian.stitching.kernel_ridge")
    x = normal(0, 200, 1)
    f2 = np.hstack([x, x**2 - 1])

    linear = gm.stitch_report(x, f2, f2[:, 1], None, np.array([[0.0, 1.0]]))
    curved = gm.stitch_report(
        x, f2, f2[:, 1], None, np.array([[0.0, 1.0]]), kind="kernel_ridge", kernel=gm.Polynomial(2), ridge=1e-8
    )

    assert linear.misalignment > 1
    assert curved.misalignment < 1e-6
    assert curved.risk_stitch < 1e-6 < linear.risk_stitch
    assert not broken(linear)
    assert not broken(curved)


# ---- bounds are never broken, and met where they are tight -----------------------------------------------------------


def test_bounds_hold_for_a_thousand_random_heads() -> None:
    """500 matrices and 500 networks of one hidden layer, measured at once, on rows that the map was not fitted on."""
    f1, f2, _ = models(n=120)
    rng = np.random.default_rng(5)
    s = gm.fit_stitch(f1[:60], f2[:60])
    z, mapped = f2[60:], s(f1[60:])
    e = z - mapped
    error, residual = mean_square(e), e.T @ e / 60
    w = rng.normal(size=(1000, 5, 4)) * np.exp(rng.normal(size=(1000, 1, 1)))
    v = rng.normal(size=(1000, 3, 5))

    def outputs(rows: Array) -> Array:  # (heads, rows, outputs)
        hidden = np.einsum("hij,nj->hni", w, rows)
        hidden[500:] = np.tanh(hidden[500:])
        return np.einsum("hij,hnj->hni", v, hidden)

    own, across = outputs(z), outputs(mapped)
    y = own + rng.normal(size=own.shape) * np.exp(3 * rng.normal(size=(1000, 1, 1)))
    risk2 = ((own - y) ** 2).sum(axis=(1, 2)) / 60
    risk_stitch = ((across - y) ** 2).sum(axis=(1, 2)) / 60
    effective = np.sqrt(((own - across) ** 2).sum(axis=(1, 2)) / 60 / error)
    for h in range(1000):
        first = v[h] @ w[h] if h < 500 else w[h]
        rest = 1.0 if h < 500 else gm.lipschitz.upper(v[h])
        upper = gm.lipschitz.upper(first) * rest
        above = [
            gm.bounds.stitching(risk2[h], upper, error),
            gm.bounds.stitching_refined(risk2[h], rest, first, residual),
            gm.bounds.stitching(risk2[h], effective[h], error),
        ]
        below = [gm.bounds.stitching_lower(risk2[h], k, error) for k in (upper, effective[h])]
        assert max(below) * (1 - 1e-12) <= risk_stitch[h] <= min(above) * (1 + 1e-12)
        assert above[1] <= above[0] * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["linear", "affine", "scaled_orthogonal", "low_rank"])
def test_reports_of_random_heads_break_nothing(kind: Any) -> None:
    torch = pytest.importorskip("torch")
    for seed in range(12):
        torch.manual_seed(seed)
        f1, f2, y = models(seed, n=90, shift=float(seed))
        f1 = f1[:, :4] if kind == "scaled_orthogonal" else f1
        w2 = normal(seed, 2, 4)
        net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).eval()
        head: Any = [w2, net, lambda z, w=w2: np.tanh(z @ w.T)][seed % 3]
        kappa2 = gm.lipschitz.upper(w2) if seed % 3 == 2 else None

        report = gm.stitch_report(
            f1, f2, y, None, head, kind=kind, rank=2 if kind == "low_rank" else None, kappa2=kappa2, seed=seed
        )

        assert not broken(report), report
        assert all(report[key].holds for key in REPORTED if not math.isnan(report[key].value))


def test_tight_case_is_met() -> None:
    """Golden G7: x and e orthonormal on both halves, so that ρ is fitted exactly and R_stitch is the bound."""
    rho, w, c = 0.6, 1.7, 0.8
    fitted, held_out = parted(400, 0.5, 0, None)
    xe = np.empty((400, 2))
    for k, rows in enumerate((fitted, held_out)):
        xe[rows] = np.linalg.qr(normal(k, len(rows), 2))[0] * math.sqrt(len(rows))
    x, e = xe[:, :1], xe[:, 1:]
    f2 = rho * x + math.sqrt(1 - rho**2) * e
    y = w * f2 + c * w * math.sqrt(1 - rho**2) * e

    report = gm.stitch_report(x, f2, y, None, np.array([[w]]))

    assert report.risk2 == pytest.approx(1.183744, rel=1e-10)
    assert report.misalignment == pytest.approx(0.64, rel=1e-10)
    assert report.risk_stitch == pytest.approx(5.992704, rel=1e-10)
    for key in REPORTED[:3]:
        assert report[key].value == pytest.approx(report.risk_stitch, rel=1e-10)
        assert report[key].tightness == pytest.approx(1.0, abs=1e-10)
    assert report["output_layer_projected"].tightness == pytest.approx(1.0, abs=1e-10)


def test_a_map_without_error_makes_both_bounds_meet() -> None:
    f1, _, y = models()
    f2 = f1[:, ::-1] * 2.0

    report = gm.stitch_report(f1, f2, y, None, normal(2, 2, 6))

    assert report.misalignment_ratio < 1e-25
    for key in REPORTED:
        assert report[key].value == pytest.approx(report.risk_stitch, rel=1e-9)
    assert not broken(report)


def test_a_broken_bound_would_be_seen() -> None:
    f1, f2, _ = models()

    report = gm.stitch_report(f1, f2, 100 * f2[:, :2], None, lambda z: 100 * z[:, :2], kappa2=0.5)  # a lie: it is 100

    assert report["stitching", "upper"].holds is False
    assert report["stitching", "effective"].holds is True
    assert not report["stitching", "upper"].checked


@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_ill_conditioned_features_and_heads_break_nothing(kind: Any) -> None:
    for seed in range(5):
        f1, f2, y = models(seed, shift=1e3)
        f1 = f1 @ np.diag(np.geomspace(1, 1e-9, 6)) @ np.linalg.qr(normal(seed, 6, 6))[0]
        f2[:, 3] = f2[:, 0] * (1 + 1e-9 * normal(seed, len(f2)))
        w2 = np.linalg.qr(normal(seed + 1, 4, 2))[0].T * np.array([[1.0], [1e-7]])

        report = gm.stitch_report(f1, f2, y, None, w2, kind=kind)

        assert not broken(report), report
        assert report["output_layer"].holds


def test_a_trained_module_is_reported_as_a_map_that_is_not_linear() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    f1, f2, y = models()
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    map_ = gm.train_stitch(net, f1[:200], f2[:200], epochs=3)

    report = gm.stitch_report(f1[200:], f2[200:], y[200:], None, normal(2, 2, 4), stitch=map_)

    assert report.misalignment == pytest.approx(gm.risk(map_, f1[200:], f2[200:]), rel=1e-6)
    assert "stitching_forward" not in {b.name for b in report.bounds}  # g2∘s is no linear head
    assert not broken(report)


# ---- a network that was trained --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks() -> Any:
    """Two small networks on digits, cut after their first hidden layer: (images, one-hot, fronts, heads)."""
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = (v[:1200] for v in datasets.load_digits(return_X_y=True))
    x, y = torch.from_numpy(pixels / 16.0), torch.nn.functional.one_hot(torch.from_numpy(labels), 10).double()
    nets = []
    for seed, width in ((0, 24), (1, 32)):
        torch.manual_seed(seed)
        front = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU())
        head = torch.nn.Sequential(torch.nn.Linear(width, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
        net = torch.nn.Sequential(front, head).double()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x), y, reduction="sum").div(len(x)).backward()
            optimizer.step()
        nets.append(net.eval().requires_grad_(False))
    return x, y, [net[0] for net in nets], [net[1] for net in nets]


@pytest.mark.parametrize("kind", ["linear", "affine"])
def test_a_network_put_together_has_the_risk_that_the_report_says(networks: Any, kind: Any) -> None:
    import torch

    x, y, fronts, heads = networks
    f1, f2 = fronts[0](x), fronts[1](x)

    report = gm.stitch_report(f1, f2, y, heads[0], heads[1], kind=kind, ridge="gcv")

    whole = torch.nn.Sequential(fronts[0], report.stitch.to_torch(), heads[1])
    rows = torch.from_numpy(report.held_out)
    prediction = whole(x[rows]).detach()
    assert float(((prediction - y[rows]) ** 2).sum() / len(rows)) == pytest.approx(report.risk_stitch, rel=1e-10)
    accuracy = float((prediction.argmax(1) == y[rows].argmax(1)).double().mean())
    assert accuracy > 0.8
    assert report.risk2 < report.risk_stitch < report.target_power
    assert not broken(report)
    assert report.kappa_effective < report.kappa_local <= report.kappa_upper


def test_refined_bound_of_a_network_is_sharper(networks: Any) -> None:
    x, y, fronts, heads = networks

    report = gm.stitch_report(fronts[0](x), fronts[1](x), y, None, heads[1], kind="affine")

    refined, plain = report["stitching_refined"], report["stitching", "upper"]
    assert report.risk_stitch <= refined.value < plain.value
    assert refined.checked


def test_a_map_fitted_elsewhere_is_judged_on_all_rows(networks: Any) -> None:
    x, y, fronts, heads = networks
    f1, f2 = fronts[0](x), fronts[1](x)
    map_ = gm.fit_stitch(f1[:500], f2[:500])

    report = gm.stitch_report(f1[500:], f2[500:], y[500:], None, heads[1], stitch=map_)

    assert report.stitch is map_
    assert (len(report.fitted), report.n) == (0, 700)
    assert report.risk_stitch == pytest.approx(gm.stitching_risk(map_, heads[1], f1[500:], y[500:]), rel=1e-12)
    assert "fitted elsewhere on 500 rows" in str(report)


# ---- what is undefined, and why --------------------------------------------------------------------------------------


def test_without_targets_and_heads_there_is_the_fit_and_the_alignment() -> None:
    f1, f2, _ = models()

    report = gm.stitch_report(f1, f2)

    assert {b.name for b in report.bounds} == {"misalignment_from_ka"}
    assert math.isnan(report.risk_stitch)
    assert report.reasons["risk_stitch"] == "no targets were given"
    assert "risk_stitch" not in str(report)


def test_without_a_head_there_are_the_linear_ones() -> None:
    f1, f2, y = models()

    report = gm.stitch_report(f1, f2, y)

    assert [b.name for b in report.bounds] == ["stitching_forward", "misalignment_from_ka", "misalignment_from_ka"]
    assert report.reasons["risk1"] == "no head g1 was given"
    assert report.reasons["kappa_upper"] == "no head g2 was given"


def test_a_function_has_no_certificate_and_the_report_says_so() -> None:
    f1, f2, y = models()

    report = gm.stitch_report(f1, f2, y, None, lambda z: np.tanh(z[:, :2]))

    assert math.isnan(report["stitching", "upper"].value)
    assert report["stitching", "upper"].reason == (
        "g2 is a function; constants are read off matrices and torch modules, or give kappa2"
    )
    assert report["stitching_refined"].reason == "g2 is a function, which does not show its first layer"
    assert report["stitching", "effective"].holds


def test_a_layer_without_a_constant_is_named() -> None:
    torch = pytest.importorskip("torch")
    f1, f2, y = models()
    head = torch.nn.Sequential(torch.nn.GLU(), torch.nn.Linear(2, 2)).double()

    report = gm.stitch_report(f1, f2, y, None, head)

    why = "no certified constant of g2: layer 0 (GLU): a product of its inputs has no Lipschitz constant"
    assert report.kappa_upper == math.inf
    assert report["stitching", "upper"].value == math.inf
    assert report["stitching", "upper"].reason == report.reasons["kappa_upper"] == why
    assert report["stitching_lower", "upper"].value == 0.0
    assert report["stitching_refined"].reason == "g2 does not start with a Linear layer"
    assert not report["stitching", "upper"].checked
    assert why in str(report)


def test_a_rest_without_a_constant_is_blamed_for_the_refined_bound() -> None:
    torch = pytest.importorskip("torch")
    f1, f2, y = models()
    head = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GLU()).double()

    report = gm.stitch_report(f1, f2, y, None, head, kappa2=1e3)

    assert report["stitching", "upper"].value < math.inf
    assert report["stitching_refined"].value == math.inf
    assert report["stitching_refined"].reason == (
        "no certified constant of g2 after its first layer: layer 0 (GLU): a product of its inputs has no Lipschitz "
        "constant"
    )


def test_a_head_of_lesser_rank_has_the_projected_bound_alone() -> None:
    f1, f2, y = models()
    w2 = np.outer([1.0, 2.0], normal(2, 4))

    report = gm.stitch_report(f1, f2, y, None, w2)

    refused, projected = report["output_layer"], report["output_layer_projected"]
    assert math.isnan(refused.value)
    assert refused.holds is None
    assert "head must have full row rank, got rank 1 for 2 outputs" in str(refused.reason)
    assert projected.tightness == pytest.approx(1.0, abs=1e-10)


def test_as_many_features_as_rows_fit_anything_and_the_bounds_of_best_maps_say_so() -> None:
    f1, f2, y = normal(0, 40, 30), normal(1, 40, 4), normal(2, 40, 2)

    report = gm.stitch_report(f1, f2, y, None, normal(3, 2, 4), ridge=1.0)

    why = "f1 has rank 20 on 20 held-out rows, where a map of it fits anything; hold out more rows"
    for name in ("output_layer", "output_layer_projected", "stitching_forward"):
        assert math.isnan(report[name].value)
        assert report[name].reason == why
    assert report["stitching", "upper"].holds


@pytest.mark.parametrize(("kind", "word"), [("linear", "0"), ("affine", "constant")])
def test_features_that_are_nothing_are_undefined_with_a_reason(kind: Any, word: str) -> None:
    f1, _, y = models()
    f2 = np.zeros((300, 4)) if kind == "linear" else np.full((300, 4), 7.0)

    report = gm.stitch_report(f1, f2, y, None, normal(2, 2, 4), kind=kind)

    assert report.reasons["misalignment_ratio"] == f"F2 is {word} on the held-out rows"
    assert report.reasons["alignment"] == f"a representation is {word} on the held-out rows"
    assert math.isnan(report.misalignment_ratio)
    assert {b.reason for b in report.bounds if b.name == "misalignment_from_ka"} == {report.reasons["alignment"]}
    assert not broken(report)


# ---- the split -------------------------------------------------------------------------------------------------------


def test_the_split_is_that_of_the_seed() -> None:
    first, again, other = (parted(101, 0.3, seed, None) for seed in (0, 0, 1))

    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert (len(first[0]), len(first[1])) == (30, 71)


@pytest.mark.parametrize("labels", [np.arange(300) // 7, [f"s{i % 11}" for i in range(300)]])
def test_groups_stay_on_one_side(labels: Any) -> None:
    f1, f2, _ = models()

    report = gm.stitch_report(f1, f2, groups=labels, split=0.4)

    names = np.asarray(labels)
    assert not set(names[report.fitted]) & set(names[report.held_out])
    assert abs(len(report.fitted) - 120) < 30


def test_rows_are_read_as_if_they_had_been_copied() -> None:
    f1, f2, _ = models()
    fitted, _ = parted(300, 0.5, 0, None)
    part = Rows.of(as_matrix(f1, "F1"), fitted)

    assert np.array_equal(part.block(10, 40), f1[fitted][10:40])
    assert np.array_equal(part.take(np.array([5, 3])), f1[fitted][[5, 3]])
    assert np.array_equal(part.copied("F1").block(0, part.n), f1[fitted])
    assert np.array_equal(part.converted("float32", "F1").numpy(), f1[fitted].astype(np.float32))
    lazy = gm.fit_stitch(part, Rows.of(as_matrix(f2, "F2"), fitted))
    assert np.array_equal(lazy.matrix, gm.fit_stitch(f1[fitted], f2[fitted]).matrix)


# ---- how it is shown -------------------------------------------------------------------------------------------------


def test_the_table_shows_every_bound_beside_what_was_measured() -> None:
    f1, f2, y = models()

    report = gm.stitch_report(f1, f2, y, normal(1, 2, 6), normal(2, 2, 4))

    text = str(report)
    assert text.startswith("linear stitch, 6 → 4 features, fitted on 150 rows; all else of 150 held-out rows\n")
    for bound in report.bounds:
        line = next(x for x in text.splitlines() if x.startswith(bound.name + " ") and (bound.kappa or "") in x)
        assert bound.of in line
        assert bound.certifies in line
    assert "certifies nothing" in next(x for x in text.splitlines() if x.startswith("kappa_local"))
    assert "BROKEN" not in text


def test_a_bound_that_does_not_hold_is_said_to_be_broken() -> None:
    f1, f2, y = models()
    report = gm.stitch_report(f1, f2, y, normal(1, 2, 6), normal(2, 2, 4))
    wrong = replace(report.bounds[0], value=report.bounds[0].measured / 2)

    text = str(replace(report, bounds=(wrong, *report.bounds[1:])))

    assert text.count("BROKEN") == 1
    measured = f"{wrong.measured:.3e}"
    assert f"BROKEN: {wrong.name} {wrong.kappa} says ≤ {wrong.value:.3e}*, and {measured} was measured" in text


def test_the_table_fits_100_columns_and_has_every_assumption_once() -> None:
    f1, f2, y = models()
    report = gm.stitch_report(f1, f2, y, normal(1, 2, 6), normal(2, 2, 4), kind="affine")

    lines = str(report).splitlines()

    assert max(map(len, lines)) <= 100
    for need in {bound.needs for bound in report.bounds}:
        assert sum(need == line.partition(": ")[2].removesuffix(" (not checked)") for line in lines) == 1


def test_a_vacuous_bound_is_marked() -> None:
    f1, f2, y = models()

    text = str(gm.stitch_report(f1, f2, y, None, 100 * normal(2, 2, 4)))

    assert "*: vacuous, above E‖y‖²." in text


def test_the_dictionary_is_plain() -> None:
    f1, f2, y = models()

    report = gm.stitch_report(f1, f2, y, None, normal(2, 2, 4))

    found = json.loads(json.dumps(report.to_dict()))
    assert found["held_out_rows"] == 150
    assert [b["name"] for b in found["bounds"]] == [b.name for b in report.bounds]
    assert found["bounds"][0]["tightness"] == report.bounds[0].tightness
    assert found["bounds"][0]["holds"] is True


def test_a_bound_is_found_by_name_and_an_unknown_one_lists_them() -> None:
    f1, f2, y = models()
    report = gm.stitch_report(f1, f2, y, None, normal(2, 2, 4))

    assert report["stitching_refined"].name == "stitching_refined"
    with pytest.raises(KeyError, match=r"'stitching' is 2 of the bounds; there are \('stitching', 'upper'\)"):
        _ = report["stitching"]


def test_the_page_on_stitching_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    page = (Path(__file__).parents[1] / "docs" / "stitching.md").read_text(encoding="utf-8")
    section = page[page.index("## The report") :]
    scope: dict[str, Any] = {"heatmap_svg": heatmaps.heatmap_svg}

    for code in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL):
        exec(code, scope)

    printed = capsys.readouterr().out
    for shown in re.findall(r"```\n((?:affine).*?)```", section, flags=re.DOTALL):
        assert shown.rstrip() in printed


# ---- the gate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"F2": np.ones((299, 4))}, ValueError, "F1 has 300 rows but F2 has 299"),
        ({"Y": np.ones((10, 2))}, ValueError, "F1 has 300 rows but Y has 10"),
        ({"Y": None}, ValueError, "Y is missing: the head g2 has no risk without targets"),
        ({"F1": np.full((300, 6), np.nan)}, ValueError, "F1 has NaN in row 0"),
        ({"g2": np.ones((2, 5))}, ValueError, r"F2 must have shape \(n, 5\) for g2 of shape \(2, 5\), got"),
        ({"g2": np.ones((3, 4))}, ValueError, "g2 gives 3 outputs for each row but Y has 2 columns"),
        ({"Y": np.arange(300)}, ValueError, "g2 gives 2 outputs .* class labels have to be one-hot"),
        ({"g1": np.ones((3, 6))}, ValueError, "g1 gives 3 outputs for each row but Y has 2 columns"),
        ({"g2": "head"}, FileNotFoundError, "head: no such file"),
        ({"g2": 3}, TypeError, "g2 must be a torch.nn.Module, a function of NumPy rows or a matrix"),
        ({"split": 1.0}, ValueError, "split must be between 0 and 1, the part of the rows to fit on, got 1.0"),
        ({"split": "half"}, TypeError, "split must be a number, got str"),
        (
            {"split": 0.001},
            ValueError,
            "split=0.001 of 300 rows leaves 0 to fit on and 300 to measure on; 2 are needed",
        ),
        ({"groups": [1, 2]}, ValueError, r"groups must be 300 labels, one for each row, got shape \(2,\)"),
        ({"groups": np.zeros(300)}, ValueError, "groups has one group, which cannot be on both sides"),
        ({"kappa2": -1.0}, ValueError, "kappa2 must be at least 0 and finite, got -1.0"),
        ({"kappa2": "big"}, TypeError, "kappa2 must be a number, got str"),
        ({"stitch": np.ones((4, 6))}, TypeError, "stitch must be a Stitch, as fit_stitch and train_stitch give"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"kind": "cubic"}, ValueError, "kind must be one of 'linear'"),
        ({"progress": 3}, TypeError, "progress must be True, a function"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], error: type[Exception], text: str) -> None:
    f1, f2, y = models()
    arguments: dict[str, Any] = {"F1": f1, "F2": f2, "Y": y, "g1": None, "g2": normal(2, 2, 4), **change}

    with pytest.raises(error, match=text):
        gm.stitch_report(**arguments)


def test_a_map_of_other_widths_is_refused() -> None:
    f1, f2, _ = models()
    map_ = gm.fit_stitch(f1[:, :5], f2)

    with pytest.raises(ValueError, match="stitch maps from 5 features but F1 has 6"):
        gm.stitch_report(f1, f2, stitch=map_)


def test_a_head_in_training_mode_is_refused() -> None:
    torch = pytest.importorskip("torch")
    f1, f2, y = models()

    with pytest.raises(ValueError, match="g2 must be in evaluation mode, for layer 1"):
        gm.stitch_report(f1, f2, y, None, torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout()))


def test_directions_too_small_for_alignment_may_explain_anything() -> None:
    X = np.random.default_rng(0).normal(size=(80, 2)) * [1, 1e-8]

    report = gm.stitch_report(X, X / [1, 1e-8])

    found = [b for b in report.bounds if b.name == "misalignment_from_ka"]
    assert report.least_misalignment < 1e-20
    assert [b.holds for b in found] == [True, True]
    assert found[0].value == 0


@pytest.mark.parametrize("seed", range(20))
def test_rounding_of_outputs_makes_no_constant_exceed_its_certificate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    W, X = rng.normal(size=(1, 1)), rng.normal(size=(40, 2))
    F = X @ rng.normal(size=(2, 1))

    report = gm.stitch_report(X, F + 1e-13 * rng.normal(size=F.shape), F @ W.T, None, W)

    assert 0 <= report.kappa_effective <= report.kappa_upper
