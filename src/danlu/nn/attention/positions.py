"""Positions of tokens for attention: learned vectors, sinusoids, rotations.

Attention by itself does not see the order of its inputs. Learned and sinusoidal positions are added to the tokens once, in
front of the first block; rotary ones turn queries and keys inside each attention (``MultiHeadAttention(rotary_base=…)``).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import looked_up, repeated, wide_type
from danlu.nn._shapes import size
from danlu.nn.attention.sequence import padding_mask, replaced, sequence_shape, token_positions, tokens
from danlu.nn.initializers import Initializer, get_initializer
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["LearnedPositions", "SinusoidalPositions", "rotate", "sinusoids"]


class LearnedPositions(Layer):
    """Adds row ``p`` of a learned table to the token at position ``p``.

    Args:
        length: rows of the table: the longest sequence.
        initializer: of the table.

    Params: ``{"table": (length, features)}``. State: ``{}``.

    Raises:
        DataError: a sequence longer than ``length``.

    Reference: Gehring et al. (2017), arXiv:1705.03122, section 3.1; as in BERT and GPT-2.
    """

    length: int = setting(minimum=1, integer=True)
    initializer: str | Initializer = "normal"

    def __post_init__(self) -> None:
        super().__post_init__()
        get_initializer(self.initializer)

    def _check(self, time: int) -> None:
        if time > self.length:
            raise DataError(
                f"LearnedPositions has {self.length} positions; the sequence has {time} tokens",
                hint="make the table longer, cut the sequence, or use rotary or sinusoidal positions",
            )

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        time, features = sequence_shape("LearnedPositions", in_shape)
        self._check(time)
        return {"table": get_initializer(self.initializer)(key, (self.length, features))}, {}, in_shape

    def at(self, params: Params, x: jax.Array, positions: jax.Array) -> jax.Array:
        """Tokens ``(batch, time, features)`` with the vectors of ``positions`` ``(batch or 1, time)`` added."""
        return x + looked_up(params["table"], jnp.broadcast_to(positions, x.shape[:2]))

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        given, mask = tokens(x), padding_mask(x)
        self._check(given.shape[1])
        if mask is None:  # a slice and a sum over the batch, where a lookup would be a scatter backwards
            return replaced(x, given + repeated(params["table"][None, : given.shape[1]], given.shape)), state
        return replaced(x, self.at(params, given, token_positions(mask, given.shape[1]))), state

    def flops(self, in_shape: Shape) -> int:
        return size(tokens(in_shape))


def _powers(count: int, log_base: float, dtype: jax.typing.DTypeLike) -> jax.Array:
    """``exp(log_base·i)`` for ``i < count``, in ``dtype`` or float32 if that is narrower: an angle of a thousand turns needs its digits."""
    return jnp.exp(jnp.arange(count, dtype=wide_type(dtype)) * log_base)


def sinusoids(positions: jax.Array, features: int, dtype: jax.typing.DTypeLike = jnp.float32) -> jax.Array:
    """``PE(p, 2i) = sin(p/10000^(2i/features))`` and ``PE(p, 2i+1)`` the cosine of the same angle.

    Args:
        positions: whole numbers, any shape.
        features: size of each vector.

    Returns:
        ``(*positions.shape, features)``.

    >>> sinusoids(jnp.array([0]), 4).tolist()
    [[0.0, 1.0, 0.0, 1.0]]
    """
    pairs = (features + 1) // 2
    rates = _powers(pairs, -2 * math.log(10000.0) / features, dtype).reshape((1,) * positions.ndim + (pairs,))
    angles = positions[..., None].astype(rates.dtype) * rates
    waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return waves.reshape(*positions.shape, 2 * pairs)[..., :features].astype(dtype)


class SinusoidalPositions(Layer):
    """Adds :func:`sinusoids` of each position: ``y = gain·x + PE``. Nothing is learned, and any length will do.

    Args:
        gain: multiplies the tokens, > 0; the paper multiplies embeddings by ``√features``.

    Params and state: ``{}``.

    Reference: Vaswani et al. (2017), arXiv:1706.03762, sections 3.4 and 3.5.
    """

    gain: float = setting(default=1.0, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        sequence_shape("SinusoidalPositions", in_shape)
        return {}, {}, in_shape

    def at(self, params: Params, x: jax.Array, positions: jax.Array) -> jax.Array:
        """Tokens ``(batch, time, features)`` with the waves of ``positions`` ``(batch or 1, time)`` added."""
        return self.gain * x + sinusoids(positions, x.shape[-1], x.dtype)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        given = tokens(x)
        return replaced(x, self.at(params, given, token_positions(padding_mask(x), given.shape[1]))), state

    def flops(self, in_shape: Shape) -> int:
        return 2 * size(tokens(in_shape))


def rotate(x: jax.Array, positions: jax.Array, base: float) -> jax.Array:
    """Rotary positions: each pair of features turned by an angle that grows with the position.

    Feature ``i`` of the first half and feature ``i`` of the second are a point in the plane, turned by
    ``p·base^(−2i/d)``. The product of a turned query and a turned key depends on their distance alone. The inverse, and so
    the backward pass, is the rotation by ``−positions``.

    Args:
        x: ``(batch, time, heads, d)``, d even.
        positions: whole numbers ``(batch or 1, time)``.
        base: the slowest pair turns once in about ``2π·base`` positions.

    Reference: Su et al. (2021), arXiv:2104.09864, section 3.2.2; pairs are halves as in Llama and GPT-NeoX, where
    the paper pairs neighbours (the same up to a fixed permutation of features).

    >>> rotate(jnp.ones((1, 2, 1, 2)), jnp.array([[0, 1]]), 10000.0).round(3).tolist()
    [[[[1.0, 1.0]], [[-0.301..., 1.382...]]]]
    """
    half = x.shape[-1] // 2
    rates = _powers(half, -math.log(base) / half, x.dtype).reshape(1, 1, 1, half)
    angles = positions[:, :, None, None].astype(rates.dtype) * rates
    cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)
