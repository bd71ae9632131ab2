"""The classic environments against Gymnasium's own, step by step from translated states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.rl import environments as worlds
from danlu.rl.environment import Environment, Envs

gymnasium = pytest.importorskip("gymnasium")

MANY, STEPS = 32, 40


@dataclasses.dataclass(frozen=True)
class Row:
    """An environment, its state's class, and a box of states that includes those about to end."""

    environment: Environment
    state: Callable[..., Any]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def name(self) -> str:
        assert self.environment.id is not None
        return self.environment.id

    def drawn(self, seed: int = 0) -> np.ndarray:
        """States that float32 holds exactly, ``(many, size)`` float64."""
        rng = np.random.default_rng(seed)
        return rng.uniform(self.low, self.high, (MANY, len(self.low))).astype(np.float32).astype(np.float64)

    def state_of(self, rows: np.ndarray) -> Any:
        return self.state(*jnp.asarray(rows, jnp.float32).T)


ROWS = [
    Row(worlds.CartPole(), worlds.CartPoleState, (-2.4, -2, -0.21, -2), (2.4, 2, 0.21, 2)),
    Row(worlds.MountainCar(), worlds.MountainCarState, (-1.2, -0.07), (0.5, 0.07)),
    Row(worlds.MountainCarContinuous(), worlds.MountainCarState, (-1.2, -0.07), (0.45, 0.07)),
    Row(worlds.Acrobot(), worlds.AcrobotState, (-3.14, -3.14, -6, -12), (3.14, 3.14, 6, 12)),
    Row(worlds.Pendulum(), worlds.PendulumState, (-9, -8), (9, 8)),
]
rows = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def random_actions(env: Environment, seed: int) -> np.ndarray:
    """``(steps, many, …)``; of numbers, half as far again beyond the bounds, where a push and its price part."""
    rng = np.random.default_rng(seed)
    space: Any = env.action_space
    if space.shape == ():
        return rng.integers(space.n, size=(STEPS, MANY)).astype(np.int32)
    return rng.uniform(1.5 * space.low_array, 1.5 * space.high_array, (STEPS, MANY, *space.shape)).astype(np.float32)


@rows
def test_steps_are_gymnasiums(row: Row) -> None:
    """1,280 actions: each of 32 states is followed for 40 steps, or until it ends."""
    env, states, actions = row.environment, row.drawn(), random_actions(row.environment, 1)
    theirs = [gymnasium.make(row.name, disable_env_checker=True).unwrapped for _ in range(MANY)]
    for other, state in zip(theirs, states, strict=True):
        other.reset(seed=0)
        other.state = state.copy()
    ours = row.state_of(states)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, None)))
    alive, ended = np.ones(MANY, bool), 0
    for action in actions:
        ours, outcome = step(ours, jnp.asarray(action), jax.random.key(0))
        seen, reward, terminated = map(np.asarray, (outcome.observation, outcome.reward, outcome.terminated))
        assert seen.dtype == reward.dtype == np.float32
        assert terminated.dtype == bool
        after = np.stack(jax.tree.leaves(ours), axis=1).astype(np.float64)
        for i in np.flatnonzero(alive):
            observation, gain, done, truncated, _ = theirs[i].step(int(action[i]) if action.ndim == 1 else action[i])
            scale = np.maximum(np.abs(observation), 1.0)
            assert (np.abs(seen[i] - observation) / scale).max() < 2e-5
            assert reward[i] == pytest.approx(float(gain), rel=2e-6, abs=2e-6)
            assert (bool(terminated[i]), truncated) == (done, False)
            assert env.observation_space.contains(seen[i])
            theirs[i].state = after[i].copy()  # roundings do not add up: each step is compared on its own
            alive[i], ended = not done, ended + done
    assert ended > 3 or row.name == "Pendulum-v1", "the comparison must see endings"


