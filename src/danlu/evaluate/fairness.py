"""How a model treats groups of rows: what it answers and how right it is in each, and how far the groups are apart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.evaluate.groups import Groups
from danlu.evaluate.intervals import Interval, binomial, intervals
from danlu.evaluate.rows import Rows
from danlu.evaluate.sample import Sample

__all__ = ["CRITERIA", "Criterion", "Fairness", "Gap", "Group", "fairness"]

_NAN = float("nan")
_SMALLEST = 30
_SCORES = {
    "binary": ("accuracy", "balanced_accuracy", "roc_auc", "log_loss", "ece"),
    "multiclass": ("accuracy", "balanced_accuracy", "log_loss", "ece"),
    "regression": ("rmse", "mae", "r2"),
}


@dataclasses.dataclass(frozen=True)
class Criterion:
    """What is to be alike in all groups.

    Attributes:
        name: its key in results.
        label: how it is printed.
        rates: which rates are compared; see :class:`Group`.
        asks: what it asks for, in words.
        ratio: whether a ratio of the rates is told as well.
    """

    name: str
    label: str
    rates: tuple[str, ...]
    asks: str
    ratio: bool = True


_OF_CLASSES = (
    Criterion(
        "demographic_parity", "demographic parity", ("selected",), "the class is predicted as often in each group"
    ),
    Criterion(
        "equalized_odds",
        "equalised odds",
        ("true_positive", "false_positive"),
        "rows of the class, and other rows, are predicted as the class as often in each group",
    ),
    Criterion(
        "equal_opportunity",
        "equal opportunity",
        ("true_positive",),
        "rows of the class are predicted as the class as often in each group",
    ),
    Criterion(
        "predictive_parity",
        "predictive parity",
        ("precision",),
        "a row predicted as the class is of it as often in each group",
    ),
    Criterion("accuracy_parity", "equal accuracy", ("accuracy",), "as many rows are right in each group"),
    Criterion(
        "calibration",
        "calibration",
        ("bias",),
        "probabilities are as much too high, or too low, in each group",
        ratio=False,
    ),
)
_OF_QUANTITY = (
    Criterion(
        "demographic_parity", "demographic parity", ("mean",), "predictions are as high in each group in the mean"
    ),
    Criterion("error_parity", "equal errors", ("absolute_error",), "errors are as large in each group in the mean"),
    Criterion(
        "calibration",
        "calibration",
        ("bias",),
        "predictions are as much too high, or too low, in each group",
        ratio=False,
    ),
)
CRITERIA: Mapping[str, tuple[Criterion, ...]] = {
    "binary": _OF_CLASSES,
    "multiclass": _OF_CLASSES,
    "regression": _OF_QUANTITY,
}
"""What is asked of the groups, by the task."""

_FAMILY = {"bias": "mean_of_rows", "mean": "mean_of_rows", "truth": "mean_of_rows", "absolute_error": "loss_of_rows"}


@dataclasses.dataclass(frozen=True)
class Group:
    """One group.

    Attributes:
        name: such as ``"Female"``.
        rows: how many there are.
        rates: by class (``""`` is all classes, or a quantity) and name. Of a class k, predicted ŷ and true y: ``selected`` P(ŷ=k),
            ``base`` P(y=k), ``true_positive`` P(ŷ=k | y=k), ``false_positive`` P(ŷ=k | y≠k), ``precision`` P(y=k | ŷ=k), ``bias`` the mean
            of pₖ − [y=k]; of all classes ``accuracy``. Of a quantity: ``mean`` of the predictions, ``truth`` of the true values,
            ``bias`` of predicted − true, ``absolute_error``. What no row tells is left out.
        scores: the usual measures of the group's rows.
        judged: whether there are enough rows to compare it with others.
    """

    name: str
    rows: int
    rates: Mapping[str, Mapping[str, Interval]]
    scores: Mapping[str, Interval]
    judged: bool = True


@dataclasses.dataclass(frozen=True)
class Gap:
    """How far the groups are apart by one criterion.

    The intervals are of the largest difference (and of the least ratio) of all pairs of groups: each pair has one of a higher level, so
    that all of them hold at once.

    Attributes:
        criterion: its name.
        difference: the largest rate minus the least one, the largest of the rates and classes that the criterion is of.
        ratio: the least rate over the largest one, the least of these; None where that says nothing.
        rate, of: the rate and the class that the difference is of.
        high, low: the groups of the largest and of the least rate there, and ``values``, the two rates.
    """

    criterion: str
    difference: Interval
    ratio: Interval | None
    rate: str
    of: str
    high: str
    low: str
    values: tuple[float, float]

    @property
    def told(self) -> bool:
        """Whether the rows tell that there is a difference: that chance alone would hardly make it."""
        return bool(self.difference.low > 0)


@dataclasses.dataclass(frozen=True)
class Fairness:
    """What the rows tell of groups by one column.

    Attributes:
        column: whose values the groups are.
        task: see :class:`~danlu.evaluate.Rows`.
        groups: all of them, those too small included.
        gaps: of each criterion, where two groups can be compared.
        smallest: rows of a group that is compared with others.
        classes: that rates are of.
        notes: what else is to be said.
    """

    column: str
    task: str
    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]
    smallest: int
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def gap(self, criterion: str) -> Gap:
        """The gap by a criterion.

        Raises:
            ConfigError: there is none of this name.
        """
        for each in self.gaps:
            if each.criterion == criterion:
                return each
        names = ", ".join(each.criterion for each in self.gaps)
        raise ConfigError(f"no gap by {criterion!r} is known of {self.column!r}; there are: {names or 'none'}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``results.json``."""

        def plain(value: Interval | None) -> Any:
            return None if value is None else {"value": value.value, "interval": [value.low, value.high]}

        groups = [
            {
                "name": each.name,
                "rows": each.rows,
                "compared": each.judged,
                "rates": {of: {name: plain(rate) for name, rate in own.items()} for of, own in each.rates.items()},
                "scores": {name: plain(score) for name, score in each.scores.items()},
            }
            for each in self.groups
        ]
        gaps = [
            {**dataclasses.asdict(each), "difference": plain(each.difference), "ratio": plain(each.ratio)}
            for each in self.gaps
        ]
        return {
            "column": self.column,
            "task": self.task,
            "classes": list(self.classes),
            "smallest": self.smallest,
            "groups": groups,
            "gaps": gaps,
            "notes": list(self.notes),
        }


