"""What is found after a training is kept with its run; energy is measured, or estimated and said to be."""

import pytest

from danlu.artifact import RunDirectory
from danlu.pipeline import effort
from danlu.pipeline.effort import Effort, energy_in_words
from danlu.pipeline.parts import keep_part, kept_parts
from danlu.report import ReportData, write_report
from danlu.report.parts import PLACES


@pytest.fixture
def run(tmp_path):
    found = RunDirectory.create(tmp_path, name="first", config={})
    found.write_json("results.json", {"seconds": 3})
    write_report(found.report_path, ReportData("first", "y", "binary", places=PLACES))
    return found


def test_numbers_and_pictures_are_kept(run):
    said: list[str] = []
    assert keep_part(run.path, "stress", [("Stress", "<p>one</p>")], {"tested": 7}, say=said.append)
    assert keep_part(run.path, "stress", [("Stress", "<p>two</p>")], {"tested": 8}, say=said.append)
    assert run.read_json("results.json") == {"seconds": 3, "stress": {"tested": 8}}
    assert keep_part(run.path, "explained", [("How", "<p>why</p>")], {"rows": 3}, say=said.append)
    assert kept_parts(run) == {"stress": [("Stress", "<p>two</p>")], "explained": [("How", "<p>why</p>")]}
    page = run.report_path.read_text()
    assert ("<p>two</p>" in page, "<p>one</p>" in page) == (True, False)
    assert said == []


def test_where_it_cannot_be_kept_it_is_said_or_nothing_is_done(run, tmp_path):
    said: list[str] = []
    assert not keep_part(tmp_path, "stress", [], {}, say=said.append), "a folder that is no run"
    assert said == []
    run.report_path.write_text("an older one")
    assert not keep_part(run.path, "stress", [("Stress", "")], {"tested": 7}, say=said.append)
    assert "danlu report" in said[0]
    assert run.read_json("results.json")["stress"] == {"tested": 7}
    with run.locked():
        keep_part(run.path, "stress", [("Stress", "")], {}, say=said.append)
    assert said[1].startswith("this was not added to the report")


def test_energy_is_measured_or_estimated_and_said_to_be(monkeypatch):
    counts = iter([{"a": (1_000_000, 2**32)}, {"a": (4_500_000, 2**32)}])
    monkeypatch.setattr(effort, "_energy", lambda: next(counts))
    measured = Effort().as_dict()
    assert measured["energy"] == {"joules": 3.5, "how": "measured"}
    assert "measured at the processor" in energy_in_words(measured)
    monkeypatch.setattr(effort, "_energy", dict)
    clock = iter([100.0, 150.0])
    monkeypatch.setattr(effort, "_cpu", lambda: next(clock))
    estimated = Effort().as_dict()
    assert estimated["energy"] == {"joules": 600.0, "how": "estimated", "watts_per_core": 12.0}
    assert energy_in_words(estimated) == "about 0.6 kJ (0.167 Wh), estimated: 50 s of a core at 12 W"
    assert energy_in_words({"package_joules": 3600.0, "seconds": 1}).startswith("3.6 kJ"), "of an older run"
    assert energy_in_words({}) == ""
