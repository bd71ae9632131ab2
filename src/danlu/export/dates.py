"""Texts with dates as numbers within a graph.

A text is read by regular expressions, the one thing that ONNX has for texts besides cutting them: of each field (a month, an hour) one
expression for every bit of its number, which is the pattern of the whole with only those values in the field's place. Dates of
three plain numbers, the usual ones, are cut at their marks instead, which is quicker; the expressions see only what that could not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from danlu.data.format import Format
from danlu.data.moments import MONTHS, TIME, moment_regex
from danlu.errors import ConfigError
from danlu.export.graph import Graph

__all__ = ["DAY", "ORIGIN", "Dates"]

DAY = 86_400_000
"""Milliseconds."""
ORIGIN = 719_468 + 146_097
"""Days from the first of March of the year −400, from which all is counted, to 1970."""
_PLAIN = re.compile(r"%([Ydm])([-/.])%([md])\2%([Yd])")
_SPACE = r"[\s\x0b\x{85}\p{Z}]"
_NEVER = r"[^\x{0}-\x{10FFFF}]"
_MARKS = "0123456789/:,-."
_FORMS = {ord(each): ord(each) + 0xFEE0 for each in _MARKS if each != "-"} | {ord("-"): "－"}
_TOKEN = re.compile(r"\\x\{[^}]*\}|\\p\{\w+\}|\\.|\[(?:\\x\{[^}]*\}|\\.|[^\]])+\]|\{[^}]*\}|\(\?\w*[:)]?|.", re.DOTALL)
_STRPTIME = {"%Y": r"(?P<y>\d{4})", "%m": r"(?P<m>\d{1,2})", "%d": r"(?P<d>\d{1,2})", "%y": r"(?P<s>\d{2})"} | {
    "%H": r"(?P<Hc>\d{1,2})", "%M": r"(?P<Mc>\d{1,2})", "%S": r"(?P<Sc>\d{1,2})", "%b": r"(?P<b>\p{L}{3,9})", "%B": r"(?P<b>\p{L}{3,9})",
}  # fmt: skip

_Bits = list[tuple[int, str]]  # how much a bit is worth, and the texts in which it is 1


def _digits(count: int, worth: int = 1, before: str = "", after: str = "") -> _Bits:
    """The bits of each digit of a number of so many digits."""
    found = []
    for place in range(count):
        for bit in range(4):
            own = "".join(str(digit) for digit in range(10) if digit >> bit & 1)
            text = rf"{before}\d{{{place}}}[{own}]\d{{{count - 1 - place}}}{after}"
            found.append((worth * 10 ** (count - 1 - place) << bit, text))
    return found


def _values(texts: dict[str, int]) -> _Bits:
    """The bits of numbers that have one text each."""
    most = max(texts.values()).bit_length()
    return [(1 << bit, "|".join(text for text, value in texts.items() if value >> bit & 1)) for bit in range(most)]


def _numbers(low: int, high: int, zero: str = "0?") -> dict[str, int]:
    """Numbers of two digits; of small ones the first may be left out."""
    return {f"{zero}{value}" if value < 10 else str(value): value for value in range(low, high + 1)}


_OFFSET = r"\d{2}(?::?\d{2})?"
_FIELDS: dict[str, tuple[tuple[str, ...], str, _Bits]] = {  # groups, the texts that are allowed (where empty as the pattern has them), bits
    "year": (("y", "g"), "", _digits(4)),
    "short": (("s",), r"\d{2}", _digits(2)),
    "month": (("m",), "0?[1-9]|1[0-2]", _values(_numbers(1, 12))),
    "named": (("b",), "|".join(MONTHS), _values(MONTHS)),
    "quarter": (("q",), "[1-4]", _values(_numbers(1, 4))),
    "day": (("d",), r"0?[1-9]|[12]\d|3[01]", _values(_numbers(1, 31))),
    "week": (("w",), r"0?[1-9]|[1-4]\d|5[0-3]", _values(_numbers(1, 53))),
    "weekday": (("u",), "[1-7]", _values(_numbers(1, 7))),
    "hour": (("H", "H2", "H3", "Hc"), r"0?\d|1\d|2[0-4]", _values(_numbers(0, 24))),
    "minute": (("M", "M2", "Mc"), r"[0-5]\d", _values(_numbers(0, 59, "0"))),
    "second": (("S", "S2", "Sc"), r"[0-5]\d|60", _values(_numbers(0, 60, "0"))),
    "thousandth": (
        ("f",), r"\d{1,9}",
        [(worth * 10 ** (2 - place), rf"{text}\d*") for place in range(3) for worth, text in _digits(1, before=rf"\d{{{place}}}")],
    ),
    "afternoon": (("p", "p3"), r"[ap]\.?\s?m\.?", [(1, r"p\.?\s?m\.?")]),
    "west": (("z",), rf"Z|UTC|GMT|[+-]{_OFFSET}", [(1, rf"-{_OFFSET}")]),
    "zone": (
        ("z",), rf"Z|UTC|GMT|[+-]{_OFFSET}",
        _digits(2, 60, before="[+-]", after=r"(?::?\d{2})?") + _digits(2, before=r"[+-]\d{2}:?"),
    ),
}  # fmt: skip
_OPTIONAL = ("hour", "minute", "second", "thousandth", "afternoon", "west", "zone")


class Dates:
    """Writes how the texts of a column are read as date-times.

    Args:
        graph: what is written to.
        text: the column's texts.
        format: how they are written.
        name: of the column, for messages.
    """

    def __init__(self, graph: Graph, text: str, format: Format, name: str) -> None:
        self.graph, self.text, self.format, self.name = graph, text, format, name

    def moments(self, missing: str) -> tuple[str, str]:
        """Which texts are date-times, and these in milliseconds since :data:`ORIGIN`: ``(rows,)`` bool and int64.

        Raises:
            ConfigError: texts that cannot be read within ONNX.
        """
        graph, patterns = self.graph, self.format.patterns or ("%Y-%m-%d",)
        plain = [each for each in map(_PLAIN.fullmatch, patterns) if each and {*each.group(1, 3, 4)} == {"Y", "m", "d"}]
        found = self._all(map(self._cut_up, plain))
        if found is None:
            known, moment = self._all(map(self._by_bits, patterns))
        else:
            left = graph.op("Not", graph.op("Or", found[0], missing))
            some = graph.op("ReduceMax", graph.cast(left, np.int32), graph.ints(0), keepdims=0)
            bodies = []
            for name in ("otherwise", "plain"):
                body = Graph(graph)
                inner = Dates(body, self.text, self.format, self.name)
                own = inner._all(map(inner._by_bits, patterns), found) if name != "plain" else found
                for each, dtype in zip(own, (bool, np.int64), strict=True):
                    body.output(body.fresh(), each, dtype, None)
                bodies.append(body.body(name))
            known, moment = graph.ops(
                "If", graph.cast(some, bool), outputs=2, then_branch=bodies[0], else_branch=bodies[1]
            )
        for code in self._codes():
            known = graph.op("And", known, graph.op("Not", graph.op("Equal", moment, self._whole(code))))
        return graph.op("And", known, graph.op("Not", missing)), moment

    def _codes(self) -> list[int]:
        """The days that stand for a missing value."""
        days = [each for each in self.format.missing if re.fullmatch(r"\d{4}-\d\d-\d\d", each)]
        return [int((np.datetime64(each) - np.datetime64("1970-01-01")).astype(int) + ORIGIN) * DAY for each in days]

    def _all(self, ways: Iterable[tuple[str, str]], found: Any = None) -> Any:
        """Of each text the moment by the first way that reads it, and which are read by one."""
        graph = self.graph
        for fits, own in ways:
            if found is None:
                found = fits, own
            else:
                found = graph.op("Or", found[0], fits), graph.op("Where", found[0], found[1], own)
        return found

    def _whole(self, value: int) -> str:
        return self.graph.constant(np.int64(value))

    def _calc(self, kind: str, a: str, b: str | int) -> str:
        return self.graph.op(kind, a, self._whole(b) if isinstance(b, int) else b)

    # Dates of three numbers, by cutting.

    def _cut_up(self, pattern: re.Match[str]) -> tuple[str, str]:
        """Which texts are of a pattern, and their moments."""
        graph = self.graph
        order, mark = pattern.group(1, 3, 4), pattern.group(2)
        pieces = {"Y": r"[1-9]\d{3}", "m": r"(?:0?[1-9]|1[0-2])", "d": r"(?:0?[1-9]|[12]\d|3[01])"}
        date = re.escape(mark).join(pieces[part] for part in order)
        time = r"(?:(?:T|\s+)(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?Z?)?"
        fits = graph.op("RegexFullMatch", self.text, pattern=rf"{_SPACE}*{date}{time}{_SPACE}*")
        usual = {"Y": "1970", "m": "1", "d": "1"}
        example = f"{mark.join(usual[part] for part in order)} 0:0:0"
        safe = graph.op("Where", fits, self.text, graph.texts([example]))
        before, after = self._cut(self._cut(safe, "T", 2, "aTb")[0], "", 2, example)
        again = self._cut(safe, "T", 2, f"{example}T0:0:0")[1]
        clock = graph.op("Where", graph.op("Equal", again, graph.texts([""])), after, again)
        numbers = dict(zip(order, self._cut(before, mark, 3, mark.join("111")), strict=True))
        found = {part: graph.cast(each, np.int64) for part, each in numbers.items()}
        times = self._cut(self._cut(clock, "Z", 2, "aZb")[0], ":", 3, "0:0:0")
        hour, minute, second = (
            graph.op("Where", graph.op("Equal", each, graph.texts([""])), graph.texts(["0"]), each) for each in times
        )
        micro = graph.op("Round", self._scaled(graph.cast(second, np.float64), 1e6))
        thousandths = self._calc("Div", graph.cast(micro, np.int64), 1000)
        minutes = graph.op("Add", self._calc("Mul", graph.cast(hour, np.int64), 60), graph.cast(minute, np.int64))
        clock = graph.op("Add", self._calc("Mul", minutes, 60_000), thousandths)
        real, days = self._day(found["Y"], found["m"], found["d"])
        return graph.op("And", fits, real), graph.op("Add", self._calc("Mul", days, DAY), clock)

    def _scaled(self, x: str, by: float) -> str:
        return self.graph.op("Mul", x, self.graph.constant(np.float64(by)))

    def _cut(self, text: str, mark: str, count: int, example: str) -> list[str]:
        """The pieces of each text between marks, or between white space, an empty text where there are fewer than ``count``."""
        graph = self.graph
        longer = graph.op(
            "Concat", text, graph.texts([example if mark else "a b"]), axis=0
        )  # so that there are that many
        pieces, _ = graph.ops("StringSplit", longer, outputs=2, delimiter=mark)
        own = graph.op("Slice", pieces, graph.ints(0), graph.ints(-1), graph.ints(0))
        return [graph.op("Gather", own, graph.constant(np.int64(place)), axis=1) for place in range(count)]

    # All others, bit by bit.

    def _by_bits(self, pattern: str) -> tuple[str, str]:
        """As :meth:`_cut_up`, of any pattern."""
        own_regex = moment_regex(pattern)
        regex = (own_regex or self._strptime(pattern)).replace("^", "").removesuffix("$")
        day = regex.partition(f"(?:{TIME})?")[0] + "(?:[^0-9].*)?" if own_regex else regex  # enough for a part of it
        mend = _widened if own_regex else str
        groups = set(re.findall(r"\(\?P<(\w+)>", regex))
        present = {name: own for name, own in _FIELDS.items() if groups.intersection(own[0])}
        usual: dict[str, str] = {}
        for own, allowed, _ in present.values():
            usual |= _bodies(own, allowed) if allowed else {}
        if "Hc" in groups:  # what has a time already has no other
            usual |= dict.fromkeys(("H", "H2", "H3"), _NEVER)
        tests = [_filled(regex, usual)]
        columns: list[dict[str, int]] = [{"fits": 1}]
        for name, (own, _, bits) in present.items():
            if name in _OPTIONAL:
                tests.append(_filled(regex, dict.fromkeys(own, _NEVER)))
                columns.append({f"-{name}": 1})
            for worth, texts in bits:
                tests.append(_filled(regex if name in _OPTIONAL else day, _bodies(own, texts)))
                columns.append({name: worth})
        graph = self.graph
        text = graph.op("Unsqueeze", self.text, graph.ints(1))
        shown = [graph.op("RegexFullMatch", text, pattern=rf"(?s){_SPACE}*{mend(each)}{_SPACE}*") for each in tests]
        names = list(dict.fromkeys(name for each in columns for name in each))
        table = np.zeros((len(columns), len(names)))
        for row, each in enumerate(columns):
            for name, value in each.items():
                table[row, names.index(name)] = value
        seen = graph.cast(graph.op("Concat", *shown, axis=1), np.float64)
        numbers = graph.cast(graph.op("MatMul", seen, graph.constant(table)), np.int64)  # (rows, fields)
        found = {name: graph.op("Gather", numbers, self._whole(place), axis=1) for place, name in enumerate(names)}
        for name in _OPTIONAL:
            if name in found:
                found[name] = graph.op("Mul", found[name], self._calc("Sub", self._whole(1), found[f"-{name}"]))
        return self._moment(found)

    def _strptime(self, pattern: str) -> str:
        """The regular expression of a pattern that another program reads, of plain fields only.

        Raises:
            ConfigError: others.
        """
        pieces = re.split(r"(%.)", pattern)
        if any(piece.startswith("%") and piece not in _STRPTIME for piece in pieces):
            raise ConfigError(
                f"the dates of column {self.name!r} are written as {pattern}, which cannot be read within ONNX yet",
                hint="train with dates such as 2024-12-31, or --format stablehlo",
            )
        return "(?i)" + "".join(_STRPTIME.get(piece, re.escape(piece).replace(r"\ ", r"\s+")) for piece in pieces)

    def _moment(self, found: dict[str, str]) -> tuple[str, str]:
        graph, calc = self.graph, self._calc
        fits = calc("Greater", found["fits"], 0)
        year, one = found.get("year", ""), self._whole(1)
        if "short" in found:
            century = graph.op(
                "Where", calc("GreaterOrEqual", found["short"], self.format.pivot), self._whole(1900), self._whole(2000)
            )
            year = graph.op("Add", found["short"], century)
        if "week" in found:
            real, days = self._week(year, found["week"], found.get("weekday", one))
        else:
            month = found.get("month") or found.get("named")
            month = month or (calc("Sub", calc("Mul", found["quarter"], 3), 2) if "quarter" in found else one)
            real, days = self._day(year, month, found.get("day", one))
        zero = self._whole(0)
        hour, minute, second, part = (found.get(name, zero) for name in ("hour", "minute", "second", "thousandth"))
        if "afternoon" in found:
            half = calc("Equal", found["-afternoon"], 0)
            inside = graph.op("And", calc("GreaterOrEqual", hour, 1), calc("LessOrEqual", hour, 12))
            real = graph.op("And", real, graph.op("Or", graph.op("Not", half), inside))
            twelfth = graph.op("Add", calc("Mod", hour, 12), calc("Mul", found["afternoon"], 12))
            hour = graph.op("Where", half, twelfth, hour)
        minutes = graph.op("Add", calc("Mul", hour, 60), minute)
        if "zone" in found:
            sign = calc("Sub", self._whole(1), calc("Mul", found["west"], 2))
            minutes = graph.op("Sub", minutes, graph.op("Mul", sign, found["zone"]))
        seconds = graph.op("Add", calc("Mul", minutes, 60), second)
        clock = graph.op("Add", calc("Mul", seconds, 1000), part)
        return graph.op("And", fits, real), graph.op("Add", calc("Mul", days, DAY), clock)

    # The calendar.

    def _day(self, year: str, month: str, day: str) -> tuple[str, str]:
        """Whether the month has that day, and the days since :data:`ORIGIN`, by Hinnant's "days from civil"."""
        graph, calc = self.graph, self._calc

        def divides(by: int) -> str:
            return calc("Equal", calc("Mod", year, by), 0)

        leap = graph.op("Or", graph.op("And", divides(4), graph.op("Not", divides(100))), divides(400))
        lengths = graph.ints(31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, *[31] * 3)
        last = graph.op("Gather", lengths, month)
        last = graph.op("Add", last, graph.cast(graph.op("And", leap, calc("Equal", month, 2)), np.int64))
        real = graph.op("And", graph.op("LessOrEqual", day, last), calc("GreaterOrEqual", day, 1))
        early = graph.cast(calc("LessOrEqual", month, 2), np.int64)
        whole = graph.op("Sub", calc("Add", year, 400), early)
        era, shifted = calc("Div", whole, 400), graph.op("Add", calc("Sub", month, 3), calc("Mul", early, 12))
        of_era = graph.op("Sub", whole, calc("Mul", era, 400))
        of_year = graph.op("Add", calc("Div", calc("Add", calc("Mul", shifted, 153), 2), 5), calc("Sub", day, 1))
        leaps = graph.op("Sub", calc("Div", of_era, 4), calc("Div", of_era, 100))
        inside = graph.op("Add", graph.op("Add", calc("Mul", of_era, 365), leaps), of_year)
        return real, graph.op("Add", calc("Mul", era, 146_097), inside)

    def _week(self, year: str, week: str, weekday: str) -> tuple[str, str]:
        """Whether the ISO year has that week, and its day: the first week is that of the fourth of January."""
        graph, calc, one = self.graph, self._calc, self._whole(1)
        _, fourth = self._day(year, one, self._whole(4))
        monday = graph.op("Sub", fourth, calc("Mod", calc("Sub", fourth, ORIGIN - 3 - 7 * 200_000), 7))
        begun = graph.op("Add", monday, calc("Mul", calc("Sub", week, 1), 7))
        _, after = self._day(calc("Add", year, 1), one, one)
        real = graph.op("Less", calc("Add", begun, 3), after)  # its Thursday
        return real, graph.op("Add", begun, calc("Sub", weekday, 1))


