"""Sequences and their padding: how a mask travels from layer to layer.

A batch of sequences is an array ``(batch, time, ...)``. Where the sequences have different lengths they are padded, and
the batch is a dict::

    {"x": (batch, time, ...), "mask": (batch, time) of bool}        True = a real token, False = padding

A plain array means that there is no padding. A layer that reads other positions (attention, recurrence) looks only at
real ones, so whatever (finite) numbers padding holds, they never reach a real token. A layer that keeps the time axis gives back what it
received: an array for an array, and for a dict the same dict with another ``"x"``; so layers follow one another in a
:class:`~danlu.nn.combine.Sequential` and the mask goes with them. A layer that removes the time axis (pooling), and a
head at a model's end, give an array. Outputs at padding are finite and mean nothing.

A decoder's dict also has ``"context"`` ``(batch, other time, features)``, what the encoder gave, and maybe
``"context_mask"``. Padding may be on either side: a token's position is the number of real tokens before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import DataError
from danlu.nn.combine import child_key
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["PerToken", "padding_mask", "replaced", "sequence_shape", "token_positions", "tokens"]


def tokens(x: Any) -> Any:
    """The ``"x"`` of a sequence (its array, or its shape), dict or not.

    Raises:
        DataError: a dict without ``"x"``.

    >>> tokens({"x": (7, 3), "mask": (7,)}), tokens((7, 3))
    ((7, 3), (7, 3))
    """
    if not isinstance(x, Mapping):
        return x
    if "x" not in x:
        raise DataError(
            f"a sequence came as a dict with the keys {', '.join(map(repr, x)) or '(none)'}; expected 'x'",
            hint="pass {'x': (batch, time, features), 'mask': (batch, time)}, or the array alone",
        )
    return x["x"]


def replaced(x: Any, y: Any) -> Any:
    """``x`` with ``y`` for its tokens: a dict for a dict, an array for an array."""
    return {**x, "x": y} if isinstance(x, Mapping) else y


def padding_mask(x: Any, name: str = "mask", of: str = "x") -> jax.Array | None:
    """The mask of a sequence, ``(batch, time)`` of bool; None without one.

    Raises:
        DataError: a mask that is not bool or not the shape of ``(batch, time)``.
    """
    if not isinstance(x, Mapping) or name not in x:
        return None
    mask: jax.Array = x[name]
    expected = tuple(x[of].shape[:2])
    if tuple(mask.shape) != expected or mask.dtype != jnp.bool_:
        raise DataError(
            f"{name!r} is {mask.dtype} of shape {tuple(mask.shape)}; expected bool of shape {expected}",
            hint="True marks a real token, False padding; from lengths: jnp.arange(time) < lengths[:, None]",
        )
    return mask


def token_positions(mask: jax.Array | None, time: int) -> jax.Array:
    """Where each token stands: how many real tokens come before it; ``(1, time)`` without a mask.

    Returns:
        int32, ``(batch, time)`` or ``(1, time)``. Padding has some position in range.

    >>> token_positions(jnp.array([[False, True, True]]), 3).tolist()
    [[0, 0, 1]]
    """
    if mask is None:
        return jnp.arange(time, dtype=jnp.int32)[None]
    return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)


def sequence_shape(owner: str, in_shape: Shape) -> tuple[int, ...]:
    """The shape ``(time, features)`` of a sequence; DataError for any other number of axes."""
    shape = tokens(in_shape)
    if len(shape) != 2 or shape[-1] < 1:
        raise DataError(
            f"{owner} received examples of shape {tuple(shape)}; expected (time, features)",
            hint="token numbers go through an Embedding first" if len(shape) == 1 else None,
        )
    return tuple(shape)


class PerToken(Layer):
    """Another layer on the tokens of a sequence; mask and context pass by. On a plain array it is that layer.

    Args:
        layer: one that treats each position alone, such as ``Dense``, ``LayerNorm``, ``Embedding`` or ``Dropout``.
        head: whether the output is the array alone, without the dict: a model's end.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> PerToken(Dense(4)).init(jax.random.key(0), {"x": (7, 3), "mask": (7,)})[2]
        {'x': (7, 4), 'mask': (7,)}
    """

    layer: Layer
    head: bool = False

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("layer", self.layer),)

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return (tokens(in_shape),)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out_shape = self.layer.init(jax.random.fold_in(key, 0), tokens(in_shape))
        return (params,), (state,), out_shape if self.head else replaced(in_shape, out_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        y, after = self.layer.apply(params[0], state[0], tokens(x), train=train, key=child_key(key, 0))
        return y if self.head else replaced(x, y), (after,)

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(tokens(in_shape))
