"""The kinds of column, and values in the type of a kind."""

from __future__ import annotations

import math

import polars as pl

from danlu.data.infer import blank_to_null, parse_datetimes, parse_numbers
from danlu.errors import ConfigError

__all__ = ["KINDS", "as_kind", "as_text"]

KINDS = ("numeric", "categorical", "boolean", "datetime", "text", "identifier")
_YES_NO = {"true": True, "false": False, "yes": True, "no": False, "y": True, "n": False, "t": True, "f": False}
_YES_NO |= {"1": True, "0": False, "1.0": True, "0.0": False}


def as_text(values: pl.Series) -> pl.Series:
    """Values as texts: whole numbers without a decimal point, date-times as ISO 8601."""
    if values.dtype == pl.String:
        return values
    if values.dtype == pl.Float64:
        whole = values.is_finite() & (values == values.round()) & (values.abs() < 2**53)
        as_int = values.set(~whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
        return as_int.fill_null(values.cast(pl.String))
    if values.dtype.is_temporal():
        return values.dt.to_string("iso:strict").str.replace("T00:00:00.000000", "").str.replace(".000000", "")
    return values.cast(pl.String)


def as_kind(values: pl.Series, kind: str) -> pl.Series:
    """``values`` in the type of a kind; null where a value does not fit.

    Numeric is Float64 or Int64, boolean is Boolean (yes/no, y/n, 1/0 as well), date-time is Datetime, the others are
    String.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}; expected one of: {', '.join(KINDS)}")
    if values.dtype == pl.String and kind in ("numeric", "boolean", "datetime"):
        values = blank_to_null(values, ("", "?", "na", "n/a", "null", "nan"))
    if kind == "numeric":
        if values.dtype == pl.String:
            return parse_numbers(values)
        if values.dtype.is_temporal():
            return values.dt.timestamp("ms").cast(pl.Float64) / 1e3
        return values.cast(pl.Int64) if values.dtype == pl.Boolean else values
    if kind == "boolean":
        if values.dtype == pl.Boolean:
            return values
        return as_text(values).str.to_lowercase().replace_strict(_YES_NO, default=None, return_dtype=pl.Boolean)
    if kind == "datetime":
        if values.dtype.is_temporal():
            return values
        if values.dtype == pl.String:
            parsed = parse_datetimes(values)
            if parsed is None:
                parsed = values.str.to_datetime(strict=False, time_unit="us", format="%Y-%m-%d %H:%M:%S")
                parsed = parsed.fill_null(values.str.to_datetime(strict=False, time_unit="us", format="%Y-%m-%d"))
            return parsed
        if values.dtype.is_numeric() and _is_seconds(values):
            return (values.cast(pl.Float64) * 1e6).cast(pl.Int64).cast(pl.Datetime("us"))
        return pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
    return as_text(values)


def _is_seconds(values: pl.Series) -> bool:
    present = values.drop_nulls()
    return len(present) > 0 and math.isfinite(float(present.max())) and float(present.abs().max()) < 1e11  # type: ignore[arg-type]
