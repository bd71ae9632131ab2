"""Single values: those that cannot be, that mean a missing one, or that are far from all others."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding, numbers_in_words
from danlu.auditing.sheet import Sheet
from danlu.data.missing import CODES, standing_out
from danlu.evaluate.intervals import figure

__all__ = ["codes_for_missing", "far_off", "impossible"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_AGES = {"age", "ages", "alter", "年龄"}
_PERCENTS = {"percent", "percentage", "pct", "percents"}
_AMOUNTS = {
    *(
        "price",
        "cost",
        "count",
        "number",
        "quantity",
        "qty",
        "height",
        "weight",
        "length",
        "width",
        "distance",
        "duration",
    ),
    *(
        "size",
        "area",
        "population",
        "salary",
        "income",
        "wage",
        "fare",
        "rooms",
        "visits",
        "visitors",
        "years",
        "months",
        "hours",
    ),
    *(
        "minutes",
        "seconds",
        "mileage",
        "horsepower",
        "speed",
        "pressure",
        "rainfall",
        "volume",
        "tenure",
        "数量",
        "价格",
        "金额",
    ),
}
_CHANGES = {
    "change",
    "difference",
    "diff",
    "delta",
    "growth",
    "profit",
    "net",
    "return",
    "balance",
    "gain",
    "log",
    "offset",
}
_CHANGES |= {
    "score",
    "zscore",
    "z",
    "scaled",
    "relative",
    "deviation",
    "since",
    "until",
    "from",
    "before",
    "after",
    "to",
}
_LOG_TIMES = 2.5  # widths of the middle 96 % of the logarithms
_GAP = 3  # times as far from the middle as any other value


def _words_in(name: str) -> set[str]:
    """The words of a column's name, in small letters.

    >>> sorted(_words_in("pctOfAge_2")), sorted(_words_in("hours-per-week"))
    (['2', 'age', 'of', 'pct'], ['hours', 'per', 'week'])
    """
    return {word.lower() for word in _WORDS.findall(name)}


def impossible(sheet: Sheet) -> Iterator[Finding]:
    """Values that cannot be, by what the column is called: ages, percentages, amounts; and dates to come."""
    today = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(days=2)
    for name in sheet.table.names:
        values = sheet.table.frame[name]
        present = values.drop_nulls()
        if len(present) < 10:
            continue
        if values.dtype.is_temporal():
            bad = (values > today).fill_null(value=False)
            what = ("lies in the future", "lie in the future")
            if float(bad.sum()) > 0.2 * len(present):
                continue
        elif values.dtype.is_numeric():
            found = _cannot_be(name, values.cast(pl.Float64))
            if found is None:
                continue
            bad, what = found
        else:
            continue
        if not bad.any():
            continue
        numbers = sheet.places(bad)
        shown = ", ".join(_value(v) for v in values.filter(bad).unique(maintain_order=True).head(3).to_list())
        told = f"a value {what[0]}" if len(numbers) == 1 else f"{len(numbers):,} values {what[1]}"
        yield Finding(
            "impossible values",
            "warning",
            f"column {name}: {told} ({shown}; {numbers_in_words(numbers)})",
            (name,),
            numbers,
            {"count": len(numbers)},
            f"correct them, or make them missing: data.missing='{{\"{name}\": [{shown}]}}'"
            if values.dtype.is_numeric()
            else "correct them",
        )


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)[:10]


def _cannot_be(name: str, values: pl.Series) -> tuple[pl.Series, tuple[str, str]] | None:
    """Which values cannot be, and why; None where the column's name says nothing."""
    words = _words_in(name)
    negative = (values < 0).fill_null(value=False)
    few = float(negative.sum()) <= 0.05 * len(values)
    middle = float(values.median() or 0)  # type: ignore[arg-type]
    if words & _AGES and 1 <= middle <= 110:
        return (negative | (values > 120).fill_null(value=False)), ("is no age", "are no ages")
    if (words & _PERCENTS or "%" in name) and 0 <= middle <= 100:
        bad = negative | (values > 100).fill_null(value=False)
        return (bad, ("is no percentage", "are no percentages")) if float(bad.sum()) <= 0.05 * len(values) else None
    if words & _AMOUNTS and not words & _CHANGES and few:
        return negative, ("is below 0", "are below 0")
    return None


