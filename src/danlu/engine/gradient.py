"""How the gradient of an objective is taken: of the whole batch, in micro-batches, row by row, and with its norms recorded.

A gradient is a pure function ``gradient(objective, state, batch, key) -> (grads, model_state, sums)``. What it gives is the gradient of
the *sum* ``Σ_k c_k·Σ_i w_i·v_ki`` (see :func:`danlu.engine.objective.measured`), not of the mean: sums of micro-batches, rows and
devices add up exactly, and the step divides once by ``Σ w``.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.engine.objective import Objective, Sums, measured
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.paths import named_leaves

__all__ = ["Accumulated", "Gradient", "PerExample", "Probed", "Whole"]

Found = tuple[Any, Any, Sums]
_NOISE = 2**32 - 2  # folded into a step's key; layers, micro-batches and rows count from 0


class Gradient(Blueprint, abc.ABC):
    """A way to take the gradient of an objective; base of all.

    Attributes:
        cuts: into how many parts a batch is cut; its size must be a multiple.
        whole: whether the objective sees a batch as one; else what it says must be one value a row.
        shared: whether micro-batches and devices may each do it to their share of the rows.
    """

    @property
    def cuts(self) -> int:
        return 1

    @property
    def whole(self) -> bool:
        return True

    @property
    def shared(self) -> bool:
        return True

    @abc.abstractmethod
    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        """``(grads, model_state, sums)``: the gradient of the sum at ``state.params``, the state after, and the batch's sums."""

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

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        def total(params: Any) -> tuple[jax.Array, tuple[Any, Sums]]:
            after, sums = measured(objective, params, state.model_state, batch, key, state.weights, train=True)
            return sums["loss"], (after, sums)

        grads, (model_state, sums) = jax.grad(total, has_aux=True)(state.params)
        return grads, model_state, sums


class Accumulated(Gradient):
    """The gradients of micro-batches, added up: the whole batch's exactly (up to rounding), whatever the weights, in less memory.

    A layer that looks across rows (batch norm) sees one micro-batch at a time.

    Args:
        parts: micro-batches of a batch.
        inner: how the gradient of each is taken.
    """

    parts: int = setting(minimum=1, integer=True)
    inner: Gradient = Whole()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parts > 1 and not self.inner.shared:
            raise ConfigError(
                f"Accumulated.inner adds noise, which {self.parts} parts would each do; expected a gradient without noise",
                hint="leave accumulate at 1: PerExample already treats each row separately",
            )

    @property
    def cuts(self) -> int:
        return self.parts * self.inner.cuts

    @property
    def whole(self) -> bool:
        return self.parts == 1 and self.inner.whole

    @property
    def shared(self) -> bool:
        return self.inner.shared

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        zeros = jax.tree.map(jnp.zeros_like, state.params)
        return self._added(lambda *part: self.inner(objective, *part), zeros, state, batch, key)

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        def one(state: TrainState, part: Any, key: jax.Array) -> Found:
            after, sums = measured(objective, state.params, state.model_state, part, key, state.weights, train=True)
            return (), after, sums

        return self._added(one, (), state, batch, key)[2]

    def observe(self, grads: Any, updates: Any) -> Sums:
        return self.inner.observe(grads, updates)

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


class PerExample(Gradient):
    """``Σ_i clip(w_i·∇l_i) + noise·clip·N(0, I)``: no row moves the sum by more than ``clip``; noise hides which rows there were.

    Rows draw their random numbers as micro-batches of one row do. It takes as much memory as the parameters have times the rows of a
    batch. How private the result is, is not counted here; the step divides by ``Σ w``.

    Args:
        clip: the largest global norm of a row's gradient.
        noise: standard deviation of the noise, as a multiple of ``clip``.

    Raises:
        ConfigError: a network whose state changes in training (batch norm), which mixes rows.

    Reference:
        Abadi et al., "Deep learning with differential privacy" (2016), algorithm 1.
    """

    clip: float = setting(above=0)
    noise: float = setting(default=0.0, minimum=0)

    @property
    def whole(self) -> bool:
        return False

    @property
    def shared(self) -> bool:
        return self.noise == 0  # each device would add its own

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        rows = batch["weight"].shape[0]

        def one(row: Any, number: jax.Array) -> tuple[Any, Sums]:
            part = jax.tree.map(lambda a: a[None], row)
            grads, _, sums = Whole()(objective, state, part, jax.random.fold_in(key, number))
            norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(grads)))
            scale = jnp.minimum(1.0, self.clip / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
            return jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), grads), sums

        _refuse_moving_state(objective, state, batch, key)
        each, sums = jax.vmap(one)(batch, jnp.arange(rows))
        grads, sums = jax.tree.map(lambda a: a.sum(0), (each, sums))
        if self.noise:
            leaves, form = jax.tree.flatten(grads)
            keys = jax.random.split(jax.random.fold_in(key, _NOISE), len(leaves))
            drawn = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
            noisy = [leaf + self.noise * self.clip * n for leaf, n in zip(leaves, drawn, strict=True)]
            grads = jax.tree.unflatten(form, noisy)
        return grads, state.model_state, sums


class Probed(Gradient):
    """Another gradient, with the norms of each layer's gradients and updates in the history.

    The columns are ``gradient_norm/LAYER`` and ``update_norm/LAYER``: means over the epoch's steps.

    Args:
        inner: how the gradient is taken.
    """

    inner: Gradient = Whole()

    @property
    def cuts(self) -> int:
        return self.inner.cuts

    @property
    def whole(self) -> bool:
        return self.inner.whole

    @property
    def shared(self) -> bool:
        return self.inner.shared

    def __call__(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Found:
        return self.inner(objective, state, batch, key)

    def values(self, objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> Sums:
        return self.inner.values(objective, state, batch, key)

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


def _refuse_moving_state(objective: Objective, state: TrainState, batch: dict[str, Any], key: jax.Array) -> None:
    """Refuse an objective that changes the network's state, which one row at a time cannot."""
    moved: list[str] = []

    def look(model_state: Any, batch: Any) -> Any:
        _, after, _ = objective(state.params, model_state, batch, key, train=True)
        pairs = zip(named_leaves(after), jax.tree.leaves(model_state), strict=True)
        moved.extend(name for (name, new), old in pairs if new is not old)
        return jnp.zeros(())

    jax.eval_shape(look, state.model_state, jax.tree.map(lambda a: a[:1], batch))
    if moved:
        raise ConfigError(
            f"PerExample takes the gradient of each row separately, but the network's state ({moved[0]}) changes with the batch",
            hint="such a layer mixes rows (batch norm); nn.GroupNorm and nn.LayerNorm do not",
        )
