"""Changes of a pixel's value: the range, colours, blanked squares."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn.augment.change import RandomChange
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["RandomColor", "RandomErase", "Rescale"]


class Rescale(Layer):
    """``y = scale·x + offset``: pixels to a range that suits a network; whole numbers become float32.

    Args:
        scale, offset: the defaults take 0 … 255 to −1 … 1.

    Example:
        >>> Rescale().apply({}, {}, jnp.array([0, 255], jnp.uint8))[0].tolist()
        [-1.0, 1.0]
    """

    scale: float = 1 / 127.5
    offset: float = -1.0

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        x = jnp.asarray(x)
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        return self.scale * x + self.offset, state

    def flops(self, in_shape: Shape) -> int:
        return 2 * math.prod(in_shape) if isinstance(in_shape, tuple) else 0


class RandomErase(RandomChange):
    """A square of each image set to ``fill``, anywhere (cut off at the edge).

    Args:
        size: the square's side, as a share of the shorter side.
        fill: the value it is set to.

    Reference: DeVries & Taylor (2017), "Improved regularization of convolutional neural networks with cutout".
    """

    size: float = setting(default=0.3, above=0, maximum=1)
    fill: float = 0.0

    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        down, across = jax.random.uniform(key, (2,))
        half = self.size * min(height, width) / 2
        near_row = jnp.abs(jnp.arange(height) - down * (height - 1)) <= half
        near_column = jnp.abs(jnp.arange(width) - across * (width - 1)) <= half
        square = near_row[:, None] & near_column[None]
        return jnp.where(square[..., None], jnp.asarray(self.fill, image.dtype), image)


class RandomColor(RandomChange):
    """Brightness, contrast and saturation of each image changed at random.

    ``x + b``, then ``μ + k·(x − μ)`` with ``μ`` the image's mean, then ``g + s·(x − g)`` with ``g`` the grey of each pixel.

    Args:
        brightness: largest ``|b|``, in units of the input.
        contrast, saturation: k and s are in [1 − value, 1 + value]; grey images have no saturation.
    """

    brightness: float = setting(default=0.2, minimum=0)
    contrast: float = setting(default=0.2, minimum=0, maximum=1)
    saturation: float = setting(default=0.2, minimum=0, maximum=1)

    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        draws = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
        image = image + self.brightness * draws[0]
        mean = jnp.mean(image)
        image = mean + (1 + self.contrast * draws[1]) * (image - mean)
        if image.shape[2] == 3:
            grey = jnp.mean(image, axis=2, keepdims=True)
            image = grey + (1 + self.saturation * draws[2]) * (image - grey)
        return image
