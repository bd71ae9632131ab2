"""Training from Python: frames, splits, test files, the answers to class imbalance, and resuming."""

import json

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.pipeline import config_from, resume
from danlu.pipeline.domains import domain_of
from danlu.pipeline.train import baseline_seconds

SMALL = {
    "evaluate": {"baselines": False, "report": False},
    "model": {"members": 2, "width": 8, "kind": "network"},
    "trainer": {"epochs": 3, "batch_size": 32},
}


def quiet(line):
    pass


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    size = rng.normal(size=240).round(3)
    colour = rng.choice(["red", "green", "blue"], 240)
    label = np.where(size + (colour == "red") > 1.2, "rare", "common")
    group = [f"g{number % 12}" for number in range(240)]
    return pl.DataFrame({"size": size, "colour": colour, "group": group, "label": label})


def train(source, folder, **settings):
    said = []
    result = danlu.train(
        source, runs=folder, display="none", say=said.append, **{"target": "label", **SMALL, **settings}
    )
    return result, "\n".join(said)


def test_a_frame_is_trained_on_and_the_run_loads(frame, tmp_path):
    result, said = train(frame, tmp_path, model={"members": 2, "width": 8})
    assert "label has 2 different values: common, rare" in said
    loaded = danlu.load(result.run.path)
    np.testing.assert_array_equal(loaded.predict_values(frame), result.model.predict_values(frame))
    assert loaded.evaluate(frame).scores.keys() == result.scores.keys()
    for shown in (result, loaded, loaded.evaluate(frame)):
        assert "<table" in shown._repr_html_()
    assert "roc_auc=" in repr(result)
    assert set(loaded.predict(frame)["label"]) <= {"common", "rare"}


def test_simple_models_are_kept_and_rows_seen_in_training_are_recognised(frame, tmp_path):
    result, _ = train(frame, tmp_path, evaluate={"baselines": True, "report": False, "importance": False})
    model, notes = danlu.load(result.run.path), []
    assert {each.kept for each in result.judgement.comparisons} == {"commonest", "logistic", "boosting"}
    written = pl.read_csv(result.run.path / "baselines.csv")
    for name in ("commonest", "logistic", "boosting"):
        simple = model.using(name)
        judged = simple.evaluate(frame, say=notes.append)
        label = next(each.label for each in result.judgement.comparisons if each.kept == name)
        for measure, score in judged.scores.items():
            assert score.value == pytest.approx(result.judgement.others[label][measure].value, rel=1e-6, abs=1e-7), (
                measure
            )
        assert written[f"{name}: probability rare"].to_numpy() == pytest.approx(
            judged.evidence.prediction[:, 1], abs=1e-6
        )
    tests = result.rows["test"]
    equal = "rows were in the training data, or look the same to the model as a training row"
    assert f"{240 - tests} of 240 {equal}; the scores are of the {tests} others" in notes
    assert model.evaluate(frame, say=quiet).scores["log_loss"].value == pytest.approx(result.scores["log_loss"])
    with pytest.raises(ConfigError, match="boosting, commonest, logistic"):
        model.using("logistics")


FEW = {"epochs": 12, "batch_size": 32}


@pytest.fixture(scope="module")
def plain(frame, tmp_path_factory):
    return train(frame, tmp_path_factory.mktemp("plain"), trainer=FEW)[0]


@pytest.mark.parametrize(
    "imbalance",
    [
        {"class_weight": "balanced"},
        {"resample": "oversample"},
        # that fewer rows even out the classes is in tests/tasks/test_folds.py
        pytest.param({"resample": "undersample"}, marks=pytest.mark.slow),
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_each_answer_to_imbalance_finds_more_of_the_rare_class(frame, plain, tmp_path, imbalance):
    other, _ = train(frame, tmp_path, name="other", trainer=FEW, imbalance=imbalance)
    rare = lambda result: (result.model.predict(frame)["label"] == "rare").sum()  # noqa: E731
    assert rare(other) >= rare(plain)
    moved = other.model.predict_values(frame) != plain.model.predict_values(frame)
    assert moved.any()


def test_what_a_file_to_predict_leaves_out_is_told(plain, tmp_path):
    (tmp_path / "new.csv").write_text("size,colour,group\n0.5,red,g1\n,,\n0.1,blue,g2\n")
    said = []
    assert plain.model.predict(tmp_path / "new.csv", say=said.append).height == 2
    assert any("1 line has delimiters and no value" in line for line in said)


def test_focal_loss_is_used(frame, tmp_path):
    result, _ = train(frame, tmp_path, imbalance={"focal_gamma": 2.0})
    assert type(result.fitted.program.objective.loss).__name__ == "CategoricalFocal"


def test_one_network_and_validation_rows_on_request(frame, tmp_path):
    result, _ = train(frame, tmp_path, split={"folds": 1})
    assert result.rows["validation"] > 0
    assert type(result.fitted.program.objective.loss).__name__ == "CategoricalCrossEntropy"


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"folds": 10_000}, "at most the number of rows"),
        ({"folds": 2, "method": "group", "column": "group"}, "at random"),
    ],
)
def test_folds_that_cannot_be(frame, tmp_path, split, message):
    with pytest.raises(ConfigError, match=message):
        train(frame.with_columns(pl.Series("group", np.arange(frame.height) % 9)), tmp_path, split=split)


