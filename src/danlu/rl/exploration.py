"""Exploration: random actions with probability ε over time, and noise on continuous actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError

__all__ = ["Epsilon", "GaussianNoise", "OrnsteinUhlenbeck"]


class Epsilon(Blueprint):
    """The share of random actions, from ``start`` to ``end`` in ``steps`` steps, and ``end`` from then on.

    With ``d = min(count / steps, 1)``: linear ``start + d·(end − start)``, exponential ``start·(end / start)^d``. With ``start = end``
    it is constant.

    Args:
        start, end: in [0, 1]; above 0 for the exponential.
        steps: steps of the environments until ``end``, >= 1.
        shape: ``"linear"`` or ``"exponential"``.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Mnih et al., "Human-level control through deep reinforcement learning" (2015), methods: linear, 1 to 0.1 in the first million
        frames.

    Example:
        >>> [round(float(Epsilon(1.0, 0.25, 100)(count)), 4) for count in (0, 50, 100, 999)]
        [1.0, 0.625, 0.25, 0.25]
        >>> [round(float(Epsilon(1.0, 0.25, 100, "exponential")(count)), 4) for count in (0, 50, 100, 999)]
        [1.0, 0.5, 0.25, 0.25]
    """

    start: float = setting(default=1.0, minimum=0, maximum=1)
    end: float = setting(default=0.05, minimum=0, maximum=1)
    steps: int = setting(default=10_000, minimum=1, integer=True)
    shape: str = setting(default="linear", choices=("linear", "exponential"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape == "exponential" and not min(self.start, self.end) > 0:
            raise ConfigError(
                f"Epsilon goes from {self.start} to {self.end} exponentially; expected both above 0",
                hint="take a small end such as 0.01, or shape='linear'",
            )

    def __call__(self, count: int | jax.Array) -> jax.Array:
        """ε after ``count`` steps, float32."""
        progress = jnp.minimum(jnp.asarray(count, jnp.float32) / self.steps, 1.0)
        if self.shape == "exponential":
            return self.start * (self.end / self.start) ** progress
        return (1 - progress) * self.start + progress * self.end


class GaussianNoise(Blueprint):
    """Independent noise ``σ·N(0, 1)`` on every entry of every action.

    Args:
        sigma: σ >= 0, in units of the action.

    Reference:
        Fujimoto et al., "Addressing function approximation error in actor-critic methods" (TD3, 2018), section 6.1 (σ = 0.1 of the
        bound).
    """

    _renamed: ClassVar[Mapping[str, str]] = {"scale": "sigma"}

    sigma: float = setting(default=0.1, minimum=0)

    def init(self, shape: tuple[int, ...]) -> jax.Array:
        """The state before the first step, for actions of ``shape``, environments first. It is not used here."""
        return jnp.zeros(shape)

    def draw(self, state: jax.Array, key: jax.Array, ended: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``(state, noise)``, the noise of the state's shape; see :meth:`OrnsteinUhlenbeck.draw`."""
        return state, self.sigma * jax.random.normal(key, state.shape)


class OrnsteinUhlenbeck(Blueprint):
    """Noise that wanders and is drawn back to 0: ``x ← x − θ·x·Δt + σ·√Δt·N(0, 1)``; successive values are alike.

    Its standard deviation in the long run is ``σ·√(Δt / (1 − (1 − θ·Δt)²))``, near ``σ / √(2θ)`` for small steps.

    Args:
        sigma: σ >= 0, in units of the action per square root of time.
        theta: θ > 0, per unit of time; θ·Δt at most 1.
        dt: Δt > 0, the time between two steps.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Uhlenbeck & Ornstein, "On the theory of the Brownian motion" (1930), in Euler's steps; Lillicrap et al., "Continuous control with
        deep reinforcement learning" (2016), section 7: θ = 0.15, σ = 0.2.

    Example:
        >>> noise = OrnsteinUhlenbeck(sigma=0.0, theta=0.5)
        >>> noise.draw(jnp.array([[4.0], [4.0]]), jax.random.key(0), jnp.array([False, True]))[1].tolist()
        [[2.0], [0.0]]
    """

    _renamed: ClassVar[Mapping[str, str]] = {"scale": "sigma", "pull": "theta", "interval": "dt"}

    sigma: float = setting(default=0.2, minimum=0)
    theta: float = setting(default=0.15, above=0)
    dt: float = setting(default=1.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.theta * self.dt > 1:
            raise ConfigError(
                f"OrnsteinUhlenbeck has theta·dt = {self.theta * self.dt:g}; expected at most 1",
                hint="a larger one overshoots 0 in every step",
            )

    def init(self, shape: tuple[int, ...]) -> jax.Array:
        """The state before the first step, for actions of ``shape``, environments first."""
        return jnp.zeros(shape)

    def draw(self, state: jax.Array, key: jax.Array, ended: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``(state, noise)`` for the next step.

        Args:
            state: from :meth:`init` or the step before.
            key: what chance draws from.
            ended: ``(environments,)``: whether an episode ended with the step before; its noise starts from 0.
        """
        before = jnp.where(ended.reshape(ended.shape + (1,) * (state.ndim - ended.ndim)), 0.0, state)
        drift = before * (1 - self.theta * self.dt)
        after = drift + self.sigma * self.dt**0.5 * jax.random.normal(key, state.shape)
        return after, after
