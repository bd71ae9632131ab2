"""One of the processes that a launcher started: what it says, how it is, how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from danlu.launch.variables import PIPE

__all__ = ["Child"]


_LOG = re.compile(r"[IWEF]\d{4} \d\d:|\[Gloo\]")  # how such a line begins; those after it belong to it
_OWN = ("Traceback", "danlu:")


class Child:
    """A running ``danlu`` of one rank.

    Process 0 has the launcher's own streams, so its display is as that of a training by itself. What others say, errors mostly, is read
    here and shown with their number before it.

    Attributes:
        rank: its number.
        beats: how often it has come further.
        spoken: how many values it has agreed on with the others.
        moved, heard: when it last did, and when it last said anything, on the clock ``time.monotonic``.
        at: where in the program it is, when it has not come further for a moment.
        log: the last lines that libraries in C wrote, which seldom help: each process writes that it has lost the others.
        facts: what it told, such as ``{"run": "runs/titanic"}``.
    """

    def __init__(
        self, rank: int, command: Sequence[str], variables: Mapping[str, str], *, cores: Sequence[int]
    ) -> None:
        self.rank, self.beats, self.spoken, self.at = rank, -1, 0, None
        self.facts: dict[str, Any] = {}
        self.moved = self.heard = time.monotonic()
        self._told = self._said = b""
        self._aside, self.log = False, deque[str](maxlen=12)
        self._pipe, theirs = os.pipe()
        os.set_blocking(self._pipe, False)
        streams = (
            {} if rank == 0 else {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        )
        try:
            with _on_cores(cores):
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "danlu", *command],
                    env={**os.environ, **variables, PIPE: str(theirs)},
                    pass_fds=[theirs],
                    start_new_session=True,  # Ctrl-C is the launcher's, which passes it on
                    **streams,  # type: ignore[call-overload]
                )
        finally:
            os.close(theirs)
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """The process's number in the system."""
        return int(self._process.pid)

    @property
    def status(self) -> int | None:
        """How it ended: an exit status, or minus a signal's number; None while it runs."""
        found: int | None = self._process.poll()
        return found

    def look(self, show: Callable[[str], None]) -> None:
        """Read what it has told and said since the last look."""
        self._told += _read(self._pipe)
        *lines, self._told = self._told.split(b"\n")
        for line in lines:
            self._hear(json.loads(line))
        if self._process.stdout is not None:
            self._said += _read(self._process.stdout.fileno())
            *lines, self._said = self._said.split(b"\n")
            if self.status is not None and self._said:
                lines, self._said = [*lines, self._said], b""
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._aside = not text.startswith(_OWN) and (self._aside or bool(_LOG.match(text)))
                if self._aside:
                    self.log.append(text)
                elif text:
                    show(f"[{self.rank}] {text}")

    def _hear(self, told: dict[str, Any]) -> None:
        self.heard = time.monotonic()
        if "beats" not in told:
            self.facts |= told
            return
        if told["beats"] != self.beats:
            self.beats, self.moved = told["beats"], self.heard
        self.at, self.spoken = told["at"], told["spoken"]

    def ask(self, number: int) -> None:
        """Pass a signal on."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def end(self) -> None:
        """End it at once, and all that it has started, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Let go of its pipes."""
        os.close(self._pipe)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _read(pipe: int) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(pipe, 65536):
            found += part
    return found


@contextlib.contextmanager
def _on_cores(cores: Sequence[int]) -> Any:
    """Within, what is started runs on these cores of the machine only; on all where there are none."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
