"""GridWorld: a small map with walls, a goal and pits, on slippery ground."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments.drawing import BLUE, GREEN, INK, MUTED, RED, Canvas
from danlu.rl.spaces import Box, Discrete

__all__ = ["GridWorld", "GridWorldState"]

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
MEANING = "S start, G goal, X pit, # wall, . floor"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GridWorldState:
    """The current cell, ``row · columns + column``; int32."""

    cell: jax.Array


class GridWorld(Environment):
    """Walk up (0), right (1), down (2) or left (3) on a map, to the goal and not into a pit.

    A step goes where it was meant to with the probability ``1 − slip``, and to the left or right of that with ``slip / 2`` each. A wall or
    the edge of the map stops it. Every step brings ``step_reward``; entering the goal brings ``goal_reward`` besides, a pit ``pit_reward``,
    and either terminates the episode.

    Args:
        max_steps: the steps after which an episode is truncated.
        rows: the map, a text for each row: ``S`` start (one of several is drawn), ``G`` goal, ``X`` pit, ``#`` wall, ``.`` floor.
        slip: the probability of going astray.
        step_reward, goal_reward, pit_reward: see above.

    Observation: the cell one is in as a 1 among zeros, ``(rows · columns,)`` float32.

    Reference: the map and numbers that are the default are the 4 × 3 world of Russell & Norvig, "Artificial Intelligence: A Modern
    Approach", section 17.1. Its best policy is worth 0.705 from the start (figure 17.3).

    Example:
        >>> world = GridWorld(rows=("S.G",), slip=0.0)
        >>> state, outcome = jax.jit(world.step)(GridWorldState(jnp.int32(1)), 1, jax.random.key(0))
        >>> outcome.observation.tolist(), round(float(outcome.reward), 2), bool(outcome.terminated)
        ([0.0, 0.0, 1.0], 0.96, True)
    """

    id: ClassVar[str | None] = "danlu/GridWorld-v0"

    max_steps: int = setting(default=100, minimum=1, integer=True)
    rows: tuple[str, ...] = ("...G", ".#.X", "S...")
    slip: float = setting(default=0.2, minimum=0, maximum=1)
    step_reward: float = setting(default=-0.04)
    goal_reward: float = setting(default=1.0)
    pit_reward: float = setting(default=-1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = self.rows
        right = isinstance(rows, tuple) and rows and all(isinstance(row, str) and row for row in rows)
        if not right or len({len(row) for row in rows}) != 1 or set("".join(rows)) - set("SGX#."):
            raise ConfigError(
                f"GridWorld.rows is {rows!r}; expected a tuple of texts of one length",
                hint=f"their letters are {MEANING}",
            )
        missing = [letter for letter in "SG" if letter not in "".join(rows)]
        if missing:
            raise ConfigError(f"GridWorld.rows lacks {', '.join(missing)}", hint=f"the letters are {MEANING}")

    @property
    def observation_space(self) -> Box:
        return Box(0.0, 1.0, (len(self.rows) * len(self.rows[0]),))

    @property
    def action_space(self) -> Discrete:
        return Discrete(4)

    def reset(self, key: jax.Array) -> tuple[GridWorldState, jax.Array]:
        starts = [cell for cell, letter in enumerate("".join(self.rows)) if letter == "S"]
        if len(starts) == 1:
            state = GridWorldState(jnp.int32(starts[0]))
        else:
            state = GridWorldState(jax.random.choice(key, jnp.array(starts, jnp.int32)))
        return state, self._seen(state)

    def step(self, state: GridWorldState, action: jax.Array, key: jax.Array) -> tuple[GridWorldState, Outcome]:
        direction = jnp.clip(action, 0, 3)
        if self.slip:
            chance = jax.random.uniform(key)
            turn = jnp.where(chance < self.slip / 2, -1, jnp.where(chance < self.slip, 1, 0))
            direction = (direction + turn) % 4
        after = GridWorldState(jnp.asarray(self._arrivals())[direction, state.cell])
        letters = np.array(list("".join(self.rows)))
        goal, pit = jnp.asarray(letters == "G")[after.cell], jnp.asarray(letters == "X")[after.cell]
        reward = self.step_reward + jnp.where(goal, self.goal_reward, jnp.where(pit, self.pit_reward, 0.0))
        return after, Outcome(self._seen(after), reward, goal | pit)

    def frame(self, state: GridWorldState) -> np.ndarray:
        height, width = len(self.rows), len(self.rows[0])
        side = max(min(240 // max(height, width), 60), 6)
        canvas = Canvas(side * width, side * height, left=0, bottom=0, scale=side)
        colours = {"#": INK, "G": GREEN, "X": RED}
        here = int(state.cell)
        for cell, letter in enumerate("".join(self.rows)):
            x, y = cell % width, height - 1 - cell // width
            canvas.box((x, y), (x + 1, y + 1), MUTED)
            if letter in colours:
                canvas.box((x, y), (x + 1, y + 1), colours[letter])
            else:
                canvas.box((x + 0.02, y + 0.02), (x + 0.98, y + 0.98), (250, 250, 247))
            if cell == here:
                canvas.circle((x + 0.5, y + 0.5), 0.3, BLUE)
        return canvas.pixels()

    def _arrivals(self) -> np.ndarray:
        """The cell that a move ends in, ``(4, cells)`` int32."""
        height, width = len(self.rows), len(self.rows[0])
        table = np.empty((4, height * width), np.int32)
        for move, (down, right) in enumerate(MOVES):
            for cell in range(height * width):
                row, column = cell // width + down, cell % width + right
                free = 0 <= row < height and 0 <= column < width and self.rows[row][column] != "#"
                table[move, cell] = row * width + column if free else cell
        return table

    def _seen(self, state: GridWorldState) -> jax.Array:
        return jax.nn.one_hot(state.cell, len(self.rows) * len(self.rows[0]), dtype=jnp.float32)
