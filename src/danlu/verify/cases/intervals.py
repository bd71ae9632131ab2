"""Intervals, what probabilities consist of, and distributions by quantiles, against scipy, scikit-learn and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from danlu.evaluate.decomposition import decomposition, error_by_chance
from danlu.evaluate.families import GAP, SQUARED_GAP
from danlu.evaluate.folds import fold_interval
from danlu.evaluate.gaps import gap_interval
from danlu.evaluate.intervals import difference, intervals
from danlu.evaluate.quantiles import Quantiles, crps, pinball
from danlu.evaluate.rows import Rows
from danlu.evaluate.sample import Sample
from danlu.verify.case import Check, case
from danlu.verify.cases.measures import ROWS, chances
from danlu.verify.oracles import draw

__all__: list[str] = []


@case("metric.decomposition")
def brier_parts(check: Check) -> None:
    """The parts add up to the score, whole where the probabilities of a bin are equal; of several classes, class by class."""
    truth, p = chances(2)
    tenths = (np.minimum(p[:, 1] * 10, 9).astype(int) + 0.5) / 10
    even = decomposition(Rows("binary", truth, np.stack([1 - tenths, tenths], 1)))
    check(even.within, 0.0)
    check(even.brier, even.reliability - even.resolution + even.uncertainty)
    check(even.uncertainty, truth.mean() * (1 - truth.mean()))
    several, q = chances(4)
    whole = decomposition(Rows("multiclass", several, q))
    rows = Rows("multiclass", several, q)
    each = [
        decomposition(Rows("binary", several == k, np.stack([1 - c, c], 1))) for k, c in enumerate(rows.prediction.T)
    ]
    for name in ("brier", "reliability", "resolution", "uncertainty", "within"):
        check(getattr(whole, name), sum(getattr(one, name) for one in each))
    always = decomposition(Rows("binary", truth, np.tile([1 - truth.mean(), truth.mean()], (ROWS, 1))))
    check([always.brier, always.reliability, always.resolution], [always.uncertainty, 0.0, 0.0])
    chance = np.sqrt(2 / np.pi * 0.25 / 100)  # the mean size of a normal number: all rows in one bin
    check(error_by_chance(Rows("binary", np.arange(100) % 2, np.full((100, 2), 0.5))), chance)


@case("metric.quantiles")
def quantile_measures(check: Check) -> None:
    """CRPS: of equally likely values by its definition with pairs, of a normal distribution in closed form; pinball by scikit-learn."""
    stats: Any = check.module("scipy.stats")
    truth, count = draw(ROWS), 8
    values = np.sort(draw(ROWS, count, seed=1), axis=-1)
    levels = (np.arange(count) + 0.5) / count
    pairs = np.abs(values[:, :, None] - values[:, None]).mean((1, 2))
    check(crps(truth, values, levels), np.abs(values - truth[:, None]).mean(1) - pairs / 2, oracle="closed form")
    check(crps(truth, values[:, :1], (0.5,)), np.abs(truth - values[:, 0]), oracle="closed form")
    fine = (np.arange(2000) + 0.5) / 2000
    normal = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - 1 / math.sqrt(math.pi)
    near = crps(truth, np.tile(stats.norm.ppf(fine), (ROWS, 1)), fine)
    check(np.abs(near - normal).max() < 2e-4, True, oracle="scipy")
    check(np.abs(near.mean() - normal.mean()) < 1e-4, True, oracle="scipy")
    three, of = values[:, [0, 3, 7]], (0.1, 0.5, 0.9)
    check(
        pinball(truth, three, of).mean(),
        np.mean(
            [
                max(q * d, (q - 1) * d)
                for row, y in zip(three, truth, strict=True)
                for q, d in zip(of, y - row, strict=True)
            ]
        ),
    )
    if m := check.module("sklearn.metrics"):
        theirs = [m.mean_pinball_loss(truth, three[:, k], alpha=q) for k, q in enumerate(of)]
        check(pinball(truth, three, of).mean(), np.mean(theirs), oracle="sklearn")
        # Each level stands for the share of all that is nearest to it.
        check(crps(truth, three, of).mean(), 2 * np.dot([0.3, 0.4, 0.3], theirs), oracle="sklearn")
    found = Quantiles(truth, three, of).measures()
    check(found["coverage"], ((truth >= three[:, 0]) & (truth <= three[:, 2])).mean())


@case("metric.fold_interval")
def over_folds(check: Check) -> None:
    """Nadeau and Bengio's: Student's t with the variance of the scores times ``1/J + n_test/n_train``."""
    stats: Any = check.module("scipy.stats")
    scores = 0.8 + draw(15) / 30
    found = fold_interval(scores.reshape(3, 5), 20, 80)
    reach = stats.t.ppf(0.975, 8) * math.sqrt(
        (1 / 15 + 0.25) * scores.var(ddof=1)
    )  # of 15 scores no more than 2 · 80/20
    check(
        [found.value, found.low, found.high],
        [scores.mean(), scores.mean() - reach, scores.mean() + reach],
        oracle="scipy",
    )


@case("metric.gap_interval")
def gap_ends(check: Check) -> None:
    """Of one term the size of a normal number; of equal terms that are 0 a chi-square that is not refuted."""
    stats: Any = check.module("scipy.stats")
    count, error = 50, 0.01
    without = np.linspace(-1, 1, count)
    without *= error / math.sqrt((count - 1) * without.var())
    low, high = gap_interval(GAP, np.array([0.1]), 0.1 + without[:, None], np.zeros(1), 0.95)
    reach = stats.norm.ppf(1 - 0.05 / 3) * error
    check((abs(low - (0.1 - reach)) < 0.002, abs(high - (0.1 + reach)) < 0.002), (True, True), oracle="scipy")
    still = np.zeros((count, 6))
    found = math.sqrt(stats.chi2.ppf(0.5, 6)) * error
    low, high = gap_interval(SQUARED_GAP, np.full(6, found / math.sqrt(6)), still, np.full(6, error**2), 0.95)
    check(low, 0.0, oracle="closed form")
    reached = stats.ncx2.cdf(found**2 / error**2, 6, high / error**2)  # so seldom is so little found of that much
    check(abs(reached - 0.05 / 3) < 0.008, True, oracle="scipy")


@case("metric.intervals")
def interval_ends(check: Check) -> None:
    """A perfect share is the binomial's; a loss Fay and Feuer's gamma; a mean Student's; a median lies between sorted errors."""
    stats: Any = check.module("scipy.stats")
    truth = np.arange(30) % 2
    perfect = intervals(Rows("binary", truth, np.eye(2)[truth]))
    check(perfect["accuracy"].low, 0.025 ** (1 / 30))
    check(perfect["recall"].low, 0.025 ** (1 / 15))
    wrong = np.where(np.arange(30) < 3, 1 - truth, truth)
    found, exact = intervals(Rows("binary", truth, np.eye(2)[wrong]), ["accuracy"])["accuracy"], stats.binomtest(27, 30)
    ends = exact.proportion_ci(method="exact")
    check((abs(found.low - ends.low) < 0.01, abs(found.high - ends.high) < 0.005), (True, True))
    errors = draw(40)
    found = intervals(Rows("regression", np.zeros(40), errors))["mae"]
    size = np.abs(errors)
    mean, variance, more = size.mean(), size.var(ddof=1) / 40, (size.max() - size.mean()) / 40
    check(found.low, stats.gamma.ppf(0.025, mean**2 / variance, scale=variance / mean), oracle="scipy")
    above, spread = mean + 3.875 * more, variance + 3.875 * more**2  # 2 + 75/40 rows as bad as the worst
    check(found.high, stats.gamma.ppf(0.975, above**2 / spread, scale=spread / above), oracle="scipy")
    middle = intervals(Rows("regression", np.zeros(40), errors))["median_error"]
    place = int(stats.binom.ppf(0.025, 40, 0.5)) - (stats.binom.cdf(stats.binom.ppf(0.025, 40, 0.5), 40, 0.5) > 0.025)
    check([middle.low, middle.high], [np.sort(size)[place], np.sort(size)[39 - place]], oracle="scipy")
    values = np.concatenate([-size[:20], size[:20]])
    found = Sample(values, "return").interval()
    reach = stats.t.ppf(0.975, 39) * values.std(ddof=1) / math.sqrt(40)
    check([found.low, found.high], np.array([-1, 1]) * (reach + size[:20].max() / 41))


