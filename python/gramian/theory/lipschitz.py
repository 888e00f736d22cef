"""Lipschitz constants of heads: certified ones from above, layer by layer, and what samples show from below.

A head is a `torch.nn.Module` that acts on each sample alone, or a matrix W of shape (outputs, features), z ↦ Wz. All
constants are of Euclidean norms, of a sample flattened. torch is not imported here: a module can only come from a
program that has.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import RBF, Kernel, Linear, RationalQuadratic
from gramian.progress import Progress, one_bar, phase, tell
from gramian.reasons import told
from gramian.results.result import Result
from gramian.rows.arrays import check_budget, check_count, check_number, check_seed, plain_number, same_rows
from gramian.rows.heads import (
    check_module,
    check_width,
    evaluated,
    is_module,
    like_weights,
    on_host,
    samples,
    weight_matrix,
)
from gramian.show.tables import Listing
from gramian.theory import singular
from gramian.theory.layer_rules import RULES, product_above, rounded_above, spectral_norm_and_rule
from gramian.words import public

Array: TypeAlias = npt.NDArray[np.float64]
Rule: TypeAlias = Callable[[Any], float]

__all__ = ["Layer", "UpperBound", "effective", "explain", "local", "register", "rkhs", "upper"]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True, eq=False)
class Layer(Result):
    """One layer's certified constant."""

    name: str  # within the head, "" for the head itself
    kind: str
    constant: float
    rule: str  # how the constant was found, or why there is none


@dataclass(frozen=True, eq=False)
class UpperBound(Result):
    """A certified Lipschitz constant and the layers that it is the product of; ``float`` gives the number."""

    value: float
    layers: tuple[Layer, ...]

    def __float__(self) -> float:
        return self.value

    def _listing(self) -> Listing:
        names = ("kind", "constant", "rule")
        columns = {name: [getattr(layer, name) for layer in self.layers] for name in names}
        return Listing(columns, [layer.name for layer in self.layers], "layer")

    def __repr__(self) -> str:
        rows = [("layer", "kind", "constant", "rule")]
        rows += [(x.name or "–", x.kind, f"{x.constant:.6g}", x.rule) for x in self.layers]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        return "\n".join([*lines, f"product: {self.value:.6g}"])


# ---- from above ----------------------------------------------------------------------------------------------------


@public
@one_bar
def upper(head: object, *, progress: Progress | None = None) -> float:
    """A certified Lipschitz constant of a head: the product of its layers' constants.

    Parameters
    ----------
    head : torch.nn.Module, or array of shape (outputs, features)
        In evaluation mode if it has dropout or batch normalisation.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    float
        κ with ‖g(z) − g(z')‖ ≤ κ‖z − z'‖ for all z, z' of any size the head takes; inf where none is known or none
        exists. `explain` says which layer is to blame.

    Raises
    ------
    TypeError, ValueError
        Neither a module nor a matrix; weights are complex, hold NaN or infinity, or no values yet; a layer that acts
        otherwise in training is in training mode.

    Notes
    -----
    Speaks of the map in exact arithmetic. Linear layers: SVD of the weights, rounded up by 1 + 64·eps·dim; for large
    ones a Cholesky factorisation certifies the bound, some 1e-8 above the norm. Convolutions: the largest spectral norm
    over frequencies, sampled and divided by what can be lost between samples; stride, dilation, zero padding and the
    image's size cannot raise it. A product is no best constant: it is often far above `local`, by a factor that grows
    with depth. Own modules have no rule (their forward could be anything): give one with `register`. Source: Szegedy et
    al. 2014; Sedghi et al. 2019; Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> round(gm.lipschitz.upper(np.array([[3.0, 0.0], [0.0, 4.0]])), 9)
    4.0
    """
    check_budget(None, progress)
    return _explained(head, progress).value


@public
def explain(head: object) -> UpperBound:
    """`upper` with the table of layers: each one's constant, and by which rule, or why it has none.

    Parameters
    ----------
    head : torch.nn.Module, or array of shape (outputs, features)
        As in `upper`.

    Returns
    -------
    UpperBound
        ``.value``, ``.layers`` (name, kind, constant, rule); ``float`` gives the value, printing the table.

    Raises
    ------
    TypeError, ValueError
        As `upper`.

    Notes
    -----
    Cost: an SVD of each linear layer, or matrix products where that would last for more than about half a second; for a
    convolution one at each of many frequencies, until the constant is within 0.1% or some ten seconds are over,
    whichever is first: with some hundreds of channels it may then be more than 0.1% too large, never too small. Ctrl-C
    is heard between pieces of a fraction of a second, but for one frequency of a convolution with more than a thousand
    channels on both sides, which lasts for seconds. Source: Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> gm.lipschitz.explain(np.diag([3.0, 0.25]))
    layer  kind    constant  rule
    –      matrix  3         spectral norm by SVD
    product: 3
    """
    return _explained(head, None)


