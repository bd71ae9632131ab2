"""The doctor's findings in a run's record, on the terminal and in the report."""

import types

import pytest

import danlu
from danlu.artifact import RunDirectory
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
