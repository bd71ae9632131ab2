"""Numbers without a true value to compare with: the returns of episodes, or of seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import MEAN
from danlu.evaluate.intervals import Interval, intervals
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.reliability import interquartile_mean

__all__ = ["Sample"]

register(
    Measure("return", "mean return", True, MEAN),
    Measure("sampled_return", "mean return, actions drawn", True, MEAN),
    Measure("iqm_return", "IQM of the seeds' returns", True, MEAN),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample(Evidence):
    """Independent numbers and one measure of them: their mean, or their interquartile mean for ``"iqm_return"``.

    Two samples of one measure can be compared whatever their sizes: their rows have nothing to do with each other.

    Example:
        >>> str(Sample(np.arange(100.0), "return").interval())
        '49.5 (43.25 to 55.75)'
    """

    values: np.ndarray
    name: str

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
        return {self.name: float(by @ values / by.sum())}

    def _take(self, rows: np.ndarray) -> Self:
        return dataclasses.replace(self, values=np.asarray(self.values)[rows])

    def _same(self, other: Self) -> bool:
        return self.name == other.name

    def support(self, name: str) -> float:
        return float(len(self) - 2 * (len(self) // 4) if name == "iqm_return" else len(self))

    def interval(self, *, seed: int = 0) -> Interval:
        """The measure with its 95 % interval."""
        return intervals(self, seed=seed)[self.name]
