"""A fold of cross-validation: a test part that a model is trained without, so that every row is tested once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl

from danlu.data.split import Split, folds, in_time, split_rows
from danlu.errors import ConfigError, DataError, unknown_name

__all__ = ["Fold"]

_APART = 7919  # between the seeds of two repeats


@dataclasses.dataclass(frozen=True)
class Fold:
    """One of ``count`` test parts, which together are all rows.

    Rows divided by time are cut into ``count + 1`` blocks of like size. The first fold is trained on the first block and tested on the
    second, the next one is trained on two blocks and tested on the third, and so on: no model sees what comes after its test rows, and
    the first block is tested by none.

    Attributes:
        number: which, from 0.
        count: how many folds there are.
        repeat: which division into folds, from 0; each is drawn anew.

    Reference:
        Stone, "Cross-validatory choice and assessment of statistical predictions" (1974), JRSS B 36; for blocks of time Tashman,
        "Out-of-sample tests of forecasting accuracy" (2000), International Journal of Forecasting 16 (a rolling origin).

    Example:
        >>> [Fold(number, 5).split(20, method="random", validation=0.2).sizes for number in range(2)]
        [(12, 4, 4), (12, 4, 4)]
    """

    number: int
    count: int
    repeat: int = 0

    def split(
        self,
        source: pl.DataFrame | int,
        *,
        method: str = "stratified",
        column: str | None = None,
        target: str | None = None,
        task: str | None = None,
        validation: float = 0.15,
        seed: int = 0,
        together: np.ndarray | None = None,
    ) -> Split:
        """The rows divided as :func:`~danlu.data.split_rows` does (arguments as there), with this fold as the test part.

        Args:
            validation: share of *all* rows, taken from those that are not in the fold; at most half of them.

        Raises:
            DataError: too few rows, groups or moments for as many folds.
            ConfigError: a way of dividing that has its own test part.
        """
        if method == "column":
            raise ConfigError(
                "split.method=column says itself which rows are the test, and folds test every row",
                hint="leave out the folds, or use split.method=stratified, random, group or time",
            )
        if method == "time":
            if not isinstance(source, pl.DataFrame) or column is None:
                raise ConfigError("folds by time need a column of times", hint="name it: split.column=NAME")
            if column not in source.columns:
                raise unknown_name("column", column, source.columns, error=DataError)
            return self._by_time(source[column], validation)
        if method == "group" and column is None:
            raise ConfigError("splitting by group needs a column", hint="name it: split.column=NAME")
        if method != "stratified":
            target = None
        rows = source if isinstance(source, int) else source.height
        if self.count > rows:
            raise DataError(f"{rows} rows are too few for {self.count} folds", hint="use fewer folds")
        drawn = (seed + _APART * self.repeat) % 2**32
        fold = folds(
            source,
            self.count,
            target=None if method == "group" else target,
            task=task,
            group=column if method == "group" else None,
            seed=drawn,
            together=None if method == "group" else together,
        )[self.number]
        rest = fold.train
        known = source[rest] if isinstance(source, pl.DataFrame) else len(rest)
        inner = split_rows(
            known,
            method=method,
            column=column,
            target=target,
            task=task,
            validation=self._share(validation, len(fold.test), len(fold.test) + len(rest)),
            test=0.0,
            seed=seed,
            together=None if together is None else np.unique(together[rest], return_inverse=True)[1],
        )
        return Split(rest[inner.train], rest[inner.validation], fold.test, self._told(fold.description))

    def _by_time(self, values: pl.Series, validation: float) -> Split:
        order, moments = in_time(values)
        rows = len(order)

        def start(place: int) -> int:
            """The first row of the moment that a place falls in: what is of one moment is in one part."""
            return int(np.searchsorted(moments, moments[min(place, rows - 1)]))

        edges = [start(rows * (number + 1) // (self.count + 1)) for number in range(self.count)] + [rows]
        if edges[0] < 2 or len(set(edges)) < len(edges):
            raise DataError(
                f"column {values.name!r} has too few different moments for {self.count} folds by time",
                hint="use fewer folds, or draw the folds at random: split.method=stratified",
            )
        first, last = edges[self.number], edges[self.number + 1]
        share = self._share(validation, last - first, last)
        cut = first - max(round(first * share), 1) if validation > 0 else first
        cut = start(cut) or cut if cut < first else first
        told = f"in the order of {values.name}: trained on what came before"
        return Split(order[:cut], order[cut:first], order[first:last], self._told(told))

    @staticmethod
    def _share(validation: float, tested: int, rows: int) -> float:
        """The share of the rows that are not tested which ``validation`` of all rows is."""
        return min(validation * rows / max(rows - tested, 1), 0.5)

    def _told(self, how: Any) -> str:
        again = f" (division {self.repeat + 1})" if self.repeat else ""
        how = str(how).partition(", ")[2] if str(how).startswith("fold ") else how
        return f"fold {self.number + 1} of {self.count}{again}, {how}"
