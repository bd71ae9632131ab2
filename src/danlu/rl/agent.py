"""The base of all agents, and the program that trains one.

An agent is a blueprint: an algorithm with its settings. To train it is the engine's loop over one step, *collect, then learn*::

    state, sums = agent.iterate(program, state)

The state is the engine's own :class:`~danlu.engine.TrainState`: the network's variables and the optimizer's state, and in its ``world``
what is not part of the network: the environments, a replay buffer, a target network. Everything that an agent learns, it learns by the
engine's one :func:`~danlu.engine.step.step` on rows that it collected. So checkpoints hold all of it, a killed run resumes as the same
run, and a population of agents is ``vmap`` of ``iterate``.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, from_json, setting
from danlu.engine.layout import Layout
from danlu.engine.state import TrainState
from danlu.engine.step import Program
from danlu.errors import ConfigError, unknown_name
from danlu.nn.layer import Layer
from danlu.nn.losses import Loss
from danlu.optim import Optimizer
from danlu.rl.constraint import Constraint, costs_of
from danlu.rl.environment import Environment, Envs, Transition
from danlu.typed import field_types

__all__ = ["Agent", "AgentProgram", "World", "learner_of", "no_outcomes", "outcomes"]

_ITERATION = np.uint32(2**31)  # the iterations' keys count from here, the updates' from 0

Sums = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class World:
    """The state of an agent's training apart from its network.

    Attributes:
        envs: the environments under way.
        frames: steps taken in all environments together, int32.
        iterations: how often the agent has collected and learnt, int32.
        memory: what else this kind of agent keeps.
        multipliers: what a unit of each limited cost counts, ``(limits,)``; None without limits.
    """

    envs: Envs
    frames: jax.Array
    iterations: jax.Array
    memory: Any = None
    multipliers: Any = None


class Agent(Blueprint, abc.ABC):
    """An algorithm of reinforcement learning with its settings; base of all agents.

    Args:
        environments: how many act side by side.
        discount: γ, what a reward one step later is worth.
        learning_rate: the optimizer's.
        hidden: units of the hidden layers.

    Attributes:
        tallies: what else :meth:`iterate` sums over the episodes that ended; shown as a mean of them.
        offline: whether it learns from recorded experience only.
        policy_at: the places of its policy in the network's params and state, for :func:`danlu.rl.begun.policy_of`; none where it has none
            that another agent could begin with.
        keeps_last: whether what was learnt last is what training ends with, and not the variables of the best evaluation.
    """

    tallies: ClassVar[tuple[str, ...]] = ()
    keeps_last: ClassVar[bool] = False
    offline: ClassVar[bool] = False
    policy_at: ClassVar[tuple[tuple[int | str, ...], ...]] = ()

    environments: int = setting(default=8, minimum=1, integer=True)
    discount: float = setting(default=0.99, minimum=0, maximum=1)
    learning_rate: float = setting(default=3e-4, above=0)
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in field_types(type(self)).items():
            if kind is float and isinstance(getattr(self, name), int):  # JAX goes by the type: 1 and 1.0 are not one
                object.__setattr__(self, name, float(getattr(self, name)))
        if any(units < 1 for units in self.hidden):
            raise ConfigError(
                f"{type(self).__name__}.hidden is {self.hidden!r}; expected whole numbers >= 1, such as (64, 64)"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The agent with these settings, as in a config: lists become tuples, and descriptions of blueprints become blueprints.

        Raises:
            ConfigError: an unknown name, or a value that it does not accept.
        """
        cls.check_renamed(cls.__name__, settings)
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise unknown_name(f"setting of {cls.__name__}", name, known)
        try:
            return cls(**{name: _plain(value) for name, value in settings.items()})
        except TypeError as error:
            raise ConfigError(f"the settings of {cls.__name__} cannot be used: {error}") from error

    @property
    @abc.abstractmethod
    def frames(self) -> int:
        """Steps of the environments, all together, in one iteration."""

    @property
    def prelude(self) -> int:
        """Steps of the environments, all together, that :meth:`begin` takes; they count."""
        return 0

    @property
    @abc.abstractmethod
    def updates(self) -> int:
        """Steps of the optimizer in one iteration."""

    @property
    @abc.abstractmethod
    def batch_size(self) -> int:
        """Rows of one step of the optimizer."""

    @property
    def worlds(self) -> int:
        """In how many environments it acts side by side; 1 of one that learns from a recording."""
        return int(getattr(self, "environments", 1))

    @property
    def needs_policy(self) -> bool:
        """Whether it cannot begin without the policy of another agent (:func:`danlu.rl.begun.policy_of`)."""
        return False

    def within(self, env: Environment) -> Environment:
        """The environment as this agent acts in it; a recurrent agent keeps its memory in it."""
        return env

    @abc.abstractmethod
    def check(self, env: Environment) -> None:
        """Refuse an environment that this agent cannot act in, with one clear message.

        Raises:
            ConfigError: such as continuous actions for DQN.
        """

    @abc.abstractmethod
    def network(self, env: Environment) -> Layer:
        """Everything that is trained, as one blueprint."""

    def in_shape(self, env: Environment) -> Any:
        """The shape of one example for the network."""
        return env.observation_space.shape

    @abc.abstractmethod
    def loss(self, env: Environment) -> Loss:
        """The loss."""

    def metrics(self, env: Environment) -> tuple[tuple[str, Any], ...]:
        """The metrics shown with the loss; see :class:`~danlu.engine.step.Program`."""
        return ()

    @abc.abstractmethod
    def optimizer(self, updates: int) -> Optimizer:
        """The optimizer for ``updates`` steps in all."""

    @abc.abstractmethod
    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        """An action for each of a batch of observations, as the environment takes it, without the exploration of training.

        Args:
            params, state: the network's variables.
            key: what a stochastic policy draws from; None takes its likeliest action.
        """

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        """The likeliest action for each of the network's outputs for a batch, if the outputs determine it. Pure.

        Raises:
            ConfigError: they do not: more than the network is asked what to do, or other things than what is seen.
        """
        raise ConfigError(
            f"the outputs of the network of {type(self).__name__} do not determine its action by themselves",
            hint="ask the agent: model.respond(records), model.play(), or its act(env, params, state, observation, key)",
        )

    def choose(self, env: Environment, params: Any, state: Any, envs: Envs, key: jax.Array | None) -> Any:
        """An action in each of the running environments, as :meth:`act`. An agent that plans uses their states, others the observations."""
        return self.act(env, params, state, envs.observation, key)

    @abc.abstractmethod
    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        """Its estimates for each of a batch of observations, by name, for reports: ``"value"``, and its preferences among actions."""

    @abc.abstractmethod
    def begin(self, program: AgentProgram, params: Any, model_state: Any, key: jax.Array) -> tuple[Any, World]:
        """``(model_state, world)`` before the first iteration."""

    @abc.abstractmethod
    def iterate(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums]:
        """Collect, then learn."""


