"""The constants of heads and the bounds of a report."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.rows import heads
from gramian.stitching.held_out import Least, Rows, Seen, norm, square_of
from gramian.stitching.reported import (
    ANY_SAMPLE,
    LIPSCHITZ,
    LOCAL_ROWS,
    LOCAL_STEPS,
    REFINED,
    THESE_ROWS,
    ReportedBound,
    Side,
    StitchReport,
)
from gramian.sweeps.centred import blocks
from gramian.sweeps.factor import EPS
from gramian.theory import bounds, lipschitz

Array: TypeAlias = npt.NDArray[np.float64]
_SIDES: tuple[Side, Side] = (">=", "<=")
_NO_LAYERS = "{} is a function; constants are read off matrices and torch modules"


def constants_of(
    g2: object | None, given: float | None, x2: Rows, seen: Seen, seed: int, reasons: dict[str, str]
) -> tuple[float, float, float]:
    """(upper, local, effective) of the second head; what is nan or infinite goes to the reasons."""
    if g2 is None:
        for name in ("kappa_upper", "kappa_local", "kappa_effective"):
            reasons[name] = reasons.get("risk2", "no head g2 was given")
        return math.nan, math.nan, math.nan
    effective = seen.moved / seen.error if seen.error else math.nan
    if not seen.error:
        reasons["kappa_effective"] = "the map reproduces f2 exactly on the held-out rows"
    upper, why = certified(g2, "g2") if given is None else (given, None)
    if why:
        reasons["kappa_upper"] = f"{why}, or give kappa2" if _is_function(g2) else why
    if effective > upper >= (seen.moved - _unit(g2) * seen.outputs) / seen.error:
        effective = upper  # all that is more is rounding of the head's outputs
    if _is_function(g2):
        reasons["kappa_local"] = _NO_LAYERS.format("g2")
        return upper, math.nan, effective
    some = x2.take(np.linspace(0, x2.n - 1, min(x2.n, LOCAL_ROWS)).astype(np.int64))
    try:
        local = lipschitz.local(g2, some, max_iterations=LOCAL_STEPS, seed=seed)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:  # a head that torch cannot derive
        reasons["kappa_local"] = str(error).partition("\n")[0]
        local = math.nan
    return upper, local, effective


def bounds_of(
    report: StitchReport, least: Least, seen: Seen, parts: Sequence[Rows], g2: object | None, given: bool
) -> Iterator[ReportedBound]:
    if g2 is not None:
        yield from _of_the_map(report, seen, g2, given)
        if _is_matrix(g2):
            yield from _of_the_best_map(report, least, parts, heads.weight_matrix(g2, "g2"))
        else:
            yield _forward(report)
    linear = report.stitch.matrix is not None  # or else g2∘s is no linear head
    if linear and report.outputs is not None and (g2 is None or _is_matrix(g2)):
        yield _forward_of_linear_heads(report, least)
    yield from _of_alignment(report, least)


def certified(head: object, name: str) -> tuple[float, str | None]:
    """`lipschitz.upper`, and why it is infinite; nan for a function."""
    if _is_function(head):
        return math.nan, _NO_LAYERS.format(name)
    found = lipschitz.explain(head)
    blamed = [x for x in found.layers if x.constant == math.inf]
    if not blamed:
        return found.value, None
    where = f"layer {blamed[0].name} ({blamed[0].kind})" if blamed[0].name else blamed[0].kind
    return found.value, f"no certified constant of {name}: {where}: {blamed[0].rule}"


def _is_function(head: object) -> bool:
    return callable(head) and not heads.is_module(head)


def _is_matrix(head: object) -> bool:
    return not (heads.is_module(head) or callable(head))


def _of_the_map(report: StitchReport, seen: Seen, g2: object, given: bool) -> Iterator[ReportedBound]:
    """Of the risk of this very map."""
    unit = _unit(g2) * (seen.outputs + seen.targets) / math.sqrt(seen.n)
    risk2, error = report.risk2, report.misalignment

    upper, effective = report.kappa_upper, report.kappa_effective if seen.error else 0.0
    blame = report.reasons.get("kappa_upper")

    def row(name: str, kappa: str, side: Side, compute: Callable[[], float], why: str | None) -> ReportedBound:
        value, reason = _value(compute, why)
        rounding = 2 * math.sqrt(max(report.risk_stitch, risk2)) * unit + unit * unit
        certifies, needs = (THESE_ROWS, "κ of these pairs") if kappa == "effective" else (ANY_SAMPLE, LIPSCHITZ)
        checked = kappa == "effective" or (math.isfinite(upper) and not given)
        return ReportedBound(
            name, kappa, "R_stitch", side, value, report.risk_stitch, certifies, needs, checked, reason, rounding
        )

    yield row("stitching", "upper", "<=", lambda: bounds.stitching(risk2, upper, error), blame)
    yield row("stitching", "effective", "<=", lambda: bounds.stitching(risk2, effective, error), None)
    start = _first_matrix(g2)
    if isinstance(start, str):
        yield replace(row("stitching_refined", "upper", "<=", lambda: math.nan, start), needs=REFINED, checked=False)
    else:
        w, rest, why = start
        refined = row(
            "stitching_refined", "upper", "<=", lambda: bounds.stitching_refined(risk2, rest, w, seen.residual), why
        )
        yield replace(refined, needs=REFINED, checked=math.isfinite(rest))
    yield row("stitching_lower", "upper", ">=", lambda: bounds.stitching_lower(risk2, upper, error), blame)
    yield row("stitching_lower", "effective", ">=", lambda: bounds.stitching_lower(risk2, effective, error), None)


def _forward(report: StitchReport) -> ReportedBound:
    """Of heads that are not linear, whose least risks are not known: with those of the heads at hand."""
    why = report.reasons.get("kappa_upper")
    value, reason = _value(lambda: bounds.stitching_forward(report.risk2, report.kappa_upper, report.misalignment), why)
    return ReportedBound(
        "stitching_forward",
        "upper",
        "R_1(h1) − R_2(h2)",
        "<=",
        value,
        report.risk1 - report.risk2,
        ANY_SAMPLE,
        "h1 is the best head of model 1, and g2∘s one of its heads",
        False,
        reason or report.reasons.get("risk1"),
        0.0,
    )


def _forward_of_linear_heads(report: StitchReport, least: Least) -> ReportedBound:
    """Of the least risks over linear heads, which least squares gives."""
    why = least.saturated[0] or least.saturated[1]
    value, reason = _value_unless(
        why, lambda: bounds.stitching_forward(least.risk2, lipschitz.upper(least.head2), report.misalignment)
    )
    measured = least.risk1 - least.risk2
    kind = "affine" if least.centred else "linear"
    needs = f"{kind} heads: g2∘s is one, and least squares gives the best"
    rounding = (1e-10 + 64 * EPS * max(least.condition)) * report.target_power
    return ReportedBound(
        "stitching_forward", None, "R(H_1) − R(H_2)", "<=", value, measured, THESE_ROWS, needs, True, reason, rounding
    )


def _of_the_best_map(report: StitchReport, least: Least, parts: Sequence[Rows], w: Array) -> Iterator[ReportedBound]:
    """Of the map that is best for the task on the held-out rows themselves, under a head that is a matrix."""
    singular = np.linalg.svd(w, compute_uv=False)
    kept = singular[singular > max(w.shape) * EPS * singular[0]]  # as gramian.bounds tells the rank
    back = np.linalg.pinv(w, rcond=max(w.shape) * EPS)
    mapped, about = back @ least.map1, least.means
    sums = []
    for start, stop in blocks(report.n, [x.d for x in parts]):
        z = (parts[0].block(start, stop) - about[0]) @ mapped.T + back @ about[1]
        sums.append(norm(z @ w.T - parts[2].block(start, stop)))
    risk, why = square_of(norm(np.array(sums)) / math.sqrt(report.n)), least.saturated[0]
    kind = "affine" if least.centred else "linear"
    condition = least.condition[0] * (kept[0] / kept[-1] if len(kept) else 1.0)
    rounding = (1e-10 + 64 * EPS * float(condition)) * report.target_power
    value, reason = _value_unless(why, lambda: bounds.output_layer(least.risk1, report.risk2, w))
    yield ReportedBound(
        "output_layer", None, "best R_stitch − R_2", "=", value, risk - report.risk2, THESE_ROWS,
        f"linear heads, W2 of full row rank, any {kind} map", True, reason, rounding,
    )  # fmt: skip
    value, reason = _value_unless(why, lambda: bounds.output_layer_projected(w, least.targets, least.residual))
    yield ReportedBound(
        "output_layer_projected", None, "best R_stitch", "=", value, risk, THESE_ROWS,
        f"linear heads, any {kind} map", True, reason, rounding,
    )  # fmt: skip


def _of_alignment(report: StitchReport, least: Least) -> Iterator[ReportedBound]:
    """Of the least misalignment, from kernel alignment and both spectra."""
    why = report.reasons.get("alignment") or least.saturated[0]
    if math.isnan(least.aligned):
        why = why or "f1 varies by no more than the rounding that it was stored with"
    needs = f"{'CKA' if least.centred else 'KA'} and the spectra of these rows"
    rounding = 1e-6 * float(least.spectra[1].sum())
    for side in _SIDES:

        def end(side: Side = side) -> float:
            found = bounds.misalignment_from_ka(least.aligned, *least.spectra)
            return found.low if side == ">=" else found.high

        value, reason = _value_unless(why, end)
        yield ReportedBound(
            "misalignment_from_ka", None, "least Ã_2", side, value, least.misalignment, THESE_ROWS, needs, True,
            reason, rounding,
        )  # fmt: skip


def _value(compute: Callable[[], float], why: str | None) -> tuple[float, str | None]:
    """A bound's value, and why it is nan or infinite."""
    try:
        value = compute()
    except ValueError as error:
        return math.nan, why or str(error)
    return value, None if math.isfinite(value) else why or "beyond the range of float64"


