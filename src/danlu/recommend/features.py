"""What is known about users or items, as numbers: columns of numbers and of categories."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.data.fields import Field
from danlu.errors import ArtifactError, SchemaError

__all__ = ["Features"]

_MOST = 100  # categories of a column; rarer ones are "another"


@dataclasses.dataclass(frozen=True)
class Features:
    """Columns about users or items as numbers: those of a number standardised, with 0 where it is missing and a mark that it is; of a
    category a 1 at its place, and none for one that was not met.

    Attributes:
        columns: their names.
        categories: of each column the categories that have a place; empty of a number.
        means, spreads: of each column of numbers; 0 and 1 of others.

    Example:
        >>> known = Features.fit(pl.DataFrame({"age": [20.0, 40.0, None], "sex": ["f", "m", "f"]}))
        >>> known.width, known.transform(pl.DataFrame({"age": [30.0], "sex": ["m"]})).tolist()
        (4, [[0.0, 0.0, 0.0, 1.0]])
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]

    @classmethod
    def fit(cls, frame: pl.DataFrame) -> Self:
        """The columns of a frame of those that are learnt from."""
        categories: list[tuple[str, ...]] = []
        means, spreads = [], []
        for column in frame:
            number = column.dtype.is_numeric() or column.dtype == pl.Boolean
            values = column.cast(pl.Float64).drop_nulls().to_numpy() if number else np.zeros(0)
            values = values[np.isfinite(values)]
            means.append(float(values.mean()) if len(values) else 0.0)
            spreads.append(float(values.std()) or 1.0 if len(values) else 1.0)
            counts = column.cast(pl.String).drop_nulls().value_counts(sort=True) if not number else None
            categories.append(() if counts is None else tuple(sorted(counts.head(_MOST).to_series().to_list())))
        return cls(tuple(frame.columns), tuple(categories), tuple(means), tuple(spreads))

    @property
    def width(self) -> int:
        """How many numbers there are of each row."""
        return sum(len(each) or 2 for each in self.categories)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns as parts of a record, none of which is needed."""
        return tuple(
            Field(name, "category" if each else "number", categories=each, needed=False, is_open=True)
            for name, each in zip(self.columns, self.categories, strict=True)
        )

    def transform(self, frame: pl.DataFrame) -> np.ndarray:
        """``(rows, width)`` float32; a column that is not there is missing in each row.

        Raises:
            SchemaError: something else than a number in a column of numbers.
        """
        found = []
        for name, categories, mean, spread in zip(self.columns, self.categories, self.means, self.spreads, strict=True):
            column = frame[name] if name in frame.columns else pl.Series(name, [None] * frame.height, dtype=pl.String)
            if categories:
                place = {value: number for number, value in enumerate(categories)}
                codes = np.array([place.get(value, len(categories)) for value in column.cast(pl.String).to_list()], int)
                found.append(np.eye(len(categories) + 1, dtype=np.float32)[codes, :-1])
                continue
            numbers = column.cast(pl.Float64, strict=False)
            if numbers.null_count() > column.null_count():
                odd = column.filter(numbers.is_null() & column.is_not_null())[0]
                raise SchemaError(f"{name!r} is {odd!r}; expected a number, as in training")
            values = numbers.to_numpy().astype(np.float64)
            known = np.isfinite(values)
            found.append(np.stack([np.where(known, (values - mean) / spread, 0), ~known], 1).astype(np.float32))
        return np.concatenate(found, 1) if found else np.zeros((frame.height, 0), np.float32)

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "columns": list(self.columns),
            "categories": [list(each) for each in self.categories],
            "means": list(self.means),
            "spreads": list(self.spreads),
        }

    @classmethod
    def from_state(cls, data: Any) -> Self:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: it is damaged.
        """
        try:
            held: Mapping[str, Sequence[Any]] = data
            made = cls(
                tuple(str(each) for each in held["columns"]),
                tuple(tuple(str(one) for one in each) for each in held["categories"]),
                tuple(float(each) for each in held["means"]),
                tuple(float(each) for each in held["spreads"]),
            )
            if len({len(each) for each in (made.columns, made.categories, made.means, made.spreads)}) > 1:
                raise ValueError("of different lengths")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the saved features are damaged: {str(error)[:200]}") from error
        return made
