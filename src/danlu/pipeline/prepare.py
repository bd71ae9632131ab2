"""From a table to rows that can be learnt from: read, typed, split and encoded, in memory or as a stream."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data import (
    EncodedStream,
    InferredTask,
    Schema,
    Table,
    TableEncoder,
    TargetEncoder,
    drop_missing_target,
    infer_schema,
    infer_task,
    leakage,
    open_stream,
    read_table,
    split_rows,
)
from danlu.data.images import ImageEncoder
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.pipeline.config import DataConfig, TrainConfig
from danlu.tasks import fold_numbers, folds_for

__all__ = ["Encoded", "Prepared", "fingerprint", "prepare", "tell"]

Encoded = tuple[Any, np.ndarray]  # a table's dict of arrays or an array of images; codes or standardised values

_HELD = 200_000  # the most rows of a stream that are held in memory at once, for validation, test and baselines


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """Encoded rows of the three parts, and what was learnt about the table.

    Attributes:
        schema: the columns of a table; None for images.
        inferred: the task, and why.
        target: encodes the target, fitted on the training rows (the names of the classes on all rows).
        encoder: encodes the other columns, fitted on the training rows.
        train: the training rows, or a stream of them.
        validation: the rows that choose the best epoch; None with folds.
        folds: the fold of each training row, where networks are judged on the rows that they did not learn from; or None.
        test: the rows that the result is measured on, or None.
        test_frame: the same rows as they were read, where they are in memory.
        rows: the number of rows of each part.
        split: how the rows were divided, in a sentence.
        notices: what the user should know.
    """

    schema: Schema | None
    inferred: InferredTask
    target: TargetEncoder
    encoder: TableEncoder | ImageEncoder
    train: Encoded | EncodedStream
    validation: Encoded | None
    folds: np.ndarray | None
    test: Encoded | None
    test_frame: pl.DataFrame | None
    rows: dict[str, int]
    split: str
    notices: tuple[str, ...]

    def sample(self) -> Encoded:
        """The training rows, or as many of a stream's as fit in memory."""
        return self.train if isinstance(self.train, tuple) else self.train.arrays(limit=_HELD)

    def known(self) -> Encoded:
        """All rows that the network sees, validation rows included: what a baseline may learn from."""
        if self.validation is None:
            return self.sample()
        (x, y), (more, also) = self.sample(), self.validation
        return jax.tree.map(lambda *parts: np.concatenate(parts), x, more), np.concatenate([y, also])


