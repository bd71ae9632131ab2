"""Measuring what draws new rows: how well it knows test rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import LOSS, MEAN
from danlu.evaluate.measures import Measure, register

__all__ = ["RowScores"]

register(
    Measure("elbo", "nats a row (−ELBO)", False, MEAN),
    Measure("importance_weighted", "nats a row (32 codes)", False, MEAN),
    Measure("denoising_loss", "denoising loss", False, LOSS),
    Measure("velocity_loss", "velocity loss", False, LOSS),
    Measure("critic", "the critic's doubt", False, MEAN),
    Measure("log_likelihood", "nats a row", False, MEAN),
)


@dataclasses.dataclass(frozen=True, eq=False)
class RowScores(Evidence):
    """What a model that draws says of test rows: some values of each, lower is better; models are compared by the mean of the first.

    Attributes:
        values: float64 ``(rows, measures)``.
        names: the measures, such as ``("elbo", "importance_weighted")``.
        of: a number of each row, by which the rows are known again ``(rows,)``.

    Example:
        >>> str(RowScores(np.arange(100.0)[:, None], ("elbo",), np.arange(100)).scores()["elbo"])
        '49.5 (43.25 to 55.75)'
    """

    values: np.ndarray
    names: tuple[str, ...]
    of: np.ndarray

    noun: ClassVar[str] = "test rows"
    unlike: ClassVar[str] = "the two models' scores are of different rows; expected the same rows in the same order"

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names) or not len(self.values):
            raise DataError(
                f"scores of shape {self.values.shape} for the measures {', '.join(self.names)}; expected a row or more, a column each"
            )

    @property
    def primary(self) -> str:
        """The first measure."""
        return self.names[0]

    def __len__(self) -> int:
        return len(self.values)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The mean of each; ``weights (rows,)`` says how often each row counts."""
        by = np.ones(len(self)) if weights is None else weights
        means = by @ self.values / by.sum()
        return {
            name: float(mean) for name, mean in zip(self.names, means, strict=True) if names is None or name in names
        }

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, values=self.values[rows], of=self.of[rows])

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.of, other.of) and self.names[0] == other.names[0]
