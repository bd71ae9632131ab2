"""Finds the table in a delimited text: below titles and comments, above remarks, without delimiters at line ends."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from danlu.data.sniff import Record, is_missing, looks_typed, records, sniff_delimiter, sniff_header

__all__ = ["Layout", "find_layout", "footer_lines", "left_out", "rows_layout"]

_SEP = re.compile(r'"?sep=(\\t|.)"?[;,\t|]*', re.IGNORECASE)
_MOST = 30  # lines above a table, or below it, that are looked at
_TOTAL = re.compile(
    r"(grand |sub)?totals?( .*)?|sums?|overall|summe|gesamt(summe)?|insgesamt|total g[eé]n[eé]ral|suma|totale|somme|"
    r"合计|总计|总和|小计|合計|総計",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(\W|note|source|quelle|fuente|remark|generated|created|exported|copyright|legend|footnote|注|来源|资料|数据)",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of a delimited text.

    Attributes:
        delimiter: what stands between fields; None where each line is one field.
        fields: of most lines; the empty one after a delimiter at a line's end is counted.
        first: lines before the first row, the header's included.
        names: the fields of the header line, or None.
        certain: whether there is no doubt about the header.
        ends_empty: whether the last field of each row is empty, or left out.
        firsts: what the first column holds more than once.
        notices: what was left out or taken for something.
    """

    delimiter: str | None
    fields: int
    first: int
    names: tuple[str, ...] | None
    certain: bool
    ends_empty: bool
    firsts: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()


def find_layout(
    lines: Sequence[str],
    *,
    missing: frozenset[str],
    delimiter: str | None = None,
    header: bool | str = "auto",
    quote: str = '"',
) -> Layout:
    """The layout of a text from lines at its start.

    Above the table there may be Excel's line ``sep=;``, comments (lines that begin with ``#``, of which the last may be the
    header), and titles: lines of one field, or of another number of fields than the table's when a header follows for certain.

    Args:
        lines: with the line ends taken off; a table that is quoted over several lines may be cut at the end.
        missing: lower-case texts that stand for a missing value.
        delimiter: one character; None looks.
        header: whether there is one; ``"auto"`` looks.
        quote: the quote character.
    """
    notices: list[str] = []
    first = 0
    said = _SEP.fullmatch(lines[0].strip(" ")) if lines else None
    if said:
        delimiter = delimiter or said[1].replace("\\t", "\t")
        first = 1
    first, comment = _after_comments(lines, first)
    delimiter = delimiter or sniff_delimiter(lines[first:], quote=quote)
    cut = delimiter or "\t"
    rows = records(lines[first:], cut, quote)
    width = Counter(len(row.fields) for row in rows).most_common(1)[0][0] if rows else 1
    rows = rows[_titles(rows, width, header, missing) :]
    top = first + rows[0].line if rows else first
    has_header, certain = bool(header), True
    if header == "auto" and rows:
        has_header, certain = sniff_header([row.fields for row in rows], missing)
    names = tuple(rows[0].fields) if has_header and rows else None
    body = rows[has_header:]
    if comment is not None and header == "auto" and not (has_header and certain):
        own = records([comment], cut, quote)
        if own and len(own[0].fields) == width == len(set(own[0].fields)) and not any(map(looks_typed, own[0].fields)):
            names, body, certain = tuple(own[0].fields), rows, True
            notices.append("the comment line above the data was read as column names")
    above = [line.strip(" ") for line in lines[:top] if line.strip() and not _SEP.fullmatch(line.strip(" "))]
    if body is rows and names is not None:
        above = above[:-1]
    if above:
        notices.append(left_out(above, "above the table"))
    if names is not None and body is not rows and _is_units(body, missing):
        notices.append(left_out([", ".join(body[0].fields)], "of units below the names"))
        body = body[1:]
    ends = [not row.fields[-1] if len(row.fields) == width else len(row.fields) == width - 1 for row in body]
    return Layout(
        delimiter,
        width,
        first + body[0].line if body else len(lines),
        names,
        certain,
        width > 1 and all(ends) and any(len(row.fields) == width for row in body),
        _repeated(row.fields[0] for row in body),
        tuple(notices),
    )


def rows_layout(lines: Sequence[str], delimiter: str, width: int, quote: str) -> Layout:
    """The layout of a later piece of a text, which holds rows only, perhaps with delimiters at their ends."""
    rows = [row.fields for row in records(lines, delimiter, quote)]
    sizes = Counter(len(row) for row in rows if not any(row[width:]))
    fields = max(sizes.most_common(1)[0][0] if sizes else width, width)
    return Layout(delimiter, fields, 0, None, True, fields > width, _repeated(row[0] for row in rows))


def _repeated(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value, count in Counter(values).items() if count > 1)


def left_out(lines: Sequence[str], where: str) -> str:
    """The notice for lines that are not part of the table."""
    shown = "; ".join(repr(line.strip()[:40]) for line in lines[:2]) + ("; …" if len(lines) > 2 else "")
    return f"{len(lines)} line{'' if len(lines) == 1 else 's'} {where} {'is' if len(lines) == 1 else 'are'} left out: {shown}"


