"""The measures of a prediction, each written once for any weights of the rows.

With weights of one a measure is the ordinary one; with a weight of 0 a row is left out, and with 2 it counts twice. What does not
depend on the weights (orders, errors, decisions) is worked out once, so leaving out each of 400 parts of the rows costs 400 passes
over the rows instead of 400 sorts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from danlu.errors import unknown_name
from danlu.evaluate.families import CORRELATION, DICE, FIT, LOSS, MIDDLE, ROOT_SQUARE, SHARE
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.ranking import dot

if TYPE_CHECKING:
    from danlu.evaluate.rows import Rows

__all__ = ["METRICS", "PRIMARY", "TASKS", "Metric", "metrics_of", "scores"]

TASKS = ("regression", "binary", "multiclass")

Weights = np.ndarray
_NAN = float("nan")


def _mean(values: np.ndarray, weights: Weights) -> float:
    return dot(weights, values) / float(weights.sum())


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``, 0 where ``below`` is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _accuracy(rows: Rows, weights: Weights) -> float:
    return _mean(rows.right, weights)


def _balanced_accuracy(rows: Rows, weights: Weights) -> float:
    hits, true, _ = rows.class_weights(weights)
    return float((hits[true > 0] / true[true > 0]).mean())


def _class_measure(rows: Rows, weights: Weights, which: str) -> float:
    hits, true, found = rows.class_weights(weights)
    if which == "f1":
        each = _divide(2 * hits, true + found)
    else:
        each = _divide(hits, found if which == "precision" else true)
    return float(each[1] if rows.task == "binary" else each[(true + found) > 0].mean())


def _precision(rows: Rows, weights: Weights) -> float:
    return _class_measure(rows, weights, "precision")


def _recall(rows: Rows, weights: Weights) -> float:
    return _class_measure(rows, weights, "recall")


def _f1(rows: Rows, weights: Weights) -> float:
    return _class_measure(rows, weights, "f1")


def _mcc(rows: Rows, weights: Weights) -> float:
    hits, true, found = rows.class_weights(weights)
    n = true.sum()
    spread = math.sqrt(max((n**2 - found @ found) * (n**2 - true @ true), 0.0))
    return float((hits.sum() * n - true @ found) / spread) if spread > 0 else 0.0


def _roc_auc(rows: Rows, weights: Weights) -> float:
    each = [value for value in (ranking.roc_auc(weights) for ranking in rows.rankings) if not math.isnan(value)]
    return sum(each) / len(each) if each else _NAN


def _average_precision(rows: Rows, weights: Weights) -> float:
    return rows.rankings[0].average_precision(weights)


def _log_loss(rows: Rows, weights: Weights) -> float:
    return _mean(rows.negative_log_likelihood, weights)


def _brier(rows: Rows, weights: Weights) -> float:
    return _mean(rows.distance, weights)


def _cost(rows: Rows, weights: Weights) -> float:
    return _NAN if rows.costs is None else _mean(rows.spent, weights)


def _coverage(rows: Rows, weights: Weights) -> float:
    return _NAN if rows.covered is None else _mean(rows.covered.astype(np.float64), weights)


def _rmse(rows: Rows, weights: Weights) -> float:
    return math.sqrt(_mean(rows.error**2, weights))


def _mae(rows: Rows, weights: Weights) -> float:
    return _mean(np.abs(rows.error), weights)


def _median_error(rows: Rows, weights: Weights) -> float:
    order, size = rows.sizes
    reached = np.cumsum(weights[order])
    half = reached[-1] / 2
    low, high = np.searchsorted(reached, half, side="left"), np.searchsorted(reached, half, side="right")
    return float((size[low] + size[min(high, len(size) - 1)]) / 2)


def _mape(rows: Rows, weights: Weights) -> float:
    size = np.abs(rows.truth)
    if size.min() < 0.01 * size.mean() or not size.mean() > 0:  # a share of almost nothing says nothing
        return _NAN
    return _mean(np.abs(rows.error) / size, weights)


def _r2(rows: Rows, weights: Weights) -> float:
    centred = rows.truth - rows.truth.mean()
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    return 1 - _mean(rows.error**2, weights) / spread if spread > 1e-12 * _mean(centred**2, weights) else _NAN


def _of_class(rows: Rows, counts: np.ndarray) -> float:
    """The rows that a measure of classes rests on: of the second of two, or of the mean over all.

    Of a mean of K shares, each of so many rows, what ``n`` rows have not shown is ``1/n = √Σ 1/n_k² / K``.
    """
    if rows.task == "binary":
        return float(counts[1])
    return mean_support(counts)


def mean_support(counts: np.ndarray) -> float:
    """The effective number of rows behind a mean of shares, given the rows of each share, where all are right."""
    return float(len(counts) / math.sqrt((np.maximum(counts, 1.0) ** -2.0).sum())) if len(counts) else 0.0


def _known_classes(rows: Rows) -> np.ndarray:
    counts = np.bincount(rows.truth, minlength=rows.classes)
    return counts[counts > 0]


def _balanced_support(rows: Rows) -> float:
    known = _known_classes(rows)
    return 0.0 if rows.task == "binary" and len(known) < 2 else mean_support(known)


def _hit_support(rows: Rows, which: str) -> float:
    hits, true, found = rows.class_weights(np.ones(len(rows)))
    counts = {"precision": found, "recall": true, "f1": true + found - hits}[which]
    return _of_class(rows, counts if rows.task == "binary" else counts[true + found > 0])


def _ranking_support(rows: Rows) -> float:
    counts = np.bincount(rows.truth, minlength=rows.classes)
    rarer = np.minimum(counts, len(rows) - counts)
    return float(rarer[1]) if rows.task == "binary" else mean_support(rarer[rarer > 0])


def _mcc_support(rows: Rows) -> float:
    """The rows of the rarest class, between those that are true and those that are predicted: a row more moves it by the inverse."""
    _, true, found = rows.class_weights(np.ones(len(rows)))
    rarest = np.sqrt(np.maximum(true, 1.0) * np.maximum(found, 1.0))
    return float(rarest.min()) if rows.task == "binary" else mean_support(rarest[true > 0])


def _positives(rows: Rows) -> float:
    return float((rows.truth == 1).sum())


@dataclasses.dataclass(frozen=True, eq=False)
class Metric(Measure):
    """A measure of :class:`~danlu.evaluate.Rows`, and how it is computed.

    Attributes:
        tasks: where it applies.
        compute: ``(rows, weights (rows,)) -> number``; NaN where it is not defined.
        unit: ``"share"`` (0 to 1), ``"target"`` (the target's unit) or ``""``.
        support: how many rows it rests on; None is all.
    """

    tasks: tuple[str, ...]
    compute: Callable[[Rows, Weights], float]
    unit: str = "share"
    support: Callable[[Rows], float] | None = None


_CLASSES, _TWO, _QUANTITY = ("binary", "multiclass"), ("binary",), ("regression",)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("accuracy", "accuracy", True, SHARE, _CLASSES, _accuracy),
            Metric(
                "balanced_accuracy",
                "balanced accuracy",
                True,
                SHARE,
                _CLASSES,
                _balanced_accuracy,
                support=_balanced_support,
            ),
            Metric(
                "precision",
                "precision",
                True,
                SHARE,
                _CLASSES,
                _precision,
                support=lambda rows: _hit_support(rows, "precision"),
            ),
            Metric(
                "recall", "recall", True, SHARE, _CLASSES, _recall, support=lambda rows: _hit_support(rows, "recall")
            ),
            Metric("f1", "F1", True, DICE, _CLASSES, _f1, support=lambda rows: _hit_support(rows, "f1")),
            Metric("roc_auc", "ROC-AUC", True, SHARE, _CLASSES, _roc_auc, support=_ranking_support),
            Metric("average_precision", "average precision", True, SHARE, _TWO, _average_precision, support=_positives),
            Metric("log_loss", "log loss", False, LOSS, _CLASSES, _log_loss, ""),
            Metric("brier", "Brier score", False, LOSS, _CLASSES, _brier, ""),
            Metric("mcc", "Matthews correlation", True, CORRELATION, _CLASSES, _mcc, "", _mcc_support),
            Metric("cost", "mean cost", False, LOSS, _CLASSES, _cost, ""),
            Metric("set_coverage", "coverage of the sets", True, SHARE, _CLASSES, _coverage),
            Metric("rmse", "RMSE", False, ROOT_SQUARE, _QUANTITY, _rmse, "target"),
            Metric("mae", "MAE", False, LOSS, _QUANTITY, _mae, "target"),
            Metric("median_error", "median absolute error", False, MIDDLE, _QUANTITY, _median_error, "target"),
            Metric("mape", "mean error, relative", False, LOSS, _QUANTITY, _mape),
            Metric("r2", "R²", True, FIT, _QUANTITY, _r2, ""),
            Metric("interval_coverage", "coverage of the interval", True, SHARE, _QUANTITY, _coverage),
        )
    }
)
"""Every measure by its name, as scikit-learn defines it.

Precision, recall and F1 are those of the second of two classes, and the unweighted mean of several classes otherwise; the
ROC-AUC of several classes is the mean over the classes, each against the rest, that the rows have. ``mape`` is left out where
a true value is below 1 % of the mean one.
"""

register(*METRICS.values())

PRIMARY: Mapping[str, str] = MappingProxyType({"regression": "rmse", "binary": "roc_auc", "multiclass": "accuracy"})
"""The measure that models are compared by."""


def metrics_of(task: str) -> list[Metric]:
    """The measures of a task, in the order in which they are shown.

    Raises:
        ConfigError: an unknown task.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return [metric for metric in METRICS.values() if task in metric.tasks]


def scores(rows: Rows) -> dict[str, float]:
    """Every measure of the task that is defined for ``rows``, by name.

    Example:
        >>> from danlu.evaluate import Rows
        >>> rows = Rows("binary", np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
        >>> {name: round(value, 3) for name, value in scores(rows).items()}["roc_auc"]
        1.0
    """
    one = np.ones(len(rows))
    values = {metric.name: metric.compute(rows, one) for metric in metrics_of(rows.task)}
    return {name: value for name, value in values.items() if math.isfinite(value)}
