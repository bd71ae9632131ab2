"""One image file to pixels: upright, eight bits a channel, and no longer than a network can use."""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = [
    "LONGEST",
    "SUFFIXES",
    "is_animated",
    "is_picture",
    "open_image",
    "open_whole",
    "opened",
    "size_of",
    "why_not",
]

LONGEST = 4096
"""Pixels of the longer side, to which larger photographs are shrunk as they are read."""

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".jfif", ".jpe", ".jif", ".jp2", ".dib", ".tga", ".apng", ".avif", ".heic", ".heif"),
)
_SIGNATURE = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}WEBP|II\*\0|MM\0\*|P[1-6]\s|\0\0\0\x0cjP  |.{4}ftyp(avif|heic|mif1)",
    re.DOTALL,
)
_HEAD = threading.Lock()  # warnings are kept back for the whole process: one head at a time is read


def is_picture(file: str | Path) -> bool:
    """Whether a file is a picture, by its extension, or by its first bytes if it has none (or a number)."""
    suffix = Path(file).suffix.lower()
    if suffix in SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit():
        return False
    try:
        with open(file, "rb") as opened_file:
            return _SIGNATURE.match(opened_file.read(16)) is not None
    except OSError:
        return False


@contextlib.contextmanager
def opened(file: str | Path | BinaryIO) -> Iterator[Any]:
    """The opened picture of a file, with only its header read; without Pillow's warning about large ones."""
    from PIL import Image

    with _HEAD, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(file)
    with picture:
        yield picture


def why_not(error: BaseException) -> str:
    """Why a picture cannot be read, in words."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which could fill the memory; shrink it first"
    return (str(error).splitlines() or [""])[0][:80] or type(error).__name__


def open_image(file: str | Path | BinaryIO, *, whole: bool = False) -> np.ndarray | str:
    """The pixels of an image file, uint8 ``(h, w)`` or ``(h, w, 3 or 4)``, or the reason why it cannot be read.

    Turned upright as EXIF says; of an animation the first frame. 16 bits a channel become 8: v ↦ round(v·255 / 65,535).

    Args:
        whole: whether its size is kept, for places in pixels are known of it; else a side of more than
            :data:`~danlu.data.images.pixels.LONGEST` pixels is shrunk, by a whole number.
    """
    from PIL import Image, ImageOps

    try:
        with opened(file) as picture:
            shrink = 1 if whole else _shrink(picture.size)
            if shrink > 1:
                picture.draft(None, tuple(side // shrink for side in picture.size))  # a JPEG is decoded smaller at once
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16") or upright.mode == "I":
                values = np.asarray(upright)
                if upright.mode == "I" and (
                    picture.format not in ("PNG", "PPM") or not 0 <= values.min() <= values.max() < 1 << 16
                ):
                    return "32 bits a channel; expected 8 or 16"
                upright = Image.fromarray(eight_bits(values))
            if upright.mode == "F":
                return "numbers with a decimal point for pixels; expected 8 or 16 bits a channel"
            mode = "RGBA" if upright.has_transparency_data else "L" if upright.mode in ("1", "L") else "RGB"
            upright = upright.convert(mode)
            if not whole and (shrink := _shrink(upright.size)) > 1:
                upright = upright.reduce(shrink)
            return np.asarray(upright)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return why_not(error)


def open_whole(file: str | Path | BinaryIO) -> np.ndarray | str:
    """:func:`open_image` in its own size."""
    return open_image(file, whole=True)


def _shrink(size: tuple[int, int]) -> int:
    return -(-max(size) // LONGEST)


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Pixels of 16 bits as uint8.

    >>> eight_bits(np.array([0, 257, 32768, 65535], ">u2")).tolist()
    [0, 1, 128, 255]
    """
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def size_of(picture: Any, *, whole: bool = False) -> tuple[int, int, int]:
    """The width, height and channels that :func:`open_image` will give, from the header alone."""
    shrink = 1 if whole else _shrink(picture.size)
    width, height = (-(-side // shrink) for side in picture.size)
    grey = picture.mode in ("1", "L", "I") or picture.mode.startswith("I;16")
    return width, height, 4 if picture.has_transparency_data else 1 if grey else 3


def is_animated(file: str | Path) -> bool:
    """Whether a file that can be read has several frames."""
    if Path(file).suffix.lower() in (".jpg", ".jpeg", ".jfif", ".bmp"):
        return False
    try:
        with opened(file) as picture:
            return bool(getattr(picture, "is_animated", False))
    except Exception:  # a file that cannot be read is told of when it is read
        return False
