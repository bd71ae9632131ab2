"""Forecasts measured at many origins: errors, intervals that know that windows overlap, and what a forecast has to beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.evaluate.bootstrap import Interval, quantiles
from danlu.evaluate.compare import Comparison, compared
from danlu.evaluate.measures import MEASURES

__all__ = [
    "FORECAST_MEASURES",
    "Forecasts",
    "block_bootstrap",
    "by_step",
    "compare_forecasts",
    "forecast_scores",
    "mase_scale",
    "naive_forecast",
    "ridge_forecast",
    "ridge_weights",
]

_MOST_WINDOWS = 20_000  # that ridge regression learns from
_CHUNK = 1024

FORECAST_MEASURES = ("mse", "scaled_mae", "mase", "smape", "pinball", "coverage")
"""The measures of a forecast, in the order in which they are shown; the last two are of its quantiles."""


@dataclasses.dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts from many origins, with what came.

    Attributes:
        truth, prediction: ``(windows, horizon, channels)``, in the series' own units.
        spread: ``(windows, channels)``: what an error is divided by to be standardised, the training part's standard deviation.
        naive: ``(windows, channels)``: the error of the seasonal naive forecast one step ahead in training, see
            :func:`mase_scale`.
        moment: ``(windows,)``: the step of each origin; series that are forecast at the same moment have the same one.
        levels: the quantiles that are forecast, growing.
        bands: ``(windows, horizon, channels, quantiles)``, or None.
    """

    truth: np.ndarray
    prediction: np.ndarray
    spread: np.ndarray
    naive: np.ndarray
    moment: np.ndarray
    levels: tuple[float, ...] = ()
    bands: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.truth.shape != self.prediction.shape or self.truth.ndim != 3 or not self.truth.size:
            raise DataError(
                f"forecasts of shape {self.prediction.shape} for values of shape {self.truth.shape}; expected "
                "(windows, horizon, channels) of both, and some"
            )

    def __len__(self) -> int:
        return len(self.truth)

    def errors(self, name: str) -> np.ndarray:
        """A measure's value of each number forecast, ``(windows, horizon, channels)``; NaN where it has none.

        - ``mse``, ``scaled_mae``: ``(e/s)²`` and ``|e|/s`` with the error ``e`` and the ``spread`` ``s``;
        - ``mase``: ``|e|`` over the naive error;
        - ``smape``: ``200·|e|/(|y| + |ŷ|)``, 0 where both are 0;
        - ``pinball``: the quantile loss of the standardised error, the mean over the quantiles;
        - ``coverage``: 1 inside the first to the last quantile, else 0.

        Reference: Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", International Journal of
        Forecasting 22, for MASE; Makridakis et al. (2020), "The M4 competition", section 2, for sMAPE.
        """
        error, spread = self.prediction - self.truth, self.spread[:, None]
        if name == "mse":
            return np.square(error / spread)
        if name == "scaled_mae":
            return np.abs(error) / spread
        if name == "mase":
            return np.abs(error) / np.where(self.naive > 0, self.naive, np.nan)[:, None]
        if name == "smape":
            size = np.abs(self.truth) + np.abs(self.prediction)
            return 200 * np.abs(error) / np.where(size > 0, size, 1)
        if self.bands is None:
            raise ConfigError(f"{name} is a measure of quantiles, and this forecast has none")
        if name == "coverage":
            return ((self.truth >= self.bands[..., 0]) & (self.truth <= self.bands[..., -1])).astype(np.float64)
        below = (self.truth[..., None] - self.bands) / spread[..., None]
        q = np.array(self.levels)
        return np.maximum(q * below, (q - 1) * below).mean(axis=-1)

    def measures(self) -> tuple[str, ...]:
        """The measures that there are of this forecast."""
        return FORECAST_MEASURES if self.bands is not None else FORECAST_MEASURES[:4]

    def of_windows(self, names: tuple[str, ...]) -> np.ndarray:
        """The mean of each measure over each window, ``(windows, names)``; NaN where a window has no value."""
        columns = []
        for name in names:
            values = self.errors(name)
            known = np.isfinite(values)
            total = np.where(known, values, 0).sum(axis=(1, 2))
            count = known.sum(axis=(1, 2))
            columns.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        return np.stack(columns, axis=1)


