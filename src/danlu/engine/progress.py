"""The progress display: one line per epoch, and the position within an epoch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from typing import Any

from danlu.engine.callback import Callback, Logs
from danlu.engine.health import Finding
from danlu.prose import wrapped
from danlu.stages import Display, LiveDisplay, display_kind, duration, showing, shown, stage

__all__ = ["Progress", "make_progress"]


def _number(value: Any) -> str:
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "…"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def _rate(value: float, what: str) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f}{unit} {what}/s"
    return f"{value:.0f} {what}/s"


def shown_columns(logs: Mapping[str, Any], monitor: str | None = None) -> list[str]:
    """The columns of a history row that are worth a place on the line: the first five, and ``monitor``, by which the training is judged.

    A mean of nothing, such as the return where no episode ended, is left out; a loss never is.

    >>> shown_columns({"epoch": 0, "return": float("nan"), "loss": 0.5, "val_return": 2.0})
    ['loss', 'val_return']
    """
    hidden = ("epoch", "step", "seconds", "rows_per_second", "learning_rate")
    told = [name for name, value in logs.items() if name not in hidden and isinstance(value, float)]
    told = [name for name in told if not math.isnan(logs[name]) or name.endswith("loss")]
    return [*told[:4], monitor] if monitor in told[5:] else told[:5]


class Progress(Callback):
    """The training as a stage of the display that is open, or of one of its own.

    Plain lines: the first epoch, then one at most every ``every`` seconds, and the last. Live: the epoch under way, and the best
    one when training has ended.

    Args:
        display: what to open where no display is open.
    """

    every = 5.0

    def __init__(self, display: str = "plain") -> None:
        self._kind = display
        self._last = float("-inf")
        self._values: dict[str, Any] = {}
        self._opened = contextlib.ExitStack()
        self._display: Display | None = None
        self._own = self._paced = False

    def on_train_begin(self) -> None:
        self._last = float("-inf")
        self._own = shown() is None
        self._display = self._opened.enter_context(showing(self._kind))
        self._stage = self._opened.enter_context(stage("training", total=float(self.training.options.epochs)))
        self._stage.done, self._stage.detail = float(self.training.epoch), "compiling …"
        self._stage.at_most = self.training.options.patience is not None
        self._paced = False

    def line(self, epoch: int, logs: Logs) -> str:
        """An epoch's row of the history as one line of text; a star marks the best epoch so far."""
        width = len(str(self.training.options.epochs))
        values = "  ".join(f"{name} {_number(logs[name])}" for name in self._columns(logs))
        best = "  *" if logs.get("best") else ""
        return f"epoch {epoch + 1:{width}d}/{self.training.options.epochs}  {values}{best}"

    def _columns(self, logs: Logs) -> list[str]:
        return shown_columns(logs, self.training.options.monitor)

    def _seen(self, epochs_done: float, speed: float | None) -> None:
        """Tell the stage where the training is; its first news ends the compilation, which does not come again."""
        options = self.training.options
        parts = [f"epoch {min(int(epochs_done) + 1, options.epochs)}/{options.epochs}"]
        parts += [f"{name} {_number(value)}" for name, value in list(self._values.items())[:3]]
        parts += [_rate(speed, self.training.program.unit)] if speed else []
        self._stage.done, self._stage.detail = epochs_done, ", ".join(parts)
        if not self._paced:
            self._stage.pace()
            self._paced = True

    def on_progress(self, done: int, total: int | None, logs: Logs) -> None:
        part = done / total if total else 0.0
        self._values.setdefault("loss", logs.get("loss"))
        self._seen(self.training.epoch + part, logs.get("rows_per_second"))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._values = {name: logs[name] for name in self._columns(logs)}
        self._paced = self._paced and len(self.training.history) > 1  # the first epoch compiles, validation at its end
        self._seen(epoch + 1.0, logs["rows_per_second"])
        now, last = time.monotonic(), epoch + 1 >= self.training.options.epochs
        if (
            self._display is None
            or isinstance(self._display, LiveDisplay)
            or (not last and now - self._last < self.every)
        ):
            return
        self._last = now
        left = self._stage.left()
        tail = f"  {duration(left)} left" if left and left >= 1 else ""
        self._display.line(
            f"{self.line(epoch, logs)}  {_rate(logs['rows_per_second'], self.training.program.unit)}{tail}"
        )

    def on_finding(self, finding: Finding) -> None:
        if self._display is not None:
            self._display.line(wrapped(f"health in epoch {self.training.epoch + 1}: {finding}", indent="  "))

    def on_train_end(self, logs: Logs) -> None:
        display = self._display
        if isinstance(display, LiveDisplay) and logs:
            display.line(self.line(int(logs["epoch"]), logs))
        if self._own and display is not None and self.training.stopped_because:
            display.line(self.training.stopped_because)
        self._opened.close()


def make_progress(display: str) -> Callback | None:
    """The callback for a ``display`` of ``"auto"``, ``"live"``, ``"plain"`` or ``"none"``."""
    return None if display_kind(display) == "none" else Progress(display)
