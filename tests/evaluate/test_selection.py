"""The weights of a blend against all weights there can be."""

import itertools

import numpy as np
import pytest

from danlu.errors import DataError
from danlu.evaluate.selection import certainty, greedy_weights, loss_of


def drawn(task, seed, models=3, rows=30):
    rng = np.random.default_rng(seed)
    if task == "values":
        truth = rng.normal(size=rows)
        return [truth + rng.normal(0, 0.3 + 0.4 * i, rows) for i in range(models)], truth, rng.random(rows) + 0.1
    truth = rng.integers(0, 3, rows)
    logits = [2 * np.eye(3)[truth] + rng.normal(0, 1 + 0.5 * i, (rows, 3)) for i in range(models)]
    return [np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in logits], truth, rng.random(rows) + 0.1


def _mean(shares, answers, truth, weight):
    return loss_of(sum(w * a for w, a in zip(shares, answers, strict=True)), truth, weight)


@pytest.mark.parametrize("task", ["values", "classes"])
def test_the_weights_are_nearly_the_best_of_all(task):
    for seed in range(5):
        answers, truth, weight = drawn(task, seed)
        found = greedy_weights(answers, truth, weight=weight)
        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()
        grid = [(a / 40, b / 40, 1 - (a + b) / 40) for a, b in itertools.product(range(41), repeat=2) if a + b <= 40]
        best, single = (
            min(_mean(each, answers, truth, weight) for each in grid),
            min(loss_of(each, truth, weight) for each in answers),
        )
        assert best * 0.99 <= _mean(found, answers, truth, weight) <= min(single, best + 0.05 * (single - best)) + 1e-9


def test_draws_of_the_rows_steady_the_weights():
    """Of two models that are as good as each other and nearly the same, chance gives one all of the weight; draws share it out."""
    rng, once, often = np.random.default_rng(0), [], []
    for seed in range(20):
        truth = rng.normal(size=40)
        common = truth + rng.normal(0, 1, 40)
        pair = [common + rng.normal(0, 0.2, 40) for _ in range(2)]
        once.append(greedy_weights(pair, truth)[0])
        often.append(greedy_weights(pair, truth, draws=20, seed=seed)[0])
    assert np.std(often) < 0.8 * np.std(once)
    assert np.mean(often) == pytest.approx(0.5, abs=0.2)
    answers, truth, weight = drawn("values", 0)
    assert greedy_weights(answers, truth, weight=weight, draws=20).argmax() == 0


def test_a_model_that_helps_nothing_gets_no_weight():
    truth = np.array([0, 1, 0, 1])
    good, bad = np.eye(2)[truth] * 0.8 + 0.1, np.eye(2)[1 - truth]
    assert greedy_weights([bad, good], truth).tolist() == [0, 1]
    assert greedy_weights([good, good], truth).tolist() == [1, 0]


def test_rows_count_by_their_weight():
    low, high, truth = np.zeros(2), np.ones(2), np.array([0.0, 1.0])
    assert greedy_weights([low, high], truth, weight=np.array([1.0, 0.0])).tolist() == [1, 0]
    assert greedy_weights([low, high], truth).tolist() == [0.5, 0.5]


def test_what_may_be_chance_is_not_certain():
    """Of answers that are as good as each other, the second is surely better in few of many draws; of better ones, in most."""
    rng, sure = np.random.default_rng(0), {1.0: [], 0.7: []}
    for _ in range(200):
        truth = rng.normal(size=100)
        first = truth + rng.normal(size=100)
        for noise, found in sure.items():
            found.append(certainty(first, truth + noise * rng.normal(size=100), truth))
    assert np.mean(np.asarray(sure[1.0]) > 0) < 0.25
    assert np.mean(sure[1.0]) < 0.1
    assert np.mean(sure[0.7]) > 0.7
    counted = certainty(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.5]), np.zeros(3), np.array([1.0, 1.0, 0.0]))
    assert counted == certainty(np.array([1.0, 0.0]), np.zeros(2), np.zeros(2))  # a row of weight 0 is not there


def test_no_models_are_refused():
    with pytest.raises(DataError, match="0 models"):
        greedy_weights([], np.zeros(2))
