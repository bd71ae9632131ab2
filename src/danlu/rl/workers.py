"""The host's side of environments that are not compiled: several of Gymnasium's, stepped one after the other."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.errors import DanluError, TrainingError
from danlu.rl.gym_spaces import Layout, action_writer, observation_reader

__all__ = ["Batch", "Local", "describe"]

RESULTS = 3
"""Numbers in a row besides the two observations: reward, terminated, truncated."""


@dataclasses.dataclass
class Batch:
    """The results of a step of several environments.

    Attributes:
        numbers: ``(count, 2 · numbers + 3)`` float32: the observation after the step in the old episode, the one to go on from (of a new
            episode where the old one ended), reward, terminated, truncated.
        pictures: for each array of bytes, its two arrays ``(count, …)``: after the step, and to go on from.
    """

    numbers: np.ndarray
    pictures: list[np.ndarray]

    @classmethod
    def empty(cls, count: int, layout: Layout) -> Batch:
        """Zeros for ``count`` environments."""
        rows = np.zeros((count, 2 * layout.numbers + RESULTS), np.float32)
        return cls(rows, [np.zeros((count, *shape), np.uint8) for shape in layout.pictures for _ in range(2)])

    def another(self) -> Batch:
        """Zeros of the same shapes."""
        return Batch(np.zeros_like(self.numbers), [np.zeros_like(array) for array in self.pictures])

    def part(self, rows: slice) -> Batch:
        """A part of the environments; it shares memory with the whole."""
        return Batch(self.numbers[rows], [array[rows] for array in self.pictures])


class Local:
    """Environments in this process.

    Args:
        make: makes one of them.
        count: how many.
        layout: of their observations.
    """

    def __init__(self, make: Callable[[], Any], count: int, layout: Layout) -> None:
        self.envs = [make() for _ in range(count)]
        self.width = layout.numbers
        self.empty = Batch.empty(count, layout)
        self.kinds = [leaf.dtype == np.uint8 for leaf in layout.leaves]
        self.read = observation_reader(self.envs[0].observation_space)
        self.write = action_writer(self.envs[0].action_space)

    def reset(self, seed: int, out: Batch) -> None:
        """Reset each environment; the i-th is seeded with ``seed + i``, and its later episodes continue that sequence."""
        for i, env in enumerate(self.envs):
            self._put(env.reset(seed=(seed + i) % 2**31)[0], i, out, later=1)

    def step(self, actions: np.ndarray, out: Batch) -> None:
        """One step in each; those that ended are reset.

        Raises:
            TrainingError: a reward that is no number, or an observation that is not of its space's shape.
        """
        width, results, on = self.width, [], []
        for i, (env, action) in enumerate(zip(self.envs, self.write(actions), strict=True)):
            observation, reward, terminated, truncated, _ = env.step(action)
            self._put(observation, i, out, later=0)
            results.append((reward, terminated, truncated and not terminated))
            if terminated or truncated:
                self._put(env.reset()[0], i, out, later=1)
            else:
                on.append(i)
        out.numbers[:, 2 * width :] = results
        if not np.isfinite(out.numbers[:, 2 * width]).all():
            wrong = next(reward for reward, _, _ in results if not math.isfinite(reward))
            raise TrainingError(f"the reward of a step is {wrong!r}; expected a finite number")
        rows: Any = slice(None) if len(on) == len(self.envs) else on
        out.numbers[rows, width : 2 * width] = out.numbers[rows, :width]
        for k in range(0, len(out.pictures), 2):
            out.pictures[k + 1][rows] = out.pictures[k][rows]

    def frame(self, index: int) -> np.ndarray | None:
        """The picture of the environment ``index``."""
        if self.envs[index].render_mode != "rgb_array":
            return None
        return np.asarray(self.envs[index].render(), np.uint8)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()
        self.envs = []

    def _put(self, observation: Any, i: int, out: Batch, *, later: int) -> None:
        start = at = later * self.width
        picture = later
        for is_picture, value in zip(self.kinds, self.read(observation), strict=True):
            if is_picture:
                place = out.pictures[picture]
                if value.shape != place.shape[1:]:
                    raise TrainingError(f"an observation has the shape {value.shape}; its space says {place.shape[1:]}")
                place[i] = value
                picture += 2
            elif isinstance(value, np.ndarray):
                out.numbers[i, at : at + value.size] = value.ravel()
                at += value.size
            else:
                out.numbers[i, at] = value
                at += 1
        if at - start != self.width:
            raise TrainingError(f"an observation has {at - start} numbers; its space says {self.width}")


def describe(error: Exception) -> str:
    """An environment's own error in one line, with the place in its code."""
    if isinstance(error, DanluError):
        return error.message
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (line {last.lineno} of {last.filename})"
