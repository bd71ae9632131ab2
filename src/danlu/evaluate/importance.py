"""How much worse a model gets when a column is shuffled: what it relies on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.intervals import figure
from danlu.evaluate.measures import MEASURES
from danlu.stages import stage

__all__ = ["Importance", "permutation_importance", "related_columns"]

_RELATED = 0.8  # of a rank correlation, or of Cramér's V: from there on one column can stand in for the other
_MOST_COLUMNS = 60  # whose relations are looked at
_MOST_LEVELS = 50
_AT_ONCE = 8192  # rows that are predicted in one go: a call costs as much as some hundred rows
_MANY = 3  # related columns that are no longer named one by one beside a figure


@dataclasses.dataclass(frozen=True)
class Importance:
    """The cost of shuffling some columns together.

    Attributes:
        columns: their names; several where they are related, so that one can stand in for another.
        metric: the measure by which the cost is told.
        drop: how much worse it is, mean over the repeats (above 0: the model relies on the columns).
        spread: the standard deviation of the repeats.
        repeats: how often the columns were shuffled.
        rows: how many rows it was measured on.
    """

    columns: tuple[str, ...]
    metric: str
    drop: float
    spread: float
    repeats: int
    rows: int

    @property
    def matters(self) -> bool:
        """Whether the cost is more than what shuffling changes by chance, two standard errors of its mean."""
        return self.drop > 2 * self.spread / self.repeats**0.5

    @property
    def name(self) -> str:
        """The columns' names; for a large group only the first."""
        first, *others = self.columns
        return " with ".join(self.columns) if len(others) < _MANY else f"{first} with {len(others)} related columns"

    @property
    def cost(self) -> str:
        """The cost of shuffling, and its variation."""
        return f"{figure(self.drop, 3)} ± {figure(self.spread, 2)}"

    def __str__(self) -> str:
        return f"{self.name}: {self.cost}"


