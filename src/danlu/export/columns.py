"""The columns of a table, as they stand in a file, to the arrays that a network takes: one fragment for each kind of column."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

import numpy as np

from danlu.data.encode import TableEncoder
from danlu.data.levels import LevelCoder
from danlu.data.schema import Column
from danlu.data.spelling import plain
from danlu.export.dates import DAY, ORIGIN, Dates
from danlu.export.graph import Graph
from danlu.export.primitives import BATCH

__all__ = ["Columns", "interpolated", "reads_as_text"]

_SPACE = r"[\s\x0b\x{85}\p{Z}]"
_GAP = r"[\s\x0b\x{85}\p{Z}\x{200B}\x{2060}\x{FEFF}]"
_CJK = r"\x{4E00}-\x{9FFF}\x{3040}-\x{30FF}\x{AC00}-\x{D7A3}"
_YES, _NO = "true|yes|y|t|1|1\\.0", "false|no|n|f|0|0\\.0"
_TURNS = {  # the place in the year, the week and the day: of each month, weekday and minute
    "month": np.arange(12) / 12,
    "weekday": np.arange(7) / 7,
    "hour": (np.arange(1440) // 60 + np.arange(1440) % 60 / 60) / 24,
}


def reads_as_text(column: Column) -> bool:
    """Whether the column enters the graph as texts; numbers enter as numbers, NaN for a gap."""
    return column.kind != "numeric"


class Columns:
    """The inputs of a graph, one for each used column of a table, and what they are encoded to.

    Args:
        graph: what is written to.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._inputs: dict[str, str] = {}

    def encoded(self, encoder: TableEncoder) -> dict[str, str]:
        """``numeric``, ``categorical`` and ``text`` as :meth:`TableEncoder.transform` gives them, each where there are such columns.

        Raises:
            ConfigError: a column that cannot be read within a graph.
        """
        graph, schema = self.graph, encoder.schema
        for column in schema.features:
            if column.name not in self._inputs:
                dtype: Any = object if reads_as_text(column) else np.float64
                self._inputs[column.name] = graph.input(column.name, dtype, (BATCH,))
        found: dict[str, str] = {}
        if encoder.scaler is not None:
            numbers = [self._number(column) for column in schema.of_kind("numeric")]
            for name, parts in encoder.dates:
                numbers += self._date(schema[name], parts)
            found["numeric"] = self._scaled(encoder.scaler, numbers)
        if encoder.levels:
            codes = [self._codes(schema[name], form, coder) for name, form, coder in encoder.levels]
            found["categorical"] = graph.cast(self._side_by_side(codes), np.int32)
        if encoder.words:
            words = [self._words(schema[name], vocabulary.words) for name, vocabulary in encoder.words]
            found["text"] = graph.op("Concat", *words, axis=1)
        return found

    def _side_by_side(self, columns: list[str]) -> str:
        axis = self.graph.ints(1)
        return self.graph.op("Concat", *(self.graph.op("Unsqueeze", each, axis) for each in columns), axis=1)

    def _fits(self, text: str, pattern: str) -> str:
        """Which texts are wholly of a regular expression, ``(rows,)``."""
        return self.graph.op("RegexFullMatch", text, pattern=pattern)

    def _any(self, *truths: str) -> str:
        return functools.reduce(lambda a, b: self.graph.op("Or", a, b), truths)

    def _missing(self, column: Column) -> str:
        """Which texts stand for a missing value."""
        words = [re.escape(word) for word in column.format.missing if word]
        for code in column.format.codes:
            if float(code).is_integer():
                words.append(("-" if code < 0 else r"\+?") + rf"0*{abs(int(code))}(?:\.0*)?")
        return self._fits(self._inputs[column.name], rf"(?is){_SPACE}*(?:{'|'.join(['', *words])}){_SPACE}*")

    # Numbers.

    def _number(self, column: Column) -> str:
        """The numbers, NaN for gaps, infinities and codes of missing values: ``(rows,)`` float64."""
        graph, x = self.graph, self._inputs[column.name]
        gaps = [
            graph.op("IsInf", x),
            *(graph.op("Equal", x, graph.constant(np.float64(code))) for code in column.format.codes),
        ]
        return graph.op("Where", self._any(*gaps), graph.constant(np.float64(np.nan)), x)

    def _scaled(self, scaler: Any, numbers: list[str]) -> str:
        """As :class:`~danlu.data.scaling.NumericScaler` scales, in float64; the result is float32."""
        graph = self.graph
        x = self._side_by_side(numbers)
        gaps = graph.op("IsNaN", x)
        filled = graph.op("Where", gaps, graph.constant(scaler.fill[None].astype(np.float64)), x)
        if scaler.scaling == "quantile":
            columns = []
            ends = zip(scaler.offsets[:-1], scaler.offsets[1:], strict=True)
            for place, (low, high) in enumerate(ends):
                one = graph.op("Gather", filled, graph.constant(np.int64(place)), axis=1)
                columns.append(
                    interpolated(
                        graph, one, scaler.knots[low:high], scaler.scores[low:high] * (scaler.scale[place] > 0)
                    )
                )
            z = self._side_by_side(columns)
        else:
            z = self._standardised(scaler, filled)
        z = graph.cast(z, np.float32)
        flagged = np.flatnonzero(scaler.indicators)
        if not len(flagged):
            return z
        shown = graph.op("Gather", graph.cast(gaps, np.float32), graph.ints(*flagged.tolist()), axis=1)
        return graph.op("Concat", z, shown, axis=1)

    def _standardised(self, scaler: Any, filled: str) -> str:
        graph = self.graph

        def number(value: float) -> str:
            return graph.constant(np.float64(value))

        z = graph.op("Sub", filled, graph.constant(scaler.center[None].astype(np.float64)))
        z = graph.op("Mul", z, graph.constant(scaler.scale[None].astype(np.float64)))
        z = graph.op("Where", graph.op("IsNaN", z), number(0), z)
        z = graph.op("Clip", z, number(-1e30), number(1e30))
        hard = graph.op("Clip", z, number(-30), number(30))
        if not scaler.smooth.any():
            return hard
        third = graph.op("Div", z, number(3))
        soft = graph.op("Div", z, graph.op("Sqrt", graph.op("Add", number(1), graph.op("Mul", third, third))))
        return graph.op("Where", graph.constant(scaler.smooth[None]), soft, hard)

    # Categories.

    def _codes(self, column: Column, form: str, coder: LevelCoder) -> str:
        """The codes of a column, ``(rows,)`` int64: 0 is unknown."""
        graph, text = self.graph, self._inputs[column.name]
        missing = self._missing(column)
        if column.kind == "boolean":
            yes, no = (self._fits(text, rf"(?i){_SPACE}*(?:{each}){_SPACE}*") for each in (_YES, _NO))
            places = {level: place for place, level in enumerate(coder.levels, 1)}
            codes = self._placed([(yes, places.get("true", 0)), (no, places.get("false", 0))])
            missing = graph.op("Or", missing, graph.op("Not", graph.op("Or", yes, no)))
        elif form == "prefix":
            codes = self._placed(
                [(self._fits(text, _prefix(level)), place) for place, level in enumerate(coder.levels, 1)]
            )
        else:
            codes = self._levels(text, missing, coder)
        gap = graph.constant(np.int64(len(coder.levels) + 1 if coder.has_missing else 0))
        return graph.op("Where", missing, gap, codes)

    def _placed(self, found: list[tuple[str, int]]) -> str:
        """The number beside the test that a row passes, 0 where it passes none."""
        graph = self.graph
        each = [graph.op("Mul", graph.cast(test, np.int64), graph.constant(np.int64(place))) for test, place in found]
        return functools.reduce(lambda a, b: graph.op("Max", a, b), each)

    def _levels(self, text: str, missing: str, coder: LevelCoder) -> str:
        """Codes by exact spelling; only where a text has none, by all spellings of each level."""
        graph = self.graph
        codes = list(range(1, len(coder.levels) + 1))
        known = graph.op(
            "LabelEncoder",
            text,
            domain="ai.onnx.ml",
            keys_strings=list(coder.levels),
            values_int64s=codes,
            default_int64=-1,
        )
        strange = graph.op("And", graph.op("Less", known, graph.constant(np.int64(0))), graph.op("Not", missing))
        some = graph.op("ReduceMax", graph.cast(strange, np.int32), graph.ints(0), keepdims=0)
        branches = []
        for look in (True, False):
            body = Graph(graph)
            inner = Columns(body)
            if look:
                found = inner._placed(
                    [(inner._fits(text, each), code) for each, code in zip(_spellings(coder), codes, strict=True)]
                )
                found = body.op("Where", strange, found, body.op("Max", known, body.constant(np.int64(0))))
            else:
                found = body.op("Max", known, body.constant(np.int64(0)))
            body.output(body.fresh(), found, np.int64, None)
            branches.append(body.body("spellings" if look else "exact"))
        return graph.op("If", graph.cast(some, bool), then_branch=branches[0], else_branch=branches[1])

    # Texts.

    def _words(self, column: Column, words: tuple[str, ...]) -> str:
        """Which words a text has, ``(rows, words)`` float32."""
        graph, text = self.graph, self._inputs[column.name]
        shown = graph.cast(self._side_by_side([self._fits(text, _word(word)) for word in words]), np.float32)
        present = graph.cast(graph.op("Not", self._missing(column)), np.float32)
        return graph.op("Mul", shown, graph.op("Unsqueeze", present, graph.ints(1)))

    # Dates.

    def _date(self, column: Column, parts: tuple[str, ...]) -> list[str]:
        """The parts of date-times as :func:`danlu.data.dates.date_parts` has them, each ``(rows,)`` float64, NaN where one is missing."""
        graph, text = self.graph, self._inputs[column.name]
        known, moment = Dates(graph, text, column.format, column.name).moments(self._missing(column))

        def calc(kind: str, a: str, b: str | int) -> str:
            return graph.op(kind, a, graph.constant(np.int64(b)) if isinstance(b, int) else b)

        def waves(name: str, wave: str, place: str) -> str:  # to the last bit as they were learnt from
            values = (np.sin if wave == "sin" else np.cos)(2 * np.pi * _TURNS[name])
            return graph.op("Gather", graph.constant(values), place)

        days = calc("Div", moment, DAY)
        year, month = self._civil(days)
        places = {
            "month": calc("Sub", month, 1),
            "weekday": calc("Mod", calc("Add", calc("Sub", days, ORIGIN - 3), 7 * 200_000), 7),
            "hour": calc("Div", calc("Mod", moment, DAY), 60_000),
        }
        found = []
        for part in parts:
            name, _, wave = part.partition("_")
            if part == "time":
                since = graph.cast(calc("Sub", moment, ORIGIN * DAY), np.float64)
                value = graph.op("Div", since, graph.constant(np.float64(DAY)))
            else:
                value = graph.cast(year, np.float64) if part == "year" else waves(name, wave, places[name])
            found.append(graph.op("Where", known, value, graph.constant(np.float64(np.nan))))
        return found

    def _civil(self, days: str) -> tuple[str, str]:
        """The year and the month of days since :data:`~danlu.export.dates.ORIGIN`, by Hinnant's "civil from days"."""
        graph = self.graph

        def calc(kind: str, a: str, b: str | int) -> str:
            return graph.op(kind, a, graph.constant(np.int64(b)) if isinstance(b, int) else b)

        era = calc("Div", days, 146_097)
        day = calc("Sub", days, calc("Mul", era, 146_097))
        leaps = calc("Sub", calc("Sub", calc("Div", day, 36_524), calc("Div", day, 1_460)), calc("Div", day, 146_096))
        of_era = calc("Div", calc("Add", day, leaps), 365)
        before = calc("Sub", calc("Add", calc("Mul", of_era, 365), calc("Div", of_era, 4)), calc("Div", of_era, 100))
        shifted = calc("Div", calc("Add", calc("Mul", calc("Sub", day, before), 5), 2), 153)  # from March
        late = graph.cast(calc("GreaterOrEqual", shifted, 10), np.int64)
        month = calc("Sub", calc("Add", shifted, 3), calc("Mul", late, 12))
        year = calc("Add", calc("Add", of_era, calc("Mul", era, 400)), late)
        return calc("Sub", year, 400), month


