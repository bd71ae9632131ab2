"""The kinds of measures, each with its own way to compute an interval."""

from __future__ import annotations

import dataclasses
import math

__all__ = [
    "CORRELATION",
    "DICE",
    "FIT",
    "GAP",
    "LOSS",
    "MEAN",
    "MEAN_SQUARE",
    "MIDDLE",
    "PERCENT",
    "QUANTILE_LOSS",
    "ROOT_SQUARE",
    "SHARE",
    "SQUARED_GAP",
    "Family",
]


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of measure.

    Attributes:
        kind: ``"share"``: between two bounds, which a perfect or useless answer reaches; ``"loss"``: from 0 upwards; ``"fit"``: 1
            minus a loss; ``"mean"``: any number; ``"middle"``: the median of the rows' errors; ``"gap"``: the size of several means
            together, which chance alone keeps from being 0.
        low, high: the bounds of a share.
        dice: whether the share is an F1 or a Dice, ``2·q/(1 + q)`` of the share ``q`` of hits among hits, misses and false alarms.
        power: of a loss: that which is a mean of the rows' values (2 of a root of squares); of a gap: of its terms, which are added
            up (1: their sizes, 2: their squares).
        guards: of a loss: how many more of the worst row its interval allows for, of n rows ``guards[0] + guards[1]/n``. They are the
            smallest with which ``benchmarks/coverage.py`` holds for normal, Student's and log-normal errors.
    """

    kind: str
    low: float = 0.0
    high: float = 1.0
    dice: bool = False
    power: float = 1.0
    guards: tuple[float, float] = (2.0, 75.0)

    @property
    def range(self) -> float:
        """How far apart two shares can be."""
        return self.high - self.low

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of a measure."""
        if self.kind == "share":
            return self.low, self.high
        return (-math.inf if self.kind in ("mean", "fit") else 0.0), (1.0 if self.kind == "fit" else math.inf)


SHARE = Family("share")
PERCENT = Family("share", 0.0, 100.0)
CORRELATION = Family("share", -1.0, 1.0)
DICE = Family("share", dice=True)
LOSS, MEAN_SQUARE = Family("loss"), Family("loss", guards=(4.0, 650.0))
QUANTILE_LOSS = Family("loss", guards=(2.0, 250.0))
ROOT_SQUARE = Family("loss", power=2.0, guards=(4.0, 650.0))
FIT = Family("fit", guards=(4.0, 650.0))
MEAN, MIDDLE = Family("mean"), Family("middle")
GAP, SQUARED_GAP = Family("gap"), Family("gap", power=2.0)
