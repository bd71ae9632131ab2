"""Categories to codes: 0 is unknown or rare, then one code per level, then one for missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.infer import natural_key
from danlu.data.spelling import plain, spellings
from danlu.errors import ArtifactError

__all__ = ["LevelCoder", "prefixes"]

# Leading letters; else the first character: "C85" → "C", "PC 17599" → "PC", "113803" → "1".
_PREFIX = r"^(\p{L}+|.)"


def prefixes(values: pl.Series) -> pl.Series:
    """The leading letters of each text, or its first character where it does not start with a letter.

    >>> prefixes(pl.Series(["C85", "PC 17599", "113803", None])).to_list()
    ['C', 'PC', '1', None]
    """
    return values.str.extract(_PREFIX, 1)


@dataclasses.dataclass(frozen=True)
class LevelCoder:
    """Codes of one column of texts.

    Code 0 is a level that was rare or absent in training; ``1 … len(levels)`` are the levels; ``len(levels) + 1`` is
    "missing" where the column had gaps in training (elsewhere a gap is code 0).

    Attributes:
        levels: the levels that have a code of their own.
        has_missing: whether missing has a code of its own.
        merged: whether another spelling of a level (see :mod:`danlu.data.spelling`) is that level.
    """

    levels: tuple[str, ...]
    has_missing: bool
    merged: bool = False

    @classmethod
    def fit(cls, values: pl.Series, *, min_count: int = 3, max_levels: int = 512, merged: bool = False) -> LevelCoder:
        """Fit to training rows: the ``max_levels`` most frequent levels of at least ``min_count`` rows.

        Where no level is that frequent and there are few, each keeps its code: two rows of each class are data too.
        """
        present = values.drop_nulls().rename("level")
        if merged:
            present = present.replace(spellings(present))
        counts = present.value_counts(name="rows").sort(["rows", "level"], descending=[True, False])
        kept = counts.filter(pl.col("rows") >= min_count)
        if kept.height < 2:
            kept = counts.head(min(10, max_levels))
        levels = kept["level"].head(max_levels).to_list()
        return cls(tuple(sorted(levels, key=natural_key)), values.null_count() > 0, merged)

    @property
    def cardinality(self) -> int:
        """How many codes there are, 0 included."""
        return 1 + len(self.levels) + self.has_missing

    def transform(self, values: pl.Series) -> np.ndarray:
        """Codes, ``(rows,)`` int32 in ``[0, cardinality)``."""
        missing = len(self.levels) + 1 if self.has_missing else 0
        keys, known = values, pl.Series("level", self.levels, dtype=pl.String)
        if self.merged:
            keys, known = plain(values), plain(known)
        codes = keys.replace_strict(known, list(range(1, len(self.levels) + 1)), default=0, return_dtype=pl.Int32)
        codes = codes.set(values.is_null(), missing)
        return codes.to_numpy().astype(np.int32)

    def to_json(self) -> dict[str, Any]:
        """The coder as plain JSON data."""
        return dataclasses.asdict(self) | {"levels": list(self.levels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LevelCoder:
        """The inverse of :meth:`to_json`."""
        try:
            levels = tuple(str(level) for level in data["levels"])
            return cls(levels, bool(data["has_missing"]), bool(data.get("merged", False)))
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the saved category codes are not valid: {error}") from error
