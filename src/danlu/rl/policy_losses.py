"""The losses of policies: minimising them makes good actions likelier.

Targets are rows of past steps: ``{"action", "log_prob", "advantage", "return"}``; outputs are
``{"policy": numbers of a distribution, "value": (batch, 1)}``. One value per row, as for every loss of danlu.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.nn.losses import Loss
from danlu.rl.distributions import Distribution

__all__ = ["PPOLoss", "PolicyGradientLoss", "entropy", "value_error"]


def value_error(outputs: Any, targets: Any) -> jax.Array:
    """``½(V(s) − G)²``, ``(batch,)``."""
    return 0.5 * jnp.square(outputs["value"][:, 0] - targets["return"])


class entropy(Blueprint):  # noqa: N801
    """The entropy of the policy for each row, in nats: ``entropy(distribution)(outputs, targets)``."""

    distribution: Distribution

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        return self.distribution.entropy(outputs["policy"])


class PolicyGradientLoss(Loss):
    """``−log π(a|s)·A + c_v·½(V(s) − G)² − c_e·H(π(·|s))``; its gradient is the policy gradient's estimate.

    Args:
        distribution: π.
        value_weight, entropy_weight: c_v and c_e.
    """

    distribution: Distribution
    value_weight: float = setting(default=0.5, minimum=0)
    entropy_weight: float = setting(default=0.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        log_prob = self.distribution.log_prob(outputs["policy"], targets["action"])
        spread = self.distribution.entropy(outputs["policy"])
        return (
            -log_prob * targets["advantage"]
            + self.value_weight * value_error(outputs, targets)
            - self.entropy_weight * spread
        )


class PPOLoss(Loss):
    """``−min(ρ·A, clip(ρ, 1 − ε, 1 + ε)·A) + c_v·½(V(s) − G)² − c_e·H(π(·|s))`` with ``ρ = exp(log π(a|s) − log π_old(a|s))``.

    Args:
        distribution: π.
        clip: ε.
        value_weight, entropy_weight: c_v and c_e.

    Reference: Schulman et al. (2017), arXiv:1707.06347, eqs. 7 and 9.

    Example:
        >>> from danlu.rl.distributions import Categorical
        >>> outputs = {"policy": jnp.zeros((1, 2)), "value": jnp.zeros((1, 1))}
        >>> targets = {"action": jnp.array([0]), "log_prob": jnp.log(jnp.array([0.25])), "advantage": jnp.ones(1), "return": jnp.zeros(1)}
        >>> PPOLoss(Categorical(2))(outputs, targets).tolist()  # ρ = 2 is cut at 1.2
        [-1.2000000476837158]
    """

    distribution: Distribution
    clip: float = setting(default=0.2, above=0, below=1)
    value_weight: float = setting(default=0.5, minimum=0)
    entropy_weight: float = setting(default=0.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        ratio = jnp.exp(self.distribution.log_prob(outputs["policy"], targets["action"]) - targets["log_prob"])
        advantage = targets["advantage"]
        near = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        spread = self.distribution.entropy(outputs["policy"])
        return (
            -jnp.minimum(ratio * advantage, near * advantage)
            + self.value_weight * value_error(outputs, targets)
            - self.entropy_weight * spread
        )