def mase_scale(values: np.ndarray, season: int) -> np.ndarray:
    """``mean |x_t − x_{t−season}|`` of each column of training values ``(steps, columns)``; 0 without two seasons' values.

    Example:
        >>> mase_scale(np.array([[1.0], [2.0], [4.0], [5.0]]), 2).tolist()
        [3.0]
    """
    if len(values) <= season:
        return np.zeros(values.shape[1])
    return np.abs(values[season:] - values[:-season]).mean(axis=0)


def block_bootstrap(
    per_window: np.ndarray, moment: np.ndarray, *, block: int, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Means of resamples, ``(resamples, measures)``, that keep neighbouring windows together.

    Windows whose origins lie near each other share most of their steps, so their errors are not independent: resampling single
    windows would give intervals far too narrow. Here stretches of ``block`` successive origins are drawn, with the ends of
    the time joined to a circle so that each origin counts alike; windows of the same moment (other series) stay together.

    Args:
        per_window: ``(windows, measures)``; NaN is left out of its mean.
        moment: ``(windows,)``, the order in time.
        block: origins of a stretch, at least as many as a window has steps.

    Returns:
        NaN everywhere when there are fewer than three stretches: there is nothing to tell how far the result varies.

    Reference: Politis & Romano (1992), "A circular block-resampling procedure for stationary data"; Künsch (1989), Annals of
    Statistics 17.
    """
    if resamples < 10:
        raise ConfigError(f"resamples is {resamples}; expected at least 10")
    moments, place = np.unique(moment, return_inverse=True)
    count = len(moments)
    if count < 3 * block:
        return np.full((resamples, per_window.shape[1]), np.nan)
    known = np.isfinite(per_window)
    sums = np.zeros((2, count, per_window.shape[1]))
    np.add.at(sums[0], place, np.where(known, per_window, 0))
    np.add.at(sums[1], place, known)
    # Prefix sums over the circle: the sum of a stretch is a difference of two.
    ends = np.concatenate(
        [np.zeros((2, 1, sums.shape[2])), np.cumsum(np.concatenate([sums, sums[:, :block]], axis=1), axis=1)], axis=1
    )
    starts = np.random.default_rng(seed).integers(count, size=(resamples, -(-count // block)))
    total = (ends[:, starts + block] - ends[:, starts]).sum(axis=2)
    return np.where(total[1] > 0, total[0] / np.maximum(total[1], 1), np.nan)


def _block(forecasts: Forecasts) -> int:
    """Origins of a stretch: those of a window's length in time, and a third root of all for what lasts longer."""
    moments = np.unique(forecasts.moment)
    apart = int(np.median(np.diff(moments))) if len(moments) > 1 else 1
    return max(-(-forecasts.truth.shape[1] // apart), round(len(moments) ** (1 / 3)), 1)


def forecast_scores(forecasts: Forecasts, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Every measure with its 95 % interval by :func:`block_bootstrap`, in blocks of the horizon.

    Example:
        >>> truth = np.zeros((400, 2, 1))
        >>> found = Forecasts(truth, truth + 1, np.ones((400, 1)), np.full((400, 1), 2.0), np.arange(400))
        >>> str(forecast_scores(found)["mase"])
        '0.5 (0.5 to 0.5)'
    """
    names = forecasts.measures()
    values = forecasts.of_windows(names)
    drawn = block_bootstrap(values, forecasts.moment, block=_block(forecasts), resamples=resamples, seed=seed)
    means = {name: _mean(values[:, index]) for index, name in enumerate(names)}
    return {
        name: Interval(mean, *quantiles(drawn[:, index], 0.95))
        for index, (name, mean) in enumerate(means.items())
        if np.isfinite(mean)
    }


def compare_forecasts(
    ours: Forecasts, theirs: Forecasts, label: str, *, metric: str = "mse", resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Ours beside another forecast of the same windows: the block bootstrap of the difference.

    Raises:
        DataError: forecasts of other windows.
    """
    if not np.array_equal(ours.truth, theirs.truth) or not np.array_equal(ours.moment, theirs.moment):
        raise DataError("the two forecasts are of different windows; expected the same ones in the same order")
    both = [each.of_windows((metric,)) for each in (ours, theirs)]
    drawn = block_bootstrap(both[0] - both[1], ours.moment, block=_block(ours), resamples=resamples, seed=seed)
    values = [_mean(each[:, 0]) for each in both]
    found = compared(MEASURES[metric], values[0], values[1], quantiles(drawn[:, 0], 0.95), label)
    if np.isfinite(drawn).any():
        return found
    figures = f"{MEASURES[metric].label} {values[0]:.3g} and {values[1]:.3g}"
    few = f"{len(np.unique(ours.moment)):,} origins are too few to tell them apart"
    return dataclasses.replace(found, sentence=f"The network and {label}: {figures}; {few}.")


def by_step(forecasts: Forecasts, name: str) -> np.ndarray:
    """A measure at each step of the horizon, ``(horizon,)``: the further, the harder."""
    values = forecasts.errors(name)
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def naive_forecast(past: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    """The last value (``season`` 1), or the last season over and over: ``ŷ_{t+h} = x_{t+h−season·k}``.

    Args:
        past: ``(windows, context, channels)``, the context at least a season long.

    Example:
        >>> naive_forecast(np.array([[[1.0], [2.0], [3.0]]]), 3, 2)[0, :, 0].tolist()
        [2.0, 3.0, 2.0]
    """
    if not 1 <= season <= past.shape[1]:
        raise ConfigError(f"the season is {season} steps and the context {past.shape[1]}; expected 1 up to the context")
    return past[:, past.shape[1] - season + np.arange(horizon) % season]


def ridge_weights(train: Any, *, targets: int, alphas: Sequence[float] = (1.0,)) -> list[np.ndarray]:
    """Ridge regression of each step ahead on the window's values less their mean, the same for all channels.

    ``W = argmin Σ ‖y − μ − (x − μ)·W‖² + α·‖W‖²`` with ``μ`` the mean of the window ``x``, from the normal equations.

    Args:
        train: windows with ``inputs(rows)``, ``outputs(rows)`` and a length; see :class:`danlu.data.series.Windows`. Of more
            than 20,000 as many are taken, evenly.
        targets: columns of the windows that are channels, the first ones.
        alphas: each ``α``, above 0, for values of about 1.

    Returns:
        ``W (context, horizon)`` float64 for each ``α``.
    """
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MOST_WINDOWS)).round().astype(np.int64)
    gram: Any = 0.0
    cross: Any = 0.0
    for low in range(0, len(chosen), _CHUNK):
        x, y = train.inputs(chosen[low : low + _CHUNK]), train.outputs(chosen[low : low + _CHUNK])
        x, y = _rows(x["past"] if isinstance(x, Mapping) else x, targets), _rows(y, targets)
        mean = x.mean(axis=1, keepdims=True)
        x, y = x - mean, y - mean
        gram = gram + (x.T @ x).astype(np.float64)
        cross = cross + (x.T @ y).astype(np.float64)
    return [np.linalg.solve(gram + alpha * np.eye(len(gram)), cross) for alpha in alphas]


def ridge_forecast(weights: np.ndarray, past: np.ndarray, *, targets: int) -> np.ndarray:
    """``μ + (x − μ)·W`` for windows ``past (windows, context, columns)``, whose first ``targets`` columns are channels.

    Args:
        weights: one of :func:`ridge_weights`.

    Returns:
        ``(windows, horizon, targets)``.
    """
    x = _rows(past, targets)
    mean = x.mean(axis=1, keepdims=True)
    found = mean + (x - mean) @ weights.astype(x.dtype)
    return found.reshape(len(past), targets, -1).swapaxes(1, 2)


def _rows(windows: np.ndarray, targets: int) -> np.ndarray:
    """``(windows · targets, steps)``."""
    return np.ascontiguousarray(windows[:, :, :targets].swapaxes(1, 2).reshape(-1, windows.shape[1]))
