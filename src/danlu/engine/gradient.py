"""How the gradient of an objective is taken: of the whole batch, in micro-batches, and with its norms recorded.

A gradient is a pure function ``gradient(objective, state, batch, key) -> (grads, model_state, sums)``. What it gives is the gradient of
the *sum* ``Σ_k c_k·Σ_i w_i·v_ki`` (see :func:`danlu.engine.objective.measured`), not of the mean: sums of micro-batches, rows and
devices add up exactly, and :meth:`Gradient.finish` divides once by ``Σ w``. Row by row it is taken in :mod:`danlu.engine.per_example`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.engine.objective import Objective, Sums, measured
from danlu.engine.state import TrainState
from danlu.paths import named_leaves

__all__ = ["Accumulated", "Around", "Finished", "Gradient", "Probed", "Whole"]

Found = tuple[Any, Any, Sums]


class Finished(NamedTuple):
    """What is made of the sums over all micro-batches and devices.

    Attributes:
        grads: the gradient of the mean.
        sums: of the values, as they may be told.
        carried: what the gradient carries to the next step, in ``TrainState.world``.
    """

    grads: Any
    sums: Sums
    carried: Any


class Gradient(Blueprint, abc.ABC):
    """A way to take the gradient of an objective; base of all.

    Attributes:
        cuts: into how many parts a batch is cut; its size must be a multiple.
        whole: whether the objective sees a batch as one; else what it says must be one value a row.
        private: whether what it gives may be told though the rows may not.
        plain: whether it is the sum of the rows' gradients and nothing else, so that devices may add them up on the way.
    """

    @property
    def cuts(self) -> int:
        return 1

    @property
    def whole(self) -> bool:
        return True

    @property
    def private(self) -> bool:
        return False

    @property
    def plain(self) -> bool:
        return False

    @abc.abstractmethod
    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        """``(grads, model_state, sums)``: the gradient of the sum at ``state.params``, the state after, and the batch's sums.

        ``grads`` may be any tree of sums, of which :meth:`finish` makes the gradient.
        """

    def carried(self, key: jax.Array) -> Any:
        """What it carries from step to step, before the first; ``key`` decides its random draws."""
        return None

    def finish(self, state: TrainState, grads: Any, sums: Sums, key: jax.Array) -> Finished:
        """The gradient of the mean, of the sums over all micro-batches and devices; ``key`` is the same on every device."""
        scale = 1.0 / jnp.maximum(sums["weight"], jnp.finfo(jnp.float32).tiny)
        return Finished(jax.tree.map(lambda g: g * scale.astype(g.dtype), grads), sums, state.world)

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        """The same sums without a gradient, for a line search at other parameters."""
        return measured(objective, state.params, state.model_state, batch, key, state.weights, train=True)[1]

    def observe(self, grads: Any, updates: Any) -> Sums:
        """Further numbers of a step by name; the history holds their mean.

        Args:
            grads: the gradient of the mean, penalties included.
            updates: what the optimizer made of it.
        """
        return {}


class Whole(Gradient):
    """The gradient of the whole batch at once.

    Example:
        >>> from danlu import nn, optim
        >>> from danlu.engine import Supervised
        >>> optimizer, model = optim.sgd(0.1), nn.Dense(1, use_bias=False)
        >>> params = {"kernel": jnp.ones((1, 1))}
        >>> state = TrainState(jnp.int32(0), jax.random.key(0), params, {}, optimizer.init(params), {})
        >>> batch = {"x": jnp.array([[1.0], [2.0]]), "y": jnp.zeros(2), "weight": jnp.ones(2)}
        >>> Whole()(Supervised(model, nn.get_loss("mse")), state, batch, state.key)[0]["kernel"].tolist()
        [[10.0]]
    """

    @property
    def plain(self) -> bool:
        return True

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        def total(params: Any) -> tuple[jax.Array, tuple[Any, Sums]]:
            after, sums = measured(objective, params, state.model_state, batch, key, state.weights, train=True)
            return sums["loss"], (after, sums)

        grads, (model_state, sums) = jax.grad(total, has_aux=True)(state.params)
        return grads, model_state, sums


class _Inner:
    """Has another gradient; no dataclass, so that where it stands among the fields is a subclass's to say."""

    inner: Gradient


