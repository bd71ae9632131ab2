"""Trials of kinds of data that have not one label a row: each is a training of its own, which a search goes on with."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.errors import ConfigError
from danlu.pipeline import config_from
from danlu.pipeline.once import prepare
from danlu.tuning.places import with_values
from danlu.tuning.trainings import LOSS, TrainingContest

FORECAST: dict[str, Any] = {
    "data": {"source": "frame"},
    "forecast": {"columns": ["load"], "horizon": 2, "context": 8},
    "trainer": {"epochs": 4, "batch_size": 32},
}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    time = [datetime.datetime(2024, 3, 1) + datetime.timedelta(hours=hour) for hour in range(120)]
    noise = np.random.default_rng(0).normal(0, 0.5, 120)
    return pl.DataFrame({"time": time, "load": np.sin(np.arange(120) / 2) + noise})


@pytest.fixture(scope="module")
def prepared(frame: pl.DataFrame) -> Any:
    config = config_from(FORECAST)
    domain, found, _ = prepare(config, frame, say=lambda line: None)
    return config, domain, found


def contest(prepared: Any, folder: Path) -> TrainingContest:
    config, domain, found = prepared
    configs = [with_values(config, {"trainer.learning_rate": rate}) for rate in (1e-4, 0.03, 1e30)]
    return TrainingContest(configs, domain, found, metric=LOSS, factor=2, folder=folder)


def test_a_trial_goes_on_from_rung_to_rung_and_after_a_kill(
    prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "danlu.engine.anchor.autopsy", lambda *step: None
    )  # hundreds of programs; test_engine_doctor.py has it
    done: list[float] = []
    whole = contest(prepared, tmp_path / "whole")
    assert whole.rungs == (1, 2, 4)
    first = whole.go(1, done.append)
    assert np.isnan(first[2])
    whole.keep([0, 1])
    last = [whole.go(2, done.append), whole.go(4, done.append)]
    assert sum(done) == 3 + 2 + 4
    assert all(after <= before for before, after in zip(first[:2], last[1], strict=True))
    killed = contest(prepared, tmp_path / "killed")
    killed.go(1, done.append)
    killed.keep([0, 1])
    killed.go(4, done.append)  # further than the rung that a search which goes on asks for
    again = contest(prepared, tmp_path / "killed")
    np.testing.assert_array_equal(again.go(1, done.append), first)
    again.keep([0, 1])
    assert [again.go(2, done.append), again.go(4, done.append)] == last
    assert not any(config.forecast.refit for config in again.configs)


def test_metrics_of_other_kinds(frame: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the metric is 'f1'; of forecasts a search goes by one of: loss"):
        danlu.tune(frame, metric="f1", runs=tmp_path, display="none", say=lambda line: None, **_settings())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_forecasts_are_searched(frame: pl.DataFrame, tmp_path: Path) -> None:
    found = danlu.tune(frame, trials=3, runs=tmp_path, display="none", say=lambda line: None, **_settings())
    assert found.metric == "loss"
    assert found.score == min(
        each.score for each in found.trials if each.state == "complete" and each.score is not None
    )
    assert not (found.run.path / "trials").exists()
    assert found.judgement.scores["mse"].value > 0


def _settings() -> dict[str, Any]:
    return {name: section for name, section in FORECAST.items() if name != "data"}
