"""The launcher: starts the processes of one training, watches over them, and starts them again when one fails.

A training of several processes is one program: where one process ends, the others wait for it for ever. So a failure of one ends all, and
all start again from the last checkpoint. A process fails when it is killed, ends with an error that it did not mean, says nothing for
``silence`` seconds (it is stopped), or when no process has come further for ``timeout`` seconds (they wait for each other). An error that
is meant, such as a file that is not there, would come again, and is the end.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from danlu.errors import ConfigError, TrainingError
from danlu.interrupt import Asked, graceful
from danlu.language import current
from danlu.launch.child import Child
from danlu.launch.place import Place
from danlu.launch.variables import COORDINATOR, COUNT, LAUNCHED, RANK, TIMEOUT

__all__ = ["Job", "launch", "resumed"]

_LOOK = 0.1  # seconds between two looks
_PAUSED = 5.0  # seconds between two looks after which it was the launcher that stood still
_GRACE = 60.0  # seconds that processes have to end once one has ended well
_SOON = 6.0  # and once one has ended with an error


@dataclasses.dataclass(frozen=True)
class Job:
    """What is launched.

    Args:
        command: danlu's arguments, ``("train", "titanic.csv", …)``.
        processes: how many processes train together, on all machines.
        devices: how many devices each has, on a CPU by dividing it; None is one, and all of the machine where it has one process.
        coordinator: ``host:port`` of process 0; None is a free port of this machine, where all processes then are.
        rank: the number of the only process of this machine; None starts all here.
        restarts: how often the whole is started again after a failure.
        timeout: seconds without progress in any process, after which they are ended.
        silence: seconds without a word from a process, after which it is ended.
        elastic: whether a new start has one process fewer.
        least: how many processes an elastic job has at least; with as many it starts again with the same number.
    """

    command: tuple[str, ...]
    processes: int
    devices: int | None = None
    coordinator: str | None = None
    rank: int | None = None
    restarts: int = 3
    timeout: float = 600.0
    silence: float = 20.0
    elastic: bool = False
    least: int = 1

    def __post_init__(self) -> None:
        whole = {
            "processes": (self.processes, 1),
            "devices-per-process": (self.devices, 1),
            "restarts": (self.restarts, 0),
            "least": (self.least, 1),
        }
        for name, (value, least) in whole.items():
            if value is not None and value < least:
                raise ConfigError(f"--{name} is {value}; expected a whole number >= {least}")
        if not self.timeout > 0:  # nor of nan
            raise ConfigError(f"--timeout is {self.timeout:g}; expected seconds > 0")
        if self.rank is not None and self.coordinator is None:
            raise ConfigError(
                f"--rank {self.rank} is one process of several machines; expected --coordinator host:port with it",
                hint="the machine of process 0 and a free port there, the same on each machine",
            )
        if self.coordinator is not None:
            Place(self.coordinator, self.processes, self.rank or 0, "--rank")  # says what is wrong with it
        if self.elastic and self.rank is not None:
            raise ConfigError("--elastic goes on with one process fewer, which the launchers of several machines cannot agree on",
                              hint="leave --elastic or --rank out")  # fmt: skip
        if self.least > 1 and not self.elastic:
            raise ConfigError(
                f"--least is {self.least}, and without --elastic no start has fewer processes; expected both or none"
            )
        if self.least > self.processes:
            raise ConfigError(f"--least is {self.least} of {self.processes} processes; expected no more than there are")
        _check(self.command)

    @property
    def ranks(self) -> range:
        """The processes of this machine."""
        return range(self.processes) if self.rank is None else range(self.rank, self.rank + 1)


_INSTEAD = {
    "tune": "several processes share a study by themselves: start `danlu tune --resume RUN` on each machine",
    "replay": "a replayed training runs in one process",
    "compress": "a model is compressed in one process",
}


def _check(command: Sequence[str]) -> None:
    """Refuse what is no training."""
    if not command or command[0] != "train":
        given = " ".join(command[:2]) or "nothing"
        raise ConfigError(
            f"danlu launch received {given!r} to launch; expected a training: danlu launch --processes 2 -- train data.csv",
            hint=_INSTEAD.get(command[0] if command else ""),
        )


def launch(job: Job, *, say: Callable[[str], None]) -> int:
    """Run a job to its end.

    Args:
        say: called with each line for the user: what other processes than 0 say, and what the launcher does.

    Returns:
        The exit status: that of process 0, or that of the signal that stopped it.

    Raises:
        ConfigError: processes cannot be launched here.
        TrainingError: a process failed more often than ``restarts`` allows.
    """
    if os.name != "posix":
        raise ConfigError("danlu launch needs Linux or macOS", hint="on Windows: in WSL, or start one process")
    run: str | None = None
    with graceful() as asked:
        for attempt in range(job.restarts + 1):
            crew = _Crew(job, run, say)
            try:
                ended = crew.watch(asked)
            finally:
                crew.end()
            if isinstance(ended, int):
                return ended
            run = crew.run or run
            left = job.restarts - attempt
            if left == 0:
                break
            if job.elastic:
                job = dataclasses.replace(job, processes=max(job.least, job.processes - 1))
            start = "from the last checkpoint" if run and _has_checkpoint(run) else "from the beginning"
            with_fewer = f" with {job.processes} process{'es' * (job.processes > 1)}" if job.elastic else ""
            say(
                f"launch: {ended}; all processes start again {start}{with_fewer} (restart {attempt + 1} of {job.restarts})"
            )
    kept = f"danlu train --resume {run}" if run else None
    raise TrainingError(
        f"{ended}; restarts that were left: 0 of {job.restarts}", hint=kept and f"what was learned is kept: {kept}"
    )


def _has_checkpoint(run: str) -> bool:
    folder = Path(run) / "checkpoints"
    return folder.is_dir() and any(folder.iterdir())


class _Crew:
    """The processes of one start."""

    def __init__(self, job: Job, run: str | None, say: Callable[[str], None]) -> None:
        self._job, self._say, self._run = job, say, run
        coordinator = job.coordinator or f"127.0.0.1:{_free_port()}"
        each = job.devices or (1 if job.rank is None and job.processes > 1 else None)
        command = job.command if run is None else resumed(job.command, run)
        self._children: list[Child] = []
        try:
            for rank in job.ranks:
                variables = {
                    COORDINATOR: coordinator,
                    COUNT: str(job.processes),
                    RANK: str(rank),
                    TIMEOUT: str(max(1, round(min(job.timeout, 300)))),
                    LAUNCHED: "1",
                    "DANLU_LANGUAGE": current(),
                    **({} if each is None else _devices(each, rank - job.ranks.start)),
                }
                self._children.append(Child(rank, command, variables, cores=_cores(job, rank - job.ranks.start)))
        except OSError as error:
            self.end()
            raise TrainingError(f"process {rank} cannot be started: {error.strerror or error}") from error

    @property
    def run(self) -> str | None:
        """The run that they train, once that is known."""
        return next((child.facts["run"] for child in self._children if "run" in child.facts), None)

    def watch(self, asked: Asked) -> int | str:
        """Wait for the end: an exit status where it was meant, or what failed, in words."""
        looked, passed = time.monotonic(), False
        while True:
            time.sleep(_LOOK)
            for child in self._children:
                child.look(self._say)
            now = time.monotonic()
            if now - looked > _PAUSED:
                for child in self._children:
                    child.heard = child.moved = now
            looked = now
            if asked and not passed:
                passed = True
                self._children[0].ask(asked.number or signal.SIGINT)  # the first tells the others when to stop
            if any(child.status is not None for child in self._children):
                found = self._ended(passed)
                return 128 + (asked.number or signal.SIGINT) if passed else found
            failed = self._stuck(now)
            if failed:
                return failed

    def _ended(self, asked: bool) -> int | str:
        """What it means that a process has ended; the others have a moment to do so too, in which it shows who was the first."""
        begun, children = time.monotonic(), self._children
        first = [child for child in children if child.status is not None]
        while any(child.status is None for child in children) and not any(_failed(child, asked) for child in children):
            time.sleep(_LOOK)
            for child in children:  # what the others say from now on is that they have lost the first
                child.look(self._say if child in first or child.status == 0 else lambda line: None)
            failing = any("refused" in child.facts or "lost" in child.facts for child in children)
            if time.monotonic() - begun > (_SOON if failing else _GRACE):
                break
        for child in children:
            child.look(self._say if child in first else lambda line: None)
        refused = {child.rank: child.facts["refused"] for child in children if "refused" in child.facts}
        if refused:
            for rank, message in refused.items():
                if rank and message != refused.get(0):
                    self._say(f"[{rank}] {message}")
            return next((child.status for child in children if child.rank in refused and child.status), 1)
        for child in children:
            if _failed(child, asked):
                for line in child.log if (child.status or 0) < 0 and child.status != -signal.SIGKILL else ():
                    self._say(f"[{child.rank}] {line}")
                return f"process {child.rank} {_how(child.status or 0)}"
        for child in children:
            if "lost" in child.facts:
                return f"process {child.rank} has lost a process on another machine"
        done = [child.status for child in children if child.status is not None]
        return max(128 - status if status < 0 else status for status in done)

    def _stuck(self, now: float) -> str | None:
        """The processes that say nothing or come no further, in words."""
        job = self._job
        silent = [child for child in self._children if now - child.heard > job.silence]
        if silent:
            names = ", ".join(f"{child.rank} (pid {child.pid})" for child in silent)
            return f"process {names} has said nothing for {job.silence:g} s: it is stopped or the machine stands still"
        if min(now - child.moved for child in self._children) <= job.timeout:
            return None
        where = "; ".join(
            f"process {child.rank} is at {child.at or 'a place that is not known'}" for child in self._children
        )
        least = min(child.spoken for child in self._children)
        behind = [str(child.rank) for child in self._children if child.spoken == least]
        who = f"process {', '.join(behind)} is behind; " if len(behind) < len(self._children) else ""
        return f"no process has come further for {job.timeout:g} s (--timeout): {who}{where}"

    def end(self) -> None:
        """End all that still run."""
        for child in self._children:
            if child.status is None:
                child.end()
        for child in self._children:
            child.close()


def _failed(child: Child, asked: bool) -> bool:
    """Whether a process ended otherwise than it meant to, and not because another one did."""
    return child.status not in (None, 0) and not asked and not {"refused", "lost"} & set(child.facts)


def resumed(command: Sequence[str], run: str) -> tuple[str, ...]:
    """The command that goes on with a run; what it may import and how it shows itself stay.

    >>> resumed(("train", "titanic.csv", "--target", "Survived", "--display", "plain"), "runs/titanic")
    ('train', '--resume', 'runs/titanic', '--display', 'plain')
    """
    kept: list[str] = []
    for place, word in enumerate(command):
        name, equals, _ = word.partition("=")
        if name in ("--allow", "--display"):
            kept += [word] if equals else [word, *command[place + 1 : place + 2]]
    return ("train", "--resume", run, *kept)


def _how(status: int) -> str:
    """How a process ended, in words.

    >>> _how(-9), _how(1)
    ('was killed by SIGKILL', 'ended with status 1')
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"


def _devices(each: int, local: int) -> dict[str, str]:
    """The variables by which JAX gives a process its devices: parts of the CPU, or GPUs by their numbers."""
    first = local * each
    return {"JAX_NUM_CPU_DEVICES": str(each), "JAX_LOCAL_DEVICE_IDS": ",".join(map(str, range(first, first + each)))}


def _cores(job: Job, local: int) -> list[int]:
    """The share of this machine's cores that a process has: as many for each, else each would start threads for all of them."""
    if len(job.ranks) == 1 or not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // len(job.ranks)
    return cores[local * share : (local + 1) * share]


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])
