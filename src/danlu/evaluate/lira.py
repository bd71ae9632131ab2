"""How well an attacker tells who was in the training: likelihood ratios, their errors, and the ε that these errors prove.

An attacker has a row, the model, and *shadow models* that were trained in the same way, each with a random half of the rows. How sure a
model is of a row's true answer is a number, its *confidence* ``φ = log(p / (1 − p))``, near to a Gaussian over trainings: one with mean
``μ_in`` among the shadows that learnt from the row, one with ``μ_out`` among the others. The model's own ``φ`` is scored by

    log N(φ; μ_in, σ_in²) − log N(φ; μ_out, σ_out²)       online (both kinds of shadows)
    (φ − μ_out) / σ_out                                   offline (only shadows that did not learn from the row)

A training that is (ε, δ)-private bounds every attack: with the share ``t`` of rows that were in it and are found, and the share ``f`` of
the others that are taken for such, ``t ≤ e^ε·f + δ`` and ``1 − f ≤ e^ε·(1 − t) + δ``. So errors that are small enough *prove* that ε is
at least something.

Reference:
    Carlini et al., "Membership inference attacks from first principles" (2022), algorithm 1; Kairouz et al., "The composition theorem
    for differential privacy" (2015), theorem 2.1; Nasr et al., "Adversary instantiation" (2021), section 4, for the bound by
    Clopper-Pearson; Steinke et al., "Privacy auditing with one (1) training run" (2023), theorem 5.2.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.intervals import Interval, binomial

__all__ = [
    "MODES",
    "Moments",
    "auc",
    "best_threshold",
    "confidence",
    "epsilon_of_guesses",
    "epsilon_of_rates",
    "exact_share",
    "found_at",
]

MODES = ("online", "offline")
"""Which shadows an attacker has: that learnt from the row and that did not, or only such that did not."""

_ENOUGH = 16  # shadows of each kind, from which a row's own spread is better than that of all rows
_TINY = 1e-12


def confidence(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """``log(p / (1 − p))`` with ``p`` the probability of the true class, ``(rows,)``; of a quantity ``−log|error|``.

    Args:
        truth: codes of classes, or values, ``(rows,)``.
        answers: probabilities ``(rows, classes)``, or values ``(rows,)``.

    Example:
        >>> confidence(np.array([0, 1]), np.array([[0.5, 0.5], [0.1, 0.9]])).round(2).tolist()
        [0.0, 2.2]
    """
    if answers.ndim == 1:
        return np.asarray(-np.log(np.abs(truth - answers) + 1e-6))
    own = np.take_along_axis(answers, np.asarray(truth, int)[:, None], axis=1)[:, 0]
    others = answers.sum(axis=1) - own
    return np.asarray(np.log(own + _TINY) - np.log(np.maximum(others, 0) + _TINY))


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """How sure the shadows are of each row, by whether they learnt from it.

    Attributes:
        values: their confidences, ``(shadows, rows)``.
        member: whether each learnt from each row, likewise.
    """

    values: np.ndarray
    member: np.ndarray

    def scores(self, own: np.ndarray, mode: str = "online", *, without: int | None = None) -> np.ndarray:
        """The scores of a model's rows, higher where it seems to have learnt from them.

        Args:
            own: its confidences, ``(rows,)``.
            mode: one of :data:`MODES`.
            without: a shadow that is left out, whose own scores these are.
        """
        there = np.ones(len(self.values), bool)
        if without is not None:
            there[without] = False
        out = _fitted(self.values, ~self.member & there[:, None])
        if mode == "offline":
            return (own - out[0]) / out[1]
        inside = _fitted(self.values, self.member & there[:, None])
        return _log_density(own, *inside) - _log_density(own, *out)

    def exposure(self) -> np.ndarray:
        """How far apart the two kinds of shadows are for each row, in standard deviations: ``(μ_in − μ_out) / √((σ_in² + σ_out²)/2)``."""
        (inside, one), (out, other) = _fitted(self.values, self.member), _fitted(self.values, ~self.member)
        return np.asarray((inside - out) / np.sqrt((one**2 + other**2) / 2))


def _fitted(values: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each row's values where they are there; of few, the spread is that of all rows together."""
    count = there.sum(axis=0)
    mean = np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(there, (values - mean) ** 2, 0).sum(axis=0)
    pooled = squares.sum() / max(int(np.maximum(count - 1, 0).sum()), 1)
    alone = squares / np.maximum(count - 1, 1)
    spread = np.where(count >= _ENOUGH, alone, pooled)
    return np.where(count > 0, mean, values.mean()), np.sqrt(np.maximum(spread, _TINY))


