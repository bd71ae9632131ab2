"""The chain rule for layers over spatial axes: convolution, pooling, group norm, squeeze and excitation.

As in :mod:`danlu.nn.backprop.rules`, nothing here differentiates anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn._largest import to_largest
from danlu.nn._shapes import on_last_axis
from danlu.nn.backprop.activation_rules import activation_backward
from danlu.nn.backprop.visit import LayerRule, Visit
from danlu.nn.conv import Conv, ConvTranspose
from danlu.nn.conv_ops import convolve, input_gradient, kernel_gradient
from danlu.nn.group_norm import GroupNorm
from danlu.nn.layer import Layer
from danlu.nn.pool import (
    AdaptiveAveragePool,
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    cell_shares,
    counts,
)
from danlu.nn.pool_ops import to_first_winner
from danlu.nn.squeeze_excite import SqueezeExcite
from danlu.nn.vision.convnext import LayerScale

__all__ = ["CONV_RULES"]

Gradients = tuple[jax.Array, Any]


def _delta(visit: Visit, dy: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``δ = ∂L/∂z = dy ⊙ f′(z)``, and ``∂L/∂b``, its sum over examples and positions."""
    z = visit.layer.linear(visit.params, visit.x)
    delta = activation_backward(visit.layer.activation, z, visit.y, dy)
    bias = {"bias": jnp.sum(delta, axis=tuple(range(delta.ndim - 1)))} if visit.layer.use_bias else {}
    return delta, bias


def _conv(visit: Visit, dy: jax.Array) -> Gradients:
    """``z = x ⋆ W + b``: ``∂L/∂W[k] = Σ x[stride·q + k]ᵀ·δ[q]``; ``∂L/∂x`` spreads ``δ·Wᵀ`` over the windows it came from."""
    delta, gradients = _delta(visit, dy)
    kernel, how = visit.params["kernel"], visit.layer.how(visit.x.shape[1:-1])[1]
    gradients["kernel"] = kernel_gradient(visit.x, delta, kernel.shape, how)
    return input_gradient(delta, kernel, visit.x.shape, how), gradients


def _conv_transpose(visit: Visit, dy: jax.Array) -> Gradients:
    """The convolution's rule with forward and backward exchanged: ``∂L/∂x = δ ⋆ Wᵀ``, ``∂L/∂W[k] = Σ x[q]ᵀ·δ[stride·q + k]``."""
    delta, gradients = _delta(visit, dy)
    kernel, how = jnp.swapaxes(visit.params["kernel"], -1, -2), visit.layer.how(visit.x.shape[1:-1])[2]
    gradients["kernel"] = jnp.swapaxes(kernel_gradient(delta, visit.x, kernel.shape, how), -1, -2)
    return convolve(delta, kernel, how), gradients


def _max_pool(visit: Visit, dy: jax.Array) -> Gradients:
    """All of ``dy`` goes to the position that held the maximum."""
    return to_first_winner(visit.x, visit.y, dy, *visit.layer.windows(visit.x.shape[1:-1])), {}


def _average_pool(visit: Visit, dy: jax.Array) -> Gradients:
    """Each position of a window receives ``dy / count``: the transposed convolution with a window of ones."""
    spatial, channels = visit.x.shape[1:-1], visit.x.shape[-1]
    window, how = visit.layer.windows(spatial)
    share = dy / jnp.asarray(counts(spatial, window, how), dy.dtype)
    ones = jnp.ones((*window, 1, channels), dy.dtype)
    return input_gradient(share, ones, visit.x.shape, dataclasses.replace(how, groups=channels)), {}


