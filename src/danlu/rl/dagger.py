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
from danlu.nn.layer import Layer
from danlu.nn.losses import Loss
from danlu.rl.agent import AgentProgram, World
from danlu.rl.detecting import Detecting, DetectingLoss, Seeing, sight_of
from danlu.rl.distributions import Distribution, distribution_for
from danlu.rl.environment import Environment, Envs, Transition
from danlu.rl.evaluation import has_expert
from danlu.rl.networks import encoder, policy_head
from danlu.rl.offline import BehaviourCloning, CloningLoss

__all__ = ["DAgger"]


class DAgger(BehaviourCloning):
    """Act by yourself, ask the expert what it would have done there, and learn that: cloning with dataset aggregation.

    The first round is the expert's own driving (``learning_starts`` steps). From then on the pupil acts, but for a share ``beta`` of the
    steps, in which the expert does; every state is stored with the expert's action, and the pupil learns from all that was stored so far.
    Cloning alone never sees the states that its own mistakes lead to. With ``beta=1`` it is cloning: the expert always acts.

    Args:
        beta: β_i of all rounds after the first, the share of the steps in which the expert acts.
        detector: the weight of a detector's error (see :class:`~danlu.rl.detecting.DetectingLoss`); above 0 the network is a detector of
            what is in the picture (:meth:`~danlu.rl.Environment.truth`) and a policy that sees what it finds alone
            (:class:`~danlu.rl.detecting.Detecting`). 0 is one network from observation to action.

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
        if self.detector:
            sight_of(env)

    def distribution(self, env: Environment) -> Distribution:
        return distribution_for(env.action_space)

    def network(self, env: Environment) -> Layer:
        policy = policy_head(self.distribution(env), self.hidden, log_std=-1.0)
        if self.detector:
            return Detecting(sight_of(env), policy)
        return Sequential((encoder(env.observation_space, standardise=True), policy))

    def metrics(self, env: Environment) -> tuple[tuple[str, Any], ...]:
        return (("objects", Seeing(objects=True)), ("numbers", Seeing(objects=False))) if self.detector else ()

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
        return self._policy(super().numbers(env, params, state, observation))

    def greedy_action(self, env: Environment, outputs: Any) -> Any:
        return super().greedy_action(env, self._policy(outputs))

    def _policy(self, outputs: Any) -> Any:
        """The policy's numbers, which of a detector's outputs are a part."""
        return outputs["policy"] if isinstance(outputs, dict) else outputs
