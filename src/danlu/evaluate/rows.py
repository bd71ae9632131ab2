"""Rows with their truth and a prediction: what every measure is computed from."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from danlu.errors import DataError, unknown_name
from danlu.evaluate.alert import alert_threshold
from danlu.evaluate.costs import cost_threshold, least_cost
from danlu.evaluate.decomposition import Binned, gaps, reliability, resolution
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.joined import joined_rows, mean_by_model
from danlu.evaluate.metrics import METRICS, PRIMARY, TASKS, metrics_of
from danlu.evaluate.ranking import Ranking

__all__ = ["TASKS", "Rows"]

Weights = np.ndarray
_RANKED = ("roc_auc", "average_precision", "average_precision_weighted", "gini", "ks", "recall_at_rate")
_TINY = float(np.finfo(np.float64).eps)
_IN_BINS = {
    "ece": ("binned_event", gaps),
    "brier_reliability": ("binned", reliability),
    "brier_resolution": ("binned", resolution),
}
_AMONG = {"top3_accuracy": 3, "top5_accuracy": 5}


@dataclasses.dataclass(frozen=True, eq=False)
class Rows(Evidence):
    """Rows with their truth and a prediction.

    Attributes:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        truth: values ``(rows,)``, or class codes ``(rows,)`` from 0.
        prediction: values ``(rows,)``, or probabilities ``(rows, classes)``.
        threshold: for two classes: the probability from which the second is predicted; or that of each row, ``(rows,)``.
        groups: a number for each row, the same for rows that belong together (of one patient, say); None when all are independent.
        costs: of mistakes, ``(classes, classes)`` by the true and the predicted class; of more than two classes the one that costs least
            is then predicted. None where every mistake is as bad.
        covered: whether the interval or the set of classes of each row holds the true answer, ``(rows,)``; None without any.
        models: a number for each row, that of the model which answered it, where there are several (of the folds of a
            cross-validation). Measures that rank the rows are then the mean over the models: the probabilities of one are not to be
            compared with those of another. All other measures are of all rows together.

        alert_rate: of two classes: the share of rows that can be looked at, by which the threshold was chosen; None without one.
        by: the measure that models are compared by; empty is the task's.
        shared: see :attr:`Evidence.shared`.

    Reference: Forman & Scholz, "Apples-to-apples in cross-validation studies" (2010), SIGKDD Explorations 12, for the two ways.

    Raises:
        ConfigError: an unknown task.
        DataError: no rows, shapes that do not belong together, a class code without a column, a value that is not finite.

    Example:
        >>> rows = Rows("binary", [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> rows.chosen
        array([0, 1, 0])
        >>> rows.confusion()
        array([[1., 0.],
               [1., 1.]])
    """

    task: str
    truth: np.ndarray
    prediction: np.ndarray
    threshold: float | np.ndarray = 0.5
    groups: np.ndarray | None = None
    costs: np.ndarray | None = None
    models: np.ndarray | None = None
    covered: np.ndarray | None = None
    alert_rate: float | None = None
    by: str = ""
    shared: float = 0.0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS)
        truth, prediction = _array("the truth", self.truth), _array("the prediction", self.prediction)
        if len(truth) != len(prediction) or not len(truth):
            raise DataError(
                f"{len(truth)} true values and {len(prediction)} predictions; expected one for each, and some"
            )
        wanted = 1 if self.task == "regression" else 2
        if truth.ndim != 1 or prediction.ndim != wanted:
            shape = "(rows,)" if wanted == 1 else "(rows, classes)"
            raise DataError(
                f"the truth has the shape {truth.shape} and the prediction {prediction.shape}; "
                f"expected (rows,) and {shape} for the task {self.task!r}"
            )
        if self.task == "regression":
            truth = truth.astype(np.float64)
        else:
            truth = _codes(truth, prediction.shape[1], self.task)
        object.__setattr__(self, "truth", truth)
        object.__setattr__(self, "prediction", prediction.astype(np.float64))

    def __len__(self) -> int:
        return len(self.truth)

    def measures(self, weights: Weights | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The measures of the task by name; NaN where one is not defined."""
        by = np.ones(len(self)) if weights is None else weights
        chosen = [each.name for each in metrics_of(self.task)] if names is None else names
        return {
            name: METRICS[name].compute(self, by)
            if self.models is None or name not in _RANKED
            else mean_by_model(self._by_model, by, METRICS[name].compute)
            for name in chosen
        }

    @functools.cached_property
    def _by_model(self) -> list[tuple[np.ndarray, Rows]]:
        """The row numbers and the rows of each model."""
        models = np.asarray(self.models)
        numbers = [np.flatnonzero(models == number) for number in np.unique(models)]
        return [(rows, dataclasses.replace(self._take(rows), models=None)) for rows in numbers]

    @functools.cached_property
    def primary(self) -> str:
        """:attr:`by`, or the task's :data:`~danlu.evaluate.PRIMARY`; accuracy where the true classes leave that undefined."""
        name = self.by or PRIMARY[self.task]
        return name if math.isfinite(self.measures(None, (name,))[name]) else "accuracy"

    def _take(self, rows: np.ndarray) -> Self:
        own: dict[str, Any] = {
            "groups": self.groups,
            "models": self.models,
            "threshold": self.threshold,
            "covered": self.covered,
        }
        taken = {name: np.asarray(value)[rows] if np.ndim(value) else value for name, value in own.items()}
        return dataclasses.replace(self, truth=self.truth[rows], prediction=self.prediction[rows], **taken)

    def joined(self, others: Sequence[Self], rows: np.ndarray | None = None) -> Self:
        parts = [self, *others]
        held = [each.covered for each in parts if each.covered is not None]
        covered = np.concatenate(held) if len(held) == len(parts) else None
        return dataclasses.replace(self, **joined_rows(parts, rows), covered=covered)

    def _same(self, other: Self) -> bool:
        return self.task == other.task and np.array_equal(self.truth, other.truth)

    @property
    def constant(self) -> bool:
        return bool((np.ptp(self.prediction, axis=0) == 0).all())

    def support(self, name: str) -> float:
        count = METRICS[name].support
        rows = float(len(self)) if count is None else count(self)
        return rows if self.groups is None else rows * len(np.unique(self.groups)) / len(self)

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Accuracy is one share; recall, precision and balanced accuracy are the share of each class, or of the second of two."""
        if name in ("interval_coverage", "set_coverage") and self.covered is not None:
            return np.array([float(self.covered.sum())]), np.array([float(len(self))])
        if most := _AMONG.get(name):
            return np.array([float((self.place < most).sum())]), np.array([float(len(self))])
        if name == "alert_rate" and self.alert_rate is not None:
            return np.array([float(self.chosen.sum())]), np.array([float(len(self))])
        if (
            name == "recall_at_rate"
        ):  # its cut moves with the rows, which makes its variance less than that of a fixed cut
            share, cases = METRICS[name].compute(self, np.ones(len(self))), float((self.truth == 1).sum())
            known = np.isfinite(share) and self.models is None
            return (np.array([share * cases]), np.array([cases])) if known else None
        if name == "accuracy":
            return np.array([self.right.sum()]), np.array([float(len(self))])
        if name not in ("balanced_accuracy", "recall", "precision"):
            return None
        hits, true, found = self.class_weights(np.ones(len(self)))
        counts = found if name == "precision" else true
        if self.task == "binary" and name != "balanced_accuracy":
            return (hits[1:], counts[1:]) if counts[1] else None
        known = true > 0 if name == "balanced_accuracy" else true + found > 0
        return (hits[known], counts[known]) if self.task != "binary" or known.all() else None

    @property
    def together(self) -> np.ndarray | None:
        return self.groups

    @property
    def size(self) -> int:
        return len(self) * max(self.classes, 1)

    def doubted(self, name: str) -> float:
        """For log loss and Brier score: what a wrong row with median confidence adds."""
        if name not in ("log_loss", "brier"):
            return 0.0
        sure = float(np.median(self.prediction.max(axis=1)))
        alone = -np.log(max(1 - sure, _TINY)) if name == "log_loss" else sure**2 * (1 if self.task == "binary" else 2)
        return max(float(alone - METRICS[name].compute(self, np.ones(len(self)))) / len(self), 0.0)

    def middle(self, name: str, level: float) -> tuple[float, float]:
        """Between two of the sorted errors: how many lie below the true median is binomial, of ½."""
        from scipy.special import bdtr

        if self.groups is not None:
            return float("nan"), float("nan")
        size, rows = self.sizes[1], len(self)
        chance = bdtr(np.arange(rows // 2 + 1), rows, 0.5)  # that at most so many errors are below the true median
        below = int(np.searchsorted(chance, (1 - level) / 2, side="right")) - 1
        return (float(size[below]), float(size[rows - 1 - below])) if below >= 0 else (float("nan"), float("nan"))

    @property
    def classes(self) -> int:
        """The number of classes; 0 for a quantity."""
        return 0 if self.task == "regression" else int(self.prediction.shape[1])

    @functools.cached_property
    def chosen(self) -> np.ndarray:
        """The predicted class codes ``(rows,)``; of a quantity, the predicted values."""
        if self.task == "regression":
            return self.prediction
        if self.task == "binary":
            return (self.prediction[:, 1] >= self.threshold).astype(np.int64)
        return self.prediction.argmax(axis=1) if self.costs is None else least_cost(self.prediction, self.costs)

    @functools.cached_property
    def spent(self) -> np.ndarray:
        """What each row's answer costs, ``(rows,)``; NaN without costs."""
        return np.full(len(self), np.nan) if self.costs is None else self.costs[self.truth, self.chosen]

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether the chosen class is the true one, ``(rows,)`` float64."""
        return (self.chosen == self.truth).astype(np.float64)

    @functools.cached_property
    def error(self) -> np.ndarray:
        """Predicted minus true value of a quantity, ``(rows,)``."""
        return self.prediction - self.truth

    @functools.cached_property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows by increasing absolute error, and these errors, for a quantity."""
        order = np.argsort(np.abs(self.error))
        return order, np.abs(self.error)[order]

    @functools.cached_property
    def of_truth(self) -> np.ndarray:
        """The probability given to the true class, ``(rows,)``."""
        return self.prediction[np.arange(len(self)), self.truth]

    @functools.cached_property
    def negative_log_likelihood(self) -> np.ndarray:
        """``−ln of_truth``, in nats, where a probability of 0 counts as the least that float64 tells from 1."""
        return -np.log(np.clip(self.of_truth, _TINY, 1 - _TINY))

    @functools.cached_property
    def distance(self) -> np.ndarray:
        """The squared distance of the probabilities from certainty: ``(p₁ − y)²`` for two classes, ``Σₖ (pₖ − yₖ)²`` for more."""
        if self.task == "binary":
            return (self.prediction[:, 1] - self.truth) ** 2
        return (self.prediction**2).sum(axis=1) - 2 * self.of_truth + 1

    @functools.cached_property
    def place(self) -> np.ndarray:
        """The place of the true class among the classes by probability, from 0, ``(rows,)``; of equal ones the first is before."""
        before = np.arange(self.classes) < self.truth[:, None]
        ours = self.of_truth[:, None]
        return ((self.prediction > ours) | ((self.prediction == ours) & before)).sum(axis=1)

    @functools.cached_property
    def event(self) -> tuple[np.ndarray, np.ndarray]:
        """What a calibration curve is of: whether the event happened and its probability, ``(rows,)`` each.

        It is the second of two classes; of several, that the most probable one is the true one.
        """
        if self.task == "binary":
            return self.truth.astype(np.float64), self.prediction[:, 1]
        return (self.prediction.argmax(axis=1) == self.truth).astype(np.float64), self.prediction.max(axis=1)

    @functools.cached_property
    def binned(self) -> Binned:
        """The probability of each class in bins; of the second of two."""
        if self.task == "binary":
            return Binned(self.truth[:, None] == 1, self.prediction[:, 1:])
        return Binned(self.truth[:, None] == np.arange(self.classes), self.prediction)

    @functools.cached_property
    def binned_event(self) -> Binned:
        """The probability of :attr:`event` in bins."""
        happened, probability = self.event
        return Binned(happened[:, None], probability[:, None])

    def terms(self, name: str, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The terms of the bins, see :class:`~danlu.evaluate.decomposition.Binned`; the variance if probabilities are right."""
        binned, of = _IN_BINS[name]
        cells: Binned = getattr(self, binned)
        sums, chance = cells.sums(np.ones(len(self))), cells.chance()
        if self.groups is not None:
            chance = chance * (len(self) / len(np.unique(self.groups)))
        if name != "ece":
            chance = np.divide(chance, sums[0], out=np.zeros_like(chance), where=sums[0] > 0)
        without = of(cells.without(part))
        return of(sums).ravel(), without.reshape(len(without), -1), chance.ravel()

    def left_out(self) -> dict[str, str]:
        """Why a measure that could be expected is not defined for these rows."""
        if self.task == "regression":
            size = np.abs(self.truth)
            if size.min() < 0.01 * size.mean() or not size.mean() > 0:
                return {"mape": "some true values are near 0, of which no error is a sensible share"}
            return {}
        if len(np.unique(self.truth)) > 1:
            return {}
        return dict.fromkeys(
            ("roc_auc", "average_precision"),
            f"all {len(self):,} rows have the same true class",
        )

    @functools.cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """The order of the rows by the probability of class 1, or by that of each of several classes."""
        of = (1,) if self.task == "binary" else range(self.classes)
        return tuple(Ranking(self.truth == k, self.prediction[:, k]) for k in of)

    def worst(self, most: int) -> np.ndarray:
        """The numbers of the rows that are predicted worst, the worst first; of classes only rows whose chosen class is wrong."""
        if self.task == "regression":
            return np.argsort(-np.abs(self.error), kind="stable")[:most]
        order = np.argsort(self.of_truth, kind="stable")[:most]
        return order[self.right[order] == 0]

    def with_prediction(self, prediction: np.ndarray) -> Rows:
        """The same rows with another prediction; two classes are separated at ½, by the costs, or where it alerts as many of these rows."""
        threshold = 0.5 if self.costs is None else cost_threshold(self.costs)
        if self.alert_rate is not None:
            threshold = alert_threshold(prediction[:, 1], self.alert_rate).threshold
        own: dict[str, Any] = {"alert_rate": self.alert_rate, "by": self.by, "shared": self.shared}
        return Rows(self.task, self.truth, prediction, threshold, self.groups, self.costs, self.models, **own)

    def confusion(self, weights: Weights | None = None) -> np.ndarray:
        """The weight (default: the number) of the rows of each true class (axis 0) predicted as each class (axis 1)."""
        cells = np.bincount(self.truth * self.classes + self.chosen, weights, minlength=self.classes**2)
        return cells.reshape(self.classes, self.classes).astype(np.float64)

    def class_weights(self, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per class: the weight of the rows that are right, that are of the class, and that are predicted as it."""
        last = self.__dict__.get("_last")
        if last is None or last[0] is not weights:  # five measures ask for the same weights in turn
            k = self.classes
            found = (
                np.bincount(self.truth, weights * self.right, minlength=k),
                np.bincount(self.truth, weights, minlength=k),
                np.bincount(self.chosen, weights, minlength=k),
            )
            last = self.__dict__["_last"] = (weights, found)
        return last[1]


def _array(what: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} holds values of the type {array.dtype}; expected numbers")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(f"{bad:,} of the {array.size:,} numbers of {what} are not finite; expected finite numbers")
    return array


def _codes(truth: np.ndarray, classes: int, task: str) -> np.ndarray:
    if task == "binary" and classes != 2:
        raise DataError(f"the prediction has {classes} columns; expected the probabilities of 2 classes")
    codes = truth.astype(np.int64)
    if (codes != truth).any() or codes.min() < 0 or codes.max() >= classes:
        raise DataError(
            f"the true class codes go from {truth.min()} to {truth.max()}; expected whole numbers from 0 to {classes - 1}, "
            "one for each column of the prediction"
        )
    return codes
