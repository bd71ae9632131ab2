"""What a model does in general: the columns it relies on, how its answers depend on them, which act together, and a small tree."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from danlu.errors import unknown_name
from danlu.evaluate import MEASURES, Importance
from danlu.evaluate.intervals import figure
from danlu.explain import Dependence, Effects, Interaction, Surrogate
from danlu.explained.answer import Explained, together
from danlu.explained.drawn import columns_of
from danlu.explained.overview_page import importance_bars, overview_sections
from danlu.explained.page import boxes, framed, styled
from danlu.explained.view import cell, signed
from danlu.explained.written import written
from danlu.prose import padded, percent, short, wide, wrapped
from danlu.report.svg import Panel

__all__ = ["Curve", "Overview"]

_COLUMNS = 10  # of the importance, in a terminal
_POINTS = 6
_TRACK = 20
_PAIRS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """How the answers depend on one column.

    Attributes:
        column: its name.
        dependence: partial dependence, with the curves of single rows.
        effects: accumulated local effects.
    """

    column: str
    dependence: Dependence
    effects: Effects

    @property
    def names(self) -> list[str]:
        """The points in words."""
        return [cell(value) for value in self.dependence.points.values]

    @property
    def thin(self) -> np.ndarray:
        """Whether a point stands for few rows, less than 1 % and less than 5: what is said there is a guess, ``(points,)``."""
        rows = self.dependence.points.rows
        return np.asarray((rows < 5) | (rows < 0.01 * rows.sum()))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        points, dependence = self.dependence.points, self.dependence
        low, high = np.quantile(dependence.curves, [0.1, 0.9], axis=0)
        return {
            "column": self.column,
            "values": [each if isinstance(each, bool | int | float | str) else str(each) for each in points.values],
            "rows": points.rows.tolist(),
            "partial_dependence": dependence.mean.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "accumulated_effects": self.effects.values.tolist(),
            "missing": None if dependence.missing is None else {"rows": points.missing, "mean": dependence.missing},
            "rows_of_other_levels": points.left_out,
        }


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Overview:
    """What a model does in general.

    Attributes:
        title: such as the run.
        scored: what the curves are of, such as ``"the probability of y = yes"``.
        importance: of columns and related columns, the dearest first.
        measured_on: by what rows, in words.
        curves: of the strongest columns.
        pairs: of the strongest columns, the strongest interaction first.
        surrogate: a small tree; None where none can be made.
        examples: rows whose answers were explained one by one, roughly, for pictures of all of them.
        rows: training rows that were at hand.
        noun: what these rows are called.
        drawn: of them, those whose curves were drawn.
        notes: what else the reader must know.
    """

    title: str
    scored: str
    importance: tuple[Importance, ...]
    measured_on: str
    curves: tuple[Curve, ...]
    pairs: tuple[Interaction, ...]
    surrogate: Surrogate | None
    rows: int
    noun: str
    drawn: int
    examples: tuple[Explained, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [[self.title], self._relied_on(), self._dependence(), self._pairs(), self._tree()]
        parts.append([wrapped(f"note: {note}", indent="  ") for note in self.notes])
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def __repr__(self) -> str:
        return f"Overview({self.title})"

    def _repr_html_(self) -> str:
        return styled(boxes(self.sections()))

    def sections(self) -> list[tuple[str, str]]:
        """Titles and HTML, as a page and the report of the run have them."""
        return overview_sections(self)

    def for_report(self) -> tuple[str, str]:
        """A title and HTML for the report of a run, which has the importance in a part of its own."""
        parts = [(title, content) for title, content in self.sections() if title != "What it relies on"]
        each = "".join(f"<h3>{html.escape(title)}</h3>{content}" for title, content in parts)
        return "How it answers", f"<p>What is explained: {html.escape(self.scored)}.</p>{each}"

    def figure(self, kind: str = "beeswarm", *, column: str = "", by: str | None = None) -> Panel:
        """A picture, which a notebook shows, and which is written by ``.write("all.png")``; its ``.figure`` is Matplotlib's.

        Args:
            kind: ``"importance"``; of the rows that were explained one by one ``"beeswarm"``, or ``"dependence"`` of one column.
            column: of a dependence; empty is the one that adds most.
            by: of a dependence, the column that colours the dots; None is the one that it acts most together with, if any.

        Raises:
            ConfigError: another kind, or a column that there is not.
        """
        if kind not in ("importance", "beeswarm", "dependence"):
            raise unknown_name("picture of a model", kind, ("importance", "beeswarm", "dependence"))
        if kind == "importance":
            return importance_bars(self)
        column = column or columns_of(self.examples)[0]
        return together(self.examples, kind, column=column, by=by or self.partner(column))

    def partner(self, column: str) -> str | None:
        """The column with an order that it surely acts most together with; None where there is none."""
        ordered = {part.name for one in self.examples for part in one.parts if math.isfinite(part.number)} - {column}
        pairs = [set(map(str, each.columns)) for each in self.pairs if each.matters and column in each.columns]
        return next((name for pair in pairs for name in pair & ordered), None)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        tree = self.surrogate
        return {
            "score": self.scored,
            "rows": self.rows,
            "importance": [{**dataclasses.asdict(each), "matters": each.matters} for each in self.importance],
            "importance_on": self.measured_on,
            "dependence": [each.as_dict() for each in self.curves],
            "attributions": self._attributions(),
            "interactions": [{**dataclasses.asdict(each), "matters": each.matters} for each in self.pairs],
            "surrogate": None
            if tree is None
            else {
                "measure": tree.measure,
                "fidelity": tree.fidelity,
                "simple": tree.simple,
                "learnt": tree.learnt,
                "held": tree.held,
                "rules": [
                    {**dataclasses.asdict(rule), "answer": None if rule.answer is None else _plain(rule.answer)}
                    for rule in tree.rules
                ],
            },
            "notes": list(self.notes),
        }

    def write(self, path: str | Path) -> Path:
        """Write a page (``.html``), plain data (``.json``) or text (``.txt``), by the ending.

        Raises:
            ConfigError: another ending, or a file that cannot be written.
        """
        return written(
            path, html=lambda: framed(self.title, boxes(self.sections())), data=self.as_dict, text=self.__str__
        )

    def _attributions(self) -> dict[str, Any] | None:
        """What each column added to the answer of each explained row, as plain data."""
        if not self.examples:
            return None
        added = np.array([[part.added for part in each.parts] for each in self.examples])
        return {
            "base": self.examples[0].base,
            "against": self.examples[0].against,
            "columns": [part.name for part in self.examples[0].parts],
            "mean_absolute": _rounded(np.abs(added).mean(axis=0)),
            "rows": [
                {"row": each.row, "score": float(f"{each.value:.6g}"), "added": _rounded(own)}
                for each, own in zip(self.examples, added, strict=True)
            ],
        }

    @property
    def relied_on(self) -> str:
        """What the figures of the importance are."""
        if not self.importance:
            return ""
        first = self.importance[0]
        what = MEASURES[first.metric].label
        return f"What it relies on: how much worse {what} gets when a column is shuffled, on {self.measured_on}"

    @property
    def depends(self) -> str:
        """What the figures of the curves are."""
        return (
            f"How {self.scored} depends on single columns. Mean: of {self.drawn} {self.noun} with that value instead of their own. "
            "Local: what rows that have about that value change by, added up (ALE); where the two differ, the column goes together "
            "with others."
        )

    @property
    def acts_together(self) -> str:
        """What the figures of the pairs are."""
        rows = self.pairs[0].rows if self.pairs else 0
        return (
            f"Columns that act together, on {rows} {self.noun}: the size (± standard error) of what is neither column's own, in the unit "
            "above, and its share of what both do (Friedman's H). Without an interaction both are 0 on any rows, but for rounding "
            f"({max((pair.floor for pair in self.pairs), default=0):.0e})."
        )

    @property
    def in_its_place(self) -> str:
        """How near the tree is to the model."""
        tree = self.surrogate
        if tree is None:
            return ""
        if tree.measure == "R²":
            near = f"R² {figure(tree.fidelity, 3)} of its answers"
        else:
            near = f"it answers as the model does for {percent(tree.fidelity)} (always the most frequent answer: {percent(tree.simple)})"
        doubt = (
            ""
            if tree.fidelity - tree.simple > 0.5 * (1 - tree.simple)
            else ". That is not near: do not read it as the model"
        )
        return f"A small tree in its place; of {tree.held} {self.noun} that it did not learn from, {near}{doubt}"

    def _relied_on(self) -> list[str]:
        shown = self.importance[:_COLUMNS]
        if not shown:
            return []
        largest = max(max(each.drop for each in shown), 1e-300)
        width = min(max(wide(each.name) for each in shown), 36)
        lines = [wrapped(self.relied_on)]
        for each in shown:
            bar = "█" * round(_TRACK * max(each.drop, 0) / largest) if each.matters else "(not more than chance)"
            lines.append(f"  {padded(short(each.name, width), width)}  {each.cost:>18}  {bar}".rstrip())
        more = len(self.importance) - len(shown)
        return [*lines, f"  {more} more cost less"] if more > 0 else lines

    def _dependence(self) -> list[str]:
        if not self.curves:
            return []
        ends = [end for each in self.curves for end in (each.dependence.mean.min(), each.dependence.mean.max())]
        low, high = min(ends), max(ends)
        lines = [wrapped(self.depends)]
        for each in self.curves:
            lines += ["", f"  {padded(short(each.column, 22), 22)}  {'rows':>6}  {'mean':>9}  {'local':>9}"]
            counts, means = each.dependence.points.rows, each.dependence.mean
            for place in _some(len(counts), each.dependence.points.ordered):
                dot = round((_TRACK - 1) * (means[place] - low) / (high - low or 1))
                name = padded(short(each.names[place], 20), 20)
                share = percent(counts[place] / max(self.rows, 1))
                mark = "?" if each.thin[place] else " "
                local = signed(float(each.effects.values[place]))
                track = "·" * dot + "●" + "·" * (_TRACK - 1 - dot)
                lines.append(
                    f"    {name}  {share:>6}  {figure(means[place], 3):>8}{mark}  {local:>9}  {track[:_TRACK]}"
                )
            if each.dependence.missing is not None:
                share = percent(each.dependence.points.missing / max(self.rows, 1))
                lines.append(f"    {padded('missing', 20)}  {share:>6}  {figure(each.dependence.missing, 3):>8}")
        if any(each.thin.any() for each in self.curves):
            lines += ["", "  (a mean with ? stands for few rows: it is a guess)"]
        return lines

    def _pairs(self) -> list[str]:
        if not self.pairs:
            return []
        lines = [wrapped(self.acts_together)]
        for each in self.pairs[:_PAIRS]:
            name = short(" × ".join(map(str, each.columns)), 28)
            sure = "" if each.matters else "  (may be chance)"
            said = f"{figure(each.size, 3)} ± {figure(each.error, 2)}"
            lines.append(f"  {padded(name, 28)}  {said:>18}  H {each.strength:.2f}{sure}".rstrip())
        return lines

    def _tree(self) -> list[str]:
        tree = self.surrogate
        if tree is None:
            return []
        lines = [wrapped(f"{self.in_its_place}:")]
        for rule in tree.rules:
            lines.append(wrapped("  " + "  " * rule.depth + self.rule(rule), indent="  " * (rule.depth + 3)))
        return lines

    def rule(self, rule: Any) -> str:
        """A node of the tree in words."""
        if rule.answer is None:
            return str(rule.condition)
        said = figure(rule.answer) if rule.share is None else str(rule.answer)
        sure = "" if rule.share is None else f", {percent(rule.share)} of them"
        return f"{rule.condition}: {said} ({rule.rows:,} rows{sure})"


def _some(count: int, ordered: bool) -> Sequence[int]:
    """The points that are shown in a terminal."""
    if not ordered or count <= _POINTS:
        return range(min(count, 2 * _POINTS))
    return [int(place) for place in np.linspace(0, count - 1, _POINTS).round()]


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str) else str(value)
