"""Calibration and decisions by costs: against brute force, and what must not be calibrated is not."""

from __future__ import annotations

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.data import TargetEncoder
from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.evaluate import Rows, choose_threshold, intervals
from danlu.evaluate.calibrate import calibrated, fit_isotonic, fit_temperature, interpolated, scaled
from danlu.evaluate.costs import cost_matrix, cost_threshold, least_cost
from danlu.tasks import Answers, Imbalance
from danlu.tasks.answers import costs_from
from danlu.trained import HeldOut, Labels


def drawn(rows: int, classes: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right at this temperature, and the truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, classes))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(classes, p=each) for each in right])
    given = np.exp(logits * temperature)
    return given / given.sum(axis=1, keepdims=True), truth


def log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.log(probability[np.arange(len(truth)), truth]).mean())


def target(*classes: str) -> TargetEncoder:
    return TargetEncoder("y", "binary" if len(classes) == 2 else "multiclass", classes)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_is_that_of_the_lowest_smoothed_log_loss(classes):
    probability, truth = drawn(300, classes, 2.0)
    rows = np.arange(300)

    def smoothed(temperature: float) -> float:
        logs = np.log(scaled(probability, temperature))
        return float(-(300 * logs[rows, truth] + logs.mean(axis=1)).mean() / 301)

    found = fit_temperature(probability, truth)
    grid = np.geomspace(0.5, 8, 4001)
    best = grid[int(np.argmin([smoothed(each) for each in grid]))]
    assert found == pytest.approx(best, rel=1e-3)
    assert 1.5 < found < 2.8


def test_the_right_temperature_is_found_from_many_rows():
    probability, truth = drawn(20_000, 3, 1.7)
    assert fit_temperature(probability, truth) == pytest.approx(1.7, rel=0.03)


def test_rows_that_are_all_right_do_not_become_infinitely_sure():
    probability = np.tile([[0.3, 0.7], [0.7, 0.3]], (20, 1))
    found = fit_temperature(probability, np.tile([1, 0], 20))
    assert 0.1 < found < 1  # surer, and by no more than 41 rows say
    assert scaled(probability, found).max() < 1 - 1 / 200


def test_a_weight_is_that_many_rows():
    probability, truth = drawn(60, 3, 2.0)
    weight = np.random.default_rng(0).integers(1, 4, 60)
    many = np.repeat(np.arange(60), weight)
    assert fit_temperature(probability, truth, weight) == pytest.approx(
        fit_temperature(probability[many], truth[many]), rel=1e-9
    )


def test_no_probability_of_0_breaks_it():
    probability = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] * 15)
    truth = np.array([0, 1] * 14 + [2, 2])
    found = fit_temperature(probability, truth)
    assert found == 20.0  # two rows were called impossible
    assert np.isfinite(scaled(probability, found)).all()


def test_what_is_right_is_left_and_what_is_too_sure_is_calibrated():
    right, truth = drawn(2000, 3, 1.0)
    assert calibrated(right, truth).how == "none"
    sure, truth = drawn(2000, 3, 3.0)
    found = calibrated(sure, truth)
    assert found.how == "temperature"
    assert found.after < found.before == pytest.approx(log_loss(sure, truth))


def test_whether_it_helps_is_judged_on_other_rows_than_it_is_fitted_to():
    """Of few rows of right probabilities a fitted temperature always looks better than none on the rows it was fitted to."""
    flattered = kept = 0
    for seed in range(40):
        probability, truth = drawn(60, 3, 1.0, seed)
        fitted = log_loss(scaled(probability, fit_temperature(probability, truth)), truth)
        flattered += fitted < log_loss(probability, truth) - 1e-4
        kept += calibrated(probability, truth).how != "none"
    assert kept < 0.6 * flattered


def test_each_fold_is_judged_by_the_temperature_of_the_others():
    probability, truth = drawn(200, 2, 2.0)
    folds = np.arange(200) % 4
    parts = []
    for fold in range(4):
        own = folds == fold
        temperature = fit_temperature(probability[~own], truth[~own])
        parts.append(log_loss(scaled(probability[own], temperature), truth[own]))
    assert calibrated(probability, truth, folds=folds + 7).after == pytest.approx(np.mean(parts))


def test_isotonic_regression_is_that_of_scikit_learn_without_0_and_1():
    from sklearn.isotonic import IsotonicRegression

    probability, truth = drawn(500, 2, 2.0)
    knots = fit_isotonic(probability, truth)
    asked = np.linspace(0, 1, 101)
    found = interpolated(np.stack([1 - asked, asked], axis=1), knots)
    expected = IsotonicRegression(out_of_bounds="clip").fit(probability[:, 1], truth).predict(asked)
    np.testing.assert_allclose(found[:, 1], np.clip(expected, 1 / 502, 1 - 1 / 502), atol=0.01)
    assert found.min() > 0
    assert (np.diff(knots) >= 0).all()
    assert np.isfinite(log_loss(interpolated(probability, knots), truth))


