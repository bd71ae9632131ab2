"""What is made small when a policy is learnt from a log."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.nn.activations import log_softmax, softmax, softplus
from danlu.nn.losses import Loss
from danlu.nn.losses.align import per_example

__all__ = ["LoggedReward", "PolicyValue", "robust_scores"]


class LoggedReward(Loss):
    """The error of a model of rewards at the action that was done, and, where asked for, of one of what is done.

    ``(q(x, a) − r)²``, or ``−r·log σ(z) − (1 − r)·log(1 − σ(z))`` with ``q = σ(z)`` where rewards are between 0 and 1; and
    ``−log μ(a | x)``. What other actions would have brought is not known, and no gradient reaches them.

    Args:
        actions: how many there are.
        share: whether rewards are between 0 and 1.
        logging: whether the outputs have the logits of ``μ`` beside the rewards.

    Targets are ``{"action", "reward"}``, ``(batch,)`` each; outputs ``(batch, members…, actions)``, twice as many with ``logging``.

    Reference: the "direct method" of Beygelzimer & Langford (2009), KDD; propensities from the same network: Shi, Blei & Veitch (2019),
    "Adapting neural networks for the estimation of treatment effects", NeurIPS.

    >>> LoggedReward(2)(jnp.array([[1.0, 5.0]]), {"action": jnp.array([0]), "reward": jnp.array([3.0])}).tolist()
    [4.0]
    """

    actions: int = setting(minimum=1, integer=True)
    share: bool = False
    logging: bool = False

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        done = jax.nn.one_hot(targets["action"], self.actions, dtype=outputs.dtype)
        between = (slice(None), *(None,) * (outputs.ndim - 2))
        reward = jnp.asarray(targets["reward"], outputs.dtype)[between]
        z = (outputs[..., : self.actions] * done[between]).sum(-1)  # (batch, members…)
        values = reward * softplus(-z) + (1 - reward) * softplus(z) if self.share else jnp.square(z - reward)
        if self.logging:
            values = values - (log_softmax(outputs[..., self.actions :]) * done[between]).sum(-1)
        return per_example(values)


class PolicyValue(Loss):
    """``−Σ_a π(a | x)·(s_a − τ·log π(a | x))`` with ``π = softmax(outputs)`` and a score ``s`` of each action: minus the policy's value.

    With the scores of :func:`robust_scores` its mean over the rows is, for ``τ = 0``, the doubly robust estimate of ``−V(π)``; with
    ``q = 0`` that of IPS. It is linear in π: a network that can tell the rows apart soon learns the noise of single scores by heart. The
    entropy keeps it from that: the best π is then ``softmax(E[s | x]/τ)``, whose likeliest action is the same.

    Args:
        entropy: τ.

    Targets are the scores, ``(batch, actions)``; outputs ``(batch, members…, actions)``.

    Reference: Dudík, Langford & Li (2011), "Doubly robust policy evaluation and learning", ICML; Athey & Wager (2021), "Policy learning
    with observational data", Econometrica 89.

    >>> PolicyValue()(jnp.zeros((1, 2)), jnp.array([[1.0, 3.0]])).tolist()
    [-2.0]
    """

    entropy: float = setting(default=0.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        scores = jnp.asarray(targets, outputs.dtype)[(slice(None), *(None,) * (outputs.ndim - 2))]
        return per_example(-(softmax(outputs) * (scores - self.entropy * log_softmax(outputs))).sum(-1))


def robust_scores(
    action: np.ndarray, reward: np.ndarray, propensity: np.ndarray, values: np.ndarray, *, most: float = np.inf
) -> np.ndarray:
    """``s_a = q(x, a) + 1[a was done]·(r − q(x, a))/p``, ``(rows, actions)``: what each action is worth, right on average.

    Args:
        values: ``q``, ``(rows, actions)``; zeros give the scores of IPS.
        most: ``1/p`` counts as this much at most, which makes them less noisy and no longer right on average.

    >>> robust_scores(np.array([1]), np.array([1.0]), np.array([0.25]), np.array([[0.5, 0.5]])).tolist()
    [[0.5, 2.5]]
    """
    found = np.array(values, np.float64)
    rows = np.arange(len(action))
    found[rows, action] += np.minimum(1 / propensity, most) * (reward - found[rows, action])
    return found
