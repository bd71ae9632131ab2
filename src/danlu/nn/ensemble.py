"""Copies of one network side by side, each with its own weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Ensemble"]


class Ensemble(Layer):
    """``count`` copies of a network, one ``vmap``; their outputs are members: ``y[:, k] = network(params_k, x)``.

    A network that has members itself gives ``count`` times as many, the members of one copy side by side.

    Args:
        network: what there are copies of; its output is one array.
        count: how many, >= 1.

    Shapes:
        ``(batch, units)`` becomes ``(batch, count, units)``, and ``(batch, members, ...)`` becomes
        ``(batch, count · members, ...)``.

    Params and state: the network's, with a leading axis of ``count``.

    Reference:
        Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty estimation using deep
        ensembles" (NeurIPS 2017), section 2.4, without adversarial training.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Ensemble(Dense(3), 5)
        >>> params, state, out_shape = net.init(jax.random.key(0), (4,))
        >>> out_shape, params["kernel"].shape, net.apply(params, state, jnp.ones((2, 4)))[0].shape
        ((5, 3), (5, 4, 3), (2, 5, 3))
    """

    network: Layer
    count: int = setting(minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        keys = jax.random.split(key, self.count)
        params, state = jax.vmap(lambda key: self.network.init(key, in_shape)[:2])(keys)
        shape = self.network.out_shape(in_shape)
        if not isinstance(shape, tuple) or not shape:
            raise ConfigError(
                f"Ensemble.network has an output of shape {shape!r}; expected one array with an axis of units"
            )
        joined = (self.count, *shape) if len(shape) == 1 else (self.count * shape[0], *shape[1:])
        return params, state, joined

    def alike(self, one: Any) -> Any:
        """One tree for the network, repeated for each copy."""
        return jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], self.count, axis=0), one)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        keys = None if key is None else jax.random.split(key, self.count)

        def one(params: Params, state: State, key: jax.Array | None) -> tuple[jax.Array, State]:
            return self.network.apply(params, state, x, train=train, key=key)

        y, state = jax.vmap(one, in_axes=(0, 0, None if keys is None else 0))(params, state, keys)
        y = jnp.moveaxis(y, 0, 1)
        return (y if y.ndim < 4 else jax.lax.collapse(y, 1, 3)), state

    def flops(self, in_shape: Shape) -> int | None:
        one = self.network.flops(in_shape)
        return None if one is None else self.count * one
