"""The rows of a file as the records that a request in JSON would have brought, for the log and for what is watched."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from danlu.data import Column
from danlu.data.series import Origins
from danlu.trained import Trained

__all__ = ["as_records"]


def as_records(trained: Trained, rows: Any) -> list[dict[str, Any]]:
    """Rows that were read from a file as records that ``trained.respond`` takes, a record a row.

    Dates are written as those of the training data were, so that rows of both ways can stand in one log.

    Example:
        >>> import tempfile, danlu
        >>> table = {"born": ["03/12/1990", "24/05/1985"] * 40, "y": [0, 1] * 40}
        >>> model = danlu.train(table, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> as_records(model, model.read({"born": ["03/12/1990"]}).rows)
        [{'born': '03/12/1990'}]
    """
    encoder = getattr(trained.encoder, "encoders", (trained.encoder,))[0]
    if isinstance(rows, pl.DataFrame):
        kinds = {column.name: column for column in encoder.schema.of_kind("datetime")}
        return rows.with_columns(_written(rows[name], kinds[name]) for name in kinds if name in rows.columns).to_dicts()
    if isinstance(rows, Origins):
        return [_of_series(encoder, rows, int(number), int(step)) for number, step in rows.index]
    names = [field.name for field in trained.encoder.fields]
    if len(names) == 1:
        return [{names[0]: _plain(each)} for each in rows]
    return [dict(zip(names, map(_gaps, np.asarray(each).T), strict=True)) for each in rows]  # (steps, columns)


def _written(times: pl.Series, column: Column) -> pl.Series:
    pattern = next(iter(column.format.patterns), "")
    return times.dt.to_string("iso:strict" if not pattern or "%q" in pattern else pattern)


def _of_series(encoder: Any, rows: Origins, number: int, step: int) -> dict[str, Any]:
    """The past that a forecast is made from, and what is known of its steps: a list a column."""
    one = rows.table.series[number]
    steps = np.arange(max(step - encoder.context, 0), min(step + encoder.horizon, len(one.values)))
    times = encoder.calendar.times(one.start + steps)
    found: dict[str, Any] = {
        encoder.columns.time: (times.dt.to_string("iso:strict") if times.dtype.is_temporal() else times).to_list()
    }
    if encoder.columns.series:
        found[encoder.columns.series] = one.name
    for name, values in zip(encoder.columns.values, one.values[steps].T, strict=True):
        found[name] = _gaps(values)
    return found


def _gaps(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
