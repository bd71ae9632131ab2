"""The loss of a network that learns what another one answers: soft targets."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn.activations import log_softmax, softmax, softplus
from danlu.nn.losses.align import align_values, labels_to_probabilities, per_example
from danlu.nn.losses.base import Loss

__all__ = ["SoftTargets"]


class SoftTargets(Loss):
    """``T²·KL(q ‖ p)`` with ``q = softmax(t/T)`` of the teacher's logits ``t`` and ``p = softmax(z/T)``; ``∂/∂z = T·(p − q)``.

    A temperature above 1 shows how alike the teacher thinks the wrong classes are, which a sure answer hides. Its gradient is smaller by
    1/T²; the factor makes up for it, so that its share beside the loss of the labels does not depend on T. At T = 1 it is the
    cross-entropy with the teacher's probabilities, less their entropy. The logarithms of probabilities do for logits.

    Args:
        temperature: T > 0.
        binary: whether each logit is one of its own, ``σ`` in place of the softmax: several labels a row, or one logit of two classes.

    Outputs are the student's logits ``(batch, ..., classes)``, with axes of members or not; targets the teacher's, as the outputs or
    ``(batch, classes)``.

    Reference: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network" (2015), arXiv:1503.02531, section 2.

    >>> SoftTargets(1.0)(jnp.zeros((1, 2)), jnp.log(jnp.array([[0.25, 0.75]]))).round(4).tolist()  # ln 2 − 0.5623
    [0.1307...]
    """

    temperature: float = setting(default=2.0, above=0)
    binary: bool = False

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        T = self.temperature
        if self.binary:
            z, t = (each / T for each in align_values("SoftTargets", outputs, targets))
            q = jax.nn.sigmoid(t)
            # q·ln(σ(t)/σ(z)) + (1 − q)·ln(σ(−t)/σ(−z)), from logits
            values = q * (softplus(-z) - softplus(-t)) + (1 - q) * (softplus(z) - softplus(t))
            return T**2 * per_example(values)
        z, t, _ = labels_to_probabilities("SoftTargets", outputs, targets)
        return T**2 * per_example(jnp.sum(softmax(t / T) * (log_softmax(t / T) - log_softmax(z / T)), axis=-1))