def _explained(head: object, progress: Progress | None) -> UpperBound:
    told = phase(progress, "layers", counted=True)
    if not is_module(head):
        weights = weight_matrix(head)
        return _combined([Layer("", "matrix", *spectral_norm_and_rule(weights))])
    check_module(head)
    modules: Any = head
    count = sum(1 for _ in modules.modules())
    found = []
    for layer in _layers(head, ""):
        found.append(layer)
        tell(told, min(len(found), count), count)
    return _combined(found)


@public
def register(kind: type, rule: Rule) -> None:
    """Teach `upper` the constant of a module type of your own, or of a library.

    Parameters
    ----------
    kind : type
        A subclass of torch.nn.Module. Its subclasses follow unless they override something of it.
    rule : callable
        From a module to its Lipschitz constant. It may call `upper` on parts: a residual block, z + body(z), has
        1 + upper(body); branches side by side have √Σκ²; branches added have Σκ.

    Raises
    ------
    TypeError
        Not a type, or the rule is not callable.

    Notes
    -----
    The certificate is then as good as the rule. A later rule for the same type replaces an earlier one, also one of
    gramian's own. Source: Theory, 5.5.

    Examples
    --------
    >>> import gramian as gm
    >>> class Residual:  # a torch.nn.Module in earnest
    ...     body = None
    >>> gm.lipschitz.register(Residual, lambda block: 1 + gm.lipschitz.upper(block.body))
    """
    if not isinstance(kind, type):
        raise TypeError(f"kind must be a subclass of torch.nn.Module, got {type(kind).__name__}")
    if not callable(rule):
        raise TypeError(f"rule must be a function from a module to its constant, got {type(rule).__name__}")
    _REGISTERED[kind] = rule


@public
def rkhs(norm: float, kernel: Kernel) -> float:
    """A certified Lipschitz constant of a head in a kernel's Hilbert space, g = Σ αᵢ k(zᵢ, ·): ‖g‖_H · L.

    Parameters
    ----------
    norm : float
        ‖g‖_H = √(α'Kα).
    kernel : Linear, RBF or RationalQuadratic
        With its bandwidth σ. L = 1, 1/σ and 1/σ, the Lipschitz constant of the feature map.

    Returns
    -------
    float
        κ with |g(z) − g(z')| ≤ κ‖z − z'‖. For several outputs take √Σκ².

    Raises
    ------
    TypeError, ValueError
        The norm is no number or negative; the kernel has no bandwidth yet, or a feature map that is not known to be
        Lipschitz (exponential kernels have one that is not).

    Notes
    -----
    ‖k(z, ·) − k(z', ·)‖² = k(z, z) + k(z', z') − 2k(z, z') ≤ L²‖z − z'‖². Source: Theory, 5.5.

    Examples
    --------
    >>> import gramian as gm
    >>> gm.lipschitz.rkhs(3.0, gm.RBF(bandwidth=2.0))
    1.5
    """
    norm = check_number(norm, "norm")
    if not 0 <= norm < math.inf:
        raise ValueError(f"norm must be at least 0 and finite, got {norm}")
    if isinstance(kernel, Linear):
        return float(norm)
    if not isinstance(kernel, RBF | RationalQuadratic):
        raise ValueError(f"kernel must be Linear, RBF or RationalQuadratic; none is known for {kernel}")
    if kernel.bandwidth is None or math.isnan(kernel.bandwidth):
        raise ValueError(f"kernel {kernel} has no bandwidth yet; pass the one that the head was fitted with")
    return rounded_above(Fraction(float(norm)) / Fraction(kernel.bandwidth), float(norm) / kernel.bandwidth)


def _combined(layers: list[Layer]) -> UpperBound:
    value = 1.0
    for layer in layers:
        if math.inf in (value, layer.constant):
            value = math.inf  # also before and after a layer of zeros: what is not known may be random
        elif layer.constant != 1.0:
            value = layer.constant if value == 1.0 else product_above(value, layer.constant)
    return UpperBound(value, tuple(layers))


