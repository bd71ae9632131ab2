"""The test of a trained model: its scores with intervals, next to those of simple models on the same rows."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.clients import ClientScores, client_lines, client_scores
from danlu.evaluate.compare import Comparison, compare, conclusion
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.fairness import Fairness, fairness
from danlu.evaluate.folds import FOLD_METHOD
from danlu.evaluate.group_lines import fairness_lines, trade_lines
from danlu.evaluate.group_thresholds import TradeOff
from danlu.evaluate.groups import Groups
from danlu.evaluate.importance import Importance
from danlu.evaluate.intervals import Interval, figure
from danlu.evaluate.kept import Kept
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.rows import Rows
from danlu.evaluate.slice_lines import slice_lines
from danlu.evaluate.slices import Slices, worst_slices
from danlu.evaluate.usual import usual
from danlu.prose import padded, short, wide, wrapped

__all__ = ["Judgement", "Simple", "fold_lines", "relied_on", "score_lines"]

_OF_A_CLASS = ("precision", "recall", "f1", "average_precision")
_LONGEST = 44  # columns that an interval takes beside its measure
_WIDEST = 58  # columns that a name takes beside its figures


@dataclasses.dataclass(frozen=True, eq=False)
class Simple:
    """The scores of a simple model on the test rows.

    Attributes:
        label: what it is called.
        evidence: its answers beside the truth.
        constant: whether it answers the same for all rows; None sees whether it did.
        kept: itself, where it can be asked afterwards.
        answers: what it answers, in words; they are written beside the model's where it is kept.
        notes: what else is to be said of it, such as that it learnt from fewer rows.
        yardstick, instead: see :class:`~danlu.evaluate.Comparison`.
        metric: what it is compared by; None is the evidence's :attr:`~danlu.evaluate.Evidence.primary`.
    """

    label: str
    evidence: Evidence
    constant: bool | None = None
    kept: Kept | None = None
    answers: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()
    yardstick: bool = False
    instead: str = ""
    metric: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """The test of a model.

    Attributes:
        scores: each measure with its interval.
        others: the same of each baseline, by its label.
        comparisons: of the model with each baseline.
        tested: how much was tested, such as ``"179 test rows"``.
        evidence: the test rows with the model's answers: what the scores were computed from.
        predictions: what is written to ``predictions.csv``.
        counted: the class, of two, that precision, recall and F1 are of.
        name, rows_are: what the model and the test rows are called.
        notes: what else is to be said, such as that a baseline learnt from fewer rows.
        importance: of a table's columns, the dearest first.
        kept: the baselines themselves, by what they are called.
        simple_predictions: what the baselines predict for the test rows.
        simple: the baselines as they were compared with.
        groups: of the test rows, by each sensitive column.
        fairness: what the test tells of these groups.
        trade_off: what it would cost to bring the groups closer by thresholds of their own.
        shown: the columns of the test rows by which slices are found, where they have any.
        slices: the worst slices of the test rows.
        clients: what the test tells of each client of federated learning.
    """

    scores: Mapping[str, Interval]
    others: Mapping[str, Mapping[str, Interval]] = dataclasses.field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    tested: str = "test"
    evidence: Evidence | None = None
    predictions: pl.DataFrame | None = None
    counted: str = ""
    name: str = "the network"
    rows_are: str = "test rows"
    notes: tuple[str, ...] = ()
    importance: tuple[Importance, ...] = ()
    kept: Mapping[str, Kept] = dataclasses.field(default_factory=dict)
    simple_predictions: pl.DataFrame | None = None
    simple: tuple[Simple, ...] = ()
    groups: tuple[Groups, ...] = ()
    fairness: tuple[Fairness, ...] = ()
    trade_off: TradeOff | None = None
    shown: pl.DataFrame | None = None
    slices: Slices | None = None
    clients: ClientScores | None = None

    def by_clients(
        self,
        names: Sequence[str],
        codes: np.ndarray,
        learnt: np.ndarray,
        *,
        theirs: Evidence | None = None,
        models: Mapping[str, Any] | None = None,
    ) -> Judgement:
        """The same test with what it tells of each client; arguments as of :func:`~danlu.evaluate.clients.client_scores`."""
        if self.evidence is None:
            return self
        found, rows = client_scores(self.evidence, names, codes, learnt, theirs=theirs, models=models), self.predictions
        if rows is not None and rows.height == codes.size and "client" not in rows.columns:
            whose = [names[code] if code >= 0 else None for code in codes.tolist()]
            rows = rows.with_columns(pl.Series("client", whose, pl.String))
        return dataclasses.replace(self, clients=found, predictions=rows)

    def sliced(self, frame: pl.DataFrame, *, seed: int = 0) -> Judgement:
        """The same test with the worst slices of its rows; see :func:`~danlu.evaluate.worst_slices`.

        Args:
            frame: the columns of the rows.
            seed: draws the halves.

        Raises:
            ConfigError: rows that have more than one label each, or none.
        """
        rows = self.evidence
        if not isinstance(rows, Rows):
            raise ConfigError("slices are of rows with a class or a quantity each; this test has others")
        return dataclasses.replace(self, shown=frame, slices=worst_slices(rows, frame, seed=seed))

    def by_groups(self, groups: Sequence[Groups], *, classes: Sequence[str] = (), smallest: int = 30) -> Judgement:
        """The same test with what it tells of groups of the rows.

        Args:
            groups: by each sensitive column.
            classes: their names.
            smallest: rows of a group that is compared with others.

        Raises:
            ConfigError: rows that have more than one label each, or none.
        """
        rows = self.evidence
        if not isinstance(rows, Rows):
            raise ConfigError("groups are compared of rows with a class or a quantity each; this test has others")
        found = tuple(fairness(rows, each, classes=classes, smallest=smallest) for each in groups)
        return dataclasses.replace(self, groups=tuple(groups), fairness=found)

    def compared(self, simple: Iterable[Simple], *, seed: int = 0) -> Judgement:
        """The same test with its comparison to simple models."""
        ours: Any = self.evidence
        others, kept, comparisons, notes = dict(self.others), dict(self.kept), list(self.comparisons), list(self.notes)
        columns: dict[str, pl.Series] = {}
        simple = tuple(simple)
        for each in simple:
            others[each.label] = each.evidence.scores(seed=seed)
            how: dict[str, Any] = {"name": self.name, "metric": each.metric, "constant": each.constant, "seed": seed}
            found = compare(ours, each.evidence, each.label, **how)
            found = dataclasses.replace(found, yardstick=each.yardstick, instead=each.instead)
            if each.kept is not None:
                found, kept[each.kept.name] = dataclasses.replace(found, kept=each.kept.name), each.kept
                told = pl.DataFrame() if each.answers is None else each.answers
                columns |= {f"{each.kept.name}: {column.name}": column for column in told}
            comparisons.append(found)
            notes += [f"{each.label}: {note}" for note in each.notes]
        return dataclasses.replace(
            self,
            others=others,
            comparisons=tuple(comparisons),
            kept=kept,
            simple_predictions=pl.DataFrame(columns) if columns else None,
            simple=(*self.simple, *simple),
            notes=tuple(notes),
        )

    @property
    def said(self) -> tuple[str, ...]:
        """The notes, and which measures are not given and why."""
        left = {} if self.evidence is None else self.evidence.left_out()
        whys = {why: [MEASURES[name].label for name, each in left.items() if each == why] for why in left.values()}
        return (*self.notes, *(f"no {' and '.join(names)}: {why}" for why, names in whys.items()))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``results.json``."""
        return {
            "test": {name: interval.value for name, interval in self.scores.items()},
            "intervals": {name: [interval.low, interval.high] for name, interval in self.scores.items()},
            "no_interval": {name: interval.why for name, interval in self.scores.items() if interval.why},
            "baselines": {
                label: {name: interval.value for name, interval in each.items()} for label, each in self.others.items()
            },
            "comparisons": [dataclasses.asdict(each) for each in self.comparisons],
            "notes": list(self.said),
            "importance": [dataclasses.asdict(each) for each in self.importance],
            **({"fairness": [each.as_dict() for each in self.fairness]} if self.fairness else {}),
            **({} if self.trade_off is None else {"trade_off": self.trade_off.as_dict()}),
            **({} if self.slices is None else {"slices": self.slices.as_dict()}),
            **({} if self.clients is None else {"clients": self.clients.as_dict()}),
        }

    @property
    def primary(self) -> str:
        """The measure that models are compared by; empty without any."""
        compared = [each.metric for each in self.comparisons]
        compared += [] if self.evidence is None else [self.evidence.primary]
        return next((name for name in compared if name in self.scores), next(iter(self.scores), ""))

    def __str__(self) -> str:
        return self.told()

    def told(self, rest: str = "") -> str:
        """The test in words.

        Args:
            rest: the command that shows all measures: then those that are looked at first are enough here.
        """
        names = usual(self.primary, self.scores) if rest else list(self.scores)
        lines = score_lines(self.tested, {name: self.scores[name] for name in names}, self.counted)
        if len(names) < len(self.scores):
            lines.append(f"  all {len(self.scores)} measures: {rest}")
        said = [each.sentence for each in self.comparisons]
        if len(self.comparisons) > 1:
            said.append(conclusion(self.comparisons, name=self.name, tested=self.rows_are)[1])
        lines += [wrapped(sentence) for sentence in said] + relied_on(self.importance)
        if self.clients is not None:
            lines += ["", *client_lines(self.clients)]
        for each in self.fairness:
            lines += ["", *fairness_lines(each)]
        if self.trade_off is not None:
            lines += ["", *trade_lines(self.trade_off)]
        if self.slices is not None:
            lines += ["", *slice_lines(self.slices, rest)]
        return "\n".join([*lines, *(wrapped(f"note: {note}", indent="  ") for note in self.said)])

    def _repr_html_(self) -> str:
        head = "<tr><th></th><th>value</th><th>95 % interval</th>"
        head += "".join(f"<th>{html.escape(label)}</th>" for label in self.others) + "</tr>"
        lines = []
        for name, interval in self.scores.items():
            cells = [
                MEASURES[name].label,
                figure(interval.value),
                interval.between,
            ]
            cells += [figure(each[name].value) if name in each else "–" for each in self.others.values()]
            lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        said = "".join(f"<li>{html.escape(each.sentence)}</li>" for each in self.comparisons)
        return f"<table>{head}{''.join(lines)}</table>" + (f"<ul>{said}</ul>" if said else "")


