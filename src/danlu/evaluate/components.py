"""The baselines of a detector: one box for all images, and bright or dark patches classified by the nearest mean picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.evaluate.detection import Found

__all__ = ["CommonestBox", "Components"]

_SIDE = 12  # pixels of the pictures that are compared
_LEVELS = 64  # of the histogram that a threshold is found in


class CommonestBox:
    """The median box of the training images and their most common class, for every image.

    Args:
        true: the objects of the training images.

    Example:
        >>> one = Found(np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([2]))
        >>> CommonestBox([one]).find(np.zeros((1, 8, 8, 1)))[0].boxes.tolist()
        [[0.0, 0.0, 4.0, 4.0]]
    """

    def __init__(self, true: Sequence[Found]) -> None:
        classes = np.concatenate([each.classes for each in true])
        boxes = np.concatenate([each.boxes.reshape(-1, 4) for each in true])
        commonest = int(np.bincount(classes).argmax())
        self._answer = Found(np.median(boxes, axis=0)[None], np.array([commonest]), np.ones(1))

    def find(self, images: np.ndarray) -> list[Found]:
        """The same answer for each of ``images (rows, height, width, channels)``."""
        return [self._answer] * len(images)


class Components:
    """Connected patches that differ from the background, each with the class whose mean picture is nearest.

    A pixel's difference is that from the median colour of the image's border, the mean of 3×3; Otsu's threshold divides the
    image by it. A patch is an object when it is not far smaller than the training objects. Its score is how much nearer the
    nearest mean is than the second.

    Args:
        images: the training images, ``(images, height, width, channels)``.
        true: their objects.
        classes: how many classes.

    Reference: Otsu (1979), "A threshold selection method from gray-level histograms".
    """

    def __init__(self, images: np.ndarray, true: Sequence[Found], classes: int) -> None:
        totals, counts, sides = np.zeros((classes, _SIDE, _SIDE)), np.zeros(classes), []
        for image, each in zip(images, true, strict=True):
            apart = _difference(image)
            for box, number in zip(each.boxes, each.classes, strict=True):
                picture = _picture(apart, box)
                if picture is not None:
                    totals[number] += picture
                    counts[number] += 1
                sides.append(max(box[2] - box[0], box[3] - box[1]))
        self._known = np.flatnonzero(counts)
        self._means = totals[self._known] / counts[self._known][:, None, None]
        self._least = float(np.quantile(sides, 0.05)) / 2 if sides else 0.0

    def find(self, images: np.ndarray) -> list[Found]:
        """The objects of each of ``images (rows, height, width, channels)``."""
        from scipy import ndimage

        found = []
        for image in images:
            apart = _difference(image)
            patches, _ = ndimage.label(apart > _otsu(apart))
            boxes, classes, scores = [], [], []
            for rows, columns in ndimage.find_objects(patches):
                box = np.array([columns.start, rows.start, columns.stop, rows.stop], np.float64)
                if max(box[2] - box[0], box[3] - box[1]) < self._least:
                    continue
                picture = _picture(apart, box)
                if picture is None or not len(self._means):
                    continue
                away = np.sqrt(np.square(self._means - picture[None]).sum(axis=(1, 2)))
                nearest = int(away.argmin())
                second = np.partition(away, 1)[1] if len(away) > 1 else away[0] + 1
                boxes.append(box)
                classes.append(int(self._known[nearest]))
                scores.append(1 - away[nearest] / max(second, 1e-9))
            found.append(Found(np.array(boxes).reshape(-1, 4), np.array(classes, int), np.array(scores, float)))
        return found


def _difference(image: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    pixels = np.asarray(image, np.float64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    apart = np.abs(pixels - np.median(border, axis=0)[None, None]).max(axis=2)
    smoothed: np.ndarray = ndimage.uniform_filter(apart, 3)
    return smoothed


def _otsu(values: np.ndarray) -> float:
    """The value between two groups for which the variance between the groups is the largest."""
    counts, edges = np.histogram(values, bins=_LEVELS)
    middles = (edges[1:] + edges[:-1]) / 2
    below, weighted = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = weighted / below - (weighted[-1] - weighted) / above
        between = np.where((below > 0) & (above > 0), below * above * gap**2, -1.0)
    return float(edges[int(between.argmax()) + 1])


def _picture(apart: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The part of an image inside a box, of one size, from 0 to 1."""
    from PIL import Image

    x0, y0, x1, y1 = (round(float(value)) for value in box)
    cut = apart[max(y0, 0) : y1, max(x0, 0) : x1]
    if not cut.size or cut.max() <= 0:
        return None
    resized = Image.fromarray((cut / cut.max()).astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float64)
