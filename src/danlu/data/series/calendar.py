"""The steps of a time series: the step of each time, and the next times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ArtifactError, DataError, SchemaError

__all__ = ["Calendar"]

_DAY = 86_400_000_000
_UNITS: tuple[tuple[int, Callable[[int], str]], ...] = (
    (7 * _DAY, lambda n: f"{n} week{'s' * (n != 1)}"),
    (_DAY, lambda n: f"{n} day{'s' * (n != 1)}"),
    (3_600_000_000, lambda n: f"{n} hour{'s' * (n != 1)}"),
    (60_000_000, lambda n: f"{n} minute{'s' * (n != 1)}"),
    (1_000_000, lambda n: f"{n} second{'s' * (n != 1)}"),
)


@dataclasses.dataclass(frozen=True)
class Calendar:
    """An even grid of times: step ``n`` is at ``origin + n·step``.

    Attributes:
        kind: ``"time"`` (microseconds since 1970), ``"month"`` (months since year 0), ``"weekday"`` (Mondays to Fridays since
            1970) or ``"number"`` (whole numbers).
        step: of the grid, in that unit.
        origin: of step 0, in that unit.
        within: of ``"month"`` and ``"weekday"``: microseconds since the month's or the day's start; −1 is the month's last day.
    """

    kind: str
    step: int
    origin: int
    within: int = 0

    @classmethod
    def fit(cls, times: list[pl.Series], name: str) -> Calendar:
        """The grid of sorted times, one for each series; the most common distance is the step.

        Raises:
            DataError: distances that are not multiples of it, or too few times.

        Example:
            >>> import datetime
            >>> str(Calendar.fit([pl.Series([datetime.date(2020, m, 1) for m in (1, 2, 4)]).cast(pl.Datetime)], "t"))
            '1 month'
        """
        if max(map(len, times)) < 3:
            raise DataError(
                f"the column {name!r} has {max(map(len, times))} different times; a series needs at least 3"
            )
        candidates = ["number"] if times[0].dtype.is_integer() else ["time", "month", "weekday"]
        if candidates != ["number"] and min(_shortest(each) for each in times) >= 28 * _DAY:
            candidates = ["month", "time"]  # two months of 31 days are no steps of 31 days
        complaint = ""
        for kind in candidates:
            found = [_numbers(kind, each) for each in times]
            if any(each is None for each in found):
                continue
            numbers = [each for each in found if each is not None]
            distances = np.concatenate([np.diff(each[0]) for each in numbers])
            values, counts = np.unique(distances, return_counts=True)
            step = int(values[counts.argmax()])
            odd = distances % step != 0 if step > 0 else np.ones(len(distances), bool)
            within = {each[1] for each in numbers}
            if not odd.any() and len(within) == 1 and not (kind == "time" and _weekends_only(times, step)):
                return cls(kind, step, int(numbers[0][0][0]), within.pop())
            if not complaint and kind in ("time", "number"):
                complaint = _uneven(name, times, cls(kind, max(step, 1), 0), odd, distances)
        raise DataError(complaint, hint="aggregate the rows to even steps first (such as a mean for each hour)")

    def numbers(self, times: pl.Series, name: str) -> np.ndarray:
        """The step of each time, int64.

        Raises:
            SchemaError: moments that are not on the grid.
        """
        found = _numbers(self.kind, times) if times.dtype.is_integer() == (self.kind == "number") else None
        off = None if found is None else (found[0] - self.origin) % self.step != 0
        if found is None or off is None or off.any() or (self.kind != "time" and found[1] != self.within):
            first = times[0] if off is None or not off.any() else times[int(off.argmax())]
            raise SchemaError(
                f"the column {name!r} holds {first}, which is not on the steps of {self} that were trained on"
            )
        return (found[0] - self.origin) // self.step

    def times(self, steps: np.ndarray) -> pl.Series:
        """The times of steps: date-times, or whole numbers."""
        at = self.origin + np.asarray(steps, np.int64) * self.step
        if self.kind == "number":
            return pl.Series(at)
        if self.kind == "month":
            months = (at - 1970 * 12).astype("datetime64[M]")
            days = (months + int(self.within < 0)).astype("datetime64[D]") - int(self.within < 0)
            at = days.astype("datetime64[us]").astype(np.int64) + max(self.within, 0)
        elif self.kind == "weekday":
            at = np.busday_offset(np.datetime64("1970-01-01"), at, roll="forward").astype("datetime64[us]")
            at = at.astype(np.int64) + self.within
        return pl.Series(at.astype("datetime64[us]"))

    def __str__(self) -> str:
        if self.kind == "number":
            return f"{self.step}"
        if self.kind == "month":
            years, months = divmod(self.step, 12)
            return f"{self.step} month{'s' * (self.step != 1)}" if months else f"{years} year{'s' * (years != 1)}"
        if self.kind == "weekday":
            return f"{self.step} working day{'s' * (self.step != 1)}"
        for size, told in _UNITS:
            if self.step % size == 0:
                return told(self.step // size)
        return f"{self.step / 1e6:g} seconds"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Calendar:
        """The inverse of :meth:`to_json`.

        Raises:
            ArtifactError: data that is not a calendar.
        """
        names = ("step", "origin", "within")
        numbers: list[Any] = [data.get(name) for name in names] if isinstance(data, dict) else []
        if not numbers or not all(type(each) is int for each in numbers) or numbers[0] < 1:
            raise ArtifactError("the saved steps of the series are not valid")
        if data.get("kind") not in ("time", "month", "weekday", "number"):
            raise ArtifactError(f"the saved steps of the series are of kind {str(data.get('kind'))[:40]!r}")
        return cls(data["kind"], *numbers)


def _numbers(kind: str, times: pl.Series) -> tuple[np.ndarray, int] | None:
    """Times as whole numbers of ``kind``, and the place within them; None when they do not fit it."""
    if kind == "number":
        return times.to_numpy().astype(np.int64), 0
    at = times.cast(pl.Datetime("us")).to_numpy()
    if kind == "time":
        return at.astype(np.int64), 0
    days = at.astype("datetime64[D]")
    if kind == "weekday":
        within = np.unique((at - days).astype(np.int64))
        if len(within) > 1 or not np.is_busday(days).all():
            return None
        return np.busday_count(np.datetime64("1970-01-01"), days).astype(np.int64), int(within[0])
    months = at.astype("datetime64[M]")
    within = np.unique((at - months.astype("datetime64[us]")).astype(np.int64))
    last = (months + 1).astype("datetime64[D]") - 1
    if len(within) > 1 and not (at == last).all():
        return None
    return months.astype(np.int64) + 1970 * 12, -1 if (at == last).all() and len(within) > 1 else int(within[0])


def _shortest(times: pl.Series) -> int:
    distances = np.diff(times.cast(pl.Datetime("us")).to_numpy().astype(np.int64))
    return int(distances.min()) if len(distances) else 28 * _DAY


def _weekends_only(times: list[pl.Series], step: int) -> bool:
    """Whether the gaps of a daily series are its weekends."""
    if step != _DAY:
        return False
    days = [each.cast(pl.Datetime("us")).to_numpy().astype("datetime64[D]") for each in times]
    return all(len(each) > 5 and np.is_busday(each).all() for each in days)


def _uneven(name: str, times: list[pl.Series], calendar: Calendar, odd: np.ndarray, distances: np.ndarray) -> str:
    if not odd.any():
        return f"the steps of the column {name!r} are not even"
    place = int(odd.argmax())
    for each in times:
        if place < len(each) - 1:
            break
        place -= len(each) - 1
    return (
        f"the steps of the column {name!r} are not even: {int(odd.sum()):,} of {len(distances):,} are not multiples of "
        f"the most common one, {calendar}; the first is from {each[place]} to {each[place + 1]}"
    )
