"""Measuring rows that were made up: what can be learnt from them, whether they can be told from real ones, and whether they are copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import FIT, SHARE
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.ranking import Ranking, dot

__all__ = ["DrawnRows"]

register(
    Measure("learnt_accuracy", "accuracy of boosting learnt from them", True, SHARE),
    Measure("learnt_f1", "macro F1 of boosting learnt from them", True, SHARE),
    Measure("learnt_linear_accuracy", "accuracy of a linear model", True, SHARE),
    Measure("learnt_r2", "R² of boosting learnt from them", True, FIT),
    Measure("learnt_linear_r2", "R² of a linear model", True, FIT),
    Measure("detectability", "told from real rows (AUC)", False, SHARE),
    Measure("marginals", "columns: total variation", False, SHARE),
    Measure("associations", "pairs: difference of Cramér's V", False, SHARE),
    Measure("closeness", "nearer to training than test (AUC)", False, SHARE),
    Measure("membership", "membership attack (AUC)", False, SHARE),
)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnRows(Evidence):
    """Test rows, with as many rows that were made up and as many training rows beside them.

    Place i of each array is a test row, a made-up row and a training row; the three have nothing to do with each other, and an interval
    leaves all three out together. Arrays may have no rows where there is nothing to measure: without a target, or of private training rows.

    Attributes:
        cells, drawn: the cells of test rows and of made-up rows ``(rows, columns)``, coarse, for columns and pairs.
        detected, undetected: how real a detector, which did not learn from them, takes made-up and test rows for, ``(rows,)``.
        task: of the target; empty without one.
        truth: the target of test rows, codes or values ``(rows,)``.
        boosting, linear: what models learnt from made-up rows answer for test rows, codes of classes or values ``(rows,)``.
        nearest: the distances of made-up rows, and of test rows, to the closest training row ``(2, rows)``.
        attacked: the distances of training rows, and of test rows, to the closest made-up row ``(2, rows)``.
        nats: ``−log p`` of test rows ``(rows,)``.

    The measures are those of the answers for the target, and:

    - ``detectability``: the chance that the detector takes a test row for more real than a made-up one: ½ where it cannot tell.
    - ``marginals``: ``½·Σ_k |p_k − q_k|`` of the shares of a column's cells, the mean over columns; chance alone
      makes it more than 0, as the same of real rows shows.
    - ``associations``: the mean over pairs of columns of ``|V − V'|``, Cramér's V of both kinds of rows.
    - ``closeness``: the chance that a made-up row is nearer to a training row than a test row is: ½ where they are like new rows,
      1 for copies.
    - ``membership``: the chance that a training row is nearer to a made-up row than a test row is: ½ where nobody can tell who
      was learnt from.

    Reference: Lopez-Paz & Oquab, "Revisiting classifier two-sample tests" (2017); Esteban et al., "Real-valued medical time series
    generation" (2017), section 4.2, "train on synthetic, test on real"; Cramér (1946), 21.9; Chen et al., "GAN-Leaks" (2020), eq. 3, for
    the attack.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> a, b = rng.integers(0, 3, (2, 200, 2))
        >>> none = np.zeros(0)
        >>> found = DrawnRows(a, b, rng.random(200), rng.random(200), "", none, none, none, none, none, none)
        >>> found.primary, bool(found.measures()["marginals"] < 0.1)
        ('detectability', True)
    """

    cells: np.ndarray
    drawn: np.ndarray
    detected: np.ndarray
    undetected: np.ndarray
    task: str
    truth: np.ndarray
    boosting: np.ndarray
    linear: np.ndarray
    nearest: np.ndarray
    attacked: np.ndarray
    nats: np.ndarray

    noun: ClassVar[str] = "test rows"
    unlike: ClassVar[str] = (
        "the two kinds of made-up rows were tested on different rows; expected the same rows in the same order"
    )

    def __post_init__(self) -> None:
        if not len(self.cells) or self.drawn.shape != self.cells.shape or self.detected.shape != self.undetected.shape:
            raise DataError(
                f"{len(self.drawn)} made-up rows for {len(self.cells)} test rows; expected as many, and some"
            )

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def primary(self) -> str:
        """What can be learnt from the rows where there is a target, else whether they can be told from real ones."""
        return {"": "detectability", "regression": "learnt_r2"}.get(self.task, "learnt_accuracy")

    @property
    def size(self) -> int:
        return self.cells.size * self.cells.shape[1]

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """See the class; ``weights (rows,)`` says how often each place counts."""
        by = np.ones(len(self)) if weights is None else np.asarray(weights, np.float64)
        found: dict[str, float] = {}

        def wanted(name: str) -> bool:
            return names is None or name in names

        if self.task == "regression":
            for name, answers in (("learnt_r2", self.boosting), ("learnt_linear_r2", self.linear)):
                if wanted(name):
                    found[name] = _fit(self.truth, answers, by)
        elif self.task:
            for name, answers in (("learnt_accuracy", self.boosting), ("learnt_linear_accuracy", self.linear)):
                if wanted(name):
                    found[name] = dot(by, (answers == self.truth).astype(np.float64)) / float(by.sum())
            if wanted("learnt_f1"):
                found["learnt_f1"] = _macro_f1(self.truth, self.boosting, by)
        both = np.concatenate([by, by])
        for name, positive, negative in (
            ("detectability", self.undetected, self.detected),
            ("closeness", *(-self.nearest if len(self.nearest) else ((), ()))),
            ("membership", *(-self.attacked if len(self.attacked) else ((), ()))),
        ):
            if wanted(name) and len(positive):
                is_first = np.repeat([True, False], len(self))
                found[name] = Ranking(is_first, np.concatenate([positive, negative])).roc_auc(both)
        if wanted("marginals"):
            found["marginals"] = float(
                np.mean([_variation(*pair, by) for pair in zip(self.cells.T, self.drawn.T, strict=True)])
            )
        if wanted("associations") and self.cells.shape[1] > 1:
            found["associations"] = self._associations(by)
        if wanted("negative_log_likelihood") and len(self.nats):
            found["negative_log_likelihood"] = dot(by, self.nats) / float(by.sum())
        return found

    def _associations(self, by: np.ndarray) -> float:
        columns = self.cells.shape[1]
        pairs = [(one, other) for one in range(columns) for other in range(one)]
        gaps = [
            abs(
                _cramer(self.cells[:, one], self.cells[:, other], by)
                - _cramer(self.drawn[:, one], self.drawn[:, other], by)
            )
            for one, other in pairs
        ]
        return float(np.mean(gaps))

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        if name not in ("learnt_accuracy", "learnt_linear_accuracy"):
            return None
        answers = self.boosting if name == "learnt_accuracy" else self.linear
        return np.array([float((answers == self.truth).sum())]), np.array([float(len(self))])

    def _take(self, rows: np.ndarray) -> Self:
        found: dict[str, Any] = {}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray) and len(value):
                found[each.name] = value[:, rows] if each.name in ("nearest", "attacked") else value[rows]
        return dataclasses.replace(self, **found)

    def _same(self, other: Self) -> bool:
        return (
            self.task == other.task
            and np.array_equal(self.cells, other.cells)
            and np.array_equal(self.truth, other.truth)
        )


def _fit(truth: np.ndarray, answers: np.ndarray, by: np.ndarray) -> float:
    mean = dot(by, truth) / float(by.sum())
    spread = dot(by, np.square(truth - mean))
    return float("nan") if spread <= 0 else 1 - dot(by, np.square(truth - answers)) / spread


def _macro_f1(truth: np.ndarray, answers: np.ndarray, by: np.ndarray) -> float:
    found = []
    for each in np.unique(truth):
        right = dot(by, ((truth == each) & (answers == each)).astype(np.float64))
        parts = dot(by, (truth == each).astype(np.float64)) + dot(by, (answers == each).astype(np.float64))
        found.append(2 * right / parts if parts > 0 else 0.0)
    return float(np.mean(found))


def _variation(one: np.ndarray, other: np.ndarray, by: np.ndarray) -> float:
    """The total variation of the cells of two kinds of rows."""
    size = int(max(one.max(), other.max())) + 1
    left, right = (np.bincount(each, weights=by, minlength=size) for each in (one, other))
    return float(np.abs(left - right).sum() / (2 * by.sum()))


def _cramer(one: np.ndarray, other: np.ndarray, by: np.ndarray) -> float:
    """Cramér's V of two columns of cells; 0 where one of them is constant."""
    rows, columns = int(one.max()) + 1, int(other.max()) + 1
    table = np.bincount(one * columns + other, weights=by, minlength=rows * columns).reshape(rows, columns)
    down, across = table.sum(axis=1), table.sum(axis=0)
    table = table[down > 0][:, across > 0] / by.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0))
    least = min(table.shape) - 1
    return float(np.sqrt(max((np.square(table) / expected).sum() - 1, 0.0) / least)) if least > 0 else 0.0
