"""Adam, with its bias corrections; AdamW, its form with decoupled weight decay; Yogi, whose mean square changes slowly."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.optim.base import Optimizer, zeros_like
from danlu.optim.decay import Mask, checked_mask, stored_mask
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step
from danlu.optim.schedules.base import real

__all__ = ["AdamState", "AdamWState", "adam", "adamw", "yogi"]


class AdamState(NamedTuple):
    """The state of :func:`adam`: α, β₁, β₂, ε, finished updates t, and each parameter's moments m and v."""

    learning_rate: Any
    beta1: Any
    beta2: Any
    epsilon: Any
    step: jax.Array
    mean: Any
    variance: Any

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("learning_rate", "beta1", "beta2", "epsilon")


class AdamWState(NamedTuple):
    """The state of :func:`adamw`: Adam's, the decay λ, and 0 or 1 for each parameter (or None: decay all)."""

    adam: AdamState
    weight_decay: Any
    step: jax.Array
    mask: Any

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("weight_decay",)


def _init(params: Any, *, learning_rate: Any, beta1: Any, beta2: Any, epsilon: Any) -> AdamState:
    # Two trees of zeros, not one twice: a step that donates its state must not donate a buffer twice.
    mean, variance = zeros_like(params), zeros_like(params)
    return AdamState(stored(learning_rate), stored(beta1), stored(beta2), stored(epsilon), zero_step(), mean, variance)


def _correction(beta: jax.Array, t: jax.Array) -> jax.Array:
    """``1 - βᵗ``, without the cancellation that costs float32 its last digits when β is near 1."""
    return -jnp.expm1(real(t) * jnp.log1p(-(1 - beta)))


def _moments(grads: Any, state: AdamState) -> AdamState:
    """The state with the moments and the count of the update that takes ``grads``."""
    beta1, beta2 = current(state.beta1, state.step), current(state.beta2, state.step)
    return state._replace(
        step=next_step(state.step),
        mean=jax.tree.map(lambda g, m: like(beta1 * m + (1 - beta1) * g, m), grads, state.mean),
        variance=jax.tree.map(lambda g, v: like(beta2 * v + (1 - beta2) * jnp.square(g), v), grads, state.variance),
    )


