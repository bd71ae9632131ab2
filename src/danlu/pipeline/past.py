"""The runs in a folder: what each of them trained, and how it ended."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.errors import ArtifactError
from danlu.evaluate import MEASURES, PRIMARY
from danlu.evaluate.intervals import figure

__all__ = ["Past", "changed_settings", "past_runs"]


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
    """

    name: str
    kind: str
    data: str
    measure: str
    score: float | None
    date: datetime.datetime
    state: str

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
        )

    @property
    def scored(self) -> str:
        """The score with its measure, in words."""
        if self.score is None:
            return ""
        label = MEASURES[self.measure].label if self.measure in MEASURES else self.measure
        return f"{label} {figure(self.score)}"


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
