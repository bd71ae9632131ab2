"""The probability from which a row is called positive, and whether probabilities mean what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from danlu.errors import DataError, unknown_name

__all__ = ["Calibration", "Threshold", "between", "calibration", "choose_threshold"]

_BEYOND = 1e-3  # a threshold this far above every probability calls no row positive


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A decision threshold, and the measure it reaches on the rows it was chosen on."""

    value: float
    score: float


def choose_threshold(
    labels: np.ndarray,
    probability: np.ndarray,
    measure: str = "f1",
    *,
    costs: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> Threshold:
    """The threshold with the best ``measure`` on these rows, half way between two neighbouring probabilities.

    Every threshold that changes a decision is tried, the one that calls no row positive included. Choose it on validation
    rows, never on the test rows.

    Args:
        labels: 0 or 1, ``(rows,)``.
        probability: of class 1, ``(rows,)``.
        measure: ``"f1"``, ``"balanced_accuracy"``, ``"accuracy"`` or ``"mcc"``; with costs ``"cost"``, of which the least is best.
        costs: of mistakes ``(2, 2)``, by the true and the predicted class.
        weight: how often each row counts, ``(rows,)``; None is once.

    Raises:
        DataError: rows of one class only.

    Example:
        >>> choose_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.4, 0.9]))
        Threshold(value=0.35, score=1.0)
    """
    measures = _MEASURES if costs is None else {**_MEASURES, "cost": _saving(costs)}
    if measure not in measures:
        raise unknown_name("measure", measure, measures)
    positive, probability = np.asarray(labels) == 1, np.asarray(probability, np.float64)
    if positive.all() or not positive.any():
        raise DataError(
            f"all {len(positive)} rows have the same class; a threshold needs both", hint="give more validation rows"
        )
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    found = np.flatnonzero(
        np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])
    )  # rows called positive; first none
    by = np.ones(len(positive)) if weight is None else np.asarray(weight, np.float64)
    true, called = (np.concatenate([[0], np.cumsum(each[order])])[found] for each in (by * positive, by))
    measured = measures[measure](true, called - true, float(by[positive].sum()), float(by[~positive].sum()))
    best = int(np.argmax(measured))
    score = float(-measured[best] if measure == "cost" else measured[best])
    return Threshold(between(ranked, int(found[best])), score)


def between(ranked: np.ndarray, rows: int) -> float:
    """The threshold half way between the first ``rows`` of falling probabilities and the next one; above all of them for none."""
    if not rows:
        return max(1.0, float(ranked[0])) + _BEYOND
    above, below = float(ranked[rows - 1]), float(ranked[rows]) if rows < len(ranked) else 0.0
    middle = (above + below) / 2
    # Two neighbouring float32 probabilities have no number between them; the upper one then divides them.
    return middle if np.float32(middle) > np.float32(below) else above


def _f1(hits: np.ndarray, alarms: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    return 2 * hits / (hits + alarms + positives)


def _balanced(hits: np.ndarray, alarms: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    return (hits / positives + 1 - alarms / negatives) / 2


def _accuracy(hits: np.ndarray, alarms: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    return (hits + negatives - alarms) / (positives + negatives)


def _mcc(hits: np.ndarray, alarms: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    found, n = hits + alarms, positives + negatives
    spread = np.sqrt(found * (n - found) * positives * negatives)
    return np.where(spread > 0, (hits * n - found * positives) / np.where(spread > 0, spread, 1), 0.0)


def _saving(costs: np.ndarray) -> Callable[..., np.ndarray]:
    """Minus the mean cost."""

    def saved(hits: np.ndarray, alarms: np.ndarray, positives: float, negatives: float) -> np.ndarray:
        return -((positives - hits) * costs[1, 0] + alarms * costs[0, 1]) / (positives + negatives)

    return saved


_MEASURES = {"f1": _f1, "balanced_accuracy": _balanced, "accuracy": _accuracy, "mcc": _mcc}


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted against observed shares.

    Attributes:
        predicted, observed: mean probability and share of positives in each bin that has rows.
        count: rows in each.
        error: the expected calibration error, ``Σ count/n · |observed − predicted|``.
    """

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray
    error: float


def calibration(labels: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> Calibration:
    """The reliability of probabilities of class 1, in bins of equal width.

    Reference:
        Naeini, Cooper & Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015), section 3.
    """
    positive = (np.asarray(labels) == 1).astype(np.float64)
    probability = np.asarray(probability, np.float64)
    number = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    used = count > 0
    predicted = np.bincount(number, probability, minlength=bins)[used] / count[used]
    observed = np.bincount(number, positive, minlength=bins)[used] / count[used]
    error = float((np.abs(observed - predicted) * count[used]).sum() / len(positive))
    return Calibration(predicted, observed, count[used], error)
