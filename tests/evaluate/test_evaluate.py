"""Scores against scikit-learn, weights against repeated rows, intervals, comparisons, baselines, thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from danlu.errors import ConfigError, DataError
from danlu.evaluate import (
    METRICS,
    Rows,
    baselines,
    bootstrap,
    calibration,
    choose_threshold,
    compare,
    resample_weights,
    scores,
)


def make(task, rows=300, seed=0, classes=4):
    rng = np.random.default_rng(seed)
    if task == "regression":
        truth = rng.normal(size=rows)
        return Rows(task, truth, truth + rng.normal(size=rows))
    k = 2 if task == "binary" else classes
    truth = rng.integers(k, size=rows)
    logits = rng.normal(size=(rows, k)).round(1) + (truth[:, None] == np.arange(k))  # rounded: with ties
    prediction = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Rows(task, truth, prediction, 0.4 if task == "binary" else 0.5)


def oracle(rows, weight=None):
    y, p, given = rows.truth, rows.prediction, {"sample_weight": weight}
    if rows.task == "regression":
        return {
            "rmse": sk.root_mean_squared_error(y, p, **given),
            "mae": sk.mean_absolute_error(y, p, **given),
            "r2": sk.r2_score(y, p, **given),
        }
    chosen, two = rows.chosen, rows.task == "binary"
    average = {"average": "binary" if two else "macro", "zero_division": 0, **given}
    found = {
        "accuracy": sk.accuracy_score(y, chosen, **given),
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen, **given),
        "precision": sk.precision_score(y, chosen, **average),
        "recall": sk.recall_score(y, chosen, **average),
        "f1": sk.f1_score(y, chosen, **average),
        "log_loss": sk.log_loss(y, p, **given),
        "mcc": sk.matthews_corrcoef(y, chosen, **given),
        "roc_auc": sk.roc_auc_score(y, p[:, 1], **given)
        if two
        else np.mean([sk.roc_auc_score(y == k, p[:, k], **given) for k in range(rows.classes)]),
    }
    if two:
        found["average_precision"] = sk.average_precision_score(y, p[:, 1], **given)
        found["brier"] = sk.brier_score_loss(y, p[:, 1], **given)
    return found


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_scores_equal_scikit_learns(task):
    rows = make(task)
    assert scores(rows) == pytest.approx(oracle(rows), rel=1e-9)


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_every_measure_of_a_resample_equals_scikit_learns_with_weights(task):
    rows = make(task, seed=1)
    weights = next(resample_weights(300, resamples=10, seed=3))
    assert (weights.sum(axis=1) == 300).all()
    for row in weights[:3]:
        expected = oracle(rows, row)
        found = {name: METRICS[name].compute(rows, row[None])[0] for name in expected}
        assert found == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 10**6))
def test_a_weight_is_a_number_of_copies(seed):
    rows = make("binary", rows=12, seed=seed)
    counts = np.random.default_rng(seed).integers(0, 3, 12)
    counts[[np.argmax(rows.truth == 0), np.argmax(rows.truth == 1)]] += 1
    copies = Rows("binary", np.repeat(rows.truth, counts), np.repeat(rows.prediction, counts, axis=0), 0.4)
    one = np.ones((1, counts.sum()))
    for metric in METRICS.values():
        if "binary" in metric.tasks:
            weighted = metric.compute(rows, counts[None].astype(float))
            np.testing.assert_allclose(weighted, metric.compute(copies, one), rtol=1e-9, atol=1e-12)


def test_what_is_not_defined_is_left_out():
    rows = Rows("binary", np.zeros(5, int), np.tile([0.7, 0.3], (5, 1)))
    found = scores(rows)
    assert "roc_auc" not in found
    assert found["accuracy"] == 1
    bootstrap(rows, resamples=20)
    with pytest.raises(DataError, match="0 true values"):
        Rows("binary", np.zeros(0, int), np.zeros((0, 2)))


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        truth = rng.normal(size=100)
        interval = bootstrap(Rows("regression", truth, truth + rng.normal(size=100)), resamples=200)["rmse"]
        assert interval.low <= interval.value <= interval.high
        covered += interval.low <= 1.0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_verdict_follows_the_difference():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    near, far = truth + 0.1 * rng.normal(size=400), truth + rng.normal(size=400)
    assert compare(Rows("regression", truth, near), far, "x").verdict == "better"
    worse = compare(Rows("regression", truth, far), near, "gradient boosting")
    assert worse.verdict == "worse"
    assert "Use gradient boosting instead" in worse.sentence
    other = truth + 0.1 * rng.normal(size=400)
    assert compare(Rows("regression", truth, near), other, "x").verdict == "undecided"
    same = compare(Rows("regression", truth, near), near, "x")
    assert "level with" in same.sentence


def test_a_comparison_of_one_class_uses_accuracy():
    rows = Rows("binary", np.zeros(20, int), np.tile([0.7, 0.3], (20, 1)))
    assert compare(rows, np.tile([0.2, 0.8], (20, 1)), "x").metric == "accuracy"


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_baselines_learn_what_there_is_to_learn(task):
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(600, 3)).astype("float32")
    codes = rng.integers(0, 5, size=(600, 1)).astype("int32")
    signal = numeric[:, 0] + 2 * (codes[:, 0] == 2)
    y = {"regression": signal, "binary": (signal > 0.5) * 1, "multiclass": np.digitize(signal, [0, 1])}[task]
    inputs = {"numeric": numeric, "categorical": codes}
    first, second = ({k: v[part] for k, v in inputs.items()} for part in (slice(400), slice(400, None)))
    found = baselines(task, (first, y[:400]), second, classes=3 if task == "multiclass" else 2)
    assert list(found) == ["commonest", "linear", "boosting"]
    main = {"regression": "r2", "binary": "accuracy", "multiclass": "accuracy"}[task]
    reached = {name: scores(Rows(task, y[400:], each.prediction))[main] for name, each in found.items()}
    assert reached["linear"] > 0.75 > reached["commonest"]
    assert reached["boosting"] > 0.75


def test_a_class_without_training_rows_has_probability_zero():
    inputs = {"numeric": np.random.default_rng(0).normal(size=(60, 2)).astype("float32")}
    found = baselines("multiclass", (inputs, np.arange(60) % 2 * 2), inputs, classes=4)
    for each in found.values():
        assert each.prediction.shape == (60, 4)
        assert (each.prediction[:, [1, 3]] == 0).all()


@given(st.integers(0, 10**6), st.sampled_from(["f1", "balanced_accuracy", "accuracy", "mcc"]))
def test_no_threshold_is_better_than_the_chosen_one(seed, measure):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(2, size=20)])
    probability = rng.random(22).round(1)
    found = choose_threshold(labels, probability, measure)

    def at(threshold):
        rows = Rows("binary", labels, np.stack([1 - probability, probability], 1), threshold)
        return METRICS[measure].compute(rows, np.ones((1, 22)))[0]

    assert at(found.value) == pytest.approx(found.score)
    assert found.score >= max(at(t) for t in np.linspace(0.05, 1.05, 21)) - 1e-12


@given(st.integers(0, 10**6))
def test_a_threshold_divides_single_precision_neighbours(seed):
    below = np.random.default_rng(seed).random(dtype=np.float32)
    probability = np.array([below, np.nextafter(below, np.float32(1))])
    found = choose_threshold(np.array([0, 1]), probability)
    assert found.score == 1
    assert (probability >= found.value).tolist() == [False, True]


def test_a_threshold_needs_both_classes_and_a_known_measure():
    with pytest.raises(DataError, match="both"):
        choose_threshold(np.zeros(3), np.ones(3))
    with pytest.raises(ConfigError, match="balanced_accuracy"):
        choose_threshold(np.array([0, 1]), np.ones(2), "balanced_acuracy")


def test_calibration_of_probabilities_that_are_true_is_near_zero():
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    assert calibration(rng.random(20_000) < probability, probability).error < 0.02
    bold = calibration(np.tile([0, 1], 500), np.full(1000, 0.9))
    assert bold.error == pytest.approx(0.4)
    assert bold.count.tolist() == [1000]
