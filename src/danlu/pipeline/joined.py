"""A folder with a table of each client, as one table with a column that says whose a row is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from danlu.data import Table
from danlu.data.folders import files_in
from danlu.data.format import Format
from danlu.errors import DataError

__all__ = ["FILE", "files_of_clients", "joined_files"]

FILE = "file"
"""``federated.by`` of a folder with a file of each client; the column that the file's name goes to."""
_TABLES = (".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".jsonl", ".ndjson", ".xlsx", ".txt")


def files_of_clients(source: Any) -> list[Path]:
    """The tables in a folder, one of each client; empty where it is no folder of tables."""
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        return []
    return [file for file in sorted(files_in(Path(source))) if file.suffix.lower() in _TABLES]


def joined_files(files: list[Path], read: Callable[[Path], Table]) -> Table:
    """The clients' files as one table, with a column of the clients' names: the files', or their paths where two files have one name.

    A column without a value in a file is one of gaps there, whatever kind it has elsewhere.

    Args:
        files: of each client.
        read: reads one.

    Raises:
        DataError: a file that has other columns than the first, or another kind of values in one, or dates in another way; the message
            names both.
    """
    names = _names_of(files)
    tables = {name: read(file) for name, file in zip(names, files, strict=True)}
    name, first = next(iter(tables.items()))
    if FILE in first.names:
        raise DataError(
            f"the files have a column {FILE!r}, and the name of the file goes to a column of this name",
            hint=f"rename it, or --by {FILE} of one table",
        )
    for other, table in tables.items():
        lacking = [column for column in first.names if column not in table.names]
        extra = [column for column in table.names if column not in first.names]
        if lacking or extra:
            what = f"lacks the column {lacking[0]!r}" if lacking else f"has a column {extra[0]!r}"
            there = f"client {name} has" if lacking else f"client {name} has not"
            raise DataError(
                f"client {other} {what}, which {there}; expected the same columns in all {len(files)} files",
                hint="rename it, or leave it out of all: data.drop=COLUMN",
            )
    filled = {column: _filled(column, tables) for column in first.names}
    frames = [
        table.frame.select(_as_elsewhere(table.frame[column], filled[column]) for column in first.names).with_columns(
            pl.lit(name).alias(FILE)
        )
        for name, table in tables.items()
    ]
    return dataclasses.replace(
        first,
        frame=pl.concat(frames, how="vertical_relaxed"),
        formats={column: _format(column, found) for column, found in filled.items() if column in first.formats},
        met={column: _met(column, tables) for column in first.met},
        notices=_joined(table.notices for table in tables.values()),
        line_offset=None,
        source=os.path.commonpath([file.parent for file in files]),
    )


def _names_of(files: Sequence[Path]) -> list[str]:
    """A name for each file: its own, its path below the folder of all, or that with its ending; the first that differ."""
    folder = os.path.commonpath([file.parent for file in files])
    below = [file.relative_to(folder) for file in files]
    ways = [[file.stem for file in files], [file.with_suffix("").as_posix() for file in below]]
    return next((way for way in ways if len(set(way)) == len(files)), [file.as_posix() for file in below])


def _filled(column: str, tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables of the clients that have a value in a column, which are all of one kind.

    Raises:
        DataError: they are not.
    """
    found = {name: table for name, table in tables.items() if not _is_empty(table.frame[column])}
    kinds = {name: _kind(table.frame[column].dtype) for name, table in found.items()}
    for name, kind in kinds.items():
        one = next(iter(kinds))
        if kind != kinds[one]:
            raise DataError(
                f"column {column!r} holds {kind} at client {name} and {kinds[one]} at client {one}; expected the same kind at all",
                hint="correct the file, or say which texts mean a missing value: data.missing=…",
            )
    return found


def _is_empty(values: pl.Series) -> bool:
    return values.null_count() == len(values)


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "numbers"
    if dtype == pl.Boolean:
        return "true and false"
    return "dates" if dtype.is_temporal() else "texts"


def _as_elsewhere(values: pl.Series, filled: Mapping[str, Table]) -> pl.Series:
    """A column; without a value it has the type that it has with others."""
    if not _is_empty(values) or not filled:
        return values
    dtype = next(iter(filled.values())).frame[values.name].dtype
    return pl.Series(values.name, [None] * len(values), dtype=dtype)


def _format(column: str, filled: Mapping[str, Table]) -> Format:
    """How a column is written with all clients that have a value in it.

    Raises:
        DataError: a date that one client writes day first another writes month first: of later rows nobody would know which it is.
    """
    found = {name: table.formats[column] for name, table in filled.items() if column in table.formats}
    if not found:
        return Format()
    ways = {pattern: name for name, each in reversed(found.items()) for pattern in each.patterns}
    for pattern, name in ways.items():
        swapped = pattern.translate(str.maketrans("dm", "md"))
        if swapped != pattern and swapped in ways:
            raise DataError(
                f"column {column!r} holds dates as {pattern} at client {name} and as {swapped} at client {ways[swapped]}; "
                "expected one way at all",
                hint="write them as 2024-12-31 in the files",
            )
    chosen = next((each for each in found.values() if not each.number.whole), next(iter(found.values())))
    marks = {each.number.decimal for each in found.values() if not each.number.whole}
    number = chosen.number if len(marks) < 2 else dataclasses.replace(chosen.number, decimal="")
    return dataclasses.replace(
        chosen,
        number=number,
        patterns=_joined(each.patterns for each in found.values()),
        missing=_joined(each.missing for each in found.values()),
        codes=_joined(each.codes for each in found.values()),
    )


def _joined(lists: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(each for one in lists for each in one))


def _met(column: str, tables: Mapping[str, Table]) -> tuple[str, ...]:
    """The texts for a missing value that were met in a column of any client."""
    return _joined(table.met.get(column, ()) for table in tables.values())
