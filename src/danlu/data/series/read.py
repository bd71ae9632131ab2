"""Reads a table with a time column as series on an even grid of steps, with a note for every repair."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.format import Format, read_columns
from danlu.data.read import read_table
from danlu.data.series.calendar import Calendar
from danlu.errors import DataError, SchemaError, unknown_name
from danlu.prose import percent

__all__ = ["Columns", "OneSeries", "SeriesTable", "find_columns", "read_series"]

_MOST_FILLED = 0.3  # share of the steps that may be missing


@dataclasses.dataclass(frozen=True)
class Columns:
    """The roles of the columns of a table of series.

    Attributes:
        targets: to be forecast.
        time: when.
        observed: known up to now only.
        known: whose future is known.
        series: the name of the series that a row belongs to, or None.
    """

    targets: tuple[str, ...]
    time: str
    observed: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    series: str | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """The columns of numbers, in the order of :attr:`OneSeries.values`."""
        return (*self.targets, *self.observed, *self.known)

    @property
    def every(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (*self.values, self.time, *([self.series] if self.series else []))


@dataclasses.dataclass(frozen=True, eq=False)
class OneSeries:
    """One series, without gaps.

    Attributes:
        name: its name; "" where there is only one.
        start: the step of its first row, see :class:`~danlu.data.series.Calendar`.
        values: ``(steps, columns)`` float64; targets and observed columns are NaN after ``steps``.
        filled: ``(steps,)``: where a target was missing and is the value before, which nothing is measured on.
        steps: rows up to the last one with a target; those after it hold known columns only.
    """

    name: str
    start: int
    values: np.ndarray
    filled: np.ndarray
    steps: int


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesTable:
    """What :func:`read_series` returns.

    Attributes:
        columns: what the columns are for.
        calendar: the grid of steps.
        series: each series.
        notices: what was repaired or assumed.
        formats: how the texts of the columns are written.
    """

    columns: Columns
    calendar: Calendar
    series: tuple[OneSeries, ...]
    notices: tuple[str, ...] = ()
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return sum(each.steps for each in self.series)


def find_columns(
    frame: pl.DataFrame,
    targets: Sequence[str],
    *,
    time: str | None = None,
    observed: Sequence[str] = (),
    known: Sequence[str] = (),
    series: str | None = None,
) -> Columns:
    """The columns by name, checked; ``("all",)`` are all numeric columns without another role.

    Raises:
        DataError: unknown columns, columns named twice, no column of date-times, or columns that are not numbers.

    Example:
        >>> find_columns(pl.DataFrame({"t": [1, 2], "a": [0.1, 0.2], "b": [0.3, 0.4]}), ["all"], time="t").targets
        ('a', 'b')
    """
    for name in (*(each for each in targets if each != "all"), *observed, *known, *filter(None, (time, series))):
        if name not in frame.columns:
            raise unknown_name("column", name, frame.columns, error=DataError)
    if time is None:
        moments = [name for name in frame.columns if frame[name].dtype == pl.Datetime]
        if len(moments) != 1:
            found = f"{len(moments)}: {', '.join(moments)}" if moments else "none"
            raise DataError(
                f"a forecast needs one time column, and the data has {found}",
                hint="name it: --time COLUMN; it may hold date-times or whole numbers",
            )
        time = moments[0]
    if frame[time].dtype != pl.Datetime and not frame[time].dtype.is_integer():
        first = frame[time].drop_nulls().head(1).to_list()
        held = f"texts such as {first[0]!r}" if first and isinstance(first[0], str) else str(frame[time].dtype)
        raise DataError(
            f"the time column {time!r} holds {held}; expected date-times or whole numbers",
            hint="all dates of a column are written in one way, such as 2024-12-31 23:00 or 31.12.2024",
        )
    taken = {time, series, *observed, *known}
    if tuple(targets) == ("all",):
        targets = [name for name in frame.columns if name not in taken and frame[name].dtype.is_numeric()]
    named = [*targets, *observed, *known, time, *([series] if series else [])]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice or not targets:
        raise DataError(
            f"the columns {', '.join(twice)} are named for two purposes; expected one for each"
            if twice
            else "there is no numeric column to forecast"
        )
    for name in (*targets, *observed, *known):
        if not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean):
            raise DataError(
                f"the column {name!r} holds {frame[name].dtype}; a series is made of numbers",
                hint="leave it out, or turn it into numbers or true and false first",
            )
    return Columns(tuple(targets), time, tuple(observed), tuple(known), series)


def read_series(
    source: Any,
    columns: Columns | Sequence[str],
    *,
    calendar: Calendar | None = None,
    formats: Mapping[str, Format] | None = None,
    **names: Any,
) -> SeriesTable:
    """Read the series of a table.

    Rows are sorted by time. Rows that come twice, and alike, count once. Missing steps and values are filled with
    the value before, and remembered. Rows at the end that lack every target, where known columns have values, are the future.

    Args:
        source: a file or frame, see :func:`~danlu.data.read_table`.
        columns: what the columns are for, or the names of those to forecast (the others by ``**names``, see
            :func:`find_columns`).
        calendar: the grid to be on; None finds it.
        formats: how the texts of the columns are written; None finds it out.

    Raises:
        DataError: no such columns, moments twice with different values, uneven steps, or more than 30 % of the steps missing.

    Example:
        >>> table = read_series({"t": [3, 1, 2, 5], "y": [3.0, 1.0, 2.0, 5.0]}, ["y"], time="t")
        >>> table.series[0].values[:, 0].tolist(), table.series[0].filled.tolist()
        ([1.0, 2.0, 3.0, 3.0, 5.0], [False, False, False, True, False])
    """
    read = read_table(source, typed=not formats)
    if formats:
        frame, problems = read_columns(read.frame, formats)
        if problems:
            raise SchemaError(next(iter(problems.values())), hint="write it as in the training data")
        read = dataclasses.replace(read, frame=frame, formats=formats)
    if not isinstance(columns, Columns):
        columns = find_columns(read.frame, columns, **names)
    notices = list(read.notices)
    parts = []
    for name, frame in _by_series(_sorted(read.frame, columns, notices), columns):
        part = _without_copies(frame, columns, name)
        parts.append((name, part))
    copies = read.frame.height - sum(part.height for _, part in parts)
    if copies:
        notices.append(f"{copies:,} {'row is' if copies == 1 else 'rows are'} repeated; each counts once")
    if calendar is None:
        calendar = Calendar.fit([part[columns.time] for _, part in parts], columns.time)
    series = tuple(_on_grid(name, part, columns, calendar) for name, part in parts)
    steps, filled = sum(each.steps for each in series), sum(int(each.filled.sum()) for each in series)
    if filled > _MOST_FILLED * steps:
        raise DataError(
            f"{filled:,} of {steps:,} steps of {calendar} are missing; expected at most {percent(_MOST_FILLED)}",
            hint="the true steps may be longer: aggregate the rows to longer steps first",
        )
    if filled:
        notices.append(
            f"{filled:,} of {steps:,} steps of {calendar} lack a row or a value of the columns to forecast; they are filled with the value "
            "before, and forecasts of them are not used for training or scores"
        )
    formats = {name: read.formats[name] for name in columns.every if name in read.formats}
    return SeriesTable(columns, calendar, series, tuple(notices), formats)


def _sorted(frame: pl.DataFrame, columns: Columns, notices: list[str]) -> pl.DataFrame:
    keys = [*([columns.series] if columns.series else []), columns.time]
    lost = frame.select(pl.any_horizontal(pl.col(keys).is_null())).to_series()
    if lost.any():
        raise DataError(
            f"{int(lost.sum()):,} rows have no value in {' or '.join(map(repr, keys))}; the first is row {int(lost.arg_true()[0]) + 1}"
        )
    frame = frame.select([*keys, *columns.values]).with_columns(
        pl.col(list(columns.values)).cast(pl.Float64).fill_nan(None)
    )
    for name in columns.values:
        if frame[name].is_infinite().any():
            raise DataError(f"the column {name!r} holds infinite values; expected finite numbers")
    if columns.series:
        frame = frame.with_columns(pl.col(columns.series).cast(pl.String))
    result = frame.sort(keys, maintain_order=True)
    if columns.series is None and not result[columns.time].equals(frame[columns.time]):
        notices.append(f"the rows are not in the order of {columns.time!r}; they were sorted")
    return result


def _by_series(frame: pl.DataFrame, columns: Columns) -> Iterator[tuple[str, pl.DataFrame]]:
    if columns.series is None:
        yield "", frame
        return
    for (name,), part in frame.group_by([columns.series], maintain_order=True):
        yield str(name), part


def _without_copies(frame: pl.DataFrame, columns: Columns, name: str) -> pl.DataFrame:
    kept = frame.unique(maintain_order=True)
    times = kept[columns.time]
    again = (times == times.shift(1)).fill_null(value=False)
    if again.any():
        first = times[int(again.arg_true()[0])]
        raise DataError(
            f"{f'{first} of series {name!r}' if name else first} occurs more than once, with different values, and so do "
            f"{int(again.sum()) - 1:,} other times",
            hint="name the column that identifies the series (--series COLUMN), or keep one row for each time",
        )
    return kept


def _on_grid(name: str, frame: pl.DataFrame, columns: Columns, calendar: Calendar) -> OneSeries:
    try:
        numbers = calendar.numbers(frame[columns.time], columns.time)
    except SchemaError as error:
        raise type(error)(f"series {name!r}: {error.message}" if name else error.message, hint=error.hint) from error
    of = f" of series {name!r}" if name else ""
    targets, future = len(columns.targets), len(columns.targets) + len(columns.observed)
    given = frame.select(columns.values).to_numpy().astype(np.float64)
    known = np.isfinite(given)
    for column, has in zip(columns.values, known.T, strict=True):
        if not has.any():
            raise DataError(f"the rows{of} have no value of {column!r}")
    first = int(known.argmax(axis=0).max())  # before it a value could only be filled from what came later
    present = np.flatnonzero(known[:, :targets].any(axis=1))
    if present[-1] < first:
        raise DataError(f"the rows{of} have no values of all columns at once: {', '.join(columns.values)}")
    begin = int(numbers[first])
    steps = int(numbers[present[-1]]) - begin + 1
    values = np.full((max(steps, int(numbers[-1]) - begin + 1) if columns.known else steps, given.shape[1]), np.nan)
    inside = (numbers >= begin) & (numbers - begin < len(values))
    values[numbers[inside] - begin] = given[inside]
    filled = np.asarray(np.isnan(values[:steps, :targets]).any(axis=1))
    for index in range(len(columns.values)):
        stretch = slice(None) if index >= future else slice(steps)
        values[stretch, index] = _carried(values[stretch, index])
    return OneSeries(name, begin, values, filled, steps)


def _carried(values: np.ndarray) -> np.ndarray:
    """Gaps filled with the value before: a straight line across a gap would show the window before its end what comes after."""
    places = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return values[places]
