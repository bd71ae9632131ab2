"""How much memory this process may still use: the machine's free memory, the container's limit, and its own limit."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_memory", "in_words", "is_shortage"]

_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 2**62


def available_memory() -> int:
    """The bytes that can be used now without this or another process being killed; a very large number if unknown."""
    return max(0, min(_machine(), _container(), _own()))


def in_words(count: float) -> str:
    """A number of bytes in words.

    >>> in_words(532), in_words(3 * 2**20), in_words(2.5 * 2**30)
    ('532 bytes', '3.0 MiB', '2.5 GiB')
    """
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory: Python's own, or XLA's."""
    return isinstance(error, MemoryError) or any(
        sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "Out of memory", "Unable to allocate", "out of memory")
    )


def _machine() -> int:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return _UNKNOWN


def _container() -> int:
    """What the control groups leave (version 2, then 1): the limit less what is used, but for what can be dropped."""
    for folder, most, used, dropped in (
        (_CGROUP, "memory.max", "memory.current", "inactive_file"),
        (_CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, usage = _number(folder / most), _number(folder / used)
        if limit is not None and usage is not None:
            stat = dict(line.split()[:2] for line in _lines(folder / "memory.stat") if len(line.split()) == 2)
            return limit - usage + int(stat.get(dropped, 0))
    return _UNKNOWN


def _own() -> int:
    """What ``ulimit -v`` leaves of this process's addresses."""
    if sys.platform == "win32":
        return _UNKNOWN
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return _UNKNOWN
    pages = next(iter(_lines(Path("/proc/self/statm"))), "0").split()[0]
    return limit - int(pages) * resource.getpagesize()


def _number(path: Path) -> int | None:
    text = next(iter(_lines(path)), "").strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        yield from path.read_text().splitlines()
