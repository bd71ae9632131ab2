"""Agents that learn from their latest rollout, and then discard it: REINFORCE, A2C and PPO.

All three are one iteration: act for a while, work out how much better than expected each action turned out (the advantage), and take
gradient steps that make good actions likelier. They differ in the loss, in how long they act, and in how often they go over what they saw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.loop import loop_steps
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn import Parallel, Sequential
from danlu.nn.layer import Layer
from danlu.nn.losses import Loss
from danlu.optim import Optimizer, adam, chain, clip_by_global_norm, flatten
from danlu.optim.schedules import Cosine
from danlu.rl.agent import Agent, AgentProgram, Sums, World, outcomes
from danlu.rl.detecting import Seen, sight_of
from danlu.rl.distributions import Categorical, Distribution, distribution_for
from danlu.rl.environment import Environment, Envs, Transition
from danlu.rl.networks import Standardise, encoder, learn_statistics, mlp, policy_head
from danlu.rl.policy_losses import PolicyGradientLoss, PPOLoss, entropy, value_error
from danlu.rl.returns import generalized_advantages

__all__ = ["A2C", "PPO", "REINFORCE", "OnPolicy"]


class OnPolicy(Agent):
    """The base of REINFORCE, A2C and PPO. The network is an encoder, a policy and a value function side by side.

    Advantages are brought to mean 0 and standard deviation 1 over the rows of an iteration before the loss sees them.

    Args:
        n_steps: of each environment in an iteration.
        n_epochs: passes over the rows of an iteration.
        minibatches: into how many batches a pass is divided; it divides ``environments · n_steps``.
        gae_lambda: λ of the advantages (see :func:`~danlu.rl.returns.generalized_advantages`): 1 trusts the rewards
            alone, 0 the value function.
        value_weight: of the value function's error in the loss.
        entropy_weight: of the policy's entropy in the loss; keeps it from becoming certain too early.
        clip_norm: global norm above which a gradient is scaled down.
        anneal: whether the learning rate falls to 0 over the training, on half a cosine.
        standardise: whether observations are standardised by all that were seen.
        scale_rewards: whether rewards are divided by the spread of the discounted return so far, for learning alone.
        activation: of the hidden layers.
        log_std: of continuous actions: log σ at the start, where the bounds are ±1.
        detector: whether it sees by the detector of the policy that it begins with (of :class:`~danlu.rl.DAgger`), which learns no further.
    """

    n_steps: int = setting(default=128, minimum=1, integer=True)
    n_epochs: int = setting(default=1, minimum=1, integer=True)
    minibatches: int = setting(default=1, minimum=1, integer=True)
    gae_lambda: float = setting(default=0.95, minimum=0, maximum=1)
    value_weight: float = setting(default=0.5, minimum=0)
    entropy_weight: float = setting(default=0.0, minimum=0)
    clip_norm: float = setting(default=0.5, above=0)
    anneal: bool = True
    standardise: bool = True
    scale_rewards: bool = False
    activation: str = "tanh"
    log_std: float = setting(default=-0.5)
    detector: bool = False

    policy_at: ClassVar[tuple[tuple[int | str, ...], ...]] = ((0,), (1, 0))
    _full_episodes: ClassVar[bool] = False
    _renamed: ClassVar[Mapping[str, str]] = {"steps": "n_steps", "passes": "n_epochs", "decay": "gae_lambda"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.environments * self.n_steps) % self.minibatches:
            raise ConfigError(
                f"{type(self).__name__}: {self.environments} environments of {self.n_steps} steps cannot be divided into "
                f"{self.minibatches} minibatches",
                hint="choose minibatches that divide environments · n_steps",
            )

    @property
    def frames(self) -> int:
        return self.environments * self.n_steps

    @property
    def updates(self) -> int:
        return self.n_epochs * self.minibatches

    @property
    def batch_size(self) -> int:
        return self.frames // self.minibatches

    def check(self, env: Environment) -> None:
        self.distribution(env)
        self.eye(env)

    def distribution(self, env: Environment) -> Distribution:
        """The policy's distribution."""
        return distribution_for(env.action_space)

    def eye(self, env: Environment) -> Layer:
        """The layers that turn an observation into a vector."""
        return Seen(sight_of(env)) if self.detector else encoder(env.observation_space, standardise=self.standardise)

    @property
    def needs_policy(self) -> bool:
        return self.detector

    def network(self, env: Environment) -> Layer:
        policy = policy_head(self.distribution(env), self.hidden, activation=self.activation, log_std=self.log_std)
        heads = (policy, mlp(self.hidden, 1, activation=self.activation))
        return Sequential((self.eye(env), Parallel(heads, merge="dict", outputs=("policy", "value"))))

    def optimizer(self, updates: int) -> Optimizer:
        rate = Cosine(self.learning_rate, max(updates, 1)) if self.anneal else self.learning_rate
        return flatten(chain(clip_by_global_norm(self.clip_norm), adam(rate, epsilon=1e-5)))

    def metrics(self, env: Environment) -> tuple[tuple[str, Any], ...]:
        return (("entropy", entropy(self.distribution(env))), ("value_error", value_error))

    def outputs(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        """The network's outputs for a batch of observations: ``{"policy": (batch, numbers), "value": (batch, 1)}``."""
        found: dict[str, jax.Array] = self.network(env).apply(params, state, observation)[0]
        return found

    def env_action(self, env: Environment, action: Any, outputs: dict[str, jax.Array]) -> Any:
        """An action of the distribution as the environment takes it."""
        return self.distribution(env).to_env(action)

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        outputs = self.outputs(env, params, state, observation)
        if key is None:
            return self.greedy_action(env, outputs)
        return self.env_action(env, self.distribution(env).sample(outputs["policy"], key), outputs)

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        return self.env_action(env, self.distribution(env).mode(outputs["policy"]), outputs)

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        outputs, distribution = self.outputs(env, params, state, observation), self.distribution(env)
        found = {"value": outputs["value"][:, 0]}
        if isinstance(distribution, Categorical):
            return {**found, "probabilities": jax.nn.softmax(outputs["policy"])}
        return {**found, "entropy": distribution.entropy(outputs["policy"])}

    def begin(self, program: AgentProgram, params: Any, model_state: Any, key: jax.Array) -> tuple[Any, World]:
        envs = program.env.begin(key, self.environments)
        zero = jnp.zeros((), jnp.int32)
        spread = {"mean": jnp.zeros(()), "variance": jnp.ones(()), "count": jnp.zeros(())}
        memory = {"running": jnp.zeros(self.environments), "spread": spread}
        return model_state, World(envs, zero, zero, memory if self.scale_rewards else None)

    def iterate(self, program: AgentProgram, state: TrainState) -> tuple[TrainState, Sums]:
        env, learner, world = program.env, program.learner, state.world
        collect_key, order_key, begin_key = jax.random.split(program.key(state), 3)
        envs = env.begin(begin_key, self.environments) if self._full_episodes else world.envs
        envs, rollout = self.collect(env, state, envs, collect_key)
        worth = dataclasses.replace(rollout, reward=program.priced(world, rollout.reward, rollout.cost))
        memory, reward = self.scaled(world.memory, worth)
        weight = self.weights(rollout)
        targets = self.targets(env, state, dataclasses.replace(rollout, reward=reward), weight)
        chunk = self.rows(rollout, targets, weight)
        # A pass goes over the rows in the order of random numbers (epochs, rows): one sort, where jax.random.permutation has two.
        numbers = jax.random.bits(order_key, (self.updates * self.batch_size,)).reshape(self.n_epochs, -1)
        order = jnp.argsort(numbers, axis=1).reshape(-1)
        after, sums = loop_steps(learner, state, learner.zero_sums(), chunk, order, 0, self.updates)
        world = World(envs, world.frames + self.frames, world.iterations + 1, memory)
        model_state = learn_statistics(learner.model, after.model_state, chunk["x"])
        return dataclasses.replace(after, model_state=model_state, world=world), {
            **sums,
            **outcomes(env, rollout, weight),
        }

    def collect(self, env: Environment, state: TrainState, envs: Envs, key: jax.Array) -> tuple[Envs, Transition]:
        """Act by the policy: a rollout ``(steps, environments, …)`` with its actions and the distributions they were drawn from."""
        distribution = self.distribution(env)

        def move(envs: Envs, key: jax.Array) -> tuple[Envs, Transition]:
            act_key, env_key = jax.random.split(key)
            outputs = self.outputs(env, state.params, state.model_state, envs.observation)
            action = distribution.sample(outputs["policy"], act_key)
            envs, transition = env.advance(envs, self.env_action(env, action, outputs), env_key)
            return envs, dataclasses.replace(transition, extra={"action": action, "numbers": outputs["policy"]})

        return jax.lax.scan(move, envs, jax.random.split(key, self.n_steps))

    def targets(
        self, env: Environment, state: TrainState, rollout: Transition, weight: jax.Array
    ) -> dict[str, jax.Array]:
        """For each step ``(steps, environments, …)``: the action, its probability, its advantage, and the target return."""
        distribution = self.distribution(env)

        def values(observation: Any) -> jax.Array:
            outputs = self.outputs(env, state.params, state.model_state, _flat(observation))
            return outputs["value"].reshape(rollout.reward.shape)

        value, next_value = values(rollout.observation), values(rollout.next_observation)
        advantage = generalized_advantages(
            rollout.reward,
            value,
            next_value,
            rollout.terminated,
            rollout.truncated,
            discount=self.discount,
            lambda_=self.gae_lambda,
        )
        total = jnp.maximum(weight.sum(), 1)
        mean = (weight * advantage).sum() / total
        spread = jnp.sqrt((weight * jnp.square(advantage - mean)).sum() / total)
        return {
            "action": rollout.extra["action"],
            "log_prob": distribution.log_prob(rollout.extra["numbers"], rollout.extra["action"]),
            "advantage": (advantage - mean) / (spread + 1e-8),
            "return": advantage + value,
        }

    def weights(self, rollout: Transition) -> jax.Array:
        """The weight of each step, ``(steps, environments)``."""
        return _first_episodes(rollout) if self._full_episodes else jnp.ones_like(rollout.reward)

    def rows(self, rollout: Transition, targets: dict[str, jax.Array], weight: jax.Array) -> dict[str, Any]:
        """The rollout as training rows; here each step is one."""
        return {"x": _flat(rollout.observation), "y": _flat(targets), "weight": _flat(weight)}

    def scaled(self, memory: Any, rollout: Transition) -> tuple[Any, jax.Array]:
        """Rewards divided by the standard deviation of the discounted sums of rewards so far.

        Reference: Engstrom et al., "Implementation matters in deep policy gradients" (2020), appendix A, algorithm 1.
        """
        if memory is None:
            return None, rollout.reward

        def add(running: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
            reward, ended = step
            total = self.discount * running + reward
            return jnp.where(ended, 0.0, total), total

        before = jnp.zeros_like(memory["running"]) if self._full_episodes else memory["running"]
        running, totals = jax.lax.scan(add, before, (rollout.reward, rollout.ended))
        spread = Standardise().learn(memory["spread"], totals.reshape(-1))
        scale = jax.lax.rsqrt(jnp.maximum(spread["variance"], 1e-8))
        return {"running": running, "spread": spread}, rollout.reward * scale


def _flat(tree: Any) -> Any:
    """The axes of time and environments made one."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)  # (time·environments, …)


def _first_episodes(rollout: Transition) -> jax.Array:
    """1 for the steps of each environment's first episode, 0 for those after it."""
    ended = jnp.cumsum(rollout.ended, axis=0) - rollout.ended
    return (ended == 0).astype(jnp.float32)


class REINFORCE(OnPolicy):
    """The stochastic policy gradient with a learnt baseline: whole episodes, then one step.

    ``∇J = E Σ_t ∇ log π(a_t|s_t) · (G_t − V(s_t))``, with G the discounted sum of the rewards to the end of the episode. Each
    environment plays one episode from its beginning (at most ``n_steps`` steps); an episode that was cut is worth what V says of where it
    was left.

    Reference: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning" (1992); Sutton & Barto,
    "Reinforcement learning: an introduction" (2nd ed., 2018), section 13.4.
    """

    environments: int = setting(default=16, minimum=1, integer=True)
    n_steps: int = setting(default=500, minimum=1, integer=True)
    learning_rate: float = setting(default=5e-3, above=0)
    gae_lambda: float = setting(default=1.0, minimum=1, maximum=1)

    _full_episodes: ClassVar[bool] = True

    def loss(self, env: Environment) -> Loss:
        return PolicyGradientLoss(self.distribution(env), self.value_weight, self.entropy_weight)


class A2C(OnPolicy):
    """Advantage actor-critic: a few steps in many environments, then one step of gradient descent.

    ``∇J = E ∇ log π(a|s) · A(s, a)``, with generalized advantages A.

    Reference: Mnih et al., "Asynchronous methods for deep reinforcement learning" (2016), arXiv:1602.01783, its synchronous form.
    """

    environments: int = setting(default=16, minimum=1, integer=True)
    n_steps: int = setting(default=8, minimum=1, integer=True)
    learning_rate: float = setting(default=2e-3, above=0)

    def loss(self, env: Environment) -> Loss:
        return PolicyGradientLoss(self.distribution(env), self.value_weight, self.entropy_weight)


class PPO(OnPolicy):
    """Proximal policy optimisation: several passes over the rollout, each kept near the policy that collected it.

    With ``ρ = π(a|s) / π_old(a|s)`` the loss of a row is ``−min(ρ·A, clip(ρ, 1 − ε, 1 + ε)·A)``: nothing is gained by moving ρ further
    than ε.

    Args:
        clip: ε.

    Reference: Schulman et al. (2017), arXiv:1707.06347, eq. 7; Schulman et al. (2016), arXiv:1506.02438, for the advantages.

    Example:
        >>> PPO(environments=16, n_steps=64, minibatches=4).batch_size
        256
    """

    environments: int = setting(default=16, minimum=1, integer=True)
    n_steps: int = setting(default=128, minimum=1, integer=True)
    n_epochs: int = setting(default=4, minimum=1, integer=True)
    minibatches: int = setting(default=8, minimum=1, integer=True)
    learning_rate: float = setting(default=1e-3, above=0)
    clip: float = setting(default=0.2, above=0, below=1)

    def loss(self, env: Environment) -> Loss:
        return PPOLoss(self.distribution(env), self.clip, self.value_weight, self.entropy_weight)
