"""Qini curves: how often the intervals hold, and what chance, harm and people of one group give."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.errors import DataError
from danlu.evaluate import intervals
from danlu.evaluate.uplift import Campaign


def drawn(rng: np.random.Generator, rows: int) -> Campaign:
    """People whose uplift is ``0.4·x`` with ``x`` in 0 to 1, in the order of ``x``; all above the middle would be treated."""
    x, treated = rng.random(rows), rng.random(rows) < 0.4
    outcome = (rng.random(rows) < 0.2 + 0.4 * x * treated) * 1.0
    values = np.stack([np.full(rows, 0.2), 0.2 + 0.4 * x], axis=1)
    return Campaign(treated, outcome, np.full(rows, 0.4), values, x, (x > 0.5) * 1.0, cost=0.1)


# ∫ of 0.4·x from the top: q(φ) = 0.4·(φ − φ²/2), of which the line to 0.2 takes a half.
TRUE = {"qini": 0.4 * (1 / 2 - 1 / 6) - 0.1, "uplift_30": 0.4 * 0.85, "uplift_10": 0.4 * 0.95, "ate": 0.2}
TRUE |= {"auuc": 0.4 * (1 / 2 - 1 / 6), "value": 0.2 + 0.5 * (0.3 - 0.1)}


def test_intervals_hold_the_truth() -> None:
    rng, held = np.random.default_rng(0), dict.fromkeys(TRUE, 0)
    for _ in range(30):
        found = intervals(drawn(rng, 150), tuple(TRUE))
        for name, truth in TRUE.items():
            held[name] += found[name].low <= truth <= found[name].high
    assert min(held.values()) >= 25  # of 95 % in 30 tries, fewer once in 300
    assert sum(held.values()) < 30 * len(TRUE)  # an interval of everything would hold always


def test_many_people_come_near_the_truth() -> None:
    found = drawn(np.random.default_rng(1), 60_000).measures()
    assert {name: found[name] for name in TRUE} == pytest.approx(TRUE, abs=0.02)


def test_an_order_by_chance_gains_nothing_and_the_wrong_way_round_loses() -> None:
    ours = drawn(np.random.default_rng(2), 2000)
    assert ours.ordered(1.0, 0.5).measures()["qini"] == pytest.approx(0)
    assert ours.ordered(1.0, 0.5).constant
    back = ours.ordered(-ours.prediction, ours.treat)
    assert back.measures()["qini"] < 0 < ours.measures()["qini"]
    ends = [each.curve(np.array([0.0, 1.0])) for each in (ours, back)]
    assert ends[0][0].value == 0
    assert ends[0][1].value == pytest.approx(ends[1][1].value)


def test_people_of_one_group_tell_nothing() -> None:
    one = drawn(np.random.default_rng(3), 60)
    assert np.isnan(list(one.take(np.flatnonzero(one.treated)).measures().values())).all()
    with pytest.raises(DataError, match="expected each person to have had a chance of both"):
        Campaign(one.treated, one.outcome, np.ones(60), one.values, one.prediction, one.treat)


def test_the_share_of_the_best_order_is_for_yes_and_no() -> None:
    one = drawn(np.random.default_rng(4), 200)
    assert 0 < one.measures()["qini_share"] < 1
    paid = Campaign(one.treated, 3.7 * one.outcome, one.propensity, one.values, one.prediction, one.treat)
    assert np.isnan(paid.measures()["qini_share"])
    assert "qini_share" in paid.left_out()
