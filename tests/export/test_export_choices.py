"""Choices as files: a row as it stands in a file in, the segment, the action or whom to treat out."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.bandits.head import Choosing
from danlu.errors import ConfigError
from danlu.export import export
from danlu.export.chosen import _action, _check_choices
from danlu.export.graph import Graph
from danlu.export.kinds import kind_of
from danlu.export.primitives import BATCH, Value
from danlu.export.runtime import finished

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def answered(kind: str, place: Path) -> tuple[dict[str, np.ndarray], pl.DataFrame]:
    """What the file answers, by name, and what danlu predicts."""
    model, asked = danlu.load(GOLDEN / kind / "model"), GOLDEN / kind / "asked.csv"
    found = export(model, place / "model.onnx")
    session = ort.InferenceSession(found.path, providers=["CPUExecutionProvider"])
    rows = model.read(asked, say=lambda line: None).rows
    values = session.run(list(found.outputs), kind_of(model.encoder).feed(model.encoder, rows))
    return dict(zip(found.outputs, values, strict=True)), model.predict(asked, say=lambda line: None)


def test_a_row_is_put_into_the_segment_that_danlu_puts_it_into(tmp_path: Path) -> None:
    given, own = answered("segments", tmp_path)
    assert given["segment"].tolist() == own["segment"].to_list()
    assert given["probabilities"].max(axis=1) == pytest.approx(own["probability"].to_numpy(), abs=1e-5)
    assert given["distance"] == pytest.approx(own["distance"].to_numpy(), rel=1e-5)
    assert np.unique(given["segment"]).size > 1


def test_the_action_for_a_context_and_what_each_would_bring(tmp_path: Path) -> None:
    given, own = answered("bandit", tmp_path)
    assert given["label"].tolist() == own["banner"].to_list()
    expected = own.select(pl.col("^expected clicked of .*$")).to_numpy()
    assert given["values"] == pytest.approx(expected, abs=1e-5)


def test_whom_to_treat(tmp_path: Path) -> None:
    given, own = answered("uplift", tmp_path)
    assert given["uplift"] == pytest.approx(own["uplift"].to_numpy(), abs=1e-5)
    assert given["treat"].tolist() == (own["treat"] == "yes").to_list()
    assert given["values"] == pytest.approx(own.select(pl.col("^expected .*$")).to_numpy(), abs=1e-5)


def test_a_page_is_the_best_items_in_their_order() -> None:
    head: Any = Choosing(("a", "b", "c"), "item", "clicked", "chance", slate="page:place", places=2, page=(0, 1))
    graph, shape = Graph(), (BATCH, 4, head.outputs)
    graph.input("x", np.float32, shape)
    symbol = jax.export.symbolic_shape(BATCH)[0]
    _action(graph, head, {"value": Value("x", jnp.float32, (symbol, *shape[1:]))})
    session = ort.InferenceSession(finished(graph, {}), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(6, *shape[1:])).astype(np.float32)
    label, values = session.run(["label", "values"], {"x": x})
    own = head({"value": x.astype(np.float64)})
    assert label.tolist() == [["abc"[each] for each in row] for row in own["order"]]
    assert values == pytest.approx(own["value"], abs=1e-6)


def test_another_choice_is_refused_but_for_one_that_is_as_good() -> None:
    good = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]])
    _check_choices(good, np.array([[1], [1]]), "abc")
    with pytest.raises(ConfigError, match="the file answers 'c' where danlu answers 'b', for 1 of 2 rows"):
        _check_choices(good, np.array([[2], [0]]), "abc")
