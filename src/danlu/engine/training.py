"""A training run in progress: epochs of the one step, early stopping, checkpoints, callbacks and a clean stop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import processes
from danlu.engine.anchor import Anchor
from danlu.engine.average import taken_in
from danlu.engine.broken import not_finite
from danlu.engine.cache import note_program
from danlu.engine.callback import Batch, Callback
from danlu.engine.case import Clues, samples
from danlu.engine.checkpoint import load_checkpoint, save_checkpoint
from danlu.engine.crew import crew_of, put_back, taken
from danlu.engine.doctor import clues_of
from danlu.engine.health import Finding
from danlu.engine.judge import Judge
from danlu.engine.looks import refuse_other_looks, spent
from danlu.engine.loop import Steps, run_steps
from danlu.engine.mesh import place
from danlu.engine.options import FitOptions
from danlu.engine.progress import make_progress
from danlu.engine.sample import Sample
from danlu.engine.snapshots import Cycles
from danlu.engine.sources import Piece, Source
from danlu.engine.state import Best, TrainState
from danlu.engine.statistics import LEAST_STEPS, measured_statistics, moves
from danlu.engine.step import NEVER
from danlu.engine.watch import Watch
from danlu.errors import CheckpointError, ConfigError, DataError, TrainingError, shorten, unknown_name
from danlu.interrupt import Asked, graceful, why
from danlu.optim import hyperparameter, set_hyperparameter
from danlu.stages import stage

if TYPE_CHECKING:
    from danlu.engine.fitted import Fitted

__all__ = ["CHECKPOINT", "Training"]

CHECKPOINT = "last.safetensors"
_COMPILING = 2e11  # floating-point operations that take about as long as to compile a program


class Training:
    """A training run in progress; callbacks see it as ``self.training``.

    Args:
        program: the step.
        source: what an epoch walks.
        state: the state before the first step.
        options: how long and in what portions.
        measure: what each epoch's state is judged by: values by name (of a population as :meth:`Population.told` gives them).
        callbacks: see :mod:`danlu.engine.callbacks`.
        checkpoint: a folder for checkpoints.

    Attributes:
        history: the rows of the epochs so far.
        epoch: the epoch under way (from 0).
        options: the :class:`FitOptions`.
        layout: where the arrays of the state lie on the program's devices.
        stopped_because: why training stopped before its last epoch, or None.
        stopped_by: the number of the signal that stopped it, or None.
        taken: the batch of the last update; None before the first.
        sample: some of the rows that it came by.
        done: steps of the epoch under way.
    """

    def __init__(
        self,
        program: Steps,
        source: Source,
        state: TrainState,
        *,
        options: FitOptions,
        measure: Callable[[TrainState], dict[str, Any]] | None = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        note_program((program, repr(source.in_shape)))
        self.program, self.source, self.options = program, source, options
        self.layout = program.layout(state.params)
        self.state = self._place(state)
        self.measure, self.checkpoint = measure, None if checkpoint is None else Path(checkpoint)
        self.history: list[dict[str, Any]] = []
        self.epoch = self.done = self._piece = self._start = 0
        self.stopped_because: str | None = None
        self.stopped_by: int | None = None
        self._stop = False
        self._saved_at = -math.inf
        self._portion = 8  # steps between two looks at the clock and at Ctrl-C; goes by how long they take
        self._chunk: tuple[Any, Any] = (None, None)
        self._sums: dict[str, jax.Array] | None = None
        self.taken: Batch | None = None
        self._anchor = Anchor()
        self.sample, self._known = Sample(), 0
        self._watch = Watch()
        self._failures: tuple[Finding, ...] = ()
        self._before: dict[str, np.ndarray] = {}
        self.judge = Judge(program, self.state, options, measured=measure is not None)
        self.cycles = Cycles(program, self.state, options) if options.snapshots > 1 else None
        progress = make_progress(options.display) if processes.is_first() else None
        self._kept = list(callbacks)  # what a checkpoint is about; how progress is shown may change on resuming
        heard = [each for each in callbacks if processes.is_first() or not each.writes]
        self.callbacks = [*heard, *([progress] if progress else [])]
        self._watched = {step for callback in self.callbacks for step in callback.steps}
        for callback in (*self._kept, *self.callbacks):
            callback.training = self

    @property
    def best(self) -> Best | None:
        """The best state so far; None where nothing is monitored."""
        return self.judge.best

    @property
    def params(self) -> Any:
        """The current parameters."""
        return self.state.params

    @property
    def model_state(self) -> Any:
        """The current model state."""
        return self.state.model_state

    @property
    def sums(self) -> Mapping[str, Any]:
        """The running sums of the epoch under way."""
        return self._sums or {}

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step (one per member of a population); NaN if the optimizer does not expose it."""
        try:
            rate = np.asarray(hyperparameter(self.state.opt_state, "learning_rate"), np.float64)
        except ConfigError:
            return math.nan
        return rate if rate.ndim else float(rate)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        opt_state = set_hyperparameter(self.state.opt_state, "learning_rate", value)
        self.state = dataclasses.replace(self.state, opt_state=opt_state)

    @property
    def weights(self) -> dict[str, Any]:
        """The weights of the penalties and of the objective's terms, by name; setting some changes only those, and compiles nothing.

        Raises:
            ConfigError: to set one that there is not.
        """
        return dict(self.state.weights)

    @weights.setter
    def weights(self, changes: Mapping[str, Any]) -> None:
        old = self.state.weights
        if not isinstance(changes, Mapping):
            raise ConfigError(f"weights is {shorten(changes)}; expected a dict", hint="training.weights = {'kl': 0.3}")
        for name in changes:
            if name not in old:
                raise unknown_name("weight", name, old)
        new = {name: _as_weight(name, changes[name], w) for name, w in old.items() if name in changes}
        self.state = dataclasses.replace(self.state, weights={**old, **self._place(new)})

    @property
    def clues(self) -> Clues | None:
        """What is left to see how the training went, see :mod:`danlu.engine.doctor`; of private rows nothing is looked at."""
        if getattr(getattr(self.program, "gradient", None), "private", False):
            return None
        return clues_of(self, self._before, self._failures)

    def go_on(self, after: Fitted) -> None:
        """Start where another training of the same program ended: with its state and its best so far, at the epoch after its last."""
        self.state = self._place(after.train_state)
        if after.best is not None:
            self.judge.take(dataclasses.replace(after.best, params=after.params, model_state=after.state), self.layout)
        self.epoch = after.history[-1]["epoch"] + 1 if after.history else 0

    def stop(self, because: str = "stopped by a callback") -> None:
        """Stop after the current part of the epoch."""
        self._stop = True
        self.stopped_because = because

    def run(self) -> None:
        """Train to the end, to a stop, or to a failure; what was learned stays in ``state`` and ``best``."""
        try:
            self._call("on_train_begin")
            if processes.count() == 1:  # else no process has all that a doctor looks at
                self._before = samples(self.state.params, self.program.members)
            self._watch.begin()
            self._known = len(self.history)
            with graceful() as asked:
                while self.epoch < self.options.epochs and not self._stop:
                    if not self._run_epoch(asked):
                        break
            if self.checkpoint is not None:
                self._save()
        except DataError:  # a file that went bad on the way: what was learnt up to it is kept
            if jax.process_count() == 1:  # of several processes the others do not know, and their checkpoint stays
                self._save()
            raise
        finally:
            self._call("on_train_end", self.history[-1] if self.history else {})

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def _run_epoch(self, asked: Asked) -> bool:
        """One epoch, or what is left of it after a resume. False when it was broken off."""
        if self._sums is None:
            self._sums = self._place(self.program.zero_sums())
        begun, first = time.perf_counter(), self._start
        if self._piece == 0 and self._start == 0:
            self._call("on_epoch_begin", self.epoch)
        self.done = done = self._start
        last_shown = last_saved = time.monotonic()
        for piece in map(self._placed, self.source.pieces(self.epoch, self._piece)):
            if (
                len(self.history) == self._known and processes.count() == 1
            ):  # the first epoch of this process, which has all rows
                self.sample.add(piece)
            while self._start < piece.steps:
                stop = min(self._start + self._portion, piece.steps, self._shown(piece))
                tick = time.monotonic()
                if self.program.devices == 1:  # else no step is taken again
                    self._anchor.keep(self.state, (self.epoch, self._piece, self._start))
                self._advance(piece, stop)
                self.taken = Batch(piece.chunk, piece.order, stop - 1)
                self._start, done = stop, done + stop - self._start
                self._check_finite()
                self.done = done
                for finding in self._watch.look(self):
                    self._call("on_finding", finding)
                now = time.monotonic()
                if now - tick < 0.1:
                    self._portion = min(self._portion * 4, 2**20)
                elif now - tick > 2.0:
                    self._portion = max(self._portion // 4, 1)
                if now - last_shown > 0.25:
                    last_shown = now
                    self._call("on_progress", done, self.source.steps_per_epoch, self._means(begun, done - first))
                due = self.checkpoint is not None and now - last_saved > self.options.checkpoint_every
                due = self._settled(asked, due)
                if self._stop:
                    return False
                if due:
                    self._save()
                    last_saved = time.monotonic()
            self._piece, self._start = self._piece + 1, 0
        if done == 0 and self._piece == 0:
            raise TrainingError("the data source gave no batch")
        self._end_epoch(begun, done - first)
        return True

    def _settled(self, asked: Asked, due: bool) -> bool:
        """What the host decides between two portions, by the clock and by signals: how long the next one is, whether to stop, and
        whether it is time (``due``) to save. Of several processes the first decides for all."""
        if asked:
            processes.ask(asked.number or 0)
        elif not self._stop:
            asked.number = processes.asked_elsewhere()
        if asked and not self._stop:
            self._stop, self.stopped_because, self.stopped_by = True, why(asked), asked.number
        told = (self._portion, self._stop, self.stopped_because, self.stopped_by, due)
        self._portion, self._stop, self.stopped_because, self.stopped_by, due = processes.agree(told)
        return due

    def _shown(self, piece: Piece) -> int:
        """Show the update to come to the callbacks that named it; the place in the piece of the next one that is named."""
        if not self._watched:
            return piece.steps
        step = int(np.max(self.state.step))
        if step in self._watched:
            for callback in self.callbacks:
                if step in callback.steps:
                    callback.on_step(step, Batch(piece.chunk, piece.order, self._start))
        return self._start + min((each - step for each in self._watched if each > step), default=piece.steps)

    def _advance(self, piece: Piece, stop: int) -> None:
        """Take the steps up to ``stop``; of a population with those members that still learn."""
        program, state, sums, order = self.program, self.state, self._sums or {}, piece.order
        crew = self._crew(order)
        if crew is None:
            self.state, self._sums = run_steps(
                program, state, sums, piece.chunk, order, self._start, stop, divided=piece.divided
            )
            return
        fewer: Any = dataclasses.replace(program, members=len(crew))  # type: ignore[type-var]
        own, part = taken((state, sums), crew)
        part = run_steps(fewer, own, part, piece.chunk, order[crew], self._start, stop)
        self.state, self._sums = put_back((state, sums), crew, part)

    def _crew(self, order: Any) -> np.ndarray | None:
        """The members that a step is taken with, where some have stopped; None is all."""
        program: Any = self.program
        if self.best is None or not self.judge.apart or np.ndim(order) != 2 or program.devices > 1:
            return None
        crew = crew_of(self.best.active, getattr(program, "group", 1))
        if crew is None:
            return None
        # Compiling takes as long as many steps: as many epochs as there were, or are left, must save more. What decides is no time, but
        # a count, so that a resumed training goes on with the same programs.
        flops = program.model.flops(self.source.in_shape) if hasattr(program, "model") else None
        rows = (self.source.steps_per_epoch or 0) * program.batch_size
        epochs = min(self.options.epochs - self.epoch, self.epoch + 1)
        saved = 3 * (flops or 0) * rows * epochs * (program.members - len(crew))
        return crew if saved > _COMPILING else None

    def _place(self, tree: Any) -> Any:
        """What belongs to the state, where the program's devices expect it."""
        return self.layout.place(tree)

    def _placed(self, piece: Piece) -> Piece:
        """``piece`` for the members that go on, on the program's devices; a chunk that comes again, as arrays do, is copied once."""
        if self.best is not None and np.ndim(piece.order) == 2 and not self.judge.all_go_on:
            # Members that have stopped are given rows of weight zero, and with them stay as they are.
            resting = ~np.asarray(self.best.active)[:, None] & (np.asarray(piece.order) >= 0)
            piece = piece._replace(order=np.where(resting, ~np.asarray(piece.order), piece.order))
        if self.program.devices == 1:
            return piece
        if piece.divided:
            return piece._replace(order=self._place(piece.order))
        if self._chunk[0] is not piece.chunk:
            self._chunk = piece.chunk, place(piece.chunk, self.program.devices)
        return piece._replace(chunk=self._chunk[1], order=self._place(piece.order))

    def _means(self, begun: float, steps: int) -> dict[str, Any]:
        sums = {name: np.asarray(value, np.float64) for name, value in (self._sums or {}).items() if name != "bad_step"}
        rows = getattr(getattr(self.program, "gradient", None), "expected", None) or self.program.batch_size
        rate = steps * rows * (self.program.members or 1) / max(time.perf_counter() - begun, 1e-9)
        return {**(self.program.means(sums) if sums else {}), "rows_per_second": rate}

    def _check_finite(self) -> None:
        bad = np.asarray(self._sums["bad_step"] if self._sums else NEVER)
        over = bad != NEVER
        if over.all() or (
            over.any() and getattr(self.program, "together", False)
        ):  # else members go on without those that diverged
            self._failures, told = not_finite(self, self._anchor, bad, self._before)
            raise TrainingError(told)

    def _end_epoch(self, begun: float, steps: int) -> None:
        means = self._means(begun, steps)
        row: dict[str, Any] = {
            "epoch": self.epoch,
            **{name: np.asarray(count).tolist() for name, count in self.program.counters(self.state).items()},
        }
        row.update({name: value for name, value in means.items() if name != "rows_per_second"})
        self._average_epoch()
        with stage("validation"):
            measured = {} if self.measure is None else self.measure(self.state)
        row.update({f"val_{name}": np.asarray(value, np.float64).tolist() for name, value in measured.items()})
        rate = self.learning_rate
        row["learning_rate"] = float(np.mean(rate))
        if self.judge.apart and np.ndim(rate):
            row["learning_rate_each"] = rate.tolist()
        row = processes.agree(row)
        self.state, ended = self.judge.epoch(row, self.state, self.epoch)
        if ended:
            self.stop(ended)
        if self.cycles is not None:
            self.cycles.keep(self.state, self.epoch)
        row["seconds"] = round(time.perf_counter() - begun, 4)
        row["rows_per_second"] = round(means["rows_per_second"], 1)
        self.history.append(row)
        self._call("on_epoch_end", self.epoch, row)
        self.epoch, self._piece, self._start, self._sums = self.epoch + 1, 0, 0, None
        due = self._settled(Asked(), time.monotonic() - self._saved_at > self.options.checkpoint_every)
        if due or self._stop or self.epoch == self.options.epochs:
            self._save()

    def _average_epoch(self) -> None:
        """Take the weights into an average that goes by epochs, and measure what belongs to its mean."""
        state, average = self.state, self.state.average
        if average is None or average.every != "epoch":
            return
        moved = moves(average.model_state, state.model_state)
        average = taken_in(average, state.params, state.model_state, jnp.int32(self.epoch))
        self.state = dataclasses.replace(state, average=average)
        if not moved or not average.counts(self.epoch):
            return
        for piece in map(self._placed, self.source.pieces(self.epoch, 0)):
            number = max(piece.steps, LEAST_STEPS if self.source.steps_per_epoch == piece.steps else 0)
            own: Any = self.state.average
            held = measured_statistics(self.program, self.state, piece.chunk, piece.order, piece.steps, number)
            self.state = dataclasses.replace(self.state, average=dataclasses.replace(own, model_state=held))

    def _tree(self) -> dict[str, Any]:
        sums = self._sums or self.program.zero_sums()
        kept = None if self.cycles is None else self.cycles.kept
        return {"state": self.state, "best": self.best, "sums": sums, "snapshots": kept}

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        self.save(self.checkpoint / CHECKPOINT)
        self._saved_at = time.monotonic()

    def save(self, path: str | Path, *, branch: bool = False) -> None:
        """Write a checkpoint of this moment; in :meth:`Callback.on_step`, of the one before that update.

        Args:
            branch: whether a training with other settings is to go on from it. It keeps what was learnt and counted, takes its own
                hyper-parameters, dropout rates and weights of penalties, and has callbacks of its own.
        """
        note = {
            "epoch": self.epoch,
            "piece": self._piece,
            "start": self._start,
            "mid_epoch": self._sums is not None,
            "history": self.history,
            "stopped_because": self.stopped_because,
            "finished": self.judge.none_goes_on,
            "callbacks": [callback.state() for callback in self._kept],
            "branch": branch,
            **spent(self),
        }
        save_checkpoint(path, self._tree(), note)

    def resume(self) -> bool:
        """Restore the last checkpoint, if there is one, and return whether there was."""
        if self.checkpoint is None or not (self.checkpoint / CHECKPOINT).exists():
            return False
        own = self._tree()
        to_branch = {**own, "state": self.state.without_settings()}
        tree, note = load_checkpoint(self.checkpoint / CHECKPOINT, own, to_branch=to_branch)
        branch = note.get("branch", False)
        state = tree["state"].with_settings(self.state) if branch else tree["state"]
        self.state = self._place(state)
        self.judge.take(tree["best"], self.layout)
        refuse_other_looks(self, note)
        if self.cycles is not None:
            self.cycles.kept = self._place(tree["snapshots"])
        self._sums = self._place(tree["sums"]) if note["mid_epoch"] else None
        self.epoch, self._piece, self._start = note["epoch"], note["piece"], note["start"]
        self.history = note["history"]
        if note["finished"]:
            self._stop = True
            self.stopped_because = note["stopped_because"]
        if branch:
            return True
        if len(note["callbacks"]) != len(self._kept):
            raise CheckpointError(
                f"the checkpoint was written with {len(note['callbacks'])} callbacks, and there are {len(self._kept)}",
                hint="resume with the same ones",
            )
        for callback, state in zip(self._kept, note["callbacks"], strict=True):
            if state is not None:
                callback.restore(state)
        return True


def _as_weight(name: str, given: Any, old: jax.Array) -> jax.Array:
    """A weight as an array like the old one.

    Raises:
        ConfigError: what is not a finite number, or one for each member of a population.
    """
    try:
        value = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        value = np.asarray(np.nan)
    if not np.all(np.isfinite(value)) or value.shape not in ((), old.shape):
        each = f", or {old.shape[0]} of them, one for each member" if old.ndim else ""
        raise ConfigError(f"weights[{name!r}] is {shorten(given)}; expected a number{each}")
    return jnp.broadcast_to(jnp.asarray(value, old.dtype), old.shape)
