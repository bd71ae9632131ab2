"""How a process that was launched is: what it tells its launcher every second, by a pipe of its own.

A process that is stopped (SIGSTOP, a machine that swaps) says nothing more. One that waits for ever (a deadlock, a file system that has
gone) goes on saying that it lives, but comes no further: with each message goes how far it has come, and where in the program it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from danlu.launch.variables import PIPE
from danlu.processes import heard_by, spoken

__all__ = ["EVERY", "PipeHeart", "begin"]

EVERY = 1.0
"""Seconds between two messages."""
_STILL = 3.0  # seconds without coming further, after which a message says where the program is
_ROOT = Path(__file__).parents[1]


def begin() -> None:
    """Tell the launcher of this process, if it has one, how it is from now on."""
    pipe = os.environ.pop(PIPE, "")
    if pipe:
        heard_by(PipeHeart(int(pipe)))


class PipeHeart:
    """Tells a launcher, through the pipe that it gave, how this process is.

    A launcher that has gone has nobody whom this process could train for: it ends.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe, self._beats, self._moved = pipe, 0, time.monotonic()
        self._lock = threading.Lock()
        os.set_inheritable(pipe, False)
        self.tell("begun", os.getpid())
        threading.Thread(target=self._beat, name="danlu heart", daemon=True).start()

    def beat(self) -> None:
        """This process has come further."""
        self._beats, self._moved = self._beats + 1, time.monotonic()

    def tell(self, name: str, value: Any) -> None:
        """Tell a fact at once."""
        self._write({name: value})

    def _beat(self) -> None:
        while True:
            at = _place() if time.monotonic() - self._moved > _STILL else None
            self._write({"beats": self._beats, "spoken": spoken(), "at": at})
            time.sleep(EVERY)

    def _write(self, told: dict[str, Any]) -> None:
        try:
            with self._lock:
                os.write(self._pipe, (json.dumps(told) + "\n").encode())
        except OSError:
            with contextlib.suppress(OSError):
                os.write(2, b"danlu: the launcher has gone; this process ends\n")
            os._exit(1)


def _place() -> str | None:
    """Where in danlu the main thread is, such as ``engine/training.py:250``."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT):
            return f"{path.relative_to(_ROOT)}:{frame.f_lineno} ({frame.f_code.co_name})"
        frame = frame.f_back
    return None
