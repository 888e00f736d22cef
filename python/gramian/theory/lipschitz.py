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
from itertools import product
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.kernels import RBF, Kernel, Linear, RationalQuadratic
from gramian.reasons import told
from gramian.rows.arrays import check_count, check_seed
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
from gramian.theory import singular

Array: TypeAlias = npt.NDArray[np.float64]
Rule: TypeAlias = Callable[[Any], float]
Found: TypeAlias = tuple[float, str]

__all__ = ["Layer", "UpperBound", "effective", "explain", "local", "register", "rkhs", "upper"]

_EPS = float(np.finfo(np.float64).eps)
_JUMP = 1e-8  # by how much torch's softplus may jump and still be called continuous; by default it jumps by 2e-9
_GAP = 1e-3  # by how much a convolution's constant may be too large,
_WORK = 3e10  # unless that takes more than so many multiply-adds
_BLOCK = 1 << 22  # values at once,
_STEP = 1e8  # and multiply-adds: between steps Ctrl-C is heard


@dataclass(frozen=True)
class Layer:
    """One layer's certified constant."""

    name: str  # within the head, "" for the head itself
    kind: str
    constant: float
    rule: str  # how the constant was found, or why there is none


@dataclass(frozen=True)
class UpperBound:
    """A certified Lipschitz constant and the layers that it is the product of; ``float`` gives the number."""

    value: float
    layers: tuple[Layer, ...]

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        rows = [("layer", "kind", "constant", "rule")]
        rows += [(x.name or "–", x.kind, f"{x.constant:.6g}", x.rule) for x in self.layers]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        return "\n".join([*lines, f"product: {self.value:.6g}"])


# ---- from above ----------------------------------------------------------------------------------------------------


