"""The columns that name groups of a table's rows: kept from the model unless it is to see them, and kept to judge it by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from danlu.data import Split
from danlu.errors import ConfigError, unknown_name
from danlu.evaluate import Groups, Interval, Rows, baselines, intervals
from danlu.evaluate.groups import bin_limits
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.domain import Beside, Option
from danlu.tasks import Fair
from danlu.trained import Trained
from danlu.trained.sensitive import column_of, groups_by, sensitive_names

if TYPE_CHECKING:
    from danlu.pipeline.labelled import PreparedRows

__all__ = ["GROUPED", "SENSITIVE", "Sensitive", "by_columns_of", "remembered"]

_PROXY_ROWS = 5000  # from which it is learnt what other columns tell of a sensitive one
_PROXY_SECONDS = 10.0
_WEAK, _STRONG = 0.6, 0.8  # of a ROC-AUC

SENSITIVE = Option(
    "--sensitive",
    "fairness.sensitive",
    "Columns, such as sex,race: groups of rows are compared by them, and the model does not see them.",
    settings=lambda text: {"fairness.sensitive": sensitive_names(text)},
)
GROUPED = tuple(
    Beside(f"fairness.{name}", lambda config: bool(config.fairness.sensitive), "add fairness.sensitive (--sensitive)")
    for name in ("limits", "as_input", "smallest")
)


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitive:
    """The groups of a table's rows.

    Attributes:
        names: of the columns.
        limits: between the groups of numbers, by column; empty where values are groups.
        train, test: the groups of the rows of these parts, by each column and by all together.
    """

    names: tuple[str, ...]
    limits: Mapping[str, tuple[float, ...]]
    train: tuple[Groups, ...] = ()
    test: tuple[Groups, ...] = ()

    @classmethod
    def of(cls, fair: Fair, frame: pl.DataFrame, target: str) -> Self | None:
        """The sensitive columns of the settings; None without any.

        Raises:
            ConfigError: a column that is not there, is the target, or has no groups.
        """
        names = sensitive_names(fair.sensitive) if fair.sensitive else ()
        for name in (*names, *fair.limits):
            if name not in frame.columns:
                raise unknown_name("sensitive column", name, frame.columns)
        for name in fair.limits:
            if name not in names:
                raise ConfigError(f"fairness.limits names {name!r}, which is not in fairness.sensitive")
        if target in names:
            raise ConfigError(f"fairness.sensitive names {target!r}, which is the target; expected another column")
        if not names:
            return None
        own = {name: fair.limits.get(name) for name in names}
        limits = {
            name: bin_limits(column_of(frame, name)) if given is None else tuple(given) for name, given in own.items()
        }
        found = cls(names, limits)
        found.groups(frame)
        return found

    def groups(self, frame: pl.DataFrame) -> tuple[Groups, ...]:
        """The groups of some rows."""
        return groups_by(frame, self.names, limits=self.limits)

    def divided(self, frame: pl.DataFrame, split: Split) -> Sensitive:
        """The same with the groups of the training and the test rows."""
        every = self.groups(frame)
        train, test = (tuple(each.take(rows) for each in every) for rows in (split.train, split.test))
        return dataclasses.replace(self, train=train, test=test)

    def tested(self, frame: pl.DataFrame) -> Sensitive:
        """The same with the groups of the test rows of a file of their own."""
        return dataclasses.replace(self, test=self.groups(frame))

    @property
    def kept_out(self) -> str:
        """What is said of columns that the model does not see."""
        named = ", ".join(map(repr, self.names))
        many = len(self.names) > 1
        return (
            f"{'columns' if many else 'column'} {named} {'are' if many else 'is'} sensitive: kept to compare groups by, and no "
            f"{'inputs' if many else 'input'} (fairness.as_input=yes lets the model see {'them' if many else 'it'})"
        )

    def judged(self, own: Judgement, fair: Fair, prepared: PreparedRows, trained: Trained) -> Judgement:
        """A test with what it tells of the groups, and with how well other columns tell which group a row is of."""
        found = own.by_groups(self.test, classes=prepared.target.classes, smallest=fair.smallest)
        if fair.as_input:
            return found
        notes = [_proxy(train, test, prepared) for train, test in self._single]
        return dataclasses.replace(found, notes=(*found.notes, *filter(None, notes)))

    @property
    def _single(self) -> list[tuple[Groups, Groups]]:
        return list(zip(self.train, self.test, strict=True))[: len(self.names)]


def _proxy(train: Groups, test: Groups, prepared: PreparedRows) -> str:
    """How well the columns that the model sees tell the group, as gradient boosting learns it from them."""
    names = [name for name in train.names if name in test.names]
    both = [
        np.array([names.index(name) if name in names else -1 for name in each.names])[each.codes]
        for each in (train, test)
    ]
    counts = [np.bincount(codes[codes >= 0], minlength=len(names)) for codes in both]
    kept = [code for code in range(len(names)) if counts[0][code] >= 10 and counts[1][code] >= 5]
    if len(kept) < 2 or prepared.test is None:
        return ""
    place = np.full(len(names) + 1, -1)
    place[kept] = range(len(kept))
    rows = [np.flatnonzero(place[codes] >= 0) for codes in both]
    rows[0] = rows[0][np.random.default_rng(0).permutation(len(rows[0]))[:_PROXY_ROWS]]
    codes = [place[of][own] for of, own in zip(both, rows, strict=True)]
    inputs = [
        {name: value[own] for name, value in part.items()}
        for part, own in zip((prepared.sample()[0], prepared.test[0]), rows, strict=True)
    ]
    task = "binary" if len(kept) == 2 else "multiclass"
    learnt = baselines(
        task, (inputs[0], codes[0]), inputs[1], classes=len(kept), names=("boosting",), seconds=_PROXY_SECONDS
    )
    if "boosting" not in learnt:
        return ""
    score: Interval = intervals(Rows(task, codes[1], learnt["boosting"].prediction), ("roc_auc",)).get(
        "roc_auc", Interval(float("nan"))
    )
    if not np.isfinite(score.value):
        return ""
    how = "well" if score.value >= _STRONG else "in part" if score.value >= _WEAK else "hardly"
    ends = f" ({score.between})" if score.known else ""
    more = "; a model without it may still treat its groups differently" if score.value >= _WEAK else ""
    return f"the other columns tell {train.column} {how}: ROC-AUC {figure(score.value, 3)}{ends}{more}"


def remembered(prepared: Any) -> dict[str, Any]:
    """What a model keeps of its sensitive columns, to compare the same groups on new data."""
    found = getattr(prepared, "sensitive", None)
    return {} if found is None else {"sensitive": {name: list(found.limits[name]) for name in found.names}}


def by_columns_of(parts: Sequence[Judgement], whole: Judgement, *, seed: int) -> Judgement:
    """The test of all folds, whose rows are those of ``parts`` in turn, with what it tells of groups and slices of them.

    Args:
        seed: draws the halves of the rows that slices are found and judged on.
    """
    if parts[0].groups:
        every = [list(each) for each in zip(*(part.groups for part in parts), strict=True)]
        known = parts[0].fairness[0]
        names = ("", *known.classes) if known.task == "binary" else known.classes
        joined = [first.joined(others) for first, *others in every]
        whole = whole.by_groups(joined, classes=names, smallest=known.smallest)
    frames = [part.shown for part in parts if part.shown is not None]
    return whole.sliced(pl.concat(frames, how="vertical_relaxed"), seed=seed) if len(frames) == len(parts) else whole
