"""Numbers without a true value to compare with: the returns of episodes, or of seeds; what is so of the rows of a group."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import LOSS, MEAN, SHARE
from danlu.evaluate.intervals import Interval, intervals
from danlu.evaluate.measures import MEASURES, Measure, register
from danlu.evaluate.ranking import dot
from danlu.evaluate.reliability import interquartile_mean

__all__ = ["Sample"]

register(
    Measure("return", "mean return", True, MEAN),
    Measure("sampled_return", "mean return, actions drawn", True, MEAN),
    Measure("episode_cost", "mean cost of an episode", False, LOSS),
    Measure("iqm_return", "IQM of the seeds' returns", True, MEAN),
    Measure("share_of_rows", "share of the rows", True, SHARE),
    Measure("mean_of_rows", "mean over the rows", True, MEAN),
    Measure("loss_of_rows", "mean loss of the rows", False, LOSS),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample(Evidence):
    """Numbers and one measure of them: their mean, or their interquartile mean for ``"iqm_return"``.

    Two samples of one measure can be compared whatever their sizes: their rows have nothing to do with each other.

    Attributes:
        values: ``(rows,)``; of ``"share_of_rows"`` 0 and 1, or true and false.
        name: the measure.
        groups: a number for each row, the same for rows that are not independent of each other; None where all are.

    Example:
        >>> str(Sample(np.arange(100.0), "return").interval())
        '49.5 (43.25 to 55.75)'
    """

    values: np.ndarray
    name: str
    groups: np.ndarray | None = None

    noun: ClassVar[str] = "test episodes"
    paired: ClassVar[bool] = False
    unlike: ClassVar[str] = "the two samples have different measures; expected the same one"

    def __len__(self) -> int:
        return len(self.values)

    @property
    def primary(self) -> str:
        """The only measure."""
        return self.name

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The measure by its name."""
        by = np.ones(len(self)) if weights is None else weights
        values = np.asarray(self.values, np.float64)
        if not by.any():
            return {self.name: float("nan")}
        if self.name == "iqm_return":
            return {self.name: interquartile_mean(np.repeat(values, by.astype(int)))}
        return {self.name: dot(by, values) / float(by.sum())}

    def _take(self, rows: np.ndarray) -> Self:
        groups = None if self.groups is None else np.asarray(self.groups)[rows]
        return dataclasses.replace(self, values=np.asarray(self.values)[rows], groups=groups)

    def _same(self, other: Self) -> bool:
        return self.name == other.name

    def support(self, name: str) -> float:
        if self.groups is not None:
            return float(len(np.unique(self.groups)))
        return float(len(self) - 2 * (len(self) // 4) if name == "iqm_return" else len(self))

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The rows of which it is so, and all rows."""
        if MEASURES[name].family.kind != "share":
            return None
        return np.array([float(np.sum(self.values))]), np.array([float(len(self))])

    @property
    def together(self) -> np.ndarray | None:
        return self.groups

    def interval(self, *, level: float = 0.95, seed: int = 0) -> Interval:
        """The measure with its interval, of 95 % unless another ``level`` is asked for."""
        return intervals(self, level=level, seed=seed)[self.name]
