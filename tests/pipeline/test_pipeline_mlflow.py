"""A run in MLflow: what it has is what the run directory has, and its model answers as ``danlu predict`` does.

Where MLflow is not installed, only what is said without it is tested: ``pip install "danlu[mlflow]"``.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.artifact import RunDirectory
from danlu.errors import ArtifactError, ConfigError, MissingExtraError
from danlu.pipeline.config import TrackConfig, config_from, override
from danlu.pipeline.mlflow import Book, MLflowLogger, check_mlflow, log_to_mlflow, tracked

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"
ROWS = [{"epoch": i, "step": 8 * (i + 1), "loss": 1 / (i + 1), "val_loss": 0.5, "seconds": 1.0} for i in range(3)]
OTHERS = ("quantity", "text", "sequence", "series", "agent", "language", "translation")
needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow puts files


@pytest.fixture
def store(tmp_path: Path, recwarn: Any) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    config = {"data": {"source": "a.csv", "test": None}, "trainer": {"epochs": 3}}
    made = RunDirectory.create(tmp_path / "runs", name="a", config=config)
    for row in ROWS:
        made.append_metrics(row)
    intervals = {"roc_auc": [0.7, 0.9]}
    made.write_json("results.json", {"test": {"roc_auc": 0.8}, "intervals": intervals, "baselines": {}, "epochs": 3})
    made.report_path.write_text("<p>a report</p>")
    shutil.copytree(GOLDEN / "table" / "model", made.artifact_path)
    return made


def client_of(store: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store)


def test_without_mlflow_it_is_said_what_to_install(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for call in (lambda: log_to_mlflow(run.path), lambda: check_mlflow(TrackConfig(mlflow="auto"))):
        with pytest.raises(MissingExtraError, match="MLflow is not installed") as caught:
            call()
        assert "danlu[mlflow]" in str(caught.value.hint)
    check_mlflow(TrackConfig())  # who does not ask for it does not need it


def test_what_is_drawn_is_named() -> None:
    written = override({}, ["track.tensorboard=[gradients, images]"])
    assert config_from(written).track.tensorboard == ("gradients", "images")
    with pytest.raises(ConfigError, match="gradient"):
        TrackConfig(tensorboard=("gradient",))


@needs_mlflow
@pytest.mark.slow
def test_mlflow_has_what_the_run_has_also_when_it_is_told_twice(run: RunDirectory, store: str) -> None:
    import mlflow

    number = log_to_mlflow(run.path, store, experiment="tables")
    assert danlu.log_to_mlflow(run, store, experiment="tables") == number
    client = client_of(store)
    found = client.get_run(number)
    assert (found.info.status, found.data.tags["mlflow.runName"]) == ("FINISHED", "a")
    assert client.get_experiment_by_name("tables").experiment_id == found.info.experiment_id
    assert found.data.params == {"data.source": "a.csv", "trainer.epochs": "3"}
    losses = client.get_metric_history(number, "train/loss")
    assert [(each.step, each.value) for each in losses] == [(row["epoch"] + 1, row["loss"]) for row in ROWS]
    scores = {name: value for name, value in found.data.metrics.items() if name.startswith("test")}
    assert scores == {"test/roc_auc": 0.8, "test_low/roc_auc": 0.7, "test_high/roc_auc": 0.9}
    assert {each.path for each in client.list_artifacts(number)} >= {"report.html", "results.json", "config.json"}
    mlflow.set_tracking_uri(store)
    model = mlflow.pyfunc.load_model(f"runs:/{number}/model")
    assert model.get_raw_model().fields == danlu.load(run.path).fields
    assert len(client.search_logged_models([found.info.experiment_id])) == 1


@needs_mlflow
@pytest.mark.parametrize("kind", ["table", "image", *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS)])
def test_a_model_of_each_kind_answers_in_mlflow_as_danlu_predict_does(kind: str, tmp_path: Path, recwarn: Any) -> None:
    import mlflow
    import pandas

    from danlu.pipeline import flavour

    folder = GOLDEN / kind
    (asked,) = folder.glob("asked.*")
    own = danlu.load(folder / "model")
    flavour.save_model(tmp_path / "model", folder=folder / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    given = np.load(asked) if asked.suffix == ".npy" else str(asked)
    expected = own.answers(given, keep="none", say=lambda line: None).to_dicts()
    if asked.suffix == ".csv":
        given = pandas.read_csv(asked)
    elif asked.suffix == ".txt":
        given = pandas.DataFrame({own.fields[0].name: asked.read_text().splitlines()})
        expected = own.respond(given.to_dict("records")) if kind == "language" else expected
    assert model.predict(given).to_dict("records") == expected
    if kind == "table":
        assert model.input_example.columns.tolist() == [field.name for field in own.fields]
        assert [each.name for each in model.metadata.signature.outputs] == list(expected[0])
        assert not [each for each in (tmp_path / "model").rglob("*") if each.suffix in (".pkl", ".pickle")]
        with pytest.raises(Exception, match="missing inputs"):
            model.predict(given.drop(columns=own.fields[0].name))


@needs_mlflow
@pytest.mark.slow
def test_a_training_is_told_epoch_by_epoch_and_a_place_that_breaks_costs_nothing(run: RunDirectory, store: str) -> None:
    said: list[str] = []
    run.metrics_path.write_text("")
    with tracked(run, TrackConfig(mlflow=store), said.append) as (logger,):
        assert isinstance(logger, MLflowLogger)
        x = np.ones((8, 1), np.float32)
        fitted = danlu.fit(nn.Dense(1), (x, x[:, 0]), loss="mse", epochs=3, callbacks=[logger], display="none")
        book = logger.book
        losses = book.client.get_metric_history(book.id, "train/loss")
        assert [each.value for each in losses] == [row["loss"] for row in fitted.history]
        logger.book = types.SimpleNamespace(place="there", epochs=lambda rows: 1 / 0)
        logger.on_epoch_end(3, ROWS[0])
        logger.on_train_end({})
        logger.on_epoch_end(4, ROWS[0])
        logger.on_train_end({})
    assert ["does not take the numbers" in line for line in said] == [True, False]
    assert book.id in said[-1]
    with pytest.raises(ZeroDivisionError), tracked(run, TrackConfig(mlflow=store), said.append):
        raise ZeroDivisionError
    assert client_of(store).get_run(book.id).info.status == "FAILED"


@needs_mlflow
@pytest.mark.slow
def test_the_parts_of_a_run_are_below_it(run: RunDirectory, store: str, tmp_path: Path) -> None:
    fold = RunDirectory.create(run.path / "folds", name="1", config={})
    whole = Book.of(run, store, "danlu")
    part = Book.of(fold, store, "danlu", within=run)
    assert part.client.get_run(part.id).data.tags["mlflow.parentRunId"] == whole.id


@needs_mlflow
@pytest.mark.slow
def test_what_cannot_be_is_refused_in_one_message(tmp_path: Path, store: str) -> None:
    (tmp_path / "file").touch()
    for place in ("nonsense://m.db", f"sqlite:///{tmp_path}/file/m.db"):
        with pytest.raises(ConfigError, match=f"MLflow cannot keep runs at '{place}'"):
            check_mlflow(TrackConfig(mlflow=place))
    unfinished = RunDirectory.create(tmp_path / "runs", name="b", config={})
    with pytest.raises(ArtifactError, match=r"results\.json"):
        log_to_mlflow(unfinished, store)


@needs_mlflow
@pytest.mark.slow
def test_a_training_with_folds_is_in_mlflow_whole(tmp_path: Path, store: str) -> None:
    rows = {"x": [float(i) for i in range(80)], "y": ["low", "high"] * 40}
    small = {"model": {"kind": "network", "members": 2, "width": 8}, "trainer": {"epochs": 1}}
    quick = {"baselines": False, "importance": False, "slices": False}
    found = danlu.cross_validate(
        rows, target="y", folds=2, runs=tmp_path / "runs", name="f", display="none", say=lambda line: None,
        evaluate=quick, track={"mlflow": store}, **small,
    )  # fmt: skip
    number = json.loads((Path(found.run.path) / "mlflow.json").read_text())["id"]
    client = client_of(store)
    whole = client.get_run(number)
    assert whole.data.metrics["test/accuracy"] == found.scores["accuracy"]
    parts = client.search_runs([whole.info.experiment_id], f"tags.`mlflow.parentRunId` = '{number}'")
    assert {each.info.status for each in parts} == {"FINISHED"}
    assert len(parts) == 2
