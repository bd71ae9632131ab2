"""A key-value cache: attention over a sequence that grows, without computing its past again.

A cache is a dict of arrays; :func:`empty_cache` makes one and :func:`cached_attention` gives the output for new tokens and the
cache after them. Both are pure. What a whole model does with the caches of its layers is in
:mod:`danlu.nn.transformer.cache`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.attention.attention import MultiHeadAttention, Prepared
from danlu.nn.layer import Params

__all__ = ["cached_attention", "context_cache", "empty_cache"]


def empty_cache(layer: MultiHeadAttention, params: Params, batch: int, length: int) -> dict[str, jax.Array]:
    """Room for the keys and values of ``length`` tokens: two arrays ``(batch, kv heads, length, d)`` of zeros."""
    shape = (batch, layer.kv_heads, length, params["key"].shape[1] // layer.kv_heads)
    return {name: jnp.zeros(shape, params[name].dtype) for name in ("key", "value")}


def context_cache(layer: MultiHeadAttention, params: Params, context: jax.Array) -> dict[str, jax.Array]:
    """The keys and values of a context, ``(batch, source time, features)``, computed once for all tokens to come."""
    return {name: jnp.swapaxes(layer.project(params, name, context), 1, 2) for name in ("key", "value")}


def cached_attention(
    layer: MultiHeadAttention,
    params: Params,
    x: jax.Array,
    cache: dict[str, jax.Array],
    *,
    index: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """A causal layer's output for new tokens (or a cross layer's, whose cache is its context's), and the cache after.

    Args:
        layer, params: the layer (its dropout is off).
        x: the new tokens, ``(batch, new, features)``.
        cache: as :func:`empty_cache` or :func:`context_cache` made it or the last call left it.
        index: how many places of the cache are taken; a scalar. The new tokens take the next ones.
        positions: of the new tokens, ``(batch, new)``; see :func:`~danlu.nn.attention.sequence.token_positions`.
        mask: which places hold real tokens, the new ones included, ``(batch, length)``; of a cross layer the context's.

    Returns:
        ``(y, cache)``: ``y`` as ``apply`` gives for these tokens when it sees the whole sequence.
    """
    query = layer.grouped(layer.project(params, "query", x, positions))
    visible: Any = mask[:, None, None, None, :]
    if not layer.cross:
        new = {
            name: jnp.swapaxes(layer.project(params, name, x, positions), 1, 2).astype(cache[name].dtype)
            for name in ("key", "value")
        }
        cache = {name: jax.lax.dynamic_update_slice_in_dim(cache[name], new[name], index, axis=2) for name in new}
        places = jnp.arange(mask.shape[1])[None, :]
        past = places <= index + jnp.arange(x.shape[1])[:, None]
        visible = visible & past[None, None, None]
    heads = layer.mixed(Prepared(query, cache["key"], cache["value"], visible, None))
    return layer.output(params, heads), cache
