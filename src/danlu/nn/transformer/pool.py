"""From a sequence to one vector."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._precision import widened
from danlu.nn._shapes import size
from danlu.nn.attention.sequence import padding_mask, sequence_shape, tokens
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Pool", "pool_weights"]


def pool_weights(x: Any, kind: str) -> jax.Array:
    """The share of each token, ``(batch or 1, time, 1)``: the first real one's, or equal ones of all real tokens."""
    given, mask = widened(tokens(x)), padding_mask(x)
    real = jnp.ones((1, given.shape[1]), given.dtype) if mask is None else mask.astype(given.dtype)
    if kind == "first":
        real = real * (jnp.cumsum(real, axis=1) == 1).astype(given.dtype)
    return (real / jnp.maximum(jnp.sum(real, axis=1, keepdims=True), 1))[:, :, None]


class Pool(Layer):
    """One vector for a sequence: its first real token, or the mean of its real tokens. Padding does not count.

    Args:
        kind: ``"mean"`` or ``"first"`` (BERT's and ViT's class token).

    Input ``(batch, time, features)`` or a dict, output ``(batch, features)``; 0 for a sequence of padding alone.
    Params and state: ``{}``.

    Example:
        >>> x = {"x": jnp.array([[[1.0], [3.0], [99.0]]]), "mask": jnp.array([[True, True, False]])}
        >>> Pool().apply({}, {}, x)[0].tolist()
        [[2.0]]
    """

    kind: str = setting(default="mean", choices=("mean", "first"))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, sequence_shape("Pool", in_shape)[1:]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        given = tokens(x)
        # NaN · 0 is NaN: what padding holds must not come through.
        shares = pool_weights(x, self.kind)
        y = jnp.sum(jnp.where(shares > 0, widened(given) * shares, jnp.zeros_like(shares)), axis=1)
        return y.astype(given.dtype), state

    def flops(self, in_shape: Shape) -> int:
        return 2 * size(tokens(in_shape))
