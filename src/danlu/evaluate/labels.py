"""Measuring several labels a row: F1, average precision, ROC-AUC and exact matches, with intervals and paired comparisons."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.bootstrap import Interval, quantiles, resample_weights
from danlu.evaluate.compare import Comparison, compared
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.ranking import Ranking

__all__ = ["LabelRows"]

_WORK = 4e7  # rows times labels times resamples that are gone through at most, but for the least resamples
_LEAST = 200
_FEW, _FEW_OF_LABEL = 20, 4  # test rows, and those of the second commonest label


@dataclasses.dataclass(frozen=True, eq=False)
class LabelRows:
    """Rows that may each have several labels, and a prediction of them.

    Attributes:
        truth: ``(rows, labels)`` of 0 and 1.
        prediction: the probability of each label, the same shape.
        threshold: the probability from which a label is predicted.

    Raises:
        DataError: shapes that do not belong together, or values that are not finite.

    Example:
        >>> rows = LabelRows(np.array([[1, 0], [1, 1]]), np.array([[0.9, 0.2], [0.4, 0.8]]))
        >>> {name: round(value, 3) for name, value in rows.measures().items() if name.endswith(("f1", "match"))}
        {'macro_f1': 0.833, 'micro_f1': 0.8, 'exact_match': 0.5}
    """

    truth: np.ndarray
    prediction: np.ndarray
    threshold: float = 0.5

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
        return self.prediction >= self.threshold

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
        """F1 of each label; NaN for one that no row has and that is predicted for none."""
        hits, true, found = (self._by(weights) @ each for each in self._counted[:3])
        return np.divide(2 * hits, true + found, out=np.full_like(hits, np.nan), where=true + found > 0)

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The average precision of each label, NaN for one that no row has."""
        return np.array([each.average_precision(self._by(weights)) for each in self.rankings])

    def roc_auc(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The ROC-AUC of each label, NaN for one that no row or every row has."""
        return np.array([each.roc_auc(self._by(weights)) for each in self.rankings])

    def measures(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """Means over the labels of average precision, ROC-AUC and F1 (macro), F1 of all labels together (micro), exact matches.

        An exact match is a row whose labels are all right. Labels for which a measure is not defined are not in its mean.
        """
        by = self._by(weights)
        hits, true, found, exact = (by @ each for each in self._counted)
        total = float((true + found).sum())
        return {
            "label_precision": _mean(self.average_precision(weights)),
            "label_auc": _mean(self.roc_auc(weights)),
            "macro_f1": _mean(self.f1(weights)),
            "micro_f1": 2 * float(hits.sum()) / total if total else float("nan"),
            "exact_match": float(exact / by.sum()),
        }

    def scores(self, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """The measures with their 95 % intervals, from resamples of the rows."""
        drawn = [self.measures(by) for by in self._resamples(resamples, seed)]
        return {
            name: Interval(value, *quantiles(np.array([each[name] for each in drawn]), 0.95))
            for name, value in self.measures().items()
            if np.isfinite(value)
        }

    def of_labels(self, *, resamples: int = 1000, seed: int = 0) -> list[Interval]:
        """The ROC-AUC of each label with its 95 % interval; NaN where it is not defined."""
        drawn = np.array([self.roc_auc(by) for by in self._resamples(resamples, seed)])
        return [Interval(float(value), *quantiles(drawn[:, k], 0.95)) for k, value in enumerate(self.roc_auc())]

    def compare(
        self, other: LabelRows, label: str, *, resamples: int = 1000, seed: int = 0, constant: bool = False
    ) -> Comparison:
        """Whether this prediction is better by mean average precision than another for the same rows, by the paired bootstrap.

        Raises:
            DataError: of other rows.
        """
        if not np.array_equal(self.truth, other.truth):
            raise DataError("the two predictions are for different rows; expected the same rows in the same order")
        gaps = [
            _mean(self.average_precision(by)) - _mean(other.average_precision(by))
            for by in self._resamples(resamples, seed)
        ]
        values = [_mean(each.average_precision()) for each in (self, other)]
        rare = int(np.sort(self.truth.sum(axis=0))[-2:].min())
        few = "" if len(self) >= _FEW and rare >= _FEW_OF_LABEL else f"{len(self)} test rows are too few to tell"
        ends = quantiles(np.array(gaps), 0.95)
        return compared(MEASURES["label_precision"], values[0], values[1], ends, label, constant=constant, few=few)

    def _by(self, weights: np.ndarray | None) -> np.ndarray:
        return np.ones(len(self)) if weights is None else weights

    def _resamples(self, resamples: int, seed: int) -> Sequence[np.ndarray]:
        affordable = max(_LEAST, int(_WORK / self.truth.size))
        return list(resample_weights(len(self), resamples=min(resamples, affordable), seed=seed))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def best_threshold(truth: np.ndarray, prediction: np.ndarray) -> float:
    """The probability, in hundredths, from which labels are predicted for the highest macro F1.

    >>> best_threshold(np.array([[1, 0], [0, 1]]), np.array([[0.3, 0.1], [0.2, 0.3]]))
    0.21
    """
    tried = np.arange(2, 99) / 100
    values = [_mean(LabelRows(truth, prediction, float(each)).f1()) for each in tried]
    return float(tried[int(np.nanargmax(values))]) if np.isfinite(values).any() else 0.5
