"""An update as it is made: the rows that it gets, mixed where they are, and their gradient."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax

from danlu.engine.callback import Batch
from danlu.engine.initial import RUN_ONCE
from danlu.engine.state import TrainState
from danlu.engine.step import batch_at, gradient, mixed

__all__ = ["seen"]


def seen(program: Any, state: TrainState, batch: Batch) -> tuple[dict[str, Any], Any] | None:
    """The rows ``{"x", "y", "weight"}`` of an update and the gradient on them at ``state``, which stays as it is.

    Of a population both have a leading axis of members. None of an agent, which collects its rows within the step.

    Example:
        >>> import jax.numpy as jnp
        >>> from danlu import nn, optim
        >>> from danlu.engine import Program
        >>> params = {"kernel": jnp.ones((1, 1))}
        >>> state = TrainState.start(params, optim.sgd(0.5).init(params))
        >>> chunk = {"x": jnp.arange(4.0)[:, None], "y": jnp.zeros(4), "weight": jnp.ones(4)}
        >>> program = Program.of(nn.Dense(1, use_bias=False), nn.get_loss("mse"), optim.sgd(0.5).update, batch_size=2)
        >>> rows, slope = seen(program, state, Batch(chunk, jnp.array([3, 0, 1, 2]), 0))
        >>> rows["x"].tolist(), slope["kernel"].tolist()
        ([[3.0], [0.0]], [[9.0]])
    """
    one: Any = program if program.members is None else getattr(program, "program", None)
    if not hasattr(one, "objective"):
        return None
    found: tuple[dict[str, Any], Any] = _seen(dataclasses.replace(one, devices=1), program.members, state, *batch)
    return found


@functools.partial(jax.jit, static_argnames=("program", "members"), compiler_options=RUN_ONCE)
def _seen(program: Any, members: int | None, state: TrainState, chunk: Any, order: jax.Array, number: Any) -> Any:
    def one(state: TrainState, order: jax.Array) -> tuple[dict[str, Any], Any]:
        key = jax.random.fold_in(state.key, state.step)
        rows = mixed(program, batch_at(chunk, order, number, program.batch_size), key)
        return rows, gradient(program, state, rows, key)[0]

    return one(state, order) if members is None else jax.vmap(one)(state, order)
