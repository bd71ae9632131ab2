"""Sequences of different lengths in one array: padding, its mask, and layers that leave it out.

The contract is :mod:`danlu.nn.attention.sequence`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import DataError
from danlu.nn._largest import largest
from danlu.nn._shapes import size
from danlu.nn.attention.sequence import padding_mask, replaced, sequence_shape, tokens
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["MaxOverTime", "ZeroPadding", "mask_from_lengths", "pad", "real_only"]


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


class ZeroPadding(Layer):
    """0 at padding, and the sequence as it is elsewhere, so that a window which reaches past the end reads zeros.

    Params and state: ``{}``. Input: ``(batch, time, features)`` or a dict with a mask; output the same.
    """

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        sequence_shape("ZeroPadding", in_shape)
        return {}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        return replaced(x, real_only(x, tokens(x))), state


class MaxOverTime(Layer):
    """Each feature's largest value over the real steps: ``(batch, time, features)`` to ``(batch, features)``.

    Params and state: ``{}``. Input: an array, or a dict with a mask; 0 for a sequence of padding alone. The error goes to the first step
    that held the maximum.

    Reference: Collobert et al. (2011), "Natural language processing (almost) from scratch", section 3.3.2.

    Example:
        >>> x = {"x": jnp.array([[[1.0], [3.0], [9.0]]]), "mask": jnp.array([[True, True, False]])}
        >>> MaxOverTime().apply({}, {}, x)[0].tolist()
        [[3.0]]
    """

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, sequence_shape("MaxOverTime", in_shape)[1:]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return largest(tokens(x), padding_mask(x)), state

    def flops(self, in_shape: Shape) -> int:
        return size(tokens(in_shape))


def real_only(x: Any, values: jax.Array) -> jax.Array:
    """``values`` ``(batch, time, features)`` at the real steps of the sequence ``x``, 0 at padding."""
    mask = padding_mask(x)
    return values if mask is None else jnp.where(mask[:, :, None], values, 0)
