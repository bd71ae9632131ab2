"""Agents with continuous actions that learn from a replay memory: DDPG, TD3 and SAC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.nn.losses import Loss
from danlu.optim import Optimizer
from danlu.rl.actor_critic import (
    ActorCritic,
    ActorCriticLoss,
    actor_critic_optimizer,
    actor_network,
    bounded_actions,
    critic_network,
    td_error,
)
from danlu.rl.distributions import TanhGaussian
from danlu.rl.environment import Environment, Envs
from danlu.rl.exploration import GaussianNoise, OrnsteinUhlenbeck
from danlu.rl.networks import encoder
from danlu.rl.off_policy import OffPolicy

__all__ = ["DDPG", "SAC", "TD3", "ContinuousControl"]


class ContinuousControl(OffPolicy):
    """The base of DDPG, TD3 and SAC: an actor, critics, and the next state's value by their target network.

    Args:
        critics: how many; the least of what they say is the target's.
        critic_learning_rate: the critics' learning rate; None is ``learning_rate``.
    """

    hidden: tuple[int, ...] = (128, 128)
    policy_at = (("actor",),)

    batch_size: int = setting(default=128, minimum=1, integer=True)
    critics: int = setting(default=2, minimum=1, integer=True)
    critic_learning_rate: float | None = setting(default=None, above=0, optional=True)

    _renamed: ClassVar[Mapping[str, str]] = {"critic_rate": "critic_learning_rate"}

    def check(self, env: Environment) -> None:
        bounded_actions(type(self).__name__, env)
        encoder(env.observation_space)

    def actions(self, env: Environment) -> TanhGaussian:
        """The actions' bounds and distribution."""
        return bounded_actions(type(self).__name__, env)

    def network(self, env: Environment) -> ActorCritic:
        dim = self.actions(env).dim
        return ActorCritic(actor_network(env, self.hidden, dim), critic_network(env, self.hidden, self.critics), None)

    def in_shape(self, env: Environment) -> Any:
        return {"observation": env.observation_space.shape, "action": env.action_space.shape}

    def loss(self, env: Environment) -> Loss:
        return ActorCriticLoss()

    def metrics(self, env: Environment) -> tuple[tuple[str, Any], ...]:
        return (("td_error", td_error),)

    def optimizer(self, updates: int) -> Optimizer:
        return actor_critic_optimizer(
            self.learning_rate, self.critic_learning_rate or self.learning_rate, self.learning_rate
        )

    def stored_action(self, env: Environment, action: Any) -> Any:
        return self.actions(env).from_env(action)

    def env_action(self, env: Environment, action: Any) -> Any:
        return self.actions(env).to_env(action)

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        action, _ = self.network(env).decide(params, state, observation, key)
        return self.actions(env).to_env(action)

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        network = self.network(env)
        action, _ = network.decide(params, state, observation, None)
        return {"value": network.values(params, state, observation, action).min(axis=-1)}

    def targets(
        self, env: Environment, state: TrainState, target: Any, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Any, Any]:
        worth = self.worth(env, state, target, batch["next_observation"], key)
        x = {"observation": batch["observation"], "action": batch["action"]}
        return x, {"target": batch["reward"] + batch["discount"] * worth}

    def td_error(self, outputs: Any, targets: Any) -> jax.Array:
        return jnp.abs(outputs["q"] - targets["target"][:, None]).mean(axis=-1)

    def worth(self, env: Environment, state: TrainState, target: Any, observation: Any, key: jax.Array) -> jax.Array:
        """The value of a state by the target network, ``(batch,)``."""
        network = self.network(env)
        action, _ = network.decide(target, state.model_state, observation, None)
        return network.values(target, state.model_state, observation, action).min(axis=-1)


