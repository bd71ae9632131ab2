"""Segments as a file: a row as it stands in a file in, the segment out."""

from pathlib import Path

import numpy as np
import pytest

import danlu
from danlu.export import export
from danlu.export.kinds import kind_of

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"


def test_a_row_is_put_into_the_segment_that_danlu_puts_it_into(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = danlu.load(GOLDEN / "segments" / "model")
    found = export(model, tmp_path / "model.onnx")
    assert found.outputs == ("segment", "probabilities", "distance")
    session = onnxruntime.InferenceSession(found.path, providers=["CPUExecutionProvider"])
    rows = model.read(GOLDEN / "segments" / "asked.csv", say=lambda line: None).rows
    segment, probabilities, distance = session.run(
        list(found.outputs), kind_of(model.encoder).feed(model.encoder, rows)
    )
    own = model.predict(GOLDEN / "segments" / "asked.csv", say=lambda line: None)
    assert segment.tolist() == own["segment"].to_list()
    assert probabilities.max(axis=1) == pytest.approx(own["probability"].to_numpy(), abs=1e-5)
    assert distance == pytest.approx(own["distance"].to_numpy(), rel=1e-5)
    assert np.unique(segment).size > 1
