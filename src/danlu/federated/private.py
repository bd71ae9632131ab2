"""Differential privacy of whole clients: what a client may change is bounded, and noise hides whether it took part.

Of the change ``Δᵢ`` of client i the server takes, with a bound ``C`` and a noise multiplier ``z``,

    d = (Σ_S Δᵢ·min(1, C/‖Δᵢ‖) + N(0, z²C²)) / (q·n)

where each of the ``n`` clients is in S by a draw of its own with probability ``q``. Where clients do not trust the server, each adds noise
of ``z·C`` to its own change before it sends it, and the server sees each.

Reference:
    McMahan et al. (2018), Learning differentially private recurrent language models, algorithm 1.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.privacy import Ledger

__all__ = ["Private", "clipped", "noisy", "room_for"]

_NOISE = 2**32 - 3  # folded into a key; the steps of a client count from 0
_SIGMAS = 6.5  # a round has room for so many standard deviations of clients beyond the mean


class Private(Blueprint):
    """Privacy of whole clients, each with all its rows.

    Args:
        noise: the noise multiplier z.
        clip: C, the largest norm of a client's change.
        local: whether each client adds the noise itself, so that the server need not be trusted.
    """

    noise: float = setting(minimum=0)
    clip: float = setting(default=1.0, above=0)
    local: bool = False

    def ledger(self, rounds: int, *, clients: int, per_round: int) -> Ledger:
        """What so many rounds spend, of each client.

        Args:
            clients: how many there are.
            per_round: how many take part in a round, in the mean.

        Example:
            >>> central = Private(noise=1.0).ledger(100, clients=1000, per_round=50)
            >>> local = Private(noise=1.0, local=True).ledger(100, clients=1000, per_round=50)
            >>> central.epsilon(1e-5, by="rdp") < 5 < 90 < local.epsilon(1e-5, by="rdp")
            True
        """
        rate = per_round / clients
        if self.local:  # who takes part is seen by the server, so the draw hides nothing
            return Ledger(unit="client").with_steps("changes of a client", noise=self.noise, steps=rounds)
        return Ledger(unit="client").with_steps(
            "sums of changes", noise=self.noise, steps=rounds, sampling=rate, failure=_beyond(clients, rate)
        )


def room_for(clients: int, per_round: int) -> int:
    """The most clients that a round has room for, of which each takes part by a draw of its own.

    >>> room_for(1000, 50), room_for(20, 20)
    (96, 20)
    """
    rate = per_round / clients
    return min(clients, math.ceil(per_round + _SIGMAS * math.sqrt(per_round * (1 - rate))) + (rate < 1))


def _beyond(clients: int, rate: float) -> float:
    """The probability that more clients are drawn than a round has room for."""
    room = room_for(clients, round(rate * clients))
    if room >= clients:
        return 0.0
    from scipy.stats import binom

    return float(binom.sf(room, clients, rate))


def clipped(moved: Any, clip: jax.Array) -> Any:
    """Each client's change, ``(clients, …)`` of each array, with a norm of at most ``clip``; NaN counts as nothing.

    >>> bounded = clipped({"w": jnp.array([[3.0, 4.0], [0.3, 0.4]])}, jnp.float32(1.0))["w"]
    >>> bool(jnp.allclose(bounded, jnp.array([[0.6, 0.8], [0.3, 0.4]])))
    True
    """
    norm = jax.vmap(lambda tree: jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree))))(moved)
    scale = jnp.where(jnp.isfinite(norm), jnp.minimum(1, clip / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny)), 0)

    def scaled(leaf: jax.Array) -> jax.Array:
        own = scale.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype)  # (clients,) to (clients, 1, …)
        return jnp.where(own > 0, own * leaf, jnp.zeros_like(leaf))

    return jax.tree.map(scaled, moved)


def noisy(tree: Any, key: jax.Array, size: jax.Array) -> Any:
    """``tree`` with Gaussian noise of the standard deviation ``size`` in every number."""
    leaves, form = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.fold_in(key, _NOISE), len(leaves))
    return jax.tree.unflatten(
        form,
        [
            leaf + (size * jax.random.normal(own, leaf.shape)).astype(leaf.dtype)
            for own, leaf in zip(keys, leaves, strict=True)
        ],
    )
