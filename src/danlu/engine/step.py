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

from danlu.engine.gathering import gather as whole_of
from danlu.engine.gradient import Finished, Gradient, Whole
from danlu.engine.layout import Layout, through
from danlu.engine.measures import Measure
from danlu.engine.mesh import DATA, DIVIDED, WHOLE, mean, position, spread, total
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
        devices: how many devices there are for it; see :mod:`danlu.engine.mesh`.
        sharding, tensor: where on them the parameters lie, and how many devices share each layer; see :mod:`danlu.engine.layout`.
        divided: whether the rows of the data lie divided among the devices; see :class:`~danlu.engine.sources.Piece`.
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
    sharding: str = "replicated"
    tensor: int = 1
    divided: bool = False
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
    def shares(self) -> int:
        """Into how many shares the rows of a batch are divided among the devices."""
        return max(1, self.devices // self.tensor)

    def layout(self, params: Any) -> Layout:
        """Where a training's arrays lie on the devices."""
        if self.devices == 1:
            return Layout()
        return Layout.of(params, devices=self.devices, sharding=self.sharding, tensor=self.tensor, network=self.model)

    def spread(self, function: Callable[..., Any], arguments: Any, results: Any) -> Callable[..., Any]:
        """``function`` on each device that has a share of the rows; see :func:`danlu.engine.mesh.spread`."""
        tensor = self.tensor if self.devices > 1 else 1
        return spread(function, self.devices, arguments, results, tensor=tensor)

    def at(self, state: TrainState, chunk: Any, order: jax.Array, index: Any) -> tuple[TrainState, Sums]:
        """:func:`step` on batch ``index`` of ``order``, of which each device takes its share."""

        def share(chunk: Any, order: jax.Array, index: Any) -> Any:
            place = index * self.shares + position(self.shares)
            return batch_at(chunk, order, place, self.batch_size // self.shares)

        lies = DIVIDED if self.divided else WHOLE
        return step(self, state, self.spread(share, (lies, WHOLE, WHOLE), DIVIDED)(chunk, order, index))

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

    def alone(self) -> Self:
        """The same on one device."""
        return dataclasses.replace(self, devices=1, sharding="replicated", tensor=1)

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
        layout = self.layout(params)
        specs, objective = layout.rows(params), through(self.objective, layout(params))

        def share(params: Any, model_state: Any, weights: Any, chunk: Any, order: jax.Array, stop: Any) -> Sums:
            first = position(self.shares)

            def body(turn: jax.Array, sums: Any) -> Any:
                place = turn * self.shares + first
                batch = batch_at(chunk, order, place, size)
                batch["weight"] *= place < stop
                key = jax.random.fold_in(jax.random.key(0), place)
                found = measured(objective, params, model_state, batch, key, weights, train=False)[1]
                return add_sums(sums, found)

            sums = {name: zero for name, zero in zero_sums(self).items() if name not in ("bad_step", *self.observed)}
            turns = (
                stop + self.shares - 1
            ) // self.shares  # as many for all: they gather together; a last one may be of weight 0
            judged: Sums = total(jax.lax.fori_loop(0, turns, body, sums), self.shares)
            return judged

        given = (params, model_state, weights, chunk, order, stop)
        judged: Sums = self.spread(share, (specs, *[WHOLE] * 5), WHOLE)(*given)
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
    found, model_state = _finished(program, state, batch, key)
    return found.grads, model_state, found.sums


def _finished(program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array) -> tuple[Finished, Any]:
    """The gradient with its sums, and the network's state."""
    layout = program.layout(state.params)
    specs, parts = layout.rows(state.params), layout(state.params)
    plain = program.gradient.plain

    def share(state: TrainState, batch: Any, key: jax.Array) -> tuple[Any, Any, Sums]:
        key = _own(program, key)
        if program.shares == 1:
            return program.gradient(program.objective, state, batch, key)
        if plain:  # parameters are gathered where they are used, and their gradients scattered
            grads, model_state, sums = program.gradient(through(program.objective, parts), state, batch, key)
            own = jax.tree.map(lambda g, spec: None if DATA in spec else g, grads, parts)
        else:
            whole = dataclasses.replace(state, params=jax.tree.map(whole_of, state.params, parts))
            grads, model_state, sums = program.gradient(program.objective, whole, batch, key)
            own = grads
        added, sums = total((own, sums), program.shares, tensor=program.tensor)
        grads = jax.tree.map(lambda g, a: g if a is None else a, grads, added)
        return grads, mean(model_state, program.shares), sums

    rest, lies = _seen(state, specs)
    results = (specs if plain else WHOLE, WHOLE, WHOLE)
    grads, model_state, sums = program.spread(share, (lies, DIVIDED, WHOLE), results)(rest, batch, key)
    found = program.gradient.finish(state, grads, sums, key)
    if not state.weights.keys().isdisjoint(_PENALTIES):
        penalties = jax.grad(lambda p: _penalty(state, p))(state.params)
        found = found._replace(grads=jax.tree.map(jnp.add, found.grads, penalties))
    return found, model_state


def _seen(state: TrainState, specs: Any) -> tuple[TrainState, Any]:
    """What of the state an objective and its gradient see, and how it is divided among the devices that share rows."""
    seen = dataclasses.replace(state, opt_state=None, average=None)
    return seen, dataclasses.replace(jax.tree.map(lambda _: WHOLE, seen), params=specs)


def _own(program: Program, key: jax.Array) -> jax.Array:
    """The key of a step as the device that asks draws from it."""
    return key if program.shares == 1 else jax.random.fold_in(key, position(program.shares))


def _values(program: Program, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
    """The sums of a batch without a gradient."""
    layout = program.layout(state.params)
    objective = through(program.objective, layout(state.params))

    def share(state: TrainState, batch: Any, key: jax.Array) -> Sums:
        own: Sums = program.gradient.values(objective, state, batch, _own(program, key))
        summed: Sums = total(own, program.shares)
        return summed

    seen, lies = _seen(state, layout.rows(state.params))
    sums: Sums = program.spread(share, (lies, DIVIDED, WHOLE), WHOLE)(seen, batch, key)
    return sums


def step(program: Program, state: TrainState, batch: dict[str, Any]) -> tuple[TrainState, Sums]:
    """One step of gradient descent.

    Args:
        program: the static part.
        state: the state before the step.
        batch: ``{"x": inputs, "y": targets, "weight": (batch,)}``; a row of weight 0 does not count. Of several devices each has a share.

    Returns:
        The state after the step, and the batch's sums (see :func:`zero_sums`).
    """
    key = jax.random.fold_in(state.key, state.step)
    batch = mixed(program, batch, key)
    (grads, sums, carried), model_state = _finished(program, state, batch, key)

    def value_at(params: Any) -> jax.Array:
        """The same value at other parameters, for a line search."""
        there = _values(program, dataclasses.replace(state, params=params), batch, key)
        value: jax.Array = there["loss"] * _per_weight(there) + _penalty(state, params)
        return value

    value = sums["loss"] * _per_weight(sums) + _penalty(state, state.params)
    function = of_other_form(value_at, lambda params: params)
    extra = {"value": value, "grad": grads, "value_fn": function, "obj_fn": function}
    updates, opt_state = call_update(program.update, grads, state.opt_state, state.params, extra)
    params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.params, updates)
    after = dataclasses.replace(
        state, step=state.step + 1, params=params, model_state=model_state, opt_state=opt_state, world=carried
    )
    after = program.layout(state.params).held(after.averaged())
    if program.skip_empty:
        after = jax.tree.map(lambda new, old: jnp.where(sums["weight"] > 0, new, old), after, state)
    seen = {name: number * sums["weight"] for name, number in program.gradient.observe(grads, updates).items()}
    return after, {**sums, **seen, "bad_step": jnp.where(jnp.isfinite(sums["loss"]), NEVER, state.step)}


def mixed(program: Program, batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
    """The batch as the program changes it before a step whose key this is; each device changes its share."""
    augment = program.augment
    if augment is None:
        return batch

    def share(batch: dict[str, Any], key: jax.Array) -> dict[str, Any]:
        return augment(jax.random.fold_in(_own(program, key), _AUGMENT), batch)

    changed: dict[str, Any] = program.spread(share, (DIVIDED, WHOLE), DIVIDED)(batch, key)
    return changed


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
