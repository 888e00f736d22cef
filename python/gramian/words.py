"""What people call things: near misses, other libraries' names, and the right spelling of a keyword argument.

Nothing here is on the way of a right call but `public`, which costs the passing on of arguments.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

# name of a kernel: what else it is called, where that means nothing else
COMMON_NAMES: dict[str, str] = {
    "dot": "linear",
    "dot_product": "linear",
    "inner_product": "linear",
    "cosine_similarity": "cosine",
    "poly": "polynomial",
    "RBF": "rbf",
    "gaussian": "rbf",
    "squared_exponential": "rbf",
    "se": "rbf",
    "ornstein_uhlenbeck": "exponential",
    "matern12": "exponential",
    "rq": "rational_quadratic",
    "arccos": "arc_cosine",
    "energy": "distance",
    "distance_covariance": "distance",
    "dcov": "distance",
}
# what is said of a kernel, and could be more than one or is none
_NO_KERNEL = {
    "laplace": "'laplacian', of ‖x − y‖₁, or 'exponential', of ‖x − y‖₂",
    "matern": "'exponential', of ν = 1/2, or 'rbf', of ν = ∞",
    "euclidean": "'distance', the kernel made from ‖x − y‖₂",
    "l2": "'distance', the kernel made from ‖x − y‖₂",
    "sqeuclidean": "'rbf', of ‖x − y‖², or 'linear', which is −‖x − y‖²/2 once centred",
    "manhattan": "'laplacian', of ‖x − y‖₁",
    "cityblock": "'laplacian', of ‖x − y‖₁",
    "l1": "'laplacian', of ‖x − y‖₁",
    "relu": "'arc_cosine', of order 1",
}
# for any argument of fixed choices: the choice, and what others call it; spelled without hyphens and spaces
_CHOICES = {
    "unbiased": "debiased u ustatistic",
    "biased": "v vstatistic",
    "euclidean": "l2 euclid",
    "sqeuclidean": "squaredeuclidean squared l2squared",
    "manhattan": "l1 cityblock taxicab",
    "l1": "manhattan cityblock taxicab",
    "linf": "max sup chebyshev",
    "cosine": "cos cosinesimilarity angular",
    "inner_product": "dot dotproduct linear",
    "correlation": "pearson pearsonr corr",
    "pearson": "pearsonr corr correlation",
    "spearman": "spearmanr rank ranks",
    "unit_diagonal": "cosine diagonal",
    "hs_norm": "hs frobenius",
    "greater": "larger upper right",
    "less": "smaller lower left",
    "permutation": "permutations permute shuffle perm",
    "pearson3": "pearson pearsoniii",
    "t": "ttest student",
    "squared": "mse l2 squarederror",
    "cross_entropy": "ce nll",
    "linear": "ols lstsq leastsquares ridge",
    "orthogonal": "rotation procrustes",
    "low_rank": "reducedrank rrr",
    "kernel_ridge": "krr kernel",
    "highest": "float32 fp32",
    "high": "tf32",
    "medium": "bf16 bfloat16",
    "cka": "dcka debiasedcka unbiasedcka linearcka",
    "kernel_alignment": "ka alignment",
    "distance_alignment": "da",
    "mutual_knn": "knn mknn",
    "linear_regression_r2": "r2 regression linreg",
    "rsa": "rdm rsm",
    "cca": "meancca",
}
# argument: what it is called elsewhere, where the value means the same
_ARGUMENTS = {
    "X": "x X1 x1 A data features F1 activations",
    "Y": "y X2 x2 B F2 other",
    "Z": "Y z y X2 x2",
    "Xs": "X layers layers1 models",
    "Ys": "Y layers2",
    "F1": "X F x features1",
    "F2": "Y y features2 target",
    "F": "X x features",
    "layers1": "Xs X",
    "layers2": "Ys Y",
    "kernel": "kernel_x kernel1 kernel_fn kernel_function metric similarity",
    "kernel_y": "kernel2",
    "measure": "metric method similarity score",
    "metric": "distance distance_metric dissimilarity measure similarity",
    "dissimilarity": "metric distance distance_metric dissimilarity_x rdm",
    "dissimilarity_y": "metric_y",
    "correlation": "method similarity comparator",
    "estimator": "method",
    "method": "test approximation",
    "kind": "method type mode",
    "space": "metric similarity",
    "k": "n_neighbors num_neighbors n_neighbours num_neighbours topk top_k n_components num_components components rank",
    "topk": "k top_k n_neighbors num_neighbors n_neighbours",
    "components": "n_components num_components k rank",
    "rank": "n_components num_components components k",
    "variance": "explained_variance threshold variance_threshold keep",
    "permutations": "n_permutations num_permutations n_perm n_perms nperm perms n_resamples reps shuffles n_shuffles",
    "shuffles": "n_shuffles num_shuffles permutations n_permutations num_permutations n_perm",
    "seed": "random_state random_seed rng generator",
    "groups": "strata group blocks clusters",
    "confidence": "confidence_level level ci",
    "ridge": "alpha lam lambda_ reg regularization regularisation l2 penalty",
    "centered": "center centred centre",
    "normalize": "normalise normalized",
    "standardize": "standardise zscore",
    "tolerance": "tol",
    "sweeps": "max_iter maxiter n_iter",
    "max_iterations": "max_iter maxiter n_iter",
    "max_pairs": "n_pairs num_pairs",
    "probes": "n_probes num_probes",
    "rcond": "tol tolerance",
    "folds": "cv n_folds n_splits",
    "split": "test_size train_size",
    "held_out": "validation_split val_fraction test_size",
    "epochs": "n_epochs num_epochs max_epochs",
    "batch": "batch_size",
    "lr": "learning_rate",
    "loss": "criterion loss_fn",
    "count": "n threads n_threads num_threads n_jobs",
    "memory": "max_memory memory_limit max_bytes",
    "progress": "verbose progress_bar show_progress tqdm pbar",
    "bandwidth": "sigma length_scale lengthscale width",
    "scale": "gamma",
    "offset": "coef0 c constant",
    "degree": "d power",
    "order": "degree n",
}
_WIDTHS = ("bandwidth", *_ARGUMENTS["bandwidth"].split())
_BIAS = {"unbiased": True, "debiased": True, "biased": False}  # keyword: whether True means "unbiased"
_THREADS = ("n_jobs", "n_threads", "num_threads", "threads", "workers", "num_workers")
# by class: what gamma is there, and the argument that it makes
_GAMMA: dict[str, tuple[str, Callable[[float], float]]] = {
    "RBF": ("exp(-gamma d²)", lambda gamma: 1 / math.sqrt(2 * gamma)),
    "Exponential": ("exp(-gamma d)", lambda gamma: 1 / gamma),
    "Laplacian": ("exp(-gamma ‖x − y‖₁)", lambda gamma: 1 / gamma),
}
_WITH_BANDWIDTH = {
    "rbf": "RBF",
    "exponential": "Exponential",
    "laplacian": "Laplacian",
    "rational_quadratic": "RationalQuadratic",
}
_SHOWN = 60  # letters of a value that a message repeats


# ---- names -----------------------------------------------------------------------------------------------------------


def squeezed(word: str) -> str:
    """Letters and digits alone, in lower case: what hyphens, underscores and capitals do not change."""
    return "".join(letter for letter in word.casefold() if letter.isalnum())


def did_you_mean(word: object, known: Collection[str]) -> str:
    """The end of a message, "; did you mean 'rbf'?", or nothing where nothing known is near."""
    found = nearest(word, known)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def nearest(word: object, known: Collection[str]) -> list[str]:
    """The known names that may have been meant; none, one, or a few that others call by that word."""
    if not isinstance(word, str):
        return []
    asked = squeezed(word[:_SHOWN])
    plain = {squeezed(name): name for name in reversed(list(known))}  # of two that are one squeezed, the first
    if asked in plain:
        return [plain[asked]]
    if called := [name for name in known if asked in _CHOICES.get(name, "").split()]:
        return called
    if begun := [n for n in plain if min(len(n), len(asked)) >= 3 and (n.startswith(asked) or asked.startswith(n))]:
        return [plain[min(begun, key=lambda name: abs(len(name) - len(asked)))]]
    from difflib import get_close_matches

    return [plain[name] for name in get_close_matches(asked, plain, n=1)]


def kernel_meant(name: str, known: Collection[str]) -> str:
    """What a message says of a kernel's name that is unknown: "; did you mean 'rbf'?" or nothing."""
    if hint := _NO_KERNEL.get(squeezed(name[:_SHOWN])):
        return f"; did you mean {hint}?"
    return did_you_mean(name, [*known, *COMMON_NAMES])


