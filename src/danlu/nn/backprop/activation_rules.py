"""The chain rule through an activation: ``∂L/∂x = dy · f′(x)``, the formula of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from danlu.nn.activations import sigmoid

__all__ = ["ACTIVATION_RULES", "activation_backward"]

ActivationRule = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def _gelu(x: jax.Array, y: jax.Array) -> jax.Array:
    below = 0.5 * jax.lax.erfc(-x * math.sqrt(0.5))
    density = jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return below + x * density


def _gelu_tanh(x: jax.Array, y: jax.Array) -> jax.Array:
    c = math.sqrt(2 / math.pi)
    inner = jnp.clip(x, -10, 10)
    t = jnp.tanh(c * (inner + 0.044715 * inner**3))
    return 0.5 * (1 + t) + 0.5 * inner * (1 - t * t) * c * (1 + 3 * 0.044715 * inner**2)


def _silu(x: jax.Array, y: jax.Array) -> jax.Array:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


# f′ from the input x and the output y, elementwise: ∂L/∂x = dy · f′.
_DERIVATIVES: Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]] = MappingProxyType(
    {
        "elu": lambda x, y: jnp.where(x > 0, jnp.ones_like(x), y + 1),
        "gelu": _gelu,
        "gelu_tanh": _gelu_tanh,
        "identity": lambda x, y: jnp.ones_like(x),
        "leaky_relu": lambda x, y: jnp.where(x > 0, jnp.ones_like(x), 0.01 * jnp.ones_like(x)),
        "relu": lambda x, y: jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x)),
        "sigmoid": lambda x, y: y * (1 - y),
        "silu": _silu,
        "softplus": lambda x, y: sigmoid(x),
        "tanh": lambda x, y: 1 - y * y,
    }
)


def _elementwise(derivative: Callable[[jax.Array, jax.Array], jax.Array]) -> ActivationRule:
    def backward(x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
        return dy * derivative(x, y)

    return backward


def _softmax(x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
    """``∂L/∂xᵢ = Σⱼ dyⱼ·yⱼ·(δᵢⱼ − yᵢ) = yᵢ·(dyᵢ − Σⱼ dyⱼ·yⱼ)``."""
    return y * (dy - jnp.sum(dy * y, axis=-1, keepdims=True))


def _log_softmax(x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
    """``∂L/∂xᵢ = dyᵢ − softmax(x)ᵢ·Σⱼ dyⱼ``."""
    return dy - jnp.exp(y) * jnp.sum(dy, axis=-1, keepdims=True)


ACTIVATION_RULES: Mapping[str, ActivationRule] = MappingProxyType(
    {
        **{name: _elementwise(derivative) for name, derivative in _DERIVATIVES.items()},
        "log_softmax": _log_softmax,
        "softmax": _softmax,
    }
)
"""``∂L/∂x`` from ``(x, y, dy)`` for every activation."""


def activation_backward(name: str, x: jax.Array, y: jax.Array, dy: jax.Array) -> jax.Array:
    """``∂L/∂x`` of the activation called ``name``, from its input, its output and ``dy = ∂L/∂y``."""
    return ACTIVATION_RULES[name](x, y, dy)
