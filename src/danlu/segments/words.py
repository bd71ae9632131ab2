"""What each segment is like, in words: the columns in which it differs most from all other rows, and a rule that finds it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from danlu.data import TableEncoder
from danlu.evaluate.intervals import Interval, binomial, figure

__all__ = ["Described", "described", "target_said"]

_TOLD = 3  # columns that are told of a segment
_SMALL = 0.2  # standard deviations below which a difference is not worth telling
_DEEP = 3  # questions of a rule
_LEVELS = 30  # of a category that are looked at
_Z = 1.959964


@dataclasses.dataclass(frozen=True)
class Described:
    """A segment.

    Attributes:
        number: from 1, the largest first.
        share: of the training rows.
        differs: how its columns differ, the most different first, in words.
        rule: what finds it; empty where no rule does.
        precision: of the rows for which the rule holds, the share that are in the segment, on rows that it was not made from.
        found: of the rows of the segment, the share for which it holds.
        target: what the target is in it, where there is one.
    """

    number: int
    share: float
    differs: tuple[str, ...]
    rule: str
    precision: Interval
    found: float
    target: str = ""

    @property
    def said(self) -> str:
        """All of it in a line."""
        what = "; ".join(self.differs) or "no column differs by more than a fifth of its spread"
        return f"segment {self.number} ({100 * self.share:.1f} % of the rows): {what}"

    @property
    def ruled(self) -> str:
        """The rule with how good it is; empty without one."""
        if not self.rule:
            return ""
        low, high = self.precision.low, self.precision.high
        right, found = (
            f"{self.precision.value:.0%} ({low:.0%} to {high:.0%})".replace("%", " %"),
            f"{100 * self.found:.0f} %",
        )
        return f"segment {self.number}: {self.rule}; of such rows {right} are in it, and of its rows {found} are such"


@dataclasses.dataclass(frozen=True)
class _Trait:
    """Something that can be said of a row: a number of its column, its day, or whether it has a level."""

    column: str
    values: np.ndarray  # NaN where it is missing; days since 1970 of a date
    level: str | None = None
    dated: bool = False

    def mean(self, values: np.ndarray) -> str:
        """The mean of some of the values with its interval."""
        found = _mean(values)
        if not self.dated:
            return found.brief
        ends = f" ({_day(found.low)} to {_day(found.high)})" if found.known else ""
        return f"{_day(found.value)}{ends}"

    def figure(self, value: float) -> str:
        """An end of a rule."""
        return _day(value) if self.dated else figure(value)


def described(
    encoder: TableEncoder,
    rows: pl.DataFrame,
    labels: np.ndarray,
    checked: pl.DataFrame,
    checked_labels: np.ndarray,
    *,
    target: pl.Series | None = None,
    seed: int = 0,
) -> tuple[Described, ...]:
    """Each segment in words.

    Args:
        encoder: of the columns.
        rows: training rows as they were read; the segments are described by them.
        labels: their segments, from 0.
        checked, checked_labels: rows of which the rules were not made, by which their precision is told.
        target: of the training rows; it is told of each segment, and nothing else is done with it.
        seed: of the tree.
    """
    traits, others = _traits(encoder, rows), _traits(encoder, checked)
    rules = _rules(traits, labels, others, checked_labels, seed)
    found = []
    for each in range(int(labels.max()) + 1):
        inside = labels == each
        rule, precision, share = rules.get(each, ("", Interval(math.nan), math.nan))
        found.append(
            Described(
                each + 1,
                float(inside.mean()),
                _differs(traits, inside),
                rule,
                precision,
                share,
                "" if target is None else target_said(target.filter(pl.Series(inside))),
            )
        )
    return tuple(found)


def target_said(values: pl.Series) -> str:
    """The mean of a quantity, or the shares of the most frequent classes, with intervals.

    >>> target_said(pl.Series("churn", ["no", "no", "yes", "no"]))
    'churn: no 75 % (19 % to 99 %), yes 25 % (1 % to 81 %)'
    """
    known = values.drop_nulls()
    if not len(known):
        return f"{values.name}: not known"
    if known.dtype.is_numeric() and known.n_unique() > 10:
        return f"{values.name}: {_mean(known.cast(pl.Float64).to_numpy()).brief}"
    counts = (
        known.cast(pl.String).value_counts(name="rows").sort(["rows", values.name], descending=[True, False]).head(3)
    )
    shares = [f"{level} {_share(count, len(known))}" for level, count in counts.iter_rows()]
    return f"{values.name}: {', '.join(shares)}"


def _traits(encoder: TableEncoder, rows: pl.DataFrame) -> list[_Trait]:
    numbers = encoder.numbers(rows)
    names = [(column.name, "") for column in encoder.schema.of_kind("numeric")]
    names += [(name, part) for name, parts in encoder.dates for part in parts]
    found = []
    for place, (name, part) in enumerate(names):
        if part not in ("", "time"):
            continue  # a day says it
        found.append(_Trait(name, numbers[:, place], dated=bool(part)))
        gaps = np.isnan(numbers[:, place])
        found.append(_Trait(name, gaps.astype(float), "missing"))
    encoded = encoder.transform(rows)
    for place, (name, form, coder) in enumerate(encoder.levels):
        if form != "whole":
            continue
        codes = encoded["categorical"][:, place]
        known = [*coder.levels[:_LEVELS], *(["missing"] if coder.has_missing else [])]
        codes_of = [*range(1, len(coder.levels[:_LEVELS]) + 1), len(coder.levels) + 1]
        found += [
            _Trait(name, (codes == code).astype(float), level) for level, code in zip(known, codes_of, strict=False)
        ]
    place = 0
    for name, vocabulary in encoder.words:
        for word in vocabulary.words:
            found.append(_Trait(name, (encoded["text"][:, place] > 0).astype(float), word))
            place += 1
    return found


def _differs(traits: Sequence[_Trait], inside: np.ndarray) -> tuple[str, ...]:
    """The columns in which some rows differ most from the others, by the difference of means over the spread of all."""
    if inside.all():
        return ()
    gaps = []
    for number, trait in enumerate(traits):
        ours, theirs = (trait.values[rows & ~np.isnan(trait.values)] for rows in (inside, ~inside))
        spread = float(np.nanstd(trait.values)) if len(ours) and len(theirs) else 0.0
        gaps.append((abs(float(ours.mean() - theirs.mean())) / spread if spread > 0 else 0.0, number))
    told: dict[str, str] = {}
    for gap, number in sorted(gaps, key=lambda each: (-each[0], each[1])):
        trait = traits[number]
        if gap < _SMALL or len(told) == _TOLD:
            break
        if trait.column in told:
            continue  # another level of a column that has been told
        ours, theirs = (trait.values[rows & ~np.isnan(trait.values)] for rows in (inside, ~inside))
        if trait.level is None:
            told[trait.column] = f"{trait.column} {trait.mean(ours)}, others {trait.mean(theirs)}"
        else:
            shares = [_share(int(side.sum()), len(side)) for side in (ours, theirs)]
            told[trait.column] = f"{trait.column} is {trait.level} in {shares[0]}, others {shares[1]}"
    return tuple(told.values())


def _rules(
    traits: Sequence[_Trait], labels: np.ndarray, others: Sequence[_Trait], other_labels: np.ndarray, seed: int
) -> dict[int, tuple[str, Interval, float]]:
    """Of each segment the path to the leaf of a small tree that holds the most of it, with its precision and recall on other rows."""
    from sklearn.tree import DecisionTreeClassifier

    if not labels.any() or not traits:
        return {}
    matrices = [
        np.stack([np.nan_to_num(t.values, nan=_middle(t.values)) for t in side], axis=1) for side in (traits, others)
    ]
    least = max(5, len(labels) // 200)
    tree = DecisionTreeClassifier(max_depth=_DEEP, min_samples_leaf=least, random_state=seed).fit(matrices[0], labels)
    leaves, classes = tree.tree_.value[:, 0].argmax(axis=1), tree.classes_
    at, reached = tree.apply(matrices[0]), tree.apply(matrices[1])
    found = {}
    for each in range(int(labels.max()) + 1):
        own = [leaf for leaf in np.unique(at) if classes[leaves[leaf]] == each]
        if not own:
            continue
        leaf = max(own, key=lambda leaf: int(((at == leaf) & (labels == each)).sum()))
        there, segment = reached == leaf, other_labels == each
        if not there.any() or not segment.any():
            continue
        hits = int((there & segment).sum())
        low, high = binomial(float(hits), float(there.sum()), 0.95)
        found[each] = (
            _path(tree.tree_, int(leaf), traits),
            Interval(hits / int(there.sum()), float(low), float(high)),
            hits / int(segment.sum()),
        )
    return found


def _path(tree: object, leaf: int, traits: Sequence[_Trait]) -> str:
    """The questions that lead to a leaf, with one lower and one upper end for each number."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    parents = {int(child): node for node in range(len(left)) for child in (left[node], right[node]) if child >= 0}
    ends: dict[int, list[float]] = {}
    node = leaf
    while node in parents:
        parent = parents[node]
        feature, cut = int(tree.feature[parent]), float(tree.threshold[parent])  # type: ignore[attr-defined]
        low_high = ends.setdefault(feature, [-math.inf, math.inf])
        if left[parent] == node:
            low_high[1] = min(low_high[1], cut)
        else:
            low_high[0] = max(low_high[0], cut)
        node = parent
    told = []
    for feature, (low, high) in reversed(ends.items()):
        trait = traits[feature]
        if trait.level is not None:
            told.append(f"{trait.column} is {'' if low > 0 else 'not '}{trait.level}")
        elif math.isfinite(low) and math.isfinite(high):
            told.append(f"{trait.column} from {trait.figure(low)} to {trait.figure(high)}")
        else:
            told.append(
                f"{trait.column} {'above' if math.isfinite(low) else 'at most'} {trait.figure(low if math.isfinite(low) else high)}"
            )
    return " and ".join(told)


def _middle(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0


def _day(value: float) -> str:
    """Days since 1970 as a date."""
    return str((np.datetime64(0, "m") + np.timedelta64(round(value * 1440), "m")).astype("datetime64[D]"))


def _mean(values: np.ndarray) -> Interval:
    """The mean with its interval."""
    mean, error = (
        float(values.mean()),
        float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan,
    )
    return Interval(mean, mean - _Z * error, mean + _Z * error)


def _share(hits: int, rows: int) -> str:
    """The share with its interval (Clopper & Pearson)."""
    low, high = binomial(float(hits), float(rows), 0.95)
    return f"{hits / rows:.0%} ({float(low):.0%} to {float(high):.0%})".replace("%", " %")
