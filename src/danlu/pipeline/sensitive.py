"""The columns that name groups of a table's rows: kept from the model unless it is to see them, and kept to judge it by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from danlu.data import Schema, Split
from danlu.errors import ConfigError, unknown_name
from danlu.evaluate import Groups, Interval, Rows, baselines, intervals
from danlu.evaluate.group_thresholds import GAPS, group_thresholds, trade_off
from danlu.evaluate.groups import bin_limits
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.domain import Beside, Option
from danlu.tasks import Fair
from danlu.tasks.fair import reweighed
from danlu.tasks.penalty import GroupGap, Penalty
from danlu.trained import Learned, Trained
from danlu.trained.cuts import Cuts
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
GROUPED = (
    *(
        Beside(
            f"fairness.{name}", lambda config: bool(config.fairness.sensitive), "add fairness.sensitive (--sensitive)"
        )
        for name in ("limits", "as_input", "smallest", "mitigate", "criterion")
    ),
    Beside("fairness.gap", lambda config: config.fairness.mitigate == "thresholds", "add fairness.mitigate=thresholds"),
    Beside("fairness.strength", lambda config: config.fairness.mitigate == "penalty", "add fairness.mitigate=penalty"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitive:
    """The groups of a table's rows.

    Attributes:
        names: of the columns.
        limits: between the groups of numbers, by column; empty where values are groups.
        train, validation, test: the groups of the rows of these parts, by each column and by all together.
    """

    names: tuple[str, ...]
    limits: Mapping[str, tuple[float, ...]]
    train: tuple[Groups, ...] = ()
    validation: tuple[Groups, ...] = ()
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
        """The same with the groups of the rows of each part."""
        every = self.groups(frame)
        train, validation, test = (
            tuple(each.take(rows) for each in every) for rows in (split.train, split.validation, split.test)
        )
        return dataclasses.replace(self, train=train, validation=validation, test=test)

    def tested(self, frame: pl.DataFrame) -> Sensitive:
        """The same with the groups of the test rows of a file of their own."""
        return dataclasses.replace(self, test=self.groups(frame))

    def marked(self, schema: Schema) -> Schema:
        """The schema that says why the model does not see these columns."""
        columns = (
            dataclasses.replace(each, reason="sensitive") if each.name in self.names and not each.used else each
            for each in schema.columns
        )
        return dataclasses.replace(schema, columns=tuple(columns))

    @property
    def kept_out(self) -> str:
        """What is said of columns that the model does not see."""
        named = ", ".join(map(repr, self.names))
        many = len(self.names) > 1
        return (
            f"{'columns' if many else 'column'} {named} {'are' if many else 'is'} sensitive: kept to compare groups by, and no "
            f"{'inputs' if many else 'input'} (fairness.as_input=yes lets the model see {'them' if many else 'it'})"
        )

    def judged(
        self, own: Judgement, fair: Fair, prepared: PreparedRows, trained: Trained, *, proxies: bool = True
    ) -> Judgement:
        """A test with what it tells of the groups.

        Args:
            proxies: whether it is told how well other columns tell which group a row is of.
        """
        found = own.by_groups(self.test, classes=prepared.target.classes, smallest=fair.smallest)
        found = self._traded(found, fair, trained)
        if fair.as_input or not proxies:
            return found
        notes = [_proxy(train, test, prepared) for train, test in self._single]
        return dataclasses.replace(found, notes=(*found.notes, *filter(None, notes)))

    def lesson(self, fair: Fair, prepared: PreparedRows) -> dict[str, Any]:
        """What the training takes for the groups' sake: rows with other weights, or a penalty; see :func:`danlu.tasks.learn`."""
        codes, held = self.train[-1].codes, self.validation[-1].codes
        if fair.mitigate == "reweigh":
            (inputs, labels), validation = prepared.train, prepared.validation
            found: dict[str, Any] = {"data": (inputs, labels, reweighed(labels, codes))}
            if validation is not None:
                weight = reweighed(validation[1], held, (labels, codes))
                found["validation"] = (*validation, weight)
            return found
        if fair.mitigate != "penalty":
            return {}
        large = np.bincount(codes, minlength=len(self.train[-1].names)) >= fair.smallest
        classes = 0 if prepared.target.task == "regression" else prepared.target.units
        gap = GroupGap(groups=len(large), classes=classes, criterion=fair.criterion)
        own, other = (np.where(large[each], each, -1) for each in (codes, held))
        return {"penalty": Penalty(gap, fair.strength, own, None if prepared.validation is None else other)}

    def decided(self, fair: Fair, learned: Learned) -> Learned:
        """A trained model with thresholds of the groups, where they are asked for, and with others to show what they cost.

        They are chosen on rows that were not learnt from; groups that are too small keep the model's own threshold.
        """
        model, held = learned.model, learned.held_out
        if model.head.task != "binary" or held is None:
            if fair.mitigate == "thresholds":
                raise ConfigError("fairness.mitigate=thresholds needs rows in memory that are held out from training")
            return learned
        groups = self.train[-1] if held.folds is not None else self.validation[-1]
        probability = np.asarray(model.head.calibrated(np.asarray(held.answers, np.float64)))[:, 1]
        count = np.bincount(groups.codes, minlength=len(groups.names))
        large = np.flatnonzero(count >= fair.smallest)
        place = np.full(len(groups.names), -1)
        place[large] = np.arange(len(large))
        kept = np.flatnonzero(place[groups.codes] >= 0)
        if len(large) < 2:
            if fair.mitigate == "thresholds":
                raise ConfigError(
                    f"fairness.mitigate=thresholds needs two groups of {fair.smallest} rows or more that are held out from training"
                )
            return learned

        def chosen(gap: float) -> list[float]:
            codes = place[groups.codes[kept]]
            found = group_thresholds(
                probability[kept], np.asarray(held.truth)[kept], codes, criterion=fair.criterion, gap=gap
            )
            return [float(each) for each in found]

        names = [groups.names[code] for code in large]
        told = {"criterion": fair.criterion, "names": names, "points": [[gap, chosen(gap)] for gap in GAPS]}
        model = dataclasses.replace(model, provenance={**model.provenance, "thresholds": told})
        if fair.mitigate != "thresholds":
            return dataclasses.replace(learned, model=model)
        limits = tuple(tuple(self.limits[name]) for name in self.names)
        cuts = Cuts(self.names, limits, tuple(names), tuple(chosen(fair.gap)))
        shown = ", ".join(f"{name} {figure(cut, 3)}" for name, cut in zip(cuts.names, cuts.thresholds, strict=True))
        said = (
            *((name, text) for name, text in model.head.said if name != "decision"),
            ("decision", f"{model.head.target.classes[1]!r} from a probability by group: {shown}"),
        )
        head = dataclasses.replace(model.head, cuts=cuts, said=said)
        return dataclasses.replace(learned, model=dataclasses.replace(model, head=head))

    def _traded(self, own: Judgement, fair: Fair, trained: Trained) -> Judgement:
        """The test with what thresholds of the groups would give on its rows."""
        told = trained.provenance.get("thresholds")
        rows, groups = own.evidence, self.test[-1]
        if told is None or not isinstance(rows, Rows):
            return own
        choices = []
        for gap, thresholds in told["points"]:
            of = dict(zip(told["names"], thresholds, strict=True))
            limits = np.array([of.get(name, trained.head.threshold) for name in groups.names])
            choices.append((gap, limits[groups.codes]))
        found = trade_off(rows, groups, choices, criterion=told["criterion"], smallest=fair.smallest)
        return dataclasses.replace(own, trade_off=found)

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
