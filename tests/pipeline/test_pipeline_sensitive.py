"""Sensitive columns are kept from the model and kept to judge it; slices are found in the test rows; both are said everywhere."""

from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.cli import main
from danlu.errors import ConfigError, SchemaError
from danlu.evaluate.judgement import Judgement
from danlu.pipeline import config_from
from danlu.pipeline.sensitive import by_columns_of
from danlu.pipeline.tables import Tables

SMALL = {
    "evaluate": {"baselines": False, "importance": False},
    "model": {"members": 2, "width": 8, "kind": "network"},
    "trainer": {"epochs": 12, "batch_size": 32, "learning_rate": 0.02},
    "split": {"folds": 1, "test": 0.5},
}
FAIR = {"sensitive": ["sex", "age"], "limits": {"age": [40]}, "smallest": 10}


def frame(rows: int = 480) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    sex = rng.choice(["f", "m"], rows)
    size = (rng.normal(size=rows) + (sex == "m")).round(3)
    age = rng.integers(18, 80, rows)
    colour = rng.choice(["red", "green", "blue"], rows)
    label = np.where(size + rng.normal(size=rows) > 0.5, "yes", "no")
    lost = [None if i % 9 == 0 else each for i, each in enumerate(sex.tolist())]
    return pl.DataFrame({"size": size, "colour": colour, "sex": lost, "age": age, "label": label})


def train(source, folder, **settings):
    said: list[str] = []
    result = danlu.train(
        source, runs=folder, display="none", say=said.append, target="label", **{**SMALL, "fairness": FAIR, **settings}
    )
    return result, "\n".join(said)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fair")
    frame().write_csv(folder / "t.csv")
    return *train(str(folder / "t.csv"), folder), folder


def test_the_model_does_not_see_them_and_is_judged_by_them(run):
    result, said, _ = run
    assert [field.name for field in result.model.fields] == ["size", "colour"]
    assert "columns 'sex', 'age' are sensitive: kept to compare groups by, and no inputs" in said
    assert result.model.encoder.schema["sex"].reason == "sensitive"
    by = {each.column: each for each in result.judgement.fairness}
    assert list(by) == ["sex", "age", "sex × age"]
    assert {group.name for group in by["sex"].groups} == {"f", "m", "missing"}
    assert [group.name for group in by["age"].groups] == ["below 40", "40 and more"]
    assert sum(group.rows for group in by["sex × age"].groups) == result.rows["test"]
    truth, chosen = result.judgement.evidence.truth, result.judgement.evidence.chosen
    own = result.judgement.groups[1].codes == 0
    assert by["age"].groups[0].rates["yes"]["selected"].value == pytest.approx((chosen[own] == 1).mean())
    assert by["age"].groups[0].rates["yes"]["base"].value == pytest.approx((truth[own] == 1).mean())
    notes = "\n".join(result.judgement.said)
    assert "the other columns tell sex" in notes
    assert "the other columns tell age hardly" in notes


def test_report_results_and_show_say_it(run, monkeypatch, capfd):
    result, _, _ = run
    told = json.loads((result.run.path / "results.json").read_text())
    assert [each["column"] for each in told["fairness"]] == ["sex", "age", "sex × age"]
    assert told["slices"]["searched"] + told["slices"]["judged"] == result.rows["test"]
    page = (result.run.path / "report.html").read_text()
    for text in (
        "Fairness by sex",
        "Fairness by sex × age",
        "equalised odds",
        "Calibration of each group",
        "Where it is worst",
    ):
        assert text in page
    for words in (("show",), ("slices",)):
        monkeypatch.setattr(sys, "argv", ["danlu", *words, str(result.run.path)])
        with pytest.raises(SystemExit):
            main()
    shown = capfd.readouterr().out
    assert "By sex × age: rates of 'yes'" in shown
    assert shown.count("slices of") >= 2
    assert max(map(len, shown.split("\n\nfiles")[0].split("\n"))) <= 80


def test_evaluate_compares_the_same_groups_and_others(run, tmp_path):
    result, _, _ = run
    model, rows, notes = danlu.load(result.run.path), frame().head(300), []
    found = model.evaluate(rows, say=notes.append, smallest=5)
    assert [each.column for each in found.fairness] == ["sex", "age", "sex × age"]
    assert [group.name for group in found.fairness[1].groups] == ["below 40", "40 and more"]
    assert sum(group.rows for group in found.fairness[0].groups) == len(found.evidence)
    assert not model.evaluate(rows.drop("sex", "age"), say=notes.append).fairness
    assert "the data has no column 'sex', 'age', so that groups by it are not compared" in notes
    colour = model.evaluate(rows, sensitive="colour", say=notes.append, smallest=5).fairness
    assert {group.name for group in colour[0].groups} == {"red", "green", "blue"}
    with pytest.raises(ConfigError, match=r"sensitive column 'gender'(.|\n)*sex"):
        model.evaluate(rows, sensitive="gender", say=notes.append)
    with pytest.raises(ConfigError, match="which is the target"):
        model.evaluate(rows, sensitive=f"sex,{model.encoder.schema.target}", say=notes.append)
    lacking = rows.with_columns(label=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("label"))
    again = model.evaluate(lacking, say=notes.append, smallest=5)
    assert sum(group.rows for group in again.fairness[1].groups) == len(again.evidence), (
        "rows without a target are left out"
    )
    assert model.slices(rows, say=notes.append).searched > 0


