"""Bayesian linear regression of the rewards of each arm, as a layer: the memory of linear bandits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._shapes import array_shape
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["RidgeArms"]


class RidgeArms(Layer):
    """The mean reward of each arm by ridge regression on what was seen of it, each arm for itself (disjoint).

    With features ``φ = (x, 1)``, and the rows in which arm ``a`` was pulled::

        A_a = λI + Σ φφᵀ        b_a = Σ r·φ        θ_a = A_a⁻¹·b_a        y_a = θ_a·φ

    It is also the posterior of Bayesian linear regression, ``θ_a ~ N(θ_a, v²·A_a⁻¹)`` for noise of variance ``v²`` and the prior
    ``N(0, v²/λ)``. ``apply`` never changes what is known; :meth:`learn` does.

    Args:
        arms: how many there are.
        penalty: λ.

    Params: ``{}``. State: ``{"precision": A, (arms, d + 1, d + 1), "moment": b, (arms, d + 1)}``.

    Reference: Li, Chu, Langford & Schapire (2010), "A contextual-bandit approach to personalized news article recommendation", WWW,
    algorithm 1; Agrawal & Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", ICML.

    Example:
        >>> layer = RidgeArms(2, penalty=1e-3)
        >>> _, state, _ = layer.init(jax.random.key(0), (1,))
        >>> x, arm = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 0, 0])
        >>> state = layer.learn(state, x, arm, jnp.array([1.0, 3.0, 5.0]))
        >>> layer.apply({}, state, jnp.array([[3.0]]))[0].round(1).tolist()
        [[7.0, 0.0]]
    """

    arms: int = setting(minimum=1, integer=True)
    penalty: float = setting(default=1.0, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        size = array_shape("RidgeArms", in_shape)[-1] + 1
        precision = jnp.tile(self.penalty * jnp.eye(size), (self.arms, 1, 1))
        return {}, {"precision": precision, "moment": jnp.zeros((self.arms, size))}, (self.arms,)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        theta = jnp.linalg.solve(state["precision"], state["moment"][..., None])[..., 0]
        return _features(x) @ theta.T.astype(x.dtype), state

    def learn(self, state: State, x: jax.Array, arm: jax.Array, reward: jax.Array, weight: Any = 1.0) -> State:
        """The state after some rows: ``x (rows, d)``, the arm of each and its reward, ``(rows,)``."""
        phi = _features(x)
        pulled = jax.nn.one_hot(arm, self.arms, dtype=phi.dtype) * jnp.broadcast_to(weight, arm.shape)[:, None]
        return {
            "precision": state["precision"] + jnp.einsum("ra,ri,rj->aij", pulled, phi, phi),  # (arms, d + 1, d + 1)
            "moment": state["moment"] + jnp.einsum("ra,r,ri->ai", pulled, reward, phi),  # (arms, d + 1)
        }

    def width(self, state: State, x: jax.Array) -> jax.Array:
        """``√(φᵀ·A_a⁻¹·φ)``: the standard error of each arm's mean, for noise of variance 1, ``(rows, arms)``."""
        inverse = jnp.linalg.inv(state["precision"])
        phi = _features(x)
        return jnp.sqrt(jnp.maximum(jnp.einsum("ri,aij,rj->ra", phi, inverse, phi), 0.0))  # (rows, arms)

    def draw(self, state: State, x: jax.Array, key: jax.Array, scale: float) -> jax.Array:
        """The means of each arm's reward by a θ drawn from the posterior with ``v = scale``, one for each row, ``(rows, arms)``."""
        factor = jnp.linalg.cholesky(state["precision"])  # A = L·Lᵀ, so that L⁻ᵀ·z has the covariance A⁻¹
        noise = jax.random.normal(key, (x.shape[0], *state["moment"].shape))  # (rows, arms, d + 1)
        moved = jax.vmap(lambda z: jax.scipy.linalg.solve_triangular(factor, z[..., None], lower=True, trans=1)[..., 0])
        mean, _ = self.apply({}, state, x)
        return mean + scale * jnp.einsum("rai,ri->ra", moved(noise), _features(x))  # (rows, arms)


def _features(x: jax.Array) -> jax.Array:
    """``(x, 1)``."""
    return jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1), x.dtype)], axis=-1)
