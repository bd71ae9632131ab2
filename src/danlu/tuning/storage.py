"""Where a study is kept: a file that processes share, on a network drive too, or a data base."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.errors import ArtifactError
from danlu.tuning.sampler import optuna

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["storage_of"]

_SQLITE = (".db", ".sqlite", ".sqlite3")


class _FileLock:
    """A journal's lock, which the system releases when its process ends, however it ends."""

    def __init__(self, path: str) -> None:
        self._path, self._handle = f"{path}.lock", -1

    def acquire(self) -> bool:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return True

    def release(self) -> None:
        os.close(self._handle)


def storage_of(given: str | Path) -> Any:
    """Optuna's storage in a file (SQLite where its name ends in .db, .sqlite or .sqlite3, else a journal) or at the URL of a data base.

    Raises:
        ArtifactError: there is no folder for the file.
    """
    library, text = optuna(), str(given)
    if "://" in text:
        return _data_base(text)
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ArtifactError(f"cannot keep the study in {path}", hint="name a file in a folder that exists")
    if path.suffix.lower() in _SQLITE:
        return _data_base(f"sqlite:///{path.absolute()}", engine_kwargs={"connect_args": {"timeout": 60}})
    lock = _lock_of(text)
    with _held(lock):
        _mend(path)
    backend = library.storages.journal.JournalFileBackend(text, lock_obj=lock)
    return library.storages.JournalStorage(backend)


def _data_base(url: str, **how: Any) -> Any:
    """Optuna's storage in a data base. Of several processes that make its tables at the same moment, all but one have to look again."""
    for pause in (0.1, 0.3, 1.0):
        try:
            return optuna().storages.RDBStorage(url, **how)
        except ImportError:  # no driver
            raise
        except Exception:
            time.sleep(pause)
    return optuna().storages.RDBStorage(url, **how)


def _lock_of(path: str) -> Any:
    """The system's lock, which a dead process lets go of; where the drive has none, a link that only one process can make."""
    lock = _FileLock(path)
    try:
        with _held(lock):
            return lock
    except (OSError, AttributeError):  # a network drive without locks, Windows
        Path(f"{path}.lock").unlink(missing_ok=True)
        return optuna().storages.journal.JournalFileSymlinkLock(path)


@contextlib.contextmanager
def _held(lock: Any) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _mend(path: Path) -> None:
    """Cut off a line that a killed process left half-written."""
    if not path.is_file():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)
