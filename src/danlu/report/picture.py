"""Arrays of pixels as pictures inside an HTML file."""

from __future__ import annotations

import base64
import io

import numpy as np

__all__ = ["heat_over", "png_uri"]


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
