"""A Q-network's output for an action: the expected return, or its whole distribution.

Each is a blueprint: ``size`` numbers an action; ``mean`` is what the agent acts by; ``target`` makes of what is said of the next action
what is to be said of this one; ``loss`` is how far apart the two are. DQN takes any of them, and the rest of it does not change.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.rl.targets import project_categorical, quantile_huber, quantile_midpoints

__all__ = ["Expected", "Histogram", "Quantiles", "ValueHead"]


class ValueHead(Blueprint, abc.ABC):
    """A description of an action's return by ``size`` numbers."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """The count of numbers per action."""

    @abc.abstractmethod
    def mean(self, numbers: jax.Array) -> jax.Array:
        """The expected return: ``(…, size)`` to ``(…,)``."""

    @abc.abstractmethod
    def target(self, numbers: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        """The distribution of ``r + γ·Z`` where ``numbers`` describe Z: ``(batch, size)``; γ is 0 after termination."""

    @abc.abstractmethod
    def loss(self, numbers: jax.Array, target: jax.Array) -> jax.Array:
        """How far ``numbers`` are from ``target``, both ``(batch, size)``: ``(batch,)``."""

    def td_error(self, numbers: jax.Array, target: jax.Array) -> jax.Array:
        """The size of the TD error, ``(batch,)``: of a distribution its loss, as in Hessel et al., "Rainbow" (2018)."""
        return self.loss(numbers, target)


class Expected(ValueHead):
    """The expected return alone, with Huber's loss: its gradient is the TD error, cut at ±1.

    Reference: Mnih et al., "Human-level control through deep reinforcement learning" (2015), "Training details".
    """

    @property
    def size(self) -> int:
        """Always 1."""
        return 1

    def mean(self, numbers: jax.Array) -> jax.Array:
        return numbers[..., 0]

    def target(self, numbers: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        return reward[:, None] + discount[:, None] * numbers

    def loss(self, numbers: jax.Array, target: jax.Array) -> jax.Array:
        error = jnp.abs(numbers - target)[:, 0]
        return jnp.where(error < 1, 0.5 * jnp.square(error), error - 0.5)

    def td_error(self, numbers: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.abs(numbers - target)[:, 0]


class Histogram(ValueHead):
    """The probability of each of ``atoms`` returns from ``v_min`` to ``v_max`` (C51); numbers are logits, the loss is the cross-entropy.

    Reference: Bellemare, Dabney & Munos, "A distributional perspective on reinforcement learning" (2017), arXiv:1707.06887.
    """

    _renamed: ClassVar[Mapping[str, str]] = {"low": "v_min", "high": "v_max"}

    v_min: float = setting(default=0.0)
    v_max: float = setting(default=100.0)
    atoms: int = setting(default=51, minimum=2, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.v_min < self.v_max:
            raise ConfigError(
                f"Histogram goes from v_min = {self.v_min} to v_max = {self.v_max}; expected v_min below v_max"
            )

    @property
    def size(self) -> int:
        """``atoms``."""
        return self.atoms

    @property
    def support(self) -> jax.Array:
        """The returns, ``(atoms,)``."""
        return jnp.linspace(self.v_min, self.v_max, self.atoms)

    def mean(self, numbers: jax.Array) -> jax.Array:
        return jax.nn.softmax(numbers) @ self.support

    def target(self, numbers: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        return project_categorical(self.support, jax.nn.softmax(numbers), reward, discount)

    def loss(self, numbers: jax.Array, target: jax.Array) -> jax.Array:
        return -jnp.sum(target * jax.nn.log_softmax(numbers), axis=-1)


class Quantiles(ValueHead):
    """``count`` quantiles of the return (QR-DQN), with the quantile Huber loss.

    Reference: Dabney et al., "Distributional reinforcement learning with quantile regression" (2018), arXiv:1710.10044.
    """

    count: int = setting(default=32, minimum=1, integer=True)

    @property
    def size(self) -> int:
        """``count``."""
        return self.count

    def mean(self, numbers: jax.Array) -> jax.Array:
        return numbers.mean(axis=-1)

    def target(self, numbers: jax.Array, reward: jax.Array, discount: jax.Array) -> jax.Array:
        return reward[:, None] + discount[:, None] * numbers

    def loss(self, numbers: jax.Array, target: jax.Array) -> jax.Array:
        return quantile_huber(numbers, target, quantile_midpoints(self.count))
