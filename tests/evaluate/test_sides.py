"""Two tested models: compared row by row where the rows are the same, else as wholes, and not at all where that says nothing."""

import dataclasses

import numpy as np
import pytest

from danlu.evaluate import Interval, Rows, Sample, difference
from danlu.evaluate.intervals import apart
from danlu.evaluate.sides import Side, pair

RNG = np.random.default_rng(2)
TRUTH = RNG.integers(2, size=120)
PROBABILITY = np.clip(0.3 + 0.4 * TRUTH + 0.2 * RNG.normal(size=(2, 120)), 0.01, 0.99)


def rows(model, numbers):
    p = PROBABILITY[model][numbers]
    return Rows("binary", TRUTH[numbers], np.stack([1 - p, p], axis=1))


def side(name, evidence, numbers=None, **changes):
    own = {"task": "binary", "target": "y", "primary": evidence.primary, "scores": evidence.scores(), "data": "d"}
    return Side(name, **{**own, "evidence": evidence, "numbers": numbers, **changes})


FIRST, SECOND = np.arange(80), np.random.default_rng(1).permutation(np.arange(20, 120))


def test_rows_that_both_tests_have_are_compared_in_pairs():
    found = pair(side("a", rows(0, FIRST), FIRST), side("b", rows(1, SECOND), SECOND))
    both = np.arange(20, 80)
    expected = difference(rows(0, both), rows(1, both), "roc_auc")
    assert (found.how, found.rows, found.why) == ("paired", 60, "")
    told = found.measures["roc_auc"].difference
    assert (told.low, told.high) == pytest.approx(expected)
    assert "95 % interval of the difference" in found.sentence
    worse = found.measures["log_loss"]
    assert worse.difference.value == pytest.approx(worse.theirs - worse.ours), "less of a loss is better"
    wide = pair(side("a", rows(0, both), both), side("b", rows(1, both), both), level=1 - 0.05 / 3)
    assert wide.measures["roc_auc"].difference.low < told.low
    assert "98.3 % interval" in wide.sentence
    assert "set_coverage" not in pair(side("a", rows(0, both), both), side("b", rows(1, both), both)).measures


def test_other_rows_are_compared_as_wholes_and_it_is_said():
    few = np.arange(70, 120)
    one, two = side("a", rows(0, FIRST), FIRST), side("b", rows(1, few), few)
    found = pair(one, two)
    assert found.how == "unpaired"
    assert found.why == "they were tested on different rows: 10 of 80 and 50 are the same"
    expected = apart(one.scores["roc_auc"], two.scores["roc_auc"])
    told = found.measures["roc_auc"].difference
    assert (told.value, told.low, told.high) == pytest.approx((expected.value, expected.low, expected.high))
    old = dataclasses.replace(two, evidence=None, why="keeps no test rows")
    assert pair(one, old).why == "b keeps no test rows"
    twice = np.concatenate([few, few])
    assert pair(one, side("b", rows(1, twice), twice)).why == "a test has rows more than once"
    flipped = dataclasses.replace(rows(1, FIRST), truth=1 - TRUTH[FIRST])
    assert "different rows" in pair(one, side("b", flipped, FIRST)).why, "the numbers alone prove nothing"


def test_rows_without_numbers_are_the_same_only_when_they_were_divided_alike():
    one = side("a", rows(0, FIRST), division="seed 0")
    assert pair(one, side("b", rows(1, FIRST), division="seed 0")).how == "paired"
    other = pair(one, side("b", rows(1, FIRST), division="seed 1"))
    assert (other.how, other.why[:36]) == ("unpaired", "their test rows have no numbers, and")
    assert pair(one, side("b", rows(1, FIRST), FIRST, division="seed 0")).how == "unpaired"


def test_other_data_has_no_verdict_and_other_targets_no_comparison():
    one = side("a", rows(0, FIRST), FIRST)
    sure = Interval(0.2, 0.19, 0.21)
    found = pair(one, side("b", rows(1, FIRST), FIRST, data="e", scores={"roc_auc": sure}))
    assert (found.how, found.verdict) == ("other data", "undecided")
    assert "the data differ" in found.sentence
    assert pair(one, side("b", rows(1, FIRST), FIRST, data="")).why == "the data of b has no fingerprint"
    for changes, why in (
        ({"target": "z"}, "they predict different things (y and z)"),
        ({"scores": {}}, "b has no test"),
        ({"task": "multiclass"}, "they are measured differently (binary and multiclass)"),
    ):
        none = pair(one, side("b", rows(1, FIRST), FIRST, **changes))
        assert (none.how, none.sentence) == ("none", f"a and b cannot be compared: {why}.")


def test_costs_are_compared_only_where_they_are_the_same():
    dear = dataclasses.replace(rows(0, FIRST), costs=np.array([[0.0, 1.0], [5.0, 0.0]]))
    cheap = dataclasses.replace(dear, costs=np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert "cost" in pair(side("a", dear, FIRST), side("b", dear, FIRST)).measures
    assert "cost" not in pair(side("a", dear, FIRST), side("b", cheap, FIRST)).measures


def test_returns_are_independent_samples():
    one, two = (Sample(RNG.normal(mean, 1, size), "return") for mean, size in ((3, 40), (0, 25)))
    drawn = {"sampled_return": Interval(2.0, 1.5, 2.5)}  # of other episodes, which are not kept
    sides = [
        side(name, of, task="agent", target="", scores=of.scores() | drawn) for name, of in (("a", one), ("b", two))
    ]
    found = pair(*sides)
    assert (found.how, found.verdict, found.why) == ("unpaired", "better", "")
    assert found.of("undecided") == ["sampled_return"]


def test_the_interval_of_two_tests_has_its_level():
    """Newcombe's example for two proportions, which is this with Wilson's intervals: 56/70 and 48/80."""

    def wilson(hits, count, z=1.959964):
        p = hits / count
        middle, half = p + z**2 / (2 * count), z * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
        return Interval(p, *((middle + sign * half) / (1 + z**2 / count) for sign in (-1, 1)))

    found = apart(wilson(56, 70), wilson(48, 80))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_one_model_twice_has_no_difference():
    same_rows, other = rows(0, FIRST), rows(1, FIRST)
    one = side("one", same_rows, FIRST, weights="w")
    same = pair(one, side("two", same_rows, FIRST, weights="w"))
    assert (same.how, dict(same.measures), same.rows) == ("same", {}, len(FIRST))
    assert "one and two are the same model" in same.sentence
    for different in (side("two", other, FIRST, weights="w"), side("two", same_rows, FIRST, weights="v")):
        assert pair(one, different).how == "paired"  # other answers of the same weights; the same answers of others
    assert (
        pair(side("one", same_rows, FIRST), side("two", same_rows, FIRST)).how == "paired"
    )  # nothing is known of the weights
