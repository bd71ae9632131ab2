"""Measuring detections: average precision as COCO defines it, with intervals and paired comparisons over the images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import DICE, SHARE
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.support import mean_support

__all__ = ["OVERLAPS", "DetectionCounts", "Found", "average_precision", "overlap_matrix"]

register(
    Measure("map", "mAP@[.5:.95]", True, SHARE),
    Measure("map50", "mAP@0.5", True, SHARE),
    Measure("box_f1", "F1 of the boxes shown", True, DICE),
)

OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""The IoUs at which COCO counts a detection as right: 0.5, 0.55, …, 0.95."""

_RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The objects of one image, true or found.

    Attributes:
        boxes: ``(objects, 4)``: x0, y0, x1, y1 in pixels.
        classes: class numbers, ``(objects,)``.
        scores: ``(objects,)``, larger for surer ones; None for true objects.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def surer(self, least: float) -> Found:
        """The objects with at least this score."""
        if self.scores is None:
            return self
        kept = self.scores >= least
        return Found(self.boxes[kept], self.classes[kept], self.scores[kept])


def overlap_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The IoU of each of ``a (n, 4)`` with each of ``b (m, 4)``, float64 ``(n, m)``.

    >>> overlap_matrix(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2]])).round(4).tolist()
    [[0.3333]]
    """
    a, b = (np.asarray(each, np.float64).reshape(-1, 4) for each in (a, b))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(np.maximum(each[:, 2:] - each[:, :2], 0), axis=1) for each in (a, b)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def average_precision(scores: np.ndarray, right: np.ndarray, objects: float) -> float:
    """The mean precision at the recalls 0, 0.01, …, 1, each the best of those at that recall or beyond.

    Args:
        scores: of the detections.
        right: which of them found an object, bool; no object twice.
        objects: how many there are.

    Returns:
        NaN without objects.

    Reference: Lin et al. (2014), arXiv:1405.0312, and its cocoeval.py; VOC's measure of 2007 has 11 recalls instead of 101.

    Example:
        >>> round(average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2), 4)
        0.835
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.asarray(right, np.float64)[order]
    return float(_areas(hits[None], 1 - hits[None], float(objects))[0])


