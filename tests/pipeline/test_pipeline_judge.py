"""What is said of a trained model in the terminal: lines that fit, numbers that can be read."""

import math

from danlu.evaluate import Importance, Interval
from danlu.evaluate.judgement import Judgement, relied_on, score_lines


def cost(*columns, drop=0.2):
    return Importance(columns, "rmse", drop, 0.01, 5, 100)


def test_many_related_columns_are_told_by_the_first():
    lines = relied_on([cost(*(f"column {n}" for n in range(14))), cost("one", "other"), cost("alone", drop=230_123.4)])
    assert lines[0] == "Relied on most (when shuffled, RMSE gets worse by):"
    assert [line.split("  ")[1] for line in lines[1:]] == [
        "column 0 with 13 related columns",
        "one with other",
        "alone",
    ]
    assert lines[3].endswith("230,123 ± 0.01")
    assert len({line.index(line.split()[-3]) for line in lines[1:]}) == 1  # one below the other


def test_a_long_head_keeps_the_numbers_below_their_names():
    lines = score_lines(
        "1,234 forecasts, from each step", {"rmse": Interval(2500.5, 1e-30, 12_345.6), "mae": Interval(-0.5)}
    )
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split()[1:] == ["2500", "0", "to", "12,346"]  # an end that is nothing beside the other is 0
    assert lines[2].split()[1:] == ["−0.5", "no", "interval"]


def test_why_there_are_no_intervals_is_said_once():
    why = "each owner measures it on its own rows"
    lines = score_lines("test", {name: Interval(0.5, math.nan, math.nan, why=why) for name in ("accuracy", "log_loss")})
    assert [line.split() for line in lines[:3]] == [["test", "value"], ["accuracy", "0.5"], ["log", "loss", "0.5"]]
    assert lines[3:] == [f"no interval: {why}"]


def test_the_judgement_fits_into_80_columns():
    said = str(Judgement({"rmse": Interval(1.0, math.nan, math.nan)}, notes=("many words " * 20,)))
    assert max(map(len, said.split("\n"))) <= 80
    assert "\n  many" in said or "\n  words" in said
