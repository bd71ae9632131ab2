"""Missing values: the usual texts, words among numbers, and numbers such as -999."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

import polars as pl

from danlu.errors import ConfigError

__all__ = ["DEFAULT_MISSING", "Marks", "is_missing_word", "marks_beside_usual", "marks_for", "standing_out", "unmet"]

DEFAULT_MISSING: tuple[str, ...] = ("", "?", "NA", "N/A", "#N/A", "null", "nan", "<NA>", "NaT")
"""Texts that stand for a missing value, whatever their case."""

_WORDS = frozenset(
    word
    for line in (
        "none nil unknown unk missing undefined unspecified unavailable empty blank void tbd tba n.a. n.a n/d nd n.d. na.",
        "(none) (null) (missing) (unknown) (empty) [none] [null] <none> <null> \\n",
        "#value! #div/0! #ref! #num! #name? #null!",
        "keine kein k.a. k.a unbekannt fehlt fehlend nichts inconnu aucun manquant desconocido ninguno s/d sconosciuto",
        "nessuno onbekend okänd ukjent nieznany brak neznámy неизвестно нет 未知 无 無 不详 缺失 暂无 没有 空",
    )
    for word in line.split()
) | {
    *(
        "not available",
        "not applicable",
        "not known",
        "not reported",
        "no data",
        "no value",
        "not a number",
        "no answer",
    ),
    *("keine angabe", "keine angaben", "nicht bekannt", "nicht verfügbar", "non disponible", "sin datos"),
}
_MARKS = frozenset("-.–—―…*_/\\~")
CODES = (
    -1.0,
    -9.0,
    -99.0,
    -999.0,
    -999.9,
    -9999.0,
    -99999.0,
    -999999.0,
    99.0,
    999.0,
    999.9,
    9999.0,
    99999.0,
    999999.0,
)
MOMENTS = tuple(
    datetime.datetime(*day)
    for day in ((1, 1, 1), (1753, 1, 1), (1899, 12, 30), (1899, 12, 31), (1900, 1, 1), (1901, 1, 1))
) + tuple(datetime.datetime(*day) for day in ((1970, 1, 1), (2099, 12, 31), (2999, 12, 31), (9999, 12, 31)))

_EPOCH = datetime.datetime(1970, 1, 1)

Marks = Iterable[str | float] | Mapping[str, Iterable[str | float]]


def is_missing_word(text: str) -> bool:
    """Whether a text among numbers or dates means a missing value.

    >>> [is_missing_word(text) for text in ("None", "--", "unknown", "keine Angabe", "low", "12B")]
    [True, True, True, True, False, False]
    """
    text = text.strip().lower()
    return text in _WORDS or text in {m.lower() for m in DEFAULT_MISSING} or (bool(text) and set(text) <= _MARKS)


def marks_for(missing: Marks, column: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The lower-case texts, and the numbers, that mean a missing value in one column.

    >>> marks_for({"income": ["-999"]}, "income"), marks_for(["?"], "city")
    ((('-999',), (-999.0,)), (('?',), ()))
    """
    given = missing.get(column, DEFAULT_MISSING) if isinstance(missing, Mapping) else missing
    if isinstance(given, str | float | int):
        given = (given,)
    texts: dict[str, None] = {}
    codes: dict[float, None] = {}
    for each in given:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise ConfigError(
                f"{each!r} cannot mean a missing value; expected texts or numbers, such as 'unknown' or -999"
            )
        text = str(each).strip().lower()
        texts[text] = None
        try:
            number = float(text)
        except ValueError:
            continue
        if number == number and abs(number) != float("inf"):
            codes[number] = None
    return tuple(texts), tuple(codes)


def marks_beside_usual(missing: Marks, column: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """As :func:`marks_for`, for a source with types, whose values are taken as they are: only the user's additions to the usual texts."""
    texts, codes = marks_for(missing, column)
    usual = {text.lower() for text in DEFAULT_MISSING}
    return tuple(text for text in texts if text not in usual), codes


def unmet(frame: pl.DataFrame, missing: Marks) -> tuple[str, ...]:
    """A note for each text or number that the user says means missing and that no cell holds: it may be misspelt.

    Args:
        frame: the columns as they were read, before any type is given to their texts.
        missing: what stands for a missing value, for all columns or by column.

    >>> unmet(pl.DataFrame({"city": ["Bern", "unknown"], "income": [5, -999]}), ["unknwon", "unknown", -999])
    ("data.missing has 'unknwon', which no cell holds",)
    """
    by_column = {name: [name] for name in missing} if isinstance(missing, Mapping) else {"": frame.columns}
    notices = []
    for column, names in by_column.items():
        for mark in marks_beside_usual(missing, column)[0]:
            if mark and not any(_holds(frame[name], mark) for name in names):
                notices.append(
                    f"data.missing has {mark!r} for column {column!r}, and no cell of it holds that"
                    if column
                    else f"data.missing has {mark!r}, which no cell holds"
                )
    return tuple(notices)


def _holds(values: pl.Series, mark: str) -> bool:
    """Whether a value is this text, whatever its case and the space around it, or this number."""
    if values.dtype == pl.String:
        if (values.str.strip_chars().str.to_lowercase() == mark).any():
            return True
        values = values.cast(pl.Float64, strict=False)
    codes = marks_for((mark,), "")[1]
    return bool(codes) and values.dtype.is_numeric() and bool((values == codes[0]).any())


def standing_out(values: pl.Series) -> str | None:
    """A note if a number or a date that often means "missing" occurs several times, far from all other values.

    >>> standing_out(pl.Series("income", [2100, 1900, 2500, 2300, 2200, 1800, -999, -999, -999]))
    'column income: -999 comes 3 times, far from the others (1800 … 2500); if it means missing: data.missing=[-999]'
    """
    if len(values) < 8 or not (values.dtype.is_numeric() or values.dtype.is_temporal()):
        return None
    dates = values.dtype.is_temporal()
    numbers = (values.cast(pl.Datetime("us")).dt.timestamp("us") if dates else values).cast(pl.Float64).drop_nulls()
    found = numbers.filter(numbers.is_finite()).to_numpy()
    for code in MOMENTS if dates else CODES:
        number = (code - _EPOCH) / datetime.timedelta(microseconds=1) if isinstance(code, datetime.datetime) else code
        rest = found[found != number]
        times = len(found) - len(rest)
        if times < max(2, len(found) // 1000) or len(rest) < 3:
            continue
        low, high = float(rest.min()), float(rest.max())
        if low <= number <= high or low == high:
            continue
        distance = low - number if number < low else number - high
        least = (high - low) / 2 if not dates else high - low
        if number == -1 and not dates:
            least = max(10.0, 0.2 * abs(low)) if low >= 0 else float("inf")
        if distance > least:
            said, shown = _in_words(code, number), [_in_words(code, each) for each in (low, high)]
            setting = f'"{said}"' if dates else said
            return (
                f"column {values.name}: {said} comes {times:,} times, far from the others ({' … '.join(shown)}); "
                f"if it means missing: data.missing=[{setting}]"
            )
    return None


def _in_words(code: float | datetime.datetime, number: float) -> str:
    if isinstance(code, datetime.datetime):
        return f"{_EPOCH + datetime.timedelta(microseconds=number):%Y-%m-%d}"
    return f"{number:g}"
