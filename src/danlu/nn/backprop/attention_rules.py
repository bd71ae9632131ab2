"""The chain rule through attention and the layers around it; see :mod:`danlu.nn.backprop.rules` for the form.

A sequence may be a dict (:mod:`danlu.nn.attention.sequence`): then ``dy`` and ``∂L/∂x`` are dicts too, masks have no error
signal (None), and a context's signal passes every layer that leaves it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn._shapes import on_last_axis
from danlu.nn.activations import get_activation, sigmoid, silu
from danlu.nn.attention.attention import MultiHeadAttention
from danlu.nn.attention.dot_product import attend_backward, attend_forward
from danlu.nn.attention.positions import LearnedPositions, SinusoidalPositions, rotate
from danlu.nn.attention.sequence import padding_mask, replaced, token_positions, tokens
from danlu.nn.backprop.activation_rules import activation_backward
from danlu.nn.backprop.visit import LayerRule, Visit
from danlu.nn.layer import Layer
from danlu.nn.rms_norm import RMSNorm
from danlu.nn.swiglu import SwiGLU
from danlu.nn.transformer.feed_forward import FeedForward
from danlu.nn.transformer.pool import Pool, pool_weights
from danlu.nn.transformer.segments import Segments
from danlu.nn.transformer.vit import ClassToken, Patches

__all__ = ["ATTENTION_RULES"]


def _attention(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``y = A·W_o``, ``A`` the heads' outputs side by side: ``∂L/∂W_o = Aᵀdy``, ``∂L/∂A = dy·W_oᵀ``; through the softmax as
    :func:`~danlu.nn.attention.dot_product.attend_backward` says; rotations turn back; then each of Q, K and V is a dense
    layer: ``∂L/∂W = xᵀδ``, ``∂L/∂x = δ·Wᵀ``, summed over the three (or K's and V's to the context).
    """
    layer, params = visit.layer, visit.params
    x = tokens(visit.x)
    source = visit.x["context"] if layer.cross else x
    inputs = layer.prepared(params, visit.state, visit.x, train=visit.train, key=visit.key)
    heads, saved = attend_forward(*inputs)
    error = tokens(dy)
    flat = error.reshape(-1, error.shape[-1])  # (batch·time, features)
    gradients = {"output": layer.ungrouped(heads).T @ flat}
    if "output_bias" in params:
        gradients["output_bias"] = jnp.sum(flat, axis=0)
    batch, time = x.shape[:2]
    # (batch, time, heads, d), then in groups
    by_heads = layer.grouped((flat @ params["output"].T).reshape(batch, time, layer.num_heads, -1))
    by_query, by_key, by_value = attend_backward(saved, by_heads)
    deltas = {
        "query": layer.ungrouped(by_query).reshape(batch, time, layer.num_heads, -1),  # (batch, time, heads, d)
        "key": jnp.swapaxes(by_key, 1, 2),
        "value": jnp.swapaxes(by_value, 1, 2),
    }
    if layer.rotary_base is not None:
        back = -token_positions(padding_mask(visit.x), time)
        deltas |= {name: rotate(deltas[name], back, layer.rotary_base) for name in ("query", "key")}
    passed = {}
    for name, given in (("query", x), ("key", source), ("value", source)):
        delta = deltas[name].reshape(given.shape[0] * given.shape[1], -1)  # (batch·time, heads·d)
        gradients[name] = given.reshape(delta.shape[0], -1).T @ delta  # (features, batch·time) by (batch·time, heads·d)
        if f"{name}_bias" in params:
            gradients[f"{name}_bias"] = jnp.sum(delta, axis=0)
        passed[name] = (delta @ params[name].T).reshape(given.shape)
    if layer.cross:
        context = passed["key"] + passed["value"]
        return {**dy, "x": passed["query"], "context": dy["context"] + context}, gradients
    return replaced(dy, passed["query"] + passed["key"] + passed["value"]), gradients


