"""Catch: a ball falls, and a paddle must be under it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import BLUE, GOLD, Canvas
from danlu.rl.spaces import Box, Discrete

__all__ = ["Catch", "CatchState"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CatchState:
    """Row and column of the ball (row 0 is the top), and column of the paddle, which is in the last row; int32."""

    row: jax.Array
    column: jax.Array
    paddle: jax.Array


class Catch(Environment):
    """A ball falls one row each step; the paddle in the last row goes left (0), stays (1) or goes right (2).

    The episode begins with the ball in a column drawn uniformly and the paddle in the middle. It terminates when the ball is in the last
    row, after ``rows − 1`` steps, and brings 1 if the paddle is there and −1 if not; all other steps bring 0.

    Args:
        max_steps: the steps after which an episode is truncated.
        rows, columns: of the board.

    Observation: the board, ``(rows, columns)`` float32, 1 at the ball and at the paddle.

    Reference: Osband et al. (2020), "Behaviour suite for reinforcement learning" (bsuite's ``catch/0``).

    Example:
        >>> state = CatchState(row=jnp.int32(8), column=jnp.int32(3), paddle=jnp.int32(2))
        >>> state, outcome = jax.jit(Catch().step)(state, 2, jax.random.key(0))
        >>> float(outcome.reward), bool(outcome.terminated)
        (1.0, True)
    """

    id: ClassVar[str | None] = "danlu/Catch-v0"
    solved: ClassVar[float | None] = 0.95

    max_steps: int = setting(default=1000, minimum=1, integer=True)
    rows: int = setting(default=10, minimum=2, integer=True)
    columns: int = setting(default=5, minimum=1, integer=True)

    @property
    def observation_space(self) -> Box:
        return Box(0.0, 1.0, (self.rows, self.columns))

    @property
    def action_space(self) -> Discrete:
        return Discrete(3)

    def reset(self, key: jax.Array) -> tuple[CatchState, jax.Array]:
        column = jax.random.randint(key, (), 0, self.columns)
        state = CatchState(jnp.int32(0), column, jnp.int32(self.columns // 2))
        return state, self._seen(state)

    def step(self, state: CatchState, action: jax.Array, key: jax.Array) -> tuple[CatchState, Outcome]:
        move = jnp.clip(action, 0, 2).astype(jnp.int32) - 1
        after = CatchState(state.row + 1, state.column, jnp.clip(state.paddle + move, 0, self.columns - 1))
        landed = after.row >= self.rows - 1
        caught = jnp.where(after.paddle == after.column, 1.0, -1.0)
        return after, Outcome(self._seen(after), jnp.where(landed, caught, 0.0), landed)

    def frame(self, state: CatchState) -> np.ndarray:
        side = max(min(200 // max(self.rows, self.columns), 40), 3)
        canvas = Canvas(side * self.columns, side * self.rows, left=0, bottom=0, scale=side)
        x, y, paddle = int(state.column), self.rows - 1 - int(state.row), int(state.paddle)
        canvas.box((paddle + 0.05, 0.05), (paddle + 0.95, 0.5), BLUE)
        canvas.circle((x + 0.5, y + 0.5), 0.35, GOLD)
        return canvas.pixels()

    def _seen(self, state: CatchState) -> jax.Array:
        cells = jnp.arange(self.rows * self.columns, dtype=jnp.int32).reshape(self.rows, self.columns)
        ball = cells == state.row * self.columns + state.column
        paddle = cells == (self.rows - 1) * self.columns + state.paddle
        return (ball | paddle).astype(jnp.float32)
