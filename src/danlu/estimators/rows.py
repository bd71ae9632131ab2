"""The rows that an estimator learns from, in an order that does not depend on the given one."""

from __future__ import annotations

import numpy as np
import polars as pl

from danlu.errors import DataError

__all__ = ["learning_rows"]

_TIMES, _ALWAYS = 10, 100_000  # whole weights are copies up to so many times the rows, or so many rows


def learning_rows(
    frame: pl.DataFrame, target: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows to learn from and their weights.

    A row of weight 0 is left out. Where all weights are whole numbers, a row of weight k comes k times and no weights are
    left: the split into training and validation rows, the counts of the categories, the number of steps and the classes'
    sizes are then those of the table in which that row stands k times. (Weights that would make the table more than
    10 times as long, and longer than 100,000 rows, stay weights of the loss.) Rows are sorted by their values, so two
    tables of the same rows give the same model to the last bit.

    Args:
        frame: the columns to learn from.
        target: ``(rows,)``.
        weight: ``(rows,)``, at least 0; None is 1 for each.

    Returns:
        Row numbers ``(n,)``; and weights ``(n,)`` with a mean of 1, or None where all are 1.

    Raises:
        DataError: a negative weight, or none above 0.

    Example:
        >>> frame = pl.DataFrame({"x": [3.0, 1.0, 2.0]})
        >>> learning_rows(frame, np.array([0, 1, 1]), np.array([1.0, 2.0, 0.0]))
        (array([1, 1, 0]), None)
        >>> learning_rows(frame, np.array([0, 1, 1]), np.array([0.5, 1.5, 0.0]))
        (array([1, 0]), array([1.5, 0.5]))
    """
    rows = np.arange(frame.height)
    if weight is not None:
        if (weight < 0).any():
            raise DataError(f"sample_weight holds {weight.min():g}; expected weights of 0 or more")
        rows = np.flatnonzero(weight)
        if not rows.size:
            raise DataError("every sample_weight is 0; expected some rows to learn from")
    names = [f"{j}" for j in range(frame.width + 2)]
    keys = [*frame[rows].get_columns(), pl.Series(target[rows])]
    keys.append(pl.Series(np.zeros(rows.size) if weight is None else weight[rows]))
    table = pl.DataFrame([key.alias(name) for key, name in zip(keys, names, strict=True)])
    rows = rows[table.select(pl.arg_sort_by(names)).to_series().to_numpy()]
    if weight is None:
        return rows, None
    weight = weight[rows]
    whole, total = bool((weight == np.round(weight)).all()), float(weight.sum())
    if whole and total <= max(_TIMES * rows.size, _ALWAYS):
        return np.repeat(rows, weight.astype(np.int64)), None
    return rows, weight / weight.mean()
