"""What classifiers by likeness end with: vectors of length 1, and the logarithm of sums over the examples of each class."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn._precision import widened
from danlu.nn._shapes import array_shape, features, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["SumOfParts", "UnitLength"]


class UnitLength(Layer):
    """Each vector (last axis) divided by its length; 0 stays 0. Params and state: ``{}``.

    Example:
        >>> UnitLength().apply({}, {}, jnp.array([[3.0, 4.0]]))[0].tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        features("UnitLength", in_shape)
        return {}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        wide = widened(x)
        length = jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(wide), axis=-1, keepdims=True), 1e-12))
        return (wide * length).astype(x.dtype), state

    def flops(self, in_shape: Shape) -> int:
        return 3 * size(in_shape)


class SumOfParts(Layer):
    """``log Σ exp`` over each part of the last axis: logits of examples become those of their classes. Params and state: ``{}``.

    Args:
        counts: how many neighbouring entries each part has; they add up to the axis.

    Example:
        >>> jnp.exp(SumOfParts((2, 1)).apply({}, {}, jnp.log(jnp.array([[0.25, 0.5, 0.25]])))[0]).round(2).tolist()
        [[0.75, 0.25]]
    """

    counts: tuple[int, ...]

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        there = features("SumOfParts", in_shape)
        if sum(self.counts) != there or min(self.counts, default=0) < 1:
            raise ConfigError(
                f"SumOfParts has the counts {self.counts}; expected numbers of 1 or more that add up to {there}"
            )
        return {}, {}, (*array_shape("SumOfParts", in_shape)[:-1], len(self.counts))

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        bounds, wide = _bounds(self.counts), widened(x)
        parts = [jax.nn.logsumexp(wide[..., low:high], axis=-1) for low, high in itertools.pairwise(bounds)]
        return jnp.stack(parts, axis=-1).astype(x.dtype), state

    def flops(self, in_shape: Shape) -> int:
        return 3 * size(in_shape)


def _bounds(counts: tuple[int, ...]) -> list[int]:
    """Where each part begins, and where the last one ends."""
    found = [0]
    for count in counts:
        found.append(found[-1] + count)
    return found
