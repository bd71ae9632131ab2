"""Delimited text (CSV, TSV and their kin) to a frame of strings, or one clear error that names the line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

import polars as pl

from danlu.data.sniff import decode, parse_lines, sniff_delimiter, sniff_header
from danlu.data.table import Table
from danlu.errors import ConfigError, DataError

__all__ = ["parse_delimited"]

_SAMPLE_BYTES = 256 * 1024
_SAMPLE_LINES = 200
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
    blank = lines_before + len(data) - len(data.lstrip(b"\n"))
    data = data.strip(b"\n")
    if not data.strip():
        raise DataError(f"{source} is empty", hint="a table needs a line of column names and some rows")
    sample = data[:_SAMPLE_BYTES].decode("utf-8", errors="ignore").split("\n")
    if len(data) > _SAMPLE_BYTES:
        sample = sample[:-1] or sample
    sample = sample[:_SAMPLE_LINES]
    given = delimiter is not None
    delimiter = delimiter or sniff_delimiter(sample, quote=quote)
    if delimiter is None:
        labelled = _label_and_text(data)
        if labelled is not None:
            note = "each line was read as a label, a space and a text; the columns are c1 and c2"
            return Table(labelled, (*notices, note), source, line_offset=blank + 1), " "
    rows = parse_lines(sample, delimiter or "\t", quote)
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    has_header, certain = (bool(header), True) if header != "auto" else sniff_header(rows, missing)
    names = [f"c{i + 1}" for i in range(width)]
    if header == "auto" and not (has_header and certain):
        what = (
            "the first line was taken for column names" if has_header else "no header line: the columns are c1, c2, …"
        )
        notices.append(f"{what} (say header=True or False if that is wrong)")
    if has_header and len(rows[0]) == width - 1 > 1:  # R leaves out the name of the row-name column
        data, rows[0] = f"row{delimiter}".encode() + data, ["row", *rows[0]]
    if has_header:
        names = _header_names(rows[0], width, source, notices)
    if has_header and len(rows) == 1:
        raise DataError(
            f"{source} has a header line and no rows ({_shown(names)})",
            hint="add rows, or say data.header=no (in Python header=False)",
        )
    frame = _cells(data, delimiter or "\t", quote, width, source, blank)
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null())) if width > 1 else frame.filter(pl.nth(0).is_not_null())
    if has_header:
        frame = frame.slice(1)
    one_line_a_row = data.count(b"\n") + 1 == frame.height + has_header
    if given and width == 1 and len(data) > 100:
        notices.append(f"the delimiter {delimiter!r} does not occur: the table has one column")
    offset = blank + 1 + int(has_header) if one_line_a_row else None
    return Table(frame.rename(dict(zip(frame.columns, names, strict=True))), tuple(notices), source, offset), (
        delimiter or ","
    )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")


def _header_names(first: list[str], width: int, source: str, notices: list[str]) -> list[str]:
    if len(first) != width:
        raise DataError(
            f"{source}: the header line has {len(first)} names, the lines below it have {width} fields",
            hint="repair the header, or say data.header=no if the first line is data (in Python header=False)",
        )
    names: list[str] = []
    renamed = []
    for i, name in enumerate(first):
        unique = wanted = name or f"c{i + 1}"
        count = 1
        while unique in names or (count > 1 and unique in first):
            count += 1
            unique = f"{wanted}_{count}"
        if count > 1:
            renamed.append(f"{wanted} → {unique}")
        names.append(unique)
    if renamed:
        notices.append(f"column names that come twice were changed: {', '.join(renamed)}")
    return names


def _label_and_text(data: bytes) -> pl.DataFrame | None:
    """Lines of the form "label text": few labels, one space, many different texts."""
    lines = data.decode("utf-8").split("\n")
    pairs = [line.partition(" ") for line in lines if line.strip()]
    labels = {label for label, _, _ in pairs}
    if len(pairs) < 20 or len(labels) > min(50, len(pairs) // 10) or not all(text.strip() for _, _, text in pairs):
        return None
    return pl.DataFrame({"c1": [pair[0] for pair in pairs], "c2": [pair[2].strip() for pair in pairs]})


def _cells(data: bytes, delimiter: str, quote: str, width: int, source: str, blank: int) -> pl.DataFrame:
    columns = [f"c{i + 1}" for i in range(width)]
    mark = quote.encode()
    quoted_after_space = mark in data and (delimiter.encode() + b" " + mark) in data
    if delimiter == " " or quoted_after_space:
        return _slow_cells(data, delimiter, quote, width, source, blank)
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            separator=delimiter,
            quote_char=quote if mark in data else None,
            schema=dict.fromkeys(columns, pl.String),
        )
    except pl.exceptions.PolarsError:
        # polars does not say which line: the plain parser finds it (or reads what polars is too strict for).
        return _slow_cells(data, delimiter, quote, width, source, blank)
    frame = frame.with_columns(pl.all().str.strip_chars())
    short = frame.filter(pl.nth(-1).is_null() & ~pl.all_horizontal(pl.all().is_null())).height if width > 1 else 0
    if short:
        rows = frame.filter(~pl.all_horizontal(pl.all().is_null())).height
        if mark in data or data.count(delimiter.encode()) != rows * (width - 1):
            return _slow_cells(data, delimiter, quote, width, source, blank)
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()))


def _slow_cells(data: bytes, delimiter: str, quote: str, width: int, source: str, blank: int) -> pl.DataFrame:
    text = io.StringIO(data.decode("utf-8"), newline="")
    reader = csv.reader(text, delimiter=delimiter, quotechar=quote, skipinitialspace=True, strict=True)
    rows: list[list[str | None]] = []
    line = 1
    try:
        for row in reader:
            cells = [cell.strip() or None for cell in row]
            while delimiter == " " and len(cells) > width and cells[-1] is None:
                cells.pop()
            if any(cell is not None for cell in cells):
                if len(cells) != width:
                    raise DataError(
                        f"{source}, line {line + blank}: {len(cells)} fields where {width} were expected: "
                        f"{delimiter.join(row)[:80]!r}",
                        hint="repair that line (a missing delimiter, or a field that needs quotes), "
                        "or give the delimiter",
                    )
                rows.append(cells)
            line = reader.line_num + 1
    except csv.Error as error:
        tight = re.sub(_SPACE_AFTER_QUOTE % (re.escape(quote), re.escape(delimiter)), quote, data.decode("utf-8"))
        if "expected after" in str(error) and len(tight) < len(data.decode("utf-8")):
            return _slow_cells(tight.encode(), delimiter, quote, width, source, blank)
        what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise DataError(
            f"{source}, line {line + blank}: {what}", hint="close the quote, or double a quote inside a field"
        ) from error
    return pl.DataFrame(rows, schema=dict.fromkeys((f"c{i + 1}" for i in range(width)), pl.String), orient="row")
