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

_SURELY = 30.0  # the logit of what is always looked at


class LoggedReward(Loss):
    """The error of a model of rewards at the action that was done, and, where asked for, of one of what is done.

    ``(q(x, a) − r)²``, or ``−r·log σ(z) − (1 − r)·log(1 − σ(z))`` with ``q = σ(z)`` where rewards are between 0 and 1; and
    ``−log μ(a | x)``. What other actions would have brought is not known, and no gradient reaches them.

    Of a page of several places ``q(x, j, a) = σ(u_j)·q(x, a)``: place ``j`` is looked at, by a share of those who look at the first, and
    the item is liked (the position-based model). The value is the mean over the places that the page has.

    Args:
        actions: how many there are.
        share: whether rewards are between 0 and 1.
        logging: whether the outputs have the logits of ``μ`` beside the rewards, of pages those of each place.
        places: of a page.
        offset: what rewards were moved by: with ``r' = r/s − m``, ``m``, as a place that is not looked at brings 0 and not the mean.

    Targets are ``{"action", "reward"}``, ``(batch,)`` or ``(batch, places)`` each; outputs ``(batch, members…, actions)``, then ``u``,
    ``places − 1`` numbers, and with ``logging`` ``places·actions`` more.

    Reference: the "direct method" of Beygelzimer & Langford (2009), KDD; propensities from the same network: Shi, Blei & Veitch (2019),
    "Adapting neural networks for the estimation of treatment effects", NeurIPS; pages: Craswell, Zoeter, Taylor & Ramsey (2008), "An
    experimental comparison of click position-bias models", WSDM.

    >>> LoggedReward(2)(jnp.array([[1.0, 5.0]]), {"action": jnp.array([0]), "reward": jnp.array([3.0])}).tolist()
    [4.0]
    """

    actions: int = setting(minimum=1, integer=True)
    share: bool = False
    logging: bool = False
    places: int = setting(default=1, minimum=1, integer=True)
    offset: float = 0.0

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        if self.places > 1:
            return self._of_pages(outputs, targets)
        done = jax.nn.one_hot(targets["action"], self.actions, dtype=outputs.dtype)
        between = (slice(None), *(None,) * (outputs.ndim - 2))
        reward = jnp.asarray(targets["reward"], outputs.dtype)[between]
        z = (outputs[..., : self.actions] * done[between]).sum(-1)  # (batch, members…)
        values = reward * softplus(-z) + (1 - reward) * softplus(z) if self.share else jnp.square(z - reward)
        if self.logging:
            values = values - (log_softmax(outputs[..., self.actions :]) * done[between]).sum(-1)
        return per_example(values)

    def _of_pages(self, outputs: Any, targets: Any) -> jax.Array:
        count, between = self.actions, (slice(None), *(None,) * (outputs.ndim - 2))
        done = jax.nn.one_hot(targets["action"], count, dtype=outputs.dtype)[between]  # (batch, 1…, places, actions)
        reward = jnp.asarray(targets["reward"], outputs.dtype)[between]  # (batch, 1…, places)
        z = (outputs[..., None, :count] * done).sum(-1)  # (batch, members…, places)
        u = outputs[..., count : count + self.places - 1]
        u = jnp.concatenate([jnp.full_like(u[..., :1], _SURELY), u], axis=-1)
        if self.share:
            seen = softplus(-z) + softplus(-u)  # −log q
            missed = seen - jax.nn.logsumexp(jnp.stack([-z, -u, -z - u]), axis=0)  # −log(1 − q)
            values = reward * seen + (1 - reward) * missed
        else:
            values = jnp.square(jax.nn.sigmoid(u) * (z + self.offset) - self.offset - reward)
        if self.logging:
            logits = outputs[..., count + self.places - 1 :]
            shape = (*logits.shape[:-1], self.places, count)
            values = values - (log_softmax(logits.reshape(shape)) * done).sum(-1)  # (batch, members…, places)
        there = done.sum(-1)
        return per_example((values * there).sum(-1) / jnp.maximum(there.sum(-1), 1))


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
