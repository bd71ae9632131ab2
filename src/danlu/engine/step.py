"""The one training step, and the two loops over it.

``step(program, state, batch) -> (state, sums)`` is a pure function. What may change from run to run without another
program being compiled (weights, learning rate, dropout rate, penalties) is in ``state``; what cannot is in ``program``,
which is static and hashable and so is the compile key.

``run_steps`` is an epoch, or a part of one: the step in a loop over batches that lie on the device, with no Python in
between. Its bounds are arguments, so one compiled program serves an epoch of any length, its ragged last batch, and an
epoch taken in parts. A population is the same function under ``vmap``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from danlu.engine.order import gather
from danlu.engine.precision import apply_in
from danlu.engine.state import Best, TrainState, track_best
from danlu.nn.layer import Layer
from danlu.nn.losses import l1, l2

__all__ = [
    "NEVER",
    "Program",
    "Steps",
    "add_sums",
    "evaluate_steps",
    "loop_steps",
    "predict_steps",
    "run_steps",
    "step",
    "zero_sums",
]

PerExample = Callable[[Any, Any], jax.Array]
NEVER = jnp.iinfo(jnp.int32).max
_AUGMENT = 2**32 - 1  # folded into a step's key; layers and micro-batches count from 0


class Steps(Protocol):
    """What the loop needs of a program: one step, its sums, and how they are read.

    A network that learns from rows is one such program (:class:`Program`); an agent in its environment is another (in ``danlu.rl``).
    Both are static and hashable: the compile key.

    Attributes:
        batch_size: how many rows (or steps of an environment) one step sees; ``unit`` is what they are called.
        members: how many trainings go on side by side in the state, on a leading axis of every array; None is one without such an axis.
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def unit(self) -> str: ...

    @property
    def members(self) -> int | None: ...

    @property
    def model(self) -> Layer:
        """The network."""
        ...

    def at(
        self, state: TrainState, chunk: Any, order: jax.Array, index: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Step ``index`` of an epoch that walks ``chunk`` in ``order``: the state after it, and its sums."""
        ...

    def zero_sums(self) -> dict[str, jax.Array]:
        """The running sums at the start of an epoch; ``"bad_step"`` among them is a minimum."""
        ...

    def means(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """What an epoch's sums (without ``"bad_step"``) say, for its row of the history."""
        ...

    def counters(self, state: TrainState) -> dict[str, int]:
        """How far training is."""
        ...


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled training program is made of; equal programs share one compilation.

    Attributes:
        model: the network's blueprint.
        loss: ``loss(outputs, targets) -> values``, one a row.
        update: the optimizer's ``update``.
        metrics: ``(name, function)`` pairs; each function like ``loss``.
        batch_size: rows a step.
        accumulate: micro-batches a step; their gradients are summed before the one update.
        skip_empty: whether a batch whose weights are all 0 leaves the state as it is (members of a population whose
            orders differ in length need it; it costs a selection a step).
        precision: what the network computes in; see :mod:`danlu.engine.precision`.
        augment: ``augment(key, batch) -> batch``, applied to each training batch before the step, or None; see
            :mod:`danlu.nn.augment.mix`.
    """

    model: Layer
    loss: PerExample
    update: Callable[..., Any]
    metrics: tuple[tuple[str, PerExample], ...] = ()
    batch_size: int = 32
    accumulate: int = 1
    skip_empty: bool = False
    precision: str = "float32"
    augment: Callable[[jax.Array, dict[str, Any]], dict[str, Any]] | None = None

    @property
    def unit(self) -> str:
        """``"rows"``."""
        return "rows"

    @property
    def members(self) -> None:
        """A population of networks is ``vmap`` over this program, not in it."""

    def at(
        self, state: TrainState, chunk: Any, order: jax.Array, index: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """:func:`step` on batch ``index`` of ``order``."""
        return step(self, state, _batch_at(chunk, order, index, self.batch_size))

    def zero_sums(self) -> dict[str, jax.Array]:
        """See :func:`zero_sums`."""
        return zero_sums(self)

    def means(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """The weighted means of the loss and the metrics."""
        weight = float(sums["weight"]) or math.nan
        return {name: float(value) / weight for name, value in sums.items() if name != "weight"}

    def counters(self, state: TrainState) -> dict[str, int]:
        """The number of updates."""
        return {"step": int(state.step)}


def zero_sums(program: Program) -> dict[str, jax.Array]:
    """The running sums at the start of an epoch.

    ``loss`` and each metric are Σ w·v, ``weight`` is Σ w; ``bad_step`` is the first step whose loss was not finite.
    """
    names = ["loss", "weight", *(name for name, _ in program.metrics)]
    sums = {name: jnp.zeros((), jnp.float32) for name in names}
    return {**sums, "bad_step": jnp.full((), NEVER, jnp.int32)}


def _measure(program: Program, outputs: Any, batch: dict[str, Any], values: jax.Array) -> dict[str, jax.Array]:
    weight = batch["weight"]
    sums = {"loss": jnp.sum(weight * values), "weight": jnp.sum(weight)}
    for name, metric in program.metrics:
        sums[name] = jnp.sum(weight * metric(outputs, batch["y"]))
    return sums


def _loss_sum(
    params: Any, program: Program, model_state: Any, batch: dict[str, Any], key: jax.Array
) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """Σ wᵢ·lossᵢ over the rows of a batch: the sum, not the mean, so that micro-batches add up exactly."""
    outputs, model_state = apply_in(program.precision, program.model, params, model_state, batch["x"], key=key)
    sums = _measure(program, outputs, batch, program.loss(outputs, batch["y"]))
    return sums["loss"], (model_state, sums)


def gradient(
    program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """The gradient of the objective at ``state.params``.

    The objective is Σ w·l / Σ w + c₁·‖θ‖₁ + c₂·‖θ‖². With ``program.accumulate`` = k the batch is cut into k micro-batches
    whose gradients of the *sum* are added and divided once by the whole Σ w. That is the full batch's gradient exactly
    (up to rounding) whatever the weights; a layer that looks across rows (batch norm) sees one micro-batch at a time.

    Returns:
        ``(gradients, model_state, sums)``.
    """
    grad = jax.value_and_grad(_loss_sum, has_aux=True)
    if program.accumulate == 1:
        (_, (model_state, sums)), total = grad(state.params, program, state.model_state, batch, key)
    else:
        micro = jax.tree.map(lambda a: a.reshape(program.accumulate, -1, *a.shape[1:]), batch)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(program.accumulate))

        def add(carry: Any, xs: Any) -> tuple[Any, dict[str, jax.Array]]:
            total, model_state = carry
            part, part_key = xs
            (_, (model_state, sums)), grads = grad(state.params, program, model_state, part, part_key)
            return (jax.tree.map(jnp.add, total, grads), model_state), sums

        zeros = jax.tree.map(jnp.zeros_like, state.params)
        (total, model_state), parts = jax.lax.scan(add, (zeros, state.model_state), (micro, keys))
        sums = jax.tree.map(lambda a: a.sum(0), parts)
    scale = 1.0 / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)
    grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), total)
    if state.penalties:
        penalty = jax.grad(lambda p: sum(state.penalties[n] * {"l1": l1, "l2": l2}[n](p) for n in state.penalties))
        grads = jax.tree.map(jnp.add, grads, penalty(state.params))
    return grads, model_state, sums


def step(program: Program, state: TrainState, batch: dict[str, Any]) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step of gradient descent.

    Args:
        program: the static part.
        state: the state before the step.
        batch: ``{"x": inputs, "y": targets, "weight": (batch,)}``; a row of weight 0 does not count.

    Returns:
        The state after the step, and the batch's sums (see :func:`zero_sums`).
    """
    key = jax.random.fold_in(state.key, state.step)
    if program.augment is not None:
        batch = program.augment(jax.random.fold_in(key, _AUGMENT), batch)
    grads, model_state, sums = gradient(program, state, batch, key)
    updates, opt_state = program.update(grads, state.opt_state, state.params)
    params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.params, updates)
    after = dataclasses.replace(state, step=state.step + 1, params=params, model_state=model_state, opt_state=opt_state)
    if program.skip_empty:
        after = jax.tree.map(lambda new, old: jnp.where(sums["weight"] > 0, new, old), after, state)
    sums["bad_step"] = jnp.where(jnp.isfinite(sums["loss"]), NEVER, state.step)
    return after, sums


