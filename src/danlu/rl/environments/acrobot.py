"""Acrobot: two links hanging from a hinge, driven at the joint between them, to be swung above a line."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import BLUE, GOLD, INK, MUTED, Canvas
from danlu.rl.spaces import Box, Discrete

__all__ = ["Acrobot", "AcrobotState"]

Four = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AcrobotState:
    """The angle of the first link from hanging down, that of the second from the first (radians), and their speeds; float32."""

    first_angle: jax.Array
    second_angle: jax.Array
    first_spin: jax.Array
    second_spin: jax.Array


class Acrobot(Environment):
    """Two links, of which the joint between them is turned by −1, 0 or +1 N·m (actions 0, 1, 2); each step costs 1 until the tip is up.

    With angles α, β (β from the first link), torque τ, link masses m₁, m₂, first length l, centres of mass c₁, c₂ and inertia I::

        d₁ = m₁c₁² + m₂(l² + c₂² + 2·l·c₂·cos β) + 2I        d₂ = m₂(c₂² + l·c₂·cos β) + I
        φ₂ = m₂·c₂·g·sin(α + β)
        φ₁ = −m₂·l·c₂·β'·(β' + 2α')·sin β + (m₁c₁ + m₂l)·g·sin α + φ₂
        β" = (τ + φ₁·d₂/d₁ − m₂·l·c₂·α'²·sin β − φ₂) / (m₂c₂² + I − d₂²/d₁)
        α" = −(d₂·β" + φ₁) / d₁

    integrated over ``time_step`` by one step of the classical Runge-Kutta method (RK4). Then the angles are wrapped into ±π and the speeds
    are clipped into ±4π and ±9π. The episode begins with all four uniform in ±0.1, and terminates when ``−cos α − cos(α + β) > 1``. The
    reward is −1 in each step, and 0 in the one that terminates.

    Args:
        max_steps: the steps after which an episode is truncated.
        gravity: g, m/s².
        first_mass, second_mass: m₁ and m₂, kg.
        first_length, second_length: m; only the first one's enters the equations, the second one's is drawn.
        first_centre, second_centre: c₁ and c₂, m from each link's upper end.
        inertia: I of either link, kg·m².
        torque: N·m.
        time_step: s.

    Observation: ``[cos α, sin α, cos β, sin β, α', β']``, float32.

    Reference: Sutton (1996), "Generalization in reinforcement learning"; the equations are those of Sutton & Barto's book, as in
    Gymnasium's ``Acrobot-v1``, which this is, in float32 and without noise in the torque.

    Example:
        >>> state = AcrobotState(*jnp.float32([0.1, 0.0, 0.0, 0.0]))
        >>> state, outcome = jax.jit(Acrobot().step)(state, 2, jax.random.key(0))
        >>> print(np.asarray(outcome.observation).round(3), outcome.reward)
        [ 0.997  0.075  0.999  0.043 -0.247  0.423] -1.0
    """

    id: ClassVar[str | None] = "Acrobot-v1"
    solved: ClassVar[float | None] = -100.0

    max_steps: int = setting(default=500, minimum=1, integer=True)
    gravity: float = setting(default=9.8, minimum=0)
    first_mass: float = setting(default=1.0, above=0)
    second_mass: float = setting(default=1.0, above=0)
    first_length: float = setting(default=1.0, above=0)
    second_length: float = setting(default=1.0, above=0)
    first_centre: float = setting(default=0.5, above=0)
    second_centre: float = setting(default=0.5, above=0)
    inertia: float = setting(default=1.0, above=0)
    torque: float = setting(default=1.0, above=0)
    time_step: float = setting(default=0.2, above=0)

    MAX_FIRST_SPIN: ClassVar[float] = 4 * math.pi
    MAX_SECOND_SPIN: ClassVar[float] = 9 * math.pi

    @property
    def observation_space(self) -> Box:
        high = (1.0, 1.0, 1.0, 1.0, self.MAX_FIRST_SPIN, self.MAX_SECOND_SPIN)
        return Box(tuple(-value for value in high), high, (6,))

    @property
    def action_space(self) -> Discrete:
        return Discrete(3)

    def reset(self, key: jax.Array) -> tuple[AcrobotState, jax.Array]:
        drawn = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        state = AcrobotState(drawn[0], drawn[1], drawn[2], drawn[3])
        return state, _seen(state)

    def step(self, state: AcrobotState, action: jax.Array, key: jax.Array) -> tuple[AcrobotState, Outcome]:
        torque = (jnp.clip(action, 0, 2) - 1) * self.torque
        h = self.time_step
        start: Four = (state.first_angle, state.second_angle, state.first_spin, state.second_spin)
        k1 = self._change(start, torque)
        k2 = self._change(_moved(start, k1, h / 2), torque)
        k3 = self._change(_moved(start, k2, h / 2), torque)
        k4 = self._change(_moved(start, k3, h), torque)
        mean = tuple(a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        first, second, first_spin, second_spin = (x + h / 6 * slope for x, slope in zip(start, mean, strict=True))
        after = AcrobotState(
            _wrapped(first),
            _wrapped(second),
            jnp.clip(first_spin, -self.MAX_FIRST_SPIN, self.MAX_FIRST_SPIN),
            jnp.clip(second_spin, -self.MAX_SECOND_SPIN, self.MAX_SECOND_SPIN),
        )
        up = -jnp.cos(after.first_angle) - jnp.cos(after.first_angle + after.second_angle) > 1.0
        return after, Outcome(_seen(after), jnp.where(up, 0.0, -1.0), up)

    def frame(self, state: AcrobotState) -> np.ndarray:
        reach = self.first_length + self.second_length + 0.2
        canvas = Canvas(200, 200, left=-reach, bottom=-reach, scale=100 / reach)
        canvas.line([(-reach, self.first_length), (reach, self.first_length)], MUTED, 1)
        alpha, beta = float(state.first_angle), float(state.first_angle) + float(state.second_angle)
        joint = (self.first_length * math.sin(alpha), -self.first_length * math.cos(alpha))
        tip = (joint[0] + self.second_length * math.sin(beta), joint[1] - self.second_length * math.cos(beta))
        canvas.line([(0, 0), joint], BLUE, 8)
        canvas.line([joint, tip], GOLD, 8)
        for centre in ((0, 0), joint):
            canvas.circle(centre, 0.07, INK)
        return canvas.pixels()

    def _change(self, at: Four, torque: jax.Array) -> Four:
        """``(α', β', α", β")``."""
        alpha, beta, first_spin, second_spin = at
        m1, m2, g = self.first_mass, self.second_mass, self.gravity
        l1, c1, c2, inertia = self.first_length, self.first_centre, self.second_centre, self.inertia
        cosine, sine = jnp.cos(beta), jnp.sin(beta)
        d1 = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * cosine) + 2 * inertia
        d2 = m2 * (c2**2 + l1 * c2 * cosine) + inertia
        phi2 = m2 * c2 * g * jnp.sin(alpha + beta)
        phi1 = (
            -m2 * l1 * c2 * second_spin * (second_spin + 2 * first_spin) * sine
            + (m1 * c1 + m2 * l1) * g * jnp.sin(alpha)
            + phi2
        )
        second_turn = (torque + d2 / d1 * phi1 - m2 * l1 * c2 * jnp.square(first_spin) * sine - phi2) / (
            m2 * c2**2 + inertia - jnp.square(d2) / d1
        )
        first_turn = -(d2 * second_turn + phi1) / d1
        return first_spin, second_spin, first_turn, second_turn


def _moved(at: Four, change: Four, time: float) -> Four:
    a, b, c, d = (x + time * slope for x, slope in zip(at, change, strict=True))
    return a, b, c, d


def _wrapped(angle: jax.Array) -> jax.Array:
    """The same direction in ±π."""
    return angle - 2 * math.pi * jnp.floor((angle + math.pi) / (2 * math.pi))


def _seen(state: AcrobotState) -> jax.Array:
    first, second = state.first_angle, state.second_angle
    return jnp.stack(
        [jnp.cos(first), jnp.sin(first), jnp.cos(second), jnp.sin(second), state.first_spin, state.second_spin]
    )
