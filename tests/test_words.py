"""What people call things: names of kernels and choices, keywords of other libraries, and what editors complete."""

from __future__ import annotations

import inspect
import pickle
import traceback
from operator import attrgetter
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest

import gramian as gm
from gramian.kernels import KERNELS, KernelName, as_kernel
from gramian.rows.arrays import one_of
from gramian.words import COMMON_NAMES, public

MODULES = [name for name in gm.__all__ if isinstance(getattr(gm, name), ModuleType)]
CALLED = [name for name in gm.__all__ if inspect.isfunction(getattr(gm, name))] + [
    f"{module}.{name}"
    for module in ("bounds", "lipschitz")
    for name in getattr(gm, module).__all__
    if inspect.isfunction(getattr(getattr(gm, module), name))
]
MADE = [*(k.__name__ for k in KERNELS.values()), "GramOperator"]
X, Y = np.random.default_rng(0).standard_normal((2, 30, 3))


# ---- names of kernels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMON_NAMES)
def test_a_kernel_has_its_common_names(name: str) -> None:
    assert as_kernel(name) == KERNELS[COMMON_NAMES[name]]()


@pytest.mark.parametrize(("name", "kernel"), [
    ("Linear", gm.Linear()),
    ("GAUSSIAN", gm.RBF()),
    ("Squared Exponential", gm.RBF()),
    ("rational-quadratic", gm.RationalQuadratic()),
    ("RationalQuadratic", gm.RationalQuadratic()),
    ("arccosine", gm.ArcCosine()),
    ("Matern-1/2", gm.Exponential()),
    ("dot product", gm.Linear()),
])  # fmt: skip
def test_capitals_and_hyphens_do_not_matter(name: str, kernel: gm.kernels.Kernel) -> None:
    assert as_kernel(name) == kernel


def test_a_common_name_is_the_kernel_wherever_one_is_asked_for() -> None:
    moments = gm.gram_moments(X, Y, kernel=["gaussian", "poly"])
    assert [type(k) for k in moments.kernels] == [gm.RBF, gm.Polynomial]
    assert gm.cka(X, Y, "gaussian", kernel_y="dot") == gm.cka(X, Y, "rbf", kernel_y="linear")
    assert gm.mmd2(X, Y, "energy") == gm.mmd2(X, Y, "distance")


@pytest.mark.parametrize(("name", "meant"), [
    ("rfb", "'rbf'"),
    ("gausian", "'gaussian'"),
    ("exp", "'exponential'"),
    ("lineer", "'linear'"),
    ("laplace", "'laplacian', of ‖x − y‖₁, or 'exponential', of ‖x − y‖₂"),
    ("Euclidean", "'distance', the kernel made from ‖x − y‖₂"),
])  # fmt: skip
def test_a_wrong_name_of_a_kernel_is_answered_by_the_nearest_and_by_all(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match="is unknown") as raised:
        gm.cka(X, Y, name)  # type: ignore[arg-type]
    known = ", ".join(KERNELS)
    assert str(raised.value) == f"kernel {name!r} is unknown; did you mean {meant}? The known kernels are {known}"


def test_a_name_that_is_near_none_lists_the_known_kernels() -> None:
    with pytest.raises(ValueError, match=r"^kernel_y 'sigmoid' is unknown; the known kernels are linear, cosine, "):
        gm.cka(X, Y, kernel_y="sigmoid")  # type: ignore[arg-type]


def test_a_kernel_of_another_library_is_told_from_ours() -> None:
    class RBF:
        pass

    with pytest.raises(TypeError, match=r"^kernel must be a kernel or its name, got RBF of test_words; .* gm\.RBF\("):
        gm.cka(X, Y, RBF())  # type: ignore[arg-type]


def test_type_checkers_know_every_name_of_a_kernel() -> None:
    assert sorted(get_args(KernelName)) == sorted([*KERNELS, *COMMON_NAMES])


@pytest.mark.parametrize("name", [n for n in CALLED if "kernel" in inspect.signature(attrgetter(n)(gm)).parameters])
def test_editors_are_told_the_names_of_kernels(name: str) -> None:
    parameters = inspect.signature(attrgetter(name)(gm)).parameters
    for p in (parameters[k] for k in ("kernel", "kernel_y") if k in parameters):
        # a `str` in the union would take the literals away from completion
        assert str not in annotated(p.annotation)
        assert {"KernelName", "Kernel"} & annotated(p.annotation), name