def test_isotonic_regression_waits_for_many_rows_and_for_a_bent_curve():
    probability, truth = drawn(12_000, 2, 1.0)
    bent = probability[:, 1] ** 3
    bent = np.stack([1 - bent, bent], axis=1)
    assert calibrated(bent, truth).how == "isotonic"
    assert calibrated(bent[:9000], truth[:9000]).how == "temperature"
    with pytest.raises(DataError, match="two classes"):
        calibrated(np.full((30, 3), 1 / 3), np.arange(30) % 3, how="isotonic")


@pytest.mark.parametrize("rows", [0, 5, 19])
def test_few_rows_calibrate_nothing_unless_asked(rows):
    probability, truth = drawn(rows, 2, 3.0) if rows else (np.zeros((0, 2)), np.zeros(0, int))
    assert calibrated(probability, truth).how == "none"
    assert calibrated(probability, truth, how="temperature").how == ("temperature" if rows else "none")


def test_a_head_calibrates_then_decides_in_numpy_and_in_jax():
    probability, truth = drawn(400, 2, 3.0)
    head = Labels(target("no", "yes")).fitted(HeldOut(probability, truth), calibrate="auto", threshold="f1")
    assert head.temperature == pytest.approx(fit_temperature(probability, truth))
    outputs = np.log(probability)
    answers = head(outputs)
    np.testing.assert_allclose(answers, scaled(probability, head.temperature), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(head)(jnp.asarray(outputs)), answers, atol=1e-5)
    assert head.threshold == choose_threshold(truth, answers[:, 1], "f1").value  # of the calibrated probabilities
    assert "temperature" in head.facts()["probabilities"]
    assert "400 rows" in head.facts()["probabilities"]
    plain = head.plain()
    np.testing.assert_array_equal(plain(outputs), Labels(target("no", "yes"))(outputs))
    assert plain.threshold == 0.5


def test_an_isotonic_head_is_the_same_in_jax():
    probability, truth = drawn(400, 2, 2.0)
    head = Labels(target("no", "yes")).fitted(HeldOut(probability, truth), calibrate="isotonic")
    outputs = np.log(probability)
    np.testing.assert_allclose(
        jax.jit(head)(jnp.asarray(outputs)), head(outputs), atol=1e-3
    )  # a steep step makes more of float32
    assert "ROC-AUC" in head.facts()["probabilities"]


def test_probabilities_that_are_shifted_on_purpose_are_calibrated_only_when_asked():
    probability, truth = drawn(400, 2, 3.0)
    held = HeldOut(probability, truth)
    left = Labels(target("no", "yes")).fitted(held, calibrate="auto", shifted="imbalance.class_weight")
    assert left.temperature is None
    assert left.facts()["probabilities"].startswith("not calibrated, because imbalance.class_weight shifts them")
    assert Labels(target("no", "yes")).fitted(held, calibrate="temperature", shifted="x").temperature > 1


def test_a_head_is_saved_as_plain_data_and_damaged_ones_are_refused():
    probability, truth = drawn(400, 3, 3.0)
    head = Labels(target("a", "b", "c")).costing({"a": 4}).fitted(HeldOut(probability, truth), calibrate="auto")
    told, arrays = head.state()
    told = json.loads(json.dumps(told))
    again = Labels.from_state(told, arrays)
    assert (again.temperature, again.costs, again.said) == (head.temperature, head.costs, head.said)
    old = Labels.from_state({"target": told["target"], "threshold": None}, {})
    assert old.temperature is None is old.costs
    damaged = [
        {"temperature": 0},
        {"temperature": "1"},
        {"costs": [[1, 2]]},
        {"costs": "x"},
        {"costs": [[0, -1, 1]] * 3},
        {"said": [1]},
    ]
    for change in damaged:
        with pytest.raises(ArtifactError):
            Labels.from_state({**told, **change}, arrays)
    for knots in (np.zeros((3, 2)), np.array([[0.0, 1.0], [0.9, 0.1]]), np.array([[0.0, 1.0], [0.0, np.nan]])):
        with pytest.raises(ArtifactError):
            Labels.from_state(told, {"knots": knots})


# Costs.


def test_the_cheapest_answer_is_given():
    rng = np.random.default_rng(0)
    probability, costs = rng.dirichlet(np.ones(4), 50), rng.uniform(0, 5, (4, 4))
    np.fill_diagonal(costs, 0)
    by_hand = [min(range(4), key=lambda a: sum(p[k] * costs[k, a] for k in range(4))) for p in probability]
    assert least_cost(probability, costs).tolist() == by_hand
    two = cost_matrix({"fn": 5, "fp": 2}, ["no", "yes"])
    head = Labels(target("no", "yes")).costing({"fn": 5, "fp": 2})
    assert head.threshold == cost_threshold(two) == 2 / 7
    binary = rng.dirichlet(np.ones(2), 200)
    assert head.decide(binary).tolist() == least_cost(binary, two).tolist()