def interpolated(graph: Graph, x: str, knots: Any, values: Any) -> str:
    """``np.interp(x, knots, values)`` for ``x (rows,)`` float64: straight lines, and the ends' values beyond them."""
    knots, values = np.asarray(knots, np.float64), np.asarray(values, np.float64)
    if len(knots) == 1:
        knots, values = np.array([knots[0], knots[0] + 1]), np.repeat(values, 2)
    above = graph.op("GreaterOrEqual", graph.op("Unsqueeze", x, graph.ints(1)), graph.constant(knots[None]))
    count = graph.op("ReduceSum", graph.cast(above, np.int64), graph.ints(1), keepdims=0)
    place = graph.op("Sub", count, graph.constant(np.int64(1)))
    place = graph.op(
        "Min", graph.op("Max", place, graph.constant(np.int64(0))), graph.constant(np.int64(len(knots) - 2))
    )
    width = np.diff(knots)
    sure = np.where(width > 0, width, 1)
    low, base, rise = (
        graph.op("Gather", graph.constant(each), place) for each in (knots[:-1], values[:-1], np.diff(values))
    )
    share = graph.op("Div", graph.op("Sub", x, low), graph.op("Gather", graph.constant(sure), place))
    step = graph.op("Gather", graph.constant((width == 0).astype(np.float64)), place)
    share = graph.op("Clip", graph.op("Add", share, step), graph.constant(np.float64(0)), graph.constant(np.float64(1)))
    return graph.op("Add", base, graph.op("Mul", share, rise))


