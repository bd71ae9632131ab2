"""Works out the format of a delimited text file: its encoding, its delimiter, whether it has a header line."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence

from danlu.errors import DataError

__all__ = ["DELIMITERS", "decode", "parse_lines", "sniff_delimiter", "sniff_header"]

# In order of preference among those that fit equally well: a tab, semicolon or bar that cuts every line into the
# same number of fields is rarely an accident, a comma or a space may be.
DELIMITERS = ("\t", ";", "|", ",", " ")

_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?")


def decode(data: bytes, *, source: str, encoding: str | None = None) -> tuple[bytes, str | None]:
    """``data`` as UTF-8 without a byte-order mark, and a notice when another encoding was assumed.

    UTF-8 and UTF-16 with a byte-order mark are recognised; bytes that are not UTF-8 are taken for GB 18030 when
    they come in pairs as Chinese characters do, and for Windows-1252 (a superset of Latin-1) otherwise.

    Raises:
        DataError: the data is binary, or not in the ``encoding`` asked for.
    """
    if encoding is not None:
        try:
            return data.decode(encoding).removeprefix("\ufeff").encode(), None
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{source} cannot be read as {encoding}: {error}", hint="leave the encoding out") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace").encode(), None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data[:65536]:
        raise DataError(
            f"{source} is not a text file (it has zero bytes in it)",
            hint="danlu reads CSV, TSV, Parquet, Arrow, JSON lines and Excel files; is the file's ending right?",
        )
    try:
        data.decode("utf-8")
        return data, None
    except UnicodeDecodeError as error:
        start = error.start
    line = data.count(b"\n", 0, start) + 1
    runs = [len(run) for run in _HIGH_BYTES.findall(data[start : start + 1_000_000])]
    paired = sum(n for n in runs if n % 2 == 0) > 0.8 * sum(runs)
    for name in ("gb18030", "cp1252", "latin-1") if paired else ("cp1252", "latin-1"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        wrong = "if that is wrong, say data.encoding=NAME (in Python encoding=...)"
        notice = f"the file is not UTF-8 (line {line}); it was read as {name}; {wrong}"
        return text.encode(), notice
    raise DataError(f"{source} is in an unknown encoding (line {line})", hint="save it as UTF-8")


def parse_lines(lines: Sequence[str], delimiter: str, quote: str = '"') -> list[list[str]]:
    """The fields of some lines, white space around them removed; blank lines are left out."""
    if delimiter == " ":
        lines = [line.strip() for line in lines]
    rows = csv.reader(lines, delimiter=delimiter, quotechar=quote, skipinitialspace=True)
    parsed = [[field.strip() for field in row] for row in rows]
    return [row for row in parsed if row and row != [""]]


def sniff_delimiter(lines: Sequence[str], *, quote: str = '"') -> str | None:
    """The delimiter of some lines from the start of a file; None when each line is one field.

    A delimiter fits when it cuts (almost) every line into the same number of fields, at least two.

    >>> sniff_delimiter(["a;b", "1,5;2", "2,5;3"])
    ';'
    """
    best: tuple[float, int] = (0.0, 0)
    found = None
    for rank, delimiter in enumerate(DELIMITERS):
        sizes = [len(row) for row in parse_lines(lines, delimiter, quote)]
        if not sizes:
            continue
        fields, lines_that_fit = Counter(sizes).most_common(1)[0]
        # R leaves out the name of the row-name column: a first line that is one short fits as well.
        share = (lines_that_fit + (sizes[0] == fields - 1 > 1)) / len(sizes)
        # A space is also what separates words: it must fit without exception.
        if fields < 2 or share < (1.0 if delimiter == " " else 0.7):
            continue
        score = (round(share, 2), -rank)
        if found is None or score > best:
            best, found = score, delimiter
    return found


def _looks_typed(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None or _DATE.fullmatch(value) is not None


def sniff_header(rows: Sequence[Sequence[str]], missing: frozenset[str]) -> tuple[bool, bool]:
    """Whether the first of ``rows`` is a header, and whether that is certain.

    A number or a date in the first row of a column of numbers or dates speaks against a header; a word above numbers
    speaks for one. In a table of words only, the first row is a header unless one of its words comes up again below
    it in the same column, or it has duplicates.

    >>> sniff_header([["39", "Private"], ["50", "Self"]], frozenset())
    (False, True)
    >>> sniff_header([["age", "work"], ["50", "Self"]], frozenset())
    (True, True)
    """
    first, body = rows[0], rows[1:]
    if any(_looks_typed(value) for value in first):
        # Column names that are numbers (years) would look the same as data: data is the safer reading.
        return False, True
    if not body:
        return True, True
    for i, value in enumerate(first):
        below = [row[i] for row in body if i < len(row) and row[i].lower() not in missing]
        if below and value.lower() not in missing and sum(map(_looks_typed, below)) > 0.8 * len(below):
            return True, True
    named = [value for value in first if value]
    if len(set(named)) < len(named) or len(named) < len(first):
        return False, False
    repeated = any(value in {row[i] for row in body if i < len(row)} for i, value in enumerate(first))
    return not repeated, repeated
