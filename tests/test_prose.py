"""Sentences for a terminal."""

import polars as pl
import pytest

from danlu.cli.runs import _that_fit
from danlu.prose import WIDTH, wrapped


def test_lines_are_broken_between_words_and_go_on_indented():
    lines = wrapped("note: " + "some words " * 30, indent="  ").split("\n")
    assert len(lines) > 3
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])


@pytest.mark.parametrize(
    "whole",
    [
        "(danlu predict RUN FILE --with boosting)",
        "(to continue after a stop: danlu train --resume runs/one)",
        "95 %",
        "± 0.02",
        "split.equal_rows=anywhere",
        "x-ray-of-the-chest",
        "a/path/that/is/longer/than/a/line/" + "x" * WIDTH,
    ],
)
def test_what_belongs_together_is_never_broken(whole):
    for before in range(40, 80):
        assert whole in wrapped("w" * before + " " + whole + " and so on")


def test_short_lines_stay_as_they_are():
    table = "column   kind\nage      numeric\n\n  end"
    assert wrapped(table, indent="  ") == table


def test_runs_in_a_narrow_terminal_lose_columns_and_no_part_of_a_word():
    row = {
        "name": "sold-1",
        "data": "sold.csv → price_sold",
        "kind": "table, regression",
        "score": "MSE (standardised) 0.1026",
        "date": "2026-11-29 21:27",
        "state": "finished",
    }
    assert list(_that_fit([row], 200)) == list(row)
    assert _that_fit([row], 200)["data"] == len(row["data"])
    sizes = _that_fit([row], 80)
    assert list(sizes) == ["name", "data", "score", "date", "state"]
    assert sum(sizes.values()) + 2 * 4 <= 80
    assert all(size == len(row[name]) for name, size in sizes.items() if name != "data")
    assert list(_that_fit([row], 50)) == ["name", "data", "score"]


def test_names_of_wide_letters_keep_a_table_straight():
    from rich.cells import cell_len

    from danlu.data import infer_schema
    from danlu.evaluate import Interval
    from danlu.evaluate.judgement import score_lines

    scores = {"f1": Interval(0.5, 0.4, 0.6), "accuracy": Interval(0.75, 0.5, 1.0)}
    lines = score_lines("测试的数据", scores, "欺诈")
    assert "F1 of 欺诈" in lines[1]
    assert "欺诈" not in lines[2]
    assert len({cell_len(line) for line in lines}) == 1
    table = str(infer_schema(pl.DataFrame({"城市的面积": [1.5, 2.0], "b": [1, 2], "价格": [3, 4]}), target="价格"))
    starts = {cell_len(line[: line.index("numeric")]) for line in table.splitlines() if "numeric" in line}
    assert len(starts) == 1, table
