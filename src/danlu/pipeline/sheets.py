"""A table as an audit looks at it, read by the settings of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing import Audit, Finding
from danlu.auditing.sheet import Sheet
from danlu.auditing.tables import QUICK, audit_table, quick_findings
from danlu.data import (
    Schema,
    Table,
    TargetEncoder,
    check_frame,
    has_target,
    infer_schema,
    infer_task,
    read_table,
)
from danlu.data.format import Format
from danlu.data.parquet import ParquetRows
from danlu.data.spelling import match_names, merge_spellings
from danlu.data.stream import sample_size
from danlu.data.survey import look_into
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.pipeline.config import DataConfig, TrainConfig
from danlu.pipeline.converted import as_parquet, is_plain_text, is_streamed
from danlu.pipeline.used import check_columns
from danlu.stages import stage

__all__ = ["audit_source", "quick_audit", "quick_audit_of_sample", "sheet_of"]

_SAMPLE = 50_000  # rows of a large table that are looked at, at most


def sheet_of(
    table: Table,
    schema: Schema,
    frame: pl.DataFrame,
    target: TargetEncoder | None,
    numbers: np.ndarray,
    written: Any = None,
    drawn: np.ndarray | None = None,
) -> Sheet:
    """The sheet of typed rows.

    Args:
        table: as it was read.
        schema: of the columns.
        frame: the rows that have a target.
        target: encodes it; None without one.
        numbers: of the rows in the table, from 0.
        written: the texts of the file, where it holds texts.
        drawn: of each row of the table its number in the source, from 1, where it is a sample of it.
    """
    truth: np.ndarray | None = None
    if target is not None and target.task == "regression":
        truth = frame[target.name].cast(pl.Float64).to_numpy()
    elif target is not None:
        truth = target.transform(frame[target.name]).astype(np.int64)
    task, classes = ("", ()) if target is None else (target.task, target.classes)
    return Sheet(
        frame, schema, task, truth, classes, numbers + 1 if drawn is None else drawn[numbers], table, written, drawn
    )


def quick_audit(sheet: Sheet) -> Audit:
    """What the quick checks find that training does not say by itself."""
    with stage("looking for leaks"):
        return Audit.of("", quick_findings(sheet), sheet.table.rows, first_line=sheet.table.line_offset, looked=QUICK)


def quick_audit_of_sample(config: TrainConfig, source: Any) -> Audit:
    """The same of a sample of a table that is read as a stream."""
    read = _opened(source, config.data)
    with stage("looking for leaks"):
        return read.audited(quick_findings(_sheet(config.data, read)), QUICK)


@dataclasses.dataclass(frozen=True, eq=False)
class _Opened:
    """The rows that are looked at.

    Attributes:
        table: in their types.
        written: the texts that the file holds, where it is one of texts.
        rows: how many rows the source has.
        drawn: of each row of ``table`` its number in the source, from 1, where it is a sample of it.
    """

    table: Table
    written: pl.DataFrame | None
    rows: int
    drawn: np.ndarray | None = None

    def audited(self, found: Iterable[Finding], looked: Sequence[str]) -> Audit:
        """The findings with what they are of."""
        sample = None if self.drawn is None else self.table.rows
        return Audit.of("", found, self.rows, first_line=self.table.line_offset, looked=tuple(looked), sample=sample)


def audit_source(config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool) -> Audit:
    """The audit of a table in a file or in memory; of one that would be read as a stream of a sample of its rows.

    Raises:
        DanluError: it cannot be read, or names a column that is not there.
    """
    data = config.data
    if isinstance(source, str | Path) and Path(source).is_dir() and not is_streamed(data, str(source)):
        raise ConfigError(
            f"{source} is a folder; danlu audit looks at one table at a time", hint="give one of its files"
        )
    read = _opened(source, data)
    if at is not None:
        if at not in read.table.names:
            raise unknown_name("column", at, read.table.names, error=DataError)
        if not read.table.frame[at].dtype.is_temporal():
            raise DataError(
                f"--at names the column {at!r}, which holds no dates", hint="data.dates says how they are written"
            )
    sheet = _sheet(data, read)
    second = against if against is not None else data.test
    other = None if second is None else _other(second, data, sheet)
    found, looked = audit_table(sheet, other=other, at=at, wrong_labels=label_errors)
    return read.audited(found, looked)


def _sheet(data: DataConfig, read: _Opened) -> Sheet:
    table = read.table
    frame, target = table.frame, None
    numbers = np.arange(frame.height)
    check_columns(data, table.names)
    if data.target:
        if data.target not in table.names:
            raise unknown_name("target column", data.target, table.names)
        numbers = np.flatnonzero(has_target(frame[data.target]).to_numpy())
        frame = frame[numbers]
        if data.spellings == "merge":
            frame = frame.with_columns(merge_spellings(frame[data.target])[0])
        inferred = infer_task(frame[data.target], task=None if data.task == "auto" else data.task)
        target = TargetEncoder.fit(frame[data.target], task=inferred.task)
    merge = data.spellings == "merge"
    schema = infer_schema(
        frame, target=data.target or None, kinds=data.kinds, drop=data.drop, formats=table.formats, merge=merge
    )
    return sheet_of(table, schema, frame, target, numbers, read.written, read.drawn)


def _opened(source: Any, data: DataConfig) -> _Opened:
    """The table in its types, and the texts that the source holds; a sample of one that would be read as a stream."""
    if is_streamed(data, str(source) if isinstance(source, Path) else source):
        frame, formats, drawn, rows = _sampled(source, data)
        return _Opened(Table(frame, source=str(source), formats=formats), None, rows, drawn)
    how = {"missing": data.marks(), "kinds": data.kinds, "dates": data.dates, **data.form()}
    table = read_table(source, **how)
    texts = read_table(source, typed=False, **how).frame
    same = texts.height == table.rows and texts.columns == table.frame.columns
    return _Opened(table, texts if same else None, table.rows)


def _sampled(source: Any, data: DataConfig) -> tuple[pl.DataFrame, Mapping[str, Format], np.ndarray | None, int]:
    """Rows of a large table, the formats of its columns, the rows' numbers from 1 if they are not all, and how many there are."""
    files, told = Path(source), tuple[str, ...]()
    if files.is_file() and is_plain_text(files):
        files, told = as_parquet(files, data)
    whole = ParquetRows(files, missing=() if data.missing is None or told else data.marks())
    with stage("drawing a sample"):
        head = whole.read(0, 1024)
        frame, numbers = look_into(whole, min(sample_size(head.estimated_size() / head.height), _SAMPLE))
    return frame, whole.formats, None if frame.height == whole.rows else numbers + 1, whole.rows


def _other(source: Any, data: DataConfig, sheet: Sheet) -> pl.DataFrame:
    """The rows of a second file in the columns and types of the first.

    Raises:
        DataError: it has none of the columns.
    """
    if is_streamed(data, str(source) if isinstance(source, Path) else source):
        frame = _sampled(source, data)[0]
    else:
        frame = read_table(source, missing=data.marks(), typed=False, **data.form()).frame
    frame, _ = match_names(frame, sheet.frame.columns)
    lacking = [name for name in sheet.inputs if name not in frame.columns]
    if lacking:
        shown = source if isinstance(source, str | Path) else "the other data"
        raise DataError(
            f"{shown} lacks the columns: {', '.join(lacking[:10])}; it has: {', '.join(frame.columns[:30])}",
            hint="give a file with the columns of the first one",
        )
    checked, _ = check_frame(frame, sheet.schema, lenient=True)
    return checked
