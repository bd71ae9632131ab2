"""The kinds of column, and values in the type of a kind."""

from __future__ import annotations

import polars as pl

from danlu.data.format import Format
from danlu.errors import ConfigError

__all__ = ["FREE", "KINDS", "MEDIA", "as_kind", "as_levels", "as_text"]

KINDS = ("numeric", "categorical", "boolean", "datetime", "text", "image", "sound", "identifier")
MEDIA = ("image", "sound")
"""The kinds whose cells name files."""
FREE = ("text", *MEDIA, "identifier")
"""The kinds whose values are texts of any form, so that no two need be alike."""
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
    """``values`` in the type of a kind; null where a value does not fit. A value's meaning does not depend on the others.

    Numeric is Float64 or Int64, boolean is Boolean (yes/no, y/n, 1/0 as well), date-time is Datetime (of a number: seconds since
    1970, or milliseconds where it is 1e11 or more), the others are String. Texts are read in the usual format; those of a
    column that was seen in training by :meth:`danlu.data.Column.read`.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}; expected one of: {', '.join(KINDS)}")
    if kind == "numeric":
        if values.dtype == pl.String:
            return Format().read(values, "number")
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
            return Format().read(values, "date")
        if values.dtype.is_numeric():
            seconds = values.cast(pl.Float64)
            seconds = seconds.set((seconds.abs() >= 1e15).fill_null(False) | seconds.is_nan().fill_null(False), None)
            seconds = seconds.zip_with((seconds.abs() < 1e11).fill_null(True), seconds / 1e3)
            return (seconds * 1e6).cast(pl.Int64).cast(pl.Datetime("us"))
        return pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
    return as_text(values)


def as_levels(values: pl.Series, levels: tuple[str, ...]) -> pl.Series:
    """Values of any type as the texts of known levels: 1.1 is "1.10" where that is the only level of its value, False is "False".

    >>> as_levels(pl.Series([1.1, 2.0, None]), ("1.10", "2")).to_list(), as_levels(pl.Series([False]), ("False", "Unknown")).to_list()
    (['1.10', '2', None], ['False'])
    """
    texts = as_text(values)
    if values.dtype == pl.Boolean:
        spelt = {level.lower(): level for level in reversed(levels)}
        return texts.replace({text: spelt[text] for text in ("true", "false") if text in spelt})
    if values.dtype.is_numeric():
        numbers = pl.Series(levels, dtype=pl.String).cast(pl.Float64, strict=False).to_list()
        by_value: dict[str, str] = {}
        for level, number in zip(reversed(levels), reversed(numbers), strict=True):
            if number is not None and level not in by_value:
                by_value[str(as_text(pl.Series([number]))[0])] = level
        by_value |= {level: level for level in levels}
        return texts.replace(by_value)
    return texts
