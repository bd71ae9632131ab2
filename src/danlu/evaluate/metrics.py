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
from danlu.evaluate import support
from danlu.evaluate.decomposition import gaps, reliability, resolution
from danlu.evaluate.families import (
    CORRELATION,
    DICE,
    FIT,
    GAP,
    LOSS,
    MIDDLE,
    ROOT_SQUARE,
    SHARE,
    SQUARED_GAP,
    Family,
)
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


def _average_precision(rows: Rows, weights: Weights, by_share: bool = False) -> float:
    each = np.array([ranking.average_precision(weights) for ranking in rows.rankings])
    known = np.isfinite(each)
    counts = (rows.class_weights(weights)[1] if by_share else np.ones(len(each)))[known]
    return dot(counts, each[known]) / float(counts.sum()) if known.any() else _NAN


def _weighted_precision(rows: Rows, weights: Weights) -> float:
    return _average_precision(rows, weights, by_share=True)


def _top(rows: Rows, weights: Weights, most: int) -> float:
    return _mean((rows.place < most).astype(np.float64), weights) if rows.classes > most else _NAN


def _top3(rows: Rows, weights: Weights) -> float:
    return _top(rows, weights, 3)


def _top5(rows: Rows, weights: Weights) -> float:
    return _top(rows, weights, 5)


def _gini(rows: Rows, weights: Weights) -> float:
    return 2 * _roc_auc(rows, weights) - 1


def _ks(rows: Rows, weights: Weights) -> float:
    return rows.rankings[0].kolmogorov_smirnov(weights)


def _alert_rate(rows: Rows, weights: Weights) -> float:
    return _NAN if rows.alert_rate is None else _mean(rows.chosen.astype(np.float64), weights)


def _recall_at_rate(rows: Rows, weights: Weights) -> float:
    return _NAN if rows.alert_rate is None else rows.rankings[0].recall_at(rows.alert_rate, weights)


def _log_loss(rows: Rows, weights: Weights) -> float:
    return _mean(rows.negative_log_likelihood, weights)


def _brier(rows: Rows, weights: Weights) -> float:
    return _mean(rows.distance, weights)


def _cost(rows: Rows, weights: Weights) -> float:
    return _NAN if rows.costs is None else _mean(rows.spent, weights)


def _coverage(rows: Rows, weights: Weights) -> float:
    return _NAN if rows.covered is None else _mean(rows.covered.astype(np.float64), weights)


def _calibration_error(rows: Rows, weights: Weights) -> float:
    return float(np.abs(gaps(rows.binned_event.sums(weights))).sum())


def _reliability(rows: Rows, weights: Weights) -> float:
    return float((reliability(rows.binned.sums(weights)) ** 2).sum())


def _resolution(rows: Rows, weights: Weights) -> float:
    return float((resolution(rows.binned.sums(weights)) ** 2).sum())


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
    return _fit(rows, weights, _mean(rows.error**2, weights))


def _explained_variance(rows: Rows, weights: Weights) -> float:
    centred = rows.error - rows.error.mean()
    return _fit(rows, weights, _mean(centred**2, weights) - _mean(centred, weights) ** 2)


def _fit(rows: Rows, weights: Weights, lost: float) -> float:
    """``1 − lost/variance`` of the truth; NaN where that does not vary."""
    centred = rows.truth - rows.truth.mean()
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    return 1 - lost / spread if spread > 1e-12 * _mean(centred**2, weights) else _NAN


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


_CLASSES, _TWO, _SEVERAL, _QUANTITY = ("binary", "multiclass"), ("binary",), ("multiclass",), ("regression",)


