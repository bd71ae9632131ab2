"""How near rows of a table are to training rows, column by column as they were read."""

from __future__ import annotations

import numpy as np
import polars as pl

from danlu.data import Schema

__all__ = ["Nearness"]

_ASKED = 400  # training rows by which it is seen how near they are to each other
_BLOCK = 256


class Nearness:
    """Gower's distance to the nearest of some rows: the mean over columns of ``|a − b| / width`` (at most 1), or of whether levels differ.

    Columns of texts, dates and of ever new levels are left out: nearly every row differs there.

    Args:
        rows: training rows, each column in the type of its kind.
        schema: of them.

    Reference: Gower, "A general coefficient of similarity and some of its properties" (1971).
    """

    def __init__(self, rows: pl.DataFrame, schema: Schema) -> None:
        used = [
            column
            for column in schema.features
            if column.kind in ("numeric", "boolean") or (column.kind == "categorical" and not column.is_open)
        ]
        self.numeric = [column.name for column in used if column.kind == "numeric"]
        self.levels = [column.name for column in used if column.kind != "numeric"]
        self.widths = {name: _width(rows[name]) for name in self.numeric}
        self._codes = {
            name: {level: place for place, level in enumerate(rows[name].cast(pl.String).drop_nulls().unique().sort())}
            for name in self.levels
        }
        self.rows = self._numbers(rows)
        some = np.linspace(0, len(rows) - 1, min(len(rows), _ASKED)).round().astype(int)
        between = self._distances(tuple(part[some] for part in self.rows), leave=some)
        self.limit = float(np.quantile(between, 0.95)) if len(rows) > 1 else 1.0

    def distance(self, frame: pl.DataFrame) -> np.ndarray:
        """The distance of each row to the nearest training row, ``(rows,)``."""
        return self._distances(self._numbers(frame))

    def _numbers(self, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Standardised numbers (NaN where one is missing) and codes of levels (−1 where missing, −2 for others)."""
        numbers = np.zeros((frame.height, len(self.numeric)), np.float32)
        for place, name in enumerate(self.numeric):
            numbers[:, place] = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() / self.widths[name]
        codes = np.zeros((frame.height, len(self.levels)), np.int32)
        for place, name in enumerate(self.levels):
            known = self._codes[name]
            codes[:, place] = [-1 if level is None else known.get(level, -2) for level in frame[name].cast(pl.String)]
        return numbers, codes

    def _distances(self, asked: tuple[np.ndarray, np.ndarray], leave: np.ndarray | None = None) -> np.ndarray:
        columns = max(len(self.numeric) + len(self.levels), 1)
        found = np.zeros(len(asked[0]))
        for low in range(0, len(found), _BLOCK):
            part = slice(low, low + _BLOCK)
            total = np.zeros((len(asked[0][part]), len(self.rows[0])), np.float32)
            for place in range(len(self.numeric)):
                one, many = asked[0][part, place][:, None], self.rows[0][None, :, place]
                apart = np.minimum(np.abs(one - many), 1)
                total += np.where(np.isnan(apart), np.isnan(one) != np.isnan(many), apart)
            for place in range(len(self.levels)):
                total += asked[1][part, place][:, None] != self.rows[1][None, :, place]
            if leave is not None:
                total[np.arange(len(total)), leave[part]] = np.inf
            found[part] = total.min(axis=1) / columns
        return found


def _width(values: pl.Series) -> float:
    """From the 5 % to the 95 % quantile; the range where these are one."""
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    if not len(known):
        return 1.0
    low, high = np.quantile(known, [0.05, 0.95])
    return float(high - low) or float(np.ptp(known)) or 1.0