def _layers(module: Any, name: str) -> Iterator[Layer]:
    kind = type(module).__name__
    if module._forward_hooks or module._forward_pre_hooks:
        yield Layer(name, kind, math.inf, "has forward hooks, which may change what passes; remove them first")
        return
    known = _known_as(module)
    if known is None:
        attends = any("ttention" in type(part).__name__ for part in module.modules())
        what = "dot-product attention has no Lipschitz constant" if attends else "not a known layer"
        yield Layer(name, kind, math.inf, f"{what}; register a rule for {kind} if you have one")
    elif isinstance(known, type):
        constant = _REGISTERED[known](module)
        if isinstance(constant, bool) or not isinstance(constant, Real) or not constant >= 0:
            raise ValueError(f"the rule registered for {known.__name__} must give a number from 0, got {constant!r}")
        yield Layer(name, kind, float(constant), f"rule registered for {known.__name__}")
    elif known == "Sequential":
        for child_name, child in module._modules.items():  # a layer that is there twice counts twice
            yield from _layers(child, f"{name}.{child_name}" if name else child_name)
    else:
        undefined = [key for key in getattr(module, "__constants__", ()) if _is_nan(getattr(module, key, None))]
        constant, rule = (math.inf, f"{undefined[0]} is NaN") if undefined else RULES[known](module)
        yield Layer(name, kind, constant, rule)


