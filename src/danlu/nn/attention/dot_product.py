"""Scaled dot-product attention: ``softmax(Q·Kᵀ/√d)·V``, with its backward pass by hand.

Arrays have their heads first, in groups: queries ``(batch, kv heads, group, time, d)``; keys and values
``(batch, kv heads, source time, d)``. Each key head serves a group of query heads (a group of one is the usual attention).

Why by hand: the chain rule through the softmax collapses to ``P ⊙ (dP − Σ dP ⊙ P)``, and automatic differentiation does not see
it; on a CPU its version of a small GPT's training step takes a quarter longer.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp

__all__ = ["attend", "attend_backward", "attend_forward", "attend_fused", "can_fuse"]

Saved = tuple[Any, ...]


def attend_forward(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None, drop: jax.Array | None
) -> tuple[jax.Array, Saved]:
    """:func:`attend`'s output, and what :func:`attend_backward` needs."""
    query = query * jnp.asarray(1 / math.sqrt(query.shape[-1]), query.dtype)
    # The softmax and its derivative in 32 bits at least; only products of matrices are left in bfloat16.
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # (batch, kv heads, group, time, source time)
    scores = jnp.einsum("bkgtd,bksd->bkgts", query, key, preferred_element_type=wide)
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    e = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    if mask is not None:
        # Where nothing at all is visible every score is the same: without this it would be a mean over what is hidden.
        e = jnp.where(mask, e, jnp.zeros_like(e))
    weights = (e / jnp.maximum(jnp.sum(e, axis=-1, keepdims=True), jnp.finfo(e.dtype).tiny)).astype(query.dtype)
    kept = weights if drop is None else weights * drop
    heads = jnp.einsum("bkgts,bksd->bkgtd", kept, value)  # (batch, kv heads, group, time, d)
    return heads, (query, key, value, weights, drop)


def attend_backward(saved: Saved, error: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``(∂L/∂Q, ∂L/∂K, ∂L/∂V)`` from ``error = ∂L/∂O``, the chain rule backwards through ``O = (P ⊙ D)·V``.

    With ``S = Q·Kᵀ/√d``, ``P = softmax(S)`` and dropout's ``D`` (1 without dropout)::

        ∂L/∂V = (P ⊙ D)ᵀ·dO
        dP    = (dO·Vᵀ) ⊙ D
        dS    = P ⊙ (dP − Σ_s dP ⊙ P)          the softmax's derivative P_s·(δ − P_s'), summed
        ∂L/∂Q = dS·K/√d,   ∂L/∂K = dSᵀ·Q/√d

    A hidden key has ``P = 0``, and with it ``dS = 0``: the mask needs no rule of its own. A key head's gradients sum over the
    group of query heads that it serves.
    """
    query, key, value, weights, drop = saved
    kept = weights if drop is None else weights * drop
    by_value = jnp.einsum("bkgts,bkgtd->bksd", kept, error)  # (batch, kv heads, source time, d)
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # (batch, kv heads, group, time, source time)
    by_weights = jnp.einsum("bkgtd,bksd->bkgts", error, value, preferred_element_type=wide)
    if drop is not None:
        by_weights = by_weights * drop
    by_scores = weights * (by_weights - jnp.sum(by_weights * weights, axis=-1, keepdims=True))
    by_scores = by_scores.astype(query.dtype)
    scale = jnp.asarray(1 / math.sqrt(query.shape[-1]), query.dtype)
    by_query = jnp.einsum("bkgts,bksd->bkgtd", by_scores, key) * scale  # (batch, kv heads, group, time, d)
    by_key = jnp.einsum("bkgts,bkgtd->bksd", by_scores, query)  # the query was saved scaled
    return by_query, by_key, by_value


@jax.custom_vjp
def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None, drop: jax.Array | None
) -> jax.Array:
    """``softmax(Q·Kᵀ/√d)·V`` over the visible keys.

    Args:
        query: ``(batch, kv heads, group, time, d)``.
        key, value: ``(batch, kv heads, source time, d)``.
        mask: bool, broadcastable to ``(batch, kv heads, group, time, source time)``; True = visible. None: all are.
        drop: what dropout multiplies the attention weights by, or None.

    Returns:
        The shape of ``query``; 0 for a query that sees no key.

    Reference: Vaswani et al. (2017), arXiv:1706.03762, eq. 1; groups: Ainslie et al. (2023), arXiv:2305.13245.
    """
    return attend_forward(query, key, value, mask, drop)[0]


def _attend_backward(saved: Saved, error: jax.Array) -> tuple[Any, ...]:
    return (*attend_backward(saved, error), None, None)


attend.defvjp(attend_forward, _attend_backward)


def can_fuse(query: jax.Array, drop: jax.Array | None) -> bool:
    """Whether cuDNN's flash attention takes these: a GPU, 16-bit numbers, heads of a multiple of 8 up to 128, no dropout."""
    sixteen = query.dtype in (jnp.bfloat16, jnp.float16)
    size = query.shape[-1]
    return jax.default_backend() == "gpu" and sixteen and size % 8 == 0 and size <= 128 and drop is None


def attend_fused(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """:func:`attend` without dropout through ``jax.nn.dot_product_attention``, which never stores the attention weights.

    Args:
        query, key, value, mask: as :func:`attend` takes them; the mask's head axes are 1.
        implementation: ``"cudnn"`` (flash attention on a GPU) or ``"xla"``.

    Reference: Dao et al. (2022), arXiv:2205.14135. A query that sees no key has an undefined output here.
    """
    batch, groups, size, time, d = query.shape
    heads = query.reshape(batch, groups * size, time, d)
    q, k, v = (jnp.swapaxes(a, 1, 2) for a in (heads, key, value))
    visible = None if mask is None else mask.reshape(mask.shape[0], 1, *mask.shape[3:])  # (batch, 1, time, source time)
    y = jax.nn.dot_product_attention(q, k, v, mask=visible, implementation=implementation)
    return jnp.swapaxes(y, 1, 2).reshape(query.shape)
