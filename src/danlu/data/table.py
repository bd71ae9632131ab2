"""A table: a polars frame together with what was noticed while reading it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from danlu.data.format import Format
from danlu.language import keep

__all__ = ["Table"]


@dataclasses.dataclass(frozen=True)
class Table:
    """What :func:`danlu.data.read_table` returns.

    Attributes:
        frame: the rows; every column is Int64, Float64, Boolean, String or Datetime (microseconds, no time zone).
        notices: sentences about anything that was repaired or assumed on the way in, for the user to read.
        source: the file's path, or what kind of object was given.
        formats: how the texts of each column are written; empty where they were not read yet.
        met: texts of each column that were read as missing, those that occur.
        line_offset: a row's number in the file is its row index plus this (None where rows are not lines).
    """

    frame: pl.DataFrame
    notices: tuple[str, ...] = ()
    source: str = ""
    line_offset: int | None = None
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)
    met: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        keep(self.frame.columns)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.frame.height

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(self.frame.columns)

    def __str__(self) -> str:
        head = f"{self.source or 'table'}: {self.rows:,} rows, {self.frame.width} columns"
        return "\n".join([head, *(f"- {notice}" for notice in self.notices)])

    def _repr_html_(self) -> str:
        return self.frame.head(10)._repr_html_()
