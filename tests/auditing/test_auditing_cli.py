"""``danlu audit``: a screen of words, all of it in a file, and mistakes answered."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from planted import FAULTS, clean
from typer.testing import CliRunner

import danlu
from danlu.cli.app import app
from danlu.errors import ConfigError, DanluError, DataError


def run(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table = clean()
    table["flag"] = [int(value == "yes") for value in table["bought"]]
    table["age"][7] = -3.0
    for number in range(12):
        table[f"copy{number}"] = [value * (number + 2) for value in table["income"]]
        table[f"fixed{number}"] = [0] * len(table["age"])
    path = tmp_path / "people.csv"
    pl.DataFrame(table).write_csv(path)
    return path


def test_a_screen_says_the_worst_and_a_file_says_all(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = run("audit", file.name, "--target", "bought", "--quick", "--display", "none", "-o", tmp_path / "a.json")
    screen = out.split("\n\nwritten to")[0].split("\n")
    assert len(screen) <= 24
    assert max(map(len, screen)) <= 80
    assert "serious" in screen[0]
    assert "row 1 is line 2" in out
    assert out.index("flag") < out.index("age")
    body = json.loads((tmp_path / "a.json").read_text())
    found = {each["check"]: each for each in body["findings"]}
    assert found["target copied"]["columns"] == ["flag"]
    assert "data.drop=flag" in found["target copied"]["remedy"]
    assert found["impossible values"]["rows"] == [8]
    assert len(found["constant column"]["columns"]) == 12
    run(
        "audit", file, "--target", "bought", "--quick", "data.drop=flag", "-o", tmp_path / "a.html", "--display", "none"
    )
    page = (tmp_path / "a.html").read_text()
    assert "Audit of people.csv" in page
    assert "target copied" not in page


def test_a_training_says_what_the_quick_checks_find(file: Path, tmp_path: Path) -> None:
    from danlu.pipeline.config import config_from
    from danlu.pipeline.tables import Tables

    def notices(**data: object) -> str:
        config = config_from({"data": {"source": str(file), "target": "bought", **data}})
        return "\n".join(Tables().prepare(config, str(file)).notices)

    assert "column flag alone tells bought" in notices()
    assert "column age: a value is no age (-3; row 8)" in notices()
    assert "alone tells" not in notices(audit=False)


def test_mistakes_are_answered(file: Path, tmp_path: Path) -> None:
    for words, error, said in (
        (("audit", file, "--target", "bougt"), DanluError, "unknown target column 'bougt'"),
        (("audit", file, "-o", tmp_path / "a.txt"), ConfigError, "ends in .html or .json"),
        (("audit", file, "--at", "age"), DataError, "holds no dates"),
        (
            ("audit", file, "--target", "bought", "--quick", "--against", file, "data.test=b.csv"),
            ConfigError,
            "expected one of them",
        ),
        (("audit", file, "trainer.epochs=3"), ConfigError, "danlu audit trains nothing"),
    ):
        with pytest.raises(error, match=said):
            run(*words)


def test_without_a_target_the_checks_that_need_none_are_made() -> None:
    table, check, columns, rows, _ = FAULTS["negative_ages"]()
    found = danlu.audit(table)
    assert [(each.check, each.columns, list(each.rows)) for each in found.alarms] == [(check, columns, rows)]
    assert "1 warning" in repr(found)
    assert "<table>" in found._repr_html_()
