"""Scorecards: bins and evidence by hand, points that add up to the score, and a card that other programs can read."""

from __future__ import annotations

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import TableEncoder, TargetEncoder, infer_schema
from danlu.errors import ConfigError, DataError
from danlu.evaluate.binning import category_bins, evidence_of, information_of, number_bins
from danlu.nn import Dense
from danlu.pipeline.config import config_from
from danlu.pipeline.scorecards import check_card
from danlu.tasks import CardSettings
from danlu.tasks.scorecard import card_recipe, carded, pointed
from danlu.trained import Labels, Trained
from danlu.trained.points import PointsCard
from danlu.trained.read import Read

SETTINGS = CardSettings()


class Reader:
    takes = ()

    def read(self, trained, source, **how):
        return Read(source, None, given=source)


@pytest.fixture(scope="module")
def loans():
    rng = np.random.default_rng(0)
    rows = 1200
    income, age = rng.lognormal(8, 0.6, rows), rng.integers(18, 80, rows).astype(float)
    home = rng.choice(["own", "rent", "free"], rows, p=[0.5, 0.4, 0.1])
    logit = 0.8 - 1.2 * (np.log(income) - 8) - 0.02 * (age - 45) + 0.8 * (home == "rent") - 1.2
    bad = rng.random(rows) < 1 / (1 + np.exp(-logit))
    income[rng.random(rows) < 0.1] = np.nan
    frame = pl.DataFrame({"income": income, "age": age, "home": home, "noise": rng.normal(size=rows)})
    frame = frame.with_columns(pl.col("income").fill_nan(None), pl.Series("default", np.where(bad, "yes", "no")))
    schema = infer_schema(frame, target="default")
    encoder = TableEncoder.fit(frame, schema)
    card = carded(encoder.transform(frame), bad.astype(int), None, encoder, SETTINGS)
    model = Trained(
        card.network, card.params, card.state, encoder, Labels(TargetEncoder("default", "binary", ("no", "yes")))
    )
    return frame, bad, card, pointed(model, card, SETTINGS), model


def test_evidence_and_information_are_those_of_the_formulas():
    counts = np.array([[197, 77], [75, 30], [28, 43]], float)
    good, bad = counts.T / counts.sum(axis=0)[:, None]
    assert evidence_of(counts) == pytest.approx(np.log(good / bad))
    assert information_of(counts) == pytest.approx(((good - bad) * np.log(good / bad)).sum())
    assert evidence_of(np.array([[4.0, 0.0], [6.0, 5.0], [0.0, 0.0]]))[0] == pytest.approx(
        np.log((4.5 / 10) / (0.5 / 5))
    )
    assert evidence_of(np.array([[4.0, 0.0], [6.0, 5.0], [0.0, 0.0]]))[2] == 0


@given(st.integers(0, 10**6), st.booleans())
def test_bins_of_a_number_hold_all_rows_and_turn_no_more_than_asked(seed, monotone):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=300).round(1)
    bad = rng.random(300) < 1 / (1 + np.exp(-np.sin(2 * values) * 2))
    lost = rng.random(300) < 0.1
    found = number_bins(values, lost, bad, most=5, share=0.05, monotone=monotone)
    if found is None:
        return
    assert found.counts[-1].tolist() == [(lost & ~bad).sum(), (lost & bad).sum()]
    place = np.searchsorted(found.edges, values[~lost], side="right")
    for bin in range(len(found.edges) + 1):
        inside = bad[~lost][place == bin]
        assert found.counts[bin].tolist() == [(~inside).sum(), inside.sum()]
        assert len(inside) >= 15
        assert 0 < inside.sum() < len(inside)
    assert 2 <= len(found.edges) + 1 <= 5
    if monotone:
        steps = np.diff(found.evidence[:-1])
        assert (steps > 0).all() or (steps < 0).all()


def test_levels_that_are_alike_share_a_bin_and_unmet_codes_say_nothing():
    codes = np.repeat([1, 2, 3, 4], 100)
    bad = np.concatenate([np.arange(100) < n for n in (10, 12, 50, 30)])
    found = category_bins(codes, 6, 4, bad, most=5, share=0.05)
    assert found.of_code.tolist() == [2, 0, 0, 1, 3, 2]
    assert found.counts.tolist() == [[178, 22], [50, 50], [0, 0], [70, 30]]
    assert found.evidence[2] == 0


def test_the_points_add_up_to_the_score_that_is_predicted(loans):
    frame, _, _, model, _ = loans
    card = PointsCard.of(model)
    told = _points(card, frame)
    names = [column.name for column in card.columns]
    assert "noise" not in names
    total = told.select(names).sum_horizontal()
    assert (total == told["score"]).all()
    odds = 50 * 2 ** ((told["score"].to_numpy() - 600) / 20)
    assert told["probability yes"].to_numpy() == pytest.approx(1 / (1 + odds), rel=1e-5)
    assert card.ends[0] <= told["score"].min()
    assert told["score"].max() <= card.ends[1]
    first = told.row(int(told["score"].arg_min()), named=True)
    worst = min(card.columns, key=lambda each: first[each.name] - each.usual)
    assert first["reasons"].startswith(worst.name)


