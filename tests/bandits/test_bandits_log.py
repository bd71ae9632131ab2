"""Logs as people have them: what cannot be used is refused in one clear message."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.bandits import LoggedBandit, NamedLog, logged_rows, robust_scores
from danlu.bandits.head import Choosing
from danlu.errors import ConfigError, DanluError, DataError
from danlu.evaluate.logged import Logged

NAMED = NamedLog.of("shown:clicked:chance")


def log(rows: int = 60, **columns: Any) -> pl.DataFrame:
    base = {"shown": ["a", "b", "c"] * (rows // 3), "clicked": [0, 1] * (rows // 2), "chance": [1 / 3] * rows}
    return pl.DataFrame({**base, **columns})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"chance": [0.0, *[0.5] * 59]}, "1 propensities in 'chance' are no probabilities of what was done, such as 0 in row 1"),
        ({"chance": [*[0.5] * 59, 1.7]}, "such as 1.7 in row 60; expected above 0 and up to 1"),
        ({"chance": [-1.1] * 60}, "60 propensities in 'chance' are no probabilities"),
        ({"chance": [None, *[0.5] * 59]}, "1 of 60 rows lack a propensity in 'chance'"),
        ({"chance": ["half"] * 60}, "the propensities in 'chance' are texts, such as 'half'"),
        ({"chance": [1.0] * 60}, "every propensity in 'chance' is 1"),
        ({"clicked": ["yes", "no"] * 30}, "the rewards in 'clicked' are texts, such as 'yes', 'no'; expected numbers"),
        ({"clicked": [float("inf"), *[1.0] * 59]}, "the rewards in 'clicked' hold infinite values"),
        ({"clicked": [1e300, *[1.0] * 59]}, "the rewards in 'clicked' are as large as 1e+300; expected up to 1e+30"),
        ({"clicked": [1] * 60}, "every reward in 'clicked' is 1, so all policies earn the same"),
        ({"clicked": [None] * 60}, "no row has both an action in 'shown' and a reward in 'clicked'"),
        ({"shown": ["a"] * 60}, "the log has only one action, 'a' in 'shown'"),
        ({"shown": [f"i{n}" for n in range(1200)], "clicked": [0, 1] * 600, "chance": [0.5] * 1200}, "1,200 different actions"),
    ],
)  # fmt: skip
def test_what_is_no_log_is_refused(columns: dict[str, Any], said: str) -> None:
    rows = len(next(iter(columns.values())))
    with pytest.raises(DataError) as caught:
        logged_rows(
            log(rows, **columns).with_columns(pl.col("clicked").cast(pl.Float64) if said.startswith("no row") else []),
            NAMED,
        )
    assert said in str(caught.value)
    assert "\n" not in caught.value.message


def test_columns_that_are_not_there() -> None:
    with pytest.raises(DanluError, match="chance"):
        logged_rows(log().drop("chance"), NAMED)
    for text in ("shown", "shown:clicked:chance:more", "shown:shown", "shown::chance"):
        with pytest.raises(DataError, match="two or three different columns"):
            NamedLog.of(text)


def test_rows_without_action_or_reward_are_left_out_and_said() -> None:
    found, said = logged_rows(log(clicked=[None, 1, *[0, 1] * 29], shown=["a", None, *["b", "c"] * 29]), NAMED)
    assert len(found) == 58
    assert found.rows[0] == 2
    assert said == ["2 rows lack an action or a reward and are left out"]


def test_true_and_false_are_rewards_and_numbers_stand_by_size() -> None:
    found, said = logged_rows(log(clicked=[True, False] * 30, shown=[10, 9, 101] * 20), NAMED)
    assert found.actions == ("9", "10", "101")
    assert set(found.reward) == {0.0, 1.0}
    assert not said
    assert found.truth(("9", "10"))["action"][:3].tolist() == [1, 0, -1]


def test_rare_actions_are_named() -> None:
    assert "'z' (1)" in logged_rows(log(shown=["z", *["a", "b"] * 29, "a"]), NAMED)[1][0]


def test_ends_of_rewards() -> None:
    assert LoggedBandit(low=-1.0).ends(0.0, 2.0) == (-1.0, 2.0)
    with pytest.raises(ConfigError, match="the log has rewards from 0 to 2"):
        LoggedBandit(high=1.0).ends(0.0, 2.0)


def test_scores_with_bounded_weights() -> None:
    given: Any = (np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.01, 0.5]), np.full((2, 2), 0.5))
    assert robust_scores(*given)[0, 0] == pytest.approx(0.5 + 100 * 0.5)
    assert robust_scores(*given, most=10.0)[0, 0] == pytest.approx(0.5 + 10 * 0.5)


HEAD = Choosing(("a", "b"), "shown", "clicked", "chance")


def noted(propensity: float, action: np.ndarray) -> str:
    policy = np.tile([1.0, 0.0], (len(action), 1))
    return " ".join(
        HEAD.notes(Logged(action, (action == 0) * 1.0, np.full(len(action), propensity), policy * 0, policy))
    )


def test_what_the_log_cannot_tell_is_said() -> None:
    rows = np.arange(400)
    assert "not known from it" in noted(0.5, (rows > 5) * 1)
    assert "the weights have a mean of 0.5, where 1 is expected" in noted(1.0, rows % 2)
    fair = noted(0.5, rows % 2)
    assert "not known" not in fair
    assert "expected" not in fair
    assert "however heavy the weights" in fair


def test_an_answer_has_the_value_of_what_is_chosen() -> None:
    head = Choosing(("a", "b"), "shown", "paid", mean=10.0, std=2.0)
    outputs = {"value": np.array([[[0.0, 1.0]]]), "policy": np.array([[[3.0, 0.0]]])}
    assert head.frame(head(outputs)).row(0) == ("a", 10.0, 10.0, 12.0)
    assert head.frame(head({"value": outputs["value"]})).row(0) == ("b", 12.0, 10.0, 12.0)
