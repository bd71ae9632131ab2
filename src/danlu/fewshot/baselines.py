"""What a model for few examples is compared with, none of which was trained: the nearest picture, and the nearest drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.fewshot.answers import Drawn, Quiz

__all__ = ["Drawings", "is_drawn", "nearest", "pixels"]

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(rows, others) ->`` the distance of each row to each other one, ``(rows, others)``."""


def nearest(drawn: Drawn, distances: Distances, vectors: np.ndarray | None = None) -> Quiz:
    """The quiz of whoever answers the class of the nearest example: its logits are minus the distances to those.

    Args:
        drawn: the episodes.
        distances: of rows by their numbers.
        vectors: of all rows, where they are distances of vectors.
    """
    e, found = drawn.episode, []
    for order in drawn.order:
        support, queries = order[:, : e.shots].ravel(), order[:, e.shots :].ravel()
        far = distances(queries, support).reshape(e.ways, e.queries, e.ways, e.shots)
        found.append(-far.min(axis=-1))  # (ways, queries, ways)
    return Quiz(drawn, np.stack(found), vectors)


def pixels(images: np.ndarray, most: int = 28) -> np.ndarray:
    """Pictures as vectors ``(rows, pixels)`` of 0 … 1, of at most so many cells a side, which are means."""
    rows, height, width, channels = images.shape
    by = -(-max(height, width) // most)
    kept = images[:, : height // by * by, : width // by * by].astype(np.float32) / 255
    cells = kept.reshape(rows, height // by, by, width // by, by, channels).mean(axis=(2, 4))
    found: np.ndarray = cells.reshape(rows, -1)  # (rows, cells * channels)
    return found


def is_drawn(images: np.ndarray) -> bool:
    """Whether grey pictures are drawings: most of their pixels are ground, and what is not is far from it.

    >>> is_drawn(np.full((1, 8, 8, 1), 255, np.uint8))
    False
    """
    some = images[:200]
    if some.shape[-1] != 1 or max(some.shape[1:3]) > 128:
        return False
    share = _ink(some).mean()
    return bool(0.01 < share < 0.4 and (np.abs(some.astype(int) - _ground(some)) < 64).mean() > 0.5)


def _ground(images: np.ndarray) -> float:
    return float(np.median(images))


def _ink(images: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.abs(images[..., 0].astype(np.float32) - _ground(images)) > 64
    return found


class Drawings:
    """Distances of drawings: the modified Hausdorff distance of their inked pixels, about their centres.

    ``max(mean_a min_b ‖a − b‖, mean_b min_a ‖a − b‖)`` over the inked pixels ``a`` and ``b`` of two drawings. With a map of each drawing
    that says of every place how far the nearest ink is, the means of all pairs are a product of two matrices.

    Args:
        images: uint8 ``(rows, height, width, 1)``.

    Reference: Dubuisson & Jain, "A modified Hausdorff distance for object matching" (1994); the baseline of Lake et al. (2019).
    """

    def __init__(self, images: np.ndarray) -> None:
        from scipy.ndimage import distance_transform_edt

        ink = _ink(images)
        rows, height, width = ink.shape
        side = 2 * max(height, width)
        placed = np.zeros((rows, side, side), bool)
        for row, marks in enumerate(ink):
            points = np.argwhere(marks)
            if not len(points):
                points = np.array([[0, 0]])
            moved = np.rint(points - points.mean(axis=0)).astype(int) + side // 2
            placed[row, moved[:, 0], moved[:, 1]] = True
        far = np.stack([distance_transform_edt(~marks) for marks in placed])
        self._far = far.reshape(rows, -1).astype(np.float32)  # (rows, side * side)
        flat = placed.reshape(rows, -1).astype(np.float32)  # (rows, side * side)
        self._ink = flat / flat.sum(axis=1, keepdims=True)

    def __call__(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        there, back = self._ink[rows] @ self._far[others].T, self._far[rows] @ self._ink[others].T
        found: np.ndarray = np.maximum(there, back)
        return found


def euclidean(vectors: np.ndarray) -> Distances:
    """Distances of vectors."""

    def distances(rows: np.ndarray, others: np.ndarray) -> Any:
        a, b = vectors[rows], vectors[others]
        return np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0))

    return distances