def _log_density(x: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.asarray(-0.5 * ((x - mean) / spread) ** 2 - np.log(spread))


def auc(inside: np.ndarray, out: np.ndarray, level: float = 0.95) -> Interval:
    """The chance that a row that was learnt from has the higher score than one that was not, with its interval.

    Reference: DeLong et al., "Comparing the areas under two or more correlated ROC curves" (1988).

    Example:
        >>> found = auc(np.arange(20.0) + 5, np.arange(20.0))
        >>> round(found.value, 3), found.low < found.value < found.high
        (0.719, True)
    """
    from scipy.stats import norm, rankdata

    every = rankdata(np.concatenate([inside, out]))
    of_inside = (every[: len(inside)] - rankdata(inside)) / len(
        out
    )  # of each, the share of the others that are below it
    of_out = 1 - (every[len(inside) :] - rankdata(out)) / len(inside)
    value = float(of_inside.mean())
    spread = math.sqrt(sum(np.var(each, ddof=1) / len(each) if len(each) > 1 else 0.25 for each in (of_inside, of_out)))
    reach = float(norm.ppf((1 + level) / 2)) * spread
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def exact_share(hits: int, count: int, level: float = 0.95) -> Interval:
    """``hits / count`` with the interval of Clopper and Pearson (1934), which holds the truth at least as often as it says.

    >>> found = exact_share(0, 100)
    >>> found.low, round(found.high, 4)
    (0.0, 0.0362)
    """
    low, high = binomial(hits, count, level)
    return Interval(hits / count if count else float("nan"), float(low), float(high))


def found_at(inside: np.ndarray, out: np.ndarray, rate: float) -> Interval | None:
    """The share of rows that were learnt from that are found while at most ``rate`` of the others are taken for such.

    None where there are fewer than ``1 / rate`` others, which cannot tell.

    >>> found_at(np.arange(100.0), np.arange(100.0) - 1, 0.01).value
    0.02
    """
    if len(out) * rate < 1:
        return None
    allowed = math.floor(len(out) * rate + 1e-9)
    limit = np.sort(out)[::-1][allowed]  # so many are above it
    return exact_share(int((inside > limit).sum()), len(inside))


def epsilon_of_rates(found: int, inside: int, wrong: int, out: int, delta: float = 0.0, level: float = 0.95) -> float:
    """The ε that an attack's counts prove: no training of a smaller one lets it do so well, with confidence ``level``.

    ``max(log((t − δ)/f), log((1 − f − δ)/(1 − t)))`` with the lower end of ``t`` and the upper end of ``f``, each Clopper and Pearson's
    and each with half of the risk.

    Args:
        found: rows that were learnt from that are found, of ``inside``.
        wrong: rows that were not that are taken for such, of ``out``.
        delta: the δ of the statement that is put to the test.

    Example:
        >>> round(epsilon_of_rates(500, 1000, 10, 1000), 2), epsilon_of_rates(10, 1000, 10, 1000)
        (3.24, 0.0)
    """
    low = binomial(found, inside, level)[0]
    high = binomial(wrong, out, level)[1]
    return max(0.0, _log_ratio(float(low) - delta, float(high)), _log_ratio(1 - float(high) - delta, 1 - float(low)))


def _log_ratio(above: float, below: float) -> float:
    return math.log(above / below) if above > 0 and below > 0 else 0.0


def best_threshold(inside: np.ndarray, out: np.ndarray, delta: float = 0.0) -> float:
    """The score from which a row is taken for one that was learnt from, so that these scores prove the largest ε.

    It is to be chosen on other models than the one that is judged by it, or the proof is none.
    """
    places = np.unique(np.quantile(np.concatenate([inside, out]), np.linspace(0, 1, 401)))
    above = [np.searchsorted(np.sort(each), places, side="left") for each in (inside, out)]
    counts = ((len(inside) - a, len(out) - b) for a, b in zip(*above, strict=True))
    proved = [epsilon_of_rates(int(a), len(inside), int(b), len(out), delta) for a, b in counts]
    return float(places[int(np.argmax(proved))])


def epsilon_of_guesses(correct: int, guesses: int, rows: int, delta: float = 0.0, level: float = 0.95) -> float:
    """The ε that the guesses about *one* training prove, in which each of ``rows`` rows took part or not by a coin of its own.

    Of a pure ε each guess is right with probability at most ``e^ε/(1 + e^ε)``, whatever the others are, so the count of right ones is no
    higher than a binomial. δ adds ``2·rows·δ·α`` with ``α = max_i (P[correct − i ≤ N < correct])/i``.

    Args:
        correct: right guesses, of ``guesses``.
        rows: whose membership was drawn; the attacker may keep silent about some.

    Raises:
        ConfigError: more right guesses than guesses, or more guesses than rows.

    Example:
        >>> round(epsilon_of_guesses(95, 100, 1000), 2), epsilon_of_guesses(50, 100, 1000)
        (2.17, 0.0)
    """
    from scipy.optimize import brentq
    from scipy.stats import binom

    if not 0 <= correct <= guesses <= rows:
        raise ConfigError(
            f"{correct} right of {guesses} guesses about {rows} rows; expected no more right ones than guesses than rows"
        )

    def chance(epsilon: float) -> float:
        """The probability of so many right guesses, at most, of a training that is (ε, δ)-private."""
        share = 1 / (1 + math.exp(-epsilon))
        tail = float(binom.sf(correct - 1, guesses, share))
        if delta == 0:
            return tail
        fewer = np.arange(1, correct + 1)
        between = binom.cdf(correct - 1, guesses, share) - binom.cdf(correct - 1 - fewer, guesses, share)
        return tail + 2 * rows * delta * float(np.max(between / fewer, initial=0.0))

    risk = 1 - level
    if guesses == 0 or chance(0.0) > risk:
        return 0.0
    top = 50.0
    return top if chance(top) <= risk else float(brentq(lambda epsilon: chance(epsilon) - risk, 0.0, top))
