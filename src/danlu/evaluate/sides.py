"""Trained models side by side: which differences of their tests can be told, and which cannot."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.compare import Comparison, counted, told
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.intervals import Interval, apart, difference
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.stored import stored
from danlu.evaluate.usual import DIRECTIONLESS

__all__ = ["Pair", "Side", "finite", "pair"]

_MOST_SHARED = 0.5  # of the rows of the smaller test, from which on pairs of rows tell more than two tests


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """The test of a trained model, as it was kept.

    Attributes:
        name: what the model is called.
        task, target: what it predicts, and as what.
        primary: the measure that models are compared by.
        scores: with 95 % intervals.
        classes: by their codes.
        data: the fingerprint of the data that the test rows are of; empty where it is not known.
        evidence: the test rows with the answers; None where they were not kept, and ``why``.
        numbers: of the rows in the data, ``(rows,)``; None where they are not known.
        division: what else decides which rows those are, where they have no numbers.
        weights: SHA-256 of the model's weights; empty where it is not known.
    """

    name: str
    task: str
    target: str
    primary: str
    scores: Mapping[str, Interval]
    classes: tuple[str, ...] = ()
    data: str = ""
    evidence: Evidence | None = None
    numbers: np.ndarray | None = None
    division: str = ""
    why: str = ""
    weights: str = ""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two models, compared as far as their tests allow.

    Attributes:
        first, second: what they are called.
        how: ``"paired"`` (row by row on the same test rows), ``"unpaired"`` (from two tests of the same data), ``"other data"`` (each
            from its own data: the difference may be that of the data), ``"same"`` (one model twice: nothing differs), or ``"none"``
            (nothing to compare).
        why: why the tests are not compared row by row; empty where they are.
        rows: how many rows both were tested on, where they are paired.
        level: of the intervals of the differences.
        primary: the measure that the conclusion goes by.
        measures: by name, how much better the first one is.
    """

    first: str
    second: str
    how: str
    why: str
    rows: int
    level: float
    primary: str
    measures: Mapping[str, Comparison]

    @property
    def sentence(self) -> str:
        """The conclusion."""
        main = self.measures.get(self.primary)
        if self.how == "same":
            return f"{self.first} and {self.second} are the same model: their weights and all their answers to the test rows are equal."
        if main is None:
            return f"{self.first} and {self.second} cannot be compared: {self.why}."
        return main.sentence

    @property
    def verdict(self) -> str:
        """Of the first one, by the primary measure: ``"better"``, ``"worse"`` or ``"undecided"``."""
        main = self.measures.get(self.primary)
        return "undecided" if main is None else main.verdict

    def of(self, verdict: str) -> list[str]:
        """The measures with a verdict (``"better"``, ``"worse"``, ``"undecided"``), the primary aside."""
        return [name for name, each in self.measures.items() if each.verdict == verdict and name != self.primary]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **{each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "measures"},
            "sentence": self.sentence,
            "measures": {
                name: {
                    "first": finite(each.ours),
                    "second": finite(each.theirs),
                    "better_by": finite(each.difference.value),
                    "interval": [finite(each.difference.low), finite(each.difference.high)],
                    "verdict": each.verdict,
                }
                for name, each in self.measures.items()
            },
        }


def pair(ours: Side, theirs: Side, *, level: float = 0.95, seed: int = 0) -> Pair:
    """Compare two tested models row by row where their test rows are known to be the same, else by the interval of each.

    Test rows are the same when they have the same numbers in data of the same fingerprint. Of two tests that share at least half of the
    rows of the smaller one, the shared rows are compared; two tests that share fewer are compared as wholes, with
    :func:`~danlu.evaluate.intervals.apart`, and say less. Of scores on different data there is no verdict.

    Args:
        level: of the intervals; more than 95 % where several pairs are to hold together.
        seed: deals many rows out to parts.

    Example:
        >>> from danlu.evaluate import Rows
        >>> truth = np.arange(40.0)
        >>> a, b = (Rows("regression", truth, truth + error) for error in (1.0, 3.0))
        >>> one, two = (
        ...     Side(name, "regression", "y", "rmse", each.scores(), data="d", evidence=each, numbers=np.arange(40))
        ...     for name, each in (("a", a), ("b", b))
        ... )
        >>> print(pair(one, two).sentence)
        Run a is better than run b: RMSE 1 is 2 lower than 3.
    """
    primary = ours.primary if ours.primary in theirs.scores else ""
    names = [name for name in ours.scores if name in theirs.scores and name in MEASURES and name not in DIRECTIONLESS]
    why = _nothing_in_common(ours, theirs, names)
    if why:
        return Pair(ours.name, theirs.name, "none", why, 0, level, primary, {})
    primary = primary if primary in names else names[0]
    why, rows = _rows_of_both(ours, theirs)
    if rows is not None:
        one, two = rows
        if ours.weights and ours.weights == theirs.weights and _equal(one, two):
            return Pair(ours.name, theirs.name, "same", "", len(one), level, primary, {})
        mine, other = (np.zeros(0) if (own := getattr(each, "costs", None)) is None else own for each in rows)
        if not np.array_equal(mine, other):
            names = [name for name in names if name != "cost"]
        known = one.measures()  # an agent's scores are of several samples, of which one is kept
        found = {
            name: _paired(ours.name, theirs.name, one, two, name, level, seed)
            if name in known
            else _unpaired(ours, theirs, name, "unpaired", level)
            for name in names
        }
        how = "paired" if one.paired else "unpaired"
        return Pair(ours.name, theirs.name, how, "", len(one) if one.paired else 0, level, primary, found)
    how = "unpaired" if ours.data and ours.data == theirs.data else "other data"
    found = {name: _unpaired(ours, theirs, name, how, level) for name in names}
    return Pair(ours.name, theirs.name, how, why, 0, level, primary, found)


