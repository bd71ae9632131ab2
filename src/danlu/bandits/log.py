"""The columns of a log: what was done, what it brought, and with which probability it was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import DataError, unknown_name
from danlu.evaluate.logged import ABSENT

__all__ = ["Log", "NamedLog", "apart_notice", "logged_rows", "of_the_items"]

_FEW = 10  # rows of an action of which little is known
_MOST_ACTIONS = 1000
_MOST_PLACES = 50
_LARGEST = 1e30  # of a reward, whose squares are summed
_PAIRS = 20.0  # expected, below which fewer say nothing
_ROUNDED = 1e-6  # how far above 1 a propensity may be written


@dataclasses.dataclass(frozen=True)
class NamedLog:
    """Which column is what; without ``propensity`` it is estimated, and without ``page`` and ``place`` a row is one decision.

    Example:
        >>> NamedLog.of("shown:clicked", "visit:place").columns
        ('shown', 'clicked', 'visit', 'place')
    """

    action: str
    reward: str
    propensity: str = ""
    page: str = ""
    place: str = ""

    @classmethod
    def of(cls, text: str, slate: str = "") -> NamedLog:
        """The columns of ``action:reward[:propensity]``, and of ``page:place`` where rows are the places of pages.

        Raises:
            DataError: other than two or three different columns; or, of pages, other than two more.
        """
        parts = [part.strip() for part in text.split(":")]
        if not 2 <= len(parts) <= 3 or not all(parts) or len(set(parts)) < len(parts):
            raise DataError(
                f"--bandit is {text!r}; expected two or three different columns: action:reward or action:reward:propensity",
                hint="the propensity is the probability with which the logged action was chosen",
            )
        pages = [part.strip() for part in slate.split(":")] if slate else []
        if slate and (len(pages) != 2 or not all(pages) or len({*parts, *pages}) < len(parts) + 2):
            raise DataError(
                f"--slate is {slate!r}; expected two columns that --bandit does not name: page:place",
                hint="the page says which rows belong together, the place where on it the item stood: 1, 2, …",
            )
        return cls(*parts, *("",) * (3 - len(parts)), *pages)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are there."""
        return tuple(each for each in (self.action, self.reward, self.propensity, self.page, self.place) if each)


@dataclasses.dataclass(frozen=True, eq=False)
class Log:
    """Rows of a log by number, or its pages.

    Attributes:
        rows: the numbers of the rows in the table, ``(rows,)``; of pages that of the first row of each.
        action: what was done, as text, ``(rows,)`` or ``(pages, places)``; empty where a page has no such place.
        reward: float64, of the same shape.
        propensity: float64, of the same shape, 1 where there is no such place; None where it is not written.
    """

    rows: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def there(self) -> np.ndarray:
        """Where something was done, of the shape of ``action``."""
        return np.asarray(self.action != "")

    @property
    def places(self) -> int:
        """Of a page; 1 where a row is one decision."""
        return 1 if self.action.ndim == 1 else self.action.shape[1]

    @property
    def actions(self) -> tuple[str, ...]:
        """The different actions; numbers stand by size."""
        found = sorted(set(self.action[self.there].tolist()))
        try:
            return tuple(sorted(found, key=float))
        except ValueError:
            return tuple(found)

    def take(self, rows: np.ndarray) -> Log:
        """Some of the rows."""
        propensity = None if self.propensity is None else self.propensity[rows]
        return Log(self.rows[rows], self.action[rows], self.reward[rows], propensity)

    def truth(self, actions: Sequence[str], places: int = 1) -> dict[str, np.ndarray]:
        """What a loss and a head take: ``action`` (−1 of one that is not among ``actions``), ``reward``, and ``propensity`` if known.

        Raises:
            DataError: pages with more than so many places.
        """
        if self.places > places:
            raise DataError(f"the data has pages of {self.places} places; the model was trained for up to {places}")
        number = {name: place for place, name in enumerate(actions)} | {"": ABSENT}
        code = np.array([number.get(name, -1) for name in self.action.ravel().tolist()], np.int32)
        found = {"action": code.reshape(self.action.shape), "reward": self.reward}  # (rows[, places])
        if self.propensity is not None:
            found["propensity"] = self.propensity
        if places == 1:
            return found
        more = (len(self), places - self.places)
        rest = {"action": np.full(more, ABSENT, np.int32), "reward": np.zeros(more), "propensity": np.ones(more)}
        own = {name: each.reshape(len(self), self.places) for name, each in found.items()}  # (pages, places)
        return {name: np.concatenate([each, rest[name]], axis=1) for name, each in own.items()}


