"""Cross-fitting: several networks side by side, each trained without one fold of the rows and validated on it.

A small table has too few rows to spare: with 15 % of 700 rows held out, chance decides which epoch looks best. Of five
networks in one program, each leaves out its own fifth. Every row then helps to train four networks and to judge the
fifth, and the mean of the five is the model.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from danlu.data import folds as fold_splits
from danlu.trained import Trained

__all__ = ["FOLDS", "fold_numbers", "folds_for", "out_of_fold"]

FOLDS = 5
_FEWEST, _MOST = 50, 10_000  # rows; with more, one held-out part says enough


def folds_for(rows: int, chosen: int | None = None) -> int:
    """The number of folds for a table of ``rows`` rows: ``chosen`` if given, else 5 for a small table, else 1.

    Example:
        >>> folds_for(700), folds_for(50_000), folds_for(700, 1)
        (5, 1, 1)
    """
    if chosen is not None:
        return chosen
    return FOLDS if _FEWEST <= rows <= _MOST else 1


def fold_numbers(
    labels: np.ndarray, task: str, count: int, *, seed: int, together: np.ndarray | None = None
) -> np.ndarray:
    """The fold of each row, 0 to ``count − 1``; classes (and the size of a quantity) are shared out evenly.

    Rows of one number in ``together`` are in one fold.
    """
    numbers = np.zeros(len(labels), np.int64)
    frame = pl.DataFrame({"target": labels})
    splits = fold_splits(frame, count, target="target", task=task, seed=seed, together=together)
    for number, split in enumerate(splits):
        numbers[split.test] = number
    return numbers


def out_of_fold(model: Trained, inputs: dict[str, np.ndarray], folds: np.ndarray) -> np.ndarray:
    """What the model's head answers for each row by the network that did not learn from it."""
    outputs = model.outputs(inputs)
    apart = outputs.reshape(len(folds), int(folds.max()) + 1, -1, outputs.shape[-1])
    return np.asarray(model.head(apart[np.arange(len(folds)), folds]))
