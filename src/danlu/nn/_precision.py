"""Helpers for networks in bfloat16: which computations may be rounded, and which need 32 bits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["looked_up", "narrowed", "repeated", "wide_type", "widened"]


def narrowed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x`` as bfloat16 where the kernel is: a layer without weights (:class:`Rescale`) may have handed on float32."""
    return x.astype(kernel.dtype) if kernel.dtype == jnp.bfloat16 else x


def widened(x: jax.Array) -> jax.Array:
    """``x`` with at least 32 bits: means, variances and exponentials are useless with 8-bit significands."""
    return x.astype(wide_type(x.dtype))


def wide_type(dtype: jax.typing.DTypeLike) -> Any:
    """``dtype``, or float32 if that is wider: what sums are kept in."""
    return jnp.promote_types(dtype, jnp.float32)


def repeated(value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """``value`` broadcast to ``shape``, whose gradient adds up what all the copies get in at least 32 bits.

    What broadcasts by itself (a bias that is added to each row) has its gradient summed in its own type; in bfloat16 such a sum
    stops growing after 256 steps of its size, and the bias of a convolution over a hundred thousand pixels gets a fiftieth of it.

    >>> bias = jnp.zeros(1, jnp.bfloat16)
    >>> float(jax.grad(lambda bias: repeated(bias, (2**17, 1)).astype(jnp.float32).sum())(bias)[0])
    131072.0
    """
    return jnp.broadcast_to(widened(value), shape).astype(value.dtype)


def looked_up(table: jax.Array, rows: jax.Array) -> jax.Array:
    """``table[rows]``, whose gradient adds up the errors of a row that is looked up often in at least 32 bits.

    >>> table = jnp.zeros((1, 1), jnp.bfloat16)
    >>> float(jax.grad(lambda table: looked_up(table, jnp.zeros(1024, int)).sum())(table)[0, 0])
    1024.0
    """
    return jnp.take(widened(table), rows, axis=0, mode="clip").astype(table.dtype)
