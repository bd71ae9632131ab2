"""One word in several spellings: other case, white space, width of letters. Categories are merged, names are matched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import polars as pl

__all__ = [
    "KEEP",
    "clean_names",
    "close_labels",
    "match_names",
    "merge_spellings",
    "plain",
    "some_of",
    "spellings",
    "told",
]

_SHOWN = 4
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
KEEP = " (data.spellings=keep keeps them apart)"


def plain(texts: pl.Series) -> pl.Series:
    """The common key of a word's spellings: no case, single spaces, plain forms of letters and signs (Unicode's NFKC).

    A single letter keeps its case: "a" and "A" may be two codes.

    >>> plain(pl.Series(["Gold", "gold ", "full\\u00a0 time", "ＤＥ", "a", "A", None])).to_list()
    ['gold', 'gold', 'full time', 'de', 'a', 'A', None]
    """
    clean = texts.str.normalize("NFKC").str.replace_all(r"[\s\u200b\u2060\ufeff]+", " ").str.strip_chars()
    return (
        clean.to_frame("text")
        .select(pl.when(pl.col("text").str.len_chars() > 1).then(pl.col("text").str.to_lowercase()).otherwise("text"))
        .to_series()
        .alias(texts.name)
    )


def spellings(texts: pl.Series) -> dict[str, str]:
    """For words with several spellings: each rarer spelling, with the most common one that it is read as.

    >>> spellings(pl.Series(["gold", "Gold", "gold", "silver", "a", "A"]))
    {'Gold': 'gold'}
    """
    counts = texts.drop_nulls().alias("text").value_counts(name="rows")
    counts = counts.with_columns(plain(counts["text"]).alias("key"), pl.col("text").str.len_chars().alias("length"))
    counts = counts.sort(["key", "rows", "length", "text"], descending=[False, True, False, False])
    first = pl.col("text").first().over("key").str.strip_chars()
    rare = counts.with_columns(first.alias("kept")).filter(pl.col("text") != pl.col("kept"))
    return dict(zip(rare["text"].to_list(), rare["kept"].to_list(), strict=True))


def merge_spellings(texts: pl.Series) -> tuple[pl.Series, tuple[str, ...]]:
    """Texts with each word in its most common spelling, and a notice if there were others."""
    if texts.dtype != pl.String:
        return texts, ()
    found = spellings(texts)
    return (texts.replace(found), told(texts, found, advice=KEEP)) if found else (texts, ())


def told(texts: pl.Series, found: dict[str, str], *, advice: str = "") -> tuple[str, ...]:
    """The notice for spellings that are read as others, with ``advice`` at its end."""
    if not found:
        return ()
    shown = ", ".join(f"{old!r} as {new!r}" for old, new in list(found.items())[:_SHOWN]) + (
        ", …" if len(found) > _SHOWN else ""
    )
    rows = int(texts.is_in(list(found)).sum())
    are = "value is" if rows == 1 else "values are"
    return (f"column {texts.name}: {rows:,} {are} read as the most common spelling: {shown}{advice}",)


def close_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """A notice when some labels are spellings of one word."""
    found = spellings(pl.Series("label", list(labels), dtype=pl.String))
    if not found:
        return ()
    shown = ", ".join(f"{old!r} and {new!r}" for old, new in list(found.items())[:_SHOWN])
    return (f"some classes differ only in case or white space: {shown}; are they the same?",)


def clean_names(given: Sequence[str], notices: list[str]) -> list[str]:
    """The names of a file's columns: all different, none empty, without control characters and with single spaces.

    Args:
        notices: what was changed is added here.

    >>> clean_names(["a", "a", "b\\x07\\tc"], notices := []), notices[0]
    (['a', 'a_2', 'b c'], 'duplicate column names were changed: a → a_2')
    """
    taken, plain = set(), {" ".join(_INVISIBLE.sub(" ", name).split()) for name in given}
    names, renamed, spaced = [], [], []
    for i, name in enumerate(given):
        clean = " ".join(_INVISIBLE.sub(" ", name).split())
        unique = wanted = clean or f"c{i + 1}"
        count = 1
        while unique in taken or ((count > 1 or not clean) and unique in plain):
            count += 1
            unique = f"{wanted}_{count}"
        if count > 1:
            renamed.append(f"{wanted} → {unique}")
        elif clean != name:
            spaced.append(f"{name!r} → {unique!r}")
        taken.add(unique)
        names.append(unique)
    if renamed:
        notices.append(f"duplicate column names were changed: {some_of(renamed)}")
    if spaced:
        notices.append(
            f"white space and control characters in column names were replaced by single spaces: {some_of(spaced)}"
        )
    return names


def some_of(names: list[str]) -> str:
    """The first six names with commas between them.

    >>> some_of(["a", "b"])
    'a, b'
    """
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")


def match_names(frame: pl.DataFrame, wanted: Iterable[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The frame with its columns called as ``wanted`` where a name differs only in case or white space, and a notice.

    A name is left as it is where several columns could be meant.
    """
    known = set(wanted)
    absent = [name for name in known if name not in frame.columns]
    others = [name for name in frame.columns if name not in known]
    if not absent or not others:
        return frame, ()
    keys = plain(pl.Series([*absent, *others])).str.to_lowercase().to_list()
    own = dict(zip(absent, keys, strict=False))
    found = {}
    for name, key in own.items():
        same = [other for other, its in zip(others, keys[len(absent) :], strict=True) if its == key]
        if len(same) == 1 and list(own.values()).count(key) == 1:
            found[same[0]] = name
    if not found:
        return frame, ()
    shown = ", ".join(f"{old!r} as {new!r}" for old, new in sorted(found.items())[:_SHOWN])
    return frame.rename(found), (f"columns were matched by another spelling of their names: {shown}",)