def annotated(annotation: str) -> set[object]:
    words = set(annotation.replace("[", " ").replace("]", " ").replace("|", " ").split())
    return words | ({str} if "str" in words else set())


# ---- other fixed choices ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "meant"), [
    (lambda: gm.cka(X, Y, estimator="debiased"), "unbiased"),
    (lambda: gm.hsic(X, Y, estimator="Biased"), "biased"),
    (lambda: gm.cka(X, Y, precision="tf32"), "high"),
    (lambda: gm.rsa(X, Y, dissimilarity="l2"), "euclidean"),
    (lambda: gm.rsa(X, Y, dissimilarity="pearson"), "correlation"),
    (lambda: gm.rsa(X, Y, correlation="spearmanr"), "spearman"),
    (lambda: gm.mutual_knn(X, Y, metric="cityblock"), "manhattan"),
    (lambda: gm.mutual_knn(X, Y, metric="dot"), "inner_product"),
    (lambda: gm.independence_test(X, Y, method="permutations"), "permutation"),
    (lambda: gm.alignment(X, Y, measure="CKA"), "cka"),
    (lambda: gm.null("debiased_cka", X, Y), "cka"),
    (lambda: gm.null("mutual_nn", X, Y), "mutual_knn"),
    (lambda: gm.fit_stitch(X, Y, kind="low-rank"), "low_rank"),
    (lambda: gm.relative_representation(X, Y, space="cos"), "cosine"),
    (lambda: gm.distance_alignment(X, Y, normalize="frobenius"), "hs_norm"),
])  # fmt: skip
def test_a_wrong_choice_is_answered_by_what_was_meant(call: Any, meant: str) -> None:
    with pytest.raises(ValueError, match=rf", got '[\w-]+'; did you mean '{meant}'\?$"):
        call()


@pytest.mark.parametrize("choice", [3, None, np.array(["biased", "unbiased"]), ["biased"]])
def test_a_choice_that_is_no_word_is_refused(choice: Any) -> None:
    with pytest.raises(ValueError, match=r"^estimator must be one of 'biased', 'unbiased', got "):
        one_of(choice, ("biased", "unbiased"), "estimator")


