"""From a source to rows that can be learnt from: read, typed, split."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from danlu.data import (
    InferredTask,
    Schema,
    Table,
    TargetEncoder,
    drop_missing_target,
    infer_schema,
    infer_task,
    leakage,
    read_table,
    split_rows,
)
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.pipeline.config import DataConfig, TrainConfig

__all__ = ["Prepared", "fingerprint", "prepare"]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """The rows of the three parts, and what was learnt about the table.

    Attributes:
        train, validation, test: rows; ``test`` may be empty.
        schema: the columns.
        inferred: the task, and why.
        target: encodes the target, fitted on the training rows (the names of the classes on all rows).
        split: how the rows were divided, in a sentence.
        notices: what the user should know.
    """

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    schema: Schema
    inferred: InferredTask
    target: TargetEncoder
    split: str
    notices: tuple[str, ...]

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {name: getattr(self, name).height for name in ("train", "validation", "test")}


def _read(source: Any, data: DataConfig) -> Table:
    header: bool | str = "auto" if data.header == "auto" else data.header == "yes"
    return read_table(source, delimiter=data.delimiter, header=header)


def fingerprint(source: Any) -> str | None:
    """The SHA-256 of a file's bytes; None for what is not a file."""
    if not isinstance(source, str | Path) or not Path(source).is_file():
        return None
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(config: TrainConfig, source: Any, say: Callable[[str], None]) -> Prepared:
    """Read the source, work out schema and task, and split the rows.

    Args:
        source: the file, frame or arrays to learn from.
        say: told what was found, and each notice.

    Raises:
        DanluError: a source, a target or a split that cannot be used.
    """
    data, name = config.data, config.data.target
    table = _read(source, data)
    if not name:
        raise ConfigError(
            f"no target was named; {table.source or 'the table'} has the columns: {', '.join(table.names[:30])}",
            hint="name the column to predict: --target COLUMN",
        )
    if name not in table.names:
        raise unknown_name("target column", name, table.names)
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
    classes = TargetEncoder.fit(frame[name], task=inferred.task)
    train = frame[split.train]
    target = TargetEncoder.fit(train[name], task="regression") if inferred.task == "regression" else classes
    test = frame[split.test]
    if data.test is not None:
        test, more = _separate(data, frame, target)
        notices += more
    for notice in notices:
        say(f"note: {notice}")
    say(str(schema))
    say(str(inferred))
    return Prepared(train, frame[split.validation], test, schema, inferred, target, split.description, tuple(notices))


def _separate(data: DataConfig, frame: pl.DataFrame, target: TargetEncoder) -> tuple[pl.DataFrame, list[str]]:
    """The rows of the user's own test file, in the columns of the training file."""
    other = _read(data.test, data)
    absent = [column for column in frame.columns if column not in other.names]
    if absent:
        raise DataError(
            f"the test file {data.test} lacks the columns: {', '.join(absent)}; it has: {', '.join(other.names[:30])}",
            hint="give a test file with the columns of the training file",
        )
    test, dropped = drop_missing_target(other.frame.select(frame.columns), target.name)
    labels, notices = target.normalise(test[target.name])
    test = test.with_columns(labels.alias(target.name))
    target.transform(labels)
    return test, [*(f"test file: {notice}" for notice in (*other.notices, *dropped)), *notices]
