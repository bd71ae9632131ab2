"""Groups of rows: the rates and gaps are fairlearn's, intervals hold, and small, missing and numeric groups are said."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from danlu.errors import ConfigError, DataError
from danlu.evaluate import CRITERIA, Groups, Rows, fairness
from danlu.evaluate.fairness import _SCORES, _gap
from danlu.evaluate.group_lines import fairness_lines, fairness_of
from danlu.evaluate.groups import bin_limits

# Counts of true by predicted class: defendants of compas with a score of 5 or more, and a logistic model of adult on its test rows.
COMPAS = {"African-American": [[990, 805], [532, 1369]], "Caucasian": [[1139, 349], [461, 505]]}
ADULT = {
    "White": [[9690, 766], [1521, 1969]],
    "Black": [[1338, 44], [91, 88]],
    "Asian-Pac-Islander": [[301, 46], [48, 85]],
    "Amer-Indian-Eskimo": [[137, 3], [12, 7]],
    "Other": [[109, 1], [10, 15]],
}


def expanded(counts: dict[str, list[list[int]]], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The group, the truth and the prediction of each row."""
    cells = [(g, t, p, n) for g, table in counts.items() for t, own in enumerate(table) for p, n in enumerate(own)]
    group, truth, chosen = (np.repeat([each[k] for each in cells], [each[3] for each in cells]) for k in range(3))
    order = np.random.default_rng(seed).permutation(len(truth))
    return group[order], truth[order].astype(int), chosen[order].astype(int)


def judged(counts: dict[str, list[list[int]]], **how):
    group, truth, chosen = expanded(counts)
    probability = np.stack([1.0 - chosen, chosen], axis=1).astype(float)
    return fairness(Rows("binary", truth, probability), Groups.of(pl.Series("race", group)), **how)


def fairlearns(library, counts):
    group, truth, chosen = expanded(counts)
    given = {"y_true": truth, "y_pred": chosen, "sensitive_features": group}
    metrics = library.metrics
    rates = {
        "selected": metrics.selection_rate,
        "true_positive": metrics.true_positive_rate,
        "false_positive": metrics.false_positive_rate,
        "precision": lambda y, p: float(np.mean(y[p == 1])),
        "accuracy": lambda y, p: float(np.mean(y == p)),
    }
    frame = metrics.MetricFrame(metrics=rates, **given)
    found = {
        "demographic_parity": [
            metrics.demographic_parity_difference(**given),
            metrics.demographic_parity_ratio(**given),
        ],
        "equalized_odds": [metrics.equalized_odds_difference(**given), metrics.equalized_odds_ratio(**given)],
    }
    for name, rate in (("equal_opportunity", "true_positive"), ("predictive_parity", "precision")):
        found[name] = [frame.difference()[rate], frame.ratio()[rate]]
    found["accuracy_parity"] = [frame.difference()["accuracy"], frame.ratio()["accuracy"]]
    for name in counts:
        found[f"rates {name}"] = [float(frame.by_group.loc[name, rate]) for rate in rates]
    return found


@pytest.fixture(autouse=True)
def only_rates(monkeypatch):
    """The scores of each group are those of :meth:`Evidence.take`, which has tests of its own, and take long."""
    for task in _SCORES:
        monkeypatch.setitem(_SCORES, task, ("accuracy",) if task != "regression" else ("mae",))


@pytest.mark.parametrize("counts", [COMPAS, ADULT], ids=["compas", "adult"])
def test_rates_and_gaps_are_fairlearns(counts, golden):
    theirs = golden("fairlearn.metrics", lambda metrics: fairlearns(__import__("fairlearn"), counts))
    found = judged(counts, smallest=2)
    for gap in found.gaps[:5]:
        assert [gap.difference.value, gap.ratio.value] == pytest.approx(theirs[gap.criterion], abs=1e-12)
    for group in found.groups:
        rates = {**group.rates["1"], **group.rates[""]}
        ours = [rates[name].value for name in ("selected", "true_positive", "false_positive", "precision", "accuracy")]
        assert ours == pytest.approx(theirs[f"rates {group.name}"], abs=1e-12)


def test_the_published_rates_of_compas():
    found = judged(COMPAS)
    by = {group.name: group.rates["1"] for group in found.groups}
    black, white = by["African-American"], by["Caucasian"]
    shown = [100 * black["false_positive"].value, 100 * white["false_positive"].value]
    missed = [100 * (1 - black["true_positive"].value), 100 * (1 - white["true_positive"].value)]
    assert np.round(shown, 2).tolist() == [44.85, 23.45]
    assert np.round(missed, 2).tolist() == [27.99, 47.72]
    gap = found.gap("equalized_odds")
    assert (gap.rate, gap.high, gap.low, gap.told) == ("false_positive", "African-American", "Caucasian", True)


def test_intervals_of_the_gap_of_several_groups_hold_and_equal_groups_are_no_news():
    rng, held, alarms = np.random.default_rng(0), 0, 0
    shares = np.array([0.2, 0.3, 0.25])
    groups = Groups.of(pl.Series("g", np.repeat(["a", "b", "c"], 60)))
    for _ in range(150):
        for true in (shares, np.full(3, 0.25)):
            chosen = (rng.random(180) < np.repeat(true, 60)).astype(float)
            rows = Rows("binary", np.tile([0, 1], 90), np.stack([1 - chosen, chosen], axis=1))
            parts = [(name, rows.take(np.flatnonzero(groups.codes == code))) for code, name in enumerate(groups.names)]
            gap = _gap(CRITERIA["binary"][0], parts, {"1": 1}, 0.95)
            if np.ptp(true):
                held += gap.difference.low <= 0.1 <= gap.difference.high
            else:
                alarms += gap.told
    assert held >= 0.95 * 150
    assert alarms <= 0.05 * 150


