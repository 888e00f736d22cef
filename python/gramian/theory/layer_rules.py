"""Lipschitz constants of single layers: rules by the type of a module."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.theory import singular

Array: TypeAlias = npt.NDArray[np.float64]
Found: TypeAlias = tuple[float, str]

_EPS = float(np.finfo(np.float64).eps)
_JUMP = 1e-8  # by how much torch's softplus may jump and still be called continuous; by default it jumps by 2e-9
_GAP = 1e-3  # by how much a convolution's constant may be too large,
_WORK = 3e10  # unless that takes more than so many multiply-adds
_BLOCK = 1 << 22  # values at once,
_STEP = 1e8  # and multiply-adds: between steps Ctrl-C is heard


def _up(value: float, steps: int = 1) -> float:
    for _ in range(steps):
        value = math.nextafter(value, math.inf)
    return value


def product_above(a: float, b: float) -> float:
    """ab rounded up; 0 only if one of them is, and not where it underflows."""
    return _up(a * b) if a and b else 0.0


def rounded_above(exact: Fraction, near: float) -> float:
    """The least float that is not below an exact value, from one that is about as large."""
    while not math.isinf(near) and Fraction(near) < exact:
        near = _up(near)
    return near


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


def spectral_norm_and_rule(w: Array) -> Found:
    return _spectral_norm(w), f"spectral norm {'by SVD' if singular.small(w) else 'certified by Cholesky'}"


def _ldexp(value: float, exponent: int) -> float:
    """value·2^exponent, rounded up where the result is too small for all of its digits."""
    try:
        found = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    return rounded_above(Fraction(value) * Fraction(2) ** exponent, found)


def _plain(constant: float, rule: str) -> Callable[[Any], Found]:
    return lambda module: (constant, rule)


def _linear(m: Any) -> Found:
    return spectral_norm_and_rule(_weights(m.weight, type(m).__name__))


def _convolution(m: Any) -> Found:
    w = _weights(m.weight, type(m).__name__)
    if m.transposed:  # the adjoint of the convolution with the same weights, of output channels by input channels too
        w = np.concatenate([np.swapaxes(part, 0, 1) for part in np.split(w, m.groups)])
    norm, rule = _frequency_norm(w, m.groups)
    factor, repeated = _padding_factor(m)
    if repeated == 1:
        return norm, rule
    return product_above(norm, factor), f"{rule}; √{repeated} for {m.padding_mode} padding"


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


RULES = {name: rule for names, rule in _TABLE for name in names.split()}
