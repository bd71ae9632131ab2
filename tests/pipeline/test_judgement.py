"""What is printed of a test: columns that keep apart, and a word where the rows cannot tell what the scores seem to."""

import json

import numpy as np
import polars as pl
import pytest

from danlu.data import TargetEncoder
from danlu.evaluate import Interval, Rows
from danlu.evaluate.judgement import Judgement
from danlu.trained import Labels, Trained


def judged(truth, classes):
    target = TargetEncoder.fit(pl.Series("kind", classes * 3), task="binary" if len(classes) == 2 else "multiclass")
    even = np.zeros((len(truth), len(classes)))
    model = Trained(None, None, None, None, Labels(target), instead=lambda inputs: even)
    return model.judge(None, np.array(truth))


@pytest.mark.parametrize(
    ("truth", "classes", "said"),
    [
        ([0, 1, 1], ["no", "yes"], None),
        ([1, 1, 1], ["no", "yes"], "all rows are 'yes': a model that always gives this answer would score 1"),
        ([0, 0], ["a", "b", "c"], "all rows are 'a'"),
        ([0, 2], ["a", "b", "c"], "no row is 'b': the scores say nothing about this class"),
        ([0, 2], ["a", "b", "c", "d"], "no row is 'b', 'd': the scores say nothing about these classes"),
    ],
)
def test_classes_without_rows_are_told(truth, classes, said):
    notes = judged(truth, classes).notes
    assert bool(notes) == bool(said)
    assert not said or notes[0].startswith(said)


def test_one_row_is_one_row():
    assert judged([0], ["no", "yes"]).tested == "1 test row"


def test_columns_keep_apart():
    found = {"rmse": Interval(64_549_711.0, 10_270_873.0, 241_322_352_000.0), "mae": Interval(3e40)}
    lines = str(Judgement(found, tested="240 test rows")).splitlines()
    assert lines[1].split() == ["RMSE", "64,549,711", "10,270,873", "to", "241,322,352,000"]
    assert lines[2].split() == ["MAE", "3e+40", "no", "interval"]
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 80


def test_why_a_score_has_no_interval_is_kept_and_shown():
    from danlu.cli.show import _results

    few = Rows("regression", np.arange(4.0), np.arange(4.0) + 0.5)
    told = json.loads(json.dumps(Judgement(few.scores()).as_dict()))
    assert told["no_interval"]["rmse"] == "too few rows"
    assert any("RMSE" in line and line.endswith("no interval: too few rows") for line in _results(told, ""))
