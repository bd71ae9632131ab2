"""Thresholds of groups: the decisions of two classes that are right most often while the groups are close to each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.errors import DataError, unknown_name
from danlu.evaluate.fairness import CRITERIA, Fairness, fairness
from danlu.evaluate.groups import Groups
from danlu.evaluate.intervals import Interval, intervals
from danlu.evaluate.rows import Rows

__all__ = ["GAPS", "MITIGATED", "TradeOff", "TradePoint", "group_thresholds", "trade_off"]

NEVER = 1.001
"""A threshold that no probability reaches."""
GAPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
"""The largest differences between groups that a trade-off is shown for."""
MITIGATED = ("demographic_parity", "equal_opportunity", "equalized_odds")
"""The criteria that thresholds of groups can be chosen by."""
_CANDIDATES = 400  # thresholds of a group that are tried
_CLOSE = 0.01  # what a rate may be off its window at most, where it goes in steps
_STEPS, _COARSE = 400, 50  # windows of one rate, and of each of two


def group_thresholds(
    probability: np.ndarray,
    truth: np.ndarray,
    codes: np.ndarray,
    *,
    criterion: str = "demographic_parity",
    gap: float = 0.0,
) -> np.ndarray:
    """The threshold of each group, ``(groups,)``: as many right answers as there can be while the rates differ by at most ``gap``.

    The rates of all groups are to lie in one window of this width (of equalised odds, two windows). Every window is tried; in each
    group the best threshold within it is taken, up to half a step of the rate, or the nearest one where none is. Nothing is drawn at
    random: rows that are alike are answered alike.

    Args:
        probability: of the second class, ``(rows,)``, of rows that were not learnt from.
        truth: codes 0 and 1, ``(rows,)``.
        codes: the group of each row, ``(rows,)`` from 0.
        criterion: one of :data:`MITIGATED`.
        gap: the largest difference between two groups.

    Raises:
        ConfigError: an unknown criterion.
        DataError: no rows, or arrays of different lengths.

    Reference: Hardt, Price & Srebro, "Equality of opportunity in supervised learning" (2016), with a tolerance and without drawing.

    Example:
        >>> p, y = np.array([0.9, 0.8, 0.2, 0.1, 0.5, 0.4, 0.2, 0.1]), np.array([1, 1, 0, 0, 1, 1, 0, 0])
        >>> group_thresholds(p, y, np.repeat([0, 1], 4)).tolist()
        [0.8, 0.4]
    """
    if criterion not in MITIGATED:
        raise unknown_name("criterion of thresholds", criterion, MITIGATED)
    if not len(truth) or not len(probability) == len(truth) == len(codes):
        raise DataError(
            f"{len(probability)} probabilities, {len(truth)} true classes and {len(codes)} groups; expected one for each row"
        )
    groups = [
        _candidates(probability[codes == code], truth[codes == code], criterion) for code in range(int(codes.max()) + 1)
    ]
    names = [each for each in groups if len(each[0]) > 1]
    two = criterion == "equalized_odds"
    steps = np.linspace(0, 1, (_COARSE if two else _STEPS) + 1)
    low = (
        np.stack([part.ravel() for part in np.meshgrid(steps, steps, indexing="ij")], axis=1) if two else steps[:, None]
    )
    total, farthest, picks = np.zeros(len(low)), np.zeros(len(low)), []
    for _, rates, right in names:
        off = np.zeros((len(low), len(rates)))
        for place in range(rates.shape[1]):
            start, rate = low[:, place, None], rates[None, :, place]
            step = min(
                float(np.diff(np.sort(rates[:, place])).max()) / 2, _CLOSE
            )  # a rate is no closer than its steps are
            off = np.maximum(off, np.maximum(start - rate, rate - start - gap) - step)
        off = np.maximum(off - 1e-12, 0.0)
        pick = np.argmax(right[None] - 1e6 * off, axis=1)
        at = np.arange(len(low))
        total, farthest = total + right[pick], np.maximum(farthest, off[at, pick])
        picks.append(pick)
    best = int(np.argmax(total - 1e6 * farthest))
    found, chosen = np.full(len(groups), 0.5), iter(picks)
    for code, (thresholds, _, _) in enumerate(groups):
        if len(thresholds) > 1:
            found[code] = thresholds[next(chosen)[best]]
    return found


def _candidates(p: np.ndarray, truth: np.ndarray, criterion: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds of a group from high to low, with its rates ``(thresholds, rates)`` and the number of right answers at each."""
    if not len(p):
        return np.array([0.5]), np.zeros((1, 1)), np.zeros(1)
    order = np.argsort(-p, kind="stable")
    p, truth = p[order], truth[order]
    last = np.flatnonzero(np.append(np.diff(p) != 0, True))  # of the rows of one probability
    if len(last) > _CANDIDATES:
        last = last[np.linspace(0, len(last) - 1, _CANDIDATES).round().astype(int)]
    hits = np.concatenate([[0], np.cumsum(truth)[last]])
    found = np.concatenate([[0], last + 1])
    positive = max(int(truth.sum()), 1)
    negative = max(len(truth) - int(truth.sum()), 1)
    rates = {
        "demographic_parity": [found / len(p)],
        "equal_opportunity": [hits / positive],
        "equalized_odds": [hits / positive, (found - hits) / negative],
    }[criterion]
    right = hits + (len(truth) - int(truth.sum())) - (found - hits)
    return np.concatenate([[NEVER], p[last]]), np.stack(rates, axis=1), right.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class TradePoint:
    """What one choice of thresholds gives on the test rows.

    Attributes:
        allowed: the largest difference between groups that was allowed on the rows that the thresholds were chosen on; None is the
            model as it is.
        accuracy, gap: on the test rows.
    """

    allowed: float | None
    accuracy: Interval
    gap: Interval


