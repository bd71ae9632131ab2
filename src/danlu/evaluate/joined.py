"""What belongs to the rows of several tests, put together: the parts of :meth:`Evidence.joined <danlu.evaluate.Evidence.joined>`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["joined_groups", "joined_rows", "joined_thresholds", "mean_by_model"]


def joined_thresholds(thresholds: Sequence[Any], sizes: Sequence[int]) -> Any:
    """The threshold of all rows, or where the parts have different ones that of each row.

    >>> joined_thresholds([0.5, 0.5], [1, 2]), joined_thresholds([0.5, 0.25], [1, 2])
    (0.5, array([0.5 , 0.25, 0.25]))
    """
    if all(np.ndim(each) == 0 and each == thresholds[0] for each in thresholds):
        return thresholds[0]
    return np.concatenate([np.broadcast_to(each, size) for each, size in zip(thresholds, sizes, strict=True)])


def joined_rows(parts: Sequence[Any], rows: np.ndarray | None) -> dict[str, Any]:
    """The fields of all rows together, of evidence with truth, prediction, threshold and groups; ``rows`` as of :func:`joined_groups`."""
    sizes = [len(each) for each in parts]
    count = sum(sizes) if rows is None else len(np.unique(rows))
    return {
        "truth": np.concatenate([each.truth for each in parts]),
        "prediction": np.concatenate([each.prediction for each in parts]),
        "threshold": joined_thresholds([each.threshold for each in parts], sizes),
        "groups": joined_groups([each.groups for each in parts], sizes, rows),
        "models": np.repeat(np.arange(len(parts)), sizes),
        "shared": float(np.mean([size / (count - size) if size < count else 0.0 for size in sizes])),
    }


def joined_groups(groups: Sequence[Any], sizes: Sequence[int], rows: np.ndarray | None) -> np.ndarray | None:
    """A number for each row of all parts, the same for those that are not independent of each other; None where all are.

    Args:
        groups: of each part a number for each row (one group has one number in all parts), or None.
        sizes: the rows of each part.
        rows: the row that each is of, in the order of the parts; None where each is there once.

    >>> joined_groups([None, None], [2, 2], np.array([0, 1, 1, 0])).tolist()
    [0, 1, 1, 0]
    """
    if any(each is not None for each in groups):
        return np.concatenate(
            [np.full(size, -1) if each is None else each for each, size in zip(groups, sizes, strict=True)]
        )
    if rows is None or len(np.unique(rows)) == len(rows):
        return None
    return np.asarray(rows)


def mean_by_model(parts: Sequence[tuple[np.ndarray, Any]], weights: np.ndarray, measure: Callable[..., Any]) -> float:
    """The mean of a measure over the models that answered the rows; a model for whose rows it is not defined is left out.

    Args:
        parts: the row numbers and the rows of each model.
        weights: of all rows.
        measure: ``(rows, weights) ->`` its value.
    """
    values = np.array(
        [measure(rows, weights[numbers]) if weights[numbers].any() else np.nan for numbers, rows in parts]
    )
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
