"""A trained model as the user meets it: saved, loaded, asked for predictions and measured on new data."""

from __future__ import annotations

import dataclasses
import html
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import Artifact, load_artifact, save_artifact
from danlu.data import TableEncoder, TargetEncoder, check_frame, drop_missing_target, read_table
from danlu.errors import ArtifactError, SchemaError
from danlu.pipeline.judge import Judgement, judge, rows_of
from danlu.tasks import TableModel

__all__ = ["Model", "load", "save_model"]


def _warn(notice: str) -> None:
    print(f"note: {notice}", file=sys.stderr)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A trained table model that checks what it is given.

    Attributes:
        table: the model itself.
        metrics: its test scores.
        provenance: versions, time, and what it was trained on.
    """

    table: TableModel
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def _frame(self, source: Any, *, lenient: bool, say: Callable[[str], None]) -> pl.DataFrame:
        frame = source if isinstance(source, pl.DataFrame) else read_table(source).frame
        checked, notices = check_frame(frame, self.table.encoder.schema, lenient=lenient)
        for notice in notices:
            say(notice)
        name = self.table.target.name
        if name in frame.columns and name not in checked.columns:
            checked = checked.with_columns(frame[name])
        return checked

    def predict_values(self, source: Any, *, lenient: bool = False, say: Callable[[str], None] = _warn) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)`` for a file or frame.

        Args:
            lenient: whether unseen categories and odd values are taken as unknown, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: columns or values that do not fit what the model was trained on.
        """
        return self.table.predict_values(self._frame(source, lenient=lenient, say=say))

    def predict(self, source: Any, *, lenient: bool = False, say: Callable[[str], None] = _warn) -> pl.DataFrame:
        """The prediction, and each class's probability, a row a row of ``source``; arguments as above."""
        return self.table.frame(self.predict_values(source, lenient=lenient, say=say))

    def evaluate(
        self, source: Any, *, lenient: bool = False, say: Callable[[str], None] = _warn, resamples: int = 1000
    ) -> Judgement:
        """The scores, with intervals, on a file or frame that holds the target.

        Raises:
            SchemaError: columns or values that do not fit what the model was trained on, or no target.
        """
        target = self.table.target
        frame = self._frame(source, lenient=lenient, say=say)
        if target.name not in frame.columns:
            raise SchemaError(f"the data lacks the target {target.name!r}, which evaluation needs")
        frame, dropped = drop_missing_target(frame, target.name)
        labels, respelt = target.normalise(frame[target.name])
        for notice in (*dropped, *respelt):
            say(notice)
        if not frame.height:
            raise SchemaError(f"no row has a value for the target {target.name!r}")
        inputs = self.table.encoder.transform(frame)
        return judge(rows_of(self.table, (inputs, target.transform(labels))), self.table, resamples=resamples)

    def __repr__(self) -> str:
        target = self.table.target
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items() if isinstance(value, float))
        return f"Model({target.task} of {target.name!r}{', ' + shown if shown else ''})"

    def _repr_html_(self) -> str:
        said = html.escape(repr(self))
        return f"<p><b>{said}</b></p>{self.table.encoder.schema._repr_html_()}"


def save_model(
    folder: str | Path, model: TableModel, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Write ``model`` as an artifact."""
    description, arrays = model.encoder.state()
    save_artifact(
        folder,
        model=model.network,
        variables=(model.params, model.state),
        task=model.target.to_json(),
        schema=model.encoder.schema.to_json(),
        encoder=description,
        encoder_arrays=arrays,
        classes=model.target.classes,
        threshold=model.threshold if model.target.task == "binary" else None,
        metrics=metrics,
        provenance=provenance,
    )


def load(path: str | Path) -> Model:
    """The trained model of a run directory, or of an artifact folder.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    folder = Path(path)
    unfinished = (folder / "config.json").is_file() and not (folder / "artifact").is_dir()
    if unfinished:
        raise ArtifactError(f"the run {folder} has no model yet", hint=f"finish it: danlu train --resume {folder}")
    return _model(load_artifact(folder / "artifact" if (folder / "artifact").is_dir() else folder))


def _model(artifact: Artifact) -> Model:
    table = TableModel(
        artifact.model,
        artifact.params,
        artifact.state,
        TableEncoder.from_state(artifact.encoder, artifact.encoder_arrays),
        TargetEncoder.from_json(artifact.task),
        0.5 if artifact.threshold is None else float(artifact.threshold),
    )
    return Model(table, artifact.metrics, artifact.provenance)
