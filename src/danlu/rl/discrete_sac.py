"""Soft actor-critic for discrete actions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn import Dense, Ensemble, Sequential
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import Loss
from danlu.optim import Optimizer
from danlu.rl.actor_critic import actor_critic_optimizer
from danlu.rl.distributions import Categorical
from danlu.rl.environment import Environment
from danlu.rl.networks import encoder
from danlu.rl.off_policy import OffPolicy
from danlu.rl.spaces import Discrete

__all__ = ["DiscreteActorCritic", "DiscreteSAC", "DiscreteSACLoss"]


class DiscreteActorCritic(Layer):
    """A policy over n actions and critics with a value for each action, side by side.

    Observations to ``{"policy": (batch, n), "q": (batch, critics, n), "log_alpha": (batch,)}``; the policy's numbers are logits.

    Args:
        actor: observations to ``(batch, n)``.
        critics: observations to ``(batch, critics, n)``.
        log_alpha: log of the temperature at the start.

    Params: ``{"actor", "critic", "log_alpha"}``. State: ``{"actor", "critic"}``.
    """

    _former_names: ClassVar[tuple[str, ...]] = ("ChoiceActorCritic",)

    actor: Layer
    critics: Layer
    log_alpha: float = setting(default=0.0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        actor_params, actor_state, policy = self.actor.init(jax.random.fold_in(key, 0), in_shape)
        critic_params, critic_state, q = self.critics.init(jax.random.fold_in(key, 1), in_shape)
        params = {"actor": actor_params, "critic": critic_params, "log_alpha": jnp.float32(self.log_alpha)}
        shapes: Any = {"policy": policy, "q": q, "log_alpha": ()}
        return params, {"actor": actor_state, "critic": critic_state}, shapes

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        policy, _ = self.actor.apply(params["actor"], state["actor"], x)
        q, _ = self.critics.apply(params["critic"], state["critic"], x)
        alpha = jnp.broadcast_to(params["log_alpha"], q.shape[:1])
        return {"policy": policy, "q": q, "log_alpha": alpha}, state

    def flops(self, in_shape: Shape) -> int | None:
        actor, critics = self.actor.flops(in_shape), self.critics.flops(in_shape)
        return None if actor is None or critics is None else actor + critics


class DiscreteSACLoss(Loss):
    """``Σ_k ½(Q_k(s, a) − y)² + Σ_a π(a|s)·(α·log π(a|s) − min_k Q_k(s, a)) + log α·(H(π(·|s)) − H̄)``.

    The expectation over actions is a sum, so nothing is drawn. The critics learn from the first term alone, the actor from the second, α
    from the third.

    Args:
        entropy: H̄, in nats.

    Targets: ``{"action": (batch,), "target": (batch,)}``.

    Reference: Christodoulou, "Soft actor-critic for discrete action settings" (2019), arXiv:1910.07207, eqs. 10 to 12.
    """

    _former_names: ClassVar[tuple[str, ...]] = ("ChoiceLoss",)

    entropy: float

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        q, log_alpha = outputs["q"], outputs["log_alpha"]
        chosen = jnp.take_along_axis(q, targets["action"][:, None, None], axis=2)[..., 0]
        critic = 0.5 * jnp.square(chosen - targets["target"][:, None]).sum(axis=-1)
        log_policy = jax.nn.log_softmax(outputs["policy"])
        policy = jnp.exp(log_policy)
        alpha = jnp.exp(jax.lax.stop_gradient(log_alpha))
        actor = (policy * (alpha[:, None] * log_policy - jax.lax.stop_gradient(q.min(axis=1)))).sum(axis=-1)
        entropy = -(policy * log_policy).sum(axis=-1)
        return critic + actor + log_alpha * jax.lax.stop_gradient(entropy - self.entropy)


class DiscreteSAC(OffPolicy):
    """Soft actor-critic for discrete actions: see :class:`~danlu.rl.SAC` for continuous ones.

    The critics learn ``y = r + γ·Σ_a' π(a'|s')·(min_k Q⁻_k(s', a') − α·log π(a'|s'))``.

    Args:
        critics: how many.
        entropy: H̄ as a share of the largest entropy there is, ``log n``.
        alpha: the temperature at the start.

    Reference: Christodoulou (2019), arXiv:1910.07207. Its H̄ of 0.98·log n keeps a policy near to chance; half of it is the default here.
    """

    hidden: tuple[int, ...] = (128, 128)
    critics: int = setting(default=2, minimum=1, integer=True)
    entropy: float = setting(default=0.5, minimum=0, maximum=1)
    alpha: float = setting(default=0.2, above=0)

    def check(self, env: Environment) -> None:
        if not isinstance(env.action_space, Discrete):
            raise ConfigError(
                f"DiscreteSAC chooses one of several actions; the actions here are {env.action_space}", hint="take SAC"
            )
        encoder(env.observation_space)

    def distribution(self, env: Environment) -> Categorical:
        """The policy's distribution."""
        space: Any = env.action_space
        return Categorical(space.n)

    def network(self, env: Environment) -> Layer:
        n = self.distribution(env).n
        body = tuple(Dense(units, "relu") for units in self.hidden)
        actor = Sequential((encoder(env.observation_space), *body, Dense(n, initializer="lecun_uniform")))
        critic = Sequential((encoder(env.observation_space), *body, Dense(n)))
        return DiscreteActorCritic(actor, Ensemble(critic, self.critics), math.log(self.alpha))

    def loss(self, env: Environment) -> Loss:
        return DiscreteSACLoss(self.entropy * math.log(self.distribution(env).n))

    def optimizer(self, updates: int) -> Optimizer:
        return actor_critic_optimizer(self.learning_rate, self.learning_rate, self.learning_rate)

    def outputs(self, env: Environment, params: Any, state: Any, observation: Any) -> Any:
        """The network's outputs."""
        return self.network(env).apply(params, state, observation)[0]

    def targets(
        self, env: Environment, state: TrainState, target: Any, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Any, Any]:
        log_policy = jax.nn.log_softmax(
            self.outputs(env, state.params, state.model_state, batch["next_observation"])["policy"]
        )
        q = self.outputs(env, target, state.model_state, batch["next_observation"])["q"].min(axis=1)
        alpha = jnp.exp(state.params["log_alpha"])
        worth = (jnp.exp(log_policy) * (q - alpha * log_policy)).sum(axis=-1)
        return batch["observation"], {"action": batch["action"], "target": batch["reward"] + batch["discount"] * worth}

    def td_error(self, outputs: Any, targets: Any) -> jax.Array:
        chosen = jnp.take_along_axis(outputs["q"], targets["action"][:, None, None], axis=2)[..., 0]
        return jnp.abs(chosen - targets["target"][:, None]).mean(axis=-1)

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        outputs = self.outputs(env, params, state, observation)
        return (
            self.greedy_action(env, outputs) if key is None else self.distribution(env).sample(outputs["policy"], key)
        )

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        return self.distribution(env).mode(outputs["policy"])

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        outputs = self.outputs(env, params, state, observation)
        policy, q = jax.nn.softmax(outputs["policy"]), outputs["q"].min(axis=1)
        return {"value": (policy * q).sum(axis=-1), "probabilities": policy, "values": q}
