"""Worker processes that step environments: a crew for each kind of environment, and pools of environments divided among it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import math
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from danlu.errors import TrainingError
from danlu.rl.allow import allow, allowed_modules
from danlu.rl.gym_spaces import Layout
from danlu.rl.workers import RESULTS, Batch, Local, describe

__all__ = ["Crew", "Processes"]


class Crew:
    """Processes that wait for work.

    Args:
        make: makes an environment; it is sent to them by cloudpickle.
        count: how many processes.
    """

    def __init__(self, make: Callable[[], Any], count: int) -> None:
        import multiprocessing

        import cloudpickle

        context = multiprocessing.get_context("spawn")  # a fork of a process in which JAX runs threads can hang
        self.pipes, self.children = [], []
        for _ in range(count):
            ours, theirs = context.Pipe()
            child = context.Process(
                target=_serve, args=(theirs, cloudpickle.dumps(make), allowed_modules()), daemon=True
            )
            child.start()
            theirs.close()
            self.pipes.append(ours)
            self.children.append(child)
        atexit.register(self.close)  # runs before multiprocessing's own: a child that draws may not heed its signal

    def ask(self, questions: list[Any]) -> list[Any]:
        """Send one request to each of the first processes, and wait for all answers.

        Raises:
            TrainingError: what went wrong in the first of them in which something did.
        """
        try:
            for pipe, question in zip(self.pipes, questions, strict=False):
                pipe.send(question)
            found = [pipe.recv() for pipe, _ in zip(self.pipes, questions, strict=False)]
        except (EOFError, OSError):
            raise TrainingError("a worker process ended without an error message (killed, or out of memory)") from None
        for fault, _ in found:
            if fault is not None:
                raise TrainingError(fault)
        return [answer for _, answer in found]

    def close(self) -> None:
        """End the processes."""
        for pipe in self.pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for pipe, child in zip(self.pipes, self.children, strict=True):
            child.join(timeout=5)
            if child.is_alive():
                child.kill()
            pipe.close()
        self.pipes, self.children = [], []
        atexit.unregister(self.close)


class Processes:
    """Environments divided among a crew, which writes their observations into shared memory; used like :class:`Local`.

    Args:
        crew: who steps them.
        count, layout: see :class:`Local`.
    """

    _names = itertools.count()

    def __init__(self, crew: Crew, count: int, layout: Layout) -> None:
        self.crew, self.name = crew, next(self._names)
        self.empty = Batch.empty(count, layout)
        self.rows = list(_shares(count, min(len(crew.pipes), count)))
        fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
        handle, path = tempfile.mkstemp(prefix="danlu-", dir=fast)
        try:
            os.truncate(handle, _bytes_of(count, layout))
            os.close(handle)
            self.shared = _view(path, count, layout)
            self._ask("open", [(path, count, layout, rows) for rows in self.rows])
        finally:
            with contextlib.suppress(OSError):  # mapped by all who need it
                os.unlink(path)

    def reset(self, seed: int, out: Batch) -> None:
        """As :meth:`Local.reset`."""
        self._ask("reset", [seed + rows.start for rows in self.rows])
        self._copy(out)

    def step(self, actions: np.ndarray, out: Batch) -> None:
        """As :meth:`Local.step`."""
        self._ask("step", [actions[rows] for rows in self.rows])
        self._copy(out)

    def frame(self, index: int) -> np.ndarray | None:
        """As :meth:`Local.frame`."""
        places = [index - rows.start if rows.start <= index < rows.stop else None for rows in self.rows]
        return next((answer for answer in self._ask("frame", places) if answer is not None), None)

    def close(self) -> None:
        """Close the environments; the crew stays."""
        if self.crew.pipes:
            self._ask("close", [None] * len(self.rows))

    def _ask(self, task: str, values: list[Any]) -> list[Any]:
        return self.crew.ask([(self.name, task, value) for value in values])

    def _copy(self, out: Batch) -> None:
        out.numbers[:] = self.shared.numbers
        for ours, theirs in zip(out.pictures, self.shared.pictures, strict=True):
            ours[:] = theirs


def _serve(pipe: Any, made: bytes, modules: tuple[str, ...] = ()) -> None:
    """The life of a worker process."""
    import cloudpickle

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all; the trainer stops in its own time, and then ends us
    pools: dict[int, tuple[Local, Batch]] = {}
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        if question is None:
            return
        name, task, value = question
        answer = None
        try:
            if task == "open":
                path, count, layout, rows = value
                allow(modules)
                local = Local(cloudpickle.loads(made), rows.stop - rows.start, layout)
                pools[name] = (local, _view(path, count, layout).part(rows))
            elif task == "close":
                if name in pools:
                    pools.pop(name)[0].close()
            elif task == "frame":
                answer = None if value is None else pools[name][0].frame(value)
            elif task == "reset":
                pools[name][0].reset(value, pools[name][1])
            else:
                pools[name][0].step(value, pools[name][1])
            pipe.send((None, answer))
        except Exception as error:
            pipe.send((describe(error), None))


def _shares(count: int, parts: int) -> Iterator[slice]:
    edges = [count * part // parts for part in range(parts + 1)]
    return (slice(low, high) for low, high in itertools.pairwise(edges))


def _bytes_of(count: int, layout: Layout) -> int:
    return count * (4 * (2 * layout.numbers + RESULTS) + 2 * sum(math.prod(shape) for shape in layout.pictures))


def _view(path: str, count: int, layout: Layout) -> Batch:
    """The file, mapped into memory, as a batch."""
    flat = np.asarray(np.memmap(path, np.uint8, "r+", shape=(_bytes_of(count, layout),)))
    at = 4 * count * (2 * layout.numbers + RESULTS)
    rows = flat[:at].view(np.float32).reshape(count, -1)  # (count, 2·numbers + results)
    arrays = []
    for shape in layout.pictures:
        for _ in range(2):
            size = count * math.prod(shape)
            arrays.append(flat[at : at + size].reshape(count, *shape))
            at += size
    return Batch(rows, arrays)
