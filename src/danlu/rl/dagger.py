"""Imitating an expert where the pupil goes itself: cloning with dataset aggregation."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn import Sequential
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.losses import Loss
from danlu.rl.agent import AgentProgram, World
from danlu.rl.distributions import Distribution, distribution_for
from danlu.rl.environment import Environment, Envs, Transition
from danlu.rl.evaluation import has_expert
from danlu.rl.networks import encoder, mlp, policy_head
from danlu.rl.offline import BehaviourCloning, CloningLoss

__all__ = ["DAgger", "Detecting", "DetectingLoss"]


class Detecting(Layer):
    """A policy that acts on what a detector says of the observation, and on nothing else.

    Outputs: ``{"policy": (batch, numbers), "seen": (batch, things)}``. Params and state: ``(detector's, policy's)``.

    Args:
        detector: observations to numbers.
        policy: those numbers to the policy's.
    """

    detector: Layer
    policy: Layer

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("detector", self.detector), ("policy", self.policy))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        detector, first, shape = self.detector.init(jax.random.fold_in(key, 0), in_shape)
        policy, second, out = self.policy.init(jax.random.fold_in(key, 1), shape)
        return (detector, policy), (first, second), {"policy": out, "seen": shape}

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], State]:
        seen, first = self.detector.apply(params[0], state[0], x, train=train, key=key)
        numbers, second = self.policy.apply(params[1], state[1], seen, train=train, key=key)
        return {"policy": numbers, "seen": seen}, (first, second)


class DetectingLoss(Loss):
    """``−log π(a|s) + w·Σ_j (ŷ_j − y_j)²``: of the action, and of what the detector says against the truth.

    Args:
        distribution: π.
        weight: w.
    """

    distribution: Distribution
    weight: float = setting(default=1.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        wrong = jnp.square(outputs["seen"] - targets["truth"]).sum(axis=-1)
        return CloningLoss(self.distribution)(outputs["policy"], targets) + self.weight * wrong


class DAgger(BehaviourCloning):
    """Act by yourself, ask the expert what it would have done there, and learn that: cloning with dataset aggregation.

    The first round is the expert's own driving (``learning_starts`` steps). From then on the pupil acts, but for a share ``beta`` of the
    steps, in which the expert does; every state is stored with the expert's action, and the pupil learns from all that was stored so far.
    Cloning alone never sees the states that its own mistakes lead to. With ``beta=1`` it is cloning: the expert always acts.

    Args:
        beta: β_i of all rounds after the first, the share of the steps in which the expert acts.
        detector: the weight of a detector's error (see :class:`DetectingLoss`); above 0 the network is a detector of the world's
            :meth:`~danlu.rl.Environment.truth` and a policy that sees what it says alone. 0 is one network from observation to action.

    Reference: Ross, Gordon & Bagnell, "A reduction of imitation learning and structured prediction to no-regret online learning" (2011),
        arXiv:1011.0686, algorithm 3.1; ``beta=0`` is its choice without a parameter, β_i = I(i = 1).
    """

    offline: ClassVar[bool] = False

    environments: int = setting(default=16, minimum=1, integer=True)
    learning_starts: int = setting(default=2048, minimum=1, integer=True)
    capacity: int = setting(default=20_000, minimum=2, integer=True)
    train_freq: int = setting(default=16, minimum=1, integer=True)
    beta: float = setting(default=0.0, minimum=0, maximum=1)
    detector: float = setting(default=0.0, minimum=0)

    def check(self, env: Environment) -> None:
        super().check(env)
        if not has_expert(env):
            raise ConfigError(
                f"DAgger asks an expert what to do, and {env.id} has none",
                hint="take an environment with an expert, such as driving, or learn from a recording with agent.algorithm=bc",
            )
        if self.detector and self._truth(env) is None:
            raise ConfigError(
                f"DAgger.detector is {self.detector}, and {env.id} does not say what is to be detected",
                hint="set detector=0",
            )

    def distribution(self, env: Environment) -> Distribution:
        return distribution_for(env.action_space)

    def network(self, env: Environment) -> Layer:
        policy = policy_head(self.distribution(env), self.hidden, log_std=-1.0)
        eye = encoder(env.observation_space, standardise=True)
        if not self.detector:
            return Sequential((eye, policy))
        detector = mlp((128,), self._truth(env).shape[0], activation="relu")
        return Detecting(Sequential((eye, *detector.layers)), policy)

    def _truth(self, env: Environment) -> Any:
        return jax.eval_shape(lambda key: env.truth(env.reset(key)[0]), jax.random.key(0))

    def loss(self, env: Environment) -> Loss:
        usual = CloningLoss(self.distribution(env))
        return DetectingLoss(self.distribution(env), self.detector) if self.detector else usual

    def first_actions(self, env: Environment, envs: Envs, key: jax.Array) -> Any:
        return jax.vmap(env.expert)(envs.state)

    def begin_offline(
        self, program: AgentProgram, params: Any, model_state: Any, recorded: Transition
    ) -> tuple[Any, World]:
        raise ConfigError(
            "DAgger asks an expert where it goes itself, and does not learn from a recording",
            hint="agent.algorithm=bc imitates a recording",
        )

    def explore(
        self, env: Environment, state: TrainState, envs: Envs, frames: jax.Array, wandering: Any, key: jax.Array
    ) -> tuple[Any, Any]:
        own = self.act(env, state.params, state.model_state, envs.observation, None)
        guided = jax.random.bernoulli(key, self.beta, (self.environments,))

        def either(expert: jax.Array, own: jax.Array) -> jax.Array:
            return jnp.where(guided.reshape(-1, *(1 for _ in own.shape[1:])), expert, own)  # (environments, 1, …)

        return jax.tree.map(either, jax.vmap(env.expert)(envs.state), own), wandering

    def noted(self, env: Environment, envs: Envs, transition: Transition) -> Transition:
        """The transition with the expert's action in the place of what was done, and the truth about what was seen."""
        truth = jax.vmap(env.truth)(envs.state) if self.detector else None
        return dataclasses.replace(transition, action=jax.vmap(env.expert)(envs.state), extra=truth)

    def kept(self, env: Environment, transition: Transition) -> dict[str, Any]:
        rows = {
            "observation": transition.observation,
            "action": self.stored_action(env, transition.action),
        }
        return {**rows, "truth": transition.extra} if self.detector else rows

    def summed(self, windows: dict[str, Any]) -> dict[str, Any]:
        return jax.tree.map(lambda leaf: leaf[:, 0], windows)

    def targets(
        self, env: Environment, state: TrainState, target: Any, batch: dict[str, Any], key: jax.Array
    ) -> tuple[Any, Any]:
        return batch["observation"], {name: batch[name] for name in ("action", "truth") if name in batch}

    def numbers(self, env: Environment, params: Any, state: Any, observation: Any) -> Any:
        outputs = super().numbers(env, params, state, observation)
        return outputs["policy"] if self.detector else outputs
