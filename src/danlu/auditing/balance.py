"""Whether two groups of people are alike but for what was done to them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing.labels import out_of_fold
from danlu.evaluate.baselines import linear_model
from danlu.evaluate.intervals import Interval, intervals
from danlu.evaluate.kept import stacked
from danlu.evaluate.rows import Rows

__all__ = ["Balance", "balance_of"]

_MOST = 20_000  # rows that the groups are told apart by
_LEVELS = 20
_TOLD = 0.99  # of the level at which a treatment counts as not given by chance


@dataclasses.dataclass(frozen=True)
class Balance:
    """How alike two groups are.

    Attributes:
        differences: the standardised mean difference of each column, the largest first, infinite where a column alone tells the groups
            apart.
        auc: how well the columns together tell who was treated: the ROC-AUC of answers out of fold; 0.5 is not at all.
        by_chance: whether that is not more than chance, at a level of 99 %.
    """

    differences: tuple[tuple[str, float], ...]
    auc: Interval
    by_chance: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "differences": [[name, value if math.isfinite(value) else None] for name, value in self.differences],
            "auc": [self.auc.value, self.auc.low, self.auc.high],
            "by_chance": self.by_chance,
        }


def balance_of(frame: pl.DataFrame, inputs: Any, treated: np.ndarray, *, seed: int = 0) -> Balance:
    """How alike the treated and the others are.

    The standardised mean difference of a number is ``|m₁ − m₀|/√((s₁² + s₀²)/2)``, and that of a category the largest of the shares of
    its levels, an empty cell being one; 0.1 is usually called small. The columns together are judged by a classifier two-sample test: the
    mean of a logistic regression and of randomised trees, out of fold.

    Args:
        frame: the columns.
        inputs: the same rows, encoded.
        treated: ``(rows,)`` bool.
        seed: draws rows of many, and folds.

    Reference: Austin (2009), "Balance diagnostics for comparing the distribution of baseline covariates between treatment groups in
    propensity-score matched samples"; Lopez-Paz & Oquab (2017), "Revisiting classifier two-sample tests".

    Example:
        >>> treated = np.tile([True, False], 60)
        >>> frame = pl.DataFrame({"coupon": ["a" if each else "b" for each in treated], "age": np.arange(120) // 2})
        >>> found = balance_of(frame, {"numeric": np.arange(120)[:, None] // 2 * 1.0}, treated)
        >>> found.differences, found.by_chance
        ((('coupon', inf), ('age', 0.0)), True)
    """
    from sklearn.ensemble import ExtraTreesClassifier

    differences = sorted(
        ((name, _difference(frame[name], treated)) for name in frame.columns), key=lambda each: -each[1]
    )
    rows = np.sort(np.random.default_rng(seed).permutation(len(treated))[:_MOST])
    x, y = stacked(inputs)[rows], treated[rows].astype(np.int64)
    part = {name: np.asarray(values)[rows] for name, values in inputs.items()}

    def predict(learnt: np.ndarray, asked: np.ndarray) -> np.ndarray:
        trees = ExtraTreesClassifier(60, min_samples_leaf=10, max_depth=8, random_state=seed)
        both = [
            model.fit(x[learnt], y[learnt]).predict_proba(x[asked]) for model in (linear_model("binary", part), trees)
        ]
        return np.asarray(sum(both) / 2)

    told = Rows("binary", y, out_of_fold(y, 2, predict, seed=seed))
    auc, strict = (intervals(told, ("roc_auc",), level=level)["roc_auc"] for level in (0.95, _TOLD))
    return Balance(tuple(differences), auc, not strict.low > 0.5)


def _difference(column: pl.Series, treated: np.ndarray) -> float:
    if column.dtype.is_temporal():
        column = column.dt.timestamp("ms") if column.dtype != pl.Time else column.cast(pl.Int64)
    parts = [column.is_null().to_numpy().astype(np.float64)]
    if column.dtype.is_numeric():
        parts.append(column.cast(pl.Float64).fill_nan(None).to_numpy())
    else:
        texts = column.cast(pl.String)
        levels = texts.drop_nulls().value_counts(sort=True)[column.name].head(_LEVELS)
        parts += [(texts == level).fill_null(value=False).to_numpy().astype(np.float64) for level in levels]
    return max(_apart(part[treated], part[~treated]) for part in parts)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    if not len(one) or not len(other):
        return 0.0
    gap, spread = abs(float(one.mean() - other.mean())), math.sqrt((float(one.var()) + float(other.var())) / 2)
    return gap / spread if spread > 0 else (math.inf if gap > 0 else 0.0)
