"""Files that are written whole or not at all: under a temporary name first, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from danlu.errors import ArtifactError, DanluError, DataError, nearest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "alive",
    "alone",
    "cache_folder",
    "check_place",
    "check_there",
    "is_url",
    "latest",
    "near_file",
    "replacing",
    "sweep",
    "sweep_all",
    "sync_folder",
    "temporary_for",
    "whole_folder",
    "write_atomic",
]

_LEFT_OVER = re.compile(r"\.(.+)\.(\d{1,9})-[0-9a-f]{8}\.tmp")
_OLD = re.compile(r"\..+\.\d+\.part")  # as earlier versions called them
_DAY = 86_400.0


def temporary_for(target: Path) -> Path:
    """A temporary name next to ``target`` with the process's number, so that :func:`sweep` recognises files of a killed process."""
    return target.with_name(f".{target.name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, error: type[DanluError] = ArtifactError) -> Iterator[Path]:
    """Write a file so that a reader, at any moment and after any failure, sees the old or the new one, whole.

    The block writes to the path it is given, a file that is not there yet. When the block ends well it is put on disk and
    takes the place of ``path``; a link stays, and what it leads to is replaced. A pipe or a device, such as ``/dev/stdout``,
    is written to directly.

    Raises:
        DanluError: of the class ``error``; the file cannot be written (no space, no permission, no folder).

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp(), "answers.csv")
        >>> with replacing(place) as new:
        ...     written = new.write_text("42")
        >>> place.read_text()
        '42'
    """
    target = Path(os.path.realpath(path))
    temporary = temporary_for(target)
    try:
        there = Path(path)  # asked by this name: what /dev/stdout leads to may have no other
        if there.exists() and not there.is_file() and not there.is_dir():
            yield there
            return
        sweep(target.parent, target.name[:200])
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as problem:
        raise error(
            f"cannot write {path}: {problem.strerror or problem}; what was there before is unchanged",
            hint=_what_to_do(target),
        ) from problem
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _what_to_do(target: Path) -> str:
    """What to do about a file that cannot be written."""
    if not os.path.lexists(target.parent):
        return f"there is no folder {target.parent}: make it first, or name another place"
    if target.is_dir():
        return f"{target} is a folder: name a file in it"
    if not target.parent.is_dir():
        return f"{target.parent} is no folder: name another place"
    return "check the free space and the permissions of the folder"


def check_place(path: str | os.PathLike[str], *, error: type[DanluError] = ArtifactError) -> None:
    """Refuse a place where no file can be written, before the work of which it is the result.

    Raises:
        DanluError: of the class ``error``; no folder, no permission, or not a file.

    Example:
        >>> try:
        ...     check_place("nowhere/model.onnx")
        ... except ArtifactError as problem:
        ...     print(problem.message)
        cannot write nowhere/model.onnx: No such file or directory
    """
    if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():  # a pipe or a device
        return
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = temporary_for(target)
        temporary.touch()
        temporary.unlink()
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}", hint=_what_to_do(target)) from problem


@contextlib.contextmanager
def whole_folder(folder: Path, *, error: type[DanluError] = ArtifactError) -> Iterator[Path]:
    """Write a new folder so that it is there whole or not at all: the block writes into the folder that it is given.

    Raises:
        DanluError: of the class ``error``; it is there already, or cannot be written.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp(), "new")
        >>> with whole_folder(place) as new:
        ...     written = (new / "answer.txt").write_text("42")
        >>> [each.name for each in place.iterdir()]
        ['answer.txt']
    """
    temporary = temporary_for(folder)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, folder)
        sync_folder(folder.parent)
    except OSError as problem:
        raise error(
            f"cannot write {folder}: {problem.strerror or problem}; nothing is left of it", hint=_what_to_do(folder)
        ) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomic(path: str | os.PathLike[str], data: bytes | str, *, error: type[DanluError] = ArtifactError) -> None:
    """Write ``data`` (text as UTF-8) to a file, whole or not at all; see :func:`replacing`."""
    with replacing(path, error=error) as temporary, open(temporary, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def cache_folder() -> Path | None:
    """Where compiled programs are kept, beside other things that can be made again; None when the cache is off."""
    setting = os.environ.get("DANLU_CACHE", "")
    if setting.lower() in ("off", "0", "no", "none", "false"):
        return None
    try:
        if setting:
            return Path(setting).expanduser()
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(base).expanduser() / "danlu" / "xla"
    except RuntimeError:  # a user without a home
        return None


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Waits until no other process is in a block of the same lock; the system frees that of a process that was killed."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(lock, "w") as handle:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if not _is_at(lock, handle.fileno()):  # who had it has removed it: another one may have made it anew
                    continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    lock.unlink()
            return


def _is_at(path: Path, number: int) -> bool:
    """Whether an open file is still that of this name."""
    try:
        return os.path.samestat(os.fstat(number), os.stat(path))
    except FileNotFoundError:
        return False


def is_url(source: object) -> bool:
    """Whether a name of data is a URL, such as ``s3://bucket/folder``.

    >>> is_url("s3://bucket/part-*.parquet"), is_url("C:/table.csv"), is_url("module:Walk-v0")
    (True, False, False)
    """
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.:-]*://", source) is not None


def check_there(source: str | os.PathLike[str]) -> None:
    """Refuse the name of data of which nothing is there: no file, folder or pipe, and no files that it is a pattern or beginning of.

    Raises:
        DataError: there is none; it offers the nearest name beside it.
    """
    path = Path(source)
    if str(source).strip() in ("", "-") or "\0" in str(source) or is_url(source):  # answered by whoever opens it
        return
    mine = [f"{path.name}.*", *([path.name] if any(mark in path.name for mark in "*?[") else [])]
    if not os.path.lexists(path) and not any(True for pattern in mine for _ in path.parent.glob(pattern)):
        raise DataError(f"there is no file or folder {path}", hint=near_file(path))


def near_file(path: Path) -> str | None:
    """A hint about a file that is not there: the nearest name in its folder."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    close = nearest(path.name, (entry.name for entry in folder.iterdir()))
    return f"did you mean {folder / close}?" if close else None


def latest(folder: Path, *holding: str, most: int = 5) -> list[str]:
    """The names of the folders in a folder that hold a file of one of some names, the one that changed last first."""
    found: list[tuple[float, str]] = []
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if any((each / name).is_file() for name in holding):
                found.append((each.stat().st_mtime, each.name))
    return [name for _, name in sorted(found, reverse=True)[:most]]


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut, where the system has a way to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path, target: str | None = None) -> None:
    """Remove unfinished files of killed processes in ``folder`` (for ``target``); those of running processes stay."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _LEFT_OVER.fullmatch(entry.name)
            if found and target in (None, found[1]):
                aged = time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY
                if aged or not alive(int(found[2])):
                    _remove(Path(entry.path))


def sweep_all(folder: Path) -> None:
    """Remove all unfinished files in ``folder`` and below; only for a process that is the only writer there."""
    with contextlib.suppress(OSError):
        for entry in [
            entry for entry in folder.rglob(".*") if _LEFT_OVER.fullmatch(entry.name) or _OLD.fullmatch(entry.name)
        ]:
            _remove(entry)


def _remove(entry: Path) -> None:
    """Remove a file, a link or a folder with all in it, as far as the system lets us."""
    with contextlib.suppress(OSError):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Whether a process of this number runs here; True where the system has no harmless way to ask."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