def _spread(vector: jax.Array, x: jax.Array) -> jax.Array:
    """``(batch, channels)`` at every position of ``x``."""
    middle = vector.reshape(x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    return jnp.broadcast_to(middle, x.shape)


def _global_average_pool(visit: Visit, dy: jax.Array) -> Gradients:
    """Every one of the ``P`` positions receives ``dy / P``."""
    positions = visit.x.size // dy.size
    return _spread(dy / positions, visit.x), {}


def _global_max_pool(visit: Visit, dy: jax.Array) -> Gradients:
    """``dy`` goes to the first position that holds the maximum."""
    flat = jax.lax.collapse(visit.x, 1, visit.x.ndim - 1)
    return to_largest(jnp.argmax(flat, axis=1), None, flat.shape[1], dy).reshape(visit.x.shape), {}


def _adaptive_average_pool(visit: Visit, dy: jax.Array) -> Gradients:
    """``y = S_hᵀ·x·S_w`` with the cells' shares ``S``: ``∂L/∂x = S_h·dy·S_wᵀ``."""
    for axis in range(1, visit.x.ndim - 1):
        share = jnp.asarray(cell_shares(visit.x.shape[axis], dy.shape[axis]), dy.dtype)
        dy = jnp.moveaxis(jnp.tensordot(dy, share, axes=((axis,), (1,))), -1, axis)
    return dy, {}


def _group_norm(visit: Visit, dy: jax.Array) -> Gradients:
    """Layer norm's rule, with means over a group: ``∂L/∂x = (g − mean(g) − x̂·mean(g·x̂))/σ``, ``g = γ ⊙ dy``."""
    normal, inverse = visit.layer.normal(visit.x)
    places = tuple(range(dy.ndim - 1))
    gradients = {"scale": jnp.sum(dy * normal, axis=places), "bias": jnp.sum(dy, axis=places)}
    shape = (dy.shape[0], -1, inverse.shape[2], dy.shape[-1] // inverse.shape[2])
    g = (dy * on_last_axis(visit.params["scale"], dy.ndim)).reshape(shape)
    normal = normal.reshape(shape)
    along_mean = jnp.mean(g, axis=(1, 3), keepdims=True)
    along_normal = jnp.mean(g * normal, axis=(1, 3), keepdims=True)
    return (inverse * (g - along_mean - normal * along_normal)).reshape(dy.shape), gradients


def _layer_scale(visit: Visit, dy: jax.Array) -> Gradients:
    """``y = γ ⊙ x``: ``∂L/∂x = γ ⊙ dy``, ``∂L/∂γ = Σ dy ⊙ x``."""
    gradient = jnp.sum(dy * visit.x, axis=tuple(range(dy.ndim - 1)))
    return dy * on_last_axis(visit.params["scale"], dy.ndim), {"scale": gradient}


def _squeeze_excite(visit: Visit, dy: jax.Array) -> Gradients:
    """``y = x ⊙ g(x̄)``: directly ``dy ⊙ g``; through the gates, ``Σ_p dy ⊙ x`` goes back through two dense layers."""
    x, (_, first, second) = visit.x, visit.params
    net = visit.layer.network(x.shape[-1])
    positions = tuple(range(1, x.ndim - 1))
    mean = jnp.mean(x, axis=positions)
    inner = mean @ first["kernel"] + on_last_axis(first["bias"], 2)
    hidden, _ = net.layers[1].apply(first, {}, mean)
    outer = hidden @ second["kernel"] + on_last_axis(second["bias"], 2)
    gates, _ = net.layers[2].apply(second, {}, hidden)

    by_outer = activation_backward(visit.layer.gate, outer, gates, jnp.sum(dy * x, axis=positions))
    by_inner = activation_backward(visit.layer.activation, inner, hidden, by_outer @ second["kernel"].T)
    by_mean = by_inner @ first["kernel"].T
    gradients: Any = (
        {},
        {"kernel": mean.T @ by_inner, "bias": jnp.sum(by_inner, axis=0)},
        {"kernel": hidden.T @ by_outer, "bias": jnp.sum(by_outer, axis=0)},
    )
    return dy * _spread(gates, x) + _spread(by_mean / (x.size // mean.size), x), gradients


CONV_RULES: Mapping[type[Layer], LayerRule] = MappingProxyType(
    {
        AdaptiveAveragePool: _adaptive_average_pool,
        AveragePool: _average_pool,
        Conv: _conv,
        ConvTranspose: _conv_transpose,
        GlobalAveragePool: _global_average_pool,
        GlobalMaxPool: _global_max_pool,
        GroupNorm: _group_norm,
        LayerScale: _layer_scale,
        MaxPool: _max_pool,
        SqueezeExcite: _squeeze_excite,
    }
)
"""This file's rules by layer."""
