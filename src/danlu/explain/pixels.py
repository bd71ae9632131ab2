"""What each pixel of an image adds to the score of a class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from danlu.explain.path import integrated_gradients
from danlu.nn.layer import Layer, Params, State

__all__ = ["pixel_attribution"]

_PATH = 48  # points of the integral


def pixel_attribution(
    network: Layer, params: Params, state: State, images: np.ndarray, classes: np.ndarray, ground: int
) -> tuple[np.ndarray, float]:
    """What each pixel adds to the logit of a class, by integrated gradients from a plain image.

    Args:
        network, params, state: a network of images; the logits of members are averaged.
        images: uint8 ``(images, height, width, channels)``.
        classes: of each image, the one to explain.
        ground: the brightness of the plain image, 0 to 255.

    Returns:
        ``(images, height, width)`` in −1 … 1, of each image the share of its strongest pixels, and by how much the sums miss the
        logits' differences at most, as a share of the largest.
    """

    def score(pixels: jax.Array) -> jax.Array:
        outputs, _ = network.apply(params, state, pixels)
        mean = outputs.reshape(len(pixels), -1, outputs.shape[-1]).mean(axis=1)
        return jnp.take_along_axis(mean, jnp.asarray(classes)[:, None], axis=1)[:, 0]

    found = integrated_gradients(score, np.asarray(images, np.float32), np.float32(ground), steps=_PATH)
    added = np.asarray(found.values).sum(axis=-1)
    strongest = np.quantile(np.abs(added), 0.995, axis=(1, 2), keepdims=True)
    shares: np.ndarray = np.clip(added / np.maximum(strongest, 1e-12), -1, 1)
    return shares, float(np.max(np.abs(found.gap)) / max(np.max(np.abs(found.gained)), 1e-9))
