"""The interval of a mean over folds: corrected for the rows that they share, in the bounds of the measure, and none from too few."""

import math

import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.evaluate import MEASURES, fold_interval
from danlu.evaluate.folds import FOLD_METHOD
from danlu.evaluate.judgement import fold_lines


def test_it_is_wider_than_that_of_independent_folds_by_what_they_share():
    stats = pytest.importorskip("scipy.stats")
    scores = np.random.default_rng(0).normal(0.8, 0.03, (3, 5))
    found = fold_interval(scores, 20, 80)
    naive = stats.t.interval(0.95, 14, scores.mean(), scores.std(ddof=1) / math.sqrt(15))
    assert (found.high - found.low) / (naive[1] - naive[0]) == pytest.approx(
        math.sqrt(1 + 15 / 4) * stats.t.ppf(0.975, 8) / stats.t.ppf(0.975, 14)
    )
    assert (found.low + found.high) / 2 == pytest.approx(found.value) == pytest.approx(scores.mean())
    uneven = fold_interval(scores, [20] * 15, [80] * 15, level=0.5)
    assert uneven.high - uneven.low < found.high - found.low


def test_it_stays_in_the_bounds_of_its_measure():
    shares = [1.0, 0.6, 1.0, 0.9]
    assert fold_interval(shares, 5, 15).high > 1
    assert fold_interval(shares, 5, 15, family=MEASURES["roc_auc"].family).high == 1
    assert fold_interval([0.1, 0.9, 0.2], 5, 10, family=MEASURES["rmse"].family).low == 0
    assert fold_interval([0.1, 0.9, 0.2], 5, 10, family=MEASURES["r2"].family).high == 1


def test_why_there_is_none_is_said():
    assert str(fold_interval([0.8, 0.9], 5, 5)) == "0.85 (no interval: too few folds)"
    assert str(fold_interval([0.8] * 4, 5, 15)) == "0.8 (no interval: folds are all alike)"
    lines = fold_lines({"accuracy": fold_interval([0.5, 0.6, 0.7], 5, 10)}, 3)
    assert "accuracy" in lines[1]
    assert FOLD_METHOD in " ".join("\n".join(lines[2:]).split()), "which interval it is is printed"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (([], 5, 15), DataError, "expected a finite number for each fold"),
        (([0.1, math.nan], 5, 15), DataError, "expected a finite number for each fold"),
        (([0.1, 0.2, 0.3], [5, 5], 15), DataError, "sizes of 3 folds are"),
        (([0.1, 0.2, 0.3], 5, 0), DataError, "expected numbers of rows"),
    ],
)
def test_what_is_no_score_of_a_fold_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        fold_interval(*given)
    with pytest.raises(ConfigError, match="level is 1"):
        fold_interval([0.1, 0.2, 0.3], 5, 15, level=1)


def test_it_holds_where_that_of_independent_folds_does_not():
    """Ridge regression on 60 rows, 3 × 5 folds, 300 studies: the naive interval held in about 0.7 of 1,000; see fold_coverage.py."""
    rng, true = np.random.default_rng(0), np.full(5, 0.5)

    def drawn(rows):
        x = rng.normal(size=(rows, 5))
        return x, x @ true + rng.normal(size=rows)

    def fitted(x, y):
        return np.linalg.solve(x.T @ x + np.eye(5), x.T @ y)

    losses = [1 + ((fitted(*drawn(48)) - true) ** 2).sum() for _ in range(3000)]  # of normal features: in closed form
    expected, held = float(np.mean(losses)), {"corrected": 0, "naive": 0}
    for _ in range(300):
        x, y = drawn(60)
        scores = []
        for _ in range(3):
            fold = rng.permutation(60) % 5
            for number in range(5):
                test = fold == number
                scores.append(((x[test] @ fitted(x[~test], y[~test]) - y[test]) ** 2).mean())
        for name, ratio in (("corrected", 48), ("naive", 10**12)):
            found = fold_interval(scores, 12, ratio)
            held[name] += found.low <= expected <= found.high
    assert held["corrected"] / 300 >= 0.895, "93 % and two and a half standard errors"
    assert held["naive"] / 300 < 0.8