def permutation_importance(
    predict: Callable[[pl.DataFrame], np.ndarray],
    frame: pl.DataFrame,
    rows: Evidence,
    columns: Sequence[str],
    *,
    groups: Sequence[Sequence[str]] = (),
    repeats: int = 5,
    most: int = 2000,
    seconds: float | None = None,
    seed: int = 0,
) -> tuple[Importance, ...]:
    """The cost of shuffling each column, the dearest first: ``drop = measure(rows) − measure(rows with the column shuffled)``.

    For a measure of which less is better the sign is turned. The measure is the task's :data:`~danlu.evaluate.PRIMARY`, or accuracy
    where that is not defined. Nothing is trained again: it tells what this model relies on, not what could be learnt without the
    column; and a column whose information another column holds as well can look worthless (see :func:`related_columns`).

    Args:
        predict: a frame to values ``(rows,)`` or probabilities ``(rows, classes)``; it is given several shuffles one below the other.
        frame: rows as they were read, those of ``rows``, and not those that were learnt from.
        rows: their truth, evidence with a ``prediction``; the threshold is kept.
        columns: which of the frame's columns.
        groups: columns that are shuffled together as well.
        repeats: how often, >= 2.
        most: the most rows to measure on, drawn evenly.
        seconds: about the most that it may take: there are fewer repeats, at least 2, and then fewer rows, at least 100. None: no limit.
        seed: decides how they are shuffled.

    Returns:
        One a column, and one a group.

    Raises:
        ConfigError: fewer than 2 repeats.

    Reference:
        Breiman, "Random forests" (2001), section 10; Fisher, Rudin & Dominici, "All models are wrong, but many are useful" (2019),
        which shuffles as here, by permutation. As ``sklearn.inspection.permutation_importance``.

    Example:
        >>> from danlu.evaluate import Rows
        >>> frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "noise": [0.0, 1.0, 0.0, 1.0]})
        >>> rows = Rows("regression", frame["x"].to_numpy(), frame["x"].to_numpy())
        >>> found = permutation_importance(lambda frame: frame["x"].to_numpy(), frame, rows, frame.columns)
        >>> found[0].columns, found[1].drop
        (('x',), 0.0)
    """
    if repeats < 2:
        raise ConfigError(f"repeats is {repeats}; expected at least 2")
    sets = [(name,) for name in columns] + [tuple(group) for group in groups]
    kept = _evenly(len(rows), most)
    begun = time.perf_counter()
    metric, whole = _measured(predict(frame[kept]), rows.take(kept))
    if seconds is not None:
        begun = time.perf_counter()
        _measured(predict(frame[kept]), rows.take(kept))  # once more, when nothing is compiled any more
        affordable = seconds / max(time.perf_counter() - begun, 1e-9) / max(len(sets), 1)
        repeats = int(np.clip(affordable, 2, repeats))
        if affordable < 2:
            kept = _evenly(len(rows), int(max(len(kept) * affordable / 2, 100)))
            metric, whole = _measured(predict(frame[kept]), rows.take(kept))
    part, truth, rng = frame[kept], rows.take(kept), np.random.default_rng(seed)
    sign, found = 1.0 if MEASURES[metric].higher_is_better else -1.0, []
    with stage("importance of columns", total=len(sets) * repeats) as step:
        shuffles = [(names, rng.permutation(len(kept))) for names in sets for _ in range(repeats)]
        drops: list[float] = []
        at_once = max(_AT_ONCE // len(kept), 1)
        for first in range(0, len(shuffles), at_once):
            some = shuffles[first : first + at_once]
            answers = np.split(predict(_shuffled(part, some)), len(some))
            drops += [sign * (whole - _measured(each, truth, metric)[1]) for each in answers]
            step.advance(len(some))
    for names, each in zip(sets, np.reshape(drops, (len(sets), repeats)), strict=True):
        found.append(Importance(names, metric, float(each.mean()), float(each.std(ddof=1)), repeats, len(kept)))
    return tuple(sorted(found, key=lambda each: -each.drop))


def related_columns(
    frame: pl.DataFrame, columns: Sequence[str], *, least: float = _RELATED
) -> tuple[tuple[str, ...], ...]:
    """Groups of columns with much the same information: by Spearman's rank correlation of numbers, by Cramér's V of levels.

    Args:
        frame: some rows.
        columns: which of its columns; the first 60 are looked at.
        least: the correlation (its size) from which two columns are related; relations are handed on.

    Example:
        >>> frame = pl.DataFrame({"cm": [1, 2, 3, 4], "inch": [0.4, 0.8, 1.2, 1.6], "other": [3, 1, 4, 2]})
        >>> related_columns(frame, frame.columns)
        (('cm', 'inch'),)
    """
    chosen = list(columns)[:_MOST_COLUMNS]
    group = {name: {name} for name in chosen}
    numbers = [name for name in chosen if frame.schema[name].is_numeric() and frame[name].n_unique() > 2]
    levels = [name for name in chosen if name not in numbers and 1 < frame[name].n_unique() <= _MOST_LEVELS]
    pairs = [(a, b) for i, a in enumerate(numbers) for b in numbers[i + 1 :] if _rank_correlation(frame, a, b) >= least]
    pairs += [(a, b) for i, a in enumerate(levels) for b in levels[i + 1 :] if _cramers_v(frame, a, b) >= least]
    for one, other in pairs:
        joined = group[one] | group[other]
        for name in joined:
            group[name] = joined
    found = {tuple(name for name in chosen if name in members) for members in group.values() if len(members) > 1}
    return tuple(sorted(found, key=lambda each: chosen.index(each[0])))


def _rank_correlation(frame: pl.DataFrame, one: str, other: str) -> float:
    both = frame.select(one, other).drop_nulls()
    if both.height < 3:
        return 0.0
    ranks = np.array([both[name].rank().to_numpy() for name in (one, other)])
    return 0.0 if (np.ptp(ranks, axis=1) == 0).any() else float(abs(np.corrcoef(ranks)[0, 1]))


def _cramers_v(frame: pl.DataFrame, one: str, other: str) -> float:
    """``√(φ² / min(r − 1, c − 1))``, with φ² less what it is by chance (Bergsma, 2013)."""
    codes = [frame[name].cast(pl.String).fill_null("").rank("dense").to_numpy() - 1 for name in (one, other)]
    sizes = [int(code.max()) + 1 for code in codes]
    counts = np.bincount(codes[0] * sizes[1] + codes[1], minlength=sizes[0] * sizes[1]).reshape(sizes).astype(float)
    n = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    phi = ((counts - expected) ** 2 / expected).sum() / n
    phi = max(phi - (sizes[0] - 1) * (sizes[1] - 1) / max(n - 1, 1), 0.0)
    left = [size - (size - 1) ** 2 / max(n - 1, 1) for size in sizes]
    return float(np.sqrt(phi / max(min(left) - 1, 1e-12)))


def _evenly(rows: int, most: int) -> np.ndarray:
    return np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64)


def _shuffled(frame: pl.DataFrame, shuffles: Sequence[tuple[tuple[str, ...], np.ndarray]]) -> pl.DataFrame:
    """The frame once for each shuffle, one below the other: its columns in that order, all others as they are."""
    rows = np.arange(frame.height)
    places = {name: [order if name in names else rows for names, order in shuffles] for name in frame.columns}
    return frame.select(frame[name].gather(np.concatenate(places[name])) for name in frame.columns)


def _measured(prediction: np.ndarray, truth: Evidence, metric: str | None = None) -> tuple[str, float]:
    found = dataclasses.replace(truth, prediction=prediction)  # type: ignore[type-var]
    name = metric or found.primary
    return name, found.measures(None, (name,))[name]
