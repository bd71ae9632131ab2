"""Strings to typed columns: whole numbers, numbers, booleans, date-times, or left as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import polars as pl

from danlu.data.table import Table
from danlu.errors import DataError

__all__ = ["canonical", "datetime_formats", "infer_types", "parse_datetimes", "parse_format", "parse_numbers"]

DATETIME = pl.Datetime("us")
_DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m/%d/%y",
    "%d %b %Y",
)
_TIME_FORMATS = ("", " %H:%M:%S%.f", "T%H:%M:%S%.f", " %H:%M:%S", "T%H:%M:%S", " %H:%M", "T%H:%M")
_ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
_DATE_LIKE = r"^\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3})[-/. ]\d{1,4}"
_DOTTED_DATE = r"^\d{1,2}\.\d{1,2}\.\d{4}$"
_GROUPED = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_DECIMAL_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$"
_INTEGER = r"^[+-]?\d+$"
_MOSTLY = 0.9


def parse_numbers(values: pl.Series, *, decimal_comma: bool = False) -> pl.Series:
    """Strings as Float64, null where one is not a number ("1,234.5" is; with ``decimal_comma`` "1.234,5" is)."""
    if decimal_comma and values.str.contains(_DECIMAL_COMMA).fill_null(True).all():
        values = values.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True)
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() > values.null_count() and not decimal_comma:
        grouped = values.str.contains(_GROUPED)
        if grouped.any():
            without = values.set(~grouped.fill_null(False), None).str.replace_all(",", "", literal=True)
            numbers = numbers.fill_null(without.cast(pl.Float64, strict=False))
    return numbers.fill_nan(None)


def parse_datetimes(values: pl.Series) -> pl.Series | None:
    """Strings as date-times when one common format reads them all; else None.

    A date such as 3/4/2024 is read day first unless some row shows that it cannot be.
    """
    pattern = next(datetime_formats(values), None)
    return None if pattern is None else parse_format(values, pattern)


def datetime_formats(values: pl.Series) -> Iterator[str]:
    """The formats that read all of some strings as date-times, the preferred one first; none when there are no strings."""
    present = values.drop_nulls()
    sample = present.head(100)
    if not len(present) or not sample.str.contains(_DATE_LIKE).all():
        return
    patterns = [date + time for date in _DATE_FORMATS for time in _TIME_FORMATS]
    for pattern in (*patterns, *_ZONED_FORMATS):
        if not parse_format(sample, pattern).null_count() and not parse_format(present, pattern).null_count():
            yield pattern


def parse_format(values: pl.Series, pattern: str) -> pl.Series:
    """Strings as date-times of one format, in UTC where it names a time zone; null where one does not fit."""
    if pattern in _ZONED_FORMATS:
        zoned = values.str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC")
        return zoned.dt.replace_time_zone(None)
    return values.str.to_datetime(pattern, strict=False, time_unit="us")


def infer_types(table: Table, *, missing: frozenset[str], decimal_comma: bool = False) -> Table:
    """Give each column of strings the type that its values have.

    A column of which at least nine tenths are numbers becomes numeric; what is not a number becomes missing and is
    listed in a notice with the line it stands on.

    Args:
        table: columns that are not strings are left alone.
        missing: lower-case texts that stand for a missing value.
        decimal_comma: whether "1,5" is one and a half.
    """
    notices = list(table.notices)
    columns = []
    for column in table.frame.get_columns():
        if column.dtype == pl.String:
            column = blank_to_null(column, missing)
            column = _typed(column, table, notices, decimal_comma)
        columns.append(column)
    return Table(pl.DataFrame(columns), tuple(notices), table.source, table.line_offset)


def blank_to_null(values: pl.Series, missing: Iterable[str]) -> pl.Series:
    """Strings without the white space around them, null where they stand for a missing value."""
    stripped = values.str.strip_chars()
    return stripped.set(stripped.str.to_lowercase().is_in(list(missing)).fill_null(False), None)


def _typed(values: pl.Series, table: Table, notices: list[str], decimal_comma: bool) -> pl.Series:
    present = values.drop_nulls()
    if not len(present):
        return values
    head = present.head(1000)
    if head.str.to_lowercase().is_in(["true", "false"]).all():
        lower = values.str.to_lowercase()
        if lower.is_in(["true", "false"]).fill_null(True).all():
            return lower == "true"
    if _few_numbers(head) or head.str.contains(_DOTTED_DATE).all():
        dates = parse_datetimes(values)
        return values if dates is None else dates
    if present.str.contains(_INTEGER).all():
        if present.str.contains(r"^0\d").any():  # zip codes, phone numbers: a leading zero is part of the value
            return values
        whole = values.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == values.null_count() else values
    numbers = parse_numbers(values, decimal_comma=decimal_comma)
    bad = values.is_not_null() & numbers.is_null()
    wrong = int(bad.sum())
    if wrong == 0:
        return numbers
    good = len(present) - wrong
    few_levels = numbers.n_unique() <= 11 and good >= 50
    if good < _MOSTLY * len(present) or few_levels:
        return values
    rows = bad.arg_true().head(3).to_list()
    where = "line" if table.line_offset is not None else "row"
    offset = table.line_offset if table.line_offset is not None else 1
    shown = ", ".join(f"{values[row]!r} ({where} {row + offset})" for row in rows)
    more = ", …" if wrong > len(rows) else ""
    verb = "value is not a number and was" if wrong == 1 else "values are not numbers and were"
    notices.append(f"column {values.name}: {wrong} of {len(values)} {verb} read as missing: {shown}{more}")
    whole = numbers.drop_nulls()
    if (whole == whole.round()).all() and whole.abs().max() < 2**53:  # type: ignore[operator]
        return numbers.cast(pl.Int64, strict=False)
    return numbers


def _few_numbers(head: pl.Series) -> bool:
    digits = head.str.contains(r"^[+-]?[.,]?\d[\d.,]*([eE][+-]?\d+)?$|^[+-]?(inf|infinity|Infinity)$")
    return bool(digits.sum() < 0.5 * len(head))


def canonical(frame: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """``frame`` with each column in one of danlu's five types (see :class:`danlu.data.Table`).

    Raises:
        DataError: a column holds lists, structs, bytes or Python objects.
    """
    columns = []
    for column in frame.get_columns():
        dtype = column.dtype
        if dtype == pl.Boolean or dtype == pl.String:
            pass
        elif isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.Null:
            column = column.cast(pl.String)
        elif dtype == pl.UInt64 or dtype.is_float() or dtype.is_decimal():
            column = column.cast(pl.Float64).fill_nan(None)
        elif dtype.is_integer():
            column = column.cast(pl.Int64)
        elif dtype == pl.Date:
            column = column.cast(DATETIME)
        elif isinstance(dtype, pl.Datetime):
            if dtype.time_zone is not None:
                column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            column = column.cast(DATETIME)
        elif dtype == pl.Duration:
            column = column.dt.total_microseconds().cast(pl.Float64) / 1e6
        elif dtype == pl.Time:
            column = column.cast(pl.Int64).cast(pl.Float64) / 1e9
        else:
            raise DataError(
                f"column {column.name!r} of {source} holds {dtype}; expected numbers, texts, booleans or date-times",
                hint="take the column apart into plain ones, or take it out of the file (in Python: columns=[...])",
            )
        columns.append(column)
    return pl.DataFrame(columns)


def natural_key(text: str) -> tuple[tuple[int, float, str], ...]:
    """A sort key by which numbers inside texts sort by value: "a2" before "a10"."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((0, float(p), "") if i % 2 else (1, 0.0, p) for i, p in enumerate(parts) if p or i % 2)
