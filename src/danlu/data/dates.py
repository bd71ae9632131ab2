"""Date-times to numbers: the time itself, and its place in the year, the week and the day."""

from __future__ import annotations

import numpy as np
import polars as pl

__all__ = ["DATE_PARTS", "date_parts", "useful_parts"]

DATE_PARTS = ("time", "year", "month_sin", "month_cos", "weekday_sin", "weekday_cos", "hour_sin", "hour_cos")


def date_parts(values: pl.Series, parts: tuple[str, ...] = DATE_PARTS) -> np.ndarray:
    """``(rows, len(parts))`` float64, NaN where the date-time is missing.

    ``time`` is in days since 1970; ``month``, ``weekday`` and ``hour`` are angles on the circle of 12 months, 7 days
    and 24 hours, so that December is next to January.
    """
    timestamp = values.dt.timestamp("ms")

    def numbers(series: pl.Series) -> np.ndarray:
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def angle(name: str) -> np.ndarray:
        if name == "month":
            return numbers(values.dt.month() - 1) / 12
        if name == "weekday":
            return numbers(values.dt.weekday() - 1) / 7
        return (numbers(values.dt.hour()) + numbers(values.dt.minute()) / 60) / 24

    columns = []
    for part in parts:
        name, _, wave = part.partition("_")
        if part == "time":
            columns.append(numbers(timestamp) / 86_400_000)
        elif part == "year":
            columns.append(numbers(values.dt.year()))
        else:
            columns.append((np.sin if wave == "sin" else np.cos)(2 * np.pi * angle(name)))
    return np.stack(columns, axis=1)


def useful_parts(values: pl.Series) -> tuple[str, ...]:
    """The parts that differ among training rows; ``time`` is always one of them."""
    matrix = date_parts(values)
    spread = [np.ptp(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0 for column in matrix.T]
    return tuple(part for part, width in zip(DATE_PARTS, spread, strict=True) if part == "time" or width > 1e-9)
