"""The one training step.

``step(program, state, batch) -> (state, sums)`` is a pure function. What may change from run to run without another
program being compiled (weights, learning rate, dropout rate, penalties) is in ``state``; what cannot is in ``program``,
which is static and hashable and so is the compile key.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.engine.measures import Objective, TakesWeights, direction_of, value_of, weighed
from danlu.engine.mesh import mean, position, total
from danlu.engine.order import gather
from danlu.engine.precision import apply_in, cast_in
from danlu.engine.state import TrainState
from danlu.errors import unknown_name
from danlu.nn.layer import Layer
from danlu.nn.losses import l1, l2
from danlu.optim.extra import call_update, of_other_form

__all__ = ["NEVER", "Program", "add_sums", "gradient", "step", "zero_sums"]

Measure = Callable[..., Any]
NEVER = jnp.iinfo(jnp.int32).max
_AUGMENT = 2**32 - 1  # folded into a step's key; layers and micro-batches count from 0


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled training program is made of; equal programs share one compilation.

    Attributes:
        model: the network's blueprint.
        loss: ``loss(outputs, targets) -> values``, one a row; or one of the batch, or an objective: see :mod:`danlu.engine.measures`.
        update: the optimizer's ``update``.
        metrics: ``(name, function)`` pairs; each function like ``loss``. Of an objective's own measures the function is None.
        batch_size: rows a step.
        accumulate: micro-batches a step; their gradients are summed before the one update.
        skip_empty: whether a batch whose weights are all 0 leaves the state as it is (members of a population whose
            orders differ in length need it; it costs a selection a step).
        precision: what the network computes in; see :mod:`danlu.engine.precision`.
        augment: ``augment(key, batch) -> batch``, applied to each training batch before the step, or None; see
            :mod:`danlu.nn.augment.mix`.
        devices: how many devices share the rows of a batch; see :mod:`danlu.engine.mesh`.
        of_batch: which of ``"loss"`` and the metrics are one number of a batch; with any, batches are not filled up to be judged.
    """

    model: Layer
    loss: Measure
    update: Callable[..., Any]
    metrics: tuple[tuple[str, Measure | None], ...] = ()
    batch_size: int = 32
    accumulate: int = 1
    skip_empty: bool = False
    precision: str = "float32"
    augment: Callable[[jax.Array, dict[str, Any]], dict[str, Any]] | None = None
    devices: int = 1
    of_batch: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """``"rows"``."""
        return "rows"

    @property
    def members(self) -> None:
        """It is one training; several are a :class:`Population` of it."""

    def at(
        self, state: TrainState, chunk: Any, order: jax.Array, index: Any
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """:func:`step` on batch ``index`` of ``order``, or on this device's share of it."""
        share = index * self.devices + position(self.devices)
        return step(self, state, _batch_at(chunk, order, share, self.batch_size // self.devices))

    def zero_sums(self) -> dict[str, jax.Array]:
        """See :func:`zero_sums`."""
        return zero_sums(self)

    def means(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """The weighted means of the loss and the metrics."""
        own = {name: float(sums.get(_weight_of(name), sums["weight"])) for name in sums}
        names = [name for name in sums if not name.endswith(_WEIGHT) and name != "weight"]
        return {name: float(sums[name]) / (own[name] or math.nan) for name in names}

    def counters(self, state: TrainState) -> dict[str, int]:
        """The number of updates."""
        return {"step": int(state.step)}

    def direction(self, column: str) -> str | None:
        """``"min"`` or ``"max"`` for the loss or a metric that declares it; None for one that does not.

        Raises:
            ConfigError: no such column.
        """
        measures, monitored = dict(self.metrics), column
        column = column.removeprefix("val_")
        if column == "loss":
            return "min"
        if column not in measures:
            names = ["loss", *measures]
            raise unknown_name("column to monitor", monitored, [*names, *(f"val_{name}" for name in names)])
        own = getattr(self.loss, "directions", {})
        return own.get(column) if measures[column] is None else direction_of(measures[column])

    def judge(
        self, params: Any, model_state: Any, chunk: Any, order: jax.Array, stop: Any, size: int
    ) -> dict[str, jax.Array]:
        """The sums over ``order`` in batches of ``size``; of several devices, each takes a batch in turn."""
        first = position(self.devices)

        def body(turn: jax.Array, sums: Any) -> Any:
            place = turn * self.devices + first
            batch = _batch_at(chunk, order, place, size)
            key = jax.random.fold_in(jax.random.key(0), place)
            return add_sums(sums, _measured(self, params, model_state, batch, key, train=False)[1])

        sums = zero_sums(self)
        del sums["bad_step"]
        turns = (stop - first + self.devices - 1) // self.devices
        return total(jax.lax.fori_loop(0, turns, body, sums), self.devices)


def zero_sums(program: Program) -> dict[str, jax.Array]:
    """The running sums at the start of an epoch.

    ``loss`` and each metric are Σ w·v, ``weight`` is Σ w (where measures are of batches, each metric has a Σ w of its own, since not every
    batch counts for each); ``bad_step`` is the first step whose loss was not finite.
    """
    metrics = [name for name, _ in program.metrics]
    names = ["loss", "weight", *metrics, *(map(_weight_of, metrics) if program.of_batch else ())]
    sums = {name: jnp.zeros((), jnp.result_type(float)) for name in names}
    return {**sums, "bad_step": jnp.full((), NEVER, jnp.int32)}


_WEIGHT = ":weight"


def _weight_of(name: str) -> str:
    """Where the Σ w of a measure stands among the sums."""
    return name + _WEIGHT


def _measured(
    program: Program, params: Any, model_state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
) -> tuple[Any, dict[str, jax.Array]]:
    """The network's state after a batch, and the batch's sums of the loss and the metrics."""
    weight = batch["weight"]
    found: dict[str, jax.Array] = {}
    if isinstance(program.loss, Objective):
        params, seen = cast_in(program.precision, (params, batch), train=train)
        value, after, found = program.loss(params, model_state, {**seen, "weight": weight}, key, train=train)
        model_state = jax.tree.map(lambda new, old: new.astype(old.dtype), after, model_state)
        complete = False
    else:
        if train:
            outputs, model_state = apply_in(program.precision, program.model, params, model_state, batch["x"], key=key)
        else:
            outputs, _ = program.model.apply(params, model_state, batch["x"], train=False)
        value = value_of(program.loss, outputs, batch["y"], weight)
        complete = not isinstance(program.loss, TakesWeights)
    sums = dict(zip(("loss", "weight"), weighed(value, weight, complete=complete), strict=True))
    for name, metric in program.metrics:
        of = found[name] if metric is None else value_of(metric, outputs, batch["y"], weight)
        complete = metric is not None and not isinstance(metric, TakesWeights)
        sums[name], own = weighed(of, weight, complete=complete)
        if program.of_batch:
            sums[_weight_of(name)] = own
    return model_state, jax.tree.map(lambda value: value.astype(jnp.result_type(float)), sums)


def _loss_sum(
    params: Any, program: Program, model_state: Any, batch: dict[str, Any], key: jax.Array
) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """Σ wᵢ·lossᵢ over the rows of a batch: the sum, not the mean, so that micro-batches add up exactly."""
    model_state, sums = _measured(program, params, model_state, batch, key, train=True)
    return sums["loss"], (model_state, sums)


def _in_parts(
    program: Program, one: Callable[..., tuple[Any, Any, Any]], zeros: Any, model_state: Any, batch: Any, key: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """``one(model_state, batch, key) -> (to add up, model_state, sums)`` over the micro-batches of this device, and over devices."""
    if program.accumulate == 1:
        added, model_state, sums = one(model_state, batch, key)
    else:
        micro = jax.tree.map(lambda a: a.reshape(program.accumulate, -1, *a.shape[1:]), batch)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(program.accumulate))

        def add(carry: Any, xs: Any) -> tuple[Any, dict[str, jax.Array]]:
            added, model_state = carry
            part, model_state, sums = one(model_state, *xs)
            return (jax.tree.map(jnp.add, added, part), model_state), sums

        (added, model_state), parts = jax.lax.scan(add, (zeros, model_state), (micro, keys))
        sums = jax.tree.map(lambda a: a.sum(0), parts)
    added, sums = total((added, sums), program.devices)
    return added, mean(model_state, program.devices), sums


def _penalty(state: TrainState, params: Any) -> Any:
    return sum(state.penalties[n] * {"l1": l1, "l2": l2}[n](params) for n in state.penalties)


def _per_weight(sums: dict[str, jax.Array]) -> jax.Array:
    return 1.0 / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)


def objective_value(
    program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array, params: Any
) -> jax.Array:
    """The objective of :func:`gradient` at other ``params``: what a line search asks for."""

    def one(model_state: Any, part: Any, part_key: jax.Array) -> tuple[Any, Any, Any]:
        _, (model_state, sums) = _loss_sum(params, program, model_state, part, part_key)
        return (), model_state, sums

    _, _, sums = _in_parts(program, one, (), state.model_state, batch, key)
    return sums["loss"] * _per_weight(sums) + _penalty(state, params)


def gradient(
    program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """The gradient of the objective at ``state.params``.

    The objective is Σ w·l / Σ w + c₁·‖θ‖₁ + c₂·‖θ‖². With ``program.accumulate`` = k the batch is cut into k micro-batches
    whose gradients of the *sum* are added and divided once by the whole Σ w. That is the full batch's gradient exactly
    (up to rounding) whatever the weights; a layer that looks across rows (batch norm) sees one micro-batch at a time.
    So it is with the shares of several devices.

    Returns:
        ``(gradients, model_state, sums)``.
    """
    grad = jax.grad(_loss_sum, has_aux=True)

    def one(model_state: Any, part: Any, part_key: jax.Array) -> tuple[Any, Any, Any]:
        grads, (model_state, sums) = grad(state.params, program, model_state, part, part_key)
        return grads, model_state, sums

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    grads, model_state, sums = _in_parts(program, one, zeros, state.model_state, batch, key)
    scale = _per_weight(sums)
    grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
    if state.penalties:
        grads = jax.tree.map(jnp.add, grads, jax.grad(lambda p: _penalty(state, p))(state.params))
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
    if program.devices > 1:
        key = jax.random.fold_in(key, position(program.devices))
    if program.augment is not None:
        batch = program.augment(jax.random.fold_in(key, _AUGMENT), batch)
    grads, model_state, sums = gradient(program, state, batch, key)
    value = sums["loss"] * _per_weight(sums) + _penalty(state, state.params)
    objective = of_other_form(lambda params: objective_value(program, state, batch, key, params), lambda params: params)
    extra = {"value": value, "grad": grads, "value_fn": objective, "obj_fn": objective}
    updates, opt_state = call_update(program.update, grads, state.opt_state, state.params, extra)
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
