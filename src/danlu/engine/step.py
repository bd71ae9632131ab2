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

from danlu.engine.mesh import mean, position, total
from danlu.engine.order import gather
from danlu.engine.precision import apply_in
from danlu.engine.state import TrainState
from danlu.nn.layer import Layer
from danlu.nn.losses import l1, l2

__all__ = ["NEVER", "Program", "add_sums", "gradient", "step", "zero_sums"]

PerExample = Callable[[Any, Any], jax.Array]
NEVER = jnp.iinfo(jnp.int32).max
_AUGMENT = 2**32 - 1  # folded into a step's key; layers and micro-batches count from 0


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
        devices: how many devices share the rows of a batch; see :mod:`danlu.engine.mesh`.
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
    devices: int = 1

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
        weight = float(sums["weight"]) or math.nan
        return {name: float(value) / weight for name, value in sums.items() if name != "weight"}

    def counters(self, state: TrainState) -> dict[str, int]:
        """The number of updates."""
        return {"step": int(state.step)}

    def judge(
        self, params: Any, model_state: Any, chunk: Any, order: jax.Array, stop: Any, size: int
    ) -> dict[str, jax.Array]:
        """The sums over ``order`` in batches of ``size``; of several devices, each takes a batch in turn."""
        first = position(self.devices)

        def body(turn: jax.Array, sums: Any) -> Any:
            batch = _batch_at(chunk, order, turn * self.devices + first, size)
            outputs, _ = self.model.apply(params, model_state, batch["x"], train=False)
            return add_sums(sums, _measure(self, outputs, batch, self.loss(outputs, batch["y"])))

        sums = zero_sums(self)
        del sums["bad_step"]
        turns = (stop - first + self.devices - 1) // self.devices
        return total(jax.lax.fori_loop(0, turns, body, sums), self.devices)


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
    So it is with the shares of several devices.

    Returns:
        ``(gradients, model_state, sums)``.
    """
    grad = jax.value_and_grad(_loss_sum, has_aux=True)
    if program.accumulate == 1:
        (_, (model_state, sums)), grads = grad(state.params, program, state.model_state, batch, key)
    else:
        micro = jax.tree.map(lambda a: a.reshape(program.accumulate, -1, *a.shape[1:]), batch)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(program.accumulate))

        def add(carry: Any, xs: Any) -> tuple[Any, dict[str, jax.Array]]:
            added, model_state = carry
            part, part_key = xs
            (_, (model_state, sums)), grads = grad(state.params, program, model_state, part, part_key)
            return (jax.tree.map(jnp.add, added, grads), model_state), sums

        zeros = jax.tree.map(jnp.zeros_like, state.params)
        (grads, model_state), parts = jax.lax.scan(add, (zeros, state.model_state), (micro, keys))
        sums = jax.tree.map(lambda a: a.sum(0), parts)
    grads, sums = total((grads, sums), program.devices)
    model_state = mean(model_state, program.devices)
    scale = 1.0 / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)
    grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
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
    if program.devices > 1:
        key = jax.random.fold_in(key, position(program.devices))
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
