"""MountainCarContinuous: the car in the valley, whose engine is steered smoothly and costs what it uses."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.mountain_car import LEFT_END, RIGHT_END, MountainCarState, draw, drive, start
from danlu.rl.spaces import Box

__all__ = ["MountainCarContinuous"]


class MountainCarContinuous(Environment):
    """The car of :class:`MountainCar` with a force in [−1, 1]; 100 for reaching the goal, less a tenth of the forces squared.

    With position x, speed v and action a::

        v ← clip(v + power·clip(a, ±1) − gravity·cos 3x, ±max_speed)
        x ← clip(x + v, −1.2, 0.6)

    and ``v ← 0`` at the left end. The episode begins with x uniform in [−0.6, −0.4] and v = 0, and terminates when ``x ≥ goal`` with
    ``v ≥ goal_velocity``. The reward is ``100·terminated − 0.1·a²``: an action out of bounds pushes as clipped, and all of it is paid for.

    Args:
        max_steps: the steps after which an episode is truncated.
        power: what the full force adds to the speed.
        gravity: what the steepest slope adds to it.
        max_speed: the largest speed, per step.
        goal: the position to reach.
        goal_velocity: the least speed to reach it with.

    Observation: ``[x, v]``, float32. Action: ``(1,)``.

    Reference: Moore (1990), as made continuous by A. de Broissia. It is Gymnasium's ``MountainCarContinuous-v0``, in float32.

    Example:
        >>> state = MountainCarState(*jnp.float32([0.44, 0.03]))
        >>> state, outcome = jax.jit(MountainCarContinuous().step)(state, jnp.float32([0.5]), jax.random.key(0))
        >>> print(np.asarray(outcome.observation).round(4), outcome.terminated)
        [0.4701 0.0301] True
    """

    id: ClassVar[str | None] = "MountainCarContinuous-v0"
    solved: ClassVar[float | None] = 90.0

    max_steps: int = setting(default=999, minimum=1, integer=True)
    power: float = setting(default=0.0015, above=0)
    gravity: float = setting(default=0.0025, minimum=0)
    max_speed: float = setting(default=0.07, above=0)
    goal: float = setting(default=0.45, above=LEFT_END, maximum=RIGHT_END)
    goal_velocity: float = setting(default=0.0)

    @property
    def observation_space(self) -> Box:
        return Box((LEFT_END, -self.max_speed), (RIGHT_END, self.max_speed), (2,))

    @property
    def action_space(self) -> Box:
        return Box(-1.0, 1.0, (1,))

    def reset(self, key: jax.Array) -> tuple[MountainCarState, jax.Array]:
        return start(key)

    def step(self, state: MountainCarState, action: jax.Array, key: jax.Array) -> tuple[MountainCarState, Outcome]:
        force = jnp.clip(action[0], -1.0, 1.0)
        after = drive(state, self.power * force, self.gravity, self.max_speed)
        arrived = (after.position >= self.goal) & (after.velocity >= self.goal_velocity)
        reward = jnp.where(arrived, 100.0, 0.0) - 0.1 * jnp.square(action[0])
        return after, Outcome(jnp.stack([after.position, after.velocity]), reward, arrived)

    def frame(self, state: MountainCarState) -> np.ndarray:
        return draw(state, self.goal)
