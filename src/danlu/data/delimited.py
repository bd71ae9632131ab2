"""Reads delimited text (CSV, TSV and similar) into a frame of strings, or raises one clear error that names the line."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import polars as pl

from danlu.data.layout import Layout, find_layout, footer_lines, left_out, rows_layout
from danlu.data.sniff import decode
from danlu.data.spelling import clean_names, some_of
from danlu.data.table import Table
from danlu.errors import ConfigError, DataError

__all__ = ["parse_delimited"]

_SAMPLE_BYTES = 256 * 1024
_SAMPLE_LINES = 200
_FEWEST_ROWS = 20
_MOST_LINES = 20_000  # that 20 rows are looked for in: quotation marks may not be in pairs
_TAIL_BYTES = 64 * 1024  # in which remarks below a table are looked for
_SURE_LINES = 20  # lines that all have the fields of a row by themselves, from which on that is no accident
_SPACE_AFTER_QUOTE = r"%s[ \t]+(?=%s|\n|$)"


def parse_delimited(
    data: bytes,
    *,
    source: str,
    missing: frozenset[str],
    delimiter: str | None = None,
    header: bool | str = "auto",
    quote: str = '"',
    encoding: str | None = None,
    lines_before: int = 0,
    names: tuple[str, ...] | None = None,
    last: bool = True,
) -> tuple[Table, str]:
    """The cells of a delimited file, as strings with the white space around them removed.

    Args:
        data: the file's bytes.
        source: how to name the file in messages.
        missing: lower-case texts that stand for a missing value (used to recognise a header).
        delimiter: one character; None looks at the file.
        header: whether the first line holds the names; ``"auto"`` looks at the file.
        quote: the quote character.
        encoding: a Python codec name; None looks at the file.
        lines_before: lines of the file that come before ``data``, for the line numbers in messages.
        names: of the columns, where ``data`` goes on from an earlier piece of the file; it then has rows only.
        last: whether the file ends with ``data``; below the last rows there may be remarks.

    Returns:
        a table of strings (null where a cell is empty) and the delimiter.

    Raises:
        DataError: nothing to read, a line with too many or too few fields, a quote that never closes.
    """
    if delimiter is not None and len(delimiter) != 1:
        raise ConfigError(f"the delimiter is {delimiter!r}; expected one character")
    if header not in (True, False, "auto"):
        raise ConfigError(f"header is {header!r}; expected True, False or 'auto'")
    data, notice = decode(data, source=source, encoding=encoding)
    notices = [notice] if notice else []
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    before = lines_before + len(data) - len(data.lstrip(b"\n"))
    data = data.strip(b"\n")
    if not data.strip():
        raise DataError(f"{source} is empty", hint="a table needs a line of column names and some rows")
    sample = _first_lines(data, quote)
    if names is None:
        how: Any = {"missing": missing, "delimiter": delimiter, "header": header, "quote": quote}
        layout = find_layout(sample, **how)
        if last:
            data, remarks = _without_footer(data, layout, quote)
            if remarks and len(sample) < _SAMPLE_LINES:
                layout = find_layout(_first_lines(data, quote), **how)
            notices += remarks
        notices += layout.notices
    else:
        layout = rows_layout(sample, delimiter or ",", len(names), quote)
        if last:
            data, remarks = _without_footer(data, layout, quote)
            notices += remarks
    if layout.delimiter is None:
        labelled = _label_and_text(data)
        if labelled is not None:
            note = "each line was read as a label, a space and a text; the columns are c1 and c2"
            return Table(labelled, (*notices, note), source, line_offset=before + 1), " "
    if layout.names is None and header == "auto" and names is None:
        notices.append(
            "no header line: the columns are c1, c2, … (if that is wrong: data.header=yes, in Python header=True)"
        )
    elif not layout.certain:
        notices.append(
            "the first line was read as column names (if that is wrong: data.header=no, in Python header=False)"
        )
    cut = layout.delimiter or "\t"
    width, found = _columns_of(layout, names, source, notices)
    data = _after_lines(data, layout.first)
    if not data.strip():
        raise DataError(
            f"{source} has a header line and no rows ({some_of(found)})",
            hint="add rows, or say data.header=no (in Python header=False)",
        )
    before += layout.first
    frame, lines_are_rows = _cells(data, cut, quote, width, max(layout.fields, width), source, before, notices)
    if delimiter is not None and width == 1 and len(data) > 100:
        notices.append(f"the delimiter {delimiter!r} does not occur: the table has one column")
    frame = frame.rename(dict(zip(frame.columns, found[:width], strict=True)))
    if names is None and not lines_are_rows and (bare := _bare_lines(data, cut)):
        one = bare == 1
        notices.append(
            f"{bare:,} line{' has' if one else 's have'} delimiters and no value; {'it is' if one else 'they are'} no row"
        )
    if names is None:
        frame = _without_blank(frame, layout, notices, whole=last)
    if layout.names is not None and layout.certain and width > 1:
        again = pl.all_horizontal(pl.col(name) == own for name, own in zip(found, layout.names, strict=False) if own)
        repeated = frame.select(again.fill_null(False)).to_series()
        if repeated.any():
            notices.append(f"{int(repeated.sum())} row(s) repeat the header line and are left out")
            frame, lines_are_rows = frame.filter(~repeated), False
    return Table(frame, tuple(notices), source, before + 1 if lines_are_rows else None), layout.delimiter or ","


def _first_lines(data: bytes, quote: str) -> list[str]:
    """Some lines from the start: 200, in at most 256 KiB, but at least 20 rows whole, however long."""
    mark, place, lines, rows, marks = quote.encode(), 0, 0, 0, 0
    while place < len(data) and (rows < _FEWEST_ROWS or (lines < _SAMPLE_LINES and place < _SAMPLE_BYTES)):
        end = data.find(b"\n", place)
        end = len(data) if end < 0 else end
        marks += data.count(mark, place, end)
        lines, rows, place = lines + 1, rows + (marks % 2 == 0), end + 1
        if lines >= _MOST_LINES:
            break
    return data[:place].decode("utf-8", errors="ignore").removesuffix("\n").split("\n")


def _after_lines(data: bytes, count: int) -> bytes:
    place = 0
    for _ in range(count):
        place = data.find(b"\n", place) + 1
        if not place:
            return b""
    return data[place:]


def _without_footer(data: bytes, layout: Layout, quote: str) -> tuple[bytes, list[str]]:
    """The text without the remarks below the table, and a notice when there are any."""
    lines = data[-_TAIL_BYTES:].decode("utf-8", errors="ignore").split("\n")
    count = footer_lines(lines, layout.delimiter or "\t", layout.fields, quote, layout.firsts)
    if not count:
        return data, []
    for _ in range(count):
        data = data[: data.rindex(b"\n")]
    return data.rstrip(b"\n"), [left_out([line for line in lines[-count:] if line.strip()], "below the table")]


def _columns_of(
    layout: Layout, known: tuple[str, ...] | None, source: str, notices: list[str]
) -> tuple[int, list[str]]:
    """How many columns the table has, and their names (perhaps with one more, of the field after the last delimiter)."""
    if known is not None:
        return len(known), list(known)
    size = layout.fields
    if layout.names is None:
        return size, [f"c{i + 1}" for i in range(size)]
    first = list(layout.names)
    while len(first) > size and not first[-1]:
        first.pop()
    if len(first) == size - 1 and layout.ends_empty:
        notices.append("each line ends with a delimiter; the empty field after it is left out")
        return size - 1, clean_names(first, notices)
    if len(first) == size - 1:  # R leaves out the name of the row-name column
        notices.append("the header is one name short: the first column was read as row names and called 'row'")
        first = ["row", *first]
    if len(first) != size:
        raise DataError(
            f"{source}: the header line has {len(first)} names, the lines below it have {size} fields",
            hint="repair the header, or say data.header=no if the first line is data (in Python header=False)",
        )
    return size, clean_names(first, notices)


def _without_blank(frame: pl.DataFrame, layout: Layout, notices: list[str], *, whole: bool) -> pl.DataFrame:
    """The frame without columns that have neither a name nor a value (of a part of a file, only at the end of its lines)."""
    named = layout.names or ("",) * frame.width
    if len(named) < frame.width and layout.ends_empty is False:  # the names of rows
        named = ("row", *named)
    nameless = [name for name, own in zip(frame.columns, named, strict=False) if not own]
    empty = {name for name in nameless if frame[name].null_count() == frame.height}
    tail = frame.columns[::-1]
    ending = [name for i, name in enumerate(tail) if empty.issuperset(tail[: i + 1])]
    dropped = [name for name in nameless if name in (empty if whole and layout.names is not None else set(ending))]
    if layout.names is None and not layout.ends_empty:
        dropped = []
    if dropped and len(dropped) < frame.width:
        count = "a column has" if len(dropped) == 1 else f"{len(dropped)} columns have"
        notices.append(f"{count} neither a name nor a value (do the lines end with a delimiter?); left out")
        frame = frame.drop(dropped)
    kept = [name for name in nameless if name in frame.columns]
    if kept and layout.names is not None:
        notices.append(f"columns without a name were called {some_of(kept)}")
    return frame


def _label_and_text(data: bytes) -> pl.DataFrame | None:
    """Lines of the form "label text": few labels, one space, many different texts."""
    lines = data.decode("utf-8").split("\n")
    pairs = [line.partition(" ") for line in lines if line.strip()]
    labels = {label for label, _, _ in pairs}
    if len(pairs) < 20 or len(labels) > min(50, len(pairs) // 10) or not all(text.strip() for _, _, text in pairs):
        return None
    return pl.DataFrame({"c1": [pair[0] for pair in pairs], "c2": [pair[2].strip() for pair in pairs]})


def _cells(
    data: bytes, delimiter: str, quote: str, width: int, fields: int, source: str, before: int, notices: list[str]
) -> tuple[pl.DataFrame, bool]:
    """The rows that hold a value, in ``width`` columns, and whether each line of ``data`` is one of them.

    Where quotation marks are not in pairs, and every line by itself has the fields of a row, the marks are text.

    Args:
        fields: of most lines; those beyond ``width`` must be empty.
    """
    lines = data.count(b"\n") + 1
    try:
        frame = _quoted_cells(data, delimiter, quote, width, fields, source, before)
        if frame.height < lines and quote.encode() in data:  # polars forgives marks that are not in pairs
            frame = _slow_cells(data, delimiter, quote, width, source, before)
    except DataError:
        literal = (
            _fast_cells(data, delimiter, None, width, fields) if _lines_are_rows(data, delimiter, fields) else None
        )
        if literal is None or quote.encode() not in data or lines < _SURE_LINES:
            raise
        frame = literal
        notices.append(f"quotation marks ({quote}) are not in pairs around fields; they were read as part of the text")
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return frame, lines == frame.height


def _bare_lines(data: bytes, delimiter: str) -> int:
    """How many lines hold delimiters and nothing else; none where white space divides the fields."""
    if delimiter.isspace():
        return 0
    cut = delimiter.encode()
    return sum(cut in line and not line.strip(cut + b" \t\r") for line in data.split(b"\n"))


def _lines_are_rows(data: bytes, delimiter: str, fields: int) -> bool:
    """Whether each line that is not blank has as many delimiters as a row needs."""
    cut = delimiter.encode()
    return fields > 1 and all(line.count(cut) == fields - 1 for line in data.split(b"\n") if line.strip())


def _quoted_cells(
    data: bytes, delimiter: str, quote: str, width: int, fields: int, source: str, before: int
) -> pl.DataFrame:
    mark = quote.encode()
    frame = None
    if delimiter != " " and not (mark in data and (delimiter.encode() + b" " + mark) in data):
        frame = _fast_cells(data, delimiter, quote if mark in data else None, width, fields)
    # polars does not say which line is wrong: the plain parser finds it (or reads what polars is too strict for).
    return _slow_cells(data, delimiter, quote, width, source, before) if frame is None else frame


def _fast_cells(data: bytes, delimiter: str, quote: str | None, width: int, fields: int) -> pl.DataFrame | None:
    """The cells by polars; None where a row may have too few fields or too many."""
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            separator=delimiter,
            quote_char=quote,
            schema=dict.fromkeys((f"c{i + 1}" for i in range(fields)), pl.String),
        )
    except pl.exceptions.PolarsError:
        return None
    frame = frame.with_columns(pl.all().str.strip_chars())
    nothing = pl.all_horizontal(pl.all().is_null())
    if fields > 1 and frame.filter(pl.nth(-1).is_null() & ~nothing).height:
        rows = frame.filter(~nothing).height
        if quote is not None or data.count(delimiter.encode()) != rows * (fields - 1):
            return None
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    if fields > width and frame[:, width:].null_count().sum_horizontal()[0] < frame.height * (fields - width):
        return None
    return frame[:, :width]


def _slow_cells(data: bytes, delimiter: str, quote: str, width: int, source: str, before: int) -> pl.DataFrame:
    text = io.StringIO(data.decode("utf-8"), newline="")
    reader = csv.reader(text, delimiter=delimiter, quotechar=quote, skipinitialspace=True, strict=True)
    rows: list[list[str | None]] = []
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() or None for cell in row]
            while len(cells) > width and cells[-1] is None:
                cells.pop()
            if any(cell is not None for cell in cells):
                if len(cells) != width:
                    raise DataError(
                        f"{source}, line {line + before}: {len(cells)} fields where {width} were expected: "
                        f"{delimiter.join(row)[:80]!r}",
                        hint="repair that line (a missing delimiter, or a field that needs quotes), or set the delimiter",
                    )
                rows.append(cells)
            line = reader.line_num + 1
    except csv.Error as error:
        tight = re.sub(_SPACE_AFTER_QUOTE % (re.escape(quote), re.escape(delimiter)), quote, data.decode("utf-8"))
        if "expected after" in str(error) and len(tight) < len(data.decode("utf-8")):
            return _slow_cells(tight.encode(), delimiter, quote, width, source, before)
        what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise DataError(
            f"{source}, line {line + before}: {what}", hint="close the quote, or double a quote inside a field"
        ) from error
    return pl.DataFrame(rows, schema=dict.fromkeys((f"c{i + 1}" for i in range(width)), pl.String), orient="row")
