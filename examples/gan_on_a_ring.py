"""A generative adversarial network on a ring of eight Gaussians: two programs in turn on one state.

The critic D is to tell points of the ring from drawn ones, the generator G is to draw such that it cannot (the non-saturating game)::

    critic:     −log σ(D(x)) − log(1 − σ(D(G(z)))) + γ/2·|∇_x D(x)|²        generator:  −log σ(D(G(z)))

The penalty on the critic's slope at the data is what makes the game settle; without it modes are lost and found again.

Reference: Goodfellow et al. (2014), "Generative adversarial nets", section 3; Mescheder et al. (2018), arXiv:1801.04406 (R₁).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import nn, optim
from danlu.engine import Alternate, Fitted, Objective, Program, TrainState, train

CRITIC, GENERATOR, NOISE, STEADY = nn.MLP((64, 64), 1), nn.MLP((64, 64), 2), 4, ({}, {}, {})
CENTRES = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def draw(params: Any, key: jax.Array, count: int) -> jax.Array:
    """Points ``(count, 2)`` of the generator."""
    return GENERATOR.apply(params["generator"], STEADY, jax.random.normal(key, (count, NOISE)))[0]


class Critic(Objective):
    """How ill the critic tells points from drawn ones."""

    def __call__(self, params: Any, state: Any, batch: Any, key: jax.Array, *, train: bool) -> Any:
        score = lambda x: CRITIC.apply(params["critic"], STEADY, x)[0][:, 0]  # noqa: E731
        drawn = score(draw(params, key, len(batch["x"])))
        slope = jax.grad(lambda x: jnp.sum(score(x)))(batch["x"])
        told = jax.nn.softplus(-score(batch["x"])) + jax.nn.softplus(drawn)
        return {"told": told, "slope": jnp.sum(jnp.square(slope), axis=-1)}, state, {}


class Generator(Objective):
    """How well the critic tells drawn points."""

    def __call__(self, params: Any, state: Any, batch: Any, key: jax.Array, *, train: bool) -> Any:
        drawn = draw(params, key, len(batch["x"]))
        return jax.nn.softplus(-CRITIC.apply(params["critic"], STEADY, drawn)[0][:, 0]), state, {}


def learn(epochs: int = 100) -> Fitted:
    """Both in turn; an epoch is 20 batches."""
    rng = np.random.default_rng(0)
    x = (CENTRES[rng.integers(0, 8, 5120)] + 0.1 * rng.normal(size=(5120, 2))).astype(np.float32)
    optimizer, keys = optim.adam(1e-3, beta1=0.0, beta2=0.9), jax.random.split(jax.random.key(0))
    critic = Program(CRITIC, Critic(), optimizer.update, measures=("told", "slope"), batch_size=256)
    generator = Program(GENERATOR, Generator(), optimizer.update, batch_size=256)
    params = {"critic": CRITIC.init(keys[0], (2,))[0], "generator": GENERATOR.init(keys[1], (NOISE,))[0]}
    state = TrainState.start(params, (optimizer.init(params), optimizer.init(params)), weights={"slope": 0.5})
    both = Alternate(critic, generator, ("critic", "generator"))
    return train(both, (x, x), state, epochs=epochs, display="none")


def judge(fitted: Fitted) -> tuple[int, float]:
    """How many of the eight Gaussians are drawn, and the share of points within three deviations of one."""
    points = np.asarray(draw(fitted.params, jax.random.key(9), 2000))
    distance = np.linalg.norm(points[:, None] - CENTRES, axis=-1)
    near = distance.min(axis=1) < 0.3
    return int((np.bincount(distance.argmin(axis=1)[near], minlength=8) > 50).sum()), float(near.mean())


if __name__ == "__main__":
    for epochs in (10, 100):
        print("after {} epochs: {} of 8 Gaussians, {:.0%} of the points on one".format(epochs, *judge(learn(epochs))))
