"""``danlu tune`` on a small table: trials as populations, the run that it leaves, and wrong use."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import danlu
from danlu.cli import main
from danlu.errors import ConfigError, DanluError, MissingExtraError
from danlu.pipeline.config import config_from, override
from danlu.pipeline.space import Choice, Span, as_place, read_places
from danlu.pipeline.train import prepare
from danlu.tuning import Tuned, tune
from danlu.tuning.networks import NetworkContest
from danlu.tuning.places import places, with_values

ROWS = {
    "x": [float(i % 9) for i in range(80)],
    "z": [i / 7 % 1 for i in range(80)],
    "y": ["no" if i % 9 < 4 else "yes" for i in range(80)],
}
SMALL: dict[str, Any] = {
    "model": {"kind": "network", "width": 8, "depth": 1, "members": 2},
    "trainer": {"epochs": 2},
    "split": {"folds": 2},
    "evaluate": {"baselines": False, "importance": False},
}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, list[str]]:
    said: list[str] = []
    folder = tmp_path_factory.mktemp("runs")
    how = {"trials": 3, "batch": 3, "runs": folder, "name": "mine", "display": "none", "say": said.append}
    return tune(ROWS, target="y", **how, **SMALL), said


def test_the_best_settings_are_found_and_trained_with(tuned: tuple[Tuned, list[str]]) -> None:
    found, said = tuned
    assert found.run.path.name == "mine"
    assert set(found.settings) == {"trainer.learning_rate", "trainer.weight_decay", "model.dropout"}
    assert [each.state for each in found.trials] == ["stopped", "complete", "stopped"] or found.trials[
        0
    ].state == "complete"
    assert found.score == min(
        each.score for each in found.trials if each.state == "complete" and each.score is not None
    )
    assert found.judgement.scores["log_loss"].value > 0
    assert found.model.network.network.dropout == found.settings["model.dropout"]
    assert any("best of 3 trials" in line for line in said)
    rows = [json.loads(line) for line in (found.run.path / "trials.jsonl").read_text().splitlines()]
    assert [row["number"] for row in rows] == [0, 1, 2]
    report = found.run.report_path.read_text()
    assert "The search" in report
    assert "the best of many such scores is a little too good" in report


def test_the_command_trains_the_same_network(tuned: tuple[Tuned, list[str]], tmp_path: Path) -> None:
    found, _ = tuned
    words = shlex.split(found.command)
    assert words[:3] == ["danlu", "train", "table"]
    values = override({}, words[words.index("--target") + 2 :])
    again = danlu.train(ROWS, target="y", runs=tmp_path, display="none", say=lambda line: None, **values)
    for one, other in zip(jax.tree.leaves(again.model.params), jax.tree.leaves(found.model.params), strict=True):
        np.testing.assert_array_equal(one, other)


def contest(rates: list[float], metric: str, together: int) -> NetworkContest:
    config = config_from({**SMALL, "data": {"source": "table", "target": "y"}})
    domain, prepared, _ = prepare(config, ROWS, say=lambda line: None)
    configs = [with_values(config, {"trainer.learning_rate": rate, "model.dropout": min(rate, 0.5)}) for rate in rates]
    return NetworkContest(configs, domain, prepared, metric=metric, factor=2, together=together)  # type: ignore[arg-type]


def test_trials_in_one_program_are_those_one_after_the_other() -> None:
    rates = [0.001, 0.1, 0.02]
    one, all_ = contest(rates, "log_loss", 1), contest(rates, "log_loss", 3)
    nothing = lambda done: None  # noqa: E731
    np.testing.assert_allclose(one.go(1, nothing), first := all_.go(1, nothing), rtol=1e-4)
    assert len(set(first)) == 3
    for each in (one, all_):
        each.keep([2, 1])
    np.testing.assert_allclose(one.go(2, nothing), last := all_.go(2, nothing), rtol=1e-4)
    assert last[0] < first[2]
    for each in (one, all_):
        each.metric = "roc_auc"
    assert one._score(one.parts[0], 0) == pytest.approx(all_._score(all_.parts[0], 0))  # type: ignore[arg-type]
    one.metric = "log_loss"
    one.lesson["monitor"] = "another"  # then it is computed from the answers
    assert one._score(one.parts[0], 0) == pytest.approx(last[0], rel=1e-4)  # type: ignore[arg-type]


def test_a_trial_that_diverges_has_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "danlu.engine.anchor.autopsy", lambda *step: None
    )  # hundreds of programs; test_engine_doctor.py has it
    found = contest([1e30, 1e30], "log_loss", 2).go(1, lambda done: None)
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"metric": "logloss"}, "unknown metric 'logloss'; expected one of: .*log_loss"),
        ({"metric": "rmse"}, "rmse is not for this target, which is of classes; expected one of: accuracy"),
        ({"trials": 0}, "trials is 0; expected a whole number >= 1"),
        ({"minutes": -1}, "minutes is -1; expected a number above 0"),
        (
            {"search": {"model.width": [4, 8]}},
            r"model.width is 8, and it is to be searched in 4,8; expected one of them",
        ),
        ({"search": {"trainer.epochs": [4, 8]}}, "trainer.epochs is 2, and it is to be searched"),
        ({"search": {"trainer.patience": [4, 8]}}, "unknown setting to search of tables 'trainer.patience'"),
        ({"search": {"trainer.learning_rate": (0.1, 0.01)}}, "the span 0.1..0.01 is empty"),
        ({"search": {"trainer.learning_rate": (0.1, 0.1)}}, "expected two different ends"),
        ({"search": {"model.dropout": (0.1, 1.5)}}, "dropout is 1.5; expected"),
        (
            {"search": {"trainer.batch_size": 8}},
            r"trainer.batch_size is searched in 8; expected a span \(low, high\) or choices",
        ),
        ({"search": ["trainer.batch_size"]}, "search is .*; expected a dict"),
    ],
)
def test_wrong_use_is_one_message(how: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(ROWS, target="y", runs=tmp_path, display="none", say=lambda line: None, **SMALL, **how)
    assert not list(tmp_path.glob("*"))


def test_everything_fixed_leaves_nothing_to_search(tmp_path: Path) -> None:
    settings = {
        **SMALL,
        "model": {**SMALL["model"], "dropout": 0.1},
        "trainer": {"learning_rate": 0.1, "weight_decay": 0.1},
    }
    with pytest.raises(ConfigError, match="every setting that danlu tune searches is fixed"):
        tune(ROWS, target="y", runs=tmp_path, display="none", say=lambda line: None, **settings)


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match="danlu tune needs optuna\nHint: pip install") as caught:
        tune(ROWS, target="y", runs=tmp_path, display="none")
    assert isinstance(caught.value, DanluError)


def test_a_search_that_has_not_ended_is_not_trained_on(tuned: tuple[Tuned, list[str]], tmp_path: Path) -> None:
    run = tuned[0].run
    facts = run.read_json("tune.json")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tune.json").write_text(json.dumps({**facts, "state": "searching"}))
    with pytest.raises(ConfigError, match="is a search for settings that has not ended\nHint: danlu tune --resume"):
        danlu.pipeline.resume(tmp_path)
    (tmp_path / "tune.json").unlink()
    with pytest.raises(ConfigError, match="is no search\nHint: danlu train --resume"):
        danlu.tuning.resume(tmp_path)


def test_a_storage_is_of_one_table_and_its_settings(tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "target": "y",
        "runs": tmp_path / "runs",
        "display": "none",
        "say": lambda line: None,
        "trials": 1,
    }
    how |= {"storage": tmp_path / "study.log", **SMALL, "evaluate": {**SMALL["evaluate"], "report": False}}
    first = tune(ROWS, **how)
    again = tune(ROWS, **how)  # all trials are there
    assert again.trials == first.trials
    with pytest.raises(ConfigError, match="holds a search of other data"):
        tune({**ROWS, "x": ROWS["x"][::-1]}, **how)
    with pytest.raises(ConfigError, match="holds a search with metric 'log_loss'; this one has 'roc_auc'"):
        tune(ROWS, **how, metric="roc_auc")
    with pytest.raises(ConfigError, match="holds a search with fixed"):
        tune(ROWS, **{**how, "trainer": {"epochs": 3}})


def test_a_span_is_on_the_scale_that_is_proposed() -> None:
    config = config_from({"data": {"source": "table", "target": "y"}, "trainer": {"epochs": 1}})
    domain, _, plan = prepare(config, ROWS, say=lambda line: None)
    found = places(
        config, domain, plan, {"trainer.weight_decay": Span(0.1, 0.2), "trainer.batch_size": Choice((8, 16))}
    )
    assert found["trainer.weight_decay"] == Span(0.1, 0.2, log=True)
    assert set(found) == {
        *(f"trainer.{name}" for name in ("learning_rate", "weight_decay", "batch_size")),
        *(f"model.{name}" for name in ("dropout", "width", "depth")),
    }


def test_settings_on_the_command_line_are_fixed_or_searched() -> None:
    fixed, searched = read_places(
        ["data.drop=a,b", "model.width=8,16", "trainer.learning_rate=1e-4..0.1", "split.test=0.1"],
        lambda name: name != "data.drop",
    )
    assert fixed == ["data.drop=a,b", "split.test=0.1"]
    assert searched == {"model.width": Choice((8, 16)), "trainer.learning_rate": Span(1e-4, 0.1, log=True)}
    assert as_place("model.members", (2, 4)) == Span(2, 4, integer=True)
    with pytest.raises(ConfigError, match=r"model\.width is given twice"):
        read_places(["model.width=8", "model.width=8,16"], lambda name: True)
    with pytest.raises(ConfigError, match=r"is '1\.\.x'; expected a span"):
        read_places(["model.width=1..x"], lambda name: True)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    import polars as pl

    pl.DataFrame(ROWS).write_csv(tmp_path / "t.csv")
    settings = {"model.kind": "network", "model.width": 8, "model.depth": 1, "model.members": 2, "trainer.epochs": 2}
    settings |= {"split.folds": 2, "evaluate.baselines": "false", "evaluate.importance": "false"}
    words = [f"{name}={value}" for name, value in settings.items()]
    command = [
        "danlu",
        "tune",
        str(tmp_path / "t.csv"),
        "--target",
        "y",
        "--trials",
        "2",
        "--runs",
        str(tmp_path / "runs"),
        *words,
    ]
    monkeypatch.setattr(sys, "argv", [*command, "trainer.learning_rate=0.01..0.1", "--name", "a", "--display", "none"])
    with pytest.raises(SystemExit) as stop:
        main()
    out = capfd.readouterr().out
    assert stop.value.code == 0
    assert "searching trainer.learning_rate in 0.01..0.1" in out
    assert "the same training without the search:\n  danlu train" in out
    monkeypatch.setattr(sys, "argv", [*command, "trainer.learning_rate=0.01", "trainer.learning_rate=0.01..0.1"])
    with pytest.raises(SystemExit):
        main()
    assert "trainer.learning_rate is given twice" in capfd.readouterr().err


def test_rows_for_validation_judge_where_there_are_no_folds() -> None:
    config = config_from({**SMALL, "split": {"folds": 1}, "data": {"source": "table", "target": "y"}})
    domain, prepared, _ = prepare(config, ROWS, say=lambda line: None)
    own = NetworkContest([config, config], domain, prepared, metric="accuracy", factor=2)  # type: ignore[arg-type]
    one, other = own.go(2, lambda done: None)
    assert one == other
    assert 0 < one <= 1


def test_the_steepest_point_of_a_range_test() -> None:
    from danlu.tuning.probe import Rates, bounded, steepest_of

    rates = np.logspace(-6, 1, 140)
    falling = 1.0 / (1.0 + (rates / 1e-3) ** 2) + np.where(rates > 0.1, rates**2, 0.0)
    smoothed, found = steepest_of(rates, np.where(rates > 2, np.nan, falling))
    assert 5e-4 < found < 2e-3
    assert np.isnan(smoothed[rates > 2]).all()
    assert bounded(falling, smoothed, found, 2e-3) == (found, "")
    assert bounded(falling, smoothed, 7.0, 2e-3)[0] == 0.02
    assert bounded(falling, smoothed, 1e-6, 2e-3)[0] == 2e-4
    flat = np.random.default_rng(0).normal(0.7, 0.05, 140)
    kept, note = bounded(flat, *steepest_of(rates, flat), 2e-3)
    assert kept == 2e-3
    assert "tells nothing" in note
    assert "keep the recipe's" in str(Rates(rates, flat, flat, 7.0, 2e-3, kept, note))
    with pytest.raises(ConfigError, match="not finite from the start"):
        steepest_of(rates, np.full(140, np.nan))


@pytest.mark.slow
def test_probes() -> None:
    from danlu.tuning.probe import batch_sizes_of

    config = config_from({**SMALL, "data": {"source": "table", "target": "y"}})
    found = batch_sizes_of(config, *prepare(config, ROWS, say=lambda line: None))
    assert list(found.rows_per_second) == sorted({16, 32, 64, found.recipe})
    assert min(found.rows_per_second.values()) > 0
    assert "trainer.batch_size=" in str(found)


@pytest.mark.parametrize(
    ("option", "message"), [("--minutes", "minutes is -1.0; expected"), ("--trials", "trials is -1; ")]
)
def test_an_option_of_the_search_is_not_one_of_the_training(
    option: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Tables own an option ``--minutes`` of ``danlu train``, which means more training: to a search it is when to end."""
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,b\n")
    monkeypatch.setattr(sys, "argv", ["danlu", "tune", str(tmp_path / "t.csv"), "--target", "y", option, "-1"])
    with pytest.raises(SystemExit):
        main()
    assert capfd.readouterr().err.startswith(f"danlu: {message}")
