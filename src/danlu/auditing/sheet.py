"""A table as the checks of an audit look at it: typed columns, their codes, and the rows' numbers in the source."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl

from danlu.data import Schema, Table

__all__ = ["Sheet", "told_by"]

_MOST = 50_000  # rows from which it is told how much a column says of the target
_BINS, _IN_A_BIN = 256, 8
_FEWEST = 30


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """A table to be audited.

    Attributes:
        frame: the rows that have a target, every column in its type.
        schema: what each column is.
        task: ``"regression"``, ``"binary"``, ``"multiclass"``, or ``""`` without a target.
        truth: codes of the classes or values of the quantity, ``(rows,)``; None without a target.
        classes: the names of the classes.
        numbers: of each row in the source, from 1.
        table: as it was read, all rows.
        written: the same with the texts that the file holds, where it is one of texts.
        drawn: of each row of ``table`` its number in the source, from 1, where it is a sample of it.
    """

    frame: pl.DataFrame
    schema: Schema
    task: str
    truth: np.ndarray | None
    classes: tuple[str, ...]
    numbers: np.ndarray
    table: Table
    written: pl.DataFrame | None = None
    drawn: np.ndarray | None = None

    @property
    def target(self) -> str | None:
        """The name of the column to predict."""
        return self.schema.target

    @property
    def inputs(self) -> list[str]:
        """The names of the columns that the model sees."""
        return [column.name for column in self.schema.features]

    def rows(self, which: np.ndarray | pl.Series) -> tuple[int, ...]:
        """The numbers in the source of the rows of a mask, or of row indices, ascending."""
        chosen = which.to_numpy() if isinstance(which, pl.Series) else np.asarray(which)
        return tuple(np.sort(self.numbers[chosen]).tolist())

    def places(self, which: pl.Series) -> tuple[int, ...]:
        """The numbers in the source of the rows of a mask over ``table``."""
        at = which.arg_true().to_numpy()
        return tuple((at + 1 if self.drawn is None else self.drawn[at]).tolist())

    @functools.cached_property
    def _codes(self) -> dict[str, np.ndarray]:
        return {}

    def codes(self, name: str) -> np.ndarray:
        """Each row's place among the column's different values, from 1, ``(rows,)``; 0 where it has none."""
        if name not in self._codes:
            self._codes[name] = codes_of(self.frame[name])
        return self._codes[name]

    @functools.cached_property
    def sample(self) -> np.ndarray:
        """The rows from which it is told how much columns say of the target; all, up to 50,000."""
        rows = self.frame.height
        if rows <= _MOST:
            return np.arange(rows)
        return np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))

    @functools.cached_property
    def half(self) -> np.ndarray:
        """Which of two halves each row of the sample is in, ``(rows,)``, drawn at random."""
        return np.random.default_rng(1).permutation(len(self.sample)) % 2

    def told_by(self, codes: np.ndarray) -> float:
        """How much of the target the values with these codes tell, from 0 to 1; see :func:`told_by`."""
        if self.truth is None:
            return 0.0
        return told_by(codes[self.sample], self.truth[self.sample], self.half, classes=len(self.classes))


def codes_of(values: pl.Series) -> np.ndarray:
    """Each value's place among the different ones, from 1; 0 where there is none."""
    if values.dtype == pl.Boolean:
        values = values.cast(pl.Int8)
    found: np.ndarray = values.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    return found


def told_by(codes: np.ndarray, truth: np.ndarray, half: np.ndarray, *, classes: int) -> float:
    """How much of the target a column tells by itself: 0 nothing, 1 all.

    The target is predicted in each half of the rows from the rows of the other half with an equal code: the commonest class or the
    mean. Of classes it is ``1 - errors / errors without the column``, of a quantity R² of its ranks, so that any one-to-one or
    monotone function tells all. Codes of more than 256 values are put into bins.

    Args:
        codes: of the values, ``(rows,)``, in their order, 0 for missing.
        truth: class codes or values, ``(rows,)``.
        half: 0 or 1 for each row.
        classes: how many; 0 of a quantity.

    Example:
        >>> codes = np.arange(1000)
        >>> half = codes % 2
        >>> round(told_by(codes, np.exp(codes / 100), half, classes=0), 2), told_by(codes, half, codes // 500, classes=2)
        (1.0, 0.0)
    """
    rows = len(codes)
    if rows < _FEWEST:
        return 0.0
    bins = _binned(codes, min(_BINS, max(rows // _IN_A_BIN, 2)))
    cells = bins + (bins.max() + 1) * half.astype(np.int64)
    count, other = 2 * (int(bins.max()) + 1), (cells + int(bins.max()) + 1) % (2 * (int(bins.max()) + 1))
    if classes:
        table = np.bincount(cells * classes + truth, minlength=count * classes).reshape(count, classes)
        whole = np.bincount(truth, minlength=classes)
        best = np.where(table.sum(1) > 0, table.argmax(1), whole.argmax())
        wrong, base = np.mean(best[other] != truth), 1 - whole.max() / rows
        return float(max(0.0, 1 - wrong / base)) if base > 0 else 0.0
    ranks = pl.Series(truth).rank("average").to_numpy()
    sums, sizes = np.bincount(cells, ranks, count), np.bincount(cells, minlength=count)
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), ranks.mean())
    spread = ranks.var()
    return float(max(0.0, 1 - np.mean((ranks - means[other]) ** 2) / spread)) if spread > 0 else 0.0


def _binned(codes: np.ndarray, most: int) -> np.ndarray:
    """Codes from 0 as they are where they are few, else in bins of about as many rows; equal ones stay together."""
    if int(codes.max()) < most:
        return codes
    sizes = np.bincount(codes)
    below = np.cumsum(sizes) - sizes
    return (below[codes] * most // len(codes)).astype(np.int64)
