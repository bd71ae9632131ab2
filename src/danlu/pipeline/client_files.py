"""Files of clients: a folder with a table of each, and each client's own version of a model in a run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from danlu.artifact import RunDirectory, load_artifact
from danlu.artifact.artifact import is_saved
from danlu.data import Table
from danlu.data.folders import files_in
from danlu.errors import DataError
from danlu.evaluate.clients import ClientScores
from danlu.pipeline.owners import FILE, Owners
from danlu.trained import Trained

__all__ = ["files_of_clients", "joined_files", "keep_clients", "kept_clients"]


def files_of_clients(source: Any) -> list[Path]:
    """The tables in a folder, one of each client; empty where it is no folder of tables."""
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        return []
    return [file for file in sorted(files_in(Path(source))) if file.suffix.lower() in _TABLES]


_TABLES = (".csv", ".tsv", ".parquet", ".pq", ".arrow", ".feather", ".jsonl", ".ndjson", ".xlsx", ".txt")


def joined_files(files: list[Path], read: Callable[[Path], Table]) -> Table:
    """The clients' files as one table, with a column of the file's name.

    Args:
        files: of each client.
        read: reads one.

    Raises:
        DataError: a file that has other columns than the first, or another kind of values in one; the message names both.
    """
    tables = [read(file) for file in files]
    first, name = tables[0], files[0].stem
    for file, table in zip(files, tables, strict=True):
        lacking = [column for column in first.names if column not in table.names]
        extra = [column for column in table.names if column not in first.names]
        if lacking or extra:
            what = f"lacks the column {lacking[0]!r}" if lacking else f"has a column {extra[0]!r}"
            there = f"client {name} has" if lacking else f"client {name} has not"
            raise DataError(
                f"client {file.stem} {what}, which {there}; expected the same columns in all {len(files)} files",
                hint="rename it, or leave it out of all: data.drop=COLUMN",
            )
        for column in first.names:
            one, other = first.frame[column].dtype, table.frame[column].dtype
            if one.is_numeric() != other.is_numeric() and pl.Null not in (one, other):
                kinds = ["numbers" if dtype.is_numeric() else "texts" for dtype in (other, one)]
                raise DataError(
                    f"column {column!r} holds {kinds[0]} at client {file.stem} and {kinds[1]} at client {name}; expected the same kind "
                    "at all",
                    hint="correct the file, or say which texts mean a missing value: data.missing=…",
                )
    if FILE in first.names:
        raise DataError(
            f"the files have a column {FILE!r}, and the name of the file goes to a column of this name",
            hint=f"rename it, or --by {FILE} of one table",
        )
    frames = [
        table.frame.select(first.names).with_columns(pl.lit(file.stem).alias(FILE))
        for file, table in zip(files, tables, strict=True)
    ]
    notices = dict.fromkeys(notice for table in tables for notice in table.notices)
    return dataclasses.replace(
        first, frame=pl.concat(frames, how="vertical_relaxed"), notices=tuple(notices), source=str(files[0].parent)
    )


def keep_clients(run: RunDirectory, model: Trained, found: ClientScores) -> None:
    """Save each client's own version of the model, where it has one, in ``clients/NAME`` of the run."""
    for folder, (params, state) in zip(_folders(run, list(found.models)), found.models.values(), strict=True):
        dataclasses.replace(model, params=params, state=state).save(folder)


def kept_clients(run: RunDirectory, owners: Owners) -> list[Any]:
    """The variables that :func:`keep_clients` saved, of each client in order; none where there are none."""
    folders = _folders(run, list(owners.names))
    if not all(is_saved(folder) for folder in folders):
        return []
    saved = [load_artifact(folder) for folder in folders]
    return [(each.params, each.state) for each in saved]


def _folders(run: RunDirectory, names: list[str]) -> list[Path]:
    """The folder of each client."""
    taken: dict[str, None] = {}
    for name in names:
        folder = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "client"
        while folder in taken:
            folder += "-"
        taken[folder] = None
    return [run.path / "clients" / folder for folder in taken]
