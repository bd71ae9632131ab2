"""The groups that rows fall into by a column: its levels, the bins of its numbers, and the rows without a value."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure

__all__ = ["MISSING", "Groups", "bin_limits", "bin_names", "names_of"]

MISSING = "missing"
"""The group of the rows without a value."""
_FEW = 10  # different numbers that are groups by themselves
_MOST = 100  # groups of one column
_BINS = 4


def bin_limits(values: pl.Series, bins: int = _BINS) -> tuple[float, ...]:
    """The limits between groups of numbers of about the same size: quantiles, rounded where that leaves the groups as they are.

    Args:
        values: a column; its numbers are divided, and None of them where it has at most ten different ones.
        bins: how many groups.

    Example:
        >>> bin_limits(pl.Series([float(value) for value in range(18, 78)]))
        (33.0, 48.0, 63.0)
        >>> bin_limits(pl.Series([0, 1, 1, 2])), bin_limits(pl.Series(["a", "b"]))
        ((), ())
    """
    if not values.dtype.is_numeric():
        return ()
    known = values.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    different = np.unique(known)
    if len(different) <= _FEW:
        return ()
    found: list[float] = []
    for share in np.arange(1, bins) / bins:
        place = int(np.searchsorted(different, np.quantile(known, share)))
        place = min(max(place, 1), len(different) - 1)
        limit = _round_between(float(different[place - 1]), float(different[place]))
        if limit not in found:
            found.append(limit)
    return tuple(found)


def _round_between(low: float, high: float) -> float:
    """The number of the fewest digits above ``low`` and not above ``high``."""
    for digits in range(1, 17):
        rounded = float(f"{high:.{digits}g}")
        if low < rounded <= high:
            return rounded
    return high


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """The group of each row.

    Attributes:
        column: whose values the groups are; of several ``"sex × race"``.
        names: of the groups.
        codes: the number of each row's group, ``(rows,)`` from 0.
        limits: between the groups of numbers: a group is from one (included) to the next; empty where values are groups.
    """

    column: str
    names: tuple[str, ...]
    codes: np.ndarray
    limits: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: pl.Series, limits: Sequence[float] | None = None) -> Self:
        """The groups of a column: the levels, the most frequent first; numbers in bins; and rows without a value.

        Args:
            values: as they were read; its name is the column's.
            limits: between the bins of numbers; None divides more than ten different numbers by :func:`bin_limits`.

        Raises:
            ConfigError: limits that do not rise, or of what is no number; more than 100 levels.

        Example:
            >>> found = Groups.of(pl.Series("age", [18, 70, 33, None]), limits=[30, 60])
            >>> found.names, found.codes.tolist()
            (('below 30', '30 to 59', '60 and more', 'missing'), [0, 2, 1, 3])
        """
        if values.dtype.is_temporal() and values.dtype in (pl.Date, pl.Datetime):
            values = values.dt.year()
        numeric = values.dtype.is_numeric()
        if limits and not numeric:
            raise ConfigError(f"limits of groups are for numbers; the column {values.name!r} holds {values.dtype}")
        if values.dtype.is_float():
            values = values.fill_nan(None)
        ends = tuple(float(limit) for limit in (bin_limits(values) if limits is None else limits))
        if list(ends) != sorted(set(ends)) or not np.isfinite(ends).all():
            raise ConfigError(f"the limits of groups of {values.name!r} are {list(ends)}; expected rising numbers")
        if ends:
            numbers = values.cast(pl.Float64)
            names = bin_names(ends, whole=bool((numbers.drop_nulls() % 1 == 0).all()))
            lost = numbers.is_null().to_numpy()
            codes = np.searchsorted(np.asarray(ends), numbers.fill_null(ends[0]).to_numpy(), side="right")
        else:
            names, codes, lost = _levels(values)
        if len(names) > _MOST:
            raise ConfigError(
                f"the column {values.name!r} has {len(names):,} different values; expected groups of rows, at most {_MOST}",
                hint="name a column of fewer levels, or numbers, which are divided into bins",
            )
        if lost.any():
            name = MISSING if MISSING not in names else f"({MISSING})"
            codes, names = np.where(lost, len(names), codes), (*names, name)
        return cls(values.name, names, codes.astype(np.int64), ends)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Groups:
        """The groups of some of the rows."""
        return dataclasses.replace(self, codes=self.codes[rows])

    def joined(self, others: Sequence[Groups]) -> Groups:
        """These groups and those of other rows by the same column, as one."""
        names = tuple(dict.fromkeys(itertools.chain(self.names, *(each.names for each in others))))
        place = {name: code for code, name in enumerate(names)}
        codes = [np.array([place[name] for name in each.names], np.int64)[each.codes] for each in (self, *others)]
        return dataclasses.replace(self, names=names, codes=np.concatenate(codes))

    @classmethod
    def crossed(cls, groups: Sequence[Groups]) -> Groups:
        """The groups of rows that are in the same group by each of several columns.

        Example:
            >>> sex, race = (Groups.of(pl.Series(name, values)) for name, values in (("sex", ["f", "m"]), ("race", ["a", "a"])))
            >>> Groups.crossed([sex, race]).names
            ('f & a', 'm & a')
        """
        codes = np.stack([each.codes for each in groups], axis=1)
        met, place = np.unique(codes, axis=0, return_inverse=True)
        names = tuple(
            " & ".join(each.names[code] for each, code in zip(groups, row, strict=True)) for row in met.tolist()
        )
        return cls(" × ".join(each.column for each in groups), names, place.reshape(-1).astype(np.int64))


def names_of(value: Any, limits: Sequence[float] = ()) -> tuple[str, ...]:
    """The names that the group of one value may have, whatever the values beside it; none where limits are of no use for it.

    Args:
        value: as it was read: a text, a number, a date, or None.
        limits: see :meth:`Groups.of`.

    >>> names_of("38", (25.0, 45.0)), names_of(38.5, (25.0, 45.0)), names_of(" f "), names_of("1.0"), names_of(None)
    (('25 to 44', '25 to 45'), ('25 to 44', '25 to 45'), ('f',), ('1.0', '1'), ('(missing)', 'missing'))
    """
    if isinstance(value, datetime.date):
        value = value.year
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value).strip()
    number = math.nan
    if not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            number = float(text)
    if not text or (isinstance(value, float) and math.isnan(value)):
        return f"({MISSING})", MISSING  # the first only where a level is called as the second
    if limits:
        place = int(np.searchsorted(np.asarray(limits), number, side="right"))
        return () if math.isnan(number) else tuple(bin_names(limits, whole=whole)[place] for whole in (True, False))
    plain = () if math.isnan(number) else (figure(number, 6),)
    return tuple(dict.fromkeys((text, *plain)))


def bin_names(limits: Sequence[float], *, whole: bool) -> tuple[str, ...]:
    """The names of the groups between limits, of whole numbers or of any."""
    shown = [figure(limit, 6) for limit in limits]
    whole = whole and all(limit % 1 == 0 for limit in limits)
    ends = [figure(limit - 1, 6) for limit in limits] if whole else shown
    between = [low if low == high else f"{low} to {high}" for low, high in zip(shown, ends[1:], strict=False)]
    return (f"below {shown[0]}", *between, f"{shown[-1]} and more")


def _levels(values: pl.Series) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The levels of a column, numbers rising and others the most frequent first; the code of each row; and which have none."""
    if values.dtype.is_numeric():
        numbers = values.cast(pl.Float64)
        texts = pl.Series([None if value is None else figure(value, 6) for value in numbers.to_list()], dtype=pl.String)
        order = {figure(value, 6): value for value in numbers.drop_nulls().to_list()}
    else:
        texts = values.cast(pl.String).str.strip_chars()
        texts = texts.set(texts == "", None)
        counts = texts.drop_nulls().rename("level").value_counts(name="rows").iter_rows()
        order = {level: (-rows, level) for level, rows in counts}
    names = tuple(sorted(order, key=order.__getitem__))
    place = {level: code for code, level in enumerate(names)}
    codes = np.array([place.get(text, 0) for text in texts.to_list()], np.int64)
    return names, codes, texts.is_null().to_numpy()
