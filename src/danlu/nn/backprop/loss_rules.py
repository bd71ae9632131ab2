"""Where the error signal starts: the derivative of each loss with respect to the outputs, by formula.

Let ``vᵢ`` be example ``i``'s loss, the mean over its ``P`` positions (members, outputs). Each rule gives ``P·∂vᵢ/∂ŷ``;
:func:`loss_backward` divides by ``P`` and applies the weights of the mean over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.activations import log_softmax, sigmoid, softmax, softplus
from danlu.nn.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
    ForecastLoss,
    HalfMSE,
    Huber,
    Pinball,
    TokenCrossEntropy,
)
from danlu.nn.losses.align import align_values, labels_to_probabilities
from danlu.nn.losses.classification import log_not
from danlu.nn.losses.tokens import IGNORED, checked_tokens

__all__ = ["BINARY_AND_VALUE_RULES", "CLASS_RULES", "HEAD_RULES", "loss_backward"]

Rule = Callable[[Any, jax.Array, jax.Array], jax.Array]


def _binary_cross_entropy(loss: BinaryCrossEntropy, z: jax.Array, y: jax.Array) -> jax.Array:
    """``σ(z) − y``: the sigmoid's derivative cancels the logarithm's."""
    return sigmoid(z) - ((1 - loss.label_smoothing) * y + loss.label_smoothing / 2)


def _binary_focal(loss: BinaryFocal, z: jax.Array, y: jax.Array) -> jax.Array:
    """With ``p = σ(z)``: ``−α·y·(1−p)^γ·(γ·p·softplus(−z) + 1−p) + (1−α)·(1−y)·p^γ·(γ·(1−p)·softplus(z) + p)``."""
    one, zero = (1.0, 1.0) if loss.alpha is None else (loss.alpha, 1 - loss.alpha)
    p, q = sigmoid(z), sigmoid(-z)
    positive = -jnp.exp(-loss.gamma * softplus(z)) * (loss.gamma * p * softplus(-z) + q)
    negative = jnp.exp(-loss.gamma * softplus(-z)) * (loss.gamma * q * softplus(z) + p)
    return one * y * positive + zero * (1 - y) * negative


BINARY_AND_VALUE_RULES: Mapping[type, Rule] = MappingProxyType(
    {
        MSE: lambda loss, z, y: 2 * (z - y),
        HalfMSE: lambda loss, z, y: z - y,
        MAE: lambda loss, z, y: jnp.sign(z - y),
        Huber: lambda loss, z, y: jnp.clip(z - y, -loss.delta, loss.delta),
        BinaryCrossEntropy: _binary_cross_entropy,
        BinaryFocal: _binary_focal,
    }
)
"""Losses that compare number with number."""


def _categorical_cross_entropy(loss: CategoricalCrossEntropy, z: jax.Array, y: jax.Array) -> jax.Array:
    """``softmax(z)·Σ_c y_c − y``; ``Σ_c y_c`` is 1 for probabilities."""
    return softmax(z) * jnp.sum(y, axis=-1, keepdims=True) - y


def _categorical_focal(loss: CategoricalFocal, z: jax.Array, y: jax.Array) -> jax.Array:
    """Through ``l = log p``: ``g_c = −y_c·((1−p_c)^γ − γ·p_c·(1−p_c)^(γ−1)·l_c)``, then ``∂/∂z = g − p·Σ_c g_c``."""
    log_p = log_softmax(z)
    p, rest = jnp.exp(log_p), log_not(log_p)
    g = -y * (jnp.exp(loss.gamma * rest) - loss.gamma * p * jnp.exp((loss.gamma - 1) * rest) * log_p)
    return g - p * jnp.sum(g, axis=-1, keepdims=True)


CLASS_RULES: Mapping[type, Rule] = MappingProxyType(
    {CategoricalCrossEntropy: _categorical_cross_entropy, CategoricalFocal: _categorical_focal}
)
"""Losses over classes."""


HEAD_RULES: Mapping[type, Rule] = MappingProxyType(
    {ForecastLoss: lambda loss, z, y: loss.slope(z, y), Pinball: lambda loss, z, y: loss.slope(z, y)}
)
"""Losses of several outputs for one target."""


def _token_cross_entropy(loss: Any, outputs: Any, targets: Any, shares: jax.Array) -> jax.Array:
    """``share·(softmax(z) − (1 − α)·onehot(y) − α/classes)/counted`` where a position counts, else 0."""
    z, y = checked_tokens(outputs, targets)
    counted = (y != IGNORED)[..., None]
    wanted = (y[..., None] == jnp.arange(z.shape[-1])[None, None]).astype(z.dtype)
    slope = softmax(z) - (1 - loss.label_smoothing) * wanted - loss.label_smoothing / z.shape[-1]
    each = shares[:, None, None].astype(z.dtype) / jnp.maximum(jnp.sum(counted, axis=1, keepdims=True), 1)
    return jnp.where(counted & (each != 0), each.astype(z.dtype) * slope, 0)


def loss_backward(loss: Any, outputs: Any, targets: Any, shares: jax.Array) -> tuple[Any, str]:
    """``∂L/∂outputs`` for ``L = Σᵢ shareᵢ·vᵢ``.

    Args:
        loss: a loss of danlu's, or any ``loss(outputs, targets) -> (batch,)`` (differentiated by ``jax.vjp``).
        outputs, targets: as the loss takes them.
        shares: ``(batch,)``, each example's weight divided by the sum of the weights.

    Returns:
        The error signal, with the shape of ``outputs``, and ``"formula"`` or ``"vjp"``.
    """
    kind = type(loss)
    if kind in BINARY_AND_VALUE_RULES:
        z, y = align_values(kind.__name__, outputs, targets)
        slope, positions = BINARY_AND_VALUE_RULES[kind](loss, z, y), math.prod(z.shape[1:])
    elif kind in CLASS_RULES:
        smoothing = getattr(loss, "label_smoothing", 0.0)
        z, y, _ = labels_to_probabilities(kind.__name__, outputs, targets, label_smoothing=smoothing)
        slope, positions = CLASS_RULES[kind](loss, z, y), math.prod(z.shape[1:-1])
    elif kind in HEAD_RULES:
        slope = z = HEAD_RULES[kind](loss, outputs, targets)
        positions = math.prod(z.shape[1:])
    elif kind is TokenCrossEntropy:
        return _token_cross_entropy(loss, outputs, targets, shares), "formula"
    else:
        return jax.vjp(lambda o: loss(o, targets), outputs)[1](shares)[0], "vjp"
    # (batch, 1, …), as many axes as z
    shares = (shares / positions).reshape(shares.shape + (1,) * (z.ndim - 1)).astype(z.dtype)
    # A share of 0 is 0 whatever the slope is: a padding row may hold a label that does not exist.
    return jnp.where(shares == 0, jnp.zeros_like(slope), shares * slope), "formula"
