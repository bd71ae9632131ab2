"""Sequences of different lengths in one array: padding and its mask (the contract: :mod:`danlu.nn.attention.sequence`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import DataError

__all__ = ["mask_from_lengths", "pad"]


def mask_from_lengths(lengths: Any, time: int) -> jax.Array:
    """The mask ``(batch, time)`` of sequences that start at step 0 and have ``lengths`` ``(batch,)`` steps.

    >>> mask_from_lengths(jnp.array([2, 0]), 3).tolist()
    [[True, True, False], [False, False, False]]
    """
    return jnp.arange(time)[None, :] < jnp.asarray(lengths)[:, None]


def pad(sequences: Sequence[Any], *, time: int | None = None) -> dict[str, np.ndarray]:
    """Sequences of different lengths as one padded array and its mask.

    Args:
        sequences: arrays ``(time_i, ...)``, equal but for the first axis.
        time: steps of the result, at least the longest length; None is the longest.

    Returns:
        ``{"x": (batch, time, ...), "mask": bool (batch, time)}``, NumPy arrays with zeros at the end of short rows.

    Raises:
        DataError: no sequence, shapes that differ, or one longer than ``time``.

    >>> pad([[5, 6, 7], [8]])["x"].tolist()
    [[5, 6, 7], [8, 0, 0]]
    """
    rows = [np.asarray(row) for row in sequences]
    if not rows or any(not row.ndim or row.shape[1:] != rows[0].shape[1:] for row in rows):
        raise DataError(f"pad received shapes {[row.shape for row in rows]}; expected (time, ...), equal but for time")
    longest = max(len(row) for row in rows)
    time = longest if time is None else time
    if longest > time:
        raise DataError(f"pad received a sequence of {longest} steps; expected at most time={time}")
    x = np.zeros((len(rows), time, *rows[0].shape[1:]), np.result_type(*rows))
    for index, row in enumerate(rows):
        x[index, : len(row)] = row
    return {"x": x, "mask": np.arange(time) < np.array([len(row) for row in rows])[:, None]}
