"""Scales series to their own mean and spread, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.fields import Field
from danlu.data.format import Format, read_columns
from danlu.data.read import read_table
from danlu.data.series.calendar import Calendar
from danlu.data.series.read import Columns, OneSeries, SeriesTable, read_series
from danlu.data.series.windows import Origins, Windows
from danlu.errors import ArtifactError, DataError, SchemaError, nearest, unknown_name
from danlu.language import keep

__all__ = ["SeriesEncoder", "listed"]

_FARTHEST = 1e15  # standard deviations from the mean: their squares are still finite in float32


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesEncoder:
    """``(x − mean)/scale`` of each column of each series, by the training part alone.

    Attributes:
        columns: what the columns are for.
        calendar: the steps trained on.
        names: of the series.
        mean, scale: ``(series, columns)`` float64; the scale of a column that never changes in training is 1.
        context, horizon: steps of an input and of a forecast.
        formats: how the texts of the columns are written; none in artifacts that had none.
    """

    columns: Columns
    calendar: Calendar
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    context: int
    horizon: int
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        keep(self.names)

    @classmethod
    def fit(cls, table: SeriesTable, stop: int, *, context: int, horizon: int) -> SeriesEncoder:
        """Fit to the steps before ``stop``; a series that begins later is scaled by the mean of the others.

        Example:
            >>> from danlu.data.series import read_series
            >>> table = read_series({"t": [1, 2, 3, 4], "y": [1.0, 3.0, 9.0, 9.0]}, ["y"], time="t")
            >>> SeriesEncoder.fit(table, 2, context=1, horizon=1).windows(table).values[0][:, 0].tolist()
            [-1.0, 1.0, 7.0, 7.0]
        """
        known = [each.values[: max(0, min(each.steps, stop - each.start))] for each in table.series]
        some = [part for part in known if len(part) > 1]
        if not some:
            raise SchemaError("no series has two steps; expected at least two to learn from")
        others = np.mean([_measured(part) for part in some], axis=0)
        mean, scale = np.stack([_measured(part) if len(part) > 1 else others for part in known], axis=1)
        names = tuple(each.name for each in table.series)
        return cls(
            table.columns, table.calendar, names, mean, _never_zero(mean, scale), context, horizon, table.formats
        )

    @property
    def in_shape(self) -> Any:
        """The shape of one input, what the network's ``init`` takes."""
        known = len(self.columns.known)
        past = (self.context, len(self.columns.values) - known)
        return {"past": past, "known": (self.context + self.horizon, known)} if known else past

    def place(self, name: str) -> int:
        """The number of a series.

        Raises:
            SchemaError: it was not there in training.
        """
        if name not in self.names:
            raise unknown_name("series", name, self.names, error=SchemaError)
        return self.names.index(name)

    def transform(self, rows: Origins) -> Windows:
        """The windows of origins; a series that was not in the training data is scaled by its own rows.

        NaN (the future of what is not known) becomes 0.
        """
        table = rows.table
        places = np.array([self.names.index(each.name) if each.name in self.names else -1 for each in table.series])
        own = [
            (self.mean[place], self.scale[place]) if place >= 0 else _measured(each.values[: each.steps])
            for place, each in zip(places, table.series, strict=True)
        ]
        mean, scale = np.stack(own, axis=1)
        scale = _never_zero(mean, scale)
        values = tuple(
            self._scaled(each, shift, spread) for each, shift, spread in zip(table.series, mean, scale, strict=True)
        )
        return Windows(
            table, rows.index, rows.apart, values=values, mean=mean, scale=scale, places=places,
            context=self.context, horizon=self.horizon,
        )  # fmt: skip

    def _scaled(self, series: OneSeries, shift: np.ndarray, spread: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            scaled = (series.values - shift) / spread
        far = np.abs(scaled) > _FARTHEST
        if far.any():
            step, column = np.argwhere(far)[0]
            raise SchemaError(
                f"{self.columns.values[column]!r} holds {series.values[step, column]:g}, which is too far from its mean {shift[column]:g} "
                "to compute with",
                hint="correct the value, or leave it empty if it is unknown",
            )
        return np.nan_to_num(scaled).astype(np.float32)

    def windows(self, table: SeriesTable, start: int | None = None, stop: int | None = None) -> Windows:
        """All windows whose target lies in the steps ``start`` to ``stop``, see :meth:`Origins.find`."""
        return self.transform(Origins.find(table, context=self.context, horizon=self.horizon, start=start, stop=stop))

    def read(self, source: Any) -> SeriesTable:
        """New series, checked against those trained on.

        Raises:
            SchemaError: columns, steps or texts that do not fit.
        """
        read = read_table(source, typed=not self.formats)
        frame, odd = read_columns(read.frame, self.formats)
        self._check_columns(frame, odd)
        read = dataclasses.replace(read, frame=frame, formats=self.formats or read.formats)
        return read_series(read, self.columns, calendar=self.calendar)

    def _check_columns(self, frame: pl.DataFrame, odd: Mapping[str, str]) -> None:
        columns, problems = self.columns, []
        for name in columns.every:
            if name not in frame.columns:
                close = nearest(name, [each for each in frame.columns if each not in columns.values])
                there = f" (there is {close!r}; is it the same?)" if close else ""
                problems.append(f"column {name!r} is missing{there}")
            elif name in odd:
                problems.append(odd[name])
            elif name == columns.time and not (frame[name].dtype == pl.Datetime or frame[name].dtype.is_integer()):
                problems.append(f"column {name!r} holds {frame[name].dtype}; expected moments")
            elif name in columns.values and not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean):
                problems.append(f"column {name!r} holds {frame[name].dtype}; expected numbers")
        if problems:
            raise SchemaError(
                "the data does not fit the data that the model was trained on:\n  - " + "\n  - ".join(problems)
            )

    def following(self, table: SeriesTable) -> Origins:
        """The steps after the last row of each series.

        Raises:
            SchemaError: a series is too short, or what is known of the steps to come is not there.
        """
        for problem in map(self.lacking, table.series):
            if problem is not None:
                raise problem
        return Origins(table, np.array([[number, each.steps] for number, each in enumerate(table.series)]))

    def lacking(self, series: OneSeries) -> SchemaError | None:
        """Why the steps after a series' last row cannot be forecast, or None."""
        of = f" of series {series.name!r}" if series.name else ""
        if series.steps < self.context:
            return SchemaError(
                f"the rows{of} are {series.steps:,} steps of {self.calendar}; a forecast is made from the last {self.context}",
                hint="give the rows before them as well",
            )
        ahead = len(series.values) - series.steps
        if self.columns.known and ahead < self.horizon:
            return SchemaError(
                f"the rows{of} hold {ahead} steps after the last value of {listed(self.columns.targets)}; expected "
                f"{self.horizon}, with {listed(self.columns.known)}",
                hint="append a row for each future step, with the columns to forecast left empty",
            )
        return None

    @property
    def fields(self) -> tuple[Field, ...]:
        """One list per column, one value per step: null for future values. The name of the series, if there were several."""
        low, high = (self.mean - 3 * self.scale).min(axis=0), (self.mean + 3 * self.scale).max(axis=0)
        after = [None] * self.horizon
        times = self.calendar.times(np.arange(self.context + self.horizon))
        shown = times.dt.to_string("iso:strict").to_list() if times.dtype.is_temporal() else times.to_list()
        found = [Field(self.columns.time, "column", (None,), example=shown)]
        if self.columns.series:
            found.append(Field(self.columns.series, "category", categories=self.names))
        for name, least, most in zip(self.columns.values, low, high, strict=True):
            usual = [round((float(least) + float(most)) / 2, 6)]
            given = usual * self.context + (usual * self.horizon if name in self.columns.known else after)
            found.append(Field(name, "column", (None,), float(least), float(most), example=given))
        return tuple(found)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> Origins:
        """The series of records; the next steps of each are to be forecast.

        Raises:
            SchemaError: columns of different lengths, values or steps that do not fit, or a series that is not known.
        """
        series: list[OneSeries] = []
        for number, record in enumerate(records, 1):
            try:
                table = self.following(self.read(self._columns_of(record))).table
            except DataError as error:
                raise SchemaError(f"record {number}: {error.message}", hint=error.hint) from error
            series += table.series
            for notice in table.notices:
                say(f"record {number}: {notice}")
        return self.following(SeriesTable(self.columns, self.calendar, tuple(series)))

    def _columns_of(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a record, checked."""
        columns = {name: record[name] for name in self.columns.every if name != self.columns.series}
        sizes = {name: len(values) if isinstance(values, list) else None for name, values in columns.items()}
        size = sizes[self.columns.time]
        for name, found in sizes.items():
            if not found or found != size:
                what = f"{str(columns[name])[:60]!r}" if found is None else f"a list of {found}"
                raise SchemaError(
                    f"{name!r} is {what}; expected a list of values, as many as {self.columns.time!r} has"
                )
        for name in self.columns.values:
            kinds = {type(value) for value in columns[name]} - {type(None)}
            if not (kinds <= {int, float, bool} or kinds == {str}):
                raise SchemaError(
                    f"{name!r} is {str(columns[name])[:60]}; expected numbers, and null for future values"
                )
            if str in kinds:
                columns[name] = pl.Series(columns[name], dtype=pl.String)
                continue
            try:
                columns[name] = pl.Series([None if v is None else float(v) for v in columns[name]], dtype=pl.Float64)
            except OverflowError as error:
                raise SchemaError(f"{name!r} holds a number that is too large") from error
        time = self.columns.time
        try:
            columns[time] = pl.Series(columns[time])
        except (TypeError, ValueError, OverflowError) as error:
            raise SchemaError(f"{time!r} is {str(columns[time])[:60]}; expected moments") from error
        if time not in self.formats and columns[time].dtype == pl.String:
            columns[time] = Format("date").read(columns[time])
        if self.columns.series:
            self.place(name := str(record[self.columns.series]))
            columns[self.columns.series] = [name] * (size or 0)
        return columns

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays, for the artifact."""
        data = {
            "kind": "series",
            "columns": dataclasses.asdict(self.columns),
            "calendar": self.calendar.to_json(),
            "names": list(self.names),
            "context": self.context,
            "horizon": self.horizon,
            "formats": {name: written.to_json() for name, written in self.formats.items()},
        }
        return data, {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, data: Any, arrays: Mapping[str, np.ndarray]) -> SeriesEncoder:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: data that is not an encoder's.
        """
        try:
            saved = data["columns"]
            lists = {name: tuple(map(str, saved[name])) for name in ("targets", "observed", "known")}
            series = None if saved["series"] is None else str(saved["series"])
            columns = Columns(**lists, time=str(saved["time"]), series=series)
            names, mean, scale = tuple(map(str, data["names"])), arrays["mean"], arrays["scale"]
            context, horizon = int(data["context"]), int(data["horizon"])
            formats = {str(name): Format.from_json(body) for name, body in data.get("formats", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the saved series are not described as expected: {error!r}") from error
        expected = (len(names), len(columns.values))
        if mean.shape != expected or scale.shape != expected or not (scale > 0).all() or min(context, horizon) < 1:
            raise ArtifactError(
                f"the saved scale of the series has the shape {scale.shape}; expected {expected}, above 0"
            )
        return cls(columns, Calendar.from_json(data.get("calendar")), names, mean, scale, context, horizon, formats)


def listed(names: Sequence[str]) -> str:
    """Names with commas between them, the first six of many."""
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _measured(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of each column."""
    return values.mean(axis=0), values.std(axis=0)


def _never_zero(mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The scale, 1 of a column that never changes."""
    return np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-300), scale, 1.0)
