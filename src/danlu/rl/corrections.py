"""Learning from another policy's actions: returns over a rollout, corrected by how likely this policy is to act the same.

The rollout and its two kinds of end are those of :mod:`danlu.rl.returns`; ``ratio[t]`` is ``π(a_t|s_t) / μ(a_t|s_t)``, of the policy
that learns and the one that acted. Nothing here stops a gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from danlu.rl.returns import Scalar, accumulate, check_shapes

__all__ = ["retrace", "vtrace"]


def _shift(x: jax.Array, last: jax.Array) -> jax.Array:
    """``x_{t+1}`` at each ``t``, and ``last`` at the end."""
    return jnp.concatenate([x[1:], last[None]])


def vtrace(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    ratio: jax.Array,
    *,
    discount: Scalar,
    lambda_: Scalar = 1.0,
    rho_clip: Scalar = 1.0,
    c_clip: Scalar = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """V-trace: value targets and advantages from steps that an older policy μ made.

    With ``ρ_t = min(ρ̄, π/μ)``, ``c_t = λ·min(c̄, π/μ)`` and ``δ_t = ρ_t·(r_t + γ·V(s_{t+1}) − V(s_t))``:
    ``v_t = V(s_t) + δ_t + γ·c_t·(v_{t+1} − V(s_{t+1}))``, advantage ``ρ_t·(r_t + γ·v_{t+1} − V(s_t))``. At an end and in the last row
    ``v_{t+1} = V(s_{t+1})``, which is 0 where terminated. On-policy (all ratios 1) ``v`` is :func:`~danlu.rl.returns.lambda_returns`.

    Args:
        reward: r, ``(time, …)``.
        value, next_value: V(s) and V(s').
        terminated, truncated: the ends.
        ratio: π(a|s) / μ(a|s), >= 0.
        discount: γ, in [0, 1].
        lambda_: λ, in [0, 1].
        rho_clip: ρ̄ > 0: between which policies the value's fixed point lies.
        c_clip: c̄ > 0: how far corrections travel; at most ρ̄.

    Returns:
        v and the advantages, both ``(time, …)``.

    Raises:
        DataError: the shapes differ.

    Reference:
        Espeholt et al., "IMPALA" (2018), eq. 1, remarks 1 and 2, section 4.2.

    Example:
        >>> reward, never, ratio = jnp.array([1.0, 2.0]), jnp.zeros(2, bool), jnp.array([0.5, 4.0])
        >>> value, rest = jnp.array([2.0, 4.0]), jnp.array([4.0, 8.0])
        >>> [x.tolist() for x in vtrace(reward, value, rest, never, never, ratio, discount=0.5)]
        [[3.0, 6.0], [1.0, 2.0]]
    """
    check_shapes(
        reward=reward, value=value, next_value=next_value, terminated=terminated, truncated=truncated, ratio=ratio
    )
    next_value = jnp.where(terminated, 0.0, next_value)
    going = jnp.where(jnp.logical_or(terminated, truncated), 0.0, 1.0)
    rho, c = jnp.minimum(rho_clip, ratio), lambda_ * jnp.minimum(c_clip, ratio)
    error = rho * (reward + discount * next_value - value)
    zero = jnp.zeros_like(error[0])
    correction = accumulate(error, discount * c * going, zero)
    target = next_value + going * _shift(correction, zero)
    return value + correction, rho * (reward + discount * target - value)


def retrace(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    ratio: jax.Array,
    *,
    discount: Scalar,
    lambda_: Scalar = 1.0,
) -> jax.Array:
    """Retrace(λ): targets of action values from steps that another policy μ made.

    ``G_t = r_t + γ·(E_π Q(s_{t+1}, ·) + c_{t+1}·(G_{t+1} − Q(s_{t+1}, a_{t+1})))`` with ``c = λ·min(1, π/μ)``; the correction is 0 at an
    end and in the last row, and the expectation too where terminated.

    Args:
        reward: r, ``(time, …)``.
        value: Q(s, a) of the action taken.
        next_value: E_π Q(s', ·), the mean over the policy's actions.
        terminated, truncated: the ends.
        ratio: π(a|s) / μ(a|s), >= 0.
        discount: γ, in [0, 1].
        lambda_: λ, in [0, 1].

    Returns:
        G, ``(time, …)``.

    Raises:
        DataError: the shapes differ.

    Reference:
        Munos et al., "Safe and efficient off-policy reinforcement learning" (2016), section 3.

    Example:
        >>> reward, never, ratio = jnp.array([1.0, 2.0]), jnp.zeros(2, bool), jnp.array([4.0, 0.5])
        >>> value, rest = jnp.array([2.0, 4.0]), jnp.array([4.0, 8.0])
        >>> retrace(reward, value, rest, never, never, ratio, discount=0.5).tolist()
        [3.5, 6.0]
    """
    check_shapes(
        reward=reward, value=value, next_value=next_value, terminated=terminated, truncated=truncated, ratio=ratio
    )
    going = jnp.where(jnp.logical_or(terminated, truncated), 0.0, 1.0)
    error = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    zero = jnp.zeros_like(error[0])
    trace = _shift(lambda_ * jnp.minimum(1.0, ratio), zero)
    return value + accumulate(error, discount * trace * going, zero)
