"""A model of a table as a whole: the planted column comes first, in 80 columns, as plain data and as a page; or one clear message."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN, of_size_alone

import danlu
from danlu.cli import main
from danlu.errors import ConfigError
from danlu.explained import Overview
from danlu.explained.view import wide


def quiet(notice: str) -> None:
    pass


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    asked = pl.read_csv(GOLDEN / "table-blend" / "asked.csv", try_parse_dates=True)
    return pl.concat([asked] * 6)


@pytest.fixture(scope="module")
def planted() -> Any:
    return of_size_alone()


@pytest.fixture(scope="module")
def found(planted: Any, rows: pl.DataFrame) -> Overview:
    return danlu.explain(planted, background=rows, say=quiet)  # type: ignore[operator, no-any-return]


def test_the_planted_column_comes_first_and_alone(planted: Any, rows: pl.DataFrame, found: Overview) -> None:
    assert found.importance[0].columns == ("size",)
    assert [each.drop for each in found.importance if "size" not in each.columns] == [0.0, 0.0]
    assert "since no true ones are known" in found.measured_on
    assert found.curves[0].column == "size"
    assert all(np.ptp(each.dependence.mean) == 0 for each in found.curves[1:])
    assert all(each.size == 0 for each in found.pairs)
    assert found.surrogate is not None
    assert set(found.surrogate.columns) <= {"size"}
    curve = found.curves[0].dependence
    code = planted.head.target.classes.index(found.scored.rpartition("= ")[2])
    for value, mean in zip(curve.points.values, curve.mean, strict=True):
        answers = planted.predict_values(rows.with_columns(size=pl.lit(value)), say=quiet)
        assert mean == pytest.approx(answers[:, code].mean())


def test_true_answers_of_own_rows_are_what_importance_is_measured_by(planted: Any, rows: pl.DataFrame) -> None:
    known = rows.with_columns(planted.predict(rows, say=quiet)["price"])
    found = danlu.explain(planted, background=known, columns="city", say=quiet)  # type: ignore[operator]
    assert found.measured_on == "36 background rows"
    assert found.importance[0].columns == ("size",)
    assert found.importance[0].metric in ("accuracy", "roc_auc")
    assert [each.column for each in found.curves] == ["city"]


def test_rows_one_by_one_add_up_and_are_of_the_planted_column_alone(planted: Any, found: Overview) -> None:
    assert len(found.examples) == 36
    for each in found.examples:
        assert sum(part.added for part in each.parts) == pytest.approx(each.value - each.base, abs=1e-9)
        assert all(part.added == pytest.approx(0, abs=1e-12) for part in each.parts if part.name != "size")
    told = found.as_dict()["attributions"]
    assert [name for name, mean in zip(told["columns"], told["mean_absolute"], strict=True) if mean] == ["size"]
    assert found.figure().title == "What each column added, in 36 rows"
    assert found.figure("dependence").title == "What size added"
    assert found.figure("importance").svg.count("<title>") == len(found.importance)
    title, part = found.for_report()
    assert (title, "What it relies on" in part) == ("How it answers", False)


def test_it_fits_a_terminal_and_is_plain_data_and_a_page(found: Overview, tmp_path: Path) -> None:
    assert max(map(wide, str(found).splitlines())) <= 80
    data = json.loads(found.write(tmp_path / "all.json").read_text())
    assert data["dependence"][0]["column"] == "size"
    assert sum(data["dependence"][0]["rows"]) + data["dependence"][0]["missing"]["rows"] == 36
    page = found.write(tmp_path / "all.html").read_text()
    scattered = min(len(found.curves), 4)
    assert page.count("<svg") == found._repr_html_().count("<svg") == 1 + len(found.curves) + 1 + scattered + 3
    assert found.write(tmp_path / "all.txt").read_text() == f"{found}\n"


def test_what_is_not_used_or_not_possible_gets_one_message(planted: Any, rows: pl.DataFrame) -> None:
    explain: Any = danlu.explain
    with pytest.raises(ConfigError, match="rows, to would not be used"):
        explain(planted, background=rows, rows=[1], to="dear", say=quiet)
    with pytest.raises(ConfigError, match="columns would not be used"):
        explain(planted, rows, background=rows, columns=["city"], say=quiet)
    with pytest.raises(ConfigError, match="unknown column 'town'"):
        explain(planted, background=rows, columns=["town"], say=quiet)
    with pytest.raises(ConfigError, match="no rows to compare"):
        explain(planted, say=quiet)
    with pytest.raises(ConfigError, match="is not explained as a whole"):
        explain(danlu.load(GOLDEN / "text" / "model"))


def test_the_command_line(monkeypatch: Any, capsys: Any, tmp_path: Path, rows: pl.DataFrame) -> None:
    rows.write_csv(tmp_path / "known.csv")
    model = str(GOLDEN / "table-blend" / "model")
    given = ["danlu", "explain", model, "--background", str(tmp_path / "known.csv"), "--columns", "city"]
    monkeypatch.setattr(sys, "argv", [*given, "--json"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert [each["column"] for each in json.loads(capsys.readouterr().out)["dependence"]] == ["city"]
