"""Gradient descent: full-batch, mini-batch or stochastic, according to what the gradient was taken over."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax

from danlu.optim.base import Optimizer
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step

__all__ = ["SGDState", "sgd"]


class SGDState(NamedTuple):
    """The state of :func:`sgd`: the step size α and the number of finished updates."""

    learning_rate: Any
    step: jax.Array

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("learning_rate",)


def _init(params: Any, *, learning_rate: Any) -> SGDState:
    return SGDState(stored(learning_rate), zero_step())


def _update(grads: Any, state: SGDState, params: Any = None) -> tuple[Any, SGDState]:
    rate = current(state.learning_rate, state.step)
    updates = jax.tree.map(lambda g: like(-rate * g, g), grads)
    return updates, state._replace(step=next_step(state.step))


def sgd(learning_rate: Any = 0.01) -> Optimizer:
    """Gradient descent: ``θ ← θ - α·g``.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Robbins & Monro, "A stochastic approximation method" (1951).

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = sgd(0.5)
        >>> updates, state = optimizer.update(jnp.array([2.0, -1.0]), optimizer.init(jnp.zeros(2)))
        >>> updates.tolist()
        [-1.0, 0.5]
    """
    rate = checked("sgd", "learning_rate", learning_rate, minimum=0)
    return Optimizer(partial(_init, learning_rate=rate), _update)
