"""The fully connected layer. A neuron is ``Dense(1)``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._precision import narrowed, repeated
from danlu.nn._shapes import array_shape, check_last_axis, features, on_last_axis, size
from danlu.nn.activations import ACTIVATIONS, get_activation
from danlu.nn.initializers import Initializer, get_initializer, initializer_for
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Dense"]


class Dense(Layer):
    """``y = f(x·W + b)`` on the last axis; other axes pass through.

    Args:
        units: size of the output's last axis.
        activation: the name of ``f``.
        initializer: of ``W`` (a name or an Initializer); None chooses by ``activation``. ``b`` starts at 0.
        use_bias: whether there is a ``b``.

    Params: ``{"kernel": (inputs, units), "bias": (units,)}``. State: ``{}``.

    Example:
        >>> layer = Dense(3, "relu")
        >>> params, state, out_shape = layer.init(jax.random.key(0), (8,))
        >>> out_shape, params["kernel"].shape
        ((3,), (8, 3))
        >>> layer.apply(params, state, jnp.ones((5, 8)))[0].shape
        (5, 3)
    """

    units: int = setting(minimum=1, integer=True)
    activation: str = setting(default="identity", choices=ACTIVATIONS)
    initializer: str | Initializer | None = None
    use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initializer is not None:
            get_initializer(self.initializer)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        inputs = features("Dense", in_shape)
        draw = initializer_for(self.activation) if self.initializer is None else get_initializer(self.initializer)
        params = {"kernel": draw(key, (inputs, self.units))}
        if self.use_bias:
            params["bias"] = jnp.zeros((self.units,))
        return params, {}, (*array_shape("Dense", in_shape)[:-1], self.units)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("Dense", x, params["kernel"].shape[0])
        x = narrowed(x, params["kernel"])
        # One two-dimensional product, whatever the leading axes: XLA's fast case, forward and backward.
        y = x.reshape(-1, x.shape[-1]) @ params["kernel"]  # (rows, units)
        if self.use_bias:
            y = y + repeated(on_last_axis(params["bias"], 2), y.shape)
        return get_activation(self.activation)(y).reshape(*x.shape[:-1], self.units), state  # (batch, …, units)

    def flops(self, in_shape: Shape) -> int:
        shape = array_shape("Dense", in_shape)
        each = 2 * shape[-1] + self.use_bias + (self.activation != "identity")
        return size(shape[:-1]) * self.units * each
