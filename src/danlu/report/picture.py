"""Arrays of pixels as pictures inside an HTML file."""

from __future__ import annotations

import base64
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import Sequential

__all__ = ["first_layers", "heat_over", "png_uri", "sheet"]


def png_uri(pixels: np.ndarray) -> str:
    """``uint8 (height, width, 1 or 3)`` as a ``data:`` address of a PNG, for ``<img src>``.

    Example:
        >>> png_uri(np.zeros((2, 2, 1), np.uint8))[:22]
        'data:image/png;base64,'
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def heat_over(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A grey version of an image with ``heat`` (−1 … 1, of its height and width) laid over it: orange, and blue below 0.

    >>> heat_over(np.zeros((1, 2, 1), np.uint8), np.array([[0.0, 1.0]]))[0].tolist()
    [[0, 0, 0], [174, 78, 0]]
    """
    grey = np.asarray(pixels, np.float64).mean(axis=2, keepdims=True)
    heat = np.asarray(heat, np.float64)[..., None]
    share = 0.75 * np.abs(heat)
    colour = np.where(heat > 0, np.array([233.0, 105.0, 0.0]), np.array([0.0, 114.0, 178.0]))
    return ((1 - share) * grey + share * colour).astype(np.uint8)


def sheet(pictures: np.ndarray, most: int = 64) -> np.ndarray:
    """The first pictures ``(pictures, height, width, channels)`` side by side, with a line between them.

    Each is stretched to its own darkest and brightest number; what has other than 1 or 3 channels is shown by their mean.

    Returns:
        Pixels ``uint8 (height, width, 1 or 3)``.

    >>> sheet(np.arange(8.0).reshape(2, 2, 2, 1))[..., 0].tolist()
    [[0, 85, 255, 0, 85], [170, 255, 255, 170, 255]]
    """
    shown = np.asarray(pictures[:most], np.float64)
    if shown.shape[-1] not in (1, 3):
        shown = shown.mean(axis=-1, keepdims=True)
    low, high = shown.min(axis=(1, 2, 3), keepdims=True), shown.max(axis=(1, 2, 3), keepdims=True)
    shown = 255 * (shown - low) / np.maximum(high - low, 1e-12)
    count, height, width, channels = shown.shape
    across = int(np.ceil(np.sqrt(count)))
    page = np.full(((height + 1) * -(-count // across) - 1, (width + 1) * across - 1, channels), 255.0)
    for number, each in enumerate(shown):
        top, left = (number // across) * (height + 1), (number % across) * (width + 1)
        page[top : top + height, left : left + width] = each
    return np.round(page).astype(np.uint8)


def first_layers(model: Any, x: Any, key: jax.Array) -> Any:
    """Pictures after the random changes that a network begins with, as in a step of training with this key; else as they are."""
    if not isinstance(model, Sequential):
        return x
    own = "danlu.nn.augment."
    for number, layer in enumerate(model.layers):
        if not type(layer).__module__.startswith(own):
            break
        x = layer.apply({}, {}, jnp.asarray(x), train=True, key=jax.random.fold_in(key, number))[0]
    return x
