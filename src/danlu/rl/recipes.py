"""The default agent and settings for each environment: those of ``danlu train CartPole-v1``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, shorten, unknown_name
from danlu.rl.agent import Agent
from danlu.rl.bandits import LinearGreedy, LinearThompson, LinUCB, NeuralLinear
from danlu.rl.continuous import DDPG, SAC, TD3
from danlu.rl.dagger import DAgger
from danlu.rl.discrete_sac import DiscreteSAC
from danlu.rl.dqn import DQN
from danlu.rl.environment import Environment
from danlu.rl.exploration import OrnsteinUhlenbeck
from danlu.rl.games.alphazero import AlphaZero
from danlu.rl.games.match import Match
from danlu.rl.games.recipes import game_recipe
from danlu.rl.offline import CQL, BehaviourCloning, ContinuousCQL
from danlu.rl.on_policy import A2C, PPO, REINFORCE
from danlu.rl.recurrent import RecurrentPPO
from danlu.rl.spaces import Box, Discrete

__all__ = ["ALGORITHMS", "AgentSettings", "agent_recipe"]

ALGORITHMS: Mapping[str, type[Agent]] = {
    "a2c": A2C,
    "alphazero": AlphaZero,
    "bc": BehaviourCloning,
    "cql": CQL,  # of continuous actions ContinuousCQL
    "dagger": DAgger,
    "ddpg": DDPG,
    "dqn": DQN,
    "linear_greedy": LinearGreedy,
    "linear_thompson": LinearThompson,
    "linucb": LinUCB,
    "neural_linear": NeuralLinear,
    "ppo": PPO,
    "recurrent_ppo": RecurrentPPO,
    "reinforce": REINFORCE,
    "sac": SAC,  # of a choice of actions DiscreteSAC
    "td3": TD3,
}
"""Every algorithm by its name."""

_OF_ACTIONS: Mapping[tuple[str, type], type[Agent]] = {("sac", Discrete): DiscreteSAC, ("cql", Box): ContinuousCQL}
_RENAMED = {old: new for agent in (*ALGORITHMS.values(), *_OF_ACTIONS.values()) for old, new in agent._renamed.items()}
_STEPS = 200_000
_FIRST = {
    "MountainCarContinuous-v0": "td3",
    "danlu/Driving-v0": "ppo",
}  # the former's only reward is at the far end of long exploration

# What does well where, found by trying: steps, and what differs from the agent's own defaults.
_TUNED: Mapping[tuple[str, str], tuple[int, dict[str, Any]]] = {
    ("CartPole-v1", "ppo"): (
        100_000,
        {"environments": 32, "n_steps": 64, "gae_lambda": 0.98, "clip": 0.1, "learning_rate": 3e-3},
    ),
    ("CartPole-v1", "dqn"): (
        80_000,
        {
            "environments": 16,
            "train_freq": 2,
            "gradient_steps": 16,
            "hidden": (64, 64),
            "batch_size": 128,
            "n_step": 8,
            "discount": 0.995,
            "prioritised": True,
            "priority_alpha": 1.2,
            "priority_beta": 0.6,
            "learning_rate": 3e-3,
            "tau": 1.0,
            "target_update_interval": 64,
            "epsilon_steps": 8000,
            "epsilon_end": 0.04,
        },
    ),
    ("Acrobot-v1", "ppo"): (
        1_000_000,
        {
            "n_steps": 256,
            "minibatches": 32,
            "gae_lambda": 0.94,
            "scale_rewards": True,
            "clip": 0.1,
            "learning_rate": 3e-3,
        },
    ),
    ("MountainCar-v0", "ppo"): (
        600_000,
        {"minibatches": 16, "gae_lambda": 0.98, "scale_rewards": True, "clip": 0.1, "learning_rate": 3e-3},
    ),
    ("MountainCarContinuous-v0", "td3"): (
        60_000,
        {"environments": 4, "gradient_steps": 2, "hidden": (64, 64), "noise": OrnsteinUhlenbeck(0.3)},
    ),
    ("LunarLander-v3", "ppo"): (
        1_000_000,
        {
            "n_steps": 256,
            "minibatches": 16,
            "discount": 0.999,
            "gae_lambda": 0.98,
            "entropy_weight": 0.01,
            "scale_rewards": True,
        },
    ),
    ("CartPole-v1", "sac"): (
        80_000,
        {"environments": 4, "gradient_steps": 2, "hidden": (64, 64), "n_step": 8, "entropy": 0.3, "tau": 0.02},
    ),
    **{
        ("danlu/Shop-v0", name): (20_000, {})
        for name in ("linucb", "linear_thompson", "linear_greedy", "neural_linear")
    },
    ("danlu/Shop-v0", "ppo"): (100_000, {"discount": 0.0, "gae_lambda": 0.0, "minibatches": 4, "learning_rate": 1e-3}),
    ("danlu/Shop-v0", "reinforce"): (
        100_000,
        {"discount": 0.0, "learning_rate": 1e-2, "environments": 32, "n_steps": 32},
    ),
    ("danlu/Shop-v0", "dqn"): (60_000, {"discount": 0.0}),
    ("danlu/Driving-v0", "ppo"): (
        400_000,
        {"environments": 32, "n_steps": 128, "minibatches": 8, "scale_rewards": True, "learning_rate": 1e-3},
    ),
    ("danlu/Driving-v0:begun", "ppo"): (
        2_000_000,
        {"environments": 32, "n_steps": 128, "minibatches": 8, "scale_rewards": True, "learning_rate": 1e-4},
    ),
    ("danlu/Driving-v0", "dagger"): (100_000, {"gradient_steps": 32, "capacity": 100_352}),
    ("danlu/Driving-v0:camera", "dagger"): (20_000, {"gradient_steps": 24}),  # a picture is 9 kB of memory
    ("Pendulum-v1", "sac"): (20_000, {}),
    ("Pendulum-v1", "td3"): (20_000, {}),
    ("Pendulum-v1", "ddpg"): (20_000, {}),
}


class AgentSettings(Blueprint):
    """How an agent is trained (of a run: the section ``agent``).

    Args:
        algorithm: ``"auto"`` is PPO for a choice of actions, mostly SAC for continuous ones, and AlphaZero for board games; or one of
            :data:`ALGORITHMS`.
        steps: of the environment, for each seed; None leaves it to the recipe. With ``data`` it counts updates.
        cost_limit: in an environment with costs (driving), the most that an episode may cost in the mean: all kinds together, or each by
            its name (``agent.cost_limit.collision=0.02``); see :mod:`danlu.rl.constraint`.
        policy: a run of an agent whose policy this one begins with (``danlu train driving --from RUN``), such as a clone of the expert.
        seeds: as many agents are trained side by side, from seeds of their own; how far they lie apart tells what luck there is in one.
        evaluations: how often in training the agent is judged; the best of them is kept.
        episodes: that the trained agent plays in the test.
        data: a file of recorded experience (``danlu play RUN --buffer FILE``) to learn from instead of acting.
        settings: of the algorithm, by the names of its fields.
        environment: parameters of the environment, by name.
    """

    algorithm: str = setting(default="auto", choices=("auto", *sorted(ALGORITHMS)))
    steps: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    cost_limit: float | Mapping[str, float] | None = dataclasses.field(default=None, hash=False)
    policy: str | None = None
    seeds: int = setting(default=1, minimum=1, maximum=10_000, integer=True)
    evaluations: int = setting(default=20, minimum=1, integer=True)
    episodes: int = setting(default=100, minimum=1, maximum=10**6, integer=True)
    data: str | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    @classmethod
    def check_renamed(cls, owner: str, given: Mapping[str, Any], *, prefix: str = "") -> None:
        """Refuse a name of an older version, of a setting of the algorithm too."""
        super().check_renamed(owner, given, prefix=prefix)
        settings = given.get("settings")
        for name, value in settings.items() if isinstance(settings, Mapping) else ():
            if name in _RENAMED:
                new = _RENAMED[name]
                raise ConfigError(
                    f"{owner}.settings.{name} is called {new} now",
                    hint=f"write {prefix}settings.{new}={shorten(value)}",
                )

    @classmethod
    def renewed(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """``body`` with old names replaced by the current ones, in the algorithm's settings too."""
        found = super().renewed(body)
        if isinstance(settings := found.get("settings"), Mapping):
            found["settings"] = {_RENAMED.get(name, name): value for name, value in settings.items()}
        return found


