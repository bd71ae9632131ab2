"""Images of any size and mode to arrays of one shape: ``uint8 (rows, height, width, channels)``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.data.images.files import MOST_PIXELS, ImageFiles, ordered
from danlu.errors import ArtifactError, DataError

__all__ = ["ImageEncoder"]


@dataclasses.dataclass(frozen=True)
class ImageEncoder:
    """The shape that images are brought to.

    Attributes:
        height, width: in pixels; an image of another size is resized to fit whole, with its edges as they are.
        channels: 1 (grey) or 3 (red, green, blue); a transparent image is laid on white.

    Example:
        >>> encoder = ImageEncoder.fit([np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)])
        >>> encoder.in_shape, encoder.transform([np.zeros((8, 12, 3), np.uint8)]).shape
        ((4, 6, 1), (1, 4, 6, 1))
    """

    height: int
    width: int
    channels: int

    @classmethod
    def fit(cls, images: Sequence[np.ndarray] | np.ndarray, *, size: int | None = None) -> ImageEncoder:
        """The shape for these images: their own where all have one, else the medians; ``size`` sets both sides.

        Grey images that are stored with three equal channels are taken as grey.
        """
        if isinstance(images, np.ndarray):
            shapes = [images.shape[1:]]
        else:
            shapes = list(images.shapes) if isinstance(images, ImageFiles) else [image.shape for image in images]
        some = images[:256]
        sides = np.asarray([shape[:2] for shape in shapes])
        height, width = (size, size) if size else (int(side) for side in np.median(sides, axis=0))
        coloured = any(
            image.ndim == 3 and image.shape[2] >= 3 and np.ptp(image[..., :3], axis=2).any() for image in some
        )
        return cls(height, width, 3 if coloured else 1)

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)``, what a network's ``init`` takes."""
        return self.height, self.width, self.channels

    def transform(self, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """``uint8 (rows, height, width, channels)``.

        Args:
            images: uint8 arrays ``(h, w)`` or ``(h, w, 1, 3 or 4)``, of any size, in a list or in one array, or
                :class:`~danlu.data.images.files.ImageFiles`, which are decoded a few at a time.
        """
        if isinstance(images, np.ndarray) and images.shape[1:] in (self.in_shape, self.in_shape[:2]):
            return np.ascontiguousarray(images.reshape(-1, *self.in_shape), np.uint8)
        out = np.empty((len(images), *self.in_shape), np.uint8)
        files = isinstance(images, ImageFiles)
        workers = images.workers if isinstance(images, ImageFiles) else None

        def encoded(row: int) -> np.ndarray:
            return self.one(images[row])

        rows = range(len(images))
        for row, image in enumerate(ordered(encoded, rows, workers=workers) if files else map(encoded, rows)):
            out[row] = image
        return out

    def one(self, image: np.ndarray) -> np.ndarray:
        """One image, ``uint8 (height, width, channels)``."""
        if image.ndim == 3 and image.shape[2] == 1:
            image = image[..., 0]
        if image.shape == self.in_shape:
            return image
        from PIL import Image

        picture = Image.fromarray(image)
        if picture.mode == "RGBA":
            ground = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(ground, picture).convert("RGB")
        picture = picture.convert("L" if self.channels == 1 else "RGB")
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(self.in_shape)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the artifact."""
        return {"kind": "image", **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> ImageEncoder:
        """The encoder that :meth:`to_json` described.

        Raises:
            ArtifactError: it is damaged.
        """
        names = ("height", "width", "channels")
        sizes: list[Any] = [data.get(name) if isinstance(data, Mapping) else None for name in names]
        if any(type(size) is not int or not 0 < size <= MOST_PIXELS for size in sizes) or sizes[2] not in (1, 3):
            raise ArtifactError(f"the image encoder is damaged: {str(data)[:80]!r}")
        return cls(*sizes)


def check_pixels(array: np.ndarray, where: str) -> np.ndarray:
    """Pixels as uint8 ``(rows, height, width[, channels])``.

    Raises:
        DataError: another shape, or numbers that are neither 0 to 255 nor 0 to 1.
    """
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3, 4)):
        raise DataError(
            f"{where} has the shape {array.shape}; expected (images, height, width) or (images, height, width, channels) "
            "with 1, 3 or 4 channels"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise DataError(f"{where} holds {array.dtype} values, some perhaps not finite; expected pixels from 0 to 255")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 255:
        raise DataError(f"{where} holds values from {low:g} to {high:g}; expected pixels from 0 to 255, or from 0 to 1")
    if array.dtype.kind == "f" and high <= 1:
        array = array * 255
    return np.rint(array).astype(np.uint8)