def logged_rows(frame: pl.DataFrame, named: NamedLog, *, learning: bool = True) -> tuple[Log, list[str]]:
    """The rows of a table that can be used, and notices.

    Args:
        learning: whether a policy is to be learnt from them, for which there must be several actions, tried by chance.

    Raises:
        DataError: columns that are not there, rewards or propensities that are none, or a log from which nothing can be learnt.
    """
    for name in named.columns:
        if name not in frame.columns:
            raise unknown_name("column", name, frame.columns, error=DataError)
    notices: list[str] = []
    whole = frame.select(
        pl.int_range(pl.len()).alias("row"),
        pl.col(named.action).cast(pl.String).str.strip_chars().replace("", None).alias("action"),
        _numbers(frame[named.reward], named.reward, "rewards", "1 where it was what is wanted and 0 where not").alias(
            "reward"
        ),
    )
    found = whole.drop_nulls()
    if found.height < whole.height:
        notices.append(f"{whole.height - found.height:,} rows lack an action or a reward and are left out")
    if not found.height:
        raise DataError(f"no row has both an action in {named.action!r} and a reward in {named.reward!r}")
    rows, reward = found["row"].to_numpy().astype(np.int64), found["reward"].to_numpy()
    log = Log(rows, np.array(found["action"].to_list()), reward, _propensities(frame, named, rows))
    if named.page:
        log = _pages(log, frame, named, notices)
    if not learning:
        return log, notices
    actions, there = log.actions, log.there
    reward = log.reward[there]
    if len(actions) < 2:
        raise DataError(
            f"the log has only one action, {actions[0]!r} in {named.action!r}: there is nothing to choose between",
            hint="a log for --bandit has rows of two actions or more",
        )
    if len(actions) > _MOST_ACTIONS:
        raise DataError(
            f"{named.action!r} holds {len(actions):,} different actions in {len(log):,} rows; expected up to {_MOST_ACTIONS:,}",
            hint="many items that are shown to users: danlu train FILE --recommend user:item",
        )
    if len(actions) < log.places:
        raise DataError(
            f"pages have {log.places} places and {named.action!r} holds {len(actions)} different items; a policy shows each item once a "
            "page, and needs as many items as places"
        )
    if log.propensity is not None and (log.propensity[there] >= 1).all():
        raise DataError(
            f"every propensity in {named.propensity!r} is 1: the log did the same in every context like it and never tried anything "
            "else, so no row can tell what another action would have brought",
            hint="a part of the actions must be chosen by chance when the log is written",
        )
    if reward.min() == reward.max():
        raise DataError(f"every reward in {named.reward!r} is {reward[0]:g}, so all policies earn the same")
    counts = dict(zip(*np.unique(log.action, return_counts=True), strict=True))
    rare = [f"{name!r} ({counts[name]})" for name in actions if counts[name] < _FEW]
    if rare:
        shown = ", ".join(rare[:5]) + (", …" if len(rare) > 5 else "")
        notices.append(f"actions with fewer than {_FEW} rows, of which little can be known: {shown}")
    return log, notices


def _pages(log: Log, frame: pl.DataFrame, named: NamedLog, notices: list[str]) -> Log:
    """The rows as pages, in the order of their first rows; pages of which a row cannot be used are left out, which is noted."""
    page = frame[named.page].cast(pl.String)
    place = _numbers(frame[named.place], named.place, "places", "1 for the first place, 2 for the second, …")
    usable = np.zeros(frame.height, bool)
    usable[log.rows] = True
    usable &= (page.is_not_null() & place.is_not_null()).to_numpy()
    _, number = np.unique(page.fill_null("").to_numpy().astype(str), return_inverse=True)
    whole = np.ones(int(number.max()) + 1, bool)
    np.logical_and.at(whole, number, usable)
    kept = whole[number]
    lost = int((~whole).sum())
    if lost:
        notices[:] = [f"{lost:,} pages lack an action, a reward or a place in a row and are left out"]
    if not kept.any():
        raise DataError(f"no page in {named.page!r} has an action, a reward and a place in each of its rows")
    at = place.fill_null(0.0).to_numpy()[kept]
    first = 0.0 if (at == 0).any() else 1.0
    wrong = (at != np.floor(at)) | (at < first) | (at >= _MOST_PLACES + first)
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum()):,} places in {named.place!r} are none, such as {at[wrong][0]:g}; expected the whole numbers from 1, up to "
            f"{_MOST_PLACES}",
        )
    if not first:
        notices.append(f"the places in {named.place!r} are counted from 0")
    rows, number = np.flatnonzero(kept), number[kept]
    _, begin, number = np.unique(number, return_index=True, return_inverse=True)
    order = np.argsort(begin)  # of pages by their first rows
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    cell = rank[number], (at - first).astype(int)
    shape = len(order), int(cell[1].max()) + 1
    seen = np.zeros(shape, int)
    np.add.at(seen, cell, 1)
    if (seen > 1).any():
        twice, spot = np.argwhere(seen > 1)[0]
        raise DataError(
            f"{int((seen > 1).sum()):,} places have two rows or more, such as place {spot + int(first)} of page "
            f"{page[int(rows[begin[order[twice]]])]!r} in {named.page!r}; expected one row for each place of a page",
            hint="the page must differ from visit to visit; a user is no page",
        )
    where = np.full(frame.height, -1)
    where[log.rows] = np.arange(len(log))
    source = where[rows]

    def spread(values: np.ndarray, empty: Any) -> np.ndarray:
        found = np.full(shape, empty, values.dtype)
        found[cell] = values[source]
        return found

    propensity = None if log.propensity is None else spread(log.propensity, 1.0)
    found = Log(rows[begin[order]], spread(log.action, ""), spread(log.reward, 0.0), propensity)
    if found.places > 1:
        return found
    return Log(found.rows, *(None if part is None else part[:, 0] for part in (found.action, found.reward, propensity)))  # type: ignore[arg-type]