def _equal(one: Evidence, other: Evidence) -> bool:
    """Whether two tests hold the same answers."""
    (ours, _), (theirs, _) = stored(one), stored(other)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name], equal_nan=ours[name].dtype.kind == "f") for name in ours
    )


def finite(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None


def _nothing_in_common(ours: Side, theirs: Side, names: list[str]) -> str:
    for each in (ours, theirs):
        if not each.scores:
            return f"{each.name} has no test"
    if ours.target != theirs.target:
        return f"they predict different things ({ours.target or 'no target'} and {theirs.target or 'no target'})"
    if ours.task != theirs.task or not names:
        return f"they are measured differently ({ours.task or 'unknown'} and {theirs.task or 'unknown'})"
    if ours.classes and theirs.classes and ours.classes != theirs.classes:
        return f"they have different classes ({len(ours.classes)} and {len(theirs.classes)})"
    return ""


def _rows_of_both(ours: Side, theirs: Side) -> tuple[str, tuple[Evidence, Evidence] | None]:
    """The evidence of the same rows, or why there is none."""
    if not ours.data or not theirs.data:
        without = " and ".join(each.name for each in (ours, theirs) if not each.data)
        return f"the data of {without} has no fingerprint", None
    if ours.data != theirs.data:
        return "they were tested on different data", None
    lacking = [f"{each.name} {each.why}" for each in (ours, theirs) if each.evidence is None]
    if lacking or ours.evidence is None or theirs.evidence is None:
        return "; ".join(lacking), None
    one, two = ours.evidence, theirs.evidence
    if one.paired and (ours.numbers is None or theirs.numbers is None):
        if ours.division != theirs.division or (ours.numbers is None) != (theirs.numbers is None):
            return "their test rows have no numbers, and the data was divided in different ways", None
    elif one.paired and not np.array_equal(ours.numbers, theirs.numbers):  # type: ignore[arg-type]
        chosen = _shared(np.asarray(ours.numbers), np.asarray(theirs.numbers))
        if isinstance(chosen, str):
            return chosen, None
        one, two = one.take(chosen[0]), two.take(chosen[1])
    try:
        one.check_same(two)
    except DataError as error:
        return error.message.split(";")[0], None
    return "", (one, two)


def _shared(ours: np.ndarray, theirs: np.ndarray) -> str | tuple[np.ndarray, np.ndarray]:
    """The places of the rows that both tests have, or why they are not taken."""
    if any(len(np.unique(each)) < len(each) for each in (ours, theirs)):
        return "a test has rows more than once"
    both, at, other = np.intersect1d(ours, theirs, return_indices=True)
    least = min(len(ours), len(theirs))
    if len(both) < max(_MOST_SHARED * least, 2):
        return f"they were tested on different rows: {len(both):,} of {len(ours):,} and {len(theirs):,} are the same"
    return at, other


def _paired(ours: str, theirs: str, one: Evidence, two: Evidence, name: str, level: float, seed: int) -> Comparison:
    own, other = (float(each.measures(None, (name,))[name]) for each in (one, two))
    known = math.isfinite(own) and math.isfinite(other)
    ends = difference(one, two, name, level=level, seed=seed) if known else (math.nan, math.nan)
    few = "" if np.isfinite(ends).all() else f"{counted(len(one), one.noun)} are too few to tell"
    raw = Interval(own - other, *ends)
    return told(MEASURES[name], own, other, raw, f"run {theirs}", name=f"run {ours}", few=few, level=level)


def _unpaired(ours: Side, theirs: Side, name: str, how: str, level: float) -> Comparison:
    one, two = (_at(each.scores[name], level) for each in (ours, theirs))
    raw = apart(one, two)
    few = "" if raw.known else "the tests are too small to tell"
    if how == "other data":
        few = few or "the data differ, so that this says nothing of the models"
    return told(
        MEASURES[name], one.value, two.value, raw, f"run {theirs.name}", name=f"run {ours.name}", few=few, level=level
    )


def _at(interval: Interval, level: float) -> Interval:
    """A 95 % interval widened, as a normal variable's would be, to another level."""
    from scipy.special import ndtri

    by = float(ndtri((1 + level) / 2) / ndtri(0.975))
    value = interval.value
    return Interval(value, value + by * (interval.low - value), value + by * (interval.high - value))
