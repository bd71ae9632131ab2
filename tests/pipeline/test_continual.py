"""A model that learns on from its weights: what it begins with, what it learns along, and what is compared."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.errors import ConfigError, DataError
from danlu.pipeline import train_on

RANDOM = np.random.default_rng(0)
QUIET: dict[str, Any] = {"display": "none", "say": lambda line: None}


def table(rows: int, turned: float = 1.0) -> pl.DataFrame:
    x = RANDOM.normal(size=(rows, 2)).round(4)
    x[:, 1] = np.abs(x[:, 1]) * turned
    y = np.where(turned * x[:, 0] + 0.3 * RANDOM.normal(size=rows) > 0, "yes", "no")
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y})


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("continual")
    table(200).write_csv(folder / "old.csv")
    return danlu.train(
        folder / "old.csv", target="y", runs=folder, name="old", **QUIET, model={"members": 2, "width": 8, "kind": "network"},
        trainer={"epochs": 2}, split={"folds": 2}, evaluate={"baselines": False, "importance": False},
    )  # fmt: skip


@pytest.fixture(scope="module")
def new(old: Any) -> Any:
    folder = old.run.path.parent
    table(120).write_csv(folder / "new.csv")
    return train_on(
        old.run.path, folder / "new.csv", root=folder, name="new", **QUIET, settings={"trainer": {"epochs": 1}}
    )


def test_old_rows_are_learnt_along_and_both_tests_are_compared(old: Any, new: Any) -> None:
    assert new.rows == {"train": old.rows["train"] + 96, "validation": 0, "test": 24}
    record = new.run.read_json("results.json")["continued"]
    assert set(record) == {"new rows", "old rows"}
    assert {"metric", "new", "old", "difference", "verdict"} == set(record["old rows"])
    assert record["old rows"]["old"] == pytest.approx(old.scores["roc_auc"])
    assert "What got better and worse" in new.run.report_path.read_text()
    assert old.run.read_json("continued.json") if (old.run.path / "continued.json").exists() else True
    assert new.model.seen is not None
    assert len(new.model.seen) > len(old.model.seen)


def test_it_begins_with_the_old_weights(old: Any, new: Any, tmp_path: Path) -> None:
    still = train_on(
        old.run.path, old.run.path.parent / "new.csv", root=tmp_path, **QUIET, replay=0.0,
        settings={"trainer": {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0}, "evaluate": {"report": False}},
    )  # fmt: skip
    for one, other in zip(jax.tree.leaves(still.model.params), jax.tree.leaves(old.model.params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert still.rows["train"] == 96


def test_rows_that_were_learnt_before_are_left_out(old: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 new rows with an answer; expected 20"):
        train_on(old.run.path, old.run.path.parent / "old.csv", root=tmp_path, **QUIET)


def test_what_cannot_change_is_refused(old: Any, new: Any, tmp_path: Path) -> None:
    source = old.run.path.parent / "new.csv"
    with pytest.raises(ConfigError, match=r"model\.width cannot change"):
        train_on(old.run.path, source, root=tmp_path, **QUIET, settings={"model": {"width": 3}})
    with pytest.raises(ConfigError, match="replay is 2"):
        train_on(old.run.path, source, root=tmp_path, **QUIET, replay=2)
    private = {"private": {"noise": 1.0}, "split": {"folds": 1}}
    with pytest.raises(ConfigError, match=r"is private, and replay is 0\.3: .* without privacy") as caught:
        train_on(old.run.path, source, root=tmp_path, **QUIET, settings=private, replay=0.3)
    assert "--replay 0" in str(caught.value.hint)
    with pytest.raises(ConfigError, match=r"goes on from .*old, and cannot be resumed by itself"):
        danlu.pipeline.resume(new.run.path, **QUIET)
    assert not list(tmp_path.iterdir())


def test_data_that_is_gone_is_named_with_the_way_on(old: Any, tmp_path: Path) -> None:
    place = old.run.path.parent / "old.csv"
    moved = place.rename(place.with_suffix(".away"))
    try:
        with pytest.raises(DataError, match="not found") as caught:
            train_on(old.run.path, place.with_name("new.csv"), root=tmp_path, **QUIET)
    finally:
        moved.rename(place)
    assert caught.value.hint == "put it back where it was; --replay 0 goes on without its rows"


@pytest.mark.slow
def test_replay_keeps_what_was_learnt_where_the_new_rows_say_otherwise(old: Any, tmp_path: Path) -> None:
    table(300, turned=-1.0).write_csv(tmp_path / "turned.csv")
    how = {"trainer": {"epochs": 20, "learning_rate": 0.01}}
    scores = {
        replay: train_on(
            old.run.path,
            tmp_path / "turned.csv",
            root=tmp_path,
            name=f"r{replay}",
            **QUIET,
            replay=replay,
            settings=how,
        )
        for replay in (0.0, 1.0)
    }
    before = danlu.load(old.run.path)
    frame = pl.read_csv(old.run.path.parent / "old.csv")
    kept = {
        replay: result.model.evaluate(frame, say=lambda line: None).scores["roc_auc"].value
        for replay, result in scores.items()
    }
    assert before.evaluate(frame, say=lambda line: None).scores["roc_auc"].value > 0.8
    assert kept[0.0] < 0.5 < kept[1.0]


@pytest.mark.slow
def test_a_run_that_went_on_can_go_on(new: Any, tmp_path: Path) -> None:
    table(100).write_csv(tmp_path / "third.csv")
    third = train_on(new.run.path, tmp_path / "third.csv", root=tmp_path, name="third", **QUIET)
    assert third.rows["train"] == new.rows["train"] + 80
    assert json.loads((third.run.path / "continued.json").read_text())["old"] == new.rows["train"]
