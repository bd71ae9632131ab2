"""Converts a delimited file of any size to Parquet, one piece in memory at a time, so that it can be streamed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from danlu.data.delimited import parse_delimited
from danlu.data.evidence import ColumnEvidence, find_formats
from danlu.data.format import Format
from danlu.data.infer import watched
from danlu.data.missing import DEFAULT_MISSING, Marks, marks_for
from danlu.data.parquet import write_piece
from danlu.data.read import open_source
from danlu.data.table import Table
from danlu.errors import DataError
from danlu.files import sweep, temporary_for

__all__ = ["to_parquet"]

_PIECE_BYTES = 16 * 2**20
_MOST_BYTES = 8 * _PIECE_BYTES  # of one row


def to_parquet(
    source: str | Path,
    folder: str | Path,
    *,
    delimiter: str | None = None,
    header: bool | str = "auto",
    missing: Marks = DEFAULT_MISSING,
    kinds: Mapping[str, str] | None = None,
    dates: str | Mapping[str, str] | None = None,
    quote: str = '"',
    encoding: str = "utf-8-sig",
) -> tuple[str, ...]:
    """Write a delimited text file to a folder of Parquet files that :func:`danlu.data.open_stream` reads.

    The file is read twice, sixteen megabytes at a time: first for how the columns are written, then for their values. What is
    found is what :func:`danlu.data.read_table` finds in the whole file; the Parquet files keep it beside their columns.

    Args:
        source: the text file.
        folder: where to; it must not exist, and appears only when it is complete.
        delimiter, header, missing, kinds, dates, quote: as for :func:`danlu.data.read_table`.
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
    usual = frozenset(marks_for(missing, "")[0])

    def tables() -> Iterator[tuple[Table, str]]:
        return _tables(source, usual, delimiter=delimiter, header=header, quote=quote, encoding=encoding)

    evidence: dict[str, ColumnEvidence] = {}
    notices: tuple[str, ...] = ()
    marks, found = {}, ","
    for table, mark in tables():
        found = mark
        if not evidence:
            evidence = {name: watched(name, kinds, dates) for name in table.names}
            marks, notices = {name: marks_for(missing, name) for name in table.names}, table.notices
        for name, each in evidence.items():
            each.see(Format(missing=marks[name][0], codes=marks[name][1]).read(table.frame[name]))
    formats, said = find_formats(evidence, marks, delimiter=found)
    kept = {name: _with_strays(written, evidence[name]) for name, written in formats.items()}
    lost = dict.fromkeys(formats, 0)
    part = temporary_for(folder)
    try:
        sweep(folder.parent, folder.name)
        part.mkdir(parents=True)
        for number, (table, _) in enumerate(tables()):
            columns = []
            for name, written in formats.items():
                columns.append(_typed(table.frame[name], written))
                lost[name] += columns[-1].null_count() - written.read(table.frame[name], "text").null_count()
            write_piece(pl.DataFrame(columns), part / f"part-{number:05}.parquet", kept)
        part.rename(folder)
    except (OSError, pl.exceptions.ComputeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"cannot write {folder}: {why}", hint="check the free space") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return (
        *notices,
        *said,
        *(f"column {name}: {n} values do not fit its type and become missing" for name, n in lost.items() if n),
    )


def _with_strays(written: Format, seen: ColumnEvidence) -> Format:
    """The format with the texts in a column of numbers as texts that mean missing."""
    strays = [text.lower() for text in seen.numbers.strays] if written.written == "number" else []
    return dataclasses.replace(written, missing=tuple(dict.fromkeys([*written.missing, *strays])))


def _typed(texts: pl.Series, written: Format) -> pl.Series:
    """The column as it is meant, in the type that all pieces have."""
    values = written.read(texts)
    if written.written == "number":
        return values.cast(pl.Int64 if written.number.whole else pl.Float64, strict=False)
    return values


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
