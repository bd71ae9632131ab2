"""The running statistics (of batch norm) that belong to averaged weights: those of the training rows under these weights.

The mean of the statistics of several networks is not the statistics of the network with their mean weights. So they are measured: the
training rows pass through in training mode, with the weights left as they are.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.loop import Steps
from danlu.engine.state import TrainState

__all__ = ["LEAST_STEPS", "measured_statistics", "moves"]

LEAST_STEPS = 64
"""Batches that pass through at least, those of few rows again: of a running mean that keeps 0.9 a step, 0.1 % is then old."""


def moves(before: Any, now: Any) -> bool:
    """Whether the model's state holds anything that training has changed."""
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True)
    return any(jnp.issubdtype(b.dtype, jnp.inexact) and np.any(np.asarray(a) != np.asarray(b)) for a, b in pairs)


@functools.partial(jax.jit, static_argnames=("program",))
def measured_statistics(
    program: Steps, state: TrainState, chunk: Any, order: jax.Array, steps: Any, number: Any
) -> Any:
    """The model's state after ``number`` steps over the batches of ``order``, begun anew after ``steps``, with the average's weights.

    It is the program's own step, of which only the model's state is kept; the gradient and the optimizer are then no part of what
    is compiled.
    """
    average: Any = state.average
    fixed = dataclasses.replace(state, params=average.params, average=None)

    def body(index: jax.Array, held: Any) -> Any:
        before = dataclasses.replace(fixed, model_state=held, step=state.step + index)
        return program.at(before, chunk, order, index % steps)[0].model_state

    return jax.lax.fori_loop(0, number, body, average.model_state)
