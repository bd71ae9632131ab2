"""An actor and its critics as one network with one loss.

The critics learn the values of actions; the actor learns actions of high value. Neither may change the other: the
actor's part of the loss sees the critics behind ``stop_gradient``. So both learn from one gradient of one sum, and the engine's step
trains them like any network.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn import Dense, Ensemble, Parallel, Sequential
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import Loss
from danlu.optim import Optimizer, adam
from danlu.rl.distributions import TanhGaussian
from danlu.rl.environment import Environment
from danlu.rl.networks import IDENTITY, encoder
from danlu.rl.spaces import Box

__all__ = ["ActorCritic", "ActorCriticLoss", "bounded_actions", "each_its_own"]


class ActorCritic(Layer):
    """An actor π and critics Q, together.

    Inputs: ``{"observation", "action": (batch, dim)}``, the action with bounds ±1. Outputs: ``"q"`` ``(batch, critics)`` of that action;
    ``"q_policy"`` ``(batch, critics)`` of the actor's own, through which only the actor learns; ``"log_prob"`` ``(batch,)`` of it;
    ``"log_alpha"``. With ``others`` also ``"q_others"`` ``(batch, 2·others, critics)`` of so many actions drawn evenly within the bounds
    and as many of the actor's, and ``"log_density"`` ``(batch, 2·others)`` of how they were drawn.

    Args:
        actor: observations to the numbers of the policy.
        critics: ``{"observation", "action"}`` to ``(batch, critics, 1)``.
        distribution: of the actor's numbers; None makes it deterministic: ``a = tanh(numbers)``.
        log_alpha: log of the temperature at the start.
        others: see above; the actor must be stochastic.

    Params: ``{"actor", "critic", "log_alpha"}``. State: ``{"actor", "critic"}``. A stochastic actor needs a ``key``, also when not in
        training.

    Reference: Silver et al., "Deterministic policy gradient algorithms" (2014), eq. 9: ``∇_θ J = E[∇_θ μ(s)·∇_a Q(s, a)|_{a = μ(s)}]``,
        which is backpropagation through both.
    """

    actor: Layer
    critics: Layer
    distribution: TanhGaussian | None = None
    log_alpha: float = setting(default=0.0)
    others: int = setting(default=0, minimum=0, integer=True)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return ()

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape: Any = in_shape
        actor_params, actor_state, _ = self.actor.init(jax.random.fold_in(key, 0), shape["observation"])
        out: Any
        critic_params, critic_state, out = self.critics.init(jax.random.fold_in(key, 1), shape)
        params = {"actor": actor_params, "critic": critic_params, "log_alpha": jnp.float32(self.log_alpha)}
        count = out[:1]
        shapes: Any = {"q": count, "q_policy": count, "log_prob": (), "log_alpha": ()}
        if self.others:
            shapes |= {"q_others": (2 * self.others, *count), "log_density": (2 * self.others,)}
        return params, {"actor": actor_state, "critic": critic_state}, shapes

    def numbers(self, params: Params, state: State, observation: Any) -> jax.Array:
        """The actor's outputs, ``(batch, numbers)``."""
        return self.actor.apply(params["actor"], state["actor"], observation)[0]

    def values(self, params: Params, state: State, observation: Any, action: jax.Array) -> jax.Array:
        """The critics' values, ``(batch, critics)``."""
        inputs = {"observation": observation, "action": action}
        return self.critics.apply(params["critic"], state["critic"], inputs)[0][..., 0]

    def decide(
        self, params: Params, state: State, observation: Any, key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """The actor's action, and ``log π`` of it (0 of a deterministic one, or of the likeliest when there is no key)."""
        numbers = self.numbers(params, state, observation)
        nothing = jnp.zeros(numbers.shape[:1], numbers.dtype)
        if self.distribution is None:
            return jnp.tanh(numbers), nothing
        if key is None:
            return self.distribution.mode(numbers), nothing
        return self.distribution.sample_with_log_prob(numbers, key)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        action, log_prob = self.decide(params, state, x["observation"], key)
        frozen = jax.lax.stop_gradient(params)
        alpha = jnp.broadcast_to(params["log_alpha"], log_prob.shape)
        outputs = {
            "q": self.values(params, state, x["observation"], x["action"]),
            "q_policy": self.values(frozen, state, x["observation"], action),
            "log_prob": log_prob,
            "log_alpha": alpha,
        }
        if self.others:
            outputs |= self._others(params, state, x, key)
        return outputs, state

    def _others(self, params: Params, state: State, x: Any, key: Any) -> dict[str, jax.Array]:
        """What the critics say of actions that were not done."""
        rows, dim = x["action"].shape
        again = lambda count: jax.tree.map(lambda a: jnp.repeat(a, count, axis=0), x["observation"])  # noqa: E731
        evenly = jax.random.uniform(jax.random.fold_in(key, 1), (rows, self.others, dim), minval=-1, maxval=1)
        frozen = jax.lax.stop_gradient(params)
        own, log_prob = self.decide(frozen, state, again(self.others), jax.random.fold_in(key, 2))
        actions = jnp.concatenate([evenly, own.reshape(rows, self.others, dim)], axis=1)
        q = self.values(params, state, again(2 * self.others), actions.reshape(-1, dim))  # of (rows·2·others, dim)
        density = jnp.full((rows, self.others), -dim * math.log(2), log_prob.dtype)
        densities = jnp.concatenate([density, log_prob.reshape(rows, self.others)], axis=1)
        return {"q_others": q.reshape(rows, 2 * self.others, -1), "log_density": densities}  # (rows, 2·others, critics)

    def flops(self, in_shape: Shape) -> int | None:
        shape: Any = in_shape
        actor, critics = self.actor.flops(shape["observation"]), self.critics.flops(shape)
        return None if actor is None or critics is None else (1 + self.others) * actor + 2 * (1 + self.others) * critics


class ActorCriticLoss(Loss):
    """``Σ_k ½(Q_k(s, a) − y)² − Q_1(s, μ(s))``; with a temperature ``Σ_k ½(Q_k − y)² + α·log π(ã|s) − min_k Q_k(s, ã) − log α·(log
    π(ã|s) + H̄)``.

    Each term is seen by its own parameters alone: the first by the critics, α and log π by no gradient in the terms that are not theirs.

    Args:
        entropy: H̄, the entropy to keep; None is a deterministic actor without a temperature.

    Targets: ``{"target": (batch,)}``.

    Reference: Lillicrap et al. (2016), arXiv:1509.02971; Haarnoja et al., "Soft actor-critic algorithms and applications" (2018),
        arXiv:1812.05905, eqs. 5, 7 and 18.
    """

    entropy: float | None = None

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        critic = 0.5 * jnp.square(outputs["q"] - targets["target"][:, None]).sum(axis=-1)
        if self.entropy is None:
            return critic - outputs["q_policy"][:, 0]
        log_prob, log_alpha = outputs["log_prob"], outputs["log_alpha"]
        alpha = jnp.exp(jax.lax.stop_gradient(log_alpha))
        actor = alpha * log_prob - outputs["q_policy"].min(axis=-1)
        temperature = -log_alpha * jax.lax.stop_gradient(log_prob + self.entropy)
        return critic + actor + temperature


def td_error(outputs: Any, targets: Any) -> jax.Array:
    """``½(Q(s, a) − y)²``, the mean over the critics."""
    return 0.5 * jnp.square(outputs["q"] - targets["target"][:, None]).mean(axis=-1)


def bounded_actions(owner: str, env: Environment) -> TanhGaussian:
    """The squashed distribution over the actions of ``env``, whose ``to_env`` and ``from_env`` deterministic actors use too.

    Raises:
        ConfigError: actions that are not a bounded box.
    """
    space = env.action_space
    if not isinstance(space, Box):
        raise ConfigError(
            f"{owner} is for continuous actions; the actions here are {space}",
            hint="take DQN or PPO for discrete actions",
        )
    return TanhGaussian(space)


def actor_network(env: Environment, hidden: tuple[int, ...], outputs: int) -> Layer:
    """An encoder and an MLP."""
    body = tuple(Dense(units, "relu") for units in hidden)
    return Sequential((encoder(env.observation_space), *body, Dense(outputs, initializer="lecun_uniform")))


def critic_network(env: Environment, hidden: tuple[int, ...], count: int) -> Layer:
    """``count`` MLPs of the encoded observation and the action side by side."""
    joined = Parallel((encoder(env.observation_space), IDENTITY), inputs=("observation", "action"))
    body = tuple(Dense(units, "relu") for units in hidden)
    return Ensemble(Sequential((joined, *body, Dense(1))), count)


@dataclasses.dataclass(frozen=True)
class _EachInit:
    optimizers: tuple[tuple[str, Optimizer], ...]

    def __call__(self, params: Any) -> dict[str, Any]:
        return {name: optimizer.init(params[name]) for name, optimizer in self.optimizers}


@dataclasses.dataclass(frozen=True)
class _EachUpdate:
    updates: tuple[tuple[str, Any, int], ...]

    def __call__(self, grads: Any, state: dict[str, Any], params: Any = None) -> tuple[Any, dict[str, Any]]:
        moves, after = {}, {}
        for name, update, every in self.updates:
            if every == 1:
                moves[name], after[name] = update(grads[name], state[name], params[name])
                continue
            count = state["count"]
            moved = update(grads[name], state[name], params[name])
            still = (jax.tree.map(jnp.zeros_like, grads[name]), state[name])
            moves[name], after[name] = _where((count + 1) % every == 0, moved, still)
        if "count" in state:
            after["count"] = state["count"] + 1
        return moves, after


def _where(flag: jax.Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), new, old)