def _batch_at(chunk: dict[str, Any], order: jax.Array, index: Any, batch_size: int) -> dict[str, Any]:
    batch, mask = gather(chunk, order, index, batch_size)
    return {**batch, "weight": batch["weight"] * mask}


def add_sums(total: dict[str, jax.Array], part: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The sums of two parts of an epoch together; of ``bad_step`` the first."""
    return {k: jnp.minimum(total[k], v) if k == "bad_step" else total[k] + v for k, v in part.items()}


def loop_steps(
    program: Steps, state: TrainState, sums: Any, chunk: Any, order: jax.Array, start: Any, stop: Any
) -> tuple[TrainState, dict[str, jax.Array]]:
    """What :func:`run_steps` compiles, to be part of a larger program: an agent learns so from what it has just collected."""

    def body(index: jax.Array, carry: Any) -> Any:
        state, sums = carry
        state, part = program.at(state, chunk, order, index)
        return state, add_sums(sums, part)

    return jax.lax.fori_loop(start, stop, body, (state, sums))


def _evaluate_steps(
    program: Program, params: Any, model_state: Any, chunk: Any, order: jax.Array, stop: Any, size: int
) -> dict[str, jax.Array]:
    def body(index: jax.Array, sums: Any) -> Any:
        batch = _batch_at(chunk, order, index, size)
        outputs, _ = program.model.apply(params, model_state, batch["x"], train=False)
        return add_sums(sums, _measure(program, outputs, batch, program.loss(outputs, batch["y"])))

    sums = zero_sums(program)
    del sums["bad_step"]
    return jax.lax.fori_loop(0, stop, body, sums)


def _predict_steps(model: Layer, params: Any, model_state: Any, x: Any, order: jax.Array, stop: Any, size: int) -> Any:
    def outputs_at(index: Any) -> Any:
        batch, _ = gather(x, order, index, size)
        return model.apply(params, model_state, batch, train=False)[0]

    shapes = jax.eval_shape(outputs_at, 0)
    buffer = jax.tree.map(lambda s: jnp.zeros((order.shape[0], *s.shape[1:]), s.dtype), shapes)

    def body(index: jax.Array, buffer: Any) -> Any:
        return jax.tree.map(
            lambda b, y: jax.lax.dynamic_update_slice_in_dim(b, y, index * size, 0), buffer, outputs_at(index)
        )

    return jax.lax.fori_loop(0, stop, body, buffer)


@functools.partial(jax.jit, static_argnames=("program", "population"), donate_argnames=("state", "sums"))
def run_steps(
    program: Steps,
    state: TrainState,
    sums: dict[str, jax.Array],
    chunk: dict[str, Any],
    order: jax.Array,
    start: Any,
    stop: Any,
    *,
    population: bool = False,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Steps ``start`` to ``stop`` (exclusive) over the batches of ``order``.

    Args:
        sums: running sums that the steps' sums are added to.
        chunk: ``{"x", "y", "weight"}``, arrays with a leading row axis, on the device.
        order: row numbers (see :mod:`danlu.engine.order`); batch ``i`` is entries ``i·batch_size`` onwards.
        population: whether ``state``, ``sums`` and ``order`` have a leading member axis; the chunk is shared.
    """
    loop = functools.partial(loop_steps, program)
    if population:
        return jax.vmap(loop, in_axes=(0, 0, None, 0, None, None))(state, sums, chunk, order, start, stop)
    return loop(state, sums, chunk, order, start, stop)


@functools.partial(jax.jit, static_argnames=("program", "size", "population"))
def evaluate_steps(
    program: Program,
    params: Any,
    model_state: Any,
    chunk: dict[str, Any],
    order: jax.Array,
    stop: Any,
    *,
    size: int,
    population: bool = False,
) -> dict[str, jax.Array]:
    """The sums of the loss and the metrics over ``order``, in batches of ``size``, without training."""
    loop = functools.partial(_evaluate_steps, program, size=size)
    if population:
        return jax.vmap(loop, in_axes=(0, 0, None, 0, None))(params, model_state, chunk, order, stop)
    return loop(params, model_state, chunk, order, stop)


@functools.partial(jax.jit, static_argnames=("model", "size", "population"))
def predict_steps(
    model: Layer,
    params: Any,
    model_state: Any,
    x: Any,
    order: jax.Array,
    stop: Any,
    *,
    size: int,
    population: bool = False,
) -> Any:
    """The model's outputs for the rows of ``order``, in that sequence, in batches of ``size``."""
    loop = functools.partial(_predict_steps, model, size=size)
    if population:
        return jax.vmap(loop, in_axes=(0, 0, None, None, None))(params, model_state, x, order, stop)
    return loop(params, model_state, x, order, stop)


@functools.partial(jax.jit, static_argnames=("population",))
def end_epoch(
    best: Best, state: TrainState, value: Any, epoch: Any, patience: Any, min_delta: Any, *, population: bool = False
) -> Best:
    """:func:`danlu.engine.state.track_best`, compiled, for one run or a population."""
    if population:
        return jax.vmap(track_best, in_axes=(0, 0, 0, None, None, None))(best, state, value, epoch, patience, min_delta)
    return track_best(best, state, value, epoch, patience, min_delta)
