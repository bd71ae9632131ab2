"""How far a score may be from the truth: percentile bootstrap intervals over the test rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.metrics import METRICS, Rows, scores

__all__ = ["Interval", "bootstrap", "resample_weights"]

_CHUNK = 4_000_000  # numbers held at once


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value and the interval in which it would lie for most samples of as many rows."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def resample_weights(rows: int, *, resamples: int = 1000, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each row is in each bootstrap resample, ``(a part of the resamples, rows)`` float64 at a time."""
    if resamples < 10:
        raise ConfigError(f"resamples is {resamples}; expected at least 10")
    rng, done = np.random.default_rng(seed), 0
    while done < resamples:
        count = min(resamples - done, max(1, _CHUNK // rows))
        drawn = rng.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)
        done += count


def resampled(rows: Sequence[Rows], names: Sequence[str], *, resamples: int, seed: int) -> np.ndarray:
    """Measures ``names`` of each of ``rows`` on the same resamples, ``(rows, names, resamples)``."""
    parts = [
        [[METRICS[name].compute(each, weights) for name in names] for each in rows]
        for weights in resample_weights(len(rows[0].truth), resamples=resamples, seed=seed)
    ]
    return np.concatenate(parts, axis=2)


def bootstrap(rows: Rows, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Every score of ``rows`` with its percentile interval.

    Args:
        resamples: how many times as many rows are drawn with replacement, >= 10.
        level: the share of the resamples inside the interval, in (0, 1).
        seed: the same seed gives the same intervals.

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
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return {name: Interval(value, float(low[i]), float(high[i])) for i, (name, value) in enumerate(values.items())}
