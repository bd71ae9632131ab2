"""A trained layer that is used and does not learn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Frozen"]


class Frozen(Layer):
    """``y = f(x)`` of a layer that stays as it is, also in training: batch norm uses its running statistics, dropout drops nothing.

    The layer's parameters are *state*: they have no gradient, no decay and no moments in the optimizer, and no backward pass goes
    further than the input of the network's first layer that learns. (:func:`danlu.optim.by_part` with a multiplier of 0 keeps the
    parameters, too, but not the running statistics.) It computes in the type of its weights.

    Args:
        layer: ``f``.

    Params: ``{}``. State: ``{"params": the layer's params, "state": its state}``.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> params, state, out_shape = Frozen(Dense(3)).init(jax.random.key(0), (4,))
        >>> params, state["params"]["kernel"].shape, out_shape
        ({}, (4, 3), (3,))
    """

    layer: Layer

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out_shape = self.layer.init(key, in_shape)
        return {}, {"params": params, "state": state}, out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        given = {leaf.dtype for leaf in jax.tree.leaves(x) if jnp.issubdtype(leaf.dtype, jnp.floating)}
        y, _ = self.layer.apply(state["params"], state["state"], _as(x, jnp.float32), train=False)
        return _as(y, given.pop()) if len(given) == 1 else y, state

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


def _as(tree: Any, dtype: Any) -> Any:
    """The tree with its floating-point arrays in this type; double precision stays."""
    small = (jnp.bfloat16, jnp.float16, jnp.float32)
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.dtype in small else leaf, tree)