# ---- keyword arguments -----------------------------------------------------------------------------------------------


def public(function: F) -> F:
    """Mark what users call, a function or a class: a keyword that it lacks is answered by the right one.

    It stays what it is by name, signature, documentation and pickling; there is one frame more in a traceback.
    """
    if isinstance(function, type):
        type.__setattr__(function, "__init__", _answering(function.__init__, function.__name__))  # type: ignore[misc]
        return function
    return cast("F", _answering(function, function.__name__))


def _answering(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # read by pytest and IPython
        try:
            return function(*args, **options)
        except TypeError as error:
            if _entered(function, error) or not (answer := unknown_keyword(name, function, args, options)):
                raise
            raise TypeError(answer) from None

    return call


def _entered(function: Callable[..., Any], error: BaseException) -> bool:
    """Whether the error came out of the function, and not of the attempt to call it."""
    code, at = inspect.unwrap(function).__code__, error.__traceback__
    while at is not None and at.tb_frame.f_code is not code:
        at = at.tb_next
    return at is not None


def check_options(
    options: Mapping[str, Any], function: Callable[..., Any], by: Callable[..., Any] | None = None
) -> None:
    """Raise TypeError for an option that is none of a measure's, of which the two representations are none.

    `by` is who hands it on, whose own arguments may be given beside it.
    """
    own = [p.name for p in inspect.signature(by).parameters.values() if p.kind is not p.VAR_KEYWORD] if by else []
    measured = functools.partial(function, None, None)
    if answer := unknown_keyword((by or function).__name__, measured, (), options, *own):
        raise TypeError(answer)


def unknown_keyword(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any], *more: str
) -> str | None:
    """What to say of the first keyword that a function lacks; None if it has them all, or takes any.

    `more` are arguments that may be given beside its own.
    """
    parameters = inspect.signature(function).parameters
    options = {key: _scalar(value) for key, value in options.items()}
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    takes = list(dict.fromkeys([*more, *(p for p in parameters if p != "self")]))
    unknown = next((key for key in options if key not in takes), None)
    if unknown is None:
        return None
    return f"{name}() has no argument {unknown!r}; " + _advice(
        name, unknown, options[unknown], takes, _kernel_of(function, args, options)
    )