@dataclasses.dataclass(frozen=True, eq=False)
class OfClass:
    """The detections of one class, the surest first."""

    image: np.ndarray  # (detections,)
    score: np.ndarray
    right: np.ndarray  # bool (overlaps, detections)
    objects: np.ndarray  # (images,) how many true ones

    def take(self, images: np.ndarray) -> OfClass:
        """The detections of some images, which get new numbers; the order is kept, and those of an image taken twice follow each other."""
        places = np.argsort(images, kind="stable")
        low, high = (np.searchsorted(images[places], self.image, side) for side in ("left", "right"))
        times = high - low
        kept = np.repeat(np.arange(len(self.image)), times)
        nth = np.arange(len(kept)) - np.repeat(np.cumsum(times) - times, times)
        return OfClass(places[low[kept] + nth], self.score[kept], self.right[:, kept], self.objects[images])


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionCounts(Evidence):
    """Which detections of a test are right at each overlap, from which the average precision of all or some images is computed.

    Attributes:
        of_class: by class number.
        images: how many.
        threshold: the score from which a detection counts in :meth:`f1`.

    Example:
        >>> true = Found(np.array([[0, 0, 10, 10]]), np.array([0]))
        >>> ours = Found(np.array([[0, 0, 10, 8]]), np.array([0]), np.array([0.9]))
        >>> counts = DetectionCounts.of([ours], [true], classes=1)
        >>> round(counts.mean(), 3), counts.mean(overlaps=(0.5,))
        (0.7, 1.0)
    """

    of_class: tuple[OfClass, ...]
    images: int
    threshold: float = 0.5

    primary: ClassVar[str] = "map"
    noun: ClassVar[str] = "test images"
    unlike: ClassVar[str] = "the two sets of detections are of different images; expected the same objects"

    @classmethod
    def of(
        cls, found: Sequence[Found], true: Sequence[Found], *, classes: int, threshold: float = 0.5
    ) -> DetectionCounts:
        """Match detections with objects, image by image and class by class.

        The surest detection takes the object that it overlaps most, then the next one of what is left; at each of
        :data:`OVERLAPS` apart.

        Raises:
            DataError: not as many images of each, or detections without scores.
        """
        if len(found) != len(true) or not len(true):
            raise DataError(f"detections of {len(found)} images for {len(true)}; expected one for each, of one or more")
        if any(each.scores is None for each in found):
            raise DataError("the detections have no scores, by which they are sorted")
        return cls(tuple(_matched(found, true, number) for number in range(classes)), len(true), threshold)

    def by_class(self, weights: np.ndarray | None = None, *, overlaps: Sequence[float] = OVERLAPS) -> np.ndarray:
        """The average precision of each class, ``(classes,)``, the mean over ``overlaps``; NaN for one without objects."""
        by = np.ones(self.images) if weights is None else weights
        rows = [OVERLAPS.index(overlap) for overlap in overlaps]
        found = []
        for each in self.of_class:
            counted = by[each.image]
            right = each.right[rows] * counted[None]
            found.append(_areas(right, counted[None] - right, float(by @ each.objects)).mean())
        return np.array(found)

    def mean(self, weights: np.ndarray | None = None, *, overlaps: Sequence[float] = OVERLAPS) -> float:
        """The mean average precision (mAP) over the classes that have objects; ``weights`` says how often each image counts."""
        values = self.by_class(weights, overlaps=overlaps)
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else float("nan")

    def f1(self, weights: np.ndarray | None = None, *, threshold: float | None = None) -> float:
        """``2·right / (found + objects)`` of the detections from ``threshold`` on, at an overlap of ½, all classes together."""
        by = np.ones(self.images) if weights is None else weights
        least = self.threshold if threshold is None else threshold
        right = count = objects = 0.0
        for each in self.of_class:
            shown = by[each.image] * (each.score >= least)
            right += float(shown @ each.right[0])
            count += float(shown.sum())
            objects += float(by @ each.objects)
        return 2 * right / (count + objects) if count + objects else float("nan")

    def best_threshold(self) -> float:
        """The score at which :meth:`f1` is the highest, in hundredths."""
        tried = np.arange(5, 96) / 100
        return float(tried[int(np.argmax([self.f1(threshold=float(each)) for each in tried]))])

    def __len__(self) -> int:
        return self.images

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """mAP over all overlaps, at an overlap of ½, and the F1 of the boxes that are shown."""
        of = {
            "map": lambda: self.mean(weights),
            "map50": lambda: self.mean(weights, overlaps=OVERLAPS[:1]),
            "box_f1": lambda: self.f1(weights),
        }
        return {name: of[name]() for name in (of if names is None else names)}

    def support(self, name: str) -> float:
        """The images that have each class, together."""
        counts = np.array([np.count_nonzero(each.objects) for each in self.of_class], float)
        return float(self.images) if name == "box_f1" else mean_support(counts[counts > 0])

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, of_class=tuple(each.take(rows) for each in self.of_class), images=len(rows))

    def _same(self, other: Self) -> bool:
        return len(self.of_class) == len(other.of_class) and all(
            np.array_equal(a.objects, b.objects) for a, b in zip(self.of_class, other.of_class, strict=True)
        )

    @functools.cached_property
    def size(self) -> int:
        return sum(each.right.size for each in self.of_class)


def _matched(found: Sequence[Found], true: Sequence[Found], number: int) -> OfClass:
    images, scores, rights, objects = [], [], [], []
    for image, (ours, theirs) in enumerate(zip(found, true, strict=True)):
        mine = np.flatnonzero(ours.classes == number)
        order = mine[np.argsort(-np.asarray(ours.scores)[mine], kind="stable")]
        boxes = theirs.boxes[theirs.classes == number]
        objects.append(len(boxes))
        images.append(np.full(len(order), image))
        scores.append(np.asarray(ours.scores, np.float64)[order])
        rights.append(_right(overlap_matrix(ours.boxes[order], boxes)))
    score = np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    return OfClass(
        np.concatenate(images)[order], score[order], np.concatenate(rights, axis=1)[:, order], np.array(objects, float)
    )


def _right(overlaps: np.ndarray) -> np.ndarray:
    """Which detections (rows, the surest first) find an object (columns), at each of OVERLAPS: bool ``(10, detections)``."""
    right = np.zeros((len(OVERLAPS), len(overlaps)), np.bool_)
    if not overlaps.size:
        return right
    for level, least in enumerate(OVERLAPS):
        free = overlaps.copy()
        for row in range(len(free)):
            best = int(free[row].argmax())
            if free[row, best] >= least:
                right[level, row] = True
                free[:, best] = -1
    return right


def _areas(right: np.ndarray, wrong: np.ndarray, objects: float) -> np.ndarray:
    """Average precision of each row of ``(overlaps, detections)``, sorted by score; how often each is right and wrong."""
    if objects <= 0:
        return np.full(len(right), np.nan)
    if not right.shape[1]:
        return np.zeros(len(right))
    hits, misses = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
    precision = hits / np.maximum(hits + misses, np.finfo(float).tiny)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    areas = np.empty(len(right))
    for row, reached in enumerate(hits / objects):
        places = np.searchsorted(reached, _RECALLS, side="left")
        inside = places < reached.shape[0]
        areas[row] = envelope[row, places[inside]].sum() / len(_RECALLS)
    return areas
