"""Gradient descent with momentum: the heavy ball, and Nesterov's look-ahead."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax

from danlu.optim.base import Optimizer, zeros_like
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step

__all__ = ["MomentumState", "momentum", "nesterov"]


class MomentumState(NamedTuple):
    """The state of :func:`momentum` and :func:`nesterov`: α, μ, finished updates, and each parameter's velocity v."""

    learning_rate: Any
    momentum: Any
    step: jax.Array
    velocity: Any

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("learning_rate", "momentum")


def _init(params: Any, *, learning_rate: Any, momentum: Any) -> MomentumState:
    velocity = zeros_like(params)
    return MomentumState(stored(learning_rate), stored(momentum), zero_step(), velocity)


def _momentum_update(grads: Any, state: MomentumState, params: Any = None) -> tuple[Any, MomentumState]:
    rate, mu = current(state.learning_rate, state.step), current(state.momentum, state.step)
    velocity = jax.tree.map(lambda g, v: like(mu * v + g, v), grads, state.velocity)
    updates = jax.tree.map(lambda v: like(-rate * v, v), velocity)
    return updates, state._replace(step=next_step(state.step), velocity=velocity)


def _nesterov_update(grads: Any, state: MomentumState, params: Any = None) -> tuple[Any, MomentumState]:
    rate, mu = current(state.learning_rate, state.step), current(state.momentum, state.step)
    velocity = jax.tree.map(lambda g, v: like(mu * v + g, v), grads, state.velocity)
    updates = jax.tree.map(lambda g, v: like(-rate * (g + mu * v), v), grads, velocity)
    return updates, state._replace(step=next_step(state.step), velocity=velocity)


def momentum(learning_rate: Any = 0.01, *, momentum: Any = 0.9) -> Optimizer:
    """Gradient descent with a velocity: ``v ← μ·v + g``, ``θ ← θ - α·v``.

    The learning rate multiplies the velocity (as in PyTorch and optax), not the gradient that enters it (as in Keras):
    the two differ only while the learning rate changes.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        momentum: μ, the share of the velocity kept, in [0, 1).

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = momentum(1.0, momentum=0.5)
        >>> state = optimizer.init(jnp.zeros(1))
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(jnp.ones(1), state)
        >>> updates.tolist()
        [-1.5]
    """
    return Optimizer(_initializer("momentum", learning_rate, momentum), _momentum_update)


def nesterov(learning_rate: Any = 0.01, *, momentum: Any = 0.9) -> Optimizer:
    """Nesterov's accelerated gradient: ``v ← μ·v + g``, ``θ ← θ - α·(g + μ·v)``.

    This is the usual form: the gradient is taken at the stored parameters, which are themselves the look-ahead point.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        momentum: μ, the share of the velocity kept, in [0, 1).

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), section 2, in the
        variables of Bengio et al. (2012), eq. 7.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = nesterov(1.0, momentum=0.5)
        >>> updates, state = optimizer.update(jnp.ones(1), optimizer.init(jnp.zeros(1)))
        >>> updates.tolist()
        [-1.5]
    """
    return Optimizer(_initializer("nesterov", learning_rate, momentum), _nesterov_update)


def _initializer(owner: str, learning_rate: Any, momentum: Any) -> Any:
    return partial(
        _init,
        learning_rate=checked(owner, "learning_rate", learning_rate, minimum=0),
        momentum=checked(owner, "momentum", momentum, minimum=0, below=1),
    )