def test_a_threshold_is_saved_and_used(frame, tmp_path):
    result, _ = train(frame, tmp_path, imbalance={"threshold": "f1"})
    loaded = danlu.load(result.run.path)
    assert loaded.head.threshold == result.model.head.threshold
    probability = loaded.predict_values(frame)[:, 1]
    expected = np.where(probability >= loaded.head.threshold, "rare", "common")
    assert loaded.predict(frame)["label"].to_list() == expected.tolist()


def test_calibration_costs_and_sets_are_said_saved_and_used(frame, tmp_path):
    chosen = {"calibrate": "temperature", "cost": {"rare": 4}, "level": 0.8}
    result, said = train(
        frame, tmp_path, answers=chosen, evaluate={"importance": False}, model={**SMALL["model"], "kind": "network"}
    )
    told = json.loads((result.run.path / "results.json").read_text())
    assert list(told["answers"]) == ["probabilities", "decision", "sets"]
    for name, text in told["answers"].items():
        assert (f"{name}: {text}" in said) == (name != "sets"), name  # the test says what the sets come to
        assert name in (result.run.path / "report.html").read_text()
    assert all("cost" in each for each in told["baselines"].values())
    assert told["intervals"]["set_coverage"][0] <= told["test"]["set_coverage"] <= told["intervals"]["set_coverage"][1]
    assert "The 80 % sets contained" in str(result.judgement)
    loaded = danlu.load(result.run.path)
    np.testing.assert_array_equal(loaded.predict_values(frame), result.model.predict_values(frame))
    probability = loaded.predict_values(frame)[:, 1]
    assert loaded.head.threshold == 0.2
    found = loaded.predict_set(frame, level=0.9, by_class=True)
    assert found["label"].to_list() == np.where(probability >= 0.2, "rare", "common").tolist()
    assert found["set"].is_in(["rare", "common", "rare | common", "common | rare"]).all()
    assert loaded.evaluate(frame, say=quiet).scores.keys() == result.scores.keys()
    record = frame.drop("label").row(0, named=True)
    assert isinstance(loaded.asking(sets=0.9).respond([record])[0]["set"], list)
    simple = loaded.using("logistic")
    assert simple.head.threshold == 0.2  # its own best decision
    assert simple.head.temperature is None  # the network's is not its own
    with pytest.raises(ConfigError, match="no scores of rows"):
        simple.asking(sets=0.9)
    with pytest.raises(ConfigError, match="this model predicts classes"):
        loaded.predict_interval(frame)


def test_groups_stay_together_and_are_not_learnt_from(frame, tmp_path):
    result, said = train(frame, tmp_path, split={"method": "group", "column": "group"})
    assert "'group' defines the split" in said
    assert "group" not in [column.name for column in result.model.encoder.schema.features]


def test_a_column_divides_the_rows(frame, tmp_path):
    part = np.repeat(["train", "val", "test"], [150, 50, 40])
    result, _ = train(
        frame.with_columns(pl.Series("part", part)), tmp_path, split={"method": "column", "column": "part"}
    )
    assert result.rows == {"train": 150, "validation": 50, "test": 40}


def test_a_test_file_may_spell_its_labels_with_a_dot(frame, tmp_path):
    frame.write_csv(tmp_path / "train.csv")
    other = frame.head(60).with_columns(pl.col("label") + ".")
    other.write_csv(tmp_path / "test.csv")
    result, said = train(tmp_path / "train.csv", tmp_path, test=tmp_path / "test.csv")
    assert result.rows["test"] == 60
    assert "another spelling" in said
    evaluated = result.model.evaluate(other, say=quiet).as_dict()
    assert evaluated["test"] == pytest.approx(result.scores)


