"""The encoder of whole rows: every column of a table in cells, and back to rows that can be read as the file they learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.check import check_given
from danlu.data.fields import Field, column_fields
from danlu.data.records import record_frame
from danlu.data.rows.cells import MOST, Cells, category_cells, number_cells
from danlu.data.rows.fresh import Fresh
from danlu.data.rows.written import Written
from danlu.data.schema import Column, Schema
from danlu.data.table import Table
from danlu.errors import ArtifactError, DataError

__all__ = ["RowEncoder"]

_LEVELS = 200
"""Categories of a column that are learnt; rarer ones are drawn by their own shares."""


@dataclasses.dataclass(frozen=True, eq=False)
class RowEncoder:
    """Rows of a table as cells and places (:mod:`danlu.data.rows.cells`), fitted to training rows, and back.

    Attributes:
        schema: of all columns; those that a model learns from are its features.
        cells: of each feature.
        rest: of a feature with too many categories, the rarer ones with their shares; they are one cell.
        written: how each column's values are written, in the order of the file.
        fresh: the names of rows, which are made anew.
        fixed: the value of each column that is the same in all rows.
        header: whether the file has a line with the names.
    """

    schema: Schema
    cells: tuple[Cells, ...]
    rest: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    written: Mapping[str, Written]
    fresh: Mapping[str, Fresh]
    fixed: Mapping[str, Any]
    header: bool = True

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        schema: Schema,
        *,
        raw: Table | None = None,
        most: int = MOST,
        seen: pl.DataFrame | None = None,
    ) -> RowEncoder:
        """Fit to training rows.

        Args:
            frame: the training rows, each column in the type of its kind.
            schema: of the columns; what it does not use are names of rows and constants.
            raw: the whole table as it is in the file, for how its values are written; None writes them as they are typed.
            most: cells of a column of numbers, at most.
            seen: what is looked at in the place of private training rows: rows that are made up from noisy counts.

        Raises:
            DataError: a column of free texts, or none that a model can learn from.
        """
        if not schema.features:
            raise DataError(
                f"each of the {len(schema.columns)} columns is the same in every row or names rows; expected one or more to be learnt",
                hint='a column that names no rows can be said to be one of numbers: \'data.kinds={"COLUMN": "numeric"}\'',
            )
        written, fresh, fixed = {}, {}, {}
        for column in schema.columns:
            values = frame[column.name]
            own = values if raw is None else raw.frame[column.name]
            of_all = (
                own
                if raw is None
                else column.format.read(
                    own, "text" if own.dtype == pl.String and column.format.written == "text" else None
                )
            )
            written[column.name] = Written.of(own, of_all, column.format)
            if seen is not None and written[column.name].marks:  # how often each was there is private
                marks = written[column.name].marks
                written[column.name] = dataclasses.replace(
                    written[column.name], missing=min(marks), marks=dict.fromkeys(sorted(marks), 1 / len(marks))
                )
            if column.used:
                continue
            if column.kind == "identifier":
                names = [str(each).strip() for each in own.drop_nulls().to_list()]  # of all rows: no name is another's
                fresh[column.name] = Fresh.of(names) if seen is None else Fresh(last=0)
            else:
                known = values.drop_nulls()
                fixed[column.name] = None if not len(known) else _plain(known.head(1))[0]
        cells, rest = [], {}
        for column in schema.features:
            if column.kind == "text":
                raise DataError(
                    f"column {column.name!r} is free text, of which no table model makes rows; expected numbers, categories, dates",
                    hint=f"leave it out: 'data.drop={column.name}'; or as categories: 'data.kinds={{\"{column.name}\": \"categorical\"}}'",
                )
            values = _plain((frame if seen is None else seen)[column.name])
            if column.kind in ("numeric", "datetime"):
                if seen is not None:  # numbers that were made up have the digits of the column
                    digits = written[column.name].places
                    values = np.round(values, min(digits, 0) if column.whole else digits)
                cells.append(number_cells(values, most=most))
                continue
            found = category_cells(values)
            if seen is not None:
                spelt = written[column.name].spelt
                written[column.name] = dataclasses.replace(
                    written[column.name], spelt={level: text for level, text in spelt.items() if level in found.levels}
                )
            if len(found.levels) > _LEVELS:
                kept, rarer = found.levels[:_LEVELS], found.levels[_LEVELS:]
                shares = found.share[-len(rarer) :]
                rest[column.name] = rarer, shares / shares.sum()
                share = np.append(found.share[: -len(rarer)], shares.sum())
                found = dataclasses.replace(found, levels=(*kept, _other(found.levels)), share=share)
            cells.append(found)
        header = raw is None or raw.line_offset != 1
        return cls(schema, tuple(cells), rest, written, fresh, fixed, header)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many cells each feature has."""
        return tuple(each.size for each in self.cells)

    @property
    def in_shape(self) -> dict[str, tuple[int, ...]]:
        """The shape of one encoded row."""
        return dict.fromkeys(("cell", "place", "slope"), (len(self.cells),))

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns that the model sees."""
        return column_fields(self.schema.features)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> pl.DataFrame:
        """Records as a checked frame; a null is missing.

        Raises:
            SchemaError: a value that does not fit its column.
        """
        given = {column.name: [record[column.name] for record in records] for column in self.schema.features}
        checked, notices = check_given(record_frame(self.schema.features, given), self.schema)
        for notice in notices:
            say(notice)
        return checked

    def transform(self, rows: pl.DataFrame) -> dict[str, np.ndarray]:
        """``{"cell": int32, "place": float32, "slope": float32}``, each ``(rows, features)``: the slope is ``log |dx/dt|`` of a number."""
        found = [
            self._encoded(column, cells, rows[column.name])
            for column, cells in zip(self.schema.features, self.cells, strict=True)
        ]
        cell, place, slope = (np.stack([each[part] for each in found], axis=1) for part in range(3))
        return {"cell": cell, "place": place, "slope": slope}

    def _encoded(self, column: Column, cells: Cells, values: pl.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        plain = _plain(values)
        if column.name in self.rest:
            rarer, other = set(self.rest[column.name][0]), cells.levels[-1]
            plain = [other if each in rarer else each for each in plain]
        return cells.encode(plain)

    def decode(self, cell: np.ndarray, place: np.ndarray, *, seed: int = 0) -> pl.DataFrame:
        """Rows as they are in the file, all columns in their order; of a text file all of them texts.

        Args:
            cell, place: ``(rows, features)``.
            seed: decides what is made anew: names of rows, and which of the rare categories of a column.
        """
        found: dict[str, Any] = {}
        for number, (column, cells) in enumerate(zip(self.schema.features, self.cells, strict=True)):
            values = cells.decode(cell[:, number], place[:, number])
            if column.name in self.rest:
                rarer, shares = self.rest[column.name]
                rng = np.random.default_rng(
                    [seed, 7, number]
                )  # of each column its own: the first of many are those of fewer
                others = np.array(rarer, object)[rng.choice(len(rarer), len(values), p=shares)]
                values = np.where(values == cells.levels[-1], others, values)
            found[column.name] = values
        columns = []
        for number, column in enumerate(self.schema.columns):
            name, written = column.name, self.written[column.name]
            if name in self.fresh:
                made: Any = self.fresh[name].names(len(cell), np.random.default_rng([seed, 8, number]))
                values = pl.Series(made, dtype=pl.String)
                if written.dtype != "String":
                    values = values.cast(
                        pl.Int64 if written.dtype.startswith(("Int", "UInt")) else pl.String, strict=False
                    )
            elif name in self.fixed:
                one = self.fixed[name]
                number = isinstance(one, float)
                values = written.values(np.full(len(cell), one) if number else [one] * len(cell))
            else:
                values = written.values(found[name], np.random.default_rng([seed, 9, number]))
            columns.append(values.alias(name))
        return pl.DataFrame(columns)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The encoder as plain data and arrays."""
        told: list[Any] = []
        arrays: dict[str, np.ndarray] = {}
        for number, cells in enumerate(self.cells):
            plain, own = cells.state()
            told.append(plain)
            arrays |= {f"{number}.{name}": array for name, array in own.items()}
        for number, (_, shares) in enumerate(self.rest.values()):
            arrays[f"rest.{number}"] = shares
        data = {
            "kind": "rows",
            "schema": self.schema.to_json(),
            "cells": told,
            "rest": [[name, list(rarer)] for name, (rarer, _) in self.rest.items()],
            "written": {name: dataclasses.asdict(each) for name, each in self.written.items()},
            "fresh": {name: each.state() for name, each in self.fresh.items()},
            "fixed": dict(self.fixed),
            "header": self.header,
        }
        return data, arrays

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> RowEncoder:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: the data is not an encoder of rows.
        """
        try:
            schema = Schema.from_json(data["schema"])
            cells = tuple(
                Cells.from_state(
                    told, {name: np.asarray(arrays[f"{number}.{name}"]) for name in ("share", "low", "high")}
                )
                for number, told in enumerate(data["cells"])
            )
            rest = {
                name: (tuple(rarer), np.asarray(arrays[f"rest.{n}"])) for n, (name, rarer) in enumerate(data["rest"])
            }
            written = {name: Written(**told) for name, told in data["written"].items()}
            fresh = {name: Fresh.from_state(told) for name, told in data["fresh"].items()}
            found = cls(schema, cells, rest, written, fresh, dict(data["fixed"]), bool(data["header"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the saved encoder of rows is damaged: {str(error)[:200]}") from error
        if len(cells) != len(schema.features) or set(written) != set(schema.names):
            raise ArtifactError(
                f"the saved encoder of rows has {len(cells)} columns of cells for {len(schema.features)} columns"
            )
        return found


def _plain(values: pl.Series) -> Any:
    """Numbers and dates (in seconds since 1970) as float64 with NaN where missing; others as texts with None."""
    if values.dtype.is_temporal():
        return (
            values.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64).fill_null(float("nan")).to_numpy() / 1e6
        )
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values.cast(pl.String).to_list()


def _other(levels: tuple[str, ...]) -> str:
    """A name for all rare categories that none of them has."""
    name = "(other)"
    while name in levels:
        name += "'"
    return name
