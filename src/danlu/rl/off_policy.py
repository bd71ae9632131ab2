"""The base of agents with a replay memory: act, store, draw a batch, take one step, update the target network.

DQN, DDPG, TD3 and SAC differ in how they explore (:meth:`OffPolicy.explore`) and in what a drawn transition should have been worth
(:meth:`OffPolicy.targets`); the rest is here.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.engine.step import add_sums, step
from danlu.errors import ConfigError
from danlu.optim import Optimizer, adam
from danlu.rl.agent import Agent, AgentProgram, Sums, World, no_outcomes, outcomes
from danlu.rl.environment import Environment, Envs, Transition
from danlu.rl.networks import learn_statistics
from danlu.rl.prioritised import Prioritised
from danlu.rl.replay import Replay
from danlu.rl.returns import n_step_returns
from danlu.rl.targets import polyak

__all__ = ["OffPolicy"]


class OffPolicy(Agent):
    """The base of DQN, DDPG, TD3 and SAC.

    Args:
        capacity: transitions that are remembered.
        learning_starts: transitions of random actions in the memory before anything is learnt.
        train_freq: steps of each environment between two rounds of learning.
        gradient_steps: updates in a round.
        batch_size: transitions in a batch.
        n_step: rewards that are summed before the target network is asked.
        prioritised: whether transitions with large errors are drawn more often.
        priority_alpha: α of the priorities (see :class:`~danlu.rl.prioritised.Prioritised`).
        priority_beta: β of the importance weights that make up for them.
        tau: how far the target network moves towards the online one, each ``target_update_interval`` updates; 1 copies it.
        target_update_interval: see ``tau``.
    """

    environments: int = setting(default=1, minimum=1, integer=True)
    learning_rate: float = setting(default=1e-3, above=0)
    capacity: int = setting(default=50_000, minimum=2, integer=True)
    learning_starts: int = setting(default=1000, minimum=1, integer=True)
    train_freq: int = setting(default=1, minimum=1, integer=True)
    gradient_steps: int = setting(default=1, minimum=1, integer=True)
    batch_size: int = setting(default=128, minimum=1, integer=True)
    n_step: int = setting(default=1, minimum=1, integer=True)
    prioritised: bool = False
    priority_alpha: float = setting(default=0.6, minimum=0)
    priority_beta: float = setting(default=0.4, minimum=0, maximum=1)
    tau: float = setting(default=0.005, above=0, maximum=1)
    target_update_interval: int = setting(default=1, minimum=1, integer=True)

    _renamed: ClassVar[Mapping[str, str]] = {
        "warm_up": "learning_starts",
        "every": "train_freq",
        "rows": "batch_size",
        "priority": "priority_alpha",
        "correction": "priority_beta",
        "target_rate": "tau",
        "target_every": "target_update_interval",
    }

    _unused: ClassVar[Mapping[str, str]] = {}
    """What an agent of this kind does not use, and why."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self._unused and value != field.default:
                raise ConfigError(
                    f"{type(self).__name__}.{field.name} is {value}, but would not be used: {self._unused[field.name]}",
                    hint="leave it out",
                )
        if self.learning_starts > self.capacity:
            raise ConfigError(
                f"{type(self).__name__}.learning_starts is {self.learning_starts} and capacity is "
                f"{self.capacity}; expected at least as much capacity"
            )
        if self.learning_starts < self.n_step * self.environments:
            raise ConfigError(
                f"{type(self).__name__}.learning_starts is {self.learning_starts}; expected at least n_step · environments = "
                f"{self.n_step * self.environments}"
            )

    @property
    def frames(self) -> int:
        return self.environments * self.train_freq

    @property
    def prelude(self) -> int:
        return -(-self.learning_starts // self.environments) * self.environments

    @property
    def updates(self) -> int:
        return self.gradient_steps

    def optimizer(self, updates: int) -> Optimizer:
        return adam(self.learning_rate)

    def wandering(self, env: Environment) -> Any:
        """The initial state of exploration: None, or the state of a noise."""
        return None

    def explore(
        self, env: Environment, state: TrainState, envs: Envs, frames: jax.Array, wandering: Any, key: jax.Array
    ) -> tuple[Any, Any]:
        """The actions of training, as the environment takes them, and what exploration carries on: those that the policy draws, where an
        agent does not say otherwise.

        Args:
            envs: the environments under way.
            frames: steps so far.
            wandering: see :meth:`wandering`.
        """
        return self.act(env, state.params, state.model_state, envs.observation, key), wandering

    def first_actions(self, env: Environment, envs: Envs, key: jax.Array) -> Any:
        """The actions before anything is learnt; here random ones."""
        return jax.vmap(env.action_space.sample)(jax.random.split(key, self.environments))

    def noted(self, env: Environment, envs: Envs, transition: Transition) -> Transition:
        """The transition out of ``envs``, with what else is to be remembered of it."""
        return transition

    def stored_action(self, env: Environment, action: Any) -> Any:
        """An action in the form that the network takes."""
        return action

    def env_action(self, env: Environment, action: Any) -> Any:
        """The inverse of :meth:`stored_action`: an action as the environment takes it."""
        return action

    @abc.abstractmethod
    def targets(
        self, env: Environment, state: TrainState, target: Any, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Any, Any]:
        """``(x, y)`` of the update, for a drawn batch.

        Args:
            target: the target network's params.
            batch: ``{"observation", "action", "reward", "next_observation", "discount"}``: the reward summed over ``n_step``, and what
                the next observation's value counts (0 after termination).
        """

    @abc.abstractmethod
    def td_error(self, outputs: Any, targets: Any) -> jax.Array:
        """The size of the TD error of each row, ``(rows,)``: prioritised replay draws in proportion to it."""

    def begin(self, program: AgentProgram, params: Any, model_state: Any, key: jax.Array) -> tuple[Any, World]:
        """The first actions (random ones, where an agent does not say otherwise) fill the memory with ``learning_starts`` transitions;
        they count as steps.

        If the network standardises observations, it uses their statistics from then on.
        """
        env = program.env
        begin_key, fill_key, example_key = jax.random.split(key, 3)
        envs = env.begin(begin_key, self.environments)

        def wander(envs: Envs, key: jax.Array) -> tuple[Envs, dict[str, Any]]:
            act_key, env_key = jax.random.split(key)
            after, transition = env.advance(envs, self.first_actions(env, envs, act_key), env_key)
            return after, self.kept(env, self.noted(env, envs, transition))

        moves = self.prelude // self.environments
        example = jax.eval_shape(wander, envs, example_key)[1]
        replay: Any = Replay.of(example, capacity=self.capacity)
        if self.prioritised:
            replay = Prioritised.of(example, capacity=self.capacity, steps=self.n_step, alpha=self.priority_alpha)

        def fill(carry: tuple[Envs, Any], key: jax.Array) -> tuple[tuple[Envs, Any], None]:
            envs, kept = wander(carry[0], key)
            return (envs, carry[1].add(kept)), None

        (envs, replay), _ = jax.lax.scan(fill, (envs, replay), jax.random.split(fill_key, moves))
        # (moves·environments, …)
        seen = jax.tree.map(lambda leaf: leaf[:moves].reshape(-1, *leaf.shape[2:]), _rows_of(replay)["observation"])
        model_state = learn_statistics(program.model, model_state, seen)
        target = jax.tree.map(jnp.array, params)
        frames = jnp.int32(self.prelude)
        return model_state, World(
            envs, frames, jnp.int32(0), {"replay": replay, "target": target, "wandering": self.wandering(env)}
        )

    def begin_offline(
        self, program: AgentProgram, params: Any, model_state: Any, recorded: Transition
    ) -> tuple[Any, World]:
        """The memory is the recording ``(time, environments, …)``, and there are no environments: :meth:`iterate` learns alone."""
        rows = self.kept(program.env, recorded)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows["observation"])
        replay: Any = Replay.full(rows)
        if self.prioritised:
            raise ConfigError(
                "prioritised replay is filled step by step", hint="set prioritised=False to learn from a recording"
            )
        memory = {"replay": replay, "target": jax.tree.map(jnp.array, params), "wandering": None}
        nothing: Any = None
        world = World(nothing, jnp.int32(recorded.reward.size), jnp.int32(0), memory)
        return learn_statistics(program.model, model_state, flat), world

    def kept(self, env: Environment, transition: Transition) -> dict[str, Any]:
        """The stored transition of a step."""
        cost = {} if transition.cost is None else {"cost": transition.cost}
        return {
            **cost,
            "observation": transition.observation,
            "action": self.stored_action(env, transition.action),
            "reward": transition.reward,
            "next_observation": transition.next_observation,
            "terminated": transition.terminated,
            "truncated": transition.truncated,
        }

    def iterate(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums]:
        act_key, learn_key = jax.random.split(program.key(state))
        ended: Sums = {}
        if state.world.envs is not None:
            state, ended = self.collect(program, state, act_key)
        world = dataclasses.replace(state.world, iterations=state.world.iterations + 1)

        def learn(index: jax.Array, carry: Any) -> Any:
            state, sums = carry
            state, part = self.learn(program, state, jax.random.fold_in(learn_key, index))
            return state, add_sums(sums, part)

        begun = (dataclasses.replace(state, world=world), program.learner.zero_sums())
        state, sums = jax.lax.fori_loop(0, self.gradient_steps, learn, begun)
        return state, {**sums, **(ended or no_outcomes(program.env))}

    def collect(self, program: AgentProgram, state: TrainState, key: jax.Array) -> tuple[TrainState, Sums]:
        """Act for ``train_freq`` steps and remember them; the sums are of the episodes that ended."""
        env, world = program.env, state.world

        def move(carry: Any, key: jax.Array) -> tuple[Any, Sums]:
            envs, replay, frames, wandering = carry
            explore_key, env_key = jax.random.split(key)
            action, wandering = self.explore(env, state, envs, frames, wandering, explore_key)
            after, transition = env.advance(envs, action, env_key)
            rows = self.kept(env, self.noted(env, envs, transition))
            return (after, replay.add(rows), frames + self.environments, wandering), outcomes(env, transition)

        carry = (world.envs, world.memory["replay"], world.frames, world.memory["wandering"])
        (envs, replay, frames, wandering), sums = jax.lax.scan(move, carry, jax.random.split(key, self.train_freq))
        memory = {**world.memory, "replay": replay, "wandering": wandering}
        world = dataclasses.replace(world, envs=envs, frames=frames, memory=memory)
        return dataclasses.replace(state, world=world), {name: value.sum() for name, value in sums.items()}

    def learn(self, program: AgentProgram, state: TrainState, key: jax.Array) -> tuple[TrainState, Sums]:
        """One update from one batch of the memory, and the target network after it."""
        memory, world = state.world.memory, state.world
        draw_key, target_key = jax.random.split(key)
        replay, weight = memory["replay"], jnp.ones(self.batch_size)
        if isinstance(replay, Prioritised):
            drawn = replay.sample(draw_key, self.batch_size, beta=self.priority_beta)
            windows, weight = drawn.rows, drawn.weights
        else:
            windows = replay.windows(draw_key, self.batch_size, self.n_step)
        if isinstance(replay, Prioritised) and self.n_step == 1:
            windows = jax.tree.map(lambda leaf: leaf[:, None], windows)
        if program.constraint is not None:
            windows = {**windows, "reward": program.priced(world, windows["reward"], windows["cost"])}
        x, y = self.targets(program.env, state, memory["target"], self.summed(windows), target_key)
        y = jax.lax.stop_gradient(y)
        if isinstance(replay, Prioritised):
            outputs, _ = program.model.apply(state.params, state.model_state, x)
            replay = replay.update(drawn.indices, self.td_error(outputs, y))
        after, sums = step(program.learner, state, {"x": x, "y": y, "weight": weight})
        due = after.step % self.target_update_interval == 0
        target = polyak(memory["target"], after.params, jnp.where(due, self.tau, 0.0))
        memory = {**memory, "replay": replay, "target": target}
        return dataclasses.replace(after, world=dataclasses.replace(world, memory=memory)), sums

    def summed(self, windows: dict[str, Any]) -> dict[str, Any]:
        """Windows of ``n_step`` transitions as one transition each, from the first observation to the last before an end."""
        reward, last, discount = n_step_returns(
            windows["reward"], windows["terminated"], windows["truncated"], discount=self.discount
        )
        first = {name: jax.tree.map(lambda leaf: leaf[:, 0], windows[name]) for name in ("observation", "action")}
        rows = jnp.arange(reward.shape[0])
        after = jax.tree.map(lambda leaf: leaf[rows, last], windows["next_observation"])
        return {**first, "reward": reward, "next_observation": after, "discount": discount}


def _rows_of(replay: Any) -> Any:
    return (replay.replay if isinstance(replay, Prioritised) else replay).rows
