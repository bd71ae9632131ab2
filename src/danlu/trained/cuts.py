"""The thresholds of groups in a head: the decision between two classes by the group that a row is of."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.errors import ArtifactError, SchemaError
from danlu.evaluate.groups import names_of

__all__ = ["Cuts"]


@dataclasses.dataclass(frozen=True)
class Cuts:
    """The probability of the second class from which it is predicted, for each group of rows.

    Attributes:
        columns: that name the groups, all of them together.
        limits: between the groups of numbers, for each column.
        names: of the groups.
        thresholds: of each.
    """

    columns: tuple[str, ...]
    limits: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    thresholds: tuple[float, ...]

    def of(self, rows: Any, otherwise: float) -> np.ndarray:
        """The threshold of each row, ``(rows,)``, whatever the rows beside it; a row of a group that was not there has ``otherwise``.

        Raises:
            SchemaError: rows without the columns.
        """
        lost = [name for name in self.columns if not isinstance(rows, pl.DataFrame) or name not in rows.columns]
        if lost:
            raise SchemaError(
                f"the model decides by the groups of {', '.join(map(repr, self.columns))}; the rows lack {', '.join(map(repr, lost))}",
                hint="give these columns as well; the model does not see them, only its threshold goes by them",
            )
        own = dict(zip(self.names, self.thresholds, strict=True))
        known: dict[tuple[Any, ...], float] = {}

        def threshold(values: tuple[Any, ...]) -> float:
            if values not in known:
                each = [names_of(value, ends) for value, ends in zip(values, self.limits, strict=True)]
                names = map(" & ".join, itertools.product(*each))
                known[values] = next((own[name] for name in names if name in own), otherwise)
            return known[values]

        return np.array([threshold(values) for values in rows.select(self.columns).iter_rows()], np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "columns": list(self.columns),
            "limits": [list(each) for each in self.limits],
            "names": list(self.names),
            "thresholds": list(self.thresholds),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self | None:
        """The inverse of :meth:`to_json`; None where nothing was saved.

        Raises:
            ArtifactError: it is damaged.
        """
        if data is None:
            return None
        given = dict(data) if isinstance(data, Mapping) else {}
        columns, limits, names, thresholds = (given.get(name) for name in ("columns", "limits", "names", "thresholds"))
        fits = all(isinstance(each, list) and each for each in (columns, limits, names, thresholds))
        fits = fits and len(columns) == len(limits) and len(names) == len(thresholds) == len(set(names))  # type: ignore[arg-type]
        fits = fits and all(isinstance(each, str) for each in (*columns, *names))  # type: ignore[misc]
        numbers = [*(thresholds or []), *(value for each in limits or [] for value in each)] if fits else []
        if not fits or not all(type(value) in (int, float) and np.isfinite(value) for value in numbers):
            raise ArtifactError("the saved thresholds of groups are damaged")
        found: Any = (tuple(columns), tuple(map(tuple, limits)), tuple(names), tuple(map(float, thresholds)))  # type: ignore[arg-type]
        return cls(*found)
