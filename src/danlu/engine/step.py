"""The one training step: objective, then gradient, then optimizer.

``step(program, state, batch) -> (state, sums)`` is a pure function. What may change from run to run without another
program being compiled (weights, learning rate, dropout rate, the weights of an objective's terms) is in ``state``; what cannot is in
``program``, which is static and hashable and so is the compile key.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.gradient import Finished, Gradient, Whole
from danlu.engine.measures import Measure
from danlu.engine.mesh import WHOLE, mean, position, total
from danlu.engine.objective import Objective, Sums, Supervised, measured, weight_of
from danlu.engine.order import gather
from danlu.engine.state import TrainState
from danlu.errors import ConfigError, shorten, unknown_name
from danlu.nn.layer import Layer
from danlu.nn.losses import l1, l2
from danlu.optim.extra import call_update, of_other_form

__all__ = ["NEVER", "Program", "add_sums", "batch_at", "gradient", "mixed", "step", "zero_sums"]

NEVER = jnp.iinfo(jnp.int32).max
_AUGMENT = 2**32 - 1  # folded into a step's key; layers and micro-batches count from 0
_PENALTIES = {"l1": l1, "l2": l2}


@dataclasses.dataclass(frozen=True)
class Program:
    """The parts of a compiled training program; equal programs share one compilation.

    Attributes:
        model: the network's blueprint.
        objective: what is made small; see :mod:`danlu.engine.objective`.
        update: the optimizer's ``update``.
        measures: the names of the terms and measures that the objective gives beside the loss.
        gradient: how the objective's gradient is taken; see :mod:`danlu.engine.gradient`.
        batch_size: rows a step.
        skip_empty: whether a batch whose weights are all 0 leaves the state as it is (members of a population whose
            orders differ in length need it; it costs a selection a step).
        augment: ``augment(key, batch) -> batch``, applied to each training batch before the step, or None; see
            :mod:`danlu.nn.augment.mix`.
        devices: how many devices share the rows of a batch; see :mod:`danlu.engine.mesh`.
        of_batch: which of ``"loss"`` and the measures are one number of a batch; with any, batches are not filled up to be judged.
        terms: which measures are terms that the loss is made of, each with a weight in the state.
        observed: the names of what the gradient lets be seen of a step.
    """

    model: Layer
    objective: Objective
    update: Callable[..., Any]
    measures: tuple[str, ...] = ()
    gradient: Gradient = dataclasses.field(default=Whole())
    batch_size: int = 32
    skip_empty: bool = False
    augment: Callable[[jax.Array, dict[str, Any]], dict[str, Any]] | None = None
    devices: int = 1
    of_batch: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: Layer,
        loss: Measure,
        update: Callable[..., Any],
        metrics: Sequence[tuple[str, Measure]] = (),
        *,
        precision: str = "float32",
        **fields: Any,
    ) -> Self:
        """The program of a loss of the model's outputs and targets, and of metrics ``(name, function)``."""
        objective = Supervised(model, loss, tuple(metrics), precision)
        return cls(model, objective, update, tuple(name for name, _ in metrics), **fields)

    def with_model(self, model: Layer) -> Self:
        """The same of another network.

        Raises:
            ConfigError: the objective is not a loss of one network's outputs.
        """
        objective: Any = self.objective
        if not isinstance(objective, Supervised):
            raise ConfigError(
                f"the objective is {type(objective).__name__}, which applies the network itself; expected a loss of outputs and targets"
            )
        return dataclasses.replace(self, model=model, objective=objective.replace(model=model))

    @property
    def unit(self) -> str:
        """``"rows"``."""
        return "rows"

    @property
    def members(self) -> None:
        """A program is one training; a :class:`~danlu.engine.population.Population` of it is several."""

    @property
    def layout(self) -> Any:
        """The state is on every device."""
        return WHOLE

    def at(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """:func:`step` on batch ``index`` of ``order``, or on this device's share of it."""
        share = index * self.devices + position(self.devices)
        return step(self, state, batch_at(chunk, order, share, self.batch_size // self.devices))

    def zero_sums(self) -> Sums:
        """See :func:`zero_sums`."""
        return zero_sums(self)

    def means(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """The weighted means of the loss and the measures."""
        counts = {weight_of(name) for name in sums}
        names = [name for name in sums if name not in counts and name != "weight"]
        own = {name: float(sums.get(weight_of(name), sums["weight"])) for name in names}
        return {name: float(sums[name]) / (own[name] or math.nan) for name in names}

    def counters(self, state: TrainState) -> dict[str, np.ndarray]:
        """The number of updates."""
        return {"step": np.asarray(state.step)}

    def resting(self) -> Self:
        """The program with ``skip_empty``."""
        return dataclasses.replace(self, skip_empty=True)

    def best_by(self, row: Mapping[str, Any], column: str) -> Any:
        """The value of ``column`` in the row, by which an epoch is judged."""
        return row[column]

    def direction(self, column: str) -> str | None:
        """``"min"`` or ``"max"`` for the loss or a measure that declares it; None for one that does not.

        Raises:
            ConfigError: no such column.
        """
        name = column.removeprefix("val_")
        if name == "loss":
            return "min"
        if name not in self.measures:
            names = ["loss", *self.measures]
            raise unknown_name("column to monitor", column, [*names, *(f"val_{name}" for name in names)])
        return self.objective.direction(name)

    def judge(
        self, params: Any, model_state: Any, weights: Any, chunk: Any, order: jax.Array, stop: Any, size: int
    ) -> Sums:
        """The sums over ``order`` in batches of ``size``; several devices take batches in turn."""
        first = position(self.devices)

        def body(turn: jax.Array, sums: Any) -> Any:
            place = turn * self.devices + first
            batch = batch_at(chunk, order, place, size)
            key = jax.random.fold_in(jax.random.key(0), place)
            found = measured(self.objective, params, model_state, batch, key, weights, train=False)[1]
            return add_sums(sums, found)

        sums = {name: zero for name, zero in zero_sums(self).items() if name not in ("bad_step", *self.observed)}
        turns = (stop - first + self.devices - 1) // self.devices
        judged: Sums = total(jax.lax.fori_loop(0, turns, body, sums), self.devices)
        return judged


def zero_sums(program: Program) -> Sums:
    """The running sums at the start of an epoch.

    ``loss`` and each measure are Σ w·v, ``weight`` is Σ w (where measures are of batches, each has a Σ w of its own, since not every
    batch counts for each); ``bad_step`` is the first step whose loss was not finite.
    """
    own = map(weight_of, program.measures) if program.of_batch else ()
    names = ["loss", "weight", *program.measures, *own, *program.observed]
    sums = {name: jnp.zeros((), jnp.result_type(float)) for name in names}
    return {**sums, "bad_step": jnp.full((), NEVER, jnp.int32)}


def _penalty(state: TrainState, params: Any) -> Any:
    return sum(state.weights[name] * penalty(params) for name, penalty in _PENALTIES.items() if name in state.weights)


def _per_weight(sums: Sums) -> jax.Array:
    return 1.0 / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)


def gradient(program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array) -> tuple[Any, Any, Sums]:
    """The gradient of the objective's mean, penalties included, at ``state.params``.

    That is the gradient of Σ w·l / Σ w + c₁·‖θ‖₁ + c₂·‖θ‖²: what :mod:`danlu.engine.gradient` gives of a sum, added over devices and
    divided once by the whole Σ w.

    Returns:
        ``(gradients, model_state, sums)``.
    """
    found, model_state = _finished(program, state, batch, key, key)
    return found.grads, model_state, found.sums


def _finished(
    program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array, shared: jax.Array
) -> tuple[Finished, Any]:
    """The gradient with its sums, and the network's state; ``shared`` is the key that all devices have."""
    grads, model_state, sums = program.gradient(program.objective, state, batch, key)
    grads, sums = total((grads, sums), program.devices)
    found = program.gradient.finish(state, grads, sums, shared)
    if not state.weights.keys().isdisjoint(_PENALTIES):
        penalties = jax.grad(lambda p: _penalty(state, p))(state.params)
        found = found._replace(grads=jax.tree.map(jnp.add, found.grads, penalties))
    return found, mean(model_state, program.devices)


def step(program: Program, state: TrainState, batch: dict[str, Any]) -> tuple[TrainState, Sums]:
    """One step of gradient descent.

    Args:
        program: the static part.
        state: the state before the step.
        batch: ``{"x": inputs, "y": targets, "weight": (batch,)}``; a row of weight 0 does not count.

    Returns:
        The state after the step, and the batch's sums (see :func:`zero_sums`).
    """
    key = shared = jax.random.fold_in(state.key, state.step)
    if program.devices > 1:
        key = jax.random.fold_in(key, position(program.devices))
    batch = mixed(program, batch, key)
    (grads, sums, carried), model_state = _finished(program, state, batch, key, shared)

    def value_at(params: Any) -> jax.Array:
        """The same value at other parameters, for a line search."""
        there = program.gradient.values(program.objective, dataclasses.replace(state, params=params), batch, key)
        there = total(there, program.devices)
        value: jax.Array = there["loss"] * _per_weight(there) + _penalty(state, params)
        return value

    value = sums["loss"] * _per_weight(sums) + _penalty(state, state.params)
    function = of_other_form(value_at, lambda params: params)
    extra = {"value": value, "grad": grads, "value_fn": function, "obj_fn": function}
    updates, opt_state = call_update(program.update, grads, state.opt_state, state.params, extra)
    params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.params, updates)
    after = dataclasses.replace(
        state, step=state.step + 1, params=params, model_state=model_state, opt_state=opt_state, world=carried
    ).averaged()
    if program.skip_empty:
        after = jax.tree.map(lambda new, old: jnp.where(sums["weight"] > 0, new, old), after, state)
    seen = {name: number * sums["weight"] for name, number in program.gradient.observe(grads, updates).items()}
    return after, {**sums, **seen, "bad_step": jnp.where(jnp.isfinite(sums["loss"]), NEVER, state.step)}


def mixed(program: Program, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    """The batch as the program changes it before a step whose key this is."""
    return batch if program.augment is None else program.augment(jax.random.fold_in(key, _AUGMENT), batch)


def batch_at(chunk: dict[str, Any], order: jax.Array, index: Any, batch_size: int) -> dict[str, Any]:
    """Batch ``index`` of ``order``; rows that only fill it up have weight 0."""
    batch, mask = gather(chunk, order, index, batch_size)
    return {**batch, "weight": batch["weight"] * mask}


def add_sums(total: Sums, part: Sums) -> Sums:
    """The sums of two parts of an epoch together; ``bad_step`` is the earlier one.

    Raises:
        ConfigError: other sums than the program names.
    """
    if part.keys() != total.keys():
        differ = sorted(name.removesuffix(weight_of("")) for name in part.keys() ^ total.keys())
        raise ConfigError(
            f"a step gives the sums {shorten(sorted(part))}, and the program names {shorten(sorted(total))}",
            hint=f"see {shorten(differ)}: a Program lists the objective's terms and measures in measures=, those that are one number of a "
            "batch in of_batch=, and what its gradient observes in observed=; danlu.fit fills these in",
        )
    return {k: jnp.minimum(total[k], v) if k == "bad_step" else total[k] + v for k, v in part.items()}
