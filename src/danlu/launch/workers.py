"""Jobs that need nothing of each other (folds, parts of a search), done by several workers: processes of this machine, or a Ray cluster.

A job is plain data and a function of a module, so that it can be sent anywhere. A worker that dies is replaced, and its job done again: a
job that keeps its state in a folder goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from danlu.errors import ConfigError, TrainingError
from danlu.interrupt import graceful, told
from danlu.launch.answers import Answer, Pool

__all__ = ["RESTARTS", "Workers", "as_workers"]

RESTARTS = 3
"""How often a job is begun again after its worker died."""
_LOOK = 0.2  # seconds between two looks
_GRACE = 120.0  # seconds that workers have to stop and to keep what they have learned


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who does the jobs.

    Args:
        count: how many at the same time; None is one for each core of the machine, or as many as the cluster has room for.
        on: ``"processes"`` of this machine, ``"ray"`` (the cluster of ``RAY_ADDRESS``, or one that is started here), or the address of a
            cluster, ``"ray://host:10001"``.
        cpus, gpus: of each worker of a cluster; None is one CPU and no GPU.

    Raises:
        ConfigError: a value that cannot be.

    Example:
        >>> sorted(Workers(2).each(str.upper, ["one", "two"]))
        [(0, 'ONE'), (1, 'TWO')]
    """

    count: int | None = None
    on: str = "processes"
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.on not in ("processes", "ray") and not self.on.startswith("ray://"):
            raise ConfigError(
                f"--on is {self.on!r}; expected processes, ray, or the address of a Ray cluster: ray://host:10001"
            )
        if self.count is not None and (
            isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1
        ):
            raise ConfigError(f"--workers is {self.count!r}; expected a whole number >= 1")
        for name, value, least in (("cpus", self.cpus, 0.1), ("gpus", self.gpus, 0)):
            if value is None:
                continue
            if self.on == "processes":
                raise ConfigError(
                    f"--{name} is {value:g}, but processes of one machine share what it has",
                    hint=f"leave --{name} out, or add --on ray",
                )
            if not least <= value < math.inf:
                raise ConfigError(f"--{name} is {value:g}; expected a number >= {least}")

    @property
    def on_ray(self) -> bool:
        """Whether they are a cluster's."""
        return self.on != "processes"

    def each(
        self, function: Callable[[Any], Any], jobs: Sequence[Any], *, look: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, Any]]:
        """Do all jobs: the number and the result of each, in the order in which they end.

        Args:
            function: of a module, which takes a job.
            jobs: what can be pickled.
            look: called every now and then.

        Raises:
            DanluError: the first that a job raised; the other jobs are ended.
            TrainingError: a signal stopped the jobs (its number is ``stopped_by``), or a worker died too often.
        """
        with graceful() as asked, self._pool(function, len(jobs)) as (pool, count):
            waiting, deaths, under_way = list(range(len(jobs))), [0] * len(jobs), set[int]()
            patience: float | None = None
            while waiting or under_way:
                while waiting and len(under_way) < count and not asked:
                    under_way.add(waiting[0])
                    pool.begin(waiting[0], jobs[waiting.pop(0)])
                for number, answer in pool.wait(_LOOK):
                    under_way.discard(number)
                    if answer.stopped_by is not None or (asked and answer.died):
                        asked.number = asked.number or answer.stopped_by
                    elif answer.error is not None:
                        raise answer.error
                    elif answer.died is None:
                        yield number, answer.result
                    else:
                        deaths[number] += 1
                        if deaths[number] > RESTARTS:
                            raise TrainingError(
                                f"the worker of job {number + 1} of {len(jobs)} {answer.died}, {deaths[number]} times",
                                hint="is there enough memory for so many workers? --workers says how many",
                            )
                        waiting.insert(0, number)
                look()
                if asked:
                    if patience is None:
                        patience = time.monotonic() + _GRACE
                        pool.ask(asked.number or signal.SIGINT)
                    if not under_way or time.monotonic() > patience:
                        error = TrainingError(f"{told(asked.number or signal.SIGINT)}; what was learned is kept")
                        error.stopped_by = asked.number
                        raise error

    @contextlib.contextmanager
    def _pool(self, function: Callable[[Any], Any], jobs: int) -> Iterator[tuple[Pool, int]]:
        if self.on_ray:
            from danlu.launch.cluster import Cluster

            with Cluster(self) as cluster:
                yield cluster.pool(function), min(cluster.count, jobs)
            return
        if os.name != "posix":
            raise ConfigError("--workers needs Linux or macOS", hint="on Windows: in WSL")
        pool = _Processes(function)
        try:
            yield pool, min(self.count or os.cpu_count() or 1, jobs)
        finally:
            pool.end()


def as_workers(given: int | Workers | None) -> Workers | None:
    """Workers by their number, as they are, or none."""
    return given if given is None or isinstance(given, Workers) else Workers(given)


class _Processes:
    """Processes of this machine; one that has done its job is given the next."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._idle: list[tuple[Any, subprocess.Popen[bytes]]] = []
        self._busy: dict[Any, tuple[int, subprocess.Popen[bytes]]] = {}

    def begin(self, number: int, job: Any) -> None:
        connection, process = self._idle.pop() if self._idle else self._started()
        self._busy[connection] = number, process
        with contextlib.suppress(OSError):  # it has died: the next look says so
            connection.send(job)

    def _started(self) -> tuple[Any, subprocess.Popen[bytes]]:
        connection, theirs = multiprocessing.connection.Pipe()
        variables = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}  # a GPU is shared
        process = subprocess.Popen(
            [sys.executable, "-m", "danlu.launch.serving", str(theirs.fileno())],
            env=variables,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's, which passes it on
        )
        theirs.close()
        with contextlib.suppress(OSError):
            connection.send((os.getpid(), self._function))
        return connection, process

    def wait(self, seconds: float) -> Iterator[tuple[int, Answer]]:
        ready: list[Any] = multiprocessing.connection.wait(list(self._busy), seconds)
        for connection in ready:
            number, process = self._busy.pop(connection)
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                status = process.wait()
                answer = Answer(died=f"was ended by signal {-status}" if status < 0 else f"ended with status {status}")
                connection.close()
            else:
                self._idle.append((connection, process))
            yield number, answer

    def ask(self, number: int) -> None:
        for _, process in self._busy.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def end(self) -> None:
        """End all of them."""
        for connection, process in [*self._idle, *((key, process) for key, (_, process) in self._busy.items())]:
            connection.close()
            process.kill()
            process.wait()
