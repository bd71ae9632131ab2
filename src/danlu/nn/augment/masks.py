"""Random changes that move an image and its mask together."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, DataError
from danlu.nn.augment.geometry import RandomMove, bilinear

__all__ = ["MoveMasks"]

Batch = dict[str, Any]


class MoveMasks(Blueprint):
    """Each image moved at random and its mask with it: ``danlu.fit(..., augment=MoveMasks((RandomFlip(), RandomAffine())))``.

    The image is read bilinearly, the mask at the nearest pixel: between class 1 and class 3 there is no class 2. Where nothing
    was, the image is ``fill`` and the mask ``void``, which :class:`~danlu.nn.losses.SegmentationLoss` does not count. A batch is
    ``{"x": (batch, height, width, channels), "y": (batch, height, width), …}``. Changes of colour are for layers, after it.

    Args:
        moves: one after another, such as :class:`~danlu.nn.RandomFlip` and :class:`~danlu.nn.RandomAffine`; their own ``fill`` is
            not used.
        fill: the value outside the image, in the units of ``x``.
        void: the class number outside the mask.

    Raises:
        DataError: a batch that is not of images with masks.

    Example:
        >>> from danlu.nn import RandomFlip
        >>> batch = {"x": jnp.array([0.0, 0.5, 1.0]).reshape(1, 1, 3, 1), "y": jnp.array([[[0, 1, 2]]])}
        >>> moved = MoveMasks((RandomFlip(),))(jax.random.key(0), batch)
        >>> moved["x"].ravel().tolist(), moved["y"].ravel().tolist()
        ([1.0, 0.5, 0.0], [2, 1, 0])
    """

    moves: tuple[RandomMove, ...]
    fill: float = 0.0
    void: int = setting(default=255, minimum=0, maximum=255, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.moves
        if not isinstance(given, tuple | list) or not given or not all(isinstance(each, RandomMove) for each in given):
            raise ConfigError(
                f"MoveMasks.moves is {given!r}; expected a tuple of changes that move pixels, such as (RandomFlip(), "
                "RandomAffine())"
            )
        object.__setattr__(self, "moves", tuple(given))

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        x, y = batch["x"], batch["y"]
        if getattr(x, "ndim", 0) != 4 or getattr(y, "shape", None) != x.shape[:3]:
            shapes = [jax.tree.map(jnp.shape, each) for each in (x, y)]
            raise DataError(
                f"MoveMasks received x of shape {shapes[0]} and y of shape {shapes[1]}; expected images (batch, height, width, "
                "channels) and masks (batch, height, width)"
            )
        keys = jax.random.split(key, x.shape[0])
        moved, masks = jax.vmap(self._one)(keys, x.astype(jnp.float32), y)
        return {**batch, "x": moved, "y": masks}

    def _one(self, key: jax.Array, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        height, width = mask.shape
        for number, move in enumerate(self.moves):
            row, column = move.source(jax.random.fold_in(key, number), height, width)
            image = bilinear(image, row, column, self.fill)
            r, c = jnp.round(row), jnp.round(column)
            inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
            index = (jnp.clip(r, 0, height - 1) * width + jnp.clip(c, 0, width - 1)).astype(jnp.int32)
            mask = jnp.where(inside, mask.reshape(-1)[index], jnp.asarray(self.void, mask.dtype))
        return image, mask
