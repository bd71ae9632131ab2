"""Cross-validation from Python and from the command line: nothing leaks, and it goes on after a kill."""

import dataclasses
import shutil
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import danlu
from danlu.artifact import RunDirectory
from danlu.cli.app import app
from danlu.engine import JSONLogger
from danlu.errors import ConfigError, DataError, TrainingError
from danlu.pipeline import CrossValidation, config_from, rehearsal, rehearse, resume
from danlu.pipeline.once import prepare
from danlu.trained.together import members_of

SMALL = {"model": {"members": 2, "width": 8}, "trainer": {"epochs": 1, "batch_size": 32}, "split": {"folds": 1}}
FAST = {"baselines": False, "report": False}
GROUPED = {"method": "group", "column": "city", "folds": 1}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    size, place = rng.normal(size=120).round(3), rng.choice(["red", "green"], 120)
    label = np.where(size + (place == "red") > 0.8, "rare", "common")
    city = [f"c{number % 10}" for number in range(120)]
    return pl.DataFrame({"size": size, "place": place, "city": city, "twin": city, "label": label})


def quiet(line):
    pass


def cross(source, folder, **settings):
    how = {**SMALL, "folds": 2, "evaluate": FAST, **settings}
    return danlu.cross_validate(source, target="label", runs=folder, display="none", say=quiet, **how)


