"""Pairs: what counts as another one, and what the head tells of two things."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from PIL import Image

import danlu
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.retrieval import Retrieved
from danlu.nn import Dense, TwoTowers
from danlu.pipeline.config import config_from
from danlu.pipeline.pairs import PairedRows
from danlu.tasks.pairs import Contrast, Pairs
from danlu.trained import Learned

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3" / "pairs"


def test_rows_of_weight_0_and_pairs_that_share_a_part_are_no_others() -> None:
    net = TwoTowers(("a", "b"), (Dense(3), Dense(3)), 3)
    params, state, _ = net.init(jax.random.key(0), {"parts": {"a": (4,), "b": (2,)}})
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 4)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    y, weight = np.array([[0, 0], [0, 1], [1, 2], [2, 3]]), np.array([1.0, 1, 1, 0], np.float32)

    def value(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        batch = {
            "x": {"parts": {"a": jnp.asarray(a), "b": jnp.asarray(b)}},
            "y": jnp.asarray(y),
            "weight": jnp.asarray(weight),
        }
        return np.asarray(Contrast(net)(params, state, batch, jax.random.key(1), train=True)[0])

    plain, filled = value(a, b), value(np.concatenate([a[:3], 9 * a[:1]]), np.concatenate([b[:3], -b[:1]]))
    np.testing.assert_allclose(plain[:3], filled[:3], rtol=1e-6)
    other = b.copy()
    other[1] = -5.0  # another caption of the first row's picture
    np.testing.assert_allclose(value(a, other)[0], plain[0], rtol=1e-6)
    assert abs(value(a, other)[2] - plain[2]) > 1e-4


def test_the_head_tells_the_cosine_and_the_ranks_and_null_where_a_part_is_absent() -> None:
    head = Pairs(("picture", "caption"))
    first = np.array([[2.0, 0], [0, 2], [2, 2]])
    answers = {"first": first, "second": first[[0, 2, 1]]}
    frame = pl.DataFrame({"picture": ["x", "y", None], "caption": ["a", "b", "c"]})
    np.testing.assert_allclose(head.frame(answers, frame)["similarity"].to_list()[:2], [1.0, 0.5**0.5])
    assert head.frame(answers, frame)["similarity"][2] is None
    found = head.evidence(answers, np.stack([np.arange(3), np.arange(3)], axis=1))
    assert isinstance(found, Retrieved)
    assert (found.forth.tolist(), found.groups) == ([2, 2, 3], None)
    assert head.evidence(answers, np.array([[0, 0], [0, 1], [1, 2]])).groups.tolist() == [0, 0, 1]


def test_intervals_of_recalls_are_those_of_shares() -> None:
    found = Retrieved(np.array([1] * 30 + [7] * 10), np.array([2] * 40), (40, 40)).scores()
    assert found["forth_recall_1"].value == 0.75
    assert 0.55 < found["forth_recall_1"].low < 0.75 < found["forth_recall_1"].high < 0.9
    assert found["back_recall_1"].low == 0.0 < found["back_recall_1"].high
    assert (found["forth_median_rank"].value, found["back_median_rank"].value) == (1, 2)


@pytest.mark.parametrize("columns", ["picture", "a:b:c", "a:a", "a:"])
def test_two_columns_are_asked_for(columns: str) -> None:
    config = config_from({"data": {"source": "x.csv"}, "pair": {"columns": columns}})
    with pytest.raises(ConfigError, match="expected two columns, such as picture:caption"):
        PairedRows().prepare(config, {"a": ["x"], "b": ["y"]})


def test_pairs_that_were_learnt_from_are_left_out_wherever_they_stand() -> None:
    model, frame, told = danlu.load(GOLDEN / "model"), pl.read_csv(GOLDEN / "asked.csv").drop_nulls(), list[str]()
    part = model.encoder.transform(frame[:2]), np.array([[0, 0], [1, 1]], np.int32)
    prepared: Any = SimpleNamespace(train=part, validation=part, encoder=model.encoder, rows={"train": 2}, trunks=())
    plan: Any = SimpleNamespace(
        batch_size=2,
        model=model.network,
        learn=lambda *rows, **how: Learned(model, None),  # type: ignore[arg-type]
    )
    learnt = PairedRows().learn(config_from({"data": {"source": "x.csv"}}), prepared, plan).model
    others = frame[2:]
    found = learnt.evaluate(pl.concat([others, frame[:2]]), say=told.append)
    assert len(found.evidence) == len(others)
    assert told[-1].startswith(f"2 of {len(frame)} rows were in the training data")
    learnt.evaluate(frame[:2], say=told.append)
    assert told[-1].startswith("all 2 rows were in the training data")


def test_one_caption_of_all_pictures_tells_nothing() -> None:
    source = {"a": [f"word {n}" for n in range(20)], "b": ["the same"] * 20}
    config = config_from({"data": {"source": "x.csv"}, "pair": {"columns": "a:b"}})
    with pytest.raises(DataError, match="all 20 rows have the same 'b', so there is nothing to tell apart"):
        PairedRows().prepare(config, source)


def test_a_file_that_is_no_picture_is_named_and_the_others_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = danlu.load(GOLDEN / "model")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(SchemaError, match="not one of the 1 files that it names can be read"):
        model.similar(tmp_path, ["a standing bar"])
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "b.png")
    assert model.similar(tmp_path, ["a standing bar"])["picture"].to_list() == ["b.png"]
    assert "/a.png (not an image)" in " ".join(capsys.readouterr().err.split())
