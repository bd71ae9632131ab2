"""Records, as a service gets them, as columns: plain values of one kind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from danlu.data.kinds import as_levels
from danlu.data.schema import Column
from danlu.errors import SchemaError

__all__ = ["plain_column", "record_frame"]


def record_frame(columns: Sequence[Column], given: Mapping[str, list[Any]]) -> pl.DataFrame:
    """Values of records, by column, as a frame.

    Raises:
        SchemaError: values of several kinds in one column, or a number where a date is a text.
    """
    frame = pl.DataFrame([plain_column(column.name, given[column.name], column) for column in columns])
    for column in columns:
        if column.kind != "datetime":
            continue
        whole = frame[column.name].dtype.is_integer() and "%Y%m%d" in column.format.patterns
        if column.format.patterns and frame[column.name].dtype.is_numeric() and not whole:
            raise SchemaError(
                f"the records hold the number {frame[column.name].drop_nulls()[0]} as {column.name!r}; expected a date as a text",
                hint=f"such as {column.examples[0]!r}" if column.examples else None,
            )
    return frame


def plain_column(name: str, values: list[Any], column: Column | None = None) -> pl.Series:
    """Plain values of one kind; a number is never read as the text of one, but the name of a category may be a number."""
    kinds = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String}
    met = {type(value) for value in values if value is not None}
    try:
        named = column is not None and column.kind in ("categorical", "boolean")
        if named and str in met and len(met) > 1 and met <= set(kinds):
            levels = column.categories if column is not None else ()
            values = [v if v is None or type(v) is str else as_levels(pl.Series([v]), levels)[0] for v in values]
            met = {str}
        if met == {int, float} or (met == {int} and max(abs(v) for v in values if v is not None) >= 2**63):
            met, values = {float}, [None if value is None else float(value) for value in values]
        if len(met) > 1 or not met <= set(kinds):
            said = ", ".join(sorted(kind.__name__ for kind in met))
            raise SchemaError(
                f"the records hold values of the types {said} as {name!r}; expected numbers, or texts, or truth values"
            )
        return pl.Series(name, values, dtype=kinds[met.pop()] if met else pl.String)
    except (OverflowError, TypeError) as error:
        raise SchemaError(f"the records hold a number as {name!r} that is too large: {str(error)[:80]}") from error
