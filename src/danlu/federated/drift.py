"""Against clients that drift apart: a pull towards where the round began, and corrections by control variates."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from danlu.engine.gradient import Around, Finished, Gradient
from danlu.engine.objective import Objective, Sums
from danlu.engine.state import TrainState

__all__ = ["PROXIMAL", "Drift"]

PROXIMAL = "proximal"
"""The name of μ among the state's weights."""


class Drift(Around):
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

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Any:
        return self.inner(objective, self._within(state), batch, key)

    def carried(self, key: jax.Array) -> dict[str, Any]:
        return {"inner": self.inner.carried(key)}

    def with_start(self, carried: dict[str, Any], start: Any, shift: Any) -> dict[str, Any]:
        """What a client's steps carry: θ₀ of the round and c − cᵢ, where they are needed, beside what the gradient itself does."""
        return {**carried, "start": start if self.proximal else None, "shift": shift}

    def finish(self, state: TrainState, grads: Any, sums: Sums, key: jax.Array) -> Finished:
        found = self.inner.finish(self._within(state), grads, sums, key)
        grads, held = found.grads, state.world
        if self.proximal:
            mu = state.weights[PROXIMAL]
            grads = jax.tree.map(lambda g, p, s: g + (mu * (p - s)).astype(g.dtype), grads, state.params, held["start"])
        if self.scaffold:
            grads = jax.tree.map(lambda g, c: g + c.astype(g.dtype), grads, held["shift"])
        return found._replace(grads=grads, carried={**held, "inner": found.carried})

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        return self.inner.values(objective, self._within(state), batch, key)

    @staticmethod
    def _within(state: TrainState) -> TrainState:
        """The state as the gradient itself knows it."""
        return dataclasses.replace(state, world=state.world["inner"])
