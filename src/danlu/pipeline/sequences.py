"""Labelled sequences: measurements over time, with one class or one quantity for each whole sequence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from danlu.data import TargetEncoder
from danlu.data.sequences import SequenceEncoder, SequenceSet, is_sequence_source, read_sequences
from danlu.data.sequences.read import shown_name
from danlu.errors import ConfigError, SchemaError
from danlu.evaluate import Rows
from danlu.evaluate.summaries import summaries
from danlu.explained import Asked, Explained, explain_steps
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import Divided
from danlu.pipeline.domain import Option
from danlu.pipeline.items import LabelledItems, left_out, newly_read
from danlu.pipeline.labelled import DECISIONS, PreparedRows, caption_of
from danlu.pipeline.used import COMMON, LABELLED, RECIPE, WRITTEN
from danlu.tasks import Recipe, sequence_recipe
from danlu.trained import Read, Say, Trained

__all__ = ["Sequences"]

_MISTAKES = 12


class Sequences(LabelledItems):
    """Sequences, each with a class or a quantity."""

    kind = "sequence"
    encoder = SequenceEncoder
    options = (
        *DECISIONS,
        Option(
            "--series",
            "data.series",
            "The column that names the series; with --target each has a label.",
        ),
        Option("--time", "data.time", "The column that orders the rows of a series."),
    )
    simple_names = ("commonest", "linear", "boosting")
    noun = items = "sequences"
    label_hint = "name the label: --target COLUMN"
    uses = (
        *COMMON,
        RECIPE,
        WRITTEN,
        "data.series|steps|target|task|time",
        *LABELLED,
        "model.depth|dropout|width",
        "split.equal_rows|method",
        "trainer.loss",
    )
    instead: ClassVar[Mapping[str, str]] = {
        "forecast.horizon": "add --forecast COLUMN to forecast it; --target gives each series one label"
    }
    summarised = " of summaries"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        asked = config.data.series is not None or config.data.steps is not None
        return asked or is_sequence_source(source)

    def find(self, config: TrainConfig, source: Any, before: SequenceSet | None = None) -> SequenceSet:
        data = config.data
        if data.series is not None and not data.target:
            raise ConfigError("sequences need a label to learn", hint="name its column: --target COLUMN")
        how: dict[str, Any] = {"series": data.series, "time": data.time, "drop": data.drop, **data.form()}
        if before is None:
            kinds = {**({data.series: "categorical"} if data.series else {}), **data.kinds}
            how |= {"missing": data.marks(), "kinds": kinds, "dates": data.dates}
        else:
            how["formats"] = before.formats
        found = read_sequences(source, target=data.target or None, **how)
        found = left_out(found, self.items, value=np.array([not np.isfinite(each).any() for each in found.values]))
        gaps = sum(int(np.isnan(each).sum()) for each in found.values)
        if not gaps:
            return found
        total = sum(each.size for each in found.values)
        said = f"{gaps:,} of {total:,} values are missing; each is filled with the value before it"
        return dataclasses.replace(found, notices=(*found.notices, said))

    def keys(self, found: SequenceSet, rows: np.ndarray) -> Iterable[bytes]:
        return (found.values[row].tobytes() for row in rows)

    def leaves(self, config: TrainConfig) -> str:
        return "the classes, each column's mean and variance, and the number of steps of the longest sequence"

    def encoded(self, config: TrainConfig, parts: Divided, target: TargetEncoder) -> dict[str, Any]:
        data, found = config.data, parts.found
        encoder = SequenceEncoder.fit(
            [found.values[row] for row in parts.places["train"]],
            found.columns,
            most=data.steps,
            formats=found.formats,
            series=data.series,
            time=data.time,
        )
        if encoder.every > 1:
            longest = max(map(len, found.values))
            parts.notices.append(
                f"sequences have up to {longest:,} steps; {encoder.every} neighbouring ones are averaged (data.steps sets how many may be "
                f"left)"
            )
        encoded = parts.encoded(
            encoder, lambda part: _with_columns(part, encoder).values, lambda part: target.transform(part.labels)
        )
        return {**encoded, "split": f"each sequence whole; {parts.said}"}

    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        return sequence_recipe(
            prepared.target.task,
            prepared.rows["train"],
            prepared.encoder,
            classes=prepared.target.units,
            **config.decided("width", "depth", "dropout", "loss"),
        )

    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        encoder, target = trained.encoder, trained.head.target
        names = {"series": encoder.series, "time": encoder.time, "target": target.name}
        hint = None if encoder.series else "the model was trained on arrays: give an npz file with x, or an array"
        found = newly_read(lambda: read_sequences(source, **names, formats=encoder.formats), say, hint=hint)
        found = _with_columns(found, encoder)
        for notice in encoder.cut(found.values):
            say(notice)
        empty = [row for row, each in enumerate(found.values) if not np.isfinite(each).any()]
        if empty and not lenient:
            raise SchemaError(
                f"{len(empty):,} of {len(found):,} sequences have no values, the first is {_name(found, empty[0])}",
                hint="leave them out, or predict them as sequences of means: lenient=True (--lenient)",
            )
        return Read(found.values, found.labels, found.names)

    def explain(self, trained: Trained, found: Read, asked: Asked) -> list[Explained]:
        return explain_steps(trained, found.rows, asked)

    def for_simple(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The mean, spread, smallest, largest, first and last value and the slope of each column; and the length."""
        return {"numeric": summaries(inputs["x"], inputs["mask"])}

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        from danlu.report.sequences import sequence_section

        worst = rows.worst(_MISTAKES)
        if not len(worst) or prepared.test is None:
            return {}
        names = prepared.parts.tested.names
        called = [
            f"test sequence {row + 1}" if names is None else str(names[int(row)]).removesuffix(" 00:00:00")
            for row in worst
        ]
        captions = [(name, caption_of(rows, row, prepared.target)) for name, row in zip(called, worst, strict=True)]
        picked = {name: part[worst] for name, part in prepared.test[0].items()}
        section = sequence_section(trained, picked, rows.chosen[worst] if rows.task != "regression" else None, captions)
        return {"sections": [section]}


def _with_columns(found: SequenceSet, encoder: SequenceEncoder) -> SequenceSet:
    """The sequences with the encoder's columns, in its order."""
    order = encoder.order(found.columns)
    return dataclasses.replace(found, values=[each[:, order] for each in found.values], columns=encoder.columns)


def _name(found: SequenceSet, row: int) -> str:
    return f"number {row + 1}" if found.names is None else shown_name(found.names[row])
