"""Who had what: the rows that a recommender learns from, cleaned, counted and divided."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import DataError

__all__ = ["SPLITS", "Interactions", "Named", "by_users", "divide", "interactions_of"]

SPLITS = ("auto", "last", "time", "random")
"""How interactions are divided: each user's last one, by one moment for all, at random."""


@dataclasses.dataclass(frozen=True)
class Named:
    """Which column is what: of users, items, and where there are any, of ratings and times.

    Raises:
        DataError: the text names fewer than two columns, more than four, or one twice.

    Example:
        >>> Named.of("user:item::when")
        Named(user='user', item='item', rating='', time='when')
    """

    user: str
    item: str
    rating: str = ""
    time: str = ""

    @classmethod
    def of(cls, text: str) -> Named:
        """The columns of ``user:item[:rating[:time]]``; a part may be empty where a later one is named."""
        parts = [part.strip() for part in text.split(":")]
        given = [part for part in parts if part]
        if not 2 <= len(parts) <= 4 or not all(parts[:2]) or len(set(given)) < len(given):
            raise DataError(
                f"--recommend is {text!r}; expected two to four different columns: user:item, user:item:rating or "
                "user:item:rating:time",
                hint="without ratings but with times: user:item::time",
            )
        return cls(*parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """Pairs of a user and an item, each pair once, by number.

    Attributes:
        user, item: numbers, ``(pairs,)``; of what a model knows they count from 1, and 0 is what it does not know.
        rating: ``(pairs,)`` float64, or None.
        time: ``(pairs,)`` float64, in seconds or the column's own unit, or None.
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray | None = None
    time: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Interactions:
        """Some of them, by number or by mask."""
        return Interactions(*(None if each is None else each[rows] for each in dataclasses.astuple(self)))  # type: ignore[arg-type]

    def joined(self, other: Interactions) -> Interactions:
        """These and others."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Interactions(*(None if a is None else np.concatenate([a, b]) for a, b in pairs))  # type: ignore[arg-type]

    def in_order(self) -> Interactions:
        """By user, and of each by time; without times as they stood."""
        keys = (self.user,) if self.time is None else (self.time, self.user)
        return self.take(np.lexsort(keys))


def by_users(pairs: Interactions, users: int) -> np.ndarray:
    """Where each user's pairs begin among pairs that stand by user: ``(users + 1,)``."""
    return np.searchsorted(pairs.user, np.arange(users + 1))


def interactions_of(frame: pl.DataFrame, named: Named) -> tuple[pl.DataFrame, list[str]]:
    """The rows of a table with one for each pair: columns ``user`` and ``item`` as text, ``rating`` and ``time`` as numbers.

    A pair that is there twice is taken once: without a rating, or with equal ones, its first row; of different ratings the last in
    time, and without times their mean.

    Raises:
        DataError: columns that are not there or no numbers, or no row that is whole.
    """
    wanted = {part: name for part, name in dataclasses.asdict(named).items() if name}
    for name in wanted.values():
        if name not in frame.columns:
            raise DataError(f"there is no column {name!r}; the columns are: {', '.join(frame.columns[:30])}")
    found = frame.select(pl.col(name).alias(part) for part, name in wanted.items()).with_row_index("row")
    if named.rating:
        if not found["rating"].dtype.is_numeric() and found["rating"].dtype != pl.Boolean:
            given = found["rating"].drop_nulls()
            strange = (
                given.filter(given.cast(pl.Float64, strict=False).is_null()) if given.dtype == pl.String else given
            )
            raise DataError(f"the ratings in {named.rating!r} are no numbers, such as {strange[:1].to_list()}")
        found = found.with_columns(pl.col("rating").cast(pl.Float64))
    if named.time:
        found = found.with_columns(time=_moments(found["time"], named.time))
    found = found.with_columns(pl.col("user", "item").cast(pl.String).str.strip_chars())
    there = pl.DataFrame([_there(found[part]) for part in wanted])
    whole = found.filter(there.select(pl.all_horizontal(pl.all())).to_series())
    notices: list[str] = []
    lost = found.height - whole.height
    if not whole.height:
        raise DataError(f"no row has {', '.join(map(repr, wanted.values()))}; expected a value in each of them")
    if lost:
        absent = [name for part, name in wanted.items() if not there[part].all()]
        notices.append(f"{lost:,} rows lack {' or '.join(map(repr, absent))} and are left out")
    order = ["time", "row"] if named.time else ["row"]
    pair = whole.sort(order).group_by("user", "item", maintain_order=True)
    how: list[Any] = [pl.col("row").first(), pl.len().alias("times")]
    if named.rating:
        last = pl.col("rating").last() if named.time else pl.col("rating").mean()
        how += [last, (pl.col("rating").n_unique() > 1).alias("differ")]
    if named.time:
        how.append(pl.col("time").last() if named.rating else pl.col("time").first())
    once = pair.agg(how).sort("row")
    repeated, differ = int((once["times"] > 1).sum()), int(once["differ"].sum()) if named.rating else 0
    if repeated:
        taken = (
            f"; of {differ:,} with different ratings " + ("the last" if named.time else "the mean") if differ else ""
        )
        notices.append(f"{repeated:,} pairs of a user and an item are there more than once and are taken once{taken}")
    return once.select("row", *wanted), notices


def _there(column: pl.Series) -> pl.Series:
    """Which values are there: no nulls, empty names, or numbers that are none."""
    there = column.is_not_null()
    if column.dtype == pl.String:
        return there & (column.str.len_chars() > 0).fill_null(value=False)
    return there & column.is_finite().fill_null(value=False) if column.dtype.is_float() else there


def _moments(column: pl.Series, name: str) -> pl.Series:
    """A column of times as numbers."""
    if column.dtype.is_numeric():
        return column.cast(pl.Float64)
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / 1e6
    raise DataError(
        f"the times in {name!r} are neither numbers nor dates, such as {column.drop_nulls()[:1].to_list()}",
        hint="data.dates=FORMAT says how dates are written",
    )


def divide(
    pairs: Interactions, how: str, *, validation: float, test: float, seed: int, rated: bool
) -> tuple[np.ndarray, str]:
    """Which part each pair is in: 0 to learn from, 1 to choose by, 2 to test; and how they were divided, in a sentence.

    ``"last"``: a user's last pair is for the test and the one before for validation, of users with three or more; without times two
    are drawn. ``"time"``: what is after a moment is for the test, what is after an earlier one for validation: nothing that is learnt
    from is later. ``"random"``: pairs are drawn.

    Args:
        validation, test: shares of all pairs; of ``"last"`` 0 leaves the part out, and else they do not matter.

    Raises:
        DataError: by time without times, or parts without pairs.
    """
    count = len(pairs)
    part = np.zeros(count, np.int8)
    how = how if how != "auto" else ("random" if rated else "last")
    rng = np.random.default_rng(seed)
    if how == "time":
        if pairs.time is None:
            raise DataError(
                "recommend.split is 'time', and no column of times is named", hint="--recommend user:item::time"
            )
        moments = np.sort(pairs.time)
        first, second = (moments[min(round(count * share), count - 1)] for share in (1 - test - validation, 1 - test))
        part[pairs.time >= first] = 1
        part[pairs.time >= second] = 2 if test else 1
        said = "by time: what comes later is tested, and nothing later is learnt from"
    elif how == "last":
        lot = rng.permutation(count) if pairs.time is None else np.arange(count)
        order = np.lexsort((lot, lot if pairs.time is None else pairs.time, pairs.user))
        user = pairs.user[order]
        counts = np.bincount(user)
        back = np.cumsum(counts)[user] - np.arange(count) - 1  # how many pairs of the user come after
        enough = counts[user] >= 3
        place = 0
        for share, code in ((test, 2), (validation, 1)):
            if share:
                part[order[enough & (back == place)]] = code
                place += 1
        each = "a pair drawn of each user" if pairs.time is None else "each user's last pair"
        said = (
            f"{each} with three or more is tested, and one before it chooses the epoch"
            if pairs.time is not None
            else (f"{each} with three or more is tested, and another chooses the epoch")
        )
    else:
        order = rng.permutation(count)
        tested, held = round(count * test), round(count * validation)
        part[order[:tested]] = 2
        part[order[tested : tested + held]] = 1
        said = "pairs drawn at random" + ("" if pairs.time is None else ", of all times")
    for code, share, name in ((0, 1.0, "learn from"), (1, validation, "choose the epoch by"), (2, test, "test")):
        if share and not (part == code).any():
            raise DataError(
                f"{count:,} pairs of {len(np.unique(pairs.user)):,} users leave none to {name}",
                hint="leave-last-out needs users with three items or more; recommend.split=random needs only pairs"
                if how == "last"
                else "give more rows, or larger shares: split.test, split.validation",
            )
    return part, said
