"""A scorecard as it is read: the points of each column's bins, and what each row gets from them.

The points stand in the network (:class:`~danlu.nn.scorecard.Scorecard`); this module gives its bins names in the columns' own units.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.binning import evidence_of, information_of
from danlu.evaluate.intervals import figure
from danlu.files import write_atomic
from danlu.nn.scorecard import Scorecard
from danlu.prose import padded, percent, short, wide, wrapped
from danlu.trained.answers import check_ending, write_frame
from danlu.trained.read import Say, warn
from danlu.trained.trained import Trained

__all__ = ["CardBin", "CardColumn", "PointsCard"]

_REASONS = 3
_WIDEST = 34


@dataclasses.dataclass(frozen=True)
class CardBin:
    """A bin of a column.

    Attributes:
        label: its values, such as ``"12 to < 24"``, ``"A11, A13"`` or ``"missing"``.
        points: what a row of it gets.
        rows: training rows in it.
        share: of the second class among them; NaN without rows.
        evidence: the weight of evidence, see :func:`~danlu.evaluate.binning.evidence_of`.
    """

    label: str
    points: int
    rows: float
    share: float
    evidence: float


@dataclasses.dataclass(frozen=True)
class CardColumn:
    """A column of the card, its bins in order, and its information value (:func:`~danlu.evaluate.binning.information_of`)."""

    name: str
    information: float
    bins: tuple[CardBin, ...]

    @property
    def usual(self) -> float:
        """The points that a training row gets from it in the mean."""
        return sum(each.points * each.rows for each in self.bins) / max(sum(each.rows for each in self.bins), 1e-300)


@dataclasses.dataclass(frozen=True, eq=False)
class PointsCard:
    """The card of a trained model.

    Attributes:
        model: of which it is.
        columns: that have points, the most telling first.
        score, odds, pdo: at this score so many rows of the first class come on one of the second; ``pdo`` points more double that.
    """

    model: Trained
    columns: tuple[CardColumn, ...]
    score: float
    odds: float
    pdo: float

    @classmethod
    def of(cls, model: Trained) -> Self:
        """The card of a model that was trained with ``model.kind=scorecard``.

        Raises:
            ConfigError: another model.
        """
        network = model.network
        if any(isinstance(part, Scorecard) for _, part in network.children()):
            raise ConfigError(
                "this model is several scorecards, one for each fold, whose probabilities are averaged; expected one card",
                hint="train it without folds",
            )
        if not isinstance(network, Scorecard):
            raise ConfigError(
                f"a scorecard is of a model that was trained as one; this is a model for {model.purpose}",
                hint="danlu train loans.csv --target default model.kind=scorecard",
            )
        state = {name: np.asarray(each, np.float64) for name, each in model.state.items()}
        used = np.asarray(model.params["weight"]) > 0
        columns = [_column(model, network, state, place) for place in np.flatnonzero(used).tolist()]
        columns.sort(key=lambda each: -each.information)
        score, odds = state["anchor"]
        pdo = float(f"{state['scale'][0] * math.log(2):.6g}")  # it was written in single precision
        return cls(model, tuple(columns), float(score), float(odds), pdo)

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest score."""
        each = [[bin.points for bin in column.bins] for column in self.columns]
        return sum(map(min, each)), sum(map(max, each))

    def points(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The points of each row: a column for each of the card, then ``score``, their sum, the probability of the second class, and the
        reasons: the columns that gave fewest points compared with what a training row gets from them, at most three.

        Args:
            source, lenient, say: as of :meth:`Trained.predict <danlu.trained.Trained.predict>`.
        """
        found = self.model.read(source, lenient=lenient, say=say)
        inputs = self.model.encoder.transform(found.rows)
        network: Any = self.model.network
        values = np.asarray(network.values(self.model.state, inputs)).astype(np.int64)
        places = {name: place for place, name in enumerate(_names(self.model, network))}
        own = {each.name: values[:, places[each.name]] for each in self.columns}
        answers = np.asarray(self.model.answer(inputs))
        lost = np.stack([own[each.name] - each.usual for each in self.columns], axis=1)
        order = np.argsort(lost, axis=1, kind="stable")[:, :_REASONS]
        reasons = [
            ", ".join(f"{self.columns[place].name} {figure(row[place], 2)}" for place in first if row[place] < 0)
            for row, first in zip(lost, order, strict=True)
        ]
        return pl.DataFrame(
            {
                **own,
                "score": np.sum(list(own.values()), axis=0),
                f"probability {self.model.head.target.classes[1]}": answers[:, 1],
                "reasons": reasons,
            }
        )

    def frame(self) -> pl.DataFrame:
        """The card as a table, a row for each bin."""
        second = self.model.head.target.classes[1]
        return pl.DataFrame(
            [
                {
                    "column": column.name,
                    "bin": each.label,
                    "points": each.points,
                    "rows": each.rows,
                    f"share {second}": None if math.isnan(each.share) else each.share,
                    "weight of evidence": each.evidence,
                    "information value": column.information,
                }
                for column in self.columns
                for each in column.bins
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data: all that another program needs to score a row."""
        first, second = self.model.head.target.classes
        network: Any = self.model.network
        told = {each.name: each for each in self.columns}
        names = _names(self.model, network)
        return {
            "target": self.model.head.target.name,
            "good": first,
            "bad": second,
            "score": self.score,
            "odds": self.odds,
            "points_to_double_the_odds": self.pdo,
            "probability_of_bad": "1 / (1 + odds * 2 ** ((total - score) / points_to_double_the_odds)), before calibration",
            "columns": [
                {
                    "name": name,
                    "information_value": told[name].information,
                    **_rule(self.model, network, names.index(name)),
                    "bins": [
                        {**dataclasses.asdict(each), "share": None if math.isnan(each.share) else each.share}
                        for each in told[name].bins
                    ],
                }
                for name in told
            ],
        }

    def write(self, path: str | Path) -> None:
        """Write the card: ``.json`` as :meth:`as_dict`, else as the table of :meth:`frame`."""
        if Path(path).suffix.lower() == ".json":
            write_atomic(path, json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n")
            return
        check_ending(path)
        write_frame(self.frame(), path)

    def __str__(self) -> str:
        second = self.model.head.target.classes[1]
        width = min(max(wide(each.label) for column in self.columns for each in column.bins), _WIDEST)
        head = padded("", width + 2) + padded("points", 8, right=True) + padded("rows", 10, right=True)
        lines = [head + padded(f"{short(second, 12)}", 14, right=True)]
        for column in self.columns:
            lines.append(f"{short(column.name, 50)} (information value {figure(column.information, 3)})")
            for each in column.bins:
                share = "–" if math.isnan(each.share) else percent(each.share)
                lines.append(
                    "  "
                    + padded(short(each.label, width), width)
                    + padded(figure(each.points, 6), 8, right=True)
                    + padded(f"{each.rows:,.0f}", 10, right=True)
                    + padded(share, 14, right=True)
                )
        return "\n".join([*lines, "", wrapped(self.told)])

    @property
    def told(self) -> str:
        """What the sum means, in words."""
        first, second = self.model.head.target.classes
        low, high = self.ends
        sums = (
            f"A score is the sum of the points, {low} to {high}: at {self.score:g} there are {self.odds:g} of {first!r} on one of "
            f"{second!r}, and {self.pdo:g} points more double that."
        )
        return sums + self._calibrated

    @property
    def _calibrated(self) -> str:
        """What the same score means by the calibrated probabilities: a temperature ``T`` makes of odds ``o`` the odds ``o^(1/T)``."""
        head: Any = self.model.head
        first, second = head.target.classes
        if head.knots is not None:
            return " The probabilities are calibrated and differ from these odds: danlu scorecard RUN FILE gives those of each row."
        if head.temperature is None:
            return ""
        heat = float(head.temperature)
        return (
            f" The probabilities are calibrated and differ from these odds: by them there are {figure(self.odds ** (1 / heat), 3)} of "
            f"{first!r} on one of {second!r} at {self.score:g}, and {figure(self.pdo * heat, 3)} points more double that."
        )


def _names(model: Trained, network: Scorecard) -> list[str]:
    """The name of each column of the network."""
    return [*model.encoder.numeric_names[: network.numbers], *model.encoder.categorical_names]


def _column(model: Trained, network: Scorecard, state: Mapping[str, np.ndarray], place: int) -> CardColumn:
    name = _names(model, network)[place]
    if place >= network.numbers:
        labels, points, counts = _levels(model, network, state, place - network.numbers)
    else:
        ends = _ends(model, network, place)
        labels = _spans(ends)
        points = state["first"][place] + np.concatenate([[0], np.cumsum(state["steps"][place][: len(ends)])])
        counts = state["rows"][place][: len(labels)]
        if network.gaps[place] >= 0:
            labels, points = [*labels, "missing"], np.append(points, state["missing"][place])
            counts = np.concatenate([counts, state["rows"][place][-1:]])
    rows = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        shares = np.where(rows > 0, counts[:, 1] / rows, np.nan)
    each = zip(labels, points, rows, shares, evidence_of(counts), strict=True)
    bins = tuple(CardBin(label, round(float(p)), float(n), float(s), float(e)) for label, p, n, s, e in each)
    return CardColumn(name, information_of(counts), bins)


def _ends(model: Trained, network: Scorecard, place: int) -> list[float]:
    """Where the bins of a number begin, in its own unit."""
    edges = np.asarray(model.state["edges"])[place]
    return [model.encoder.scaler.unscaled(place, edge) for edge in edges[edges < np.finfo(np.float32).max]]


def _spans(ends: list[float]) -> list[str]:
    told = [figure(each, 7) for each in ends]
    between = [f"{low} to < {high}" for low, high in itertools.pairwise(told)]
    return [f"< {told[0]}", *between, f"≥ {told[-1]}"]


def _codes(network: Scorecard, of: int) -> slice:
    start = sum(network.vocabularies[:of])
    return slice(start, start + network.vocabularies[of])


def _levels(
    model: Trained, network: Scorecard, state: Mapping[str, np.ndarray], of: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names of the levels in each bin of a category, the points and the rows."""
    own = _codes(network, of)
    group, points, counts = state["group"][own], state["level"][own], state["level_rows"][own]
    coder = model.encoder.levels[of][2]
    names = ["others", *coder.levels, *(["missing"] if coder.has_missing else [])]
    first = [int(np.flatnonzero(group == number)[0]) for number in np.unique(group)]
    labels = [", ".join(name for name, mine in zip(names, group, strict=True) if mine == group[code]) for code in first]
    return labels, points[first], counts[first]


def _rule(model: Trained, network: Scorecard, place: int) -> dict[str, Any]:
    """What another program needs to find the bin of a value."""
    if place < network.numbers:
        return {"kind": "number", "begins": _ends(model, network, place)}
    of = place - network.numbers
    own, coder = _codes(network, of), model.encoder.levels[of][2]
    group = np.asarray(model.state["group"])[own]
    numbers = {value: place for place, value in enumerate(np.unique(group).tolist())}
    each = [numbers[value] for value in group.tolist()]
    missing = {"missing": each[-1]} if coder.has_missing else {}
    return {
        "kind": "category",
        "bin_of": dict(zip(coder.levels, each[1 : len(coder.levels) + 1], strict=True)),
        "others": each[0],
        **missing,
    }
