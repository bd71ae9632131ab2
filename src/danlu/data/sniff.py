"""Detects the format of a delimited text file: its encoding, its delimiter, whether its first line is a header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from danlu.errors import DataError

__all__ = ["DELIMITERS", "Record", "decode", "is_missing", "looks_typed", "records", "sniff_delimiter", "sniff_header"]

csv.field_size_limit(2**31 - 1)  # Python's own limit, 131,072 characters, is less than a long document has

# In order of preference among those that fit equally well: a tab, semicolon or bar that cuts every line into the
# same number of fields is rarely an accident, a comma or a space may be.
DELIMITERS = ("\t", ";", "|", ",", " ")

_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_NUMBER = re.compile(
    r"[+-]?[$€£¥]?\s?[+-]?(\d+([.,]\d*)?|\d{1,3}([.,' ]\d{3})+([.,]\d+)?|[.,]\d+)([eE][+-]?\d+)?\s?[%€]?"
)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([ T]\d{1,2}:\d{2}.*)?")
_UNKNOWN = re.compile(r"unknown|none|missing|nil|n\.?a\.?|not available|no data|[-–—.*]+", re.IGNORECASE)
_NUL_SHARE = 1e-3  # of zero bytes, from which on a file is not text
_EDGE = 20  # lines of title above a table, or of remarks below it, that are allowed for


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
    if data.startswith(b"\x93NUMPY"):
        raise DataError(
            f"{source} is an array of NumPy's (.npy); expected an .npz file, a table or a folder",
            hint="save it with numpy.savez(FILE, x=array), or pass the array itself to model.predict in Python",
        )
    zeros = data.count(b"\0")
    if zeros > _NUL_SHARE * len(data):
        raise DataError(
            f"{source} is not a text file (it has zero bytes in it)",
            hint="danlu reads CSV, TSV, Parquet, Arrow, JSON lines and Excel files; is the file's ending right?",
        )
    removed = None
    if zeros:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        removed = f"{zeros} zero bytes were removed (the first in line {line})"
        data = data.replace(b"\0", b"")
    try:
        data.decode("utf-8")
        return data, removed
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
        return text.encode(), notice if removed is None else f"{notice}; {removed}"
    raise DataError(f"{source} is in an unknown encoding (line {line})", hint="save it as UTF-8")


class Record(NamedTuple):
    """A row of a text file: the number of its first line, from 0, and its fields without the white space around them."""

    line: int
    fields: list[str]

    @property
    def filled(self) -> int:
        """How many fields are not empty."""
        return sum(map(bool, self.fields))


def records(lines: Iterable[str], delimiter: str, quote: str = '"') -> list[Record]:
    """The rows that some lines hold; blank lines are left out, and a quoted field may go over several lines."""
    ended = (f"{line.strip() if delimiter == ' ' else line}\n" for line in lines)
    reader = csv.reader(ended, delimiter=delimiter, quotechar=quote, skipinitialspace=True)
    found, line = [], 0
    for row in reader:
        fields = [field.strip() for field in row]
        if fields and fields != [""]:
            found.append(Record(line, fields))
        line = reader.line_num
    return found


def sniff_delimiter(lines: Sequence[str], *, quote: str = '"') -> str | None:
    """The delimiter of some lines from the start of a file; None when each line is one field.

    A delimiter fits when it cuts (almost) every line into the same number of fields, at least two. Up to 20 lines before the
    first such line and after the last one may be titles and remarks, if the others are more.

    >>> sniff_delimiter(["a;b", "1,5;2", "2,5;3"])
    ';'
    >>> sniff_delimiter(["Sales 2020", "", "city;sold", "Bern;2", "Oslo;3", "Rome;1"])
    ';'
    """
    best: tuple[float, int] = (0.0, 0)
    found = None
    for rank, delimiter in enumerate(DELIMITERS):
        sizes = [len(record.fields) for record in records(lines, delimiter, quote)]
        if not sizes:
            continue
        fields = Counter(sizes).most_common(1)[0][0]
        # R leaves out the name of the row-name column: a line that is one short fits as well where it comes first.
        first = sizes.index(fields)
        first -= first > 0 and sizes[first - 1] == fields - 1 > 1
        core = sizes[first : len(sizes) - sizes[::-1].index(fields)]
        if first > _EDGE or len(core) < 0.4 * len(sizes):
            first, core = 0, sizes
        share = (core.count(fields) + (core[0] == fields - 1 > 1)) / len(core)
        # A space is also what separates words: it must fit without exception.
        if fields < 2 or share < 0.7 or (delimiter == " " and (share < 1 or len(core) < len(sizes))):
            continue
        score = (round(share * len(core) / len(sizes), 2), -rank)
        if found is None or score > best:
            best, found = score, delimiter
    return found


def looks_typed(value: str) -> bool:
    """Whether a text is a number or a date."""
    return _NUMBER.fullmatch(value) is not None or _DATE.fullmatch(value) is not None


def _is_date(value: str) -> bool:
    return _DATE.fullmatch(value) is not None and _NUMBER.fullmatch(value) is None


def sniff_header(rows: Sequence[Sequence[str]], missing: frozenset[str]) -> tuple[bool, bool]:
    """Whether the first of ``rows`` is a header, and whether that is certain.

    Each column is asked. A number above numbers says for certain that there is none; then a word above numbers or dates, a number
    above words only, a date above numbers, or nothing above 0, 1, 2, … that there is one. Less certain are a word that comes again
    below (against), and a word that a column of words coming again and again does not hold (for). Numbers that count (years,
    0, 1, 2, …, equal steps) may be names, and speak against one, a little, only where the column below reaches them. In a table
    of words only, the first row is a header unless it has gaps, one of its words comes again, or a tenth of the rows is like it.

    >>> sniff_header([["39", "Private"], ["50", "Self"]], frozenset())
    (False, True)
    >>> sniff_header([["age", "work"], ["50", "Self"]], frozenset())
    (True, True)
    >>> sniff_header([["id", "2019", "2020", "region"], ["1", "5", "7.5", "north"]], frozenset())
    (True, True)
    """
    first = list(rows[0])
    # Files that were put together repeat their header.
    body = [row for row in rows[1:] if len(first) == 1 or list(row) != first]
    typed = [looks_typed(value) for value in first]
    if not body:
        return not any(typed), True
    counting = _counting(first)
    votes = [
        _vote(value, counting[i], [row[i] for row in body if i < len(row) and not is_missing(row[i], missing)])
        for i, value in enumerate(first)
        if not value or not is_missing(value, missing)
    ]
    if all(typed) and not (
        all(map(_is_date, first)) and set(votes) == {2}
    ):  # names that are numbers look the same as data
        plain = [str(i) for i in range(len(first))]
        return len(first) > 1 and first == plain, not all(counting)
    if 2 not in votes and 10 * (len(rows) - 1 - len(body)) > len(rows):  # a row that comes again and again
        return False, False
    for strength in (2, 1):
        for_one, against = votes.count(strength), votes.count(-strength)
        if against:
            return False, not any(vote > 0 for vote in votes)
        if for_one:
            return True, True
    named = [value for value in first if value]
    return not any(typed) and len(set(named)) == len(first), False


def is_missing(value: str, missing: frozenset[str]) -> bool:
    """Whether a text means a missing value, also by its form."""
    return value.lower() in missing or _UNKNOWN.fullmatch(value) is not None


def _vote(value: str, counting: bool, below: Sequence[str]) -> int:
    """What one column says: 2 or 1 for a header, −1 or −2 against one, 0 neither."""
    if not below:
        return 0
    share = sum(map(looks_typed, below)) / len(below)
    if not value:
        return 2 * (
            len(below) > 1 and below == [str(i) for i in range(int(below[0] == "1"), len(below) + 1)][: len(below)]
        )
    if not looks_typed(value):
        if share > 0.8:
            return 2
        return -1 if value in below else int(len(below) >= 4 and len(set(below)) <= len(below) / 2)
    if share == 0 or (
        _is_date(value) and sum(_NUMBER.fullmatch(each) is not None for each in below) > 0.8 * len(below)
    ):
        return 2
    if not counting or share <= 0.8:
        return -2
    numbers = [number for number in map(_number, below) if number is not None]
    own = _number(value)
    if own is None or not numbers:
        return 0
    return -1 if min(numbers) <= own <= max(numbers) else int(len(numbers) >= 2)


def _number(value: str) -> float | None:
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return None


def _counting(first: Sequence[str]) -> list[bool]:
    """Which of some cells are numbers that could count columns: years, or equal steps from one cell to the next."""
    numbers = [_number(value) for value in first]
    found = [number is not None and number == int(number) and 1900 <= number <= 2100 for number in numbers]
    for i in range(len(numbers) - 1):
        a, b, c = numbers[i], numbers[i + 1], numbers[i + 2] if i + 2 < len(numbers) else None
        if a is None or b is None:
            continue
        if b - a == 1 and a >= 0:
            found[i] = found[i + 1] = True
        elif c is not None and b > a and np.isclose(c - b, b - a, rtol=1e-6):
            found[i] = found[i + 1] = found[i + 2] = True
    return found