def learner_of(agent: Agent, env: Environment, updates: int) -> Program:
    """The program of one update of an agent's network, of ``updates`` in all."""
    return Program.of(
        agent.network(env),
        agent.loss(env),
        agent.optimizer(updates).update,
        agent.metrics(env),
        batch_size=agent.batch_size,
    )


@dataclasses.dataclass(frozen=True)
class AgentProgram:
    """An agent in its environment as a program for the engine's loop (see :class:`~danlu.engine.loop.Steps`).

    Attributes:
        agent, env: who learns, and where.
        learner: the program of one update.
        acting: whether it acts; else it learns from a recording.
        constraint: limits of the costs, or None.
    """

    agent: Agent
    env: Environment
    learner: Program
    acting: bool = True
    constraint: Constraint | None = None

    @property
    def members(self) -> None:
        """The program is one agent; a :class:`~danlu.engine.Population` of it is several."""

    @property
    def devices(self) -> int:
        """How many devices share the environments, and the rows of each update."""
        return self.learner.devices

    def layout(self, params: Any) -> Layout:
        """The network is on every device; the environments, and what was seen in them, are divided."""
        return Layout(self.devices, worlds=self.agent.worlds) if self.devices > 1 else Layout()

    def alone(self) -> AgentProgram:
        """The same on one device."""
        return dataclasses.replace(self, learner=self.learner.alone())

    @property
    def model(self) -> Layer:
        """The network."""
        return self.learner.model

    @property
    def batch_size(self) -> int:
        """Steps of the environments in an iteration, or updates where there are none."""
        return self.agent.frames if self.acting else self.agent.updates

    @property
    def unit(self) -> str:
        """``"steps"`` or ``"updates"``."""
        return "steps" if self.acting else "updates"

    def at(self, state: TrainState, chunk: Any, order: Any, index: Any) -> tuple[TrainState, Sums]:
        """One iteration; the data is what the agent collects, so ``chunk`` is empty."""
        after, sums = self.agent.iterate(self, state)
        if self.constraint is not None:
            now = self.constraint.ascended(state.world.multipliers, sums, self.env.costs)
            after = dataclasses.replace(after, world=dataclasses.replace(after.world, multipliers=now))
            counted = zip(self._multipliers, now * sums["episodes"], strict=True)
            sums = {**sums, **dict(counted)}
        return self.layout(state.params).held(after), sums

    def priced(self, world: World, reward: jax.Array, cost: Any) -> jax.Array:
        """Rewards as the agent is to see them: less what they cost, where costs have limits."""
        if self.constraint is None:
            return reward
        return self.constraint.priced(world.multipliers, reward, cost, self.env.costs)

    @property
    def _multipliers(self) -> tuple[str, ...]:
        return () if self.constraint is None else tuple(f"multiplier_{name}" for name in self.constraint.names)

    @property
    def _per_episode(self) -> tuple[str, ...]:
        return (*self.agent.tallies, *costs_of(self.env), *self._multipliers)

    def zero_sums(self) -> Sums:
        """The learner's sums, and those of the episodes that ended: their number, returns, lengths and costs."""
        tallies = {name: jnp.zeros(()) for name in self._per_episode}
        return {**self.learner.zero_sums(), **no_outcomes(self.env), **tallies}

    def means(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """The mean return and length of the episodes that ended (NaN when none did), and the learner's means."""
        totals = {name: float(value) for name, value in sums.items()}
        episodes = totals.pop("episodes") or math.nan
        found = {"return": totals.pop("score") / episodes, "length": totals.pop("length") / episodes}
        found |= {name: totals.pop(name) / episodes for name in self._per_episode}
        return {**(found if self.acting else {}), **self.learner.means(totals)}

    def counters(self, state: TrainState) -> dict[str, np.ndarray]:
        """Updates of the network, and steps in the environments if it acts."""
        updates = {"step": np.asarray(state.step)}
        return {**updates, "frames": np.asarray(state.world.frames)} if self.acting else updates

    def resting(self) -> Self:
        """As it is: an agent's rows are its own, and a member that has stopped keeps its best variables."""
        return self

    def best_by(self, row: Mapping[str, Any], column: str) -> Any:
        """The value of ``column`` in the row, by which an epoch is judged."""
        return row[column]

    def direction(self, column: str) -> str | None:
        """A larger return is better; for other columns the learner decides."""
        own = {"return": "max", "length": None, "constrained": "max", **dict.fromkeys(self._per_episode)}
        name = column.removeprefix("val_")
        return own[name] if name in own else self.learner.direction(column)

    def key(self, state: TrainState) -> jax.Array:
        """The key of the state's next iteration."""
        return jax.random.fold_in(state.key, _ITERATION + state.world.iterations.astype(jnp.uint32))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping) and "blueprint" in value:
        return from_json(value)
    return tuple(value) if isinstance(value, list) else value


def no_outcomes(env: Environment) -> Sums:
    """The sums of zero episodes."""
    return {name: jnp.zeros(()) for name in ("episodes", "score", "length", *costs_of(env))}


def outcomes(env: Environment, rollout: Transition, weight: Any = 1.0) -> Sums:
    """The sums of the episodes that ended in a rollout."""
    ended = rollout.ended.astype(jnp.float32) * weight
    costs = {name: (ended * rollout.spent[..., kind]).sum() for kind, name in enumerate(costs_of(env))}
    found = {"episodes": ended.sum(), "score": (ended * rollout.score).sum(), "length": (ended * rollout.steps).sum()}
    return {**found, **costs}
