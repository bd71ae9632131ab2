"""Agents that learn only from recorded experience: behaviour cloning, and conservative Q-learning.

Any agent with a memory can be given one that is full already (``rl.fit(agent, env, data=load_buffer(path))``); then it never acts while
it learns. Plain Q-learning believes too much of actions that the recording never shows. Cloning never asks what actions are worth, and CQL
holds their values down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn import Sequential
from danlu.nn.layer import Layer
from danlu.nn.losses import Loss
from danlu.optim import Optimizer, adam, flatten
from danlu.optim.schedules import Cosine
from danlu.rl.actor_critic import ActorCritic, ActorCriticLoss
from danlu.rl.continuous import SAC
from danlu.rl.distributions import Distribution, Gaussian, distribution_for
from danlu.rl.dqn import DQN, QLoss
from danlu.rl.environment import Environment
from danlu.rl.networks import encoder, mlp
from danlu.rl.off_policy import OffPolicy
from danlu.rl.spaces import Box
from danlu.rl.value_heads import ValueHead

__all__ = [
    "CQL",
    "BehaviourCloning",
    "CloningLoss",
    "ConservativeActorCriticLoss",
    "ConservativeQLoss",
    "ContinuousCQL",
]


class ConservativeQLoss(Loss):
    """The loss of Q-learning, and ``w·(log Σ_a exp Q(s, a) − Q(s, a_recorded))``: actions that were not taken get lower values.

    Args:
        head: see :class:`~danlu.rl.dqn.QLoss`.
        weight: w.

    Reference: Kumar et al., "Conservative Q-learning for offline reinforcement learning" (2020), arXiv:2006.04779, eq. 4 (CQL(H)).

    Example:
        >>> from danlu.rl.value_heads import Expected
        >>> outputs, targets = jnp.zeros((1, 2)), {"action": jnp.array([0]), "target": jnp.zeros((1, 1))}
        >>> round(float(ConservativeQLoss(Expected(), 1.0)(outputs, targets)[0]), 4)  # log 2
        0.6931
    """

    head: ValueHead
    weight: float = setting(default=1.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        # (batch, actions), the means of (batch, actions, size)
        q = self.head.mean(outputs.reshape(outputs.shape[0], -1, self.head.size))
        recorded = jnp.take_along_axis(q, targets["action"][:, None], axis=1)[:, 0]
        return QLoss(self.head)(outputs, targets) + self.weight * (jax.nn.logsumexp(q, axis=1) - recorded)


class CQL(DQN):
    """Conservative Q-learning for discrete actions: DQN with lower values for actions that it has not seen.

    Args:
        cql_alpha: the weight of the doubt.

    Reference: Kumar et al. (2020), arXiv:2006.04779.
    """

    offline: ClassVar[bool] = True

    cql_alpha: float = setting(default=1.0, minimum=0)

    _renamed: ClassVar[Mapping[str, str]] = {"conservative": "cql_alpha"}

    def check(self, env: Environment) -> None:
        if isinstance(env.action_space, Box):
            raise ConfigError(
                f"CQL is for discrete actions; the actions here are {env.action_space}", hint="take ContinuousCQL"
            )
        super().check(env)

    def loss(self, env: Environment) -> Loss:
        return ConservativeQLoss(self.head, self.cql_alpha)


class ConservativeActorCriticLoss(ActorCriticLoss):
    """An actor-critic's loss, and ``w·Σ_k (log (1/n) Σ_j exp(Q_k(s, a_j) − log p(a_j)) − Q_k(s, a_recorded))``.

    The inner sum is over actions drawn from densities p, evenly and from the actor: of ``log ∫ exp Q_k(s, a) da`` an estimate by
    importance sampling.

    Args:
        weight: w.

    Reference: Kumar et al. (2020), arXiv:2006.04779, eq. 4 and appendix F.

    Example:
        >>> q = {"q": jnp.zeros((1, 1)), "q_policy": jnp.zeros((1, 1)), "log_prob": jnp.zeros(1), "log_alpha": jnp.zeros(1)}
        >>> others = {"q_others": jnp.zeros((1, 2, 1)), "log_density": jnp.full((1, 2), -jnp.log(2.0))}  # evenly over a length of 2
        >>> loss = ConservativeActorCriticLoss(entropy=-1.0, weight=1.0)
        >>> round(float(loss({**q, **others}, {"target": jnp.zeros(1)})[0]), 4)  # log 2
        0.6931
    """

    weight: float = setting(default=1.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        q = outputs["q_others"] - outputs["log_density"][..., None]
        doubt = jax.nn.logsumexp(q, axis=1) - math.log(q.shape[1]) - outputs["q"]
        return super().__call__(outputs, targets) + self.weight * doubt.sum(axis=-1)


class ContinuousCQL(SAC):
    """Conservative Q-learning for continuous actions: SAC with lower values for actions that it has not seen.

    Args:
        cql_alpha: the weight of the doubt.
        cql_n_actions: actions drawn evenly, and as many from the actor, by which the doubt is measured.

    Reference: Kumar et al. (2020), arXiv:2006.04779, algorithm 1.
    """

    offline: ClassVar[bool] = True

    cql_alpha: float = setting(default=5.0, minimum=0)
    cql_n_actions: int = setting(default=10, minimum=1, integer=True)

    _renamed: ClassVar[Mapping[str, str]] = {"conservative": "cql_alpha", "others": "cql_n_actions"}

    def check(self, env: Environment) -> None:
        if not isinstance(env.action_space, Box):
            raise ConfigError(
                f"ContinuousCQL is for continuous actions; the actions here are {env.action_space}", hint="use CQL"
            )
        super().check(env)

    def network(self, env: Environment) -> ActorCritic:
        return super().network(env).replace(others=self.cql_n_actions)

    def loss(self, env: Environment) -> Loss:
        usual: Any = super().loss(env)
        return ConservativeActorCriticLoss(usual.entropy, self.cql_alpha)


class CloningLoss(Loss):
    """``−log π(a|s)`` of the recorded action; of a Gaussian ``−Σ_j σ_j log π(a_j|s)``, where σ_j as a weight is taken as given.

    Without the weight the slope in the mean μ_j is ``(μ_j − a_j)/σ_j²``: once one number of the action is known well (steering, σ = 0.003),
    it is all that the network learns, and another (the pedal, σ = 0.3) is not. With it the slope is ``(μ_j − a_j)/σ_j``, of one size for
    all.

    Reference: Seitzer et al., "On the pitfalls of heteroscedastic uncertainty estimation with probabilistic neural networks" (2022),
        arXiv:2203.09168, eq. 6 with its β = 0.5.
    """

    distribution: Distribution

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        if not isinstance(self.distribution, Gaussian):
            return -self.distribution.log_prob(outputs, targets["action"])
        spread = jnp.exp(jax.lax.stop_gradient(jnp.split(outputs, 2, axis=-1)[1]))
        return -(spread * self.distribution.log_probs(outputs, targets["action"])).sum(axis=-1)


class BehaviourCloning(OffPolicy):
    """Imitate the recording: the policy that makes its actions likeliest.

    Reference: Pomerleau, "ALVINN: an autonomous land vehicle in a neural network" (1989).
    """

    offline: ClassVar[bool] = True
    policy_at = ((0,), (1,))
    _unused: ClassVar[Mapping[str, str]] = {
        "n_step": "rewards are not learnt from",
        "prioritised": "there are no errors of values to draw by",
        "priority_alpha": "there are no errors of values to draw by",
        "priority_beta": "there are no errors of values to draw by",
        "tau": "there is no target network",
        "target_update_interval": "there is no target network",
    }

    gradient_steps: int = setting(default=16, minimum=1, integer=True)

    def check(self, env: Environment) -> None:
        self.distribution(env)
        encoder(env.observation_space)

    def distribution(self, env: Environment) -> Distribution:
        """The policy's distribution."""
        return distribution_for(env.action_space, squashed=isinstance(env.action_space, Box))

    def network(self, env: Environment) -> Layer:
        size = self.distribution(env).size
        return Sequential((encoder(env.observation_space, standardise=True), mlp(self.hidden, size, gain=0.01)))

    def loss(self, env: Environment) -> Loss:
        return CloningLoss(self.distribution(env))

    def optimizer(self, updates: int) -> Optimizer:
        return flatten(adam(Cosine(self.learning_rate, max(updates, 1))))

    def stored_action(self, env: Environment, action: Any) -> Any:
        distribution: Any = self.distribution(env)
        return distribution.from_env(action) if isinstance(env.action_space, Box) else action

    def env_action(self, env: Environment, action: Any) -> Any:
        return self.distribution(env).to_env(action)

    def targets(
        self, env: Environment, state: TrainState, target: Any, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Any, Any]:
        return batch["observation"], {"action": batch["action"]}

    def td_error(self, outputs: Any, targets: Any) -> jax.Array:
        """There is no TD error: all rows have the same priority."""
        return jnp.ones(outputs.shape[0])

    def act(self, env: Environment, params: Any, state: Any, observation: Any, key: jax.Array | None) -> Any:
        distribution, numbers = self.distribution(env), self.numbers(env, params, state, observation)
        return (
            self.greedy_action(env, numbers) if key is None else distribution.to_env(distribution.sample(numbers, key))
        )

    def numbers(self, env: Environment, params: Any, state: Any, observation: Any) -> Any:
        """The numbers of the policy's distribution for a batch of observations, ``(batch, numbers)``."""
        return self.network(env).apply(params, state, observation)[0]

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        distribution = self.distribution(env)
        return distribution.to_env(distribution.mode(outputs))

    def describe(self, env: Environment, params: Any, state: Any, observation: Any) -> dict[str, jax.Array]:
        numbers, distribution = self.numbers(env, params, state, observation), self.distribution(env)
        if isinstance(env.action_space, Box):
            return {"entropy": distribution.entropy(numbers)}
        return {"entropy": distribution.entropy(numbers), "probabilities": jax.nn.softmax(numbers)}
