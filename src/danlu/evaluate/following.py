"""Intervals of forecasts that follow how often they held: conformal prediction where the future need not be like the past."""

from __future__ import annotations

import numpy as np

__all__ = ["band_factor", "band_scores", "enough_for", "followed", "independent"]

_GAIN = 0.2  # of the logarithm of the width, for each forecast that is independent of the others
_FARTHEST = np.log(10.0)  # that the width goes from where it began


def band_scores(truth: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How often the distance of a value from the middle of a band contains that of the band's end on its side; any shape.

    ``(y − m)/(high − m)`` above the middle ``m`` and ``(m − y)/(m − low)`` below it: 1 on an end of the band.

    Reference: Romano, Patterson & Candès (2019), "Conformalized quantile regression", arXiv:1905.03222, with a factor instead of their
    distance.

    >>> band_scores(np.array([3.0, -1.0]), np.array(-2.0), np.array(0.0), np.array(1.0)).tolist()
    [3.0, 0.5]
    """
    room = np.where(truth >= middle, high - middle, middle - low)
    return np.asarray(np.abs(truth - middle) / np.maximum(room, 1e-9))


def independent(moments: np.ndarray, horizon: int) -> np.ndarray:
    """As how many independent forecasts those from these moments count at each step ahead, ``(horizon,)``.

    Windows that overlap are not independent: at ``h`` steps ahead they count as three in each ``h`` steps of their moments, and columns
    and series of one moment as one (with fewer windows than series, as many as there are series).
    """
    span, beside = float(np.ptp(moments)), len(moments) / len(np.unique(moments))
    return np.maximum(1 + 3 * span / np.arange(1, horizon + 1), max(beside, 1 + 1e-9))


def enough_for(counts: np.ndarray) -> float:
    """The highest level that so many independent forecasts at each step say anything about, at all steps: ``n / (n + 1)``."""
    return float((counts / (counts + 1)).min())


def band_factor(scores: np.ndarray, counts: np.ndarray, level: float) -> np.ndarray:
    """By how much each step's band must be widened to hold a share ``level`` of the values, ``(horizon,)``.

    Of ``n`` independent scores NumPy's quantile at ``p`` contains the share ``((n − 1)·p + 1)/(n + 1)`` of new ones in the mean, less than
    ``p``; so it is taken at ``p = ((n + 1)·level − 1)/(n − 1)``, or at 1 where ``n`` is too small for the level.

    Args:
        scores: of each step, ``(horizon, n)``: see :func:`band_scores`.
        counts: as how many independent ones they count, see :func:`independent`.
    """
    place = np.minimum(((counts + 1) * level - 1) / (counts - 1), 1)
    found = [np.quantile(own, max(share, 0.0)) for own, share in zip(scores, place, strict=True)]
    return np.clip(found, 0.1, 10.0)


def followed(
    start: np.ndarray, scores: np.ndarray, moments: np.ndarray, asked: np.ndarray, *, level: float
) -> np.ndarray:
    """The factor of the band for forecasts from the moments ``asked``, after what was seen of forecasts before: adaptive conformal.

    Each step ahead of each column has a factor ``q``, which begins at ``start``. As soon as a value is known whose forecast ``h`` steps
    before it was given, ``log q`` grows by ``γ·level`` if the band of that forecast did not hold it, and shrinks by ``γ·(1 − level)``
    if it did, with ``γ = 0.2·a/(h + 2)``, ``a`` the distance of the forecasts, at most 0.2: as forecasts overlap, about ``h`` of them
    tell one thing. If the share of misses were not ``1 − level`` in the long run, ``q`` would grow or shrink on and on; so it is, whatever
    the series does, as far as the delay allows. Nothing that comes after a moment is used for it.

    Args:
        start: ``(horizon,)``, see :func:`band_factor`.
        scores: of forecasts whose values are known, ``(forecasts, horizon, columns)``, see :func:`band_scores`.
        moments: the first step of each of them, growing, ``(forecasts,)``.
        asked: ``(rows,)``, growing.
        level: the share that the bands are to hold, in (0, 1).

    Returns:
        ``(rows, horizon, columns)``.

    Reference: Gibbs & Candès, "Adaptive conformal inference under distribution shift" (2021), NeurIPS; Angelopoulos, Candès & Tibshirani,
    "Conformal PID control for time series prediction" (2023), arXiv:2307.16895, section 2.1, of which this is the quantile tracker, on a
    logarithmic scale and for forecasts of many steps.

    Example:
        >>> calm, wild = np.full((20, 1, 1), 0.1), np.full((20, 1, 1), 9.0)
        >>> [round(float(followed(np.ones(1), each, np.arange(20), np.array([20]), level=0.8)[0, 0, 0]), 2) for each in (calm, wild)]
        [0.77, 2.91]
    """
    ahead = np.arange(1, len(start) + 1)
    apart = float(np.median(np.diff(moments))) if len(moments) > 1 else 1.0
    gain = (_GAIN * np.minimum(apart / (ahead + 2), 1.0))[:, None]
    begun = np.log(start)[:, None]
    now = np.repeat(begun, scores.shape[2], axis=1)
    given, done = np.empty_like(scores), np.zeros(len(start), np.int64)  # the factors in force, and what is learnt from
    found = np.empty((len(asked), *now.shape))
    for moment in np.unique(np.concatenate([moments, asked])):
        known = np.searchsorted(moments, moment - ahead, side="right")
        while (new := done < known).any():
            steps = np.flatnonzero(new)
            missed = scores[done[steps], steps] > given[done[steps], steps]
            now[steps] += gain[steps] * (missed - (1 - level))
            done[steps] += 1
        now = np.clip(now, begun - _FARTHEST, begun + _FARTHEST)
        factor = np.exp(now)
        given[moments == moment] = factor
        found[asked == moment] = factor
    return found
