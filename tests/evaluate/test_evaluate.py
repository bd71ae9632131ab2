"""Scores against scikit-learn, weights against repeated rows, intervals, comparisons, baselines, thresholds."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from threadpoolctl import threadpool_limits

from danlu.errors import ConfigError, DataError
from danlu.evaluate import (
    METRICS,
    Rows,
    baselines,
    calibration,
    choose_threshold,
    compare,
    conclusion,
    intervals,
    residuals,
    scores,
)
from danlu.evaluate.baselines import _WORK
from danlu.evaluate.judgement import Judgement


@pytest.fixture(autouse=True)
def one_thread():
    """OpenMP's threads wait for each other in a loop; beside other tests on the same cores that takes seconds."""
    with threadpool_limits(1):
        yield


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
            "median_error": np.median(
                np.abs(p - y) if weight is None else np.repeat(np.abs(p - y), weight.astype(int))
            ),
            "r2": sk.r2_score(y, p, **given),
            "explained_variance": sk.explained_variance_score(y, p, **given),
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
        "brier": sk.brier_score_loss(y, p[:, 1] if two else p, **given),
        "mcc": sk.matthews_corrcoef(y, chosen, **given),
        "roc_auc": sk.roc_auc_score(y, p[:, 1], **given)
        if two
        else np.mean([sk.roc_auc_score(y == k, p[:, k], **given) for k in range(rows.classes)]),
    }
    if two:
        wrong, right, _ = sk.roc_curve(y, p[:, 1], drop_intermediate=False, **given)
        found |= {"gini": 2 * found["roc_auc"] - 1, "ks": np.abs(right - wrong).max()}
    true = y[:, None] == ((1,) if two else range(rows.classes))
    found["average_precision"] = sk.average_precision_score(true, p[:, 1:] if two else p, average="macro", **given)
    if not two:
        found["average_precision_weighted"] = sk.average_precision_score(true, p, average="weighted", **given)
    for k in (3, 5):
        if rows.classes > k:
            first = p - 1e-9 * np.arange(rows.classes)  # of equal ones the first is before
            found[f"top{k}_accuracy"] = sk.top_k_accuracy_score(y, first, k=k, **given)
    return found | in_bins(rows, weight)


def in_bins(rows, weight=None):
    """Calibration error and the parts of the Brier score, bin by bin."""
    y, p = rows.truth, rows.prediction
    w = np.ones(len(y)) if weight is None else weight
    two = rows.task == "binary"

    def each(happened, chance):
        whole = np.average(happened, weights=w)
        for low in np.arange(10) / 10:
            inside = (chance >= low) & ((chance < low + 0.1) | (low == 0.9))
            if w[inside].any():
                share = w[inside].sum() / w.sum()
                o, q = (np.average(values[inside], weights=w[inside]) for values in (happened, chance))
                yield share * abs(o - q), share * (o - q) ** 2, share * (o - whole) ** 2

    certain = each(y == 1, p[:, 1]) if two else each(p.argmax(1) == y, p.max(1))
    of = (1,) if two else range(rows.classes)
    parts = np.array([row for k in of for row in each(y == k, p[:, k])])
    return {
        "ece": sum(row[0] for row in certain),
        "brier_reliability": parts[:, 1].sum(),
        "brier_resolution": parts[:, 2].sum(),
    }


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_scores_equal_scikit_learns(task):
    rows = make(task)
    assert scores(rows) == pytest.approx(oracle(rows), rel=1e-9)


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_every_measure_with_weights_equals_scikit_learns_with_weights(task):
    rows = make(task, seed=1)
    for row in np.random.default_rng(3).integers(0, 4, size=(3, 300)).astype(float):
        expected = oracle(rows, row)
        found = {name: METRICS[name].compute(rows, row) for name in expected}
        assert found == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 10**6))
def test_a_weight_is_a_number_of_copies(seed):
    rows = make("binary", rows=12, seed=seed)
    counts = np.random.default_rng(seed).integers(0, 3, 12)
    counts[[np.argmax(rows.truth == 0), np.argmax(rows.truth == 1)]] += 1
    copies = Rows("binary", np.repeat(rows.truth, counts), np.repeat(rows.prediction, counts, axis=0), 0.4)
    one = np.ones(counts.sum())
    for metric in METRICS.values():
        if "binary" in metric.tasks:
            weighted = metric.compute(rows, counts.astype(float))
            np.testing.assert_allclose(weighted, metric.compute(copies, one), rtol=1e-9, atol=1e-12)


