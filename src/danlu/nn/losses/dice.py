"""The Dice loss: overlap of a predicted region with the true one, for segmentation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn.activations import sigmoid, softmax
from danlu.nn.losses.align import align_values, labels_to_probabilities, nan_unless
from danlu.nn.losses.base import Loss
from danlu.nn.losses.targets import check_classes_or_binary

__all__ = ["Dice"]


class Dice(Loss):
    """``1 − mean_c (2·Σ_i p_ic·y_ic + s) / (Σ_i p_ic + Σ_i y_ic + s)`` over the pixels ``i`` of each image.

    ``p`` is ``softmax(z)`` over the classes ``c``, or ``σ(z)`` where the last axis is 1. Cross-entropy counts pixels, so a small
    region hardly matters to it; here each class counts by the share of it that is found. Between 0 and 1. Its gradient is uneven
    where a region is tiny: it is often added to the cross-entropy.

    Args:
        smooth: ``s`` > 0: keeps the quotient defined, and near 1 for a class that is neither there nor predicted.

    Targets are class numbers ``(batch, *spatial)`` or probabilities of the outputs' shape; for one output 0 and 1. An image with
    a class number that does not exist has the loss NaN.

    Reference: Milletari, Navab & Ahmadi (2016), arXiv:1606.04797, section 3, whose denominator sums squares; as here in Sudre et
    al. (2017), arXiv:1707.03237, eq. 2, without weights for the classes.

    >>> Dice(smooth=1e-6)(jnp.array([[[9.0, -9.0], [-9.0, 9.0]]]), jnp.array([[0, 1]])).round(3).tolist()
    [0.0]
    """

    smooth: float = setting(default=1.0, above=0)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_classes_or_binary(type(self).__name__, outputs, targets)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        if jnp.shape(outputs)[-1:] == (1,):
            z, y = align_values("Dice", outputs, targets)
            p, valid = sigmoid(z), jnp.ones(z.shape[:-1], jnp.bool_)
        else:
            z, y, valid = labels_to_probabilities("Dice", outputs, targets)
            p = softmax(z)
        if y.shape != p.shape or jnp.size(targets) not in (p.size, p.size // p.shape[-1]):
            raise DataError(
                f"Dice received outputs of shape {z.shape} and targets of shape {jnp.shape(targets)}; expected a target for "
                "each pixel"
            )
        pixels = tuple(range(1, p.ndim - 1))
        overlap, total = jnp.sum(p * y, axis=pixels), jnp.sum(p, axis=pixels) + jnp.sum(y, axis=pixels)
        values = 1 - jnp.mean((2 * overlap + self.smooth) / (total + self.smooth), axis=-1)
        return nan_unless(jnp.all(valid, axis=tuple(range(1, valid.ndim))), values)