def score_lines(tested: str, scores: Mapping[str, Interval], counted: str = "") -> list[str]:
    """The measures with their intervals, one per line below a header that says what was tested.

    Args:
        counted: the class, of two, that some of them are of: they say so.
    """
    rows = [(tested, "value", "95 % interval")]
    rows += [(_label(name, counted), figure(score.value), score.between) for name, score in scores.items()]
    if rows[1:] and max(wide(between) for _, _, between in rows) > _LONGEST and len({row[2] for row in rows[1:]}) == 1:
        why = rows[1][2]  # the same long words of all: said once below
        short_rows = [(label, value, "") for label, value, _ in rows]
        return [*(line.rstrip() for line in _in_columns(short_rows)), wrapped(why)]
    return _in_columns(rows)


def _label(name: str, counted: str) -> str:
    label = f"  {MEASURES[name].label}" if name in MEASURES else f"  {name}"
    return f"{label} of {short(counted, 16)}" if counted and name in _OF_A_CLASS else label


def fold_lines(scores: Mapping[str, Interval], count: int, counted: str = "") -> list[str]:
    """The mean of each measure over the folds with its interval, one per line below a header, and how the intervals are made."""
    rows = [(f"mean of {count} folds", "value", "95 % interval")]
    rows += [(_label(name, counted), figure(each.value), each.between) for name, each in scores.items()]
    return [*_in_columns(rows), wrapped(f"{FOLD_METHOD}: it allows for other training rows as well.")]


def _in_columns(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    label, value, between = (
        max(least, *(wide(row[i]) + bool(i) for row in rows)) for i, least in enumerate((26, 10, 24))
    )
    return [
        padded(row[0], label) + padded(row[1], value, right=True) + padded(row[2], between, right=True) for row in rows
    ]


def relied_on(importance: Sequence[Importance], most: int = 5) -> list[str]:
    """The columns that a model relies on most, one per line below a header; empty if it relies on none."""
    chosen = [each for each in importance if each.matters][:most]
    if not chosen:
        return []
    width = min(max(wide(each.name) for each in chosen), _WIDEST)
    head = f"Relied on most (when shuffled, {MEASURES[chosen[0].metric].label} gets worse by):"
    return [head, *(f"  {padded(each.name, width)}  {each.cost}" for each in chosen)]