def _value_unless(why: str | None, compute: Callable[[], float]) -> tuple[float, str | None]:
    """The same, where a value would mean nothing for the reason why."""
    return (math.nan, why) if why else _value(compute, None)


def _unit(head: object) -> float:
    """By how much outputs of a head may be rounded, relatively, with room for sums over its features."""
    if heads.is_module(head):
        torch = sys.modules["torch"]
        kinds = [p.dtype for p in head.parameters() if p.is_floating_point()]  # type: ignore[attr-defined]
        return 64 * float(max((torch.finfo(kind).eps for kind in kinds), default=EPS))
    return 64 * (float(np.finfo(np.float32).eps) if callable(head) else EPS)


def _first_matrix(head: Any) -> tuple[Array, float, str | None] | str:
    """W, the constant of h and why it is infinite where a head is h∘W; or why it is not."""
    if not heads.is_module(head):
        if callable(head):
            return "g2 is a function, which does not show its first layer"
        return heads.weight_matrix(head, "g2"), 1.0, None
    nn = sys.modules["torch"].nn
    layers = list(head) if type(head) is nn.Sequential else [head]
    if not layers or type(layers[0]) is not nn.Linear or any(_hooked(x) for x in (head, layers[0])):
        return "g2 does not start with a Linear layer"
    return heads.on_host(layers[0].weight), *certified(nn.Sequential(*layers[1:]), "g2 after its first layer")


def _hooked(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks) or "forward" in vars(module)
