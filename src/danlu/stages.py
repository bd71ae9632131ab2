"""Progress of a long job and the time left: stages, shown live on a terminal and as plain lines elsewhere.

Whatever may take more than a moment says so where it happens, however deep that is::

    with stage("judging", total=len(rows), unit="rows") as step:
        for chunk in chunks:
            step.advance(len(chunk))

Nothing is shown unless a caller further up has opened a display with :func:`showing`. A display has a thread of its own, so that a
single call that takes minutes (a compilation, a fit of another library) still shows that the program is alive.
"""

from __future__ import annotations

import abc
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from danlu.errors import unknown_name
from danlu.processes import beat
from danlu.prose import percent

__all__ = [
    "DISPLAYS",
    "Display",
    "LiveDisplay",
    "PlainDisplay",
    "Stage",
    "display_kind",
    "duration",
    "showing",
    "shown",
    "stage",
    "track",
]

DISPLAYS = ("auto", "live", "plain", "none")

T = TypeVar("T")


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(7.2), duration(75), duration(7260)
    ('7s', '1m15s', '2h01m')
    """
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


class Stage:
    """A part of a job in progress.

    Args:
        name: what is done, such as ``"reading"``.
        total: how much there is to do, in ``unit``; None where that is not known.
        unit: what is counted; empty for a share that is shown without its counts.
        limit: the most seconds that it may take, where there is such a limit.

    Attributes:
        done: how much is done.
        detail: what else is worth a place on the line.
        at_most: whether it may end before ``total`` is reached.
    """

    def __init__(self, name: str, *, total: float | None = None, unit: str = "", limit: float | None = None) -> None:
        self.name, self.total, self.unit, self.limit = name, total, unit, limit
        self.done, self.detail, self.at_most = 0.0, "", False
        self.begun = time.monotonic()
        self._from = (self.begun, 0.0)
        beat()

    def advance(self, count: float = 1) -> None:
        """``count`` more are done."""
        self.done += count
        beat()

    def pace(self) -> None:
        """Estimate the time left only from progress after this call: earlier work, such as a compilation, is not repeated."""
        self._from = (time.monotonic(), self.done)

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    def left(self) -> float | None:
        """Estimated seconds left, by the pace so far; None if unknown."""
        since, before = self._from
        if self.total is None or self.done <= before:
            return None
        return (time.monotonic() - since) / (self.done - before) * max(self.total - self.done, 0.0)

    def __str__(self) -> str:
        parts = []
        if self.total is not None and self.unit:
            parts.append(f"{self.done:,.0f}/{self.total:,.0f} {self.unit}")
        elif self.total is not None and self.done:
            parts.append(percent(self.done / max(self.total, 1e-12)))
        parts += [self.detail] if self.detail else []
        left = self.left()
        if left is not None:
            parts.append(f"{'at most ' if self.at_most else ''}{duration(left)} left")
        elif self.limit is not None:
            parts.append(f"{duration(self.seconds)} of at most {duration(self.limit)}")
        else:
            parts.append(duration(self.seconds))
        return f"{self.name}: {', '.join(parts)}"


class Display(abc.ABC):
    """Where stages are shown; one is open at a time (see :func:`showing`)."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.above: Any = None  # what rich can draw, shown above the line on a terminal as long as a stage is open

    def push(self, new: Stage) -> None:
        """A stage begins, within the open ones."""
        self.stages.append(new)

    def pop(self, old: Stage) -> None:
        """A stage has ended."""
        if old in self.stages:
            self.stages.remove(old)

    def text(self) -> str:
        """The open stages as one line; empty if there is none."""
        stages = list(self.stages)
        return "" if not stages else " › ".join([*(each.name for each in stages[:-1]), str(stages[-1])])

    @abc.abstractmethod
    def line(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Show nothing any more."""
        self.stages.clear()


class PlainDisplay(Display):
    """Lines on standard error: one once a stage has lasted a moment, and then one after each longer silence.

    Attributes:
        soon: seconds after which a stage that has not been mentioned is.
        every: seconds of silence after which the stage under way is told.
        tick: seconds between two looks at the clock.
    """

    soon, every, tick = 1.5, 8.0, 0.25

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="danlu display", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        self._last = time.monotonic()
        print(text, file=sys.stderr, flush=True)

    def _beat(self) -> None:
        while not self._closed.wait(self.tick):
            stages = list(self.stages)
            if not stages:
                continue
            silent = time.monotonic() - self._last
            unmentioned = stages[-1].begun > self._last and stages[-1].seconds > self.soon
            if unmentioned or silent > self.every:
                with contextlib.suppress(OSError, ValueError):  # a reader that has gone is found out by the main thread
                    self.line(self.text())

    def close(self) -> None:
        super().close()
        self._closed.set()
        self._thread.join()


class LiveDisplay(Display):
    """One line at the bottom of the terminal, redrawn by rich; it vanishes when no stage is open."""

    def __init__(self) -> None:
        from rich.console import Console

        super().__init__()
        self._console = Console(stderr=True)
        self._live: Any = None

    def push(self, new: Stage) -> None:
        super().push(new)
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                get_renderable=self._drawn,
                console=self._console,
                transient=True,
                refresh_per_second=5,
                redirect_stdout=sys.stdout.isatty(),  # a file or pipe gets what is printed as it is
            )
            self._live.start()

    def pop(self, old: Stage) -> None:
        super().pop(old)
        if not self.stages:
            self.close()

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        stages = list(self.stages)
        if not stages:
            return Text("")
        seen = stages[-1]
        bar = ProgressBar(
            total=seen.total,
            completed=seen.done,
            width=12,
            pulse=seen.total is None,
            animation_time=time.monotonic(),
        )
        line = Table.grid(padding=(0, 1))
        line.add_row(bar, Text(self.text(), no_wrap=True, overflow="ellipsis"))
        return line if self.above is None else Group(self.above, line)

    def line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        super().close()
        if self._live is not None:
            self._live.stop()
            self._live = None


_SHOWN: ContextVar[Display | None] = ContextVar("danlu_display", default=None)


def display_kind(name: str) -> str:
    """``"live"``, ``"plain"`` or ``"none"``, by its name or what standard error is (``"auto"``).

    Raises:
        ConfigError: another name.
    """
    if name not in DISPLAYS:
        raise unknown_name("display", name, DISPLAYS)
    if name != "auto":
        return name
    return "live" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"


def shown() -> Display | None:
    """The display that is open here, or None."""
    return _SHOWN.get()


@contextlib.contextmanager
def showing(name: str) -> Iterator[Display | None]:
    """Within, stages are shown on a display of the kind ``name``; on the one that is open already, if there is one."""
    if (open_ := _SHOWN.get()) is not None:
        yield open_
        return
    display = {"live": LiveDisplay, "plain": PlainDisplay, "none": lambda: None}[display_kind(name)]()
    token = _SHOWN.set(display)
    try:
        yield display
    finally:
        _SHOWN.reset(token)
        if display is not None:
            display.close()


@contextlib.contextmanager
def stage(name: str, *, total: float | None = None, unit: str = "", limit: float | None = None) -> Iterator[Stage]:
    """Report a part of a job in progress; arguments as of :class:`Stage`, which is what it gives.

    Example:
        >>> with stage("adding", total=3) as step:
        ...     for number in range(3):
        ...         step.advance()
        >>> step.done
        3.0
    """
    new, display = Stage(name, total=total, unit=unit, limit=limit), _SHOWN.get()
    if display is not None:
        display.push(new)
    try:
        yield new
    finally:
        if display is not None:
            display.pop(new)


def track(things: Iterable[T], name: str, *, total: int | None = None, unit: str = "") -> Iterator[T]:
    """The same items, one after the other, as a stage.

    >>> list(track("ab", "spelling", total=2))
    ['a', 'b']
    """
    with stage(name, total=total, unit=unit) as step:
        for each in things:
            yield each
            step.advance()