class DDPG(ContinuousControl):
    """The deterministic policy gradient, deep: one actor, one critic, and noise to explore.

    The critic learns ``y = r + γ·Q⁻(s', μ⁻(s'))``; the actor climbs ``Q(s, μ(s))``.

    Args:
        noise: what is added to actions in training, where the bounds are ±1: :class:`~danlu.rl.exploration.GaussianNoise`, or
            :class:`~danlu.rl.exploration.OrnsteinUhlenbeck`, which goes on in one direction for a while; a number is the former's scale.

    Reference: Lillicrap et al., "Continuous control with deep reinforcement learning" (2016), arXiv:1509.02971, algorithm 1; Silver et al.
        (2014) for the gradient. The default is white noise, as in Fujimoto et al. (2018).
    """

    critics: int = setting(default=1, minimum=1, integer=True)
    noise: GaussianNoise | OrnsteinUhlenbeck = GaussianNoise(0.1)

    def __post_init__(self) -> None:
        if isinstance(self.noise, int | float) and not isinstance(self.noise, bool):
            object.__setattr__(self, "noise", GaussianNoise(self.noise))
        super().__post_init__()

    def wandering(self, env: Environment) -> Any:
        return self.noise.init((self.environments, self.actions(env).dim))

    def explore(
        self, env: Environment, state: TrainState, envs: Envs, frames: jax.Array, wandering: Any, key: jax.Array
    ) -> tuple[Any, Any]:
        action, _ = self.network(env).decide(state.params, state.model_state, envs.observation, None)
        wandering, noise = self.noise.draw(wandering, key, envs.steps == 0)
        return self.actions(env).to_env(action + noise), wandering


class TD3(DDPG):
    """DDPG with three changes: the smaller value of two critics, noise on the target's actions, and rarer updates of the actor.

    Args:
        target_noise, noise_clip: standard deviation and bound of the noise on the target's actions.
        policy_delay: updates of the critics to one of the actor.

    Reference: Fujimoto, van Hoof & Meger, "Addressing function approximation error in actor-critic methods" (2018), arXiv:1802.09477,
        algorithm 1. The target networks follow at every update of the critics, half as far as the paper's at every second.
    """

    critics: int = setting(default=2, minimum=1, integer=True)
    target_noise: float = setting(default=0.2, minimum=0)
    noise_clip: float = setting(default=0.5, minimum=0)
    policy_delay: int = setting(default=2, minimum=1, integer=True)

    _renamed: ClassVar[Mapping[str, str]] = {"actor_every": "policy_delay"}

    def optimizer(self, updates: int) -> Optimizer:
        critic_rate = self.critic_learning_rate or self.learning_rate
        return actor_critic_optimizer(self.learning_rate, critic_rate, self.learning_rate, self.policy_delay)

    def worth(self, env: Environment, state: TrainState, target: Any, observation: Any, key: jax.Array) -> jax.Array:
        network = self.network(env)
        action, _ = network.decide(target, state.model_state, observation, None)
        noise = jnp.clip(self.target_noise * jax.random.normal(key, action.shape), -self.noise_clip, self.noise_clip)
        action = jnp.clip(action + noise, -1, 1)
        return network.values(target, state.model_state, observation, action).min(axis=-1)


class SAC(ContinuousControl):
    """Soft actor-critic: a stochastic actor with a reward for its entropy, whose temperature keeps the entropy at a target.

    The critics learn ``y = r + γ·(min_k Q⁻_k(s', a') − α·log π(a'|s'))`` with a' drawn from π; the actor minimises ``α·log π − min_k
    Q_k``; α follows so that the entropy stays at H̄.

    Args:
        entropy: H̄ in nats, where the bounds are ±1; None is −1 for each of an action's numbers.
        alpha: the temperature at the start.

    Reference: Haarnoja et al. (2018), arXiv:1812.05905, algorithm 1.
    """

    entropy: float | None = None
    alpha: float = setting(default=1.0, above=0)

    def network(self, env: Environment) -> ActorCritic:
        actions = self.actions(env)
        actor = actor_network(env, self.hidden, actions.size)
        critics = critic_network(env, self.hidden, self.critics)
        return ActorCritic(actor, critics, actions, math.log(self.alpha))

    def loss(self, env: Environment) -> Loss:
        return ActorCriticLoss(-float(self.actions(env).dim) if self.entropy is None else self.entropy)

    def worth(self, env: Environment, state: TrainState, target: Any, observation: Any, key: jax.Array) -> jax.Array:
        """The value of the online actor's action, as in the paper; only the critics have a target network."""
        network = self.network(env)
        action, log_prob = network.decide(state.params, state.model_state, observation, key)
        alpha = jnp.exp(state.params["log_alpha"])
        return network.values(target, state.model_state, observation, action).min(axis=-1) - alpha * log_prob
