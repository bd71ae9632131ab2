"""Conformal prediction: intervals and sets of classes that hold the true answer as often as they say.

Every row that was not learnt from has a *score*: how unlike its true answer is to what the model says. If a new row is drawn like these
``n`` rows (they are exchangeable), its score is equally likely to take each of ``n + 1`` places among theirs. So what is not above the
``k``-th smallest, ``k = ⌈(n + 1)·level⌉``, holds the true answer with a probability from ``level`` to ``level + 1/(n + 1)`` (if no scores
are equal), whatever the model is. With too few rows, ``k > n``, nothing less than every answer is sure enough.

That is the share over all rows. For some rows it may be higher and for others lower, unless each group of rows has scores of its own
(Mondrian): then it is the share within each.

Reference: Vovk, Gammerman & Shafer, "Algorithmic learning in a random world" (2005), chapters 2 and 4; Lei et al., "Distribution-free
predictive inference for regression" (2018), section 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = [
    "aps_scores",
    "check_level",
    "conformal_quantile",
    "cv_plus",
    "fit_spread",
    "group_quantiles",
    "highest_level",
    "lac_scores",
    "spread_helps",
    "spread_of",
]

_PIECE, _PIECES = 50, 20  # rows of a knot of the spread, and knots, at most
_LEAST_ROWS, _LEAST_GAIN = 200, 0.01  # for a spread that varies
_AT_ONCE = 2_000_000  # numbers that are sorted in one go, for the memory's sake


def check_level(level: Any) -> float:
    """The level as a number.

    Raises:
        ConfigError: it is not above 0 and below 1.
    """
    if isinstance(level, bool) or not isinstance(level, int | float | np.number) or not 0 < level < 1:
        hint = f"for {level} %: {level / 100:g}" if isinstance(level, int | float) and 1 < level < 100 else None
        raise ConfigError(f"the level is {level!r}; expected a share above 0 and below 1, such as 0.9", hint=hint)
    return float(level)


def _place(rows: int, level: float) -> int:
    """``⌈(n + 1)·level⌉``; what is whole but for rounding is whole: 10 · 0.9 is 9 and not 10."""
    return max(math.ceil((rows + 1) * level - 1e-9), 1)


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """The ``⌈(n + 1)·level⌉``-th smallest of the scores ``(n,)``; infinite where there are not so many.

    Raises:
        ConfigError: a level outside (0, 1).
        DataError: a score that is not a number.

    Example:
        >>> conformal_quantile(np.arange(1.0, 10.0), 0.9), conformal_quantile(np.arange(6.0), 0.9)
        (9.0, inf)
    """
    scores, level = np.asarray(scores, np.float64).ravel(), check_level(level)
    if np.isnan(scores).any():
        raise DataError("a score of a held-out row is not a number")
    place = _place(len(scores), level)
    return float(np.partition(scores, place - 1)[place - 1]) if place <= len(scores) else float("inf")


def highest_level(rows: int) -> float:
    """The highest level for which ``rows`` held-out rows say anything: ``n / (n + 1)``."""
    return rows / (rows + 1)


def group_quantiles(scores: np.ndarray, groups: np.ndarray, level: float, count: int) -> np.ndarray:
    """The :func:`conformal_quantile` within each group, ``(count,)``: infinite for a group with too few rows, or with none.

    Args:
        scores: ``(n,)``.
        groups: the number of each row's group, ``(n,)``, from 0 to ``count − 1``.

    Reference: Vovk, "Conditional validity of inductive conformal predictors" (2013): Mondrian conformal prediction.
    """
    return np.array([conformal_quantile(scores[groups == number], level) for number in range(count)])


def lac_scores(probability: np.ndarray, answers: np.ndarray | None = None) -> np.ndarray:
    """``1 − p``: of each class ``(rows, classes)``, or of each row's answer ``(rows,)``. They give the smallest sets in the mean.

    Reference: Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers with bounded error levels" (2019), JASA 114.
    """
    scores = 1 - np.asarray(probability, np.float64)
    return scores if answers is None else scores[np.arange(len(scores)), answers]


def aps_scores(probability: np.ndarray, answers: np.ndarray | None = None) -> np.ndarray:
    """The probability of a class and of all that are likelier, of each class or of each row's answer, as :func:`lac_scores`.

    Its sets are larger where the model is in doubt, and hold the truth more evenly over easy and hard rows than those of LAC. Nothing is
    drawn at random, so two calls give one set; the share is then at least the level, and somewhat above it.

    Reference: Romano, Sesia & Candès, "Classification with valid and adaptive coverage" (2020), without its random number.
    """
    probability = np.asarray(probability, np.float64)
    order = np.argsort(-probability, axis=1, kind="stable")
    scores = np.empty_like(probability)
    np.put_along_axis(scores, order, np.cumsum(np.take_along_axis(probability, order, axis=1), axis=1), axis=1)
    return scores if answers is None else scores[np.arange(len(scores)), answers]


def fit_spread(answers: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The mean absolute error near an answer, by answers: knots ``(2, k)``, each of 50 rows or more, and at most 20.

    No knot is below a tenth of the mean error over all rows, so that a few rows that happened to be right promise nothing.
    """
    answers, errors = np.asarray(answers, np.float64), np.abs(np.asarray(errors, np.float64))
    order = np.argsort(answers, kind="stable")
    parts = np.array_split(order, min(max(len(order) // _PIECE, 1), _PIECES))
    middle = np.array([answers[part].mean() for part in parts])
    size = np.maximum([errors[part].mean() for part in parts], max(errors.mean() / 10, np.finfo(np.float64).tiny))
    places, of = np.unique(middle, return_inverse=True)
    return np.stack([places, np.bincount(of, size) / np.bincount(of)])


def spread_of(knots: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The spread at each answer: straight lines between the knots, and the last knot's beyond them."""
    return np.interp(answers, knots[0], knots[1])


def spread_helps(answers: np.ndarray, errors: np.ndarray, level: float) -> bool:
    """Whether errors divided by a spread that varies with the answer give better intervals than errors as they are.

    Each half of the rows is given intervals that were fitted to the other half; they are compared by the interval score, the width plus
    ``2/(1 − level)`` times how far outside of it the truth lies, in the mean. Of fewer than 200 rows none is fitted.

    Reference: Papadopoulos, Gammerman & Vovk, "Normalized nonconformity measures for regression conformal prediction" (2008), for scores
    divided by a spread; Gneiting & Raftery (2007), "Strictly proper scoring rules", JASA 102, section 6.2, for the interval score.
    """
    answers, errors = np.asarray(answers, np.float64), np.abs(np.asarray(errors, np.float64))
    rows = len(answers)
    if rows < _LEAST_ROWS or not errors.any():
        return False
    half = np.random.default_rng(0).permutation(rows) % 2 == 0
    even = varied = 0.0
    for own, other in ((half, ~half), (~half, half)):
        knots = fit_spread(answers[other], errors[other])
        reaches = (
            np.full(int(own.sum()), conformal_quantile(errors[other], level)),
            conformal_quantile(errors[other] / spread_of(knots, answers[other]), level)
            * spread_of(knots, answers[own]),
        )
        score = [(2 * reach + 2 / (1 - level) * np.maximum(errors[own] - reach, 0)).sum() for reach in reaches]
        even, varied = even + score[0], varied + score[1]
    return bool(varied < (1 - _LEAST_GAIN) * even)


def cv_plus(answers: np.ndarray, scores: np.ndarray, folds: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of CV+ intervals ``(rows,)`` each: every held-out row's error around the answer of the network that did not see it.

    ``low`` is the ``⌊(n + 1)(1 − level)⌋``-th smallest of ``μ_k(i)(x) − R_i`` and ``high`` the ``⌈(n + 1)·level⌉``-th smallest of
    ``μ_k(i)(x) + R_i``. They hold the truth in at least ``2·level − 1`` of all cases (less about ``√(2/n)``) whatever the model, and in
    about ``level`` in practice. With as many folds as rows it is the jackknife+.

    Args:
        answers: of each fold's network, ``(rows, folds)``.
        scores: the absolute errors ``R_i`` of the rows, each by the network of its fold, ``(n,)``.
        folds: the fold of each of them, ``(n,)``.

    Reference: Barber, Candès, Ramdas & Tibshirani, "Predictive inference with the jackknife+" (2021), Annals of Statistics 49, section 3.
    """
    answers, scores, level = np.asarray(answers, np.float64), np.asarray(scores, np.float64), check_level(level)
    place, ends = _place(len(scores), level), np.empty((2, len(answers)))
    if place > len(scores):
        return np.full(len(answers), -np.inf), np.full(len(answers), np.inf)
    some = max(1, _AT_ONCE // len(scores))
    for start in range(0, len(answers), some):
        own = answers[start : start + some][:, folds]
        # Of the lower ends, the same place from the other side: n + 1 − ⌈(n + 1)·level⌉ = ⌊(n + 1)(1 − level)⌋.
        ends[0, start : start + some] = -np.partition(scores - own, place - 1, axis=1)[:, place - 1]
        ends[1, start : start + some] = np.partition(own + scores, place - 1, axis=1)[:, place - 1]
    return ends[0], ends[1]