def test_a_test_file_with_other_columns_is_refused(frame, tmp_path):
    frame.write_csv(tmp_path / "train.csv")
    frame.drop("size").write_csv(tmp_path / "test.csv")
    with pytest.raises(DataError, match="lacks the columns: size"):
        train(tmp_path / "train.csv", tmp_path, test=tmp_path / "test.csv")


def test_regression_keeps_the_unit_of_the_target(frame, tmp_path):
    frame = frame.with_columns((1000 + 50 * pl.col("size")).alias("price")).drop("label")
    result, _ = train(frame, tmp_path, target="price", trainer={"epochs": 60, "batch_size": 32, "loss": "huber"})
    assert 900 < result.model.predict_values(frame).mean() < 1100
    assert result.scores["r2"] > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "labl"}, "did you mean 'label'"),
        ({"trainer": {"epoch": 3}}, "trainer.epochs"),
        ({"imbalance": {"threshold": "f2"}}, "threshold"),
        ({"target": "size", "imbalance": {"resample": "oversample"}}, "is for classification"),
        ({"trainer": {"loss": "mae"}}, "is for a quantity"),
        ({"split": {"method": "group"}}, "needs a column"),
    ],
    ids=["target", "setting", "choice", "regression-resample", "class-loss", "group"],
)
def test_a_mistake_is_one_message_and_leaves_no_run(frame, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        train(frame, tmp_path / "runs", **settings)
    assert not (tmp_path / "runs").exists()


def test_resuming_on_other_data_is_refused(frame, tmp_path):
    frame.write_csv(tmp_path / "t.csv")
    result, _ = train(tmp_path / "t.csv", tmp_path)
    frame.head(200).write_csv(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="not what the run"):
        resume(result.run.path, say=quiet, display="none")


def test_resuming_a_finished_run_changes_nothing(frame, tmp_path):
    frame.write_csv(tmp_path / "t.csv")
    result, _ = train(tmp_path / "t.csv", tmp_path)
    before = result.run.metrics_path.read_text()
    again = resume(result.run.path, say=quiet, display="none")
    np.testing.assert_array_equal(again.model.predict_values(frame), result.model.predict_values(frame))
    assert result.run.metrics_path.read_text() == before
    assert json.loads(result.run.results_path.read_text())["test"] == pytest.approx(again.scores)


def test_evaluation_needs_the_target(frame, tmp_path):
    result, _ = train(frame, tmp_path)
    with pytest.raises(SchemaError, match="lacks the target 'label'"):
        result.model.evaluate(frame.drop("label"))


@pytest.mark.slow
def test_a_streamed_table_gives_a_model_like_that_of_the_table_in_memory(frame, tmp_path):
    many = pl.concat([frame] * 4)
    many.write_parquet(tmp_path / "t.parquet")
    few = {"epochs": 25, "batch_size": 32}
    streamed, said = train(tmp_path / "t.parquet", tmp_path, name="s", data={"stream": True}, trainer=few)
    whole, _ = train(tmp_path / "t.parquet", tmp_path, name="w", trainer=few)
    assert sum(streamed.rows.values()) == many.height
    assert "label has 2 different values" in said
    assert min(streamed.scores["roc_auc"], whole.scores["roc_auc"]) > 0.9
    again = resume(streamed.run.path, say=quiet, display="none")
    np.testing.assert_array_equal(again.model.predict_values(frame), streamed.model.predict_values(frame))


def test_a_stream_cannot_be_resampled(frame, tmp_path):
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="whole table in memory"):
        train(tmp_path / "t.parquet", tmp_path, data={"stream": True}, imbalance={"resample": "oversample"})


def test_baselines_have_the_trainings_time_unless_the_user_says_another() -> None:
    own = config_from({"evaluate": {"baseline_seconds": 5}})
    assert baseline_seconds(own, 100.0) == 5
    assert baseline_seconds(config_from({}), 100.0) == 100
    assert baseline_seconds(config_from({}), 1.0) == 30


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            ["NA", "EU"],
            r"same value in every row: 'EU'(.|\n)*'NA' means missing; data.missing=\{\"y\": \[\]\} keeps it",
        ),
        ([f"~{i}" for i in range(60)], r"too many to be classes(.|\n)*column y: values like '~0' look like numbers"),
    ],
)
def test_what_was_read_of_the_target_is_said_where_it_cannot_be_learnt(labels, said, tmp_path):
    frame = pl.DataFrame({"x": range(60), "y": [labels[i % len(labels)] for i in range(60)]})
    frame.write_csv(tmp_path / "t.csv")
    config = config_from({"data": {"source": str(tmp_path / "t.csv"), "target": "y"}})
    with pytest.raises(DataError, match=said):
        domain_of(config, config.data.source).prepare(config, config.data.source)
