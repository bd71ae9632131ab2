"""Finds the format of each column of a table from all its texts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

import polars as pl

from danlu.data.format import Format
from danlu.data.kinds import FREE
from danlu.data.missing import is_missing_word
from danlu.data.moments import COMPACT, DOTTED_MONTHS, ORDERS, DateEvidence, order_of, patterns_of, read_moments
from danlu.data.numbers import NumberEvidence, NumberStyle, read_numbers
from danlu.data.units import is_money
from danlu.errors import ConfigError, DataError

__all__ = ["ColumnEvidence", "find_formats"]

_MOSTLY = 0.9
_FEW_LEVELS, _FEW_ROWS = 11, 50
_DATE_NAME = ("date", "time", "day", "datum", "tag", "fecha", "jour", "日", "时间", "時間")
_LIKE = {  # texts that a person takes for dates or numbers, and that no way of reading takes
    "dates": (
        r"(?i)^\d{1,2}/\d{1,2}$|^(?:19|20)\d\d-[0-3]\d\d$|^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b|^\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d\b"
        r"|^[a-z]{3,9},? [a-z]{3,9}\.? +\d{1,2},? .*\d{4}$|^\d{1,2}\.?(?: de)? ?\p{L}{3,10}\.?,?(?: de)? \d{4}\b|^\d{4} ?[年년]"
        r"|^\d{1,2}[- .]?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*$|^(?:[0-3]\d[01]\d|[01]\d[0-3]\d)(?:19|20)\d\d$"
        r"|^(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[- .]{1,2}\d{1,2}$"
    ),
    "times of day": r"(?i)^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]\.?m\.?)?$",
    "numbers": (
        r"^[^\p{L}\d]{0,3}(?:0|[1-9]\d{0,17})(?:[ ,'’]\d{3})*(?:[.,]\d+)?(?:[^\p{L}\d]{0,3}|\s?[kKmM]|[bB]n|-\p{Ll}{2,12})$"
        r"|^(?:ca?|approx|about|circa)\.? \d[\d.,]*$|^\d[\d.,]*\s?(?:±|\+/-)\s?\d[\d.,]*$|^\d+h ?\d+m"
    ),
}
_ORDER_WORDS = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}


@dataclasses.dataclass
class ColumnEvidence:
    """The evidence of one column's texts about its format, collected piece by piece; see :func:`find_formats`.

    Attributes:
        name: the column's.
        kind: what the user says it is, or None.
        dates: an order ("mdy") or a pattern ("%d.%m.%Y") of its dates that the user gives, or None.
        must: whether ``dates`` was given for this column, and not for all.
    """

    name: str
    kind: str | None = None
    dates: str | None = None
    must: bool = False
    rows: int = 0
    truths: int = 0
    by_pattern: int = 0
    numbers: NumberEvidence = dataclasses.field(default_factory=NumberEvidence)
    moments: DateEvidence = dataclasses.field(default_factory=DateEvidence)
    examples: list[str] = dataclasses.field(default_factory=list)
    like: Counter[str] = dataclasses.field(default_factory=Counter)
    different: int = 0

    def see(self, values: pl.Series) -> None:
        """Add more texts of the column to the evidence; a text that means a missing value is null."""
        present = values.drop_nulls().rename("text")
        if not len(present) or self.kind in ("categorical", *FREE):
            return
        counts = present.to_frame().group_by("text", maintain_order=True).len("rows")
        self.rows += len(present)
        self.examples = self.examples or present.head(3).to_list()
        truths = counts.filter(pl.col("text").str.to_lowercase().is_in(["true", "false"]))
        self.truths += int(truths["rows"].sum())
        self.numbers.see(counts)
        self.moments.see(counts, present)
        self.different = max(self.different, counts.height)
        for what, form in _LIKE.items():
            self.like[what] += int(counts["rows"].filter(counts["text"].str.contains(form)).sum())
        if self.dates is not None and len(patterns_of(self.dates)) == 1:
            self.by_pattern += int(counts["rows"].filter(_by(counts["text"], self.dates).is_not_null()).sum())

    @property
    def decimal(self) -> str:
        """The decimal mark, if this is a column of numbers that shows it."""
        return self.numbers.decimal() if self.numbers.lost < 0.5 * max(self.rows, 1) else ""


def _by(texts: pl.Series, pattern: str) -> pl.Series:
    try:
        return read_moments(texts, (pattern,))
    except pl.exceptions.PolarsError as error:
        why = str(error).split("\n")[0].partition(": ")[2]
        raise ConfigError(
            f"data.dates is {pattern!r}; expected 'dmy', 'mdy', 'ymd' or a pattern such as '%d.%m.%Y %H:%M'",
            hint=why or None,
        ) from error


def find_formats(
    columns: Mapping[str, ColumnEvidence],
    missing: Mapping[str, tuple[tuple[str, ...], tuple[float, ...]]],
    *,
    delimiter: str = ",",
) -> tuple[dict[str, Format], tuple[str, ...]]:
    """The format of each column, and notices about what was found.

    A decimal mark and the order of day and month are what the column's own values show; where they do not, what the other
    columns show; else a decimal point (a comma in a file divided by semicolons) and the day first, and a notice says so.

    Args:
        columns: the evidence.
        missing: the texts and numbers that stand for a missing value, see :func:`~danlu.data.missing.marks_for`.
        delimiter: of the file.

    Raises:
        DataError: a kind or a way of writing dates that the user gives, and that not one value has.
    """
    marks = {each.decimal for each in columns.values()} - {""}
    shared = marks.pop() if len(marks) == 1 else ""
    orders = {_own_order(each) for each in columns.values()} - {None, ""}
    order = orders.pop() if len(orders) == 1 else None
    formats, notices, commas = {}, [], []
    unread: dict[str, list[ColumnEvidence]] = {}
    for name, each in columns.items():
        blank = Format(missing=missing[name][0], codes=missing[name][1])
        found, said = _one(each, blank, shared, "," if delimiter == ";" else ".", order)
        formats[name] = found
        if found.written == "number" and found.number.decimal == "," and each.decimal == ",":
            commas.append(name)
        if found.written == "text" and not said and (what := _looks_like(each)):
            unread.setdefault(what, []).append(each)
        notices += said
    notices += [_unread(what, group) for what, group in unread.items()]
    _check_dates(columns, formats)
    if commas:
        notices.insert(0, f"a comma is the decimal mark in {', '.join(commas[:6])}{', …' if len(commas) > 6 else ''}")
    return formats, tuple(notices)


def _check_dates(columns: Mapping[str, ColumnEvidence], formats: Mapping[str, Format]) -> None:
    """Refuse a way of writing dates that the user gives for all columns, and that none uses."""
    given = {each.dates for each in columns.values() if each.dates is not None and not each.must}
    for text in given:
        dates = [found for found in formats.values() if found.written == "date"]
        if not any(text in ORDERS or text in found.patterns for found in dates):
            raise DataError(
                f"data.dates is {text!r}, and no column holds such dates",
                hint="expected 'dmy', 'mdy', 'ymd' or a pattern such as '%d.%m.%Y %H:%M'; or leave it out",
            )


def _own_order(each: ColumnEvidence) -> str | None:
    if sum(each.moments.counts.values()) < 0.5 * max(each.rows, 1):
        return None
    found, by = each.moments.order(each.moments.counts)
    return found if by and not by.startswith("the order") else None


def _one(each: ColumnEvidence, blank: Format, shared: str, prior: str, order: str | None) -> tuple[Format, list[str]]:
    if not each.rows or each.kind in ("categorical", *FREE, "boolean"):
        return blank if each.truths < max(each.rows, 1) else dataclasses.replace(blank, written="truth"), []
    if each.truths == each.rows:
        return dataclasses.replace(blank, written="truth"), []
    if each.kind != "numeric":
        dates = _dates(each, blank, order, first=True)
        if dates is not None:
            return dates
    if each.kind != "datetime" and not each.must:
        numbers = _numbers(each, blank, shared, prior)
        if numbers is not None:
            return numbers
    if each.kind == "numeric":
        shown = ", ".join(map(repr, each.examples))
        raise DataError(
            f"0 of {each.rows:,} values of {each.name!r} are numbers: {shown}, …",
            hint="give another kind, or leave the kind out",
        )
    dates = _dates(each, blank, order, first=False)
    if dates is not None:
        return dates
    if each.kind == "datetime" or each.must:
        raise _no_dates(each)
    return blank, _mixed(each)


def _no_dates(each: ColumnEvidence) -> DataError:
    shown, none = ", ".join(map(repr, each.examples)), f"0 of {each.rows:,} values of {each.name!r} are date-times"
    return DataError(
        f"{none}: {shown}, …" if each.dates is None else f"{none} as {each.dates!r}: {shown}, …",
        hint="say how they are written: data.dates={COLUMN: '%d.%m.%Y'}",
    )


def _mixed(each: ColumnEvidence) -> list[str]:
    """A note on amounts or dates that are written in several ways, so that their column stays texts."""
    numbers, name = each.numbers, each.name
    units, amounts = Counter[str](), 0
    for (before, after, kind), rows in numbers.kinds.items():
        if kind != "neither":  # 1.2.3
            units[f"{before} {after}".strip()] += rows
            amounts += rows if before or after or kind != "whole" else 0
    named = [unit for unit, _ in units.most_common() if unit]
    money, found = [unit for unit in named if is_money(unit)], numbers.unit()
    most = found is not None and numbers.lost <= 0.1 * each.rows and found[2] <= _MOSTLY * each.rows
    if most and len(money) > 1:
        return [f"column {name}: amounts in several currencies ({', '.join(money[:4])}) are read as texts"]
    codes = found is None or numbers.zeros or numbers.spaced or len(numbers.levels) <= _FEW_LEVELS
    if 2 * amounts >= each.rows and not codes:
        why = "others are not" if numbers.marks["neither"] else "some with a unit, others without"
        if len({mark for mark in numbers.marks if mark[:5] in ("point", "comma")}) > 1:
            why = "with a decimal point in some and a decimal comma in others"
        why = f"in {', '.join(named[:4])}" if len(named) > 1 else why
        other = next((text for text in numbers.strays if not is_missing_word(text)), None)
        why = why if other is None else f"others are like {other!r}"
        return [
            f"column {name}: {sum(units.values()):,} of {each.rows:,} values are numbers, {why}: read as texts "
            f"(data.kinds={{{name!r}: 'numeric'}} keeps those written in one way)"
        ]
    orders = {order_of(pattern) for pattern, rows in each.moments.counts.items() if rows} - {None}
    if len(orders) > 1 and 2 * max(each.moments.counts.values()) >= each.rows:
        ways = ", ".join(_ORDER_WORDS[order] for order in ORDERS if order in orders)
        return [f"column {name}: dates in several orders ({ways}) are read as texts (data.dates reads them in one)"]
    return []


def _looks_like(each: ColumnEvidence) -> str:
    """What texts that no way of reading takes look like, ``""`` where they are texts."""
    what, rows = max(each.like.items(), key=lambda found: found[1], default=("", 0))
    codes = what == "numbers" and (
        each.numbers.zeros or each.numbers.phones
    )  # postcodes, of which some begin with a zero
    return what if rows >= _MOSTLY * each.rows and each.different > _FEW_LEVELS and not codes else ""


def _unread(what: str, columns: list[ColumnEvidence]) -> str:
    """A note on columns that look like numbers or dates, and are texts for want of a way to read them."""
    names = [each.name for each in columns]
    do = {
        "numbers": "write them as plain numbers to have them read as numbers",
        "dates": f"data.dates={{{names[0]!r}: PATTERN}} reads those with a year, such as '%d%m%Y'",
        "times of day": "write them as numbers, or with their day, to have them read as dates",
    }[what]
    strays = columns[0].numbers.strays
    example = next((text for text in strays if not is_missing_word(text)), columns[0].examples[0])
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    return (
        f"column{'s' * (len(names) > 1)} {shown}: values like {example!r} look like "
        f"{'numbers' if what == 'numbers' else 'dates' if what == 'dates' else 'times of day'} and are read as texts ({do})"
    )


def _numbers(each: ColumnEvidence, blank: Format, shared: str, prior: str) -> tuple[Format, list[str]] | None:
    numbers = each.numbers
    found = numbers.unit()
    if found is None:
        return None
    unit, scaled, _ = found
    own, ambiguous = numbers.decimal(), numbers.marks["point?"] + numbers.marks["comma?"]
    mark = prior if numbers.marks["comma?"] and not numbers.marks["point?"] else "."
    decimal = own or shared or (mark if ambiguous else prior)
    good, whole = numbers.readable(unit, decimal)
    bad = each.rows - good
    style = NumberStyle(decimal, unit, scaled, whole and not scaled)
    if not good:
        return None
    if each.kind != "numeric":
        if whole and (numbers.zeros or not numbers.fits_int):  # codes: a zero in front is part of the value
            return None
        if numbers.phones >= _MOSTLY * good:
            return None
        if numbers.spaced == good and len(numbers.lengths) == 1 and max(numbers.lengths) >= 111:  # telephone numbers
            return None
        if bad and not _enough(each, good, bad, style):
            return None
    said = []
    example = numbers.example
    if unit or scaled or numbers.brackets:
        shown = _value(example, style)
        what = f"numbers in {unit}" if unit else "numbers"
        said.append(
            f"column {each.name}: read as {what}" + (f" ({example!r} is {shown:.15g})" if shown is not None else "")
        )
        bare = sum(rows for (before, after, _), rows in numbers.kinds.items() if not before and not after)
        if unit and bare:
            said[-1] += f"; {bare:,} of {each.rows:,} have no unit and are read as {unit} too"
    elif ambiguous and not own and not shared:
        example = next((text for text in numbers.doubtful), "")
        shown = _value(example, style)
        if shown is not None:
            said.append(
                f"column {each.name}: {example!r} is read as {shown:.15g}; no value shows whether that mark groups thousands"
            )
    return dataclasses.replace(blank, written="number", number=style), said


def _value(text: str, style: NumberStyle) -> float | None:
    found = read_numbers(pl.Series([text], dtype=pl.String), style)[0]
    return None if found is None else float(found)


def _enough(each: ColumnEvidence, good: int, bad: int, style: NumberStyle) -> bool:
    """Whether a column is one of numbers in spite of what is none in it."""
    numbers = each.numbers
    texts = pl.Series(sorted(numbers.levels), dtype=pl.String)
    few = read_numbers(texts, style).n_unique() <= _FEW_LEVELS and good >= _FEW_ROWS
    words = [text for text in numbers.strays if is_missing_word(text)]
    only_words = numbers.words == bad
    if few:  # a code or a level: "unknown" is one as well, a dash is none
        return only_words and not any(character.isalnum() for text in words for character in text)
    if good >= _MOSTLY * each.rows:
        return True
    if only_words or (len(numbers.strays) == 1 and bad == numbers.lost and bad <= 0.2 * each.rows):
        return bad <= 0.2 * each.rows or good >= 20
    return good >= _MOSTLY * (each.rows - numbers.words) and bad <= 0.3 * each.rows


def _dates(each: ColumnEvidence, blank: Format, order: str | None, *, first: bool) -> tuple[Format, list[str]] | None:
    """The format of a column of dates; ``first`` is for those that could be numbers."""
    counts = {pattern: rows for pattern, rows in each.moments.counts.items() if rows}
    forced = each.kind == "datetime" or each.must
    if first:
        if forced:
            return None
        exact = [pattern for pattern in (*COMPACT, *DOTTED_MONTHS) if counts.get(pattern) == each.rows]
        sure = each.numbers.lost == each.rows
        named = any(word in each.name.lower() for word in _DATE_NAME)
        if not exact or (not sure and len(each.numbers.levels) < 6 and not (named and exact[0] in COMPACT)):
            return None
        note = f"column {each.name}: read as dates ({each.examples[0]!r} is {_shown(each.examples[0], exact[0])})"
        return dataclasses.replace(blank, written="date", patterns=tuple(exact[:1])), [note]
    said: list[str] = []
    if each.dates is not None and len(patterns_of(each.dates)) == 1:
        if each.by_pattern and (forced or each.by_pattern >= _MOSTLY * each.rows):
            return dataclasses.replace(blank, written="date", patterns=(each.dates,)), []
        if each.must:
            return None
    if not forced and (each.moments.seasons >= _MOSTLY * each.rows or each.moments.without_year(counts)):
        return None
    chosen, by = (each.dates, "as you said") if each.dates in _ORDER_WORDS else each.moments.order(counts)
    if chosen is None:
        chosen, by = (order, "as in the other columns") if order else ("dmy", "")
    plain = [p for p in counts if order_of(p) is None and (forced or p not in (*COMPACT, *DOTTED_MONTHS))]
    patterns = sorted((p for p in counts if order_of(p) == chosen or p in plain), key=lambda p: -counts[p])
    good = sum(counts[pattern] for pattern in patterns)
    if not good or (not forced and good < _MOSTLY * (each.rows - each.numbers.words)):
        return None
    example = next((text for text in each.examples if _shown(text, *patterns)), "")
    ordered = [pattern for pattern in patterns if order_of(pattern)]
    if ordered and (chosen != "dmy" or not all("." in pattern for pattern in ordered)):
        because = f" ({by})" if by and by != "as you said" else "" if by else "; no value shows the order"
        other = next((each for each in ORDERS if each != chosen and any(order_of(p) == each for p in counts)), "mdy")
        hint = "" if by else f" (data.dates={other} reads it the other way)"
        said.append(
            f"column {each.name}: dates are read {_ORDER_WORDS[str(chosen)]}{because}: {example} is {_shown(example, *patterns)}{hint}"
        )
    if any("%y" in pattern for pattern in patterns):
        said.append(f"column {each.name}: years of two digits are those from 1969 to 2068")
    return dataclasses.replace(blank, written="date", patterns=tuple(patterns)), said


def _shown(text: str, *patterns: str) -> str:
    found = read_moments(pl.Series([text], dtype=pl.String), patterns)[0]
    return "" if found is None else f"{found:%Y-%m-%d}"
