"""The host's side of environments that are not compiled: several of Gymnasium's, stepped here or in worker processes."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import itertools
import math
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from danlu.errors import DanluError, TrainingError
from danlu.rl.gym_spaces import Layout, action_writer, observation_reader

__all__ = ["Batch", "Local", "Processes"]

RESULTS = 3
"""Numbers in a row besides the two observations: reward, terminated, truncated."""


@dataclasses.dataclass
class Batch:
    """What a step of several environments brought.

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
        """Some of its environments, sharing memory with it."""
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
        """Begin an episode in each; the i-th is seeded with ``seed + i`` and draws on from there in its later episodes."""
        for i, env in enumerate(self.envs):
            self._put(env.reset(seed=(seed + i) % 2**31)[0], i, out, later=1)

    def step(self, actions: np.ndarray, out: Batch) -> None:
        """One step in each; those that ended begin anew.

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
        """What the environment ``index`` draws of itself."""
        if self.envs[index].render_mode != "rgb_array":
            return None
        return np.asarray(self.envs[index].render(), np.uint8)

    def close(self) -> None:
        """Let go of the environments."""
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


class Processes:
    """Environments shared out among worker processes, which write what they see into memory that they share with this one.

    Args:
        make: makes an environment; it is sent to the workers by cloudpickle.
        count, layout: see :class:`Local`.
        processes: how many workers.
    """

    def __init__(self, make: Callable[[], Any], count: int, layout: Layout, processes: int) -> None:
        import multiprocessing

        import cloudpickle

        context = multiprocessing.get_context("spawn")  # a fork of a process in which JAX runs threads can hang
        self.empty = Batch.empty(count, layout)
        self.memory = context.RawArray("B", _bytes_of(count, layout))
        self.shared = _view(self.memory, count, layout)
        self.rows = list(_shares(count, min(processes, count)))
        self.pipes, self.children = [], []
        for rows in self.rows:
            ours, theirs = context.Pipe()
            setup = (cloudpickle.dumps(make), self.memory, count, layout, rows)
            child = context.Process(target=_serve, args=(theirs, setup), daemon=True)
            child.start()
            theirs.close()
            self.pipes.append(ours)
            self.children.append(child)
        atexit.register(
            self.close
        )  # after multiprocessing's own, so before it: a child that draws may not heed its signal

    def reset(self, seed: int, out: Batch) -> None:
        """As :meth:`Local.reset`."""
        self._ask([("reset", seed + rows.start) for rows in self.rows], out)

    def step(self, actions: np.ndarray, out: Batch) -> None:
        """As :meth:`Local.step`."""
        self._ask([("step", actions[rows]) for rows in self.rows], out)

    def frame(self, index: int) -> np.ndarray | None:
        """As :meth:`Local.frame`."""
        worker = next(place for place, rows in enumerate(self.rows) if rows.start <= index < rows.stop)
        self.pipes[worker].send(("frame", index - self.rows[worker].start))
        return self._answer(worker)

    def close(self) -> None:
        """End the workers."""
        for pipe in self.pipes:
            with contextlib.suppress(OSError):
                pipe.send(("close", None))
        for pipe, child in zip(self.pipes, self.children, strict=True):
            child.join(timeout=5)
            if child.is_alive():
                child.kill()
            pipe.close()
        self.pipes, self.children = [], []
        atexit.unregister(self.close)

    def _ask(self, questions: list[tuple[str, Any]], out: Batch) -> None:
        try:
            for pipe, question in zip(self.pipes, questions, strict=True):
                pipe.send(question)
        except OSError as error:
            raise TrainingError(f"a worker process has ended ({error})") from None
        for worker in range(len(self.pipes)):
            self._answer(worker)
        out.numbers[:] = self.shared.numbers
        for ours, theirs in zip(out.pictures, self.shared.pictures, strict=True):
            ours[:] = theirs

    def _answer(self, worker: int) -> Any:
        try:
            fault, answer = self.pipes[worker].recv()
        except (EOFError, OSError):
            raise TrainingError("a worker process has ended without a word (killed, or out of memory)") from None
        if fault is not None:
            raise TrainingError(fault)
        return answer


def _serve(pipe: Any, setup: tuple[Any, ...]) -> None:
    """The life of a worker process."""
    import cloudpickle

    made, memory, count, layout, rows = setup
    local: Local | None = None
    while True:
        try:
            task, value = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if task == "close":
                if local is not None:
                    local.close()
                return
            if local is None:
                local = Local(cloudpickle.loads(made), rows.stop - rows.start, layout)
                mine = _view(memory, count, layout).part(rows)
            answer = None
            if task == "reset":
                local.reset(value, mine)
            elif task == "step":
                local.step(value, mine)
            else:
                answer = local.frame(value)
            pipe.send((None, answer))
        except KeyboardInterrupt:
            return
        except Exception as error:
            pipe.send((describe(error), None))


def describe(error: Exception) -> str:
    """An environment's own error in one line, with the place in its code."""
    if isinstance(error, DanluError):
        return error.message
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (line {last.lineno} of {last.filename})"


def _shares(count: int, parts: int) -> Iterator[slice]:
    edges = [count * part // parts for part in range(parts + 1)]
    return (slice(low, high) for low, high in itertools.pairwise(edges))


def _bytes_of(count: int, layout: Layout) -> int:
    return count * (4 * (2 * layout.numbers + RESULTS) + 2 * sum(math.prod(shape) for shape in layout.pictures))


def _view(memory: Any, count: int, layout: Layout) -> Batch:
    """The shared memory as a batch."""
    flat, at = np.frombuffer(memory, np.uint8), 4 * count * (2 * layout.numbers + RESULTS)
    rows = flat[:at].view(np.float32).reshape(count, -1)
    arrays = []
    for shape in layout.pictures:
        for _ in range(2):
            size = count * math.prod(shape)
            arrays.append(flat[at : at + size].reshape(count, *shape))
            at += size
    return Batch(rows, arrays)
