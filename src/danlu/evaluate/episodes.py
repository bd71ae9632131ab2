"""Measuring answers by a few examples: episodes of a few classes each, and whether two items are of one class.

Episodes share their classes, so they are not independent of each other: what would differ for other data is which *classes* there are. So
the classes are the rows of this evidence. A class of weight 0 is left out of every episode, as a query and as a possible answer (the
probabilities of the others make up the whole again), and every pair with it is left out: that is the test without that class. Intervals
that took the episodes or the queries for independent would promise too much.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import LOSS, SHARE
from danlu.evaluate.measures import Measure, register

__all__ = ["Episodes", "equal_error", "threshold_of_pairs"]

register(
    Measure("episode_accuracy", "accuracy in episodes", True, SHARE),
    Measure("episode_log_loss", "log loss in episodes", False, LOSS),
    Measure("pair_auc", "same or different: ROC-AUC", True, SHARE),
    Measure("pair_accuracy", "same or different: balanced accuracy", True, SHARE),
    Measure("equal_error", "same or different: equal error rate", False, SHARE),
)
_FEW_GROUPS = 5  # below which classes stand for themselves
_TINY = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Episodes(Evidence):
    """Answers to the queries of episodes, and distances of pairs of items, by class.

    Attributes:
        classes: the class of each place of an episode, ``(episodes, ways)``; queries of class ``w`` are those of place ``w``.
        probability: ``(episodes, ways, queries, ways)``, of each place for each query.
        first, second: the classes of the items of each pair, ``(pairs,)``; none where no vectors are compared.
        distance: of each pair, ``(pairs,)``.
        threshold: the distance up to which two items are said to be of one class.
        groups: the group of each class, by its number, such as its alphabet; None where there are too few to stand for others.
        rows: the classes that are the rows.

    Example:
        >>> sure = np.full((1, 2, 3, 2), 0.9)
        >>> sure[0, 0, :, 1] = sure[0, 1, :, 0] = 0.1
        >>> found = Episodes(np.array([[0, 1]]), sure, np.array([0, 0]), np.array([0, 1]), np.array([0.2, 0.7]), 0.5)
        >>> len(found), found.measures(None, ("episode_accuracy", "pair_auc"))
        (2, {'episode_accuracy': 1.0, 'pair_auc': 1.0})
    """

    classes: np.ndarray
    probability: np.ndarray
    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    threshold: float = 0.0
    groups: np.ndarray | None = None
    rows: np.ndarray | None = None

    primary: ClassVar[str] = "episode_accuracy"
    noun: ClassVar[str] = "test classes"
    eased: ClassVar[bool] = True
    unlike: ClassVar[str] = "the two answers are for different episodes; expected the same episodes in the same order"

    def __post_init__(self) -> None:
        shape, ways = np.shape(self.probability), np.shape(self.classes)
        if len(ways) != 2 or shape[:2] != ways or shape[3:] != ways[1:] or not shape[0]:
            raise DataError(
                f"the probabilities have the shape {shape} and the classes {ways}; expected (episodes, ways, queries, ways), and two"
            )
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(int(self.classes.max()) + 1))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def _rows(self) -> np.ndarray:
        rows: np.ndarray = np.asarray(self.rows)
        return rows

    def _of_classes(self, weights: np.ndarray | None) -> np.ndarray:
        """How often each class counts, ``(classes,)``."""
        by = np.ones(len(self)) if weights is None else weights
        most = max(
            int(self.classes.max()),
            int(self._rows.max()),
            int(self.first.max(initial=0)),
            int(self.second.max(initial=0)),
        )
        return np.bincount(self._rows, by, minlength=most + 1)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The share of the queries that are told rightly, their log loss, and how well distances tell pairs of one class from others."""
        by = self._of_classes(weights)
        of: dict[str, Callable[[], float]] = {
            "episode_accuracy": lambda: self._told(by)[0],
            "episode_log_loss": lambda: self._told(by)[1],
            **{
                name: functools.partial(self._of_pairs, by, name)
                for name in ("pair_auc", "pair_accuracy", "equal_error")
            },
        }
        chosen = (of if len(self.distance) else list(of)[:2]) if names is None else names
        return {name: float(of[name]()) for name in chosen}

    def _told(self, by: np.ndarray) -> tuple[float, float]:
        """Accuracy and log loss of the queries, of the classes that count."""
        weight = by[self.classes]  # (episodes, ways)
        there = weight > 0
        alone = there.sum(axis=1) < 2  # nothing to be told from
        weight = np.where(alone[:, None], 0.0, weight)
        if not weight.any():
            return float("nan"), float("nan")
        p = np.where(there[:, None, None, :], self.probability, -1.0)
        true = np.arange(self.classes.shape[1])[:, None]
        right = (p.argmax(axis=-1) == true).mean(axis=-1)  # (episodes, ways)
        own = np.einsum("ewqw->ewq", self.probability)  # (episodes, ways, queries), of the true class
        whole = np.where(there[:, None, None, :], self.probability, 0.0).sum(axis=-1)
        loss = -np.log(np.maximum(own, _TINY) / np.maximum(whole, _TINY)).mean(axis=-1)
        total = weight.sum()
        return float((weight * right).sum() / total), float((weight * loss).sum() / total)

    @functools.cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The pairs by rising distance: classes, whether they are of one, the distance, and where a run of equal distances ends."""
        order = np.argsort(self.distance, kind="stable")
        first, second, distance = self.first[order], self.second[order], self.distance[order]
        ends = np.append(distance[1:] != distance[:-1], True)[: len(distance)]
        return first, second, first == second, distance, ends

    def _rates(self, by: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shares of pairs of one class and of two whose distance is at most each of the distances, and these."""
        first, second, same, distance, ends = self._sorted
        weight = by[first] * np.where(same, 1.0, by[second])
        hits, alarms = np.cumsum(weight * same)[ends], np.cumsum(weight * ~same)[ends]
        if not len(hits) or not hits[-1] or not alarms[-1]:
            nothing = np.full(0, np.nan)
            return nothing, nothing, nothing
        return hits / hits[-1], alarms / alarms[-1], distance[ends]

    def _of_pairs(self, by: np.ndarray, name: str) -> float:
        if not len(self.distance):
            return float("nan")
        hits, alarms, distance = self._rates(by)
        if not len(hits):
            return float("nan")
        if name == "pair_auc":
            return float(np.trapezoid(np.append(0, hits), np.append(0, alarms)))
        if name == "equal_error":
            return equal_error(hits, alarms)
        place = np.searchsorted(distance, self.threshold, side="right") - 1
        return float((hits[place] + 1 - alarms[place]) / 2) if place >= 0 else 0.5

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """The ROC of the pairs: the shares of wrong and of right alarms as the distance grows."""
        hits, alarms, _ = self._rates(self._of_classes(None))
        return np.append(0, alarms), np.append(0, hits)

    def rates_at(self, threshold: float) -> tuple[float, float]:
        """Of pairs of two classes the share said to be one, and of pairs of one class the share said to be two."""
        same, near = self.first == self.second, self.distance <= threshold
        return float(near[~same].mean()), float((~near)[same].mean())

    @property
    def together(self) -> np.ndarray | None:
        """The groups of the classes, where there are enough to stand for others."""
        if self.groups is None:
            return None
        own: np.ndarray = np.asarray(self.groups)[self._rows]
        return own if len(np.unique(own)) >= _FEW_GROUPS else None

    @property
    def size(self) -> int:
        return int(self.probability.size + len(self.distance))

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, rows=self._rows[rows])

    def _same(self, other: Self) -> bool:
        same = np.array_equal(self.classes, other.classes) and np.array_equal(self._rows, other._rows)
        return same and self.probability.shape == other.probability.shape


def equal_error(hits: np.ndarray, alarms: np.ndarray) -> float:
    """Where the share of misses equals that of wrong alarms, on the line between the two nearest points of the ROC.

    Args:
        hits, alarms: shares that rise together to 1.

    >>> equal_error(np.array([0.5, 0.9, 1.0]), np.array([0.1, 0.1, 1.0]))
    0.1
    """
    misses, alarms = 1 - np.append(0, hits), np.append(0, alarms)
    after = int(np.argmax(alarms >= misses))
    gap = misses - alarms
    share = gap[after - 1] / max(gap[after - 1] - gap[after], _TINY)
    return float(alarms[after - 1] + share * (alarms[after] - alarms[after - 1]))


def threshold_of_pairs(evidence: Episodes) -> float:
    """The distance with the best balanced accuracy of the pairs, half-way to the next one."""
    hits, alarms, distance = evidence._rates(evidence._of_classes(None))
    place = int(np.argmax(hits - alarms))
    return float(distance[place : place + 2].mean())