def _after_comments(lines: Sequence[str], first: int) -> tuple[int, str | None]:
    """Where the lines after a beginning of comments and blank lines start, and the text of the last comment."""
    marked = [line.startswith("#") for line in lines[first:]]
    if not any(marked) or sum(marked) > 0.5 * len(marked):  # of a table whose first column holds "#1", "#2", …
        return first, None
    comment = None
    for at in range(first, len(lines)):
        if lines[at].startswith("#"):
            comment = lines[at].lstrip("# ").strip()
        elif lines[at].strip():
            return (at, comment) if comment is not None else (first, None)
    return first, None


def _titles(rows: Sequence[Record], width: int, header: bool | str, missing: frozenset[str]) -> int:
    """How many of the first rows are titles."""
    if width < 2:
        return 0
    fields = [row.fields for row in rows]
    start = next((i for i, row in enumerate(rows[:_MOST]) if _is_full(row, width)), 0)
    # Of titles with as many fields as a header, or one less, some line below stands above numbers.
    for place in range(start, min(len(fields) - 1, start + _MOST)):
        row, below = fields[place], fields[place + 1]
        padded = sum(map(bool, row)) <= 1
        if not padded and len(row) != width - 1 and not any(map(looks_typed, row)):
            break
        whole = len(below) == width or (len(below) == width + 1 and not below[-1])
        rest = fields[place + 1 :]
        if whole and (_above_numbers(rest, missing, 1) or (padded and sniff_header(rest, missing) == (True, True))):
            start = place + 1
            break
    if not start:
        return 0
    if header == "auto" and sniff_header(fields[start:], missing) == (True, True):
        return start
    lone = all(len(row) == 1 for row in fields[:start])
    if lone and start == 1 and width == 2 and all(row[0].isdigit() for row in fields[1:]):
        return 0  # R's one-column frame: the name of the row-name column is left out
    return start if lone else 0


def _is_full(row: Record, width: int) -> bool:
    """Whether a row can be the first of the table: as many fields as it has (or one less, or an empty one more), most of them filled."""
    size = len(row.fields)
    near = size == width or size == width - 1 > 1 or (size == width + 1 and not row.fields[-1])
    return near and row.filled > (0 if width == 2 else max(1, 0.34 * width))


def _above_numbers(rows: Sequence[Sequence[str]], missing: frozenset[str], least: int) -> bool:
    """Whether the first of some rows has words, ``least`` or more, above all columns of numbers or dates, which start below it."""
    first, body = rows[0], rows[1:]
    words = [bool(cell) and not looks_typed(cell) and not is_missing(cell, missing) for cell in first]
    below = [[row[i] for row in body if i < len(row) and row[i].lower() not in missing] for i in range(len(first))]
    typed = [len(cells) > 0 and sum(map(looks_typed, cells)) > 0.8 * len(cells) for cells in below]
    return sum(typed) >= least and all(word for word, number in zip(words, typed, strict=True) if number)


def _is_units(body: Sequence[Record], missing: frozenset[str]) -> bool:
    """Whether the first row below the names holds units: a short word above each column of numbers."""
    fields = [row.fields for row in body]
    return len(fields) > 3 and _above_numbers(fields, missing, 2) and all(len(cell) <= 12 for cell in fields[0])


def footer_lines(lines: Sequence[str], delimiter: str, width: int, quote: str, first_fields: frozenset[str]) -> int:
    """The number of last lines that are remarks below the table: a single text, or a line of totals.

    A lone text is one when it follows a blank line, or begins like one ("Source: …", "Note", "* …"), or is a sentence; so a
    line that was cut short is none.

    Args:
        lines: the last lines of the text, the first of them surely inside the table.
        delimiter, width, quote: of the table.
        first_fields: what is found in the first column elsewhere; a total's name is not.
    """
    taken = 0
    if width < 2:
        return 0
    again = _repeated(line.strip().split(delimiter)[0].strip(f" {quote}") for line in lines)
    for back in range(1, min(len(lines), _MOST)):
        line = lines[-back]
        if not line.strip():
            continue
        if line.count(quote) % 2:
            break
        row = records([line], delimiter, quote)
        fields = row[0].fields if row else [""]
        text = next((field for field in fields if field), "")
        after_blank = back < len(lines) and not lines[-back - 1].strip(delimiter + " \t")
        alone = row[0].filled == 1 if row else True
        padded = len(fields) == width and bool(fields[0])
        if line.startswith("#") and len(fields) != width:
            remark = True
        elif _TOTAL.fullmatch(text.rstrip(":")) and len(fields) >= width - 1:
            remark = text not in first_fields | again
        elif alone and (len(fields) == 1 or padded):
            remark = not looks_typed(text) and (after_blank or bool(_REMARK.match(text)) or text.count(" ") >= 2)
            remark &= not padded or (width > 2 and text not in first_fields | again)
        else:
            remark = after_blank and len(fields) != width and bool(_REMARK.match(text))
        if not remark:
            break
        taken = back
    return taken
