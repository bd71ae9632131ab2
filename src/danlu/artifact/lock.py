"""One process at a time in a run: a lock that is released when the process ends."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from danlu.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked"]

LOCK_FILE = ".lock"
_BEYOND = 2**30  # Windows locks bytes: one beyond the text, which others may then read


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock ``folder`` for this process. If the file system does not support locks, nothing is locked or refused.

    Raises:
        ConfigError: another process holds it; the message says which.
    """
    path = folder / LOCK_FILE
    handle = _take(path, folder)
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(handle)


def _take(path: Path, folder: Path) -> int | None:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError:  # a folder that cannot be written says so where that matters
            return None
        try:
            _lock(handle)
        except (BlockingIOError, PermissionError):
            holder = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise ConfigError(
                f"the run {folder} is in use by {holder or 'another process'}",
                hint="wait until it has ended, or end it first",
            ) from None
        except OSError:
            os.close(handle)
            return None
        with contextlib.suppress(OSError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return handle
        os.close(handle)  # its holder removed the file between our opening and our locking it


def _lock(handle: int) -> None:
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    os.lseek(handle, _BEYOND, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
