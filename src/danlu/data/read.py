"""Reads any table: files by their format, frames and arrays by their type."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from danlu.data.delimited import parse_delimited
from danlu.data.infer import canonical, infer_types
from danlu.data.intake import check_archive, spool, unpacked
from danlu.data.missing import DEFAULT_MISSING, Marks, marks_for
from danlu.data.parquet import ParquetRows, formats_in, holds_parquet
from danlu.data.spelling import clean_names
from danlu.data.table import Table
from danlu.errors import DanluError, DataError, MissingExtraError, unknown_name
from danlu.files import near_file

__all__ = ["DEFAULT_MISSING", "read_table"]

_BY_SUFFIX = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".jsonl": "json lines",
    ".ndjson": "json lines",
    ".json": "json",
    ".xlsx": "excel",
    ".xls": "excel",
    ".xlsb": "excel",
    ".ods": "excel",
}


def read_table(
    source: Any,
    *,
    delimiter: str | None = None,
    header: bool | str = "auto",
    names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    missing: Marks = DEFAULT_MISSING,
    kinds: Mapping[str, str] | None = None,
    dates: str | Mapping[str, str] | None = None,
    typed: bool = True,
    quote: str = '"',
    encoding: str | None = None,
) -> Table:
    """Read a table from a file, a frame, an array or a dict of columns.

    Files: CSV and other delimited text (delimiter, header line, encoding and gz, bz2 or xz compression are worked out
    from the file), Parquet, Arrow/Feather, JSON lines, JSON, Excel (first sheet). In memory: polars, pandas, pyarrow
    and other eager frames that narwhals knows, 2-D NumPy arrays, dicts of columns.

    In delimited text white space around a cell is removed; a file without a header has the columns ``c1`` … ``cn``; a
    column name that comes twice gets ``_2`` at its second place. Columns of strings whose values are numbers, truth
    values or dates get that type, except where the source has types of its own (Parquet, Arrow, JSON, polars). How they are
    written ("1.234,5", "$1,200", "5 %", "31/12/23 1:05 PM", "2017Q3") is found once over the whole column, said in a notice
    where it could be meant in another way, and kept in :attr:`~danlu.data.Table.formats`.

    Args:
        source: a path or an object as above.
        delimiter: the delimiter, one character; None looks at the file.
        header: whether the first line holds the column names; ``"auto"`` looks at the file.
        names: new names for all columns, in order.
        columns: the columns to keep, in that order; None keeps all.
        missing: texts (their case does not matter) and numbers that stand for a missing value, in place of the usual ones;
            or a dict of those of single columns, ``{"income": [-999], "country": []}``.
        kinds: what single columns are (see :data:`~danlu.data.kinds.KINDS`), where their values do not show it: what is said to be
            ``"categorical"`` stays text.
        dates: how dates are written: ``"dmy"``, ``"mdy"``, ``"ymd"`` or a pattern such as ``"%d.%m.%Y %H:%M"``; for all columns of
            dates, or a dict of single ones.
        typed: False leaves strings as they are, for :func:`~danlu.data.check_frame` to read by the formats of a schema.
        quote: the quote character of a delimited file.
        encoding: the encoding of a delimited file, as Python names it; None looks at the file.

    Raises:
        DataError: the source does not exist, is empty, or cannot be read; the message says where.
        MissingExtraError: reading Excel without the ``excel`` extra.

    Example:
        >>> table = read_table({"age": ["31", "?", "45"], "city": ["Bern", "Oslo", ""]})
        >>> table.frame["age"].to_list(), table.frame["city"].to_list()
        ([31, None, 45], ['Bern', 'Oslo', None])
    """
    if isinstance(source, Table):
        if source.formats or not typed:
            return source
        table, texts, found = source, True, ","
    elif isinstance(source, str | Path):
        with spool(source) as path:
            table, texts, found = _read_file(
                Path(path),
                missing=frozenset(marks_for(missing, "")[0]),
                delimiter=delimiter,
                header=header,
                quote=quote,
                encoding=encoding,
            )
    else:
        table, texts, found = *_read_object(source), ","
    frame = table.frame
    if frame.width == 0 or frame.height == 0:
        raise DataError(
            f"{table.source} has {frame.height} rows and {frame.width} columns; expected at least one of each"
        )
    if names is not None:
        if len(names) != frame.width or len(set(names)) != len(names):
            raise DataError(f"{len(names)} names were given for the {frame.width} columns of {table.source}")
        table = dataclasses.replace(table, frame=frame.rename(dict(zip(frame.columns, names, strict=True))))
    if typed:
        table = infer_types(table, missing=missing, kinds=kinds, dates=dates, texts=texts, delimiter=found)
    frame = table.frame
    if columns is not None:
        for column in columns:
            if column not in frame.columns:
                raise unknown_name(f"column of {table.source}:", column, frame.columns, error=DataError)
        table = dataclasses.replace(table, frame=frame.select(columns))
    return table


def _read_file(path: Path, *, missing: frozenset[str], **options: Any) -> tuple[Table, bool, str]:
    """The table as the file has it, whether its strings may be of any type, and the delimiter."""
    if holds_parquet(path):
        rows = ParquetRows(path)
        frame = rows.read(0, rows.rows)
        return Table(frame, rows.notices, str(path), formats=formats_in(rows.paths[0])), False, ","
    if path.is_dir():
        raise DataError(
            f"{path} is a folder; expected a file",
            hint="a folder is a table if it has Parquet files; images, recordings and texts are in a folder for each class, of which "
            "there are at least two",
        )
    with open_source(path) as file:
        start = file.read(8)
    kind = _BY_SUFFIX.get(path.suffix.lower())
    if start[:4] == b"PAR1":
        kind = "parquet"
    elif start[:6] == b"ARROW1":
        kind = "arrow"
    elif start[:4] == b"PK\x03\x04":
        kind = "excel"
    name = str(path)
    if kind is None:
        data = unpacked(path.read_bytes(), name)
        table, found = parse_delimited(data, source=name, missing=missing, **options)
        return table, True, found
    if not start:
        raise DataError(f"{name} is empty", hint="a table needs a line of column names and some rows")
    formats, frame, notices = formats_in(path) if kind == "parquet" else {}, _read_typed(path, kind), list[str]()
    frame.columns = clean_names(frame.columns, notices)
    return Table(frame, tuple(notices), name, formats=formats), kind == "excel", ","


def open_source(path: Path, encoding: str | None = None) -> IO[Any]:
    """The file opened for reading: bytes, or text of an encoding with its line ends as they are.

    Raises:
        DataError: there is no such file, or it cannot be opened.
    """
    try:
        return path.open("rb") if encoding is None else path.open(encoding=encoding, newline="")
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", hint=near_file(path)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    except LookupError as error:
        raise DataError(f"{path} cannot be read as {encoding}: {error}", hint="leave the encoding out") from error


def _read_typed(path: Path, kind: str) -> pl.DataFrame:
    try:
        if kind == "excel":
            frame = _read_excel(path)
        elif kind == "parquet":
            frame = pl.read_parquet(path)
        elif kind == "arrow":
            frame = pl.read_ipc(io.BytesIO(path.read_bytes()))
        elif kind == "json lines" or not path.read_bytes().lstrip().startswith(b"["):
            frame = pl.read_ndjson(path, infer_schema_length=None)
        else:
            frame = pl.read_json(path, infer_schema_length=None)
    except DanluError:
        raise
    except (
        Exception,
        pl.exceptions.PanicException,
    ) as error:  # the readers raise a dozen kinds: every one means that the file cannot be read
        first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise DataError(f"{path} cannot be read as {kind}: {first_line}", hint="the file is damaged?") from error
    return canonical(frame, source=str(path))


def _read_excel(path: Path) -> pl.DataFrame:
    try:
        import fastexcel  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"reading {path} needs the package fastexcel",
            hint="install it (pip install fastexcel), or save the sheet as CSV",
        ) from error
    check_archive(path)
    return pl.read_excel(io.BytesIO(path.read_bytes()), infer_schema_length=None)


def _read_object(source: Any) -> tuple[Table, bool]:
    """The table as the object has it, and whether its strings may be of any type."""
    name = f"the {type(source).__name__} given"
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return Table(canonical(source, source=name), (), name), False
    try:
        if isinstance(source, np.ndarray):
            frame = _from_numpy(source)
        elif isinstance(source, Mapping):
            frame = pl.DataFrame({str(key): _to_series(str(key), values) for key, values in source.items()})
        else:
            frame = _from_native(source)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} cannot be read as a table: {error}") from error
    return Table(canonical(frame, source=name), (), name), not type(source).__module__.startswith("pyarrow")


def _from_numpy(array: np.ndarray[Any, Any]) -> pl.DataFrame:
    if array.dtype.names:
        return pl.DataFrame({field: _to_series(field, array[field]) for field in array.dtype.names})
    if array.ndim != 2:
        raise DataError(
            f"the array has the shape {array.shape}; expected two dimensions (rows, columns)",
            hint="a single column is array.reshape(-1, 1)",
        )
    return pl.DataFrame([_to_series(f"c{i + 1}", array[:, i]) for i in range(array.shape[1])])


def _from_native(source: Any) -> pl.DataFrame:
    import narwhals as nw

    try:
        frame = nw.from_native(source, eager_only=True)
    except TypeError as error:
        raise DataError(
            f"a {type(source).__name__} is not a table danlu knows",
            hint="give a path, a pandas, polars or pyarrow frame, a 2-D NumPy array or a dict of columns",
        ) from error
    columns = []
    for column in frame.iter_columns():  # a name may be a number, which would be taken as a row
        try:
            columns.append(column.to_polars().rename(str(column.name)))
        except Exception:  # pandas object columns of mixed types, or no pyarrow to convert with
            columns.append(_to_series(str(column.name), column.to_list()))
    return pl.DataFrame(columns)


def _to_series(name: str, values: Any) -> pl.Series:
    if np.ma.is_masked(values):
        return _to_series(name, np.asarray(values.data)).set(pl.Series(np.ma.getmaskarray(values)), None)
    if isinstance(values, np.ndarray) and values.dtype != object:
        if values.dtype.kind == "c":
            raise DataError(f"column {name!r} holds complex numbers; expected real ones")
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        return pl.Series(name, np.ascontiguousarray(values))
    items = list(values)
    items = [None if item is None or (isinstance(item, float) and item != item) else item for item in items]
    if any(isinstance(item, str) for item in items):
        items = [item if item is None or isinstance(item, str) else str(item) for item in items]
    try:
        return pl.Series(name, items, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(name, items, strict=False)
