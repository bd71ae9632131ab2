"""Windows of series: the last steps as a network's input, the next ones as its target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from danlu.data.series.read import SeriesTable
from danlu.errors import DataError

__all__ = ["WindowStream", "Windows", "cut_by_time"]

_STREAM_BYTES = 1 << 28  # of windows that lie in memory at once; more are gathered chunk by chunk


def cut_by_time(table: SeriesTable, validation: float, test: float) -> tuple[int, int]:
    """The steps at which validation and test begin: the same moments for all series, so that none is seen ahead of another.

    Args:
        validation, test: their shares of the rows.

    Returns:
        Steps of the table's calendar, the second at most one after the last step where ``test`` is 0.
    """
    moments = np.sort(np.concatenate([np.arange(each.start, each.start + each.steps) for each in table.series]))
    rows = len(moments)
    ends = rows - round(rows * test) - round(rows * validation), rows - round(rows * test)
    padded = np.append(moments, moments[-1] + 1)
    return int(padded[ends[0]]), int(padded[ends[1]])


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Windows by their origins: the step after the context, the first of the target. Gathered only when asked for.

    Attributes:
        values: of each series, ``(steps, columns)`` float32: targets, observed, known.
        context, horizon: steps of the input and of the target.
        targets, known: how many columns of each there are.
        index: ``(windows, 2)``: the series, and the origin as a row of its values.
    """

    values: tuple[np.ndarray, ...]
    context: int
    horizon: int
    targets: int
    known: int
    index: np.ndarray

    @classmethod
    def find(
        cls,
        table: SeriesTable,
        values: tuple[np.ndarray, ...],
        *,
        context: int,
        horizon: int,
        start: int | None = None,
        stop: int | None = None,
    ) -> Windows:
        """All windows whose target lies in the steps ``start`` to ``stop``; the context may lie before them.

        Windows with a filled value in the target are left out: it was never measured.
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
        columns = table.columns
        return cls(
            values, context, horizon, len(columns.targets), len(columns.known), np.concatenate(index).astype(np.int64)
        )

    def __len__(self) -> int:
        return len(self.index)

    @property
    def in_shape(self) -> Any:
        """The shape of one input."""
        past = (self.context, self.values[0].shape[1] - self.known)
        return {"past": past, "known": (self.context + self.horizon, self.known)} if self.known else past

    @property
    def bytes(self) -> int:
        """What all windows would take, gathered."""
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

    def take(self, rows: np.ndarray) -> Windows:
        """Some of the windows."""
        return dataclasses.replace(self, index=self.index[rows])

    def arrays(self) -> tuple[Any, np.ndarray]:
        """Inputs and targets of all windows."""
        return self.inputs(), self.outputs()

    def for_training(self, seed: int) -> Any:
        """What :func:`danlu.fit` learns from: arrays, or a stream of chunks where the arrays would be very large."""
        return self.arrays() if self.bytes <= _STREAM_BYTES else WindowStream(self, seed)


@dataclasses.dataclass(frozen=True, eq=False)
class WindowStream:
    """Windows in shuffled chunks, for :func:`danlu.fit`: the series lie in memory once, and of the windows one chunk does.

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
