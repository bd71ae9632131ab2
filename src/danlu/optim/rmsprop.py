"""RMSprop: a step size per coordinate, from a running mean of its squared gradients."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.optim.base import Optimizer, zeros_like
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step

__all__ = ["RMSpropState", "rmsprop"]


class RMSpropState(NamedTuple):
    """The state of :func:`rmsprop`: α, ρ, ε, finished updates, and the mean square s of each parameter's gradient."""

    learning_rate: Any
    decay: Any
    epsilon: Any
    step: jax.Array
    mean_square: Any

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("learning_rate", "decay", "epsilon")


def _init(params: Any, *, learning_rate: Any, decay: Any, epsilon: Any) -> RMSpropState:
    mean_square = zeros_like(params)
    return RMSpropState(stored(learning_rate), stored(decay), stored(epsilon), zero_step(), mean_square)


def _update(grads: Any, state: RMSpropState, params: Any = None) -> tuple[Any, RMSpropState]:
    rate, rho, epsilon = (current(h, state.step) for h in (state.learning_rate, state.decay, state.epsilon))
    mean_square = jax.tree.map(lambda g, s: like(rho * s + (1 - rho) * jnp.square(g), s), grads, state.mean_square)
    updates = jax.tree.map(lambda g, s: like(-rate * g / (jnp.sqrt(s) + epsilon), s), grads, mean_square)
    return updates, state._replace(step=next_step(state.step), mean_square=mean_square)


def rmsprop(learning_rate: Any = 1e-3, *, decay: Any = 0.9, epsilon: Any = 1e-8) -> Optimizer:
    """RMSprop: ``s ← ρ·s + (1-ρ)·g²``, ``θ ← θ - α·g / (√s + ε)``.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        decay: ρ, the share of the mean square kept, in [0, 1).
        epsilon: ε > 0, outside the root (as in PyTorch; Keras has it inside).

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Tieleman & Hinton, "Neural networks for machine learning", lecture 6e (2012): no momentum, not centred.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = rmsprop(0.5, decay=0.75)
        >>> updates, state = optimizer.update(jnp.array([4.0, -0.25]), optimizer.init(jnp.zeros(2)))
        >>> updates.round(4).tolist()
        [-1.0, 1.0]
    """
    init = partial(
        _init,
        learning_rate=checked("rmsprop", "learning_rate", learning_rate, minimum=0),
        decay=checked("rmsprop", "decay", decay, minimum=0, below=1),
        epsilon=checked("rmsprop", "epsilon", epsilon, above=0),
    )
    return Optimizer(init, _update)
