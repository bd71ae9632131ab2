"""How long several models take, measured in turns so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Race", "Ratio", "Speed", "raced"]

_LEAST = 0.01  # seconds that a model is called for in one round
_MOST_CALLS = 256
_MOST = 20.0  # seconds
_FEWEST = 7  # rounds, of which the interval is that of all ratios
_WARM = 2  # calls before anything is timed: compilation and first touches of memory are apart


@dataclasses.dataclass(frozen=True)
class Speed:
    """The time of one call.

    Attributes:
        median: seconds, over the rounds.
        low, high: the quartiles.
    """

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times one model is as fast as another, with a 95 % interval.

    >>> Ratio(2.0, 1.8, 2.2).verdict, Ratio(1.1, 0.9, 1.3).verdict
    ('faster', 'undecided')
    """

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``"faster"`` only where the whole interval is above 1, ``"slower"`` where it is below; else ``"undecided"``."""
        return "faster" if self.low > 1 else "slower" if self.high < 1 else "undecided"


@dataclasses.dataclass(frozen=True, eq=False)
class Race:
    """Times of one call of several models, ``(models, rounds)``, in seconds."""

    times: np.ndarray

    def speed(self, model: int) -> Speed:
        """The time of a model."""
        low, middle, high = np.quantile(self.times[model], [0.25, 0.5, 0.75])
        return Speed(float(middle), float(low), float(high))

    def ratio(self, first: int, second: int) -> Ratio:
        """How many times the second model is as fast as the first: the median over the rounds of the two times beside each other.

        The interval is that of the sign test: between the k-th smallest and the k-th largest of n ratios lies the median with a
        probability of ``1 − 2·P(Binomial(n, ½) < k)``; k is the largest for which that is at least 95 %. It supposes nothing of how
        times are distributed, whose tail is long.

        Reference: Conover, "Practical nonparametric statistics" (1999), section 3.2.

        >>> Race(np.array([[2.0] * 21, [1.0] * 21])).ratio(0, 1)
        Ratio(value=2.0, low=2.0, high=2.0)
        """
        found = np.sort(self.times[first] / self.times[second])
        place = _rank(len(found))
        if not place:
            return Ratio(float(np.median(found)), 0.0, math.inf)
        return Ratio(float(np.median(found)), float(found[place - 1]), float(found[-place]))


def _rank(count: int) -> int:
    """The largest k with ``2·P(Binomial(count, ½) < k) ≤ 0.05``; 0 where there are too few.

    >>> _rank(21), _rank(6), _rank(5)
    (6, 1, 0)
    """
    total, k = 0, 0
    while 2 * (total + math.comb(count, k)) <= 0.05 * 2**count:
        total, k = total + math.comb(count, k), k + 1
    return k


def raced(
    calls: Sequence[Callable[[], Any]], *, rounds: int = 21, least: float = _LEAST, most: float = _MOST, seed: int = 0
) -> Race:
    """Time several functions, one after another in each round, in an order that is drawn anew.

    Args:
        calls: each answers the same rows with one model, and returns when it has the answer.
        rounds: how many; fewer, at least 7, of models that are slow.
        least: seconds that each is called for in a round, whose time is the median of the calls.
        most: seconds that all rounds are to take together, about.
        seed: draws the orders.
    """
    repeats, each = [], 0.0
    for call in calls:
        for _ in range(_WARM):
            call()
        took = max(min(_timed(call) for _ in range(_WARM)), 1e-9)  # one call alone may have had to wait for the machine
        repeats.append(int(min(max(least / took, 1), _MOST_CALLS)))
        each += repeats[-1] * took
    rounds = min(rounds, max(_FEWEST, int(most / each)))
    random = np.random.default_rng(seed)
    times = np.zeros((len(calls), rounds))
    for turn in range(rounds):
        for place in random.permutation(len(calls)):
            times[place, turn] = np.median([_timed(calls[place]) for _ in range(repeats[place])])
    return Race(times)


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
