"""Predictions as they are written for people: next to columns of their rows, with meaningful digits, in any format of file."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from danlu.data import Schema
from danlu.errors import ConfigError, unknown_name
from danlu.files import write_atomic

__all__ = [
    "IDENTIFIERS",
    "SUFFIXES",
    "as_csv",
    "beside",
    "check_ending",
    "kept_columns",
    "plain_times",
    "rounded",
    "write_frame",
]

IDENTIFIERS = "identifiers"
"""What is kept of the input where the user does not say: the columns that tell rows apart."""

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".json", ".jsonl", ".ndjson")
"""The endings of files that :func:`write_frame` writes."""

_AS_CSV = ("", ".txt")

_TIMES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f")  # days, seconds, fractions

_SHARES = ("probability", "share", "score")


def kept_columns(frame: pl.DataFrame, schema: Schema | None, keep: str | Sequence[str]) -> pl.DataFrame:
    """The columns of the input to write next to the answers.

    Args:
        frame: the input as it was read.
        schema: that of the training rows, which says what an identifier is.
        keep: :data:`IDENTIFIERS`, ``"all"``, ``"none"``, or names (in one text with commas between them, or several).

    Raises:
        ConfigError: a name that the input does not have.
    """
    if keep == IDENTIFIERS:
        known = () if schema is None else schema.columns
        names = [each.name for each in known if each.kind == "identifier" and each.name in frame.columns]
    elif keep in ("all", "none"):
        names = frame.columns if keep == "all" else []
    elif isinstance(keep, str) and keep in frame.columns:
        names = [keep]
    elif not isinstance(keep, Sequence):
        raise ConfigError(f"keep is {str(keep)[:60]}; expected names of columns, 'identifiers', 'all' or 'none'")
    else:
        names = [name.strip() for name in keep.split(",")] if isinstance(keep, str) else list(keep)
        for name in names:
            if name not in frame.columns:
                raise unknown_name("column to keep", name, frame.columns)
    return frame.select(list(dict.fromkeys(names)))


def beside(kept: pl.DataFrame, answers: pl.DataFrame, target: str) -> pl.DataFrame:
    """Both side by side; a column with the name of an answer is the true answer (of the target), or is renamed ``given NAME``."""
    names = {name: f"true {name}" if name == target else f"given {name}" for name in kept.columns if name in answers}
    return pl.concat([kept.rename(names), answers], how="horizontal")


def rounded(frame: pl.DataFrame, *, scale: float | None = None) -> pl.DataFrame:
    """Numbers with meaningful digits: 4 decimals of a probability; for a quantity, four digits of its spread.

    Args:
        scale: the standard deviation of the quantity; without it, six digits are kept.

    Example:
        >>> rounded(pl.DataFrame({"price": [206855.84375], "probability yes": [0.123456]}), scale=115_000.0).row(0)
        (206856.0, 0.1235)
    """
    decimals = None if scale is None or not scale > 0 else max(3 - math.floor(math.log10(scale)), 0)
    changed = []
    for name, kind in frame.schema.items():
        if kind.is_float():
            column = pl.col(name)
            if name.startswith(_SHARES):
                changed.append(column.round(4))
            else:
                changed.append(column.round_sig_figs(6) if decimals is None else column.round(decimals))
    return frame.with_columns(changed)


def plain_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Date-times as short texts, alike in all rows of a column: days where all are at midnight, fractions only where there are some.

    Example:
        >>> frame = pl.DataFrame({"at": ["2024-05-01 06:00", "2024-05-02 00:00"]}).with_columns(pl.col("at").str.to_datetime())
        >>> plain_times(frame)["at"].to_list(), plain_times(frame.tail(1))["at"].to_list()
        (['2024-05-01T06:00:00', '2024-05-02T00:00:00'], ['2024-05-02'])
    """
    changed = []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Datetime):
            parts = (frame[name].dt.truncate(part) == frame[name] for part in ("1d", "1s"))
            form = next((form for same, form in zip(parts, _TIMES, strict=False) if same.all()), _TIMES[-1])
            changed.append(frame[name].dt.to_string(form))
    return frame.with_columns(changed)


def as_csv(frame: pl.DataFrame, *, separator: str = ",") -> str:
    """A frame as CSV, its times as :func:`plain_times`."""
    return plain_times(frame).write_csv(separator=separator)


def check_ending(path: str | Path) -> str:
    """The ending of a file that :func:`write_frame` is to write.

    Raises:
        ConfigError: no format has this ending.

    Example:
        >>> check_ending("answers.JSON")
        '.json'
    """
    ending = Path(path).suffix.lower()
    if ending not in (*SUFFIXES, *_AS_CSV):
        raise ConfigError(
            f"answers are not written as {ending}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            hint=f"such as {Path(path).with_suffix('.csv').name}",
        )
    return ending


def write_frame(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a frame as its name says: ``.parquet``, ``.json`` (a list of rows), ``.jsonl``, ``.tsv``; without an ending CSV.

    Raises:
        ConfigError: the file cannot be written, or has another ending.
    """
    kind, buffer = check_ending(path), io.BytesIO()
    if kind in (".parquet", ".pq"):
        frame.write_parquet(buffer)
    elif kind == ".json":
        plain_times(frame).write_json(buffer)
    elif kind in (".jsonl", ".ndjson"):
        plain_times(frame).write_ndjson(buffer)
    else:
        buffer.write(as_csv(frame, separator="\t" if kind == ".tsv" else ",").encode())
    write_atomic(path, buffer.getvalue(), error=ConfigError)