def codes_for_missing(sheet: Sheet) -> Iterator[Finding]:
    """Numbers such as 999 or dates such as 1900-01-01 that come again and again, far from all others; and such zeros."""
    for name in sheet.table.names:
        values = sheet.table.frame[name]
        said = standing_out(values) if name != sheet.target else None
        if said is not None:
            code = re.search(r": (\S+) comes", said)
            same = _equal_to(values, code[1]) if code else None
            if same is None:
                continue
            numbers = sheet.places(same)
            yield Finding(
                "code for missing",
                "warning",
                said.partition("; if")[0] + f" ({numbers_in_words(numbers)})",
                (name,),
                numbers,
                {"value": code[1] if code else "", "count": len(numbers)},
                f"if it means missing: data.missing='{{\"{name}\": [{code[1] if code else ''}]}}'",
            )
        elif name != sheet.target and values.dtype.is_numeric():
            yield from _zeros(sheet, name, values)


def _equal_to(values: pl.Series, code: str) -> pl.Series | None:
    if values.dtype.is_temporal():
        return (values.dt.strftime("%Y-%m-%d") == code).fill_null(value=False)
    number = next((each for each in CODES if f"{each:g}" == code), None)
    return None if number is None else (values == number).fill_null(value=False)


def _zeros(sheet: Sheet, name: str, values: pl.Series) -> Iterator[Finding]:
    zero = (values == 0).fill_null(value=False)
    count, rest = int(zero.sum()), values.filter(~zero).drop_nulls().cast(pl.Float64)
    if count < 2 or len(rest) < 20 or rest.n_unique() < 20 or count > 0.5 * len(values):
        return
    low, middle = float(rest.min()), float(rest.median())  # type: ignore[arg-type]
    spread = float(rest.quantile(0.75) or 0) - float(rest.quantile(0.25) or 0)
    if low <= 0 or low < 0.25 * middle or low < spread:
        return
    numbers = sheet.places(zero)
    yield Finding(
        "code for missing",
        "warning",
        f"column {name}: 0 comes {count:,} times, far from the others ({figure(low)} … {figure(float(rest.max()))}; "  # type: ignore[arg-type]
        f"{numbers_in_words(numbers)})",
        (name,),
        numbers,
        {"value": "0", "count": count},
        f"if it means missing: data.missing='{{\"{name}\": [0]}}'",
    )


def far_off(sheet: Sheet) -> Iterator[Finding]:
    """Single numbers that are far from all others, on the scale of the values and on that of their logarithms."""
    for name in [*sheet.inputs, *([sheet.target] if sheet.task == "regression" else [])]:
        values = sheet.frame[str(name)]
        if not values.dtype.is_numeric() or sheet.schema[str(name)].distinct < 10:
            continue
        x = values.cast(pl.Float64).to_numpy()
        known = np.isfinite(x)
        if known.sum() < 30:
            continue
        far = known & _far(x, known)
        bad = _cannot_be(str(name), values)
        if bad is not None:  # an impossible value has its own finding
            far &= ~bad[0].to_numpy()
        if (x[known] >= 0).all() and far.any():
            logs = np.log1p(np.where(known, x, 0))
            far &= _far(logs, known, _LOG_TIMES)
        if not 0 < far.sum() <= max(1, 0.005 * known.sum()):
            continue
        rest, middle = x[known & ~far], float(np.median(x[known]))
        far &= np.abs(x - middle) > _GAP * np.abs(rest - middle).max()
        if not far.any():
            continue
        rest = x[known & ~far]
        numbers = sheet.rows(far)
        shown = ", ".join(figure(v) for v in x[far][:3])
        yield Finding(
            "outlier",
            "warning",
            f"column {name}: {shown}{', …' if far.sum() > 3 else ''} {'is' if far.sum() == 1 else 'are'} far from all others "
            f"({figure(rest.min())} … {figure(rest.max())}; {numbers_in_words(numbers)})",
            (str(name),),
            numbers,
            {"values": x[far][:20].tolist(), "low": float(rest.min()), "high": float(rest.max())},
            "a mistake is to be corrected; trainer.loss=huber gives far targets less weight"
            if name == sheet.target
            else "is it another unit, or a slip of the pen? A mistake is to be corrected",
        )


def _far(x: np.ndarray, known: np.ndarray, times: float = 10) -> np.ndarray:
    """Which values lie further from the middle than ``times`` the width of the middle 96 %, with a gap before them."""
    low, middle, high = np.quantile(x[known], [0.02, 0.5, 0.98])
    if high <= low:
        return np.zeros(len(x), bool)
    found: np.ndarray = np.abs(np.where(known, x, middle) - middle) > times * (high - low)
    return found
