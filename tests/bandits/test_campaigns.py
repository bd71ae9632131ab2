"""Campaigns as people have them: which column is what, what cannot be learnt from, what a score of an effect is."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.auditing.balance import balance_of
from danlu.bandits import NamedCampaign, Treating, campaign_rows
from danlu.errors import DanluError, DataError
from danlu.evaluate.uplift import Campaign

NAMED = NamedCampaign.of("got:bought")


def table(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"got": ["mail", "none"] * 30, "bought": [0, 1, 1] * 20, **columns})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"got": ["a", "b", "c"] * 20}, "the treatment 'got' has 3 values: 'a', 'b', 'c'; expected two"),
        ({"got": ["mail"] * 60}, "the treatment 'got' has only the value 'mail': everybody or nobody has it"),
        ({"got": ["mail", None] * 30}, "only the value 'mail' and 30 empty cells"),
        ({"got": ["a", "b"] * 30}, "nothing tells which value of the treatment 'got' means yes: 'a' or 'b'"),
        ({"got": [2, 3] * 30}, "nothing tells which value of the treatment 'got' means yes: '2' or '3'"),
        ({"got": ["mail"] * 55 + ["none"] * 5}, "55 people with an outcome were treated and 5 were not; expected 10 or more"),
        ({"bought": [1] * 60}, "every outcome in 'bought' is 1"),
        ({"bought": ["a", "b", "c"] * 20}, "the outcome 'bought' has 3 values"),
        ({"bought": ["a", "b"] * 30}, "nothing tells which value of the outcome 'bought' means yes"),
        ({"bought": [float("inf"), *[1.0] * 59]}, "the outcomes in 'bought' hold infinite values"),
        ({"bought": [None] * 60}, "no row has both a treatment in 'got' and an outcome in 'bought'"),
    ],
)  # fmt: skip
def test_what_is_no_campaign_is_refused(columns: dict[str, Any], said: str) -> None:
    frame = table(**columns)
    with pytest.raises(DataError) as caught:
        campaign_rows(frame, NAMED)
    assert said in str(caught.value)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["got", "got:bought:more", ":bought", "got=:bought", "got:bought="])
def test_columns_that_are_not_two(text: str) -> None:
    with pytest.raises(DataError, match="expected two columns"):
        NamedCampaign.of(text)


def test_treatment_and_outcome_are_different() -> None:
    with pytest.raises(DataError, match="are the same column"):
        NamedCampaign.of("got:got=yes")
    with pytest.raises(DanluError, match="paid"):
        campaign_rows(table(), NamedCampaign.of("got:paid"))


@pytest.mark.parametrize(
    ("values", "treated", "other"),
    [
        (["mail", "No E-Mail"], "mail", "No E-Mail"),
        ([1, 0], "1", "0"),
        ([1.0, 0.0], "1", "0"),
        ([True, False], "true", "false"),
        (["邮件", "对照组"], "邮件", "对照组"),
        (["treated", "rest"], "treated", "rest"),
    ],
)
def test_who_was_treated_is_found_and_said(values: list[Any], treated: str, other: str) -> None:
    log, named, found, said = campaign_rows(table(got=values * 30), NAMED)
    assert (named.treated, found) == (treated, other)
    assert f"of {treated!r} counts as treated" in said[0]
    assert log.truth((other, treated))["action"][:2].tolist() == [1, 0]


def test_values_that_are_named_count() -> None:
    frame = table(got=["a", "b"] * 30, bought=["paid", "left", None] * 20)
    log, named, _, said = campaign_rows(frame, NamedCampaign.of("got=B:bought=paid"))
    assert (named.treated, named.wanted) == ("b", "paid")
    assert said == ["20 rows lack a treatment or an outcome and are left out"]
    assert len(log) == 40
    assert log.reward[:2].tolist() == [1, 0]
    with pytest.raises(DataError, match="has no value 'c'; expected one of 'a' and 'b'"):
        campaign_rows(frame, NamedCampaign.of("got=c:bought=paid"))


HEAD = Treating(("none", "mail"), "got", "bought", share=True, treated=0.4)


def test_an_answer_is_the_difference_and_the_decision_goes_by_cost_and_budget() -> None:
    value = np.array([[[0.0, 2.0]], [[0.0, 0.0]], [[0.0, -1.0]], [[0.0, 1.0]]])
    found = HEAD(outputs := {"value": value})
    sigma = 1 / (1 + np.exp(-value[:, 0]))
    assert found["uplift"] == pytest.approx(sigma[:, 1] - sigma[:, 0])
    assert HEAD.frame(found)["treat"].to_list() == ["yes", "no", "no", "yes"]
    dear = Treating(("none", "mail"), "got", "bought", share=True, cost=0.3)
    assert dear.frame(found)["treat"].to_list() == ["yes", "no", "no", "no"]
    scarce = Treating(("none", "mail"), "got", "bought", share=True, budget=0.25).with_budget(found["uplift"])
    assert scarce.frame(found)["treat"].to_list() == ["yes", "no", "no", "no"]
    own = Treating(("none", "mail"), "got", "paid", effect_mean=1.0, effect_std=2.0)
    assert own({**outputs, "uplift": np.array([[[0.5]]] * 4)})["uplift"].tolist() == [2.0] * 4


def test_estimated_propensities_are_clipped_and_what_is_not_known_is_said() -> None:
    head = Treating(("none", "mail"), "got", "bought", share=True, estimated=True, clip=0.1)
    logits = np.array([[[0.0, 0.0, 0.0, 9.0]], [[0.0, 0.0, 0.0, 0.0]]])
    truth = {"action": np.array([1, 0]), "reward": np.array([1.0, 0.0])}
    found = head.evidence(head({"value": logits}), truth)
    assert found.propensity.tolist() == [0.9, 0.5]
    said = " ".join(head.notes(found))
    assert "so it was not by chance" in said
    assert "50 % of the people had a chance of less than 10 % of one of both" in said
    assert "not by chance" not in " ".join(HEAD.notes(HEAD.evidence(HEAD({"value": logits[..., :2]}), truth)))


def test_baselines_are_of_orders_and_of_decisions() -> None:
    rng = np.random.default_rng(0)
    treated, outcome = np.tile([True, False], 100), rng.random(200)
    values, uplift = rng.random((200, 2)), rng.normal(size=200)
    ours = Campaign(treated, outcome, np.full(200, 0.5), values, uplift, (uplift > 0) * 1.0)
    found = {each.label: each for each in HEAD.simple(None, ours)}
    assert {label for label, each in found.items() if each.metric == "value"} == {
        "treating nobody",
        "treating everybody",
        "treating as many by chance",
    }
    assert found["an order by chance"].evidence.measures()["qini"] == pytest.approx(0)
    response = found["a response model"].evidence
    assert response.treat.mean() == pytest.approx(ours.treat.mean(), abs=0.01)
    assert np.corrcoef(response.prediction, values @ [0.6, 0.4])[0, 1] == pytest.approx(1)


def test_balance_finds_what_the_treatment_was_chosen_by() -> None:
    rng = np.random.default_rng(1)
    age, city = rng.normal(size=300), rng.choice(["a", "b"], 300)
    inputs = {"numeric": np.column_stack([age, city == "a"]).astype(np.float32)}
    frame = pl.DataFrame({"age": age, "city": city})
    fair = balance_of(frame, inputs, rng.random(300) < 0.5)
    assert fair.by_chance
    assert fair.auc.low < 0.5 < fair.auc.high
    treated = rng.random(300) < 1 / (1 + np.exp(-2 * age))
    chosen = balance_of(frame, inputs, treated)
    assert not chosen.by_chance
    name, value = chosen.differences[0]
    gap = age[treated].mean() - age[~treated].mean()
    assert name == "age"
    assert value == pytest.approx(gap / np.sqrt((age[treated].var() + age[~treated].var()) / 2))