def test_several_classes_name_the_worst_one():
    truth = np.tile([0, 1, 2], 40)
    chosen = truth.copy()
    chosen[60:][truth[60:] == 2] = 0  # the second group's rows of class 2 are all taken for class 0
    rows = Rows("multiclass", truth, np.eye(3)[chosen])
    found = fairness(rows, Groups.of(pl.Series("g", np.repeat(["a", "b"], 60))), classes=["x", "y", "z"])
    gap = found.gap("equal_opportunity")
    assert (gap.of, gap.high, gap.low, gap.difference.value, gap.ratio.value) == ("z", "a", "b", 1.0, 0.0)
    assert found.gap("demographic_parity").difference.value == pytest.approx(1 / 3)
    assert "true-positive rate of 'z': a 100.0 %, b 0.0 %" in "\n".join(fairness_lines(found))


def test_a_quantity_has_gaps_of_means_and_of_errors():
    rng = np.random.default_rng(0)
    truth = rng.normal(10, 1, 200)
    error = np.where(np.arange(200) < 100, 0.5, -1.0) + rng.normal(0, 0.1, 200)
    found = fairness(Rows("regression", truth, truth + error), Groups.of(pl.Series("g", [*"a" * 100, *"b" * 100])))
    assert found.gap("calibration").difference.value == pytest.approx(error[:100].mean() - error[100:].mean())
    assert found.gap("calibration").ratio is None
    parity = found.gap("error_parity")
    assert (parity.high, parity.low) == ("b", "a")
    assert parity.difference.value == pytest.approx(np.abs(error[100:]).mean() - np.abs(error[:100]).mean())
    assert parity.ratio.low < parity.ratio.value < parity.ratio.high < 1


def test_small_and_missing_groups_are_said():
    groups = Groups.of(pl.Series("g", ["a"] * 40 + ["b"] * 40 + ["tiny"] * 3 + [None] * 35 + [" "]))
    assert groups.names == ("a", "b", "tiny", "missing")
    chosen = np.tile([0.0, 1.0], 60)[:119]
    found = fairness(Rows("binary", chosen.astype(int), np.stack([1 - chosen, chosen], axis=1)), groups)
    assert [group.rows for group in found.groups] == [40, 40, 3, 36]
    assert [group.judged for group in found.groups] == [True, True, False, True]
    assert found.notes == ("groups of fewer than 30 rows are compared with no other: tiny (3)",)
    alone = fairness(Rows("binary", [0, 1], [[1, 0], [0, 1.0]]), Groups.of(pl.Series("g", ["a", "b"])))
    assert not alone.gaps
    assert "nothing to compare" in alone.notes[1]
    again = fairness_of(json.loads(json.dumps(found.as_dict())))
    assert fairness_lines(again) == fairness_lines(found)
    assert max(len(line) for text in fairness_lines(found) for line in text.split("\n")) <= 80


def test_rows_that_belong_together_widen_the_intervals():
    chosen = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 5).astype(float)
    probability = np.stack([1 - chosen, chosen], axis=1)
    groups = Groups.of(pl.Series("g", np.repeat(["a", "b"], 100)))
    alone, together = (
        fairness(Rows("binary", np.tile([0, 1], 100), probability, groups=own), groups).groups[0].rates["1"]["selected"]
        for own in (None, np.repeat(np.arange(40), 5))
    )
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_numbers_are_divided_at_round_limits():
    ages = pl.Series("age", np.random.default_rng(0).integers(18, 90, 500))
    limits = bin_limits(ages)
    groups = Groups.of(ages)
    assert groups.limits == limits
    assert np.bincount(groups.codes).min() > 90
    assert groups.names[0] == f"below {limits[0]:g}"
    assert groups.names[1] == f"{limits[0]:g} to {limits[1] - 1:g}"
    inside = (ages >= limits[0]) & (ages < limits[1])
    assert ((groups.codes == 1) == inside.to_numpy()).all()
    assert Groups.of(pl.Series("n", [0, 1, 1, 2])).names == ("0", "1", "2")
    assert Groups.of(pl.Series("when", ["2020-01-01", "2021-05-05"]).str.to_date()).names == ("2020", "2021")


def test_what_makes_no_groups_is_refused():
    with pytest.raises(ConfigError, match="has 200 different values; expected groups of rows, at most 100"):
        Groups.of(pl.Series("name", [f"n{i}" for i in range(200)]))
    with pytest.raises(ConfigError, match="limits of groups are for numbers"):
        Groups.of(pl.Series("sex", ["a"]), limits=[3])
    with pytest.raises(ConfigError, match="expected rising numbers"):
        Groups.of(pl.Series("age", [1, 2]), limits=[3, 2])
    with pytest.raises(DataError, match="groups of 1 rows for 2 rows"):
        fairness(Rows("binary", [0, 1], [[1, 0], [0, 1.0]]), Groups.of(pl.Series("g", ["a"])))