def test_asked_for_they_are_inputs(tmp_path):
    fair = {**FAIR, "sensitive": ["sex"], "limits": {}, "as_input": True}
    result, said = train(
        frame(), tmp_path, fairness=fair, evaluate={**SMALL["evaluate"], "report": False, "slices": False}
    )
    assert [field.name for field in result.model.fields] == ["size", "colour", "sex", "age"]
    assert "sensitive: kept" not in said
    assert not any("other columns tell" in note for note in result.judgement.said)
    assert result.judgement.slices is None


def test_the_test_of_folds_is_of_all_rows(run):
    one = run[0].judgement
    assert one.groups
    halves = [np.arange(len(one.evidence)) % 2 == part for part in (0, 1)]
    parts = []
    for half in halves:
        rows = np.flatnonzero(half)
        groups = tuple(each.take(rows) for each in one.groups)
        parts.append(Judgement({}, groups=groups, fairness=one.fairness, shown=one.shown[rows]))
    order = np.concatenate([np.flatnonzero(half) for half in halves])
    whole = by_columns_of(parts, Judgement({}, evidence=one.evidence.take(order)), seed=0)
    for ours, theirs in zip(whole.fairness, one.fairness, strict=True):
        assert [each.difference.value for each in ours.gaps] == pytest.approx(
            [each.difference.value for each in theirs.gaps]
        )
    assert whole.slices.searched == one.slices.searched


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fairness": {"sensitive": ["sexe"]}}, r"sensitive column 'sexe'(.|\n)*'sex'"),
        ({"fairness": {"sensitive": ["label"]}}, "which is the target"),
        ({"fairness": {"sensitive": ["sex"], "limits": {"age": [3]}}}, "fairness.limits names 'age'"),
        ({"fairness": {"sensitive": ["size"], "limits": {"size": [3, 1]}}}, "expected rising numbers"),
        ({"fairness": {"as_input": True}}, "add fairness.sensitive"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(frame(60), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def apart(result) -> float:
    """How much higher the mean probability of yes is for m than for f."""
    rates = {group.name: group.rates["yes"] for group in result.judgement.fairness[0].groups}
    mean = [rates[name]["bias"].value + rates[name]["base"].value for name in "mf"]
    return mean[0] - mean[1]


def test_reweighed_rows_make_class_and_group_independent():
    given = {"data": {"source": "table", "target": "label"}, "fairness": {"sensitive": ["sex"], "mitigate": "reweigh"}}
    config = config_from({**given, "split": {"folds": 1}})
    prepared = Tables().prepare(config, frame())
    lesson = prepared.sensitive.lesson(config.fairness, prepared)
    _, labels, weight = lesson["data"]
    codes = prepared.sensitive.train[0].codes
    shares = [np.average(labels[codes == code], weights=weight[codes == code]) for code in range(3)]
    assert shares == pytest.approx([labels.mean()] * 3)
    assert len(lesson["validation"][2]) == prepared.rows["validation"]


@pytest.mark.parametrize("mitigate", ["penalty", "thresholds"])
def test_what_brings_the_groups_closer(mitigate, run, tmp_path):
    fair = {"sensitive": ["sex"], "smallest": 10, "mitigate": mitigate}
    changes = {"evaluate": {**SMALL["evaluate"], "report": False, "slices": False}}
    result, _ = train(
        frame(), tmp_path, fairness={**fair, **({"strength": 50} if mitigate == "penalty" else {})}, **changes
    )
    if mitigate == "penalty":
        assert {"error", "group_gap", "val_group_gap"} <= result.fitted.history[0].keys()
        assert apart(result) < 0.9 * apart(run[0])
    assert result.judgement.trade_off.points[-1].allowed is None
    loaded, rows = danlu.load(result.run.path), frame().head(40)
    if mitigate != "thresholds":
        assert loaded.predict(rows.drop("sex")).height == 40
        return
    assert len({*loaded.head.cuts.thresholds}) > 1
    assert "by group: " in dict(loaded.head.said)["decision"]
    p, cuts = loaded.predict_values(rows)[:, 1], loaded.head.cuts.of(rows, 0.5)
    expected = np.where(p >= cuts, "yes", "no").tolist()
    assert loaded.predict(rows)["label"].to_list() == expected
    records = rows.drop("label").to_dicts()
    assert [each["label"] for each in loaded.respond(records)] == expected
    assert loaded.evaluate(rows, say=lambda line: None).evidence.threshold.ndim == 1
    with pytest.raises(SchemaError, match="lacks the column 'sex', by whose groups the model decides"):
        loaded.predict(rows.drop("sex"))
    with pytest.raises(SchemaError, match="sex"):
        loaded.respond([{name: value for name, value in records[0].items() if name != "sex"}])
