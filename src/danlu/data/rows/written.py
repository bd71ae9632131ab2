"""How the values of a column are written in its file, so that made-up ones can be read as the original."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.format import Format

__all__ = ["Written"]

_CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S", "T%H:%M:%S%.f", " %H:%M:%S%.f", " %I:%M %p")
_LOOKED = 2000  # texts by which a form is found
_NUMBER = re.compile(r"^(?P<before>\D*?)(?P<sign>-?)(?P<digits>\d[\d.,'’ ]*)(?P<after>\D*)$")


@dataclasses.dataclass(frozen=True)
class Written:
    """The form of a column's texts.

    Attributes:
        dtype: the type of the column as it was read: ``"String"`` of a text file.
        missing: how a missing value is written.
        decimals: digits after the decimal mark, at most; −1 is as many as a number has.
        fixed: whether all numbers have as many.
        decimal, group: the decimal mark, and what stands between thousands.
        before, after: what stands beside a number, such as ``"$"``.
        pattern: of a date.
        spelt: a category as it is written, where that is not its own text.
    """

    dtype: str = "String"
    missing: str = ""
    decimals: int = -1
    fixed: bool = False
    decimal: str = "."
    group: str = ""
    before: str = ""
    after: str = ""
    pattern: str = ""
    spelt: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, raw: pl.Series, typed: pl.Series, format: Format) -> Written:
        """The form of a column, from its values as they are in the file (``raw``) and as they were read (``typed``)."""
        if raw.dtype != pl.String:
            return cls(str(raw.dtype))
        gone = raw.filter(typed.is_null() & raw.is_not_null())
        missing = str(gone.mode().sort()[0]) if len(gone) else ""
        both = pl.DataFrame({"raw": raw.str.strip_chars(), "typed": typed}).drop_nulls()
        texts = both["raw"].head(_LOOKED).to_list()
        if typed.dtype.is_numeric():
            return cls._of_numbers(texts, format, missing)
        if typed.dtype.is_temporal():
            found = _pattern(both.head(_LOOKED), format)
            return cls(missing=missing, pattern=found)
        names = both.with_columns(level=_texts(both["typed"])).group_by("level", "raw").len()
        names = names.sort("len", "raw", descending=[True, False]).unique("level", keep="first", maintain_order=True)
        spelt = {level: own for level, own in names.select("level", "raw").iter_rows() if level != own}
        return cls(missing=missing, spelt=spelt)

    @classmethod
    def _of_numbers(cls, texts: list[str], format: Format, missing: str) -> Written:
        mark = format.number.decimal or "."
        found = [match for match in map(_NUMBER.match, texts) if match]
        if not found:
            return cls(missing=missing)
        parts = [match["digits"].strip().rpartition(mark) for match in found]
        shape = [(head, tail) if middle else (tail, "") for head, middle, tail in parts]
        digits = [len(tail) for _, tail in shape]
        marks = Counter(re.sub(r"\d", "", head)[:1] for head, _ in shape if re.search(r"\D", head))
        common = Counter((match["before"], match["after"]) for match in found).most_common(1)[0][0]
        return cls(
            missing=missing,
            decimals=max(digits),
            fixed=min(digits) == max(digits),
            decimal=mark,
            group=marks.most_common(1)[0][0] if marks else "",
            before=common[0],
            after=common[1],
        )

    def values(self, found: Any) -> pl.Series:
        """Numbers, seconds since 1970 or texts as the column has them.

        Args:
            found: numbers (NaN is missing; of a date seconds) or texts (None is missing).
        """
        if isinstance(found, np.ndarray) and found.dtype.kind == "f":
            return self._dates(found) if self.pattern or self.dtype.startswith("Date") else self._numbers(found)
        texts = [None if each is None else self.spelt.get(each, each) for each in found]
        if self.dtype == "Boolean":
            return pl.Series([None if each is None else each.lower() == "true" for each in texts], dtype=pl.Boolean)
        return self._text(texts) if self.dtype == "String" else pl.Series(texts).cast(_dtype(self.dtype), strict=False)

    def _text(self, texts: list[str | None]) -> pl.Series:
        return pl.Series([self.missing or None if each is None else each for each in texts], dtype=pl.String)

    def _numbers(self, found: np.ndarray) -> pl.Series:
        if self.dtype != "String":
            whole = self.dtype.startswith(("Int", "UInt"))
            values = pl.Series(found).fill_nan(None)
            return values.round().cast(_dtype(self.dtype)) if whole else values
        return self._text([None if np.isnan(each) else self._number(float(each)) for each in found])

    def _number(self, value: float) -> str:
        if self.decimals < 0:
            text = repr(value)
        else:
            text = f"{abs(value):,.{self.decimals}f}"
            if not self.fixed and "." in text:
                text = text.rstrip("0").rstrip(".")
            text = text.replace(",", "\0").replace(".", self.decimal).replace("\0", self.group)
            text = "-" * (value < 0 and text.strip("0.,") != "") + text
        return f"{self.before}{text}{self.after}"

    def _dates(self, found: np.ndarray) -> pl.Series:
        seconds = pl.Series(np.where(np.isnan(found), 0, found))
        moments = (seconds * 1e6).round().cast(pl.Int64).cast(pl.Datetime("us")).set(pl.Series(np.isnan(found)), None)
        if self.dtype != "String":
            return moments.cast(_dtype(self.dtype))
        return self._text(_shown(moments, self.pattern).to_list())


def _dtype(name: str) -> Any:
    plain = name.partition("(")[0]
    return pl.Datetime("us") if plain == "Datetime" else getattr(pl, plain)


def _texts(values: pl.Series) -> pl.Series:
    """Typed values as the texts of levels."""
    from danlu.data.kinds import as_text

    return as_text(values)


def _shown(moments: pl.Series, pattern: str) -> pl.Series:
    """Moments in a pattern, in which ``%q`` is the quarter."""
    if "%q" not in pattern:
        return moments.dt.strftime(pattern)
    quarter = ((moments.dt.month() - 1) // 3 + 1).cast(pl.String)
    before, _, after = pattern.partition("%q")
    sides: list[Callable[[], pl.Series]] = [
        lambda: moments.dt.strftime(before or "%%"),
        lambda: moments.dt.strftime(after or "%%"),
    ]
    left, right = (
        side() if each else pl.Series([""] * len(moments)) for side, each in zip(sides, (before, after), strict=True)
    )
    return left + quarter + right


def _pattern(rows: pl.DataFrame, format: Format) -> str:
    """The pattern that writes most of the dates as they are; ISO 8601 where none does."""
    best, most = "%Y-%m-%d", -1
    for pattern in dict.fromkeys([*format.patterns, "%Y-%m-%d"]):
        for clock in _CLOCKS:
            try:
                right = int((_shown(rows["typed"], pattern + clock) == rows["raw"]).sum())
            except pl.exceptions.PolarsError:
                continue
            if right > most:
                best, most = pattern + clock, right
    return best if most > 0 else "%Y-%m-%dT%H:%M:%S"
