"""MountainCar: a car too weak for the hill, which must swing up to it."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import GOLD, GREEN, INK, MUTED, Canvas
from danlu.rl.spaces import Box, Discrete

__all__ = ["MountainCar", "MountainCarState"]

LEFT_END, RIGHT_END = -1.2, 0.6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MountainCarState:
    """Where the car is along the valley, and its speed per step; float32."""

    position: jax.Array
    velocity: jax.Array


class MountainCar(Environment):
    """A car in a valley, pushed left (0), not at all (1) or right (2); each step costs 1 until it is up on the right hill.

    With position x, speed v and action a::

        v ← clip(v + (a − 1)·force − gravity·cos 3x, ±max_speed)
        x ← clip(x + v, −1.2, 0.6)

    and ``v ← 0`` at the left end, where there is a wall. The episode begins with x uniform in [−0.6, −0.4] and v = 0, and terminates when
    ``x ≥ goal`` with ``v ≥ goal_velocity``. The reward is −1 in every step.

    Args:
        max_steps: the steps after which an episode is truncated.
        force: what a push adds to the speed.
        gravity: what the steepest slope adds to it.
        max_speed: the largest speed, per step.
        goal: the position to reach.
        goal_velocity: the least speed to reach it with.

    Observation: ``[x, v]``, float32.

    Reference: Moore (1990), "Efficient memory-based learning for robot control". It is Gymnasium's ``MountainCar-v0``, in float32.

    Example:
        >>> state = MountainCarState(*jnp.float32([-0.5, 0.0]))
        >>> state, outcome = jax.jit(MountainCar().step)(state, 2, jax.random.key(0))
        >>> print(np.asarray(outcome.observation).round(5), outcome.reward, outcome.terminated)
        [-0.49918  0.00082] -1.0 False
    """

    id: ClassVar[str | None] = "MountainCar-v0"
    solved: ClassVar[float | None] = -110.0

    max_steps: int = setting(default=200, minimum=1, integer=True)
    force: float = setting(default=0.001, above=0)
    gravity: float = setting(default=0.0025, minimum=0)
    max_speed: float = setting(default=0.07, above=0)
    goal: float = setting(default=0.5, above=LEFT_END, maximum=RIGHT_END)
    goal_velocity: float = setting(default=0.0)

    @property
    def observation_space(self) -> Box:
        return Box((LEFT_END, -self.max_speed), (RIGHT_END, self.max_speed), (2,))

    @property
    def action_space(self) -> Discrete:
        return Discrete(3)

    def reset(self, key: jax.Array) -> tuple[MountainCarState, jax.Array]:
        return start(key)

    def step(self, state: MountainCarState, action: jax.Array, key: jax.Array) -> tuple[MountainCarState, Outcome]:
        push = (jnp.clip(action, 0, 2) - 1) * self.force
        after = drive(state, push, self.gravity, self.max_speed)
        arrived = (after.position >= self.goal) & (after.velocity >= self.goal_velocity)
        return after, Outcome(jnp.stack([after.position, after.velocity]), jnp.full((), -1.0), arrived)

    def frame(self, state: MountainCarState) -> np.ndarray:
        return draw(state, self.goal)


def start(key: jax.Array) -> tuple[MountainCarState, jax.Array]:
    """At rest near the bottom of the valley."""
    state = MountainCarState(jax.random.uniform(key, (), minval=-0.6, maxval=-0.4), jnp.zeros((), jnp.float32))
    return state, jnp.stack([state.position, state.velocity])


def drive(state: MountainCarState, push: jax.Array, gravity: float, max_speed: float) -> MountainCarState:
    """The state after a step in which ``push`` is added to the speed."""
    velocity = state.velocity + push - gravity * jnp.cos(3 * state.position)
    velocity = jnp.clip(velocity, -max_speed, max_speed)
    position = jnp.clip(state.position + velocity, LEFT_END, RIGHT_END)
    at_wall = (position <= LEFT_END) & (velocity < 0)
    return MountainCarState(position, jnp.where(at_wall, 0.0, velocity))


def draw(state: MountainCarState, goal: float) -> np.ndarray:
    """The car on its hill."""

    def height(x: Any) -> Any:
        return 0.55 + 0.45 * np.sin(3 * x)

    canvas = Canvas(270, 180, left=LEFT_END, bottom=-0.05, scale=150)
    line = np.linspace(LEFT_END, RIGHT_END, 100)
    canvas.line(np.stack([line, height(line)], axis=1), MUTED, 3)
    canvas.line([(goal, height(goal)), (goal, height(goal) + 0.14)], INK, 2)
    canvas.box((goal, height(goal) + 0.08), (goal + 0.07, height(goal) + 0.14), GREEN)
    x = float(state.position)
    canvas.circle((x, height(x) + 0.045), 0.045, GOLD)
    return canvas.pixels()