def fingerprint(source: Any) -> str | None:
    """The SHA-256 of a file's bytes, or of the names and sizes in a folder; None for what is neither."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        digest = hashlib.sha256()
        for entry in sorted(entry for entry in Path(source).rglob("*") if entry.is_file()):
            digest.update(f"{entry.relative_to(source)}\0{entry.stat().st_size}\n".encode())
        return digest.hexdigest()
    if not isinstance(source, str | Path) or not Path(source).is_file():
        return None
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(config: TrainConfig, source: Any, say: Callable[[str], None]) -> Prepared:
    """Read the source, work out schema and task, split the rows and encode them.

    Args:
        source: the file, frame or arrays to learn from.
        say: told what was found, and each notice.

    Raises:
        DanluError: a source, a target or a split that cannot be used.
    """
    return tell((_streamed if _streams(config.data, source) else _in_memory)(config, source), say)


def tell(prepared: Prepared, say: Callable[[str], None]) -> Prepared:
    """Say what was found."""
    for notice in prepared.notices:
        say(f"note: {notice}")
    if prepared.schema is not None:
        say(str(prepared.schema))
    say(str(prepared.inferred))
    return prepared


def _streams(data: DataConfig, source: Any) -> bool:
    """Whether to read as a stream: as the user says, or when Parquet files would fill a good part of the memory."""
    if data.stream is not None or not isinstance(source, str):
        return bool(data.stream)
    path = Path(source)
    if path.is_dir():
        return any(path.glob("*.parquet"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    return path.suffix in (".parquet", ".pq") and path.is_file() and path.stat().st_size > memory / 16


def _read(source: Any, data: DataConfig) -> Table:
    header: bool | str = "auto" if data.header == "auto" else data.header == "yes"
    return read_table(source, delimiter=data.delimiter, header=header)


def _named_target(data: DataConfig, what: str, names: Any) -> str:
    if not data.target:
        raise ConfigError(
            f"no target was named; {what} has the columns: {', '.join(list(names)[:30])}",
            hint="name the column to predict: --target COLUMN",
        )
    if data.target not in names:
        raise unknown_name("target column", data.target, names)
    return data.target


def _in_memory(config: TrainConfig, source: Any) -> Prepared:
    data = config.data
    table = _read(source, data)
    name = _named_target(data, table.source or "the table", table.names)
    frame, dropped = drop_missing_target(table.frame, name)
    inferred = infer_task(frame[name], task=None if data.task == "auto" else data.task)
    notices = [*table.notices, *dropped, *inferred.notices]
    drop = data.drop
    if config.split.method in ("group", "column") and config.split.column not in (None, *drop):
        drop = (*drop, str(config.split.column))
        notices.append(f"column {config.split.column!r} divides the rows and is not learnt from")
    schema = infer_schema(frame, target=name, kinds=data.kinds, drop=drop)
    split = split_rows(
        frame,
        method=config.split.method,
        column=config.split.column,
        target=name,
        task=inferred.task,
        validation=config.split.validation,
        test=0.0 if data.test is not None else config.split.test,
        seed=config.trainer.seed,
    )
    if not len(split.validation):
        raise DataError(
            f"the split left no validation rows ({split})", hint="give more rows, or a larger split.validation"
        )
    notices += leakage(frame, split)
    count = _folds(config, len(split.train) + len(split.validation))
    folds, description = None, split.description
    if count > 1:
        split = dataclasses.replace(split, train=np.union1d(split.train, split.validation), validation=split.train[:0])
        description += f"; {count} networks, each judged on a part of the training rows that it did not learn from"
    train, validation, test = (frame[rows] for rows in (split.train, split.validation, split.test))
    fitted_on = train if inferred.task == "regression" else frame
    target = TargetEncoder.fit(fitted_on[name], task=inferred.task)
    if data.test is not None:
        test, more = _separate(data, frame.columns, target)
        notices += more
    encoder = TableEncoder.fit(train, schema)
    if count > 1:
        folds = fold_numbers(target.transform(train[name]), inferred.task, count, seed=config.trainer.seed)

    def encoded(part: pl.DataFrame) -> Encoded:
        return encoder.transform(part), target.transform(part[name])

    return Prepared(
        schema,
        inferred,
        target,
        encoder,
        train=encoded(train),
        validation=encoded(validation) if validation.height else None,
        folds=folds,
        test=encoded(test) if test.height else None,
        test_frame=test,
        rows={"train": train.height, "validation": validation.height, "test": test.height},
        split=description,
        notices=tuple(notices),
    )


def _folds(config: TrainConfig, rows: int) -> int:
    """How many folds the rows are learnt from in; only rows that are drawn at random are divided again at random."""
    chosen = config.split.folds
    if config.split.method in ("stratified", "random"):
        if chosen is not None and chosen > rows:
            raise ConfigError(f"split.folds is {chosen}; expected at most the number of rows to learn from, {rows}")
        return folds_for(rows, chosen)
    if chosen is not None and chosen > 1:
        raise ConfigError(
            f"split.folds is {chosen} and split.method is {config.split.method!r}; rows are dealt out to folds at random",
            hint='leave split.folds out, or use split.method="stratified"',
        )
    return 1


def _streamed(config: TrainConfig, source: Any) -> Prepared:
    data = config.data
    if config.split.folds is not None and config.split.folds > 1:
        raise ConfigError("split.folds is for tables in memory, and this one is read as a stream", hint="leave it out")
    if not isinstance(source, str | Path):
        raise ConfigError("data.stream is for Parquet files; this table is in memory already")
    if not data.target:
        raise ConfigError("no target was named", hint="name the column to predict: --target COLUMN")
    stream = open_stream(
        source,
        target=data.target,
        task=None if data.task == "auto" else data.task,
        kinds=data.kinds,
        drop=data.drop,
        method=config.split.method,
        column=config.split.column,
        validation=config.split.validation,
        test=0.0 if data.test is not None else config.split.test,
        seed=config.trainer.seed,
    )
    notices, rows = [*stream.notices, *stream.inferred.notices], stream.rows
    encoder = TableEncoder.fit(stream.sample, stream.schema)
    test, frame = None, None
    if data.test is not None:
        names = [*(column.name for column in stream.schema.features), data.target]
        frame, more = _separate(data, names, stream.target)
        notices += more
        rows["test"] = frame.height
        test = encoder.transform(frame), stream.target.transform(frame[data.target])
    elif rows["test"]:
        test = stream.test(encoder).arrays(limit=_HELD)
    for part in ("validation", "test"):
        if rows[part] > _HELD and (part == "validation" or data.test is None):
            notices.append(f"{_HELD:,} of the {rows[part]:,} {part} rows are used")
    return Prepared(
        stream.schema,
        stream.inferred,
        stream.target,
        encoder,
        stream.train(encoder),
        stream.validation(encoder).arrays(limit=_HELD),
        None,
        test,
        frame,
        rows=rows,
        split=stream.split,
        notices=tuple(notices),
    )


def _separate(data: DataConfig, columns: Any, target: TargetEncoder) -> tuple[pl.DataFrame, list[str]]:
    """The rows of the user's own test file, in the columns of the training file."""
    other = _read(data.test, data)
    absent = [column for column in columns if column not in other.names]
    if absent:
        raise DataError(
            f"the test file {data.test} lacks the columns: {', '.join(absent)}; it has: {', '.join(other.names[:30])}",
            hint="give a test file with the columns of the training file",
        )
    test, dropped = drop_missing_target(other.frame.select(columns), target.name)
    labels, notices = target.normalise(test[target.name])
    test = test.with_columns(labels.alias(target.name))
    target.transform(labels)
    return test, [*(f"test file: {notice}" for notice in (*other.notices, *dropped)), *notices]
