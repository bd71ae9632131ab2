"""Agents in worlds that are small enough to know what they should learn: targets, ends, exploration, target networks, every algorithm."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, setting
from danlu.engine import Population
from danlu.engine.step import NEVER
from danlu.errors import ConfigError
from danlu.pipeline.config import config_from, saved_config
from danlu.rl import (
    A2C,
    CQL,
    DDPG,
    DQN,
    PPO,
    REINFORCE,
    SAC,
    TD3,
    Agent,
    ContinuousCQL,
    Environment,
    Envs,
    Outcome,
    Transition,
)
from danlu.rl.agent import AgentProgram, learner_of
from danlu.rl.discrete_sac import DiscreteSAC, DiscreteSACLoss
from danlu.rl.environments import CartPole, Pendulum
from danlu.rl.exploration import OrnsteinUhlenbeck
from danlu.rl.fit import _initial
from danlu.rl.games import PUCT, AlphaZero
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete, Space
from danlu.rl.value_heads import Histogram, Quantiles

KEY = jax.random.key(0)
beginning: Any = _initial.__wrapped__  # as a part of larger programs
SMALL: dict[str, Any] = {"environments": 2, "hidden": (4,)}
MEMORY: dict[str, Any] = {
    **SMALL,
    "learning_starts": 12,
    "capacity": 32,
    "batch_size": 4,
    "train_freq": 2,
    "gradient_steps": 1,
}


class TwoEnds(Environment):
    """Every step brings 1. In state 0 time is up after it, in state 1 the world ends: with γ = ½ they are worth 2 and 1."""

    max_steps: int = setting(default=1, minimum=1, integer=True)

    @property
    def observation_space(self) -> Space:
        return Discrete(2)

    @property
    def action_space(self) -> Space:
        return Discrete(2)

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        kind = jax.random.randint(key, (), 0, 2)
        return kind, kind

    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Outcome]:
        return state, Outcome(state, jnp.float32(1.0), state == 1)


class ToyWorld(Environment):
    """Any kind of observation and action: two numbers are to be met by the action; the world ends by chance."""

    VIEWS: ClassVar[dict[str, Space]] = {
        "vector": Box(-5.0, 5.0, (2,)),
        "number": Discrete(2),
        "picture": Box(0, 255, (6, 6, 2), "uint8"),
        "dict": DictSpace((("at", Box(-5.0, 5.0, (2,))), ("grid", Box(-5.0, 5.0, (1, 2))), ("side", Discrete(2)))),
    }
    MOVES: ClassVar[dict[str, Space]] = {
        "choice": Discrete(3),
        "choices": MultiDiscrete((2, 3)),
        "box": Box((-1.0, 0.0), (1.0, 4.0), (2,)),
    }

    max_steps: int = setting(default=6, minimum=1, integer=True)
    view: str = setting(default="vector", choices=tuple(VIEWS))
    moves: str = setting(default="choice", choices=tuple(MOVES))

    @property
    def observation_space(self) -> Space:
        return self.VIEWS[self.view]

    @property
    def action_space(self) -> Space:
        return self.MOVES[self.moves]

    def _seen(self, at: jax.Array) -> Any:
        side = (at[0] > 0).astype(jnp.int32)
        picture = jnp.broadcast_to((100 * side).astype(jnp.uint8), (6, 6, 2))
        return {"vector": at, "number": side, "picture": picture, "dict": {"at": at, "grid": at[None], "side": side}}[
            self.view
        ]

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        at = jnp.clip(jax.random.normal(key, (2,)), -5, 5)
        return at, self._seen(at)

    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Outcome]:
        end_key, next_key = jax.random.split(key)
        reward = -jnp.abs(jnp.asarray(action, jnp.float32).sum() - state[0])
        after = jnp.clip(state + 0.1 * jax.random.normal(next_key, (2,)), -5, 5)
        return after, Outcome(self._seen(after), reward, jax.random.bernoulli(end_key, 0.2))


def program_of(agent: Agent, env: Environment, *, updates: int = 100) -> AgentProgram:
    return AgentProgram(agent, env, learner_of(agent, env, updates))


@functools.cache
def training(agent: Agent, env: Environment, iterations: int) -> Any:
    """``f(key)``: the state at first and after each of some iterations, their sums, and what the agent does in the end; one program."""
    program = program_of(agent, env, updates=iterations * agent.updates)

    def iterate(state: Any, _: Any) -> tuple[Any, Any]:
        state, sums = agent.iterate(program, state)
        return state, (state, sums)

    def run(key: jax.Array) -> Any:
        first = beginning(program, iterations * agent.updates, key)
        last, (states, sums) = jax.lax.scan(iterate, first, None, length=iterations)
        seen = last.world.envs.observation
        acts = [agent.act(env, last.params, last.model_state, seen, key) for key in (None, KEY)]
        return first, states, sums, (*acts, agent.describe(env, last.params, last.model_state, seen))

    return jax.jit(run)


def same(ours: Any, theirs: Any, **tolerance: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs)


def at(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def hard_target(agent: Agent, env: Environment, first: Any, states: Any) -> None:
    """Two updates an iteration, a copy at every third."""
    target = states.world.memory["target"]
    same(at(target, 0), first.params)
    assert not jax.tree.all(jax.tree.map(lambda a, b: bool((a[1] == b[1]).all()), target, states.params))
    same(at(target, 2), at(states.params, 2), rtol=0)


def soft_target(agent: Agent, env: Environment, first: Any, states: Any) -> None:
    target = first.params
    for index in range(3):
        target = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, target, at(states.params, index))
        same(at(states.world.memory["target"], index), target, rtol=1e-5, atol=1e-6)


def priorities(agent: Agent, env: Environment, first: Any, states: Any) -> None:
    """What was drawn has a priority of its own."""
    assert len(np.unique(at(states, -1).world.memory["replay"].tree.levels[0])) > 6


def population(agent: Agent, env: Environment, first: Any, states: Any) -> None:
    """Two seeds side by side by ``vmap``, and each alone."""
    program = program_of(agent, env, updates=3 * agent.updates)
    both_of = Population(program, 2)

    @jax.jit
    def together(keys: jax.Array) -> Any:
        state = jax.vmap(lambda key: beginning(program, 3 * agent.updates, key))(keys)
        return jax.lax.fori_loop(
            0, 3, lambda i, state: both_of.at(state, {}, jnp.zeros((2, 0), jnp.int32), i)[0], state
        )

    other = jax.random.key(1)
    both = together(jnp.stack([KEY, other]))
    for member, alone in enumerate((at(states, 2), at(training(agent, env, 3)(other)[1], 2))):
        same((alone.world.frames, alone.step), at((both.world.frames, both.step), member))
        same(alone.params, at(both.params, member), rtol=2e-3, atol=2e-4)
        same(alone.world.envs.observation, at(both.world.envs.observation, member), rtol=1e-3, atol=1e-3)


# Every algorithm, in worlds of every kind.

SCALED = PPO(**SMALL, n_steps=8, minibatches=2, n_epochs=2, scale_rewards=True, entropy_weight=0.01)
HARD = DQN(
    **{**MEMORY, "gradient_steps": 2}, prioritised=True, n_step=3, head=Quantiles(4), tau=1.0, target_update_interval=3
)
SOFT = SAC(**MEMORY, prioritised=True, tau=0.25)
slow = pytest.mark.slow
EVERY = [
    pytest.param(SCALED, ToyWorld(view="dict", moves="choices"), (population,), id="ppo-dict-multidiscrete"),
    pytest.param(A2C(**SMALL, n_steps=8), ToyWorld(moves="box"), (), id="a2c-box", marks=slow),
    pytest.param(A2C(**SMALL, n_steps=8), ToyWorld(view="picture"), (), id="a2c-picture", marks=slow),
    pytest.param(
        REINFORCE(**SMALL, n_steps=8, scale_rewards=True),
        ToyWorld(view="number"),
        (),
        id="reinforce-number",
        marks=slow,
    ),
    pytest.param(HARD, ToyWorld(view="dict"), (hard_target, priorities), id="dqn-prioritised-nstep-quantiles-dict"),
    pytest.param(HARD, ToyWorld(view="dict"), (population,), id="dqn-population", marks=slow),  # as PPO's above
    pytest.param(
        DQN(**MEMORY, dueling=True, head=Histogram(-9.0, 0.0, atoms=5)),
        ToyWorld(view="picture"),
        (),
        id="dqn-dueling-c51-picture",
        marks=slow,
    ),
    pytest.param(DiscreteSAC(**MEMORY), ToyWorld(view="number"), (), id="sac-choice-number", marks=slow),
    pytest.param(DQN(**MEMORY, double=False, standardise=False), ToyWorld(), (), id="dqn-plain", marks=slow),
    pytest.param(DDPG(**MEMORY), ToyWorld(moves="box"), (), id="ddpg", marks=slow),
    pytest.param(TD3(**MEMORY), ToyWorld(moves="box"), (), id="td3", marks=slow),
    pytest.param(SOFT, ToyWorld(moves="box"), (soft_target, priorities), id="sac-prioritised"),
    pytest.param(CQL(**MEMORY), ToyWorld(), (), id="cql-choice", marks=slow),
    pytest.param(
        ContinuousCQL(**MEMORY, cql_n_actions=2), ToyWorld(view="dict", moves="box"), (), id="cql-box", marks=slow
    ),
    pytest.param(
        SAC(**MEMORY, n_step=2), ToyWorld(view="picture", moves="box"), (), id="sac-nstep-picture", marks=slow
    ),
]


@pytest.mark.parametrize(("agent", "env", "checks"), EVERY)
def test_every_algorithm_learns_from_what_it_collects(agent: Agent, env: Environment, checks: Any) -> None:
    first, states, sums, (likeliest, drawn, thoughts) = training(agent, env, 3)(KEY)
    assert all(np.isfinite(value).all() for value in sums.values())
    assert (sums["bad_step"] == NEVER).all()
    assert states.world.frames.tolist() == [agent.prelude + n * agent.frames for n in (1, 2, 3)]
    assert states.step.tolist() == [n * agent.updates for n in (1, 2, 3)]
    assert sums["episodes"].sum() > 0
    assert sums["length"].sum() <= 6 * sums["episodes"].sum()
    moved = jax.tree.map(lambda new, old: bool((new[-1] != old).any()), states.params, first.params)
    alone = isinstance(agent, DDPG)  # a deterministic actor has no temperature
    assert all(jax.tree.leaves({**moved, "log_alpha": True} if alone else moved)), "all that is learnt has moved"
    for action in (likeliest, drawn):
        assert all(env.action_space.contains(np.asarray(each)) for each in action)
    assert thoughts["value"].shape == (2,)
    for check in checks:
        check(agent, env, first, states)


# Truncation is not termination.


@slow
def test_a2c_values_what_was_cut_and_nothing_after_an_end() -> None:
    agent = A2C(environments=16, n_steps=4, hidden=(), learning_rate=0.1, discount=0.5)
    states = training(agent, TwoEnds(), 100)(KEY)[1]
    network, last = agent.network(TwoEnds()), at(states, -1)
    value = network.apply(last.params, last.model_state, jnp.array([0, 1]))[0]["value"][:, 0]
    np.testing.assert_allclose(value, [2.0, 1.0], atol=0.05)


def test_dqn_values_what_was_cut_and_nothing_after_an_end() -> None:
    agent = DQN(
        environments=8,
        train_freq=1,
        gradient_steps=1,
        hidden=(),
        learning_rate=0.1,
        discount=0.5,
        tau=0.2,
        learning_starts=64,
        n_step=2,
    )
    last = at(training(agent, TwoEnds(), 150)(KEY)[1], -1)
    value = agent.numbers(TwoEnds(), last.params, last.model_state, jnp.array([0, 1]))[..., 0]
    np.testing.assert_allclose(value, [[2.0, 2.0], [1.0, 1.0]], atol=0.05)


def transitions(reward: Any, terminated: Any, truncated: Any, **more: Any) -> Transition:
    """A rollout ``(time, environments)`` in which what is seen is the number of the row, and at an end that number and a half."""
    reward = jnp.asarray(reward, jnp.float32)
    time, environments = reward.shape
    seen = jnp.broadcast_to(jnp.arange(time, dtype=jnp.float32)[:, None, None], (time, environments, 2))
    flags = {"terminated": jnp.asarray(terminated, bool), "truncated": jnp.asarray(truncated, bool)}
    nothing = jnp.zeros_like(reward)
    after = seen + jnp.where(flags["terminated"] | flags["truncated"], 0.5, 1.0)[..., None]
    return Transition(seen, None, reward, after, **flags, steps=nothing, score=nothing, **more)


def test_rows_of_a_rollout_by_hand() -> None:
    """Returns with λ = 1 and the weights of whole episodes, against a loop; PPO's advantages of all rows."""
    reward = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    terminated, truncated = np.zeros((5, 2), bool), np.zeros((5, 2), bool)
    terminated[1, 0] = truncated[2, 1] = True
    extra = {
        "action": jnp.zeros((5, 2), jnp.int32),
        "numbers": jnp.broadcast_to(jnp.float32([0.0, 1.0, 2.0]), (5, 2, 3)),
    }
    rollout = transitions(reward, terminated, truncated, extra=extra)
    reinforce, ppo = (
        REINFORCE(**SMALL, n_steps=5, discount=0.9),
        PPO(**SMALL, n_steps=5, discount=0.9, gae_lambda=1.0, minibatches=1, n_epochs=1),
    )
    env = ToyWorld()

    @jax.jit
    def everything() -> Any:
        state = beginning(program_of(ppo, env), 1, KEY)
        network = ppo.network(env)
        values = [
            network.apply(state.params, state.model_state, seen.reshape(10, 2))[0]["value"].reshape(5, 2)
            for seen in (rollout.observation, rollout.next_observation)
        ]
        weights = [agent.weights(rollout) for agent in (reinforce, ppo)]
        learnt = [
            agent.rows(rollout, agent.targets(env, state, rollout, weight), weight)
            for agent, weight in zip((reinforce, ppo), weights, strict=True)
        ]
        return values, *learnt

    (value, after), own, other = everything()
    expected = np.zeros((5, 2))
    for column in range(2):
        rest = np.asarray(after)[-1, column]
        for row in reversed(range(5)):
            if terminated[row, column]:
                rest = 0.0
            elif truncated[row, column]:
                rest = np.asarray(after)[row, column]
            rest = expected[row, column] = reward[row, column] + 0.9 * rest
    for rows in (own, other):
        np.testing.assert_allclose(rows["y"]["return"].reshape(5, 2), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(rows["y"]["log_prob"], -np.log(1 + np.e + np.e**2) * np.ones(10), rtol=1e-5)
    assert own["weight"].reshape(5, 2).T.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], "each first episode alone"
    assert other["weight"].tolist() == [1.0] * 10
    advantage = expected - np.asarray(value)
    np.testing.assert_allclose(
        other["y"]["advantage"], ((advantage - advantage.mean()) / advantage.std()).ravel(), rtol=1e-3, atol=1e-4
    )
    kept = advantage[np.asarray(own["weight"]).reshape(5, 2) == 1]
    np.testing.assert_allclose(
        own["y"]["advantage"], ((advantage - kept.mean()) / kept.std()).ravel(), rtol=1e-3, atol=1e-4
    )


