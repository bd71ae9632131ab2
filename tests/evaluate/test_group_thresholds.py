"""Thresholds of groups: closer groups cost accuracy, nothing is drawn at random, and the head keeps and uses them."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from danlu.data import TargetEncoder
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import Groups, Rows
from danlu.evaluate.group_lines import trade_lines
from danlu.evaluate.group_thresholds import MITIGATED, TradeOff, group_thresholds, trade_off
from danlu.tasks.fair import Fair
from danlu.trained import Labels
from danlu.trained.cuts import Cuts


def drawn(rows: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = (np.arange(rows) % 3 == 0).astype(int)
    p = np.clip(rng.beta(2, 2, rows) - 0.2 * codes + 0.1, 0.01, 0.99)
    return p, (rng.random(rows) < p).astype(int), codes


def reached(p: np.ndarray, truth: np.ndarray, codes: np.ndarray, cuts: np.ndarray) -> dict[str, float]:
    chosen = p >= cuts[codes]
    rate = lambda where: np.ptp([chosen[(codes == code) & where].mean() for code in (0, 1)])  # noqa: E731
    found, false = rate(truth == 1), rate(truth == 0)
    return {
        "demographic_parity": rate(truth >= 0),
        "equal_opportunity": found,
        "equalized_odds": max(found, false),
        "accuracy": np.mean(chosen == truth),
    }


@pytest.mark.parametrize("criterion", MITIGATED)
def test_closer_groups_cost_accuracy_and_are_as_close_as_asked(criterion):
    rows = drawn()
    points = [reached(*rows, group_thresholds(*rows, criterion=criterion, gap=gap)) for gap in (0.0, 0.02, 0.1, 1.0)]
    for gap, point in zip((0.0, 0.02, 0.1, 1.0), points, strict=True):
        assert point[criterion] <= gap + 0.021
    accuracy = [point["accuracy"] for point in points]
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] > accuracy[0]
    again = group_thresholds(*rows, criterion=criterion, gap=0.02)
    assert (again == group_thresholds(*rows, criterion=criterion, gap=0.02)).all()


def test_what_is_no_choice_is_refused():
    p, truth, codes = drawn(10)
    with pytest.raises(ConfigError, match="criterion of thresholds 'parity'"):
        group_thresholds(p, truth, codes, criterion="parity")
    with pytest.raises(DataError, match="10 probabilities, 9 true classes"):
        group_thresholds(p, truth[:9], codes)
    for settings, task, message in (
        ({"mitigate": "thresholds"}, "multiclass", "is for two classes"),
        ({"mitigate": "reweigh"}, "regression", "is for classes"),
        ({"mitigate": "penalty", "criterion": "equalized_odds"}, "regression", "is for classes"),
        ({"mitigate": "penalty", "criterion": "equal_opportunity"}, "multiclass", "is for two classes"),
    ):
        with pytest.raises(ConfigError, match=message):
            Fair(**settings).check(task)
    with pytest.raises(ConfigError, match="both choose the threshold"):
        Fair(mitigate="thresholds").check("binary", decided="answers.cost")


def test_the_trade_off_is_of_the_rows_given():
    p, truth, codes = drawn()
    rows = Rows("binary", truth, np.stack([1 - p, p], axis=1))
    groups = Groups.of(pl.Series("g", np.array(["a", "b"])[codes]))
    cuts = group_thresholds(p, truth, codes, gap=0.0)
    found = trade_off(rows, groups, [(0.0, cuts[codes])], criterion="demographic_parity")
    closest, now = found.points
    told = reached(p, truth, codes, cuts)
    assert (closest.accuracy.value, closest.gap.value) == pytest.approx((told["accuracy"], told["demographic_parity"]))
    assert now.allowed is None
    assert now.gap.value > closest.gap.value
    again = TradeOff.from_dict(json.loads(json.dumps(found.as_dict())))
    assert trade_lines(again) == trade_lines(found)
    assert max(len(line) for text in trade_lines(found) for line in text.split("\n")) <= 80


def test_a_head_decides_by_the_group_of_a_row():
    cuts = Cuts(("sex", "age"), ((), (30.0,)), ("f & below 30", "m & 30 and more"), (0.2, 0.9))
    head = Labels(TargetEncoder("y", "binary", ("no", "yes")), cuts=cuts)
    rows = pl.DataFrame({"sex": ["f", "m", "m"], "age": [20, 40, 20]})
    p = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    assert head.frame(p, rows)["y"].to_list() == ["yes", "no", "yes"], (
        "a group that was not there has the common threshold"
    )
    assert head.decided(Rows("binary", [1, 1, 1], p), rows).chosen.tolist() == [1, 0, 1]
    mixed = pl.DataFrame({"sex": ["f ", "f", None], "age": ["20", "20.5", "unknown"]})
    assert cuts.of(mixed, 0.5).tolist() == [0.2, 0.2, 0.5], "whatever the rows beside it"
    assert [field.name for field in head.needs] == ["sex", "age"]
    told, arrays = head.state()
    assert Labels.from_state(json.loads(json.dumps(told)), arrays).cuts == cuts
    assert head.plain().cuts is None
    with pytest.raises(SchemaError, match="decides by the groups of 'sex', 'age'; the rows lack 'age'"):
        head.frame(p, rows.drop("age"))
    for broken in (
        {"names": ["a"]},
        [],
        {**cuts.to_json(), "thresholds": [1]},
        {**cuts.to_json(), "limits": [[], ["x"]]},
    ):
        with pytest.raises(ArtifactError, match="thresholds of groups are damaged"):
            Cuts.from_json(broken)
