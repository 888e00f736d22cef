"""Lipschitz constants: rules against the maps themselves, and upper ≥ local, effective on random networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian.theory import layer_rules

torch = pytest.importorskip("torch")
nn = torch.nn
lipschitz = gm.lipschitz
Array = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def seeded(seed: int, make: Any) -> Any:
    """A module with random weights, batch statistics too, in float64 and evaluation mode."""
    torch.manual_seed(seed)
    module = make().double().eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
                part.running_var.copy_(torch.from_numpy(rng.uniform(0.05, 3, part.running_var.shape)))
                part.weight.copy_(torch.from_numpy(rng.normal(size=part.weight.shape)))
    return module


def dense(module: Any, shape: tuple[int, ...]) -> Array:
    """The matrix of a linear map without its constant, column by column."""
    size = math.prod(shape)
    with torch.no_grad():
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
        return (module(basis) - module(torch.zeros(1, *shape, dtype=torch.float64))).flatten(1).numpy().T


# ---- linear layers -------------------------------------------------------------------------------------------------


def test_matrix_and_linear_layer_have_their_spectral_norm() -> None:
    w = normal(0, 5, 8)
    layer = nn.Linear(8, 5).double()
    layer.weight.data = torch.from_numpy(w)
    want = np.linalg.norm(w, 2)
    for head in (w, w.T, torch.from_numpy(w), layer):
        assert want <= lipschitz.upper(head) <= want * (1 + 1e-12)
    assert lipschitz.local(w, normal(1, 4, 8)) == pytest.approx(want, rel=1e-14)
    assert lipschitz.local(layer, normal(1, 4, 8), tolerance=1e-9) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_weights_of_any_size(scale: float) -> None:
    w, z = normal(0, 5, 8), normal(1, 6, 8)
    np.testing.assert_allclose(lipschitz.upper(w * scale), np.linalg.norm(w, 2) * scale, rtol=1e-12)
    want = np.linalg.norm(z @ w.T) / np.linalg.norm(z)
    np.testing.assert_allclose(lipschitz.effective(w * scale, z / scale, 0 * z), want * scale, rtol=1e-12)
    assert lipschitz.upper(np.zeros((3, 4))) == 0


CONVOLUTIONS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1d": (lambda: nn.Conv1d(3, 4, 5), (3, 14)),
    "1×1": (lambda: nn.Conv2d(4, 3, 1), (4, 3, 3)),
    "2d": (lambda: nn.Conv2d(2, 3, 3), (2, 9, 8)),
    "padded": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 7, 7)),
    "strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 8, 8)),
    "dilated": (lambda: nn.Conv2d(2, 2, (3, 2), dilation=2, padding="same"), (2, 7, 8)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (4, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1), (4, 6, 6)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
    "circular, too much": (lambda: nn.Conv1d(2, 3, 3, padding=4, padding_mode="circular"), (2, 4)),
    "reflected": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 3, 3)),
    "replicated": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), (2, 2, 2)),
    "replicated once": (lambda: nn.Conv1d(1, 1, 3, padding="same", padding_mode="replicate"), (1, 1)),
    "3d": (lambda: nn.Conv3d(2, 2, 2, padding=1), (2, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), (4, 4, 4)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 2, 4, stride=3, padding=1), (3, 6)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_convolution_is_below_its_constant(name: str, seed: int) -> None:
    make, shape = CONVOLUTIONS[name]
    layer = seeded(seed, make)
    assert np.linalg.norm(dense(layer, shape), 2) <= lipschitz.upper(layer)


@pytest.mark.parametrize("seed", range(120))
def test_random_convolution_is_below_its_constant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dims, groups = 1 + seed % 3, int(rng.integers(1, 3))
    into, out = (groups * rng.integers(1, 3, size=2)).tolist()
    options: dict[str, Any] = {"groups": groups}
    for name, least, most in (("kernel_size", 1, 3), ("stride", 1, 3), ("padding", 0, 2), ("dilation", 1, 2)):
        options[name] = rng.integers(least, most + 1, size=dims).tolist()
    if seed % 5 == 0:
        layer = seeded(seed, lambda: getattr(nn, f"ConvTranspose{dims}d")(into, out, **options))
    else:
        mode = ["zeros", "circular", "reflect", "replicate"][seed % 4]
        layer = seeded(seed, lambda: getattr(nn, f"Conv{dims}d")(into, out, padding_mode=mode, **options))
    if seed % 2:
        layer.weight.data.abs_()  # whose largest frequency is 0
    size = [max(6 - dims, d * (k - 1) + 1) for d, k in zip(options["dilation"], options["kernel_size"], strict=True)]
    assert np.linalg.norm(dense(layer, (into, *size)), 2) <= lipschitz.upper(layer)


@pytest.mark.parametrize(("k", "channels"), [(2, (1, 1)), (3, (2, 3)), (5, (4, 1)), (8, (3, 3))])
def test_large_signals_come_close_to_the_constant_of_a_convolution(k: int, channels: tuple[int, int]) -> None:
    """The norm on a large torus is that at the best of as many frequencies, by FFT."""
    layer = seeded(k, lambda: nn.Conv1d(*channels, k, bias=False))
    at = np.moveaxis(np.fft.fft(layer.weight.detach().numpy(), 100_000, axis=2), 2, 0)
    want = np.linalg.svd(at, compute_uv=False).max()
    assert want * (1 - 1e-9) <= lipschitz.upper(layer) <= want * 1.0011


def test_cells_without_the_largest_frequency_are_left_out_and_nothing_else() -> None:
    for seed in range(20):
        layer = seeded(seed, lambda: nn.Conv2d(2, 3, (3, 4), bias=False))
        values = np.fft.fft2(layer.weight.detach().numpy(), (256, 256))
        want = np.linalg.norm(values.transpose(2, 3, 0, 1), 2, axis=(2, 3)).max()
        assert want <= lipschitz.upper(layer) <= want * 1.002


def test_positive_kernel_of_one_channel_has_its_sum() -> None:
    layer = nn.Conv2d(1, 1, 3).double()
    layer.weight.data.fill_(1 / 9)
    assert lipschitz.upper(layer) == pytest.approx(1, rel=1e-12)
    layer.weight.data.zero_()
    assert lipschitz.upper(layer) == 0
    layer.weight.data.fill_(-1e200)
    assert lipschitz.upper(layer) == pytest.approx(9e200, rel=1e-12)


RESAMPLING: dict[str, tuple[Any, tuple[int, ...], bool]] = {  # layer, input, whether this input reaches the constant
    "average": (lambda: nn.AvgPool2d(2), (1, 6, 6), True),
    "average, overlapping": (lambda: nn.AvgPool2d(3, stride=1), (1, 7, 7), False),
    "average, padded": (lambda: nn.AvgPool2d(3, stride=2, padding=1), (1, 7, 7), False),
    "average, counted": (lambda: nn.AvgPool1d(3, stride=2, padding=1, count_include_pad=False), (1, 2), False),
    "average, ceiling": (lambda: nn.AvgPool1d(3, stride=3, ceil_mode=True), (1, 4), True),
    "average, divisor": (lambda: nn.AvgPool2d(2, divisor_override=1), (1, 4, 4), True),
    "global": (lambda: nn.AdaptiveAvgPool2d(1), (2, 1, 1), True),
    "adaptive, up": (lambda: nn.AdaptiveAvgPool2d((3, 2)), (1, 1, 1), True),
    "adaptive": (lambda: nn.AdaptiveAvgPool1d(3), (1, 7), False),
    "replication": (lambda: nn.ReplicationPad1d((2, 1)), (1, 1), True),
    "reflection": (lambda: nn.ReflectionPad2d((1, 1, 0, 1)), (1, 3, 3), False),
    "circular": (lambda: nn.CircularPad1d((2, 2)), (1, 2), True),
    "zeros": (lambda: nn.ZeroPad2d(2), (1, 3, 3), True),
    "cropping": (lambda: nn.ConstantPad1d(-1, 5.0), (1, 4), True),
    "unfolding": (lambda: nn.Unfold(3, padding=1), (1, 5, 5), True),
    "nearest": (lambda: nn.Upsample(scale_factor=(2, 3)), (1, 2, 2), True),
    "shuffle": (lambda: nn.PixelShuffle(2), (4, 3, 3), True),
}


@pytest.mark.parametrize("name", RESAMPLING)
def test_resampling_is_below_its_constant(name: str) -> None:
    make, shape, reached = RESAMPLING[name]
    layer = make()
    actual, constant = np.linalg.norm(dense(layer, shape), 2), lipschitz.upper(layer)
    assert actual <= constant * (1 + 1e-14)
    if reached:
        assert actual == pytest.approx(constant, rel=1e-12)


@pytest.mark.parametrize(
    "layer",
    [nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool1d(3, 1), nn.MaxPool1d(3, 2, dilation=2)],
)
def test_max_pooling_is_below_the_root_of_its_overlap(layer: Any) -> None:
    shape = (50, 2, 9) if isinstance(layer, nn.MaxPool1d) else (50, 2, 9, 9)
    a, b = normal(0, *shape), normal(1, *shape)
    single = np.zeros(shape)
    single[..., 4] = 1  # one value that wins all its windows
    constant = lipschitz.upper(layer)
    assert lipschitz.effective(layer, a, b) <= constant
    assert lipschitz.local(layer, a) <= constant * (1 + 1e-14)
    if isinstance(layer, nn.MaxPool1d):
        assert lipschitz.effective(layer, single, 0 * single) == pytest.approx(constant)


# ---- activations and normalisation ---------------------------------------------------------------------------------

SMOOTH = [
    nn.ReLU(), nn.ReLU6(), nn.Tanh(), nn.Hardtanh(-2, 3), nn.LogSigmoid(), nn.Softsign(), nn.Softshrink(0.3),
    nn.Tanhshrink(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Hardswish(), nn.SiLU(), nn.Mish(), nn.GELU(), nn.GELU("tanh"),
    nn.SELU(), nn.LeakyReLU(0.1), nn.LeakyReLU(-3.0), nn.RReLU(), nn.ELU(), nn.ELU(2.5), nn.CELU(0.3),
    nn.PReLU(init=-1.7), nn.Softplus(), nn.Softplus(3.0), nn.Threshold(0.5, 0.5), nn.Identity(),
]  # fmt: skip


@pytest.mark.parametrize("layer", SMOOTH, ids=repr)
def test_constant_of_an_activation_is_its_largest_slope(layer: Any) -> None:
    layer = layer.double().eval()
    x = torch.cat([torch.linspace(-60, 60, 1_200_001), torch.linspace(-1e-6, 1e-6, 101)]).double()[:, None]
    x.requires_grad_(True)
    (slope,) = torch.autograd.grad(layer(x).sum(), x)
    largest, constant = float(slope.abs().max()), lipschitz.upper(layer)
    assert largest <= constant * (1 + 1e-15)
    assert constant <= max(largest, float(isinstance(layer, nn.RReLU))) * 1.0001


def test_softmax_reaches_a_half_between_two_classes_of_many() -> None:
    for layer in (nn.Softmax(dim=1), nn.Softmin(dim=1)):
        constant = lipschitz.upper(layer)
        assert constant == 0.5
        assert lipschitz.local(layer, 5 * normal(0, 500, 4)) <= constant
        two_of_four = np.array([[0.0, 0, 60, 60] if isinstance(layer, nn.Softmin) else [60.0, 60, 0, 0]])
        assert lipschitz.local(layer, two_of_four, tolerance=1e-9) == pytest.approx(0.5, rel=1e-6)


def test_batch_normalisation_in_evaluation_is_a_diagonal_matrix() -> None:
    layer = seeded(0, lambda: nn.BatchNorm1d(4))
    assert lipschitz.upper(layer) == pytest.approx(np.linalg.norm(dense(layer, (4,)), 2), rel=1e-14)
    plain = nn.BatchNorm1d(4, affine=False, eps=0.25).double().eval()
    assert lipschitz.upper(plain) == pytest.approx(1 / math.sqrt(1.25), rel=1e-14)
    assert lipschitz.upper(nn.BatchNorm1d(4, track_running_stats=False).eval()) == math.inf


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.LayerNorm(6, eps=1e-4), (6,)),
        (nn.GroupNorm(2, 6, eps=1e-4), (6, 3)),
        (nn.InstanceNorm1d(2, eps=1e-4), (2, 5)),
        (nn.RMSNorm(6, eps=1e-4), (6,)),
    ],
)
def test_normalisation_reaches_its_constant_where_nothing_varies(layer: Any, shape: tuple[int, ...]) -> None:
    layer = layer.double().eval()
    constant = lipschitz.upper(layer)
    assert constant == pytest.approx(100, rel=1e-9)
    assert lipschitz.local(layer, normal(0, 50, *shape) * 0.01) <= constant
    assert lipschitz.local(layer, np.zeros((1, *shape)), tolerance=1e-9) == pytest.approx(constant, rel=1e-5)


# ---- certificates at extreme parameters ----------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
SLOPES = (0.0, 0.01, 0.3, 1.0, 7.0, -0.5, -3.0, 1e-300, -1e300, INF, NAN)


def assigned(layer: Any, **values: Any) -> Any:
    """Attributes as one sets them after construction, where nothing checks them."""
    for name, value in values.items():
        setattr(layer, name, value)
    return layer


def activations() -> Iterator[Any]:
    for slope in SLOPES:
        yield from (nn.LeakyReLU(slope), nn.ELU(slope), nn.PReLU(init=0.25))
        yield (
            assigned(nn.PReLU(), weight=nn.Parameter(torch.tensor([slope, 0.1], dtype=torch.float64)))
            if math.isfinite(slope)
            else nn.ReLU()
        )
        if slope:
            yield from (nn.CELU(slope), nn.Softplus(slope, 20.0), nn.Softplus(slope, 40.0))
        yield from (
            nn.Hardshrink(slope),
            nn.Threshold(slope, slope),
            nn.Threshold(slope, 0.0),
            nn.Threshold(0.3, slope),
        )
        yield nn.Softshrink(abs(slope))
        for other in SLOPES:
            if slope <= other < INF:
                yield assigned(nn.RReLU(), lower=slope, upper=other)
            if slope < other:
                yield nn.Hardtanh(slope, other)
    for beta in (1e-9, 1e-3, 1.0, -1.0, 1e6):
        yield from (nn.Softplus(beta, threshold) for threshold in (-INF, 0.0, 3.0, 19.0, 20.0, 50.0, 800.0, INF, NAN))
    yield from (nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.SELU(), nn.ReLU6())
    yield from (nn.Hardsigmoid(), nn.Hardswish(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.Identity())


def kinks(layer: Any) -> list[float]:
    """Where an activation may bend or jump."""
    values = [float(v) for k, v in vars(layer).items() if isinstance(v, int | float) and k != "training"]
    beta, threshold = getattr(layer, "beta", 1.0), getattr(layer, "threshold", 0.0)
    found = [0.0, 3.0, -3.0, 6.0, *values, *(-v for v in values), threshold / beta]
    return [v for v in found if abs(v) < 1e15]


def test_certificate_of_an_activation_holds_at_any_parameter() -> None:
    rng, tried = np.random.default_rng(0), 0
    for layer in activations():
        layer = layer.double().eval()
        x = np.concatenate([rng.normal(size=200) * s for s in (1e-6, 1.0, 30.0, 1e4)])
        around = np.array(
            [k * (1 + t) + t for k in kinks(layer) for t in (-1e-3, -1e-9, -1e-13, 0.0, 1e-13, 1e-9, 1e-3)]
        )
        x = np.sort(np.concatenate([x, around]))
        try:
            with torch.no_grad():
                f = layer(torch.from_numpy(np.repeat(x[:, None], 2, axis=1))).numpy()[:, 0]
        except (RuntimeError, ZeroDivisionError):  # torch refuses the parameter
            continue
        other = rng.permutation(len(x))
        constant = lipschitz.upper(layer)
        jump = 1e-8 if isinstance(layer, nn.Softplus) else 0.0  # which its rule tells
        for a, b, fa, fb in ((x[1:], x[:-1], f[1:], f[:-1]), (x, x[other], f, f[other])):
            with np.errstate(over="ignore", invalid="ignore"):
                slack = 8 * 2.0**-52 * (np.abs(fa) + np.abs(fb) + constant * (np.abs(a) + np.abs(b))) + jump
                moved = np.abs(fa - fb)
                held = (moved <= constant * np.abs(a - b) + slack) | ~np.isfinite(moved) | (constant == INF)
            assert held.all(), (layer, constant, a[~held][:3], b[~held][:3], fa[~held][:3], fb[~held][:3])
        tried += 1
    assert tried > 250


@pytest.mark.parametrize(
    ("layer", "constant"),
    [
        (nn.RReLU(-10, 0.1).eval(), 4.95),
        (nn.RReLU(-3, -1).eval(), 2.0),
        (nn.RReLU().eval(), 1.0),
        (nn.Softplus(beta=1e-9, threshold=20), INF),
        (nn.Softplus(beta=1e-9, threshold=60), 1.0),
        (nn.Softplus(beta=-2.0), 1.0),
        (nn.LeakyReLU(NAN), INF),
        (nn.LeakyReLU(torch.tensor(NAN)), INF),
        (nn.LeakyReLU(np.float32(NAN)), INF),
        (nn.CELU(INF), INF),
        (nn.AvgPool2d(2, divisor_override=-1), 2.0),
        (assigned(nn.AvgPool2d(2), divisor_override=0), INF),
        (nn.Upsample(scale_factor=(INF, 2.0)), INF),
        (nn.Upsample(scale_factor=(NAN, 2.0)), INF),
        (nn.BatchNorm1d(2, eps=0.0, affine=False).eval(), 1.0),
        (assigned(nn.BatchNorm1d(2, eps=0.0).eval(), running_var=torch.zeros(2)), INF),
        (assigned(nn.BatchNorm1d(2).eval(), running_var=-torch.ones(2)), INF),
        (assigned(nn.BatchNorm1d(2), track_running_stats=False), INF),
        (assigned(nn.InstanceNorm1d(2, eps=1e-4, track_running_stats=True).eval(), track_running_stats=False), 100.0),
        (nn.LayerNorm(3, eps=-1.0), INF),
        (nn.LayerNorm(3, eps=NAN), INF),
    ],
    ids=repr,
)
def test_constant_at_an_extreme_parameter(layer: Any, constant: float) -> None:
    assert lipschitz.upper(layer) == pytest.approx(constant, rel=1e-12)


def pooling(rng: np.random.Generator) -> tuple[Any, tuple[int, ...]]:
    dims = int(rng.integers(1, 4))
    k, stride, dilation = (rng.integers(1, 4, size=dims) for _ in range(3))
    padding = [int(rng.integers(0, a // 2 + 1)) for a in k]
    size = tuple((d * (a - 1) + 1 + rng.integers(3)).item() for a, d in zip(k, dilation, strict=True))
    options: dict[str, Any] = {"stride": stride.tolist(), "padding": padding, "ceil_mode": bool(rng.integers(2))}
    kind = rng.integers(3)
    if kind == 0:
        return getattr(nn, f"MaxPool{dims}d")(k.tolist(), dilation=dilation.tolist(), **options), size
    if kind == 1:
        if dims > 1:
            options["divisor_override"] = [None, 1, 3, -2][rng.integers(4)]
        return getattr(nn, f"AvgPool{dims}d")(k.tolist(), count_include_pad=bool(rng.integers(2)), **options), size
    out = [None if rng.integers(4) == 0 and dims > 1 else int(rng.integers(1, 6)) for _ in k]
    mean = "Avg" if rng.integers(2) else "Max"
    return getattr(nn, f"Adaptive{mean}Pool{dims}d")(out), size


def padding_layer(rng: np.random.Generator) -> tuple[Any, tuple[int, ...]]:
    dims = int(rng.integers(1, 4))
    mode = ["Reflection", "Replication", "Circular", "Zero"][rng.integers(4)]
    least = 0 if mode == "Reflection" else -1
    pads = rng.integers(least, 3, size=2 * dims).tolist()
    return getattr(nn, f"{mode}Pad{dims}d")(tuple(pads)), tuple(rng.integers(3, 5, size=dims).tolist())


def normalisation(rng: np.random.Generator) -> tuple[Any, tuple[int, ...]]:
    eps = [0.0, 1e-300, 1e-12, 1e-5, 0.1, 1e5][rng.integers(6)]
    kind = rng.integers(5)
    if kind == 0:
        layer = nn.BatchNorm1d(3, eps=eps, track_running_stats=eps == 0 or bool(rng.integers(4)))
        if layer.running_var is not None:
            layer.running_var.copy_(torch.from_numpy(rng.choice([0.0, 1e-30, 0.3, 1e30, -1e-6], 3)))
        shape: tuple[int, ...] = (3,)
    else:
        layer, shape = [
            (nn.LayerNorm(4, eps=eps), (4,)),
            (nn.GroupNorm(2, 4, eps=eps), (4, 3)),
            (nn.InstanceNorm1d(2, eps=eps, affine=True), (2, 5)),
            (nn.RMSNorm(4, eps=None if eps == 0.1 else eps), (4,)),
        ][kind - 1]
    if getattr(layer, "weight", None) is not None:
        layer.weight.data = torch.from_numpy(rng.choice([0.0, 1e-300, 0.2, -5.0, 1e200], layer.weight.shape))
    return layer, shape


def linear(rng: np.random.Generator) -> tuple[Any, tuple[int, ...]]:
    dtype = [torch.float64, torch.float32, torch.float16, torch.bfloat16][rng.integers(4)]
    scale = (
        [1.0, 1e-4, 1e4][rng.integers(3)] if dtype != torch.float64 else [1e-308, 1e-320, 1e300, 1.0][rng.integers(4)]
    )
    if rng.integers(2):
        layer, shape = nn.Linear(*rng.integers(1, 6, size=2).tolist()), None
        shape = (layer.in_features,)
    else:
        mode = ["zeros", "reflect", "replicate", "circular"][rng.integers(4)]
        layer = nn.Conv1d(2, 4, 3, padding=1, groups=2, dilation=int(rng.integers(1, 3)), padding_mode=mode)
        shape = (2, 6)
    layer.weight.data = torch.from_numpy(rng.normal(size=layer.weight.shape) * scale).to(dtype)
    layer.bias.data.zero_()
    return layer, shape


@pytest.mark.parametrize("make", [pooling, padding_layer, normalisation, linear])
def test_certificate_holds_for_random_layers_and_pairs_far_and_near(make: Any) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        layer, sample = make(rng)
        layer = layer.eval()
        shape = sample if make in (normalisation, linear) else (1, *sample)
        constant, wide = lipschitz.upper(layer), copy.deepcopy(layer).double()
        a = np.concatenate([rng.normal(size=(8, *shape)) * s for s in (1e-9, 1e-3, 1.0, 1e3)])
        single = np.zeros_like(a)
        single.reshape(len(a), -1)[np.arange(len(a)), rng.integers(0, math.prod(shape), len(a))] = rng.choice(
            [-1, 1], len(a)
        )
        for b in (np.roll(a, 1, axis=0), a + 1e-6 * rng.normal(size=a.shape), a + single, np.zeros_like(a)):
            with torch.no_grad():
                fa, fb = (wide(torch.from_numpy(z)).flatten(1).numpy() for z in (a, b))
            with np.errstate(over="ignore", invalid="ignore"):
                moved = np.linalg.norm(np.ldexp(fa - fb, -8), axis=1)
                slack = 64 * 2.0**-52 * (np.linalg.norm(fa, axis=1) + np.linalg.norm(fb, axis=1)) + 1e-322
                far = np.linalg.norm((a - b).reshape(len(a), -1), axis=1)
                held = (moved <= np.ldexp(constant * far + slack, -8)) | ~np.isfinite(moved) | (constant == INF)
            assert held.all(), (seed, layer, constant, moved[~held] * 256 / far[~held])


def test_complex_weights_are_refused() -> None:
    layer = nn.Linear(2, 2, dtype=torch.complex64)
    for head in (layer, nn.Sequential(nn.ReLU(), layer)):
        with pytest.raises(TypeError, match="Linear has complex weights; constants are those of real maps"):
            lipschitz.upper(head)


class Rotated(nn.Module):
    def forward(self, z: Any) -> Any:
        return z * 1j


def test_complex_outputs_are_refused_and_not_cut_to_their_real_parts() -> None:
    with pytest.raises(TypeError, match="must give real numbers, got complex128"):
        lipschitz.effective(Rotated(), np.eye(2), np.zeros((2, 2)))
    with pytest.raises(TypeError, match="head must return real numbers, got complex128"):
        lipschitz.local(Rotated(), np.eye(2))


def test_products_of_small_constants_do_not_become_zero() -> None:
    layer = nn.Linear(1, 1, bias=False).double()
    layer.weight.data.fill_(1e-200)
    assert lipschitz.upper(nn.Sequential(layer, layer)) > 0
    layer.weight.data.zero_()
    assert lipschitz.upper(nn.Sequential(layer, layer)) == 0


# ---- networks ------------------------------------------------------------------------------------------------------

ACTIVATIONS: list[Any] = [
    nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Mish, nn.ELU, nn.Softplus, nn.Hardswish, nn.LeakyReLU
]  # fmt: skip


class Residual(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, z: Any) -> Any:
        return z + self.body(z)


@pytest.fixture
def registry() -> Any:
    before = dict(lipschitz._REGISTERED)
    yield
    lipschitz._REGISTERED.clear()
    lipschitz._REGISTERED.update(before)


def random_network(seed: int) -> tuple[Any, tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    activation = ACTIVATIONS[seed % len(ACTIVATIONS)]
    width, c = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    kind = seed % 4

    def make() -> Any:
        if kind == 0:
            hidden = nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), activation(), nn.Dropout(0.3))
            return nn.Sequential(hidden, nn.Linear(width, 3), nn.Softmax(dim=1))
        if kind == 1:
            body = nn.Sequential(nn.Linear(5, width), activation(), nn.Linear(width, 5))
            return nn.Sequential(nn.Linear(5, 5), Residual(body))
        pool = nn.MaxPool2d(3, stride=2, padding=1) if kind == 2 else nn.AvgPool2d(2)
        first = nn.Conv2d(2, c, 3, padding=1, stride=1 + kind % 2, padding_mode=["zeros", "reflect"][seed % 8 // 4])
        return nn.Sequential(first, nn.BatchNorm2d(c), activation(), pool, nn.Flatten(), nn.LazyLinear(3))

    torch.manual_seed(seed)
    shape = (5,) if kind < 2 else (2, 6, 6)
    network = make().eval()
    with torch.no_grad():
        network(torch.zeros(1, *shape))
    weights = network.state_dict()
    fresh = seeded(seed, lambda: network)
    assert fresh.state_dict().keys() == weights.keys()
    return fresh, shape


@pytest.mark.parametrize("start", range(0, 240, 60))
def test_upper_is_above_local_and_effective_of_random_networks(start: int, registry: Any) -> None:
    lipschitz.register(Residual, lambda block: 1 + lipschitz.upper(block.body))
    for seed in range(start, start + 60):
        head, shape = random_network(seed)
        a, b = normal(seed, 8, *shape), normal(seed + 1, 8, *shape)
        upper, local = lipschitz.upper(head), lipschitz.local(head, a)
        assert 0 <= local <= upper * (1 + 1e-12)
        assert 0 <= lipschitz.effective(head, a, b) <= upper * (1 + 1e-12)
        near = lipschitz.effective(head, a[:1], a[:1] + 1e-6 * normal(seed, *shape))
        assert near <= upper * (1 + 1e-6)
        single = head.float()
        assert lipschitz.local(single, a) <= upper * (1 + 1e-5)
        assert lipschitz.effective(single, a, b) <= upper * (1 + 1e-5)
        assert lipschitz.upper(single) == pytest.approx(upper, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_local_is_the_largest_norm_of_the_jacobians(seed: int) -> None:
    head = seeded(seed, lambda: nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 5), nn.ReLU(inplace=True)))
    z = normal(seed, 12, 4)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda r: head(r[None])[0].clone()))(torch.from_numpy(z))
    want = float(torch.linalg.matrix_norm(jacobians, 2).max().detach())
    found = lipschitz.local(head, z, tolerance=1e-8, max_iterations=2000)
    assert found == pytest.approx(want, rel=1e-5)
    assert found <= want * (1 + 1e-13)
    assert lipschitz.local(head, z, max_iterations=1) <= want * (1 + 1e-13)
    assert lipschitz.local(head, z, seed=1) == lipschitz.local(head, z, seed=1)


def test_samples_are_left_as_they_were_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head = seeded(0, lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)))
    z, other = torch.from_numpy(normal(0, 30, 4)), normal(1, 30, 4)
    before = z.clone()
    whole = lipschitz.local(head, z, tolerance=1e-10), lipschitz.effective(head, z, other)
    assert torch.equal(z, before)
    monkeypatch.setattr(layer_rules, "_BLOCK", 28)
    parts = lipschitz.local(head, z, tolerance=1e-10), lipschitz.effective(head, z, other)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_effective_is_the_ratio_of_frobenius_norms() -> None:
    head = seeded(0, lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh()))
    a, b = normal(0, 20, 4), normal(1, 20, 4)
    with torch.no_grad():
        moved = (head(torch.from_numpy(a)) - head(torch.from_numpy(b))).numpy()
    assert lipschitz.effective(head, a, b) == pytest.approx(np.linalg.norm(moved) / np.linalg.norm(a - b), rel=1e-14)
    with pytest.warns(gm.UndefinedWarning, match="effective is nan: Z1 equals Z2: nothing moves"):
        assert math.isnan(lipschitz.effective(head, a, a))
    single = head.float()
    assert lipschitz.effective(single, a, b) == pytest.approx(lipschitz.effective(head.double(), a, b), rel=1e-5)


# ---- composition and the table -------------------------------------------------------------------------------------


def test_table_names_each_layer_and_multiplies_to_the_value() -> None:
    head = seeded(0, lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.GELU()), nn.Flatten(), nn.Linear(4, 2)))
    found = lipschitz.explain(head)
    assert [(x.name, x.kind) for x in found.layers] == [
        ("0.0", "Linear"), ("0.1", "GELU"), ("1", "Flatten"), ("2", "Linear")
    ]  # fmt: skip
    assert float(found) == found.value == lipschitz.upper(head)
    assert found.value == pytest.approx(math.prod(x.constant for x in found.layers), rel=1e-14)
    assert repr(found).splitlines()[2].split() == ["0.1", "GELU", "1.12891", "largest", "slope,", "rounded", "up"]


def test_layer_that_is_there_twice_counts_twice() -> None:
    layer = seeded(0, lambda: nn.Linear(4, 4))
    assert lipschitz.upper(nn.Sequential(layer, layer)) == pytest.approx(lipschitz.upper(layer) ** 2, rel=1e-14)


def test_empty_network_is_the_identity() -> None:
    assert lipschitz.upper(nn.Sequential()) == 1


class Doubled(nn.Linear):
    def forward(self, z: Any) -> Any:
        return 2 * super().forward(z)


class Documented(nn.Linear):
    def extra_repr(self) -> str:
        return "as any other"


class Inner(nn.Conv1d):
    def _conv_forward(self, *args: Any) -> Any:
        return 3 * super()._conv_forward(*args)


def hooked() -> Any:
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, args, out: 2 * out)
    return layer


def replaced() -> Any:
    layer = nn.Linear(3, 3)
    layer.forward = lambda z: 2 * z
    return layer


UNKNOWN: list[tuple[Any, str]] = [
    (Residual(nn.Linear(3, 3)), "not a known layer; register a rule for Residual if you have one"),
    (Doubled(3, 3), "not a known layer"),
    (Inner(1, 1, 3), "not a known layer"),
    (replaced(), "not a known layer"),
    (hooked(), "has forward hooks, which may change what passes; remove them first"),
    (nn.MultiheadAttention(4, 2), "dot-product attention has no Lipschitz constant"),
    (nn.TransformerEncoderLayer(4, 2), "dot-product attention has no Lipschitz constant"),
    (nn.LSTM(3, 3), "not a known layer"),
    (nn.Embedding(3, 3), "takes indices, which have no distance"),
    (nn.GLU(), "a product of its inputs has no Lipschitz constant"),
    (nn.Hardshrink(), "jumps at its threshold"),
    (nn.Threshold(1.0, 0.0), "jumps: its value is not its threshold"),
    (nn.Softplus(threshold=3), "torch's formula jumps at a threshold below 20"),
    (nn.LayerNorm(3, eps=0.0), "max |γ|/√ε"),
    (nn.CELU(-1.0), "not Lipschitz for alpha < 0"),
    (nn.LogSoftmax(dim=1), "√(number of classes)"),
    (nn.MaxPool1d(2, return_indices=True), "returns indices too"),
    (nn.Upsample(scale_factor=2), "give one for each, as (2, 2)"),
    (nn.Upsample(scale_factor=2, mode="bilinear"), "no rule but for nearest neighbours"),
]


@pytest.mark.parametrize(("layer", "reason"), UNKNOWN, ids=[type(layer).__name__ for layer, _ in UNKNOWN])
def test_what_is_not_known_is_infinite_and_says_why(layer: Any, reason: str) -> None:
    zero = nn.Linear(3, 3, bias=False)
    zero.weight.data.zero_()
    found = lipschitz.explain(nn.Sequential(zero, layer.eval(), zero))
    assert found.value == math.inf
    assert reason in found.layers[1].rule


def test_subclass_that_changes_no_map_keeps_its_rule() -> None:
    layer = Documented(3, 4)
    assert lipschitz.upper(layer) == lipschitz.upper(layer.weight.detach())
    spectral = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    assert lipschitz.upper(spectral) == lipschitz.upper(spectral.weight.detach())


def test_registered_rule_is_used_for_the_type_and_subclasses_that_change_nothing(registry: Any) -> None:
    class Same(Residual):
        pass

    class Other(Residual):
        def forward(self, z: Any) -> Any:
            return z * z

    lipschitz.register(Residual, lambda block: 1 + lipschitz.upper(block.body))
    body = seeded(0, lambda: nn.Linear(3, 3))
    found = lipschitz.explain(nn.Sequential(Same(body)))
    assert found.value == pytest.approx(1 + lipschitz.upper(body), rel=1e-14)
    assert found.layers[0].rule == "rule registered for Residual"
    assert lipschitz.upper(Other(body)) == math.inf
    lipschitz.register(nn.Linear, lambda layer: 7.0)
    assert lipschitz.upper(body) == 7
    lipschitz.register(nn.Linear, lambda layer: math.nan)
    with pytest.raises(ValueError, match="the rule registered for Linear must give a number from 0, got nan"):
        lipschitz.upper(body)


# ---- kernel heads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [gm.RBF(bandwidth=0.7), gm.RationalQuadratic(bandwidth=0.7, alpha=0.5), gm.Linear()])
def test_kernel_head_is_below_its_constant(kernel: Any) -> None:
    centres, alpha = normal(0, 6, 3), normal(1, 6)

    def gram(a: Array, b: Array) -> Array:
        d2 = ((a[:, None] - b[None]) ** 2).sum(2)
        if isinstance(kernel, gm.Linear):
            return a @ b.T
        if isinstance(kernel, gm.RBF):
            return np.exp(-d2 / (2 * kernel.bandwidth**2))
        return (1 + d2 / (2 * kernel.alpha * kernel.bandwidth**2)) ** -kernel.alpha

    bound = lipschitz.rkhs(math.sqrt(alpha @ gram(centres, centres) @ alpha), kernel)
    z = normal(2, 300, 3)
    for other in (normal(3, 300, 3), z + 1e-4 * normal(4, 300, 3)):
        slopes = np.abs((gram(z, centres) - gram(other, centres)) @ alpha) / np.linalg.norm(z - other, axis=1)
        assert slopes.max() <= bound * (1 + 1e-6)


# ---- what is refused -----------------------------------------------------------------------------------------------


def poisoned() -> Any:
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = math.nan
    return layer


class Root(nn.Module):
    def forward(self, z: Any) -> Any:
        return z.sqrt()


class Pair(nn.Module):
    def forward(self, z: Any) -> Any:
        return z, z


WRONG: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: lipschitz.upper(lambda z: z),
        TypeError,
        "head must be a torch.nn.Module or a matrix of shape (outputs, features): head must be an array, got function",
    ),
    (lambda: lipschitz.upper(np.array([[np.inf]])), ValueError, "head has infinity in row 0, column 0"),
    (lambda: lipschitz.upper(poisoned()), ValueError, "Linear has NaN or infinity among its weights"),
    (
        lambda: lipschitz.upper(nn.LazyLinear(3)),
        ValueError,
        "head has no values yet for weight; call it once, or load its weights",
    ),
    (lambda: lipschitz.upper(nn.Linear(2, 2, device="meta")), ValueError, "head has no values yet for weight"),
    (
        lambda: lipschitz.upper(nn.Sequential(nn.Linear(2, 2), nn.Dropout())),
        ValueError,
        "head must be in evaluation mode, for layer 1 (Dropout) acts otherwise in training; call head.eval() first",
    ),
    (lambda: lipschitz.local(nn.BatchNorm1d(2), np.eye(2)), ValueError, "for BatchNorm1d acts otherwise in training"),
    (lambda: lipschitz.effective(nn.RReLU(), np.eye(2), np.eye(2)), ValueError, "for RReLU acts otherwise in training"),
    (
        lambda: lipschitz.effective(np.eye(2), np.eye(2), np.eye(3)),
        ValueError,
        "Z1 has shape (2, 2) but Z2 has (3, 3); row i of both must be a pair of inputs",
    ),
    (
        lambda: lipschitz.effective(np.eye(2), np.eye(3), np.eye(3)),
        ValueError,
        "Z1 must have shape (n, 2) for a head of shape (2, 2), got (3, 3)",
    ),
    (lambda: lipschitz.local(np.eye(2), np.eye(3)), ValueError, "Z must have shape (n, 2) for a head of shape (2, 2)"),
    (lambda: lipschitz.local(nn.ReLU(), np.full((2, 1, 2, 2), np.nan)), ValueError, "Z has NaN in row 0, column 0"),
    (
        lambda: lipschitz.local(Root(), np.zeros((2, 2))),
        ValueError,
        "head has a derivative that is not finite at some row of Z",
    ),
    (
        lambda: lipschitz.effective(Root(), np.eye(2), -np.eye(2)),
        ValueError,
        "head gives NaN or infinity for some row of Z2",
    ),
    (lambda: lipschitz.local(Pair(), np.eye(2)), TypeError, "head must return one tensor, got tuple"),
    (lambda: lipschitz.effective(Pair(), np.eye(2), np.eye(2)), TypeError, "head must return one tensor, got tuple"),
    (
        lambda: lipschitz.local(nn.ReLU(), np.eye(2), tolerance=0),
        ValueError,
        "tolerance must be between 0 and 1, got 0",
    ),
    (
        lambda: lipschitz.local(nn.ReLU(), np.eye(2), max_iterations=0),
        ValueError,
        "max_iterations must be at least 1, got 0",
    ),
    (lambda: lipschitz.local(nn.ReLU(), np.eye(2), seed=-1), ValueError, "seed must be at least 0, got -1"),
    (
        lambda: lipschitz.register(nn.ReLU(), lambda m: 1.0),
        TypeError,
        "kind must be a subclass of torch.nn.Module, got ReLU",
    ),
    (
        lambda: lipschitz.register(nn.ReLU, 1.0),
        TypeError,
        "rule must be a function from a module to its constant, got float",
    ),
    (lambda: lipschitz.rkhs(-1.0, gm.Linear()), ValueError, "norm must be at least 0 and finite, got -1.0"),
    (lambda: lipschitz.rkhs("1", gm.Linear()), TypeError, "norm must be a number, got str"),
    (
        lambda: lipschitz.rkhs(1.0, gm.Exponential(bandwidth=1.0)),
        ValueError,
        "kernel must be Linear, RBF or RationalQuadratic; none is known for Exponential(bandwidth=1.0)",
    ),
    (
        lambda: lipschitz.rkhs(1.0, gm.RBF()),
        ValueError,
        "kernel RBF(bandwidth=None) has no bandwidth yet; pass the one that the head was fitted with",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=[text[:40] for _, _, text in WRONG])
def test_error_says_what_came_and_what_is_needed(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as found:
        call()
    assert text in str(found.value)
