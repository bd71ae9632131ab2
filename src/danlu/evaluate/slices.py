"""Slices: the rows that a few readable conditions pick out, and on which a model is worse than on others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError, DataError
from danlu.evaluate.groups import MISSING, bin_limits
from danlu.evaluate.intervals import Interval, difference, figure
from danlu.evaluate.rows import Rows
from danlu.evaluate.sample import Sample

__all__ = ["Slice", "Slices", "worst_slices"]

_LEVELS = 30  # of a column that conditions are of: the most frequent ones
_MOST_SEARCHED = 20_000  # rows that slices are looked for on
_BEAM = 60  # slices that go on to one more condition
_SHARE, _FEWEST = 0.01, 20  # of the rows searched: a slice has at least so many
_LEAST_ROWS = 100  # for any slices at all


@dataclasses.dataclass(frozen=True)
class Slice:
    """Rows that meet some conditions, judged on rows that it was not found on.

    Attributes:
        conditions: in words, such as ``("age below 28", "sex is Female")``.
        rows: how many of the rows judged on meet them.
        share: of these rows.
        loss, others: the mean loss of the rows that meet them, and of those that do not.
        difference: the first minus the second; its interval holds together with those of the other slices.
        right: the share of right answers in it, of classes.
    """

    conditions: tuple[str, ...]
    rows: int
    share: float
    loss: float
    others: float
    difference: Interval
    right: Interval | None = None

    @property
    def name(self) -> str:
        """The conditions, one after the other."""
        return " and ".join(self.conditions)

    @property
    def worse(self) -> bool:
        """Whether the rows tell that the model is worse there, with all slices that were judged taken into account."""
        return bool(self.difference.low > 0)


@dataclasses.dataclass(frozen=True)
class Slices:
    """The worst slices that were found.

    Attributes:
        slices: the worst first, those that are surely worse before others.
        loss: what is compared: ``"log loss"`` or ``"absolute error"``.
        searched, judged: on how many rows they were found, and on how many others judged.
        looked: how many sets of conditions were looked at.
        right: the share of right answers of all rows judged on, of classes.
        notes: what else is to be said.
    """

    slices: tuple[Slice, ...]
    loss: str
    searched: int
    judged: int
    looked: int
    right: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """What was done and found, in words."""
        if not self.slices:
            return f"no slice of the {self.searched:,} rows searched is worse than the others"
        worse = sum(each.worse for each in self.slices)
        many = (
            f"{len(self.slices)} slices that looked worst were"
            if len(self.slices) > 1
            else "one slice that looked worst was"
        )
        told = (
            f"{worse or 'none'} of them {'are' if worse > 1 else 'is'}"
            if len(self.slices) > 1
            else ("it is" if worse else "it is not")
        )
        return (
            f"{self.looked:,} slices of {self.searched:,} rows were looked at; the {many} judged on the other "
            f"{self.judged:,} rows: {told} surely worse there, by intervals that hold for all of them together"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``results.json``."""

        def plain(found: Interval | None) -> Any:
            return None if found is None else {"value": found.value, "interval": [found.low, found.high]}

        slices = [
            {
                **dataclasses.asdict(each),
                "difference": plain(each.difference),
                "right": plain(each.right),
                "worse": each.worse,
            }
            for each in self.slices
        ]
        return {**dataclasses.asdict(self), "slices": slices}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Slices:
        """The inverse of :meth:`as_dict`."""

        def interval(found: Any) -> Any:
            if found is None:
                return None
            return Interval(
                *(float("nan") if each is None else float(each) for each in (found["value"], *found["interval"]))
            )

        slices = tuple(
            Slice(
                **{
                    **{name: value for name, value in each.items() if name != "worse"},
                    "conditions": tuple(each["conditions"]),
                    "difference": interval(each["difference"]),
                    "right": interval(each["right"]),
                }
            )
            for each in data["slices"]
        )
        return cls(**{**data, "slices": slices, "notes": tuple(data["notes"])})


