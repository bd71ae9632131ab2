"""Callbacks: user code called from the training loop, with the names that Keras users know.

A callback sees the training between compiled parts: at the start and end of training, of each epoch, and now and then
within a long one. There is no hook for a single batch: batches run inside one compiled program.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from danlu.artifact.files import json_text
from danlu.blueprint import setting, validate
from danlu.engine.callback import Callback, Logs
from danlu.engine.checkpoint import save_checkpoint
from danlu.engine.monitor import sign_of
from danlu.errors import ConfigError, TrainingError, unknown_name
from danlu.files import write_atomic
from danlu.optim import set_parts

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "GradualUnfreezing",
    "JSONLogger",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
]


class EarlyStopping(Callback):
    """Stop when the monitored value has not improved for a while, and keep the best weights.

    The engine does this itself (inside the compiled program, for each member of a population); this callback is the
    setting under its usual name: ``fit(..., callbacks=[EarlyStopping(patience=5)])`` is ``fit(..., patience=5)``.

    Args:
        monitor: the column of the history to watch.
        patience: epochs without improvement before stopping.
        min_delta: the least change that counts as an improvement.
        mode: ``"min"``, ``"max"`` or ``"auto"``: what the measure declares.
        restore_best_weights: whether training ends with the best weights rather than the last.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        self.settings = {
            "monitor": monitor,
            "patience": patience,
            "min_delta": min_delta,
            "mode": mode,
            "restore_best": restore_best_weights,
        }