def fairness(
    rows: Rows,
    groups: Groups,
    *,
    classes: Sequence[str] = (),
    smallest: int = _SMALLEST,
    level: float = 0.95,
    scores: bool = True,
) -> Fairness:
    """How a model treats groups of rows.

    Args:
        rows: with their truth and the prediction.
        groups: the group of each.
        classes: their names; of two classes the rates are of the second one, of several of each in turn, and the worst is told.
        smallest: rows that a group needs to be compared with others.
        level: of the intervals.
        scores: whether the usual measures of each group are told as well.

    Returns:
        The measures of each group, and for each of the :data:`CRITERIA` how far the groups are apart.

    Raises:
        DataError: groups of other rows.

    Reference:
        Barocas, Hardt & Narayanan, "Fairness and machine learning" (2023), chapter 3, for the criteria; the definitions are those of
        ``fairlearn.metrics`` (the difference and the ratio between groups). Intervals of a difference: Zou & Donner, "Construction
        of confidence limits about effect measures" (2008), Statistics in Medicine 27, from those of the two rates; of a ratio in the
        same way from their logarithms.

    Example:
        >>> import polars as pl
        >>> truth, answers = [0, 0, 1, 1, 0, 0, 1, 1], [0.9, 0.2, 0.8, 0.9, 0.1, 0.2, 0.7, 0.4]
        >>> rows = Rows("binary", truth, [[1 - p, p] for p in answers])
        >>> found = fairness(rows, Groups.of(pl.Series("sex", list("mmmmffff"))), smallest=2)
        >>> gap = found.gap("equalized_odds")
        >>> gap.difference.value, gap.high, gap.low, gap.rate
        (0.5, 'm', 'f', 'true_positive')
    """
    if len(groups) != len(rows):
        raise DataError(f"groups of {len(groups):,} rows for {len(rows):,} rows; expected one for each")
    own = [np.flatnonzero(groups.codes == code) for code in range(len(groups.names))]
    met = [(name, numbers) for name, numbers in zip(groups.names, own, strict=True) if len(numbers)]
    named = _named(rows, classes)
    told = []
    for name, numbers in met:
        part = rows.take(numbers)
        enough = len(numbers) >= smallest
        own_scores = intervals(part, _SCORES[rows.task], level=level) if enough and scores else {}
        told.append(Group(name, len(numbers), _rates(part, named, level), own_scores, enough))
    compared = [(name, rows.take(numbers)) for name, numbers in met if len(numbers) >= smallest]
    small = [f"{name} ({len(numbers):,})" for name, numbers in met if len(numbers) < smallest]
    notes = []
    if small:
        shown = ", ".join(small[:6]) + (f" and {len(small) - 6:,} more" if len(small) > 6 else "")
        notes.append(f"groups of fewer than {smallest} rows are compared with no other: {shown}")
    if len(compared) < 2:
        notes.append(f"fewer than two groups have {smallest} rows or more, so that there is nothing to compare")
    gaps: list[Gap] = []
    if len(compared) > 1:
        gaps = [gap for each in CRITERIA[rows.task] if (gap := _gap(each, compared, named, level)) is not None]
    return Fairness(groups.column, rows.task, tuple(told), tuple(gaps), smallest, tuple(named), tuple(notes))


