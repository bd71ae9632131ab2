"""A recommender as a file: names in, a rating out."""

from pathlib import Path

import numpy as np
import pytest

import danlu
from danlu.export.written import onnx_of

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3" / "recommend"


def test_a_pair_is_answered_as_danlu_does() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = danlu.load(GOLDEN / "model")
    data, answer = onnx_of(model)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = {"reader": ["001", "003", "never", "1", "1"], "book": ["b3", "b0", "b1", "b7", "unheard"]}
    (found,) = session.run(list(answer.names), {key: np.array(values, object) for key, values in names.items()})
    assert found == pytest.approx(model.predict(names, say=lambda line: None)["stars"].to_numpy(), abs=1e-6)
