"""Policies that remember: a sequence at once equals one step at a time, across episodes; and what only memory can learn."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import rl
from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.rl.environment import Environment, Outcome
from danlu.rl.recurrent import RecurrentPPO
from danlu.rl.spaces import Box, Discrete


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecallState:
    time: jax.Array
    cue: jax.Array


class Recall(Environment):
    """A cue is shown once; the last action must be the one that it named."""

    length: int = setting(default=4, minimum=1, integer=True)

    @property
    def observation_space(self) -> Box:
        return Box(-1.0, 1.0, (2,))

    @property
    def action_space(self) -> Discrete:
        return Discrete(2)

    def reset(self, key):
        cue = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        return RecallState(jnp.int32(0), cue), jnp.stack([cue, jnp.float32(0)])

    def step(self, state, action, key):
        time = state.time + 1
        over = time >= self.length
        right = jnp.where((action == 1) == (state.cue > 0), 1.0, -1.0)
        seen = jnp.stack([jnp.float32(0), jnp.where(time == self.length - 1, 1.0, 0.0)])
        return RecallState(time, state.cue), Outcome(seen, jnp.where(over, right, 0.0), over)


def test_a_sequence_at_once_is_one_step_at_a_time():
    agent = RecurrentPPO(environments=3, n_steps=10, minibatches=1, hidden=(5,), memory=4)
    env = agent.within(Recall())
    network = agent.network(env)
    params, state, shape = network.init(jax.random.key(0), agent.in_shape(env))
    assert shape == {"memory": (10, 4), "policy": (10, 2), "value": (10, 1)}

    @jax.jit
    def collected(key):
        train = type("S", (), {"params": params, "model_state": state})
        return agent.collect(env, train, env.begin(key, 3), key)[1]

    rollout = collected(jax.random.key(1))
    assert int(rollout.ended.sum()) == 6  # two whole episodes of each environment, and a part of the third
    targets = {"advantage": jnp.zeros((10, 3))}
    chunk = agent.rows(rollout, targets, jnp.ones((10, 3)))
    outputs, _ = jax.jit(network.apply)(params, state, chunk["x"])
    np.testing.assert_allclose(outputs["policy"], rollout.extra["numbers"].swapaxes(0, 1), atol=1e-5)
    np.testing.assert_allclose(outputs["memory"], rollout.action["memory"].swapaxes(0, 1), atol=1e-5)
    begun = np.asarray(rollout.observation["memory"])[1:][np.asarray(rollout.ended)[:-1]]
    assert begun.shape == (6, 4)
    assert not begun.any()  # an episode begins with nothing remembered
    assert np.asarray(rollout.next_observation["memory"])[np.asarray(rollout.ended)].any()  # and ends with what was


@pytest.mark.slow
def test_only_memory_learns_to_recall():
    settings = {"environments": 32, "n_steps": 32, "hidden": (16,)}
    common = {"steps": 30_000, "evaluations": 2, "episodes": 64, "display": "none"}
    forgetful = rl.fit(rl.PPO(**settings), Recall(), **common)
    mindful = rl.fit(RecurrentPPO(memory=16, **settings), Recall(), **common)
    assert mindful.play(episodes=64).returns.mean() == 1.0
    assert abs(forgetful.play(episodes=64).returns.mean()) < 0.5


def test_mistakes():
    with pytest.raises(ConfigError, match="divide the environments"):
        RecurrentPPO(environments=6, minibatches=4, n_steps=8)