# ---- keywords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "answer"), [
    (lambda: gm.cka(X, Y, sigma=2), "cka() has no argument 'sigma'; write kernel=gm.RBF(bandwidth=2)"),
    (lambda: gm.cka(X, Y, "rbf", bandwidth=0.5), "'bandwidth'; write kernel=gm.RBF(bandwidth=0.5)"),
    (lambda: gm.cka(X, Y, "Laplacian", length_scale=3.0), "; write kernel=gm.Laplacian(bandwidth=3.0)"),
    (lambda: gm.cka(X, Y, gm.RationalQuadratic(), sigma=1), "; write kernel=gm.RationalQuadratic(bandwidth=1)"),
    (lambda: gm.cka(X, Y, gamma=1.0), "; for the RBF kernel exp(-gamma d²) write kernel=gm.RBF(bandwidth=0.7071068)"),
    (lambda: gm.hsic(X, Y, kernel="laplacian", gamma=4),
     "; for the Laplacian kernel exp(-gamma ‖x − y‖₁) write kernel=gm.Laplacian(bandwidth=0.25)"),
    (lambda: gm.cka(X, Y, gamma=np.array(1.0)), "exp(-gamma d²) write kernel=gm.RBF(bandwidth=0.7071068)"),
    (lambda: gm.RationalQuadratic(bandwidth=1, sigma=np.array(2.0)), "; write bandwidth=2.0"),
    (lambda: gm.cka(X, Y, gamma=0), "; as the width of a kernel gamma must be positive and finite, got 0"),
    (lambda: gm.cka(X, Y, gamma=-1.0), "; as the width of a kernel gamma must be positive and finite, got -1.0"),
    (lambda: gm.cka(X, Y, sigma=np.array(-2.0)), "; as the width of a kernel sigma must be positive and finite, got"),
    (lambda: gm.RBF(gamma=0), "RBF() has no argument 'gamma'; as the width of a kernel gamma must be positive"),
    (lambda: gm.cka(X, Y, gamma="scale"), "; write kernel='rbf', whose bandwidth is the median distance"),
    (lambda: gm.cka(X, Y, "poly", gamma=0.1), "; write kernel=gm.Polynomial(scale=0.1)"),
    (lambda: gm.cka(X, Y, "poly", degree=3), "; write kernel=gm.Polynomial(degree=3)"),
    (lambda: gm.cka(X, Y, "arccos", order=0), "; write kernel=gm.ArcCosine(order=0)"),
    (lambda: gm.compare(X, Y, sigma=np.float32(1.5)), "; write kernel=gm.RBF(bandwidth=1.5)"),
    (lambda: gm.cka(X, Y, debiased=True), "cka() has no argument 'debiased'; write estimator='unbiased'"),
    (lambda: gm.cka(X, Y, unbiased=False), "; write estimator='biased'"),
    (lambda: gm.hsic(X, Y, biased=True), "; write estimator='biased'"),
    (lambda: gm.cka(X, Y, centered=False), "; it always centres; without that it is gm.kernel_alignment"),
    (lambda: gm.kernel_alignment(X, Y, center=True), "; it never centres; with that it is gm.cka"),
    (lambda: gm.spectrum(X, centred=True), "; write centered=True"),
    (lambda: gm.cka(X, Y, metric="cosine"), "; write kernel='cosine'"),
    (lambda: gm.rsa(X, Y, metric="cosine"), "; write dissimilarity='cosine'"),
    (lambda: gm.mutual_knn(X, Y, n_neighbors=5), "; write k=5"),
    (lambda: gm.mutual_knn(X, Y, topk=5), "; write k=5"),
    (lambda: gm.svcca(X, Y, n_components=4), "; write components=4"),
    (lambda: gm.spectrum(X, n_components=4), "; write k=4"),
    (lambda: gm.fit_stitch(X, Y, alpha=0.1), "; write ridge=0.1"),
    (lambda: gm.fit_stitch(X=X, Y=Y), "fit_stitch() has no argument 'X'; write F1=..."),
    (lambda: gm.independence_test(X, Y, n_permutations=99), "; write permutations=99"),
    (lambda: gm.independence_test(X, Y, random_state=7), "; write seed=7"),
    (lambda: gm.independence_test(X, Y, rng=np.random.default_rng(0)), "; write seed=..."),
    (lambda: gm.cka(X, Y, n_permutations=99), "; gm.null('cka', X, Y, permutations=99) shuffles rows"),
    (lambda: gm.cka(X, Y, seed=0), "; nothing in it is drawn at random"),
    (lambda: gm.cka(X, Y, n_jobs=4), "; write gm.set_num_threads(4) before"),
    (lambda: gm.cka(X, Y, device="cuda"), "; it computes where its arrays lie; move them there first"),
    (lambda: gm.cka(X, Y, batch_size=256), "; its tiles have sizes of their own; memory= limits the bytes"),
    (lambda: gm.train_stitch(len, X, Y, batch_size=256), "; write batch=256"),
    (lambda: gm.alignment(X, Y, alpha=0.05), "; write confidence=0.95"),
    (lambda: gm.alignment(X, Y, ci=90), "; write confidence=0.9"),
    (lambda: gm.cka(X, Y, verbose=1), "; write progress=True"),
    (lambda: gm.cka(X, y=Y), "; write Y=..."),
    (lambda: gm.cka(X, Y, Kernel="rbf"), "; write kernel='rbf'"),
    (lambda: gm.cka(X, Y, kernal="rbf"), "; did you mean 'kernel'?"),
    (lambda: gm.cka(X, Y, estimater="biased"), "; did you mean 'estimator'?"),
    (lambda: gm.info(verbose=True), "info() has no argument 'verbose'; it takes none"),
    (lambda: gm.mutual_knn(X, Y, kernelized=1), "; it takes X, Y, k, metric, memory, progress"),
    (lambda: gm.RBF(sigma=2), "RBF() has no argument 'sigma'; write bandwidth=2"),
    (lambda: gm.RBF(gamma=0.5), "RBF() has no argument 'gamma'; exp(-gamma d²) is bandwidth=1"),
    (lambda: gm.Laplacian(gamma=0.5), "exp(-gamma ‖x − y‖₁) is bandwidth=2"),
    (lambda: gm.RBF(gamma="auto"), "exp(-gamma d²) is bandwidth=None, the median distance, or a number"),
    (lambda: gm.Polynomial(coef0=0), "; write offset=0"),
    (lambda: gm.Polynomial(gamma=1), "; write scale=1"),
    (lambda: gm.Linear(bandwidth=1), "Linear() has no argument 'bandwidth'; it takes none"),
    (lambda: gm.GramOperator(X, "rbf", sigma=1), "GramOperator() has no argument 'sigma'; write kernel=gm.RBF("),
    (lambda: gm.bounds.ka_concentration(10, alpha=0.1), "; it takes n, delta"),
])  # fmt: skip
def test_a_wrong_keyword_is_answered_by_the_right_one(call: Any, answer: str) -> None:
    with pytest.raises(TypeError) as raised:
        call()
    assert answer in str(raised.value)


