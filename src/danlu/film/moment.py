"""One update of a training, brought back: the state before it, its rows, and what it did."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Callback
from danlu.engine.callback import Batch
from danlu.engine.initial import RUN_ONCE
from danlu.engine.loop import run_steps
from danlu.engine.seen import seen
from danlu.engine.state import TrainState, owned
from danlu.engine.step import Program
from danlu.errors import ConfigError

__all__ = ["Moment", "Pause", "Share", "check_step"]


@dataclasses.dataclass(frozen=True, eq=False)
class Share:
    """What one network did in an update.

    Attributes:
        loss: the mean of its batch, in training.
        gradient: ``‖∂L/∂θ‖``, of all its arrays together, before the optimizer clips it; None where no rows give it (an agent's).
        update: ``‖Δθ‖``, of what the optimizer added.
        weights: ``‖θ‖`` before.
        rows: the numbers of the batch's rows in what was learnt from; None of a stream or an agent.
        losses: the loss of each of them, ``(rows,)``; None where the loss is one of the batch.
    """

    loss: float
    gradient: float | None
    update: float
    weights: float
    rows: np.ndarray | None
    losses: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """The training before one update.

    Attributes:
        step, epoch: of the update, from 0.
        state: the state before it, a leading axis of networks on every array where several are trained side by side.
        after: the parameters after it.
        batch: its rows ``{"x", "y", "weight"}`` as the network gets them, with the same axis; None of an agent.
        learning_rate: of the update, of each network where they differ.
        shares: what each network did.
        model: the blueprint of what is trained, all networks together.
        in_shape: of one row.
    """

    step: int
    epoch: int
    state: TrainState
    after: Any
    batch: Any
    learning_rate: Any
    shares: tuple[Share, ...]
    model: Any
    in_shape: Any

    @property
    def loss(self) -> float:
        """The mean of the networks'."""
        return float(np.mean([share.loss for share in self.shares]))

    @property
    def params(self) -> Any:
        """The parameters before the update."""
        return self.state.params


class Pause(Callback):
    """A callback that looks at one update, and may keep a checkpoint of the moment before it.

    Args:
        step: the update, from 0.
        keep: where the checkpoint is written.
        stop: whether the training is stopped there.
    """

    def __init__(self, step: int, *, keep: Path | None = None, stop: bool = False) -> None:
        self.steps = (step,)
        self.keep, self.stop = keep, stop
        self.moment: Moment | None = None

    def on_step(self, step: int, batch: Batch) -> None:
        training: Any = self.training
        if self.keep is not None:
            training.save(self.keep, branch=True)
        self.moment = _moment(training, step, batch)
        if self.stop:
            training.stop("stopped at the update that was asked for")


def _moment(training: Any, step: int, batch: Batch) -> Moment:
    program, state = training.program, owned(training.state)
    after, sums = run_steps(
        program, owned(state), owned(program.zero_sums()), batch.chunk, batch.order, batch.number, batch.number + 1
    )
    rows, slopes = seen(program, state, batch) or (None, None)
    several = program.members is not None
    losses = None if rows is None else _losses(getattr(program, "program", program), several, state, rows)
    loss, weight = (np.atleast_1d(np.asarray(sums[name], np.float64)) for name in ("loss", "weight"))
    shares = tuple(
        Share(
            loss=float(loss[number] / weight[number]) if weight[number] else float("nan"),
            gradient=None if slopes is None else _norm(slopes, several, number),
            update=_norm(jax.tree.map(jnp.subtract, after.params, state.params), several, number),
            weights=_norm(state.params, several, number),
            **_rows(batch, losses, several, number, program.batch_size),
        )
        for number in range(program.members or 1)
    )
    rate = np.unique(np.asarray(training.learning_rate))
    return Moment(
        step=step,
        epoch=training.epoch,
        state=state,
        after=after.params,
        batch=rows,
        learning_rate=float(rate[0]) if rate.size == 1 else training.learning_rate,
        shares=shares,
        model=program.model,
        in_shape=training.source.in_shape,
    )


@functools.partial(jax.jit, static_argnames=("program", "several"), compiler_options=RUN_ONCE)
def _losses(program: Program, several: bool, state: TrainState, rows: Any) -> jax.Array | None:
    """The loss of each row of a batch as the update sees it, ``(batch,)``; None where the loss is one of the batch."""

    def one(state: TrainState, rows: Any) -> jax.Array | None:
        key = jax.random.fold_in(state.key, state.step)
        values, _, _ = program.objective(state.params, state.model_state, rows, key, train=True)
        if isinstance(values, Mapping):
            values = sum(state.weights.get(name, 1.0) * value for name, value in values.items())
        return values if jnp.ndim(values) == 1 else None

    return jax.vmap(one)(state, rows) if several else one(state, rows)


def _norm(tree: Any, several: bool, number: int) -> float:
    leaves = [np.asarray(leaf[number] if several else leaf, np.float64) for leaf in jax.tree.leaves(tree)]
    return float(np.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in leaves)))


def _rows(batch: Batch, losses: Any, several: bool, number: int, size: int) -> dict[str, Any]:
    """The numbers of a network's rows, without those that fill the batch up, and their losses."""
    order = np.asarray(batch.order[number] if several else batch.order)
    entries = order[batch.number * size : (batch.number + 1) * size]
    own = None if losses is None else np.asarray(losses[number] if several else losses, np.float64)
    return {
        "rows": entries[entries >= 0] if entries.size else None,
        "losses": None if own is None else own[entries >= 0],
    }


def check_step(step: Any) -> int:
    """The number of an update.

    Raises:
        ConfigError: something else.
    """
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
        raise ConfigError(f"step is {step!r}; expected the number of an update, from 0")
    return int(step)
