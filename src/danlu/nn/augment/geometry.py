"""Geometric changes: mirroring, rotating, scaling, shearing, shifting."""

from __future__ import annotations

import abc

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._precision import looked_up
from danlu.nn.augment.change import RandomChange

__all__ = ["RandomAffine", "RandomFlip", "RandomMove"]


class RandomMove(RandomChange, abc.ABC):
    """A change that only moves pixels, so that a mask over the image can be moved with it."""

    @abc.abstractmethod
    def source(self, key: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
        """The row and the column, ``(height, width)`` each, at which each new pixel is found; what ``changed`` draws from ``key``."""


class RandomFlip(RandomMove):
    """Each image mirrored with probability ½, left to right and (on request) top to bottom. Not for text or digits.

    Args:
        horizontal: left to right.
        vertical: top to bottom, drawn apart.
    """

    horizontal: bool = True
    vertical: bool = False

    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        across, down = jax.random.bernoulli(key, shape=(2,))
        if self.horizontal:
            image = jnp.where(across, image[:, ::-1], image)
        return jnp.where(down, image[::-1], image) if self.vertical else image

    def source(self, key: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
        across, down = jax.random.bernoulli(key, shape=(2,))
        row, column = jnp.meshgrid(jnp.arange(float(height)), jnp.arange(float(width)), indexing="ij")
        column = jnp.where(across, width - 1 - column, column) if self.horizontal else column
        return jnp.where(down, height - 1 - row, row) if self.vertical else row, column


class RandomAffine(RandomMove):
    """Each image rotated, scaled, sheared and shifted about its centre; bilinear, with ``fill`` outside the image.

    The output at ``p`` is the input at ``c + A⁻¹·(p − c − t)`` with ``A = R(θ)·shear(φ)·s``.

    Args:
        rotation: largest angle ``|θ|``, degrees.
        scale: largest change of size: s is in [1/(1 + scale), 1 + scale], even on a logarithmic scale.
        shear: largest angle ``|φ|``, degrees.
        translate: largest move ``|t|`` along each axis, as a share of that side.
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

    def changed(self, key: jax.Array, image: jax.Array) -> jax.Array:
        return bilinear(image, *self.source(key, *image.shape[:2]), self.fill)

    def source(self, key: jax.Array, height: int, width: int) -> tuple[jax.Array, jax.Array]:
        turn, slant, growth, down, across = jax.random.uniform(key, (5,), minval=-1.0, maxval=1.0)
        angle, size = jnp.deg2rad(self.rotation) * turn, (1 + self.scale) ** growth
        cosine, sine = jnp.cos(angle) / size, jnp.sin(angle) / size
        tangent = jnp.tan(jnp.deg2rad(self.shear) * slant)
        middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
        from_row = jnp.arange(height)[:, None] - middle_row - self.translate * height * down
        from_column = jnp.arange(width)[None] - middle_column - self.translate * width * across
        row = cosine * from_row - sine * from_column
        column = (sine - cosine * tangent) * from_row + (cosine + sine * tangent) * from_column
        return row + middle_row, column + middle_column


def bilinear(image: jax.Array, row: jax.Array, column: jax.Array, fill: float) -> jax.Array:
    """``image (h, w, c)`` at fractional positions ``(h, w)``: the four neighbours weighed by nearness."""
    height, width, channels = image.shape
    top, left = jnp.floor(row), jnp.floor(column)
    flat = image.reshape(height * width, channels)
    total = jnp.zeros((), row.dtype)
    for step_down in (0, 1):
        for step_right in (0, 1):
            r, c = top + step_down, left + step_right
            weight = (1 - jnp.abs(row - r)) * (1 - jnp.abs(column - c))
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            index = (jnp.clip(r, 0, height - 1) * width + jnp.clip(c, 0, width - 1)).astype(jnp.int32)
            total += weight[..., None] * jnp.where(inside[..., None], looked_up(flat, index), fill)
    return total
