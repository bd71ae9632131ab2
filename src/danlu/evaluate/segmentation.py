"""Measuring a segmentation: IoU, Dice and pixel accuracy, with intervals and paired comparisons over the images."""

from __future__ import annotations

import dataclasses

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.bootstrap import Interval, quantiles, resample_weights
from danlu.evaluate.compare import Comparison, compared
from danlu.evaluate.measures import MEASURES

__all__ = ["MaskCounts"]

_VOID = 255  # the class number of a pixel that is not counted
_FEW = 20  # test images


@dataclasses.dataclass(frozen=True, eq=False)
class MaskCounts:
    """How many pixels of each class are right, true and found in each image, from which the measures of any resample follow.

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
            weights: how often each image counts: ``(images,)`` or ``(resamples, images)``, also below.
        """
        hits, true, found = self._sums(weights)
        union = true + found - hits
        return np.divide(hits, union, out=np.full_like(hits, np.nan), where=union > 0)

    def dice(self, weights: np.ndarray | None = None) -> np.ndarray:
        """``2·hits / (true + found)`` of each class: its F1 over the pixels; NaN for a class that is nowhere."""
        hits, true, found = self._sums(weights)
        return np.divide(2 * hits, true + found, out=np.full_like(hits, np.nan), where=true + found > 0)

    def pixel_accuracy(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The share of the pixels that are right."""
        hits, true, _ = self._sums(weights)
        total = true.sum(axis=-1)
        return np.divide(hits.sum(axis=-1), total, out=np.full_like(total, np.nan), where=total > 0)

    def measures(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The mean IoU and the mean Dice of the classes that are somewhere, and the pixel accuracy.

        Reference: Everingham et al. (2015), "The PASCAL Visual Object Classes challenge: a retrospective", section 2.4, for the
        IoU over all images together (and not of each image, which favours images with little in them).
        """
        return {
            "mean_iou": _mean(self.iou(weights)),
            "mean_dice": _mean(self.dice(weights)),
            "pixel_accuracy": self.pixel_accuracy(weights),
        }

    def of_images(self) -> np.ndarray:
        """The mean IoU of each image by itself, ``(images,)``; NaN where no pixel counts."""
        union = self.true + self.found - self.hits
        return _mean(np.divide(self.hits, union, out=np.full_like(union, np.nan), where=union > 0))

    def scores(self, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """The measures with their 95 % intervals, from resamples of the images."""
        drawn = self.measures(_resamples(len(self), resamples, seed))
        return {
            name: Interval(float(value), *quantiles(drawn[name], 0.95))
            for name, value in self.measures().items()
            if np.isfinite(value)
        }

    def compare(
        self, other: MaskCounts, label: str, *, resamples: int = 1000, seed: int = 0, constant: bool = False
    ) -> Comparison:
        """Whether these masks are better by mean IoU than others for the same images, by the paired bootstrap.

        Raises:
            DataError: of other images.
        """
        if not np.array_equal(self.true, other.true):
            raise DataError("the two segmentations are of different masks; expected the same images in the same order")
        by = _resamples(len(self), resamples, seed)
        gaps = self.measures(by)["mean_iou"] - other.measures(by)["mean_iou"]
        values = [float(each.measures()["mean_iou"]) for each in (self, other)]
        few = "" if len(self) >= _FEW else f"{len(self)} test images are too few to tell"
        measure = MEASURES["mean_iou"]
        return compared(measure, values[0], values[1], quantiles(gaps, 0.95), label, constant=constant, few=few)


def _resamples(images: int, resamples: int, seed: int) -> np.ndarray:
    return np.stack(list(resample_weights(images, resamples=resamples, seed=seed)))


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is not NaN."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
