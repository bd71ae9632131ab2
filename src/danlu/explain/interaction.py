"""How much of two columns' effect on an answer is neither column's own: Friedman's H-statistic."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from danlu.errors import DataError
from danlu.explain.column import repeated, score_of_rows, with_columns

__all__ = ["Interaction", "interactions"]

_ROUNDING = 8 * 2.0**-24  # of the largest score: answers are computed in float32


@dataclasses.dataclass(frozen=True)
class Interaction:
    """The interaction of two columns.

    Attributes:
        columns: the two.
        strength: Friedman's H, 0 (what they do adds up) to 1 (nothing but interaction), of what both do together; it can exceed 1 a little.
        size: the root mean square of the interaction, in the unit of the score: H of two columns that hardly matter means little.
        error: the standard error of ``size``, for which rows were drawn.
        floor: the ``size`` that rounding alone can make; a smaller one is told as 0.
        rows: how many rows it was found on.
    """

    columns: tuple[Any, Any]
    strength: float
    size: float
    error: float
    floor: float
    rows: int

    @property
    def matters(self) -> bool:
        """Whether it is more than rounding and than two standard errors."""
        return self.size > self.floor and self.size > 2 * self.error


def interactions(score: Callable[[Any], np.ndarray], rows: Any, columns: Sequence[Any]) -> tuple[Interaction, ...]:
    """``H² = Σ_i [PD_jk(x_i) − PD_j(x_i) − PD_k(x_i)]² / Σ_i PD_jk(x_i)²`` of each pair of columns, the largest ``size`` first.

    The partial dependences ``PD`` are centred, at the values of the rows and over the same rows: ``n²`` scores for a column and for a
    pair. So what adds up has exactly 0, on any rows. There is no noise to be told from but rounding (``floor``); and which rows were
    drawn (``error``, by leaving out one row at a time).

    Args:
        score: rows to one number each, ``(rows,)``.
        rows: an array ``(rows, columns)`` or a polars frame; 30 to 100 rows.
        columns: numbers or names of two or more columns.

    Raises:
        DataError: fewer than 4 rows, or scores that are not one number a row.

    Reference:
        Friedman & Popescu, "Predictive learning via rule ensembles" (2008), section 8.1, equation 44; Inglis, Parnell & Hurley,
        "Visualizing variable importance and variable interaction effects in machine learning models" (2022), for the size without the
        denominator.

    Example:
        >>> rows = np.array([[-1.0, -1.0, 2.0], [-1.0, 1.0, 0.0], [1.0, -1.0, 1.0], [1.0, 1.0, 5.0]])
        >>> [(each.columns, round(each.strength, 3)) for each in interactions(lambda x: x[:, 0] * x[:, 1] + x[:, 2], rows, [0, 1, 2])]
        [((0, 1), 1.0), ((0, 2), 0.0), ((1, 2), 0.0)]
    """
    count = len(rows)
    if count < 4:
        raise DataError(f"interactions were asked of {count} rows; expected at least 4")
    tables = {(column,): _table(score, rows, (column,)) for column in columns}
    found = []
    for pair in itertools.combinations(columns, 2):
        both = _table(score, rows, pair)
        one, other = (tables[(column,)] for column in pair)
        largest = max(float(np.abs(each).max()) for each in (both, one, other))
        floor = _ROUNDING * largest
        rest = both - one - other  # (points, rows)
        size, whole = _size(rest), _size(both)
        jack = _left_out(rest)
        error = float(np.sqrt((count - 1) / count * ((jack - jack.mean()) ** 2).sum()))
        is_none = size <= floor
        strength = 0.0 if is_none or whole <= floor else size / whole
        found.append(Interaction(pair, strength, 0.0 if is_none else size, error, floor, count))
    return tuple(sorted(found, key=lambda each: -each.size))


def _table(score: Callable[[Any], np.ndarray], rows: Any, columns: tuple[Any, ...]) -> np.ndarray:
    """``(points, rows)``: the score of each row with the columns of each row."""
    count = len(rows)
    point, base = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    source, whole = repeated(rows, point), repeated(rows, base)
    changes = {name: source[name].to_list() if isinstance(name, str) else source[:, name] for name in columns}
    return score_of_rows(score, with_columns(whole, changes)).reshape(count, count)


def _size(table: np.ndarray) -> float:
    means = table.mean(axis=1)
    return float(np.sqrt(((means - means.mean()) ** 2).mean()))


def _left_out(table: np.ndarray) -> np.ndarray:
    """The size without each row, as a point and among the rows of the mean, ``(rows,)``."""
    count = len(table)
    means = (table.sum(axis=1)[None] - table.T) / (count - 1)  # (left out, points)
    means[np.eye(count, dtype=bool)] = np.nan
    return np.asarray(np.sqrt(np.nanvar(means, axis=1)))
