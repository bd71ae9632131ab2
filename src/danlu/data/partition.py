"""The part (training, validation, test) of each row of a stream, from the row alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import polars as pl

from danlu.data.split import METHODS, part_names
from danlu.errors import ConfigError, DataError, unknown_name

__all__ = ["PARTS", "Partition"]

PARTS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Partition:
    """Assigns the rows of a table to three parts, one piece of the table at a time.

    Attributes:
        method: ``"random"``: by a hash of the row's number; ``"group"``: by a hash of ``column``, so that rows of one value
            stay together; ``"time"``: the last rows by ``column`` are the test, those before them validation;
            ``"column"``: as ``column`` says.
        column: the column that the last three look at.
        validation, test: shares of all rows (of all groups); met on average for ``"random"`` and ``"group"``.
        seed: the same seed deals the same way.
        cuts: for ``"time"``: the first values of validation and of test (see :meth:`fitted`).
        dealt: the part of every row, where equal rows are kept together (see :meth:`by_hash`), a byte a row.
    """

    method: str = "random"
    column: str | None = None
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    cuts: tuple[float, float] | None = None
    dealt: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("split method", self.method, METHODS)
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 <= share < 1:
                raise ConfigError(f"{name} is {share!r}; expected a share of the rows, >= 0 and < 1")
        if self.validation + self.test >= 1:
            raise ConfigError(
                f"validation {self.validation} and test {self.test} leave no rows to train on; expected a sum below 1"
            )
        if self.reads_column and self.column is None:
            raise ConfigError(
                f"splitting by {self.method} needs a column", hint="name it: split.column=NAME (in Python column=...)"
            )

    @property
    def reads_column(self) -> bool:
        """Whether the part depends on a column's values."""
        return self.method in ("group", "time", "column")

    @property
    def description(self) -> str:
        """How the rows are divided, in a sentence."""
        if self.method == "group":
            return f"no group of {self.column} in two parts"
        if self.method == "time":
            return f"in the order of {self.column}: the last rows are the test"
        if self.dealt is not None:
            return "drawn at random, equal rows kept in one part"
        return f"as column {self.column} says" if self.method == "column" else "drawn at random"

    def fitted(self, values: Iterator[pl.Series]) -> Partition:
        """This partition with the cuts of ``"time"`` taken from the column's values, given in pieces."""
        if self.method != "time":
            return self
        numbers = np.sort(np.concatenate([self._moments(piece) for piece in values]))
        n_test, n_validation = round(len(numbers) * self.test), round(len(numbers) * self.validation)
        ends = (len(numbers) - n_test - n_validation, len(numbers) - n_test)
        first, second = (float(numbers[i]) if i < len(numbers) else np.inf for i in ends)
        return dataclasses.replace(self, cuts=(first, second))

    def by_hash(self, hashes: np.ndarray) -> np.ndarray:
        """The parts of rows of these 64-bit hashes, int8: equal rows have equal hashes, and so one part."""
        return self._by_share(_uniform(hashes, self.seed))

    def codes(self, start: int, length: int, values: pl.Series | None = None) -> np.ndarray:
        """The part of each of ``length`` rows from row number ``start`` on: ``(length,)`` int8, an index of :data:`PARTS`.

        Args:
            values: the rows' values of ``column``, where the method looks at it.
        """
        if self.dealt is not None:
            return self.dealt[start : start + length]
        if values is None:
            return self._by_share(_uniform(np.arange(start, start + length, dtype=np.uint64), self.seed))
        if self.method == "column":
            names = part_names(values, first_row=start)
            return names.replace_strict(PARTS, range(3), return_dtype=pl.Int8).to_numpy()
        if self.method == "group":
            return self._by_share(_uniform(values.hash(seed=0).to_numpy(), self.seed))
        if self.cuts is None:
            raise ConfigError("a partition by time was used before it was fitted to the column's values")
        moments = self._moments(values)
        return ((moments >= self.cuts[0]).astype(np.int8) + (moments >= self.cuts[1])).astype(np.int8)

    def _by_share(self, uniform: np.ndarray) -> np.ndarray:
        late = (uniform < self.test + self.validation).astype(np.int8)
        return (late + (uniform < self.test)).astype(np.int8)

    def _moments(self, values: pl.Series) -> np.ndarray:
        if values.null_count():
            raise DataError(f"column {values.name!r} has missing values; a split by time needs one in each row")
        if values.dtype == pl.String:
            raise DataError(f"column {values.name!r} holds texts; a split by time needs date-times or numbers")
        return values.to_physical().cast(pl.Float64).to_numpy()


def _uniform(words: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each 64-bit word, by two rounds of SplitMix64; the seed decides which.

    Reference:
        Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), section 4.2, mix64 variant 13.
    """
    mixed = words.astype(np.uint64)
    with np.errstate(over="ignore"):
        for salt in (np.uint64(seed & 0xFFFFFFFFFFFFFFFF), np.uint64(0x9E3779B97F4A7C15)):
            mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + salt
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