@dataclasses.dataclass(frozen=True)
class _CountingInit:
    init: _EachInit

    def __call__(self, params: Any) -> dict[str, Any]:
        return {**self.init(params), "count": jnp.int32(0)}


def each_its_own(**optimizers: tuple[Optimizer, int]) -> Optimizer:
    """An optimizer for each part of the params (a dict), and the number of steps between its updates.

    Example:
        >>> from danlu.optim import sgd
        >>> optimizer = each_its_own(critic=(sgd(1.0), 1), actor=(sgd(0.5), 2))
        >>> params = {"critic": jnp.zeros(1), "actor": jnp.zeros(1)}
        >>> state = optimizer.init(params)
        >>> for _ in range(2):
        ...     updates, state = optimizer.update({"critic": jnp.ones(1), "actor": jnp.ones(1)}, state, params)
        ...     print(updates["critic"].item(), updates["actor"].item() or 0)
        -1.0 0
        -1.0 -0.5
    """
    pairs = tuple((name, optimizer) for name, (optimizer, _) in optimizers.items())
    updates = tuple((name, optimizer.update, every) for name, (optimizer, every) in optimizers.items())
    init: Any = _EachInit(pairs)
    return Optimizer(_CountingInit(init) if any(every > 1 for *_, every in updates) else init, _EachUpdate(updates))


def actor_critic_optimizer(
    actor_rate: float, critic_rate: float, alpha_rate: float, policy_delay: int = 1
) -> Optimizer:
    """Adam for the actor, the critics and the temperature."""
    return each_its_own(
        actor=(adam(actor_rate), policy_delay), critic=(adam(critic_rate), 1), log_alpha=(adam(alpha_rate), 1)
    )
