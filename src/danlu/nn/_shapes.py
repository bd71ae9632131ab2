"""Small helpers for shapes, shared by the layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.nn.layer import Shape

__all__ = ["array_shape", "check_last_axis", "drawn", "features", "on_last_axis", "size"]


def array_shape(owner: str, in_shape: Shape) -> tuple[int, ...]:
    """``in_shape`` as a tuple; ConfigError for a dict of shapes."""
    if isinstance(in_shape, Mapping):
        raise ConfigError(
            f"{owner} takes one array; its input is a dict of {', '.join(map(repr, in_shape)) or 'nothing'}",
            hint="give each key its own branch: Parallel((...), inputs=('numeric', ...))",
        )
    return tuple(in_shape)


def features(owner: str, in_shape: Shape) -> int:
    """The size of the last axis of ``in_shape``; ConfigError without such an axis."""
    shape = array_shape(owner, in_shape)
    if not shape or shape[-1] < 1:
        raise ConfigError(f"{owner} needs at least one feature in each example; the shape of an example is {shape}")
    return shape[-1]


def check_last_axis(owner: str, x: jax.Array, expected: int) -> None:
    """Raise DataError unless the last axis of the batch ``x`` has ``expected`` elements."""
    if x.ndim < 2 or x.shape[-1] != expected:
        raise DataError(
            f"{owner} received an array of shape {tuple(x.shape)}; expected (batch, ..., {expected})",
            hint="the layer was initialised for other inputs" if x.ndim >= 2 else "the first axis is the batch",
        )


def on_last_axis(vector: jax.Array, ndim: int) -> jax.Array:
    """``vector`` shaped ``(1, ..., n)``, to meet an array of ``ndim`` axes along its last one."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def size(shape: Shape) -> int:
    """The number of elements in one example of ``shape``."""
    if isinstance(shape, Mapping):
        return sum(size(part) for part in shape.values())
    return math.prod(shape)


def drawn(
    draw: Callable[[jax.Array, tuple[int, ...]], jax.Array], key: jax.Array, shapes: Sequence[tuple[int, ...]]
) -> list[jax.Array]:
    """Arrays of ``shapes``, cut from one flat call of ``draw``.

    Every call of a random generator takes a tenth of a second to compile, and one with three axes ten times as long.
    """
    sizes = [math.prod(shape) for shape in shapes]
    flat, ends = jax.lax.optimization_barrier(draw(key, (sum(sizes),))), np.cumsum(sizes)
    return [flat[end - n : end].reshape(shape) for n, end, shape in zip(sizes, ends, shapes, strict=True)]
