"""How the values of a column are written in its file, so that made-up ones can be read as the original."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.format import Format

__all__ = ["Written"]

_CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    "T%H:%M",
    "T%H:%M:%S",
    "T%H:%M:%S%.f",
    " %H:%M:%S%.f",
    " %I:%M %p",
    " %-I:%M %p",
    " %-H:%M",
)
_ZONES = ("", "Z", "+00:00")
_LOOKED = 2000  # texts by which a form is found
_FINE = 15  # digits after the decimal mark from which numbers are written as programs do
_NUMBER = re.compile(
    r"^(?P<before>\D*?)(?P<sign>-?)(?P<digits>(?:(?<![^\W\d_])[.,])?\d(?:[\d.,'’\s]*\d)?\.?)(?P<after>[eE][+-]?\d+|\D*)$"
)


@dataclasses.dataclass(frozen=True)
class Written:
    """The form of a column's texts.

    Attributes:
        dtype: the type of the column as it was read: ``"String"`` of a text file.
        missing: how a missing value is written, of several ways the most usual one.
        marks: the share of each way, where there are several.
        decimals: digits after the decimal mark, at most; −1 is as many as a number has.
        form: ``"e"`` if every number has an exponent and these differ, ``"g"`` if some have one: ``decimals`` are then those of the
            first factor, and all that count.
        fixed: whether all numbers have as many.
        decimal, group: the decimal mark, and what stands between thousands.
        before, after: what stands beside a number, such as ``"$"``.
        scale: what a number is divided by before it is written: 1e6 of "1.2M".
        pattern: of a date.
        spelt: a category as it is written, where that is not its own text.
    """

    dtype: str = "String"
    missing: str = ""
    marks: Mapping[str, float] = dataclasses.field(default_factory=dict)
    form: str = ""
    decimals: int = -1
    fixed: bool = False
    decimal: str = "."
    group: str = ""
    before: str = ""
    after: str = ""
    pattern: str = ""
    scale: float = 1.0
    spelt: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, raw: pl.Series, typed: pl.Series, format: Format) -> Written:
        """The form of a column, from its values as they are in the file (``raw``) and as they were read (``typed``)."""
        if raw.dtype != pl.String:
            return cls(str(raw.dtype))
        gone = Counter(raw.filter(typed.is_null()).fill_null("").sort().to_list())
        marks = {mark: count / gone.total() for mark, count in gone.most_common()}
        how: dict[str, Any] = {"missing": next(iter(marks), ""), "marks": marks if len(marks) > 1 else {}}
        both = pl.DataFrame({"raw": raw.str.strip_chars(), "typed": typed}).drop_nulls()
        texts = both["raw"].head(_LOOKED).to_list()
        if typed.dtype.is_numeric():
            return cls._of_numbers(texts, both["typed"].head(_LOOKED).to_list(), format, how)
        if typed.dtype.is_temporal():
            found = _pattern(both.head(_LOOKED), format)
            return cls(**how, pattern=found)
        names = both.with_columns(level=_texts(both["typed"])).group_by("level", "raw").len()
        names = names.sort("len", "raw", descending=[True, False]).unique("level", keep="first", maintain_order=True)
        spelt = {level: own for level, own in names.select("level", "raw").iter_rows() if level != own}
        return cls(**how, spelt=spelt)

    @classmethod
    def _of_numbers(cls, texts: list[str], values: list[float], format: Format, how: Mapping[str, Any]) -> Written:
        mark = format.number.decimal or "."
        found = [(match, value) for match, value in zip(map(_NUMBER.match, texts), values, strict=True) if match]
        if not found:
            return cls(**how)
        parts = [match["digits"].rpartition(mark) for match, _ in found]
        shape = [(head, tail) if middle else (tail, "") for head, middle, tail in parts]
        marks = Counter(re.sub(r"\d", "", head)[:1] for head, _ in shape if re.search(r"\D", head))
        beside: dict[tuple[str, str], list[tuple[int, float]]] = {}  # the digits and the scale of each number
        for (match, value), (head, tail) in zip(found, shape, strict=True):
            shown = float(f"{re.sub(r'[^0-9]', '', head) or 0}.{tail or 0}") * (-1 if match["sign"] else 1)
            scale = value / shown if shown else 1.0 if not value else 0.0
            if scale > 0 and "+" not in match["before"]:  # another sign, such as brackets, is not written
                beside.setdefault((match["before"], match["after"]), []).append((len(tail), float(f"{scale:.9g}")))
        if not beside:
            beside = {("", ""): [(len(tail), 1.0) for _, tail in shape]}
        powers = [after for _, after in beside if after[:1] in ("e", "E") and after[1:].strip("+-").isdigit()]
        if len(powers) > 1 or (powers and len(beside) > 1):
            every = len(powers) == len(beside)
            digits = [len(tail) + (0 if every else len(head.strip("0"))) for head, tail in shape]
            return cls(**how, form="e" if every else "g", decimals=max(digits)) if max(digits) <= _FINE else cls(**how)
        # Zero says nothing of the scale. Beside numbers of several scales all are written in the smallest one.
        scales = {pair: Counter(scale for _, scale in each).most_common(1)[0][0] for pair, each in beside.items()}
        scale = min(scales.values())
        pair = max((pair for pair in beside if scales[pair] == scale), key=lambda pair: len(beside[pair]))
        digits = [length - round(math.log10(scales[own] / scale)) for own, each in beside.items() for length, _ in each]
        if max(digits) > _FINE:
            return cls(**how)
        return cls(
            **how,
            decimals=max(*digits, 0),
            fixed=min(digits) == max(digits) and len(set(scales.values())) == 1,
            decimal=mark,
            group=marks.most_common(1)[0][0] if marks else "",
            before=pair[0],
            after=pair[1],
            scale=scale,
        )

    @property
    def places(self) -> int:
        """Digits after the decimal mark of the numbers themselves, below 0 of whole thousands; a large number where any may be."""
        return 15 if self.decimals < 0 or self.form else self.decimals - round(math.log10(self.scale))

    def values(self, found: Any, rng: np.random.Generator | None = None) -> pl.Series:
        """Numbers, seconds since 1970 or texts as the column has them.

        Args:
            found: numbers (NaN is missing; of a date seconds) or texts (None is missing).
            rng: draws how each missing value is written, where there are several ways; None takes the most usual one.
        """
        made = self._values(found)
        if rng is None or not self.marks:
            return made
        gone = np.array([value is None for value in found]) if not _is_numbers(found) else np.isnan(found)
        drawn = np.array(list(self.marks), object)[rng.choice(len(self.marks), len(made), p=[*self.marks.values()])]
        return pl.Series(np.where(gone, drawn, made.to_numpy()), dtype=pl.String).replace("", None)

    def _values(self, found: Any) -> pl.Series:
        if _is_numbers(found):
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
        if self.form:
            text = f"{value:.{self.decimals}{self.form}}".replace(".", self.decimal)
        elif self.decimals < 0:
            text = repr(value).removesuffix(".0")
        else:
            text = f"{abs(value) / self.scale:,.{self.decimals}f}"
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


def _is_numbers(found: Any) -> bool:
    return isinstance(found, np.ndarray) and found.dtype.kind == "f"


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
    dates = dict.fromkeys([*format.patterns, "%Y-%m-%d"])
    bare = [pattern.replace("%d", "%-d").replace("%m", "%-m") for pattern in dates]  # 1/9/2021
    for pattern, clock, zone in itertools.product(dict.fromkeys([*dates, *bare]), _CLOCKS, _ZONES):
        if zone and not clock:
            continue
        try:
            right = int((_shown(rows["typed"], pattern + clock + zone) == rows["raw"]).sum())
        except pl.exceptions.PolarsError:
            continue
        if right > most:
            best, most = pattern + clock + zone, right
        if most == rows.height:
            break
    return best if most > 0 else "%Y-%m-%dT%H:%M:%S"
