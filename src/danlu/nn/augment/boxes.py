"""Random changes that move an image and the boxes in it together."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import DataError
from danlu.nn.boxes import box_area

__all__ = ["MoveBoxes"]

Batch = dict[str, Any]


class MoveBoxes(Blueprint):
    """Each image mirrored, stretched and shifted at random, its boxes with it: ``danlu.fit(..., augment=MoveBoxes())``.

    Along each axis the pixel at ``p`` goes to ``c + s·(p − c) + t``, bilinear, with ``c`` the image's middle. Boxes are cut off at
    the image's edge; one of which too little is left becomes padding. A batch is ``{"x": (batch, height, width, channels), "y":
    {"boxes": (batch, objects, 4), "labels": (batch, objects)}, …}``, as :class:`~danlu.nn.losses.DetectionLoss` takes it.

    Args:
        flip: whether half of the images are mirrored left to right (not for text or digits).
        scale: largest change of size: ``s`` is in [1/(1 + scale), 1 + scale], even on a logarithmic scale, the same both ways.
        translate: largest ``|t|`` along each axis, as a share of that side.
        fill: the value outside the image, in the units of ``x``.
        least: the share of a box's area that must be left of it.

    Example:
        >>> x = jnp.arange(4.0).reshape(1, 1, 4, 1)
        >>> y = {"boxes": jnp.array([[[0.0, 0.0, 1.0, 1.0]]]), "labels": jnp.array([[2]])}
        >>> moved = MoveBoxes(flip=True, scale=0, translate=0)(jax.random.key(1), {"x": x, "y": y})
        >>> moved["x"].ravel().tolist(), moved["y"]["boxes"][0, 0].tolist()
        ([3.0, 2.0, 1.0, 0.0], [3.0, 0.0, 4.0, 1.0])
    """

    flip: bool = False
    scale: float = setting(default=0.1, minimum=0)
    translate: float = setting(default=0.08, minimum=0, maximum=1)
    fill: float = 0.0
    least: float = setting(default=0.3, minimum=0, maximum=1)

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        x, y = batch["x"], batch["y"]
        if getattr(x, "ndim", 0) != 4 or not isinstance(y, dict) or set(y) != {"boxes", "labels"}:
            raise DataError("MoveBoxes received a batch that is not of images with boxes and labels")
        changed, boxes, labels = jax.vmap(self._one)(
            jax.random.split(key, x.shape[0]), x.astype(jnp.float32), y["boxes"], y["labels"]
        )
        return {**batch, "x": changed, "y": {**y, "boxes": boxes, "labels": labels}}

    def _one(
        self, key: jax.Array, image: jax.Array, boxes: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        mirror_key, move_key = jax.random.split(key)
        growth, across, down = jax.random.uniform(move_key, (3,), minval=-1.0, maxval=1.0)
        height, width, _ = image.shape
        size = (1 + self.scale) ** growth
        mirrored = jnp.where(jax.random.bernoulli(mirror_key), -1.0, 1.0) if self.flip else 1.0
        stretch = jnp.stack([mirrored * size, size])
        sides = jnp.array([width, height], jnp.float32)
        shift = sides / 2 * (1 - stretch) + self.translate * sides * jnp.stack([across, down])
        rows, columns = _weights(height, stretch[1], shift[1]), _weights(width, stretch[0], shift[0])
        # (rows, height)·(height, width, channels)·(columns, width): (rows, columns, channels)
        moved = jnp.einsum("rh,hwc,sw->rsc", rows, image - self.fill, columns) + self.fill
        corners = boxes.reshape(-1, 2, 2) * stretch[None, None] + shift[None, None]  # (boxes, 2 corners, 2 of x and y)
        low, high = jnp.min(corners, axis=1), jnp.max(corners, axis=1)
        cut = jnp.concatenate([jnp.clip(low, 0, sides[None]), jnp.clip(high, 0, sides[None])], axis=-1)
        whole = box_area(jnp.concatenate([low, high], axis=-1))
        left = (box_area(cut) > 0) & (box_area(cut) >= self.least * whole)
        return moved, jnp.where(left[:, None], cut, 0), jnp.where(left, labels, -1)


def _weights(side: int, stretch: jax.Array, shift: jax.Array) -> jax.Array:
    """How much of each old pixel is in each new one, ``(side, side)``: rows sum to 1 inside the image, and to less at its edge."""
    middles = jnp.arange(side) + 0.5
    source = (middles - shift) / stretch
    return jnp.maximum(1 - jnp.abs(source[:, None] - middles[None]), 0)
