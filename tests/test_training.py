"""Modules trained as stitching maps: what least squares gives, what rows held out say, the same again by the seed."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gramian as gm

torch = pytest.importorskip("torch")
nn = torch.nn
Array = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def seeded(*layers: Any, dtype: Any = torch.float64) -> Any:
    """A chain with weights that do not depend on the tests before."""
    net = nn.Sequential(*layers).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / max(1, p[0].numel()) ** 0.5)
    return net


def mlp(d1: int, d2: int, dtype: Any = torch.float64) -> Any:
    return seeded(nn.Linear(d1, 32), nn.ReLU(), nn.Linear(32, d2), dtype=dtype)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps of so few rows only wait for each other on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


F1 = normal(0, 600, 4)
F2 = F1 @ normal(1, 4, 3) + 0.5 * normal(2, 600, 3)


# ---- features ----------------------------------------------------------------------------------------------


def test_linear_module_comes_to_least_squares() -> None:
    s = gm.train_stitch(seeded(nn.Linear(4, 3)), F1, F2, epochs=300, batch=1000, lr=0.05)
    others = s.function.held_out
    fitted = np.setdiff1d(np.arange(600), others)
    want = gm.fit_stitch(F1[fitted], F2[fitted], kind="affine")
    assert gm.risk(s, F1[fitted], F2[fitted]) == pytest.approx(want.misalignment, rel=1e-4)
    np.testing.assert_allclose(s(F1), want(F1), atol=1e-2)
    assert s.misalignment == pytest.approx(gm.risk(want, F1[others], F2[others]), rel=1e-3)


def test_descent_alone_comes_to_least_squares() -> None:
    s = gm.train_stitch(seeded(nn.Linear(4, 3)), F1, F2, start="given", batch=1000, lr=0.05)
    fitted = np.setdiff1d(np.arange(600), s.function.held_out)
    want = gm.fit_stitch(F1[fitted], F2[fitted], kind="affine")
    assert s.function.solved is None
    assert s.reason is None
    assert gm.risk(s, F1[fitted], F2[fitted]) == pytest.approx(want.misalignment, rel=1e-2)


def test_linear_module_is_right_by_default_at_any_rate() -> None:
    for lr in (1e-5, 1e-3, 1.0):
        s = gm.train_stitch(seeded(nn.Linear(4, 3)), F1, F2, lr=lr)
        fitted = np.setdiff1d(np.arange(600), s.function.held_out)
        want = gm.fit_stitch(F1[fitted], F2[fitted], kind="affine")
        assert (s.function.solved, s.reason) == ("module[0]", None)
        assert gm.risk(s, F1[fitted], F2[fitted]) == pytest.approx(want.misalignment, rel=1e-3)


def test_last_linear_layer_of_a_network_starts_at_its_closed_form() -> None:
    given, solved = (gm.train_stitch(mlp(4, 3), F1, F2, start=start, epochs=1) for start in ("given", "closed_form"))
    assert (given.function.solved, solved.function.solved) == (None, "module[2]")
    assert solved.function.curve[0] < 0.5 * given.function.curve[0]


def test_training_ends_at_a_plateau_and_says_when_it_did_not_come_to_one() -> None:
    long, short = (
        gm.train_stitch(seeded(nn.Linear(4, 3)), F1, F2, start="given", epochs=e, lr=0.01) for e in (None, 4)
    )
    assert long.function.at_rest
    assert long.reason is None
    assert len(long.function.curve) < 4000  # the most by default: 8000 steps, two an epoch
    assert not short.function.at_rest
    assert re.fullmatch(
        r"training was not at rest after 4 epochs: the mean loss of the last 2 was 0\.\d+ of itself below that of the "
        r"2 before; give more epochs, or another lr",
        short.reason,
    )


def test_noise_of_dropout_and_batch_statistics_is_no_plateau() -> None:
    """One step an epoch, whose loss wanders by a tenth of itself: as far as plain Adam comes, or it says not."""
    x = normal(10, 120, 8)
    y = 2 * np.tanh(x @ normal(11, 8, 6)) + 0.5 * normal(12, 120, 6)
    net = seeded(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 6), dtype=torch.float32
    )

    s = gm.train_stitch(net, x, y)

    fitted = np.setdiff1d(np.arange(120), s.function.held_out)
    plain = by_plain_adam(net, x[fitted], y[fitted], 3000)
    assert gm.risk(s, x[fitted], y[fitted]) < 1.2 * plain
    assert s.function.at_rest == (s.reason is None)
    assert len(s.function.curve) >= 3000


def by_plain_adam(net: Any, x: Array, y: Array, steps: int) -> float:
    """Loss of the rows in evaluation mode."""
    net = copy.deepcopy(net).train()
    F, G = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(steps):
            optimizer.zero_grad()
            ((net(F) - G) ** 2).mean().backward()
            optimizer.step()
    with torch.no_grad():
        return float(((net.eval()(F) - G) ** 2).sum(1).mean())


def test_more_steps_are_taken_by_default_where_an_epoch_has_few() -> None:
    small = gm.train_stitch(seeded(nn.Linear(4, 3)), F1[:50], F2[:50], start="given", lr=1e-5)
    assert len(small.function.curve) > 1000
    assert not small.function.at_rest
    assert small.reason.startswith("training was not at rest after 8000 epochs: the mean loss of the last 500 was 0.0")


def test_repr_says_of_which_rows_its_numbers_are() -> None:
    s = gm.train_stitch(mlp(4, 3), F1, F2, epochs=1)
    assert re.search(r"\(\d+\.\d\d% of F2\) in 120 rows held out, fitted on 480; training was", repr(s))


def test_numbers_are_of_the_rows_held_out() -> None:
    s = gm.train_stitch(mlp(4, 3), F1, F2, epochs=3)
    rows = s.function.held_out
    e = F2[rows] - s(F1[rows])
    assert (s.kind, s.n, s.d1, s.d2, s.matrix) == ("module", 480, 4, 3, None)
    assert len(rows) == 120
    np.testing.assert_allclose(s.residual, e.T @ e / 120, rtol=1e-12)
    assert s.misalignment == pytest.approx(np.trace(s.residual), rel=1e-12)
    assert s.misalignment == pytest.approx(gm.risk(s, F1[rows], F2[rows]), rel=1e-12)
    assert s.misalignment_ratio == pytest.approx(s.misalignment / (F2[rows] ** 2).sum() * 120, rel=1e-12)
    assert s.unbiased == s.cv == s.misalignment
    assert np.isnan([s.df, s.gcv, s.loo]).all()
    assert s.function.held_out_curve[-1] == pytest.approx(s.misalignment, rel=1e-12)


def test_square_is_learnt_where_no_linear_map_can() -> None:
    x = normal(0, 800, 1)
    s = gm.train_stitch(mlp(1, 1), x, x**2 - 1, lr=0.02, epochs=60)
    assert s.misalignment < 0.1 < 1.5 < gm.misalignment(x, x**2 - 1)
    assert s.function.curve[-1] < 0.1 * s.function.curve[0]
    assert s.function.curve.shape == s.function.held_out_curve.shape == (60,)


def test_fit_of_noise_is_not_taken_for_alignment() -> None:
    """A rich map that knows the rows by heart: on rows held out nothing is left of it."""
    x, noise = normal(0, 60, 20), normal(1, 60, 2)
    net = seeded(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 2))
    s = gm.train_stitch(net, x, noise, epochs=200, batch=60, lr=0.01, held_out=0.5)
    assert s.function.curve[-1] < 0.05 * s.misalignment
    assert s.misalignment_ratio > 0.9


def test_bound_holds_with_the_misalignment_of_the_rows_held_out() -> None:
    s = gm.train_stitch(mlp(4, 3), F1, F2, epochs=5)
    rows = s.function.held_out
    for seed in range(10):
        head = normal(seed, 2, 3)
        Y = normal(seed + 20, 600, 2)
        bound = gm.bounds.stitching(gm.risk(head, F2[rows], Y[rows]), gm.lipschitz.upper(head), s.misalignment)
        refined = gm.bounds.stitching_refined(gm.risk(head, F2[rows], Y[rows]), 1.0, head, s.residual)
        assert (
            gm.stitching_risk(s, head, F1[rows], Y[rows]) <= float(refined) * (1 + 1e-12) <= float(bound) * (1 + 1e-9)
        )


# ---- tasks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["matrix", "module"])
def test_matching_the_task_serves_the_head_better_than_matching_features(kind: str) -> None:
    """The head looks at one direction of F2, and one hidden unit has to do for all three features."""
    W = np.array([[0.0, 0.0, 1.0]])
    f2 = np.column_stack([F1[:, 0] * 10, F1[:, 1] * 10, F1[:, 2]])
    head: Any = W
    if kind == "module":
        head = nn.Linear(3, 1, bias=False).double()
        head.weight.data = torch.from_numpy(W)
    net = seeded(nn.Linear(4, 1), nn.Linear(1, 3))
    options: dict[str, Any] = {"epochs": 60, "lr": 0.05, "batch": 64}
    features = gm.train_stitch(net, F1, f2, **options)
    task = gm.train_stitch(net, F1, f2[:, 2], match="task", head=head, **options)
    rows = task.function.held_out
    risks = [gm.stitching_risk(s, head, F1[rows], f2[rows, 2]) for s in (task, features)]
    assert risks[0] < 1e-3 < 0.1 < risks[1]
    assert task.function.held_out_curve[-1] == pytest.approx(risks[0], rel=1e-9)
    assert np.isnan([task.misalignment, task.misalignment_ratio, task.cv]).all()
    assert np.isnan(task.residual).all()
    assert task.residual.shape == (3, 3)
    assert task.reason == "the task was matched, not features; gramian.risk(stitch, F1, F2) is the misalignment"
    assert gm.risk(task, F1, f2) > gm.risk(features, F1, f2)


def test_cross_entropy_trains_a_classifier_through_its_head() -> None:
    labels = (F1 @ normal(3, 4, 3)).argmax(1)
    head = seeded(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    before = {k: v.clone() for k, v in head.state_dict().items()}
    s = gm.train_stitch(
        mlp(4, 5), F1, labels, match="task", head=head, loss="cross_entropy", epochs=40, lr=0.02, batch=64
    )
    rows = s.function.held_out
    with torch.no_grad():
        logits = head(s.to_torch()(torch.from_numpy(F1[rows])))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]))
    assert (logits.argmax(1).numpy() == labels[rows]).mean() > 0.9
    assert s.function.held_out_curve[-1] == pytest.approx(float(loss), rel=1e-9)
    assert s.d2 == 5
    assert all(torch.equal(before[k], v) for k, v in head.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in head.parameters())


# ---- what comes out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_module_stitched_in_has_the_risk_of_the_stitch(dtype: Any) -> None:
    head = seeded(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2), dtype=dtype)
    Y = normal(5, 600, 2)
    s = gm.train_stitch(mlp(4, 3, dtype), F1, F2, epochs=2)
    whole = nn.Sequential(s.to_torch(), head)
    assert gm.stitching_risk(s, head, F1, Y) == pytest.approx(gm.risk(whole, F1, Y), rel=1e-12)
    assert next(s.to_torch().parameters()).dtype == dtype
    assert next(s.to_torch(torch.float16).parameters()).dtype == torch.float16
    assert next(s.to_torch().parameters()).dtype == dtype  # the one that is kept did not change


def test_arrays_come_back_as_they_went_in() -> None:
    s = gm.train_stitch(mlp(4, 3, torch.float32), F1, F2, epochs=1)
    want = s(F1)
    assert want.dtype == np.float64
    assert s(F1.astype(np.float32)).dtype == np.float32
    given = torch.tensor(F1, requires_grad=True)
    out = s(given)
    assert out.dtype == torch.float64
    np.testing.assert_array_equal(out.detach().numpy(), want)
    out.sum().backward()
    assert bool((given.grad != 0).any())
    assert s(torch.arange(8).reshape(2, 4)).dtype == torch.float32


def test_images_go_through_convolutions() -> None:
    images = normal(0, 80, 2, 5, 5)
    want = 0.5 * images[:, :1] + images[:, 1:]
    net = seeded(nn.Conv2d(2, 1, 1))
    s = gm.train_stitch(net, images, want.reshape(80, -1), epochs=60, lr=0.1, batch=20)
    assert (s.d1, s.d2) == (50, 25)
    assert s.misalignment_ratio < 1e-3
    np.testing.assert_allclose(s(images.reshape(80, -1)), want.reshape(80, -1), atol=0.1)
    assert gm.risk(s.to_torch(), images, want.reshape(80, -1)) == pytest.approx(
        gm.risk(s, images.reshape(80, -1), want.reshape(80, -1)), rel=1e-12
    )


# ---- the same again ----------------------------------------------------------------------------------------


def noisy() -> Any:
    return seeded(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 3))


def test_same_seed_gives_the_same_bits_and_leaves_the_world_alone() -> None:
    net = noisy()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(1)
    a = gm.train_stitch(net, F1, F2, epochs=2, batch=50, seed=3)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    b = gm.train_stitch(net, F1, F2, epochs=2, batch=50, seed=3)
    c = gm.train_stitch(net, F1, F2, epochs=2, batch=50, seed=4)
    np.testing.assert_array_equal(a(F1), b(F1))
    np.testing.assert_array_equal(a.function.curve, b.function.curve)
    assert np.abs(a(F1) - c(F1)).max() > 1e-3
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert net.training
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)


def test_last_batch_is_never_a_single_row() -> None:
    s = gm.train_stitch(noisy(), F1[:102], F2[:102], epochs=1, batch=50, held_out=np.array([0]))
    assert np.isfinite(s.misalignment)


def test_rows_held_out_may_be_given() -> None:
    rows = [5, 3, 599]
    s = gm.train_stitch(mlp(4, 3), F1, F2, epochs=1, held_out=rows)
    np.testing.assert_array_equal(s.function.held_out, [3, 5, 599])
    assert s.n == 597
    changed = F2.copy()
    changed[rows] = 1e3
    again = gm.train_stitch(mlp(4, 3), F1, changed, epochs=1, held_out=rows)
    np.testing.assert_array_equal(again(F1), s(F1))  # what is held out is not seen


def test_files_are_read_batch_by_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "f1.npy", F1)
    np.save(tmp_path / "f2.npy", F2)
    a = gm.train_stitch(mlp(4, 3), tmp_path / "f1.npy", tmp_path / "f2.npy", epochs=1)
    np.testing.assert_array_equal(a(F1), gm.train_stitch(mlp(4, 3), F1, F2, epochs=1)(F1))


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: Any) -> Any:
        return self.factor * z


def test_steps_do_not_depend_on_units_of_the_target() -> None:
    plain = gm.train_stitch(seeded(nn.Linear(4, 3)), F1, F2, start="given", epochs=3)
    small = gm.train_stitch(seeded(nn.Linear(4, 3), Times(2.0**-60)), F1, F2 * 2.0**-60, epochs=3)
    np.testing.assert_allclose(small(F1) * 2.0**60, plain(F1), rtol=1e-6)
    assert small.misalignment_ratio == pytest.approx(plain.misalignment_ratio, rel=1e-6)


def test_target_of_zeros_has_no_ratio() -> None:
    s = gm.train_stitch(seeded(nn.Linear(4, 3)), F1, F2 * 0, epochs=1)
    assert np.isnan(s.misalignment_ratio)
    assert s.reason.startswith("F2 is 0 in the rows held out")


def test_progress_is_told_after_each_epoch() -> None:
    calls: list[tuple[int, str]] = []
    gm.train_stitch(mlp(4, 3), F1, F2, epochs=3, progress=lambda done, total, phase: calls.append((done, phase)))
    assert calls == [
        (0, "epochs"), (333, "epochs 1/3"), (666, "epochs 2/3"), (999, "epochs 3/3"), (1000, "")
    ]  # fmt: skip


# ---- the gate ----------------------------------------------------------------------------------------------


def test_without_torch_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, gramian as gm\n"
        "for call in (lambda: gm.train_stitch(None, np.eye(3), np.eye(3)),\n"
        "             lambda: gm.fit_stitch(np.eye(3), np.eye(3), kind='kernel_ridge', ridge=1.0).to_torch()):\n"
        "    try: call()\n"
        "    except ImportError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[0] == "train_stitch trains torch modules and needs torch: pip install 'gramian[torch]'"
    assert found.splitlines()[1] == "to_torch makes a torch.nn.Module and needs torch: pip install 'gramian[torch]'"


def train(module: Any = None, f1: Any = F1, target: Any = F2, **options: Any) -> Any:
    return gm.train_stitch(mlp(4, 3) if module is None else module, f1, target, **({"epochs": 1} | options))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3).double()

    def forward(self, z: Any) -> Any:
        return self.inner(z), z


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: train(np.eye(3)), TypeError, "module must be a torch.nn.Module, got ndarray"),
    (
        lambda: train(nn.ReLU()),
        ValueError,
        "module has no parameters that require a gradient; there is nothing to train",
    ),
    (lambda: train(nn.LazyLinear(3)), ValueError, "module has no values yet for weight; call it once"),
    (
        lambda: train(nn.Linear(7, 3), f1=normal(0, 600, 8)),
        ValueError,
        "F1 has 8 features a row, and module failed on rows of that shape: mat1 and mat2 shapes cannot be multiplied "
        "(2x8 and 7x3); its first Linear layer takes 7",
    ),
    (lambda: train(Pair()), TypeError, "module must return one tensor, got tuple"),
    (
        lambda: train(seeded(nn.Linear(4, 3), nn.Flatten(0))),
        ValueError,
        "module must return features (rows, d2) for each of its 2 rows, got shape (6,)",
    ),
    (
        lambda: train(target=F2[:, :2]),
        ValueError,
        "module gives 3 outputs for each row but target has 2 columns; they must be as many",
    ),
    (
        lambda: train(target=F2[:9]),
        ValueError,
        "F1 has 600 rows but target has 9; row i of both must be the same sample",
    ),
    (lambda: train(f1=F1 * np.nan), ValueError, "F1 has NaN in row 0, column 0"),
    (lambda: train(match="all"), ValueError, "match must be one of 'features', 'task', got 'all'"),
    (lambda: train(loss="hinge"), ValueError, "loss must be one of 'squared', 'cross_entropy', got 'hinge'"),
    (lambda: train(head=np.eye(3)), ValueError, 'head is for match="task"; features are matched without one'),
    (
        lambda: train(loss="cross_entropy"),
        ValueError,
        'loss="cross_entropy" is for match="task"; features are matched by',
    ),
    (
        lambda: train(match="task"),
        ValueError,
        'match="task" needs head, the part of the second model that the features',
    ),
    (
        lambda: train(match="task", head=lambda z: z),
        TypeError,
        "head must be a torch.nn.Module or a matrix of shape (outputs, features)",
    ),
    (
        lambda: train(match="task", head=nn.Dropout()),
        ValueError,
        "head must be in evaluation mode, for Dropout acts otherwise in training; call head.eval() first",
    ),
    (lambda: train(match="task", head=nn.LSTM(3, 3).double()), TypeError, "head must return one tensor, got tuple"),
    (
        lambda: train(match="task", head=np.eye(3), target=F2[:, :2]),
        ValueError,
        "head gives 3 outputs for each row but target has 2 columns; they must be as many",
    ),
    (
        lambda: train(match="task", head=np.eye(3), target=np.full(600, 3), loss="cross_entropy"),
        ValueError,
        "target must be class numbers from 0 to 2, one for each row, as head gives 3 outputs",
    ),
    (
        lambda: train(match="task", head=np.eye(3), target=F2, loss="cross_entropy"),
        ValueError,
        "target must be class numbers from 0 to 2",
    ),
    (lambda: train(held_out=1.0), ValueError, "held_out must be a part of the rows, above 0 and below 1, got 1.0"),
    (lambda: train(held_out="some"), TypeError, "held_out must be a part of the rows or row numbers, got str"),
    (
        lambda: train(held_out=np.array([0.5])),
        TypeError,
        "held_out must be a part of the rows or row numbers, got an array of float64 and shape (1,)",
    ),
    (
        lambda: train(held_out=[1, 1]),
        ValueError,
        "held_out must be different row numbers from 0 to 599, fewer than 600 of them",
    ),
    (lambda: train(held_out=[600]), ValueError, "held_out must be different row numbers from 0 to 599"),
    (lambda: train(held_out=np.arange(600)), ValueError, "held_out must be different row numbers from 0 to 599"),
    (lambda: train(epochs=0), ValueError, "epochs must be at least 1, got 0"),
    (lambda: train(batch=0.5), TypeError, "batch must be a whole number, got float"),
    (lambda: train(lr=0), ValueError, "lr must be positive and finite, got 0"),
    (lambda: train(lr="1"), TypeError, "lr must be a number, got str"),
    (lambda: train(weight_decay=-1), ValueError, "weight_decay must be at least 0 and finite, got -1"),
    (lambda: train(seed=-1), ValueError, "seed must be at least 0, got -1"),
    (lambda: train(progress=1), TypeError, "progress must be True, a function of (done, total) or a tqdm bar, got int"),
    (lambda: train(f1=F1[:1], target=F2[:1]), ValueError, "train_stitch needs at least 2 rows but got 1"),
    (lambda: train(epochs=5, lr=1e200), RuntimeError, "; use a smaller lr than 1e+200"),
    (
        lambda: train()(F1[:, :2]),
        ValueError,
        "F must have shape (n, 4), as the features that were stitched, got (600, 2)",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[text[:50] for _, _, text in WRONG])
def test_error_says_what_came_and_what_is_needed(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert text in str(found.value)
