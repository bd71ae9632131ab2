"""Distributions that are given by quantiles, an interval too: pinball loss, CRPS and coverage."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import QUANTILE_LOSS, SHARE
from danlu.evaluate.measures import Measure, register

__all__ = ["QUANTILE_MEASURES", "Quantiles", "crps", "inside", "pinball"]

QUANTILE_MEASURES = register(
    Measure("pinball", "pinball loss", False, QUANTILE_LOSS),
    Measure("crps", "CRPS", False, QUANTILE_LOSS),
    Measure("coverage", "coverage of the interval", True, SHARE),
)
"""The measures of quantiles, in the order in which they are shown."""


def pinball(truth: Any, quantiles: Any, levels: Any) -> np.ndarray:
    """The quantile loss of each number, the mean over the levels: ``max(τ·(y − q), (τ − 1)·(y − q))``.

    Args:
        truth: ``(…)``.
        quantiles: ``(…, levels)``.
        levels: each ``τ``, in (0, 1), growing.

    Returns:
        ``(…)``, in the unit of the truth.

    Raises:
        DataError: levels or shapes that do not fit.

    Reference:
        Koenker & Bassett, "Regression quantiles" (1978), Econometrica 46.

    Example:
        >>> pinball([10.0], [[8.0, 10.0, 14.0]], (0.1, 0.5, 0.9)).round(3).tolist()
        [0.2]
    """
    return np.asarray(_losses(truth, quantiles, levels).mean(axis=-1))


def crps(truth: Any, quantiles: Any, levels: Any) -> np.ndarray:
    """The continuous ranked probability score of a distribution given by quantiles: ``2·Σ wᵢ·ρᵢ(y − qᵢ)``.

    ``∫ (F(x) − 1{x ≥ y})² dx`` is twice the integral of the pinball loss ``ρ`` over all levels. Each level given stands for those that
    are nearer to it than to others, a share ``wᵢ`` of all. The score is lowest, on average, for the true quantiles. Of one level, ½,
    it is the absolute error; of the levels ``(i − ½)/K`` it is that of ``K`` equally likely values.

    Args, Returns, Raises: see :func:`pinball`.

    Reference:
        Gneiting & Raftery, "Strictly proper scoring rules, prediction, and estimation" (2007), JASA 102, section 4.2; Laio & Tamea
        (2007), Hydrology and Earth System Sciences 11, for the integral over levels.

    Example:
        >>> crps([10.0], [[8.0, 10.0, 14.0]], (0.1, 0.5, 0.9)).round(3).tolist()
        [0.36]
    """
    losses, at = _losses(truth, quantiles, levels), np.asarray(levels, np.float64)
    borders = np.concatenate([[0.0], (at[1:] + at[:-1]) / 2, [1.0]])
    return np.asarray(2 * losses @ np.diff(borders))


def inside(truth: Any, quantiles: Any) -> np.ndarray:
    """Whether each number is between the first and the last of its quantiles, ``(…)`` of 0 and 1.

    >>> inside([1.0, 5.0], [[0.0, 2.0], [0.0, 2.0]]).tolist()
    [1.0, 0.0]
    """
    y, q = np.asarray(truth, np.float64), np.asarray(quantiles, np.float64)
    return ((y >= q[..., 0]) & (y <= q[..., -1])).astype(np.float64)


def _losses(truth: Any, quantiles: Any, levels: Any) -> np.ndarray:
    y, q, at = (np.asarray(each, np.float64) for each in (truth, quantiles, levels))
    if at.ndim != 1 or not len(at) or not (np.diff(at) > 0).all() or at[0] <= 0 or at[-1] >= 1:
        raise DataError(f"the levels are {list(levels)}; expected shares above 0 and below 1, growing")
    if q.shape != (*y.shape, len(at)):
        raise DataError(
            f"quantiles of the shape {q.shape} for {y.shape} values and {len(at)} levels; expected (…, levels)"
        )
    above = y[..., None] - q
    return np.maximum(at * above, (at - 1) * above)


@dataclasses.dataclass(frozen=True, eq=False)
class Quantiles(Evidence):
    """Rows of a quantity, each with quantiles that were predicted: an interval is two of them, and a median may be between.

    Attributes:
        truth: ``(rows,)``.
        prediction: ``(rows, levels)``, growing along the levels.
        levels: in (0, 1), growing.
        groups: a number for each row, the same for rows that belong together; None when all are independent.

    Raises:
        DataError: no rows, numbers that are not finite, levels or shapes that do not fit.

    Example:
        >>> rows = Quantiles(np.array([1.0, 2.0, 9.0]), np.array([[0.0, 1.0, 3.0]] * 3), (0.1, 0.5, 0.9))
        >>> {name: round(value, 3) for name, value in rows.measures().items()}
        {'pinball': 1.267, 'crps': 2.58, 'coverage': 0.667}
    """

    truth: np.ndarray
    prediction: np.ndarray
    levels: tuple[float, ...]
    groups: np.ndarray | None = None

    primary: ClassVar[str] = "crps"

    def __post_init__(self) -> None:
        truth, prediction = np.asarray(self.truth, np.float64), np.asarray(self.prediction, np.float64)
        if truth.ndim != 1 or not len(truth) or not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
            raise DataError(f"the truth has the shape {truth.shape}; expected (rows,), some, and finite numbers")
        _losses(truth, prediction, self.levels)
        object.__setattr__(self, "truth", truth)
        object.__setattr__(self, "prediction", prediction)

    def __len__(self) -> int:
        return len(self.truth)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The mean over the rows of :func:`pinball`, :func:`crps` and :func:`inside`."""
        by = np.ones(len(self)) if weights is None else weights
        return {name: float(by @ self._of_rows[name] / by.sum()) for name in names or QUANTILE_MEASURES}

    @functools.cached_property
    def _of_rows(self) -> dict[str, np.ndarray]:
        given = self.truth, self.prediction, self.levels
        return {"pinball": pinball(*given), "crps": crps(*given), "coverage": inside(*given[:2])}

    def _take(self, rows: np.ndarray) -> Self:
        groups = None if self.groups is None else np.asarray(self.groups)[rows]
        return dataclasses.replace(self, truth=self.truth[rows], prediction=self.prediction[rows], groups=groups)

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.truth, other.truth)

    @property
    def constant(self) -> bool:
        return bool((np.ptp(self.prediction, axis=0) == 0).all())

    @property
    def together(self) -> np.ndarray | None:
        return self.groups

    def support(self, name: str) -> float:
        return float(len(self) if self.groups is None else len(np.unique(self.groups)))

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The coverage is one share."""
        held = self._of_rows["coverage"].sum()
        return (np.array([held]), np.array([float(len(self))])) if name == "coverage" else None
