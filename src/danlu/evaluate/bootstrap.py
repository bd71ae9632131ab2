"""How far a score may be from the truth: percentile bootstrap intervals over the test rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.evaluate.metrics import METRICS, scores
from danlu.evaluate.rows import Rows

__all__ = ["Interval", "bootstrap", "resample_weights"]

_WORK = 4e7  # rows times classes times resamples that are gone through at most, but for the least resamples
_LEAST = 200


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value and the interval in which it would lie for most samples of as many rows."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def resample_weights(rows: int, *, resamples: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each row is in each bootstrap resample: one ``(rows,)`` float64 a resample.

    Raises:
        ConfigError: fewer than 10 resamples.
    """
    if resamples < 10:
        raise ConfigError(f"resamples is {resamples}; expected at least 10")
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(rows, size=rows, dtype=np.int32), minlength=rows).astype(np.float64)


def resampled(pair: Sequence[Rows], names: Sequence[str], *, resamples: int, seed: int) -> np.ndarray:
    """Measures ``names`` of each of ``pair`` on the same resamples, ``(pair, names, resamples)``."""
    rows, classes = len(pair[0]), max(pair[0].classes, 1)
    affordable = max(_LEAST, int(_WORK / (rows * classes)))
    drawn = [
        [[METRICS[name].compute(each, weights) for name in names] for each in pair]
        for weights in resample_weights(rows, resamples=min(resamples, affordable), seed=seed)
    ]
    return np.moveaxis(np.array(drawn, np.float64), 0, 2)


def quantiles(drawn: np.ndarray, level: float) -> tuple[float, float]:
    """The ends of the middle ``level`` of the defined values; NaN when there are none."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(rows: Rows, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Every score of ``rows`` with its percentile interval.

    Args:
        rows: the truth and a prediction.
        resamples: how many times as many rows are drawn with replacement, >= 10. For many rows or classes fewer are drawn
            (at least 200), so that this takes seconds; their intervals are narrow anyway.
        level: the share of the resamples inside the interval, in (0, 1).
        seed: the same seed gives the same intervals.

    Returns:
        The measures of :func:`scores`, by name. A resample in which a measure is not defined (it lacks a class) is not
        counted in that measure's interval.

    Raises:
        ConfigError: a level outside (0, 1), or fewer than 10 resamples.

    Reference:
        Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3. The model is not trained again: the
        interval tells what other test rows, not what other training rows, would change.

    Example:
        >>> rows = Rows("regression", np.arange(100.0), np.arange(100.0) + np.tile([-1.0, 1.0], 50))
        >>> str(bootstrap(rows)["rmse"])
        '1 (1 to 1)'
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; expected a share above 0 and below 1")
    values = scores(rows)
    drawn = resampled([rows], list(values), resamples=resamples, seed=seed)[0]
    return {name: Interval(value, *quantiles(drawn[i], level)) for i, (name, value) in enumerate(values.items())}


def paired(
    ours: Rows, theirs: Rows, metric: str, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of our measure minus theirs, over resamples of the rows that both predict.

    Raises:
        DataError: predictions for different rows.
    """
    if len(ours) != len(theirs) or not np.array_equal(ours.truth, theirs.truth):
        raise DataError("the two predictions are for different rows; expected the same rows in the same order")
    drawn = resampled([ours, theirs], [metric], resamples=resamples, seed=seed)[:, 0]
    return quantiles(drawn[0] - drawn[1], level)