def worst_slices(
    rows: Rows,
    frame: pl.DataFrame,
    *,
    most: int = 8,
    conditions: int = 3,
    least: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Slices:
    """The worst readable slices: those of which the model's loss is most surely above that of the other rows.

    They are found on one half of the rows and judged on the other half, so that what was only chance in the first does not count.
    The loss of a row is its negative log likelihood, or the size of its error. Conditions are levels of a column (or that it is missing)
    and stretches of numbers between quartiles; they are added one at a time to the slices of the largest Welch's t of the difference.

    Args:
        rows: with their truth and the prediction.
        frame: the columns of the same rows.
        most: slices that are judged.
        conditions: of a slice, at most.
        least: rows of a slice in the half that is searched; None is 1 % of it, and at least 20.
        level: at which the intervals of all slices hold together (Bonferroni's).
        seed: draws the halves.

    Raises:
        DataError: columns of other rows.
        ConfigError: fewer than one condition or slice.

    Reference: Chung et al., "Slice Finder: automated data slicing for model validation" (2019); Sagadeeva & Boehm, "SliceLine" (2021).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> frame = pl.DataFrame({"colour": rng.choice(["red", "blue"], 400), "size": rng.normal(size=400)})
        >>> error = rng.normal(size=400) * np.where(frame["colour"] == "red", 3, 1)
        >>> worst = worst_slices(Rows("regression", np.zeros(400), error), frame).slices[0]
        >>> worst.name, worst.worse
        ('colour is red', True)
    """
    if frame.height != len(rows):
        raise DataError(f"columns of {frame.height:,} rows for {len(rows):,} rows; expected one for each")
    if conditions < 1 or most < 1:
        raise ConfigError(f"conditions is {conditions} and most is {most}; expected at least 1")
    quantity = rows.task == "regression"
    loss = np.abs(rows.error) if quantity else rows.negative_log_likelihood
    name = "absolute error" if quantity else "log loss"
    search, judge = _halves(rows, seed)
    if len(search) < _LEAST_ROWS // 2:
        note = f"{len(rows):,} rows are too few to find slices and to judge them; expected {_LEAST_ROWS} or more"
        return Slices((), name, len(search), len(judge), 0, notes=(note,))
    atoms = _atoms(frame)
    fewest = max(_FEWEST, int(_SHARE * len(search))) if least is None else least
    found, looked = _search(loss[search], [(text, mask[search]) for text, mask in atoms], conditions, fewest)
    masks = dict(atoms)
    chosen = _distinct(found, most)
    each = 1 - (1 - level) / max(len(chosen), 1)
    judged = [
        slice_
        for names in chosen
        if (slice_ := _judged(rows, loss, names, np.logical_and.reduce([masks[text] for text in names]), judge, each))
    ]
    judged.sort(key=lambda each: (not each.worse, -each.difference.value))
    right = None if quantity else float(rows.right[judge].mean())
    return Slices(tuple(judged), name, len(search), len(judge), looked, right)


def _halves(rows: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the rows at random; rows that belong together stay together."""
    rng = np.random.default_rng(seed)
    if rows.groups is None:
        order = rng.permutation(len(rows))
        half = min(len(rows) // 2, _MOST_SEARCHED)
        return np.sort(order[:half]), np.sort(order[half:])
    _, group = np.unique(rows.groups, return_inverse=True)
    first = rng.permutation(int(group.max()) + 1) % 2 == 0
    return np.flatnonzero(first[group]), np.flatnonzero(~first[group])


def _atoms(frame: pl.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Single conditions in words, with the rows that meet them."""
    found: list[tuple[str, np.ndarray]] = []
    for name in frame.columns:
        values = frame[name]
        if values.dtype in (pl.Date, pl.Datetime):
            values = values.dt.year()
        if values.dtype.is_float():
            values = values.fill_nan(None)
        limits = bin_limits(values)
        found += _stretches(name, values, limits) if limits else _levels(name, values)
    return [(text, mask) for text, mask in found if mask.any() and not mask.all()]


def _stretches(name: str, values: pl.Series, limits: Sequence[float]) -> list[tuple[str, np.ndarray]]:
    lost = values.is_null().to_numpy()
    numbers = values.cast(pl.Float64).fill_null(0.0).to_numpy()
    ends = [-np.inf, *limits, np.inf]
    found = [(f"{name} is {MISSING}", lost)]
    for i, low in enumerate(ends[:-1]):
        for j in range(i + 1, len(ends)):
            high = ends[j]
            if (i == 0 and j == len(ends) - 1) or (i and j < len(ends) - 1 and j > i + 1):
                continue  # all numbers, or several stretches in the middle
            if i == 0:
                text = f"{name} below {figure(high, 6)}"
            elif j == len(ends) - 1:
                text = f"{name} {figure(low, 6)} or more"
            else:
                text = f"{name} from {figure(low, 6)} to below {figure(high, 6)}"
            found.append((text, ~lost & (numbers >= low) & (numbers < high)))
    return found


def _levels(name: str, values: pl.Series) -> list[tuple[str, np.ndarray]]:
    if values.dtype.is_numeric():
        texts = [None if value is None else figure(float(value), 6) for value in values.to_list()]
        series = pl.Series(name, texts, dtype=pl.String)
    else:
        series = values.cast(pl.String).str.strip_chars()
        series = series.set(series == "", None)
    lost = series.is_null()
    counts = (
        series.drop_nulls().rename("level").value_counts(name="rows").sort("rows", "level", descending=[True, False])
    )
    levels = counts.filter(pl.col("rows") > 1)["level"].head(_LEVELS).to_list()
    found = [(f"{name} is {level}", (series == level).fill_null(value=False).to_numpy()) for level in levels]
    return [*found, (f"{name} is {MISSING}", lost.to_numpy())]


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    names: tuple[str, ...]
    mask: np.ndarray
    score: float


def _search(
    loss: np.ndarray, atoms: Sequence[tuple[str, np.ndarray]], conditions: int, fewest: int
) -> tuple[list[_Candidate], int]:
    """Slices by Welch's t of their loss above that of the other rows, the largest first, and how many were looked at."""
    if not atoms:
        return [], 0
    texts = [text for text, _ in atoms]
    single = np.array([mask for _, mask in atoms], np.float32)
    centred = (loss - loss.mean()).astype(np.float32)
    powers = np.stack([np.ones_like(centred), centred, centred**2], axis=1)
    beam: list[tuple[tuple[int, ...], np.ndarray]] = [((), np.ones(len(loss), np.float32))]
    best: dict[tuple[int, ...], _Candidate] = {}
    looked = 0
    for _ in range(conditions):
        met: dict[tuple[int, ...], float] = {}
        for numbers, mask in beam:
            score = _welch(single @ (powers * mask[:, None]), powers.sum(axis=0), fewest)
            for place in np.flatnonzero(np.isfinite(score)):
                if place not in numbers:
                    met[tuple(sorted((*numbers, int(place))))] = float(score[place])
        looked += len(met)
        ranked = sorted(met, key=lambda key: -met[key])[:_BEAM]
        beam = [(key, np.prod(single[list(key)], axis=0)) for key in ranked]
        for key, mask in beam:
            shorter = [best[less].score for less in _parts(key) if less in best]
            if met[key] > max([0.0, *shorter]):  # one condition more has to be worth it
                best[key] = _Candidate(tuple(texts[place] for place in key), mask > 0, met[key])
    return sorted(best.values(), key=lambda each: -each.score), looked


def _parts(key: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(other for other in key if other != place) for place in key]


def _welch(inside: np.ndarray, whole: np.ndarray, fewest: int) -> np.ndarray:
    """Welch's t of each slice against the rest, from the numbers of rows and the sums of losses and of squares; −inf where too few."""
    inside = inside.astype(np.float64)
    outside = whole.astype(np.float64) - inside
    enough = (inside[:, 0] >= fewest) & (outside[:, 0] >= fewest)
    with np.errstate(all="ignore"):
        parts = []
        for part in (inside, outside):
            mean = part[:, 1] / part[:, 0]
            parts.append((mean, np.maximum(part[:, 2] / part[:, 0] - mean**2, 0) / (part[:, 0] - 1)))
        (mean, error), (other, beside) = parts
        score = (mean - other) / np.sqrt(np.maximum(error + beside, 1e-300))
    return np.where(enough, score, -np.inf)


def _distinct(found: Sequence[_Candidate], most: int) -> list[tuple[str, ...]]:
    """The best slices of which no more than half of the rows are in better ones."""
    chosen: list[tuple[str, ...]] = []
    taken = np.zeros(0, bool)
    for each in found:
        if len(chosen) == most:
            break
        taken = taken if len(taken) else np.zeros(len(each.mask), bool)
        if (each.mask & taken).sum() <= each.mask.sum() / 2:
            chosen.append(each.names)
            taken = taken | each.mask
    return chosen


def _judged(
    rows: Rows, loss: np.ndarray, names: tuple[str, ...], mask: np.ndarray, judge: np.ndarray, level: float
) -> Slice | None:
    """A slice on rows that it was not found on; None where these have none of it."""
    inside, outside = judge[mask[judge]], judge[~mask[judge]]
    if len(inside) < 2 or len(outside) < 2:
        return None

    def sample(values: np.ndarray, own: np.ndarray, name: str) -> Sample:
        return Sample(values[own], name, None if rows.groups is None else rows.groups[own])

    means = float(loss[inside].mean()), float(loss[outside].mean())
    ends = difference(
        sample(loss, inside, "loss_of_rows"), sample(loss, outside, "loss_of_rows"), "loss_of_rows", level=level
    )
    gap = Interval(means[0] - means[1], *ends)
    right = None if rows.task == "regression" else sample(rows.right, inside, "share_of_rows").interval()
    return Slice(names, len(inside), len(inside) / len(judge), *means, gap, right)
