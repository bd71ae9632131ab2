"""Measuring a segmentation: IoU, Dice and pixel accuracy, with intervals and paired comparisons over the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import DICE, SHARE
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.support import mean_support

__all__ = ["MaskCounts"]

register(
    Measure("mean_iou", "mean IoU", True, SHARE),
    Measure("mean_dice", "mean Dice", True, DICE),
    Measure("pixel_accuracy", "pixel accuracy", True, SHARE),
)

_VOID = 255  # the class number of a pixel that is not counted


@dataclasses.dataclass(frozen=True, eq=False)
class MaskCounts(Evidence):
    """How many pixels of each class are right, true and predicted in each image, from which the measures of any resample are computed.

    Attributes:
        hits, true, found: float64 ``(images, classes)``.

    Example:
        >>> counts = MaskCounts.of(np.array([[[0, 1, 1, 1]]]), np.array([[[0, 0, 1, 255]]]), classes=2)
        >>> counts.iou().tolist(), counts.pixel_accuracy().round(4).item()
        ([0.5, 0.5], 0.6667)
    """

    hits: np.ndarray
    true: np.ndarray
    found: np.ndarray

    primary: ClassVar[str] = "mean_iou"
    noun: ClassVar[str] = "test images"
    unlike: ClassVar[str] = "the two segmentations are of different masks; expected the same images in the same order"

    @classmethod
    def of(cls, found: np.ndarray, true: np.ndarray, *, classes: int) -> MaskCounts:
        """Count the pixels.

        Args:
            found, true: class numbers ``(images, height, width)``. A pixel whose true class is 255 is not counted.

        Raises:
            DataError: masks of other shapes, or class numbers that do not exist.
        """
        found, true = np.asarray(found), np.asarray(true)
        if found.shape != true.shape or found.ndim < 2 or not len(true):
            raise DataError(f"masks of the shape {found.shape} for {true.shape}; expected as many of the same size")
        counts = np.zeros((3, len(true), classes))
        for row, (ours, theirs) in enumerate(zip(found, true, strict=True)):
            counted = theirs != _VOID
            ours, theirs = ours[counted].astype(np.int64), theirs[counted].astype(np.int64)
            if max(ours.max(initial=0), theirs.max(initial=0)) >= classes:
                raise DataError(
                    f"mask {row} has the class number {max(ours.max(), theirs.max())}; expected 0 to {classes - 1}"
                )
            for place, numbers in enumerate((theirs[ours == theirs], theirs, ours)):
                counts[place, row] = np.bincount(numbers, minlength=classes)
        return cls(*counts)

    def __len__(self) -> int:
        return len(self.true)

    def _sums(self, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        by = np.ones(len(self)) if weights is None else weights
        return by @ self.hits, by @ self.true, by @ self.found

    def iou(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The intersection over the union of each class, over all pixels of all images; NaN for a class that is nowhere.

        Args:
            weights: how often each image counts, ``(images,)`` or ``(…, images)``, also below.
        """
        hits, true, found = self._sums(weights)
        union = true + found - hits
        return np.divide(hits, union, out=np.full_like(hits, np.nan), where=union > 0)

    def dice(self, weights: np.ndarray | None = None) -> np.ndarray:
        """``2·hits / (true + found)`` of each class: its F1 over the pixels; NaN for a class that is nowhere."""
        hits, true, found = self._sums(weights)
        return np.divide(2 * hits, true + found, out=np.full_like(hits, np.nan), where=true + found > 0)

    def pixel_accuracy(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The share of the pixels that are right; ``weights (images,)`` says how often each image counts."""
        hits, true, _ = self._sums(weights)
        total = true.sum(axis=-1)
        return np.divide(hits.sum(axis=-1), total, out=np.full_like(total, np.nan), where=total > 0)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The mean IoU and the mean Dice of the classes that occur, and the pixel accuracy.

        Reference: Everingham et al. (2015), "The PASCAL Visual Object Classes challenge: a retrospective", section 2.4, for the
        IoU over all images together (and not of each image, which favours images with little in them).
        """
        of = {
            "mean_iou": lambda: float(_mean(self.iou(weights))),
            "mean_dice": lambda: float(_mean(self.dice(weights))),
            "pixel_accuracy": lambda: float(self.pixel_accuracy(weights)),
        }
        return {name: of[name]() for name in (of if names is None else names)}

    def support(self, name: str) -> float:
        """The images that have each class, together; all of them for the pixel accuracy."""
        counts = np.count_nonzero(self.true + self.found, axis=0)
        return float(len(self)) if name == "pixel_accuracy" else mean_support(counts[counts > 0])

    def of_images(self) -> np.ndarray:
        """The mean IoU of each image by itself, ``(images,)``; NaN where no pixel counts."""
        union = self.true + self.found - self.hits
        return _mean(np.divide(self.hits, union, out=np.full_like(union, np.nan), where=union > 0))

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, hits=self.hits[rows], true=self.true[rows], found=self.found[rows])

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.true, other.true)

    @property
    def constant(self) -> bool:
        """Whether one class was found in all pixels of all images."""
        return int((self.found > 0).any(axis=0).sum()) == 1


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