@pytest.mark.parametrize(("options", "answer"), [
    ({"n_permutations": 99}, "write permutations=99"),
    ({"random_state": 1}, "write seed=1"),
    ({"debiased": True}, "write estimator='unbiased'"),
    ({"sigma": 2}, "write kernel=gm.RBF(bandwidth=2)"),
    ({"permutation": 99}, "did you mean 'permutations'?"),
    ({"estimater": "biased"}, "did you mean 'estimator'?"),
    ({"progres": None}, "did you mean 'progress'?"),
])  # fmt: skip
def test_a_null_knows_the_keywords_of_its_measure_and_its_own(options: dict[str, Any], answer: str) -> None:
    with pytest.raises(TypeError) as raised:
        gm.null("cka", X, Y, **options)
    assert str(raised.value) == f"null() has no argument {next(iter(options))!r}; {answer}"


def test_a_null_hands_every_keyword_to_a_function_of_the_users_own() -> None:
    def own(x: Any, y: Any, *, random_state: int) -> float:
        return float((x[:, 0] @ y[:, 0]) * random_state)

    assert gm.null(own, X, Y, permutations=5, random_state=0).value == 0


def test_a_number_in_a_tensor_is_a_number() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"write kernel=gm\.RBF\(bandwidth=1\)$"):
        gm.cka(X, Y, gamma=torch.tensor(0.5))  # type: ignore[call-arg]


def test_a_gamma_is_the_bandwidth_that_the_answer_says() -> None:
    distance = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
    kernel = gm.RBF(bandwidth=0.7071068)  # the answer to gamma=1.0
    with_gamma = np.exp(-1.0 * distance**2)
    assert np.allclose(gm.GramOperator(X, kernel) @ np.eye(len(X)), with_gamma, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CALLED + MADE)
def test_everything_that_is_called_answers_a_wrong_keyword(name: str) -> None:
    last = name.split(".")[-1]
    function = attrgetter(name)(gm)
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()):
        assert hasattr(function, "__wrapped__")
        return
    with pytest.raises(TypeError, match=rf"^{last}\(\) has no argument 'wibble'; it takes "):
        function(wibble=1)


@pytest.mark.parametrize("name", CALLED)
def test_what_is_called_stays_a_plain_function(name: str) -> None:
    function = attrgetter(name)(gm)
    assert inspect.isfunction(function)
    assert pickle.loads(pickle.dumps(function)) is function
    assert inspect.signature(function) == inspect.signature(function.__wrapped__)
    assert function.__doc__ == function.__wrapped__.__doc__


def test_python_says_itself_what_is_missing_or_too_much() -> None:
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'Z'$"):
        gm.mmd2(X)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"takes from 1 to 3 positional arguments but 4"):
        gm.cka(X, Y, "rbf", "unbiased")  # type: ignore[call-arg, misc]


def test_a_type_error_from_within_is_left_as_it_is() -> None:
    @public
    def outer(callback: Any) -> None:
        callback(wibble=1)

    with pytest.raises(TypeError, match=r"\(\) got an unexpected keyword argument 'wibble'$"):
        outer(lambda: None)


def test_an_answer_comes_alone() -> None:
    try:
        gm.cka(X, Y, sigma=1)  # type: ignore[call-arg]
    except TypeError:
        told = traceback.format_exc()
    assert told.count("TypeError: ") == 1
    assert "sigma=1" in told


# ---- what a module lists ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_lists_its_public_names_alone(name: str) -> None:
    module = getattr(gm, name)
    assert dir(module) == sorted(module.__all__)
    assert not [member for member in dir(module) if isinstance(getattr(module, member), ModuleType)]


def test_the_package_lists_its_public_names_alone() -> None:
    assert sorted(dir(gm)) == sorted(gm.__all__)
