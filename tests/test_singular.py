"""The largest singular value of large matrices, against LAPACK's and against ones that are known."""

from __future__ import annotations

import numpy as np
import pytest

import gramian as gm
from gramian.theory import singular

EPS = np.finfo(np.float64).eps


def turned(values: np.ndarray, rows: int, seed: int = 0) -> np.ndarray:
    """(rows, n) with these singular values: reflections from both sides."""
    rng = np.random.default_rng(seed)
    a = np.zeros((rows, len(values)))
    np.fill_diagonal(a, values)
    for _ in range(3):
        u, v = rng.normal(size=rows), rng.normal(size=len(values))
        a -= 2 / (u @ u) * np.outer(u, u @ a)
        a -= 2 / (v @ v) * np.outer(a @ v, v)
    return a


N = 300
SPECTRA = {
    "all alike": np.ones(N),
    "two alike": np.r_[1, 1, np.full(N - 2, 0.5)],
    "two that differ by 1e-9": np.r_[1, 1 - 1e-9, np.full(N - 2, 0.5)],
    "one": np.r_[1, np.zeros(N - 1)],
    "graded": 2.0 ** -np.arange(N),
    "crowded at the top": 1 - np.linspace(0, 1e-3, N),
    "spread": np.linspace(1, 0, N),
}


@pytest.fixture
def without_svd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singular, "_BY_SVD", 0)
    monkeypatch.setattr(singular, "_COLUMNS", 64)
    monkeypatch.setattr(singular, "_ROWS", 100)


@pytest.mark.usefixtures("without_svd")
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("rows", [N, N + 77])
@pytest.mark.parametrize("name", SPECTRA)
def test_a_known_largest_singular_value_lies_between_the_bounds(name: str, rows: int, wide: bool) -> None:
    w = turned(SPECTRA[name], rows)
    w = w.T if wide else w
    # the reflections themselves round: some n units of the norm, in w
    own = N * EPS
    assert 1 - own <= singular.from_above(w) <= 1 + 2e-8
    assert 1 - 1e-7 <= singular.from_below(w) <= 1 + own


@pytest.mark.usefixtures("without_svd")
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_bounds_of_any_scale(scale: float) -> None:
    w = np.random.default_rng(0).normal(size=(200, 130)) * scale
    want = float(np.linalg.norm(w, 2))
    assert want * (1 - 100 * EPS) <= gm.lipschitz.upper(w) <= want * (1 + 1e-7)
    assert want * (1 - 1e-7) <= gm.lipschitz.local(w, np.ones((1, 130))) <= want * (1 + 100 * EPS)


@pytest.mark.usefixtures("without_svd")
@pytest.mark.parametrize("found", [0.0, 0.3, 0.999999])
def test_an_iteration_that_finds_too_little_does_not_lower_the_bound(
    found: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(singular, "_largest_eigenvalue", lambda g: found)
    assert singular.from_above(turned(SPECTRA["spread"], N)) >= 1 - N * EPS


@pytest.mark.usefixtures("without_svd")
def test_matrices_of_few_values_have_bounds_too() -> None:
    for w in (np.eye(150), np.ones((150, 90)), np.eye(150)[:, :1], np.diag([1.0, *[0.0] * 149])):
        want = float(np.linalg.norm(w, 2))
        assert want <= singular.from_above(w) <= want * (1 + 1e-7)


def test_the_routes_meet() -> None:
    w = np.random.default_rng(0).normal(size=(850, 840))  # too large for an SVD
    want = float(np.linalg.svd(w, compute_uv=False)[0])
    assert not singular.small(w)
    assert want <= gm.lipschitz.upper(w) <= want * (1 + 1e-7)
    assert gm.lipschitz.local(w, np.ones((1, 840))) == pytest.approx(want, rel=1e-12)
