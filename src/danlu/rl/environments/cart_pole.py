"""CartPole: a pole on a cart, kept upright by pushing the cart left and right."""

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
from danlu.rl.spaces import Box, Discrete

__all__ = ["CartPole", "CartPoleState"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CartPoleState:
    """Where cart and pole are: metres, metres per second, radians from upright, radians per second; float32."""

    position: jax.Array
    velocity: jax.Array
    angle: jax.Array
    spin: jax.Array


class CartPole(Environment):
    """A pole stands on a cart; each step pushes the cart left (0) or right (1), and gives 1 while the pole stands.

    With x, θ and their speeds, force ±F, masses M (cart) and m (pole), and the pole's half length l::

        h  = (±F + m·l·θ'²·sin θ) / (M + m)
        θ" = (g·sin θ − h·cos θ) / (l·(4/3 − m·cos² θ / (M + m)))
        x" = h − m·l·θ"·cos θ / (M + m)

    each advanced by explicit Euler: ``x ← x + τ·x'``, then ``x' ← x' + τ·x"``, and the same for θ. The episode begins with all four uniform
    in ±0.05, and terminates when ``|x| > 2.4`` or ``|θ| > 12°``. The reward is 1 in every step, the last one included.

    Args:
        max_steps: the steps after which an episode is truncated.
        gravity: g, m/s².
        cart_mass, pole_mass: M and m, kg.
        half_length: l, m.
        force: F, N.
        time_step: τ, s.
        max_angle: degrees from upright at which the pole has fallen.
        max_position: metres from the middle at which the track ends.

    Observation: ``[x, x', θ, θ']``, float32.

    Reference: Barto, Sutton & Anderson (1983), "Neuronlike adaptive elements that can solve difficult learning control problems", without
    its friction. It is Gymnasium's ``CartPole-v1``, in float32.

    Example:
        >>> state = CartPoleState(*jnp.float32([0.0, 0.0, 0.1, 0.0]))
        >>> state, outcome = jax.jit(CartPole().step)(state, 1, jax.random.key(0))
        >>> print(np.asarray(outcome.observation).round(4), outcome.terminated)
        [ 0.      0.1936  0.1    -0.2595] False
    """

    id: ClassVar[str | None] = "CartPole-v1"
    solved: ClassVar[float | None] = 475.0

    max_steps: int = setting(default=500, minimum=1, integer=True)
    gravity: float = setting(default=9.8, minimum=0)
    cart_mass: float = setting(default=1.0, above=0)
    pole_mass: float = setting(default=0.1, above=0)
    half_length: float = setting(default=0.5, above=0)
    force: float = setting(default=10.0, above=0)
    time_step: float = setting(default=0.02, above=0)
    max_angle: float = setting(default=12.0, above=0, below=90)
    max_position: float = setting(default=2.4, above=0)

    @property
    def observation_space(self) -> Box:
        high = (2 * self.max_position, math.inf, 2 * math.radians(self.max_angle), math.inf)
        return Box(tuple(-value for value in high), high, (4,))

    @property
    def action_space(self) -> Discrete:
        return Discrete(2)

    def reset(self, key: jax.Array) -> tuple[CartPoleState, jax.Array]:
        start = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return CartPoleState(start[0], start[1], start[2], start[3]), start

    def step(self, state: CartPoleState, action: jax.Array, key: jax.Array) -> tuple[CartPoleState, Outcome]:
        total = self.cart_mass + self.pole_mass
        moment = self.pole_mass * self.half_length
        cosine, sine = jnp.cos(state.angle), jnp.sin(state.angle)
        push = jnp.where(action >= 1, self.force, -self.force)
        shared = (push + moment * jnp.square(state.spin) * sine) / total
        turning = (self.gravity * sine - cosine * shared) / (
            self.half_length * (4 / 3 - self.pole_mass * jnp.square(cosine) / total)
        )
        rolling = shared - moment * turning * cosine / total
        after = CartPoleState(
            position=state.position + self.time_step * state.velocity,
            velocity=state.velocity + self.time_step * rolling,
            angle=state.angle + self.time_step * state.spin,
            spin=state.spin + self.time_step * turning,
        )
        fallen = jnp.abs(after.angle) > math.radians(self.max_angle)
        gone = jnp.abs(after.position) > self.max_position
        observation = jnp.stack([after.position, after.velocity, after.angle, after.spin])
        return after, Outcome(observation, jnp.ones((), jnp.float32), fallen | gone)

    def frame(self, state: CartPoleState) -> np.ndarray:
        x, angle = float(state.position), float(state.angle)
        edge = self.max_position + 0.2
        canvas = Canvas(300, 150, left=-edge, bottom=-0.6, scale=150 / edge)
        canvas.line([(-self.max_position, 0), (self.max_position, 0)], MUTED, 2)
        canvas.box((x - 0.25, 0), (x + 0.25, 0.3), INK)
        length = 2 * self.half_length
        canvas.line([(x, 0.3), (x + length * math.sin(angle), 0.3 + length * math.cos(angle))], GOLD, 6)
        canvas.circle((x, 0.3), 0.05, MUTED)
        return canvas.pixels()
