"""Answers for rows that were not learnt from: what everything is fitted to that comes after the training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

__all__ = ["HeldOut"]


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """A model's answers for rows that the network that gave them did not learn from, and the truth.

    A head's calibration, threshold and intervals are fitted to them, the weights of a blend are chosen on them, and cross-validation
    is scored on them: on rows that were learnt from, every one of these would promise too much.

    Attributes:
        answers: what a head with nothing fitted answers (see :meth:`Head.fitted <danlu.trained.Head.fitted>`): probabilities
            ``(rows, classes)``, values ``(rows,)`` in the target's unit, objects, ….
        truth: as it was encoded, ``(rows, …)``.
        folds: the fold of each row, ``(rows,)``, where each row was answered by the network that left its fold out; None for rows
            that were held out from all training.
        weight: the weight of each row in the loss, ``(rows,)``, or None.
        counts: how often each row counts, ``(rows,)``: its weight without that of its class. A threshold, a mean cost and the scores of
            intervals are of rows as they come; None is once each.

    Example:
        >>> held = HeldOut(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 0]), folds=np.array([0, 1]))
        >>> len(held), held.crossed
        (2, True)
    """

    answers: Any
    truth: Any
    folds: np.ndarray | None = None
    weight: np.ndarray | None = None
    counts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def crossed(self) -> bool:
        """Whether the rows are the training rows, each answered by the network that did not see it."""
        return self.folds is not None
