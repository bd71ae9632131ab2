"""Runs side by side: what their tests can tell apart, their settings, times and sizes, as text, plain data and one page."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.errors import ConfigError
from danlu.evaluate import MEASURES, Interval
from danlu.evaluate.intervals import figure
from danlu.evaluate.sides import Pair, finite
from danlu.evaluate.usual import usual
from danlu.files import write_atomic
from danlu.prose import padded, short, wide, wrapped

__all__ = ["Compared", "ComparedRun"]


@dataclasses.dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run in a comparison.

    Attributes:
        name, path: what it is called, and where it is.
        data, kind: what it learnt from and predicts; the kind of its data, and the task.
        primary: the measure that it is compared by.
        scores: of its test, with 95 % intervals.
        settings: by their dotted names.
        effort: times and sizes in words, by what they are.
        sizes: the same as numbers.
        history: a row an epoch; empty where there is no single training.
        best_epoch: from 0.
        origin: where it branched off from another run, in words; empty where it did not.
    """

    name: str
    path: str
    data: str
    kind: str
    primary: str
    scores: Mapping[str, Interval]
    settings: Mapping[str, Any]
    effort: Mapping[str, str]
    sizes: Mapping[str, float | None]
    history: Sequence[Mapping[str, Any]] = ()
    best_epoch: int | None = None
    origin: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """Two or three runs side by side.

    Attributes:
        runs: in the order in which they were named.
        pairs: each two of them, compared as far as their tests allow.
    """

    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]

    @property
    def settings(self) -> dict[str, list[Any]]:
        """The settings that are not the same in all runs, each with its value in each run."""
        names = dict.fromkeys(name for run in self.runs for name in run.settings)
        found = {name: [run.settings.get(name) for run in self.runs] for name in names}
        return {name: values for name, values in found.items() if any(value != values[0] for value in values)}

    @property
    def settings_in_words(self) -> list[tuple[str, list[str]]]:
        """The same as text; None is left to the recipe."""
        return [
            (name, ["by default" if value is None else json.dumps(value, ensure_ascii=False) for value in values])
            for name, values in self.settings.items()
        ]

    @property
    def measures(self) -> list[str]:
        """The measures of any of the runs, those that are looked at first before the others."""
        return list(dict.fromkeys([*self.usual, *(name for run in self.runs for name in run.scores)]))

    @property
    def usual(self) -> list[str]:
        """The measures that are looked at first."""
        return list(dict.fromkeys(name for run in self.runs for name in usual(run.primary, run.scores)))

    @property
    def said(self) -> list[str]:
        """What can be told and what cannot, in sentences, pair by pair."""
        found = []
        for pair in self.pairs:
            found.append(pair.sentence)
            whose = f"{pair.first} and {pair.second}: " if len(self.pairs) > 1 else ""
            if pair.how == "paired":
                found.append(f"{whose}Compared row by row on the {pair.rows:,} test rows that both have.")
            elif pair.why and pair.how != "none":
                told = (
                    "so each score has its own interval, which says less than the same rows would"
                    if pair.how == "unpaired"
                    else "so a difference may be that of the data, and there is no verdict"
                )
                found.append(f"{pair.first} and {pair.second} are not compared row by row: {pair.why}; {told}.")
            for verdict, words in (("better", pair.first), ("worse", pair.second)):
                if names := pair.of(verdict):
                    found.append(f"{whose}{words} is also better by {_labels(names)}.")
            if pair.how in ("paired", "unpaired") and (names := pair.of("undecided")):
                found.append(f"{whose}Not to be told by these rows: {_labels(names)}.")
        return found

    @property
    def notes(self) -> list[str]:
        """How the verdicts are to be read."""
        verdicts = [pair for pair in self.pairs if pair.how in ("paired", "unpaired")]
        origins = [f"{run.name} branched off from {run.origin}" for run in self.runs if run.origin]
        if not verdicts:
            return origins
        notes = [
            "The verdicts are of these trained models, not of their settings: another seed changes scores as well."
        ]
        if list(self.settings) == ["trainer.seed"]:
            notes = ["The runs differ in the seed alone: any difference is the chance of training."]
        if len(verdicts) > 1:
            level = f"{100 * verdicts[0].level:.3g}"
            notes.append(
                f"The intervals of the differences are of {level} %, so that those of one measure hold for all pairs together in 95 %."
            )
        if len(verdicts[0].measures) > 3:
            primary = MEASURES[verdicts[0].primary].label
            notes.append(f"Go by {primary}; of many other measures one may differ by chance.")
        return [*origins, *notes]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "runs": [
                {
                    "name": run.name,
                    "path": run.path,
                    "data": run.data,
                    "kind": run.kind,
                    "test": {name: finite(each.value) for name, each in run.scores.items()},
                    "intervals": {name: [finite(each.low), finite(each.high)] for name, each in run.scores.items()},
                    **run.sizes,
                }
                for run in self.runs
            ],
            "pairs": [pair.as_dict() for pair in self.pairs],
            "settings": self.settings,
            "notes": self.notes,
        }

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write a page (``.html``), plain data (``.json``) or text (``.txt``), by the ending.

        Raises:
            ConfigError: another ending.
            ArtifactError: the file cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending == ".html":
            from danlu.report.compared_page import compared_page

            text = compared_page(self)
        elif ending == ".json":
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        elif ending == ".txt":
            text = f"{self}\n"
        else:
            raise ConfigError(f"{path} ends in {ending or 'nothing'}; expected .html, .json or .txt")
        write_atomic(path, text)
        return path

    def __str__(self) -> str:
        lines = [wrapped(f"{run.name}: {run.data}, {run.kind or 'no model'}", indent="  ") for run in self.runs]
        names = [run.name for run in self.runs]
        scores = [
            (
                MEASURES[name].label if name in MEASURES else name,
                [_score(run.scores.get(name)) for run in self.runs],
            )
            for name in self.usual
        ]
        lines += ["", *_columns("test [95 %]", names, scores)]
        told = (pair.measures.values() for pair in self.pairs)
        lines += ["", *(wrapped(sentence, indent="  ") for sentence in self.said)] if any(told) or self.said else []
        lines += [wrapped(f"note: {note}", indent="  ") for note in self.notes]
        lines += ["", *_columns("settings that differ", names, self.settings_in_words or [("none", [""] * len(names))])]
        effort = dict.fromkeys(what for run in self.runs for what in run.effort)
        lines += ["", *_columns("cost", names, [(w, [run.effort.get(w, "–") for run in self.runs]) for w in effort])]
        return "\n".join(lines)


def _labels(names: Sequence[str]) -> str:
    return ", ".join(MEASURES[name].label for name in names)


def _score(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    if not interval.known:
        return figure(interval.value)
    return f"{figure(interval.value, 3)} [{figure(interval.low, 3)}, {figure(interval.high, 3)}]"


def _columns(title: str, names: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> list[str]:
    """A label and a cell for each run on a line, within 80 columns where that is possible."""
    label = min(max(wide(title), *(wide(name) + 2 for name, _ in rows)), 30)
    width = (80 - label) // len(names) - 2
    head = padded(title, label) + "".join(f"  {padded(short(name, width), width, right=True)}" for name in names)
    return [
        head,
        *(
            "  "
            + padded(short(name, label - 2), label - 2)
            + "".join(f"  {padded(short(cell, width), width, right=True)}" for cell in cells)
            for name, cells in rows
        ),
    ]
