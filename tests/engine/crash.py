"""Kills a program at each call that changes a file: the first, the second, … and after half of what is written."""

from __future__ import annotations

import builtins
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Killed", "killed_at"]

CALLS = ("open", "fsync", "rename", "replace", "mkdir", "link", "unlink", "remove")


class Killed(BaseException):
    """What a kill is to the code that it hits: nothing after it runs."""


class _Torn:
    """A file whose every write is a place to die, the half of it written."""

    def __init__(self, file: Any, reached: Callable[[], bool], die: Callable[[], None]) -> None:
        self._file, self._reached, self._die = file, reached, die

    def write(self, data: Any) -> Any:
        if self._reached():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            self._die()
        return self._file.write(data)

    def __enter__(self) -> _Torn:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def raise_killed() -> None:
    raise Killed


@contextmanager
def killed_at(point: int, folder: Path, *, die: Callable[[], None] = raise_killed) -> Iterator[list[str]]:
    """Within, the call number ``point`` (from 0) that changes something in ``folder`` kills the program instead.

    Yields:
        The calls so far, ``"fsync"`` and the like; the last one is that which killed.
    """
    calls: list[str] = []
    dead = False

    def reached(name: str) -> bool:
        calls.append(name)
        return len(calls) > point

    def kill() -> None:
        nonlocal dead
        dead = True
        die()

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            path = args[0] if args else None
            ours = isinstance(path, int) or str(path).startswith(str(folder))
            if dead or not ours:  # what runs while the exception passes is no part of the killed program
                return None if dead and ours and name != "open" else real(*args, **kwargs)
            if reached(name):
                kill()
            return real(*args, **kwargs)

        return call

    def opened(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        writes = any(letter in mode for letter in "wax+") and str(path).startswith(str(folder))
        if not writes or dead:
            return real_open(path, mode, *args, **kwargs)
        if reached("open"):
            kill()
        return _Torn(real_open(path, mode, *args, **kwargs), lambda: reached("write"), kill)

    real_open = builtins.open
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, watched(name, getattr(os, name)))
        patch.setattr(builtins, "open", opened)
        patch.setattr(shutil, "rmtree", watched("rmtree", shutil.rmtree))
        yield calls
