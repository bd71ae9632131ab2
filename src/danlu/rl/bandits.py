"""Agents for contextual bandits: each step is a decision by itself, and what is learnt of it is learnt at once.

All of them keep a Bayesian linear regression of each arm's reward (:class:`~danlu.rl.arms.RidgeArms`) in the state of their network, where
a batch normalisation has its statistics: what was collected is learnt in closed form, without gradients. They differ in how they explore.
Where the action is a slate, the items with the highest scores are shown in that order, and each place is learnt from (combinatorial and
cascading bandits): :class:`~danlu.rl.arms.PlacedArms`.
:class:`NeuralLinear` learns by gradients what the regression is on.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.engine.step import NEVER, add_sums, step
from danlu.errors import ConfigError
from danlu.nn import Dense, Parallel, Sequential
from danlu.nn.layer import Layer
from danlu.nn.losses import Loss
from danlu.optim import Optimizer, adam
from danlu.rl.agent import Agent, AgentProgram, Sums, World, no_outcomes, outcomes
from danlu.rl.arms import PlacedArms, RidgeArms
from danlu.rl.environment import Environment, Envs
from danlu.rl.networks import encoder
from danlu.rl.replay import Replay
from danlu.rl.spaces import Discrete, Slate

__all__ = ["ContextualBandit", "LinUCB", "LinearGreedy", "LinearThompson", "NeuralLinear", "PulledReward"]


class PulledReward(Loss):
    """``(y_a − r)²`` of the arm that was pulled; outputs ``(batch, arms)``, targets ``{"action", "reward"}``.

    Of slates, ``(batch, places)``, the mean of ``(v_j·y_a − r_j)²`` over the places, with ``"looked"``, how much each is looked at, and
    ``"weight"``, in the targets.

    >>> PulledReward()(jnp.array([[1.0, 5.0]]), {"action": jnp.array([0]), "reward": jnp.array([3.0])}).tolist()
    [4.0]
    """

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        means = outputs["reward"] if isinstance(outputs, dict) else outputs
        action = targets["action"].astype(jnp.int32)
        if action.ndim == 1:
            pulled = jnp.take_along_axis(means, action[:, None], axis=-1)[:, 0]
            return jnp.square(pulled - targets["reward"])
        missed = jnp.square(targets["looked"] * jnp.take_along_axis(means, action, axis=-1) - targets["reward"])
        weight = targets["weight"]
        return (missed * weight).sum(-1) / jnp.maximum(weight.sum(-1), 1e-12)


class ContextualBandit(Agent):
    """The base of bandits: the network is what a context becomes, and a regression of each arm's reward on it.

    Args:
        environments: how many act side by side; they learn after each step, from all of them.
        n_steps: of each environment in an iteration.
        penalty: λ of the ridge regression.
        clicks: of slates, how they are taken to be looked at: ``"positions"``, each place by a share that is learnt; ``"cascade"``, from
            the top down to the first click, and no place below it is learnt from; ``"all"``, every place alike.

    Reference: Chen, Wang & Yuan (2013), "Combinatorial multi-armed bandit", ICML; Kveton, Szepesvári, Wen & Ashkan (2015), "Cascading
    bandits: learning to rank in the cascade model", ICML; Zong et al. (2016), see :class:`~danlu.rl.arms.PlacedArms`.
    """

    keeps_last: ClassVar[bool] = True

    environments: int = setting(default=1, minimum=1, integer=True)
    discount: float = setting(default=0.0, minimum=0, maximum=0)
    hidden: tuple[int, ...] = ()
    n_steps: int = setting(default=50, minimum=1, integer=True)
    penalty: float = setting(default=1.0, above=0)
    clicks: str = setting(default="positions", choices=("positions", "cascade", "all"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden and type(self) is not NeuralLinear:
            raise ConfigError(
                f"{type(self).__name__}.hidden is {self.hidden}; a linear bandit has no hidden layers",
                hint="agent.algorithm=neural_linear has",
            )

    @property
    def frames(self) -> int:
        return self.environments * self.n_steps

    @property
    def updates(self) -> int:
        return 1  # of the regression; there is no gradient

    @property
    def batch_size(self) -> int:
        return self.frames

    def check(self, env: Environment) -> None:
        if not isinstance(env.action_space, Discrete | Slate):
            raise ConfigError(
                f"{type(self).__name__} chooses one of several actions, or a slate of them; the actions here are {env.action_space}",
                hint="PPO and REINFORCE learn continuous actions",
            )
        if self.clicks != "positions" and not isinstance(env.action_space, Slate):
            raise ConfigError(
                f"{type(self).__name__}.clicks is {self.clicks!r}, and one action has no places; expected it of slates alone",
                hint="a shop shows slates with agent.environment.slots=3",
            )
        encoder(env.observation_space)

    def arms(self, env: Environment) -> RidgeArms | PlacedArms:
        """What knows the rewards of actions, or of items in their places."""
        space = env.action_space
        if isinstance(space, Slate):
            return PlacedArms(space.n, space.k, self.penalty, learns=self.clicks == "positions")
        return RidgeArms(_arms(env), self.penalty)

    def network(self, env: Environment) -> Layer:
        return Sequential((encoder(env.observation_space), self.arms(env)))

    def loss(self, env: Environment) -> Loss:
        return PulledReward()

    def optimizer(self, updates: int) -> Optimizer:
        return adam(self.learning_rate)

    def regression(
        self, env: Environment, params: Any, state: Any, observation: Any
    ) -> tuple[RidgeArms | PlacedArms, Any, jax.Array]:
        """The regression, its state, and what it is on, ``(batch, d)``."""
        network: Any = self.network(env)
        body, arms = network.layers
        return arms, state[1], body.apply(params[0], state[0], observation)[0]

    def with_regression(self, state: Any, known: Any) -> Any:
        """The network's state with another one of the regression."""
        return (state[0], known)

    @abc.abstractmethod
    def scores(self, arms: RidgeArms | PlacedArms, known: Any, phi: jax.Array, key: jax.Array) -> jax.Array:
        """What the arms are chosen by while it learns, ``(batch, arms)``: the one with the highest is pulled, or stands first."""

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        arms, known, phi = self.regression(env, params, state, observation)
        scores = arms.apply({}, known, phi)[0] if key is None else self.scores(arms, known, phi, key)
        return _highest(env, scores)

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        return _highest(env, outputs["reward"] if isinstance(outputs, dict) else outputs)

    def lesson(self, known: Any, action: jax.Array, reward: jax.Array) -> dict[str, jax.Array]:
        """What is learnt of actions ``(rows,)`` or slates ``(rows, places)``: the targets of :class:`PulledReward`."""
        if action.ndim == 1:
            return {"action": action, "reward": reward}
        weight = jnp.ones_like(reward)
        if self.clicks == "cascade":
            weight = (jnp.cumsum(reward, axis=-1) - reward == 0).astype(reward.dtype)  # nothing was clicked above
        looked = jnp.broadcast_to(known["looked"], reward.shape)
        return {"action": action, "reward": reward, "looked": looked, "weight": weight}

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        arms, known, phi = self.regression(env, params, state, observation)
        values, _ = arms.apply({}, known, phi)
        if isinstance(env.action_space, Slate):
            shown = jax.lax.top_k(values, env.action_space.k)[0]
            return {"value": (shown * jnp.broadcast_to(known["looked"], shown.shape)).sum(axis=-1), "values": values}
        return {"value": values.max(axis=-1), "values": values}

    def begin(self, program: AgentProgram, params: Any, model_state: Any, key: jax.Array) -> tuple[Any, World]:
        envs = program.env.begin(key, self.environments)
        return model_state, World(envs, jnp.int32(0), jnp.int32(0), self.memory(program.env, envs))

    def memory(self, env: Environment, envs: Envs) -> Any:
        """What it keeps beside the regression."""
        return None

    def remember(self, memory: Any, row: dict[str, Any]) -> Any:
        """The memory with what was seen, ``{"observation", "action", "reward"}`` of each environment."""
        return memory

    def iterate(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums]:
        state, sums, _ = self.collect(program, state)
        return state, sums

    def collect(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums, dict[str, Any]]:
        """Act and learn from it step by step.

        Returns:
            The state and the sums of :meth:`iterate`, and what was seen, done and earned: ``{"observation", "action", "reward"}``,
            arrays ``(n_steps, environments, …)``.
        """
        env, params, world = program.env, state.params, state.world

        def move(carry: Any, key: jax.Array) -> tuple[Any, tuple[Sums, dict[str, Any]]]:
            envs, model_state, memory = carry
            act_key, env_key = jax.random.split(key)
            arms, known, phi = self.regression(env, params, model_state, envs.observation)
            action = _highest(env, self.scores(arms, known, phi, act_key))
            envs, seen = env.advance(envs, action, env_key)
            reward = seen.reward if action.ndim == 1 else seen.parts
            if reward is None:
                raise ConfigError(
                    f"{type(env).__name__} says only what a whole slate brought; {type(self).__name__} learns from each place",
                    hint="PPO and REINFORCE learn from the sum",
                )
            lesson = self.lesson(known, action, reward)
            missed = PulledReward()(arms.apply({}, known, phi)[0], lesson)
            row = {"observation": seen.observation, "action": action, "reward": reward}
            known = arms.learn(known, phi, action, reward, lesson.get("weight", 1.0))
            carry = (envs, self.with_regression(model_state, known), self.remember(memory, row))
            return carry, ({**outcomes(env, seen), "loss": missed.sum()}, row)

        carry = (world.envs, state.model_state, world.memory)
        carry, (told, rows) = jax.lax.scan(move, carry, jax.random.split(program.key(state), self.n_steps))
        envs, model_state, memory = carry
        world = World(envs, world.frames + self.frames, world.iterations + 1, memory)
        sums = {name: value.sum() for name, value in told.items()}
        sums |= {"weight": jnp.float32(self.frames), "bad_step": jnp.int32(NEVER)}
        return dataclasses.replace(state, model_state=model_state, world=world), sums, rows


