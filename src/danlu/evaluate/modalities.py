"""What each modality of a row contributes to a model's score."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from danlu.errors import ConfigError
from danlu.evaluate.compare import Comparison, compare
from danlu.evaluate.measures import MEASURES

__all__ = ["Contribution", "shapley_of_sets", "share_of_score"]

MOST = 8
"""Modalities whose subsets are all tried."""


@dataclasses.dataclass(frozen=True)
class Contribution:
    """What one modality contributes to a score.

    Attributes:
        name: of the modality.
        metric: the measure.
        share: its Shapley value: how much better the measure gets by it, on average over what is there already.
        alone, without: the measure of the rows with it alone, and with all others.
        comparison: of the model with itself without the modality.
    """

    name: str
    metric: str
    share: float
    alone: float
    without: float
    comparison: Comparison


def shapley_of_sets(value: Mapping[frozenset[int], float], count: int) -> list[float]:
    """The exact Shapley values of ``count`` players: ``φ_i = Σ_S |S|!·(n − |S| − 1)!/n! · (v(S ∪ i) − v(S))`` over the sets S without i.

    Args:
        value: of each set of players, the empty one included.

    Reference: Shapley, "A value for n-person games" (1953).

    Example:
        >>> worth = {frozenset(): 0.0, frozenset([0]): 0.0, frozenset([1]): 0.0, frozenset([0, 1]): 1.0}
        >>> shapley_of_sets(worth, 2)
        [0.5, 0.5]
    """
    found = []
    for player in range(count):
        others = [each for each in range(count) if each != player]
        total = 0.0
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for some in map(frozenset, itertools.combinations(others, size)):
                total += weight * (value[some | {player}] - value[some])
        found.append(total)
    return found


def share_of_score(
    answered: Callable[[Sequence[int]], Any], names: Sequence[str], *, seed: int = 0
) -> tuple[Contribution, ...]:
    """The contribution of each modality on the same rows, in the order of ``names``.

    Args:
        answered: the evidence where only the modalities of these numbers are there.
        names: of the modalities, 8 at most.
        seed: of the intervals.

    Raises:
        ConfigError: more modalities.
    """
    if len(names) > MOST:
        raise ConfigError(
            f"{len(names)} modalities have {2 ** len(names):,} subsets; expected {MOST} modalities at most"
        )
    numbers = range(len(names))
    sets = [frozenset(some) for size in range(len(names) + 1) for some in itertools.combinations(numbers, size)]
    evidence = {some: answered(sorted(some)) for some in sets}
    whole = evidence[frozenset(numbers)]
    metric = whole.primary
    sign = 1.0 if MEASURES[metric].higher_is_better else -1.0
    value = {some: each.measures(None, (metric,))[metric] for some, each in evidence.items()}
    shares = shapley_of_sets({some: sign * each for some, each in value.items()}, len(names))
    found = []
    for number, name in enumerate(names):
        rest = frozenset(numbers) - {number}
        compared = compare(whole, evidence[rest], f"itself without {name}", constant=False, metric=metric, seed=seed)
        found.append(Contribution(name, metric, shares[number], value[frozenset([number])], value[rest], compared))
    return tuple(found)
