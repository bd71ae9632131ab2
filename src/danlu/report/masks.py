"""Masks as pictures: files of them, test images next to their true and predicted masks, and the measures of each class."""

from __future__ import annotations

import colorsys
import html
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.segmentation import MaskCounts
from danlu.files import replacing
from danlu.prose import percent
from danlu.report.picture import png_uri
from danlu.report.samples import decimals, measure_table, sample_sections

__all__ = ["class_colors", "mask_picture", "segmentation_sections", "write_masks"]

_ACROSS = 128  # pixels of a drawn image
_CLASSES = 40  # in the table
_VOID = 255
_FIRST = ((52, 56, 66), (230, 126, 34), (41, 128, 185), (39, 174, 96), (192, 57, 43), (142, 68, 173), (241, 196, 15))


def class_colors(classes: int) -> np.ndarray:
    """A colour for each class, uint8 ``(classes, 3)``; the first one, which is mostly the ground, is dark.

    >>> class_colors(3).tolist()
    [[52, 56, 66], [230, 126, 34], [41, 128, 185]]
    """
    found = list(_FIRST[:classes])
    for number in range(len(found), classes):  # the golden angle keeps neighbours apart
        red, green, blue = colorsys.hsv_to_rgb(
            number * 0.618034 % 1, 0.45 + 0.2 * (number % 3), 0.95 - 0.18 * (number % 4)
        )
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(found, np.uint8)


def mask_picture(mask: np.ndarray, classes: int) -> np.ndarray:
    """Class numbers ``(height, width)`` as a colour picture; pixels that do not count are white."""
    colors = np.full((256, 3), 255, np.uint8)
    colors[:classes] = class_colors(classes)
    return colors[mask]


def write_masks(masks: Iterator[tuple[str, np.ndarray]], folder: Path, values: Sequence[int]) -> str:
    """Write masks as PNG files, and return that in words. Class numbers get a palette, to be visible to the eye.

    Args:
        masks: the file of each image, after which its mask is called, and the mask: uint8 ``(height, width)`` of ``values``.
        folder: where to; it is made.
        values: of the classes.

    Raises:
        ConfigError: they cannot be written, or two images have the same name.
    """
    from PIL import Image

    palette = np.zeros((256, 3), np.uint8)
    palette[list(values)] = class_colors(len(values))
    written: set[str] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, mask in masks:
            name = Path(path).stem + ".png"
            if name in written:
                raise ConfigError(f"two images are called {Path(path).stem}; their masks would be one file in {folder}")
            written.add(name)
            picture = Image.fromarray(mask)
            if max(values) != 255:
                picture = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
                picture.putpalette(palette.ravel().tolist())
            with replacing(folder / name, error=ConfigError) as new:
                picture.save(new, "PNG")
    except OSError as error:
        raise ConfigError(f"the masks cannot be written to {folder}: {error.strerror or error}") from error
    return f"{len(written)} masks written to {folder}"


def segmentation_sections(
    images: np.ndarray, true: np.ndarray, found: np.ndarray, names: Sequence[str], classes: Sequence[str]
) -> list[tuple[str, str]]:
    """The report's sections of a segmenter.

    Args:
        images: of the test, encoded.
        true, found: class numbers ``(images, height, width)``.
        names: of the images' files.
        classes: their names.

    Returns:
        Titles and HTML.
    """
    counts = MaskCounts.of(found, true, classes=len(classes))
    iou = counts.of_images()
    right = counts.hits.sum(axis=1) / np.maximum(counts.true.sum(axis=1), 1)
    order = np.argsort(np.where(np.isfinite(iou), iou, np.inf), kind="stable")
    worst = [int(place) for place in order if right[place] < 1]

    def gallery(places: Sequence[int]) -> str:
        figures = []
        for place in places:
            picture = np.repeat(images[place], 3, axis=2) if images[place].shape[2] == 1 else images[place]
            masks = [mask_picture(each[place], len(classes)) for each in (true, found)]
            drawn = "".join(
                f"<img src='{png_uri(_enlarged(each))}' alt='{told}' style='width: 126px'>"
                for each, told in zip((picture, *masks), ("the image", "what is there", "what was found"), strict=True)
            )
            said = f"mean IoU {iou[place]:.2f}, {percent(right[place], 1)} of the pixels right"
            caption = f"<figcaption>{html.escape(str(names[place]))}: {said}</figcaption>"
            figures.append(f"<figure class='pair' style='width: 392px; max-width: 100%'>{drawn}{caption}</figure>")
        return f"<div class='gallery'>{''.join(figures)}</div>{_legend(true, found, classes)}"

    return [*sample_sections(len(images), worst, gallery), ("Each class", _class_table(counts, classes))]


def _enlarged(picture: np.ndarray) -> np.ndarray:
    times = max(1, round(_ACROSS / picture.shape[1]))
    return np.repeat(np.repeat(picture, times, axis=0), times, axis=1)


def _legend(true: np.ndarray, found: np.ndarray, classes: Sequence[str]) -> str:
    colors = class_colors(len(classes))
    items = [
        f"<span style='white-space: nowrap; margin-right: 14px'><span style='display: inline-block; width: 10px; height: 10px; "
        f"border-radius: 2px; background: rgb({red},{green},{blue})'></span> {html.escape(name)}</span>"
        for name, (red, green, blue) in zip(classes[:_CLASSES], colors.tolist(), strict=False)
    ]
    white = " White pixels are not counted." if (true == _VOID).any() else ""
    return f"<p class='note'>The image, the true mask, and the predicted mask.{white}<br>{' '.join(items)}</p>"


def _class_table(counts: MaskCounts, classes: Sequence[str]) -> str:
    iou, shares = counts.iou(), counts.true.sum(axis=0) / max(counts.true.sum(), 1)
    columns = {
        "of all pixels": [percent(share, 1) for share in shares],
        "IoU": [decimals(value) for value in iou],
        "Dice": [decimals(value) for value in counts.dice()],
    }
    return measure_table("class", classes, iou, columns, most=_CLASSES)
