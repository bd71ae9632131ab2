"""Pooling over spatial axes, channels last: windows, whole images, and a fixed number of cells."""

from __future__ import annotations

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from danlu.errors import ConfigError
from danlu.nn._largest import largest
from danlu.nn._precision import widened
from danlu.nn._shapes import size
from danlu.nn._strided import Window
from danlu.nn._windows import Padding, Sizes, check_padding, check_sizes, image_shape, pads, per_axis
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.pool_ops import max_pool

__all__ = ["AdaptiveAveragePool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"]


class _WindowPool(Layer, abc.ABC):
    """What the two poolings over windows share: their settings, the windows that these make, and the output's shape."""

    window: Sizes = 2
    stride: Sizes | None = None
    padding: Padding = "valid"

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = type(self).__name__
        object.__setattr__(self, "window", check_sizes(owner, "window", self.window))
        if self.stride is not None:
            object.__setattr__(self, "stride", check_sizes(owner, "stride", self.stride))
        object.__setattr__(self, "padding", check_padding(owner, self.padding))

    def windows(self, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], Window]:
        """The size of a window for an image of ``spatial``, and where the windows lie."""
        owner, rank = type(self).__name__, len(spatial)
        window = per_axis(owner, "window", self.window, rank)
        stride = window if self.stride is None else per_axis(owner, "stride", self.stride, rank)
        ones = (1,) * rank
        how = Window(stride, pads(owner, self.padding, spatial, window, stride, ones), ones)
        if any(max(pad) >= k for pad, k in zip(how.pads, window, strict=True)):
            raise ConfigError(f"{owner} has padding {how.pads} for a window of {window}; expected less than the window")
        if min(how.out(spatial, window)) < 1:
            raise ConfigError(f"{owner} has a window of {window} for an input of {spatial}; expected it to fit")
        return window, how

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        *spatial, channels = image_shape(type(self).__name__, in_shape)
        window, how = self.windows(tuple(spatial))
        return {}, {}, (*how.out(tuple(spatial), window), channels)

    def flops(self, in_shape: Shape) -> int:
        """One operation for each element of each window."""
        window, _ = self.windows(image_shape(type(self).__name__, in_shape)[:-1])
        return size(self.out_shape(in_shape)) * math.prod(window)


class MaxPool(_WindowPool):
    """The largest value in each window, channel by channel: ``y[q, c] = max_k x[stride·q + k − before, c]``.

    The error goes back to the first position that holds the maximum.

    Args:
        window: one size for each spatial axis or one for all, >= 1.
        stride: steps of the window; None: windows side by side.
        padding: as :class:`~danlu.nn.conv.Conv`'s, less than the window; padding never is the maximum.

    Params and state: ``{}``.

    Example:
        >>> MaxPool(2).out_shape((28, 28, 8))
        (14, 14, 8)
    """

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return max_pool(x, *self.windows(x.shape[1:-1])), state


class AveragePool(_WindowPool):
    """The mean of each window, channel by channel, over the positions inside the image.

    Args:
        window: one size for each spatial axis or one for all, >= 1.
        stride: steps of the window; None: windows side by side.
        padding: as :class:`~danlu.nn.conv.Conv`'s, less than the window. Padding does not count in the mean (as in
            Keras; PyTorch's default counts it).

    Params and state: ``{}``.

    Example:
        >>> y, _ = AveragePool(2).apply({}, {}, jnp.arange(4.0).reshape(1, 4, 1))
        >>> y.ravel().tolist()
        [0.5, 2.5]
    """

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        window, how = self.windows(x.shape[1:-1])
        sums = self.sums(x)
        return (sums * (1 / jnp.asarray(counts(x.shape[1:-1], window, how), sums.dtype))).astype(x.dtype), state

    def sums(self, x: jax.Array) -> jax.Array:
        """The sum of each window, in at least 32 bits: a sum of 16 stops growing, or leaves its range."""
        window, how = self.windows(x.shape[1:-1])
        x = widened(x)
        if window == how.stride and not any(map(any, how.pads)):
            # Windows side by side are a reshape, which XLA sums far quicker than sliding windows.
            out = how.out(x.shape[1:-1], window)
            kept = x[(slice(None), *(slice(n * k) for n, k in zip(out, window, strict=True)))]
            pairs = [size for n, k in zip(out, window, strict=True) for size in (n, k)]
            # (batch, out, window, out, window, …, channels), summed over the windows
            return jnp.sum(kept.reshape(x.shape[0], *pairs, x.shape[-1]), axis=tuple(range(2, 2 * len(window) + 1, 2)))
        padding = ((0, 0), *how.pads, (0, 0))
        total: jax.Array = lax.reduce_window(x, 0.0, lax.add, (1, *window, 1), (1, *how.stride, 1), padding)
        return total

    def flops(self, in_shape: Shape) -> int:
        return super().flops(in_shape) + size(self.out_shape(in_shape))


