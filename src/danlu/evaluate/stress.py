"""What a model is worth when its inputs are worse than those it was tested on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from danlu.evaluate.intervals import Interval, difference, figure, intervals
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.rows import Rows
from danlu.prose import padded, short, wide

__all__ = ["Stress", "StressRow", "stressed"]


@dataclasses.dataclass(frozen=True)
class StressRow:
    """The test under one change of the inputs.

    Attributes:
        change: in words, such as ``"10 % of the values missing"``.
        kind: what kind of change: ``"noise"``, ``"missing"``, ….
        score: the measure under it.
        worse: how much worse than without it, with its interval of the same rows.
    """

    change: str
    kind: str
    score: Interval
    worse: Interval

    @property
    def told(self) -> bool:
        """Whether the rows tell that it is worse."""
        return bool(self.worse.low > 0)


@dataclasses.dataclass(frozen=True)
class Stress:
    """A model under changes of its inputs.

    Attributes:
        measure: by which it is told.
        clean: the score without any change.
        rows: the changes, in their order.
        tested: how many rows.
    """

    measure: str
    clean: Interval
    rows: tuple[StressRow, ...]
    tested: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""

        def plain(found: Interval) -> dict[str, Any]:
            return {"value": found.value, "interval": [found.low, found.high]}

        rows = [
            {"change": each.change, "kind": each.kind, "score": plain(each.score), "worse": plain(each.worse)}
            for each in self.rows
        ]
        return {"measure": self.measure, "clean": plain(self.clean), "rows": rows, "tested": self.tested}

    def __str__(self) -> str:
        label = MEASURES[self.measure].label
        cells = [(f"{self.tested:,} rows", label, "worse by")]
        cells.append(("as they are", figure(self.clean.value, 3), ""))
        cells += [(short(each.change, 44), figure(each.score.value, 3), each.worse.brief) for each in self.rows]
        widths = [max(map(wide, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        )


def stressed(clean: Rows, changed: Iterable[tuple[str, str, Rows]], *, measure: str | None = None) -> Stress:
    """The scores of the same rows under changes of their inputs.

    Args:
        clean: the answers without a change.
        changed: the kind of each change, what it is in words, and the answers under it.
        measure: by which they are told; None is accuracy of classes, or MAE of a quantity.

    Example:
        >>> import numpy as np
        >>> clean = Rows("regression", np.zeros(40), np.linspace(-1, 1, 40))
        >>> noisy = Rows("regression", np.zeros(40), np.linspace(-2, 2, 40))
        >>> found = stressed(clean, [("noise", "noise", noisy)])
        >>> found.measure, found.rows[0].told
        ('mae', True)
    """
    name = measure or ("mae" if clean.task == "regression" else "accuracy")
    sign = -1.0 if MEASURES[name].higher_is_better else 1.0
    rows = []
    for kind, change, own in changed:
        score = intervals(own, (name,))[name]
        low, high = difference(own, clean, name)
        ends = (low, high) if sign > 0 else (-high, -low)
        worse = sign * (score.value - clean.measures(None, (name,))[name])
        rows.append(StressRow(change, kind, score, Interval(worse, *ends)))
    return Stress(name, intervals(clean, (name,))[name], tuple(rows), len(clean))
