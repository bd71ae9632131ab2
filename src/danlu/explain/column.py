"""One column of some rows, an array's or a frame's: the values at which a model is asked, and rows with other values in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError, DataError

__all__ = ["Points", "points_of", "score_of_rows", "with_columns"]

Rows = Any
"""An array ``(rows, columns)``, whose columns have numbers, or a polars frame, whose columns have names."""


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """The values of a column at which a model is asked: all of them are values that rows have.

    Attributes:
        column: its name, or its number in an array.
        values: ``(points,)``: of numbers and dates quantiles, in order; of levels the most frequent ones.
        ordered: whether they are numbers or dates.
        where: the places of the points on a line, ``(points,)``; of levels 0, 1, ….
        nearest: the point of each row, ``(rows,)``: the nearest one, or its level; −1 where the row has no value, or another level.
        known: the place of each row's value on that line, ``(rows,)``; NaN where ``nearest`` is −1.
        missing: how many rows have no value.
    """

    column: Any
    values: tuple[Any, ...]
    ordered: bool
    where: np.ndarray
    nearest: np.ndarray
    known: np.ndarray
    missing: int

    @property
    def rows(self) -> np.ndarray:
        """How many rows are nearest to each point, ``(points,)``."""
        return np.bincount(self.nearest[self.nearest >= 0], minlength=len(self.values))

    @property
    def left_out(self) -> int:
        """How many rows have a level that is no point."""
        return int((self.nearest < 0).sum()) - self.missing


def points_of(rows: Rows, column: Any, most: int) -> Points:
    """The points of a column.

    Args:
        most: points, >= 2.

    Raises:
        ConfigError: fewer than 2 points, or a column that there is not.
        DataError: a column of fewer than two different values.
    """
    if most < 2:
        raise ConfigError(f"points is {most}; expected at least 2")
    values = _series(rows, column)
    known = values.drop_nulls()
    ordered = values.dtype.is_numeric() or values.dtype.is_temporal()
    if known.n_unique() < 2:
        raise DataError(f"column {column!r} has fewer than two different values, so that nothing can depend on it")
    if not ordered:
        counts = known.cast(pl.String).value_counts(sort=False).sort(["count", values.name], descending=[True, False])
        levels = counts[values.name].head(most).to_list()
        code = {level: place for place, level in enumerate(levels)}
        nearest = np.array([code.get(level, -1) for level in values.cast(pl.String)])
        chosen = [level == "true" for level in levels] if values.dtype == pl.Boolean else levels
        where = np.arange(len(levels), dtype=np.float64)
        place = np.where(nearest < 0, np.nan, nearest)
        return Points(column, tuple(chosen), False, where, nearest, place, values.null_count())
    line = values.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy()
    order = known.sort()
    distinct = order.unique(maintain_order=True)
    if len(distinct) > most:
        ranks = np.linspace(0, len(order) - 1, most).round().astype(int)
        distinct = order[ranks.tolist()].unique(maintain_order=True)
    if len(distinct) < 2:  # nearly all rows have one value
        distinct = pl.concat([order[:1], order[-1:]]).unique(maintain_order=True)
    where = distinct.to_physical().cast(pl.Float64).to_numpy()
    middle = (where[:-1] + where[1:]) / 2
    nearest = np.where(np.isnan(line), -1, np.searchsorted(middle, line))
    return Points(column, tuple(distinct.to_list()), True, where, nearest, line, values.null_count())


def with_columns(rows: Rows, changes: Mapping[Any, Sequence[Any]]) -> Rows:
    """The rows with other values in some columns."""
    if isinstance(rows, pl.DataFrame):
        return rows.with_columns(
            pl.Series(name, list(values), dtype=rows.schema[name], strict=False) for name, values in changes.items()
        )
    found = np.array(rows)
    for column, values in changes.items():
        found[:, column] = values
    return found


def repeated(rows: Rows, places: np.ndarray) -> Rows:
    """The rows at these places."""
    return rows[places.tolist()] if isinstance(rows, pl.DataFrame) else np.asarray(rows)[places]


def score_of_rows(score: Any, rows: Rows) -> np.ndarray:
    """The score of each row, checked.

    Raises:
        DataError: a score that is not one finite number a row.
    """
    found = np.asarray(score(rows), np.float64)
    if found.shape != (len(rows),) or not np.isfinite(found).all():
        raise DataError(
            f"the scores of {len(rows)} rows have the shape {found.shape}"
            + ("" if found.shape != (len(rows),) else ", and some are not finite")
            + "; expected one finite number a row"
        )
    return found


def _series(rows: Rows, column: Any) -> pl.Series:
    if isinstance(rows, pl.DataFrame):
        if column not in rows.columns:
            raise ConfigError(f"there is no column {column!r}; the rows have {', '.join(map(repr, rows.columns))}")
        return rows[column].rename("value")
    array = np.asarray(rows)
    if array.ndim != 2 or not isinstance(column, int | np.integer) or not 0 <= column < array.shape[1]:
        raise ConfigError(f"column {column!r} of rows of the shape {array.shape}; expected a number of a column")
    return pl.Series("value", array[:, column]).fill_nan(None)
