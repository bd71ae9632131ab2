"""The chain rule, one layer at a time: from ``dy = ∂L/∂y`` to ``∂L/∂x`` and ``∂L/∂θ``.

Nothing in this file differentiates anything: each rule is the formula, and tests compare it with ``jax.grad``. A layer
without a rule here is differentiated by ``jax.vjp``, that layer alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from danlu.nn._shapes import on_last_axis
from danlu.nn.backprop.activation_rules import activation_backward
from danlu.nn.backprop.attention_rules import ATTENTION_RULES
from danlu.nn.backprop.conv_rules import CONV_RULES
from danlu.nn.backprop.recurrent_rules import max_over_time, recurrent, zero_padding
from danlu.nn.backprop.tabular_walk import MEMBER_RULES
from danlu.nn.backprop.visit import LayerRule, Visit
from danlu.nn.combine import Activation, Flatten
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout, dropout_scale
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer
from danlu.nn.norm import BatchNorm, LayerNorm
from danlu.nn.recurrent import GRU, LSTM, MaxOverTime, SimpleRNN, ZeroPadding

__all__ = ["LAYER_RULES"]


def _dense(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``z = xW + b, y = f(z)``: ``δ = ∂L/∂z = dy ⊙ f′(z)``, ``∂L/∂W = xᵀδ``, ``∂L/∂b = Σ_rows δ``, ``∂L/∂x = δWᵀ``."""
    layer, kernel = visit.layer, visit.params["kernel"]
    x = visit.x.reshape(-1, kernel.shape[0])  # (rows, features), whatever the leading axes
    z = x @ kernel
    if layer.use_bias:
        z = z + on_last_axis(visit.params["bias"], 2)
    y, dy = visit.y.reshape(z.shape), dy.reshape(z.shape)
    delta = activation_backward(layer.activation, z, y, dy)
    gradients = {"kernel": x.T @ delta}
    if layer.use_bias:
        gradients["bias"] = jnp.sum(delta, axis=0)
    return (delta @ kernel.T).reshape(visit.x.shape), gradients


def _activation(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y = f(x)``: ``∂L/∂x = dy ⊙ f′(x)``."""
    return activation_backward(visit.layer.activation, visit.x, visit.y, dy), {}


def _flatten(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The same numbers in another shape: ``∂L/∂x`` is ``dy`` in the input's shape."""
    return dy.reshape(visit.x.shape), {}


def _dropout(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y = m ⊙ x``, with the forward pass's ``m`` (0 or 1/(1 − rate)): ``∂L/∂x = m ⊙ dy``; ``dy`` outside training."""
    if not visit.train or visit.key is None:
        return dy, {}
    return dy * dropout_scale(visit.state["rate"], visit.key, visit.x), {}


def _batch_norm(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``y = γ·x̂ + β, x̂ = (x − μ)/σ``: ``∂L/∂β = Σ dy``, ``∂L/∂γ = Σ dy·x̂``, sums over all rows.

    In training μ and σ depend on every row, so an error signal along the mean or along ``x̂`` cancels:
    ``∂L/∂x = γ/σ · (dy − mean(dy) − x̂·mean(dy·x̂))``. With running statistics μ and σ are constants: ``∂L/∂x = γ/σ·dy``.
    """
    x, ndim = visit.x, visit.x.ndim
    rows = tuple(range(ndim - 1))
    mean, variance = visit.state["mean"], visit.state["variance"]
    if visit.train:
        mean, variance = jnp.mean(x, axis=rows), jnp.var(x, axis=rows)
    inverse = 1 / jnp.sqrt(variance + visit.layer.epsilon)
    normal = (x - on_last_axis(mean, ndim)) * on_last_axis(inverse, ndim)
    scale = on_last_axis(visit.params["scale"] * inverse, ndim)
    gradients = {"scale": jnp.sum(dy * normal, axis=rows), "bias": jnp.sum(dy, axis=rows)}
    if not visit.train:
        return scale * dy, gradients
    along_mean = jnp.mean(dy, axis=rows, keepdims=True)
    along_normal = jnp.mean(dy * normal, axis=rows, keepdims=True)
    return scale * (dy - along_mean - normal * along_normal), gradients


def _layer_norm(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """As batch norm, but the statistics are each example's own, over the last axis, and γ is inside them.

    With ``g = γ ⊙ dy``: ``∂L/∂x = (g − mean(g) − x̂·mean(g·x̂))/σ``, means over the last axis.
    """
    x, rows = visit.x, tuple(range(visit.x.ndim - 1))
    inverse = 1 / jnp.sqrt(jnp.var(x, axis=-1, keepdims=True) + visit.layer.epsilon)
    normal = (x - jnp.mean(x, axis=-1, keepdims=True)) * inverse
    g = dy * on_last_axis(visit.params["scale"], x.ndim)
    gradients = {"scale": jnp.sum(dy * normal, axis=rows), "bias": jnp.sum(dy, axis=rows)}
    along_mean = jnp.mean(g, axis=-1, keepdims=True)
    along_normal = jnp.mean(g * normal, axis=-1, keepdims=True)
    return inverse * (g - along_mean - normal * along_normal), gradients


def _embedding(visit: Visit, dy: jax.Array) -> tuple[None, dict[str, jax.Array]]:
    """``y = table[i]``: row ``i`` of ``∂L/∂table`` is the sum of ``dy`` over every place that read it; no ``∂L/∂x``."""
    table = visit.params["table"]
    rows = visit.layer.rows(visit.x).reshape(-1)
    # (rows, dim), one for each place that read
    return None, {"table": jnp.zeros_like(table).at[rows].add(dy.reshape(-1, table.shape[1]).astype(table.dtype))}


LAYER_RULES: Mapping[type[Layer], LayerRule] = MappingProxyType(
    {
        **ATTENTION_RULES,
        **CONV_RULES,
        **MEMBER_RULES,
        Activation: _activation,
        BatchNorm: _batch_norm,
        Dense: _dense,
        Dropout: _dropout,
        Embedding: _embedding,
        Flatten: _flatten,
        GRU: recurrent,
        LSTM: recurrent,
        LayerNorm: _layer_norm,
        MaxOverTime: max_over_time,
        SimpleRNN: recurrent,
        ZeroPadding: zero_padding,
    }
)
"""``(∂L/∂x, ∂L/∂params)`` from ``(visit, dy)`` for every leaf layer."""
