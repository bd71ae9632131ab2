"""The loss of a segmentation: the cross-entropy of each pixel's class, and the Dice loss of each class."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import widened
from danlu.nn.activations import log_softmax, softmax
from danlu.nn.losses.base import Loss
from danlu.nn.losses.targets import check_classes, measure

__all__ = ["VOID", "SegmentationLoss", "pixel_accuracy"]

VOID = 255  # the class number of a pixel that is not counted


class SegmentationLoss(Loss):
    """``mean_i (−log p_{i,y_i}) + d·(1 − mean_c (2·Σ_i p_ic·y_ic + s) / (Σ_i p_ic + Σ_i y_ic + s))``, over the pixels ``i`` that count.

    ``p = softmax(z)``. The first part is the cross-entropy, whose gradient is even but which hardly sees a rare class; the second is
    the :class:`~danlu.nn.losses.Dice` loss over the classes ``c`` that are in the image, each counted by the share of it that is
    found. (Over all classes, those that are not there would drown the few that are: a network would rather find nothing. That
    they are not found where they are not is the first part's matter.) A pixel of class
    :data:`VOID` (255) counts in neither: the edges of objects in VOC's masks, or what a random move left empty. An image without
    a pixel that counts has the loss 0.

    Args:
        dice: ``d`` ≥ 0, the weight of the second part; 0 is the cross-entropy alone.
        smooth: ``s`` ≥ 0, in pixels: evens out the slope where a region is tiny.

    Targets are class numbers ``(batch, *spatial)``, of whole numbers; outputs ``(batch, *spatial, classes)``. An image with another
    class number that does not exist has the loss NaN.

    Reference: the sum of both is that of Isensee et al. (2021), "nnU-Net", Nature Methods 18, there with Dice over the whole batch at once.

    >>> SegmentationLoss()(jnp.array([[[9.0, -9.0], [-9.0, 9.0]]]), jnp.array([[0, 255]])).round(3).tolist()
    [0.0]
    """

    dice: float = setting(default=1.0, minimum=0)
    smooth: float = setting(default=1.0, minimum=0)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_classes(type(self).__name__, outputs, targets, ignored=VOID)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, y = _checked("SegmentationLoss", outputs, targets)
        counted = y != VOID
        valid = jnp.all(~counted | ((y >= 0) & (y < z.shape[-1])), axis=tuple(range(1, y.ndim)))
        pixels = tuple(range(1, y.ndim))
        one_hot = jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype)
        each = -jnp.sum(one_hot * log_softmax(z), axis=-1)
        entropy = jnp.sum(each, axis=pixels) / jnp.maximum(jnp.sum(counted, axis=pixels), 1)
        if not self.dice:
            return jnp.where(valid, entropy, jnp.nan)
        p = softmax(z) * counted[..., None]
        overlap, size = jnp.sum(p * one_hot, axis=pixels), jnp.sum(one_hot, axis=pixels)
        there = size > 0
        total = jnp.where(there, jnp.sum(p, axis=pixels) + size, 1)
        lacking = jnp.where(there, 1 - (2 * overlap + self.smooth) / (total + self.smooth), 0)
        lacking = jnp.sum(lacking, axis=-1) / jnp.maximum(jnp.sum(there, axis=-1), 1)
        return jnp.where(valid, entropy + self.dice * lacking, jnp.nan)


@measure("max")
def pixel_accuracy(outputs: Any, targets: Any) -> jax.Array:
    """The share of an image's pixels whose likeliest class is the true one; pixels of class :data:`VOID` do not count.

    >>> pixel_accuracy(jnp.array([[[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]]), jnp.array([[0, 1, 255]])).tolist()
    [0.5]
    """
    z, y = _checked("pixel_accuracy", outputs, targets)
    pixels = tuple(range(1, y.ndim))
    counted = y != VOID
    right = counted & (jnp.argmax(z, axis=-1) == y)
    return (jnp.sum(right, axis=pixels) / jnp.maximum(jnp.sum(counted, axis=pixels), 1)).astype(z.dtype)


def _checked(owner: str, outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    z, y = jnp.asarray(outputs), jnp.asarray(targets)
    whole = jnp.issubdtype(y.dtype, jnp.integer) and jnp.issubdtype(z.dtype, jnp.floating)
    if z.ndim < 3 or z.shape[:-1] != y.shape or not 2 <= z.shape[-1] <= VOID or not whole:
        raise DataError(
            f"{owner} received outputs of shape {z.shape} ({z.dtype}) and targets of shape {y.shape} ({y.dtype}); expected logits "
            "(batch, height, width, classes) of 2 to 255 classes and whole class numbers (batch, height, width)"
        )
    return widened(z), y.astype(jnp.int32)