def _advice(name: str, word: str, value: object, takes: list[str], kernel: str | None) -> str:
    lower = word.casefold()
    if same := [p for p in takes if squeezed(p) == squeezed(word)]:
        return f"write {_written(same[0], value)}"
    if "estimator" in takes and lower in _BIAS:
        if not isinstance(value, bool):
            return "write estimator='unbiased' or estimator='biased'"
        return f"write estimator={'unbiased' if value == _BIAS[lower] else 'biased'!r}"
    if lower in ("gamma", *_WIDTHS) and ("kernel" in takes or name in _GAMMA) and _is_number(value):
        number = float(cast("float", value))
        if not (number > 0 and math.isfinite(number)):
            return f"as the width of a kernel {word} must be positive and finite, got {_shown(value)}"
    if name in _GAMMA and lower == "gamma":
        formula, bandwidth = _GAMMA[name]
        return f"{formula} is {_bandwidth(value, bandwidth)}"
    if "kernel" in takes and (advice := _kernel_advice(lower, value, kernel)):
        return advice
    if lower == "alpha" and "confidence" in takes:
        return "write confidence=" + (f"{1 - float(cast('float', value)):.7g}" if _is_number(value) else "1 - alpha")
    if called := [p for p in takes if word in _ARGUMENTS.get(p, "").split()]:
        return f"write {_written(called[0], value)}"
    if note := _note(name, lower, value, takes):
        return note
    if near := nearest(word, takes):
        return f"did you mean {near[0]!r}?"
    return f"it takes {', '.join(takes)}" if takes else "it takes none"


