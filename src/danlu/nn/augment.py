"""Random changes to images, as layers: drawn anew for each image at each training step, nothing outside training.

They take ``(batch, height, width, channels)``, are part of the blueprint, and run on the device inside the training
step, so they cost no pass over the data and need no worker.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["RandomAffine", "RandomColor", "RandomErase", "RandomFlip", "Rescale"]


def _image_shape(owner: str, in_shape: Shape) -> tuple[int, int, int]:
    if not isinstance(in_shape, tuple) or len(in_shape) != 3:
        raise ConfigError(f"{owner} received inputs of shape {in_shape!r}; expected images (height, width, channels)")
    return in_shape


def _key(owner: str, key: jax.Array | None) -> jax.Array:
    if key is None:
        raise ConfigError(f"{owner} received no key in training", hint="pass key=jax.random.key(...) to apply")
    return key


class Rescale(Layer):
    """``y = scale·x + offset`` as float32: whole-number pixels to a range that suits a network.

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
        return self.scale * jnp.asarray(x).astype(jnp.float32) + self.offset, state

    def flops(self, in_shape: Shape) -> int:
        return 2 * math.prod(in_shape) if isinstance(in_shape, tuple) else 0


class RandomFlip(Layer):
    """Each image mirrored with probability ½, left to right and (on request) top to bottom. Not for text or digits.

    Args:
        horizontal: left to right.
        vertical: top to bottom, drawn apart.
    """

    horizontal: bool = True
    vertical: bool = False

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, _image_shape("RandomFlip", in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not train:
            return x, state
        for number, (asked, axis) in enumerate(((self.horizontal, 2), (self.vertical, 1))):
            if asked:
                turn = jax.random.bernoulli(jax.random.fold_in(_key("RandomFlip", key), number), shape=x.shape[:1])
                x = jnp.where(turn[:, None, None, None], jnp.flip(x, axis), x)
        return x, state


class RandomAffine(Layer):
    """Each image turned, scaled, sheared and moved about its middle; bilinear, ``fill`` where nothing was.

    The output at ``p`` is the input at ``c + A⁻¹·(p − c − t)`` with ``A = R(θ)·shear(φ)·s``.

    Args:
        rotation: largest angle |θ|, degrees.
        scale: largest change of size: s is in [1/(1 + scale), 1 + scale], even on a logarithmic scale.
        shear: largest angle |φ|, degrees.
        translate: largest move |t| along each axis, as a share of that side.
        fill: the value outside the image.

    Example:
        >>> x = jnp.ones((2, 5, 5, 1))
        >>> y, _ = RandomAffine(rotation=30).apply({}, {}, x, train=True, key=jax.random.key(0))
        >>> y.shape, RandomAffine(rotation=30).apply({}, {}, x)[0] is x
        ((2, 5, 5, 1), True)
    """

    rotation: float = setting(default=10.0, minimum=0, maximum=180)
    scale: float = setting(default=0.1, minimum=0)
    shear: float = setting(default=0.0, minimum=0, below=90)
    translate: float = setting(default=0.1, minimum=0, maximum=1)
    fill: float = 0.0

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, _image_shape("RandomAffine", in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not train:
            return x, state
        batch, height, width, _ = x.shape
        draws = jax.random.uniform(_key("RandomAffine", key), (5, batch), minval=-1.0, maxval=1.0)
        angle, slant = jnp.deg2rad(self.rotation) * draws[0], jnp.deg2rad(self.shear) * draws[1]
        size = (1 + self.scale) ** draws[2]
        down, across = self.translate * height * draws[3], self.translate * width * draws[4]
        cosine, sine, tangent = jnp.cos(angle) / size, jnp.sin(angle) / size, jnp.tan(slant)
        rows = jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2
        columns = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
        from_row = rows[None, :, None] - down[:, None, None]
        from_column = columns[None, None, :] - across[:, None, None]

        def of(draw: jax.Array) -> jax.Array:
            return draw[:, None, None]

        row = of(cosine) * from_row - of(sine) * from_column
        column = of(sine - cosine * tangent) * from_row + of(cosine + sine * tangent) * from_column
        return _bilinear(x, row + (height - 1) / 2, column + (width - 1) / 2, self.fill), state


def _bilinear(x: jax.Array, row: jax.Array, column: jax.Array, fill: float) -> jax.Array:
    """``x (batch, h, w, c)`` at fractional positions ``(batch, h, w)``: the four neighbours weighed by nearness."""
    batch, height, width, channels = x.shape
    top, left = jnp.floor(row), jnp.floor(column)
    flat = x.reshape(batch, height * width, channels)
    total = jnp.zeros((*row.shape, channels), x.dtype)
    for step_down in (0, 1):
        for step_right in (0, 1):
            r, c = top + step_down, left + step_right
            weight = (1 - jnp.abs(row - r)) * (1 - jnp.abs(column - c))
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            index = (jnp.clip(r, 0, height - 1) * width + jnp.clip(c, 0, width - 1)).astype(jnp.int32)
            values = jnp.take_along_axis(flat, index.reshape(batch, -1, 1), axis=1).reshape(*row.shape, channels)
            total += weight[..., None] * jnp.where(inside[..., None], values, fill)
    return total


class RandomErase(Layer):
    """A square of each image set to ``fill``, anywhere (cut off at the edge).

    Args:
        size: the square's side, as a share of the shorter side.
        fill: the value it is set to.

    Reference: DeVries & Taylor (2017), "Improved regularization of convolutional neural networks with cutout".
    """

    size: float = setting(default=0.3, above=0, maximum=1)
    fill: float = 0.0

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, _image_shape("RandomErase", in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not train:
            return x, state
        batch, height, width, _ = x.shape
        middle = jax.random.uniform(_key("RandomErase", key), (2, batch))
        half = self.size * min(height, width) / 2
        near_row = jnp.abs(jnp.arange(height)[None] - middle[0][:, None] * (height - 1)) <= half
        near_column = jnp.abs(jnp.arange(width)[None] - middle[1][:, None] * (width - 1)) <= half
        square = near_row[:, :, None, None] & near_column[:, None, :, None]
        return jnp.where(square, jnp.asarray(self.fill, x.dtype), x), state


class RandomColor(Layer):
    """Brightness, contrast and saturation of each image changed at random.

    ``x + b``, then ``μ + k·(x − μ)`` with ``μ`` the image's mean, then ``g + s·(x − g)`` with ``g`` the grey of each pixel.

    Args:
        brightness: largest |b|, in units of the input.
        contrast, saturation: k and s are in [1 − value, 1 + value]; grey images have no saturation.
    """

    brightness: float = setting(default=0.2, minimum=0)
    contrast: float = setting(default=0.2, minimum=0, maximum=1)
    saturation: float = setting(default=0.2, minimum=0, maximum=1)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, _image_shape("RandomColor", in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not train:
            return x, state
        draws = jax.random.uniform(_key("RandomColor", key), (3, x.shape[0], 1, 1, 1), minval=-1.0, maxval=1.0)
        x = x + self.brightness * draws[0]
        mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
        x = mean + (1 + self.contrast * draws[1]) * (x - mean)
        if x.shape[3] == 3:
            grey = jnp.mean(x, axis=3, keepdims=True)
            x = grey + (1 + self.saturation * draws[2]) * (x - grey)
        return x, state
