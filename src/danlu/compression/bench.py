"""A recipe whose training is a compression: the rest of the run's training, from the data to the fitted head, is as it was."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from danlu.compression.technique import Made, Technique
from danlu.compression.workshop import Workshop
from danlu.engine import Fitted
from danlu.tasks.recipe import Recipe

__all__ = ["Bench"]


class Bench(Recipe):
    """The recipe of a run, in whose place of training a trained network goes through techniques.

    A domain learns by its recipe's ``fit`` (or ``cross_fit``), and fits the head to what comes out of it. So whatever kind of data it is,
    a compressed network gets thresholds, a temperature and intervals of its own, on rows that it did not learn from.

    Args:
        start: the trained network with its variables.
        techniques: what is done with it, one after the other.
        used: the workshops that they used: a list, which is filled.
        made: the network after each technique, with its variables: another.
    """

    start: Any = None
    techniques: tuple[Technique, ...] = ()
    used: Any = None
    made: Any = None

    @classmethod
    def of(cls, plan: Recipe, start: Made, techniques: tuple[Technique, ...]) -> Bench:
        """That of a run's recipe."""
        fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(Recipe)}
        single = {"snapshots": 1, "average": "none", "average_decay": None, "average_start": None}
        return cls(**{**fields, **single}, start=start, techniques=techniques, used=[], made=[])

    @property
    def anew(self) -> bool:
        return False

    def fit(self, data: Any, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        return self._compressed(data, None, rows, seed, how)

    def cross_fit(self, data: Any, folds: np.ndarray | None, *, rows: int, seed: int = 0, **how: Any) -> Fitted:
        return self._compressed(data, folds, rows, seed, how)

    def _compressed(self, data: Any, folds: np.ndarray | None, rows: int, seed: int, how: dict[str, Any]) -> Fitted:
        initial = how.pop("initial", None)
        plan = Recipe(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})
        workshop = Workshop(plan, data, how, rows, initial, folds, seed)
        self.used.append(workshop)
        made: Made = self.start
        for technique in self.techniques:
            made = technique(*made, workshop)
            self.made.append(made)
        return workshop.record(*made)
