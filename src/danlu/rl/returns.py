"""Returns and advantages over a rollout.

Arrays have a leading axis of time; what follows (environments, usually) is free. At time ``t`` a rollout has ``reward[t]``, ``value[t]``
(of the state the action was chosen in) and ``next_value[t]`` (of the true next state *of the same episode*, also where the episode ended
there), and the two kinds of end apart:

- ``terminated[t]``: nothing comes after, ``next_value[t]`` counts 0, whatever it holds;
- ``truncated[t]``: time was up. ``next_value[t]`` counts in full, but what the next row holds is of another episode and does not.

The last row of a rollout is bootstrapped from its ``next_value`` as a truncated one is. Nothing here stops a gradient:
``jax.lax.stop_gradient`` is the caller's to put around what is to be a constant.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from danlu.errors import DataError

__all__ = [
    "accumulate",
    "check_shapes",
    "discounted_returns",
    "generalized_advantages",
    "lambda_returns",
    "n_step_returns",
]

Scalar = float | jax.Array


def check_shapes(**arrays: jax.Array) -> None:
    """Raise DataError unless all have one shape: (8, 4) beside (8, 4, 1) would broadcast to a wrong answer."""
    shapes = {name: jnp.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or () in shapes.values():
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"the arrays of a rollout have the shapes {shown}; expected one shape, time first")


def accumulate(increment: jax.Array, factor: jax.Array, after: jax.Array) -> jax.Array:
    """``x_t = increment_t + factor_t · x_{t+1}`` from the last row to the first, with ``x_T = after``."""
    factor, after = factor.astype(increment.dtype), after.astype(increment.dtype)

    def back(x: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x = row[0] + row[1] * x
        return x, x

    return jax.lax.scan(back, after, (increment, factor), reverse=True)[1]


def discounted_returns(
    reward: jax.Array, next_value: jax.Array, terminated: jax.Array, truncated: jax.Array, *, discount: Scalar
) -> jax.Array:
    """The discounted sum of the rewards to the end of the episode, or to the end of the rollout plus the expected rest.

    ``G_t = r_t + γ·(0 if terminated, V(s_{t+1}) if truncated or last, else G_{t+1})``.

    Args:
        reward: r, ``(time, …)``.
        next_value: V(s'), finite; counts only where an episode was truncated and in the last row.
        terminated, truncated: the ends.
        discount: γ, in [0, 1].

    Returns:
        G, ``(time, …)``.

    Raises:
        DataError: the shapes differ.

    Reference:
        Sutton & Barto, "Reinforcement Learning" (2018), eq. 3.9; where time cuts the sum, "partial-episode bootstrapping" (Pardo et al.
        2018, "Time limits in reinforcement learning").

    Example:
        >>> reward, never = jnp.array([1.0, 2.0, 4.0]), jnp.zeros(3, bool)
        >>> cut, rest = jnp.array([False, True, False]), jnp.array([0.0, 8.0, 16.0])
        >>> discounted_returns(reward, rest, never, cut, discount=0.5).tolist()
        [4.0, 6.0, 12.0]
        >>> discounted_returns(reward, rest, cut, never, discount=0.5).tolist()
        [2.0, 2.0, 12.0]
    """
    return lambda_returns(reward, next_value, terminated, truncated, discount=discount, lambda_=1.0)


def lambda_returns(
    reward: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    discount: Scalar,
    lambda_: Scalar,
) -> jax.Array:
    """TD(λ)'s target: the mean of all n-step returns with weights ``(1 − λ)·λ^(n−1)``.

    ``G_t = r_t + γ·((1 − λ)·V(s_{t+1}) + λ·G_{t+1})``; the bracket is 0 where terminated, and ``V(s_{t+1})`` where truncated and in the
    last row.

    Args:
        reward: r, ``(time, …)``.
        next_value: V(s').
        terminated, truncated: the ends.
        discount: γ, in [0, 1].
        lambda_: λ, in [0, 1]. 0 is one step and a bootstrap, 1 the discounted return.

    Returns:
        G, ``(time, …)``.

    Raises:
        DataError: the shapes differ.

    Reference:
        Sutton & Barto (2018), eq. 12.18.

    Example:
        >>> reward, rest, never = jnp.array([1.0, 2.0]), jnp.array([4.0, 8.0]), jnp.zeros(2, bool)
        >>> lambda_returns(reward, rest, never, never, discount=0.5, lambda_=0.5).tolist()
        [3.5, 6.0]
    """
    check_shapes(reward=reward, next_value=next_value, terminated=terminated, truncated=truncated)
    next_value = jnp.where(terminated, 0.0, next_value)
    mixed = jnp.where(jnp.logical_or(terminated, truncated), 0.0, lambda_)
    return accumulate(reward + discount * (1 - mixed) * next_value, discount * mixed, next_value[-1])


def generalized_advantages(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    discount: Scalar,
    lambda_: Scalar,
) -> jax.Array:
    """Generalized advantage estimates (GAE).

    ``A_t = δ_t + γλ·A_{t+1}`` with ``δ_t = r_t + γ·V(s_{t+1}) − V(s_t)``. Termination takes V(s_{t+1}) out of δ; both kinds of end cut the
    recursion. ``A + value`` is :func:`lambda_returns` where ``next_value[t]`` is ``value[t + 1]`` within episodes: the target of the value
    network.

    Args:
        reward: r, ``(time, …)``.
        value, next_value: V(s) and V(s').
        terminated, truncated: the ends.
        discount: γ, in [0, 1].
        lambda_: λ, in [0, 1]. 0 is the TD error (least variance), 1 the discounted return minus the value (no bias).

    Returns:
        A, ``(time, …)``, not normalised.

    Raises:
        DataError: the shapes differ.

    Reference:
        Schulman et al., "High-dimensional continuous control using generalized advantage estimation" (2016), eq. 16.

    Example:
        >>> zero, never = jnp.zeros(2), jnp.zeros(2, bool)
        >>> reward, value, rest = jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0]), jnp.array([4.0, 8.0])
        >>> generalized_advantages(reward, value, rest, never, never, discount=0.5, lambda_=0.5).tolist()
        [1.5, 2.0]
    """
    check_shapes(reward=reward, value=value, next_value=next_value, terminated=terminated, truncated=truncated)
    error = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    factor = jnp.where(jnp.logical_or(terminated, truncated), 0.0, discount * lambda_)
    return accumulate(error, factor, jnp.zeros_like(error[0]))


def n_step_returns(
    reward: jax.Array, terminated: jax.Array, truncated: jax.Array, *, discount: Scalar
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The discounted rewards of windows of n steps, up to the first end within.

    ``R = Σ_{k ≤ m} γ^k r_k``, where ``m`` is the first step with an end, or ``n − 1``. The target is ``R + bootstrap · V(s'_m)``: the
    value is that of the next observation of step ``m``.

    Args:
        reward, terminated, truncated: ``(…, n)``, consecutive steps of one environment.
        discount: γ, in [0, 1].

    Returns:
        R ``(…,)``; m ``(…,)`` int32; bootstrap ``(…,)``: 0 where step m terminated, ``γ^(m + 1)`` otherwise.

    Raises:
        DataError: the shapes differ.

    Reference:
        Sutton & Barto (2018), eq. 7.1; Hessel et al., "Rainbow" (2018), "Multi-step learning".

    Example:
        >>> reward, end, never = jnp.array([1.0, 2.0, 4.0]), jnp.array([False, True, False]), jnp.zeros(3, bool)
        >>> [x.tolist() for x in n_step_returns(reward, never, never, discount=0.5)]
        [3.0, 2, 0.125]
        >>> [x.tolist() for x in n_step_returns(reward, end, never, discount=0.5)]
        [2.0, 1, 0.0]
        >>> [x.tolist() for x in n_step_returns(reward, never, end, discount=0.5)]
        [2.0, 1, 0.25]
    """
    check_shapes(reward=reward, terminated=terminated, truncated=truncated)
    steps = jnp.arange(reward.shape[-1])
    ended = jnp.logical_or(terminated, truncated).astype(jnp.int32)
    used = jnp.cumsum(ended, axis=-1) - ended == 0  # no end before it
    powers = jnp.power(jnp.asarray(discount, reward.dtype), steps).reshape((1,) * (reward.ndim - 1) + steps.shape)
    total = jnp.where(used, powers * reward, 0.0).sum(-1)
    last = used.sum(-1) - 1
    over = jnp.logical_and(used, terminated).any(-1)
    return total, last, jnp.where(over, 0.0, jnp.power(jnp.asarray(discount, reward.dtype), last + 1))
