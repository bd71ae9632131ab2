"""Strings to typed columns: numbers, truth values, date-times, or left as they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import polars as pl

from danlu.data.evidence import ColumnEvidence, find_formats
from danlu.data.format import Format
from danlu.data.kinds import as_kind
from danlu.data.missing import DEFAULT_MISSING, Marks, marks_beside_usual, marks_for, standing_out, unmet
from danlu.data.moments import DATETIME
from danlu.data.numbers import NumberStyle
from danlu.data.table import Table
from danlu.errors import DataError, unknown_name

__all__ = ["canonical", "infer_types", "typed_format", "watched", "words_of"]

_MOST_STRAYS = 100


def infer_types(
    table: Table,
    *,
    missing: Marks = DEFAULT_MISSING,
    kinds: Mapping[str, str] | None = None,
    dates: str | Mapping[str, str] | None = None,
    texts: bool = True,
    delimiter: str = ",",
) -> Table:
    """Give each column of strings the format and the type that its values show.

    A few texts that are not numbers (or dates) in a column of numbers are missing values; a notice lists them with the line
    they stand on, and the format remembers them.

    Args:
        table: columns that are not strings keep their type.
        missing: what stands for a missing value, for all columns or by column, see :func:`danlu.data.read_table`.
        kinds: what single columns are, as the user says.
        dates: how dates are written, for all columns or by column, as the user says.
        texts: whether a source has no types of its own, so that any column of strings may be numbers or dates.
        delimiter: of the file.

    Raises:
        DataError: an unknown column, or a kind that not one value of a column has.
    """
    names = table.names
    for given in (missing, dates):
        for name in given if isinstance(given, Mapping) else ():
            if name not in names:
                raise unknown_name("column", name, names, error=DataError)
    found_marks = marks_for if texts else marks_beside_usual
    marks = {name: found_marks(missing, name) for name in names}
    evidence, strings, met = {}, {}, {}
    for column in table.frame.get_columns():
        if column.dtype == pl.String:
            name = column.name
            strings[name] = Format(missing=marks[name][0], codes=marks[name][1]).read(column)
            gone = column.filter(strings[name].is_null() & column.is_not_null()).str.strip_chars()
            met[name] = tuple(gone.filter(gone != "").unique(maintain_order=True).head(10).to_list())
            seen = watched(name, kinds, dates)
            if texts or seen.must or seen.kind in ("numeric", "datetime"):
                evidence[name] = seen
                seen.see(strings[name])
    formats, found = find_formats(evidence, marks, delimiter=delimiter)
    notices, columns = [*table.notices, *unmet(table.frame, missing), *found], []
    for column in table.frame.get_columns():
        name = column.name
        if name not in formats:
            formats[name] = table.formats.get(name) or typed_format(column, *marks[name])
            if marks[name][1]:
                formats[name] = dataclasses.replace(formats[name], codes=marks[name][1])
            columns.append(formats[name].read(column, "text"))
        else:
            typed, formats[name] = _read(strings[name], formats[name], (kinds or {}).get(name), table, notices)
            columns.append(typed)
    notices += filter(None, map(standing_out, columns))
    return dataclasses.replace(table, frame=pl.DataFrame(columns), notices=tuple(notices), formats=formats, met=met)


def watched(name: str, kinds: Mapping[str, str] | None, dates: str | Mapping[str, str] | None) -> ColumnEvidence:
    """The empty evidence of a column, with the user's settings for it."""
    must = isinstance(dates, Mapping) and name in dates
    given = dates.get(name) if isinstance(dates, Mapping) else dates
    return ColumnEvidence(name, (kinds or {}).get(name), given, must)


def typed_format(values: pl.Series, missing: tuple[str, ...] = (), codes: tuple[float, ...] = ()) -> Format:
    """The format of a column whose values have a type: texts met later mean the usual, and what the column holds is a value."""
    written = "truth" if values.dtype == pl.Boolean else "number" if values.dtype.is_numeric() else "text"
    written = "date" if values.dtype.is_temporal() else written
    usual = dict.fromkeys([*(text.lower() for text in DEFAULT_MISSING), *missing])
    if values.dtype == pl.String:
        held = set(values.drop_nulls().str.strip_chars().str.to_lowercase().unique().to_list()) - set(missing)
        usual = dict.fromkeys(text for text in usual if text not in held)
    style = NumberStyle(whole=values.dtype.is_integer())
    return Format(written, missing=tuple(usual), codes=codes, number=style)


def _read(
    texts: pl.Series, found: Format, kind: str | None, table: Table, notices: list[str]
) -> tuple[pl.Series, Format]:
    """The column as it is meant, its strays said and remembered."""
    typed = as_kind(texts, "boolean") if kind == "boolean" else found.read(texts)
    bad = texts.is_not_null() & typed.is_null()
    wrong = int(bad.sum())
    if not wrong:
        return typed, found
    strays = texts.filter(bad).str.to_lowercase().unique(maintain_order=True).head(_MOST_STRAYS).to_list()
    rows = texts.zip_with(bad, pl.Series([None], dtype=pl.String)).is_first_distinct().to_numpy() & bad.to_numpy()
    first = [int(row) for row in rows.nonzero()[0][:3]]
    offset = table.line_offset
    shown = ", ".join(
        f"{texts[row][:40]!r} (row {row + 1})" if offset is None else f"{texts[row][:40]!r} (line {row + offset})"
        for row in first
    )
    more = ", …" if wrong > len(first) else ""
    what = "boolean" if kind == "boolean" else found.written
    notices.append(
        f"column {texts.name}: {wrong} of {len(texts)} {'value is' if wrong == 1 else 'values are'} not "
        f"{'a number' if what == 'number' else 'a date-time' if what == 'date' else 'true or false'} and "
        f"{'was' if wrong == 1 else 'were'} read as missing: {shown}{more}"
    )
    found = dataclasses.replace(found, missing=tuple(dict.fromkeys([*found.missing, *strays])))
    return (as_kind(texts, "boolean") if kind == "boolean" else found.read(texts)), found


def words_of(dtype: pl.DataType) -> str:
    """What a column of :func:`canonical` holds.

    >>> words_of(pl.Int64()), words_of(pl.Datetime("us"))
    ('whole numbers', 'dates')
    """
    words = {pl.Int64: "whole numbers", pl.Float64: "numbers", pl.Boolean: "true and false", pl.Datetime: "dates"}
    return words.get(dtype.base_type(), "texts")


def canonical(frame: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """``frame`` with each column in one of danlu's five types (see :class:`danlu.data.Table`).

    Raises:
        DataError: a column holds lists, structs, bytes or Python objects.
    """
    # Float32 by its digits: its 0.1 is the 0.1 of a file of float64 or of texts. Columns side by side, as it takes long.
    frame = frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64))
    columns = []
    for column in frame.get_columns():
        dtype = column.dtype
        if dtype == pl.Boolean or dtype == pl.String:
            pass
        elif isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.Null:
            column = column.cast(pl.String)
        elif dtype.is_float() or dtype.is_decimal() or (dtype == pl.UInt64 and bool((column >= 2**63).any())):
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
                hint="split the column into plain ones, or remove it from the file (in Python: columns=[...])",
            )
        columns.append(column)
    return pl.DataFrame(columns)


def natural_key(text: str) -> tuple[tuple[int, float, str], ...]:
    """A sort key by which numbers inside texts sort by value: "a2" before "a10"."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((0, float(p), "") if i % 2 else (1, 0.0, p) for i, p in enumerate(parts) if p or i % 2)
