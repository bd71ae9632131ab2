"""The callback contract, and its view of the training: the base of all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from danlu.engine.health import Finding
from danlu.engine.loop import Steps
from danlu.engine.options import FitOptions
from danlu.engine.state import TrainState

__all__ = ["Batch", "Callback", "Logs", "Running"]

Logs = Mapping[str, Any]


class Batch(NamedTuple):
    """The rows of one update: batch ``number`` of ``chunk`` in ``order``, as :meth:`danlu.engine.loop.Steps.at` takes them."""

    chunk: Any
    order: Any
    number: int


class Running(Protocol):
    """A training under way, as a callback sees it: what it may read, and what it may set.

    Attributes:
        program: the step.
        options: how long and in what portions.
        state: the state after the last step.
        learning_rate: the optimizer's.
        history: the rows of the epochs so far.
        epoch: the epoch under way (from 0).
        stopped_because: why it stopped before its last epoch, or None.
        taken: the batch of the last update; None before the first.
    """

    program: Steps
    options: FitOptions
    state: TrainState
    learning_rate: Any
    history: list[dict[str, Any]]
    epoch: int
    stopped_because: str | None
    taken: Batch | None

    @property
    def params(self) -> Any:
        """The parameters after the last step."""

    @property
    def model_state(self) -> Any:
        """The state that goes with them."""

    def stop(self, because: str = ...) -> None:
        """Stop after the current part of the epoch."""

    def save(self, path: str | Path, *, branch: bool = False) -> None:
        """Write a checkpoint of this moment; see :meth:`Training.save <danlu.engine.training.Training.save>`."""


class Callback:
    """Base of all callbacks; override what you need.

    ``self.training`` is the running :class:`~danlu.engine.training.Training`: its ``params``, ``stop()``, ``learning_rate`` and so on.
    A callback that must survive a kill and resume returns its state (plain JSON data) from ``state`` and takes it back in
    ``restore``.
    """

    training: Running
    writes: bool = False
    """Whether it only writes or shows what it sees: of several processes that train together, the first alone calls it."""
    everywhere: bool = False
    """Whether it also watches the trainings that prepare the one that it was given to, such as a pretraining."""
    steps: Collection[int] = ()
    """The updates (from 0) before which :meth:`on_step` is called; few, since the program stops at each."""

    def on_train_begin(self) -> None:
        """Before the first epoch (of this process: also after a resume)."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before epoch ``epoch`` (from 0)."""

    def on_step(self, step: int, batch: Batch) -> None:
        """Before update ``step``, where :attr:`steps` names it; ``batch`` has its rows, ``training.state`` is the state before it."""

    def on_progress(self, done: int, total: int | None, logs: Logs) -> None:
        """Within an epoch, a few times a second: ``done`` of ``total`` steps (None: not known) are through."""

    def on_finding(self, finding: Finding) -> None:
        """What the doctor is sure of while the training goes on, once; see :mod:`danlu.engine.watch`."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After epoch ``epoch``; ``logs`` is its row of the history."""

    def on_train_end(self, logs: Logs) -> None:
        """After the last epoch, also when training was stopped or failed; ``logs`` is the last row (may be empty)."""

    def state(self) -> Any:
        """What a checkpoint keeps for this callback (plain JSON data), or None."""
        return None

    def restore(self, state: Any) -> None:
        """Take back what ``state`` returned."""