def apart_notice(log: Log) -> str | None:
    """What is to be said where clicks on a page keep others away, as they do when visitors look no further than to the first; else None.

    Rewards of 0 and 1 whose places do not depend on each other have ``n·Σ_{j<l} p_j·p_l`` pairs of clicks on a page, or more where some
    visitors click more than others.
    """
    if log.places == 1 or set(np.unique(log.reward).tolist()) != {0.0, 1.0}:
        return None
    share, clicks = log.reward.mean(axis=0), log.reward.sum(axis=1)
    expected = len(log) * float(share.sum() ** 2 - (share**2).sum()) / 2
    seen = float((clicks * (clicks - 1)).sum()) / 2
    if expected < _PAIRS or seen > expected / 2:
        return None
    return (
        f"pages have {seen:,.0f} pairs of rewarded places, where places that do not depend on each other would have {expected:,.0f}: "
        "visitors seem to look no further than to what they like, and bandit.depends=place then gives wrong values; "
        "bandit.depends=above is for that, with propensities given what stands above"
    )


def of_the_items(frame: pl.DataFrame, named: NamedLog) -> list[str]:
    """The columns whose values differ between the rows of a page: they are of what is shown, not of who sees it."""
    others = [name for name in frame.columns if name not in named.columns]
    if not named.page or not others:
        return []
    most = frame.group_by(named.page).agg(pl.col(others).n_unique()).select(pl.col(others).max()).row(0)
    return [name for name, count in zip(others, most, strict=True) if (count or 0) > 1]


def _numbers(column: pl.Series, name: str, what: str, instead: str) -> pl.Series:
    """A column as float64; true and false are 1 and 0."""
    if column.dtype == pl.Boolean:
        return column.cast(pl.Float64)
    if not column.dtype.is_numeric():
        some = column.drop_nulls().cast(pl.String).unique(maintain_order=True).head(3).to_list()
        raise DataError(
            f"the {what} in {name!r} are texts, such as {', '.join(map(repr, some))}; expected numbers",
            hint=f"write {instead}",
        )
    found = column.cast(pl.Float64)
    if found.drop_nulls().is_infinite().any() or found.is_nan().any():
        raise DataError(f"the {what} in {name!r} hold infinite values or NaN; expected finite numbers")
    if found.len() and float(found.abs().max() or 0.0) > _LARGEST:  # type: ignore[arg-type]
        raise DataError(
            f"the {what} in {name!r} are as large as {float(found.abs().max()):.3g}; expected up to {_LARGEST:g}",  # type: ignore[arg-type]
            hint="write them in a larger unit, or mark what stands for a missing value: data.missing",
        )
    return found


def _propensities(frame: pl.DataFrame, named: NamedLog, rows: np.ndarray) -> np.ndarray | None:
    """The propensities of these rows, each a probability above 0."""
    if not named.propensity:
        return None
    name = named.propensity
    column = _numbers(frame[name], name, "propensities", "the probability with which each logged action was chosen")
    column = column[rows.tolist()]
    lacking = column.null_count()
    if lacking:
        raise DataError(
            f"{lacking:,} of {len(rows):,} rows lack a propensity in {name!r}; expected one in each",
            hint=f"leave the column out to have all of them estimated: --bandit {named.action}:{named.reward}",
        )
    found: Any = column.to_numpy()
    wrong = (found <= 0) | (found > 1 + _ROUNDED)
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum()):,} propensities in {name!r} are no probabilities of what was done, such as "
            f"{found[wrong][0]:g} in row {int(rows[wrong][0]) + 1:,}; expected above 0 and up to 1",
            hint="the propensity is the probability of the action that was taken, not of the reward, and not its logarithm",
        )
    return np.minimum(found, 1.0)
