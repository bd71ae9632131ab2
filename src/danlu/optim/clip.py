"""Gradient clipping: by value, by the norm of each array, by the norm of all arrays together.

Each is a transformation of gradients; put it before the optimizer: ``chain(clip_by_global_norm(1.0), adam(1e-3))``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.optim.base import Optimizer
from danlu.optim.hyperparameters import checked, current, like, next_step, stored, zero_step

__all__ = ["ClipState", "NormClipState", "clip_by_global_norm", "clip_by_norm", "clip_by_value"]


class ClipState(NamedTuple):
    """The state of :func:`clip_by_value`: the largest size of a coordinate, and finished updates."""

    limit: Any
    step: jax.Array

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("limit",)


class NormClipState(NamedTuple):
    """The state of :func:`clip_by_norm` and :func:`clip_by_global_norm`: the largest norm, and finished updates."""

    max_norm: Any
    step: jax.Array

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The fields that are hyper-parameters."""
        return ("max_norm",)


def _init_value(params: Any, *, limit: Any) -> ClipState:
    return ClipState(stored(limit), zero_step())


def _init_norm(params: Any, *, max_norm: Any) -> NormClipState:
    return NormClipState(stored(max_norm), zero_step())


def _square_norm(grad: jax.Array) -> jax.Array:
    """Σ g², in at least float32."""
    return jnp.sum(jnp.square(grad.astype(jnp.promote_types(grad.dtype, jnp.float32))))


def _scale(square_norm: jax.Array, max_norm: jax.Array) -> jax.Array:
    """``min(1, max_norm / norm)``: exactly 1 below the limit, and neither it nor its derivative is NaN at norm 0."""
    limit = jnp.square(max_norm)
    return jnp.where(square_norm > limit, max_norm / jnp.sqrt(jnp.maximum(square_norm, limit)), 1.0)


def _value_update(grads: Any, state: ClipState, params: Any = None) -> tuple[Any, ClipState]:
    limit = current(state.limit, state.step)
    clipped = jax.tree.map(lambda g: like(jnp.clip(g, -limit, limit), g), grads)
    return clipped, state._replace(step=next_step(state.step))


def _norm_update(grads: Any, state: NormClipState, params: Any = None) -> tuple[Any, NormClipState]:
    limit = current(state.max_norm, state.step)
    clipped = jax.tree.map(lambda g: like(g * _scale(_square_norm(g), limit), g), grads)
    return clipped, state._replace(step=next_step(state.step))


def _global_norm_update(grads: Any, state: NormClipState, params: Any = None) -> tuple[Any, NormClipState]:
    limit = current(state.max_norm, state.step)
    square_norm = sum((_square_norm(g) for g in jax.tree.leaves(grads)), jnp.zeros((), jnp.float32))
    scale = _scale(square_norm, limit)
    clipped = jax.tree.map(lambda g: like(g * scale, g), grads)
    return clipped, state._replace(step=next_step(state.step))


def clip_by_value(limit: Any = 1.0) -> Optimizer:
    """Each coordinate into [-limit, limit]: ``g ← max(-c, min(c, g))``. It may turn the gradient's direction.

    Args:
        limit: c > 0: a number, an array, a schedule or a function of the step count.

    Returns:
        A transformation of gradients that keeps tree, shapes and dtypes.

    Raises:
        ConfigError: a limit out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> clip = clip_by_value(1.0)
        >>> clip.update(jnp.array([3.0, -0.5]), clip.init(None))[0].tolist()
        [1.0, -0.5]
    """
    return Optimizer(partial(_init_value, limit=checked("clip_by_value", "limit", limit, above=0)), _value_update)


def clip_by_norm(max_norm: Any = 1.0) -> Optimizer:
    """Each array to a norm of at most ``max_norm``: ``g ← g·min(1, c / |g|)``, array by array.

    Args:
        max_norm: c > 0: a number, an array, a schedule or a function of the step count.

    Returns:
        A transformation of gradients that keeps tree, shapes and dtypes.

    Raises:
        ConfigError: a limit out of range.

    Reference:
        Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1, for
        each array.

    Example:
        >>> import jax.numpy as jnp
        >>> clip = clip_by_norm(1.0)
        >>> (large, small), state = clip.update([jnp.array([0.0, 8.0]), jnp.array([0.5])], clip.init(None))
        >>> large.tolist(), small.tolist()
        ([0.0, 1.0], [0.5])
    """
    limit = checked("clip_by_norm", "max_norm", max_norm, above=0)
    return Optimizer(partial(_init_norm, max_norm=limit), _norm_update)


def clip_by_global_norm(max_norm: Any = 1.0) -> Optimizer:
    """All arrays together to a norm of at most ``max_norm``: ``g ← g·min(1, c / √Σ|g|²)``; the direction is kept.

    Args:
        max_norm: c > 0: a number, an array, a schedule or a function of the step count.

    Returns:
        A transformation of gradients that keeps tree, shapes and dtypes.

    Raises:
        ConfigError: a limit out of range.

    Reference:
        Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.

    Example:
        >>> import jax.numpy as jnp
        >>> clip = clip_by_global_norm(1.0)
        >>> grads, state = clip.update([jnp.array([3.0]), jnp.array([4.0])], clip.init(None))
        >>> [round(float(g[0]), 4) for g in grads]
        [0.6, 0.8]
    """
    limit = checked("clip_by_global_norm", "max_norm", max_norm, above=0)
    return Optimizer(partial(_init_norm, max_norm=limit), _global_norm_update)
