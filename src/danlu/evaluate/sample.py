"""Numbers that have no truth beside them: the returns of episodes, or of seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from danlu.evaluate.compare import Comparison, compared, too_few
from danlu.evaluate.intervals import Evidence, Interval, intervals
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.runs import interquartile_mean

__all__ = ["Sample", "compare_samples"]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample(Evidence):
    """Independent numbers and one measure of them: their mean, or, of ``"iqm_return"``, their interquartile mean.

    Example:
        >>> str(Sample(np.arange(100.0), "return").interval())
        '49.5 (43.25 to 55.75)'
    """

    values: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.values)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The measure by its name."""
        by = np.ones(len(self)) if weights is None else weights
        values = np.asarray(self.values, np.float64)
        if self.name == "iqm_return":
            return {self.name: interquartile_mean(np.repeat(values, by.astype(int)))}
        return {self.name: float(by @ values / by.sum())}

    def support(self, name: str) -> float:
        return float(len(self) - 2 * (len(self) // 4) if name == "iqm_return" else len(self))

    def interval(self, *, seed: int = 0) -> Interval:
        """The measure with its 95 % interval."""
        return intervals(self, seed=seed)[self.name]


@dataclasses.dataclass(frozen=True, eq=False)
class _Apart(Evidence):
    """The mean of one sample minus that of another that has nothing to do with it."""

    ours: Sample
    theirs: Sample

    def __len__(self) -> int:
        return len(self.ours) + len(self.theirs)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        by = np.ones(len(self)) if weights is None else weights
        cut, name = len(self.ours), self.ours.name
        return {name: self.ours.measures(by[:cut])[name] - self.theirs.measures(by[cut:])[name]}


def compare_samples(ours: Sample, theirs: Sample, label: str, *, name: str, tested: str, seed: int = 0) -> Comparison:
    """Which of two independent samples has the larger mean; arguments as of :func:`~danlu.evaluate.compare.compared`."""
    values = [float(np.mean(each.values, dtype=np.float64)) for each in (ours, theirs)]
    found = intervals(_Apart(ours, theirs), seed=seed)[ours.name]
    ends = (found.low, found.high)
    if not found.known and all(np.ptp(each.values) == 0 and len(each) >= 6 for each in (ours, theirs)):
        ends = (found.value, found.value)  # every episode brought the same
    few = "" if np.isfinite(ends).all() else too_few(len(ours), tested)
    return compared(MEASURES[ours.name], values[0], values[1], ends, label, name=name, few=few)