def _scalars(state: AdamState, new: AdamState) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``(α, 1 / √(1-β₂ᵗ), ε)`` with α / (1-β₁ᵗ) for α: the corrections once an update, not once an element."""
    rate, beta1, beta2, epsilon = (current(getattr(state, name), state.step) for name in state.hyperparameters)
    return rate / _correction(beta1, new.step), jax.lax.rsqrt(_correction(beta2, new.step)), epsilon


def _adam_update(grads: Any, state: AdamState, params: Any = None) -> tuple[Any, AdamState]:
    return _moved(state, _moments(grads, state))


def _yogi_update(grads: Any, state: AdamState, params: Any = None) -> tuple[Any, AdamState]:
    beta2 = current(state.beta2, state.step)

    def variance(g: jax.Array, v: jax.Array) -> jax.Array:
        square = jnp.square(g)
        return like(v - (1 - beta2) * jnp.sign(v - square) * square, v)

    moments = _moments(grads, state)
    return _moved(state, moments._replace(variance=jax.tree.map(variance, grads, state.variance)))


def _moved(state: AdamState, new: AdamState) -> tuple[Any, AdamState]:
    """The updates by the moments of ``new``."""
    rate, scale, epsilon = _scalars(state, new)
    updates = jax.tree.map(lambda m, v: like(-rate * m / (jnp.sqrt(v) * scale + epsilon), m), new.mean, new.variance)
    return updates, new


def _adamw_update(grads: Any, state: AdamWState, params: Any = None) -> tuple[Any, AdamWState]:
    updates, adam = _adam_update(grads, state.adam)
    rate = current(state.adam.learning_rate, state.step) * current(state.weight_decay, state.step)
    if state.mask is None:
        updates = jax.tree.map(lambda u, p: like(u - rate * p, u), updates, params)
    else:
        updates = jax.tree.map(lambda u, p, on: like(u - rate * on * p, u), updates, params, state.mask)
    return updates, state._replace(adam=adam, step=next_step(state.step))


def adam(learning_rate: Any = 1e-3, *, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8) -> Optimizer:
    """Adam: a step size per coordinate from running means of the gradient and of its square.

    ``m ← β₁·m + (1-β₁)·g``, ``v ← β₂·v + (1-β₂)·g²``, ``θ ← θ - α·m̂ / (√v̂ + ε)`` with ``m̂ = m/(1-β₁ᵗ)`` and
    ``v̂ = v/(1-β₂ᵗ)``. Without these *bias corrections* (left out in some tutorials) the moments, which start at 0, are
    too small at first, v the more so, and the first steps about ``(1-β₁)/√(1-β₂)`` = 3.2 times too long.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        beta1: β₁, the share of the mean kept, in [0, 1).
        beta2: β₂, the share of the mean square kept, in [0, 1).
        epsilon: ε > 0, outside the root.

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Kingma & Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = adam(0.5)
        >>> updates, state = optimizer.update(jnp.array([4.0, -0.25]), optimizer.init(jnp.zeros(2)))
        >>> updates.round(4).tolist()
        [-0.5, 0.5]
    """
    return Optimizer(partial(_init, **_checked("adam", learning_rate, beta1, beta2, epsilon)), _adam_update)


def yogi(learning_rate: Any = 1e-2, *, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-3) -> Optimizer:
    """Yogi: Adam whose running mean square changes by no more than the squared gradient's size, so that it forgets slowly.

    ``v ← v - (1-β₂)·sign(v - g²)·g²``; all else as :func:`adam`, bias corrections included. Where gradients become small, Adam's v falls by
    its own size and its steps grow fast; Yogi's falls by that of g².

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        beta1: β₁, the share of the mean kept, in [0, 1).
        beta2: β₂, in [0, 1).
        epsilon: ε > 0, outside the root.

    Returns:
        An optimizer; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Zaheer et al., "Adaptive methods for nonconvex optimization" (2018), algorithm 2; the bias corrections are optax's.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = yogi(0.5)
        >>> updates, state = optimizer.update(jnp.array([4.0, -0.25]), optimizer.init(jnp.zeros(2)))
        >>> updates.round(2).tolist()
        [-0.5, 0.5]
    """
    return Optimizer(partial(_init, **_checked("yogi", learning_rate, beta1, beta2, epsilon)), _yogi_update)


def adamw(
    learning_rate: Any = 1e-3,
    *,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
    weight_decay: Any = 0.01,
    mask: Mask = "all",
) -> Optimizer:
    """Adam with decoupled weight decay: ``θ ← θ - α·(m̂ / (√v̂ + ε) + λ·θ)``; see :func:`adam` for m̂ and v̂.

    The decay does not enter the moments, so it is not divided by √v̂ as an L2 penalty's gradient would be.

    Args:
        learning_rate: α per update, >= 0: a number, an array, a schedule or a function of the step count.
        beta1: β₁, in [0, 1).
        beta2: β₂, in [0, 1).
        epsilon: ε > 0, outside the root.
        weight_decay: λ >= 0, per update and unit of learning rate (as in PyTorch, Keras and optax; the paper's λ
            stands outside α).
        mask: which parameters decay: "all", "weights" (arrays of two or more axes: no biases, no normalisation scales),
            a tree of booleans like the parameters, or a function from parameters to such a tree.

    Returns:
        An optimizer whose ``update`` needs ``params``; its updates have the gradients' tree, shapes and dtypes.

    Raises:
        ConfigError: a value out of range.

    Reference:
        Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = adamw(0.5, weight_decay=0.5)
        >>> params = jnp.array([4.0])
        >>> updates, state = optimizer.update(jnp.zeros(1), optimizer.init(params), params)
        >>> updates.tolist()
        [-1.0]
    """
    init = partial(
        _init_adamw,
        adam=partial(_init, **_checked("adamw", learning_rate, beta1, beta2, epsilon)),
        weight_decay=checked("adamw", "weight_decay", weight_decay, minimum=0),
        mask=checked_mask("adamw", mask),
    )
    return Optimizer(init, _adamw_update)


def _init_adamw(params: Any, *, adam: Any, weight_decay: Any, mask: Mask) -> AdamWState:
    return AdamWState(adam(params), stored(weight_decay), zero_step(), stored_mask(mask, params))


def _checked(owner: str, learning_rate: Any, beta1: Any, beta2: Any, epsilon: Any) -> dict[str, Any]:
    return {
        "learning_rate": checked(owner, "learning_rate", learning_rate, minimum=0),
        "beta1": checked(owner, "beta1", beta1, minimum=0, below=1),
        "beta2": checked(owner, "beta2", beta2, minimum=0, below=1),
        "epsilon": checked(owner, "epsilon", epsilon, above=0),
    }
