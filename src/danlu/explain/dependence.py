"""How a model's answer depends on one column: partial dependence, single rows' curves (ICE), accumulated local effects (ALE)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.explain.column import Points, points_of, repeated, score_of_rows, with_columns

__all__ = ["Dependence", "Effects", "accumulated_effects", "partial_dependence"]

Score = Callable[[Any], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Dependence:
    """The scores of rows whose value in one column is changed.

    Attributes:
        points: the values that it is changed to.
        curves: the score of each row with each value, ``(rows, points)``: individual conditional expectations (ICE).
        missing: the mean score where the column has no value; None where no row is so.
    """

    points: Points
    curves: np.ndarray
    missing: float | None = None

    @property
    def mean(self) -> np.ndarray:
        """The partial dependence, ``(points,)``: the mean over the rows."""
        return np.asarray(self.curves.mean(axis=0))


@dataclasses.dataclass(frozen=True, eq=False)
class Effects:
    """Accumulated local effects of one column.

    Attributes:
        points: the values between which the changes are added up.
        order: of levels, the order in which they are gone through, like ones next to each other, ``(points,)``; else 0, 1, ….
        values: the effect at each point, ``(points,)``, in the order of the points; centred, a row at the middle of its interval.
        rows: rows by which each change was seen, ``(points − 1,)``, in the order that is gone through.
    """

    points: Points
    order: np.ndarray
    values: np.ndarray
    rows: np.ndarray


def partial_dependence(
    score: Score, rows: Any, column: Any, *, points: int = 20, curves: int | None = None
) -> Dependence:
    """``PD(v) = mean over rows x of f(x with v in the column)``, and the curve of each row.

    Columns that go together are torn apart: a row may be asked of the model such as there is none. :func:`accumulated_effects` does not.

    Args:
        score: rows to one number each, ``(rows,)``; rows are of the form of ``rows``.
        rows: an array ``(rows, columns)`` or a polars frame.
        column: its number, or its name.
        points: values at most, >= 2: quantiles of numbers and dates, and the most frequent levels. None lies outside of what rows have.
        curves: rows that are asked of the model, at most, drawn evenly; None: all. The points are those of all rows.

    Raises:
        ConfigError: a column that there is not, or fewer than 2 points.
        DataError: a column of one value, or scores that are not one number a row.

    Reference:
        Friedman, "Greedy function approximation: a gradient boosting machine" (2001), section 8.2; Goldstein et al., "Peeking inside the
        black box: visualizing statistical learning with plots of individual conditional expectation" (2015).

    Example:
        >>> rows = np.array([[0.0, 1.0], [1.0, 3.0]])
        >>> found = partial_dependence(lambda x: x[:, 0] * x[:, 1], rows, 0)
        >>> found.points.values, found.mean.tolist(), found.points.rows.tolist()
        ((0.0, 1.0), [0.0, 2.0], [1, 1])
    """
    chosen = points_of(rows, column, points)
    drawn = np.linspace(0, len(rows) - 1, min(len(rows), curves or len(rows))).round().astype(int)
    count, several = len(drawn), len(chosen.values)
    values: list[Any] = [value for value in chosen.values for _ in range(count)]
    if chosen.missing:
        several += 1
        values += [None if isinstance(rows, pl.DataFrame) else float("nan")] * count
    whole = repeated(rows, np.tile(drawn, several))
    found = score_of_rows(score, with_columns(whole, {column: values})).reshape(several, count).T
    own = found[:, : len(chosen.values)]
    return Dependence(chosen, own, float(found[:, -1].mean()) if chosen.missing else None)


def accumulated_effects(score: Score, rows: Any, column: Any, *, points: int = 20) -> Effects:
    """First-order accumulated local effects: ``ALE(z_k) = Σ_(j ≤ k) mean over rows in (z_(j−1), z_j] of f(z_j, ·) − f(z_(j−1), ·) − c``.

    Only rows that have about that value are changed, and only a little, so that columns which go together stay together; ``c`` makes the
    mean over the rows 0. Levels are gone through in an order in which neighbours are alike in the other columns; the change from one to
    the next is seen by the rows of both. Rows without a value, or of a level that is no point, are left out.

    Args:
        score, rows, column, points: see :func:`partial_dependence`.

    Raises:
        ConfigError, DataError: see there.

    Reference:
        Apley & Zhu, "Visualizing the effects of predictor variables in black box supervised learning models" (2020), JRSS B 82, equations
        15 and 16, and for levels appendix E, as in their R package ALEPlot.

    Example:
        >>> rows = np.stack([np.arange(4.0), np.arange(4.0)], axis=1)  # two columns that go together
        >>> accumulated_effects(lambda x: x[:, 0] * x[:, 1], rows, 0).values.tolist()
        [-1.5, -1.0, 1.0, 4.0]
    """
    chosen = points_of(rows, column, points)
    if chosen.ordered:
        return _of_numbers(score, rows, chosen)
    return _of_levels(score, rows, chosen)


def _of_numbers(score: Score, rows: Any, points: Points) -> Effects:
    kept = np.flatnonzero(points.nearest >= 0)
    interval = np.clip(np.searchsorted(points.where, points.known[kept], side="left"), 1, len(points.where) - 1) - 1
    ends = [[points.values[place + side] for place in interval] for side in (0, 1)]
    low, high = _both(score, repeated(rows, kept), points.column, ends)
    counts = np.bincount(interval, minlength=len(points.where) - 1)
    steps = np.bincount(interval, high - low, minlength=len(counts)) / np.maximum(counts, 1)
    values = np.concatenate([[0.0], np.cumsum(steps)])
    middle = (values[:-1] + values[1:]) / 2
    order = np.arange(len(values))
    return Effects(points, order, values - middle @ counts / counts.sum(), counts)


def _of_levels(score: Score, rows: Any, points: Points) -> Effects:
    order = level_order(rows, points)
    place = np.argsort(order)  # of each level in that order
    own = np.where(points.nearest < 0, -1, place[np.maximum(points.nearest, 0)])
    steps, seen = np.zeros(len(order) - 1), np.zeros(len(order) - 1, int)
    for side in (0, 1):  # the rows of the level before a step, and those of the level after it
        kept = np.flatnonzero((own >= 0) & (own + 1 - side < len(order)) & (own - side >= 0))
        step = own[kept] - side
        ends = [[points.values[order[each + end]] for each in step] for end in (0, 1)]
        if len(kept):
            low, high = _both(score, repeated(rows, kept), points.column, ends)
            steps += np.bincount(step, high - low, minlength=len(steps))
            seen += np.bincount(step, minlength=len(steps))
    along = np.concatenate([[0.0], np.cumsum(steps / np.maximum(seen, 1))])
    counts = points.rows
    values = along[place]
    return Effects(points, order, values - values @ counts / counts.sum(), seen)


def _both(score: Score, rows: Any, column: Any, ends: Sequence[Sequence[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the rows with the first values, and with the second ones."""
    whole = repeated(rows, np.tile(np.arange(len(rows)), 2))
    found = score_of_rows(score, with_columns(whole, {column: [*ends[0], *ends[1]]}))
    return found[: len(rows)], found[len(rows) :]