def test_rewards_are_scaled_by_the_spread_of_their_discounted_sums() -> None:
    agent, env = PPO(**SMALL, scale_rewards=True, discount=0.8), ToyWorld()
    reward = (
        np.random.default_rng(1).normal(100, 3, size=(12, 2)).astype(np.float32)
    )  # the spread is small beside the mean
    over = np.random.default_rng(2).random((12, 2)) < 0.2
    none = np.zeros((12, 2), bool)

    @jax.jit
    def pieces(agent_memory: Any) -> Any:
        found = []
        for part in (slice(0, 5), slice(5, 12)):
            agent_memory, scaled = agent.scaled(agent_memory, transitions(reward[part], over[part], none[part]))
            found.append(scaled)
        return found, agent.replace(scale_rewards=False).scaled(None, transitions(reward, over, none))[1]

    memory = agent.begin(program_of(agent, env), {}, {}, KEY)[1].memory
    (_, second), plain = pieces(memory)
    totals, running = np.zeros((12, 2)), np.zeros(2)
    for row in range(12):
        totals[row] = running = 0.8 * running + reward[row]
        running = np.where(over[row], 0, running)
    np.testing.assert_allclose(second, reward[5:] / totals.std(), rtol=1e-3)
    np.testing.assert_allclose(plain, reward)
    whole = REINFORCE(**SMALL, scale_rewards=True, discount=0.8)
    carried = {**memory, "running": jnp.float32([1e6, 1e6])}
    begun = jax.jit(whole.scaled)(carried, transitions(reward, over, none))[1]
    np.testing.assert_allclose(
        begun, reward / totals.std(), rtol=1e-3, err_msg="its episodes begin anew in each iteration"
    )


