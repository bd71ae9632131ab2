"""Numbers as people write them: "1.234,5", "$1,037.50", "(1,200)", "5 %", "1.2M", and a column's evidence about its marks."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import sys
import unicodedata
from collections import Counter

import polars as pl

from danlu.data.missing import is_missing_word
from danlu.data.units import factor, split_unit

__all__ = ["NumberEvidence", "NumberStyle", "read_numbers"]

_EXPONENT = r"(?:[eE][+-]?\d+)?"
_SPACED = r"[1-9]\d{0,2}(?:['’]\d{3})+|[1-9]\d{0,2}(?: \d{3})+"  # grouped, whatever the decimal mark
_READS = {  # a group never begins with a zero: 0.370 is no 370
    ".": rf"^(?:(?:[1-9]\d{{0,2}}(?:,\d{{3}})+|[1-9]\d?(?:,\d{{2}})+,\d{{3}}|{_SPACED}|\d+)(?:\.\d*)?|\.\d+){_EXPONENT}$",
    ",": rf"^(?:(?:[1-9]\d{{0,2}}(?:\.\d{{3}})+|{_SPACED}|\d+)(?:,\d+)?|,\d+){_EXPONENT}$",
}
_PLAIN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_PARTS = (
    r"^(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>[\p{L}\p{Sc}][\p{L}\p{Sc}.]{0,4})?\s*(?P<open2>\()?\s*(?P<sign2>[+-])?\s*"
    r"(?P<digits>[.,]?\d(?:[\d.,'’ ]*\d)?(?:\.$)?(?:[eE][+-]?\d+)?)(?:[.,]-{1,2})?(?P<sign3>-)?(?P<gap>\s*)"
    r"(?P<after>[^\d\s.,()+'’-][^()]{0,24})?(?P<close>\))?$"
)
_NEVER = r"^[+-]?(?:inf|infinity)$"
_SHORT = r"^[^\d\s]{0,8}\s?[^\d\s]{0,3}\s?[\d０-９].{0,60}$"
_MOST_UNITS = 1000
_MOST_STRAYS = 100


@dataclasses.dataclass(frozen=True)
class NumberStyle:
    """The format of a column's numbers.

    Attributes:
        decimal: the decimal mark, ``"."`` or ``","``; ``""`` when none is known, and each text is read by what it shows.
        unit: what stands beside the numbers, such as ``"€"``, ``"km"`` or ``"%"``.
        scaled: whether some are in thousands or millions, such as "1.2M".
        whole: whether all are whole numbers.
    """

    decimal: str = ""
    unit: str = ""
    scaled: bool = False
    whole: bool = False


def read_numbers(texts: pl.Series, style: NumberStyle) -> pl.Series:
    """Texts as Float64 (Int64 where the style and every value is whole); null where one is not a number of this style.

    The value of a text does not depend on the others. "5 %" is 5, "(1,200)" is −1200, "1.2M" is 1,200,000.

    >>> read_numbers(pl.Series(["1.234,5", "-7", "0.370", "x"]), NumberStyle(",")).to_list()
    [1234.5, -7.0, None, None]
    >>> read_numbers(pl.Series(["$1,037.50", "($20)", "$3k", "12 km"]), NumberStyle(".", "$", scaled=True)).to_list()
    [1037.5, -20.0, 3000.0, None]
    """
    texts = texts.str.strip_chars()
    if style.whole:
        whole = texts.cast(pl.Int64, strict=False)
        if whole.null_count() == texts.null_count():
            return whole
    numbers = texts.cast(pl.Float64, strict=False)
    if style.decimal == ",":  # "1.234" would be cast as well
        numbers = numbers.set(texts.str.contains(".", literal=True).fill_null(False), None)
    left = texts.is_not_null() & numbers.is_null()
    if left.any():
        rows = left.arg_true()
        numbers = numbers.scatter(rows, _read_parts(texts.gather(rows), style))
    numbers = numbers.fill_nan(None)
    if style.whole:
        known = numbers.drop_nulls()
        if known.is_finite().all() and (known == known.round()).all() and (known.abs() < 2**53).all():
            return numbers.cast(pl.Int64)
    return numbers


def _parts(texts: pl.Series) -> pl.DataFrame:
    """The parts of each text that looks like a number (null digits where it does not), and its sign."""
    clean = texts.str.normalize("NFKC").str.replace_all("[−–‒]", "-").str.strip_chars()
    if clean.str.contains(r"[\p{Nd}--[0-9]]").any():
        clean = clean.str.replace_many(_digits())
    parts = pl.DataFrame({"text": clean}).select(pl.col("text").str.extract_groups(_PARTS)).unnest("text")
    opened = pl.col("open").is_not_null() | pl.col("open2").is_not_null()
    closed = pl.col("close").is_not_null()
    signs = [pl.col(name).is_not_null().cast(pl.Int8) for name in ("sign", "sign2", "sign3")]
    fits = (opened == closed) & (pl.sum_horizontal([*signs, opened.cast(pl.Int8)]) <= 1)
    joins = pl.col("sign3").is_not_null() & (pl.col("gap") == "") & pl.col("after").str.contains(r"^\p{L}")  # 12-pack
    fits &= ~joins.fill_null(False)
    minus = opened | pl.any_horizontal([pl.col(name).eq_missing("-") for name in ("sign", "sign2", "sign3")])
    return parts.select(
        digits=pl.when(fits).then(pl.col("digits")),
        before=pl.col("before").fill_null(""),
        after=pl.col("after").fill_null("").str.strip_chars(),
        sign=pl.when(minus).then(-1.0).otherwise(1.0),
        bracket=opened,
    )


@functools.cache
def _digits() -> dict[str, str]:
    """The digits and marks of other scripts, and what they are in ours."""
    digits = (each for each in map(chr, range(128, sys.maxunicode + 1)) if unicodedata.category(each) == "Nd")
    return {each: str(unicodedata.digit(each)) for each in digits} | {"٫": ".", "٬": ","}


def _read_parts(texts: pl.Series, style: NumberStyle) -> pl.Series:
    parts = _parts(texts)
    pairs = parts.select("before", "after").unique().drop_nulls().rows()
    factors = {pair: _factor(pair[0], pair[1], style) for pair in pairs} if len(pairs) <= 1000 else {("", ""): 1.0}
    known = {pair: each for pair, each in factors.items() if each is not None}
    table = pl.DataFrame(
        {
            "before": [before for before, _ in known],
            "after": [after for _, after in known],
            "power": [round(math.log10(each)) for each in known.values()],
        },
        schema={"before": pl.String, "after": pl.String, "power": pl.Int64},
    )
    parts = parts.join(table, on=["before", "after"], how="left", maintain_order="left")
    point, comma = _value(pl.col("digits"), "."), _value(pl.col("digits"), ",")
    value = {".": point, ",": comma, "": pl.coalesce(point, comma)}[style.decimal]
    return parts.select((value * pl.col("sign")).alias("value")).to_series()


def _value(digits: pl.Expr, decimal: str) -> pl.Expr:
    """Digits by a decimal mark, times ten to the ``power`` that what stands beside them means."""
    group = "[,'’ ]" if decimal == "." else "[.'’ ]"
    plain = digits.str.replace_all(group, "").str.replace_all(",", ".", literal=True)
    value = plain.cast(pl.Float64, strict=False) * pl.lit(10.0).pow(pl.col("power"))
    moved = pl.concat_str(plain, pl.lit("e"), pl.col("power")).cast(pl.Float64, strict=False)  # 33.3e6, and no rounding
    found = pl.when(pl.col("power") == 0).then(plain.cast(pl.Float64, strict=False)).otherwise(moved.fill_null(value))
    return pl.when(digits.str.contains(_READS[decimal])).then(found)


def _factor(before: str, after: str, style: NumberStyle) -> float | None:
    found = split_unit(before, after)
    if found is None:
        return None
    scale, unit = found
    if scale != 1.0 and not style.scaled:
        return None
    of_unit = 1.0 if not unit else factor(unit, style.unit) if style.unit else None
    return None if of_unit is None else scale * of_unit


@dataclasses.dataclass
class NumberEvidence:
    """The evidence of a column's texts about their numbers, collected piece by piece.

    Attributes:
        rows: how many texts were seen.
        kinds: rows by what stands before and after the digits, and by what the digits say of the marks: ``"whole"``,
            ``"point"`` (a decimal point for certain), ``"comma"``, ``"point?"`` ("1.234"), ``"comma?"`` ("1,234").
        strays: texts that are not numbers, and their rows; at most a hundred different ones.
        lost: rows of such texts.
    """

    rows: int = 0
    kinds: Counter[tuple[str, str, str]] = dataclasses.field(default_factory=Counter)
    strays: Counter[str] = dataclasses.field(default_factory=Counter)
    lost: int = 0
    words: int = 0
    levels: set[str] = dataclasses.field(default_factory=set)
    lengths: set[int] = dataclasses.field(default_factory=set)
    zeros: int = 0
    brackets: int = 0
    spaced: int = 0
    phones: int = 0
    fits_int: bool = True
    example: str = ""
    doubtful: list[str] = dataclasses.field(default_factory=list)

    def see(self, counts: pl.DataFrame) -> None:
        """Add different texts (``"text"``) with their rows (``"rows"``) to the evidence."""
        self.rows += int(counts["rows"].sum())
        text = pl.col("text")
        counts = counts.with_columns(plain=text.str.contains(_PLAIN), odd=text.str.to_lowercase().str.contains(_NEVER))
        if len(self.doubtful) < 1:
            self.doubtful = (
                counts["text"].filter(counts["text"].str.contains(r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$")).head(1).to_list()
            )
        self.phones += int(counts.filter(text.str.contains(r"^\+[1-9][0-9 ]{7,}$"))["rows"].sum())
        plain = counts.filter(pl.col("plain") | pl.col("odd"))
        other = counts.filter(~pl.col("plain") & ~pl.col("odd"))
        integer = plain.filter(text.str.contains(r"^[+-]?\d+$"))
        self.zeros += int(integer.filter(text.str.contains(r"^[+-]?0\d"))["rows"].sum())
        self.fits_int &= integer["text"].cast(pl.Int64, strict=False).null_count() == 0
        self.lengths |= (
            set(integer["text"].head(2000).str.len_chars().unique().to_list()) if len(self.lengths) < 3 else set()
        )
        self._count(
            plain.select(
                "rows", digits=text.str.strip_prefix("-").str.strip_prefix("+"), before=pl.lit(""), after=pl.lit("")
            )
        )
        if len(self.levels) <= 24:
            self.levels |= set(plain["text"].head(25).to_list())
        short = other["text"].str.contains(_SHORT)
        self._strays(other.filter(~short))
        other = other.filter(short)
        if other.height:
            parts = pl.concat([other.select("text", "rows"), _parts(other["text"])], how="horizontal")
            pairs = parts.select("before", "after").unique().head(_MOST_UNITS).rows()
            known = [f"{before}\n{after}" for before, after in pairs if split_unit(before, after) is not None]
            beside = pl.concat_str("before", pl.lit("\n"), "after").is_in(known)
            fits = parts.select(pl.col("digits").is_not_null() & beside).to_series()
            if fits.any():
                numbers = parts.filter(fits)
                self._count(numbers)
                self.brackets += int(numbers.filter(pl.col("bracket"))["rows"].sum())
                grouped = numbers.filter(pl.col("digits").str.contains(r"^[1-9]\d{0,2}( \d{3})+$"))
                self.spaced += int(grouped["rows"].sum())
                self.lengths |= set((grouped["digits"].str.len_chars() + 100).unique().to_list())
                if len(self.levels) <= 24:
                    self.levels |= set(numbers["text"].head(25).to_list())
                bracketed = numbers.filter(pl.col("bracket"))["text"]
                self.example = self.example or str(bracketed[0] if len(bracketed) else numbers["text"][0])
            self._strays(parts.filter(~fits))

    def _count(self, numbers: pl.DataFrame) -> None:
        point, comma = (pl.col("digits").str.contains(_READS[mark]) for mark in (".", ","))
        marked = pl.col("digits").str.contains(r"[.,eE]")
        kind = (
            pl.when(~marked & point)
            .then(pl.lit("whole"))
            .when(point & comma)
            .then(
                pl.when(pl.col("digits").str.contains(",", literal=True))
                .then(pl.lit("comma?"))
                .otherwise(pl.lit("point?"))
            )
            .when(point)
            .then(
                pl.when(pl.col("digits").str.contains(r"^[\d,]+$")).then(pl.lit("grouped,")).otherwise(pl.lit("point"))
            )
            .when(comma)
            .then(
                pl.when(pl.col("digits").str.contains(r"^[\d.]+$")).then(pl.lit("grouped.")).otherwise(pl.lit("comma"))
            )
            .otherwise(pl.lit("neither"))
        )
        groups = numbers.with_columns(kind=kind).group_by("before", "after", "kind").agg(pl.col("rows").sum())
        for before, after, found, rows in groups.select("before", "after", "kind", "rows").head(2000).iter_rows():
            self.kinds[(before, after, found)] += rows

    def _strays(self, strays: pl.DataFrame) -> None:
        self.lost += int(strays["rows"].sum())
        for text, rows in strays.select("text", "rows").sort("rows", descending=True).head(_MOST_STRAYS).iter_rows():
            if len(self.strays) < _MOST_STRAYS or text in self.strays:
                self.strays[text] += rows
            if is_missing_word(text):
                self.words += rows

    @property
    def marks(self) -> Counter[str]:
        """Rows of each kind of digits, whatever stands beside them."""
        found: Counter[str] = Counter()
        for (_, _, kind), rows in self.kinds.items():
            found[kind] += rows
        return found

    def decimal(self) -> str:
        """The decimal mark that the column shows by itself, or ``""``."""
        marks = self.marks
        point, comma = marks["point"] + marks["grouped,"], marks["comma"] + marks["grouped."]
        return "." if point > comma else "," if comma > point else ""

    def unit(self) -> tuple[str, bool, int] | None:
        """The unit of the numbers, whether some are scaled, and the rows of numbers in it; None when units are mixed."""
        units: Counter[str] = Counter()
        scales: set[float] = set()
        letters, plain = 0, 0
        for (before, after, kind), rows in self.kinds.items():
            scale, unit = split_unit(before, after) or (1.0, "")
            units[unit] += rows
            scales.add(scale)
            code = len(after) == 1 and after.isascii() and after.isupper() and not before and kind == "whole"
            letters += rows if code else 0
            plain += rows
        if not units:
            return None
        named = [unit for unit, _ in units.most_common() if unit]
        if letters == plain or (letters and len(scales) < 2 and letters > 0.5 * plain):
            return None  # 12B, 14B: a letter behind whole numbers only is part of a code
        best = named[0] if named else ""
        if best == "m" and len(scales) > 1:
            return None  # 48m beside 52bn or 3k: millions or metres?
        alike = sum(rows for unit, rows in units.items() if not unit or factor(unit, best) is not None)
        with_unit = alike - units[""]
        if best and with_unit < 0.5 * alike and not re.search(r"[^\w\s]", best):
            best, alike = "", units[""]  # a word behind a few numbers is no unit of all of them
        return best, len(scales) > 1 or scales != {1.0}, alike

    def readable(self, unit: str, decimal: str) -> tuple[int, bool]:
        """The rows of numbers in a unit, by a decimal mark; and whether all of those are whole."""
        sure = {".": ("point", "grouped,", "point?", "comma?"), ",": ("comma", "grouped.", "point?", "comma?")}[decimal]
        grouped = {".": ("grouped,", "comma?"), ",": ("grouped.", "point?")}[decimal]
        rows, whole = 0, True
        for (before, after, kind), count in self.kinds.items():
            own = (split_unit(before, after) or (1.0, ""))[1]
            size = 1.0 if not own else factor(own, unit) if unit else None
            if size is not None and (kind == "whole" or kind in sure):
                rows += count
                whole &= size == 1.0 and (kind == "whole" or kind in grouped)
        return rows, whole
