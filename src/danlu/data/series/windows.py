"""Windows of series: the last steps as a network's input, the next ones as its target."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.data.fold import Fold
from danlu.data.series.read import SeriesTable
from danlu.errors import DataError

__all__ = ["Origins", "WindowStream", "Windows", "cut_by_fold", "cut_by_time"]

_STREAM_BYTES = 1 << 28  # of windows that lie in memory at once; more are gathered chunk by chunk


def cut_by_time(table: SeriesTable, validation: float, test: float) -> tuple[int, int]:
    """The steps at which validation and test begin: the same times for all series, so that none is seen ahead of another.

    Args:
        validation, test: their shares of the rows.

    Returns:
        Steps of the table's calendar, the second at most one after the last step where ``test`` is 0.
    """
    moments = _moments(table)
    rows = len(moments)
    ends = rows - round(rows * test) - round(rows * validation), rows - round(rows * test)
    padded = np.append(moments, moments[-1] + 1)
    return int(padded[ends[0]]), int(padded[ends[1]])


def cut_by_fold(table: SeriesTable, fold: Fold, validation: float) -> tuple[int, int, int]:
    """The steps at which a fold's validation and test begin, and at which its test ends: a rolling origin with a growing past.

    Args:
        validation: share of the rows, taken from the end of what comes before the test.

    Raises:
        DataError: too few steps for as many folds.
    """
    moments = _moments(table)
    split = fold.split(pl.DataFrame({"time": moments}), method="time", column="time", validation=validation)
    ends = np.cumsum(split.sizes)
    padded = np.append(moments, moments[-1] + 1)
    return int(padded[ends[0]]), int(padded[ends[1]]), int(padded[ends[2]])


def _moments(table: SeriesTable) -> np.ndarray:
    """The step of the calendar of each row of all series, sorted."""
    return np.sort(np.concatenate([np.arange(each.start, each.start + each.steps) for each in table.series]))


@dataclasses.dataclass(frozen=True, eq=False)
class Origins:
    """Rows of series: the first steps of forecasts. The steps before one are its past.

    Attributes:
        table: the series.
        index: ``(rows, 2)``: the number of a series, and the step as a row of its values.
        apart: how many neighbouring origins one stands for, where there are too many.
    """

    table: SeriesTable
    index: np.ndarray
    apart: int = 1

    @classmethod
    def find(
        cls, table: SeriesTable, *, context: int, horizon: int, start: int | None = None, stop: int | None = None
    ) -> Origins:
        """All origins whose target lies in the steps ``start`` to ``stop``; the context may lie before them.

        Those with a filled value in the target are left out: it was never measured.
        """
        index = []
        for number, each in enumerate(table.series):
            low = max(context, -each.start + (each.start if start is None else start))
            high = min(each.steps, each.steps if stop is None else stop - each.start) - horizon
            origins = np.arange(low, high + 1)
            if len(origins):
                bad = np.concatenate([[0], np.cumsum(each.filled)])
                origins = origins[bad[origins + horizon] == bad[origins]]
            index.append(np.stack([np.full(len(origins), number), origins], axis=1))
        return cls(table, np.concatenate(index).astype(np.int64))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def moments(self) -> np.ndarray:
        """The step of the calendar that each forecast begins with, ``(rows,)``."""
        starts = np.array([each.start for each in self.table.series])
        found: np.ndarray = starts[self.index[:, 0]] + self.index[:, 1]
        return found

    @property
    def noun(self) -> str:
        """The description of a test's forecasts."""
        return f"forecasts, from each {self.apart}th step" if self.apart > 1 else "forecasts, from each step"

    def take(self, rows: np.ndarray) -> Self:
        """Some of them."""
        return dataclasses.replace(self, index=self.index[rows])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Windows(Origins):
    """Scaled windows: the context before each origin, and the target from it on. Gathered only on demand.

    Attributes:
        values: of each series, ``(steps, columns)`` float32, scaled: targets, observed, known.
        mean, scale: ``(series, columns)``: what they were scaled by.
        places: ``(series,)``: the number of each in its encoder, −1 where that does not know it.
        context, horizon: steps of the input and of the target.
    """

    values: tuple[np.ndarray, ...]
    mean: np.ndarray
    scale: np.ndarray
    places: np.ndarray
    context: int
    horizon: int

    @property
    def targets(self) -> int:
        """How many columns are forecast."""
        return len(self.table.columns.targets)

    @property
    def known(self) -> int:
        """How many columns are known ahead."""
        return len(self.table.columns.known)

    @property
    def spread(self) -> np.ndarray:
        """The scale of the targets of each window, ``(windows, targets)``."""
        return self.scale[self.index[:, 0], : self.targets]

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Forecasts ``(windows, horizon, targets, ...)`` in the targets' own units, float64."""
        shape = (len(values), 1, self.targets) + (1,) * (values.ndim - 3)
        mean = self.mean[self.index[:, 0], : self.targets]
        return np.asarray(values, np.float64) * self.spread.reshape(shape) + mean.reshape(shape)

    @property
    def bytes(self) -> int:
        """The memory that all windows would take, gathered."""
        steps = self.context + self.horizon
        return 4 * len(self) * (steps * self.values[0].shape[1] + steps * self.known)

    def inputs(self, rows: np.ndarray | slice = slice(None)) -> Any:
        """The inputs ``(rows, context, targets + observed)`` of some windows, in a dict with ``"known"`` where there is some."""
        plain = self.values[0].shape[1] - self.known
        past = self._gather(self.index[rows], -self.context, self.context, slice(plain))
        if not self.known:
            return past
        both = self._gather(self.index[rows], -self.context, self.context + self.horizon, slice(plain, None))
        return {"past": past, "known": both}

    def past(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The targets' own past ``(rows, context, targets)``, which simple forecasts are made from."""
        return self._gather(self.index[rows], -self.context, self.context, slice(self.targets))

    def outputs(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The targets ``(rows, horizon, targets)`` of some windows."""
        return self._gather(self.index[rows], 0, self.horizon, slice(self.targets))

    def _gather(self, index: np.ndarray, offset: int, length: int, columns: slice) -> np.ndarray:
        width = self.values[0][:, columns].shape[1]
        result = np.empty((len(index), length, width), np.float32)
        for number in np.unique(index[:, 0]):
            chosen = np.flatnonzero(index[:, 0] == number)
            # A view: one row for each start, without copying anything until the rows are chosen.
            view = np.lib.stride_tricks.sliding_window_view(self.values[number][:, columns], length, axis=0)
            result[chosen] = view[index[chosen, 1] + offset].swapaxes(1, 2)
        return result

    def joined(self, other: Windows) -> Windows:
        """These and other windows of the same series."""
        return dataclasses.replace(self, index=np.concatenate([self.index, other.index]))

    def thinned(self, numbers: float) -> Windows:
        """An even sample of the windows, with about this many numbers to forecast."""
        apart = math.ceil(len(self) * self.horizon * self.targets / numbers)
        return self if apart < 2 else dataclasses.replace(self, index=self.index[::apart], apart=self.apart * apart)

    def arrays(self) -> tuple[Any, np.ndarray]:
        """Inputs and targets of all windows."""
        return self.inputs(), self.outputs()

    def for_training(self, seed: int) -> Any:
        """The data for :func:`danlu.fit`: arrays, or a stream of chunks if the arrays would be very large."""
        return self.arrays() if self.bytes <= _STREAM_BYTES else WindowStream(self, seed)


@dataclasses.dataclass(frozen=True, eq=False)
class WindowStream:
    """Windows in shuffled chunks, for :func:`danlu.fit`: the series are in memory once, and only one chunk of windows is.

    Args:
        windows: what is streamed.
        seed: decides which windows come in which chunk; with the epoch, so that a resumed run sees the same.
        rows: windows of a chunk; None takes as many as fit in 64 MiB.
    """

    windows: Windows
    seed: int
    rows: int | None = None

    def chunks(self, epoch: int, start: int) -> Iterator[dict[str, Any]]:
        """Dicts of ``"x"``, ``"y"`` and ``"weight"``, from chunk ``start`` of ``epoch`` on."""
        count = len(self.windows)
        if not count:
            raise DataError("there are no windows to learn from")
        each = self.rows or max(1, (1 << 26) // (self.windows.bytes // count))
        order = np.random.default_rng([self.seed, epoch, 7]).permutation(count)
        for chunk in range(start, -(-count // each)):
            rows = order[chunk * each : (chunk + 1) * each]
            yield {
                "x": self.windows.inputs(rows),
                "y": self.windows.outputs(rows),
                "weight": np.ones(len(rows), np.float32),
            }
