"""Environments.

An environment is a blueprint: its fields are the parameters of the world (gravity, lengths, limits), and its ``reset`` and ``step`` are
pure functions of a state. So a thousand of them are ``vmap``, an episode is ``scan``, and what an agent does and learns in them compiles as
one program. ``advance`` is where all of that happens, once: stepping many environments, cutting episodes that took too long, and starting
anew those that have ended.

An episode *terminates* when the world says so (the pole fell): what would come after it is worth 0. It is *truncated* when time is up: the
world would have gone on, so the value of the state it was left in counts. The two are kept apart everywhere.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.rl.spaces import Space

__all__ = ["Environment", "Envs", "Outcome", "Transition"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of one step of one environment.

    Attributes:
        observation: what is seen in the state after it.
        reward: float32.
        terminated: whether the world ended with it.
        cost: what it cost of each kind of :attr:`Environment.costs`, float32; None in a world without costs.
        parts: what each part of an action brought, such as each place of a slate, ``(parts,)``, of which the reward is the sum; None
            where only the sum is seen.
    """

    observation: Any
    reward: jax.Array
    terminated: jax.Array
    cost: Any = None
    parts: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Envs:
    """Several running environments; every array has a leading axis of environments.

    Attributes:
        state: their states.
        observation: what is seen in them.
        steps: steps of the running episodes so far, int32.
        score: sum of their rewards so far, float32.
        spent: sum of their costs so far, float32 ``(environments, kinds)``; None in a world without costs.
    """

    state: Any
    observation: Any
    steps: jax.Array
    score: jax.Array
    spent: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Transition:
    """A step of several environments; every array has a leading axis of environments (in a rollout a time axis before it).

    Attributes:
        observation: what was seen before the step.
        action: what was done.
        reward: what it brought.
        next_observation: what was seen after it, in the same episode: also of an episode that ended with it.
        terminated: whether the world ended; nothing comes after.
        truncated: whether the episode was cut because time was up; never both.
        steps, score: length and sum of rewards of the episode so far, this step included: of an ended episode its result.
        extra: what else the agent noted (such as the logits it drew from).
        cost: what it cost, ``(environments, kinds)``; None in a world without costs.
        spent: the sum of the episode's costs so far, this step included.
        parts: what each part of the action brought, ``(environments, parts)``; None where only the reward is seen.
    """

    observation: Any
    action: Any
    reward: jax.Array
    next_observation: Any
    terminated: jax.Array
    truncated: jax.Array
    steps: jax.Array
    score: jax.Array
    extra: Any = None
    cost: Any = None
    spent: Any = None
    parts: Any = None

    @property
    def ended(self) -> jax.Array:
        """Whether the episode ended, by termination or truncation; of the shape of ``terminated``."""
        return self.terminated | self.truncated


class Environment(Blueprint, abc.ABC):
    """An environment for one agent; base of all environments.

    A subclass has the parameters of the world as fields, and ``reset``, ``step`` and the spaces. Time is no part of it: episodes are cut in
    :meth:`advance`.

    Args:
        max_steps: the steps after which an episode is truncated.

    Attributes:
        id: its name, such as ``"CartPole-v1"``; None of an environment that has no entry in the registry.
        solved: the mean return from which it counts as solved, or None.
        pure: whether it is made of pure functions, so that everything about it compiles and its state can be saved.
        costs: the kinds of what should not happen, such as ``("collision", "speeding")``; kept apart from the reward, see
            :mod:`danlu.rl.constraint`.
        detected: the kinds of objects in its pictures, where it says what is in them (:meth:`truth`).
    """

    id: ClassVar[str | None] = None
    solved: ClassVar[float | None] = None
    pure: ClassVar[bool] = True
    costs: ClassVar[tuple[str, ...]] = ()
    detected: ClassVar[tuple[str, ...]] = ()

    max_steps: int = setting(default=1000, minimum=1, integer=True)

    @property
    @abc.abstractmethod
    def observation_space(self) -> Space:
        """The space of observations."""

    @property
    @abc.abstractmethod
    def action_space(self) -> Space:
        """The space of actions."""

    @abc.abstractmethod
    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """``(state, observation)`` at the start of an episode."""

    @abc.abstractmethod
    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Outcome]:
        """``(state, outcome)`` after an action. An action out of bounds is clipped into them, as Gymnasium's environments do."""

    def frame(self, state: Any) -> np.ndarray | None:
        """A picture of a state (on the host), ``(height, width, 3)`` uint8; None for an environment without pictures."""
        return None

    def expert(self, state: Any) -> Any | None:
        """What one who knows the whole state does in it, as :meth:`step` takes it: whom :class:`~danlu.rl.DAgger` imitates; None where
        nobody knows."""
        return None

    def truth(self, state: Any) -> dict[str, jax.Array] | None:
        """What is to be seen in the picture of a state, of a world that names the kinds of objects in it (``detected``): ``"boxes"``
        ``(objects, 4)`` in pixels, ``"labels"`` ``(objects,)`` int32 with −1 for none, and quantities that are no objects, ``"numbers"``
        ``(quantities,)``. None where the world does not say."""
        return None

    def draw(self, envs: Envs, key: jax.Array) -> Any:
        """An action in each environment, drawn uniformly from the legal ones: the baseline for an agent."""
        return jax.vmap(self.action_space.sample)(jax.random.split(key, envs.steps.shape[0]))

    def begin(self, key: jax.Array, count: int) -> Envs:
        """``count`` environments at the start of an episode each."""
        state, observation = jax.vmap(self.reset)(jax.random.split(key, count))
        spent = jnp.zeros((count, len(self.costs))) if self.costs else None
        return Envs(state, observation, jnp.zeros(count, jnp.int32), jnp.zeros(count, jnp.float32), spent)

    def advance(self, envs: Envs, action: Any, key: jax.Array) -> tuple[Envs, Transition]:
        """One step in each environment; those whose episode ended begin a new one.

        Args:
            envs: where they are.
            action: one for each.
            key: what chance draws from, in this step and in the new beginnings.

        Returns:
            The environments after it, and the transition, whose ``next_observation`` is of the old episode.
        """
        count = envs.steps.shape[0]
        step_key, reset_key = jax.random.split(key)
        state, outcome = jax.vmap(self.step)(envs.state, action, jax.random.split(step_key, count))
        steps, score = envs.steps + 1, envs.score + outcome.reward
        spent = envs.spent + outcome.cost if self.costs else None
        truncated = (steps >= self.max_steps) & ~outcome.terminated
        transition = Transition(
            observation=envs.observation,
            action=action,
            reward=outcome.reward,
            next_observation=outcome.observation,
            terminated=outcome.terminated,
            truncated=truncated,
            steps=steps,
            score=score,
            cost=outcome.cost,
            spent=spent,
            parts=outcome.parts,
        )
        ended = transition.ended

        def renew(running: Envs) -> Envs:
            fresh = self.begin(reset_key, count)
            return jax.tree.map(lambda new, old: jnp.where(_along(ended, old), new, old), fresh, running)

        running = Envs(state, outcome.observation, steps, score, spent)
        return jax.lax.cond(ended.any(), renew, lambda running: running, running), transition


def _along(flags: jax.Array, like: jax.Array) -> jax.Array:
    """Flags of environments, with axes added to stand before an array of theirs."""
    return flags.reshape(flags.shape + (1,) * (like.ndim - flags.ndim))  # (environments, 1, …), as many axes as like