def level_order(rows: Any, points: Points) -> np.ndarray:
    """The levels, those next to each other whose rows are alike in the other columns, ``(levels,)``.

    The distance of two levels is the sum over the other columns of how far their distributions are apart (Kolmogorov and Smirnov's
    distance of numbers, half the sum of the differences of the shares of levels); the order is that along the first axis of classical
    scaling of these distances. Two levels, and those of arrays, keep their order.
    """
    count = len(points.values)
    if count < 3 or not isinstance(rows, pl.DataFrame):
        return np.arange(count)
    apart = np.zeros((count, count))
    for name in rows.columns:
        if name != points.column:
            apart += _apart(rows[name], points.nearest, count)
    squares = apart**2
    centred = -0.5 * (squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True) + squares.mean())
    axis = np.linalg.eigh(centred)[1][:, -1]
    return np.argsort(axis * (-1 if axis[0] > 0 else 1), kind="stable")  # the most frequent level at the lower end


def _apart(values: pl.Series, level: np.ndarray, count: int) -> np.ndarray:
    numbers = values.dtype.is_numeric() or values.dtype.is_temporal()
    kind = pl.Float64 if values.dtype.is_numeric() else pl.Int64 if numbers else pl.String
    codes: np.ndarray = values.cast(kind).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    if not numbers and codes.max() > max(50, len(codes) // 2):  # each row has its own
        return np.zeros((count, count))
    table = np.zeros((count, int(codes.max()) + 1))
    np.add.at(table, (level[level >= 0], codes[level >= 0]), 1)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    if numbers:
        heights = shares.cumsum(axis=1)
        return np.asarray(np.abs(heights[:, None] - heights[None]).max(axis=2))
    return np.asarray(np.abs(shares[:, None] - shares[None]).sum(axis=2) / 2)
