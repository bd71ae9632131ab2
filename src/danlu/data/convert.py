"""A delimited file of any size to Parquet, a piece of it in memory at a time, so that it can be streamed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from danlu.data.delimited import parse_delimited
from danlu.data.infer import blank_to_null, datetime_formats, infer_types, parse_format, parse_numbers
from danlu.data.read import DEFAULT_MISSING, open_source
from danlu.data.table import Table
from danlu.errors import DataError
from danlu.files import sweep, temporary_for

__all__ = ["to_parquet"]

_PIECE_BYTES = 16 * 2**20
_MOST_BYTES = 8 * _PIECE_BYTES  # of one row


@dataclasses.dataclass
class _ColumnType:
    """What the pieces seen so far say about the type of a column."""

    dtype: pl.DataType | None = None
    formats: tuple[str, ...] = ()

    def see(self, texts: pl.Series, typed: pl.Series) -> None:
        if not typed.drop_nulls().len():
            return
        dtype = typed.dtype
        formats = tuple(datetime_formats(texts)) if dtype.is_temporal() else ()
        if self.dtype is None:
            self.dtype, self.formats = dtype, formats
        elif dtype.is_temporal() and self.dtype.is_temporal():
            self.formats = tuple(pattern for pattern in self.formats if pattern in formats)
            self.dtype = dtype if self.formats else pl.String()
        elif dtype != self.dtype:
            self.dtype = pl.Float64() if dtype.is_numeric() and self.dtype.is_numeric() else pl.String()

    def convert(self, texts: pl.Series, *, decimal_comma: bool) -> pl.Series:
        if self.dtype is None or self.dtype == pl.String:
            return texts
        if self.dtype == pl.Boolean:
            return texts.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        if self.dtype.is_temporal():
            return parse_format(texts, self.formats[0])
        if self.dtype == pl.Int64:
            whole = texts.cast(pl.Int64, strict=False)
            return whole.fill_null(parse_numbers(texts, decimal_comma=decimal_comma).cast(pl.Int64, strict=False))
        return parse_numbers(texts, decimal_comma=decimal_comma)


def to_parquet(
    source: str | Path,
    folder: str | Path,
    *,
    delimiter: str | None = None,
    header: bool | str = "auto",
    missing: Iterable[str] = DEFAULT_MISSING,
    quote: str = '"',
    encoding: str = "utf-8-sig",
) -> tuple[str, ...]:
    """Write a delimited text file to a folder of Parquet files that :func:`danlu.data.open_stream` reads.

    The file is read twice, sixteen megabytes at a time: first for the columns' types, then for their values. The rules
    are those of :func:`danlu.data.read_table`, applied to each piece: a column that is numbers in one piece and texts in
    another is texts.

    Args:
        source: the text file.
        folder: where to; it must not exist, and appears only when it is complete.
        delimiter, header, missing, quote: as for :func:`danlu.data.read_table`.
        encoding: the encoding, as Python names it.

    Returns:
        notices.

    Raises:
        DataError: a file that cannot be read, lines with different numbers of fields, a folder that exists.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> written = (root / "t.csv").write_text("a;b\\n1;x\\n2;y\\n")
        >>> to_parquet(root / "t.csv", root / "t")
        ()
        >>> pl.read_parquet(root / "t").to_dicts()
        [{'a': 1, 'b': 'x'}, {'a': 2, 'b': 'y'}]
    """
    source, folder = Path(source), Path(folder)
    if folder.exists():
        raise DataError(f"{folder} exists already; nothing was written", hint="name a folder that does not exist")
    blanks = frozenset(text.strip().lower() for text in missing)

    def tables() -> Iterator[tuple[Table, str]]:
        return _tables(source, blanks, delimiter=delimiter, header=header, quote=quote, encoding=encoding)

    types: dict[str, _ColumnType] = {}
    notices: tuple[str, ...] = ()
    found = ","
    for table, found in tables():
        if not types:
            types, notices = {name: _ColumnType() for name in table.names}, table.notices
        typed = infer_types(table, missing=blanks, decimal_comma=found != ",").frame
        for name, kind in types.items():
            kind.see(blank_to_null(table.frame[name], blanks), typed[name])
    lost = dict.fromkeys(types, 0)
    part = temporary_for(folder)
    try:
        sweep(folder.parent, folder.name)
        part.mkdir(parents=True)
        for number, (table, _) in enumerate(tables()):
            columns = []
            for name, kind in types.items():
                texts = blank_to_null(table.frame[name], blanks)
                columns.append(kind.convert(texts, decimal_comma=found != ","))
                lost[name] += columns[-1].null_count() - texts.null_count()
            pl.DataFrame(columns).write_parquet(part / f"part-{number:05}.parquet")
        part.rename(folder)
    except (OSError, pl.exceptions.ComputeError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write {folder}: {said}", hint="check the free space") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return (
        *notices,
        *(f"column {name}: {n} values do not fit its type and are missing" for name, n in lost.items() if n),
    )


def _tables(
    source: Path, missing: frozenset[str], *, delimiter: str | None, header: bool | str, quote: str, encoding: str
) -> Iterator[tuple[Table, str]]:
    """The pieces of the file as tables of strings, all with the same columns, and the delimiter."""
    names: tuple[str, ...] = ()
    found, lines = delimiter, 0
    pieces = _pieces(source, quote, encoding)
    data = next(pieces, None)
    while data is not None:
        following = next(pieces, None)
        if data.strip():
            table, found = parse_delimited(
                data,
                source=str(source),
                missing=missing,
                delimiter=found,
                header=header,
                quote=quote,
                lines_before=lines,
                names=names or None,
                last=following is None,
            )
            names = names or table.names
            yield table, found
        lines += data.count(b"\n")
        data = following
    if not names:
        raise DataError(f"{source} is empty", hint="a table needs a line of column names and some rows")


def _pieces(source: Path, quote: str, encoding: str) -> Iterator[bytes]:
    """The file as UTF-8 in pieces of whole rows: a piece ends at a line's end that is not inside quotes."""
    mark = quote.encode()
    rest = b""
    with open_source(source, encoding) as file:
        while True:
            try:
                text = file.read(_PIECE_BYTES)
            except UnicodeError as error:
                raise DataError(
                    f"{source} cannot be read as {encoding}: {error}", hint="give the file's encoding=..."
                ) from error
            rest += text.replace("\r\n", "\n").replace("\r", "\n").encode()
            if not text:
                break
            cut = _last_row_end(rest, mark)
            whole = cut > len(rest) // 2
            if not whole and len(rest) > _MOST_BYTES:
                raise DataError(
                    f"{source} has a row of more than {_MOST_BYTES:,} bytes", hint="is a quote opened and never closed?"
                )
            if whole:
                yield rest[: cut + 1]
                rest = rest[cut + 1 :]
    if rest.strip():
        yield rest


def _last_row_end(data: bytes, mark: bytes) -> int:
    """Where the last line end outside quotes is, or -1: an even number of quotes stands before it."""
    inside, end = data.count(mark) % 2 == 1, len(data)
    while end >= 0:
        start = data.rfind(mark, 0, end)
        cut = -1 if inside else data.rfind(b"\n", start + 1, end)
        if cut >= 0:
            return cut
        inside, end = not inside, start
    return -1