class LinUCB(ContextualBandit):
    """Pull the arm whose reward may be the highest: ``argmax_a θ_a·φ + α·√(φᵀ·A_a⁻¹·φ)``.

    Args:
        alpha: α, how many standard errors of optimism.

    Reference: Li, Chu, Langford & Schapire (2010), "A contextual-bandit approach to personalized news article recommendation", WWW,
    algorithm 1 (disjoint).
    """

    alpha: float = setting(default=1.0, minimum=0)

    def scores(self, arms: RidgeArms | PlacedArms, known: Any, phi: jax.Array, key: jax.Array) -> jax.Array:
        return arms.apply({}, known, phi)[0] + self.alpha * arms.width(known, phi)


class LinearThompson(ContextualBandit):
    """Pull the arm that is the best one of a world drawn from the posterior: ``argmax_a θ̃_a·φ``, ``θ̃_a ~ N(θ_a, v²·A_a⁻¹)``.

    Args:
        scale: v.

    Reference: Agrawal & Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", ICML.
    """

    scale: float = setting(default=0.3, minimum=0)

    def scores(self, arms: RidgeArms | PlacedArms, known: Any, phi: jax.Array, key: jax.Array) -> jax.Array:
        return arms.draw(known, phi, key, self.scale)


class LinearGreedy(ContextualBandit):
    """Pull the arm that looks best, or with the probability ε any.

    Args:
        epsilon: ε.
    """

    epsilon: float = setting(default=0.1, minimum=0, maximum=1)

    def scores(self, arms: RidgeArms | PlacedArms, known: Any, phi: jax.Array, key: jax.Array) -> jax.Array:
        coin_key, other_key = jax.random.split(key)
        means, _ = arms.apply({}, known, phi)
        chance = jax.random.uniform(coin_key, (means.shape[0], 1)) < self.epsilon
        return jnp.where(chance, jax.random.uniform(other_key, means.shape), means)


