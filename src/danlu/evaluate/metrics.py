"""The measures of a prediction, each written once for any weights of the rows.

A measure is a function of the rows and of a matrix of weights ``(resamples, rows)``. With weights of one it is the
ordinary measure; with the counts of a bootstrap resample it is the measure of that resample, so a thousand resamples are
a few matrix products instead of a thousand calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from danlu.errors import DataError, unknown_name

__all__ = ["METRICS", "PRIMARY", "Metric", "Rows", "scores"]

Weights = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Rows with their truth and a prediction.

    Attributes:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        truth: values ``(rows,)``, or class codes ``(rows,)``.
        prediction: values ``(rows,)``, or probabilities ``(rows, classes)``.
        threshold: for two classes: the probability from which the second is predicted.
    """

    task: str
    truth: np.ndarray
    prediction: np.ndarray
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if len(self.truth) != len(self.prediction) or not len(self.truth):
            raise DataError(
                f"{len(self.truth)} true values and {len(self.prediction)} predictions; expected one for each, and some"
            )

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.prediction.shape[1])

    @property
    def chosen(self) -> np.ndarray:
        """The predicted class codes."""
        if self.task == "binary":
            return (self.prediction[:, 1] >= self.threshold).astype(np.int64)
        return self.prediction.argmax(axis=1)

    def confusion(self, weights: Weights) -> np.ndarray:
        """Weight of the rows of each true class (axis 1) predicted as each class (axis 2), ``(resamples, k, k)``."""
        k = self.classes
        cell = np.asarray(self.truth, np.int64) * k + self.chosen
        used, position = np.unique(cell, return_inverse=True)
        counts = np.zeros((len(weights), k * k))
        counts[:, used] = weights @ (position[:, None] == np.arange(len(used))).astype(weights.dtype)
        return counts.reshape(-1, k, k)


def _ratio(above: np.ndarray, below: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1), empty)


def _mean(values: np.ndarray, weights: Weights) -> np.ndarray:
    return weights @ values / weights.sum(axis=1)


def _accuracy(rows: Rows, weights: Weights) -> np.ndarray:
    return _mean((rows.chosen == rows.truth).astype(np.float64), weights)


def _balanced_accuracy(rows: Rows, weights: Weights) -> np.ndarray:
    counts = rows.confusion(weights)
    recall = _ratio(np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2))
    present = ~np.isnan(recall)
    return _ratio(np.where(present, recall, 0).sum(axis=1), present.sum(axis=1).astype(np.float64))


def _class_ratios(rows: Rows, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = rows.confusion(weights)
    hits, true, found = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)
    ratios = _ratio(hits, found, 0.0), _ratio(hits, true, 0.0), _ratio(2 * hits, true + found, 0.0)
    if rows.task == "binary":
        return ratios[0][:, 1], ratios[1][:, 1], ratios[2][:, 1]
    here = (true + found) > 0
    share = here / np.maximum(here.sum(axis=1, keepdims=True), 1)
    return (ratios[0] * share).sum(1), (ratios[1] * share).sum(1), (ratios[2] * share).sum(1)


def _mcc(rows: Rows, weights: Weights) -> np.ndarray:
    counts = rows.confusion(weights)
    true, found, n = counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))
    hits = np.trace(counts, axis1=1, axis2=2)
    spread = np.sqrt((n**2 - (found**2).sum(1)) * (n**2 - (true**2).sum(1)))
    return _ratio(hits * n - (true * found).sum(1), spread, 0.0)