def _bodies(groups: Iterable[str], texts: str) -> dict[str, str]:
    """The texts of each group; what stands without a mark before it has all its digits."""
    return {group: texts.replace("0?", "0") if group == "H2" else texts for group in groups}


def _filled(regex: str, bodies: dict[str, str]) -> str:
    """A regular expression of Rust's for RE2, with other texts in its named groups."""
    found, place = "", 0
    while (start := regex.find("(?P<", place)) >= 0:
        found += regex[place:start]
        name, depth, at = regex[start + 4 : regex.index(">", start)], 1, regex.index(">", start) + 1
        begun = at
        while depth:
            if regex[at] == "\\":
                at += 1
            elif regex[at] in "()":
                depth += 1 if regex[at] == "(" else -1
            at += 1
        found += f"(?:{bodies.get(name, regex[begun : at - 1])})"
        place = at
    return found + regex[place:]


def _widened(regex: str) -> str:
    """With Unicode's white space, and the wide forms of digits and marks, which are their plain ones to danlu (NFKC)."""
    return _TOKEN.sub(lambda token: _wide(token[0]), regex)


def _wide(token: str) -> str:
    if token in (r"\d", r"\s"):
        return "[0-9０-９]" if token == r"\d" else _SPACE
    if token == "[+-]":
        return r"[+\-＋－]"
    if token == "[^0-9]":
        return "[^0-9０-９]"
    if token.startswith("[") and not token.startswith("[^"):
        return f"{token[:-1]}{token[1:-1].translate({**_FORMS, ord('-'): '-'})}]"
    if token == ".":
        return token
    plain = token[-1]
    return (
        f"[{re.escape(plain)}{plain.translate(_FORMS)}]"
        if token in (plain, f"\\{plain}") and plain in _MARKS
        else token
    )
