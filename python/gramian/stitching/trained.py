"""Stitching maps of any form: a torch module, trained to match features or through a frozen head to match a task."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gramian.progress import Progress, one_bar, phase, tell
from gramian.results.provenance import provenance
from gramian.rows.arrays import (
    check_budget,
    check_count,
    check_number,
    check_seed,
    one_of,
    plain_number,
    require_rows,
    same_rows,
)
from gramian.rows.heads import (
    Samples,
    cast_like_weights,
    check_module,
    check_values,
    is_module,
    like_weights,
    on_host,
    samples,
    weight_matrix,
)
from gramian.rows.objects import check_row_numbers
from gramian.rows.sources import matrix
from gramian.stitching.linear import fit_stitch
from gramian.stitching.stitch import Stitch
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]
Match: TypeAlias = Literal["features", "task"]
Loss: TypeAlias = Literal["squared", "cross_entropy"]
Start: TypeAlias = Literal["closed_form", "given"]

_EPOCHS, _STEPS = 200, 8000  # of both at least, where none were asked for
_WINDOW = 5, 500  # epochs and steps at least, whose mean loss is held against that of as many before
_STILL = 5e-3  # part of it that is no gain,
_ERRORS = 2.0  # nor are so many of its standard errors: dropout and batches are noise
_FALL, _FALLS = 0.1, 2  # by what the rate falls then, and how often before training is at rest
_NOTHING = 1e-9  # part of the target's size that is no loss any more
_CLOSED = 1 << 30  # bytes that features of a last layer may take to be solved for


@dataclass(frozen=True, eq=False)
class TrainedMap:
    """A trained module as a function of rows of NumPy, torch or CuPy, and how it was trained."""

    module: Any  # in evaluation mode
    sample: tuple[int, ...]  # shape of one sample of F1
    curve: Array  # (epochs,) the loss of the rows that were fitted, while they were
    held_out_curve: Array  # (epochs,) that of the others after each epoch
    held_out: Rows  # rows of F1 that were left out of the fit, in order
    solved: str | None = None  # the layer that started at its closed form
    at_rest: bool = True  # whether training came to a plateau

    def __call__(self, F: Any) -> Any:
        """(b, d2) s of rows (b, d1); a NumPy array for one, a tensor where it lies and differentiable."""
        import torch

        if isinstance(F, torch.Tensor):
            return self._at(F).to(F.device, F.dtype if F.is_floating_point() else None)
        if not isinstance(F, np.ndarray):  # CuPy's
            from array_api_compat import array_namespace

            rows = torch.utils.dlpack.from_dlpack(F)
            with torch.no_grad():
                return array_namespace(F).from_dlpack(self._at(rows).to(rows.device, rows.dtype))
        parts = []
        for start, stop in samples(F, "F").spans():
            with torch.no_grad():
                parts.append(on_host(self._at(like_weights(self.module, F[start:stop].astype(np.float64)))))
        return np.concatenate(parts).astype(F.dtype if F.dtype.kind == "f" else np.float64)

    def _at(self, rows: Any) -> Any:
        return self.module(cast_like_weights(self.module, rows).reshape(len(rows), *self.sample)).flatten(1)

    def to_torch(self, dtype: Any = None) -> Any:
        """A copy of the module, of its own dtype or the one given."""
        copy = deepcopy(self.module)
        return copy if dtype is None else copy.to(dtype)


@public
@one_bar
def train_stitch(
    module: Any,
    F1: object,
    target: object,
    *,
    match: Match = "features",
    head: Any = None,
    loss: Loss = "squared",
    start: Start = "closed_form",
    held_out: float | object = 0.2,
    epochs: int | None = None,
    batch: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Stitch:
    """Train any torch module as a stitching map s, to give the second model's features or to serve its head.

    ``match="features"``: min E‖f2 − s(f1)‖². ``match="task"``: min E‖g2(s(f1)) − y‖², or the cross-entropy of
    g2(s(f1)), with g2 frozen.

    Parameters
    ----------
    module : torch.nn.Module
        From rows of F1 to rows of features, with its initial weights. A copy is trained, on the module's device and in
        its dtype.
    F1 : array of shape (n, ...)
        Features of the first model, or the path of a file; a sample may be an image.
    target : array of shape (n, d2), (n, k) or (n,)
        F2 to match features; targets y to match a task, for the cross-entropy class numbers 0 to k − 1.
    match : {"features", "task"}
    head : torch.nn.Module or array of shape (k, d2), optional
        g2, for ``match="task"``. It stays as it is.
    loss : {"squared", "cross_entropy"}
        Cross-entropy of the head's outputs as logits, for ``match="task"`` alone.
    start : {"closed_form", "given"}
        A module that is a torch.nn.Linear, or a torch.nn.Sequential that ends in one, starts where that layer is the
        ridge regression of F2 on what comes into it (the ridge by generalised cross-validation), unless its own weights
        do better or the task is matched. "given" leaves all weights as they are.
    held_out : float, or row numbers
        Part of the rows, drawn by the seed, or the rows themselves, that are left out of the fit.
    epochs : int, optional
        Passes over the other rows, at most; left out, 200 or as many as make 8,000 steps. Training ends earlier at
        rest.
    batch : int
        Rows of a step, about.
    lr, weight_decay : float
        Of AdamW. The rate falls to a tenth where the mean loss of the last 500 steps (5 epochs, if these are more) is
        not below that of as many before by half a percent, or by two standard errors; after two such falls training is
        at rest. A rate that is far too small looks like rest.
    seed : int
        Of what is held out, the order of rows and the module's own noise. The same module and seed give the same map;
        on a GPU as far as torch's kernels do.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    Stitch
        Of kind "module". ``misalignment``, ``misalignment_ratio``, ``residual``, ``unbiased`` and ``cv`` are of the
        rows held out: of a map that is not linear, on the rows it was fitted on they say nothing. nan if the task was
        matched; then `gramian.risk` of the stitch, F1 and F2 gives the misalignment. ``reason`` says so, and whether
        the epochs ended before training was at rest. ``function`` is the map with ``module``, ``held_out`` (row
        numbers), the losses ``curve`` and ``held_out_curve`` (epochs,), ``solved`` (the layer) and ``at_rest``.

    Raises
    ------
    ImportError
        torch is not installed.
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.
    RuntimeError
        The loss is no number any more.

    Notes
    -----
    Rows are read batch by batch, from files too. The last weights are taken (or the first, if the rows of the fit have
    less loss by these), not the best on the rows held out, which would no longer be independent of the fit. A rich
    module can make Ã₂ 0 whenever f2 is a function of f1 at all: that two models can be stitched so says less, the more
    the map can do. Source: Bansal et al. 2021; Theory, 5.7.

    Examples
    --------
    >>> import numpy as np, torch, gramian as gm
    >>> x = np.random.default_rng(0).normal(size=(500, 1))
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    >>> s = gm.train_stitch(net, x, x**2 - 1, lr=0.01, epochs=30)  # what no linear map knows anything of
    >>> s.misalignment_ratio < 0.1
    True
    """
    torch = _torch()
    one_of(match, get_args(Match), "match")
    one_of(loss, get_args(Loss), "loss")
    one_of(start, get_args(Start), "start")
    seed = check_seed(seed)
    epochs, batch = None if epochs is None else check_count(epochs, "epochs"), check_count(batch, "batch")
    lr, weight_decay = check_number(lr, "lr"), check_number(weight_decay, "weight_decay")
    for value, name, positive in ((lr, "lr", True), (weight_decay, "weight_decay", False)):
        if not (value > 0 if positive else value >= 0) or not math.isfinite(value):
            raise ValueError(f"{name} must be {'positive' if positive else 'at least 0'} and finite, got {value}")
    check_budget(None, progress)
    trained = _copied(module)
    frozen = _frozen(head, match, loss)
    f1, y = samples(F1, "F1"), matrix(target, "target", column=True)
    same_rows([f1.rows, y], ["F1", "target"])
    require_rows(f1.n, 2, "train_stitch")
    check_row_numbers(held_out, "held_out", f1.rows.labels or y.labels, "F1" if f1.rows.labels else "target")
    fitted, others = _split(held_out, f1.n, int(seed))
    task = _Task(trained, frozen, f1, Samples(y, (y.d,)), loss)
    d2 = task.check(others)
    batches = -(-len(fitted) // batch)
    epochs = max(_EPOCHS, -(-_STEPS // batches)) if epochs is None else epochs
    window = max(_WINDOW[0], -(-_WINDOW[1] // batches))
    told = phase(progress, "epochs", counted=True)
    with torch.random.fork_rng(devices=_cuda_devices(trained)):
        torch.manual_seed(int(seed))
        solved = task.solve(fitted) if start == "closed_form" and match == "features" else None
        curve, held, at_rest = task.train(
            fitted, others, epochs, batches, window, float(lr), float(weight_decay), int(seed), told
        )
    function = TrainedMap(trained.eval(), f1.sample, np.array(curve), np.array(held), others, solved, at_rest)
    residual, total = np.full((d2, d2), np.nan), math.nan
    why = [] if at_rest else [_not_at_rest(curve, window)]
    if match == "features":
        residual, total = task.residual(others)
        why = why if total > 0 else ["F2 is 0 in the rows held out", *why]
    else:
        why = ["the task was matched, not features; gramian.risk(stitch, F1, F2) is the misalignment", *why]
    reason = "; ".join(why) or None
    misalignment = float(np.trace(residual))
    return Stitch(
        kind="module",
        n=len(fitted),
        d1=f1.rows.d,
        d2=d2,
        matrix=None,
        offset=np.zeros(d2),
        ridge=0.0,
        misalignment=misalignment,
        misalignment_ratio=misalignment / total if total > 0 else math.nan,
        residual=residual,
        df=math.nan,
        unbiased=misalignment,
        gcv=math.nan,
        loo=math.nan,
        reason=reason,
        cv=misalignment,
        function=function,
        provenance=provenance({"F1": f1.rows, "target": y}, seed=seed),
    )


def _gain(curve: list[float], window: int) -> tuple[float, float]:
    """How far the mean loss of the last epochs is below that of as many before, and the standard error of that."""
    before, last = np.array(curve[-2 * window : -window]), np.array(curve[-window:])
    return float(before.mean() - last.mean()), math.sqrt((before.var() + last.var()) / window)


def _still(curve: list[float], window: int) -> bool:
    """Whether it gained no more than its own noise, or next to nothing."""
    gain, error = _gain(curve, window)
    return gain <= max(_ERRORS * error, _STILL * float(np.mean(curve[-2 * window : -window])))


def _not_at_rest(curve: list[float], window: int) -> str:
    """How much the loss still fell in the last epochs."""
    said = f"training was not at rest after {len(curve)} epochs"
    window = min(window, len(curve) // 2)
    if window and (gain := _gain(curve, window)[0]) > 0:
        part = gain / float(np.mean(curve[-2 * window : -window]))
        said += f": the mean loss of the last {window} was {part:.2g} of itself below that of the {window} before"
    return f"{said}; give more epochs, or another lr"


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("train_stitch trains torch modules and needs torch: pip install 'gramian[torch]'") from error
    return torch


def _copied(module: Any) -> Any:
    if not is_module(module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    check_values(module, "module")
    found = deepcopy(module)
    if not any(p.requires_grad for p in found.parameters()):
        raise ValueError("module has no parameters that require a gradient; there is nothing to train")
    return found


def _frozen(head: Any, match: Match, loss: Loss) -> Callable[[Any], Any] | None:
    """g2 as a function of tensors."""
    if match == "features":
        if head is not None:
            raise ValueError('head is for match="task"; features are matched without one')
        if loss != "squared":
            raise ValueError('loss="cross_entropy" is for match="task"; features are matched by squares')
        return None
    if head is None:
        raise ValueError('match="task" needs head, the part of the second model that the features go into')
    if is_module(head):
        check_module(head)
        return lambda z: head(cast_like_weights(head, z))
    weights = _torch().from_numpy(weight_matrix(head).copy())
    return lambda z: z.flatten(1) @ weights.to(z).T


def _split(held_out: Any, n: int, seed: int) -> tuple[Rows, Rows]:
    """Rows to fit, and the others."""
    held_out = plain_number(held_out, "held_out")
    if isinstance(held_out, Real) and not isinstance(held_out, bool):
        part = float(held_out)
        if not 0 < part < 1:
            raise ValueError(f"held_out must be a part of the rows, above 0 and below 1, got {held_out}")
        count = min(n - 1, max(1, round(part * n)))
        others = np.random.default_rng([seed, 5]).choice(n, count, replace=False)
    else:
        others = np.asarray(held_out)
        if others.ndim != 1 or others.dtype.kind not in "iu":
            raise TypeError(
                f"held_out must be a part of the rows or row numbers, got an array of {others.dtype} and shape "
                f"{others.shape}"
                if isinstance(held_out, np.ndarray)
                else f"held_out must be a part of the rows or row numbers, got {type(held_out).__name__}"
            )
        if not 0 < len(others) < n or len(np.unique(others)) < len(others) or others.min() < 0 or others.max() >= n:
            raise ValueError(f"held_out must be different row numbers from 0 to {n - 1}, fewer than {n} of them")
    others = np.sort(others).astype(np.int64)
    return np.setdiff1d(np.arange(n), others), others


def _cuda_devices(module: Any) -> list[Any]:
    return sorted({p.device.index for p in module.parameters() if p.device.type == "cuda"})


def _last_layer(module: Any) -> tuple[Callable[[Any], Any], str, Any]:
    """What comes before the last layer, its name, and the layer; None if it is not linear and trained."""
    nn = _torch().nn
    if type(module) is nn.Linear:
        before, name, last = (lambda z: z), "module", module
    elif type(module) is nn.Sequential and len(module) > 0 and type(module[-1]) is nn.Linear:
        before, name, last = module[:-1], f"module[{len(module) - 1}]", module[-1]
    else:
        return module, "", None
    trained = all(p.requires_grad for p in last.parameters())
    plain = not last._forward_hooks and not last._forward_pre_hooks
    return (before, name, last) if trained and plain else (module, "", None)


@dataclass(frozen=True, eq=False)
class _Task:
    """What is minimised: a loss of g2(s(f1)), or of s(f1)."""

    module: Any
    head: Callable[[Any], Any] | None
    f1: Samples
    target: Samples
    loss: Loss

    def check(self, rows: Rows) -> int:
        """Raise unless shapes fit together; the number of features that the module gives."""
        torch = _torch()
        self.module.eval()
        with torch.no_grad():
            try:
                z = self._features(rows[:2])
            except RuntimeError as error:
                raise ValueError(self._failed(error)) from error
            out = self._outputs(z)
        name = "module" if self.head is None else "head"
        if self.loss == "squared" and out.shape[1] != self.target.rows.d:
            raise ValueError(
                f"{name} gives {out.shape[1]} outputs for each row but target has {self.target.rows.d} columns; they "
                "must be as many"
            )
        if self.loss == "cross_entropy":
            for start, stop in self.target.spans():
                y = self.target.block(start, stop)
                if y.shape[1] != 1 or (y != np.floor(y)).any() or y.min() < 0 or y.max() >= out.shape[1]:
                    raise ValueError(
                        f"target must be class numbers from 0 to {out.shape[1] - 1}, one for each row, as head gives "
                        f"{out.shape[1]} outputs"
                    )
        return int(z.flatten(1).shape[1])

    def _failed(self, error: Exception) -> str:
        """What to say where the module cannot take rows of F1."""
        sample = self.f1.sample
        what = f"{sample[0]} features a row" if len(sample) == 1 else f"samples of shape {sample}"
        first = next((m for m in self.module.modules() if isinstance(m, _torch().nn.Linear)), None)
        takes = f"; its first Linear layer takes {first.in_features}" if first is not None else ""
        return f"F1 has {what}, and module failed on rows of that shape: {' '.join(str(error).split())}{takes}"

    def _features(self, rows: Rows) -> Any:
        z = self.module(like_weights(self.module, self.f1.take(rows)))
        if not isinstance(z, _torch().Tensor):
            raise TypeError(f"module must return one tensor, got {type(z).__name__}")
        if z.ndim < 2 or len(z) != len(rows):
            raise ValueError(
                f"module must return features (rows, d2) for each of its {len(rows)} rows, got shape {tuple(z.shape)}"
            )
        return z

    def _outputs(self, z: Any) -> Any:
        out = z if self.head is None else self.head(z)
        if not isinstance(out, _torch().Tensor):
            raise TypeError(f"head must return one tensor, got {type(out).__name__}")
        return out.reshape(len(z), -1)

    def losses(self, rows: Rows) -> Any:
        """(len(rows),) loss of each."""
        torch = _torch()
        out = self._outputs(self._features(rows))
        y = torch.from_numpy(self.target.take(rows))
        if self.loss == "cross_entropy":
            return torch.nn.functional.cross_entropy(out, y[:, 0].to(out.device, torch.int64), reduction="none")
        return ((out - y.to(out)) ** 2).sum(dim=1)

    def train(
        self,
        fitted: Rows,
        others: Rows,
        epochs: int,
        batches: int,
        window: int,
        lr: float,
        weight_decay: float,
        seed: int,
        progress: Progress | None,
    ) -> tuple[list[float], list[float], bool]:
        """Mean loss of the rows that are fitted, as they are, and of the others after each epoch; whether at rest."""
        torch = _torch()
        weights = [p for p in self.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)
        unit = self._size(fitted)
        rng = np.random.default_rng([seed, 6])
        curve: list[float] = []
        held: list[float] = []
        falls, since = 0, 0  # epochs before the rate fell last
        begin, begun = self._mean(fitted), deepcopy(self.module.state_dict())
        at_rest = False
        for epoch in range(epochs):
            self.module.train()
            total = 0.0
            # parts of nearly one size: a last batch of a single row would be none for batch normalisation
            for rows in np.array_split(rng.permutation(fitted), batches):
                value = self.losses(rows).mean()
                total += float(value.detach()) * len(rows) / len(fitted)
                # the head's own gradients are left alone
                for p, gradient in zip(
                    weights, torch.autograd.grad(value / unit, weights, allow_unused=True), strict=True
                ):
                    p.grad = gradient
                optimizer.step()
            self.module.eval()
            curve.append(total)
            held.append(self._mean(others))
            if not math.isfinite(curve[-1]) or not math.isfinite(held[-1]):
                raise RuntimeError(
                    f"training diverged in epoch {epoch + 1}: the loss is {total}; use a smaller lr than {lr:g}"
                )
            tell(progress, epoch + 1, epochs)
            still = epoch + 1 - since >= 2 * window and _still(curve, window)
            at_rest = total <= _NOTHING * unit or (still and falls == _FALLS)
            if at_rest:
                break
            if still:
                falls, since = falls + 1, epoch + 1
                optimizer.param_groups[0]["lr"] *= _FALL
        if begin < self._mean(fitted):  # steps of a stochastic descent around what was the least already
            self.module.load_state_dict(begun)
            held[-1] = self._mean(others)
        return curve, held, at_rest

    def solve(self, rows: Rows) -> str | None:
        """Set the last layer to its least squares, if the module has one that is linear; the name of that layer."""
        torch = _torch()
        before, name, last = _last_layer(self.module)
        if last is None or 8 * len(rows) * (last.in_features + last.out_features) > _CLOSED:
            return None
        self.module.eval()
        own, kept = self._mean(rows), deepcopy(last.state_dict())
        inputs, targets = [], []
        with torch.no_grad():
            for part in self._parts(rows):
                z = like_weights(self.module, self.f1.take(part))
                inputs.append(on_host(before(z)).reshape(-1, last.in_features))
                targets.append(self.target.take(part))
        x, y = np.concatenate(inputs), np.concatenate(targets)
        if len(x) != len(y) or not x.any():  # a layer on places of an image, or on nothing
            return None
        found = fit_stitch(x, y, kind="linear" if last.bias is None else "affine", ridge="gcv")
        if found.matrix is None or not np.isfinite(found.matrix).all():
            return None
        with torch.no_grad():
            last.weight.copy_(torch.from_numpy(found.matrix))
            if last.bias is not None:
                last.bias.copy_(torch.from_numpy(found.offset))
        if not self._mean(rows) < own:
            last.load_state_dict(kept)
            return None
        return name

    def _size(self, rows: Rows) -> float:
        """A unit of the loss, so that a step does not depend on those of the target."""
        if self.loss == "cross_entropy":
            return 1.0
        total = sum(float((self.target.take(part) ** 2).sum()) for part in self._parts(rows)) / len(rows)
        return total if total > 0 else 1.0

    def _mean(self, rows: Rows) -> float:
        with _torch().no_grad():
            return sum(float(on_host(self.losses(part)).sum()) for part in self._parts(rows)) / len(rows)

    def residual(self, rows: Rows) -> tuple[Array, float]:
        """Mean of (f2 − s(f1))(f2 − s(f1))' and of ‖f2‖²."""
        d2, n = self.target.rows.d, len(rows)
        found, total = np.zeros((d2, d2)), 0.0
        for part in self._parts(rows):
            with _torch().no_grad():
                f2, s = self.target.take(part), on_host(self._features(part)).reshape(len(part), -1)
            found += (f2 - s).T @ (f2 - s) / n
            total += float(np.vdot(f2, f2)) / n
        return found, total

    def _parts(self, rows: Rows) -> list[Rows]:
        wider = self.f1 if self.f1.rows.d >= self.target.rows.d else self.target
        step = wider.spans()[0][1]
        return [rows[start : start + step] for start in range(0, len(rows), step)]
