"""Presets are settings and nothing else: said in full, under the user's own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from danlu.data import TargetEncoder
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate import Rows, compare
from danlu.evaluate.usual import usual
from danlu.pipeline import preset
from danlu.pipeline.config import config_from, override, setting_names
from danlu.pipeline.presets import PRESETS
from danlu.tasks import Answers, Imbalance
from danlu.trained import Labels


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_settings_that_are_said_in_full(name):
    settings, said = preset(name)
    assert set(PRESETS[name]) <= set(setting_names())
    config = config_from(settings)
    line = next(each for each in said if "your own" not in each)
    assert config_from(override({}, line.split(": ")[1].split())) == config
    assert all(config.setting(dotted) == value for dotted, value in PRESETS[name].items())


def test_the_users_own_settings_come_first():
    given = {"answers": {"compare_by": "ks"}, "scorecard": {"bins": 4}}
    settings, said = preset("risk", given)
    assert settings["answers"] == {"compare_by": "ks", "calibrate": "auto"}
    assert settings["scorecard"] == {"bins": 4, "compare": True}
    assert any("your own stays: answers.compare_by=ks" in line for line in said)
    assert given == {"answers": {"compare_by": "ks"}, "scorecard": {"bins": 4}}
    with pytest.raises(ConfigError, match="risk"):
        preset("risky")


def test_costs_are_asked_for_until_they_are_said():
    assert any("--cost" in line for line in preset("risk")[1])
    assert not any("--cost" in line for line in preset("risk", {"answers": {"cost": {"fn": 5}}})[1])


@pytest.mark.parametrize("times", [0, 1, 2])
def test_fraud_is_tested_on_the_latest_rows_by_the_one_column_of_times(tmp_path, times):
    frame = pl.DataFrame({"amount": np.arange(40.0), "fraud": ["no", "yes"] * 20})
    for number in range(times):
        frame = frame.with_columns(pl.Series(f"when{number}", [f"2026-0{1 + i % 9}-{10 + i % 17}" for i in range(40)]))
    frame.write_csv(tmp_path / "orders.csv")
    data = {"source": str(tmp_path / "orders.csv"), "target": "fraud"}
    settings, said = preset("fraud", {"data": data})
    if times == 1:
        assert settings["split"] == {"method": "time", "column": "when0"}
        assert any("latest rows by 'when0'" in line for line in said)
    else:
        assert "split" not in settings
        assert any("rows are drawn at random" in line for line in said)
    for own in ({"split": {"method": "random"}}, {"evaluate": {"folds": 3}}, {"data": {"test": "x.csv"}}):
        settings, _ = preset("fraud", {"data": data | own.pop("data", {}), **own})
        assert settings.get("split", {}).get("method") != "time"


def test_models_are_compared_by_the_measure_that_was_chosen():
    rng = np.random.default_rng(0)
    truth = (rng.random(300) < 0.2).astype(int)
    p = 1 / (1 + np.exp(2 - 2 * truth - rng.normal(size=300)))
    both = np.stack([1 - p, p], axis=1)
    target = TargetEncoder("y", "binary", ("no", "yes"))
    answers = Answers(compare_by="average_precision")
    answers.check("binary", ("no", "yes"), Imbalance())
    head = Labels.from_state(*answers.head(target).state())
    rows = head.evidence(both, truth)
    assert rows.primary == "average_precision"
    assert rows.take(np.arange(200)).with_prediction(both[:200]).primary == "average_precision"
    assert compare(rows, both[:, ::-1], "the other way").metric == "average_precision"
    assert Rows("binary", truth, both).primary == "roc_auc"
    assert usual("mcc", [*rows.measures()])[0] == "mcc"
    assert len(usual("f1", [*rows.measures()])) == len(set(usual("f1", [*rows.measures()])))
    told, arrays = head.state()
    with pytest.raises(ArtifactError, match="measure to compare by"):
        Labels.from_state({**told, "compare_by": "rmse"}, arrays)


@pytest.mark.parametrize(
    ("task", "name", "match"),
    [
        ("regression", "gini", "of two classes; this target is a quantity"),
        ("multiclass", "gini", "--preset risk"),
        ("binary", "rmse", "unknown measure"),
        ("binary", "alert_rate", "measure"),
        ("binary", "recall_at_rate", "needs answers.alert_rate"),
        ("binary", "cost", "needs answers.cost"),
    ],
)
def test_a_measure_that_does_not_fit_is_refused(task, name, match):
    with pytest.raises(ConfigError, match=match):
        Answers(compare_by=name).check(task, ("a", "b"), Imbalance())
