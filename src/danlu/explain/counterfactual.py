"""Counterfactuals: the fewest and smallest changes of a row that get another answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError

__all__ = ["Change", "counterfactuals"]

_ROUNDS = 6  # of making one column's change smaller

Row = Mapping[str, Any]
Options = Mapping[str, Sequence[tuple[Any, float]]]


@dataclasses.dataclass(frozen=True)
class Change:
    """What is changed of a row.

    Attributes:
        values: the new values, by column.
        cost: how large the changes are together.
    """

    values: Mapping[str, Any]
    cost: float

    @property
    def columns(self) -> frozenset[str]:
        """Which columns are changed."""
        return frozenset(self.values)


def counterfactuals(
    margin: Callable[[Sequence[Row]], np.ndarray],
    options: Options,
    *,
    plausible: Callable[[Sequence[Row]], np.ndarray] | None = None,
    finer: Callable[[str, Any, Any], Sequence[tuple[Any, float]]] | None = None,
    most: int = 3,
    count: int = 3,
    beam: int = 12,
) -> list[Change]:
    """Changes of as few columns as possible, and of these the smallest, with which a row has the wanted answer.

    All changes of one column are tried; if none suffices, those of two, beginning with the most promising ones, and so on (a beam search).
    A change that is found is made smaller where there is a value nearer to the old one that suffices as well, finer and finer, and a
    part of it that is not needed is taken back.

    Args:
        margin: for some changes (the new values by column), how far each is beyond what is wanted, ``(changes,)``: 0 or more is the wanted
            answer, and of those below 0 the larger is the more promising one.
        options: for each column that may be changed, values with the costs of changing to them.
        plausible: for some changes, whether each leaves a row such as there are, ``(changes,)``; None: all do.
        finer: for a column, a value that does not suffice (None: the row's own) and one that does, values on the way between the two, the
            one that suffices included, with their costs, the cheapest first; None: there are none.
        most: columns that are changed together at most, >= 1.
        count: changes of different columns that are wanted.
        beam: changes that are gone on with.

    Returns:
        The changes, the cheapest first; none where there is none within these limits. Each reaches the wanted answer, and is plausible.

    Raises:
        ConfigError: ``most``, ``count`` or ``beam`` below 1.

    Reference:
        Wachter, Mittelstadt & Russell, "Counterfactual explanations without opening the black box" (2018); Dandl et al., "Multi-objective
        counterfactual explanations" (2020), for the aims: reached, near, few, plausible.

    Example:
        >>> found = counterfactuals(
        ...     lambda changes: np.array([each.get("x", 0.0) + each.get("y", 0.0) - 3.0 for each in changes]),
        ...     {"x": [(1.0, 1.0), (2.0, 2.0)], "y": [(1.0, 1.0), (5.0, 5.0)]},
        ... )
        >>> [(dict(each.values), each.cost) for each in found]
        [({'y': 5.0}, 5.0)]
    """
    if min(most, count, beam) < 1:
        raise ConfigError(f"counterfactuals received most={most}, count={count}, beam={beam}; expected at least 1")
    held = [Change({}, 0.0)]
    for _ in range(min(most, len(options))):
        tried = _extended(held, options)
        if not tried:
            break
        values = np.asarray(margin([each.values for each in tried]))
        reached = [each for each, value in zip(tried, values, strict=True) if value >= 0]
        fine = (
            [True] * len(reached) if plausible is None or not reached else plausible([each.values for each in reached])
        )
        found = [each for each, good in zip(reached, fine, strict=True) if good]
        if found:
            return _smallest(found, options, margin, plausible, finer, count)
        order = np.argsort(-np.where(values >= 0, -np.inf, values), kind="stable")
        held = [tried[place] for place in order[:beam] if values[place] < 0]
    return []


def _extended(held: Sequence[Change], options: Options) -> list[Change]:
    """Each change with one more column changed, each combination once."""
    found: dict[Any, Change] = {}
    for one in held:
        for column, choices in options.items():
            if column in one.values:
                continue
            for value, cost in choices:
                values = {**one.values, column: value}
                found.setdefault(
                    tuple(sorted((name, str(each)) for name, each in values.items())), Change(values, one.cost + cost)
                )
    return list(found.values())


def _smallest(
    found: list[Change], options: Options, margin: Any, plausible: Any, finer: Any, count: int
) -> list[Change]:
    """The cheapest change of each set of columns, made smaller; the cheapest ones first."""
    best: dict[frozenset[str], Change] = {}
    for each in sorted(found, key=lambda change: change.cost):
        best.setdefault(each.columns, each)
    chosen = list(best.values())[: 2 * count]
    if finer is not None:
        chosen = [_shrunk(each, options, margin, plausible, finer) for each in chosen]
    chosen.sort(key=lambda change: (len(change.values), change.cost))
    kept: list[Change] = []
    for each in chosen:  # what holds a smaller one is no news
        if not any(other.columns <= each.columns for other in kept):
            kept.append(each)
    return kept[:count]


def _shrunk(change: Change, options: Options, margin: Any, plausible: Any, finer: Any) -> Change:
    """The change made smaller column by column: the dearest first, or the cheapest, whichever leaves less."""

    def good(tried: Sequence[Row]) -> np.ndarray:
        found = np.asarray(margin(tried)) >= 0
        return found if plausible is None else found & np.asarray(plausible(tried), bool)

    costs = {
        column: next(cost for choice, cost in options[column] if choice is value or choice == value)
        for column, value in change.values.items()
    }
    order = sorted(change.values, key=lambda name: -costs[name])
    found = [_in_order(change, each, dict(costs), good, finer) for each in (order, order[::-1])[: len(order)]]
    return min(found, key=lambda each: (len(each.values), each.cost))


def _in_order(change: Change, order: Sequence[str], costs: dict[str, float], good: Any, finer: Any) -> Change:
    for column in order:
        rest = {name: value for name, value in change.values.items() if name != column}
        if rest and good([rest])[0]:
            change = Change(rest, change.cost - costs[column])
            continue
        near = None
        for _ in range(_ROUNDS):
            way = finer(column, near, change.values[column])
            if len(way) < 2:
                break
            enough = good([{**rest, column: value} for value, _ in way])
            place = int(np.argmax(enough)) if enough.any() else len(way) - 1
            value, cost = way[place]
            change = Change({**rest, column: value}, max(change.cost - costs[column] + cost, 0.0))
            costs[column], near = cost, way[place - 1][0] if place else near
    return change
