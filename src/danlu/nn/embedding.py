"""Embedding: a learned vector for each category."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import looked_up
from danlu.nn._shapes import array_shape
from danlu.nn.initializers import Initializer, Normal, get_initializer
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Embedding"]


class Embedding(Layer):
    """Row ``i`` of a learned table for each whole number ``i`` in the input, as a new last axis of size ``dim``.

    A number outside ``0 … vocabulary − 1`` takes row 0, the row that table encoders keep for "unknown".

    Args:
        vocabulary: number of rows.
        dim: size of each row.
        initializer: a name or an Initializer; None draws rows of expected length 1, i.e. ``N(0, 1/dim)``.

    Params: ``{"table": (vocabulary, dim)}``. State: ``{}``.

    Raises:
        DataError: ``apply`` to anything but whole numbers.

    Example:
        >>> layer = Embedding(10, 4)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (3,))
        >>> out_shape, layer.apply(params, state, jnp.array([[0, 9, 99]]))[0].shape
        ((3, 4), (1, 3, 4))
    """

    vocabulary: int = setting(minimum=1, integer=True)
    dim: int = setting(minimum=1, integer=True)
    initializer: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initializer is not None:
            get_initializer(self.initializer)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        draw = Normal(self.dim**-0.5) if self.initializer is None else get_initializer(self.initializer)
        return {"table": draw(key, (self.vocabulary, self.dim))}, {}, (*array_shape("Embedding", in_shape), self.dim)

    def rows(self, x: jax.Array) -> jax.Array:
        """The table row that each element of ``x`` takes, of the shape of ``x``."""
        return jnp.where((x >= 0) & (x < self.vocabulary), x, 0)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise DataError(
                f"Embedding received {x.dtype} numbers; expected whole ones (int32)",
                hint="encode the categories as 0, 1, 2, … first",
            )
        return looked_up(params["table"], self.rows(x)), state
