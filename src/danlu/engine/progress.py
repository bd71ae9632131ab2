"""What training shows while it runs: a live line on a terminal, plain lines elsewhere, nothing on request."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from danlu.engine.callbacks import Callback, Logs
from danlu.errors import unknown_name

__all__ = ["DISPLAYS", "Progress", "make_progress"]

DISPLAYS = ("auto", "live", "plain", "none")


def _number(value: Any) -> str:
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "…"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.0f}s"
    minutes, seconds = divmod(int(value), 60)
    return f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def _rate(value: float, what: str) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f}{unit} {what}/s"
    return f"{value:.0f} {what}/s"


def shown_columns(logs: Mapping[str, Any]) -> list[str]:
    """The columns of a history row that are worth a place on the line."""
    hidden = ("epoch", "step", "seconds", "rows_per_second", "learning_rate")
    return [name for name, value in logs.items() if name not in hidden and isinstance(value, float)][:5]


class Progress(Callback):
    """Plain lines: the first epoch, then one at most every ``every`` seconds, and the last."""

    every = 5.0

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()
        self._from = 0.0

    def on_train_begin(self) -> None:
        self._begun = time.monotonic()
        self._last = float("-inf")
        self._from = float(self.training.epoch)

    def _left(self, epochs_done: float) -> float | None:
        """Seconds left, going by the epochs after the first, which compiles."""
        new = epochs_done - self._from
        if new <= 0:
            return None
        return (time.monotonic() - self._begun) / new * (self.training.options.epochs - epochs_done)

    def line(self, epoch: int, logs: Logs) -> str:
        """An epoch's row of the history as one line of text; a star marks the best epoch so far."""
        width = len(str(self.training.options.epochs))
        values = "  ".join(f"{name} {_number(logs[name])}" for name in shown_columns(logs))
        best = "  *" if logs.get("best") else ""
        return f"epoch {epoch + 1:{width}d}/{self.training.options.epochs}  {values}{best}"

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        now = time.monotonic()
        left = self._left(epoch + 1)
        if len(self.training.history) == 1:
            self._begun, self._from, left = now, epoch + 1.0, None
        if now - self._last < self.every and epoch + 1 < self.training.options.epochs:
            return
        self._last = now
        tail = f"  {_rate(logs['rows_per_second'], self.training.program.unit)}" + (
            f"  {_seconds(left)} left" if left and left >= 1 else ""
        )
        print(self.line(epoch, logs) + tail, file=sys.stderr, flush=True)

    def on_train_end(self, logs: Logs) -> None:
        if self.training.stopped_because:
            print(self.training.stopped_because, file=sys.stderr, flush=True)


class LiveProgress(Progress):
    """One live line by rich: bar, epoch, loss and metrics, speed, time left."""

    def on_train_begin(self) -> None:
        super().on_train_begin()
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._values: dict[str, Any] = {}
        self._bar = Bar(
            BarColumn(bar_width=16),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=8,
        )
        self._bar.start()
        self._task = self._bar.add_task("compiling …", total=float(self.training.options.epochs))

    def _show(self, epochs_done: float, speed: float | None) -> None:
        left = self._left(epochs_done)
        parts = [f"epoch {min(int(epochs_done) + 1, self.training.options.epochs)}/{self.training.options.epochs}"]
        parts += [f"{name} {_number(value)}" for name, value in list(self._values.items())[:3]]
        parts += [_rate(speed, self.training.program.unit)] if speed else []
        parts += [f"{_seconds(left)} left"] if left is not None else []
        self._bar.update(self._task, completed=epochs_done, description=" · ".join(parts))

    def on_progress(self, done: int, total: int | None, logs: Logs) -> None:
        part = done / total if total else 0.0
        self._values.setdefault("loss", logs.get("loss"))
        self._show(self.training.epoch + part, logs.get("rows_per_second"))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if len(self.training.history) == 1:
            self._begun, self._from = time.monotonic(), epoch + 1.0
        self._values = {name: logs[name] for name in shown_columns(logs)}
        self._show(epoch + 1, logs["rows_per_second"])

    def on_train_end(self, logs: Logs) -> None:
        self._bar.stop()
        super().on_train_end(logs)


def make_progress(display: str) -> Callback | None:
    """The callback for a ``display`` of ``"auto"``, ``"live"``, ``"plain"`` or ``"none"``."""
    if display not in DISPLAYS:
        raise unknown_name("display", display, DISPLAYS)
    if display == "auto":
        display = "live" if sys.stderr.isatty() else "plain"
    return {"live": LiveProgress, "plain": Progress, "none": lambda: None}[display]()
