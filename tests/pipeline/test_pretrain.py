"""Pretraining on pictures without labels: what is left out, what begins with what, and that a stop in either stage changes nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import danlu
from danlu.data.images import ImageEncoder, read_images
from danlu.errors import ConfigError, DataError, TrainingError
from danlu.pipeline import resume
from danlu.pipeline.config import config_from
from danlu.pipeline.images import Images
from danlu.pipeline.pretrain import read_unlabelled, said_of
from danlu.pipeline.used import check_used
from danlu.tasks import image_recipe
from danlu.tasks.pretrain import Pretraining, body_of, nt_xent, pretrain_recipe, with_body

ENCODER = ImageEncoder(8, 8, 1)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)


def config(source: Any = None, **pretrain: Any) -> Any:
    return config_from({"data": {"source": "x.npz"}, "pretrain": {"source": source, **pretrain}})


def test_test_pictures_among_them_are_left_out_and_it_is_said(pictures: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", images=pictures)
    assert read_images(tmp_path / "many.npz").labels is None
    test = np.concatenate([pictures[3:5], 255 - pictures[:4]])
    found, said = read_unlabelled(config(str(tmp_path / "many.npz")), ENCODER, test)
    assert (len(found.pictures), found.tested) == (58, 2)
    np.testing.assert_array_equal(found.pictures, np.delete(pictures, [3, 4], axis=0))
    assert "2 of 60 pictures" in said[0]
    np.savez(tmp_path / "few.npz", images=pictures[:31])
    with pytest.raises(DataError, match="has 31 pictures to pretrain on; expected 32 at least"):
        read_unlabelled(config(str(tmp_path / "few.npz")), ENCODER, test[2:])


def test_rows_of_weight_0_are_no_other_pictures() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)
    there = np.array([True, True, True, False])
    plain = nt_xent(first[:3], second[:3], 0.5)
    np.testing.assert_allclose(nt_xent(first, second, 0.5, there)[:3], plain, rtol=1e-6)


@pytest.mark.parametrize("objective", ["contrast", "masked"])
def test_the_body_is_what_is_taken_over_and_all_of_it(objective: str) -> None:
    plan = image_recipe("multiclass", 40, (8, 8, 1), classes=3, width=4)
    asked = Pretraining(source="x", objective=objective, epochs=2, batch_size=8)
    recipe, _ = pretrain_recipe(asked, plan, 60, (8, 8, 1), flip=False, fill=-1.0)
    assert (recipe.epochs, recipe.batch_size, recipe.networks) == (2, 8, 1)
    first, body = body_of(plan.model)
    drawn = plan.initial(jax.random.key(0), np.zeros((1, 8, 8, 1), np.uint8))
    marked = tuple(jax.tree.map(lambda leaf: leaf + 9, part[first : first + len(body.layers)]) for part in drawn)
    params, state = with_body(drawn, first, marked)
    assert jax.tree.structure((params, state)) == jax.tree.structure(drawn)
    changed = [bool(np.any(a != b)) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(drawn[0]), strict=True)]
    assert changed == [True] * (len(changed) - 2) + [False] * 2  # the kernel and the bias of the last layer are fresh


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain": {"epochs": 3}}, "add --pretrain FOLDER"),
        ({"pretrain": {"source": "a", "hidden": 0.5}}, "it is for pretrain.objective=masked"),
        ({"pretrain": {"source": "a"}, "private": {"epsilon": 3.0}}, "the training is private"),
        ({"pretrain": {"source": "a"}, "federated": {"clients": 3}}, "rounds of clients"),
    ],
)
def test_settings_that_would_not_be_used_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_used(config_from({"data": {"source": "x.npz"}, **changes}), Images(), "x.npz", [Images()])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars that stand or lie: few with labels, more without, some of these the test's."""
    root, rng = tmp_path_factory.mktemp("bars"), np.random.default_rng(0)
    x = rng.integers(0, 60, (160, 12, 12), dtype=np.uint8)
    y = np.arange(160) % 2
    for image, label, place in zip(x, y, rng.integers(2, 9, 160), strict=True):
        (image if label else image.T)[place : place + 2] = 255
    np.savez(root / "few.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:60], y_test=y[30:60])
    np.savez(root / "many.npz", images=x[50:])
    return root


def learnt(files: Path, runs: Path, objective: str = "contrast", **more: Any) -> Any:
    settings: dict[str, Any] = {"trainer": {"epochs": 2, "batch_size": 8}, "model": {"width": 2}, **more}
    asked = {"source": str(files / "many.npz"), "epochs": 2, "batch_size": 16, "objective": objective}
    how: dict[str, Any] = {"runs": runs, "display": "none", "say": lambda line: None, "name": "one"}
    return danlu.train(
        str(files / "few.npz"), pretrain=asked, evaluate={"baselines": False, "report": False}, **how, **settings
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretraining", "training"])
def test_a_stop_in_either_stage_changes_nothing(
    files: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from danlu.engine.callbacks import JSONLogger

    whole = learnt(files, tmp_path / "whole")
    end = JSONLogger.on_epoch_end

    def stopping(self: Any, epoch: int, logs: Any) -> None:
        end(self, epoch, logs)
        if epoch == 0 and ("accuracy" in logs) == (stage == "training"):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(JSONLogger, "on_epoch_end", stopping)
        if stage == "pretraining":
            with pytest.raises(TrainingError, match="while it was pretrained"):
                learnt(files, tmp_path / "stopped")
        else:
            assert learnt(files, tmp_path / "stopped").stopped_by == signal.SIGINT
    again = resume(tmp_path / "stopped" / "one", display="none", say=lambda line: None)
    for a, b in zip(jax.tree.leaves(whole.model.params), jax.tree.leaves(again.model.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["contrast", "masked"])
def test_it_is_compared_and_said_everywhere(files: Path, tmp_path: Path, objective: str) -> None:
    settings: dict[str, Any] = {"trainer": {"epochs": 1, "batch_size": 8}, "model": {"width": 2, "ensemble": 2}}
    asked = {"source": str(files / "many.npz"), "epochs": 1, "batch_size": 16, "objective": objective}
    result = danlu.train(
        str(files / "few.npz"), pretrain=asked, runs=tmp_path, display="none", say=lambda line: None, **settings
    )
    assert {"the same network from scratch", "a linear model of the pretrained features"} <= set(
        result.judgement.others
    )
    record = danlu.load(result.run.path).provenance["pretraining"]
    assert (record["pictures"], record["tested"], record["objective"]) == (100, 10, objective)
    assert "first trained on 100 pictures of many.npz" in said_of(record)
    assert "the network was first trained on" in result.run.report_path.read_text(encoding="utf-8")
    assert "100 pictures of many.npz without labels" in (result.run.artifact_path / "README.md").read_text()
    assert (result.run.path / "pretraining.jsonl").is_file()
