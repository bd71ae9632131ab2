"""Images of any size and mode to arrays of one shape: ``uint8 (rows, height, width, channels)``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.data.fields import Field, pixels_of
from danlu.data.images.files import ImageFiles, shapes_of
from danlu.data.images.pixels import LONGEST, eight_bits
from danlu.data.threads import ordered
from danlu.errors import ArtifactError, DataError

__all__ = ["ImageEncoder"]

_JUST_ABOVE_ONE = 1.01  # of pixels in 0 to 1, what resizing may bring about


@dataclasses.dataclass(frozen=True)
class ImageEncoder:
    """The shape that images are resized to.

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
        shapes = [images.shape[1:]] if isinstance(images, np.ndarray) else shapes_of(images)
        some = images[:: -(-len(images) // 256) or 1]
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
        own = (self.in_shape, self.in_shape[:2]) if self.channels == 1 else (self.in_shape,)
        if isinstance(images, np.ndarray) and images.shape[1:] in own:
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

    @property
    def fields(self) -> tuple[Field, ...]:
        """One picture of any size."""
        return (Field("image", "image", (None, None, self.channels)),)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[np.ndarray]:
        """The pictures of records; see :func:`danlu.data.fields.pixels_of`."""
        return pixels_of(records, self.fields[0])

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays (none), for the artifact."""
        return {"kind": "image", **dataclasses.asdict(self)}, {}

    @classmethod
    def from_state(cls, data: Any, arrays: Mapping[str, np.ndarray]) -> ImageEncoder:
        """The encoder that :meth:`state` described.

        Raises:
            ArtifactError: it is damaged.
        """
        names = ("height", "width", "channels")
        sizes: list[Any] = [data.get(name) if isinstance(data, Mapping) else None for name in names]
        if any(type(size) is not int or not 0 < size <= LONGEST for size in sizes) or sizes[2] not in (1, 3):
            raise ArtifactError(f"the image encoder is damaged: {str(data)[:80]!r}")
        return cls(*sizes)


def check_pixels(array: np.ndarray, where: str, *, alone: bool = False) -> np.ndarray:
    """Pixels as uint8 ``(rows, height, width[, channels])``: of 16 bits by their range, of 0 to 1 times 255.

    Args:
        array: the pixels.
        where: what to call them in messages.
        alone: whether nothing else says how many there are; then ``(h, w, 3)`` may be one picture in colours, and is refused.

    Raises:
        DataError: another shape, or numbers that are neither 0 to 255 nor 0 to 1.
    """
    if array.ndim not in (3, 4) or 0 in array.shape or (array.ndim == 4 and array.shape[3] not in (1, 3, 4)):
        hint = "of one image: array[None]" if array.ndim == 2 else None
        if array.ndim == 4 and array.shape[1] in (1, 3, 4):
            hint = "the channels come last: np.moveaxis(array, 1, 3)"
        raise DataError(
            f"{where} has the shape {array.shape}; expected (images, height, width) or (images, height, width, channels) "
            "with 1, 3 or 4 channels",
            hint=hint,
        )
    if alone and array.ndim == 3 and array.shape[2] in (1, 3, 4):
        raise DataError(
            f"{where} has the shape {array.shape}, which may be one image in {array.shape[2]} channels, or {array.shape[0]} grey ones "
            f"of {array.shape[1]}×{array.shape[2]} pixels",
            hint="say which: array[None] for one image, array[..., None] for grey ones",
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise DataError(f"{where} holds {array.dtype} values, some perhaps not finite; expected pixels from 0 to 255")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "u" and array.dtype.itemsize == 2 and high > 255:
        return eight_bits(array)
    if low < 0 or high > 255:
        raise DataError(f"{where} holds values from {low:g} to {high:g}; expected pixels from 0 to 255, or from 0 to 1")
    if array.dtype.kind == "f" and high <= _JUST_ABOVE_ONE:
        array = np.minimum(array, 1) * 255
    return np.rint(array).astype(np.uint8)
