"""An alert rate: no threshold alerts more, ties are told, and what it finds is that of a ranking by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import TargetEncoder
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate import Rows, intervals
from danlu.evaluate.alert import alert_note, alert_threshold, alert_words, check_alert_rate
from danlu.evaluate.measures import MEASURES
from danlu.tasks import Answers, Imbalance
from danlu.trained import HeldOut, Labels

TWO = TargetEncoder("y", "binary", ("no", "yes"))


def both(p):
    return np.stack([1 - np.asarray(p), np.asarray(p)], axis=1)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9]), min_size=2, max_size=40), st.floats(0.01, 0.99))
def test_the_threshold_is_the_lowest_that_alerts_no_more(values, rate):
    p = np.array(values)
    found = alert_threshold(p, rate)
    alerted = (p >= found.threshold).mean()
    assert alerted == pytest.approx(found.share)
    assert alerted <= rate + 1e-9
    assert found.rows == (p >= found.threshold).sum()
    lower = p[p < found.threshold]
    if len(lower):
        assert (p >= lower.max()).mean() > rate
        assert found.tied in (0, (p == lower.max()).sum())


def test_a_weight_counts_as_that_many_rows():
    p, weight = np.array([0.9, 0.8, 0.7, 0.2]), np.array([3, 1, 1, 5])
    many = np.repeat(p, weight)
    for rate in (0.05, 0.3, 0.4, 0.45, 0.5):
        assert alert_threshold(p, rate, weight).threshold == pytest.approx(alert_threshold(many, rate).threshold)


def test_what_ranks_highest_is_counted_with_a_fair_part_of_ties():
    truth = np.array([1, 0, 1, 1, 0, 0, 0, 0, 0, 0])
    rows = Rows("binary", truth, both([0.9, 0.8, 0.5, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1]), 0.6, alert_rate=0.3)
    found = rows.measures(None, ("recall_at_rate", "alert_rate", "ks", "gini"))
    assert found["recall_at_rate"] == pytest.approx(
        (1 + 1 / 3 * 2) / 3
    )  # one of three tied rows fits, two of them cases
    assert found["alert_rate"] == 0.2
    assert found["ks"] == pytest.approx(1 - 2 / 7)
    assert MEASURES["recall_at_rate"].label == "recall at the alert rate"
    assert "recall_at_rate" not in intervals(Rows("binary", truth, rows.prediction))
    low = intervals(rows, ("recall_at_rate",))["recall_at_rate"]
    assert low.low < found["recall_at_rate"] < low.high


def test_its_interval_holds_though_the_cut_moves_with_the_rows():
    def drawn(seed, count):
        rng = np.random.default_rng(seed)
        y = (rng.random(count) < 0.1).astype(int)
        return Rows("binary", y, both(1 / (1 + np.exp(-rng.normal(size=count) - 2 * y))), alert_rate=0.05)

    true = drawn(9, 400_000).measures(None, ("recall_at_rate",))["recall_at_rate"]
    ends = [rows.shares("recall_at_rate") for rows in (drawn(seed, 300) for seed in range(200))]
    from danlu.evaluate.intervals import binomial

    low, high = binomial(*np.array(ends)[..., 0].T, 0.95)
    assert ((low <= true) & (true <= high)).mean() >= 0.94


def test_other_predictions_alert_as_many_rows():
    rows = Rows("binary", np.tile([0, 1], 50), both(np.linspace(0, 1, 100)), alert_rate=0.1)
    other = rows.with_prediction(both(np.linspace(0.5, 0, 100)))
    assert other.measures(None, ("alert_rate",))["alert_rate"] == 0.1
    assert other.alert_rate == 0.1


def test_ties_and_rows_that_differ_are_said():
    tied = alert_threshold(np.array([0.9] * 30 + [0.1] * 70), 0.1)
    assert tied.rows == 0
    assert "no row is alerted: the 30 rows" in alert_words(tied, 0.1, 100, "yes")
    partly = alert_threshold(np.array([0.95] * 5 + [0.9] * 30 + [0.1] * 65), 0.1)
    said = alert_words(partly, 0.1, 100, "yes", ((0.0, 1.0), (3.0, 0.0)))
    assert "5 of 100" in said
    assert "30 rows that come next" in said
    assert "would make it 35 %" in said
    assert "would say 0.25" in said
    rows = Rows("binary", np.tile([0, 1], 100), both(np.linspace(0, 1, 200)), 0.5, alert_rate=0.05)
    assert "more than chance" in alert_note(rows, 0.05, "yes")
    assert "a lift of" in alert_note(rows, 0.05, "yes")


def test_the_head_decides_by_it_and_keeps_it():
    held = HeldOut(both(np.linspace(0, 1, 200)), np.arange(200) % 2)
    answers = Answers(alert_rate=0.1, cost={"fn": 3}, calibrate="none")
    head = answers.fitted(answers.head(TWO), held, Imbalance())
    assert head.decide(held.answers).sum() == 20
    assert "at most 10 %" in head.facts()["decision"]
    again = Labels.from_state(*head.state())
    assert (again.alert_rate, again.threshold) == (0.1, head.threshold)
    evidence = again.evidence(held.answers, held.truth)
    assert evidence.measures(None, ("alert_rate",))["alert_rate"] == 0.1
    assert any(note.startswith("alerted: 20 of 200 rows") for note in again.notes(evidence))
    told, arrays = head.state()
    with pytest.raises(ArtifactError, match="alert rate"):
        Labels.from_state({**told, "alert_rate": 3.0}, arrays)


@pytest.mark.parametrize(
    ("task", "imbalance", "match"),
    [
        ("regression", Imbalance(), "two classes.*a quantity"),
        ("multiclass", Imbalance(), "two classes.*more classes"),
        ("binary", Imbalance(threshold="f1"), "both choose the threshold"),
    ],
)
def test_it_is_refused_where_it_makes_no_sense(task, imbalance, match):
    with pytest.raises(ConfigError, match=match):
        Answers(alert_rate=0.1).check(task, ("a", "b"), imbalance)


def test_a_rate_below_what_the_rows_can_tell_is_refused():
    check_alert_rate(1 / 300, 300)
    with pytest.raises(ConfigError, match=r"less than one of the 300 rows.*expected 0.00333 or more"):
        check_alert_rate(0.001, 300)
    with pytest.raises(ConfigError, match="there are none"):
        Answers(alert_rate=0.1).check_held(None, ("a", "b"), Imbalance())
    for wrong in (0, 1, 2):
        with pytest.raises(ConfigError, match="alert_rate"):
            Answers(alert_rate=wrong)
