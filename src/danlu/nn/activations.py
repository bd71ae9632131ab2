"""Activation functions: pure, elementwise (softmax and log-softmax: along one axis), stable at any magnitude.

Value and derivative are finite for inputs of ±1e4, and the result has the input's floating type. Each docstring gives
the derivative; :mod:`danlu.nn.backprop` uses exactly these formulas when it walks a network backwards by hand.

A NaN stays a NaN (``relu(nan)`` is not 0), so that a diverging run is seen and not hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from danlu.names import Names
from danlu.nn._precision import widened

__all__ = [
    "ACTIVATIONS",
    "elu",
    "gelu",
    "gelu_tanh",
    "get_activation",
    "identity",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

ActivationFn = Callable[[jax.Array], jax.Array]


def identity(x: jax.Array) -> jax.Array:
    """``f(x) = x``; derivative 1."""
    return x


@jax.custom_jvp
def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function ``σ(x) = 1 / (1 + e⁻ˣ)``; derivative ``σ(x)·(1 − σ(x))``.

    The derivative is given by hand: that of the quotient would be ∞/∞ for large negative ``x``.

    >>> float(sigmoid(jnp.array(0.0)))
    0.5
    """
    return 1 / (1 + jnp.exp(-x))


@sigmoid.defjvp
def _sigmoid_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = sigmoid(primals[0])
    return y, tangents[0] * (y * (1 - y))


def tanh(x: jax.Array) -> jax.Array:
    """The hyperbolic tangent; derivative ``1 − tanh²(x)``."""
    return jnp.tanh(x)


def relu(x: jax.Array) -> jax.Array:
    """The rectifier ``max(x, 0)``; derivative 1 for ``x > 0``, else 0 (0 at the kink).

    Reference: Nair & Hinton (2010), "Rectified linear units improve restricted Boltzmann machines".

    >>> relu(jnp.array([-2.0, 0.0, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


def leaky_relu(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    """``x`` for ``x > 0``, else ``negative_slope·x``; derivative 1 for ``x > 0``, else ``negative_slope``.

    Reference: Maas, Hannun & Ng (2013), "Rectifier nonlinearities improve neural network acoustic models".
    """
    return jnp.where(x > 0, x, negative_slope * x)


def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """``x`` for ``x > 0``, else ``alpha·(eˣ − 1)``; derivative 1 for ``x > 0``, else ``alpha·eˣ = f(x) + alpha``.

    Reference: Clevert, Unterthiner & Hochreiter (2016), arXiv:1511.07289, eq. 16.
    """
    # exp sees no positive number: its overflow would turn the derivative of the branch not taken into 0·∞.
    negative = jnp.where(x > 0, jnp.zeros_like(x), x)
    return jnp.where(x > 0, x, alpha * jnp.expm1(negative))


def gelu(x: jax.Array) -> jax.Array:
    """The Gaussian error linear unit, exact: ``x·Φ(x)`` with ``Φ(x) = erfc(−x/√2)/2``.

    Derivative ``Φ(x) + x·φ(x)`` with ``φ(x) = e^(−x²/2)/√(2π)``.

    Reference: Hendrycks & Gimpel (2016), arXiv:1606.08415, section 2.
    """
    return 0.5 * x * jax.lax.erfc(-x * math.sqrt(0.5))


def gelu_tanh(x: jax.Array) -> jax.Array:
    """The tanh approximation of GELU: ``x·(1 + tanh u)/2`` with ``u = √(2/π)·(x + 0.044715·x³)``.

    Derivative ``(1 + tanh u)/2 + x·(1 − tanh² u)·√(2/π)·(1 + 3·0.044715·x²)/2``.

    Reference: Hendrycks & Gimpel (2016), arXiv:1606.08415, section 2. GPT-2 and BERT use this form.
    """
    # tanh is exactly ±1 long before |x| = 10; the clip keeps x³ finite in 16-bit types.
    inner = jnp.clip(x, -10, 10)
    return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner * inner * inner)))


def silu(x: jax.Array) -> jax.Array:
    """SiLU (also called swish): ``x·σ(x)``; derivative ``σ(x)·(1 + x·(1 − σ(x)))``.

    Reference: Elfwing, Uchibe & Doya (2018), arXiv:1702.03118; Ramachandran et al. (2017), arXiv:1710.05941.
    """
    return x * sigmoid(x)


@jax.custom_jvp
def softplus(x: jax.Array) -> jax.Array:
    """``log(1 + eˣ)``, computed as ``max(x, 0) + log(1 + e^(−|x|))``; derivative ``σ(x)``.

    The derivative is given by hand: those of ``max`` and ``|x|`` do not add up to ½ at 0, where logits often start.

    >>> round(float(softplus(jnp.array(0.0))), 6)
    0.693147
    """
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return softplus(primals[0]), tangents[0] * sigmoid(primals[0])


def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """``pᵢ = e^xᵢ / Σⱼ e^xⱼ`` along ``axis``; derivative ``∂pᵢ/∂xⱼ = pᵢ·(δᵢⱼ − pⱼ)``.

    The largest element is subtracted first; that changes neither value nor derivative.

    Args:
        x: logits (nats), any shape with at least one axis.
        axis: the axis that sums to 1.

    Returns:
        Probabilities, the shape and type of ``x``.
    """
    wide = widened(x)
    e = jnp.exp(wide - jax.lax.stop_gradient(jnp.max(wide, axis=axis, keepdims=True)))
    return (e / jnp.sum(e, axis=axis, keepdims=True)).astype(x.dtype)


def log_softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """``log softmax(x)`` along ``axis``, without ever taking the logarithm of 0; derivative ``δᵢⱼ − softmax(x)ⱼ``."""
    wide = widened(x)
    shifted = wide - jax.lax.stop_gradient(jnp.max(wide, axis=axis, keepdims=True))
    return (shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))).astype(x.dtype)


ACTIVATIONS: Names[ActivationFn] = Names(
    "activation",
    {
        "elu": elu,
        "gelu": gelu,
        "gelu_tanh": gelu_tanh,
        "identity": identity,
        "leaky_relu": leaky_relu,
        "log_softmax": log_softmax,
        "relu": relu,
        "sigmoid": sigmoid,
        "silu": silu,
        "softmax": softmax,
        "softplus": softplus,
        "tanh": tanh,
    },
    same={"swish": "silu", "linear": "identity", "none": "identity", "logistic": "sigmoid"},
)
"""Every activation by its name."""


def get_activation(name: str) -> ActivationFn:
    """The activation called ``name``.

    Raises:
        ConfigError: no such activation; the message offers the nearest name.

    >>> get_activation("relu") is relu
    True
    """
    return ACTIVATIONS.find(name)
