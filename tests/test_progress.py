"""One bar for the whole call: what every public function with `progress=` promises about it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gramian as gm
from gramian import progress as bars
from gramian.progress import TOTAL, expect, one_bar, opened, phase, tell

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6))
Y = np.tanh(X @ RNG.standard_normal((6, 5)) + 0.3 * RNG.standard_normal((300, 5)))
Z = RNG.standard_normal((200, 6)) + 0.2
NEAR = gm.neighbors(X, 5), gm.neighbors(Y, 5)
LAYERS = {"a": X, "b": Y}, {"c": np.tanh(X), "d": Y[:, :3]}
FEATURES = RNG.standard_normal((60, 3, 8)), RNG.standard_normal((60, 2, 8))
W = RNG.standard_normal((1, 5))
CKA = gm.cka(X, Y, "rbf")
MAP = RNG.standard_normal((5, 6))


def head(F: Any) -> Any:
    return np.tanh(F).sum(axis=1)


def layer(seed: int = 0) -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    return torch.nn.Linear(6, 5)


# by the name of the function, or that and what it is asked for; each makes several phases where the function has them
CALLS: dict[str, Callable[[Any], Any]] = {
    "alignment": lambda p: gm.alignment(X, Y, "rbf", progress=p),
    "alignment by features": lambda p: gm.alignment(X, Y, progress=p),
    "alignment of kernels": lambda p: gm.alignment(X, Y, "rbf", measure="kernel_alignment", progress=p),
    "bipartite_matching": lambda p: gm.bipartite_matching(X, Y, progress=p),
    "canonical_correlations": lambda p: gm.canonical_correlations(X, Y, progress=p),
    "cca": lambda p: gm.cca(X, Y, progress=p),
    "cka": lambda p: gm.cka(X, Y, "rbf", progress=p),
    "cka by features": lambda p: gm.cka(X, Y, progress=p),
    "cka_matrix": lambda p: gm.cka_matrix([X, Y, X + 1], kernel="rbf", progress=p),
    "cknna": lambda p: gm.cknna(X, Y, kernel="rbf", progress=p),
    "coco": lambda p: gm.coco(X, Y, progress=p),
    "compare": lambda p: gm.compare(X, Y, progress=p),
    "cycle_knn": lambda p: gm.cycle_knn(X, Y, progress=p),
    "distance_alignment": lambda p: gm.distance_alignment(X, Y, normalize="hs_norm", progress=p),
    "distance_alignment of centred distances": lambda p: gm.distance_alignment(X, X[::-1], centered=True, progress=p),
    "edit_knn": lambda p: gm.edit_knn(X, Y, progress=p),
    "eigen_overlap": lambda p: gm.eigen_overlap(X[:90], Y[:90], "rbf", 3, progress=p),
    "excess_stitching_risk": lambda p: gm.excess_stitching_risk(MAP, head, X, Y, Y[:, :1], progress=p),
    "feature_moments": lambda p: gm.feature_moments(X, Y, progress=p),
    "fit_stitch": lambda p: gm.fit_stitch(X, Y, loo=True, folds=3, progress=p),
    "fit_stitch by kernel": lambda p: gm.fit_stitch(X[:60], Y[:60], kind="kernel_ridge", ridge=[0.1, 1.0], progress=p),
    "fit_stitch by landmarks": lambda p: gm.fit_stitch(X, Y, kind="kernel_ridge", ridge=0.1, rank=20, progress=p),
    "gram_moments": lambda p: gm.gram_moments(X, Y, kernel="rbf", progress=p),
    "hsic": lambda p: gm.hsic(X, Y, "rbf", progress=p),
    "independence_test": lambda p: gm.independence_test(X, Y, "rbf", progress=p),
    "independence_test by permutation": lambda p: gm.independence_test(
        X, Y, "rbf", method="permutation", permutations=70, progress=p
    ),
    "independence_test by pearson3": lambda p: gm.independence_test(
        X[:80], Y[:80], "rbf", method="pearson3", progress=p
    ),
    "independence_test by gretton": lambda p: gm.independence_test(X, Y, "rbf", method="gretton", progress=p),
    "kare": lambda p: gm.kare(X[:90], Y[:90], "rbf", [1e-2, 1e-1], progress=p),
    "kare by features": lambda p: gm.kare(X, Y, "linear", progress=p),
    "kernel_alignment": lambda p: gm.kernel_alignment(X, Y, "rbf", progress=p),
    "layer_search": lambda p: gm.layer_search(*LAYERS, progress=p),
    "lcs_knn": lambda p: gm.lcs_knn(X, Y, progress=p),
    "linear_regression_r2": lambda p: gm.linear_regression_r2(X, Y, progress=p),
    "lipschitz.effective": lambda p: gm.lipschitz.effective(W, X[:, :5], Y, progress=p),
    "lipschitz.local": lambda p: gm.lipschitz.local(layer(), X[:2], progress=p),
    "lipschitz.upper": lambda p: gm.lipschitz.upper(layer(), progress=p),
    "matrix of kernels": lambda p: gm.matrix([X, Y, X + 1], kernel="rbf", progress=p),
    "matrix of neighbours": lambda p: gm.matrix(*LAYERS, "mutual_knn", k=5, progress=p),
    "matrix by pairs": lambda p: gm.matrix([X, Y], measure="procrustes", progress=p),
    "median_bandwidth": lambda p: gm.median_bandwidth(X, progress=p),
    "misalignment": lambda p: gm.misalignment(X, Y, progress=p),
    "mmd2": lambda p: gm.mmd2(X, Z, progress=p),
    "mutual_knn": lambda p: gm.mutual_knn(X, Y, progress=p),
    "neighbor_overlap": lambda p: gm.neighbor_overlap(*NEAR, measure="edit_knn", progress=p),
    "neighbors": lambda p: gm.neighbors(X, 5, progress=p),
    "nocco": lambda p: gm.nocco(X, Y, ridge=0.1, progress=p),
    "null": lambda p: gm.null("cka", X, Y, kernel="rbf", permutations=70, progress=p),
    "null by features": lambda p: gm.null("cka", X, Y, permutations=7, progress=p),
    "null of a measure that shows its own": lambda p: gm.null("mutual_knn", X, Y, permutations=3, progress=p),
    "null of a function": lambda p: gm.null(lambda x, y: float(x[0, 0] + y[0, 0]), X, Y, permutations=3, progress=p),
    "null of rsa": lambda p: gm.null("rsa", X, Y, permutations=3, dissimilarity="euclidean", progress=p),
    "platonic_score": lambda p: gm.platonic_score(*FEATURES, progress=p),
    "platonic_score of cka": lambda p: gm.platonic_score(*FEATURES, metric="cka", progress=p),
    "platonic_score of cknna": lambda p: gm.platonic_score(*FEATURES, metric="cknna", progress=p),
    "platonic_score of svcca": lambda p: gm.platonic_score(*FEATURES, metric="svcca", progress=p),
    "procrustes": lambda p: gm.procrustes(X, Y, progress=p),
    "pwcca": lambda p: gm.pwcca(X, Y, progress=p),
    "relative_representation": lambda p: gm.relative_representation(X, X[:20], progress=p),
    "risk": lambda p: gm.risk(head, X, Y[:, 0], progress=p),
    "rsa": lambda p: gm.rsa(X, Y, progress=p),
    "rsa by ranks": lambda p: gm.rsa(X, Y, correlation="spearman", progress=p),
    "rsa by ranks on disk": lambda p: gm.rsa(X, Y, correlation="spearman", memory=1 << 18, progress=p),
    "rsa by bins": lambda p: gm.rsa(X, Y, correlation="spearman", bins=100, progress=p),
    "rsa within limits": lambda p: gm.rsa(X, Y, geotopological=(0.2, 0.8), progress=p),
    "rsa of distances": lambda p: gm.rsa(X, Y, dissimilarity="euclidean", progress=p),
    "rsa_estimate": lambda p: gm.rsa_estimate(X, Y, progress=p),
    "semi_matching": lambda p: gm.semi_matching(X, Y, progress=p),
    "shape_distance": lambda p: gm.shape_distance(X, Y, alpha=0.5, progress=p),
    "spectral_alignment": lambda p: gm.spectral_alignment(X[:90], Y[:90], "rbf", 3, progress=p),
    "spectrum": lambda p: gm.spectrum(X[:90], "rbf", 3, centered=True, progress=p),
    "spectrum by features": lambda p: gm.spectrum(X, "linear", 3, progress=p),
    "stitch_report": lambda p: gm.stitch_report(X, Y, Y[:, :1], None, W, progress=p),
    "stitching_risk": lambda p: gm.stitching_risk(MAP, head, X, Y[:, 0], progress=p),
    "svcca": lambda p: gm.svcca(X, Y, progress=p),
    "task_alignment": lambda p: gm.task_alignment(X[:90], Y[:90], "rbf", 3, progress=p),
    "train_stitch": lambda p: gm.train_stitch(layer(), X, Y, epochs=3, progress=p),
}
# what takes more than one pass over the rows, so that there is something to add up
SEVERAL = [
    *("alignment", "alignment by features", "alignment of kernels", "cka", "cka_matrix", "cknna", "compare"),
    *(
        "eigen_overlap",
        "fit_stitch",
        "fit_stitch by kernel",
        "independence_test by permutation",
        "kare",
        "layer_search",
    ),
    *("mutual_knn", "null", "platonic_score", "rsa by ranks", "spectral_alignment", "spectrum", "stitch_report"),
]


def shown(call: Callable[[Any], Any]) -> list[tuple[int, int, str]]:
    """(done, total, phase) of every time that a callback is called."""
    seen: list[tuple[int, int, str]] = []
    call(lambda done, total, phase: seen.append((done, total, phase)))
    return seen


def plain(found: Any) -> Any:
    """What two results are compared by, to the last bit."""
    if isinstance(found, np.ndarray):
        return found.dtype.str, found.shape, found.tobytes()
    if dataclasses.is_dataclass(found):
        return {f.name: plain(getattr(found, f.name)) for f in dataclasses.fields(found)}
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    return str(found) if found is None or isinstance(found, str | int | float) else type(found)


def public_functions() -> Iterator[tuple[str, Any]]:
    places = {"": gm, **{f"{name}.": getattr(gm, name) for name in ("bounds", "lipschitz")}}
    for prefix, place in places.items():
        for name in dir(place):
            found = getattr(place, name)
            if (
                inspect.isfunction(found)
                and not name.startswith("_")
                and (place is gm or found.__module__ == place.__name__)
            ):
                yield prefix + name, found


def takes_progress(function: Any) -> bool:
    return "progress" in inspect.signature(function).parameters


@pytest.fixture
def no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# ---- every function --------------------------------------------------------------------------------------------------


def test_every_function_with_progress_is_tried_here() -> None:
    functions = {name for name, function in public_functions() if takes_progress(function)}
    assert functions == {name.split(" ")[0] for name in CALLS}


def test_whatever_lasts_takes_progress() -> None:
    calls = importlib.import_module("test_interrupts").CALLS.values()
    lasting = {call.split("(")[0].removeprefix("gm.") for call in calls}
    functions = dict(public_functions())
    assert [name for name in sorted(lasting) if not takes_progress(functions[name])] == []


@pytest.mark.parametrize("name", CALLS)
def test_a_callback_sees_one_total_never_goes_back_and_ends_at_it_once(name: str) -> None:
    seen = shown(CALLS[name])
    done = [d for d, _, _ in seen]
    assert {total for _, total, _ in seen} == {TOTAL}
    assert done == sorted(done)
    assert done.count(TOTAL) == 1


@pytest.mark.parametrize("name", CALLS)
def test_phases_have_names(name: str) -> None:
    *before, last = shown(CALLS[name])
    assert before
    assert all(phase for _, _, phase in before)
    assert last == (TOTAL, TOTAL, "")


@pytest.mark.parametrize("name", SEVERAL)
def test_no_phase_of_several_has_the_whole_bar(name: str) -> None:
    seen = shown(CALLS[name])
    assert len({phase for _, _, phase in seen[:-1]}) > 1
    assert max(b[0] - a[0] for a, b in itertools.pairwise(seen)) < 0.9 * TOTAL


@pytest.mark.parametrize("name", CALLS)
def test_progress_changes_no_bit(name: str) -> None:
    assert plain(CALLS[name](lambda *_: None)) == plain(CALLS[name](None))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("at", [0.3, 1])
def test_an_exception_of_the_callback_comes_out(name: str, at: float) -> None:
    def refuse(done: int, total: int) -> None:
        if done >= at * total:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        CALLS[name](refuse)
    assert gm.cka(X, Y, "rbf") == CKA


@pytest.mark.parametrize("name", CALLS)
def test_true_opens_one_bar_and_closes_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm_auto, opened_bars = pytest.importorskip("tqdm.auto"), []

    class Counted(tqdm_auto.tqdm):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(file=io.StringIO(), **options)
            opened_bars.append(self)

    monkeypatch.setattr(tqdm_auto, "tqdm", Counted)
    CALLS[name](True)
    (bar,) = opened_bars
    assert (bar.n, bar.total, bar.disable) == (TOTAL, TOTAL, True)  # a bar that is closed is disabled


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_progress_is_one_error(name: str) -> None:
    with pytest.raises(
        TypeError, match=r"^progress must be True, a function of \(done, total\) or a tqdm bar, got int$"
    ):
        CALLS[name](3)


# ---- who is told -----------------------------------------------------------------------------------------------------


def test_false_and_none_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    gm.cka(X, Y, "rbf", progress=False)
    gm.cka(X, Y, "rbf", progress=None)
    assert capsys.readouterr() == ("", "")


def test_a_function_of_two_numbers_is_not_told_of_phases() -> None:
    seen: list[Any] = []
    gm.cka(X, Y, "rbf", progress=lambda *given: seen.append(given))
    assert {len(given) for given in seen} == {2}


def test_a_function_without_a_signature_may_be_told() -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(max)
    assert gm.cka(X, Y, "rbf", progress=max) == gm.cka(X, Y, "rbf")


@pytest.mark.parametrize(("wrong", "called"), [
    (lambda: None, "a lambda ()"),
    (lambda done: None, "a lambda (done)"),
    (lambda done, total, phase, more: None, "a lambda (done, total, phase, more)"),
])  # fmt: skip
def test_a_function_that_takes_other_arguments_is_one_error_before_the_work(
    wrong: Any, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gm._core, "sweep", None)  # whatever is begun fails
    with pytest.raises(TypeError) as raised:
        gm.cka(X, Y, "rbf", progress=wrong)
    assert str(raised.value).startswith(
        "progress must be True, a function of (done, total) or a tqdm bar; it is called"
    )
    assert f"but got {called}: " in str(raised.value)


def test_a_class_of_bars_opens_one_and_closes_it() -> None:
    tqdm, opened_bars = pytest.importorskip("tqdm"), []

    class Mine(tqdm.tqdm):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(file=io.StringIO(), **options)
            opened_bars.append(self)

    assert gm.cka(X, Y, "rbf", progress=Mine) == CKA
    (bar,) = opened_bars
    assert (bar.n, bar.total, bar.disable, bar.desc) == (TOTAL, TOTAL, True, "cka")


def test_another_class_is_no_progress() -> None:
    with pytest.raises(TypeError, match=r"^progress must be True, .*, got type$"):
        gm.cka(X, Y, "rbf", progress=int)


def test_a_bar_that_is_given_is_told_and_left_open() -> None:
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(desc="mine", total=7, file=io.StringIO()) as bar:
        for _ in range(2):  # it may serve one call after another
            gm.cka(X, Y, "rbf", progress=bar)
            assert (bar.n, bar.total, bar.desc.rstrip(": "), bar.disable) == (TOTAL, TOTAL, "mine", False)


def test_a_bar_shows_the_phase() -> None:
    tqdm, file = pytest.importorskip("tqdm"), io.StringIO()
    with tqdm.tqdm(file=file, mininterval=0, miniters=0) as bar:
        gm.compare(X, Y, progress=bar)
    assert "rbf: bandwidths 1/2" in file.getvalue()


def test_true_names_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    gm.cka(X, Y, "rbf", progress=True)
    assert "cka: 100%" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_true_closes_its_bar_when_the_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm.auto").tqdm
    with pytest.raises(ValueError, match="row i of both"):
        gm.cka(X, Z, "rbf", progress=True)
    assert not list(getattr(tqdm, "_instances", []))


@pytest.mark.usefixtures("no_tqdm")
def test_without_tqdm_true_draws_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    gm.cka(X, Y, "rbf", progress=True)
    drawn = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert drawn.startswith("\rcka:   0%|")
    assert drawn.rstrip(" \n").endswith(f"cka: 100%|{'#' * 30}|")


@pytest.mark.usefixtures("no_tqdm")
def test_without_tqdm_true_writes_nothing_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert gm.cka(X, Y, "rbf", progress=True) == gm.cka(X, Y, "rbf")
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("without", [False, True])
def test_a_command_shows_its_bar_after_a_second_and_takes_it_away(
    without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with bars.on_terminal("short") as p:
        tell(p, 1, 2)
    assert terminal.getvalue() == ""
    with bars.on_terminal("quiet", quiet=True) as p:
        assert p is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with bars.on_terminal("file") as p:
        assert p is None


# ---- phases ----------------------------------------------------------------------------------------------------------


def test_phases_share_the_bar_by_cost() -> None:
    seen: list[int] = []
    with opened(lambda done, total: seen.append(done), "call") as p:
        expect(p, 4)
        tell(phase(p, "first", 1), 1, 1)
        second = phase(p, "second", 3)
        expect(second, 2)
        tell(phase(second, "half"), 1, 1)
        tell(phase(second, "other half"), 1, 2)
    assert seen == [0, 250, 250, 250, 625, 625, 812, TOTAL]


def test_a_phase_that_was_not_needed_leaves_its_part_to_the_others() -> None:
    seen: list[int] = []
    with opened(lambda done, total: seen.append(done), "call") as p:
        expect(p, 3)
        phase(p, "over at once", 2)
        tell(phase(p, "last"), 1, 2)
    assert seen == [0, 0, 500, TOTAL]


def test_a_phase_that_nobody_expected_does_not_go_back() -> None:
    seen: list[int] = []
    with opened(lambda done, total: seen.append(done), "call") as p:
        tell(phase(p, "first"), 1, 1)
        tell(phase(p, "again"), 1, 2)
    assert seen == [0, TOTAL - 1, TOTAL - 1, TOTAL - 1, TOTAL]


def test_names_tell_the_way_down_and_the_count() -> None:
    seen: list[str] = []
    with opened(lambda done, total, phase: seen.append(phase), "call") as p:
        inner = phase(phase(p, "layer 1/2"), "epochs", counted=True)
        tell(inner, 2, 3)
    assert seen == ["layer 1/2", "layer 1/2: epochs", "layer 1/2: epochs 2/3", ""]


def test_a_public_function_inside_another_opens_no_bar() -> None:
    @one_bar
    def inner(*, progress: Any = None) -> Any:
        tell(phase(progress, "work"), 1, 2)
        return progress

    @one_bar
    def outer(*, progress: Any = None) -> Any:
        expect(progress, 2)
        return inner(progress=phase(progress, "first")), inner(progress=phase(progress, "second"))

    seen: list[tuple[int, str]] = []
    outer(progress=lambda done, total, phase: seen.append((done, phase)))
    assert seen == [
        *((0, "first"), (0, "first: work"), (250, "first: work")),
        *((250, "second"), (250, "second: work"), (625, "second: work"), (TOTAL, "")),
    ]
    assert outer() == (None, None)
