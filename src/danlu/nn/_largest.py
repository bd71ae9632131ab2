"""The largest value along an axis, with a derivative that rounding cannot break."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["largest", "to_largest"]


@jax.custom_vjp
def largest(x: jax.Array, real: jax.Array | None) -> jax.Array:
    """``max_t x_t`` over the real places: ``(batch, places, features)`` to ``(batch, features)``; 0 where none is real.

    The error goes to the first place that held the maximum, which is remembered by its number. ``jnp.max`` finds it again by
    comparing values; where XLA computes ``x`` a second time inside another loop, rounded otherwise, it finds none, and its
    derivative is 0/0.

    Args:
        x: ``(batch, places, features)``.
        real: bool ``(batch, places)``, or None: all are.

    >>> jax.grad(lambda x: largest(x, None).sum())(jnp.array([[[1.0], [3.0], [3.0]]]))[0, :, 0].tolist()
    [0.0, 1.0, 0.0]
    """
    return _forward(x, real)[0]


def _forward(x: jax.Array, real: jax.Array | None) -> tuple[jax.Array, Any]:
    seen = x if real is None else jnp.where(real[:, :, None], x, -jnp.inf)
    y = jnp.max(seen, axis=1)
    if real is not None:
        y = jnp.where(jnp.any(real, axis=1, keepdims=True), y, jnp.zeros_like(y))
    return y, (jnp.argmax(seen, axis=1), real, x.shape[1])


def to_largest(place: jax.Array, real: jax.Array | None, places: int, error: jax.Array) -> jax.Array:
    """The error ``(batch, features)`` at each one's place, ``(batch, places, features)``."""
    holds = jnp.arange(places)[None, :, None] == place[:, None]
    if real is not None:
        holds &= real[:, :, None]
    return jnp.where(holds, error[:, None], jnp.zeros_like(error)[:, None])


def _backward(kept: Any, error: jax.Array) -> tuple[jax.Array, None]:
    place, real, places = kept
    return to_largest(place, real, places, error), None


largest.defvjp(_forward, _backward)
