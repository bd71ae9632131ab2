"""Scores of held-out rows by group: intervals and sets that hold in each group by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np
import polars as pl

from danlu.data.seen import row_hashes
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError, unknown_name
from danlu.trained.read import Say, warn
from danlu.trained.scores import Asked, Scores

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["Grouped", "groups_of", "scores_on"]


def groups_of(rows: Any, column: str) -> list[str]:
    """The group of each row: the column's values as texts, and an empty one for a gap.

    Raises:
        ConfigError: rows that are no table, or without this column.
    """
    if not isinstance(rows, pl.DataFrame):
        raise ConfigError(f"groups by {column!r} need rows of a table; these are none")
    if column not in rows.columns:
        raise unknown_name("column to group by", column, rows.columns)
    return [str(value) for value in rows[column].cast(pl.String).fill_null("").to_list()]


@dataclasses.dataclass(frozen=True, eq=False)
class Grouped:
    """The scores of each group of rows: Mondrian conformal prediction. A group that was not there has intervals of all numbers.

    Attributes:
        column: whose values are the groups.
        names: of the groups.
        parts: their scores.

    Reference: Vovk, Gammerman & Shafer, "Algorithmic learning in a random world" (2005), section 4.5.
    """

    column: str
    names: tuple[str, ...]
    parts: tuple[Scores, ...]

    @classmethod
    def of(
        cls, answers: np.ndarray, truth: np.ndarray, groups: Sequence[str], *, column: str, classes: bool, level: float
    ) -> Self:
        """The scores of each group; arguments as of :meth:`Scores.of`, and the group of each row."""
        given = np.asarray(groups)
        names = tuple(sorted(set(groups)))
        own = [np.flatnonzero(given == name) for name in names]
        parts = tuple(Scores.of(answers[rows], truth[rows], classes=classes, level=level) for rows in own)
        return cls(column, names, parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def reach(self, asked: Asked, answers: Any, rows: Any) -> np.ndarray:
        """As :meth:`Scores.reach`, by each row's group."""
        answers, found = np.asarray(answers, np.float64), np.full(np.shape(answers), np.inf)
        for part, own in self._places(rows):
            found[own] = part.reach(asked, answers[own])
        return found

    def sets(self, probability: np.ndarray, asked: Asked, rows: Any) -> np.ndarray:
        """As :meth:`Scores.sets`, by each row's group."""
        found = np.ones(np.shape(probability), bool)
        for part, own in self._places(rows):
            found[own] = part.sets(np.asarray(probability)[own], asked)
        return found

    def _places(self, rows: Any) -> list[tuple[Scores, np.ndarray]]:
        given = np.asarray(groups_of(rows, self.column))
        return [(part, np.flatnonzero(given == name)) for name, part in zip(self.names, self.parts, strict=True)]

    def doubts(self, asked: Asked, names: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What is to be said of groups that are too small for a level."""
        return tuple(
            f"{self.column}={group}: {each}"
            for group, part in zip(self.names, self.parts, strict=True)
            for each in part.doubts(asked, names)
        )

    def wavers(self, asked: Asked) -> tuple[str, ...]:
        """As :meth:`Scores.wavers`, of each group."""
        parts = zip(self.names, self.parts, strict=True)
        return tuple(f"{self.column}={group}: {each}" for group, part in parts for each in part.wavers(asked))

    def unseen(self, rows: Any) -> tuple[str, ...]:
        """What is to be said of rows of groups that were not there."""
        given = groups_of(rows, self.column)
        strange = dict.fromkeys(group for group in given if group not in self.names)
        if not strange:
            return ()
        count = sum(group in strange for group in given)
        names = ", ".join(map(repr, [*strange][:5])) + (", …" if len(strange) > 5 else "")
        return (
            f"{count:,} of {len(given):,} rows are of {self.column}={names}, of which no row has a score: "
            "their intervals are of all numbers, their sets of all classes",
        )

    def told(self) -> dict[str, Any]:
        """What of it is plain data; its arrays are :meth:`state`."""
        return {"column": self.column, "names": list(self.names)}

    def state(self) -> dict[str, np.ndarray]:
        """The arrays of the parts by name, each with the place of its part."""
        return {f"{place}_{name}": own for place, part in enumerate(self.parts) for name, own in part.state().items()}

    @classmethod
    def from_state(cls, told: Any, arrays: Mapping[str, np.ndarray], classes: int) -> Self:
        """The inverse of :meth:`told` and :meth:`state`.

        Raises:
            ArtifactError: they are damaged.
        """
        column, given = (told.get("column"), told.get("names")) if isinstance(told, Mapping) else (None, None)
        names = [each for each in given if isinstance(each, str)] if isinstance(given, list) else []
        if not names or [*dict.fromkeys(names)] != given or not isinstance(column, str):
            raise ArtifactError("the saved groups of held-out rows are damaged")
        parts = []
        for place in range(len(names)):
            own = {name.partition("_")[2]: value for name, value in arrays.items() if name.startswith(f"{place}_")}
            part = Scores.from_state(own, classes)
            if part is None:
                raise ArtifactError("a group of held-out rows was saved without its scores")
            parts.append(part)
        return cls(column, tuple(names), tuple(parts))


jax.tree_util.register_dataclass(Grouped, data_fields=["parts"], meta_fields=["column", "names"])


def scores_on(
    trained: Trained, source: Any, *, by: str | None = None, lenient: bool = False, say: Say = warn
) -> Scores | Grouped:
    """The scores of rows with true answers; those that the model learnt from are left out.

    Args:
        source, lenient, say: as of :meth:`Trained.predict <danlu.trained.Trained.predict>`.
        by: the column whose values are the groups; None has none.

    Raises:
        SchemaError, ConfigError, DataError: see :meth:`Labels.scored_on <danlu.trained.Labels.scored_on>`.
    """
    head, found = trained.head, trained.read(source, lenient=lenient, say=say, truth=True)
    if found.truth is None:
        raise SchemaError("the data lacks the true answers, which scores need")
    inputs, truth = trained.encoder.transform(found.rows), np.asarray(found.truth)
    fresh = np.ones(len(truth), bool)
    if trained.seen is not None:
        fresh = ~np.isin(row_hashes(head.first(inputs), truth), trained.seen)
    if not fresh.any():
        raise DataError("the model learnt from all of these rows; scores need rows that it did not learn from")
    if not fresh.all():
        say(f"{int((~fresh).sum()):,} of {len(fresh):,} rows were seen in training and are left out")
    classes = head.task != "regression"
    true = (truth if classes else head.target.inverse(truth))[fresh]
    answers = np.asarray(trained.answer(inputs))[fresh]
    if by is None:
        return Scores.of(answers, true, classes=classes, level=head.level)
    groups = np.asarray(groups_of(found.rows, by))[fresh].tolist()
    return Grouped.of(answers, true, groups, column=by, classes=classes, level=head.level)