def _named(rows: Rows, classes: Sequence[str]) -> dict[str, int]:
    """The classes that rates are of, with their codes."""
    if rows.task == "regression":
        return {}
    names = list(classes) or [str(code) for code in range(rows.classes)]
    return {names[1]: 1} if rows.task == "binary" else {name: code for code, name in enumerate(names)}


def _values(rows: Rows, named: Mapping[str, int]) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Each rate as what it is the mean of, and of which rows: both ``(rows,)``."""
    every = np.ones(len(rows), bool)
    if rows.task == "regression":
        return {
            "": {
                "mean": (rows.prediction, every),
                "truth": (rows.truth, every),
                "bias": (rows.error, every),
                "absolute_error": (np.abs(rows.error), every),
            }
        }
    found = {"": {"accuracy": (rows.right == 1, every)}}
    for name, code in named.items():
        true, chosen = rows.truth == code, rows.chosen == code
        found[name] = {
            "base": (true, every),
            "selected": (chosen, every),
            "true_positive": (chosen, true),
            "false_positive": (chosen, ~true),
            "precision": (true, chosen),
            "bias": (rows.prediction[:, code] - true, every),
        }
    return found


def _rates(rows: Rows, named: Mapping[str, int], level: float) -> dict[str, dict[str, Interval]]:
    return {
        of: {name: _rate(rows, name, *each, level) for name, each in own.items() if each[1].any()}
        for of, own in _values(rows, named).items()
    }


def _rate(rows: Rows, name: str, values: np.ndarray, where: np.ndarray, level: float) -> Interval:
    """The mean of the values there, with its interval."""
    kept = values[where]
    if name not in _FAMILY and rows.groups is None:
        low, high = binomial(float(kept.sum()), float(len(kept)), level)
        return Interval(float(kept.sum()) / len(kept), float(low), float(high))
    groups = None if rows.groups is None else rows.groups[where]
    return Sample(kept.astype(np.float64), _FAMILY.get(name, "share_of_rows"), groups).interval(level=level)


def _gap(
    criterion: Criterion, compared: Sequence[tuple[str, Rows]], named: Mapping[str, int], level: float
) -> Gap | None:
    """The worst of the rates and classes that a criterion is of; None where fewer than two groups have any of them."""
    classes = [""] if criterion.rates[0] == "accuracy" or not named else list(named)
    pairs = len(compared) * (len(compared) - 1) // 2 * len(criterion.rates) * len(classes)
    each = 1 - (1 - level) / pairs
    rates = [(name, _rates_of(rows, named, criterion.rates, each)) for name, rows in compared]
    found: list[tuple[Interval, Interval | None, str, str, tuple[str, Interval], tuple[str, Interval]]] = []
    for of, rate in itertools.product(classes, criterion.rates):
        known = [(name, own[of][rate]) for name, own in rates if rate in own[of]]
        if len(known) < 2:
            continue
        low, *_, high = sorted(known, key=lambda each: each[1].value)
        values = [value for _, value in known]
        found.append((_widest(values), _narrowest(values) if criterion.ratio else None, of, rate, high, low))
    if not found:
        return None
    worst, _, of, rate, high, low = max(found, key=lambda each: each[0].value)
    ratios = [each[1] for each in found if each[1] is not None and np.isfinite(each[1].value)]
    return Gap(
        criterion.name,
        _most([each[0] for each in found], worst.value, max),
        _most(ratios, min(each.value for each in ratios), min) if ratios else None,
        rate,
        of,
        high[0],
        low[0],
        (high[1].value, low[1].value),
    )


def _rates_of(
    rows: Rows, named: Mapping[str, int], names: Sequence[str], level: float
) -> dict[str, dict[str, Interval]]:
    return {
        of: {name: _rate(rows, name, *own[name], level) for name in names if name in own and own[name][1].any()}
        for of, own in _values(rows, named).items()
    }


def _most(each: Sequence[Interval], value: float, most: Any) -> Interval:
    """The interval of the largest (or least) of several, given those that hold at once."""
    ends = [(one.low, one.high) for one in each]
    if not np.isfinite(ends).all():
        return Interval(value, why="too few rows")
    return Interval(value, most(low for low, _ in ends), most(high for _, high in ends))


def _widest(rates: Sequence[Interval]) -> Interval:
    """The largest difference of two, and what its interval is where each pair's holds."""
    values = [rate.value for rate in rates]
    ends = [_difference(*pair) for pair in itertools.permutations(rates, 2)]
    if not np.isfinite(ends).all():
        return Interval(max(values) - min(values), why="too few rows")
    return Interval(max(values) - min(values), max(0.0, *(low for low, _ in ends)), max(high for _, high in ends))


