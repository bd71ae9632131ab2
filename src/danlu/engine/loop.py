"""The loops over the step, compiled whole.

``run_steps`` is an epoch, or a part of one: the step in a loop over batches that lie on the device, with no Python in
between. Its bounds are arguments, so one compiled program serves an epoch of any length, its ragged last batch, and an
epoch taken in parts. A population is the same step under ``vmap`` (:class:`~danlu.engine.population.Population`); on several devices each
takes its share of a step (:mod:`danlu.engine.mesh`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Protocol, Self

import jax

from danlu.engine.layout import Layout
from danlu.engine.objective import Sums
from danlu.engine.state import Best, TrainState, track_best
from danlu.engine.step import add_sums, step
from danlu.nn.layer import Layer

__all__ = ["Steps", "end_epoch", "evaluate_steps", "loop_steps", "predict_batch", "run_steps", "unrolled"]


class Steps(Protocol):
    """What the loop needs from a program: one step, its sums, and their meaning.

    A network that learns from rows is one such program (:class:`Program`); an agent in its environment is another (in ``danlu.rl``).
    Both are static and hashable: the compile key.

    Attributes:
        batch_size: how many rows (or steps of an environment) one step sees; ``unit`` is what they are called.
        members: how many trainings go on side by side in the state, on a leading axis of every array; None is one without such an axis.
        devices: how many devices the loop runs on: the members are divided among them, or of one training the rows of each batch.
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def unit(self) -> str: ...

    @property
    def members(self) -> int | None: ...

    @property
    def devices(self) -> int: ...

    def layout(self, params: Any) -> Layout:
        """Where the arrays of the state, whose parameters these are, lie on the devices."""
        ...

    @property
    def model(self) -> Layer:
        """The network."""
        ...

    def at(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """Step ``index`` of an epoch that walks ``chunk`` in ``order``: the state after it, and its sums."""
        ...

    def zero_sums(self) -> Sums:
        """The running sums at the start of an epoch; ``"bad_step"`` among them is a minimum."""
        ...

    def means(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """An epoch's means from its sums (without ``"bad_step"``), for its row of the history; ``NAME_each`` has those of each member."""
        ...

    def counters(self, state: TrainState) -> dict[str, Any]:
        """Counters of the training's progress: NumPy arrays, or plain data."""
        ...

    def resting(self) -> Self:
        """The same program, whose step on rows of weight 0 alone leaves the state as it is: for members that have stopped."""
        ...

    def best_by(self, row: Mapping[str, Any], column: str) -> Any:
        """The value of ``column`` by which the epoch of ``row`` is judged; one for each member of a population."""
        ...

    def direction(self, column: str) -> str | None:
        """Whether smaller (``"min"``) or larger (``"max"``) values of a measure are better; None when it does not say."""
        ...


def loop_steps(
    program: Steps, state: TrainState, sums: Any, chunk: Any, order: jax.Array, start: Any, stop: Any
) -> tuple[TrainState, Sums]:
    """The function that :func:`run_steps` compiles, for use in a larger program: an agent learns with it from its rollout."""

    if program.devices > 1 and not getattr(program, "divided", False):
        chunk = Layout(program.devices).whole(chunk)  # rows that an agent collected on several devices

    def body(index: jax.Array, carry: Any) -> Any:
        state, sums = carry
        state, part = program.at(state, chunk, order, index)
        return state, add_sums(sums, part)

    after: tuple[TrainState, Sums] = jax.lax.fori_loop(start, stop, body, (state, sums))
    return after


@functools.partial(jax.jit, static_argnames=("program", "divided"), donate_argnames=("state", "sums"))
def run_steps(
    program: Steps,
    state: TrainState,
    sums: Sums,
    chunk: dict[str, Any],
    order: jax.Array,
    start: Any,
    stop: Any,
    divided: bool = False,
) -> tuple[TrainState, Sums]:
    """Steps ``start`` to ``stop`` (exclusive) over the batches of ``order``.

    Args:
        sums: running sums that the steps' sums are added to.
        chunk: ``{"x", "y", "weight"}``, arrays with a leading row axis, on the device.
        order: row numbers (see :mod:`danlu.engine.order`); batch ``i`` is entries ``i·batch_size`` onwards.
        divided: whether the rows of the chunk are divided among the program's devices; see :class:`~danlu.engine.sources.Piece`.

    Of a population ``state``, ``sums`` and ``order`` have a leading member axis; the chunk is shared.
    """
    if divided:
        program = dataclasses.replace(program, divided=True)  # type: ignore[type-var]
    return loop_steps(program, state, sums, chunk, order, start, stop)


def unrolled(program: Any, state: TrainState, batches: dict[str, Any]) -> tuple[TrainState, Sums]:
    """Steps of a :class:`~danlu.engine.step.Program` over given batches, one after the other, as a function that can be differentiated.

    What comes out is a function of ``state.params``, of the learning rate and of the batches, and has a gradient in each: learning to
    learn is to make a loss after some steps small. Nothing is compiled here; it is to be part of something that is.

    Args:
        batches: ``{"x", "y", "weight"}`` with a leading axis of steps, then one of rows.

    Returns:
        The state after the last step, and the sums of each, with a leading axis of steps.

    Reference:
        Finn, Abbeel & Levine, "Model-agnostic meta-learning for fast adaptation of deep networks" (2017), of second order.
    """
    return jax.lax.scan(functools.partial(step, program), state, batches)


@functools.partial(jax.jit, static_argnames=("program", "size"))
def evaluate_steps(
    program: Any,
    params: Any,
    model_state: Any,
    weights: Any,
    chunk: dict[str, Any],
    order: jax.Array,
    stop: Any,
    *,
    size: int,
) -> Sums:
    """The sums of the loss and the measures over ``order``, in batches of ``size``, without training."""
    sums: Sums = program.judge(params, model_state, weights, chunk, order, stop, size)
    return sums


@functools.partial(jax.jit, static_argnames=("model",))
def predict_batch(model: Layer, params: Any, model_state: Any, x: Any) -> Any:
    """The model's outputs for the rows of ``x``, all at once."""
    return model.apply(params, model_state, x, train=False)[0]


@functools.partial(jax.jit, static_argnames=("population",))
def end_epoch(
    best: Best, state: TrainState, value: Any, epoch: Any, patience: Any, min_delta: Any, *, population: bool = False
) -> Best:
    """:func:`danlu.engine.state.track_best`, compiled, for one run or a population."""
    if population:
        return jax.vmap(track_best, in_axes=(0, 0, 0, None, None, None))(best, state, value, epoch, patience, min_delta)
    return track_best(best, state, value, epoch, patience, min_delta)
