"""Ctrl-C is heard within a second in everything that lasts: for how long the interpreter is away, at realistic sizes.

A timer asks for a signal handler twenty times a second; the longest time between two of them is how long Ctrl-C would
have waited. After ten seconds the call is interrupted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import gramian as gm

# what lasts for more than two seconds, and what makes its arguments
CALLS = {
    "alignment": "gm.alignment(x, y, 'rbf')",
    "bipartite_matching": "gm.bipartite_matching(x[:, :1000], y[:, :1000])",
    "cca": "gm.cca(x, y)",
    "cka": "gm.cka(x, y, 'laplacian')",
    "cka by features": "gm.cka(x, y)",
    "cka_matrix": "gm.cka_matrix([x, y, x + y], kernel='rbf')",
    "cknna": "gm.cknna(x, y)",
    "compare": "gm.compare(x, y)",
    "distance_alignment": "gm.distance_alignment(x, y)",
    "eigen_overlap": "gm.eigen_overlap(x, y, 'rbf', k=20)",
    "excess risk": "gm.lipschitz.effective(w, x, y)",
    "feature_moments": "gm.feature_moments(x, y)",
    "fit_stitch": "gm.fit_stitch(x, y)",
    "fit_stitch by kernel": "gm.fit_stitch(x[:8000], y[:8000], kind='kernel_ridge', ridge=1e-3)",
    "gram_moments": "gm.gram_moments(x, y, kernel='rbf')",
    "independence_test": "gm.independence_test(x, y, 'rbf', method='permutation')",
    "kare": "gm.kare(x[:8000], y[:8000, 0], 'rbf', ridge=1e-3)",
    "layer_search": "gm.layer_search({'a': x, 'b': y}, {'c': y, 'd': x})",
    "lipschitz.local": "gm.lipschitz.local(large, x[:2, :1] * np.ones(large.shape[1]))",
    "lipschitz.upper": "gm.lipschitz.upper(large)",
    "lipschitz.upper of a convolution": "gm.lipschitz.upper(torch.nn.Conv2d(256, 512, 3))",
    "linear_regression_r2": "gm.linear_regression_r2(x, y)",
    "matrix": "gm.matrix([x, y], measure='mutual_knn')",
    "misalignment": "gm.misalignment(x, y)",
    "mmd2": "gm.mmd2(x, y, 'rbf')",
    "mutual_knn": "gm.mutual_knn(x, y)",
    "neighbor_overlap": "gm.neighbor_overlap(gm.neighbors(x, k=10), gm.neighbors(y, k=10))",
    "null": "gm.null('cka', x[:4000], y[:4000], kernel='rbf')",
    "procrustes": "gm.procrustes(x, y)",
    "pwcca": "gm.pwcca(x, y)",
    "relative_representation": "gm.relative_representation(x, x[:3000])",
    "rsa": "gm.rsa(x, y, dissimilarity='euclidean')",
    "rsa by ranks": "gm.rsa(x[:6000], y[:6000], correlation='spearman')",
    "rsa by ranks on disk": "gm.rsa(x[:4000], y[:4000], correlation='spearman', memory=64 << 20)",
    "rsa by bins": "gm.rsa(x, y, correlation='spearman', bins=65536)",
    "semi_matching": "gm.semi_matching(x, y)",
    "shape_distance": "gm.shape_distance(x, y, alpha=0.5)",
    "spectral_alignment": "gm.spectral_alignment(x, y, 'rbf', k=20)",
    "spectrum": "gm.spectrum(x, 'rbf', k=50)",
    "stitch_report": "gm.stitch_report(x, y, y[:, :1], g2=w[:1])",
    "svcca": "gm.svcca(x, y)",
    "task_alignment": "gm.task_alignment(x, y[:, 0], 'rbf')",
    "train_stitch": "gm.train_stitch(torch.nn.Linear(768, 768), x, y)",
}
# of features: a factorisation by LAPACK is one piece, as their docstrings say
FACTORED = {
    *("bipartite_matching", "cca", "fit_stitch", "layer_search", "linear_regression_r2", "misalignment", "procrustes"),
    *("pwcca", "semi_matching", "shape_distance", "stitch_report", "svcca"),
}
ALIKE = {"canonical_correlations", "coco", "nocco"}  # the same work as some of these, and the same words
WIDEST = 2000  # columns of both sides together, in the calls above

TIMED = """
import json, signal, sys, time
import numpy as np, gramian as gm, torch
rng = np.random.default_rng(0)
x = rng.standard_normal((20_000, 768), dtype=np.float32)
y = x @ rng.standard_normal((768, 768), dtype=np.float32) / 28 + rng.standard_normal((20_000, 768), dtype=np.float32)
w, large = rng.standard_normal((10, 768)), rng.standard_normal((3000, 2400))
small, call = rng.normal(size=(50, 4)), eval("lambda: " + sys.argv[1])
want = gm.cka(small, small**2, "rbf")
begin = time.monotonic()
heard = [begin]

def hear(*_):
    heard.append(time.monotonic())
    if heard[-1] > begin + float(sys.argv[2]):
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, hear)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
try:
    call()
    ended = "finished"
except KeyboardInterrupt:
    ended = "interrupted"
signal.setitimer(signal.ITIMER_REAL, 0)
heard.append(time.monotonic())
same = gm.cka(small, small**2, "rbf") == want
one, square = 0.0, int(sys.argv[3])
if square:
    begin = time.monotonic()
    np.linalg.svd(rng.standard_normal((square, square)))
    one = time.monotonic() - begin
print(json.dumps([ended, max(np.diff(heard)), one, bool(same)]))
"""


def longest_silence(call: str, *, square: int = 0, seconds: float = 10) -> float:
    """The longest silence of a call, in seconds, less that of one factorisation of a square matrix."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED, call, str(seconds), str(square)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, silence, one, same = json.loads(done.stdout.splitlines()[-1])
    assert same, "the library is no longer what it was"
    return float(silence - one)


@pytest.mark.skipif(os.name != "posix", reason="takes signals of a timer")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "lipschitz.upper" else pytest.mark.long) for name in CALLS],
)
def test_ctrl_c_is_heard_within_a_second_all_along(name: str) -> None:
    pytest.importorskip("torch")
    # the best of two, since the machine may have other things to do
    square = WIDEST if name in FACTORED else 0
    assert min(longest_silence(CALLS[name], square=square) for _ in range(2)) < 1


def test_exactly_what_a_factorisation_keeps_waiting_says_so() -> None:
    said = {name for name in gm.__all__ if "Ctrl-C waits for the" in _notes(name)}
    as_another = {name for name in gm.__all__ if "what Ctrl-C waits for, as" in _notes(name)}
    assert said | as_another == FACTORED | ALIKE
    for name in said:
        assert "the factorisation in LAPACK that is running, which cannot be interrupted: O(" in _notes(name), name
    for name in as_another:
        assert any(f"what Ctrl-C waits for, as `{other}`" in _notes(name) for other in said | ALIKE), name


def _notes(name: str) -> str:
    """A docstring in one line."""
    return " ".join((getattr(gm, name).__doc__ or "").split())