def _is_nan(value: Any) -> bool:
    """Of numbers of any kind, tensors of no dimension too; nothing else is."""
    try:
        return math.isnan(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False


def _known_as(module: Any) -> type | str | None:
    """The registered type, or the name of the torch layer, that says what a module does; None if nothing does."""
    if "forward" in vars(module):
        return None
    nn = sys.modules["torch"].nn
    overridden: set[str] = set()
    for cls in type(module).__mro__:
        found: type | str | None = cls if cls in _REGISTERED else None
        if found is None and getattr(nn, cls.__name__, None) is cls:
            found = cls.__name__ if cls.__name__ == "Sequential" or cls.__name__ in RULES else None
        if found is not None:
            return None if overridden & set(dir(cls)) else found
        overridden |= {key for key in vars(cls) if (not key.startswith("__") or key == "__call__")} - _HARMLESS
    return None


# ---- weights -------------------------------------------------------------------------------------------------------


# ---- rules: of a module in evaluation mode, for inputs of any size -------------------------------------------------


_HARMLESS = {"extra_repr", "reset_parameters", "training", "_abc_impl", "_version"}
_REGISTERED: dict[type, Rule] = {}


# ---- from below ----------------------------------------------------------------------------------------------------


@public
@one_bar
def local(
    head: object,
    Z: object,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """The largest local Lipschitz constant at samples: max over rows z of ‖J_g(z)‖₂. A lower estimate, no certificate.

    Parameters
    ----------
    head : torch.nn.Module, or array of shape (outputs, features)
        As in `upper`; any module whose output is one tensor, and that torch can differentiate.
    Z : array of shape (n, ...)
        The head's inputs, one sample a row; a NumPy or torch array, images too.
    tolerance : float
        Power iteration stops when no row's estimate grows by more than this, relatively, in a step.
    max_iterations : int
        And at last after so many.
    seed : int
        Of the starting vectors.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    float
        At most the true maximum over the rows, at any tolerance, but for the rounding of the module's dtype.

    Raises
    ------
    TypeError, ValueError
        Neither a module nor a matrix; Z is not finite, or a derivative there; the head is in training mode, or its
        output is no tensor.

    Notes
    -----
    Each step costs two forward passes and one backward pass over Z, in blocks, in the module's dtype and on its device.
    Of a matrix it is the spectral norm. Where the head is not differentiable (ReLU at 0) torch's convention decides.
    Heads that mix samples of a batch have no Jacobian by rows and no sensible result. Source: Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> round(gm.lipschitz.local(np.diag([3.0, 4.0]), np.ones((5, 2))), 12)
    4.0
    """
    tolerance = plain_number(tolerance, "tolerance")
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 < tolerance < 1:
        raise ValueError(f"tolerance must be between 0 and 1, got {tolerance!r}")
    max_iterations = check_count(max_iterations, "max_iterations")
    seed = check_seed(seed)
    check_budget(None, progress)
    z = samples(Z, "Z")
    told = phase(progress, "rows")
    if not is_module(head):
        w = weight_matrix(head)
        check_width(w, z.shape, "Z")
        return singular.from_below(w)
    check_module(head)
    torch = sys.modules["torch"]
    generator = torch.Generator().manual_seed(int(seed))
    largest = 0.0
    for start, stop in z.spans():
        rows = like_weights(head, z.block(start, stop))
        start_vectors = torch.randn(rows.shape, generator=generator, dtype=torch.float64).to(rows)
        largest = max(largest, _jacobian_norm(head, rows, start_vectors, float(tolerance), int(max_iterations)))
        tell(told, stop, z.n)
    return largest


def _jacobian_norm(head: Any, rows: Any, v: Any, tolerance: float, iterations: int) -> float:
    """Power iteration on J'J of all rows at once: rows do not mix, so the batch's Jacobian is block-diagonal."""
    torch = sys.modules["torch"]

    def g(z: Any) -> Any:
        out = head(z.clone())  # a head may write into its input
        if not isinstance(out, torch.Tensor):
            raise TypeError(f"head must return one tensor, got {type(out).__name__}")
        if out.is_complex():
            raise TypeError(f"head must return real numbers, got {str(out.dtype).removeprefix('torch.')}")
        return out.flatten(1) if out.ndim > 1 else out[:, None]

    def lengths(a: Any) -> Any:
        return torch.linalg.vector_norm(a.flatten(1), dim=1)

    def unit(a: Any) -> Any:
        length = lengths(a)
        length = torch.where(length > 0, length, torch.ones_like(length))
        return a / length.reshape(-1, *[1] * (a.ndim - 1))

    with torch.no_grad(), warnings.catch_warnings():
        # the first forward derivative of a process loads what torch itself calls deprecated
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        v = unit(v)
        _, pull_back = torch.func.vjp(g, rows)
        found = torch.zeros(len(rows), dtype=rows.dtype, device=rows.device)
        for _ in range(iterations):
            _, u = torch.func.jvp(g, (rows,), (v,))
            now = lengths(u)
            settled = bool((now <= found * (1 + tolerance)).all())
            found = torch.maximum(found, now)
            if settled:
                break
            v = unit(pull_back(unit(u))[0])
    largest = float(found.max())
    if not math.isfinite(largest):
        raise ValueError("head has a derivative that is not finite at some row of Z")
    return largest


@public
@one_bar
def effective(head: object, Z1: object, Z2: object, *, progress: Progress | None = None) -> float:
    """The Lipschitz constant that a sample needs: ‖g(Z1) − g(Z2)‖ / ‖Z1 − Z2‖, Frobenius norms.

    Parameters
    ----------
    head : torch.nn.Module, or array of shape (outputs, features)
        As in `upper`; any module whose output is one tensor.
    Z1, Z2 : arrays of one shape (n, ...)
        Pairs of inputs, as S f1 and f2 of a stitched model.
    progress : bool, callable or tqdm bar, optional
        One bar for the whole call, as in `gramian.kernel_alignment`.

    Returns
    -------
    float
        At most `upper`, but for the rounding of the module's dtype; nan, with a warning, if Z1 equals Z2.

    Raises
    ------
    TypeError, ValueError
        Neither a module nor a matrix; shapes differ; inputs or outputs are not finite; the head is in training mode.

    Notes
    -----
    In `gramian.bounds.stitching` it may stand for κ2 with the misalignment of the same pairs: the bound then speaks of
    this sample alone, and is the sharpest of its kind. Two forward passes, in blocks. Source: Theory, 5.5.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> gm.lipschitz.effective(np.diag([3.0, 4.0]), np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))
    3.0
    """
    check_budget(None, progress)
    a, b = samples(Z1, "Z1"), samples(Z2, "Z2")
    if a.shape != b.shape:
        raise ValueError(f"Z1 has shape {a.shape} but Z2 has {b.shape}; row i of both must be a pair of inputs")
    same_rows([a.rows, b.rows], ["Z1", "Z2"])
    if is_module(head):
        check_module(head)
        weights = None
    else:
        weights = weight_matrix(head)
        check_width(weights, a.shape, "Z1")
    moved, distance = [], []
    told_of = phase(progress, "rows")
    for start, stop in a.spans():
        x, y = a.block(start, stop), b.block(start, stop)
        if weights is None:
            first, second = like_weights(head, x), like_weights(head, y)
            moved.append(_norm(evaluated(head, first, "Z1") - evaluated(head, second, "Z2")))
            distance.append(_norm(on_host(first) - on_host(second)))
        else:
            moved.append(_norm((x - y) @ weights.T))
            distance.append(_norm(x - y))
        tell(told_of, stop, a.n)
    whole = _norm(np.array(distance))
    if not whole:
        return told(math.nan, "Z1 equals Z2: nothing moves", "effective")
    return _norm(np.array(moved)) / whole


def _norm(a: Array) -> float:
    size = float(np.abs(a).max(initial=0.0))
    return size * float(np.linalg.norm(a / size)) if size else 0.0
