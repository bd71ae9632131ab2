"""Bayesian linear regression of the rewards of each arm, as a layer: the memory of linear bandits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._shapes import array_shape
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["PlacedArms", "RidgeArms"]

_LEAST, _MOST = 0.01, 10.0  # of how much a place is looked at


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


class PlacedArms(Layer):
    """The same of items that are shown in places: what an item brings is ``v_j·θ_a·φ``, as place ``j`` is looked at by a share ``v_j``.

    With what was seen of each item at each place, ``A_ja`` and ``b_ja``, the two factors are least squares in turn, in closed form::

        A_a = λI + Σ_j v_j²·A_ja        b_a = Σ_j v_j·b_ja        θ_a = A_a⁻¹·b_a
        v_j = (λ + Σ_a θ_a·b_ja)/(λ + Σ_a θ_aᵀ·A_ja·θ_a)        v_1 = 1

    so that an item is not taken for a bad one as it stood where few look. One place is :class:`RidgeArms`.

    Args:
        arms: how many items there are.
        places: of a page.
        penalty: λ.
        learns: whether ``v`` is learnt; else it is 1.

    Params: ``{}``. State: ``{"precision": A, (places, arms, d + 1, d + 1), "moment": b, (places, arms, d + 1), "looked": v, (places,)}``.

    Reference: Lagrée, Vernade & Cappé (2016), "Multiple-play bandits in the position-based model", NeurIPS; Komiyama, Honda & Takeda
    (2017), "Position-based multiple-play bandit problem with unknown position bias", NeurIPS; for rows that were not looked at
    (``weight``) Zong, Ni, Sung, Ke, Wen & Kveton (2016), "Cascading bandits for large-scale recommendation problems", UAI.

    Example:
        >>> import numpy as np
        >>> layer = PlacedArms(2, 2, penalty=1e-3)
        >>> _, state, _ = layer.init(jax.random.key(0), (1,))
        >>> x, pages = jnp.zeros((4, 1)), jnp.array([[0, 1], [1, 0], [0, 1], [1, 0]])
        >>> for _ in range(20):
        ...     state = layer.learn(state, x, pages, jnp.tile(jnp.array([0.8, 0.4]), (4, 1)))
        >>> np.asarray(state["looked"]).round(2).tolist(), [f"{each:.2f}" for each in layer.apply({}, state, x[:1])[0][0]]
        ([1.0, 0.5], ['0.80', '0.80'])
    """

    arms: int = setting(minimum=1, integer=True)
    places: int = setting(minimum=1, integer=True)
    penalty: float = setting(default=1.0, above=0)
    learns: bool = True

    @property
    def ridge(self) -> RidgeArms:
        """The regression of items."""
        return RidgeArms(self.arms, self.penalty)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        size = array_shape("PlacedArms", in_shape)[-1] + 1
        precision, moment = jnp.zeros((self.places, self.arms, size, size)), jnp.zeros((self.places, self.arms, size))
        return {}, {"precision": precision, "moment": moment, "looked": jnp.ones(self.places)}, (self.arms,)

    def of_items(self, state: State) -> State:
        """The state of :attr:`ridge`: what is known of each item, wherever it stood."""
        looked = state["looked"]
        own = jnp.tile(self.penalty * jnp.eye(state["moment"].shape[-1]), (self.arms, 1, 1))
        return {
            "precision": own
            + jnp.einsum("k,kaij->aij", jnp.square(looked), state["precision"]),  # (arms, d + 1, d + 1)
            "moment": jnp.einsum("k,kai->ai", looked, state["moment"]),  # (arms, d + 1)
        }

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return self.ridge.apply({}, self.of_items(state), x)[0], state

    def learn(self, state: State, x: jax.Array, arm: jax.Array, reward: jax.Array, weight: Any = 1.0) -> State:
        """The state after some pages: ``x (rows, d)``, the item at each place and its reward, ``(rows, places)``."""
        phi, weight = _features(x), jnp.broadcast_to(weight, arm.shape)
        shown = jax.nn.one_hot(arm, self.arms, dtype=phi.dtype) * weight[..., None]  # (rows, places, arms)
        precision = state["precision"] + jnp.einsum("rka,ri,rj->kaij", shown, phi, phi)  # (places, arms, d + 1, d + 1)
        moment = state["moment"] + jnp.einsum("rka,rk,ri->kai", shown, reward, phi)  # (places, arms, d + 1)
        after = {"precision": precision, "moment": moment, "looked": state["looked"]}
        if not self.learns:
            return after
        items = self.of_items(after)
        theta = jnp.linalg.solve(items["precision"], items["moment"][..., None])[..., 0]
        with_it = jnp.einsum("ai,kai->k", theta, moment)  # (places,)
        of_it = jnp.einsum("ai,kaij,aj->k", theta, precision, theta)  # (places,)
        looked = jnp.clip((self.penalty + with_it) / (self.penalty + of_it), _LEAST, _MOST)
        return {**after, "looked": looked.at[0].set(1.0)}

    def width(self, state: State, x: jax.Array) -> jax.Array:
        """See :meth:`RidgeArms.width`."""
        return self.ridge.width(self.of_items(state), x)

    def draw(self, state: State, x: jax.Array, key: jax.Array, scale: float) -> jax.Array:
        """See :meth:`RidgeArms.draw`."""
        return self.ridge.draw(self.of_items(state), x, key, scale)


def _features(x: jax.Array) -> jax.Array:
    """``(x, 1)``."""
    return jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1), x.dtype)], axis=-1)