def _rms_norm(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y = γ·x̂, x̂ = x/r``: with ``g = γ ⊙ dy``, ``∂L/∂x = (g − x̂·mean(g·x̂))/r``; no mean is taken off, none comes back."""
    x, rows = visit.x, tuple(range(visit.x.ndim - 1))
    inverse = 1 / jnp.sqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + visit.layer.epsilon)
    normal = x * inverse
    g = dy * on_last_axis(visit.params["scale"], x.ndim)
    along_normal = jnp.mean(g * normal, axis=-1, keepdims=True)
    return inverse * (g - normal * along_normal), {"scale": jnp.sum(dy * normal, axis=rows)}


def _feed_forward(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """Two dense layers: ``z = x·W_1 + b_1, h = f(z), y = h·W_2 + b_2``; ``δ = (dy·W_2ᵀ) ⊙ f′(z)``."""
    layer, p, given = visit.layer, visit.params, tokens(visit.x)
    # (batch·time, features)
    x, error = given.reshape(-1, given.shape[-1]), tokens(dy).reshape(-1, given.shape[-1])
    z = x @ p["up"]
    z = z + on_last_axis(p["up_bias"], 2) if layer.use_bias else z
    h = get_activation(layer.activation)(z)
    delta = activation_backward(layer.activation, z, h, error @ p["down"].T)
    gradients = {"up": x.T @ delta, "down": h.T @ error}
    if layer.use_bias:
        gradients |= {"up_bias": jnp.sum(delta, axis=0), "down_bias": jnp.sum(error, axis=0)}
    return replaced(dy, (delta @ p["up"].T).reshape(given.shape)), gradients


def _swiglu(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``h = silu(g) ⊙ u, y = h·W_d``: ``∂L/∂u = dh ⊙ silu(g)``, ``∂L/∂g = dh ⊙ u ⊙ σ(g)·(1 + g·(1 − σ(g)))``."""
    p, given = visit.params, tokens(visit.x)
    # (batch·time, features)
    x, error = given.reshape(-1, given.shape[-1]), tokens(dy).reshape(-1, given.shape[-1])
    gate, up = x @ p["gate"], x @ p["up"]
    by_hidden, s = error @ p["down"].T, sigmoid(gate)
    by_up, by_gate = by_hidden * silu(gate), by_hidden * up * s * (1 + gate * (1 - s))
    gradients = {"gate": x.T @ by_gate, "up": x.T @ by_up, "down": (silu(gate) * up).T @ error}
    return replaced(dy, (by_gate @ p["gate"].T + by_up @ p["up"].T).reshape(given.shape)), gradients


def _learned_positions(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``y = x + table[p]``: ``dy`` goes on as it is, and row ``p`` of ``∂L/∂table`` sums it over every token that stands there."""
    error, table = tokens(dy), visit.params["table"]
    positions = jnp.broadcast_to(token_positions(padding_mask(visit.x), error.shape[1]), error.shape[:2])
    rows = error.reshape(-1, error.shape[-1]).astype(table.dtype)  # (batch·time, features)
    return dy, {"table": jnp.zeros_like(table).at[positions.reshape(-1)].add(rows)}


def _segments(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``y = x + table[s]``: ``dy`` goes on as it is, and row ``s`` of ``∂L/∂table`` sums it over every token of that segment."""
    error, table = tokens(dy), visit.params["table"]
    rows = jnp.broadcast_to(visit.layer.rows(visit.x), error.shape[:2]).reshape(-1)
    each = error.reshape(-1, error.shape[-1]).astype(table.dtype)  # (batch·time, features)
    return dy, {"table": jnp.zeros_like(table).at[rows].add(each)}


def _sinusoidal_positions(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``y = gain·x + PE``: ``∂L/∂x = gain·dy``."""
    return replaced(dy, visit.layer.gain * tokens(dy)), {}


def _pool(visit: Visit, dy: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    """``y = Σ_t s_t·x_t``: ``∂L/∂x_t = s_t·dy``, which is 0 at padding."""
    x = visit.x
    passed = pool_weights(x, visit.layer.kind) * dy[:, None, :] * jnp.ones_like(tokens(x))
    if not isinstance(x, Mapping):
        return passed, {}
    floats = {name: jnp.issubdtype(a.dtype, jnp.floating) for name, a in x.items()}
    return {name: passed if name == "x" else jnp.zeros_like(a) if floats[name] else None for name, a in x.items()}, {}


def _patches(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The same numbers in another place: each goes back to where it came from."""
    return visit.layer.restore(dy, visit.x.shape), {}


def _class_token(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The first token's error, summed over the batch, is the parameter's; the others' go on."""
    return dy[:, 1:], {"token": jnp.sum(dy[:, 0], axis=0)}


ATTENTION_RULES: Mapping[type[Layer], LayerRule] = MappingProxyType(
    {
        ClassToken: _class_token,
        FeedForward: _feed_forward,
        LearnedPositions: _learned_positions,
        MultiHeadAttention: _attention,
        Patches: _patches,
        Pool: _pool,
        RMSNorm: _rms_norm,
        Segments: _segments,
        SinusoidalPositions: _sinusoidal_positions,
        SwiGLU: _swiglu,
    }
)
"""This file's rules by layer."""
