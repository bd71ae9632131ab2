"""A layer that gives each row another shape."""

from __future__ import annotations

import math
from typing import Any

import jax

from danlu.errors import ConfigError
from danlu.nn._shapes import array_shape, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Reshape"]


class Reshape(Layer):
    """Each row's numbers in another shape, in the same order. Params and state: ``{}``.

    Args:
        shape: of one row.

    Raises:
        ConfigError: at ``init``, a row of another number of numbers.

    Example:
        >>> Reshape((2, 2, 3)).out_shape((12,))
        (2, 2, 3)
    """

    shape: tuple[int, ...]

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        given = array_shape("Reshape", in_shape)
        if size(given) != math.prod(self.shape):
            raise ConfigError(f"Reshape received rows of shape {given} for {self.shape}; expected as many numbers")
        return {}, {}, tuple(self.shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return x.reshape(x.shape[0], *self.shape), state  # (batch, *shape)
