"""The runs in a folder: what each of them trained, and how it ended."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.errors import ArtifactError, unknown_name
from danlu.evaluate import MEASURES, PRIMARY
from danlu.evaluate.intervals import figure

__all__ = ["Past", "changed_settings", "ordered", "past_runs"]


@dataclasses.dataclass(frozen=True)
class Past:
    """A run, as described by its folder.

    Attributes:
        name: the run's name.
        kind: the kind of its data, and the task; empty before it has a model.
        data: what it learnt from, and the target.
        measure, score: the measure that it is compared by, and its value on the test; None before the test.
        date: when it was begun.
        state: ``"finished"``, or what there is of it.
        scores: all measures of the test.
        seconds: what it took; None before its end.
    """

    name: str
    kind: str
    data: str
    measure: str
    score: float | None
    date: datetime.datetime
    state: str
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float | None = None

    @classmethod
    def of(cls, run: RunDirectory) -> Past:
        """The run in a folder; a damaged file counts as missing."""
        config, results = _read(run, "config.json"), _read(run, "results.json")
        document = _read(RunDirectory(run.artifact_path), "model.json")
        data = _part(config, "data")
        source = Path(str(data.get("source") or "?")).name
        task, encoder = _part(document, "task"), _part(document, "encoder")
        if document.get("head") is not None:
            kind, told = task.get("kind"), task.get("name")
        else:  # format versions 1 and 2
            kind, told = encoder.get("kind", "table") if document else None, task.get("task")
        kinds = [str(each) for each in (kind, told) if each]
        test = _part(results, "test")
        comparisons = results.get("comparisons") or []
        measure = comparisons[0].get("metric", "") if comparisons else PRIMARY.get(str(told), "")
        measure = measure if measure in test else next(iter(test), "")
        state = "finished" if results else "trained, not judged" if document else "unfinished"
        return cls(
            name=run.name,
            kind=", ".join(dict.fromkeys(kinds)),
            data=source + (f" → {data['target']}" if data.get("target") else ""),
            measure=measure,
            score=test.get(measure),
            date=datetime.datetime.fromtimestamp(run.config_path.stat().st_mtime),
            state=state,
            scores={name: value for name, value in test.items() if isinstance(value, int | float)},
            seconds=results.get("seconds"),
        )

    @property
    def scored(self) -> str:
        """The score with its measure, in words."""
        return self.told(self.measure)

    def told(self, by: str) -> str:
        """A measure in words, or the time that the run took; the usual measure where ``by`` is no measure."""
        if by == "seconds":
            return "" if self.seconds is None else f"{self.seconds:,.0f} s"
        name = self.measure if by in _ORDERS else by
        if name not in self.scores:
            return ""
        label = MEASURES[name].label if name in MEASURES else name
        return f"{label} {figure(self.scores[name])}"


def past_runs(root: str | Path = "runs") -> list[Past]:
    """The runs in a folder, the latest first.

    Raises:
        ArtifactError: there is no such folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ArtifactError(f"there is no folder {folder}", hint="danlu train creates one; --runs FOLDER names another")
    found = [Past.of(RunDirectory(path.parent)) for path in folder.glob("*/config.json")]
    return sorted(found, key=lambda each: each.date, reverse=True)


_ORDERS = ("date", "name", "data")


def ordered(runs: Sequence[Past], by: str) -> list[Past]:
    """Runs in another order: by a measure the best first and those without it last, by data with the best of each first, by name, date or
    seconds.

    Raises:
        ConfigError: a measure that none of them has.
    """
    if by == "date":
        return sorted(runs, key=lambda each: each.date, reverse=True)
    if by == "name":
        return sorted(runs, key=lambda each: each.name)
    if by == "seconds":
        return sorted(runs, key=lambda each: (each.seconds is None, each.seconds or 0.0))
    if by == "data":
        return sorted(runs, key=lambda each: (each.data, *_best_first(each, each.measure)))
    known = sorted({name for each in runs for name in each.scores})
    if by not in known:
        raise unknown_name("measure", by, [*known, *_ORDERS, "seconds"])
    return sorted(runs, key=lambda each: _best_first(each, by))


def _best_first(run: Past, measure: str) -> tuple[bool, float]:
    value = run.scores.get(measure)
    if value is None:
        return True, 0.0
    return False, -value if measure not in MEASURES or MEASURES[measure].higher_is_better else value


def changed_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run's ``config.json`` that are not the default, by their dotted names.

    >>> changed_settings({"data": {"source": "a.csv"}, "trainer": {"epochs": 3, "seed": 0}})
    {'data.source': 'a.csv', 'trainer.epochs': 3}
    """
    from danlu.pipeline.config import TrainConfig

    usual, changed = TrainConfig().as_dict(), {}
    for section, values in config.items():
        for name, value in (values if isinstance(values, Mapping) else {"": values}).items():
            default = usual.get(section, {}).get(name)
            plain = list(default) if isinstance(default, tuple) else default
            if value != plain:
                changed[f"{section}.{name}" if name else section] = value
    return changed


def _read(run: RunDirectory, name: str) -> dict[str, Any]:
    try:
        return run.read_json(name)
    except ArtifactError:
        return {}


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}