# What is learnt from a memory.


def test_q_targets_by_hand() -> None:
    """Windows of two steps: an end in the first leaves the second out; double asks the online network for the action."""
    agent, env = DQN(**MEMORY, n_step=2, discount=0.5), ToyWorld()
    plain = agent.replace(double=False)
    ends = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [0, 2]])  # 1 terminates, 2 truncates
    windows = transitions(np.arange(10).reshape(5, 2), ends == 1, ends == 2)
    rows = {"observation": windows.observation, "reward": windows.reward, "action": jnp.zeros((5, 2), jnp.int32)}
    rows |= {name: getattr(windows, name) for name in ("terminated", "truncated")}
    rows["next_observation"] = windows.next_observation + 7 * jnp.arange(2.0)[None, :, None]

    @jax.jit
    def everything() -> Any:
        one, other = (beginning(program_of(agent, env), 1, key) for key in jax.random.split(KEY))
        summed = agent.summed(rows)
        q = [
            agent.numbers(env, p, one.model_state, summed["next_observation"])[..., 0]
            for p in (one.params, other.params)
        ]
        targets = [each.targets(env, one, other.params, summed, KEY)[1] for each in (agent, plain)]
        return summed, q, targets

    summed, (online, target), (double, single) = jax.tree.map(np.asarray, everything())
    assert summed["reward"].tolist() == [0.5, 2.0, 4.0, 9.5, 12.5]
    assert summed["discount"].tolist() == [0.25, 0.0, 0.5, 0.0, 0.25]
    assert summed["next_observation"][:, 0].tolist() == [8.0, 1.5, 2.5, 10.5, 11.5]
    assert summed["observation"][:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    chosen = target[np.arange(5), online.argmax(axis=1)]
    np.testing.assert_allclose(double["target"][:, 0], summed["reward"] + summed["discount"] * chosen, rtol=1e-5)
    np.testing.assert_allclose(
        single["target"][:, 0], summed["reward"] + summed["discount"] * target.max(axis=1), rtol=1e-5
    )
    assert (chosen != target.max(axis=1)).any(), "the two differ here"


def test_priorities_are_the_sizes_of_td_errors() -> None:
    """Of actors and critics too, whose loss holds more than that."""
    target = {"action": jnp.array([1]), "target": jnp.float32([2.0])}
    outputs = {"q": jnp.float32([[1.0, 5.0]]), "q_policy": jnp.float32([[70.0, 80.0]])}
    assert SOFT.td_error(outputs, target).tolist() == [2.0]
    choice = {"q": jnp.float32([[[9.0, 1.0], [9.0, 5.0]]])}
    assert DiscreteSAC(**MEMORY).td_error(choice, target).tolist() == [2.0]
    assert DQN(**MEMORY).td_error(jnp.float32([[9.0, 5.0]]), {**target, "target": jnp.float32([[2.0]])}).tolist() == [
        3.0
    ]


def test_what_the_next_state_is_worth_to_actors_by_hand() -> None:
    """SAC pays for entropy at its temperature; TD3 looks around the target's action, at most as far as its clip; both take the lesser."""
    env = ToyWorld(moves="box")
    sac, td3 = SAC(**MEMORY), TD3(**MEMORY, target_noise=1e4, noise_clip=0.5)
    seen = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)

    @jax.jit
    def everything() -> Any:
        found = []
        for agent in (sac, td3):
            network = agent.network(env)
            one, other = (beginning(program_of(agent, env), 1, key) for key in jax.random.split(KEY))
            one.params["log_alpha"] = jnp.float32(-1.0)
            worth = agent.worth(env, one, other.params, seen, KEY)
            if agent is sac:
                action, log_prob = network.decide(one.params, one.model_state, seen, KEY)
            else:
                mean, log_prob = network.decide(other.params, one.model_state, seen, None)
                noise = jax.random.normal(KEY, mean.shape)
                action = jnp.clip(mean + 0.5 * jnp.sign(noise), -1, 1)
            found.append((worth, network.values(other.params, one.model_state, seen, action), log_prob))
        return found

    (soft, q, log_prob), (least, r, _) = jax.tree.map(np.asarray, everything())
    np.testing.assert_allclose(soft, q.min(axis=1) - np.exp(-1.0) * log_prob, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(least, r.min(axis=1), rtol=1e-4, atol=1e-5)


def under_way(seen: jax.Array) -> Envs:
    return Envs(None, seen, jnp.zeros(len(seen), jnp.int32), jnp.zeros(len(seen)))


def test_epsilon_falls_in_a_line_and_says_how_often_chance_decides() -> None:
    agent, env = DQN(**MEMORY, epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=1000), ToyWorld()
    shares = [float(agent.epsilon(jnp.int32(frames))) for frames in (0, 250, 1000, 2_000_000_000)]
    np.testing.assert_allclose(shares, [0.9, 0.7, 0.1, 0.1], rtol=1e-5)
    seen = jnp.zeros((6000, 2))

    @jax.jit
    def acts(frames: jax.Array) -> Any:
        state = beginning(program_of(agent, env), 1, KEY)
        best = agent.act(env, state.params, state.model_state, seen, None)
        return (
            best,
            agent.explore(env, state, under_way(seen), frames, None, KEY)[0],
            agent.act(env, state.params, state.model_state, seen, KEY),
        )

    best, early, final = acts(jnp.int32(250))
    assert np.mean(early != best) == pytest.approx(0.7 * 2 / 3, abs=0.03)  # one of three draws is the best by luck
    assert np.mean(final != best) == pytest.approx(0.1 * 2 / 3, abs=0.02)


def test_deterministic_actors_explore_with_noise_and_remember_in_their_own_coordinates() -> None:
    agent, env = (
        DDPG(**{**MEMORY, "environments": 4000, "learning_starts": 4000, "capacity": 4000}, noise=0.2),
        ToyWorld(moves="box"),
    )
    seen = jnp.zeros((4000, 2))

    @jax.jit
    def acts() -> Any:
        state = beginning(program_of(agent, env), 1, KEY)
        mean = agent.act(env, state.params, state.model_state, seen, None)
        noisy = agent.explore(env, state, under_way(seen), jnp.int32(0), agent.wandering(env), KEY)[0]
        return mean, noisy, agent.stored_action(env, noisy)

    mean, noisy, kept = (np.asarray(x) for x in acts())
    np.testing.assert_allclose((noisy - mean).std(axis=0), [0.2, 0.4], rtol=0.05)
    np.testing.assert_allclose(kept, (noisy - [0.0, 2.0]) / [1.0, 2.0], atol=1e-5)


def test_agents_refuse_what_they_cannot_do() -> None:
    for agent, env, message in (
        (DQN(), Pendulum(), "DQN chooses one of several actions.*SAC"),
        (SAC(), CartPole(), "SAC is for continuous actions.*DQN or PPO"),
        (TD3(), ToyWorld(moves="choices"), "TD3 is for continuous actions"),
    ):
        with pytest.raises(ConfigError, match=f"(?s){message}"):
            agent.check(env)
    for wrong, message in (
        (lambda: PPO(environments=3, n_steps=5, minibatches=4), "cannot be divided into 4 minibatches"),
        (lambda: PPO(hidden=64), r"PPO.hidden is 64; expected a list of whole numbers"),
        (lambda: DQN(head="c51"), r"DQN.head is 'c51'; expected a ValueHead \(Expected, Histogram, Quantiles\)"),
        (lambda: DQN(learning_starts=100, capacity=50), "learning_starts is 100 and capacity is 50"),
        (lambda: SAC(learning_starts=4, environments=4, n_step=2), "expected at least n_step · environments = 8"),
        (lambda: PPO(clip=1.5), "PPO.clip is 1.5"),
        (lambda: REINFORCE(gae_lambda=0.9), "REINFORCE.gae_lambda is 0.9"),
    ):
        with pytest.raises(ConfigError, match=message):
            wrong()


FORMER = {
    PPO: {"steps": 4, "passes": 2, "decay": 0.9},
    DQN: {"every": 2, "rows": 8, "warm_up": 9, "exploration": 10, "target_rate": 0.5, "target_every": 3},
    SAC: {"priority": 0.7, "correction": 0.5, "critic_rate": 0.1},
    TD3: {"actor_every": 3},
    ContinuousCQL: {"conservative": 2.0, "others": 3},
    AlphaZero: {"steps": 4, "rows": 16},
}


@pytest.mark.parametrize(("cls", "former"), FORMER.items(), ids=[cls.__name__ for cls in FORMER])
def test_settings_of_older_versions(cls: Any, former: dict[str, Any]) -> None:
    """Saved agents and configs load with the names they were written with; whoever writes one is told the new name."""
    agent = from_json({"blueprint": cls.__name__, **former})
    assert list(former.values()) == [getattr(agent, cls._renamed[name]) for name in former]
    config, lost = saved_config({"agent": {"settings": former}})
    assert (cls.of(config.agent.settings), lost) == (agent, [])
    for name, value in former.items():
        for make in (cls, lambda **settings: cls.of(settings)):
            with pytest.raises(ConfigError, match=rf"{cls.__name__}\.{name} is called {cls._renamed[name]} now"):
                make(**{name: value})
        now = cls._renamed[name]
        with pytest.raises(
            ConfigError, match=rf"agent\.settings\.{name} is called {now} now\nHint: write agent\.settings\.{now}="
        ):
            config_from({"agent": {"settings": {name: value}}})


def test_parts_of_older_versions() -> None:
    assert from_json({"blueprint": "ChoiceLoss", "entropy": 0.5}) == DiscreteSACLoss(0.5)
    assert from_json({"blueprint": "Histogram", "low": -1.0, "high": 1.0}) == Histogram(-1.0, 1.0)
    noise = {"blueprint": "OrnsteinUhlenbeck", "scale": 0.3, "pull": 0.2, "interval": 0.5}
    assert from_json({"blueprint": "DDPG", "noise": noise}).noise == OrnsteinUhlenbeck(0.3, 0.2, 0.5)
    assert from_json({"blueprint": "PUCT", "fraction": 0.5, "concentration": 0.3}) == PUCT(
        dirichlet_fraction=0.5, dirichlet_alpha=0.3
    )
