"""A survey of a table before its rows are streamed: the size of each part, the target, a sample."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from danlu.data.describe import infer_schema
from danlu.data.parquet import ParquetRows
from danlu.data.partition import PARTS, Partition
from danlu.data.target import TargetEncoder
from danlu.data.task import InferredTask, infer_task
from danlu.errors import DataError
from danlu.prose import percent

__all__ = ["count_parts", "draw_sample", "keep_twins", "look_into", "rows_of_part", "survey_target"]

_SAMPLE_BLOCKS = 64
_WHOLE_TARGET = 1_000_000  # rows up to which the whole target column is looked at at once
_MANY = 2000
_LOOKS, _LOOK_ROWS = 16, 1000  # places of a table, and rows at each, that say which columns name the rows
_COUNTED = 20_000_000  # rows up to which twins are counted


def rows_of_part(
    rows: ParquetRows, partition: Partition, start: int, length: int, code: int, names: Sequence[str]
) -> pl.DataFrame:
    """The columns ``names`` of those rows of a piece of the table that belong to one part."""
    wanted = [*names]
    if partition.reads_column and partition.column not in names:
        wanted.append(str(partition.column))
    frame = rows.read(start, length, columns=wanted)
    values = frame[partition.column] if partition.reads_column and partition.column is not None else None
    keep = partition.codes(start, frame.height, values) == code
    return frame.select(names).filter(pl.Series(keep))


def _pieces(rows: ParquetRows, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, rows.rows, step):
        yield start, min(step, rows.rows - start)


def look_into(rows: ParquetRows, wanted: int, *, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows of pieces that are spread evenly over a table, and their numbers from 0; all of them where they are few.

    Rows of a piece are neighbours, so that repeats close to each other are among them.

    Args:
        wanted: how many rows at most.
        seed: decides where the pieces begin.
    """
    if rows.rows <= wanted:
        return rows.read(0, rows.rows), np.arange(rows.rows)
    length = max(wanted // _SAMPLE_BLOCKS, 1)
    slots = np.linspace(0, rows.rows, wanted // length + 1).astype(np.int64)
    rng = np.random.default_rng(seed)
    starts = [int(low + rng.integers(max(high - low - length, 0) + 1)) for low, high in itertools.pairwise(slots)]
    frame = pl.concat([rows.read(start, length) for start in starts])
    return frame, (np.array(starts)[:, None] + np.arange(length)).ravel()  # (pieces, length) in a line


def count_parts(rows: ParquetRows, partition: Partition, block_rows: int) -> tuple[Partition, np.ndarray]:
    """The partition, fitted, and the rows of each part in each block."""
    step = max(1, _WHOLE_TARGET // block_rows) * block_rows
    values = None
    if partition.reads_column:
        name = str(partition.column)
        partition = partition.fitted(rows.read(*piece, columns=[name])[name] for piece in _pieces(rows, step))
    counts = np.zeros((-(-rows.rows // block_rows), len(PARTS)), np.int64)
    for start, length in _pieces(rows, step):
        if partition.reads_column:
            values = rows.read(start, length, columns=[name])[name]
        cells = (start + np.arange(length)) // block_rows * len(PARTS) + partition.codes(start, length, values)
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
    return partition, counts


def keep_twins(
    rows: ParquetRows, partition: Partition, target: str, drop: Sequence[str]
) -> tuple[Partition, list[str]]:
    """A random partition that keeps rows that differ only in the target in one part, and notices.

    Columns that name the rows make them all different, and do not count. Where rows come again so often that the parts
    would miss their shares, the partition is left as it is.
    """
    wanted = np.array([1 - partition.validation - partition.test, partition.validation, partition.test])
    step = max(rows.rows // _LOOKS, 1)
    starts = range(0, rows.rows, step)
    looked = pl.concat([rows.read(start, min(_LOOK_ROWS, step, rows.rows - start)) for start in starts])
    schema = infer_schema(looked, target=target)
    names = [c.name for c in schema.columns if c.kind != "identifier" and c.name not in (target, *drop)]
    if not names:
        return partition, []
    dealt, hashes = np.empty(rows.rows, np.int8), []
    for start, length in _pieces(rows, _WHOLE_TARGET):
        own = rows.read(start, length, columns=names).select(sorted(names)).hash_rows(seed=0).to_numpy()
        dealt[start : start + length] = partition.by_hash(own)
        if rows.rows <= _COUNTED:
            hashes.append(own)
    twins = ""
    if hashes:
        _, counts = np.unique(np.concatenate(hashes), return_counts=True)
        count = int(counts[counts > 1].sum())
        if not count:
            return partition, []
        share = percent(count / rows.rows) if count * 200 >= rows.rows else f"{count:,}"
        twins = f"{share} of the {rows.rows:,} rows are equal to another one (apart from the target); "
    shares = np.bincount(dealt, minlength=3) / rows.rows
    if (np.abs(shares - wanted) > 0.25 * wanted + 2 / np.sqrt(rows.rows)).any():
        return partition, [f"{twins}equal rows are in several parts, because too many rows are equal"]
    said = f"{twins}equal rows stay in one part (split.equal_rows=anywhere splits them one by one)"
    return dataclasses.replace(partition, dealt=dealt), [said]


def survey_target(
    rows: ParquetRows, partition: Partition, target: str, task: str | None
) -> tuple[InferredTask, TargetEncoder, list[str]]:
    """The task, the target's encoder, and notices, from the target column alone."""
    levels: pl.Series | None = None
    missing, moments = 0, np.zeros(3)
    shift: float | None = None
    for start, length in _pieces(rows, _WHOLE_TARGET):
        values = rows.read(start, length, columns=[target])[target].drop_nulls()
        missing += length - len(values)
        if levels is None or len(levels) <= _MANY:
            # Up to a million rows are looked at as they are; of more, five of each value.
            seen = values if rows.rows <= _WHOLE_TARGET else values.unique(maintain_order=True)
            levels = seen if levels is None else pl.concat([levels, seen]).unique(maintain_order=True)
        if values.dtype.is_numeric() or values.dtype == pl.Boolean:
            training = rows_of_part(rows, partition, start, length, 0, [target])[target]
            own = training.drop_nulls().cast(pl.Float64).to_numpy()
            shift = float(own[0]) if shift is None and len(own) else shift
            off = own - (shift or 0.0)
            with np.errstate(over="ignore", invalid="ignore"):
                moments += (len(off), off.sum(), (off**2).sum())
    looked_at = levels if levels is not None else pl.Series(target, [], dtype=pl.String)
    if rows.rows > _WHOLE_TARGET and len(looked_at) <= _MANY:
        looked_at = pl.concat([looked_at] * 5)
    inferred = infer_task(looked_at, task=task)
    if rows.rows > _WHOLE_TARGET and len(looked_at) > _MANY and inferred.task == "regression" and task is None:
        inferred = dataclasses.replace(inferred, reason=f"{target} holds more than {_MANY:,} different numbers")
    encoder = TargetEncoder.fit(looked_at, task=inferred.task)
    if inferred.task == "regression" and shift is not None:
        count, total, squares = (float(n) for n in moments)
        mean, variance = shift + total / count, squares / count - (total / count) ** 2
        if not math.isfinite(variance):
            raise DataError(f"the target {target!r} holds infinite values", hint="repair or drop those rows")
        encoder = dataclasses.replace(encoder, mean=mean, std=math.sqrt(variance) if variance > 0 else 1.0)
    notices = list(inferred.notices)
    if missing:
        notices.append(f"{missing} of {rows.rows} rows have no value for the target {target} and are ignored")
    return inferred, encoder, notices


def draw_sample(
    rows: ParquetRows, partition: Partition, block_rows: int, counts: np.ndarray, wanted: int, seed: int
) -> pl.DataFrame:
    """Training rows: all of them when they are few, else random rows of blocks spread evenly over the table."""
    names = rows.columns
    blocks = np.flatnonzero(counts[:, 0]).tolist()
    total = int(counts[:, 0].sum())
    if total <= wanted:
        return pl.concat([rows_of_part(rows, partition, *piece, 0, names) for piece in _pieces(rows, _WHOLE_TARGET)])
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.asarray(blocks), min(len(blocks), max(_SAMPLE_BLOCKS, -(-wanted // block_rows) * 2)))
    chosen = np.array([part[rng.integers(len(part))] for part in parts])
    share = min(1.0, wanted / counts[chosen, 0].sum())
    pieces = []
    for block in chosen:
        frame = rows_of_part(rows, partition, int(block) * block_rows, block_rows, 0, names)
        take = min(frame.height, max(1, int(share * frame.height)))
        pieces.append(frame[np.sort(rng.choice(frame.height, take, replace=False))])
    return pl.concat(pieces).head(wanted)