@dataclasses.dataclass(frozen=True)
class TradeOff:
    """How much accuracy it costs to bring the groups closer to each other, by thresholds of their own.

    Attributes:
        column: whose values the groups are.
        criterion: by what they are compared.
        points: from the closest groups on; the model as it is comes last.
    """

    column: str
    criterion: str
    points: tuple[TradePoint, ...]

    @property
    def label(self) -> str:
        """The criterion as it is printed."""
        return next(each.label for each in CRITERIA["binary"] if each.name == self.criterion)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``results.json``."""

        def plain(found: Interval) -> dict[str, Any]:
            return {"value": found.value, "interval": [found.low, found.high]}

        points = [
            {"allowed": each.allowed, "accuracy": plain(each.accuracy), "gap": plain(each.gap)} for each in self.points
        ]
        return {"column": self.column, "criterion": self.criterion, "points": points}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TradeOff:
        """The inverse of :meth:`as_dict`."""

        def interval(found: Mapping[str, Any]) -> Interval:
            return Interval(
                *(float("nan") if each is None else float(each) for each in (found["value"], *found["interval"]))
            )

        points = tuple(
            TradePoint(each["allowed"], interval(each["accuracy"]), interval(each["gap"])) for each in data["points"]
        )
        return cls(data["column"], data["criterion"], points)


def trade_off(
    rows: Rows, groups: Groups, choices: Sequence[tuple[float, np.ndarray]], *, criterion: str, smallest: int = 30
) -> TradeOff:
    """What thresholds that were chosen on other rows give on these.

    Args:
        rows: of two classes.
        groups: of these rows.
        choices: the difference that was allowed, and the threshold of each row ``(rows,)``.
        criterion: by which the groups are compared.
        smallest: rows of a group that is compared.
    """

    def point(allowed: float | None, one: Rows) -> TradePoint:
        found: Fairness = fairness(one, groups, smallest=smallest, scores=False)
        gap = next((each.difference for each in found.gaps if each.criterion == criterion), Interval(float("nan")))
        return TradePoint(allowed, intervals(one, ("accuracy",))["accuracy"], gap)

    points = [point(allowed, dataclasses.replace(rows, threshold=own)) for allowed, own in choices]
    return TradeOff(groups.column, criterion, (*points, point(None, rows)))
