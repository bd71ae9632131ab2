"""Pendulum: a rod to be swung up and kept upright by a motor that is too weak to lift it."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import GOLD, INK, MUTED, Canvas
from danlu.rl.spaces import Box

__all__ = ["Pendulum", "PendulumState"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PendulumState:
    """The angle from upright (radians, not wrapped) and its speed; float32."""

    angle: jax.Array
    spin: jax.Array


class Pendulum(Environment):
    """A rod on a motor; each step costs how far it is from standing still upright, and a little for the torque.

    With angle θ from upright, speed ω, and torque u, clipped into ±2::

        reward = −(wrapped θ)² − 0.1·ω² − 0.001·u²        from θ and ω before the step
        ω ← clip(ω + (3g/(2l)·sin θ + 3/(m·l²)·u)·τ, ±8)
        θ ← θ + ω·τ

    The episode begins with θ uniform in ±π and ω in ±1. It never terminates: it is truncated after ``max_steps``.

    Args:
        max_steps: the steps after which an episode is truncated.
        gravity: g, m/s².
        mass, length: m (kg) and l (m).
        max_torque: N·m.
        max_speed: rad/s.
        time_step: τ, s.

    Observation: ``[cos θ, sin θ, ω]``, float32. Action: ``(1,)``.

    Reference: Gymnasium's ``Pendulum-v1``, which this is, in float32.

    Example:
        >>> state = PendulumState(*jnp.float32([0.5, 1.0]))
        >>> state, outcome = jax.jit(Pendulum().step)(state, jnp.float32([1.0]), jax.random.key(0))
        >>> print(np.asarray(outcome.observation).round(4), outcome.reward.round(3))
        [0.8389 0.5442 1.5096] -0.351
    """

    id: ClassVar[str | None] = "Pendulum-v1"

    max_steps: int = setting(default=200, minimum=1, integer=True)
    gravity: float = setting(default=10.0, minimum=0)
    mass: float = setting(default=1.0, above=0)
    length: float = setting(default=1.0, above=0)
    max_torque: float = setting(default=2.0, above=0)
    max_speed: float = setting(default=8.0, above=0)
    time_step: float = setting(default=0.05, above=0)

    @property
    def observation_space(self) -> Box:
        return Box((-1.0, -1.0, -self.max_speed), (1.0, 1.0, self.max_speed), (3,))

    @property
    def action_space(self) -> Box:
        return Box(-self.max_torque, self.max_torque, (1,))

    def reset(self, key: jax.Array) -> tuple[PendulumState, jax.Array]:
        drawn = jax.random.uniform(key, (2,), minval=-1.0)
        state = PendulumState(math.pi * drawn[0], drawn[1])
        return state, _seen(state)

    def step(self, state: PendulumState, action: jax.Array, key: jax.Array) -> tuple[PendulumState, Outcome]:
        torque = jnp.clip(action[0], -self.max_torque, self.max_torque)
        from_upright = state.angle - 2 * math.pi * jnp.floor((state.angle + math.pi) / (2 * math.pi))
        cost = jnp.square(from_upright) + 0.1 * jnp.square(state.spin) + 0.001 * jnp.square(torque)
        pull = 1.5 * self.gravity / self.length * jnp.sin(state.angle)
        spin = state.spin + (pull + 3 / (self.mass * self.length**2) * torque) * self.time_step
        spin = jnp.clip(spin, -self.max_speed, self.max_speed)
        after = PendulumState(state.angle + spin * self.time_step, spin)
        return after, Outcome(_seen(after), -cost, jnp.zeros((), bool))

    def frame(self, state: PendulumState) -> np.ndarray:
        reach = 1.2 * self.length
        canvas = Canvas(200, 200, left=-reach, bottom=-reach, scale=100 / reach)
        angle = float(state.angle)
        tip = (-self.length * math.sin(angle), self.length * math.cos(angle))
        canvas.line([(0, 0.95 * reach), (0, reach)], MUTED, 2)
        canvas.line([(0, 0), tip], GOLD, 14)
        canvas.circle((0, 0), 0.05 * self.length, INK)
        return canvas.pixels()


def _seen(state: PendulumState) -> jax.Array:
    return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.spin])
