"""Feature files and scores of the Platonic Representation Hypothesis, against its formulas on n×n matrices."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

import gramian as gm
from gramian import platonic

TOPK = 7
RESULTS = ("mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cknna", "cka", "unbiased_cka", "svcca")


def feats(n=60, layers=3, d=12, seed=0, outliers=True):
    """Layers that share a core, with heavy tails and a mean."""
    rng = np.random.default_rng(seed)
    core = np.random.default_rng(77).normal(size=(n, 1, 4)) @ rng.normal(size=(1, 4, d))
    found = core + rng.normal(size=(n, layers, d)) * np.arange(1, layers + 1)[:, None] + 0.3
    if outliers:
        found[rng.random(found.shape) < 0.02] *= 50
    return found.astype(np.float32)


# ---- the published formulas, in float64 ------------------------------------------------------------------------------


def clamped(F, q=0.95, exact=True):
    size = np.abs(F.astype(np.float32)).astype(np.float64)
    if exact:
        limit = np.sort(size.reshape(-1))[int(q * size.size)]
    else:
        limit = np.quantile(size.reshape(len(F), -1), q, axis=1).mean()
    return np.clip(F.astype(np.float64), -limit, limit)


def unit(Z):
    return Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-12)


def nearest(Z, k):
    K = Z @ Z.T
    np.fill_diagonal(K, -1e8)
    return np.argsort(-K, axis=1, kind="stable")[:, :k]


def masked(Z, k):
    M = np.zeros((len(Z), len(Z)))
    M[np.arange(len(Z))[:, None], nearest(Z, k)] = 1
    return M


def hsic_unbiased(K, L):
    m = len(K)
    K, L = (A - np.diag(np.diag(A)) for A in (K, L))
    return ((K * L.T).sum() + K.sum() * L.sum() / ((m - 1) * (m - 2)) - 2 * (K @ L).sum() / (m - 2)) / (m * (m - 3))


def hsic_biased(K, L):
    H = np.eye(len(K)) - 1 / len(K)
    return np.trace(K @ H @ L @ H)


def ratio(kl, kk, ll):
    """Without the 1e-6 that the published code adds to the denominator."""
    return kl / np.sqrt(kk * ll)


def longest(x, y):
    table = np.zeros((len(x) + 1, len(y) + 1))
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return table[-1, -1]


def edits(x, y):
    table = np.add.outer(np.arange(len(x) + 1.0), np.arange(len(y) + 1.0))
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            table[i + 1, j + 1] = min(table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (a != b))
    return table[-1, -1]


def cka(A, B, hsic=hsic_biased):
    K, L = A @ A.T, B @ B.T
    return ratio(hsic(K, L), hsic(K, K), hsic(L, L))


def cknna(A, B, k):
    def similarity(K, L, M):
        return hsic_unbiased(M * K, M * L)

    K, L, M, N = A @ A.T, B @ B.T, masked(A, k), masked(B, k)
    return ratio(similarity(K, L, M * N), similarity(K, K, M), similarity(L, L, N))


def svcca(A, B, components=10):
    bases = []
    for Z in (A, B):
        Z = Z - Z.mean(0)
        bases.append(np.linalg.svd(Z / Z.std(0, ddof=1), full_matrices=False)[0][:, :components])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()


THEIRS = {
    "mutual_knn": lambda A, B, k: (masked(A, k) * masked(B, k)).sum() / k / len(A),
    "cycle_knn": lambda A, B, k: np.mean([i in nearest(A, k)[row] for i, row in enumerate(nearest(B, k))]),
    "lcs_knn": lambda A, B, k: np.mean([longest(*rows) for rows in zip(nearest(A, k), nearest(B, k), strict=True)]),
    "edit_distance_knn": lambda A, B, k: (
        1 - np.mean([edits(*rows) for rows in zip(nearest(A, k), nearest(B, k), strict=True)]) / k
    ),
    "cknna": cknna,
    "cka": lambda A, B, k: cka(A, B),
    "unbiased_cka": lambda A, B, k: cka(A, B, hsic_unbiased),
    "svcca": lambda A, B, k: svcca(A, B),
}


def theirs(metric, F, G, normalize=True):
    prepare = unit if normalize else np.asarray
    return np.array(
        [
            [THEIRS[metric](prepare(F[:, i]), prepare(G[:, j]), TOPK) for j in range(G.shape[1])]
            for i in range(F.shape[1])
        ]
    )


# ---- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("metric", RESULTS)
def test_scores_are_those_of_the_published_formulas(metric, normalize, exact):
    F, G = feats(d=30), feats(layers=2, d=15, seed=1)
    want = theirs(metric, clamped(F, exact=exact), clamped(G, exact=exact), normalize)
    found = gm.platonic_score(F, G, metric=metric, topk=TOPK, normalize=normalize, exact=exact)
    np.testing.assert_allclose(found.values, want, atol=2e-5)
    assert found.score == found.values.max()
    assert found.indices == np.unravel_index(np.argmax(want), want.shape)
    assert found.layers == tuple(f"layer{i}" for i in found.indices)
    assert (found.metric, found.n, found.topk) == (metric, 60, TOPK if "knn" in metric else None)


def test_what_the_published_code_adds_to_the_denominator_shows_in_the_fourth_digit_at_most():
    F, G = feats(n=200), feats(n=200, seed=1)
    A, B = unit(clamped(F)[:, 0]), unit(clamped(G)[:, 0])
    kk, ll, kl = (hsic_unbiased(S @ S.T, T @ T.T) for S, T in ((A, A), (B, B), (A, B)))
    found = gm.platonic_score(F[:, :1], F[:, :1], metric="unbiased_cka").score
    assert found == pytest.approx(1.0, abs=1e-6)
    assert kl / (np.sqrt(kk * ll) + 1e-6) == pytest.approx(ratio(kl, kk, ll), rel=1e-4)


def test_default_is_their_default():
    F, G = feats(), feats(seed=1)
    found = gm.platonic_score(F, G)
    assert (found.metric, found.topk) == ("mutual_knn", 10)


def test_layers_without_a_value_are_passed_over():
    F = feats(layers=3)
    F[:, 0] = 1.0
    found = gm.platonic_score(F, F[:, 1:], metric="cka", quantile=None)
    assert np.isnan(found.values[0]).all()
    assert (found.layers, round(found.score, 5)) == (("layer1", "layer0"), 1.0)
    nothing = gm.platonic_score(F[:, :1], F, metric="cka")
    assert (math.isnan(nothing.score), nothing.layers, nothing.indices) == (True, None, None)


@pytest.mark.parametrize("metric", RESULTS)
def test_a_score_says_why_values_are_missing(metric):
    F = feats(n=24, layers=3)
    assert gm.platonic_score(F, F[:, 1:], metric=metric).reason is None
    F[:, 1] = 1.0
    found = gm.platonic_score(F, F[:, 2:], metric=metric, quantile=None)
    says = (
        "layer1 of {} is constant" if "knn" not in metric else "in layer1 of {}, all rows are equally near each other"
    )
    assert np.isnan(found.values).tolist() == [[False], [True], [False]]
    assert found.reason.startswith(f"1 of 3 pairs have no value: {says.format('X')}")
    other = gm.platonic_score(F[:, 2:], F, metric=metric, quantile=None)
    assert other.reason.startswith(f"1 of 3 pairs have no value: {says.format('Y')}")


def test_a_score_of_too_few_rows_says_so():
    F = feats(n=8)
    found = gm.platonic_score(F, F, metric="svcca")
    assert (math.isnan(found.score), found.layers) == (True, None)
    assert found.reason.startswith("9 of 9 pairs have no value: layer0 of X has rank 7 = n − 1 after centring")


def test_a_self_term_that_is_not_positive_is_said():
    X = np.array([[2.0, 4], [1, -3], [-2, 1], [-2, 0], [-4, -1]])[:, None]
    found = gm.platonic_score(X, X, metric="cknna", topk=3, quantile=None, normalize=False)
    assert math.isnan(found.score)
    assert found.reason == "1 of 1 pairs have no value: the self term of layer0 of X is not positive"


def test_names_for_measures_are_complete():
    assert set(RESULTS) == set(platonic.get_args(platonic.Metric))


def test_score_is_frozen_and_shows_what_matters():
    found = gm.platonic_score(feats(), feats(layers=2), metric="cka")
    assert repr(found).startswith("PlatonicScore(cka = 0.")
    assert repr(found).endswith(f" at {found.layers[0]} and {found.layers[1]}, 3×2 pairs, n = 60)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.score = 0.0


# ---- features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("quantile", [0.001, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("scale", [1.0, 1e-42, 1e30])
def test_outliers_are_clamped_at_their_quantile(quantile, exact, scale):
    F = (feats().astype(np.float64) * scale).astype(np.float32)
    found = gm.platonic_layers({"feats": F}, quantile=quantile, exact=exact)
    want = clamped(F, quantile, exact)
    for i, layer in enumerate(found.values()):
        assert layer.dtype == np.float32
        if exact:
            np.testing.assert_array_equal(layer, want[:, i])
        else:
            np.testing.assert_allclose(layer, want[:, i], rtol=1e-6, atol=1e-45)


def test_arrays_of_a_list_are_clamped_each_by_itself():
    layers = [feats()[:, 0], 10 * feats(d=5)[:, 1]]
    found = list(gm.platonic_layers({"feats": layers}).values())
    for layer, got in zip(layers, found, strict=True):
        np.testing.assert_array_equal(got, clamped(layer[:, None])[:, 0])


@pytest.mark.parametrize("quantile", [None, 1, 1.0])
def test_nothing_is_clamped_without_a_quantile(quantile):
    np.testing.assert_array_equal(gm.platonic_layers(feats(), quantile=quantile)["layer2"], feats()[:, 2])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_torch_files_are_read(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    F = torch.from_numpy(feats(outliers=False)).to(getattr(torch, dtype))
    saved = {"feats": F, "num_params": 123, "mask": torch.ones(60, 4), "loss": torch.tensor(1.5)}
    torch.save(saved, tmp_path / "model_pool-avg.pt")
    found = gm.platonic_layers(tmp_path / "model_pool-avg.pt")
    assert list(found) == ["layer0", "layer1", "layer2"]
    want = clamped(F.float().numpy())
    for i, layer in enumerate(found.values()):
        np.testing.assert_array_equal(layer, want[:, i])
    direct = gm.platonic_layers(saved)
    assert all(np.array_equal(direct[name], found[name]) for name in found)


def test_torch_files_may_hold_a_list_of_layers(tmp_path):
    torch = pytest.importorskip("torch")
    layers = [torch.from_numpy(feats(d=d)[:, 0]) for d in (4, 9)]
    torch.save({"feats": layers}, tmp_path / "model.pt")
    found = gm.platonic_layers(str(tmp_path / "model.pt"), quantile=None)
    assert [layer.shape for layer in found.values()] == [(60, 4), (60, 9)]


def test_other_files_are_read(tmp_path):
    F = feats()
    np.save(tmp_path / "a.npy", F)
    np.savez(tmp_path / "b.npz", feats=F, num_params=3)
    np.savez(tmp_path / "c.npz", whatever=F)
    want = gm.platonic_layers(F)
    for name in ("a.npy", "b.npz", "b.npz:feats", "c.npz"):
        found = gm.platonic_layers(tmp_path / name)
        assert all(np.array_equal(found[layer], want[layer]) for layer in want), name
    np.savez(tmp_path / "d.npz", block1=F[:, 0], block10=F[:, 1, :5], block2=F[:, 2])
    assert [layer.shape[1] for layer in gm.platonic_layers(tmp_path / "d.npz").values()] == [12, 12, 5]


def test_safetensors_files_are_read(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"feats": feats(), "mask": np.ones(3)}, tmp_path / "a.safetensors")
    found, want = gm.platonic_layers(tmp_path / "a.safetensors"), gm.platonic_layers(feats())
    assert all(np.array_equal(found[layer], want[layer]) for layer in want)


# ---- the gate --------------------------------------------------------------------------------------------------------


def test_a_torch_file_runs_no_code(tmp_path):
    torch = pytest.importorskip("torch")

    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"feats": Code()}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt cannot be read as \.pt: "):
        gm.platonic_layers(tmp_path / "bad.pt")
    (tmp_path / "worse.pt").write_bytes(pickle.dumps({"feats": Code()}))
    with pytest.raises(ValueError, match=r"worse\.pt cannot be read as \.pt: "):
        gm.platonic_layers(tmp_path / "worse.pt")
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("content", [b"", b"i", b"garbage that is no pickle", b"hello world", b"PK\x03\x04 cut off"])
def test_a_file_that_is_none_of_torch_is_said(content, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"bad\.pt cannot be read as \.pt: it is no file of torch\.save, or is damaged, "
    ):
        gm.platonic_layers(tmp_path / "bad.pt")


def test_a_missing_file_is_said(tmp_path):
    for name in ("a.pt", "a.npz"):
        with pytest.raises(FileNotFoundError, match=rf"{name}: no such file"):
            gm.platonic_score(tmp_path / name, feats())


WRONG = [
    (ValueError, "source has no 'feats'; it holds num_params, mask", {"num_params": 3, "mask": np.ones((2, 2, 2))}),
    (ValueError, "source has no 'feats'; it holds nothing", {}),
    (ValueError, "feats of source must be (n, layers, features), got shape (5,)", np.ones(5)),
    (ValueError, "feats of source must be (n, layers, features), got shape ()", np.array(3.0)),
    (TypeError, "feats of source must be a dict of layers, a sequence of them, an array (n, layers, features)", 3.0),
    (ValueError, "feats of source are empty, with shape (5, 0, 3)", np.ones((5, 0, 3))),
    (ValueError, "feats of source has no layers", []),
    (ValueError, "layers of source have different numbers of rows: 5, 4", [np.ones((5, 2)), np.ones((4, 2))]),
    (ValueError, "layer1 of source has NaN in row 0, column 0", np.array([[[1.0], [math.nan]]])),
    (TypeError, "layer0 of source must hold real numbers, got dtype <U1", [np.array([["a"]])]),
    (ValueError, "layer0 of source has no value that float32, which scores are made from, tells", [1e-60 * np.eye(3)]),
    (
        ValueError,
        "layer1 of source has values beyond float32, which scores are made from",
        [np.eye(3), np.full((3, 3), 1e60)],
    ),
]


@pytest.mark.parametrize(("error", "says", "source"), WRONG, ids=[w[1] for w in WRONG])
def test_what_is_wrong_with_features_is_said(error, says, source):
    with pytest.raises(error) as caught:
        gm.platonic_layers(source)
    assert str(caught.value).startswith(says)


OPTIONS = [
    (ValueError, "metric must be one of 'mutual_knn', ", {"metric": "rsa"}),
    (ValueError, "quantile must be above 0 and at most 1, got 1.5", {"quantile": 1.5}),
    (TypeError, "quantile must be a number, got str", {"quantile": "x"}),
    (ValueError, "topk must be at least 1, got 0", {"topk": 0}),
    (TypeError, "topk must be a whole number, got float", {"topk": 5.0}),
    (ValueError, "mutual_knn of 60 neighbours needs at least 61 rows but got 60", {"topk": 60}),
    (ValueError, "X has 60 rows but Y has 59; row i of both must be the same sample", {"Y": feats()[1:]}),
    (ValueError, "feats of Y must be (n, layers, features), got shape (3,)", {"Y": np.ones(3)}),
]


@pytest.mark.parametrize(("error", "says", "options"), OPTIONS, ids=[w[1] for w in OPTIONS])
def test_what_is_wrong_with_options_is_said(error, says, options):
    with pytest.raises(error) as caught:
        gm.platonic_score(**{"X": feats(), "Y": feats(seed=1)} | options)
    assert str(caught.value).startswith(says)


def test_layers_are_chosen_by_name_or_pattern():
    rng = np.random.default_rng(0)
    layers = {name: rng.normal(size=(40, 5)) for name in ("blocks.0", "blocks.1", "head")}
    found = gm.platonic_score(layers, layers, keys="blocks.*", keys_y=["head"])
    want = gm.platonic_score([layers["blocks.0"], layers["blocks.1"]], [layers["head"]])
    np.testing.assert_array_equal(found.values, want.values)


# ---- layers by name --------------------------------------------------------------------------------------------------


def test_chosen_layers_are_scored_under_their_names() -> None:
    rng = np.random.default_rng(0)
    first, second = ({f"block.{i}": rng.standard_normal((40, 6)) for i in range(3)} for _ in range(2))

    found = gm.platonic_score(first, second, keys=["block.2", "block.0"], keys_y="block.1", metric="cka")

    whole = gm.platonic_score(first, second, metric="cka").values
    assert (found.rows, found.columns) == (("block.2", "block.0"), ("block.1",))
    assert found.values.ravel().tolist() == [whole[2, 1], whole[0, 1]]
    assert found.layers is not None
    assert found.layers[1] == "block.1"


def test_a_chosen_layer_without_a_score_is_named() -> None:
    rng = np.random.default_rng(0)
    layers = {"good.one": rng.standard_normal((40, 6)), "dead": np.ones((40, 6))}

    found = gm.platonic_score(layers, layers, keys=["dead", "good.*"], metric="unbiased_cka", normalize=False)

    assert found.reason is not None
    assert found.reason.startswith("3 of 4 pairs have no value: dead of X is constant")
