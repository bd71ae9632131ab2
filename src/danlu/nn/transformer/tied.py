"""A network over tokens whose input table is its output kernel as well."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn._precision import repeated
from danlu.nn._shapes import on_last_axis
from danlu.nn.attention.sequence import replaced, tokens
from danlu.nn.combine import child_key
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Tied"]


class Tied(Layer):
    """``logits = body(E[i])·Eᵀ + b``: one table ``E`` reads tokens in and scores them at the end.

    Args:
        embedding: ``E``'s layer.
        body: from ``(time, dim)`` to ``(time, dim)``.
        use_bias: whether there is a ``b``, ``(vocabulary,)``, which starts at 0.

    Params: ``(the embedding's, the body's)``, and with a bias ``{"bias": b}`` after them.

    Input: token numbers ``(batch, time)``, or a sequence's dict. Output: ``(batch, time, vocabulary)``, an array.

    Reference: Press & Wolf (2017), arXiv:1608.05859.

    Example:
        >>> from danlu.nn.combine import Sequential
        >>> Tied(Embedding(9, 4), Sequential(())).init(jax.random.key(0), (7,))[2]
        (7, 9)
    """

    embedding: Embedding
    body: Layer
    use_bias: bool = False

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("embedding", self.embedding), ("body", self.body))

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        given = tokens(in_shape)
        return given, replaced(in_shape, (*given, self.embedding.dim))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes = self.child_shapes(in_shape)
        drawn = [layer.init(jax.random.fold_in(key, i), shapes[i]) for i, (_, layer) in enumerate(self.children())]
        out_shape = tokens(drawn[1][2])
        if out_shape[-1] != self.embedding.dim:
            raise ConfigError(
                f"Tied's body gives {out_shape[-1]} features; expected {self.embedding.dim}, the embedding's dim"
            )
        bias = ({"bias": jnp.zeros((self.embedding.vocabulary,))},) if self.use_bias else ()
        params = (*(d[0] for d in drawn), *bias)
        return params, tuple(d[1] for d in drawn), (*out_shape[:-1], self.embedding.vocabulary)

    def scores(self, params: Params, h: jax.Array) -> jax.Array:
        """``h·Eᵀ + b``: ``(batch, time, dim)`` to ``(batch, time, vocabulary)``."""
        y: jax.Array = h.reshape(-1, h.shape[-1]) @ params[0]["table"].T  # (batch·time, vocabulary)
        y = y + repeated(on_last_axis(params[2]["bias"], 2), y.shape) if self.use_bias else y
        return y.reshape(*h.shape[:-1], y.shape[-1])  # (batch, time, vocabulary)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        embedded, first = self.embedding.apply(params[0], state[0], tokens(x))
        h, last = self.body.apply(params[1], state[1], replaced(x, embedded), train=train, key=child_key(key, 1))
        return self.scores(params, tokens(h)), (first, last)

    def flops(self, in_shape: Shape) -> int | None:
        shape = self.child_shapes(in_shape)[1]
        body = self.body.flops(shape)
        time, dim = tokens(shape)
        return None if body is None else body + 2 * time * dim * self.embedding.vocabulary
