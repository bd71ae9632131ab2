"""Campaigns: Qini and uplift curves person by person, what a score of an effect is on average, what decisions are worth."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from danlu.evaluate.uplift import Campaign, Gains, effect_scores
from danlu.verify.case import Check, case

__all__: list[str] = []

SCORE = np.array([0.9, 0.8, 0.8, 0.5, 0.4, 0.4, 0.4, 0.1, 0.0, -0.2])
TREATED = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 0]) == 1
OUTCOME = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 0]) * 1.0


def people(propensity: np.ndarray | float = 0.5, **changes: Any) -> Campaign:
    """Ten people, of whom those with an uplift above 0.3 would be treated."""
    every = np.ones(10)
    values = np.stack([0.2 * every, 0.2 + SCORE / 2], axis=1)
    return Campaign(TREATED, OUTCOME, propensity * every, values, SCORE, (SCORE > 0.3) * 1.0, **changes)


def walked(weights: np.ndarray, score: np.ndarray = SCORE) -> tuple[list[float], list[float], list[float]]:
    """People in front, Qini and uplift curve after each score, as loops over the people down to it."""
    front, qini, uplift = [0.0], [0.0], [0.0]
    total = sum(w for w, treated in zip(weights, TREATED, strict=True) if treated)
    for least in sorted(set(score), reverse=True):
        sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
        for each, w, treated, y in zip(score, weights, TREATED.tolist(), OUTCOME, strict=True):
            if each >= least:
                sums[treated][0] += w
                sums[treated][1] += w * y
        count = sum(each >= least for each in score)
        means = {of: total_y / n if n else 0.0 for of, (n, total_y) in sums.items()}
        front.append(count / len(score))
        qini.append((sums[True][1] - means[False] * sums[True][0]) / total)
        uplift.append((means[True] - means[False]) * count / len(score))
    return front, qini, uplift


def area(x: list[float], y: list[float]) -> float:
    return sum((b - a) * (u + v) / 2 for a, b, u, v in zip(x, x[1:], y, y[1:], strict=False))


@case("uplift.curves")
def curves(check: Check) -> None:
    """Every point of both curves, the areas and the top, with people of equal scores and of unequal propensities."""
    unequal = np.linspace(0.2, 0.8, 10)
    for propensity in (np.full(10, 0.5), unequal):
        weights = np.where(TREATED, 1 / propensity, 1 / (1 - propensity))
        front, qini, uplift = walked(weights)
        found = Gains(SCORE, TREATED, OUTCOME, propensity)
        for own, by_hand in zip(found.curves(np.ones(10)), (front, qini, uplift), strict=True):
            check(own, by_hand, oracle="by hand")
        measured = people(propensity).measures()
        check(measured["qini"], area(front, qini) - qini[-1] / 2, oracle="by hand")
        check(measured["auuc"], area(front, uplift), oracle="by hand")
        best = walked(weights, np.where(TREATED, OUTCOME, -OUTCOME))
        check(
            measured["qini_share"],
            (area(front, qini) - qini[-1] / 2) / (area(best[0], best[1]) - best[1][-1] / 2),
            oracle="by hand",
        )
    # Half of the two who share the second place, and the one before them: 1 treated with 1, half a treated with 1, half another with 0.
    check(Gains(SCORE, TREATED, OUTCOME, np.full(10, 0.5)).top(0.2, np.ones(10)), 1.5 / 1.5 - 0 / 0.5, oracle="by hand")
    once = Gains(np.tile(SCORE, 2), np.tile(TREATED, 2), np.tile(OUTCOME, 2), np.full(20, 0.5))
    twice = Gains(SCORE, TREATED, OUTCOME, np.full(10, 0.5)).qini(np.full(10, 2.0))
    check(once.qini(np.ones(20)), twice, oracle="rows twice")


@case("uplift.scores")
def on_average(check: Check) -> None:
    """The mean of each score over all treatments and outcomes is the effect, where the propensity, or the model, is right."""
    e, means = np.array([0.3, 0.8]), np.array([[0.2, 0.6], [0.5, 0.1]])  # of the outcome, without and with
    wrong = np.array([[0.4, 0.9], [0.1, 0.3]])
    for values, propensity in ((None, e), (wrong, e), (means, np.array([0.5, 0.2]))):
        for person in range(2):
            mean = 0.0
            for done, outcome in itertools.product((0, 1), (0.0, 1.0)):
                chance = (e[person] if done else 1 - e[person]) * abs(1 - outcome - means[person, done])
                own = None if values is None else values[person : person + 1]
                given = np.array([done == 1]), np.array([outcome]), propensity[person : person + 1], own
                mean += chance * float(effect_scores(*given)[0])
            check(mean, means[person, 1] - means[person, 0], oracle="by hand")


@case("uplift.value")
def decisions(check: Check) -> None:
    """The average effect and the worth of decisions, as sums over the people."""
    found, e = people(0.4, cost=0.1), 0.4
    effects, worth = [], []
    for treated, y, (without, with_), treat in zip(TREATED, OUTCOME, found.values, found.treat, strict=True):
        effects.append(with_ - without + ((y - with_) / e if treated else -(y - without) / (1 - e)))
        own = with_ - 0.1 if treat else without
        if treated and treat:
            own += (y - with_) / e
        if not treated and not treat:
            own += (y - without) / (1 - e)
        worth.append(own)
    check(found.measures()["ate"], np.mean(effects), oracle="by hand")
    check(found.measures()["value"], np.mean(worth), oracle="by hand")
