"""Kernel objects: values that say what k(x, y) is, and what they refuse to be. Their formulas are in test_accuracy."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

import gramian as gm
import oracle
from accuracy import hard_pair
from gramian.kernels import KERNELS, as_kernel, parameters

NAMES = list(KERNELS)
WITH_BANDWIDTH = [name for name, kernel in KERNELS.items() if "bandwidth" in {f.name for f in fields(kernel)}]
WITH_PARAMETERS = [name for name, kernel in KERNELS.items() if fields(kernel)]


@pytest.mark.parametrize("name", NAMES)
def test_kernels_are_values(name: str) -> None:
    kernel, same = KERNELS[name](), KERNELS[name]()
    assert kernel == same
    assert hash(kernel) == hash(same)
    assert copy.deepcopy(kernel) == kernel
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    assert eval(repr(kernel), vars(gm) | {type(kernel).__name__: type(kernel)}) == kernel


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_kernels_cannot_be_changed(name: str) -> None:
    kernel = KERNELS[name]()
    with pytest.raises(FrozenInstanceError):
        setattr(kernel, fields(kernel)[0].name, 1)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_of_different_kinds_differ(name: str) -> None:
    assert [other for other in NAMES if KERNELS[other]() == KERNELS[name]()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_string_is_the_default_kernel_of_that_name(name: str) -> None:
    X, Y = hard_pair(60, 5, 4)
    assert as_kernel(name) == KERNELS[name]()
    assert gm.cka(X, Y, name) == gm.cka(X, Y, KERNELS[name]())


def test_an_object_is_itself() -> None:
    kernel = gm.RBF(bandwidth=2.0)
    assert as_kernel(kernel) is kernel


@pytest.mark.parametrize(("kernel", "values"), [
    (gm.Linear(), {}),
    (gm.Polynomial(degree=3, scale=0.5), {"degree": 3.0, "scale": 0.5, "offset": 1.0}),
    (gm.RationalQuadratic(bandwidth=2.0), {"bandwidth": 2.0, "alpha": 1.0}),
])  # fmt: skip
def test_parameters_of_a_resolved_kernel(kernel: Any, values: dict[str, float]) -> None:
    assert parameters(kernel) == values


# ---- what is refused -------------------------------------------------------------------------------------------------

NOT_POSITIVE = [0, 0.0, -1.0, math.inf, -math.inf]


@pytest.mark.parametrize("value", NOT_POSITIVE)
@pytest.mark.parametrize("name", WITH_BANDWIDTH)
def test_bandwidth_is_positive_and_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"bandwidth must be positive and finite, got {value}"):
        replace(KERNELS[name](), bandwidth=value)


@pytest.mark.parametrize("value", [*NOT_POSITIVE, math.nan])
@pytest.mark.parametrize(("kernel", "parameter"), [(gm.RationalQuadratic, "alpha"), (gm.Polynomial, "scale")])
def test_alpha_and_scale_are_positive_and_finite(kernel: Any, parameter: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{parameter} must be positive and finite, got {value}"):
        kernel(**{parameter: value})


@pytest.mark.parametrize("value", [0, -1, 65, 1.5, True, math.inf, math.nan])
def test_degree_is_a_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match=f"degree must be a whole number from 1 to 64, got {value}"):
        gm.Polynomial(degree=value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_offset_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match=f"offset must be finite, got {value}"):
        gm.Polynomial(offset=value)


@pytest.mark.parametrize("value", [-1, 2, 0.5])
def test_order_is_0_or_1(value: Any) -> None:
    with pytest.raises(ValueError, match=f"order must be 0 or 1, got {value}"):
        gm.ArcCosine(order=value)


@pytest.mark.parametrize("parameter", ["kernel", "kernel_y"])
def test_unknown_name_lists_the_known_ones(parameter: str) -> None:
    X, Y = hard_pair(20, 5, 4)
    with pytest.raises(ValueError, match=f"{parameter} 'tanh' is unknown; the known kernels are {', '.join(NAMES)}"):
        gm.cka(X, Y, **{parameter: "tanh"})


def test_a_class_is_not_a_kernel() -> None:
    with pytest.raises(TypeError, match=r"kernel is the class RBF; write RBF\(\) for an object of it"):
        as_kernel(gm.RBF)  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", [None, 1, len, ("rbf",)])
def test_what_is_no_kernel_is_a_type_error(kernel: Any) -> None:
    with pytest.raises(TypeError, match="kernel must be a kernel or its name, got"):
        as_kernel(kernel)


# ---- parameters that come from the data ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_BANDWIDTH)
def test_open_bandwidth_is_the_median_distance_of_each_array(name: str) -> None:
    X, Y = hard_pair(80, 5, 7)
    norm = oracle.HAS_BANDWIDTH[name]
    found = gm.gram_moments(X, Y, kernel=name).kernels
    for kernel, Z in zip(found, (X, Y), strict=True):
        assert kernel.bandwidth == pytest.approx(oracle.median_bandwidth(Z, norm=norm), rel=1e-14)


def test_open_scale_is_one_over_the_number_of_features() -> None:
    X, Y = hard_pair(80, 5, 7)
    assert [k.scale for k in gm.gram_moments(X, Y, kernel="polynomial").kernels] == [1 / 5, 1 / 7]


def test_given_parameters_are_kept() -> None:
    X, Y = hard_pair(80, 5, 7)
    kernels = (gm.RationalQuadratic(bandwidth=2.0, alpha=0.5), gm.Polynomial(degree=3, scale=2.0, offset=0.0))
    assert gm.gram_moments(X, Y, kernel=kernels).kernels == kernels


def test_mmd_takes_the_bandwidth_of_both_samples_together() -> None:
    X, Z = hard_pair(80, 5, 5)
    pooled = oracle.median_bandwidth(np.vstack([X, Z]))
    assert gm.mmd2(X, Z, "rbf") == pytest.approx(gm.mmd2(X, Z, gm.RBF(pooled)), rel=1e-12)


def test_kernel_y_is_the_kernel_of_y() -> None:
    X, Y = hard_pair(80, 5, 7)
    K, L = oracle.gram("rbf", X, bandwidth=2.0), oracle.gram("linear", Y)
    got = gm.hsic(X, Y, gm.RBF(2.0), kernel_y="linear")
    assert got == pytest.approx(float(oracle.hsic(K, L, "unbiased")), rel=1e-11)


@pytest.mark.parametrize("value", [1, np.float32(2), np.float64(2), np.int64(3)])
def test_parameters_may_be_any_number(value: Any) -> None:
    X, Y = hard_pair(40, 5, 7)
    assert gm.cka(X, Y, gm.RBF(bandwidth=value)) == gm.cka(X, Y, gm.RBF(bandwidth=float(value)))


@pytest.mark.parametrize("value", ["2", [2.0], None])
def test_parameter_that_is_no_number_is_refused_when_the_kernel_is_made(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        gm.RationalQuadratic(alpha=value)
