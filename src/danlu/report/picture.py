"""Arrays of pixels as pictures inside an HTML file."""

from __future__ import annotations

import base64
import io

import numpy as np

__all__ = ["png_uri"]


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
