"""One of every public object, small, by its name: what has to be looked at, saved, copied and pickled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import gramian as gm
from gramian.stitching.layers import Match

_RNG = np.random.default_rng(0)
X = _RNG.standard_normal((60, 5))
Y = np.tanh(X @ _RNG.standard_normal((5, 4))) + 0.1 * _RNG.standard_normal((60, 4))
W = _RNG.standard_normal((2, 4))
LABELS = Y @ W.T + 0.1 * _RNG.standard_normal((60, 2))
CONSTANT = np.ones((60, 3))
LAYERS = {"a": X, "b": Y, "c": CONSTANT}


def _curve() -> gm.LearningCurve:
    return gm.task_alignment(X, Y, "rbf", 4).learning_curve([1, 10, 100], noise=0.1)


def _head() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))


RESULTS: dict[str, Callable[[], Any]] = {
    "Comparison": lambda: gm.compare(X, Y, shuffles=1),
    "Comparison of a constant": lambda: gm.compare(X, CONSTANT, shuffles=1),
    "ComparisonRow": lambda: gm.compare(X, Y, "rbf", shuffles=1)["cka"],
    "Estimate": lambda: gm.alignment(X, Y, "rbf"),
    "Estimate of a constant": lambda: gm.alignment(X, CONSTANT, "rbf"),
    "TestResult": lambda: gm.independence_test(X, Y, method="permutation", permutations=9, seed=3),
    "Null": lambda: gm.null("cka", X, Y, permutations=19),
    "AlignmentMatrix": lambda: gm.cka_matrix(LAYERS),
    "Overlap": lambda: gm.neighbor_overlap(gm.neighbors(X, 5), gm.neighbors(Y, 5)),
    "RSAEstimate": lambda: gm.rsa_estimate(X, Y, geotopological=(0.1, 0.9)),
    "CanonicalCorrelations": lambda: gm.canonical_correlations(X, Y),
    "UnitMatching": lambda: gm.bipartite_matching(X, Y),
    "PlatonicScore": lambda: gm.platonic_score([X, Y[:, [0, 1, 2, 3, 0]]], [X], quantile=None, topk=3),
    "Spectrum": lambda: gm.spectrum(X, "rbf", 4),
    "EigenOverlap": lambda: gm.eigen_overlap(X, Y, "rbf", 4),
    "SpectralAlignment": lambda: gm.spectral_alignment(X, Y, "rbf", 4),
    "Kare": lambda: gm.kare(X, Y, "rbf", [0.01, 0.1]),
    "TaskAlignment": lambda: gm.task_alignment(X, Y, "rbf", 4),
    "LearningCurve": _curve,
    "LayerSearch": lambda: gm.layer_search(LAYERS, {"b": Y, "x": X}, heads2={"b": W}, Y=LABELS),
    "Match": lambda: gm.layer_search({"a": X}, {"b": Y}).best()[0],
    "StitchReport": lambda: gm.stitch_report(X, Y, LABELS, None, W),
    "ReportedBound": lambda: gm.stitch_report(X, Y, LABELS, None, W)["stitching", "upper"],
    "Stitch": lambda: gm.fit_stitch(X, Y, kind="affine", ridge="gcv"),
    "Interval": lambda: gm.bounds.misalignment_from_ka(0.5, [1.0, 0.5], [2.0, 0.1]),
    "CertifiedInterval": lambda: gm.bounds.ka_interval(gm.gram_moments(X, Y, kernel=gm.RBF(2.0)), 0.05),
    "UpperBound": lambda: gm.lipschitz.explain(W),
    "Layer": lambda: gm.lipschitz.explain(W).layers[0],
}
STITCHES: dict[str, Callable[[], gm.Stitch]] = {
    "linear": lambda: gm.fit_stitch(X, Y),
    "affine": lambda: gm.fit_stitch(X, Y, kind="affine"),
    "orthogonal": lambda: gm.fit_stitch(X[:, :4], Y, kind="orthogonal"),
    "scaled_orthogonal": lambda: gm.fit_stitch(X[:, :4], Y, kind="scaled_orthogonal"),
    "low_rank": lambda: gm.fit_stitch(X, Y, kind="low_rank", rank=2),
    "kernel_ridge": lambda: gm.fit_stitch(X, Y, kind="kernel_ridge", ridge=0.1),
    "kernel_ridge of float32": lambda: gm.fit_stitch(X.astype("f"), Y.astype("f"), kind="kernel_ridge", ridge=0.1),
    "kernel_ridge of landmarks": lambda: gm.fit_stitch(X, Y, kind="kernel_ridge", ridge=0.1, rank=10),
}
KERNELS = {
    "Linear": gm.Linear(),
    "Cosine": gm.Cosine(),
    "Polynomial": gm.Polynomial(3, offset=0.5),
    "RBF": gm.RBF(0.1),
    "Exponential": gm.Exponential(),
    "Laplacian": gm.Laplacian(2.0),
    "RationalQuadratic": gm.RationalQuadratic(1.0, 2.0),
    "ArcCosine": gm.ArcCosine(0),
    "Distance": gm.Distance(),
}
# every name is a public type but these, which are parts of results
PARTS = {"Match": Match, "Interval": gm.bounds.Interval, "CertifiedInterval": gm.bounds.CertifiedInterval}
PARTS |= {"UpperBound": gm.lipschitz.UpperBound, "Layer": gm.lipschitz.Layer}


@cache
def result(name: str) -> Any:
    return RESULTS[name]()


@cache
def stitch(name: str) -> gm.Stitch:
    return STITCHES[name]()


def same(a: Any, b: Any) -> bool:
    """Whether two objects have the same type and the same bits, nan with nan."""
    from dataclasses import fields, is_dataclass

    from gramian.rows.arrays import Matrix

    if isinstance(a, float):
        return isinstance(b, float) and np.float64(a).tobytes() == np.float64(b).tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, Matrix):
        return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return bool(a == b)
