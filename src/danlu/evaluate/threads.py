"""Threads for other libraries' fits: as many as there are idle cores."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["idle_cores", "spare_threads"]

_LOOK = 0.2  # seconds


def _idle_time() -> float | None:
    """Seconds that all cores together have had nothing to do since the start of the system; None where it does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def idle_cores() -> int:
    """The number of idle cores, from 1 to those that this process may use; half of these if unknown."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before, begun = _idle_time(), time.monotonic()
    if before is None or usable == 1:
        return max(usable // 2, 1)
    time.sleep(_LOOK)
    after = _idle_time()
    idle = 0.0 if after is None else (after - before) / (time.monotonic() - begun)
    return min(max(round(idle), 1), usable)


@contextlib.contextmanager
def spare_threads() -> Iterator[int]:
    """Within, OpenMP and BLAS use as many threads as cores are idle now, and no more.

    Threads of OpenMP wait for each other by spinning: one thread more than there are idle cores makes a fit many times slower, since
    all others wait, thousands of times, until the system lets it run.
    """
    from threadpoolctl import threadpool_limits

    count = idle_cores()
    with threadpool_limits(limits=count):
        yield count