def _of_hits(name: str, label: str, family: Family, compute: Callable[[Rows, Weights], float]) -> Metric:
    return Metric(name, label, True, family, _CLASSES, compute, support=lambda rows: support.hits(rows, name))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("accuracy", "accuracy", True, SHARE, _CLASSES, _accuracy),
            Metric("top3_accuracy", "among the 3 likeliest", True, SHARE, _SEVERAL, _top3),
            Metric("top5_accuracy", "among the 5 likeliest", True, SHARE, _SEVERAL, _top5),
            Metric(
                "balanced_accuracy",
                "balanced accuracy",
                True,
                SHARE,
                _CLASSES,
                _balanced_accuracy,
                support=support.balanced,
            ),
            _of_hits("precision", "precision", SHARE, _precision),
            _of_hits("recall", "recall", SHARE, _recall),
            _of_hits("f1", "F1", DICE, _f1),
            Metric("roc_auc", "ROC-AUC", True, SHARE, _CLASSES, _roc_auc, support=support.ranking),
            Metric(
                "average_precision",
                "average precision",
                True,
                SHARE,
                _CLASSES,
                _average_precision,
                support=support.positives,
            ),
            Metric(
                "average_precision_weighted",
                "average precision, weighted",
                True,
                SHARE,
                _SEVERAL,
                _weighted_precision,
                support=support.positives_by_share,
            ),
            Metric("gini", "Gini", True, CORRELATION, _TWO, _gini, "", support.ranking),
            Metric("ks", "Kolmogorov-Smirnov distance (KS)", True, SHARE, _TWO, _ks, support=support.ranking),
            Metric("alert_rate", "alert rate", False, SHARE, _TWO, _alert_rate),
            Metric(
                "recall_at_rate",
                "recall at the alert rate",
                True,
                SHARE,
                _TWO,
                _recall_at_rate,
                support=support.positives,
            ),
            Metric("log_loss", "log loss", False, LOSS, _CLASSES, _log_loss, ""),
            Metric("brier", "Brier score", False, LOSS, _CLASSES, _brier, ""),
            Metric(
                "brier_reliability",
                "Brier score: reliability",
                False,
                SQUARED_GAP,
                _CLASSES,
                _reliability,
                "",
                support.ranking,
            ),
            Metric(
                "brier_resolution",
                "Brier score: resolution",
                True,
                SQUARED_GAP,
                _CLASSES,
                _resolution,
                "",
                support.ranking,
            ),
            Metric("ece", "calibration error (ECE)", False, GAP, _CLASSES, _calibration_error),
            Metric("mcc", "Matthews correlation", True, CORRELATION, _CLASSES, _mcc, "", support.correlation),
            Metric("cost", "mean cost", False, LOSS, _CLASSES, _cost, ""),
            Metric("set_coverage", "coverage of the sets", True, SHARE, _CLASSES, _coverage),
            Metric("rmse", "RMSE", False, ROOT_SQUARE, _QUANTITY, _rmse, "target"),
            Metric("mae", "MAE", False, LOSS, _QUANTITY, _mae, "target"),
            Metric("median_error", "median absolute error", False, MIDDLE, _QUANTITY, _median_error, "target"),
            Metric("mape", "mean relative error (MAPE)", False, LOSS, _QUANTITY, _mape),
            Metric("r2", "R²", True, FIT, _QUANTITY, _r2, ""),
            Metric("interval_coverage", "coverage of the interval", True, SHARE, _QUANTITY, _coverage),
            Metric("explained_variance", "explained variance", True, FIT, _QUANTITY, _explained_variance, ""),
        )
    }
)
"""Every measure by its name, as scikit-learn defines it.

Precision, recall, F1 and average precision are those of the second of two classes, and the unweighted mean of several classes
otherwise; the ROC-AUC of several classes is the mean over the classes, each against the rest, that the rows have.
``average_precision_weighted`` is the mean in which each class counts as it has rows. ``top3_accuracy`` is the share of rows whose true
class is among the three most probable, where there are more classes than three. ``mape`` is left out where a true value is below 1 % of
the mean one (:meth:`~danlu.evaluate.Evidence.left_out` says so). ``ece`` is the mean distance of probabilities from the shares observed,
in ten bins of equal width: of the second of two classes, or of the most probable of several. ``gini`` is ``2·AUC − 1``
and ``ks`` the largest recall less false positive rate of any threshold. ``alert_rate`` is the share of rows that the threshold calls
positive, and ``recall_at_rate`` the share of the positive rows among those that rank highest, as many as the rate asks for; both only
where there is an alert rate. ``brier_reliability`` and
``brier_resolution`` are parts of the Brier score, see :func:`~danlu.evaluate.decomposition`.
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
