"""MAML on sine waves: weights from which one step of gradient descent on ten points draws a new wave.

The loss of a task is that *after* a step on its support points; its gradient goes through the step::

    min_θ Σ_tasks L_query(θ − α·∇L_support(θ))

A task is a row of the batch. The inner training is an ordinary program, unrolled inside the objective of the outer one.

Reference: Finn, Abbeel & Levine, "Model-agnostic meta-learning" (2017), section 5.1 (amplitudes 0.1 to 5, phases 0 to π).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import danlu
from danlu import nn, optim
from danlu.engine import Objective, Program, TrainState, unrolled

NETWORK, POINTS, INNER = nn.MLP((40, 40), 1, activation="tanh"), 10, optim.sgd(0.02)


class AfterSteps(Objective):
    """The loss of each task's query points after ``steps`` steps of the inner program on its support points."""

    inner: Any
    steps: int = 1

    def __call__(self, params: Any, state: Any, batch: Any, key: jax.Array, *, train: bool) -> Any:
        def after(x: Any, y: Any) -> jax.Array:
            begun = TrainState(jnp.int32(0), key, params, state, INNER.init(params), {})
            support = {"x": x[:POINTS], "y": y[:POINTS], "weight": jnp.ones(POINTS)}
            many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.steps, *leaf.shape)), support)
            learnt, _ = unrolled(self.inner, begun, many)
            return jnp.mean(jnp.square(NETWORK.apply(learnt.params, state, x[POINTS:])[0][:, 0] - y[POINTS:]))

        return jax.vmap(after)(batch["x"], batch["y"]), state, {}


def make_tasks(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points ``(count, 2·POINTS, 1)`` and the values of a wave each, for support and query."""
    rng = np.random.default_rng(seed)
    height, phase = rng.uniform(0.1, 5, (count, 1)), rng.uniform(0, np.pi, (count, 1))
    x = rng.uniform(-5, 5, (count, 2 * POINTS))
    return x[..., None].astype(np.float32), (height * np.sin(x - phase)).astype(np.float32)


def learn(epochs: int = 30, steps: int = 1) -> danlu.Fitted:
    """Meta-train on 2,000 waves; 200 others judge. With ``steps=0`` the mean wave is learnt."""
    program = Program.of(NETWORK, nn.get_loss("mse"), INNER.update)
    settings: Any = {"batch_size": 25, "epochs": epochs, "learning_rate": 2e-3, "display": "none"}
    return danlu.fit(
        NETWORK, make_tasks(2000, 0), loss=AfterSteps(program, steps), validation=make_tasks(200, 1), **settings
    )


if __name__ == "__main__":
    for steps in (0, 1):
        print(f"trained for {steps} steps: squared error {learn(steps=steps).history[-1]['val_loss']:.2f} after them")
