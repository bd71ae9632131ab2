"""The evidence of several folds as one."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from danlu.errors import DataError
from danlu.evaluate import LabelRows, MaskCounts, Rows, difference

RNG = np.random.default_rng(0)


def rows_of(count, threshold=0.5, shift=0.0):
    truth = RNG.permutation(np.arange(count) % 2)
    chance = np.clip(0.5 + 0.3 * (truth - 0.5) + RNG.normal(0, 0.2, count) + shift, 0.01, 0.99)
    return Rows("binary", truth, np.stack([1 - chance, chance], 1), threshold)


def test_measures_of_single_rows_are_of_all_rows_and_ranking_is_within_each_model():
    parts = [rows_of(40), rows_of(30, 0.25, 0.2), rows_of(50, 0.4, -0.2)]
    whole = parts[0].joined(parts[1:])
    assert len(whole) == 120
    weights = np.array([40, 30, 50])
    for name in ("accuracy", "log_loss", "brier"):
        each = np.array([part.measures()[name] for part in parts])
        assert whole.measures()[name] == pytest.approx(float(weights @ each) / 120)
    each = [roc_auc_score(part.truth, part.prediction[:, 1]) for part in parts]
    assert whole.measures()["roc_auc"] == pytest.approx(np.mean(each))
    assert roc_auc_score(whole.truth, whole.prediction[:, 1]) < np.mean(each) - 0.02  # which ranks across the models
    taken = whole.take(np.arange(50))
    assert taken.measures()["roc_auc"] == pytest.approx(
        np.mean([each[0], roc_auc_score(parts[1].truth[:10], parts[1].prediction[:10, 1])])
    )
    assert np.array_equal(whole.chosen, np.concatenate([part.chosen for part in parts]))


def test_rows_tested_twice_are_not_independent():
    one = rows_of(60)
    once, twice = one.scores()["accuracy"], one.joined([one], np.tile(np.arange(60), 2)).scores()["accuracy"]
    naive = dataclasses.replace(one.joined([one]), shared=0.0).scores()["accuracy"]
    assert twice.value == once.value
    assert naive.high - naive.low < 0.85 * (once.high - once.low)
    assert twice.high - twice.low > 0.95 * (once.high - once.low)


def test_intervals_of_folds_are_wider_by_what_their_models_share():
    parts = [rows_of(40) for _ in range(5)]
    whole = parts[0].joined(parts[1:])
    assert whole.shared == pytest.approx(1 / 4)
    assert parts[0].joined(parts[1:], np.tile(np.arange(40), 5)).shared == 0, (
        "models that were all tested on the same rows"
    )
    plain = dataclasses.replace(whole, shared=0.0)
    for name, own in whole.scores().items():
        alone = plain.scores()[name]
        assert own.value - own.low == pytest.approx(min(np.sqrt(1.25) * (alone.value - alone.low), own.value)), name
    other = whole.with_prediction(np.clip(whole.prediction + 0.05, 0, 1))
    ends = [difference(whole, other, "log_loss"), difference(plain, dataclasses.replace(other, shared=0.0), "log_loss")]
    assert np.ptp(ends[0]) == pytest.approx(np.sqrt(1.25) * np.ptp(ends[1]))


def test_several_labels_are_joined():
    parts = []
    for threshold in (0.3, 0.6):
        truth = RNG.random((30, 3)) < 0.5
        parts.append(LabelRows(truth, np.clip(0.5 * truth + RNG.random((30, 3)) * 0.6, 0, 1), threshold))
    whole = parts[0].joined(parts[1:])
    exact = np.mean([part.measures()["exact_match"] for part in parts])
    assert whole.measures()["exact_match"] == pytest.approx(exact)
    assert whole.measures()["label_auc"] == pytest.approx(np.mean([part.measures()["label_auc"] for part in parts]))
    again = whole.joined([whole], np.tile(np.arange(60), 2))
    assert np.array_equal(again.together, np.tile(np.arange(60), 2))


def test_what_is_not_joined_says_so():
    masks = MaskCounts.of(np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int), classes=2)
    with pytest.raises(DataError, match="is not joined"):
        masks.joined([masks])