@case("metric.coverage")
def coverage(check: Check) -> None:
    """Of 200 drawn test sets at least nine tenths have the true score in the 95 % interval, and less than a twelfth a false claim."""
    rng = np.random.default_rng(0)
    held, claims = {"accuracy": 0, "roc_auc": 0, "rmse": 0}, 0
    area = 0.5 * (1 + math.erf(1.5 / 2))  # of normal scores that are 1.5 apart
    for _ in range(200):
        truth = np.arange(40) % 4 // 3
        score = rng.normal(size=40) + 1.5 * truth
        p = 1 / (1 + np.exp(-score))
        rows = Rows("binary", truth, np.stack([1 - p, p], 1))
        found = intervals(rows, ["roc_auc"])["roc_auc"]
        held["roc_auc"] += found.low <= area <= found.high
        right = rng.random(40) < 0.95
        found = intervals(Rows("binary", truth, np.eye(2)[np.where(right, truth, 1 - truth)]), ["accuracy"])["accuracy"]
        held["accuracy"] += found.low <= 0.95 <= found.high
        found = intervals(Rows("regression", np.zeros(40), rng.standard_t(3, 40)), ["rmse"])["rmse"]
        held["rmse"] += found.low <= math.sqrt(3) <= found.high
        ours, theirs = (Rows("regression", np.zeros(40), rng.normal(size=40)) for _ in range(2))
        low, high = difference(ours, theirs, "rmse")
        claims += low > 0 or high < 0
    check([share >= 180 for share in held.values()], [True] * 3)
    check(claims <= 16, True)