def _difference(one: Interval, other: Interval) -> tuple[float, float]:
    """The interval of the first rate minus the second."""
    found = one.value - other.value
    return (
        found - np.hypot(one.value - one.low, other.high - other.value),
        found + np.hypot(one.high - one.value, other.value - other.low),
    )


def _narrowest(rates: Sequence[Interval]) -> Interval:
    """The least ratio of two, and what its interval is where each pair's holds; NaN where a rate is negative or all are 0."""
    values = [rate.value for rate in rates]
    if min(values) < 0 or max(values) == 0 or not np.isfinite([(rate.low, rate.high) for rate in rates]).all():
        return Interval(_NAN if min(values) < 0 or max(values) == 0 else min(values) / max(values), why="too few rows")
    ends = [_ratio(*pair) for pair in itertools.permutations(rates, 2)]
    return Interval(min(values) / max(values), min(low for low, _ in ends), min(1.0, *(high for _, high in ends)))


def _ratio(one: Interval, other: Interval) -> tuple[float, float]:
    """The interval of the first rate over the second, by their logarithms; a rate of 0 has no logarithm and its end is the limit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.log(np.maximum([rate.low, rate.value, rate.high], 0.0)) for rate in (one, other)]
        (low, value, high), (below, second, above) = logs
        down = np.hypot(value - low, above - second)
        up = np.hypot(high - value, second - below)
        found = value - second
        ends = (
            0.0 if not np.isfinite(value) else np.exp(found - down),
            np.inf if not np.isfinite(found) else np.exp(found + up),
        )
    first, last = (float(end) for end in ends)
    if one.value == 0:  # the upper end is that of one more than was seen, over the least that the other may be
        last = one.high / other.low if other.low > 0 else float("inf")
    return (0.0 if np.isnan(first) else first, float("inf") if np.isnan(last) else last)