def _spellings(coder: LevelCoder) -> list[str]:
    """For each level the regular expression of all its spellings; see :func:`danlu.data.spelling.plain`."""
    import polars as pl

    if not coder.merged:
        return [rf"(?s){_SPACE}*{re.escape(level)}{_SPACE}*" for level in coder.levels]
    patterns = []
    for key in plain(pl.Series(coder.levels, dtype=pl.String)):
        words = ["".join(_letter(letter, len(key) > 1) for letter in word) for word in key.split(" ")]
        patterns.append(rf"(?{'i' if len(key) > 1 else ''}s){_GAP}*{(_GAP + '+').join(words)}{_GAP}*")
    return patterns


@functools.cache
def _forms() -> dict[str, list[str]]:
    """For each letter and sign, the other signs that are it in their plain form (Unicode's NFKC)."""
    found: dict[str, list[str]] = {}
    for place in range(0x80, 0x10000):
        each = chr(place)
        if (form := unicodedata.normalize("NFKC", each)) != each and len(form) == 1:
            found.setdefault(form, []).append(rf"\x{{{place:X}}}")
    return found


def _letter(letter: str, cases: bool) -> str:
    others = [*_forms().get(letter, ())]
    if cases and letter.upper() != letter:
        others += _forms().get(letter.upper(), ())
    return f"[{re.escape(letter)}{''.join(others)}]" if others else re.escape(letter)


def _prefix(level: str) -> str:
    rest = r"(?:[^\p{L}].*)?" if level[0].isalpha() else ".*"
    return rf"(?s){_SPACE}*{re.escape(level)}{rest}"


def _word(word: str) -> str:
    """The regular expression of the texts that have a word; see :func:`danlu.data.words.tokens`."""
    if len(word) == 1 and re.fullmatch("[一-鿿぀-ヿ가-힯]", word):
        return rf"(?s).*{re.escape(word)}.*"
    other, mark = rf"(?:[^\p{{L}}\p{{N}}'’]|[{_CJK}])", "['’]"
    before = rf"(?:.*(?:{other}|(?:^|[^\p{{L}}\p{{N}}]){mark}))?"
    after = rf"(?:(?:{other}|{mark}(?:[^\p{{L}}]|[{_CJK}])).*|{mark})?"
    if re.search(mark, word):
        after = r"(?:[^\p{L}].*)?"
    return rf"(?is){before}{re.escape(word)}{after}"
