"""The state before the first step."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting, validate
from danlu.engine.average import Average, decay_for
from danlu.engine.options import FitOptions
from danlu.engine.sources import Source
from danlu.engine.state import TrainState, owned
from danlu.engine.step import Program
from danlu.errors import ConfigError, TrainingError, shorten, unknown_name
from danlu.memory import available_memory, in_words
from danlu.nn.layer import Layer

__all__ = ["RUN_ONCE", "initial_state", "initial_weights"]


class _Frozen:
    """A tree of shapes as a hashable static argument."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self._key = repr(tree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


RUN_ONCE = {"xla_backend_optimization_level": 0}  # half the time to compile, the same numbers


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=RUN_ONCE)
def _init(model: Layer, shape: _Frozen, key: jax.Array) -> tuple[Any, Any]:
    return model.init(key, shape.tree)[:2]


def initial_weights(model: Layer, in_shape: Any, key: jax.Array) -> tuple[Any, Any]:
    """``(params, state)`` as ``model.init`` draws them, from one compiled program instead of one per operation.

    Raises:
        TrainingError: they, their gradients and the optimizer's averages are more than the free memory, where the system would end
            the process without a word.
    """
    shape = _Frozen(in_shape)
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(_init.eval_shape(model, shape, key)[0])]
    needed, free = _COPIES * sum(sizes), _free()
    if needed > free:
        raise TrainingError(
            f"the network's weights take {in_words(sum(sizes))}, and training it about {in_words(needed)}; {in_words(free)} are free",
            hint="make it smaller (model.width, model.depth, model.members), or take a machine with more memory",
        )
    drawn: tuple[Any, Any] = _init(model, shape, key)
    return drawn


_COPIES = 5  # the weights, their gradients, two averages of the optimizer's, the best weights so far


def _free() -> int:
    """Bytes that the default device has left; a CPU's are those of the machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return available_memory()


@jax.jit
def _fold(key: jax.Array, number: Any) -> jax.Array:
    return jax.random.fold_in(key, number)


def initial_state(
    program: Program,
    source: Source,
    optimizer: Any,
    *,
    seed: int,
    options: FitOptions,
    initial: tuple[Any, Any] | None = None,
    loss_weights: Mapping[str, float] | None = None,
    secret: jax.Array | None = None,
) -> TrainState:
    """The state before the first step, in its own buffers (the steps donate them); ``secret`` is the key of private noise.

    Raises:
        ConfigError: a weight for a name that is not a term of the objective.
    """
    key = jax.random.key(seed)
    params, model_state = initial or initial_weights(program.model, source.in_shape, _fold(key, 0))
    if program.sharding != "replicated":  # what the optimizer has of each is then made where it is to lie
        params = program.layout(params).place(params)
    zero: Any = np.int32(0)
    given = _weights(program, loss_weights or {})
    given |= {name: value for name, value in (("l1", options.l1), ("l2", options.l2)) if value}
    weights: Any = {name: jnp.asarray(value, float) for name, value in given.items()}
    state = TrainState(
        step=zero,
        key=_fold(key, 1),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        weights=weights,
        average=_average(source, options, params, model_state),
        world=program.gradient.carried(_fold(key, 2) if secret is None else secret),
    )
    start: TrainState = owned(state)
    return start


def _average(source: Source, options: FitOptions, params: Any, model_state: Any) -> Average | None:
    """The average that the options ask for, of nothing yet."""
    if options.average == "none":
        return None
    decay = options.average_decay
    if decay is None:
        steps = source.steps_per_epoch
        decay = decay_for(None if steps is None else steps * options.epochs)
    return Average.of(options.average, params, model_state, decay=decay, start=options.first_averaged)


def _weights(program: Program, given: Mapping[str, float]) -> dict[str, float]:
    """The weight of each term of the objective: as given, else 1.

    Raises:
        ConfigError: see :func:`initial_state`.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"loss_weights is {shorten(given)}; expected a dict", hint="{term or output: weight}")
    for name, weight in given.items():
        if not program.terms:
            raise ConfigError(
                "loss_weights was given, and the loss is one value",
                hint="the loss can be a dict, one for each output, or an Objective that returns a dict of terms",
            )
        if name not in program.terms:
            raise unknown_name("term of the loss in loss_weights", name, program.terms)
        validate("loss_weights", name, weight, setting().metadata["rules"])
    return {name: float(given.get(name, 1.0)) for name in program.terms}
