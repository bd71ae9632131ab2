"""The columns of a log: what was done, what it brought, and with which probability it was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import DataError, unknown_name

__all__ = ["Log", "NamedLog", "logged_rows"]

_FEW = 10  # rows of an action of which little is known
_MOST_ACTIONS = 1000
_ROUNDED = 1e-6  # how far above 1 a propensity may be written


@dataclasses.dataclass(frozen=True)
class NamedLog:
    """Which column is what; without ``propensity`` it is estimated.

    Example:
        >>> NamedLog.of("shown:clicked")
        NamedLog(action='shown', reward='clicked', propensity='')
    """

    action: str
    reward: str
    propensity: str = ""

    @classmethod
    def of(cls, text: str) -> NamedLog:
        """The columns of ``action:reward[:propensity]``.

        Raises:
            DataError: other than two or three different columns.
        """
        parts = [part.strip() for part in text.split(":")]
        if not 2 <= len(parts) <= 3 or not all(parts) or len(set(parts)) < len(parts):
            raise DataError(
                f"--bandit is {text!r}; expected two or three different columns: action:reward or action:reward:propensity",
                hint="the propensity is the probability with which the logged action was chosen",
            )
        return cls(*parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are there."""
        return tuple(each for each in (self.action, self.reward, self.propensity) if each)


@dataclasses.dataclass(frozen=True, eq=False)
class Log:
    """Rows of a log by number.

    Attributes:
        rows: the numbers of the rows in the table, ``(rows,)``.
        action: what was done, as text, ``(rows,)``.
        reward: float64, ``(rows,)``.
        propensity: float64, ``(rows,)``; None where it is not written.
    """

    rows: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def actions(self) -> tuple[str, ...]:
        """The different actions; numbers stand by size."""
        found = sorted(set(self.action.tolist()))
        try:
            return tuple(sorted(found, key=float))
        except ValueError:
            return tuple(found)

    def truth(self, actions: Sequence[str]) -> dict[str, np.ndarray]:
        """What a loss and a head take: ``action`` (−1 of one that is not among ``actions``), ``reward``, and ``propensity`` if known."""
        number = {name: place for place, name in enumerate(actions)}
        code = np.array([number.get(name, -1) for name in self.action.tolist()], np.int32)
        found = {"action": code, "reward": self.reward}
        return found if self.propensity is None else {**found, "propensity": self.propensity}


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
    if not learning:
        return log, notices
    actions = log.actions
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
    if log.propensity is not None and (log.propensity >= 1).all():
        raise DataError(
            f"every propensity in {named.propensity!r} is 1: the log did the same in every context like it and never tried anything "
            "else, so no row can tell what another action would have brought",
            hint="a part of the actions must be chosen by chance when the log is written",
        )
    if reward.min() == reward.max():
        raise DataError(f"every reward in {named.reward!r} is {reward[0]:g}, so all policies earn the same")
    counts = {name: int((log.action == name).sum()) for name in actions}
    rare = [f"{name!r} ({count})" for name, count in counts.items() if count < _FEW]
    if rare:
        shown = ", ".join(rare[:5]) + (", …" if len(rare) > 5 else "")
        notices.append(f"actions with fewer than {_FEW} rows, of which little can be known: {shown}")
    return log, notices


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
