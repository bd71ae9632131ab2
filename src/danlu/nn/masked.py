"""A network some of whose weights are held at zero."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Masked", "Moving"]


class Masked(Layer):
    """A network with weights ``W ⊙ M``: where ``M`` is 0 they are 0 and have no gradient, so that what was pruned stays pruned.

    ``M`` is state: it does not learn. :meth:`adapt` takes it from the zeros that the weights have.

    Args:
        layer: the network.

    Params: the network's. State: ``{"mask": 0 and 1 in the shapes of the params, "state": the network's state}``.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Masked(Dense(2, use_bias=False))
        >>> params, state = net.adapt({"kernel": jnp.array([[1.0, 0.0], [0.0, 3.0]])}, {})
        >>> net.apply({"kernel": jnp.ones((2, 2))}, state, jnp.array([[2.0, 5.0]]))[0].tolist()
        [[2.0, 5.0]]
    """

    layer: Layer

    def adapt(self, params: Params, state: State) -> tuple[Params, State]:
        """``(params, state)`` that keep every zero of the kernels (arrays of two axes or more) at zero."""
        mask = jax.tree.map(
            lambda leaf: jnp.asarray(leaf != 0 if leaf.ndim > 1 else jnp.ones_like(leaf), leaf.dtype), params
        )
        return params, {"mask": mask, "state": state}

    def merge(self, params: Params, state: State) -> tuple[Params, State]:
        """``(params, state)`` of the network alone."""
        return jax.tree.map(jnp.multiply, params, state["mask"]), state["state"]

    def decays(self, params: Params) -> Params:
        """True for the parameters that weight decay is meant for: as of the network."""
        return _decays(self.layer, params)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out_shape = self.layer.init(key, in_shape)
        return params, {"mask": jax.tree.map(jnp.ones_like, params), "state": state}, out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        own, inner = self.merge(params, state)
        y, inner = self.layer.apply(own, inner, x, train=train, key=key)
        return y, {"mask": state["mask"], "state": inner}

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


class Moving(Layer):
    """A network with weights ``W ⊙ M`` and a score for each weight that learns straight through the mask: ``∂L/∂S = ∂L/∂(W ⊙ M) ⊙ W``.

    The score of a weight falls while training makes the weight smaller; who chooses ``M`` by the scores prunes by movement.

    Args:
        layer: the network.

    Params: ``{"weights": the network's params, "scores": a number for each weight of a kernel, one for every other array}``. State: as of
    :class:`Masked`.

    Reference: Sanh, Wolf & Rush (2020), arXiv:2005.07683, section 4.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Moving(Dense(1, use_bias=False))
        >>> params, state = net.adapt({"kernel": jnp.array([[2.0], [3.0]])}, {})
        >>> loss = lambda params: net.apply(params, state, jnp.array([[1.0, 10.0]]))[0][0, 0]
        >>> jax.grad(loss)(params)["scores"]["kernel"].tolist()
        [[2.0], [30.0]]
    """

    layer: Layer

    def adapt(self, params: Params, state: State) -> tuple[Params, State]:
        """As of :class:`Masked`, with scores of 0."""
        weights, masked = Masked(self.layer).adapt(params, state)
        scores = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape if leaf.ndim > 1 else (), leaf.dtype), weights)
        return {"weights": weights, "scores": scores}, masked

    def merge(self, params: Params, state: State) -> tuple[Params, State]:
        """``(params, state)`` of the network alone."""

        def weight(leaf: jax.Array, score: jax.Array, mask: jax.Array) -> jax.Array:
            return leaf * (mask + score - jax.lax.stop_gradient(score))

        return jax.tree.map(weight, params["weights"], params["scores"], state["mask"]), state["state"]

    def decays(self, params: Params) -> Params:
        """As of the network; scores do not decay."""
        scores = jax.tree.map(lambda leaf: False, params["scores"])
        return {"weights": _decays(self.layer, params["weights"]), "scores": scores}

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out_shape = self.layer.init(key, in_shape)
        return *self.adapt(params, state), out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        own, inner = self.merge(params, state)
        y, inner = self.layer.apply(own, inner, x, train=train, key=key)
        return y, {"mask": state["mask"], "state": inner}

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


def _decays(layer: Any, params: Params) -> Params:
    own = getattr(layer, "decays", None)
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params) if own is None else own(params)
