"""How the predictions of a quantity miss."""

from __future__ import annotations

import dataclasses

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure
from danlu.evaluate.rows import Rows

__all__ = ["Residuals", "residuals"]


@dataclasses.dataclass(frozen=True)
class Residuals:
    """The errors ``predicted − true`` of a quantity, in its own unit.

    Attributes:
        bias: their mean; positive when the predictions are too high.
        spread: their standard deviation.
        low, median, high: the 5 %, 50 % and 95 % quantiles: nine of ten errors lie between ``low`` and ``high``.
        largest: the error that is largest in size, and ``row``, where.
    """

    bias: float
    spread: float
    low: float
    median: float
    high: float
    largest: float
    row: int

    def __str__(self) -> str:
        return f"bias {figure(self.bias)}, spread {figure(self.spread)}, nine of ten errors from {figure(self.low)} to {figure(self.high)}"


def residuals(rows: Rows) -> Residuals:
    """The errors of ``rows`` in a few numbers.

    Raises:
        ConfigError: rows of classes.

    Example:
        >>> print(residuals(Rows("regression", np.zeros(101), np.linspace(-1, 3, 101))))
        bias 1, spread 1.166, nine of ten errors from −0.8 to 2.8
    """
    if rows.task != "regression":
        raise ConfigError(f"residuals are of a quantity; these rows are {rows.task}", hint="look at rows.confusion()")
    error = rows.error
    low, median, high = (float(value) for value in np.quantile(error, [0.05, 0.5, 0.95]))
    row = int(np.argmax(np.abs(error)))
    return Residuals(float(error.mean()), float(error.std()), low, median, high, float(error[row]), row)
