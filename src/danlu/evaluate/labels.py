"""Measuring several labels per row: F1, average precision, ROC-AUC and exact matches, with intervals and paired comparisons."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import DICE, SHARE
from danlu.evaluate.intervals import Interval, intervals
from danlu.evaluate.joined import joined_rows, mean_by_model
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.ranking import Ranking
from danlu.evaluate.support import mean_support

__all__ = ["LabelRows"]

register(
    Measure("label_precision", "mean AP", True, SHARE),
    Measure("label_auc", "mean ROC-AUC", True, SHARE),
    Measure("macro_f1", "macro F1", True, DICE),
    Measure("micro_f1", "micro F1", True, DICE),
    Measure("exact_match", "exact match", True, SHARE),
)

_RANKED = ("label_precision", "label_auc")


@dataclasses.dataclass(frozen=True, eq=False)
class LabelRows(Evidence):
    """Rows that may each have several labels, and a prediction of them.

    Attributes:
        truth: ``(rows, labels)`` of 0 and 1.
        prediction: the probability of each label, the same shape.
        threshold: the probability from which a label is predicted; or that of each row, ``(rows,)``.
        groups, models: as of :class:`~danlu.evaluate.Rows`.

    Raises:
        DataError: shapes that do not belong together, or values that are not finite.

    Example:
        >>> rows = LabelRows(np.array([[1, 0], [1, 1]]), np.array([[0.9, 0.2], [0.4, 0.8]]))
        >>> {name: round(value, 3) for name, value in rows.measures().items() if name.endswith(("f1", "match"))}
        {'macro_f1': 0.833, 'micro_f1': 0.8, 'exact_match': 0.5}
    """

    truth: np.ndarray
    prediction: np.ndarray
    threshold: float | np.ndarray = 0.5
    groups: np.ndarray | None = None
    models: np.ndarray | None = None
    shared: float = 0.0

    primary: ClassVar[str] = "label_precision"

    def __post_init__(self) -> None:
        truth, prediction = np.asarray(self.truth), np.asarray(self.prediction, np.float64)
        if truth.ndim != 2 or truth.shape != prediction.shape or not truth.size or not np.isfinite(prediction).all():
            raise DataError(
                f"the truth has the shape {truth.shape} and the prediction {prediction.shape}; expected (rows, labels) of both, and "
                "finite probabilities"
            )
        if not np.isin(truth, (0, 1)).all():
            raise DataError("the truth holds other numbers than 0 and 1; expected whether each row has each label")
        object.__setattr__(self, "truth", truth.astype(np.bool_))
        object.__setattr__(self, "prediction", prediction)

    def __len__(self) -> int:
        return len(self.truth)

    @functools.cached_property
    def chosen(self) -> np.ndarray:
        """The predicted labels, bool ``(rows, labels)``."""
        return self.prediction >= np.reshape(self.threshold, (-1, 1))

    @functools.cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """The order of the rows by the probability of each label."""
        return tuple(Ranking(self.truth[:, k], self.prediction[:, k]) for k in range(self.truth.shape[1]))

    @functools.cached_property
    def _counted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        exact = (self.chosen == self.truth).all(axis=1)
        return (
            (self.chosen & self.truth).astype(float),
            self.truth.astype(float),
            self.chosen.astype(float),
            exact.astype(float),
        )

    def f1(self, weights: np.ndarray | None = None) -> np.ndarray:
        """F1 of each label, ``(labels,)``; NaN for one that no row has and that is predicted for none."""
        hits, true, found = (self._by(weights) @ each for each in self._counted[:3])
        return np.divide(2 * hits, true + found, out=np.full_like(hits, np.nan), where=true + found > 0)

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The average precision of each label, ``(labels,)``; NaN for one that no row has."""
        return np.array([each.average_precision(self._by(weights)) for each in self.rankings])

    def roc_auc(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The ROC-AUC of each label, ``(labels,)``; NaN for one that no row or every row has."""
        return np.array([each.roc_auc(self._by(weights)) for each in self.rankings])

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """Means over the labels of average precision, ROC-AUC and F1 (macro), F1 of all labels together (micro), exact matches.

        An exact match is a row whose labels are all right. Labels for which a measure is not defined are not in its mean.
        """
        by = self._by(weights)
        return {
            name: _MEASURES[name](self, by)
            if self.models is None or name not in _RANKED
            else mean_by_model(self._by_model, by, _MEASURES[name])
            for name in (_MEASURES if names is None else names)
        }

    @functools.cached_property
    def _by_model(self) -> list[tuple[np.ndarray, LabelRows]]:
        """The row numbers and the rows of each model."""
        models = np.asarray(self.models)
        numbers = [np.flatnonzero(models == number) for number in np.unique(models)]
        return [(rows, dataclasses.replace(self._take(rows), models=None)) for rows in numbers]

    def _take(self, rows: np.ndarray) -> Self:
        own: dict[str, Any] = {"groups": self.groups, "models": self.models, "threshold": self.threshold}
        taken = {name: np.asarray(value)[rows] if np.ndim(value) else value for name, value in own.items()}
        return dataclasses.replace(self, truth=self.truth[rows], prediction=self.prediction[rows], **taken)

    def joined(self, others: Sequence[Self], rows: np.ndarray | None = None) -> Self:
        return dataclasses.replace(self, **joined_rows([self, *others], rows))

    @property
    def together(self) -> np.ndarray | None:
        return self.groups

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.truth, other.truth)

    @property
    def constant(self) -> bool:
        return bool((np.ptp(self.prediction, axis=0) == 0).all())

    def support(self, name: str) -> float:
        """The rows of the rarer side of each label, together; all rows for exact matches and for F1 of all labels together."""
        if name in ("exact_match", "micro_f1"):
            return float(len(self) if self.groups is None else len(np.unique(self.groups)))
        true = self.truth.sum(axis=0).astype(float)
        counts = np.minimum(true, len(self) - true) if name == "label_auc" else true
        alone = 1.0 if self.groups is None else len(np.unique(self.groups)) / len(self)
        return mean_support(counts[counts > 0] * alone)

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The exact matches are one share."""
        return (np.array([self._counted[3].sum()]), np.array([float(len(self))])) if name == "exact_match" else None

    @property
    def size(self) -> int:
        return int(self.truth.size)

    def of_labels(self, *, seed: int = 0) -> list[Interval]:
        """The ROC-AUC of each label with its 95 % interval; NaN where it is not defined."""
        none, name = Interval(float("nan")), "label_auc"
        of = [(self.truth[:, [number]], self.prediction[:, [number]]) for number in range(self.truth.shape[1])]
        return [intervals(LabelRows(*each), (name,), seed=seed).get(name, none) for each in of]

    def _by(self, weights: np.ndarray | None) -> np.ndarray:
        return np.ones(len(self)) if weights is None else weights


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _micro_f1(rows: LabelRows, by: np.ndarray) -> float:
    hits, true, found = (float((by @ each).sum()) for each in rows._counted[:3])
    return 2 * hits / (true + found) if true + found else float("nan")


_MEASURES: Mapping[str, Callable[[LabelRows, np.ndarray], float]] = {
    "label_precision": lambda rows, by: _mean(rows.average_precision(by)),
    "label_auc": lambda rows, by: _mean(rows.roc_auc(by)),
    "macro_f1": lambda rows, by: _mean(rows.f1(by)),
    "micro_f1": _micro_f1,
    "exact_match": lambda rows, by: float(by @ rows._counted[3] / by.sum()),
}


def best_threshold(truth: np.ndarray, prediction: np.ndarray) -> float:
    """The probability, in hundredths, from which labels are predicted for the highest macro F1.

    >>> best_threshold(np.array([[1, 0], [0, 1]]), np.array([[0.3, 0.1], [0.2, 0.3]]))
    0.21
    """
    tried = np.arange(2, 99) / 100
    values = [_mean(LabelRows(truth, prediction, float(each)).f1()) for each in tried]
    return float(tried[int(np.nanargmax(values))]) if np.isfinite(values).any() else 0.5


def label_regressions(train: np.ndarray, marks: np.ndarray, *asked: np.ndarray) -> list[np.ndarray]:
    """The probability of each label by its own logistic regression: the baseline for several labels.

    Args:
        train: ``(rows, features)``, with ``marks`` of 0 and 1, ``(rows, labels)``.
        *asked: other rows.

    Returns:
        ``(rows, labels)`` of each of these; of a label that all rows have or none, its share.
    """
    import warnings

    from sklearn.linear_model import LogisticRegression

    found = [np.tile(marks.mean(axis=0), (len(each), 1)) for each in asked]
    for place, own in enumerate(marks.T):
        if own.any() and not own.all():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one that has not quite converged is a baseline as well
                model = LogisticRegression(max_iter=200).fit(train, own)
            for out, each in zip(found, asked, strict=True):
                out[:, place] = model.predict_proba(each)[:, 1]
    return found
