"""Date-times as people write them: ISO, day or month first, months, quarters, weeks, AM and PM."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter

import numpy as np
import polars as pl

__all__ = [
    "COMPACT",
    "DEFAULT_PATTERNS",
    "DOTTED_MONTHS",
    "MONTHS",
    "ORDERS",
    "TIME",
    "DateEvidence",
    "moment_regex",
    "order_of",
    "patterns_of",
    "read_moments",
]

DATETIME = pl.Datetime("us")
ORDERS = ("dmy", "mdy", "ymd")

_FREE = (  # patterns that leave no doubt which number is what; %q is a quarter, %V a week of the ISO year %G
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S"),
    *(
        "%d %b %Y",
        "%d-%b-%Y",
        "%d/%b/%Y",
        "%d. %b %Y",
        "%d%b%Y",
        "%b %d, %Y",
        "%b %d %Y",
        "%b-%d-%Y",
        "%Y-%b-%d",
        "%Y %b %d",
    ),
    *("%d-%b-%y", "%d %b %y", "%d%b%y", "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%Y年%m月", "%YM%m", "%m.%Y", "%Y.%m"),
    *("%b %Y", "%b-%Y", "%b/%Y", "%b, %Y", "%Y %b", "%Y-%b", "%b-%y", "%b %y", "%b'%y"),
    *(
        "%YQ%q",
        "%Y-Q%q",
        "%Y Q%q",
        "%Y/Q%q",
        "Q%q %Y",
        "Q%q-%Y",
        "Q%q/%Y",
        "%qQ%Y",
        "%qQ%y",
        "%Y年%q季度",
        "%Y年第%q季度",
    ),
    *("%G-W%V", "%GW%V", "%G W%V", "%G-W%V-%u", "%GW%V%u", "W%V %G", "W%V-%G", "W%V/%G"),
)
_ORDERED = {
    order: tuple(
        mark.join(f"%{part}" for part in parts)
        for parts in (order.replace("y", "Y"), order)
        for mark in "./- "
        if "Y" not in parts or order != "ymd"
    )
    for order in ORDERS
}
_ALL = (*_FREE, *dict.fromkeys(pattern for order in ORDERS for pattern in _ORDERED[order]))
COMPACT = ("%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S")
DOTTED_MONTHS = ("%m.%Y", "%Y.%m")
DEFAULT_PATTERNS = (*(p for p in _FREE if p not in (*COMPACT, *DOTTED_MONTHS)), *_ORDERED["dmy"])
"""Of a column whose texts were never seen: a date such as 3/4/2024 is read day first."""

TIME = (
    r"(?:(?:T|,?\s+(?:at\s+)?|:)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<p>[ap]\.?\s?m\.?)?"
    r"|T(?P<H2>\d{2})(?:(?P<M2>\d{2})(?P<S2>\d{2})?)?|,?\s+(?P<H3>\d{1,2})\s*(?P<p3>[ap]\.?m\.?))"
    r"(?:\s*(?P<z>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?"
)
"""The times of day that may follow a date, as a regular expression."""
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so)[a-z]*\.?,?\s+)?"
_PIECES = {
    "%Y": r"(?P<y>\d{4})",
    "%G": r"(?P<g>\d{4})",
    "%y": r"'?(?P<s>\d{2})",
    "%m": r"(?P<m>\d{1,2})",
    "%d": r"(?P<d>\d{1,2})(?:st|nd|rd|th)?",
    "%b": r"(?P<b>\p{L}{3,12})\.?",
    "%q": r"(?P<q>[1-4])",
    "%V": r"(?P<w>\d{1,2})",
    "%u": r"(?P<u>[1-7])",
    "%H": r"(?P<Hc>\d{2})",
    "%M": r"(?P<Mc>\d{2})",
    "%S": r"(?P<Sc>\d{2})",
}
MONTHS = {
    name: number + 1
    for language in (
        "january february march april may june july august september october november december",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    )
    for number, full in enumerate(language.split())
    for name in ({full, full[:3], full[:4]} if not full.startswith("jui") else {full, full[:4]})
} | {"jän": 1, "jänner": 1, "mrz": 3, "sept": 9, "fév": 2, "avr": 4, "aoû": 8, "déc": 12}
"""The number of each month by its names, in lower case."""
_TAILS = (" %H:%M:%S", "T%H:%M:%S", " %H:%M", "")
_LOOK = r"^.{0,30}\d.{0,40}$"
_MOST_ROWS = 20_000
_SHAPES = 500
_TIME_DIRECTIVES = re.compile(r"%(?:[HIMSpzZfTR]|[-_0.#:\d]*[zf])")


def order_of(pattern: str) -> str | None:
    """``"dmy"``, ``"mdy"`` or ``"ymd"`` if a pattern is ambiguous in its order."""
    return next((order for order, patterns in _ORDERED.items() if pattern in patterns), None)


def patterns_of(text: str) -> tuple[str, ...]:
    """The patterns that a user means by an order ("mdy") or by one pattern ("%d.%m.%Y %H:%M")."""
    if text in ORDERS:
        return (*_ORDERED[text], *(p for p in _FREE if p not in (*COMPACT, *DOTTED_MONTHS)))
    return (text,)


@functools.cache
def moment_regex(pattern: str) -> str | None:
    """The regular expression of a pattern of ours, None of one that strptime has to read."""
    if pattern not in COMPACT and _TIME_DIRECTIVES.search(pattern):
        return None
    pieces = re.split(r"(%.)", pattern)
    if any(piece.startswith("%") and piece not in _PIECES for piece in pieces):
        return None
    found = "".join(_PIECES[piece] if piece in _PIECES else _literal(piece) for piece in pieces)
    if pattern in COMPACT or pattern in DOTTED_MONTHS:  # what else could be a number
        found = found.replace(r"\d{1,2}", r"\d{2}").replace("(?:st|nd|rd|th)?", "")
        found = found.replace(r"(?P<y>\d{4})", r"(?P<y>1[89]\d\d|2[01]\d\d)")
    if "%d" not in pattern and "%Y" in pattern:  # a month: the year is no number of four digits at will
        found = found.replace(r"(?P<y>\d{4})", r"(?P<y>1[5-9]\d\d|2[01]\d\d)")
    return rf"(?i)^{_WEEKDAY}{found}(?:{TIME})?$"


def _literal(text: str) -> str:
    return (
        re.escape(text)
        .replace(r"\ ", r"\s*" if text == ". " else r"\s+")
        .replace(",\\s+", r",?\s*")
        .replace("\\'", "'?")
    )


def read_moments(texts: pl.Series, patterns: tuple[str, ...], *, pivot: int = 69) -> pl.Series:
    """Texts as date-times by the first pattern that fits each, in UTC where they name a time zone; null where none does.

    A time of day may follow any date. The value of a text does not depend on the others.

    Args:
        texts: the texts.
        patterns: as of strptime, with ``%q`` for a quarter.
        pivot: years of two digits below it are of this century, from it on of the last.

    >>> read_moments(pl.Series(["12/31/23 1:05 PM", "2017Q3", "x"]), ("%m/%d/%y", "%YQ%q")).dt.to_string("%Y-%m-%d %H:%M").to_list()
    ['2023-12-31 13:05', '2017-07-01 00:00', None]
    """
    result = pl.Series(texts.name, [None] * len(texts), dtype=DATETIME)
    left = texts.is_not_null()
    for pattern in patterns:
        rows = left.arg_true()
        if not len(rows):
            break
        result = result.scatter(rows, _read_all(texts.gather(rows), pattern, pivot))
        left = texts.is_not_null() & result.is_null()
    return result.rename(texts.name)


def _read_all(texts: pl.Series, pattern: str, pivot: int) -> pl.Series:
    """What :func:`_read_one` gives, by the quicker way of polars for those that are written as the first is."""
    if not re.fullmatch(r"%[Ydm][-/.]%[md][-/.]%[Yd]", pattern):
        return _read_one(texts, pattern, pivot)
    for tail in _TAILS:
        if texts.head(1).str.to_datetime(pattern + tail, strict=False, time_unit="us").null_count() == 0:
            break
    found = texts.str.to_datetime(pattern + tail, strict=False, time_unit="us")
    found = found.set((found.dt.year() < 1000).fill_null(False) | texts.str.contains(r"[+]").fill_null(False), None)
    left = (found.is_null() & texts.is_not_null()).arg_true()
    return found.scatter(left, _read_one(texts.gather(left), pattern, pivot)) if len(left) else found


def _read_one(texts: pl.Series, pattern: str, pivot: int) -> pl.Series:
    regex = moment_regex(pattern)
    if regex is None:
        zoned = "%z" in pattern or "%#z" in pattern or "%:z" in pattern
        found = texts.str.to_datetime(
            pattern, strict=False, time_unit="us", time_zone="UTC" if zoned else None, exact=True
        )
        return found.dt.replace_time_zone(None) if zoned else found
    clean = texts.str.normalize("NFKC").str.strip_chars().rename("text").to_frame()
    parts = clean.select(pl.col("text").str.extract_groups(regex)).unnest("text")
    names = set(parts.columns)

    def number(name: str, default: int | None = None) -> pl.Expr:
        if name not in names:
            return pl.lit(default, dtype=pl.Int64)
        found = pl.col(name).cast(pl.Int64, strict=False)
        return found if default is None else found.fill_null(default)

    year = number("y")
    if "s" in names:
        year = number("s") + pl.when(number("s") >= pivot).then(1900).otherwise(2000)
    month = number("m")
    if "b" in names:
        month = pl.col("b").str.to_lowercase().replace_strict(MONTHS, default=None, return_dtype=pl.Int64)
    if "q" in names:
        month = number("q") * 3 - 2
    if "m" not in names and "b" not in names and "q" not in names:
        month = pl.lit(1, dtype=pl.Int64)
    day = number("d") if "d" in names else pl.lit(1, dtype=pl.Int64)
    if "g" in names:
        date = pl.format("{}-W{}-{}", pl.col("g"), pl.col("w").str.zfill(2), number("u", 1)).str.to_date(
            "%G-W%V-%u", strict=False
        )
    else:
        text = pl.format(
            "{}-{}-{}",
            year.cast(pl.String).str.zfill(4),
            month.cast(pl.String).str.zfill(2),
            day.cast(pl.String).str.zfill(2),
        )
        date = text.str.to_date("%Y-%m-%d", strict=False)
    hour = pl.coalesce(number("H"), number("H2"), number("H3"), number("Hc"), pl.lit(0))
    minute = pl.coalesce(number("M"), number("M2"), number("Mc"), pl.lit(0))
    second = pl.coalesce(number("S"), number("S2"), number("Sc"), pl.lit(0))
    half = pl.coalesce(pl.col("p"), pl.col("p3")).str.to_lowercase().str.slice(0, 1)
    wrong = ((hour > 24) | (minute > 59) | (second > 60)) | (half.is_not_null() & ((hour < 1) | (hour > 12)))
    hour = pl.when(half == "a").then(hour % 12).when(half == "p").then(hour % 12 + 12).otherwise(hour)
    fraction = pl.col("f").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64, strict=False).fill_null(0)
    zone = pl.col("z").str.replace_all("[:ZzUuTtCcGgMm]", "")
    hours = zone.str.slice(0, 3).cast(pl.Int64, strict=False).fill_null(0)
    minutes = zone.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0) * pl.when(zone.str.starts_with("-")).then(
        -1
    ).otherwise(1)
    seconds = (hour - hours) * 3600 + (minute - minutes) * 60 + second
    moment = date.cast(DATETIME) + pl.duration(seconds=seconds, microseconds=fraction)
    return parts.select(pl.when(~wrong).then(moment).alias("text")).to_series().rename(texts.name).cast(DATETIME)


@dataclasses.dataclass
class DateEvidence:
    """The evidence of a column's texts about their dates, collected piece by piece.

    Attributes:
        rows: how many texts were seen.
        counts: rows that each pattern reads.
        sequence: texts in the order of the file, the first twenty thousand.
    """

    rows: int = 0
    alike: int = 0
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    sequence: list[str] = dataclasses.field(default_factory=list)
    seasons: int = 0
    days: set[int] = dataclasses.field(default_factory=set)

    def see(self, counts: pl.DataFrame, values: pl.Series) -> None:
        """Add different texts (``"text"``) with their rows (``"rows"``), and the texts in their order, to the evidence."""
        self.rows += int(counts["rows"].sum())
        counts = counts.filter(pl.col("text").str.contains(_LOOK))
        self.alike += int(counts["rows"].sum())
        if self.alike < 0.5 * self.rows:
            return
        self.sequence += values.drop_nulls().head(_MOST_ROWS - len(self.sequence)).to_list()
        plain = counts["text"].str.normalize("NFKC").str.replace_all(r"(\d)(?:st|nd|rd|th)\b", "$1")
        shapes = plain.str.replace_all(r"\d+", "9").str.replace_all(r"\p{L}+", "a")
        counts = counts.with_columns(shape=shapes, size=pl.col("text").str.len_chars())
        possible = counts["shape"].unique().head(_SHAPES).to_list()
        for pattern in _ALL:
            fitting = [
                shape for shape in possible if _spaced(shape).startswith((_shape(pattern), f"a {_shape(pattern)}"))
            ]
            texts = counts.filter(pl.col("shape").is_in(fitting)) if fitting else counts.clear()
            if pattern in COMPACT:  # of the texts that are digits only, those that have as many
                size = {"%d": 8, "%M": 12, "%S": 14}[pattern[-2:]]
                texts = texts.filter((pl.col("shape") != "9") | (pl.col("size") == size))
            if texts.height:
                self.counts[pattern] += int(
                    texts["rows"].filter(_read_all(texts["text"], pattern, 69).is_not_null()).sum()
                )
        self.days |= set(
            counts["text"].str.extract(r"^\p{L}{3,12}\.?[- ](\d{2})$").drop_nulls().cast(pl.Int64).unique().to_list()
        )
        season = counts.filter(pl.col("text").str.contains(r"^\d{4}[-/]\d{2}$"))  # 2009-10, 2010-11: no months
        following = (season["text"].str.slice(0, 4).cast(pl.Int64) + 1) % 100 == season["text"].str.slice(5).cast(
            pl.Int64
        )
        self.seasons += int(season["rows"].filter(following).sum())

    def without_year(self, counts: dict[str, int]) -> bool:
        """Whether texts that look like months with two-digit years are days without a year: "Feb 06", "Mar 29"."""
        short = {pattern for pattern, rows in counts.items() if rows} <= {"%b-%y", "%b %y"}
        return short and bool(self.days) and 1 <= min(self.days) <= 3 and 28 <= max(self.days) <= 31

    def order(self, counts: dict[str, int]) -> tuple[str | None, str]:
        """The order of day and month that the column shows, and the reason; None if nothing shows it, ``""`` if none is needed."""
        sums = {order: sum(counts.get(pattern, 0) for pattern in _ORDERED[order]) for order in ORDERS}
        most = max(sums.values())
        if not most:
            return "", ""
        best = [order for order in ORDERS if sums[order] == most]
        if len(best) == 1:
            return best[0], "values that can be read in no other way"
        if all("." in pattern for pattern, rows in counts.items() if rows and order_of(pattern) == "dmy"):
            return "dmy", ""
        return self._by_sequence(best)

    def _by_sequence(self, orders: list[str]) -> tuple[str | None, str]:
        texts = pl.Series(self.sequence, dtype=pl.String)
        marks = {}
        for order in orders:
            moments = read_moments(texts, _ORDERED[order]).drop_nulls().to_numpy().astype("datetime64[us]")
            marks[order] = _regularity(moments)
        ranked = sorted(orders, key=lambda order: marks[order], reverse=True)
        if len(ranked) > 1:
            first, second = marks[ranked[0]], marks[ranked[1]]
            if first[0] > second[0] + 0.02 or (first[0] >= second[0] and first[1] > second[1] + 0.02):
                return ranked[0], "the order of the rows"
        return None, ""


@functools.cache
def _shape(pattern: str) -> str:
    """A pattern with 9 for its numbers and a for its words: it fits no text whose own shape does not begin so, but for a weekday."""
    found = re.sub(r"[^\W\d_%]+", "a", re.sub(r"%.", lambda each: "a" if each[0] == "%b" else "9", pattern))
    return _spaced(re.sub(r"9+", "9", found))


def _spaced(shape: str) -> str:
    return re.sub(r"[\s,.']+", " ", shape) if "a" in shape else shape


def _regularity(moments: np.ndarray) -> tuple[float, float]:
    """How nearly moments come in order, and how often the step from one to the next is the most common (days, or months)."""
    if len(moments) < 3:
        return 0.0, 0.0
    steps = np.diff(moments.astype(np.int64))
    sorted_share = max(float((steps >= 0).mean()), float((steps <= 0).mean()))
    moved = np.flatnonzero(steps)
    if not len(moved):
        return 0.0, 0.0
    days, months = moments.astype("datetime64[D]"), moments.astype("datetime64[M]").astype(np.int64)
    in_month = (days - moments.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    same_day = np.diff(in_month)[moved] == 0
    whole = np.where(same_day, np.diff(months)[moved] * 10**12, np.diff(moments.astype(np.int64))[moved] // 10**6)
    _, counts = np.unique(whole, return_counts=True)
    return sorted_share, float(counts.max() / len(moved))