def test_what_is_not_defined_is_left_out():
    rows = Rows("binary", np.zeros(5, int), np.tile([0.7, 0.3], (5, 1)))
    found = scores(rows)
    assert "roc_auc" not in found
    assert found["accuracy"] == 1
    assert "average_precision" not in scores(Rows("binary", np.ones(5, int), rows.prediction)), "any order has 1"
    assert not intervals(rows)["recall"].known
    with pytest.raises(DataError, match="0 true values"):
        Rows("binary", np.zeros(0, int), np.zeros((0, 2)))


def test_the_verdict_follows_the_difference():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    near, far = truth + 0.1 * rng.normal(size=400), truth + rng.normal(size=400)
    assert compare(Rows("regression", truth, near), far, "x").verdict == "better"
    worse = compare(Rows("regression", truth, far), near, "gradient boosting")
    assert worse.verdict == "worse"
    assert worse.sentence.startswith("Gradient boosting is better than the network: RMSE")
    assert "RMSE 0.101 is 0.83 lower than 0.932" in worse.sentence
    few = compare(Rows("regression", truth[:1], far[:1]), near[:1], "gradient boosting")
    assert few.verdict == "undecided"
    assert few.sentence.endswith("1 test row is too few to tell.")
    assert conclusion([few])[1] == "1 test row is too few to tell the network from the baselines."
    assert conclusion([worse])[1].endswith("by RMSE: use it.")
    known = dataclasses.replace(worse, instead="leave model.kind=scorecard out to train it alone")
    assert conclusion([known])[1].endswith("by RMSE: leave model.kind=scorecard out to train it alone."), (
        "it can be done"
    )
    assert compare(Rows("regression", truth[:15], near[:15]), far[:15], "x").verdict == "better", "15 rows can tell"
    other = truth + 0.1 * rng.normal(size=400)
    assert compare(Rows("regression", truth, near), other, "x").verdict == "undecided"
    same = compare(Rows("regression", truth, near), near, "x")
    assert "for both" in same.sentence


def test_a_network_level_with_a_constant_answer_has_learnt_nothing():
    rows = make("binary", seed=5)
    constant = np.tile([0.6, 0.4], (300, 1))
    shuffled = Rows("binary", np.random.default_rng(0).permutation(rows.truth), rows.prediction)
    assert compare(rows, constant, "the most common class").verdict == "better"
    nothing = compare(shuffled, constant, "the most common class")
    assert nothing.sentence.startswith("The network is not better than always answering the most common class: ROC-AUC")
    fitted = compare(shuffled, constant, "HistGradientBoosting").sentence  # a model that learnt no more than one answer
    assert "not better than HistGradientBoosting, which answers the same for every row:" in fitted
    assert "do not show that it has learnt anything" in nothing.sentence


def test_a_comparison_refuses_other_rows_and_unknown_metrics():
    rows = make("regression")
    with pytest.raises(DataError, match="299 predictions"):
        compare(rows, rows.prediction[1:], "x")
    with pytest.raises(ConfigError, match="did you mean 'rmse'"):
        compare(rows, rows.prediction, "x", metric="rsme")


@pytest.mark.parametrize(
    ("task", "truth", "prediction", "message"),
    [
        ("binary", [0, 2], [[0.5, 0.5]] * 2, "from 0 to 2; expected whole numbers from 0 to 1"),
        ("multiclass", [0, 1], [0.5, 0.5], "expected .rows,. and .rows, classes."),
        ("regression", [0.0, np.nan], [0.0, 1.0], "1 of the 2 numbers of the truth are not finite"),
        ("regression", ["a"], [0.0], "expected numbers"),
        ("binary", [0, 1], [[0.1, 0.2, 0.7]] * 2, "3 columns"),
    ],
)
def test_rows_that_do_not_fit_are_refused(task, truth, prediction, message):
    with pytest.raises(DataError, match=message):
        Rows(task, truth, prediction)
    with pytest.raises(ConfigError, match="binary"):
        Rows("bynary", truth, prediction)


def test_a_class_that_the_rows_lack_leaves_the_auc_of_the_others():
    rows = make("multiclass", classes=3)
    wider = np.concatenate([rows.prediction, np.zeros((300, 1))], axis=1)
    found = scores(Rows("multiclass", rows.truth, wider))
    assert found.pop("top3_accuracy") == 1
    assert found == pytest.approx(scores(rows))


