"""What is not damaged comes back as it was, whatever its shape, dtype, order and name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as shapes

import gramian as gm
from fuzz.kinds import equal, same
from gramian.rows.sources import array_names, open_array, open_layers

steady = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
dtypes = st.sampled_from(["<f8", ">f8", "<f4", "<f2", ">f4", "<i8", ">i2", "|u1", "|b1", "<c8"])
arrays = dtypes.flatmap(lambda t: shapes.arrays(t, shapes.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\x00:", exclude_categories=["Cs", "Cc"]), min_size=1
)


@steady
@given(x=arrays, fortran=st.booleans())
def test_an_array_comes_back_from_npy(tmp_path: Path, x: np.ndarray, fortran: bool) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(x) if fortran and x.ndim else x)
    assert same(open_array(tmp_path / "x.npy"), x)


@steady
@given(content=st.dictionaries(names, arrays, min_size=1, max_size=4), compressed=st.booleans())
def test_arrays_come_back_from_npz(tmp_path: Path, content: dict[str, np.ndarray], compressed: bool) -> None:
    path = tmp_path / "x.npz"
    content = {name.removesuffix(".npy") or "x": x for name, x in content.items() if name != "file"} or {
        "x": np.ones(2)
    }
    (np.savez_compressed if compressed else np.savez)(path, **content)

    assert sorted(array_names(path)) == sorted(content)
    for name, x in content.items():
        assert same(open_array(f"{path}:{name}"), x)


@steady
@given(n=st.integers(4, 12), p=st.integers(1, 4), q=st.integers(0, 4), seed=st.integers(0, 99))
def test_moments_come_back_from_their_files(tmp_path: Path, n: int, p: int, q: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, p)), rng.standard_normal((n, q))
    kernel: Any = ["linear", "rbf", "cosine", gm.ArcCosine(0)][seed % 4]
    given = [X, Y] if q else [X]
    for value in (gm.gram_moments(*given, kernel=kernel, shard=(seed % 2, 2)), gm.feature_moments(*given)):
        value.save(tmp_path / "m")
        assert equal(type(value).load(tmp_path / "m"), value)


def test_layers_of_a_stored_archive_are_mapped_and_of_a_compressed_one_not(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((6, 3))
    np.savez(tmp_path / "stored.npz", a=x, b=x + 1)
    np.savez_compressed(tmp_path / "packed.npz", a=x, b=x + 1)

    stored, packed = open_layers(tmp_path / "stored.npz"), open_layers(tmp_path / "packed.npz")

    assert all(isinstance(layer, np.memmap) and not layer.flags.writeable for layer in stored.values())
    assert not any(isinstance(layer, np.memmap) for layer in packed.values())
    assert all(same(stored[name], packed[name]) for name in ("a", "b"))


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(gm.FeatureMoments) if f.name != "n"])
def test_every_array_of_moments_is_in_the_checksum(tmp_path: Path, field: str) -> None:
    """Not one of them could be left out of it unnoticed."""
    from fuzz.mutations import array_of, members, npy_of, zipped

    rng = np.random.default_rng(0)
    path = tmp_path / "m"
    gm.feature_moments(rng.standard_normal((9, 3)).astype("f4"), rng.standard_normal((9, 2)).astype("f4")).save(path)
    content = members(path.read_bytes())
    array = array_of(content[f"{field}.npy"])
    array.flat[-1] = np.nextafter(array.flat[-1], 1)
    path.write_bytes(zipped(content | {f"{field}.npy": npy_of(array)}))

    with pytest.raises(ValueError, match=f"^{path} is damaged or was changed"):
        gm.FeatureMoments.load(path)