def _groups(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of falling scores, and where each group of equal scores begins in it."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))


def _by_group(positive: np.ndarray, score: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    order, starts = _groups(score)
    sorted_weights = weights[:, order]
    hits = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    return hits, np.add.reduceat(sorted_weights, starts, axis=1) - hits


def _binary_auc(positive: np.ndarray, score: np.ndarray, weights: Weights) -> np.ndarray:
    hits, misses = _by_group(positive, score, weights)
    above = np.cumsum(hits, axis=1) - hits / 2  # positives ranked before a negative, half of those tied with it
    return _ratio((above * misses).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


def _roc_auc(rows: Rows, weights: Weights) -> np.ndarray:
    if rows.task == "binary":
        return _binary_auc(rows.truth == 1, rows.prediction[:, 1], weights)
    each = [_binary_auc(rows.truth == k, rows.prediction[:, k], weights) for k in range(rows.classes)]
    return np.mean(each, axis=0)


def _average_precision(rows: Rows, weights: Weights) -> np.ndarray:
    hits, misses = _by_group(rows.truth == 1, rows.prediction[:, 1], weights)
    found = np.cumsum(hits, axis=1)
    precision = _ratio(found, found + np.cumsum(misses, axis=1), 0.0)
    return _ratio((precision * hits).sum(axis=1), hits.sum(axis=1))


def _log_loss(rows: Rows, weights: Weights) -> np.ndarray:
    of_truth = rows.prediction[np.arange(len(rows.truth)), rows.truth]
    tiny = np.finfo(np.float64).eps
    return _mean(-np.log(np.clip(of_truth, tiny, 1 - tiny)), weights)


def _brier(rows: Rows, weights: Weights) -> np.ndarray:
    return _mean((rows.prediction[:, 1] - (rows.truth == 1)) ** 2, weights)


def _rmse(rows: Rows, weights: Weights) -> np.ndarray:
    return np.sqrt(_mean((rows.prediction - rows.truth) ** 2, weights))


def _mae(rows: Rows, weights: Weights) -> np.ndarray:
    return _mean(np.abs(rows.prediction - rows.truth), weights)


def _r2(rows: Rows, weights: Weights) -> np.ndarray:
    centred = rows.truth - rows.truth.mean()
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    return 1 - _ratio(_mean((rows.prediction - rows.truth) ** 2, weights), spread)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measure: its name, how it is written for people, and which way is better.

    Attributes:
        compute: ``(rows, weights (resamples, rows)) -> (resamples,)``; NaN where it is not defined.
        unit: ``"share"`` (0 to 1), ``"target"`` (the target's unit) or ``""``.
    """

    name: str
    label: str
    higher_is_better: bool
    tasks: tuple[str, ...]
    compute: Callable[[Rows, Weights], np.ndarray]
    unit: str = "share"


_CLASSES, _TWO, _QUANTITY = ("binary", "multiclass"), ("binary",), ("regression",)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("accuracy", "accuracy", True, _CLASSES, _accuracy),
            Metric("balanced_accuracy", "balanced accuracy", True, _CLASSES, _balanced_accuracy),
            Metric("precision", "precision", True, _CLASSES, lambda r, w: _class_ratios(r, w)[0]),
            Metric("recall", "recall", True, _CLASSES, lambda r, w: _class_ratios(r, w)[1]),
            Metric("f1", "F1", True, _CLASSES, lambda r, w: _class_ratios(r, w)[2]),
            Metric("roc_auc", "ROC-AUC", True, _CLASSES, _roc_auc),
            Metric("average_precision", "average precision", True, _TWO, _average_precision),
            Metric("log_loss", "log loss", False, _CLASSES, _log_loss, ""),
            Metric("brier", "Brier score", False, _TWO, _brier, ""),
            Metric("mcc", "Matthews correlation", True, _CLASSES, _mcc, ""),
            Metric("rmse", "RMSE", False, _QUANTITY, _rmse, "target"),
            Metric("mae", "MAE", False, _QUANTITY, _mae, "target"),
            Metric("r2", "R²", True, _QUANTITY, _r2, ""),
        )
    }
)
"""Every measure by its name. Precision, recall and F1 are those of the second of two classes, and the classes' mean otherwise."""

PRIMARY: Mapping[str, str] = MappingProxyType({"regression": "rmse", "binary": "roc_auc", "multiclass": "accuracy"})
"""The measure that models are compared by."""


def metrics_of(task: str) -> list[Metric]:
    """The measures of a task.

    Raises:
        ConfigError: an unknown task.
    """
    if task not in PRIMARY:
        raise unknown_name("task", task, PRIMARY)
    return [metric for metric in METRICS.values() if task in metric.tasks]


def scores(rows: Rows) -> dict[str, float]:
    """Every measure of the task that is defined for ``rows``.

    Example:
        >>> rows = Rows("binary", np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
        >>> {name: round(value, 3) for name, value in scores(rows).items()}["roc_auc"]
        1.0
    """
    one = np.ones((1, len(rows.truth)))
    values = {metric.name: float(metric.compute(rows, one)[0]) for metric in metrics_of(rows.task)}
    return {name: value for name, value in values.items() if np.isfinite(value)}