def _scalar(value: Any) -> Any:
    """The number in an array of no dimension, of any library; anything else as it is."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    return value.item()


def _kernel_advice(word: str, value: object, kernel: str | None) -> str | None:
    """A parameter of a kernel, which is not one of the function that takes the kernel."""
    of_width = _WITH_BANDWIDTH.get(kernel or "", "RBF")
    if word in _WIDTHS:
        if not _is_number(value):
            return f"write kernel={_named(of_width)!r}, whose bandwidth is the median distance, or kernel=gm.RBF(...)"
        return f"write kernel=gm.{of_width}({_written('bandwidth', value)})"
    if kernel == "polynomial" and word in ("gamma", "scale"):
        return f"write kernel=gm.Polynomial({_written('scale', value)})"
    if word == "gamma":
        of_gamma = of_width if of_width in _GAMMA else "RBF"
        formula, bandwidth = _GAMMA[of_gamma]
        if not _is_number(value):
            return f"write kernel={_named(of_gamma)!r}, whose bandwidth is the median distance"
        return f"for the {of_gamma} kernel {formula} write kernel=gm.{of_gamma}({_bandwidth(value, bandwidth)})"
    if word in ("degree", "coef0", "offset") and not (kernel == "arc_cosine" and word == "degree"):
        return f"write kernel=gm.Polynomial({_written('degree' if word == 'degree' else 'offset', value)})"
    if kernel == "arc_cosine" and word in ("degree", "order"):
        return f"write kernel=gm.ArcCosine({_written('order', value)})"
    if kernel == "rational_quadratic" and word == "alpha":
        return f"write kernel=gm.RationalQuadratic({_written('alpha', value)})"
    return None


def _note(name: str, word: str, value: object, takes: list[str]) -> str | None:
    """What there is in place of an argument that no function here needs, or not this one."""
    if word in _THREADS:
        return f"write gm.set_num_threads({_shown(value) or '...'}) before"
    if word == "device":
        return "it computes where its arrays lie; move them there first"
    if word == "dtype":
        return "it computes in the dtype of its arrays; convert them first"
    if word in ("batch_size", "chunk_size", "block_size", "tile_size") and "memory" in takes:
        return "its tiles have sizes of their own; memory= limits the bytes that it takes"
    if word == "seed" or word in _ARGUMENTS["seed"].split():
        return "nothing in it is drawn at random"
    if (word == "permutations" or word in _ARGUMENTS["permutations"].split()) and {"X", "Y"} <= set(takes):
        return f"gm.null({name!r}, X, Y, {_written('permutations', value)}) shuffles rows"
    if word == "centered" or word in _ARGUMENTS["centered"].split():
        if name in ("cka", "hsic"):
            return "it always centres; without that it is gm.kernel_alignment"
        if name == "kernel_alignment":
            return "it never centres; with that it is gm.cka"
    return None


def _kernel_of(function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> str | None:
    """The name of the kernel that was asked for, of X where there are two."""
    signature = inspect.signature(function)
    if "kernel" not in signature.parameters:
        return None
    try:
        given = signature.bind_partial(*args, **{k: v for k, v in options.items() if k in signature.parameters})
    except TypeError:  # too many, or one twice
        return None
    given.apply_defaults()
    kernel = given.arguments.get("kernel")
    name = kernel if isinstance(kernel, str) else getattr(kernel, "name", None)
    if not isinstance(name, str):
        return None
    names = {squeezed(n): n for n in _WITH_BANDWIDTH} | {squeezed(n): k for n, k in COMMON_NAMES.items()}
    return names.get(squeezed(name), name.casefold())


def _named(cls: str) -> str:
    return next(name for name, of in _WITH_BANDWIDTH.items() if of == cls)


def _bandwidth(gamma: object, of: Callable[[float], float]) -> str:
    if not _is_number(gamma):
        return "bandwidth=None, the median distance, or a number"
    number = float(cast("float", gamma))
    return f"bandwidth={of(number):.7g}" if number > 0 and math.isfinite(of(number)) else "bandwidth=..."


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _written(argument: str, value: object) -> str:
    """Argument and value as one writes them; values that mean something else there, or are long, are left open."""
    if argument == "progress":
        return "progress=True"
    if argument == "confidence" and _is_number(value) and cast("float", value) > 1:
        value = float(cast("float", value)) / 100
    elif value is None or (argument == "seed" and not isinstance(value, int)):
        return f"{argument}=..."
    return f"{argument}={_shown(value) or '...'}"


def _shown(value: object) -> str:
    """A plain value as one writes it; "" for arrays and whatever else would fill the screen."""
    if isinstance(value, Real) and hasattr(value, "item"):  # NumPy's numbers
        value = value.item()
    if isinstance(value, bool | int | float | str):
        return shown if len(shown := repr(value)) <= _SHOWN else ""
    return ""
