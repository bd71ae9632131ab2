"""A table as an audit looks at it, read by the settings of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.auditing import Audit
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
from danlu.data.spelling import match_names, merge_spellings
from danlu.errors import ConfigError, DataError, unknown_name
from danlu.pipeline.config import DataConfig, TrainConfig
from danlu.pipeline.used import check_columns
from danlu.stages import stage

__all__ = ["audit_source", "quick_audit", "sheet_of"]


def sheet_of(
    table: Table,
    schema: Schema,
    frame: pl.DataFrame,
    target: TargetEncoder | None,
    numbers: np.ndarray,
    written: Any = None,
) -> Sheet:
    """The sheet of typed rows.

    Args:
        table: as it was read.
        schema: of the columns.
        frame: the rows that have a target.
        target: encodes it; None without one.
        numbers: of the rows in the table, from 0.
        written: the texts of the file, where it holds texts.
    """
    truth: np.ndarray | None = None
    if target is not None and target.task == "regression":
        truth = frame[target.name].cast(pl.Float64).to_numpy()
    elif target is not None:
        truth = target.transform(frame[target.name]).astype(np.int64)
    task, classes = ("", ()) if target is None else (target.task, target.classes)
    return Sheet(frame, schema, task, truth, classes, numbers + 1, table, written)


def quick_audit(sheet: Sheet) -> Audit:
    """What the quick checks find that training does not say by itself."""
    with stage("looking for leaks"):
        return Audit.of("", quick_findings(sheet), sheet.table.rows, first_line=sheet.table.line_offset, looked=QUICK)


def audit_source(config: TrainConfig, source: Any, *, against: Any, at: str | None, label_errors: bool) -> Audit:
    """The audit of a table in a file or in memory.

    Raises:
        DanluError: it cannot be read, or names a column that is not there.
    """
    data = config.data
    if isinstance(source, str | Path) and Path(source).is_dir():
        raise ConfigError(
            f"{source} is a folder; danlu audit looks at one table at a time", hint="give one of its files"
        )
    table, written = _read(source, data)
    frame, target = table.frame, None
    numbers = np.arange(frame.height)
    check_columns(data, table.names)
    if at is not None:
        if at not in table.names:
            raise unknown_name("column", at, table.names, error=DataError)
        if not frame[at].dtype.is_temporal():
            raise DataError(
                f"--at names the column {at!r}, which holds no dates", hint="data.dates says how they are written"
            )
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
    sheet = sheet_of(table, schema, frame, target, numbers, written)
    second = against if against is not None else data.test
    other = None if second is None else _other(second, data, sheet)
    found, looked = audit_table(sheet, other=other, at=at, wrong_labels=label_errors)
    return Audit.of("", found, table.rows, first_line=table.line_offset, looked=tuple(looked))


def _read(source: Any, data: DataConfig) -> tuple[Table, pl.DataFrame | None]:
    """The table in its types, and the texts that the source holds."""
    how = {"missing": data.marks(), "kinds": data.kinds, "dates": data.dates, **data.form()}
    table = read_table(source, **how)
    texts = read_table(source, typed=False, **how).frame
    return table, texts if texts.height == table.rows and texts.columns == table.frame.columns else None


def _other(source: Any, data: DataConfig, sheet: Sheet) -> pl.DataFrame:
    """The rows of a second file in the columns and types of the first.

    Raises:
        DataError: it has none of the columns.
    """
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
