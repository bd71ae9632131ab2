"""Adagrad: a step size per coordinate, from the sum of its squared gradients."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.optim.base import Optimizer
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step

__all__ = ["AdagradState", "adagrad"]


class AdagradState(NamedTuple):
    """The state of :func:`adagrad`: α, ε, finished updates, and the sum of squared gradients G of each parameter."""

    learning_rate: Any
    epsilon: Any
    step: jax.Array
    accumulator: Any

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("learning_rate", "epsilon")


def _init(params: Any, *, learning_rate: Any, initial_accumulator: Any, epsilon: Any) -> AdagradState:
    accumulator = jax.tree.map(lambda p: like(jnp.zeros_like(p) + initial_accumulator, p), params)
    return AdagradState(stored(learning_rate), stored(epsilon), zero_step(), accumulator)


def _update(grads: Any, state: AdagradState, params: Any = None) -> tuple[Any, AdagradState]:
    rate, epsilon = current(state.learning_rate, state.step), current(state.epsilon, state.step)
    total = jax.tree.map(lambda g, a: a + jnp.square(g), grads, state.accumulator)
    updates = jax.tree.map(lambda g, a: like(-rate * g / (jnp.sqrt(a) + epsilon), a), grads, total)
    return updates, state._replace(step=next_step(state.step), accumulator=total)


def adagrad(learning_rate: Any = 0.01, *, initial_accumulator: Any = 0.0, epsilon: Any = 1e-8) -> Optimizer:
    """Adagrad, diagonal form: ``G ← G + g²``, ``θ ← θ - α·g / (√G + ε)``.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        initial_accumulator: G at the start, >= 0 (0 here and in PyTorch, 0.1 in Keras and optax).
        epsilon: ε > 0, outside the root.

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (2011),
        figure 1.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = adagrad(0.5)
        >>> updates, state = optimizer.update(jnp.array([4.0, -0.25]), optimizer.init(jnp.zeros(2)))
        >>> updates.round(4).tolist()
        [-0.5, 0.5]
    """
    init = partial(
        _init,
        learning_rate=checked("adagrad", "learning_rate", learning_rate, minimum=0),
        initial_accumulator=checked("adagrad", "initial_accumulator", initial_accumulator, minimum=0),
        epsilon=checked("adagrad", "epsilon", epsilon, above=0),
    )
    return Optimizer(init, _update)
