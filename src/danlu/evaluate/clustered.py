"""Rows that were divided into segments: whether the division comes back, and how much of the columns it tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import CORRELATION, FIT
from danlu.evaluate.measures import Measure, register

__all__ = ["Clustered", "adjusted_rand"]

_MEASURES = register(
    Measure("segment_stability", "stability (adjusted Rand)", True, CORRELATION),
    Measure("segment_explained", "of the columns told by the segment", True, FIT),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Clustered(Evidence):
    """Test rows with their segments.

    ``segment_stability`` is the adjusted Rand index between the segments by one half of the training rows and those by the other, the
    mean over several divisions: 1 is the same segments, 0 is as alike as chance. One segment for all is stable at nothing: 0.
    ``segment_explained`` is R² of the columns (numbers in standard deviations, categories as ones among zeros) by the mean of a row's
    segment: 0 is what the mean of all rows tells.

    Attributes:
        labels: the segment of each row by both halves of each division ``(rows, divisions, 2)``.
        own: the squared distance of each row to the mean of its segment, of training rows ``(rows,)``.
        whole: to the mean of all of them ``(rows,)``.

    Example:
        >>> halves = np.array([[[0, 1]], [[0, 1]], [[1, 0]], [[1, 0]]])
        >>> Clustered(halves, np.full(4, 0.25), np.ones(4)).measures()
        {'segment_stability': 1.0, 'segment_explained': 0.75}
    """

    labels: np.ndarray
    own: np.ndarray
    whole: np.ndarray

    primary: ClassVar[str] = "segment_stability"
    unlike: ClassVar[str] = "the segments are of different rows; expected the same rows in the same order"

    def __post_init__(self) -> None:
        if (
            self.labels.ndim != 3
            or self.labels.shape[2] != 2
            or not len(self.labels) == len(self.own) == len(self.whole)
        ):
            raise DataError(
                f"segments of the shape {self.labels.shape} for {len(self.whole)} rows; expected two for each division of each row"
            )

    def __len__(self) -> int:
        return len(self.whole)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        by = np.ones(len(self)) if weights is None else weights
        found: dict[str, float] = {}
        for name in _MEASURES if names is None else names:
            if name == "segment_stability":
                found[name] = float(
                    np.mean([adjusted_rand(one, other, by) for one, other in self.labels.transpose(1, 2, 0)])
                )
            else:
                whole = float(by @ self.whole)
                found[name] = 1 - float(by @ self.own) / whole if whole else float("nan")
        return found

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, labels=self.labels[rows], own=self.own[rows], whole=self.whole[rows])

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.whole, other.whole)

    @property
    def constant(self) -> bool:
        return bool((self.labels == self.labels[:1]).all())

    @property
    def size(self) -> int:
        return int(self.labels.size)


def adjusted_rand(one: np.ndarray, other: np.ndarray, weights: np.ndarray | None = None) -> float:
    """How alike two divisions of the same rows are, by the pairs of rows that both put together, beyond chance::

        (Σ_ij C(n_ij, 2) − e) / (½·(a + b) − e),    a = Σ_i C(n_i, 2),  b = Σ_j C(n_j, 2),  e = a·b / C(n, 2)

    Two divisions of which neither tells rows apart are 0 alike.

    Args:
        one, other: a whole number for each row ``(rows,)``, from 0.
        weights: how often each row counts.

    Reference: Hubert & Arabie, "Comparing partitions" (1985), eq. 5.

    Example:
        >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])), adjusted_rand(np.zeros(4, int), np.zeros(4, int))
        (1.0, 0.0)
    """
    width = int(other.max()) + 1
    table = np.bincount(one * width + other, weights=weights, minlength=(int(one.max()) + 1) * width)
    table = table.reshape(-1, width)  # (segments of one, segments of the other)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    both, a, b = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    every = pairs(np.array([table.sum()]))
    chance = a * b / every if every > 0 else 0.0
    room = (a + b) / 2 - chance
    return (both - chance) / room if room > 1e-12 * max(every, 1.0) else 0.0
