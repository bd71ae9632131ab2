"""Losses for numbers. Outputs ``ŷ`` and targets ``y`` are of the same unit; several outputs are averaged."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn.losses.align import align_values, per_example
from danlu.nn.losses.base import Loss

__all__ = ["MAE", "MSE", "HalfMSE", "Huber"]


class MSE(Loss):
    """The squared error ``(ŷ − y)²``; ``∂/∂ŷ = 2·(ŷ − y)``.

    >>> MSE()(jnp.array([[3.0]]), jnp.array([1.0])).tolist()
    [4.0]
    """

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, targets = align_values("MSE", outputs, targets)
        return per_example(jnp.square(outputs - targets))


class HalfMSE(Loss):
    """Half the squared error ``½·(ŷ − y)²``, whose derivative ``∂/∂ŷ = ŷ − y`` has no factor.

    Textbooks differ in whether "the squared error" means this one; a learning rate that suits one is twice or half
    that which suits the other.
    """

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, targets = align_values("HalfMSE", outputs, targets)
        return 0.5 * per_example(jnp.square(outputs - targets))


class MAE(Loss):
    """The absolute error ``|ŷ − y|``; ``∂/∂ŷ = sign(ŷ − y)``, 0 where they are equal."""

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, targets = align_values("MAE", outputs, targets)
        error = outputs - targets
        # Not jnp.abs: its derivative at 0 is 1.
        return per_example(error * jnp.sign(error))


class Huber(Loss):
    """Squared near 0, linear beyond: with ``e = ŷ − y``, ``½·e²`` if ``|e| ≤ δ``, else ``δ·(|e| − ½·δ)``.

    ``∂/∂ŷ = clip(e, −δ, δ)``.

    Args:
        delta: ``δ``, where it becomes linear, in the unit of the targets.

    Reference: Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35.
    """

    delta: float = setting(default=1.0, above=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, targets = align_values("Huber", outputs, targets)
        error = outputs - targets
        # With q = clip(e, −δ, δ) both branches are q·(e − q/2), and neither is ever squared out of range.
        clipped = jnp.clip(error, -self.delta, self.delta)
        return per_example(clipped * error - 0.5 * jnp.square(clipped))
