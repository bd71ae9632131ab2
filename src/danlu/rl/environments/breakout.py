"""Breakout as in MinAtar: a ball, a paddle and three rows of bricks on ten by ten cells."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import BLUE, GOLD, MUTED, RED, Canvas
from danlu.rl.spaces import Box, Discrete

__all__ = ["Breakout", "BreakoutState"]

SIDE = 10
BRICK_ROWS = slice(1, 4)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BreakoutState:
    """The state of the game.

    Attributes:
        row, column: of the ball, int32; row 0 is the top.
        down, right: which way it goes, ±1, int32.
        last_row, last_column: where it was before, int32.
        paddle: its column, int32; it is in the last row.
        bricks: which are there, bool ``(10, 10)``.
        struck: whether the ball hit a brick in the last step: it does not hit another in this one.
        last_action: what a sticky action repeats, int32.
    """

    row: jax.Array
    column: jax.Array
    down: jax.Array
    right: jax.Array
    last_row: jax.Array
    last_column: jax.Array
    paddle: jax.Array
    bricks: jax.Array
    struck: jax.Array
    last_action: jax.Array


class Breakout(Environment):
    """Keep the ball in play with the paddle, which stays (0), goes left (1) or goes right (2); each broken brick gives 1.

    In each step the paddle moves first, then the ball by one cell diagonally:

    - a side wall holds it in the outermost column and turns it sideways, the ceiling holds it in row 0 and turns it down;
    - entering a brick's cell breaks it (unless one was broken in the step before), leaves the ball in its row and turns it up or down;
    - entering the last row: straight above the paddle it is sent back the way up, at a paddle that is in the cell entered it is sent back
      where it came from, and else the episode terminates. If no brick is left by then, all are put back.

    The episode begins with the ball in row 3 at the left or right edge, on its way down to the middle, and the paddle in column 4.

    Args:
        max_steps: the steps after which an episode is truncated (MinAtar has no such limit).
        sticky: the probability with which the last action is repeated instead of the one given.

    Observation: ``(10, 10, 4)`` float32 of zeros and ones; channels paddle, ball, where the ball was (trail), bricks.

    Reference: Young & Tian (2019), "MinAtar: an Atari-inspired testbed for thorough and reproducible reinforcement learning experiments",
    arXiv:1903.03176; ``MinAtar/Breakout-v1`` (three actions). Unlike there, no action is remembered from the episode before.

    Example:
        >>> state, observation = jax.jit(Breakout().reset)(jax.random.key(0))
        >>> observation.sum(axis=(0, 1)).tolist(), int(state.row), int(state.down)
        ([1.0, 1.0, 1.0, 30.0], 3, 1)
    """

    id: ClassVar[str | None] = "MinAtar/Breakout-v1"

    max_steps: int = setting(default=1000, minimum=1, integer=True)
    sticky: float = setting(default=0.1, minimum=0, maximum=1)

    @property
    def observation_space(self) -> Box:
        return Box(0.0, 1.0, (SIDE, SIDE, 4))

    @property
    def action_space(self) -> Discrete:
        return Discrete(3)

    def reset(self, key: jax.Array) -> tuple[BreakoutState, jax.Array]:
        from_left = jax.random.bernoulli(key)
        column = jnp.where(from_left, 0, SIDE - 1)
        state = BreakoutState(
            row=jnp.int32(3),
            column=column,
            down=jnp.int32(1),
            right=jnp.where(from_left, 1, -1),
            last_row=jnp.int32(3),
            last_column=column,
            paddle=jnp.int32(4),
            bricks=_wall(),
            struck=jnp.zeros((), bool),
            last_action=jnp.int32(0),
        )
        return state, _seen(state)

    def step(self, state: BreakoutState, action: jax.Array, key: jax.Array) -> tuple[BreakoutState, Outcome]:
        action = jnp.clip(action, 0, 2).astype(jnp.int32)
        if self.sticky:
            action = jnp.where(jax.random.uniform(key) < self.sticky, state.last_action, action)
        move = jnp.where(action == 1, -1, jnp.where(action == 2, 1, 0))
        paddle = jnp.clip(state.paddle + move, 0, SIDE - 1)

        column, row = state.column + state.right, state.row + state.down
        side = (column < 0) | (column > SIDE - 1)
        right = jnp.where(side, -state.right, state.right)
        column = jnp.clip(column, 0, SIDE - 1)
        ceiling = row < 0
        row = jnp.maximum(row, 0)

        cells = jnp.arange(SIDE * SIDE, dtype=jnp.int32).reshape(SIDE, SIDE)
        entered = cells == row * SIDE + column
        meets = ~ceiling & (entered & state.bricks).any()
        breaks = meets & ~state.struck
        bottom = ~ceiling & ~meets & (row == SIDE - 1)
        bricks = state.bricks & ~(entered & breaks)
        bricks = jnp.where(bottom & ~bricks.any(), _wall(), bricks)

        above = bottom & (state.column == paddle)
        corner = bottom & ~above & (column == paddle)
        lost = bottom & ~above & ~corner
        after = BreakoutState(
            row=jnp.where(breaks | above | corner, state.row, row),
            column=column,
            down=jnp.where(ceiling | breaks | above | corner, -state.down, state.down),
            right=jnp.where(corner, -right, right),
            last_row=state.row,
            last_column=state.column,
            paddle=paddle,
            bricks=bricks,
            struck=meets,
            last_action=action,
        )
        return after, Outcome(_seen(after), breaks.astype(jnp.float32), lost)

    def frame(self, state: BreakoutState) -> np.ndarray:
        canvas = Canvas(200, 200, left=0, bottom=0, scale=20)

        def cell(row: int, column: int, colour: tuple[int, int, int]) -> None:
            y = SIDE - 1 - row
            canvas.box((column + 0.04, y + 0.04), (column + 0.96, y + 0.96), colour)

        for row, column in np.argwhere(np.asarray(state.bricks)):
            cell(int(row), int(column), RED)
        cell(int(state.last_row), int(state.last_column), MUTED)
        cell(SIDE - 1, int(state.paddle), BLUE)
        canvas.circle((int(state.column) + 0.5, SIDE - 0.5 - int(state.row)), 0.4, GOLD)
        return canvas.pixels()


def _wall() -> jax.Array:
    """All bricks, bool ``(10, 10)``."""
    wall = np.zeros((SIDE, SIDE), bool)
    wall[BRICK_ROWS] = True
    return jnp.asarray(wall)


def _seen(state: BreakoutState) -> jax.Array:
    cells = jnp.arange(SIDE * SIDE, dtype=jnp.int32)
    channels = [
        cells == (SIDE - 1) * SIDE + state.paddle,
        cells == state.row * SIDE + state.column,
        cells == state.last_row * SIDE + state.last_column,
        state.bricks.reshape(-1),
    ]
    return jnp.stack([channel.astype(jnp.float32) for channel in channels], axis=-1).reshape(SIDE, SIDE, 4)
