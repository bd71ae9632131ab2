"""Forecasts measured at many origins: errors, intervals that account for overlapping windows, and baselines."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import LOSS, MEAN_SQUARE
from danlu.evaluate.intervals import Interval
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.quantiles import QUANTILE_MEASURES, crps, inside, pinball
from danlu.prose import percent

__all__ = [
    "FORECAST_MEASURES",
    "Forecasts",
    "by_step",
    "mase_scale",
    "naive_forecast",
    "ridge_forecast",
    "ridge_weights",
]

_MOST_WINDOWS = 20_000  # that ridge regression learns from
_CHUNK = 1024
_BLOCKS = 400  # that are left out in turn, at most
_FEWEST_BLOCKS = 4
_VAGUE = 0.2  # an interval of a share from here on says little

_OF_ERRORS = register(
    Measure("mse", "MSE (standardised)", False, MEAN_SQUARE),
    Measure("scaled_mae", "MAE (standardised)", False, LOSS),
    Measure("mase", "MASE", False, LOSS),
    Measure("smape", "sMAPE, %", False, LOSS),
)
FORECAST_MEASURES = (*_OF_ERRORS, *QUANTILE_MEASURES)
"""The measures of a forecast, in the order in which they are shown; the last three are of its quantiles."""


@dataclasses.dataclass(frozen=True, eq=False)
class Forecasts(Evidence):
    """Forecasts from many origins, with the true values.

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

    primary: ClassVar[str] = "mse"
    noun: ClassVar[str] = "windows"
    unlike: ClassVar[str] = "the two forecasts are of different windows; expected the same ones in the same order"

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
        - ``pinball``, ``crps``: the quantile loss of the standardised error, the mean over the quantiles, and
          :func:`~danlu.evaluate.quantiles.crps`;
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
            return inside(self.truth, self.bands)
        return (pinball if name == "pinball" else crps)(self.truth, self.bands, self.levels) / spread

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The mean of each measure over the windows that have it."""
        by = np.ones(len(self)) if weights is None else weights
        known = self.names if names is None else names
        return {name: _mean(self._of_windows[name], by) for name in known}

    def _take(self, rows: np.ndarray) -> Self:
        names = ("truth", "prediction", "spread", "naive", "moment")
        bands = None if self.bands is None else self.bands[rows]
        return dataclasses.replace(self, bands=bands, **{name: getattr(self, name)[rows] for name in names})

    def joined(self, others: Sequence[Self], rows: np.ndarray | None = None) -> Self:
        parts = [self, *others]
        if any(each.levels != self.levels or each.truth.shape[1:] != self.truth.shape[1:] for each in parts):
            raise DataError("the forecasts are of different horizons, columns or quantiles; expected the same of all")
        names = ("truth", "prediction", "spread", "naive", "moment")
        bands = None if self.bands is None else np.concatenate([np.asarray(each.bands) for each in parts])
        joined: Any = {name: np.concatenate([getattr(each, name) for each in parts]) for name in names}
        return dataclasses.replace(self, bands=bands, **joined)

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.truth, other.truth) and np.array_equal(self.moment, other.moment)

    @property
    def constant(self) -> bool:
        return bool((np.ptp(self.prediction, axis=0) == 0).all())

    @property
    def names(self) -> tuple[str, ...]:
        """The measures that there are of this forecast."""
        return FORECAST_MEASURES if self.bands is not None else _OF_ERRORS

    @functools.cached_property
    def _of_windows(self) -> dict[str, np.ndarray]:
        return {name: self.of_windows((name,))[:, 0] for name in self.names}

    @functools.cached_property
    def together(self) -> np.ndarray:
        """The block of time of each window: windows of one block share steps, so their errors are not independent.

        A stretch has the origins of twice a window's length in time, and a third root of all for what lasts longer. Series that
        are forecast at the same moment are in the same one.

        Reference: Künsch (1989), "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17.
        """
        moments, place = np.unique(self.moment, return_inverse=True)
        apart = int(np.median(np.diff(moments))) if len(moments) > 1 else 1
        least = max(2 * -(-self.truth.shape[1] // apart), round(len(moments) ** (1 / 3)), 1)
        stretches = min(len(moments) // least, _BLOCKS)
        if stretches < _FEWEST_BLOCKS:
            return np.zeros(len(self), np.int64)
        return np.asarray(place * stretches // len(moments))

    def support(self, name: str) -> float:
        return float(self.together.max() + 1)

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


def coverage_verdict(found: Interval, level: float, what: str = "interval") -> str:
    """Whether an interval (or set) contains the share of true values that it promises: too much is as wrong as too little.

    Args:
        found: the share that it contained, with the interval of that share.
        level: the share that it should contain.
        what: what it is; several are wide or narrow together.

    Example:
        >>> coverage_verdict(Interval(0.97, 0.95, 0.98), 0.8)
        'The 80 % interval contained 97 % of the true values (95 to 98 %): it is wider than it needs to be.'
        >>> coverage_verdict(Interval(0.81, 0.54, 0.96), 0.9)
        'The 90 % interval contained 81 % of the true values (54 to 96 %): as it should, as far as this test can tell.'
    """
    values = "classes" if what == "sets" else "values"
    held = f"The {100 * level:g} % {what} contained {percent(found.value)} of the true {values}"
    it, are, promises = ("it", "is", "promises") if what == "interval" else ("they", "are", "promise")
    wide, narrow = ("larger", "small") if what == "sets" else ("wider", "narrow")
    if not np.isfinite([found.low, found.high]).all():
        return f"{held}; the test is too short to tell how far that is chance."
    held += f" ({100 * found.low:.0f} to {100 * found.high:.0f} %)"
    if found.low > level:
        return f"{held}: {it} {are} {wide} than {it} {'needs' if are == 'is' else 'need'} to be."
    if found.high < level:
        return f"{held}: {it} {are} too {narrow}, and {promises} too much."
    doubt = ", as far as this test can tell" if found.high - found.low > _VAGUE else ""
    return f"{held}: as {it} should{doubt}."


def by_step(forecasts: Forecasts, name: str) -> np.ndarray:
    """A measure at each step of the horizon, ``(horizon,)``."""
    values = forecasts.errors(name)
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=(0, 2)) / np.maximum(known.sum(axis=(0, 2)), 1)


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    known = np.isfinite(values) & (weights > 0)
    return float(weights[known] @ values[known] / weights[known].sum()) if known.any() else float("nan")


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
