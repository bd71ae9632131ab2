"""What each epoch is judged by: the best state so far, when to stop early, and the schedules that go by the monitored value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.layout import Layout
from danlu.engine.loop import Steps, end_epoch
from danlu.engine.mesh import place
from danlu.engine.monitor import sign_of, stopped_early
from danlu.engine.options import FitOptions
from danlu.engine.state import Best, TrainState
from danlu.errors import ConfigError, unknown_name
from danlu.optim import observe
from danlu.optim.schedules import ReduceOnPlateau, Schedule

__all__ = ["Judge"]


class Judge:
    """The monitored value of a training, and what goes by it.

    Args:
        program: the step.
        state: the state before the first step.
        options: what is monitored, which way is better, and how long it may fail to improve.
        measured: whether each epoch's state is measured on validation rows.

    Attributes:
        monitor: the column of the history that is monitored; None if there is none.
        apart: whether the members of a population have a best epoch each.
        best: the best state so far; None where nothing is monitored, or snapshots are kept instead.

    Raises:
        ConfigError: patience or a schedule goes by a value that there is not.
    """

    def __init__(self, program: Steps, state: TrainState, options: FitOptions, *, measured: bool) -> None:
        self.program, self.options = program, options
        self.monitor = options.monitor or ("val_loss" if measured else None)
        self._sign = sign_of(options.mode, self.monitor, program) if self.monitor else 1.0
        if not measured and self.monitor and self.monitor.startswith("val_"):
            raise ConfigError(
                f"monitor is {self.monitor!r}, and there is no validation data",
                hint=f"pass validation data, or monitor={self.monitor.removeprefix('val_')!r}",
            )
        if options.patience is not None and self.monitor is None:
            raise ConfigError(
                f"patience is {options.patience}, but there is no validation data to monitor",
                hint="validation=0.2 holds some rows out (of engine.train: measure=…); monitor='loss' uses the training loss",
            )
        self.apart = program.members is not None and not getattr(program, "together", False)
        self._told = _observes(state.opt_state, self.monitor, self._sign)
        several = program.members if self.apart else None
        self.best = Best.start(state, several) if self.monitor and options.snapshots == 1 else None

    @property
    def all_go_on(self) -> bool:
        """Whether every member still learns."""
        return self.best is None or bool(np.all(self.best.active))

    @property
    def none_goes_on(self) -> bool:
        """Whether all have stopped early."""
        return self.best is not None and not np.any(self.best.active)

    def take(self, best: Best | None, layout: Layout) -> None:
        """Go on from another training's best, laid where the program's devices expect it: what is one for all members lies on each."""
        if best is None or self.apart:
            self.best = layout.place(best)
            return
        weights = {name: layout.place(getattr(best, name)) for name in ("params", "model_state")}
        rest = place(dataclasses.replace(best, params=None, model_state=None), self.program.devices)
        self.best = dataclasses.replace(rest, **weights)

    def epoch(self, row: dict[str, Any], state: TrainState, number: int) -> tuple[TrainState, str | None]:
        """Judge the state after epoch ``number``, whose measures are ``row``, and note in the row whether it is the best.

        Returns:
            The state whose schedules know the value, and why training is to stop, or None.

        Raises:
            ConfigError: the row has no such column.
        """
        if self.monitor is None:
            return state, None
        if self.monitor not in row:
            raise unknown_name("column to monitor", self.monitor, [name for name in row if not name.endswith("_each")])
        value = self.program.best_by(row, self.monitor)
        ended = self._compare(row, state, value, number)
        return self._tell(state, value), ended

    def _compare(self, row: dict[str, Any], state: TrainState, value: Any, number: int) -> str | None:
        """Keep the state if it is the best; those before the mean of ``"swa"`` begins are not compared."""
        if self.best is None:
            return None
        patience = self.options.patience or np.iinfo(np.int32).max
        if state.average is None or state.average.counts(number):
            self.best = end_epoch(
                self.best,
                state,
                jnp.asarray(self._sign * np.asarray(value), float),
                jnp.int32(number),
                jnp.int32(patience),
                jnp.asarray(self.options.min_delta, float),
                population=self.apart,
            )
        improved = np.asarray(self.best.epoch) == number
        row["best"] = bool(np.any(improved))
        if self.apart:
            row["best_each"] = improved.tolist()
        if not self.none_goes_on:
            return None
        return stopped_early(str(self.monitor), patience, int(np.max(self.best.epoch)))

    def _tell(self, state: TrainState, value: Any) -> TrainState:
        """The state whose schedules know the monitored value."""
        if not self._told:
            return state
        members, told = self.program.members, jnp.asarray(value, float)
        if members is not None:
            told = jnp.broadcast_to(told, members)
        opt_state = (observe if members is None else jax.vmap(observe))(state.opt_state, told)
        return dataclasses.replace(state, opt_state=opt_state)


def _observes(opt_state: Any, monitor: str | None, sign: float) -> bool:
    """Whether a schedule in ``opt_state`` goes by the monitored value.

    Raises:
        ConfigError: it does, and nothing is monitored, or it takes the other direction for the better one.
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, Schedule))
    found = [inner for node in nodes for inner in _within(node) if isinstance(inner, ReduceOnPlateau)]
    if found and monitor is None:
        raise ConfigError(
            "the learning rate depends on a validation value (ReduceOnPlateau), but there is no validation data",
            hint="pass validation data, or monitor='loss'",
        )
    right = "max" if sign < 0 else "min"
    if any(schedule.mode != right for schedule in found):
        raise ConfigError(
            f"ReduceOnPlateau has mode={found[0].mode!r}, and of the monitored {monitor!r} "
            f"{'larger' if sign < 0 else 'smaller'} values are better",
            hint=f"ReduceOnPlateau(…, mode={right!r})",
        )
    return bool(found)


def _within(node: Any) -> Iterator[Any]:
    """A schedule and those that it holds."""
    while node is not None:
        yield node
        node = getattr(node, "schedule", None)