def counts(spatial: tuple[int, ...], window: tuple[int, ...], how: Window) -> Any:
    """How many positions of each window lie inside the image, ``(1, *out, 1)``."""
    total = np.ones((1,) * len(spatial))
    for axis, (n, k, s, (before, _)) in enumerate(zip(spatial, window, how.stride, how.pads, strict=True)):
        start = np.arange(how.out(spatial, window)[axis]) * s - before
        inside = np.minimum(start + k, n) - np.maximum(start, 0)
        total = total * inside.reshape([-1 if i == axis else 1 for i in range(len(spatial))])
    return total[None, ..., None]


class GlobalAveragePool(Layer):
    """The mean over all spatial axes: ``(batch, *spatial, channels)`` to ``(batch, channels)``. Params, state: ``{}``.

    Reference: Lin, Chen & Yan (2014), arXiv:1312.4400, section 3.2.
    """

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, image_shape("GlobalAveragePool", in_shape)[-1:]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return jnp.mean(widened(x), axis=tuple(range(1, x.ndim - 1))).astype(x.dtype), state

    def flops(self, in_shape: Shape) -> int:
        return size(in_shape)


class GlobalMaxPool(Layer):
    """The maximum over all spatial axes; the error goes to the first place that held it. Params and state: ``{}``."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, image_shape("GlobalMaxPool", in_shape)[-1:]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return largest(lax.collapse(x, 1, x.ndim - 1), None), state

    def flops(self, in_shape: Shape) -> int:
        return size(in_shape)


class AdaptiveAveragePool(Layer):
    """Means over a fixed number of cells, whatever the image's size: cell ``i`` of ``m`` covers ``⌊i·n/m⌋ … ⌈(i+1)·n/m⌉``.

    Args:
        cells: one number for each spatial axis or one for all, >= 1.

    Params and state: ``{}``.

    Reference: PyTorch's ``AdaptiveAvgPool``, whose cells these are (they overlap where ``m`` does not divide ``n``).

    Example:
        >>> AdaptiveAveragePool(7).out_shape((10, 12, 3))
        (7, 7, 3)
    """

    cells: Sizes = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "cells", check_sizes("AdaptiveAveragePool", "cells", self.cells))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        *spatial, channels = image_shape("AdaptiveAveragePool", in_shape)
        return {}, {}, (*per_axis("AdaptiveAveragePool", "cells", self.cells, len(spatial)), channels)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        wide = widened(x)
        for axis, m in enumerate(per_axis("AdaptiveAveragePool", "cells", self.cells, x.ndim - 2), start=1):
            share = jnp.asarray(cell_shares(x.shape[axis], m), wide.dtype)
            wide = jnp.moveaxis(jnp.tensordot(wide, share, axes=((axis,), (0,))), -1, axis)
        return wide.astype(x.dtype), state

    def flops(self, in_shape: Shape) -> int:
        total, shape = 0, list(image_shape("AdaptiveAveragePool", in_shape))
        for axis, m in enumerate(per_axis("AdaptiveAveragePool", "cells", self.cells, len(shape) - 1)):
            total += 2 * math.prod(shape) * m
            shape[axis] = m
        return total


def cell_shares(n: int, m: int) -> Any:
    """The weight of each of ``n`` positions in each of ``m`` cells' means, ``(n, m)``."""
    shares = np.zeros((n, m))
    for i in range(m):
        start, stop = i * n // m, -(-(i + 1) * n // m)
        shares[start:stop, i] = 1 / (stop - start)
    return shares
