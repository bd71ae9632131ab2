"""A critic's targets for one step: the TD target, whole distributions of returns, and the target network.

No function here stops a gradient: the caller puts ``jax.lax.stop_gradient`` around a target."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError, DataError

__all__ = ["polyak", "project_categorical", "quantile_huber", "quantile_midpoints", "td_target"]

Scalar = float | jax.Array


def td_target(reward: jax.Array, terminated: jax.Array, next_value: jax.Array, discount: Scalar) -> jax.Array:
    """``r + γ·V(s')``, and ``r`` alone where the episode terminated; a truncated one goes on in ``V(s')``.

    Args:
        reward, terminated, next_value: of one shape; ``next_value`` is not read where terminated.
        discount: γ, in [0, 1].

    Returns:
        The target, of their shape.

    Raises:
        DataError: the shapes differ.

    Reference:
        Sutton & Barto, "Reinforcement Learning" (2018), eq. 6.2; Mnih et al., "Human-level control" (2015), with ``next_value = max_a
        Q(s', a)``.

    Example:
        >>> td_target(jnp.array([1.0, 1.0]), jnp.array([False, True]), jnp.array([4.0, 4.0]), 0.5).tolist()
        [3.0, 1.0]
    """
    shapes = [jnp.shape(x) for x in (reward, terminated, next_value)]
    if len(set(shapes)) > 1:
        raise DataError(f"reward, terminated and next_value have the shapes {shapes}; expected one shape")
    return reward + discount * jnp.where(terminated, 0.0, next_value)


def project_categorical(
    support: jax.Array, probabilities: jax.Array, reward: jax.Array, discount: jax.Array
) -> jax.Array:
    """The distribution of ``r + γ·Z`` on the atoms of Z (C51).

    The mass of each atom ``z_j`` moves to ``min(max(r + γ·z_j, z_1), z_N)`` and is shared between the two atoms there, the nearer one
    getting more: ``p_i = Σ_j max(0, 1 − |moved_j − z_i| / Δz)·p_j``. Total mass is kept; the mean too, where no atom leaves the support.

    Args:
        support: z, ``(atoms,)``, growing by equal steps Δz; at least 2.
        probabilities: p of Z in the next state, ``(…, atoms)``.
        reward: r, ``(…)``.
        discount: γ, ``(…)``: 0 where the episode terminated; γ^n after n steps.

    Returns:
        p of the target, ``(…, atoms)``.

    Raises:
        DataError: the shapes do not go together.

    Reference:
        Bellemare et al., "A distributional perspective on reinforcement learning" (2017), eq. 7 and algorithm 1.

    Example:
        >>> support, certain = jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 0.0, 1.0])
        >>> project_categorical(support, certain, jnp.array(0.25), jnp.array(0.5)).tolist()
        [0.0, 0.75, 0.25]
        >>> project_categorical(support, certain, jnp.array(9.0), jnp.array(0.0)).tolist()
        [0.0, 0.0, 1.0]
    """
    shape = jnp.shape(reward)
    if support.ndim != 1 or support.size < 2 or probabilities.shape != (*shape, support.size):
        raise DataError(
            f"the support has the shape {support.shape}, probabilities {probabilities.shape} and reward {shape}; "
            "expected (atoms,), (…, atoms) and (…), with at least 2 atoms"
        )
    if jnp.shape(discount) != shape:
        raise DataError(f"discount has the shape {jnp.shape(discount)} and reward {shape}; expected one shape")
    along = (1,) * len(shape)
    step = support[1] - support[0]
    atoms = support.reshape((*along, -1))
    moved = jnp.clip(reward[..., None] + discount[..., None] * atoms, support[0], support[-1])
    distance = jnp.abs(moved[..., None, :] - atoms[..., None]) / step  # (…, to, from)
    return (jnp.maximum(1.0 - distance, 0.0) * probabilities[..., None, :]).sum(-1)


def quantile_midpoints(count: int) -> jax.Array:
    """The levels whose quantiles stand for a distribution best: ``τ̂_i = (2i + 1) / 2N``, ``i`` from 0.

    Args:
        count: N, >= 1.

    Returns:
        τ̂, ``(count,)`` float32.

    Raises:
        ConfigError: less than 1.

    Reference:
        Dabney et al., "Distributional reinforcement learning with quantile regression" (2018), lemma 2.

    Example:
        >>> quantile_midpoints(2).tolist()
        [0.25, 0.75]
    """
    if count < 1:
        raise ConfigError(f"the number of quantiles is {count}; expected at least 1")
    return (jnp.arange(count, dtype=jnp.float32) + 0.5) / count


def quantile_huber(predicted: jax.Array, target: jax.Array, taus: jax.Array, *, kappa: float = 1.0) -> jax.Array:
    """The quantile Huber loss between predicted quantiles and samples of the target (QR-DQN).

    ``Σ_i mean_j |τ_i − 1[u_ij < 0]|·L(u_ij)/κ`` with ``u_ij = target_j − predicted_i`` and Huber's ``L(u)``: ``u²/2`` up to ``|u| = κ``,
    then ``κ·(|u| − κ/2)``.

    Args:
        predicted: the quantiles at the levels ``taus``, ``(…, N)``.
        target: ``(…, M)``, such as ``r + γ·`` the quantiles of the best next action.
        taus: τ, ``(N,)``, in (0, 1); see :func:`quantile_midpoints`.
        kappa: κ > 0, where the square turns into a line.

    Returns:
        The loss, ``(…,)``.

    Raises:
        ConfigError: κ is not positive.
        DataError: the shapes do not go together.

    Reference:
        Dabney et al. (2018), eq. 9 and 10. Divided by κ as in "Implicit quantile networks" (Dabney et al. 2018b), so that for small κ it
        is the quantile loss; for κ = 1 there is no difference.

    Example:
        >>> quantile_huber(jnp.array([0.0, 3.0]), jnp.array([1.0, 1.0]), jnp.array([0.25, 0.75])).tolist()
        0.5
    """
    if not kappa > 0:
        raise ConfigError(f"kappa is {kappa!r}; expected a number > 0")
    if predicted.shape[:-1] != target.shape[:-1] or taus.shape != predicted.shape[-1:]:
        raise DataError(
            f"predicted has the shape {predicted.shape}, target {target.shape} and taus {taus.shape}; "
            "expected (…, N), (…, M) and (N,)"
        )
    u = target[..., None, :] - predicted[..., None]  # (…, N, M)
    size = jnp.abs(u)
    huber = jnp.where(size <= kappa, u * u / (2 * kappa), size - kappa / 2)
    weight = jnp.abs(taus.reshape((1,) * (u.ndim - 2) + (-1, 1)) - (u < 0).astype(u.dtype))
    return (weight * huber).mean(-1).sum(-1)


def polyak(target: Any, online: Any, rate: Scalar) -> Any:
    """The target network moved part of the way to the online one: ``(1 − τ)·target + τ·online``.

    Args:
        target, online: trees of arrays of one structure; of leaves that are not floating-point (counts) the online one is taken.
        rate: τ, in [0, 1]; 1 is a hard copy, bit by bit, and 0 leaves the target as it is.

    Returns:
        The new target, in the target's dtypes.

    Reference:
        Lillicrap et al., "Continuous control with deep reinforcement learning" (2016), section 3.

    Example:
        >>> polyak({"w": jnp.array([0.0, 4.0])}, {"w": jnp.array([8.0, 8.0])}, 0.25)["w"].tolist()
        [2.0, 5.0]
    """

    def follow(old: Any, new: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(old), jnp.floating):
            return new
        return ((1 - rate) * old + rate * new).astype(old.dtype)

    return jax.tree.map(follow, target, online)
