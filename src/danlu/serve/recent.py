"""The newest rows that a version answered, beside what was usual in its training."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from danlu.errors import DanluError
from danlu.evaluate.histograms import Drift
from danlu.trained import Trained
from danlu.watch import Watch
from danlu.watch.traits import of_frame, of_rows

__all__ = ["Recent"]


class Recent:
    """The newest records and answers, in memory alone: they are counted when somebody asks, and never written.

    Args:
        trained: the version's model; one without a profile of its training is not watched.
        most: how many rows are kept.
    """

    def __init__(self, trained: Trained, most: int = 2000) -> None:
        self.trained, self.watched = trained, bool(trained.profile)
        self._pairs: deque[tuple[Mapping[str, Any], Mapping[str, Any]]] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, records: Sequence[Any], answers: Sequence[Mapping[str, Any]]) -> None:
        """Take records with the answers to them."""
        if self.watched:
            self._pairs.extend(zip(records, answers, strict=False))

    def drift(self) -> list[Drift]:
        """How far they are from what was usual."""
        pairs = list(self._pairs)
        if not pairs:
            return []
        watch = Watch(self.trained)
        try:
            rows = self.trained.encoder.rows([record for record, _ in pairs], lambda notice: None)
            watch.count(of_rows(self.trained, rows))
            answers = pl.DataFrame([answer for _, answer in pairs], infer_schema_length=None, strict=False)
            watch.count(of_frame(answers))
        except (DanluError, pl.exceptions.PolarsError):  # records of a version before, or answers of no one form
            pass
        return watch.drift()
