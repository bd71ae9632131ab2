"""A model that forecasts series, as it is used after training: on new rows, checked against those it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data import read_table
from danlu.data.format import read_columns
from danlu.data.series import Columns, SeriesEncoder, SeriesTable, Windows, read_series
from danlu.errors import SchemaError, nearest
from danlu.evaluate.forecast import mase_scale
from danlu.pipeline.forecasts import forecast_frame, judge_forecasts, listed, places_of, windows_at
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, warn
from danlu.tasks.forecast import ForecastModel

__all__ = ["SeriesModel"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SeriesModel(Model):
    """A model that forecasts series."""

    @property
    def purpose(self) -> str:
        encoder = self.predictor.encoder
        return f"forecast of {listed(encoder.columns.targets)}, {encoder.horizon} steps of {encoder.calendar}"

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The steps after the last row of each series: a row a step, and a column's name where there are several.

        ``low`` and ``high`` are the lowest and highest quantile that the model forecasts (10 % and 90 %).

        Args:
            source: at least as many rows as the context is long; where the model uses known columns, and rows with them for the
                steps to come, in which the columns to forecast are empty.
            lenient: whether a series that was not there in training is scaled by its own rows, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: columns, steps or series that do not fit what the model was trained on.
        """
        trained, table = _new(self.predictor, source, lenient, say)
        encoder = trained.encoder
        short = [each for each in table.series if each.steps < encoder.context]
        if short:
            of = f" of series {short[0].name!r}" if short[0].name else ""
            raise SchemaError(
                f"the rows{of} are {short[0].steps:,} steps of {encoder.calendar}; a forecast is made from the last "
                f"{encoder.context}",
                hint="give the rows before them as well",
            )
        behind = [each for each in table.series if len(each.values) < each.steps + encoder.horizon]
        if encoder.columns.known and behind:
            of = f" of series {behind[0].name!r}" if behind[0].name else ""
            raise SchemaError(
                f"the rows{of} hold {len(behind[0].values) - behind[0].steps} steps after the last value of "
                f"{listed(encoder.columns.targets)}; expected {encoder.horizon}, with {listed(encoder.columns.known)}",
                hint="append a row for each step to come, in which the columns to forecast are empty",
            )
        index = np.array([[number, each.steps] for number, each in enumerate(table.series)])
        windows = windows_at(table, encoder, index)
        return forecast_frame(trained, table, windows, *trained.forecast(windows, places_of(encoder, table, windows)))

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        trained, table = _new(self.predictor, source, lenient, say)
        encoder = trained.encoder
        values = encoder.transform(table)
        windows = Windows.find(table, values, context=encoder.context, horizon=encoder.horizon)
        if not len(windows):
            raise SchemaError(
                f"no series has {encoder.context + encoder.horizon:,} steps with values, which measuring a forecast of "
                f"{encoder.horizon} from {encoder.context} needs"
            )
        return judge_forecasts(trained, table, windows, None, simple=True)


def _new(trained: ForecastModel, source: Any, lenient: bool, say: Say) -> tuple[ForecastModel, SeriesTable]:
    """New series, checked against those trained on, and the model that knows them all."""
    columns = trained.encoder.columns
    formats = trained.encoder.formats
    read = read_table(source, typed=not formats)
    frame, odd = read_columns(read.frame, formats)
    _check_columns(frame, columns, odd)
    read = dataclasses.replace(read, frame=frame, formats=formats or read.formats)
    table = read_series(read, columns, calendar=trained.encoder.calendar)
    for notice in table.notices:
        say(notice)
    strange = [each for each in table.series if each.name not in trained.encoder.names]
    if not strange:
        return trained, table
    names = ", ".join(repr(each.name) for each in strange[:5]) + (", …" if len(strange) > 5 else "")
    if not lenient:
        raise SchemaError(
            f"{len(strange):,} series were not there in training: {names}",
            hint="leave them out, or have them scaled by their own rows with lenient=True (--lenient)",
        )
    say(f"series that were not there in training are scaled by their own rows: {names}")
    count = len(columns.targets)
    own = SeriesEncoder.fit(dataclasses.replace(table, series=tuple(strange)), 2**62, context=1, horizon=1)
    encoder = dataclasses.replace(
        trained.encoder,
        names=(*trained.encoder.names, *own.names),
        mean=np.concatenate([trained.encoder.mean, own.mean]),
        scale=np.concatenate([trained.encoder.scale, own.scale]),
    )
    more = [mase_scale(each.values[: each.steps, :count], trained.season) for each in strange]
    return dataclasses.replace(trained, encoder=encoder, naive=np.concatenate([trained.naive, np.stack(more)])), table


def _check_columns(frame: pl.DataFrame, columns: Columns, odd: Mapping[str, str]) -> None:
    problems = []
    for name in (*columns.values, columns.time, *([columns.series] if columns.series else [])):
        if name not in frame.columns:
            close = nearest(name, [each for each in frame.columns if each not in columns.values])
            problems.append(
                f"column {name!r} is missing" + (f" (there is {close!r}; is it the same?)" if close else "")
            )
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
