"""The length of a series' season, from its autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["autocorrelation", "find_season"]

_LEAST = 0.25  # a peak below it is no season
_LEAST_OF_DIFFERENCES = 0.1  # which are noisier, and have no slow ups and downs that look like one
_DEPTH = 0.1  # by which the autocorrelation falls before it rises to the peak
_NEAR = 0.9  # of the highest peak: the first peak so high is the season, those after it are its multiples
_LONGEST = 1000


def autocorrelation(values: np.ndarray, most: int) -> np.ndarray:
    """``r_0 … r_most`` of ``(steps,)``, after a straight line has been taken off: ``r_k = Σ x_t·x_{t+k} / Σ x_t²``.

    Reference: Box & Jenkins (1970), "Time Series Analysis", section 2.1.5.

    Example:
        >>> autocorrelation(np.tile([1.0, -1.0], 50), 2).round(2).tolist()
        [1.0, -0.99, 0.98]
    """
    steps = np.arange(len(values))
    centred = values - np.polyval(np.polyfit(steps, values, 1), steps)
    size = 1 << (2 * len(values) - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    found = np.fft.irfft(power, size)[: most + 1]
    return found / found[0] if found[0] > 1e-12 * max(float(np.sum(values**2)), 1e-300) else np.zeros(most + 1)


def find_season(columns: Sequence[np.ndarray]) -> int:
    """The steps of a season: the first high peak of the mean autocorrelation of ``columns``; 1 without one.

    Where slow ups and downs leave no peak, the autocorrelation of the differences from step to step is asked.

    Example:
        >>> find_season([np.sin(2 * np.pi * np.arange(300) / 12)])
        12
    """
    columns = [each for each in columns if len(each) >= 6]
    if not columns:
        return 1
    return _first_peak(columns, _LEAST) or _first_peak([np.diff(each) for each in columns], _LEAST_OF_DIFFERENCES) or 1


def _first_peak(columns: Sequence[np.ndarray], least_height: float) -> int | None:
    count = min(map(len, columns))
    most = min(_LONGEST, count // 3)
    height = max(least_height, 4 / np.sqrt(count))  # noise of n values reaches 3.5/√n in some of its lags
    r = np.mean([autocorrelation(each, most + 1) for each in columns], axis=0)
    lags = np.arange(1, most + 1)
    least = np.minimum.accumulate(r[:-1])[lags - 1]
    peak = (r[lags] >= r[lags - 1]) & (r[lags] > r[lags + 1]) & (r[lags] >= height) & (r[lags] - least >= _DEPTH)
    peaks = lags[peak & (lags > 1)]
    return int(peaks[r[peaks] >= _NEAR * r[peaks].max()][0]) if len(peaks) else None