@pytest.fixture(scope="module")
def crossed(frame, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossed")
    frame.write_csv(folder / "t.csv")
    return cross(folder / "t.csv", folder, evaluate={"baselines": True, "report": True}, split=GROUPED, name="whole")


def test_every_row_is_predicted_by_a_model_that_did_not_see_it(frame, crossed):
    assert crossed.predictions["row"].to_list() == list(range(1, 121))
    assert crossed.predictions["true label"].to_list() == frame["label"].to_list()
    for fold in crossed.folds:
        own = crossed.predictions.filter(fold=fold.number)
        expected = fold.model.predict_values(frame[fold.places])
        np.testing.assert_array_equal(own["probability rare"], expected[:, 1])
    assert pl.read_csv(crossed.run.predictions_path).equals(crossed.predictions)


def test_an_encoder_has_not_seen_the_fold(frame, crossed):
    """The cities of a fold are in no other one: an encoder that saw the fold would know their names from the column ``twin``."""
    for fold in crossed.folds:
        encoder = fold.model.encoder
        assert "city" not in [column.name for column in encoder.schema.features]
        place = [column.name for column in encoder.schema.features if column.kind == "categorical"].index("twin")
        codes = encoder.transform(frame)["categorical"][:, place]
        inside = np.isin(np.arange(120), fold.places)
        assert (codes[inside] == 0).all()
        assert (codes[~inside] > 0).mean() > 0.5  # the others are validation rows


def test_the_scores_are_of_all_rows_beside_those_of_each_fold_and_of_the_baselines(crossed):
    judged = crossed.judgement
    assert set(crossed.fold_scores) == set(crossed.scores)
    assert crossed.scores["roc_auc"] == pytest.approx(crossed.fold_scores["roc_auc"].mean())
    assert judged.scores["accuracy"].known
    assert crossed.fold_intervals["log_loss"].value == pytest.approx(crossed.fold_scores["log_loss"].mean())
    assert len(judged.comparisons) == 3
    assert len(judged.evidence.groups) == 120
    assert "mean of 2 folds" in str(crossed)
    assert "2 folds" in repr(crossed)
    results = crossed.run.read_json("results.json")
    assert [each["fold"] for each in results["folds"]] == [1, 2]
    report = crossed.run.report_path.read_text()
    assert "In each fold" in report
    assert "Calibration" in report
    assert "rows, each predicted by a model that did not see it</h2>" in report
    assert "folds; groups of city" in report
    assert "fold 1 of 2" not in report
    shown = CliRunner().invoke(app, ["show", str(crossed.run.path)]).output
    assert "120 tested; 2 folds" in shown
    assert "mean of 2 folds" in shown


def test_rare_classes_and_folds_without_a_measure_are_said(crossed):
    assert crossed.fold_notes == ()
    evidence = crossed.judgement.evidence
    few = np.zeros(len(evidence.truth), int)
    few[:7] = 1
    judgement = dataclasses.replace(crossed.judgement, evidence=dataclasses.replace(evidence, truth=few))
    first = crossed.folds[0]
    scores = {name: each for name, each in first.judgement.scores.items() if name != "roc_auc"}
    first = dataclasses.replace(first, judgement=dataclasses.replace(first.judgement, scores=scores))
    found = dataclasses.replace(crossed, judgement=judgement, folds=(first, *crossed.folds[1:]))
    lacking, rare = found.fold_notes
    assert lacking == "the means of ROC-AUC leave out fold 1, whose rows do not tell (a class is missing)"
    assert "fewer than 5 rows in a fold in the mean: rare (3.5)" in rare
    assert "depends on how they were dealt" in " ".join("\n".join(found.said()).split())


def test_the_folds_are_one_model(frame, crossed):
    each = [fold.model.predict_values(frame) for fold in crossed.folds]
    np.testing.assert_allclose(crossed.model.predict_values(frame), np.mean(each, axis=0))
    loaded = danlu.load(crossed.run.path)
    np.testing.assert_array_equal(loaded.predict_values(frame), crossed.model.predict_values(frame))
    assert len(list(members_of(loaded))) == 2
    record = {"size": 0.3, "place": "red", "twin": "c1"}
    assert loaded.respond([record])[0]["label"] in ("common", "rare")
    assert len(loaded.head.scores) == 120  # of all rows, each by the model that did not see it
    assert set(loaded.predict_set(frame.head(3), 0.9)["set"]) <= {"rare", "common", "rare | common", "common | rare"}
    with pytest.raises(ConfigError, match="each fold keeps"):
        loaded.using("logistic")
    assert danlu.load(crossed.folds[0].run.path).using("logistic").predict(frame).height == 120
    said = []
    loaded.evaluate(frame, say=said.append)
    assert any(line.startswith("all 120 rows were") for line in said)


def test_a_killed_one_goes_on_with_the_same_bits(frame, crossed, tmp_path, monkeypatch):
    frame.write_csv(tmp_path / "t.csv")
    how = {"evaluate": FAST, "split": GROUPED, "name": "killed"}
    seen = []
    told = JSONLogger.on_epoch_end

    def dies(self, epoch, logs):
        seen.append(self)
        if len(seen) == 2:
            raise MemoryError("killed")
        told(self, epoch, logs)

    monkeypatch.setattr(JSONLogger, "on_epoch_end", dies)
    with pytest.raises(TrainingError):
        cross(tmp_path / "t.csv", tmp_path, **how)
    monkeypatch.undo()
    run = RunDirectory.open(tmp_path / "killed")
    first = (run.path / "folds" / "1" / "metrics.jsonl").read_text()
    assert not (run.path / "folds" / "2" / "results.json").exists()
    shutil.rmtree(run.path / "folds" / "1" / "checkpoints")
    with pytest.raises(danlu.errors.ArtifactError, match="no model yet"):
        danlu.load(run.path)
    found = resume(run.path, say=quiet, display="none")
    assert isinstance(found, CrossValidation)
    assert (run.path / "folds" / "1" / "metrics.jsonl").read_text() == first  # it was not trained again
    assert found.predictions.equals(crossed.predictions)
    np.testing.assert_array_equal(found.model.predict_values(frame), crossed.model.predict_values(frame))


def test_one_fold_alone_is_an_ordinary_training(frame, crossed, tmp_path):
    frame.write_csv(tmp_path / "t.csv")
    one = danlu.train(
        tmp_path / "t.csv",
        target="label",
        runs=tmp_path,
        display="none",
        say=quiet,
        **{**SMALL, "split": GROUPED},
        evaluate={**FAST, "folds": 2, "fold": 2},
    )
    np.testing.assert_array_equal(one.model.predict_values(frame), crossed.folds[1].model.predict_values(frame))


@pytest.mark.slow
def test_folds_by_time_end_in_the_last_model(frame, tmp_path):
    timed = frame.with_columns(day=pl.int_range(120)).drop("city", "twin").sample(fraction=1, shuffle=True, seed=0)
    found = cross(timed, tmp_path, split={"method": "time", "column": "day"})
    np.testing.assert_array_equal(found.model.predict_values(timed), found.folds[-1].model.predict_values(timed))
    for fold in found.folds:
        assert timed["day"].gather(fold.places).min() >= sum(fold.rows[part] for part in ("train", "validation"))
    assert found.rows == {"tested": 80}


def test_the_command_and_its_plan(frame, crossed, tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    frame.write_csv(path)
    settings = [f"{section}.{name}={value}" for section, part in SMALL.items() for name, value in part.items()]
    settings += ["split.method=group", "split.column=city", "evaluate.baselines=no", "evaluate.report=no"]
    line = ["train", str(path), *settings, "--target", "label", "--folds", "2", "--runs", str(tmp_path), "--name", "r"]
    result = CliRunner().invoke(app, [*line, "--display", "none"])
    assert result.exit_code == 0, result.output
    assert "120 tested rows" in result.output
    assert "fold 2 of 2: ROC-AUC" in result.output
    assert pl.read_csv(tmp_path / "r" / "predictions.csv").equals(crossed.predictions)
    values = {**SMALL, "data": {"source": str(path), "target": "label"}, "evaluate": {"folds": 2, "repeats": 3}}
    values["trainer"] = {**SMALL["trainer"], "minutes": 10}
    asked: list[int] = []
    monkeypatch.setattr(rehearsal, "need_devices", asked.append)
    plan = rehearse(config_from(values), display="none", say=quiet)
    assert asked == [1], "devices are made before anything is computed"
    assert plan.trainings == 6
    assert "for 6 folds" in str(plan)
    assert plan.training >= 6 * 600  # each goes on for the minutes that were asked for


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "evaluate.folds is 1"),
        ({"test": "t.csv"}, "received test, which is not a section"),
        ({"data": {"test": "t.csv"}}, "separate file"),
        ({"split": {"test": 0.3}}, "each fold is the test part"),
        ({"split": {"method": "time", "column": "size"}, "repeats": 2}, "the same again"),
        ({"split": {"method": "column", "column": "city"}}, "folds test every row"),
        ({"evaluate": {"fold": 3}}, "expected 1 to folds × repeats, 2"),
        ({"loss": "mse"}, "fit_folds"),
    ],
)
def test_what_cannot_be_crossed_is_one_message_and_no_run(frame, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        cross(frame, tmp_path / "runs", **settings)
    assert not (tmp_path / "runs").exists()


def test_train_names_cross_validate(frame, tmp_path):
    with pytest.raises(ConfigError, match=r"danlu.cross_validate"):
        danlu.train(frame, target="label", runs=tmp_path, say=quiet, evaluate={"folds": 3})


@pytest.mark.slow
@pytest.mark.parametrize("fold", ["1", "2"])
def test_sigkill_at_any_moment_changes_nothing(frame, crossed, tmp_path, fold):
    """Killed as soon as a fold has written something: its first epoch, or what comes after it."""
    path = tmp_path / "t.csv"
    frame.write_csv(path)
    settings = [f"{section}.{name}={value}" for section, part in SMALL.items() for name, value in part.items()]
    settings += ["split.method=group", "split.column=city", "evaluate.baselines=no", "evaluate.report=no"]
    line = [sys.executable, "-m", "danlu", "train", str(path), *settings, "--target", "label", "--folds", "2"]
    process = subprocess.Popen(
        [*line, "--runs", str(tmp_path), "--name", "r", "--display", "none"], stdout=-3, stderr=-3
    )
    mark = tmp_path / "r" / "folds" / fold / ("metrics.jsonl" if fold == "2" else "config.json")
    deadline = time.monotonic() + 300
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert mark.exists()
    assert not (tmp_path / "r" / "artifact").exists()
    found = resume(tmp_path / "r", say=quiet, display="none")
    assert found.predictions.equals(crossed.predictions)
    np.testing.assert_array_equal(found.model.predict_values(frame), crossed.model.predict_values(frame))


@pytest.mark.parametrize("kind", ["table", "text", "sequences"])
def test_the_number_of_a_row_is_that_in_the_source_where_rows_without_a_target_are_left_out(kind):
    rng = np.random.default_rng(0)
    labels = [[None, "a", "b", " "][number % 4] for number in range(80)]
    column = [f"words {number} of {number**2}" for number in range(80)] if kind == "text" else rng.normal(size=80)
    source = pl.DataFrame({"x": column, "label": labels})
    if kind == "sequences":
        source = {"x": rng.normal(size=(80, 4, 1)), "y": np.array([label or "" for label in labels])}
    data = {"table": {"target": "label"}, "text": {"target": "label", "text": "x"}, "sequences": {}}[kind]
    config = config_from({"data": data, "evaluate": {"folds": 2, "fold": 1}})
    prepared = prepare(config, source, say=quiet, begun=True)[1]
    codes = prepared.test[1]
    assert [labels[place] for place in prepared.places] == [prepared.target.classes[code] for code in codes]


def test_more_folds_than_rows_are_refused_in_these_words(frame, tmp_path):
    with pytest.raises(DataError, match="120 rows are too few for 121 folds"):
        cross(frame, tmp_path, folds=121)
