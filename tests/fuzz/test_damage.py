"""Damaged files and hostile objects in batches; GRAMIAN_FUZZ_INPUTS and GRAMIAN_FUZZ_SEED make it longer, and other."""

from __future__ import annotations

import os

import pytest

from fuzz.batches import run
from fuzz.kinds import FILES, TAMPERED

INPUTS = int(os.environ.get("GRAMIAN_FUZZ_INPUTS", "400"))  # of each kind
SEED = int(os.environ.get("GRAMIAN_FUZZ_SEED", "1"))
NEEDED = {"safetensors": ["safetensors", "ml_dtypes"], "torch_files": ["torch"], "hdf5_files": ["h5py"]}
MOST_MEMORY = 1000  # MB: nothing that a file claims is believed before it is there


@pytest.mark.parametrize("kind", [*FILES, *TAMPERED])
def test_what_is_damaged_gives_the_right_value_or_one_clean_exception(kind: str) -> None:
    for package in NEEDED.get(kind, []):
        pytest.importorskip(package)

    outcome = run(kind, INPUTS, SEED)

    assert not outcome.wrong, "\n\n".join(outcome.wrong)
    assert outcome.found.total() == INPUTS
    assert outcome.found["refused"] > INPUTS // 10
    assert outcome.peak < MOST_MEMORY
