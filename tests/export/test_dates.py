"""Texts with dates within a graph are read as danlu reads them, in every form that it knows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from danlu.data.format import Format
from danlu.data.moments import DEFAULT_PATTERNS, read_moments
from danlu.errors import ConfigError
from danlu.export.dates import DAY, ORIGIN, Dates
from danlu.export.graph import Graph

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

TIMES = (
    "",
    " 10:30",
    "T23:59:59.999",
    " 1:05 PM",
    " 12:00 a.m.",
    ", 7pm",
    " 24:00",
    " 10:30:15,123456 +02:00",
    " at 9:15Z",
)
TIMES = (*TIMES, "T1030", "T103015", " 25:00", " 13:00 pm", " 10:30-0530", " 10:60", "x", "T103")
NAMES = (
    "Jan",
    "February",
    "MÄRZ",
    "abr",
    "mai",
    "June",
    "juillet",
    "août",
    "Sept",
    "Okt.",
    "nov",
    "décembre",
    "smarch",
)
ODD = [
    "",
    " ",
    "soon",
    "2024-02-30",
    "2023-02-29",
    "0024-01-02",
    "2024-13-01",
    "1969-12-31 23:59:59.5",
    "２０２４-０１-０２",
    "31.12.2024",
    "2024",
]


def read(texts: list[str], format: Format) -> list[int | None]:
    """Milliseconds since 1970 by a graph, None where there is none."""
    graph = Graph()
    text = graph.input("text", object, ("rows",))
    missing = graph.op("Equal", text, graph.texts([""]))
    known, moment = Dates(graph, text, format, "day").moments(missing)
    graph.output("known", known, bool, ("rows",))
    graph.output("moment", moment, np.int64, ("rows",))
    session = ort.InferenceSession(
        graph.model("dates", {}, "0").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"text": np.asarray(texts, object)})
    return [int(value) - ORIGIN * DAY if own else None for own, value in zip(*found, strict=True)]


def compare(texts: list[str], patterns: tuple[str, ...]) -> None:
    own = read_moments(pl.Series(texts).str.strip_chars(), patterns, pivot=50).dt.timestamp("ms").to_list()
    assert sum(value is not None for value in own) > len(own) / 4
    found = read(texts, Format("date", patterns=patterns, pivot=50))
    wrong = [(text, a, b) for text, a, b in zip(texts, own, found, strict=True) if a != b]
    assert not wrong


def written(pattern: str, random: np.random.Generator) -> list[str]:
    """Dates in one form, with all times of day."""
    found = []
    for time in TIMES:
        year, month, day = (
            random.choice([1582, 1899, 1969, 2000, 2024, 2038]),
            random.integers(1, 13),
            random.integers(1, 32),
        )
        each = {
            "Y": f"{year}",
            "G": f"{year}",
            "y": f"{year % 100:02}",
            "m": f"{month:02}",
            "d": f"{day:02}",
            "b": NAMES[month - 1],
        }
        each |= {"q": f"{1 + month // 4}", "V": f"{random.integers(1, 54):02}", "u": f"{random.integers(1, 8)}"}
        text = pattern
        for name, value in each.items():
            text = text.replace(f"%{name}", value)
        found += [text + time, f"  Mon, {text}\t", text.upper()]
    return found


def test_dates_are_read_as_danlu_reads_them() -> None:
    patterns = ("%d/%m/%Y", "%d-%b-%Y", "%YQ%q", "%G-W%V-%u", "%b %d, %Y", "%d.%m.%y", "%Y年%m月%d日")
    random = np.random.default_rng(0)
    compare([text for pattern in patterns for text in written(pattern, random)] + ODD, patterns)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", DEFAULT_PATTERNS)
def test_every_form_of_a_date(pattern: str) -> None:
    compare(written(pattern, np.random.default_rng(1)) + ODD, (pattern,))


def test_codes_of_missing_dates_and_forms_of_others() -> None:
    texts = ["31.12.2024 07:05", "1.1.1900 00:00", "31.12.2024"]
    given = Format("date", patterns=("%d.%m.%Y %H:%M",), missing=("", "1900-01-01"))
    moment = int(np.datetime64("2024-12-31T07:05", "ms").astype(int))
    assert read(texts, given) == [moment, None, None]
    with pytest.raises(ConfigError, match="%j"):
        read(["2024-200"], Format("date", patterns=("%Y-%j %H",)))
