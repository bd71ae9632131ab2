"""What agents collect and remember, and the targets made of it: rings of steps, ends of episodes, exploration; in plain loops."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.rl.distributions import Categorical
from danlu.rl.dqn import DQN
from danlu.rl.environment import Transition
from danlu.rl.environments import CartPole
from danlu.rl.evaluation import play_at_random
from danlu.rl.exploration import Epsilon, GaussianNoise, OrnsteinUhlenbeck
from danlu.rl.on_policy import PPO, REINFORCE
from danlu.rl.replay import Replay
from danlu.verify.case import Check, case
from danlu.verify.cases.layers import single
from danlu.verify.cases.reinforcement import rollout
from danlu.verify.oracles import draw

__all__: list[str] = []

CHANCE: Any = {"tolerance": 5e-2, "reason": "from 20,000 draws: the error of a standard deviation is 0.005 by chance"}


@case("rl.replay")
def replay(check: Check) -> None:
    """The oldest give way; windows stay within one environment and never run over the place that is written next."""
    ring, add = Replay.of({"number": jnp.zeros(2)}, capacity=11), jax.jit(Replay.add)
    check([ring.slots, ring.capacity], [5, 10], oracle="closed form")
    for step in range(8):
        ring = add(ring, {"number": jnp.array([step, 100.0 + step])})
    check(ring.in_time_order()["number"], [[s, 100 + s] for s in range(3, 8)], oracle="closed form")
    windows = np.asarray(ring.windows(jax.random.key(0), 4000, 3)["number"])
    check(np.diff(windows, axis=1), np.ones((4000, 2)), oracle="closed form")
    starts, counts = np.unique(windows[:, 0], return_counts=True)
    check(starts, [3, 4, 5, 103, 104, 105], oracle="closed form")
    check(counts.min() > 560, True, oracle="closed form")  # of 667 on the mean, four deviations
    young = add(Replay.of({"number": jnp.zeros(2)}, capacity=20), {"number": jnp.array([1.0, 2.0])})
    check(np.unique(young.sample(jax.random.key(1), 50)["number"]), [1, 2], oracle="closed form")


@case("rl.exploration", **CHANCE)
def exploration(check: Check) -> None:
    """ε along its line or curve; noise of the right size, that wanders where it should and begins anew with an episode."""
    counts = np.array([0, 25, 50, 100, 500])
    done = np.minimum(counts / 100, 1)
    line, curve = Epsilon(0.9, 0.1, 100), Epsilon(0.9, 0.1, 100, "exponential")
    check([float(line(int(c))) for c in counts], 0.9 - 0.8 * done)
    check([float(curve(int(c))) for c in counts], 0.9 * (0.1 / 0.9) ** done)
    still = jnp.zeros(20_000, bool)
    _, noise = GaussianNoise(0.3).draw(jnp.zeros((20_000, 1)), jax.random.key(0), still)
    check([np.std(noise), 1 + np.mean(noise)], [0.3, 1.0], oracle="closed form")
    wander = OrnsteinUhlenbeck(sigma=0.2, theta=0.4, dt=0.5)
    deviation = 0.2 * np.sqrt(0.5 / (1 - 0.8**2))
    state = deviation * jax.random.normal(jax.random.key(1), (20_000, 1))
    after, drawn = wander.draw(state, jax.random.key(2), still)
    check([np.std(drawn), np.corrcoef(state[:, 0], drawn[:, 0])[0, 1]], [deviation, 0.8], oracle="closed form")
    check(after, drawn, oracle="closed form")
    _, fresh = wander.draw(state + 9, jax.random.key(3), ~still)
    check([np.std(fresh), 1 + np.mean(fresh)], [0.2 * np.sqrt(0.5), 1.0], oracle="closed form")


@case("rl.episodes")
def episodes(check: Check) -> None:
    """Time up is no termination, the step after it is of a new episode, and what was seen last is of the old one."""
    env = CartPole(max_steps=3)
    envs, advance = env.begin(jax.random.key(0), 2), jax.jit(env.advance)
    seen = []
    for number in range(5):
        before = envs.observation
        envs, move = advance(envs, jnp.array([0, 1]), jax.random.key(number + 1))
        seen.append((move.truncated, move.terminated, move.steps, move.score))
        check(move.observation, before, oracle="closed form")
        going = np.abs(np.asarray(envs.observation) - np.asarray(move.next_observation)).max() < 1e-9
        check(going, number != 2, oracle="closed form")
    truncated, terminated, steps, score = (np.asarray(x)[:, 0] for x in zip(*seen, strict=True))
    check(truncated, [0, 0, 1, 0, 0], oracle="closed form")
    check(terminated, np.zeros(5), oracle="closed form")
    check(steps, [1, 2, 3, 1, 2], oracle="closed form")
    check(score, steps, oracle="closed form")
    played = play_at_random(CartPole(max_steps=4), episodes=6)
    check(played.lengths, np.full(6, 4), oracle="closed form")
    check(played.returns, np.full(6, 4.0), oracle="closed form")


@case("rl.targets_on_policy")
def on_policy(check: Check) -> None:
    """Advantages in units of their own deviation, over the rows that count; the returns are not scaled."""
    data, env = rollout(), CartPole()
    time, count = data["reward"].shape
    observation, after = draw(time, count, 4, seed=5), draw(time, count, 4, seed=6)
    logits, action = draw(time, count, 2, seed=7), np.random.default_rng(8).integers(0, 2, (time, count))
    for agent in (
        PPO(environments=count, n_steps=time, minibatches=1, hidden=(), discount=0.9, gae_lambda=0.7),
        REINFORCE(),
    ):
        agent = agent.replace(hidden=(), standardise=False, discount=0.9)
        network = agent.network(env)
        params, state, _ = network.init(jax.random.key(0), (4,))
        value_of: Any = params[1][1][0]
        value, next_value = (
            (seen @ np.asarray(value_of["kernel"], np.float64) + np.asarray(value_of["bias"]))[..., 0]
            for seen in (observation, after)
        )
        ended = data["terminated"] | data["truncated"]
        noted = {"action": jnp.asarray(action), "numbers": single(logits)}
        moves = Transition(
            single(observation), jnp.asarray(action), single(data["reward"]), single(after),
            jnp.asarray(data["terminated"]), jnp.asarray(data["truncated"]), jnp.zeros(time), jnp.zeros(time), noted,
        )  # fmt: skip
        weight = np.ones((time, count))
        if isinstance(agent, REINFORCE):
            weight = np.cumsum(ended, axis=0) - ended == 0
        check(agent.weights(moves), weight)
        trainer: Any = SimpleNamespace(params=params, model_state=state)
        found = jax.jit(lambda moves, w, agent=agent, trainer=trainer: agent.targets(env, trainer, moves, w))(
            moves, single(weight)
        )
        advantage = np.zeros((time + 1, count))
        for t in reversed(range(time)):
            error = data["reward"][t] + 0.9 * next_value[t] * ~data["terminated"][t] - value[t]
            advantage[t] = error + 0.9 * agent.gae_lambda * advantage[t + 1] * ~ended[t]
        advantage = advantage[:-1]
        counted = advantage[weight > 0]
        check(found["advantage"], (advantage - counted.mean()) / counted.std(), floor=1.0)
        check(found["return"], advantage + value, floor=1.0)
        likely = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        check(found["log_prob"], np.take_along_axis(likely, action[..., None], -1)[..., 0], floor=0.1)
    check(Categorical(2).entropy(single(np.zeros((1, 2)))), [np.log(2)], oracle="closed form")


@case("rl.targets_of_dqn")
def dqn(check: Check) -> None:
    """``Σ γᵏ·r + γⁿ·Q⁻(s', a*)``, a* chosen by the online network where it is double; nothing after a termination."""
    env, rows = CartPole(), 12
    reward, over = draw(rows, 3), np.zeros((rows, 3), bool)
    over[:4, 1] = True
    cut = np.zeros((rows, 3), bool)
    cut[4:7, 0] = True
    seen, after = draw(rows, 3, 4, seed=1), draw(rows, 3, 4, seed=2)
    windows = {
        "observation": single(seen), "action": jnp.asarray(np.arange(rows * 3).reshape(rows, 3) % 2),
        "reward": single(reward), "next_observation": single(after),
        "terminated": jnp.asarray(over), "truncated": jnp.asarray(cut),
    }  # fmt: skip
    for double in (True, False):
        agent = DQN(hidden=(), double=double, standardise=False, n_step=3, discount=0.8)
        network = agent.network(env)
        online, state, _ = network.init(jax.random.key(0), (4,))
        target, _, _ = network.init(jax.random.key(1), (4,))
        trainer: Any = SimpleNamespace(params=online, model_state=state)
        summed = agent.summed(windows)
        x, y = agent.targets(env, trainer, target, summed, jax.random.key(2))
        expected = []
        for row in range(rows):
            total, last = 0.0, 0
            for last in range(3):
                total += 0.8**last * reward[row, last]
                if over[row, last] or cut[row, last]:
                    break
            slow, quick = (
                after[row, last] @ np.asarray(p[-1]["kernel"], np.float64) + np.asarray(p[-1]["bias"])
                for p in (target, online)
            )
            best = (quick if double else slow).argmax()
            expected.append(total + (0.0 if over[row, last] else 0.8 ** (last + 1) * slow[best]))
        check(np.ravel(y["target"]), expected, floor=0.1)
        check(x, seen[:, 0])
        check(y["action"], np.arange(0, rows * 3, 3) % 2)


@case("rl.scaled_rewards")
def scaled_rewards(check: Check) -> None:
    """Rewards over the deviation of the discounted sums so far; the sums begin anew with an episode and go on over rollouts."""
    agent = PPO(environments=3, n_steps=16, minibatches=1, discount=0.9, scale_rewards=True)
    data = rollout()
    spread = {"mean": jnp.zeros(()), "variance": jnp.ones(()), "count": jnp.zeros(())}
    memory: Any = {"running": jnp.zeros(3), "spread": spread}
    fields = {field.name: None for field in dataclasses.fields(Transition)}
    ends = {name: jnp.asarray(data[name]) for name in ("terminated", "truncated")}
    moves = Transition(**{**fields, "reward": single(data["reward"]), **ends})
    running, sums = np.zeros(3), []
    for _ in range(2):
        memory, found = agent.scaled(memory, moves)
        for t in range(16):
            running = 0.9 * running + data["reward"][t]
            sums.append(running)
            running = np.where(data["terminated"][t] | data["truncated"][t], 0.0, running)
        check(found, data["reward"] / np.std(sums), floor=0.1)
