"""Learning from a recording alone: what it shows is imitated, what it does not show is doubted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import rl
from danlu.nn import lift
from danlu.rl import Transition
from danlu.rl.actor_critic import ActorCritic
from danlu.rl.dataset import OfflineDataset
from danlu.rl.distributions import TanhGaussian
from danlu.rl.offline import ConservativeActorCriticLoss
from danlu.rl.spaces import Box

DISPLAY: dict[str, Any] = {"display": "none", "evaluations": 1, "episodes": 10}


def steady(seen: Any) -> Any:
    """A policy for CartPole that is good, not perfect: towards the side that the pole falls to."""
    return (seen[:, 2] + 0.5 * seen[:, 3] > 0).astype(jnp.int32)


@pytest.fixture(scope="module")
def recording() -> OfflineDataset:
    env = rl.make("CartPole-v1")

    def move(envs: Any, key: jax.Array) -> tuple[Any, Transition]:
        return env.advance(envs, steady(envs.observation), key)

    begun = env.begin(jax.random.key(0), 8)
    _, rows = jax.jit(lambda envs: jax.lax.scan(move, envs, jax.random.split(jax.random.key(1), 200)))(begun)
    return OfflineDataset(rows, env.observation_space, env.action_space, {})


def learnt(agent: rl.Agent, recording: OfflineDataset, steps: int) -> tuple[Any, Any]:
    """What the agent does where the recording was, and what it thinks there."""
    env = rl.make("CartPole-v1")
    trained = rl.fit(agent, env, steps=steps, data=recording, **DISPLAY)
    seen = recording.transitions.observation.reshape(-1, 4)
    params, state = trained.params, trained.state
    return agent.act(env, params, state, seen, None), agent.network(env).apply(params, state, seen)[0]


def test_cloning_does_what_was_done(recording: OfflineDataset) -> None:
    actions, _ = learnt(rl.BehaviourCloning(hidden=(16,), learning_rate=1e-2), recording, 1600)
    done = recording.transitions.action.reshape(-1)
    assert 0.2 < done.mean() < 0.8
    assert (actions == done).mean() > 0.97


@pytest.mark.slow
def test_conservative_values_doubt_what_was_never_done(recording: OfflineDataset) -> None:
    settings: dict[str, Any] = {"hidden": (32,), "learning_rate": 3e-3}
    done = recording.transitions.action.reshape(-1)
    agree = {}
    for agent in (rl.CQL(**settings), rl.DQN(**settings)):
        actions, values = learnt(agent, recording, 1600)
        chosen = jnp.take_along_axis(values, done[:, None], axis=1)[:, 0]
        agree[type(agent).__name__] = float((actions == done).mean()), float((2 * chosen - values.sum(1)).mean())
    assert agree["CQL"][0] > 0.85
    assert agree["CQL"][0] > agree["DQN"][0]
    assert agree["CQL"][1] > max(agree["DQN"][1], 0)


def test_doubt_is_the_logarithm_of_an_integral() -> None:
    """Of Q(s, a) = s·a − 2a² over −1 to 1, against the integral by a sum over a fine grid."""

    def nothing(key: Any, shape: Any) -> dict[str, Any]:
        return {}

    critic = lift(nothing, lambda params, x: (x["observation"] * x["action"] - 2 * x["action"] ** 2)[:, None])
    actor = lift(nothing, lambda params, x: jnp.concatenate([0.3 * x, jnp.zeros_like(x)], axis=1))
    network = ActorCritic(actor, critic, TanhGaussian(Box(-1.0, 1.0, (1,))), others=20_000)
    seen, action = jnp.array([[0.0], [1.5], [-3.0]]), jnp.array([[0.0], [0.5], [-0.2]])
    params = {"actor": {}, "critic": {}, "log_alpha": jnp.float32(0.0)}
    outputs, _ = network.apply(
        params, {"actor": {}, "critic": {}}, {"observation": seen, "action": action}, key=jax.random.key(0)
    )
    targets = {"target": outputs["q"][:, 0]}
    doubt = ConservativeActorCriticLoss(-1.0, weight=1.0)(outputs, targets)
    plain = ConservativeActorCriticLoss(-1.0, weight=0.0)(outputs, targets)
    grid = np.linspace(-1, 1, 20_001)
    q = np.asarray(seen) * grid - 2 * grid**2
    integral = np.log(np.trapezoid(np.exp(q), grid, axis=1)) - np.asarray(outputs["q"])[:, 0]
    np.testing.assert_allclose(doubt - plain, integral, atol=0.02)


@pytest.mark.slow
def test_conservative_control_learns_from_what_others_did() -> None:
    """From random moves of a pendulum, where plain SAC believes in what it never saw."""
    env = rl.make("Pendulum-v1")

    def move(envs: Any, key: jax.Array) -> tuple[Any, Transition]:
        return env.advance(envs, env.draw(envs, key), key)

    begun = env.begin(jax.random.key(0), 16)
    _, rows = jax.jit(lambda envs: jax.lax.scan(move, envs, jax.random.split(jax.random.key(1), 600)))(begun)
    recording = OfflineDataset(rows, env.observation_space, env.action_space, {})
    agent = rl.ContinuousCQL(hidden=(64, 64), cql_alpha=1.0)
    trained = rl.fit(agent, env, steps=6000, data=recording, **DISPLAY)
    assert trained.play(episodes=50).returns.mean() > -700


def test_a_recording_tells_what_its_whole_episodes_brought(recording: OfflineDataset) -> None:
    """Every step of CartPole brings 1, so a return is a length."""
    ended = np.asarray(recording.transitions.ended)
    lengths = [np.diff(np.flatnonzero(ended[:, each])) for each in range(ended.shape[1])]
    assert sorted(recording.returns) == sorted(np.concatenate(lengths))
