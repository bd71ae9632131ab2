"""The doctor's findings in a run's record, on the terminal and in the report."""

import shlex
import sys
import types

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.artifact import RunDirectory
from danlu.cli import main
from danlu.engine import Finding, Health
from danlu.engine.examine import Exam, LayerExam
from danlu.errors import ArtifactError
from danlu.pipeline.domains import DOMAINS
from danlu.pipeline.health import as_record, lines
from danlu.pipeline.tables import Tables
from danlu.report.health import health_html

RATE = Finding(
    "rate_too_low",
    "the rate is low",
    "it moved by <1 %",
    "more",
    "learning_rate=0.1",
    {"trainer.learning_rate": "0.1"},
    (1,),
)
OTHER = Finding("leakage", "a column tells", "all rows", "leave it out", "", {"no.setting": "1"})
SICK = Health((RATE, OTHER), (Exam(1.0, (LayerExam("0", 1.0, 0.01, 2.0, 4, 1.0, False),), (), None),))


@pytest.fixture
def record(tmp_path):
    run = RunDirectory.create(tmp_path, name="a run", config={})
    tables = next(domain for domain in DOMAINS if isinstance(domain, Tables))
    found = as_record(SICK, run, tables)
    run.write_json("results.json", {"health": found})
    return types.SimpleNamespace(run=run, found=found)


def test_a_finding_comes_with_the_command_of_a_setting_that_exists(record):
    first, second = record.found["findings"]
    assert first["command"] == f"danlu train --config '{record.run.config_path}' trainer.learning_rate=0.1"
    assert second["command"] == ""  # the data at hand has no such setting
    assert second["settings"] == {}


def test_the_findings_are_told_in_a_few_lines(record):
    told = lines(record.found, most=1)
    assert told[0].startswith(
        "health: the rate is low (members 1): it moved by <1 %. Try: more\n  danlu train --config"
    )
    assert told[1:] == ["health: 1 more in the report"]
    assert lines({}) == []


def test_a_run_is_diagnosed_from_its_record(record):
    assert danlu.diagnose(record.run.path).kinds == ("rate_too_low", "leakage")
    with pytest.raises(ArtifactError):
        danlu.diagnose(record.run.path / "nothing")


def test_the_report_shows_findings_layers_and_that_nothing_was_found(record):
    page = health_html(record.found)
    assert "it moved by &lt;1 %" in page
    assert "trainer.learning_rate=0.1" in page
    assert "<td>0</td>" in page
    assert "0.5 %" in page
    assert "Nothing is wrong" in health_html({})


TABLE = (
    "t.csv",
    "--target",
    "y",
    "model.kind=network",
    "split.folds=1",
    "model.members=2",
    "model.width=16",
    "trainer.epochs=15",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("rate_too_low", (*TABLE, "evaluate.slices=no", "evaluate.importance=no", "trainer.learning_rate=1e-8")),
        ("rate_too_low", ("CartPole-v1", "trainer.learning_rate=1e-9", "agent.steps=8000")),
        ("rate_too_high", ("CartPole-v1", "trainer.learning_rate=1.0", "agent.steps=8000")),
    ],
)
def test_the_command_that_is_told_makes_the_complaint_go_away(kind, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(400, 3))
    label = np.where(x[:, 0] + x[:, 1] * x[:, 2] > 0, "yes", "no")
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": label}).write_csv("t.csv")

    def found(name, *command):
        monkeypatch.setattr(sys, "argv", ["danlu", *command, "--name", name, "--display", "none"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return {
            each["kind"]: each["command"]
            for each in RunDirectory.open(f"runs/{name}").read_json("results.json")["health"]["findings"]
        }

    told = found("sick", "train", *arguments, "evaluate.baselines=no", "evaluate.report=no")
    assert list(told) == [kind]
    program, *command = shlex.split(told[kind])
    assert program == "danlu"
    assert found("again", *command) == {}
