"""Whole columns: the same in every row, of mixed types, in several spellings, or the same as another one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding, numbers_in_words
from danlu.auditing.leaks import left_out
from danlu.auditing.sheet import Sheet
from danlu.data.spelling import spellings
from danlu.evaluate.intervals import figure
from danlu.prose import percent

__all__ = ["constant", "mixed", "same_columns", "spelt"]

_ALMOST = 0.995
_SAME = 0.9995  # of a correlation
_FEWEST = 20  # rows
_MOST_PAIRS = 300  # columns


def constant(sheet: Sheet) -> Iterator[Finding]:
    """Columns with one value, or with one in almost all rows."""
    rows = sheet.frame.height
    none = [c.name for c in sheet.schema.columns if c.name != sheet.target and c.distinct <= (0 if c.missing else 1)]
    if none:
        yield Finding(
            "constant column",
            "note",
            f"{_columns(none)} the same value in every row, or none; the model does not see {'it' if len(none) == 1 else 'them'}",
            tuple(none),
            remedy=f"take {'it' if len(none) == 1 else 'them'} out of the file, or find out why: {left_out(*none[:3])}",
        )
    nearly = {}
    for column in sheet.schema.features:
        if column.kind in ("text", "datetime") or rows < 200 or column.name in none:
            continue
        counts = np.bincount(sheet.codes(column.name))
        if counts.max() >= _ALMOST * rows and counts.max() < rows:
            nearly[column.name] = int(rows - counts.max())
    if nearly:
        first = next(iter(nearly))
        codes = sheet.codes(first)
        others = sheet.rows(codes != np.bincount(codes).argmax())
        named = f" ({numbers_in_words(others)})" if len(nearly) == 1 else ""
        few = ", ".join(f"{name} in all but {count:,}" for name, count in list(nearly.items())[:4])
        yield Finding(
            "nearly constant column",
            "note",
            f"{_columns(list(nearly))} one value in almost all rows: {few}{named}{', …' if len(nearly) > 4 else ''}",
            tuple(nearly),
            others if len(nearly) == 1 else (),
            {"other rows": nearly},
            "so few rows teach little about the other values, and a part of the data may have none of them",
        )


def _columns(names: list[str]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"column {names[0]} has" if len(names) == 1 else f"{len(names)} columns ({shown}) have"


def mixed(sheet: Sheet) -> Iterator[Finding]:
    """Columns of numbers or dates with some texts in them, and columns of texts of which a good part are numbers."""
    if sheet.written is None:
        return
    for name in sheet.written.columns:
        texts, typed = sheet.written[name], sheet.table.frame[name]
        if texts.dtype != pl.String:
            continue
        if typed.dtype != pl.String:
            usual = sheet.table.formats[name].missing if name in sheet.table.formats else ()
            met = {text.lower() for text in sheet.table.met.get(name, ())}
            lower = texts.str.strip_chars().str.to_lowercase()
            bad = texts.is_not_null() & typed.is_null() & (lower != "") & ~lower.is_in(list(met))
            if not bad.any():
                continue
            what = "dates" if typed.dtype.is_temporal() else "numbers"
            examples = texts.filter(bad).unique(maintain_order=True).head(3).to_list()
            words = ", ".join(repr(text[:30]) for text in examples)
            numbers = sheet.places(bad)
            yield Finding(
                "mixed types",
                "warning",
                f"column {name}: {len(numbers):,} of {len(texts):,} values are texts among {what} ({words}; "
                f"{numbers_in_words(numbers)}) and count as missing",
                (name,),
                numbers,
                {"examples": examples, "usual": len(usual)},
                f"correct them, or say that they mean missing: data.missing='{{\"{name}\": {_list(examples)}}}'",
            )
            continue
        present = texts.drop_nulls()
        if len(present) < 20 or name == sheet.target:
            continue
        as_number = texts.str.strip_chars().str.contains(r"^[-+]?\d+(?:[.,]\d+)?$").fill_null(value=False)
        share = float(as_number.sum()) / len(present)
        if 0.3 <= share < 0.97 and texts.filter(as_number).n_unique() > 10 and not _codes(texts, as_number):
            other = texts.filter(~as_number).drop_nulls().unique(maintain_order=True).head(3).to_list()
            fewer = as_number if share < 0.5 else ~as_number & texts.is_not_null()
            numbers = sheet.places(fewer)
            yield Finding(
                "mixed types",
                "warning",
                f"column {name}: {percent(share)} of the values are numbers, others texts ({', '.join(repr(t[:30]) for t in other)}; "
                f"{numbers_in_words(numbers)}): all are read as categories",
                (name,),
                numbers,
                {"numbers": round(share, 4)},
                f'data.kinds=\'{{"{name}": "numeric"}}\' keeps the numbers, the others are then missing',
            )


def _codes(texts: pl.Series, as_number: pl.Series) -> bool:
    """Whether the texts beside the numbers look like codes with digits in them ("A 123" beside "4567")."""
    others = texts.filter(~as_number).drop_nulls()
    return bool(others.str.contains(r"\d").mean() > 0.5) if len(others) else False  # type: ignore[operator]


def _list(texts: list[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def spelt(sheet: Sheet) -> Iterator[Finding]:
    """Categories that come in several spellings, which are read as one."""
    for column in sheet.schema.columns:
        if column.kind != "categorical" or sheet.table.frame[column.name].dtype != pl.String:
            continue
        texts = sheet.table.frame[column.name]
        found = spellings(texts)
        if not found or len(found) > 100:
            continue
        numbers = sheet.places(texts.is_in(list(found)).fill_null(value=False))
        shown = ", ".join(f"{old!r} is {new!r}" for old, new in list(found.items())[:3])
        yield Finding(
            "spellings",
            "note",
            f"column {column.name}: {len(numbers):,} values are other spellings ({shown}; {numbers_in_words(numbers)}) and are read as one",
            (column.name,),
            numbers,
            {"spellings": dict(list(found.items())[:20])},
            "data.spellings=keep keeps them apart",
        )


def same_columns(sheet: Sheet) -> Iterator[Finding]:
    """Columns that say the same as another one: with other names for the values, in another unit, or copied."""
    names = [c.name for c in sheet.schema.features if c.kind != "text" and c.distinct > 1][:_MOST_PAIRS]
    rows = sheet.sample[:10_000]
    if len(rows) < _FEWEST:
        return
    codes = {name: sheet.codes(name)[rows] for name in names}
    sizes = {name: len(np.unique(codes[name])) for name in names}
    found: list[tuple[str, str, str]] = []
    numeric = [n for n in names if sheet.frame[n].dtype.is_numeric() and sizes[n] > 2]
    if len(numeric) > 1:
        x = np.column_stack(
            [sheet.frame[n].cast(pl.Float64).fill_null(strategy="mean").to_numpy()[rows] for n in numeric]
        )
        x = np.where(np.isfinite(x), x, 0.0)
        spread = x.std(0)
        kept = [j for j in range(len(numeric)) if spread[j] > 0]
        table = np.corrcoef(x[:, kept], rowvar=False) if len(kept) > 1 else np.eye(1)
        for i, j in zip(*np.nonzero(np.triu(np.abs(table) >= _SAME, 1)), strict=True):
            found.append((numeric[kept[i]], numeric[kept[j]], f"correlation {figure(table[i, j], 5)}"))
    told = {pair[:2] for pair in found}
    by_size: dict[int, list[str]] = {}
    for name in names:
        by_size.setdefault(sizes[name], []).append(name)
    for size, group in by_size.items():
        if size < 2 or size > 0.5 * len(rows):
            continue
        for i, one in enumerate(group):
            for two in group[i + 1 :]:
                both = codes[one] * (codes[two].max() + 1) + codes[two]
                if (one, two) not in told and len(np.unique(both)) == size:
                    found.append((one, two, "a value of one stands with one value of the other"))
    while found:
        one, two, how = found.pop(0)
        group = [one, two]
        for first, second, _ in [*found]:
            if first in group or second in group:
                group += [name for name in (first, second) if name not in group]
        found = [pair for pair in found if pair[0] not in group and pair[1] not in group]
        shown = ", ".join(group[:-1][:6]) + (", …" if len(group) > 7 else "")
        yield Finding(
            "same columns",
            "note",
            f"columns {shown} and {group[-1]} say the same ({how})",
            tuple(group),
            evidence={"how": how},
            remedy=f"one of them will do: {left_out(*group[1:])}",
        )
