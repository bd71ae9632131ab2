"""The baselines of a segmentation: the most common class everywhere, and a logistic regression of each pixel's surroundings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

__all__ = ["CommonestClass", "PixelRegression", "surroundings"]

_VOID = 255
_PIXELS = 40_000  # that the regression learns from
_WORK = 2e7  # pixels times features times classes of its fit, which take about ten seconds


class CommonestClass:
    """Every pixel is of the class that most training pixels are of.

    >>> CommonestClass(np.array([[[1, 1, 0, 255, 255, 255]]])).segment(np.zeros((1, 1, 2, 1), np.uint8)).tolist()
    [[[1, 1]]]
    """

    label = "the most common class"

    def __init__(self, masks: np.ndarray) -> None:
        counts = sum(np.bincount(mask.ravel(), minlength=256) for mask in masks)
        self.number = int(np.argmax(np.asarray(counts)[:_VOID]))

    def segment(self, images: np.ndarray) -> np.ndarray:
        """Class numbers ``(images, height, width)``."""
        return np.full(images.shape[:3], self.number, np.uint8)


class PixelRegression:
    """A logistic regression from :func:`surroundings` to the class, fitted to pixels drawn at random.

    Args:
        images: ``uint8 (images, height, width, channels)``.
        masks: class numbers, 255 for pixels that do not count.
        seed: decides which pixels are drawn.
    """

    label = "logistic regression of pixels"

    def __init__(self, images: np.ndarray, masks: np.ndarray, *, seed: int = 0) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        rng = np.random.default_rng(seed)
        classes = len(np.unique(masks[masks != _VOID]))
        width = surroundings(images[:1]).shape[-1]
        most = int(min(_PIXELS, max(_WORK / (width * classes), 2000)))
        each = -(-most // len(images))
        features: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        for image, mask in zip(images, masks, strict=True):
            there = np.flatnonzero(mask.ravel() != _VOID)
            drawn = rng.choice(there, min(each, len(there)), replace=False)
            features.append(surroundings(image[None])[0].reshape(-1, width)[drawn])
            labels.append(mask.ravel()[drawn])
        x, y = np.concatenate(features), np.concatenate(labels)
        self._model: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one that has not quite converged is a baseline as well
            self._model.fit(x, y)

    def segment(self, images: np.ndarray) -> np.ndarray:
        """Class numbers ``(images, height, width)``."""
        out = np.empty(images.shape[:3], np.uint8)
        for row, image in enumerate(images):
            seen = surroundings(image[None])[0]
            out[row] = self._model.predict(seen.reshape(-1, seen.shape[-1])).reshape(out.shape[1:])
        return out


def surroundings(images: np.ndarray) -> np.ndarray:
    """The features of a pixel and its neighbourhood: its 3×3 pixels, the mean and the deviation of its 9×9, and where it is.

    Args:
        images: ``uint8 (images, height, width, channels)``.

    Returns:
        float32 ``(images, height, width, 11·channels + 2)``, of numbers about −1 … 1.

    Example:
        >>> surroundings(np.zeros((1, 4, 5, 3), np.uint8)).shape
        (1, 4, 5, 35)
    """
    x = images.astype(np.float32) / 127.5 - 1
    rows, height, width, _ = x.shape
    near = _shifted(x, 1)
    mean = _box_mean(x, 4)
    spread = np.sqrt(np.maximum(_box_mean(x * x, 4) - mean * mean, 0))
    down, across = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    place = np.broadcast_to(np.stack([down, across], axis=-1), (rows, height, width, 2))
    return np.concatenate([*near, mean, spread, place], axis=-1, dtype=np.float32)


def _shifted(x: np.ndarray, reach: int) -> list[np.ndarray]:
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    steps = range(2 * reach + 1)
    return [padded[:, i : i + x.shape[1], j : j + x.shape[2]] for i in steps for j in steps]


def _box_mean(x: np.ndarray, reach: int) -> np.ndarray:
    """The mean over a square of ``2·reach + 1`` pixels a side, by running sums along each axis."""
    side = 2 * reach + 1
    for axis in (1, 2):
        pad = [(0, 0)] * x.ndim
        pad[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(x, pad, mode="edge"), axis=axis, dtype=np.float64)
        n = sums.shape[axis]
        x = (sums.take(np.arange(side, n), axis=axis) - sums.take(np.arange(n - side), axis=axis)) / side
    return x