def test_calibrated_probabilities_are_told_from_the_odds_of_the_card(loans):
    frame, _, _, model, _ = loans
    assert "calibrated" not in PointsCard.of(model).told
    heated = dataclasses.replace(model, head=dataclasses.replace(model.head, temperature=2.0))
    card = PointsCard.of(heated)
    assert "there are 7.07 of 'no' on one of 'yes' at 600, and 40 points more double that" in card.told
    told = _points(card, frame)
    odds = 50**0.5 * 2 ** ((told["score"].to_numpy() - 600) / 40)
    assert told["probability yes"].to_numpy() == pytest.approx(1 / (1 + odds), rel=1e-5), "as the sentence says"


def _points(card, frame):
    return dataclasses.replace(card, model=dataclasses.replace(card.model, reader=Reader())).points(frame)


def test_the_points_are_those_of_siddiqis_formula(loans):
    _, bad, card, model, _ = loans
    alpha = np.log((~bad).sum() / bad.sum())
    factor, used = 20 / np.log(2), [own for own in card.bins if own is not None]
    offset = 600 - factor * np.log(50)
    place = next(k for k, own in enumerate(card.bins) if own is not None)
    own = card.bins[place]
    expected = np.round(factor * own.evidence + (factor * alpha + offset) / len(used))
    steps = np.asarray(model.state["steps"])[place][: len(own.edges)]
    assert np.asarray(model.state["first"])[place] + np.append(0, np.cumsum(steps)) == pytest.approx(expected[:-1])
    assert np.asarray(model.state["missing"])[place] == expected[-1]


@pytest.mark.slow
def test_the_weights_come_to_those_of_logistic_regression(loans):
    from sklearn.linear_model import LogisticRegression

    frame, bad, card, _, model = loans
    x = model.encoder.transform(frame)
    values = np.asarray(card.network.values(card.state, x))
    used = np.asarray(card.params["weight"]) > 0
    exact = LogisticRegression(C=np.inf, tol=1e-10).fit(values[:, used], ~bad)
    plan = card_recipe(card, len(bad))
    fitted = plan.fit((x, bad.astype(np.int32)), rows=len(bad), initial=(card.params, card.state), display="none")
    assert np.asarray(fitted.params["weight"])[used] == pytest.approx(exact.coef_[0], abs=0.02)
    assert -np.asarray(fitted.params["centre"]) == pytest.approx(exact.intercept_, abs=0.02)


def test_the_card_is_read_by_another_program(loans, tmp_path):
    frame, _, _, model, _ = loans
    card = PointsCard.of(model)
    card.write(tmp_path / "card.json")
    card.write(tmp_path / "card.csv")
    told = json.loads((tmp_path / "card.json").read_text("utf-8"))
    assert pl.read_csv(tmp_path / "card.csv").height == sum(len(column["bins"]) for column in told["columns"])

    def score(row):
        total = 0
        for column in told["columns"]:
            value = row[column["name"]]
            if column["kind"] == "number":
                place = len(column["begins"]) + 1 if value is None else sum(value >= end for end in column["begins"])
            else:
                place = column["bin_of"].get(value, column["others"])
            total += column["bins"][place]["points"]
        return total

    assert [score(row) for row in frame.iter_rows(named=True)] == _points(card, frame)["score"].to_list()
    assert (told["score"], told["odds"], told["points_to_double_the_odds"]) == (600, 50, 20)
    assert "missing" in str(card)
    assert "20 points more double" in " ".join(str(card).split())


def test_a_column_that_would_speak_against_itself_gets_no_points(loans):
    _, _, card, _, model = loans
    weight = np.asarray(card.params["weight"]).copy()
    first = int(np.flatnonzero(weight)[0])
    weight[first] = -0.3
    turned = pointed(dataclasses.replace(model, params={**model.params, "weight": jnp.asarray(weight)}), card, SETTINGS)
    assert len(PointsCard.of(turned).columns) == (weight > 0).sum()


def test_what_it_does_not_go_with_is_refused(loans):
    frame, bad, _, model, _ = loans
    with pytest.raises(ConfigError, match="two classes"):
        check_card(config_from({"model": {"kind": "scorecard"}}), "multiclass")
    with pytest.raises(ConfigError, match=r"model.width is 8, but would not be used"):
        check_card(config_from({"model": {"kind": "scorecard", "width": 8}}), "binary")
    with pytest.raises(DataError, match="both classes"):
        carded(model.encoder.transform(frame), np.zeros(len(bad), int), None, model.encoder, SETTINGS)
    noise = frame.select("noise", "default")
    encoder = TableEncoder.fit(noise, infer_schema(noise, target="default"))
    with pytest.raises(DataError, match="information value"):
        carded(encoder.transform(noise), bad.astype(int), None, encoder, SETTINGS)
    other = Trained(Dense(2), {}, {}, model.encoder, model.head)
    with pytest.raises(ConfigError, match="a scorecard is of a model that was trained as one"):
        PointsCard.of(other)
