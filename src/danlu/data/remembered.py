"""What values of a table became, remembered: a service reads the same words again and again, a row at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.schema import Column, Schema

__all__ = ["Memory", "Parts", "Remembered"]

Parts = tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]
"""The numeric matrix ``(rows, columns)``, the codes ``(rows,)`` of each level and the words ``(rows, words)`` of each vocabulary."""

_FEW = 1024  # rows that are looked up value by value; more are faster as whole columns
_MOST = 4096  # values of a column
_LONGEST = 100  # characters of a text that may come again
_EXACT = 2**53
_DTYPES: dict[str, Any] = {
    "categorical": pl.String,
    "text": pl.String,
    "boolean": pl.Boolean,
    "datetime": pl.Datetime("us"),
}
_PLAIN = (pl.String, pl.Boolean, pl.Int64, pl.Float64, pl.Datetime("us"))  # two equal values of these mean the same


class Remembered:
    """What each value of one column became.

    A value's meaning does not depend on the values beside it, so what the functions for whole columns made of it once is what they would
    make of it again; and to look it up takes a hundredth of the time that a column of one row takes them.

    Example:
        >>> met = Remembered()
        >>> met.learn(["Bern", None], [1, 0])
        >>> met.all_of([None, "Bern"]), met.all_of(["Oslo"])
        ([0, 1], None)
    """

    def __init__(self) -> None:
        self._known: dict[tuple[type, Any], Any] = {}

    def all_of(self, values: Iterable[Any]) -> list[Any] | None:
        """What these values became; None where one was not met yet."""
        known = self._known
        try:
            return [known[type(value), value] for value in values]
        except (KeyError, TypeError):
            return None

    def learn(self, values: Iterable[Any], became: Iterable[Any]) -> None:
        """Remember what values became."""
        if len(self._known) > _MOST:
            self._known.clear()
        for value, found in zip(values, became, strict=True):
            if not isinstance(value, str) or len(value) <= _LONGEST:
                self._known[type(value), value] = found


class Memory:
    """What the values of a table's columns became: first when records were checked, then when rows were encoded.

    Numbers are not remembered: those within the range of training are what they are.

    Args:
        schema: of the table.
        dates: the parts of each date-time column.
        levels, words: the column of each column of codes, and of each vocabulary.
    """

    def __init__(
        self, schema: Schema, dates: Mapping[str, Sequence[str]], levels: Sequence[str], words: Sequence[str]
    ) -> None:
        self._numeric, self._levels, self._words = schema.of_kind("numeric"), len(levels), len(words)
        others = [column for column in schema.features if column.kind != "numeric"]
        self._checked = {column.name: Remembered() for column in others}
        self._encoded = {column.name: Remembered() for column in others}
        self._places: dict[str, tuple[list[int], list[int], list[int]]] = {}
        self._width = len(self._numeric)
        for name in (column.name for column in (*schema.of_kind("datetime"), *others)):
            if name not in self._places:
                own = list(range(self._width, self._width + len(dates.get(name, ()))))
                coded, worded = ([number for number, of in enumerate(each) if of == name] for each in (levels, words))
                self._places[name] = own, coded, worded
                self._width += len(own)

    def values(self, column: Column, given: Sequence[Any]) -> pl.Series | None:
        """A field of records as its column, if all of it is known to be what it should; None where it has to be checked."""
        if column.kind == "numeric":
            return _usual(column, given)
        if len({type(value) for value in given} - {type(None), str}):
            return None
        found = self._checked[column.name].all_of(given)
        return None if found is None else pl.Series(column.name, found, dtype=_DTYPES[column.kind])

    def learn_values(self, given: pl.DataFrame, checked: pl.DataFrame) -> None:
        """Remember values that were checked, if nothing was to be said about them."""
        for name, known in self._checked.items():
            if name in given.columns and given[name].dtype == pl.String and given.height <= _FEW:
                known.learn(given[name].to_list(), checked[name].to_list())

    def parts(self, frame: pl.DataFrame) -> Parts | None:
        """What the encoded rows are put together from, where each value is a number or was met before; else None."""
        if not 0 < frame.height <= _FEW or not {column.name for column in self._numeric} | set(self._places) <= set(
            frame.columns
        ):
            return None
        matrix = np.empty((frame.height, self._width))
        for place, column in enumerate(self._numeric):
            values = frame[column.name]
            if column.format.codes or values.dtype not in (pl.Int64, pl.Float64):
                return None
            matrix[:, place] = values.to_list()  # None becomes NaN
        matrix[~np.isfinite(matrix)] = np.nan
        codes: list[Any] = [None] * self._levels
        words: list[Any] = [None] * self._words
        for name, (dates, coded, worded) in self._places.items():
            values = frame[name]
            found = self._encoded[name].all_of(values.to_list()) if values.dtype in _PLAIN else None
            if found is None:
                return None
            if dates:
                matrix[:, dates] = [own[0] for own in found]
            for number, place in enumerate(coded):
                codes[place] = np.array([own[1][number] for own in found], np.int32)
            for number, place in enumerate(worded):
                words[place] = np.stack([own[2][number] for own in found])
        return matrix, codes, words

    def learn_parts(self, frame: pl.DataFrame, parts: Parts) -> None:
        """Remember what values were encoded as."""
        if not 0 < frame.height <= _FEW:
            return
        matrix, codes, words = parts
        for name, (dates, coded, worded) in self._places.items():
            if frame[name].dtype in _PLAIN:
                became = [
                    (
                        matrix[row, dates],
                        [codes[place][row] for place in coded],
                        [words[place][row] for place in worded],
                    )
                    for row in range(frame.height)
                ]
                self._encoded[name].learn(frame[name].to_list(), became)


def _usual(column: Column, values: Sequence[Any]) -> pl.Series | None:
    """Values of a numeric column, if each is a number within the range of training; None where one has to be looked at."""
    low, high = column.minimum, column.maximum
    if column.format.codes or low is None or high is None:
        return None
    met = {type(value) for value in values} - {type(None)}
    if not met <= {int, float}:
        return None
    for value in values:
        if value is not None and not (low <= value <= high and abs(value) <= _EXACT):
            return None
    return pl.Series(column.name, values, dtype=pl.Int64 if met == {int} else pl.Float64, strict=met != {int, float})
