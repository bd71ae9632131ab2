"""Which of several texts a token belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import looked_up, repeated
from danlu.nn._shapes import size
from danlu.nn.attention.sequence import replaced, sequence_shape, tokens
from danlu.nn.initializers import Initializer, get_initializer
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Segments"]


class Segments(Layer):
    """Adds row ``s`` of a learned table to each token of segment ``s``: a question and its answer, one text and another.

    Args:
        count: how many segments there are.
        initializer: of the table.

    Input: ``{"x": (batch, time, features), "segments": (batch, time) of whole numbers, …}``; without ``"segments"``, or for an
    array, every token is in segment 0. A number outside ``0 … count − 1`` is segment 0.

    Params: ``{"table": (count, features)}``. State: ``{}``.

    Raises:
        DataError: segments that are not whole numbers of shape ``(batch, time)``.

    Reference: Devlin et al. (2019), arXiv:1810.04805, figure 2.

    Example:
        >>> layer = Segments(2)
        >>> params = {"table": jnp.array([[0.0], [10.0]])}
        >>> layer.apply(params, {}, {"x": jnp.ones((1, 3, 1)), "segments": jnp.array([[0, 0, 1]])})[0]["x"].tolist()
        [[[1.0], [1.0], [11.0]]]
    """

    count: int = setting(default=2, minimum=1, integer=True)
    initializer: str | Initializer = "normal"

    def __post_init__(self) -> None:
        super().__post_init__()
        get_initializer(self.initializer)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        _, features = sequence_shape("Segments", in_shape)
        return {"table": get_initializer(self.initializer)(key, (self.count, features))}, {}, in_shape

    def rows(self, x: Any) -> jax.Array:
        """The segment of each token, ``(batch, time)``; ``(1, 1)`` where there is only the first."""
        if not isinstance(x, Mapping) or "segments" not in x:
            return jnp.zeros((1, 1), jnp.int32)
        segments, expected = x["segments"], tuple(tokens(x).shape[:2])
        if tuple(segments.shape) != expected or not jnp.issubdtype(segments.dtype, jnp.integer):
            raise DataError(
                f"'segments' is {segments.dtype} of shape {tuple(segments.shape)}; expected int32 of shape {expected}"
            )
        return jnp.where((segments >= 0) & (segments < self.count), segments, 0)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        given = tokens(x)
        return replaced(x, given + repeated(looked_up(params["table"], self.rows(x)), given.shape)), state

    def flops(self, in_shape: Shape) -> int:
        return size(tokens(in_shape))
