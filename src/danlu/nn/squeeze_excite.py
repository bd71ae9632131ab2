"""Squeeze and excitation: each channel scaled by a gate computed from the whole image."""

from __future__ import annotations

from typing import Any

import jax

from danlu.blueprint import setting
from danlu.nn._precision import repeated
from danlu.nn._shapes import size
from danlu.nn._windows import image_shape
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.pool import GlobalAveragePool

__all__ = ["SqueezeExcite"]


class SqueezeExcite(Layer):
    """``y[p, c] = x[p, c]·g_c`` with ``g = gate(W₂·f(W₁·mean_p(x) + b₁) + b₂)``.

    Args:
        reduction: the hidden layer has ``channels / reduction`` units (at least one).
        activation: the name of ``f``.
        gate: the name of the gate's activation.

    Params: ``({}, W₁ and b₁, W₂ and b₂)``, those of the gate's network: pooling, Dense, Dense.

    Reference: Hu, Shen & Sun (2018), arXiv:1709.01507, eqs. 2-4 (which has no biases).

    Example:
        >>> SqueezeExcite(4).out_shape((8, 8, 16))
        (8, 8, 16)
    """

    reduction: int = setting(default=16, minimum=1, integer=True)
    activation: str = setting(default="relu", choices=ACTIVATIONS)
    gate: str = setting(default="sigmoid", choices=ACTIVATIONS)

    def network(self, channels: int) -> Sequential:
        """What computes the gates: ``(batch, *spatial, channels)`` to ``(batch, channels)``."""
        hidden = Dense(max(1, channels // self.reduction), self.activation)
        return Sequential((GlobalAveragePool(), hidden, Dense(channels, self.gate)))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape = image_shape("SqueezeExcite", in_shape)
        params, state, _ = self.network(shape[-1]).init(key, shape)
        return params, state, shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        gates, _ = self.network(x.shape[-1]).apply(params, state, x, train=train)
        # the gates as (batch, 1, …, channels)
        return x * repeated(gates.reshape(x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]), x.shape), state

    def flops(self, in_shape: Shape) -> int:
        shape = image_shape("SqueezeExcite", in_shape)
        return (self.network(shape[-1]).flops(shape) or 0) + size(shape)
