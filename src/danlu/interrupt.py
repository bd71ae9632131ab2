"""Signals to stop: Ctrl-C, SIGTERM (a scheduler, a shutdown) and SIGHUP (a terminal that closes).

Within :func:`graceful` the first signal is noted, so that training can stop between two steps and keep what it has learned. Any program
has that for Ctrl-C. The command line, a process that is all danlu's, lives within :func:`heed`: it has it for all three, and at any other
time, as at a second signal, it ends at once. Nothing is raised there, because an exception in the midst of another library's C code is
swallowed or fatal; what is on the disk is whole at any moment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Asked", "exit_status", "graceful", "hearing", "heed", "why"]

_NAMES = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "SIGHUP"}


class Asked:
    """Whether the process was asked to stop, and by which signal; true once it was."""

    number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None


_heeded: frozenset[int] = frozenset()
_grace: Asked | None = None
_heard: dict[int, Callable[[], None]] = {}


def told(number: int) -> str:
    """A signal in words.

    >>> told(signal.SIGINT), told(signal.SIGTERM)
    ('stopped by Ctrl-C', 'stopped by SIGTERM')
    """
    return f"stopped by {_NAMES.get(signal.Signals(number).name, f'signal {number}')}"


def why(asked: Asked) -> str:
    """Why training stopped, in words."""
    return f"{told(asked.number or signal.SIGINT)}; what was learned is kept"


def exit_status(stopped_by: int | None) -> int:
    """The exit status of a command after a training that the signal ``stopped_by`` stopped, as a shell reports it; 0 without one.

    >>> exit_status(None), exit_status(signal.SIGINT)
    (0, 130)
    """
    return 0 if stopped_by is None else 128 + stopped_by


@contextlib.contextmanager
def graceful() -> Iterator[Asked]:
    """Within, the first signal to stop is noted in what this gives; a second one interrupts."""
    global _grace
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    if _heeded:
        _grace = asked
        try:
            yield asked
        finally:
            _grace = None
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.number = number

    if previous != signal.SIG_IGN:
        signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        if previous != signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)


@contextlib.contextmanager
def hearing(number: int, call: Callable[[], None]) -> Iterator[None]:
    """Within, this signal calls ``call``, in any thread, and stops nothing; 0 is the signal that this system does not have."""
    if not number or threading.current_thread() is not threading.main_thread():
        yield
        return
    _heard[number] = call
    before = None if number in _heeded else signal.signal(number, lambda number, frame: call())
    try:
        yield
    finally:
        del _heard[number]
        if number not in _heeded:
            signal.signal(number, before)


@contextlib.contextmanager
def heed() -> Iterator[None]:
    """Within, the three signals are for :func:`graceful`, and end the process at once where there is nothing to keep.

    A signal that is ignored (``nohup``, a job in the background) stays ignored.
    """
    global _heeded
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: found for number in _signals() if (found := signal.getsignal(number)) != signal.SIG_IGN}
    _heeded = frozenset(before)
    pipe: tuple[int, ...] = ()
    if os.name == "posix":  # Python's own handlers wait for the end of a compilation; the reader of this pipe does not
        pipe = reader, writer = os.pipe()
        os.set_blocking(writer, False)
        threading.Thread(target=_listen, args=(reader,), name="danlu signals", daemon=True).start()
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, (lambda number, frame: None) if pipe else lambda number, frame: _take(number))
    try:
        yield
    finally:
        _heeded = frozenset()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if pipe:
            signal.set_wakeup_fd(-1)
            os.close(pipe[1])  # its reader ends, and closes its own end


def _listen(pipe: int) -> None:
    while data := os.read(pipe, 64):
        for number in data:
            if number in _heeded:
                _take(number)
    os.close(pipe)


def _take(number: int) -> None:
    if number in _heard:
        return _heard[number]()
    if number == getattr(signal, "SIGHUP", None):
        _let_go_of_the_terminal()
    if _grace is not None and not _grace:
        _grace.number = number
        return
    cursor = b"\x1b[?25h" if _is_terminal(2) else b""  # a live display hides it
    with contextlib.suppress(OSError):
        os.write(2, cursor + f"danlu: {told(number)}\n".encode())
    os._exit(128 + number)


def _let_go_of_the_terminal() -> None:
    """Writing to a terminal that has closed is an error, which must not keep us from saving."""
    for descriptor in (1, 2):
        if _is_terminal(descriptor):
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _is_terminal(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(descriptor)
    return False


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
