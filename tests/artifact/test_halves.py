"""Numbers of 4 bits: two a byte in a file, and the same when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.artifact import load_artifact, save_artifact
from danlu.artifact.tree import DTYPES, packed, unpacked
from danlu.errors import ArtifactError
from danlu.nn import Dense


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (64, 64), (0, 4)])
def test_every_number_comes_back(shape: tuple[int, ...]) -> None:
    whole = np.random.default_rng(0).integers(-8, 8, shape).astype(DTYPES["int4"])
    stored = packed(whole)
    assert stored.nbytes == (whole.size + 1) // 2
    assert np.array_equal(unpacked(stored, shape, whole.dtype), whole)


def test_a_saved_model_keeps_its_bytes(tmp_path: Path) -> None:
    whole = np.arange(-8, 8).repeat(255).reshape(15, -1).astype(DTYPES["int4"])
    params: dict[str, Any] = {"bias": np.zeros(2, np.float32)}
    for state in ({"codes": whole}, {"codes": np.zeros_like(whole)}):  # the latter would be written without its zeros
        save_artifact(tmp_path / "model", model=Dense(2), variables=(params, state), task="binary")
        found = load_artifact(tmp_path / "model")
        assert found.state["codes"].dtype == whole.dtype
        assert np.array_equal(found.state["codes"], state["codes"])
    assert (tmp_path / "model" / "weights.safetensors").stat().st_size < whole.size / 2 + 400


def test_bytes_of_another_size_are_refused() -> None:
    with pytest.raises(ArtifactError, match="5 numbers of 4 bits"):
        unpacked(np.zeros(2, np.uint8), (5,), DTYPES["int4"])