def agent_recipe(
    env: Environment, algorithm: str = "auto", *, begun: bool = False, **settings: Any
) -> tuple[Agent, int]:
    """The default agent for an environment, and the number of steps to train it.

    Args:
        algorithm: see :class:`AgentSettings`.
        begun: whether it begins with the policy of another.
        **settings: fields of the agent to set instead of the defaults.

    Raises:
        ConfigError: an unknown algorithm or field, a value out of range, or an environment that the algorithm cannot act in.

    Example:
        >>> from danlu.rl.environments import Pendulum
        >>> agent, steps = agent_recipe(Pendulum(), hidden=(64, 64))
        >>> type(agent).__name__, agent.hidden, steps
        ('SAC', (64, 64), 20000)
    """
    if isinstance(env, Match) and algorithm in ("auto", "alphazero"):
        return game_recipe(env.game, **settings)
    if algorithm == "auto":
        algorithm = _FIRST.get(env.id or "") or ("sac" if isinstance(env.action_space, Box) else "ppo")
    if algorithm not in ALGORITHMS:
        raise unknown_name("agent.algorithm", algorithm, ALGORITHMS)
    cls: Any = _OF_ACTIONS.get((algorithm, type(env.action_space)), ALGORITHMS[algorithm])
    more = {"begun": begun, "camera": getattr(env, "observation", None) == "camera"}
    names = [f"{env.id}:{name}" for name, so in more.items() if so]
    steps, tuned = next(
        (_TUNED[name, algorithm] for name in (*names, env.id or "") if (name, algorithm) in _TUNED), (_STEPS, {})
    )
    agent = cls.of({**tuned, **settings})
    agent.check(agent.within(env))
    return agent, steps
