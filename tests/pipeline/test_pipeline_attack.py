"""An attack on runs: a network that learnt its rows by heart gives them away, a private one does not, and a false claim is found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from danlu.cli.app import app
from danlu.errors import ConfigError
from danlu.evaluate.membership import Canaries, Membership, by_canaries, by_shadows
from danlu.pipeline import membership, train
from danlu.pipeline.membership import attack
from danlu.pipeline.parts import keep_part
from danlu.report import ReportData, write_report
from danlu.report.membership import membership_section
from danlu.report.parts import PLACES


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"mode": "both"}, "mode is 'both'; expected one of online, offline"),
        ({"shadows": 2}, "2 shadow models; expected 4 or more"),
        ({"canaries": 3}, "3 canaries; expected 20 or more"),
    ],
)
def test_what_cannot_be_is_said_before_the_run_is_read(tmp_path, how, message):
    with pytest.raises(ConfigError, match=message):
        attack(tmp_path / "none", **how)


def test_canaries_and_shadows_have_each_a_place_in_the_report(tmp_path, monkeypatch):
    write_report(tmp_path / "report.html", ReportData("first", "y", "binary", places=PLACES))
    for name in ("config.json", "results.json"):
        (tmp_path / name).write_text("{}")
    rng = np.random.default_rng(0)
    values, member = rng.normal(size=200), np.arange(200) < 100
    shadows = by_shadows(values, member, (values[:100], values[100:]), delta=1e-5, stated=None, shadows=8)
    canaries = by_canaries(values, member, delta=1e-5)
    monkeypatch.setattr(
        membership, "attack", lambda *of, canaries=None, by=(shadows, canaries), **how: by[canaries is not None]
    )
    for options in ([], ["--canaries", "200"], []):
        assert CliRunner().invoke(app, ["attack", str(tmp_path), *options]).exit_code == 0
    kept, page = json.loads((tmp_path / "results.json").read_text()), (tmp_path / "report.html").read_text()
    assert kept["attack"] == shadows.as_dict()
    assert kept["canaries"] == canaries.as_dict()
    assert page.count("Who was in the training: by canaries</h2>") == 1
    assert page.count("Who was in the training</h2>") == 1


def rows(path: Path, count: int = 1000) -> Path:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, 30)).round(3)
    y = np.where((x[:, 0] > 0) ^ (rng.random(count) < 0.25), "yes", "no")
    pl.DataFrame({**{f"x{i}": x[:, i] for i in range(30)}, "y": y}).write_csv(path)
    return path


def trained(folder: Path, **settings: object) -> Path:
    given: dict[str, Any] = {
        "split": {"test": 0.5, "validation": 0.02},
        "model": {"kind": "network"},
        "evaluate": {"importance": False, "slices": False, "baselines": False},
        **settings,
    }
    source = str(rows(folder / "t.csv"))
    result = train(source, target="y", runs=folder / "runs", display="none", say=lambda line: None, **given)
    return Path(result.run.path)


@pytest.mark.slow
def test_rows_that_are_learnt_by_heart_are_found(tmp_path, monkeypatch):
    heart = {"epochs": 60, "weight_decay": 0.0, "learning_rate": 0.01, "patience": 60, "average": "ema"}
    run = trained(tmp_path, trainer=heart)
    found = attack(run, shadows=8)
    assert isinstance(found, Membership)
    assert found.auc.low > 0.8
    assert found.epsilon > 1
    assert found.stated is None
    assert len(found.exposed) == 10
    assert all(each.row is not None and 1 <= each.row <= 1000 for each in found.exposed)
    assert max(map(len, str(found).split("\n"))) <= 80
    assert keep_part(run, "attack", [membership_section(found)], found.as_dict())
    assert "Who was in the training" in (run / "report.html").read_text()
    assert json.loads((run / "results.json").read_text())["attack"]["epsilon"]["proved"] == found.epsilon
    canaries = attack(run, canaries=200)
    assert isinstance(canaries, Canaries)
    assert canaries.epsilon > 0.5

    load = membership.load_model  # the same run with a claim that nothing keeps

    def claiming(path: Path) -> object:
        model = load(path)
        return dataclasses.replace(model, provenance={**model.provenance, "privacy": {"epsilon": 0.5, "delta": 1e-4}})

    monkeypatch.setattr(membership, "load_model", claiming)
    false = attack(run, shadows=8)
    assert false.broken
    assert "FALSE" in str(false)


@pytest.mark.slow
def test_a_private_run_keeps_what_it_states(tmp_path):
    run = trained(tmp_path, private={"epsilon": 1.0}, trainer={"epochs": 5}, split={"test": 0.5})
    found = attack(run, shadows=8)
    assert found.stated is not None
    assert found.epsilon < found.stated.epsilon <= 1.0
    assert found.auc.low < 0.55
    assert found.exposed == ()
