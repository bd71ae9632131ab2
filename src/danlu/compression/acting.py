"""The compression of an agent: what is left of its network is trained to answer as before, on what the agent meets."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.compression.bench import Bench
from danlu.compression.technique import Technique
from danlu.engine import predict_outputs
from danlu.engine.objective import Objective, Sums
from danlu.nn.layer import Layer
from danlu.rl.evaluation import collect_transitions
from danlu.rl.fit import LearnedAgent
from danlu.tasks.recipe import Recipe
from danlu.trained import Trained

__all__ = ["AsBefore", "acted"]

_STEPS, _SIDE_BY_SIDE = 512, 16
_HELD = 8  # one observation of so many judges


class AsBefore(Objective):
    """The squared distance of a network's outputs to those that stand beside the rows, of each output in units of its spread.

    Args:
        model: the network.
    """

    model: Layer

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, Sums]:
        outputs, after = self.model.apply(params, state, batch["x"], train=train, key=key)
        given, wanted = jax.tree.leaves(outputs), jax.tree.leaves(batch["y"])
        parts = [jnp.square(a - b).reshape(a.shape[0], -1).mean(axis=1) for a, b in zip(given, wanted, strict=True)]
        return sum(parts, start=jnp.zeros(())), after, {}


def acted(before: Trained, techniques: tuple[Technique, ...], *, seed: int, **how: Any) -> tuple[LearnedAgent, Bench]:
    """The agent with a compressed network.

    Args:
        before: the agent.
        techniques: what is done with its network.
        seed: of the episodes that it meets the observations in.
        **how: ``callbacks`` and ``display``, for :func:`danlu.fit`.
    """
    head: Any = before.head
    start = before.network, before.params, before.state
    met = collect_transitions(
        head.agent, head.env, before.params, before.state, steps=_STEPS, environments=_SIDE_BY_SIDE, seed=seed
    )
    seen = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), met.observation)
    answers = predict_outputs(*start, seen)
    count = len(jax.tree.leaves(answers)[0])
    held = np.arange(count) % _HELD == 0
    parts = [jax.tree.map(lambda leaf, own=own: leaf[own], (seen, answers)) for own in (~held, held)]
    choices: dict[str, Any] = {"batch_size": 256, "epochs": 15, "learning_rate": 3e-3}
    plan = Recipe(model=before.network, loss="mse", **choices)
    bench = Bench.of(plan, start, techniques)
    fitted = bench.fit(
        parts[0], rows=int((~held).sum()), validation=parts[1], loss=AsBefore(before.network), seed=seed, **how
    )
    model = dataclasses.replace(before, network=fitted.model, params=fitted.params, state=fitted.state)
    return LearnedAgent(model, fitted), bench