class Around(_Inner, Gradient):
    """A gradient around another one: what it does not change is as of ``inner``, a field of each subclass."""

    @property
    def cuts(self) -> int:
        return self.inner.cuts

    @property
    def whole(self) -> bool:
        return self.inner.whole

    @property
    def private(self) -> bool:
        return self.inner.private

    @property
    def plain(self) -> bool:
        return self.inner.plain

    def carried(self, key: jax.Array) -> Any:
        return self.inner.carried(key)

    def finish(self, state: TrainState, grads: Any, sums: Sums, key: jax.Array) -> Finished:
        return self.inner.finish(state, grads, sums, key)

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        return self.inner(objective, state, batch, key)

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        return self.inner.values(objective, state, batch, key)

    def observe(self, grads: Any, updates: Any) -> Sums:
        return self.inner.observe(grads, updates)


class Accumulated(Around):
    """The gradients of micro-batches, added up: the whole batch's exactly (up to rounding), whatever the weights, in less memory.

    A layer that looks across rows (batch norm) sees one micro-batch at a time.

    Args:
        parts: micro-batches of a batch.
        inner: how the gradient of each is taken.
    """

    parts: int = setting(minimum=1, integer=True)
    inner: Gradient = Whole()

    @property
    def cuts(self) -> int:
        return self.parts * self.inner.cuts

    @property
    def whole(self) -> bool:
        return self.parts == 1 and self.inner.whole

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        part = jax.tree.map(lambda a: a[: a.shape[0] // self.parts], batch)
        like = jax.eval_shape(lambda *given: self.inner(objective, *given)[0], state, part, key)
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
        return self._added(lambda *part: self.inner(objective, *part), zeros, state, batch, key)

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        def one(state: TrainState, part: Any, key: jax.Array) -> Found:
            after, sums = measured(objective, state.params, state.model_state, part, key, state.weights, train=True)
            return (), after, sums

        return self._added(one, (), state, batch, key)[2]

    def _added(self, one: Callable[..., Found], zeros: Any, state: TrainState, batch: Any, key: jax.Array) -> Found:
        """``one(state, part, key)`` over the micro-batches; what it gives first is added up."""
        if self.parts == 1:
            return one(state, batch, key)
        micro = jax.tree.map(lambda a: a.reshape(self.parts, -1, *a.shape[1:]), batch)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(self.parts))

        def add(carry: Any, xs: Any) -> tuple[Any, Sums]:
            added, model_state = carry
            part, model_state, sums = one(dataclasses.replace(state, model_state=model_state), *xs)
            return (jax.tree.map(jnp.add, added, part), model_state), sums

        (added, model_state), parts = jax.lax.scan(add, (zeros, state.model_state), (micro, keys))
        return added, model_state, jax.tree.map(lambda a: a.sum(0), parts)


class Probed(Around):
    """Another gradient, with the norms of each layer's gradients and updates in the history.

    The columns are ``gradient_norm/LAYER`` and ``update_norm/LAYER``: means over the epoch's steps.

    Args:
        inner: how the gradient is taken.
    """

    inner: Gradient = Whole()

    def observe(self, grads: Any, updates: Any) -> Sums:
        named = {"gradient_norm": grads, "update_norm": updates}
        own = {f"{kind}/{layer}": norm for kind, tree in named.items() for layer, norm in _norms(tree).items()}
        return {**self.inner.observe(grads, updates), **own}


def _norms(tree: Any) -> Sums:
    """The norm of each layer's arrays, by the first step of their names."""
    squares: Sums = {}
    for name, leaf in named_leaves(tree):
        layer = name.split("/")[0] or "params"  # parameters that are a single array have no name
        squares[layer] = squares.get(layer, jnp.zeros(())) + jnp.sum(jnp.square(leaf))
    return {layer: jnp.sqrt(square) for layer, square in squares.items()}
