"""Risks of heads and of stitched models: against NumPy on whole arrays, for heads of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm
from accuracy import as_input, hard_pair, rounded

torch = pytest.importorskip("torch")
nn = torch.nn
Array = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def linear(w: Array, dtype: Any = None) -> Any:
    layer = nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=dtype or torch.float64)
    layer.weight.data = torch.from_numpy(w).to(layer.weight)
    return layer


def heads(w: Array) -> dict[str, Any]:
    """One map in every form."""
    return {
        "matrix": w,
        "tensor": torch.from_numpy(w),
        "function": lambda z: z @ w.T,
        "function of tensors": lambda z: torch.from_numpy(z) @ torch.from_numpy(w).T,
        "module": linear(w),
        "sequential": nn.Sequential(nn.Identity(), linear(w), nn.Dropout(0.5)).eval(),
    }


def assert_close(got: float, want: float, scale: float | None = None) -> None:
    assert abs(got - want) <= 1e-13 * (abs(want) if scale is None else scale)


@pytest.mark.parametrize("kind", heads(np.eye(1)))
def test_heads_of_every_kind_have_the_risk_of_their_matrix(kind: str) -> None:
    F, Y = hard_pair(401, 6, 3, mean=50.0)
    w = normal(0, 3, 6)
    assert_close(gm.risk(heads(w)[kind], F, Y), ((F @ w.T - Y) ** 2).sum() / 401)


@pytest.mark.parametrize("kind", heads(np.eye(1)))
def test_stitches_and_heads_of_every_kind_go_together(kind: str) -> None:
    F1, F2 = hard_pair(300, 6, 4)
    Y2 = np.tanh(F2 @ normal(0, 4, 2))
    s, w = normal(1, 4, 6), normal(2, 2, 4)
    want = ((F1 @ s.T @ w.T - Y2) ** 2).sum() / 300
    own = ((F2 @ w.T - Y2) ** 2).sum() / 300
    assert_close(gm.stitching_risk(heads(s)[kind], w, F1, Y2), want)
    assert_close(gm.stitching_risk(s, heads(w)[kind], F1, Y2), want)
    assert_close(gm.excess_stitching_risk(heads(s)[kind], heads(w)[kind], F1, F2, Y2), want - own, want + own)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_differences_and_sums_are_float64_whatever_the_features(dtype: str) -> None:
    F, Y = rounded(normal(0, 500, 5), dtype), normal(1, 500, 2)
    w = normal(2, 2, 5)
    given = torch.from_numpy(F).to(getattr(torch, dtype))
    assert_close(gm.risk(w, given, Y), ((F @ w.T - Y) ** 2).sum() / 500)


def test_features_on_a_device(device: str) -> None:
    F1, F2 = hard_pair(200, 5, 3, dtype="float32")
    w, f1, f2 = normal(0, 2, 3), as_input(F1, "float32", device), as_input(F2, "float32", device)
    Y, S = F2 @ w.T + 1, normal(1, 3, 5)
    assert_close(gm.risk(w, f2, Y), 2.0)
    assert_close(gm.excess_stitching_risk(S, w, f1, f2, Y), gm.excess_stitching_risk(S, w, F1, F2, Y))


def test_module_works_in_the_dtype_of_its_weights() -> None:
    F, Y, w = normal(0, 50, 4), normal(1, 50, 3), normal(2, 3, 4)
    layer = linear(w, torch.float32)
    with torch.no_grad():
        out = layer(torch.from_numpy(F).float()).double().numpy()
    assert_close(gm.risk(layer, F, Y), ((out - Y) ** 2).sum() / 50)


def test_blocks_change_nothing_but_the_last_digits(monkeypatch: Any) -> None:
    F1, F2, Y, w, s = normal(0, 997, 5), normal(1, 997, 7), normal(2, 997, 3), normal(3, 3, 7), normal(4, 7, 5)
    whole = gm.risk(w, F2, Y), gm.stitching_risk(s, w, F1, Y), gm.excess_stitching_risk(s, w, F1, F2, Y)
    monkeypatch.setattr("gramian.rows.heads._BLOCK", 500)
    blocks = gm.risk(w, F2, Y), gm.stitching_risk(s, w, F1, Y), gm.excess_stitching_risk(s, w, F1, F2, Y)
    np.testing.assert_allclose(blocks, whole, rtol=1e-13)
    assert whole[2] == pytest.approx(whole[1] - whole[0], rel=1e-12)


def test_rows_are_streamed_from_files(tmp_path: Path) -> None:
    F, Y, w = normal(0, 80, 3), normal(1, 80), normal(2, 1, 3)
    images = normal(3, 80, 2, 3, 3).astype(np.float32)
    for name, array in {"f": F, "y": Y, "images": images}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert gm.risk(w, tmp_path / "f.npy", str(tmp_path / "y.npy")) == gm.risk(w, F, Y)
    head = nn.Sequential(nn.Conv2d(2, 1, 3), nn.Flatten())
    assert gm.risk(head, tmp_path / "images.npy", Y) == gm.risk(head, images, Y)


def test_targets_of_one_column_may_have_one_dimension() -> None:
    F, Y = normal(0, 40, 3), normal(1, 40)
    want = ((F.sum(1) - Y) ** 2).mean()
    for g in (np.ones((1, 3)), lambda z: z.sum(1), lambda z: z.sum(1, keepdims=True)):
        assert_close(gm.risk(g, F, Y), want)
        assert_close(gm.risk(g, F, Y[:, None]), want)


def test_outputs_of_several_dimensions_are_flattened() -> None:
    F, Y = normal(0, 30, 4), normal(1, 30, 4)
    assert gm.risk(lambda z: z.reshape(-1, 2, 2), F, Y) == gm.risk(lambda z: z, F, Y)


def test_misalignment_of_a_stitch_is_its_risk_on_the_other_features() -> None:
    F1, F2 = hard_pair(200, 5, 4)
    S = np.linalg.lstsq(F1, F2, rcond=None)[0].T
    assert_close(gm.risk(S, F1, F2), ((F2 - F1 @ S.T) ** 2).sum() / 200)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_values_of_any_size(scale: float) -> None:
    F1, F2, Y, w = normal(0, 60, 3), normal(1, 60, 3), normal(2, 60, 3), np.eye(3)
    S = normal(3, 3, 3)
    assert_close(gm.risk(w, F1 * scale, Y * scale) / scale / scale, gm.risk(w, F1, Y))
    got = gm.excess_stitching_risk(S, w, F1 * scale, F2 * scale, Y * scale) / scale / scale
    assert_close(got, gm.excess_stitching_risk(S, w, F1, F2, Y), 100)


def test_squares_beyond_float64_are_infinite() -> None:
    assert gm.risk(np.eye(1), np.array([[1e200]]), np.array([-1e200])) == np.inf


def test_excess_keeps_its_digits_beside_large_risks() -> None:
    F = normal(0, 100, 2)
    Y = F + 1e6
    shift = 2.0**-30
    got = gm.excess_stitching_risk(lambda z: z + shift, np.eye(2), F, F, Y)
    np.testing.assert_allclose(got, (shift * (2 * (F - Y) + shift)).sum() / 100, rtol=1e-9)
    assert gm.excess_stitching_risk(np.eye(2), np.eye(2), F, F, Y) == 0


def test_excess_is_negative_where_the_first_model_knows_more() -> None:
    y = normal(0, 50, 1)
    noisy = y + normal(1, 50, 1)
    assert_close(gm.excess_stitching_risk(np.eye(1), np.eye(1), y, noisy, y), -((noisy - y) ** 2).mean())


def test_tight_case_of_the_stitching_bound() -> None:
    """x, e exactly orthogonal and of norm 1 in the sample: ρ = .6, w = 1.7, c = .8."""
    x, e = np.linalg.qr(normal(0, 200, 2))[0].T[:, :, None] * np.sqrt(200)
    f2 = 0.6 * x + 0.8 * e
    y = 1.7 * (f2 + 0.8 * 0.8 * e)
    g2, s = np.array([[1.7]]), np.array([[0.6]])
    assert gm.risk(g2, f2, y) == pytest.approx(1.183744, rel=1e-10)
    assert gm.risk(s, x, f2) == pytest.approx(0.64, rel=1e-10)
    assert gm.stitching_risk(s, g2, x, y) == pytest.approx(5.992704, rel=1e-10)
    bound = gm.bounds.stitching(gm.risk(g2, f2, y), 1.7, gm.risk(s, x, f2))
    assert float(bound) == pytest.approx(5.992704, rel=1e-10)


def test_bound_holds_for_random_heads_and_stitches() -> None:
    F1, F2 = hard_pair(120, 5, 4)
    for seed in range(40):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
        S, Y = normal(seed, 4, 5), normal(seed + 1, 120, 3)
        bound = gm.bounds.stitching(gm.risk(head, F2, Y), gm.lipschitz.upper(head), gm.risk(S, F1, F2))
        assert gm.stitching_risk(S, head, F1, Y) <= float(bound) * (1 + 1e-12)


def test_neither_the_caller_s_rows_nor_the_module_are_changed() -> None:
    F, Y = normal(0, 20, 3), np.zeros((20, 3))
    before = F.copy()

    def in_place(z: Array) -> Array:
        z *= 0
        return z

    head = nn.Sequential(nn.ReLU(inplace=True))  # without dropout, training mode makes no difference
    assert gm.risk(in_place, F, Y) == 0
    assert gm.risk(head, F, Y) > 0
    np.testing.assert_array_equal(F, before)
    assert head.training


def test_array_libraries_with_dlpack_may_be_what_a_function_returns() -> None:
    class Elsewhere:
        def __init__(self, values: Array) -> None:
            self.values, self.shape = values, values.shape

        def reshape(self, *shape: Any) -> Array:
            return self.values.reshape(*shape)

        def __dlpack__(self) -> None: ...

    F, Y = normal(0, 20, 3), normal(1, 20, 3)
    assert gm.risk(lambda z: Elsewhere(2 * z), F, Y) == gm.risk(2 * np.eye(3), F, Y)


F, Y = normal(0, 10, 3), normal(1, 10, 2)
W = normal(2, 2, 3)
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: gm.risk(W, F, Y[:9]), ValueError, "F has 10 rows but Y has 9; row i of both must be the same sample"),
    (lambda: gm.stitching_risk(np.eye(3), W, F, Y[:9]), ValueError, "F1 has 10 rows but Y2 has 9; row i"),
    (lambda: gm.excess_stitching_risk(np.eye(3), W, F, F[:9], Y), ValueError, "F1 has 10 rows but F2 has 9; row i"),
    (lambda: gm.excess_stitching_risk(np.eye(3), W, F, F, Y[:9]), ValueError, "F1 has 10 rows but Y2 has 9; row i"),
    (lambda: gm.risk(W.T, F, Y), ValueError, "F must have shape (n, 2) for g of shape (3, 2), got (n, 3)"),
    (
        lambda: gm.stitching_risk(W, W, F, Y),
        ValueError,
        "what stitch gives must have shape (n, 3) for g2 of shape (2, 3), got (n, 2)",
    ),
    (
        lambda: gm.risk(W, F, Y[:, 0]),
        ValueError,
        "g gives 2 outputs for each row but Y has 1 columns; they must be as many; class labels have to be one-hot",
    ),
    (
        lambda: gm.stitching_risk(np.eye(3), W, F, F),
        ValueError,
        "g2 gives 2 outputs for each row but Y2 has 3 columns; they must be as many",
    ),
    (lambda: gm.risk(None, F, Y), TypeError, "g must be a torch.nn.Module, a function of NumPy rows or a matrix"),
    (lambda: gm.risk(W * np.nan, F, Y), ValueError, "g has NaN in row 0, column 0"),
    (lambda: gm.risk(W, F * np.inf, Y), ValueError, "F has infinity in row 0, column 0"),
    (lambda: gm.risk(W, F, Y + 1j), TypeError, "Y must hold real numbers, got complex128"),
    (lambda: gm.risk(W, "none.npy", Y), FileNotFoundError, "none.npy: no such file"),
    (
        lambda: gm.risk(lambda z: z[:5], F, Y),
        ValueError,
        "g must return a row for each of its 10 rows of F, got shape (5",
    ),
    (lambda: gm.risk(lambda z: np.sum(z), F, Y), TypeError, "g must return an array with a row for each of its rows"),
    (
        lambda: gm.risk(lambda z: None, F, Y),
        TypeError,
        "g must return an array with a row for each of its rows, got No",
    ),
    (lambda: gm.risk(lambda z: z + 1j, F, Y), TypeError, "g must return real numbers, got dtype complex128"),
    (lambda: gm.risk(lambda z: z / 0, F, F), ValueError, "g gives NaN or infinity for some row of F"),
    (
        lambda: gm.stitching_risk(np.eye(3), lambda z: z * np.nan, F, F),
        ValueError,
        "g2 gives NaN or infinity for some row of what stitch gives",
    ),
    (
        lambda: gm.stitching_risk(nn.Dropout(0.5), W, F, Y),
        ValueError,
        "stitch must be in evaluation mode, for Dropout acts otherwise in training; call stitch.eval() first",
    ),
    (
        lambda: gm.risk(nn.Sequential(nn.BatchNorm1d(3)), F, F),
        ValueError,
        "g must be in evaluation mode, for layer 0 (BatchNorm1d) acts otherwise in training; call g.eval() first",
    ),
    (lambda: gm.risk(nn.LazyLinear(2), F, Y), ValueError, "g has no values yet for weight; call it once"),
    (lambda: gm.risk(nn.LSTM(3, 2).double(), F, Y), TypeError, "g must return one tensor, got tuple"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[text[:50] for _, _, text in WRONG])
def test_error_says_what_came_and_what_is_needed(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert text in str(found.value)


def test_function_around_a_module_of_float32_is_told_what_rows_it_gets() -> None:
    net = torch.nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"^g failed on NumPy rows of float64.*give the torch module itself"):
        gm.risk(lambda z: net(torch.from_numpy(z)), F, Y)
