"""Against clients that drift apart: a pull towards where the round began, and corrections by control variates."""

from __future__ import annotations

from typing import Any

import jax

from danlu.engine.gradient import Gradient
from danlu.engine.objective import Objective, Sums
from danlu.engine.state import TrainState

__all__ = ["PROXIMAL", "Drift"]

PROXIMAL = "proximal"
"""The name of μ among the state's weights."""


class Drift(Gradient):
    """The gradient of a client, with what keeps it near the others.

    To the gradient of the mean are added the pull of FedProx and the correction of SCAFFOLD, where they are:

        g  ←  g + μ·(θ − θ₀) + (c − cᵢ)

    with θ₀ the parameters that the round began with, c the control variate of all and cᵢ of this client, which are what the gradients of
    all and of this client have been of late.

    Args:
        inner: how the gradient itself is taken.
        proximal: whether there is the pull; μ is ``state.weights["proximal"]``.
        scaffold: whether there is the correction.

    References:
        Li et al. (2020), Federated optimization in heterogeneous networks (FedProx), algorithm 2.
        Karimireddy et al. (2020), SCAFFOLD: stochastic controlled averaging for federated learning, algorithm 1.
    """

    inner: Gradient
    proximal: bool = False
    scaffold: bool = False

    @property
    def cuts(self) -> int:
        return self.inner.cuts

    @property
    def whole(self) -> bool:
        return self.inner.whole

    @property
    def shared(self) -> bool:
        return self.inner.shared

    @staticmethod
    def given(gradient: Gradient, start: Any, shift: Any) -> dict[str, Any] | None:
        """What a client's steps carry in ``state.world``: θ₀ of the round and c − cᵢ, where they are needed."""
        if not isinstance(gradient, Drift):
            return None
        return {"start": start if gradient.proximal else None, "shift": shift}

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Any:
        grads, model_state, sums = self.inner(objective, state, batch, key)
        weight = sums["weight"]  # the gradient is that of a sum over so many rows
        if self.proximal:
            mu = state.weights[PROXIMAL]
            grads = jax.tree.map(
                lambda g, p, s: g + (weight * mu * (p - s)).astype(g.dtype), grads, state.params, state.world["start"]
            )
        if self.scaffold:
            grads = jax.tree.map(lambda g, c: g + (weight * c).astype(g.dtype), grads, state.world["shift"])
        return grads, model_state, sums

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        return self.inner.values(objective, state, batch, key)

    def observe(self, grads: Any, updates: Any) -> Sums:
        return self.inner.observe(grads, updates)
