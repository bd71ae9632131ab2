"""Reads a table whose cells are numbers, categories, texts and names of pictures or recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.check import check_frame
from danlu.data.describe import infer_schema, told_of
from danlu.data.kinds import MEDIA
from danlu.data.media import found_media, located
from danlu.data.read import read_table
from danlu.data.schema import Schema
from danlu.errors import DataError, unknown_name

__all__ = ["MixedSet", "read_mixed"]


@dataclasses.dataclass(frozen=True, eq=False)
class MixedSet:
    """Rows of several modalities.

    Attributes:
        frame: the columns; cells of pictures and recordings are whole paths, or null.
        schema: what each column is.
        labels: the target, or None.
        notices: what the user should know.
        numbers: of the rows in the source, from 0, where some were left out; else None.
    """

    frame: pl.DataFrame
    schema: Schema
    labels: pl.Series | None
    notices: tuple[str, ...] = ()
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return self.frame.height

    def rows(self, numbers: np.ndarray) -> MixedSet:
        """Some of the rows, by their numbers ``(n,)``."""
        labels = None if self.labels is None else self.labels.gather(numbers)
        own = None if self.numbers is None else self.numbers[numbers]
        return dataclasses.replace(self, frame=self.frame[numbers], labels=labels, numbers=own)

    def keys(self, numbers: np.ndarray) -> Iterable[Any]:
        """What rows are known again by: the file of the first column of pictures or recordings, else all that the model sees."""
        named = next((column.name for column in self.schema.features if column.kind in MEDIA), None)
        frame = self.frame[numbers]
        whole = frame.select(column.name for column in self.schema.features).rows()
        if named is None:
            return whole
        return [row if file is None else file for file, row in zip(frame[named].to_list(), whole, strict=True)]


def read_mixed(
    source: Any,
    *,
    target: str,
    kinds: Mapping[str, str],
    drop: Iterable[str] = (),
    merge: bool = False,
    schema: Schema | None = None,
    **how: Any,
) -> MixedSet:
    """Read a table, with the kind of each column and where its files are.

    Args:
        source: a file or a frame; paths in it begin at the file's folder.
        target: the column to predict.
        kinds: of single columns, as the user says.
        drop: columns that the model must not see.
        merge: see :func:`~danlu.data.infer_schema`.
        schema: of what was read to be learnt from, where these are rows of a test file.
        **how: see :func:`~danlu.data.read_table`.

    Raises:
        DataError: no such column, or a column of files of which none can be read.
    """
    folder = Path(source).parent if isinstance(source, str | Path) else Path()
    # A column of files stays as it is written.
    table = read_table(source, typed=schema is None, kinds=kinds if schema is None else None, **how)
    if target not in table.names:
        raise unknown_name("target column", target, table.names, error=DataError)
    if schema is not None:
        checked, notices = check_frame(table.frame, schema, lenient=True)
        frame, lost = located(checked, {c.name: c.kind for c in schema.features}, folder)
        return MixedSet(frame, schema, frame[target], (*table.notices, *notices, *lost))
    seen = {
        name: what for name, what in found_media(table.frame, folder).items() if name != target and name not in kinds
    }
    own = {**{name: kind for name, (kind, _) in seen.items()}, **kinds}
    found = infer_schema(table.frame, target=target, kinds=own, drop=drop, formats=table.formats, merge=merge)
    reasons = {name: why for name, (_, why) in seen.items()}
    columns = tuple(
        dataclasses.replace(c, reason=reasons[c.name]) if c.name in reasons and c.used else c for c in found.columns
    )
    found = dataclasses.replace(found, columns=columns)
    told = [
        f"column {column.name} holds {'a picture' if column.kind == 'image' else 'a recording' if column.kind == 'sound' else 'a text'} "
        f"in each row ({column.reason})"
        for column in found.features
        if column.kind in ("text", *MEDIA)
    ]
    frame, lost = located(table.frame, {column.name: column.kind for column in found.features}, folder)
    return MixedSet(frame, found, frame[target], (*table.notices, *told, *told_of(frame, found), *lost))