class LambdaCallback(Callback):
    """A callback from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))``."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        hooks = [name for name in vars(Callback) if name.startswith("on_")]
        for name, function in functions.items():
            if name not in hooks:
                raise ConfigError(f"unknown hook {name!r}; expected some of: {', '.join(sorted(hooks))}")
            setattr(self, name, function)


class LearningRateScheduler(Callback):
    """Set the learning rate at the start of each epoch: ``schedule(epoch, current) -> learning rate``.

    A schedule object (``danlu.optim.Cosine`` and so on) moves at every step and needs no callback; this is for a rate that a
    Python function decides. Of a population ``current`` is an array with each member's rate, and so is what is returned, or one
    rate for all.
    """

    def __init__(self, schedule: Callable[[int, Any], Any]) -> None:
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int) -> None:
        self.training.learning_rate = self.schedule(epoch, self.training.learning_rate)


class GradualUnfreezing(Callback):
    """Change the multipliers of :func:`danlu.optim.by_part` at the start of given epochs. Nothing recompiles.

    Args:
        stages: a dict from epochs (from 0) to parts as for :func:`danlu.optim.set_parts`; a part that is not named stays as it is.
            ``{5: {"3": 0.1}, 10: {"[0-2]": 0.01}}`` thaws layer 3 after five epochs, and the layers below it after ten.

    Raises:
        ConfigError: an epoch that is not a whole number >= 0; when training starts, an optimizer without ``by_part`` or a
            pattern that matches nothing.

    Reference:
        Howard & Ruder, "Universal language model fine-tuning for text classification" (2018), section 3.3.
    """

    def __init__(self, stages: Mapping[int, Any]) -> None:
        for epoch in stages:
            validate("GradualUnfreezing", "stages", epoch, setting(minimum=0, integer=True).metadata["rules"])
        self.stages = dict(stages)

    def on_train_begin(self) -> None:
        for parts in self.stages.values():  # a mistake in the last stage shows now, not after hours
            set_parts(self.training.state.opt_state, parts)

    def on_epoch_begin(self, epoch: int) -> None:
        if epoch in self.stages:
            opt_state = set_parts(self.training.state.opt_state, self.stages[epoch])
            self.training.state = dataclasses.replace(self.training.state, opt_state=opt_state)


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by ``factor`` when the monitored value has stalled for ``patience`` epochs.

    Args:
        monitor: the column of the history to watch.
        factor: what the rate is multiplied by, in (0, 1).
        mode: whether smaller (``"min"``) or larger (``"max"``) values are better; ``"auto"``: what the measure declares.
        min_lr: the rate never falls below this.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "auto",
        min_lr: float = 0.0,
    ) -> None:
        if not 0 < factor < 1:
            raise ConfigError(f"ReduceLROnPlateau.factor is {factor!r}; expected a number > 0 and < 1")
        self.monitor, self.factor, self.patience = monitor, factor, patience
        self.min_delta, self.mode, self.sign, self.min_lr = min_delta, mode, 1.0, min_lr
        self.best, self.stale = float("inf"), 0

    def on_train_begin(self) -> None:
        if self.training.program.members is not None:
            raise ConfigError(
                "ReduceLROnPlateau sets one rate, but each member of a population has its own",
                hint="give the optimizer the schedule danlu.optim.ReduceOnPlateau, which follows each member's own results",
            )
        self.sign = _sign(self)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self.sign * _watched(logs, self.monitor)
        if value < self.best - self.min_delta:
            self.best, self.stale = value, 0
            return
        self.stale += 1
        if self.stale >= self.patience:
            self.training.learning_rate = max(self.training.learning_rate * self.factor, self.min_lr)
            self.stale = 0

    def state(self) -> Any:
        return [self.best, self.stale]

    def restore(self, state: Any) -> None:
        self.best, self.stale = state


class ModelCheckpoint(Callback):
    """Save the weights after epochs (their average, where there is one), as a safetensors file.

    Args:
        path: the file; ``{epoch}`` and any column of the history may stand in it, as in ``"w-{epoch:03d}-{val_loss:.3f}.safetensors"``.
        monitor, mode: the column of the history that says which epoch is better, and in which direction (as in
            :class:`ReduceLROnPlateau`).
        save_best_only: whether only an epoch that improves the monitored value is saved.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str = "val_loss",
        mode: str = "auto",
        save_best_only: bool = False,
    ) -> None:
        self.path, self.monitor, self.mode, self.sign = str(path), monitor, mode, 1.0
        self.save_best_only, self.best = save_best_only, float("inf")

    def on_train_begin(self) -> None:
        if self.save_best_only:
            self.sign = _sign(self)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_best_only:
            value = self.sign * _watched(logs, self.monitor)
            if not value < self.best:
                return
            self.best = value
        columns = {name: value for name, value in logs.items() if name != "epoch"}
        params, model_state = self.training.state.learnt
        tree = {"params": params, "state": model_state}
        save_checkpoint(self.path.format(epoch=epoch, **columns), tree, {"epoch": epoch})

    def state(self) -> Any:
        return self.best

    def restore(self, state: Any) -> None:
        self.best = state


class _RowLogger(Callback):
    """Writes the history to a file, a row an epoch; after a resume the file holds each row once."""

    writes = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_train_begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, self._text(list(self.training.history), first=True), error=TrainingError)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        try:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                file.write(self._text([logs], first=file.tell() == 0))
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.path}: {error.strerror or error}; the last checkpoint is still there",
                hint="check the free space, then go on from the checkpoint",
            ) from error

    def _text(self, rows: list[Logs], *, first: bool) -> str:
        """The rows as text; ``first`` when nothing stands before them."""
        raise NotImplementedError


class CSVLogger(_RowLogger):
    """The history as CSV."""

    def _text(self, rows: list[Logs], *, first: bool) -> str:
        text = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(text, list(rows[0]))
            if first:
                writer.writeheader()
            writer.writerows(rows)
        return text.getvalue()


class JSONLogger(_RowLogger):
    """The history as JSON lines; what is not finite, such as a mean of no episodes, is null."""

    def _text(self, rows: list[Logs], *, first: bool) -> str:
        return "".join(json_text(dict(row), indent=None) + "\n" for row in rows)


def _sign(callback: Any) -> float:
    return sign_of(callback.mode, callback.monitor, callback.training.program)


def _watched(logs: Logs, monitor: str) -> float:
    if monitor not in logs:
        raise unknown_name("column to monitor", monitor, logs)
    return float(logs[monitor])