@rows
def test_spaces_limits_and_starts_are_gymnasiums(row: Row) -> None:
    env = row.environment
    other = gymnasium.make(row.name, disable_env_checker=True)
    space: Any = env.observation_space
    np.testing.assert_allclose(space.low_array, other.observation_space.low, rtol=1e-6)
    np.testing.assert_allclose(space.high_array, other.observation_space.high, rtol=1e-6)
    action: Any = env.action_space
    if action.shape == ():
        assert action.n == other.action_space.n
    else:
        assert action.low_array.tolist() == other.action_space.low.tolist()
        assert action.high_array.tolist() == other.action_space.high.tolist()
    assert env.max_steps == other.spec.max_episode_steps
    assert env.solved == other.spec.reward_threshold

    begun = jax.jit(env.begin, static_argnums=1)(jax.random.key(0), 4096)
    ours = np.stack(jax.tree.leaves(begun.state), axis=1)
    theirs = []
    for seed in range(1000):
        other.reset(seed=seed)
        theirs.append(np.array(other.unwrapped.state))
    spread = np.ptp(theirs, axis=0)
    np.testing.assert_allclose(ours.mean(axis=0), np.mean(theirs, axis=0), atol=0.04 * spread.max())
    np.testing.assert_allclose(ours.min(axis=0), np.min(theirs, axis=0), atol=0.02 * spread.max())
    np.testing.assert_allclose(ours.max(axis=0), np.max(theirs, axis=0), atol=0.02 * spread.max())


def test_time_is_up_when_it_is_for_gymnasium() -> None:
    """Two environments, one further on: each is cut at the limit, goes on from a new beginning, and the cut is no termination."""
    row = ROWS[0]
    env = row.environment.replace(max_steps=7)
    other = gymnasium.make(row.name, max_episode_steps=7, disable_env_checker=True)
    other.reset(seed=0)
    rest = (0.0,) * len(row.low)
    other.unwrapped.state = np.array(rest)
    envs = Envs(row.state_of(np.array([rest, rest])), None, jnp.array([0, 3], jnp.int32), jnp.array([0.0, 50.0]))
    envs = dataclasses.replace(envs, observation=env.begin(jax.random.key(0), 2).observation)
    advance = jax.jit(env.advance)
    space: Any = env.action_space
    action = np.zeros(space.shape, space.dtype)
    for step in range(1, 9):
        envs, transition = advance(envs, jnp.stack([action, action]), jax.random.key(step))
        if step <= 7:
            theirs = other.step(int(action) if action.shape == () else action)
            np.testing.assert_allclose(transition.next_observation[0], theirs[0], atol=2e-5)
            assert (bool(transition.terminated[0]), bool(transition.truncated[0])) == theirs[2:4]
        assert int(transition.steps[0]) == (step if step <= 7 else 1)
        assert int(transition.steps[1]) == (step + 3 if step <= 4 else step - 4)
        assert not transition.terminated.any()
        assert transition.truncated.tolist() == [step == 7, step == 4]
        if step == 4:
            assert float(transition.score[1]) == pytest.approx(50 + float(transition.score[0]), rel=1e-5)
            assert int(envs.steps[1]) == 0
            assert float(envs.score[1]) == 0
            assert not np.allclose(envs.observation[1], transition.next_observation[1], atol=1e-6)


@pytest.mark.parametrize("row", [ROWS[1], ROWS[4]], ids=["MountainCar-v0", "Pendulum-v1"])
def test_actions_out_of_bounds_are_clipped(row: Row) -> None:
    state = row.state_of(row.drawn())
    space: Any = row.environment.action_space
    low, high = (0, space.n - 1) if space.shape == () else (space.low_array, space.high_array)
    step = jax.jit(jax.vmap(row.environment.step, in_axes=(0, None, None)))
    for wild, edge in ((high + 3, high), (low - 3, low)):
        got, want = (step(state, jnp.asarray(action), jax.random.key(0)) for action in (wild, edge))
        for ours, expected in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_array_equal(ours, expected)
