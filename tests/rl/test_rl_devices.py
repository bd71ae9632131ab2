"""One agent whose environments, or games, are divided among devices learns what it does on one."""

import jax
import numpy as np
import pytest

from danlu import rl
from danlu.engine import LambdaCallback
from danlu.errors import ConfigError
from danlu.rl.games import AlphaZero

AGENTS = {
    "ppo": (rl.PPO(environments=4, n_steps=16, n_epochs=2, minibatches=2, hidden=(16,)), "CartPole-v1"),
    "dqn": (rl.DQN(environments=2, batch_size=16, learning_starts=32, hidden=(16,)), "CartPole-v1"),
    "alphazero": (
        AlphaZero(environments=8, simulations=4, n_steps=4, minibatches=1, batch_size=16, channels=4, blocks=1),
        "tic_tac_toe",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_environments_are_divided_and_nothing_else_changes(name):
    agent, env = AGENTS[name]
    found = []
    for devices in (1, 2):
        watch, lies = LambdaCallback(), []
        watch.on_train_end = lambda logs, watch=watch, lies=lies: lies.extend(
            leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(watch.training.state.world)
        )
        settings = {"steps": 256, "evaluations": 1, "episodes": 2, "display": "none", "callbacks": [watch]}
        found.append(rl.fit(agent, env, devices=devices, **settings).fitted.params)
    assert not all(lies)
    if name == "alphazero":  # each device turns its own rows of a batch
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found[1]))
        return
    for one, two in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (rl.PPO(environments=3, n_steps=16), "3 environments cannot be divided among 2 devices"),
        (rl.PPO(environments=2, n_steps=5, minibatches=2), "an update of 5 rows cannot be divided"),
    ],
)
def test_what_cannot_be_divided_is_refused(agent, said):
    with pytest.raises(ConfigError, match=said):
        rl.fit(agent, "CartPole-v1", steps=64, devices=2, display="none")
