"""Two rules that keep a network in bfloat16 fast where it can be rounded, and sound where it cannot."""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["narrowed", "widened"]


def narrowed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x`` as bfloat16 where the kernel is: a layer without weights (:class:`Rescale`) may have handed on float32."""
    return x.astype(kernel.dtype) if kernel.dtype == jnp.bfloat16 else x


def widened(x: jax.Array) -> jax.Array:
    """``x`` with at least 32 bits: means, variances and exponentials of 8-bit significands lose what they are for."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
