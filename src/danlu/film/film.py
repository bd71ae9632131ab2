"""A training filmed: the state before chosen updates, their rows, and the weights after them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.callback import Batch, Callback, Logs
from danlu.engine.loop import run_steps
from danlu.engine.objective import Supervised
from danlu.engine.order import gather
from danlu.engine.state import TrainState, owned
from danlu.engine.step import Program
from danlu.errors import ConfigError, DataError, shorten

__all__ = ["STEPS", "Film", "Frame"]

STEPS = tuple(sorted({0, *(round(1.35**power) for power in range(54))}))
"""The updates that are filmed by default: each about a third later than the one before."""
_FRAMES = 12


@dataclasses.dataclass(frozen=True)
class Frame:
    """One update of a training, with all that it was made of.

    Attributes:
        step: its number, from 0; of the last frame, the updates done in all.
        epoch: the epoch that it belongs to, from 0.
        state: the state before it.
        batch: its rows ``{"x", "y", "weight"}``; None of the last frame, after which no update came.
        after: the parameters after it; None of the last frame.
    """

    step: int
    epoch: int
    state: TrainState
    batch: Mapping[str, Any] | None
    after: Any


class Film(Callback):
    """A callback that keeps chosen updates of a training for :func:`danlu.xray`.

    The trainer stops before each of them; the update that is kept is made by the compiled program of the training itself, so filming
    changes no bit of it. Of trainings side by side (folds, an ensemble) the first one is filmed.

    Args:
        rows: which rows are followed through the training: how many, or their numbers in the training data. A number takes the first
            row of each class in turn.
        at: the updates, from 0; None films from the first to the last, ever more sparsely.
        until: the training is stopped before this update.
        frames: how many are kept at most.

    Raises:
        ConfigError: a number out of range; a training that has no single loss of a network's outputs; rows shared by several devices.

    Example:
        >>> from danlu import fit, nn, optim
        >>> x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
        >>> film = Film(rows=2)
        >>> fitted = fit(nn.Dense(1), (x, 2 * x[:, 0]), loss="mse", optimizer=optim.sgd(0.1), batch_size=8, epochs=3, callbacks=[film],
        ...              display="none")
        >>> [frame.step for frame in film.frames], film.x.shape
        ([0, 1, 2, 3], (2, 1))
    """

    def __init__(
        self,
        rows: int | Sequence[int] = 3,
        *,
        at: Sequence[int] | None = None,
        until: int | None = None,
        frames: int = _FRAMES,
    ) -> None:
        numbers = [rows] if isinstance(rows, int) else list(rows)
        wrong = (isinstance(rows, int) and rows < 1) or not numbers or min(numbers) < 0
        if wrong:
            raise ConfigError(f"rows is {shorten(rows)}; expected how many rows are followed, or their numbers from 0")
        if at is not None and (not len(at) or min(at) < 0):
            raise ConfigError(f"at is {shorten(at)}; expected numbers of updates, from 0")
        if until is not None and until < 1:
            raise ConfigError(
                f"until is {until}; expected the number of an update from 1, before which the training is stopped"
            )
        if frames < 2:
            raise ConfigError(f"frames is {frames}; expected at least 2: the first update and the end")
        self.rows, self.most = rows, frames
        self.until = until
        steps = {*(STEPS if at is None else at), *(() if until is None else (until,))}
        self.steps = tuple(sorted(step for step in steps if until is None or step <= until))
        self.frames: list[Frame] = []
        self.numbers: tuple[int, ...] = ()
        self.x: Any = None
        self.y: Any = None
        self.members = 1
        self.program: Program

    def on_train_begin(self) -> None:
        program: Any = self.training.program
        if program.members is not None:
            self.members, program = program.members, getattr(program, "program", None)
        objective = getattr(program, "objective", None)
        if not isinstance(program, Program) or not isinstance(objective, Supervised):
            raise ConfigError(
                f"this training minimises {type(objective or program).__name__}; an X-ray is of a network that learns a loss of its "
                "outputs, such as a classifier or a regression",
                hint="danlu.fit(model, x, y, loss='cross_entropy', callbacks=[danlu.Film()])",
            )
        if isinstance(objective.loss, tuple):
            raise ConfigError("this network has several losses; an X-ray is of a network with one")
        if program.devices > 1:
            raise ConfigError(f"the rows are shared by {program.devices} devices; film a training on one: devices=1")
        self.program, self.frames = program, []

    def on_step(self, step: int, batch: Batch) -> None:
        if step == self.until:
            self.training.stop("filmed as far as asked")
            return
        program: Any = self.training.program
        if not self.numbers:
            self._choose(batch)
        state = self.training.state
        sums = program.zero_sums()
        after, _ = run_steps(
            program, owned(state), owned(sums), batch.chunk, batch.order, batch.number, batch.number + 1
        )
        one, order = self._first(state), batch.order if program.members is None else batch.order[0]
        rows, mask = gather(batch.chunk, order, batch.number, program.batch_size)
        own = {**rows, "weight": rows["weight"] * mask}
        self._keep(Frame(step, self.training.epoch, one, jax.tree.map(np.asarray, own), self._first(after).params))

    def on_train_end(self, logs: Logs) -> None:
        if self.frames:
            state = self._first(self.training.state)
            self._keep(Frame(int(state.step), max(self.training.epoch - 1, 0), state, None, None))

    def _first(self, state: TrainState) -> TrainState:
        """The state of one training, in arrays of its own."""
        one = state if self.training.program.members is None else jax.tree.map(lambda a: a[0], state)
        copied: TrainState = owned(one)
        return copied

    def _keep(self, frame: Frame) -> None:
        """Add a frame; where there are too many, the one goes that is nearest to the one before it, on a logarithmic scale."""
        self.frames.append(frame)
        if len(self.frames) > self.most:
            steps = [each.step for each in self.frames]
            near = [(steps[i] + 1) / (steps[i - 1] + 1) for i in range(1, len(steps) - 1)]
            del self.frames[1 + int(np.argmin(near))]

    def _choose(self, batch: Batch) -> None:
        """Take the rows to follow from the training data."""
        chunk = batch.chunk
        order = np.asarray(batch.order if self.training.program.members is None else batch.order[0])
        known = np.unique(
            np.where(order >= 0, order, ~order)
        )  # the rows of this training, without those that fill arrays up
        y = np.asarray(chunk["y"])
        if isinstance(self.rows, int):
            self.numbers = tuple(int(known[i]) for i in _each_class(y[known], self.rows))
        else:
            self.numbers = tuple(self.rows)
            absent = [number for number in self.numbers if number not in known]
            if absent:
                raise DataError(
                    f"rows names row {absent[0]}, which this training does not learn from; it has {known.size} rows, "
                    f"{known.min()} to {known.max()}",
                )
        rows = jnp.asarray(self.numbers)
        self.x, self.y = jax.tree.map(lambda a: jnp.asarray(a)[rows], (chunk["x"], chunk["y"]))


def _each_class(y: np.ndarray, count: int) -> list[int]:
    """The places of ``count`` rows: the first of each class in turn where ``y`` has classes, else the first ones.

    >>> _each_class(np.array([0, 0, 0, 1, 2]), 4)
    [0, 3, 4, 1]
    """
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return list(range(min(count, len(y))))
    seen: dict[int, int] = {}
    turns = []
    for place, value in enumerate(y.tolist()):
        seen[value] = seen.get(value, -1) + 1
        turns.append((seen[value], place))
    return [place for _, place in sorted(turns)[:count]]