class NeuralLinear(LinearThompson):
    """Thompson sampling by a linear regression on the last hidden layer of a network that learns to foretell rewards.

    The network is trained by gradients on what it remembers; after each iteration the regression is done anew on all of that, since
    the features have moved.

    Args:
        hidden: units of the hidden layers.
        capacity: rows that are remembered.
        gradient_steps: updates of the network in an iteration.
        rows: of one update.

    Reference: Riquelme, Tucker & Snoek (2018), "Deep Bayesian bandits showdown", ICLR: NeuralLinear.
    """

    hidden: tuple[int, ...] = (32, 32)
    learning_rate: float = setting(default=1e-3, above=0)
    capacity: int = setting(default=20_000, minimum=2, integer=True)
    gradient_steps: int = setting(default=20, minimum=1, integer=True)
    rows: int = setting(default=128, minimum=1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden:
            raise ConfigError("NeuralLinear.hidden is (); expected a hidden layer or more, such as (32, 32)")

    @property
    def updates(self) -> int:
        return self.gradient_steps

    @property
    def batch_size(self) -> int:
        return self.rows

    def network(self, env: Environment) -> Layer:
        body = tuple(Dense(units, "relu") for units in self.hidden)
        arms = self.arms(env)
        last = Parallel((Dense(arms.arms), arms), merge="dict", outputs=("foretold", "reward"))
        return Sequential((encoder(env.observation_space), *body, last))

    def loss(self, env: Environment) -> Loss:
        return _Foretold()

    def regression(
        self, env: Environment, params: Any, state: Any, observation: Any
    ) -> tuple[RidgeArms | PlacedArms, Any, jax.Array]:
        network: Any = self.network(env)
        phi, _ = Sequential(network.layers[:-1]).apply(params[:-1], state[:-1], observation)
        return network.layers[-1].branches[1], state[-1][1], phi

    def with_regression(self, state: Any, known: Any) -> Any:
        return (*state[:-1], (state[-1][0], known))

    def memory(self, env: Environment, envs: Envs) -> Any:
        example = {"observation": envs.observation, "action": jnp.zeros_like(envs.steps), "reward": envs.score}
        if isinstance(env.action_space, Slate):
            shape = (len(envs.steps), env.action_space.k)
            example |= {"action": jnp.zeros(shape, jnp.int32), "reward": jnp.zeros(shape)}
        return Replay.of(example, capacity=self.capacity)

    def remember(self, memory: Any, row: dict[str, Any]) -> Any:
        return memory.add(row)

    def iterate(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums]:
        key = jax.random.fold_in(program.key(state), 1)
        state, told = super().iterate(program, state)
        replay: Replay = state.world.memory

        def learn(index: jax.Array, carry: Any) -> Any:
            state, sums = carry
            batch = replay.sample(jax.random.fold_in(key, index), self.rows)
            known = self.regression(program.env, state.params, state.model_state, batch["observation"])[1]
            y = self.lesson(known, batch["action"], batch["reward"])
            state, part = step(
                program.learner, state, {"x": batch["observation"], "y": y, "weight": jnp.ones(self.rows)}
            )
            return state, add_sums(sums, part)

        begun = (state, program.learner.zero_sums())
        state, sums = jax.lax.fori_loop(0, self.gradient_steps, learn, begun)
        seen = replay.take(jnp.arange(replay.capacity))
        there = (jnp.arange(replay.capacity) < replay.size).astype(jnp.float32)
        arms, known, phi = self.regression(program.env, state.params, state.model_state, seen["observation"])
        fresh = arms.init(key, phi.shape[1:])[1]
        lesson = self.lesson(known, seen["action"], seen["reward"])
        if "weight" in lesson:
            there, fresh = there[:, None] * lesson["weight"], {**fresh, "looked": known["looked"]}
        known = arms.learn(fresh, phi, seen["action"], seen["reward"], there)
        model_state = self.with_regression(state.model_state, known)
        return dataclasses.replace(state, model_state=model_state), {
            **sums,
            **{name: told[name] for name in no_outcomes(program.env)},
        }


class _Foretold(PulledReward):
    """The error of what the network foretells by itself."""

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        return super().__call__(outputs["foretold"], targets)


def _arms(env: Environment) -> int:
    space = env.action_space
    return space.n if isinstance(space, Discrete | Slate) else 0


def _highest(env: Environment, scores: jax.Array) -> jax.Array:
    """The action with the highest score, ``(batch,)``, or the slate of the highest ones in their order, ``(batch, places)``."""
    if isinstance(env.action_space, Slate):
        return jax.lax.top_k(scores, env.action_space.k)[1].astype(jnp.int32)
    return jnp.argmax(scores, axis=-1).astype(jnp.int32)
