"""What workers are told to do in tests: a module that they load in no time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from danlu.errors import DataError, TrainingError


def job(told: tuple[str, str]) -> str:
    """What a worker is told to do."""
    what, folder = told
    if what == "die once" and not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die":
        os._exit(7)
    if what == "refuse":
        raise DataError("there is no such row", hint="look again")
    if what == "stop":
        error = TrainingError("stopped")
        error.stopped_by = signal.SIGTERM
        raise error
    return what.upper()