def upper(head: object) -> float:
    """A certified Lipschitz constant of a head: the product of its layers' constants.

    Parameters
    ----------
    head : torch.nn.Module, or array of shape (outputs, features)
        In evaluation mode if it has dropout or batch normalisation.

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
    return explain(head).value


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
    if not is_module(head):
        weights = weight_matrix(head)
        return _combined([Layer("", "matrix", *_spectral_norm_and_rule(weights))])
    check_module(head)
    return _combined(list(_layers(head, "")))


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
    if isinstance(norm, bool) or not isinstance(norm, Real):
        raise TypeError(f"norm must be a number, got {type(norm).__name__}")
    if not 0 <= norm < math.inf:
        raise ValueError(f"norm must be at least 0 and finite, got {norm}")
    if isinstance(kernel, Linear):
        return float(norm)
    if not isinstance(kernel, RBF | RationalQuadratic):
        raise ValueError(f"kernel must be Linear, RBF or RationalQuadratic; none is known for {kernel}")
    if kernel.bandwidth is None or math.isnan(kernel.bandwidth):
        raise ValueError(f"kernel {kernel} has no bandwidth yet; pass the one that the head was fitted with")
    return _above(Fraction(float(norm)) / Fraction(kernel.bandwidth), float(norm) / kernel.bandwidth)


def _combined(layers: list[Layer]) -> UpperBound:
    value = 1.0
    for layer in layers:
        if math.inf in (value, layer.constant):
            value = math.inf  # also before and after a layer of zeros: what is not known may be random
        elif layer.constant != 1.0:
            value = layer.constant if value == 1.0 else _product(value, layer.constant)
    return UpperBound(value, tuple(layers))


def _up(value: float, steps: int = 1) -> float:
    for _ in range(steps):
        value = math.nextafter(value, math.inf)
    return value


def _product(a: float, b: float) -> float:
    """ab rounded up; 0 only if one of them is, and not where it underflows."""
    return _up(a * b) if a and b else 0.0


def _above(exact: Fraction, near: float) -> float:
    """The least float that is not below an exact value, from one that is about as large."""
    while not math.isinf(near) and Fraction(near) < exact:
        near = _up(near)
    return near


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
        constant, rule = (math.inf, f"{undefined[0]} is NaN") if undefined else _RULES[known](module)
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
            found = cls.__name__ if cls.__name__ == "Sequential" or cls.__name__ in _RULES else None
        if found is not None:
            return None if overridden & set(dir(cls)) else found
        overridden |= {key for key in vars(cls) if (not key.startswith("__") or key == "__call__")} - _HARMLESS
    return None


# ---- weights -------------------------------------------------------------------------------------------------------


def _weights(tensor: Any, what: str) -> Array:
    """A parameter as float64 on the host."""
    if tensor.is_complex():
        raise TypeError(f"{what} has complex weights; constants are those of real maps")
    found = tensor.detach().to("cpu", sys.modules["torch"].float64).numpy()
    if not np.isfinite(found).all():
        raise ValueError(f"{what} has NaN or infinity among its weights")
    return np.asarray(found)


def _largest(tensor: Any, what: str) -> float:
    return 1.0 if tensor is None else float(np.abs(_weights(tensor, what)).max(initial=0.0))


def _spectral_norm(w: Array) -> float:
    """‖W‖₂, rounded up."""
    size = float(np.abs(w).max(initial=0.0))
    if size == 0:
        return 0.0
    scaled = np.ldexp(w, -math.frexp(size)[1])
    return _ldexp(singular.from_above(scaled), math.frexp(size)[1])


def _spectral_norm_and_rule(w: Array) -> Found:
    return _spectral_norm(w), f"spectral norm {'by SVD' if singular.small(w) else 'certified by Cholesky'}"


def _ldexp(value: float, exponent: int) -> float:
    """value·2^exponent, rounded up where the result is too small for all of its digits."""
    try:
        found = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    return _above(Fraction(value) * Fraction(2) ** exponent, found)


# ---- rules: of a module in evaluation mode, for inputs of any size -------------------------------------------------


def _plain(constant: float, rule: str) -> Callable[[Any], Found]:
    return lambda module: (constant, rule)


def _linear(m: Any) -> Found:
    return _spectral_norm_and_rule(_weights(m.weight, type(m).__name__))


def _convolution(m: Any) -> Found:
    w = _weights(m.weight, type(m).__name__)
    if m.transposed:  # the adjoint of the convolution with the same weights, of output channels by input channels too
        w = np.concatenate([np.swapaxes(part, 0, 1) for part in np.split(w, m.groups)])
    norm, rule = _frequency_norm(w, m.groups)
    factor, repeated = _padding_factor(m)
    if repeated == 1:
        return norm, rule
    return _product(norm, factor), f"{rule}; √{repeated} for {m.padding_mode} padding"


def _frequency_norm(w: Array, groups: int) -> tuple[float, str]:
    """sup over all frequencies ω of ‖Ŵ(ω)‖₂, Ŵ(ω) = Σ_t w[:, :, t] e^{−iω·t}, the largest of all groups.

    Along any line ω* + ts an entry u'Ŵv is, up to a phase, of exponential type Σ|s_j|(k_j − 1)/2 =: a, so if its
    modulus is largest at t = 0, it has at least cos(a) of that left at t = 1 (Duffin, Schaeffer 1938). Hence the centre
    of the cell with the supremum has at least that part of it, and a cell whose centre has less of the best value seen
    is out. On a whole grid the axes can be gone along one by one, and the part is the product of their cosines.
    """
    size = float(np.abs(w).max(initial=0.0))
    if size == 0:
        return 0.0, "all weights are 0"
    exponent = math.frexp(size)[1]
    taps = w.shape[2:]
    blocks = np.ldexp(w, -exponent).reshape(groups, w.shape[0] // groups, w.shape[1], -1)
    out, into = blocks.shape[1:3]
    up = 1 + 64 * _EPS * (out + into + math.prod(taps))
    # absolute row and column sums bound the norm too, exactly so for one channel of nonnegative weights
    sums = np.abs(blocks).sum(axis=3)
    simple = math.sqrt(float((sums.sum(axis=2).max(axis=1) * sums.sum(axis=1).max(axis=1)).max())) * up
    degrees = np.array(taps) - 1
    half = np.where(degrees > 0, np.pi / np.maximum(4 * degrees, 1), 0.0)  # half of a cell's width
    # weights are real: ω and −ω have the same norm, so half of the first axis will do
    axes = [
        np.arange((2 if i == 0 else 4) * d + (i == 0)) * 2 * h if d else np.zeros(1)
        for i, (d, h) in enumerate(zip(degrees, half, strict=True))
    ]
    cells = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    cost = groups * max(out, into) * min(out, into) ** 2
    best, spent, seen, whole = 0.0, 0, 0, True
    while True:
        norms = _norms_at(blocks, taps, cells)
        best = max(best, float(norms.max()))
        spent, seen = spent + cost * len(cells), seen + len(cells)
        part = math.cos(float(half @ degrees) / 2)
        between = math.prod(np.cos(half * degrees / 2).tolist()) if whole else part
        kept = norms >= best * part * (1 - 1e-9)
        cells, whole = cells[kept], whole and bool(kept.all())
        corners = np.array(list(product(*((-0.5, 0.5) if h else (0.0,) for h in half)))) * half
        if between > 1 - _GAP or spent + cost * len(cells) * len(corners) > _WORK:
            break
        cells = (cells[:, None] + corners).reshape(-1, len(taps))
        half = half / 2
    sampled = best / between * up
    if simple < sampled:
        return _ldexp(simple, exponent), "√(largest row sum × largest column sum) of absolute weights"
    return _ldexp(sampled, exponent), (
        f"largest spectral norm at {seen} frequencies, {1 / between - 1:.2%} for those between"
    )


def _norms_at(blocks: Array, taps: tuple[int, ...], omega: Array) -> Array:
    """(len(omega),) ‖Ŵ(ω)‖₂, the largest of all groups; blocks (groups, out, in, taps)."""
    groups, out, into = blocks.shape[:3]
    positions = np.stack([a.ravel() for a in np.meshgrid(*map(np.arange, taps), indexing="ij")])
    step = max(1, min(_BLOCK // (groups * out * into), int(_STEP / (groups * max(out, into) * min(out, into) ** 2))))
    found = []
    for start in range(0, len(omega), step):
        phases = np.exp(-1j * (omega[start : start + step] @ positions))
        values = np.moveaxis(blocks @ phases.T, -1, 0)  # (frequencies, groups, out, in)
        adjoint = np.conj(np.swapaxes(values, -1, -2))
        gram = values @ adjoint if out <= into else adjoint @ values
        top = gram[..., 0, 0].real if min(out, into) == 1 else np.linalg.eigvalsh(gram)[..., -1]
        found.append(np.sqrt(top.max(axis=1)))
    return np.concatenate(found)


def _padding_factor(m: Any) -> tuple[float, int]:
    """√(how often a value of the input can come in, or go out, more than once), and its square."""
    if m.padding_mode == "zeros":
        return 1.0, 1
    repeated = 1
    both = m._reversed_padding_repeated_twice  # what torch pads by, whatever `padding` says: of the last axis first
    for i, (k, d) in enumerate(zip(m.kernel_size, m.dilation, strict=True)):
        span = d * (k - 1)
        pads = both[-2 * i - 2], both[-2 * i - 1]
        # circular padding by no more than the kernel's span leaves a restriction of a circulant operator
        if not (m.padding_mode == "circular" and sum(pads) <= span):
            repeated *= _multiplicity(m.padding_mode, *pads)
    return _up(math.sqrt(repeated)) if repeated > 1 else 1.0, repeated


def _multiplicity(mode: str, left: int, right: int) -> int:
    """How often padding can show one value, for the input size where that is most."""
    left, right = max(left, 0), max(right, 0)
    return 1 + left + right if mode == "replicate" else 1 + (left > 0) + (right > 0)


def _padding_layer(mode: str) -> Callable[[Any], Found]:
    def rule(m: Any) -> Found:
        pads = list(m.padding)
        repeated = math.prod(_multiplicity(mode, a, b) for a, b in zip(pads[::2], pads[1::2], strict=True))
        return (_up(math.sqrt(repeated)) if repeated > 1 else 1.0), f"a value is shown {repeated} times at most"

    return rule


def _each(value: Any, dims: int) -> list[int]:
    return [value] * dims if isinstance(value, int) else list(value)


def _dims(m: Any) -> int:
    """1, 2 or 3: torch has it in the name of the layer."""
    nn = sys.modules["torch"].nn
    return next(int(cls.__name__[-2]) for cls in type(m).__mro__ if getattr(nn, cls.__name__, None) is cls)


def _overlap(k: int, stride: int, dilation: int = 1) -> int:
    """Windows that one value can be in."""
    return -(-k // (stride // math.gcd(stride, dilation)))


def _max_pool(m: Any) -> Found:
    if m.return_indices:
        return math.inf, "returns indices too"
    dims = _dims(m)
    stride = _each(m.kernel_size if m.stride is None else m.stride, dims)
    sizes = zip(_each(m.kernel_size, dims), stride, _each(m.dilation, dims), strict=True)
    overlap = math.prod(_overlap(*size) for size in sizes)
    return _root(overlap), f"√overlap: a value is in {overlap} windows at most"


def _average_pool(m: Any) -> Found:
    dims = _dims(m)
    k = _each(m.kernel_size, dims)
    stride = _each(m.kernel_size if m.stride is None else m.stride, dims)
    overlap = [_overlap(a, s) for a, s in zip(k, stride, strict=True)]
    whole = not m.ceil_mode and (m.count_include_pad or not any(_each(m.padding, dims)))
    divisor = getattr(m, "divisor_override", None)
    if divisor == 0:
        return math.inf, "divides by 0"
    if divisor is not None:
        rows, columns = Fraction(math.prod(k), abs(divisor)), Fraction(math.prod(overlap), abs(divisor))
    elif whole:
        rows, columns = Fraction(1), Fraction(math.prod(overlap), math.prod(k))
    else:  # windows at the edge may hold a single value
        rows, columns = Fraction(1), Fraction(math.prod(overlap))
    return _root(rows * columns), f"√(largest row sum {float(rows):.4g} × largest column sum {float(columns):.4g})"


def _adaptive_pool(m: Any) -> Found:
    sizes = _each(m.output_size, _dims(m))
    if getattr(m, "return_indices", False):
        return math.inf, "returns indices too"
    repeated = math.prod(size or 1 for size in sizes)
    return _root(repeated), f"√{repeated}: an input of one value comes out that often"


def _root(value: int | Fraction) -> float:
    """√value, rounded up where it is no float."""
    near = math.sqrt(value)
    while Fraction(near) ** 2 < value:
        near = _up(near)
    return near


def _unfold(m: Any) -> Found:
    sizes = zip(_each(m.kernel_size, 2), _each(m.stride, 2), _each(m.dilation, 2), strict=True)
    overlap = math.prod(_overlap(*size) for size in sizes)
    return _root(overlap), f"√overlap: a value is in {overlap} windows at most"


def _nearest_upsampling(m: Any) -> Found:
    factors = [m.scale_factor] if isinstance(m.scale_factor, float) else list(m.scale_factor or ())
    if m.mode != "nearest" or not factors or any(not float(f).is_integer() or f < 1 for f in factors):
        return math.inf, "no rule but for nearest neighbours with whole factors"
    if len(factors) == 1:
        return math.inf, "one factor for all axes, whose number is not known; give one for each, as (2, 2)"
    repeated = math.prod(int(f) for f in factors)
    return _root(repeated), f"√{repeated}: each value comes out that often"


def _batch_norm(m: Any) -> Found:
    if m.running_var is None or m.training:
        return math.inf, "takes statistics of the batch: a sample's output depends on the others"
    return _running_norm(m)


def _running_norm(m: Any) -> Found:
    kind, rule = type(m).__name__, "max |γ|/√(var + ε)"
    variance = _weights(m.running_var, kind) + m.eps
    if not (variance > 0).all():
        return math.inf, f"{rule}, of a variance + ε that is not positive"
    scale = np.ones(1) if m.weight is None else np.abs(_weights(m.weight, kind))
    with np.errstate(over="ignore"):
        found = float((scale / np.sqrt(variance)).max(initial=0.0))
    return (_up(found, 4) if scale.any() else 0.0), rule  # sum, root and quotient were each rounded


def _instance_norm(m: Any) -> Found:
    fixed = m.track_running_stats and m.running_var is not None and not m.training
    return _running_norm(m) if fixed else _layer_norm(m)


def _layer_norm(m: Any) -> Found:
    rule = "max |γ|/√ε, reached where the variance is 0; local constants are far smaller"
    # without an ε of its own, RMSNorm takes that of the input's dtype
    eps = _EPS if m.eps is None else m.eps
    if not eps > 0:
        return math.inf, rule
    scale = _largest(m.weight, type(m).__name__)
    return (_up(scale / math.sqrt(eps), 2) if scale else 0.0), rule


def _prelu(m: Any) -> Found:
    return max(1.0, _largest(m.weight, "PReLU")), "max(1, |slope|)"


def _rrelu(m: Any) -> Found:
    if m.training:
        return math.inf, "its slopes are random in training"
    return max(1.0, abs((m.lower + m.upper) / 2)), "max(1, |mean of lower and upper|)"


def _slope(attribute: str) -> Callable[[Any], Found]:
    return lambda m: (max(1.0, abs(float(getattr(m, attribute)))), f"max(1, |{attribute}|)")


def _celu(m: Any) -> Found:
    return (1.0, "largest slope") if 0 < m.alpha < math.inf else (math.inf, "not Lipschitz for alpha < 0 or infinite")


def _softplus(m: Any) -> Found:
    if m.threshold < 20:
        return math.inf, "torch's formula jumps at a threshold below 20"
    if not 0 < abs(m.beta) < math.inf:
        return math.inf, f"beta is {m.beta}"
    jump = math.exp(-m.threshold) / abs(m.beta)
    if jump > _JUMP:
        return math.inf, f"torch's formula jumps by {jump:.0e} at the threshold"
    return 1.0, f"largest slope, but for torch's jump of {jump:.0e} at the threshold"


def _hardtanh(m: Any) -> Found:
    return (1.0, "largest slope") if m.min_val <= m.max_val else (math.inf, "min_val is above max_val")


def _hardshrink(m: Any) -> Found:
    return (1.0, "the identity") if m.lambd <= 0 else (math.inf, "jumps at its threshold")


def _threshold(m: Any) -> Found:
    continuous = m.threshold == m.value
    return (1.0, "largest slope") if continuous else (math.inf, "jumps: its value is not its threshold")


_HARMLESS = {"extra_repr", "reset_parameters", "training", "_abc_impl", "_version"}
_REGISTERED: dict[type, Rule] = {}
_TABLE: list[tuple[str, Callable[[Any], Found]]] = [
    ("ReLU Tanh LogSigmoid Softsign Softshrink Tanhshrink", _plain(1.0, "largest slope")),
    ("ReLU6 Hardtanh", _hardtanh),
    ("Sigmoid", _plain(0.25, "largest slope")),
    ("Hardsigmoid", _plain(0.166667, "largest slope, rounded up")),
    ("Hardswish", _plain(1.5, "largest slope")),
    ("SiLU", _plain(1.09984, "largest slope, rounded up")),
    ("Mish", _plain(1.0885, "largest slope, rounded up")),
    ("GELU", lambda m: (1.12891 if m.approximate == "none" else 1.129, "largest slope, rounded up")),
    ("SELU", _plain(1.7580994, "largest slope, rounded up")),
    ("LeakyReLU", _slope("negative_slope")),
    ("RReLU", _rrelu),
    ("ELU", _slope("alpha")),
    ("CELU", _celu),
    ("PReLU", _prelu),
    ("Softplus", _softplus),
    ("Threshold", _threshold),
    ("Hardshrink", _hardshrink),
    ("Softmax Softmin Softmax2d", _plain(0.5, "largest norm of diag(p) − pp'")),
    ("LogSoftmax", _plain(math.inf, "√(number of classes), which the layer does not know")),
    ("GLU Bilinear", _plain(math.inf, "a product of its inputs has no Lipschitz constant")),
    ("Embedding EmbeddingBag", _plain(math.inf, "takes indices, which have no distance")),
    ("Identity Flatten Unflatten", _plain(1.0, "the same values")),
    ("PixelShuffle PixelUnshuffle ChannelShuffle", _plain(1.0, "a permutation")),
    (
        "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout",
        _plain(1.0, "the identity in evaluation"),
    ),
    ("Linear", _linear),
    ("Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d", _convolution),
    ("ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d", _plain(1.0, "adds constants")),
    ("ReflectionPad1d ReflectionPad2d ReflectionPad3d", _padding_layer("reflect")),
    ("ReplicationPad1d ReplicationPad2d ReplicationPad3d", _padding_layer("replicate")),
    ("CircularPad1d CircularPad2d CircularPad3d", _padding_layer("circular")),
    ("MaxPool1d MaxPool2d MaxPool3d", _max_pool),
    ("AvgPool1d AvgPool2d AvgPool3d", _average_pool),
    ("AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d", _adaptive_pool),
    ("AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d", _adaptive_pool),
    ("Unfold", _unfold),
    ("Upsample", _nearest_upsampling),
    ("BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm", _batch_norm),
    ("InstanceNorm1d InstanceNorm2d InstanceNorm3d", _instance_norm),
    ("LayerNorm GroupNorm RMSNorm", _layer_norm),
]
_RULES = {name: rule for names, rule in _TABLE for name in names.split()}


# ---- from below ----------------------------------------------------------------------------------------------------


def local(head: object, Z: object, *, tolerance: float = 1e-3, max_iterations: int = 200, seed: int = 0) -> float:
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
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 < tolerance < 1:
        raise ValueError(f"tolerance must be between 0 and 1, got {tolerance!r}")
    check_count(max_iterations, "max_iterations")
    check_seed(seed)
    z = samples(Z, "Z")
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


def effective(head: object, Z1: object, Z2: object) -> float:
    """The Lipschitz constant that a sample needs: ‖g(Z1) − g(Z2)‖ / ‖Z1 − Z2‖, Frobenius norms.

    Parameters
    ----------
    head : torch.nn.Module, or array of shape (outputs, features)
        As in `upper`; any module whose output is one tensor.
    Z1, Z2 : arrays of one shape (n, ...)
        Pairs of inputs, as S f1 and f2 of a stitched model.

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
    a, b = samples(Z1, "Z1"), samples(Z2, "Z2")
    if a.shape != b.shape:
        raise ValueError(f"Z1 has shape {a.shape} but Z2 has {b.shape}; row i of both must be a pair of inputs")
    if is_module(head):
        check_module(head)
        weights = None
    else:
        weights = weight_matrix(head)
        check_width(weights, a.shape, "Z1")
    moved, distance = [], []
    for start, stop in a.spans():
        x, y = a.block(start, stop), b.block(start, stop)
        if weights is None:
            first, second = like_weights(head, x), like_weights(head, y)
            moved.append(_norm(evaluated(head, first, "Z1") - evaluated(head, second, "Z2")))
            distance.append(_norm(on_host(first) - on_host(second)))
        else:
            moved.append(_norm((x - y) @ weights.T))
            distance.append(_norm(x - y))
    whole = _norm(np.array(distance))
    if not whole:
        return told(math.nan, "Z1 equals Z2: nothing moves", "effective")
    return _norm(np.array(moved)) / whole


def _norm(a: Array) -> float:
    size = float(np.abs(a).max(initial=0.0))
    return size * float(np.linalg.norm(a / size)) if size else 0.0