def test_relative_error_needs_values_that_are_far_from_zero():
    truth = np.array([100.0, 200.0])
    assert scores(Rows("regression", truth, truth * 1.1))["mape"] == pytest.approx(0.1)
    near = Rows("regression", np.array([100.0, 0.0]), truth)
    assert "mape" not in scores(near)
    said = str(Judgement(near.scores(), evidence=near))
    assert "note: no mean relative error (MAPE): some true values are near 0" in " ".join(said.split())
    assert "no " not in str(Judgement({}, evidence=Rows("regression", truth, truth)))
    alone = Rows("binary", np.zeros(5, int), np.tile([0.7, 0.3], (5, 1)))
    assert Judgement({}, evidence=alone).said == (
        "no ROC-AUC and average precision: all 5 rows have the same true class",
    )


def test_residuals_in_numbers():
    found = residuals(Rows("regression", np.zeros(5), np.array([0.0, 1, 2, -7, 1])))
    assert (found.bias, found.median, found.largest, found.row) == (pytest.approx(-0.6), 1, -7, 3)
    with pytest.raises(ConfigError, match="confusion"):
        residuals(make("binary"))


def test_a_comparison_of_one_class_uses_accuracy():
    rows = Rows("binary", np.zeros(20, int), np.tile([0.7, 0.3], (20, 1)))
    assert compare(rows, np.tile([0.2, 0.8], (20, 1)), "x").metric == "accuracy"


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_baselines_learn_what_there_is_to_learn(task):
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(300, 3)).astype("float32")
    codes = rng.integers(0, 5, size=(300, 1)).astype("int32")
    signal = numeric[:, 0] + 2 * (codes[:, 0] == 2)
    y = {"regression": signal, "binary": (signal > 0.5) * 1, "multiclass": np.digitize(signal, [0, 1])}[task]
    inputs = {"numeric": numeric, "categorical": codes}
    first, second = ({k: v[part] for k, v in inputs.items()} for part in (slice(200), slice(200, None)))
    found = baselines(task, (first, y[:200]), second, classes=3 if task == "multiclass" else 2)
    assert list(found) == ["commonest", "linear", "boosting"]
    main = {"regression": "r2", "binary": "accuracy", "multiclass": "accuracy"}[task]
    reached = {name: scores(Rows(task, y[200:], each.prediction))[main] for name, each in found.items()}
    assert reached["linear"] > 0.75 > reached["commonest"]
    assert reached["boosting"] > 0.75


def test_a_class_without_training_rows_has_probability_zero():
    inputs = {"numeric": np.random.default_rng(0).normal(size=(60, 2)).astype("float32")}
    found = baselines("multiclass", (inputs, np.arange(60) % 2 * 2), inputs, classes=4)
    for each in found.values():
        assert each.prediction.shape == (60, 4)
        assert (each.prediction[:, [1, 3]] == 0).all()


def test_rows_that_a_model_cannot_fit_cost_that_model_only():
    inputs = {"categorical": np.arange(12, dtype=np.int32)[:, None] % 4}
    found = baselines("binary", (inputs, np.zeros(12, int)), inputs, classes=2)
    assert "linear" not in found
    assert (found["commonest"].prediction == [1, 0]).all()
    with pytest.raises(DataError, match="12 rows of inputs and 3 labels"):
        baselines("binary", (inputs, np.zeros(3, int)), inputs)


def test_a_large_table_is_sampled_and_says_so(monkeypatch):
    monkeypatch.setitem(_WORK, "boosting", 0.0)
    x = np.random.default_rng(0).normal(size=(1500, 1)).astype("float32")
    found = baselines("regression", ({"numeric": x}, x[:, 0]), {"numeric": x[:5]})
    assert found["boosting"].notes == ("fitted to 1,000 of the 1,500 rows",)
    assert found["linear"].notes == ()


@pytest.mark.parametrize("levels", [255, 300])
def test_categories_beyond_those_of_gradient_boosting_are_numbers(levels):
    codes = {"categorical": (np.arange(600, dtype=np.int32) % levels)[:, None]}
    found = baselines("regression", (codes, np.arange(600.0)), {"categorical": np.array([[levels + 9]], np.int32)})
    assert np.isfinite(found["boosting"].prediction).all()
    assert found["linear"].prediction == pytest.approx(np.arange(600.0).mean(), rel=0.02)


@given(st.integers(0, 10**6), st.sampled_from(["f1", "balanced_accuracy", "accuracy", "mcc"]))
def test_no_threshold_is_better_than_the_chosen_one(seed, measure):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(2, size=20)])
    probability = rng.random(22).round(1)
    found = choose_threshold(labels, probability, measure)

    def at(threshold):
        rows = Rows("binary", labels, np.stack([1 - probability, probability], 1), threshold)
        return METRICS[measure].compute(rows, np.ones(22))

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