def test_the_mean_cost_is_measured_with_an_interval_and_for_others_at_their_own_best():
    probability, truth = drawn(200, 3, 1.0)
    costs = cost_matrix({"a": 6, "b>c": 3}, ["a", "b", "c"])
    rows = Rows("multiclass", truth, probability, costs=costs)
    chosen = least_cost(probability, costs)
    assert rows.chosen.tolist() == chosen.tolist() != probability.argmax(axis=1).tolist()
    found = intervals(rows)["cost"]
    assert found.value == pytest.approx(np.mean([costs[t, c] for t, c in zip(truth, chosen, strict=True)]))
    assert found.low < found.value < found.high
    other = rows.with_prediction(probability[:, ::-1])
    assert other.chosen.tolist() == least_cost(probability[:, ::-1], costs).tolist()
    assert rows.take(np.arange(9)).spent.tolist() == rows.spent[:9].tolist()
    assert "cost" not in intervals(Rows("multiclass", truth, probability))
    two = Rows(
        "binary",
        truth % 2,
        probability[:, :2] / probability[:, :2].sum(1, keepdims=True),
        costs=cost_matrix({"fn": 9}, "ny"),
    )
    assert two.with_prediction(two.prediction).threshold == 0.1


def test_no_threshold_costs_less_than_the_chosen_one():
    probability, truth = drawn(80, 2, 2.0)
    costs = cost_matrix({"fn": 3}, ["no", "yes"])
    found = choose_threshold(truth, probability[:, 1], "cost", costs=costs)

    def cost(threshold: float) -> float:
        return float(costs[truth, (probability[:, 1] >= threshold).astype(int)].mean())

    assert found.score == pytest.approx(cost(found.value))
    assert found.score <= min(cost(each) for each in np.linspace(0, 1.01, 400)) + 1e-12


def test_the_held_out_rows_say_what_the_decision_costs():
    probability, truth = drawn(300, 2, 1.0)
    head = Labels(target("no", "yes")).costing({"fn": 9}).fitted(HeldOut(probability, truth), calibrate="none")
    said = head.facts()["decision"]
    spent = np.array([[0, 1], [9, 0]])[truth, (probability[:, 1] >= 0.1).astype(int)].mean()
    assert said.startswith(f"'yes' from a probability of 0.1 on, by the costs: {spent:.4g} a row in the mean")
    assert "(300 rows not learnt from)" in said
    assert head.threshold == 0.1


def test_costs_need_no_held_out_rows_of_both_classes():
    """A late part of a table may have one class alone; the decision follows from the costs all the same."""
    probability, truth = drawn(30, 2, 1.0)
    head = Labels(target("no", "yes")).costing({"fn": 9})
    found = head.fitted(HeldOut(probability, np.zeros_like(truth)), calibrate="auto")
    assert found.threshold == head.threshold
    assert "a row in the mean" in found.facts()["decision"]


@pytest.mark.parametrize(
    ("given", "classes", "said"),
    [
        ({"maybe": 3}, ["no", "yes"], "there is no mistake 'maybe'; expected 'fn', 'fp', a class"),
        ({"fn": 3}, ["a", "b", "c"], "expected a class"),
        ({"ye": 3}, ["no", "yes"], "did you mean 'yes'"),
        ({"yes>yes": 3}, ["no", "yes"], "there is no mistake"),
        ({"fn": -1}, ["no", "yes"], "expected 0 or more"),
        ({"fn": 0, "fp": 0}, ["no", "yes"], "every mistake costs 0"),
    ],
)
def test_costs_of_nothing_are_refused(given, classes, said):
    with pytest.raises(ConfigError) as caught:
        cost_matrix(given, classes)
    assert said in str(caught.value)


def test_classes_may_be_called_anything():
    for pair in itertools.permutations(["a>b", "b", ">", "a"], 2):
        classes = ["a>b", "b", ">", "a"]
        found = cost_matrix({f"{pair[0]}>{pair[1]}": 7}, classes)
        assert found[classes.index(pair[0]), classes.index(pair[1])] == 7 or f"{pair[0]}>{pair[1]}" in classes


@pytest.mark.parametrize("text", ["fn", "fn=", "fn=five", "=3", "fn=1,fn=2", "fn=nan"])
def test_costs_that_are_not_written_as_costs_are_refused(text):
    with pytest.raises(ConfigError, match="--cost is"):
        costs_from(text)


def test_settings_that_do_not_go_together_are_refused():
    def refused(task: str, answers: Answers, imbalance: Imbalance | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            answers.check(task, ["no", "yes"], imbalance or Imbalance())
        return str(caught.value)

    assert "answers.cost is for classes" in refused("regression", Answers(cost={"fn": 2}))
    assert "answers.calibrate is for classes" in refused("regression", Answers(calibrate="none"))
    assert "is for two classes" in refused("multiclass", Answers(calibrate="isotonic"))
    for other in ({"threshold": "f1"}, {"class_weight": "balanced"}, {"resample": "oversample"}):
        assert "do not go together" in refused("binary", Answers(cost={"fn": 2}), Imbalance(**other))


def test_a_gain_that_chance_explains_is_none():
    """Right probabilities are left as they are in nearly all samples, not in half of them."""
    kept = [calibrated(*drawn(200, 3, 1.0, seed)).how != "none" for seed in range(60)]
    assert np.mean(kept) < 0.25
    assert calibrated(*drawn(200, 3, 1.0), folds=np.zeros(200, int)).how == "none"  # one part cannot judge another
